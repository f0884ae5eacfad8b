/*
 * batch_atomic.c - atomic batches: all messages of a batch are stored, with consecutive sequences
 * and one timestamp, or none is.
 *
 * Headers: Nats-Batch-Id, Nats-Batch-Sequence from 1, and at the end Nats-Batch-Commit: "1" on the
 * last message, or "eob" on one more that is not stored. Until then messages are staged in memory,
 * and each is answered with an empty message. The commit is two passes without a way out between:
 *
 *   check   every message as if those before it were stored already. What they would change is kept
 *           beside the stream (struct diff): subjects, ids, messages and bytes. Where a later
 *           message depends on an earlier one of its batch in a way that the publisher can not mean
 *           (an expected sequence of a subject that the batch has written, a rollup that would
 *           remove part of the batch) it is an error. Any error refuses the whole batch.
 *   store   one call, one batch on the disk: a crash leaves all or nothing, and no commit shows a
 *           part of it.
 *
 * The check may have to wait for something that must be read (a counter, a time zone). Then the
 * batch stays as it is, complete, and its last message comes again when the stream goes on.
 *
 * On an interest stream messages that nobody wants are stored with the others and removed by the
 * sweep when they are durable.
 *
 * A batch is abandoned, with an advisory, when its publisher is silent for the timeout, leaves a
 * gap, or sends too many messages. What is staged is bounded by messages per batch, batches per
 * stream and per server, and bytes per stream (max_buffered_size).
 */
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/advisory.h"
#include "server/js/batches.h"
#include "server/js/publish_headers.h"
#include "server/js/stream_parts.h"

#include <string.h>

struct staged {
    struct str subject, header, payload; /* behind the struct */
};

struct batch {
    struct hmap_node node;
    struct stream *s;
    struct wheel_timer silent;
    uint64_t last; /* sequence that came last */
    bool complete; /* its last message came, and has to wait */
    struct staged **msgs;
    size_t n, cap;
    uint64_t bytes;
    size_t id_n;
    char id[BATCH_ID_MAX];
};

static struct str id_of(const struct batch *b)
{
    return str_from(b->id, b->id_n);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void stop_timer(struct batch *b)
{
    io_timer_stop(b->s->js->env->io, &b->silent);
}

static void batch_free(struct batch *b)
{
    struct stream *s = b->s;

    stop_timer(b);
    hmap_remove(&s->batches->atomic, &b->node);
    s->batches->staged -= b->bytes;
    atomic_fetch_sub(&s->js->shared->server->atomic_batches, 1);
    for (size_t i = 0; i < b->n; i++)
        mem_free(b->msgs[i]);
    mem_free(b->msgs);
    mem_free(b);
}

static void abandon(struct batch *b, const char *reason)
{
    struct stream *s = b->s;
    char id[BATCH_ID_MAX];
    size_t n = b->id_n;

    memcpy(id, b->id, n);
    batch_free(b);
    advise_batch_abandoned(s, str_from(id, n), reason);
}

static void timed_out(struct wheel_timer *t)
{
    abandon(CONTAINER_OF(t, struct batch, silent), "timeout");
}

static void restart_timer(struct batch *b)
{
    struct io *io = b->s->js->env->io;

    io_timer_start(io, &b->silent,
                   io_now(io) + (uint64_t) b->s->js->env->options->js_batch_timeout_ns);
}

static struct batch *batch_find(struct stream *s, struct str id)
{
    uint64_t h = hash_bytes(id.p, id.n, 0);

    for (struct hmap_node *n = hmap_first(&stream_batches(s)->atomic, h); n != NULL;
         n = hmap_next(n, h)) {
        struct batch *b = CONTAINER_OF(n, struct batch, node);
        if (str_eq(id_of(b), id))
            return b;
    }
    return NULL;
}

static struct batch *batch_new(struct stream *s, struct str id)
{
    const struct options *o = s->js->env->options;
    struct batch *b;

    if (s->batches->atomic.count >= o->js_batch_inflight_per_stream)
        return NULL;
    if (atomic_fetch_add(&s->js->shared->server->atomic_batches, 1) >= o->js_batch_inflight_total) {
        atomic_fetch_sub(&s->js->shared->server->atomic_batches, 1);
        return NULL;
    }
    b = mem_zalloc(sizeof(*b));
    b->s = s;
    b->id_n = id.n;
    memcpy(b->id, id.p, id.n);
    wheel_timer_init(&b->silent, timed_out);
    hmap_insert(&s->batches->atomic, &b->node, hash_bytes(id.p, id.n, 0));
    return b;
}

void batch_atomic_drop_all(struct stream *s)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while (s->batches != NULL && (n = hmap_each(&s->batches->atomic, &it)) != NULL)
        batch_free(CONTAINER_OF(n, struct batch, node));
}

