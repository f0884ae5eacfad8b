/*
 * metrics.c - /metrics: numbers for Prometheus, in its text format. Names are those of the usual
 * exporter for nats-server, so that dashboards made for it work; docs/monitoring.md lists them.
 *
 * The numbers of a document become samples by their names: varz and connz flat, JetStream with
 * labels of server, account, stream and consumer.
 */
#include "server/monitor/monitor_int.h"

#include <stdio.h>
#include <string.h>

/* Connections twice, then JetStream, all in slices; all else with the last one. */
static void step(struct query *q, struct env *env, struct part *part)
{
    static const struct js_detail_options o = {.streams = true, .consumers = true};

    if (!part->listed) {
        connz_document.step(q, env, part);
        if (part->more)
            return;
        part->listed = true;
        part->from = 0;
    }
    if (!part->summed) {
        varz_document.step(q, env, part);
        if (part->more)
            return;
        part->summed = true;
    }
    step_jetstream(env, &o, part);
    if (!part->more)
        kafkaz_step(q, env, part);
}

/* ---- the format ------------------------------------------------------------------------------ */

void metrics_put_label(struct buf *b, const char *key, const char *value)
{
    buf_printf(b, "%s=\"", key);
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '\\' || *p == '"')
            buf_putc(b, '\\');
        if (*p == '\n')
            buf_puts(b, "\\n");
        else
            buf_putc(b, *p);
    }
    buf_putc(b, '"');
}

void metrics_put_head(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_put_value(struct buf *b, const char *name, const char *labels, const json_t *v)
{
    buf_printf(b, "%s{%s} ", name, labels);
    if (json_is_real(v))
        buf_printf(b, "%.17g", json_real_value(v));
    else if (json_is_boolean(v))
        buf_puts(b, json_is_true(v) ? "1" : "0");
    else
        buf_put_i64(b, json_integer_value(v));
    buf_putc(b, '\n');
}

static bool is_number(const json_t *v)
{
    return json_is_number(v) || json_is_boolean(v);
}

/* ---- varz ------------------------------------------------------------------------------------ */

static const char *const counters[] = {
    "total_connections", "in_msgs",        "in_bytes",          "out_msgs",
    "out_bytes",         "in_client_msgs", "in_client_bytes",   "out_client_msgs",
    "out_client_bytes",  "slow_consumers", "stale_connections", "stalled_clients",
};

static const char *type_of(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(counters); i++)
        if (strcmp(counters[i], key) == 0)
            return "counter";
    return "gauge";
}

/* Every number of the object, one level of objects below it too. */
static void put_object(struct buf *b, const char *prefix, const char *labels, json_t *o,
                       unsigned depth)
{
    const char *key;
    json_t *v;
    char name[192];

    json_object_foreach(o, key, v)
    {
        snprintf(name, sizeof(name), "%s_%s", prefix, key);
        for (char *p = name; *p != '\0'; p++)
            if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", *p) ==
                NULL)
                *p = '_';
        if (json_is_object(v) && depth > 0) {
            put_object(b, name, labels, v, depth - 1);
        } else if (is_number(v)) {
            metrics_put_head(b, name, type_of(key), key);
            metrics_put_value(b, name, labels, v);
        }
    }
}

static void put_varz(struct buf *b, struct query *q, const char *labels)
{
    json_t *o = varz_document.finish(q);
    char text[640];

    json_object_del(o, "http_req_stats");
    put_object(b, "gnatsd_varz", labels, o, 3);
    metrics_put_head(b, "gnatsd_varz_start", "gauge", "start");
    buf_printf(b, "gnatsd_varz_start{%s} %.3f\n", labels,
               (double) q->reports->host.start_wall_ns / 1e6);
    snprintf(text, sizeof(text), "%s,version=\"%.64s\"", labels, q->reports->host.version);
    metrics_put_head(b, "gnatsd_varz_version", "gauge", "version");
    buf_printf(b, "gnatsd_varz_version{%s} 1\n", text);
    json_decref(o);
}

/* ---- connz ----------------------------------------------------------------------------------- */

static void put_connz(struct buf *b, struct query *q, const char *labels)
{
    static const char *const keys[] = {"num_connections", "total", "offset", "limit"};
    static const char *const sums[] = {"pending_bytes", "subscriptions", "in_msgs",
                                       "out_msgs",      "in_bytes",      "out_bytes"};
    json_t *o = connz_document.finish(q), *one;
    char name[96];
    size_t k;

    for (size_t i = 0; o != NULL && i < ARRAY_LEN(keys); i++) {
        snprintf(name, sizeof(name), "gnatsd_connz_%s", keys[i]);
        metrics_put_head(b, name, "gauge", keys[i]);
        metrics_put_value(b, name, labels, json_object_get(o, keys[i]));
    }
    for (size_t i = 0; o != NULL && i < ARRAY_LEN(sums); i++) {
        json_int_t sum = 0;
        json_array_foreach(json_object_get(o, "connections"), k, one)
        {
            sum += json_integer_value(json_object_get(one, sums[i]));
        }
        snprintf(name, sizeof(name), "gnatsd_connz_%s", sums[i]);
        metrics_put_head(b, name, "gauge", sums[i]);
        buf_printf(b, "%s{%s} %lld\n", name, labels, (long long) sum);
    }
    json_decref(o);
}

/* ---- JetStream ------------------------------------------------------------------------------- */

