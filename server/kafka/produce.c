/*
 * produce.c - Produce: batches into streams.
 *
 * Every partition's batch is checked on the connection's worker (sums cost time), then its part
 * goes to the worker of the stream: duplicates are found, the batch is appended, and the part comes
 * back when it is durable, for acks=1 and acks=all alike; for acks=0 as soon as it is appended. The
 * answer leaves when all parts are back. The frame is not copied: the store copies from it.
 *
 * A batch is stored as it came, or, where the topic says so, with the time at which it is stored.
 * Its records are looked at only when they are not compressed, or when the topic wants keys or
 * limits times, or the client's user may send no more than so much in a message.
 * Message sets, which requests up to version 2 may have, become batches first.
 *
 * From version 12 on a transaction gets its partitions by being written to: all parts wait until
 * the coordinator has them (txn_want.c). From version 13 on topics are named by their ids.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "lib/wire/kafka_batch.h"
#include "lib/wire/kafka_compress.h"
#include "lib/wire/kafka_set.h"
#include "server/kafka/access.h"
#include "server/kafka/partition.h"
#include "server/kafka/sasl.h"
#include "server/kafka/txn.h"

/* Versions: an error says that the transaction may be aborted, and gone on with; partitions need
 * not be added before; topics have ids. */
enum { SAYS_ABORTABLE = 11, ADDS_PARTITIONS = 12, BY_ID = 13 };

struct produce;

struct part {
    struct env_task task;
    struct partition_job job;
    struct part *next; /* produce->parts */
    struct produce *produce;
    struct txn_wanted wanted;
    struct topic_place place;
    struct str stream, records;
    struct kafka_batch batch;
    struct kafka_produce_response_partition_responses *answer;
    struct partition *partition;
    int16_t error;
    int64_t base_offset, log_start;
    int64_t append_ms; /* -1: its records keep their own times */
};

struct produce {
    struct kafka_request *request;
    struct kafka *home;
    int16_t acks;
    uint64_t payload_most;           /* of a record */
    struct part *parts, **parts_end; /* to be sent */
    struct part *spare;              /* of one that was refused */
    struct txn_want want;            /* of those of a transaction */
    uint32_t left;                   /* parts out there, and one for who sends them */
};

/* ---- the end --------------------------------------------------------------------------------- */

static void finish(struct produce *x)
{
    struct kafka_request *r = x->request;
    const struct kafka_produce_response *a = r->answer;
    bool bad = false;

    if (--x->left > 0)
        return;
    for (int32_t i = 0; i < a->responses_n; i++)
        for (int32_t k = 0; k < a->responses[i].partition_responses_n; k++)
            bad = bad || a->responses[i].partition_responses[k].error_code != KAFKA_NONE;
    if (x->acks != 0)
        kafka_reply(r);
    else if (bad)
        kafka_fail(r);
    else
        kafka_no_reply(r);
}

static void come_home(struct env_task *task, struct env *env)
{
    struct part *part = CONTAINER_OF(task, struct part, task);

    (void) env;
    part->answer->error_code = part->error;
    part->answer->base_offset = part->error == KAFKA_NONE ? part->base_offset : -1;
    part->answer->log_start_offset = part->log_start;
    part->answer->log_append_time_ms = part->error == KAFKA_NONE ? part->append_ms : -1;
    finish(part->produce);
}

/* On the stream's worker; the part is not touched here any more. */
static void send_home(struct part *part, struct env *env, int16_t error)
{
    part->error = error;
    part->task.run = come_home;
    env->post(env, part->produce->home->env->worker, &part->task);
}

/* ---- on the stream's worker ------------------------------------------------------------------ */

static int16_t error_of(enum err err)
{
    switch (err) {
    case ERR_OK:
        return KAFKA_NONE;
    case ERR_TOO_LARGE:
        return KAFKA_MESSAGE_TOO_LARGE;
    case ERR_SEALED:
    case ERR_MAX_MSGS:
    case ERR_MAX_BYTES:
        return KAFKA_POLICY_VIOLATION;
    case ERR_LIMIT:
        return KAFKA_NOT_LEADER_OR_FOLLOWER; /* clients come again */
    default:
        return KAFKA_KAFKA_STORAGE_ERROR;
    }
}

