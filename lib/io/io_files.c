/*
 * io_files.c - descriptors on demand.
 *
 * A file is closed, busy (a thread opens or evicts it outside the mutex; others wait), borrowed
 * (pins > 0) or idle (open, on the idle list, oldest first). Only idle files are evicted.
 *
 * A second descriptor of a file, opened past the page cache, belongs to direct commits and reads
 * (io_direct.c). It is counted and evicted with the first; what is written through it is durable
 * when the write ends, so it never makes the file dirty.
 *
 * A file that was written and not synced since is dirty. The kernel reports a failed write-back on
 * descriptors that were open when it happened; closing the last one could lose the report. So
 * evicting a dirty file syncs it first.
 *
 * A sync that failed stays with the object: every later write or sync gets its error, and those
 * that are in flight beside it. Because the kernel tells a descriptor once: a sync that runs at the
 * same time, or comes next, returns success, though pages of its own may have been dropped. (What
 * is left is the microsecond between the kernel's telling and files_fail.) Reads go on.
 */
#include "lib/io/io_files.h"

#include "lib/base/mem.h"
#include "lib/io/io_host.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

struct host_file {
    struct io_file file;
    struct list idle;
    int fd;     /* -1 = closed */
    int direct; /* -1 = closed */
    int failed; /* 0, or the negative errno of the first sync that failed */
    unsigned flags;
    unsigned pins;
    unsigned direct_pins;
    bool dirty;
    bool alone; /* nobody else had it since it was borrowed */
    bool busy;
    char path[];
};

struct io_files {
    pthread_mutex_t lock;
    pthread_cond_t unbusy;
    struct list idle;
    unsigned open;
    unsigned max;
};

struct io_files *files_open(unsigned max)
{
    struct io_files *files = mem_zalloc(sizeof(*files));

    pthread_mutex_init(&files->lock, NULL);
    pthread_cond_init(&files->unbusy, NULL);
    list_init(&files->idle);
    files->max = max;
    return files;
}

void files_close(struct io_files *files)
{
    ASSERT(files->open == 0);
    pthread_cond_destroy(&files->unbusy);
    pthread_mutex_destroy(&files->lock);
    mem_free(files);
}

struct io_file *files_add(struct io_files *files, const char *path, unsigned flags)
{
    size_t size = strlen(path) + 1;
    struct host_file *f = mem_zalloc(sizeof(*f) + size);

    (void) files;
    memcpy(f->path, path, size);
    list_init(&f->idle);
    f->fd = f->direct = -1;
    f->flags = flags;
    return &f->file;
}

static void set_unbusy(struct io_files *files, struct host_file *f)
{
    f->busy = false;
    pthread_cond_broadcast(&files->unbusy);
}

static unsigned descriptors(const struct host_file *f)
{
    return (f->fd >= 0) + (f->direct >= 0);
}

static void close_descriptors(const struct host_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    if (f->direct >= 0)
        close(f->direct);
}

/* With the lock, which it gives up meanwhile. */
static void evict_oldest(struct io_files *files)
{
    struct list *node = list_pop_front(&files->idle);
    struct host_file *f;
    int rc = 0;

    if (node == NULL)
        return;
    f = LIST_ENTRY(node, struct host_file, idle);
    f->busy = true;
    files->open -= descriptors(f);
    pthread_mutex_unlock(&files->lock);
    if (f->dirty && fdatasync(f->fd) < 0)
        rc = -errno;
    close_descriptors(f);
    pthread_mutex_lock(&files->lock);
    f->fd = f->direct = -1;
    f->dirty = false;
    if (rc < 0 && f->failed == 0)
        f->failed = rc;
    set_unbusy(files, f);
}

/* With the lock, which it gives up meanwhile; the file is not idle and becomes busy. */
static void make_room(struct io_files *files, struct host_file *f)
{
    list_remove(&f->idle);
    f->busy = true;
    files->open++;
    while (files->open > files->max && !list_empty(&files->idle))
        evict_oldest(files);
    pthread_mutex_unlock(&files->lock);
}

/* After an open that failed: the process has no descriptor left, and one of ours is not in use.
 * With the lock, which it gives up meanwhile. */
static bool give_way(struct io_files *files, int rc)
{
    if ((rc != -EMFILE && rc != -ENFILE) || list_empty(&files->idle))
        return false;
    evict_oldest(files);
    return true;
}

/* With the lock, which it gives up meanwhile. The file exists once its creation succeeded. */
static int open_now(struct io_files *files, struct host_file *f)
{
    int fd;

    make_room(files, f);
    fd = posix_open_file(f->path, f->flags);
    pthread_mutex_lock(&files->lock);
    while (fd < 0 && give_way(files, fd)) {
        pthread_mutex_unlock(&files->lock);
        fd = posix_open_file(f->path, f->flags);
        pthread_mutex_lock(&files->lock);
    }
    if (fd >= 0) {
        f->fd = fd;
        if (f->flags & IO_FILE_CREATE)
            f->flags = IO_FILE_WRITE;
    } else {
        files->open--;
    }
    set_unbusy(files, f);
    return fd;
}

