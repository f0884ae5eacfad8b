/*
 * direct_send.c - what a direct get says: messages with headers of ours, and the status that
 * ends it.
 *
 * The router takes views: of the header that is made here, and of the payload where it lies in a
 * chunk. They have to stay until it is flushed. So a worker has one place for what is on its way
 * (struct direct_out): DIRECT_SLICE headers that are made anew for every slice, and a reference to
 * one chunk. It is flushed when it is full, when the next message lies in another chunk, and by
 * every step before it ends; no two steps send at a time.
 */
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "server/js/direct_int.h"

#include <string.h>

struct direct_out {
    unsigned routed;
    struct chunk *pinned;
    struct buf headers[DIRECT_SLICE];
};

void direct_get_unpin(struct direct_get *g)
{
    struct direct_out *out = g->js->direct_out;

    route_flush(g->js->env->router);
    if (out == NULL)
        return;
    out->routed = 0;
    if (out->pinned != NULL)
        chunk_put(out->pinned, g->js->env->chunks);
    out->pinned = NULL;
}

void direct_get_out_free(struct js *js)
{
    for (unsigned i = 0; js->direct_out != NULL && i < DIRECT_SLICE; i++)
        buf_free(&js->direct_out->headers[i]);
    mem_free(js->direct_out);
    js->direct_out = NULL;
}

/* ---- statuses -------------------------------------------------------------------------------- */

void direct_get_status(struct js *js, struct str to, const char *line)
{
    struct buf h = {0};

    buf_printf(&h, "NATS/1.0 %s\r\n\r\n", line);
    js_publish(js, to, STR_NONE, buf_str(&h), STR_NONE);
    buf_free(&h);
}

void direct_get_end_with(struct direct_get *g, const char *line)
{
    direct_get_unpin(g);
    direct_get_status(g->js, str_of(g->reply), line);
    direct_get_end(g);
}

void direct_get_end_of_batch(struct direct_get *g)
{
    struct buf h = {0};

    direct_get_unpin(g);
    buf_printf(&h, "NATS/1.0 204 EOB\r\nNats-Num-Pending: %llu\r\nNats-Last-Sequence: %llu\r\n",
               (unsigned long long) g->pending, (unsigned long long) g->last);
    if (direct_get_is_multi(g))
        buf_printf(&h, "Nats-UpTo-Sequence: %llu\r\n", (unsigned long long) g->up_to);
    buf_puts(&h, "\r\n");
    js_publish(g->js, str_of(g->reply), STR_NONE, buf_str(&h), STR_NONE);
    buf_free(&h);
    direct_get_end(g);
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Six for every message of a batch: by a format they were a third of its cost. */
static void put_pair(struct buf *h, struct str key, struct str value)
{
    char *p = buf_reserve(h, key.n + value.n + 4);

    memcpy(p, key.p, key.n);
    memcpy(p + key.n, ": ", 2);
    memcpy(p + key.n + 2, value.p, value.n);
    memcpy(p + key.n + 2 + value.n, "\r\n", 2);
    h->n += key.n + value.n + 4;
}

/* The message's own lines, ours behind; the block's first line is replaced. */
static void put_header(struct direct_get *g, struct buf *h, const struct store_msg *m)
{
    char text[FMT_TIME_MAX];
    struct str rest = STR_NONE;

    buf_clear(h);
    buf_puts(h, "NATS/1.0\r\n");
    if (m->header.n > 0) {
        str_cut(m->header, '\n', &rest);
        if (rest.n >= 2)
            buf_put(h, rest.p, rest.n - 2);
    }
    put_pair(h, STR("Nats-Stream"), str_of(g->stream));
    put_pair(h, STR("Nats-Subject"), m->subject);
    put_pair(h, STR("Nats-Sequence"), str_from(text, fmt_u64(text, m->seq)));
    put_pair(h, STR("Nats-Time-Stamp"), str_from(text, fmt_time_rfc3339(text, m->ts)));
    if (g->q.batch > 0 || direct_get_is_multi(g)) {
        put_pair(h, STR("Nats-Num-Pending"), str_from(text, fmt_u64(text, g->pending)));
        put_pair(h, STR("Nats-Last-Sequence"), str_from(text, fmt_u64(text, g->last)));
    }
    buf_puts(h, "\r\n");
}

bool direct_get_send(struct direct_get *g, const struct store_msg *m)
{
    struct env *env = g->js->env;
    struct direct_out *o = g->js->direct_out;
    struct msg out = {.subject = str_of(g->reply), .payload = m->payload, .flags = MSG_F_SYSTEM};
    struct buf *h;

    if (o == NULL)
        o = g->js->direct_out = mem_zalloc(sizeof(*o));
    if (o->routed == DIRECT_SLICE || m->chunk != o->pinned)
        direct_get_unpin(g);
    if (o->pinned == NULL && m->chunk != NULL) {
        chunk_get(m->chunk);
        o->pinned = m->chunk;
    }
    h = &o->headers[o->routed++];
    if (!g->q.no_hdr || direct_get_is_multi(g)) {
        put_header(g, h, m);
        out.header = buf_str(h);
    }
    out.chunk = m->chunk;
    g->last = m->seq;
    g->bytes += m->subject.n + m->header.n + m->payload.n;
    g->sent++;
    return !route_publish(env->router, g->js->account, &out).stall;
}
