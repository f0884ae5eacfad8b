/*
 * subjects.h - the subjects of one stream: text <-> id, and what is known of each.
 *
 * Every distinct subject of a stream is interned once and gets an id, with which batches' records,
 * filters and the id columns of segments speak of it. An id is a reference into the table's pool
 * (ref_pool.h): not 0, not dense; no two subjects share a SUBJECT_SLOT, so that tables indexed by
 * slot are at most about twice as long as there are subjects. A subject has two states, as its
 * stream does: the durable one (first, last, msgs) and the overlay of what is assigned but not
 * durable yet (assigned, pending). A commit that becomes durable moves its records from the overlay
 * to the durable state (subjects_commit); a failure drops the overlay (subjects_drop_pending).
 *
 * A subject whose durable state is empty and that nothing is pending for is freed, and its id may
 * be given to a new subject. That is safe because a column entry is only looked at for messages
 * that exist.
 *
 * first is exact while messages of a subject go in order (limits of the stream) and a lower bound
 * after a removal elsewhere found the first one; last is always exact.
 *
 * Memory, beyond the text: 40 bytes a subject, up to 7 of rounding, 4 to 8 of hash buckets, 7 to 12
 * of the tree.
 *
 * One owner, no I/O. The hash is seeded; listings are in byte order.
 */
#ifndef STORE_SUBJECTS_H
#define STORE_SUBJECTS_H

#include "lib/base/str.h"
#include "store/ref_pool.h"
#include "store/subject_tree.h"

#include <stdbool.h>
#include <stdint.h>

/* Sequences of a subject's messages in order, kept only under a limit per subject above 1. */
struct seq_ring {
    uint64_t *seqs;
    uint32_t cap; /* a power of two */
    uint32_t head;
    uint32_t n;
};

struct subject {
    uint64_t first, last; /* durable; both 0 when msgs is 0 */
    uint64_t msgs;
    uint32_t assigned; /* low half of the last one assigned, while something is pending */
    uint32_t pending;  /* messages assigned and not durable */
    uint32_t next;     /* in its bucket */
    uint16_t len;
    uint8_t mark; /* the limits': already noted as over */
    bool dead;    /* freed while the table is frozen */
    char text[];
};

/* Index of a table by id. */
#define SUBJECT_SLOT(id) ((id) >> 2)

struct subjects {
    struct ref_pool pool;
    struct subject_tree tree;
    uint64_t seed;
    uint32_t *buckets;
    uint32_t *old_buckets; /* while growing, else NULL */
    uint32_t mask, old_mask;
    uint32_t moved; /* old buckets already moved */
    uint32_t count;
    uint64_t live; /* subjects with msgs > 0 */
    uint32_t frozen;
    uint32_t *limbo; /* freed while frozen */
    uint32_t nlimbo, limbo_cap;
    bool rings;
    struct seq_ring *ring_of; /* by slot, while rings is set */
    uint32_t nring;
};

void subjects_init(struct subjects *t, uint64_t seed);
void subjects_deinit(struct subjects *t);

static inline struct str subject_text(const struct subject *sub)
{
    return (struct str){sub->text, sub->len};
}

static inline struct subject *subjects_by_id(const struct subjects *t, uint32_t id)
{
    return ref_at(&t->pool, id);
}

/* 0 when it is not interned. */
uint32_t subjects_find(const struct subjects *t, struct str text);
/* The same, with the subject; NULL. */
static inline struct subject *subjects_get(const struct subjects *t, struct str text)
{
    uint32_t id = subjects_find(t, text);

    return id != 0 ? subjects_by_id(t, id) : NULL;
}
/* Finds or adds. An added one is empty: commit, append to or release it. */
uint32_t subjects_intern(struct subjects *t, struct str text);
/* Frees the subject when it has no message and nothing pending. */
void subjects_release(struct subjects *t, uint32_t id);

/* The subject's last message with what is assigned; the stream's last one assigned tells the upper
 * half. */
static inline uint64_t subject_last_assigned(const struct subject *sub, uint64_t last_assigned)
{
    if (sub->pending == 0)
        return sub->last;
    return last_assigned - (uint32_t) ((uint32_t) last_assigned - sub->assigned);
}

/* One record became durable. */
static inline void subjects_commit(struct subjects *t, struct subject *sub, uint64_t seq)
{
    if (sub->msgs++ == 0) {
        sub->first = seq;
        t->live++;
    }
    sub->last = seq;
    sub->pending--;
}
/* One message is gone. next: the first message of the subject after seq when seq was its first, if
 * known (0 = not known: first becomes a lower bound); prev likewise must be given when seq was its
 * last and messages remain. May free the subject. */
void subjects_remove(struct subjects *t, uint32_t id, uint64_t seq, uint64_t next, uint64_t prev);
/* Drops the overlay of all subjects. */
void subjects_drop_pending(struct subjects *t);

/* For work threads that look up the texts of ids: until the matching thaw no id that is in use now
 * is freed or reused. Only text and len of those subjects may be read, through subjects_by_id. */
void subjects_freeze(struct subjects *t);
void subjects_thaw(struct subjects *t);

/* All subjects, in no useful order but the same for the same seed and history; the one given may be
 * released. struct subjects_iter it = {0}; */
struct subjects_iter {
    uint64_t bucket; /* old ones first */
    uint32_t next;
};
uint32_t subjects_each(const struct subjects *t, struct subjects_iter *it);

/* Ring of sequences: keeps one per subject from now on (empty), or none. */
void subjects_keep_rings(struct subjects *t, bool keep);
/* NULL unless rings are kept. */
struct seq_ring *subject_ring(struct subjects *t, uint32_t id);
void seq_ring_push(struct seq_ring *r, uint64_t seq);
static inline uint64_t seq_ring_at(const struct seq_ring *r, uint32_t i)
{
    return r->seqs[(r->head + i) & (r->cap - 1)];
}
/* Takes seq out wherever it is; from the ends in constant time. */
bool seq_ring_remove(struct seq_ring *r, uint64_t seq);
void seq_ring_free(struct seq_ring *r);

/* Bytes of memory for all of it but the rings. */
uint64_t subjects_bytes(const struct subjects *t);

void subjects_check(const struct subjects *t);

#endif
