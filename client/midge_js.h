/*
 * midge_js.h - JetStream: managing streams and consumers, publishing into streams, reading from
 * them.
 *
 * Waiting calls wait for midge_options.timeout_ms and return MIDGE_OK; MIDGE_NOT_FOUND,
 * MIDGE_CONFLICT or MIDGE_REFUSED when the server answers with an error (midge_error,
 * midge_error_code); MIDGE_NO_RESPONDERS when it has no JetStream; MIDGE_TIMEOUT, MIDGE_LOST,
 * MIDGE_CLOSED; MIDGE_INVALID for arguments that can not be meant, and inside of a callback.
 *
 * Configurations are structs whose zero values mean the server's defaults. Their texts are the
 * caller's and only read. What is nested deeper than a list is JSON text, as the API has it. What
 * an _info function fills in is the caller's and is released by the _info_free of its kind, also
 * after errors (it is zeroed first).
 */
#ifndef MIDGE_JS_H
#define MIDGE_JS_H

#include "midge.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One API request: subject behind "$JS.API.", JSON body (NULL = none). The JSON answer is in
 * *answer (NUL-terminated, free with midge_free; may be NULL), also when it is an error. */
int midge_js_api(struct midge *m, const char *subject, const char *json, int timeout_ms,
                 char **answer);

/* ---- configurations -------------------------------------------------------------------------- */

struct midge_texts {
    const char *const *items;
    size_t n;
};
/* .subjects = MIDGE_TEXTS("a", "b.>") */
#define MIDGE_TEXTS(...)                                                                           \
    {                                                                                              \
        (const char *const[]){__VA_ARGS__},                                                        \
            sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)                      \
    }
struct midge_numbers {
    const int64_t *items;
    size_t n;
};

enum midge_retention { MIDGE_LIMITS, MIDGE_INTEREST, MIDGE_WORKQUEUE };
enum midge_discard { MIDGE_DISCARD_OLD, MIDGE_DISCARD_NEW };
enum midge_storage { MIDGE_FILE, MIDGE_MEMORY };
enum midge_compression { MIDGE_UNCOMPRESSED, MIDGE_S2 };

struct midge_stream_config {
    const char *name, *description;
    struct midge_texts subjects; /* none: the name */
    int retention;               /* enum midge_retention */
    int discard;                 /* enum midge_discard */
    int storage;                 /* enum midge_storage */
    int compression;             /* enum midge_compression */
    int persist_mode;            /* 1: acknowledge before it is durable */
    int64_t max_consumers, max_msgs, max_bytes, max_msgs_per_subject, max_msg_size; /* 0 = any */
    int64_t max_age, duplicate_window, subject_delete_marker_ttl;                   /* ns */
    int64_t num_replicas;
    uint64_t first_seq;
    bool no_ack, discard_new_per_subject, sealed, deny_delete, deny_purge, allow_rollup_hdrs;
    bool allow_direct, mirror_direct, allow_msg_ttl, allow_msg_counter, allow_atomic;
    bool allow_msg_schedules, allow_batched;
    /* JSON: {"cluster":..}, {"name":..}, [{"name":..}], {"src":..,"dest":..}, the same,
     * {"inactive_threshold":..}, {"key":"value"} */
    const char *placement, *mirror, *sources, *subject_transform, *republish, *consumer_limits;
    const char *metadata;
};

struct midge_stream_info {
    struct midge_stream_config config;
    int64_t created;
    uint64_t messages, bytes, first_seq, last_seq, num_subjects, num_deleted, consumers;
    int64_t first_time, last_time;
};
void midge_stream_info_free(struct midge_stream_info *info);

enum midge_deliver {
    MIDGE_DELIVER_ALL,
    MIDGE_DELIVER_LAST,
    MIDGE_DELIVER_NEW,
    MIDGE_DELIVER_FROM_SEQ,
    MIDGE_DELIVER_FROM_TIME,
    MIDGE_DELIVER_LAST_PER_SUBJECT,
};
enum midge_ack_policy { MIDGE_ACK_EXPLICIT, MIDGE_ACK_ALL, MIDGE_ACK_NONE, MIDGE_ACK_FLOW };

