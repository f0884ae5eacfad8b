/* What the parser takes and refuses, by tables. Each line goes in whole and byte by byte. */
#include "lib/base/mem.h"
#include "tests/lib/runner.h"
#include "tests/unit/wire/transcript.h"

#include <stdio.h>

static const struct nats_limits limits = {.max_control_line = 64, .max_payload = 1000};

struct row {
    const char *in;
    const char *text; /* the transcript */
};

#define PUB_A "PUB args=a 2 subject=a reply= header= payload=hi\n"

static const struct row server_rows[] = {
    {"", ""},
    {"PUB a 2\r\nhi\r\n", PUB_A},
    {"PUB a 2\nhi\r\n", PUB_A},
    {"pUb a 2\r\nhi\r\n", PUB_A},
    {"PUB   a 2\r\nhi\r\n", PUB_A},
    {"PUB\ta 2\r\nhi\r\n", PUB_A},
    {"PUB \t a \t 2 \t\r\nhi\r\n", "PUB args=a \t 2 \t subject=a reply= header= payload=hi\n"},
    {"PUB a b 2\r\nhi\r\n", "PUB args=a b 2 subject=a reply=b header= payload=hi\n"},
    {"PUB a 0\r\n\r\n", "PUB args=a 0 subject=a reply= header= payload=\n"},
    {"PUB a 000000002\r\nhi\r\n", "PUB args=a 000000002 subject=a reply= header= payload=hi\n"},
    {"PUB a..*.> 2\r\n\r\n\r\n", "PUB args=a..*.> 2 subject=a..*.> reply= header= payload=\r\n\n"},
    {"PUB \x01\x7f\xff 1\r\nx\r\n",
     "PUB args=\x01\x7f\xff 1 subject=\x01\x7f\xff reply= header= payload=x\n"},
    {"PUB a 2\r\nhi\r\nPUB a 2\r\nhi\r\n", PUB_A PUB_A},
    {"HPUB a 3 5\r\nhdrhi\r\n", "HPUB args=a 3 5 subject=a reply= header=hdr payload=hi\n"},
    {"hpub a r 5 5\r\nhdrhi\r\n", "HPUB args=a r 5 5 subject=a reply=r header=hdrhi payload=\n"},
    {"HPUB a 0 0\r\n\r\n", "HPUB args=a 0 0 subject=a reply= header= payload=\n"},
    {"SUB a 1\r\n", "SUB args=a 1 subject=a queue= sid=1\n"},
    {"sub a.> q  sid-x \n", "SUB args=a.> q  sid-x  subject=a.> queue=q sid=sid-x\n"},
    {"UNSUB 1\r\n", "UNSUB args=1 sid=1 max=0\n"},
    {"UNSUB 1 \r\n", "UNSUB args=1  sid=1 max=0\n"},
    {"unsub x 5\r\n", "UNSUB args=x 5 sid=x max=5\n"},
    {"UNSUB x 999999999\r\n", "UNSUB args=x 999999999 sid=x max=999999999\n"},
    {"UNSUB x many\r\n", "UNSUB args=x many sid=x max=0\n"},
    {"UNSUB x 1000000000\r\n", "UNSUB args=x 1000000000 sid=x max=0\n"},
    {"PING\r\n", "PING args=\n"},
    {"ping\n", "PING args=\n"},
    {"PING  \r  \n", "PING args=\r  \n"},
    {"PONG \r\n", "PONG args=\n"},
    {"CONNECT {\"a\":1}\r\n", "CONNECT args={\"a\":1}\n"},
    {"connect{ }\r\n", "CONNECT args={ }\n"},
    {"CONNECT\r\n", "CONNECT args=\n"},
    {"INFO {}\r\n", "INFO args={}\n"},
    {"+OK\r\n+ok\n", "+OK args=\n+OK args=\n"},
    {"-ERR 'x y'\r\n", "-ERR args='x y'\n"},
    {"-err '\r\n", "-ERR args='\n"},
    {"PIN", "cut\n"},
    {"PING\r", "cut\n"},
    {"PUB a 2\r\nhi", "cut\n"},
    {"PUB a 2\r\nhi\r", "cut\n"},
};

