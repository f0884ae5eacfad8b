/*
 * sim_files.c - operations on files, completion style and blocking, over the simulated disk.
 *
 * A write takes effect at a drawn moment between submit and completion, a split one at two; that
 * its bytes stay unchanged meanwhile, as io.h asks of the caller, is asserted. A sync covers what
 * was written when it was submitted; a commit is a write and a sync of its own range. A file object
 * names a path: its descriptor may be closed and opened again between operations, as the LRU of the
 * real backends does.
 *
 * Blocking calls take effect at once. They make time pass, and what else was due happens later.
 */
#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "tests/sim/sim_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CALL_NS 2000 /* a blocking call that does not wait for the disk */

/* ---- shared by both styles ------------------------------------------------------------------- */

static void names_changed(struct sim *sim)
{
    if (sim_chance(sim, sim->options.early_names_percent))
        sim_disk_journal_tick(sim->disk, &sim->rng);
}

static int open_inode(struct sim *sim, const char *path, bool create, struct sim_inode **out)
{
    int rc;
    if (!create)
        return sim_disk_lookup(sim->disk, path, out);
    if (sim_fails(sim, SIM_FAULT_NAMES, path))
        return -EIO;
    rc = sim_disk_create(sim->disk, path, out);
    names_changed(sim);
    sim_moment(sim, SIM_AFTER_NAME, "create", path);
    return rc;
}

/* With a fault: any part is written. */
static int write_inode(struct sim *sim, struct sim_inode *ino, const char *path, const void *bytes,
                       size_t n, uint64_t offset)
{
    int rc = -EIO;
    if (!sim_fails(sim, SIM_FAULT_WRITE, path))
        rc = sim_disk_write(sim->disk, ino, bytes, n, offset);
    else
        sim_disk_write(sim->disk, ino, bytes, (size_t) prng_below(&sim->rng, n + 1), offset);
    sim_moment(sim, SIM_AFTER_WRITE, "write", path);
    return rc;
}

static int sync_inode(struct sim *sim, struct sim_inode *ino, const char *path, uint64_t mark)
{
    int rc = 0;
    sim_moment(sim, SIM_BEFORE_SYNC, "sync", path);
    if (sim_fails(sim, SIM_FAULT_SYNC, path)) {
        sim_disk_fail_sync(sim->disk, ino, mark, &sim->rng);
        rc = -EIO;
    } else if ((sim->lies & SIM_LIE_SYNC) == 0) {
        sim_disk_harden(sim->disk, ino, mark);
    }
    sim_moment(sim, SIM_AFTER_SYNC, "synced", path);
    return rc;
}

static int commit_inode(struct sim *sim, struct sim_inode *ino, const char *path,
                        const struct sim_pending *p)
{
    int rc = 0;
    sim_moment(sim, SIM_BEFORE_SYNC, "commit", path);
    if (sim_fails(sim, SIM_FAULT_SYNC, path)) {
        sim_disk_fail_sync(sim->disk, ino, p->mark, &sim->rng);
        rc = -EIO;
    } else if (p->mark <= ino->failed) { /* Linux tells everybody who has the file open */
        rc = -EIO;
    } else if ((sim->lies & SIM_LIE_COMMIT) == 0) {
        sim_disk_harden_range(sim->disk, ino, p->mark, p->op->off, p->total);
    }
    sim_moment(sim, SIM_AFTER_SYNC, "committed", path);
    return rc;
}

/* ---- file objects ---------------------------------------------------------------------------- */

struct io_file *sim_file_open(struct io *io, const char *path, unsigned flags)
{
    struct sim_file *f = sim_alloc(sizeof(*f));
    f->file.io = io;
    f->path = sim_strdup(path);
    f->flags = flags;
    list_push_back(&sim_loop_of(io)->files, &f->link);
    return &f->file;
}

