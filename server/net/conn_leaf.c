/*
 * conn_leaf.c - the life of a leaf connection.
 *
 *     accepted   GREETED --INFO sent--> (TLS) --CONNECT, credentials--> bound
 *     solicited  GREETED --INFO--> (TLS) --CONNECT sent--> --INFO with connect_info--> bound
 *
 * Who accepts is the hub, unless the other side says is_hub. The account is that of the user whom
 * CONNECT names (the block's own users, or those of clients), or of the remote's options. What is
 * said until then is in leaf_connect.c and leaf_info.c, what may cross in leaf_rules.c. Bound, both
 * tell what they want (leaf_interest.c), and messages flow (leaf_msgs.c).
 *
 * Several connections of one server to one account are a mistake or a stale one: the newest stays.
 */
#include "lib/base/mem.h"
#include "lib/base/nuid.h"
#include "server/config/options.h"
#include "server/net/leaf_int.h"

#include <stdio.h>
#include <string.h>

/* ---- life ------------------------------------------------------------------------------------ */

void leaf_begin(struct conn *c, struct leaf_remote *remote)
{
    struct net *net = c->net;
    struct conn_leaf *l = mem_zalloc(sizeof(*l));

    l->conn = c;
    l->id = ++net->next_leaf;
    l->remote = remote;
    l->spoke = remote != NULL && !remote->options->hub;
    l->isolated = net->env->options->leaf.isolate || (remote != NULL && remote->options->isolate);
    mutex_init(&l->box_lock);
    hmap_init(&l->wants);
    c->leaf = l;
    c->verbose = c->pedantic = c->echo = false;
    list_push_back(&net->leafs, &l->link);
    net->strangers += remote == NULL;
}

bool leaf_has_room(const struct net *net)
{
    int64_t max = net->env->options->max_connections;

    return max < 0 || net->strangers <= max;
}

/* It is bound, or goes before it ever was. */
static void no_stranger(struct conn_leaf *l)
{
    l->conn->net->strangers -= l->remote == NULL && !l->bound;
}

void leaf_stop(struct conn *c)
{
    struct conn_leaf *l = c->leaf;

    if (l->stopped)
        return;
    l->stopped = true;
    list_remove(&l->link);
    no_stranger(l);
    if (l->bound)
        leaf_interest_stop(l);
    if (l->remote != NULL)
        leaf_remote_lost(l->remote);
    l->remote = NULL;
}

void leaf_free(struct conn *c)
{
    struct conn_leaf *l = c->leaf;

    if (l == NULL)
        return;
    leaf_interest_free(l);
    permissions_free(l->may);
    permissions_free(l->accepts);
    mutex_deinit(&l->box_lock);
    mem_free(l->theirs);
    mem_free(l->name);
    mem_free(l->cluster);
    mem_free(l->domain);
    mem_free(l->account);
    mem_free(l->server_id);
    mem_free(l);
    c->leaf = NULL;
}

void leaf_fail(struct conn *c, enum conn_reason reason, struct str text, int64_t wait_ns)
{
    if (c->leaf->remote != NULL)
        c->leaf->remote->wait_ns = wait_ns;
    conn_fail(c, reason, text);
}

void leaf_refuse(struct conn *c, enum conn_reason reason, struct str text, int64_t wait_ns)
{
    char who[CONN_TEXT_MAX];

    LOG_ERR(c->net->env->log, "%s - %.*s", conn_text(c, who), STR_ARG(text));
    leaf_fail(c, reason, text, wait_ns);
}

void leaf_timed_out(struct conn *c)
{
    char who[CONN_TEXT_MAX];

    if (c->tls_state == CONN_TLS_TUNNEL) {
        conn_tunnel_timed_out(c);
        return;
    }
    if (c->leaf->remote == NULL) {
        conn_fail(c, REASON_AUTH_TIMEOUT, STR("Authentication Timeout"));
        return;
    }
    LOG_ERR(c->net->env->log, "%s - %s", conn_text(c, who),
            c->leaf->got_info ? "Stale Leaf Node Connection - Closing" : "no INFO in time");
    conn_close(c, REASON_STALE);
}

void leaf_start_timer(struct conn *c, int64_t ns)
{
    struct io *io = c->net->env->io;

    if (c->state != CONN_CLOSING)
        io_timer_start(io, &c->timer, io_now(io) + (uint64_t) ns);
}

