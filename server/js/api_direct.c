/*
 * api_direct.c - DIRECT.GET: raw messages to the requester's inbox, one, a batch, or the last ones
 * of many subjects.
 *
 *     one     a sequence, the last or next of a subject, the first since a time
 *     batch   from there on, up to `batch` messages or `max_bytes`; then 204 EOB
 *     multi   the last message of every subject that matches multi_last, as it was at up_to_seq or
 *             up_to_time, in order of their sequences; then 204 EOB
 *
 * A request is a struct direct_get from its first step to its last status. Steps that may have to
 * wait for the disk go on in a callback: a time becomes a sequence, what is pending is counted,
 * (for multi) what was the last message of a subject then is looked for among its messages,
 * messages are read. What was published before the request is part of its answer (api_catch_up.c).
 * Sending stops after SLICE messages until the next turn of the loop, and longer
 * while the receiver is nearly full.
 *
 * Lifetime: on js->gets until its end. A stream that is deleted ends its reader, and the request
 * with what an empty stream would have said; js_close frees what is left.
 *
 * A receiver may take its time, and a start its own to read the subjects: so many may wait as the
 * API may have requests (request_queue_limit), in each account on each worker; one more is told so.
 * What waits is some hundred bytes: the headers of what is being sent are the worker's, and every
 * step that ends has let go of them.
 */
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "lib/io/io.h"
#include "server/js/api_int.h"
#include "server/js/stream_int.h"

#include <stdlib.h>
#include <string.h>

/* Subjects that one multi request may select, as at the peer. */
#define RESULTS_MAX 1024u
/* Messages sent in one go, and looked at while searching. */
#define SLICE 256u
#define SCAN_SLICE 1024u
#define STALL_NS 2000000u

struct direct_request {
    uint64_t seq, batch, max_bytes, up_to_seq;
    char *last_by_subj, *next_by_subj;
    int64_t start_time, up_to_time;
    bool no_hdr;
    struct str_list multi_last;
};

#define F(json, kind, member)                                                                      \
    {                                                                                              \
        json, kind, offsetof(struct direct_request, member), 0, NULL                               \
    }
static const struct json_field fields[] = {
    F("seq", JSON_U64_FIELD, seq),
    F("last_by_subj", JSON_STRING_FIELD, last_by_subj),
    F("next_by_subj", JSON_STRING_FIELD, next_by_subj),
    F("start_time", JSON_TIME_FIELD, start_time),
    F("no_hdr", JSON_BOOL_FIELD, no_hdr),
    F("batch", JSON_U64_FIELD, batch),
    F("max_bytes", JSON_U64_FIELD, max_bytes),
    F("up_to_seq", JSON_U64_FIELD, up_to_seq),
    F("up_to_time", JSON_TIME_FIELD, up_to_time),
    F("multi_last", JSON_LIST_FIELD, multi_last),
};

/* A subject whose last message came behind up_to: which one was it then? */
struct late {
    char *subject;
    uint64_t seq;
};

struct direct_get {
    struct list link;  /* js->gets */
    struct list waits; /* s->gets_behind */
    uint64_t behind;   /* ... for that message */
    struct js *js;
    struct direct_request q;
    struct store_reader reader;
    struct store_req req;
    struct wheel_timer next; /* goes on in the next turn */
    void (*step)(struct direct_get *g);
    bool in_store;  /* req is under way: it is freed when that completes */
    bool in_memory; /* the stream is */
    bool ended;
    char *reply, *stream;
    struct str filter; /* next_by_subj */
    struct str *filters;
    uint64_t sent, bytes, max_bytes;
    uint64_t pending, last; /* Nats-Num-Pending, Nats-Last-Sequence */
    uint64_t counted_to;    /* last sequence that `pending` knows of */
    uint64_t up_to;         /* multi */
    uint64_t *seqs;         /* multi: what is to be sent */
    size_t nseqs, at;
    struct late *late;
    size_t nlate;
};

