/*
 * options.h - everything that can be configured, as one immutable snapshot.
 *
 * Made by options_init (defaults), then the configuration file, then the command line, then
 * options_check. After that nobody changes it; a reload makes a new one. Strings are owned by the
 * snapshot. Sizes in bytes, times in nanoseconds, unless the name says otherwise. Defaults are in
 * options_init and options_finish.
 */
#ifndef CONFIG_OPTIONS_H
#define CONFIG_OPTIONS_H

#include "server/config/accounts.h"
#include "server/config/callout_options.h"
#include "server/config/leaf_options.h"
#include "server/config/ocsp_options.h"
#include "server/config/operators.h"
#include "server/config/tls_options.h"
#include "server/config/users.h"
#include "server/config/websocket_options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTIONS_PORT_MAX 65535
#define OPTIONS_PARTITIONS_MAX 1024u /* of a Kafka topic */
#define OPTIONS_KAFKA_PORT 9092
/* Of js_cipher: the store's numbers (store/crypt.h), which this layer does not see. */
enum { OPTIONS_CHACHA = 1, OPTIONS_AES = 2 };
#define OPTIONS_WORKERS_MAX 64u /* WORKERS_MAX of core, which this layer does not see */

/* nats-server's feature flags, in the order of their names. */
enum options_flag {
    FLAG_JS_ACK_FC_V2, /* acknowledgement and flow control subjects of the second form are sent */
    FLAG_JS_API_REPLY_V2,
    FLAG_JS_RAFT_DELETE_RANGE,
    FLAG_JS_SNAPSHOT_SOURCES,
    OPTIONS_FLAGS
};

struct options {
    /* listeners */
    char *host; /* "0.0.0.0" */
    int port;   /* 4222; -1 = any */
    char *client_advertise;
    bool proxy_protocol; /* clients may come with a PROXY header */
    char *http_host;     /* host when NULL */
    int http_port;       /* 0 = off, -1 = any */
    int https_port;      /* likewise, with the certificate of the tls block */
    char *http_base_path;
    char *ports_file_dir;
    char *pid_file;

    /* identity */
    char *server_name; /* NULL = the server id */
    char *cluster_name;
    struct str_list tags;            /* in small letters, each once */
    struct str_list metadata;        /* keys and values in turn */
    struct str_list default_domains; /* accounts and JetStream domains in turn */
    bool flags[OPTIONS_FLAGS];       /* feature flags, by enum options_flag */
    bool flags_named[OPTIONS_FLAGS]; /* the file says something of them */
    struct str_list unknown_flags;   /* in order */
    struct str_list inactive;        /* what was configured and does nothing here */

    /* logging */
    char *log_file; /* NULL = stderr */
    uint64_t log_size_limit;
    unsigned log_max_num;
    bool logtime, logtime_utc, debug, trace, trace_verbose, trace_headers;
    bool syslog;
    char *remote_syslog;
    int max_traced_msg_len; /* 0 = whole */

    /* limits */
    uint32_t max_control_line; /* 4096 */
    uint64_t max_payload;      /* 1 MiB */
    uint64_t max_pending;      /* 64 MiB */
    int64_t max_connections;   /* 65536; -1 unlimited */
    int64_t max_subscriptions; /* 0 unlimited */
    uint32_t max_subscription_tokens;
    uint32_t max_closed_clients; /* 10000 */
    int64_t ping_interval_ns;    /* 2 m */
    uint32_t ping_max;           /* 2 */
    int64_t write_deadline_ns;   /* 10 s */
    char *write_timeout;         /* as it was written; NULL = default */
    bool write_retry;            /* at the deadline of a write: go on, not close */
    int64_t lame_duck_duration_ns, lame_duck_grace_ns;
    bool no_fast_producer_stall;
    bool no_header_support;

    /* authorization: one user, or one token, or a list of users */
    char *user, *pass, *token;
    struct users users;
    struct accounts accounts;
    char *system_account; /* NULL = "$SYS"; else one of accounts */
    bool no_system_account;
    struct operators operators;
    struct callout_options callout;
    struct proxy_options proxies;
    char *no_auth_user;      /* who a client is that offers nothing; NULL = nobody */
    bool auth_block;         /* the file has a block of that name: see options_default_is_open */
    int64_t auth_timeout_ns; /* 2 s; with tls its timeout and 1 s */

