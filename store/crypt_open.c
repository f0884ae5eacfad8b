/*
 * crypt_open.c - the key file of a directory: found, unlocked, made, written anew.
 *
 * store.keys and store.keys.copy hold the same; without them an encrypted store is lost, so one may
 * be damaged or missing: the one with the higher serial counts, and the other is written again.
 *
 * Nothing of the directory is changed before the configured key has unlocked the file. Then, when
 * the key is a new one (the previous one fitted) or the cipher is another, a data key is added: the
 * new logs and all new segments are written with it. Data keys that no segment needs any more are
 * left out at the end of a start, so old ones go when compaction and retention have replaced what
 * they sealed. The previous configured key opens nothing from then on.
 *
 * Order when encryption begins: both files, then the feature bit in store.meta, then the first
 * sealed byte.
 */
#include "lib/base/mem.h"
#include "store/dir.h"
#include "store/recover_impl.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

/* 19 MiB and two passes: about 30 ms, once a start. */
#define KDF_KIB (19u << 10)
#define KDF_PASSES 2u

static const char *const names[] = {"store.keys", "store.keys.copy"};

static enum err explain(struct store_dir *dir, enum err err, const char *what, char why[256])
{
    snprintf(why, 256, "%.120s/%s: %.110s", dir->path, names[0], what);
    return err;
}

/* ---- reading --------------------------------------------------------------------------------- */

struct copy {
    enum err err; /* ERR_NOT_FOUND: there is none */
    struct crypt_keys keys;
    char why[160];
};

static void read_copy(struct store_dir *dir, const char *name, struct copy *out)
{
    uint8_t bytes[CRYPT_KEYS_BYTES + 1];
    char path[STORE_PATH];

    store_path(dir, path, name);
    fs_fd fd = fs_open(dir->options.fs, path, IO_FILE_READ);
    if (fd < 0) {
        out->err = err_from_errno(fd);
        snprintf(out->why, sizeof(out->why), "%s", strerror(-fd));
        return;
    }
    int64_t n = fs_read(dir->options.fs, fd, bytes, sizeof(bytes), 0);
    fs_close(dir->options.fs, fd);
    if (n < 0) {
        out->err = err_from_errno((int) n);
        snprintf(out->why, sizeof(out->why), "%s", strerror((int) -n));
        return;
    }
    out->err = crypt_keys_decode(bytes, (size_t) n, &out->keys, out->why);
}

/* The copy that counts, or why there is none. */
static enum err find(struct store_dir *dir, char why[256])
{
    struct copy *c = mem_zalloc(2 * sizeof(*c));
    enum err err = ERR_NOT_FOUND;
    const struct copy *best = NULL;

    for (unsigned i = 0; i < 2; i++) {
        read_copy(dir, names[i], &c[i]);
        if (c[i].err == ERR_OK && (best == NULL || c[i].keys.serial > best->keys.serial))
            best = &c[i];
        else if (c[i].err != ERR_OK && (err == ERR_NOT_FOUND || c[i].err == ERR_VERSION))
            err = c[i].err == ERR_NOT_FOUND ? err : explain(dir, c[i].err, c[i].why, why);
    }
    if (best != NULL) {
        dir->keys = best->keys;
        dir->keys_differ = c[0].err != ERR_OK || c[1].err != ERR_OK ||
                           c[0].keys.serial != c[1].keys.serial;
        err = err == ERR_VERSION ? err : ERR_OK;
    }
    for (unsigned i = 0; i < 2 && err == ERR_OK; i++)
        if (c[i].err != ERR_OK)
            LOG_WRN(dir->options.log, "%s/%s: %s; written again from the other copy", dir->path,
                    names[i], c[i].err == ERR_NOT_FOUND ? "missing" : c[i].why);
    mem_free(c);
    return err;
}

static enum err try_key(struct store_dir *dir, struct str configured, uint8_t wrapping[CRYPT_KEY])
{
    enum err err = crypt_keys_derive(&dir->keys.kdf, configured, wrapping);

    return err != ERR_OK ? err : crypt_keys_unlock(&dir->keys, wrapping, &dir->ring);
}

enum err store_keys_unlock(struct store_dir *dir, char why[256])
{
    const struct store_dir_options *o = &dir->options;
    enum err err = find(dir, why);

    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (err != ERR_OK)
        return err;
    if (o->key.n == 0)
        return explain(dir, ERR_KEY, "this store is encrypted, and no encryption key is configured",
                       why);
    err = try_key(dir, o->key, dir->wrapping);
    if (err == ERR_KEY && o->prev_key.n != 0) {
        err = try_key(dir, o->prev_key, dir->wrapping);
        dir->keys_new = err == ERR_OK;
    }
    if (err == ERR_KEY)
        return explain(dir, err,
                       o->prev_key.n != 0
                           ? "neither the encryption key nor the previous one fits this store"
                           : "the encryption key does not fit this store",
                       why);
    if (err != ERR_OK)
        return explain(dir, err, err_text(err), why);
    for (unsigned i = 0; i < dir->ring.n; i++)
        if (!crypt_cipher_usable(dir->ring.keys[i].cipher))
            return explain(dir, ERR_UNSUPPORTED,
                           "the store is encrypted with AES, which this processor has no "
                           "instructions for",
                           why);
    return ERR_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

static enum err write_both(struct store_dir *dir, char why[256])
{
    uint8_t bytes[CRYPT_KEYS_BYTES];
    char path[STORE_PATH];
    int res = 0;

