/* net_info.c - what monitoring sees and does: counters, open connections, the last closed ones, a
 * connection's subscriptions; one connection asked, told or closed by its number. */
#include "lib/base/mem.h"
#include "server/auth/login.h"
#include "server/config/users.h"
#include "server/net/conn.h"
#include "server/net/leaf.h"
#include "server/net/tls.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct closed_conn {
    struct net_conn_info info;
    char *jwt, *proxy;
    struct str_list tags;
};

static void copy_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text != NULL ? text : "");
}

static void describe_login(const struct login *l, struct net_conn_info *out)
{
    if (l == NULL)
        return;
    copy_text(out->issuer, sizeof(out->issuer), l->issuer != NULL ? l->issuer : l->user.account);
    copy_text(out->user_name, sizeof(out->user_name), l->name);
    out->tags = &l->tags;
}

static void describe(const struct conn *c, struct net_conn_info *out)
{
    memset(out, 0, sizeof(*out));
    out->cid = c->cid;
    out->kind = c->leaf != NULL ? "Leafnode" : "Client";
    out->type = c->leaf != NULL ? "" : c->door == NET_WEBSOCKET ? "websocket" : "nats";
    copy_text(out->ip, sizeof(out->ip), c->peer.host);
    out->port = c->peer.port;
    out->start = c->start;
    out->last_activity = c->last_activity;
    out->rtt_ns = c->rtt_ns;
    out->pending_bytes = c->pending;
    out->in_msgs = c->in_msgs;
    out->in_bytes = c->in_bytes;
    out->out_msgs = c->out_msgs;
    out->out_bytes = c->out_bytes;
    out->stalls = c->stalls;
    out->subscriptions = c->subs.count;
    copy_text(out->name, sizeof(out->name), c->name);
    copy_text(out->lang, sizeof(out->lang), c->lang);
    copy_text(out->version, sizeof(out->version), c->version);
    if (c->tls_state == CONN_TLS_ON) {
        copy_text(out->tls_version, sizeof(out->tls_version), tls_version_name(c->tls));
        copy_text(out->tls_cipher, sizeof(out->tls_cipher), tls_cipher_name(c->tls));
        out->tls_first = c->tls_first;
    }
    copy_text(out->authorized_user, sizeof(out->authorized_user), c->user);
    copy_text(out->account, sizeof(out->account), c->account->name);
    copy_text(out->account_tag, sizeof(out->account_tag), connect_account_tag(c->account));
    describe_login(connect_login(c), out);
    out->jwt = c->jwt;
    out->proxy = c->proxy_key;
    if (c->leaf == NULL)
        return;
    out->leaf = true;
    out->spoke = c->leaf->spoke;
    out->isolated = c->leaf->isolated;
    copy_text(out->name, sizeof(out->name), c->leaf->name);
}

static void forget(struct closed_conn *k)
{
    mem_free(k->jwt);
    mem_free(k->proxy);
    str_list_free(&k->tags);
    *k = (struct closed_conn){0};
}

/* What was borrowed becomes its own. */
static void keep_texts(struct closed_conn *k)
{
    k->jwt = k->info.jwt != NULL ? mem_strdup(k->info.jwt) : NULL;
    k->proxy = k->info.proxy != NULL ? mem_strdup(k->info.proxy) : NULL;
    if (k->info.tags != NULL)
        str_list_copy(&k->tags, k->info.tags);
    k->info.jwt = k->jwt;
    k->info.proxy = k->proxy;
    k->info.tags = &k->tags;
}

void net_forget_closed(struct net *net)
{
    for (uint32_t i = 0; i < net->closed_count; i++)
        forget(&net->closed[i]);
    mem_free(net->closed);
}

void net_remember_closed(struct net *net, const struct conn *c)
{
    struct closed_conn *k;

    if (net->closed_cap == 0)
        return;
    if (net->closed == NULL)
        net->closed = mem_array(net->closed_cap, sizeof(*net->closed));
    k = &net->closed[net->closed_next];
    if (net->closed_count == net->closed_cap)
        forget(k);
    *k = (struct closed_conn){0};
    describe(c, &k->info);
    keep_texts(k);
    k->info.stop = io_wall(net->env->io);
    k->info.reason = conn_reason_text(c->reason);
    net->closed_next = (net->closed_next + 1) % net->closed_cap;
    if (net->closed_count < net->closed_cap)
        net->closed_count++;
}

