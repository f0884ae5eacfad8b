/*
 * conn.h - one client connection, inside net.
 *
 *            adopt                  CONNECT (or first op)              conn_close(reason) all ops
 * done (none) --------> CONN_GREETED ------------------------> CONN_OPEN ------------------->
 * CONN_CLOSING -----> (freed)
 *                          \______________________________________________________________/
 *
 * Only conn_close moves to CONN_CLOSING; it takes the reason (reasons.def). While CLOSING, nothing
 * is parsed or delivered; what was already in the output (an -ERR) is still sent unless the reason
 * is a slow or broken peer, for at most CONN_CLOSE_NS in all. Then the socket *lingers*: our side
 * is shut down and what still arrives is thrown away until the client closes its side, or for
 * CONN_LINGER_NS. Closing a socket with unread input would send a reset, which takes from the
 * client what it has not read yet, the -ERR line first of all. The struct is freed in net_step when
 * no operation is in flight, never inside a callback that may still look at it.
 *
 * Memory: an idle connection is this struct, its subscriptions and nothing else: receive buffers
 * are lent by io, output chunks exist while there is output.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include "lib/base/buf.h"
#include "lib/base/hmap.h"
#include "lib/base/list.h"
#include "lib/base/nuid.h"
#include "lib/base/wheel.h"
#include "lib/io/acceptor.h"
#include "lib/io/io.h"
#include "lib/wire/nats_parse.h"
#include "server/core/sink.h"
#include "server/net/net.h"

struct net_shared {
    _Atomic uint64_t next_cid;
    _Atomic int64_t connections; /* over all workers, for max_connections */
    /* Handshakes begun in the current second, and when that ends (io_now). */
    _Atomic int64_t handshakes;
    _Atomic uint64_t handshakes_until;
};

struct closed_conn;
struct conn_ws;
struct conn_leaf;
struct leaf_remote;
struct proxying;
struct ws_pack;
struct tls_options;
struct tls_context;
struct account_lookup;
struct answers;
struct login;
struct signed_in;
struct tls;
struct permissions;
struct user;

/* What a connection that is being closed gets at most: for sending what is in the output, then for
 * the client to close its side, and for that while the server stops. */
#define CONN_CLOSE_NS 2000000000u
#define CONN_LINGER_NS 1000000000u
#define CONN_LINGER_STOPPING_NS 100000000u

struct net {
    struct env *env;
    struct net_shared *shared;
    struct list conns;
    struct list dirty;     /* connections with output to flush */
    struct list closing;   /* connections to free when they are quiet */
    struct list dead_subs; /* subscriptions that ended inside a delivery */
    struct list said;      /* events to publish; event.c */
    struct nuid event_ids;
    struct list *traces; /* by worker: traced messages that wait for what it tells; trace.c */
    struct handle_table handles;
    struct net_stats stats;
    struct closed_conn *closed; /* ring */
    uint32_t closed_next, closed_count, closed_cap;
    uint64_t seed;
    uint8_t *plain; /* what was decrypted of one receive, until it is parsed; NULL until needed */

    /* Worker 0: other servers (leaf.h). */
    struct list leafs, remotes;
    bool remotes_stopped; /* no attempts any more */
    uint32_t next_leaf;
    int64_t strangers; /* leaf connections that came in and are not bound yet */
    char (*lds)[32];   /* by account: subjects for finding loops */
    uint32_t nlds;
    struct ws_pack *pack; /* for compressed WebSocket messages; NULL until needed */

    /* worker 0 */
    struct listener {
        struct acceptor acceptor;
        struct net *net;
        enum net_door door;
        uint16_t port;
    } listeners[NET_DOORS];

    unsigned lookups; /* accounts that connections wait for */

    bool lame_duck; /* no new connections */
    struct wheel_timer drain;
    size_t drain_batch;
    uint64_t drain_pause_ns;
    void (*drained)(void *ctx);
    void *drained_ctx;

    bool stopping;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
};

/* What stands between the socket and the parser; conn_tls.c. Only NONE and ON send what is in out.
 */
enum conn_tls {
    CONN_TLS_NONE,      /* nothing, for good */
    CONN_TLS_TUNNEL,    /* an HTTP proxy has been asked for the way (conn_tunnel.c); then NONE */
    CONN_TLS_FIRST,     /* the client may begin its handshake before it gets INFO */
    CONN_TLS_GREETED,   /* INFO is on its way; the client begins its handshake now */
    CONN_TLS_HANDSHAKE, /* it has begun */
    CONN_TLS_JUDGED,    /* it is done; the other side's certificate is asked about */
    CONN_TLS_ON
};

