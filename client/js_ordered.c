/*
 * js_ordered.c - the ordered consumer: a push consumer that the library makes, and makes again.
 *
 *     RESTING --timer, or at once--> MAKING --answer--> READING
 *        ^                             |                  |
 *        +------- error, timeout ------+                  |   gap, silence, new connection
 *        +------------------------------------------------+
 *
 * Each consumer has a name and a deliver subject of its own, so that what the one before sends late
 * reaches nobody. Deliveries carry the consumer's sequence, which must go up by one; a heartbeat
 * says the last one, which must be the one that came. Otherwise the consumer is dropped and the
 * next starts behind the last stream sequence delivered. Heartbeats show that the consumer lives; a
 * silence of two of them is the end of it. It ends for good when the stream is gone or its
 * configuration is refused.
 *
 * Deliveries may come before the answer that says that the consumer was made: on_start is called
 * with the first of the two, for deliveries say how many are to come too.
 */
#include "client/js_int.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"

#include <stdio.h>
#include <string.h>

#define HEARTBEAT_MS 5000
#define RETRY_MS 500
#define INACTIVE_NS 30000000000

enum ordered_state { RESTING, MAKING, READING, ENDED };

struct midge_ordered {
    struct midge *m;
    enum ordered_state state;
    bool started;  /* on_start was called for this consumer */
    bool has_read; /* last_seq holds */
    bool heard;    /* anything since the timer was set */
    char *stream;
    char name[NUID_LEN + 1];
    char inbox[32];
    struct midge_sub *sub;
    struct client_ask create;
    struct client_hook hook;
    struct wheel_timer timer; /* RESTING: the next try; else silence */
    struct midge_ordered_options o;
    struct str_list filters; /* o.filter_subjects, owned */
    uint64_t last_seq;       /* of the stream, delivered */
    uint64_t consumer_seq;   /* of this consumer, delivered */
    uint64_t made;
    midge_on_delivery on_delivery;
    void *ctx;
    char error[200];
};

static void make(struct midge_ordered *o);

/* ---- ends ------------------------------------------------------------------------------------ */

/* Gives up this consumer. The server is told where it may still listen; no answer is awaited. */
static void drop(struct midge_ordered *o)
{
    struct buf subject = {0};

    client_ask_end(&o->create);
    io_timer_stop(o->m->io, &o->timer);
    if (o->sub == NULL)
        return;
    midge_unsubscribe(o->m, o->sub);
    o->sub = NULL;
    js_subject(o->m, &subject, "CONSUMER.DELETE.%s.%s", o->stream, o->name);
    /* Without a reply subject a request of the API is ignored: the answer goes to the inbox that
     * nobody listens to any more. */
    client_publish(o->m, &(struct midge_msg){.subject = client_text(buf_str(&subject)),
                                             .reply = midge_text_of(o->inbox)});
    buf_free(&subject);
}

static void end_for_good(struct midge_ordered *o, const char *why)
{
    drop(o);
    o->state = ENDED;
    snprintf(o->error, sizeof(o->error), "%s", why);
    if (o->o.on_end != NULL)
        o->o.on_end(o->ctx);
}

static void rest(struct midge_ordered *o)
{
    drop(o);
    o->state = RESTING;
    io_timer_start(o->m->io, &o->timer, io_now(o->m->io) + RETRY_MS * CLIENT_MS);
}

/* ---- what comes ------------------------------------------------------------------------------ */

static void start(struct midge_ordered *o, uint64_t pending)
{
    if (o->started)
        return;
    o->started = true;
    if (o->o.on_start != NULL)
        o->o.on_start(o->ctx, pending);
}

/* True when the heartbeat knows of deliveries that have not come. */
static bool misses(const struct midge_ordered *o, const struct midge_msg *msg)
{
    struct str last = header_get(client_str(msg->header), STR("Nats-Last-Consumer"));
    uint64_t n;

    return last.p != NULL && str_to_u64(last, &n) && n != o->consumer_seq;
}

static void came(void *ctx, const struct midge_msg *msg)
{
    struct midge_ordered *o = ctx;
    struct midge_delivery d;

    o->heard = true;
    if (js_take_flow(o->m, msg)) {
        if (misses(o, msg))
            make(o);
        return;
    }
    if (!js_describe(msg, &d))
        return;
    if (d.consumer_seq != o->consumer_seq + 1) {
        make(o);
        return;
    }
    o->consumer_seq = d.consumer_seq;
    o->last_seq = d.stream_seq;
    o->has_read = true;
    start(o, d.pending + 1);
    o->on_delivery(o->ctx, &d);
}

static void due(struct wheel_timer *t)
{
    struct midge_ordered *o = CONTAINER_OF(t, struct midge_ordered, timer);

    if (o->state == READING && o->heard) {
        o->heard = false;
        io_timer_start(o->m->io, &o->timer,
                       io_now(o->m->io) + 2 * (uint64_t) o->o.heartbeat_ms * CLIENT_MS);
        return;
    }
    make(o);
}

/* ---- making it ------------------------------------------------------------------------------- */

static void made(struct client_ask *a, int rc, const struct midge_msg *msg)
{
    struct midge_ordered *o = CONTAINER_OF(a, struct midge_ordered, create);
    struct midge_consumer_info info = {0};
    json_t *answer = NULL;

    if (rc == MIDGE_OK)
        rc = js_answer(o->m, client_str(msg->payload), &answer);
    if (rc == MIDGE_OK)
        rc = js_read_consumer_info(o->m, answer, &info);
    json_decref(answer);
    if (rc == MIDGE_OK) {
        o->state = READING;
        o->heard = true;
        io_timer_start(o->m->io, &o->timer,
                       io_now(o->m->io) + 2 * (uint64_t) o->o.heartbeat_ms * CLIENT_MS);
        start(o, info.num_pending + info.delivered_consumer_seq);
    } else if (rc == MIDGE_NOT_FOUND || rc == MIDGE_REFUSED) {
        end_for_good(o, midge_error(o->m));
    } else if (rc != MIDGE_LOST) {
        rest(o);
    }
    midge_consumer_info_free(&info);
}