/* With the lock: a file that has descriptors and is not in use is idle. */
static void settle(struct io_files *files, struct host_file *f)
{
    if (f->pins == 0 && f->direct_pins == 0 && !f->busy && descriptors(f) > 0 &&
        !list_linked(&f->idle))
        list_push_back(&files->idle, &f->idle);
}

int files_borrow(struct io_files *files, struct io_file *file, bool writing)
{
    struct host_file *f = CONTAINER_OF(file, struct host_file, file);
    int rc;

    pthread_mutex_lock(&files->lock);
    while (f->busy)
        pthread_cond_wait(&files->unbusy, &files->lock);
    rc = writing ? f->failed : 0;
    if (rc == 0)
        rc = f->fd >= 0 ? f->fd : open_now(files, f);
    if (rc >= 0) {
        list_remove(&f->idle);
        f->alone = ++f->pins == 1;
        f->dirty = f->dirty || writing;
    } else {
        settle(files, f);
    }
    pthread_mutex_unlock(&files->lock);
    return rc;
}

static int open_direct(struct io_files *files, struct host_file *f)
{
    int how = (f->flags & IO_FILE_WRITE ? O_RDWR : O_RDONLY) | O_DIRECT | O_DSYNC | O_CLOEXEC;
    int fd, rc;

    make_room(files, f);
    fd = open(f->path, how);
    rc = fd < 0 ? -errno : fd;
    pthread_mutex_lock(&files->lock);
    while (rc < 0 && give_way(files, rc)) {
        pthread_mutex_unlock(&files->lock);
        fd = open(f->path, how);
        rc = fd < 0 ? -errno : fd;
        pthread_mutex_lock(&files->lock);
    }
    if (fd >= 0)
        f->direct = fd;
    else
        files->open--;
    set_unbusy(files, f);
    return rc;
}

int files_borrow_direct(struct io_files *files, struct io_file *file, bool may_block)
{
    struct host_file *f = CONTAINER_OF(file, struct host_file, file);
    int rc = -EAGAIN;

    pthread_mutex_lock(&files->lock);
    while (f->busy && may_block)
        pthread_cond_wait(&files->unbusy, &files->lock);
    if (!f->busy && f->failed == 0 && (f->flags & IO_FILE_CREATE) == 0) {
        if (f->direct >= 0)
            rc = f->direct;
        else if (may_block)
            rc = open_direct(files, f);
    }
    if (rc >= 0) {
        list_remove(&f->idle);
        f->direct_pins++;
    } else {
        settle(files, f);
    }
    pthread_mutex_unlock(&files->lock);
    return rc;
}

void files_return_direct(struct io_files *files, struct io_file *file)
{
    struct host_file *f = CONTAINER_OF(file, struct host_file, file);

    pthread_mutex_lock(&files->lock);
    ASSERT(f->direct_pins > 0);
    f->direct_pins--;
    settle(files, f);
    pthread_mutex_unlock(&files->lock);
}

void files_fail(struct io_files *files, struct io_file *file, int error)
{
    struct host_file *f = CONTAINER_OF(file, struct host_file, file);

    pthread_mutex_lock(&files->lock);
    if (f->failed == 0)
        f->failed = error;
    pthread_mutex_unlock(&files->lock);
}

int files_return(struct io_files *files, struct io_file *file, bool synced)
{
    struct host_file *f = CONTAINER_OF(file, struct host_file, file);

    pthread_mutex_lock(&files->lock);
    ASSERT(f->pins > 0);
    int failed = f->failed;
    if (--f->pins == 0) {
        /* With others writing meanwhile it can not be said what the sync covered. */
        if (synced && f->alone)
            f->dirty = false;
        settle(files, f);
        if (files->open > files->max)
            evict_oldest(files);
    }
    pthread_mutex_unlock(&files->lock);
    return failed;
}

void io_files_remove(struct io_files *files, struct io_file *file)
{
    struct host_file *f = CONTAINER_OF(file, struct host_file, file);

    pthread_mutex_lock(&files->lock);
    while (f->busy)
        pthread_cond_wait(&files->unbusy, &files->lock);
    ASSERT(f->pins == 0 && f->direct_pins == 0);
    list_remove(&f->idle);
    files->open -= descriptors(f);
    pthread_mutex_unlock(&files->lock);
    close_descriptors(f);
    mem_free(f);
}

unsigned files_count(struct io_files *files)
{
    unsigned n;

    pthread_mutex_lock(&files->lock);
    n = files->open;
    pthread_mutex_unlock(&files->lock);
    return n;
}
