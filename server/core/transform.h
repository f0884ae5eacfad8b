/*
 * transform.h - subjects made from subjects: `orders.*.>` to `region.{{partition(3,1)}}.$1.>`.
 *
 * Streams use it for what they store and republish, mirrors and sources for what they copy,
 * accounts for mappings and imports. Pure, and immutable once made: any thread may use one.
 *
 * Source: a pattern, empty = ">". Destination: tokens, each of which is literal text or one
 * function; w counts the source's stars from 1, and every w below 1 is the source's first token.
 *     $w  {{wildcard(w)}}                   that token
 *     {{partition(n)}}  {{partition(n,w,...)}}   FNV-1a of the whole subject, or of those tokens
 *                                           one behind the other, modulo n
 *     {{splitFromLeft(w,at)}}  {{splitFromRight(w,at)}}      two tokens
 *     {{sliceFromLeft(w,size)}}  {{sliceFromRight(w,size)}}  tokens of that size
 *     {{split(w,delimiter)}}                its parts; empty ones are left out
 *     {{left(w,n)}}  {{right(w,n)}}         its first, last n bytes
 *     {{random(n)}}                         0 to n - 1
 * `>` ends both or neither.
 */
#ifndef CORE_TRANSFORM_H
#define CORE_TRANSFORM_H

#include "lib/base/buf.h"
#include "lib/base/prng.h"
#include "lib/base/str.h"

#include <stdbool.h>

/* Of the destination, in bytes; of the source, in tokens. */
#define TRANSFORM_BYTES_MAX 4096u
#define TRANSFORM_TOKENS_MAX 255u

struct transform;

enum transform_kind {
    TRANSFORM_ANY,
    TRANSFORM_REVERSIBLE, /* of imports: wildcard() alone, and every star of the source is used */
};

/* NULL, with a text in err (which may be NULL), when it is not a transform. An empty destination
 * means that there is none to make: ask before. */
struct transform *transform_new(struct str source, struct str dest, enum transform_kind kind,
                                struct buf *err);
/* The same question with the texts that streams answer; an empty destination is none, and right. */
bool transform_check(struct str source, struct str dest, struct buf *err);
/* t may be NULL. */
void transform_free(struct transform *t);
struct str transform_source(const struct transform *t);
struct str transform_dest(const struct transform *t);

/* Appends what a literal subject becomes. False, and nothing is appended, when the source does not
 * match it, or when the result would be no subject (split of a token of delimiters alone). prng is
 * for random(). */
bool transform_subject(const struct transform *t, struct str subject, struct prng *prng,
                       struct buf *out);
/* The same of what was published: there wildcards are tokens like others (an API request may carry
 * a filter in its subject), and so they are in the result. */
bool transform_published(const struct transform *t, struct str subject, struct prng *prng,
                         struct buf *out);
/* The transform that leads back, or NULL. t is TRANSFORM_REVERSIBLE. */
struct transform *transform_reverse(const struct transform *t);

/* Appends "foo.$1.$2" for "foo.*.*". */
void transform_number_stars(struct str pattern, struct buf *out);
/* Appends the pattern of what a destination makes as far as it is known without a subject:
 * "foo.*.*" for "foo.$2.{{wildcard(1)}}". */
void transform_dest_pattern(struct str dest, struct buf *out);

#endif
