/*
 * server_stage.h - a whole server on the simulator, and one who connects to it: for one input of a
 * fuzz target, or one case of a test.
 *
 * Everything is done in order: what the other side says is answered, as far as it will be, before
 * stage_say returns. Nothing is left when stage_close returns; a server that can not stop is a
 * finding.
 *
 *     stage_open(&s, conf);
 *     stage_connect(&s, port);
 *     buf_puts(&s.far.out, "..."), stage_say(&s), ... s.far.in is what came ...
 *     stage_close(&s);
 */
#ifndef TESTS_SIM_SERVER_STAGE_H
#define TESTS_SIM_SERVER_STAGE_H

#include "lib/base/buf.h"
#include "lib/io/acceptor.h"
#include "server/config/options.h"
#include "server/parts.h"
#include "tests/sim/sim.h"

#define STAGE_DOORS                                                                                \
    "listen: \"127.0.0.1:4222\"\njetstream { domain: d }\n"                                        \
    "websocket { listen: \"127.0.0.1:8080\", no_tls: true, compression: true }\n"                  \
    "kafka { listen: \"127.0.0.1:9092\", group_delay: \"0s\" }\n"

enum { STAGE_CLIENTS = 4222, STAGE_WEBSOCKET = 8080, STAGE_KAFKA = 9092 };

struct far {
    struct io *io;
    struct io_sock *sock;
    struct io_op connect, recv, send, close;
    struct acceptor acceptor;
    struct buf out, in; /* to be said; what was heard and not taken yet */
    struct iovec iov;
    bool ended, closed;
};

struct stage {
    struct kafka_limits limits; /* may be set before stage_open */
    struct sim *sim;
    struct options options;
    struct server_parts parts;
    struct far far;
    bool stopped;
};

/* s is zeroes but for what may be set. conf: the server's, as in its file. */
void stage_open(struct stage *s, const char *conf);
/* Once: the other side connects, or waits for the server to connect there. */
void stage_connect(struct stage *s, uint16_t port);
void stage_listen(struct stage *s, uint16_t port);
/* Nothing that was said is still on its way, and there is somebody to say it to. */
bool stage_can_say(const struct stage *s);
/* Until the server has nothing left to do. */
void stage_settle(struct stage *s);
/* far.out, and then as stage_settle. */
void stage_say(struct stage *s);
/* The other side leaves, and the server stops. */
void stage_close(struct stage *s);

#endif
