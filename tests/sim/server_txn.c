/*
 * server_txn.c - see server_txn.h: producers with a transactional id, one request at a time.
 *
 *     TOPICS -> COORDINATOR -> INIT -> IDLE -> ADD -> PRODUCE -> OPEN -> END -> IDLE
 *                               ^                 ^------------- | -> GROUP -> OFFSETS -> OPEN
 *                               +--- fenced, or started anew ----+
 *
 * One of transaction.version 2 needs no ADD and no GROUP, and goes on with the epoch that END
 * gives.
 *
 * What was not answered when a connection ended is sent again with the same numbers, or the client
 * is another instance of its program from then on, which begins with InitProducerId: what was open
 * is aborted by that, unless its commit was on its way. A refusal for a while is tried again. Being
 * fenced can only be right when the time of the transaction was up.
 */
#include "tests/sim/server_txn.h"

#include "lib/base/hash.h"
#include "server/kafka/kafka_error.h"
#include "tests/sim/server_txn_int.h"
#include "tests/sim/sim_disk_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_NS 5000000u

static const int32_t timeouts_ms[] = {300, 3000, 3000};

uint64_t xtxns_longest_ns(void)
{
    return 3000000000u;
}

const char *xtxn_group(unsigned client)
{
    static char name[16];

    snprintf(name, sizeof(name), "xg%u", client);
    return name;
}

/* ---- places ---------------------------------------------------------------------------------- */

unsigned xplaces(const struct xledger *l)
{
    return l->topics * l->parts;
}

struct str xplace_topic(const struct xledger *l, unsigned place)
{
    static const char *const names[XTOPICS] = {"X0", "X1", "X2", "X3"};

    return str_of(names[place / l->parts]);
}

int32_t xplace_index(const struct xledger *l, unsigned place)
{
    return (int32_t) (place % l->parts);
}

enum xkind xplace_kind(const struct world *w, unsigned place)
{
    return (enum xkind)(w->swarm->txn_kinds >> 2 * (place / w->model->txns->parts) & 3);
}

unsigned xplace_of(const struct xledger *l, struct str topic, int32_t index)
{
    return (unsigned) (topic.p[1] - '0') * l->parts + (unsigned) index;
}

void xledger_free(struct xledger *x)
{
    for (size_t i = 0; i < x->ntxns; i++)
        free(x->txns[i]);
    for (size_t i = 0; i < x->nrecords; i++)
        free(x->records[i]);
    free(x->txns);
    free(x->records);
    free(x);
}

static uint64_t below(struct world *w, uint64_t n)
{
    return prng_below(sim_rng(w->sim), n);
}

/* ---- the ledger ------------------------------------------------------------------------------ */

static void begin(struct xclient *x)
{
    struct xledger *l = xclient_ledger(x);
    struct xtxn *t = calloc(1, sizeof(*t));

    t->client = x->client->id;
    t->began = sim_now(xclient_world(x)->sim);
    l->txns = sim_grow(l->txns, (l->ntxns + 1) * sizeof(struct xtxn *));
    l->txns[l->ntxns++] = t;
    t->number = (unsigned) l->ntxns;
    x->txn = t;
    memset(x->added, 0, sizeof(x->added));
}

static void decide(struct xclient *x, enum xstate state)
{
    sim_trace(xclient_world(x)->sim, "txn %u of %s: state %d", x->txn->number, x->id, (int) state);
    x->txn->state = state;
    x->txn = NULL;
}

static void drop_batches(struct xclient *x)
{
    for (unsigned i = 0; i < XPLACES; i++) {
        buf_free(&x->batches[i].bytes);
        x->batches[i] = (struct xbatch){0};
    }
}

/* It is not this client's any more: InitProducerId decides about it, or the time has. */
static void lose(struct xclient *x)
{
    if (x->txn != NULL)
        decide(x, x->txn->commit_sent ? X_UNKNOWN : X_ABORTED);
    drop_batches(x);
    x->step = INIT;
}

