/* kafka_tls.c - see kafka_tls.h. Until the handshake is done nothing is in out. */
#include "server/kafka/kafka_tls.h"

#include "lib/base/mem.h"
#include "server/kafka/kafka_int.h"
#include "server/net/tls.h"

/* Plain bytes at a time, and records that are made ahead of the socket. */
#define PLAIN_BYTES (64u << 10)
#define WIRE_BYTES (1u << 20)

void kafka_tls_begin(struct kafka_conn *c)
{
    struct env *env = c->kafka->env;

    if (env->options->kafka_tls && env->tls != NULL)
        c->tls = tls_open(env->tls, &c->wire, env->chunks);
}

void kafka_tls_free(struct kafka_conn *c)
{
    if (c->tls != NULL)
        tls_close(c->tls);
    c->tls = NULL;
}

static void failed(struct kafka_conn *c, const char *what, const char *why)
{
    LOG_ERR(c->kafka->env->log, "%s:%u - Kafka client: TLS %s error: %s", c->peer.host,
            c->peer.port, what, why);
    kafka_conn_close(c, "TLS error");
}

/* False: not yet, or never. */
static bool shake_hands(struct kafka_conn *c)
{
    enum tls_answer answer = tls_session_handshake(&c->tls->session);
    char key[TLS_PIN_TEXT];

    if (answer == TLS_OK && !tls_pinned(c->tls, c->tls->context, key)) {
        failed(c, "handshake", "certificate not pinned");
        return false;
    }
    if (answer != TLS_OK && answer != TLS_MORE)
        failed(c, "handshake", answer == TLS_CLOSED ? "EOF" : c->tls->session.error);
    c->shaken = answer == TLS_OK;
    if (c->shaken)
        kafka_conn_expect(c);
    return c->shaken;
}

void kafka_tls_take(struct kafka_conn *c, struct str bytes)
{
    enum tls_answer answer = TLS_OK;
    uint8_t *plain;
    size_t n;

    tls_session_input(&c->tls->session, bytes);
    if (!c->shaken && !shake_hands(c))
        return;
    plain = mem_alloc(PLAIN_BYTES);
    while (answer == TLS_OK && c->state == KAFKA_CONN_OPEN) {
        answer = tls_session_read(&c->tls->session, plain, PLAIN_BYTES, &n);
        if (n > 0)
            kafka_conn_take(c, str_from(plain, n));
    }
    mem_free(plain);
    if (answer == TLS_FAILED && c->state == KAFKA_CONN_OPEN)
        failed(c, "read", c->tls->session.error);
    else if (answer == TLS_CLOSED)
        kafka_conn_close(c, "client closed");
}

bool kafka_tls_encrypt(struct kafka_conn *c)
{
    struct outbuf *out = &c->out;
    bool ok = true;

    while (ok && out->head != NULL && c->wire.bytes < WIRE_BYTES) {
        struct chunk *k = out->head;
        ok = tls_session_write(&c->tls->session, str_from(k->data, k->len));
        out->head = k->next;
        if (out->head == NULL)
            out->tail = NULL;
        out->bytes -= k->len;
        chunk_put(k, c->kafka->env->chunks);
    }
    return ok;
}
