/*
 * world_ask.c - what the store says, applied to the model: answers to requests, commits, removals,
 * failures.
 */
#include "lib/base/assert.h"
#include "tests/sim/sim_disk_int.h"
#include "tests/sim/world.h"

#include <stdlib.h>
#include <string.h>

/* ---- requests -------------------------------------------------------------------------------- */

static void advance(uint64_t *at, uint64_t to)
{
    *at = to > *at ? to : *at;
}

void world_stream_dead(struct world *w, struct model_stream *s)
{
    s->life = LIFE_DEAD;
    s->handle = NULL;
    for (unsigned i = 0; i < w->model->nobjects; i++) {
        struct model_object *o = w->model->objects[i];
        if (model_object_below(o, s))
            o->life = LIFE_DEAD;
    }
}

static void removed_for_good(struct ask *a)
{
    struct model_msg *m = model_msg(a->stream, a->seq);
    a->stream->removals--;
    m->flags |= MSG_REMOVED;
}

/* The last purge in flight answers for all that purges took. */
static void purged(struct ask *a)
{
    struct model_stream *s = a->stream;
    bool others = false;
    LIST_FOREACH(it, &a->world->asks)
    {
        const struct ask *b = LIST_ENTRY(it, struct ask, link);
        others |= b != a && b->kind == ASK_PURGE && b->stream == s;
    }
    s->removals--;
    if (a->expect != UINT64_MAX && a->req.count != a->expect)
        world_fail(a->world, "stream %u: a purge removed %llu messages, expected %llu", s->key,
                   (unsigned long long) a->req.count, (unsigned long long) a->expect);
    for (uint64_t i = 0; i < s->n && !others; i++) {
        if ((s->msgs[i].flags & MSG_PURGED) != 0)
            s->msgs[i].flags |= MSG_REMOVED;
    }
}

/* What limits had taken by then is in the log, too. */
static void limits_are_logged(const struct ask *a)
{
    for (uint64_t i = 0; i < a->stream->n; i++) {
        struct model_msg *m = &a->stream->msgs[i];
        if ((m->flags & MSG_LIMIT) != 0 && m->limit_at < a->order)
            m->flags |= MSG_REMOVED;
    }
}

static void answered(struct ask *a)
{
    if (a->order > 0)
        limits_are_logged(a);
    switch (a->kind) {
    case ASK_STREAM_CREATE:
        if (a->stream->life == LIFE_ASKED)
            a->stream->life = LIFE_SURE;
        break;
    case ASK_STREAM_UPDATE:
        advance(&a->stream->config.acked, a->version);
        break;
    case ASK_STREAM_DELETE:
        world_stream_dead(a->world, a->stream);
        break;
    case ASK_OBJECT_CREATE:
        if (a->object->life == LIFE_ASKED)
            a->object->life = LIFE_SURE;
        advance(&a->object->value.acked, a->version);
        break;
    case ASK_OBJECT_CHANGE:
        advance(&a->object->value.acked, a->version);
        break;
    case ASK_OBJECT_DELETE:
        a->object->life = LIFE_DEAD;
        break;
    case ASK_REMOVE:
        removed_for_good(a);
        if (a->erase && model_msg(a->stream, a->seq) != NULL)
            model_msg(a->stream, a->seq)->erased = a->stream->level != STORE_MEMORY;
        break;
    case ASK_PURGE:
        purged(a);
        break;
    case ASK_COUNT:
        if (a->req.count != a->expect)
            world_fail(a->world, "stream %u: counted %llu, expected %llu", a->stream->key,
                       (unsigned long long) a->req.count, (unsigned long long) a->expect);
        break;
    }
}

/* A purge ended early: what it has not taken by now it may not have meant. */
static void doubt_purge(struct model_stream *s)
{
    for (uint64_t i = 0; i < s->n; i++) {
        struct model_msg *m = &s->msgs[i];
        if ((m->flags & (MSG_PURGED | MSG_TOLD | MSG_REMOVED)) != MSG_PURGED)
            continue;
        m->flags &= (uint16_t) ~(MSG_PURGED | MSG_ASKED);
        m->flags |= MSG_PURGE;
    }
}