enum conn_state { CONN_GREETED, CONN_OPEN, CONN_CLOSING };

/* Why it ended; the texts are in reasons.def. */
enum conn_reason {
#define REASON(name, text) REASON_##name,
#include "server/net/reasons.def"
#undef REASON
    REASON_COUNT
};
const char *conn_reason_text(enum conn_reason r);

struct conn {
    struct net *net;
    handle self;
    uint64_t cid;
    enum net_door door;
    struct list link, dirty_link;
    struct io_sock *sock;
    struct io_op recv, send, close;
    struct nats_parser parser;
    struct chunk *collecting; /* body being assembled */

    struct conn_leaf *leaf; /* NULL: a client */
    struct proxying *proxy; /* while a PROXY header may come */
    struct conn_ws *ws;     /* NULL: what is received and sent are operations, without frames */
    struct conn_pack *pack; /* NULL: not compressed */
    struct outbuf framed;   /* with WebSocket or compressed: to be sent or made records of */
    enum conn_tls tls_state;
    struct tls *tls;       /* NULL until a handshake begins */
    struct outbuf wire;    /* with TLS: what is to be sent as it is */
    struct outbuf out;     /* gathered since the last flush */
    struct outbuf sending; /* in flight */
    struct iovec *iov;     /* of the send in flight */
    uint64_t pending;      /* bytes in out and sending */

    enum conn_state state;
    enum conn_reason reason;
    bool greeted;   /* with TLS: INFO has been put */
    bool tls_first; /* its handshake came before INFO */
    bool announced; /* the log has it */
    bool tls_begun; /* the client's first byte was right */
    bool tls_ended; /* our side of it */
    bool sock_closed, close_submitted, drop_output;
    bool fin_sent, linger_over; /* our side is shut down; the client's is too, or it had its time */
    bool verbose, pedantic, echo, headers, no_responders;
    bool got_connect, got_first_ping;
    bool known;   /* it may; what it said of itself is told */
    bool stalled; /* a receiver of what was just published is nearly full */
    bool paused;  /* not receiving until the pause timer fires */
    uint8_t protocol;
    uint8_t pings_out;
    uint32_t fences;             /* PONGs that wait for one */
    struct wheel_timer timer;    /* auth, then ping */
    struct wheel_timer pause;    /* stalled producer */
    struct wheel_timer deadline; /* of the send in flight; of the whole end while CLOSING */
    uint64_t ping_sent, last_in;
    int64_t rtt_ns;

    struct hmap subs;        /* by sid */
    struct list ending_subs; /* out of the interest, waiting for their fence */
    int64_t start, last_activity;
    uint64_t in_msgs, in_bytes, out_msgs, out_bytes, stalls;
    struct io_addr peer;
    char *name, *lang, *version, *user;

    struct account *account;       /* where it lives; $G until a user says otherwise */
    bool in_account;               /* counted there */
    struct buf mapped;             /* the subject of a publish that a mapping changed */
    const struct user *login;      /* of the current options; NULL = not one of a list */
    bool by_nothing;               /* login is the one that no_auth_user names */
    const struct permissions *may; /* NULL = everything */
    struct permissions *own_may;   /* what may is, when nobody else has it; else NULL */
    struct verdicts *verdicts;     /* about what it publishes; NULL = none yet */
    const char *claims;            /* what `user` is, in the log: User, Nkey, Token; NULL: User */
    bool proxied;                  /* a trusted proxy vouches for it */
    char *proxy_key;               /* of that proxy; NULL = none */
    char *jwt;                     /* its claims, when they alone let nobody in; NULL = none */
    struct answers *answers;       /* requests that it may answer; NULL = none yet */
    char *nonce;                   /* of its INFO; NULL = none */
    struct conn_peer *judged;      /* while tls_state is JUDGED, and until that is answered */
    struct checking *checking;     /* what its CONNECT waits for, else NULL */
    struct signed_in *signed_in;   /* it came with signed claims; login is of them; else NULL */
};

/* What a CONNECT waits for: a password on its way through a pool thread, an account that is looked
 * up. First in what the owner allocates. */
struct checking {
    struct conn *conn;
    const struct user *user;
    bool asked;      /* a service was asked: its answer is waited for */
    bool refused;    /* a reload took the user away meanwhile, or the service */
    struct buf held; /* what arrived behind the CONNECT */
};

