/*
 * msg.h - one message on its way through the server: views, borrowed for the length of a call.
 *
 * Layers hand on runs: an array of struct msg and a count. The bytes belong to a receive buffer, a
 * lane run or a stored batch; whoever wants them after the call copies them, or takes a reference
 * to `chunk` when the payload lies in one (only payloads of MSG_SLICE_MIN bytes and more are worth
 * it).
 */
#ifndef CORE_MSG_H
#define CORE_MSG_H

#include "lib/base/chunk.h"
#include "lib/base/handle.h"
#include "lib/base/str.h"

#include <stdint.h>

/* Payloads from here on travel as slices of their chunk; below, copying (0.1 ns a byte) beats an
 * atomic reference and a vector entry of its own. */
#define MSG_SLICE_MIN 16384u

enum {
    MSG_F_SYSTEM = 1,  /* made by the server itself: not counted as a client's publish */
    MSG_F_BOUNCE = 2,  /* a JetStream delivery: when nobody takes it, its origin is told (bounce
                          fields) */
    MSG_F_NO_ECHO = 4, /* not to sinks of origin_conn */
    /* On the way to another worker: where it goes there is to be told the one it came from
     * (route.h, tracing); and it is not delivered. */
    MSG_F_TRACED = 8,
    MSG_F_TRACE_ONLY = 16,
    /* It may have other receivers: that a plain subscription does not take it is told nobody. */
    MSG_F_SHARED = 32,
};

struct msg {
    struct str subject; /* what receivers see; also the routing key unless route_* is given another
                         */
    struct str reply;   /* empty = none */
    struct str header;  /* whole block "NATS/1.0...\r\n\r\n" or empty */
    struct str payload;
    struct chunk *chunk; /* holds the payload, or NULL: then it can not outlive the call */
    uint32_t flags;
    uint32_t origin_worker; /* with MSG_F_NO_ECHO and for replies to the publisher's connection */
    handle origin_conn;     /* connection handle on origin_worker; 0 = not a client */
    handle bounce_to; /* with MSG_F_BOUNCE: sink handle on bounce_worker whose bounced() is called
                       */
    uint32_t bounce_worker;
    uint64_t bounce_seq;
};

#endif
