/* test_proxy_header.c - both versions, cut at every byte; what is refused; what is none. */
#include "lib/wire/proxy_header.h"
#include "tests/lib/runner.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define V4 "\xc0\x00\x02\x01\xc0\x00\x02\x09\xdc\x04\x10\x7e"

static const struct {
    size_t n;
    const char *bytes;
    enum proxy_answer answer;
    size_t length;
    const char *host;
    unsigned port;
} rows[] = {
#define ROW(bytes, ...)                                                                            \
    {                                                                                              \
        sizeof(bytes) - 1, bytes, __VA_ARGS__                                                      \
    }
    ROW("PROXY TCP4 192.0.2.1 192.0.2.9 56324 4222\r\n", PROXY_OK, 43, "192.0.2.1", 56324),
    ROW("PROXY TCP6 2001:db8::1 ::1 1 2\r\nCONNECT", PROXY_OK, 32, "2001:db8::1", 1),
    ROW("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", PROXY_OK, 37, "192.0.2.1", 1),
    ROW("PROXY UNKNOWN\r\n", PROXY_OK, 15, "", 0),
    ROW("PROXY UNKNOWN what ever\r\n", PROXY_OK, 25, "", 0),
    ROW(SIG "\x21\x11\0\x0c" V4, PROXY_OK, 28, "192.0.2.1", 56324),
    ROW(SIG "\x21\x11\0\x0f" V4, PROXY_OK, 31, "192.0.2.1", 56324),
    ROW(SIG "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
            "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50\x00\x51",
        PROXY_OK, 52, "2001:db8::1", 80),
    ROW(SIG "\x20\x00\0\0", PROXY_OK, 16, "", 0),
    ROW(SIG "\x20\x00\0\x40", PROXY_OK, 80, "", 0),
    ROW(SIG "\x21\x01\0\x05", PROXY_OK, 21, "", 0),
    ROW("", PROXY_MORE, 0, "", 0),
    ROW("P", PROXY_MORE, 0, "", 0),
    ROW("PUB a 0\r\n", PROXY_NONE, 0, "", 0),
    ROW("CONNECT {}\r\n", PROXY_NONE, 0, "", 0),
    ROW("proxy TCP4", PROXY_NONE, 0, "", 0),
    ROW("\x16\x03\x01", PROXY_NONE, 0, "", 0),
    ROW("\r\nPING\r\n", PROXY_NONE, 0, "", 0),
    ROW("PROXY TCP4 192.0.2.1 192.0.2.9 56324\r\n", PROXY_BAD, 0, "", 0),
    ROW("PROXY TCP4 192.0.2.1 192.0.2.9 1 2 3\r\n", PROXY_BAD, 0, "", 0),
    ROW("PROXY TCP4 192.0.2.1 192.0.2.9 70000 2\r\n", PROXY_BAD, 0, "", 0),
    ROW("PROXY TCP4 192.0.2.1 192.0.2.9 -1 2\r\n", PROXY_BAD, 0, "", 0),
    ROW("PROXY TCP4 192.0.2.1 192.0.2.9 1 x\r\n", PROXY_BAD, 0, "", 0),
    ROW("PROXY TCP4 ::1 ::1 1 2\r\n", PROXY_BAD, 0, "", 0),
    ROW("PROXY TCP6 192.0.2.1 192.0.2.9 1 2\r\n", PROXY_BAD, 0, "", 0),
    ROW("PROXY TCP4 192.0.2.256 192.0.2.9 1 2\r\n", PROXY_BAD, 0, "", 0),
    ROW("PROXY UDP4 192.0.2.1 192.0.2.9 1 2\r\n", PROXY_BAD, 0, "", 0),
    ROW("PROXY \r\n", PROXY_BAD, 0, "", 0),
    ROW("PROXY xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        PROXY_BAD, 0, "", 0),
    ROW("\r\n\r\n\0\r\nQUIX\n", PROXY_BAD, 0, "", 0),
    ROW(SIG "\x11\x11\0\x0c" V4, PROXY_BAD, 0, "", 0),
    ROW(SIG "\x22\x11\0\x0c" V4, PROXY_BAD, 0, "", 0),
    ROW(SIG "\x21\x12\0\x0c" V4, PROXY_BAD, 0, "", 0),
    ROW(SIG "\x21\x31\0\x0c" V4, PROXY_BAD, 0, "", 0),
    ROW(SIG "\x21\x11\0\x0b" V4, PROXY_BAD, 0, "", 0),
    ROW(SIG "\x21\x21\0\x23" V4, PROXY_BAD, 0, "", 0),
};
#define ROWS ((int) (sizeof(rows) / sizeof(rows[0])))

TEST(reads_and_refuses)
{
    struct proxy_header h;

    ck_assert_msg(proxy_header_parse(str_from(rows[i].bytes, rows[i].n), &h) == rows[i].answer,
                  "row %d", i);
    if (rows[i].answer == PROXY_BAD)
        ck_assert_ptr_nonnull(h.error);
    if (rows[i].answer != PROXY_OK)
        return;
    ck_assert_uint_eq(h.length, rows[i].length);
    ck_assert_str_eq(h.host, rows[i].host);
    ck_assert_uint_eq(h.port, rows[i].port);
}

/* Until enough is there it asks for more, and then stays with what it said. */
TEST(waits_for_the_rest)
{
    struct proxy_header h;
    enum proxy_answer last = PROXY_MORE;

    for (size_t n = 0; n <= rows[i].n; n++) {
        enum proxy_answer now = proxy_header_parse(str_from(rows[i].bytes, n), &h);
        ck_assert_msg(last == PROXY_MORE || now == last, "row %d, %zu bytes", i, n);
        last = now;
    }
    ck_assert_int_eq(last, rows[i].answer);
}

static const struct runner_case cases[] = {
    RUN_LOOP(reads_and_refuses, 0, ROWS),
    RUN_LOOP(waits_for_the_rest, 0, ROWS),
};

RUNNER_MAIN("wire/proxy_header", cases)
