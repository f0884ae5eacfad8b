/*
 * The store directory: lock, identity, and the paths of everything in it.
 *
 * Opening:  directory and LOCK -> store.meta (created, read, or put together again) ->
 * sub-directories -> recovery.
 *
 * LOCK is held by a lock on the open file, which the system drops with the process; its text, the
 * owner's pid, is for the message that a second one gets.
 *
 * store.meta is written once. Its UUID is part of every salt, so without it nothing could be read;
 * should it be damaged or missing in a directory that holds data, the UUID is taken from the header
 * page of a log or segment, the damaged file goes to quarantine, and a new one is written. One of a
 * newer format is refused untouched.
 */
#include "store/dir.h"

#include "lib/base/mem.h"
#include "store/log_format.h"
#include "store/pool.h"
#include "store/recover_impl.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

/* Room for "/quarantine/streams_<32 hex>_0000000001.seg.1" behind the directory's path. */
#define PATH_MAX_BYTES (STORE_PATH - 112)

/* ---- paths --------------------------------------------------------------------------------- */

void store_path(const struct store_dir *dir, char out[STORE_PATH], const char *name)
{
    snprintf(out, STORE_PATH, "%s/%s", dir->path, name);
}

void store_path_log(const struct store_dir *dir, char out[STORE_PATH], uint64_t generation,
                    uint32_t worker, uint64_t number)
{
    char name[64];

    log_name(name, generation, worker, number);
    snprintf(out, STORE_PATH, "%s/log/%s", dir->path, name);
}

void store_path_mark(const struct store_dir *dir, char out[STORE_PATH], uint32_t worker)
{
    char name[64];

    log_mark_name(name, worker);
    snprintf(out, STORE_PATH, "%s/log/%s", dir->path, name);
}

void store_path_twin(const struct store_dir *dir, char out[STORE_PATH], uint64_t generation,
                     uint32_t worker, uint64_t number)
{
    char name[64];

    twin_name(name, generation, worker, number);
    snprintf(out, STORE_PATH, "%s/twin/%s", dir->path, name);
}

void store_path_stream(const struct store_dir *dir, char out[STORE_PATH], const uint8_t uuid[16])
{
    char text[33];

    store_uuid_text(uuid, text);
    snprintf(out, STORE_PATH, "%s/streams/%s", dir->path, text);
}

void store_path_segment(const struct store_dir *dir, char out[STORE_PATH], const uint8_t uuid[16],
                        uint64_t number, uint32_t generation)
{
    char text[33], name[48];

    store_uuid_text(uuid, text);
    segment_name(name, number, generation);
    snprintf(out, STORE_PATH, "%s/streams/%s/%s", dir->path, text, name);
}

void store_path_pool(const struct store_dir *dir, char out[STORE_PATH], uint64_t number)
{
    snprintf(out, STORE_PATH, "%s/pool/%llu.pre", dir->path, (unsigned long long) number);
}

/* ---- quarantine ---------------------------------------------------------------------------- */

static bool exists(struct io_fs *fs, const char *path)
{
    struct rec_names names;
    fs_fd fd = fs_open(fs, path, IO_FILE_READ);

    if (fd >= 0)
        fs_close(fs, fd);
    if (fd >= 0 || rec_list(fs, path, &names) != ERR_OK)
        return true;
    bool directory = names.n != 0;
    rec_names_free(&names);
    return directory;
}

/* "streams/ab/1.seg" becomes "quarantine/streams_ab_1.seg", or with ".1" and so on when that is
 * taken. */
static bool quarantine_name(const struct store_dir *dir, const char *path, char to[STORE_PATH])
{
    size_t skip = strlen(dir->path) + 1;
    int n = snprintf(to, STORE_PATH, "%s/quarantine/", dir->path);

    for (const char *p = path + skip; *p != '\0' && n < STORE_PATH - 8; p++)
        to[n++] = *p == '/' ? '_' : *p;
    to[n] = '\0';
    for (unsigned k = 1; exists(dir->options.fs, to); k++) {
        if (k > 99)
            return false;
        snprintf(to + n, (size_t) (STORE_PATH - n), ".%u", k);
    }
    return true;
}

