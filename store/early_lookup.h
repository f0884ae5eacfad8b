/*
 * early_lookup.h - subjects of a stream whose index has not been read, looked up where they lie: in
 * the footers of its segments. Private to early.c and early_lookup.c.
 *
 * A lookup is made for some subjects, does its reading on a work thread, and calls back on the
 * loop; there its owner takes what was found. One at a time for each stream.
 */
#ifndef STORE_EARLY_LOOKUP_H
#define STORE_EARLY_LOOKUP_H

#include "store/store_impl.h"

/* Subjects of a lookup. */
#define EARLY_LOOKUP_MAX 512u
/* Sequences of all of them together. */
#define EARLY_SEQS_MAX (1u << 20)

/* Every message of a subject up to the stream's end at a moment. */
struct early_subject {
    struct hmap_node node;
    uint64_t upto; /* all up to here are in seqs */
    uint64_t *seqs;
    uint32_t n;
    uint32_t len;
    char text[];
};

void early_subject_free(struct early_subject *sub);

struct early_lookup;
typedef void early_lookup_fn(void *ctx, struct early_lookup *l);

/* Of the messages that are there now, in the segments that are sealed and not read yet; their
 * fences go with it. */
struct early_lookup *early_lookup_new(struct store_stream *s);
/* Once each; beyond EARLY_LOOKUP_MAX it does nothing. Copies the text. */
void early_lookup_add(struct early_lookup *l, struct str subject);
/* done is called on the loop; behind it the lookup is freed. */
void early_lookup_start(struct early_lookup *l, early_lookup_fn *done, void *ctx);
/* Nobody waits for it any more. */
void early_lookup_forget(struct early_lookup *l);

/* In done: how many subjects it has; number k of them, which is the caller's then, or NULL when a
 * segment could not be asked or the subject has too many messages. */
uint32_t early_lookup_count(const struct early_lookup *l);
struct early_subject *early_lookup_take(struct early_lookup *l, const struct store_stream *s,
                                        uint32_t k);
/* In done: the next lookup needs not read the fences again. */
void early_lookup_give_back(struct early_lookup *l, struct store_stream *s);

#endif
