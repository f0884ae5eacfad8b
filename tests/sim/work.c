/*
 * work.c - the operations of a run: drawn, done, and noted in the model. See swarm.h for their mix.
 */
#include "lib/base/assert.h"
#include "lib/base/seqset.h"
#include "lib/base/subject.h"
#include "store/batch.h"
#include "tests/sim/kafka.h"
#include "tests/sim/sim_disk_int.h"
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS INT64_C(1000000)
#define KAFKA_MESSAGES 30u

static struct prng *rng(struct world *w)
{
    return sim_rng(w->sim);
}

static uint64_t below(struct world *w, uint64_t n)
{
    return prng_below(rng(w), n);
}

static bool percent(struct world *w, unsigned n)
{
    return below(w, 100) < n;
}

enum work_op work_draw(struct world *w)
{
    unsigned total = 0, i;
    for (i = 0; i < WORK_OPS; i++)
        total += w->swarm->weights[i];
    uint64_t at = below(w, total);
    for (i = 0; at >= w->swarm->weights[i]; i++)
        at -= w->swarm->weights[i];
    return (enum work_op) i;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static struct model_stream *any_stream(struct world *w)
{
    struct model_stream *chosen = NULL;
    uint64_t n = 0;
    for (unsigned i = 0; i < w->model->nstreams; i++) {
        struct model_stream *s = w->model->streams[i];
        if (s->handle != NULL && below(w, ++n) == 0)
            chosen = s;
    }
    return chosen;
}

static unsigned count_streams(const struct world *w)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->model->nstreams; i++)
        n += w->model->streams[i]->handle != NULL;
    return n;
}

static struct model_object *any_object(struct world *w)
{
    struct model_object *chosen = NULL;
    uint64_t n = 0;
    for (unsigned i = 0; i < w->model->nobjects; i++) {
        struct model_object *o = w->model->objects[i];
        if (o->open && o->life <= LIFE_SURE && below(w, ++n) == 0)
            chosen = o;
    }
    return chosen;
}

static unsigned count_objects(const struct world *w)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->model->nobjects; i++)
        n += w->model->objects[i]->life <= LIFE_SURE;
    return n;
}

/* A live message, or 0. */
static uint64_t any_message(struct world *w, const struct model_stream *s)
{
    if (s->committed < s->first)
        return 0;
    uint64_t from = s->first + below(w, s->committed + 1 - s->first);
    uint64_t seq = model_next_live(s, from, STR_NONE);
    return seq != 0 ? seq : model_next_live(s, s->first, STR_NONE);
}

static struct str any_filter(struct world *w, const struct model_stream *s, char out[MODEL_SUBJECT])
{
    unsigned i = (unsigned) below(w, s->subjects);
    int n = 0;
    switch (below(w, 5)) {
    case 0:
        n = snprintf(out, MODEL_SUBJECT, "s%u.%u.>", s->key, i % 3);
        break;
    case 1:
        n = snprintf(out, MODEL_SUBJECT, "s%u.*.x%u", s->key, i);
        break;
    case 2:
        n = (int) model_subject(s, i, out).n;
        break;
    default:
        break;
    }
    return str_from(out, (size_t) n);
}

/* ---- messages -------------------------------------------------------------------------------- */

static uint32_t draw_payload(struct world *w)
{
    if (percent(w, w->swarm->big_percent)) {
        static const uint32_t around[] = {60000, 65400, 65536, 66000, 130000, 300000};
        return around[below(w, ARRAY_LEN(around))] + (uint32_t) below(w, 200);
    }
    return (uint32_t) below(w, w->swarm->payload_max + 1);
}

static void draw_message(struct world *w, struct model_stream *s, struct model_msg *m)
{
    int64_t now = sim_wall(w->sim);
    m->seed = prng_u64(rng(w));
    m->payload = draw_payload(w);
    m->header = percent(w, w->swarm->header_percent) ? (uint16_t) below(w, 200) : 0;
    m->subject = (uint16_t) below(w, s->subjects);
    m->ts = (now > s->last_ts ? now : s->last_ts) + (int64_t) below(w, 3);
}

