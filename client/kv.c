/*
 * kv.c - buckets and their values.
 *
 * A value is a message on "$KV.<bucket>.<key>" in the stream "KV_<bucket>", which keeps `history`
 * messages per subject. Deletes are messages too (markers): the header KV-Operation says DEL or
 * PURGE, the latter with Nats-Rollup: sub, which makes the stream drop what was before. Markers
 * that the server writes itself, for values that ended by their TTL or were purged, have
 * Nats-Marker-Reason instead: MaxAge and Purge count as a purge, Remove as a delete.
 *
 *     put      a publish
 *     add      a publish that expects sequence 0 of the subject; where that fails because the last
 *              message is a marker, once more with the marker's sequence
 *     update   a publish that expects the revision
 *     get      direct get of the subject's last message, by the API where the stream has none
 *
 * A bucket that mirrors another publishes to that one, through the API prefix of its domain where
 * the mirror is external.
 */
#include "client/kv_int.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"

#include <stdio.h>
#include <string.h>

#define HISTORY_MAX 64
#define WINDOW_NS 120000000000

/* ---- names ----------------------------------------------------------------------------------- */

static bool tokens_valid(const char *key, const char *more)
{
    size_t n = 0;

    for (; key != NULL && key[n] != '\0'; n++) {
        if (!name_character(key[n], more))
            return false;
        if (key[n] == '.' && (n == 0 || key[n - 1] == '.'))
            return false;
    }
    return n > 0 && key[n - 1] != '.';
}

bool kv_key_valid(const char *key)
{
    return tokens_valid(key, "-/_=.");
}

bool kv_pattern_valid(const char *pattern)
{
    const char *full = pattern != NULL ? strchr(pattern, '>') : NULL;

    return tokens_valid(pattern, "-/_=.*>") &&
           (full == NULL || (full[1] == '\0' && (full == pattern || full[-1] == '.')));
}

/* ---- buckets --------------------------------------------------------------------------------- */

static int fill_stream(struct midge *m, const struct midge_kv_config *k,
                       struct midge_stream_config *c, char name[256], char subject[256])
{
    int history = k->history > 0 ? k->history : 1;
    int rc = bucket_stream(m, KV_STREAM, k->bucket, name);

    if (rc != MIDGE_OK)
        return rc;
    if (history > HISTORY_MAX)
        return client_error(m, MIDGE_INVALID, "a history of more than %d values", HISTORY_MAX);
    snprintf(subject, 256, "$KV.%s.>", k->bucket);
    *c = (struct midge_stream_config){
        .name = name,
        .description = k->description,
        .discard = MIDGE_DISCARD_NEW,
        .storage = k->storage,
        .compression = k->compression,
        .max_msgs = -1,
        .max_consumers = -1,
        .max_bytes = k->max_bytes != 0 ? k->max_bytes : -1,
        .max_msg_size = k->max_value != 0 ? k->max_value : -1,
        .max_msgs_per_subject = history,
        .max_age = k->ttl,
        .duplicate_window = k->ttl > 0 && k->ttl < WINDOW_NS ? k->ttl : WINDOW_NS,
        .num_replicas = k->num_replicas > 0 ? k->num_replicas : 1,
        .allow_rollup_hdrs = true,
        .deny_delete = true,
        .allow_direct = true,
        .allow_msg_ttl = k->marker_ttl > 0,
        .subject_delete_marker_ttl = k->marker_ttl,
        .mirror = k->mirror,
        .mirror_direct = k->mirror != NULL,
        .sources = k->sources,
        .republish = k->republish,
        .placement = k->placement,
        .metadata = k->metadata,
    };
    return MIDGE_OK;
}

struct mirror {
    char *name;
    json_t *external;
};
struct external {
    char *api;
};

static const struct json_field mirror_fields[] = {
    {"name", JSON_STRING_FIELD, offsetof(struct mirror, name), 0, NULL},
    {"external", JSON_RAW_FIELD, offsetof(struct mirror, external), 0, NULL},
};
static const struct json_field external_fields[] = {
    {"api", JSON_STRING_FIELD, offsetof(struct external, api), 0, NULL},
};

