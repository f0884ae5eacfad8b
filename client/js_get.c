/*
 * js_get.c - reading messages of a stream without a consumer.
 *
 * Direct get answers with the message itself; what the stream knows about it is in headers
 * (Nats-Subject, Nats-Sequence, Nats-Time-Stamp; batches: Nats-Num-Pending). A batch is several
 * such answers and a status 204 behind them. Other statuses: 404 nothing there, 408 and 413 the
 * request was no good. The API's own get answers with JSON and base64.
 */
#include "client/js_int.h"
#include "lib/base/base64.h"
#include "lib/base/fmt.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"

#include <string.h>

#define AT(member) offsetof(struct midge_get, member)

static const struct json_field get_fields[] = {
    {"seq", JSON_U64_FIELD, AT(seq), JSON_OMIT_EMPTY, NULL},
    {"last_by_subj", JSON_STRING_FIELD, AT(last_of), JSON_OMIT_EMPTY, NULL},
    {"next_by_subj", JSON_STRING_FIELD, AT(next_of), JSON_OMIT_EMPTY, NULL},
    {"start_time", JSON_TIME_FIELD, AT(start_time), JSON_OMIT_EMPTY, NULL},
    {"batch", JSON_U64_FIELD, AT(batch), JSON_OMIT_EMPTY, NULL},
    {"max_bytes", JSON_U64_FIELD, AT(max_bytes), JSON_OMIT_EMPTY, NULL},
    {"multi_last", JSON_LIST_FIELD, AT(last_of_each), JSON_OMIT_EMPTY, NULL},
    {"up_to_seq", JSON_U64_FIELD, AT(up_to_seq), JSON_OMIT_EMPTY, NULL},
    {"up_to_time", JSON_TIME_FIELD, AT(up_to_time), JSON_OMIT_EMPTY, NULL},
    {"no_hdr", JSON_BOOL_FIELD, AT(no_headers), JSON_OMIT_EMPTY, NULL},
};

/* ---- direct ---------------------------------------------------------------------------------- */

bool js_read_stored(const struct midge_msg *msg, struct midge_stored *out)
{
    struct str header = client_str(msg->header);
    struct str subject = header_get(header, STR("Nats-Subject"));
    struct str pending = header_get(header, STR("Nats-Num-Pending"));

    *out = (struct midge_stored){
        .subject = client_text(subject), .header = msg->header, .payload = msg->payload};
    if (subject.n == 0 || !str_to_u64(header_get(header, STR("Nats-Sequence")), &out->seq) ||
        !fmt_parse_rfc3339(header_get(header, STR("Nats-Time-Stamp")), &out->time_ns))
        return false;
    return pending.p == NULL || str_to_u64(pending, &out->pending);
}

struct getting {
    struct client_ask ask;
    bool done;
    int rc;
    midge_on_stored on_stored;
    void *ctx;
};

static void end(struct getting *g, int rc)
{
    client_ask_end(&g->ask);
    g->done = true;
    g->rc = rc;
}

static void take_status(struct getting *g, unsigned status, struct midge_text header)
{
    struct midge *m = g->ask.m;
    struct str code, text;

    header_status(client_str(header), &code, &text);
    if (status == 204)
        end(g, MIDGE_OK);
    else if (status == 404)
        end(g, g->ask.many ? MIDGE_OK : client_error(m, MIDGE_NOT_FOUND, "%.*s", STR_ARG(text)));
    else
        end(g, client_error(m, MIDGE_REFUSED, "%u %.*s", status, STR_ARG(text)));
}

static void got(struct client_ask *a, int rc, const struct midge_msg *msg)
{
    struct getting *g = CONTAINER_OF(a, struct getting, ask);
    struct midge_stored stored;
    unsigned status = rc == MIDGE_OK ? client_status(msg->header) : 0;

    if (rc != MIDGE_OK) {
        end(g,
            client_error(a->m, rc, "%s",
                         rc == MIDGE_NO_RESPONDERS ? "the stream has no direct get" : "no answer"));
    } else if (status != 0) {
        take_status(g, status, msg->header);
    } else if (!js_read_stored(msg, &stored)) {
        end(g, client_error(a->m, MIDGE_REFUSED, "an answer that is not understood"));
    } else {
        g->on_stored(g->ctx, &stored);
        if (!a->many)
            end(g, MIDGE_OK);
    }
}

