/*
 * stream_ingest.c - from a published message to a sequence and a PubAck that leaves when it is
 * true.
 *
 * Checks run in the order in which nats-server makes them, which decides what a message with two
 * faults is told. Those that ask for a last sequence, a message id or a limit look at the
 * *assigned* state (what is durable and what is on its way). Every answer, good or bad, goes into
 * the stream's open hold: it leaves with the commit whose state it was computed from, or at the end
 * of this step when nothing is on its way.
 */
#include "lib/base/fmt.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/js_int.h"

#include <string.h>

/* Room for a prefix, 20 digits and `,"duplicate": true}`: a name or a domain of 255 bytes, each six
 * bytes as \\u00XX. */
#define ACK_MAX 3200u

/* error is set by js_fail alone: clearing its text for every message cost 6 ns. */
struct verdict {
    uint64_t duplicate_of; /* sequence of the first, when the id was seen */
    struct str id;
    struct js_error error;
};

/* ---- replies ----------------------------------------------------------------------------------
 */

static struct hold *hold_for(struct stream *s)
{
    if (s->open_hold == NULL)
        s->open_hold = hold_open(s->js->env->router, s->js->env->account);
    if (!list_linked(&s->dirty_link))
        list_push_back(&s->js->dirty_streams, &s->dirty_link);
    return s->open_hold;
}

static void reply_ack(struct stream *s, struct str to, uint64_t seq, bool duplicate)
{
    static const char mark[] = ",\"duplicate\": true}";
    char text[ACK_MAX];
    size_t n = s->ack_prefix_len;

    ASSERT(n + FMT_U64_MAX + sizeof(mark) <= sizeof(text));
    memcpy(text, s->ack_prefix, n);
    n += fmt_u64(text + n, seq);
    if (duplicate) {
        memcpy(text + n, mark, sizeof(mark) - 1);
        n += sizeof(mark) - 1;
    } else {
        text[n++] = '}';
    }
    hold_add(hold_for(s), to, STR_NONE, str_from(text, n));
}

static void put_error(struct stream *s, const struct js_error *err, struct buf *b)
{
    buf_putc(b, '{');
    js_error_put(b, err);
    buf_puts(b, ",\"stream\":");
    jput_string(b, str_of(s->config.name));
    buf_puts(b, ",\"seq\":0}");
}

static void reply_error(struct stream *s, struct str to, const struct js_error *err)
{
    struct buf b = {0};

    put_error(s, err, &b);
    hold_add(hold_for(s), to, STR_NONE, buf_str(&b));
    buf_free(&b);
}

/* ---- checks -----------------------------------------------------------------------------------
 */

static bool wrong_last(struct verdict *v, uint64_t seq)
{
    return js_fail(&v->error, JS_ERR_STREAM_WRONG_LAST_SEQUENCE, "%llu", (unsigned long long) seq);
}

static bool check_expected_subject(struct stream *s, const struct msg *m, struct verdict *v)
{
    struct str want = header_get(m->header, STR("Nats-Expected-Last-Subject-Sequence"));
    struct str other = header_get(m->header, STR("Nats-Expected-Last-Subject-Sequence-Subject"));
    uint64_t expected, last, msgs;

    if (want.p == NULL) {
        if (other.p != NULL)
            return js_fail(&v->error, JS_ERR_STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID, NULL);
        return true;
    }
    if (!str_to_u64(want, &expected))
        return js_fail(&v->error, JS_ERR_STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID, NULL);
    if (other.p != NULL && subject_has_wildcard(other))
        last = store_subject_last_match(s->store, other);
    else
        last = store_subject_last_assigned(s->store, other.p != NULL ? other : m->subject, &msgs);
    return last == expected || wrong_last(v, last);
}

