/* pace.h - when a publisher's messages are due: at a rate, or as fast as it goes. */
#ifndef NATS_BENCH_PACE_H
#define NATS_BENCH_PACE_H

#include "tools/nats-bench/bench.h"

struct pace {
    uint64_t start;
    double interval_ns; /* 0 = as fast as it goes */
};

struct pace pace_of(const struct client *c);
/* When message `number` of this client is due; without a rate now. */
uint64_t pace_due(const struct pace *p, uint64_t number, uint64_t now);
/* How many of `left` behind `number` may go now, at most a burst. */
uint64_t pace_burst(const struct pace *p, uint64_t number, uint64_t left, uint64_t now);
/* How long to poll before `number` is due, nanoseconds. */
uint64_t pace_wait(const struct pace *p, uint64_t number, uint64_t now);

#endif
