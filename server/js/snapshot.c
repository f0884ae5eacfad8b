/*
 * snapshot.c - STREAM.SNAPSHOT: a stream's messages and consumers, sent in chunks to a subject.
 *
 * The answer tells configuration and state; then come the chunks, each with a reply subject
 * $JS.SNAPSHOT.ACK.<stream>.<id>.<bytes>.<index> that the receiver answers; at most a window of
 * them is unanswered. The last one may be shorter and has no reply; an empty message with status
 * 204 is the end, or 408 (nobody there; no answer for 5 s) or 500.
 *
 *     WAITING (up to 2 s for somebody who subscribes to it) -> SENDING -> ended
 *
 * What is sent is the state at the beginning: messages up to the last sequence then, without those
 * that are removed before their turn. Consumers come first, as they are when somebody has come to
 * listen, and as if the stream had ended there. Nothing is held back meanwhile: publishes, removals
 * and acknowledgements go on.
 *
 * Consumers are written into memory at once, and what was sent is a receiver's: so a stream has few
 * snapshots under way at a time, and one that nobody listens to has next to nothing.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "lib/wire/s2.h"
#include "server/js/advisory.h"
#include "server/js/api_int.h"
#include "server/js/archive.h"
#include "server/js/backup.h"
#include "server/js/consumer_int.h"

#include <stdio.h>

#define CHUNK_DEFAULT (128u << 10)
#define CHUNK_MIN 1024u
#define CHUNK_MAX (1u << 20)
#define WINDOW_DEFAULT (8u << 20)
#define WINDOW_MAX (32u << 20)
#define INTEREST_NS 2000000000ull
#define ANSWER_NS 5000000000ull
#define LOOK_NS 20000000ull
/* Entries are framed when so much of them has come together, and sent in turns of so much. */
#define FRAME_BYTES 65536u
#define TURN_BYTES (1u << 20)
/* Of one stream, at a time. */
#define SNAPSHOTS_MAX 16u

struct snapshot_request {
    char *deliver_subject;
    bool no_consumers, jsck;
    int64_t chunk_size, window_size;
};

static const struct json_field request_fields[] = {
    {"deliver_subject", JSON_STRING_FIELD, offsetof(struct snapshot_request, deliver_subject), 0,
     NULL},
    {"no_consumers", JSON_BOOL_FIELD, offsetof(struct snapshot_request, no_consumers), 0, NULL},
    {"chunk_size", JSON_I64_FIELD, offsetof(struct snapshot_request, chunk_size), 0, NULL},
    {"window_size", JSON_I64_FIELD, offsetof(struct snapshot_request, window_size), 0, NULL},
    {"jsck", JSON_BOOL_FIELD, offsetof(struct snapshot_request, jsck), 0, NULL},
};

struct snapshot {
    struct list link; /* s->snapshots */
    struct stream *s;
    char *deliver;
    char id[NUID_LEN + 1];
    struct sink acks;
    struct interest_sub *interest;
    struct store_reader reader;
    struct wheel_timer timer;
    uint64_t deadline;        /* for interest, then for the next answer */
    struct store_state state; /* at the beginning: it ends with state.last_seq */
    bool no_consumers;
    size_t chunk, window, unanswered, index;
    struct buf plain;  /* entries to be framed */
    struct buf framed; /* to be sent, from `sent` on */
    size_t sent;
    int64_t start;  /* unix ns */
    struct buf who; /* asked for it, as JSON */
    bool sending, read_all;
};

static uint64_t now_of(const struct snapshot *p)
{
    return io_now(p->s->js->env->io);
}

static void arm(struct snapshot *p, uint64_t due)
{
    io_timer_start(p->s->js->env->io, &p->timer, due);
}

static void arm_next(struct snapshot *p)
{
    io_timer_start_next(p->s->js->env->io, &p->timer);
}

