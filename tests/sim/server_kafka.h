/*
 * server_kafka.h - a scripted Kafka client on a machine of its own: it connects, keeps
 * reconnecting, sends requests and hands every answer to whoever asked.
 */
#ifndef TESTS_SIM_SERVER_KAFKA_H
#define TESTS_SIM_SERVER_KAFKA_H

#include "lib/wire/kafka_codec.h"
#include "tests/sim/server_wire.h"

struct kclient;

/* A request under way. Embedded by the owner, who may free it in done. */
struct kcall {
    struct list link;
    int key, version;
    int32_t correlation;
    uint64_t at; /* sim time of sending */
    /* answer: struct kafka_<api>_response, gone behind the call. NULL: the connection is gone and
     * there will be none. */
    void (*done)(struct kcall *k, struct kclient *c, const void *answer);
};

struct kclient_ops {
    void (*up)(struct kclient *c);
    /* Every call has been told already. */
    void (*down)(struct kclient *c);
};

struct kclient {
    struct list link; /* of the world */
    struct wire wire;
    struct world *world;
    const struct kclient_ops *ops;
    unsigned id;
    struct buf in;
    int32_t correlation;
    struct list calls; /* not answered yet, in order */
    void *data;        /* of the owner */
};

struct kclient *kclient_open(struct world *w, const struct kclient_ops *ops, void *data);
/* Closes the connection and waits for it; frees. */
void kclient_close(struct kclient *c);
void kclient_disconnect(struct kclient *c);
/* Needs CLIENT_UP; body: struct kafka_<api>_request; done and nothing else of k is set. */
void kclient_call(struct kclient *c, struct kcall *k, int key, int version, const void *body);

#endif
