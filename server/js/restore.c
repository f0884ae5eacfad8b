/*
 * restore.c - STREAM.RESTORE: a backup becomes a stream.
 *
 *     request -> worker 0: configuration checked, name and subjects claimed, the name hidden
 *             -> the stream's worker: the stream is made, a subject for chunks is answered
 *     chunks  -> S2 -> entries (archive.h) -> messages with their sequences and times; consumers
 *                are kept aside. Each chunk is answered when it was taken: while the stream waits
 *                for the disk, so does the sender.
 *     the end (an empty chunk, behind the end entry) -> everything durable -> consumers made
 *             -> the stream's record says that it is complete -> it is published, the name found,
 *                the empty chunk answered as a create is.
 *
 * Never half a stream. Until the last step the stream's record has no time of creation: a start
 * that finds such a record deletes the stream (js_recover.c), and so does whatever ends the restore
 * early: a damaged or truncated backup, limits, 5 s without a chunk. Nothing lies beside the store
 * meanwhile, so there is no staging area to be cleaned up; what a restore may take is what a stream
 * may take.
 *
 * Until then it is not a stream that does anything: nothing expires, no schedule runs, since what
 * that publishes would take sequences that belong to the backup. What its messages bring about
 * later is read from them when it is complete, as after a start (stream_effects.c).
 *
 * What a backup says is foreign: sizes are bounded before anything is allocated, sequences must
 * ascend, subjects must be literal, headers well formed, consumers are checked as a request for
 * them is. A few bytes of S2 may stand for many: they are unpacked in turns, and what lies behind
 * the end is not looked at. A sender that does not wait for its answers is told to.
 */
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "lib/wire/s2.h"
#include "server/js/advisory.h"
#include "server/js/api_int.h"
#include "server/js/archive.h"
#include "server/js/backup.h"
#include "server/js/consumer_int.h"
#include "server/js/ingest.h"
#include "server/js/msg_ttl.h"
#include "server/js/stream_parts.h"

#include <stdio.h>

#define STALL_NS 5000000000ull
/* The stream's clock does not go back: what is published after such a message would have its time.
 */
#define TIME_MAX (INT64_MAX / 2)
/* Consumers of one stream, and what their entries may have together: they are in memory until all
 * messages are there. */
#define CONSUMERS_MAX 100000u
#define ASIDE_MAX (256u << 20)
/* Stored but not durable, before the sender waits. */
#define WAITING_MAX (16u << 20)
/* Received and not unpacked yet: chunks whose sender waits for no answer. */
#define UNREAD_MAX (32u << 20)
/* Unpacked in one turn. */
#define TURN_BYTES (4u << 20)

enum restore_stage {
    RESTORE_STATE,
    RESTORE_CONSUMERS,
    RESTORE_MESSAGES,
    RESTORE_READ,
    RESTORE_END
};

struct restore {
    struct stream *s;
    enum restore_stage stage;
    struct sink chunks;
    struct interest_sub *interest;
    struct wheel_timer stall, resume;
    struct s2_reader s2;
    struct buf plain; /* entries, from `at` on */
    size_t at;
    bool magic;         /* was seen */
    bool ended;         /* the sender has no more */
    char *reply;        /* of the chunk that is not answered yet */
    uint64_t last_seq;  /* what the state says */
    uint64_t consumers; /* entries that are still to come */
    struct list made;   /* struct backup_consumer */
    uint64_t aside;     /* bytes of their entries */
    uint64_t taken;     /* bytes received */
    int64_t start;
    struct buf who; /* asked for it, as JSON */
    struct store_req req;
    enum err broken; /* the last step failed */
};

static uint64_t now_of(const struct restore *p)
{
    return io_now(p->s->js->env->io);
}

static void arm(struct restore *p)
{
    io_timer_start(p->s->js->env->io, &p->stall, now_of(p) + STALL_NS);
}

/* ---- ending ---------------------------------------------------------------------------------- */

void stream_restore_free(struct stream *s)
{
    struct restore *p = s->restore;
    struct env *env = s->js->env;
    struct list *l;

    s->restore = NULL;
    if (p == NULL)
        return;
    io_timer_stop(env->io, &p->stall);
    io_timer_stop(env->io, &p->resume);
    if (p->interest != NULL)
        interest_remove(s->js->account->interest, p->interest);
    if (p->chunks.self != 0)
        router_sink_remove(env->router, &p->chunks);
    while ((l = list_first(&p->made)) != NULL)
        backup_consumer_free(LIST_ENTRY(l, struct backup_consumer, link));
    s2_reader_free(&p->s2);
    buf_free(&p->plain);
    buf_free(&p->who);
    mem_free(p->reply);
    mem_free(p);
}