struct midge_consumer_config {
    const char *name, *durable_name, *description; /* durable_name: the name of one that stays */
    int deliver_policy;                            /* enum midge_deliver */
    int ack_policy;                                /* enum midge_ack_policy */
    int replay_original;                           /* 1: at the pace at which they came */
    int priority_policy; /* 0 none, 1 overflow, 2 pinned_client, 3 prioritized */
    uint64_t start_seq;
    int64_t start_time;
    int64_t ack_wait, inactive_threshold, idle_heartbeat, max_expires, priority_timeout; /* ns */
    int64_t max_deliver, max_waiting, max_ack_pending, max_batch, max_bytes, rate_limit_bps;
    int64_t num_replicas;
    int64_t pause_until;
    struct midge_numbers backoff; /* ns */
    const char *filter_subject;
    struct midge_texts filter_subjects;
    const char *sample_freq, *deliver_subject, *deliver_group;
    bool flow_control, headers_only, mem_storage;
    struct midge_texts priority_groups;
    const char *metadata; /* JSON */
};

struct midge_consumer_info {
    struct midge_consumer_config config;
    const char *stream, *name;
    int64_t created;
    uint64_t delivered_stream_seq, delivered_consumer_seq; /* the last that was delivered */
    uint64_t floor_stream_seq, floor_consumer_seq;         /* all up to it are acknowledged */
    uint64_t num_ack_pending, num_redelivered, num_waiting, num_pending;
    bool push_bound, paused;
    int64_t pause_remaining; /* ns */
};
void midge_consumer_info_free(struct midge_consumer_info *info);

/* ---- streams --------------------------------------------------------------------------------- */

/* info may be NULL where a function fills one in. Creating what is there alike is no error. */
int midge_stream_create(struct midge *m, const struct midge_stream_config *config,
                        struct midge_stream_info *info);
int midge_stream_update(struct midge *m, const struct midge_stream_config *config,
                        struct midge_stream_info *info);
int midge_stream_info(struct midge *m, const char *stream, struct midge_stream_info *info);
int midge_stream_delete(struct midge *m, const char *stream);

/* What to purge; all zero = everything. seq and keep exclude each other. */
struct midge_purge {
    const char *filter;
    uint64_t seq;  /* messages before this one */
    uint64_t keep; /* all but so many of the last */
};
/* what and purged may be NULL. */
int midge_stream_purge(struct midge *m, const char *stream, const struct midge_purge *what,
                       uint64_t *purged);

/* Lists, page after page; each is called from inside. filter: a subject that the stream must have,
 * NULL = all. */
typedef void (*midge_on_name)(void *ctx, const char *name);
typedef void (*midge_on_stream)(void *ctx, const struct midge_stream_info *info);
typedef void (*midge_on_subject)(void *ctx, const char *subject, uint64_t messages);
int midge_stream_names(struct midge *m, const char *filter, midge_on_name each, void *ctx);
int midge_stream_list(struct midge *m, const char *filter, midge_on_stream each, void *ctx);
/* The subjects that the stream holds, with their messages. */
int midge_stream_subjects(struct midge *m, const char *stream, const char *filter,
                          midge_on_subject each, void *ctx);

struct midge_account_info {
    uint64_t memory, storage, streams, consumers, api_total, api_errors; /* bytes; numbers */
};
int midge_account_info(struct midge *m, struct midge_account_info *info);

/* ---- consumers ------------------------------------------------------------------------------- */

/* create: an equal one is no error, another configuration is (10148). update: it must exist.
 * Without a name in the configuration the server makes one, see info. */
int midge_consumer_create(struct midge *m, const char *stream,
                          const struct midge_consumer_config *config,
                          struct midge_consumer_info *info);
int midge_consumer_update(struct midge *m, const char *stream,
                          const struct midge_consumer_config *config,
                          struct midge_consumer_info *info);
int midge_consumer_info(struct midge *m, const char *stream, const char *consumer,
                        struct midge_consumer_info *info);
int midge_consumer_delete(struct midge *m, const char *stream, const char *consumer);
/* Delivers nothing until then. 0: goes on now. */
int midge_consumer_pause(struct midge *m, const char *stream, const char *consumer, int64_t until);
/* Starts again at this sequence; 0 = behind what is acknowledged. */
int midge_consumer_reset(struct midge *m, const char *stream, const char *consumer, uint64_t seq);
/* Takes the pin off a group's client. */
int midge_consumer_unpin(struct midge *m, const char *stream, const char *consumer,
                         const char *group);
