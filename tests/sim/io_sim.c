/*
 * io_sim.c - the simulator as a backend of lib/io: loops, polling, and operations that are neither
 * a file's nor a socket's.
 *
 * A poll of a loop may wait, as a real one: then time moves until something of this loop completes,
 * with the rest of the simulated world going on meanwhile, though no other loop runs. Code with
 * several loops polls with 0 and leaves waiting to sim_next. An iteration takes POLL_NS, so that a
 * loop that spins sees time pass.
 */
#include "lib/base/assert.h"
#include "tests/sim/sim_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_NS 200
/* The longest wait without any event in sight. */
#define IDLE_NS 1000000000

/* ---- pending operations ---------------------------------------------------------------------- */

struct sim_pending *sim_pending_new(struct sim_loop *loop, struct io_op *op)
{
    struct sim_pending *p = sim_alloc(sizeof(*p));
    p->loop = loop;
    p->op = op;
    list_push_back(&loop->pending, &p->link);
    return p;
}

void sim_pending_free(struct sim_pending *p)
{
    sim_event_stop(p->loop->sim, &p->ev);
    list_remove(&p->link);
    free(p->host);
    free(p);
}

void sim_pending_done(struct sim_pending *p, int64_t res)
{
    struct sim_loop *loop = p->loop;
    struct io_op *op = p->op;
    sim_trace(loop->sim, "%u done %d -> %lld", loop->id, op->kind, (long long) res);
    sim_pending_free(p);
    io_complete(&loop->io, op, res);
}

static struct sim_pending *pending_find(struct sim_loop *loop, const struct io_op *op)
{
    LIST_FOREACH(it, &loop->pending)
    {
        struct sim_pending *p = LIST_ENTRY(it, struct sim_pending, link);
        if (p->op == op)
            return p;
    }
    LIST_FOREACH(it, &loop->works)
    {
        struct sim_pending *p = LIST_ENTRY(it, struct sim_pending, link);
        if (p->op == op)
            return p;
    }
    return NULL;
}

/* ---- long work ------------------------------------------------------------------------------- */

static void start_works(struct sim_loop *loop);

static void work_returns(struct sim *sim, struct sim_event *ev)
{
    struct sim_pending *p = CONTAINER_OF(ev, struct sim_pending, ev);
    struct sim_loop *loop = p->loop;
    (void) sim;
    loop->works_running--;
    sim_pending_done(p, 0);
    start_works(loop);
}

static void work_runs(struct sim *sim, struct sim_event *ev)
{
    struct sim_pending *p = CONTAINER_OF(ev, struct sim_pending, ev);
    p->op->work->run(p->op->work);
    sim_event_start(sim, &p->ev, sim->now + sim_draw(sim, &sim->options.work), work_returns);
}

static void start_works(struct sim_loop *loop)
{
    struct sim *sim = loop->sim;
    unsigned threads = loop->io.config.work_threads > 0 ? loop->io.config.work_threads : 1;
    while (loop->works_running < threads && !list_empty(&loop->works)) {
        struct sim_pending *p = LIST_ENTRY(list_pop_front(&loop->works), struct sim_pending, link);
        list_push_back(&loop->pending, &p->link);
        loop->works_running++;
        p->begun = true;
        sim_event_start(sim, &p->ev, sim->now + sim_draw(sim, &sim->options.work), work_runs);
    }
}

static void submit_work(struct sim_loop *loop, struct io_op *op)
{
    struct sim_pending *p = sim_pending_new(loop, op);
    list_remove(&p->link);
    list_push_back(&loop->works, &p->link);
    op->work->fs = loop->io.fs;
    start_works(loop);
}

/* ---- the backend ----------------------------------------------------------------------------- */

static void close_loop(struct io *io)
{
    struct sim_loop *loop = sim_loop_of(io);
    ASSERT(list_empty(&loop->pending) && list_empty(&loop->works));
    ASSERT(list_empty(&loop->socks) && list_empty(&loop->files));
    list_remove(&loop->link);
    io_teardown(io);
    sim_arena_close(loop->arena);
    free(loop);
}

static void poll_loop(struct io *io, uint64_t wait_ns)
{
    struct sim_loop *loop = sim_loop_of(io);
    struct sim *sim = loop->sim;
    sim->now += POLL_NS;
    if (wait_ns > IDLE_NS)
        wait_ns = IDLE_NS;
    uint64_t deadline = sim->now + wait_ns;
    while (sim_run_event(sim, sim->now))
        ;
    while (!atomic_exchange(&loop->woken, false) && list_empty(&io->ready)) {
        if (!sim_run_event(sim, deadline)) {
            sim->now = deadline > sim->now ? deadline : sim->now;
            break;
        }
    }
}

