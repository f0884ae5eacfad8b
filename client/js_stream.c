/* js_stream.c - managing streams: the configuration as JSON, and the API's subjects. */
#include "client/js_int.h"
#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"

#include <string.h>

_Static_assert(sizeof(struct midge_texts) == sizeof(struct str_list), "read as a str_list");
_Static_assert(sizeof(struct midge_numbers) == sizeof(struct i64_list), "read as an i64_list");

static const char *const retentions[] = {"limits", "interest", "workqueue", NULL};
static const char *const discards[] = {"old", "new", NULL};
static const char *const storages[] = {"file", "memory", NULL};
static const char *const compressions[] = {"none", "s2", NULL};
static const char *const persists[] = {"default", "async", NULL};

#define AT(member) offsetof(struct midge_stream_config, member)
#define TEXT(member)                                                                               \
    {                                                                                              \
#member, JSON_STRING_FIELD, AT(member), JSON_OMIT_EMPTY, NULL                              \
    }
#define NUMBER(member)                                                                             \
    {                                                                                              \
#member, JSON_I64_FIELD, AT(member), JSON_OMIT_EMPTY, NULL                                 \
    }
#define FLAG(member)                                                                               \
    {                                                                                              \
#member, JSON_BOOL_FIELD, AT(member), JSON_OMIT_EMPTY, NULL                                \
    }
#define CHOICE(member, texts)                                                                      \
    {                                                                                              \
#member, JSON_ENUM_FIELD, AT(member), JSON_OMIT_EMPTY, texts                               \
    }
#define JSON(member)                                                                               \
    {                                                                                              \
#member, JSON_TEXT_FIELD, AT(member), JSON_OMIT_EMPTY, NULL                                \
    }

static const struct json_field config_fields[] = {
    TEXT(name),
    TEXT(description),
    {"subjects", JSON_LIST_FIELD, AT(subjects), JSON_OMIT_EMPTY, NULL},
    CHOICE(retention, retentions),
    CHOICE(discard, discards),
    CHOICE(storage, storages),
    CHOICE(compression, compressions),
    CHOICE(persist_mode, persists),
    NUMBER(max_consumers),
    NUMBER(max_msgs),
    NUMBER(max_bytes),
    NUMBER(max_msgs_per_subject),
    NUMBER(max_msg_size),
    NUMBER(max_age),
    NUMBER(duplicate_window),
    NUMBER(subject_delete_marker_ttl),
    NUMBER(num_replicas),
    {"first_seq", JSON_U64_FIELD, AT(first_seq), JSON_OMIT_EMPTY, NULL},
    FLAG(no_ack),
    FLAG(discard_new_per_subject),
    FLAG(sealed),
    FLAG(deny_delete),
    FLAG(deny_purge),
    FLAG(allow_rollup_hdrs),
    FLAG(allow_direct),
    FLAG(mirror_direct),
    FLAG(allow_msg_ttl),
    FLAG(allow_msg_counter),
    FLAG(allow_atomic),
    FLAG(allow_msg_schedules),
    FLAG(allow_batched),
    JSON(placement),
    JSON(mirror),
    JSON(sources),
    JSON(subject_transform),
    JSON(republish),
    JSON(consumer_limits),
    JSON(metadata),
};

#define INFO_AT(member) offsetof(struct midge_stream_info, member)

static const struct json_field state_fields[] = {
    {"messages", JSON_U64_FIELD, INFO_AT(messages), 0, NULL},
    {"bytes", JSON_U64_FIELD, INFO_AT(bytes), 0, NULL},
    {"first_seq", JSON_U64_FIELD, INFO_AT(first_seq), 0, NULL},
    {"last_seq", JSON_U64_FIELD, INFO_AT(last_seq), 0, NULL},
    {"first_ts", JSON_TIME_FIELD, INFO_AT(first_time), 0, NULL},
    {"last_ts", JSON_TIME_FIELD, INFO_AT(last_time), 0, NULL},
    {"num_subjects", JSON_U64_FIELD, INFO_AT(num_subjects), 0, NULL},
    {"num_deleted", JSON_U64_FIELD, INFO_AT(num_deleted), 0, NULL},
    {"consumer_count", JSON_U64_FIELD, INFO_AT(consumers), 0, NULL},
};

static const struct json_field info_fields[] = {
    {"created", JSON_TIME_FIELD, INFO_AT(created), 0, NULL},
};

