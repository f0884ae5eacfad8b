/*
 * bench_parse.c - what one operation costs: parse and write, in ns per operation.
 *
 * Not a test. The input is 64 KiB of equal operations, as one receive brings them, and stays in the
 * first-level and second-level caches, as received bytes do. Prints the best of several rounds,
 * because the machine is shared.
 */
#include "lib/wire/ack_subject.h"
#include "lib/wire/nats_parse.h"
#include "lib/wire/nats_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INPUT_BYTES 65536u
/* Of operations that differ: more than a branch predictor remembers. */
#define MIXED_BYTES 1048576u
#define ROUNDS 400u

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

static uint64_t eat(const struct nats_op *op)
{
    return op->subject.n + op->body.n + op->reply.n + (unsigned char) op->body.p[0];
}

/* An input of INPUT_BYTES and how many operations it holds. */
struct input {
    char *bytes;
    size_t n;
    size_t ops;
};

static void add_op(struct input *in, const char *line, size_t body_n)
{
    size_t line_n = strlen(line);
    memcpy(in->bytes + in->n, line, line_n);
    memset(in->bytes + in->n + line_n, 'x', body_n);
    memcpy(in->bytes + in->n + line_n + body_n, "\r\n", 2);
    in->n += line_n + body_n + 2;
    in->ops++;
}

static void time_parse(const char *what, enum nats_role role, struct input *input)
{
    uint64_t sum = 0;
    double best = 1e9;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct nats_parser p;
        struct nats_op op;
        struct str in = {input->bytes, input->n};
        size_t count = 0;
        nats_parser_init(&p, role, (struct nats_limits){4096, 1048576});
        p.headers = true;
        double start = now_ns();
        while (nats_parse(&p, &in, &op) == NATS_PARSE_OP) {
            sum += eat(&op);
            count++;
        }
        double ns = (now_ns() - start) / (double) input->ops;
        if (count != input->ops || p.error != 0) {
            fprintf(stderr, "%s: %zu of %zu operations\n", what, count, input->ops);
            exit(1);
        }
        best = ns < best ? ns : best;
        nats_parser_deinit(&p);
    }
    printf("%-44s %7.1f ns  %4zu bytes  (%llu)\n", what, best, input->n / input->ops,
           (unsigned long long) sum & 1);
    free(input->bytes);
}

static void bench_parse(const char *what, enum nats_role role, const char *line, size_t body_n)
{
    struct input in = {malloc(INPUT_BYTES), 0, 0};
    while (in.n + strlen(line) + body_n + 2 <= INPUT_BYTES)
        add_op(&in, line, body_n);
    time_parse(what, role, &in);
}

/* What prediction can not help with: every size and length of subject is as likely as any other. */
static void bench_mixed(const char *what, unsigned sizes, unsigned subjects)
{
    struct input in = {malloc(MIXED_BYTES), 0, 0};
    uint64_t random = 1;
    while (in.n + 2048 <= MIXED_BYTES) {
        char line[128];
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t body_n = 16 + (random >> 33) % sizes;
        int subject_n = 4 + (int) ((random >> 50) % subjects);
        snprintf(line, sizeof(line), "PUB %.*s %zu\r\n", subject_n,
                 "orders.new.and.many.others.too.for.ever", body_n);
        add_op(&in, line, body_n);
    }
    time_parse(what, NATS_ROLE_SERVER, &in);
}

#define WRITES 2000u

static void bench_write_msg(const char *what, size_t sid_n, size_t reply_n)
{
    char out[512], text[64];
    memset(text, 's', sizeof(text));
    struct nats_to to = {STR("orders.new"), {"12345", sid_n}, {text, reply_n}};
    double best = 1e9;
    size_t sum = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        for (unsigned i = 0; i < WRITES; i++) {
            sum += nats_write_msg(out, &to, 128 + (i & 7));
            __asm__ volatile("" : : "r"(out) : "memory");
        }
        double ns = (now_ns() - start) / WRITES;
        best = ns < best ? ns : best;
    }
    printf("%-44s %7.1f ns  (%zu)\n", what, best, sum & 1);
}

static void bench_ack(void)
{
    char out[256], prefix[64];
    size_t prefix_n = ack_prefix_write(prefix, STR("ORDERS"), STR("worker"));
    struct ack_info info = {1, 1234567, 1234567, 1763700000123456789, 54321};
    struct ack_subject parsed = {0};
    double best_write = 1e9, best_parse = 1e9;
    size_t n = 0;
    uint64_t sum = 0;
    memcpy(out, prefix, prefix_n);
    for (unsigned round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        for (unsigned i = 0; i < WRITES; i++) {
            info.stream_seq++;
            info.consumer_seq++;
            n = ack_subject_write(out, str_from(prefix, prefix_n), &info);
            __asm__ volatile("" : : "r"(out) : "memory");
        }
        double mid = now_ns();
        for (unsigned i = 0; i < WRITES; i++) {
            sum += ack_subject_parse(str_from(out, n), &parsed);
            sum += parsed.info.stream_seq;
            __asm__ volatile("" : : "r"(out) : "memory");
        }
        double end = now_ns();
        best_write = (mid - start) / WRITES < best_write ? (mid - start) / WRITES : best_write;
        best_parse = (end - mid) / WRITES < best_parse ? (end - mid) / WRITES : best_parse;
    }
    printf("%-44s %7.1f ns\n", "write ack subject", best_write);
    printf("%-44s %7.1f ns  (%llu)\n", "parse ack subject", best_parse,
           (unsigned long long) sum & 1);
}

int main(void)
{
    bench_parse("PUB 16 B", NATS_ROLE_SERVER, "PUB orders.new 16\r\n", 16);
    bench_parse("PUB 128 B", NATS_ROLE_SERVER, "PUB orders.new 128\r\n", 128);
    bench_parse("PUB 1024 B", NATS_ROLE_SERVER, "PUB orders.new 1024\r\n", 1024);
    bench_parse("PUB with reply 128 B", NATS_ROLE_SERVER,
                "PUB orders.new _INBOX.AbCdEfGhIjKlMnOpQrStUv.wxyz1234 128\r\n", 128);
    bench_parse("PUB to an ack subject", NATS_ROLE_SERVER,
                "PUB $JS.ACK.ORDERS.worker.1.1234567.1234567.1763700000123456789.54321 4\r\n", 4);
    bench_parse("HPUB 128 B", NATS_ROLE_SERVER, "HPUB orders.new 32 128\r\n", 128);
    bench_parse("MSG 128 B", NATS_ROLE_CLIENT, "MSG orders.new 1 128\r\n", 128);
    bench_parse(
        "MSG with ack subject 128 B", NATS_ROLE_CLIENT,
        "MSG orders.new 1 $JS.ACK.ORDERS.worker.1.1234567.1234567.1763700000123456789.54321 "
        "128\r\n",
        128);
    bench_parse("PUB 128 B, two blanks (slow path)", NATS_ROLE_SERVER, "PUB orders.new  128\r\n",
                128);
    bench_mixed("PUB of 16 to 31 B", 16, 1);
    bench_mixed("PUB of 16 to 1015 B", 1000, 1);
    bench_mixed("PUB of 16 to 1015 B, subjects of 4 to 33", 1000, 30);
    bench_write_msg("write MSG", 1, 0);
    bench_write_msg("write MSG with 5-digit sid", 5, 0);
    bench_write_msg("write MSG with 36-byte reply", 1, 36);
    bench_ack();
    return 0;
}
