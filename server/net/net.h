/*
 * net.h - client connections of one worker. One struct net per worker; conn.h is the inside.
 *
 * Worker 0 accepts and hands sockets out, to worker 0 first while it has time. A connection belongs
 * to one worker from adoption to its end. Everything here runs on the worker's thread, except where
 * it says otherwise.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include "lib/base/buf.h"
#include "server/core/env.h"

#include <stdbool.h>
#include <stdint.h>

struct net;
struct net_shared;

/* Shared by all workers' nets: connection ids, the limit on connections, load per worker. Made
 * before the first net. */
struct net_shared *net_shared_open(const struct options *options);
void net_shared_close(struct net_shared *shared);

int net_open(struct env *env, struct net_shared *shared, struct net **out);
/* Where connections come in, each with an address, a tls block and a greeting of its own. */
enum net_door { NET_CLIENTS, NET_WEBSOCKET, NET_LEAFS, NET_DOORS };
/* Worker 0: starts listening; the bound address for the log and the ports file. Returns 0 or a
 * negative errno with a text in why ("listen tcp 0.0.0.0:4222: bind: address already in use"). */
int net_listen(struct net *net, enum net_door door, char host[64], uint16_t *port, char why[256]);
/* Worker 0: connects to the servers that the options name as remotes, again and again. */
void net_dial_leafs(struct net *net);
/* The loop's "flush connections once each" stage; true when something is left to do soon. */
bool net_step(struct net *net);

/* Lame duck: no new connections from now on, and every client is told so by INFO. */
void net_lame_duck(struct net *net);
/* Closes the connections one after the other, spread over this time but with at most a second
 * between two; calls done when none is left. */
void net_drain(struct net *net, uint64_t over_ns, void (*done)(void *ctx), void *ctx);
/* env->options is a new snapshot, before is the last one: limits change, who would not be let in
 * any more is closed, permissions of the others are looked at again. */
void net_reload(struct net *net, const struct options *before);
/* Which clients are connected to this worker, the oldest first (items are the caller's to free);
 * and closes those of a list whose newest is first. For limits that are lower now. */
struct net_conn_id {
    uint64_t cid;
    uint32_t account; /* its index */
    bool in_account;  /* counts for it */
    bool by_account;  /* goes for its account's limit */
};
struct net_conn_ids {
    struct net_conn_id *items;
    size_t n;
};
void net_list_ids(const struct net *net, struct net_conn_ids *out);
void net_close_surplus(struct net *net, const struct net_conn_ids *ids);
/* The claims of an account changed (trust.h; now == NULL: it is gone), or it has expired: who may
 * not stay is closed, the others get what is theirs now. */
struct account;
struct trust;
void net_account_changed(struct net *net, struct account *a, const struct trust *before,
                         const struct trust *now);
/* Seconds that the machine's time zone is east of UTC, at that time. */
int64_t net_zone_offset(int64_t unix_ns);
/* Connections over all workers; any thread. */
int64_t net_shared_connections(const struct net_shared *shared);

/* Memory is short: closes the connection with the most unsent output as a slow consumer. False when
 * none has more than a megabyte. */
bool net_drop_slowest(struct net *net);

/* Stops accepting, tells every connection, flushes, closes them; calls closed when none is left. */
void net_shutdown(struct net *net, void (*closed)(void *ctx), void *ctx);
void net_close(struct net *net);

/* Counters of this worker for /varz and statsz; the caller sums over workers (ask_all). */
struct net_stats {
    uint64_t connections, total_connections;
    uint64_t in_msgs, in_bytes, out_msgs, out_bytes;
    uint64_t slow_consumers, stale_connections, stalled_clients;
    uint64_t subscriptions;
    uint64_t pending_bytes;
    uint64_t leafs;                     /* connections to other servers */
    uint64_t pinned_account_fails;      /* logins of accounts that are not pinned */
    uint16_t websocket_port, leaf_port; /* where this worker listens; 0 = not */
};
void net_stats(const struct net *net, struct net_stats *out);