/* What the router has of the messages that the current step sends: until it is flushed it holds
 * views of headers, and of payloads in a chunk. One for all, since no two send at a time. */
struct direct_out {
    unsigned routed;
    struct chunk *pinned;
    struct buf headers[SLICE];
};

/* ---- life ------------------------------------------------------------------------------------ */

/* Before a step ends, and before anything else is sent. */
static void unpin(struct direct_get *g)
{
    struct direct_out *out = g->js->direct_out;

    route_flush(g->js->env->router);
    if (out == NULL)
        return;
    out->routed = 0;
    if (out->pinned != NULL)
        chunk_put(out->pinned, g->js->env->chunks);
    out->pinned = NULL;
}

static void release(struct direct_get *g)
{
    for (size_t i = 0; i < g->nlate; i++)
        mem_free(g->late[i].subject);
    mem_free(g->late);
    mem_free(g->seqs);
    mem_free(g->filters);
    fields_release(fields, ARRAY_LEN(fields), &g->q);
    mem_free(g->reply);
    mem_free(g->stream);
    mem_free(g);
}

static void end(struct direct_get *g)
{
    unpin(g);
    list_remove(&g->link);
    list_remove(&g->waits);
    g->js->ngets--;
    io_timer_stop(g->js->env->io, &g->next);
    store_reader_deinit(&g->reader);
    g->ended = true;
    if (!g->in_store || g->js->store == NULL)
        release(g);
}

void direct_free_all(struct js *js)
{
    struct list *l;

    while ((l = list_first(&js->gets)) != NULL)
        end(LIST_ENTRY(l, struct direct_get, link));
    for (unsigned i = 0; js->direct_out != NULL && i < SLICE; i++)
        buf_free(&js->direct_out->headers[i]);
    mem_free(js->direct_out);
    js->direct_out = NULL;
}

static void ready(struct store_reader *r)
{
    struct direct_get *g = r->ctx;

    g->step(g);
}

static void next_turn(struct wheel_timer *t)
{
    struct direct_get *g = CONTAINER_OF(t, struct direct_get, next);

    g->step(g);
}

static void go_on_later(struct direct_get *g)
{
    io_timer_start_next(g->js->env->io, &g->next);
}

static void go_on_when_drained(struct direct_get *g)
{
    struct io *io = g->js->env->io;

    io_timer_start(io, &g->next, io_now(io) + STALL_NS);
}

/* ---- what is said ---------------------------------------------------------------------------- */

static void status(struct js *js, struct str to, const char *line)
{
    struct buf h = {0};

    buf_printf(&h, "NATS/1.0 %s\r\n\r\n", line);
    js_publish(js, to, STR_NONE, buf_str(&h), STR_NONE);
    buf_free(&h);
}

static void end_with(struct direct_get *g, const char *line)
{
    unpin(g);
    status(g->js, str_of(g->reply), line);
    end(g);
}

static bool is_multi(const struct direct_get *g)
{
    return g->q.multi_last.n > 0;
}

static void end_of_batch(struct direct_get *g)
{
    struct buf h = {0};

    unpin(g);
    buf_printf(&h, "NATS/1.0 204 EOB\r\nNats-Num-Pending: %llu\r\nNats-Last-Sequence: %llu\r\n",
               (unsigned long long) g->pending, (unsigned long long) g->last);
    if (is_multi(g))
        buf_printf(&h, "Nats-UpTo-Sequence: %llu\r\n", (unsigned long long) g->up_to);
    buf_puts(&h, "\r\n");
    js_publish(g->js, str_of(g->reply), STR_NONE, buf_str(&h), STR_NONE);
    buf_free(&h);
    end(g);
}

/* Six for every message of a batch: by a format they were a third of its cost. */
static void put_pair(struct buf *h, struct str key, struct str value)
{
    char *p = buf_reserve(h, key.n + value.n + 4);

    memcpy(p, key.p, key.n);
    memcpy(p + key.n, ": ", 2);
    memcpy(p + key.n + 2, value.p, value.n);
    memcpy(p + key.n + 2 + value.n, "\r\n", 2);
    h->n += key.n + value.n + 4;
}