/* ---- structs --------------------------------------------------------------------------------- */

void js_put_stream_config(struct buf *b, const struct midge_stream_config *config)
{
    buf_putc(b, '{');
    fields_write(b, JS_FIELDS(config_fields), config);
    buf_putc(b, '}');
}

int js_read_stream_info(struct midge *m, json_t *answer, struct midge_stream_info *info)
{
    int rc = js_read(m, json_object_get(answer, "config"), JS_FIELDS(config_fields), &info->config);

    if (rc == MIDGE_OK)
        rc = js_read(m, json_object_get(answer, "state"), JS_FIELDS(state_fields), info);
    if (rc == MIDGE_OK)
        rc = js_read(m, answer, JS_FIELDS(info_fields), info);
    return rc;
}

void midge_stream_info_free(struct midge_stream_info *info)
{
    fields_release(JS_FIELDS(config_fields), &info->config);
    *info = (struct midge_stream_info){0};
}

/* ---- calls ----------------------------------------------------------------------------------- */

static int with_info(struct midge *m, struct buf *body, struct midge_stream_info *info,
                     const char *verb, const char *stream)
{
    json_t *answer = NULL;
    int rc;

    if (info != NULL)
        *info = (struct midge_stream_info){0};
    if (js_name_valid(stream))
        rc = js_callf(m, body, &answer, "STREAM.%s.%s", verb, stream);
    else {
        rc = js_bad_name(m, "stream", stream);
        if (body != NULL)
            buf_free(body);
    }
    if (rc == MIDGE_OK && info != NULL)
        rc = js_read_stream_info(m, answer, info);
    json_decref(answer);
    return rc;
}

int midge_stream_create(struct midge *m, const struct midge_stream_config *config,
                        struct midge_stream_info *info)
{
    struct buf body = {0};

    js_put_stream_config(&body, config);
    return with_info(m, &body, info, "CREATE", config->name);
}

int midge_stream_update(struct midge *m, const struct midge_stream_config *config,
                        struct midge_stream_info *info)
{
    struct buf body = {0};

    js_put_stream_config(&body, config);
    return with_info(m, &body, info, "UPDATE", config->name);
}

int midge_stream_info(struct midge *m, const char *stream, struct midge_stream_info *info)
{
    return with_info(m, NULL, info, "INFO", stream);
}

int midge_stream_delete(struct midge *m, const char *stream)
{
    return with_info(m, NULL, NULL, "DELETE", stream);
}

struct purged {
    uint64_t purged;
};

static const struct json_field purge_fields[] = {
    {"filter", JSON_STRING_FIELD, offsetof(struct midge_purge, filter), JSON_OMIT_EMPTY, NULL},
    {"seq", JSON_U64_FIELD, offsetof(struct midge_purge, seq), JSON_OMIT_EMPTY, NULL},
    {"keep", JSON_U64_FIELD, offsetof(struct midge_purge, keep), JSON_OMIT_EMPTY, NULL},
};

static const struct json_field purged_fields[] = {
    {"purged", JSON_U64_FIELD, offsetof(struct purged, purged), 0, NULL},
};

int midge_stream_purge(struct midge *m, const char *stream, const struct midge_purge *what,
                       uint64_t *purged)
{
    struct purged p = {0};
    struct buf body = {0};
    json_t *answer = NULL;
    int rc;

    if (!js_name_valid(stream))
        return js_bad_name(m, "stream", stream);
    buf_putc(&body, '{');
    if (what != NULL)
        fields_write(&body, JS_FIELDS(purge_fields), what);
    buf_putc(&body, '}');
    rc = js_callf(m, &body, &answer, "STREAM.PURGE.%s", stream);
    if (rc == MIDGE_OK)
        rc = js_read(m, answer, JS_FIELDS(purged_fields), &p);
    json_decref(answer);
    if (purged != NULL)
        *purged = p.purged;
    return rc;
}

int midge_msg_delete(struct midge *m, const char *stream, uint64_t seq, bool keep_bytes)
{
    struct buf body = {0};

    if (!js_name_valid(stream))
        return js_bad_name(m, "stream", stream);
    buf_printf(&body, "{\"seq\":%llu%s}", (unsigned long long) seq,
               keep_bytes ? ",\"no_erase\":true" : "");
    return js_callf(m, &body, NULL, "STREAM.MSG.DELETE.%s", stream);
}

