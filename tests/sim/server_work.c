/*
 * server_work.c - what clients do: drawn operations, each sent over a drawn connection.
 *
 * Plain messages prove the order of connections: every client publishes numbers on "core.<id>" and
 * listens to all. From the moment at which its subscription is confirmed a client may miss no
 * number that was sent later, as long as the sender's connection lives; and when the sender has
 * its PONG, a PONG that a receiver asks for from then on comes behind all of them.
 */
#include "tests/sim/server_work.h"

#include "lib/base/header.h"
#include "tests/sim/server_kafka_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000ull
/* A request that waits longer with nothing wrong in sight is one that is never answered. */
#define ANSWER_NS (20 * SECOND)
#define DRAIN_NS (200 * SECOND)
#define STEPS_MAX 3000000u
/* Ids are sent again only well inside of the window of two minutes. */
#define AGAIN_NS (60 * SECOND)

static uint64_t below(struct world *w, uint64_t n)
{
    return prng_below(sim_rng(w->sim), n);
}

static bool chance(struct world *w, unsigned percent)
{
    return below(w, 100) < percent;
}

static struct worker_bee *bee(struct client *c)
{
    return c->data;
}

/* ---- clients --------------------------------------------------------------------------------- */

static void up(struct client *c)
{
    struct model *m = c->world->model;
    char subject[32];

    bee(c)->subscribed = false;
    client_sub(c, "core.*", 2);
    for (size_t i = 0; i < m->nconsumers; i++) {
        const struct m_consumer *k = m->consumers[i];
        if (!k->push || k->owner != c->id || k->life == LIFE_GONE)
            continue;
        snprintf(subject, sizeof(subject), "D.%s", k->name);
        client_sub(c, subject, 10 + k->number);
    }
}

static void down(struct client *c)
{
    struct worker_bee *b = bee(c);

    b->subscribed = false;
    b->forgotten = 0;
    for (unsigned i = 0; i < 16; i++)
        b->from[i].conn = 0;
}

static void take_core(struct client *c, const struct nats_op *op)
{
    uint64_t id, conn, number;
    struct str rest = op->body;

    if (!str_to_u64(str_cut(rest, ' ', &rest), &id) ||
        !str_to_u64(str_cut(rest, ' ', &rest), &conn) || !str_to_u64(rest, &number) || id >= 16)
        world_fail(c->world, "client %u: a plain message that nobody sent", c->id);
    struct worker_bee *b = bee(c);
    if (b->subscribed && b->from[id].conn == conn && number != b->from[id].seen + 1)
        world_fail(c->world, "client %u gets message %llu of client %llu after %llu", c->id,
                   (unsigned long long) number, (unsigned long long) id,
                   (unsigned long long) b->from[id].seen);
    b->from[id].seen = number;
    b->from[id].conn = conn;
}

static void message(struct client *c, const struct nats_op *op)
{
    if (str_starts(op->subject, STR("core.")))
        take_core(c, op);
    else if (op->reply.n > 0 && str_starts(op->reply, STR("$JS.ACK.")))
        take_delivery(c, op);
    else if (op->header_n > 0 && op->header_n == op->body.n)
        ; /* a status: the end of a pull, a heartbeat */
    else if (client_inbox_number(c, op->subject) <= bee(c)->forgotten &&
             client_inbox_number(c, op->subject) > 0)
        ; /* it was heard after all */
    else
        world_fail(c->world, "client %u: a message on %.*s that nobody sent", c->id,
                   STR_ARG(op->subject));
}

static void ping(struct client *c)
{
    struct worker_bee *b = bee(c);
    unsigned at = (unsigned) (c->pings + 1) % 8;

    if (c->wire.state != CLIENT_UP || !c->greeted || c->pings - c->pongs >= 7)
        return;
    b->core_at_ping[at] = b->core_sent;
    /* What senders know to be taken must be here before the answer. */
    LIST_FOREACH(l, &c->world->clients)
    {
        const struct client *other = LIST_ENTRY(l, struct client, link);
        if (other->data != NULL)
            b->from[other->id].wanted_at_ping[at] =
                bee((struct client *) (uintptr_t) other)->core_sure;
    }
    client_ping(c);
}

