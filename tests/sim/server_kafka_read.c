/*
 * server_kafka_read.c - readers: what Fetch and ListOffsets show is promised from then on, and
 * between two records that were read there is nothing that has to be there.
 */
#include "lib/wire/kafka_batch.h"
#include "server/kafka/kafka_error.h"
#include "tests/sim/server_kafka_work.h"
#include "tests/sim/server_work.h"
#include "tests/sim/sim_disk_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL_NS 30000000000ull
#define STEPS_MAX 3000000u
/* ListOffsets' names for the ends. */
enum { LATEST = -1, EARLIEST = -2 };

/* ---- requests -------------------------------------------------------------------------------- */

static void call_fetch(struct kclient *c, struct kcall *k, const struct m_stream *s, int64_t at,
                       int32_t max_wait_ms, int32_t max_bytes)
{
    struct kafka_arena arena = {0};
    struct kafka_fetch_request *q = KAFKA_NEW(&arena, fetch_request, 1);

    q->max_wait_ms = max_wait_ms;
    q->min_bytes = 1;
    q->max_bytes = max_bytes;
    q->topics_n = 1;
    q->topics = KAFKA_NEW(&arena, fetch_request_topics, 1);
    q->topics[0].topic = str_of(s->name);
    q->topics[0].partitions_n = 1;
    q->topics[0].partitions = KAFKA_NEW(&arena, fetch_request_partitions, 1);
    q->topics[0].partitions[0].fetch_offset = at;
    q->topics[0].partitions[0].partition_max_bytes = max_bytes;
    kclient_call(c, k, KAFKA_FETCH, 11 + (int) (c->id % 2), q);
    kafka_arena_free(&arena);
}

static void call_offsets(struct kclient *c, struct kcall *k, const struct m_stream *s,
                         int64_t which)
{
    struct kafka_arena arena = {0};
    struct kafka_list_offsets_request *q = KAFKA_NEW(&arena, list_offsets_request, 1);

    q->replica_id = -1;
    q->topics_n = 1;
    q->topics = KAFKA_NEW(&arena, list_offsets_request_topics, 1);
    q->topics[0].name = str_of(s->name);
    q->topics[0].partitions_n = 1;
    q->topics[0].partitions = KAFKA_NEW(&arena, list_offsets_request_partitions, 1);
    q->topics[0].partitions[0].timestamp = which;
    kclient_call(c, k, KAFKA_LIST_OFFSETS, 5, q);
    kafka_arena_free(&arena);
}

/* ---- records --------------------------------------------------------------------------------- */

typedef void (*record_fn)(void *ctx, int64_t offset, struct m_msg *msg);

static void take_batch(struct world *w, const struct m_stream *s, const struct kafka_batch *b,
                       record_fn take, void *ctx)
{
    struct kafka_record_iter it;
    struct kafka_record r;
    struct str name, value, headers;

    if ((b->attributes & KAFKA_CONTROL) != 0)
        return;
    if (kafka_batch_codec(b) != KAFKA_PLAIN)
        world_fail(w, "%s: a compressed batch that nobody sent", s->name);
    kafka_record_iter_init(&it, b, b->records);
    while (kafka_record_iter_next(&it, &r)) {
        struct str subject = str_of(s->name);
        for (headers = r.headers; kafka_header_next(&headers, &name, &value);)
            if (str_eq(name, STR("Nats-Subject")))
                subject = value;
        if (r.value.p == NULL)
            world_fail(w, "%s: the record at offset %lld has no value", s->name,
                       (long long) r.offset);
        take(ctx, r.offset, model_recognise(w, subject, r.value));
    }
    if (it.bad)
        world_fail(w, "%s: a batch at offset %lld that can not be read", s->name,
                   (long long) b->base_offset);
}

/* All records of an answer from this offset on. Returns the offset behind them. */
static int64_t take_records(struct world *w, const struct m_stream *s, int64_t from,
                            const struct kafka_records *records, record_fn take, void *ctx)
{
    struct str left = str_from(records->p, records->n);
    struct kafka_batch b;
    int64_t next = from;

    while (left.n > 0) {
        enum kafka_batch_fault fault = kafka_batch_open(left, &b);
        if (fault == KAFKA_BATCH_SHORT) /* the last one may be cut */
            break;
        if (fault != KAFKA_BATCH_OK || !kafka_batch_sum_ok(left, &b))
            world_fail(w, "%s: a batch behind offset %lld that is none", s->name, (long long) next);
        if (b.base_offset + b.last_offset_delta < next)
            world_fail(w, "%s: a batch ends at offset %lld, and %lld was asked for", s->name,
                       (long long) b.base_offset + b.last_offset_delta, (long long) next);
        take_batch(w, s, &b, take, ctx);
        next = b.base_offset + b.last_offset_delta + 1;
        left = str_skip(left, b.bytes);
    }
    return next;
}