    dir->keys.serial++;
    size_t n = crypt_keys_encode(&dir->keys, &dir->ring, dir->wrapping, &dir->prng, bytes);
    for (unsigned i = 0; i < 2 && res == 0; i++) {
        store_path(dir, path, names[i]);
        res = fs_replace(dir->options.fs, path, bytes, n);
    }
    return res < 0 ? explain(dir, err_from_errno(res), strerror(-res), why) : ERR_OK;
}

/* A new data key, which is written with from now on. */
static enum err add_key(struct store_dir *dir, char why[256])
{
    struct crypt_ring *ring = &dir->ring;
    uint32_t id = 0;

    if (ring->n == CRYPT_KEYS_MAX)
        return explain(dir, ERR_LIMIT, "too many data keys: segments of 16 keys are still there",
                       why);
    for (unsigned i = 0; i < ring->n; i++)
        id = ring->keys[i].id > id ? ring->keys[i].id : id;
    struct crypt_data_key *k = &ring->keys[ring->n++];
    k->id = ring->current = id + 1;
    k->cipher = dir->options.cipher;
    crypt_random(ring, &dir->prng, k->key, sizeof(k->key));
    return ERR_OK;
}

/* The configured key wraps from now on, under a salt of its own. */
static enum err change_wrapping(struct store_dir *dir, char why[256])
{
    struct crypt_kdf *kdf = &dir->keys.kdf;

    kdf->passes = dir->ring.predictable ? 1 : KDF_PASSES;
    kdf->kib = dir->ring.predictable ? 8 : KDF_KIB;
    crypt_random(&dir->ring, &dir->prng, kdf->salt, sizeof(kdf->salt));
    enum err err = crypt_keys_derive(kdf, dir->options.key, dir->wrapping);
    return err != ERR_OK ? explain(dir, err, err_text(err), why) : ERR_OK;
}

static enum err choose_cipher(struct store_dir *dir, char why[256])
{
    struct store_dir_options *o = &dir->options;

    if (o->cipher == CRYPT_NONE)
        o->cipher = CRYPT_CHACHA;
    if (!crypt_cipher_usable(o->cipher))
        return explain(dir, ERR_UNSUPPORTED,
                       "the cipher is aes, which this processor has no instructions for", why);
    return ERR_OK;
}

enum err store_keys_settle(struct store_dir *dir, bool encrypted, char why[256])
{
    struct crypt_ring *ring = &dir->ring;
    bool add;
    enum err err;

    if (ring->n == 0 && encrypted)
        return explain(dir, ERR_KEY, "missing, and its copy too: without it nothing can be read",
                       why);
    if (dir->options.key.n == 0)
        return ERR_OK;
    if (ring->n > 0 && memcmp(dir->keys.store, dir->uuid, 16) != 0)
        return explain(dir, ERR_KEY, "belongs to another store", why);
    ring->predictable = dir->options.seed != 0;
    err = choose_cipher(dir, why);
    if (err != ERR_OK)
        return err;
    memcpy(dir->keys.store, dir->uuid, 16);
    add = ring->n == 0 || dir->keys_new ||
          crypt_ring_find(ring, ring->current)->cipher != dir->options.cipher;
    if (add) {
        if (ring->n == 0 || dir->keys_new)
            err = change_wrapping(dir, why);
        if (err == ERR_OK)
            err = add_key(dir, why);
    }
    return err == ERR_OK && (add || dir->keys_differ) ? write_both(dir, why) : err;
}

/* Files that were removed without a sync may be there again after a power cut, and a start opens
 * them before it knows that they were removed: that must last before their keys go. */
static enum err sync_removals(struct store_dir *dir, char why[256])
{
    char path[STORE_PATH];
    struct rec_names streams;
    struct buf one = {0};
    int res = 0;

    store_path(dir, path, "streams");
    enum err err = rec_list(dir->options.fs, path, &streams);
    if (err != ERR_OK)
        return explain(dir, err, "streams can not be listed", why);
    for (size_t i = 0; i < streams.n && res >= 0; i++) {
        buf_clear(&one);
        buf_printf(&one, "%s/%s", path, streams.names[i]);
        res = fs_sync_dir(dir->options.fs, buf_cstr(&one));
        res = res == -ENOTDIR ? 0 : res;
    }
    buf_free(&one);
    rec_names_free(&streams);
    return res < 0 ? explain(dir, err_from_errno(res), strerror(-res), why) : ERR_OK;
}

enum err store_keys_prune(struct store_dir *dir, char why[256])
{
    struct crypt_ring *ring = &dir->ring;
    unsigned n = 0, was = ring->n;
    enum err err;

    for (unsigned i = 0; i < was; i++)
        if (ring->keys[i].id == ring->current || dir->keys_unknown ||
            (dir->keys_used >> i & 1) != 0)
            n++;
    if (n == was)
        return ERR_OK;
    err = sync_removals(dir, why);
    if (err != ERR_OK)
        return err;
    n = 0;
    for (unsigned i = 0; i < was; i++)
        if (ring->keys[i].id == ring->current || (dir->keys_used >> i & 1) != 0)
            ring->keys[n++] = ring->keys[i];
    ring->n = n;
    return write_both(dir, why);
}

void store_keys_forget(struct store_dir *dir)
{
    sodium_memzero(dir->wrapping, sizeof(dir->wrapping));
    sodium_memzero(&dir->keys, sizeof(dir->keys));
    dir->options.key = dir->options.prev_key = STR_NONE;
}
