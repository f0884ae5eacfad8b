/* pace.c - when a publisher's messages are due. */
#include "tools/nats-bench/pace.h"

#define BURST 256

struct pace pace_of(const struct client *c)
{
    const struct options *o = &c->b->o;
    struct pace p = {.start = c->b->start};

    if (o->rate > 0) {
        p.interval_ns = (double) o->clients * (double) SECOND / (double) o->rate;
        p.start += (uint64_t) (p.interval_ns * c->index / (double) o->clients);
    }
    return p;
}

uint64_t pace_due(const struct pace *p, uint64_t number, uint64_t now)
{
    return p->interval_ns > 0 ? p->start + (uint64_t) (p->interval_ns * (double) number) : now;
}

uint64_t pace_burst(const struct pace *p, uint64_t number, uint64_t left, uint64_t now)
{
    uint64_t n = left < BURST ? left : BURST;

    if (p->interval_ns > 0) {
        uint64_t k = 0;
        while (k < n && pace_due(p, number + k, now) <= now)
            k++;
        n = k;
    }
    return n;
}

/*
 * A generator that spins takes a core from the server's kernel threads, and the tail it measures is
 * its own: 1 KB at 50 k/s on two cores, p99 of 9 ms while it spun. So what is due within a nap
 * goes together, as late as that; its latency counts from when it was due.
 */
#define NAP_NS 50000

uint64_t pace_wait(const struct pace *p, uint64_t number, uint64_t now)
{
    uint64_t at = pace_due(p, number, now);

    if (p->interval_ns <= 0 || at <= now)
        return 0;
    return at - now > NAP_NS ? at - now : NAP_NS;
}