static void pong(struct client *c, uint64_t n)
{
    struct worker_bee *b = bee(c);
    unsigned at = (unsigned) n % 8;

    if (n == 1) {
        b->subscribed = true;
        return;
    }
    if (b->core_sure < b->core_at_ping[at])
        b->core_sure = b->core_at_ping[at];
    LIST_FOREACH(l, &c->world->clients)
    {
        const struct client *other = LIST_ENTRY(l, struct client, link);
        if (other->data != NULL && b->from[other->id].conn == other->wire.conn &&
            b->from[other->id].seen < b->from[other->id].wanted_at_ping[at])
            world_fail(c->world, "client %u has a PONG and message %llu of client %u, not %llu",
                       c->id, (unsigned long long) b->from[other->id].seen, other->id,
                       (unsigned long long) b->from[other->id].wanted_at_ping[at]);
    }
}

const struct client_ops work_client_ops = {
    .up = up, .down = down, .message = message, .pong = pong};

struct client *work_client_open(struct world *w)
{
    struct client *c = client_open(w, &work_client_ops);

    c->data = calloc(1, sizeof(struct worker_bee));
    return c;
}

void work_client_close(struct client *c)
{
    void *data = c->data;

    client_close(c);
    free(data);
}

static bool ready(const struct client *c)
{
    return c->wire.state == CLIENT_UP && c->greeted && c->data != NULL;
}

static struct client *any_client(struct world *w)
{
    struct client *chosen = NULL;
    uint64_t n = 0;

    LIST_FOREACH(l, &w->clients)
    {
        struct client *c = LIST_ENTRY(l, struct client, link);
        if (ready(c) && below(w, ++n) == 0)
            chosen = c;
    }
    return chosen;
}

static struct m_stream *any_stream(struct world *w)
{
    struct m_stream *s = w->model->slots[below(w, w->swarm->slots)];

    return s != NULL && s->life == LIFE_SURE ? s : NULL;
}

static struct m_consumer *any_consumer(struct world *w)
{
    struct m_stream *s = any_stream(w);
    struct m_consumer *c = s != NULL ? s->consumers[below(w, w->swarm->consumers)] : NULL;

    return c != NULL && c->life == LIFE_SURE ? c : NULL;
}

/* ---- publishing ------------------------------------------------------------------------------ */

static void send_msg(struct client *c, struct m_msg *msg, struct m_stream *s)
{
    struct world *w = c->world;
    struct buf header = {0}, payload = {0};
    struct ask *a = ask_new(w, ASK_PUBLISH);
    char subject[32];

    model_subject(msg, subject);
    model_payload(msg, &payload);
    if (msg->has_id)
        buf_printf(&header, "NATS/1.0\r\nNats-Msg-Id: id%u\r\n", msg->token);
    if (msg->key != 0)
        buf_printf(&header, "%sKafka-Key: k%u\r\n", header.n > 0 ? "" : "NATS/1.0\r\n", msg->key);
    if (!msg->again && chance(w, w->swarm->expect_percent)) {
        uint64_t seq = chance(w, 70) ? s->last : below(w, s->last + 3);
        a->seq = seq + 1;
        buf_printf(&header, "%sNats-Expected-Last-Sequence: %llu\r\n",
                   header.n > 0 ? "" : "NATS/1.0\r\n", (unsigned long long) seq);
    }
    if (header.n > 0)
        buf_puts(&header, "\r\n");
    a->msg = msg;
    a->stream = s;
    a->sure = s->life == LIFE_SURE;
    if (chance(w, w->swarm->no_reply_percent)) {
        client_pub(c, str_of(subject), STR_NONE, buf_str(&header), buf_str(&payload));
        free(a);
    } else {
        msg->asked = true;
        ask_send(c, a, subject, buf_str(&header), buf_str(&payload));
    }
    buf_free(&header);
    buf_free(&payload);
}

static void publish(struct client *c)
{
    struct world *w = c->world;
    struct m_stream *s = w->model->slots[below(w, w->swarm->slots)];

    if (s == NULL || s->life == LIFE_DYING || s->life == LIFE_GONE)
        return;
    for (uint64_t n = 1 + below(w, w->swarm->burst); n > 0; n--) {
        struct m_msg *msg = model_msg_new(w->model);
        msg->slot = s->slot;
        msg->subject = s->topic ? 0 : (unsigned) below(w, w->swarm->subjects);
        msg->topic = s->topic ? s : NULL;
        msg->key = s->topic && chance(w, 70) ? 1 + (unsigned) below(w, 8) : 0;
        msg->len = 11 + (size_t) below(w, w->swarm->payload_max);
        if (chance(w, w->swarm->big_percent))
            msg->len += (size_t) below(w, 20000);
        msg->has_id = chance(w, w->swarm->id_percent);
        msg->client = c->id;
        msg->conn = c->wire.conn;
        msg->sent_ns = sim_now(w->sim);
        send_msg(c, msg, s);
    }
}

