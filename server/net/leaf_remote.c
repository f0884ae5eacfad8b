/*
 * leaf_remote.c - the servers that this one connects to as a leaf node.
 *
 *     waiting --timer--> dialling --connected--> (a leaf connection) --lost--> waiting
 *        ^                  |
 *        +------ failed ----+
 *
 * The first attempt comes at once. After a failure or a loss the next one waits for the configured
 * time and up to as much again at random; after a refusal that will not change soon (a loop, a
 * permission) 30 s, for a version 5 s. A remote with several URLs goes through them in an order
 * that is drawn at the start. A reload adds and removes remotes, and disables them; one whose URLs
 * or account change is another one. What was removed stays in the list, ended. The first failure is
 * logged as an error, and every hour's worth of them.
 *
 * A credentials file holds the user's JWT and the seed of its key, each between two lines of
 * dashes. It is a few kilobytes and is read when it is needed, on the worker, once for each
 * connection: nothing of it is kept.
 */
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/jwt/jwt.h"
#include "server/auth/auth.h"
#include "server/config/options.h"
#include "server/net/leaf.h"
#include "server/net/tls.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define CREDS_MAX 65536u
#define REPORT_EVERY 3600u

/* ---- dialling -------------------------------------------------------------------------------- */

static void wait_for(struct leaf_remote *r, int64_t ns)
{
    struct io *io = r->net->env->io;

    if (!r->ended && !r->options->disabled)
        io_timer_start(io, &r->timer, io_now(io) + (uint64_t) ns);
}

static void try_again(struct leaf_remote *r)
{
    uint64_t usual = (uint64_t) r->net->env->options->leaf.reconnect_ns;
    int64_t wait = r->wait_ns > 0 ? r->wait_ns
                                  : (int64_t) (usual + prng_below(r->net->env->prng, usual + 1));

    r->wait_ns = 0;
    wait_for(r, wait);
}

void leaf_remote_failed(struct leaf_remote *r, const char *why)
{
    struct log *log = r->net->env->log;
    static const char text[] =
        "Error trying to connect as leafnode to remote server \"%s\" (attempt %u): %s";
    char url[FMT_HOST_PORT_MAX];

    fmt_host_port(url, r->url->host, r->url->port);
    r->attempts++;
    if (r->attempts == 1 || r->attempts % REPORT_EVERY == 0)
        LOG_ERR(log, text, url, r->attempts, why);
    else
        LOG_DBG(log, text, url, r->attempts, why);
}

const struct leaf_proxy *leaf_remote_proxy(const struct leaf_remote *r)
{
    return r->url->ws && r->options->proxy.host != NULL ? &r->options->proxy : NULL;
}

int64_t leaf_remote_patience(const struct leaf_remote *r)
{
    const struct leaf_proxy *p = leaf_remote_proxy(r);

    if (p != NULL && p->timeout_ns > 0)
        return p->timeout_ns;
    return r->options->dial_timeout_ns > 0 ? r->options->dial_timeout_ns
                                           : r->net->env->options->leaf.dial_timeout_ns;
}

static void say_not_connected(struct leaf_remote *r, const char *why)
{
    char text[CONN_TEXT_MAX];

    snprintf(text, sizeof(text), "failed to connect to proxy: %s", why);
    leaf_remote_failed(r, leaf_remote_proxy(r) != NULL ? text : why);
}

static void dialled(struct io_op *op)
{
    struct leaf_remote *r = CONTAINER_OF(op, struct leaf_remote, dial);
    struct io *io = r->net->env->io;

    r->dialling = false;
    io_timer_stop(io, &r->timer);
    if (op->res < 0) {
        if (!r->ended && !r->options->disabled)
            say_not_connected(r, op->res == -ECANCELED ? "i/o timeout" : strerror((int) -op->res));
        try_again(r);
    } else if (r->ended || r->options->disabled) {
        io_fd_discard(io, (io_fd) op->res);
    } else {
        conn_adopt_remote(r->net, (io_fd) op->res, r);
    }
}

static void dial(struct leaf_remote *r)
{
    const struct env *env = r->net->env;
    const struct leaf_remote_options *o = r->options;
    const struct leaf_proxy *proxy;
    char url[FMT_HOST_PORT_MAX];

    r->url = &o->urls[r->next_url++ % o->nurls];
    r->dialling = true;
    LOG_DBG(env->log, "Trying to connect as leafnode to remote server on \"%s\"",
            fmt_host_port(url, r->url->host, r->url->port));
    proxy = leaf_remote_proxy(r);
    io_connect(env->io, &r->dial, proxy != NULL ? proxy->host : r->url->host,
               proxy != NULL ? proxy->port : r->url->port);
    wait_for(r, leaf_remote_patience(r));
}

