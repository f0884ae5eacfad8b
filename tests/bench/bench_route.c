/*
 * bench_route: what the hot paths of server/core cost, one worker, one thread.
 *
 *     make -C build micro-benchmarks && taskset -c 1 build/tests/bench/bench_route [part of a name]
 *
 * Every line is the best of several rounds, in nanoseconds a message. Sinks count and add up
 * lengths, nothing more; the frame sink writes the MSG line as a connection does. Messages are
 * stored field by field before each call, as a parser does it.
 */
#include "lib/base/assert.h"
#include "lib/base/chunk.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "lib/wire/nats_write.h"
#include "server/core/route.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 50

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

struct bench {
    struct account *account;
    struct chunk_pool *chunks;
    struct prng prng;
    struct router *r;
};

struct counter {
    struct sink sink;
    struct interest_sub *sub;
    uint64_t msgs, bytes, frames;
    struct chunk_pool *chunks;
};

static unsigned count_deliver(struct sink *s, const struct msg *run, unsigned n)
{
    struct counter *c = CONTAINER_OF(s, struct counter, sink);

    for (unsigned i = 0; i < n; i++)
        c->bytes += run[i].payload.n;
    c->msgs += n;
    return n;
}

static void frame_render(struct sink *s, const struct msg *m, struct outbuf *out)
{
    struct counter *c = CONTAINER_OF(s, struct counter, sink);
    struct nats_to to = {.subject = m->subject, .sid = STR("12")};
    size_t max = nats_msg_max(m->subject.n, 2, 0) + m->payload.n + 2, n;
    char *at = (char *) outbuf_reserve(out, c->chunks, max);

    if (at == NULL)
        return;
    n = nats_write_msg(at, &to, (uint32_t) m->payload.n);
    memcpy(at + n, m->payload.p, m->payload.n);
    memcpy(at + n + m->payload.n, "\r\n", 2);
    outbuf_commit(out, n + m->payload.n + 2);
}

static void frame_push(struct sink *s, struct outbuf *out, unsigned msgs)
{
    struct counter *c = CONTAINER_OF(s, struct counter, sink);

    c->frames += msgs;
    outbuf_free(out, c->chunks);
}

static const struct sink_ops ops = {
    .deliver = count_deliver, .render = frame_render, .push = frame_push, .kind = "bench"};

static void post_nowhere(void *ctx, uint32_t worker, struct lane_item *run)
{
    struct bench *b = ctx;

    (void) worker;
    route_run_free(run, b->chunks);
}

static void open_bench(struct bench *b)
{
    struct router_options o = {.workers = 2, .hash_seed = 3, .post = post_nowhere, .ctx = b};

    b->account = account_open("$G", 0, 1);
    b->chunks = chunk_pool_open();
    prng_init(&b->prng, 5);
    o.chunks = b->chunks;
    o.prng = &b->prng;
    b->r = router_open(&o);
}

static void close_bench(struct bench *b)
{
    router_close(b->r);
    chunk_pool_close(b->chunks);
    account_close(b->account);
}

static void subscribe(struct bench *b, struct counter *c, const char *pattern, const char *queue)
{
    struct interest_spec spec = {.pattern = str_of(pattern), .queue = str_of(queue)};

    *c = (struct counter){.sink.ops = &ops, .chunks = b->chunks};
    spec.sink = router_sink_add(b->r, &c->sink);
    c->sub = interest_add(b->account->interest, &spec);
    ASSERT(c->sub != NULL);
}

static void unsubscribe(struct bench *b, struct counter *c)
{
    interest_remove(b->account->interest, c->sub);
    router_sink_remove(b->r, &c->sink);
}

#define SUBJECTS_MAX 64
#define PER_ROUND 100000u

static char names[SUBJECTS_MAX][64];
static struct str subjects[SUBJECTS_MAX];

enum how { BASE, ROUTE };

/* Not inlined, so that the loop without routing pays for a call too. */
static __attribute__((noinline)) uint32_t no_publish(const struct msg *m)
{
    __asm__ volatile("" : : "r"(m) : "memory");
    return 1;
}