/* A message of before with its id, as a client does that had no answer. */
static void publish_again(struct client *c)
{
    struct world *w = c->world;
    struct model *m = w->model;

    for (size_t i = m->nmsgs; i > 0 && i + 200 > m->nmsgs; i--) {
        struct m_msg *msg = m->msgs[i - 1];
        struct m_stream *s = m->slots[msg->slot];
        if (!msg->has_id || (msg->topic != NULL && msg->topic != s) || msg->asked ||
            msg->state == MSG_REFUSED || s == NULL || s->life != LIFE_SURE || s->memory ||
            s->async || s->born > msg->sent || sim_now(w->sim) - msg->sent_ns > AGAIN_NS ||
            chance(w, 70))
            continue;
        msg->again = true;
        send_msg(c, msg, s);
        return;
    }
}

/* ---- streams --------------------------------------------------------------------------------- */

static void put_config(const struct m_stream *s, const struct swarm *sw, struct buf *out)
{
    static const char *const retentions[] = {"limits", "workqueue", "interest"};

    buf_printf(out, "{\"name\":\"%s\",\"retention\":\"%s\"", s->name, retentions[s->retention]);
    if (s->topic)
        buf_printf(out, ",\"subjects\":[\"%s\"]", s->name);
    else
        buf_printf(out, ",\"subjects\":[\"s%u.*\"]", s->slot);
    if (s->compact)
        buf_puts(out, ",\"metadata\":{\"kafka.config.cleanup.policy\":\"compact\","
                      "\"kafka.config.min.cleanable.dirty.ratio\":\"0.01\","
                      "\"kafka.config.segment.ms\":\"50\","
                      "\"kafka.config.segment.bytes\":\"2000\"}");
    buf_printf(out, ",\"storage\":\"%s\",\"allow_direct\":%s", s->memory ? "memory" : "file",
               s->direct ? "true" : "false");
    buf_printf(out, ",\"max_msgs\":%lld,\"max_msgs_per_subject\":%lld",
               s->max_msgs > 0 ? (long long) s->max_msgs : -1,
               s->per_subject > 0 ? (long long) s->per_subject : -1);
    if (s->atomic)
        buf_puts(out, ",\"allow_atomic\":true");
    if (s->async)
        buf_puts(out, ",\"persist_mode\":\"async\"");
    buf_puts(out, "}");
    (void) sw;
}

static void send_config(struct client *c, struct m_stream *s, enum ask_kind kind, const char *verb)
{
    struct ask *a = ask_new(c->world, kind);
    struct buf body = {0};
    char subject[64];

    put_config(s, c->world->swarm, &body);
    a->stream = s;
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.%s.%s", verb, s->name);
    ask_send(c, a, subject, STR_NONE, buf_str(&body));
    buf_free(&body);
}

static void create_stream(struct client *c)
{
    struct world *w = c->world;
    const struct swarm *sw = w->swarm;
    unsigned slot = (unsigned) below(w, sw->slots);
    struct m_stream *s;

    if (w->model->slots[slot] != NULL)
        return;
    s = model_stream_new(w->model, slot);
    s->born = ++w->model->clock;
    s->memory = chance(w, sw->memory_percent);
    s->async = !s->memory && chance(w, sw->async_percent);
    s->direct = chance(w, sw->direct_percent);
    s->atomic = sw->weights[WORK_BATCH] > 0 && !s->async;
    s->topic = sw->kafka && chance(w, sw->topics_percent);
    s->compact = s->topic && chance(w, sw->compact_percent);
    if (s->topic)
        s->retention = M_LIMITS;
    else if (chance(w, sw->workqueue_percent))
        s->retention = M_WORKQUEUE;
    else if (chance(w, sw->interest_percent))
        s->retention = M_INTEREST;
    if (chance(w, sw->limits_percent))
        s->max_msgs = s->least_max = 5 + below(w, 60);
    if (s->retention == M_LIMITS && chance(w, sw->limits_percent / 2))
        s->per_subject = 1 + below(w, 10);
    send_config(c, s, ASK_STREAM_CREATE, "CREATE");
}