static const struct {
    const char *name, *at; /* a path in the server's document */
} server_samples[] = {
    {"jetstream_server_total_streams", "streams"},
    {"jetstream_server_total_consumers", "consumers"},
    {"jetstream_server_total_messages", "messages"},
    {"jetstream_server_total_message_bytes", "bytes"},
    {"jetstream_server_max_memory", "config.max_memory"},
    {"jetstream_server_max_storage", "config.max_storage"},
    {"jetstream_server_memory", "memory"},
    {"jetstream_server_storage", "storage"},
    {"jetstream_server_reserved_memory", "reserved_memory"},
    {"jetstream_server_reserved_storage", "reserved_storage"},
    {"jetstream_server_api_total", "api.total"},
    {"jetstream_server_api_errors", "api.errors"},
};

static const struct {
    const char *name, *at;
} stream_samples[] = {
    {"jetstream_stream_total_messages", "state.messages"},
    {"jetstream_stream_total_bytes", "state.bytes"},
    {"jetstream_stream_first_seq", "state.first_seq"},
    {"jetstream_stream_last_seq", "state.last_seq"},
    {"jetstream_stream_consumer_count", "state.consumer_count"},
    {"jetstream_stream_subject_count", "state.num_subjects"},
    {"jetstream_stream_lost_messages", "state.lost.msgs"},
};

static const struct {
    const char *name, *at;
} consumer_samples[] = {
    {"jetstream_consumer_delivered_consumer_seq", "delivered.consumer_seq"},
    {"jetstream_consumer_delivered_stream_seq", "delivered.stream_seq"},
    {"jetstream_consumer_num_ack_pending", "num_ack_pending"},
    {"jetstream_consumer_num_redelivered", "num_redelivered"},
    {"jetstream_consumer_num_waiting", "num_waiting"},
    {"jetstream_consumer_num_pending", "num_pending"},
    {"jetstream_consumer_ack_floor_stream_seq", "ack_floor.stream_seq"},
    {"jetstream_consumer_ack_floor_consumer_seq", "ack_floor.consumer_seq"},
};

static const json_t *at_path(const json_t *o, const char *path)
{
    char text[64];
    char *dot;

    snprintf(text, sizeof(text), "%s", path);
    dot = strchr(text, '.');
    if (dot == NULL)
        return json_object_get(o, text);
    *dot = '\0';
    return at_path(json_object_get(o, text), dot + 1);
}

static void put_each_consumer(struct buf *b, const char *name, const char *at, const char *labels,
                              const json_t *stream)
{
    size_t k;
    json_t *c;

    json_array_foreach(json_object_get(stream, "consumer_detail"), k, c)
    {
        struct buf more = {0};
        buf_puts(&more, labels);
        metrics_put_label(&more, ",consumer_name", json_string_value(json_object_get(c, "name")));
        metrics_put_value(b, name, buf_cstr(&more), at_path(c, at));
        buf_free(&more);
    }
}

/* One sample of all streams, or of all consumers of all streams: samples of a name are together. */
static void put_each_stream(struct buf *b, const char *name, const char *at, const char *labels,
                            const json_t *accounts, bool consumers)
{
    size_t i, k;
    json_t *a, *s;

    metrics_put_head(b, name, "gauge", at);
    json_array_foreach((json_t *) (uintptr_t) accounts, i, a)
    {
        json_array_foreach(json_object_get(a, "stream_detail"), k, s)
        {
            struct buf more = {0};
            buf_puts(&more, labels);
            metrics_put_label(&more, ",account", json_string_value(json_object_get(a, "name")));
            metrics_put_label(&more, ",stream_name", json_string_value(json_object_get(s, "name")));
            if (consumers)
                put_each_consumer(b, name, at, buf_cstr(&more), s);
            else
                metrics_put_value(b, name, buf_cstr(&more), at_path(s, at));
            buf_free(&more);
        }
    }
}

static void put_jsz(struct buf *b, struct query *q, const char *labels)
{
    json_t *o, *accounts;

    q->asked.accounts = true;
    o = jsz_document.finish(q);
    accounts = json_object_get(o, "account_details");
    metrics_put_head(b, "jetstream_server_jetstream_disabled", "gauge", "disabled");
    buf_printf(b, "jetstream_server_jetstream_disabled{%s} %d\n", labels,
               json_is_true(json_object_get(o, "disabled")));
    for (size_t i = 0; i < ARRAY_LEN(server_samples); i++) {
        metrics_put_head(b, server_samples[i].name, "gauge", server_samples[i].at);
        metrics_put_value(b, server_samples[i].name, labels, at_path(o, server_samples[i].at));
    }
    for (size_t i = 0; i < ARRAY_LEN(stream_samples); i++)
        put_each_stream(b, stream_samples[i].name, stream_samples[i].at, labels, accounts, false);
    for (size_t i = 0; i < ARRAY_LEN(consumer_samples); i++)
        put_each_stream(b, consumer_samples[i].name, consumer_samples[i].at, labels, accounts,
                        true);
    json_decref(o);
}

/* ---- the document ---------------------------------------------------------------------------- */

static json_t *metrics(struct query *q)
{
    struct buf labels = {0}, js = {0};

    metrics_put_label(&labels, "server_id", q->reports->host.server_id);
    metrics_put_label(&js, "server_id", q->reports->host.server_id);
    metrics_put_label(&js, ",server_name", q->reports->host.server_name);
    metrics_put_label(&js, ",cluster", "");
    metrics_put_label(&js, ",domain",
                      q->reports->host.options->domain != NULL ? q->reports->host.options->domain
                                                               : "");
    put_varz(&q->text, q, buf_cstr(&labels));
    put_connz(&q->text, q, buf_cstr(&labels));
    put_jsz(&q->text, q, buf_cstr(&js));
    kafkaz_metrics(&q->text, q, buf_cstr(&labels));
    buf_free(&labels);
    buf_free(&js);
    q->type = "text/plain; version=0.0.4; charset=utf-8";
    return NULL;
}

const struct document metrics_document = {.path = "/metrics", .step = step, .finish = metrics};
