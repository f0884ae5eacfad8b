/* test_http_head.c - requests and answers, split anywhere; tables of rejects; lookups. */
#include "lib/base/buf.h"
#include "lib/wire/http_head.h"
#include "tests/lib/runner.h"

static const char request[] = "GET /nats?x=1 HTTP/1.1\r\n"
                              "Host: example.org:8080\r\n"
                              "Connection: keep-alive, Upgrade\n"
                              "upgrade:\twebsocket \r\n"
                              "Cookie: a=1; user=\"joe\"; b\r\n"
                              "Cookie: pass=s=3\r\n"
                              "Empty:\r\n"
                              "\r\n"
                              "behind";

TEST(reads_a_request)
{
    struct http_head h;

    ck_assert_int_eq(http_request_parse(str_of(request), &h), HTTP_OK);
    ck_assert(str_eq(h.method, STR("GET")));
    ck_assert(str_eq(h.target, STR("/nats?x=1")));
    ck_assert_uint_eq(h.n, 6);
    ck_assert_str_eq(request + h.length, "behind");
    ck_assert(str_eq(http_field(&h, "HOST"), STR("example.org:8080")));
    ck_assert(http_field(&h, "Empty").p != NULL && http_field(&h, "Empty").n == 0);
    ck_assert_ptr_null(http_field(&h, "Origin").p);
    ck_assert(http_field_lists(&h, "connection", "upgrade"));
    ck_assert(http_field_lists(&h, "Upgrade", "WebSocket"));
    ck_assert(!http_field_lists(&h, "Connection", "keep"));
    ck_assert(str_eq(http_cookie(&h, "user"), STR("joe")));
    ck_assert(str_eq(http_cookie(&h, "pass"), STR("s=3")));
    ck_assert_ptr_null(http_cookie(&h, "b").p);
    ck_assert_ptr_null(http_cookie(&h, "USER").p);
}

TEST(waits_for_the_end)
{
    struct http_head h;
    size_t end = strlen(request) - strlen("behind");

    for (size_t n = 0; n < end; n++)
        ck_assert_int_eq(http_request_parse(str_from(request, n), &h), HTTP_MORE);
    ck_assert_int_eq(http_request_parse(str_from(request, end), &h), HTTP_OK);
}

TEST(refuses_requests)
{
    static const char *const rows[] = {
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET / HTTP/1.1\r\n: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET / HTTP/1.1\r\nA: \001\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1 x\r\n\r\n",
        "GET /\r\n\r\n",
        "GET  HTTP/1.1\r\n\r\n",
        " / HTTP/1.1\r\n\r\n",
        "G{T / HTTP/1.1\r\n\r\n",
        "GET /\001 HTTP/1.1\r\n\r\n",
        "\r\n",
        "INFO {}\r\n",
        "\026\003\001\002\n",
    };
    struct http_head h;

    for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++)
        ck_assert_msg(http_request_parse(str_of(rows[k]), &h) == HTTP_BAD, "row %zu", k);
}

TEST(has_limits)
{
    struct buf b = {0};
    struct http_head h;

    buf_puts(&b, "GET / HTTP/1.1\r\n");
    for (unsigned k = 0; k < HTTP_FIELDS_MAX; k++)
        buf_puts(&b, "a: b\r\n");
    ck_assert_int_eq(http_request_parse(buf_str(&b), &h), HTTP_MORE);
    buf_puts(&b, "a: b\r\n");
    ck_assert_int_eq(http_request_parse(buf_str(&b), &h), HTTP_TOO_LONG);
    buf_clear(&b);
    while (b.n < HTTP_HEAD_MAX - 1)
        buf_putc(&b, 'G');
    ck_assert_int_eq(http_request_parse(buf_str(&b), &h), HTTP_MORE);
    buf_putc(&b, 'G');
    ck_assert_int_eq(http_request_parse(buf_str(&b), &h), HTTP_TOO_LONG);
    buf_clear(&b);
    buf_puts(&b, "GET / HTTP/1.1\r\na: ");
    while (b.n < HTTP_HEAD_MAX + 10)
        buf_putc(&b, 'G');
    ck_assert_int_eq(http_request_parse(buf_str(&b), &h), HTTP_TOO_LONG);
    buf_puts(&b, "\r\n\r\n");
    ck_assert_int_eq(http_request_parse(buf_str(&b), &h), HTTP_TOO_LONG);
    buf_free(&b);
}

TEST(reads_answers)
{
    static const struct {
        const char *text;
        enum http_answer answer;
        unsigned status;
    } rows[] = {
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", HTTP_OK, 101},
        {"HTTP/1.0 404\r\n\r\n", HTTP_OK, 404},
        {"HTTP/1.1 101", HTTP_MORE, 0},
        {"HTTP/1.1 10\r\n\r\n", HTTP_BAD, 0},
        {"HTTP/1.1 1o1 x\r\n\r\n", HTTP_BAD, 0},
        {"HTTP/1.1 099 x\r\n\r\n", HTTP_BAD, 0},
        {"INFO {}\r\n\r\n", HTTP_BAD, 0},
    };
    struct http_head h;

    for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
        ck_assert_msg(http_response_parse(str_of(rows[k].text), &h) == rows[k].answer, "row %zu",
                      k);
        if (rows[k].answer == HTTP_OK)
            ck_assert_uint_eq(h.status, rows[k].status);
    }
}

static const struct runner_case cases[] = {
    RUN(reads_a_request), RUN(waits_for_the_end), RUN(refuses_requests),
    RUN(has_limits),      RUN(reads_answers),
};

RUNNER_MAIN("wire/http_head", cases)
