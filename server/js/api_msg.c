/*
 * api_msg.c - single messages: STREAM.MSG.GET, STREAM.MSG.DELETE and DIRECT.GET.
 *
 * A get may have to wait for the disk: `fetch` keeps its own reader and tries again when the store
 * says ready. It dies with its answer, or with its stream (the reader is then ended and the answer
 * is "no message found").
 */
#include "lib/base/base64.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/js_int.h"

#include <stdio.h>
#include <string.h>

struct get_request {
    uint64_t seq, batch, max_bytes, up_to_seq;
    char *last_by_subj, *next_by_subj;
    int64_t start_time, up_to_time;
    bool no_hdr;
    json_t *multi_last;
};

#define F(json, kind, member)                                                                      \
    {                                                                                              \
        json, kind, offsetof(struct get_request, member), 0, NULL                                  \
    }
static const struct json_field get_fields[] = {
    F("seq", JSON_U64_FIELD, seq),
    F("last_by_subj", JSON_STRING_FIELD, last_by_subj),
    F("next_by_subj", JSON_STRING_FIELD, next_by_subj),
    F("start_time", JSON_TIME_FIELD, start_time),
    F("no_hdr", JSON_BOOL_FIELD, no_hdr),
    F("batch", JSON_U64_FIELD, batch),
    F("max_bytes", JSON_U64_FIELD, max_bytes),
    F("up_to_seq", JSON_U64_FIELD, up_to_seq),
    F("up_to_time", JSON_TIME_FIELD, up_to_time),
    F("multi_last", JSON_RAW_FIELD, multi_last),
};
#define NGET ARRAY_LEN(get_fields)

/* ---- fetching -------------------------------------------------------------------------------- */

struct fetch {
    struct store_reader reader;
    struct store_req req; /* of store_seq_at */
    struct js *js;
    struct str filter;
    char *filter_text;
    uint64_t seq;
    bool exact; /* this sequence or nothing */
    bool no_hdr;
    struct api_request *r;                                     /* MSG.GET, or */
    char *reply;                                               /* DIRECT.GET */
    char stream_name[256];                                     /* ... and the name of its stream */
    void (*found)(struct fetch *f, const struct store_msg *m); /* m NULL: there is none */
};

static void end_fetch(struct fetch *f)
{
    store_reader_deinit(&f->reader);
    mem_free(f->filter_text);
    mem_free(f->reply);
    mem_free(f);
}

static void try_fetch(struct fetch *f)
{
    struct store_msg m;
    enum store_read got = STORE_READ_GONE;

    if (f->reader.stream != NULL)
        got = f->exact ? store_reader_get(&f->reader, f->seq, &m)
                       : store_reader_next(&f->reader, &m);
    if (got == STORE_READ_WAIT)
        return;
    f->found(f, got == STORE_READ_MSG ? &m : NULL);
    end_fetch(f);
}

static void ready(struct store_reader *reader)
{
    try_fetch(CONTAINER_OF(reader, struct fetch, reader));
}

static void start_fetch(struct fetch *f, struct stream *s)
{
    store_reader_init(&f->reader, s->store, f->seq, f->filter.n > 0 ? &f->filter : NULL,
                      f->filter.n > 0 ? 1 : 0, ready, f);
    try_fetch(f);
}

static void time_found(struct store_req *req, enum err err)
{
    struct fetch *f = CONTAINER_OF(req, struct fetch, req);

    if (err != ERR_OK) {
        f->found(f, NULL);
        end_fetch(f);
        return;
    }
    f->seq = req->count;
    store_reader_seek(&f->reader, f->seq);
    try_fetch(f);
}

/* Turns what was asked for into a sequence and a filter, and begins. */
static void resolve(struct fetch *f, struct stream *s, const struct get_request *q)
{
    enum err err;

    f->no_hdr = q->no_hdr;
    if (q->last_by_subj != NULL) {
        f->seq = store_subject_last_match(s->store, str_of(q->last_by_subj));
        f->exact = true;
    } else if (q->next_by_subj != NULL) {
        f->filter_text = mem_strdup(q->next_by_subj);
        f->filter = str_of(f->filter_text);
        f->seq = q->seq > 0 ? q->seq : 1;
    } else if (q->start_time != 0) {
        f->req.done = time_found;
        err = store_seq_at(s->store, q->start_time, &f->seq, &f->req);
        if (err == ERR_AGAIN) {
            store_reader_init(&f->reader, s->store, 1, NULL, 0, ready, f);
            return;
        }
    } else {
        f->seq = q->seq;
        f->exact = true;
    }
    start_fetch(f, s);
}

/* ---- STREAM.MSG.GET -------------------------------------------------------------------------- */