#define UNKNOWN "error: parser ERROR\n"
#define PUB_ARGS "error: processPub Parse Error\n"
#define HPUB_ARGS "error: processHeaderPub Parse Error\n"
#define PUB_SIZE "error: processPub Bad or Missing Size\n"
#define TOO_LONG "error: maximum control line exceeded\n"
#define TEN "xxxxxxxxxx"

static const struct row server_rejects[] = {
    {"\r\n", UNKNOWN},
    {" PING\r\n", UNKNOWN},
    {"G", UNKNOWN},
    {"GET / HTTP/1.1\r\n", UNKNOWN},
    {"PINX\r\n", UNKNOWN},
    {"PUB\r\n", UNKNOWN},
    {"PUBa 2\r\nhi\r\n", UNKNOWN},
    {"HPUB\r\n", UNKNOWN},
    {"SUBx", UNKNOWN},
    {"UNSUB\n", UNKNOWN},
    {"-ERR\r\n", UNKNOWN},
    {"MSG a 1 2\r\nhi\r\n", UNKNOWN},
    {"HMSG a 1 2 2\r\nhi\r\n", UNKNOWN},
    {"RS+ a b\r\n", UNKNOWN},
    {"RS- a b\r\n", UNKNOWN},
    {"LS+ a\r\n", UNKNOWN},
    {"LMSG a 1\r\nx\r\n", UNKNOWN},
    {"RMSG a b 1\r\nx\r\n", UNKNOWN},
    {"A+ a\r\n", UNKNOWN},
    {"A- a\r\n", UNKNOWN},
    {"PUB \r\n", PUB_ARGS},
    {"PUB a\r\n", PUB_ARGS},
    {"PUB a b c 2\r\nhi\r\n", PUB_ARGS},
    {"PUB a b c d e f g 2\r\nhi\r\n", PUB_ARGS},
    {"PUB a\rb 2\r\nhi\r\n", PUB_ARGS},
    {"PUB a 2\r\r\nhi\r\n", PUB_ARGS},
    {"PUB a b\r\n", PUB_SIZE},
    {"PUB a -1\r\n", PUB_SIZE},
    {"PUB a +1\r\n", PUB_SIZE},
    {"PUB a 2x\r\nhi\r\n", PUB_SIZE},
    {"PUB a 0000000002\r\nhi\r\n", PUB_SIZE},
    {"PUB a 4294967298\r\nhi\r\n", PUB_SIZE},
    {"PUB a 18446744073709551618\r\nhi\r\n", PUB_SIZE},
    {"PUB a 1001\r\n", "error: maximum payload exceeded\n"},
    {"PUB a 999999999\r\n", "error: maximum payload exceeded\n"},
    {"HPUB a 0 1001\r\n", "error: maximum payload exceeded\n"},
    {"PUB a 2\r\nhi\n", UNKNOWN},
    {"PUB a 2\r\nhi\r\r", UNKNOWN},
    {"PUB a 2\r\nhix", UNKNOWN},
    {"PUB a 0\r\n\n", UNKNOWN},
    {"HPUB a 2\r\n", HPUB_ARGS},
    {"HPUB a\r\n", HPUB_ARGS},
    {"HPUB a b c 1 2\r\n", HPUB_ARGS},
    {"HPUB a x 5\r\n", "error: processHeaderPub Bad or Missing Header Size\n"},
    {"HPUB a 0000000005 5\r\n", "error: processHeaderPub Bad or Missing Header Size\n"},
    {"HPUB a 5 x\r\n", "error: processHeaderPub Bad or Missing Total Size\n"},
    {"HPUB a 6 5\r\n", "error: processHeaderPub Header Size larger then TotalSize\n"},
    {"HPUB a 6 5\r\nhello\r\n", "error: processHeaderPub Header Size larger then TotalSize\n"},
    {"HPUB a 2 2\r\nhi\n", UNKNOWN},
    {"PUB a 2\rxhi\r\n", PUB_ARGS},
    {"SUB a\r\n", "error: processSub Parse Error\n"},
    {"SUB a b c d\r\n", "error: processSub Parse Error\n"},
    {"SUB \r\n", "error: processSub Parse Error\n"},
    {"UNSUB \r\n", "error: processUnsub Parse Error\n"},
    {"UNSUB 1 2 3\r\n", "error: processUnsub Parse Error\n"},
    {"PING\r\nPUB a 2\r\nhi\r\nBAD", "PING args=\n" PUB_A UNKNOWN},
    {"PING " TEN TEN TEN TEN TEN TEN "xxxxx\r\n", TOO_LONG},
    {"PING " TEN TEN TEN TEN TEN TEN "xxxxx", TOO_LONG},
    {"SUB a           " TEN TEN TEN TEN TEN " 1\r\n",
     "SUB args=a           " TEN TEN TEN TEN TEN " 1 subject=a queue=" TEN TEN TEN TEN TEN
     " sid=1\n"},
    {"SUB a            " TEN TEN TEN TEN TEN " 1\r\n", TOO_LONG},
    {"PUB " TEN TEN TEN TEN TEN TEN "xx 2\r\nhi\r\n",
     "PUB args=" TEN TEN TEN TEN TEN TEN "xx 2 subject=" TEN TEN TEN TEN TEN TEN
     "xx reply= header= payload=hi\n"},
    {"PUB " TEN TEN TEN TEN TEN TEN "xxx 2\r\nhi\r\n", TOO_LONG},
    {"PUB                                                                                  ",
     TOO_LONG},
};

