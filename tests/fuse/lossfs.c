/*
 * lossfs.c - FUSE's calls on a simulated disk. See lossfs.h.
 *
 * libfuse's loop runs in a thread of its own and takes one request after the other, so that the
 * disk has one order of calls. The kernel does not hold back writes (no writeback cache): what a
 * program wrote is here when its call returns, and only a sync, or a write through a descriptor
 * that was opened with O_DSYNC, makes it durable.
 *
 * States: mounted; cut (power has failed: every call ends with EIO, the disk does not change any
 * more); mounted again, on what sim_disk_crash made of the disk. Between the last two the mount is
 * taken away, which also drops the kernel's page cache: what was written and is lost can not be
 * read from there.
 *
 * An open file is its inode in fi->fh, an open directory a copy of its path. `lock` guards the disk
 * and everything below it in the struct.
 */
#define FUSE_USE_VERSION 31
#include "tests/fuse/lossfs.h"

#include "lib/base/assert.h"
#include "tests/sim/sim_disk_int.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define UNMOUNT_TRIES 1000 /* of 10 ms */

struct fault {
    char part[96];
    int error;
    unsigned count, calls;
};

struct lossfs {
    char at[256];
    struct fuse *fuse;
    pthread_t thread;
    pthread_mutex_t lock;
    struct sim_disk *disk;
    struct prng rng;
    uint64_t cut_after; /* 0 = never */
    bool cut;
    struct fault faults[LOSSFS_CALLS];
};

/* ---- every call ------------------------------------------------------------------------------ */

static struct lossfs *enter(void)
{
    struct lossfs *fs = fuse_get_context()->private_data;

    pthread_mutex_lock(&fs->lock);
    return fs;
}

static int leave(struct lossfs *fs, int rc)
{
    pthread_mutex_unlock(&fs->lock);
    return rc;
}

/* 0, or the error with which a call of this kind ends. */
static int fault(struct lossfs *fs, enum lossfs_call call, const char *path)
{
    struct fault *f = &fs->faults[call];

    if (f->part[0] == '\0' || path == NULL || strstr(path, f->part) == NULL)
        return 0;
    f->calls++;
    if (f->count == 0)
        return 0;
    f->count--;
    return -f->error;
}

struct search {
    const struct sim_inode *ino;
    char path[256];
};

static void compare(void *ctx, const char *path, struct sim_inode *ino)
{
    struct search *s = ctx;

    if (ino == s->ino)
        snprintf(s->path, sizeof(s->path), "%s", path);
}

/* The same for an open file, by the name that it has now. */
static int file_fault(struct lossfs *fs, enum lossfs_call call, const struct sim_inode *ino)
{
    struct search s = {.ino = ino};

    if (fs->faults[call].part[0] == '\0')
        return 0;
    sim_disk_walk(fs->disk, compare, &s);
    return fault(fs, call, s.path);
}

/* Before a call that changes something. Is this the one in whose midst power fails? */
static bool power_fails(struct lossfs *fs)
{
    if (fs->cut_after == 0 || --fs->cut_after > 0)
        return false;
    fs->cut = true;
    return true;
}

/* ---- names ----------------------------------------------------------------------------------- */

static int do_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
    struct lossfs *fs = enter();
    struct sim_inode *ino = NULL;
    int rc = fs->cut ? -EIO : 0;

    memset(st, 0, sizeof(*st));
    st->st_uid = getuid();
    st->st_gid = getgid();
    st->st_nlink = 1;
    if (rc == 0 && fi != NULL && path == NULL)
        ino = (struct sim_inode *) (uintptr_t) fi->fh;
    else if (rc == 0)
        rc = sim_disk_lookup(fs->disk, path, &ino);
    st->st_mode = rc == -EISDIR ? S_IFDIR | 0700 : S_IFREG | 0600;
    if (rc == 0) {
        st->st_size = (off_t) sim_disk_size(ino);
        st->st_blocks = (st->st_size + 511) / 512;
        if (fi == NULL || path != NULL)
            sim_disk_release(fs->disk, ino);
    }
    return leave(fs, rc == -EISDIR ? 0 : rc);
}

/* Around a change of names. */
static struct lossfs *enter_names(const char *path, int *rc, bool *fails)
{
    struct lossfs *fs = enter();

    *rc = fs->cut ? -EIO : fault(fs, LOSSFS_NAMES, path);
    *fails = *rc == 0 && power_fails(fs);
    return fs;
}

