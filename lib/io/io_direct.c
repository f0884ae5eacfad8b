/*
 * io_direct.c - see io_direct.h.
 *
 * What lies on pages already, whole ones, is written from there: a pool thread does that with one
 * call for all vectors. Buffers for the aligned copy are kept, as many as were used at once. A copy
 * with stores past the caches made no difference. A file system without O_DIRECT says so at the
 * first try; then nothing is tried again.
 */
#include "lib/io/io_direct.h"

#include "lib/base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096u
/* Buffers in huge pages where there are: the kernel pins one page for a commit, not hundreds.
 * js pub 128 B, four pairs in turn under load: 273/302/290/313 ns of server CPU without,
 * 293/283/287/263 with. */
#define HUGE (2u << 20)
/* Below, finding the page in the cache costs less than the copy and the open. */
#define DIRECT_MIN (128u << 10)
/* A bigger commit than any buffer goes through the page cache. */
#define DIRECT_MAX (8u << 20)
#define BUFFERS_MAX 4u
/* A shorter read is mostly one message, and its neighbours are asked for next. */
#define DIRECT_READ_MIN (64u << 10)
/* Linux 6.5; the number is the same on all machines. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

struct io_direct {
    pthread_mutex_t lock;
    uint8_t *free[BUFFERS_MAX];
    unsigned nfree;
    atomic_bool off;
};

struct io_direct *direct_open(void)
{
    struct io_direct *d = mem_zalloc(sizeof(*d));

    pthread_mutex_init(&d->lock, NULL);
    return d;
}

void direct_close(struct io_direct *d)
{
    while (d->nfree > 0)
        mem_free(d->free[--d->nfree]);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}

/* Is it worth it, and possible as far as one can say: page boundaries, size? */
static size_t direct_bytes(const struct io_direct *d, const struct iovec *iov, unsigned n,
                           uint64_t offset)
{
    size_t bytes = 0;

    if (offset % PAGE != 0 || atomic_load_explicit(&d->off, memory_order_relaxed))
        return 0;
    for (unsigned i = 0; i < n; i++)
        bytes += iov[i].iov_len;
    return bytes % PAGE == 0 && bytes >= DIRECT_MIN && bytes <= DIRECT_MAX ? bytes : 0;
}

/* Can it be written from where it lies? */
static bool on_pages(const struct iovec *iov, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (((uintptr_t) iov[i].iov_base | iov[i].iov_len) % PAGE != 0)
            return false;
    return true;
}

static uint8_t *take_buffer(struct io_direct *d)
{
    uint8_t *buffer = NULL;

    pthread_mutex_lock(&d->lock);
    if (d->nfree > 0)
        buffer = d->free[--d->nfree];
    pthread_mutex_unlock(&d->lock);
    if (buffer != NULL)
        return buffer;
    buffer = mem_try_alloc_aligned(HUGE, DIRECT_MAX);
    if (buffer != NULL)
        madvise(buffer, DIRECT_MAX, MADV_HUGEPAGE);
    return buffer;
}

static void give_buffer(struct io_direct *d, uint8_t *buffer)
{
    pthread_mutex_lock(&d->lock);
    if (d->nfree < BUFFERS_MAX) {
        d->free[d->nfree++] = buffer;
        buffer = NULL;
    }
    pthread_mutex_unlock(&d->lock);
    mem_free(buffer);
}

static void gather(uint8_t *to, const struct iovec *iov, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        memcpy(to, iov[i].iov_base, iov[i].iov_len);
        to += iov[i].iov_len;
    }
}

static int64_t write_all(int fd, const uint8_t *from, size_t bytes, uint64_t offset)
{
    size_t done = 0;

    while (done < bytes) {
        ssize_t r = pwrite(fd, from + done, bytes - done, (off_t) (offset + done));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0 || r % PAGE != 0)
            return -EIO; /* no more whole pages: what is there now is not known */
        done += (size_t) r;
    }
    return (int64_t) bytes;
}

/* The first call takes all, mostly; the rest of a shorter one goes vector by vector. */
static int64_t write_vectors(int fd, const struct iovec *iov, unsigned n, size_t bytes,
                             uint64_t offset)
{
    ssize_t r;
    size_t done;

    do
        r = pwritev(fd, iov, (int) n, (off_t) offset);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    done = (size_t) r;
    for (unsigned i = 0; i < n && (size_t) r < bytes; offset += iov[i++].iov_len) {
        size_t skip = done < iov[i].iov_len ? done : iov[i].iov_len;
        int64_t rest = write_all(fd, (const uint8_t *) iov[i].iov_base + skip,
                                 iov[i].iov_len - skip, offset + skip);
        if (rest < 0)
            return rest;
        done -= skip;
    }
    return (int64_t) bytes;
}