static const struct row client_rows[] = {
    {"INFO {\"x\":1}\r\n", "INFO args={\"x\":1}\n"},
    {"MSG a 1 2\r\nhi\r\n", "MSG args=a 1 2 subject=a sid=1 reply= header= payload=hi\n"},
    {"msg a 1 r 2\nhi\r\n", "MSG args=a 1 r 2 subject=a sid=1 reply=r header= payload=hi\n"},
    {"HMSG a 1 2 2\r\nhi\r\n", "HMSG args=a 1 2 2 subject=a sid=1 reply= header=hi payload=\n"},
    {"HMSG a 1 r 0 2\r\nhi\r\n",
     "HMSG args=a 1 r 0 2 subject=a sid=1 reply=r header= payload=hi\n"},
    {"PING\r\nPONG\r\n+OK\r\n-ERR 'no'\r\n", "PING args=\nPONG args=\n+OK args=\n-ERR args='no'\n"},
    {"MSG a 1\r\n", "error: bad arguments of MSG\n"},
    {"MSG a 1 2 3 4\r\n", "error: bad arguments of MSG\n"},
    {"MSG a 1 x\r\n", "error: bad size of MSG\n"},
    {"HMSG a 1 2\r\n", "error: bad arguments of HMSG\n"},
    {"HMSG a 1 b c 1 2\r\n", "error: bad arguments of HMSG\n"},
    {"HMSG a 1 x 2\r\n", "error: bad header or total size of HMSG\n"},
    {"HMSG a 1 2 x\r\n", "error: bad header or total size of HMSG\n"},
    {"HMSG a 1 3 2\r\n", "error: bad header or total size of HMSG\n"},
    {"MSG a 1 1001\r\n", "error: maximum payload exceeded\n"},
    {"PUB a 2\r\nhi\r\n", UNKNOWN},
    {"HPUB a 2 2\r\nhi\r\n", UNKNOWN},
    {"SUB a 1\r\n", UNKNOWN},
    {"CONNECT {}\r\n", UNKNOWN},
};

#define LSUB "error: processLeafSub Parse Error\n"
#define LMSG "error: processLeafMsgArgs Parse Error\n"