/* Publishes over n subjects in turn; a flush every 512 messages, about one receive buffer. */
static double publish_round(struct bench *b, unsigned n, enum how how)
{
    static const char payload[] = "0123456789abcdef";
    uint64_t began = now_ns();
    struct msg local = {0};
    uint32_t got = 0;
    unsigned at = 0;

    for (unsigned i = 0; i < PER_ROUND; i++) {
        struct msg *m = &local;
        m->subject = subjects[at];
        m->reply = STR_NONE;
        m->header = STR_NONE;
        m->payload = str_from(payload, 16);
        m->chunk = NULL;
        m->flags = 0;
        m->origin_worker = 0;
        m->origin_conn = 7;
        m->bounce_to = 0;
        __asm__ volatile("" : : "r"(m) : "memory");
        got += how == BASE ? no_publish(m) : route_publish(b->r, b->account, m).receivers;
        if (++at == n)
            at = 0;
        if (i % 512 == 511)
            route_flush(b->r);
    }
    route_flush(b->r);
    ASSERT(got >= PER_ROUND);
    return (double) (now_ns() - began) / PER_ROUND;
}

static void name_subjects(unsigned n, const char *format)
{
    for (unsigned i = 0; i < n; i++) {
        snprintf(names[i], sizeof(names[i]), "%s.%u", format, i);
        subjects[i] = str_of(names[i]);
    }
}

static double best_publish_how(struct bench *b, unsigned n, enum how how)
{
    double best = 1e9;

    for (unsigned i = 0; i < ROUNDS; i++) {
        double t = publish_round(b, n, how);
        best = t < best ? t : best;
    }
    return best;
}

/* Without the loop that makes the messages. */
static double best_publish(struct bench *b, unsigned n)
{
    return best_publish_how(b, n, ROUTE) - best_publish_how(b, n, BASE);
}

static void report(const char *what, double ns)
{
    printf("%-58s %8.1f ns\n", what, ns);
}

static void bench_same(struct bench *b)
{
    struct counter c;

    name_subjects(1, "orders.new");
    subscribe(b, &c, "orders.>", NULL);
    report("loop that makes the messages (taken off below)", best_publish_how(b, 1, BASE));
    report("publish, same subject, one local sink", best_publish(b, 1));
    unsubscribe(b, &c);
}

static void bench_64(struct bench *b)
{
    static struct counter c[64];

    name_subjects(64, "orders.new");
    subscribe(b, &c[0], "orders.>", NULL);
    report("publish, 64 subjects in turn, one wildcard sink", best_publish(b, 64));
    unsubscribe(b, &c[0]);
    for (unsigned i = 0; i < 64; i++) {
        snprintf(names[i], sizeof(names[i]), "p%u.%u", i, i);
        subjects[i] = str_of(names[i]);
    }
    subscribe(b, &c[0], ">", NULL);
    report("publish, 64 prefixes in turn, one wildcard sink", best_publish(b, 64));
    unsubscribe(b, &c[0]);
    name_subjects(64, "orders.new");
    for (unsigned i = 0; i < 64; i++)
        subscribe(b, &c[i], names[i], NULL);
    report("publish, 64 literal subjects in turn, a sink each", best_publish(b, 64));
    for (unsigned i = 0; i < 64; i++)
        unsubscribe(b, &c[i]);
}

static void bench_fan_out(struct bench *b)
{
    static const unsigned widths[] = {2, 4, 5, 64};
    static struct counter c[64];
    double t[ARRAY_LEN(widths)];
    char what[64];

    name_subjects(1, "fan");
    for (unsigned k = 0; k < ARRAY_LEN(widths); k++) {
        for (unsigned i = 0; i < widths[k]; i++)
            subscribe(b, &c[i], "fan.*", NULL);
        t[k] = best_publish(b, 1);
        for (unsigned i = 0; i < widths[k]; i++)
            unsubscribe(b, &c[i]);
        snprintf(what, sizeof(what), "publish, fan-out to %u sinks", widths[k]);
        report(what, t[k]);
    }
    report("  each sink more", (t[3] - t[1]) / 60);
}