/* False when the store takes no more for now. */
static bool append_one(struct world *w, struct model_stream *s)
{
    struct model_msg m = {0};
    struct store_append a;
    uint64_t seq = 0;
    draw_message(w, s, &m);
    char *bytes = sim_alloc(model_msg_size(&m));
    model_msg_render(s, &m, bytes, &a);
    enum err e = store_append(s->handle, &a, &seq);
    free(bytes);
    if (e == ERR_OK) {
        *model_msg_add(s) = m;
        s->last_ts = m.ts;
        if (seq != model_last(s))
            world_fail(w, "stream %u: appended as %llu, should be %llu", s->key,
                       (unsigned long long) seq, (unsigned long long) model_last(s));
        return true;
    }
    if (e == ERR_LIMIT || (e == ERR_NO_SPACE && world_full(w)) || (e == ERR_FAILED && s->failed) ||
        w->model->faults)
        return false;
    world_fail(w, "stream %u: append: %s", s->key, err_text(e));
}

/* A batch of at most n messages, of one subject and time. */
static void append_kafka(struct world *w, struct model_stream *s, uint64_t n)
{
    struct model_msg m[KAFKA_MESSAGES];
    struct store_append a;
    struct buf batch = {0};
    uint8_t *stored, head[KAFKA_HEAD] = {0};
    uint64_t first = 0;
    char text[MODEL_SUBJECT];
    uint32_t count = 0;
    buf_put(&batch, head, sizeof(head));
    do {
        m[count] = (struct model_msg){0};
        draw_message(w, s, &m[count]);
        m[count].subject = m[0].subject;
        m[count].ts = m[0].ts;
        char *bytes = sim_alloc(model_msg_size(&m[count]));
        model_msg_render(s, &m[count], bytes, &a);
        kafka_put(&batch, count, a.header, a.payload);
        free(bytes);
        count++;
    } while (count < n && count < KAFKA_MESSAGES && batch.n < (256u << 10));
    struct store_kafka_append k = {.subject = model_subject(s, m[0].subject, text),
                                   .batch = buf_str(&batch),
                                   .messages = count,
                                   .ts = m[0].ts};
    enum err e = store_append_kafka(s->handle, &k, &first, &stored);
    sim_trace(w->sim, "work append a batch of %u to stream %u behind %llu: %s", count, s->key,
              (unsigned long long) model_last(s), err_text(e));
    uint64_t whole = store_msg_bytes(s->level, k.subject.n, 0, batch.n);
    buf_free(&batch);
    if (e != ERR_OK) {
        if (e != ERR_LIMIT && !(e == ERR_NO_SPACE && world_full(w)) &&
            !(e == ERR_FAILED && s->failed) && !w->model->faults)
            world_fail(w, "stream %u: append of a batch: %s", s->key, err_text(e));
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        m[i].share = batch_kafka_share(whole, count, i);
        *model_msg_add(s) = m[i];
    }
    s->last_ts = m[0].ts;
    if (first + count - 1 != model_last(s))
        world_fail(w, "stream %u: a batch ends with %llu, should be %llu", s->key,
                   (unsigned long long) first + count - 1, (unsigned long long) model_last(s));
}

static void do_append(struct world *w, struct model_stream *s)
{
    uint64_t n = 1 + below(w, w->swarm->burst);
    if (percent(w, w->swarm->kafka_percent)) {
        append_kafka(w, s, n);
        world_touch(w, s->worker);
        return;
    }
    sim_trace(w->sim, "work append %llu to stream %u behind %llu", (unsigned long long) n, s->key,
              (unsigned long long) model_last(s));
    while (n-- > 0 && append_one(w, s))
        ;
    world_touch(w, s->worker);
}

static void do_skip(struct world *w, struct model_stream *s)
{
    uint64_t n = 1 + below(w, 20), last = 0;
    enum err e = store_skip(s->handle, n, &last);
    sim_trace(w->sim, "work skip %llu of stream %u: %s", (unsigned long long) n, s->key,
              err_text(e));
    if (e != ERR_OK) {
        if (e != ERR_LIMIT && !world_full(w) && !s->failed && !w->model->faults)
            world_fail(w, "stream %u: skip: %s", s->key, err_text(e));
        return;
    }
    while (n-- > 0)
        model_msg_add(s)->flags = MSG_SKIP;
    if (last != model_last(s))
        world_fail(w, "stream %u: skipped to %llu, should be %llu", s->key,
                   (unsigned long long) last, (unsigned long long) model_last(s));
    world_touch(w, s->worker);
}

