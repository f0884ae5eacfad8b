/*
 * trie.h - patterns as a tree of tokens: which of a million subscriptions match this subject?
 *
 * Not thread-safe: interest.c puts the lock around it. Entries are embedded in the caller's
 * objects; the trie owns its nodes, which carry the tokens, so that an entry needs no copy of its
 * pattern.
 */
#ifndef CORE_TRIE_H
#define CORE_TRIE_H

#include "lib/base/buf.h"
#include "lib/base/hmap.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Of a pattern. */
#define TRIE_BYTES_MAX 4096u
#define TRIE_TOKENS_MAX 255u

struct trie_node;

/* One stored pattern's place; many may share a node. */
struct trie_entry {
    struct trie_entry *next, *prev; /* ring of the entries of one node */
    struct trie_node *node;
};

struct trie {
    struct hmap edges; /* all literal children of all nodes: (parent, token) -> node */
    struct trie_node *root;
    uint64_t seed;
    uint32_t next_id;
    size_t nodes; /* without the root */
    size_t entries;
};

void trie_init(struct trie *t, uint64_t seed);
/* Frees the nodes; entries still inside are the caller's, who visits them before with trie_each. */
void trie_deinit(struct trie *t);

/* The pattern is valid and within the limits. Entries of one node keep the order of insertion. */
void trie_insert(struct trie *t, struct str pattern, struct trie_entry *e);
void trie_remove(struct trie *t, struct trie_entry *e);

typedef void (*trie_visit_fn)(void *ctx, struct trie_entry *e);

/* Visits every entry whose pattern matches the subject. A subject with an empty token matches
 * nothing. */
void trie_match(const struct trie *t, struct str subject, trie_visit_fn visit, void *ctx);

/* Visits what would match prefix + "." + any one more token, as far as it does not depend on that
 * token; true when that is all, false when some literal token has a pattern of its own there. */
bool trie_match_children(const struct trie *t, struct str prefix, trie_visit_fn visit, void *ctx);

/* May any pattern match a subject that begins with prefix + "."? No false answer is wrong. */
bool trie_any_below(const struct trie *t, struct str prefix);

/* Appends the entry's pattern. */
void trie_pattern(const struct trie_entry *e, struct buf *out);
/* Visits all; the order depends on the seed and the history only. visit may free the entry when no
 * other call than trie_deinit follows. */
void trie_each(const struct trie *t, trie_visit_fn visit, void *ctx);
/* Heap bytes of nodes and tables, without the allocator's own. */
size_t trie_bytes(const struct trie *t);
void trie_check(const struct trie *t);

#endif
