/*
 * connz.c - /connz: connections, open or closed, filtered, sorted, paged.
 *
 * Every worker copies all of its connections that pass the filters; sorting and paging happen over
 * all of them on the main thread.
 */
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/monitor/monitor_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT 1024

static const struct param params[] = {
    {"auth", PARAM_BOOL, ASKED(auth)},    {"subs", PARAM_SUBS, ASKED(subs)},
    {"offset", PARAM_INT, ASKED(offset)}, {"limit", PARAM_INT, ASKED(limit)},
    {"cid", PARAM_UINT, ASKED(cid)},      {"state", PARAM_STATE, ASKED(state)},
    {"sort", PARAM_TEXT, ASKED(sort)},    {"user", PARAM_TEXT, ASKED(user)},
    {"acc", PARAM_TEXT, ASKED(account)},  {"mqtt_client", PARAM_TEXT, ASKED(mqtt_client)},
};
static const struct json_field fields[] = {
    {"sort", JSON_STRING_FIELD, ASKED(sort), 0, NULL},
    {"auth", JSON_BOOL_FIELD, ASKED(auth), 0, NULL},
    {"subscriptions", JSON_BOOL_FIELD, ASKED(subs), 0, NULL},
    {"subscriptions_detail", JSON_BOOL_FIELD, ASKED(subs_detail), 0, NULL},
    {"offset", JSON_I64_FIELD, ASKED(offset), 0, NULL},
    {"limit", JSON_I64_FIELD, ASKED(limit), 0, NULL},
    {"cid", JSON_U64_FIELD, ASKED(cid), 0, NULL},
    {"mqtt_client", JSON_STRING_FIELD, ASKED(mqtt_client), 0, NULL},
    {"state", JSON_I64_FIELD, ASKED(state), 0, NULL},
    {"user", JSON_STRING_FIELD, ASKED(user), 0, NULL},
    {"acc", JSON_STRING_FIELD, ASKED(account), 0, NULL},
    {"filter_subject", JSON_STRING_FIELD, ASKED(filter_subject), 0, NULL},
};

/* ---- a worker's part ------------------------------------------------------------------------- */

struct gathering {
    const struct asked *asked;
    struct part *part;
    bool collides;
};

json_t *sub_detail(const struct net_sub_info *s, const char *account)
{
    json_t *o = json_object();

    put_text(o, "account", account);
    put_text(o, "account_tag", account);
    json_object_set_new(o, "subject", json_stringn(s->subject.p, s->subject.n));
    if (s->queue.n > 0)
        json_object_set_new(o, "qgroup", json_stringn(s->queue.p, s->queue.n));
    json_object_set_new(o, "sid", json_stringn(s->sid.p, s->sid.n));
    put_int(o, "msgs", (int64_t) s->delivered);
    if (s->max > 0)
        put_int(o, "max", (int64_t) s->max);
    put_int(o, "cid", (int64_t) s->cid);
    return o;
}

static void add_detail(void *ctx, const struct net_sub_info *s)
{
    json_array_append_new(ctx, sub_detail(s, NULL));
}

static void add_subject(void *ctx, const struct net_sub_info *s)
{
    json_array_append_new(ctx, json_stringn(s->subject.p, s->subject.n));
}

static void look(void *ctx, const struct net_sub_info *s)
{
    struct gathering *g = ctx;

    g->collides |= subject_overlap(s->subject, str_of(g->asked->filter_subject));
}

static bool filters_subjects(const struct asked *a)
{
    return a->filter_subject != NULL && strcmp(a->filter_subject, ">") != 0;
}

static bool same(const char *wanted, const char *is)
{
    return wanted == NULL || strcmp(wanted, is) == 0;
}

/* The account is looked at when all are counted: the total has nothing else left out. */
static bool passes(struct gathering *g, const struct net_conn_info *info, const struct conn *open)
{
    const struct asked *a = g->asked;

    if (!same(a->account, info->account))
        return false;
    if (a->cid > 0 && a->cid != info->cid)
        return false;
    if (open == NULL || !filters_subjects(a))
        return true;
    g->collides = false;
    net_conn_subs(open, look, g);
    return g->collides;
}

static void add_cert(void *ctx, const struct net_peer_cert *p)
{
    json_t *o = json_object();

    put_text(o, "subject", p->subject);
    put_text(o, "spki_sha256", p->spki_sha256);
    put_text(o, "cert_sha256", p->cert_sha256);
    json_array_append_new(ctx, o);
}