static const struct row leaf_rows[] = {
    {"LS+ a.>\r\n", "LS+ args=a.> subject=a.> queue= weight=1\n"},
    {"LS+ a q 7\r\n", "LS+ args=a q 7 subject=a queue=q weight=7\n"},
    {"ls+ a q 0\r\n", "LS+ args=a q 0 subject=a queue=q weight=1\n"},
    {"LS- a\r\nLS- a q\r\n",
     "LS- args=a subject=a queue= weight=1\nLS- args=a q subject=a queue=q weight=1\n"},
    {"LMSG a 2\r\nhi\r\n", "LMSG args=a 2 subject=a queues= reply= header= payload=hi\n"},
    {"LMSG a r 2\r\nhi\r\n", "LMSG args=a r 2 subject=a queues= reply=r header= payload=hi\n"},
    {"LMSG a | q 2\r\nhi\r\n", "LMSG args=a | q 2 subject=a queues=q reply= header= payload=hi\n"},
    {"LMSG a + r q  p 2\r\nhi\r\n",
     "LMSG args=a + r q  p 2 subject=a queues=q  p reply=r header= payload=hi\n"},
    {"LMSG a 0\r\n\r\n", "LMSG args=a 0 subject=a queues= reply= header= payload=\n"},
    {"PING\r\nPONG\r\nINFO {}\r\nCONNECT {}\r\n-ERR 'x'\r\n",
     "PING args=\nPONG args=\nINFO args={}\nCONNECT args={}\n-ERR args='x'\n"},
    {"LMSG a | q 2\r\nhi", "cut\n"},
    {"LS+\r\n", UNKNOWN},
    {"LS+ \r\n", LSUB},
    {"LS+ a q\r\n", LSUB},
    {"LS+ a q 1 2\r\n", LSUB},
    {"LS- a q 1\r\n", LSUB},
    {"LMSG a\r\n", LMSG},
    {"LMSG 2\r\n", LMSG},
    {"LMSG a x\r\n", LMSG},
    {"LMSG a x q 2\r\n", LMSG},
    {"LMSG a -1\r\n", LMSG},
    {"LMSG a\rb 2\r\n", LMSG},
    {"LMSG a 1001\r\n", "error: maximum payload exceeded\n"},
    {"MSG a 1 2\r\n", UNKNOWN},
    {"PUB a 2\r\n", UNKNOWN},
    {"SUB a 1\r\n", UNKNOWN},
    {"RS+ a b\r\n", UNKNOWN},
};

/* Behind the row's operations there is more input, so that the fast path can look 32 bytes ahead.
 */
static const char tail[] = "PING xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";

static void expect(enum nats_role role, const struct row *row, size_t n, size_t piece, bool more)
{
    struct transcript t;
    struct buf want = {0};
    transcript_init(&t, role, limits);
    struct buf in = {0};
    buf_put(&in, row->in, n);
    buf_puts(&want, row->text);
    bool ends = strstr(row->text, "error") == NULL && strstr(row->text, "cut") == NULL;
    if (more && ends) {
        buf_puts(&in, tail);
        buf_printf(&want, "PING args=%.*s\n", (int) sizeof(tail) - 8, tail + 5);
    } else if (more && strstr(row->text, "cut") == NULL) {
        buf_puts(&in, tail);
    }
    for (size_t at = 0; at < in.n; at += piece)
        transcript_feed(&t, in.p + at, in.n - at < piece ? in.n - at : piece);
    transcript_end(&t);
    ck_assert_msg(strcmp(buf_cstr(&t.text), buf_cstr(&want)) == 0,
                  "in pieces of %zu: \"%s\" gives:\n%swanted:\n%s", piece, row->in,
                  buf_cstr(&t.text), buf_cstr(&want));
    buf_free(&want);
    buf_free(&in);
    transcript_deinit(&t);
}

static void expect_all(enum nats_role role, const struct row *rows, size_t count)
{
    for (size_t r = 0; r < count; r++) {
        size_t n = strlen(rows[r].in);
        expect(role, &rows[r], n, 1, false);
        expect(role, &rows[r], n, 7, false);
        expect(role, &rows[r], n, 4096, false);
        expect(role, &rows[r], n, 4096, true);
        expect(role, &rows[r], n, 11, true);
    }
}

TEST(takes_what_clients_send)
{
    expect_all(NATS_ROLE_SERVER, server_rows, sizeof(server_rows) / sizeof(server_rows[0]));
}

TEST(refuses_what_clients_must_not_send)
{
    expect_all(NATS_ROLE_SERVER, server_rejects,
               sizeof(server_rejects) / sizeof(server_rejects[0]));
}

TEST(reads_what_leaf_nodes_send)
{
    expect_all(NATS_ROLE_LEAF, leaf_rows, sizeof(leaf_rows) / sizeof(leaf_rows[0]));
}

static const struct {
    const char *in, *text;
} leaf_headers[] = {
    {"HMSG a 3 5\r\nhdrhi\r\n", "HMSG args=a 3 5 subject=a queues= reply= header=hdr payload=hi\n"},
    {"HMSG a r 3 5\r\nhdrhi\r\n",
     "HMSG args=a r 3 5 subject=a queues= reply=r header=hdr payload=hi\n"},
    {"HMSG a + r q 3 5\r\nhdrhi\r\n",
     "HMSG args=a + r q 3 5 subject=a queues=q reply=r header=hdr payload=hi\n"},
    {"HMSG a | q p 3 5\r\nhdrhi\r\n",
     "HMSG args=a | q p 3 5 subject=a queues=q p reply= header=hdr payload=hi\n"},
    {"HMSG a 5\r\n", LMSG},
    {"HMSG a 6 5\r\n", LMSG},
    {"HMSG a x 5\r\n", LMSG},
};

