/*
 * server_judge.c - everything the server has, asked for over a connection, against the model.
 *
 * The inspector is a client like any other: names of all streams, of each its state and consumers,
 * then every sequence there is. On the side of a power cut (depth 1) it also pulls from every
 * consumer once, to see whether one delivers what was acknowledged for sure.
 */
#include "tests/sim/server_kafka_work.h"
#include "tests/sim/server_txn.h"
#include "tests/sim/server_work.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL_NS 30000000000ull
#define STEPS_MAX 3000000u

struct call {
    struct request req;
    struct world *world;
    json_t **answer;
    struct m_msg **msg;
    uint64_t seq;
    unsigned *left;
};

/* What was found of one stream. */
struct found {
    struct world *w;
    struct client *c;
    struct m_stream *s;
    bool adopt;
    uint64_t first, last, messages;
    struct m_msg **at; /* by sequence */
};

/* ---- calls ----------------------------------------------------------------------------------- */

static void nothing(struct client *c)
{
    (void) c;
}

static void no_pong(struct client *c, uint64_t n)
{
    (void) c;
    (void) n;
}

static void inspector_message(struct client *c, const struct nats_op *op)
{
    if (op->reply.n > 0 && str_starts(op->reply, STR("$JS.ACK.")))
        take_delivery(c, op);
}

static const struct client_ops inspector_ops = {
    .up = nothing, .down = nothing, .message = inspector_message, .pong = no_pong};

static void answered(struct request *r, struct client *c, const struct nats_op *op)
{
    struct call *call = CONTAINER_OF(r, struct call, req);
    json_error_t e;

    (void) c;
    if (op == NULL || op->header_n > 0)
        world_fail(call->world, "the inspector has no answer (%s)",
                   op == NULL ? "its connection ended" : "nobody listens");
    if (call->answer != NULL) {
        *call->answer = json_loadb(op->body.p, op->body.n, 0, &e);
        if (*call->answer == NULL)
            world_fail(call->world, "the inspector's answer is no JSON");
    } else {
        uint64_t seq = 0;
        *call->msg = take_message(call->world, op->body, &seq);
        if (*call->msg != NULL && seq != call->seq)
            world_fail(call->world, "asked for sequence %llu, got %llu",
                       (unsigned long long) call->seq, (unsigned long long) seq);
    }
    --*call->left;
    free(call);
}

static void wait_for(struct world *w, const unsigned *left)
{
    uint64_t end = sim_now(w->sim) + CALL_NS;

    for (unsigned steps = 0; *left > 0; steps++) {
        if (sim_now(w->sim) > end || steps > STEPS_MAX)
            world_fail(w, "the inspector waits for %u answers in vain", *left);
        world_step(w, 10000000);
    }
}

static json_t *call(struct world *w, struct client *c, const char *body, const char *format,
                    const char *name)
{
    struct call *r = calloc(1, sizeof(*r));
    char subject[128];
    json_t *answer = NULL;
    unsigned left = 1;

    snprintf(subject, sizeof(subject), "$JS.API.%s%s", format, name);
    r->world = w;
    r->answer = &answer;
    r->left = &left;
    r->req.done = answered;
    client_request(c, &r->req, str_of(subject), STR_NONE, str_of(body));
    wait_for(w, &left);
    return answer;
}

/* ---- one stream ------------------------------------------------------------------------------ */

static void read_all(struct found *f)
{
    char subject[96], body[64];
    unsigned left = 0;

    snprintf(subject, sizeof(subject), "$JS.API.STREAM.MSG.GET.%s", f->s->name);
    for (uint64_t seq = f->first; seq <= f->last; seq++) {
        struct call *r = calloc(1, sizeof(*r));
        int n = snprintf(body, sizeof(body), "{\"seq\":%llu}", (unsigned long long) seq);
        r->world = f->w;
        r->msg = &f->at[seq];
        r->seq = seq;
        r->left = &left;
        r->req.done = answered;
        left++;
        client_request(f->c, &r->req, str_of(subject), STR_NONE, str_from(body, (size_t) n));
        if (left >= 200)
            wait_for(f->w, &left);
    }
    wait_for(f->w, &left);
}