/* What is borrowed for the call, or takes some work. */
static void add_more(const struct asked *a, struct conn_part *c, const struct conn *open)
{
    struct net_conn_info *info = &c->info;
    json_t *certs = json_array();

    c->more = json_object();
    if (info->proxy != NULL)
        json_object_set_new(c->more, "proxy", json_pack("{s:s}", "key", info->proxy));
    if (a->auth) {
        put_text(c->more, "jwt", info->jwt);
        if (info->tags != NULL)
            put_texts(c->more, "tags", info->tags);
        if (open != NULL)
            net_conn_certs(open, add_cert, certs);
    }
    if (json_array_size(certs) > 0)
        json_object_set(c->more, "tls_peer_certs", certs);
    json_decref(certs);
    info->proxy = info->jwt = NULL;
    info->tags = NULL;
}

static void add(void *ctx, const struct net_conn_info *info, const struct conn *open)
{
    struct gathering *g = ctx;
    struct part *p = g->part;
    struct conn_part *c;

    if (same(g->asked->account, info->account))
        p->matching++;
    if (!passes(g, info, open) || !same(g->asked->user, info->authorized_user) ||
        g->asked->mqtt_client != NULL)
        return;
    if ((p->nconns & (p->nconns - 1)) == 0)
        p->conns = mem_realloc(p->conns, (p->nconns == 0 ? 1 : p->nconns * 2) * sizeof(*p->conns));
    c = &p->conns[p->nconns++];
    *c = (struct conn_part){.info = *info};
    add_more(g->asked, c, open);
    if (open == NULL || info->subscriptions == 0 || !(g->asked->subs || g->asked->subs_detail))
        return;
    c->subs = json_array();
    net_conn_subs(open, g->asked->subs_detail ? add_detail : add_subject, c->subs);
}

static void step(struct query *q, struct env *env, struct part *part)
{
    struct gathering g = {.asked = &q->asked, .part = part};

    part->more = q->asked.state != ASKED_CLOSED &&
                 net_conns_slice(env->net, &part->from, STEP_MOST, add, &g);
    if (part->more)
        return;
    if (q->asked.state != ASKED_OPEN)
        net_conns_each(env->net, true, add, &g);
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

/* Those that are still open began before those that have the same age later: shortest first. */
static int by_uptime(const void *a, const void *b)
{
    const struct net_conn_info *x = &((const struct conn_part *) a)->info;
    const struct net_conn_info *y = &((const struct conn_part *) b)->info;
    int64_t now = monitor_wall();
    int64_t p = (x->stop != 0 ? x->stop : now) - x->start;
    int64_t q = (y->stop != 0 ? y->stop : now) - y->start;
    return p < q ? -1 : p > q;
}

static int by_reason(const void *a, const void *b)
{
    return strcmp(((const struct conn_part *) a)->info.reason,
                  ((const struct conn_part *) b)->info.reason);
}

static const struct order {
    const char *name;
    int (*compare)(const void *, const void *);
    bool closed; /* of closed connections alone */
} orders[] = {
    {"cid", by_cid, false},           {"start", by_cid, false},
    {"subs", by_subs, false},         {"pending", by_pending, false},
    {"msgs_to", by_msgs_to, false},   {"msgs_from", by_msgs_from, false},
    {"bytes_to", by_bytes_to, false}, {"bytes_from", by_bytes_from, false},
    {"last", by_last, false},         {"idle", by_idle, false},
    {"uptime", by_uptime, false},     {"stop", by_stop, true},
    {"reason", by_reason, true},      {"rtt", by_rtt, false},
};

/* NULL after having said why not. */
static const struct order *order_of(struct query *q)
{
    const char *name = q->asked.sort != NULL ? q->asked.sort : "cid";

    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        if (strcmp(orders[i].name, name) != 0)
            continue;
        if (!orders[i].closed || q->asked.state == ASKED_CLOSED)
            return &orders[i];
        query_fail(q, 400, "sort by %s only valid on closed connections", name);
        return NULL;
    }
    query_fail(q, 400, "invalid sorting option: %.64s", name);
    return NULL;
}

/* ---- the document ---------------------------------------------------------------------------- */

static void put_rtt(json_t *o, int64_t ns)
{
    char text[FMT_TIME_MAX];

    fmt_go_duration(text, ns > 1000 && ns < 1000000 ? ns / 1000 * 1000 : ns);
    put_str(o, "rtt", text);
}

static void put_traffic(json_t *o, const struct net_conn_info *c)
{
    put_int(o, "pending_bytes", (int64_t) c->pending_bytes);
    put_int(o, "in_msgs", (int64_t) c->in_msgs);
    put_int(o, "out_msgs", (int64_t) c->out_msgs);
    put_int(o, "in_bytes", (int64_t) c->in_bytes);
    put_int(o, "out_bytes", (int64_t) c->out_bytes);
    if (c->stalls > 0)
        put_int(o, "stalls", (int64_t) c->stalls);
    put_int(o, "subscriptions", (int64_t) c->subscriptions);
}