static void fill_config(const struct midge_ordered *o, struct midge_consumer_config *c)
{
    *c = (struct midge_consumer_config){
        .name = o->name,
        .deliver_subject = o->inbox,
        .deliver_policy = o->o.deliver_policy,
        .start_seq = o->o.start_seq,
        .start_time = o->o.start_time,
        .ack_policy = MIDGE_ACK_NONE,
        .max_deliver = 1,
        .num_replicas = 1,
        .mem_storage = true,
        .flow_control = true,
        .headers_only = o->o.headers_only,
        .replay_original = o->o.replay_original,
        .idle_heartbeat = (int64_t) o->o.heartbeat_ms * 1000000,
        .inactive_threshold = INACTIVE_NS,
        .filter_subjects = {(const char *const *) o->filters.items, o->filters.n},
    };
    if (c->filter_subjects.n == 1) {
        c->filter_subject = o->filters.items[0];
        c->filter_subjects.n = 0;
    }
    if (!o->has_read)
        return;
    c->deliver_policy = MIDGE_DELIVER_FROM_SEQ;
    c->start_seq = o->last_seq + 1;
    c->start_time = 0;
}

static int ask(struct midge_ordered *o)
{
    struct midge_consumer_config config;
    struct buf subject = {0}, body = {0};
    int rc;

    fill_config(o, &config);
    js_subject(o->m, &subject, "CONSUMER.CREATE.%s.%s", o->stream, o->name);
    buf_puts(&body, "{\"stream_name\":");
    jput_string(&body, str_of(o->stream));
    buf_puts(&body, ",\"config\":");
    js_put_consumer_config(&body, &config);
    buf_puts(&body, ",\"action\":\"create\"}");
    rc = client_ask_start(&o->create,
                          &(struct midge_msg){.subject = client_text(buf_str(&subject)),
                                              .payload = client_text(buf_str(&body))},
                          o->m->o.timeout_ms);
    buf_free(&subject);
    buf_free(&body);
    return rc;
}

static void make(struct midge_ordered *o)
{
    drop(o);
    o->started = false;
    o->consumer_seq = 0;
    if (!client_up(o->m)) {
        o->state = RESTING; /* the hook goes on */
        return;
    }
    o->made++;
    nuid_next(&o->m->nuid, o->name);
    midge_inbox(o->m, o->inbox);
    o->sub = midge_subscribe(o->m, midge_text_of(o->inbox), (struct midge_text){NULL, 0}, came, o);
    o->state = MAKING;
    if (o->sub == NULL || ask(o) != MIDGE_OK)
        rest(o);
}

static void lost(struct client_hook *h)
{
    struct midge_ordered *o = CONTAINER_OF(h, struct midge_ordered, hook);

    if (o->state == ENDED)
        return;
    drop(o);
    o->state = RESTING;
}

static void back(struct client_hook *h)
{
    struct midge_ordered *o = CONTAINER_OF(h, struct midge_ordered, hook);

    if (o->state != ENDED)
        make(o);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct midge_ordered *midge_ordered_open(struct midge *m, const char *stream,
                                         const struct midge_ordered_options *options,
                                         midge_on_delivery on_delivery, void *ctx)
{
    struct midge_ordered *o = mem_zalloc(sizeof(*o));

    o->m = m;
    if (options != NULL)
        o->o = *options;
    if (o->o.heartbeat_ms <= 0)
        o->o.heartbeat_ms = HEARTBEAT_MS;
    for (size_t i = 0; i < o->o.filter_subjects.n; i++)
        str_list_add(&o->filters, str_of(o->o.filter_subjects.items[i]));
    o->stream = mem_strdup(stream);
    o->on_delivery = on_delivery;
    o->ctx = ctx;
    client_ask_init(&o->create, m, made);
    wheel_timer_init(&o->timer, due);
    o->hook = (struct client_hook){.lost = lost, .back = back};
    client_hook_add(m, &o->hook);
    if (js_name_valid(stream))
        make(o);
    else
        end_for_good(o, "no stream can have this name");
    return o;
}

const char *midge_ordered_error(const struct midge_ordered *o)
{
    return o->state == ENDED ? o->error : NULL;
}

uint64_t midge_ordered_restarts(const struct midge_ordered *o)
{
    return o->made > 0 ? o->made - 1 : 0;
}

void midge_ordered_close(struct midge_ordered *o)
{
    drop(o);
    list_remove(&o->hook.link);
    str_list_free(&o->filters);
    mem_free(o->stream);
    mem_free(o);
}

int js_ordered_run(struct midge_ordered *o, const bool *done)
{
    struct midge *m = o->m;
    uint64_t end = client_end(m->o.timeout_ms), last = o->last_seq;
    int rc = MIDGE_OK;

    while (rc == MIDGE_OK && !*done && o->state != ENDED) {
        uint64_t now = midge_now();
        if (o->last_seq != last)
            end = client_end(m->o.timeout_ms);
        last = o->last_seq;
        rc = now < end ? midge_poll(m, end - now) : client_error(m, MIDGE_TIMEOUT, "timeout");
    }
    if (rc == MIDGE_OK && !*done)
        rc = client_error(m, MIDGE_NOT_FOUND, "%s", o->error);
    return rc;
}
