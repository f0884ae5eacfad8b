/* Every line as text, then read back by the parser, in memory that ends where the contract says. */
#include "lib/base/prng.h"
#include "lib/wire/nats_parse.h"
#include "lib/wire/nats_write.h"
#include "tests/lib/runner.h"
#include "tests/unit/wire/guard.h"

static void expect(const char *out, size_t n, const char *want)
{
    ck_assert_msg(n == strlen(want) && memcmp(out, want, n) == 0, "\"%.*s\", wanted \"%s\"",
                  (int) n, out, want);
}

TEST(messages)
{
    char out[256];
    struct nats_to to = {STR("a.b"), STR("12"), STR("_INBOX.x")};
    expect(out, nats_write_msg(out, &to, 0), "MSG a.b 12 _INBOX.x 0\r\n");
    expect(out, nats_write_hmsg(out, &to, 12, 4294967295u),
           "HMSG a.b 12 _INBOX.x 12 4294967295\r\n");
    expect(out, nats_write_pub(out, &to, 1048576), "PUB a.b _INBOX.x 1048576\r\n");
    expect(out, nats_write_hpub(out, &to, 99999999, 100000000),
           "HPUB a.b _INBOX.x 99999999 100000000\r\n");
    to.reply = STR_NONE;
    expect(out, nats_write_msg(out, &to, 10), "MSG a.b 12 10\r\n");
    expect(out, nats_write_hmsg(out, &to, 12, 12), "HMSG a.b 12 12 12\r\n");
    expect(out, nats_write_pub(out, &to, 7), "PUB a.b 7\r\n");
    expect(out, nats_write_hpub(out, &to, 12, 13), "HPUB a.b 12 13\r\n");
}

TEST(lines_between_servers)
{
    char out[256];
    struct nats_leaf_to to = {.subject = STR("a.b")};
    expect(out, nats_write_lmsg(out, &to, 0, 5), "LMSG a.b 5\r\n");
    expect(out, nats_write_lmsg(out, &to, 12, 17), "HMSG a.b 12 17\r\n");
    to.reply = STR("r");
    expect(out, nats_write_lmsg(out, &to, 0, 5), "LMSG a.b r 5\r\n");
    to.queues = STR("q p");
    expect(out, nats_write_lmsg(out, &to, 0, 5), "LMSG a.b + r q p 5\r\n");
    expect(out, nats_write_lmsg(out, &to, 12, 17), "HMSG a.b + r q p 12 17\r\n");
    to.reply = STR_NONE;
    expect(out, nats_write_lmsg(out, &to, 0, 5), "LMSG a.b | q p 5\r\n");
}

TEST(other_lines)
{
    char out[256];
    expect(out, nats_write_sub(out, STR("a.>"), STR_NONE, STR("1")), "SUB a.> 1\r\n");
    expect(out, nats_write_sub(out, STR("a.>"), STR("q"), STR("1")), "SUB a.> q 1\r\n");
    expect(out, nats_write_unsub(out, STR("1"), 0), "UNSUB 1\r\n");
    expect(out, nats_write_unsub(out, STR("1"), UINT64_MAX), "UNSUB 1 18446744073709551615\r\n");
    expect(out, nats_write_err(out, STR("Stale Connection")), "-ERR 'Stale Connection'\r\n");
    expect(out, nats_write_info(out, STR("{}")), "INFO {}\r\n");
    expect(out, nats_write_connect(out, STR("{}")), "CONNECT {}\r\n");
    ck_assert(str_eq(NATS_PING, STR("PING\r\n")));
    ck_assert(str_eq(NATS_PONG, STR("PONG\r\n")));
    ck_assert(str_eq(NATS_OK, STR("+OK\r\n")));
    ck_assert(str_eq(NATS_CRLF, STR("\r\n")));
}

TEST(status_blocks)
{
    char out[256];
    size_t n = nats_write_status(out, 100, STR("Idle Heartbeat"));
    n += nats_write_pair_u64(out + n, STR("Nats-Last-Consumer"), 12345678901);
    n += nats_write_pair(out + n, STR("K"), STR_NONE);
    n += nats_write_pairs_end(out + n);
    expect(out, n, "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 12345678901\r\nK: \r\n\r\n");
    n = nats_write_status(out, 503, STR_NONE);
    n += nats_write_pairs_end(out + n);
    expect(out, n, "NATS/1.0 503\r\n\r\n");
    n = nats_write_no_status(out);
    n += nats_write_pair(out + n, STR("Nats-Msg-Id"), STR("1"));
    n += nats_write_pairs_end(out + n);
    expect(out, n, "NATS/1.0\r\nNats-Msg-Id: 1\r\n\r\n");
}

