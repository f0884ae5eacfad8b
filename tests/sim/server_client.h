/*
 * server_client.h - a scripted NATS client on a machine of its own: it connects, keeps
 * reconnecting, sends what it is told, and hands every message to its owner.
 *
 * Inboxes are "_I.<client>.<connection>.<number>": what an earlier connection was still owed goes
 * nowhere, as with a client that was started anew.
 */
#ifndef TESTS_SIM_SERVER_CLIENT_H
#define TESTS_SIM_SERVER_CLIENT_H

#include "lib/wire/nats_parse.h"
#include "tests/sim/server_wire.h"

struct client;

/* Something that is answered once, at an inbox. Embedded by the owner, who may free it in done. */
struct request {
    struct list link;
    uint64_t number; /* of the inbox */
    uint64_t at;     /* sim time of sending */
    /* op NULL: the connection is gone and there will be no answer. */
    void (*done)(struct request *r, struct client *c, const struct nats_op *op);
};

/* What its owner does. */
struct client_ops {
    /* CONNECT and the inbox subscription have been sent. */
    void (*up)(struct client *c);
    /* The connection is gone: nothing that was asked for on it will be answered. */
    void (*down)(struct client *c);
    /* Messages other than answers to requests. */
    void (*message)(struct client *c, const struct nats_op *op);
    /* The n-th PONG of this connection, from 1; the first answers the ping of connecting. */
    void (*pong)(struct client *c, uint64_t n);
};

struct client {
    struct list link; /* of the world */
    struct wire wire;
    struct world *world;
    const struct client_ops *ops;
    unsigned id;
    bool greeted;
    struct nats_parser parser;
    char *collecting;
    uint64_t last_inbox; /* of this connection */
    uint64_t pings, pongs;
    struct list requests; /* not answered yet, oldest first */
    void *data;           /* of the owner */
};

struct client *client_open(struct world *w, const struct client_ops *ops);
/* Closes the connection and waits for it; frees. */
void client_close(struct client *c);

/* An end from this side. */
void client_disconnect(struct client *c);
void client_sleep(struct client *c, bool asleep);

/* All of these need CLIENT_UP. */
void client_sub(struct client *c, const char *subject, unsigned sid);
void client_ping(struct client *c);
/* header: a whole block or empty; reply may be empty. */
void client_pub(struct client *c, struct str subject, struct str reply, struct str header,
                struct str payload);
/* Publishes with an inbox; done and nothing else of r is set by the caller. */
void client_request(struct client *c, struct request *r, struct str subject, struct str header,
                    struct str payload);
/* The next inbox; number returns what is behind the last dot. */
struct str client_inbox(struct client *c, char out[64], uint64_t *number);
/* The number when the subject is an inbox of the current connection, else 0. */
uint64_t client_inbox_number(const struct client *c, struct str subject);

#endif
