/*
 * sink.h - a place messages can go: a client's subscription, a stream's ingest, an API handler, a
 * pull or push delivery, a Kafka waiter, a test probe. net and js never see each other; they meet
 * here.
 *
 * A sink is embedded in its owner, lives on one worker, and has a handle in that worker's sink
 * table. Other workers know (worker, handle) only. A sink is *closed* by removing it from the
 * interest and from the table; a message that still arrives for the old handle finds nothing: plain
 * subscriptions drop it, queue picks are made again, deliveries with MSG_F_BOUNCE bounce.
 */
#ifndef CORE_SINK_H
#define CORE_SINK_H

#include "lib/base/assert.h"
#include "lib/base/chunk.h"
#include "lib/base/handle.h"
#include "server/core/msg.h"

#include <stdbool.h>

struct buf;
struct sink;
struct outbuf;

struct sink_ops {
    /*
     * Takes a run in order; returns how many were accepted (fewer: it does not take the next one,
     * or has closed meanwhile, for example by reaching its max). It is asked again for what is
     * behind that one. The messages are borrowed for the call. It may add and remove interest and
     * sinks, also itself, and may route new messages, which are delivered before route_* returns.
     * The router never enters the deliver of a sink that is already in it: a message to such a sink
     * waits (a copy) until the router is flushed from outside.
     */
    unsigned (*deliver)(struct sink *s, const struct msg *run, unsigned n);

    /*
     * Optional, both or none: a byte form for held replies. render appends the complete bytes that
     * deliver would have sent, as MSG or HMSG protocol frames, behind what `out` holds; nothing at
     * all when memory is short. Header and payload are at most 16 KiB, so that one outbuf_reserve
     * takes the whole frame. Nothing is counted or limited before push, which takes over the chunks
     * of `out` (msgs frames) and leaves it empty. A sink that must count one by one (a max) has
     * none: its replies are delivered singly.
     */
    void (*render)(struct sink *s, const struct msg *m, struct outbuf *out);
    void (*push)(struct sink *s, struct outbuf *out, unsigned msgs);

    /* Optional. A message with MSG_F_BOUNCE and bounce_to = this sink, of which route_deliver said
     * that it had a receiver, found nobody after all. May route. */
    void (*bounced)(struct sink *s, uint64_t seq);

    /* Optional: what a message that is traced meets here, as a JSON object: {"type":"eg",...} */
    void (*describe)(struct sink *s, const struct msg *m, struct buf *out);

    /*
     * Of what another server wants (leaf != NULL), instead of deliver: the message goes there under
     * `key`, the subject it is routed by, for its plain subscriptions, if they match, and for the
     * queue groups named. Does not route. False when it does not go.
     */
    bool (*forward)(struct sink *s, const struct msg *m, struct str key, const struct str *queues,
                    unsigned nqueues);

    const char *kind; /* "client", "stream", "api", ...: for /subsz and dumps */
};

struct sink {
    const struct sink_ops *ops; /* may be exchanged at any time, for example when a max is set */
    handle self;                /* in the worker's sink table; 0 = not registered */
    uint64_t conn_id;           /* owner's connection id, for /subsz; 0 = internal */
    handle conn;       /* owner's connection handle: echo suppression; 0 = internal; set before
                          router_sink_add */
    bool leaf;         /* of another server, over a leaf connection: forward, not deliver */
    struct str queue;  /* of a leaf: its queue group; empty = plain */
    uint32_t deferred; /* the router's: messages for this sink that wait in it */
};

/* Bytes under construction: a list of chunks, filled in order. Zero-initialised is empty. One
 * owner. Chunks grow with the contents, 1 KiB to 64 KiB, so that a thousand small ones cost a
 * megabyte. */
struct outbuf {
    struct chunk *head, *tail; /* linked by chunk->next; chunk->len bytes used in each */
    uint64_t bytes;
};

/* The slow half of outbuf_reserve. */
uint8_t *outbuf_grow(struct outbuf *o, struct chunk_pool *pool, size_t n);

/* Room for n contiguous bytes (n <= 64 KiB) at the end; NULL when memory is short. Follow with
 * outbuf_commit. */
static inline uint8_t *outbuf_reserve(struct outbuf *o, struct chunk_pool *pool, size_t n)
{
    struct chunk *c = o->tail;

    if (LIKELY(c != NULL && c->cap - c->len >= n))
        return c->data + c->len;
    return outbuf_grow(o, pool, n);
}

/* n: at most what was reserved. */
static inline void outbuf_commit(struct outbuf *o, size_t n)
{
    DEBUG_ASSERT(n <= o->tail->cap - o->tail->len);
    o->tail->len += (uint32_t) n;
    o->bytes += n;
}

/* Appends bytes of any length; false (and nothing appended) when memory is short. Cuts where a
 * chunk is full. */
bool outbuf_put(struct outbuf *o, struct chunk_pool *pool, const void *bytes, size_t n);
/* Appends bytes that lie in a chunk, by reference: no copy, and the chunk stays until they are
 * sent. n <= 4 GiB. False when memory is short. */
bool outbuf_put_view(struct outbuf *o, struct chunk_pool *pool, struct chunk *of, const void *bytes,
                     size_t n);
/* Moves whole chunks from the front of `from` to the end of `to`, until `to` has `bytes` or more,
 * or `most` chunks have been moved; returns how many. */
unsigned outbuf_move(struct outbuf *to, struct outbuf *from, unsigned most, uint64_t bytes);
/* Moves everything to the end of `to`. */
void outbuf_splice(struct outbuf *to, struct outbuf *from);
/* Drops the references; empty afterwards. */
void outbuf_free(struct outbuf *o, struct chunk_pool *pool);
void outbuf_check(const struct outbuf *o);

#endif
