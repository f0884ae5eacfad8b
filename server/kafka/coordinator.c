/*
 * coordinator.c - see coordinator.h.
 *
 * Loading: the offsets stream is read from its first message to its last, once, when the first
 * errand comes after a start; errands wait for it. It holds one message per group, topic and
 * partition.
 *
 * An errand's two ways: there and back by `task`; and when the client goes meanwhile, there and
 * back by `cancel_task`, which makes a join or sync that waits for others answer at once. Tasks
 * between two workers go in order, so the second finds the first begun. The answer is sent when
 * both are back.
 */
#include "server/kafka/coordinator.h"

#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/kafka/access.h"
#include "server/kafka/txn.h"
#include "server/kafka/txn_word.h"

#define SWEEP_NS (600 * UINT64_C(1000000000))

/* ---- errands, at home ------------------------------------------------------------------------ */

static void go_on(struct errand *e)
{
    struct kafka_request *r = e->request;

    if (e->then == NULL) {
        kafka_reply(r);
        return;
    }
    r->cancel = NULL;
    e->then(e);
}

static void one_is_back(struct errand *e)
{
    if (--e->out > 0)
        return;
    if (e->error != KAFKA_NONE)
        e->fail(e, e->error);
    if (e->finish != NULL)
        e->finish(e);
    go_on(e);
}

static void come_home(struct env_task *task, struct env *env)
{
    (void) env;
    one_is_back(CONTAINER_OF(task, struct errand, task));
}

static void cancel_is_back(struct env_task *task, struct env *env)
{
    (void) env;
    one_is_back(CONTAINER_OF(task, struct errand, cancel_task));
}

static void cancel_there(struct env_task *task, struct env *env);

static void cancel(struct kafka_request *r)
{
    struct errand *e = r->ctx;
    struct env *env = e->home->env;

    e->out++;
    e->cancel_task.run = cancel_there;
    env->post(env, e->worker, &e->cancel_task);
}

/* ---- errands, there -------------------------------------------------------------------------- */

void errand_failed(struct errand *e, int16_t error)
{
    e->error = error;
    errand_done(e);
}

void errand_done(struct errand *e)
{
    e->gone = true;
    e->task.run = come_home;
    e->env->post(e->env, e->home->env->worker, &e->task);
}

static void cancel_there(struct env_task *task, struct env *env)
{
    struct errand *e = CONTAINER_OF(task, struct errand, cancel_task);

    if (!e->gone && e->waits != NULL) {
        group_forget(&e->waits->core, e);
        errand_done(e);
    }
    e->cancel_task.run = cancel_is_back;
    env->post(env, e->home->env->worker, &e->cancel_task);
}

static void arrive(struct env_task *task, struct env *env)
{
    struct errand *e = CONTAINER_OF(task, struct errand, task);
    struct coordinator *c = coordinator_here(env, e->request->realm);

    e->env = env;
    if (c == NULL)
        errand_failed(e, KAFKA_NOT_COORDINATOR);
    else if (!c->ready)
        list_push_back(&c->parked, &e->link);
    else
        e->run(c, e);
}

static struct errand *new_errand(struct kafka_request *r,
                                 void (*run)(struct coordinator *c, struct errand *e),
                                 void (*fail)(struct errand *e, int16_t error))
{
    struct errand *e = kafka_arena_alloc(&r->arena, sizeof(*e));

    e->request = r;
    e->run = run;
    e->fail = fail;
    e->home = r->kafka;
    list_init(&e->link);
    return e;
}

static void set_out(struct errand *e)
{
    struct kafka_request *r = e->request;
    struct env *env = r->kafka->env;
    struct topic_place place;

    if (!topics_partition(r->realm->topics, STR(COORDINATOR_TOPIC), 0, &place)) {
        e->fail(e, KAFKA_COORDINATOR_NOT_AVAILABLE);
        go_on(e);
        return;
    }
    r->ctx = e;
    r->cancel = cancel;
    e->worker = place.worker;
    e->out = 1;
    e->task.run = arrive;
    env->post(env, e->worker, &e->task);
}

void errand_start(struct kafka_request *r, struct str group,
                  void (*run)(struct coordinator *c, struct errand *e),
                  void (*fail)(struct errand *e, int16_t error), void (*finish)(struct errand *e))
{
    struct errand *e = new_errand(r, run, fail);

    e->finish = finish;
    if (group.p != NULL && !access_may_group(r, group)) {
        fail(e, KAFKA_GROUP_AUTHORIZATION_FAILED);
        kafka_reply(r);
        return;
    }
    set_out(e);
}

