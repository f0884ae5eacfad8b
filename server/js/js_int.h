/*
 * js_int.h - the inside of JetStream: what its files share. Nothing outside server/js includes it.
 *
 * Objects and owners
 *   js_shared      all workers: the directory of names (under its lock), worker 0 alone writes to
 * it js             one worker: its streams, its consumers that have something to do, API sinks
 *   stream         one worker: configuration, store_stream, ingest sink, holds of PubAcks,
 * consumers consumer       its stream's worker: configuration, core, reader, one sink for acks,
 * pulls and flow control
 *
 * Way of a publish: router -> stream's sink (stream.c ingest) -> checks -> store_append -> PubAck
 * into the open hold -> commit_begun closes the hold -> committed releases it and wakes consumers
 * -> js_step pumps them (consumer_deliver.c).
 *
 * Way of an ack: router -> resolver (js_directory.c) names the consumer's sink -> consumer_ack.c ->
 * core -> state log, written with the next commit; a double ack waits for it.
 */
#ifndef JS_JS_INT_H
#define JS_JS_INT_H

#include "lib/base/filter_index.h"
#include "lib/base/header.h"
#include "lib/base/hmap.h"
#include "lib/base/list.h"
#include "lib/base/nuid.h"
#include "lib/base/seqset.h"
#include "lib/base/subject.h"
#include "server/config/options.h"
#include "server/core/account_wiring.h"
#include "server/core/env.h"
#include "server/js/consumer_config.h"
#include "server/js/consumer_core.h"
#include "server/js/consumer_pace.h"
#include "server/js/dedup.h"
#include "server/js/js.h"
#include "server/js/js_directory.h"
#include "server/js/js_error.h"
#include "server/js/js_resources.h"
#include "server/js/metadata.h"
#include "server/js/request_shapes.h"
#include "server/js/stream_config.h"
#include "server/js/zones.h"
#include "store/store.h"

#include <stdatomic.h>

/* Kinds of store objects. */
enum { JS_KIND_CONSUMER = STORE_KIND_USER, JS_KIND_SOURCES, JS_KIND_MEMO };
/* Messages one consumer may deliver before the next one's turn: 64 KiB of 16-byte messages and
 * more. */
#define CONSUMER_TURN 1024u
/* Consumer states that nobody waits for are written this often. */
#define STATE_INTERVAL_NS 50000000u

struct consumer;
struct consumer_recount;
struct counters;
struct creation;
struct stream_batches;
struct stream_change;
struct stream_effects;
struct stream_expiry;
struct stream_load;
struct stream_schedules;
struct stream_republish;
struct stream;
struct transform;

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
    struct list parked;   /* worker 0: creations that wait for the end of a deletion */
    uint64_t births;      /* streams and consumers made here */
    bool overrun;         /* worker 0: the last request was one too many */
    bool stopping;
};

/* For subscribers of a deliver subject, in one account. */
struct consumer_watch {
    struct account *account;
    struct interest_watch *watch;
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
void js_close(struct js *js);
void js_details(struct js *js, const struct js_detail_options *o, struct buf *out);
void js_stats_of(const struct js *js, struct js_stats *out);

/* ---- recovery (js_recover.c) */

/* What the store calls a stream: "<stream>" in the default account, else "<account>/<stream>". */
void js_stored_name(const struct js *js, const char *stream, struct buf *out);
/* Attaches to what the store has recovered, in all accounts. */
void js_recover(struct jetstream *j);
void js_offline_free(struct js *js);
/* Why it is offline, or NULL. consumer empty = the stream. */
const char *js_offline_reason(struct js *js, struct str stream, struct str consumer);

/* ---- streams (stream.c, stream_ingest.c, stream_commit.c)
 * --------------------------------------------------------- */

struct held {
    struct list link;
    struct hold *hold;
    uint64_t last_seq; /* leaves when this is durable */
};

/* A rollup whose message is not durable yet. */
struct rollup {
    struct list link;
    uint64_t seq;
    size_t subject_len; /* 0 = the whole stream */
    char subject[];
};

/* Sequences to look at, whether a consumer still needs them; stream_sweep.c. */
struct sweep {
    struct list link; /* js->sweeps while there is something to do */
    struct seqset check;
    struct store_reader reader;
    bool open; /* reader is initialised */
};

struct stream {
    struct hmap_node node;
    struct js *js;
    struct stream_config config;
    int64_t created; /* unix ns */
    uint64_t birth;  /* tells it from another one that had its name */
    struct store_stream *store;
    store_object_id id;
    struct sink sink;
    struct interest_sub **interest;
    struct interest_sub *direct_interest[4]; /* DIRECT.GET.<s> and .<s>.>, also of the domain */
    size_t ndirect;
    struct sink direct;
    size_t ninterest;
    struct dedup dedup;
    char *ack_prefix; /* {"stream":"S","seq": */
    size_t ack_prefix_len;

