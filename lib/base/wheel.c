/*
 * Eight wheels of 64 slots; one turn of a wheel is one slot of the next.
 *
 * Placement. A timer sits on the level of the highest group of six bits in which its due_tick
 * differs from the wheel's tick, in the slot that this group of due_tick names:
 *
 *     tick     = ... 000010 000101 011110
 *     due_tick = ... 000010 001001 000011      differs first in group 1: level 1, slot 9
 *
 * From this follow three things that the code relies on:
 * 1. All timers of a level are due before all timers of the levels above it, and a level's slots
 * are due in the order of their numbers, none of them below the group of `tick`. So the next slot
 * is the lowest bit of the lowest non-empty level: two instructions, however long the gap is.
 * 2. Moving `tick` forward to anything before the start of that next slot changes nobody's
 * placement. So an idle gap is skipped at once, and a timer's slot can be computed again when it is
 * stopped.
 * 3. When `tick` reaches the start of a slot above level 0, its timers differ from tick in a lower
 * group (or not at all) and are placed again, each at most seven times in its life.
 *
 * Groups 0 to 7 cover 2^48 ticks; all of 64 bits of nanoseconds is less than 2^45.
 *
 * `horizon` is the tick of the last or running advance, `tick` runs up to it. Timers that are due
 * at or before the horizon when they are started wait in `overdue` for the next advance.
 */
#include "lib/base/wheel.h"

#include "lib/base/mem.h"

#include <stddef.h>

#define LEVELS 8
#define GROUP_BITS 6
#define SLOTS (1u << GROUP_BITS)

struct wheel {
    uint64_t tick;
    uint64_t horizon;
    unsigned levels; /* bit l: level l has a timer */
    bool advancing;
    uint64_t filled[LEVELS]; /* bit s: slot s has a timer */
    struct list overdue;
    struct list firing; /* of the current tick, not yet called */
    struct list slots[LEVELS][SLOTS];
};

struct place {
    unsigned level;
    unsigned slot;
};

static struct place place_of(const struct wheel *w, uint64_t due_tick)
{
    uint64_t differs = due_tick ^ w->tick;
    unsigned level = (unsigned) (63 - __builtin_clzll(differs | 1)) / GROUP_BITS;

    return (struct place){level, (unsigned) (due_tick >> (level * GROUP_BITS)) & (SLOTS - 1)};
}

static void place(struct wheel *w, struct wheel_timer *t)
{
    struct place at = place_of(w, t->due_tick);

    ASSERT(at.level < LEVELS);
    list_push_back(&w->slots[at.level][at.slot], &t->link);
    w->filled[at.level] |= (uint64_t) 1 << at.slot;
    w->levels |= 1u << at.level;
}

static void mark_empty(struct wheel *w, struct place at)
{
    w->filled[at.level] &= ~((uint64_t) 1 << at.slot);
    if (w->filled[at.level] == 0)
        w->levels &= ~(1u << at.level);
}

struct wheel *wheel_open(uint64_t now_ns)
{
    struct wheel *w = mem_zalloc(sizeof(*w));

    w->tick = w->horizon = now_ns / WHEEL_TICK_NS;
    list_init(&w->overdue);
    list_init(&w->firing);
    for (unsigned level = 0; level < LEVELS; level++) {
        for (unsigned slot = 0; slot < SLOTS; slot++)
            list_init(&w->slots[level][slot]);
    }
    return w;
}

void wheel_close(struct wheel *w)
{
    ASSERT(w->levels == 0 && list_empty(&w->overdue) && list_empty(&w->firing));
    mem_free(w);
}

void wheel_timer_init(struct wheel_timer *t, void (*fire)(struct wheel_timer *))
{
    list_init(&t->link);
    t->due_tick = 0;
    t->fire = fire;
}

void wheel_start(struct wheel *w, struct wheel_timer *t, uint64_t due_ns)
{
    wheel_stop(w, t);
    /* Rounded up: never early. */
    t->due_tick = due_ns / WHEEL_TICK_NS + (due_ns % WHEEL_TICK_NS != 0);
    if (t->due_tick > w->horizon)
        place(w, t);
    else
        list_push_back(&w->overdue, &t->link);
}