/* ---- lists ----------------------------------------------------------------------------------- */

struct listing {
    struct midge *m;
    midge_on_name on_name;
    midge_on_stream on_stream;
    midge_on_subject on_subject;
    void *ctx;
    int rc;
};

static void list_name(void *ctx, json_t *item)
{
    struct listing *l = ctx;

    if (json_is_string(item))
        l->on_name(l->ctx, json_string_value(item));
}

static void list_stream(void *ctx, json_t *item)
{
    struct listing *l = ctx;
    struct midge_stream_info info = {0};

    if (l->rc == MIDGE_OK)
        l->rc = js_read_stream_info(l->m, item, &info);
    if (l->rc == MIDGE_OK)
        l->on_stream(l->ctx, &info);
    midge_stream_info_free(&info);
}

static int list_streams(struct listing *l, const char *what, const char *filter,
                        void (*each)(void *ctx, json_t *item))
{
    struct buf body = {0};
    int rc;

    if (filter != NULL) {
        buf_puts(&body, "\"subject\":");
        jput_string(&body, str_of(filter));
    }
    rc = js_pages(l->m, what, filter != NULL ? buf_cstr(&body) : NULL, "streams", each, l);
    buf_free(&body);
    return rc != MIDGE_OK ? rc : l->rc;
}

int midge_stream_names(struct midge *m, const char *filter, midge_on_name each, void *ctx)
{
    return list_streams(&(struct listing){.m = m, .on_name = each, .ctx = ctx}, "STREAM.NAMES",
                        filter, list_name);
}

int midge_stream_list(struct midge *m, const char *filter, midge_on_stream each, void *ctx)
{
    return list_streams(&(struct listing){.m = m, .on_stream = each, .ctx = ctx}, "STREAM.LIST",
                        filter, list_stream);
}

/* One page of subjects: an object of counts. Returns how many, or a negative code. */
static int64_t subjects_page(struct listing *l, const char *stream, const char *filter,
                             int64_t offset)
{
    struct buf body = {0};
    json_t *answer = NULL, *subjects, *count;
    const char *subject;
    int64_t n = 0;
    int rc;

    buf_printf(&body, "{\"offset\":%lld,\"subjects_filter\":", (long long) offset);
    jput_string(&body, str_of(filter != NULL ? filter : ">"));
    buf_putc(&body, '}');
    rc = js_callf(l->m, &body, &answer, "STREAM.INFO.%s", stream);
    subjects = json_object_get(json_object_get(answer, "state"), "subjects");
    json_object_foreach(subjects, subject, count)
    {
        l->on_subject(l->ctx, subject, (uint64_t) json_integer_value(count));
        n++;
    }
    json_decref(answer);
    return rc != MIDGE_OK ? rc : n;
}

int midge_stream_subjects(struct midge *m, const char *stream, const char *filter,
                          midge_on_subject each, void *ctx)
{
    struct listing l = {.m = m, .on_subject = each, .ctx = ctx};
    int64_t seen = 0, n;

    if (!js_name_valid(stream))
        return js_bad_name(m, "stream", stream);
    do {
        n = subjects_page(&l, stream, filter, seen);
        seen += n;
    } while (n >= 100000);
    return n < 0 ? (int) n : MIDGE_OK;
}

/* ---- the account ----------------------------------------------------------------------------- */

#define ACCOUNT(key, member)                                                                       \
    {                                                                                              \
        (key), JSON_U64_FIELD, offsetof(struct midge_account_info, member), 0, NULL                \
    }

static const struct json_field account_fields[] = {
    ACCOUNT("memory", memory),
    ACCOUNT("storage", storage),
    ACCOUNT("streams", streams),
    ACCOUNT("consumers", consumers),
};

static const struct json_field account_api_fields[] = {
    ACCOUNT("total", api_total),
    ACCOUNT("errors", api_errors),
};

int midge_account_info(struct midge *m, struct midge_account_info *info)
{
    json_t *answer = NULL;
    int rc = js_call(m, "INFO", NULL, &answer);

    *info = (struct midge_account_info){0};
    if (rc == MIDGE_OK)
        rc = js_read(m, answer, JS_FIELDS(account_fields), info);
    if (rc == MIDGE_OK)
        rc = js_read(m, json_object_get(answer, "api"), JS_FIELDS(account_api_fields), info);
    json_decref(answer);
    return rc;
}
