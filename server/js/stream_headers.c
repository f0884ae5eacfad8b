/*
 * stream_headers.c - what the headers of a published message ask for.
 *
 * Checks run in the order in which nats-server makes them, which decides what a message with two
 * faults is told. Those that ask for a last sequence or a message id look at the *assigned* state.
 */
#include "lib/base/fmt.h"
#include "lib/base/header.h"
#include "server/js/ingest.h"

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

bool ingest_check_headers(struct stream *s, const struct msg *m, int64_t now, struct verdict *v)
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

bool ingest_store_failed(struct verdict *v, enum err err)
{
    if (err == ERR_LIMIT)
        return js_fail(&v->error, JS_ERR_STREAM_TOO_MANY_REQUESTS, NULL);
    if (err == ERR_NO_SPACE)
        return js_fail(&v->error, JS_ERR_STREAM_STORE_FAILED, "no space left on device");
    return js_fail(&v->error, JS_ERR_STREAM_STORE_FAILED, "%s", err_text(err));
}