/* "$KV.<origin>.", and behind the API prefix of another domain. */
static char *put_prefix(struct midge *m, const struct midge_kv *kv, const char *mirror)
{
    struct mirror origin = {0};
    struct external external = {0};
    struct buf b = {0}, err = {0};
    json_t *object = mirror != NULL ? json_parse_object(str_of(mirror), &err) : NULL;
    const char *bucket = kv->bucket;
    char *prefix;

    if (object != NULL)
        js_read(m, object, JS_FIELDS(mirror_fields), &origin);
    if (json_is_object(origin.external))
        js_read(m, origin.external, JS_FIELDS(external_fields), &external);
    if (origin.name != NULL && strncmp(origin.name, KV_STREAM, 3) == 0)
        bucket = origin.name + 3;
    if (external.api != NULL)
        buf_printf(&b, "%s.", external.api);
    else if (m->o.js_prefix != NULL || m->o.js_domain != NULL)
        buf_puts(&b, m->js_prefix);
    buf_printf(&b, "$KV.%s.", bucket);
    prefix = mem_strdup(buf_cstr(&b));
    fields_release(JS_FIELDS(mirror_fields), &origin);
    fields_release(JS_FIELDS(external_fields), &external);
    json_decref(object);
    buf_free(&b);
    buf_free(&err);
    return prefix;
}

static struct midge_kv *bind(struct midge *m, const char *bucket,
                             const struct midge_stream_info *info)
{
    struct midge_kv *kv = mem_zalloc(sizeof(*kv));
    struct buf b = {0};

    kv->m = m;
    kv->bucket = mem_strdup(bucket);
    kv->direct = info->config.allow_direct;
    kv->stream = mem_strdup(info->config.name);
    buf_printf(&b, "$KV.%s.", bucket);
    kv->prefix = mem_strdup(buf_cstr(&b));
    kv->put_prefix = put_prefix(m, kv, info->config.mirror);
    buf_free(&b);
    return kv;
}

struct midge_kv *midge_kv_create(struct midge *m, const struct midge_kv_config *config, int *rc)
{
    struct midge_stream_config c = {0};
    struct midge_stream_info info = {0};
    struct midge_kv *kv = NULL;
    char name[256], subject[256];
    const char *const subjects[] = {subject};
    int result = fill_stream(m, config, &c, name, subject);

    if (c.mirror == NULL)
        c.subjects = (struct midge_texts){subjects, 1};
    if (result == MIDGE_OK)
        result = midge_stream_create(m, &c, &info);
    if (result == MIDGE_OK)
        kv = bind(m, config->bucket, &info);
    midge_stream_info_free(&info);
    if (rc != NULL)
        *rc = result;
    return kv;
}

int midge_kv_reconfigure(struct midge *m, const struct midge_kv_config *config)
{
    struct midge_stream_config c;
    char name[256], subject[256];
    const char *const subjects[] = {subject};
    int rc = fill_stream(m, config, &c, name, subject);

    if (rc != MIDGE_OK)
        return rc;
    if (c.mirror == NULL)
        c.subjects = (struct midge_texts){subjects, 1};
    return midge_stream_update(m, &c, NULL);
}

/* Of a stream that is a bucket. */
static int kv_info(struct midge *m, const char *bucket, struct midge_stream_info *info)
{
    int rc = bucket_info(m, KV_STREAM, bucket, info);

    if (rc == MIDGE_OK && info->config.max_msgs_per_subject < 1)
        rc = client_error(m, MIDGE_INVALID, "the stream %s%s is no bucket", KV_STREAM, bucket);
    return rc;
}

struct midge_kv *midge_kv_open(struct midge *m, const char *bucket, int *rc)
{
    struct midge_stream_info info;
    int result = kv_info(m, bucket, &info);
    struct midge_kv *kv = result == MIDGE_OK ? bind(m, bucket, &info) : NULL;

    midge_stream_info_free(&info);
    if (rc != NULL)
        *rc = result;
    return kv;
}

void midge_kv_close(struct midge_kv *kv)
{
    if (kv == NULL)
        return;
    mem_free(kv->bucket);
    mem_free(kv->stream);
    mem_free(kv->prefix);
    mem_free(kv->put_prefix);
    mem_free(kv);
}

