/*
 * client.c - a connection: connecting, driving, publishing, subscribing.
 *
 * midge_poll is the only place where time passes: it submits the gathered output as one send, runs
 * one iteration of the loop, and the receive callback parses what came and calls the subscribers. A
 * sid is a slot of a table plus a multiple of MAX_SUBS, so that an incoming message finds its
 * subscription without hashing, and a message on its way to a subscription that has ended does not
 * reach the next one in its slot.
 */
#include "client/client_int.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/wire/nats_write.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_CONTROL_LINE 65536u
#define MS UINT64_C(1000000)
#define MAX_SUBS 65536u

void midge_options_init(struct midge_options *o)
{
    memset(o, 0, sizeof(*o));
    o->host = "127.0.0.1";
    o->port = 4222;
    o->max_output = 4u << 20;
    o->connect_timeout_ms = 5000;
}

uint64_t midge_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

int client_fail(struct midge *m, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(m->error, sizeof(m->error), format, args);
    va_end(args);
    m->closed = true;
    return MIDGE_CLOSED;
}

const char *midge_error(const struct midge *m)
{
    return m->error;
}

uint64_t midge_max_payload(const struct midge *m)
{
    return m->max_payload;
}

size_t midge_output(const struct midge *m)
{
    return m->out.n + m->sending.n;
}