/* The request that carries the last answer; there may be nobody to hear it. */
static struct api_request *last_request(struct stream *s, const char *reply)
{
    static const struct api_handler handler = {.subject = "", .type = "stream_create"};
    struct api_request *r = mem_zalloc(sizeof(*r));

    r->js = s->js;
    r->account = s->js->account;
    list_push_back(&s->js->requests, &r->link);
    r->subject = mem_strdup(s->config.name);
    r->reply = mem_strdup(reply != NULL ? reply : "");
    r->handler = &handler;
    r->tokens[0] = str_of(r->subject);
    r->ntokens = 1;
    return r;
}

struct undoing {
    struct store_req req;
    struct api_request *r;
};

static void undone(struct store_req *req, enum err err)
{
    struct undoing *u = CONTAINER_OF(req, struct undoing, req);

    (void) err;
    api_release(u->r);
    mem_free(u);
}

/* Nothing is left of it when this has been answered. */
static void fail(struct restore *p, const char *why)
{
    struct stream *s = p->s;
    struct js *js = s->js;
    struct undoing *u = mem_zalloc(sizeof(*u));
    struct store_stream *store = s->store;

    LOG_WRN(js->env->log, "Restore failed for stream '%s > %s': %s", js->account->name,
            s->config.name, why);
    u->r = last_request(s, p->reply);
    js_fail(&u->r->error, JS_ERR_STREAM_RESTORE, "%s", why);
    u->req.done = undone;
    advise_restore_complete(s, buf_str(&p->who), p->start, p->taken);
    js_stream_free(s); /* and p */
    store_stream_delete(store, &u->req);
}

static void found_again(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);
    struct js *js;

    if (r == NULL)
        return;
    js = r->js;
    directory_show(js->shared->directory, r->tokens[0]);
    api_reply(r);
    api_retry_parked(js);
}

static void start_consumers(struct stream *s)
{
    LIST_FOREACH(l, &s->consumers)
    {
        struct consumer *c = LIST_ENTRY(l, struct consumer, stream_link);
        if (c->sink.self == 0)
            consumer_start(c);
    }
}

static void complete(struct store_req *req, enum err err)
{
    struct restore *p = CONTAINER_OF(req, struct restore, req);
    struct stream *s = p->s;
    struct api_request *r;

    if (err != ERR_OK) { /* not in here: the store is not done with the stream */
        p->broken = err;
        io_timer_start_next(s->js->env->io, &p->resume);
        return;
    }
    LOG_INF(s->js->env->log, "Completed restore for stream '%s > %s'", s->js->account->name,
            s->config.name);
    r = last_request(s, p->reply);
    advise_stream(s->js, ADVISE_CREATED, str_of(s->config.name));
    advise_restore_complete(s, buf_str(&p->who), p->start, p->taken);
    stream_restore_free(s);
    stream_load_start(s);
    stream_effects_start(s);
    stream_expiry_go_on(s);
    stream_publish_interest(s);
    start_consumers(s);
    buf_putc(&r->out, ',');
    stream_info(s, &(struct info_options){.kind = INFO_CREATED}, &r->out);
    api_go_to(r, 0, found_again);
}

/* Messages are durable. */
static void conclude(struct restore *p)
{
    struct stream *s = p->s;
    struct store_limits limits;
    struct buf blob = {0}, err = {0};
    struct list *l;

    p->stage = RESTORE_END;
    io_timer_stop(s->js->env->io, &p->stall);
    while ((l = list_first(&p->made)) != NULL) {
        struct backup_consumer *b = LIST_ENTRY(l, struct backup_consumer, link);
        struct consumer *c = backup_consumer_make(s, b, &err);
        if (c == NULL) {
            fail(p, buf_cstr(&err));
            buf_free(&err);
            return;
        }
        if (!c->config.mem_storage)
            consumer_create_object(c, NULL);
        backup_consumer_free(b);
    }
    s->created = io_wall(s->js->env->io);
    stream_limits(&s->config, &limits);
    js_stream_render(s, &blob);
    p->req.done = complete;
    store_stream_update(s->store, &limits, buf_str(&blob), &p->req);
    buf_free(&blob);
}

/* ---- entries --------------------------------------------------------------------------------- */

static uint64_t number(const json_t *object, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(object, key));

    return v > 0 ? (uint64_t) v : 0;
}

