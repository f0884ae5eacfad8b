/*
 * world.c - opening, stepping and closing a simulated machine with a store; see world.h.
 */
#include "tests/sim/world.h"

#include "lib/base/assert.h"
#include "lib/base/chunk.h"
#include "lib/base/hash.h"
#include "lib/io/io_backend.h"
#include "store/store_impl.h"
#include "tests/sim/kafka.h"
#include "tests/sim/sim_disk_int.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* A store that needs more iterations than this to come to rest spins. */
#define SETTLE_STEPS 200000
/* Nothing that the store does by itself takes longer. */
#define QUIET_NS 1500000000u

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

struct sim_arena *world_enter(struct world *w)
{
    return sim_arena_use(w->arena);
}

void world_leave(struct sim_arena *before)
{
    sim_arena_use(before);
}

struct store *world_store(struct world *w, unsigned worker)
{
    return w->workers[worker].store;
}

void world_touch(struct world *w, unsigned worker)
{
    sim_want(w->workers[worker].io);
}

bool world_full(const struct world *w)
{
    return w->model->full || sim_now(w->sim) < w->full_until;
}

/* ---- opening --------------------------------------------------------------------------------- */

static unsigned place(void *ctx, store_object_id stream, struct str name)
{
    struct world *w = ctx;
    (void) name;
    return (unsigned) (stream % w->swarm->workers);
}

/* Of every three worlds one seals at each close, one never, one what is worth it. */
static uint64_t seal_bytes(const struct world *w)
{
    switch (w->seed / 2 % 3) {
    case 0:
        return 1;
    case 1:
        return UINT64_MAX;
    default:
        return w->swarm->segment_min / 2;
    }
}

static enum err open_dir(struct world *w, char why[256])
{
    const struct swarm *s = w->swarm;
    char key[24], prev[24];
    struct store_dir_options o = {
        .fs = sim_fs(w->sim),
        .path = "data",
        .log = sim_log(w->sim),
        .workers = s->workers,
        .pool_bytes = s->pool_bytes,
        .index_lazy_bytes = w->seed % 2, /* every other world reads its indexes after the start */
        .seal_bytes = seal_bytes(w),
        .drop_bytes = s->segment_min / 8,
        .log_file_bytes = s->log_file_bytes,
        .segment_bytes_min = s->segment_min,
        .segment_bytes_max = s->segment_max,
        .kafka = s->kafka_percent > 0,
        .place = place,
        .ctx = w,
        .seed = hash_mix(w->seed + 1, sim_now(w->sim)),
    };
    snprintf(key, sizeof(key), "key %u", w->model->key);
    snprintf(prev, sizeof(prev), "key %u", w->model->key - 1);
    if (w->model->key > 0)
        o.key = str_of(key);
    if (w->model->key > 1)
        o.prev_key = str_of(prev);
    return store_dir_open(&o, &w->dir, why);
}

static void open_worker(struct world *w, unsigned i)
{
    struct world_worker *x = &w->workers[i];
    struct store_options o = {
        .chunks = x->chunks = chunk_pool_open(),
        .log = sim_log(w->sim),
        .cache_bytes = w->swarm->cache_bytes,
        .staging_bytes = w->swarm->staging_bytes,
        .ride_ns = w->swarm->ride_ns,
        .kafka_decode = kafka_decode,
        .kafka_trim = kafka_trim,
        .kafka_pages_min = w->seed % 3 == 0 ? 1 : 0, /* all that the log is too small for */
    };
    x->io = o.io = sim_io_open(w->sim, NULL);
    x->closed = false;
    enum err e = store_open(w->dir, i, &o, &x->store);
    if (e != ERR_OK)
        world_fail(w, "store_open of worker %u: %s", i, err_text(e));
    /* What is done in slices takes a step for each, so that other things come between. */
    if (w->seed % 4 == 1)
        x->store->tasks_ns = 0;
}

static void begin(struct world *w, struct sim *sim, struct model *model)
{
    w->sim = sim;
    w->model = model;
    w->arena = sim_arena_open();
    w->dir = NULL;
    list_init(&w->asks);
    list_init(&w->readers);
    w->nreaders = 0;
}

enum err world_open(struct world *w, struct sim *sim, struct model *model, char why[256])
{
    begin(w, sim, model);
    struct sim_arena *before = world_enter(w);
    why[0] = '\0';
    enum err e = open_dir(w, why);
    if (w->twice)
        w->digest = sim_disk_digest(sim_disk(sim), NULL);
    for (unsigned i = 0; e == ERR_OK && i < w->swarm->workers; i++)
        open_worker(w, i);
    world_leave(before);
    return e;
}

uint64_t world_open_dir_only(struct world *w, struct sim *sim, struct model *model)
{
    char why[256];
    begin(w, sim, model);
    struct sim_arena *before = world_enter(w);
    enum err e = open_dir(w, why);
    world_leave(before);
    if (e != ERR_OK)
        world_fail(w, "recovery: %s, %s", err_text(e), why);
    return sim_disk_digest(sim_disk(sim), "data/streams/");
}

/* ---- running --------------------------------------------------------------------------------- */

