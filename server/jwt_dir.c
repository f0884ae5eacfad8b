/* jwt_dir.c - an index of what lies in the directory; tokens are read when they are asked for. */
#include "server/jwt_dir.h"

#include "lib/base/hash.h"
#include "lib/base/hmap.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "lib/jwt/jwt.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUFFIX ".jwt"
#define SECOND 1000000000ll
#define HASH_SEED 0x6a7764u

struct entry {
    struct hmap_node node;
    char key[NKEY_LEN + 1];
    uint8_t hash[JWT_DIR_HASH];
    int64_t expires; /* unix ns; INT64_MAX = never */
    uint64_t used;   /* the larger, the later */
};

struct jwt_dir {
    struct jwt_dir_options o;
    char *path;
    struct hmap entries;
    uint8_t hash[JWT_DIR_HASH];
    uint64_t clock;
};

/* ---- the index ------------------------------------------------------------------------------- */

static uint64_t hash_of(const char *key)
{
    return hash_bytes(key, strlen(key), HASH_SEED);
}

static struct entry *find(const struct jwt_dir *d, const char *key)
{
    uint64_t h = hash_of(key);

    for (struct hmap_node *n = hmap_first(&d->entries, h); n != NULL; n = hmap_next(n, h))
        if (strcmp(CONTAINER_OF(n, struct entry, node)->key, key) == 0)
            return CONTAINER_OF(n, struct entry, node);
    return NULL;
}

static void toggle(struct jwt_dir *d, const struct entry *e)
{
    for (size_t i = 0; i < JWT_DIR_HASH; i++)
        d->hash[i] ^= e->hash[i];
}

static void touch(struct jwt_dir *d, struct entry *e, int64_t now)
{
    e->used = ++d->clock;
    if (d->o.ttl_ns > 0)
        e->expires = now > INT64_MAX - d->o.ttl_ns ? INT64_MAX : now + d->o.ttl_ns;
}

static int64_t expiry_of(struct str token)
{
    struct jwt j;
    struct buf err = {0};
    int64_t at = INT64_MAX;

    if (jwt_decode_generic(token, &j, &err)) {
        if (j.expires > 0 && j.expires < INT64_MAX / SECOND)
            at = j.expires * SECOND;
        jwt_free(&j);
    }
    buf_free(&err);
    return at;
}

static void track(struct jwt_dir *d, const char *key, struct str token, int64_t now)
{
    struct entry *e = find(d, key);

    if (e != NULL) {
        toggle(d, e);
    } else {
        e = mem_zalloc(sizeof(*e));
        memcpy(e->key, key, NKEY_LEN);
        hmap_insert(&d->entries, &e->node, hash_of(key));
    }
    crypto_hash_sha256(e->hash, (const uint8_t *) token.p, token.n);
    toggle(d, e);
    e->expires = d->o.ttl_ns > 0 ? INT64_MAX : expiry_of(token);
    touch(d, e, now);
}

