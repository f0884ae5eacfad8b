/* server_stage.c - see the header. */
#include "tests/sim/server_stage.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "server/config/conf_parse.h"
#include "server/config/config_file.h"

#include <jansson.h>

/* The server's iterations for one thing that was said, and for stopping. */
#define STEPS_MAX 3000u
#define STOP_STEPS_MAX 2000000u
#define IDLE_NS 2000000u

/* ---- the other side -------------------------------------------------------------------------- */

static void received(struct io_op *op)
{
    struct far *f = CONTAINER_OF(op, struct far, recv);

    if (op->res <= 0) {
        f->ended = true;
        return;
    }
    buf_put(&f->in, op->data, (size_t) op->res);
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

void stage_settle(struct stage *s)
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

void stage_open(struct stage *s, const char *conf)
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
        .kafka_limits = s->limits,
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

static void begin_far(struct stage *s)
{
    struct far *f = &s->far;

    f->io = sim_io_open_remote(s->sim, NULL);
    io_op_init(&f->connect, connected);
    io_op_init(&f->recv, received);
    io_op_init(&f->send, sent);
    io_op_init(&f->close, closed);
}

void stage_connect(struct stage *s, uint16_t port)
{
    begin_far(s);
    io_connect(s->far.io, &s->far.connect, "127.0.0.1", port);
    sim_want(s->far.io);
}

void stage_listen(struct stage *s, uint16_t port)
{
    struct far *f = &s->far;
    struct io_addr bound;

    begin_far(s);
    f->acceptor.accepted = accepted;
    f->acceptor.closed = not_accepting;
    f->acceptor.log = sim_log(s->sim);
    ASSERT(acceptor_open(&f->acceptor, f->io, "127.0.0.1", port, &bound) == 0);
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
    stage_settle(s);
    while ((f->sock != NULL && !f->closed) || f->acceptor.open)
        ASSERT(step(s, 1000000000));
}

void stage_close(struct stage *s)
{
    leave(s);
    halt(s);
    io_close(s->far.io);
    buf_free(&s->far.out);
    buf_free(&s->far.in);
    sim_close(s->sim);
}

/* ---- what is said ---------------------------------------------------------------------------- */

bool stage_can_say(const struct stage *s)
{
    return s->far.sock != NULL && !s->far.ended && !io_op_busy(&s->far.send);
}

void stage_say(struct stage *s)
{
    struct far *f = &s->far;

    if (stage_can_say(s) && f->out.n > 0) {
        f->iov = (struct iovec){f->out.p, f->out.n};
        io_send(f->io, &f->send, f->sock, &f->iov, 1);
        sim_want(f->io);
    }
    stage_settle(s);
}