void net_stats(const struct net *net, struct net_stats *out)
{
    *out = net->stats;
    out->pending_bytes = 0;
    LIST_FOREACH(l, &net->conns)
    out->pending_bytes += LIST_ENTRY(l, struct conn, link)->pending;
    LIST_FOREACH(l, &net->leafs)
    out->leafs += LIST_ENTRY(l, struct conn_leaf, link)->bound;
    out->websocket_port = net->listeners[NET_WEBSOCKET].port;
    out->leaf_port = net->listeners[NET_LEAFS].port;
}

/* ---- leaf nodes ------------------------------------------------------------------------------ */

void net_leafs_each(struct net *net, void (*each)(void *ctx, const struct net_leaf_info *info),
                    void *ctx)
{
    LIST_FOREACH(it, &net->leafs)
    {
        const struct conn_leaf *l = LIST_ENTRY(it, struct conn_leaf, link);
        const struct conn *c = l->conn;
        if (!l->bound)
            continue;
        each(ctx, &(struct net_leaf_info){
                      .id = c->cid,
                      .name = l->name != NULL ? l->name : "",
                      .account = c->account->name,
                      .is_spoke = l->spoke,
                      .is_isolated = l->isolated,
                      .ip = c->peer.host,
                      .compression = leaf_mode_name(conn_pack_mode(c)),
                      .port = c->peer.port,
                      .rtt_ns = c->rtt_ns,
                      .in_msgs = c->in_msgs,
                      .out_msgs = c->out_msgs,
                      .in_bytes = c->in_bytes,
                      .out_bytes = c->out_bytes,
                      .subscriptions = c->subs.count,
                      .proxy = c->proxy_key,
                      .conn = c,
                  });
    }
}

void net_leaf_subs(const struct net_leaf_info *info, void (*each)(void *ctx, struct str subject),
                   void *ctx)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&info->conn->subs, &it)) != NULL)
        each(ctx, sub_subject(CONTAINER_OF(n, struct sub, node)));
}

typedef void each_conn(void *ctx, const struct net_conn_info *info, const struct conn *open);

static void leafs_each(struct net *net, each_conn *each, void *ctx)
{
    struct net_conn_info info;

    LIST_FOREACH(l, &net->leafs)
    {
        const struct conn *c = LIST_ENTRY(l, struct conn_leaf, link)->conn;
        if (c->state == CONN_CLOSING || !c->leaf->bound)
            continue;
        describe(c, &info);
        each(ctx, &info, c);
    }
}

void net_conns_each(struct net *net, bool closed,
                    void (*each)(void *ctx, const struct net_conn_info *info,
                                 const struct conn *open),
                    void *ctx)
{
    struct net_conn_info info;

    if (closed) {
        for (uint32_t i = 0; i < net->closed_count; i++)
            each(ctx, &net->closed[i].info, NULL);
        return;
    }
    LIST_FOREACH(l, &net->conns)
    {
        const struct conn *c = LIST_ENTRY(l, struct conn, link);
        describe(c, &info);
        each(ctx, &info, c);
    }
    leafs_each(net, each, ctx);
}

bool net_conns_slice(struct net *net, uint64_t *from, size_t most, each_conn *each, void *ctx)
{
    struct net_conn_info info;
    size_t done = 0;

    /* They are in the order of their ids. */
    LIST_FOREACH(l, &net->conns)
    {
        const struct conn *c = LIST_ENTRY(l, struct conn, link);
        if (c->cid < *from)
            continue;
        if (done >= most) {
            *from = c->cid;
            return true;
        }
        done += 1 + c->subs.count;
        describe(c, &info);
        each(ctx, &info, c);
    }
    leafs_each(net, each, ctx);
    return false;
}

void net_conn_subs(const struct conn *c, void (*each)(void *ctx, const struct net_sub_info *s),
                   void *ctx)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&c->subs, &it)) != NULL) {
        const struct sub *s = CONTAINER_OF(n, struct sub, node);
        each(ctx, &(struct net_sub_info){
                      .cid = c->cid,
                      .subject = sub_subject(s),
                      .queue = sub_queue(s),
                      .sid = sub_sid(s),
                      .delivered = s->delivered,
                      .max = s->max,
                  });
    }
}

void net_conn_certs(const struct conn *c, void (*each)(void *ctx, const struct net_peer_cert *p),
                    void *ctx)
{
    if (c->tls_state == CONN_TLS_ON)
        tls_peer_certs(c->tls, each, ctx);
}

static void add_one(const struct conn *c, struct net_account_stats *by_index, size_t n)
{
    struct net_account_stats *s;

    if (c->account->index >= n ||
        (c->leaf != NULL ? !c->leaf->bound || c->state == CONN_CLOSING : !c->in_account))
        return;
    s = &by_index[c->account->index];
    if (c->leaf != NULL)
        s->leafs++;
    else
        s->connections++;
    s->in_msgs += c->in_msgs;
    s->in_bytes += c->in_bytes;
    s->out_msgs += c->out_msgs;
    s->out_bytes += c->out_bytes;
}

