/*
 * healthz.c - /healthz: does the server take connections, is JetStream there, are streams well?
 *
 * One text (`error`), or with details a list of all that is wrong (`errors`).
 *
 * The status of HTTP is for what starts and stops servers: it says whether this one serves. A
 * stream that has lost messages to damage serves all others, and a server that is restarted, or
 * gets no traffic, because one of a billion messages is gone is the greater harm. So a loss alone
 * leaves the status 200, while the document says "error" and names it, until somebody has put what
 * he has seen into the stream's metadata (JS_LOST_SEEN) or the stream is gone. The same goes for a
 * commit log without its second copy: nothing is lost, and less would be mended.
 */
#include "server/monitor/monitor_int.h"

#include <stdarg.h>
#include <stdio.h>

static const struct param params[] = {
    {"js-enabled", PARAM_BOOL, ASKED(js_enabled)},
    {"js-enabled-only", PARAM_BOOL, ASKED(js_enabled_only)},
    {"js-server-only", PARAM_BOOL, ASKED(js_server_only)},
    {"js-meta-only", PARAM_BOOL, ASKED(js_meta_only)},
    {"details", PARAM_BOOL, ASKED(details)},
    {"account", PARAM_TEXT, ASKED(account)},
    {"stream", PARAM_TEXT, ASKED(stream)},
    {"consumer", PARAM_TEXT, ASKED(consumer)},
};
static const struct json_field fields[] = {
    {"js-enabled", JSON_BOOL_FIELD, ASKED(js_enabled), 0, NULL},
    {"js-enabled-only", JSON_BOOL_FIELD, ASKED(js_enabled_only), 0, NULL},
    {"js-server-only", JSON_BOOL_FIELD, ASKED(js_server_only), 0, NULL},
    {"js-meta-only", JSON_BOOL_FIELD, ASKED(js_meta_only), 0, NULL},
    {"account", JSON_STRING_FIELD, ASKED(account), 0, NULL},
    {"stream", JSON_STRING_FIELD, ASKED(stream), 0, NULL},
    {"consumer", JSON_STRING_FIELD, ASKED(consumer), 0, NULL},
    {"details", JSON_BOOL_FIELD, ASKED(details), 0, NULL},
};

/* ---- a worker's part ------------------------------------------------------------------------- */

static void add_bad(void *ctx, const char *account, const char *stream, const char *reason)
{
    json_t *o = json_object();

    put_str(o, "account", account);
    put_str(o, "stream", stream);
    put_str(o, "error", reason);
    json_array_append_new(ctx, o);
}

static void add_lost(void *ctx, const char *account, const char *stream, uint64_t msgs)
{
    json_t *o = json_object();

    put_str(o, "account", account);
    put_str(o, "stream", stream);
    json_object_set_new(o, "lost", json_integer((json_int_t) msgs));
    json_array_append_new(ctx, o);
}

static void step(struct query *q, struct env *env, struct part *part)
{
    const struct asked *a = &q->asked;

    part->bad = json_array();
    part->has_js = env->jetstream != NULL;
    if (part->has_js)
        jetstream_health(env->jetstream,
                         &(struct js_health_question){.account = a->account,
                                                      .stream = a->stream,
                                                      .consumer = a->consumer,
                                                      .bad = add_bad,
                                                      .lost = add_lost,
                                                      .ctx = part->bad},
                         &part->health);
}

/* ---- the document ---------------------------------------------------------------------------- */

struct health {
    struct query *q;
    const char *status;
    char text[400];
    json_t *errors;
};