/* Features whose headers this version does not carry out: refused, never ignored. */
static bool check_later_features(const struct msg *m, struct verdict *v)
{
    if (header_get(m->header, STR("Nats-Incr")).p != NULL)
        return js_fail(&v->error, JS_ERR_MESSAGE_INCR_DISABLED, NULL);
    if (header_get(m->header, STR("Nats-TTL")).p != NULL)
        return js_fail(&v->error, JS_ERR_MESSAGE_TTL_DISABLED, NULL);
    if (header_get(m->header, STR("Nats-Schedule")).p != NULL)
        return js_fail(&v->error, JS_ERR_MESSAGE_SCHEDULES_DISABLED, NULL);
    if (header_get(m->header, STR("Nats-Batch-Id")).p != NULL)
        return js_fail(&v->error, JS_ERR_ATOMIC_PUBLISH_DISABLED, NULL);
    return true;
}

static bool check_rollup(const struct stream *s, const struct msg *m, struct verdict *v)
{
    struct str how = header_get(m->header, STR("Nats-Rollup"));

    if (how.p == NULL)
        return true;
    if (!s->config.allow_rollup_hdrs || s->config.deny_purge)
        return js_fail(&v->error, JS_ERR_STREAM_ROLLUP_FAILED, "rollup not permitted");
    if (!str_eq(how, STR("sub")) && !str_eq(how, STR("all")))
        return js_fail(&v->error, JS_ERR_STREAM_ROLLUP_FAILED, "rollup value invalid: \"%.*s\"",
                       STR_ARG(how));
    return true;
}

static bool check_id(struct stream *s, const struct msg *m, int64_t now, struct verdict *v)
{
    v->id = header_get(m->header, STR("Nats-Msg-Id"));
    if (v->id.p == NULL || v->id.n == 0) {
        v->id = STR_NONE;
        return true;
    }
    v->duplicate_of = dedup_find(&s->dedup, v->id, now);
    return v->duplicate_of == 0;
}

static bool check_expected_id(struct stream *s, const struct msg *m, int64_t now, struct verdict *v)
{
    struct str want = header_get(m->header, STR("Nats-Expected-Last-Msg-Id"));

    if (want.p == NULL)
        return true;
    if (s->assigned > 0 && dedup_find(&s->dedup, want, now) == s->assigned)
        return true;
    return js_fail(&v->error, JS_ERR_STREAM_WRONG_LAST_MSG_ID, "%s",
                   s->last_id != NULL ? s->last_id : "");
}

static bool check_headers(struct stream *s, const struct msg *m, int64_t now, struct verdict *v)
{
    struct str text = header_get(m->header, STR("Nats-Expected-Stream"));
    uint64_t expected;

    if (text.p != NULL && !str_eq(text, str_of(s->config.name)))
        return js_fail(&v->error, JS_ERR_STREAM_NOT_MATCH, NULL);
    if (!check_later_features(m, v) || !check_expected_subject(s, m, v))
        return false;
    text = header_get(m->header, STR("Nats-Expected-Last-Sequence"));
    if (text.p != NULL && (!str_to_u64(text, &expected) || expected != s->assigned))
        return wrong_last(v, s->assigned);
    return check_id(s, m, now, v) && check_expected_id(s, m, now, v) && check_rollup(s, m, v);
}

static bool store_failed(struct verdict *v, enum err err)
{
    if (err == ERR_LIMIT)
        return js_fail(&v->error, JS_ERR_STREAM_TOO_MANY_REQUESTS, NULL);
    if (err == ERR_NO_SPACE)
        return js_fail(&v->error, JS_ERR_STREAM_STORE_FAILED, "no space left on device");
    return js_fail(&v->error, JS_ERR_STREAM_STORE_FAILED, "%s", err_text(err));
}

static bool check_discard_new(struct stream *s, const struct msg *m, struct verdict *v)
{
    const struct stream_config *c = &s->config;
    uint64_t last, msgs, bytes, of_subject = 0;
    uint64_t size = store_msg_bytes(c->storage == STORAGE_MEMORY ? STORE_MEMORY : STORE_DURABLE,
                                    m->subject.n, m->header.n, m->payload.n);

    store_stream_state_assigned(s->store, &last, &msgs, &bytes);
    if (c->max_msgs_per_subject > 0 &&
        (c->discard_new_per_subject || c->max_msgs > 0 || c->max_bytes > 0))
        store_subject_last_assigned(s->store, m->subject, &of_subject);
    bool full_subject = c->max_msgs_per_subject > 0 &&
                        of_subject >= (uint64_t) c->max_msgs_per_subject;
    if (c->discard_new_per_subject && full_subject)
        return store_failed(v, ERR_MAX_PER_SUBJECT);
    /* A message that replaces the oldest of its subject does not make the stream larger. */
    if (c->max_msgs > 0 && msgs >= (uint64_t) c->max_msgs && !full_subject)
        return store_failed(v, ERR_MAX_MSGS);
    if (c->max_bytes > 0 && bytes + size > (uint64_t) c->max_bytes && !full_subject)
        return store_failed(v, ERR_MAX_BYTES);
    return true;
}