/* What its step asks for, if it may. */
static void push(struct xclient *x)
{
    if (x->busy || x->client->wire.state != CLIENT_UP || x->step == IDLE || x->step == OPEN ||
        x->again_at > sim_now(xclient_world(x)->sim))
        return;
    x->busy = true;
    xclient_ask(x);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* The worst there is in the answer to its step. */
static int16_t worst(int16_t a, int16_t b)
{
    return a != KAFKA_NONE ? a : b;
}

static int16_t topics_error(const struct kafka_create_topics_response *a)
{
    int16_t error = KAFKA_NONE;

    for (int32_t i = 0; i < a->topics_n; i++)
        if (a->topics[i].error_code != KAFKA_TOPIC_ALREADY_EXISTS)
            error = worst(error, a->topics[i].error_code);
    return error;
}

static int16_t add_error(const struct kafka_add_partitions_to_txn_response *a)
{
    int16_t error = KAFKA_NONE;

    for (int32_t i = 0; i < a->results_by_topic_v3_and_below_n; i++)
        error =
            worst(error,
                  a->results_by_topic_v3_and_below[i].results_by_partition[0].partition_error_code);
    return error;
}

static void stored(struct xclient *x, struct xbatch *b, int64_t offset)
{
    b->stored = true;
    for (unsigned k = 0; k < b->n; k++) {
        struct xrecord *r = xclient_ledger(x)->records[b->first + k];
        r->acked = true;
        r->offset = offset >= 0 ? offset + k : -1;
    }
}

/* "Was stored" is said where something may have taken it since. */
static bool may_be_taken(const struct xclient *x, unsigned place)
{
    return xplace_kind(xclient_world(x), place) >= X_LIMITED ||
           xclient_ledger(x)->deleted[place] > 0;
}

/* Marks what is stored. */
static int16_t produce_error(struct xclient *x, const struct kafka_produce_response *a)
{
    int16_t error = KAFKA_NONE;

    for (int32_t i = 0; i < a->responses_n; i++) {
        const struct kafka_produce_response_partition_responses *p =
            &a->responses[i].partition_responses[0];
        unsigned place = xplace_of(xclient_ledger(x), a->responses[i].name, p->index);
        int16_t e = p->error_code;
        if (e == KAFKA_DUPLICATE_SEQUENCE_NUMBER && may_be_taken(x, place))
            e = KAFKA_NONE;
        error = worst(error, e);
        if (e == KAFKA_NONE)
            stored(x, &x->batches[place], p->error_code == KAFKA_NONE ? p->base_offset : -1);
    }
    return error;
}

static int16_t error_of(struct xclient *x, const void *answer)
{
    const struct kafka_txn_offset_commit_response *offsets = answer;

    switch (x->step) {
    case TOPICS:
        return topics_error(answer);
    case COORDINATOR:
        return ((const struct kafka_find_coordinator_response *) answer)->error_code;
    case INIT:
        return ((const struct kafka_init_producer_id_response *) answer)->error_code;
    case ADD:
        return add_error(answer);
    case PRODUCE:
        return produce_error(x, answer);
    case GROUP:
        return ((const struct kafka_add_offsets_to_txn_response *) answer)->error_code;
    case OFFSETS:
        return offsets->topics[0].partitions[0].error_code;
    default:
        return ((const struct kafka_end_txn_response *) answer)->error_code;
    }
}

static void take_epoch(struct xclient *x, int64_t producer, int16_t epoch)
{
    if (producer == x->producer && epoch <= x->epoch)
        world_fail(xclient_world(x), "%s gets epoch %d behind %d", x->id, epoch, x->epoch);
    x->producer = producer;
    x->epoch = epoch;
    memset(x->next, 0, sizeof(x->next));
}

static void step_done(struct xclient *x, const void *answer)
{
    const struct kafka_init_producer_id_response *init = answer;
    const struct kafka_end_txn_response *end = answer;

    switch (x->step) {
    case TOPICS:
        xclient_ledger(x)->there = true;
        x->step = COORDINATOR;
        break;
    case COORDINATOR:
        x->step = INIT;
        break;
    case INIT:
        take_epoch(x, init->producer_id, init->producer_epoch);
        x->step = IDLE;
        break;
    case ADD:
        for (unsigned i = 0; i < XPLACES; i++)
            x->added[i] = x->added[i] || x->batches[i].n > 0;
        x->step = PRODUCE;
        break;
    case GROUP:
        x->step = OFFSETS;
        break;
    case OFFSETS:
        x->txn->offsets = true;
        x->step = OPEN;
        break;
    case PRODUCE:
        drop_batches(x);
        x->step = OPEN;
        break;
    default:
        decide(x, x->commit ? X_COMMITTED : X_ABORTED);
        if (x->v2)
            take_epoch(x, end->producer_id, end->producer_epoch);
        x->step = IDLE;
    }
}

static bool is_fenced(int16_t error)
{
    return error == KAFKA_PRODUCER_FENCED || error == KAFKA_INVALID_PRODUCER_EPOCH ||
           error == KAFKA_INVALID_TXN_STATE || error == KAFKA_TRANSACTION_ABORTABLE;
}

static bool comes_again(int16_t error)
{
    return error == KAFKA_CONCURRENT_TRANSACTIONS || error == KAFKA_COORDINATOR_NOT_AVAILABLE ||
           error == KAFKA_COORDINATOR_LOAD_IN_PROGRESS || error == KAFKA_NOT_COORDINATOR ||
           error == KAFKA_NOT_LEADER_OR_FOLLOWER || error == KAFKA_NOT_ENOUGH_REPLICAS;
}

static void refused(struct xclient *x, int16_t error)
{
    struct world *w = xclient_world(x);
    bool excused = w->model->was_full || w->model->faulty || w->model->stopped;

    if (is_fenced(error) && x->txn != NULL) {
        if (!w->model->faulty &&
            sim_now(w->sim) - x->txn->began < (uint64_t) x->timeout_ms * 1000000)
            world_fail(w, "%s is told %d in step %d, and its transaction is younger than its time",
                       x->id, error, (int) x->step);
        lose(x);
        return;
    }
    if (!comes_again(error) && !excused)
        world_fail(w, "%s is told %d in step %d", x->id, error, (int) x->step);
    x->again_at = sim_now(w->sim) + AGAIN_NS;
}

static void done(struct kcall *k, struct kclient *c, const void *answer)
{
    struct xclient *x = CONTAINER_OF(k, struct xclient, call);
    int16_t error;

    x->busy = false;
    if (answer == NULL) {
        /* It comes back as another instance now and then. */
        if (x->step > INIT && below(c->world, 100) < 30)
            lose(x);
        return;
    }
    error = error_of(x, answer);
    sim_trace(c->world->sim, "%s: step %d, error %d", x->id, (int) x->step, error);
    if (error != KAFKA_NONE)
        refused(x, error);
    else
        step_done(x, answer);
    push(x);
}

/* ---- what they do ---------------------------------------------------------------------------- */

static void write_more(struct xclient *x)
{
    struct world *w = xclient_world(x);
    bool add = false, any = false;

    for (unsigned i = 0; i < xplaces(xclient_ledger(x)); i++)
        if (below(w, 2) == 0 || (!any && i + 1 == xplaces(xclient_ledger(x)))) {
            xclient_build(x, i);
            any = true;
            add = add || !x->added[i];
        }
    x->step = add && !x->v2 ? ADD : PRODUCE;
}

static void go_on(struct xclient *x)
{
    uint64_t dice = below(xclient_world(x), 100);

    if (x->step == IDLE) {
        begin(x);
        write_more(x);
    } else if (x->step != OPEN) {
        return;
    } else if (dice < 45) {
        write_more(x);
    } else if (dice < 60) {
        x->step = x->v2 ? OFFSETS : GROUP;
    } else if (dice < 95) {
        x->commit = dice < 85;
        x->step = END;
    } else {
        lose(x);
    }
    push(x);
}

void xtxns_do(struct world *w)
{
    struct xclient *chosen = NULL;
    uint64_t n = 0;

    LIST_FOREACH(l, &w->model->txns->clients)
    {
        struct xclient *x = LIST_ENTRY(l, struct xclient, link);
        if (!x->busy && below(w, ++n) == 0)
            chosen = x;
    }
    if (chosen != NULL)
        go_on(chosen);
}

void xtxns_push(struct world *w)
{
    if (w->model->txns == NULL)
        return;
    LIST_FOREACH(l, &w->model->txns->clients)
    push(LIST_ENTRY(l, struct xclient, link));
}

static struct xclient *unrested(const struct world *w)
{
    if (w->model->txns == NULL)
        return NULL;
    LIST_FOREACH(l, &w->model->txns->clients)
    {
        struct xclient *x = LIST_ENTRY(l, struct xclient, link);
        if (x->busy || (x->step != IDLE && x->step != OPEN))
            return x;
    }
    return NULL;
}

bool xtxns_at_rest(const struct world *w)
{
    return unrested(w) == NULL;
}

void xtxns_explain_unrest(struct world *w)
{
    const struct xclient *x = unrested(w);

    if (x != NULL)
        world_fail(w, "%s does not get beyond step %d", x->id, (int) x->step);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void up(struct kclient *c)
{
    if (c->data != NULL)
        push(c->data);
}

static void down(struct kclient *c)
{
    (void) c;
}

static const struct kclient_ops ops = {.up = up, .down = down};

void xtxns_open(struct world *w)
{
    struct xledger *l;

    if (w->swarm->txn_clients == 0)
        return;
    l = w->model->txns = calloc(1, sizeof(*l));
    l->topics = w->swarm->txn_topics;
    l->parts = l->topics * w->swarm->txn_parts <= XPLACES ? w->swarm->txn_parts : 1;
    list_init(&l->clients);
    for (unsigned i = 0; i < w->swarm->txn_clients; i++) {
        struct xclient *x = calloc(1, sizeof(*x));
        x->call.done = done;
        x->producer = -1;
        x->epoch = -1;
        x->timeout_ms = timeouts_ms[below(w, ARRAY_LEN(timeouts_ms))];
        x->client = kclient_open(w, &ops, x);
        snprintf(x->id, sizeof(x->id), "tx%u", x->client->id);
        x->v2 = hash_mix(w->seed, x->client->id) % 2 == 0;
        list_push_back(&l->clients, &x->link);
    }
    l->reader = kclient_open(w, &ops, NULL);
}

void xtxns_close(struct world *w)
{
    struct xledger *l = w->model->txns;
    struct list *p;

    if (l == NULL)
        return;
    while ((p = list_pop_front(&l->clients)) != NULL) {
        struct xclient *x = LIST_ENTRY(p, struct xclient, link);
        kclient_close(x->client);
        drop_batches(x);
        free(x);
    }
    kclient_close(l->reader);
}