/* ---- staging --------------------------------------------------------------------------------- */

static struct str keep(char **at, struct str s)
{
    char *to = *at;

    if (s.n == 0)
        return STR_NONE;
    memcpy(to, s.p, s.n);
    *at += s.n;
    return str_from(to, s.n);
}

/* header: the message's, or what is left of it. */
static bool stage(struct batch *b, const struct msg *m, struct str header)
{
    size_t n = m->subject.n + header.n + m->payload.n;
    uint64_t most = b->s->js->env->options->js_max_buffered_bytes;
    struct staged *g;
    char *at;

    if (b->s->batches->staged + n > most || b->bytes + n > STORE_GROUP_BYTES_MAX)
        return false;
    g = mem_try_alloc(sizeof(*g) + n);
    if (g == NULL)
        return false;
    at = (char *) (g + 1);
    g->subject = keep(&at, m->subject);
    g->header = keep(&at, header);
    g->payload = keep(&at, m->payload);
    if (b->n == b->cap) {
        b->cap = b->cap > 0 ? 2 * b->cap : 16;
        b->msgs = mem_realloc(b->msgs, b->cap * sizeof(struct staged *));
    }
    b->msgs[b->n++] = g;
    b->bytes += n;
    b->s->batches->staged += n;
    return true;
}

/* The last message of a batch that ended by a marker gets the header that it would have had. */
static void mark_last(struct batch *b)
{
    struct staged *old = b->msgs[b->n - 1];
    struct msg m = {.subject = old->subject, .payload = old->payload};
    struct buf header = {0};

    header_append(&header, old->header, STR("Nats-Batch-Commit"), STR("1"));
    if (stage(b, &m, buf_str(&header))) {
        b->msgs[b->n - 2] = b->msgs[b->n - 1];
        b->n--;
        mem_free(old);
    }
    buf_free(&header);
}

/* ---- checking -------------------------------------------------------------------------------- */

/* What the messages of the batch so far would change. */
struct change {
    struct hmap_node node;
    struct str text;
    uint64_t msgs;
    size_t last;    /* index of the last message with it that was republished, from 1 */
    size_t checked; /* ... that was checked, from 1 */
};

struct diff {
    struct hmap subjects, ids;
    const struct verdict *verdicts; /* of the messages */
    struct change *nodes;           /* two for each message */
    size_t used;
    uint64_t msgs, bytes;
};

static struct change *diff_find(const struct hmap *map, struct str text)
{
    uint64_t h = hash_bytes(text.p, text.n, 0);

    for (struct hmap_node *n = hmap_first(map, h); n != NULL; n = hmap_next(n, h)) {
        struct change *c = CONTAINER_OF(n, struct change, node);
        if (str_eq(c->text, text))
            return c;
    }
    return NULL;
}

static struct change *diff_add(struct diff *d, struct hmap *map, struct str text)
{
    struct change *c = diff_find(map, text);

    if (c == NULL) {
        c = &d->nodes[d->used++];
        *c = (struct change){.text = text};
        hmap_insert(map, &c->node, hash_bytes(text.p, text.n, 0));
    }
    c->msgs++;
    return c;
}

const struct verdict *ingest_before(const struct verdict *v, struct str subject)
{
    const struct change *c = v->diff != NULL ? diff_find(&v->diff->subjects, subject) : NULL;

    return c != NULL ? &v->diff->verdicts[c->checked - 1] : NULL;
}

/* The number of the message in its batch, from 0, and its headers. */
static bool check_expected(struct stream *s, const struct diff *d, size_t k, struct str subject,
                           const struct publish_headers *h, struct verdict *v)
{
    struct str text = h->of[HEADER_EXPECTED_LAST_SEQUENCE];
    uint64_t expected;

    if (text.n > 0 && k > 0) {
        if (!str_to_u64(text, &expected) || expected != s->assigned + k)
            return js_fail(&v->error, JS_ERR_STREAM_WRONG_LAST_SEQUENCE, "%llu",
                           (unsigned long long) (s->assigned + k));
        return js_fail(&v->error, JS_ERR_STREAM_WRONG_LAST_SEQUENCE_CONSTANT, NULL);
    }
    if (h->of[HEADER_EXPECTED_LAST_SUBJECT_SEQUENCE].n == 0)
        return true;
    text = h->of[HEADER_EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT];
    return diff_find(&d->subjects, text.n > 0 ? text : subject) == NULL ||
           js_fail(&v->error, JS_ERR_STREAM_WRONG_LAST_SEQUENCE_CONSTANT, NULL);
}