TEST(reads_headers_of_leaf_nodes)
{
    for (size_t k = 0; k < sizeof(leaf_headers) / sizeof(leaf_headers[0]); k++)
        for (size_t piece = 1; piece < 20; piece += 6) {
            struct transcript t;
            size_t n = strlen(leaf_headers[k].in);
            transcript_init(&t, NATS_ROLE_LEAF, limits);
            t.parser.headers = true;
            for (size_t at = 0; at < n; at += piece)
                transcript_feed(&t, leaf_headers[k].in + at, n - at < piece ? n - at : piece);
            transcript_end(&t);
            ck_assert_str_eq(buf_cstr(&t.text), leaf_headers[k].text);
            transcript_deinit(&t);
        }
}

/* A NUL is no blank, although setting the case bit of the verb's four bytes makes it one. */
TEST(a_nul_is_no_blank)
{
    static const char in[] = "PUB\0a 40\r\n0123456789012345678901234567890123456789\r\n";
    struct transcript t;
    transcript_init(&t, NATS_ROLE_SERVER, limits);
    ck_assert(!transcript_feed(&t, in, sizeof(in) - 1));
    ck_assert_int_eq(t.parser.error, NATS_ERROR_UNKNOWN_OP);
    transcript_deinit(&t);
}

TEST(reads_what_servers_send)
{
    expect_all(NATS_ROLE_CLIENT, client_rows, sizeof(client_rows) / sizeof(client_rows[0]));
}

static enum nats_error error_of(struct nats_parser *p, const char *in)
{
    struct str s = str_of(in);
    struct nats_op op;
    enum nats_parse said;
    while ((said = nats_parse(p, &s, &op)) == NATS_PARSE_OP)
        ;
    enum nats_error error = (enum nats_error) p->error;
    ck_assert_int_eq(said == NATS_PARSE_ERROR, error != NATS_ERROR_NONE);
    nats_parser_check(p);
    return error;
}

TEST(headers_must_be_allowed)
{
    struct nats_parser p;
    nats_parser_init(&p, NATS_ROLE_SERVER, limits);
    ck_assert_int_eq(error_of(&p, "HPUB a 2 2\r\nhi\r\n"), NATS_ERROR_HEADERS_OFF);
    ck_assert_str_eq(nats_error_log(NATS_ERROR_HEADERS_OFF), "message headers not supported");
    nats_parser_deinit(&p);
    nats_parser_init(&p, NATS_ROLE_SERVER, limits);
    /* Long enough for the fast path, which must refuse it as well. */
    ck_assert_int_eq(error_of(&p, "HPUB a 2 40\r\nhi34567890123456789012345678901234567890\r\n"),
                     NATS_ERROR_HEADERS_OFF);
    nats_parser_deinit(&p);
    nats_parser_init(&p, NATS_ROLE_SERVER, limits);
    p.headers = true;
    ck_assert_int_eq(error_of(&p, "HPUB a 2 2\r\nhi\r\n"), NATS_ERROR_NONE);
    nats_parser_deinit(&p);
}

TEST(only_connect_until_allowed)
{
    struct nats_parser p;
    static const char *const others[] = {
        "P", "+OK\r\n", "INFO {}\r\n", "PUB a 40\r\n0123456789012345678901234567890123456789\r\n"};
    for (size_t k = 0; k < sizeof(others) / sizeof(others[0]); k++) {
        nats_parser_init(&p, NATS_ROLE_SERVER, limits);
        p.connect_only = true;
        ck_assert_int_eq(error_of(&p, others[k]), NATS_ERROR_NOT_CONNECT);
        nats_parser_deinit(&p);
    }
    nats_parser_init(&p, NATS_ROLE_SERVER, limits);
    p.connect_only = true;
    ck_assert_int_eq(error_of(&p, "c"), NATS_ERROR_NONE);
    ck_assert_int_eq(error_of(&p, "onnect {}\r\n"), NATS_ERROR_NONE);
    p.connect_only = false;
    ck_assert_int_eq(error_of(&p, "PING\r\n"), NATS_ERROR_NONE);
    nats_parser_deinit(&p);
}

