/*
 * object_entry.c - entries of objects: their JSON, finding, storing, renaming, linking.
 *
 *     {"name":"n","description":"d","headers":{..},"metadata":{..},
 *      "options":{"link":{"bucket":"b","name":"o"},"max_chunk_size":131072},
 *      "bucket":"b","nuid":"<id>","size":1,"mtime":"0001-01-01T00:00:00Z","chunks":1,
 *      "digest":"SHA-256=<base64url, padded>","deleted":true}
 *
 * The time in it is never set: the message that carries the entry has one. An entry is stored with
 * Nats-Rollup: sub, so a name has one entry, the last. A deleted object's entry stays, with deleted
 * set and nothing in it.
 */
#include "client/object_int.h"
#include "lib/base/base64.h"
#include "lib/base/mem.h"

#include <string.h>

#define AT(member) offsetof(struct midge_object_info, member)

/* In the order of the other clients. */
static const struct json_field meta_fields[] = {
    {"name", JSON_STRING_FIELD, AT(name), 0, NULL},
    {"description", JSON_STRING_FIELD, AT(description), JSON_OMIT_EMPTY, NULL},
    {"headers", JSON_TEXT_FIELD, AT(headers), JSON_OMIT_EMPTY, NULL},
    {"metadata", JSON_TEXT_FIELD, AT(metadata), JSON_OMIT_EMPTY, NULL},
};
static const struct json_field info_fields[] = {
    {"bucket", JSON_STRING_FIELD, AT(bucket), 0, NULL},
    {"nuid", JSON_STRING_FIELD, AT(id), 0, NULL},
    {"size", JSON_U64_FIELD, AT(size), 0, NULL},
    {"mtime", JSON_TIME_FIELD, AT(time_ns), 0, NULL},
    {"chunks", JSON_U64_FIELD, AT(chunks), 0, NULL},
    {"digest", JSON_STRING_FIELD, AT(digest), JSON_OMIT_EMPTY, NULL},
    {"deleted", JSON_BOOL_FIELD, AT(deleted), JSON_OMIT_EMPTY, NULL},
};
static const struct json_field option_fields[] = {
    {"max_chunk_size", JSON_I64_FIELD, AT(chunk_bytes), JSON_OMIT_EMPTY, NULL},
};
static const struct json_field link_fields[] = {
    {"bucket", JSON_STRING_FIELD, AT(link_bucket), 0, NULL},
    {"name", JSON_STRING_FIELD, AT(link_name), JSON_OMIT_EMPTY, NULL},
};

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_options(struct buf *b, const struct midge_object_info *info)
{
    if (info->link_bucket == NULL && info->chunk_bytes == 0)
        return;
    buf_puts(b, ",\"options\":{");
    if (info->link_bucket != NULL) {
        buf_puts(b, "\"link\":{");
        fields_write(b, JS_FIELDS(link_fields), info);
        buf_puts(b, info->chunk_bytes != 0 ? "}," : "}");
    }
    fields_write(b, JS_FIELDS(option_fields), info);
    buf_putc(b, '}');
}

void object_put_info(struct buf *b, const struct midge_object_info *info)
{
    struct midge_object_info timeless = *info;

    timeless.time_ns = 0;
    buf_putc(b, '{');
    fields_write(b, JS_FIELDS(meta_fields), &timeless);
    put_options(b, &timeless);
    buf_putc(b, ',');
    fields_write(b, JS_FIELDS(info_fields), &timeless);
    buf_putc(b, '}');
}

static bool read_part(json_t *object, const struct json_field *fields, size_t n,
                      struct midge_object_info *out)
{
    struct buf err = {0};
    bool good = object == NULL ||
                (json_is_object(object) && fields_read(object, fields, n, out, false, &err));

    buf_free(&err);
    return good;
}