static const struct kafka_fetch_response_partitions *fetched_part(struct world *w,
                                                                  const struct m_stream *s,
                                                                  const void *answer)
{
    const struct kafka_fetch_response *a = answer;

    if (a->error_code != KAFKA_NONE || a->responses_n != 1 || a->responses[0].partitions_n != 1)
        world_fail(w, "Fetch of %s: error %d, %d topics", s->name, a->error_code,
                   (int) a->responses_n);
    return &a->responses[0].partitions[0];
}

/* ---- readers of the workload ----------------------------------------------------------------- */

struct read_call {
    struct kcall call;
    struct kreader *reader;
    struct m_stream *s;
    int64_t at;     /* FETCH; else which end */
    uint64_t clock; /* model's, when it was sent */
    int64_t last;   /* of the records that were taken */
};

static int64_t *position(struct kreader *r, const struct m_stream *s)
{
    size_t number = strtoul(s->name + 1, NULL, 10);

    if (number >= r->n) {
        r->at = sim_grow(r->at, (number + 8) * sizeof(*r->at));
        memset(r->at + r->n, 0, (number + 8 - r->n) * sizeof(*r->at));
        r->n = number + 8;
    }
    return &r->at[number];
}

/* Nothing that has to be there lies in [from, to) of the offsets. */
static void check_skipped(struct read_call *x, int64_t from, int64_t to)
{
    const struct m_stream *s = x->s;
    struct world *w = x->reader->client->world;

    for (int64_t o = from; o < to; o++) {
        uint64_t seq = (uint64_t) o + 1;
        const struct m_place *p = seq < s->n ? &s->at[seq] : NULL;
        if (p != NULL && p->promised && p->since < x->clock && !s->memory && !s->async &&
            !model_excused(w->model, s, seq, s->last + 1000000))
            world_fail(w, "Fetch of %s leads past message %u at offset %lld", s->name,
                       p->msg->token, (long long) o);
    }
}

static void take_one(void *ctx, int64_t offset, struct m_msg *msg)
{
    struct read_call *x = ctx;
    struct world *w = x->reader->client->world;

    if (offset < x->at)
        return; /* the batch began before what was asked for */
    if (offset <= x->last)
        world_fail(w, "Fetch of %s has offset %lld behind %lld", x->s->name, (long long) offset,
                   (long long) x->last);
    model_promise(w, x->s, (uint64_t) offset + 1, msg, "Fetch");
    check_skipped(x, x->last + 1, offset);
    x->last = offset;
}

static void out_of_range(struct read_call *x, const struct kafka_fetch_response_partitions *a)
{
    struct world *w = x->reader->client->world;

    if (x->at > a->high_watermark && !x->s->memory && !x->s->async)
        world_fail(w, "%s ends at offset %lld, and a reader was at %lld", x->s->name,
                   (long long) a->high_watermark, (long long) x->at);
    if (x->at >= a->log_start_offset && x->at <= a->high_watermark)
        world_fail(w, "offset %lld of %s is not out of range", (long long) x->at, x->s->name);
    *position(x->reader, x->s) = a->log_start_offset;
}

static void fetched(struct kcall *k, struct kclient *c, const void *answer)
{
    struct read_call *x = CONTAINER_OF(k, struct read_call, call);
    struct world *w = c->world;

    if (answer != NULL && x->s->life == LIFE_SURE) {
        const struct kafka_fetch_response_partitions *a = fetched_part(w, x->s, answer);
        x->last = x->at - 1;
        if (a->error_code == KAFKA_OFFSET_OUT_OF_RANGE) {
            out_of_range(x, a);
        } else if (a->error_code != KAFKA_NONE) {
            if (!w->model->faulty && !w->model->was_full)
                world_fail(w, "Fetch of %s at %lld: error %d", x->s->name, (long long) x->at,
                           a->error_code);
        } else {
            int64_t next = take_records(w, x->s, x->at, &a->records, take_one, x);
            if (next > a->high_watermark)
                world_fail(w, "Fetch of %s has offset %lld, and its end is %lld", x->s->name,
                           (long long) next - 1, (long long) a->high_watermark);
            check_skipped(x, x->last + 1, next);
            if (!x->s->memory && !x->s->async)
                model_reached(x->s, (uint64_t) a->high_watermark);
            *position(x->reader, x->s) = next;
        }
    }
    free(x);
}

static struct read_call *new_call(struct kreader *r, struct m_stream *s)
{
    struct read_call *x = calloc(1, sizeof(*x));

    x->reader = r;
    x->s = s;
    x->clock = ++r->client->world->model->clock;
    return x;
}

void kreader_fetch(struct kreader *r, struct m_stream *s)
{
    static const int32_t sizes[] = {1, 500, 5000, 1000000};
    struct prng *rng = sim_rng(r->client->world->sim);
    struct read_call *x = new_call(r, s);

    x->at = *position(r, s);
    /* From the beginning again, now and then. */
    if (prng_below(rng, 20) == 0)
        x->at = 0;
    x->call.done = fetched;
    call_fetch(r->client, &x->call, s, x->at, (int32_t) prng_below(rng, 3) * 30,
               sizes[prng_below(rng, 4)]);
}