void errand_before(struct kafka_request *r, void *owner,
                   void (*run)(struct coordinator *c, struct errand *e),
                   void (*fail)(struct errand *e, int16_t error), void (*then)(struct errand *e))
{
    struct errand *e = new_errand(r, run, fail);

    e->then = then;
    e->owner = owner;
    set_out(e);
}

/* ---- groups ---------------------------------------------------------------------------------- */

bool coordinator_name_valid(struct str group)
{
    return group.n > 0 && group.n <= COMMITTED_GROUP_MAX;
}

static uint64_t hash_of(const struct coordinator *c, struct str name)
{
    return hash_bytes(name.p, name.n, c->seed);
}

struct group_entry *coordinator_find(struct coordinator *c, struct str name)
{
    uint64_t h = hash_of(c, name);

    for (struct hmap_node *n = hmap_first(&c->groups, h); n != NULL; n = hmap_next(n, h)) {
        struct group_entry *g = CONTAINER_OF(n, struct group_entry, node);
        if (str_eq(g->name, name))
            return g;
    }
    return NULL;
}

static void time_is_up(struct wheel_timer *t)
{
    struct group_entry *g = CONTAINER_OF(t, struct group_entry, timer);
    uint64_t now = io_now(g->coordinator->kafka->env->io);

    g->armed = UINT64_MAX;
    group_tick(&g->core, now);
    if (g->consumer != NULL)
        consumer_group_tick(g->consumer, now);
    coordinator_touch(g);
}

static void make_room(struct coordinator *c);

struct group_entry *coordinator_get(struct coordinator *c, struct str name)
{
    struct group_entry *g = coordinator_find(c, name);
    const struct options *o = c->kafka->env->options;

    if (g == NULL && c->groups.count >= COORDINATOR_GROUPS_MAX)
        make_room(c);
    if (g != NULL || c->groups.count >= COORDINATOR_GROUPS_MAX)
        return g;
    c->rules.initial_delay_ns = (uint64_t) o->kafka_group_delay_ns;
    c->rules.session_min_ms = o->kafka_group_session_min_ns < INT64_C(1800000000000)
                                  ? (int32_t) (o->kafka_group_session_min_ns / 1000000)
                                  : c->rules.session_max_ms;
    g = mem_zalloc(sizeof(*g));
    g->coordinator = c;
    g->name = str_from(mem_strndup(name.p, name.n), name.n);
    g->armed = UINT64_MAX;
    wheel_timer_init(&g->timer, time_is_up);
    group_init(&g->core, &c->rules, &coordinator_group_out, c->kafka->env->prng);
    committed_init(&g->offsets, &c->offsets_held);
    hmap_insert(&c->groups, &g->node, hash_of(c, name));
    list_push_back(&c->all, &g->link);
    return g;
}

static void free_group(struct group_entry *g, int16_t error)
{
    struct coordinator *c = g->coordinator;

    io_timer_stop(c->kafka->env->io, &g->timer);
    hmap_remove(&c->groups, &g->node);
    list_remove(&g->link);
    group_deinit(&g->core, error);
    coordinator_make_classic(g);
    committed_deinit(&g->offsets);
    mem_free((char *) (uintptr_t) g->name.p);
    mem_free(g);
}

static int64_t wall_ms(const struct coordinator *c)
{
    return io_wall(c->kafka->env->io) / 1000000;
}

bool coordinator_unused(const struct group_entry *g)
{
    return group_unused(&g->core) && (g->consumer == NULL || g->consumer->nmembers == 0);
}

void coordinator_make_consumer(struct group_entry *g)
{
    struct coordinator *c = g->coordinator;
    const struct options *o = c->kafka->env->options;

    c->consumer_rules.session_ns = (uint64_t) o->kafka_group_session_ns;
    c->consumer_rules.heartbeat_ms = o->kafka_group_heartbeat_ns < INT64_C(3600000000000)
                                         ? (int32_t) (o->kafka_group_heartbeat_ns / 1000000)
                                         : 3600000;
    if (g->consumer != NULL)
        return;
    g->consumer = mem_alloc(sizeof(*g->consumer));
    consumer_group_init(g->consumer, &c->consumer_rules, &c->world);
}

void coordinator_make_classic(struct group_entry *g)
{
    if (g->consumer == NULL)
        return;
    consumer_group_deinit(g->consumer);
    mem_free(g->consumer);
    g->consumer = NULL;
}

static bool holds_nothing(const struct group_entry *g)
{
    return coordinator_unused(g) && g->offsets.map.count == 0 && g->writing == 0;
}