void sim_file_vanish(struct sim_file *f)
{
    if (f->ino != NULL)
        sim_disk_release(sim_loop_of(f->file.io)->sim->disk, f->ino);
    list_remove(&f->link);
    free(f->path);
    free(f);
}

void sim_file_close(struct io *io, struct io_file *file)
{
    (void) io;
    sim_file_vanish((struct sim_file *) file);
}

/* The file's inode, through the LRU. */
static int file_inode(struct sim *sim, struct sim_file *f, struct sim_inode **out)
{
    if (f->ino != NULL && f->file.in_flight <= 1 && sim_chance(sim, sim->options.evict_percent)) {
        sim_disk_release(sim->disk, f->ino);
        f->ino = NULL;
    }
    if (f->ino == NULL) {
        bool create = (f->flags & IO_FILE_CREATE) != 0 && !f->created;
        int rc = open_inode(sim, f->path, create, &f->ino);
        if (rc < 0) {
            f->ino = NULL;
            return rc;
        }
        f->created = true;
    }
    *out = f->ino;
    return 0;
}

/* ---- operations ------------------------------------------------------------------------------ */

static struct sim_file *file_of(const struct sim_pending *p)
{
    return (struct sim_file *) p->op->file;
}

static uint64_t hash_vectors(const struct io_op *op, uint64_t *total)
{
    const struct iovec *iov = op->ptr;
    uint64_t h = 0;
    *total = 0;
    for (unsigned i = 0; i < op->iovcnt; i++) {
        h = hash_bytes(iov[i].iov_base, iov[i].iov_len, h);
        *total += iov[i].iov_len;
    }
    return h;
}

/* n bytes from `skip` on, in one piece. */
static uint8_t *gather(const struct io_op *op, uint64_t skip, uint64_t n)
{
    const struct iovec *iov = op->ptr;
    uint8_t *out = sim_alloc(n + 1);
    uint64_t at = 0;
    for (unsigned i = 0; i < op->iovcnt && at < n; i++) {
        uint64_t len = iov[i].iov_len;
        if (skip >= len) {
            skip -= len;
            continue;
        }
        uint64_t part = len - skip < n - at ? len - skip : n - at;
        memcpy(out + at, (const uint8_t *) iov[i].iov_base + skip, part);
        at += part;
        skip = 0;
    }
    ASSERT(at == n);
    return out;
}

static int apply_part(struct sim *sim, struct sim_pending *p, struct sim_inode *ino, uint64_t n)
{
    uint8_t *bytes = gather(p->op, p->written, n);
    int rc = write_inode(sim, ino, file_of(p)->path, bytes, n, p->op->off + p->written);
    free(bytes);
    p->written += n;
    return rc;
}

static void run_sync(struct sim *sim, struct sim_event *ev)
{
    struct sim_pending *p = CONTAINER_OF(ev, struct sim_pending, ev);
    struct sim_file *f = file_of(p);
    struct sim_inode *ino;
    p->begun = true;
    int rc = file_inode(sim, f, &ino);
    if (rc == 0)
        rc = p->op->kind == IO_COMMIT ? commit_inode(sim, ino, f->path, p)
                                      : sync_inode(sim, ino, f->path, p->mark);
    sim_pending_done(p, rc < 0 ? rc : (int64_t) p->total);
}

static void run_write(struct sim *sim, struct sim_event *ev)
{
    struct sim_pending *p = CONTAINER_OF(ev, struct sim_pending, ev);
    struct sim_file *f = file_of(p);
    struct sim_inode *ino;
    uint64_t total;
    ASSERT(hash_vectors(p->op, &total) == p->hash && total == p->total);
    int rc = (f->flags & (IO_FILE_WRITE | IO_FILE_CREATE)) != 0 ? file_inode(sim, f, &ino) : -EBADF;
    uint64_t n = p->total - p->written;
    if (!p->begun && sim_chance(sim, sim->options.split_percent))
        n = prng_below(&sim->rng, n + 1);
    p->begun = true;
    if (rc == 0)
        rc = apply_part(sim, p, ino, n);
    if (rc < 0) {
        sim_pending_done(p, rc);
    } else if (p->written < p->total) {
        sim_event_start(sim, &p->ev, sim->now + sim_draw(sim, &sim->options.write), run_write);
    } else if (p->op->kind == IO_COMMIT) {
        p->mark = sim_disk_mark(sim->disk);
        sim_event_start(sim, &p->ev, sim->now + sim_draw(sim, &sim->options.sync), run_sync);
    } else {
        sim_pending_done(p, (int64_t) p->total);
    }
}

