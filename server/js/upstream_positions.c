/*
 * upstream_positions.c - how far a stream has taken from its sources, kept and found again.
 *
 * A store object below the stream holds it (source_positions.h): made with the first commit that
 * carries a sourced message, then a delta per commit that does, which rides with the next write of
 * the commit log. So at a start a short end of the stream is looked at, behind what the object
 * accounts for: its messages say in their headers where they came from. Without an object (a stream
 * that was restored, or gets sources for the first time) that is all of the stream.
 *
 *     unknown --(load: read from `through` + 1, in slices)--> known
 *
 * Streams in memory keep no object: what is lost with their messages is asked for again.
 */
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/stream_int.h"
#include "server/js/upstream.h"

/* Messages looked at before others have their turn. */
#define SLICE 512u
/* Messages that a start may have to look at although none came from a source. */
#define BEHIND_MAX 65536u

struct stream_positions {
    struct stream *s;
    struct source_positions known;
    store_object_id id; /* 0 = no object yet */
    bool loaded, loading;
    struct store_reader reader;
    struct wheel_timer timer; /* the next slice */
};

static void read_on(struct stream_positions *p);

static void slice_due(struct wheel_timer *t)
{
    read_on(CONTAINER_OF(t, struct stream_positions, timer));
}

static void ready(struct store_reader *r)
{
    read_on(r->ctx);
}

static struct stream_positions *positions_of(struct stream *s)
{
    struct stream_positions *p = s->positions;

    if (p == NULL) {
        p = s->positions = mem_zalloc(sizeof(*p));
        p->s = s;
        wheel_timer_init(&p->timer, slice_due);
    }
    return p;
}

static void render(void *ctx, store_object_id id, struct buf *out)
{
    const struct stream_positions *p = ctx;

    (void) id;
    source_positions_put(&p->known, out);
}

void stream_positions_recover(struct stream *s, const struct store_object_view *v)
{
    struct stream_positions *p = positions_of(s);
    bool ok = source_positions_apply(&p->known, v->full);

    for (unsigned i = 0; ok && i < v->ndeltas; i++)
        ok = source_positions_apply(&p->known, v->deltas[i]);
    if (!ok) { /* the messages tell it too */
        LOG_WRN(s->js->env->log,
                "JetStream stream '%s > %s': positions of its sources are read "
                "from its messages",
                s->js->account->name, s->config.name);
        source_positions_free(&p->known);
    }
    p->id = v->id;
    store_object_attach(s->js->store, v->id, render, p);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void note(struct stream_positions *p, const struct store_msg *m)
{
    struct str value = header_get(m->header, STR("Nats-Stream-Source"));
    struct source_mark mark;
    struct buf name = {0};

    if (value.n == 0 || !source_mark_parse(value, &mark))
        return;
    buf_printf(&name, "%.*s %.*s %.*s", STR_ARG(mark.origin), STR_ARG(mark.filters),
               STR_ARG(mark.destinations));
    source_positions_set(&p->known, buf_str(&name), mark.identity, mark.sseq);
    buf_free(&name);
}

static void finish(struct stream_positions *p)
{
    store_reader_deinit(&p->reader);
    p->loading = false;
    p->loaded = true;
    if (p->s->durable > p->known.through)
        p->known.through = p->s->durable;
    stream_positions_loaded(p->s);
}

static void read_on(struct stream_positions *p)
{
    struct io *io = p->s->js->env->io;
    struct store_msg m;

    for (unsigned i = 0; i < SLICE; i++)
        switch (store_reader_next(&p->reader, &m)) {
        case STORE_READ_MSG:
            note(p, &m);
            break;
        case STORE_READ_WAIT:
            return;
        default:
            finish(p);
            return;
        }
    io_timer_start_next(io, &p->timer);
}

void stream_positions_load(struct stream *s)
{
    struct stream_positions *p = positions_of(s);

    if (p->loaded) {
        stream_positions_loaded(s);
        return;
    }
    if (p->loading)
        return;
    p->loading = true;
    store_reader_init(&p->reader, s->store, p->known.through + 1, NULL, 0, ready, p);
    read_on(p);
}

void stream_positions_free(struct stream *s)
{
    struct stream_positions *p = s->positions;

    s->positions = NULL;
    if (p == NULL)
        return;
    io_timer_stop(s->js->env->io, &p->timer);
    if (p->loading)
        store_reader_deinit(&p->reader);
    source_positions_free(&p->known);
    mem_free(p);
}

/* ---- writing --------------------------------------------------------------------------------- */

void stream_positions_save(struct stream *s, uint64_t through,
                           const struct upstream *const *changed, size_t n)
{
    struct stream_positions *p = positions_of(s);
    struct buf b = {0};

    source_positions_put_through(&b, through);
    for (size_t i = 0; i < n; i++) {
        const struct upstream *u = changed[i];
        struct str name = buf_str(&u->name), identity = str_of(u->identity);
        source_positions_put_entry(&b, name, identity, u->durable);
        source_positions_set(&p->known, name, identity, u->durable);
    }
    if (through > p->known.through)
        p->known.through = through;
    if (s->config.storage == STORAGE_MEMORY) {
        ;
    } else if (p->id != 0) {
        store_object_delta(s->js->store, p->id, buf_str(&b), NULL);
    } else {
        buf_clear(&b);
        source_positions_put(&p->known, &b);
        p->id = store_object_create(s->js->store, JS_KIND_SOURCES, s->id, buf_str(&b), render, p,
                                    NULL);
    }
    buf_free(&b);
}

bool stream_positions_behind(const struct stream *s)
{
    const struct stream_positions *p = s->positions;

    if (p == NULL || p->id == 0 || !p->loaded || s->durable - p->known.through < BEHIND_MAX)
        return false;
    LIST_FOREACH(l, &s->upstreams)
    if (!list_empty(&LIST_ENTRY(l, struct upstream, link)->commits))
        return false;
    return true;
}

void stream_positions_of(struct stream *s, struct upstream *u)
{
    const struct stream_positions *p = s->positions;
    const struct source_position *at = p != NULL
                                           ? source_positions_find(&p->known, buf_str(&u->name))
                                           : NULL;

    if (at == NULL)
        return;
    u->durable = at->sseq;
    if (strlen(at->identity) < sizeof(u->identity))
        memcpy(u->identity, at->identity, strlen(at->identity) + 1);
}