static void answer_get(struct fetch *f, const struct store_msg *m)
{
    struct buf *b = &f->r->out;

    if (m == NULL) {
        api_error_kind(f->r, JS_ERR_NO_MESSAGE_FOUND);
        return;
    }
    buf_puts(b, ",\"message\":{\"subject\":");
    jput_string(b, m->subject);
    buf_printf(b, ",\"seq\":%llu", (unsigned long long) m->seq);
    if (m->header.n > 0 && !f->no_hdr) {
        buf_puts(b, ",\"hdrs\":\"");
        base64_encode(b, m->header);
        buf_putc(b, '"');
    }
    if (m->payload.n > 0) {
        buf_puts(b, ",\"data\":\"");
        base64_encode(b, m->payload);
        buf_putc(b, '"');
    }
    buf_puts(b, ",\"time\":");
    jput_time(b, m->ts);
    buf_putc(b, '}');
    api_reply(f->r);
}

/* Exactly one way of asking; `seq` may go with next_by_subj. */
static bool one_way(const struct get_request *q)
{
    int ways = (q->last_by_subj != NULL) + (q->next_by_subj != NULL) + (q->start_time != 0);

    if (q->batch != 0 || q->max_bytes != 0 || q->up_to_seq != 0 || q->up_to_time != 0 ||
        q->multi_last != NULL)
        return false;
    if (q->seq > 0 && q->next_by_subj == NULL)
        ways++;
    return ways == 1;
}

void api_msg_get(struct api_request *r)
{
    struct get_request q = {0};
    struct stream *s = api_stream(r);
    struct fetch *f;

    if (s == NULL || !api_read_body(r, get_fields, NGET, &q))
        return;
    if (!one_way(&q)) {
        fields_release(get_fields, NGET, &q);
        api_error_kind(r, JS_ERR_BAD_REQUEST);
        return;
    }
    f = mem_zalloc(sizeof(*f));
    f->js = r->js;
    f->r = r;
    f->found = answer_get;
    resolve(f, s, &q);
    fields_release(get_fields, NGET, &q);
}

/* ---- STREAM.MSG.DELETE ----------------------------------------------------------------------- */

struct delete_request {
    uint64_t seq;
    bool no_erase;
};

static const struct json_field delete_fields[] = {
    {"seq", JSON_U64_FIELD, offsetof(struct delete_request, seq), 0, NULL},
    {"no_erase", JSON_BOOL_FIELD, offsetof(struct delete_request, no_erase), 0, NULL},
};

struct removing {
    struct store_req req;
    struct api_request *r;
};

static void removed(struct store_req *req, enum err err)
{
    struct removing *d = CONTAINER_OF(req, struct removing, req);
    struct js_error e = {0};

    if (err == ERR_OK) {
        buf_puts(&d->r->out, ",\"success\":true");
        api_reply(d->r);
    } else {
        js_fail(&e, JS_ERR_STREAM_MSG_DELETE_FAILED, "%s", err_text(err));
        api_error(d->r, &e);
    }
    mem_free(d);
}

void api_msg_delete(struct api_request *r)
{
    struct delete_request q = {0};
    struct stream *s = api_stream(r);
    struct store_state st;
    struct js_error e = {0};
    struct removing *d;
    enum err err;

    if (s == NULL || !api_read_body(r, delete_fields, ARRAY_LEN(delete_fields), &q))
        return;
    if (api_body_empty(r))
        js_fail(&e, JS_ERR_BAD_REQUEST, NULL);
    else if (s->config.sealed)
        js_fail(&e, JS_ERR_STREAM_SEALED, NULL);
    else if (s->config.deny_delete)
        js_fail(&e, JS_ERR_STREAM_MSG_DELETE_FAILED, "message delete not permitted");
    if (e.kind != JS_OK) {
        api_error(r, &e);
        return;
    }
    d = mem_zalloc(sizeof(*d));
    d->r = r;
    d->req.done = removed;
    err = store_remove(s->store, q.seq, !q.no_erase, &d->req);
    if (err == ERR_OK)
        return;
    mem_free(d);
    store_stream_state(s->store, &st);
    /* The peer's file store tells the two apart, its memory store does not. */
    if (q.seq > st.last_seq && s->config.storage == STORAGE_FILE)
        js_fail(&e, JS_ERR_STREAM_MSG_DELETE_FAILED, "stream store EOF");
    else
        js_fail(&e, JS_ERR_SEQUENCE_NOT_FOUND, "%llu", (unsigned long long) q.seq);
    api_error(r, &e);
}

/* ---- DIRECT.GET ------------------------------------------------------------------------------ */

static void status(struct js *js, struct str to, const char *line)
{
    struct buf h = {0};

    buf_printf(&h, "NATS/1.0 %s\r\n\r\n", line);
    js_publish(js, to, STR_NONE, buf_str(&h), STR_NONE);
    buf_free(&h);
}

