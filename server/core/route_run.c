/*
 * Runs: how messages wait, and how they travel to other workers.
 *
 * A run is one chunk:
 *
 *     struct route_run       with the lane item first
 *     record, record, ...    each a multiple of 8 bytes
 *
 *     record   struct record          fixed part: lengths, flags, where bounces go, the account
 *              picks                  npicks times {sink, group}
 *              subject reply key header payload     bytes, one behind the other
 *
 * key is empty when it is the subject. A payload of MSG_SLICE_MIN bytes and more that lies in a
 * chunk is not copied: the record holds one reference to the chunk (`slice`), which run_release
 * gives back. One without a chunk is copied into the run, and is a slice of the run's own chunk for
 * the receiver.
 *
 * Views into a run live as long as the run; run_execute therefore ends the gathered run before it
 * frees.
 *
 * Kinds of records and what their receiver does:
 *
 *     RUN_INTEREST   plain: deliver to all plain subscriptions of this worker that match now.
 *                    picks: deliver to each, a queue member or a direct target; not taken:
 * route_unclaimed. Nobody took a message that only asked for plain ones: bounced if it asks for
 * that. RUN_ROUTE      publish it (replies that were held) RUN_DEFERRED   deliver to the one pick,
 * whose sink counted it in sink.deferred RUN_BOUNCE     sink_ops.bounced of bounce_to RUN_NOBODY
 * the 503 callback for origin_conn
 *
 * Sizes: the first run of an iteration is 16 KiB, following ones 64 KiB: little traffic shall not
 * hold much memory, and much shall not make many runs. A message costs its bytes and 104 for the
 * record.
 */
#include "server/core/route_run.h"

#include "server/core/router_priv.h"

#define RUN_FIRST 16384u
#define RUN_NEXT 65536u

struct route_run {
    struct lane_item item; /* bytes: used, and those of slices */
    struct chunk *chunk;
    uint32_t used; /* with this struct */
    uint32_t slices;
};

struct record {
    uint32_t size; /* of everything, a multiple of 8 */
    uint8_t kind;
    bool plain;
    uint16_t hops;
    uint32_t flags;
    uint32_t npicks;
    uint32_t subject_n, reply_n, key_n, header_n, payload_n;
    uint32_t origin_worker, bounce_worker;
    handle origin_conn;
    handle bounce_to;
    uint64_t bounce_seq;
    struct account *account;
    struct chunk *slice; /* holds the payload; NULL: it follows here */
    const char *slice_payload;
};

struct record_pick {
    handle sink;
    uint64_t group;
};

static struct route_run *run_of(struct lane_item *item)
{
    return CONTAINER_OF(item, struct route_run, item);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void finish_open(struct run_writer *w)
{
    struct route_run *run = w->open;

    if (run == NULL)
        return;
    w->open = NULL;
    w->more = true;
    run->item.next = NULL;
    if (w->tail != NULL)
        w->tail->next = &run->item;
    else
        w->head = &run->item;
    w->tail = &run->item;
}

static bool open_run(struct router *r, struct run_writer *w, size_t need)
{
    size_t want = w->more ? RUN_NEXT : RUN_FIRST;
    struct chunk *c;
    struct route_run *run;

    need += sizeof(*run);
    if (need > UINT32_MAX)
        return false;
    c = chunk_alloc(r->chunks, need > want ? need : want);
    if (c == NULL)
        return false;
    run = (struct route_run *) (void *) c->data;
    *run = (struct route_run){
        .item = {.kind = LANE_RUN, .bytes = sizeof(*run)},
        .chunk = c,
        .used = sizeof(*run),
    };
    w->open = run;
    return true;
}

/* n bytes behind the last record, or NULL. */
static void *reserve(struct router *r, struct run_writer *w, size_t n)
{
    if (w->open != NULL && w->open->chunk->cap - w->open->used < n)
        finish_open(w);
    if (w->open == NULL && !open_run(r, w, n))
        return NULL;
    return w->open->chunk->data + w->open->used;
}

static bool is_sliced(const struct msg *m)
{
    return m->chunk != NULL && m->payload.n >= MSG_SLICE_MIN;
}

static uint32_t count_picks(const struct run_put *p)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < p->npicks; i++)
        n += p->picks[i].worker == p->worker;
    return n;
}

static char *put_picks(char *at, const struct run_put *p)
{
    for (uint32_t i = 0; i < p->npicks; i++) {
        struct record_pick pick = {.sink = p->picks[i].sink, .group = p->picks[i].group};
        if (p->picks[i].worker != p->worker)
            continue;
        memcpy(at, &pick, sizeof(pick));
        at += sizeof(pick);
    }
    return at;
}

