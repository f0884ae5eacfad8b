/*
 * bench_streams.c - many streams on one directory: what an idle one costs, and what busy ones
 * share.
 *
 *     bench_streams [-d dir] [-k streams] [-b busy] [-r rounds] [-e key]
 *
 * Makes the streams with ten messages each, closes, opens again, idles for a second, then gives
 * each busy stream one message per round. Prints times, resident memory, open descriptors, CPU of
 * the idle second, and how many syncs the rounds needed. Not run by the tests.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "store/store.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define FIRST_MESSAGES 10u
#define CREATE_AT_ONCE 500u

struct bench {
    const char *dir, *key;
    unsigned streams, busy, rounds;
    struct io *io;
    struct chunk_pool *chunks;
    struct store_dir *store_dir;
    struct store *store;
    struct store_stream **stream;
    unsigned nstreams;
    uint64_t committed, created;
    bool closed;
};

static double seconds(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static double memory_mb(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long size = 0, resident = 0;

    if (f == NULL || fscanf(f, "%lu %lu", &size, &resident) != 2)
        exit(1);
    fclose(f);
    return (double) resident * (double) sysconf(_SC_PAGESIZE) / 1e6;
}

static unsigned descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    while (d != NULL && readdir(d) != NULL)
        n++;
    if (d != NULL)
        closedir(d);
    return n;
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

static void render_nothing(void *ctx, struct buf *out)
{
    (void) ctx;
    (void) out;
}

static const struct store_stream_ops ops = {
    .committed = on_committed, .failed = on_failed, .render_config = render_nothing};

static void on_line(struct log *log, enum log_level level, const char *text)
{
    (void) log;
    if (level <= LOG_WARN)
        fprintf(stderr, "%s\n", text);
}

static struct log bench_log = {.line = on_line, .enabled = 7};

static void step(struct bench *b, uint64_t wait_ns)
{
    bool soon = store_step(b->store);

    io_poll(b->io, soon ? 0 : wait_ns);
}

static void attach(void *ctx, const struct store_object_view *v)
{
    struct bench *b = ctx;
    struct str config;

    if (v->kind == STORE_KIND_STREAM &&
        store_stream_attach(b->store, v->id, &ops, b, &b->stream[b->nstreams++], &config) != ERR_OK)
        exit(1);
}

static void open_all(struct bench *b)
{
    struct io_config config;
    char why[256];
    double begin = seconds(CLOCK_MONOTONIC);

    io_config_init(&config);
    config.backend = IO_BACKEND_EVENT;
    if (io_open(&config, &b->io) != 0)
        exit(1);
    b->chunks = chunk_pool_open();
    struct store_dir_options dir = {.fs = io_fs(b->io),
                                    .path = b->dir,
                                    .log = &bench_log,
                                    .workers = 1,
                                    .key = str_of(b->key != NULL ? b->key : "")};
    if (store_dir_open(&dir, &b->store_dir, why) != ERR_OK) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    double recovered = seconds(CLOCK_MONOTONIC);
    struct store_options options = {.io = b->io, .chunks = b->chunks, .log = &bench_log};
    if (store_open(b->store_dir, 0, &options, &b->store) != ERR_OK)
        exit(1);
    store_recovered_each(b->store, attach, b);
    store_recovered_done(b->store);
    printf("opened %u streams: %.0f ms, and %.0f ms for loading them; %.1f MB resident, %u "
           "descriptors, %llu bytes scanned\n",
           b->nstreams, (recovered - begin) * 1e3, (seconds(CLOCK_MONOTONIC) - recovered) * 1e3,
           memory_mb(), descriptors(),
           (unsigned long long) store_dir_recovery(b->store_dir)->bytes_scanned);
}

static void on_closed(void *ctx)
{
    ((struct bench *) ctx)->closed = true;
}

static void close_all(struct bench *b)
{
    double begin = seconds(CLOCK_MONOTONIC);

    b->closed = false;
    store_close(b->store, on_closed, b);
    while (!b->closed) {
        store_step(b->store);
        if (!b->closed)
            io_poll(b->io, 1000000);
    }
    store_dir_close(b->store_dir);
    chunk_pool_close(b->chunks);
    io_close(b->io);
    b->nstreams = 0;
    printf("closed: %.0f ms\n", (seconds(CLOCK_MONOTONIC) - begin) * 1e3);
}

static void append(struct bench *b, struct store_stream *s)
{
    char payload[128];
    uint64_t seq;
    struct store_append m = {.subject = STR("orders.new"),
                             .payload = str_from(payload, sizeof(payload)),
                             .ts = io_wall(b->io)};

    memset(payload, 'x', sizeof(payload));
    if (store_append(s, &m, &seq) != ERR_OK)
        exit(1);
}

struct creating {
    struct store_req req;
    struct bench *b;
};

static void on_created(struct store_req *req, enum err err)
{
    if (err != ERR_OK) {
        fprintf(stderr, "can not create: %s\n", err_text(err));
        exit(1);
    }
    CONTAINER_OF(req, struct creating, req)->b->created++;
}

static void create_all(struct bench *b)
{
    struct creating *reqs = mem_zalloc(b->streams * sizeof(*reqs));
    double begin = seconds(CLOCK_MONOTONIC), before = memory_mb();

    for (unsigned i = 0; i < b->streams; i++) {
        struct store_stream_options s = {.name = STR("bench"), .level = STORE_DURABLE};
        reqs[i] = (struct creating){.req.done = on_created, .b = b};
        if (store_stream_create(b->store, &s, &ops, b, &b->stream[i], &reqs[i].req) != ERR_OK)
            exit(1);
        for (unsigned k = 0; k < FIRST_MESSAGES; k++)
            append(b, b->stream[i]);
        while (i + 1 - b->created > CREATE_AT_ONCE)
            step(b, 1000000);
    }
    while (b->created < b->streams || b->committed < (uint64_t) b->streams * FIRST_MESSAGES)
        step(b, 1000000);
    b->nstreams = b->streams;
    printf("made %u streams: %.1f s; %.0f bytes of memory each, %u descriptors\n", b->streams,
           seconds(CLOCK_MONOTONIC) - begin, (memory_mb() - before) * 1e6 / b->streams,
           descriptors());
    mem_free(reqs);
}

static void idle(struct bench *b)
{
    double end = seconds(CLOCK_MONOTONIC) + 1, cpu;
    unsigned turns = 0;

    while (seconds(CLOCK_MONOTONIC) < end) /* what opening left behind */
        step(b, 100000000);
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    end += 1;
    while (seconds(CLOCK_MONOTONIC) < end) {
        step(b, 1000000000);
        turns++;
    }
    printf("idle: %.3f %% of a core, %u turns of the loop in a second\n",
           (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 100, turns);
}

