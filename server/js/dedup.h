/*
 * dedup.h - the duplicate window of one stream: which message ids were seen in the last minutes,
 * and with which sequence.
 *
 * Ids are kept as 128-bit seeded hashes (two different ids collide with a chance of 2^-64 at four
 * billion ids), 56 bytes each. Entries leave in the order in which they came, when they are older
 * than the window. Pure; one owner.
 */
#ifndef JS_DEDUP_H
#define JS_DEDUP_H

#include "lib/base/hmap.h"
#include "lib/base/list.h"
#include "lib/base/str.h"

#include <stdint.h>

struct dedup {
    struct hmap map;
    struct list order; /* oldest first */
    uint64_t seed;
    int64_t window_ns;
};

void dedup_init(struct dedup *d, uint64_t seed, int64_t window_ns);
void dedup_deinit(struct dedup *d);
/* The sequence the id was stored with inside the window, or 0. */
uint64_t dedup_find(struct dedup *d, struct str id, int64_t now_unix_ns);
void dedup_add(struct dedup *d, struct str id, uint64_t seq, int64_t ts);
/* Forgets ids of sequences above seq: their commit failed. */
void dedup_forget_above(struct dedup *d, uint64_t seq);

#endif