int store_set_aside(struct store_dir *dir, const char *path, char to[STORE_PATH])
{
    int res = quarantine_name(dir, path, to) ? fs_rename(dir->options.fs, path, to) : -EEXIST;

    if (res == 0) {
        fs_sync_parent(dir->options.fs, to);
        fs_sync_parent(dir->options.fs, path);
    }
    return res;
}

void store_quarantine(struct store_dir *dir, const char *path, const char *why)
{
    char to[STORE_PATH];
    int res = store_set_aside(dir, path, to);

    dir->recovery.quarantined_files++;
    if (res < 0) {
        LOG_WRN(dir->options.log, "%s: %s; it stays where it is: %s", path, why, strerror(-res));
        return;
    }
    LOG_WRN(dir->options.log, "%s: %s; moved to %s", path, why, to);
}

/* ---- lock ---------------------------------------------------------------------------------- */

/* The last writes of a server that was killed end in milliseconds, unless the disk is in trouble.
 */
#define LOCK_PATIENCE_NS 2000000000u

static enum err explain(enum err err, char why[256], const char *path, const char *what)
{
    snprintf(why, 256, "%.180s: %.70s", path, what);
    return err;
}

static enum err in_use(struct store_dir *dir, const char *path, char why[256])
{
    char pid[24] = "", text[64];
    int64_t n = fs_read(dir->options.fs, dir->lock, pid, sizeof(pid) - 1, 0);

    pid[n > 0 ? n : 0] = '\0';
    pid[strspn(pid, "0123456789")] = '\0';
    snprintf(text, sizeof(text), "in use by process %s", pid[0] != '\0' ? pid : "(unknown)");
    return explain(ERR_BUSY, why, path, text);
}

static enum err take_lock(struct store_dir *dir, char why[256])
{
    struct io_fs *fs = dir->options.fs;
    char path[STORE_PATH], pid[24];

    store_path(dir, path, "LOCK");
    dir->lock = fs_open(fs, path, IO_FILE_WRITE | IO_FILE_CREATE);
    if (dir->lock == -EEXIST)
        dir->lock = fs_open(fs, path, IO_FILE_WRITE);
    if (dir->lock < 0)
        return explain(err_from_errno(dir->lock), why, path, strerror(-dir->lock));
    int res = fs_lock(fs, dir->lock, dir->options.lock_patience_ns);
    if (res == -EWOULDBLOCK)
        return in_use(dir, path, why);
    if (res < 0)
        return explain(err_from_errno(res), why, path, strerror(-res));
    /* With a seed everything is to be the same in every run. */
    int n = snprintf(pid, sizeof(pid), "%ld\n", dir->options.seed != 0 ? 1L : (long) getpid());
    res = fs_truncate(fs, dir->lock, 0);
    if (res == 0)
        res = fs_write(fs, dir->lock, pid, (size_t) n, 0);
    if (res == -ENOSPC) /* the lock is what counts */
        res = 0;
    return res < 0 ? explain(err_from_errno(res), why, path, strerror(-res)) : ERR_OK;
}

/* ---- identity ------------------------------------------------------------------------------ */

static enum err read_small(struct io_fs *fs, const char *path, uint8_t *out, size_t cap, size_t *n)
{
    fs_fd fd = fs_open(fs, path, IO_FILE_READ);

    if (fd < 0)
        return err_from_errno(fd);
    int64_t got = fs_read(fs, fd, out, cap, 0);
    fs_close(fs, fd);
    *n = got > 0 ? (size_t) got : 0;
    return got < 0 ? ERR_IO : ERR_OK;
}

static enum err write_meta(struct store_dir *dir, const char *path, char why[256])
{
    struct superblock sb = {.version = STORE_FORMAT_VERSION, .writer = "midge " PACKAGE_VERSION};
    uint8_t bytes[SUPERBLOCK_BYTES];

