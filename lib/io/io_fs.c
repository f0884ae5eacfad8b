/*
 * io_fs.c - the blocking file calls on the operating system's file system.
 *
 * Every function returns 0 or a count, or a negative errno; interrupted and short transfers are
 * continued here, so that no caller loops. The door has no state: one constant object serves every
 * loop and every thread.
 */
#include "lib/base/mem.h"
#include "lib/io/io_host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static int result(int rc)
{
    return rc < 0 ? -errno : 0;
}

int posix_open_file(const char *path, unsigned flags)
{
    int how = O_CLOEXEC;
    int fd;

    if (flags & IO_FILE_CREATE)
        how |= O_RDWR | O_CREAT | O_EXCL;
    else
        how |= flags & IO_FILE_WRITE ? O_RDWR : O_RDONLY;
    do
        fd = open(path, how, 0600);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static fs_fd posix_open(struct io_fs *fs, const char *path, unsigned flags)
{
    (void) fs;
    return posix_open_file(path, flags);
}

static void posix_close(struct io_fs *fs, fs_fd fd)
{
    (void) fs;
    flock(fd, LOCK_UN); /* a ring may hold the open file (io_hold) */
    close(fd);
}

int64_t posix_read_at(int fd, void *into, size_t n, uint64_t offset)
{
    size_t got = 0;

    while (got < n) {
        ssize_t r = pread(fd, (char *) into + got, n - got, (off_t) (offset + got));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0)
            break;
        got += (size_t) r;
    }
    return (int64_t) got;
}

static int64_t posix_read(struct io_fs *fs, fs_fd fd, void *into, size_t n, uint64_t offset)
{
    (void) fs;
    return posix_read_at(fd, into, n, offset);
}

static int posix_write(struct io_fs *fs, fs_fd fd, const void *bytes, size_t n, uint64_t offset)
{
    size_t put = 0;

    (void) fs;
    while (put < n) {
        ssize_t r = pwrite(fd, (const char *) bytes + put, n - put, (off_t) (offset + put));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        put += (size_t) r;
    }
    return 0;
}

static int posix_sync(struct io_fs *fs, fs_fd fd)
{
    (void) fs;
    return result(fdatasync(fd));
}

static int64_t posix_size(struct io_fs *fs, fs_fd fd)
{
    struct stat st;

    (void) fs;
    return fstat(fd, &st) < 0 ? -errno : (int64_t) st.st_size;
}

static int posix_truncate(struct io_fs *fs, fs_fd fd, uint64_t size)
{
    (void) fs;
    return result(ftruncate(fd, (off_t) size));
}

/* For file systems without fallocate: zeros from the end of the file on. */
static int allocate_by_writing(struct io_fs *fs, fs_fd fd, uint64_t size)
{
    static const char zeros[65536];
    int64_t have = posix_size(fs, fd);
    int rc = 0;

    if (have < 0)
        return (int) have;
    for (uint64_t at = (uint64_t) have; rc == 0 && at < size;) {
        size_t n = size - at < sizeof(zeros) ? (size_t) (size - at) : sizeof(zeros);
        rc = posix_write(fs, fd, zeros, n, at);
        at += n;
    }
    return rc;
}