static void bench_queue(struct bench *b)
{
    struct counter c[4];

    name_subjects(1, "work");
    for (unsigned i = 0; i < 4; i++)
        subscribe(b, &c[i], "work.*", "q");
    report("publish, queue group of 4", best_publish(b, 1));
    for (unsigned i = 0; i < 4; i++)
        unsubscribe(b, &c[i]);
}

static void bench_remote(struct bench *b)
{
    struct interest_spec spec = {.pattern = STR("far.>"), .worker = 1, .sink = 1};
    struct interest_sub *sub = interest_add(b->account->interest, &spec);

    name_subjects(1, "far");
    report("publish, one other worker (encoding only)", best_publish(b, 1));
    interest_remove(b->account->interest, sub);
}

static void bench_js(struct bench *b);

static bool resolve(void *ctx, struct account *a, struct str subject, struct route_target *out)
{
    (void) a;
    (void) subject;
    *out = (struct route_target){.sink = ((struct counter *) ctx)->sink.self, .prefix = 22};
    return true;
}

static void bench_js(struct bench *b)
{
    struct counter c;

    name_subjects(1, "$JS.ACK.ORDERS.worker.1.1234.1234.1700000000000000000");
    subscribe(b, &c, "unused", NULL);
    router_set_resolver(b->r, resolve, &c);
    report("publish of an ack, direct target (without parsing)", best_publish(b, 1));
    router_set_resolver(b->r, NULL, NULL);
    unsubscribe(b, &c);
}

/* ---- holds ----------------------------------------------------------------------------------- */

#define ACKS 4096u

/* PubAcks of one client to unique replies; clients: how many take turns. */
static double hold_round(struct bench *b, unsigned clients, double *release)
{
    static char to[ACKS][48];
    static const char ack[] = "{\"stream\":\"ORDERS\",\"seq\":123456789}";
    uint64_t adding = 0, releasing = 0;

    for (unsigned i = 0; i < ACKS; i++)
        snprintf(to[i], sizeof(to[i]), "_INBOX.AbCdEfGhIjKlMnOpQr%04u.%08x", i % clients, i * 7919);
    for (unsigned round = 0; round < 10; round++) {
        struct hold *h = hold_open(b->r, b->account);
        uint64_t began = now_ns(), added;
        for (unsigned i = 0; i < ACKS; i++)
            hold_add(h, str_from(to[i], 38), STR_NONE, str_from(ack, sizeof(ack) - 1));
        added = now_ns();
        hold_release(h);
        adding += added - began;
        releasing += now_ns() - added;
    }
    *release = (double) releasing / (10.0 * ACKS);
    return (double) adding / (10.0 * ACKS);
}

static void bench_hold(struct bench *b, unsigned clients)
{
    static struct counter c[100];
    double best = 1e9, release = 0;
    char pattern[64], what[64];

    for (unsigned i = 0; i < clients; i++) {
        snprintf(pattern, sizeof(pattern), "_INBOX.AbCdEfGhIjKlMnOpQr%04u.*", i);
        subscribe(b, &c[i], pattern, NULL);
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        double r, t = hold_round(b, clients, &r);
        if (t < best) {
            best = t;
            release = r;
        }
    }
    snprintf(what, sizeof(what), "hold_add of a PubAck, %u clients in turn", clients);
    report(what, best);
    report("  hold_release, each", release);
    for (unsigned i = 0; i < clients; i++)
        unsubscribe(b, &c[i]);
}

static void bench_hold_one(struct bench *b)
{
    bench_hold(b, 1);
}

static void bench_hold_100(struct bench *b)
{
    bench_hold(b, 100);
}

/* ---- interest -------------------------------------------------------------------------------- */

#define MILLION 1000000u

