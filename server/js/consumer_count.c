/*
 * consumer_count.c - how many messages a consumer has still to deliver, counted anew.
 *
 * The core keeps the number as messages are appended and delivered. What changes it otherwise
 * (removals, a restart, other filters) asks for a count, which the store answers at once or, when
 * there is much to look at, later. What is appended and delivered meanwhile is added and taken off
 * when the answer comes; another reason to count meanwhile makes it count once more.
 */
#include "lib/base/mem.h"
#include "server/js/consumer_int.h"

struct consumer_recount {
    struct store_req req;
    struct consumer *c; /* NULL: it has gone */
    uint64_t base;      /* of the list of a deliver-last-per-subject consumer */
    uint64_t appended, delivered;
    bool again;
};

static void settle(struct consumer_recount *r, uint64_t count)
{
    uint64_t n = r->base + count + r->appended;

    r->c->core.num_pending = n > r->delivered ? n - r->delivered : 0;
}

static void counted(struct store_req *req, enum err err)
{
    struct consumer_recount *r = CONTAINER_OF(req, struct consumer_recount, req);
    struct consumer *c = r->c;

    if (c != NULL) {
        c->recount = NULL;
        if (err == ERR_OK)
            settle(r, req->count);
        if (err == ERR_OK && r->again)
            consumer_recount(c);
        consumer_wake(c);
    }
    mem_free(r);
}

void consumer_recount(struct consumer *c)
{
    uint64_t from = c->nlast > 0 || c->listing != NULL ? c->last_resume : c->core.next_seq;
    struct consumer_recount *r;
    uint64_t count;
    enum err err;

    if (c->recount != NULL) {
        c->recount->again = true;
        return;
    }
    r = mem_zalloc(sizeof(*r));
    r->c = c;
    r->base = consumer_last_left(c);
    r->req.done = counted;
    err = store_count(c->stream->store, from, c->nfilters > 0 ? c->filters : NULL, c->nfilters,
                      &count, &r->req);
    if (err == ERR_AGAIN) {
        c->recount = r;
        return;
    }
    if (err == ERR_OK)
        settle(r, count);
    mem_free(r);
}

void consumer_recount_note(struct consumer *c, uint64_t appended, uint64_t delivered)
{
    if (LIKELY(c->recount == NULL))
        return;
    c->recount->appended += appended;
    c->recount->delivered += delivered;
}

void consumer_recount_free(struct consumer *c)
{
    struct consumer_recount *r = c->recount;

    c->recount = NULL;
    if (r == NULL)
        return;
    r->c = NULL;
    /* Without a store nobody will complete it. */
    if (c->js->store == NULL)
        mem_free(r);
}