static void untrack(struct jwt_dir *d, struct entry *e)
{
    toggle(d, e);
    hmap_remove(&d->entries, &e->node);
    mem_free(e);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void path_of(const struct jwt_dir *d, const char *key, struct buf *out)
{
    buf_clear(out);
    buf_printf(out, "%s/%s%s", d->path, key, SUFFIX);
}

static bool read_file(const struct jwt_dir *d, const char *key, struct buf *out)
{
    struct buf path = {0};
    int64_t n = -1;
    fs_fd fd;

    path_of(d, key, &path);
    fd = fs_open(d->o.fs, buf_cstr(&path), IO_FILE_READ);
    if (fd >= 0) {
        int64_t size = fs_size(d->o.fs, fd);
        if (size > 0 && size <= (int64_t) JWT_MAX)
            n = fs_read(d->o.fs, fd, buf_reserve(out, (size_t) size), (size_t) size, 0);
        if (n > 0)
            out->n += (size_t) n;
        fs_close(d->o.fs, fd);
    }
    buf_free(&path);
    return n > 0;
}

/* The key that a file is named after. */
static bool key_of(const char *name, char key[NKEY_LEN + 1])
{
    size_t n = strlen(name);

    if (n != NKEY_LEN + strlen(SUFFIX) || strcmp(name + NKEY_LEN, SUFFIX) != 0 ||
        !nkey_is(str_from(name, NKEY_LEN), NKEY_ACCOUNT))
        return false;
    memcpy(key, name, NKEY_LEN);
    key[NKEY_LEN] = '\0';
    return true;
}

struct walk {
    struct jwt_dir *dir;
    int64_t now;
    void (*changed)(void *ctx, const char *key);
    void *ctx;
};

static void walk_one(void *ctx, const char *name)
{
    struct walk *w = ctx;
    char key[NKEY_LEN + 1];
    uint8_t hash[JWT_DIR_HASH];
    struct buf token = {0};
    const struct entry *e;

    if (!key_of(name, key))
        return;
    if (read_file(w->dir, key, &token)) {
        crypto_hash_sha256(hash, (const uint8_t *) token.p, token.n);
        e = find(w->dir, key);
        if (e == NULL || memcmp(e->hash, hash, sizeof(hash)) != 0) {
            track(w->dir, key, buf_str(&token), w->now);
            if (w->changed != NULL)
                w->changed(w->ctx, key);
        }
    }
    buf_free(&token);
}

static bool make_dir(struct io_fs *fs, const char *path)
{
    char *text = mem_strdup(path);
    int rc = 0;

    for (char *p = text + 1; rc == 0; p++) {
        char c = *p;
        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        rc = fs_mkdir(fs, text);
        rc = rc == -EEXIST ? 0 : rc;
        *p = c;
        if (c == '\0')
            break;
    }
    mem_free(text);
    return rc == 0;
}

struct jwt_dir *jwt_dir_open(const struct jwt_dir_options *o, int64_t now, char why[256])
{
    struct jwt_dir *d = mem_zalloc(sizeof(*d));
    struct walk w = {.dir = d, .now = now};
    int rc;

    d->o = *o;
    d->path = mem_strdup(o->path);
    hmap_init(&d->entries);
    make_dir(o->fs, o->path);
    rc = fs_list(o->fs, o->path, walk_one, &w);
    if (rc < 0) {
        snprintf(why, 256, "error accessing path [%.128s]: %s", o->path, strerror(-rc));
        jwt_dir_close(d);
        return NULL;
    }
    return d;
}

void jwt_dir_close(struct jwt_dir *d)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    if (d == NULL)
        return;
    while ((n = hmap_each(&d->entries, &it)) != NULL) {
        hmap_remove(&d->entries, n);
        mem_free(CONTAINER_OF(n, struct entry, node));
    }
    hmap_deinit(&d->entries);
    mem_free(d->path);
    mem_free(d);
}

void jwt_dir_reload(struct jwt_dir *d, int64_t now, void (*changed)(void *ctx, const char *key),
                    void *ctx)
{
    struct walk w = {.dir = d, .now = now, .changed = changed, .ctx = ctx};

    fs_list(d->o.fs, d->path, walk_one, &w);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

bool jwt_dir_load(struct jwt_dir *d, const char *key, int64_t now, struct buf *out)
{
    struct entry *e = find(d, key);

    if (!nkey_is(str_of(key), NKEY_ACCOUNT) || !read_file(d, key, out))
        return false;
    if (e != NULL)
        touch(d, e, now);
    return true;
}

static struct entry *least_used(const struct jwt_dir *d)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;
    struct entry *least = NULL;

    while ((n = hmap_each(&d->entries, &it)) != NULL) {
        struct entry *e = CONTAINER_OF(n, struct entry, node);
        if (least == NULL || e->used < least->used)
            least = e;
    }
    return least;
}

