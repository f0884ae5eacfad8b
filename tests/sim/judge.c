/*
 * judge.c - the store's contents against the model: after a recovery, and in between.
 *
 * After a recovery the model says what must be there (acknowledged or seen and not removed), what
 * must not (removal acknowledged; never assigned), and what may: not acknowledged, but then without
 * gaps; asked to be removed; taken by a limit before; or older than what a limit allows now. What
 * is found becomes the model's truth: from then on it is acknowledged, because a second crash may
 * not change it.
 *
 * In between, when everything has come to rest, nothing is left open and both must agree exactly.
 */
#include "lib/base/assert.h"
#include "tests/sim/sim_disk_int.h"
#include "tests/sim/world.h"

#include <stdlib.h>
#include <string.h>

#define ULL(x) ((unsigned long long) (x))

/* ---- reading everything ---------------------------------------------------------------------- */

static void scan_ready(struct store_reader *r)
{
    *(bool *) r->ctx = false;
}

/* Reads the stream from its first sequence to its end; present[i] says which of the model's
 * messages it has. */
static void scan(struct world *w, struct model_stream *s, bool *present)
{
    struct store_reader r;
    struct store_msg msg;
    bool waiting = false;
    uint64_t before = 0;
    bool *told = sim_alloc(s->n + 1);
    struct sim_arena *arena = world_enter(w);
    memset(present, 0, s->n * sizeof(*present));
    for (uint64_t i = 0; i < s->n; i++)
        told[i] = (s->msgs[i].flags & MSG_TOLD) != 0;
    store_reader_init(&r, s->handle, 0, NULL, 0, scan_ready, &waiting);
    for (;;) {
        enum store_read rc = store_reader_next(&r, &msg);
        if (rc == STORE_READ_END)
            break;
        if (rc == STORE_READ_WAIT) {
            waiting = true;
            world_touch(w, s->worker);
            while (waiting) {
                if (!world_step(w, 2000000000))
                    world_fail(w, "stream %u: a read waits for ever", s->key);
            }
            continue;
        }
        if (rc != STORE_READ_MSG || msg.seq <= before)
            world_fail(w, "stream %u: reading behind %llu gave %d, %llu", s->key, ULL(before),
                       (int) rc, ULL(msg.seq));
        before = msg.seq;
        const char *why = model_msg_differs(s, msg.seq, &msg);
        if (why != NULL)
            world_fail(w, "stream %u: reading %llu gave %s", s->key, ULL(msg.seq), why);
        present[msg.seq - s->first] = true;
    }
    store_reader_deinit(&r);
    world_leave(arena);
    /* Reading takes time: what was read first may have become too old meanwhile. */
    for (uint64_t i = 0; i < s->n; i++)
        present[i] = present[i] && (told[i] || (s->msgs[i].flags & MSG_TOLD) == 0);
    free(told);
}

/* ---- state ----------------------------------------------------------------------------------- */

static void expect_state(const struct model_stream *s, struct store_state *want,
                         uint64_t *per_subject)
{
    *want = (struct store_state){.last_seq = s->committed, .last_ts = s->last_ts};
    for (uint64_t i = 0; i < s->n; i++) {
        const struct model_msg *m = &s->msgs[i];
        if (!model_live(m))
            continue;
        if (want->msgs++ == 0) {
            want->first_seq = s->first + i;
            want->first_ts = m->ts;
        }
        want->bytes += model_msg_bytes(s, m);
        want->num_subjects += per_subject[m->subject]++ == 0;
    }
    if (want->msgs == 0)
        want->first_seq = want->last_seq + 1;
    want->num_deleted = want->last_seq + 1 - want->first_seq - want->msgs;
}

static void check_number(struct world *w, const struct model_stream *s, const char *what,
                         uint64_t got, uint64_t want)
{
    if (got != want)
        world_fail(w, "stream %u: %s is %llu, should be %llu", s->key, what, ULL(got), ULL(want));
}

static bool count_subject(void *ctx, const struct store_subject *sub)
{
    (void) sub;
    ++*(uint64_t *) ctx;
    return true;
}

