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
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/batches.h"
#include "server/js/fast_reply.h"
#include "server/js/stream_parts.h"
#include "server/js/upstream.h"

/* ---- checks -----------------------------------------------------------------------------------
 */

static uint64_t size_of(const struct stream *s, size_t subject, size_t header, size_t payload)
{
    return store_msg_bytes(s->config.storage == STORAGE_MEMORY ? STORE_MEMORY : STORE_DURABLE,
                           subject, header, payload);
}

static bool check_discard_new(struct stream *s, const struct msg *m, struct verdict *v)
{
    const struct stream_config *c = &s->config;
    uint64_t last, msgs, bytes, of_subject = 0;
    uint64_t size = size_of(s, m->subject.n, v->header.n, v->payload.n);

    store_stream_state_assigned(s->store, &last, &msgs, &bytes);
    if (c->max_msgs_per_subject > 0 &&
        (c->discard_new_per_subject || c->max_msgs > 0 || c->max_bytes > 0)) {
        if (UNLIKELY(stream_subject_holds(s, m->subject))) {
            v->waits = true;
            return false;
        }
        store_subject_last_assigned(s->store, m->subject, &of_subject);
    }
    bool full_subject = c->max_msgs_per_subject > 0 &&
                        of_subject >= (uint64_t) c->max_msgs_per_subject;
    /* What rolls its subject up empties it. */
    if (c->discard_new_per_subject && full_subject && v->rollup == ROLLUP_NONE)
        return ingest_store_failed(v, ERR_MAX_PER_SUBJECT);
    /* A message that replaces the oldest of its subject does not make the stream larger, if it is
     * not larger than that one. */
    if (c->max_msgs > 0 && msgs >= (uint64_t) c->max_msgs && !full_subject)
        return ingest_store_failed(v, ERR_MAX_MSGS);
    if (c->max_bytes > 0 && bytes + size > (uint64_t) c->max_bytes &&
        (!full_subject || size > store_subject_first_bytes(s->store, m->subject)))
        return ingest_store_failed(v, ERR_MAX_BYTES);
    return true;
}

static bool check_size(const struct stream *s, uint64_t size, struct verdict *v)
{
    return s->config.max_msg_size <= 0 || size <= (uint64_t) s->config.max_msg_size ||
           js_fail(&v->error, JS_ERR_STREAM_MESSAGE_EXCEEDS_MAXIMUM, NULL);
}

static bool check_sizes(const struct stream *s, struct verdict *v)
{
    if (!check_size(s, v->header.n + v->payload.n, v))
        return false;
    if (v->header.n > STORE_HEADER_MAX)
        return js_fail(&v->error, JS_ERR_STREAM_HEADER_EXCEEDS_MAXIMUM, NULL);
    return true;
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
    if (LIKELY(!js_resources_server_full(&s->js->shared->resources,
                                         (enum storage) s->config.storage, bytes)))
        return true;
    return js_fail(&v->error, JS_ERR_INSUFFICIENT_RESOURCES, NULL);
}

/* The account's limits count with what is to be stored, unlike the server's. */
bool ingest_check_account(const struct stream *s, uint64_t more, struct verdict *v)
{
    uint64_t msgs, bytes;

    store_stream_waiting(s->store, &msgs, &bytes);
    if (LIKELY(!js_resources_account_full(&s->js->shared->resources,
                                          (enum storage) s->config.storage, bytes + more)))
        return true;
    return js_fail(&v->error, JS_ERR_ACCOUNT_RESOURCES_EXCEEDED, NULL);
}

/* Also the limit of a payload: this one grew here. */
static bool count(struct stream *s, const struct msg *m, struct verdict *v)
{
    if (!ingest_count(s, m, str_trim(header_get(m->header, STR("Nats-Incr"))),
                      v->sourced ? header_get(m->header, STR("Nats-Stream-Source")) : STR_NONE, v))
        return false;
    if (v->header.n + v->payload.n > (uint64_t) s->js->env->options->max_payload)
        return js_fail(&v->error, JS_ERR_STREAM_MESSAGE_EXCEEDS_MAXIMUM, NULL);
    return true;
}

