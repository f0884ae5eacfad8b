/*
 * kafka_messages.h - the messages of the Kafka protocol as C structs, and what the codec knows of
 * them; all made from kafka_messages.def and kafka_apis.def.
 *
 * struct kafka_<message> has a member per field, whatever the version: what a version does not have
 * keeps its default value. An array is a pointer and a count, name and name_n; count -1 is null. A
 * string is a view, p == NULL is null. Strings and bytes of a decoded message lie in its frame,
 * arrays in the arena.
 */
#ifndef WIRE_KAFKA_MESSAGES_H
#define WIRE_KAFKA_MESSAGES_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kafka_uuid {
    uint8_t bytes[16]; /* all 0 = none */
};

/* Record batches, not looked into. */
struct kafka_records {
    const uint8_t *p;
    size_t n;
    bool null;
    /* To be sent and not in memory here as one piece: n bytes that the encoder leaves out
     * (kafka_encode, cuts). */
    void *elsewhere;
};

typedef bool kafka_type_BOOL;
typedef int8_t kafka_type_I8;
typedef int16_t kafka_type_I16;
typedef uint16_t kafka_type_U16;
typedef int32_t kafka_type_I32;
typedef int64_t kafka_type_I64;
typedef struct kafka_uuid kafka_type_UUID;
typedef struct str kafka_type_STR;
typedef struct str kafka_type_BYTES;
typedef struct kafka_records kafka_type_RECORDS;

/* ---- the structs */

#define STRUCT(name) struct kafka_##name {
#define END(name)                                                                                  \
    }                                                                                              \
    ;
#define FIELD(type, name, since, until, null, tag, value) kafka_type_##type name;
#define LIST(type, name, since, until, null, tag)                                                  \
    kafka_type_##type *name;                                                                       \
    int32_t name##_n;
#define ARRAY(of, name, since, until, null, tag)                                                   \
    struct kafka_##of *name;                                                                       \
    int32_t name##_n;
#define NESTED(of, name, since, until, null, tag) struct kafka_##of *name;
#include "lib/wire/kafka_messages.def"
#undef STRUCT
#undef END
#undef FIELD
#undef LIST
#undef ARRAY
#undef NESTED

/* ---- what the codec knows */

enum kafka_type {
    KAFKA_BOOL,
    KAFKA_I8,
    KAFKA_I16,
    KAFKA_U16,
    KAFKA_I32,
    KAFKA_I64,
    KAFKA_UUID,
    KAFKA_STR,
    KAFKA_BYTES,
    KAFKA_RECORDS,
    KAFKA_NESTED, /* a pointer to a struct; NULL = all default, or null */
};

#define KAFKA_UP INT16_MAX
#define KAFKA_NEVER INT16_MAX
#define KAFKA_UNTAGGED (-1)

struct kafka_struct;

struct kafka_field {
    const char *name;
    uint8_t type;  /* of an array: of its elements */
    bool is_array; /* the count lies behind the pointer */
    bool nil;      /* the default is null */
    int8_t tag;
    int16_t since, until, null_since;
    uint16_t offset;
    int64_t value; /* default */
    const struct kafka_struct *(*of)(void);
};

struct kafka_struct {
    const char *name;
    const struct kafka_field *fields;
    unsigned n;
    size_t size;
};

/* kafka_struct_<name>() for every struct. */
#define STRUCT(name) const struct kafka_struct *kafka_struct_##name(void);
#define END(name)
#define FIELD(type, name, since, until, null, tag, value)
#define LIST(type, name, since, until, null, tag)
#define ARRAY(of, name, since, until, null, tag)
#define NESTED(of, name, since, until, null, tag)
#include "lib/wire/kafka_messages.def"
#undef STRUCT
#undef END
#undef FIELD
#undef LIST
#undef ARRAY
#undef NESTED

enum kafka_key {
#define API(NAME, key, name, first, last, flexible) KAFKA_##NAME = key,
#include "lib/wire/kafka_apis.def"
#undef API
    KAFKA_KEYS = 76
};

struct kafka_api {
    const char *name;
    int16_t key, first, last; /* versions that the tables know */
    int16_t flexible;         /* the first flexible one, or KAFKA_NEVER */
    const struct kafka_struct *(*request)(void);
    const struct kafka_struct *(*response)(void);
};

/* NULL when the tables do not know the key. */
const struct kafka_api *kafka_api_of(int key);

#endif
