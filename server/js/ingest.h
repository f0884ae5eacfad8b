/*
 * ingest.h - what the files of a stream's ingest share: stream_ingest.c takes messages one by one,
 * stream_headers.c checks what their headers ask for, stream_reply.c answers, stream_commit.c goes
 * on when they are durable.
 */
#ifndef JS_INGEST_H
#define JS_INGEST_H

#include "server/js/js_int.h"

/* What the checks of one message found. error is set by js_fail alone: clearing its text for every
 * message cost 6 ns. */
struct verdict {
    uint64_t duplicate_of; /* sequence of the first, when the id was seen */
    struct str id;
    struct js_error error;
};

/* ---- answers (stream_reply.c) ---------------------------------------------------------------- */

/* The hold that is open: what goes into it leaves with the commit of what has been appended. */
struct hold *ingest_hold(struct stream *s);
/* A PubAck. The caller says by s->open_assigned whether it tells of something new. */
void ingest_ack(struct stream *s, struct str to, uint64_t seq, bool duplicate);
void ingest_error(struct stream *s, struct str to, const struct js_error *err);
/* The payload of an error. */
void ingest_put_error(struct stream *s, const struct js_error *err, struct buf *b);

/* ---- checks (stream_headers.c) --------------------------------------------------------------- */

/* In nats-server's order. False: v->error, or v->duplicate_of when that is not 0. */
bool ingest_check_headers(struct stream *s, const struct msg *m, int64_t now, struct verdict *v);
/* What the store would not take, as JetStream says it; returns false. */
bool ingest_store_failed(struct verdict *v, enum err err);

/* ---- afterwards (stream_commit.c) ------------------------------------------------------------ */

/* What a rollup replaces goes as soon as the message itself is durable. */
void ingest_plan_rollup(struct stream *s, const struct msg *m, uint64_t seq);

/* Stream time: it never goes back. */
int64_t ingest_time(struct stream *s);

#endif
