/*
 * Every way of cutting the same bytes gives the same operations, and nothing outside of the bytes
 * is read.
 */
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "tests/lib/runner.h"
#include "tests/unit/wire/guard.h"
#include "tests/unit/wire/transcript.h"

#include <stdio.h>
#include <stdlib.h>

static const struct nats_limits limits = {.max_control_line = 256, .max_payload = 100000};

struct script {
    const char *what;
    enum nats_role role;
    const char *bytes;
};

#define INBOX "_INBOX.AbCdEfGhIjKlMnOpQrStUv.wxyz1234"
#define ACK "$JS.ACK.ORDERS.worker.1.1234567.1234567.1763700000123456789.54321"
#define LONG_SUBJECT                                                                               \
    "aaaaaaaaa.bbbbbbbbb.ccccccccc.ddddddddd.eeeeeeeee.fffffffff.ggggggggg.hhhhhhhhh.iiiiiiiii"

static const struct script scripts[] = {
    {"a client", NATS_ROLE_SERVER,
     "CONNECT {\"verbose\":false}\r\nPING\r\nSUB a.> 1\r\nSUB b q 22\r\nPUB a 5\r\nhello\r\n"
     "PUB a " INBOX " 7\r\nwith\r\nx\r\nHPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\nUNSUB 1 5\r\n"
     "PUB " ACK " 4\r\n+ACK\r\nPUB " LONG_SUBJECT " " LONG_SUBJECT
     " 0\r\n\r\nUNSUB 22\r\nPONG\r\n"},
    {"a client with odd blanks", NATS_ROLE_SERVER,
     "ping  \r  \nPUB\t a\t\t2 \r\n\r\n\r\npub a  b 3\nPUB\r\nhPuB a 1 1 \nx\r\nsub \ta  q\t1\n"
     "+ok\r\n-err 'x'\r\nUNSUB\t1  \r\n"},
    {"a server", NATS_ROLE_CLIENT,
     "INFO {\"server_id\":\"N\",\"max_payload\":1048576}\r\nPONG\r\nMSG a 1 5\r\nhello\r\n"
     "MSG a 1 " ACK " 32\r\n01234567890123456789012345678901\r\nHMSG a 12 " INBOX " 12 12\r\n"
     "NATS/1.0\r\n\r\n\r\nHMSG a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n+OK\r\n-ERR 'Invalid "
     "Subject'\r\nMSG " LONG_SUBJECT " 1 0\r\n\r\nPING\r\n"},
    {"an unknown verb at the end", NATS_ROLE_SERVER, "PING\r\nPUB a 2\r\nhi\r\nPUBX a 2\r\n"},
    {"a bad size at the end", NATS_ROLE_SERVER, "PING\r\nPUB a 2\r\nhi\r\nPUB a 2x\r\nhi\r\n"},
    {"a body too long", NATS_ROLE_SERVER, "PUB a 2\r\nhi\r\nPUB a 2\r\nhi!\r\nPING\r\n"},
    {"a body ended by LF", NATS_ROLE_SERVER, "PUB a 2\r\nhi\r\nPUB a 2\r\nhi\n\nPING\r\n"},
    {"headers larger than all", NATS_ROLE_SERVER, "HPUB a 3 2\r\nhi\r\n"},
    {"too large", NATS_ROLE_SERVER, "PUB a 100001\r\nhi\r\n"},
};

#define SCRIPTS ((int) (sizeof(scripts) / sizeof(scripts[0])))

static char *whole(enum nats_role role, const char *bytes, size_t n)
{
    struct transcript t;
    transcript_init(&t, role, limits);
    transcript_feed(&t, bytes, n);
    transcript_end(&t);
    char *text = mem_strdup(buf_cstr(&t.text));
    transcript_deinit(&t);
    return text;
}

static void same(struct transcript *t, const char *want, const char *how)
{
    transcript_end(t);
    ck_assert_msg(strcmp(buf_cstr(&t->text), want) == 0, "%s gives:\n%swhole:\n%s", how,
                  buf_cstr(&t->text), want);
    transcript_deinit(t);
}

TEST(all_splits_in_three)
{
    const struct script *s = &scripts[i];
    size_t n = strlen(s->bytes);
    char *want = whole(s->role, s->bytes, n), how[64];
    ck_assert_uint_gt(strlen(want), 0);
    for (size_t a = 0; a <= n; a++) {
        for (size_t b = a; b <= n; b++) {
            struct transcript t;
            transcript_init(&t, s->role, limits);
            transcript_feed(&t, s->bytes, a);
            transcript_feed(&t, s->bytes + a, b - a);
            transcript_feed(&t, s->bytes + b, n - b);
            snprintf(how, sizeof(how), "cut at %zu and %zu", a, b);
            same(&t, want, how);
        }
    }
    mem_free(want);
}

