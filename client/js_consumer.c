/* js_consumer.c - managing consumers: the configuration as JSON, and the API's subjects. */
#include "client/js_int.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"

#include <string.h>

static const char *const delivers[] = {
    "all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject", NULL};
static const char *const acks[] = {"explicit", "all", "none", "flow_control", NULL};
static const char *const replays[] = {"instant", "original", NULL};
static const char *const priorities[] = {"none", "overflow", "pinned_client", "prioritized", NULL};

#define AT(member) offsetof(struct midge_consumer_config, member)
#define FIELD(key, type, member)                                                                   \
    {                                                                                              \
        (key), (type), AT(member), JSON_OMIT_EMPTY, NULL                                           \
    }
#define TEXT(member) FIELD(#member, JSON_STRING_FIELD, member)
#define NUMBER(member) FIELD(#member, JSON_I64_FIELD, member)
#define FLAG(member) FIELD(#member, JSON_BOOL_FIELD, member)

static const struct json_field config_fields[] = {
    TEXT(name),
    TEXT(durable_name),
    TEXT(description),
    {"deliver_policy", JSON_ENUM_FIELD, AT(deliver_policy), 0, delivers},
    {"ack_policy", JSON_ENUM_FIELD, AT(ack_policy), 0, acks},
    {"replay_policy", JSON_ENUM_FIELD, AT(replay_original), JSON_OMIT_EMPTY, replays},
    {"priority_policy", JSON_ENUM_FIELD, AT(priority_policy), JSON_OMIT_EMPTY, priorities},
    FIELD("opt_start_seq", JSON_U64_FIELD, start_seq),
    FIELD("opt_start_time", JSON_TIME_FIELD, start_time),
    NUMBER(ack_wait),
    NUMBER(inactive_threshold),
    NUMBER(idle_heartbeat),
    NUMBER(max_expires),
    NUMBER(priority_timeout),
    NUMBER(max_deliver),
    NUMBER(max_waiting),
    NUMBER(max_ack_pending),
    NUMBER(max_batch),
    NUMBER(max_bytes),
    NUMBER(rate_limit_bps),
    NUMBER(num_replicas),
    FIELD("pause_until", JSON_TIME_FIELD, pause_until),
    FIELD("backoff", JSON_I64S_FIELD, backoff),
    TEXT(filter_subject),
    FIELD("filter_subjects", JSON_LIST_FIELD, filter_subjects),
    TEXT(sample_freq),
    TEXT(deliver_subject),
    TEXT(deliver_group),
    FLAG(flow_control),
    FLAG(headers_only),
    FLAG(mem_storage),
    FIELD("priority_groups", JSON_LIST_FIELD, priority_groups),
    FIELD("metadata", JSON_TEXT_FIELD, metadata),
};

#define INFO_AT(member) offsetof(struct midge_consumer_info, member)
#define INFO_U64(key, member)                                                                      \
    {                                                                                              \
        (key), JSON_U64_FIELD, INFO_AT(member), 0, NULL                                            \
    }

static const struct json_field info_fields[] = {
    {"stream_name", JSON_STRING_FIELD, INFO_AT(stream), 0, NULL},
    {"name", JSON_STRING_FIELD, INFO_AT(name), 0, NULL},
    {"created", JSON_TIME_FIELD, INFO_AT(created), 0, NULL},
    {"push_bound", JSON_BOOL_FIELD, INFO_AT(push_bound), 0, NULL},
    {"paused", JSON_BOOL_FIELD, INFO_AT(paused), 0, NULL},
    {"pause_remaining", JSON_I64_FIELD, INFO_AT(pause_remaining), 0, NULL},
    INFO_U64("num_ack_pending", num_ack_pending),
    INFO_U64("num_redelivered", num_redelivered),
    INFO_U64("num_waiting", num_waiting),
    INFO_U64("num_pending", num_pending),
};
static const struct json_field delivered_fields[] = {
    INFO_U64("consumer_seq", delivered_consumer_seq),
    INFO_U64("stream_seq", delivered_stream_seq),
};
static const struct json_field floor_fields[] = {
    INFO_U64("consumer_seq", floor_consumer_seq),
    INFO_U64("stream_seq", floor_stream_seq),
};

/* ---- structs --------------------------------------------------------------------------------- */

void js_put_consumer_config(struct buf *b, const struct midge_consumer_config *config)
{
    buf_putc(b, '{');
    fields_write(b, JS_FIELDS(config_fields), config);
    buf_putc(b, '}');
}

int js_read_consumer_info(struct midge *m, json_t *answer, struct midge_consumer_info *info)
{
    int rc = js_read(m, json_object_get(answer, "config"), JS_FIELDS(config_fields), &info->config);

    if (rc == MIDGE_OK)
        rc = js_read(m, answer, JS_FIELDS(info_fields), info);
    if (rc == MIDGE_OK)
        rc = js_read(m, json_object_get(answer, "delivered"), JS_FIELDS(delivered_fields), info);
    if (rc == MIDGE_OK)
        rc = js_read(m, json_object_get(answer, "ack_floor"), JS_FIELDS(floor_fields), info);
    return rc;
}

void midge_consumer_info_free(struct midge_consumer_info *info)
{
    fields_release(JS_FIELDS(config_fields), &info->config);
    fields_release(JS_FIELDS(info_fields), info);
    *info = (struct midge_consumer_info){0};
}

