/*
 * fuzz_doors.c - what comes before a client's first operation: a PROXY header, a request to become
 * WebSocket. An answer does not depend on how much lies behind what it is about.
 */
#include "lib/base/assert.h"
#include "lib/base/buf.h"
#include "lib/wire/http_head.h"
#include "lib/wire/proxy_header.h"
#include "server/net/ws_upgrade.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void look_at_proxy(struct str in)
{
    struct proxy_header h, first;
    enum proxy_answer answer = proxy_header_parse(in, &h);

    ASSERT((answer == PROXY_BAD) == (h.error != NULL));
    if (answer != PROXY_OK)
        return;
    ASSERT(h.length >= 8 && h.length <= 16 + 65535);
    ASSERT(proxy_header_parse(str_take(in, PROXY_HEADER_MAX), &first) == PROXY_OK);
    ASSERT(first.length == h.length && strcmp(first.host, h.host) == 0);
}

static void upgrade(const struct http_head *h, bool tls)
{
    struct websocket_options o = {
        .same_origin = tls, .origins = (char[]){"https://a:1,http://b"}, .compression = true};
    struct ws_upgrade u;
    struct buf answer = {0};

    ws_upgrade_check(&o, h, tls, &u);
    ASSERT((u.status == 101) == (u.why == NULL));
    ws_upgrade_answer(&o, &u, &answer);
    ASSERT(str_starts(buf_str(&answer), STR("HTTP/1.1 ")));
    buf_free(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_from(data, size);
    struct http_head h, same;

    look_at_proxy(in);
    if (http_request_parse(in, &h) == HTTP_OK) {
        ASSERT(h.length <= HTTP_HEAD_MAX && h.n <= HTTP_FIELDS_MAX);
        ASSERT(http_request_parse(str_take(in, h.length), &same) == HTTP_OK);
        ASSERT(same.n == h.n && same.length == h.length);
        http_cookie(&h, "a");
        upgrade(&h, false);
        upgrade(&h, true);
    }
    http_response_parse(in, &h);
    return 0;
}
