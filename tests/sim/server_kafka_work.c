/*
 * server_kafka_work.c - producers, as librdkafka's are.
 *
 * An idempotent producer numbers what it sends to a topic. Five batches of a topic are under way at
 * most. Of what was not answered when a connection ended, everything is sent again, in order, with
 * the same numbers. A batch that is refused for a while stops the topic until everything that is
 * under way has been answered (what is behind it is out of order then, and only then); then the
 * oldest is sent again, and the others behind it. What can never be right:
 *
 * - a batch is taken though one before it was not: that is a gap;
 * - the oldest batch is out of order, or of an old epoch: the server has forgotten its producer;
 * - a batch that is sent again, and was stored, gets another offset.
 *
 * Where that can be right is a stream that lost its end (level async, in memory): then the producer
 * begins anew with another id, as clients do.
 *
 * A plain producer has no id. It sends nothing again.
 */
#include "tests/sim/server_kafka_work.h"

#include "lib/wire/kafka_batch.h"
#include "server/kafka/kafka_error.h"
#include "tests/sim/server_txn.h"
#include "tests/sim/sim_disk_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AHEAD 5u
#define OUTSTANDING 12u
#define BATCH_MOST 16u
#define TOGETHER 3u
#define AGAIN_NS 10000000u

struct kpart;

struct kbatch {
    struct list link, all_link;
    struct kpart *part;
    struct m_msg *msgs[BATCH_MOST];
    unsigned n;
    int64_t producer;
    int32_t first; /* sequence number */
    struct buf bytes;
    bool flying, given_up;
    unsigned boots; /* how often the server had booted when it was sent first; 0 = it was not */
    int64_t offset; /* where it was stored; -1 = not known */
};

/* A topic as one producer knows it. */
struct kpart {
    struct list link;
    struct m_stream *s;
    int32_t next;        /* sequence number */
    struct list batches; /* not answered, in order; those that fly come first */
    unsigned waiting, flying;
    bool drain; /* sends nothing until what flies has been answered */
    bool gap;   /* what was given up has numbers that the server has not seen */
    uint64_t again_at;
    struct m_msg *last;
    struct kbatch *answered; /* the last one */
};

struct kproducer {
    struct kclient *client;
    bool plain, asking;
    int64_t id;
    int16_t epoch;
    struct list parts, all; /* all: every batch there ever was */
};

/* A Produce under way: one batch of each of some topics. */
struct kproduce {
    struct kcall call;
    struct kproducer *p;
    unsigned n;
    bool repeats; /* what was answered already */
    struct kbatch *batches[TOGETHER];
};

static uint64_t below(struct world *w, uint64_t n)
{
    return prng_below(sim_rng(w->sim), n);
}

static bool chance(struct world *w, unsigned percent)
{
    return below(w, 100) < percent;
}

/* ---- batches --------------------------------------------------------------------------------- */

static struct kpart *part_of(struct kproducer *p, struct m_stream *s)
{
    struct kpart *part;

    LIST_FOREACH(l, &p->parts)
    if (LIST_ENTRY(l, struct kpart, link)->s == s)
        return LIST_ENTRY(l, struct kpart, link);
    part = calloc(1, sizeof(*part));
    part->s = s;
    list_init(&part->batches);
    list_push_back(&p->parts, &part->link);
    return part;
}

static struct m_msg *new_record(struct kproducer *p, struct kpart *part)
{
    struct world *w = p->client->world;
    struct m_msg *msg = model_msg_new(w->model);

    msg->slot = part->s->slot;
    msg->topic = part->s;
    msg->key = part->s->compact || chance(w, 50) ? 1 + (unsigned) below(w, 8) : 0;
    msg->len = 11 + (size_t) below(w, w->swarm->payload_max);
    if (chance(w, w->swarm->big_percent))
        msg->len += (size_t) below(w, 20000);
    msg->client = p->client->id;
    msg->conn = p->plain ? p->client->wire.conn : (uint64_t) p->id;
    msg->sent_ns = sim_now(w->sim);
    msg->asked = true;
    if (!p->plain) {
        msg->prev = part->last;
        part->last = msg;
    }
    return msg;
}

