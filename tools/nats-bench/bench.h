/*
 * bench.h - one run: clients, each a thread with one connection, that do what their role says.
 *
 * Phases: every client connects and sets up, all meet at the start line, the clock starts. Roles
 * that end by themselves (publishers, requesters, consumers) do so by their share of the count, at
 * the deadline, or on an interrupt; when the last has ended the others (subscribers, responders)
 * are told to drain. A client's own first and last message times make its role's rate, so nothing
 * depends on when the main thread looks. Counters that the progress line reads are relaxed atomics
 * stored once per batch; everything else belongs to the client's thread until it has been joined.
 */
#ifndef NATS_BENCH_BENCH_H
#define NATS_BENCH_BENCH_H

#include "client/midge_js.h"
#include "lib/base/hdr.h"
#include "tools/nats-bench/options.h"

#include <pthread.h>
#include <stdatomic.h>

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)
#define MAX_ROLES 2

struct bench;
struct client;

struct role {
    const char *name;                /* "publish", as the table shows it */
    bool waits;                      /* runs until the other role has ended */
    bool bounded;                    /* its share of the count ends it; else it shares one total */
    bool (*setup)(struct client *c); /* connected, before the start; false after bench_fail */
    void (*run)(struct client *c);
};

struct client {
    struct bench *b;
    const struct role *role;
    unsigned index; /* among the clients of its role */
    pthread_t thread;
    struct midge *m;
    uint64_t target;           /* messages to do; UINT64_MAX = until the deadline */
    _Atomic uint64_t progress; /* messages so far, for others */
    uint64_t messages, bytes, errors;
    uint64_t first, last; /* monotonic times: the start, the end of the last thing done */
    struct hdr *latency;  /* nanoseconds */
    char *payload;
    uint64_t next_subject;
    void *own;       /* the role's */
    char error[256]; /* "" = all well */
};

struct bench {
    struct options o;
    struct client *clients;
    unsigned nclients;
    struct midge_text *subjects;
    pthread_t main;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ready, ended, active, finished; /* under lock; active = clients that end by themselves
                                              */
    bool started;
    _Atomic bool stop;         /* interrupted, or a client failed */
    _Atomic bool drain;        /* the other role has ended */
    _Atomic uint64_t expected; /* valid once drain is set: messages that were published */
    _Atomic uint64_t total;    /* consumers: messages of all of them together */
    uint64_t goal;             /* consumers: when to end, UINT64_MAX = at the deadline */
    uint64_t start, deadline;  /* monotonic; deadline UINT64_MAX = none */
    int64_t wall_start;        /* nanoseconds since 1970 */
    uint64_t end;
    uint64_t cpu_before, cpu_after; /* server's, nanoseconds */
    struct midge *control;
    char consumer[64];
    bool consumer_made;
    char stream_text[128]; /* for the head line */
    uint64_t unacked;
};

/* Runs all; the result is in b. False with a message on stderr when it could not start. */
bool bench_run(struct bench *b);
void bench_free(struct bench *b);

/* ---- for roles ------------------------------------------------------------------------------- */

/* Keeps the first text, stops the run. */
void bench_fail(struct client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* fail with the connection's error. */
void bench_fail_connection(struct client *c);
/* The run is over for this client: stop, or past the deadline. */
static inline bool bench_over(const struct client *c, uint64_t now)
{
    return now >= c->b->deadline || atomic_load_explicit(&c->b->stop, memory_order_relaxed);
}
static inline void bench_progress(struct client *c)
{
    atomic_store_explicit(&c->progress, c->messages, memory_order_relaxed);
}
/* The subject of the client's next message. */
static inline struct midge_text bench_subject(struct client *c)
{
    struct midge_text s = c->b->subjects[c->next_subject];
    if (++c->next_subject == c->b->o.subjects)
        c->next_subject = 0;
    return s;
}
/* The subject, or the wildcard over all subjects. */
void bench_pattern(const struct bench *b, char out[256]);

/* ---- roles ----------------------------------------------------------------------------------- */

extern const struct role role_publish, role_js_publish, role_js_fast, role_subscribe, role_request,
    role_respond, role_pull, role_push, role_ordered;

/* ---- jetstream.c: what exists on the server before and after --------------------------------- */

/* Opens the control connection, creates the stream when missing, and a pull consumer. */
bool jetstream_prepare(struct bench *b, char err[256]);
void jetstream_cleanup(struct bench *b);
#define JETSTREAM_DELIVER_ALL "\"deliver_policy\":\"all\""
/* Creates a consumer; settings are members of its config, deliver_policy among them. Its pending
 * messages to *pending. */
int jetstream_create_consumer(struct bench *b, struct midge *m, const char *name,
                              const char *settings, uint64_t *pending);

/* ---- report.c -------------------------------------------------------------------------------- */

void report_progress(const struct bench *b, bool last);
void report_print(const struct bench *b);

#endif