    memcpy(sb.uuid, dir->uuid, 16);
    sb.features = dir->features;
    superblock_encode(&sb, bytes);
    int res = fs_replace(dir->options.fs, path, bytes, sizeof(bytes));
    return res < 0 ? explain(err_from_errno(res), why, path, strerror(-res)) : ERR_OK;
}

/* The store's UUID by the header page of a log or segment file. */
static bool uuid_of_file(struct store_dir *dir, const char *path)
{
    uint8_t *page = mem_alloc(LOG_HEADER);
    struct segment_header s;
    struct log_header l;
    char why[160];
    size_t n = 0;
    bool found = false;

    if (read_small(dir->options.fs, path, page, LOG_HEADER, &n) == ERR_OK && n == LOG_HEADER) {
        if (log_header_decode(page, &l, why) == ERR_OK) {
            memcpy(dir->uuid, l.store, 16);
            found = true;
        } else if (segment_header_decode(page, &s, why) == ERR_OK) {
            memcpy(dir->uuid, s.store, 16);
            found = true;
        }
    }
    mem_free(page);
    return found;
}

/* *any: there are files at all. Looks below path, one or two levels deep. */
static bool find_uuid(struct store_dir *dir, const char *path, unsigned levels, bool *any)
{
    struct rec_names names;
    struct buf at = {0};
    bool found = false;

    if (rec_list(dir->options.fs, path, &names) != ERR_OK)
        return false;
    for (size_t i = 0; i < names.n && !found; i++) {
        buf_clear(&at);
        buf_printf(&at, "%s/%s", path, names.names[i]);
        if (levels > 1)
            found = find_uuid(dir, buf_cstr(&at), levels - 1, any);
        else {
            *any = true;
            found = uuid_of_file(dir, buf_cstr(&at));
        }
    }
    buf_free(&at);
    rec_names_free(&names);
    return found;
}

/* store.meta is missing (why_not NULL) or damaged. */
static enum err new_meta(struct store_dir *dir, const char *path, const char *why_not,
                         char why[256])
{
    char logs[STORE_PATH], twins[STORE_PATH], streams[STORE_PATH];
    bool any = false;

    store_path(dir, logs, "log");
    store_path(dir, twins, "twin");
    store_path(dir, streams, "streams");
    if (dir->ring.n > 0) { /* store.keys was unlocked: it knows, too */
        memcpy(dir->uuid, dir->keys.store, 16);
        dir->features.incompat |= STORE_ENCRYPTED;
        any = true;
    }
    if (dir->ring.n > 0 || find_uuid(dir, logs, 1, &any) || find_uuid(dir, twins, 1, &any) ||
        find_uuid(dir, streams, 2, &any))
        LOG_WRN(dir->options.log, "%s: %s; put together again from the other files", path,
                why_not != NULL ? why_not : "missing");
    else if (any)
        return explain(ERR_CORRUPT, why, path,
                       "missing or damaged, and no other file tells whose data this is");
    else
        prng_fill(&dir->prng, dir->uuid, sizeof(dir->uuid));
    if (why_not != NULL)
        store_quarantine(dir, path, why_not);
    return write_meta(dir, path, why);
}

static enum err read_meta(struct store_dir *dir, char why[256])
{
    uint8_t bytes[4096];
    struct superblock sb;
    char path[STORE_PATH], reason[160];
    size_t n = 0;

    store_path(dir, path, "store.meta");
    enum err err = read_small(dir->options.fs, path, bytes, sizeof(bytes), &n);
    if (err == ERR_NOT_FOUND)
        return new_meta(dir, path, NULL, why);
    if (err != ERR_OK)
        return explain(err, why, path, err_text(err));
    err = superblock_decode(bytes, n, &sb, reason);
    if (err == ERR_VERSION) {
        snprintf(why, 256, "%.90s: %.160s", path, reason);
        return err;
    }
    if (err != ERR_OK)
        return new_meta(dir, path, reason, why);
    memcpy(dir->uuid, sb.uuid, 16);
    dir->features = sb.features;
    return ERR_OK;
}

