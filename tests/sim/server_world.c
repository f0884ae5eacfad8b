/*
 * server_world.c - booting, stepping and ending a simulated machine with a server; see
 * server_world.h.
 *
 * Memory: while the server's code runs, and while time passes (its long work runs then), its arena
 * is current. Clients belong to other machines; their memory is nobody's.
 */
#include "tests/sim/server_world.h"

#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/io/io_backend.h"
#include "server/core/account.h"
#include "server/core/interest.h"
#include "server/js/consumer_int.h"
#include "server/net/net.h"
#include "store/store.h"
#include "tests/sim/server_plant.h"
#include "tests/sim/server_wire.h"
#include "tests/sim/sim_disk_int.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* A server that needs more iterations than this to stop spins. */
#define STOP_STEPS 6000000
#define STOP_WAIT_NS 1000000u

void world_fail(struct world *w, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    sim_trace(w->sim, "FAILED %s", text);
    fflush(NULL);
    fprintf(stderr, "seed %llu%s: %s\n", (unsigned long long) w->seed,
            w->depth > 0 ? ", in a power cut tried on the side" : "", text);
    if (w->keep != NULL) {
        sim_disk_export(sim_disk(w->sim), w->keep);
        fprintf(stderr, "the disk is in %s\n", w->keep);
    }
    _Exit(1);
}

/* ---- booting --------------------------------------------------------------------------------- */

static void set_options(struct world *w)
{
    struct options *o = &w->options;

    options_init(o);
    o->jetstream = true;
    o->spread = true;
    o->port = WORLD_PORT;
    o->pool_bytes = w->swarm->pool_bytes;
    o->cache_bytes = w->swarm->cache_bytes;
    o->max_pending = 1u << 20;
    if (w->swarm->kafka) {
        o->kafka_port = WORLD_KAFKA_PORT;
        o->kafka_auto_create = false;
        o->kafka_compaction_ns = w->swarm->compaction_ns;
    }
    options_finish(o);
}

static int open_io(void *ctx, unsigned worker, struct io **out)
{
    struct world *w = ctx;

    (void) worker;
    *out = sim_io_open(w->sim, NULL);
    return 0;
}

void world_boot(struct world *w)
{
    struct sim_arena *before;
    char why[256], host[64];
    uint16_t port, kafka_port;

    /* Now and then with another number of workers than before. */
    if (w->boots == 0 || prng_below(sim_rng(w->sim), 4) != 0)
        w->workers = w->swarm->workers;
    else
        w->workers = 1u << prng_below(sim_rng(w->sim), 3);
    sim_trace(w->sim, "boot %u with %u workers", w->boots, w->workers);
    struct server_parts_options o = {
        .options = &w->options,
        .log = sim_log(w->sim),
        .server_id = "NSIMULATEDSIMULATEDSIMULATEDSIMULATEDSIMULATEDSIMULATED0",
        .version = "2.15.0",
        .workers = w->workers,
        .seed = hash_mix(w->seed, w->boots + 1),
        .workers_seed = hash_mix(w->seed + 2, sim_now(w->sim)),
        .open_io = open_io,
        .ctx = w,
        .store_seed = hash_mix(w->seed + 1, sim_now(w->sim)),
        .log_file_bytes = w->swarm->log_file_bytes,
        .segment_bytes_min = w->swarm->segment_min,
        .segment_bytes_max = w->swarm->segment_max,
        .index_lazy_bytes = w->seed % 2, /* every other world reads its indexes after the start */
        .seal_bytes = w->seed / 2 % 2,   /* and every other one is closed with all sealed */
        /* and small transactions are kept in pieces */
        .kafka_limits = {.txn_whole_least = w->seed / 4 % 2},
    };
    w->arena = sim_arena_open();
    before = sim_arena_use(w->arena);
    set_options(w);
    memset(&w->parts, 0, sizeof(w->parts));
    io_config_init(&o.io);
    if (!parts_open_workers(&w->parts, &o, why) ||
        !parts_open_jetstream(&w->parts, "data/jetstream", why) ||
        !parts_open_net(&w->parts, NULL, host, &port, why) ||
        !parts_open_kafka(&w->parts, &kafka_port, why))
        world_fail(w, "the server does not start: %s", why);
    for (unsigned i = 0; i < w->workers; i++)
        sim_want(worker_group_get(w->parts.workers, i)->env.io);
    sim_arena_use(before);
    w->boots++;
    w->up = true;
    w->stopped = false;
}

