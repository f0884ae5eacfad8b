/*
 * coordinator.h - the groups, on the worker of the offsets stream: finding them, loading what they
 * have committed, the errands of requests to them.
 *
 * The stream __consumer_offsets holds every committed offset. It is made when a client asks for a
 * coordinator for the first time, and the worker that it lies on is the coordinator's. Without the
 * stream there is no coordinator: requests say so (15, 16), and clients ask for one again.
 *
 * A request is decoded on its connection's worker and then runs an errand: the request with its
 * arena belongs to the coordinator's worker until errand_done.
 */
#ifndef KAFKA_COORDINATOR_H
#define KAFKA_COORDINATOR_H

#include "server/kafka/committed.h"
#include "server/kafka/consumer_group.h"
#include "server/kafka/group_core.h"
#include "server/kafka/kafka_int.h"
#include "server/kafka/partition.h"
#include "server/kafka/txn_table.h"

#define COORDINATOR_TOPIC "__consumer_offsets"

/* Most groups of one coordinator. */
#define COORDINATOR_GROUPS_MAX 65536u
/* What all of them hold of what clients said (held.h): members, and as much for the metadata of
 * offsets, which are there again behind a start and keep no member out. */
#define COORDINATOR_HELD_MAX (256u << 20)

struct coordinator {
    struct kafka *kafka;
    struct realm *realm;
    struct partition *partition; /* the offsets stream's */
    struct partition_job busy;   /* tells that it goes */
    bool ready;                  /* all is read back */
    struct store_reader reader;  /* until then */
    struct list parked;          /* errands, until then */
    struct list questions;       /* txn_word.c's, until then */
    struct hmap groups;
    struct list all; /* struct group_entry, in the order in which they came */
    struct txn_table txns;
    struct held members_held, offsets_held;
    uint64_t seed; /* of tables of what clients say */
    struct group_rules rules;
    struct consumer_rules consumer_rules;
    struct consumer_world world;
    struct wheel_timer sweep;
    int64_t room_made; /* ms of the wall clock: idle groups were let go to make room */
};

struct group_entry {
    struct hmap_node node;
    struct list link;
    struct coordinator *coordinator;
    struct str name;
    struct group core;               /* of the classic protocol; empty beside the next */
    struct consumer_group *consumer; /* of the new one; NULL: it is a classic group */
    struct wheel_timer timer;
    uint64_t armed; /* when it fires; UINT64_MAX = not */
    struct committed offsets;
    uint32_t writing;     /* commits under way */
    int64_t unused_since; /* ms of the wall clock; the last member left then */
};

/* ---- errands */

struct errand {
    struct kafka_request *request;
    /* On the coordinator's worker: fills the answer, calls errand_done, now or later. */
    void (*run)(struct coordinator *c, struct errand *e);
    /* At home: fills the answer with an error; there is no coordinator. */
    void (*fail)(struct errand *e, int16_t error);
    /* At home, before the answer is sent; may be NULL. */
    void (*finish)(struct errand *e);
    /* At home, instead of the answer; NULL: it is sent. */
    void (*then)(struct errand *e);
    void *owner; /* of who wants `then` */

    /* The rest is coordinator.c's. */
    struct kafka *home;
    struct env_task task, cancel_task;
    struct env *env;
    struct list link;          /* coordinator->parked, txn->waiting */
    struct group_entry *waits; /* in this group's machine, on the coordinator's worker */
    uint32_t worker;
    uint32_t out; /* round trips that have not ended, at home */
    int16_t error;
    bool gone; /* on the coordinator's worker: it is done */
};

/* Of a request about this group (p == NULL: about none, or it was looked at); starts at once. The
 * answer leaves when it is done. */
void errand_start(struct kafka_request *r, struct str group,
                  void (*run)(struct coordinator *c, struct errand *e),
                  void (*fail)(struct errand *e, int16_t error), void (*finish)(struct errand *e));
/* About no group, and goes on with `then` instead of an answer: perhaps before it returns. */
void errand_before(struct kafka_request *r, void *owner,
                   void (*run)(struct coordinator *c, struct errand *e),
                   void (*fail)(struct errand *e, int16_t error), void (*then)(struct errand *e));
void errand_done(struct errand *e);
/* Its answer is the one for this error. */
void errand_failed(struct errand *e, int16_t error);

/* ---- groups, on the coordinator's worker */

bool coordinator_name_valid(struct str group);
/* NULL: there is none. */
struct group_entry *coordinator_find(struct coordinator *c, struct str name);
/* The one, made when there is none; NULL: there are too many. */
struct group_entry *coordinator_get(struct coordinator *c, struct str name);
/* After anything was done with a group: keeps its time, lets go of it when it holds nothing and
 * never had members; it may not be there any more behind this. One that had members stays for ten
 * minutes, as an empty group of Kafka's does: clients delete it, and look at it. */
void coordinator_touch(struct group_entry *g);
/* Lets go of it when it holds nothing; whether it did. */
bool coordinator_drop(struct group_entry *g);
/* No members, of either kind, and none about to be. */
bool coordinator_unused(const struct group_entry *g);
/* Of the new protocol, or of the classic one; only when it is unused. */
void coordinator_make_consumer(struct group_entry *g);
void coordinator_make_classic(struct group_entry *g);
/* Removes an offset, from the stream too; req: when that is durable, or NULL. False: req will not
 * be called. */
bool coordinator_remove(struct group_entry *g, struct committed_offset *o, struct store_req *req);

/* NULL: the offsets stream is not on this worker. */
struct coordinator *coordinator_here(struct env *env, const struct realm *of);
/* Begins to load, when the offsets stream is on this worker: transactions that a crash interrupted
 * are ended without waiting for a client. */
void coordinator_wake(struct realm *realm);

/* ---- group_offsets.c: removals; the errand is done when all that were added are durable */
struct removal *removal_begin(struct errand *e);
void removal_add(struct removal *x, struct group_entry *g, struct committed_offset *o);
void removal_end(struct removal *x);

/* ---- group_api.c */
extern const struct group_out coordinator_group_out;

#endif
