/* deadlines.c - a binary heap; see the header for why entries of messages that have gone may stay.
 */
#include "server/js/deadlines.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"

static bool before(struct deadline a, struct deadline b)
{
    return a.at != b.at ? a.at < b.at : a.seq < b.seq;
}

static void sift_up(struct deadlines *d, size_t i)
{
    struct deadline moving = d->heap[i];

    while (i > 0 && before(moving, d->heap[(i - 1) / 2])) {
        d->heap[i] = d->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    d->heap[i] = moving;
}

static void sift_down(struct deadlines *d, size_t i)
{
    struct deadline moving = d->heap[i];

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= d->n)
            break;
        if (child + 1 < d->n && before(d->heap[child + 1], d->heap[child]))
            child++;
        if (!before(d->heap[child], moving))
            break;
        d->heap[i] = d->heap[child];
        i = child;
    }
    d->heap[i] = moving;
}

void deadlines_deinit(struct deadlines *d)
{
    mem_free(d->heap);
    *d = (struct deadlines){0};
}

void deadlines_clear(struct deadlines *d)
{
    deadlines_deinit(d);
}

void deadlines_add(struct deadlines *d, int64_t at, uint64_t seq)
{
    if (d->n == d->cap) {
        d->cap = d->cap == 0 ? 16 : d->cap * 2;
        d->heap = mem_realloc(d->heap, d->cap * sizeof(*d->heap));
    }
    d->heap[d->n++] = (struct deadline){.at = at, .seq = seq};
    sift_up(d, d->n - 1);
}

const struct deadline *deadlines_first(const struct deadlines *d)
{
    return d->n > 0 ? &d->heap[0] : NULL;
}

/* A quarter full: the array shrinks, so that a stream that was large once is not for ever. */
static void drop(struct deadlines *d, size_t i)
{
    d->heap[i] = d->heap[--d->n];
    if (i < d->n) {
        sift_down(d, i);
        sift_up(d, i);
    }
    if (d->cap > 64 && d->n < d->cap / 4) {
        d->cap /= 2;
        d->heap = mem_realloc(d->heap, d->cap * sizeof(*d->heap));
    }
}

void deadlines_pop(struct deadlines *d)
{
    ASSERT(d->n > 0);
    drop(d, 0);
}

void deadlines_forget_above(struct deadlines *d, uint64_t seq)
{
    size_t n = 0;

    for (size_t i = 0; i < d->n; i++)
        if (d->heap[i].seq <= seq)
            d->heap[n++] = d->heap[i];
    d->n = n;
    for (size_t i = n / 2; i-- > 0;)
        sift_down(d, i);
}

void deadlines_thin(struct deadlines *d, size_t budget, bool (*keep)(void *ctx, uint64_t seq),
                    void *ctx)
{
    for (; budget > 0 && d->n > 0; budget--) {
        if (d->probe >= d->n)
            d->probe = 0;
        if (keep(ctx, d->heap[d->probe].seq))
            d->probe++;
        else
            drop(d, d->probe);
    }
}

void deadlines_check(const struct deadlines *d)
{
    ASSERT(d->n <= d->cap);
    for (size_t i = 1; i < d->n; i++)
        ASSERT(!before(d->heap[i], d->heap[(i - 1) / 2]));
}
