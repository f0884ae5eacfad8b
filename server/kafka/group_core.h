/*
 * group_core.h - one consumer group of the classic protocol: who is a member, which generation they
 * are in, who leads, and who waits for what. Pure: requests with a time go in, answers come out
 * (struct group_out), nothing else happens; docs/internals/kafka.md has the states.
 *
 * A group knows nothing of partitions: members tell it bytes (metadata per protocol), the leader
 * makes assignments of them (bytes again). The group sees to it that in one generation every member
 * has the same protocol, exactly one is told to lead, and nobody is given an assignment of another
 * generation.
 *
 * Join and sync may be answered later; `who` is the caller's name for the waiting request. One that
 * nobody waits for any more is withdrawn by group_forget: the member stays, as Kafka's does when a
 * connection breaks, until its session ends.
 *
 * Times are monotonic ns. Strings that go in are copied, strings that come out live until the next
 * call. Errors are those of kafka_error.def.
 */
#ifndef KAFKA_GROUP_CORE_H
#define KAFKA_GROUP_CORE_H

#include "lib/base/hmap.h"
#include "lib/base/list.h"
#include "lib/base/prng.h"
#include "lib/base/str.h"
#include "server/kafka/held.h"
#include "server/kafka/once.h"

#include <stdbool.h>
#include <stdint.h>

enum group_state { GROUP_EMPTY, GROUP_PREPARING, GROUP_COMPLETING, GROUP_STABLE };

/* Most protocols that a member may name. */
#define GROUP_PROTOCOLS_MAX 64u

struct group_rules {
    int32_t session_min_ms, session_max_ms; /* Kafka: 6 s, 30 min */
    uint64_t initial_delay_ns;              /* the first members of an empty group wait for more */
    uint64_t newcomer_ns; /* a member whose first join is not answered by then goes; 5 min */
    uint32_t max_members; /* with those that have got an id only */
    size_t max_bytes;     /* metadata and assignments of a group */
    struct held *held;    /* those of all groups, with what else members say; NULL: not counted */
};

struct group_protocol {
    struct str name, metadata;
};

struct group;

struct group_joined {
    int16_t error;
    int32_t generation; /* -1 with an error */
    struct str protocol_type, protocol, leader, member_id;
    bool skip_assignment;
    const struct group *group; /* the members are told: this is the leader; else NULL */
};

struct group_synced {
    int16_t error;
    struct str protocol_type, protocol, assignment;
};

/* Called from inside of the functions below; must not call back. */
struct group_out {
    void (*joined)(void *who, const struct group_joined *a);
    void (*synced)(void *who, const struct group_synced *a);
};

struct group_member {
    struct hmap_node node;
    struct list link;    /* group->members: in the order in which they came */
    struct str id;       /* changes when a static member comes back */
    struct str instance; /* p == NULL: not a static member */
    struct str client_id, client_host;
    int32_t session_ms, rebalance_ms;
    struct group_protocol *protocols; /* by preference */
    uint32_t nprotocols;
    struct str assignment;
    size_t bytes;      /* of protocols and assignment */
    size_t held;       /* with its names */
    uint64_t deadline; /* of the session */
    bool newcomer;     /* was in no generation yet */
    bool joining;      /* is in for the next generation */
    bool syncing;      /* waits for its assignment */
    bool synced;       /* has asked for it in this generation */
    void *join, *sync; /* who waits; NULL: nobody (any more) */
};

struct group {
    const struct group_rules *rules;
    const struct group_out *out;
    struct prng *prng;
    enum group_state state;
    int32_t generation;
    struct str protocol_type; /* of the members; of the last ones when there are none */
    struct str protocol;      /* of this generation; p == NULL: none */
    struct list members;
    struct hmap by_id;
    uint32_t nmembers;
    struct group_member *leader; /* NULL: no members */
    struct list pending;         /* ids that were given out and have not joined yet */
    uint32_t npending;
    size_t bytes;
    uint64_t phase_end;    /* when joining, or waiting for syncs, ends; UINT64_MAX = does not */
    bool initial, arrived; /* the first delay; somebody came while it ran */
    uint64_t delay_left;
    uint64_t next; /* nothing happens before this time */
};

void group_init(struct group *g, const struct group_rules *rules, const struct group_out *out,
                struct prng *prng);
/* All who wait are told `error`. */
void group_deinit(struct group *g, int16_t error);

struct group_join {
    struct str member_id; /* empty: a new one */
    struct str instance;  /* p == NULL: not static */
    struct str client_id, client_host;
    struct str protocol_type;
    int32_t session_ms, rebalance_ms; /* rebalance_ms < 0: as the session */
    const struct group_protocol *protocols;
    uint32_t nprotocols;
    bool need_id;  /* a new member gets an id first, and comes again with it (version 4) */
    bool can_skip; /* understands skip_assignment (version 9) */
    void *who;     /* not NULL */
};
/* Answered once, now or later. */
void group_join(struct group *g, const struct group_join *q, uint64_t now);

struct group_sync {
    struct str member_id, instance;
    int32_t generation;
    struct str protocol_type, protocol;       /* p == NULL: the client does not say */
    const struct group_protocol *assignments; /* name: a member's id */
    uint32_t nassignments;
    void *who;
};
/* Answered once, now or later. */
void group_sync(struct group *g, const struct group_sync *q, uint64_t now);

int16_t group_heartbeat(struct group *g, struct str member_id, struct str instance,
                        int32_t generation, uint64_t now);
/* member_id may be empty when there is an instance. */
int16_t group_leave(struct group *g, struct str member_id, struct str instance, uint64_t now);
/* May this one commit offsets? A member is heard of by it. txn: as part of a transaction. */
int16_t group_may_commit(struct group *g, struct str member_id, struct str instance,
                         int32_t generation, bool txn, uint64_t now);
/* Nobody waits for this request any more. */
void group_forget(struct group *g, const void *who);

/* What is due; to be called at group_next, or later. UINT64_MAX = never. */
void group_tick(struct group *g, uint64_t now);
uint64_t group_next(const struct group *g);

/* ---- looking */

struct group_member *group_find(const struct group *g, struct str member_id);
/* What the member said for the protocol of this generation; empty when there is none. */
struct str group_metadata(const struct group *g, const struct group_member *m);
/* Those of the asked topics that its members, who are consumers, read: into `read`, by the names of
 * `asked`. False: members are of another protocol type, or do not say it well; they may read all.
 * Takes as long as what the members say, and the question, together. */
bool group_subscriptions(const struct group *g, const struct once *asked, struct once *read);
const char *group_state_name(enum group_state state);
/* No members, and none about to be. */
bool group_unused(const struct group *g);
void group_check(const struct group *g);

#endif