static bool take_state(struct restore *p, const struct archive_entry *e, struct buf *err)
{
    json_t *state;
    uint64_t first;

    if (!str_eq(e->name, STR("state.json"))) {
        buf_puts(err, "expected state.json first");
        return false;
    }
    state = json_parse_object(e->payload, err);
    if (state == NULL)
        return false;
    first = number(state, "first_seq");
    p->last_seq = number(state, "last_seq");
    p->consumers = number(state, "consumer_count");
    json_decref(state);
    /* The furthest that a stream could ever get, and its skips are one record each 2^30. */
    if (p->last_seq > (uint64_t) 1 << 48 || first > p->last_seq + 1 ||
        p->consumers > CONSUMERS_MAX) {
        buf_puts(err, "error in state.json: impossible state");
        return false;
    }
    p->stage = p->consumers > 0 ? RESTORE_CONSUMERS : RESTORE_MESSAGES;
    return first == 0 || stream_skip_to(p->s, first - 1);
}

static bool take_consumer(struct restore *p, const struct archive_entry *e, struct buf *err)
{
    struct backup_consumer *b;

    if (!str_starts(e->name, STR("consumers/"))) {
        buf_printf(err, "expected consumer, found \"%.64s\"", "another entry");
        return false;
    }
    p->aside += e->payload.n;
    if (p->aside > ASIDE_MAX) {
        buf_puts(err, "the states of the consumers are too large");
        return false;
    }
    b = backup_consumer_read(p->s, str_skip(e->name, 10), e->payload, err);
    if (b == NULL)
        return false;
    list_push_back(&p->made, &b->link);
    if (--p->consumers == 0)
        p->stage = RESTORE_MESSAGES;
    return true;
}

static bool check_message(const struct restore *p, const struct archive_entry *e, struct buf *err)
{
    const struct stream *s = p->s;

    if (e->seq == 0)
        buf_puts(err, "expected message sequence");
    else if (e->seq <= s->assigned || e->seq > p->last_seq)
        buf_printf(err, "message sequence %llu out of order", (unsigned long long) e->seq);
    else if (e->time > TIME_MAX)
        buf_printf(err, "message sequence %llu is of another century", (unsigned long long) e->seq);
    else if (!subject_valid_literal(e->name) || e->name.n > STORE_SUBJECT_MAX)
        buf_printf(err, "message sequence %llu has no valid subject", (unsigned long long) e->seq);
    else if (e->header.n > STORE_HEADER_MAX || (e->header.n > 0 && !header_valid(e->header)))
        buf_printf(err, "failed to parse message sequence %llu: invalid header",
                   (unsigned long long) e->seq);
    else if (e->payload.n > STORE_PAYLOAD_MAX ||
             e->header.n + e->payload.n > s->js->env->options->max_payload)
        buf_printf(err, "message sequence %llu exceeds maximum payload size",
                   (unsigned long long) e->seq);
    else if (s->config.max_msg_size > 0 &&
             e->header.n + e->payload.n > (uint64_t) s->config.max_msg_size)
        buf_printf(err, "message sequence %llu exceeds maximum message size",
                   (unsigned long long) e->seq);
    else if (js_resources_full(&s->js->shared->resources, (enum storage) s->config.storage, 0))
        buf_puts(err, "insufficient storage resources available");
    return err->n == 0;
}

/* What the message brings about later is found as it is after a start (stream_effects.c). */
static unsigned flags_of(struct str header)
{
    unsigned flags = 0;

    if (header.n == 0)
        return 0;
    if (header_get(header, STR("Nats-Msg-Id")).n > 0)
        flags |= STORE_MSG_HAS_ID;
    if (header_get(header, STR("Nats-TTL")).n > 0 || header_get(header, STR("Nats-Rollup")).n > 0 ||
        header_get(header, STR("Nats-Schedule")).n > 0 ||
        header_get(header, STR("Nats-Schedule-Next")).n > 0)
        flags |= STORE_MSG_HAS_EFFECT;
    return flags;
}

/* What would go at once is not stored, and leaves no marker: so does the peer. */
static bool has_expired(const struct restore *p, const struct archive_entry *e, int64_t seconds)
{
    return seconds > 0 && msg_ttl_due(e->time, seconds) < io_wall(p->s->js->env->io);
}

