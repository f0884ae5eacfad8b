/*
 * server_take.c - what clients make of answers and deliveries: everything goes into the model, and
 * is judged there.
 */
#include "lib/base/base64.h"
#include "lib/base/header.h"
#include "lib/wire/ack_subject.h"
#include "tests/sim/server_work.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ERR_WRONG_LAST = 10071,
    ERR_STORE_FAILED = 10077,
    ERR_NO_STREAM = 10059,
    ERR_NO_CONSUMER = 10014,
    ERR_NO_SUCH_SEQ = 10043,
    ERR_DELETE_FAILED = 10057, /* below the first sequence with "no message found" */
    ERR_NO_MESSAGE = 10037,
    ERR_NO_STORAGE = 10047,
    ERR_NO_RESOURCES = 10023,
};

struct ask *ask_new(struct world *w, enum ask_kind kind)
{
    struct ask *a = calloc(1, sizeof(*a));

    a->world = w;
    a->kind = kind;
    a->subject = -1;
    a->clock = ++w->model->clock;
    return a;
}

static uint64_t member(const json_t *o, const char *name)
{
    return (uint64_t) json_integer_value(json_object_get(o, name));
}

static unsigned error_of(const json_t *o)
{
    return (unsigned) member(json_object_get(o, "error"), "err_code");
}

/* ---- PubAcks --------------------------------------------------------------------------------- */

/* The stream may have been deleted, or not be there yet: then nobody listens. */
static void nobody_listens(struct ask *a)
{
    const struct m_stream *s = a->stream;

    if (a->sure && s->life == LIFE_SURE)
        world_fail(a->world, "message %u: nobody listens, though %s is there", a->msg->token,
                   s->name);
    if (!a->msg->again)
        a->msg->state = MSG_REFUSED;
}

static void refused(struct ask *a, const json_t *o, unsigned code)
{
    struct world *w = a->world;
    bool ok = (code == ERR_WRONG_LAST && a->seq != 0) ||
              (code == ERR_STORE_FAILED && w->model->was_full) ||
              (code == ERR_NO_RESOURCES && w->model->was_full);
    const char *text =
        json_string_value(json_object_get(json_object_get(o, "error"), "description"));

    if (!ok)
        world_fail(w, "message %u is refused: %u %s", a->msg->token, code, text);
    if (code == ERR_WRONG_LAST) {
        const char *last = strrchr(text, ' ');
        uint64_t seq = last != NULL ? strtoull(last + 1, NULL, 10) : 0;
        if (seq == a->seq - 1)
            world_fail(w, "message %u is refused though %s is at %llu", a->msg->token,
                       a->stream->name, (unsigned long long) seq);
        /* What an answer was computed from must stay true. */
        if (!a->stream->memory && !a->stream->async)
            model_reached(a->stream, seq);
    }
    if (!a->msg->again)
        a->msg->state = MSG_REFUSED;
}

static void stored(struct ask *a, const json_t *o)
{
    struct world *w = a->world;
    const char *name = json_string_value(json_object_get(o, "stream"));
    struct m_stream *s = name != NULL ? model_stream_find(w->model, str_of(name)) : NULL;
    uint64_t seq = member(o, "seq");
    bool duplicate = json_is_true(json_object_get(o, "duplicate"));

    if (s == NULL || seq == 0)
        world_fail(w, "message %u: an answer that is none", a->msg->token);
    if (s->life == LIFE_GONE)
        return;
    if (duplicate && !a->msg->again)
        world_fail(w, "message %u is called a duplicate and was sent once", a->msg->token);
    if (a->seq != 0 && !duplicate && seq != a->seq)
        world_fail(w, "message %u was stored at %llu though it expected %llu before it",
                   a->msg->token, (unsigned long long) seq, (unsigned long long) (a->seq - 1));
    model_promise(w, s, seq, a->msg, "PubAck");
}

static void published(struct ask *a, const struct nats_op *op)
{
    json_error_t e;

    a->msg->asked = false;
    if (op == NULL)
        return;
    bool faulty = a->world->model->faulty;
    if (op->header_n > 0) {
        if (!faulty)
            nobody_listens(a);
        return;
    }
    json_t *o = json_loadb(op->body.p, op->body.n, 0, &e);
    if (o == NULL)
        world_fail(a->world, "message %u: an answer that is no JSON", a->msg->token);
    unsigned code = error_of(o);
    if (code == 0)
        stored(a, o);
    else if (!faulty)
        refused(a, o, code);
    json_decref(o);
}

/* ---- streams and consumers ------------------------------------------------------------------- */

static void unexpected(struct ask *a, const json_t *o, const char *what)
{
    char *text = json_dumps(o, JSON_COMPACT);

    world_fail(a->world, "%s: %.300s", what, text);
}

