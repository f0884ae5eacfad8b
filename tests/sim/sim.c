/*
 * sim.c - time, chance, faults, power cuts and the trace of the simulator.
 *
 * Everything that will happen is a sim_event in one heap, ordered by time and then by a number
 * drawn when it was queued. Time stands still while events are due and jumps to the next one
 * otherwise. Loops are not events: whoever drives the run asks sim_next which loop may run, and
 * calls its owner.
 *
 * There are two generators. `rng` serves the simulator, `work_rng` the workload, so that a workload
 * that asks for one number more does not change which sector a crash tears. A fork draws from a
 * seed of its own and never from the original's.
 */
#include "tests/sim/sim.h"

#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "tests/sim/sim_int.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define WALL_2030 1893456000000000000

/* ---- events ---------------------------------------------------------------------------------- */

static bool sooner(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->tie < b->tie;
}

static void heap_put(struct sim *sim, size_t i, struct sim_event *ev)
{
    sim->heap[i] = ev;
    ev->place = i + 1;
}

static void heap_up(struct sim *sim, size_t i, struct sim_event *ev)
{
    while (i > 0 && sooner(ev, sim->heap[(i - 1) / 2])) {
        heap_put(sim, i, sim->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_put(sim, i, ev);
}

static void heap_down(struct sim *sim, size_t i, struct sim_event *ev)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= sim->nheap)
            break;
        if (child + 1 < sim->nheap && sooner(sim->heap[child + 1], sim->heap[child]))
            child++;
        if (!sooner(sim->heap[child], ev))
            break;
        heap_put(sim, i, sim->heap[child]);
        i = child;
    }
    heap_put(sim, i, ev);
}

void sim_event_start(struct sim *sim, struct sim_event *ev, uint64_t at,
                     void (*run)(struct sim *sim, struct sim_event *ev))
{
    ASSERT(ev->place == 0);
    if (sim->nheap == sim->heap_cap) {
        sim->heap_cap = sim->heap_cap == 0 ? 64 : 2 * sim->heap_cap;
        sim->heap = sim_grow(sim->heap, sim->heap_cap * sizeof(struct sim_event *));
    }
    ev->at = at;
    ev->tie = prng_u64(&sim->rng);
    ev->run = run;
    heap_up(sim, sim->nheap++, ev);
}

void sim_event_stop(struct sim *sim, struct sim_event *ev)
{
    if (ev->place == 0)
        return;
    size_t i = ev->place - 1;
    ev->place = 0;
    struct sim_event *last = sim->heap[--sim->nheap];
    if (last == ev)
        return;
    if (i > 0 && sooner(last, sim->heap[(i - 1) / 2]))
        heap_up(sim, i, last);
    else
        heap_down(sim, i, last);
}

bool sim_run_event(struct sim *sim, uint64_t limit)
{
    if (sim->nheap == 0 || sim->heap[0]->at > limit)
        return false;
    struct sim_event *ev = sim->heap[0];
    sim_event_stop(sim, ev);
    if (sim->now < ev->at)
        sim->now = ev->at;
    ev->run(sim, ev);
    return true;
}

/* ---- chance ---------------------------------------------------------------------------------- */

uint64_t sim_draw(struct sim *sim, const struct sim_latency *l)
{
    uint64_t ns = l->min_ns + prng_below(&sim->rng, l->max_ns - l->min_ns + 1);
    return prng_below(&sim->rng, 50) == 0 ? 10 * ns : ns;
}

bool sim_chance(struct sim *sim, unsigned percent)
{
    return prng_below(&sim->rng, 100) < percent;
}

void sim_fault_arm(struct sim *sim, enum sim_fault fault, uint64_t n, uint64_t repeat)
{
    sim->faults[fault].countdown = n;
    sim->faults[fault].repeat = repeat;
}

void sim_fault_chance(struct sim *sim, enum sim_fault fault, unsigned per_million)
{
    sim->faults[fault].per_million = per_million;
}

void sim_fault_only(struct sim *sim, const char *text)
{
    free(sim->fault_only);
    sim->fault_only = text != NULL ? sim_strdup(text) : NULL;
}

uint64_t sim_fault_count(const struct sim *sim, enum sim_fault fault)
{
    return sim->faults[fault].count;
}

bool sim_fails(struct sim *sim, enum sim_fault fault, const char *path)
{
    struct sim_fault_state *f = &sim->faults[fault];
    bool fails = false;
    if (path != NULL && sim->fault_only != NULL && strstr(path, sim->fault_only) == NULL)
        return false;
    if (f->countdown > 1) {
        f->countdown--;
    } else if (f->countdown == 1) {
        fails = true;
        if (f->repeat > 0)
            f->repeat--;
        else
            f->countdown = 0;
    }
    if (f->per_million > 0 && prng_below(&sim->rng, 1000000) < f->per_million)
        fails = true;
    if (fails) {
        f->count++;
        sim_trace(sim, "fault %d %s", (int) fault, path != NULL ? path : "");
    }
    return fails;
}

