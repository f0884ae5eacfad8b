/*
 * kafka_int.h - the inside of server/kafka: connections, requests, and what handlers use.
 *
 * Way of a request: kafka_conn.c collects a frame -> kafka_api.c decodes it and finds the handler
 * -> the handler answers, now or later -> kafka_conn.c sends and goes on with the next frame.
 */
#ifndef KAFKA_KAFKA_INT_H
#define KAFKA_KAFKA_INT_H

#include "lib/base/hmap.h"
#include "lib/base/list.h"
#include "lib/base/wheel.h"
#include "lib/io/acceptor.h"
#include "lib/wire/kafka_codec.h"
#include "server/config/options.h"
#include "server/core/sink.h"
#include "server/kafka/fetch_session.h"
#include "server/kafka/kafka.h"
#include "server/kafka/kafka_error.h"
#include "server/kafka/topics.h"

#include <stdatomic.h>

#define KAFKA_EPOCH 0 /* of every leader */
/* The one feature that clients are told of, and the version that it has here. */
#define KAFKA_TXN_FEATURE "transaction.version"
#define KAFKA_TXN_VERSION 2
/* Longest frame of a request, as Kafka's socket.request.max.bytes. */
#define KAFKA_FRAME_MAX (100u << 20)
/* Of a client that has not said who it is. */
#define KAFKA_FRAME_STRANGER (64u << 10)
/* Most bytes of an answer without its records; what a handler holds for it, by the arena. */
#define KAFKA_ANSWER_MAX (100u << 20)
/* Most bytes of records in one answer, whatever is asked for; a first batch may be larger. */
#define KAFKA_FETCH_MAX (50u << 20)

/* An account's topics. */
struct kafka_world {
    struct account *account;
    struct topics *topics; /* NULL: the account has no JetStream */
};

struct kafka_shared {
    const struct options *options;
    struct kafka_world *worlds; /* by index of account */
    uint32_t nworlds;
    struct kafka_uuid cluster;
    uint64_t txn_whole_least;
    uint64_t groups_held_most;
    uint16_t port; /* where worker 0 listens */
    _Atomic int64_t connections;
};

/* An account on one worker: what a client of it sees. */
struct realm {
    struct kafka *kafka;
    uint32_t index; /* of the account */
    struct account *account;
    struct topics *topics; /* shared */
    struct js_calls *calls;
    struct hmap partitions; /* struct partition: of this worker's streams, those that are used */
    struct coordinator *coordinator; /* of all groups; NULL: not here, or not asked for yet */
    /* Has its coordinator said which transactions were open before the start? (txn_word.h) */
    enum { REALM_UNASKED, REALM_ASKED, REALM_HEARD } word;
    struct list deaf; /* partition.txns.deaf: they wait for it */
};

struct kafka {
    struct env *env;
    struct kafka_shared *shared;
    struct realm **realms; /* by index of account; those without JetStream have no topics */
    uint32_t nrealms;
    struct list conns;
    struct list dirty;        /* with output to send, or a frame to look at */
    struct list closing;      /* to be freed when they are quiet */
    struct acceptor acceptor; /* worker 0 */
    struct compactor *compactor;
    struct fetch_sessions sessions;
    uint64_t producer_ids; /* given out */
    unsigned lookups;      /* of accounts, under way */
    bool woken;            /* coordinators were */
    bool stopping;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

/* Our number: the only broker, controller, coordinator. */
static inline int32_t kafka_node(const struct kafka *k)
{
    return (int32_t) k->env->options->kafka_node_id;
}

struct kafka_request;
struct kafka_lent;

enum kafka_conn_state { KAFKA_CONN_OPEN, KAFKA_CONN_CLOSING };

struct kafka_conn {
    struct kafka *kafka;
    struct realm *realm;           /* NULL: it has not said who it is, and has to */
    struct sasl *sasl;             /* since it began to say it */
    const struct user *user;       /* of the options; NULL: none */
    const struct permissions *may; /* NULL: everything, or nothing when it was revoked */
    /* What it says that it is: letters, digits, dots; "" = it has not said. */
    char software[65], software_version[65];
    struct account *counted; /* among its connections */
    bool revoked;            /* by a reload: it closes */
    struct list link, dirty_link;
    struct io_sock *sock;
    struct io_op recv, send, close;
    enum kafka_conn_state state;
    bool sock_closed, close_submitted, drop_output;
    bool ended; /* the client will send nothing more */
    struct io_addr peer;