/* A client's subscription. */
struct sub {
    struct sink sink;
    struct hmap_node node;
    struct conn *conn;
    struct interest_sub *interest;
    uint64_t delivered, max;
    struct list dead_link;
    uint16_t subject_n, queue_n, sid_n;
    char text[]; /* subject, queue, sid */
};

/* net.c, net_drain.c */
void net_stop_listening(struct net *net);
void net_drain_next(struct wheel_timer *t);

/* conn.c */
void conn_adopt(struct net *net, io_fd fd, enum net_door door);
/* One that came as a client has asked for the leaf nodes' path. On worker 0. */
void conn_become_leaf(struct conn *c);
/* A connection that we dialled. */
void conn_adopt_remote(struct net *net, io_fd fd, struct leaf_remote *remote);
/* With this one, are there no more connections than the options allow? */
bool conn_has_room(const struct net *net);
void conn_close(struct conn *c, enum conn_reason reason);
/* -ERR, then conn_close. */
void conn_fail(struct conn *c, enum conn_reason reason, struct str text);
/* Frees it when nothing is in flight any more; true when it did. */
bool conn_reap(struct conn *c);
/* The parser's limits, from the options and the account. */
void conn_set_limits(struct conn *c);
uint64_t conn_max_payload(const struct conn *c);
void conn_start_ping(struct conn *c);
/* "127.0.0.1:4711 - cid:7", once a client is known with ' - "v1.2:go:name" - "ACCOUNT/user:joe"',
 * for logs. */
#define CONN_TEXT_MAX 512
const char *conn_text(const struct conn *c, char out[CONN_TEXT_MAX]);

/* conn_in.c */
/* Acts on operations that have arrived, then receives more. */
void conn_take(struct conn *c, struct str in);
/* Bytes from the socket, or decrypted ones: into the next layer, frames or operations. */
void conn_wire_take(struct conn *c, uint8_t *bytes, size_t n);
void conn_plain_take(struct conn *c, uint8_t *bytes, size_t n);
void conn_received(struct io_op *op);
void conn_receive(struct conn *c);
/* "$JS.<our domain>.API.$KV..." and "$OBJ..." stand for what is behind the prefix; other subjects
 * for themselves. */
struct str conn_without_domain(const struct conn *c, struct str subject);
/* Answers 503 to the reply subject if this client asked for it. */
void conn_no_responders(struct conn *c, struct str subject, struct str reply);

/* conn.c: the log says that it is there; once. */
void conn_announce(struct conn *c);
/* What an adopted connection begins with, once it may speak. */
void conn_start(struct conn *c);

/* conn_tls.c */
/* A new connection of a listener with TLS. */
void conn_tls_begin(struct conn *c);
/* We begin a handshake, as the client of that host. */
void conn_tls_dial(struct conn *c, struct tls_context *context, const char *host);
/* Its timer, while the handshake is not done. */
void conn_tls_timed_out(struct conn *c);
/* The tls block of its door, and what was made of it; NULL = it has none. */
const struct tls_options *conn_tls_options(const struct conn *c);
struct tls_context *conn_tls_context(const struct conn *c);
/* Wire bytes have arrived, and state is not NONE. */
void conn_tls_take(struct conn *c, uint8_t *bytes, size_t n);
/* Before a send: makes records of what is in out, as far as that can be sent now. */
void conn_tls_flush(struct conn *c);
/* Nothing will be put any more; true when there is something more to be sent. */
bool conn_tls_end(struct conn *c);
/* The other side's certificate was asked about: the connection may begin, or ends. */
void conn_tls_good(struct conn *c);
void conn_tls_refused(struct conn *c, const char *why);
/* After a reload: would its certificate be refused by the pins that there are now? */
bool conn_tls_unpinned(const struct conn *c);
/* Does it wait for a handshake, or is it in one? */
bool conn_tls_shaking(const struct conn *c);

/* conn_peer.c */
/* Is the certificate of the other side to be asked about? */
bool conn_peer_wants(const struct conn *c);
/* Asks; the state is JUDGED. */
void conn_peer_ask(struct conn *c);
/* What arrived meanwhile, decrypted. */
void conn_peer_hold(struct conn *c, const uint8_t *bytes, size_t n);