TEST(an_error_stays)
{
    struct nats_parser p;
    nats_parser_init(&p, NATS_ROLE_SERVER, limits);
    ck_assert_int_eq(error_of(&p, "PUB a b\r\n"), NATS_ERROR_PUB_SIZE);
    ck_assert_int_eq(error_of(&p, "PING\r\n"), NATS_ERROR_PUB_SIZE);
    ck_assert_int_eq(error_of(&p, ""), NATS_ERROR_PUB_SIZE);
    nats_parser_deinit(&p);
}

TEST(an_error_shows_the_arguments)
{
    struct nats_parser p;
    struct nats_op op;
    struct str in = STR("PUB a.b c\r\n");
    nats_parser_init(&p, NATS_ROLE_SERVER, limits);
    ck_assert_int_eq(nats_parse(&p, &in, &op), NATS_PARSE_ERROR);
    ck_assert(str_eq(op.args, STR("a.b c")));
    nats_parser_deinit(&p);

    nats_parser_init(&p, NATS_ROLE_SERVER, limits);
    in = STR("PUB a.");
    ck_assert_int_eq(nats_parse(&p, &in, &op), NATS_PARSE_MORE);
    in = STR("b c\r\n");
    ck_assert_int_eq(nats_parse(&p, &in, &op), NATS_PARSE_ERROR);
    ck_assert(str_eq(op.args, STR("a.b c")));
    nats_parser_deinit(&p);

    nats_parser_init(&p, NATS_ROLE_SERVER, limits);
    in = STR("EHLO 0123456789012345678901234567890123456789\r\n");
    ck_assert_int_eq(nats_parse(&p, &in, &op), NATS_PARSE_ERROR);
    ck_assert(str_eq(op.args, STR("EHLO 012345678901234567890123456")));
    nats_parser_deinit(&p);
}

TEST(limits_may_change_between_operations)
{
    struct nats_parser p;
    nats_parser_init(&p, NATS_ROLE_SERVER, limits);
    ck_assert_int_eq(error_of(&p, "PUB a 10\r\n01234"), NATS_ERROR_NONE);
    p.max_payload = 5;
    p.max_control_line = 3;
    ck_assert_int_eq(error_of(&p, "56789\r\nPUB a 5\r\n01234\r\n"), NATS_ERROR_NONE);
    ck_assert_int_eq(error_of(&p, "PUB a 6\r\n"), NATS_ERROR_PAYLOAD);
    nats_parser_deinit(&p);
}

TEST(no_limit_on_payload)
{
    struct nats_parser p;
    struct nats_op op;
    struct str in = STR("PUB a 999999999\r\nx");
    nats_parser_init(&p, NATS_ROLE_SERVER, (struct nats_limits){64, NATS_NO_LIMIT});
    ck_assert_int_eq(nats_parse(&p, &in, &op), NATS_PARSE_COLLECT);
    ck_assert_uint_eq(op.body.n, 999999999);
    ck_assert_uint_eq(in.n, 1);
    /* The caller has no memory and closes. */
    nats_parser_deinit(&p);
}

/* The body is there, but may not be. */
TEST(a_whole_body_over_the_limit)
{
    static const char *const lines[] = {"PUB a 1001\r\n", "HPUB a 5 1001\r\n"};
    for (size_t k = 0; k < 2; k++) {
        struct transcript t;
        char in[1200];
        memset(in, 'x', sizeof(in));
        memcpy(in, lines[k], strlen(lines[k]));
        memcpy(in + strlen(lines[k]) + 1001, "\r\n", 2);
        transcript_init(&t, NATS_ROLE_SERVER, limits);
        ck_assert(!transcript_feed(&t, in, sizeof(in)));
        ck_assert_int_eq(t.parser.error, NATS_ERROR_PAYLOAD);
        ck_assert_uint_eq(t.ops, 0);
        transcript_deinit(&t);
    }
}