static void check_subjects(struct world *w, struct model_stream *s, const uint64_t *per_subject)
{
    char text[MODEL_SUBJECT];
    for (unsigned i = 0; i < s->subjects; i++) {
        struct store_subject got = {.msgs = 0};
        uint64_t last = 0;
        for (uint64_t k = s->n; k-- > 0 && last == 0;) {
            if (model_live(&s->msgs[k]) && s->msgs[k].subject == i)
                last = s->first + k;
        }
        bool there = store_subject_get(s->handle, model_subject(s, i, text), &got);
        if (there != (per_subject[i] > 0) || got.msgs != per_subject[i] ||
            (there && got.last_seq != last))
            world_fail(
                w,
                "stream %u: subject %u has %llu messages, last %llu, should have %llu, last %llu",
                s->key, i, ULL(got.msgs), ULL(got.last_seq), ULL(per_subject[i]), ULL(last));
    }
}

/* What a limit took, what was being removed and what never held a message: where such sequences
 * decay nothing says that nobody misses them, and they may be counted. Learned at the first look.
 */
static void adopt_lost(const struct world *w, struct model_stream *s, uint64_t counted)
{
    if (w->decay.segment && counted > s->lost && counted <= s->lost + s->lost_maybe)
        s->lost = counted;
    s->lost_maybe = 0;
}

static void check_state(struct world *w, struct model_stream *s)
{
    struct store_state want, got;
    uint64_t *per_subject = sim_alloc((s->subjects + 1) * sizeof(*per_subject));
    uint64_t listed = 0;
    struct sim_arena *arena = world_enter(w);
    store_stream_state(s->handle, &got);
    expect_state(s, &want, per_subject);
    check_number(w, s, "last_seq", got.last_seq, want.last_seq);
    check_number(w, s, "first_seq", got.first_seq, want.first_seq);
    check_number(w, s, "msgs", got.msgs, want.msgs);
    check_number(w, s, "bytes", got.bytes, want.bytes);
    check_number(w, s, "num_subjects", got.num_subjects, want.num_subjects);
    check_number(w, s, "num_deleted", got.num_deleted, want.num_deleted);
    /* When the first message's batch is not in memory the time of the batch stands for it. */
    if (want.msgs > 0 && got.first_ts > want.first_ts)
        check_number(w, s, "first_ts", (uint64_t) got.first_ts, (uint64_t) want.first_ts);
    adopt_lost(w, s, got.lost_msgs);
    check_number(w, s, "lost_msgs", got.lost_msgs, s->lost);
    store_subjects_each(s->handle, STR_NONE, count_subject, &listed);
    check_number(w, s, "number of subjects listed", listed, want.num_subjects);
    check_subjects(w, s, per_subject);
    world_leave(arena);
    free(per_subject);
}

static void check_stores(struct world *w)
{
    struct sim_arena *arena = world_enter(w);
    for (unsigned i = 0; i < w->swarm->workers; i++)
        store_check(world_store(w, i));
    world_leave(arena);
}

/* ---- after a recovery: objects and streams --------------------------------------------------- */

struct finding {
    struct world *w;
    unsigned worker;
    bool *streams, *objects;
};

static void find_stream(struct finding *f, const struct store_object_view *v)
{
    struct world *w = f->w;
    struct model_stream *s = model_stream_by_id(w->model, v->id);
    if (s == NULL)
        world_fail(w, "a stream that was never created, object %llx", ULL(v->id));
    if (s->life == LIFE_DEAD)
        world_fail(w, "stream %u was deleted and is back", s->key);
    if (s->level == STORE_MEMORY)
        world_fail(w, "stream %u is in memory and survived", s->key);
    if (f->streams[s->key])
        world_fail(w, "stream %u was found twice", s->key);
    f->streams[s->key] = true;
    s->worker = f->worker;
}

static void find_object(void *ctx, const struct store_object_view *v)
{
    struct finding *f = ctx;
    struct world *w = f->w;
    uint64_t version = 0;
    if (v->kind == STORE_KIND_STREAM) {
        find_stream(f, v);
        return;
    }
    struct model_object *o = model_object_by_id(w->model, v->id);
    if (o == NULL)
        world_fail(w, "an object that was never created, %llx", ULL(v->id));
    if (o->life == LIFE_DEAD)
        world_fail(w, "object %u was deleted and is back", o->key);
    store_object_id parent = o->parent > 0 ? w->model->streams[o->parent - 1]->id : 0;
    if (v->kind != o->kind || v->parent != parent || f->objects[o->key - MODEL_OBJECT_KEY])
        world_fail(w, "object %u has another kind or parent, or was found twice", o->key);
    if (parent != 0 && !f->streams[o->parent - 1])
        world_fail(w, "object %u was found before its parent, or without it", o->key);
    const char *why = model_value_read(o->key, v->full, v->deltas, v->ndeltas, &version);
    if (why != NULL)
        world_fail(w, "object %u is %s", o->key, why);
    if (!model_value_valid(&o->value, version))
        world_fail(w, "object %u is version %llu: acknowledged %llu, submitted %llu to %llu",
                   o->key, ULL(version), ULL(o->value.acked), ULL(o->value.lineage),
                   ULL(o->value.submitted));
    model_value_adopt(&o->value, version);
    f->objects[o->key - MODEL_OBJECT_KEY] = true;
    o->worker = f->worker;
}

