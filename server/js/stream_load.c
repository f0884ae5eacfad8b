/*
 * stream_load.c - the duplicate window after a start.
 *
 * Which message ids were seen lately is not stored on its own: the messages are. So a recovered
 * stream reads back the messages of its window that came with ids (the store knows the batches).
 * Until it is through, what clients publish waits, in order and in memory, within the limits of
 * ingest; beyond them it is refused with 10167. Nothing else waits for it.
 *
 * LOADING --(time found, batches read)--> loaded, what waited is taken
 *
 * The state is an object of its own, because the request for a time may end after the stream has
 * gone.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/js_int.h"

#include <string.h>

struct parked {
    struct list link;
    struct msg m;
    char bytes[];
};

struct stream_load {
    struct stream *s; /* NULL: it has gone */
    struct store_reader reader;
    struct store_req req;
    bool asking; /* req is under way */
    struct list parked;
    uint64_t nparked, parked_bytes;
};

/* ---- what waits ------------------------------------------------------------------------------ */

static struct str keep(char **at, struct str from)
{
    struct str s = str_from(*at, from.n);

    if (from.n > 0)
        memcpy(*at, from.p, from.n);
    *at += from.n;
    return s;
}

bool stream_load_park(struct stream *s, const struct msg *m)
{
    const struct options *o = s->js->env->options;
    struct stream_load *load = s->load;
    size_t n = m->subject.n + m->reply.n + m->header.n + m->payload.n;
    struct parked *p;
    char *at;

    if (load->nparked >= o->js_max_buffered_msgs ||
        load->parked_bytes + n > o->js_max_buffered_bytes)
        return false;
    p = mem_zalloc(sizeof(*p) + n);
    at = p->bytes;
    p->m.subject = keep(&at, m->subject);
    p->m.reply = keep(&at, m->reply);
    p->m.header = keep(&at, m->header);
    p->m.payload = keep(&at, m->payload);
    list_push_back(&load->parked, &p->link);
    load->nparked++;
    load->parked_bytes += n;
    return true;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void end(struct stream_load *load)
{
    struct list *l;

    store_reader_deinit(&load->reader);
    while ((l = list_pop_front(&load->parked)) != NULL)
        mem_free(LIST_ENTRY(l, struct parked, link));
    mem_free(load);
}

static void loaded(struct stream_load *load)
{
    struct stream *s = load->s;

    s->load = NULL;
    LIST_FOREACH(l, &load->parked)
    stream_take(s, &LIST_ENTRY(l, struct parked, link)->m);
    end(load);
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
    list_init(&load->parked);
    load->req.done = time_found;
    s->load = load;
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
