/*
 * api_direct.c - DIRECT.GET: raw messages to the requester's inbox, one, a batch, or the last ones
 * of many subjects.
 *
 *     one     a sequence, the last or next of a subject, the first since a time
 *     batch   from there on, up to `batch` messages or `max_bytes`; then 204 EOB
 *     multi   the last message of every subject that matches multi_last, as it was at up_to_seq or
 *             up_to_time, in order of their sequences; then 204 EOB
 *
 * A request is a struct direct_get from its first step to its last status. Here it is read, refused
 * or begun: subjects that a start has not read yet are waited for, and what was published before
 * the request (api_catch_up.c), which is part of its answer; a time becomes a sequence. Then
 * direct_batch.c or direct_multi.c carry it out. Steps that may have to wait for the disk go on in
 * a callback; sending stops after DIRECT_SLICE messages until the next turn of the loop, and longer
 * while the receiver is nearly full.
 *
 * Lifetime: on js->gets until its end. A stream that is deleted ends its reader, and the request
 * with what an empty stream would have said; js_close frees what is left.
 *
 * A receiver may take its time, a disk, and a start that reads the subjects: so many may wait as
 * eight times what the API may have of requests (request_queue_limit; these are smaller), in each
 * account on each worker; one more is told so.
 */
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "lib/io/io.h"
#include "server/js/api_int.h"
#include "server/js/direct_int.h"

#include <string.h>

#define STALL_NS 2000000u
#define GETS_TO_A_REQUEST 8u

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

/* ---- life ------------------------------------------------------------------------------------ */

void direct_get_release(struct direct_get *g)
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

void direct_get_end(struct direct_get *g)
{
    direct_get_unpin(g);
    list_remove(&g->link);
    list_remove(&g->waits);
    g->js->ngets--;
    io_timer_stop(g->js->env->io, &g->next);
    store_reader_deinit(&g->reader);
    g->ended = true;
    if (!g->in_store || g->js->store == NULL)
        direct_get_release(g);
}

void direct_free_all(struct js *js)
{
    struct list *l;

    while ((l = list_first(&js->gets)) != NULL)
        direct_get_end(LIST_ENTRY(l, struct direct_get, link));
    direct_get_out_free(js);
}

void direct_get_ready(struct store_reader *r)
{
    struct direct_get *g = r->ctx;

    g->step(g);
}

static void next_turn(struct wheel_timer *t)
{
    struct direct_get *g = CONTAINER_OF(t, struct direct_get, next);

    g->step(g);
}

void direct_get_go_on_later(struct direct_get *g)
{
    io_timer_start_next(g->js->env->io, &g->next);
}

void direct_get_go_on_when_drained(struct direct_get *g)
{
    struct io *io = g->js->env->io;

    io_timer_start(io, &g->next, io_now(io) + STALL_NS);
}

uint64_t direct_get_last_of(const struct direct_get *g)
{
    struct store_state st;

    store_stream_state(g->reader.stream, &st);
    return st.last_seq;
}

/* ---- times become sequences ------------------------------------------------------------------ */

static void time_known(struct store_req *req, enum err err)
{
    struct direct_get *g = CONTAINER_OF(req, struct direct_get, req);

    g->in_store = false;
    if (g->ended) {
        direct_get_release(g);
        return;
    }
    if (err != ERR_OK || g->reader.stream == NULL) {
        direct_get_end_with(g, "404 Message Not Found");
    } else if (direct_get_is_multi(g)) {
        direct_get_multi_up_to(g, req->count);
    } else {
        g->q.seq = req->count;
        direct_get_start_reading(g);
    }
}

void direct_get_find_time(struct direct_get *g, int64_t ts)
{
    enum err err;

    g->req.done = time_known;
    g->in_store = true;
    err = store_seq_at(g->reader.stream, ts, &g->req.count, &g->req);
    if (err != ERR_AGAIN)
        time_known(&g->req, err);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void resolve(struct direct_get *g)
{
    if (direct_get_is_multi(g)) {
        direct_get_begin_multi(g);
    } else if (g->q.start_time != 0) {
        direct_get_find_time(g, g->q.start_time);
    } else {
        if (g->q.last_by_subj != NULL)
            g->q.seq = store_subject_last_match(g->reader.stream, str_of(g->q.last_by_subj));
        direct_get_start_reading(g);
    }
}

/* After a wait: the stream may be gone. */
static void look(struct direct_get *g)
{
    if (g->reader.stream == NULL)
        direct_get_end_with(g, "404 Message Not Found");
    else
        resolve(g);
}

static void subjects_known(struct store_req *req, enum err err)
{
    struct direct_get *g = CONTAINER_OF(req, struct direct_get, req);

    g->in_store = false;
    if (g->ended)
        direct_get_release(g);
    else if (err == ERR_CLOSED)
        direct_get_end_with(g, "404 Message Not Found");
    else
        look(g);
}

static bool waits_for_subjects(struct direct_get *g, struct stream *s)
{
    const struct direct_request *q = &g->q;
    size_t n = direct_get_is_multi(g) ? q->multi_last.n : q->last_by_subj != NULL ? 1 : 0;
    bool waits = false;

    if (n == 0)
        return false;
    struct str *subjects = mem_array(n, sizeof(*subjects));
    for (size_t i = 0; i < n; i++)
        subjects[i] = str_of(direct_get_is_multi(g) ? q->multi_last.items[i] : q->last_by_subj);
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
    else if (last == NULL && !direct_get_is_multi(g))
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
            direct_get_go_on_later(g);
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
                      g->filter.n > 0 ? 1 : 0, direct_get_ready, g);
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

static bool is_one_too_many(const struct js *js)
{
    return js->ngets >= (uint64_t) js->env->options->js_request_queue_limit * GETS_TO_A_REQUEST;
}

static void take(struct stream *s, const struct msg *m, struct str subject)
{
    struct direct_request q = {0};
    const char *why = NULL;

    if (is_one_too_many(s->js))
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
        direct_get_status(s->js, m->reply, why);
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
