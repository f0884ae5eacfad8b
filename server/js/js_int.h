/*
 * js_int.h - the inside of JetStream: the server's part, an account's on all workers, an account's
 * on one. Nothing outside server/js includes it, nor what is built on it: stream_int.h and
 * stream_parts.h, consumer_int.h, api_int.h, advisory.h.
 *
 * Objects and owners
 *
 *     js_shared   all workers: the directory of names (under its lock); worker 0 alone writes to it
 *     js          one worker: its streams, its consumers that have something to do, API sinks
 *     stream      one worker: configuration, store_stream, sink of what is published, holds of
 *                 PubAcks, consumers
 *     consumer    its stream's worker: configuration, core, reader, one sink for acks, pulls and
 *                 flow control
 *
 * Way of a publish: router -> stream's sink (stream_ingest.c) -> checks -> store_append -> PubAck
 * into the open hold -> commit_begun closes the hold -> committed releases it and wakes consumers
 * -> js_step pumps them (consumer_deliver.c).
 *
 * Way of an ack: router -> resolver (js_directory.c) names the consumer's sink -> consumer_ack.c ->
 * core -> state log, written with the next commit; a double ack waits for it.
 */
#ifndef JS_JS_INT_H
#define JS_JS_INT_H

#include "lib/base/hmap.h"
#include "lib/base/list.h"
#include "lib/base/nuid.h"
#include "lib/base/wheel.h"
#include "server/config/options.h"
#include "server/core/account_wiring.h"
#include "server/core/env.h"
#include "server/js/js.h"
#include "server/js/js_directory.h"
#include "server/js/js_error.h"
#include "server/js/js_resources.h"
#include "store/store.h"

#include <stdatomic.h>

/* Kinds of store objects. */
enum { JS_KIND_CONSUMER = STORE_KIND_USER, JS_KIND_SOURCES, JS_KIND_MEMO };
/* Consumer states that nobody waits for are written this often. */
#define STATE_INTERVAL_NS 50000000u

struct consumer;
struct direct_out;
struct stream;
struct zones;

/* Of the whole server. */
struct js_server {
    struct store_dir *dir;
    struct js_resources resources;
    _Atomic uint64_t atomic_batches, fast_batches; /* open */
    _Atomic uint64_t requests;                     /* of the API, not answered yet */
    const struct account *system;                  /* has no streams, and purges accounts */
    struct js_shared **shared;                     /* by account index; NULL = none */
    uint32_t n;
};

/* Of one account, for all workers. */
struct js_shared {
    struct js_server *server;
    struct account *account;
    struct directory *directory;
    struct js_resources resources;   /* the account's limits, below the server's */
    struct account_jetstream limits; /* the main thread's; workers have a copy each */
    struct js_watch watch;           /* there == NULL: nobody */
};

/* The consumer of the ack before: acks come in bursts. Of the subject's first form only, whose tail
 * has five tokens. */
struct ack_memo {
    uint64_t version; /* of the directory */
    size_t n;         /* of the prefix, 0 = none */
    struct route_target target;
    char prefix[256];
};

/* One account on one worker. */
struct js {
    struct env *env;
    struct account *account;
    struct jetstream *all; /* whose account this is one of */
    struct list awake;     /* all->awake, while it has something for the loop's stage */
    struct js_shared *shared;
    struct account_jetstream limits; /* not enabled: every request is told so */
    struct store *store;
    struct nuid nuid;
    struct hmap streams;       /* struct stream by name */
    struct list dirty_streams; /* have replies that can leave */
    struct list ready;         /* consumers to pump */
    struct list unsaved;       /* consumers with a state log to write */
    struct list sweeps;        /* streams with sequences to look at: sweep.link */
    struct list expiring;      /* struct stream_expiry with something to do */
    struct list effects;       /* struct stream_effects with something to read */
    struct list half;          /* struct half, while recovering; js_recover.c */
    struct list offline;       /* struct offline: what is stored and can not be served */
    struct list scheduling;    /* struct stream_schedules with something to do */
    struct zones *zones;
    struct wheel_timer save_timer;
    bool save_due;
    struct sink api;                    /* $JS.API requests for this worker */
    struct interest_sub **api_interest; /* worker 0 */
    size_t napi_interest;
    struct js_stats stats;
    struct ack_memo acked;
    struct list requests; /* API requests under way */
    struct list gets;     /* direct gets under way: api_direct.c */
    uint64_t ngets;
    struct direct_out *direct_out;
    struct list parked; /* worker 0: creations that wait for the end of a deletion */
    uint64_t births;    /* streams and consumers made here */
    bool overrun;       /* worker 0: the last request was one too many */
    bool stopping;
};

/* A stream, or a consumer, that was found in the store and can not be served: its bytes are kept as
 * they are, its name is taken, and whoever asks for it hears why. */
struct offline {
    struct list link;
    char *stream;
    char *consumer; /* NULL = the stream itself */
    char *reason;
};

/* All accounts on one worker. */
struct jetstream {
    struct env *env;
    struct js_server *server;
    struct store *store;
    struct js **of; /* by account index; NULL = none */
    uint32_t n;
    struct list awake; /* struct js: only these have a turn, however many accounts there are */
};

/* The link has a turn in the next step, once, in one of the lists of struct js. */
static inline void js_queue(struct js *js, struct list *to, struct list *link)
{
    if (list_linked(link))
        return;
    list_push_back(to, link);
    if (!list_linked(&js->awake))
        list_push_back(&js->all->awake, &js->awake);
}

/* Consumers' states are saved in the next step. */
static inline void js_save_soon(struct js *js)
{
    js->save_due = true;
    if (!list_linked(&js->awake))
        list_push_back(&js->all->awake, &js->awake);
}

/* NULL: that account has none here. */
static inline struct js *js_of(const struct env *env, const struct account *a)
{
    const struct jetstream *j = env->jetstream;

    return j != NULL && a->index < j->n ? j->of[a->index] : NULL;
}

/* js.c: one account. js_new, recovery, js_start; js_stop, the store's end, js_close. */
struct js *js_new(struct jetstream *all, struct js_shared *shared);
void js_start(struct js *js);
/* Listens to the API or leaves it to the account that it is imported from, as limits and imports
 * say now. */
void js_follow_imports(struct js *js);
bool js_step(struct js *js);
void js_end_pulls(struct js *js);
void js_stop(struct js *js);
/* js_stop, and no subject leads here any more. */
void js_leave(struct js *js);
void js_close(struct js *js);
/* One stream in detail. */
void js_details(struct stream *s, const struct js_detail_options *o, struct buf *out);
void js_stats_of(const struct js *js, struct js_stats *out);

/* ---- recovery (js_recover.c) */

/* What the store calls a stream: "<stream>" in the default account, else "<account>/<stream>". */
void js_stored_name(const struct js *js, const char *stream, struct buf *out);
/* Attaches to what the store has recovered, in all accounts. */
void js_recover(struct jetstream *j);
void js_offline_free(struct js *js);
/* Why it is offline, or NULL. consumer empty = the stream. */
const char *js_offline_reason(struct js *js, struct str stream, struct str consumer);

/* "$JS.<domain>.API."; false when the server has no domain. */
bool js_domain_prefix(const struct js *js, char *out, size_t cap);
/* Behind "$JS.API." or "$JS.<domain>.API.", or p == NULL. */
struct str api_tail(const struct js *js, struct str subject);
/* Sends one message as the server. */
void js_publish(struct js *js, struct str subject, struct str reply, struct str header,
                struct str payload);
/* The resolver of "$JS." subjects. */
bool js_resolve(struct js *js, struct str subject, struct route_target *out);

#endif
