/*
 * deadlines.h - which sequences are due when: an ordered structure of (time, sequence) pairs.
 *
 * Pure: times are handed in (unix nanoseconds). A binary heap of 16 bytes an entry. Equal times
 * come out in order of sequence. What is removed from a stream early is not looked for here: an
 * entry whose message has gone is dropped when it is due, or by deadlines_thin, which the owner
 * calls when it has noticeably more entries than messages; so memory follows the number of
 * messages.
 */
#ifndef JS_DEADLINES_H
#define JS_DEADLINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct deadline {
    int64_t at;
    uint64_t seq;
};

struct deadlines {
    struct deadline *heap;
    size_t n, cap;
    size_t probe; /* where deadlines_thin looks next */
};

void deadlines_deinit(struct deadlines *d);
void deadlines_add(struct deadlines *d, int64_t at, uint64_t seq);
/* The earliest, or NULL; valid until the next change. */
const struct deadline *deadlines_first(const struct deadlines *d);
/* Drops the earliest. */
void deadlines_pop(struct deadlines *d);
void deadlines_clear(struct deadlines *d);
/* Drops all whose sequence is above seq: they were never stored. Costs a pass over all. */
void deadlines_forget_above(struct deadlines *d, uint64_t seq);
/* Looks at `budget` entries and drops those that keep says no to. */
void deadlines_thin(struct deadlines *d, size_t budget, bool (*keep)(void *ctx, uint64_t seq),
                    void *ctx);
void deadlines_check(const struct deadlines *d);

#endif
