/*
 * kafka_seeds.h - requests to begin with when a Kafka server is fuzzed: those that clients were
 * recorded sending, and one of each version of each request that is likely to be taken.
 *
 * What only the server can say (an id that it gave) stands in them as a placeholder of the same
 * length: kafka_seed_settle.
 */
#ifndef TESTS_FUZZ_KAFKA_SEEDS_H
#define TESTS_FUZZ_KAFKA_SEEDS_H

#include "lib/wire/kafka_codec.h"

#define SEED_TOPIC "rec"
#define SEED_GROUP "grp"
#define SEED_NEW_GROUP "new" /* of the new protocol */
#define SEED_TRANSACTION "tx"
#define SEED_CLIENT "seed"

/* What the server gave. */
struct kafka_given {
    struct kafka_uuid topic_id;
    int64_t producer;
    struct str member; /* of a client that calls itself SEED_CLIENT */
};

/* A request about the names above, of the partition 0, and so on. */
void *kafka_seed_make(const struct kafka_struct *s, int version, struct kafka_arena *arena);
/* Header and body, behind what out holds; no length. */
void kafka_seed_put(const struct kafka_api *api, int version, const void *body, struct buf *out);
/* In the place of the placeholders in a frame. */
void kafka_seed_settle(struct buf *frame, const struct kafka_given *given);
/* Of a program's path that ends in fuzz_kafka_<api>; NULL: of no kind in particular. */
const struct kafka_api *kafka_api_of_target(const char *path);
/* All of them; name: of the seed, for a file. */
void kafka_seeds_each(void (*each)(void *ctx, const struct kafka_api *api, const char *name,
                                   struct str frame),
                      void *ctx);

#endif