static struct env *env_of(const struct part *part)
{
    return part->partition->kafka->env;
}

static void durable(struct partition_job *j, bool ok)
{
    struct part *part = CONTAINER_OF(j, struct part, job);

    send_home(part, env_of(part), ok ? KAFKA_NONE : KAFKA_KAFKA_STORAGE_ERROR);
}

/* Clients of a server that stops come again. */
static int16_t gone_error(const struct env *env)
{
    return partition_env_stops(env) ? KAFKA_NOT_LEADER_OR_FOLLOWER
                                    : KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
}

static void part_gone(struct partition_job *j)
{
    struct part *part = CONTAINER_OF(j, struct part, job);

    send_home(part, env_of(part), gone_error(env_of(part)));
}

static void wait_durable(struct part *part)
{
    uint64_t first, last;

    partition_bounds(part->partition, &first, &last);
    part->log_start = (int64_t) first - 1;
    part->job.wake = durable;
    if (part->produce->acks == 0 || partition_wait(part->partition, &part->job))
        send_home(part, env_of(part), KAFKA_NONE);
}

static enum producers_verdict ask_producers(struct part *part, struct producer_batch *b)
{
    const struct kafka_batch *k = &part->batch;

    *b = (struct producer_batch){.producer = k->producer_id,
                                 .epoch = k->producer_epoch,
                                 .first = k->base_sequence,
                                 .count = k->count};
    return k->producer_id < 0 ? PRODUCERS_NEW : producers_check(&part->partition->producers, b);
}

/* A batch that was not stored yet. A transaction that gets its partitions by being written to has
 * an epoch of its own, and so begins with the number 0 in each: a later batch is one whose
 * predecessor was refused. Only the first one of a client that ended the one before in the older
 * way goes on with its epoch and numbers. */
static int16_t check_txn(const struct part *part, const struct producer_batch *b)
{
    int16_t version = part->produce->request->header.version;

    if (!partition_txn_is_open(part->partition, b->producer, b->epoch))
        return version >= SAYS_ABORTABLE ? KAFKA_TRANSACTION_ABORTABLE : KAFKA_INVALID_TXN_STATE;
    if (version >= ADDS_PARTITIONS && b->first != 0 && !b->follows &&
        partition_txn_first(part->partition, b->producer) == 0)
        return KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER;
    return KAFKA_NONE;
}

static void append(struct part *part)
{
    struct partition *p = part->partition;
    struct producer_batch b;
    uint8_t *stored;
    uint64_t first;
    enum producers_verdict verdict = ask_producers(part, &b);

    if (verdict == PRODUCERS_OUT_OF_ORDER) {
        send_home(part, env_of(part), KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER);
        return;
    }
    if (verdict == PRODUCERS_WAS_STORED) {
        send_home(part, env_of(part), KAFKA_DUPLICATE_SEQUENCE_NUMBER);
        return;
    }
    if (verdict == PRODUCERS_OLD_EPOCH) {
        send_home(part, env_of(part), KAFKA_INVALID_PRODUCER_EPOCH);
        return;
    }
    if (verdict == PRODUCERS_NEW && (part->batch.attributes & KAFKA_TRANSACTIONAL) != 0) {
        int16_t error = check_txn(part, &b);
        if (error != KAFKA_NONE) {
            send_home(part, env_of(part), error);
            return;
        }
    }
    if (verdict == PRODUCERS_NEW) {
        enum err err = stream_append_kafka(p->stream, part->records, (uint32_t) part->batch.count,
                                           &first, &stored);
        if (err != ERR_OK) {
            if (part->batch.producer_id >= 0)
                producers_refuse(&p->producers, &b);
            send_home(part, env_of(part), error_of(err));
            return;
        }
        kafka_batch_patch(stored, (int64_t) first - 1, KAFKA_EPOCH);
        if (part->place.append_time) {
            part->append_ms = io_wall(env_of(part)->io) / 1000000;
            kafka_batch_stamp(stored, part->append_ms);
        }
        b.seq = first;
        p->in_records += (uint64_t) part->batch.count;
        p->in_bytes += part->records.n;
        if (part->batch.producer_id >= 0)
            producers_note(&p->producers, &b);
        if ((part->batch.attributes & KAFKA_TRANSACTIONAL) != 0)
            partition_txn_wrote(p, b.producer, first);
    }
    part->base_offset = (int64_t) b.seq - 1;
    part->job.seq = b.seq + (uint64_t) part->batch.count - 1;
    wait_durable(part);
}