    struct hold *open_hold; /* replies since the last commit began */
    bool open_depends;      /* ... which tell of something that is not durable */
    bool open_assigned;     /* ... which carry a sequence that is not durable */
    struct list held;       /* of commits in flight, oldest first */
    uint64_t assigned, durable;
    struct list rollups;
    int64_t last_ts; /* stream time: max(wall clock, this) */
    char *last_id;   /* Nats-Msg-Id of the last message, NULL = it had none */
    struct list dirty_link;

    struct list behind; /* questions that wait for what is on its way: api_catch_up.c */
    struct wheel_timer behind_timer;
    struct list waiting; /* requests that wait for its creation or its subjects: api_request.link */
    struct list consumers;       /* struct consumer by stream_link */
    struct hmap names;           /* the same by name */
    struct filter_index filters; /* of consumers that have some: owner is the consumer */
    size_t nconsumers, nfiltered;
    size_t nsourcing;                   /* of mirrors and sources: no limit counts them */
    size_t ndirect_consumers;           /* ... that are not listed either */
    uint64_t used;                      /* bytes that the resources know of */
    struct stream_load *load;           /* while the duplicate window is read back; else NULL */
    struct stream_index *index;         /* while somebody waits for its subjects; else NULL */
    struct list subject_waits;          /* those who wait for some of them; stream_index.c */
    struct stream_effects *effects;     /* while effects are read back; else NULL */
    struct stream_schedules *schedules; /* NULL: none was ever asked for */
    struct stream_expiry *expiry;       /* NULL: its messages have no times of their own */
    struct transform *transform;        /* of the subjects of what comes in; NULL = none */
    struct buf transformed;             /* the last one */
    bool plain;       /* nothing in its configuration asks for a look at what is */
    size_t plain_max; /* published without headers, but for its size: this */
    struct stream_republish *republish; /* NULL = none */
    struct list snapshots;              /* under way; snapshot.c */
    struct restore *restore;            /* it is being restored, and not there yet; restore.c */
    struct list upstreams; /* struct upstream: its mirror, or its sources; upstream.h */
    struct stream_positions *positions; /* of its sources, NULL = it has none */
    struct stream_memo *memo;           /* NULL = none yet */
    struct stream_batches *batches;     /* NULL = none yet */
    unsigned waits;                     /* what is published has to wait: stream_park.c */
    struct list parked;                 /* it waits here */
    uint64_t nparked, parked_bytes;
    struct counters *counters; /* NULL: it does not count */
    struct sweep sweep;
    struct list followers;      /* struct stream_follower */
    struct store_reader reader; /* for gets and for subjects of committed messages */
    bool failed;
    const char *fail_reason;
};

/* Tell those that follow it (stream_follow.h). */
void stream_followers_committed(struct stream *s);
void stream_followers_refused(struct stream *s);
void stream_followers_removed(struct stream *s);
void stream_followers_gone(struct stream *s);
struct api_request;
/* Its memo (stream_memo.h). */
void stream_memo_recover(struct stream *s, const struct store_object_view *v);
void stream_memo_free(struct stream *s);
/* Has all that the memo is to say been added, so that r may remove messages? False: r runs anew
 * when it has. */
bool stream_memo_is_written(struct stream *s, struct api_request *r);
struct stream *js_stream_find(struct js *js, struct str name);
/* Recovered or new: registers the sinks; interest is published by stream_publish_interest. */
struct stream *js_stream_new(struct js *js, const struct stream_config *config, int64_t created);
void js_stream_free(struct stream *s);
/* Says so of a stream whose acknowledgements promise less than those of others. */
void stream_log_async(const struct stream *s);
/* Once s->store is set. */
void stream_reader_init(struct stream *s);
void stream_publish_interest(struct stream *s);
void stream_withdraw_interest(struct stream *s);
/* Tells who watches streams of what it is now. */
void stream_tell(const struct stream *s);
/* Before `next` becomes its configuration. What both have stays as it is, so that a message that is
 * published meanwhile, on any worker, is neither lost nor stored twice. */
void stream_change_interest(struct stream *s, const struct stream_config *next);
extern const struct store_stream_ops stream_store_ops;
extern const struct sink_ops stream_sink_ops;
extern const struct sink_ops direct_sink_ops;
/* [first, last] have become visible: tells the consumers. */
void stream_announce(struct stream *s, uint64_t first, uint64_t last);
/* Lets replies go that wait for nothing any more. */
void stream_settle(struct stream *s);
void stream_limits(const struct stream_config *c, struct store_limits *out);
/* Its bytes may have changed: tells the resources. */
void stream_count_usage(struct stream *s);
/* Its configuration has changed, and what stream_subjects_configure makes of it. */
void stream_ingest_configure(struct stream *s);
/* One published message: checked, stored, answered. False: something has to be read first, and a
 * wait has begun; it is to be parked. */
bool stream_take(struct stream *s, const struct msg *m);
/* What is behind the last sequence, through `last`, will never be there. false: the store can not.
 */
bool stream_skip_to(struct stream *s, uint64_t last);
/* Messages that wait (stream_park.c): until stream_go_on was called as often as stream_hold_up.
 * stream_park: false when there is no room for another one. */
void stream_hold_up(struct stream *s);
void stream_go_on(struct stream *s);
bool stream_park(struct stream *s, const struct msg *m);
void stream_park_free(struct stream *s);
/* The duplicate window of a recovered stream (stream_load.c): reads it back; meanwhile messages
 * wait. */
void stream_load_start(struct stream *s);
void stream_load_free(struct stream *s);
/* Its subjects, which the store may read after a start (stream_index.c). True: they are not known
 * yet, and stream_effects_go_on, stream_expiry_go_on and the requests in s->waiting follow when
 * they are. */
bool stream_index_waits(struct stream *s);
/* The same; what is published waits, too. */
bool stream_index_holds(struct stream *s);
/* True: some of these subjects are not known yet, and the requests in s->waiting follow when they
 * are; what is published waits, too. */
bool stream_subjects_wait(struct stream *s, const struct str *subjects, unsigned n);
bool stream_subject_holds(struct stream *s, struct str subject);
/* Of a recovered stream: if what is published needs them, it waits. */
void stream_index_start(struct stream *s);
void stream_index_free(struct stream *s);
/* Its subject_transform and republish are new or others (stream_republish.c). */
void stream_subjects_configure(struct stream *s);
void stream_subjects_free(struct stream *s);
/* Batches of messages (batches.h). */
void stream_batches_configure(struct stream *s);
void stream_batches_free(struct stream *s);
void stream_batches_committed(struct stream *s);
void stream_batches_forget(struct stream *s);
/* m with the subject it is stored under: m itself, or *to, which lives until the next call. */
const struct msg *stream_transform(struct stream *s, const struct msg *m, struct msg *to);
/* A message was appended. last: what stream_republish_last said before that. */
uint64_t stream_republish_last(struct stream *s, struct str subject);
void stream_republish_note(struct stream *s, struct str subject, uint64_t seq, uint64_t last);
/* Sends those that are durable; forgets those that will not be. */
void stream_republish_committed(struct stream *s);
void stream_republish_forget(struct stream *s);
/* Messages of an interest stream that nobody needs any more (stream_sweep.c). */
void stream_sweep_init(struct stream *s);
void stream_sweep_free(struct stream *s);
/* [first, last] may not be needed any more; looked at in slices. */
void stream_recheck(struct stream *s, uint64_t first, uint64_t last);
/* A consumer has gone or wants less. */
void stream_interest_lost(struct stream *s);
/* One slice. */
void stream_sweep(struct stream *s);
/* What messages of a recovered stream bring about later (stream_effects.c): reads them back. */
void stream_effects_start(struct stream *s);
/* Something that they wait for is known. */
void stream_effects_go_on(struct stream *s);
void stream_expiry_go_on(struct stream *s);
bool stream_effects_loading(const struct stream *s);
void stream_effects_free(struct stream *s);
void stream_effects_step(struct list *link);
/* Schedules (stream_schedule.c). */
void stream_schedules_free(struct stream *s);
void stream_schedules_committed(struct stream *s);
void stream_schedules_removed(struct stream *s, uint64_t first, uint64_t last);
/* What is assigned and not durable will never be. */
void stream_schedules_forget(struct stream *s);
void stream_schedules_step(struct list *link);
/* A message that a start has read back; false: again when w is ready. */
bool stream_schedules_recover(struct stream *s, const struct store_msg *m, struct zone_wait *w);
/* That was the last one. */
void stream_schedules_recovered(struct stream *s);
/* Counters (stream_counter.c): what is assigned and not durable will never be. */
void stream_counters_forget(struct stream *s);
void stream_counters_free(struct stream *s);
/* Messages that go at their time (stream_expire.c). Does the stream keep such times, and do max_age
 * itself? */
bool stream_expires(const struct stream_config *c);
/* Its configuration is new or another one. */
void stream_expiry_configure(struct stream *s);
void stream_expiry_free(struct stream *s);
/* seq has a TTL (msg_ttl.h), counted from ts. */
void stream_expiry_note(struct stream *s, uint64_t seq, int64_t ts, int64_t seconds);
void stream_expiry_removed(struct stream *s, uint64_t first, uint64_t last);
void stream_expiry_committed(struct stream *s);
/* What is assigned and not durable will never be. */
void stream_expiry_forget(struct stream *s);
void stream_expire(struct list *link);
/* The blob that the stream's store object keeps. */
void js_stream_render(const struct stream *s, struct buf *out);
bool js_stream_parse(struct str blob, struct stream_config *config, int64_t *created);
/* A consumer is done with [first, last]: removes what retention does not keep any more. */
void stream_acked(struct stream *s, struct consumer *by, uint64_t first, uint64_t last);
/* "config":{...},"created":...,"state":{...},... of a stream info, without braces. */
enum info_kind {
    INFO_LISTED,  /* in a list: stored metadata, no cluster */
    INFO_CREATED, /* answer to a create or a restore: no cluster, no domain */
    INFO_CHANGED, /* answer to an update: no cluster */
    INFO_ASKED,
};
struct info_options {
    enum info_kind kind;
    bool deleted_details;
    const char *subjects_filter;
    uint64_t offset;
    uint64_t *matched; /* set to the number of subjects the filter selects, from all pages */
};
void stream_info(struct stream *s, const struct info_options *o, struct buf *out);
/* A hash of when it was made, which tells it from another one that had its name. */
void stream_identity(const struct stream *s, char out[SOURCE_HASH_LEN + 1]);
void stream_state_json(struct stream *s, const struct info_options *o, struct buf *out);

/* ---- consumers (consumer.c, consumer_deliver.c, consumer_ack.c)
 * ----------------------------------- */

struct consumer {
    struct js *js;
    struct stream *stream;
    struct list stream_link;
    struct hmap_node name_node;
    struct filter_entry *entries; /* in the stream's index, as many as filters */
    uint64_t announced;           /* the last message that it was told of by that index */
    struct list ready_link, unsaved_link;
    struct consumer_config config;
    char *name;
    int64_t created;
    uint64_t birth; /* tells it from another one that had its name */
    store_object_id id;
    struct consumer_core core;
    struct sink sink;
    struct store_reader reader;
    struct store_reader again; /* for redeliveries and last-per-subject */
    struct str *filters;       /* views into config */
    unsigned nfilters;

