/*
 * ws_upgrade.c - see ws_upgrade.h.
 *
 *     GET / HTTP/1.1                               HTTP/1.1 101 Switching Protocols
 *     Host: example.org:8080                       Upgrade: websocket
 *     Upgrade: websocket                           Connection: Upgrade
 *     Connection: Upgrade                          Sec-WebSocket-Accept: <hash of the key>
 *     Sec-WebSocket-Key: <16 bytes in base64>      Sec-WebSocket-Extensions: permessage-deflate...
 *     Sec-WebSocket-Version: 13
 *     Origin: https://example.org                  refused with 403 when it may not
 *     Cookie: name=value                           credentials
 *
 * A client that is no browser sends no Origin, and none is asked for. Compression is agreed on
 * whenever the client offers it and the options allow it, without context takeover in both
 * directions.
 */
#include "server/net/ws_upgrade.h"

#include "lib/base/assert.h"
#include "lib/base/base64.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define KEY_BYTES 16u
#define KEY_TEXT 24u /* in base64, with padding */
#define PACK "permessage-deflate"
#define IP_MAX 48u

/* ---- what must be there ---------------------------------------------------------------------- */

static bool is_key(struct str key)
{
    struct buf bytes = {0};
    bool ok = key.n == KEY_TEXT && base64_decode(&bytes, key) && bytes.n == KEY_BYTES;

    buf_free(&bytes);
    return ok;
}

static struct str path_of(const struct http_head *r)
{
    return str_take(r->target, str_index(r->target, '?'));
}

static bool ends_with(struct str s, const char *end)
{
    size_t n = strlen(end);

    return s.n >= n && memcmp(s.p + s.n - n, end, n) == 0;
}

static unsigned refuse(struct ws_upgrade *out, unsigned status, const char *why)
{
    out->why = why;
    out->status = status;
    return status;
}

static unsigned check_request(const struct http_head *r, struct ws_upgrade *out)
{
    if (ends_with(path_of(r), "/mqtt"))
        return refuse(out, 404, "mqtt websocket endpoint not enabled");
    if (!str_eq(r->method, STR("GET")))
        return refuse(out, 405, "request method must be GET");
    if (http_field(r, "Host").n == 0)
        return refuse(out, 400, "'Host' missing in request");
    if (!http_field_lists(r, "Upgrade", "websocket"))
        return refuse(out, 400, "invalid value for header 'Upgrade'");
    if (!http_field_lists(r, "Connection", "Upgrade"))
        return refuse(out, 400, "invalid value for header 'Connection'");
    out->key = http_field(r, "Sec-WebSocket-Key");
    if (out->key.n == 0)
        return refuse(out, 400, "key missing");
    if (!is_key(out->key))
        return refuse(out, 400, "invalid websocket key");
    if (!http_field_lists(r, "Sec-WebSocket-Version", "13"))
        return refuse(out, 400, "invalid version");
    return 0;
}

/* ---- origins --------------------------------------------------------------------------------- */

struct origin {
    struct str scheme, host;
    uint16_t port;
};

static bool parse(struct str text, struct origin *out)
{
    return websocket_origin(text, &out->scheme, &out->host, &out->port);
}

static bool same(const struct origin *a, const struct origin *b)
{
    return str_eq_nocase(a->scheme, b->scheme) && str_eq_nocase(a->host, b->host) &&
           a->port == b->port;
}

static bool is_listed(const char *list, const struct origin *o)
{
    struct str left = str_of(list);

    while (left.p != NULL) {
        struct origin one;
        if (parse(str_cut(left, ',', &left), &one) && same(&one, o))
            return true;
    }
    return false;
}

static unsigned check_origin(const struct websocket_options *w, const struct http_head *r, bool tls,
                             struct ws_upgrade *out)
{
    struct str text = http_field(r, "Origin");
    struct origin from, here = {.scheme = tls ? STR("https") : STR("http")};
    bool known;

    if (text.n == 0)
        text = http_field(r, "Sec-WebSocket-Origin");
    if (text.n == 0 || (!w->same_origin && w->origins == NULL))
        return 0;
    known = parse(text, &from);
    if (!known && str_index(text, ':') == text.n)
        return refuse(out, 403, "origin not allowed: it can not be read");
    if (w->same_origin &&
        (!known || !websocket_host(http_field(r, "Host"), tls, &here.host, &here.port) ||
         !same(&from, &here)))
        return refuse(out, 403, "origin not allowed: not same origin");
    if (w->origins != NULL && (!known || !is_listed(w->origins, &from)))
        return refuse(out, 403, "origin not allowed: not in the allowed list");
    return 0;
}

