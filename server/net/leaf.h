/*
 * leaf.h - leaf connections, inside net: another server at the other end, each telling the other
 * what it wants of one account. docs/internals/leaf.md is the essay.
 *
 * All of them live on worker 0. A leaf connection is a conn (conn.h) with `leaf` set: transport,
 * parser, timers and output are those of any connection; its subscriptions are what the other
 * server wants here.
 *
 *     accepted   INFO ->  <- CONNECT   bound, INFO (account, permissions) ->  what we want ->
 *     solicited  <- INFO  (TLS)  CONNECT ->  <- INFO with the account   bound, what we want ->
 */
#ifndef NET_LEAF_H
#define NET_LEAF_H

#include "lib/base/lock.h"
#include "server/auth/permissions.h"
#include "server/config/leaf_options.h"
#include "server/net/conn.h"

#include <stdatomic.h>

struct leaf_remote;

struct conn_leaf {
    struct conn *conn;
    uint32_t id;                /* in the interest; never 0 */
    struct leaf_remote *remote; /* that we dialled; NULL = accepted */
    bool spoke;                 /* the other side is the hub */
    bool isolated;              /* is not told what other leaf nodes want */
    bool got_info, bound, stopped;
    bool agreed;      /* about compression; `mode` is what came of it */
    bool packed_info; /* that of the hub, the second, is waited for or came */
    enum leaf_mode mode;
    char *theirs;            /* what the hub has said about compression */
    const struct user *user; /* accepted and bound: of the current options, or its claims' */
    char *name, *cluster, *domain, *account, *server_id; /* of the other side; NULL = not said */

    /* Its own. pub: what we send; sub: what we ask for, and on a spoke what we accept. */
    struct permissions *may;
    /* Accepted: a copy of its user's; NULL = everything. sub: what we send, beyond `may`. */
    struct permissions *accepts;

    /* What is wanted here, told by whoever changes the interest, on any thread. */
    struct interest_tap tap;
    struct mutex box_lock; /* guards box; held for a copy */
    struct buf box;
    atomic_bool box_full; /* a look without the lock */

    struct hmap wants;    /* what the other side was told, with counts */
    struct buf proxied;   /* the answer of an HTTP proxy, as far as it is there */
    struct buf last_acks; /* the pattern announced last for acknowledgements */
    struct buf links;     /* patterns of links and mappings that it was told, each with a NUL */
    char lds[32];         /* the account's subject for finding loops */

    struct list link; /* in net->leafs */
};

/* ---- its life: conn_leaf.c, leaf_connect.c, leaf_info.c, leaf_rules.c ------------------------ */

/* A new connection is one; remote: that it was dialled for, or NULL. */
void leaf_begin(struct conn *c, struct leaf_remote *remote);
void leaf_put_info(struct conn *c, bool bound);
/* CONNECT of an accepted one, before the credentials are looked at: false, and it is closing. */
bool leaf_take_connect(struct conn *c, struct str json);
/* False: its account has as many as it may have, and it is closing. */
bool leaf_fits(struct conn *c, const struct account *a);
/* The newest go that are too many for their account. */
void leaf_close_surplus(struct net *net, const struct account *a);
/* It is who it says, and has its account. */
void leaf_bind(struct conn *c);
void leaf_take_info(struct conn *c, struct str json);
void leaf_take_error(struct conn *c, struct str text);
/* Are at most max_connections there that have not said who they are? */
bool leaf_has_room(const struct net *net);
/* Does its user's login let the other side hear what is sent there, in a group or (n == 0) in none?
 */
bool leaf_may_hear(const struct conn_leaf *l, struct str subject, struct str queue);
/* May the other side be told that this is wanted here? */
bool leaf_may_want(const struct conn_leaf *l, struct str subject, struct str queue);
/* TLS is on, of one that we dialled. */
void leaf_secured(struct conn *c);
/* The timer, before it is bound. */
void leaf_timed_out(struct conn *c);
/* -ERR and the end; a remote is not dialled again for so long. leaf_refuse logs the text, too. */
void leaf_fail(struct conn *c, enum conn_reason reason, struct str text, int64_t wait_ns);
void leaf_refuse(struct conn *c, enum conn_reason reason, struct str text, int64_t wait_ns);
/* It is closing: nothing is told any more. Not within a delivery. */
void leaf_stop(struct conn *c);
void leaf_free(struct conn *c);
/* The options changed: whose user is gone goes, whose user is another one comes back. */
void leaf_reload(struct conn *c, const struct options *before, const struct options *now);

