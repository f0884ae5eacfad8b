/*
 * worker.c - the loop, the inbox of tasks, fences, and ask_all.
 *
 * Fences. worker A sends LANE_FENCE through its lane to every other worker B. B sees it after
 * everything A sent before (lanes are FIFO), and answers with LANE_FENCE_BACK through its own lane
 * to A, behind everything it had routed to A so far. When A has the answers of all, both directions
 * are drained up to the fence. The item travels by value: it carries the fence's address, which
 * only A follows.
 */
#include "server/worker.h"

#include "lib/base/mem.h"
#include "server/config/options.h"
#include "server/core/budget.h"
#include "server/js/js.h"
#include "server/kafka/kafka.h"
#include "server/net/net.h"
#include "server/placement.h"
#include "store/store.h"

#include <errno.h>
#include <string.h>

/* Slots of a lane's ring and its mark: 256 runs of up to 64 KiB are more than a worker digests in
 * 10 ms. */
#define LANE_SLOTS 1024u
#define LANE_MARK_BYTES (8u << 20)
/* Between two connections that a worker closes for want of memory: what the first one owed is free
 * by then. */
#define DROP_PAUSE_NS 10000000u
/* A loop with nothing to do looks at the stop flag this often even if a wake were lost. */
#define IDLE_WAIT_NS 500000000u
/* While stopping one stage hands over to the next at the end of an iteration: look again soon. */
#define STOPPING_WAIT_NS 1000000u

struct worker_group {
    unsigned count;
    struct worker *workers;
    struct lane **lanes; /* [from * count + to]; NULL on the diagonal */
    bool started;
    struct placement placement; /* worker 0's thread */
    struct budget budget;

    pthread_mutex_t done_lock; /* guards done_list */
    struct ask_all *done_list;
    void (*notify)(void *ctx);
    void *notify_ctx;
};

struct fence_item {
    struct lane_item item;
    uint32_t from;
    struct env_fence *fence;
};

static struct worker *worker_of(struct env *env)
{
    return CONTAINER_OF(env, struct worker, env);
}

static struct lane *lane_between(const struct worker_group *g, uint32_t from, uint32_t to)
{
    return g->lanes[from * g->count + to];
}

/* ---- tasks ----------------------------------------------------------------------------------- */

void worker_post(struct worker *w, struct env_task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&w->inbox_lock);
    *w->inbox_tail = task;
    w->inbox_tail = &task->next;
    atomic_store_explicit(&w->inbox_full, true, memory_order_release);
    pthread_mutex_unlock(&w->inbox_lock);
    io_wake(w->env.io);
}

static void post_to(struct env *env, uint32_t to, struct env_task *task)
{
    worker_post(&worker_of(env)->group->workers[to], task);
}

static struct env_task *take_inbox(struct worker *w)
{
    struct env_task *task;

    if (!atomic_load_explicit(&w->inbox_full, memory_order_acquire))
        return NULL;
    pthread_mutex_lock(&w->inbox_lock);
    task = w->inbox_head;
    w->inbox_head = NULL;
    w->inbox_tail = &w->inbox_head;
    atomic_store_explicit(&w->inbox_full, false, memory_order_relaxed);
    pthread_mutex_unlock(&w->inbox_lock);
    return task;
}

static bool run_inbox(struct worker *w)
{
    struct env_task *task = take_inbox(w);

    if (task == NULL)
        return false;
    while (task != NULL) {
        struct env_task *next = task->next;
        task->run(task, &w->env);
        task = next;
    }
    return true;
}

/* ---- lanes and fences ------------------------------------------------------------------------ */

static void post_run(void *ctx, uint32_t to, struct lane_item *run)
{
    struct worker *w = ctx;
    lane_push(lane_between(w->group, w->env.worker, to), run);
}

