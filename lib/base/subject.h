/*
 * subject.h - what a subject is: tokens between dots, `*` for one token, `>` for one or more at the
 * end.
 *
 * All functions are pure and work on bytes in place. A subject is valid when it is not empty, has
 * no empty token, no blank, tab, CR, LF or NUL, and `>` only as the whole last token. A token that
 * merely contains
 * `*` or `>` among other bytes is a literal.
 */
#ifndef BASE_SUBJECT_H
#define BASE_SUBJECT_H

#include "lib/base/str.h"

#include <stdbool.h>

/* Most tokens that subject_split and the trie handle; deeper subjects are valid but never split on
 * a fixed array. The peer limits max_subscription_tokens to 255. */
#define SUBJECT_TOKENS_MAX 256

bool subject_valid(struct str s);
/* Valid and without wildcards: what may be published to. */
bool subject_valid_literal(struct str s);
bool subject_has_wildcard(struct str s);
/* Does the literal subject match the pattern? Both must be valid. */
bool subject_matches(struct str literal, struct str pattern);
/* Is every subject that `sub` matches also matched by `super`? (both may have wildcards) */
bool subject_subset(struct str sub, struct str super);
/* Is there a literal subject that both match? */
bool subject_overlap(struct str a, struct str b);
/* Cuts into tokens; returns their number, or 0 when there are more than max. */
unsigned subject_split(struct str s, struct str *tokens, unsigned max);
unsigned subject_count_tokens(struct str s);
/* Token number i (from 0), or an empty str. */
struct str subject_token(struct str s, unsigned i);

#endif