/* The message's own lines, ours behind; the block's first line is replaced. */
static void put_header(struct direct_get *g, struct buf *h, const struct store_msg *m)
{
    char text[FMT_TIME_MAX];
    struct str rest = STR_NONE;

    buf_clear(h);
    buf_puts(h, "NATS/1.0\r\n");
    if (m->header.n > 0) {
        str_cut(m->header, '\n', &rest);
        if (rest.n >= 2)
            buf_put(h, rest.p, rest.n - 2);
    }
    put_pair(h, STR("Nats-Stream"), str_of(g->stream));
    put_pair(h, STR("Nats-Subject"), m->subject);
    put_pair(h, STR("Nats-Sequence"), str_from(text, fmt_u64(text, m->seq)));
    put_pair(h, STR("Nats-Time-Stamp"), str_from(text, fmt_time_rfc3339(text, m->ts)));
    if (g->q.batch > 0 || is_multi(g)) {
        put_pair(h, STR("Nats-Num-Pending"), str_from(text, fmt_u64(text, g->pending)));
        put_pair(h, STR("Nats-Last-Sequence"), str_from(text, fmt_u64(text, g->last)));
    }
    buf_puts(h, "\r\n");
}

/* False when the receiver is nearly full. */
static bool send(struct direct_get *g, const struct store_msg *m)
{
    struct env *env = g->js->env;
    struct direct_out *o = g->js->direct_out;
    struct msg out = {.subject = str_of(g->reply), .payload = m->payload, .flags = MSG_F_SYSTEM};
    struct buf *h;

    if (o == NULL)
        o = g->js->direct_out = mem_zalloc(sizeof(*o));
    if (o->routed == SLICE || m->chunk != o->pinned)
        unpin(g);
    if (o->pinned == NULL && m->chunk != NULL) {
        chunk_get(m->chunk);
        o->pinned = m->chunk;
    }
    h = &o->headers[o->routed++];
    if (!g->q.no_hdr || is_multi(g)) {
        put_header(g, h, m);
        out.header = buf_str(h);
    }
    out.chunk = m->chunk;
    g->last = m->seq;
    g->bytes += m->subject.n + m->header.n + m->payload.n;
    g->sent++;
    return !route_publish(env->router, g->js->account, &out).stall;
}

/* ---- one, and batches ------------------------------------------------------------------------ */

static uint64_t last_of(const struct direct_get *g)
{
    struct store_state st;

    store_stream_state(g->reader.stream, &st);
    return st.last_seq;
}

static void counted_again(struct store_req *req, enum err err)
{
    struct direct_get *g = CONTAINER_OF(req, struct direct_get, req);

    g->in_store = false;
    if (g->ended) {
        release(g);
        return;
    }
    if (err == ERR_OK)
        g->pending = req->count;
    end_of_batch(g);
}

static enum err count(struct direct_get *g, uint64_t from,
                      void (*done)(struct store_req *, enum err))
{
    enum err err;

    g->counted_to = last_of(g);
    g->req.done = done;
    g->in_store = true;
    err = store_count(g->reader.stream, from, g->filter.n > 0 ? &g->filter : NULL,
                      g->filter.n > 0 ? 1 : 0, &g->req.count, &g->req);
    if (err != ERR_AGAIN)
        done(&g->req, err);
    return err;
}

/* What has been stored since is pending too. */
static void finish_batch(struct direct_get *g)
{
    unpin(g);
    if (g->reader.stream != NULL && last_of(g) > g->counted_to)
        count(g, g->reader.seq, counted_again);
    else
        end_of_batch(g);
}

static bool is_full(const struct direct_get *g)
{
    return g->sent >= (g->q.batch > 0 ? g->q.batch : 1) || g->bytes >= g->max_bytes;
}