/* Identity and keys. Nothing is written before the configured key is known to fit. */
static enum err settle_keys(struct store_dir *dir, char why[256])
{
    char path[STORE_PATH];
    enum err err = store_keys_settle(dir, (dir->features.incompat & STORE_ENCRYPTED) != 0, why);

    if (err != ERR_OK || dir->ring.n == 0)
        return err;
    dir->recovery.encrypted = true;
    dir->recovery.key_changed = dir->keys_new;
    if ((dir->features.incompat & STORE_ENCRYPTED) != 0)
        return ERR_OK;
    dir->features.incompat |= STORE_ENCRYPTED;
    store_path(dir, path, "store.meta");
    return write_meta(dir, path, why);
}

/* Before the first Kafka batch: a program that does not know them would take one for a torn tail.
 */
static enum err settle_kafka(struct store_dir *dir, char why[256])
{
    char path[STORE_PATH];

    if (!dir->options.kafka || (dir->features.incompat & STORE_KAFKA) != 0)
        return ERR_OK;
    dir->features.incompat |= STORE_KAFKA;
    store_path(dir, path, "store.meta");
    return write_meta(dir, path, why);
}

/* ---- directories --------------------------------------------------------------------------- */

/* Also one that is there is synced: whoever made it may have been killed before its name was
 * durable. */
static int make_dir(struct io_fs *fs, const char *path)
{
    int res = fs_mkdir(fs, path);

    if (res == -EEXIST)
        res = 0;
    if (res == 0)
        fs_sync_parent(fs, path);
    return res;
}

/* With its parents, as `mkdir -p`. */
static int make_path(struct io_fs *fs, const char *path)
{
    char *copy = mem_strdup(path);
    int res = make_dir(fs, path);

    for (char *p = copy + 1; res == -ENOENT && *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        make_dir(fs, copy);
        *p = '/';
    }
    if (res == -ENOENT)
        res = make_dir(fs, path);
    mem_free(copy);
    return res;
}

/* store.meta is written when all directories are there, and its parent is synced with it; a start
 * behind a kill does that again (sync_found in recover_log.c). */
static bool is_settled(const struct store_dir *dir)
{
    char path[STORE_PATH];

    store_path(dir, path, "store.meta");
    fs_fd fd = fs_open(dir->options.fs, path, IO_FILE_READ);
    if (fd >= 0)
        fs_close(dir->options.fs, fd);
    return fd >= 0;
}

static enum err make_subdirs(struct store_dir *dir, char why[256])
{
    static const char *const names[] = {"quarantine", "log", "twin", "streams", "pool"};
    char path[STORE_PATH];
    bool made = !dir->settled;

    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        store_path(dir, path, names[i]);
        int res = fs_mkdir(dir->options.fs, path);
        if (res < 0 && res != -EEXIST)
            return explain(err_from_errno(res), why, path, strerror(-res));
        made = made || res == 0;
    }
    if (made)
        fs_sync_dir(dir->options.fs, dir->path);
    return ERR_OK;
}

/* ---- open and close ------------------------------------------------------------------------ */

#define SEAL_BYTES (4u << 20)

static void fill_in_options(struct store_dir *dir)
{
    struct store_dir_options *o = &dir->options;
    uint64_t seed = o->seed;

    if (o->workers == 0)
        o->workers = 1;
    if (o->log_file_bytes == 0)
        o->log_file_bytes = STORE_LOG_FILE_BYTES;
    o->log_file_bytes = round_up(o->log_file_bytes, LOG_PAGE);
    if (o->index_lazy_bytes == 0)
        o->index_lazy_bytes = 64u << 10;
    if (o->lock_patience_ns == 0)
        o->lock_patience_ns = LOCK_PATIENCE_NS;
    if (o->seal_bytes == 0)
        o->seal_bytes = SEAL_BYTES;
    if (o->drop_bytes == 0)
        o->drop_bytes = STORE_DROP_BYTES;
    if (o->segment_bytes_min == 0)
        o->segment_bytes_min = STORE_SEGMENT_MIN;
    if (o->segment_bytes_max == 0)
        o->segment_bytes_max = STORE_SEGMENT_MAX;
    if (o->segment_bytes_max < o->segment_bytes_min)
        o->segment_bytes_max = o->segment_bytes_min;
    if (seed == 0)
        randombytes_buf(&seed, sizeof(seed));
    prng_init(&dir->prng, seed);
    dir->seeds = mem_array(o->workers, sizeof(*dir->seeds));
}

