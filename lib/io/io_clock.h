/*
 * io_clock.h - the wall clock that a loop believes.
 *
 * A wall clock that is set tells nothing about how much time has passed, but ages of messages,
 * duplicate windows and times to live are differences of it: a year forward for a second, and every
 * message with an age is gone. So the believed clock runs with the monotonic one. Where the wall
 * clock is less than a second away (slewing, leap seconds, small steps) it is followed at once; a
 * larger step is believed when it has stood for a minute. The time that the machine was asleep is
 * no step.
 *
 * Pure; times in nanoseconds.
 */
#ifndef IO_CLOCK_H
#define IO_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define IO_CLOCK_STEP 1000000000ll
#define IO_CLOCK_TRUST 60000000000u

struct io_clock {
    int64_t offset; /* believed: wall clock - monotonic clock */
    int64_t claim;  /* doubted: the same of a clock that was set */
    uint64_t since; /* when the doubt began */
    uint64_t asleep;
    bool started, doubted;
};

enum io_clock_news {
    IO_CLOCK_QUIET,
    IO_CLOCK_DOUBTED,  /* it was set, and is not believed yet */
    IO_CLOCK_BELIEVED, /* it has stood long enough */
    IO_CLOCK_BACK,     /* it is right again, as if nothing had been */
};

/* Does this look of the clocks need io_clock_look? */
static inline bool io_clock_agrees(const struct io_clock *c, uint64_t now, int64_t wall)
{
    int64_t off = wall - (int64_t) now - c->offset;
    return c->started && !c->doubted && off < IO_CLOCK_STEP && off > -IO_CLOCK_STEP;
}

/* Both clocks, and how long the machine has slept since it was started (0 where that is not known).
 * Returns the believed wall clock. */
int64_t io_clock_look(struct io_clock *c, uint64_t now, int64_t wall, uint64_t asleep,
                      enum io_clock_news *news);

#endif