static void run_read(struct sim *sim, struct sim_event *ev)
{
    struct sim_pending *p = CONTAINER_OF(ev, struct sim_pending, ev);
    struct sim_inode *ino;
    int64_t rc = file_inode(sim, file_of(p), &ino);
    if (rc == 0 && sim_fails(sim, SIM_FAULT_READ, file_of(p)->path))
        rc = -EIO;
    if (rc == 0)
        rc = (int64_t) sim_disk_read(ino, p->op->ptr, p->op->len, p->op->off);
    sim_pending_done(p, rc);
}

void sim_file_submit(struct sim_loop *loop, struct io_op *op)
{
    struct sim *sim = loop->sim;
    struct sim_pending *p = sim_pending_new(loop, op);
    const char *path = file_of(p)->path;
    switch (op->kind) {
    case IO_SYNC:
        p->mark = sim_disk_mark(sim->disk);
        sim_event_start(sim, &p->ev, sim->now + sim_draw(sim, &sim->options.sync), run_sync);
        break;
    case IO_READ:
    case IO_READ_ONCE:
        p->total = op->len;
        sim_event_start(sim, &p->ev, sim->now + sim_draw(sim, &sim->options.read), run_read);
        break;
    default:
        p->hash = hash_vectors(op, &p->total);
        sim_event_start(sim, &p->ev, sim->now + sim_draw(sim, &sim->options.write), run_write);
        break;
    }
    sim_trace(sim, "%u submit %d %s %llu+%llu", loop->id, op->kind, path,
              (unsigned long long) op->off, (unsigned long long) p->total);
}

int64_t sim_file_peek(struct sim *sim, struct io_file *file, void *into, size_t n, uint64_t offset)
{
    struct sim_file *f = (struct sim_file *) file;
    struct sim_inode *ino;
    int rc = file_inode(sim, f, &ino);
    if (rc == 0 && sim_fails(sim, SIM_FAULT_READ, f->path))
        rc = -EIO;
    return rc < 0 ? rc : (int64_t) sim_disk_read(ino, into, n, offset);
}

void sim_pending_cut(struct sim_pending *p)
{
    struct sim *sim = p->loop->sim;
    struct sim_inode *ino;
    if ((p->op->kind != IO_WRITE && p->op->kind != IO_COMMIT) || p->written == p->total ||
        sim_chance(sim, 50) || file_inode(sim, file_of(p), &ino) < 0)
        return;
    apply_part(sim, p, ino, 1 + prng_below(&sim->rng, p->total - p->written));
}

/* ---- blocking calls -------------------------------------------------------------------------- */

static struct sim *sim_of(struct io_fs *fs)
{
    return ((struct sim_fs_door *) fs)->sim;
}

/* A blocking call begins: it takes time. */
static struct sim *enter(struct io_fs *fs)
{
    struct sim *sim = sim_of(fs);
    sim->now += CALL_NS;
    return sim;
}

static struct sim_fd *fd_get(struct sim *sim, fs_fd fd)
{
    ASSERT(fd >= 3 && (size_t) fd - 3 < sim->nfds && sim->fds[fd - 3].ino != NULL);
    return &sim->fds[fd - 3];
}