static void step_batch(struct direct_get *g)
{
    struct store_msg m;

    for (unsigned i = 0; i < SLICE; i++) {
        enum store_read got = STORE_READ_END;
        if (g->reader.stream != NULL)
            got = store_reader_next(&g->reader, &m);
        if (got == STORE_READ_WAIT) {
            unpin(g);
            return;
        }
        if (got != STORE_READ_MSG) {
            if (g->sent == 0)
                end_with(g, "404 Message Not Found");
            else
                finish_batch(g);
            return;
        }
        if (g->pending > 0)
            g->pending--;
        if (!send(g, &m)) {
            unpin(g);
            go_on_when_drained(g);
            return;
        }
        if (is_full(g)) {
            finish_batch(g);
            return;
        }
    }
    unpin(g);
    go_on_later(g);
}

static void counted(struct store_req *req, enum err err)
{
    struct direct_get *g = CONTAINER_OF(req, struct direct_get, req);

    g->in_store = false;
    if (g->ended) {
        release(g);
        return;
    }
    g->pending = err == ERR_OK ? req->count : 0;
    g->step = step_batch;
    step_batch(g);
}

/* Exactly this sequence, or the next of a subject. */
static void step_one(struct direct_get *g)
{
    struct store_msg m;
    enum store_read got = STORE_READ_GONE;

    if (g->reader.stream != NULL)
        got = g->filter.n > 0 || g->q.start_time != 0 ? store_reader_next(&g->reader, &m)
                                                      : store_reader_get(&g->reader, g->q.seq, &m);
    if (got == STORE_READ_WAIT)
        return;
    if (got != STORE_READ_MSG) {
        end_with(g, "404 Message Not Found");
        return;
    }
    send(g, &m);
    end(g);
}

/* The place to start at is known. */
static void start_reading(struct direct_get *g)
{
    store_reader_seek(&g->reader, g->q.seq > 0 ? g->q.seq : 1);
    if (g->q.batch > 0) {
        count(g, g->q.seq, counted);
    } else {
        g->step = step_one;
        step_one(g);
    }
}

/* ---- multi ----------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *) a;
    uint64_t y = *(const uint64_t *) b;

    return x < y ? -1 : x > y;
}

static void sort_seqs(struct direct_get *g)
{
    size_t n = 0;

    if (g->nseqs > 0)
        qsort(g->seqs, g->nseqs, sizeof(*g->seqs), by_value);
    for (size_t i = 0; i < g->nseqs; i++)
        if (n == 0 || g->seqs[n - 1] != g->seqs[i])
            g->seqs[n++] = g->seqs[i];
    g->nseqs = n;
}

static void add_seq(struct direct_get *g, uint64_t seq)
{
    if (g->nseqs % SLICE == 0)
        g->seqs = mem_realloc(g->seqs, (g->nseqs + SLICE) * sizeof(*g->seqs));
    g->seqs[g->nseqs++] = seq;
}

static struct late *find_late(struct direct_get *g, struct str subject)
{
    for (size_t i = 0; i < g->nlate; i++)
        if (str_eq(str_of(g->late[i].subject), subject))
            return &g->late[i];
    return NULL;
}

static bool collect(void *ctx, const struct store_subject *sub)
{
    struct direct_get *g = ctx;

    if (sub->last_seq <= g->up_to) {
        add_seq(g, sub->last_seq);
    } else if (sub->first_seq <= g->up_to && find_late(g, sub->subject) == NULL) {
        if (g->nlate % SLICE == 0)
            g->late = mem_realloc(g->late, (g->nlate + SLICE) * sizeof(*g->late));
        g->late[g->nlate++] = (struct late){mem_strndup(sub->subject.p, sub->subject.n), 0};
    }
    /* More than this of one filter are too many whatever the others had. */
    return g->nseqs + g->nlate <= 2 * RESULTS_MAX;
}