/* A request may fail when something was made to fail, or when its subject is gone. */
static void refused(struct ask *a, enum err err)
{
    struct world *w = a->world;
    bool gone = (a->stream != NULL && (a->stream->life >= LIFE_DYING || a->stream->failed)) ||
                (a->object != NULL && a->object->life >= LIFE_DYING);
    bool full = world_full(w) && err == ERR_NO_SPACE;
    gone |= a->erase && err == ERR_CLOSED; /* the next opening finishes it */
    gone |= a->erase && err == ERR_CORRUPT && w->decay.segment;
    if (!w->model->faults && !gone && !full)
        world_fail(w, "request of kind %d failed: %s", (int) a->kind, err_text(err));
    if (a->kind == ASK_REMOVE || a->kind == ASK_PURGE)
        a->stream->removals--;
    if (a->kind == ASK_PURGE)
        doubt_purge(a->stream);
    if (a->kind == ASK_STREAM_CREATE && a->stream->handle != NULL) {
        a->stream->stillborn = true;
        w->stillborn++;
    }
}

static void on_answer(struct store_req *req, enum err err)
{
    struct ask *a = CONTAINER_OF(req, struct ask, req);
    sim_trace(a->world->sim, "answer %d: %s", (int) a->kind, err_text(err));
    if (err == ERR_OK)
        answered(a);
    else
        refused(a, err);
    ask_free(a);
}

struct ask *ask_new(struct world *w, enum ask_kind kind)
{
    struct ask *a = sim_alloc(sizeof(*a));
    a->world = w;
    a->kind = kind;
    a->req.done = on_answer;
    a->expect = UINT64_MAX;
    list_init(&a->req.link);
    list_push_back(&w->asks, &a->link);
    return a;
}

void ask_free(struct ask *a)
{
    list_remove(&a->link);
    free(a);
}

/* ---- streams --------------------------------------------------------------------------------- */

static struct world *world_of(const struct model_stream *s)
{
    return s->world;
}

static void on_committed(void *ctx, uint64_t first, uint64_t last)
{
    struct model_stream *s = ctx;
    struct world *w = world_of(s);
    sim_trace(w->sim, "stream %u committed %llu..%llu", s->key, (unsigned long long) first,
              (unsigned long long) last);
    if (first != s->committed + 1 || last < first || last > model_last(s))
        world_fail(w, "stream %u: committed %llu..%llu after %llu of %llu", s->key,
                   (unsigned long long) first, (unsigned long long) last,
                   (unsigned long long) s->committed, (unsigned long long) model_last(s));
    for (uint64_t seq = first; seq <= last; seq++)
        model_msg(s, seq)->flags |= MSG_COMMITTED;
    s->committed = last;
}

/* Was its removal asked for, and not told of, when the configuration may have been applied before?
 */
static bool behind_config(const struct model_stream *s, const struct model_msg *m, uint64_t version)
{
    return (m->flags & (MSG_GONE | MSG_TOLD)) == MSG_ASKED &&
           (version == s->config.acked + 1 || m->behind == version);
}

/* Any configuration from the acknowledged one on may have been the reason. A newer one may have
 * been applied before the removals that were asked for after it; its answer may come before what it
 * took is told. */
static void by_limit(struct world *w, struct model_stream *s, uint64_t first, uint64_t last)
{
    bool *live = sim_alloc(s->n + 1);
    bool *allowed = sim_alloc(s->n + 1);
    bool *once = sim_alloc(s->n + 1);
    for (uint64_t i = 0; i < s->n; i++) {
        /* What a purge means, and what a crash left open, may still be there. */
        unsigned gone = MSG_SKIP | MSG_REMOVED | (w->recovering ? 0 : MSG_ASKED | MSG_LIMIT);
        live[i] = (s->msgs[i].flags & gone) == 0;
    }
    for (uint64_t v = s->config.acked; v <= s->config.current; v++) {
        for (uint64_t i = 0; i < s->n; i++)
            live[i] |= behind_config(s, &s->msgs[i], v);
        model_limits_allow(s, &s->limits[v], sim_wall(w->sim), live, once);
        for (uint64_t i = 0; i < s->n; i++)
            allowed[i] |= once[i];
    }
    for (uint64_t seq = first; seq <= last; seq++) {
        uint64_t i = seq - s->first;
        /* What decayed in the midst of it is not known before everything has been read. */
        if (w->decay.segment && w->recovering)
            continue;
        if (model_live(&s->msgs[i]) && !allowed[i])
            world_fail(w, "stream %u: a limit took message %llu without need", s->key,
                       (unsigned long long) seq);
    }
    free(live);
    free(allowed);
    free(once);
}

static bool on_request(enum store_reason reason)
{
    return reason == STORE_BY_REQUEST || reason == STORE_BY_PURGE;
}

static void tell_one(const struct model_stream *s, struct model_msg *m, enum store_reason reason)
{
    m->flags |= MSG_TOLD;
    m->flags &= (uint16_t) ~(MSG_MISSED | MSG_PURGE);
    if (reason == STORE_BY_PURGE)
        m->flags |= MSG_ASKED | MSG_PURGED;
    else if ((m->flags & MSG_GONE) == 0)
        m->flags |= reason == STORE_BY_REQUEST ? MSG_ASKED : MSG_LIMIT;
    m->limit_at = s->asked;
}