static void create_again(struct client *c)
{
    struct world *w = c->world;
    struct m_stream *s = w->model->slots[below(w, w->swarm->slots)];

    if (s == NULL || s->updating || (s->life != LIFE_ASKED && s->life != LIFE_SURE))
        return;
    s->again = w->model->epoch + 1;
    send_config(c, s, ASK_STREAM_AGAIN, "CREATE");
}

static void update_stream(struct client *c)
{
    struct m_stream *s = any_stream(c->world);

    if (s == NULL || s->updating)
        return;
    s->updating = true;
    s->updated = c->world->model->clock;
    s->max_msgs = 5 + below(c->world, 200);
    if (s->least_max == 0 || s->max_msgs < s->least_max)
        s->least_max = s->max_msgs;
    send_config(c, s, ASK_STREAM_UPDATE, "UPDATE");
}

static void delete_stream(struct client *c)
{
    struct m_stream *s = any_stream(c->world);
    struct ask *a;
    char subject[64];

    /* A create that comes behind the deletion makes it anew. */
    if (s == NULL || s->again == c->world->model->epoch + 1)
        return;
    a = ask_new(c->world, ASK_STREAM_DELETE);
    a->stream = s;
    s->life = LIFE_DYING;
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.DELETE.%s", s->name);
    ask_send(c, a, subject, STR_NONE, STR_NONE);
}

static void purge(struct client *c)
{
    struct world *w = c->world;
    struct m_stream *s = any_stream(w);
    struct buf body = {0};
    struct ask *a;
    char subject[64];

    if (s == NULL)
        return;
    a = ask_new(w, ASK_PURGE);
    a->stream = s;
    if (chance(w, 50))
        a->subject = (int) below(w, w->swarm->subjects);
    if (chance(w, 50))
        a->before = 1 + below(w, s->last + 2);
    s->removals = true;
    for (int i = 0; i < MODEL_SUBJECTS; i++)
        if (a->subject < 0 || a->subject == i)
            s->purged[i] = UINT64_MAX;
    buf_puts(&body, "{");
    if (a->subject >= 0) {
        model_subject_of(s, (unsigned) a->subject, subject);
        buf_printf(&body, "\"filter\":\"%s\"", subject);
    }
    if (a->before > 0)
        buf_printf(&body, "%s\"seq\":%llu", body.n > 1 ? "," : "", (unsigned long long) a->before);
    buf_puts(&body, "}");
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.PURGE.%s", s->name);
    ask_send(c, a, subject, STR_NONE, buf_str(&body));
    buf_free(&body);
}

static struct ask *ask_about_message(struct client *c, enum ask_kind kind, const char *verb)
{
    struct world *w = c->world;
    struct m_stream *s = any_stream(w);
    struct ask *a;
    char subject[64], body[64];

    if (s == NULL || s->last == 0)
        return NULL;
    a = ask_new(w, kind);
    a->stream = s;
    a->seq = 1 + below(w, s->last);
    if (kind == ASK_GET && s->direct && chance(w, 50)) {
        a->kind = ASK_DIRECT_GET;
        verb = "DIRECT.GET";
    }
    snprintf(subject, sizeof(subject), "$JS.API.%s.%s", verb, s->name);
    int n = snprintf(body, sizeof(body), "{\"seq\":%llu%s}", (unsigned long long) a->seq,
                     kind == ASK_MSG_DELETE && chance(w, 50) ? ",\"no_erase\":true" : "");
    ask_send(c, a, subject, STR_NONE, str_from(body, (size_t) n));
    return a;
}

static void delete_message(struct client *c)
{
    struct ask *a = ask_about_message(c, ASK_MSG_DELETE, "STREAM.MSG.DELETE");

    if (a == NULL)
        return;
    a->stream->removals = true;
    model_place(a->stream, a->seq)->may_go = true;
}

/* ---- consumers ------------------------------------------------------------------------------- */