static void judge_place(struct found *f, uint64_t seq)
{
    struct m_stream *s = f->s;
    const struct m_place *p = seq < s->n ? &s->at[seq] : NULL;
    struct m_msg *msg = seq <= f->last ? f->at[seq] : NULL;
    bool sound = !s->async && !s->memory;

    if (msg == NULL) {
        if (p != NULL && p->promised && sound &&
            !model_excused(f->w->model, s, seq, f->last > s->last ? f->last : s->last))
            world_fail(f->w, "message %u at %llu of %s was promised and is not there",
                       p->msg->token, (unsigned long long) seq, s->name);
        /* An async stream that lost its end does not know any more why a limit took the rest. */
        bool limited = s->least_max != 0 || s->per_subject != 0;
        if (seq <= f->last && (sound || !limited) && !model_excused(f->w->model, s, seq, f->last))
            world_fail(f->w, "%s has no message at %llu, and nobody removed one", s->name,
                       (unsigned long long) seq);
        return;
    }
    if (p != NULL && p->gone && sound)
        world_fail(f->w, "message %u at %llu of %s was removed for sure and is there", msg->token,
                   (unsigned long long) seq, s->name);
    if (p != NULL && p->msg != NULL && p->msg != msg)
        world_fail(f->w, "sequence %llu of %s is message %u, and was message %u before",
                   (unsigned long long) seq, s->name, msg->token, p->msg->token);
    if (msg->slot != s->slot)
        world_fail(f->w, "message %u is in %s, to which it was not sent", msg->token, s->name);
    if (msg->state == MSG_KNOWN && (msg->stream != s || msg->seq != seq) &&
        !model_moved(f->w->model, s, msg))
        world_fail(f->w, "message %u is at %llu of %s, and was at %llu of %s before", msg->token,
                   (unsigned long long) seq, s->name, (unsigned long long) msg->seq,
                   msg->stream->name);
}

/* What one connection sent is stored in the order in which it was sent, and once. */
static void judge_order(struct found *f)
{
    for (uint64_t seq = f->first; seq <= f->last; seq++) {
        const struct m_msg *msg = f->at[seq];
        if (msg == NULL || msg->again)
            continue;
        for (uint64_t next = seq + 1; next <= f->last; next++) {
            const struct m_msg *later = f->at[next];
            if (later == NULL || later->again || later->client != msg->client ||
                later->conn != msg->conn)
                continue;
            if (later->sent <= msg->sent)
                world_fail(f->w, "%s: message %u at %llu comes before message %u at %llu",
                           f->s->name, msg->token, (unsigned long long) seq, later->token,
                           (unsigned long long) next);
            break;
        }
    }
}

/* What a producer sent before is there, or something explains that it is not. */
static void judge_producers(struct found *f)
{
    const struct m_stream *s = f->s;
    bool *there;

    /* One that lost its end has forgotten who produced. */
    if (s->async || s->memory || s->removals || s->compact || s->least_max != 0 ||
        s->per_subject != 0)
        return;
    there = calloc(f->w->model->nmsgs + 1, sizeof(*there));
    for (uint64_t seq = f->first; seq <= f->last; seq++) {
        const struct m_msg *msg = f->at[seq];
        if (msg == NULL)
            continue;
        there[msg->token] = true;
        const struct m_msg *prev = msg->prev;
        if (prev != NULL && !there[prev->token])
            world_fail(f->w,
                       "%s: message %u at %llu is there, and message %u, which its producer "
                       "sent before it, is not",
                       s->name, msg->token, (unsigned long long) seq, prev->token);
    }
    free(there);
}

static void judge_counts(struct found *f)
{
    uint64_t n = 0;

    for (uint64_t seq = f->first; seq <= f->last; seq++)
        n += f->at[seq] != NULL;
    /* Compaction goes on meanwhile. */
    if (n != f->messages && !f->s->compact)
        world_fail(f->w, "%s counts %llu messages and has %llu", f->s->name,
                   (unsigned long long) f->messages, (unsigned long long) n);
    if (!f->s->async && !f->s->memory && f->last < f->s->last)
        world_fail(f->w, "%s is at %llu and was at %llu before", f->s->name,
                   (unsigned long long) f->last, (unsigned long long) f->s->last);
}

/* A stream of level async may have lost its end; what is left is as before. */
static void forget_tail(struct found *f)
{
    struct m_stream *s = f->s;

    for (uint64_t seq = f->last + 1; seq < s->n; seq++) {
        struct m_place *p = &s->at[seq];
        if (p->msg != NULL && p->msg->state == MSG_KNOWN && p->msg->stream == s) {
            /* A producer that had no answer sends it again. */
            p->msg->state = p->msg->asked ? MSG_SENT : MSG_REFUSED;
            p->msg->stream = NULL;
        }
        *p = (struct m_place){0};
    }
    s->last = f->last;
    for (size_t i = 0; i < f->w->model->nconsumers; i++) {
        struct m_consumer *k = f->w->model->consumers[i];
        for (uint64_t seq = s->last + 1; k->stream == s && seq < k->n; seq++)
            k->flags[seq] = 0;
    }
}

