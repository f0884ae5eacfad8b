/*
 * kafkaz.c - /kafkaz: Kafka clients by their software, topics with what they wrote and read, groups
 * with their lag; and the same as samples of /metrics, by the names of the usual exporter for
 * Kafka.
 *
 * What one worker knows comes as JSON (env->kafka_info). A group's offsets and a partition's end
 * may be of two workers: they meet here, by account, topic and partition.
 */
#include "lib/base/mem.h"
#include "server/monitor/monitor_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct param params[] = {
    {"acc", PARAM_TEXT, ASKED(account)},
};
static const struct json_field fields[] = {
    {"account", JSON_STRING_FIELD, ASKED(account), 0, NULL},
};

void kafkaz_step(struct query *q, struct env *env, struct part *part)
{
    (void) q;
    if (env->kafka != NULL && env->kafka_info != NULL)
        part->kafka = env->kafka_info(env);
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s != NULL ? s : "";
}

static json_int_t int_of(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static void add(json_t *o, const char *key, json_int_t n)
{
    json_object_set_new(o, key, json_integer(int_of(o, key) + n));
}

/* ---- putting together ------------------------------------------------------------------------ */

/* Each kind of software once: a list of them, and where each is, by name. */
static void count_client(json_t *clients, json_t *at, const json_t *conn)
{
    char key[160];
    json_t *o;

    snprintf(key, sizeof(key), "%.64s %.64s", text_of(conn, "software"), text_of(conn, "version"));
    o = json_object_get(at, key);
    if (o == NULL) {
        o = json_object();
        put_str(o, "software", text_of(conn, "software"));
        put_str(o, "version", text_of(conn, "version"));
        put_int(o, "connections", 0);
        json_object_set_new(at, key, o);
        json_array_append(clients, o);
    }
    add(o, "connections", 1);
}

static bool is_asked(const struct query *q, const json_t *o)
{
    return q->asked.account == NULL || strcmp(q->asked.account, text_of(o, "account")) == 0;
}

/* ends: where each partition ends, by account, topic and number. */
static void key_of(char key[640], const char *account, const char *topic, json_int_t partition)
{
    snprintf(key, 640, "%.300s %.250s %lld", account, topic, (long long) partition);
}

static void put_partition(json_t *topics, json_t *at, json_t *ends, json_t *p)
{
    static const char *const sums[] = {"in_records", "in_bytes", "out_bytes", "out_file_bytes"};
    char key[640];
    json_t *o;

    key_of(key, text_of(p, "account"), text_of(p, "topic"), int_of(p, "partition"));
    json_object_set(ends, key, json_object_get(p, "end_offset"));
    key_of(key, text_of(p, "account"), text_of(p, "topic"), -1);
    o = json_object_get(at, key);
    if (o == NULL) {
        o = json_object();
        put_str(o, "account", text_of(p, "account"));
        put_str(o, "topic", text_of(p, "topic"));
        json_object_set_new(at, key, o);
        json_array_append(topics, o);
        json_object_set_new(o, "partitions", json_array());
    }
    for (size_t i = 0; i < ARRAY_LEN(sums); i++)
        add(o, sums[i], int_of(p, sums[i]));
    json_object_del(p, "account");
    json_object_del(p, "topic");
    json_array_append(json_object_get(o, "partitions"), p);
}

/* What there is to read behind the offset; of a partition that is not there nothing is said. */
static void put_lags(json_t *group, const json_t *ends)
{
    char key[640];
    json_int_t sum = 0;
    size_t k;
    json_t *o;

    json_array_foreach(json_object_get(group, "offsets"), k, o)
    {
        key_of(key, text_of(group, "account"), text_of(o, "topic"), int_of(o, "partition"));
        const json_t *end = json_object_get(ends, key);
        if (end == NULL)
            continue;
        json_int_t lag = json_integer_value(end) - int_of(o, "offset");
        put_int(o, "end_offset", json_integer_value(end));
        put_int(o, "lag", lag > 0 ? lag : 0);
        sum += lag > 0 ? lag : 0;
    }
    put_int(group, "lag", sum);
}

static int by_partition(const void *a, const void *b)
{
    json_int_t x = int_of(*(json_t *const *) a, "partition"),
               y = int_of(*(json_t *const *) b, "partition");

    return (x > y) - (x < y);
}

/* Partitions of several workers, by number. */
static void sort_partitions(json_t *topic)
{
    json_t *from = json_object_get(topic, "partitions"), *to = json_array();
    size_t n = json_array_size(from);
    json_t **all = mem_array(n + 1, sizeof(*all));

    for (size_t i = 0; i < n; i++)
        all[i] = json_array_get(from, i);
    qsort(all, n, sizeof(*all), by_partition);
    for (size_t i = 0; i < n; i++)
        json_array_append(to, all[i]);
    mem_free(all);
    json_object_set_new(topic, "partitions", to);
}

static void put_worker(const struct query *q, const json_t *kafka, json_t *out, json_t *at,
                       json_t *ends)
{
    size_t k;
    json_t *o;

    json_array_foreach(json_object_get(kafka, "connections"), k, o)
    {
        add(out, "connections", 1);
        count_client(json_object_get(out, "clients"), at, o);
    }
    json_array_foreach(json_object_get(kafka, "partitions"), k, o)
    {
        if (is_asked(q, o))
            put_partition(json_object_get(out, "topics"), at, ends, o);
    }
    json_array_foreach(json_object_get(kafka, "groups"), k, o)
    {
        if (is_asked(q, o))
            json_array_append(json_object_get(out, "groups"), o);
    }
}

/* NULL: there is no listener. */
static json_t *together(const struct query *q)
{
    json_t *o = NULL, *at = json_object(), *ends = json_object(), *one;
    size_t k;

    for (unsigned i = 0; i < q->workers; i++) {
        if (q->parts[i].kafka == NULL)
            continue;
        if (o == NULL)
            o = json_pack("{s:i, s:[], s:[], s:[]}", "connections", 0, "clients", "topics",
                          "groups");
        put_worker(q, q->parts[i].kafka, o, at, ends);
    }
    json_array_foreach(json_object_get(o, "topics"), k, one)
    {
        sort_partitions(one);
    }
    json_array_foreach(json_object_get(o, "groups"), k, one)
    {
        put_lags(one, ends);
    }
    json_decref(at);
    json_decref(ends);
    return o;
}

static json_t *finish(struct query *q)
{
    json_t *o = json_object(), *kafka = together(q);

    put_identity_and_now(o, q);
    put_bool(o, "disabled", kafka == NULL);
    if (kafka != NULL)
        json_object_update(o, kafka);
    json_decref(kafka);
    return o;
}

const struct document kafkaz_document = {
    .path = "/kafkaz",
    .name = "KAFKAZ",
    .params = params,
    .nparams = ARRAY_LEN(params),
    .fields = fields,
    .nfields = ARRAY_LEN(fields),
    .step = kafkaz_step,
    .finish = finish,
};

/* ---- samples --------------------------------------------------------------------------------- */

struct sample {
    const char *name, *type, *help, *key;
};

static const struct sample of_topics[] = {
    {"kafka_topic_in_records_total", "counter", "records of Kafka producers", "in_records"},
    {"kafka_topic_in_bytes_total", "counter", "bytes of their batches", "in_bytes"},
    {"kafka_topic_out_bytes_total", "counter", "bytes of batches read by Kafka consumers",
     "out_bytes"},
};

static const struct sample of_partitions[] = {
    {"kafka_topic_partition_current_offset", "gauge", "the offset behind the last record",
     "end_offset"},
    {"kafka_topic_partition_oldest_offset", "gauge", "the offset of the first record",
     "start_offset"},
};

static const struct sample of_groups[] = {
    {"kafka_consumergroup_members", "gauge", "members", "members"},
    {"kafka_consumergroup_lag_sum", "gauge", "records behind what was committed, in all", "lag"},
};

static const struct sample of_offsets[] = {
    {"kafka_consumergroup_current_offset", "gauge", "what was committed", "offset"},
    {"kafka_consumergroup_lag", "gauge", "records behind what was committed", "lag"},
};

/* One sample of all topics, or of all groups. */
static void put_each(struct buf *b, const struct sample *s, const char *labels, const char *label,
                     const char *name, json_t *list)
{
    size_t k;
    json_t *o;

    metrics_put_head(b, s->name, s->type, s->help);
    json_array_foreach(list, k, o)
    {
        struct buf more = {0};
        buf_puts(&more, labels);
        metrics_put_label(&more, ",account", text_of(o, "account"));
        metrics_put_label(&more, label, text_of(o, name));
        metrics_put_value(b, s->name, buf_cstr(&more), json_object_get(o, s->key));
        buf_free(&more);
    }
}

/* One sample of all partitions of all topics, or of all offsets of all groups. */
static void put_inner(struct buf *b, const struct sample *s, const char *labels, const char *label,
                      const char *name, json_t *list, const char *inner)
{
    size_t k, i;
    json_t *o, *p;
    char number[24];

    metrics_put_head(b, s->name, s->type, s->help);
    json_array_foreach(list, k, o)
    {
        json_array_foreach(json_object_get(o, inner), i, p)
        {
            struct buf more = {0};
            const json_t *value = json_object_get(p, s->key);
            if (value == NULL)
                continue;
            buf_puts(&more, labels);
            metrics_put_label(&more, ",account", text_of(o, "account"));
            metrics_put_label(&more, label, text_of(o, name));
            if (json_object_get(p, "topic") != NULL)
                metrics_put_label(&more, ",topic", text_of(p, "topic"));
            snprintf(number, sizeof(number), "%lld", (long long) int_of(p, "partition"));
            metrics_put_label(&more, ",partition", number);
            metrics_put_value(b, s->name, buf_cstr(&more), value);
            buf_free(&more);
        }
    }
}

static void put_clients(struct buf *b, const char *labels, json_t *clients)
{
    size_t k;
    json_t *o;

    metrics_put_head(b, "kafka_connections", "gauge", "connections by their software");
    json_array_foreach(clients, k, o)
    {
        struct buf more = {0};
        buf_puts(&more, labels);
        metrics_put_label(&more, ",software", text_of(o, "software"));
        metrics_put_label(&more, ",version", text_of(o, "version"));
        metrics_put_value(b, "kafka_connections", buf_cstr(&more),
                          json_object_get(o, "connections"));
        buf_free(&more);
    }
}

void kafkaz_metrics(struct buf *b, struct query *q, const char *labels)
{
    json_t *o = together(q), *topics = json_object_get(o, "topics"),
           *groups = json_object_get(o, "groups");

    if (o == NULL)
        return;
    put_clients(b, labels, json_object_get(o, "clients"));
    for (size_t i = 0; i < ARRAY_LEN(of_topics); i++)
        put_each(b, &of_topics[i], labels, ",topic", "topic", topics);
    for (size_t i = 0; i < ARRAY_LEN(of_partitions); i++)
        put_inner(b, &of_partitions[i], labels, ",topic", "topic", topics, "partitions");
    for (size_t i = 0; i < ARRAY_LEN(of_groups); i++)
        put_each(b, &of_groups[i], labels, ",consumergroup", "group", groups);
    for (size_t i = 0; i < ARRAY_LEN(of_offsets); i++)
        put_inner(b, &of_offsets[i], labels, ",consumergroup", "group", groups, "offsets");
    json_decref(o);
}