    char *ack_prefix; /* $JS.ACK.<stream>.<consumer>. */
    size_t ack_prefix_len;
    char *fc_prefix;      /* $JS.FC.<stream>.<consumer>. */
    struct chunk *pinned; /* batch whose bytes the router may still hold */

    uint64_t *last_seqs; /* deliver last per subject: sequences still to go, ascending */
    size_t nlast, last_pos;
    uint64_t last_resume;             /* where ordinary delivery goes on */
    struct consumer_listing *listing; /* the list is being made, or NULL */
    bool last_again;                  /* a start found that it was */
    struct consumer_recount *recount; /* a count under way, or NULL */
    bool gap;                         /* it came past messages that had gone */
    struct creation *creation;        /* not durable yet; who else asks for it waits there */

    /* push */
    bool interested;
    struct consumer_watch *watches; /* of a push consumer; consumer_push.c */
    unsigned nwatches, nheard;
    struct watch_ctx *watch_ctx;
    struct wheel_timer heartbeat, inactive, retry, resume;
    int64_t last_delivery, last_ack; /* unix ns */
    int64_t pinned_at;               /* unix ns, while core.pin is set */
    uint64_t last_pushed;            /* monotonic */
    /* flow control: bytes in the client's hands and the window for them */
    uint64_t fc_window, fc_bytes, fc_asked_bytes;
    char fc_reply[8]; /* last token of the outstanding request, "" = none */

