/*
 * drop.c - files that nobody needs any more go in pieces.
 *
 * A file without a name is freed by the last close of it, whole: with 256 MiB the file system frees
 * all blocks and pages in one transaction and discards them, and a sync that begins meanwhile, as
 * that of the commit log, ends when that has ended.
 *
 * So a big file is opened, loses its name, and is cut from its end, one piece after the other with
 * pauses between (the pool's: work.c), before it is closed. The name goes first, and that is made
 * durable: whatever happens then, the file system frees what is left of it at the next mount. A
 * start that met half a file under the name of a segment would take it for a damaged one.
 *
 * Measured (ext4 with discard, bench_trim with 4 M messages, longest publish from the removal on,
 * in turn): whole 36, 36, 25 ms; in pieces of 8 MiB, each with a pause of four times its length,
 * 10, 6, 5 ms; 3 to 8 ms before the removal.
 *
 * What is left ends with a whole page: the kernel writes zeros behind an end within one, and a
 * socket that was given part of the file (lend.c) may still have that page.
 *
 * At most DROPS_MAX wait, each with a descriptor. One too many goes whole, as all do when the
 * directory is closed: nobody waits for a stop longer than without this. A full disk ends the
 * pauses, too.
 */
#include "store/drop.h"

#include "lib/base/lock.h"
#include "lib/base/mem.h"

#include <stdatomic.h>
#include <string.h>

#define DROPS_MAX 64u
#define PAGE 4096u

struct dropped {
    fs_fd fd;
    uint64_t bytes; /* left of it */
};

struct store_drops {
    struct mutex lock;
    uint64_t piece;
    struct dropped list[DROPS_MAX]; /* oldest first */
    unsigned n;
    unsigned coming; /* places of files that lose their names just now, or are being cut */
    atomic_bool any;
};

struct store_drops *store_drops_open(uint64_t piece)
{
    struct store_drops *d = mem_zalloc(sizeof(*d));

    d->piece = piece;
    mutex_init(&d->lock);
    atomic_init(&d->any, false);
    return d;
}

void store_drops_close(struct store_drops *d, struct io_fs *fs)
{
    store_drops_hurry(d, fs);
    ASSERT(d->coming == 0);
    mutex_deinit(&d->lock);
    mem_free(d);
}

/* ---- the list -------------------------------------------------------------------------------- */

static bool reserve(struct store_drops *d)
{
    mutex_lock(&d->lock);
    bool room = d->n + d->coming < DROPS_MAX;
    d->coming += room;
    mutex_unlock(&d->lock);
    return room;
}

static void cancel(struct store_drops *d)
{
    mutex_lock(&d->lock);
    d->coming--;
    mutex_unlock(&d->lock);
}

static void put(struct store_drops *d, struct dropped f, bool first)
{
    mutex_lock(&d->lock);
    ASSERT(d->coming > 0 && d->n < DROPS_MAX);
    if (first)
        memmove(&d->list[1], &d->list[0], d->n * sizeof(*d->list));
    d->list[first ? 0 : d->n] = f;
    d->n++;
    d->coming--;
    atomic_store_explicit(&d->any, true, memory_order_relaxed);
    mutex_unlock(&d->lock);
}

/* Its place stays reserved. */
static bool take(struct store_drops *d, struct dropped *out)
{
    mutex_lock(&d->lock);
    bool found = d->n > 0;
    if (found) {
        *out = d->list[0];
        d->n--;
        memmove(&d->list[0], &d->list[1], d->n * sizeof(*d->list));
        d->coming++;
    }
    atomic_store_explicit(&d->any, d->n > 0, memory_order_relaxed);
    mutex_unlock(&d->lock);
    return found;
}

/* ---- letting go ------------------------------------------------------------------------------ */

int store_drop_file(struct store_drops *d, struct io_fs *fs, const char *path)
{
    bool reserved = reserve(d);
    fs_fd fd = reserved ? fs_open(fs, path, IO_FILE_WRITE) : -1;
    int64_t bytes = fd >= 0 ? fs_size(fs, fd) : 0;
    int result = fs_unlink(fs, path);
    bool big = result == 0 && bytes > 0 && (uint64_t) bytes > 2 * d->piece;

    if (big && fs_sync_parent(fs, path) == 0) {
        put(d, (struct dropped){fd, (uint64_t) bytes}, false);
        return 0;
    }
    if (fd >= 0)
        fs_close(fs, fd);
    if (reserved)
        cancel(d);
    return result;
}

bool store_drops_wait(const struct store_drops *d)
{
    return atomic_load_explicit(&d->any, memory_order_relaxed);
}

void store_drops_step(struct store_drops *d, struct io_fs *fs)
{
    struct dropped f;

    if (!take(d, &f))
        return;
    uint64_t left = f.bytes > d->piece ? (f.bytes - d->piece) / PAGE * PAGE : 0;
    if (left > 0 && fs_truncate(fs, f.fd, left) == 0) {
        f.bytes = left;
        put(d, f, true);
        return;
    }
    fs_close(fs, f.fd);
    cancel(d);
}

bool store_drops_hurry(struct store_drops *d, struct io_fs *fs)
{
    struct dropped f;
    bool found = false;

    while (take(d, &f)) {
        fs_close(fs, f.fd);
        cancel(d);
        found = true;
    }
    return found;
}