static fs_fd fd_new(struct sim *sim, const char *path, unsigned flags, struct sim_inode *ino)
{
    size_t i = 0;
    while (i < sim->nfds && sim->fds[i].ino != NULL)
        i++;
    if (i == sim->nfds)
        sim->fds = sim_grow(sim->fds, ++sim->nfds * sizeof(*sim->fds));
    sim->fds[i] = (struct sim_fd){ino, sim_strdup(path), flags, false};
    return (fs_fd) i + 3;
}

static void fd_close(struct sim *sim, struct sim_fd *f)
{
    if (f->locked)
        sim_disk_unlock(f->ino);
    sim_disk_release(sim->disk, f->ino);
    free(f->path);
    f->ino = NULL;
}

void sim_fds_free(struct sim *sim)
{
    for (size_t i = 0; i < sim->nfds; i++) {
        if (sim->fds[i].ino != NULL)
            fd_close(sim, &sim->fds[i]);
    }
    free(sim->fds);
    sim->fds = NULL;
    sim->nfds = 0;
}

static fs_fd do_open(struct io_fs *fs, const char *path, unsigned flags)
{
    struct sim *sim = enter(fs);
    struct sim_inode *ino;
    int rc = open_inode(sim, path, (flags & IO_FILE_CREATE) != 0, &ino);
    sim_trace(sim, "fs open %s %u -> %d", path, flags, rc);
    return rc < 0 ? rc : fd_new(sim, path, flags, ino);
}

static void do_close(struct io_fs *fs, fs_fd fd)
{
    struct sim *sim = enter(fs);
    fd_close(sim, fd_get(sim, fd));
}

static int64_t do_read(struct io_fs *fs, fs_fd fd, void *into, size_t n, uint64_t offset)
{
    struct sim *sim = enter(fs);
    struct sim_fd *f = fd_get(sim, fd);
    if (sim_fails(sim, SIM_FAULT_READ, f->path))
        return -EIO;
    return (int64_t) sim_disk_read(f->ino, into, n, offset);
}

static int do_write(struct io_fs *fs, fs_fd fd, const void *bytes, size_t n, uint64_t offset)
{
    struct sim *sim = enter(fs);
    struct sim_fd *f = fd_get(sim, fd);
    int rc = -EBADF;
    if ((f->flags & (IO_FILE_WRITE | IO_FILE_CREATE)) != 0)
        rc = write_inode(sim, f->ino, f->path, bytes, n, offset);
    sim_trace(sim, "fs write %s %llu+%zu -> %d", f->path, (unsigned long long) offset, n, rc);
    return rc;
}

static int do_sync(struct io_fs *fs, fs_fd fd)
{
    struct sim *sim = enter(fs);
    struct sim_fd *f = fd_get(sim, fd);
    sim->now += sim_draw(sim, &sim->options.sync);
    return sync_inode(sim, f->ino, f->path, sim_disk_mark(sim->disk));
}

static int64_t do_size(struct io_fs *fs, fs_fd fd)
{
    struct sim *sim = enter(fs);
    return (int64_t) sim_disk_size(fd_get(sim, fd)->ino);
}

static int do_truncate(struct io_fs *fs, fs_fd fd, uint64_t size)
{
    struct sim *sim = enter(fs);
    struct sim_fd *f = fd_get(sim, fd);
    int rc = sim_fails(sim, SIM_FAULT_WRITE, f->path) ? -EIO
                                                      : sim_disk_truncate(sim->disk, f->ino, size);
    sim_trace(sim, "fs truncate %s %llu -> %d", f->path, (unsigned long long) size, rc);
    sim_moment(sim, SIM_AFTER_WRITE, "truncate", f->path);
    return rc;
}

static int do_allocate(struct io_fs *fs, fs_fd fd, uint64_t size)
{
    struct sim *sim = enter(fs);
    struct sim_fd *f = fd_get(sim, fd);
    int rc = -ENOSPC;
    if (!sim_fails(sim, SIM_FAULT_ALLOCATE, f->path))
        rc = sim_disk_allocate(sim->disk, f->ino, size);
    sim_trace(sim, "fs allocate %s %llu -> %d", f->path, (unsigned long long) size, rc);
    sim_moment(sim, SIM_AFTER_WRITE, "allocate", f->path);
    return rc;
}

