/* transform_int.h - a transform from the inside: transform_parse.c makes it, transform.c applies
 * it. */
#ifndef CORE_TRANSFORM_INT_H
#define CORE_TRANSFORM_INT_H

#include "server/core/transform.h"

#include <stdint.h>

enum transform_op {
    OP_LITERAL,
    OP_REST, /* ">" */
    OP_WILDCARD,
    OP_PARTITION,
    OP_SPLIT_FROM_LEFT,
    OP_SPLIT_FROM_RIGHT,
    OP_SLICE_FROM_LEFT,
    OP_SLICE_FROM_RIGHT,
    OP_RIGHT,
    OP_LEFT,
    OP_SPLIT,
    OP_RANDOM,
};

/* One token of the destination. */
struct transform_part {
    enum transform_op op;
    struct str text;  /* the literal, or split's delimiter; a view into dest */
    int32_t number;   /* count, position or size */
    unsigned ntokens; /* tokens of the source that it takes */
    unsigned *tokens; /* their places in the source, from 0; own */
};

struct transform {
    char *source, *dest; /* own */
    struct str source_str, dest_str;
    unsigned nsource; /* tokens */
    bool identity;    /* ">" to ">" */
    unsigned nparts;
    struct transform_part *parts;
};

/* What a token of a destination says: wildcards in tokens still count from 1. A literal unless it
 * is a function. False with a text (without the token) when it is a wrong one. */
struct transform_call {
    enum transform_op op;
    struct str text;
    int32_t number;
    unsigned n;
    int64_t wildcards[TRANSFORM_TOKENS_MAX];
};
bool transform_read_token(struct str token, struct transform_call *out, const char **why);

#endif