int midge_kv_destroy(struct midge *m, const char *bucket)
{
    return bucket_destroy(m, KV_STREAM, bucket);
}

int midge_kv_status(struct midge_kv *kv, struct midge_kv_status *status)
{
    struct midge_stream_info info;
    int rc = kv_info(kv->m, kv->bucket, &info);

    *status = (struct midge_kv_status){
        .values = info.messages,
        .bytes = info.bytes,
        .history = info.config.max_msgs_per_subject,
        .ttl = info.config.max_age,
        .marker_ttl = info.config.subject_delete_marker_ttl,
        .max_bytes = info.config.max_bytes > 0 ? info.config.max_bytes : 0,
        .compressed = info.config.compression != MIDGE_UNCOMPRESSED,
    };
    midge_stream_info_free(&info);
    return rc;
}

struct buckets {
    midge_on_name each;
    void *ctx;
};

static void one_bucket(void *ctx, const char *stream)
{
    const struct buckets *b = ctx;

    if (strncmp(stream, KV_STREAM, 3) == 0 && bucket_valid(stream + 3))
        b->each(b->ctx, stream + 3);
}

int midge_kv_buckets(struct midge *m, midge_on_name each, void *ctx)
{
    return midge_stream_names(m, "$KV.*.>", one_bucket, &(struct buckets){each, ctx});
}

/* ---- reading --------------------------------------------------------------------------------- */

static enum midge_kv_operation operation_of(struct str header)
{
    struct str said = header_get(header, STR("KV-Operation"));
    struct str reason = header_get(header, STR("Nats-Marker-Reason"));

    if (str_eq(said, STR("PURGE")) || str_eq(reason, STR("MaxAge")) || str_eq(reason, STR("Purge")))
        return MIDGE_KV_PURGE;
    return str_eq(said, STR("DEL")) || str_eq(reason, STR("Remove")) ? MIDGE_KV_DELETE
                                                                     : MIDGE_KV_PUT;
}

bool kv_read_entry(const struct midge_kv *kv, struct midge_text subject, struct midge_text header,
                   struct midge_text payload, struct midge_kv_entry *out)
{
    struct str s = client_str(subject), prefix = str_of(kv->prefix);

    *out = (struct midge_kv_entry){.value = payload, .operation = operation_of(client_str(header))};
    /* A mirror holds the subjects of its origin. */
    if (!str_starts(s, prefix))
        prefix = str_of(strstr(kv->put_prefix, "$KV."));
    if (!str_starts(s, prefix) || s.n == prefix.n)
        return false;
    out->key = client_text(str_skip(s, prefix.n));
    return true;
}

struct getting {
    struct midge_kv *kv;
    const char *key;
    midge_on_entry on_entry;
    void *ctx;
    bool deleted, other;
    uint64_t revision;
};

static void got(void *ctx, const struct midge_stored *stored)
{
    struct getting *g = ctx;
    struct midge_kv_entry e;

    if (!kv_read_entry(g->kv, stored->subject, stored->header, stored->payload, &e) ||
        !str_eq(client_str(e.key), str_of(g->key))) {
        g->other = true;
        return;
    }
    e.revision = g->revision = stored->seq;
    e.time_ns = stored->time_ns;
    g->deleted = e.operation != MIDGE_KV_PUT;
    if (!g->deleted && g->on_entry != NULL)
        g->on_entry(g->ctx, &e);
}

static int get(struct getting *g, uint64_t revision)
{
    struct midge_kv *kv = g->kv;
    struct buf subject = {0};
    struct midge_get what = {.seq = revision};
    int rc;

    if (!kv_key_valid(g->key))
        return client_error(kv->m, MIDGE_INVALID, "\"%.100s\" is no key", g->key);
    buf_printf(&subject, "%s%s", strstr(kv->put_prefix, "$KV."), g->key);
    if (revision == 0)
        what.last_of = buf_cstr(&subject);
    if (kv->direct)
        rc = midge_get(kv->m, kv->stream, &what, got, g);
    else
        rc = midge_msg_get(kv->m, kv->stream, &what, got, g);
    buf_free(&subject);
    if (rc == MIDGE_NOT_FOUND || (rc == MIDGE_OK && (g->deleted || g->other)))
        rc = client_error(kv->m, MIDGE_NOT_FOUND, "key %s", g->deleted ? "deleted" : "not found");
    return rc;
}