static bool check_batch_rollup(const struct stream *s, const struct diff *d, size_t k,
                               struct str subject, struct str header, struct verdict *v)
{
    enum rollup_kind how = ingest_rollup_of(header);

    if (!s->config.allow_rollup_hdrs || s->config.deny_purge)
        return true; /* refused by the check that every message gets */
    if (how == ROLLUP_SUB && diff_find(&d->subjects, subject) != NULL)
        return js_fail(&v->error, JS_ERR_STREAM_ROLLUP_FAILED, "batch rollup sub invalid");
    if (how == ROLLUP_ALL && k > 0)
        return js_fail(&v->error, JS_ERR_STREAM_ROLLUP_FAILED, "batch rollup all invalid");
    return true;
}

static bool check_headers(struct stream *s, const struct diff *d, size_t k, const struct msg *m,
                          struct verdict *v)
{
    struct publish_headers h;

    if (!publish_headers_find(m->header, &h))
        return true;
    if (h.of[HEADER_EXPECTED_LAST_MSG_ID].n > 0)
        return js_fail(&v->error, JS_ERR_ATOMIC_PUBLISH_UNSUPPORTED_HEADER_BATCH,
                       "Nats-Expected-Last-Msg-Id");
    if (h.of[HEADER_MSG_ID].n > 0 && diff_find(&d->ids, h.of[HEADER_MSG_ID]) != NULL)
        return js_fail(&v->error, JS_ERR_ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE, NULL);
    if (s->config.allow_msg_counter) /* it has no place for what follows, and says so itself */
        return true;
    return check_expected(s, d, k, m->subject, &h, v) &&
           check_batch_rollup(s, d, k, m->subject, m->header, v);
}

static enum store_level level_of(const struct stream *s)
{
    return s->config.storage == STORAGE_MEMORY ? STORE_MEMORY : STORE_DURABLE;
}

/* With this message and those before it. */
static bool check_limits(struct stream *s, const struct diff *d, const struct change *of_subject,
                         struct str header, struct verdict *v)
{
    const struct stream_config *c = &s->config;
    uint64_t last, msgs, bytes, n;

    if (!ingest_check_account(s, d->bytes, v))
        return false;
    if (c->discard != DISCARD_NEW)
        return true;
    store_stream_state_assigned(s->store, &last, &msgs, &bytes);
    if (c->max_msgs > 0 && msgs + d->msgs > (uint64_t) c->max_msgs)
        return ingest_store_failed(v, ERR_MAX_MSGS);
    if (c->max_bytes > 0 && bytes + d->bytes > (uint64_t) c->max_bytes)
        return ingest_store_failed(v, ERR_MAX_BYTES);
    if (!c->discard_new_per_subject || ingest_rollup_of(header) != ROLLUP_NONE)
        return true;
    store_subject_last_assigned(s->store, of_subject->text, &n);
    return n + of_subject->msgs <= (uint64_t) c->max_msgs_per_subject ||
           ingest_store_failed(v, ERR_MAX_PER_SUBJECT);
}

static bool check_one(struct stream *s, struct diff *d, size_t k, const struct msg *m, int64_t now,
                      struct verdict *v)
{
    struct change *c;

    if (!check_headers(s, d, k, m, v))
        return false;
    if (!ingest_check(s, m, now, v) || !ingest_check_ttl(s, v)) {
        if (v->duplicate_of != 0)
            js_fail(&v->error, JS_ERR_ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE, NULL);
        return false;
    }
    if (v->scheduled && diff_find(&d->subjects, m->subject) != NULL) /* it rolls its subject up */
        return js_fail(&v->error, JS_ERR_STREAM_ROLLUP_FAILED, "batch rollup sub invalid");
    if (v->id.n > 0)
        diff_add(d, &d->ids, v->id);
    c = diff_add(d, &d->subjects, m->subject);
    c->checked = k + 1;
    d->msgs++;
    d->bytes += store_msg_bytes(level_of(s), m->subject.n, v->header.n, v->payload.n);
    return check_limits(s, d, c, v->header, v);
}

/* ---- committing ------------------------------------------------------------------------------ */

struct commit {
    struct batch *b;
    struct diff d;
    struct msg *msgs;
    struct verdict *verdicts;
    struct store_append *appends;
    size_t checked; /* verdicts to release */
};