static bool check_sizes(const struct stream *s, const struct msg *m, struct verdict *v)
{
    if (s->config.max_msg_size > 0 &&
        m->header.n + m->payload.n > (uint64_t) s->config.max_msg_size)
        return js_fail(&v->error, JS_ERR_STREAM_MESSAGE_EXCEEDS_MAXIMUM, NULL);
    if (m->header.n > STORE_HEADER_MAX)
        return js_fail(&v->error, JS_ERR_STREAM_HEADER_EXCEEDS_MAXIMUM, NULL);
    return true;
}

/* The reply subject tells the message's place in the batch. */
static bool in_fast_batch(struct str reply)
{
    return reply.n > 4 && memcmp(reply.p + reply.n - 4, ".$FI", 4) == 0;
}

/* What waits to become durable is bounded per stream. */
static bool has_room(const struct stream *s)
{
    const struct options *o = s->js->env->options;
    uint64_t msgs, bytes;

    store_stream_waiting(s->store, &msgs, &bytes);
    return msgs < o->js_max_buffered_msgs && bytes < o->js_max_buffered_bytes;
}

static bool check_resources(const struct stream *s, struct verdict *v)
{
    uint64_t msgs, bytes;

    store_stream_waiting(s->store, &msgs, &bytes);
    if (LIKELY(
            !js_resources_full(&s->js->shared->resources, (enum storage) s->config.storage, bytes)))
        return true;
    return js_fail(&v->error, JS_ERR_INSUFFICIENT_RESOURCES, NULL);
}

static bool check(struct stream *s, const struct msg *m, int64_t now, struct verdict *v)
{
    if (UNLIKELY(!has_room(s)))
        return store_failed(v, ERR_LIMIT);
    if (UNLIKELY(s->config.sealed))
        return js_fail(&v->error, JS_ERR_STREAM_SEALED, NULL);
    if (UNLIKELY(s->js->env->refuse_ingest))
        return js_fail(&v->error, JS_ERR_INSUFFICIENT_RESOURCES, NULL);
    if (m->header.n > 0 && !check_headers(s, m, now, v))
        return false;
    if (UNLIKELY(in_fast_batch(m->reply)))
        return js_fail(&v->error, JS_ERR_BATCH_PUBLISH_DISABLED, NULL);
    if (!check_sizes(s, m, v) || !check_resources(s, v))
        return false;
    return s->config.discard != DISCARD_NEW || check_discard_new(s, m, v);
}

/* ---- taking -----------------------------------------------------------------------------------
 */

/* On an interest stream a message that no consumer wants uses up a sequence and nothing else. */
static bool nobody_wants(const struct stream *s, struct str subject)
{
    if (s->config.retention != RETENTION_INTEREST)
        return false;
    LIST_FOREACH(l, &s->consumers)
    if (consumer_matches(LIST_ENTRY(l, struct consumer, stream_link), subject))
        return false;
    return true;
}

static void remember(struct stream *s, struct str id, uint64_t seq, int64_t ts)
{
    mem_free(s->last_id);
    s->last_id = NULL;
    if (id.n == 0)
        return;
    dedup_add(&s->dedup, id, seq, ts);
    s->last_id = mem_strndup(id.p, id.n);
}

/* What a rollup replaces goes as soon as the message itself is durable. */
static void plan_rollup(struct stream *s, const struct msg *m, uint64_t seq)
{
    struct str how = header_get(m->header, STR("Nats-Rollup"));
    struct rollup *r;

    if (how.p == NULL)
        return;
    r = mem_zalloc(sizeof(*r) + m->subject.n);
    r->seq = seq;
    r->subject_len = str_eq(how, STR("sub")) ? m->subject.n : 0;
    memcpy(r->subject, m->subject.p, r->subject_len);
    list_push_back(&s->rollups, &r->link);
}

