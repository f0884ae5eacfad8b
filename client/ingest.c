/*
 * ingest.c - fast-ingest batches.
 *
 * The reply subject of every message says its place:
 *     <inbox>.<batch id>.<flow>.<gap: ok|fail>.<number>.<operation>.$FI
 * operation 0 the first message, 1 one more, 2 the last, 3 the end without a message. One wildcard
 * subscription takes what the server answers to any of them:
 *     {"type":"ack","seq":N,"msgs":M}      all up to N are durable, the next comes after M
 *     {"type":"gap","last_seq":E,"seq":N}  N came where E was expected
 *     {"type":"err","seq":N,"error":{..}}  N was refused
 *     an acknowledgement with a count      the end; an error without a type is one too
 *
 * The batch ends with the connection: numbers on the way are lost, and the server forgets it.
 */
#include "client/js_int.h"
#include "client/midge_batch.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"

#include <stdio.h>
#include <string.h>

#define FLOW 500
#define WINDOW 8192

enum { OP_START, OP_APPEND, OP_COMMIT, OP_END };

struct midge_ingest {
    struct midge *m;
    struct midge_sub *sub;
    struct client_hook hook;
    struct midge_ingest_options o;
    void *ctx;
    struct buf last_subject;
    char prefix[128]; /* "<inbox>.<id>.<flow>.<gap>." */
    size_t prefix_n;
    uint64_t sent, acked;
    bool done; /* the end has come: rc and end hold */
    int rc;
    struct js_ack end;
};

/* ---- answers --------------------------------------------------------------------------------- */

struct answer {
    char *type;
    uint64_t seq, last_seq;
    json_t *error;
};

#define AT(member) offsetof(struct answer, member)

static const struct json_field answer_fields[] = {
    {"type", JSON_STRING_FIELD, AT(type), 0, NULL},
    {"seq", JSON_U64_FIELD, AT(seq), 0, NULL},
    {"last_seq", JSON_U64_FIELD, AT(last_seq), 0, NULL},
    {"error", JSON_RAW_FIELD, AT(error), 0, NULL},
};

static void end(struct midge_ingest *b, int rc)
{
    if (b->done)
        return;
    b->done = true;
    b->rc = rc;
}

static void take_end(struct midge_ingest *b, struct str json)
{
    js_read_ack(json, &b->end);
    if (b->end.rc == MIDGE_OK && b->end.ack.batch_size > b->acked)
        b->acked = b->end.ack.batch_size;
    end(b, b->end.rc);
}

static void take_refusal(struct midge_ingest *b, const struct answer *a)
{
    const char *why = json_string_value(json_object_get(a->error, "description"));

    if (b->o.on_refused != NULL)
        b->o.on_refused(b->ctx, a->seq, why != NULL ? why : "refused");
}

static void answered(void *ctx, const struct midge_msg *msg)
{
    struct midge_ingest *b = ctx;
    struct answer a = {0};
    struct buf err = {0};
    json_t *object = NULL;

    if (client_status(msg->header) == 503) {
        end(b, MIDGE_NO_RESPONDERS);
        return;
    }
    object = json_parse_object(client_str(msg->payload), &err);
    if (object == NULL || !fields_read(object, JS_FIELDS(answer_fields), &a, false, &err))
        end(b, MIDGE_REFUSED);
    else if (a.type == NULL)
        take_end(b, client_str(msg->payload));
    else if (strcmp(a.type, "ack") == 0)
        b->acked = a.seq > b->acked && a.seq <= b->sent ? a.seq : b->acked;
    else if (strcmp(a.type, "err") == 0)
        take_refusal(b, &a);
    else if (strcmp(a.type, "gap") == 0 && b->o.on_gap != NULL)
        b->o.on_gap(b->ctx, a.last_seq, a.seq);
    fields_release(JS_FIELDS(answer_fields), &a);
    json_decref(object);
    buf_free(&err);
}

static void lost(struct client_hook *h)
{
    end(CONTAINER_OF(h, struct midge_ingest, hook), MIDGE_LOST);
}

/* ---- messages -------------------------------------------------------------------------------- */