/* Ends a call that changed names. */
static int named(struct sim *sim, const char *what, const char *path, const char *path2, int rc)
{
    sim_trace(sim, "fs %s %s %s -> %d", what, path, path2, rc);
    names_changed(sim);
    sim_moment(sim, SIM_AFTER_NAME, what, path);
    return rc;
}

static int do_rename(struct io_fs *fs, const char *from, const char *to)
{
    struct sim *sim = enter(fs);
    bool fails = sim_fails(sim, SIM_FAULT_NAMES, to);
    return named(sim, "rename", from, to, fails ? -EIO : sim_disk_rename(sim->disk, from, to));
}

static int do_unlink(struct io_fs *fs, const char *path)
{
    struct sim *sim = enter(fs);
    bool fails = sim_fails(sim, SIM_FAULT_NAMES, path);
    return named(sim, "unlink", path, "", fails ? -EIO : sim_disk_unlink(sim->disk, path));
}

static int do_mkdir(struct io_fs *fs, const char *path)
{
    struct sim *sim = enter(fs);
    bool fails = sim_fails(sim, SIM_FAULT_NAMES, path);
    return named(sim, "mkdir", path, "", fails ? -EIO : sim_disk_mkdir(sim->disk, path));
}

static int do_rmdir(struct io_fs *fs, const char *path)
{
    struct sim *sim = enter(fs);
    bool fails = sim_fails(sim, SIM_FAULT_NAMES, path);
    return named(sim, "rmdir", path, "", fails ? -EIO : sim_disk_rmdir(sim->disk, path));
}

static int do_sync_dir(struct io_fs *fs, const char *path)
{
    struct sim *sim = enter(fs);
    sim->now += sim_draw(sim, &sim->options.sync);
    int rc = 0;
    sim_moment(sim, SIM_BEFORE_SYNC, "directory", path);
    if (sim_fails(sim, SIM_FAULT_NAMES, path))
        rc = -EIO;
    else if ((sim->lies & SIM_LIE_DIR) == 0)
        rc = sim_disk_sync_dir(sim->disk, path);
    sim_moment(sim, SIM_AFTER_SYNC, "directory synced", path);
    return rc;
}

static int do_list(struct io_fs *fs, const char *path, void (*each)(void *ctx, const char *name),
                   void *ctx)
{
    return sim_disk_list(enter(fs)->disk, path, each, ctx);
}

static int do_lock(struct io_fs *fs, fs_fd fd, uint64_t patience_ns)
{
    struct sim_fd *f = fd_get(enter(fs), fd);

    (void) patience_ns;
    if (!sim_disk_lock(f->ino))
        return -EWOULDBLOCK;
    f->locked = true;
    return 0;
}

static int64_t do_free_bytes(struct io_fs *fs, const char *path)
{
    struct sim *sim = enter(fs);
    struct sim_inode *ino;
    int rc = sim_disk_lookup(sim->disk, path, &ino);
    if (rc == 0)
        sim_disk_release(sim->disk, ino);
    else if (rc != -EISDIR)
        return rc;
    return (int64_t) sim_disk_free_bytes(sim->disk);
}

const struct io_fs_ops sim_fs_ops = {
    .open = do_open,
    .close = do_close,
    .read = do_read,
    .write = do_write,
    .sync = do_sync,
    .size = do_size,
    .truncate = do_truncate,
    .allocate = do_allocate,
    .rename = do_rename,
    .unlink = do_unlink,
    .mkdir = do_mkdir,
    .rmdir = do_rmdir,
    .sync_dir = do_sync_dir,
    .list = do_list,
    .lock = do_lock,
    .free_bytes = do_free_bytes,
};