static bool take_message(struct restore *p, const struct archive_entry *e, struct buf *err)
{
    struct stream *s = p->s;
    struct store_append a = {.subject = e->name, .header = e->header, .payload = e->payload};
    struct str ttl = e->header.n > 0 ? header_get(e->header, STR("Nats-TTL")) : STR_NONE;
    int64_t seconds;
    uint64_t seq;
    enum err got;

    if (!check_message(p, e, err) || !stream_skip_to(s, e->seq - 1))
        return false;
    if (!msg_ttl_parse(ttl, &seconds)) {
        buf_puts(err, "failed to parse message TTL");
        return false;
    }
    if (has_expired(p, e, seconds))
        return stream_skip_to(s, e->seq);
    a.ts = e->time > s->last_ts ? e->time : s->last_ts;
    a.flags = flags_of(e->header);
    got = store_append(s->store, &a, &seq);
    if (got != ERR_OK) {
        buf_printf(err, "failed to store message sequence %llu: %s", (unsigned long long) e->seq,
                   err_text(got));
        return false;
    }
    s->assigned = seq;
    s->last_ts = a.ts;
    return true;
}

static bool take_entry(struct restore *p, const struct archive_entry *e, struct buf *err)
{
    switch (p->stage) {
    case RESTORE_STATE:
        return take_state(p, e, err);
    case RESTORE_CONSUMERS:
        return take_consumer(p, e, err);
    case RESTORE_MESSAGES:
        if (!archive_is_end(e))
            return take_message(p, e, err);
        p->stage = RESTORE_READ;
        return stream_skip_to(p->s, p->last_seq);
    default:
        return true;
    }
}

/* ---- chunks ---------------------------------------------------------------------------------- */

/* The format of earlier servers: a tar of the message blocks. */
static bool take_magic(struct restore *p, struct buf *err)
{
    struct str have = str_skip(buf_str(&p->plain), p->at);

    if (have.n < 8)
        return true;
    p->magic = str_starts(have, STR(ARCHIVE_MAGIC));
    p->at += 8;
    if (!p->magic)
        buf_puts(err, "the backup is of an older format, which is not supported");
    return p->magic;
}

static bool waits_for_disk(const struct restore *p)
{
    uint64_t msgs, bytes;

    store_stream_waiting(p->s->store, &msgs, &bytes);
    return bytes > WAITING_MAX;
}

/* What is there of entries; false with a text when they are refused. */
static bool take_entries(struct restore *p, struct buf *err)
{
    struct archive_entry e;

    if (!p->magic && !take_magic(p, err))
        return false;
    while (p->magic && p->stage < RESTORE_READ && !waits_for_disk(p)) {
        struct str in = str_skip(buf_str(&p->plain), p->at);
        enum archive_got got = archive_take(&in, &e);
        if (got == ARCHIVE_MORE)
            break;
        if (got == ARCHIVE_BAD) {
            buf_puts(err, "archive: invalid archive stream");
            return false;
        }
        p->at = p->plain.n - in.n;
        if (!take_entry(p, &e, err)) {
            if (err->n == 0)
                buf_puts(err, "failed to process gap");
            return false;
        }
    }
    if (p->at > 0) {
        memmove(p->plain.p, p->plain.p + p->at, p->plain.n - p->at);
        p->plain.n -= p->at;
        p->at = 0;
    }
    return true;
}

static void answer_chunk(struct restore *p)
{
    if (p->reply == NULL)
        return;
    js_publish(p->s->js, str_of(p->reply), STR_NONE, STR_NONE, STR_NONE);
    mem_free(p->reply);
    p->reply = NULL;
}

/* Unpacks what has come: S2_CHUNK when it has to wait for the disk or for its next turn, S2_MORE
 * when all was taken. Behind the end nothing is expected, and nothing read. */
static enum s2_got take_chunks(struct restore *p, struct buf *err)
{
    enum s2_got got = S2_CHUNK;
    size_t turn = 0;

    while (got == S2_CHUNK && p->stage < RESTORE_READ && turn < TURN_BYTES && !waits_for_disk(p)) {
        size_t before = p->plain.n;
        got = s2_reader_next(&p->s2, &p->plain);
        turn += p->plain.n - before;
        if (got == S2_BAD)
            buf_puts(err, "s2: corrupt input");
        else if (!take_entries(p, err))
            got = S2_BAD;
    }
    if (got == S2_CHUNK && turn >= TURN_BYTES)
        io_timer_start_next(p->s->js->env->io, &p->resume);
    if (p->stage < RESTORE_READ)
        return got;
    s2_reader_free(&p->s2);
    p->s2 = (struct s2_reader){0};
    buf_free(&p->plain);
    return S2_MORE;
}