static void create_consumer(struct client *c)
{
    struct world *w = c->world;
    struct m_stream *s = any_stream(w);
    struct buf body = {0};
    struct m_consumer *k;
    struct ask *a;
    char subject[96];
    unsigned at;

    if (s == NULL)
        return;
    at = (unsigned) below(w, w->swarm->consumers);
    if (s->retention == M_WORKQUEUE)
        at = 0;
    if (s->consumers[at] != NULL && s->consumers[at]->life != LIFE_GONE)
        return;
    k = s->consumers[at] = model_consumer_new(w->model, s);
    k->push = chance(w, w->swarm->push_percent);
    k->owner = c->id;
    k->ack_none = s->retention == M_LIMITS && chance(w, 10);
    k->ack_all = s->retention == M_LIMITS && !k->ack_none && chance(w, 15);
    if (s->retention != M_WORKQUEUE && chance(w, 30))
        k->filter = s->topic ? 0 : (int) below(w, w->swarm->subjects);
    if (s->retention == M_LIMITS && chance(w, 20))
        k->fresh = true;
    buf_printf(&body,
               "{\"stream_name\":\"%s\",\"config\":{\"durable_name\":\"%s\",\"ack_policy\":\"%s\","
               "\"ack_wait\":%llu,\"deliver_policy\":\"%s\"",
               s->name, k->name,
               k->ack_none  ? "none"
               : k->ack_all ? "all"
                            : "explicit",
               (unsigned long long) (200000000 + below(w, 1000000000)), k->fresh ? "new" : "all");
    if (!k->ack_none && chance(w, 20))
        buf_printf(&body, ",\"max_ack_pending\":%llu", (unsigned long long) (1 + below(w, 12)));
    if (k->push) {
        buf_printf(&body, ",\"deliver_subject\":\"D.%s\"", k->name);
        snprintf(subject, sizeof(subject), "D.%s", k->name);
        client_sub(c, subject, 10 + k->number);
    }
    if (k->filter >= 0) {
        model_subject_of(s, (unsigned) k->filter, subject);
        buf_printf(&body, ",\"filter_subject\":\"%s\"", subject);
    }
    buf_puts(&body, "}}");
    a = ask_new(w, ASK_CONSUMER_CREATE);
    a->consumer = k;
    a->stream = s;
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.DURABLE.CREATE.%s.%s", s->name, k->name);
    ask_send(c, a, subject, STR_NONE, buf_str(&body));
    buf_free(&body);
}

static void delete_consumer(struct client *c)
{
    struct m_consumer *k = any_consumer(c->world);
    struct ask *a;
    char subject[96];

    if (k == NULL)
        return;
    a = ask_new(c->world, ASK_CONSUMER_DELETE);
    a->consumer = k;
    k->life = LIFE_DYING;
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.DELETE.%s.%s", k->stream->name, k->name);
    ask_send(c, a, subject, STR_NONE, STR_NONE);
}

static void pull_from(struct client *c, const struct m_consumer *k, unsigned batch, bool no_wait)
{
    char subject[96], inbox[64], body[96];
    uint64_t number;
    int n = snprintf(body, sizeof(body), "{\"batch\":%u,%s}", batch,
                     no_wait ? "\"no_wait\":true" : "\"expires\":300000000");

    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", k->stream->name, k->name);
    client_pub(c, str_of(subject), client_inbox(c, inbox, &number), STR_NONE,
               str_from(body, (size_t) n));
}

static void pull(struct client *c)
{
    const struct m_consumer *k = any_consumer(c->world);

    if (k != NULL && !k->push)
        pull_from(c, k, 1 + (unsigned) below(c->world, 30), chance(c->world, 50));
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void core(struct client *c)
{
    struct worker_bee *b = bee(c);
    char subject[32], text[64];

    for (uint64_t n = 1 + below(c->world, 8); n > 0; n--) {
        int len = snprintf(text, sizeof(text), "%u %llu %llu", c->id,
                           (unsigned long long) c->wire.conn, (unsigned long long) ++b->core_sent);
        snprintf(subject, sizeof(subject), "core.%u", c->id);
        client_pub(c, str_of(subject), STR_NONE, STR_NONE, str_from(text, (size_t) len));
    }
}

void work_pass(struct world *w, uint64_t ns)
{
    uint64_t end = sim_now(w->sim) + ns;

    for (unsigned steps = 0; sim_now(w->sim) < end; steps++) {
        if (steps > STEPS_MAX)
            world_fail(w, "the loops spin");
        world_step(w, end - sim_now(w->sim));
    }
}

static void toggle_full(struct world *w)
{
    struct sim_disk *d = sim_disk(w->sim);

    w->model->full = !w->model->full;
    w->model->was_full = true;
    if (w->model->full)
        sim_disk_set_capacity(d,
                              w->swarm->disk_bytes - sim_disk_free_bytes(d) + below(w, 4) * 65536);
    else
        sim_disk_set_capacity(d, w->swarm->disk_bytes);
    sim_trace(w->sim, "disk %s", w->model->full ? "full" : "has space");
}

/* Whatever fails stays failed until the server starts anew. */
static void arm_fault(struct world *w)
{
    enum sim_fault kind = chance(w, 50) ? SIM_FAULT_WRITE : SIM_FAULT_SYNC;

    w->model->faulty = true;
    sim_fault_arm(w->sim, kind, 1 + below(w, 10), chance(w, 30) ? below(w, 5) : 0);
    sim_trace(w->sim, "a fault is near");
}

static void toggle_net(struct world *w)
{
    sim_fault_chance(w->sim, SIM_FAULT_RESET, chance(w, 50) ? 0 : 2000);
}

enum work_op work_draw(struct world *w)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < WORK_OPS; i++)
        total += w->swarm->weights[i];
    uint64_t dice = below(w, total);
    for (unsigned i = 0; i < WORK_OPS; i++) {
        if (dice < w->swarm->weights[i])
            return (enum work_op) i;
        dice -= w->swarm->weights[i];
    }
    return WORK_IDLE;
}

