/* client_int.h - the inside of a connection, shared by the files of libmidge. */
#ifndef CLIENT_INT_H
#define CLIENT_INT_H

#include "client/midge.h"
#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "lib/base/nuid.h"
#include "lib/base/prng.h"
#include "lib/io/io.h"
#include "lib/json/json.h"
#include "lib/wire/nats_parse.h"
#include "lib/wire/websocket.h"

#define CLIENT_MS UINT64_C(1000000)

enum client_state {
    CLIENT_DIALING, /* connecting, then waiting for INFO, then for the PONG of the handshake */
    CLIENT_UP,
    CLIENT_CLOSING, /* broken; the socket is being closed */
    CLIENT_WAITING, /* for the next try */
    CLIENT_ENDED,
};

/* What INFO says that we need. */
struct client_info {
    char *nonce;
    int64_t max_payload;
    bool tls_required, tls_available;
};

enum client_step {
    CLIENT_STEP_TLS,     /* the handshake is under way */
    CLIENT_STEP_UPGRADE, /* asked for WebSocket, not answered */
    CLIENT_STEP_ON,
};

/* Between the socket and the protocol; transport.c's. Zeroed for each try. */
struct client_transport {
    enum client_step step;
    struct client_tls *tls; /* NULL = none */
    bool websocket;         /* asked for */
    struct ws_reader ws;
    struct buf key;    /* of the upgrade */
    struct buf head;   /* the answer to it, as far as it came */
    struct buf frames; /* on their way to records */
    struct buf wire;   /* on its way to the socket; not used by a plain connection */
    char *plain;       /* what records become; NULL until the first */
};

/* Owned copies of the options' texts are in strings. Output gathers in one buffer while the other
 * is being sent. */
struct midge {
    struct io *io;
    struct io_sock *sock;
    struct io_op connect, recv, send, close;
    struct nats_parser parser;
    char *collecting;
    struct buf out, sending;
    struct iovec iov;
    struct client_transport transport;
    struct midge_options o;
    struct buf strings;
    struct prng prng;
    struct nuid nuid;
    enum client_state state;
    bool stopping;       /* midge_close runs */
    bool polling;        /* inside of midge_poll: a call that waits is an error */
    bool was_up;         /* the first try has succeeded */
    bool got_info;       /* of this connection */
    bool said;           /* error holds an -ERR of this connection */
    unsigned tries;      /* in a row that failed */
    uint64_t generation; /* which connection this is */
    struct wheel_timer dial_timer, ping_timer;
    struct client_info info;
    uint64_t pings_sent, pongs_seen, ping_mark;
    unsigned pings_missed;
    struct client_slot *subs; /* by sid % 65536 */
    size_t nsubs;
    struct list hooks;         /* of struct client_hook */
    struct list asks;          /* of struct client_ask */
    struct midge_sub *replies; /* NULL until the first ask */
    uint64_t last_ask;
    char reply_prefix[64]; /* "_INBOX.<nuid>." and room for a number */
    size_t reply_prefix_n;
    char js_prefix[256]; /* "$JS.API." */
    unsigned error_code;
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
    struct str subject, queue; /* behind the struct */
};

/* Whoever must know that the connection broke, and that it is back. Either may be NULL. Called from
 * midge_poll; must not wait. */
struct client_hook {
    struct list link;
    void (*lost)(struct client_hook *h);
    void (*back)(struct client_hook *h);
};

static inline void client_hook_add(struct midge *m, struct client_hook *h)
{
    list_push_back(&m->hooks, &h->link);
}