static void snapshot_free(struct snapshot *p)
{
    struct env *env = p->s->js->env;

    list_remove(&p->link);
    io_timer_stop(env->io, &p->timer);
    interest_remove(p->s->js->account->interest, p->interest);
    router_sink_remove(env->router, &p->acks);
    store_reader_deinit(&p->reader);
    buf_free(&p->plain);
    buf_free(&p->framed);
    buf_free(&p->who);
    mem_free(p->deliver);
    mem_free(p);
}

/* With its status; error NULL = complete. */
static void finish(struct snapshot *p, const char *status, const char *error)
{
    struct js *js = p->s->js;
    struct buf h = {0};

    buf_printf(&h, "NATS/1.0 %s\r\n\r\n", status);
    js_publish(js, str_of(p->deliver), STR_NONE, buf_str(&h), STR_NONE);
    buf_free(&h);
    if (error != NULL)
        LOG_WRN(js->env->log, "Snapshot for stream '%s > %s' failed: %s", js->account->name,
                p->s->config.name, error);
    advise_snapshot_complete(p->s, buf_str(&p->who), p->start, error);
    snapshot_free(p);
}

/* ---- what is sent ---------------------------------------------------------------------------- */

static void frame(struct snapshot *p)
{
    s2_put(&p->framed, buf_str(&p->plain));
    buf_clear(&p->plain);
}

static void put_state(struct snapshot *p, size_t consumers)
{
    const struct store_state *st = &p->state;
    struct buf b = {0};

    buf_printf(&b, "{\"messages\":%llu,\"bytes\":%llu,\"first_seq\":%llu,\"first_ts\":",
               (unsigned long long) st->msgs, (unsigned long long) st->bytes,
               (unsigned long long) st->first_seq);
    jput_time(&b, st->first_ts);
    buf_printf(&b, ",\"last_seq\":%llu,\"last_ts\":", (unsigned long long) st->last_seq);
    jput_time(&b, st->last_ts);
    buf_printf(&b, ",\"consumer_count\":%zu}", consumers);
    archive_put(&p->plain, &(struct archive_entry){.name = STR("state.json"),
                                                   .time = p->start,
                                                   .payload = buf_str(&b)});
    buf_free(&b);
}

static bool is_backed_up(const struct snapshot *p, const struct consumer *c)
{
    return !p->no_consumers && !c->config.direct && c->creation == NULL;
}

static void put_consumer(struct snapshot *p, const struct consumer *c)
{
    struct buf name = {0}, b = {0};

    buf_printf(&name, "consumers/%s", c->name);
    backup_consumer_put(c, p->state.last_seq, &b);
    archive_put(&p->plain, &(struct archive_entry){
                               .name = buf_str(&name), .time = p->start, .payload = buf_str(&b)});
    buf_free(&name);
    buf_free(&b);
}

static void put_beginning(struct snapshot *p)
{
    size_t n = 0;

    s2_put_start(&p->framed);
    archive_put_start(&p->plain);
    LIST_FOREACH(l, &p->s->consumers)
    n += is_backed_up(p, LIST_ENTRY(l, struct consumer, stream_link));
    put_state(p, n);
    LIST_FOREACH(l, &p->s->consumers)
    {
        const struct consumer *c = LIST_ENTRY(l, struct consumer, stream_link);
        if (is_backed_up(p, c))
            put_consumer(p, c);
    }
}

/* Until a chunk is there, or everything; false when the disk must be waited for. */
static bool fill(struct snapshot *p)
{
    struct store_msg m;

    while (p->framed.n - p->sent < p->chunk && !p->read_all) {
        enum store_read got = store_reader_next(&p->reader, &m);
        if (got == STORE_READ_WAIT)
            return false;
        if (got == STORE_READ_MSG && m.seq <= p->state.last_seq) {
            archive_put(&p->plain, &(struct archive_entry){.name = m.subject,
                                                           .time = m.ts,
                                                           .seq = m.seq,
                                                           .header = m.header,
                                                           .payload = m.payload});
        } else {
            archive_put_end(&p->plain);
            p->read_all = true;
        }
        if (p->plain.n >= FRAME_BYTES || p->read_all)
            frame(p);
    }
    return true;
}