static void do_client_op(struct client *c, enum work_op op)
{
    switch (op) {
    case WORK_PUBLISH:
        if (chance(c->world, 80))
            publish(c);
        else
            publish_again(c);
        break;
    case WORK_CORE:
        core(c);
        break;
    case WORK_PING:
        ping(c);
        break;
    case WORK_STREAM_CREATE:
        create_stream(c);
        break;
    case WORK_STREAM_AGAIN:
        create_again(c);
        break;
    case WORK_STREAM_UPDATE:
        update_stream(c);
        break;
    case WORK_STREAM_DELETE:
        delete_stream(c);
        break;
    case WORK_PURGE:
        purge(c);
        break;
    case WORK_MSG_DELETE:
        delete_message(c);
        break;
    case WORK_GET:
        ask_about_message(c, ASK_GET, "STREAM.MSG.GET");
        break;
    case WORK_CONSUMER_CREATE:
        create_consumer(c);
        break;
    case WORK_CONSUMER_DELETE:
        delete_consumer(c);
        break;
    case WORK_PULL:
        pull(c);
        break;
    case WORK_DISCONNECT:
        client_disconnect(c);
        break;
    case WORK_SLOW:
        client_sleep(c, !c->wire.asleep);
        break;
    default:
        break;
    }
}

void work_do(struct world *w, enum work_op op)
{
    struct client *c;

    sim_trace(w->sim, "work %d", (int) op);
    if (op == WORK_IDLE) {
        work_pass(w, below(w, 1u << below(w, 31)));
    } else if (op == WORK_FULL) {
        toggle_full(w);
    } else if (op == WORK_FAULT) {
        arm_fault(w);
    } else if (op == WORK_NET) {
        toggle_net(w);
    } else if (op == WORK_BATCH) {
        struct m_stream *s = any_stream(w);
        if (s != NULL && s->atomic && (c = any_client(w)) != NULL)
            batch_publish(c, s);
    } else if (op >= WORK_KAFKA) {
        kafka_do(w, op);
    } else if ((c = any_client(w)) != NULL) {
        do_client_op(c, op);
    }
}

/* ---- coming to rest -------------------------------------------------------------------------- */

static void wake_clients(struct world *w)
{
    LIST_FOREACH(l, &w->clients)
    {
        struct client *c = LIST_ENTRY(l, struct client, link);
        if (c->wire.asleep)
            client_sleep(c, false);
    }
}

/* Who publishes or acknowledges while somebody else deletes the stream or the consumer may not hear
 * of it. */
static bool may_be_unheard(const struct ask *a)
{
    if (a->kind == ASK_ACK)
        return a->consumer->life != LIFE_SURE || a->consumer->stream->life != LIFE_SURE;
    return (a->kind == ASK_PUBLISH || a->kind == ASK_BATCH) && a->stream->life != LIFE_SURE;
}

static bool waits(const struct client *c)
{
    LIST_FOREACH(l, &c->requests)
    if (!may_be_unheard(LIST_ENTRY(l, struct ask, req.link)))
        return true;
    return false;
}