static char *put_bytes(char *at, struct str s)
{
    if (s.n > 0)
        memcpy(at, s.p, s.n);
    return at + s.n;
}

static uint32_t record_flags(const struct run_put *p)
{
    return p->alone ? p->m->flags : (p->m->flags & ~(uint32_t) MSG_F_BOUNCE) | MSG_F_SHARED;
}

static void fill_record(struct record *rec, const struct run_put *p, size_t size, uint32_t npicks)
{
    const struct msg *m = p->m;

    *rec = (struct record){
        .size = (uint32_t) size,
        .kind = (uint8_t) p->kind,
        .plain = p->plain,
        .hops = (uint16_t) p->delivery->hops,
        .flags = record_flags(p),
        .npicks = npicks,
        .subject_n = (uint32_t) m->subject.n,
        .reply_n = (uint32_t) m->reply.n,
        .key_n = (uint32_t) p->delivery->key.n,
        .header_n = (uint32_t) m->header.n,
        .payload_n = (uint32_t) m->payload.n,
        .origin_worker = m->origin_worker,
        .bounce_worker = m->bounce_worker,
        .origin_conn = m->origin_conn,
        .bounce_to = m->bounce_to,
        .bounce_seq = m->bounce_seq,
        .account = p->delivery->account,
    };
}

bool run_put(struct router *r, struct run_writer *w, const struct run_put *p)
{
    const struct msg *m = p->m;
    bool sliced = is_sliced(m);
    uint32_t npicks = count_picks(p);
    size_t size = sizeof(struct record) + npicks * sizeof(struct record_pick) + m->subject.n +
                  m->reply.n + p->delivery->key.n + m->header.n + (sliced ? 0 : m->payload.n);
    struct record *rec;
    char *at;

    size = (size_t) round_up(size, 8);
    rec = size <= UINT32_MAX ? reserve(r, w, size) : NULL;
    if (rec == NULL) {
        r->stats.dropped++;
        return false;
    }
    fill_record(rec, p, size, npicks);
    at = put_picks((char *) (rec + 1), p);
    at = put_bytes(at, m->subject);
    at = put_bytes(at, m->reply);
    at = put_bytes(at, p->delivery->key);
    at = put_bytes(at, m->header);
    if (sliced) {
        chunk_get(m->chunk);
        rec->slice = m->chunk;
        rec->slice_payload = m->payload.p;
        w->open->slices++;
    } else {
        put_bytes(at, m->payload);
    }
    w->open->used += (uint32_t) size;
    w->open->item.bytes += (uint32_t) (size + (sliced ? m->payload.n : 0));
    w->bytes += size + (sliced ? m->payload.n : 0);
    return true;
}

struct lane_item *run_take_all(struct run_writer *w)
{
    struct lane_item *runs;

    finish_open(w);
    runs = w->head;
    *w = (struct run_writer){0};
    return runs;
}

void run_append(struct run_writer *w, struct lane_item *runs)
{
    finish_open(w);
    for (; runs != NULL; runs = runs->next) {
        if (w->tail != NULL)
            w->tail->next = runs;
        else
            w->head = runs;
        w->tail = runs;
    }
}

