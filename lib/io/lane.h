/*
 * lane.h - one FIFO mailbox from one worker to another, carrying runs.
 *
 * For every ordered pair of workers there is one lane. The sender alone pushes, the receiver alone
 * pops; they share the ring's two counters and a flag for the case that it overflows. An item is
 * owned by the lane from push to pop.
 *
 * Derived traffic (acks, replies, deliveries, bounces) must always fit: when the ring is full,
 * items go to the sender's overflow list and move into the ring at the next lane_flush, in order.
 * Socket input respects lane_above_mark: the connection stops receiving while it holds.
 *
 * Fences: pushed and popped count items since the start. "Everything I sent before now has been
 * consumed" is lane_consumed(lane) >= the value lane_sent(lane) had then; a PONG waits for exactly
 * that.
 *
 * Wake: lane_flush wakes the receiver's loop only when the receiver may be asleep (it announces
 * sleep before its last look at its lanes, so that no wake is lost; memory order is argued in
 * lane.c).
 */
#ifndef IO_LANE_H
#define IO_LANE_H

#include "lib/base/lane_item.h"

#include <stdbool.h>
#include <stdint.h>

struct io;
struct lane;

/* slots: a power of two; mark_bytes: socket input above this stops. `to` is the receiver's loop. */
struct lane *lane_open(struct io *to, uint32_t slots, uint64_t mark_bytes);
/* The sender's loop, to be woken when a ring that was full has been emptied and items wait in the
 * overflow list, and for lane_ask_wake. Before the first push; without it somebody else must see to
 * it that the sender flushes again. */
void lane_set_sender(struct lane *l, struct io *from);
/* Both workers have stopped: the items still inside one by one, also those that were never flushed.
 */
struct lane_item *lane_drain(struct lane *l);
/* The lane is drained. */
void lane_close(struct lane *l);

/* Sender. */
void lane_push(struct lane *l, struct lane_item *item);
void lane_flush(struct lane *l); /* publishes what was pushed, at the end of an iteration; wakes at
                                    most once */
uint64_t lane_sent(const struct lane *l);
uint64_t lane_consumed(const struct lane *l);
/* The sender is about to wait for what it sent to be consumed (for a fence, or below the mark): its
 * loop (lane_set_sender) is woken when the receiver has consumed everything that was flushed. Asked
 * once per wait; a busy loop that looks at lane_consumed in every iteration need not ask. False:
 * all is consumed already. */
bool lane_ask_wake(struct lane *l);
bool lane_above_mark(struct lane *l);

/* Receiver. NULL when empty. The item is the receiver's from now on; lane_done counts it as
 * consumed (after its effects have happened), which is what fences see. */
struct lane_item *lane_pop(struct lane *l);
void lane_done(struct lane *l, const struct lane_item *item);
bool lane_empty(const struct lane *l);

#endif
