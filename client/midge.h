/*
 * midge.h - libmidge, a C client for NATS and JetStream servers: the connection.
 *
 * Beside it: midge_js.h (publishing, consuming and managing streams), midge_batch.h (batches),
 * midge_kv.h (key-value buckets), midge_object.h (object store). docs/client.md walks through all
 * of them with programs that run.
 *
 *     struct midge_options o;
 *     char err[256];
 *     midge_options_init(&o);
 *     struct midge *m = midge_connect(&o, err);
 *     midge_publish(m, &(struct midge_msg){.subject = MIDGE_TEXT("greet.joe"),
 *                                          .payload = MIDGE_TEXT("hello")});
 *     midge_flush(m, 1000);
 *     midge_close(m);
 *
 * Threads: one connection is driven by one thread; nothing happens outside of its calls (a pool of
 * two threads resolves names and nothing else). Callbacks come only from midge_poll and from the
 * calls that wait, which poll inside. A call that waits (it says so, or takes a timeout) is refused
 * with MIDGE_INVALID inside of a callback. Several connections in several threads are independent
 * of each other.
 *
 * Bytes: what goes in is copied before the call returns; what comes out in callbacks lives until
 * the callback returns. Texts are pointer and length and need no NUL; names of streams, keys and
 * the like are NUL-terminated.
 *
 * Objects (a subscription, a publisher, a bucket ...) belong to the program, which closes each
 * before midge_close.
 *
 * Errors: functions return 0 or one of the negative MIDGE_ codes; midge_error says why in words.
 * After MIDGE_CLOSED the connection is of no more use than to be closed.
 *
 * A connection that breaks is made again when max_reconnects allows it: midge_poll tries, and
 * subscriptions, pulls and ordered consumers go on by themselves. What was not sent is dropped;
 * until the server is back midge_publish says MIDGE_FULL, calls that wait wait for it, and what was
 * asked and not answered ends with MIDGE_LOST: it may have been done or not.
 *
 * Times are milliseconds in names ending in _ms, nanoseconds elsewhere; points in time are
 * nanoseconds since 1970, 0 = none.
 */
#ifndef MIDGE_H
#define MIDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct midge;
struct midge_sub;

struct midge_text {
    const char *p;
    size_t n;
};

#define MIDGE_TEXT(literal)                                                                        \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

enum {
    MIDGE_OK = 0,
    MIDGE_CLOSED = -1, /* the connection has ended */
    MIDGE_FULL = -2,   /* too much output is waiting: poll, then try again */
    MIDGE_TIMEOUT = -3,
    MIDGE_NO_RESPONDERS = -4,
    MIDGE_INVALID = -5,
    MIDGE_REFUSED = -6,   /* the server answered with an error; midge_error has its text */
    MIDGE_LOST = -7,      /* the connection broke before the answer came */
    MIDGE_NOT_FOUND = -8, /* no such stream, consumer, message, bucket, key, object */
    MIDGE_CONFLICT = -9,  /* it has changed: a wrong last sequence, a key that exists */
    MIDGE_CORRUPT = -10,  /* an object whose digest or size is not what its entry says */
};

/* What happens to a connection that is made again by itself. */
enum midge_event {
    MIDGE_EVENT_LOST, /* it broke; midge_error says why */
    MIDGE_EVENT_BACK, /* it is there again, subscriptions included */
    MIDGE_EVENT_END,  /* the last try failed: MIDGE_CLOSED from now on */
};

/* Copied by midge_connect. */
struct midge_options {
    const char *host; /* "127.0.0.1" */
    uint16_t port;    /* 4222 */
    const char *user, *pass, *token, *name;
    const char *creds;  /* path of a creds file: a user's token and seed; read at each try */
    const char *nkey;   /* or of a user's seed */
    bool tls;           /* NULL paths: the system's authorities, no certificate of our own; a server
                           that requires TLS gets it without this, too */
    bool tls_first;     /* the server waits for the handshake before it says anything */
    bool tls_insecure;  /* whoever answers is believed; for tests */
    const char *tls_ca; /* authorities, PEM */
    const char *tls_cert, *tls_key; /* ours; the key may be in the certificate's file */
    const char *tls_name;           /* what the server's certificate must have instead of host */
    bool websocket;                 /* over WebSocket; with tls: TLS first */
    const char *ws_path;            /* NULL = "/" */
    size_t max_output;              /* bytes that may wait before MIDGE_FULL; default 4 MiB */
    int connect_timeout_ms;         /* 5000; of each try */
    int timeout_ms;                 /* 5000; of calls that wait and have no timeout of their own */
    int max_reconnects;             /* tries in a row; 0 = none, the default; -1 = for ever */
    int reconnect_wait_ms;          /* 250; between two tries */
    int ping_interval_ms;           /* 120000; two unanswered ones end the connection; 0 = never */
    void (*on_event)(void *ctx, enum midge_event event); /* NULL = none */
    void *event_ctx;
    const char *js_domain;  /* JetStream's domain: "$JS.<domain>.API." instead of "$JS.API." */
    const char *js_prefix;  /* or a prefix of the program's own, without the last dot */
    uint64_t spin_ns;       /* how long midge_poll looks before it sleeps; default 0 */
    const char *congestion; /* TCP congestion control, NULL = the system's */
};
void midge_options_init(struct midge_options *o);

