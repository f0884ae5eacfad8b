/* kafka_producer.c - see kafka_producer.h. */
#include "tests/api/kafka_producer.h"

#include "lib/wire/kafka_batch.h"
#include "server/kafka/kafka_error.h"
#include "tests/lib/runner.h"

#include <stdlib.h>

int16_t producer_init_at(struct producer *p, int version, int64_t producer, int16_t epoch,
                         int32_t timeout_ms)
{
    const struct kafka_init_producer_id_response *a = kafka_client_call(
        &p->c, KAFKA_INIT_PRODUCER_ID, version,
        &(struct kafka_init_producer_id_request){.transactional_id = str_of(p->id),
                                                 .transaction_timeout_ms = timeout_ms,
                                                 .producer_id = producer,
                                                 .producer_epoch = epoch});

    if (a->error_code == KAFKA_NONE) {
        p->producer = a->producer_id;
        p->epoch = a->producer_epoch;
    }
    return a->error_code;
}

/* Also past a transaction that has to be aborted first. */
void producer_init(struct producer *p, struct js_rig *r, const char *id)
{
    struct str key = str_of(id);
    int16_t error;

    *p = (struct producer){.id = id};
    kafka_client_open(&p->c, r->server.kafka_port);
    kafka_client_call(&p->c, KAFKA_FIND_COORDINATOR, 2,
                      &(struct kafka_find_coordinator_request){.key = key, .key_type = 1});
    while ((error = producer_init_at(p, 2, -1, -1, 60000)) == KAFKA_CONCURRENT_TRANSACTIONS)
        ;
    ck_assert_int_eq(error, KAFKA_NONE);
}

int16_t producer_add(struct producer *p, int version, const char *topic, int32_t partition)
{
    struct kafka_add_partitions_to_txn_request_topics t = {str_of(topic), &partition, 1};
    const struct kafka_add_partitions_to_txn_response *a =
        kafka_client_call(&p->c, KAFKA_ADD_PARTITIONS_TO_TXN, version,
                          &(struct kafka_add_partitions_to_txn_request){
                              .v3_and_below_transactional_id = str_of(p->id),
                              .v3_and_below_producer_id = p->producer,
                              .v3_and_below_producer_epoch = p->epoch,
                              .v3_and_below_topics = &t,
                              .v3_and_below_topics_n = 1});

    return a->results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code;
}

int16_t producer_end(struct producer *p, int version, bool commit)
{
    const struct kafka_end_txn_response *a =
        kafka_client_call(&p->c, KAFKA_END_TXN, version,
                          &(struct kafka_end_txn_request){.transactional_id = str_of(p->id),
                                                          .producer_id = p->producer,
                                                          .producer_epoch = p->epoch,
                                                          .committed = commit});

    if (a->error_code == KAFKA_NONE && version >= 5) {
        p->producer = a->producer_id;
        p->epoch = a->producer_epoch;
    }
    return a->error_code;
}

int16_t producer_add_offsets(struct producer *p, int version, const char *group)
{
    const struct kafka_add_offsets_to_txn_response *a = kafka_client_call(
        &p->c, KAFKA_ADD_OFFSETS_TO_TXN, version,
        &(struct kafka_add_offsets_to_txn_request){.transactional_id = str_of(p->id),
                                                   .producer_id = p->producer,
                                                   .producer_epoch = p->epoch,
                                                   .group_id = str_of(group)});

    return a->error_code;
}

int16_t producer_commit_offset(struct producer *p, int version, const char *group,
                               const char *topic, int64_t offset)
{
    struct kafka_txn_offset_commit_request_partitions part = {.committed_offset = offset,
                                                              .committed_metadata = STR("m")};
    struct kafka_txn_offset_commit_request_topics t = {str_of(topic), &part, 1};
    const struct kafka_txn_offset_commit_response *a = kafka_client_call(
        &p->c, KAFKA_TXN_OFFSET_COMMIT, version,
        &(struct kafka_txn_offset_commit_request){.transactional_id = str_of(p->id),
                                                  .group_id = str_of(group),
                                                  .producer_id = p->producer,
                                                  .producer_epoch = p->epoch,
                                                  .generation_id = -1,
                                                  .topics = &t,
                                                  .topics_n = 1});

    return a->topics[0].partitions[0].error_code;
}

/* The offset of partition 0, or minus the error. */
int64_t producer_fetched(struct producer *p, const char *group, const char *topic, bool stable)
{
    int32_t zero = 0;
    struct kafka_offset_fetch_request_topics t = {str_of(topic), &zero, 1};
    const struct kafka_offset_fetch_response *a = kafka_client_call(
        &p->c, KAFKA_OFFSET_FETCH, 7,
        &(struct kafka_offset_fetch_request){
            .group_id = str_of(group), .topics = &t, .topics_n = 1, .require_stable = stable});
    int16_t error = a->topics[0].partitions[0].error_code;

    return error != KAFKA_NONE ? -error : a->topics[0].partitions[0].committed_offset;
}

int64_t producer_latest(struct producer *p, const char *topic, int8_t isolation)
{
    struct kafka_list_offsets_request_partitions part = {.timestamp = -1,
                                                         .current_leader_epoch = -1};
    struct kafka_list_offsets_request_topics t = {str_of(topic), &part, 1};
    const struct kafka_list_offsets_response *a = kafka_client_call(
        &p->c, KAFKA_LIST_OFFSETS, 4,
        &(struct kafka_list_offsets_request){
            .replica_id = -1, .isolation_level = isolation, .topics = &t, .topics_n = 1});

    ck_assert_int_eq(a->topics[0].partitions[0].error_code, KAFKA_NONE);
    return a->topics[0].partitions[0].offset;
}

/* count records "v" from this sequence on; the offset, or minus the error. */
int64_t producer_write_as(struct producer *p, int version, const struct kafka_uuid *id,
                          const char *topic, int32_t sequence, int count)
{
    size_t cap = (size_t) count * 16 + 128;
    uint8_t *bytes = malloc(cap);
    struct kafka_builder b;
    struct kafka_batch like = {.attributes = p->id != NULL ? KAFKA_TRANSACTIONAL : 0,
                               .producer_id = p->producer,
                               .producer_epoch = p->epoch,
                               .base_sequence = sequence,
                               .last_offset_delta = count - 1};

    kafka_builder_open(&b, bytes, cap, 0);
    for (int k = 0; k < count; k++)
        ck_assert(kafka_builder_add(&b, &(struct kafka_record){.offset = k, .value = STR("v")}));
    size_t n = kafka_builder_finish(&b, 0, &like);
    struct kafka_produce_request_partition_data part = {.records = {.p = bytes, .n = n}};
    struct kafka_produce_request_topic_data t = {
        .name = str_of(topic), .partition_data = &part, .partition_data_n = 1};
    if (id != NULL)
        t.topic_id = *id;
    const struct kafka_produce_response *a =
        kafka_client_call(&p->c, KAFKA_PRODUCE, version,
                          &(struct kafka_produce_request){.transactional_id = str_of(p->id),
                                                          .acks = -1,
                                                          .timeout_ms = 60000,
                                                          .topic_data = &t,
                                                          .topic_data_n = 1});
    int16_t error = a->responses[0].partition_responses[0].error_code;

    free(bytes);
    return error != KAFKA_NONE ? -error : a->responses[0].partition_responses[0].base_offset;
}

int64_t producer_write(struct producer *p, const char *topic, int32_t sequence, int count)
{
    return producer_write_as(p, 7, NULL, topic, sequence, count);
}