bool object_read_info(struct str json, struct midge_object_info *out)
{
    struct buf err = {0};
    json_t *object = json_parse_object(json, &err);
    json_t *options = json_object_get(object, "options");
    bool good = object != NULL && read_part(object, JS_FIELDS(meta_fields), out) &&
                read_part(object, JS_FIELDS(info_fields), out) &&
                read_part(options, JS_FIELDS(option_fields), out) &&
                read_part(json_object_get(options, "link"), JS_FIELDS(link_fields), out) &&
                out->name != NULL && out->chunk_bytes >= 0;

    json_decref(object);
    buf_free(&err);
    return good;
}

void midge_object_info_free(struct midge_object_info *info)
{
    fields_release(JS_FIELDS(meta_fields), info);
    fields_release(JS_FIELDS(info_fields), info);
    fields_release(JS_FIELDS(link_fields), info);
    *info = (struct midge_object_info){0};
}

const char *object_keep(const char *text)
{
    return text != NULL ? mem_strdup(text) : NULL;
}

struct midge_object_info object_from_meta(const struct midge_object_meta *meta)
{
    return (struct midge_object_info){
        .name = object_keep(meta->name),
        .description = object_keep(meta->description),
        .headers = object_keep(meta->headers),
        .metadata = object_keep(meta->metadata),
        .chunk_bytes = meta->chunk_bytes > 0 ? meta->chunk_bytes : OBJECT_CHUNK_BYTES,
    };
}

/* ---- subjects -------------------------------------------------------------------------------- */

void object_put_meta_subject(struct buf *b, const char *bucket, const char *name)
{
    buf_printf(b, "$O.%s.M.", bucket);
    base64url_encode(b, str_of(name));
    for (size_t n = strlen(name); n % 3 != 0; n++)
        buf_putc(b, '=');
}

void object_put_chunk_subject(struct buf *b, const char *bucket, const char *id)
{
    buf_printf(b, "$O.%s.C.%s", bucket, id);
}

/* ---- finding and storing --------------------------------------------------------------------- */

struct finding {
    struct midge_object_info *info;
    bool good;
};

static void found(void *ctx, const struct midge_stored *stored)
{
    struct finding *f = ctx;

    f->good = object_read_info(client_str(stored->payload), f->info);
    f->info->time_ns = stored->time_ns;
}

int object_find(struct midge_objects *s, const char *name, struct midge_object_info *info)
{
    struct finding f = {.info = info};
    struct buf subject = {0};
    struct midge_get what = {0};
    int rc;

    *info = (struct midge_object_info){0};
    if (name == NULL || name[0] == '\0')
        return client_error(s->m, MIDGE_INVALID, "an object needs a name");
    object_put_meta_subject(&subject, s->bucket, name);
    what.last_of = buf_cstr(&subject);
    if (s->direct)
        rc = midge_get(s->m, s->stream, &what, found, &f);
    else
        rc = midge_msg_get(s->m, s->stream, &what, found, &f);
    buf_free(&subject);
    if (rc == MIDGE_NOT_FOUND)
        client_error(s->m, rc, "object not found");
    if (rc == MIDGE_OK && !f.good)
        rc = client_error(s->m, MIDGE_CORRUPT, "the entry of %.100s is not understood", name);
    return rc;
}

int midge_object_info(struct midge_objects *s, const char *name, struct midge_object_info *info)
{
    int rc = object_find(s, name, info);

    if (rc == MIDGE_OK && info->deleted)
        rc = client_error(s->m, MIDGE_NOT_FOUND, "object deleted");
    return rc;
}

int object_publish(struct midge_objects *s, const struct midge_object_info *info)
{
    struct midge_headers h = {0};
    struct buf subject = {0}, body = {0};
    int rc;

    midge_headers_publish(&h, &(struct midge_publish_options){.rollup_subject = true});
    object_put_meta_subject(&subject, s->bucket, info->name);
    object_put_info(&body, info);
    rc = midge_js_publish(s->m,
                          &(struct midge_msg){.subject = client_text(buf_str(&subject)),
                                              .header = midge_headers_text(&h),
                                              .payload = client_text(buf_str(&body))},
                          NULL);
    midge_headers_free(&h);
    buf_free(&subject);
    buf_free(&body);
    return rc;
}