static void settle_lives(struct finding *f)
{
    struct model *m = f->w->model;
    for (unsigned i = 0; i < m->nstreams; i++) {
        struct model_stream *s = m->streams[i];
        if (!f->streams[i] && s->life == LIFE_SURE && s->level != STORE_MEMORY)
            world_fail(f->w, "stream %u is gone", s->key);
        if (!f->streams[i])
            world_stream_dead(f->w, s);
        else
            s->life = LIFE_SURE;
    }
    for (unsigned i = 0; i < m->nobjects; i++) {
        struct model_object *o = m->objects[i];
        if (!f->objects[i] && o->life == LIFE_SURE)
            world_fail(f->w, "object %u is gone", o->key);
        o->life = f->objects[i] ? LIFE_SURE : LIFE_DEAD;
    }
}

static void attach_stream(struct world *w, struct model_stream *s)
{
    struct str config;
    uint64_t version = 0;
    s->world = w;
    s->failed = false;
    enum err e = store_stream_attach(world_store(w, s->worker), s->id, world_stream_ops(s), s,
                                     &s->handle, &config);
    if (e != ERR_OK)
        world_fail(w, "stream %u can not be attached: %s", s->key, err_text(e));
    world_stream_compress(w, s);
    const char *why = model_value_read(s->key, config, NULL, 0, &version);
    if (why != NULL)
        world_fail(w, "stream %u: its configuration is %s", s->key, why);
    if (!model_value_valid(&s->config, version))
        world_fail(w,
                   "stream %u: its configuration is version %llu: acknowledged %llu, submitted "
                   "%llu to %llu",
                   s->key, ULL(version), ULL(s->config.acked), ULL(s->config.lineage),
                   ULL(s->config.submitted));
    sim_trace(w->sim, "stream %u is version %llu", s->key, ULL(version));
    model_value_adopt(&s->config, version);
}

static void attach_all(struct world *w)
{
    struct model *m = w->model;
    for (unsigned i = 0; i < m->nstreams; i++) {
        if (m->streams[i]->life == LIFE_SURE)
            attach_stream(w, m->streams[i]);
    }
    for (unsigned i = 0; i < m->nobjects; i++) {
        struct model_object *o = m->objects[i];
        if (o->life != LIFE_SURE || !o->claimed)
            continue;
        store_object_attach(world_store(w, o->worker), o->id, world_render, o);
        o->open = true;
    }
    for (unsigned i = 0; i < w->swarm->workers; i++) {
        store_recovered_done(world_store(w, i));
        world_touch(w, i);
    }
}

static void recover_objects(struct world *w)
{
    struct finding f = {.w = w};
    f.streams = sim_alloc(w->model->nstreams + 1);
    f.objects = sim_alloc(w->model->nobjects + 1);
    struct sim_arena *arena = world_enter(w);
    for (f.worker = 0; f.worker < w->swarm->workers; f.worker++)
        store_recovered_each(world_store(w, f.worker), find_object, &f);
    settle_lives(&f);
    attach_all(w);
    world_leave(arena);
    free(f.streams);
    free(f.objects);
}

/* ---- after a recovery: messages -------------------------------------------------------------- */

/* Where the stream ends now, and that nothing sure lies behind it. */
static void recover_end(struct world *w, struct model_stream *s)
{
    struct store_state state;
    store_stream_state(s->handle, &state);
    uint64_t sure = s->level == STORE_ASYNC ? s->floor : s->committed;
    for (uint64_t seq = s->committed + 1; s->level == STORE_DURABLE && seq <= model_last(s);
         seq++) {
        if ((model_msg(s, seq)->flags & MSG_COMMITTED) != 0)
            sure = seq;
    }
    if (state.last_seq < sure || state.last_seq > model_last(s))
        world_fail(w, "stream %u ends with %llu: sure were %llu, assigned %llu", s->key,
                   ULL(state.last_seq), ULL(sure), ULL(model_last(s)));
    if (state.failed)
        world_fail(w, "stream %u recovered as failed", s->key);
    model_cut(s, state.last_seq);
    s->committed = s->begun = state.last_seq;
    s->unasked = s->removals = 0;
    for (uint64_t i = 0; i < s->n; i++)
        s->msgs[i].flags &= (uint16_t) ~(MSG_TOLD | MSG_MISSED);
}

