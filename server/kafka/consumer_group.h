/*
 * consumer_group.h - one consumer group of the new protocol (KIP-848): members say what they want
 * to read and what they own, the group says what each is to own. Pure: heartbeats with a time go
 * in, answers come out at once; docs/internals/kafka.md tells of it beside the classic protocol.
 *
 * The group has an epoch, raised by every change of what members want or of what topics there are.
 * For each there is a target: which member is to own which partition (consumer_assign.c). Members
 * get there one by one (consumer_reconcile.c): what a member has to give up it is told first, and
 * nobody else gets it before the member said that it does not own it any more. A member's epoch is
 * that of the target which it is at; what it commits by another epoch is refused.
 *
 * Times are monotonic ns. Strings that go in are copied, strings that come out live until the next
 * call. Errors are those of kafka_error.def.
 */
#ifndef KAFKA_CONSUMER_GROUP_H
#define KAFKA_CONSUMER_GROUP_H

#include "lib/base/hmap.h"
#include "lib/base/list.h"
#include "lib/base/prng.h"
#include "lib/base/str.h"
#include "lib/wire/kafka_messages.h"
#include "server/kafka/consumer_parts.h"
#include "server/kafka/held.h"
#include "server/kafka/once.h"

#include <stdbool.h>
#include <stdint.h>

/* Epochs that a client sends to join, to leave, and to leave for a while (static members). */
enum { CONSUMER_JOIN = 0, CONSUMER_LEAVE = -1, CONSUMER_PAUSE = -2 };

/* Most different regular expressions of a group's members. */
#define CONSUMER_PATTERNS_MAX 16u

struct consumer_rules {
    uint64_t session_ns; /* a member that is silent so long goes */
    int32_t heartbeat_ms;
    uint32_t max_members;
    uint32_t max_names;      /* that all members together ask for */
    uint32_t max_partitions; /* topics beyond are read by nobody */
    struct held *held;       /* what members of all groups say; NULL: not counted */
};

/* What topics there are. */
struct consumer_found {
    struct kafka_uuid id;
    int32_t partitions;
};

struct consumer_world {
    void *ctx;
    /* Another number when a topic has come, gone or grown. */
    uint64_t (*version)(void *ctx);
    /* All names, for regular expressions. */
    void (*each)(void *ctx, void (*fn)(void *to, struct str name), void *to);
    bool (*find)(void *ctx, struct str name, struct consumer_found *out);
};

/* A regular expression of some members, and the names that it matches. */
struct consumer_pattern {
    struct list link;
    struct str text;
    struct pattern *compiled;
    uint32_t users;
    struct str *names;
    uint32_t nnames, cap;
    bool looked; /* names are those of the group's version */
};

/* A topic that somebody wants to read, or of which somebody still owns a partition. */
struct consumer_topic {
    struct hmap_node by_number, by_name, by_uuid;
    struct list link; /* by number */
    uint32_t number;
    struct str name;
    struct kafka_uuid id;
    bool there;         /* it is what the name means now, and somebody wants to read it */
    bool wanted;        /* while topics are looked up */
    int32_t partitions; /* that there are now */
    struct consumer_member **owners;
    int32_t room;  /* of owners */
    uint32_t held; /* how many of them are somebody */
};

enum consumer_assignor { CONSUMER_ANY, CONSUMER_UNIFORM, CONSUMER_RANGE };

enum consumer_member_state {
    CONSUMER_STABLE,     /* owns what it is to own at its epoch */
    CONSUMER_UNREVOKED,  /* has to give something up first */
    CONSUMER_UNRELEASED, /* waits for what others have to give up */
};

struct consumer_member {
    struct hmap_node node;
    struct list link;    /* group->members: in the order in which they came */
    struct str id;       /* changes when a static member comes back */
    struct str instance; /* p == NULL: not a static member */
    struct str rack, client_id, client_host;
    int32_t rebalance_ms;
    struct str *names; /* sorted, each once */
    uint32_t nnames;
    struct consumer_pattern *pattern; /* what it reads beside them; NULL: nothing */
    enum consumer_assignor assignor;
    int32_t epoch, previous; /* CONSUMER_PAUSE: it is away */
    enum consumer_member_state state;
    struct parts assigned; /* what it may own */
    struct parts revoking; /* what it has to give up and has not yet */
    struct parts target;
    uint64_t deadline;  /* of the session */
    uint64_t revoke_by; /* UNREVOKED: by then */
    uint32_t index;     /* consumer_assign.c's */
    size_t held;
};

struct consumer_group {
    const struct consumer_rules *rules;
    const struct consumer_world *world;
    int32_t epoch, target_epoch;
    struct list members;
    struct hmap by_id;
    uint32_t nmembers, nnames;
    struct list patterns;
    uint32_t npatterns;
    struct list topics;
    struct hmap by_number, by_name, by_uuid;
    uint32_t last_number;
    uint64_t version;                /* of the world that `topics` are of */
    bool looked;                     /* topics are those that members want */
    enum consumer_assignor assignor; /* of the target */
    uint64_t next;                   /* nothing happens before this time */
};

void consumer_group_init(struct consumer_group *g, const struct consumer_rules *rules,
                         const struct consumer_world *world);
void consumer_group_deinit(struct consumer_group *g);

struct consumer_owned {
    struct kafka_uuid topic;
    const int32_t *partitions;
    int32_t n;
};

/* A heartbeat. What is not said has not changed: p == NULL, a count of -1, rebalance_ms -1. */
struct consumer_beat {
    struct str member_id;
    int32_t epoch;
    struct str instance, rack, assignor;
    struct str regex; /* a valid one; empty: none */
    int32_t rebalance_ms;
    const struct str *names;
    int32_t nnames;
    const struct consumer_owned *owned;
    int32_t nowned;
    struct str client_id, client_host;
};

struct consumer_told {
    int16_t error;
    struct str text;                      /* of the error */
    int32_t epoch;                        /* the member's */
    const struct consumer_member *member; /* its assignment is to be told; else NULL */
};

/* member_id is not empty. */
void consumer_group_beat(struct consumer_group *g, const struct consumer_beat *q, uint64_t now,
                         struct consumer_told *out);
/* May this one commit, and ask for what was committed? epoch < 0 and no id: somebody who is no
 * member. */
int16_t consumer_group_may_commit(const struct consumer_group *g, struct str member_id,
                                  int32_t epoch);

/* What is due; to be called at `next`, or later. UINT64_MAX = never. */
void consumer_group_tick(struct consumer_group *g, uint64_t now);

/* ---- looking */

struct consumer_member *consumer_group_find(const struct consumer_group *g, struct str member_id);
/* NULL: there is none (any more). */
struct consumer_topic *consumer_group_topic(const struct consumer_group *g, uint32_t number);
/* Those of the asked topics that its members read: into `read`. */
void consumer_group_subscriptions(const struct consumer_group *g, const struct once *asked,
                                  struct once *read);
const char *consumer_group_state(const struct consumer_group *g);
/* The assignor of a target. */
const char *consumer_assignor_name(enum consumer_assignor a);
void consumer_group_check(const struct consumer_group *g);

#endif
