/*
 * client.c - a connection: driving it, publishing, subscribing, waiting.
 *
 * midge_poll is the only place where time passes: it submits the gathered output as one send, runs
 * one iteration of the loop, and the receive callback parses what came and calls the subscribers. A
 * sid is a slot of a table plus a multiple of MAX_SUBS, so that an incoming message finds its
 * subscription without hashing, and a message on its way to a subscription that has ended does not
 * reach the next one in its slot.
 *
 * How a connection comes to be, breaks and is made again is dial.c's; what comes in, receive.c's.
 */
#include "client/client_int.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/wire/nats_write.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MAX_SUBS 65536u

void midge_options_init(struct midge_options *o)
{
    memset(o, 0, sizeof(*o));
    o->host = "127.0.0.1";
    o->port = 4222;
    o->max_output = 4u << 20;
    o->connect_timeout_ms = 5000;
    o->timeout_ms = 5000;
    o->reconnect_wait_ms = 250;
    o->ping_interval_ms = 120000;
}

uint64_t midge_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

int client_error(struct midge *m, int rc, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(m->error, sizeof(m->error), format, args);
    va_end(args);
    m->error_code = 0;
    return rc;
}

const char *midge_error(const struct midge *m)
{
    return m->error;
}

unsigned midge_error_code(const struct midge *m)
{
    return m->error_code;
}

bool midge_connected(const struct midge *m)
{
    return client_up(m);
}

uint64_t midge_max_payload(const struct midge *m)
{
    return (uint64_t) m->info.max_payload;
}