typedef void (*midge_on_consumer)(void *ctx, const struct midge_consumer_info *info);
int midge_consumer_names(struct midge *m, const char *stream, midge_on_name each, void *ctx);
int midge_consumer_list(struct midge *m, const char *stream, midge_on_consumer each, void *ctx);

/* ---- messages of a stream -------------------------------------------------------------------- */

struct midge_stored {
    struct midge_text subject, header, payload;
    uint64_t seq;
    int64_t time_ns;
    uint64_t pending; /* batches: how many follow */
};
typedef void (*midge_on_stored)(void *ctx, const struct midge_stored *stored);

/* Which messages: the one with seq, or the last of a subject, or the next of a subject pattern from
 * seq or start_time on; or `batch` of those; or the last of each of several subjects. */
struct midge_get {
    uint64_t seq;
    const char *last_of, *next_of;
    int64_t start_time;
    uint64_t batch, max_bytes;
    struct midge_texts last_of_each;
    uint64_t up_to_seq; /* last_of_each: as of then */
    int64_t up_to_time;
    bool no_headers;
};
/* Direct get: fast, from streams that allow it (MIDGE_NO_RESPONDERS from others). A batch calls
 * on_stored for each message, MIDGE_OK also when there was none. */
int midge_get(struct midge *m, const char *stream, const struct midge_get *what,
              midge_on_stored on_stored, void *ctx);
/* One message by the API, from every stream: seq, last_of or next_of. */
int midge_msg_get(struct midge *m, const char *stream, const struct midge_get *what,
                  midge_on_stored on_stored, void *ctx);
/* keep_bytes: the message is gone but its bytes are not overwritten. */
int midge_msg_delete(struct midge *m, const char *stream, uint64_t seq, bool keep_bytes);

/* ---- publishing ------------------------------------------------------------------------------ */

/* Everything a publish can ask of the stream; zero = nothing. */
struct midge_publish_options {
    const char *msg_id; /* stored once within the duplicate window */
    const char *expect_stream, *expect_last_msg_id;
    bool expect_last, expect_last_of_subject; /* check these two, which may be 0 */
    uint64_t last_seq, last_seq_of_subject;
    const char *last_subject; /* of which subject, when not the message's own */
    int64_t ttl;              /* ns, whole seconds; -1 = never */
    bool rollup_subject, rollup_all;
    const char *increment; /* counters: "+1", "-5" */
    const char *schedule;  /* "@at <RFC 3339>", "@every 5m", six cron fields, "@daily" ... */
    const char *schedule_target, *schedule_source, *schedule_time_zone;
    int64_t schedule_ttl; /* ns */
    bool schedule_rollup;
};
/* Adds the headers that say so. */
int midge_headers_publish(struct midge_headers *h, const struct midge_publish_options *o);

struct midge_puback {
    char stream[256];
    uint64_t seq;
    bool duplicate;
    char batch[68]; /* batches: id and number of messages */
    uint64_t batch_size;
    char value[80]; /* counters: what it is now */
};
/* Waits for the acknowledgement; tries again for half a second while nobody listens to the subject.
 * ack may be NULL. */
int midge_js_publish(struct midge *m, const struct midge_msg *msg, struct midge_puback *ack);

/* Asynchronous publishing with a window. */
struct midge_publisher;
struct midge_ack {
    uint64_t number; /* of the publish, from 0 */
    uint64_t stream_seq;
    bool duplicate;
    const char *error;   /* NULL, or the server's description; lives until the callback returns */
    unsigned error_code; /* of the server's error, 0 = none */
    int rc;              /* MIDGE_OK, MIDGE_REFUSED, MIDGE_NO_RESPONDERS, MIDGE_LOST */
    void *ctx;           /* given with the publish */
};
typedef void (*midge_on_ack)(void *ctx, const struct midge_ack *ack);
struct midge_publisher *midge_publisher_open(struct midge *m, unsigned window, midge_on_ack on_ack,
                                             void *ctx);
/* MIDGE_FULL when `window` publishes are unacknowledged, the output is full or the connection is
 * being made again: poll, then try again. */
int midge_publisher_send(struct midge_publisher *p, struct midge_text subject,
                         struct midge_text header, struct midge_text payload, void *ctx);
unsigned midge_publisher_pending(const struct midge_publisher *p);
/* Polls until everything sent is acknowledged or has failed. */
int midge_publisher_wait(struct midge_publisher *p, int timeout_ms);
void midge_publisher_close(struct midge_publisher *p);