void sim_lie(struct sim *sim, unsigned lies)
{
    sim->lies = lies;
}

/* ---- sync points ----------------------------------------------------------------------------- */

void sim_on_sync_point(struct sim *sim, sim_point_fn point, void *ctx)
{
    sim_on_moments(sim, SIM_BEFORE_SYNC, point, ctx);
}

void sim_on_moments(struct sim *sim, unsigned moments, sim_point_fn point, void *ctx)
{
    sim->moments = moments;
    sim->point = point;
    sim->point_ctx = ctx;
}

uint64_t sim_sync_points(const struct sim *sim)
{
    return sim->points;
}

void sim_moment(struct sim *sim, enum sim_moment moment, const char *what, const char *path)
{
    bool wanted = (sim->moments & moment) != 0;
    if (!wanted && moment != SIM_BEFORE_SYNC)
        return;
    sim->points++;
    sim_trace(sim, "point %llu %s %s", (unsigned long long) sim->points, what, path);
    if (wanted && sim->point != NULL)
        sim->point(sim->point_ctx, sim, sim->points);
}

/* ---- the trace ------------------------------------------------------------------------------- */

static void trace_line(struct sim *sim, const char *text, size_t n)
{
    sim->trace_hash = hash_bytes(text, n, sim->trace_hash ^ sim->now);
    if (sim->options.trace != NULL)
        fprintf(sim->options.trace, "%12.6f %.*s\n", (double) sim->now / 1e6, (int) n, text);
}

void sim_trace(struct sim *sim, const char *format, ...)
{
    char text[512];
    va_list args;
    if (sim->untraced)
        return;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    trace_line(sim, text, n < (int) sizeof(text) ? (size_t) n : sizeof(text) - 1);
}

uint64_t sim_trace_hash(const struct sim *sim)
{
    return sim->trace_hash;
}

static void log_line(struct log *log, enum log_level level, const char *text)
{
    static const char *const names[] = {"FTL", "ERR", "WRN", "INF", "DBG", "TRC"};
    struct sim *sim = ((struct sim_log_door *) log)->sim;
    sim_trace(sim, "log %s %s", names[level], text);
}

struct log *sim_log(struct sim *sim)
{
    return &sim->log.log;
}

struct prng *sim_rng(struct sim *sim)
{
    return &sim->work_rng;
}

/* ---- life ------------------------------------------------------------------------------------ */

void sim_options_init(struct sim_options *o)
{
    *o = (struct sim_options){
        .capacity = 1u << 30,
        .wall_ns = WALL_2030,
        .write = {5000, 60000},
        .sync = {40000, 400000},
        .read = {20000, 200000},
        .work = {10000, 500000},
        .net = {10000, 300000},
        .split_percent = 20,
        .early_names_percent = 10,
        .evict_percent = 5,
        .window_min = 65536,
    };
}

static struct sim *sim_new(uint64_t seed, const struct sim_options *options, struct sim_disk *disk)
{
    struct sim *sim = sim_alloc(sizeof(*sim));
    sim->options = *options;
    prng_init(&sim->rng, seed);
    prng_init(&sim->work_rng, seed ^ 0x776f726b6c6f6164u);
    sim->now = 1000000000;
    sim->wall_offset = options->wall_ns - (int64_t) sim->now;
    list_init(&sim->loops);
    list_init(&sim->all_ends);
    sim->next_port = (uint16_t) (20000 + prng_below(&sim->rng, 20000));
    sim->disk = disk;
    sim->door.fs.ops = &sim_fs_ops;
    sim->door.sim = sim;
    sim->log.log.line = log_line;
    sim->log.log.enabled = 1u << LOG_FATAL | 1u << LOG_ERROR | 1u << LOG_WARN | 1u << LOG_INFO;
    if (options->trace != NULL)
        sim->log.log.enabled |= 1u << LOG_DEBUG;
    sim->log.sim = sim;
    sim->trace_hash = seed;
    return sim;
}

struct sim *sim_open(uint64_t seed, const struct sim_options *options)
{
    struct sim_options defaults;
    if (options == NULL) {
        sim_options_init(&defaults);
        options = &defaults;
    }
    return sim_new(seed, options, sim_disk_open(options->capacity));
}

void sim_close(struct sim *sim)
{
    LIST_FOREACH_SAFE(it, tmp, &sim->loops)
    sim_loop_vanish(LIST_ENTRY(it, struct sim_loop, link));
    sim_net_free(sim);
    sim_fds_free(sim);
    ASSERT(sim->nheap == 0);
    sim_disk_close(sim->disk);
    free(sim->heap);
    free(sim->fault_only);
    free(sim);
}

