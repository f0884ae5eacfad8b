/*
 * consumer_core.h - what one consumer decides, without doing any of it.
 *
 * Pure: plain data in, plain data out; time is handed in; timers live on a wheel that the driver
 * gives. The driver (consumer.c) reads messages, sends them, and tells the core what happened:
 *
 *     want()  -> NEW: read the next matching message | SEQ: read this one again | NOTHING
 *     deliver(seq, size) -> to whom, delivery count, consumer sequence, pending count   (or: nobody
 * can take it now) gone(seq), end(), appended(n), pull(request), ack(...), nak(...), term(...),
 * working(...)
 *
 * What must go out besides messages (statuses to pulls, advisories, acknowledged sequences for
 * retention) is collected as effects, which the driver takes after each event.
 *
 * Sequences. Every first delivery and every redelivery takes the next consumer sequence (dseq). A
 * pending entry keeps the dseq of its first delivery. The ack floor is the highest pair below which
 * nothing is pending.
 *
 * Durable state is event sourced: every change appends an operation to `log` (runs are merged:
 * delivering 500 consecutive messages is one operation); the driver writes the log as a delta and
 * clears it. consumer_state.h encodes full records and applies logs. What is not in it (waiting
 * pulls, nak delays, timers) is rebuilt: after a restart all pending messages are due after one ack
 * wait.
 */
#ifndef JS_CONSUMER_CORE_H
#define JS_CONSUMER_CORE_H

#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "lib/base/nuid.h"
#include "lib/base/seqset.h"
#include "lib/base/str.h"
#include "lib/base/wheel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ACK_FLOW_CONTROL: as ACK_ALL, by the answers to flow control requests; nothing is ever due again
 * by itself. The order of the texts in consumer_config.c. */
enum ack_policy { ACK_NONE, ACK_ALL, ACK_EXPLICIT, ACK_FLOW_CONTROL };
enum priority_policy {
    PRIORITY_NONE,
    PRIORITY_OVERFLOW,
    PRIORITY_PINNED_CLIENT,
    PRIORITY_PRIORITIZED
};
/* Longest name of a priority group. */
#define PRIORITY_GROUP_MAX 16u

struct consumer_rules {
    enum ack_policy ack_policy;
    int64_t ack_wait_ns;
    const int64_t *backoff_ns; /* per delivery attempt; the last one repeats; owned by the caller,
                                  outlives the core */
    unsigned nbackoff;
    int64_t max_deliver;     /* -1 = no limit */
    int64_t max_ack_pending; /* -1 = no limit */
    uint32_t max_waiting;
    int64_t max_batch; /* 0 = no limit, the next two too */
    int64_t max_expires_ns;
    int64_t max_bytes;
    bool push;
    enum priority_policy priority_policy;
    int64_t pin_ns;      /* a pin that nobody renews ends after this */
    char *const *groups; /* names; owned by the caller, outlive the core */
    unsigned ngroups;
};

/* ---- pending messages ------------------------------------------------------------------------ */

enum pend_state { PEND_WAITING, PEND_READY };

struct pend {
    uint64_t sseq, dseq;
    uint64_t deliveries; /* so far */
    uint64_t sent_at;    /* monotonic: of the last delivery, or of the restart since */
    struct consumer_core *core;
    struct list order; /* by sseq: entries are made in that order */
    struct list ready; /* on core->ready when due */
    struct wheel_timer due;
    enum pend_state state;
};

/* Open addressing by sseq; entries have stable addresses. */
struct pend_table {
    struct pend **slots;
    size_t mask;
    size_t count;
    struct list order;      /* oldest sseq first */
    struct pend *free_list; /* linked through order.next */
    struct pend **slabs;
    size_t nslabs;
};

/* ---- pulls ----------------------------------------------------------------------------------- */