static void unwell(struct health *h, const char *type, const char *status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void unwell(struct health *h, const char *type, const char *status, const char *format, ...)
{
    const struct asked *a = &h->q->asked;
    va_list args;
    json_t *o;

    va_start(args, format);
    vsnprintf(h->text, sizeof(h->text), format, args);
    va_end(args);
    h->status = status;
    o = json_object();
    put_str(o, "type", type);
    if (type[0] == 'A' || type[0] == 'S' || (type[0] == 'C' && a->consumer != NULL))
        put_text(o, "account", a->account);
    if (type[0] == 'S' || (type[0] == 'C' && a->consumer != NULL))
        put_text(o, "stream", a->stream);
    if (type[0] == 'C')
        put_text(o, "consumer", a->consumer);
    put_str(o, "error", h->text);
    json_array_append_new(h->errors, o);
}

static int missing(struct health *h, const char *what)
{
    unwell(h, "BAD_REQUEST", "error", "\"%s\" must not be empty when checking %s health", what,
           what[0] == 'a' ? "stream" : "consumer");
    return 400;
}

static void look_for(const struct query *q, struct js_health *all)
{
    *all = (struct js_health){0};
    for (unsigned i = 0; i < q->workers; i++) {
        all->account |= q->parts[i].health.account;
        all->stream |= q->parts[i].health.stream;
        all->consumer |= q->parts[i].health.consumer;
    }
}

static int not_found(struct health *h)
{
    const struct asked *a = &h->q->asked;
    struct js_health found;

    look_for(h->q, &found);
    if (a->account != NULL && !found.account)
        unwell(h, "ACCOUNT", "unavailable", "JetStream account \"%.64s\" not found", a->account);
    else if (a->stream != NULL && !found.stream)
        unwell(h, "STREAM", "unavailable",
               "JetStream stream \"%.100s\" not found on account \"%.64s\"", a->stream, a->account);
    else if (a->consumer != NULL && !found.consumer)
        unwell(h, "CONSUMER", "unavailable",
               "JetStream consumer \"%.100s\" not found for stream \"%.100s\" on account \"%.64s\"",
               a->consumer, a->stream, a->account);
    else
        return 200;
    return 404;
}

static void bad_stream(struct health *h, const json_t *one)
{
    const char *account = json_string_value(json_object_get(one, "account"));
    const char *stream = json_string_value(json_object_get(one, "stream"));
    const char *error = json_string_value(json_object_get(one, "error"));
    json_int_t lost = json_integer_value(json_object_get(one, "lost"));
    json_t *o = json_object();

    if (error != NULL)
        snprintf(h->text, sizeof(h->text), "JetStream stream '%.64s > %.100s' write error: %s",
                 account, stream, error);
    else
        snprintf(h->text, sizeof(h->text),
                 "JetStream stream '%.64s > %.100s' has lost %llu message%s to damage", account,
                 stream, (unsigned long long) lost, lost == 1 ? "" : "s");
    put_str(o, "type", "STREAM");
    put_str(o, "account", account);
    put_str(o, "stream", stream);
    put_str(o, "error", h->text);
    json_array_append_new(h->errors, o);
}

/* Those that lost something first: with one text only, that of a stream that does not serve is the
 * one to show. */
static int bad_streams(struct health *h)
{
    int status = 200;

    for (int failed = 0; failed < 2; failed++)
        for (unsigned i = 0; i < h->q->workers; i++) {
            size_t k;
            json_t *one;
            json_array_foreach(h->q->parts[i].bad, k, one)
            {
                if ((json_object_get(one, "error") != NULL) != (failed == 1))
                    continue;
                bad_stream(h, one);
                h->status = failed == 1 ? "unavailable" : "error";
                status = failed == 1 ? 503 : status;
            }
        }
    return status;
}

/* Asked about all of the server. What is worse has the text. */
static void log_copies(struct health *h)
{
    const struct query *q = h->q;

    if (q->asked.account != NULL || q->asked.stream != NULL ||
        (h->text[0] != '\0' && !q->asked.details))
        return;
    for (unsigned i = 0; i < q->workers; i++)
        if (q->parts[i].health.log_alone) {
            unwell(h, "STORE", h->text[0] != '\0' ? h->status : "error",
                   "the second copy of the commit log can not be written");
            return;
        }
}

/* Returns the status of HTTP. */
static int check(struct health *h)
{
    const struct monitor_host *host = &h->q->reports->host;
    const struct asked *a = &h->q->asked;
    const char *text = host->unhealthy(host->ctx);
    int status;

    if (a->account == NULL && a->stream != NULL)
        return missing(h, "account");
    if (a->stream == NULL && a->consumer != NULL)
        return missing(h, "stream");
    if (text != NULL) {
        unwell(h, "CONNECTION", "error", "%s", text);
        return 500;
    }
    if (a->js_server_only)
        return 200;
    /* One that was not asked to have JetStream lacks nothing, whatever the question. */
    if (!host->options->jetstream || a->js_enabled || a->js_enabled_only)
        return 200;
    status = bad_streams(h);
    log_copies(h);
    return status != 200 ? status : not_found(h);
}

static json_t *healthz(struct query *q)
{
    struct health h = {.q = q, .status = "ok", .errors = json_array()};
    json_t *o = json_object();

    q->status = check(&h);
    if (q->asked.details)
        h.status = json_array_size(h.errors) > 0 ? "error" : "ok";
    put_str(o, "status", h.status);
    put_int(o, "status_code", q->status);
    if (h.text[0] != '\0' && !q->asked.details)
        put_str(o, "error", h.text);
    if (q->asked.details && json_array_size(h.errors) > 0)
        json_object_set(o, "errors", h.errors);
    if (q->status != 200) /* a loss was logged when it was found */
        LOG_WRN(q->reports->host.log, "Healthcheck failed: \"%s\"", h.text);
    json_decref(h.errors);
    return o;
}

const struct document healthz_document = {
    .path = "/healthz",
    .name = "HEALTHZ",
    .params = params,
    .nparams = ARRAY_LEN(params),
    .fields = fields,
    .nfields = ARRAY_LEN(fields),
    .step = step,
    .finish = healthz,
};