/* A request whose answers come by callback. The owner embeds it; it may be freed in done. */
struct client_ask {
    struct list link;
    struct midge *m;
    uint64_t number; /* 0 = not running */
    bool many;       /* more than one answer: goes on until it is ended or times out */
    struct wheel_timer timer;
    /* rc MIDGE_OK with the answer; MIDGE_TIMEOUT, MIDGE_NO_RESPONDERS or MIDGE_LOST without. Unless
     * many and MIDGE_OK it has ended before done is called. */
    void (*done)(struct client_ask *a, int rc, const struct midge_msg *msg);
};
void client_ask_init(struct client_ask *a, struct midge *m,
                     void (*done)(struct client_ask *a, int rc, const struct midge_msg *msg));
/* Sends msg (its reply is set here). Not while it runs. What midge_publish says. */
int client_ask_start(struct client_ask *a, const struct midge_msg *msg, int timeout_ms);
/* Nothing is called any more. Harmless when it does not run. */
void client_ask_end(struct client_ask *a);

static inline struct str client_str(struct midge_text t)
{
    return str_from(t.p, t.n);
}

static inline struct midge_text client_text(struct str s)
{
    return (struct midge_text){s.p, s.n};
}

static inline bool client_up(const struct midge *m)
{
    return m->state == CLIENT_UP;
}

/* ---- client.c */

/* Appends to the output whatever waits there: for answers, which what was received bounds. Dropped
 * while there is no connection. */
void client_publish(struct midge *m, const struct midge_msg *msg);
/* Writes a text for midge_error and returns rc. */
int client_error(struct midge *m, int rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The status code of a header block's first line ("503"), or 0. */
unsigned client_status(struct midge_text header);
/* The SUB line of each subscription, for a new connection. */
void client_resubscribe(struct midge *m);
/* For calls that wait: MIDGE_INVALID inside of a callback; else polls until the connection is up,
 * or the end has come (MIDGE_TIMEOUT, MIDGE_CLOSED). */
int client_wait_up(struct midge *m, uint64_t end);
/* Polls until *flag or the time has come; MIDGE_OK, MIDGE_TIMEOUT, MIDGE_CLOSED. */
int client_wait_flag(struct midge *m, const bool *flag, uint64_t end);

static inline uint64_t client_end(int timeout_ms)
{
    return midge_now() + (uint64_t) (timeout_ms > 0 ? timeout_ms : 0) * CLIENT_MS;
}

/* ---- receive.c */

void client_receive_init(struct midge *m);
void client_receive_start(struct midge *m);
/* Forgets what a broken connection left half. */
void client_receive_reset(struct midge *m);
/* Bytes of the protocol, as they come. */
void client_take(struct midge *m, struct str in);

/* ---- transport.c */

/* The socket is there: begins what comes before the protocol. */
void client_transport_begin(struct midge *m);
/* A plain connection that has seen INFO goes on with TLS; client_dial_secured when it is done. */
void client_transport_secure_now(struct midge *m);
bool client_transport_secure(const struct midge *m);
/* Bytes from the socket; may be modified. */
void client_transport_take(struct midge *m, uint8_t *bytes, size_t n);
/* Puts what can be sent into m->sending, which is empty. The connection may be lost by it. */
void client_transport_fill(struct midge *m);
void client_transport_reset(struct midge *m);

/* ---- creds.c */

/* Appends to the CONNECT line what the options' file of credentials says; false with an error text
 * when it is no good. */
bool client_put_creds(struct midge *m);

/* ---- dial.c */

/* Starts the first try. */
void client_dial(struct midge *m);
/* The handshake's turns: INFO, TLS where it comes behind it, PONG. */
void client_dial_info(struct midge *m);
void client_dial_secured(struct midge *m);
void client_dial_pong(struct midge *m);
/* The connection is of no use any more; why is kept unless the server has said it better. */
void client_lost(struct midge *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
void client_dial_stop(struct midge *m);

/* ---- info.c */

/* Reads INFO's JSON; false, with m->info unchanged, when it is none. */
bool client_info_read(struct client_info *info, struct str json);
void client_info_free(struct client_info *info);
/* Appends the CONNECT line. False with an error text when the credentials are no good. */
bool client_put_connect(struct midge *m);

#endif