static void put_user(json_t *o, const struct query *q, const struct net_conn_info *c)
{
    put_text(o, "authorized_user", c->authorized_user);
    if (strcmp(c->account, q->reports->host.account->name) != 0)
        put_text(o, "account", c->account);
    if (c->stop == 0 || strcmp(c->account, q->reports->host.account->name) != 0)
        put_text(o, "name_tag", c->account_tag);
    put_text(o, "issuer_key", c->issuer);
}

static json_t *conn_object(const struct query *q, const struct conn_part *p, int64_t now)
{
    const struct net_conn_info *c = &p->info;
    json_t *o = json_object();
    int64_t end = c->stop != 0 ? c->stop : now;

    put_int(o, "cid", (int64_t) c->cid);
    put_str(o, "kind", c->kind);
    put_text(o, "type", c->type);
    put_str(o, "ip", c->ip);
    put_int(o, "port", c->port);
    put_time(o, "start", c->start);
    put_time(o, "last_activity", c->last_activity);
    if (c->stop != 0) {
        put_time(o, "stop", c->stop);
        put_str(o, "reason", c->reason);
    }
    put_rtt(o, c->rtt_ns);
    put_uptime(o, "uptime", end - c->start);
    put_uptime(o, "idle", end - c->last_activity);
    put_traffic(o, c);
    put_text(o, "name", c->name);
    put_text(o, "lang", c->lang);
    put_text(o, "version", c->version);
    put_text(o, "tls_version", c->tls_version);
    put_text(o, "tls_cipher_suite", c->tls_cipher);
    put_true(o, "tls_first", c->tls_first);
    if (q->asked.auth)
        put_user(o, q, c);
    json_object_update(o, p->more);
    if (p->subs != NULL)
        json_object_set(
            o, q->asked.subs_detail ? "subscriptions_list_detail" : "subscriptions_list", p->subs);
    return o;
}

static size_t gather(struct query *q, struct conn_part **out, size_t *total)
{
    struct conn_part *all;
    size_t n = 0, cap = 0;

    *total = 0;
    for (unsigned i = 0; i < q->workers; i++) {
        cap += q->parts[i].nconns;
        *total += q->parts[i].matching;
    }
    all = mem_array(cap + 1, sizeof(*all));
    for (unsigned i = 0; i < q->workers; i++)
        for (size_t k = 0; k < q->parts[i].nconns; k++)
            all[n++] = q->parts[i].conns[k];
    *out = all;
    return n;
}

/* Of an account that there is not. */
static json_t *of_nobody(struct query *q, int64_t now)
{
    json_t *o = json_object();
    size_t from, to;

    query_page(q, LIMIT_DEFAULT, 0, &from, &to);
    put_str(o, "server_id", "");
    put_time(o, "now", now);
    put_int(o, "num_connections", 0);
    put_int(o, "total", 0);
    put_int(o, "offset", q->asked.offset);
    put_int(o, "limit", q->asked.limit);
    json_object_set_new(o, "connections", json_null());
    return o;
}

static json_t *connz(struct query *q)
{
    const struct order *order = order_of(q);
    json_t *o, *list;
    struct conn_part *all;
    size_t n, from, to, total;
    int64_t now = monitor_wall();

    if (order == NULL)
        return NULL;
    if (filters_subjects(&q->asked) && q->asked.account == NULL)
        return query_fail(q, 400, "filter by subject only valid with account filtering");
    if (q->asked.cid > 0)
        q->asked.limit = 1;
    if (q->asked.account != NULL &&
        account_set_find(q->reports->host.accounts, str_of(q->asked.account)) == NULL)
        return of_nobody(q, now);
    o = json_object();
    list = json_array();
    n = gather(q, &all, &total);
    qsort(all, n, sizeof(*all), order->compare);
    query_page(q, LIMIT_DEFAULT, n, &from, &to);
    for (size_t i = from; i < to; i++)
        json_array_append_new(list, conn_object(q, &all[i], now));
    put_str(o, "server_id", q->reports->host.server_id);
    put_time(o, "now", now);
    put_int(o, "num_connections", (int64_t) json_array_size(list));
    put_int(o, "total", (int64_t) total);
    put_int(o, "offset", q->asked.offset);
    put_int(o, "limit", q->asked.limit);
    json_object_set_new(o, "connections", list);
    mem_free(all);
    return o;
}

const struct document connz_document = {
    .path = "/connz",
    .name = "CONNZ",
    .params = params,
    .nparams = ARRAY_LEN(params),
    .fields = fields,
    .nfields = ARRAY_LEN(fields),
    .step = step,
    .finish = connz,
};