static bool remove_file(struct jwt_dir *d, const char *key, bool soft, struct buf *err)
{
    struct buf path = {0}, gone = {0};
    int rc;

    path_of(d, key, &path);
    if (soft) {
        buf_printf(&gone, "%s.deleted", buf_cstr(&path));
        rc = fs_rename(d->o.fs, buf_cstr(&path), buf_cstr(&gone));
    } else {
        rc = fs_unlink(d->o.fs, buf_cstr(&path));
    }
    if (rc == 0)
        rc = fs_sync_dir(d->o.fs, d->path);
    if (rc < 0 && rc != -ENOENT && err != NULL)
        buf_printf(err, "remove %s: %s", buf_cstr(&path), strerror(-rc));
    buf_free(&path);
    buf_free(&gone);
    return rc == 0 || rc == -ENOENT;
}

static bool make_room(struct jwt_dir *d, struct buf *err)
{
    struct entry *e;

    if (d->o.limit <= 0 || (int64_t) d->entries.count < d->o.limit)
        return true;
    if (!d->o.cache) {
        buf_puts(err, "jwt store is full");
        return false;
    }
    e = least_used(d);
    if (e != NULL && !remove_file(d, e->key, false, err))
        return false;
    if (e != NULL)
        untrack(d, e);
    return true;
}

enum jwt_dir_saved jwt_dir_save(struct jwt_dir *d, const char *key, struct str token, int64_t now,
                                struct buf *err)
{
    struct entry *e = find(d, key);
    uint8_t hash[JWT_DIR_HASH];
    struct buf path = {0};
    int rc;

    if (!nkey_is(str_of(key), NKEY_ACCOUNT)) {
        buf_puts(err, "invalid public key");
        return JWT_DIR_FAILED;
    }
    crypto_hash_sha256(hash, (const uint8_t *) token.p, token.n);
    if (e != NULL && memcmp(e->hash, hash, sizeof(hash)) == 0) {
        touch(d, e, now);
        return JWT_DIR_SAME;
    }
    if (e == NULL && !make_room(d, err))
        return JWT_DIR_FAILED;
    path_of(d, key, &path);
    rc = fs_replace(d->o.fs, buf_cstr(&path), token.p, token.n);
    if (rc == 0)
        track(d, key, token, now);
    else
        buf_printf(err, "open %s: %s", buf_cstr(&path), strerror(-rc));
    buf_free(&path);
    return rc == 0 ? JWT_DIR_SAVED : JWT_DIR_FAILED;
}

bool jwt_dir_delete(struct jwt_dir *d, const char *key, bool *was, struct buf *err)
{
    struct entry *e = find(d, key);

    *was = e != NULL;
    if (!remove_file(d, key, d->o.soft_delete, err))
        return false;
    if (e != NULL)
        untrack(d, e);
    return true;
}

void jwt_dir_expire(struct jwt_dir *d, int64_t now)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&d->entries, &it)) != NULL) {
        struct entry *e = CONTAINER_OF(n, struct entry, node);
        if (e->expires <= now && remove_file(d, e->key, false, NULL))
            untrack(d, e);
    }
}

/* ---- all of them ----------------------------------------------------------------------------- */

void jwt_dir_hash(const struct jwt_dir *d, uint8_t out[JWT_DIR_HASH])
{
    memcpy(out, d->hash, JWT_DIR_HASH);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(*(const char *const *) a, *(const char *const *) b);
}

void jwt_dir_each(struct jwt_dir *d, int64_t now,
                  void (*each)(void *ctx, const char *key, struct str token), void *ctx)
{
    const char **keys = mem_array(d->entries.count + 1, sizeof(*keys));
    struct hmap_iter it = {0};
    struct hmap_node *n;
    size_t count = 0;

    while ((n = hmap_each(&d->entries, &it)) != NULL)
        keys[count++] = CONTAINER_OF(n, struct entry, node)->key;
    qsort(keys, count, sizeof(*keys), by_key);
    for (size_t i = 0; i < count; i++) {
        struct buf token = {0};
        if (read_file(d, keys[i], &token) && expiry_of(buf_str(&token)) > now)
            each(ctx, keys[i], buf_str(&token));
        buf_free(&token);
    }
    mem_free(keys);
}
