/*
 * options.h - what the command line of nats-bench says.
 *
 * A mode is one or two words ("pub", "js pull"); options have one or two dashes and their value
 * behind a blank or "=". Counts take k, m and g (thousands), sizes take k, m and g (1024s),
 * durations are seconds or Go durations ("10", "1m30s").
 */
#ifndef NATS_BENCH_OPTIONS_H
#define NATS_BENCH_OPTIONS_H

#include "client/midge.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mode {
    MODE_PUB,
    MODE_SUB,
    MODE_PUBSUB,
    MODE_REQUEST,
    MODE_JS_PUB,
    MODE_JS_PULL,
    MODE_JS_PUSH,
    MODE_JS_ORDERED,
};

struct options {
    enum mode mode;
    char host[128], user[128], pass[128], path[128];
    uint16_t port;
    const char *login; /* --user; over what the URL says */
    const char *password, *token, *creds, *nkey;
    bool tls, tls_first, tls_insecure, ws;
    const char *tls_ca, *tls_cert, *tls_key;
    uint64_t size;      /* payload bytes */
    uint64_t clients;   /* publishers, requesters or consumers; a thread and connection each */
    uint64_t receivers; /* pubsub: subscribers; request: responders */
    uint64_t subjects;  /* spread over subject.0 .. subject.n-1; 1 = just `subject` */
    const char *subject;
    const char *queue; /* sub, pubsub: queue group, or NULL */
    uint64_t batch;    /* pull: messages on order */
    uint64_t count;    /* messages of all clients; 0 = until the duration */
    uint64_t duration_ns;
    uint64_t rate;   /* messages a second of all clients; 0 = as fast as it goes */
    uint64_t window; /* unacknowledged publishes of each client */
    bool fast;       /* js pub: one fast-ingest batch per client */
    bool sync;       /* wait for each acknowledgement: a window of 1 */
    const char *stream;
    const char *storage;  /* "file" or "memory" */
    const char *consumer; /* NULL = an ephemeral one */
    const char *ack;      /* "explicit" or "none" */
    bool purge;           /* js pub: empty the stream first */
    uint64_t server_pid;  /* 0 = unknown */
    bool json;
    bool quiet;       /* no progress line */
    uint64_t spin_us; /* how long a client looks before it sleeps */
    const char *congestion;
    bool help;
};

/* False with a text of one line in err. */
bool options_parse(struct options *o, int argc, char **argv, char err[256]);
/* Where to, and as whom; the rest are defaults. */
void options_connection(const struct options *o, struct midge_options *out);
const char *options_mode_name(enum mode mode);
bool options_is_js(const struct options *o);
void options_print_help(void);

#endif