TEST(pieces_of_one_size)
{
    const struct script *s = &scripts[i];
    size_t n = strlen(s->bytes);
    char *want = whole(s->role, s->bytes, n), how[64];
    for (size_t piece = 1; piece <= n; piece++) {
        struct transcript t;
        transcript_init(&t, s->role, limits);
        for (size_t at = 0; at < n; at += piece)
            transcript_feed(&t, s->bytes + at, n - at < piece ? n - at : piece);
        snprintf(how, sizeof(how), "pieces of %zu", piece);
        same(&t, want, how);
    }
    mem_free(want);
}

/* The same operations in front of each other operation: what one leaves behind does not touch the
 * next. */
TEST(every_prefix_is_cut_or_whole)
{
    const struct script *s = &scripts[i];
    size_t n = strlen(s->bytes);
    for (size_t a = 0; a <= n; a++) {
        char *want = whole(s->role, s->bytes, a);
        struct transcript t;
        transcript_init(&t, s->role, limits);
        for (size_t at = 0; at < a; at++)
            transcript_feed(&t, s->bytes + at, 1);
        same(&t, want, "byte by byte");
        mem_free(want);
    }
}

static char *large_message(size_t body_n, size_t *n)
{
    char line[64];
    int line_n = snprintf(line, sizeof(line), "HPUB big.one %u %zu\r\n", 100u, body_n);
    *n = (size_t) line_n + body_n + 2 + 6;
    char *bytes = mem_alloc(*n);
    memcpy(bytes, line, (size_t) line_n);
    for (size_t k = 0; k < body_n; k++)
        bytes[(size_t) line_n + k] = (char) ('a' + k % 26);
    memcpy(bytes + *n - 8, "\r\nPING\r\n", 8);
    return bytes;
}

/* Around the size from which the caller collects, cut at the interesting places. */
TEST(large_bodies)
{
    static const size_t sizes[] = {NATS_COLLECT_MIN - 1, NATS_COLLECT_MIN, NATS_COLLECT_MIN + 1,
                                   70000};
    size_t body_n = sizes[i], n;
    char *bytes = large_message(body_n, &n);
    size_t line_n = n - body_n - 8;
    char *want = whole(NATS_ROLE_SERVER, bytes, n);
    size_t cuts[] = {1,     5,     line_n - 1, line_n, line_n + 1, line_n + 1000, n - 10,
                     n - 9, n - 8, n - 7,      n - 6,  n - 5,      n - 1,         n};
    size_t count = sizeof(cuts) / sizeof(cuts[0]);
    for (size_t a = 0; a < count; a++) {
        for (size_t b = a; b < count; b++) {
            struct transcript t;
            transcript_init(&t, NATS_ROLE_SERVER, limits);
            transcript_feed(&t, bytes, cuts[a]);
            transcript_feed(&t, bytes + cuts[a], cuts[b] - cuts[a]);
            transcript_feed(&t, bytes + cuts[b], n - cuts[b]);
            bool body_cut = (cuts[a] >= line_n && cuts[a] < n - 6) ||
                            (cuts[b] >= line_n && cuts[b] < n - 6);
            ck_assert_uint_eq(t.collects, body_cut && body_n >= NATS_COLLECT_MIN);
            ck_assert_uint_le(t.most_bytes, NATS_COLLECT_MIN + 512);
            same(&t, want, "large");
        }
    }
    mem_free(want);
    mem_free(bytes);
}

/* A body that is collected ends wrong: found at the first wrong byte, with the other bytes in
 * place. */
TEST(large_body_ends_wrong)
{
    size_t n;
    char *bytes = large_message(20000, &n);
    bytes[n - 7 - i] = 'x'; /* LF or CR */
    for (size_t a = n - 20; a < n; a++) {
        struct transcript t;
        transcript_init(&t, NATS_ROLE_SERVER, limits);
        transcript_feed(&t, bytes, 1000);
        transcript_feed(&t, bytes + 1000, a - 1000);
        transcript_feed(&t, bytes + a, n - a);
        ck_assert_int_eq(t.parser.error, NATS_ERROR_BODY_END);
        ck_assert_uint_eq(t.ops, 0);
        transcript_deinit(&t);
    }
    mem_free(bytes);
}

/* Random messages, canonical or not, cut at random: also compares the fast with the full parser,
 * since whole input takes the one and small pieces take the other. */