static void build(struct kproducer *p, struct kbatch *b)
{
    struct buf values[BATCH_MOST] = {{0}};
    size_t cap = KAFKA_BATCH_HEADER;
    int64_t now = sim_wall(p->client->world->sim) / 1000000;
    struct kafka_batch like = {.last_offset_delta = (int32_t) b->n - 1,
                               .max_time = now,
                               .base_time = now,
                               .producer_id = p->id,
                               .producer_epoch = p->epoch,
                               .base_sequence = b->first};
    struct kafka_builder builder;
    char keys[BATCH_MOST][16];
    struct kafka_record r[BATCH_MOST];

    for (unsigned i = 0; i < b->n; i++) {
        model_payload(b->msgs[i], &values[i]);
        r[i] = (struct kafka_record){.time = now, .offset = i, .value = buf_str(&values[i])};
        snprintf(keys[i], sizeof(keys[i]), "k%u", b->msgs[i]->key);
        if (b->msgs[i]->key != 0)
            r[i].key = str_of(keys[i]);
        cap += kafka_record_bytes_max(&r[i]);
    }
    buf_reserve(&b->bytes, cap);
    kafka_builder_open(&builder, (uint8_t *) b->bytes.p, cap, 0);
    for (unsigned i = 0; i < b->n; i++) {
        kafka_builder_add(&builder, &r[i]);
        buf_free(&values[i]);
    }
    b->bytes.n = kafka_builder_finish(&builder, -1, p->plain ? NULL : &like);
}

static void new_batch(struct kproducer *p, struct kpart *part)
{
    struct world *w = p->client->world;
    struct kbatch *b = calloc(1, sizeof(*b));

    b->part = part;
    b->producer = p->id;
    b->first = part->next;
    b->offset = -1;
    b->n = 1 + (unsigned) below(w, w->swarm->batch);
    for (unsigned i = 0; i < b->n; i++)
        b->msgs[i] = new_record(p, part);
    build(p, b);
    part->next += (int32_t) b->n;
    part->waiting++;
    list_push_back(&part->batches, &b->link);
    list_push_back(&p->all, &b->all_link);
}

/* It will not be sent any more; what flies may still be stored. */
static void give_up(struct kbatch *b)
{
    b->given_up = true;
    list_remove(&b->link);
    b->part->waiting--;
    for (unsigned i = 0; !b->flying && i < b->n; i++)
        b->msgs[i]->asked = false;
}

static void give_up_part(struct kpart *part)
{
    LIST_FOREACH_SAFE(l, tmp, &part->batches)
    {
        give_up(LIST_ENTRY(l, struct kbatch, link));
        part->gap = true;
    }
    part->drain = false;
    part->answered = NULL;
}

