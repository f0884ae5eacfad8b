/*
 * object_bytes.c - storing and reading the bytes of objects.
 *
 * A put publishes the chunks asynchronously under a new id, then, when all are acknowledged, the
 * entry that names the id, and last purges the chunks of the object that had the name before. What
 * fails on the way purges the new chunks: the object before stays as it was.
 *
 * A get reads the chunks with an ordered consumer, so a broken connection goes on where it was.
 * That the object was replaced meanwhile shows by the stream having fewer chunks than the entry
 * says. Size and digest are checked at the end. Links are followed LINKS times at most.
 */
#include "client/object_int.h"
#include "lib/base/base64.h"
#include "lib/base/mem.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define WINDOW 32
#define LINKS 8
#define DIGEST "SHA-256="
#define CHUNK_MAX (64 << 20)

static char *finish_digest(crypto_hash_sha256_state *state)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    struct buf b = {0};
    char *text;

    crypto_hash_sha256_final(state, hash);
    buf_puts(&b, DIGEST);
    base64url_encode(&b, str_from(hash, sizeof(hash)));
    buf_putc(&b, '='); /* 32 bytes are 43 characters and one of padding */
    text = mem_strdup(buf_cstr(&b));
    buf_free(&b);
    return text;
}

/* ---- put ------------------------------------------------------------------------------------- */

struct putting {
    struct midge_objects *s;
    struct midge_publisher *publisher;
    struct buf subject;
    char *chunk;
    size_t chunk_bytes;
    crypto_hash_sha256_state hash;
    struct midge_object_info info;
    midge_read read;
    void *ctx;
    int rc; /* of a chunk */
};

static void chunk_acked(void *ctx, const struct midge_ack *ack)
{
    struct putting *p = ctx;

    if (ack->rc == MIDGE_OK || p->rc != MIDGE_OK)
        return;
    p->rc = client_error(p->s->m, ack->rc, "%s", ack->error);
    p->s->m->error_code = ack->error_code;
}

/* A whole chunk, or what is left. */
static int64_t fill_chunk(struct putting *p)
{
    size_t n = 0;

    while (n < p->chunk_bytes) {
        int64_t got = p->read(p->ctx, p->chunk + n, p->chunk_bytes - n);
        if (got < 0)
            return got;
        if (got == 0)
            break;
        n += (size_t) got;
    }
    return (int64_t) n;
}

static int send_chunk(struct putting *p, size_t n)
{
    struct midge *m = p->s->m;
    struct midge_text bytes = {p->chunk, n};
    uint64_t end = client_end(m->o.timeout_ms);
    int rc = MIDGE_FULL;

    while (p->rc == MIDGE_OK &&
           (rc = midge_publisher_send(p->publisher, client_text(buf_str(&p->subject)),
                                      (struct midge_text){NULL, 0}, bytes, NULL)) == MIDGE_FULL) {
        uint64_t now = midge_now();
        if (now >= end)
            return client_error(m, MIDGE_TIMEOUT, "timeout");
        rc = midge_poll(m, end - now);
        if (rc != MIDGE_OK)
            return rc;
    }
    return p->rc != MIDGE_OK ? p->rc : rc;
}

static int send_chunks(struct putting *p)
{
    struct midge *m = p->s->m;
    int64_t n;
    int rc = MIDGE_OK;

    while (rc == MIDGE_OK && (n = fill_chunk(p)) != 0) {
        if (n < 0)
            return client_error(m, (int) n, "the source gave up");
        crypto_hash_sha256_update(&p->hash, (const unsigned char *) p->chunk, (size_t) n);
        p->info.size += (uint64_t) n;
        p->info.chunks++;
        rc = send_chunk(p, (size_t) n);
        midge_poll(m, 0);
    }
    if (rc == MIDGE_OK)
        rc = midge_publisher_wait(p->publisher, m->o.timeout_ms);
    return rc == MIDGE_OK ? p->rc : rc;
}