static void commit_init(struct commit *c, struct batch *b)
{
    *c = (struct commit){.b = b};
    c->d.nodes = mem_array(2 * b->n, sizeof(*c->d.nodes));
    hmap_init(&c->d.subjects);
    hmap_init(&c->d.ids);
    c->msgs = mem_array(b->n, sizeof(*c->msgs));
    c->verdicts = mem_array(b->n, sizeof(*c->verdicts));
    c->d.verdicts = c->verdicts;
    c->appends = mem_array(b->n, sizeof(*c->appends));
}

static void commit_deinit(struct commit *c)
{
    for (size_t i = 0; i < c->checked; i++)
        verdict_free(&c->verdicts[i]);
    hmap_deinit(&c->d.subjects);
    hmap_deinit(&c->d.ids);
    mem_free(c->d.nodes);
    mem_free(c->msgs);
    mem_free(c->verdicts);
    mem_free(c->appends);
}

static bool check_all(struct commit *c, int64_t now)
{
    for (size_t k = 0; k < c->b->n; k++) {
        struct staged *g = c->b->msgs[k];
        struct verdict *v = &c->verdicts[k];
        c->msgs[k] =
            (struct msg){.subject = g->subject, .header = g->header, .payload = g->payload};
        verdict_init(v, &c->msgs[k], false);
        v->batched = true;
        v->stored = true;
        v->diff = &c->d;
        c->checked = k + 1;
        if (!check_one(c->b->s, &c->d, k, &c->msgs[k], now, v))
            return false;
        c->appends[k] = (struct store_append){.subject = g->subject,
                                              .header = v->header,
                                              .payload = v->payload,
                                              .ts = now,
                                              .flags = ingest_store_flags(v)};
    }
    return true;
}

/* The sequence of the message with this subject before number k: the batch's, or the stream's. */
static void note_republish(struct commit *c, const uint64_t *before, uint64_t first)
{
    struct stream *s = c->b->s;

    if (s->republish == NULL)
        return;
    for (size_t k = 0; k < c->b->n; k++) {
        struct change *ch = diff_find(&c->d.subjects, c->msgs[k].subject);
        uint64_t last = ch->last > 0 ? first + ch->last - 1 : before[k];
        stream_republish_note(s, c->msgs[k].subject, first + k, last);
        ch->last = k + 1;
    }
}

static enum err store_all(struct commit *c, int64_t now, uint64_t *last)
{
    struct stream *s = c->b->s;
    size_t n = c->b->n;
    uint64_t *before = mem_array(n, sizeof(*before));
    uint64_t first = 0;
    enum err err;

    for (size_t k = 0; s->republish != NULL && k < n; k++)
        before[k] = stream_republish_last(s, c->msgs[k].subject);
    err = store_append_group(s->store, c->appends, n, &first);
    if (err == ERR_OK) {
        for (size_t k = 0; k < n; k++)
            ingest_stored(s, &c->msgs[k], &c->verdicts[k], now, first + k);
        note_republish(c, before, first);
        *last = first + n - 1;
    }
    mem_free(before);
    return err;
}

/* Those that nobody wants are looked for when they are durable. */
static void recheck_later(struct stream *s, uint64_t first, uint64_t last)
{
    struct stream_batches *all = s->batches;

    if (s->config.retention != RETENTION_INTEREST)
        return;
    if (all->recheck_first == 0)
        all->recheck_first = first;
    all->recheck_last = last;
}

/* False when it has to wait, and the batch with it. */
static bool commit(struct batch *b, const struct msg *m, int64_t now)
{
    struct stream *s = b->s;
    struct commit c;
    struct js_error error = {0};
    uint64_t last = 0;
    enum err err;

    commit_init(&c, b);
    if (!check_all(&c, now)) {
        if (c.verdicts[c.checked - 1].waits) {
            commit_deinit(&c);
            b->complete = true;
            stop_timer(b); /* now it is us who are silent */
            return false;
        }
        error = c.verdicts[c.checked - 1].error;
    } else if ((err = store_all(&c, now, &last)) != ERR_OK) {
        ingest_store_failed(&c.verdicts[0], err);
        error = c.verdicts[0].error;
    } else {
        recheck_later(s, last - b->n + 1, last);
    }
    if (m->reply.n == 0 || s->config.no_ack)
        ;
    else if (last == 0)
        ingest_error(s, m->reply, &error);
    else
        ingest_batch_ack(s, m->reply, last, id_of(b), b->n);
    commit_deinit(&c);
    batch_free(b);
    return true;
}

/* ---- taking ---------------------------------------------------------------------------------- */

struct wish {
    uint64_t seq;
    bool commit, eob, commit_wrong;
};