static int purge(struct midge_objects *s, struct buf *subject)
{
    int rc = midge_stream_purge(s->m, s->stream, &(struct midge_purge){.filter = buf_cstr(subject)},
                                NULL);

    buf_free(subject);
    return rc;
}

int object_purge_chunks(struct midge_objects *s, const char *id)
{
    struct buf subject = {0};

    if (id == NULL)
        return MIDGE_OK;
    object_put_chunk_subject(&subject, s->bucket, id);
    return purge(s, &subject);
}

/* ---- changing -------------------------------------------------------------------------------- */

static void set_text(const char **at, const char *text)
{
    midge_free((void *) (uintptr_t) *at);
    *at = object_keep(text);
}

/* MIDGE_OK when no object has the name. */
static int must_be_free(struct midge_objects *s, const char *name, bool links_too)
{
    struct midge_object_info info;
    int rc = midge_object_info(s, name, &info);

    if (rc == MIDGE_NOT_FOUND)
        rc = MIDGE_OK;
    else if (rc == MIDGE_OK && (links_too || info.link_bucket == NULL))
        rc = client_error(s->m, MIDGE_CONFLICT, "an object has this name");
    midge_object_info_free(&info);
    return rc;
}

int midge_object_update(struct midge_objects *s, const char *name,
                        const struct midge_object_meta *meta)
{
    const char *to = meta->name != NULL ? meta->name : name;
    bool renamed = strcmp(to, name) != 0;
    struct buf subject = {0};
    struct midge_object_info info;
    int rc = midge_object_info(s, name, &info);

    if (rc == MIDGE_OK && renamed)
        rc = must_be_free(s, to, true);
    if (rc == MIDGE_OK) {
        set_text(&info.name, to);
        set_text(&info.description, meta->description);
        set_text(&info.headers, meta->headers);
        set_text(&info.metadata, meta->metadata);
        rc = object_publish(s, &info);
    }
    if (rc == MIDGE_OK && renamed) {
        object_put_meta_subject(&subject, s->bucket, name);
        rc = purge(s, &subject);
    }
    midge_object_info_free(&info);
    return rc;
}

int midge_object_delete(struct midge_objects *s, const char *name)
{
    struct midge_object_info info;
    int rc = midge_object_info(s, name, &info);

    if (rc == MIDGE_OK) {
        info.deleted = true;
        info.size = info.chunks = 0;
        set_text(&info.digest, NULL);
        rc = object_publish(s, &info);
    }
    if (rc == MIDGE_OK)
        rc = object_purge_chunks(s, info.id);
    midge_object_info_free(&info);
    return rc;
}

/* The target of a link exists and is no link itself. */
static int check_target(struct midge_objects *s, const char *bucket, const char *object)
{
    struct midge_object_info info = {0};
    struct midge_objects *other;
    int rc;

    other = midge_objects_open(s->m, bucket, &rc);
    if (other == NULL)
        return rc;
    if (object != NULL)
        rc = midge_object_info(other, object, &info);
    if (rc == MIDGE_OK && info.link_bucket != NULL)
        rc = client_error(s->m, MIDGE_INVALID, "a link to a link");
    midge_object_info_free(&info);
    midge_objects_close(other);
    return rc;
}

int midge_object_link(struct midge_objects *s, const char *name, const char *bucket,
                      const char *object)
{
    char id[NUID_LEN + 1];
    struct midge_object_info info = {
        .name = name, .bucket = s->bucket, .id = id, .link_bucket = bucket, .link_name = object};
    int rc = check_target(s, bucket, object);

    if (rc == MIDGE_OK)
        rc = must_be_free(s, name, false);
    if (rc != MIDGE_OK)
        return rc;
    nuid_next(&s->m->nuid, id);
    return object_publish(s, &info);
}
