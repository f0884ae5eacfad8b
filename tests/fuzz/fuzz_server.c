/*
 * fuzz_server.c - a whole server on the simulator, and somebody who connects and says anything.
 *
 * Input: a letter, then pieces with the bytes ff fe between them. Each piece is sent when the
 * server has nothing left to do about the one before it. The letter says where, and what a piece
 * is:
 *
 *     c, u   a client's bytes; with u the server has users, and permissions
 *     a      a request: subject, newline, [header, blank line,] body. The subject is below $JS.API,
 *            or, behind a "!", a whole one
 *     l, h   a leaf node's bytes; with h the server is the one that has dialled
 *     w, f   bytes at the WebSocket door; f: of frames, behind an upgrade that was agreed on
 *     k, s   a Kafka request without its length; with s the server has users
 *
 * Afterwards the connection ends and the server has to stop by itself, with nothing left (the leak
 * check of the sanitizer).
 */
#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "lib/io/acceptor.h"
#include "server/config/conf_parse.h"
#include "server/config/config_file.h"
#include "server/config/options.h"
#include "server/parts.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/sim.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define PIECES_MAX 64u
/* The server's iterations for one piece, and for stopping. */
#define STEPS_MAX 3000u
#define STOP_STEPS_MAX 2000000u
#define IDLE_NS 2000000u

enum { CLIENTS = 4222, LEAFS = 7422, HUB = 7423, WEBSOCKET = 8080, KAFKA = 9092 };

#define DOORS                                                                                      \
    "listen: \"127.0.0.1:4222\"\njetstream { domain: d }\n"                                        \
    "websocket { listen: \"127.0.0.1:8080\", no_tls: true, compression: true }\n"                  \
    "kafka { listen: \"127.0.0.1:9092\", group_delay: \"0s\" }\n"
#define LEAF_DOOR "leafnodes { listen: \"127.0.0.1:7422\" }\n"

static const char *const open_conf = DOORS LEAF_DOOR;
static const char *const hub_conf = DOORS
    "leafnodes { remotes: [ { url: \"nats-leaf://u:p@127.0.0.1:7423\" } ] }\n";
static const char *const users_conf = DOORS LEAF_DOOR
    "accounts {\n"
    " A { jetstream: enabled, users: [ { user: a, password: a }\n"
    "   { user: b, password: b, permissions { publish: [ \"b.>\", \"$JS.API.>\" ]\n"
    "     subscribe { deny: \"b.no\" }, allow_responses: true } }\n"
    "   { nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 } ]\n"
    "   exports: [ { service: q }, { stream: t } ], mappings { m: n } }\n"
    " B { users: [ { user: c, password: c } ]\n"
    "   imports: [ { service: { account: A, subject: q } }\n"
    "     { stream: { account: A, subject: t }, prefix: p } ] }\n"
    "}\n";

struct far {
    struct io *io;
    struct io_sock *sock;
    struct io_op connect, recv, send, close;
    struct acceptor acceptor;
    struct buf out;
    struct iovec iov;
    bool ended, closed;
};

struct stage {
    struct sim *sim;
    struct options options;
    struct server_parts parts;
    struct far far;
    bool stopped;
};

/* ---- the other side -------------------------------------------------------------------------- */

static void received(struct io_op *op)
{
    struct far *f = CONTAINER_OF(op, struct far, recv);

    if (op->res <= 0)
        f->ended = true;
    else
        io_recv(f->io, &f->recv, f->sock);
}

static void sent(struct io_op *op)
{
    struct far *f = CONTAINER_OF(op, struct far, send);

    f->ended |= op->res < 0;
    buf_clear(&f->out);
}

static void begin(struct far *f, io_fd fd)
{
    if (f->sock != NULL) {
        io_fd_discard(f->io, fd);
        return;
    }
    f->sock = io_sock_open(f->io, fd);
    io_recv(f->io, &f->recv, f->sock);
}

static void connected(struct io_op *op)
{
    struct far *f = CONTAINER_OF(op, struct far, connect);

    ASSERT(op->res >= 0);
    begin(f, (io_fd) op->res);
}

static void accepted(struct acceptor *a, io_fd fd)
{
    begin(CONTAINER_OF(a, struct far, acceptor), fd);
}

static void not_accepting(struct acceptor *a)
{
    (void) a;
}

static void closed(struct io_op *op)
{
    CONTAINER_OF(op, struct far, close)->closed = true;
}

/* ---- time ------------------------------------------------------------------------------------ */

