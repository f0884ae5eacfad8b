/*
 * server_txn_ask.c - see server_txn_int.h: batches of a client with transactions, and its requests,
 * in the versions of its kind.
 */
#include "lib/wire/kafka_batch.h"
#include "tests/sim/server_txn_int.h"
#include "tests/sim/sim_disk_int.h"

#include <stdio.h>
#include <stdlib.h>

#define RECORDS_MOST 6u
#define KEYS 6u

/* ---- batches --------------------------------------------------------------------------------- */

static size_t new_record(struct xclient *x, unsigned place)
{
    struct xledger *l = xclient_ledger(x);
    struct xrecord *r = calloc(1, sizeof(*r));

    r->txn = x->txn;
    r->place = place;
    r->offset = -1;
    if (xplace_kind(xclient_world(x), place) == X_COMPACT)
        r->key = 1 + (unsigned) prng_below(sim_rng(xclient_world(x)->sim), KEYS);
    l->records = sim_grow(l->records, (l->nrecords + 1) * sizeof(struct xrecord *));
    l->records[l->nrecords] = r;
    return l->nrecords++;
}

void xclient_build(struct xclient *x, unsigned place)
{
    struct xbatch *b = &x->batches[place];
    struct kafka_builder to;
    int64_t now = sim_wall(xclient_world(x)->sim) / 1000000;
    size_t cap = KAFKA_BATCH_HEADER + RECORDS_MOST * 128u;
    char value[32], key[16];

    b->n = 1 + (unsigned) prng_below(sim_rng(xclient_world(x)->sim), RECORDS_MOST);
    struct kafka_batch like = {.attributes = KAFKA_TRANSACTIONAL,
                               .last_offset_delta = (int32_t) b->n - 1,
                               .base_time = now,
                               .max_time = now,
                               .producer_id = x->producer,
                               .producer_epoch = x->epoch,
                               .base_sequence = x->next[place]};
    buf_reserve(&b->bytes, cap);
    kafka_builder_open(&to, (uint8_t *) b->bytes.p, cap, 0);
    for (unsigned i = 0; i < b->n; i++) {
        size_t number = new_record(x, place);
        unsigned of_key = xclient_ledger(x)->records[number]->key;
        b->first = i == 0 ? number : b->first;
        snprintf(value, sizeof(value), "%zu", number);
        snprintf(key, sizeof(key), "k%u", of_key);
        kafka_builder_add(&to, &(struct kafka_record){.time = now,
                                                      .offset = (int64_t) i,
                                                      .key = of_key > 0 ? str_of(key) : STR_NONE,
                                                      .value = str_of(value)});
    }
    b->bytes.n = kafka_builder_finish(&to, -1, &like);
    x->next[place] += (int32_t) b->n;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void configure(struct kafka_create_topics_request_topics *t, enum xkind kind,
                      struct kafka_arena *a)
{
    static const char *const pairs[][2] = {{"retention.bytes", "800"},
                                           {"cleanup.policy", "compact"},
                                           {"segment.ms", "50"},
                                           {"min.cleanable.dirty.ratio", "0.01"},
                                           {"segment.bytes", "2000"}};
    size_t from = kind == X_COMPACT, to = kind == X_COMPACT ? ARRAY_LEN(pairs) : 1;

    if (kind < X_LIMITED)
        return;
    t->configs = KAFKA_NEW(a, create_topics_request_configs, to - from);
    for (size_t i = from; i < to; i++) {
        t->configs[t->configs_n].name = str_of(pairs[i][0]);
        t->configs[t->configs_n++].value = str_of(pairs[i][1]);
    }
}

static void ask_topics(struct xclient *x, struct kafka_arena *a)
{
    struct kafka_create_topics_request *q = KAFKA_NEW(a, create_topics_request, 1);
    const struct xledger *l = xclient_ledger(x);

    q->topics_n = (int32_t) l->topics;
    q->topics = KAFKA_NEW(a, create_topics_request_topics, l->topics);
    for (unsigned i = 0; i < l->topics; i++) {
        q->topics[i].name = xplace_topic(l, i * l->parts);
        q->topics[i].num_partitions = (int32_t) l->parts;
        q->topics[i].replication_factor = 1;
        configure(&q->topics[i], xplace_kind(xclient_world(x), i * l->parts), a);
    }
    kclient_call(x->client, &x->call, KAFKA_CREATE_TOPICS, 4, q);
}

static void ask_coordinator(struct xclient *x, struct kafka_arena *a)
{
    struct kafka_find_coordinator_request *q = KAFKA_NEW(a, find_coordinator_request, 1);

    q->key = str_of(x->id);
    q->key_type = 1;
    kclient_call(x->client, &x->call, KAFKA_FIND_COORDINATOR, 2, q);
}

static void ask_init(struct xclient *x, struct kafka_arena *a)
{
    struct kafka_init_producer_id_request *q = KAFKA_NEW(a, init_producer_id_request, 1);

    q->transactional_id = str_of(x->id);
    q->transaction_timeout_ms = x->timeout_ms;
    q->producer_id = -1;
    q->producer_epoch = -1;
    kclient_call(x->client, &x->call, KAFKA_INIT_PRODUCER_ID, x->v2 ? 5 : 4, q);
}

static void ask_add(struct xclient *x, struct kafka_arena *a)
{
    struct kafka_add_partitions_to_txn_request *q = KAFKA_NEW(a, add_partitions_to_txn_request, 1);

    q->v3_and_below_transactional_id = str_of(x->id);
    q->v3_and_below_producer_id = x->producer;
    q->v3_and_below_producer_epoch = x->epoch;
    q->v3_and_below_topics = KAFKA_NEW(a, add_partitions_to_txn_request_topics, XPLACES);
    for (unsigned i = 0; i < XPLACES; i++) {
        struct kafka_add_partitions_to_txn_request_topics *t;
        if (x->batches[i].n == 0 || x->added[i])
            continue;
        t = &q->v3_and_below_topics[q->v3_and_below_topics_n++];
        t->name = xplace_topic(xclient_ledger(x), i);
        t->partitions_n = 1;
        t->partitions = kafka_arena_alloc(a, sizeof(*t->partitions));
        t->partitions[0] = xplace_index(xclient_ledger(x), i);
    }
    kclient_call(x->client, &x->call, KAFKA_ADD_PARTITIONS_TO_TXN, 3, q);
}

/* Perhaps it was stored, and taken by a limit since. */
static void sent_over_a_start(struct xclient *x, struct xbatch *b)
{
    unsigned boots = xclient_world(x)->boots;

    for (unsigned k = 0; b->boots != 0 && b->boots != boots && k < b->n; k++)
        xclient_ledger(x)->records[b->first + k]->again = true;
    b->boots = b->boots != 0 ? b->boots : boots;
}

static void ask_produce(struct xclient *x, struct kafka_arena *a)
{
    struct kafka_produce_request *q = KAFKA_NEW(a, produce_request, 1);

    q->transactional_id = str_of(x->id);
    q->acks = -1;
    q->timeout_ms = 30000;
    q->topic_data = KAFKA_NEW(a, produce_request_topic_data, XPLACES);
    for (unsigned i = 0; i < XPLACES; i++) {
        struct xbatch *b = &x->batches[i];
        struct kafka_produce_request_topic_data *t;
        if (b->n == 0 || b->stored)
            continue;
        sent_over_a_start(x, b);
        t = &q->topic_data[q->topic_data_n++];
        t->name = xplace_topic(xclient_ledger(x), i);
        t->partition_data_n = 1;
        t->partition_data = KAFKA_NEW(a, produce_request_partition_data, 1);
        t->partition_data[0].index = xplace_index(xclient_ledger(x), i);
        t->partition_data[0].records.p = (const uint8_t *) b->bytes.p;
        t->partition_data[0].records.n = b->bytes.n;
    }
    kclient_call(x->client, &x->call, KAFKA_PRODUCE, x->v2 ? 12 : 8, q);
}

static void ask_group(struct xclient *x, struct kafka_arena *a)
{
    struct kafka_add_offsets_to_txn_request *q = KAFKA_NEW(a, add_offsets_to_txn_request, 1);

    q->transactional_id = str_of(x->id);
    q->producer_id = x->producer;
    q->producer_epoch = x->epoch;
    q->group_id = str_of(xtxn_group(x->client->id));
    kclient_call(x->client, &x->call, KAFKA_ADD_OFFSETS_TO_TXN, 3, q);
}

static void ask_offsets(struct xclient *x, struct kafka_arena *a)
{
    struct kafka_txn_offset_commit_request *q = KAFKA_NEW(a, txn_offset_commit_request, 1);

    q->transactional_id = str_of(x->id);
    q->producer_id = x->producer;
    q->producer_epoch = x->epoch;
    q->group_id = str_of(xtxn_group(x->client->id));
    q->topics_n = 1;
    q->topics = KAFKA_NEW(a, txn_offset_commit_request_topics, 1);
    q->topics[0].name = xplace_topic(xclient_ledger(x), 0);
    q->topics[0].partitions_n = 1;
    q->topics[0].partitions = KAFKA_NEW(a, txn_offset_commit_request_partitions, 1);
    q->topics[0].partitions[0].committed_offset = x->txn->number;
    x->txn->maybe_offsets = true;
    kclient_call(x->client, &x->call, KAFKA_TXN_OFFSET_COMMIT, x->v2 ? 5 : 3, q);
}

static void ask_end(struct xclient *x, struct kafka_arena *a)
{
    struct kafka_end_txn_request *q = KAFKA_NEW(a, end_txn_request, 1);

    q->transactional_id = str_of(x->id);
    q->producer_id = x->producer;
    q->producer_epoch = x->epoch;
    q->committed = x->commit;
    x->txn->commit_sent = x->commit;
    kclient_call(x->client, &x->call, KAFKA_END_TXN, x->v2 ? 5 : 3, q);
}

void xclient_ask(struct xclient *x)
{
    static void (*const asks[])(struct xclient *, struct kafka_arena *) = {
        [TOPICS] = ask_topics,   [COORDINATOR] = ask_coordinator,
        [INIT] = ask_init,       [ADD] = ask_add,
        [PRODUCE] = ask_produce, [GROUP] = ask_group,
        [OFFSETS] = ask_offsets, [END] = ask_end};
    struct kafka_arena arena = {0};

    asks[x->step](x, &arena);
    kafka_arena_free(&arena);
}