/* ---- running --------------------------------------------------------------------------------- */

static bool step_server(struct world *w, struct io *io)
{
    if (!w->up)
        return false;
    for (unsigned i = 0; i < w->workers; i++) {
        struct worker *x = worker_group_get(w->parts.workers, i);
        if (x->env.io != io)
            continue;
        plant_before(w, x);
        worker_step(x, 0);
        plant_after(w, x);
        if (x->busy)
            sim_want(io);
        ask_all_reap(w->parts.workers);
        return true;
    }
    return false;
}

bool world_step(struct world *w, uint64_t max_wait_ns)
{
    struct sim_arena *before = sim_arena_use(w->arena);
    struct io *io = sim_next(w->sim, max_wait_ns);
    bool server = io != NULL && step_server(w, io);

    sim_arena_use(before);
    if (io != NULL && !server)
        wires_step(w, io);
    return io != NULL;
}

void world_steps(struct world *w, unsigned n)
{
    while (n-- > 0 && world_step(w, 1000000))
        ;
}

void world_check(struct world *w)
{
    struct sim_arena *before = sim_arena_use(w->arena);

    for (unsigned i = 0; w->up && i < w->workers; i++) {
        struct worker *x = worker_group_get(w->parts.workers, i);
        struct hmap_iter it = {0};
        struct hmap_node *n;
        store_check(x->store);
        router_check(x->env.router);
        wheel_check(io_wheel(x->env.io));
        while ((n = hmap_each(&x->env.jetstream->of[0]->streams, &it)) != NULL) {
            struct stream *s = CONTAINER_OF(n, struct stream, node);
            LIST_FOREACH(l, &s->consumers)
            consumer_core_check(&LIST_ENTRY(l, struct consumer, stream_link)->core);
        }
    }
    if (w->up)
        interest_check(w->parts.account->interest);
    sim_arena_use(before);
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void all_stopped(struct server_parts *p)
{
    CONTAINER_OF(p, struct world, parts)->stopped = true;
}

static void check_nothing_left(struct world *w)
{
    unsigned long number = 0;
    size_t n = sim_arena_oldest(w->arena, &number);

    if (n > 0)
        world_fail(w,
                   "%zu blocks of memory are left after closing, the first is allocation %lu with "
                   "%zu bytes",
                   sim_arena_blocks(w->arena), number, n);
}

void world_stop(struct world *w)
{
    struct sim_arena *before = sim_arena_use(w->arena);

    sim_trace(w->sim, "stop");
    parts_stop(&w->parts, all_stopped);
    sim_arena_use(before);
    for (unsigned steps = 0; !w->stopped; steps++) {
        if (steps > STOP_STEPS)
            world_fail(w, "the server does not stop");
        /* As a worker that is stopping: looks again soon. */
        if (!world_step(w, STOP_WAIT_NS))
            for (unsigned i = 0; i < w->workers; i++)
                sim_want(worker_group_get(w->parts.workers, i)->env.io);
    }
    before = sim_arena_use(w->arena);
    parts_close(&w->parts);
    options_free(&w->options);
    sim_arena_use(before);
    w->up = false;
    check_nothing_left(w);
    sim_arena_close(w->arena);
    w->arena = NULL;
}

void world_vanish(struct world *w)
{
    sim_arena_close(w->arena);
    w->arena = NULL;
    w->up = false;
}