    struct hold *ack_hold;  /* double acks waiting for the next save */
    uint64_t last_active;   /* monotonic: for the inactive threshold */
    uint64_t last_cleaning; /* monotonic: of the waiting pulls */
    struct consumer_pace pace;
    unsigned sampling; /* of 100 acknowledgements; 0 = none */
    bool stalled;
    bool deleted;
};

struct consumer *stream_consumer(struct stream *s, struct str name);
extern const struct sink_ops consumer_sink_ops;
/* Makes the object in memory; not started. */
struct consumer *consumer_new(struct stream *s, const struct consumer_config *config,
                              const char *name, int64_t created);
/* Tells the store how to render the recovered object c->id anew. */
void consumer_attach(struct consumer *c);
/* After the core has its state: registers, publishes the name, watches interest. */
void consumer_start(struct consumer *c);
void consumer_free(struct consumer *c);
/* Deletes it durably; ends pulls with the status. */
void consumer_delete(struct consumer *c, enum consumer_status status, struct store_req *req);
void consumer_set_config(struct consumer *c, const struct consumer_config *config);
/* Delivers from this sequence on as if it were new. Durable with the next consumer_rewrite. */
void consumer_reset(struct consumer *c, uint64_t seq);
void consumer_wake(struct consumer *c);
/* Delivers up to CONSUMER_TURN messages; true when there is more. */
bool consumer_pump(struct consumer *c);
void consumer_run_effects(struct consumer *c);
void consumer_touch(struct consumer *c);
/* Is it before pause_until? Then nothing is delivered. */
bool consumer_paused(const struct consumer *c);
/* Ends waiting pulls whose receiver has gone. */
void consumer_prune_pulls(struct consumer *c);
/* A receiver is nearly full: pauses this consumer for a moment. */
void consumer_stall(struct consumer *c);
/* Nothing more is to be sent before this moment (monotonic). */
void consumer_hold(struct consumer *c, uint64_t until);
void consumer_start_push(struct consumer *c);
void consumer_stop_push(struct consumer *c);
void consumer_pushed(struct consumer *c, uint64_t size);
/* consumer_subjects.c: the prefixes of acknowledgements and flow control. */
void consumer_subjects_init(struct consumer *c);
void consumer_subjects_free(struct consumer *c);
struct str consumer_flow_tail(struct str tail);
void consumer_send_heartbeat(struct consumer *c, struct str to);
void consumer_save_later(struct consumer *c);
/* Writes the state log now; double acks leave when it is durable. */
void consumer_save(struct consumer *c);
void consumer_take_ack(struct consumer *c, const struct msg *m);
void consumer_take_pull(struct consumer *c, struct str reply, struct str body);
void consumer_take_flow_reply(struct consumer *c, const struct msg *m);
void consumer_send_status(struct consumer *c, enum consumer_status status, struct str to,
                          const char *detail, int64_t left, int64_t bytes);
/* Fields without braces. */
void consumer_info(struct consumer *c, enum info_kind kind, struct buf *out);
/* Its object below the stream's; c->id is set. req may be NULL. */
void consumer_create_object(struct consumer *c, struct store_req *req);
/* Writes a full record; req (may be NULL) completes when it is durable. */
void consumer_rewrite(struct consumer *c, struct store_req *req);
/* A full record; what the state log still held is in it. */
void consumer_render(struct consumer *c, struct buf *out);
/* What a record holds; the views lie in the record. */
struct consumer_record {
    struct consumer_config config;
    char *name;
    int64_t created;
    struct str last; /* list of consumer_last.c */
    struct str state;
};
/* False, with the name when that can be read (else NULL), and nothing else to release. */
bool consumer_parse(struct str blob, struct consumer_record *out);
/* Counts num_pending anew (consumer_count.c), now or soon. */
void consumer_recount(struct consumer *c);
/* Messages appended for it and first deliveries, while a count is under way. */
void consumer_recount_note(struct consumer *c, uint64_t appended, uint64_t delivered);
void consumer_recount_free(struct consumer *c);
/* Deliver last per subject (consumer_last.c): makes the list, returns the first sequence; or begins
 * to make it. */
uint64_t consumer_last_start(struct consumer *c, uint64_t last);
/* It is being made, and how long it will be is not known: consumer_last_known follows. */
bool consumer_last_unknown(const struct consumer *c);
/* Messages of it that are still to go; 0 when that is not known. */
uint64_t consumer_last_left(const struct consumer *c);
/* After a start: goes on making it. */
void consumer_last_go_on(struct consumer *c);
void consumer_last_free(struct consumer *c);
/* consumer_create.c: the creation goes on. */
void consumer_last_known(struct consumer *c, enum err err);
/* Makes what has been checked; the answer leaves when it is durable, and has its info. */
void consumer_create(struct api_request *r, struct stream *s, const struct consumer_config *config,
                     const char *name);
/* New settings, which count at once; `answer` puts the fields of the answer, which leaves when they
 * are durable. */
void consumer_change(struct api_request *r, struct consumer *c,
                     const struct consumer_config *config,
                     void (*answer)(struct api_request *r, struct consumer *c));
/* A reset to seq: what is left of the list from there is delivered again. */
void consumer_last_reset(struct consumer *c, uint64_t seq);
/* The list's current sequence has been dealt with. */
void consumer_last_next(struct consumer *c);
void consumer_last_put(const struct consumer *c, struct buf *out);
/* Once the core stands where it was; false when malformed. */
bool consumer_last_take(struct consumer *c, struct str in);
void consumer_note_removed(struct consumer *c, uint64_t first, uint64_t last, bool purged);
/* A request has purged what matches the filter (empty = everything). */
void consumer_purged(struct consumer *c, struct str filter);
/* `n` messages it may deliver have been appended. */
void consumer_note_appended(struct consumer *c, uint64_t n);
bool consumer_matches(const struct consumer *c, struct str subject);
/* Does the consumer still need this sequence (interest retention)? */
bool consumer_needs(const struct consumer *c, uint64_t seq, struct str subject);

/* ---- API (api*.c)
 * ---------------------------------------------------------------------------------- */

#define API_TOKENS 4
/* Subjects in one stream info. */
#define SUBJECTS_PAGE 100000u

/* One request on its way; lives until it was answered. It may move between workers (api_go_to):
 * then it is worked on there. */
struct api_request {
    struct env_task task;
    struct account *account;   /* whose */
    struct js *js;             /* where it is being worked on */
    uint64_t behind;           /* the message that it has waited for; 0 = none */
    uint64_t patience;         /* no wait for a sync begins from then on; 0 = there was none */
    struct list link;          /* js->requests */
    struct js_server *counted; /* there; NULL = nowhere */
    char *subject, *reply;
    struct buf body;
    struct buf header;
    handle client;  /* who asks, on a worker that is known at the beginning */
    struct buf who; /* that, as JSON, when somebody wants to know */
    const struct api_handler *handler;
    struct str tokens[API_TOKENS]; /* what the handler's wildcards matched: views into subject */
    unsigned ntokens;
    struct buf out;               /* fields of the answer, each preceded by a comma */
    struct buf out_header;        /* of the answer; mostly empty */
    struct buf extra;             /* scratch of handlers: a second part of the answer */
    struct js_error error;        /* the answer instead, where it is given later (api_release) */
    struct stream_change *change; /* of a create or update; freed with the request */
    uint64_t sum[8];              /* scratch of handlers that visit all workers */
    uint64_t offset;              /* of a list */
    struct str_list names;
    size_t at; /* scratch */
};

struct api_handler {
    const char *subject; /* behind $JS.API., with * and a last > */
    const char *type;    /* io.nats.jetstream.api.v1.<type>_response */
    bool registrar;      /* runs on worker 0; else on the worker of the stream in tokens[0] */
    void (*run)(struct api_request *r);
    const char *failed; /* fields that answers have also when they are errors, or NULL */
};

extern const struct sink_ops api_sink_ops;
void api_listen(struct js *js);
void api_stop(struct js *js);
void api_request_free(struct api_request *r);
/* Answers with the collected fields, or with an error; frees the request. */
void api_reply(struct api_request *r);
void api_error(struct api_request *r, const struct js_error *err);
void api_error_kind(struct api_request *r, enum js_error_kind kind);
/* Goes on with `run` on another worker (or here, later). */
void api_go_to(struct api_request *r, uint32_t worker,
               void (*run)(struct env_task *task, struct env *env));
/* What a posted request begins with: NULL when JetStream is ending here, and the request was freed.
 */
struct api_request *api_request_of(struct env_task *task, struct env *env);
/* A stream that is not durable yet is not spoken of: true, and `run` will be called when it is, or
 * has failed. */
/* A request that asks for subjects which are not known yet runs again when they are. */
bool api_waits_for_index(struct api_request *r, struct stream *s);
bool api_waits_for_subjects(struct api_request *r, struct stream *s, const struct str *subjects,
                            unsigned n);
bool api_waits_for_stream(struct api_request *r, struct stream *s,
                          void (*run)(struct env_task *task, struct env *env));
/* The stream exists durably, or never will: requests that waited for that run again. */
void api_created(struct stream *s);
/* Runs the handler of a request that was posted, on the worker of its stream. */
void api_run_here(struct env_task *task, struct env *env);
/* api_catch_up.c: as api_stream; NULL also when the request has to wait, and comes again. */
struct stream *api_stream_caught_up(struct api_request *r);
/* Does it have to wait for what is on its way to this stream? Then `run` comes in due time. Once,
 * unless `behind` is set back to 0. */
bool api_waits_for_sync(struct api_request *r, struct stream *s,
                        void (*run)(struct env_task *task, struct env *env));
void stream_behind_init(struct stream *s);
/* More is durable, or nothing is on its way any more. */
void stream_caught_up(struct stream *s);
void stream_behind_end(struct stream *s);
/* Is the stream in tokens[0], or that consumer of it, offline? Then it has been answered. */
bool api_is_offline(struct api_request *r, struct str consumer);
/* The configuration that a create or update carries. */
void api_change_free(struct stream_change *ch);
/* Ends the claims of the stream in tokens[0] on worker 0 and answers there: with r->error, or with
 * the collected fields. Creations that waited for that begin. */
void api_release(struct api_request *r);
/* The stream in tokens[0], or NULL after having answered 10059, or 10194 when it is offline. */
struct stream *api_stream(struct api_request *r);
/* The consumer in tokens[1], or NULL: answered, or to be run again (api_waits_for_consumer). */
struct consumer *api_consumer(struct api_request *r, struct stream *s);
/* A consumer that is not durable yet is not spoken of: the request runs again when it is, or has
 * failed. */
bool api_waits_for_consumer(struct api_request *r, struct consumer *c);
/* Its info, as fields behind others. */
void api_put_consumer(struct api_request *r, struct consumer *c);
/* True when the body is empty; else answers 10038. */
bool api_expect_empty(struct api_request *r);
/* The body as a JSON object into out by the table; empty bodies leave it alone. Answers 10025 and
 * returns false otherwise. */
bool api_read_body(struct api_request *r, const struct json_shape *shape,
                   const struct json_field *fields, size_t n, void *out);
/* ... and unknown fields are nothing, whatever the configuration says. */
bool api_read_body_lax(struct api_request *r, const struct json_shape *shape,
                       const struct json_field *fields, size_t n, void *out);
/* The same for requests that may do without: a body that is no JSON object or array is ignored. */
bool api_read_options(struct api_request *r, const struct json_shape *shape,
                      const struct json_field *fields, size_t n, void *out);
/* Are the values in the body of the right kinds? A text in err else; an empty body is right. */
bool api_check_kinds(struct api_request *r, const struct json_shape *shape, struct js_error *err);
/* Does the header ask for no higher API level than ours? */
bool api_level_ok(struct str header);
/* What is left when the worker ends. */
void direct_free_all(struct js *js);
/* Nothing, or an object without members? */
bool api_body_empty(const struct api_request *r);
/* {"offset":N} of lists. */
bool api_read_offset(struct api_request *r);

/* Worker 0: what other streams' rules may ask of this configuration. */
void api_describe(struct js *js, const struct stream_config *config);
/* Worker 0: the rules that need other streams; may set config->mirror_direct. */
bool api_check_origins(struct js *js, struct stream_config *config, struct js_error *err);
/* Worker 0: a name or subjects are free: creations that waited for that begin. */
void api_retry_parked(struct js *js);
/* A stream like this, new in the store: s->store is set when it is ERR_OK. It exists when req
 * completes. */
enum err api_make_stream(struct stream *s, struct store_req *req);
enum js_error_kind api_no_room(const struct stream_config *c);
/* The stream's name in the subject, before its configuration is looked at. */
bool api_check_separators(const struct api_request *r, struct js_error *err);
/* Worker 0: may the account have one more stream, and this one? */
bool api_fits_account(const struct js *js, const struct stream_config *c, struct js_error *err);
/* What is asked inside of the server, of this account on this worker; nobody hears the answer. */
void api_ask_inside(struct js *js, struct str subject);

void api_info(struct api_request *r);
/* Of the system account. */
void api_account_purge(struct api_request *r);
void api_stream_create(struct api_request *r);
void api_stream_update(struct api_request *r);
void api_stream_names(struct api_request *r);
void api_stream_list(struct api_request *r);
void api_stream_info(struct api_request *r);
void api_stream_delete(struct api_request *r);
void api_stream_purge(struct api_request *r);
void api_msg_get(struct api_request *r);
void api_msg_delete(struct api_request *r);
void api_consumer_create(struct api_request *r);
void api_consumer_create_named(struct api_request *r);
void api_consumer_create_durable(struct api_request *r);
void api_consumer_names(struct api_request *r);
void api_consumer_list(struct api_request *r);
void api_consumer_info(struct api_request *r);
void api_consumer_delete(struct api_request *r);
void api_consumer_pause(struct api_request *r);
void api_consumer_unpin(struct api_request *r);
void api_consumer_reset(struct api_request *r);
void api_stream_snapshot(struct api_request *r);
void api_stream_restore(struct api_request *r);
void api_needs_cluster(struct api_request *r);

/* "$JS.<domain>.API."; false when the server has no domain. */
bool js_domain_prefix(const struct js *js, char *out, size_t cap);
/* Behind "$JS.API." or "$JS.<domain>.API.", or p == NULL. */
struct str api_tail(const struct js *js, struct str subject);
/* ---- advisories (advisory.c)
 * -------------------------------------------------------------------- */

/* Told when it is durable; deletions of consumers when they are carried out. */
enum advice { ADVISE_CREATED, ADVISE_UPDATED, ADVISE_DELETED };
void advise_stream(struct js *js, enum advice what, struct str name);
void advise_consumer(struct consumer *c, enum advice what); /* not ADVISE_UPDATED */
/* An atomic batch has ended without a commit: timeout, large, incomplete, unsupported. */
void advise_batch_abandoned(struct stream *s, struct str id, const char *reason);
/* The pause has begun, changed or ended. */
void advise_pause(struct consumer *c);
void advise_max_deliveries(struct consumer *c, uint64_t seq, uint64_t deliveries);
struct ack_info;
void advise_nak(struct consumer *c, const struct ack_info *info);
void advise_terminated(struct consumer *c, const struct ack_info *info, struct str reason);
/* A metric: ack_time_ns from the last delivery to the acknowledgement. */
void advise_acked(struct consumer *c, const struct ack_info *info, uint64_t ack_time_ns);
/* The audit: a request was answered so. */
struct api_request;
void advise_api(const struct api_request *r, struct str response);
/* Requests were not even looked at, because too many are under way. */
void advise_api_limit(struct js *js, unsigned dropped);
void advise_pinned(struct consumer *c, const char *group, const char *id);
void advise_unpinned(struct consumer *c, const char *group, bool by_request);

void advise_snapshot_create(struct stream *s, struct str who);
/* start: unix ns; error NULL = it is complete. */
void advise_snapshot_complete(struct stream *s, struct str who, int64_t start, const char *error);
void advise_restore_create(struct stream *s, struct str who);
void advise_restore_complete(struct stream *s, struct str who, int64_t start, uint64_t bytes);

/* Sends one message as the server. */
void js_publish(struct js *js, struct str subject, struct str reply, struct str header,
                struct str payload);
/* The resolver of "$JS." subjects. */
bool js_resolve(struct js *js, struct str subject, struct route_target *out);

#endif