static bool check_open(struct stream *s, struct verdict *v)
{
    if (UNLIKELY(!has_room(s)))
        return ingest_store_failed(v, ERR_LIMIT);
    if (UNLIKELY(s->config.sealed))
        return js_fail(&v->error, JS_ERR_STREAM_SEALED, NULL);
    if (UNLIKELY(s->js->env->refuse_ingest))
        return js_fail(&v->error, JS_ERR_INSUFFICIENT_RESOURCES, NULL);
    return true;
}

bool ingest_check(struct stream *s, const struct msg *m, int64_t now, struct verdict *v)
{
    if (!check_open(s, v) || !check_size(s, m->header.n + m->payload.n, v) ||
        (m->header.n > 0 && !ingest_check_headers(s, m, now, v)))
        return false;
    if (UNLIKELY(s->config.allow_msg_counter) && !count(s, m, v))
        return false;
    return check_sizes(s, v) && check_resources(s, v);
}

bool batch_check_stream(struct stream *s, const struct msg *m, struct js_error *err)
{
    struct verdict v;
    bool ok;

    verdict_init(&v, m, false);
    ok = check_open(s, &v) && check_resources(s, &v) && check_sizes(s, &v);
    if (!ok)
        *err = v.error;
    return ok;
}

/* What nobody wants is not stored, and not asked for that. */
static bool check_store(struct stream *s, const struct msg *m, struct verdict *v)
{
    return ingest_check_account(s, size_of(s, m->subject.n, v->header.n, v->payload.n), v) &&
           ingest_check_ttl(s, v) &&
           (s->config.discard != DISCARD_NEW || check_discard_new(s, m, v));
}

/* ---- taking -----------------------------------------------------------------------------------
 */

static void note_wanted(void *ctx, void *owner)
{
    bool *wanted = ctx;

    (void) owner;
    *wanted = true;
}

/* On an interest stream a message that no consumer wants uses up a sequence and nothing else. */
static bool nobody_wants(const struct stream *s, struct str subject)
{
    bool wanted;

    if (s->config.retention != RETENTION_INTEREST)
        return false;
    wanted = s->nconsumers > s->nfiltered;
    if (!wanted)
        filter_index_each(&s->filters, subject, note_wanted, &wanted);
    return !wanted;
}

static void remember(struct stream *s, struct str id, uint64_t seq, int64_t ts)
{
    mem_free(s->last_id);
    s->last_id = NULL;
    if (id.n == 0)
        return;
    if (s->config.duplicate_window_ns > 0)
        dedup_add(&s->dedup, id, seq, ts);
    s->last_id = mem_strndup(id.p, id.n);
}

static bool store(struct stream *s, const struct msg *m, struct verdict *v, int64_t now,
                  uint64_t *seq)
{
    struct store_append a = {.subject = m->subject, .ts = now};
    uint64_t last = 0;
    enum err err;

    v->stored = !nobody_wants(s, m->subject);
    if (UNLIKELY(!v->stored)) {
        v->ttl = 0;
        err = store_skip(s->store, 1, seq);
    } else if (!check_store(s, m, v)) {
        return false;
    } else {
        a.header = v->header;
        a.payload = v->payload;
        a.flags = ingest_store_flags(v);
        if (UNLIKELY(s->republish != NULL))
            last = stream_republish_last(s, m->subject);
        err = store_append(s->store, &a, seq);
        if (UNLIKELY(s->republish != NULL) && err == ERR_OK)
            stream_republish_note(s, m->subject, *seq, last);
    }
    return LIKELY(err == ERR_OK) || ingest_store_failed(v, err);
}

void ingest_stored(struct stream *s, const struct msg *m, const struct verdict *v, int64_t now,
                   uint64_t seq)
{
    s->assigned = seq;
    if ((m->header.n > 0 || s->last_id != NULL) && !v->mirror)
        remember(s, v->id, seq, now);
    if (UNLIKELY(v->value.p != NULL))
        ingest_counted(s, m, seq, v);
    if (UNLIKELY(s->schedules != NULL))
        ingest_scheduled(s, m, seq, v);
    if (UNLIKELY(v->effect)) {
        ingest_plan_rollup(s, m->subject, v->rollup, seq);
        stream_expiry_note(s, seq, now, v->ttl);
    }
}

