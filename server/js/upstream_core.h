/*
 * upstream_core.h - what a mirror, or one source of a stream, decides about the stream above it.
 *
 * Pure: times are handed in, nothing is sent. The driver (upstream.c) asks for a consumer of the
 * origin, is told of everything that comes from it, and does what the answers say.
 *
 *     IDLE --(due)--> ASKING --(created)--> ACTIVE
 *       ^               |(failed, no answer)   |(lost: a gap in the consumer's sequence, silence,
 *       +---------------+----------------------+       or the message could not be stored)
 *
 * Two sequences are followed. dseq counts what the consumer has sent: the next message or heartbeat
 * must go on where the last one was, or something was lost on the way and the consumer is made
 * anew. sseq is the position in the origin: what is at or below it has been taken, so that a
 * consumer made anew may repeat, and nothing is stored twice. What lies between sseq and the next
 * message with the right dseq does not exist in the origin, or is filtered out: a mirror passes
 * over it.
 *
 * Failures wait: 250 ms, doubling up to 10 s. A message that the stream refuses (it is full, and
 * discards new) is asked for again after 2 s.
 */
#ifndef JS_UPSTREAM_CORE_H
#define JS_UPSTREAM_CORE_H

#include <stdbool.h>
#include <stdint.h>

#define UPSTREAM_HEARTBEAT_NS 1000000000ull
#define UPSTREAM_SILENCE_NS (5 * UPSTREAM_HEARTBEAT_NS)
#define UPSTREAM_ANSWER_NS (5 * UPSTREAM_HEARTBEAT_NS)
#define UPSTREAM_RETRY_MIN_NS 250000000ull
#define UPSTREAM_RETRY_MAX_NS 10000000000ull
#define UPSTREAM_REFUSED_NS 2000000000ull

enum upstream_state { UPSTREAM_IDLE, UPSTREAM_ASKING, UPSTREAM_ACTIVE };

struct upstream_core {
    enum upstream_state state;
    uint64_t due;   /* monotonic ns: when upstream_core_timer has something to say */
    unsigned fails; /* in a row */
    uint64_t sseq, dseq;
    uint64_t seen;  /* sequence in the origin of the last message of this consumer, old or not */
    uint64_t lag;   /* messages still to come, as far as is known */
    uint64_t heard; /* monotonic ns of the last sign of life; 0 = never */
};

/* IDLE, due at once. sseq: what has been taken before. */
void upstream_core_init(struct upstream_core *c, uint64_t now, uint64_t sseq);

enum upstream_do {
    UPSTREAM_NOTHING,
    UPSTREAM_ASK, /* now ASKING: send the request */
    UPSTREAM_DROP /* now IDLE: the consumer is not heard any more */
};
/* The time c->due has come (or not: then nothing). */
enum upstream_do upstream_core_timer(struct upstream_core *c, uint64_t now);

/* ASKING: the consumer exists, and begins behind origin sequence `delivered` with `pending`
 * messages. exact: it was asked to begin behind sseq: when it begins before, the origin ends there
 * (it has lost its last messages in a crash), and its sequences are used again. */
void upstream_core_created(struct upstream_core *c, uint64_t now, uint64_t delivered,
                           uint64_t pending, bool exact);
/* ASKING or ACTIVE: back to IDLE, to try again later. */
void upstream_core_failed(struct upstream_core *c, uint64_t now);
/* ACTIVE: the last message taken back: its place is sseq. To IDLE. */
void upstream_core_refused(struct upstream_core *c, uint64_t now, uint64_t sseq);

enum upstream_verdict {
    UPSTREAM_TAKE,
    UPSTREAM_OLD,   /* taken before */
    UPSTREAM_STRAY, /* not of this consumer's run: passed over */
    UPSTREAM_LOST,  /* something is missing before it: now IDLE, due at once */
};
/* A message: its sequence in the origin and of the consumer, and how many follow. After TAKE the
 * position is behind it; *skipped = sequences of the origin between the last one and it. */
enum upstream_verdict upstream_core_message(struct upstream_core *c, uint64_t now, uint64_t sseq,
                                            uint64_t dseq, uint64_t pending, uint64_t *skipped);
/* A heartbeat that says how far the consumer has come (0 = it does not say). False when something
 * was lost: now IDLE, due at once. */
bool upstream_core_heartbeat(struct upstream_core *c, uint64_t now, uint64_t dseq);
/* The request is to be made anew: behind sseq, which is 0 when the origin is another one now. */
void upstream_core_again(struct upstream_core *c, uint64_t now, uint64_t sseq);
void upstream_core_check(const struct upstream_core *c);

#endif