static void take(struct stream *s, const struct msg *m, int64_t now)
{
    struct verdict v;
    struct store_append a = {
        .subject = m->subject, .header = m->header, .payload = m->payload, .ts = now};
    uint64_t seq = 0;
    bool wants_reply = m->reply.n > 0 && !s->config.no_ack;
    enum err err;

    v.duplicate_of = 0;
    v.id = STR_NONE;
    if (!check(s, m, now, &v)) {
        if (wants_reply && v.duplicate_of != 0)
            reply_ack(s, m->reply, v.duplicate_of, true);
        else if (wants_reply)
            reply_error(s, m->reply, &v.error);
        return;
    }
    a.flags = v.id.n > 0 ? STORE_MSG_HAS_ID : 0;
    if (UNLIKELY(nobody_wants(s, m->subject)))
        err = store_skip(s->store, 1, &seq);
    else
        err = store_append(s->store, &a, &seq);
    if (UNLIKELY(err != ERR_OK)) {
        store_failed(&v, err);
        if (wants_reply)
            reply_error(s, m->reply, &v.error);
        return;
    }
    s->assigned = seq;
    if (m->header.n > 0 || s->last_id != NULL) {
        remember(s, v.id, seq, now);
        if (m->header.n > 0)
            plan_rollup(s, m, seq);
    }
    if (wants_reply) {
        reply_ack(s, m->reply, seq, false);
        s->open_assigned = true;
    }
}

/* Stream time: it never goes back. */
static int64_t stream_time(struct stream *s)
{
    int64_t now = io_wall(s->js->env->io);

    if (now < s->last_ts)
        now = s->last_ts;
    s->last_ts = now;
    return now;
}

void stream_take(struct stream *s, const struct msg *m)
{
    take(s, m, stream_time(s));
}

/* The duplicate window is still being read. */
static void park(struct stream *s, const struct msg *m)
{
    struct verdict v = {0};

    if (stream_load_park(s, m))
        return;
    store_failed(&v, ERR_LIMIT);
    if (m->reply.n > 0 && !s->config.no_ack)
        reply_error(s, m->reply, &v.error);
}

static unsigned deliver(struct sink *sink, const struct msg *run, unsigned n)
{
    struct stream *s = CONTAINER_OF(sink, struct stream, sink);
    int64_t now = stream_time(s);

    if (UNLIKELY(s->js->stopping))
        return n;
    for (unsigned i = 0; i < n; i++)
        if (LIKELY(s->load == NULL))
            take(s, &run[i], now);
        else
            park(s, &run[i]);
    return n;
}

const struct sink_ops stream_sink_ops = {.deliver = deliver, .kind = "stream"};

/* ---- what the store says ----------------------------------------------------------------------
 */

static void commit_begun(void *ctx, uint64_t last_seq)
{
    struct stream *s = ctx;
    struct held *h;

    if (s->open_hold == NULL)
        return;
    h = mem_zalloc(sizeof(*h));
    h->hold = s->open_hold;
    /* Not last_seq: a commit may carry less than what has been appended, and the hold answers for
     * all of it. */
    h->last_seq = s->assigned > last_seq ? s->assigned : last_seq;
    s->open_hold = NULL;
    s->open_assigned = false;
    list_push_back(&s->held, &h->link);
}

static void release_held(struct stream *s)
{
    struct list *l;

    while ((l = list_first(&s->held)) != NULL) {
        struct held *h = LIST_ENTRY(l, struct held, link);
        if (h->last_seq > s->durable)
            return;
        list_remove(&h->link);
        hold_release(h->hold);
        mem_free(h);
    }
}

/* Replies without a sequence of their own, when nothing is on its way that they could depend on. */
static void release_idle(struct stream *s)
{
    if (s->open_hold == NULL || s->open_assigned || s->assigned != s->durable)
        return;
    hold_release(s->open_hold);
    s->open_hold = NULL;
}