struct midge_ingest *midge_ingest_open(struct midge *m, const struct midge_ingest_options *options,
                                       void *ctx)
{
    struct midge_ingest *b = mem_zalloc(sizeof(*b));
    char inbox[32], id[NUID_LEN + 1], pattern[40];

    b->m = m;
    b->ctx = ctx;
    if (options != NULL)
        b->o = *options;
    if (b->o.flow == 0)
        b->o.flow = FLOW;
    if (b->o.flow > UINT16_MAX)
        b->o.flow = UINT16_MAX;
    if (b->o.window == 0)
        b->o.window = WINDOW;
    /* The server says nothing before `flow` have come. */
    if (b->o.window < b->o.flow)
        b->o.window = b->o.flow;
    midge_inbox(m, inbox);
    nuid_next(&m->nuid, id);
    b->prefix_n = (size_t) snprintf(b->prefix, sizeof(b->prefix) - 2 * FMT_U64_MAX, "%s.%s.%u.%s.",
                                    inbox, id, b->o.flow, b->o.gaps_ok ? "ok" : "fail");
    snprintf(pattern, sizeof(pattern), "%s.>", inbox);
    b->sub = midge_subscribe(m, midge_text_of(pattern), (struct midge_text){NULL, 0}, answered, b);
    b->hook.lost = lost;
    client_hook_add(m, &b->hook);
    return b;
}

static int explain(struct midge_ingest *b)
{
    switch (b->rc) {
    case MIDGE_OK:
        return client_error(b->m, MIDGE_INVALID, "the batch has ended");
    case MIDGE_LOST:
        return client_error(b->m, b->rc, "the connection broke");
    case MIDGE_NO_RESPONDERS:
        return client_error(b->m, b->rc, "no responders");
    default:
        client_error(b->m, b->rc, "%s", b->end.error[0] != '\0' ? b->end.error : "not understood");
        b->m->error_code = b->end.error_code;
        return b->rc;
    }
}

static int send_op(struct midge_ingest *b, struct midge_msg *msg, unsigned op)
{
    char *at = b->prefix + b->prefix_n;
    int rc;

    at += fmt_u64(at, b->sent + 1);
    *at++ = '.';
    *at++ = (char) ('0' + op);
    memcpy(at, ".$FI", 4);
    msg->reply = (struct midge_text){b->prefix, (size_t) (at + 4 - b->prefix)};
    rc = midge_publish(b->m, msg);
    if (rc == MIDGE_OK)
        b->sent++;
    return rc;
}

int midge_ingest_add(struct midge_ingest *b, struct midge_text subject, struct midge_text header,
                     struct midge_text payload)
{
    struct midge_msg msg = {.subject = subject, .header = header, .payload = payload};

    if (b->done)
        return explain(b);
    if (b->sent - b->acked >= b->o.window)
        return MIDGE_FULL;
    buf_clear(&b->last_subject);
    buf_put(&b->last_subject, subject.p, subject.n);
    return send_op(b, &msg, b->sent == 0 ? OP_START : OP_APPEND);
}

uint64_t midge_ingest_acked(const struct midge_ingest *b)
{
    return b->acked;
}

/* Silence of timeout_ms is the end of patience, not the length of the way. */
static int wait_end(struct midge_ingest *b)
{
    struct midge *m = b->m;
    uint64_t acked = b->acked, until = client_end(m->o.timeout_ms);

    while (!b->done) {
        uint64_t now = midge_now();
        int rc;
        if (b->acked != acked)
            until = client_end(m->o.timeout_ms);
        acked = b->acked;
        if (now >= until)
            return client_error(m, MIDGE_TIMEOUT, "timeout");
        rc = midge_poll(m, until - now);
        if (rc != MIDGE_OK)
            return rc;
    }
    return b->rc == MIDGE_OK ? MIDGE_OK : explain(b);
}

int midge_ingest_commit(struct midge_ingest *b, struct midge_puback *ack)
{
    struct midge_msg msg = {.subject = client_text(buf_str(&b->last_subject))};
    int rc;

    if (b->m->polling)
        return client_error(b->m, MIDGE_INVALID, "a call that waits, inside of a callback");
    if (b->sent == 0)
        return client_error(b->m, MIDGE_INVALID, "an empty batch");
    while (!b->done && (rc = send_op(b, &msg, OP_END)) != MIDGE_OK) {
        if (rc == MIDGE_FULL)
            rc = midge_poll(b->m, CLIENT_MS);
        if (rc != MIDGE_OK)
            return rc;
    }
    rc = wait_end(b);
    if (ack != NULL)
        *ack = b->end.ack;
    return rc;
}

void midge_ingest_close(struct midge_ingest *b)
{
    list_remove(&b->hook.link);
    midge_unsubscribe(b->m, b->sub);
    buf_free(&b->last_subject);
    mem_free(b);
}