static void bench_million(struct bench *b)
{
    struct interest_sub **subs = mem_array(MILLION, sizeof(*subs));
    struct interest_answer a = {0};
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd, after;
    char name[48];
    uint64_t began = now_ns();

    for (unsigned i = 0; i < MILLION; i++) {
        snprintf(name, sizeof(name), "devices.%u.temperature", i);
        subs[i] = interest_add(b->account->interest,
                               &(struct interest_spec){.pattern = str_of(name), .sink = 1 + i});
    }
    report("interest_add, 1 M literals of 3 tokens, 2 new each",
           (double) (now_ns() - began) / MILLION);
    after = mallinfo2().uordblks + mallinfo2().hblkhd;
    printf("  memory a subscription, allocator included: %.0f bytes\n",
           (double) (after - before) / MILLION);
    began = now_ns();
    for (unsigned i = 0; i < MILLION; i++) {
        snprintf(name, sizeof(name), "devices.%u.temperature",
                 (unsigned) prng_below(&b->prng, MILLION));
        interest_match(b->account->interest, str_of(name), &a);
        ASSERT(a.nhits == 1);
    }
    report("interest_match, random of them (100 ns are snprintf)",
           (double) (now_ns() - began) / MILLION);
    began = now_ns();
    for (unsigned i = 0; i < MILLION; i++)
        interest_remove(b->account->interest, subs[i]);
    report("interest_remove", (double) (now_ns() - began) / MILLION);
    interest_answer_free(&a);
    mem_free(subs);
}

static void bench_million_flat(struct bench *b)
{
    struct interest_sub **subs = mem_array(MILLION, sizeof(*subs));
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd, after;
    char name[48];
    uint64_t began = now_ns();

    for (unsigned i = 0; i < MILLION; i++) {
        snprintf(name, sizeof(name), "devices.%u", i);
        subs[i] = interest_add(b->account->interest,
                               &(struct interest_spec){.pattern = str_of(name), .sink = 1 + i});
    }
    report("interest_add, 1 M literals, 1 new token each", (double) (now_ns() - began) / MILLION);
    after = mallinfo2().uordblks + mallinfo2().hblkhd;
    printf("  memory a subscription, allocator included: %.0f bytes\n",
           (double) (after - before) / MILLION);
    for (unsigned i = 0; i < MILLION; i++)
        interest_remove(b->account->interest, subs[i]);
    mem_free(subs);
}

/* Random subjects: under a wildcard they share one entry; with a literal among them each asks the
 * trie. */
static void bench_random(struct bench *b)
{
    struct counter c, d;
    static char text[65536][24];
    struct msg m = {.payload = STR("x")};

    subscribe(b, &c, "orders.>", NULL);
    for (unsigned i = 0; i < 65536; i++)
        snprintf(text[i], sizeof(text[i]), "orders.%u", (unsigned) prng_below(&b->prng, MILLION));
    for (unsigned pass = 0; pass < 2; pass++) {
        uint64_t began = now_ns();
        for (unsigned i = 0; i < MILLION; i++) {
            m.subject = str_from(text[i % 65536], strlen(text[i % 65536]));
            route_publish(b->r, b->account, &m);
            if (i % 512 == 511)
                route_flush(b->r);
        }
        route_flush(b->r);
        report(pass == 0 ? "publish, random subjects below one wildcard"
                         : "publish, random subjects beside a literal (trie)",
               (double) (now_ns() - began) / MILLION);
        if (pass == 0)
            subscribe(b, &d, "orders.literal", NULL);
    }
    unsubscribe(b, &c);
    unsubscribe(b, &d);
}

static const struct {
    const char *name;
    void (*run)(struct bench *b);
} benches[] = {
    {"same", bench_same},         {"64", bench_64},
    {"fan", bench_fan_out},       {"queue", bench_queue},
    {"remote", bench_remote},     {"js", bench_js},
    {"hold", bench_hold_one},     {"hold100", bench_hold_100},
    {"random", bench_random},     {"million", bench_million},
    {"flat", bench_million_flat},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; i < ARRAY_LEN(benches); i++) {
        struct bench b = {0};
        if (argc > 1 && strcmp(argv[1], benches[i].name) != 0)
            continue;
        open_bench(&b);
        benches[i].run(&b);
        close_bench(&b);
    }
    return 0;
}
