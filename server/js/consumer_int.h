/*
 * consumer_int.h - a consumer as the files of server/js see it: its core, its readers, its sink for
 * acknowledgements and pulls, its durable record. On its stream's worker.
 */
#ifndef JS_CONSUMER_INT_H
#define JS_CONSUMER_INT_H

#include "server/js/consumer_config.h"
#include "server/js/consumer_core.h"
#include "server/js/consumer_pace.h"
#include "server/js/stream_int.h"

struct api_request;
struct consumer_listing;
struct consumer_recount;
struct creation;
struct watch_ctx;

/* Messages one consumer may deliver before the next one's turn: 64 KiB of 16-byte messages and
 * more. */
#define CONSUMER_TURN 1024u

/* For subscribers of a deliver subject, in one account. */
struct consumer_watch {
    struct account *account;
    struct interest_watch *watch;
};

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
/* consumer_admit.c: what consumer_config_check needs to know of this stream, its account and the
 * server. */
void consumer_bounds_of(const struct stream *s, bool pedantic, struct consumer_bounds *out);
/* May the stream have one more, and this one? */
bool consumer_admit(const struct stream *s, const struct consumer_config *config, const char *name,
                    struct js_error *err);
/* May one that it has get these filters? As the peer does it, it may lose them all. */
bool consumer_admit_update(const struct stream *s, const struct consumer_config *config,
                           const char *name, struct js_error *err);
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

#endif
