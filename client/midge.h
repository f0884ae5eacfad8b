/*
 * midge.h - libmidge, a C client for NATS and JetStream servers.
 *
 * One connection is driven by one thread: nothing happens outside of its calls, there are no hidden
 * threads, and callbacks come only from midge_poll (and from the calls that wait, which poll inside
 * and are named so). Several connections in several threads are independent of each other.
 *
 *     struct midge_options o;
 *     char err[256];
 *     midge_options_init(&o);
 *     struct midge *m = midge_connect(&o, err);
 *     midge_publish(m, &(struct midge_msg){.subject = MIDGE_TEXT("greet.joe"), .payload =
 * MIDGE_TEXT("hello")}); midge_flush(m, 1000); midge_close(m);
 *
 * Bytes: what goes in is copied before the call returns; what comes out in callbacks lives until
 * the callback returns. Texts are pointer and length and need no NUL.
 *
 * Errors: functions return 0 or one of the negative MIDGE_ codes. After MIDGE_CLOSED the connection
 * is of no more use than to be closed; reconnecting is a new midge_connect (this version does not
 * reconnect by itself). midge_error says why in words.
 *
 * Times are milliseconds in arguments named _ms and nanoseconds elsewhere.
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
    MIDGE_REFUSED = -6, /* the server answered with an error; midge_error has its text */
};

struct midge_options {
    const char *host; /* "127.0.0.1" */
    uint16_t port;    /* 4222 */
    const char *user, *pass, *token, *name;
    size_t max_output;      /* bytes that may wait before MIDGE_FULL; default 4 MiB */
    int connect_timeout_ms; /* 5000 */
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
uint64_t midge_max_payload(const struct midge *m);

/* Sends what waits, receives, calls back. Waits at most max_wait_ns for something to happen.
 * MIDGE_OK or MIDGE_CLOSED. */
int midge_poll(struct midge *m, uint64_t max_wait_ns);
/* Monotonic nanoseconds, fresh. */
uint64_t midge_now(void);

struct midge_msg {
    struct midge_text subject, reply, header, payload; /* header: whole block "NATS/1.0...\r\n\r\n"
                                                          or empty */
};

/* MIDGE_OK, MIDGE_FULL, MIDGE_CLOSED, or MIDGE_INVALID when it is larger than the server takes. */
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
 * MIDGE_TIMEOUT, or what midge_publish says. */
int midge_request(struct midge *m, const struct midge_msg *msg, int timeout_ms, midge_on_msg on_msg,
                  void *ctx);

/* A unique subject "_INBOX.<22 characters>"; writes a NUL too. */
void midge_inbox(struct midge *m, char out[32]);

/* ---- JetStream ------------------------------------------------------------------------------- */

/* One API request: subject behind "$JS.API.", JSON body. The JSON answer is in *answer
 * (NUL-terminated, free with midge_free), also when it is an error (MIDGE_REFUSED). */
int midge_js_api(struct midge *m, const char *subject, const char *json, int timeout_ms,
                 char **answer);
void midge_free(void *p);

/* Asynchronous publishing with a window. */
struct midge_publisher;
struct midge_ack {
    uint64_t number; /* of the publish, from 0 */
    uint64_t stream_seq;
    bool duplicate;
    const char *error; /* NULL, or the server's description; lives until the callback returns */
    void *ctx;         /* given with the publish */
};
typedef void (*midge_on_ack)(void *ctx, const struct midge_ack *ack);
struct midge_publisher *midge_publisher_open(struct midge *m, unsigned window, midge_on_ack on_ack,
                                             void *ctx);
/* MIDGE_FULL when `window` publishes are unacknowledged or the output is full. */
int midge_publisher_send(struct midge_publisher *p, struct midge_text subject,
                         struct midge_text header, struct midge_text payload, void *ctx);
unsigned midge_publisher_pending(const struct midge_publisher *p);
/* Polls until everything sent is acknowledged. */
int midge_publisher_wait(struct midge_publisher *p, int timeout_ms);
void midge_publisher_close(struct midge_publisher *p);

/* What a consumer delivers. */
struct midge_delivery {
    struct midge_msg msg; /* reply is the ack subject */
    uint64_t stream_seq, consumer_seq, delivered, pending;
    int64_t time_ns;
};
typedef void (*midge_on_delivery)(void *ctx, const struct midge_delivery *d);

/* Pulls from an existing consumer: keeps requests out so that about `batch` messages are always on
 * order. */
struct midge_pull;
struct midge_pull *midge_pull_open(struct midge *m, const char *stream, const char *consumer,
                                   unsigned batch, midge_on_delivery on_delivery, void *ctx);
/* NULL, or why nothing more will come: the consumer is gone or not of the pull kind. Lives as long
 * as p. */
const char *midge_pull_error(const struct midge_pull *p);
/* Not inside of its callback. */
void midge_pull_close(struct midge_pull *p);
/* Receives from an existing push consumer at its deliver subject; answers flow control. */
struct midge_push;
struct midge_push *midge_push_open(struct midge *m, struct midge_text deliver_subject,
                                   struct midge_text group, midge_on_delivery on_delivery,
                                   void *ctx);
void midge_push_close(struct midge_push *p);
/* Acknowledges (fire and forget). Never MIDGE_FULL. Inside the callback or with a copied ack
 * subject. */
int midge_ack(struct midge *m, struct midge_text ack_subject);

#ifdef __cplusplus
}
#endif

#endif