TEST(a_cut_line_keeps_no_more_than_the_limit)
{
    struct transcript t;
    char line[200];
    memset(line, 'x', sizeof(line));
    memcpy(line, "SUB ", 4);
    for (size_t piece = 1; piece < 80; piece += 13) {
        transcript_init(&t, NATS_ROLE_SERVER, limits);
        size_t fed = 0;
        while (fed < sizeof(line) && transcript_feed(&t, line + fed, piece))
            fed += piece;
        ck_assert_int_eq(t.parser.error, NATS_ERROR_CONTROL_LINE);
        ck_assert_uint_le(fed, 4 + limits.max_control_line);
        ck_assert_uint_le(t.most_bytes, 2048);
        transcript_deinit(&t);
    }
}

TEST(an_idle_parser_owns_no_memory)
{
    struct transcript t;
    transcript_init(&t, NATS_ROLE_SERVER, limits);
    ck_assert(transcript_feed(&t, "PUB a 5\r\nhel", 12));
    ck_assert_uint_gt(nats_parser_bytes(&t.parser), 0);
    ck_assert(transcript_feed(&t, "lo\r\n", 4));
    ck_assert_uint_eq(nats_parser_bytes(&t.parser), 0);
    ck_assert_uint_eq(t.ops, 1);
    transcript_deinit(&t);
}

/* The n-th allocation of a cut operation fails, for every n there is. */
TEST(short_memory_is_an_error)
{
    static const char *const pieces[] = {"SU", "B a", ".bbbbbbbbbbbbbb", " 1\r\nPUB a 20000\r\nx"};
    struct nats_limits wide = {.max_control_line = 5000, .max_payload = 30000};
    unsigned failed = 0;
    for (unsigned nth = 1; nth <= 4; nth++) {
        struct nats_parser p;
        struct nats_op op;
        nats_parser_init(&p, NATS_ROLE_SERVER, wide);
        mem_fail_after(nth);
        enum nats_parse said = NATS_PARSE_MORE;
        for (size_t k = 0; k < 4 && said != NATS_PARSE_ERROR; k++) {
            struct str in = str_of(pieces[k]);
            while ((said = nats_parse(&p, &in, &op)) == NATS_PARSE_OP)
                ;
        }
        mem_fail_after(0);
        if (said == NATS_PARSE_ERROR) {
            ck_assert_int_eq(p.error, NATS_ERROR_NO_MEMORY);
            failed++;
        } else {
            ck_assert_int_eq(said, NATS_PARSE_COLLECT);
        }
        nats_parser_check(&p);
        nats_parser_deinit(&p);
    }
    ck_assert_uint_eq(failed, 2);
}

TEST(texts_of_errors)
{
    ck_assert_str_eq(nats_error_wire(NATS_ERROR_UNKNOWN_OP), "Unknown Protocol Operation");
    ck_assert_str_eq(nats_error_wire(NATS_ERROR_BODY_END), "Unknown Protocol Operation");
    ck_assert_str_eq(nats_error_wire(NATS_ERROR_CONTROL_LINE), "maximum control line exceeded");
    ck_assert_str_eq(nats_error_wire(NATS_ERROR_PAYLOAD), "Maximum Payload Violation");
    ck_assert_str_eq(nats_error_wire(NATS_ERROR_NOT_CONNECT), "Authorization Violation");
    ck_assert_str_eq(nats_error_wire(NATS_ERROR_PUB_ARGS), "");
    ck_assert(str_eq(nats_err_text(STR("'a b'")), STR("a b")));
    ck_assert(str_eq(nats_err_text(STR(" 'a'b' ")), STR("a'b")));
    ck_assert(str_eq(nats_err_text(STR("a")), STR("a")));
    ck_assert(str_eq(nats_err_text(STR("'")), STR("'")));
}

static const struct runner_case cases[] = {
    RUN(takes_what_clients_send),
    RUN(refuses_what_clients_must_not_send),
    RUN(reads_what_leaf_nodes_send),
    RUN(reads_headers_of_leaf_nodes),
    RUN(a_nul_is_no_blank),
    RUN(reads_what_servers_send),
    RUN(headers_must_be_allowed),
    RUN(only_connect_until_allowed),
    RUN(an_error_stays),
    RUN(an_error_shows_the_arguments),
    RUN(limits_may_change_between_operations),
    RUN(no_limit_on_payload),
    RUN(a_whole_body_over_the_limit),
    RUN(a_cut_line_keeps_no_more_than_the_limit),
    RUN(an_idle_parser_owns_no_memory),
    RUN(short_memory_is_an_error),
    RUN(texts_of_errors),
};

RUNNER_MAIN("wire/nats_parse", cases)