/* A stream whose creation was refused: its owner deletes it, outside of the callback that said so.
 */
static void bury_stillborn(struct world *w)
{
    for (unsigned i = 0; i < w->model->nstreams && w->stillborn > 0; i++) {
        struct model_stream *s = w->model->streams[i];
        if (!s->stillborn || s->handle == NULL)
            continue;
        store_stream_delete(s->handle, NULL);
        world_readers_drop(w, s);
        s->handle = NULL;
        s->life = LIFE_DYING;
        for (unsigned k = 0; k < w->model->nobjects; k++) {
            if (model_object_below(w->model->objects[k], s))
                w->model->objects[k]->life = LIFE_DYING;
        }
        w->stillborn--;
        world_touch(w, s->worker);
    }
    w->stillborn = 0;
}

/* The run itself has filled the disk: there is no room for the largest of its files. */
static void look_at_space(struct world *w)
{
    uint64_t largest = w->swarm->segment_max + w->swarm->log_file_bytes + (1u << 20);

    if (sim_disk_free_bytes(sim_disk(w->sim)) < largest)
        w->full_until = sim_now(w->sim) + WORLD_FULL_NS;
}

bool world_step(struct world *w, uint64_t max_wait_ns)
{
    look_at_space(w);
    /* Long work runs while time passes: its memory, too, is the world's. */
    struct sim_arena *before = world_enter(w);
    struct io *io = sim_next(w->sim, max_wait_ns);
    if (io == NULL) {
        world_leave(before);
        return false;
    }
    io_poll(io, 0);
    for (unsigned i = 0; i < w->swarm->workers; i++) {
        struct world_worker *x = &w->workers[i];
        if (x->io == io && !x->closed && store_step(x->store))
            sim_want(io);
    }
    if (w->stillborn > 0)
        bury_stillborn(w);
    world_leave(before);
    return true;
}

void world_settle(struct world *w)
{
    unsigned steps = 0;
    uint64_t begin = sim_now(w->sim);
    while (world_step(w, QUIET_NS)) {
        /* With a full disk the store tries again and again. */
        if (world_full(w) && sim_now(w->sim) - begin > 2 * QUIET_NS)
            break;
        if (++steps > SETTLE_STEPS)
            world_fail(w, "the store does not come to rest");
    }
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void on_closed(void *ctx)
{
    ((struct world_worker *) ctx)->closed = true;
}

static void forget_asks(struct world *w)
{
    LIST_FOREACH_SAFE(it, tmp, &w->asks)
    ask_free(LIST_ENTRY(it, struct ask, link));
}

static void close_stores(struct world *w)
{
    for (unsigned i = 0; i < w->swarm->workers; i++) {
        store_close(w->workers[i].store, on_closed, &w->workers[i]);
        world_touch(w, i);
    }
    for (unsigned i = 0; i < w->swarm->workers; i++) {
        for (unsigned steps = 0; !w->workers[i].closed; steps++) {
            if (steps > SETTLE_STEPS || !world_step(w, QUIET_NS))
                world_fail(w, "worker %u does not close", i);
        }
    }
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

/* After a clean close everything that was assigned is there for good. */
static void close_model(struct world *w)
{
    for (unsigned i = 0; i < w->model->nstreams; i++) {
        struct model_stream *s = w->model->streams[i];
        if (s->life != LIFE_SURE && s->life != LIFE_ASKED)
            continue;
        if (s->committed != model_last(s) && !s->failed && !w->model->faults && !world_full(w))
            world_fail(w, "stream %u: assigned to %llu, but closed with %llu committed", s->key,
                       (unsigned long long) model_last(s), (unsigned long long) s->committed);
        s->floor = s->committed;
        s->handle = NULL;
        s->removals = 0;
    }
    for (unsigned i = 0; i < w->model->nobjects; i++)
        w->model->objects[i]->open = false;
}

void world_close(struct world *w)
{
    sim_trace(w->sim, "close");
    struct sim_arena *before = world_enter(w);
    world_readers_drop(w, NULL);
    close_stores(w);
    if (!list_empty(&w->asks))
        world_fail(w, "closed with requests that were never answered");
    for (unsigned i = 0; i < w->swarm->workers; i++) {
        io_close(w->workers[i].io);
        chunk_pool_close(w->workers[i].chunks);
    }
    store_dir_close(w->dir);
    world_leave(before);
    close_model(w);
    check_nothing_left(w);
    sim_arena_close(w->arena);
    w->arena = NULL;
    w->clean = !world_full(w); /* the end may have had no place in the log */
}

void world_vanish(struct world *w)
{
    forget_asks(w);
    LIST_FOREACH_SAFE(it, tmp, &w->readers)
    free(LIST_ENTRY(it, struct world_reader, link));
    list_init(&w->readers);
    w->nreaders = 0;
    for (unsigned i = 0; i < w->model->nstreams; i++) {
        w->model->streams[i]->handle = NULL;
        w->model->streams[i]->removals = 0;
    }
    for (unsigned i = 0; i < w->model->nobjects; i++)
        w->model->objects[i]->open = false;
    sim_arena_close(w->arena);
    w->arena = NULL;
    w->clean = false;
}
