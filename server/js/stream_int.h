/*
 * stream_int.h - a stream as the files of server/js see it: on one worker, with its store stream,
 * its sink for what is published, the answers that wait for commits, and its consumers. What hangs
 * on a stream and has a file of its own (schedules, counters, batches ...) is in stream_parts.h.
 */
#ifndef JS_STREAM_INT_H
#define JS_STREAM_INT_H

#include "lib/base/filter_index.h"
#include "lib/base/header.h"
#include "lib/base/seqset.h"
#include "lib/base/subject.h"
#include "server/js/dedup.h"
#include "server/js/js_int.h"
#include "server/js/metadata.h"
#include "server/js/source_config.h"
#include "server/js/stream_config.h"

struct consumer;
struct counters;
struct restore;
struct stream_batches;
struct stream_effects;
struct stream_expiry;
struct stream_index;
struct stream_load;
struct stream_memo;
struct stream_positions;
struct stream_republish;
struct stream_schedules;
struct transform;

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

    struct list behind;      /* questions that wait for what is on its way: api_catch_up.c */
    struct list gets_behind; /* direct gets that do */
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

#endif