static void posix_forget(struct io_fs *fs, fs_fd fd)
{
    (void) fs;
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static int posix_allocate(struct io_fs *fs, fs_fd fd, uint64_t size)
{
    int rc;

    do
        rc = fallocate(fd, 0, 0, (off_t) size);
    while (rc < 0 && errno == EINTR);
    if (rc < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
        return allocate_by_writing(fs, fd, size);
    return result(rc);
}

static int posix_rename(struct io_fs *fs, const char *from, const char *to)
{
    (void) fs;
    return result(rename(from, to));
}

static int posix_unlink(struct io_fs *fs, const char *path)
{
    (void) fs;
    return result(unlink(path));
}

static int posix_mkdir(struct io_fs *fs, const char *path)
{
    (void) fs;
    return result(mkdir(path, 0700));
}

static int posix_rmdir(struct io_fs *fs, const char *path)
{
    (void) fs;
    return result(rmdir(path));
}

static int posix_sync_dir(struct io_fs *fs, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    (void) fs;
    if (fd < 0)
        return -errno;
    rc = result(fsync(fd));
    close(fd);
    return rc;
}

/* File systems whose syncfs waits for everything, the disk's cache included. Others may take it as
 * a hint: on FUSE it never comes to who holds the data. */
static bool syncs_all(int fd)
{
    static const uint32_t known[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC};
    struct utsname system;
    struct statfs st;

    if (fstatfs(fd, &st) < 0 || uname(&system) < 0)
        return false;
    /* Before 5.8 it did not say when it had failed. */
    char *minor;
    unsigned long major = strtoul(system.release, &minor, 10);
    if (major < 5 || (major == 5 && (*minor != '.' || strtoul(minor + 1, NULL, 10) < 8)))
        return false;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if ((uint32_t) st.f_type == known[i])
            return true;
    return false;
}

static int posix_sync_all(struct io_fs *fs, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    (void) fs;
    if (fd < 0)
        return -errno;
    rc = syncs_all(fd) ? result(syncfs(fd)) : -EOPNOTSUPP;
    close(fd);
    return rc;
}

/* Waits for nothing and asks the disk for nothing; says what fdatasync would say of earlier writes.
 */
static int posix_sync_check(struct io_fs *fs, fs_fd fd)
{
    (void) fs;
    return result(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE));
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}

struct names {
    char **at;
    size_t count;
    size_t room;
};

static void names_add(struct names *names, const char *name)
{
    if (names->count == names->room) {
        names->room = names->room * 2 + 16;
        names->at = mem_realloc(names->at, names->room * sizeof(*names->at));
    }
    names->at[names->count++] = mem_strdup(name);
}

/* readdir says the end and an error alike with NULL; errno tells them apart. */
static int read_names(const char *path, struct names *names)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int rc;

    if (dir == NULL)
        return -errno;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            names_add(names, entry->d_name);
    }
    rc = -errno;
    closedir(dir);
    return rc;
}

static int posix_list(struct io_fs *fs, const char *path, void (*each)(void *ctx, const char *name),
                      void *ctx)
{
    struct names names = {0};
    int rc = read_names(path, &names);

    (void) fs;
    if (names.count > 0)
        qsort(names.at, names.count, sizeof(*names.at), by_bytes);
    for (size_t i = 0; i < names.count; i++) {
        if (rc == 0)
            each(ctx, names.at[i]);
        mem_free(names.at[i]);
    }
    mem_free(names.at);
    return rc;
}

#define LOCK_TRY_NS 2000000u

static int posix_lock(struct io_fs *fs, fs_fd fd, uint64_t patience_ns)
{
    static const struct timespec moment = {.tv_nsec = LOCK_TRY_NS};
    int rc;

    (void) fs;
    while ((rc = result(flock(fd, LOCK_EX | LOCK_NB))) == -EWOULDBLOCK &&
           patience_ns > LOCK_TRY_NS) {
        nanosleep(&moment, NULL);
        patience_ns -= LOCK_TRY_NS;
    }
    return rc;
}

static int64_t posix_free_bytes(struct io_fs *fs, const char *path)
{
    struct statvfs st;

    (void) fs;
    return statvfs(path, &st) < 0 ? -errno : (int64_t) st.f_bavail * (int64_t) st.f_frsize;
}

static const struct io_fs_ops posix_ops = {
    .open = posix_open,
    .close = posix_close,
    .read = posix_read,
    .write = posix_write,
    .sync = posix_sync,
    .size = posix_size,
    .truncate = posix_truncate,
    .allocate = posix_allocate,
    .forget = posix_forget,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .mkdir = posix_mkdir,
    .rmdir = posix_rmdir,
    .sync_dir = posix_sync_dir,
    .sync_all = posix_sync_all,
    .sync_check = posix_sync_check,
    .list = posix_list,
    .lock = posix_lock,
    .free_bytes = posix_free_bytes,
};

void posix_fs_init(struct io_fs *fs)
{
    fs->ops = &posix_ops;
}