static bool send_chunk(struct snapshot *p, size_t n, bool answered)
{
    struct env *env = p->s->js->env;
    struct buf reply = {0};
    struct msg m = {.subject = str_of(p->deliver),
                    .payload = str_from(p->framed.p + p->sent, n),
                    .flags = MSG_F_SYSTEM};
    struct route_result res;

    if (answered) {
        buf_printf(&reply, "$JS.SNAPSHOT.ACK.%s.%s.%zu.%zu", p->s->config.name, p->id, n,
                   ++p->index);
        m.reply = buf_str(&reply);
        p->unanswered++;
    }
    res = route_publish(env->router, p->s->js->account, &m);
    route_flush(env->router);
    buf_free(&reply);
    p->sent += n;
    if (p->sent == p->framed.n) {
        buf_clear(&p->framed);
        p->sent = 0;
    }
    p->deadline = now_of(p) + ANSWER_NS;
    return res.receivers > 0;
}

static void compact(struct snapshot *p)
{
    size_t left = p->framed.n - p->sent;

    if (p->sent < p->chunk || left == 0)
        return;
    memmove(p->framed.p, p->framed.p + p->sent, left);
    p->framed.n = left;
    p->sent = 0;
}

/* May free it. */
static void pump(struct snapshot *p)
{
    size_t turn = 0;

    while (p->unanswered < p->window) {
        size_t ready;
        if (turn >= TURN_BYTES) {
            arm_next(p);
            return;
        }
        compact(p);
        if (!fill(p))
            return;
        ready = p->framed.n - p->sent;
        if (ready < p->chunk) {
            if (ready > 0)
                send_chunk(p, ready, false);
            finish(p, "204", NULL);
            return;
        }
        if (!send_chunk(p, p->chunk, true)) {
            finish(p, "408 No Interest", "no interest");
            return;
        }
        turn += p->chunk;
    }
    arm(p, p->deadline);
}

/* ---- what happens to it ---------------------------------------------------------------------- */

static void ready(struct store_reader *r)
{
    struct snapshot *p = r->ctx;

    p->deadline = now_of(p) + ANSWER_NS;
    if (p->sending)
        pump(p);
}

static unsigned deliver(struct sink *sink, const struct msg *run, unsigned n)
{
    struct snapshot *p = CONTAINER_OF(sink, struct snapshot, acks);

    (void) run;
    p->unanswered -= n < p->unanswered ? n : p->unanswered;
    p->deadline = now_of(p) + ANSWER_NS;
    arm_next(p); /* not from in here: what is sent may come straight back */
    return n;
}

static const struct sink_ops acks_ops = {.deliver = deliver, .kind = "snapshot"};

/* By a subscription of its own: clients have one with a wildcard for their other inboxes, which is
 * there before the one that takes chunks. (Another literal one beside it is taken for it.) */
static bool is_heard(const struct snapshot *p)
{
    struct interest *in = p->s->js->account->interest;
    struct interest_answer a = {0};
    struct str subject = str_of(p->deliver);
    size_t n = subject.n;
    bool shared;

    while (n > 0 && subject.p[n - 1] != '.')
        n--;
    if (n == 0 || !interest_any(in, subject))
        return interest_any(in, subject);
    shared = interest_match_prefix(in, str_take(subject, n - 1), &a);
    interest_answer_free(&a);
    return !shared;
}

static void fire(struct wheel_timer *t)
{
    struct snapshot *p = CONTAINER_OF(t, struct snapshot, timer);
    uint64_t now = now_of(p);

    if (p->s->js->stopping)
        return;
    if (!p->sending && now < p->deadline && !is_heard(p)) {
        arm(p, now + LOOK_NS);
        return;
    }
    if (p->sending && p->unanswered >= p->window && now >= p->deadline) {
        finish(p, "408 No Flow Response", "no flow response");
        return;
    }
    if (!p->sending)
        put_beginning(p);
    p->sending = true;
    pump(p);
}

