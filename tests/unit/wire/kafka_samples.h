/*
 * kafka_samples.h - any message of the Kafka protocol with arbitrary contents, made by the tables.
 */
#ifndef TESTS_KAFKA_SAMPLES_H
#define TESTS_KAFKA_SAMPLES_H

#include "lib/base/prng.h"
#include "lib/wire/kafka_codec.h"

/* A message with something else than its default in most fields that this version has. */
void *kafka_sample(const struct kafka_struct *s, int version, struct kafka_arena *arena,
                   struct prng *prng);
/* Are they the same in all fields of this version, and is b's default elsewhere? */
bool kafka_same(const struct kafka_struct *s, int version, const void *a, const void *b);

#endif