/* ---- consuming ------------------------------------------------------------------------------- */

/* What a consumer delivers. */
struct midge_delivery {
    struct midge_msg msg; /* reply is the ack subject */
    uint64_t stream_seq, consumer_seq, delivered, pending;
    int64_t time_ns;
};
typedef void (*midge_on_delivery)(void *ctx, const struct midge_delivery *d);

struct midge_pull_options {
    unsigned batch;   /* messages on order; at least 1 */
    int expires_ms;   /* of one request; 30000 */
    int heartbeat_ms; /* the server shows that it is there; two missed: asked again; 0 = none */
    uint64_t max_bytes;
    bool no_wait;      /* midge_fetch: only what is there */
    const char *group; /* priority groups; a pin is kept by itself */
    uint64_t min_pending, min_ack_pending;
    int priority;
};

/* Pulls from an existing consumer: keeps requests out so that about `batch` messages are always on
 * order, also over reconnections. */
struct midge_pull;
struct midge_pull *midge_pull_open(struct midge *m, const char *stream, const char *consumer,
                                   unsigned batch, midge_on_delivery on_delivery, void *ctx);
struct midge_pull *midge_pull_start(struct midge *m, const char *stream, const char *consumer,
                                    const struct midge_pull_options *o,
                                    midge_on_delivery on_delivery, void *ctx);
/* NULL, or why nothing more will come: the consumer is gone or not of the pull kind. Lives as long
 * as p. */
const char *midge_pull_error(const struct midge_pull *p);
/* Not inside of its callback. */
void midge_pull_close(struct midge_pull *p);
/* One request: waits until `batch` messages have come or the request has ended, which is MIDGE_OK.
 * got may be NULL. */
int midge_fetch(struct midge *m, const char *stream, const char *consumer,
                const struct midge_pull_options *o, midge_on_delivery on_delivery, void *ctx,
                unsigned *got);

/* Receives from an existing push consumer at its deliver subject; answers flow control. */
struct midge_push;
struct midge_push *midge_push_open(struct midge *m, struct midge_text deliver_subject,
                                   struct midge_text group, midge_on_delivery on_delivery,
                                   void *ctx);
void midge_push_close(struct midge_push *p);

/* Acknowledges (fire and forget). Never MIDGE_FULL. Inside the callback or with a copied ack
 * subject. */
int midge_ack(struct midge *m, struct midge_text ack_subject);
/* Waits until the server has applied it. Not inside of a callback. */
int midge_ack_wait(struct midge *m, struct midge_text ack_subject);
/* Deliver it again, after delay_ns. */
int midge_nak(struct midge *m, struct midge_text ack_subject, int64_t delay_ns);
/* I am still at it. */
int midge_in_progress(struct midge *m, struct midge_text ack_subject);
/* Never deliver it again; reason may be NULL. */
int midge_term(struct midge *m, struct midge_text ack_subject, const char *reason);

/* ---- ordered consumer ------------------------------------------------------------------------ */

/*
 * Reads a stream in order and without gaps, and nothing is acknowledged. Behind it is a consumer
 * that the library makes, and makes again behind the last message delivered when one is missing,
 * when heartbeats stay away, and after a reconnection.
 */
struct midge_ordered_options {
    struct midge_texts filter_subjects; /* none = all */
    int deliver_policy;                 /* enum midge_deliver */
    uint64_t start_seq;
    int64_t start_time;
    bool headers_only, replay_original;
    int heartbeat_ms; /* 5000 */
    /* Each time the consumer was made: how many messages it has to deliver. May be NULL. */
    void (*on_start)(void *ctx, uint64_t pending);
    /* Nothing more will come, midge_ordered_error says why: the stream is gone. May be NULL. */
    void (*on_end)(void *ctx);
};
struct midge_ordered;
/* Does not wait. options may be NULL. */
struct midge_ordered *midge_ordered_open(struct midge *m, const char *stream,
                                         const struct midge_ordered_options *options,
                                         midge_on_delivery on_delivery, void *ctx);
/* NULL, or why it ended. Lives as long as o. */
const char *midge_ordered_error(const struct midge_ordered *o);
/* How often the consumer was made again. */
uint64_t midge_ordered_restarts(const struct midge_ordered *o);
/* Not inside of its callbacks. */
void midge_ordered_close(struct midge_ordered *o);

#ifdef __cplusplus
}
#endif

#endif
