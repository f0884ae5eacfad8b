/*
 * connz.c - /connz: connections, open or closed, filtered, sorted, paged.
 *
 * Every worker copies all of its connections that pass the filters; sorting and paging happen over
 * all of them on the main thread.
 */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "server/monitor/monitor_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT 1024

static void add(void *ctx, const struct net_conn_info *info)
{
    struct part *p = ctx;

    if ((p->nconns & (p->nconns - 1)) == 0)
        p->conns = mem_realloc(p->conns, (p->nconns == 0 ? 1 : p->nconns * 2) * sizeof(*p->conns));
    p->conns[p->nconns++] = (struct conn_part){.info = *info};
}

static void add_sub(void *ctx, struct str subject, struct str queue, struct str sid, uint64_t max,
                    uint64_t delivered)
{
    json_t *list = ctx;

    (void) queue;
    (void) sid;
    (void) max;
    (void) delivered;
    json_array_append_new(list, json_stringn(subject.p, subject.n));
}

static bool wants_subs(struct query *q)
{
    const char *text = query_text(q, "subs");
    return text != NULL && (strcmp(text, "detail") == 0 || text[0] == '1' || text[0] == 't');
}

static void step(struct query *q, struct env *env, struct part *part)
{
    const char *state = query_text(q, "state");
    bool closed = state != NULL && strcmp(state, "closed") == 0;
    bool all = state != NULL && (strcmp(state, "all") == 0 || strcmp(state, "any") == 0);

    if (!closed)
        net_conns_each(env->net, false, add, part);
    if (!closed && wants_subs(q))
        for (size_t i = 0; i < part->nconns; i++) {
            part->conns[i].subs = json_array();
            net_conn_subs(env->net, part->conns[i].info.cid, add_sub, part->conns[i].subs);
        }
    if (closed || all)
        net_conns_each(env->net, true, add, part);
}

/* ---- sorting --------------------------------------------------------------------------------- */

/* Larger first except for cid and start; the peer's names. */
#define DOWN(name, value)                                                                          \
    static int by_##name(const void *a, const void *b)                                             \
    {                                                                                              \
        const struct net_conn_info *x = &((const struct conn_part *) a)->info;                     \
        const struct net_conn_info *y = &((const struct conn_part *) b)->info;                     \
        return x->value > y->value ? -1 : x->value < y->value;                                     \
    }
DOWN(subs, subscriptions)
DOWN(pending, pending_bytes)
DOWN(msgs_to, out_msgs)
DOWN(msgs_from, in_msgs)
DOWN(bytes_to, out_bytes)
DOWN(bytes_from, in_bytes)
DOWN(last, last_activity)
DOWN(stop, stop)
DOWN(rtt, rtt_ns)

static int by_cid(const void *a, const void *b)
{
    uint64_t x = ((const struct conn_part *) a)->info.cid;
    uint64_t y = ((const struct conn_part *) b)->info.cid;
    return x < y ? -1 : x > y;
}

static int by_idle(const void *a, const void *b)
{
    return by_last(b, a);
}

static const struct {
    const char *name;
    int (*compare)(const void *, const void *);
} orders[] = {
    {"cid", by_cid},           {"start", by_cid},
    {"subs", by_subs},         {"pending", by_pending},
    {"msgs_to", by_msgs_to},   {"msgs_from", by_msgs_from},
    {"bytes_to", by_bytes_to}, {"bytes_from", by_bytes_from},
    {"last", by_last},         {"idle", by_idle},
    {"uptime", by_cid},        {"stop", by_stop},
    {"rtt", by_rtt},
};

static void sort(struct query *q, struct conn_part *all, size_t n)
{
    const char *name = query_text(q, "sort");

    for (size_t i = 0; i < ARRAY_LEN(orders); i++)
        if (strcmp(orders[i].name, name != NULL && name[0] != '\0' ? name : "cid") == 0) {
            qsort(all, n, sizeof(*all), orders[i].compare);
            return;
        }
    q->status = 400;
    snprintf(q->error, sizeof(q->error), "invalid sorting option: %.64s", name);
}