static void recover_present(struct world *w, const struct model_stream *s, struct model_msg *m,
                            uint64_t seq)
{
    if ((m->flags & MSG_REMOVED) != 0)
        world_fail(w, "stream %u: message %llu was removed, and is back", s->key, ULL(seq));
    m->flags = MSG_COMMITTED;
}

/* One segment was damaged: what is lost is of one stream. Of one that is neither compressed nor
 * encrypted one wrong byte costs one message. (It need not stand together: a start puts back what
 * the log still has.) */
static void recover_lost(struct world *w, struct model_stream *s, struct model_msg *m, uint64_t seq)
{
    struct decay *d = &w->decay;
    bool plain = w->model->key == 0 && !world_stream_compressed(w, s);

    if (!d->segment || (d->lost > 0 && d->stream != s->key))
        world_fail(w, "stream %u: message %llu is lost, which the damage did not touch", s->key,
                   ULL(seq));
    plain = plain && m->share == 0; /* a Kafka batch goes as a whole */
    if (d->kind == DECAY_BYTE && plain && d->lost > 0)
        world_fail(w, "stream %u: one byte cost message %llu, and another", s->key, ULL(seq));
    d->stream = s->key;
    d->lost++;
    s->lost++;
    s->lost_maybe--;
    m->flags = MSG_COMMITTED | MSG_REMOVED | MSG_TOLD;
}

static void recover_absent(struct world *w, struct model_stream *s, struct model_msg *m,
                           uint64_t seq, bool allowed)
{
    const char *kind = (m->flags & MSG_COMMITTED) != 0 ? "acknowledged"
                                                       : "not acknowledged, but followed by others";
    if ((m->flags & MSG_SKIP) != 0)
        return;
    bool asked = (m->flags & (MSG_ASKED | MSG_PURGE)) != 0;
    /* When a limit may have taken it, its removal may still be lost. */
    if ((m->flags & MSG_REMOVED) != 0 || (asked && !allowed)) {
        m->flags = MSG_COMMITTED | MSG_REMOVED | MSG_TOLD;
        return;
    }
    if ((m->flags & MSG_LIMIT) == 0 && !allowed && !asked && w->decay.kind != DECAY_NONE) {
        recover_lost(w, s, m, seq);
        return;
    }
    if ((m->flags & MSG_LIMIT) == 0 && !allowed && !asked)
        world_fail(w, "stream %u: message %llu of %llu is lost: %s", s->key, ULL(seq),
                   ULL(s->committed), kind);
    if ((m->flags & MSG_LIMIT) == 0)
        m->limit_at = s->asked;
    m->flags = MSG_COMMITTED | MSG_LIMIT | MSG_TOLD;
}

static void trace_tail(struct world *w, const struct model_stream *s, const bool *present);

static void recover_messages(struct world *w, struct model_stream *s)
{
    bool *present = sim_alloc(s->n + 1);
    bool *allowed = sim_alloc(s->n + 1);
    bool *could = sim_alloc(s->n + 1);
    scan(w, s, present);
    trace_tail(w, s, present);
    /* What a limit took may have been taken because of a message that went the same way. */
    for (uint64_t i = 0; i < s->n; i++)
        could[i] = (s->msgs[i].flags & (MSG_SKIP | MSG_REMOVED)) == 0;
    model_limits_allow(s, &s->limits[s->config.current], sim_wall(w->sim), could, allowed);
    const char *limit = model_limits_exceeded(s, &s->limits[s->config.current], present);
    if (limit != NULL)
        world_fail(w, "stream %u recovered with more %s than its limit", s->key, limit);
    s->lost_maybe = 0;
    for (uint64_t i = 0; i < s->n; i++) {
        s->lost_maybe += !present[i] && (s->msgs[i].flags & MSG_REMOVED) == 0;
        if (present[i])
            recover_present(w, s, &s->msgs[i], s->first + i);
        else
            recover_absent(w, s, &s->msgs[i], s->first + i, allowed[i]);
    }
    s->floor = s->committed;
    free(present);
    free(allowed);
    free(could);
}