/* ---- calls ----------------------------------------------------------------------------------- */

static int check_names(struct midge *m, const char *stream, const char *consumer)
{
    if (!js_name_valid(stream))
        return js_bad_name(m, "stream", stream);
    return js_name_valid(consumer) ? MIDGE_OK : js_bad_name(m, "consumer", consumer);
}

/* Frees body. */
static int call(struct midge *m, struct buf *body, struct midge_consumer_info *info,
                const char *verb, const char *stream, const char *consumer)
{
    json_t *answer = NULL;
    int rc = check_names(m, stream, consumer);

    if (info != NULL)
        *info = (struct midge_consumer_info){0};
    if (rc == MIDGE_OK)
        rc = js_callf(m, body, &answer, "CONSUMER.%s.%s.%s", verb, stream, consumer);
    else if (body != NULL)
        buf_free(body);
    if (rc == MIDGE_OK && info != NULL)
        rc = js_read_consumer_info(m, answer, info);
    json_decref(answer);
    return rc;
}

static int create(struct midge *m, const char *stream, const struct midge_consumer_config *config,
                  struct midge_consumer_info *info, const char *action)
{
    struct midge_consumer_config c = *config;
    struct buf body = {0};
    char name[NUID_LEN + 1];

    if (c.name == NULL && c.durable_name != NULL)
        c.name = c.durable_name;
    if (c.name == NULL) {
        nuid_next(&m->nuid, name);
        c.name = name;
    }
    buf_puts(&body, "{\"stream_name\":");
    jput_string(&body, str_of(stream));
    buf_puts(&body, ",\"config\":");
    js_put_consumer_config(&body, &c);
    buf_printf(&body, ",\"action\":\"%s\"}", action);
    return call(m, &body, info, "CREATE", stream, c.name);
}

int midge_consumer_create(struct midge *m, const char *stream,
                          const struct midge_consumer_config *config,
                          struct midge_consumer_info *info)
{
    return create(m, stream, config, info, "create");
}

int midge_consumer_update(struct midge *m, const char *stream,
                          const struct midge_consumer_config *config,
                          struct midge_consumer_info *info)
{
    return create(m, stream, config, info, "update");
}

int midge_consumer_info(struct midge *m, const char *stream, const char *consumer,
                        struct midge_consumer_info *info)
{
    return call(m, NULL, info, "INFO", stream, consumer);
}

int midge_consumer_delete(struct midge *m, const char *stream, const char *consumer)
{
    return call(m, NULL, NULL, "DELETE", stream, consumer);
}

int midge_consumer_pause(struct midge *m, const char *stream, const char *consumer, int64_t until)
{
    struct buf body = {0};

    buf_puts(&body, "{");
    if (until != 0) {
        buf_puts(&body, "\"pause_until\":");
        jput_time(&body, until);
    }
    buf_puts(&body, "}");
    return call(m, &body, NULL, "PAUSE", stream, consumer);
}

int midge_consumer_reset(struct midge *m, const char *stream, const char *consumer, uint64_t seq)
{
    struct buf body = {0};

    if (seq != 0)
        buf_printf(&body, "{\"seq\":%llu}", (unsigned long long) seq);
    return call(m, &body, NULL, "RESET", stream, consumer);
}

int midge_consumer_unpin(struct midge *m, const char *stream, const char *consumer,
                         const char *group)
{
    struct buf body = {0};

    buf_puts(&body, "{\"group\":");
    jput_string(&body, str_of(group));
    buf_puts(&body, "}");
    return call(m, &body, NULL, "UNPIN", stream, consumer);
}

/* ---- lists ----------------------------------------------------------------------------------- */

struct listing {
    struct midge *m;
    midge_on_name on_name;
    midge_on_consumer on_consumer;
    void *ctx;
    int rc;
};

static void list_name(void *ctx, json_t *item)
{
    struct listing *l = ctx;

    if (json_is_string(item))
        l->on_name(l->ctx, json_string_value(item));
}

static void list_consumer(void *ctx, json_t *item)
{
    struct listing *l = ctx;
    struct midge_consumer_info info = {0};

    if (l->rc == MIDGE_OK)
        l->rc = js_read_consumer_info(l->m, item, &info);
    if (l->rc == MIDGE_OK)
        l->on_consumer(l->ctx, &info);
    midge_consumer_info_free(&info);
}

static int list(struct listing *l, const char *what, const char *stream,
                void (*each)(void *ctx, json_t *item))
{
    struct buf subject = {0};
    int rc;

    if (!js_name_valid(stream))
        return js_bad_name(l->m, "stream", stream);
    buf_printf(&subject, "CONSUMER.%s.%s", what, stream);
    rc = js_pages(l->m, buf_cstr(&subject), NULL, "consumers", each, l);
    buf_free(&subject);
    return rc != MIDGE_OK ? rc : l->rc;
}

int midge_consumer_names(struct midge *m, const char *stream, midge_on_name each, void *ctx)
{
    return list(&(struct listing){.m = m, .on_name = each, .ctx = ctx}, "NAMES", stream, list_name);
}

int midge_consumer_list(struct midge *m, const char *stream, midge_on_consumer each, void *ctx)
{
    return list(&(struct listing){.m = m, .on_consumer = each, .ctx = ctx}, "LIST", stream,
                list_consumer);
}