/* ---- conn_pack.c: compression ---------------------------------------------------------------- */

const char *leaf_mode_name(enum leaf_mode mode);
/* What comes of our mode and the name of theirs ("" = not said); LEAF_MODES: theirs is unknown. */
enum leaf_mode leaf_mode_agree(enum leaf_mode ours, const char *theirs);
/* Of the options. */
enum leaf_mode conn_pack_wanted(const struct conn *c);
/* That it has now: never S2_AUTO. */
enum leaf_mode conn_pack_mode(const struct conn *c);

/* ---- leaf_interest.c: what each side wants --------------------------------------------------- */

/* Tells everything, and every change from now on. */
void leaf_interest_start(struct conn_leaf *l);
void leaf_interest_stop(struct conn_leaf *l);
void leaf_interest_free(struct conn_leaf *l);
/* Links and mappings may have changed. */
void leaf_interest_relink(struct conn_leaf *l);
/* Tells what has changed; before any message that might depend on it. */
void leaf_interest_drain(struct conn_leaf *l);
/* One more or one less that wants it. queue: n == 0 for plain. */
void leaf_interest_count(struct conn_leaf *l, struct str subject, struct str queue, int delta);
/* Told once, whoever else wants it. */
void leaf_interest_want(struct conn_leaf *l, struct str pattern);
/* LS+ and LS- of the other side. */
void leaf_take_sub(struct conn *c, struct str subject, struct str queue, uint32_t weight);
void leaf_take_unsub(struct conn *c, struct str subject, struct str queue);

/* ---- leaf_msgs.c: messages ------------------------------------------------------------------- */

/* sink_ops.forward of a subscription of a leaf connection. */
bool leaf_forward(struct sink *s, const struct msg *m, struct str key, const struct str *queues,
                  unsigned nqueues);
/* LMSG, HMSG: routes it. */
void leaf_route(struct conn *c, const struct nats_op *op);

/* ---- leaf_remote.c: servers that we connect to ----------------------------------------------- */

struct leaf_remote {
    struct net *net;
    const struct leaf_remote_options *options; /* of the current snapshot */
    struct tls_context *tls;                   /* NULL until one is needed */
    const struct leaf_url *url;                /* that is being dialled, or was */
    size_t next_url;
    struct conn *conn; /* NULL = none */
    struct io_op dial;
    struct wheel_timer timer; /* until the next attempt; while dialling, its end */
    unsigned attempts;
    int64_t wait_ns; /* before the next one, beyond the usual; 0 = none */
    bool dialling, ended;
    bool kept;        /* during a reload: the new options have it */
    struct list link; /* in net->remotes */
};

void leaf_remotes_start(struct net *net);
/* The options are other ones: remotes come, go and change. */
void leaf_remotes_reload(struct net *net);
/* No attempts any more; those under way end by themselves. */
void leaf_remotes_stop(struct net *net);
bool leaf_remotes_quiet(const struct net *net);
void leaf_remotes_free(struct net *net);
/* Its connection is gone. */
void leaf_remote_lost(struct leaf_remote *r);
/* What CONNECT says about who we are, as JSON fields behind each other with a comma at the end.
 * False: a text is logged. */
bool leaf_remote_credentials(struct leaf_remote *r, const char *nonce, struct buf *out);
struct tls_context *leaf_remote_tls(struct leaf_remote *r);
/* The HTTP proxy on the way to its URL, or NULL; how long connecting may take, and that proxy's
 * answer. */
const struct leaf_proxy *leaf_remote_proxy(const struct leaf_remote *r);
int64_t leaf_remote_patience(const struct leaf_remote *r);
/* An attempt came to nothing: logged. */
void leaf_remote_failed(struct leaf_remote *r, const char *why);

/* ---- conn_tunnel.c: through an HTTP proxy ---------------------------------------------------- */

/* Asks it for the way; then leaf_dialled is called, or the connection is closed. */
void conn_tunnel_begin(struct conn *c, const struct leaf_proxy *proxy);
void conn_tunnel_take(struct conn *c, const uint8_t *bytes, size_t n);
void conn_tunnel_timed_out(struct conn *c);
/* conn.c: bytes that we put and get are the other server's. */
void leaf_dialled(struct conn *c);

#endif