/* One leaf connection for /leafz; texts are borrowed for the call. */
struct net_leaf_info {
    uint64_t id;
    const char *name, *account; /* of the other server; here */
    bool is_spoke, is_isolated; /* the other server is the hub; it is told less */
    const char *ip, *compression;
    uint16_t port;
    int64_t rtt_ns;
    uint64_t in_msgs, out_msgs, in_bytes, out_bytes;
    size_t subscriptions;
    const char *proxy;       /* the key of a trusted proxy; NULL = none */
    const struct conn *conn; /* for net_leaf_subs */
};
void net_leafs_each(struct net *net, void (*each)(void *ctx, const struct net_leaf_info *info),
                    void *ctx);
/* The subjects that the other server wants. */
void net_leaf_subs(const struct net_leaf_info *info, void (*each)(void *ctx, struct str subject),
                   void *ctx);

/* One connection for /connz: plain data, strings copied by the callee into the entry. */
struct net_conn_info {
    uint64_t cid;
    const char *kind; /* "Client" or "Leafnode"; constant */
    const char *type; /* "nats" or "websocket", "" of leaf nodes; constant */
    bool leaf, spoke, isolated;
    char issuer[64], user_name[64], account_tag[64]; /* of signed claims; "" = none */
    char ip[48];
    uint16_t port;
    int64_t start, last_activity, stop; /* unix ns; stop 0 = open */
    int64_t rtt_ns;
    uint64_t pending_bytes, in_msgs, out_msgs, in_bytes, out_bytes, stalls;
    uint64_t subscriptions;
    char name[64], lang[32], version[32];
    char tls_version[8], tls_cipher[48]; /* "" = no TLS */
    bool tls_first;
    char authorized_user[64], account[64];
    const char *reason; /* constant text of reasons.def, or NULL */
    /* Borrowed for the call; NULL = none. */
    const char *jwt, *proxy;     /* its claims, but for those of a bearer; that proxy's key */
    const struct str_list *tags; /* of its claims */
};
struct conn;
/* Open connections, or the ring of the last max_closed_clients closed ones, for which open is NULL.
 * It may be used during the call. */
void net_conns_each(struct net *net, bool closed,
                    void (*each)(void *ctx, const struct net_conn_info *info,
                                 const struct conn *open),
                    void *ctx);

/* Open connections with ids from *from on, until they and their subscriptions make `most` together;
 * *from is where to go on. False: these were the last. The worker does other things between. */
bool net_conns_slice(struct net *net, uint64_t *from, size_t most,
                     void (*each)(void *ctx, const struct net_conn_info *info,
                                  const struct conn *open),
                     void *ctx);

/* Certificates that a client sent, its own first; texts are borrowed for the call. */
struct net_peer_cert {
    const char *subject, *spki_sha256, *cert_sha256;
};
void net_conn_certs(const struct conn *c, void (*each)(void *ctx, const struct net_peer_cert *p),
                    void *ctx);

struct net_sub_info {
    uint64_t cid;
    struct str subject, queue, sid; /* queue.n == 0: plain */
    uint64_t delivered, max;        /* max 0 = none */
};
void net_conn_subs(const struct conn *c, void (*each)(void *ctx, const struct net_sub_info *s),
                   void *ctx);

/* Adds what this worker's connections are and have had, by index of their accounts; others than the
 * first n are left out. `most` of them at a time, from the one with the id *from on; true: it is to
 * be asked again. Leaf nodes come last, all together. */
struct net_account_stats {
    uint64_t connections, leafs; /* of clients; of leaf nodes */
    uint64_t in_msgs, in_bytes, out_msgs, out_bytes, slow_consumers;
};
bool net_accounts_slice(const struct net *net, uint64_t *from, size_t most,
                        struct net_account_stats *by_index, size_t n);

/* What the account is called by its claims; without them, its name. Any thread. */
const char *net_account_tag(const struct account *a);

/* Closes that connection; false when it is not here. */
bool net_kick(struct net *net, uint64_t cid);
/* Tells that client that the server goes. */
enum net_told { NET_NOT_HERE, NET_TOLD, NET_CAN_NOT_BE_TOLD };
enum net_told net_tell_ldm(struct net *net, uint64_t cid);
/* Who that connection is and what it may do, as JSON; false when it has gone. */
bool net_user_info(struct net *net, handle conn, struct buf *out);

#endif
