/*
 * json_kinds.h - are the values of a JSON text of the kinds that a reader wants, and what is said
 * when one is not: in the words that clients of nats-server know, with its names of types.
 *
 * A request is described by a struct json_shape; json_check walks the text beside it. The first
 * fault in the order of the text is the one that is told. Nothing is read out of the text: that is
 * fields_read's.
 */
#ifndef MIDGE_LIB_JSON_KINDS_H
#define MIDGE_LIB_JSON_KINDS_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum json_kind {
    KIND_STRING,
    KIND_BOOL,
    KIND_INT,
    KIND_INT32,
    KIND_INT64,
    KIND_UINT64,
    KIND_DURATION,
    KIND_TIME,
    KIND_STRINGS,
    KIND_UINT64S,
    KIND_DURATIONS,
    KIND_TEXT_MAP,   /* an object of strings */
    KIND_NUMBER_MAP, /* an object of uint64 */
    KIND_OBJECT,     /* inside says of what */
    KIND_OBJECTS,    /* a list of them */
    KIND_CHOICE,     /* one of the texts */
};

struct json_shape;

struct json_member {
    const char *name; /* keys are found without case */
    enum json_kind kind;
    const struct json_shape *inside;
    const char *const *texts; /* NULL-terminated */
    const char *refusal;      /* of a choice: what is said of another value, which is written in
                               * the place of "%"; without "%", another value is a string.
                               * NULL: can not unmarshal "..." */
    const char *type;         /* of a list of objects, where it is not []server.X */
};

struct json_shape {
    const char *name; /* of the type; NULL: of a type without a name */
    const struct json_member *members;
    size_t n;
};

/* False with a text in err when the text is no JSON or its values are not as the shape says. null
 * is right for all but choices, and unknown members are wrong in strict mode alone. Texts as deep
 * as JSON_SYNTAX_DEPTH are refused. */
bool json_check(struct str text, const struct json_shape *shape, bool strict, struct buf *err);

#endif
