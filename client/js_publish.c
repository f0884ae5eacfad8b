/*
 * js_publish.c - publishing and waiting for the acknowledgement; what a publish can ask of a
 * stream.
 *
 * Acknowledgements are read without a JSON parser where they have the form that the server writes,
 * {"stream":"S","seq":N ...}: this is the path of every message published. Everything else goes
 * through the parser.
 */
#include "client/js_int.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"

#include <stdio.h>
#include <string.h>

#define RETRIES 2
#define RETRY_NS (250 * CLIENT_MS)

/* ---- headers --------------------------------------------------------------------------------- */

static int add(struct midge_headers *h, const char *key, const char *value)
{
    return value != NULL ? midge_headers_add(h, key, midge_text_of(value)) : MIDGE_OK;
}

static int add_number(struct midge_headers *h, const char *key, uint64_t value)
{
    char text[FMT_U64_MAX];

    return midge_headers_add(h, key, (struct midge_text){text, fmt_u64(text, value)});
}

/* Whole seconds; what is not becomes a duration ("1.5s"), which the server may refuse. */
static int add_ttl(struct midge_headers *h, const char *key, int64_t ns)
{
    char text[FMT_TIME_MAX];

    if (ns < 0)
        return add(h, key, "never");
    if (ns == 0)
        return MIDGE_OK;
    if (ns % 1000000000 == 0)
        return add_number(h, key, (uint64_t) ns / 1000000000);
    fmt_go_duration(text, ns);
    return add(h, key, text);
}

static int add_expectations(struct midge_headers *h, const struct midge_publish_options *o)
{
    int rc = add(h, "Nats-Expected-Stream", o->expect_stream);

    if (rc == MIDGE_OK)
        rc = add(h, "Nats-Expected-Last-Msg-Id", o->expect_last_msg_id);
    if (rc == MIDGE_OK && o->expect_last)
        rc = add_number(h, "Nats-Expected-Last-Sequence", o->last_seq);
    if (rc == MIDGE_OK && o->expect_last_of_subject)
        rc = add_number(h, "Nats-Expected-Last-Subject-Sequence", o->last_seq_of_subject);
    if (rc == MIDGE_OK)
        rc = add(h, "Nats-Expected-Last-Subject-Sequence-Subject", o->last_subject);
    return rc;
}

static int add_schedule(struct midge_headers *h, const struct midge_publish_options *o)
{
    int rc = add(h, "Nats-Schedule", o->schedule);

    if (rc == MIDGE_OK)
        rc = add(h, "Nats-Schedule-Target", o->schedule_target);
    if (rc == MIDGE_OK)
        rc = add(h, "Nats-Schedule-Source", o->schedule_source);
    if (rc == MIDGE_OK)
        rc = add(h, "Nats-Schedule-Time-Zone", o->schedule_time_zone);
    if (rc == MIDGE_OK)
        rc = add_ttl(h, "Nats-Schedule-TTL", o->schedule_ttl);
    if (rc == MIDGE_OK && o->schedule_rollup)
        rc = add(h, "Nats-Schedule-Rollup", "sub");
    return rc;
}

int midge_headers_publish(struct midge_headers *h, const struct midge_publish_options *o)
{
    int rc = add(h, "Nats-Msg-Id", o->msg_id);

    if (rc == MIDGE_OK)
        rc = add_expectations(h, o);
    if (rc == MIDGE_OK)
        rc = add_ttl(h, "Nats-TTL", o->ttl);
    if (rc == MIDGE_OK && (o->rollup_all || o->rollup_subject))
        rc = add(h, "Nats-Rollup", o->rollup_all ? "all" : "sub");
    if (rc == MIDGE_OK)
        rc = add(h, "Nats-Incr", o->increment);
    return rc == MIDGE_OK ? add_schedule(h, o) : rc;
}

/* ---- acknowledgements ------------------------------------------------------------------------ */

/* Takes text off the front. */
static bool skip(struct str *s, struct str text)
{
    if (!str_starts(*s, text))
        return false;
    *s = str_skip(*s, text.n);
    return true;
}

/* The form without anything else; false when it is another. */
static bool read_plain(struct str json, struct midge_puback *ack)
{
    struct str stream;
    uint64_t seq = 0;
    size_t i = 0;

    if (!skip(&json, STR("{\"stream\":\"")))
        return false;
    stream = str_take(json, str_index(json, '"'));
    json = str_skip(json, stream.n);
    if (stream.n >= sizeof(ack->stream) || str_index(stream, '\\') < stream.n ||
        !skip(&json, STR("\",\"seq\":")))
        return false;
    for (; i < json.n && i < 19 && json.p[i] >= '0' && json.p[i] <= '9'; i++)
        seq = seq * 10 + (uint64_t) (json.p[i] - '0');
    if (i == 0 || !str_eq(str_skip(json, i), STR("}")))
        return false;
    memcpy(ack->stream, stream.p, stream.n);
    ack->stream[stream.n] = '\0';
    ack->seq = seq;
    return true;
}

