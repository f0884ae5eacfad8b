/*
 * wheel.h - hierarchical timer wheel: start, stop and expiry in constant time, for hundreds of
 * thousands of timers (ack waits, pull expiries, heartbeats, pings).
 *
 * Resolution is 1 ms; a timer never fires early and fires at most one tick late for every advance.
 * Time is handed in (monotonic nanoseconds); the wheel never asks a clock. Timers are embedded in
 * their owners; one owner thread. The callback may start and stop any timer, also its own.
 */
#ifndef BASE_WHEEL_H
#define BASE_WHEEL_H

#include "lib/base/list.h"

#include <stdbool.h>
#include <stdint.h>

#define WHEEL_TICK_NS 1000000

struct wheel_timer {
    struct list link;
    uint64_t due_tick;
    void (*fire)(struct wheel_timer *timer);
};

struct wheel;

struct wheel *wheel_open(uint64_t now_ns);
/* No timer may be pending. */
void wheel_close(struct wheel *w);
void wheel_timer_init(struct wheel_timer *t, void (*fire)(struct wheel_timer *));
/* (Re)starts. What is due at or before the time of the last advance (of the running one, when
 * called from a callback) fires at the next advance, before all others: a callback can not keep an
 * advance going. */
void wheel_start(struct wheel *w, struct wheel_timer *t, uint64_t due_ns);
/* Harmless when it is not pending. */
void wheel_stop(struct wheel *w, struct wheel_timer *t);

static inline bool wheel_pending(const struct wheel_timer *t)
{
    return list_linked(&t->link);
}

/* Fires what is due at now_ns in order of ticks, within a tick in order of starts; returns how many
 * fired. A now_ns before the last one counts as the last one. Not from a callback. */
unsigned wheel_advance(struct wheel *w, uint64_t now_ns);
/* When the next timer is due at the earliest (may be too early by the width of an outer slot, never
 * too late), or UINT64_MAX. */
uint64_t wheel_next_ns(const struct wheel *w);
void wheel_check(const struct wheel *w);

#endif
