/*
 * fast_reply.h - the reply subject of a message in a fast-ingest batch, which says everything about
 * its place: <prefix>.<batch id>.<flow>.<gap: ok|fail>.<sequence>.<operation>.$FI
 */
#ifndef JS_FAST_REPLY_H
#define JS_FAST_REPLY_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Messages per acknowledgement when the publisher names none. */
#define FAST_FLOW_DEFAULT 10u

struct fast_reply {
    struct str id; /* a view */
    uint64_t seq;
    uint16_t flow; /* the publisher wants an acknowledgement at least that often, in messages */
    bool gap_ok;
    bool ping;     /* no message: where are we? */
    bool commit;   /* the batch ends with this message */
    bool eob;      /* ... which is a marker and not stored */
    size_t head_n; /* bytes in front of the sequence */
};

/* Does it end in ".$FI"? */
static inline bool fast_reply_is(struct str reply)
{
    return reply.n > 4 && memcmp(reply.p + reply.n - 4, ".$FI", 4) == 0;
}

/* Of one that does. False: not a reply subject of this form. */
bool fast_reply_parse(struct str reply, struct fast_reply *out);

/*
 * The reply subject that the next message of a batch has when it says the same as the one before
 * but for its number, as nearly all do: to know it by comparing costs a tenth of taking it apart.
 */
#define FAST_NEXT_MAX 192u

struct fast_next {
    uint16_t n; /* 0 = not known; longer ones are always taken apart */
    uint16_t digits_at, digits_n;
    char text[FAST_NEXT_MAX];
};

/* The one behind `reply`, which f is of. */
void fast_next_set(struct fast_next *next, struct str reply, const struct fast_reply *f);
/* It has come: the one behind it. */
void fast_next_step(struct fast_next *next);

static inline bool fast_next_is(const struct fast_next *next, struct str reply)
{
    return reply.n == next->n && next->n > 0 && memcmp(reply.p, next->text, reply.n) == 0;
}

#endif
