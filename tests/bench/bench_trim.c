/*
 * bench_trim.c - how long a publisher waits while a great many messages are removed.
 *
 *     bench_trim DIR MESSAGES SUBJECTS limit|subject|purge|filter [MIB]
 *
 * Fills a stream of 100-byte messages in a new directory, then publishes one message at a time,
 * each when the one before is durable: for two seconds, and from the moment on at which max_msgs,
 * or max_msgs_per_subject, is lowered to 1 (or everything, or half the subjects, is purged), until
 * all that was to go is gone, and three seconds at least, in which the files go. Prints for both
 * the longest time from append to durable, and the most CPU time that a turn of the loop took of
 * its thread. MIB: removed files go in pieces of so much (a great number: whole). Run by hand.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Seconds, from the removal on, in which publishers are watched. */
#define AFTER 3

static struct io *io;
static struct store *store;
static uint64_t committed;
static bool purged, closed;

struct waits {
    double publish, turn, total;
    uint64_t messages;
};

static double read_clock(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static double now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

/* Of this thread: what others do on the machine does not count. */
static double own(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

static void on_committed(void *ctx, uint64_t first_seq, uint64_t last_seq)
{
    (void) ctx;
    (void) first_seq;
    committed = last_seq;
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

static void on_req(struct store_req *req, enum err err)
{
    (void) req;
    if (err != ERR_OK) {
        fprintf(stderr, "%s\n", err_text(err));
        exit(1);
    }
    purged = true;
}

static void on_closed(void *ctx)
{
    (void) ctx;
    closed = true;
}

static void step(struct waits *w)
{
    double begin = own();
    bool soon = store_step(store);
    double took = own() - begin;

    if (w != NULL && took > w->turn)
        w->turn = took;
    io_poll(io, soon ? 0 : 100000);
}

static void append(struct store_stream *s, uint64_t k, unsigned subjects)
{
    static char payload[100];
    char subject[32];
    uint64_t seq;
    struct store_append m = {.payload = str_from(payload, sizeof(payload)), .ts = (int64_t) k};

    snprintf(subject, sizeof(subject), "s.%llu.%c", (unsigned long long) (k % subjects),
             k % subjects % 2 == 0 ? 'a' : 'b');
    m.subject = str_of(subject);
    enum err err = store_append(s, &m, &seq);
    if (err != ERR_OK) {
        fprintf(stderr, "append: %s\n", err_text(err));
        exit(1);
    }
}

static void publish_one(struct store_stream *s, uint64_t k, unsigned subjects, struct waits *w)
{
    double begin = now();
    uint64_t before = committed;

    append(s, k, subjects);
    while (committed == before)
        step(w);
    w->messages++;
    if (now() - begin > w->publish)
        w->publish = now() - begin;
}

static struct store_stream *fill(uint64_t messages, unsigned subjects)
{
    struct store_stream_options o = {.name = STR("bench"), .level = STORE_DURABLE};
    struct store_req req = {.done = on_req};
    struct store_stream *s;

    if (store_stream_create(store, &o, &ops, NULL, &s, &req) != ERR_OK)
        exit(1);
    while (!purged)
        step(NULL);
    for (uint64_t k = 0; k < messages; k++) {
        append(s, k, subjects);
        if (k % 1024 == 0)
            step(NULL);
        while (k - committed > 32768 && k > committed)
            step(NULL);
    }
    while (committed < messages)
        step(NULL);
    for (double end = now() + 1; now() < end;)
        step(NULL);
    return s;
}

static void begin_trim(struct store_stream *s, const char *how, struct store_req *req)
{
    struct store_limits limits = {0};
    struct store_purge purge = {0};

    *req = (struct store_req){.done = on_req};
    purged = false;
    limits.max_msgs = strcmp(how, "limit") == 0;
    limits.max_msgs_per_subject = strcmp(how, "subject") == 0;
    if (limits.max_msgs + limits.max_msgs_per_subject > 0) {
        store_stream_update(s, &limits, STR_NONE, req);
        return;
    }
    if (strcmp(how, "filter") == 0)
        purge.filter = STR("s.*.a");
    store_purge(s, &purge, req);
}

static uint64_t left_after(const char *how, uint64_t messages, unsigned subjects)
{
    if (strcmp(how, "limit") == 0)
        return 1;
    if (strcmp(how, "subject") == 0)
        return subjects;
    return strcmp(how, "filter") == 0 ? messages : UINT64_MAX;
}

int main(int argc, char **argv)
{
    struct io_config config;
    struct waits quiet = {0}, trim = {0};
    struct store_state state;
    struct store_req req;
    char why[256];

    if (argc != 5 && argc != 6) {
        fprintf(stderr,
                "usage: bench_trim DIR MESSAGES SUBJECTS limit|subject|purge|filter [MIB]\n");
        return 2;
    }
    uint64_t messages = strtoull(argv[2], NULL, 10);
    unsigned subjects = (unsigned) strtoul(argv[3], NULL, 10);
    io_config_init(&config);
    if (io_open(&config, &io) != 0)
        return 1;
    struct chunk_pool *chunks = chunk_pool_open();
    struct store_dir_options dir = {
        .fs = io_fs(io), .path = argv[1], .log = &bench_log, .workers = 1};
    if (argc == 6)
        dir.drop_bytes = strtoull(argv[5], NULL, 10) << 20;
    struct store_dir *opened;
    if (store_dir_open(&dir, &opened, why) != ERR_OK) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    struct store_options options = {.io = io, .chunks = chunks, .log = &bench_log};
    if (store_open(opened, 0, &options, &store) != ERR_OK)
        return 1;
    struct store_stream *s = fill(messages, subjects);
    for (double end = now() + 2; now() < end;)
        publish_one(s, 1, subjects, &quiet);
    double begin = now(), call = own();
    begin_trim(s, argv[4], &req);
    trim.turn = own() - call; /* the call itself holds the loop, too */
    uint64_t most = left_after(argv[4], messages, subjects);
    do {
        publish_one(s, 1, subjects, &trim);
        store_stream_state(s, &state);
    } while (!purged || state.msgs > most);
    trim.total = now() - begin;
    while (now() < begin + AFTER) /* files go behind that */
        publish_one(s, 1, subjects, &trim);
    printf("%s of %llu messages, %u subjects: before, longest publish %.2f ms, turn %.2f ms of CPU "
           "(%llu "
           "messages); during %.2f s: publish %.2f ms, turn %.2f ms of CPU (%llu)\n",
           argv[4], (unsigned long long) messages, subjects, quiet.publish * 1e3, quiet.turn * 1e3,
           (unsigned long long) quiet.messages, trim.total, trim.publish * 1e3, trim.turn * 1e3,
           (unsigned long long) trim.messages);
    store_close(store, on_closed, NULL);
    while (!closed) {
        store_step(store);
        io_poll(io, 100000);
    }
    store_dir_close(opened);
    return 0;
}