static int run_get(struct getting *g, struct midge *m, const struct midge_msg *msg)
{
    uint64_t until = client_end(m->o.timeout_ms);
    int rc = client_wait_up(m, until);

    while (rc == MIDGE_OK && (rc = client_ask_start(&g->ask, msg, m->o.timeout_ms)) == MIDGE_FULL &&
           midge_now() < until)
        rc = midge_poll(m, CLIENT_MS);
    if (rc != MIDGE_OK)
        return rc;
    rc = client_wait_flag(m, &g->done, until);
    client_ask_end(&g->ask);
    return g->done ? g->rc : rc;
}

int midge_get(struct midge *m, const char *stream, const struct midge_get *what,
              midge_on_stored on_stored, void *ctx)
{
    struct getting g = {.on_stored = on_stored, .ctx = ctx};
    struct buf subject = {0}, body = {0};
    struct midge_msg msg = {0};
    int rc;

    if (!js_name_valid(stream))
        return js_bad_name(m, "stream", stream);
    client_ask_init(&g.ask, m, got);
    g.ask.many = what->batch > 0 || what->last_of_each.n > 0;
    js_subject(m, &subject, "DIRECT.GET.%s", stream);
    buf_putc(&body, '{');
    fields_write(&body, JS_FIELDS(get_fields), what);
    buf_putc(&body, '}');
    msg.subject = client_text(buf_str(&subject));
    msg.payload = client_text(buf_str(&body));
    rc = run_get(&g, m, &msg);
    buf_free(&subject);
    buf_free(&body);
    return rc;
}

/* ---- by the API ------------------------------------------------------------------------------ */

struct api_message {
    char *subject, *hdrs, *data;
    uint64_t seq;
    int64_t time;
};

#define MSG_AT(member) offsetof(struct api_message, member)

static const struct json_field message_fields[] = {
    {"subject", JSON_STRING_FIELD, MSG_AT(subject), 0, NULL},
    {"hdrs", JSON_STRING_FIELD, MSG_AT(hdrs), 0, NULL},
    {"data", JSON_STRING_FIELD, MSG_AT(data), 0, NULL},
    {"seq", JSON_U64_FIELD, MSG_AT(seq), 0, NULL},
    {"time", JSON_TIME_FIELD, MSG_AT(time), 0, NULL},
};

static int hand_out(struct midge *m, const struct api_message *a, midge_on_stored on_stored,
                    void *ctx)
{
    struct buf header = {0}, payload = {0};
    int rc = MIDGE_OK;

    if (!base64_decode(&header, str_of(a->hdrs)) || !base64_decode(&payload, str_of(a->data)))
        rc = client_error(m, MIDGE_REFUSED, "an answer that is not understood");
    else
        on_stored(ctx, &(struct midge_stored){
                           .subject = midge_text_of(a->subject),
                           .header = client_text(buf_str(&header)),
                           .payload = client_text(buf_str(&payload)),
                           .seq = a->seq,
                           .time_ns = a->time,
                       });
    buf_free(&header);
    buf_free(&payload);
    return rc;
}

int midge_msg_get(struct midge *m, const char *stream, const struct midge_get *what,
                  midge_on_stored on_stored, void *ctx)
{
    struct api_message a = {0};
    struct buf body = {0};
    json_t *answer = NULL;
    int rc;

    if (!js_name_valid(stream))
        return js_bad_name(m, "stream", stream);
    buf_putc(&body, '{');
    fields_write(&body, JS_FIELDS(get_fields), what);
    buf_putc(&body, '}');
    rc = js_callf(m, &body, &answer, "STREAM.MSG.GET.%s", stream);
    if (rc == MIDGE_OK)
        rc = js_read(m, json_object_get(answer, "message"), JS_FIELDS(message_fields), &a);
    json_decref(answer);
    if (rc == MIDGE_OK)
        rc = hand_out(m, &a, on_stored, ctx);
    fields_release(JS_FIELDS(message_fields), &a);
    return rc;
}
