/*
 * filter_index.h - many filters (subjects with wildcards), and which of them match a subject.
 *
 * A filter is kept under the tokens in front of its first wildcard. A subject is looked up by each
 * number of tokens that some filter has there: a literal filter, or one that begins with tokens of
 * its own, costs nothing to subjects that begin otherwise. Filters that begin with a wildcard are
 * all looked at.
 *
 * Entries are the caller's, the text of a filter is borrowed until filter_index_remove returns.
 * Order of filter_index_each: fewest tokens in front first, then as inserted or the other way
 * round, the same for the same history. One thread.
 */
#ifndef BASE_FILTER_INDEX_H
#define BASE_FILTER_INDEX_H

#include "lib/base/hmap.h"
#include "lib/base/str.h"

#include <stdint.h>

/* Tokens beyond these are not looked up, only compared. */
#define FILTER_INDEX_TOKENS 63u

struct filter_entry {
    struct hmap_node node;
    struct str filter;
    void *owner;
    unsigned tokens; /* in front of the first wildcard */
};

struct filter_index {
    struct hmap entries;
    uint64_t used; /* bit k: there are filters with k tokens in front */
    uint32_t count[FILTER_INDEX_TOKENS + 1];
};

typedef void (*filter_index_on_match)(void *ctx, void *owner);

void filter_index_init(struct filter_index *x);
/* Entries that are still in it are the caller's. */
void filter_index_deinit(struct filter_index *x);
void filter_index_add(struct filter_index *x, struct filter_entry *e, struct str filter,
                      void *owner);
void filter_index_remove(struct filter_index *x, struct filter_entry *e);
/* Calls each for every filter that matches the subject; it must not change the index. */
void filter_index_each(const struct filter_index *x, struct str subject, filter_index_on_match each,
                       void *ctx);

#endif