TEST(random_messages_cut_at_random)
{
    static const char *const blanks[] = {" ", " ", " ", " ", "  ", "\t", " \t"};
    static const char *const ends[] = {"\r\n", "\r\n", "\r\n", "\n"};
    struct prng prng;
    prng_init(&prng, (uint64_t) i + 1);
    struct buf in = {0};
    for (unsigned m = 0; m < 40; m++) {
        bool header = prng_below(&prng, 3) == 0;
        uint64_t n = prng_below(&prng, prng_below(&prng, 20) == 0 ? 20000 : 200);
        buf_puts(&in, header ? "HPUB" : "PUB");
        buf_puts(&in, blanks[prng_below(&prng, 7)]);
        for (uint64_t k = prng_below(&prng, 80) + 1; k > 0; k--)
            buf_putc(&in, (char) ('a' + prng_below(&prng, 26)));
        buf_puts(&in, blanks[prng_below(&prng, 7)]);
        if (prng_below(&prng, 2) == 0)
            buf_printf(&in, "%s ", INBOX);
        if (header)
            buf_printf(&in, "%llu ", (unsigned long long) prng_below(&prng, n + 1));
        buf_printf(&in, "%llu", (unsigned long long) n);
        buf_puts(&in, ends[prng_below(&prng, 4)]);
        for (uint64_t k = 0; k < n; k++)
            buf_putc(&in, "\r\n PUBx"[prng_below(&prng, 7)]);
        buf_puts(&in, "\r\n");
    }
    char *want = whole(NATS_ROLE_SERVER, in.p, in.n);
    for (unsigned round = 0; round < 20; round++) {
        struct transcript t;
        uint64_t most = UINT64_C(1) << prng_below(&prng, 15);
        transcript_init(&t, NATS_ROLE_SERVER, limits);
        for (size_t at = 0; at < in.n;) {
            size_t piece = (size_t) prng_below(&prng, most) + 1;
            piece = piece > in.n - at ? in.n - at : piece;
            transcript_feed(&t, in.p + at, piece);
            at += piece;
        }
        ck_assert_uint_eq(t.ops, 40);
        same(&t, want, "random pieces");
    }
    mem_free(want);
    buf_free(&in);
}

/* Every suffix-less part of every script, ending where memory ends and beginning where it begins.
 */
TEST(reads_nothing_outside)
{
    const struct script *s = &scripts[i];
    size_t n = strlen(s->bytes);
    struct guard g;
    guard_init(&g, n);
    for (size_t from = 0; from < n; from++) {
        for (size_t len = 1; len <= n - from; len++) {
            for (unsigned side = 0; side < 2; side++) {
                char *at = side == 0 ? g.end - len : g.start;
                memcpy(at, s->bytes + from, len);
                struct nats_parser p;
                struct nats_op op;
                struct str in = {at, len};
                nats_parser_init(&p, s->role, limits);
                p.headers = true;
                while (nats_parse(&p, &in, &op) == NATS_PARSE_OP)
                    ck_assert_uint_le((size_t) (in.p - at), len);
                nats_parser_deinit(&p);
            }
        }
    }
    guard_deinit(&g);
}

/* Subjects of every length put the end of the line at every place of a scan; all prefixes, at the
 * end of memory. */
TEST(lines_of_every_length_read_nothing_outside)
{
    struct guard g;
    guard_init(&g, 256);
    for (size_t subject_n = 1; subject_n < 100; subject_n++) {
        char bytes[128] = "PUB ";
        size_t n = 4 + subject_n;
        memset(bytes + 4, 's', subject_n);
        memcpy(bytes + n, " 3\r\nabc\r\n", 10);
        n += 9;
        for (size_t len = 1; len <= n; len++) {
            struct nats_parser p;
            struct nats_op op;
            struct str in = {g.end - len, len};
            memcpy(g.end - len, bytes, len);
            nats_parser_init(&p, NATS_ROLE_SERVER, limits);
            enum nats_parse said = nats_parse(&p, &in, &op);
            ck_assert_int_eq(said, len == n ? NATS_PARSE_OP : NATS_PARSE_MORE);
            nats_parser_deinit(&p);
        }
    }
    guard_deinit(&g);
}

static const struct runner_case cases[] = {
    RUN_LOOP(all_splits_in_three, 0, SCRIPTS),
    RUN_LOOP(pieces_of_one_size, 0, SCRIPTS),
    RUN_LOOP(every_prefix_is_cut_or_whole, 0, SCRIPTS),
    RUN_LOOP(large_bodies, 0, 4),
    RUN_LOOP(large_body_ends_wrong, 0, 2),
    RUN_LOOP(random_messages_cut_at_random, 0, 50),
    RUN(lines_of_every_length_read_nothing_outside),
    RUN_LOOP(reads_nothing_outside, 0, SCRIPTS),
};

RUNNER_MAIN("wire/nats_splits", cases)