static bool no_space(const struct ask *a, unsigned code)
{
    return a->world->model->was_full && (code == ERR_NO_STORAGE || code == ERR_NO_RESOURCES ||
                                         code == 10049 || code == 10012 || code == 10052);
}

static void stream_created(struct ask *a, const json_t *o, unsigned code)
{
    struct m_stream *s = a->stream;

    if (s->life != LIFE_ASKED)
        return;
    if (code == 0) {
        s->life = LIFE_SURE;
        return;
    }
    /* Another stream of the slot may not be known to be gone. */
    if (code != 10065 && !no_space(a, code))
        unexpected(a, o, "a stream can not be created");
    /* Another request for it may have better luck. */
    if (s->again == a->world->model->epoch + 1)
        return;
    s->life = LIFE_GONE;
    if (a->world->model->slots[s->slot] == s)
        a->world->model->slots[s->slot] = NULL;
}

static void stream_created_again(struct ask *a, const json_t *o, unsigned code)
{
    if (code == 0 && a->stream->life == LIFE_ASKED)
        a->stream->life = LIFE_SURE;
    else if (code != 0 && a->stream->life == LIFE_SURE && a->stream->updated < a->clock &&
             !no_space(a, code))
        unexpected(a, o, "a stream that exists can not be created again");
}

static void stream_updated(struct ask *a, const json_t *o, unsigned code)
{
    a->stream->updating = false;
    if (code != 0 && a->stream->life == LIFE_SURE && !no_space(a, code))
        unexpected(a, o, "a stream can not be updated");
}

static void stream_deleted(struct ask *a, const json_t *o, unsigned code)
{
    struct model *m = a->world->model;

    if (code != 0 && code != ERR_NO_STREAM)
        unexpected(a, o, "a stream can not be deleted");
    a->stream->life = LIFE_GONE;
    if (m->slots[a->stream->slot] == a->stream)
        m->slots[a->stream->slot] = NULL;
    for (size_t i = 0; i < m->nconsumers; i++)
        if (m->consumers[i]->stream == a->stream)
            m->consumers[i]->life = LIFE_GONE;
}

static void consumer_created(struct ask *a, const json_t *o, unsigned code)
{
    struct m_consumer *c = a->consumer;

    if (c->life != LIFE_ASKED)
        return;
    if (code == 0) {
        c->life = LIFE_SURE;
        c->sure_at = ++a->world->model->clock;
        return;
    }
    if (code != ERR_NO_STREAM && !no_space(a, code) && a->stream->life == LIFE_SURE)
        unexpected(a, o, "a consumer can not be created");
    c->life = LIFE_GONE;
}

static void consumer_deleted(struct ask *a, const json_t *o, unsigned code)
{
    if (code != 0 && code != ERR_NO_CONSUMER && code != ERR_NO_STREAM)
        unexpected(a, o, "a consumer can not be deleted");
    a->consumer->life = LIFE_GONE;
}

static void consumer_described(struct ask *a, const json_t *o, unsigned code)
{
    *a->left = 0;
    if (code == 0)
        *a->left = member(o, "num_pending") + member(o, "num_ack_pending");
    else if (a->consumer->life == LIFE_SURE && a->stream->life == LIFE_SURE)
        unexpected(a, o, "a consumer can not be described");
}

/* ---- removals -------------------------------------------------------------------------------- */

static void set_gone(struct world *w, struct m_place *p)
{
    p->gone = true;
    p->gone_epoch = w->model->epoch;
}

static void purged(struct ask *a, const json_t *o, unsigned code)
{
    struct m_stream *s = a->stream;

    if (code != 0) {
        if (s->life == LIFE_SURE)
            unexpected(a, o, "a stream can not be purged");
        return;
    }
    for (uint64_t seq = 1; seq < s->n; seq++) {
        struct m_place *p = &s->at[seq];
        bool meant = a->before == 0 || seq < a->before;
        if (p->promised && p->since < a->clock && meant &&
            (a->subject < 0 || (unsigned) a->subject == p->msg->subject))
            set_gone(a->world, p);
    }
    /* What was sent before this answer may have been purged; what is sent later may not. */
    for (unsigned i = 0; i < MODEL_SUBJECTS; i++)
        if ((a->subject < 0 || (unsigned) a->subject == i) && s->purged[i] == UINT64_MAX)
            s->purged[i] = ++a->world->model->clock;
}

static bool was_not_there(const json_t *o, unsigned code)
{
    const char *why =
        json_string_value(json_object_get(json_object_get(o, "error"), "description"));

    return code == ERR_NO_SUCH_SEQ ||
           (code == ERR_DELETE_FAILED && why != NULL && strcmp(why, "no message found") == 0);
}