bool net_accounts_slice(const struct net *net, uint64_t *from, size_t most,
                        struct net_account_stats *by_index, size_t n)
{
    size_t done = 0;

    LIST_FOREACH(l, &net->conns)
    {
        const struct conn *c = LIST_ENTRY(l, struct conn, link);
        if (c->cid < *from)
            continue;
        if (done++ >= most) {
            *from = c->cid;
            return true;
        }
        add_one(c, by_index, n);
    }
    LIST_FOREACH(l, &net->leafs)
    add_one(LIST_ENTRY(l, struct conn_leaf, link)->conn, by_index, n);
    return false;
}

const char *net_account_tag(const struct account *a)
{
    return connect_account_tag(a);
}

/* ---- one connection -------------------------------------------------------------------------- */

static struct conn *find_leaf(const struct net *net, uint64_t cid)
{
    LIST_FOREACH(l, &net->leafs)
    {
        struct conn *c = LIST_ENTRY(l, struct conn_leaf, link)->conn;
        if (c->cid == cid && c->state != CONN_CLOSING)
            return c;
    }
    return NULL;
}

static struct conn *find(const struct net *net, uint64_t cid)
{
    LIST_FOREACH(l, &net->conns)
    {
        struct conn *c = LIST_ENTRY(l, struct conn, link);
        if (c->cid == cid)
            return c;
    }
    return NULL;
}

bool net_kick(struct net *net, uint64_t cid)
{
    struct conn *c = find(net, cid);

    if (c == NULL)
        c = find_leaf(net, cid);
    if (c != NULL)
        conn_close(c, REASON_KICKED);
    return c != NULL;
}

enum net_told net_tell_ldm(struct net *net, uint64_t cid)
{
    struct conn *c = find(net, cid);
    bool before = net->lame_duck;

    if (c == NULL)
        return NET_NOT_HERE;
    if (c->protocol < 1 || !c->got_first_ping)
        return NET_CAN_NOT_BE_TOLD;
    net->lame_duck = true;
    info_put(c, true);
    net->lame_duck = before;
    return NET_TOLD;
}

static json_t *subjects(const struct subject_rules *rules)
{
    json_t *list = json_array();

    for (size_t i = 0; i < rules->n; i++) {
        struct buf b = {0};
        buf_puts(&b, rules->rules[i].subject);
        if (rules->rules[i].queue != NULL)
            buf_printf(&b, " %s", rules->rules[i].queue);
        json_array_append_new(list, json_stringn(b.p, b.n));
        buf_free(&b);
    }
    return list;
}

static json_t *allow_deny(const struct subject_rules *allow, const struct subject_rules *deny)
{
    json_t *o = json_object();

    if (allow->n > 0)
        json_object_set_new(o, "allow", subjects(allow));
    if (deny->n > 0)
        json_object_set_new(o, "deny", subjects(deny));
    return o;
}

static json_t *permissions_object(const struct permissions *may)
{
    json_t *o = json_object(), *responses;

    json_object_set_new(o, "publish", allow_deny(&may->pub_allow, &may->pub_deny));
    json_object_set_new(o, "subscribe", allow_deny(&may->sub_allow, &may->sub_deny));
    if (!may->responses)
        return o;
    responses = json_object();
    json_object_set_new(responses, "max", json_integer(may->responses_max));
    json_object_set_new(responses, "ttl", json_integer(may->responses_ns));
    json_object_set_new(o, "responses", responses);
    return o;
}

static void put_login(json_t *o, const struct login *l, int64_t now)
{
    if (l == NULL)
        return;
    if (l->name != NULL)
        json_object_set_new(o, "user_name", json_string(l->name));
    if (l->until > now)
        json_object_set_new(o, "expires", json_integer(l->until - now));
}

bool net_user_info(struct net *net, handle conn, struct buf *out)
{
    const struct conn *c = handle_get(&net->handles, conn);
    json_t *o;
    char *text;

    if (c == NULL)
        return false;
    o = json_object();
    json_object_set_new(o, "user", json_string(c->user != NULL ? c->user : ""));
    json_object_set_new(o, "account", json_string(c->account->name));
    json_object_set_new(o, "account_name", json_string(connect_account_tag(c->account)));
    put_login(o, connect_login(c), io_wall(net->env->io));
    if (c->may != NULL)
        json_object_set_new(o, "permissions", permissions_object(c->may));
    text = json_dumps(o, JSON_COMPACT);
    buf_puts(out, text != NULL ? text : "{}");
    mem_free(text);
    json_decref(o);
    return true;
}
