/* object.c - object stores as wholes: creating, sealing, listing, watching. */
#include "client/bucket.h"
#include "client/js_initial.h"
#include "client/object_int.h"
#include "lib/base/mem.h"

#include <stdio.h>
#include <string.h>

/* ---- life ------------------------------------------------------------------------------------ */

static struct midge_objects *bind(struct midge *m, const char *bucket,
                                  const struct midge_stream_info *info)
{
    struct midge_objects *s = mem_zalloc(sizeof(*s));

    s->m = m;
    s->bucket = mem_strdup(bucket);
    s->stream = mem_strdup(info->config.name);
    s->direct = info->config.allow_direct;
    return s;
}

struct midge_objects *midge_objects_create(struct midge *m,
                                           const struct midge_objects_config *config, int *rc)
{
    struct midge_stream_info info = {0};
    struct midge_objects *s = NULL;
    char name[256], chunks[256], metas[256];
    const char *const subjects[] = {chunks, metas};
    struct midge_stream_config c = {
        .name = name,
        .description = config->description,
        .subjects = {subjects, 2},
        .discard = MIDGE_DISCARD_NEW,
        .storage = config->storage,
        .compression = config->compression,
        .max_age = config->ttl,
        .max_bytes = config->max_bytes != 0 ? config->max_bytes : -1,
        .num_replicas = config->num_replicas > 0 ? config->num_replicas : 1,
        .allow_rollup_hdrs = true,
        .allow_direct = true,
        .placement = config->placement,
        .metadata = config->metadata,
    };
    int result = bucket_stream(m, OBJECT_STREAM, config->bucket, name);

    if (result == MIDGE_OK) {
        snprintf(chunks, sizeof(chunks), "$O.%s.C.>", config->bucket);
        snprintf(metas, sizeof(metas), "$O.%s.M.>", config->bucket);
        result = midge_stream_create(m, &c, &info);
    }
    if (result == MIDGE_OK)
        s = bind(m, config->bucket, &info);
    midge_stream_info_free(&info);
    if (rc != NULL)
        *rc = result;
    return s;
}

struct midge_objects *midge_objects_open(struct midge *m, const char *bucket, int *rc)
{
    struct midge_stream_info info;
    int result = bucket_info(m, OBJECT_STREAM, bucket, &info);
    struct midge_objects *s = result == MIDGE_OK ? bind(m, bucket, &info) : NULL;

    midge_stream_info_free(&info);
    if (rc != NULL)
        *rc = result;
    return s;
}

void midge_objects_close(struct midge_objects *s)
{
    if (s == NULL)
        return;
    mem_free(s->bucket);
    mem_free(s->stream);
    mem_free(s);
}

int midge_objects_destroy(struct midge *m, const char *bucket)
{
    return bucket_destroy(m, OBJECT_STREAM, bucket);
}

int midge_objects_status(struct midge_objects *s, struct midge_objects_status *status)
{
    struct midge_stream_info info;
    int rc = bucket_info(s->m, OBJECT_STREAM, s->bucket, &info);

    *status = (struct midge_objects_status){
        .bytes = info.bytes,
        .ttl = info.config.max_age,
        .max_bytes = info.config.max_bytes > 0 ? info.config.max_bytes : 0,
        .sealed = info.config.sealed,
        .compressed = info.config.compression != MIDGE_UNCOMPRESSED,
    };
    midge_stream_info_free(&info);
    return rc;
}

int midge_objects_seal(struct midge_objects *s)
{
    struct midge_stream_info info;
    int rc = bucket_info(s->m, OBJECT_STREAM, s->bucket, &info);

    info.config.sealed = true;
    if (rc == MIDGE_OK)
        rc = midge_stream_update(s->m, &info.config, NULL);
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

    if (strncmp(stream, OBJECT_STREAM, 4) == 0 && bucket_valid(stream + 4))
        b->each(b->ctx, stream + 4);
}

int midge_objects_buckets(struct midge *m, midge_on_name each, void *ctx)
{
    return midge_stream_names(m, "$O.*.C.>", one_bucket, &(struct buckets){each, ctx});
}

/* ---- watching -------------------------------------------------------------------------------- */

struct midge_object_watch {
    struct midge_ordered *ordered;
    bool ignore_deletes;
    struct js_initial initial;
    midge_on_object on_object;
    void (*on_initial)(void *ctx);
    void *ctx;
};

static void on_start(void *ctx, uint64_t pending)
{
    struct midge_object_watch *w = ctx;

    if (js_initial_start(&w->initial, pending) && w->on_initial != NULL)
        w->on_initial(w->ctx);
}

static void on_delivery(void *ctx, const struct midge_delivery *d)
{
    struct midge_object_watch *w = ctx;
    struct midge_object_info info = {0};

    if (object_read_info(client_str(d->msg.payload), &info)) {
        info.time_ns = d->time_ns;
        if (!info.deleted || !w->ignore_deletes)
            w->on_object(w->ctx, &info);
    }
    midge_object_info_free(&info);
    if (js_initial_step(&w->initial, d->pending) && w->on_initial != NULL)
        w->on_initial(w->ctx);
}

struct midge_object_watch *midge_objects_watch(struct midge_objects *s, bool updates_only,
                                               bool ignore_deletes, midge_on_object on_object,
                                               void (*on_initial)(void *ctx), void *ctx)
{
    struct midge_object_watch *w = mem_zalloc(sizeof(*w));
    struct buf filter = {0};
    const char *text;

    buf_printf(&filter, "$O.%s.M.>", s->bucket);
    text = buf_cstr(&filter);
    w->ignore_deletes = ignore_deletes;
    w->on_object = on_object;
    w->on_initial = on_initial;
    w->ctx = ctx;
    struct midge_ordered_options o = {
        .filter_subjects = {&text, 1},
        .deliver_policy = updates_only ? MIDGE_DELIVER_NEW : MIDGE_DELIVER_LAST_PER_SUBJECT,
        .on_start = on_start,
    };
    w->ordered = midge_ordered_open(s->m, s->stream, &o, on_delivery, w);
    buf_free(&filter);
    return w;
}

const char *midge_object_watch_error(const struct midge_object_watch *w)
{
    return midge_ordered_error(w->ordered);
}

void midge_object_watch_close(struct midge_object_watch *w)
{
    midge_ordered_close(w->ordered);
    mem_free(w);
}

struct listing {
    bool done;
    midge_on_object each;
    void *ctx;
};

static void list_over(void *ctx)
{
    ((struct listing *) ctx)->done = true;
}

static void list_one(void *ctx, const struct midge_object_info *info)
{
    struct listing *l = ctx;

    if (!l->done)
        l->each(l->ctx, info);
}

int midge_object_list(struct midge_objects *s, midge_on_object each, void *ctx)
{
    struct listing l = {.each = each, .ctx = ctx};
    struct midge_object_watch *w;
    int rc = client_wait_up(s->m, client_end(s->m->o.timeout_ms));

    if (rc != MIDGE_OK)
        return rc;
    w = midge_objects_watch(s, false, true, list_one, list_over, &l);
    rc = js_ordered_run(w->ordered, &l.done);
    midge_object_watch_close(w);
    return rc;
}