static void add_header(struct buf *b, const char *key, struct str value)
{
    buf_printf(b, "%s: %.*s\r\n", key, STR_ARG(value));
}

/* The message's own header lines behind ours; the block's first line is replaced. */
static void put_direct_header(struct buf *h, const struct store_msg *m, struct str stream,
                              bool no_hdr)
{
    char text[FMT_TIME_MAX];
    struct str rest = STR_NONE;

    buf_puts(h, "NATS/1.0\r\n");
    if (m->header.n > 0 && !no_hdr) {
        str_cut(m->header, '\n', &rest);
        if (rest.n >= 2)
            buf_put(h, rest.p, rest.n - 2);
    }
    add_header(h, "Nats-Stream", stream);
    add_header(h, "Nats-Subject", m->subject);
    add_header(h, "Nats-Sequence", str_from(text, fmt_u64(text, m->seq)));
    add_header(h, "Nats-Time-Stamp", str_from(text, fmt_time_rfc3339(text, m->ts)));
    buf_puts(h, "\r\n");
}

static void answer_direct(struct fetch *f, const struct store_msg *m)
{
    struct buf h = {0};

    if (m == NULL) {
        status(f->js, str_of(f->reply), "404 Message Not Found");
        return;
    }
    put_direct_header(&h, m, str_of(f->stream_name), f->no_hdr);
    js_publish(f->js, str_of(f->reply), STR_NONE, buf_str(&h), m->payload);
    buf_free(&h);
}

static void direct_fetch(struct stream *s, struct str reply, const struct get_request *q)
{
    struct fetch *f = mem_zalloc(sizeof(*f));

    f->js = s->js;
    f->reply = mem_strndup(reply.p, reply.n);
    snprintf(f->stream_name, sizeof(f->stream_name), "%s", s->config.name);
    f->found = answer_direct;
    resolve(f, s, q);
}

/* $JS.API.DIRECT.GET.<stream>.<subject>: the last message on it. */
static void direct_last(struct stream *s, const struct msg *m, struct str subject)
{
    struct get_request q = {0};

    if (str_trim(m->payload).n > 0) {
        struct buf err = {0};
        json_t *object = json_parse_object(m->payload, &err);
        bool ok = object != NULL && fields_read(object, get_fields, NGET, &q, true, &err);
        bool other = q.seq != 0 || q.last_by_subj != NULL || q.next_by_subj != NULL ||
                     q.batch != 0 || q.start_time != 0 || q.multi_last != NULL ||
                     q.up_to_seq != 0 || q.up_to_time != 0;
        json_decref(object);
        buf_free(&err);
        if (!ok || other) {
            fields_release(get_fields, NGET, &q);
            status(s->js, m->reply, ok ? "408 Bad Request" : "408 Malformed Request");
            return;
        }
    }
    q.last_by_subj = mem_strndup(subject.p, subject.n);
    direct_fetch(s, m->reply, &q);
    fields_release(get_fields, NGET, &q);
}

static bool asks_nothing(const struct get_request *q)
{
    return q->seq == 0 && q->last_by_subj == NULL && q->next_by_subj == NULL &&
           q->start_time == 0 && q->multi_last == NULL;
}

static void direct_request(struct stream *s, const struct msg *m)
{
    struct get_request q = {0};
    struct buf err = {0};
    json_t *object;
    bool ok;

    if (str_trim(m->payload).n == 0) {
        status(s->js, m->reply, "408 Empty Request");
        return;
    }
    object = json_parse_object(m->payload, &err);
    ok = object != NULL && fields_read(object, get_fields, NGET, &q, true, &err);
    if (!ok)
        status(s->js, m->reply, "408 Malformed Request");
    else if (asks_nothing(&q))
        status(s->js, m->reply, "408 Empty Request");
    else if (!one_way(&q))
        status(s->js, m->reply, "408 Bad Request");
    else
        direct_fetch(s, m->reply, &q);
    fields_release(get_fields, NGET, &q);
    json_decref(object);
    buf_free(&err);
}

static unsigned deliver(struct sink *sink, const struct msg *run, unsigned n)
{
    struct stream *s = CONTAINER_OF(sink, struct stream, direct);

    for (unsigned i = 0; i < n; i++) {
        struct str tail = str_skip(api_tail(s->js, run[i].subject), strlen("DIRECT.GET."));
        struct str subject; /* behind the name: of this stream, or of what it mirrors */
        str_cut(tail, '.', &subject);
        if (run[i].reply.n == 0)
            continue;
        if (subject.n > 0)
            direct_last(s, &run[i], subject);
        else
            direct_request(s, &run[i]);
    }
    return n;
}

const struct sink_ops direct_sink_ops = {.deliver = deliver, .kind = "direct"};
