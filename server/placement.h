/*
 * placement.h - which worker takes the next connection or stream.
 *
 * Fill first: publisher, stream and consumer on one worker is the fast case, so worker 0 takes what
 * comes until it is half busy; then the one with the least load does. Load is the share of its time
 * that a worker was busy, and an allowance for what it was given a moment ago, whose traffic has
 * not been seen yet: a thousand clients that connect in one burst must not all end on worker 0.
 *
 * Spread: in turn, whatever the load. For tests, which want several workers in every path, and for
 * loads that are known to be even.
 *
 * A pure object; no locks: worker 0's thread alone asks (it accepts connections and names streams).
 */
#ifndef SERVER_PLACEMENT_H
#define SERVER_PLACEMENT_H

#include "lib/base/mem.h"

#include <stdbool.h>
#include <stdint.h>

/* Worker 0 is full from here on; of 1000. */
#define PLACEMENT_HALF 500u
/* What a newcomer counts for, of 1000: with a hundred of them a worker counts as half busy. */
#define PLACEMENT_NEW 5u
/* For how long at least, and twice that at most: by then its traffic shows in the share. */
#define PLACEMENT_NEW_NS 1000000000u

struct placement {
    unsigned workers;
    bool spread;
    unsigned turn;          /* spread: who is next */
    uint64_t period;        /* when `now` began */
    uint32_t *now, *before; /* given in this period and in the one before, by worker */
};

void placement_init(struct placement *p, unsigned workers, bool spread);
void placement_deinit(struct placement *p);

/* busy[w]: share of worker w's recent time, of 1000. Counts the newcomer. */
unsigned placement_choose(struct placement *p, const uint32_t *busy, uint64_t now_ns);

#endif