static void forget_unheard(struct client *c)
{
    bee(c)->forgotten = c->last_inbox;
    LIST_FOREACH_SAFE(l, tmp, &c->requests)
    {
        struct ask *a = LIST_ENTRY(l, struct ask, req.link);
        list_remove(l);
        if (a->msg != NULL)
            a->msg->asked = false;
        if (a->batch != NULL)
            batch_settled(a->batch, false);
        free(a);
    }
}

/* All connected, and nothing asked for that was not answered. */
static bool at_rest(struct world *w)
{
    LIST_FOREACH(l, &w->clients)
    {
        struct client *c = LIST_ENTRY(l, struct client, link);
        if (!ready(c) || !wire_is_quiet(&c->wire) || c->pongs < c->pings || waits(c))
            return false;
    }
    return kafka_at_rest(w);
}

static void explain_unrest(struct world *w)
{
    LIST_FOREACH(l, &w->clients)
    {
        struct client *c = LIST_ENTRY(l, struct client, link);
        LIST_FOREACH(r, &c->requests)
        {
            const struct ask *a = LIST_ENTRY(r, struct ask, req.link);
            if (may_be_unheard(a))
                continue;
            world_fail(w, "client %u: request %llu of kind %d (message %d, %s) is never answered",
                       c->id, (unsigned long long) a->req.number, (int) a->kind,
                       a->msg != NULL ? (int) a->msg->token : -1,
                       a->stream != NULL ? a->stream->name : "");
        }
        if (c->pongs < c->pings)
            world_fail(w, "client %u: a PING is never answered", c->id);
    }
    kafka_explain_unrest(w);
    world_fail(w, "a client can not connect");
}

static void wait_for_rest(struct world *w)
{
    uint64_t end = sim_now(w->sim) + ANSWER_NS;

    for (unsigned steps = 0; !at_rest(w); steps++) {
        if (sim_now(w->sim) > end)
            explain_unrest(w);
        if (steps > STEPS_MAX)
            world_fail(w, "the loops spin");
        kafka_push(w);
        world_step(w, 10000000);
    }
}

void work_settle(struct world *w)
{
    sim_trace(w->sim, "settle");
    sim_fault_chance(w->sim, SIM_FAULT_RESET, 0);
    if (w->model->full)
        toggle_full(w);
    wake_clients(w);
    /* The store looks for space once a second. */
    if (w->model->was_full)
        work_pass(w, 2500000000u);
    wait_for_rest(w);
    LIST_FOREACH(l, &w->clients)
    ping(LIST_ENTRY(l, struct client, link));
    wait_for_rest(w);
    work_pass(w, 50000000);
    wait_for_rest(w);
    LIST_FOREACH(l, &w->clients)
    forget_unheard(LIST_ENTRY(l, struct client, link));
    kafka_settled(w);
    world_check(w);
    w->model->epoch++;
    w->model->was_full = false;
}

/* ---- draining -------------------------------------------------------------------------------- */

static struct client *client_of(struct world *w, unsigned id)
{
    LIST_FOREACH(l, &w->clients)
    {
        struct client *c = LIST_ENTRY(l, struct client, link);
        if (c->id == id)
            return c;
    }
    return NULL;
}

static void drain_consumer(struct world *w, struct m_consumer *k)
{
    uint64_t end = sim_now(w->sim) + DRAIN_NS;
    uint64_t left = 1;
    char subject[96];

    while (left > 0) {
        struct client *c = client_of(w, k->owner);
        struct ask *a = ask_new(w, ASK_CONSUMER_INFO);
        if (sim_now(w->sim) > end)
            world_fail(w, "%s of %s never comes to its end: %llu messages are left", k->name,
                       k->stream->name, (unsigned long long) left);
        if (!k->push)
            pull_from(c, k, 500, true);
        work_pass(w, 20000000);
        wait_for_rest(w);
        a->consumer = k;
        a->stream = k->stream;
        a->left = &left;
        snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.INFO.%s.%s", k->stream->name, k->name);
        ask_send(c, a, subject, STR_NONE, STR_NONE);
        wait_for_rest(w);
    }
}

void work_drain(struct world *w)
{
    struct model *m = w->model;

    m->draining = true;
    for (size_t i = 0; i < m->nconsumers; i++) {
        struct m_consumer *k = m->consumers[i];
        if (k->life == LIFE_SURE && k->stream->life == LIFE_SURE)
            drain_consumer(w, k);
    }
    m->draining = false;
}
