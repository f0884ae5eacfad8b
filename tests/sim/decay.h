/*
 * decay.h - what happens to a disk that nobody writes to: bytes rot, pages come back empty, a write
 * that was meant for another place lands here.
 *
 * One damage to one file of a store that was closed. What may be lost then is bounded by what was
 * touched, is counted, and is never replaced by other bytes: judge.c knows a world's decay.
 */
#ifndef TESTS_SIM_DECAY_H
#define TESTS_SIM_DECAY_H

#include <stdbool.h>
#include <stdint.h>

struct prng;
struct sim;

enum decay_kind {
    DECAY_NONE,
    DECAY_BYTE,        /* one byte has another value */
    DECAY_PAGE,        /* one page is zero */
    DECAY_MISDIRECTED, /* one page has the bytes of another one, of this file or another */
};

struct decay {
    enum decay_kind kind;
    bool segment; /* a file of messages; else nothing may be lost */
    /* judge.c: so many messages of this stream are lost. */
    uint64_t lost;
    unsigned stream;
};

/* Damages one file of the disk, durably. `logs`: one of the commit log and its twin may be it. */
void decay_draw(struct decay *d, struct sim *sim, bool logs, struct prng *rng);

#endif