    /* encryption of client connections */
    struct tls_options tls;
    bool allow_non_tls; /* clients may choose */
    struct ocsp_options ocsp;
    struct ocsp_cache_options ocsp_cache;

    struct websocket_options websocket;
    struct leaf_options leaf;

    /* jetstream */
    bool jetstream;
    char *store_dir;          /* files live in <store_dir>/jetstream */
    int64_t max_memory_store; /* -1 = 75 % of memory */
    int64_t max_file_store;   /* -1 = 75 % of the free disk */
    char *domain;
    char *js_key, *js_prev_key; /* encryption at rest; NULL = none, or wiped after the start */
    unsigned js_cipher;         /* 0 = not said: chacha */
    bool js_strict;             /* true */
    /* Open batches: 50, 1000; messages of one: 1000; how long a publisher may be silent: 10 s. */
    uint32_t js_batch_inflight_per_stream, js_batch_inflight_total, js_batch_msgs;
    /* Of fast-ingest batches: 1000, 50000. */
    uint32_t js_fast_inflight_per_stream, js_fast_inflight_total;
    int64_t js_batch_timeout_ns;
    int64_t js_max_ack_pending, js_max_request_batch, js_duplicate_window_ns; /* server limits; 0 =
                                                                                 none */
    uint32_t js_request_queue_limit;                                          /* 10000 */
    uint32_t js_max_buffered_msgs;                                            /* 100000 */
    uint64_t js_max_buffered_bytes;                                           /* 128 MiB */
    bool sync_interval_set; /* accepted; does not lower durability: the log says so */
    /* What is shown of the block and does nothing, or not by itself; 0 = not said. */
    struct {
        int64_t sync_interval_ns, max_ha_assets, batch_timeout_ns;
        uint32_t batch_per_stream, batch_total, batch_msgs;
        bool sync_always;
        char *unique_tag;
    } js_said;

    /* kafka */
    char *kafka_host;                   /* "127.0.0.1" */
    int kafka_port;                     /* 0 = off, -1 = any */
    char *kafka_advertise;              /* "host:port"; NULL = where the client came in */
    uint32_t kafka_node_id;             /* the broker's number: 1 */
    uint32_t kafka_num_partitions;      /* of topics that do not say: 1 */
    bool kafka_auto_create;             /* true */
    bool kafka_tls;                     /* by the tls block */
    int64_t kafka_group_heartbeat_ns;   /* members of new groups say that they live: 5 s */
    int64_t kafka_group_session_ns;     /* who does not for so long goes: 45 s */
    int64_t kafka_group_session_min_ns; /* the shortest that a classic member may ask for: 6 s */
    int64_t kafka_group_delay_ns;       /* first members of a group wait so long for more: 500 ms */
    int64_t kafka_compaction_ns;        /* compacted topics are looked at: 15 s; 0 = never */
    int64_t kafka_offsets_retention_ns; /* of groups without members: 7 days */

    /* midge's own */
    unsigned workers;      /* 0 = cores - 1, at least 1 */
    bool spread;           /* workers take connections and streams in turn, not fill first */
    char *io_backend;      /* "auto", "uring", "event" */
    uint64_t pool_bytes;   /* prewritten files */
    uint64_t cache_bytes;  /* batch cache over all workers */
    uint64_t memory_bytes; /* all buffers; 0 = three quarters of what there is */
    char *congestion;      /* TCP congestion control of accepted sockets; NULL = the system's */

    /* what was parsed */
    char *config_file;
    char config_digest[80]; /* "sha256:..." */
    char *signal;           /* not to run, but to send this to a running server */
};

void options_init(struct options *o);
/* False with a text in why when the server can not run with these. */
bool options_check(const struct options *o, char why[256]);
/* The one account that the file has is the system account's, and no block says who may come in: who
 * offers nothing is in the default account, without a user. (INFO says auth_required all the same.)
 */
bool options_default_is_open(const struct options *o);
bool options_is_io_backend(const char *name);
const char *options_flag_name(unsigned flag);
void options_free(struct options *o);
/* Takes the keys out of memory, once the store is open. */
void options_wipe_keys(struct options *o);
/* The last step of making a snapshot: a limit or time of 0 means its default. */
void options_finish(struct options *o);
/* Takes a name into "inactive", once. */
void options_note_inactive(struct options *o, const char *name);
bool options_is_inactive(const struct options *o, const char *name);

#endif