static bool step(struct stage *s, uint64_t wait_ns)
{
    struct io *io = sim_next(s->sim, wait_ns);
    struct worker *w = worker_group_get(s->parts.workers, 0);

    if (io == NULL)
        return false;
    if (io == s->far.io) {
        io_poll(io, 0);
        return true;
    }
    worker_step(w, 0);
    if (w->busy)
        sim_want(w->env.io);
    ask_all_reap(s->parts.workers);
    return true;
}

static void settle(struct stage *s)
{
    for (unsigned i = 0; i < STEPS_MAX && step(s, IDLE_NS); i++)
        ;
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool read_text(void *ctx, const char *path, struct buf *out, struct buf *err)
{
    (void) path;
    (void) err;
    buf_puts(out, ctx);
    return true;
}

static const char *no_environment(void *ctx, const char *name)
{
    (void) ctx;
    (void) name;
    return NULL;
}

static void configure(struct options *o, const char *text)
{
    struct conf_source source = {read_text, no_environment, (void *) (uintptr_t) text};
    struct conf_tree tree;
    struct buf err = {0};
    char why[256] = "";

    options_init(o);
    if (!conf_parse(&source, "0", &tree, &err) || !config_file_apply(&tree, o, &err))
        FATAL("%s", buf_cstr(&err));
    conf_tree_free(&tree);
    buf_free(&err);
    options_finish(o);
    if (!options_check(o, why))
        FATAL("%s", why);
    o->pool_bytes = 0;
    o->cache_bytes = 1u << 20;
    o->max_payload = 64u << 10;
    o->max_pending = 1u << 20;
}

static int open_io(void *ctx, unsigned worker, struct io **out)
{
    (void) worker;
    *out = sim_io_open(((struct stage *) ctx)->sim, NULL);
    return 0;
}

static void boot(struct stage *s, const char *conf)
{
    struct sim_options so;
    char why[256], host[64];
    uint16_t port;

    json_set_alloc_funcs(mem_alloc, mem_free);
    sim_options_init(&so);
    so.capacity = 64u << 20;
    so.split_percent = so.early_names_percent = so.evict_percent = 0;
    so.write = so.sync = so.read = so.work = so.net = (struct sim_latency){1000, 1000};
    s->sim = sim_open(1, &so);
    configure(&s->options, conf);
    struct server_parts_options o = {
        .options = &s->options,
        .log = sim_log(s->sim),
        .server_id = "NSIMULATEDSIMULATEDSIMULATEDSIMULATEDSIMULATEDSIMULATED0",
        .version = "2.15.0",
        .workers = 1,
        .seed = 1,
        .workers_seed = 2,
        .open_io = open_io,
        .ctx = s,
        .store_seed = 3,
        .log_file_bytes = 64u << 10,
        .segment_bytes_min = 64u << 10,
        .segment_bytes_max = 64u << 10,
    };
    io_config_init(&o.io);
    if (!parts_open_workers(&s->parts, &o, why) || !parts_open_jetstream(&s->parts, "data", why) ||
        !parts_open_net(&s->parts, &(struct parts_tls){0}, host, &port, why) ||
        !parts_open_websocket(&s->parts, host, &port, why) ||
        !parts_open_leafs(&s->parts, host, &port, why) || !parts_open_kafka(&s->parts, &port, why))
        FATAL("%s", why);
    sim_want(worker_group_get(s->parts.workers, 0)->env.io);
}

static void all_stopped(struct server_parts *p)
{
    CONTAINER_OF(p, struct stage, parts)->stopped = true;
}

static void halt(struct stage *s)
{
    parts_stop(&s->parts, all_stopped);
    for (unsigned i = 0; !s->stopped; i++) {
        ASSERT(i < STOP_STEPS_MAX);
        if (!step(s, 1000000))
            sim_want(worker_group_get(s->parts.workers, 0)->env.io);
    }
    parts_close(&s->parts);
    options_free(&s->options);
}

static void arrive(struct stage *s, uint16_t port)
{
    struct far *f = &s->far;
    struct io_addr bound;

    f->io = sim_io_open_remote(s->sim, NULL);
    io_op_init(&f->connect, connected);
    io_op_init(&f->recv, received);
    io_op_init(&f->send, sent);
    io_op_init(&f->close, closed);
    if (port == HUB) {
        f->acceptor.accepted = accepted;
        f->acceptor.closed = not_accepting;
        f->acceptor.log = sim_log(s->sim);
        ASSERT(acceptor_open(&f->acceptor, f->io, "127.0.0.1", port, &bound) == 0);
        return;
    }
    io_connect(f->io, &f->connect, "127.0.0.1", port);
    sim_want(f->io);
}

static void leave(struct stage *s)
{
    struct far *f = &s->far;

    if (f->sock != NULL) {
        io_sock_close(f->io, &f->close, f->sock);
        sim_want(f->io);
    }
    if (f->acceptor.open)
        acceptor_close(&f->acceptor);
    settle(s);
    while ((f->sock != NULL && !f->closed) || f->acceptor.open)
        ASSERT(step(s, 1000000000));
}

/* ---- what is said ---------------------------------------------------------------------------- */

static void say(struct stage *s)
{
    struct far *f = &s->far;

    if (f->sock == NULL || f->ended || io_op_busy(&f->send) || f->out.n == 0) {
        settle(s);
        return;
    }
    f->iov = (struct iovec){f->out.p, f->out.n};
    io_send(f->io, &f->send, f->sock, &f->iov, 1);
    sim_want(f->io);
    settle(s);
}

static void put_request(struct buf *out, struct str piece)
{
    struct str body, subject = str_cut(piece, '\n', &body), header = STR_NONE;
    const char *end = body.n > 4 ? memmem(body.p, body.n, "\r\n\r\n", 4) : NULL;
    bool whole = subject.n > 0 && subject.p[0] == '!';

    if (str_starts(body, STR("NATS/1.0")) && end != NULL)
        header = str_take(body, (size_t) (end + 4 - body.p));
    buf_printf(out, "%s %s%.*s _r.1 ", header.n > 0 ? "HPUB" : "PUB", whole ? "" : "$JS.API.",
               STR_ARG(str_skip(subject, whole)));
    if (header.n > 0)
        buf_printf(out, "%zu ", header.n);
    buf_printf(out, "%zu\r\n", body.n);
    buf_put_str(out, body);
    buf_puts(out, "\r\n");
}

/* A frame with a mask of zeroes. */
static void put_frame(struct buf *out, struct str piece)
{
    if (piece.n < 1)
        return;
    buf_putc(out, piece.p[0]);
    piece = str_take(str_skip(piece, 1), UINT16_MAX);
    buf_putc(out, (char) (0x80 | (piece.n < 126 ? piece.n : 126)));
    if (piece.n >= 126) {
        buf_putc(out, (char) (piece.n >> 8));
        buf_putc(out, (char) piece.n);
    }
    buf_put(out, "\0\0\0", 4);
    buf_put_str(out, piece);
}

static void put_piece(struct buf *out, char door, struct str piece)
{
    uint32_t n = (uint32_t) piece.n;

    switch (door) {
    case 'a':
        put_request(out, piece);
        break;
    case 'f':
        put_frame(out, piece);
        break;
    case 'k':
    case 's':
        for (int shift = 24; shift >= 0; shift -= 8)
            buf_putc(out, (char) (n >> shift));
        buf_put_str(out, piece);
        break;
    default:
        buf_put_str(out, piece);
        break;
    }
}

static void put_greeting(struct buf *out, char door)
{
    if (door == 'a')
        buf_puts(out, "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n"
                      "SUB _r.* 1\r\n");
    if (door == 'f')
        buf_puts(out, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                      "Sec-WebSocket-Version: 13\r\n"
                      "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
}

static void say_all(struct stage *s, char door, struct str in)
{
    struct far *f = &s->far;

    settle(s);
    put_greeting(&f->out, door);
    say(s);
    for (unsigned i = 0; i < PIECES_MAX && in.n > 0; i++) {
        const char *at = memmem(in.p, in.n, "\xff\xfe", 2);
        size_t n = at != NULL ? (size_t) (at - in.p) : in.n;
        if (!io_op_busy(&f->send))
            put_piece(&f->out, door, str_take(in, n));
        in = str_skip(in, at != NULL ? n + 2 : n);
        say(s);
    }
}

static const struct {
    char letter;
    uint16_t port;
    const char *const *conf;
} doors[] = {
    {'c', CLIENTS, &open_conf},   {'u', CLIENTS, &users_conf}, {'a', CLIENTS, &open_conf},
    {'l', LEAFS, &open_conf},     {'h', HUB, &hub_conf},       {'w', WEBSOCKET, &open_conf},
    {'f', WEBSOCKET, &open_conf}, {'k', KAFKA, &open_conf},    {'s', KAFKA, &users_conf},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stage s = {0};
    size_t d = 0;

    while (size > 0 && d < ARRAY_LEN(doors) && doors[d].letter != (char) data[0])
        d++;
    if (size == 0 || d == ARRAY_LEN(doors))
        return 0;
    boot(&s, *doors[d].conf);
    arrive(&s, doors[d].port);
    say_all(&s, doors[d].letter, str_from(data + 1, size - 1));
    leave(&s);
    halt(&s);
    io_close(s.far.io);
    buf_free(&s.far.out);
    sim_close(s.sim);
    return 0;
}
