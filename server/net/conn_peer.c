/*
 * conn_peer.c - a connection whose other side has shown a certificate that its responder is asked
 * about (ocsp_peer), between the handshake and everything else.
 *
 *     HANDSHAKE -> JUDGED -> good: ON, what came meanwhile is acted on
 *                       \--> not: closed, and the system account hears of it
 *
 * The question goes to the main thread (env->judge). Until its answer is there nothing is received
 * and nothing sent; what came with the end of the handshake is decrypted and held, no more than one
 * receive. To the other side its handshake has succeeded, and ends with a closed connection.
 */
#include "lib/base/base64.h"
#include "lib/base/mem.h"
#include "lib/tls/ocsp.h"
#include "server/config/options.h"
#include "server/net/conn.h"
#include "server/net/event.h"
#include "server/net/leaf.h"
#include "server/net/tls.h"

#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

struct conn_peer {
    struct peer_check check;
    struct conn *conn;
    struct ocsp_peer_options rules;
    struct buf held;
};

/* ---- what the system account hears ----------------------------------------------------------- */

static json_t *certificate(X509 *cert)
{
    uint8_t sum[OCSP_FINGERPRINT_BYTES];
    struct buf b = {0};
    unsigned char *der = NULL;
    json_t *o = json_object();
    int n;

    ocsp_put_name(cert, false, &b);
    json_object_set_new(o, "subject", json_string(buf_cstr(&b)));
    buf_clear(&b);
    ocsp_put_name(cert, true, &b);
    json_object_set_new(o, "issuer", json_string(buf_cstr(&b)));
    buf_clear(&b);
    if (ocsp_fingerprint(cert, sum))
        base64_encode(&b, str_from(sum, sizeof(sum)));
    json_object_set_new(o, "fingerprint", json_string(buf_cstr(&b)));
    buf_clear(&b);
    n = i2d_X509(cert, &der);
    if (n > 0)
        base64_encode(&b, str_from(der, (size_t) n));
    json_object_set_new(o, "raw", json_string(buf_cstr(&b)));
    OPENSSL_free(der);
    buf_free(&b);
    return o;
}

static void say(struct conn *c, const char *what, const char *type, const char *kind, X509 *link,
                const char *reason)
{
    const struct env *env = c->net->env;
    STACK_OF(X509) *chain = tls_chain(c->tls);
    char subject[160];
    json_t *o;

    snprintf(subject, sizeof(subject), "$SYS.SERVER.%s.OCSP.PEER.%s", env->server_id, what);
    if (chain == NULL || !event_wanted(env, str_of(subject)))
        return;
    o = event_begin_for(c, type);
    if (kind != NULL)
        json_object_set_new(o, "kind", json_string(kind));
    if (link != NULL)
        json_object_set_new(o, "link", certificate(link));
    json_object_set_new(o, "peer", certificate(sk_X509_value(chain, 0)));
    json_object_set_new(o, "reason", json_string(reason));
    event_say_later(c->net, subject, o);
}

static void refuse(struct conn *c, const struct peer_check *check)
{
    bool leaf = c->leaf != NULL, dialled = leaf && c->leaf->remote != NULL;
    const char *text = dialled ? "server not OCSP valid" : "client not OCSP valid";

    if (check->at >= 0)
        say(c, "LINK.INVALID", "io.nats.server.advisory.v1.ocsp_peer_link_invalid", NULL,
            sk_X509_value(check->chain, check->at), check->reason);
    say(c, "CONN.REJECT", "io.nats.server.advisory.v1.ocsp_peer_reject",
        leaf ? "Leafnode" : "Client", NULL, text);
    conn_tls_refused(c, text);
}

/* ---- the question ---------------------------------------------------------------------------- */

static void judged(struct peer_check *check)
{
    struct conn_peer *p = CONTAINER_OF(check, struct conn_peer, check);
    struct conn *c = p->conn;

    c->judged = NULL;
    if (c->state != CONN_CLOSING && check->good) {
        conn_tls_good(c);
        if (c->state != CONN_CLOSING && p->held.n > 0)
            conn_plain_take(c, (uint8_t *) p->held.p, p->held.n);
        conn_receive(c);
    } else if (c->state != CONN_CLOSING) {
        refuse(c, check);
    }
    buf_free(&p->held);
    mem_free(p);
}

bool conn_peer_wants(const struct conn *c)
{
    return conn_tls_options(c)->ocsp_peer.verify && c->net->env->judge != NULL;
}

void conn_peer_ask(struct conn *c)
{
    struct conn_peer *p = mem_zalloc(sizeof(*p));
    struct env *env = c->net->env;

    io_timer_stop(env->io, &c->timer); /* the question has an end of its own */
    p->conn = c;
    p->rules = conn_tls_options(c)->ocsp_peer;
    p->check.chain = tls_chain(c->tls);
    p->check.rules = &p->rules;
    p->check.done = judged;
    c->judged = p;
    env->judge(env, &p->check);
}

void conn_peer_hold(struct conn *c, const uint8_t *bytes, size_t n)
{
    buf_put(&c->judged->held, bytes, n);
}