static void msg_deleted(struct ask *a, const json_t *o, unsigned code)
{
    if (code == 0)
        set_gone(a->world, model_place(a->stream, a->seq));
    else if (!was_not_there(o, code) && a->stream->life == LIFE_SURE)
        unexpected(a, o, "a message can not be deleted");
}

/* ---- reading --------------------------------------------------------------------------------- */

struct m_msg *take_message(struct world *w, struct str json, uint64_t *seq)
{
    struct buf data = {0};
    json_error_t e;
    json_t *o = json_loadb(json.p, json.n, 0, &e);
    const json_t *m = json_object_get(o, "message");
    struct m_msg *msg = NULL;

    if (o == NULL)
        world_fail(w, "the answer to a get is no JSON");
    if (m != NULL) {
        const char *subject = json_string_value(json_object_get(m, "subject"));
        const char *text = json_string_value(json_object_get(m, "data"));
        if (text == NULL || !base64_decode(&data, str_of(text)))
            world_fail(w, "a message without data");
        *seq = member(m, "seq");
        msg = model_recognise(w, str_of(subject), buf_str(&data));
    } else if (error_of(o) != ERR_NO_MESSAGE && error_of(o) != ERR_NO_STREAM && !w->model->faulty) {
        world_fail(w, "a get is refused: %.*s", STR_ARG(json));
    }
    buf_free(&data);
    json_decref(o);
    return msg;
}

static void missing(struct ask *a)
{
    const struct m_stream *s = a->stream;

    if (s->life != LIFE_SURE || a->seq >= s->n || a->world->model->faulty)
        return;
    const struct m_place *p = &s->at[a->seq];
    if (p->promised && p->since < a->clock &&
        !model_excused(a->world->model, s, a->seq, s->last + 1000000))
        world_fail(a->world, "message %u at %llu of %s was promised and can not be read",
                   p->msg->token, (unsigned long long) a->seq, s->name);
}

static void got(struct ask *a, const struct nats_op *op)
{
    uint64_t seq = 0;
    struct m_msg *msg = take_message(a->world, op->body, &seq);

    if (msg == NULL)
        missing(a);
    else if (a->stream->life != LIFE_GONE)
        model_promise(a->world, a->stream, seq, msg, "get");
}

static void got_direct(struct ask *a, const struct nats_op *op)
{
    struct str header = nats_op_header(op);
    struct str subject = header_get(header, STR("Nats-Subject"));
    uint64_t seq;

    if (!str_to_u64(header_get(header, STR("Nats-Sequence")), &seq)) {
        missing(a);
        return;
    }
    if (a->stream->life != LIFE_GONE)
        model_promise(a->world, a->stream, seq,
                      model_recognise(a->world, subject, nats_op_payload(op)), "direct get");
}

/* ---- answers --------------------------------------------------------------------------------- */

static void ack_answered(struct ask *a, struct client *c, const struct nats_op *op)
{
    struct m_consumer *k = a->consumer;

    /* 503: the consumer has gone. */
    if (op->header_n > 0)
        return;
    for (uint64_t seq = k->ack_all ? 1 : a->seq; seq <= a->seq; seq++) {
        if ((*model_flags(k, seq) & (GOT | ACK_SURE)) != GOT)
            continue;
        *model_flags(k, seq) |= ACK_SURE;
        *model_acked(k, seq) = (struct m_acked){
            .epoch = a->world->model->epoch, .client = c->id, .conn = c->wire.conn};
    }
}

static void take_json(struct ask *a, const struct nats_op *op)
{
    static void (*const table[])(struct ask *, const json_t *, unsigned) = {
        [ASK_STREAM_CREATE] = stream_created,
        [ASK_STREAM_AGAIN] = stream_created_again,
        [ASK_STREAM_UPDATE] = stream_updated,
        [ASK_STREAM_DELETE] = stream_deleted,
        [ASK_PURGE] = purged,
        [ASK_MSG_DELETE] = msg_deleted,
        [ASK_CONSUMER_CREATE] = consumer_created,
        [ASK_CONSUMER_DELETE] = consumer_deleted,
        [ASK_CONSUMER_INFO] = consumer_described,
    };
    json_error_t e;
    json_t *o = json_loadb(op->body.p, op->body.n, 0, &e);

    if (o == NULL)
        world_fail(a->world, "an API answer that is no JSON: %.*s", STR_ARG(op->body));
    /* An error that a fault explains says nothing about what is there after the next start. */
    if (error_of(o) == 0 || !a->world->model->faulty)
        table[a->kind](a, o, error_of(o));
    json_decref(o);
}