static void got_offsets(struct kcall *k, struct kclient *c, const void *answer)
{
    struct read_call *x = CONTAINER_OF(k, struct read_call, call);
    const struct kafka_list_offsets_response *a = answer;

    if (answer != NULL && x->s->life == LIFE_SURE) {
        if (a->topics_n != 1 || a->topics[0].partitions_n != 1)
            world_fail(c->world, "ListOffsets of %s has no answer", x->s->name);
        const struct kafka_list_offsets_response_partitions *p = &a->topics[0].partitions[0];
        if (p->error_code != KAFKA_NONE && !c->world->model->faulty)
            world_fail(c->world, "ListOffsets of %s: error %d", x->s->name, p->error_code);
        if (p->error_code == KAFKA_NONE && x->at == EARLIEST)
            check_skipped(x, 0, p->offset);
        if (p->error_code == KAFKA_NONE && x->at == LATEST && !x->s->memory && !x->s->async)
            model_reached(x->s, (uint64_t) p->offset);
    }
    free(x);
}

void kreader_ask_offsets(struct kreader *r, struct m_stream *s)
{
    struct read_call *x = new_call(r, s);

    x->at = prng_below(sim_rng(r->client->world->sim), 2) == 0 ? LATEST : EARLIEST;
    x->call.done = got_offsets;
    call_offsets(r->client, &x->call, s, x->at);
}

/* ---- the judge ------------------------------------------------------------------------------- */

struct judge {
    struct kcall call;
    struct world *w;
    struct m_stream *s;
    struct m_msg **at;
    uint64_t first, last;
    int64_t next, high;
    uint64_t taken; /* sequence */
    bool answered;
};

static void judge_missing(struct judge *j, uint64_t seq)
{
    if (j->at[seq] != NULL && !j->s->compact)
        world_fail(j->w, "%s: message %u at %llu is there, and Fetch does not show it", j->s->name,
                   j->at[seq]->token, (unsigned long long) seq);
}

static void judge_record(void *ctx, int64_t offset, struct m_msg *msg)
{
    struct judge *j = ctx;
    uint64_t seq = (uint64_t) offset + 1;

    if (offset < j->next) /* its batch began before what was asked for */
        return;
    if (seq < j->first || seq > j->last || j->at[seq] != msg)
        world_fail(j->w, "%s: Fetch shows message %u at offset %lld, which is not there",
                   j->s->name, msg->token, (long long) offset);
    for (uint64_t i = j->taken + 1; i < seq; i++)
        judge_missing(j, i);
    j->taken = seq;
}

static void judge_answer(struct kcall *k, struct kclient *c, const void *answer)
{
    struct judge *j = CONTAINER_OF(k, struct judge, call);

    if (answer == NULL)
        world_fail(c->world, "the inspector has no answer to Fetch");
    const struct kafka_fetch_response_partitions *a = fetched_part(c->world, j->s, answer);
    if (a->error_code != KAFKA_NONE)
        world_fail(c->world, "Fetch of %s at %lld: error %d", j->s->name, (long long) j->next,
                   a->error_code);
    j->high = a->high_watermark;
    int64_t next = take_records(c->world, j->s, j->next, &a->records, judge_record, j);
    if (next == j->next && next < j->high)
        world_fail(c->world, "Fetch of %s at %lld leads nowhere, and the end is %lld", j->s->name,
                   (long long) next, (long long) j->high);
    j->next = next;
    j->answered = true;
}

static void nothing(struct kclient *c)
{
    (void) c;
}

void kafka_wait(struct world *w, const bool *done, const struct kclient *c)
{
    uint64_t end = sim_now(w->sim) + CALL_NS;

    for (unsigned steps = 0; done != NULL ? !*done : c->wire.state != CLIENT_UP; steps++) {
        if (sim_now(w->sim) > end || steps > STEPS_MAX)
            world_fail(w, "the inspector waits for Kafka in vain");
        world_step(w, 10000000);
    }
}

void kafka_judge(struct world *w, struct m_stream *s, struct m_msg **at, uint64_t first,
                 uint64_t last)
{
    static const struct kclient_ops ops = {.up = nothing, .down = nothing};
    struct judge j = {.w = w, .s = s, .at = at, .first = first, .last = last};

    if (!w->swarm->kafka)
        return;
    struct kclient *c = kclient_open(w, &ops, NULL);
    kafka_wait(w, NULL, c);
    j.call.done = judge_answer;
    j.next = (int64_t) first - 1;
    j.taken = first - 1;
    do {
        j.answered = false;
        call_fetch(c, &j.call, s, j.next, 0, 100000);
        kafka_wait(w, &j.answered, NULL);
    } while (j.next < j.high);
    if (j.high != (int64_t) last && last > 0)
        world_fail(w, "%s ends at %llu, and Fetch says %lld", s->name, (unsigned long long) last,
                   (long long) j.high);
    for (uint64_t i = j.taken + 1; i <= last; i++)
        judge_missing(&j, i);
    kclient_close(c);
}
