/*
 * leaf_options.h - what a leafnodes block says: who may connect as a leaf node, and which servers
 * this one connects to as one. Texts are owned by the snapshot of options.
 */
#ifndef CONFIG_LEAF_OPTIONS_H
#define CONFIG_LEAF_OPTIONS_H

#include "server/config/tls_options.h"
#include "server/config/users.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEAF_PORT 7422
#define LEAF_REMOTES_MAX 64u
#define LEAF_URLS_MAX 32u

/* In the order of how much: the other side may want less. */
enum leaf_mode {
    LEAF_NOT_SUPPORTED, /* as a server that knows nothing of it */
    LEAF_OFF,
    LEAF_ACCEPT,  /* when the other side wants it */
    LEAF_S2_AUTO, /* by the time a round trip takes */
    LEAF_S2_UNCOMPRESSED,
    LEAF_S2_FAST,
    LEAF_S2_BETTER,
    LEAF_S2_BEST,
    LEAF_MODES
};

#define LEAF_RTTS_MAX 4u

struct leaf_compression {
    enum leaf_mode mode;
    int64_t rtt_ns[LEAF_RTTS_MAX]; /* up to which S2_UNCOMPRESSED and those behind it serve; 0 = not
                                    */
    unsigned nrtts;                /* 0 = 10 ms, 50 ms, 100 ms, beyond */
};

/* nats-leaf://[user[:pass]@]host[:port][/path], also nats and tls, ws and wss; user and password
 * are decoded. */
struct leaf_url {
    char *host;
    uint16_t port;
    char *user, *pass; /* NULL = none; a user alone is a token as well */
    char *path;        /* of ws: without a slash at its ends; NULL = none */
    bool tls, ws;
};

/* The way to WebSocket URLs leads through an HTTP proxy, which is asked with CONNECT. */
struct leaf_proxy {
    char *host; /* NULL = there is none */
    uint16_t port;
    char *user, *pass;  /* both or none */
    int64_t timeout_ns; /* to connect to it, and for its answer; 0 = the dial timeout */
};

struct leaf_remote_options {
    struct leaf_url *urls;
    size_t nurls;
    char *account; /* the local one; NULL = the default one */
    char *creds;   /* path of a credentials file */
    char *nkey;    /* a seed */
    struct tls_options tls;
    bool hub;                                        /* we are the hub of that connection */
    struct subject_rules deny_imports, deny_exports; /* what does not come in, what does not go */
    struct leaf_compression compression;
    bool no_randomize, disabled, isolate, request_isolation;
    bool no_masking;               /* asks for frames without masks */
    int64_t first_info_timeout_ns; /* 1 s */
    int64_t dial_timeout_ns;       /* 0 = that of the block */
    struct leaf_proxy proxy;
};

struct leaf_options {
    char *host; /* NULL = all addresses */
    int port;   /* 0 = no listener, -1 = any */
    char *advertise;
    bool no_advertise, isolate;
    struct tls_options tls;
    struct leaf_compression compression;
    char *min_version;       /* "2.8.0" or later; NULL = any */
    int64_t reconnect_ns;    /* 1 s */
    int64_t dial_timeout_ns; /* 1 s */

    /* Credentials of leaf nodes; without, they are those of clients. */
    char *user, *pass;
    char *account; /* of that user, and of who needs no credentials; NULL = the default one */
    struct users users;
    bool proxy_required;     /* of all of them: only through a trusted proxy */
    int64_t auth_timeout_ns; /* 2 s; with tls its timeout and 1 s */

    struct leaf_remote_options *remotes;
    size_t nremotes;
};

void leaf_options_free(struct leaf_options *l);

#endif