bool run_is_empty(const struct run_writer *w)
{
    return w->head == NULL && w->open == NULL;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void post_all(struct router *r, uint32_t worker, struct lane_item *run)
{
    while (run != NULL) {
        struct lane_item *next = run->next;
        run->next = NULL;
        r->post(r->post_ctx, worker, run);
        run = next;
    }
}

/* With the flags by which the other side knows. */
static __attribute__((noinline)) bool put_traced(struct router *r, struct run_writer *w,
                                                 const struct run_put *p)
{
    struct msg m = *p->m;
    struct run_put put = *p;

    m.flags |= MSG_F_TRACED | (r->tracer->only ? MSG_F_TRACE_ONLY : 0u);
    put.m = &m;
    if (!run_put(r, w, &put))
        return false;
    r->tracer->sent(r->tracer, p->worker);
    return true;
}

bool route_send(struct router *r, const struct run_put *p)
{
    struct run_writer *w = &r->out[p->worker];
    struct lane_item *full;
    bool traced = r->tracer != NULL && r->tracer->sent != NULL && p->kind == RUN_INTEREST;

    ASSERT(p->worker != r->worker && p->worker < r->workers);
    if (UNLIKELY(traced) ? !put_traced(r, w, p) : !run_put(r, w, p))
        return false;
    r->stats.remote++;
    if (UNLIKELY(w->head != NULL)) {
        full = w->head;
        w->head = w->tail = NULL;
        post_all(r, p->worker, full);
    }
    return true;
}

void route_send_runs(struct router *r, uint32_t worker, struct lane_item *runs)
{
    if (runs == NULL)
        return;
    post_all(r, worker, run_take_all(&r->out[worker]));
    post_all(r, worker, runs);
}

void router_flush_remote(struct router *r)
{
    for (uint32_t w = 0; w < r->workers; w++)
        if (!run_is_empty(&r->out[w]))
            post_all(r, w, run_take_all(&r->out[w]));
}

/* ---- reading --------------------------------------------------------------------------------- */

static struct record *first_record(struct route_run *run)
{
    return (struct record *) (void *) (run + 1);
}

static struct record *next_record(struct record *rec)
{
    return (struct record *) (void *) ((char *) rec + rec->size);
}

static struct record *end_of(struct route_run *run)
{
    return (struct record *) (void *) (run->chunk->data + run->used);
}

static void release(struct route_run *run, struct chunk_pool *pool)
{
    if (run->slices > 0)
        for (struct record *rec = first_record(run); rec < end_of(run); rec = next_record(rec))
            if (rec->slice != NULL)
                chunk_put(rec->slice, pool);
    chunk_put(run->chunk, pool);
}

void route_run_free(struct lane_item *item, struct chunk_pool *pool)
{
    release(run_of(item), pool);
}

void run_discard(struct run_writer *w, struct chunk_pool *pool)
{
    struct lane_item *run = run_take_all(w), *next;

    for (; run != NULL; run = next) {
        next = run->next;
        route_run_free(run, pool);
    }
}

struct view {
    const struct record_pick *picks;
    struct msg m;
    struct delivery delivery;
};

static struct str take_bytes(const char **at, uint32_t n)
{
    struct str s = {*at, n};

    *at += n;
    return s;
}

static void open_record(const struct route_run *run, const struct record *rec, struct view *v)
{
    const char *at = (const char *) (rec + 1) + rec->npicks * sizeof(struct record_pick);
    struct msg *m = &v->m;

    v->picks = (const struct record_pick *) (const void *) (rec + 1);
    m->subject = take_bytes(&at, rec->subject_n);
    m->reply = take_bytes(&at, rec->reply_n);
    v->delivery = (struct delivery){.account = rec->account, .hops = rec->hops};
    if (rec->key_n > 0)
        v->delivery.key = take_bytes(&at, rec->key_n);
    m->header = take_bytes(&at, rec->header_n);
    if (rec->slice != NULL) {
        m->payload = str_from(rec->slice_payload, rec->payload_n);
        m->chunk = rec->slice;
    } else {
        m->payload = take_bytes(&at, rec->payload_n);
        m->chunk = rec->payload_n >= MSG_SLICE_MIN ? run->chunk : NULL;
    }
    m->flags = rec->flags;
    m->origin_worker = rec->origin_worker;
    m->origin_conn = rec->origin_conn;
    m->bounce_to = rec->bounce_to;
    m->bounce_worker = rec->bounce_worker;
    m->bounce_seq = rec->bounce_seq;
}

static void each_in_run(struct route_run *run,
                        void (*each)(void *ctx, struct str subject, struct str payload), void *ctx)
{
    struct view v;

    for (struct record *rec = first_record(run); rec < end_of(run); rec = next_record(rec)) {
        open_record(run, rec, &v);
        each(ctx, v.m.subject, v.m.payload);
    }
}

void run_each(const struct run_writer *w,
              void (*each)(void *ctx, struct str subject, struct str payload), void *ctx)
{
    for (struct lane_item *item = w->head; item != NULL; item = item->next)
        each_in_run(run_of(item), each, ctx);
    if (w->open != NULL)
        each_in_run(w->open, each, ctx);
}

/* ---- executing ------------------------------------------------------------------------------- */

static void hand_pick(struct router *r, struct view *v, const struct record_pick *pick, bool only)
{
    struct delivery *d = &v->delivery;

    d->group = (uint32_t) pick->group;
    /* The gathered run knows neither key nor hops, which only a queue group may need again. */
    if (only && (d->group == ROUTE_DIRECT || (d->key.p == NULL && d->hops == 0))) {
        router_gather(r, d, pick->sink, &v->m);
        return;
    }
    route_flush_run(r);
    if (route_hand(r, d, pick->sink, &v->m, 1) == 0)
        route_unclaimed(r, d, &v->m);
}

static uint32_t hand_plain(struct router *r, struct view *v, bool only, struct leaf_picks *leafs)
{
    struct match_cache *c = router_cache(r, v->delivery.account);
    struct match *e = match_cache_find(c, delivery_key(&v->delivery, &v->m));
    uint32_t took;

    if (only && e->nlocal == 1 && !e->leafs && !route_is_echo(r, &v->m, e->local[0].conn)) {
        router_gather(r, &v->delivery, e->local[0].sink, &v->m);
        return 1;
    }
    route_flush_run(r);
    match_pin(e);
    took = e->leafs ? route_hand_leafs(r, &v->delivery, e, &v->m, leafs) : 0;
    took += route_hand_local(r, &v->delivery, e, &v->m);
    match_unpin(c, e);
    return took;
}

static bool is_leaf(const struct router *r, handle h)
{
    const struct sink *s = handle_get(&r->sinks, h);

    return s != NULL && s->leaf;
}

static void execute_interest(struct router *r, const struct record *rec, struct view *v)
{
    struct leaf_picks leafs = {.n = 0};
    uint32_t took = 0, members = 0;
    bool may_gather = r->tracer == NULL;

    for (uint32_t i = 0; i < rec->npicks; i++)
        leaf_picks_add(r, &leafs, v->picks[i].sink, &v->m);
    if (rec->plain)
        took = hand_plain(r, v, may_gather && rec->npicks == 0, &leafs);
    if (leafs.n > 0) {
        route_flush_run(r);
        took += route_hand_leafs(r, &v->delivery, NULL, &v->m, &leafs);
    }
    for (uint32_t i = 0; i < rec->npicks; i++)
        if (!is_leaf(r, v->picks[i].sink)) {
            hand_pick(r, v, &v->picks[i], may_gather && !rec->plain && rec->npicks == 1);
            members++;
        }
    /* A consumer would try again as long as the other server is subscribed. */
    if (rec->npicks > 0 && (v->m.flags & MSG_F_BOUNCE) != 0)
        return;
    if (members == 0 && took == 0) {
        route_flush_run(r);
        v->delivery.group = ROUTE_PLAIN;
        route_unclaimed(r, &v->delivery, &v->m);
    }
}

/* The worker it came from waits for what it meets here. */
static __attribute__((noinline)) void execute_traced(struct router *r, const struct record *rec,
                                                     struct view *v)
{
    v->m.flags &= ~(uint32_t) MSG_F_TRACED;
    route_flush_run(r);
    r->tracer = r->trace_begin != NULL ? r->trace_begin(r->trace_ctx, &v->m) : NULL;
    v->m.flags &= ~(uint32_t) MSG_F_TRACE_ONLY;
    execute_interest(r, rec, v);
    if (r->tracer != NULL)
        r->trace_end(r->trace_ctx, r->tracer, v->m.origin_worker);
    r->tracer = NULL;
}

static void execute_deferred(struct router *r, struct view *v)
{
    const struct record_pick *pick = &v->picks[0];
    struct sink *s = handle_get(&r->sinks, pick->sink);

    route_flush_run(r);
    if (s != NULL)
        s->deferred--;
    v->delivery.group = (uint32_t) pick->group;
    if (route_hand_now(r, pick->sink, &v->m, 1) == 0)
        route_unclaimed(r, &v->delivery, &v->m);
}

static void execute(struct router *r, const struct route_run *run, const struct record *rec,
                    struct view *v)
{
    open_record(run, rec, v);
    switch ((enum run_kind) rec->kind) {
    case RUN_INTEREST:
        if (UNLIKELY((v->m.flags & MSG_F_TRACED) != 0))
            execute_traced(r, rec, v);
        else
            execute_interest(r, rec, v);
        break;
    case RUN_ROUTE:
        r->stats.published++;
        route_message(r, v->delivery.account, v->m.subject, &v->m);
        break;
    case RUN_DEFERRED:
        execute_deferred(r, v);
        break;
    case RUN_BOUNCE:
        route_flush_run(r);
        route_bounced(r, v->m.bounce_to, v->m.bounce_seq);
        break;
    case RUN_NOBODY:
        route_flush_run(r);
        route_answer_nobody(r, v->m.origin_conn, v->delivery.account, v->m.subject, v->m.reply);
        break;
    default:
        FATAL("run record of unknown kind %u", rec->kind);
    }
}

void run_execute(struct router *r, struct lane_item *item)
{
    struct route_run *run = run_of(item);
    struct view v;

    ASSERT(r->depth == 0);
    for (struct record *rec = first_record(run); rec < end_of(run); rec = next_record(rec)) {
        ASSERT(rec->size >= sizeof(*rec));
        execute(r, run, rec, &v);
    }
    route_flush_run(r);
    release(run, r->chunks);
}

void router_take(struct router *r, struct lane_item *run)
{
    run_execute(r, run);
}