struct pull_spec {
    int64_t batch;        /* >= 1 */
    int64_t max_bytes;    /* 0 = no limit */
    int64_t expires_ns;   /* 0 = none */
    int64_t heartbeat_ns; /* 0 = none */
    bool no_wait;
    bool too_late;        /* it had expired before it came */
    bool formal;          /* it was JSON: then the rest counts */
    struct str group, id; /* views; empty = not given */
    int64_t min_pending, min_ack_pending, priority;
};

struct pull {
    struct list link;
    struct consumer_core *core;
    int64_t left;       /* messages */
    int64_t bytes_left; /* when has_bytes */
    int64_t heartbeat_ns;
    uint64_t delivered;
    bool has_bytes, no_wait, expires;
    bool formal;
    uint8_t priority;
    int64_t min_pending, min_ack_pending;
    char group[PRIORITY_GROUP_MAX + 1];
    char id[NUID_LEN + 2]; /* one that is too long to be a pin is cut, and still none */
    struct wheel_timer expiry, heartbeat;
    uint32_t reply_len;
    char reply[]; /* the subject messages go to */
};

/* What a pull is told when it gets no message; consumer_status.def has texts and codes. */
enum consumer_status {
#define STATUS(name, code, text, pending) STATUS_##name,
#include "server/js/consumer_status.def"
#undef STATUS
    STATUS_COUNT
};

/* ---- effects --------------------------------------------------------------------------------- */

enum effect_kind {
    EFFECT_STATUS,         /* send status to `to`; left and bytes for the pending headers */
    EFFECT_HEARTBEAT,      /* idle heartbeat to `to` */
    EFFECT_ACKED,          /* [seq, last] need this consumer no more (acknowledged or terminated) */
    EFFECT_MAX_DELIVERIES, /* advisory: seq was delivered `count` times */
    EFFECT_PINNED,         /* advisory: core->pin.id is pinned for core->pin.group */
    EFFECT_UNPINNED,       /* advisory: `to` is the group, seq 1 = by an administrator */
};

struct consumer_effect {
    enum effect_kind kind;
    enum consumer_status status;
    uint64_t seq, last, count;
    int64_t left, bytes;
    char *to; /* owned by the effect, NULL for push (the deliver subject) */
};

/* ---- the core -------------------------------------------------------------------------------- */

struct seq_pair {
    uint64_t consumer, stream;
};

/* The pull client that all messages go to, of policy pinned_client; consumer_priority.c. */
struct pin {
    char id[NUID_LEN + 1]; /* "" = nobody */
    char group[PRIORITY_GROUP_MAX + 1];
    struct wheel_timer expiry;
    struct nuid *ids; /* of the driver; needed by that policy alone */
};

struct consumer_core {
    struct consumer_rules rules;
    struct wheel *wheel;
    void (*wake)(struct consumer_core *core); /* a timer made something deliverable or left effects
                                               */
    uint64_t now;                             /* of the last event; monotonic ns */

    struct seq_pair delivered;
    struct seq_pair floor;
    uint64_t next_seq;        /* first stream sequence not looked at yet */
    uint64_t num_pending;     /* matching messages at or behind next_seq */
    uint64_t num_redelivered; /* pending entries with more than one delivery */
    struct pend_table pending;
    struct seqset given_up; /* over max_deliver: not delivered again, and still not done with */
    struct list ready;      /* due for redelivery, in the order in which they became so */

    struct list pulls;
    uint32_t npulls;
    uint32_t nbytes;  /* of them with a limit of bytes */
    uint32_t quantum; /* messages the pull whose turn it is may still take before the next one's */
    struct pin pin;

    struct consumer_effect *effects;
    size_t neffects, effects_cap;

    struct buf log;  /* operations since the last clear; consumer_state.c */
    unsigned run_op; /* the run being gathered, not in the log yet */
    uint64_t run_first, run_count;
    uint64_t log_prev; /* sequence the next operation is encoded against */
};

void consumer_core_init(struct consumer_core *c, const struct consumer_rules *rules,
                        struct wheel *wheel, void (*wake)(struct consumer_core *));