static void push_fence(struct worker *w, uint32_t to, uint16_t kind, uint32_t from,
                       struct env_fence *fence)
{
    struct fence_item *f = mem_zalloc(sizeof(*f));
    f->item.kind = kind;
    f->item.bytes = sizeof(*f);
    f->from = from;
    f->fence = fence;
    lane_push(lane_between(w->group, w->env.worker, to), &f->item);
}

static void start_fence(struct env *env, struct env_fence *fence)
{
    struct worker *w = worker_of(env);

    list_push_back(&w->fences, &fence->link);
    fence->waiting = w->group->count - 1;
    if (fence->waiting == 0)
        return;
    router_flush_remote(env->router);
    for (uint32_t to = 0; to < w->group->count; to++)
        if (to != env->worker)
            push_fence(w, to, LANE_FENCE, env->worker, fence);
}

/* Calls passed for every complete fence, in the order they were started. */
static bool finish_fences(struct worker *w)
{
    bool any = false;

    for (struct list *l = list_first(&w->fences); l != NULL; l = list_first(&w->fences)) {
        struct env_fence *fence = LIST_ENTRY(l, struct env_fence, link);
        if (fence->waiting != 0)
            break;
        list_remove(&fence->link);
        fence->passed(fence);
        any = true;
    }
    return any;
}

static void take_item(struct worker *w, struct lane *lane, struct lane_item *item)
{
    struct fence_item *f;
    struct lane_item counted = *item;

    switch (item->kind) {
    case LANE_RUN:
        router_take(w->env.router, item);
        break;
    case LANE_FENCE:
        /* What was routed so far must be in the lane before the answer. */
        f = CONTAINER_OF(item, struct fence_item, item);
        router_flush_remote(w->env.router);
        push_fence(w, f->from, LANE_FENCE_BACK, w->env.worker, f->fence);
        mem_free(f);
        break;
    case LANE_FENCE_BACK:
        f = CONTAINER_OF(item, struct fence_item, item);
        ASSERT(f->fence->waiting > 0);
        f->fence->waiting--;
        mem_free(f);
        break;
    default:
        FATAL("lane item of unknown kind %u", item->kind);
    }
    lane_done(lane, &counted);
}

static bool drain_lanes(struct worker *w)
{
    bool any = false;

    for (uint32_t from = 0; from < w->group->count; from++) {
        struct lane *lane = lane_between(w->group, from, w->env.worker);
        struct lane_item *item;
        if (lane == NULL)
            continue;
        while ((item = lane_pop(lane)) != NULL) {
            take_item(w, lane, item);
            any = true;
        }
    }
    if (any)
        route_flush(w->env.router);
    return any;
}

static void flush_lanes(struct worker *w)
{
    if (w->group->count == 1)
        return;
    router_flush_remote(w->env.router);
    for (uint32_t to = 0; to < w->group->count; to++)
        if (to != w->env.worker)
            lane_flush(lane_between(w->group, w->env.worker, to));
}