bool coordinator_drop(struct group_entry *g)
{
    if (!holds_nothing(g))
        return false;
    free_group(g, KAFKA_NONE);
    return true;
}

/* Had members. */
static bool was_formed(const struct group_entry *g)
{
    return g->core.generation > 0 || (g->consumer != NULL && g->consumer->epoch > 0);
}

void coordinator_touch(struct group_entry *g)
{
    struct coordinator *c = g->coordinator;
    uint64_t next = group_next(&g->core);

    if (g->consumer != NULL && g->consumer->next < next)
        next = g->consumer->next;
    if (!coordinator_unused(g))
        g->unused_since = 0;
    else if (g->unused_since == 0)
        g->unused_since = wall_ms(c);
    if (holds_nothing(g) && !was_formed(g)) {
        free_group(g, KAFKA_NONE);
        return;
    }
    if (next < g->armed) {
        g->armed = next;
        io_timer_start(c->kafka->env->io, &g->timer, next);
    }
}

bool coordinator_remove(struct group_entry *g, struct committed_offset *o, struct store_req *req)
{
    uint64_t seq = o->seq;

    committed_drop(&g->offsets, o);
    return store_remove(g->coordinator->partition->store, seq, false, req) == ERR_OK;
}

/* ---- old groups and offsets ------------------------------------------------------------------ */

/* Groups that hold nothing, and have for so long. */
static void free_idle(struct coordinator *c, int64_t least_ms)
{
    int64_t before = wall_ms(c) - least_ms;

    LIST_FOREACH_SAFE(l, tmp, &c->all)
    {
        struct group_entry *g = LIST_ENTRY(l, struct group_entry, link);
        if (holds_nothing(g) && g->unused_since <= before)
            free_group(g, KAFKA_NONE);
    }
}

/* There are as many as there may be. Once a second: it looks at all of them. */
static void make_room(struct coordinator *c)
{
    int64_t now = wall_ms(c);

    if (now - c->room_made >= 1000 || now < c->room_made) {
        c->room_made = now;
        free_idle(c, 0);
    }
}

/* Of a group without members: too old, or of a topic that is another one now. */
static bool is_old(const struct group_entry *g, const struct committed_offset *o, int64_t now)
{
    const struct coordinator *c = g->coordinator;
    int64_t since = o->time_ms > g->unused_since ? o->time_ms : g->unused_since;
    int64_t retention = c->kafka->env->options->kafka_offsets_retention_ns / 1000000;
    struct topic_place place;

    if (now - since > retention)
        return true;
    return topics_partition(c->realm->topics, o->topic, o->partition, &place) &&
           memcmp(&place.id, &o->topic_id, sizeof(place.id)) != 0;
}

static void sweep_group(struct group_entry *g)
{
    int64_t now = wall_ms(g->coordinator);

    if (!coordinator_unused(g) || g->writing > 0)
        return;
    LIST_FOREACH_SAFE(l, tmp, &g->offsets.all)
    {
        struct committed_offset *o = LIST_ENTRY(l, struct committed_offset, link);
        if (is_old(g, o, now))
            coordinator_remove(g, o, NULL);
    }
    coordinator_touch(g);
}

static uint64_t sweep_ns(const struct coordinator *c)
{
    uint64_t each = (uint64_t) c->kafka->env->options->kafka_offsets_retention_ns / 4;

    return each < SWEEP_NS ? each : SWEEP_NS;
}

static void plan_sweep(struct coordinator *c)
{
    struct env *env = c->kafka->env;

    io_timer_start(env->io, &c->sweep, io_now(env->io) + sweep_ns(c));
}

static void sweep(struct wheel_timer *t)
{
    struct coordinator *c = CONTAINER_OF(t, struct coordinator, sweep);

    LIST_FOREACH_SAFE(l, tmp, &c->all)
    sweep_group(LIST_ENTRY(l, struct group_entry, link));
    free_idle(c, (int64_t) (sweep_ns(c) / 1000000));
    txns_sweep(c);
    plan_sweep(c);
}

/* ---- loading --------------------------------------------------------------------------------- */

static void take_message(struct coordinator *c, const struct store_msg *m)
{
    struct buf names = {0};
    struct committed_offset o = {.seq = m->seq};
    struct group_entry *g;
    struct str group;

    if (txn_take_message(c, m))
        return;
    if (committed_parse(m->subject, m->header, m->payload, &names, &group, &o) &&
        coordinator_name_valid(group) && (g = coordinator_get(c, group)) != NULL) {
        committed_put(&g->offsets, &o);
        /* What time the last member left is not known: the last commit's is all there is. */
        g->unused_since = 1;
    }
    buf_free(&names);
}

