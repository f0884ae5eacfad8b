/*
 * api_catch_up.c - what was published before a question is part of its answer.
 *
 * Answers tell of durable messages only. A client that publishes without waiting for the
 * acknowledgement, flushes, and then asks over another connection expects to see what it has sent;
 * with a sync in between it would not. So a question that finds messages on their way to the disk
 * waits until those have arrived (or were refused), once, and no longer than WAIT_NS: a disk in
 * trouble must not keep anybody from asking.
 *
 * Only questions wait (info, lists, a message, what a new consumer will see; a direct get when
 * such a message belongs to its answer); whoever removes
 * something does not. A list of streams waits for one after the other, in WAIT_NS for all of them
 * (and what is left of the last wait).
 */
#include "lib/io/io.h"
#include "server/js/api_int.h"
#include "server/js/stream_int.h"

#define WAIT_NS 250000000u

static bool nobody_waits(const struct stream *s)
{
    return list_empty(&s->behind) && list_empty(&s->gets_behind);
}

static void let_requests_go(struct stream *s, uint64_t up_to)
{
    struct list *l;

    while ((l = list_first(&s->behind)) != NULL) {
        struct api_request *r = LIST_ENTRY(l, struct api_request, link);
        if (r->behind > up_to)
            return;
        if (s->js->store == NULL) { /* closed: freed with the others */
            list_remove(&r->link);
            list_push_back(&s->js->requests, &r->link);
            continue;
        }
        api_go_to(r, s->js->env->worker, r->task.run);
    }
}

static void let_go(struct stream *s, uint64_t up_to)
{
    let_requests_go(s, up_to);
    direct_let_go(s, up_to);
    if (nobody_waits(s))
        io_timer_stop(s->js->env->io, &s->behind_timer);
}

static void waited_enough(struct wheel_timer *t)
{
    let_go(CONTAINER_OF(t, struct stream, behind_timer), UINT64_MAX);
}

void stream_behind_init(struct stream *s)
{
    list_init(&s->behind);
    list_init(&s->gets_behind);
    wheel_timer_init(&s->behind_timer, waited_enough);
}

void stream_caught_up(struct stream *s)
{
    if (!nobody_waits(s))
        let_go(s, s->durable);
}

void stream_behind_end(struct stream *s)
{
    let_go(s, UINT64_MAX);
}

void stream_behind_wait(struct stream *s)
{
    struct io *io = s->js->env->io;

    if (nobody_waits(s))
        io_timer_start(io, &s->behind_timer, io_now(io) + WAIT_NS);
}

bool api_waits_for_sync(struct api_request *r, struct stream *s,
                        void (*run)(struct env_task *task, struct env *env))
{
    struct io *io = s->js->env->io;
    uint64_t now;

    if (r->behind != 0 || s->failed || s->assigned <= s->durable)
        return false;
    now = io_now(io);
    if (r->patience == 0)
        r->patience = now + WAIT_NS;
    if (now >= r->patience)
        return false;
    r->behind = s->assigned;
    r->task.run = run;
    stream_behind_wait(s);
    list_remove(&r->link);
    list_push_back(&s->behind, &r->link);
    return true;
}

struct stream *api_stream_caught_up(struct api_request *r)
{
    struct stream *s = api_stream(r);

    return s != NULL && api_waits_for_sync(r, s, api_run_here) ? NULL : s;
}
