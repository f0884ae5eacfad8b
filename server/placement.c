/* placement.c - see placement.h. */
#include "server/placement.h"

#include <string.h>

void placement_init(struct placement *p, unsigned workers, bool spread)
{
    *p = (struct placement){.workers = workers, .spread = spread};
    p->now = mem_zalloc(workers * sizeof(*p->now));
    p->before = mem_zalloc(workers * sizeof(*p->before));
}

void placement_deinit(struct placement *p)
{
    mem_free(p->now);
    mem_free(p->before);
    *p = (struct placement){0};
}

static void turn_page(struct placement *p, uint64_t now_ns)
{
    uint64_t passed = now_ns - p->period;
    uint32_t *old = p->before;

    if (passed < PLACEMENT_NEW_NS)
        return;
    if (passed >= 2 * (uint64_t) PLACEMENT_NEW_NS)
        memset(p->now, 0, p->workers * sizeof(*p->now));
    p->before = p->now;
    p->now = old;
    memset(p->now, 0, p->workers * sizeof(*p->now));
    p->period = now_ns;
}

static uint64_t load(const struct placement *p, const uint32_t *busy, unsigned w)
{
    return busy[w] + ((uint64_t) p->now[w] + p->before[w]) * PLACEMENT_NEW;
}

static unsigned least(const struct placement *p, const uint32_t *busy)
{
    unsigned best = 0;

    for (unsigned w = 1; w < p->workers; w++)
        if (load(p, busy, w) < load(p, busy, best))
            best = w;
    return best;
}

unsigned placement_choose(struct placement *p, const uint32_t *busy, uint64_t now_ns)
{
    unsigned to;

    if (p->spread)
        return p->turn++ % p->workers;
    turn_page(p, now_ns);
    to = load(p, busy, 0) < PLACEMENT_HALF ? 0 : least(p, busy);
    p->now[to]++;
    return to;
}