static int put_all(struct putting *p, const struct midge_object_info *before)
{
    int rc = send_chunks(p);

    if (rc == MIDGE_OK) {
        p->info.digest = finish_digest(&p->hash);
        rc = object_publish(p->s, &p->info);
    }
    if (rc == MIDGE_OK) {
        p->info.time_ns = io_wall(p->s->m->io);
        if (before->id != NULL && !before->deleted)
            rc = object_purge_chunks(p->s, before->id);
        return rc;
    }
    /* Keeps the first error's text. */
    char why[256];
    unsigned code = p->s->m->error_code;
    snprintf(why, sizeof(why), "%s", midge_error(p->s->m));
    /* A chunk on its way would be stored after the purge. */
    midge_publisher_wait(p->publisher, p->s->m->o.timeout_ms);
    object_purge_chunks(p->s, p->info.id);
    client_error(p->s->m, rc, "%s", why);
    p->s->m->error_code = code;
    return rc;
}

static int start_put(struct putting *p, const struct midge_object_meta *meta)
{
    struct midge *m = p->s->m;
    char id[NUID_LEN + 1];

    if (meta->chunk_bytes < 0 || meta->chunk_bytes > CHUNK_MAX)
        return client_error(m, MIDGE_INVALID, "chunks of %lld bytes",
                            (long long) meta->chunk_bytes);
    p->info = object_from_meta(meta);
    nuid_next(&m->nuid, id);
    p->info.id = object_keep(id);
    p->info.bucket = object_keep(p->s->bucket);
    p->chunk_bytes = (size_t) p->info.chunk_bytes;
    p->chunk = mem_try_alloc(p->chunk_bytes);
    if (p->chunk == NULL)
        return client_error(m, MIDGE_FULL, "out of memory");
    object_put_chunk_subject(&p->subject, p->s->bucket, id);
    crypto_hash_sha256_init(&p->hash);
    p->publisher = midge_publisher_open(m, WINDOW, chunk_acked, p);
    return MIDGE_OK;
}

int midge_object_put(struct midge_objects *s, const struct midge_object_meta *meta, midge_read read,
                     void *ctx, struct midge_object_info *info)
{
    struct putting p = {.s = s, .read = read, .ctx = ctx};
    struct midge_object_info before;
    int rc = object_find(s, meta->name, &before);

    if (info != NULL)
        *info = (struct midge_object_info){0};
    if (rc == MIDGE_OK || rc == MIDGE_NOT_FOUND)
        rc = start_put(&p, meta);
    if (rc == MIDGE_OK)
        rc = put_all(&p, &before);
    if (p.publisher != NULL)
        midge_publisher_close(p.publisher);
    midge_object_info_free(&before);
    buf_free(&p.subject);
    mem_free(p.chunk);
    if (rc == MIDGE_OK && info != NULL)
        *info = p.info;
    else
        midge_object_info_free(&p.info);
    return rc;
}

static int64_t read_bytes(void *ctx, void *into, size_t n)
{
    struct midge_text *left = ctx;

    if (n > left->n)
        n = left->n;
    if (n > 0)
        memcpy(into, left->p, n);
    left->p = n > 0 ? left->p + n : left->p;
    left->n -= n;
    return (int64_t) n;
}

int midge_object_put_bytes(struct midge_objects *s, const char *name, struct midge_text bytes)
{
    return midge_object_put(s, &(struct midge_object_meta){.name = name}, read_bytes, &bytes, NULL);
}

/* ---- get ------------------------------------------------------------------------------------- */

struct reading {
    const struct midge_object_info *info;
    bool done;
    int rc; /* of on_bytes, or MIDGE_CORRUPT */
    uint64_t chunks, size;
    crypto_hash_sha256_state hash;
    midge_on_bytes on_bytes;
    void *ctx;
};

static void end_reading(struct reading *r, int rc)
{
    r->done = true;
    r->rc = rc;
}

static void on_start(void *ctx, uint64_t pending)
{
    struct reading *r = ctx;

    if (!r->done && pending < r->info->chunks - r->chunks)
        end_reading(r, MIDGE_CORRUPT);
}

static void on_chunk(void *ctx, const struct midge_delivery *d)
{
    struct reading *r = ctx;
    const struct midge_text *piece = &d->msg.payload;
    int rc;

    if (r->done)
        return;
    r->chunks++;
    r->size += piece->n;
    crypto_hash_sha256_update(&r->hash, (const unsigned char *) piece->p, piece->n);
    rc = r->size > r->info->size ? MIDGE_CORRUPT : r->on_bytes(r->ctx, *piece);
    if (rc != MIDGE_OK)
        end_reading(r, rc);
    else if (r->chunks == r->info->chunks)
        end_reading(r, MIDGE_OK);
    else if (d->pending == 0)
        end_reading(r, MIDGE_CORRUPT);
}

