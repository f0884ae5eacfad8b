/*
 * server_wire.h - the connection of a client on a machine of its own: it is made, and made again
 * after its end, bytes go both ways. What they mean is the owner's (server_client.c,
 * server_kafka.c).
 */
#ifndef TESTS_SIM_SERVER_WIRE_H
#define TESTS_SIM_SERVER_WIRE_H

#include "lib/base/buf.h"
#include "lib/io/io.h"
#include "tests/sim/server_world.h"

enum client_state { CLIENT_OFF, CLIENT_CONNECTING, CLIENT_UP, CLIENT_CLOSING };

struct wire;

struct wire_ops {
    const char *name; /* of a client of this kind, in traces */
    uint16_t port;
    /* It is there. */
    void (*up)(struct wire *x);
    /* Bytes have come; what is not taken is gone. */
    void (*take)(struct wire *x, struct str in);
    /* It is ending: nothing more comes. */
    void (*down)(struct wire *x);
    /* It has ended. */
    void (*closed)(struct wire *x);
};

struct wire {
    struct list link; /* of the world */
    struct world *world;
    const struct wire_ops *ops;
    unsigned id; /* of the client */
    enum client_state state;
    bool stay_off; /* does not reconnect */
    bool asleep;   /* does not read */
    struct io *io;
    struct io_sock *sock;
    struct io_op connect, recv, send, close;
    struct wheel_timer retry;
    struct buf out; /* what is appended goes out with the next step (wire_push) */
    struct buf sending;
    struct iovec iov;
    uint64_t conn; /* number of the connection, from 1 */
};

/* Gives the client its number. */
void wire_open(struct wire *x, struct world *w, const struct wire_ops *ops);
/* Closes the connection and waits for it. */
void wire_close(struct wire *x);
/* Something was appended to out. */
void wire_push(struct wire *x);
/* An end from this side. */
void wire_disconnect(struct wire *x);
void wire_sleep(struct wire *x, bool asleep);
/* Everything that was to be sent has left this machine. */
bool wire_is_quiet(const struct wire *x);

/* One of their loops. */
void wires_step(struct world *w, struct io *io);

#endif
