/*
 * direct_batch.c - a direct get of one message, or of those from a place on.
 *
 * One is read and sent. For a batch what is pending is counted first (Nats-Num-Pending counts down
 * from there); messages go out in slices until there are `batch` of them or `max_bytes`; then what
 * has been stored meanwhile is counted too, and 204 EOB says the rest.
 */
#include "server/js/direct_int.h"

static void counted_again(struct store_req *req, enum err err)
{
    struct direct_get *g = CONTAINER_OF(req, struct direct_get, req);

    g->in_store = false;
    if (g->ended) {
        direct_get_release(g);
        return;
    }
    if (err == ERR_OK)
        g->pending = req->count;
    direct_get_end_of_batch(g);
}

static enum err count(struct direct_get *g, uint64_t from,
                      void (*done)(struct store_req *, enum err))
{
    enum err err;

    g->counted_to = direct_get_last_of(g);
    g->req.done = done;
    g->in_store = true;
    err = store_count(g->reader.stream, from, g->filter.n > 0 ? &g->filter : NULL,
                      g->filter.n > 0 ? 1 : 0, &g->req.count, &g->req);
    if (err != ERR_AGAIN)
        done(&g->req, err);
    return err;
}

/* What has been stored since is pending too. */
static void finish_batch(struct direct_get *g)
{
    direct_get_unpin(g);
    if (g->reader.stream != NULL && direct_get_last_of(g) > g->counted_to)
        count(g, g->reader.seq, counted_again);
    else
        direct_get_end_of_batch(g);
}

static bool is_full(const struct direct_get *g)
{
    return g->sent >= (g->q.batch > 0 ? g->q.batch : 1) || g->bytes >= g->max_bytes;
}

static void step_batch(struct direct_get *g)
{
    struct store_msg m;

    for (unsigned i = 0; i < DIRECT_SLICE; i++) {
        enum store_read got = STORE_READ_END;
        if (g->reader.stream != NULL)
            got = store_reader_next(&g->reader, &m);
        if (got == STORE_READ_WAIT) {
            direct_get_unpin(g);
            return;
        }
        if (got != STORE_READ_MSG) {
            if (g->sent == 0)
                direct_get_end_with(g, "404 Message Not Found");
            else
                finish_batch(g);
            return;
        }
        if (g->pending > 0)
            g->pending--;
        if (!direct_get_send(g, &m)) {
            direct_get_unpin(g);
            direct_get_go_on_when_drained(g);
            return;
        }
        if (is_full(g)) {
            finish_batch(g);
            return;
        }
    }
    direct_get_unpin(g);
    direct_get_go_on_later(g);
}

static void counted(struct store_req *req, enum err err)
{
    struct direct_get *g = CONTAINER_OF(req, struct direct_get, req);

    g->in_store = false;
    if (g->ended) {
        direct_get_release(g);
        return;
    }
    g->pending = err == ERR_OK ? req->count : 0;
    g->step = step_batch;
    step_batch(g);
}

/* Exactly this sequence, or the next of a subject. */
static void step_one(struct direct_get *g)
{
    struct store_msg m;
    enum store_read got = STORE_READ_GONE;

    if (g->reader.stream != NULL)
        got = g->filter.n > 0 || g->q.start_time != 0 ? store_reader_next(&g->reader, &m)
                                                      : store_reader_get(&g->reader, g->q.seq, &m);
    if (got == STORE_READ_WAIT)
        return;
    if (got != STORE_READ_MSG) {
        direct_get_end_with(g, "404 Message Not Found");
        return;
    }
    direct_get_send(g, &m);
    direct_get_end(g);
}

/* The place to start at is known. */
void direct_get_start_reading(struct direct_get *g)
{
    store_reader_seek(&g->reader, g->q.seq > 0 ? g->q.seq : 1);
    if (g->q.batch > 0) {
        count(g, g->q.seq, counted);
    } else {
        g->step = step_one;
        step_one(g);
    }
}
