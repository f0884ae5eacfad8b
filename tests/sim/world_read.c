/*
 * world_read.c - readers and gets, with everything they return compared to the model at once.
 *
 * A reader may not return what is gone, nor pass by what is there. Removals by limits reach the
 * model a little later than the readers; so what a reader passes by is marked and must have turned
 * out to be removed when everything comes to rest (judge_live).
 */
#include "lib/base/subject.h"
#include "tests/sim/sim_disk_int.h"
#include "tests/sim/world.h"

#include <stdlib.h>
#include <string.h>

static void on_ready(struct store_reader *r)
{
    struct world_reader *x = CONTAINER_OF(r, struct world_reader, r);
    if (!x->waiting)
        world_fail(x->world, "ready() for a reader that does not wait");
    x->waiting = false;
}

struct world_reader *world_reader_open(struct world *w, struct model_stream *s, uint64_t seq,
                                       struct str filter)
{
    struct world_reader *x = sim_alloc(sizeof(*x));
    x->world = w;
    x->stream = s;
    x->at = seq;
    if (filter.n > 0)
        memcpy(x->text, filter.p, filter.n);
    x->filter = str_from(x->text, filter.n);
    store_reader_init(&x->r, s->handle, seq, filter.n > 0 ? &x->filter : NULL, filter.n > 0 ? 1 : 0,
                      on_ready, x);
    list_push_back(&w->readers, &x->link);
    w->nreaders++;
    return x;
}

void world_reader_close(struct world_reader *x)
{
    store_reader_deinit(&x->r);
    list_remove(&x->link);
    x->world->nreaders--;
    free(x);
}

void world_readers_drop(struct world *w, struct model_stream *s)
{
    LIST_FOREACH_SAFE(it, tmp, &w->readers)
    {
        struct world_reader *x = LIST_ENTRY(it, struct world_reader, link);
        if (s == NULL || x->stream == s)
            world_reader_close(x);
    }
}

/* The messages of [x->at, end) that match were passed by. */
static void passed_by(struct world_reader *x, uint64_t end)
{
    struct model_stream *s = x->stream;
    uint64_t seq = x->at;
    while ((seq = model_next_live(s, seq, x->filter)) != 0 && seq < end)
        model_msg(s, seq++)->flags |= MSG_MISSED;
}

static void check_message(struct world *w, struct model_stream *s, uint64_t seq,
                          const struct store_msg *got)
{
    const char *why = model_msg_differs(s, seq, got);
    if (why != NULL)
        world_fail(w, "stream %u: reading %llu gave %s", s->key, (unsigned long long) seq, why);
    struct model_msg *m = model_msg(s, seq);
    if ((m->flags & (MSG_GONE & ~MSG_PURGE)) != 0)
        world_fail(w, "stream %u: reading gave %llu, which is gone (flags %x)", s->key,
                   (unsigned long long) seq, m->flags);
    if ((m->flags & MSG_MISSED) != 0)
        world_fail(w, "stream %u: reading gave %llu, which another reading passed by", s->key,
                   (unsigned long long) seq);
    m->flags |= MSG_COMMITTED;
}

unsigned world_reader_step(struct world_reader *x, unsigned n)
{
    struct model_stream *s = x->stream;
    struct store_msg msg;
    unsigned got = 0;
    while (got < n && !x->waiting) {
        enum store_read rc = store_reader_next(&x->r, &msg);
        if (rc == STORE_READ_WAIT) {
            x->waiting = true;
            world_touch(x->world, s->worker);
            break;
        }
        if (rc == STORE_READ_END) {
            passed_by(x, s->committed + 1);
            break;
        }
        if (rc != STORE_READ_MSG || msg.seq < x->at)
            world_fail(x->world, "stream %u: a reader at %llu got %d, %llu", s->key,
                       (unsigned long long) x->at, (int) rc, (unsigned long long) msg.seq);
        check_message(x->world, s, msg.seq, &msg);
        if (x->filter.n > 0 && !subject_matches(msg.subject, x->filter))
            world_fail(x->world, "stream %u: %llu does not match its reader's filter", s->key,
                       (unsigned long long) msg.seq);
        passed_by(x, msg.seq);
        x->at = msg.seq + 1;
        got++;
    }
    return got;
}

void world_get(struct world *w, struct model_stream *s, uint64_t seq)
{
    struct store_msg msg;
    struct world_reader *x = world_reader_open(w, s, seq, STR_NONE);
    enum store_read rc = store_reader_get(&x->r, seq, &msg);
    for (unsigned steps = 0; rc == STORE_READ_WAIT; steps++) {
        x->waiting = true;
        world_touch(w, s->worker);
        while (x->waiting) {
            if (steps++ > 10000 || !world_step(w, 1000000000))
                world_fail(w, "stream %u: a get of %llu waits for ever", s->key,
                           (unsigned long long) seq);
        }
        rc = store_reader_get(&x->r, seq, &msg);
    }
    const struct model_msg *m = model_msg(s, seq);
    if (rc == STORE_READ_MSG)
        check_message(w, s, seq, &msg);
    else if (rc != STORE_READ_GONE)
        world_fail(w, "stream %u: a get of %llu gave %d", s->key, (unsigned long long) seq,
                   (int) rc);
    else if (m != NULL && model_live(m))
        model_msg(s, seq)->flags |= MSG_MISSED;
    world_reader_close(x);
}
