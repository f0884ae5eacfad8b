/*
 * conn_tunnel.c - a leaf connection that we dialled through an HTTP proxy.
 *
 *     CONNECT host:port HTTP/1.1  -->  proxy
 *                                 <--  HTTP/1.1 200 ...   and from here on it is as if the proxy
 *                                                         were not there (leaf_dialled)
 *                                 <--  anything else, or nothing in time: closed, dialled again
 *
 * The state is CONN_TLS_TUNNEL: what is put waits, what is received is the answer. A head has at
 * most HTTP_HEAD_MAX bytes. The other server speaks when it is spoken to (an upgrade, a handshake):
 * bytes behind the head are nobody's, and end it.
 */
#include "lib/base/base64.h"
#include "lib/base/fmt.h"
#include "lib/wire/http_head.h"
#include "server/config/leaf_options.h"
#include "server/net/conn.h"
#include "server/net/leaf.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static void put_credentials(const struct leaf_proxy *p, struct buf *out)
{
    struct buf both = {0};

    if (p->user == NULL)
        return;
    buf_printf(&both, "%s:%s", p->user, p->pass);
    buf_puts(out, "Proxy-Authorization: Basic ");
    base64_encode(out, buf_str(&both));
    buf_puts(out, "\r\n");
    sodium_memzero(both.p, both.n);
    buf_free(&both);
}

void conn_tunnel_begin(struct conn *c, const struct leaf_proxy *proxy)
{
    const struct leaf_url *url = c->leaf->remote->url;
    char host[FMT_HOST_PORT_MAX];
    struct buf request = {0};

    c->tls_state = CONN_TLS_TUNNEL;
    fmt_host_port(host, url->host, url->port);
    buf_printf(&request, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", host, host);
    put_credentials(proxy, &request);
    buf_puts(&request, "\r\n");
    if (outbuf_put(&c->wire, c->net->env->chunks, request.p, request.n))
        conn_wrote(c, request.n);
    sodium_memzero(request.p, request.n);
    buf_free(&request);
}

static void failed(struct conn *c, const char *why)
{
    leaf_remote_failed(c->leaf->remote, why);
    conn_close(c, REASON_READ_ERROR);
}

void conn_tunnel_timed_out(struct conn *c)
{
    failed(c, "failed to read proxy response: i/o timeout");
}

/* The status line without its version. */
static void refused(struct conn *c, struct str head)
{
    struct str line, rest;
    char why[128];

    line = str_trim(str_cut(head, '\n', &rest));
    str_cut(line, ' ', &line);
    snprintf(why, sizeof(why), "proxy CONNECT failed: %.*s", (int) (line.n < 90 ? line.n : 90),
             line.p != NULL ? line.p : "");
    failed(c, why);
}

void conn_tunnel_take(struct conn *c, const uint8_t *bytes, size_t n)
{
    struct buf *in = &c->leaf->proxied;
    struct http_head head;
    enum http_answer answer;

    buf_put(in, bytes, n);
    answer = http_response_parse(buf_str(in), &head);
    if (answer == HTTP_MORE && in->n <= HTTP_HEAD_MAX) {
        conn_receive(c);
    } else if (answer != HTTP_OK) {
        failed(c, "failed to read proxy response: malformed HTTP response");
    } else if (head.status != 200) {
        refused(c, buf_str(in));
    } else if (in->n > head.length) {
        failed(c, "failed to read proxy response: more than its head");
    } else {
        buf_free(in);
        c->tls_state = CONN_TLS_NONE;
        leaf_dialled(c);
        conn_receive(c);
    }
}