/* ---- binding --------------------------------------------------------------------------------- */

static int64_t count_of(const struct net *net, const struct account *a)
{
    int64_t n = 0;

    LIST_FOREACH(it, &net->leafs)
    {
        const struct conn_leaf *l = LIST_ENTRY(it, struct conn_leaf, link);
        n += l->bound && l->conn->account == a && l->conn->state != CONN_CLOSING;
    }
    return n;
}

static void fail_surplus(struct conn *c)
{
    conn_fail(c, REASON_MAX_ACCOUNT_CONNECTIONS,
              STR("maximum account active connections exceeded"));
}

bool leaf_fits(struct conn *c, const struct account *a)
{
    int64_t max = atomic_load(&a->max_leafs);

    if (c->leaf->bound || max < 0 || count_of(c->net, a) < max)
        return true;
    fail_surplus(c);
    return false;
}

void leaf_close_surplus(struct net *net, const struct account *a)
{
    int64_t max = atomic_load(&a->max_leafs), n = max >= 0 ? count_of(net, a) : 0;

    for (struct list *it = net->leafs.prev; it != &net->leafs && max >= 0 && n > max;) {
        struct conn_leaf *l = LIST_ENTRY(it, struct conn_leaf, link);
        it = it->prev;
        if (!l->bound || l->conn->account != a || l->conn->state == CONN_CLOSING)
            continue;
        fail_surplus(l->conn);
        n--;
    }
}

/* An older connection of the same server to the same account has had its time. */
static void replace_older(struct conn *c)
{
    struct conn_leaf *l = c->leaf;
    char who[CONN_TEXT_MAX];

    if (l->remote != NULL || l->name == NULL || l->account == NULL)
        return;
    LIST_FOREACH_SAFE(it, tmp, &c->net->leafs)
    {
        struct conn_leaf *old = LIST_ENTRY(it, struct conn_leaf, link);
        if (old == l || old->remote != NULL || !old->bound || old->name == NULL ||
            old->conn->account != c->account || strcmp(old->name, l->name) != 0 ||
            strcmp(leaf_or_empty(old->cluster), leaf_or_empty(l->cluster)) != 0 ||
            old->account == NULL || strcmp(old->account, l->account) != 0)
            continue;
        LOG_WRN(c->net->env->log, "%s - Replacing connection from same server", conn_text(c, who));
        conn_fail(old->conn, REASON_DUPLICATE_LEAF, STR("Duplicate Remote LeafNode Connection"));
    }
}

/* One for each account and life of the server. */
static void make_lds(struct conn_leaf *l)
{
    struct net *net = l->conn->net;
    uint32_t i = l->conn->account->index;

    if (i >= net->nlds) {
        net->lds = mem_realloc(net->lds, (i + 1) * sizeof(*net->lds));
        while (net->nlds <= i)
            net->lds[net->nlds++][0] = '\0';
    }
    if (net->lds[i][0] == '\0') {
        char id[NUID_LEN + 1];
        struct nuid n;
        nuid_init(&n, net->env->prng);
        nuid_next(&n, id);
        snprintf(net->lds[i], sizeof(net->lds[i]), "$LDS.%s", id);
    }
    snprintf(l->lds, sizeof(l->lds), "%s", net->lds[i]);
}

void leaf_start(struct conn *c)
{
    struct conn_leaf *l = c->leaf;
    char who[CONN_TEXT_MAX];

    make_lds(l);
    leaf_deny_jetstream(l);
    no_stranger(l);
    l->bound = true;
    c->state = CONN_OPEN;
    LOG_DBG(c->net->env->log, "%s - Leafnode bound to account \"%s\"", conn_text(c, who),
            c->account->name);
    leaf_interest_start(l);
    conn_start_ping(c);
}

void leaf_bind(struct conn *c)
{
    if (c->leaf->bound || c->state == CONN_CLOSING)
        return;
    leaf_take_user(c);
    replace_older(c);
    leaf_put_info(c, true);
    leaf_start(c);
}

void leaf_reload(struct conn *c, const struct options *before, const struct options *now)
{
    if (c->leaf->remote == NULL && c->state != CONN_CLOSING)
        connect_reload(c, before, now);
    if (c->leaf->bound && c->state != CONN_CLOSING)
        leaf_interest_relink(c->leaf);
}