void consumer_core_deinit(struct consumer_core *c);
/* Where a new consumer starts: the first sequence it may deliver. */
void consumer_core_start(struct consumer_core *c, uint64_t first_seq);
/* Goes back, or forward, to this sequence as if it were new there: nothing is pending any more,
 * consumer sequences begin at 1. Not logged: the driver writes a full record. */
void consumer_core_reset(struct consumer_core *c, uint64_t seq);
/* New rules of an update; pending timers keep their due times. */
void consumer_core_set_rules(struct consumer_core *c, const struct consumer_rules *rules);

/* --- delivering --- */

enum consumer_want { WANT_NOTHING, WANT_ACKS, WANT_NEW, WANT_SEQ };

/* What could be delivered now: to a waiting pull, or (push) at all. WANT_SEQ sets *seq. WANT_ACKS:
 * nothing new before something is acknowledged, though somebody waits. A
 * redelivery over max_deliver is dropped here, with its advisory. */
enum consumer_want consumer_core_want(struct consumer_core *c, uint64_t now, uint64_t *seq);

struct delivery {
    uint64_t dseq, deliveries, pending;
    struct pull *to; /* NULL for push; valid until the next event */
};

/* What consumer_core_deliver would say of this message, without `to`: its reply subject counts for
 * max_bytes. Changes nothing. */
void consumer_core_preview(const struct consumer_core *c, uint64_t seq, struct delivery *out);
/* Does the pull whose turn it is have a max_bytes? Else sizes do not matter. */
bool consumer_core_counts_bytes(const struct consumer_core *c);
/* The message is being delivered: `seq` of the stream, `size` as max_bytes counts it. False when
 * nobody takes it (the last pulls were closed by their max_bytes): then nothing has happened to
 * this message. After sending, call consumer_core_sent(c, d.to), which ends a pull that is
 * complete. */
bool consumer_core_deliver(struct consumer_core *c, uint64_t now, uint64_t seq, uint64_t size,
                           struct delivery *out);
void consumer_core_sent(struct consumer_core *c, struct pull *to);
/* Nobody was there: takes the delivery back; the pull it went to (by its reply subject; empty for
 * push) ends. */
void consumer_core_undeliverable(struct consumer_core *c, uint64_t now, uint64_t seq,
                                 struct str reply);
/* The message to be redelivered does not exist any more. */
void consumer_core_gone(struct consumer_core *c, uint64_t seq);
/* WANT_NEW found nothing up to the end of the stream: nothing is pending, pulls that do not wait
 * end. */
void consumer_core_end(struct consumer_core *c, uint64_t now);
/* Nothing can be delivered now, whatever there is: pulls that do not wait end. */
void consumer_core_stalled(struct consumer_core *c, uint64_t now);
/* `matching` more messages can be delivered. */
void consumer_core_appended(struct consumer_core *c, uint64_t matching);
/* Messages of [first, last] were removed from the stream; pending ones of them are dropped. The
 * driver sets num_pending. */
void consumer_core_removed(struct consumer_core *c, uint64_t first, uint64_t last);

/* The stream ends at `last`: it is of a level that may lose its end in a crash, and the sequences
 * behind are used again. Forgets what was said about them. True when there was something; the
 * driver then writes a full record. */
bool consumer_core_cut(struct consumer_core *c, uint64_t last);
/* A purge has left nothing for it below `next`: it stands there as if it had been delivered all of
 * that and had acknowledged it. What is still pending keeps the floor below itself. True when that
 * changes something; the driver then writes a full record. */
bool consumer_core_purged(struct consumer_core *c, uint64_t next);

/* --- pulls --- */

/* Queues the request or answers it with a status effect, by the rules of consumer_pull.c in their
 * order. available: messages that could be delivered now besides redeliveries. */
void consumer_core_pull(struct consumer_core *c, uint64_t now, const struct pull_spec *spec,
                        struct str reply);