/* Without a message that is still there. */
static void step_multi(struct direct_get *g)
{
    struct store_msg m;

    for (unsigned i = 0; i < SLICE && g->at < g->nseqs; i++) {
        enum store_read got = STORE_READ_GONE;
        if (g->reader.stream != NULL)
            got = store_reader_get(&g->reader, g->seqs[g->at], &m);
        if (got == STORE_READ_WAIT) {
            unpin(g);
            return;
        }
        g->at++;
        g->pending = g->nseqs - g->at;
        if (got != STORE_READ_MSG || m.seq < g->q.seq)
            continue;
        if (!send(g, &m)) {
            unpin(g);
            go_on_when_drained(g);
            return;
        }
        if ((g->q.batch > 0 && g->sent >= g->q.batch) || g->bytes >= g->max_bytes) {
            end_of_batch(g);
            return;
        }
    }
    if (g->at == g->nseqs) {
        end_of_batch(g);
        return;
    }
    unpin(g);
    go_on_later(g);
}

static void send_multi(struct direct_get *g)
{
    if (g->nseqs == 0) {
        end_with(g, "404 No Results");
        return;
    }
    g->step = step_multi;
    step_multi(g);
}

static void late_found(struct direct_get *g)
{
    for (size_t i = 0; i < g->nlate; i++)
        if (g->late[i].seq > 0)
            add_seq(g, g->late[i].seq);
    sort_seqs(g);
    send_multi(g);
}

/* Walks over the messages of the late subjects up to up_to. */
static void step_search(struct direct_get *g)
{
    struct store_msg m;

    for (unsigned i = 0; i < SCAN_SLICE; i++) {
        enum store_read got = STORE_READ_END;
        struct late *late;
        if (g->reader.stream != NULL)
            got = store_reader_next(&g->reader, &m);
        if (got == STORE_READ_WAIT)
            return;
        if (got != STORE_READ_MSG || m.seq > g->up_to) {
            late_found(g);
            return;
        }
        late = find_late(g, m.subject);
        if (late != NULL)
            late->seq = m.seq;
    }
    go_on_later(g);
}

static void search(struct direct_get *g)
{
    struct store_stream *s = g->reader.stream;
    struct store_subject sub;
    uint64_t from = g->up_to;

    g->filters = mem_array(g->nlate, sizeof(*g->filters));
    for (size_t i = 0; i < g->nlate; i++) {
        g->filters[i] = str_of(g->late[i].subject);
        if (store_subject_get(s, g->filters[i], &sub) && sub.first_seq < from)
            from = sub.first_seq;
    }
    store_reader_deinit(&g->reader);
    store_reader_init(&g->reader, s, from, g->filters, (unsigned) g->nlate, ready, g);
    g->step = step_search;
    step_search(g);
}

static void select_subjects(struct direct_get *g)
{
    for (size_t i = 0; i < g->q.multi_last.n; i++) {
        struct str filter = str_of(g->q.multi_last.items[i]);
        if (filter.n > 0) /* an empty one is no subject here, to the store it is all of them */
            store_subjects_each(g->reader.stream, filter, collect, g);
        sort_seqs(g);
        if (g->nseqs + g->nlate > RESULTS_MAX) {
            end_with(g, "413 Too Many Results");
            return;
        }
    }
    if (g->nlate > 0)
        search(g);
    else
        send_multi(g);
}

/* ---- times become sequences ------------------------------------------------------------------ */

static void up_to_known(struct direct_get *g, uint64_t seq)
{
    struct store_state st;

    store_stream_state(g->reader.stream, &st);
    if (seq <= st.first_seq) {
        end_with(g, "404 No Results");
        return;
    }
    g->up_to = seq - 1;
    select_subjects(g);
}

static void time_known(struct store_req *req, enum err err)
{
    struct direct_get *g = CONTAINER_OF(req, struct direct_get, req);

    g->in_store = false;
    if (g->ended) {
        release(g);
        return;
    }
    if (err != ERR_OK || g->reader.stream == NULL) {
        end_with(g, "404 Message Not Found");
    } else if (is_multi(g)) {
        up_to_known(g, req->count);
    } else {
        g->q.seq = req->count;
        start_reading(g);
    }
}

