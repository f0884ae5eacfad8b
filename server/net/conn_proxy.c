/*
 * conn_proxy.c - the PROXY header before a client's first bytes (lib/wire/proxy_header.h).
 *
 *     INFO is sent as to anybody; what arrives first is looked at:
 *     a header       the client's address is what it says; what follows is the client's
 *     none           the client came without a proxy, and is welcome
 *     a wrong one    closed, with a warning
 *     neither yet    gathered, up to PROXY_HEADER_MAX bytes and for WAIT_NS
 *
 * Until then INFO does not say client_ip: it would be the proxy's.
 */
#include "lib/base/mem.h"
#include "lib/wire/proxy_header.h"
#include "server/net/conn.h"

#include <stdio.h>
#include <string.h>

#define WAIT_NS 5000000000u

struct proxying {
    struct conn *conn;
    struct wheel_timer timer;
    size_t n;
    size_t skip; /* of a header whose beginning said everything */
    uint8_t bytes[PROXY_HEADER_MAX];
};

static void waited(struct wheel_timer *t)
{
    struct proxying *p = CONTAINER_OF(t, struct proxying, timer);
    struct conn *c = p->conn;
    char text[CONN_TEXT_MAX];

    if (p->n == 0 && p->skip == 0) {
        conn_proxy_free(c);
        return;
    }
    LOG_WRN(c->net->env->log,
            "Error reading PROXY protocol header from %s: timeout reading PROXY protocol header",
            conn_text(c, text));
    conn_close(c, REASON_PROTOCOL_VIOLATION);
}

void conn_proxy_begin(struct conn *c)
{
    struct io *io = c->net->env->io;
    struct proxying *p = mem_zalloc(sizeof(*p));

    p->conn = c;
    c->proxy = p;
    wheel_timer_init(&p->timer, waited);
    io_timer_start(io, &p->timer, io_now(io) + WAIT_NS);
}

void conn_proxy_free(struct conn *c)
{
    if (c->proxy == NULL)
        return;
    io_timer_stop(c->net->env->io, &c->proxy->timer);
    mem_free(c->proxy);
    c->proxy = NULL;
}

/* ---- what it says ---------------------------------------------------------------------------- */

static void accept_header(struct conn *c, const struct proxy_header *h)
{
    if (h->host[0] == '\0')
        return;
    snprintf(c->peer.host, sizeof(c->peer.host), "%s", h->host);
    c->peer.port = h->port;
}

/* The client's bytes begin: those that were gathered, then these. */
static void go_on(struct conn *c, uint8_t *bytes, size_t n)
{
    struct proxying *p = c->proxy;
    size_t kept = p->n;
    uint8_t first[PROXY_HEADER_MAX];

    memcpy(first, p->bytes, kept);
    conn_proxy_free(c);
    if (kept > 0)
        conn_wire_take(c, first, kept);
    if (n > 0 && c->state != CONN_CLOSING)
        conn_wire_take(c, bytes, n);
    conn_receive(c);
}

static void refuse(struct conn *c, const char *why)
{
    char text[CONN_TEXT_MAX];

    LOG_WRN(c->net->env->log, "Error reading PROXY protocol header from %s: %s", conn_text(c, text),
            why);
    conn_close(c, REASON_PROTOCOL_VIOLATION);
}

/* The rest of a header is of no interest. */
static void skip(struct conn *c, uint8_t *bytes, size_t n)
{
    struct proxying *p = c->proxy;
    size_t now = p->skip < n ? p->skip : n;

    p->skip -= now;
    if (p->skip == 0)
        go_on(c, bytes + now, n - now);
    else
        conn_receive(c);
}

void conn_proxy_take(struct conn *c, uint8_t *bytes, size_t n)
{
    struct proxying *p = c->proxy;
    struct proxy_header h;
    size_t more, before = p->n;

    if (p->skip > 0) {
        skip(c, bytes, n);
        return;
    }
    more = PROXY_HEADER_MAX - p->n < n ? PROXY_HEADER_MAX - p->n : n;
    memcpy(p->bytes + p->n, bytes, more);
    p->n += more;
    switch (proxy_header_parse(str_from(p->bytes, p->n), &h)) {
    case PROXY_MORE:
        conn_receive(c);
        break;
    case PROXY_NONE:
        p->n = before;
        go_on(c, bytes, n);
        break;
    case PROXY_BAD:
        refuse(c, h.error);
        break;
    case PROXY_OK:
        accept_header(c, &h);
        p->n = 0;
        p->skip = h.length - before;
        skip(c, bytes, n);
        break;
    }
}
