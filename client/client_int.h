/* client_int.h - the inside of a connection, shared by the files of libmidge. */
#ifndef CLIENT_INT_H
#define CLIENT_INT_H

#include "client/midge.h"
#include "lib/base/buf.h"
#include "lib/base/hmap.h"
#include "lib/base/nuid.h"
#include "lib/base/prng.h"
#include "lib/io/io.h"
#include "lib/wire/nats_parse.h"

/* Output gathers in one buffer while the other is being sent. */
struct midge {
    struct io *io;
    struct io_sock *sock;
    struct io_op connect, recv, send, close;
    struct nats_parser parser;
    char *collecting;
    struct buf out, sending;
    struct iovec iov;
    size_t max_output;
    struct prng prng;
    struct nuid nuid;
    bool connected, closed, sock_closed, stopping;
    bool got_info;
    uint64_t max_payload;
    uint64_t pings_sent, pongs_seen;
    struct client_slot *subs; /* by sid % 65536 */
    size_t nsubs;
    struct client_requests *requests; /* NULL until the first request */
    bool server_said;                 /* error holds an -ERR of the server */
    char error[256];
};

struct client_slot {
    struct midge_sub *sub; /* NULL = free */
    uint64_t uses;
};

struct midge_sub {
    struct midge *m;
    uint64_t sid;
    midge_on_msg on_msg;
    void *ctx;
};

static inline struct str client_str(struct midge_text t)
{
    return str_from(t.p, t.n);
}

static inline struct midge_text client_text(struct str s)
{
    return (struct midge_text){s.p, s.n};
}

/* Appends to the output whatever waits there: for answers, which what was received bounds. */
void client_publish(struct midge *m, const struct midge_msg *msg);
int client_fail(struct midge *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The status code of a header block's first line ("503"), or 0. */
unsigned client_status(struct midge_text header);

#endif
