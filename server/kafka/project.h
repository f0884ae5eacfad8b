/*
 * project.h - records as messages, and messages as records.
 *
 *     Kafka               NATS
 *     key                 Kafka-Key, or Kafka-Key-B64 when it is no header text; null: neither
 *     null value          no payload, and Kafka-Null-Value: 1
 *     headers             the same, if names and values are header text; else all of them, exact,
 * in Kafka-Headers-B64: those of the record in their own encoding, the number first timestamp, ms
 * Kafka-Timestamp; the message's time is when it was appended
 *
 * The other way: the key is what those headers say, the value is null for Kafka-Null-Value and the
 * markers of deletions (KV-Operation: DEL or PURGE, Nats-Marker-Reason), the time is the message's,
 * and all other headers go along in order, but Nats-Expected-*. Nats-Subject names the subject when
 * it is not the topic's.
 *
 * Pure but for allocations.
 */
#ifndef KAFKA_PROJECT_H
#define KAFKA_PROJECT_H

#include "lib/base/buf.h"
#include "lib/wire/kafka_batch.h"
#include "store/store.h"

/* The header block of a record, appended: empty when it has nothing to say. */
void project_header(const struct kafka_record *r, struct buf *out);

/* store_kafka_decode_fn: the messages of a batch. One that can not be decompressed or read reads as
 * messages without payload and the header Kafka-Undecodable. False: there is no memory to
 * decompress it now. */
bool project_batch(struct str subject, struct str batch, uint64_t first_seq, uint32_t messages,
                   store_kafka_put_fn put, void *to);

/* A message as a record. topic: the subject that needs no mention. scratch holds what is not in the
 * message; r lives as long as both. */
void project_message(const struct store_msg *m, struct str topic, struct buf *scratch,
                     struct kafka_record *r);

#endif