static void adopt(struct found *f)
{
    for (uint64_t seq = f->first; seq <= f->last; seq++)
        if (f->at[seq] != NULL)
            model_promise(f->w, f->s, seq, f->at[seq], "read");
    if (f->s->async || f->s->memory)
        forget_tail(f);
    model_reached(f->s, f->last);
}

static uint64_t number(const json_t *o, const char *name)
{
    return (uint64_t) json_integer_value(json_object_get(o, name));
}

static void judge_consumers(struct found *f)
{
    struct model *m = f->w->model;
    json_t *answer = call(f->w, f->c, "", "CONSUMER.NAMES.", f->s->name);
    const json_t *names = json_object_get(answer, "consumers");

    for (size_t i = 0; i < m->nconsumers; i++) {
        struct m_consumer *k = m->consumers[i];
        bool there = false;
        if (k->stream != f->s)
            continue;
        for (size_t j = 0; j < json_array_size(names); j++)
            there |= strcmp(json_string_value(json_array_get(names, j)), k->name) == 0;
        if (there && k->life == LIFE_GONE)
            world_fail(f->w, "consumer %s of %s was deleted and is there", k->name, f->s->name);
        if (!there && k->life == LIFE_SURE)
            world_fail(f->w, "consumer %s of %s was created and is not there", k->name, f->s->name);
        if (f->adopt && k->life == LIFE_ASKED && there)
            k->sure_at = ++m->clock;
        if (f->adopt)
            k->life = there ? LIFE_SURE : LIFE_GONE;
    }
    json_decref(answer);
}

/* The mark of a purge without an answer: everything that was sent so far. */
static void close_purges(struct world *w, struct m_stream *s)
{
    for (unsigned i = 0; i < MODEL_SUBJECTS; i++)
        if (s->purged[i] == UINT64_MAX)
            s->purged[i] = ++w->model->clock;
    s->updating = false;
}

/* An update that was answered holds; one that was not may. */
static void judge_config(struct found *f, const json_t *config)
{
    struct m_stream *s = f->s;
    int64_t max = json_integer_value(json_object_get(config, "max_msgs"));
    uint64_t have = max > 0 ? (uint64_t) max : 0;

    if (!s->updating && have != s->max_msgs)
        world_fail(f->w, "%s has max_msgs %llu, though %llu was confirmed", s->name,
                   (unsigned long long) have, (unsigned long long) s->max_msgs);
    if (f->adopt)
        s->max_msgs = have;
}

static void judge_stream(struct found *f)
{
    json_t *info = call(f->w, f->c, "", "STREAM.INFO.", f->s->name);
    const json_t *state = json_object_get(info, "state");

    if (state == NULL)
        world_fail(f->w, "%s is listed and has no info", f->s->name);
    judge_config(f, json_object_get(info, "config"));
    f->first = number(state, "first_seq");
    f->last = number(state, "last_seq");
    f->messages = number(state, "messages");
    sim_trace(f->w->sim, "%s has %llu to %llu, %llu messages", f->s->name,
              (unsigned long long) f->first, (unsigned long long) f->last,
              (unsigned long long) f->messages);
    json_decref(info);
    if (f->first == 0)
        f->first = 1;
    f->at = calloc(f->last + 2, sizeof(struct m_msg *));
    read_all(f);
    judge_counts(f);
    for (uint64_t seq = 1; seq <= f->last || seq < f->s->n; seq++)
        judge_place(f, seq);
    judge_order(f);
    judge_producers(f);
    batch_judge(f->w, f->s, f->at, f->first, f->last);
    if (f->s->retention == M_LIMITS)
        kafka_judge(f->w, f->s, f->at, f->first, f->last);
    judge_consumers(f);
    if (f->adopt) {
        adopt(f);
        close_purges(f->w, f->s);
    }
    free(f->at);
}

/* ---- all ------------------------------------------------------------------------------------- */

static bool listed(const json_t *names, const char *name)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        if (strcmp(json_string_value(json_array_get(names, i)), name) == 0)
            return true;
    return false;
}