/* As one of a set. */
static enum err remove_in_set(struct store_stream *s, uint64_t seq)
{
    struct seqset set = {0};

    seqset_add(&set, seq, seq);
    uint64_t n = store_remove_set(s, &set, NULL);
    seqset_free(&set);
    return n == 1 ? ERR_OK : ERR_NOT_FOUND;
}

static void do_remove(struct world *w, struct model_stream *s)
{
    uint64_t seq = any_message(w, s);
    bool erase = percent(w, w->swarm->erase_percent), rides = percent(w, w->swarm->ride_percent);
    if (seq == 0)
        return;
    struct ask *a = NULL;
    if (!rides) {
        a = ask_new(w, ASK_REMOVE);
        a->order = ++s->asked;
        a->stream = s;
        a->seq = seq;
        a->erase = erase;
    }
    sim_trace(w->sim, "work remove %llu of stream %u%s%s", (unsigned long long) seq, s->key,
              erase ? ", erase" : "", rides ? ", rides" : "");
    enum err e = rides && !erase && seq % 2 == 1 && !s->failed
                     ? remove_in_set(s->handle, seq)
                     : store_remove(s->handle, seq, erase, a != NULL ? &a->req : NULL);
    if (e == ERR_OK) {
        s->erases += erase;
        model_msg(s, seq)->flags |= MSG_ASKED;
        model_msg(s, seq)->behind = s->config.current != s->config.acked ? s->config.current : 0;
        *(rides ? &s->unasked : &s->removals) += 1;
    } else {
        if (a != NULL)
            ask_free(a);
        /* A limit may have taken it, and the news be on its way. */
        if (e == ERR_NOT_FOUND)
            model_msg(s, seq)->flags |= MSG_MISSED;
        else if (!w->model->faults && !s->failed)
            world_fail(w, "stream %u: remove of %llu: %s", s->key, (unsigned long long) seq,
                       err_text(e));
    }
    world_touch(w, s->worker);
}

/* ---- purges ---------------------------------------------------------------------------------- */

/* Marks what the purge means with `flag`; returns how many. `keep` counts from the end. */
static uint64_t mark_purged(struct model_stream *s, const struct store_purge *p, uint64_t keep,
                            uint16_t flag)
{
    char text[MODEL_SUBJECT];
    uint64_t n = 0;
    for (uint64_t i = s->n; i-- > 0;) {
        struct model_msg *m = &s->msgs[i];
        if ((m->flags & MSG_GONE) != 0 || (p->before_seq != 0 && s->first + i >= p->before_seq) ||
            (p->filter.n > 0 && !subject_matches(model_subject(s, m->subject, text), p->filter)))
            continue;
        if (keep > 0) {
            keep--;
            continue;
        }
        m->flags |= flag;
        n++;
    }
    return n;
}

/* With nothing in flight it is known exactly what a purge will remove. */
static bool purge_is_exact(struct world *w, struct model_stream *s)
{
    if (percent(w, 50))
        return false;
    world_settle(w);
    if (s->handle == NULL || s->committed != model_last(s) || s->removals > 0 ||
        s->limits[s->config.current].max_age_ns != 0)
        return false;
    /* What earlier purges left is not theirs. */
    for (uint64_t i = 0; i < s->n; i++)
        s->msgs[i].flags &= (uint16_t) ~MSG_PURGE;
    return true;
}