/* All that can be done now. May end the restore. */
static void go_on(struct restore *p)
{
    struct stream *s = p->s;
    struct buf err = {0};
    enum s2_got got = take_chunks(p, &err);

    if (got == S2_MORE && p->ended && p->stage < RESTORE_READ)
        buf_puts(&err, "backup was truncated");
    if (err.n > 0)
        fail(p, buf_cstr(&err));
    else if (p->ended && p->stage == RESTORE_READ && s->assigned == s->durable)
        conclude(p);
    else if (!p->ended && got == S2_MORE)
        answer_chunk(p);
    buf_free(&err);
}

/* Not from the store's callback: it may end the stream. */
static void resume(struct wheel_timer *t)
{
    struct restore *p = CONTAINER_OF(t, struct restore, resume);

    if (p->s->js->stopping)
        return;
    if (p->broken == ERR_OK && p->stage < RESTORE_END)
        go_on(p);
    else if (p->broken != ERR_OK && p->reply != NULL) /* else the next chunk hears of it */
        fail(p, err_text(p->broken));
}

void stream_restore_committed(struct stream *s)
{
    struct restore *p = s->restore;

    if (p != NULL && p->stage < RESTORE_END)
        io_timer_start_next(s->js->env->io, &p->resume);
}

void stream_restore_refused(struct stream *s, enum err err)
{
    struct restore *p = s->restore;

    if (p == NULL || p->stage == RESTORE_END)
        return;
    p->broken = err;
    io_timer_start_next(s->js->env->io, &p->resume);
}

static void take_chunk(struct restore *p, const struct msg *m)
{
    if (p->reply != NULL)
        answer_chunk(p); /* the sender does not wait for each */
    if (m->reply.n == 0) {
        fail(p, "requires reply subject for each chunk");
        return;
    }
    p->reply = mem_strndup(m->reply.p, m->reply.n);
    if (p->broken != ERR_OK) {
        fail(p, err_text(p->broken));
        return;
    }
    if (s2_reader_waiting(&p->s2) > UNREAD_MAX) {
        fail(p, "the sender of a backup has to wait for its answers");
        return;
    }
    p->taken += m->payload.n;
    p->ended |= m->payload.n == 0;
    if (p->stage < RESTORE_READ)
        s2_reader_feed(&p->s2, m->payload);
    arm(p);
    go_on(p);
}

static unsigned deliver(struct sink *sink, const struct msg *run, unsigned n)
{
    struct restore *p = CONTAINER_OF(sink, struct restore, chunks);
    struct stream *s = p->s;
    struct js *js = s->js;
    handle self = sink->self;

    for (unsigned i = 0; i < n; i++) {
        /* A chunk may have been the last. */
        if (js->stopping || router_sink_get(js->env->router, self) != sink)
            return i;
        if (p->stage < RESTORE_END && !p->ended)
            take_chunk(p, &run[i]);
    }
    return n;
}

static const struct sink_ops chunk_ops = {.deliver = deliver, .kind = "restore"};

static void stalled(struct wheel_timer *t)
{
    struct restore *p = CONTAINER_OF(t, struct restore, stall);

    if (p->s->js->stopping)
        return;
    if (p->reply != NULL) { /* it is us who are slow */
        arm(p);
        return;
    }
    fail(p, "restore is stalled");
}

/* ---- the request ----------------------------------------------------------------------------- */

void restore_begin(struct api_request *r, struct stream *s)
{
    struct restore *p = mem_zalloc(sizeof(*p));
    struct env *env = s->js->env;
    char id[NUID_LEN + 1];
    struct buf subject = {0};

    p->s = s;
    s->restore = p;
    list_init(&p->made);
    p->start = io_wall(env->io);
    wheel_timer_init(&p->stall, stalled);
    wheel_timer_init(&p->resume, resume);
    p->chunks.ops = &chunk_ops;
    router_sink_add(env->router, &p->chunks);
    nuid_next(&s->js->nuid, id);
    buf_printf(&subject, "$JS.SNAPSHOT.RESTORE.%s.%s", s->config.name, id);
    p->interest = interest_add(s->js->account->interest,
                               &(struct interest_spec){.pattern = buf_str(&subject),
                                                       .worker = env->worker,
                                                       .sink = p->chunks.self,
                                                       .internal = true});
    buf_put_str(&p->who, buf_str(&r->who));
    advise_restore_create(s, buf_str(&p->who));
    arm(p);
    buf_puts(&r->out, ",\"deliver_subject\":");
    jput_string(&r->out, buf_str(&subject));
    buf_free(&subject);
    api_reply(r);
}
