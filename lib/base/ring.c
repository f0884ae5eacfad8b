#include "lib/base/ring.h"

#include "lib/base/mem.h"

void ring_init(struct ring *r, size_t capacity)
{
    ASSERT(capacity > 0 && (capacity & (capacity - 1)) == 0);
    *r = (struct ring){.slots = mem_array(capacity, sizeof(void *)), .mask = capacity - 1};
}

void ring_deinit(struct ring *r)
{
    mem_free(r->slots);
    *r = (struct ring){0};
}

void ring_check(const struct ring *r)
{
    size_t pushed = atomic_load(&r->pushed), popped = atomic_load(&r->popped);

    ASSERT((r->mask & (r->mask + 1)) == 0);
    ASSERT(pushed - popped <= r->mask + 1);
    ASSERT(pushed - r->popped_seen <= r->mask + 1);
    ASSERT(popped - r->popped_seen <= pushed - r->popped_seen);
    ASSERT(r->pushed_seen - popped <= pushed - popped);
}