/* Connects and waits for the server's first PONG. NULL with a text in err. */
struct midge *midge_connect(const struct midge_options *o, char err[256]);
/* Also after errors. Does not flush. */
void midge_close(struct midge *m);
/* The last error in words; lives until the next call. */
const char *midge_error(const struct midge *m);
/* JetStream's number of the last MIDGE_REFUSED, MIDGE_NOT_FOUND or MIDGE_CONFLICT, as 10059; 0 when
 * the error had none. */
unsigned midge_error_code(const struct midge *m);
/* False while it is being made again, and when it has ended. */
bool midge_connected(const struct midge *m);
uint64_t midge_max_payload(const struct midge *m);

/* Sends what waits, receives, calls back, makes a broken connection again. Waits at most
 * max_wait_ns for something to happen. MIDGE_OK or MIDGE_CLOSED. */
int midge_poll(struct midge *m, uint64_t max_wait_ns);
/* Monotonic nanoseconds, fresh. */
uint64_t midge_now(void);

struct midge_msg {
    struct midge_text subject, reply, header, payload; /* header: whole block "NATS/1.0...\r\n\r\n"
                                                          or empty */
};

static inline struct midge_text midge_text_of(const char *text)
{
    struct midge_text t = {text, 0};
    while (text != NULL && text[t.n] != '\0')
        t.n++;
    return t;
}

/* ---- headers --------------------------------------------------------------------------------- */

/* A header block that grows; zero-initialised is empty. */
struct midge_headers {
    char *p;
    size_t n, cap;
};
/* MIDGE_INVALID when the key is empty or holds a colon or a blank, or one of them a line end. */
int midge_headers_add(struct midge_headers *h, const char *key, struct midge_text value);
static inline struct midge_text midge_headers_text(const struct midge_headers *h)
{
    struct midge_text t = {h->p, h->n};
    return t;
}
void midge_headers_free(struct midge_headers *h);
/* The first value of the key in a block; p == NULL when it is not there. Lives as long as the
 * block. */
struct midge_text midge_header_get(struct midge_text header, const char *key);
/* Walks over all: size_t at = 0; while (midge_header_next(header, &at, &key, &value)) ... */
bool midge_header_next(struct midge_text header, size_t *at, struct midge_text *key,
                       struct midge_text *value);

/* ---- publishing and subscribing -------------------------------------------------------------- */

/* MIDGE_OK, MIDGE_FULL (nothing was taken: poll, then try again), MIDGE_CLOSED, or MIDGE_INVALID
 * when it is larger than the server takes. */
int midge_publish(struct midge *m, const struct midge_msg *msg);
/* Bytes that wait to be sent. */
size_t midge_output(const struct midge *m);

typedef void (*midge_on_msg)(void *ctx, const struct midge_msg *msg);
/* queue may be empty. NULL when the connection has ended or has 65,535 subscriptions. */
struct midge_sub *midge_subscribe(struct midge *m, struct midge_text subject,
                                  struct midge_text queue, midge_on_msg on_msg, void *ctx);
/* Frees sub; nothing is called for it any more. */
void midge_unsubscribe(struct midge *m, struct midge_sub *sub);

/* Waits until the server has processed everything sent so far (PING, PONG). */
int midge_flush(struct midge *m, int timeout_ms);

/* Waits for one reply, handed to on_msg before the call returns. MIDGE_NO_RESPONDERS,
 * MIDGE_TIMEOUT, MIDGE_LOST, or what midge_publish says. */
int midge_request(struct midge *m, const struct midge_msg *msg, int timeout_ms, midge_on_msg on_msg,
                  void *ctx);

/* A unique subject "_INBOX.<22 characters>"; writes a NUL too. */
void midge_inbox(struct midge *m, char out[32]);
/* Frees what a function of this library says to free so. Accepts NULL. */
void midge_free(void *p);

#ifdef __cplusplus
}
#endif

#endif
