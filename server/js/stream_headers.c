/*
 * stream_headers.c - what the headers of a published message ask for.
 *
 * Checks run in the order in which nats-server makes them, which decides what a message with two
 * faults is told. Those that ask for a last sequence or a message id look at the *assigned* state.
 * What the server publishes itself, or copies from another stream (v->sourced), was checked where
 * it came from: only what concerns this stream's state is looked at.
 */
#include "lib/base/fmt.h"
#include "lib/base/header.h"
#include "server/js/decimal.h"
#include "server/js/ingest.h"
#include "server/js/msg_ttl.h"
#include "server/js/publish_headers.h"
#include "server/js/stream_parts.h"

#include <string.h>

#define SECOND 1000000000ll

/* ---- verdicts -------------------------------------------------------------------------------- */

void verdict_init(struct verdict *v, const struct msg *m, bool sourced)
{
    memset(v, 0, offsetof(struct verdict, error));
    v->sourced = sourced;
    v->header = m->header;
    v->payload = m->payload;
}

void verdict_free(struct verdict *v)
{
    if (UNLIKELY(v->own_header.p != NULL))
        buf_free(&v->own_header);
    if (UNLIKELY(v->own_payload.p != NULL))
        buf_free(&v->own_payload);
}

void verdict_set_header(struct verdict *v, struct buf *b)
{
    buf_free(&v->own_header);
    v->own_header = *b;
    v->header = buf_str(b);
    *b = (struct buf){0};
}

/* ---- expectations ---------------------------------------------------------------------------- */

static bool wrong_last(struct verdict *v, uint64_t seq)
{
    return js_fail(&v->error, JS_ERR_STREAM_WRONG_LAST_SEQUENCE, "%llu", (unsigned long long) seq);
}

/* What is no number is never the last sequence. */
static uint64_t expected_seq(struct str text)
{
    uint64_t seq;

    return str_to_u64(text, &seq) ? seq : UINT64_MAX;
}

static bool check_expected_subject(struct stream *s, const struct msg *m,
                                   const struct publish_headers *h, struct verdict *v)
{
    struct str want = h->of[HEADER_EXPECTED_LAST_SUBJECT_SEQUENCE];
    struct str other = h->of[HEADER_EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT];
    uint64_t last, msgs;

    if (want.n == 0) {
        if (other.n > 0)
            return js_fail(&v->error, JS_ERR_STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID, NULL);
        return true;
    }
    if (UNLIKELY(stream_subject_holds(s, other.n > 0 ? other : m->subject))) {
        v->waits = true;
        return false;
    }
    if (other.n > 0 && subject_has_wildcard(other))
        last = store_subject_last_match(s->store, other);
    else
        last = store_subject_last_assigned(s->store, other.n > 0 ? other : m->subject, &msgs);
    return last == expected_seq(want) || wrong_last(v, last);
}

static bool check_id(struct stream *s, struct str id, int64_t now, struct verdict *v)
{
    if (id.n == 0)
        return true;
    v->id = id;
    if (v->mirror || s->config.duplicate_window_ns == 0)
        return true;
    v->duplicate_of = dedup_find(&s->dedup, id, now);
    return v->duplicate_of == 0;
}

static bool check_expected_id(struct stream *s, struct str want, int64_t now, struct verdict *v)
{
    if (want.n == 0 || (s->assigned > 0 && dedup_find(&s->dedup, want, now) == s->assigned))
        return true;
    return js_fail(&v->error, JS_ERR_STREAM_WRONG_LAST_MSG_ID, "%s",
                   s->last_id != NULL ? s->last_id : "");
}

/* ---- rollup and time to live ----------------------------------------------------------------- */

static enum rollup_kind rollup_of(struct str how)
{
    if (how.n == 0)
        return ROLLUP_NONE;
    if (str_eq_nocase(how, STR("sub")))
        return ROLLUP_SUB;
    return str_eq_nocase(how, STR("all")) ? ROLLUP_ALL : ROLLUP_INVALID;
}

enum rollup_kind ingest_rollup_of(struct str header)
{
    return rollup_of(header_get(header, STR("Nats-Rollup")));
}

static bool check_rollup(const struct stream *s, struct str how, struct verdict *v)
{
    bool allowed = s->config.allow_rollup_hdrs && !s->config.deny_purge;
    enum rollup_kind rollup = rollup_of(how);
    char lower[64];
    size_t n = how.n < sizeof(lower) ? how.n : sizeof(lower);

    if (rollup == ROLLUP_NONE)
        return true;
    if (!allowed)
        return v->sourced ||
               js_fail(&v->error, JS_ERR_STREAM_ROLLUP_FAILED, "rollup not permitted");
    if (rollup == ROLLUP_INVALID) {
        for (size_t i = 0; i < n; i++)
            lower[i] = (char) (how.p[i] >= 'A' && how.p[i] <= 'Z' ? how.p[i] + 32 : how.p[i]);
        return js_fail(&v->error, JS_ERR_STREAM_ROLLUP_FAILED, "rollup value invalid: \"%.*s\"",
                       (int) n, lower);
    }
    v->rollup = rollup;
    v->effect = true;
    return true;
}

/* Where none is allowed one that can not be read is told so later, but not in an atomic batch. */
static bool check_ttl_allowed(const struct stream *s, struct str text, struct verdict *v)
{
    bool readable;

    if (text.n == 0)
        return true;
    v->effect = true;
    readable = msg_ttl_parse(text, &v->ttl);
    if (!v->sourced && !s->config.allow_msg_ttl && (readable ? v->ttl != 0 : v->diff != NULL))
        return js_fail(&v->error, JS_ERR_MESSAGE_TTL_DISABLED, NULL);
    return true;
}

