/*
 * fast_reply.h - the reply subject of a message in a fast-ingest batch, which says everything about
 * its place: <prefix>.<batch id>.<flow>.<gap: ok|fail>.<sequence>.<operation>.$FI
 */
#ifndef JS_FAST_REPLY_H
#define JS_FAST_REPLY_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Messages per acknowledgement when the publisher names none. */
#define FAST_FLOW_DEFAULT 10u

struct fast_reply {
    struct str id; /* a view */
    uint64_t seq;
    uint16_t flow; /* the publisher wants an acknowledgement at least that often, in messages */
    bool gap_ok;
    bool ping;   /* no message: where are we? */
    bool commit; /* the batch ends with this message */
    bool eob;    /* ... which is a marker and not stored */
};

/* Does it end in ".$FI"? */
static inline bool fast_reply_is(struct str reply)
{
    return reply.n > 4 && memcmp(reply.p + reply.n - 4, ".$FI", 4) == 0;
}

/* Of one that does. False: not a reply subject of this form. */
bool fast_reply_parse(struct str reply, struct fast_reply *out);

#endif