static void done(struct request *r, struct client *c, const struct nats_op *op)
{
    struct ask *a = CONTAINER_OF(r, struct ask, req);

    if (a->kind == ASK_PUBLISH)
        published(a, op);
    else if (a->kind == ASK_BATCH)
        batch_answered(a, op);
    else if (op == NULL)
        ;
    else if (a->kind == ASK_ACK)
        ack_answered(a, c, op);
    else if (a->kind == ASK_GET)
        got(a, op);
    else if (a->kind == ASK_DIRECT_GET)
        got_direct(a, op);
    else
        take_json(a, op);
    free(a);
}

void ask_send(struct client *c, struct ask *a, const char *subject, struct str header,
              struct str payload)
{
    a->req.done = done;
    sim_trace(a->world->sim, "client %u asks %s %.*s", c->id, subject,
              (int) (payload.n < 300 ? payload.n : 300), payload.p);
    client_request(c, &a->req, str_of(subject), header, payload);
}

/* ---- deliveries ------------------------------------------------------------------------------ */

static void send_ack(struct client *c, struct m_consumer *k, uint64_t seq, struct str to)
{
    struct world *w = c->world;
    struct prng *rng = sim_rng(w->sim);
    const struct swarm *sw = w->swarm;
    unsigned dice = (unsigned) prng_below(rng, 100);
    bool drain = w->model->draining;

    if (!drain && dice < sw->ignore_percent)
        return;
    dice = (unsigned) prng_below(rng, 100);
    if (!drain && dice < sw->nak_percent) {
        static const char *const words[] = {"-NAK", "-NAK {\"delay\":50000000}", "+WPI"};
        client_pub(c, to, STR_NONE, STR_NONE, str_of(words[prng_below(rng, 3)]));
        return;
    }
    *model_flags(k, seq) |= ACK_SENT;
    bool term = !drain && !k->ack_all && prng_below(rng, 30) == 0;
    struct str word = term ? STR("+TERM") : prng_below(rng, 4) == 0 ? STR_NONE : STR("+ACK");
    if (prng_below(rng, 100) < sw->double_percent) {
        struct ask *a = ask_new(w, ASK_ACK);
        char subject[256];
        snprintf(subject, sizeof(subject), "%.*s", STR_ARG(to));
        a->consumer = k;
        a->seq = seq;
        ask_send(c, a, subject, STR_NONE, word);
    } else {
        client_pub(c, to, STR_NONE, STR_NONE, word);
    }
}

/* Has the answer to a double ack come before the server sent this? */
static void check_again(struct client *c, struct m_consumer *k, uint64_t seq)
{
    const struct model *m = c->world->model;
    const struct m_acked *acked = model_acked(k, seq);

    if ((*model_flags(k, seq) & ACK_SURE) == 0)
        return;
    if (c->world->depth > 0 || acked->epoch < m->epoch ||
        (acked->client == c->id && acked->conn == c->wire.conn))
        world_fail(c->world, "%s delivers %llu of %s again, which was acknowledged for sure",
                   k->name, (unsigned long long) seq, k->stream->name);
}

void take_delivery(struct client *c, const struct nats_op *op)
{
    struct world *w = c->world;
    struct ack_subject a;
    struct m_consumer *k;
    struct m_msg *msg;

    if (!ack_subject_parse(op->reply, &a))
        world_fail(w, "a delivery with reply %.*s", STR_ARG(op->reply));
    k = model_consumer_find(w->model, a.consumer);
    if (k == NULL || !str_eq(str_of(k->stream->name), a.stream))
        world_fail(w, "a delivery from a consumer that never was: %.*s", STR_ARG(op->reply));
    msg = model_recognise(w, op->subject, nats_op_payload(op));
    if (!model_wants(k, msg))
        world_fail(w, "%s delivers message %u, which it has no filter for", k->name, msg->token);
    if (k->stream->life == LIFE_GONE)
        return;
    model_promise(w, k->stream, a.info.stream_seq, msg, "delivery");
    const struct m_place *p = model_place(k->stream, a.info.stream_seq);
    if (p->gone && !k->stream->async && (w->depth > 0 || p->gone_epoch < w->model->epoch))
        world_fail(w, "%s delivers %llu of %s, which was removed", k->name,
                   (unsigned long long) a.info.stream_seq, k->stream->name);
    check_again(c, k, a.info.stream_seq);
    if (w->depth > 0)
        return;
    *model_flags(k, a.info.stream_seq) |= GOT;
    if (k->ack_none)
        *model_flags(k, a.info.stream_seq) |= ACK_SENT;
    else
        send_ack(c, k, a.info.stream_seq, op->reply);
}