static void timer_fired(struct wheel_timer *t)
{
    struct leaf_remote *r = CONTAINER_OF(t, struct leaf_remote, timer);

    if (r->ended)
        return;
    if (r->dialling)
        io_cancel(r->net->env->io, &r->dial);
    else
        dial(r);
}

void leaf_remote_lost(struct leaf_remote *r)
{
    r->conn = NULL;
    try_again(r);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void add_remote(struct net *net, const struct leaf_remote_options *o)
{
    struct leaf_remote *r = mem_zalloc(sizeof(*r));

    r->net = net;
    r->options = o;
    r->url = &o->urls[0];
    r->next_url = o->no_randomize ? 0 : (size_t) prng_below(net->env->prng, o->nurls);
    io_op_init(&r->dial, dialled);
    wheel_timer_init(&r->timer, timer_fired);
    list_push_back(&net->remotes, &r->link);
    if (!o->disabled)
        wait_for(r, 0);
}

void leaf_remotes_start(struct net *net)
{
    const struct leaf_options *o = &net->env->options->leaf;

    for (size_t i = 0; i < o->nremotes; i++)
        add_remote(net, &o->remotes[i]);
}

/* No attempts any more; one under way is cancelled. */
static void end(struct leaf_remote *r)
{
    r->ended = true;
    io_timer_stop(r->net->env->io, &r->timer);
    if (r->dialling)
        io_cancel(r->net->env->io, &r->dial);
}

/* ---- reload ---------------------------------------------------------------------------------- */

/* What is left of the options of a remote that the new ones do not have: its connection, on its way
 * out, must not look at those that are freed. */
static const struct leaf_url no_url = {.host = (char[]){""}};
static const struct leaf_remote_options no_options = {.account = NULL};

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Where it leads, and for whom: that makes a remote what it is. */
static bool same_remote(const struct leaf_remote_options *a, const struct leaf_remote_options *b)
{
    if (a->nurls != b->nurls || !same_text(a->account, b->account))
        return false;
    for (size_t i = 0; i < a->nurls; i++)
        if (!same_text(a->urls[i].host, b->urls[i].host) || a->urls[i].port != b->urls[i].port)
            return false;
    return true;
}

static void close_connection(struct leaf_remote *r)
{
    if (r->conn != NULL)
        conn_close(r->conn, REASON_SHUTDOWN);
}

static void remove_remote(struct leaf_remote *r)
{
    char url[FMT_HOST_PORT_MAX];

    LOG_INF(r->net->env->log, "Reloaded: LeafNode Remote \"%s\" removed",
            fmt_host_port(url, r->url->host, r->url->port));
    end(r);
    close_connection(r);
    r->options = &no_options;
    r->url = &no_url;
}

/* Other credentials, rules and certificates count from its next connection on. */
static void renew_remote(struct leaf_remote *r, const struct leaf_remote_options *now)
{
    bool was_disabled = r->options->disabled;

    r->url = &now->urls[r->url - r->options->urls];
    r->options = now;
    tls_context_put(r->tls);
    r->tls = NULL;
    if (now->disabled && !was_disabled) {
        io_timer_stop(r->net->env->io, &r->timer);
        if (r->dialling)
            io_cancel(r->net->env->io, &r->dial);
        close_connection(r);
    } else if (!now->disabled && was_disabled && r->conn == NULL && !r->dialling) {
        wait_for(r, 0);
    }
}

static struct leaf_remote *find_remote(struct net *net, const struct leaf_remote_options *o)
{
    LIST_FOREACH(it, &net->remotes)
    {
        struct leaf_remote *r = LIST_ENTRY(it, struct leaf_remote, link);
        if (!r->ended && !r->kept && same_remote(r->options, o))
            return r;
    }
    return NULL;
}

void leaf_remotes_reload(struct net *net)
{
    const struct leaf_options *o = &net->env->options->leaf;

    if (net->env->worker != 0 || net->remotes_stopped)
        return;
    for (size_t i = 0; i < o->nremotes; i++) {
        struct leaf_remote *r = find_remote(net, &o->remotes[i]);
        if (r != NULL)
            renew_remote(r, &o->remotes[i]);
        else
            add_remote(net, &o->remotes[i]);
        LIST_ENTRY(r != NULL ? &r->link : net->remotes.prev, struct leaf_remote, link)->kept = true;
    }
    LIST_FOREACH(it, &net->remotes)
    {
        struct leaf_remote *r = LIST_ENTRY(it, struct leaf_remote, link);
        if (!r->kept && !r->ended)
            remove_remote(r);
        r->kept = false;
    }
}

void leaf_remotes_stop(struct net *net)
{
    net->remotes_stopped = true;
    LIST_FOREACH(it, &net->remotes)
    end(LIST_ENTRY(it, struct leaf_remote, link));
}

bool leaf_remotes_quiet(const struct net *net)
{
    LIST_FOREACH(it, &net->remotes)
    {
        if (LIST_ENTRY(it, struct leaf_remote, link)->dialling)
            return false;
    }
    return true;
}

void leaf_remotes_free(struct net *net)
{
    struct list *it;

    while ((it = list_pop_front(&net->remotes)) != NULL) {
        struct leaf_remote *r = LIST_ENTRY(it, struct leaf_remote, link);
        tls_context_put(r->tls);
        mem_free(r);
    }
}

struct tls_context *leaf_remote_tls(struct leaf_remote *r)
{
    char why[256];

    if (r->tls == NULL)
        r->tls = tls_context_open_client(&r->options->tls, why);
    if (r->tls == NULL)
        LOG_ERR(r->net->env->log, "TLS of a leafnode remote: %s", why);
    return r->tls;
}

/* ---- credentials ----------------------------------------------------------------------------- */

/* The second thing between lines of dashes. */
static struct str seed_of(struct str text)
{
    struct str line, left = text;
    unsigned dashes = 0;

    while (left.p != NULL) {
        line = str_trim(str_cut(left, '\n', &left));
        if (str_starts(line, STR("---")))
            dashes++;
        else if (dashes == 3 && line.n > 0)
            return line;
    }
    return STR_NONE;
}

static bool read_creds(struct leaf_remote *r, struct buf *out)
{
    struct io_fs *fs = io_fs(r->net->env->io);
    fs_fd fd = fs_open(fs, r->options->creds, IO_FILE_READ);
    int64_t n;

    if (fd < 0) {
        LOG_ERR(r->net->env->log, "open %s: %s", r->options->creds, strerror(-fd));
        return false;
    }
    n = fs_read(fs, fd, buf_reserve(out, CREDS_MAX), CREDS_MAX, 0);
    fs_close(fs, fd);
    out->n = n > 0 ? (size_t) n : 0;
    return n > 0;
}

static bool put_signature(struct leaf_remote *r, struct str seed, const char *nonce, bool with_key,
                          struct buf *out)
{
    struct buf sig = {0};
    char key[AUTH_KEY_LEN + 1];
    bool ok = auth_sign(seed, str_of(nonce != NULL ? nonce : ""), key, &sig);

    if (!ok)
        LOG_ERR(r->net->env->log, "Remote nkey has malformed seed");
    else if (with_key)
        buf_printf(out, "\"nkey\":\"%s\",", key);
    if (ok)
        buf_printf(out, "\"sig\":\"%s\",", buf_cstr(&sig));
    buf_free(&sig);
    return ok;
}

static bool put_creds(struct leaf_remote *r, const char *nonce, struct buf *out)
{
    struct buf text = {0};
    struct str token, seed;
    bool ok = read_creds(r, &text);

    token = jwt_undecorate(buf_str(&text));
    seed = seed_of(buf_str(&text));
    if (ok && (token.n == 0 || seed.n == 0)) {
        LOG_ERR(r->net->env->log, "Credentials file malformed");
        ok = false;
    }
    ok = ok && put_signature(r, seed, nonce, false, out);
    if (ok)
        buf_printf(out, "\"jwt\":\"%.*s\",", STR_ARG(token));
    if (text.p != NULL)
        sodium_memzero(text.p, text.cap);
    buf_free(&text);
    return ok;
}

static void put_text(struct buf *out, const char *key, const char *value)
{
    buf_printf(out, "\"%s\":", key);
    jput_string(out, str_of(value));
    buf_putc(out, ',');
}

bool leaf_remote_credentials(struct leaf_remote *r, const char *nonce, struct buf *out)
{
    const struct leaf_remote_options *o = r->options;
    const struct leaf_url *u = r->url;

    if (o->creds != NULL && !put_creds(r, nonce, out))
        return false;
    if (o->creds == NULL && o->nkey != NULL && !put_signature(r, str_of(o->nkey), nonce, true, out))
        return false;
    if (u->user != NULL)
        put_text(out, "user", u->user);
    if (u->pass != NULL)
        put_text(out, "pass", u->pass);
    else if (u->user != NULL)
        put_text(out, "auth_token", u->user);
    return true;
}
