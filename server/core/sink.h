/*
 * sink.h - a place messages can go: a client's subscription, a stream's ingest, an API handler, a pull or push
 * delivery, a Kafka waiter, a test probe. net and js never see each other; they meet here.
 *
 * A sink is embedded in its owner, lives on one worker, and has a handle in that worker's sink table. Other
 * workers know (worker, handle) only. A sink is *closed* by removing it from the interest and from the table; a
 * message that still arrives for the old handle finds nothing: plain subscriptions drop it, queue picks are made
 * again, deliveries with MSG_F_BOUNCE bounce.
 */
#ifndef CORE_SINK_H
#define CORE_SINK_H

#include <stdbool.h>

#include "lib/base/handle.h"
#include "server/core/msg.h"

struct sink;
struct outbuf;

struct sink_ops {
    /* Takes a run in order; returns how many were accepted (fewer: the sink has closed meanwhile, for example by
     * reaching its max). Must not call back into the router for the same account's interest (add/remove). May
     * route new messages (replies). */
    unsigned (*deliver)(struct sink *s, const struct msg *run, unsigned n);

    /* Renders the complete bytes that deliver would have sent, behind what `out` holds; NULL when this kind of
     * sink has no byte form. Counted and limited only at push. */
    void (*render)(struct sink *s, const struct msg *m, struct outbuf *out);
    /* Sends rendered bytes (msgs messages); takes over the chunks of `out` and leaves it empty. */
    void (*push)(struct sink *s, struct outbuf *out, unsigned msgs);

    /* A message sent with MSG_F_BOUNCE and bounce_to = this sink found nobody. */
    void (*bounced)(struct sink *s, uint64_t seq);

    const char *kind; /* "client", "stream", "api", ...: for /subsz and dumps */
};

struct sink {
    const struct sink_ops *ops;
    handle self;        /* in the worker's sink table; 0 = not registered */
    uint64_t conn_id;   /* owner's connection id, for /subsz; 0 = internal */
    handle conn;        /* owner's connection handle: echo suppression; 0 = internal */
};

/* Bytes under construction: a list of chunks, filled in order. Zero-initialised is empty. One owner. */
struct outbuf {
    struct chunk *head, *tail; /* linked by chunk->next; chunk->len bytes used in each */
    uint64_t bytes;
};

/* Room for n contiguous bytes (n <= 64 KiB) at the end; NULL when memory is short. Follow with outbuf_commit. */
uint8_t *outbuf_reserve(struct outbuf *o, struct chunk_pool *pool, size_t n);
void outbuf_commit(struct outbuf *o, size_t n);
/* Appends bytes of any length; false (and nothing appended) when memory is short. */
bool outbuf_put(struct outbuf *o, struct chunk_pool *pool, const void *bytes, size_t n);
void outbuf_free(struct outbuf *o, struct chunk_pool *pool);

#endif
