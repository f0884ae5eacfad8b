/*
 * bench_index.c - what the index of subjects costs: memory, start-up, questions.
 *
 *     bench_index table [subjects]            memory and time of the table alone
 *     bench_index fill DIR [messages] [subjects] [kill]
 *                                             appends; closes, or dies with everything acknowledged
 *     bench_index open DIR                    start-up and memory, then the questions, twice
 *
 * Messages are 128 bytes on "bench.<n>", n counted round. Times are those of the wall and, in
 * brackets, of this thread's CPU. Not run by the tests.
 */
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "lib/io/io.h"
#include "store/store.h"
#include "store/subjects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double clock_of(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

struct watch {
    double wall, cpu;
};

static struct watch watch_start(void)
{
    return (struct watch){clock_of(CLOCK_MONOTONIC), clock_of(CLOCK_THREAD_CPUTIME_ID)};
}

static void say(struct watch w, const char *what)
{
    printf("%-58s %9.3f ms (%.3f)\n", what, (clock_of(CLOCK_MONOTONIC) - w.wall) * 1e3,
           (clock_of(CLOCK_THREAD_CPUTIME_ID) - w.cpu) * 1e3);
    fflush(stdout);
}

static void say_memory(const char *what)
{
    char line[128];
    FILE *f = fopen("/proc/self/status", "r");

    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0)
            printf("%-58s %s", what, line + 6);
    if (f != NULL)
        fclose(f);
}

/* ---- the table ------------------------------------------------------------------------------- */

static void shape_of(unsigned shape, uint32_t k, struct prng *rng, char out[64])
{
    static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char id[23] = "";

    if (shape == 0) {
        snprintf(out, 64, "bench.%u", k);
    } else if (shape == 1) {
        snprintf(out, 64, "sensors.%u.%u.temperature", k / 1000, k % 1000);
    } else {
        for (unsigned at = 0; at < 22; at++)
            id[at] = base62[prng_below(rng, 62)];
        snprintf(out, 64, "orders.%s", id);
    }
}

static void run_table(uint32_t n)
{
    static const char *const names[] = {"bench.N", "sensors.A.B.temperature", "orders.<22 random>"};

    for (unsigned shape = 0; shape < 3; shape++) {
        struct subjects t;
        struct prng rng;
        uint64_t texts = 0;
        char text[64];
        prng_init(&rng, 1);
        subjects_init(&t, prng_u64(&rng));
        double cpu = clock_of(CLOCK_THREAD_CPUTIME_ID);
        for (uint32_t k = 0; k < n; k++) {
            shape_of(shape, k, &rng, text);
            subjects_intern(&t, str_of(text));
            texts += strlen(text);
        }
        cpu = clock_of(CLOCK_THREAD_CPUTIME_ID) - cpu;
        printf("%-26s %u subjects: %.1f B each beyond the text (tree %.1f), %.0f ns to add\n",
               names[shape], t.count, (double) (subjects_bytes(&t) - texts) / t.count,
               (double) ref_pool_bytes(&t.tree.nodes) / t.count, cpu / n * 1e9);
        subjects_deinit(&t);
    }
}

/* ---- the store ------------------------------------------------------------------------------- */

struct bench {
    struct io *io;
    struct store_dir *dir;
    struct store *store;
    struct store_stream *stream;
    uint64_t committed;
    bool closed;
};

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

static void must(enum err err, const char *what)
{
    if (err == ERR_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, err_text(err));
    exit(1);
}

static void open_store(struct bench *b, const char *path)
{
    struct io_config config;
    char why[256] = "";

    io_config_init(&config);
    if (io_open(&config, &b->io) != 0)
        exit(1);
    struct store_dir_options dir = {
        .fs = io_fs(b->io), .path = path, .log = &bench_log, .workers = 1};
    struct watch w = watch_start();
    must(store_dir_open(&dir, &b->dir, why), why);
    say(w, "store_dir_open");
    struct store_options options = {
        .io = b->io, .chunks = chunk_pool_open(), .log = &bench_log, .cache_bytes = 64 << 20};
    must(store_open(b->dir, 0, &options, &b->store), "store_open");
}

static void attach(void *ctx, const struct store_object_view *v)
{
    struct bench *b = ctx;
    struct str config;
    struct watch w = watch_start();

    if (v->kind != STORE_KIND_STREAM)
        return;
    must(store_stream_attach(b->store, v->id, &ops, b, &b->stream, &config), "attach");
    say(w, "store_stream_attach");
}

static void turn(struct bench *b)
{
    bool soon = store_step(b->store);

    io_poll(b->io, soon ? 0 : 1000000);
}

static void on_closed(void *ctx)
{
    ((struct bench *) ctx)->closed = true;
}

static void close_store(struct bench *b)
{
    store_close(b->store, on_closed, b);
    while (!b->closed)
        turn(b);
    store_dir_close(b->dir);
}