static void do_purge(struct world *w, struct model_stream *s)
{
    char text[MODEL_SUBJECT];
    struct store_purge p = {.filter = any_filter(w, s, text)};
    switch (below(w, 3)) {
    case 0:
        p.keep = 1 + below(w, 10);
        break;
    case 1:
        p.before_seq = s->first + below(w, s->n + 1);
        break;
    default:
        break;
    }
    bool exact = purge_is_exact(w, s);
    if (s->handle == NULL)
        return;
    struct ask *a = ask_new(w, ASK_PURGE);
    a->order = ++s->asked;
    a->stream = s;
    s->removals++;
    if (exact)
        a->expect = mark_purged(s, &p, p.keep, MSG_ASKED | MSG_PURGED);
    else
        mark_purged(s, &p, 0, MSG_PURGE);
    sim_trace(w->sim, "work purge stream %u, filter '%.*s', before %llu, keep %llu, %s", s->key,
              STR_ARG(p.filter), (unsigned long long) p.before_seq, (unsigned long long) p.keep,
              exact ? "exact" : "busy");
    store_purge(s->handle, &p, &a->req);
    world_touch(w, s->worker);
    if (exact)
        world_settle(w);
}

/* ---- streams --------------------------------------------------------------------------------- */

static struct store_limits draw_limits(struct world *w)
{
    struct store_limits l = {0};
    if (!percent(w, w->swarm->limits_percent))
        return l;
    if (percent(w, 40))
        l.max_msgs = 1 + below(w, 300);
    if (percent(w, 30))
        l.max_bytes = 100 + below(w, 100000);
    if (percent(w, 40))
        l.max_msgs_per_subject = 1 + below(w, 5);
    if (percent(w, 15))
        l.max_age_ns = (int64_t) (10 + below(w, 3000)) * MS;
    return l;
}

/* A new version of the configuration with its limits. */
static const struct store_limits *next_config(struct world *w, struct model_stream *s)
{
    uint64_t version = model_value_next(&s->config);
    s->limits = sim_grow(s->limits, (version + 1) * sizeof(*s->limits));
    struct store_limits *l = &s->limits[version];
    *l = draw_limits(w);
    sim_trace(
        w->sim,
        "stream %u version %llu: at most %llu messages, %llu bytes, %llu per subject, %lld ns",
        s->key, (unsigned long long) version, (unsigned long long) l->max_msgs,
        (unsigned long long) l->max_bytes, (unsigned long long) l->max_msgs_per_subject,
        (long long) l->max_age_ns);
    return l;
}

static enum store_level draw_level(struct world *w)
{
    if (percent(w, w->swarm->async_percent))
        return STORE_ASYNC;
    return percent(w, w->swarm->memory_percent) ? STORE_MEMORY : STORE_DURABLE;
}

static void do_stream_create(struct world *w)
{
    char name[32];
    struct buf config = {0};
    if (count_streams(w) >= w->swarm->streams_max)
        return;
    unsigned worker = (unsigned) below(w, w->swarm->workers);
    uint64_t first = percent(w, 20) ? 1 + below(w, 1000) : 1;
    struct model_stream *s = model_stream_add(w->model, draw_level(w), first);
    s->world = w;
    s->worker = worker;
    s->subjects = 1 + (unsigned) below(w, w->swarm->subjects);
    const struct store_limits *limits = next_config(w, s);
    model_full(&config, s->key, s->config.current);
    snprintf(name, sizeof(name), "stream-%u", s->key);
    struct store_stream_options o = {.name = str_of(name),
                                     .config = buf_str(&config),
                                     .level = s->level,
                                     .first_seq = first,
                                     .limits = *limits};
    struct ask *a = ask_new(w, ASK_STREAM_CREATE);
    a->stream = s;
    enum err e = store_stream_create(world_store(w, worker), &o, world_stream_ops(s), s, &s->handle,
                                     &a->req);
    buf_free(&config);
    sim_trace(w->sim, "work create stream %u, level %d, worker %u: %s", s->key, (int) s->level,
              worker, err_text(e));
    if (e == ERR_OK) {
        s->id = store_stream_id(s->handle);
        world_stream_compress(w, s);
    } else {
        if (!world_full(w) && !w->model->faults)
            world_fail(w, "stream %u can not be created: %s", s->key, err_text(e));
        ask_free(a);
        world_stream_dead(w, s);
    }
    s->config.acked = s->config.submitted;
    world_touch(w, worker);
}