    /* The frame being collected: `frame` has cap for what has arrived, `want` is its size; 0 = its
     * length is not complete yet. */
    uint8_t length[4];
    unsigned length_n;
    uint32_t want;
    uint32_t usual; /* bytes of the last frame, USUAL_MAX at most */
    struct chunk *frame;
    struct buf rest; /* came behind a request that is not answered yet */

    /* Started, and not all of them answered yet: several only when all are Produce. */
    struct list requests;
    unsigned under_way;
    uint64_t under_way_bytes; /* of their frames */
    bool held;                /* `frame` is complete, and may start when nothing is under way */
    bool holding;             /* the last one says that none may start behind it yet */
    bool settling;
    struct outbuf out, sending;
    struct list lent;    /* struct kafka_lent: behind out, each with what is behind it */
    uint64_t lent_bytes; /* of these and what is behind each */
    uint32_t lent_sent;  /* of the first one */
    bool splicing;       /* it is what `send` sends */
    struct tls *tls;     /* NULL: plain; else nothing is lent */
    struct outbuf wire;  /* its records */
    bool shaken;         /* hands */
    struct iovec *iov;
    struct wheel_timer deadline; /* of the send in flight; of the end while CLOSING */
    struct wheel_timer patience; /* of the handshake; then until realm is there */
};

/* Bytes of records that are sent by reference: kafka_records.elsewhere is a list of them, whose n
 * add up to its own. Made in the arena; each holds a reference to its chunk until the answer is
 * out, or what is lent from a file. */
struct kafka_piece {
    struct kafka_piece *next;
    struct chunk *chunk;
    const void *bytes;
    size_t n;
    struct kafka_lent *lent; /* instead of the chunk */
};

enum kafka_ending { KAFKA_UNDER_WAY, KAFKA_ANSWERED, KAFKA_SILENT, KAFKA_FAILED };

struct kafka_request {
    struct list link;         /* conn->requests */
    enum kafka_ending ending; /* what becomes of it when those before it are out */
    uint32_t frame_bytes;
    struct kafka *kafka;
    struct realm *realm; /* NULL: the client has to say first who it is */
    struct kafka_conn *conn;
    struct kafka_header header;
    const struct kafka_api *api;
    struct chunk *frame;
    struct kafka_arena arena;
    const void *body;
    void *answer;
    /* Set by a handler that has not answered yet: called once when there is nobody to answer to any
     * more. It must lead to an answer soon. */
    void (*cancel)(struct kafka_request *r);
    void *ctx; /* the handler's */
};

/* May the answer take so many more bytes of the arena? Who makes more of an answer than the request
 * has bytes asks this first. */
static inline bool kafka_has_room(const struct kafka_request *r, size_t bytes)
{
    return bytes <= KAFKA_ANSWER_MAX && r->arena.used <= KAFKA_ANSWER_MAX - bytes;
}

/* ---- answers: exactly one, on the request's worker; r is gone behind it */
void kafka_reply(struct kafka_request *r);
/* Bytes without a header, behind their length: an answer to a token. */
void kafka_reply_bytes(struct kafka_request *r, struct str bytes);
void kafka_no_reply(struct kafka_request *r);
void kafka_fail(struct kafka_request *r);

/* ---- kafka.c */
/* The same account on this worker; NULL: there are no Kafka clients here (any more). */
struct realm *realm_here(const struct env *env, const struct realm *of);
/* The account's on this worker; NULL: it has none. */
struct realm *realm_of(struct kafka *k, const struct account *a);

/* ---- info.c */
struct json_t *kafka_info(struct env *env);

/* ---- kafka_conn.c */
void kafka_conn_adopt(struct kafka *k, io_fd fd);
void kafka_conn_close(struct kafka_conn *c, const char *why);
/* What has to come first has come, or is to come: starts or stops the time that it has. */
void kafka_conn_expect(struct kafka_conn *c);
/* Bytes of frames. */
void kafka_conn_take(struct kafka_conn *c, struct str bytes);
/* The request that was started last has something to do before others may start. */
void kafka_conn_hold(struct kafka_conn *c, bool hold);
/* Sends what there is, looks at the next frame. */
void kafka_conn_step(struct kafka_conn *c);
/* Frees it when nothing is in flight any more; true when it did. */
bool kafka_conn_reap(struct kafka_conn *c);
/* Where this client finds us: host in the arena. */
struct str kafka_conn_advertised(struct kafka_request *r, int32_t *port);

/* The id of the cluster, which is the store's, in the arena. */
struct str kafka_cluster_id(struct kafka_request *r);
/* What DescribeLogDirs calls the directory; where it is, is nobody's business. */
#define KAFKA_LOG_DIR "jetstream"

/* A seed for tables of what a client says. */
uint64_t kafka_seed(struct kafka_request *r);

/* ---- kafka_api.c */
/* Decodes the frame and starts its handler; r has conn and frame. False: close the connection. */
bool kafka_dispatch(struct kafka_request *r);

/* ---- js_call.c: requests to the JetStream API */
struct json_t;
/* subject: behind "$JS.API.". done is called once, later: with the answer, or with NULL when there
 * is none (JetStream is ending). */
typedef void (*js_call_fn)(void *ctx, const struct json_t *answer);
void js_call(struct realm *realm, const char *subject, struct str body, js_call_fn done, void *ctx);
/* The code of the error in an answer (err_code), 0 = none; -1 when there is no answer. Its text. */
int js_call_error(const struct json_t *answer, const char **text);
struct js_calls *js_calls_open(struct realm *realm);
/* All that is under way gets NULL. */
void js_calls_end(struct js_calls *calls);
void js_calls_close(struct js_calls *calls);

/* ---- handlers */
void kafka_run_api_versions(struct kafka_request *r);
/* The answer to a version that we do not know. */
void kafka_put_unknown_version(const struct kafka_header *h, struct buf *out);
void kafka_run_metadata(struct kafka_request *r);
void kafka_run_describe_cluster(struct kafka_request *r);
void kafka_run_describe_quorum(struct kafka_request *r);
void kafka_run_update_features(struct kafka_request *r);
void kafka_run_list_config_resources(struct kafka_request *r);
void kafka_run_alter_replica_log_dirs(struct kafka_request *r);
void kafka_run_describe_topic_partitions(struct kafka_request *r);
void kafka_run_find_coordinator(struct kafka_request *r);
void kafka_run_create_topics(struct kafka_request *r);
void kafka_run_delete_topics(struct kafka_request *r);
void kafka_run_create_partitions(struct kafka_request *r);
void kafka_run_delete_records(struct kafka_request *r);
void kafka_run_describe_configs(struct kafka_request *r);
void kafka_run_alter_configs(struct kafka_request *r);
void kafka_run_incremental_alter_configs(struct kafka_request *r);
void kafka_run_produce(struct kafka_request *r);
void kafka_run_fetch(struct kafka_request *r);
void kafka_run_list_offsets(struct kafka_request *r);
void kafka_run_offset_for_leader_epoch(struct kafka_request *r);
void kafka_run_init_producer_id(struct kafka_request *r);
void kafka_run_add_partitions_to_txn(struct kafka_request *r);
void kafka_run_add_offsets_to_txn(struct kafka_request *r);
void kafka_run_txn_offset_commit(struct kafka_request *r);
void kafka_run_end_txn(struct kafka_request *r);
void kafka_run_sasl_handshake(struct kafka_request *r);
void kafka_run_sasl_authenticate(struct kafka_request *r);
void kafka_run_join_group(struct kafka_request *r);
void kafka_run_sync_group(struct kafka_request *r);
void kafka_run_heartbeat(struct kafka_request *r);
void kafka_run_leave_group(struct kafka_request *r);
void kafka_run_offset_commit(struct kafka_request *r);
void kafka_run_offset_fetch(struct kafka_request *r);
void kafka_run_offset_delete(struct kafka_request *r);
void kafka_run_list_groups(struct kafka_request *r);
void kafka_run_describe_groups(struct kafka_request *r);
void kafka_run_delete_groups(struct kafka_request *r);
void kafka_run_describe_acls(struct kafka_request *r);
void kafka_run_create_acls(struct kafka_request *r);
void kafka_run_delete_acls(struct kafka_request *r);
void kafka_run_describe_client_quotas(struct kafka_request *r);
void kafka_run_alter_client_quotas(struct kafka_request *r);
void kafka_run_elect_leaders(struct kafka_request *r);
void kafka_run_alter_partition_reassignments(struct kafka_request *r);
void kafka_run_list_partition_reassignments(struct kafka_request *r);
void kafka_run_describe_user_scram_credentials(struct kafka_request *r);
void kafka_run_alter_user_scram_credentials(struct kafka_request *r);
void kafka_run_write_txn_markers(struct kafka_request *r);
void kafka_run_consumer_group_heartbeat(struct kafka_request *r);
void kafka_run_consumer_group_describe(struct kafka_request *r);
void kafka_run_describe_log_dirs(struct kafka_request *r);
void kafka_run_describe_producers(struct kafka_request *r);
void kafka_run_describe_transactions(struct kafka_request *r);
void kafka_run_list_transactions(struct kafka_request *r);

#endif
