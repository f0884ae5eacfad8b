/*
 * ingest.h - what the files of a stream's ingest share: stream_ingest.c takes messages one by one,
 * stream_headers.c checks what their headers ask for, stream_reply.c answers, stream_commit.c goes
 * on when they are durable.
 */
#include "server/js/stream_int.h"

#ifndef JS_INGEST_H
#define JS_INGEST_H

enum rollup_kind { ROLLUP_NONE, ROLLUP_SUB, ROLLUP_ALL, ROLLUP_INVALID };

struct diff;

/* What the checks of one message found, and what is stored of it. error is set by js_fail alone:
 * clearing its text for every message cost 6 ns. */
struct verdict {
    bool sourced;   /* not a client's: made by the server, checked by whoever published it */
    bool mirror;    /* sourced, and its ids are the origin's business */
    bool batched;   /* of a batch, whose headers are dealt with */
    bool waits;     /* refused for now: something is being read, and the stream is held up */
    bool stored;    /* not only its sequence was used up */
    bool scheduled; /* it is a schedule, first due at `due` */
    bool effect;    /* STORE_MSG_HAS_EFFECT */
    enum rollup_kind rollup; /* one that is carried out */
    int64_t ttl;             /* seconds, MSG_TTL_NEVER, 0 = none */
    uint64_t duplicate_of;   /* sequence of the first, when the id was seen */
    const struct diff *diff; /* of an atomic batch: what those before it would change */
    struct str id;
    int64_t due;                         /* unix ns */
    struct str schedule_next, scheduler; /* what it does to a schedule; empty = nothing */
    struct str value;                    /* of the counter, for the answer */
    struct str header, payload; /* as they are stored: the message's, or the verdict's own */
    struct buf own_header, own_payload;
    struct js_error error;
};

/* Zeroes all but the error; header and payload are the message's. */
void verdict_init(struct verdict *v, const struct msg *m, bool sourced);
void verdict_free(struct verdict *v);
/* Another header from now on; takes over what is in b, which is empty then. */
void verdict_set_header(struct verdict *v, struct buf *b);

/* ---- answers (stream_reply.c) ---------------------------------------------------------------- */

/* The hold that is open: what goes into it leaves with the commit of what has been appended. */
struct hold *ingest_hold(struct stream *s);
/* A PubAck. The caller says by s->open_assigned whether it tells of something new. */
void ingest_ack(struct stream *s, struct str to, uint64_t seq, bool duplicate);
/* Of a counter: with its value. */
void ingest_ack_value(struct stream *s, struct str to, uint64_t seq, struct str value);
void ingest_error(struct stream *s, struct str to, const struct js_error *err);
/* The end of a batch: its last sequence in the stream, its id and the number of its messages. */
void ingest_batch_ack(struct stream *s, struct str to, uint64_t seq, struct str id, uint64_t count);
void ingest_batch_duplicate(struct stream *s, struct str to, uint64_t seq, struct str id,
                            uint64_t count);
/* A text that is true when what has been appended is durable. */
void ingest_text(struct stream *s, struct str to, struct str text);
/* The payload of an error. */
void ingest_put_error(struct stream *s, const struct js_error *err, struct buf *b);

/* ---- checks (stream_headers.c) --------------------------------------------------------------- */

/* In nats-server's order. False: v->error, or v->duplicate_of when that is not 0. */
bool ingest_check_headers(struct stream *s, const struct msg *m, int64_t now, struct verdict *v);
/* Has the account room for so many bytes more? */
bool ingest_check_account(const struct stream *s, uint64_t more, struct verdict *v);
/* The last check before the store: what v->header says of a time to live. */
bool ingest_check_ttl(struct stream *s, struct verdict *v);
enum rollup_kind ingest_rollup_of(struct str header);
/* Everything but what the store must have room for. */
bool ingest_check(struct stream *s, const struct msg *m, int64_t now, struct verdict *v);
/* What the store would not take, as JetStream says it; returns false. */
bool ingest_store_failed(struct verdict *v, enum err err);

/* ---- schedules (stream_schedule.c) ----------------------------------------------------------- */

struct publish_headers;
/* The headers about schedules, in h; adds the rollup that a schedule needs. False: v->error, or
 * v->waits. */
bool ingest_check_schedule(struct stream *s, const struct msg *m, struct publish_headers *h,
                           struct verdict *v);
/* The message got that sequence. */
void ingest_scheduled(struct stream *s, const struct msg *m, uint64_t seq, const struct verdict *v);

/* ---- counters (stream_counter.c) ------------------------------------------------------------- */

/* On a stream of counters: adds incr (p == NULL: there was none) to the subject's value and makes
 * it the payload; source is the Nats-Stream-Source of a message that another stream has counted.
 * False: v->error, or v->waits. */
bool ingest_count(struct stream *s, const struct msg *m, struct str incr, struct str source,
                  struct verdict *v);
/* The message of this verdict got that sequence. */
void ingest_counted(struct stream *s, const struct msg *m, uint64_t seq, const struct verdict *v);

/* ---- batches (batch_atomic.c) ---------------------------------------------------------------- */

/* The last message before this one in its atomic batch with that subject, not stored either; NULL:
 * there is none. */
const struct verdict *ingest_before(const struct verdict *v, struct str subject);

/* ---- afterwards (stream_commit.c) ------------------------------------------------------------ */

/* What a rollup replaces goes as soon as the message itself is durable. */
void ingest_plan_rollup(struct stream *s, struct str subject, enum rollup_kind how, uint64_t seq);

static inline unsigned ingest_store_flags(const struct verdict *v)
{
    return (v->id.n > 0 ? STORE_MSG_HAS_ID : 0u) | (v->effect ? STORE_MSG_HAS_EFFECT : 0u);
}
/* The message was appended: what the stream remembers of it. */
void ingest_stored(struct stream *s, const struct msg *m, const struct verdict *v, int64_t now,
                   uint64_t seq);
/* Checked, stored, remembered; not answered. False as ingest_check_headers. */
bool ingest_put(struct stream *s, const struct msg *m, struct verdict *v, int64_t now,
                uint64_t *seq);
/* A message of the server's own; false when it was not taken. */
bool ingest_own(struct stream *s, const struct msg *m, uint64_t *seq);
/* Stream time: it never goes back. */
int64_t ingest_time(struct stream *s);

#endif
