/*
 * consumer_pace.h - when the next message may go: replay at the speed of the original, and a limit
 * of bits a second. Pure; times are monotonic ns, timestamps of messages unix ns.
 */
#ifndef JS_CONSUMER_PACE_H
#define JS_CONSUMER_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct consumer_pace {
    uint64_t bytes_per_s; /* 0 = no limit */
    uint64_t burst;       /* bytes that may go at once */
    uint64_t filled_at;   /* when the burst will be whole again */
    uint64_t replay_to;   /* last sequence that is replayed; 0 = none */
    int64_t last_ts;      /* of the message before; 0 = none yet */
    uint64_t last_at;     /* when it went */
};

/* When this message may go: now or later. */
uint64_t consumer_pace_due(const struct consumer_pace *p, uint64_t now, uint64_t seq, int64_t ts,
                           uint64_t size);
/* It has gone. */
void consumer_pace_sent(struct consumer_pace *p, uint64_t now, int64_t ts, uint64_t size);

static inline bool consumer_pace_any(const struct consumer_pace *p)
{
    return p->bytes_per_s != 0 || p->replay_to != 0;
}

#endif
