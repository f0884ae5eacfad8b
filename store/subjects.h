/*
 * subjects.h - the subjects of one stream: text <-> id, and what is known of each.
 *
 * Every distinct subject of a stream is interned once and gets a small id; batches' records,
 * filters and the id columns of segments speak of ids. A subject has two states, as its stream
 * does: the durable one (first, last, msgs) and the overlay of what is assigned but not durable yet
 * (last_assigned, pending). A commit that becomes durable moves its records from the overlay to the
 * durable state (subjects_commit); a failure drops the overlay (subjects_drop_pending).
 *
 * A subject whose durable state is empty and that nothing is pending for is freed, and its id is
 * given to the next new subject. That is safe because a column entry is only looked at for messages
 * that exist.
 *
 * first is exact while messages of a subject go in order (limits of the stream) and a lower bound
 * after a removal elsewhere found the first one; last is always exact.
 *
 * One owner, no I/O. The hash is seeded; listings are in byte order.
 */
#ifndef STORE_SUBJECTS_H
#define STORE_SUBJECTS_H

#include "lib/base/hmap.h"
#include "lib/base/str.h"

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
    struct hmap_node node;
    uint64_t first, last; /* durable; both 0 when msgs is 0 */
    uint64_t msgs;
    uint64_t last_assigned; /* >= last */
    uint32_t pending;       /* messages assigned and not durable */
    uint32_t id;
    uint32_t len;
    uint8_t mark; /* the limits': already noted as over */
    bool dead;    /* freed while the table is frozen */
    struct seq_ring ring;
    char text[];
};

enum { SUBJECTS_BLOCK = 4096 };

struct subjects {
    struct hmap map;
    uint64_t seed;
    struct subject ***blocks; /* id / SUBJECTS_BLOCK, id % SUBJECTS_BLOCK; NULL = free id */
    uint32_t nblocks, blocks_cap;
    uint32_t nids; /* ids handed out so far, free ones included */
    uint32_t *free_ids;
    uint32_t nfree, free_cap;
    uint64_t live;           /* subjects with msgs > 0 */
    struct subject **sorted; /* all live subjects in byte order, NULL when it must be rebuilt */
    uint64_t nsorted;
    uint32_t frozen;
    struct subject **limbo; /* freed while frozen */
    uint32_t nlimbo, limbo_cap;
    struct subject ***old_blocks[8]; /* arrays outgrown while frozen */
    uint32_t nold;
};

void subjects_init(struct subjects *t, uint64_t seed);
void subjects_deinit(struct subjects *t);

static inline struct str subject_text(const struct subject *sub)
{
    return (struct str){sub->text, sub->len};
}

static inline struct subject *subjects_by_id(const struct subjects *t, uint32_t id)
{
    return t->blocks[id / SUBJECTS_BLOCK][id % SUBJECTS_BLOCK];
}

/* NULL when it is not interned. */
struct subject *subjects_find(const struct subjects *t, struct str text);
/* Finds or adds. An added one is empty: commit, append to or release it. */
struct subject *subjects_intern(struct subjects *t, struct str text);
/* Frees the subject when it has no message and nothing pending. */
void subjects_release(struct subjects *t, struct subject *sub);

/* One record became durable. */
static inline void subjects_commit(struct subjects *t, struct subject *sub, uint64_t seq)
{
    if (sub->msgs++ == 0) {
        sub->first = seq;
        t->live++;
        t->nsorted = 0;
    }
    sub->last = seq;
    sub->pending--;
}
/* One message is gone. next: the first message of the subject after seq when seq was its first, if
 * known (0 = not known: first becomes a lower bound); prev likewise must be given when seq was its
 * last and messages remain. May free the subject. */
void subjects_remove(struct subjects *t, struct subject *sub, uint64_t seq, uint64_t next,
                     uint64_t prev);
/* Drops the overlay of all subjects. */
void subjects_drop_pending(struct subjects *t);

/* For work threads that look up the texts of ids: until the matching thaw no id that is in use now
 * is freed or reused. The result is indexed as `blocks` is; only text and len of those subjects may
 * be read. */
struct subject **const *subjects_freeze(struct subjects *t);
void subjects_thaw(struct subjects *t);

/* Ring of sequences. */
void seq_ring_push(struct seq_ring *r, uint64_t seq);
static inline uint64_t seq_ring_at(const struct seq_ring *r, uint32_t i)
{
    return r->seqs[(r->head + i) & (r->cap - 1)];
}
/* Takes seq out wherever it is; from the ends in constant time. */
bool seq_ring_remove(struct seq_ring *r, uint64_t seq);
void seq_ring_free(struct seq_ring *r);

/* All subjects with messages, sorted; lives until the table changes. */
struct subject **subjects_sorted(struct subjects *t, uint64_t *n);

void subjects_check(const struct subjects *t);

#endif
