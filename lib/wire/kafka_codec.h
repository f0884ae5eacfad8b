/*
 * kafka_codec.h - messages of the Kafka protocol between bytes and structs, by the tables of
 * kafka_messages.def.
 *
 * Pure functions over bytes. Nothing is allocated by a count that was not compared with the bytes
 * that are there: an array of n elements needs n times the least that one of them takes. What a
 * message takes in the arena is limited to KAFKA_ARENA_FACTOR times its bytes, and to
 * KAFKA_ARENA_MOST.
 */
#ifndef WIRE_KAFKA_CODEC_H
#define WIRE_KAFKA_CODEC_H

#include "lib/base/buf.h"
#include "lib/wire/kafka_messages.h"

/* Memory of one request and its response: freed in one go. Zero-initialised is empty. Allocations
 * are zeroed and never fail; who allocates by what a client says has checked it. */
struct kafka_arena {
    struct kafka_arena_block *blocks;
    size_t used; /* bytes handed out */
};

void *kafka_arena_alloc(struct kafka_arena *a, size_t bytes);
/* A copy. */
struct str kafka_arena_str(struct kafka_arena *a, struct str s);
/* printf. */
struct str kafka_arena_text(struct kafka_arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* n structs with default values. */
void *kafka_arena_structs(struct kafka_arena *a, const struct kafka_struct *s, size_t n);
#define KAFKA_NEW(arena, name, count)                                                              \
    ((struct kafka_##name *) kafka_arena_structs(arena, kafka_struct_##name(), (size_t) (count)))
void kafka_arena_free(struct kafka_arena *a);

#define KAFKA_ARENA_FACTOR 32u
#define KAFKA_ARENA_LEAST (64u << 10)
#define KAFKA_ARENA_MOST (32u << 20)

/* ---- requests and responses */

struct kafka_header {
    int16_t key, version;
    int32_t correlation;
    struct str client_id; /* p == NULL: null */
};

/* Takes the header of a request from the front of *in. False when it is cut or malformed; key and
 * version are valid if *in had four bytes. Of an unknown key or version the tags are not taken. */
bool kafka_take_header(struct str *in, struct kafka_header *out);
/* The first bytes of an answer, behind its length. */
void kafka_put_response_header(struct buf *out, const struct kafka_header *h);

/* The body of a request or response from the front of *in; the struct is in the arena. NULL when it
 * is malformed. */
void *kafka_decode(const struct kafka_struct *s, int version, bool flexible, struct str *in,
                   struct kafka_arena *arena);

/* Where the bytes of a kafka_records with `elsewhere` belong: in front of out's byte `at`. */
struct kafka_cut {
    size_t at;
    const struct kafka_records *records;
};
struct kafka_cuts {
    struct kafka_cut *cuts; /* mem_free */
    size_t n, cap;
    uint64_t bytes; /* of all that was left out */
};

/* Appends the body. cuts may be NULL when nothing is elsewhere. What the version does not have is
 * left out, and a null where none may be becomes an empty value. */
void kafka_encode(const struct kafka_struct *s, int version, bool flexible, const void *message,
                  struct buf *out, struct kafka_cuts *cuts);

static inline bool kafka_is_flexible(const struct kafka_api *api, int version)
{
    return version >= api->flexible;
}

static inline bool kafka_uuid_is_none(const struct kafka_uuid *u)
{
    static const struct kafka_uuid none;
    return memcmp(u, &none, sizeof(none)) == 0;
}

#endif
