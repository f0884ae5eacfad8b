/*
 * subject_tree.h - the subjects of a table in byte order: a radix tree whose leaves are subjects.
 *
 * The table finds a subject by its hash; the tree answers what a hash can not: all subjects in
 * order, the first one at or behind a text, and those that match a pattern, going only where
 * matching ones can be. It costs 7 to 12 bytes a subject.
 *
 * A cursor stands on a subject or behind the last one. It is void as soon as the tree changes: to
 * go on later keep the text and seek behind it.
 */
#ifndef STORE_SUBJECT_TREE_H
#define STORE_SUBJECT_TREE_H

#include "lib/base/str.h"
#include "store/ref_pool.h"

#include <stdbool.h>
#include <stdint.h>

struct subject_tree {
    struct ref_pool nodes;
    const struct ref_pool *subjects; /* struct subject by reference */
    uint32_t root;                   /* 0 = empty */
};

void subject_tree_init(struct subject_tree *t, const struct ref_pool *subjects);
void subject_tree_deinit(struct subject_tree *t);
/* The subject is in no tree, and its text differs from all others. */
void subject_tree_insert(struct subject_tree *t, uint32_t subject);
/* It is in the tree. */
void subject_tree_remove(struct subject_tree *t, uint32_t subject);
/* Asserts order, branching and that it holds n subjects. */
void subject_tree_check(const struct subject_tree *t, uint64_t n);

struct subject_step {
    uint32_t node, child;
};

enum { CURSOR_STEPS = 24 };

struct subject_cursor {
    const struct subject_tree *tree;
    uint32_t subject; /* where it stands; 0 = behind the last */
    struct subject_step *steps;
    uint32_t n, cap;
    struct subject_step few[CURSOR_STEPS];
};

/* Stands nowhere until it seeks. Not to be copied. */
void subject_cursor_init(struct subject_cursor *c, const struct subject_tree *t);
void subject_cursor_deinit(struct subject_cursor *c);
/* To the first subject at or (behind) behind the text. */
void subject_cursor_seek(struct subject_cursor *c, struct str text, bool behind);
/* To the next one. */
void subject_cursor_next(struct subject_cursor *c);

/* From where the cursor stands to the first subject that matches the pattern; false when there is
 * none. *steps counts the subjects looked at. */
bool subject_cursor_match(struct subject_cursor *c, struct str pattern, uint32_t *steps);
/* Where a search for the pattern begins: what stands before its first wildcard. */
struct str subject_pattern_prefix(struct str pattern);

#endif