static void do_stream_update(struct world *w, struct model_stream *s)
{
    struct buf config = {0};
    const struct store_limits *limits = next_config(w, s);
    model_full(&config, s->key, s->config.current);
    struct ask *a = ask_new(w, ASK_STREAM_UPDATE);
    a->order = ++s->asked;
    a->stream = s;
    a->version = s->config.current;
    sim_trace(w->sim, "work update stream %u", s->key);
    store_stream_update(s->handle, limits, buf_str(&config), &a->req);
    buf_free(&config);
    world_touch(w, s->worker);
}

static void do_stream_delete(struct world *w, struct model_stream *s)
{
    struct ask *a = ask_new(w, ASK_STREAM_DELETE);
    a->stream = s;
    if (percent(w, 50))
        world_readers_drop(w, s);
    sim_trace(w->sim, "work delete stream %u", s->key);
    store_stream_delete(s->handle, &a->req);
    world_readers_drop(w, s);
    s->handle = NULL;
    s->life = LIFE_DYING;
    for (unsigned i = 0; i < w->model->nobjects; i++) {
        struct model_object *o = w->model->objects[i];
        if (model_object_below(o, s) && o->life <= LIFE_SURE)
            o->life = LIFE_DYING;
    }
    world_touch(w, s->worker);
}

/* ---- objects --------------------------------------------------------------------------------- */

/* NULL: nobody waits. */
static struct ask *ask_object(struct world *w, enum ask_kind kind, struct model_object *o,
                              bool rides)
{
    if (rides)
        return NULL;
    struct ask *a = ask_new(w, kind);
    a->object = o;
    a->version = o->value.current;
    return a;
}

static void do_object_create(struct world *w)
{
    struct buf full = {0};
    struct model_stream *s = percent(w, 70) ? any_stream(w) : NULL;
    if (count_objects(w) >= w->swarm->objects_max || (s != NULL && s->level == STORE_MEMORY))
        return;
    struct model_object *o = model_object_add(w->model);
    o->parent = s != NULL ? s->key + 1 : 0;
    o->worker = s != NULL ? s->worker : (unsigned) below(w, w->swarm->workers);
    o->kind = STORE_KIND_USER + o->key % 3;
    o->claimed = !percent(w, w->swarm->unclaimed_percent);
    o->open = true;
    model_full(&full, o->key, model_value_next(&o->value));
    struct ask *a = ask_object(w, ASK_OBJECT_CREATE, o, percent(w, w->swarm->ride_percent / 2));
    o->id = store_object_create(world_store(w, o->worker), o->kind, s != NULL ? s->id : 0,
                                buf_str(&full), world_render, o, a != NULL ? &a->req : NULL);
    sim_trace(w->sim, "work create object %u below %u", o->key, o->parent);
    buf_free(&full);
    world_touch(w, o->worker);
}

static void do_object_change(struct world *w, struct model_object *o, bool whole)
{
    struct buf b = {0};
    uint64_t before = o->value.current;
    uint64_t version = model_value_next(&o->value);
    struct store *st = world_store(w, o->worker);
    struct ask *a = ask_object(w, ASK_OBJECT_CHANGE, o, percent(w, w->swarm->ride_percent));
    sim_trace(w->sim, "work %s object %u, version %llu", whole ? "put" : "delta", o->key,
              (unsigned long long) version);
    if (whole) {
        model_full(&b, o->key, version);
        store_object_put(st, o->id, buf_str(&b), a != NULL ? &a->req : NULL);
    } else {
        model_delta(&b, o->key, before, version);
        store_object_delta(st, o->id, buf_str(&b), a != NULL ? &a->req : NULL);
    }
    buf_free(&b);
    world_touch(w, o->worker);
}

static void do_object_delete(struct world *w, struct model_object *o)
{
    struct ask *a = ask_object(w, ASK_OBJECT_DELETE, o, percent(w, w->swarm->ride_percent));
    sim_trace(w->sim, "work delete object %u", o->key);
    store_object_delete(world_store(w, o->worker), o->id, a != NULL ? &a->req : NULL);
    o->life = LIFE_DYING;
    o->open = false;
    world_touch(w, o->worker);
}

/* ---- readers, faults, the rest --------------------------------------------------------------- */