static int read_chunks(struct midge_objects *s, struct reading *r)
{
    struct buf subject = {0};
    struct midge_ordered *o;
    const char *filter;
    int rc;

    object_put_chunk_subject(&subject, s->bucket, r->info->id);
    filter = buf_cstr(&subject);
    o = midge_ordered_open(
        s->m, s->stream,
        &(struct midge_ordered_options){.filter_subjects = {&filter, 1}, .on_start = on_start},
        on_chunk, r);
    rc = js_ordered_run(o, &r->done);
    midge_ordered_close(o);
    buf_free(&subject);
    return rc == MIDGE_OK ? r->rc : rc;
}

/* Padding and alphabet differ between writers of old. */
static bool same_digest(const char *a, const char *b)
{
    struct buf x = {0}, y = {0};
    size_t n = strlen(DIGEST);
    bool same = a != NULL && strncmp(a, DIGEST, n) == 0 && base64_decode(&x, str_of(a + n)) &&
                base64_decode(&y, str_of(b + n)) && str_eq(buf_str(&x), buf_str(&y));

    buf_free(&x);
    buf_free(&y);
    return same;
}

static int get_here(struct midge_objects *s, const struct midge_object_info *info,
                    midge_on_bytes on_bytes, void *ctx)
{
    struct reading r = {.info = info, .on_bytes = on_bytes, .ctx = ctx};
    char *digest;
    int rc = MIDGE_OK;

    crypto_hash_sha256_init(&r.hash);
    if (info->chunks > 0)
        rc = info->id != NULL && js_name_valid(info->id) ? read_chunks(s, &r) : MIDGE_CORRUPT;
    digest = finish_digest(&r.hash);
    if (rc == MIDGE_OK && (r.size != info->size || !same_digest(info->digest, digest)))
        rc = MIDGE_CORRUPT;
    mem_free(digest);
    if (rc == MIDGE_CORRUPT)
        client_error(s->m, rc, "%.100s is not what its entry says, or was replaced", info->name);
    return rc;
}

static int get_linked(struct midge_objects *s, const char *name, unsigned links,
                      midge_on_bytes on_bytes, void *ctx, struct midge_object_info *info)
{
    struct midge_objects *other;
    char *target;
    int rc = midge_object_info(s, name, info);

    if (rc != MIDGE_OK)
        return rc;
    if (info->link_bucket == NULL)
        return get_here(s, info, on_bytes, ctx);
    if (info->link_name == NULL || links == LINKS)
        return client_error(s->m, MIDGE_INVALID, "%.100s is a link to a bucket, or in a circle",
                            name);
    other = midge_objects_open(s->m, info->link_bucket, &rc);
    if (other == NULL)
        return rc;
    target = mem_strdup(info->link_name);
    midge_object_info_free(info);
    rc = get_linked(other, target, links + 1, on_bytes, ctx, info);
    mem_free(target);
    midge_objects_close(other);
    return rc;
}

int midge_object_get(struct midge_objects *s, const char *name, midge_on_bytes on_bytes, void *ctx,
                     struct midge_object_info *info)
{
    struct midge_object_info own;
    int rc = get_linked(s, name, 0, on_bytes, ctx, info != NULL ? info : &own);

    if (info == NULL)
        midge_object_info_free(&own);
    return rc;
}

struct gathering {
    struct buf bytes;
    size_t max;
};

static int gather(void *ctx, struct midge_text piece)
{
    struct gathering *g = ctx;

    if (piece.n > g->max - g->bytes.n)
        return MIDGE_FULL;
    buf_put(&g->bytes, piece.p, piece.n);
    return MIDGE_OK;
}

int midge_object_get_bytes(struct midge_objects *s, const char *name, size_t max, char **bytes,
                           size_t *n)
{
    struct gathering g = {.max = max};
    int rc = midge_object_get(s, name, gather, &g, NULL);

    if (rc == MIDGE_FULL)
        client_error(s->m, rc, "more than %zu bytes", max);
    *bytes = NULL;
    *n = 0;
    if (rc == MIDGE_OK) {
        buf_cstr(&g.bytes);
        *bytes = g.bytes.p != NULL ? g.bytes.p : mem_strdup("");
        *n = g.bytes.n;
    } else {
        buf_free(&g.bytes);
    }
    return rc;
}
