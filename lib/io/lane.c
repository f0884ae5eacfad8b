/*
 * lane.c - a ring for one sender and one receiver, with an overflow list behind it.
 *
 * Shared words: `published` (the sender's: items the receiver may take) and `consumed` (the
 * receiver's: items whose effects have happened), both counting from the start and never wrapping
 * in practice (2^64), and `wanted`. The slot of item number i is i & mask; it is free again once i
 * is consumed. The sender keeps the size of every item in a slot array of its own and so learns
 * what is in flight from `consumed` alone.
 *
 *   0 <= consumed <= popped <= published <= filled <= consumed + slots
 *   filled + length of the overflow list = pushed
 *
 * Order. published is stored with release after the slots, and loaded with acquire before them;
 * consumed the same way back. That is all the ring needs. Waking is io_wake's: a release exchange
 * after the store of published, see io_host.c for why no wake is lost.
 *
 * Room and fences. A sender that goes to sleep with a list that did not fit, or waiting for a
 * fence, has to be woken. It sets wanted and then looks at consumed once more; a receiver that
 * finds its lane empty stores consumed and then looks at wanted. These four are sequentially
 * consistent: not both can miss the other. The receiver pays for it once per emptied lane, not per
 * item.
 */
#include "lib/io/lane.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#define CACHE_LINE 64

struct lane {
    /* Constant. */
    struct io *to;
    struct io *from; /* NULL: nobody to tell that there is room */
    struct lane_item **slots;
    uint32_t *sizes; /* the sender's */
    uint64_t mask;
    uint64_t mark_bytes;

    /* Shared. */
    _Alignas(CACHE_LINE) atomic_ullong published;
    atomic_bool wanted;
    _Alignas(CACHE_LINE) atomic_ullong consumed;

    /* The sender's. */
    _Alignas(CACHE_LINE) uint64_t pushed;
    uint64_t filled;
    uint64_t announced; /* published, as last stored */
    uint64_t seen;      /* consumed, as last loaded */
    uint64_t bytes;     /* in items pushed and not seen consumed */
    struct lane_item *overflow;
    struct lane_item **overflow_end;

    /* The receiver's. */
    _Alignas(CACHE_LINE) uint64_t popped;
    uint64_t available; /* published, as last loaded */
    uint64_t done;      /* consumed */
    bool told;          /* consumed was stored so that the sender's look at it counts */
};

struct lane *lane_open(struct io *to, uint32_t slots, uint64_t mark_bytes)
{
    struct lane *l = mem_try_alloc_aligned(CACHE_LINE, sizeof(*l));

    ASSERT(slots > 0 && (slots & (slots - 1)) == 0);
    if (l == NULL)
        FATAL("out of memory for a lane");
    memset(l, 0, sizeof(*l));
    l->to = to;
    l->slots = mem_array(slots, sizeof(*l->slots));
    l->sizes = mem_array(slots, sizeof(*l->sizes));
    l->mask = slots - 1;
    l->mark_bytes = mark_bytes;
    l->overflow_end = &l->overflow;
    l->told = true;
    return l;
}

void lane_set_sender(struct lane *l, struct io *from)
{
    l->from = from;
}

struct lane_item *lane_drain(struct lane *l)
{
    struct lane_item *item = l->popped < l->filled ? l->slots[l->popped & l->mask] : l->overflow;

    if (item == NULL)
        return NULL;
    if (l->popped < l->filled) {
        l->popped++;
    } else {
        l->overflow = item->next;
        if (l->overflow == NULL)
            l->overflow_end = &l->overflow;
    }
    item->next = NULL;
    return item;
}

void lane_close(struct lane *l)
{
    ASSERT(l->popped == l->filled && l->overflow == NULL);
    mem_free(l->slots);
    mem_free(l->sizes);
    mem_free(l);
}

/* ---- sender ---------------------------------------------------------------------------------- */

static void look(struct lane *l, memory_order order)
{
    uint64_t consumed = atomic_load_explicit(&l->consumed, order);

    while (l->seen != consumed)
        l->bytes -= l->sizes[l->seen++ & l->mask];
}

static bool fill(struct lane *l, struct lane_item *item)
{
    if (l->filled - l->seen > l->mask) {
        look(l, memory_order_acquire);
        if (l->filled - l->seen > l->mask)
            return false;
    }
    l->sizes[l->filled & l->mask] = item->bytes;
    l->slots[l->filled & l->mask] = item;
    l->filled++;
    return true;
}

void lane_push(struct lane *l, struct lane_item *item)
{
    item->next = NULL;
    l->pushed++;
    l->bytes += item->bytes;
    if (l->overflow == NULL && fill(l, item))
        return;
    *l->overflow_end = item;
    l->overflow_end = &item->next;
}

static void fill_from_overflow(struct lane *l)
{
    while (l->overflow != NULL) {
        struct lane_item *next = l->overflow->next;
        if (!fill(l, l->overflow))
            return;
        l->overflow = next;
    }
    l->overflow_end = &l->overflow;
}

static void publish(struct lane *l)
{
    if (l->announced == l->filled)
        return;
    l->announced = l->filled;
    atomic_store_explicit(&l->published, l->filled, memory_order_release);
    io_wake(l->to);
}

void lane_flush(struct lane *l)
{
    if (l->overflow != NULL)
        fill_from_overflow(l);
    publish(l);
    if (l->overflow == NULL)
        return;
    atomic_store(&l->wanted, true);
    look(l, memory_order_seq_cst);
    fill_from_overflow(l);
    publish(l);
}

uint64_t lane_sent(const struct lane *l)
{
    return l->pushed;
}

uint64_t lane_consumed(const struct lane *l)
{
    return atomic_load_explicit(&l->consumed, memory_order_acquire);
}

bool lane_ask_wake(struct lane *l)
{
    atomic_store(&l->wanted, true);
    look(l, memory_order_seq_cst);
    return l->seen != l->pushed;
}

bool lane_above_mark(struct lane *l)
{
    if (l->bytes <= l->mark_bytes)
        return false;
    look(l, memory_order_acquire);
    return l->bytes > l->mark_bytes;
}

/* ---- receiver -------------------------------------------------------------------------------- */

static void found_empty(struct lane *l)
{
    if (l->told)
        return;
    l->told = true;
    atomic_store(&l->consumed, l->done);
    if (atomic_load(&l->wanted)) {
        atomic_store(&l->wanted, false);
        if (l->from != NULL)
            io_wake(l->from);
    }
}

struct lane_item *lane_pop(struct lane *l)
{
    struct lane_item *item;

    if (l->popped == l->available) {
        l->available = atomic_load_explicit(&l->published, memory_order_acquire);
        if (l->popped == l->available) {
            found_empty(l);
            return NULL;
        }
    }
    item = l->slots[l->popped++ & l->mask];
    item->next = NULL;
    return item;
}

void lane_done(struct lane *l, const struct lane_item *item)
{
    (void) item;
    l->done++;
    ASSERT(l->done <= l->popped);
    l->told = false;
    atomic_store_explicit(&l->consumed, l->done, memory_order_release);
}

bool lane_empty(const struct lane *l)
{
    return l->popped == atomic_load_explicit(&l->published, memory_order_acquire);
}
