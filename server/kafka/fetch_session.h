/*
 * fetch_session.h - what clients have asked for in earlier Fetch requests (KIP-227), so that they
 * need not say all of it again, nor be told of partitions where nothing is new.
 *
 * A full fetch (epoch 0) makes a session, if there is room; later ones name its id, the next epoch
 * (1, 2, ...; behind 2^31 - 1 comes 1 again), what they add or change and what they forget. Epoch
 * -1 ends it. Sessions belong to a worker: who comes back over another connection may find none
 * there, and asks for everything again.
 *
 * Limits: FETCH_SESSIONS_MAX sessions and FETCH_SESSIONS_PARTS partitions of all together on a
 * worker. Beyond, one that nobody has used for FETCH_SESSION_IDLE makes room, or one that is older
 * than that and smaller than the newcomer; else there is no session (id 0), which clients take as
 * it is.
 *
 * Pure: time and random numbers are given.
 */
#ifndef KAFKA_FETCH_SESSION_H
#define KAFKA_FETCH_SESSION_H

#include "lib/base/hmap.h"
#include "lib/base/list.h"
#include "lib/base/prng.h"
#include "lib/wire/kafka_messages.h"

#include <stdbool.h>
#include <stdint.h>

#define FETCH_SESSIONS_MAX 1000u
#define FETCH_SESSIONS_PARTS 200000u
#define FETCH_SESSION_IDLE (UINT64_C(120) * 1000000000)

struct fetch_session_part {
    struct hmap_node node;
    struct list link;                            /* of the session, in the order of its turns */
    struct kafka_fetch_request_partitions asked; /* as it was asked for last */
    struct kafka_uuid id;
    struct str topic; /* empty when it is asked for by id */
    /* What the client was told last. */
    int64_t high, start, stable;
    char name[];
};

struct fetch_session {
    struct hmap_node node;
    struct list link; /* of all: the one that was used last comes first */
    int32_t id, epoch;
    uint32_t realm;
    bool by_id; /* topics have ids, not names */
    uint64_t made, used;
    struct hmap parts;
    struct list order; /* struct fetch_session_part */
    uint32_t n;
    uint64_t seed;
};

struct fetch_sessions {
    struct hmap map;
    struct list recent;
    uint32_t n;
    uint64_t parts;
    struct prng *prng;
};

void fetch_sessions_init(struct fetch_sessions *all, struct prng *prng);
void fetch_sessions_deinit(struct fetch_sessions *all);

/* Of this account; NULL: there is none. It counts as used. */
struct fetch_session *fetch_sessions_find(struct fetch_sessions *all, int32_t id, uint32_t realm,
                                          uint64_t now);
/* With room for n partitions, which are to be added; NULL: there is no room. The epoch of its next
 * request is 1. */
struct fetch_session *fetch_sessions_make(struct fetch_sessions *all, uint32_t realm, bool by_id,
                                          uint32_t n, uint64_t now);
void fetch_sessions_drop(struct fetch_sessions *all, struct fetch_session *s);
/* The one behind it. */
void fetch_session_turn(struct fetch_session *s);

/* Adds the partition, or changes what is asked for; false: there are too many. */
bool fetch_session_put(struct fetch_sessions *all, struct fetch_session *s, struct str topic,
                       const struct kafka_uuid *id, const struct kafka_fetch_request_partitions *q);
void fetch_session_forget(struct fetch_sessions *all, struct fetch_session *s, struct str topic,
                          const struct kafka_uuid *id, int32_t partition);
struct fetch_session_part *fetch_session_find(const struct fetch_session *s, struct str topic,
                                              const struct kafka_uuid *id, int32_t partition);
/* Is the client to be told this? Then it counts as told, and with records it is another one's
 * turn first. */
bool fetch_session_tell(struct fetch_session *s, struct fetch_session_part *p,
                        const struct kafka_fetch_response_partitions *a);

#endif
