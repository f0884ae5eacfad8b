/*
 * bench_store.c - what the store alone costs: appends with N in flight against a real directory.
 *
 *     bench_store [-d dir] [-s size] [-w window] [-n subjects] [-t seconds] [-k streams]
 *                 [-l durable|async|memory] [-b backend] [-m MiB] [-p MiB] [-r]
 *
 * -m: the size of segments; -p: so many MiB of prewritten ones lie ready, and the pool is kept.
 * Prints messages a second, CPU of the whole process per message (getrusage: the worker and the
 * pool threads), commits a second and their size. -r reads all of it back, from the disk. Not run
 * by the tests.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "store/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct bench {
    const char *dir;
    size_t size;
    uint64_t window;
    unsigned subjects, streams;
    double seconds;
    enum store_level level;
    enum io_backend backend;
    bool read_back;
    uint64_t segment_bytes, pool_bytes;
    struct io *io;
    struct chunk_pool *chunks;
    struct store_dir *store_dir;
    struct store *store;
    struct store_stream **stream;
    uint64_t committed, created;
    bool closed;
};

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static double cpu_seconds(int who)
{
    struct rusage u;

    getrusage(who, &u);
    return (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void on_committed(void *ctx, uint64_t first_seq, uint64_t last_seq)
{
    ((struct bench *) ctx)->committed += last_seq - first_seq + 1;
}

static void on_failed(void *ctx, enum err err, const char *why)
{
    (void) ctx;
    fprintf(stderr, "stream failed: %s: %s\n", err_text(err), why);
    exit(1);
}

static const struct store_stream_ops ops = {.committed = on_committed, .failed = on_failed};

static void on_line(struct log *log, enum log_level level, const char *text)
{
    (void) log;
    if (level <= LOG_WARN)
        fprintf(stderr, "%s\n", text);
}

static struct log bench_log = {.line = on_line, .enabled = 7};

static void on_created(struct store_req *req, enum err err)
{
    (void) req;
    if (err != ERR_OK) {
        fprintf(stderr, "can not create: %s\n", err_text(err));
        exit(1);
    }
}

static void step(struct bench *b, uint64_t wait_ns)
{
    bool soon = store_step(b->store);

    io_poll(b->io, soon ? 0 : wait_ns);
}

/* What a run that took a while would find there. */
static void prewrite(const struct bench *b)
{
    char path[512], *zeros = mem_zalloc(b->segment_bytes);

    mkdir(b->dir, 0700);
    snprintf(path, sizeof(path), "%s/pool", b->dir);
    mkdir(path, 0700);
    for (uint64_t i = 1; i * b->segment_bytes <= b->pool_bytes; i++) {
        snprintf(path, sizeof(path), "%s/pool/%llu.pre", b->dir, (unsigned long long) i);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (fd < 0 || posix_fallocate(fd, 0, (off_t) b->segment_bytes) != 0 ||
            write(fd, zeros, b->segment_bytes) != (ssize_t) b->segment_bytes || fsync(fd) != 0) {
            perror(path);
            exit(1);
        }
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
    mem_free(zeros);
}

static void open_all(struct bench *b)
{
    struct io_config config;
    char why[256];

    io_config_init(&config);
    config.backend = b->backend;
    if (io_open(&config, &b->io) != 0) {
        fprintf(stderr, "no such backend\n");
        exit(1);
    }
    b->chunks = chunk_pool_open();
    if (b->pool_bytes != 0)
        prewrite(b);
    struct store_dir_options dir = {.fs = io_fs(b->io),
                                    .path = b->dir,
                                    .log = &bench_log,
                                    .workers = 1,
                                    .segment_bytes_min = b->segment_bytes,
                                    .segment_bytes_max = b->segment_bytes,
                                    .pool_bytes = b->pool_bytes};
    if (store_dir_open(&dir, &b->store_dir, why) != ERR_OK) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    struct store_options options = {.io = b->io, .chunks = b->chunks, .log = &bench_log};
    if (store_open(b->store_dir, 0, &options, &b->store) != ERR_OK)
        exit(1);
    b->stream = mem_array(b->streams, sizeof(*b->stream));
    struct store_req *reqs = mem_zalloc(b->streams * sizeof(*reqs));
    for (unsigned i = 0; i < b->streams; i++) {
        struct store_stream_options s = {.name = STR("bench"), .level = b->level};
        reqs[i].done = on_created;
        if (store_stream_create(b->store, &s, &ops, b, &b->stream[i], &reqs[i]) != ERR_OK)
            exit(1);
    }
    for (int i = 0; i < 2000; i++)
        step(b, 100000);
}

static void report(const struct bench *b, double wall, double cpu, double own, uint64_t n)
{
    struct store_stats s;

    store_stats(b->store, &s);
    printf("%4zu B, window %6llu, %u subjects, %u streams: %6.3f M msg/s, %5.0f ns CPU each "
           "(%4.0f worker), %6.0f commits/s of %.0f KB, %6.0f log frames/s, %llu not from the "
           "pool\n",
           b->size, (unsigned long long) b->window, b->subjects, b->streams,
           (double) n / wall / 1e6, cpu / (double) n * 1e9, own / (double) n * 1e9,
           (double) s.commits / wall,
           (double) s.commit_bytes / (double) (s.commits > 0 ? s.commits : 1) / 1e3,
           (double) s.log_commits / wall, (unsigned long long) s.pool_misses);
}

static void append_all(struct bench *b)
{
    char payload[1 << 16], subjects[256][32];
    uint64_t appended = 0, seq;
    double begin = seconds_now(), cpu = cpu_seconds(RUSAGE_SELF), own = cpu_seconds(RUSAGE_THREAD);
    double wall = 0;

    memset(payload, 'x', sizeof(payload));
    for (unsigned i = 0; i < 256; i++)
        snprintf(subjects[i], sizeof(subjects[i]), "orders.%u", i);
    b->committed = 0;
    while (wall < b->seconds || appended != b->committed) {
        int64_t ts = io_wall(b->io);
        unsigned run = 0;
        while (appended - b->committed < b->window && wall < b->seconds && run++ < 1024) {
            struct store_append m = {
                .subject = str_of(subjects[appended % b->subjects]),
                .payload = str_from(payload, b->size),
                .ts = ts,
            };
            enum err err = store_append(b->stream[appended % b->streams], &m, &seq);
            if (err == ERR_LIMIT)
                break;
            if (err != ERR_OK) {
                fprintf(stderr, "append: %s\n", err_text(err));
                exit(1);
            }
            appended++;
        }
        step(b, run > 0 && appended - b->committed < b->window ? 0 : 1000000);
        wall = seconds_now() - begin;
    }
    report(b, wall, cpu_seconds(RUSAGE_SELF) - cpu, cpu_seconds(RUSAGE_THREAD) - own, appended);
}

static void on_ready(struct store_reader *r)
{
    *(bool *) r->ctx = true;
}

static void read_all(struct bench *b)
{
    struct store_reader reader;
    struct store_msg m;
    bool ready = false;
    uint64_t n = 0, bytes = 0;
    double begin = seconds_now(), own = cpu_seconds(RUSAGE_SELF), wall;

    store_shed_cache(b->store);
    store_reader_init(&reader, b->stream[0], 1, NULL, 0, on_ready, &ready);
    for (;;) {
        enum store_read result = store_reader_next(&reader, &m);
        if (result == STORE_READ_MSG) {
            n++;
            bytes += m.payload.n;
        } else if (result == STORE_READ_WAIT) {
            while (!ready)
                step(b, 1000000);
            ready = false;
        } else {
            break;
        }
    }
    store_reader_deinit(&reader);
    wall = seconds_now() - begin;
    printf("read %llu messages, %.1f GB: %.2f M msg/s, %.0f MB/s, %.0f ns CPU each\n",
           (unsigned long long) n, (double) bytes / 1e9, (double) n / wall / 1e6,
           (double) bytes / wall / 1e6, (cpu_seconds(RUSAGE_SELF) - own) / (double) n * 1e9);
}

static void on_closed(void *ctx)
{
    ((struct bench *) ctx)->closed = true;
}

int main(int argc, char **argv)
{
    struct bench b = {.size = 128,
                      .window = 4096,
                      .subjects = 1,
                      .streams = 1,
                      .seconds = 2,
                      .backend = IO_BACKEND_EVENT};
    char temporary[] = "bench_store.XXXXXX";
    int option;

    while ((option = getopt(argc, argv, "d:s:w:n:t:k:l:b:m:p:r")) != -1) {
        switch (option) {
        case 'd':
            b.dir = optarg;
            break;
        case 's':
            b.size = strtoul(optarg, NULL, 10);
            break;
        case 'w':
            b.window = strtoull(optarg, NULL, 10);
            break;
        case 'n':
            b.subjects = (unsigned) strtoul(optarg, NULL, 10);
            break;
        case 't':
            b.seconds = strtod(optarg, NULL);
            break;
        case 'k':
            b.streams = (unsigned) strtoul(optarg, NULL, 10);
            break;
        case 'l':
            b.level = *optarg == 'a' ? STORE_ASYNC : *optarg == 'm' ? STORE_MEMORY : 0;
            break;
        case 'b':
            b.backend = *optarg == 'u' ? IO_BACKEND_URING : IO_BACKEND_EVENT;
            break;
        case 'm':
            b.segment_bytes = strtoull(optarg, NULL, 10) << 20;
            break;
        case 'p':
            b.pool_bytes = strtoull(optarg, NULL, 10) << 20;
            break;
        case 'r':
            b.read_back = true;
            break;
        default:
            return 2;
        }
    }
    if (b.pool_bytes != 0 && b.segment_bytes == 0)
        b.segment_bytes = 16u << 20;
    if (b.dir == NULL)
        b.dir = mkdtemp(temporary);
    open_all(&b);
    append_all(&b);
    if (b.read_back)
        read_all(&b);
    store_close(b.store, on_closed, &b);
    while (!b.closed) {
        store_step(b.store);
        if (!b.closed)
            io_poll(b.io, 1000000);
    }
    store_dir_close(b.store_dir);
    return 0;
}