static void busy(struct bench *b)
{
    struct store_stats before, after;
    double begin = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);

    store_stats(b->store, &before);
    for (unsigned r = 0; r < b->rounds; r++) {
        b->committed = 0;
        for (unsigned i = 0; i < b->busy; i++)
            append(b, b->stream[i]);
        while (b->committed < b->busy)
            step(b, 1000000);
    }
    double n = (double) b->rounds * b->busy;
    store_stats(b->store, &after);
    printf(
        "%u rounds of %u streams: %.0f messages/s, %.0f ns of CPU each, %.2f log frames a round, "
        "%.0f rounds a second\n",
        b->rounds, b->busy, n / (seconds(CLOCK_MONOTONIC) - begin),
        (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / n * 1e9,
        (double) (after.log_commits - before.log_commits) / b->rounds,
        b->rounds / (seconds(CLOCK_MONOTONIC) - begin));
}

int main(int argc, char **argv)
{
    struct bench b = {.streams = 10000, .busy = 1000, .rounds = 100};
    char temporary[] = "bench_streams.XXXXXX";
    int option;

    while ((option = getopt(argc, argv, "d:k:b:r:e:")) != -1) {
        switch (option) {
        case 'd':
            b.dir = optarg;
            break;
        case 'k':
            b.streams = (unsigned) strtoul(optarg, NULL, 10);
            break;
        case 'b':
            b.busy = (unsigned) strtoul(optarg, NULL, 10);
            break;
        case 'r':
            b.rounds = (unsigned) strtoul(optarg, NULL, 10);
            break;
        case 'e':
            b.key = optarg;
            break;
        default:
            return 2;
        }
    }
    if (b.streams == 0 || b.busy > b.streams)
        return 2;
    if (b.dir == NULL)
        b.dir = mkdtemp(temporary);
    b.stream = mem_array(b.streams, sizeof(*b.stream));
    open_all(&b);
    create_all(&b);
    busy(&b);
    close_all(&b);
    open_all(&b);
    idle(&b);
    busy(&b);
    close_all(&b);
    mem_free(b.stream);
    return 0;
}