size_t midge_output(const struct midge *m)
{
    return m->out.n + m->sending.n + m->transport.wire.n;
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

void midge_inbox(struct midge *m, char out[32])
{
    memcpy(out, "_INBOX.", 7);
    nuid_next(&m->nuid, out + 7);
}

void midge_free(void *p)
{
    mem_free(p);
}

/* ---- driving --------------------------------------------------------------------------------- */

static void send_some(struct midge *m)
{
    if (io_op_busy(&m->send) || m->sock == NULL || m->state == CLIENT_CLOSING)
        return;
    client_transport_fill(m);
    if (m->sending.n == 0 || m->state == CLIENT_CLOSING)
        return;
    m->iov = (struct iovec){m->sending.p, m->sending.n};
    io_send(m->io, &m->send, m->sock, &m->iov, 1);
}

int midge_poll(struct midge *m, uint64_t max_wait_ns)
{
    if (m->polling)
        return client_error(m, MIDGE_INVALID, "a call that waits, inside of a callback");
    if (m->state == CLIENT_ENDED)
        return MIDGE_CLOSED;
    m->polling = true;
    send_some(m);
    io_poll(m->io, max_wait_ns);
    m->polling = false;
    return m->state == CLIENT_ENDED ? MIDGE_CLOSED : MIDGE_OK;
}

int client_wait_flag(struct midge *m, const bool *flag, uint64_t end)
{
    while (!*flag) {
        uint64_t now = midge_now();
        int rc;
        if (now >= end)
            return client_error(m, MIDGE_TIMEOUT, "timeout");
        rc = midge_poll(m, end - now);
        if (rc != MIDGE_OK)
            return rc;
    }
    return MIDGE_OK;
}

int client_wait_up(struct midge *m, uint64_t end)
{
    if (m->polling)
        return client_error(m, MIDGE_INVALID, "a call that waits, inside of a callback");
    while (!client_up(m)) {
        uint64_t now = midge_now();
        if (m->state == CLIENT_ENDED)
            return MIDGE_CLOSED;
        if (now >= end)
            return MIDGE_TIMEOUT; /* midge_error still says why it broke */
        midge_poll(m, end - now);
    }
    return MIDGE_OK;
}

int midge_flush(struct midge *m, int timeout_ms)
{
    uint64_t end = client_end(timeout_ms);
    int rc = client_wait_up(m, end);
    uint64_t generation = m->generation, mine;

    if (rc != MIDGE_OK)
        return rc;
    mine = ++m->pings_sent;
    buf_puts(&m->out, "PING\r\n");
    while (m->generation == generation && client_up(m) && m->pongs_seen < mine) {
        uint64_t now = midge_now();
        if (now >= end)
            return client_error(m, MIDGE_TIMEOUT, "timeout");
        midge_poll(m, end - now);
    }
    if (m->generation == generation && client_up(m))
        return MIDGE_OK;
    return m->state == CLIENT_ENDED ? MIDGE_CLOSED : MIDGE_LOST;
}

/* ---- publishing ------------------------------------------------------------------------------ */

void client_publish(struct midge *m, const struct midge_msg *msg)
{
    struct nats_to to = {.subject = client_str(msg->subject), .reply = client_str(msg->reply)};
    size_t body = msg->header.n + msg->payload.n;
    char *at;

    if (!client_up(m))
        return;
    at = buf_reserve(&m->out, nats_pub_max(to.subject.n, to.reply.n) + body + 2);
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
    if (m->state == CLIENT_ENDED)
        return MIDGE_CLOSED;
    if (m->out.n > m->o.max_output || !client_up(m))
        return MIDGE_FULL;
    if (m->info.max_payload > 0 && msg->header.n + msg->payload.n > (uint64_t) m->info.max_payload)
        return client_error(m, MIDGE_INVALID,
                            "%zu bytes are more than the server's max_payload, %lld",
                            msg->header.n + msg->payload.n, (long long) m->info.max_payload);
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

static void put_sub(struct midge *m, const struct midge_sub *s)
{
    if (s->queue.n > 0)
        buf_printf(&m->out, "SUB %.*s %.*s %llu\r\n", STR_ARG(s->subject), STR_ARG(s->queue),
                   (unsigned long long) s->sid);
    else
        buf_printf(&m->out, "SUB %.*s %llu\r\n", STR_ARG(s->subject), (unsigned long long) s->sid);
}

void client_resubscribe(struct midge *m)
{
    for (size_t i = 0; i < m->nsubs; i++)
        if (m->subs[i].sub != NULL)
            put_sub(m, m->subs[i].sub);
}

struct midge_sub *midge_subscribe(struct midge *m, struct midge_text subject,
                                  struct midge_text queue, midge_on_msg on_msg, void *ctx)
{
    uint64_t sid = m->state == CLIENT_ENDED ? 0 : take_slot(m);
    struct midge_sub *s;
    char *texts;

    if (sid == 0)
        return NULL;
    s = mem_zalloc(sizeof(*s) + subject.n + queue.n + 1);
    texts = (char *) (s + 1);
    memcpy(texts, subject.p, subject.n);
    if (queue.n > 0)
        memcpy(texts + subject.n, queue.p, queue.n);
    s->subject = str_from(texts, subject.n);
    s->queue = str_from(texts + subject.n, queue.n);
    s->m = m;
    s->on_msg = on_msg;
    s->ctx = ctx;
    s->sid = sid;
    m->subs[sid % MAX_SUBS].sub = s;
    if (client_up(m))
        put_sub(m, s);
    return s;
}

void midge_unsubscribe(struct midge *m, struct midge_sub *s)
{
    if (s == NULL)
        return;
    if (client_up(m))
        buf_printf(&m->out, "UNSUB %llu\r\n", (unsigned long long) s->sid);
    m->subs[s->sid % MAX_SUBS].sub = NULL;
    mem_free(s);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void sent(struct io_op *op)
{
    struct midge *m = CONTAINER_OF(op, struct midge, send);

    buf_clear(&m->sending);
    if (op->res < 0 && !m->stopping)
        client_lost(m, "sending failed: %s", strerror((int) -op->res));
}

/* The options' texts move into memory of the connection: first their bytes, then, when that memory
 * moves no more, the pointers. */
static void keep_options(struct midge *m, const struct midge_options *o)
{
    const char **texts[] = {&m->o.host,    &m->o.user,       &m->o.pass,      &m->o.token,
                            &m->o.name,    &m->o.congestion, &m->o.js_domain, &m->o.js_prefix,
                            &m->o.creds,   &m->o.nkey,       &m->o.tls_ca,    &m->o.tls_cert,
                            &m->o.tls_key, &m->o.tls_name,   &m->o.ws_path};
    size_t n = sizeof(texts) / sizeof(texts[0]);
    char *at;

    m->o = *o;
    for (size_t i = 0; i < n; i++)
        if (*texts[i] != NULL)
            buf_put(&m->strings, *texts[i], strlen(*texts[i]) + 1);
    at = m->strings.p;
    for (size_t i = 0; i < n; i++)
        if (*texts[i] != NULL) {
            *texts[i] = at;
            at += strlen(at) + 1;
        }
    if (m->o.js_prefix != NULL)
        snprintf(m->js_prefix, sizeof(m->js_prefix), "%.250s.", m->o.js_prefix);
    else if (m->o.js_domain != NULL)
        snprintf(m->js_prefix, sizeof(m->js_prefix), "$JS.%.240s.API.", m->o.js_domain);
    else
        snprintf(m->js_prefix, sizeof(m->js_prefix), "$JS.API.");
}

static int open_loop(const struct midge_options *o, struct io **out)
{
    struct io_config config;

    io_config_init(&config);
    config.backend = IO_BACKEND_EVENT;
    config.spin_ns = o->spin_ns;
    config.congestion = o->congestion;
    config.commit_threads = 1;
    config.work_threads = 1;
    return io_open(&config, out);
}

static void first_try(struct midge *m)
{
    client_dial(m);
    while (!client_up(m) && m->state != CLIENT_ENDED)
        midge_poll(m, 1000 * CLIENT_MS);
}

struct midge *midge_connect(const struct midge_options *o, char err[256])
{
    struct midge *m = mem_zalloc(sizeof(*m));
    int rc = open_loop(o, &m->io);
    uint64_t seed;

    if (rc != 0) {
        snprintf(err, 256, "can not open an I/O loop: %s", strerror(-rc));
        mem_free(m);
        return NULL;
    }
    keep_options(m, o);
    io_random(m->io, &seed, sizeof(seed));
    prng_init(&m->prng, seed);
    nuid_init(&m->nuid, &m->prng);
    list_init(&m->hooks);
    list_init(&m->asks);
    io_op_init(&m->send, sent);
    client_receive_init(m);
    first_try(m);
    if (m->state == CLIENT_ENDED) {
        snprintf(err, 256, "%s", m->error);
        midge_close(m);
        return NULL;
    }
    return m;
}

void midge_close(struct midge *m)
{
    m->stopping = true;
    client_dial_stop(m);
    midge_unsubscribe(m, m->replies);
    while (!list_empty(&m->asks))
        client_ask_end(LIST_ENTRY(list_first(&m->asks), struct client_ask, link));
    io_close(m->io);
    client_receive_reset(m);
    client_transport_reset(m);
    nats_parser_deinit(&m->parser);
    for (size_t i = 0; i < m->nsubs; i++)
        mem_free(m->subs[i].sub);
    mem_free(m->subs);
    client_info_free(&m->info);
    buf_free(&m->out);
    buf_free(&m->sending);
    buf_free(&m->strings);
    mem_free(m);
}