static void txns_known(struct partition_job *j, bool ok)
{
    (void) ok;
    append(CONTAINER_OF(j, struct part, job));
}

static void producers_known(struct partition_job *j, bool ok)
{
    struct part *part = CONTAINER_OF(j, struct part, job);

    (void) ok;
    j->wake = txns_known;
    if ((part->batch.attributes & KAFKA_TRANSACTIONAL) == 0 ||
        partition_know_txns(part->partition, j))
        append(part);
}

static void arrive(struct env_task *task, struct env *env)
{
    struct part *part = CONTAINER_OF(task, struct part, task);

    struct realm *realm = realm_here(env, part->produce->request->realm);

    part->partition = realm != NULL ? partition_get(realm, part->stream) : NULL;
    if (part->partition == NULL) {
        send_home(part, env, gone_error(env));
        return;
    }
    part->job.gone = part_gone;
    part->job.wake = producers_known;
    if (part->batch.producer_id < 0 || partition_know_producers(part->partition, &part->job))
        producers_known(&part->job, true);
}

/* ---- checks ---------------------------------------------------------------------------------- */

static int16_t fault_error(enum kafka_batch_fault fault)
{
    switch (fault) {
    case KAFKA_BATCH_OK:
        return KAFKA_NONE;
    case KAFKA_BATCH_SHORT:
    case KAFKA_BATCH_CRC:
        return KAFKA_CORRUPT_MESSAGE;
    case KAFKA_BATCH_TIME_TYPE:
        return KAFKA_INVALID_TIMESTAMP;
    case KAFKA_BATCH_CODEC_BAD:
        return KAFKA_UNSUPPORTED_COMPRESSION_TYPE;
    default:
        return KAFKA_INVALID_RECORD;
    }
}

/* As a message of a NATS client that may send no more. */
static bool is_too_large(const struct part *part, const struct kafka_record *record)
{
    return record->key.n + record->value.n + record->headers.n > part->produce->payload_most;
}

/* Could one of its records be? */
static bool limits_payload(const struct part *part)
{
    uint64_t most = part->produce->payload_most;

    return most != UINT64_MAX &&
           (kafka_batch_codec(&part->batch) != KAFKA_PLAIN || part->batch.records.n > most);
}

static bool limits_times(const struct topic_place *p)
{
    return !p->append_time && (p->before_max_ms != INT64_MAX || p->after_max_ms != INT64_MAX);
}

/* NULL: nothing is wrong with it. */
static const char *fault_of(const struct part *part, const struct kafka_record *record,
                            int64_t now_ms, int16_t *error)
{
    const struct topic_place *p = &part->place;

    *error = KAFKA_MESSAGE_TOO_LARGE;
    if (is_too_large(part, record))
        return "the record is larger than what this client may send";
    *error = KAFKA_INVALID_RECORD;
    if (p->compact && record->key.p == NULL)
        return "a record of a compacted topic needs a key";
    if (p->append_time || record->time < 0)
        return NULL;
    *error = KAFKA_INVALID_TIMESTAMP;
    if (record->time > now_ms && record->time - now_ms > p->after_max_ms)
        return "the time is too far ahead";
    return now_ms > record->time && now_ms - record->time > p->before_max_ms
               ? "the time is too long ago"
               : NULL;
}