static int leave_names(struct lossfs *fs, int rc, bool fails)
{
    return leave(fs, fails ? -EIO : rc);
}

static int do_mkdir(const char *path, mode_t mode)
{
    bool fails;
    int rc;
    struct lossfs *fs = enter_names(path, &rc, &fails);

    (void) mode;
    return leave_names(fs, rc == 0 ? sim_disk_mkdir(fs->disk, path) : rc, fails);
}

static int do_rmdir(const char *path)
{
    bool fails;
    int rc;
    struct lossfs *fs = enter_names(path, &rc, &fails);

    return leave_names(fs, rc == 0 ? sim_disk_rmdir(fs->disk, path) : rc, fails);
}

static int do_unlink(const char *path)
{
    bool fails;
    int rc;
    struct lossfs *fs = enter_names(path, &rc, &fails);

    return leave_names(fs, rc == 0 ? sim_disk_unlink(fs->disk, path) : rc, fails);
}

static int do_rename(const char *from, const char *to, unsigned flags)
{
    bool fails;
    int rc;
    struct lossfs *fs = enter_names(to, &rc, &fails);

    if (rc == 0)
        rc = flags != 0 ? -EINVAL : sim_disk_rename(fs->disk, from, to);
    return leave_names(fs, rc, fails);
}

static int do_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    struct sim_inode *ino = NULL;
    bool fails;
    int rc;
    struct lossfs *fs = enter_names(path, &rc, &fails);

    (void) mode;
    if (rc == 0)
        rc = sim_disk_create(fs->disk, path, &ino);
    if (rc == 0 && fails)
        sim_disk_release(fs->disk, ino);
    fi->fh = (uint64_t) (uintptr_t) ino;
    return leave_names(fs, rc, fails);
}

static int do_open(const char *path, struct fuse_file_info *fi)
{
    struct lossfs *fs = enter();
    struct sim_inode *ino = NULL;
    int rc = fs->cut ? -EIO : sim_disk_lookup(fs->disk, path, &ino);

    fi->fh = (uint64_t) (uintptr_t) ino;
    return leave(fs, rc);
}

static int do_release(const char *path, struct fuse_file_info *fi)
{
    struct lossfs *fs = enter();

    (void) path;
    sim_disk_release(fs->disk, (struct sim_inode *) (uintptr_t) fi->fh);
    return leave(fs, 0);
}

static int do_opendir(const char *path, struct fuse_file_info *fi)
{
    fi->fh = (uint64_t) (uintptr_t) strdup(path);
    return fi->fh != 0 ? 0 : -ENOMEM;
}

static int do_releasedir(const char *path, struct fuse_file_info *fi)
{
    (void) path;
    free((void *) (uintptr_t) fi->fh);
    return 0;
}

struct listing {
    fuse_fill_dir_t fill;
    void *into;
};

static void put_entry(void *ctx, const char *name)
{
    const struct listing *l = ctx;

    l->fill(l->into, name, NULL, 0, 0);
}

static int do_readdir(const char *path, void *into, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
    struct listing l = {fill, into};
    struct lossfs *fs = enter();

    (void) path;
    (void) offset;
    (void) flags;
    fill(into, ".", NULL, 0, 0);
    fill(into, "..", NULL, 0, 0);
    return leave(
        fs,
        fs->cut ? -EIO : sim_disk_list(fs->disk, (const char *) (uintptr_t) fi->fh, put_entry, &l));
}

static int do_fsyncdir(const char *path, int data, struct fuse_file_info *fi)
{
    const char *dir = (const char *) (uintptr_t) fi->fh;
    struct lossfs *fs = enter();
    int rc = fs->cut ? -EIO : fault(fs, LOSSFS_SYNC_DIR, dir);

    (void) path;
    (void) data;
    if (rc == 0 && power_fails(fs))
        rc = -EIO;
    return leave(fs, rc == 0 ? sim_disk_sync_dir(fs->disk, dir) : rc);
}

static int do_statfs(const char *path, struct statvfs *st)
{
    struct lossfs *fs = enter();

    (void) path;
    memset(st, 0, sizeof(*st));
    st->f_bsize = st->f_frsize = SIM_PAGE;
    st->f_namemax = 255;
    st->f_bfree = st->f_bavail = sim_disk_free_bytes(fs->disk) / SIM_PAGE;
    st->f_blocks = st->f_bfree + 1;
    return leave(fs, fs->cut ? -EIO : 0);
}