bool ingest_put(struct stream *s, const struct msg *m, struct verdict *v, int64_t now,
                uint64_t *seq)
{
    if (!ingest_check(s, m, now, v) || !store(s, m, v, now, seq))
        return false;
    ingest_stored(s, m, v, now, *seq);
    return true;
}

/* Messages of batches are answered by these. */
static bool take_batched(struct stream *s, const struct msg *m, int64_t now, bool *taken)
{
    struct str id;

    if (UNLIKELY(fast_reply_is(m->reply))) {
        *taken = batch_fast_take(s, m, now);
        return true;
    }
    if (LIKELY(!s->config.allow_atomic || m->header.n == 0))
        return false;
    id = header_get(m->header, STR("Nats-Batch-Id"));
    if (id.n > 0)
        *taken = batch_atomic_take(s, m, id, now);
    return id.n > 0;
}

static void answer(struct stream *s, const struct msg *m, const struct verdict *v, bool stored,
                   uint64_t seq)
{
    if (!stored && v->duplicate_of != 0) {
        ingest_ack(s, m->reply, v->duplicate_of, true);
    } else if (!stored) {
        ingest_error(s, m->reply, &v->error);
    } else {
        if (UNLIKELY(v->value.p != NULL))
            ingest_ack_value(s, m->reply, seq, v->value);
        else
            ingest_ack(s, m->reply, seq, false);
        s->open_assigned = true;
    }
}

/* False when it has to wait. */
static bool take(struct stream *s, const struct msg *m, int64_t now)
{
    struct verdict v;
    uint64_t seq = 0;
    bool stored, taken;

    if (take_batched(s, m, now, &taken))
        return taken;
    verdict_init(&v, m, false);
    stored = ingest_put(s, m, &v, now, &seq);
    if (m->reply.n > 0 && !s->config.no_ack && !v.waits)
        answer(s, m, &v, stored, seq);
    verdict_free(&v);
    return !v.waits;
}

bool ingest_own(struct stream *s, const struct msg *m, uint64_t *seq)
{
    struct verdict v;
    bool ok;

    verdict_init(&v, m, true);
    ok = ingest_put(s, m, &v, ingest_time(s), seq);
    verdict_free(&v);
    return ok;
}

/* Stream time: it never goes back. */
int64_t ingest_time(struct stream *s)
{
    int64_t now = io_wall(s->js->env->io);

    if (now < s->last_ts)
        now = s->last_ts;
    s->last_ts = now;
    return now;
}

bool stream_take(struct stream *s, const struct msg *m)
{
    return take(s, m, ingest_time(s));
}

/* ---- plain messages ---------------------------------------------------------------------------
 */

void stream_ingest_configure(struct stream *s)
{
    const struct stream_config *c = &s->config;

    s->plain = !c->sealed && !c->allow_msg_counter && c->discard != DISCARD_NEW &&
               c->retention != RETENTION_INTEREST && s->transform == NULL && s->republish == NULL;
    s->plain_max = c->max_msg_size > 0 ? (size_t) c->max_msg_size : SIZE_MAX;
}

static bool plain_now(const struct stream *s, const struct msg *run, unsigned n)
{
    const struct options *o = s->js->env->options;
    enum storage kind = (enum storage) s->config.storage;
    uint64_t msgs, bytes, more = 0;

    if (!s->plain || s->waits > 0 || s->schedules != NULL || s->js->env->refuse_ingest)
        return false;
    if (UNLIKELY(js_resources_limited(&s->js->shared->resources, kind)))
        for (unsigned i = 0; i < n; i++)
            more += size_of(s, run[i].subject.n, run[i].header.n, run[i].payload.n);
    store_stream_waiting(s->store, &msgs, &bytes);
    return msgs < o->js_max_buffered_msgs && bytes < o->js_max_buffered_bytes &&
           !js_resources_server_full(&s->js->shared->resources, kind, bytes) &&
           !js_resources_account_full(&s->js->shared->resources, kind, bytes + more);
}