/* What only the records tell: keys, times, lengths. Those at fault are told of, by their index. */
static int16_t check_records(struct part *part)
{
    const struct kafka_batch *b = &part->batch;
    struct kafka_request *r = part->produce->request;
    struct kafka_produce_response_partition_responses *a = part->answer;
    int64_t now_ms = io_wall(r->kafka->env->io) / 1000000;
    int16_t error = KAFKA_NONE, fault;
    struct kafka_room room = {0};
    struct kafka_record_iter it;
    struct kafka_record record;
    const char *text;
    struct str records;

    if (kafka_batch_records(b, KAFKA_PLAIN_MAX, &room, &records) != ERR_OK) {
        kafka_room_free(&room);
        a->error_message = str_of(kafka_batch_fault_text(KAFKA_BATCH_RECORD_BAD));
        return KAFKA_INVALID_RECORD;
    }
    kafka_record_iter_init(&it, b, records);
    for (int32_t i = 0; kafka_record_iter_next(&it, &record); i++) {
        if ((text = fault_of(part, &record, now_ms, &fault)) == NULL)
            continue;
        if (a->record_errors == NULL)
            a->record_errors = KAFKA_NEW(&r->arena, produce_response_record_errors, b->count);
        error = fault;
        a->error_message = str_of(text);
        a->record_errors[a->record_errors_n].batch_index_error_message = str_of(text);
        a->record_errors[a->record_errors_n++].batch_index = i;
    }
    if (it.bad) {
        a->error_message = str_of(kafka_batch_fault_text(KAFKA_BATCH_RECORD_BAD));
        error = KAFKA_INVALID_RECORD;
    }
    kafka_room_free(&room);
    return error;
}

/* A message set becomes a batch in the request's arena. */
static enum kafka_batch_fault convert(struct part *part)
{
    struct buf out = {0};
    enum kafka_batch_fault fault = kafka_set_convert(part->records, &out);

    if (fault == KAFKA_BATCH_OK)
        part->records = kafka_arena_str(&part->produce->request->arena, buf_str(&out));
    buf_free(&out);
    return fault != KAFKA_BATCH_OK ? fault : kafka_batch_check(part->records, &part->batch);
}

static int16_t check(struct part *part, int16_t version)
{
    struct kafka_batch *b = &part->batch;
    enum kafka_batch_fault fault = kafka_batch_check(part->records, b);

    if (fault == KAFKA_BATCH_OLD && version < 3)
        fault = convert(part);
    if (fault == KAFKA_BATCH_OK && kafka_batch_codec(b) == KAFKA_PLAIN)
        fault = kafka_batch_check_records(b, b->records, false, NULL);
    if (fault == KAFKA_BATCH_OK && (uint32_t) b->count > STORE_KAFKA_MESSAGES_MAX)
        return KAFKA_MESSAGE_TOO_LARGE;
    if (fault == KAFKA_BATCH_OK && kafka_batch_codec(b) == KAFKA_ZSTD && version < 7)
        return KAFKA_UNSUPPORTED_COMPRESSION_TYPE;
    if (fault == KAFKA_BATCH_OK && (b->attributes & KAFKA_TRANSACTIONAL) != 0 &&
        (part->produce->want.id.p == NULL || b->producer_id < 0))
        return KAFKA_INVALID_TXN_STATE;
    if (fault == KAFKA_BATCH_OK &&
        (part->place.compact || limits_times(&part->place) || limits_payload(part)))
        return check_records(part);
    if (fault != KAFKA_BATCH_OK)
        part->answer->error_message = str_of(kafka_batch_fault_text(fault));
    return fault_error(fault);
}

/* The transaction has to have it first. All batches of a request are of one. */
static int16_t want(struct produce *x, struct part *part, struct str topic)
{
    struct txn_want *w = &x->want;
    const struct kafka_batch *b = &part->batch;

    if (x->request->header.version < ADDS_PARTITIONS || (b->attributes & KAFKA_TRANSACTIONAL) == 0)
        return KAFKA_NONE;
    if (w->parts != NULL && (w->producer != b->producer_id || w->epoch != b->producer_epoch))
        return KAFKA_INVALID_PRODUCER_ID_MAPPING;
    w->producer = b->producer_id;
    w->epoch = b->producer_epoch;
    part->wanted = (struct txn_wanted){w->parts, topic, part->answer->index};
    w->parts = &part->wanted;
    return KAFKA_NONE;
}

static int16_t look_up(struct part *part, struct str topic, int32_t index)
{
    struct kafka_request *r = part->produce->request;

    if (!topics_partition(r->realm->topics, topic, index, &part->place) ||
        part->place.worker == TOPIC_NOWHERE)
        return KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    return part->place.writable && access_may_write(r, topic, index)
               ? KAFKA_NONE
               : KAFKA_TOPIC_AUTHORIZATION_FAILED;
}