static void turn_off(struct io_direct *d)
{
    atomic_store_explicit(&d->off, true, memory_order_relaxed);
}

int64_t direct_commit(struct io_direct *d, struct io_files *files, struct io_file *file,
                      const struct iovec *iov, unsigned n, uint64_t offset)
{
    size_t bytes = direct_bytes(d, iov, n, offset);
    int fd = bytes == 0 ? -EAGAIN : files_borrow_direct(files, file, true);
    bool there = fd >= 0 && on_pages(iov, n);
    uint8_t *buffer = fd < 0 || there ? NULL : take_buffer(d);
    int64_t res = 0;

    if (fd == -EINVAL)
        turn_off(d);
    if (there) {
        res = write_vectors(fd, iov, n, bytes, offset);
    } else if (buffer != NULL) {
        gather(buffer, iov, n);
        res = write_all(fd, buffer, bytes, offset);
        give_buffer(d, buffer);
    }
    if (fd >= 0)
        files_return_direct(files, file);
    if (res == -EINVAL) { /* the device wants other boundaries; it looked before it wrote */
        turn_off(d);
        return 0;
    }
    return res;
}

struct direct_write *direct_begin(struct io_direct *d, struct io_files *files, struct io_file *file,
                                  const struct iovec *iov, unsigned n, uint64_t offset)
{
    size_t bytes = direct_bytes(d, iov, n, offset);
    int fd = bytes == 0 ? -EAGAIN : files_borrow_direct(files, file, false);
    bool there = fd >= 0 && n == 1 && on_pages(iov, n);
    uint8_t *buffer = fd < 0 ? NULL : there ? iov->iov_base : take_buffer(d);
    struct direct_write *w;

    if (buffer == NULL) {
        if (fd >= 0)
            files_return_direct(files, file);
        return NULL;
    }
    if (!there)
        gather(buffer, iov, n);
    w = mem_alloc(sizeof(*w));
    *w = (struct direct_write){
        .file = file, .buffer = buffer, .bytes = (uint32_t) bytes, .fd = fd, .lent = there};
    return w;
}

bool direct_end(struct io_direct *d, struct io_files *files, struct direct_write *w, int64_t res)
{
    bool ended = res == (int64_t) w->bytes ||
                 (res < 0 && res != -EINVAL && res != -EINTR && res != -EAGAIN);

    if (res == -EINVAL)
        turn_off(d);
    if (!w->lent)
        give_buffer(d, w->buffer);
    files_return_direct(files, w->file);
    mem_free(w);
    return ended;
}

/* The kernel's structs, for which libc has no declaration. */
struct cache_range {
    uint64_t offset, bytes;
};

struct cache_pages {
    uint64_t cached, dirty, writing, evicted, recently_evicted;
};

/* Most of the range is not in the page cache, and nothing of it is newer there than on the disk.
 * Where the kernel can not say it, all may be cached. */
static bool is_cold(int fd, uint32_t len, uint64_t offset)
{
    struct cache_range range = {.offset = offset, .bytes = len};
    struct cache_pages pages;

    return syscall(SYS_cachestat, fd, &range, &pages, 0) == 0 && pages.dirty == 0 &&
           pages.writing == 0 && pages.cached * 2 < len / PAGE;
}

/* The end of the file comes as less than whole pages, or nothing. */
static int64_t read_pages(int fd, uint8_t *into, uint32_t len, uint64_t offset)
{
    uint32_t done = 0;

    while (done < len) {
        ssize_t r = pread(fd, into + done, len - done, (off_t) (offset + done));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        done += (uint32_t) r;
        if (r % PAGE != 0 || r == 0)
            break;
    }
    return done;
}

bool direct_read(struct io_direct *d, struct io_files *files, struct io_file *file, int cached_fd,
                 void *into, uint32_t len, uint64_t offset, int64_t *res)
{
    int fd;

    if (((uintptr_t) into | len | offset) % PAGE != 0 || len < DIRECT_READ_MIN ||
        atomic_load_explicit(&d->off, memory_order_relaxed) || !is_cold(cached_fd, len, offset))
        return false;
    fd = files_borrow_direct(files, file, true);
    if (fd < 0) {
        if (fd == -EINVAL)
            turn_off(d);
        return false;
    }
    *res = read_pages(fd, into, len, offset);
    files_return_direct(files, file);
    if (*res == -EINVAL)
        turn_off(d);
    return *res != -EINVAL;
}
