/*
 * midge_batch.h - publishing many messages as one: atomic batches, all of which are stored or none,
 * and fast-ingest batches, which are stored as they come and acknowledged some hundred at a time.
 *
 * The stream must allow them (allow_atomic, allow_batched). All messages of a batch go to one
 * stream. Codes are those of midge_js.h. Batches belong to the program, which closes them before
 * the connection.
 */
#ifndef MIDGE_BATCH_H
#define MIDGE_BATCH_H

#include "midge_js.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- all or nothing -------------------------------------------------------------------------- */

struct midge_batch;
/* id: at most 64 bytes; NULL = one is made. */
struct midge_batch *midge_batch_open(struct midge *m, const char *id);
/* Hands a message over; the first, and every hundredth, waits until the server has taken it. After
 * an error the batch is of no more use than to be closed. */
int midge_batch_add(struct midge_batch *b, const struct midge_msg *msg);
/* Waits until all is stored. last (may be NULL when something was added): one more message. */
int midge_batch_commit(struct midge_batch *b, const struct midge_msg *last,
                       struct midge_puback *ack);
/* Not committed: the server drops the batch when it has heard nothing of it for some seconds. */
void midge_batch_close(struct midge_batch *b);

/* ---- fast ingest ----------------------------------------------------------------------------- */

struct midge_ingest_options {
    unsigned flow;   /* messages per acknowledgement at most; 500 */
    unsigned window; /* messages unacknowledged at most; 8192 */
    bool gaps_ok;    /* go on where messages were lost or refused, instead of ending */
    /* Messages first .. last - 1 have not arrived. May be NULL. */
    void (*on_gap)(void *ctx, uint64_t first, uint64_t last);
    /* The message was refused. May be NULL. */
    void (*on_refused)(void *ctx, uint64_t number, const char *why);
};
struct midge_ingest;
/* Does not wait. options may be NULL. */
struct midge_ingest *midge_ingest_open(struct midge *m, const struct midge_ingest_options *options,
                                       void *ctx);
/* Sends the next message; its number is how many were added with it. MIDGE_FULL when the window is:
 * poll, then try again. Another code is the end of the batch: all up to midge_ingest_acked are
 * stored, what is behind may be. */
int midge_ingest_add(struct midge_ingest *b, struct midge_text subject, struct midge_text header,
                     struct midge_text payload);
/* All messages up to this one are durable, but those that on_gap and on_refused named. */
uint64_t midge_ingest_acked(const struct midge_ingest *b);
/* Ends the batch and waits until all of it is durable. Something must have been added. */
int midge_ingest_commit(struct midge_ingest *b, struct midge_puback *ack);
void midge_ingest_close(struct midge_ingest *b);

#ifdef __cplusplus
}
#endif

#endif