/* ---- what may be there ----------------------------------------------------------------------- */

/* Extensions are a list with commas, each with parameters behind semicolons. */
static bool offers_packing(const struct http_head *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        struct str left = r->fields[i].value, rest;
        if (!str_eq_nocase(r->fields[i].name, STR("Sec-WebSocket-Extensions")))
            continue;
        while (left.p != NULL)
            if (str_eq_nocase(str_trim(str_cut(str_cut(left, ',', &left), ';', &rest)), STR(PACK)))
                return true;
    }
    return false;
}

static bool contains(struct str s, const char *what)
{
    return memmem(s.p, s.n, what, strlen(what)) != NULL;
}

static bool is_address(struct str text)
{
    char copy[IP_MAX];
    unsigned char bytes[16];

    if (text.n == 0 || text.n >= sizeof(copy))
        return false;
    snprintf(copy, sizeof(copy), "%.*s", STR_ARG(text));
    return inet_pton(AF_INET, copy, bytes) == 1 || inet_pton(AF_INET6, copy, bytes) == 1;
}

void ws_upgrade_check(const struct websocket_options *w, const struct http_head *r, bool tls,
                      struct ws_upgrade *out)
{
    struct str agent = http_field(r, "User-Agent");
    struct str forwarded = http_field(r, "X-Forwarded-For");

    *out = (struct ws_upgrade){.bare = str_eq(r->method, STR("HEAD"))};
    out->leaf = ends_with(path_of(r), WS_LEAF_PATH);
    if (check_request(r, out) != 0 || check_origin(w, r, tls, out) != 0)
        return;
    out->status = 101;
    out->packs = w->compression && offers_packing(r);
    out->no_masking = str_eq(http_field(r, "Nats-No-Masking"), STR("true"));
    out->browser = !out->leaf && str_starts(agent, STR("Mozilla/"));
    /* Chrome says Safari too, but no Version. */
    out->whole = out->browser && contains(agent, "Version/") && contains(agent, "Safari/");
    if (is_address(forwarded))
        out->client_ip = forwarded;
}

/* ---- answers --------------------------------------------------------------------------------- */

void ws_upgrade_accept_key(struct str key, struct buf *out)
{
    static const char constant[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char sum[EVP_MAX_MD_SIZE];
    struct buf both = {0};
    unsigned n = 0;

    buf_put_str(&both, key);
    buf_puts(&both, constant);
    if (EVP_Digest(both.p, both.n, sum, &n, EVP_sha1(), NULL) != 1)
        FATAL("SHA-1 is not to be had");
    base64_encode(out, str_from(sum, n));
    buf_free(&both);
}

static const char *status_text(unsigned status)
{
    switch (status) {
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 431:
        return "Request Header Fields Too Large";
    default:
        return "Bad Request";
    }
}

void ws_upgrade_refuse(unsigned status, bool bare, struct buf *out)
{
    const char *text = status_text(status);

    buf_printf(out,
               "HTTP/1.1 %u %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
               "Sec-Websocket-Version: 13\r\nX-Content-Type-Options: nosniff\r\n"
               "Content-Length: %zu\r\nConnection: close\r\n\r\n",
               status, text, strlen(text) + 1);
    if (!bare)
        buf_printf(out, "%s\n", text);
}

void ws_upgrade_nonsense(unsigned status, struct buf *out)
{
    const char *text = status_text(status);

    buf_printf(out,
               "HTTP/1.1 %u %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
               "Connection: close\r\n\r\n%u %s",
               status, text, status, text);
}

void ws_upgrade_answer(const struct websocket_options *w, const struct ws_upgrade *u,
                       struct buf *out)
{
    if (u->status != 101) {
        ws_upgrade_refuse(u->status, u->bare, out);
        return;
    }
    buf_puts(out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                  "Connection: Upgrade\r\nSec-WebSocket-Accept: ");
    ws_upgrade_accept_key(u->key, out);
    buf_puts(out, "\r\n");
    if (u->packs)
        buf_puts(out, "Sec-WebSocket-Extensions: " PACK "; server_no_context_takeover; "
                      "client_no_context_takeover\r\n");
    if (u->no_masking)
        buf_puts(out, "Nats-No-Masking: true\r\n");
    if (w->headers != NULL)
        buf_puts(out, w->headers);
    buf_puts(out, "\r\n");
}