/* ---- contents -------------------------------------------------------------------------------- */

static struct sim_inode *inode(const struct fuse_file_info *fi)
{
    return (struct sim_inode *) (uintptr_t) fi->fh;
}

static int do_read(const char *path, char *into, size_t n, off_t offset, struct fuse_file_info *fi)
{
    struct lossfs *fs = enter();
    int rc = fs->cut ? -EIO : file_fault(fs, LOSSFS_READ, inode(fi));

    (void) path;
    if (rc == 0)
        rc = (int) sim_disk_read(inode(fi), into, n, (uint64_t) offset);
    return leave(fs, rc);
}

static int sync_file(struct lossfs *fs, struct sim_inode *ino)
{
    int rc = file_fault(fs, LOSSFS_SYNC, ino);

    if (rc != 0)
        sim_disk_fail_sync(fs->disk, ino, UINT64_MAX, &fs->rng);
    else if (power_fails(fs))
        rc = -EIO;
    else
        sim_disk_harden(fs->disk, ino, UINT64_MAX);
    return rc;
}

static int do_write(const char *path, const char *bytes, size_t n, off_t offset,
                    struct fuse_file_info *fi)
{
    struct lossfs *fs = enter();
    int rc = fs->cut ? -EIO : file_fault(fs, LOSSFS_WRITE, inode(fi));
    bool fails = rc == 0 && power_fails(fs);

    (void) path;
    if (rc == 0)
        rc = sim_disk_write(fs->disk, inode(fi), bytes, n, (uint64_t) offset);
    if (fails)
        rc = -EIO;
    if (rc == 0 && (fi->flags & O_DSYNC) != 0)
        rc = sync_file(fs, inode(fi));
    return leave(fs, rc == 0 ? (int) n : rc);
}

static int do_fsync(const char *path, int data, struct fuse_file_info *fi)
{
    struct lossfs *fs = enter();

    (void) path;
    (void) data;
    return leave(fs, fs->cut ? -EIO : sync_file(fs, inode(fi)));
}

static int do_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
    struct lossfs *fs = enter();
    struct sim_inode *ino = fi != NULL ? inode(fi) : NULL;
    int rc = fs->cut ? -EIO : 0;
    bool fails = rc == 0 && power_fails(fs);

    if (rc == 0 && fi == NULL)
        rc = sim_disk_lookup(fs->disk, path, &ino);
    if (rc == 0) {
        rc = sim_disk_truncate(fs->disk, ino, (uint64_t) size);
        if (fi == NULL)
            sim_disk_release(fs->disk, ino);
    }
    return leave(fs, fails ? -EIO : rc);
}

static int do_fallocate(const char *path, int mode, off_t offset, off_t n,
                        struct fuse_file_info *fi)
{
    struct lossfs *fs = enter();
    int rc = fs->cut ? -EIO : file_fault(fs, LOSSFS_ALLOCATE, inode(fi));
    bool fails = rc == 0 && power_fails(fs);

    (void) path;
    if (rc == 0 && mode != 0)
        rc = -EOPNOTSUPP;
    if (rc == 0)
        rc = sim_disk_allocate(fs->disk, inode(fi), (uint64_t) (offset + n));
    return leave(fs, fails ? -EIO : rc);
}

/* ---- mounting -------------------------------------------------------------------------------- */

static void *do_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
    (void) conn;
    config->hard_remove = 1; /* an open file needs no name */
    config->nullpath_ok = 1;
    return fuse_get_context()->private_data;
}

static const struct fuse_operations operations = {
    .init = do_init,
    .getattr = do_getattr,
    .mkdir = do_mkdir,
    .rmdir = do_rmdir,
    .unlink = do_unlink,
    .rename = do_rename,
    .create = do_create,
    .open = do_open,
    .release = do_release,
    .opendir = do_opendir,
    .releasedir = do_releasedir,
    .readdir = do_readdir,
    .fsyncdir = do_fsyncdir,
    .statfs = do_statfs,
    .read = do_read,
    .write = do_write,
    .fsync = do_fsync,
    .truncate = do_truncate,
    .fallocate = do_fallocate,
};

static void *serve(void *fs)
{
    fuse_loop(((struct lossfs *) fs)->fuse);
    return NULL;
}