static struct world_reader *any_reader(struct world *w)
{
    if (w->nreaders == 0)
        return NULL;
    struct list *it = w->readers.next;
    for (uint64_t skip = below(w, w->nreaders); skip > 0; skip--)
        it = it->next;
    return LIST_ENTRY(it, struct world_reader, link);
}

static void do_reader_open(struct world *w, struct model_stream *s)
{
    char text[MODEL_SUBJECT];
    if (w->nreaders < w->swarm->readers_max)
        world_reader_open(w, s, s->first + below(w, s->n + 2), any_filter(w, s, text));
}

/* The disk has room for a few pages until the next WORK_FULL. */
static void do_full(struct world *w)
{
    struct sim_disk *d = sim_disk(w->sim);
    w->model->full = !w->model->full;
    w->full_until = sim_now(w->sim) + WORLD_FULL_NS;
    uint64_t used = w->swarm->disk_bytes - sim_disk_free_bytes(d);
    sim_trace(w->sim, "work disk %s", w->model->full ? "full" : "has space");
    if (w->model->full)
        sim_disk_set_capacity(d, used + below(w, 40) * SIM_PAGE);
    else
        sim_disk_set_capacity(d, w->swarm->disk_bytes);
}

static void do_fault(struct world *w)
{
    static const enum sim_fault kinds[] = {SIM_FAULT_WRITE, SIM_FAULT_SYNC};
    w->model->faults = true;
    sim_trace(w->sim, "work fault");
    sim_fault_arm(w->sim, kinds[below(w, 2)], 1 + below(w, 20), 0);
}

static void do_idle(struct world *w)
{
    uint64_t until = sim_now(w->sim) + below(w, 200) * (uint64_t) MS;
    while (sim_now(w->sim) < until && world_step(w, until - sim_now(w->sim)))
        ;
}

static void do_with_stream(struct world *w, enum work_op op, struct model_stream *s)
{
    switch (op) {
    case WORK_APPEND:
        do_append(w, s);
        break;
    case WORK_SKIP:
        do_skip(w, s);
        break;
    case WORK_REMOVE:
        do_remove(w, s);
        break;
    case WORK_PURGE:
        do_purge(w, s);
        break;
    case WORK_STREAM_UPDATE:
        do_stream_update(w, s);
        break;
    case WORK_STREAM_DELETE:
        do_stream_delete(w, s);
        break;
    case WORK_READER_OPEN:
        do_reader_open(w, s);
        break;
    default:
        world_get(w, s, s->first + below(w, s->n + 2) - (s->first > 1));
        break;
    }
}

static bool wants_stream(enum work_op op)
{
    return op <= WORK_PURGE || op == WORK_STREAM_UPDATE || op == WORK_STREAM_DELETE ||
           op == WORK_READER_OPEN || op == WORK_GET;
}

static void do_without(struct world *w, enum work_op op)
{
    struct model_object *o = any_object(w);
    struct world_reader *r = any_reader(w);
    switch (op) {
    case WORK_STREAM_CREATE:
        do_stream_create(w);
        break;
    case WORK_OBJECT_CREATE:
        do_object_create(w);
        break;
    case WORK_OBJECT_PUT:
    case WORK_OBJECT_DELTA:
        if (o != NULL)
            do_object_change(w, o, op == WORK_OBJECT_PUT);
        break;
    case WORK_OBJECT_DELETE:
        if (o != NULL)
            do_object_delete(w, o);
        break;
    case WORK_READER_STEP:
        if (r != NULL)
            world_reader_step(r, 1 + (unsigned) below(w, 100));
        break;
    case WORK_READER_CLOSE:
        if (r != NULL)
            world_reader_close(r);
        break;
    case WORK_FULL:
        do_full(w);
        break;
    case WORK_FAULT:
        do_fault(w);
        break;
    case WORK_VERIFY:
        judge_live(w);
        break;
    default:
        do_idle(w);
        break;
    }
}

void work_do(struct world *w, enum work_op op)
{
    struct sim_arena *before = world_enter(w);
    struct model_stream *s = any_stream(w);
    if (!wants_stream(op))
        do_without(w, op);
    else if (s != NULL)
        do_with_stream(w, op, s);
    world_leave(before);
}