/* conn_ws.c */
/* A connection of a WebSocket door may speak: the upgrade is awaited. */
void conn_ws_begin(struct conn *c);
void conn_ws_take(struct conn *c, uint8_t *bytes, size_t n);
/* We ask a server for the upgrade. path: without a slash at its ends, or NULL. */
struct conn_ws_dial {
    const char *host, *path;
    uint16_t port;
    bool no_masking;
};
void conn_ws_dial(struct conn *c, const struct conn_ws_dial *d);
/* The upgrade did not come in time. */
void conn_ws_timed_out(struct conn *c);
bool conn_ws_upgraded(const struct conn *c);
/* Before a send: makes frames of what is in out. */
void conn_ws_flush(struct conn *c);
/* Nothing will be put any more; true when a close frame is to be sent. */
bool conn_ws_end(struct conn *c);
/* The peer has said that it closes, and still reads. */
bool conn_ws_said_goodbye(const struct conn *c);
void conn_ws_free(struct conn *c);
/* A credential that came in a cookie; empty = none. */
enum ws_cookie { WS_COOKIE_JWT, WS_COOKIE_USER, WS_COOKIE_PASS, WS_COOKIE_TOKEN, WS_COOKIES };
struct str conn_ws_cookie(const struct conn *c, enum ws_cookie which);
/* The address that a proxy says its client has, or NULL. Anybody can say so: it is for logs only,
 * and what is decided by an address is decided by that of the socket. */
const char *conn_ws_forwarded(const struct conn *c);

/* conn_proxy.c */
/* A PROXY header may come before anything else. */
void conn_proxy_begin(struct conn *c);
void conn_proxy_take(struct conn *c, uint8_t *bytes, size_t n);
void conn_proxy_free(struct conn *c);

/* conn_out.c */
/* What is sent as it is, or made records of. */
static inline struct outbuf *conn_unencrypted(struct conn *c)
{
    return c->ws != NULL || c->pack != NULL ? &c->framed : &c->out;
}
void conn_put(struct conn *c, struct str bytes);
void conn_put_err(struct conn *c, struct str text);
void conn_put_ok(struct conn *c);
/* Registers output that was added to c->out directly. */
void conn_wrote(struct conn *c, uint64_t bytes);
/* It owes too much: closes it without sending what it has. */
void conn_close_slow(struct conn *c);
/* Starts a send when there is output and none is in flight. */
/* From now, for the send in flight. */
void conn_start_deadline(struct conn *c);
void conn_flush(struct conn *c);
void conn_drop_output(struct conn *c);
void conn_sent(struct io_op *op);

/* trace_lines.c: at trace level */
void conn_trace_in(struct conn *c, const struct nats_op *op);
/* The first line of what goes out. */
void conn_trace_out(struct conn *c, struct str bytes);
/* way: "<<-" or "->>". */
void conn_trace_payload(struct conn *c, const char *way, struct str header, struct str payload);

/* conn_pack.c: leaf connections that are compressed */
/* From now on, both ways; what has been put goes out as it is. */
void conn_pack_start(struct conn *c);
void conn_pack_take(struct conn *c, const uint8_t *bytes, size_t n);
void conn_pack_flush(struct conn *c);
void conn_pack_free(struct conn *c);

/* sub.c */
/* SAME_SID: nothing changed. */
enum sub_verdict { SUB_OK, SUB_SAME_SID, SUB_TOO_MANY, SUB_INVALID };
enum sub_verdict sub_add(struct conn *c, struct str subject, struct str queue, struct str sid);
/* Of a leaf connection: its weight in a queue group. */
enum sub_verdict sub_add_weighted(struct conn *c, struct str subject, struct str queue,
                                  struct str sid, uint16_t weight);
void sub_unsub(struct conn *c, struct str sid, uint64_t max);
/* At once, and without a word in the log: another one takes its place. */
void sub_remove(struct conn *c, struct str sid);
/* The connection is gone. */
void sub_remove_all(struct conn *c);
/* The connection stays. */
void sub_drop_all(struct conn *c);
/* After the connection's permissions changed: ends what is no longer allowed, saying so. */
void sub_recheck(struct conn *c);
/* The client's own plain subscription that a reply to `subject` would arrive at, or NULL. */
struct sub *sub_matching(struct conn *c, struct str subject);
/* Ends the subscriptions that reached their max during deliveries. */
void sub_reap(struct net *net);

static inline struct str sub_subject(const struct sub *s)
{
    return str_from(s->text, s->subject_n);
}
static inline struct str sub_queue(const struct sub *s)
{
    return str_from(s->text + s->subject_n, s->queue_n);
}
static inline struct str sub_sid(const struct sub *s)
{
    return str_from(s->text + s->subject_n + s->queue_n, s->sid_n);
}