struct ack_texts {
    char *stream, *batch, *val, *description;
    json_t *error;
    uint64_t seq, count;
    int64_t err_code;
    bool duplicate;
};

#define AT(member) offsetof(struct ack_texts, member)

static const struct json_field ack_fields[] = {
    {"stream", JSON_STRING_FIELD, AT(stream), 0, NULL},
    {"batch", JSON_STRING_FIELD, AT(batch), 0, NULL},
    {"val", JSON_STRING_FIELD, AT(val), 0, NULL},
    {"seq", JSON_U64_FIELD, AT(seq), 0, NULL},
    {"count", JSON_U64_FIELD, AT(count), 0, NULL},
    {"duplicate", JSON_BOOL_FIELD, AT(duplicate), 0, NULL},
    {"error", JSON_RAW_FIELD, AT(error), 0, NULL},
    {"description", JSON_STRING_FIELD, AT(description), 0, NULL},
    {"err_code", JSON_I64_FIELD, AT(err_code), 0, NULL},
};

static void take_texts(const struct ack_texts *t, struct js_ack *out)
{
    snprintf(out->ack.stream, sizeof(out->ack.stream), "%s", t->stream != NULL ? t->stream : "");
    snprintf(out->ack.batch, sizeof(out->ack.batch), "%s", t->batch != NULL ? t->batch : "");
    snprintf(out->ack.value, sizeof(out->ack.value), "%s", t->val != NULL ? t->val : "");
    out->ack.seq = t->seq;
    out->ack.batch_size = t->count;
    out->ack.duplicate = t->duplicate;
    if (t->error == NULL && t->stream != NULL)
        return;
    out->rc = MIDGE_REFUSED;
    out->error_code = t->err_code > 0 && t->err_code < 100000 ? (unsigned) t->err_code : 0;
    if (out->error_code == JS_ERR_WRONG_LAST || out->error_code == JS_ERR_WRONG_LAST_BARE)
        out->rc = MIDGE_CONFLICT;
    snprintf(out->error, sizeof(out->error), "%s",
             t->description != NULL ? t->description : "an acknowledgement that is not understood");
}

void js_read_ack(struct str json, struct js_ack *out)
{
    struct ack_texts t = {0};
    struct buf err = {0};
    json_t *object;

    *out = (struct js_ack){0};
    if (read_plain(json, &out->ack))
        return;
    object = json_parse_object(json, &err);
    /* The fields of the error lie one level deeper, under names that do not clash. */
    if (object == NULL || !fields_read(object, JS_FIELDS(ack_fields), &t, false, &err) ||
        (json_is_object(t.error) &&
         !fields_read(t.error, ack_fields + 7, sizeof(ack_fields) / sizeof(ack_fields[0]) - 7, &t,
                      false, &err))) {
        mem_free(t.stream);
        t.stream = NULL;
    }
    take_texts(&t, out);
    fields_release(JS_FIELDS(ack_fields), &t);
    json_decref(object);
    buf_free(&err);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void take_ack(void *ctx, const struct midge_msg *msg)
{
    js_read_ack(client_str(msg->payload), ctx);
}

static void rest(struct midge *m, uint64_t ns)
{
    uint64_t end = midge_now() + ns;

    for (uint64_t now = midge_now(); now < end; now = midge_now())
        if (midge_poll(m, end - now) != MIDGE_OK)
            return;
}

int midge_js_publish(struct midge *m, const struct midge_msg *msg, struct midge_puback *ack)
{
    struct js_ack a = {0};
    int rc = midge_request(m, msg, m->o.timeout_ms, take_ack, &a);

    for (int i = 0; i < RETRIES && rc == MIDGE_NO_RESPONDERS; i++) {
        rest(m, RETRY_NS);
        rc = midge_request(m, msg, m->o.timeout_ms, take_ack, &a);
    }
    if (rc == MIDGE_OK && a.rc != MIDGE_OK) {
        rc = client_error(m, a.rc, "%s", a.error);
        m->error_code = a.error_code;
    }
    if (ack != NULL)
        *ack = a.ack;
    return rc;
}