void wheel_stop(struct wheel *w, struct wheel_timer *t)
{
    struct place at;

    if (!wheel_pending(t))
        return;
    list_remove(&t->link);
    /* From overdue or firing it leaves no slot; then this looks at a slot that is marked right
     * already. */
    at = place_of(w, t->due_tick);
    if (list_empty(&w->slots[at.level][at.slot]))
        mark_empty(w, at);
}

/* The slot that is due next and the tick at which it starts; false when there is none. */
static bool next_slot(const struct wheel *w, struct place *at, uint64_t *start)
{
    unsigned shift;

    if (w->levels == 0)
        return false;
    at->level = (unsigned) __builtin_ctz(w->levels);
    at->slot = (unsigned) __builtin_ctzll(w->filled[at->level]);
    shift = at->level * GROUP_BITS;
    *start = (w->tick >> (shift + GROUP_BITS) << (shift + GROUP_BITS)) | (uint64_t) at->slot
                                                                             << shift;
    return true;
}

static unsigned fire_all(struct wheel *w)
{
    struct list *link;
    unsigned fired = 0;

    while ((link = list_pop_front(&w->firing)) != NULL) {
        struct wheel_timer *t = LIST_ENTRY(link, struct wheel_timer, link);
        t->fire(t);
        fired++;
    }
    return fired;
}

static void place_again(struct wheel *w, struct list *timers)
{
    struct list *link;

    while ((link = list_pop_front(timers)) != NULL)
        place(w, LIST_ENTRY(link, struct wheel_timer, link));
}

unsigned wheel_advance(struct wheel *w, uint64_t now_ns)
{
    uint64_t target = now_ns / WHEEL_TICK_NS, start;
    struct place at;
    unsigned fired;

    ASSERT(!w->advancing);
    /* Most calls come within the same millisecond. */
    if (target <= w->horizon && list_empty(&w->overdue))
        return 0;
    if (target > w->horizon)
        w->horizon = target;
    w->advancing = true;
    list_splice(&w->firing, &w->overdue);
    fired = fire_all(w);
    while (next_slot(w, &at, &start) && start <= w->horizon) {
        struct list moved;
        list_init(&moved);
        w->tick = start;
        list_splice(at.level == 0 ? &w->firing : &moved, &w->slots[at.level][at.slot]);
        mark_empty(w, at);
        place_again(w, &moved);
        fired += fire_all(w);
    }
    w->tick = w->horizon;
    w->advancing = false;
    return fired;
}

uint64_t wheel_next_ns(const struct wheel *w)
{
    struct place at;
    uint64_t start;

    if (!list_empty(&w->overdue))
        return w->horizon * WHEEL_TICK_NS;
    return next_slot(w, &at, &start) ? start * WHEEL_TICK_NS : UINT64_MAX;
}

static void check_slot(const struct wheel *w, struct place at)
{
    bool filled = (w->filled[at.level] >> at.slot & 1) != 0;

    ASSERT(filled == !list_empty(&w->slots[at.level][at.slot]));
    LIST_FOREACH(link, &w->slots[at.level][at.slot])
    {
        const struct wheel_timer *t = LIST_ENTRY(link, struct wheel_timer, link);
        struct place want = place_of(w, t->due_tick);
        ASSERT(link->next->prev == link);
        ASSERT(t->due_tick > w->tick);
        ASSERT(want.level == at.level && want.slot == at.slot);
    }
}

void wheel_check(const struct wheel *w)
{
    ASSERT(w->tick <= w->horizon);
    ASSERT(w->advancing || (w->tick == w->horizon && list_empty(&w->firing)));
    for (unsigned level = 0; level < LEVELS; level++) {
        ASSERT((w->levels >> level & 1) == (w->filled[level] != 0));
        for (unsigned slot = 0; slot < SLOTS; slot++)
            check_slot(w, (struct place){level, slot});
    }
    LIST_FOREACH(link, &w->overdue)
    ASSERT(LIST_ENTRY(link, const struct wheel_timer, link)->due_tick <= w->horizon);
}