static bool read_wish(const struct msg *m, struct wish *w)
{
    struct str seq = header_get(m->header, STR("Nats-Batch-Sequence"));
    struct str commit = header_get(m->header, STR("Nats-Batch-Commit"));

    w->commit = commit.p != NULL;
    w->eob = str_eq(commit, STR("eob"));
    w->commit_wrong = w->commit && !w->eob && !str_eq(commit, STR("1"));
    return str_to_u64(seq, &w->seq);
}

static bool too_large(const struct stream *s, const struct wish *w, struct js_error *err)
{
    uint64_t most = s->js->env->options->js_batch_msgs;

    if (most > STORE_GROUP_MSGS_MAX)
        most = STORE_GROUP_MSGS_MAX;
    return w->seq - (w->eob ? 1 : 0) > most &&
           !js_fail(err, JS_ERR_ATOMIC_PUBLISH_TOO_LARGE_BATCH, "%llu", (unsigned long long) most);
}

/* The batch that the message belongs to. */
static struct batch *find_or_begin(struct stream *s, struct str id, const struct wish *w,
                                   struct js_error *err)
{
    struct batch *b = batch_find(s, id);

    if (b != NULL)
        return b;
    if (w->seq != 1) {
        if (!too_large(s, w, err))
            js_fail(err, JS_ERR_ATOMIC_PUBLISH_INCOMPLETE_BATCH, NULL);
        return NULL;
    }
    b = batch_new(s, id);
    if (b == NULL)
        js_fail(err, JS_ERR_ATOMIC_PUBLISH_TOO_MANY_INFLIGHT, NULL);
    return b;
}

/* Why the batch ends here without a commit, with the reason of the advisory (NULL = none). */
static bool fits(struct batch *b, const struct msg *m, const struct wish *w, const char **reason,
                 struct js_error *err)
{
    struct buf rest = {0};
    bool level, ok = true;

    *reason = NULL;
    if (w->commit_wrong)
        return js_fail(err, JS_ERR_ATOMIC_PUBLISH_INVALID_BATCH_COMMIT, NULL);
    *reason = "unsupported";
    if (!batch_level_met(m->header, &level))
        return js_fail(err, JS_ERR_REQUIRED_API_LEVEL, NULL);
    restart_timer(b);
    *reason = "incomplete";
    if (++b->last != w->seq || (w->seq == 1 && w->eob))
        return js_fail(err, JS_ERR_ATOMIC_PUBLISH_INCOMPLETE_BATCH, NULL);
    *reason = "large";
    if (too_large(b->s, w, err))
        return false;
    if (level)
        header_remove(&rest, m->header, STR("Nats-Required-Api-Level"));
    if (!w->eob && !stage(b, m, level ? buf_str(&rest) : m->header))
        ok = js_fail(err, JS_ERR_INSUFFICIENT_RESOURCES, NULL);
    buf_free(&rest);
    return ok;
}

/* Is it the message that committed a batch, and had to wait? It was checked then, and is staged. */
static bool comes_again(struct stream *s, const struct msg *m, struct str id)
{
    const struct batch *b = batch_find(s, id);
    struct wish w;

    return b != NULL && b->complete && read_wish(m, &w) && w.commit && w.seq == b->last;
}

bool batch_atomic_take(struct stream *s, const struct msg *m, struct str id, int64_t now)
{
    bool wants_reply = m->reply.n > 0 && !s->config.no_ack;
    struct js_error err = {0};
    const char *reason = NULL;
    struct batch *b = NULL;
    bool again = comes_again(s, m, id);
    struct wish w;

    if (!again && !batch_check_stream(s, m, &err))
        ;
    else if (id.n > BATCH_ID_MAX)
        js_fail(&err, JS_ERR_ATOMIC_PUBLISH_INVALID_BATCH_ID, NULL);
    else if (!read_wish(m, &w))
        js_fail(&err, JS_ERR_ATOMIC_PUBLISH_MISSING_SEQ, NULL);
    else
        b = find_or_begin(s, id, &w, &err);
    if (b != NULL && !again && !fits(b, m, &w, &reason, &err)) {
        if (reason != NULL)
            abandon(b, reason);
        else
            batch_free(b);
        b = NULL;
    }
    if (b == NULL) {
        if (wants_reply)
            ingest_error(s, m->reply, &err);
        return true;
    }
    if (w.eob && !again)
        mark_last(b);
    if (w.commit)
        return commit(b, m, now);
    if (wants_reply)
        js_publish(s->js, m->reply, STR_NONE, STR_NONE, STR_NONE);
    return true;
}