static uint64_t tell_removed(struct model_stream *s, uint64_t first, uint64_t last,
                             enum store_reason reason)
{
    uint64_t told = 0;
    for (uint64_t seq = first; seq <= last; seq++) {
        struct model_msg *m = model_msg(s, seq);
        if (m == NULL || (m->flags & (MSG_TOLD | MSG_SKIP)) != 0)
            continue;
        if (on_request(reason) && (m->flags & MSG_GONE) == 0)
            world_fail(world_of(s), "stream %u: %llu was removed on request of nobody", s->key,
                       (unsigned long long) seq);
        tell_one(s, m, reason);
        told++;
    }
    return told;
}

static void on_removed(void *ctx, uint64_t first, uint64_t last, uint64_t msgs,
                       enum store_reason reason)
{
    struct model_stream *s = ctx;
    struct world *w = world_of(s);
    sim_trace(w->sim, "stream %u removed %llu..%llu, %llu messages, reason %d", s->key,
              (unsigned long long) first, (unsigned long long) last, (unsigned long long) msgs,
              (int) reason);
    if (first < s->first || last > s->committed || last < first)
        world_fail(w, "stream %u: removed %llu..%llu of %llu..%llu", s->key,
                   (unsigned long long) first, (unsigned long long) last,
                   (unsigned long long) s->first, (unsigned long long) s->committed);
    if (reason == STORE_BY_LIMIT || reason == STORE_BY_AGE)
        by_limit(w, s, first, last);
    uint64_t told = tell_removed(s, first, last, reason);
    if (told != msgs && !w->recovering)
        world_fail(w, "stream %u: removed %llu..%llu says %llu messages, %llu existed", s->key,
                   (unsigned long long) first, (unsigned long long) last, (unsigned long long) msgs,
                   (unsigned long long) told);
}

static void on_failed(void *ctx, enum err err, const char *why)
{
    struct model_stream *s = ctx;
    struct world *w = world_of(s);
    sim_trace(w->sim, "stream %u failed: %s, %s", s->key, err_text(err), why);
    if (!w->model->faults && !(world_full(w) && s->life == LIFE_ASKED))
        world_fail(w, "stream %u failed: %s, %s", s->key, err_text(err), why);
    s->failed = true;
}

static void on_render_config(void *ctx, struct buf *out)
{
    struct model_stream *s = ctx;
    model_full(out, s->key, s->config.current);
}

static void on_commit_begun(void *ctx, uint64_t last_seq)
{
    struct model_stream *s = ctx;
    if (last_seq <= s->begun || last_seq > model_last(s))
        world_fail(world_of(s), "stream %u: a commit to %llu begins after one to %llu", s->key,
                   (unsigned long long) last_seq, (unsigned long long) s->begun);
    s->begun = last_seq;
}

/* What was appended and not committed has never been. */
static void on_refused(void *ctx, enum err err)
{
    struct model_stream *s = ctx;
    struct world *w = world_of(s);
    sim_trace(w->sim, "stream %u refused %llu..%llu: %s", s->key,
              (unsigned long long) s->committed + 1, (unsigned long long) model_last(s),
              err_text(err));
    if (err != ERR_NO_SPACE || !world_full(w) || model_last(s) == s->committed)
        world_fail(w, "stream %u refused what waited without need: %s", s->key, err_text(err));
    model_cut(s, s->committed);
    s->begun = s->committed;
}

static const struct store_stream_ops waiting_ops = {
    .commit_begun = on_commit_begun,
    .committed = on_committed,
    .removed = on_removed,
    .failed = on_failed,
    .render_config = on_render_config,
};

static const struct store_stream_ops refusing_ops = {
    .commit_begun = on_commit_begun,
    .committed = on_committed,
    .removed = on_removed,
    .refused = on_refused,
    .failed = on_failed,
    .render_config = on_render_config,
};

bool world_stream_compressed(const struct world *w, const struct model_stream *s)
{
    return s->key * 37 % 100 < w->swarm->compress_percent;
}

void world_stream_compress(struct world *w, const struct model_stream *s)
{
    store_stream_compress(s->handle, world_stream_compressed(w, s));
}

const struct store_stream_ops *world_stream_ops(const struct model_stream *s)
{
    return s->key % 2 == 0 ? &refusing_ops : &waiting_ops;
}

void world_render(void *ctx, store_object_id id, struct buf *out)
{
    struct model_object *o = ctx;
    ASSERT(o->id == id);
    model_full(out, o->key, o->value.current);
}