void stream_snapshots_end(struct stream *s)
{
    struct list *l;

    while ((l = list_first(&s->snapshots)) != NULL) {
        struct snapshot *p = LIST_ENTRY(l, struct snapshot, link);
        if (s->js->stopping || s->js->store == NULL)
            snapshot_free(p);
        else
            finish(p, "500 stream closed", "stream closed");
    }
}

/* ---- the request ----------------------------------------------------------------------------- */

static size_t clamp(int64_t v, size_t none, size_t most)
{
    if (v == 0)
        return none;
    if (v < (int64_t) CHUNK_MIN)
        return CHUNK_MIN;
    return v > (int64_t) most ? most : (size_t) v;
}

static void begin(struct stream *s, const struct snapshot_request *q, struct str who)
{
    struct snapshot *p = mem_zalloc(sizeof(*p));
    struct env *env = s->js->env;
    struct buf subject = {0};

    store_stream_state(s->store, &p->state);
    p->s = s;
    p->deliver = mem_strdup(q->deliver_subject);
    p->chunk = clamp(q->chunk_size, CHUNK_DEFAULT, CHUNK_MAX);
    p->window = clamp(q->window_size, WINDOW_DEFAULT, WINDOW_MAX) / p->chunk;
    if (p->window == 0)
        p->window = 1;
    p->no_consumers = q->no_consumers;
    p->start = io_wall(env->io);
    buf_put_str(&p->who, who);
    p->deadline = now_of(p) + INTEREST_NS;
    nuid_next(&s->js->nuid, p->id);
    p->acks.ops = &acks_ops;
    router_sink_add(env->router, &p->acks);
    buf_printf(&subject, "$JS.SNAPSHOT.ACK.%s.%s.>", s->config.name, p->id);
    p->interest = interest_add(s->js->account->interest,
                               &(struct interest_spec){.pattern = buf_str(&subject),
                                                       .worker = env->worker,
                                                       .sink = p->acks.self,
                                                       .internal = true});
    buf_free(&subject);
    store_reader_init(&p->reader, s->store, p->state.first_seq, NULL, 0, ready, p);
    wheel_timer_init(&p->timer, fire);
    list_push_back(&s->snapshots, &p->link);
    arm_next(p);
}

static bool is_one_too_many(const struct stream *s)
{
    unsigned n = 0;

    LIST_FOREACH(l, &s->snapshots)
    n++;
    return n >= SNAPSHOTS_MAX;
}

void api_stream_snapshot(struct api_request *r)
{
    struct snapshot_request q = {0};
    struct stream *s = api_stream(r);
    struct js_error err = {0};

    if (s == NULL)
        return;
    if (api_body_empty(r)) {
        api_error_kind(r, JS_ERR_BAD_REQUEST);
        return;
    }
    if (!api_read_body(r, &shape_stream_snapshot_request, request_fields, ARRAY_LEN(request_fields),
                       &q))
        return;
    if (q.deliver_subject == NULL || !subject_valid_literal(str_of(q.deliver_subject))) {
        fields_release(request_fields, ARRAY_LEN(request_fields), &q);
        api_error_kind(r, JS_ERR_SNAPSHOT_DELIVER_SUBJECT_INVALID);
        return;
    }
    if (is_one_too_many(s)) {
        fields_release(request_fields, ARRAY_LEN(request_fields), &q);
        js_fail(&err, JS_ERR_STREAM_SNAPSHOT, "too many snapshots of this stream at a time");
        api_error(r, &err);
        return;
    }
    buf_puts(&r->out, ",\"config\":");
    stream_config_show(&r->out, &s->config);
    buf_puts(&r->out, ",\"state\":");
    stream_state_json(s, NULL, &r->out);
    advise_snapshot_create(s, buf_str(&r->who));
    begin(s, &q, buf_str(&r->who));
    fields_release(request_fields, ARRAY_LEN(request_fields), &q);
    api_reply(r);
}