/* Each start has its own, also when the caller's seed is the same: UUIDs must not come again. */
static void draw_seeds(struct store_dir *dir)
{
    prng_init(&dir->prng, prng_u64(&dir->prng) + dir->generation * 0x9e3779b97f4a7c15u);
    for (unsigned i = 0; i < dir->options.workers; i++)
        dir->seeds[i] = prng_u64(&dir->prng);
}

static uint64_t now(const struct store_dir *dir)
{
    return dir->options.clock != NULL ? dir->options.clock(dir->options.ctx) : 0;
}

static enum err open_all(struct store_dir *dir, char why[256])
{
    if (dir->options.log_file_bytes < LOG_HEADER + 4 * LOG_PAGE)
        return explain(ERR_INVALID, why, dir->path, "commit log files are too small");
    if (strlen(dir->path) > PATH_MAX_BYTES)
        return explain(ERR_TOO_LARGE, why, dir->path, "path is too long");
    dir->settled = is_settled(dir);
    int res = dir->settled ? 0 : make_path(dir->options.fs, dir->path);
    if (res < 0)
        return explain(err_from_errno(res), why, dir->path, strerror(-res));
    enum err err = take_lock(dir, why);
    if (err == ERR_OK)
        err = store_keys_unlock(dir, why);
    if (err == ERR_OK)
        err = make_subdirs(dir, why);
    if (err == ERR_OK)
        err = read_meta(dir, why);
    if (err == ERR_OK)
        err = settle_keys(dir, why);
    if (err == ERR_OK)
        err = settle_kafka(dir, why);
    uint64_t begun = now(dir);
    if (err == ERR_OK)
        err = store_recover(dir, why);
    dir->recovery.ns = now(dir) - begun;
    if (err == ERR_OK)
        err = store_keys_prune(dir, why);
    store_keys_forget(dir);
    if (err != ERR_OK)
        return err;
    draw_seeds(dir);
    atomic_store(&dir->twins_missing, dir->options.workers);
    dir->pool = store_pool_open(dir);
    return err;
}

enum err store_dir_open(const struct store_dir_options *options, struct store_dir **out,
                        char why[256])
{
    struct store_dir *dir = mem_zalloc(sizeof(*dir));

    why[0] = '\0';
    dir->options = *options;
    dir->path = mem_strdup(options->path);
    dir->options.path = dir->path;
    dir->lock = -1;
    fill_in_options(dir);
    enum err err = open_all(dir, why);
    if (err == ERR_OK) {
        *out = dir;
        return ERR_OK;
    }
    if (why[0] == '\0')
        explain(err, why, dir->path, err_text(err));
    store_dir_close(dir);
    return err;
}

void store_dir_close(struct store_dir *dir)
{
    for (unsigned i = 0; dir->workers != NULL && i < dir->options.workers; i++)
        recovered_worker_free(&dir->workers[i]);
    mem_free(dir->workers);
    if (dir->pool != NULL)
        store_pool_close(dir->pool, dir->options.fs);
    if (dir->lock >= 0)
        fs_close(dir->options.fs, dir->lock);
    store_keys_forget(dir);
    crypt_ring_wipe(&dir->ring);
    mem_free(dir->seeds);
    mem_free(dir->path);
    mem_free(dir);
}

const char *store_dir_path(const struct store_dir *dir)
{
    return dir->path;
}

void store_dir_uuid(const struct store_dir *dir, uint8_t out[16])
{
    memcpy(out, dir->uuid, 16);
}

const struct store_recovery *store_dir_recovery(const struct store_dir *dir)
{
    return &dir->recovery;
}