/* What is refused takes no memory: many partitions fit into a request that have nothing. */
static void prepare(struct produce *x, struct str topic,
                    const struct kafka_produce_request_partition_data *q,
                    struct kafka_produce_response_partition_responses *a)
{
    struct kafka_request *r = x->request;
    struct part *part = x->spare != NULL ? x->spare : kafka_arena_alloc(&r->arena, sizeof(*part));

    x->spare = part;
    *part = (struct part){.produce = x,
                          .answer = a,
                          .log_start = -1,
                          .append_ms = -1,
                          .records = str_from(q->records.p, q->records.n)};
    list_init(&part->job.link);
    a->index = q->index;
    a->base_offset = -1;
    a->error_code = look_up(part, topic, q->index);
    if (a->error_code == KAFKA_NONE)
        a->error_code = check(part, r->header.version);
    if (a->error_code == KAFKA_NONE &&
        !partition_find(r->realm, &r->arena, topic, q->index, &part->place, &part->stream))
        a->error_code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    if (a->error_code == KAFKA_NONE)
        a->error_code = want(x, part, topic);
    if (a->error_code != KAFKA_NONE)
        return;
    x->spare = NULL;
    x->left++;
    *x->parts_end = part;
    x->parts_end = &part->next;
}

/* All parts on their way, or none of those of a transaction that does not have them. */
static void send_parts(struct txn_want *w)
{
    struct produce *x = CONTAINER_OF(w, struct produce, want);
    struct env *env = x->request->kafka->env;

    for (struct part *part = x->parts, *next; part != NULL; part = next) {
        next = part->next;
        if (w->error != KAFKA_NONE && (part->batch.attributes & KAFKA_TRANSACTIONAL) != 0) {
            part->answer->error_code = w->error;
            x->left--;
            continue;
        }
        part->task.run = arrive;
        env->post(env, part->place.worker, &part->task);
    }
    finish(x);
}

/* What of a topic is written to. */
static void prepare_topic(struct produce *x, const struct kafka_produce_request_topic_data *t,
                          struct kafka_produce_response_responses *a, bool acks_ok)
{
    struct kafka_request *r = x->request;
    struct str name = t->name;
    int32_t n = t->partition_data_n > 0 ? t->partition_data_n : 0;

    a->name = t->name;
    a->topic_id = t->topic_id;
    a->partition_responses_n = n;
    a->partition_responses = KAFKA_NEW(&r->arena, produce_response_partition_responses, n);
    bool known = r->header.version < BY_ID ||
                 topics_name_of(r->realm->topics, &t->topic_id, &r->arena, &name);
    for (int32_t k = 0; k < n; k++) {
        struct kafka_produce_response_partition_responses *p = &a->partition_responses[k];
        if (acks_ok && known) {
            prepare(x, name, &t->partition_data[k], p);
            continue;
        }
        p->index = t->partition_data[k].index;
        p->error_code = acks_ok ? KAFKA_UNKNOWN_TOPIC_ID : KAFKA_INVALID_REQUIRED_ACKS;
        p->base_offset = -1;
    }
}

void kafka_run_produce(struct kafka_request *r)
{
    const struct kafka_produce_request *q = r->body;
    struct kafka_produce_response *a = r->answer;
    struct produce *x = kafka_arena_alloc(&r->arena, sizeof(*x));
    bool acks_ok = q->acks >= -1 && q->acks <= 1;

    *x = (struct produce){.request = r,
                          .home = r->kafka,
                          .acks = q->acks,
                          .payload_most = sasl_payload_most(r->conn),
                          .left = 1};
    x->parts_end = &x->parts;
    x->want = (struct txn_want){.request = r, .id = q->transactional_id, .done = send_parts};
    a->responses_n = q->topic_data_n > 0 ? q->topic_data_n : 0;
    a->responses = KAFKA_NEW(&r->arena, produce_response_responses, a->responses_n);
    for (int32_t i = 0; i < a->responses_n; i++)
        prepare_topic(x, &q->topic_data[i], &a->responses[i], acks_ok);
    if (x->want.parts != NULL)
        txn_want_parts(&x->want);
    else
        send_parts(&x->want);
}
