/* net_info.c - what monitoring sees: counters, open connections, the last closed ones, a
 * connection's subscriptions. */
#include "lib/base/mem.h"
#include "server/net/conn.h"
#include "server/net/tls.h"

#include <stdio.h>
#include <string.h>

struct closed_conn {
    struct net_conn_info info;
};

static void copy_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text != NULL ? text : "");
}

static void describe(const struct conn *c, struct net_conn_info *out)
{
    memset(out, 0, sizeof(*out));
    out->cid = c->cid;
    out->type = c->door == NET_WEBSOCKET ? "websocket" : "nats";
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
}

void net_remember_closed(struct net *net, const struct conn *c)
{
    struct net_conn_info *info;

    if (net->closed_cap == 0)
        return;
    if (net->closed == NULL)
        net->closed = mem_array(net->closed_cap, sizeof(*net->closed));
    info = &net->closed[net->closed_next].info;
    describe(c, info);
    info->stop = io_wall(net->env->io);
    info->reason = conn_reason_text(c->reason);
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
}

void net_conns_each(struct net *net, bool closed,
                    void (*each)(void *ctx, const struct net_conn_info *info), void *ctx)
{
    struct net_conn_info info;

    if (closed) {
        for (uint32_t i = 0; i < net->closed_count; i++)
            each(ctx, &net->closed[i].info);
        return;
    }
    LIST_FOREACH(l, &net->conns)
    {
        describe(LIST_ENTRY(l, struct conn, link), &info);
        each(ctx, &info);
    }
}

bool net_conn_subs(struct net *net, uint64_t cid,
                   void (*each)(void *ctx, struct str subject, struct str queue, struct str sid,
                                uint64_t max, uint64_t delivered),
                   void *ctx)
{
    LIST_FOREACH(l, &net->conns)
    {
        struct conn *c = LIST_ENTRY(l, struct conn, link);
        struct hmap_iter it = {0};
        struct hmap_node *n;
        if (c->cid != cid)
            continue;
        while ((n = hmap_each(&c->subs, &it)) != NULL) {
            const struct sub *s = CONTAINER_OF(n, struct sub, node);
            each(ctx, sub_subject(s), sub_queue(s), sub_sid(s), s->max, s->delivered);
        }
        return true;
    }
    return false;
}