/* ---- the document ---------------------------------------------------------------------------- */

static json_t *conn_object(const struct conn_part *p, int64_t now)
{
    const struct net_conn_info *c = &p->info;
    json_t *o = json_object();
    int64_t end = c->stop != 0 ? c->stop : now;
    char text[32];

    put_int(o, "cid", (int64_t) c->cid);
    put_str(o, "kind", "Client");
    put_str(o, "type", c->type);
    put_str(o, "ip", c->ip);
    put_int(o, "port", c->port);
    put_time(o, "start", c->start);
    put_time(o, "last_activity", c->last_activity);
    if (c->stop != 0) {
        put_time(o, "stop", c->stop);
        put_str(o, "reason", c->reason);
    }
    snprintf(text, sizeof(text), "%.3fµs", (double) c->rtt_ns / 1e3);
    put_str(o, "rtt", text);
    put_uptime(o, "uptime", end - c->start);
    put_uptime(o, "idle", end - c->last_activity);
    put_int(o, "pending_bytes", (int64_t) c->pending_bytes);
    put_int(o, "in_msgs", (int64_t) c->in_msgs);
    put_int(o, "out_msgs", (int64_t) c->out_msgs);
    put_int(o, "in_bytes", (int64_t) c->in_bytes);
    put_int(o, "out_bytes", (int64_t) c->out_bytes);
    if (c->stalls > 0)
        put_int(o, "stalls", (int64_t) c->stalls);
    put_int(o, "subscriptions", (int64_t) c->subscriptions);
    if (c->name[0] != '\0')
        put_str(o, "name", c->name);
    if (c->lang[0] != '\0')
        put_str(o, "lang", c->lang);
    if (c->version[0] != '\0')
        put_str(o, "version", c->version);
    if (c->tls_version[0] != '\0') {
        put_str(o, "tls_version", c->tls_version);
        put_str(o, "tls_cipher_suite", c->tls_cipher);
        if (c->tls_first)
            put_bool(o, "tls_first", true);
    }
    if (c->authorized_user[0] != '\0')
        put_str(o, "authorized_user", c->authorized_user);
    put_str(o, "account", c->account);
    if (p->subs != NULL)
        json_object_set(o, "subscriptions_list", p->subs);
    return o;
}

static size_t gather(struct query *q, struct conn_part **out)
{
    struct conn_part *all;
    int64_t cid = query_int(q, "cid", 0);
    size_t n = 0, cap = 0;

    for (unsigned i = 0; i < q->monitor->host.workers; i++)
        cap += q->parts[i].nconns;
    all = mem_array(cap + 1, sizeof(*all));
    for (unsigned i = 0; i < q->monitor->host.workers; i++)
        for (size_t k = 0; k < q->parts[i].nconns; k++)
            if (cid == 0 || q->parts[i].conns[k].info.cid == (uint64_t) cid)
                all[n++] = q->parts[i].conns[k];
    *out = all;
    return n;
}

static json_t *connz(struct query *q)
{
    json_t *o = json_object();
    json_t *list = json_array();
    struct conn_part *all;
    size_t n = gather(q, &all);
    int64_t offset = query_int(q, "offset", 0);
    int64_t limit = query_int(q, "limit", LIMIT_DEFAULT);
    int64_t now = monitor_wall();

    if (limit <= 0)
        limit = LIMIT_DEFAULT;
    if (offset < 0)
        offset = 0;
    sort(q, all, n);
    for (size_t i = (size_t) offset; i < n && i - (size_t) offset < (size_t) limit; i++)
        json_array_append_new(list, conn_object(&all[i], now));
    put_str(o, "server_id", q->monitor->host.server_id);
    put_time(o, "now", now);
    put_int(o, "num_connections", (int64_t) json_array_size(list));
    put_int(o, "total", (int64_t) n);
    put_int(o, "offset", offset);
    put_int(o, "limit", limit);
    json_object_set_new(o, "connections", list);
    mem_free(all);
    return o;
}

const struct document connz_document = {"/connz", step, connz};
