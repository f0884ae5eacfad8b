/*
 * json.h - JSON to structs and back, by tables: the one place that touches jansson.
 *
 * A struct that travels as JSON is described once by an array of struct json_field; fields_read
 * fills it and fields_write prints it. Keys are found without case, as the peer's decoder finds
 * them; in strict mode an unknown key is an error. Texts of errors follow the peer's ("json:
 * unknown field \"x\"").
 *
 * Strings are owned by the struct (fields_release frees them by the same table). Numbers are
 * 64-bit; times are RFC 3339 text outside and unix nanoseconds inside, durations are integer
 * nanoseconds.
 */
#ifndef JSON_JSON_H
#define JSON_JSON_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum field_type {
    JSON_STRING_FIELD, /* char *; NULL when absent */
    JSON_BOOL_FIELD,   /* bool */
    JSON_I64_FIELD,    /* int64_t */
    JSON_U64_FIELD,    /* uint64_t */
    JSON_ENUM_FIELD,   /* int; aux: NULL-terminated array of texts */
    JSON_TIME_FIELD,   /* int64_t unix ns; 0 = absent */
    JSON_LIST_FIELD,   /* struct str_list of strings */
    JSON_I64S_FIELD,   /* struct i64_list of integers */
    JSON_RAW_FIELD,    /* json_t *: kept as it came, an own reference */
    JSON_TEXT_FIELD,   /* char *: any value as JSON text; what is written must be JSON */
};

enum {
    JSON_OMIT_EMPTY = 1, /* not printed when zero, false, empty or NULL */
    JSON_READ_ONLY = 2,  /* accepted, never printed */
    JSON_ZERO_TIME = 4,  /* year 1 is a time (FMT_TIME_GO_ZERO) and not the same as none */
};

struct json_field {
    const char *name;
    enum field_type type;
    size_t offset;
    unsigned flags;
    const char *const *texts; /* of JSON_ENUM_FIELD */
};

struct str_list {
    char **items;
    size_t n;
};

struct i64_list {
    int64_t *items;
    size_t n;
};

void str_list_add(struct str_list *l, struct str s);
void str_list_free(struct str_list *l);
void str_list_copy(struct str_list *to, const struct str_list *from);
bool str_list_eq(const struct str_list *a, const struct str_list *b);

/* Parses text as one object. NULL with a text in err. The caller frees with json_decref. */
json_t *json_parse_object(struct str text, struct buf *err);
/* Fills out (which must be zeroed or hold earlier values; absent keys change nothing). False with a
 * text in err. */
bool fields_read(json_t *object, const struct json_field *fields, size_t n, void *out, bool strict,
                 struct buf *err);
/* Prints `"name":value` pairs separated by commas, without braces. */
void fields_write(struct buf *b, const struct json_field *fields, size_t n, const void *in);
void fields_release(const struct json_field *fields, size_t n, void *in);
/* A deep copy into zeroed memory. */
void fields_copy(const struct json_field *fields, size_t n, void *to, const void *from);
/* Are both printed alike? */
bool fields_equal(const struct json_field *fields, size_t n, const void *a, const void *b);

/* Pieces for documents written by hand. */
void jput_string(struct buf *b, struct str s);
void jput_time(struct buf *b, int64_t unix_ns);
/* Keys of objects in order, so that equal values print alike. */
void jput_raw(struct buf *b, const json_t *value);

#endif