/* info.c: the INFO line for this connection. connect_info: the one after the first PING. */
void info_put(struct conn *c, bool connect_info);

/* connect.c: acts on a CONNECT. A password with a slow hash is checked elsewhere: until then
 * c->checking is set, and nothing more of this client is read or acted on. */
void connect_process(struct conn *c, struct str json);
/* The options whose credentials count at its door: those of the server, or a copy in *copy with
 * the door's own. */
const struct options *connect_options(const struct conn *c, struct options *copy);
/* Must a client of its door say who it is? */
bool connect_announced(const struct conn *c);
/* What arrived behind such a CONNECT, for later. */
void connect_hold(struct conn *c, struct str rest);
/* Binds the user of a client that sends no CONNECT, when the options name one. */
void connect_nothing(struct conn *c);
/* The client is not who it says, or may not be here. */
void connect_refuse(struct conn *c);
void connect_refuse_for(struct conn *c, enum conn_reason reason);
/* By the service of that account, which is told, too. */
void connect_refuse_in(struct conn *c, struct account *whose, enum conn_reason reason);
/* The client is who it says: it may do more than CONNECT. */
void connect_opened(struct conn *c, const struct user *user);
/* Waits from here on; then what was waited for has come (it is not checking any more): what was
 * held is parsed, unless the connection is being closed. */
void connect_wait(struct conn *c, struct checking *k);
void connect_go_on(struct checking *k);
/* The same where something else may be waited for now, which gets what was held. */
void connect_pass_on(struct checking *k);
/* Who it is, for logs and for a service that is asked. */
void connect_name(struct conn *c, const char *user);
/* Gives a connection its user (NULL: nobody of a list), its account and what it may. False: it is
 * being closed, because its account is full or another one than before. */
bool connect_bind(struct conn *c, const struct user *user);
/* It counts in its account no more. */
void connect_leave_account(struct conn *c);

/* The options changed: the client is asked to go when it would not be let in any more. */
void connect_reload(struct conn *c, const struct options *before, const struct options *now);

/* connect_jwt.c: a client that says who it is with signed claims, in operator mode. Its settings
 * have been taken. connect_opts: all it said, as JSON fields, for a service that is asked about it.
 */
void connect_jwt(struct conn *c, struct str token, struct str sig, struct str connect_opts);
/* It keeps this login (taken over), and ends with it. */
void connect_sign_in(struct conn *c, struct login *l);
void connect_sign_out(struct conn *c);
/* The options changed, and its login goes on. */
void connect_login_reload(struct conn *c);
/* NULL: it did not come with signed claims. */
const struct login *connect_login(const struct conn *c);
/* What the account is called by its claims; without them, its name. */
const char *connect_account_tag(const struct account *a);
/* What it may have by its claims; negative = no limit of its own. */
int64_t connect_own_payload(const struct conn *c);
int64_t connect_own_subscriptions(const struct conn *c);
/* The claims of its account were `before` and are `now` (NULL: there are none any more). */
struct trust;
void connect_account_changed(struct conn *c, const struct trust *before, const struct trust *now);

/* trace.c: messages that are traced. */
struct trace;
/* Does a header of that message ask for it? */
bool trace_asked(struct str header);
/* Begins one; false: the message is not to be published at all. *out is NULL when there is no
 * trace. */
bool trace_begin(struct conn *c, const struct nats_op *op, struct trace **out);
struct route_tracer *trace_tracer(struct trace *t);
void trace_refused(struct trace *t, struct str why);
void trace_mapped(struct trace *t, struct str subject);
/* It has been routed, or refused: what is known is published, now or when other workers have told
 * what they know. */
void trace_end(struct trace *t);
/* What a message meets at a subscription. */
void trace_put_egress(struct buf *out, const struct sub *s);
void traces_open(struct net *net);
/* latency.c: who asks services of other accounts, and how long they take. */
void latency_open(struct net *net);
void latency_close(struct net *net);
void traces_close(struct net *net);

/* answers.c: the right to answer requests, for users with allow_responses. */
/* A message with a reply subject is delivered to c. */
void answers_expect(struct conn *c, struct str reply);
/* Takes one of the answers that are left, if there is one. */
bool answers_take(struct conn *c, struct str subject);
void answers_free(struct conn *c);

/* net_info.c */
void net_remember_closed(struct net *net, const struct conn *c);
void net_forget_closed(struct net *net); /* all of them */

#endif