static void run_rollups(struct stream *s)
{
    struct list *l;

    while ((l = list_first(&s->rollups)) != NULL) {
        struct rollup *r = LIST_ENTRY(l, struct rollup, link);
        if (r->seq > s->durable)
            return;
        list_remove(&r->link);
        store_purge(s->store,
                    &(struct store_purge){.filter = str_from(r->subject, r->subject_len),
                                          .before_seq = r->seq},
                    NULL);
        mem_free(r);
    }
}

static void committed(void *ctx, uint64_t first_seq, uint64_t last_seq)
{
    struct stream *s = ctx;

    s->durable = last_seq;
    stream_count_usage(s);
    release_held(s);
    release_idle(s);
    stream_announce(s, first_seq, last_seq);
    run_rollups(s);
}

static void removed(void *ctx, uint64_t first_seq, uint64_t last_seq, uint64_t msgs,
                    enum store_reason reason)
{
    struct stream *s = ctx;

    (void) msgs;
    (void) reason;
    stream_count_usage(s);
    LIST_FOREACH(l, &s->consumers)
    consumer_note_removed(LIST_ENTRY(l, struct consumer, stream_link), first_seq, last_seq);
}

struct refusal {
    const struct stream *s;
    struct buf error;
};

/* A hold may have been begun before its first messages became durable: their acknowledgements stay.
 * An error may have been computed from what does not come true ("wrong last sequence: 54"). */
static struct str refuse_untrue(void *ctx, struct str payload)
{
    const struct refusal *r = ctx;
    const struct stream *s = r->s;
    struct str prefix = str_from(s->ack_prefix, s->ack_prefix_len);
    uint64_t seq = 0;

    if (!str_starts(payload, prefix))
        return buf_str(&r->error);
    for (size_t i = prefix.n; i < payload.n && payload.p[i] >= '0' && payload.p[i] <= '9'; i++)
        seq = seq * 10 + (uint64_t) (payload.p[i] - '0');
    return seq <= s->durable ? payload : buf_str(&r->error);
}

/* Nothing that is on its way will become true: the waiting publishers hear that, with the answer a
 * failed append gets. */
static void refuse_held(struct stream *s, enum err err)
{
    struct verdict v = {0};
    struct refusal r = {.s = s};
    struct list *l;

    store_failed(&v, err);
    put_error(s, &v.error, &r.error);
    while ((l = list_pop_front(&s->held)) != NULL) {
        struct held *h = LIST_ENTRY(l, struct held, link);
        hold_release_instead(h->hold, refuse_untrue, &r);
        mem_free(h);
    }
    if (s->open_hold != NULL && s->open_assigned) {
        hold_release_instead(s->open_hold, refuse_untrue, &r);
        s->open_hold = NULL;
    }
    s->open_assigned = false;
    buf_free(&r.error);
}

/* As if nothing behind the durable end had ever been appended. */
static void forget_assigned(struct stream *s, enum err err)
{
    struct list *l;

    refuse_held(s, err);
    while ((l = list_pop_front(&s->rollups)) != NULL)
        mem_free(LIST_ENTRY(l, struct rollup, link));
    s->assigned = s->durable;
    dedup_forget_above(&s->dedup, s->durable);
}

static void refused(void *ctx, enum err err)
{
    struct stream *s = ctx;

    forget_assigned(s, err);
    release_idle(s);
}

static void failed(void *ctx, enum err err, const char *why)
{
    struct stream *s = ctx;

    LOG_ERR(s->js->env->log, "JetStream stream '%s > %s' has failed and is read-only: %s (%s)",
            s->js->env->account->name, s->config.name, why, err_text(err));
    s->failed = true;
    s->fail_reason = why;
    forget_assigned(s, err);
}

static void render_config(void *ctx, struct buf *out)
{
    js_stream_render(ctx, out);
}

const struct store_stream_ops stream_store_ops = {
    .commit_begun = commit_begun,
    .committed = committed,
    .removed = removed,
    .failed = failed,
    .refused = refused,
    .render_config = render_config,
};

void stream_settle(struct stream *s)
{
    list_remove(&s->dirty_link);
    release_idle(s);
}