static void run_fill(const char *path, uint64_t n, uint64_t subjects, bool die)
{
    struct store_stream_options o = {.name = STR("bench"), .level = STORE_DURABLE};
    struct bench b = {0};
    uint64_t done = 0, seq;
    char text[32], payload[128];
    double begin = clock_of(CLOCK_MONOTONIC);

    memset(payload, 'x', sizeof(payload));
    open_store(&b, path);
    must(store_stream_create(b.store, &o, &ops, &b, &b.stream, NULL), "create");
    while (b.committed < n) {
        for (unsigned run = 0; run < 1024 && done < n && done - b.committed < 32768; run++) {
            snprintf(text, sizeof(text), "bench.%llu",
                     (unsigned long long) (done * 7919 % subjects));
            struct store_append m = {.subject = str_of(text),
                                     .payload = str_from(payload, sizeof(payload)),
                                     .ts = io_wall(b.io)};
            enum err err = store_append(b.stream, &m, &seq);
            if (err == ERR_LIMIT)
                break;
            must(err, "append");
            done++;
        }
        turn(&b);
    }
    printf("%llu messages on %llu subjects in %.1f s\n", (unsigned long long) n,
           (unsigned long long) subjects, clock_of(CLOCK_MONOTONIC) - begin);
    say_memory("memory after that");
    fflush(stdout);
    if (die)
        _exit(0);
    /* What is full is sealed first. */
    for (double until = clock_of(CLOCK_MONOTONIC) + 3; clock_of(CLOCK_MONOTONIC) < until;)
        turn(&b);
    close_store(&b);
}

/* ---- questions ------------------------------------------------------------------------------- */

struct asked {
    struct store_req req;
    bool done;
};

static void on_answer(struct store_req *req, enum err err)
{
    (void) err;
    ((struct asked *) req)->done = true;
}

static void ask_count(struct bench *b, uint64_t from, const char *filter)
{
    struct asked a = {.req = {.done = on_answer}};
    struct str f = str_of(filter);
    struct watch w = watch_start();
    uint64_t count;
    char what[96];

    enum err err = store_count(b->stream, from, &f, 1, &count, &a.req);
    while (err == ERR_AGAIN && !a.done)
        turn(b);
    snprintf(what, sizeof(what), "count of %s from %llu: %llu", filter, (unsigned long long) from,
             (unsigned long long) (err == ERR_AGAIN ? a.req.count : count));
    say(w, what);
}

static void on_ready(struct store_reader *r)
{
    *(bool *) r->ctx = true;
}

static void ask_next(struct bench *b, uint64_t from, const char *filter)
{
    struct str f = str_of(filter);
    struct watch w = watch_start();
    struct store_reader r;
    struct store_msg m;
    enum store_read read;
    bool ready = false;
    char what[96];

    store_reader_init(&r, b->stream, from, &f, 1, on_ready, &ready);
    while ((read = store_reader_next(&r, &m)) == STORE_READ_WAIT)
        for (ready = false; !ready;)
            turn(b);
    snprintf(what, sizeof(what), "next of %s from %llu: %llu", filter, (unsigned long long) from,
             (unsigned long long) (read == STORE_READ_MSG ? m.seq : 0));
    say(w, what);
    store_reader_deinit(&r);
}

static bool list_one(void *ctx, const struct store_subject *sub)
{
    *(uint64_t *) ctx += sub->last_seq != 0;
    return true;
}

static void ask_list(struct bench *b, const char *filter)
{
    struct watch w = watch_start();
    uint64_t n = 0;
    char what[96];

    store_subjects_each(b->stream, str_of(filter), list_one, &n);
    snprintf(what, sizeof(what), "subjects of %s: %llu", filter, (unsigned long long) n);
    say(w, what);
}

static void ask_last(struct bench *b, const char *filter, uint64_t upto)
{
    struct watch w = watch_start();
    uint64_t last = upto == 0 ? store_subject_last_match(b->stream, str_of(filter))
                              : store_subject_last_upto(b->stream, str_of(filter), upto);
    char what[96];

    snprintf(what, sizeof(what), "last of %s up to %llu: %llu", filter, (unsigned long long) upto,
             (unsigned long long) last);
    say(w, what);
}

static void run_open(const char *path)
{
    struct bench b = {0};
    struct store_state s;

    struct watch w = watch_start();
    open_store(&b, path);
    store_recovered_each(b.store, attach, &b);
    store_recovered_done(b.store);
    say(w, "start-up, altogether");
    say_memory("memory");
    store_stream_state(b.stream, &s);
    printf("%llu messages, %llu subjects\n", (unsigned long long) s.msgs,
           (unsigned long long) s.num_subjects);
    for (unsigned i = 0; i < 2; i++) {
        ask_count(&b, s.last_seq / 2, "bench.4711");
        ask_next(&b, s.last_seq / 2, "bench.4711");
        ask_last(&b, "bench.4711", s.last_seq / 3);
        ask_last(&b, "bench.*", 0);
        ask_last(&b, "bench.4712", 0);
        ask_count(&b, 1, "bench.*");
        ask_count(&b, s.last_seq / 2, "bench.*");
        ask_count(&b, s.last_seq / 2, "*.nobody");
        ask_list(&b, "bench.*");
        ask_list(&b, "bench.4711");
    }
    say_memory("memory");
    close_store(&b);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    if (strcmp(what, "table") == 0)
        run_table(argc > 2 ? (uint32_t) strtoul(argv[2], NULL, 10) : 1000000);
    else if (strcmp(what, "fill") == 0 && argc > 2)
        run_fill(argv[2], argc > 3 ? strtoull(argv[3], NULL, 10) : 5000000,
                 argc > 4 ? strtoull(argv[4], NULL, 10) : 1000000, argc > 5);
    else if (strcmp(what, "open") == 0 && argc > 2)
        run_open(argv[2]);
    else
        return 2;
    return 0;
}