/* False: it was not taken, and whoever takes it finds out why. */
static inline bool take_plain(struct stream *s, const struct msg *m, int64_t now)
{
    struct store_append a = {.subject = m->subject, .payload = m->payload, .ts = now};
    uint64_t seq;

    if (m->header.n > 0 || m->payload.n > s->plain_max)
        return false;
    if (fast_reply_is(m->reply)) {
        if (!batch_fast_append(s, m, now))
            return false;
    } else if (UNLIKELY(store_append(s->store, &a, &seq) != ERR_OK)) {
        return false;
    } else {
        s->assigned = seq;
        if (m->reply.n > 0 && !s->config.no_ack) {
            ingest_ack(s, m->reply, seq, false);
            s->open_assigned = true;
        }
    }
    if (UNLIKELY(s->last_id != NULL))
        remember(s, STR_NONE, 0, now);
    return true;
}

/* ---- from upstream ----------------------------------------------------------------------------
 */

bool stream_take_upstream(struct stream *s, const struct msg *m, int64_t time, bool mirror,
                          struct js_error *error)
{
    struct msg other;
    struct verdict v;
    uint64_t seq;
    bool ok;

    if (UNLIKELY(s->transform != NULL))
        m = stream_transform(s, m, &other);
    verdict_init(&v, m, true);
    v.mirror = mirror;
    if (mirror && time > s->last_ts)
        s->last_ts = time;
    ok = ingest_put(s, m, &v, mirror ? s->last_ts : ingest_time(s), &seq) || v.duplicate_of != 0;
    if (v.waits)
        ingest_store_failed(&v, ERR_LIMIT);
    if (!ok)
        *error = v.error;
    verdict_free(&v);
    return ok;
}

static void park(struct stream *s, const struct msg *m)
{
    struct verdict v = {0};

    if (stream_park(s, m))
        return;
    ingest_store_failed(&v, ERR_LIMIT);
    if (m->reply.n > 0 && !s->config.no_ack)
        ingest_error(s, m->reply, &v.error);
}

static __attribute__((noinline)) void take_or_park(struct stream *s, const struct msg *m,
                                                   int64_t now)
{
    struct msg other;

    if (UNLIKELY(s->transform != NULL))
        m = stream_transform(s, m, &other);
    if (UNLIKELY(s->waits > 0) || UNLIKELY(!take(s, m, now)))
        park(s, m);
}

static unsigned deliver(struct sink *sink, const struct msg *run, unsigned n)
{
    struct stream *s = CONTAINER_OF(sink, struct stream, sink);
    int64_t now = ingest_time(s);
    bool plain = plain_now(s, run, n);

    if (UNLIKELY(s->js->stopping))
        return n;
    for (unsigned i = 0; i < n; i++) {
        if (plain && LIKELY(take_plain(s, &run[i], now)))
            continue;
        take_or_park(s, &run[i], now);
        plain = plain_now(s, run + i + 1, n - i - 1);
    }
    return n;
}

/* For a trace: the stream, and the subject that it will have here. */
static void describe(struct sink *sink, const struct msg *m, struct buf *out)
{
    const struct stream *s = CONTAINER_OF(sink, struct stream, sink);
    struct buf subject = {0};

    if (s->transform == NULL ||
        !transform_subject(s->transform, m->subject, s->js->env->prng, &subject)) {
        buf_clear(&subject);
        buf_put_str(&subject, m->subject);
    }
    buf_puts(out, "{\"type\":\"js\",\"stream\":");
    jput_string(out, str_of(s->config.name));
    buf_puts(out, ",\"subject\":");
    jput_string(out, buf_str(&subject));
    buf_putc(out, '}');
    buf_free(&subject);
}

const struct sink_ops stream_sink_ops = {
    .deliver = deliver, .describe = describe, .kind = "stream"};