static void load(struct store_reader *r)
{
    struct coordinator *c = r->ctx;
    enum store_read got;
    struct store_msg m;
    struct list *l;

    while ((got = store_reader_next(r, &m)) == STORE_READ_MSG)
        take_message(c, &m);
    if (got == STORE_READ_WAIT)
        return;
    store_reader_deinit(r);
    c->ready = true;
    txns_loaded(c);
    txn_word_answer(c);
    LOG_DBG(c->kafka->env->log, "Kafka groups: %zu with committed offsets", c->groups.count);
    while ((l = list_pop_front(&c->parked)) != NULL) {
        struct errand *e = LIST_ENTRY(l, struct errand, link);
        e->run(c, e);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

/* The offsets stream goes, and all groups with it. */
static void gone(struct partition_job *j)
{
    struct coordinator *c = CONTAINER_OF(j, struct coordinator, busy);
    struct list *l;

    c->realm->coordinator = NULL;
    if (!c->ready)
        store_reader_deinit(&c->reader);
    io_timer_stop(c->kafka->env->io, &c->sweep);
    while ((l = list_pop_front(&c->parked)) != NULL)
        errand_failed(LIST_ENTRY(l, struct errand, link), KAFKA_NOT_COORDINATOR);
    txns_close(c);
    txn_word_answer(c);
    while ((l = list_first(&c->all)) != NULL)
        free_group(LIST_ENTRY(l, struct group_entry, link), KAFKA_NOT_COORDINATOR);
    hmap_deinit(&c->groups);
    mem_free(c);
}

static uint64_t world_version(void *ctx)
{
    return topics_version(ctx);
}

static bool world_find(void *ctx, struct str name, struct consumer_found *out)
{
    struct topic_place place;

    if (!topics_partition(ctx, name, 0, &place))
        return false;
    *out = (struct consumer_found){.id = place.id, .partitions = place.partitions};
    return true;
}

static void world_each(void *ctx, void (*fn)(void *to, struct str name), void *to)
{
    struct kafka_arena arena = {0};
    struct topic *all;
    size_t n = topics_all(ctx, &arena, &all);

    for (size_t i = 0; i < n; i++)
        if (!all[i].internal)
            fn(to, all[i].name);
    kafka_arena_free(&arena);
}

static struct coordinator *coordinator_open(struct realm *realm, struct partition *p)
{
    struct coordinator *c = mem_zalloc(sizeof(*c));
    uint64_t first, last;

    c->kafka = realm->kafka;
    c->realm = realm;
    c->partition = p;
    io_random(c->kafka->env->io, &c->seed, sizeof(c->seed));
    c->members_held.max = c->offsets_held.max = c->kafka->shared->groups_held_most;
    c->rules = (struct group_rules){
        .held = &c->members_held,
        .session_max_ms = 1800000,
        .newcomer_ns = 300 * UINT64_C(1000000000),
        .max_members = 4096,
        .max_bytes = 64u << 20,
    };
    c->consumer_rules = (struct consumer_rules){
        .held = &c->members_held, .max_members = 4096, .max_names = 65536, .max_partitions = 65536};
    c->world = (struct consumer_world){
        .ctx = realm->topics, .each = world_each, .version = world_version, .find = world_find};
    list_init(&c->parked);
    list_init(&c->questions);
    list_init(&c->all);
    hmap_init(&c->groups);
    txn_table_init(&c->txns, c->seed, TXNS_MAX, TXNS_BYTES_MAX);
    wheel_timer_init(&c->sweep, sweep);
    c->busy.gone = gone;
    list_push_back(&p->busy, &c->busy.link);
    realm->coordinator = c;
    plan_sweep(c);
    partition_bounds(p, &first, &last);
    store_reader_init(&c->reader, p->store, first, NULL, 0, load, c);
    load(&c->reader);
    return c;
}

struct coordinator *coordinator_here(struct env *env, const struct realm *of)
{
    struct realm *realm = realm_here(env, of);
    struct partition *p;

    if (realm == NULL || realm->coordinator != NULL)
        return realm != NULL ? realm->coordinator : NULL;
    p = partition_get(realm, STR(COORDINATOR_TOPIC));
    return p != NULL ? coordinator_open(realm, p) : NULL;
}

void coordinator_wake(struct realm *realm)
{
    struct topic_place place;

    if (realm->topics != NULL &&
        topics_partition(realm->topics, STR(COORDINATOR_TOPIC), 0, &place) &&
        place.worker == realm->kafka->env->worker)
        coordinator_here(realm->kafka->env, realm);
}