struct io *sim_io_open(struct sim *sim, const struct io_config *config)
{
    return sim_loop_open(sim, config, false);
}

struct io *sim_io_open_remote(struct sim *sim, const struct io_config *config)
{
    return sim_loop_open(sim, config, true);
}

struct io_fs *sim_fs(struct sim *sim)
{
    return &sim->door.fs;
}

struct sim_disk *sim_disk(struct sim *sim)
{
    return sim->disk;
}

uint64_t sim_now(const struct sim *sim)
{
    return sim->now;
}

int64_t sim_wall(const struct sim *sim)
{
    return (int64_t) sim->now + sim->wall_offset;
}

void sim_jump_wall(struct sim *sim, int64_t by_ns)
{
    sim->wall_offset += by_ns;
    sim_trace(sim, "wall jumps by %lld", (long long) by_ns);
}

/* ---- who runs next --------------------------------------------------------------------------- */

static struct sim_loop *choose_loop(struct sim *sim)
{
    uint64_t n = 0;
    struct sim_loop *chosen = NULL;
    LIST_FOREACH(it, &sim->loops)
    {
        struct sim_loop *loop = LIST_ENTRY(it, struct sim_loop, link);
        if (sim_loop_runnable(loop) && prng_below(&sim->rng, ++n) == 0)
            chosen = loop;
    }
    return chosen;
}

static uint64_t next_timer(const struct sim *sim)
{
    uint64_t next = UINT64_MAX;
    LIST_FOREACH(it, &sim->loops)
    {
        uint64_t at = wheel_next_ns(LIST_ENTRY(it, struct sim_loop, link)->io.wheel);
        next = at < next ? at : next;
    }
    return next;
}

struct io *sim_next(struct sim *sim, uint64_t max_wait_ns)
{
    uint64_t limit = max_wait_ns > UINT64_MAX - sim->now ? UINT64_MAX : sim->now + max_wait_ns;
    for (;;) {
        while (sim_run_event(sim, sim->now))
            ;
        struct sim_loop *loop = choose_loop(sim);
        if (loop != NULL) {
            loop->wanted = false;
            return &loop->io;
        }
        uint64_t timer = next_timer(sim);
        uint64_t event = sim->nheap > 0 ? sim->heap[0]->at : UINT64_MAX;
        uint64_t next = timer < event ? timer : event;
        if (next > limit || next == UINT64_MAX) {
            if (limit != UINT64_MAX)
                sim->now = limit;
            return NULL;
        }
        if (sim->now < next)
            sim->now = next;
    }
}

void sim_want(struct io *io)
{
    sim_loop_of(io)->wanted = true;
}

/* ---- power cuts ------------------------------------------------------------------------------ */

static void loops_vanish(struct sim *sim)
{
    LIST_FOREACH(it, &sim->loops)
    {
        struct sim_loop *loop = LIST_ENTRY(it, struct sim_loop, link);
        LIST_FOREACH(jt, &loop->pending)
        sim_pending_cut(LIST_ENTRY(jt, struct sim_pending, link));
    }
    LIST_FOREACH_SAFE(it, tmp, &sim->loops)
    {
        struct sim_loop *loop = LIST_ENTRY(it, struct sim_loop, link);
        if (!loop->remote)
            sim_loop_vanish(loop);
    }
    sim_fds_free(sim);
}

void sim_kill(struct sim *sim)
{
    sim_trace(sim, "kill");
    loops_vanish(sim);
}

void sim_crash(struct sim *sim, enum sim_crash mode)
{
    if (mode == SIM_CRASH_KILL) {
        sim_kill(sim);
        return;
    }
    sim_trace(sim, "crash, mode %d", (int) mode);
    loops_vanish(sim);
    struct sim_disk *left = sim_disk_crash(sim->disk, mode, &sim->rng);
    sim_disk_close(sim->disk);
    sim->disk = left;
}

/* The writes in flight of the original, on the copy of its disk: an operation that has not begun to
 * write is as good as one that was never submitted, so only what was applied counts. */
struct sim *sim_fork(struct sim *sim, enum sim_crash mode, uint64_t seed)
{
    struct prng rng;
    prng_init(&rng, seed);
    struct sim_disk *disk = mode == SIM_CRASH_KILL ? sim_disk_copy(sim->disk)
                                                   : sim_disk_crash(sim->disk, mode, &rng);
    struct sim *fork = sim_new(seed, &sim->options, disk);
    if (!fork->options.trace_forks)
        fork->options.trace = NULL;
    fork->untraced = fork->options.trace == NULL;
    fork->now = sim->now;
    fork->wall_offset = sim->wall_offset;
    sim_trace(fork, "fork at point %llu, mode %d", (unsigned long long) sim->points, (int) mode);
    return fork;
}