/* With another id, as a client does whose numbers are not taken any more. */
static void begin_anew(struct kproducer *p)
{
    p->id = -1;
    LIST_FOREACH(l, &p->parts)
    {
        struct kpart *part = LIST_ENTRY(l, struct kpart, link);
        give_up_part(part);
        part->gap = false;
        part->next = 0;
        part->last = NULL;
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

static const char *who(const struct kproducer *p, const struct kbatch *b)
{
    static char text[128];

    snprintf(text, sizeof(text), "producer %u, batch %d of %s (message %u)", p->client->id,
             (int) b->first, b->part->s->name, b->msgs[0]->token);
    return text;
}

static void stored(struct kproducer *p, struct kbatch *b, int64_t offset, const char *how)
{
    struct world *w = p->client->world;
    struct kpart *part = b->part;

    if (offset < 0)
        world_fail(w, "%s: stored at offset %lld", who(p, b), (long long) offset);
    if (part->s->life == LIFE_GONE)
        return;
    sim_trace(w->sim, "%s: stored at %lld", who(p, b), (long long) offset);
    for (unsigned i = 0; i < b->n; i++)
        model_promise(w, part->s, (uint64_t) offset + 1 + i, b->msgs[i], how);
    b->offset = offset;
    if (!b->given_up)
        part->answered = b;
}

/* May an idempotent producer of this stream have been forgotten, or its numbers? */
static bool may_forget(const struct world *w, const struct m_stream *s)
{
    return s->memory || s->async || w->model->faulty;
}

static void out_of_order(struct kproducer *p, struct kbatch *b)
{
    struct kpart *part = b->part;

    if (list_first(&part->batches) != &b->link) {
        part->drain = true;
        return;
    }
    if (!may_forget(p->client->world, part->s))
        world_fail(p->client->world, "%s is out of order, and all before it were stored",
                   who(p, b));
    begin_anew(p);
}

static void refused(struct kproducer *p, struct kbatch *b, int16_t error)
{
    struct world *w = p->client->world;
    struct kpart *part = b->part;
    /* In memory it is gone with the server, which nobody has looked at yet. */
    bool sure = part->s->life == LIFE_SURE && !(part->s->memory && w->model->unseen);

    if (error == KAFKA_UNKNOWN_TOPIC_OR_PARTITION && !sure) {
        give_up_part(part);
        return;
    }
    if (error == KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER && !p->plain) {
        out_of_order(p, b);
        return;
    }
    bool ok = (error == KAFKA_KAFKA_STORAGE_ERROR || error == KAFKA_NOT_LEADER_OR_FOLLOWER) &&
              (w->model->was_full || w->model->stopped);
    if (!ok && !w->model->faulty)
        world_fail(w, "%s is refused with error %d", who(p, b), error);
    if (p->plain)
        give_up(b);
    else
        part->drain = true;
    part->again_at = sim_now(w->sim) + AGAIN_NS;
}

/* It lay before all that the server knows of this producer: something took it since. */
static void was_stored(struct kproducer *p, struct kbatch *b)
{
    const struct m_stream *s = b->part->s;

    if (!s->removals && !s->compact && s->least_max == 0 && s->per_subject == 0)
        world_fail(p->client->world, "%s was stored, says the server, and has gone", who(p, b));
}

static void told(struct kproducer *p, struct kbatch *b, int16_t error, int64_t offset)
{
    struct kpart *part = b->part;
    bool oldest = !b->given_up && list_first(&part->batches) == &b->link;

    b->flying = false;
    part->flying--;
    if (error == KAFKA_NONE)
        stored(p, b, offset, "Produce");
    if (b->given_up) {
        for (unsigned i = 0; i < b->n; i++)
            b->msgs[i]->asked = false;
        return;
    }
    if (error == KAFKA_DUPLICATE_SEQUENCE_NUMBER && !p->plain)
        was_stored(p, b);
    else if (error != KAFKA_NONE) {
        refused(p, b, error);
        return;
    }
    if (!oldest && !p->plain)
        world_fail(p->client->world, "%s is stored, and one before it is not", who(p, b));
    give_up(b);
}

/* A batch that was answered before is where it was, or the server does not know it any more. */
static void told_again(struct kproducer *p, struct kbatch *b, int16_t error, int64_t offset)
{
    struct world *w = p->client->world;
    struct m_stream *s = b->part->s;
    bool excused = may_forget(w, s) || s->life != LIFE_SURE || s->removals || s->least_max != 0 ||
                   s->per_subject != 0 || s->compact;

    if (error == KAFKA_NONE && offset != b->offset && !excused)
        world_fail(w, "%s was stored at %lld, and when it is sent again at %lld", who(p, b),
                   (long long) b->offset, (long long) offset);
    if (error != KAFKA_NONE && !excused && !w->model->was_full)
        world_fail(w, "%s was stored, and is refused with error %d when it is sent again",
                   who(p, b), error);
}

static const struct kafka_produce_response_partition_responses *answer_of(
    const struct kafka_produce_response *a, const struct kbatch *b)
{
    for (int32_t i = 0; i < a->responses_n; i++)
        if (str_eq(a->responses[i].name, str_of(b->part->s->name)) &&
            a->responses[i].partition_responses_n == 1 &&
            a->responses[i].partition_responses[0].index == 0)
            return &a->responses[i].partition_responses[0];
    return NULL;
}

static void connection_lost(struct kproducer *p, struct kbatch *b)
{
    b->flying = false;
    b->part->flying--;
    if (b->given_up)
        for (unsigned i = 0; i < b->n; i++)
            b->msgs[i]->asked = false;
    else if (p->plain)
        give_up(b);
    else
        b->part->drain = true;
}

static void produced(struct kcall *k, struct kclient *c, const void *answer)
{
    struct kproduce *x = CONTAINER_OF(k, struct kproduce, call);

    for (unsigned i = 0; i < x->n; i++) {
        struct kbatch *b = x->batches[i];
        if (answer == NULL) {
            if (!x->repeats)
                connection_lost(x->p, b);
            continue;
        }
        const struct kafka_produce_response_partition_responses *a = answer_of(answer, b);
        if (a == NULL)
            world_fail(c->world, "%s: the answer has nothing of it", who(x->p, b));
        (x->repeats ? told_again : told)(x->p, b, a->error_code, a->base_offset);
    }
    free(x);
}

/* ---- sending --------------------------------------------------------------------------------- */

/* It may have been stored, and taken by a limit: a start knows nothing of a producer whose batches
 * have all gone, and so it may be stored again. */
static void sent_over_a_start(const struct world *w, struct kbatch *b)
{
    const struct m_stream *s = b->part->s;

    if (b->boots == 0)
        b->boots = w->boots;
    if (b->boots != w->boots && (s->least_max != 0 || s->per_subject != 0))
        for (unsigned i = 0; i < b->n; i++)
            b->msgs[i]->again = true;
}

static void send(struct kproducer *p, struct kbatch *const *batches, unsigned n, bool repeats)
{
    struct kafka_arena arena = {0};
    struct kafka_produce_request *q = KAFKA_NEW(&arena, produce_request, 1);
    struct kproduce *x = calloc(1, sizeof(*x));

    *x = (struct kproduce){.p = p, .n = n, .repeats = repeats, .call.done = produced};
    q->acks = p->plain && chance(p->client->world, 50) ? 1 : -1;
    q->timeout_ms = 30000;
    q->topic_data_n = (int32_t) n;
    q->topic_data = KAFKA_NEW(&arena, produce_request_topic_data, n);
    for (unsigned i = 0; i < n; i++) {
        struct kbatch *b = x->batches[i] = batches[i];
        struct kafka_produce_request_topic_data *t = &q->topic_data[i];
        t->name = str_of(b->part->s->name);
        t->partition_data_n = 1;
        t->partition_data = KAFKA_NEW(&arena, produce_request_partition_data, 1);
        t->partition_data[0].records.p = (const uint8_t *) b->bytes.p;
        t->partition_data[0].records.n = b->bytes.n;
        if (repeats)
            continue;
        sent_over_a_start(p->client->world, b);
        b->flying = true;
        b->part->flying++;
    }
    sim_trace(p->client->world->sim, "producer %u sends %s%s", p->client->id, who(p, batches[0]),
              repeats ? ", which was answered" : "");
    kclient_call(p->client, &x->call, KAFKA_PRODUCE, 7 + (int) (p->client->id % 4), q);
    kafka_arena_free(&arena);
}

/* After a start nobody knows yet where a stream ends that may have lost its end. */
static bool is_held(const struct world *w, const struct m_stream *s)
{
    return w->model->unseen && (s->memory || s->async);
}

static struct kbatch *next_to_send(const struct world *w, struct kpart *part)
{
    if (part->drain || part->flying >= AHEAD || is_held(w, part->s))
        return NULL;
    LIST_FOREACH(l, &part->batches)
    {
        struct kbatch *b = LIST_ENTRY(l, struct kbatch, link);
        if (!b->flying)
            return b;
    }
    return NULL;
}

/* What may go, goes; a batch of each of several topics together. */
static void push(struct kproducer *p)
{
    struct kbatch *batches[TOGETHER];
    unsigned n;

    if (p->client->wire.state != CLIENT_UP || (p->id < 0 && !p->plain))
        return;
    LIST_FOREACH(l, &p->parts)
    {
        struct kpart *part = LIST_ENTRY(l, struct kpart, link);
        if (part->s->life == LIFE_GONE)
            give_up_part(part);
        if (part->flying == 0 && part->again_at <= sim_now(p->client->world->sim))
            part->drain = false;
    }
    do {
        n = 0;
        LIST_FOREACH(l, &p->parts)
        {
            struct kbatch *b = next_to_send(p->client->world, LIST_ENTRY(l, struct kpart, link));
            if (b != NULL && n < TOGETHER)
                batches[n++] = b;
        }
        if (n > 0)
            send(p, batches, n, false);
    } while (n > 0);
}

/* ---- connections ----------------------------------------------------------------------------- */

static void got_id(struct kcall *k, struct kclient *c, const void *answer)
{
    const struct kafka_init_producer_id_response *a = answer;
    struct kproducer *p = c->data;
    struct model *m = c->world->model;

    p->asking = false;
    free(k);
    if (a == NULL)
        return;
    if (a->error_code != KAFKA_NONE || a->producer_id < 0)
        world_fail(c->world, "producer %u gets no id: error %d", c->id, a->error_code);
    for (size_t i = 0; i < m->nproducers; i++)
        if (m->producers[i] == a->producer_id)
            world_fail(c->world, "producer id %lld is given out twice", (long long) a->producer_id);
    m->producers = sim_grow(m->producers, (m->nproducers + 1) * sizeof(*m->producers));
    m->producers[m->nproducers++] = a->producer_id;
    p->id = a->producer_id;
    p->epoch = a->producer_epoch;
    push(p);
}

static void ask_id(struct kproducer *p)
{
    struct kcall *k;
    struct kafka_arena arena = {0};
    struct kafka_init_producer_id_request *q;

    if (p->plain || p->id >= 0 || p->asking || p->client->wire.state != CLIENT_UP)
        return;
    p->asking = true;
    k = calloc(1, sizeof(*k));
    k->done = got_id;
    q = KAFKA_NEW(&arena, init_producer_id_request, 1);
    q->transactional_id = STR_NONE;
    q->transaction_timeout_ms = INT32_MAX;
    kclient_call(p->client, k, KAFKA_INIT_PRODUCER_ID, 4, q);
    kafka_arena_free(&arena);
}

static void got_versions(struct kcall *k, struct kclient *c, const void *answer)
{
    const struct kafka_api_versions_response *a = answer;

    if (a != NULL && (a->error_code != KAFKA_NONE || a->api_keys_n < 10))
        world_fail(c->world, "kafka client %u: ApiVersions has error %d", c->id, a->error_code);
    free(k);
}

static void ask_versions(struct kclient *c)
{
    struct kcall *k = calloc(1, sizeof(*k));
    struct kafka_arena arena = {0};
    struct kafka_api_versions_request *q = KAFKA_NEW(&arena, api_versions_request, 1);

    k->done = got_versions;
    q->client_software_name = STR("sim");
    q->client_software_version = STR("1");
    kclient_call(c, k, KAFKA_API_VERSIONS, 3, q);
    kafka_arena_free(&arena);
}

static void producer_up(struct kclient *c)
{
    ask_versions(c);
    ask_id(c->data);
    push(c->data);
}

static void reader_up(struct kclient *c)
{
    ask_versions(c);
}

static void down(struct kclient *c)
{
    (void) c;
}

static const struct kclient_ops producer_ops = {.up = producer_up, .down = down};
static const struct kclient_ops reader_ops = {.up = reader_up, .down = down};

void kafka_open_clients(struct world *w)
{
    if (!w->swarm->kafka)
        return;
    for (unsigned i = 0; i < w->swarm->producers; i++) {
        struct kproducer *p = calloc(1, sizeof(*p));
        p->plain = i > 0 && chance(w, w->swarm->plain_percent);
        p->id = -1;
        list_init(&p->parts);
        list_init(&p->all);
        p->client = kclient_open(w, &producer_ops, p);
    }
    for (unsigned i = 0; i < w->swarm->readers; i++) {
        struct kreader *r = calloc(1, sizeof(*r));
        r->client = kclient_open(w, &reader_ops, r);
    }
    xtxns_open(w);
}

static void free_producer(struct kproducer *p)
{
    struct list *l;

    while ((l = list_pop_front(&p->all)) != NULL) {
        struct kbatch *b = LIST_ENTRY(l, struct kbatch, all_link);
        buf_free(&b->bytes);
        free(b);
    }
    while ((l = list_pop_front(&p->parts)) != NULL)
        free(LIST_ENTRY(l, struct kpart, link));
    free(p);
}

void kafka_close_clients(struct world *w)
{
    xtxns_close(w);
    LIST_FOREACH_SAFE(l, tmp, &w->kclients)
    {
        struct kclient *c = LIST_ENTRY(l, struct kclient, link);
        bool producer = c->ops == &producer_ops;
        void *data = c->data;
        kclient_close(c);
        if (producer) {
            free_producer(data);
        } else {
            free(((struct kreader *) data)->at);
            free(data);
        }
    }
}

/* ---- operations ------------------------------------------------------------------------------ */

static struct kclient *any(struct world *w, const struct kclient_ops *ops)
{
    struct kclient *chosen = NULL;
    uint64_t n = 0;

    LIST_FOREACH(l, &w->kclients)
    {
        struct kclient *c = LIST_ENTRY(l, struct kclient, link);
        if (c->ops == ops && below(w, ++n) == 0)
            chosen = c;
    }
    return chosen;
}

static void produce(struct kproducer *p)
{
    struct world *w = p->client->world;
    struct m_stream *s = w->model->slots[below(w, w->swarm->slots)];
    struct kpart *part;

    if (s == NULL || !s->topic || s->life != LIFE_SURE ||
        (p->plain && p->client->wire.state != CLIENT_UP))
        return;
    if (p->id < 0 && !p->plain) {
        ask_id(p);
        return;
    }
    part = part_of(p, s);
    /* Its topic was being deleted, as it seemed, and is there after all. */
    if (part->gap && !p->plain) {
        begin_anew(p);
        ask_id(p);
        return;
    }
    for (uint64_t n = 1 + below(w, 4); n > 0 && part->waiting < OUTSTANDING; n--)
        new_batch(p, part);
    push(p);
}

/* With the end of a stream that may lose it: sent again it would be stored anew. */
static bool was_lost(const struct kbatch *b)
{
    for (unsigned i = 0; i < b->n; i++)
        if (b->msgs[i]->state == MSG_REFUSED)
            return true;
    return false;
}

/* The answer was lost on its way, and nothing was sent behind it. */
static void produce_again(struct kproducer *p)
{
    if (p->plain || p->client->wire.state != CLIENT_UP)
        return;
    LIST_FOREACH(l, &p->parts)
    {
        struct kpart *part = LIST_ENTRY(l, struct kpart, link);
        const struct m_stream *s = part->s;
        bool stays = !s->removals && s->least_max == 0 && s->per_subject == 0 && !s->compact;
        if (part->answered != NULL && part->waiting == 0 && s->life == LIFE_SURE && stays &&
            !is_held(p->client->world, s) && !was_lost(part->answered)) {
            send(p, &part->answered, 1, true);
            return;
        }
    }
}

static void read_some(struct kreader *r, bool offsets)
{
    struct world *w = r->client->world;
    struct m_stream *s = w->model->slots[below(w, w->swarm->slots)];

    if (s == NULL || s->retention != M_LIMITS || s->life != LIFE_SURE ||
        r->client->wire.state != CLIENT_UP)
        return;
    if (offsets)
        kreader_ask_offsets(r, s);
    else
        kreader_fetch(r, s);
}

void kafka_do(struct world *w, enum work_op op)
{
    struct kclient *c;

    kafka_push(w);
    switch (op) {
    case WORK_KAFKA_PRODUCE:
        produce(any(w, &producer_ops)->data);
        break;
    case WORK_KAFKA_AGAIN:
        produce_again(any(w, &producer_ops)->data);
        break;
    case WORK_KAFKA_READ:
    case WORK_KAFKA_OFFSETS:
        read_some(any(w, &reader_ops)->data, op == WORK_KAFKA_OFFSETS);
        break;
    case WORK_TXN:
        xtxns_do(w);
        break;
    case WORK_TXN_READ:
        xtxns_read(w);
        break;
    case WORK_KAFKA_DISCONNECT:
        c = any(w, chance(w, 70) ? &producer_ops : &reader_ops);
        kclient_disconnect(c);
        break;
    default:
        break;
    }
}

/* ---- rest ------------------------------------------------------------------------------------ */

void kafka_push(struct world *w)
{
    xtxns_push(w);
    LIST_FOREACH(l, &w->kclients)
    {
        struct kclient *c = LIST_ENTRY(l, struct kclient, link);
        if (c->ops != &producer_ops)
            continue;
        ask_id(c->data);
        push(c->data);
    }
}

static struct kpart *busy_part(struct kclient *c)
{
    struct kproducer *p = c->data;

    if (c->ops != &producer_ops)
        return NULL;
    LIST_FOREACH(l, &p->parts)
    {
        struct kpart *part = LIST_ENTRY(l, struct kpart, link);
        if (part->waiting > 0 && part->s->life != LIFE_GONE && !is_held(c->world, part->s))
            return part;
    }
    return NULL;
}

bool kafka_at_rest(struct world *w)
{
    LIST_FOREACH(l, &w->kclients)
    {
        struct kclient *c = LIST_ENTRY(l, struct kclient, link);
        if (c->wire.state != CLIENT_UP || !wire_is_quiet(&c->wire) || !list_empty(&c->calls) ||
            busy_part(c) != NULL)
            return false;
    }
    return xtxns_at_rest(w);
}

void kafka_explain_unrest(struct world *w)
{
    LIST_FOREACH(l, &w->kclients)
    {
        struct kclient *c = LIST_ENTRY(l, struct kclient, link);
        struct list *first = list_first(&c->calls);
        if (first != NULL)
            world_fail(w, "kafka client %u: request %d, %s, is never answered", c->id,
                       LIST_ENTRY(first, struct kcall, link)->correlation,
                       kafka_api_of(LIST_ENTRY(first, struct kcall, link)->key)->name);
        const struct kpart *part = busy_part(c);
        if (part != NULL)
            world_fail(w, "kafka client %u: what it produces into %s is never taken", c->id,
                       part->s->name);
        if (c->wire.state != CLIENT_UP)
            world_fail(w, "kafka client %u can not connect", c->id);
    }
    xtxns_explain_unrest(w);
}

void kafka_settled(struct world *w)
{
    LIST_FOREACH(l, &w->kclients)
    {
        struct kclient *c = LIST_ENTRY(l, struct kclient, link);
        if (c->ops == &producer_ops)
            push(c->data);
    }
}