/* For the trace: what became of the last messages. */
static void trace_tail(struct world *w, const struct model_stream *s, const bool *present)
{
    for (uint64_t i = s->n > 20 ? s->n - 20 : 0; i < s->n; i++) {
        const struct model_msg *m = &s->msgs[i];
        sim_trace(w->sim, "stream %u: %llu is %s, flags %x, %llu bytes, subject %u", s->key,
                  ULL(s->first + i), present[i] ? "there" : "absent", m->flags,
                  ULL((m->flags & MSG_SKIP) != 0 ? 0 : model_msg_bytes(s, m)), m->subject);
    }
}

void judge_recovered(struct world *w)
{
    const struct store_recovery *r = store_dir_recovery(w->dir);
    bool damaged = w->log_lost || w->decay.kind != DECAY_NONE;
    if ((r->lost_messages != 0 && !w->decay.segment) || (r->quarantined_files != 0 && !damaged))
        world_fail(w, "recovery lost %llu messages and quarantined %llu files",
                   ULL(r->lost_messages), ULL(r->quarantined_files));
    if (w->clean && !r->clean && !damaged)
        world_fail(w, "the store was closed, recovery does not say so");
    sim_trace(w->sim, "recovered %llu streams, %llu messages, %llu objects, cut %llu bytes",
              ULL(r->streams), ULL(r->messages), ULL(r->objects), ULL(r->bytes_cut));
    w->recovering = true;
    recover_objects(w);
    for (unsigned i = 0; i < w->model->nstreams; i++) {
        if (w->model->streams[i]->handle != NULL)
            recover_end(w, w->model->streams[i]);
    }
    world_settle(w);
    for (unsigned i = 0; i < w->model->nstreams; i++) {
        if (w->model->streams[i]->handle != NULL)
            recover_messages(w, w->model->streams[i]);
    }
    w->recovering = false;
    judge_live(w);
}

/* ---- in between ------------------------------------------------------------------------------ */

/* An erasure may wait on a full disk for long; what a purge before it meant is settled by then. */
static bool is_purged_now(const struct world *w, const struct model_stream *s)
{
    LIST_FOREACH(it, &w->asks)
    {
        const struct ask *a = LIST_ENTRY(it, struct ask, link);
        if (a->kind == ASK_PURGE && a->stream == s)
            return true;
    }
    return false;
}

static void compare(struct world *w, struct model_stream *s)
{
    bool *present = sim_alloc(s->n + 1);
    bool purged_now = is_purged_now(w, s);
    scan(w, s, present);
    for (uint64_t i = 0; i < s->n; i++) {
        struct model_msg *m = &s->msgs[i];
        if ((m->flags & MSG_PURGE) != 0 && purged_now)
            continue;
        if ((m->flags & MSG_PURGE) != 0) {
            m->flags &= (uint16_t) ~MSG_PURGE;
            /* Of a stream that failed it may not have been there yet. */
            if (!present[i] && (!s->failed || s->first + i <= s->committed))
                m->flags |= MSG_ASKED | MSG_REMOVED;
        }
        if (model_live(m) != present[i])
            world_fail(w, "stream %u: message %llu is %s (flags %x)", s->key, ULL(s->first + i),
                       present[i] ? "there, and should not be" : "gone", m->flags);
        if (present[i] && (m->flags & MSG_MISSED) != 0)
            world_fail(w, "stream %u: a reader passed message %llu by, and it is there", s->key,
                       ULL(s->first + i));
    }
    free(present);
}

static void judge_stream(struct world *w, struct model_stream *s)
{
    bool *live = sim_alloc(s->n + 1);
    compare(w, s);
    world_settle(w);
    check_state(w, s);
    for (uint64_t i = 0; i < s->n; i++)
        live[i] = model_live(&s->msgs[i]);
    const char *limit = model_limits_exceeded(s, &s->limits[s->config.current], live);
    if (limit != NULL && !s->failed)
        world_fail(w, "stream %u has more %s than its limit", s->key, limit);
    free(live);
}

void judge_live(struct world *w)
{
    world_settle(w);
    if (!list_empty(&w->asks) && !world_full(w))
        world_fail(w, "a request of kind %d is never answered",
                   (int) LIST_ENTRY(w->asks.next, struct ask, link)->kind);
    for (unsigned i = 0; i < w->model->nstreams; i++) {
        struct model_stream *s = w->model->streams[i];
        if (s->handle == NULL)
            continue;
        if (s->committed != model_last(s) && !s->failed && !world_full(w))
            world_fail(w, "stream %u: assigned to %llu, committed to %llu, and nothing happens",
                       s->key, ULL(model_last(s)), ULL(s->committed));
        judge_stream(w, s);
        judge_erased(w, s);
    }
    judge_washed(w);
    check_stores(w);
}