/* A message must not go before the marker of the one it follows would: nobody would see that there
 * was one. With one message per subject there is nothing it could follow. */
static void raise_ttl(const struct stream *s, struct verdict *v)
{
    int64_t least = s->config.subject_delete_marker_ttl_ns / SECOND;
    struct buf without = {0}, with = {0};
    char text[FMT_U64_MAX];

    if (v->ttl <= 0 || v->ttl >= least || s->config.max_msgs_per_subject == 1)
        return;
    v->ttl = least;
    header_remove(&without, v->header, STR("Nats-TTL"));
    header_append(&with, buf_str(&without), STR("Nats-TTL"),
                  str_from(text, fmt_u64(text, (uint64_t) least)));
    buf_free(&without);
    verdict_set_header(v, &with);
}

bool ingest_check_ttl(struct stream *s, struct verdict *v)
{
    if (!v->effect)
        return true;
    if (!msg_ttl_parse(header_get(v->header, STR("Nats-TTL")), &v->ttl))
        return js_fail(&v->error, JS_ERR_MESSAGE_TTL_INVALID, NULL);
    raise_ttl(s, v);
    return true;
}

/* ---- counters -------------------------------------------------------------------------------- */

static bool check_incr(const struct stream *s, const struct msg *m, const struct publish_headers *h,
                       struct verdict *v)
{
    static const enum publish_header excluded[] = {
        HEADER_ROLLUP,
        HEADER_EXPECTED_STREAM,
        HEADER_EXPECTED_LAST_MSG_ID,
        HEADER_EXPECTED_LAST_SEQUENCE,
        HEADER_EXPECTED_LAST_SUBJECT_SEQUENCE,
        HEADER_EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT,
    };
    struct str incr = str_trim(h->of[HEADER_INCR]);

    if (incr.n == 0)
        return true;
    if (!decimal_valid(incr))
        return js_fail(&v->error, JS_ERR_MESSAGE_INCR_INVALID, NULL);
    if (v->sourced)
        return true;
    if (!s->config.allow_msg_counter)
        return js_fail(&v->error, JS_ERR_MESSAGE_INCR_DISABLED, NULL);
    if (m->payload.n > 0)
        return js_fail(&v->error, JS_ERR_MESSAGE_INCR_PAYLOAD, NULL);
    for (size_t i = 0; i < ARRAY_LEN(excluded); i++)
        if (h->of[excluded[i]].n > 0)
            return js_fail(&v->error, JS_ERR_MESSAGE_INCR_INVALID, NULL);
    return true;
}

/* ---- all ------------------------------------------------------------------------------------- */

/* Features that this version does not carry out: refused, never ignored. */
static bool check_later_features(const struct publish_headers *h, struct verdict *v)
{
    if (h->of[HEADER_BATCH_ID].p != NULL && !v->batched)
        return js_fail(&v->error, JS_ERR_ATOMIC_PUBLISH_DISABLED, NULL);
    return true;
}

/* What a service import added is not the publisher's to store. */
static void drop_request_info(const struct publish_headers *h, struct verdict *v)
{
    struct buf b = {0};

    if (h->of[HEADER_REQUEST_INFO].p == NULL)
        return;
    header_remove(&b, v->header, STR("Nats-Request-Info"));
    verdict_set_header(v, &b);
}

bool ingest_check_headers(struct stream *s, const struct msg *m, int64_t now, struct verdict *v)
{
    struct publish_headers h;
    struct str text;

    if (!publish_headers_find(m->header, &h))
        return true;
    drop_request_info(&h, v);
    if (!v->sourced && !check_later_features(&h, v))
        return false;
    if (!check_incr(s, m, &h, v))
        return false;
    text = h.of[HEADER_EXPECTED_STREAM];
    if (text.n > 0 && !str_eq(text, str_of(s->config.name)))
        return js_fail(&v->error, JS_ERR_STREAM_NOT_MATCH, NULL);
    if (!check_ttl_allowed(s, h.of[HEADER_TTL], v) || !check_expected_subject(s, m, &h, v))
        return false;
    text = h.of[HEADER_EXPECTED_LAST_SEQUENCE];
    if (text.n > 0 && expected_seq(text) != s->assigned)
        return wrong_last(v, s->assigned);
    if (!ingest_check_schedule(s, m, &h, v))
        return false;
    if (!v->sourced && h.of[HEADER_STREAM_SOURCE].n > 0)
        return js_fail(&v->error, JS_ERR_MESSAGE_SOURCE_HDR_NOT_ALLOWED, NULL);
    return check_id(s, h.of[HEADER_MSG_ID], now, v) &&
           check_expected_id(s, h.of[HEADER_EXPECTED_LAST_MSG_ID], now, v) &&
           check_rollup(s, h.of[HEADER_ROLLUP], v);
}

bool ingest_store_failed(struct verdict *v, enum err err)
{
    if (err == ERR_LIMIT)
        return js_fail(&v->error, JS_ERR_STREAM_TOO_MANY_REQUESTS, NULL);
    if (err == ERR_NO_SPACE)
        return js_fail(&v->error, JS_ERR_STREAM_STORE_FAILED, "no space left on device");
    return js_fail(&v->error, JS_ERR_STREAM_STORE_FAILED, "%s", err_text(err));
}