/* An administrator ends the pin, if there is one. Always leaves an effect. */
void consumer_core_unpin(struct consumer_core *c, struct str group);
/* Ends every pull with this status (consumer deleted, server shutdown). */
void consumer_core_end_pulls(struct consumer_core *c, enum consumer_status status);
/* The pull whose turn it is, or NULL. */
struct pull *consumer_core_first_pull(const struct consumer_core *c);
/* Its receiver has gone: it ends without a status. */
void consumer_core_leave(struct pull *p);
/* Drops the pulls for whose reply keep() is false, without a status. */
void consumer_core_prune(struct consumer_core *c, bool (*keep)(void *ctx, struct str reply),
                         void *ctx);
/* Ends the pulls with this reply subject, silently: its receiver is gone. */
void consumer_core_drop_pull(struct consumer_core *c, struct str reply);

/* --- acknowledgements: all return whether the message was pending (or, for ACK_ALL, the ack moved
 * the floor) --- */

bool consumer_core_ack(struct consumer_core *c, uint64_t now, uint64_t sseq);
bool consumer_core_term(struct consumer_core *c, uint64_t now, uint64_t sseq);
bool consumer_core_nak(struct consumer_core *c, uint64_t now, uint64_t sseq, int64_t delay_ns);
bool consumer_core_working(struct consumer_core *c, uint64_t now, uint64_t sseq);

/* How long ago it was delivered last; 0 when it is not pending. */
uint64_t consumer_core_age(const struct consumer_core *c, uint64_t now, uint64_t sseq);

/* Drops all effects (after the driver has executed them). */
void consumer_core_clear_effects(struct consumer_core *c);
void consumer_core_check(const struct consumer_core *c);

/* ---- pend table (consumer_pending.c)
 * ------------------------------------------------------------- */

void pend_table_init(struct pend_table *t);
void pend_table_deinit(struct pend_table *t);
struct pend *pend_find(const struct pend_table *t, uint64_t sseq);
/* sseq must not be there; entries normally come in ascending order, others find their place from
 * the end. */
struct pend *pend_add(struct pend_table *t, uint64_t sseq);
void pend_remove(struct pend_table *t, struct pend *p);
/* Oldest, or NULL. */
struct pend *pend_first(const struct pend_table *t);

/* ---- shared by the core's files
 * ------------------------------------------------------------------- */

struct consumer_effect *consumer_effect_add(struct consumer_core *c, enum effect_kind kind);
void consumer_status_add(struct consumer_core *c, enum consumer_status status, const char *reply,
                         int64_t left, int64_t bytes);
/* The pull whose turn it is, or NULL; pulls whose max_bytes the size exceeds are ended on the way.
 * pending: messages to be delivered, this one included. */
struct pull *consumer_pull_next(struct consumer_core *c, uint64_t size, uint64_t pending);
/* There was a message, and nobody whose turn it was: who did not want to wait is answered. */
void consumer_pull_passed(struct consumer_core *c);
/* ---- priority groups (consumer_priority.c) */
enum fit { FIT_NOW, FIT_LATER, FIT_WRONG_PIN };
/* May this pull get a message now? */
enum fit consumer_priority_fit(const struct consumer_core *c, const struct pull *p,
                               uint64_t pending);
/* A status that refuses the request, or STATUS_COUNT. Renews the pin when its client asks. */
enum consumer_status consumer_priority_refusal(struct consumer_core *c, const struct pull_spec *s);
void consumer_priority_take(struct pull *p, const struct pull_spec *s);
/* Puts the pull where its turn is: behind all, or behind those of its priority. */
void consumer_priority_queue(struct consumer_core *c, struct pull *p);
/* It gets a message: pins it when that is due. */
void consumer_priority_chosen(struct consumer_core *c, struct pull *p);
void consumer_priority_init(struct consumer_core *c);
void consumer_priority_deinit(struct consumer_core *c);
void consumer_pull_deinit(struct consumer_core *c);
/* Starts the ack wait of an entry that was restored. */
void consumer_core_restart_wait(struct pend *p);
/* Operations for the log; op codes are in consumer_state.h. */
void consumer_log(struct consumer_core *c, unsigned op, uint64_t seq);

#endif
