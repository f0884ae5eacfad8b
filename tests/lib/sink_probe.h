/*
 * sink_probe.h - a sink that writes down what it gets, and a few routers in one thread.
 *
 * The transcript of a probe is text, one line a message: "subject payload\n", or "subject payload >
 * reply\n". Payloads of tests are short text.
 */
#ifndef TESTS_SINK_PROBE_H
#define TESTS_SINK_PROBE_H

#include "lib/base/buf.h"
#include "lib/base/chunk.h"
#include "lib/base/prng.h"
#include "server/core/account.h"
#include "server/core/route.h"
#include "server/core/sink.h"

struct sink_probe {
    struct sink sink;
    struct router *router;
    struct account *account;
    struct interest_sub *sub; /* NULL: closed */
    struct buf log;
    unsigned msgs, calls;
    unsigned longest;    /* run */
    unsigned limit;      /* takes that many in all, then closes itself, like a max; 0 = no limit */
    const char *refuses; /* a payload that it does not take */
    unsigned frames;     /* pushed ones */
    unsigned bounces;
    uint64_t bounced_seq;
    bool inside; /* deliver is on the stack: entering it again aborts */
    /* Called for each message taken. */
    void (*on_msg)(struct sink_probe *p, const struct msg *m);
    void (*on_bounce)(struct sink_probe *p, uint64_t seq);
    void *ctx;
    struct chunk_pool *pool;
};

struct sink_probe_options {
    struct router *router;
    struct account *account;
    uint32_t worker;
    const char *pattern;
    const char *queue; /* NULL = plain */
    handle conn;
    struct chunk_pool *pool; /* not NULL: the probe has a byte form, with sid 7 */
};

/* Registers and subscribes. The probe is zeroed first. */
void sink_probe_open(struct sink_probe *p, const struct sink_probe_options *o);
/* From now on without a byte form. */
void sink_probe_take_singly(struct sink_probe *p);
/* Unsubscribes and unregisters; the transcript stays. Harmless when closed. */
void sink_probe_close(struct sink_probe *p);
/* Forgets what was received. */
void sink_probe_clear(struct sink_probe *p);
const char *sink_probe_log(struct sink_probe *p);
void sink_probe_free(struct sink_probe *p);

#define MESH_MAX 4u

/* Routers of one account whose lanes are lists: a run travels when the test says so. */
struct router_mesh {
    uint32_t n;
    struct account *account;
    struct router *r[MESH_MAX];
    struct chunk_pool *chunks[MESH_MAX];
    struct prng prng[MESH_MAX];
    struct mesh_end {
        struct router_mesh *mesh;
        uint32_t worker;
    } end[MESH_MAX];
    struct lane_item *head[MESH_MAX][MESH_MAX], *tail[MESH_MAX][MESH_MAX]; /* [from][to] */
    uint64_t runs;                                                         /* that travelled */
};

void router_mesh_open(struct router_mesh *m, uint32_t workers);
void router_mesh_close(struct router_mesh *m);
/* Ends the gathered runs and moves what routers have written into the lanes. */
void router_mesh_flush(struct router_mesh *m);
/* Takes what is in the lanes now; one pass. True when there was something. */
bool router_mesh_drain(struct router_mesh *m);
/* Until nothing moves. */
void router_mesh_settle(struct router_mesh *m);

void sink_probe_at(struct sink_probe *p, struct router_mesh *m, uint32_t worker,
                   const char *pattern, const char *queue);

/* A message of text; reply may be NULL. */
struct msg probe_msg(const char *subject, const char *reply, const char *payload);

#endif