TEST(no_responders)
{
    char out[256];
    struct nats_parser p;
    struct nats_op op;
    size_t n = nats_write_no_responders(out, STR("_INBOX.r"), STR("3"), STR("foo"));
    expect(out, n, "HMSG _INBOX.r 3 35 35\r\nNATS/1.0 503\r\nNats-Subject: foo\r\n\r\n\r\n");
    ck_assert_uint_le(n, nats_no_responders_max(8, 1, 3));
    struct str in = {out, n};
    nats_parser_init(&p, NATS_ROLE_CLIENT, (struct nats_limits){1000, 1000});
    ck_assert_int_eq(nats_parse(&p, &in, &op), NATS_PARSE_OP);
    ck_assert_uint_eq(op.header_n, op.body.n);
    ck_assert_uint_eq(in.n, 0);
    nats_parser_deinit(&p);
}

static struct str text(char *memory, size_t n, struct prng *prng)
{
    for (size_t k = 0; k < n; k++)
        memory[k] = (char) ('!' + prng_below(prng, 90));
    return str_from(memory, n);
}

static void read_back(enum nats_role role, const char *line, size_t n, struct nats_op *op)
{
    char whole[512];
    struct nats_parser p;
    struct str in = {whole, n + 2};
    memcpy(whole, line, n);
    memcpy(whole + n, "\r\n", 2);
    nats_parser_init(&p, role, (struct nats_limits){1000, 0});
    p.headers = true;
    ck_assert_int_eq(nats_parse(&p, &in, op), NATS_PARSE_OP);
    ck_assert_uint_eq(op->args.n, n - (size_t) (op->args.p - whole) - 2);
    /* The views point into `whole`; compared before it goes. */
    ck_assert_uint_eq(op->body.n, 0);
    nats_parser_deinit(&p);
}

/* Pieces of every length from 1 to 70 that touch memory's end on the side of the source, and out of
 * exactly the promised size on the other. */
TEST(every_length_reads_back)
{
    struct guard source[3], dest;
    struct prng prng;
    prng_init(&prng, (uint64_t) i);
    for (unsigned k = 0; k < 3; k++)
        guard_init(&source[k], 256);
    guard_init(&dest, 512);
    for (unsigned round = 0; round < 400; round++) {
        size_t n[3];
        struct str s[3];
        for (unsigned k = 0; k < 3; k++) {
            n[k] = (size_t) prng_below(&prng, 70) + (k != 2);
            s[k] = text(source[k].end - n[k], n[k], &prng);
        }
        struct nats_to to = {s[0], s[1], s[2]};
        struct nats_op op;
        char *out = dest.end - nats_msg_max(n[0], n[1], n[2]);
        bool header = prng_below(&prng, 2) == 0;
        size_t len = header ? nats_write_hmsg(out, &to, 0, 0) : nats_write_msg(out, &to, 0);
        ck_assert_uint_eq(len, (header ? 9 : 6) + n[0] + 1 + n[1] + (n[2] != 0 ? 1 + n[2] : 0) + 2);
        read_back(NATS_ROLE_CLIENT, out, len, &op);
        ck_assert_int_eq(op.verb, header ? NATS_VERB_HMSG : NATS_VERB_MSG);
        ck_assert_uint_eq(op.subject.n, n[0]);
        ck_assert_uint_eq(op.sid.n, n[1]);
        ck_assert_uint_eq(op.reply.n, n[2]);
        ck_assert(memcmp(out + (header ? 5 : 4), s[0].p, n[0]) == 0);
        ck_assert(memcmp(out + (header ? 6 : 5) + n[0], s[1].p, n[1]) == 0);
        if (n[2] != 0)
            ck_assert(memcmp(out + (header ? 7 : 6) + n[0] + n[1], s[2].p, n[2]) == 0);

        out = dest.end - nats_pub_max(n[0], n[2]);
        len = header ? nats_write_hpub(out, &to, 0, 0) : nats_write_pub(out, &to, 0);
        read_back(NATS_ROLE_SERVER, out, len, &op);
        ck_assert_uint_eq(op.reply.n, n[2]);
        out = dest.end - nats_sub_max(n[0], n[2], n[1]);
        len = nats_write_sub(out, s[0], s[2], s[1]);
        ck_assert(memcmp(out + len - n[1] - 2, s[1].p, n[1]) == 0);
        nats_write_unsub(dest.end - nats_unsub_max(n[1]), s[1], UINT64_MAX);
        nats_write_err(dest.end - nats_text_max(n[0]), s[0]);
        nats_write_connect(dest.end - nats_text_max(n[0]), s[0]);
        nats_write_status(dest.end - NATS_STATUS_MAX(n[0]), 999, s[0]);
        nats_write_pair(dest.end - NATS_PAIR_MAX(n[0], n[1]), s[0], s[1]);
        nats_write_pair_u64(dest.end - NATS_PAIR_MAX(n[0], FMT_U64_MAX), s[0], UINT64_MAX);
        nats_write_no_responders(dest.end - nats_no_responders_max(n[0], n[1], n[0]), s[0], s[1],
                                 s[0]);
    }
    for (unsigned k = 0; k < 3; k++)
        guard_deinit(&source[k]);
    guard_deinit(&dest);
}

static const struct runner_case cases[] = {
    RUN(messages),      RUN(lines_between_servers), RUN(other_lines),
    RUN(status_blocks), RUN(no_responders),         RUN_LOOP(every_length_reads_back, 0, 10),
};

RUNNER_MAIN("wire/nats_write", cases)
