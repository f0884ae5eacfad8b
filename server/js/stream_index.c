/*
 * stream_index.c - questions about subjects, right after a start.
 *
 * The store reads the subjects of a large stream in slices after it has started (store_index_wait).
 * Who asks for a subject before that is through waits here, so that its worker does not:
 *
 *   requests     that ask for subjects, and consumers that begin at a last message: as those of a
 *                stream that is being created. Those that name literal subjects wait for these
 *                alone (store_subjects_wait)
 *   publishes    whose checks look at a subject's last message. On streams with counters,
 * schedules, batches, or republishing every message may do that: they wait from the start; on
 *                others the first message that expects a last sequence of a subject begins the
 * wait, and those behind it stay in order (stream_park.c) effects      of what was published before
 * the start (rollups), and messages whose time has come where markers are left behind
 *
 * Everything else goes on: publishes, deliveries, acknowledgements, reads and removals by sequence.
 *
 * The request outlives the stream when that is deleted meanwhile.
 */
#include "lib/base/mem.h"
#include "server/js/api_int.h"
#include "server/js/stream_parts.h"

struct stream_index {
    struct store_req req;
    struct list link; /* stream->subject_waits, unless it is the stream's index */
    struct stream *s; /* NULL: it has gone */
    bool holds;       /* the stream, up */
};

static void known(struct store_req *req, enum err err)
{
    struct stream_index *x = CONTAINER_OF(req, struct stream_index, req);
    struct stream *s = x->s;
    bool held = x->holds, all = s != NULL && s->index == x;

    (void) err; /* a stream that failed answers for itself */
    list_remove(&x->link);
    mem_free(x);
    if (s == NULL)
        return;
    if (all)
        s->index = NULL;
    if (s->js->stopping)
        return;
    api_created(s);
    if (all) {
        stream_effects_go_on(s);
        stream_expiry_go_on(s);
    }
    if (held)
        stream_go_on(s);
}

bool stream_index_waits(struct stream *s)
{
    struct stream_index *x;

    if (s->index != NULL)
        return true;
    if (s->store == NULL || !store_index_wait(s->store, NULL))
        return false;
    x = s->index = mem_zalloc(sizeof(*x));
    list_init(&x->link);
    x->s = s;
    x->req.done = known;
    store_index_wait(s->store, &x->req);
    return true;
}

static bool wait_for_subjects(struct stream *s, const struct str *subjects, unsigned n, bool hold)
{
    struct stream_index *x;

    if (s->store == NULL || !store_subjects_wait(s->store, subjects, n, NULL))
        return false;
    x = mem_zalloc(sizeof(*x));
    list_init(&x->link);
    list_push_back(&s->subject_waits, &x->link);
    x->s = s;
    x->holds = hold;
    x->req.done = known;
    if (hold)
        stream_hold_up(s);
    store_subjects_wait(s->store, subjects, n, &x->req);
    return true;
}

bool stream_subjects_wait(struct stream *s, const struct str *subjects, unsigned n)
{
    return wait_for_subjects(s, subjects, n, false);
}

bool stream_subject_holds(struct stream *s, struct str subject)
{
    return wait_for_subjects(s, &subject, 1, true);
}

bool stream_index_holds(struct stream *s)
{
    if (!stream_index_waits(s))
        return false;
    if (!s->index->holds)
        stream_hold_up(s);
    s->index->holds = true;
    return true;
}

void stream_index_start(struct stream *s)
{
    const struct stream_config *c = &s->config;

    if (c->allow_msg_counter || c->allow_msg_schedules || c->allow_atomic || c->allow_batched ||
        s->republish != NULL)
        stream_index_holds(s);
}

static void let_go(struct stream_index *x)
{
    list_remove(&x->link);
    if (x->s->js->store == NULL) /* closed: nobody answers any more */
        mem_free(x);
    else
        x->s = NULL;
}

void stream_index_free(struct stream *s)
{
    if (s->index != NULL)
        let_go(s->index);
    s->index = NULL;
    while (!list_empty(&s->subject_waits))
        let_go(LIST_ENTRY(list_first(&s->subject_waits), struct stream_index, link));
}