static bool lanes_waiting(const struct worker *w)
{
    for (uint32_t from = 0; from < w->group->count; from++) {
        struct lane *lane = lane_between(w->group, from, w->env.worker);
        if (lane != NULL && !lane_empty(lane))
            return true;
    }
    return false;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Above the limit: gives up what nobody needs; true when that was enough. */
static bool shed(struct worker *w)
{
    struct budget *b = &w->group->budget;

    if (w->store != NULL)
        store_shed_cache(w->store);
    chunk_pool_trim(w->env.chunks, 0);
    budget_report(b, &w->reported, chunk_pool_bytes(w->env.chunks));
    return budget_level(b) == BUDGET_FINE;
}

static void keep_budget(struct worker *w)
{
    struct budget *b = &w->group->budget;
    uint64_t now = io_now(w->env.io);

    budget_report(b, &w->reported, chunk_pool_bytes(w->env.chunks));
    if (LIKELY(budget_level(b) == BUDGET_FINE)) {
        w->env.refuse_ingest = false;
        return;
    }
    w->env.refuse_ingest = !shed(w);
    if (budget_level(b) == BUDGET_DROP && w->env.net != NULL && now >= w->dropped + DROP_PAUSE_NS &&
        net_drop_slowest(w->env.net))
        w->dropped = now;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void note_share(struct worker *w, uint64_t now, uint64_t busy)
{
    struct worker_meter *m = &w->meter;
    uint64_t window = now - m->window_began;
    uint32_t share, before = atomic_load_explicit(&m->share, memory_order_relaxed);

    m->window_busy += busy;
    if (window < WORKER_WINDOW_NS)
        return;
    share = (uint32_t) (m->window_busy * 1000 / window);
    /* Of a long sleep nothing of before is left. */
    if (window < 4 * (uint64_t) WORKER_WINDOW_NS)
        share = (share + before) / 2;
    atomic_store_explicit(&m->share, share, memory_order_relaxed);
    atomic_store_explicit(&m->share_ns, now, memory_order_relaxed);
    m->window_began = now;
    m->window_busy = 0;
}

/* A worker that has not been heard of for some windows sleeps. */
static uint32_t share_of(const struct worker *w, uint64_t now)
{
    uint64_t at = atomic_load_explicit(&w->meter.share_ns, memory_order_relaxed);

    if (now > at + 4 * (uint64_t) WORKER_WINDOW_NS)
        return 0;
    return atomic_load_explicit(&w->meter.share, memory_order_relaxed);
}

static uint32_t place(struct env *env)
{
    struct worker_group *g = CONTAINER_OF(env, struct worker, env)->group;
    uint32_t busy[WORKERS_MAX];

    if (g->count == 1)
        return 0;
    for (uint32_t i = 0; i < g->count; i++)
        busy[i] = share_of(&g->workers[i], io_now(env->io));
    return placement_choose(&g->placement, busy, io_now(env->io));
}

static void note_time(struct worker *w, uint64_t began)
{
    uint64_t ns;

    io_clock_update(w->env.io);
    ns = io_now(w->env.io) - began;
    note_share(w, io_now(w->env.io), ns);
    atomic_fetch_add_explicit(&w->meter.iterations, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->meter.busy_ns, ns, memory_order_relaxed);
    if (UNLIKELY(ns > WORKER_SLOW_NS)) {
        atomic_fetch_add_explicit(&w->meter.slow, 1, memory_order_relaxed);
        if (ns > atomic_load_explicit(&w->meter.slow_ns_max, memory_order_relaxed))
            atomic_store_explicit(&w->meter.slow_ns_max, ns, memory_order_relaxed);
    }
}

/*
 * busy carries "a stage has more to do at once" from one iteration to the next: such an iteration
 * does not wait. Nothing is lost by waiting otherwise: whoever gives this worker something (a
 * completion, a task, a lane) wakes its loop.
 */
void worker_step(struct worker *w, uint64_t max_wait_ns)
{
    bool busy;
    uint64_t began;

    io_poll(w->env.io, w->busy || lanes_waiting(w) ? 0 : max_wait_ns);
    began = io_now(w->env.io);
    router_set_time(w->env.router, began);
    route_flush(w->env.router);
    busy = run_inbox(w);
    busy |= drain_lanes(w);
    busy |= finish_fences(w);
    if (w->env.jetstream != NULL)
        busy |= jetstream_step(w->env.jetstream);
    if (w->store != NULL)
        busy |= store_step(w->store);
    if (w->env.jetstream != NULL)
        busy |= jetstream_waiting(w->env.jetstream);
    flush_lanes(w);
    if (w->env.net != NULL)
        busy |= net_step(w->env.net);
    if (w->env.kafka != NULL)
        busy |= kafka_step(w->env.kafka);
    keep_budget(w);
    busy |= router_busy(w->env.router);
    w->busy = busy;
    note_time(w, began);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;

    while (!atomic_load_explicit(&w->stop, memory_order_acquire))
        worker_step(w, w->stopping != NULL ? STOPPING_WAIT_NS : IDLE_WAIT_NS);
    return NULL;
}

/* ---- making and ending ----------------------------------------------------------------------- */

static int open_worker(struct worker_group *g, const struct worker_group_options *o, uint32_t index)
{
    struct worker *w = &g->workers[index];
    struct env *env = &w->env;
    int rc;

    w->group = g;
    w->inbox_tail = &w->inbox_head;
    pthread_mutex_init(&w->inbox_lock, NULL);
    list_init(&w->fences);
    rc = o->open_io != NULL ? o->open_io(o->ctx, index, &env->io) : io_open(&o->io, &env->io);
    if (rc != 0)
        return rc;
    uint64_t seed = o->seed + index;
    if (o->seed == 0)
        io_random(env->io, &seed, sizeof(seed));
    prng_init(&w->prng, seed);
    *env = (struct env){
        .worker = index,
        .workers = g->count,
        .io = env->io,
        .chunks = chunk_pool_open(),
        .log = o->log,
        .prng = &w->prng,
        .accounts = o->accounts,
        .account = o->account,
        .system_account = o->system_account,
        .options = o->options,
        .server_id = o->server_id,
        .keys = o->keys,
        .server_name = o->server_name,
        .version = o->version,
        .post = post_to,
        .place = place,
        .fence = start_fence,
    };
    env->router = router_open(&(struct router_options){
        .worker = index,
        .workers = g->count,
        .chunks = env->chunks,
        .prng = &w->prng,
        .hash_seed = prng_u64(&w->prng),
        .post = post_run,
        .ctx = w,
    });
    return 0;
}

static void open_lanes(struct worker_group *g)
{
    g->lanes = mem_zalloc(g->count * g->count * sizeof(struct lane *));
    for (uint32_t from = 0; from < g->count; from++)
        for (uint32_t to = 0; to < g->count; to++)
            if (from != to) {
                struct lane **lane = &g->lanes[from * g->count + to];
                *lane = lane_open(g->workers[to].env.io, LANE_SLOTS, LANE_MARK_BYTES);
                lane_set_sender(*lane, g->workers[from].env.io);
            }
}

int worker_group_open(const struct worker_group_options *options, struct worker_group **out)
{
    struct worker_group *g = mem_zalloc(sizeof(*g));
    int rc = 0;

    ASSERT(options->workers >= 1 && options->workers <= WORKERS_MAX);
    g->count = options->workers;
    g->workers = mem_zalloc(g->count * sizeof(struct worker));
    pthread_mutex_init(&g->done_lock, NULL);
    g->budget.limit = UINT64_MAX;
    placement_init(&g->placement, g->count, options->options->spread);
    for (uint32_t i = 0; i < g->count && rc == 0; i++)
        rc = open_worker(g, options, i);
    if (rc != 0) {
        worker_group_close(g);
        return rc;
    }
    open_lanes(g);
    *out = g;
    return 0;
}

unsigned worker_group_count(const struct worker_group *g)
{
    return g->count;
}

struct worker *worker_group_get(struct worker_group *g, unsigned index)
{
    ASSERT(index < g->count);
    return &g->workers[index];
}

void worker_group_set_memory(struct worker_group *g, uint64_t bytes)
{
    g->budget.limit = bytes;
}

int worker_group_start(struct worker_group *g)
{
    for (uint32_t i = 0; i < g->count; i++) {
        struct worker *w = &g->workers[i];
        int rc = pthread_create(&w->thread, NULL, worker_main, w);
        if (rc != 0)
            return -rc;
        w->running = true;
    }
    return 0;
}

void worker_group_stop(struct worker_group *g)
{
    for (uint32_t i = 0; i < g->count; i++) {
        struct worker *w = &g->workers[i];
        if (!w->running)
            continue;
        atomic_store_explicit(&w->stop, true, memory_order_release);
        io_wake(w->env.io);
    }
    for (uint32_t i = 0; i < g->count; i++)
        if (g->workers[i].running) {
            pthread_join(g->workers[i].thread, NULL);
            g->workers[i].running = false;
        }
}

/* Items left in a lane when both ends have stopped carry nothing that anybody waits for. */
static void discard_lane(struct worker_group *g, uint32_t to, struct lane *lane)
{
    struct lane_item *item;

    while ((item = lane_drain(lane)) != NULL) {
        if (item->kind == LANE_RUN)
            route_run_free(item, g->workers[to].env.chunks);
        else
            mem_free(CONTAINER_OF(item, struct fence_item, item));
    }
    lane_close(lane);
}

static void run_step(struct env_task *task, struct env *env);

static bool drain_inbox(struct worker *w)
{
    struct env_task *task = take_inbox(w);
    bool any = task != NULL;

    while (task != NULL) {
        struct env_task *next = task->next;
        if (task->run != run_step) /* a question: nobody waits for its answer any more */
            task->run(task, &w->env);
        task = next;
    }
    return any;
}

void worker_group_drain(struct worker_group *g)
{
    bool any = true;

    while (any) {
        any = false;
        for (uint32_t i = 0; i < g->count; i++)
            any |= drain_inbox(&g->workers[i]);
    }
}

void worker_group_close(struct worker_group *g)
{
    for (uint32_t i = 0; i < g->count; i++)
        if (g->workers[i].env.router != NULL)
            router_close(g->workers[i].env.router);
    if (g->lanes != NULL)
        for (uint32_t from = 0; from < g->count; from++)
            for (uint32_t to = 0; to < g->count; to++)
                if (from != to)
                    discard_lane(g, to, lane_between(g, from, to));
    for (uint32_t i = 0; i < g->count; i++) {
        struct worker *w = &g->workers[i];
        if (w->env.chunks != NULL)
            chunk_pool_close(w->env.chunks);
        if (w->env.io != NULL)
            io_close(w->env.io);
        pthread_mutex_destroy(&w->inbox_lock);
    }
    pthread_mutex_destroy(&g->done_lock);
    placement_deinit(&g->placement);
    mem_free(g->lanes);
    mem_free(g->workers);
    mem_free(g);
}

/* ---- ask_all --------------------------------------------------------------------------------- */

struct ask_all_task {
    struct env_task task;
    struct ask_all *ask;
};

static void run_step(struct env_task *task, struct env *env)
{
    struct ask_all *ask = CONTAINER_OF(task, struct ask_all_task, task)->ask;
    ask->step(ask, worker_of(env));
}

void ask_all_start(struct worker_group *g, struct ask_all *ask)
{
    ask->group = g;
    ask->tasks = mem_zalloc(g->count * sizeof(*ask->tasks));
    atomic_store_explicit(&ask->left, g->count, memory_order_relaxed);
    for (uint32_t i = 0; i < g->count; i++) {
        ask->tasks[i].ask = ask;
        ask->tasks[i].task.run = run_step;
        worker_post(&g->workers[i], &ask->tasks[i].task);
    }
}

void ask_all_stepped(struct ask_all *ask)
{
    struct worker_group *g = ask->group;

    if (atomic_fetch_sub_explicit(&ask->left, 1, memory_order_acq_rel) != 1)
        return;
    pthread_mutex_lock(&g->done_lock);
    ask->next = g->done_list;
    g->done_list = ask;
    pthread_mutex_unlock(&g->done_lock);
    if (g->notify != NULL)
        g->notify(g->notify_ctx);
}

void worker_group_on_done(struct worker_group *g, void (*notify)(void *ctx), void *ctx)
{
    g->notify = notify;
    g->notify_ctx = ctx;
}

void ask_all_reap(struct worker_group *g)
{
    struct ask_all *list;

    pthread_mutex_lock(&g->done_lock);
    list = g->done_list;
    g->done_list = NULL;
    pthread_mutex_unlock(&g->done_lock);
    while (list != NULL) {
        struct ask_all *ask = list;
        list = ask->next;
        mem_free(ask->tasks);
        ask->tasks = NULL;
        ask->done(ask);
    }
}