unsigned client_status(struct midge_text header)
{
    struct str status, description;
    uint64_t code;

    if (header.n == 0)
        return 0;
    header_status(client_str(header), &status, &description);
    return str_to_u64(status, &code) && code < 1000 ? (unsigned) code : 0;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void take_msg(struct midge *m, const struct nats_op *op)
{
    struct midge_msg msg = {
        .subject = client_text(op->subject),
        .reply = client_text(op->reply),
        .header = client_text(nats_op_header(op)),
        .payload = client_text(nats_op_payload(op)),
    };
    struct midge_sub *s;
    uint64_t sid;

    if (!str_to_u64(op->sid, &sid) || sid % MAX_SUBS >= m->nsubs)
        return;
    s = m->subs[sid % MAX_SUBS].sub;
    if (s != NULL && s->sid == sid)
        s->on_msg(s->ctx, &msg);
}

/* The number behind "max_payload": the one field of INFO we need. */
static void take_info(struct midge *m, struct str json)
{
    static const char key[] = "\"max_payload\":";
    const char *at = memmem(json.p, json.n, key, sizeof(key) - 1);

    if (at != NULL)
        m->max_payload = strtoull(at + sizeof(key) - 1, NULL, 10);
    m->got_info = true;
}

static void act(struct midge *m, const struct nats_op *op)
{
    switch (op->verb) {
    case NATS_VERB_MSG:
    case NATS_VERB_HMSG:
        take_msg(m, op);
        if (op->collected) {
            mem_free(m->collecting);
            m->collecting = NULL;
        }
        break;
    case NATS_VERB_PING:
        buf_puts(&m->out, "PONG\r\n");
        break;
    case NATS_VERB_PONG:
        m->pongs_seen++;
        break;
    case NATS_VERB_INFO:
        take_info(m, op->args);
        break;
    case NATS_VERB_ERR:
        snprintf(m->error, sizeof(m->error), "%.*s", STR_ARG(nats_err_text(op->args)));
        m->server_said = true;
        break;
    default:
        break;
    }
}

static void parse_all(struct midge *m, struct str in)
{
    struct nats_op op;

    while (!m->closed) {
        switch (nats_parse(&m->parser, &in, &op)) {
        case NATS_PARSE_OP:
            act(m, &op);
            break;
        case NATS_PARSE_COLLECT:
            m->collecting = mem_try_alloc(op.body.n + 2);
            if (m->collecting == NULL) {
                client_fail(m, "out of memory for a message of %zu bytes", op.body.n);
                return;
            }
            nats_parse_collect(&m->parser, m->collecting);
            break;
        case NATS_PARSE_MORE:
            return;
        case NATS_PARSE_ERROR:
            client_fail(m, "the server sent something that is not NATS: %s",
                        nats_error_log((enum nats_error) m->parser.error));
            return;
        }
    }
}

static void received(struct io_op *op)
{
    struct midge *m = CONTAINER_OF(op, struct midge, recv);

    if (m->stopping)
        return;
    if (op->res <= 0) {
        /* What the server said before it hung up is the better reason. */
        if (m->server_said)
            m->closed = true;
        else if (!m->closed)
            client_fail(m, "%s",
                        op->res == 0 ? "the server closed the connection"
                                     : strerror((int) -op->res));
        return;
    }
    parse_all(m, str_from(op->data, (size_t) op->res));
    if (!m->closed)
        io_recv(m->io, &m->recv, m->sock);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void sent(struct io_op *op)
{
    struct midge *m = CONTAINER_OF(op, struct midge, send);

    buf_clear(&m->sending);
    if (op->res < 0 && !m->stopping && !m->closed)
        client_fail(m, "sending failed: %s", strerror((int) -op->res));
}

static void send_some(struct midge *m)
{
    struct buf swap;

    if (io_op_busy(&m->send) || m->out.n == 0 || m->sock == NULL)
        return;
    swap = m->sending;
    m->sending = m->out;
    m->out = swap;
    m->iov = (struct iovec){m->sending.p, m->sending.n};
    io_send(m->io, &m->send, m->sock, &m->iov, 1);
}

int midge_poll(struct midge *m, uint64_t max_wait_ns)
{
    if (m->closed)
        return MIDGE_CLOSED;
    send_some(m);
    io_poll(m->io, max_wait_ns);
    return m->closed ? MIDGE_CLOSED : MIDGE_OK;
}

void client_publish(struct midge *m, const struct midge_msg *msg)
{
    struct nats_to to = {.subject = client_str(msg->subject), .reply = client_str(msg->reply)};
    size_t body = msg->header.n + msg->payload.n;
    char *at = buf_reserve(&m->out, nats_pub_max(to.subject.n, to.reply.n) + body + 2);

    m->out.n += msg->header.n > 0
                    ? nats_write_hpub(at, &to, (uint32_t) msg->header.n, (uint32_t) body)
                    : nats_write_pub(at, &to, (uint32_t) body);
    at = m->out.p + m->out.n;
    if (msg->header.n > 0)
        memcpy(at, msg->header.p, msg->header.n);
    if (msg->payload.n > 0)
        memcpy(at + msg->header.n, msg->payload.p, msg->payload.n);
    at[body] = '\r';
    at[body + 1] = '\n';
    m->out.n += body + 2;
}

int midge_publish(struct midge *m, const struct midge_msg *msg)
{
    if (m->closed)
        return MIDGE_CLOSED;
    if (m->out.n > m->max_output)
        return MIDGE_FULL;
    if (m->max_payload > 0 && msg->header.n + msg->payload.n > m->max_payload) {
        snprintf(m->error, sizeof(m->error),
                 "%zu bytes are more than the server's max_payload, %llu",
                 msg->header.n + msg->payload.n, (unsigned long long) m->max_payload);
        return MIDGE_INVALID;
    }
    client_publish(m, msg);
    return MIDGE_OK;
}

/* ---- subscriptions --------------------------------------------------------------------------- */

/* The sid of the next user of a free slot; slot 0 stays empty. 0 when there are MAX_SUBS - 1. */
static uint64_t take_slot(struct midge *m)
{
    size_t i = 1;

    while (i < m->nsubs && m->subs[i].sub != NULL)
        i++;
    if (i == MAX_SUBS)
        return 0;
    if (i >= m->nsubs) {
        m->subs = mem_realloc(m->subs, (i + 16) * sizeof(*m->subs));
        memset(m->subs + m->nsubs, 0, (i + 16 - m->nsubs) * sizeof(*m->subs));
        m->nsubs = i + 16 < MAX_SUBS ? i + 16 : MAX_SUBS;
    }
    return i + m->subs[i].uses++ * MAX_SUBS;
}

struct midge_sub *midge_subscribe(struct midge *m, struct midge_text subject,
                                  struct midge_text queue, midge_on_msg on_msg, void *ctx)
{
    uint64_t sid = m->closed ? 0 : take_slot(m);
    struct midge_sub *s;

    if (sid == 0)
        return NULL;
    s = mem_zalloc(sizeof(*s));
    s->m = m;
    s->on_msg = on_msg;
    s->ctx = ctx;
    s->sid = sid;
    m->subs[sid % MAX_SUBS].sub = s;
    if (queue.n > 0)
        buf_printf(&m->out, "SUB %.*s %.*s %llu\r\n", (int) subject.n, subject.p, (int) queue.n,
                   queue.p, (unsigned long long) s->sid);
    else
        buf_printf(&m->out, "SUB %.*s %llu\r\n", (int) subject.n, subject.p,
                   (unsigned long long) s->sid);
    return s;
}

void midge_unsubscribe(struct midge *m, struct midge_sub *s)
{
    if (s == NULL)
        return;
    buf_printf(&m->out, "UNSUB %llu\r\n", (unsigned long long) s->sid);
    m->subs[s->sid % MAX_SUBS].sub = NULL;
    mem_free(s);
}

int midge_flush(struct midge *m, int timeout_ms)
{
    uint64_t end = midge_now() + (uint64_t) timeout_ms * MS;
    uint64_t mine = ++m->pings_sent;

    buf_puts(&m->out, "PING\r\n");
    while (m->pongs_seen < mine) {
        uint64_t now = midge_now();
        if (now >= end)
            return MIDGE_TIMEOUT;
        if (midge_poll(m, end - now) != MIDGE_OK)
            return MIDGE_CLOSED;
    }
    return MIDGE_OK;
}

void midge_inbox(struct midge *m, char out[32])
{
    memcpy(out, "_INBOX.", 7);
    nuid_next(&m->nuid, out + 7);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void put_json(struct buf *b, const char *key, const char *value)
{
    if (value == NULL)
        return;
    buf_printf(b, ",\"%s\":\"", key);
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\')
            buf_putc(b, '\\');
        buf_putc(b, *p);
    }
    buf_putc(b, '"');
}

static void put_connect(struct midge *m, const struct midge_options *o)
{
    buf_puts(&m->out,
             "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":true,\"headers\":true,"
             "\"no_responders\":true,\"protocol\":1,\"lang\":\"c-midge\",\"version\":\"0.1.0\"");
    put_json(&m->out, "name", o->name);
    put_json(&m->out, "user", o->user);
    put_json(&m->out, "pass", o->pass);
    put_json(&m->out, "auth_token", o->token);
    buf_puts(&m->out, "}\r\n");
}

static void connected(struct io_op *op)
{
    struct midge *m = CONTAINER_OF(op, struct midge, connect);

    if (op->res < 0) {
        client_fail(m, "%s", strerror((int) -op->res));
        return;
    }
    m->sock = io_sock_open(m->io, (io_fd) op->res);
    m->connected = true;
    io_recv(m->io, &m->recv, m->sock);
}

static void sock_closed(struct io_op *op)
{
    CONTAINER_OF(op, struct midge, close)->sock_closed = true;
}

static bool wait_for(struct midge *m, const bool *what, uint64_t end)
{
    while (!*what && !m->closed) {
        uint64_t now = midge_now();
        if (now >= end) {
            client_fail(m, "connecting took too long");
            return false;
        }
        midge_poll(m, end - now);
    }
    return !m->closed;
}

static bool handshake(struct midge *m, const struct midge_options *o)
{
    uint64_t end = midge_now() + (uint64_t) o->connect_timeout_ms * MS;

    io_connect(m->io, &m->connect, o->host, o->port);
    if (!wait_for(m, &m->got_info, end))
        return false;
    put_connect(m, o);
    switch (midge_flush(m, o->connect_timeout_ms)) {
    case MIDGE_OK:
        return true;
    case MIDGE_TIMEOUT:
        client_fail(m, "connecting took too long");
        return false;
    default:
        return false;
    }
}

struct midge *midge_connect(const struct midge_options *o, char err[256])
{
    struct midge *m = mem_zalloc(sizeof(*m));
    struct io_config config;
    uint64_t seed;
    int rc;

    io_config_init(&config);
    config.backend = IO_BACKEND_EVENT;
    config.spin_ns = o->spin_ns;
    config.congestion = o->congestion;
    config.commit_threads = 1;
    config.work_threads = 1;
    rc = io_open(&config, &m->io);
    if (rc != 0) {
        snprintf(err, 256, "can not open an I/O loop: %s", strerror(-rc));
        mem_free(m);
        return NULL;
    }
    io_random(m->io, &seed, sizeof(seed));
    prng_init(&m->prng, seed);
    nuid_init(&m->nuid, &m->prng);
    m->max_output = o->max_output;
    io_op_init(&m->connect, connected);
    io_op_init(&m->recv, received);
    io_op_init(&m->send, sent);
    io_op_init(&m->close, sock_closed);
    nats_parser_init(
        &m->parser, NATS_ROLE_CLIENT,
        (struct nats_limits){.max_control_line = MAX_CONTROL_LINE, .max_payload = NATS_NO_LIMIT});
    m->parser.headers = true;
    if (!handshake(m, o)) {
        snprintf(err, 256, "%s", m->error);
        midge_close(m);
        return NULL;
    }
    return m;
}

void midge_close(struct midge *m)
{
    m->stopping = true;
    if (io_op_busy(&m->connect))
        io_cancel(m->io, &m->connect);
    while (io_op_busy(&m->connect))
        io_poll(m->io, MS);
    if (m->sock != NULL) {
        io_sock_close(m->io, &m->close, m->sock);
        while (!m->sock_closed || io_op_busy(&m->recv) || io_op_busy(&m->send))
            io_poll(m->io, 10 * MS);
    }
    io_close(m->io);
    nats_parser_deinit(&m->parser);
    for (size_t i = 0; i < m->nsubs; i++)
        mem_free(m->subs[i].sub);
    mem_free(m->subs);
    mem_free(m->requests);
    mem_free(m->collecting);
    buf_free(&m->out);
    buf_free(&m->sending);
    mem_free(m);
}