static void stream_is_gone(struct world *w, struct m_stream *s)
{
    struct model *m = w->model;

    s->life = LIFE_GONE;
    if (m->slots[s->slot] == s)
        m->slots[s->slot] = NULL;
    for (size_t i = 0; i < m->nconsumers; i++)
        if (m->consumers[i]->stream == s)
            m->consumers[i]->life = LIFE_GONE;
}

static void judge_names(struct world *w, struct client *c, const json_t *names, bool adopt)
{
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (strncmp(name, "__", 2) == 0 || name[0] == 'X')
            continue; /* of Kafka's coordinator; of those with transactions */
        if (model_stream_find(w->model, str_of(name)) == NULL)
            world_fail(w, "there is a stream %s that nobody made", name);
    }
    for (size_t i = 0; i < w->model->nstreams; i++) {
        struct m_stream *s = w->model->streams[i];
        bool there = listed(names, s->name);
        if (there && s->life == LIFE_GONE)
            world_fail(w, "stream %s was deleted and is there", s->name);
        if (!there && s->life == LIFE_SURE && !s->memory)
            world_fail(w, "stream %s was created and is not there", s->name);
        if (there)
            judge_stream(&(struct found){.w = w, .c = c, .s = s, .adopt = adopt});
        if (adopt && there)
            s->life = LIFE_SURE;
        else if (adopt)
            stream_is_gone(w, s);
    }
}

/* Was it stored for a moment, and removed? */
static bool may_have_been(const struct model *m, const struct m_msg *msg)
{
    const struct m_stream *s = msg->topic != NULL ? msg->topic : m->slots[msg->slot];

    return s != NULL && (s->compact || s->retention != M_LIMITS || s->least_max != 0 ||
                         s->per_subject != 0 || s->removals);
}

/* Messages whose fate nobody knew, and which are nowhere now, were not stored. */
static void give_up_messages(struct world *w)
{
    for (size_t i = 0; i < w->model->nmsgs; i++) {
        struct m_msg *msg = w->model->msgs[i];
        if (msg->state == MSG_SENT && !msg->asked && !may_have_been(w->model, msg))
            msg->state = MSG_REFUSED;
    }
}

static void pull_from_all(struct world *w, struct client *c)
{
    for (size_t i = 0; i < w->model->nconsumers; i++) {
        const struct m_consumer *k = w->model->consumers[i];
        char subject[96], inbox[64];
        uint64_t n;
        if (k->life != LIFE_SURE || k->stream->life != LIFE_SURE || k->push)
            continue;
        snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", k->stream->name,
                 k->name);
        client_pub(c, str_of(subject), client_inbox(c, inbox, &n), STR_NONE,
                   STR("{\"batch\":500,\"no_wait\":true}"));
    }
    work_pass(w, 20000000);
}

void judge_all(struct world *w, bool adopt)
{
    struct client *c = client_open(w, &inspector_ops);
    unsigned left = 0;
    json_t *answer;

    sim_trace(w->sim, "judge");
    for (unsigned steps = 0; c->wire.state != CLIENT_UP || !c->greeted; steps++) {
        if (steps > STEPS_MAX)
            world_fail(w, "the inspector can not connect");
        world_step(w, 10000000);
    }
    wait_for(w, &left);
    answer = call(w, c, "", "STREAM.NAMES", "");
    judge_names(w, c, json_object_get(answer, "streams"), adopt);
    json_decref(answer);
    if (adopt)
        give_up_messages(w);
    xtxns_judge(w);
    if (w->depth > 0)
        pull_from_all(w, c);
    client_close(c);
    world_check(w);
}

void judge_drained(struct world *w)
{
    for (size_t i = 0; i < w->model->nconsumers; i++) {
        struct m_consumer *k = w->model->consumers[i];
        struct m_stream *s = k->stream;
        /* An async stream that lost its end uses sequences again; a consumer may be behind them. */
        if (k->life != LIFE_SURE || s->life != LIFE_SURE || k->ack_none || k->ack_all || s->async)
            continue;
        for (uint64_t seq = 1; seq < s->n; seq++) {
            const struct m_place *p = &s->at[seq];
            if (p->promised && (!k->fresh || p->msg->sent > k->sure_at) &&
                !model_excused(w->model, s, seq, s->last) && model_wants(k, p->msg) &&
                (*model_flags(k, seq) & GOT) == 0)
                world_fail(w, "%s has come to its end and never delivered message %u at %llu of %s",
                           k->name, p->msg->token, (unsigned long long) seq, s->name);
        }
    }
}
