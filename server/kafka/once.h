/*
 * once.h - which of the names in a request came before: what a client asks for many times is
 * answered once. Lives no longer than the request; its nodes are in the request's arena.
 */
#ifndef KAFKA_ONCE_H
#define KAFKA_ONCE_H

#include "lib/base/hmap.h"
#include "lib/base/str.h"

#include <stdbool.h>

struct kafka_arena;

struct once {
    struct hmap map;
    struct kafka_arena *arena;
    uint64_t seed;
};

/* seed: of the process's randomness, so that clients can not choose names that collide. */
void once_init(struct once *o, struct kafka_arena *arena, uint64_t seed);
void once_deinit(struct once *o);
/* True the first time. The name's bytes have to stay. */
bool once_take(struct once *o, struct str name);
/* Another one that was taken, until there is none; it begins with zeroes. */
bool once_next(const struct once *o, struct hmap_iter *it, struct str *name);
/* Was it taken? */
bool once_has(const struct once *o, struct str name);
/* The same with a partition; its name is kept in the arena. */
bool once_take_partition(struct once *o, struct str topic, int32_t index);

#endif
