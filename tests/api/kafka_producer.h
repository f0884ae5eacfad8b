/*
 * kafka_producer.h - a producer with a transactional id for tests, one request at a time: each
 * function is one, and returns its error.
 */
#ifndef TESTS_KAFKA_PRODUCER_H
#define TESTS_KAFKA_PRODUCER_H

#include "tests/api/kafka_client.h"
#include "tests/lib/js_rig.h"

struct producer {
    struct kafka_client c;
    const char *id; /* NULL: it has no transactions */
    int64_t producer;
    int16_t epoch;
};

/* Takes producer id and epoch from the answer. */
int16_t producer_init_at(struct producer *p, int version, int64_t producer, int16_t epoch,
                         int32_t timeout_ms);
/* Connects, too. Also past a transaction that has to be aborted first. */
void producer_init(struct producer *p, struct js_rig *r, const char *id);
int16_t producer_add(struct producer *p, int version, const char *topic, int32_t partition);
/* Takes producer id and epoch from the answer, from version 5 on. */
int16_t producer_end(struct producer *p, int version, bool commit);
int16_t producer_add_offsets(struct producer *p, int version, const char *group);
int16_t producer_commit_offset(struct producer *p, int version, const char *group,
                               const char *topic, int64_t offset);
/* The group's offset of partition 0, or minus the error. */
int64_t producer_fetched(struct producer *p, const char *group, const char *topic, bool stable);
int64_t producer_latest(struct producer *p, const char *topic, int8_t isolation);
/* count records "v" into partition 0, from this sequence on; the offset, or minus the error. */
int64_t producer_write(struct producer *p, const char *topic, int32_t sequence, int count);
/* id: of the topic, from version 13 on. */
int64_t producer_write_as(struct producer *p, int version, const struct kafka_uuid *id,
                          const char *topic, int32_t sequence, int count);

#endif