static void wake_loop(struct io *io)
{
    atomic_store(&sim_loop_of(io)->woken, true);
}

static uint64_t monotonic(struct io *io)
{
    return sim_loop_of(io)->sim->now;
}

static int64_t wall(struct io *io)
{
    struct sim *sim = sim_loop_of(io)->sim;
    return (int64_t) sim->now + sim->wall_offset;
}

static void random_bytes(struct io *io, void *out, size_t n)
{
    prng_fill(&sim_loop_of(io)->sim->rng, out, n);
}

static void submit(struct io *io, struct io_op *op)
{
    struct sim_loop *loop = sim_loop_of(io);
    switch (op->kind) {
    case IO_COMMIT:
    case IO_WRITE:
    case IO_SYNC:
    case IO_READ:
    case IO_READ_ONCE:
        sim_file_submit(loop, op);
        break;
    case IO_WORK:
        submit_work(loop, op);
        break;
    default:
        sim_net_submit(loop, op);
        break;
    }
}

static void cancel(struct io *io, struct io_op *op)
{
    struct sim_loop *loop = sim_loop_of(io);
    switch (op->kind) {
    case IO_COMMIT:
    case IO_WRITE:
    case IO_SYNC:
    case IO_READ:
    case IO_READ_ONCE:
    case IO_WORK:
    case IO_CONNECT: {
        struct sim_pending *p = pending_find(loop, op);
        ASSERT(p != NULL);
        bool sure = op->kind == IO_WORK || op->kind == IO_CONNECT;
        if (!p->begun && (sure || sim_chance(loop->sim, 50)))
            sim_pending_done(p, -ECANCELED);
        break;
    }
    default:
        sim_net_cancel(loop, op);
        break;
    }
}

const struct io_ops sim_io_ops = {
    .name = "simulator",
    .close = close_loop,
    .poll = poll_loop,
    .wake = wake_loop,
    .monotonic = monotonic,
    .wall = wall,
    .random = random_bytes,
    .listen = sim_net_listen,
    .connect = sim_net_connect,
    .fd_discard = sim_net_discard,
    .sock_open = sim_net_sock_open,
    .sock_free = sim_net_sock_free,
    .sock_shutdown = sim_net_shutdown,
    .sock_addr = sim_net_addr,
    .file_open = sim_file_open,
    .file_close = sim_file_close,
    .submit = submit,
    .cancel = cancel,
    .before = sim_net_before,
    .after = sim_net_after,
};

struct io *sim_loop_open(struct sim *sim, const struct io_config *config, bool remote)
{
    struct io_config defaults;
    struct sim_loop *loop = sim_alloc(sizeof(*loop));
    if (config == NULL) {
        io_config_init(&defaults);
        config = &defaults;
    }
    loop->sim = sim;
    loop->id = ++sim->last_loop;
    loop->remote = remote;
    list_init(&loop->pending);
    list_init(&loop->works);
    list_init(&loop->socks);
    list_init(&loop->files);
    list_push_back(&sim->loops, &loop->link);
    loop->arena = sim_arena_open();
    struct sim_arena *before = sim_arena_use(loop->arena);
    io_setup(&loop->io, &sim_io_ops, config, &sim->door.fs);
    sim_arena_use(before);
    loop->io.config.backend = IO_BACKEND_SIM;
    snprintf(loop->io.reason, sizeof(loop->io.reason), "seeded");
    return &loop->io;
}

void sim_loop_vanish(struct sim_loop *loop)
{
    LIST_FOREACH_SAFE(it, tmp, &loop->pending)
    sim_pending_free(LIST_ENTRY(it, struct sim_pending, link));
    LIST_FOREACH_SAFE(it, tmp, &loop->works)
    sim_pending_free(LIST_ENTRY(it, struct sim_pending, link));
    sim_net_vanish(loop);
    LIST_FOREACH_SAFE(it, tmp, &loop->files)
    sim_file_vanish(LIST_ENTRY(it, struct sim_file, link));
    list_remove(&loop->link);
    sim_arena_close(loop->arena);
    free(loop);
}

bool sim_loop_runnable(struct sim_loop *loop)
{
    return loop->wanted || atomic_load(&loop->woken) || !list_empty(&loop->io.ready) ||
           wheel_next_ns(loop->io.wheel) <= loop->sim->now;
}