static bool mount_it(struct lossfs *fs)
{
    char name[] = "lossfs";
    char *argv[] = {name, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);

    fs->fuse = fuse_new(&args, &operations, sizeof(operations), fs);
    fuse_opt_free_args(&args);
    if (fs->fuse == NULL)
        return false;
    if (fuse_mount(fs->fuse, fs->at) != 0) {
        fuse_destroy(fs->fuse);
        return false;
    }
    ASSERT(pthread_create(&fs->thread, NULL, serve, fs) == 0);
    return true;
}

/* The kernel may take the mount away before it has told of every file that was closed. */
static void close_files(struct sim_disk *d)
{
    LIST_FOREACH_SAFE(it, next, &d->inodes)
    {
        struct sim_inode *ino = LIST_ENTRY(it, struct sim_inode, link);
        for (unsigned opens = ino->opens; opens > 0; opens--)
            sim_disk_release(d, ino);
    }
}

/* What a killed process had in flight may hold the mount for a moment. */
static void unmount_it(struct lossfs *fs)
{
    int tries = 0;

    while (umount2(fs->at, 0) != 0) {
        ASSERT(errno == EBUSY && tries++ < UNMOUNT_TRIES);
        poll(NULL, 0, 10);
    }
    pthread_join(fs->thread, NULL);
    fuse_destroy(fs->fuse);
    close_files(fs->disk);
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (write(fd, text, strlen(text)) < 0)
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
    close(fd);
}

bool lossfs_namespace(void)
{
    unsigned uid = (unsigned) getuid(), gid = (unsigned) getgid();
    char map[64];

    if (unshare(CLONE_NEWNS) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
            return false;
        put("/proc/self/setgroups", "deny");
        snprintf(map, sizeof(map), "0 %u 1", uid);
        put("/proc/self/uid_map", map);
        snprintf(map, sizeof(map), "0 %u 1", gid);
        put("/proc/self/gid_map", map);
    }
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

struct lossfs *lossfs_open(const char *at, uint64_t capacity, uint64_t seed)
{
    struct lossfs *fs;
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return NULL;
    close(fd);
    fs = calloc(1, sizeof(*fs));
    ASSERT(fs != NULL);
    snprintf(fs->at, sizeof(fs->at), "%s", at);
    pthread_mutex_init(&fs->lock, NULL);
    prng_init(&fs->rng, seed);
    fs->disk = sim_disk_open(capacity);
    if (mount_it(fs))
        return fs;
    sim_disk_close(fs->disk);
    free(fs);
    return NULL;
}

void lossfs_close(struct lossfs *fs)
{
    unmount_it(fs);
    sim_disk_check(fs->disk);
    sim_disk_close(fs->disk);
    pthread_mutex_destroy(&fs->lock);
    free(fs);
}

/* ---- power and faults ------------------------------------------------------------------------ */

void lossfs_cut_after(struct lossfs *fs, uint64_t n)
{
    pthread_mutex_lock(&fs->lock);
    fs->cut_after = n;
    pthread_mutex_unlock(&fs->lock);
}

bool lossfs_is_cut(struct lossfs *fs)
{
    pthread_mutex_lock(&fs->lock);
    bool cut = fs->cut;
    pthread_mutex_unlock(&fs->lock);
    return cut;
}

void lossfs_power(struct lossfs *fs, enum sim_crash mode)
{
    unmount_it(fs);
    struct sim_disk *left = sim_disk_crash(fs->disk, mode, &fs->rng);
    sim_disk_close(fs->disk);
    fs->disk = left;
    fs->cut = false;
    fs->cut_after = 0;
    memset(fs->faults, 0, sizeof(fs->faults));
    ASSERT(mount_it(fs));
}

void lossfs_fail(struct lossfs *fs, enum lossfs_call call, const char *part, int error,
                 unsigned count)
{
    struct fault *f = &fs->faults[call];

    pthread_mutex_lock(&fs->lock);
    *f = (struct fault){.error = error, .count = count};
    snprintf(f->part, sizeof(f->part), "%s", part);
    pthread_mutex_unlock(&fs->lock);
}

unsigned lossfs_calls(struct lossfs *fs, enum lossfs_call call)
{
    pthread_mutex_lock(&fs->lock);
    unsigned calls = fs->faults[call].calls;
    pthread_mutex_unlock(&fs->lock);
    return calls;
}

void lossfs_set_capacity(struct lossfs *fs, uint64_t capacity)
{
    pthread_mutex_lock(&fs->lock);
    sim_disk_set_capacity(fs->disk, capacity);
    pthread_mutex_unlock(&fs->lock);
}