int midge_kv_get(struct midge_kv *kv, const char *key, midge_on_entry on_entry, void *ctx)
{
    return get(&(struct getting){.kv = kv, .key = key, .on_entry = on_entry, .ctx = ctx}, 0);
}

int midge_kv_get_revision(struct midge_kv *kv, const char *key, uint64_t revision,
                          midge_on_entry on_entry, void *ctx)
{
    if (revision == 0)
        return client_error(kv->m, MIDGE_INVALID, "no revision is 0");
    return get(&(struct getting){.kv = kv, .key = key, .on_entry = on_entry, .ctx = ctx}, revision);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* A publish to the key; operation: NULL, "DEL", "PURGE". */
static int write_key(struct midge_kv *kv, const char *key, struct midge_text value,
                     const char *operation, const struct midge_publish_options *o,
                     uint64_t *revision)
{
    struct midge_headers h = {0};
    struct buf subject = {0};
    struct midge_puback ack = {0};
    int rc = kv_key_valid(key) ? MIDGE_OK
                               : client_error(kv->m, MIDGE_INVALID, "\"%.100s\" is no key", key);

    if (rc == MIDGE_OK && operation != NULL)
        rc = midge_headers_add(&h, "KV-Operation", midge_text_of(operation));
    if (rc == MIDGE_OK)
        rc = midge_headers_publish(&h, o);
    buf_printf(&subject, "%s%s", kv->put_prefix, key);
    if (rc == MIDGE_OK)
        rc = midge_js_publish(kv->m,
                              &(struct midge_msg){.subject = client_text(buf_str(&subject)),
                                                  .header = midge_headers_text(&h),
                                                  .payload = value},
                              &ack);
    buf_free(&subject);
    midge_headers_free(&h);
    if (revision != NULL)
        *revision = ack.seq;
    return rc;
}

int midge_kv_put(struct midge_kv *kv, const char *key, struct midge_text value, uint64_t *revision)
{
    return write_key(kv, key, value, NULL, &(struct midge_publish_options){0}, revision);
}

int midge_kv_update(struct midge_kv *kv, const char *key, struct midge_text value, uint64_t last,
                    uint64_t *revision)
{
    return write_key(kv, key, value, NULL,
                     &(struct midge_publish_options){.expect_last_of_subject = true,
                                                     .last_seq_of_subject = last},
                     revision);
}

int midge_kv_add(struct midge_kv *kv, const char *key, struct midge_text value, int64_t ttl,
                 uint64_t *revision)
{
    struct midge_publish_options o = {.expect_last_of_subject = true, .ttl = ttl};
    struct getting g = {.kv = kv, .key = key};
    int rc = write_key(kv, key, value, NULL, &o, revision), found;

    if (rc != MIDGE_CONFLICT)
        return rc;
    found = get(&g, 0);
    if (found != MIDGE_NOT_FOUND || !g.deleted)
        return found == MIDGE_OK ? client_error(kv->m, MIDGE_CONFLICT, "key exists") : found;
    o.last_seq_of_subject = g.revision;
    return write_key(kv, key, value, NULL, &o, revision);
}

int midge_kv_delete(struct midge_kv *kv, const char *key, uint64_t last)
{
    return write_key(kv, key, (struct midge_text){NULL, 0}, "DEL",
                     &(struct midge_publish_options){.expect_last_of_subject = last > 0,
                                                     .last_seq_of_subject = last},
                     NULL);
}

int midge_kv_purge(struct midge_kv *kv, const char *key, uint64_t last, int64_t ttl)
{
    return write_key(kv, key, (struct midge_text){NULL, 0}, "PURGE",
                     &(struct midge_publish_options){.expect_last_of_subject = last > 0,
                                                     .last_seq_of_subject = last,
                                                     .rollup_subject = true,
                                                     .ttl = ttl},
                     NULL);
}