static void find_time(struct direct_get *g, int64_t ts)
{
    enum err err;

    g->req.done = time_known;
    g->in_store = true;
    err = store_seq_at(g->reader.stream, ts, &g->req.count, &g->req);
    if (err != ERR_AGAIN)
        time_known(&g->req, err);
}

static void begin_multi(struct direct_get *g)
{
    if (g->q.up_to_time != 0) {
        find_time(g, g->q.up_to_time);
        return;
    }
    g->up_to = g->q.up_to_seq > 0 ? g->q.up_to_seq : last_of(g);
    /* A reader that goes on behind each answer ends with this; not at the peer's memory streams. */
    if (g->up_to > last_of(g) && !g->in_memory)
        end_with(g, "404 No Results");
    else
        select_subjects(g);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void resolve(struct direct_get *g)
{
    if (is_multi(g)) {
        begin_multi(g);
    } else if (g->q.start_time != 0) {
        find_time(g, g->q.start_time);
    } else {
        if (g->q.last_by_subj != NULL)
            g->q.seq = store_subject_last_match(g->reader.stream, str_of(g->q.last_by_subj));
        start_reading(g);
    }
}

/* After a wait: the stream may be gone. */
static void look(struct direct_get *g)
{
    if (g->reader.stream == NULL)
        end_with(g, "404 Message Not Found");
    else
        resolve(g);
}

static void subjects_known(struct store_req *req, enum err err)
{
    struct direct_get *g = CONTAINER_OF(req, struct direct_get, req);

    g->in_store = false;
    if (g->ended)
        release(g);
    else if (err == ERR_CLOSED)
        end_with(g, "404 Message Not Found");
    else
        look(g);
}

static bool waits_for_subjects(struct direct_get *g, struct stream *s)
{
    const struct direct_request *q = &g->q;
    size_t n = is_multi(g) ? q->multi_last.n : q->last_by_subj != NULL ? 1 : 0;
    bool waits = false;

    if (n == 0)
        return false;
    struct str *subjects = mem_array(n, sizeof(*subjects));
    for (size_t i = 0; i < n; i++)
        subjects[i] = str_of(is_multi(g) ? q->multi_last.items[i] : q->last_by_subj);
    waits = store_subjects_wait(s->store, subjects, (unsigned) n, &g->req);
    mem_free(subjects);
    return waits;
}

/* The message on its way to the disk that belongs to the answer; 0 = the durable ones are enough.
 * Who reads on from somewhere gets what is there, and waits at the end only. */
static uint64_t awaited(const struct direct_get *g, struct stream *s)
{
    const char *last = g->q.last_by_subj;
    uint64_t msgs, seq = s->assigned;

    if (last != NULL && !subject_has_wildcard(str_of(last)))
        seq = store_subject_last_assigned(s->store, str_of(last), &msgs);
    else if (last == NULL && !is_multi(g))
        seq = g->q.seq <= s->assigned ? g->q.seq : 0;
    return seq > s->durable ? seq : 0;
}

static bool waits_for_sync(struct direct_get *g, struct stream *s)
{
    g->behind = s->failed || s->assigned <= s->durable ? 0 : awaited(g, s);
    if (g->behind == 0)
        return false;
    g->step = look;
    stream_behind_wait(s);
    list_push_back(&s->gets_behind, &g->waits);
    return true;
}

void direct_let_go(struct stream *s, uint64_t up_to)
{
    struct list all, *l;

    list_init(&all);
    list_splice(&all, &s->gets_behind);
    while ((l = list_pop_front(&all)) != NULL) {
        struct direct_get *g = LIST_ENTRY(l, struct direct_get, waits);
        if (g->behind > up_to)
            list_push_back(&s->gets_behind, l);
        else if (s->js->store != NULL) /* else closed: freed with the others */
            go_on_later(g);
    }
}

/* Takes what q owns. */
static void begin(struct stream *s, struct str reply, const struct direct_request *q)
{
    struct direct_get *g = mem_zalloc(sizeof(*g));

    g->js = s->js;
    g->js->ngets++;
    g->q = *q;
    g->reply = mem_strndup(reply.p, reply.n);
    g->stream = mem_strdup(s->config.name);
    g->max_bytes = q->max_bytes > 0 ? q->max_bytes : s->js->env->options->max_pending;
    g->filter = str_of(q->next_by_subj);
    g->in_memory = s->config.storage == STORAGE_MEMORY;
    wheel_timer_init(&g->next, next_turn);
    list_push_back(&s->js->gets, &g->link);
    list_init(&g->waits);
    store_reader_init(&g->reader, s->store, 1, g->filter.n > 0 ? &g->filter : NULL,
                      g->filter.n > 0 ? 1 : 0, ready, g);
    g->req.done = subjects_known;
    g->in_store = waits_for_subjects(g, s);
    if (!g->in_store && !waits_for_sync(g, s))
        resolve(g);
}

static bool read_body(struct str body, struct direct_request *q)
{
    struct buf err = {0};
    bool nothing = str_eq(str_trim(body), STR("null"));
    json_t *object = nothing ? json_object() : json_parse_object(body, &err);
    bool ok = object != NULL && fields_read(object, fields, ARRAY_LEN(fields), q, false, &err);

    json_decref(object);
    buf_free(&err);
    return ok;
}

/* Why a request is refused, or NULL. */
static const char *fault(const struct direct_request *q)
{
    bool last = q->last_by_subj != NULL;
    bool next = q->next_by_subj != NULL;
    bool multi = q->multi_last.n > 0;
    bool time = q->start_time != 0;

    if (q->seq == 0 && !last && !next && !multi && !time)
        return "408 Empty Request";
    if ((q->seq > 0 && (last || time)) || (time && last) || (last && (next || multi)) ||
        (last && q->batch > 0) || (next && multi) || (q->up_to_seq > 0 && q->up_to_time != 0))
        return "408 Bad Request";
    return NULL;
}

/* $JS.API.DIRECT.GET.<stream>.<subject>: only how the last message on it is to be sent may be said.
 */
static const char *subject_fault(const struct direct_request *q)
{
    bool other = q->seq != 0 || q->last_by_subj != NULL || q->next_by_subj != NULL ||
                 q->batch != 0 || q->start_time != 0 || q->multi_last.n > 0 || q->up_to_seq != 0 ||
                 q->up_to_time != 0;

    return other ? "408 Bad Request" : NULL;
}

static void take(struct stream *s, const struct msg *m, struct str subject)
{
    struct direct_request q = {0};
    const char *why = NULL;

    if (s->js->ngets >= s->js->env->options->js_request_queue_limit)
        why = "429 Too Many Requests";
    else if (!api_level_ok(m->header))
        why = "412 Required Api Level";
    else if (m->payload.n == 0 && subject.n == 0)
        why = "408 Empty Request";
    else if (m->payload.n > 0 && !read_body(m->payload, &q))
        why = "408 Malformed Request";
    else
        why = subject.n > 0 ? subject_fault(&q) : fault(&q);
    if (why != NULL) {
        status(s->js, m->reply, why);
        fields_release(fields, ARRAY_LEN(fields), &q);
        return;
    }
    if (subject.n > 0)
        q.last_by_subj = mem_strndup(subject.p, subject.n);
    begin(s, m->reply, &q);
}

/* What is behind the name, of this stream or of the one it mirrors, is a subject. */
static unsigned deliver(struct sink *sink, const struct msg *run, unsigned n)
{
    struct stream *s = CONTAINER_OF(sink, struct stream, direct);

    for (unsigned i = 0; i < n; i++) {
        struct str tail = str_skip(api_tail(s->js, run[i].subject), strlen("DIRECT.GET."));
        struct str subject;
        str_cut(tail, '.', &subject);
        if (run[i].reply.n > 0)
            take(s, &run[i], subject);
    }
    return n;
}

const struct sink_ops direct_sink_ops = {.deliver = deliver, .kind = "direct"};
