/*
 * kafka.h - batches as Kafka producers send them, in a form of our own: what the store puts into
 * its segments as one record is twelve bytes and then, for each message, u32 number in the batch,
 * u32 length of the header, u32 length of the payload, and both.
 */
#ifndef TESTS_SIM_KAFKA_H
#define TESTS_SIM_KAFKA_H

#include "store/store.h"

enum { KAFKA_HEAD = 12 };

/* Appends message i. The caller begins with KAFKA_HEAD bytes. */
void kafka_put(struct buf *batch, uint32_t i, struct str header, struct str payload);
/* The two functions that a store wants. */
bool kafka_decode(struct str subject, struct str batch, uint64_t first_seq, uint32_t messages,
                  store_kafka_put_fn put, void *to);
enum err kafka_trim(struct str batch, uint32_t messages, const uint64_t *keep, struct buf *out);

#endif
