/*
 * stream_load.c - the duplicate window after a start.
 *
 * Which message ids were seen lately is not stored on its own: the messages are. So a recovered
 * stream reads back the messages of its window that came with ids (the store knows the batches).
 * Until it is through, what clients publish waits (stream_park.c). Nothing else waits for it.
 *
 * LOADING --(time found, batches read)--> loaded, what waited is taken
 *
 * The state is an object of its own, because the request for a time may end after the stream has
 * gone.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/stream_parts.h"

struct stream_load {
    struct stream *s; /* NULL: it has gone */
    struct store_reader reader;
    struct store_req req;
    bool asking; /* req is under way */
};

/* ---- reading --------------------------------------------------------------------------------- */

static void end(struct stream_load *load)
{
    store_reader_deinit(&load->reader);
    mem_free(load);
}

static void loaded(struct stream_load *load)
{
    struct stream *s = load->s;

    s->load = NULL;
    end(load);
    stream_go_on(s);
}

static void note(struct stream *s, const struct store_msg *m)
{
    struct str id = header_get(m->header, STR("Nats-Msg-Id"));

    if (id.n == 0)
        return;
    dedup_add(&s->dedup, id, m->seq, m->ts);
    if (m->seq == s->durable) {
        mem_free(s->last_id);
        s->last_id = mem_strndup(id.p, id.n);
    }
}

static void read_on(struct stream_load *load)
{
    struct store_reader *r = &load->reader;
    struct store_msg m;

    for (;;) {
        uint64_t seq = r->stream != NULL ? store_seq_with_id(load->s->store, r->seq) : 0;
        if (seq == 0) {
            loaded(load);
            return;
        }
        if (seq != r->seq)
            store_reader_seek(r, seq);
        switch (store_reader_next(r, &m)) {
        case STORE_READ_MSG:
            note(load->s, &m);
            break;
        case STORE_READ_WAIT:
            return;
        default:
            loaded(load);
            return;
        }
    }
}

static void ready(struct store_reader *r)
{
    read_on(r->ctx);
}

static void time_found(struct store_req *req, enum err err)
{
    struct stream_load *load = CONTAINER_OF(req, struct stream_load, req);

    load->asking = false;
    if (load->s == NULL) {
        end(load);
        return;
    }
    /* Without an answer: all there is. Ids from before the window are dropped when asked for. */
    store_reader_seek(&load->reader, err == ERR_OK ? req->count : 1);
    read_on(load);
}

void stream_load_start(struct stream *s)
{
    struct stream_load *load;
    uint64_t seq;

    if (store_seq_with_id(s->store, 1) == 0)
        return;
    load = mem_zalloc(sizeof(*load));
    load->s = s;
    load->req.done = time_found;
    s->load = load;
    stream_hold_up(s);
    store_reader_init(&load->reader, s->store, 1, NULL, 0, ready, load);
    if (store_seq_at(s->store, io_wall(s->js->env->io) - s->config.duplicate_window_ns, &seq,
                     &load->req) == ERR_AGAIN) {
        load->asking = true;
        return;
    }
    store_reader_seek(&load->reader, seq);
    read_on(load);
}

void stream_load_free(struct stream *s)
{
    struct stream_load *load = s->load;

    s->load = NULL;
    if (load == NULL)
        return;
    load->s = NULL;
    if (!load->asking || s->js->store == NULL)
        end(load);
    else
        store_reader_deinit(&load->reader);
}
