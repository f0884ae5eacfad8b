/*
 * api_msg.c - single messages: STREAM.MSG.GET and STREAM.MSG.DELETE.
 *
 * A get may have to wait for the disk: `fetch` keeps its own reader and tries again when the store
 * says ready. It dies with its answer, or with its stream (the reader is then ended and the answer
 * is "no message found").
 */
#include "lib/base/base64.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/api_int.h"
#include "server/js/stream_parts.h"

#include <string.h>

struct get_request {
    uint64_t seq, up_to_seq;
    int64_t batch, max_bytes;
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
    F("batch", JSON_I64_FIELD, batch),
    F("max_bytes", JSON_I64_FIELD, max_bytes),
    F("up_to_seq", JSON_U64_FIELD, up_to_seq),
    F("up_to_time", JSON_TIME_FIELD, up_to_time),
    F("multi_last", JSON_RAW_FIELD, multi_last),
};
#define NGET ARRAY_LEN(get_fields)

/* ---- fetching -------------------------------------------------------------------------------- */

struct fetch {
    struct store_reader reader;
    struct store_req req; /* of store_seq_at */
    struct str filter;
    char *filter_text;
    uint64_t seq;
    bool exact; /* this sequence or nothing */
    bool no_hdr;
    struct api_request *r;
};

static void end_fetch(struct fetch *f)
{
    store_reader_deinit(&f->reader);
    mem_free(f->filter_text);
    mem_free(f);
}

/* m NULL: there is none. */
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

static void try_fetch(struct fetch *f)
{
    struct store_msg m;
    enum store_read got = STORE_READ_GONE;

    if (f->reader.stream != NULL)
        got = f->exact ? store_reader_get(&f->reader, f->seq, &m)
                       : store_reader_next(&f->reader, &m);
    if (got == STORE_READ_WAIT)
        return;
    answer_get(f, got == STORE_READ_MSG ? &m : NULL);
    end_fetch(f);
}

static void ready(struct store_reader *reader)
{
    try_fetch(CONTAINER_OF(reader, struct fetch, reader));
}

static void time_found(struct store_req *req, enum err err)
{
    struct fetch *f = CONTAINER_OF(req, struct fetch, req);

    if (err != ERR_OK) {
        answer_get(f, NULL);
        end_fetch(f);
        return;
    }
    f->seq = req->count;
    if (f->reader.stream != NULL)
        store_reader_seek(&f->reader, f->seq);
    try_fetch(f);
}

static void find_time(struct fetch *f, struct stream *s, int64_t ts)
{
    enum err err;

    f->req.done = time_found;
    err = store_seq_at(s->store, ts, &f->req.count, &f->req);
    if (err != ERR_AGAIN)
        time_found(&f->req, err);
}

/* Turns what was asked for into a sequence and a filter, and begins. */
static void resolve(struct fetch *f, struct stream *s, const struct get_request *q)
{
    f->no_hdr = q->no_hdr;
    f->seq = q->seq;
    f->exact = q->next_by_subj == NULL && q->start_time == 0;
    if (q->last_by_subj != NULL)
        f->seq = store_subject_last_match(s->store, str_of(q->last_by_subj));
    if (q->next_by_subj != NULL) {
        f->filter_text = mem_strdup(q->next_by_subj);
        f->filter = str_of(f->filter_text);
        f->seq = q->seq > 0 ? q->seq : 1;
    }
    store_reader_init(&f->reader, s->store, f->seq > 0 ? f->seq : 1,
                      f->filter.n > 0 ? &f->filter : NULL, f->filter.n > 0 ? 1 : 0, ready, f);
    if (q->start_time != 0)
        find_time(f, s, q->start_time);
    else
        try_fetch(f);
}

/* ---- STREAM.MSG.GET -------------------------------------------------------------------------- */

/* Some way of asking, and none that excludes another one. */
static bool is_valid(const struct get_request *q)
{
    bool last = q->last_by_subj != NULL;
    bool next = q->next_by_subj != NULL;
    bool time = q->start_time != 0;

    if (q->batch > 0 || q->max_bytes > 0 || (q->seq == 0 && !last && !next && !time))
        return false;
    return !(q->seq > 0 && (last || time)) && !(time && last) && !(last && next);
}

void api_msg_get(struct api_request *r)
{
    struct get_request q = {0};
    struct stream *s = api_stream_caught_up(r);
    struct fetch *f;

    if (s == NULL || !api_read_body(r, &shape_msg_get_request, get_fields, NGET, &q))
        return;
    if (!is_valid(&q)) {
        fields_release(get_fields, NGET, &q);
        api_error_kind(r, JS_ERR_BAD_REQUEST);
        return;
    }
    struct str subject = str_of(q.last_by_subj);
    if (q.last_by_subj != NULL && api_waits_for_subjects(r, s, &subject, 1)) {
        fields_release(get_fields, NGET, &q);
        return;
    }
    f = mem_zalloc(sizeof(*f));
    f->r = r;
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

    if (s == NULL || !stream_memo_is_written(s, r) ||
        !api_read_body(r, &shape_msg_delete_request, delete_fields, ARRAY_LEN(delete_fields), &q))
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
    /* The peer's file store tells them apart, its memory store does not. */
    if (q.seq > st.last_seq && s->config.storage == STORAGE_FILE)
        js_fail(&e, JS_ERR_STREAM_MSG_DELETE_FAILED, "stream store EOF");
    else if (q.seq < st.first_seq && s->config.storage == STORAGE_FILE)
        js_fail(&e, JS_ERR_STREAM_MSG_DELETE_FAILED, "no message found");
    else
        js_fail(&e, JS_ERR_SEQUENCE_NOT_FOUND, "%llu", (unsigned long long) q.seq);
    api_error(r, &e);
}
