/*
 * subsz.c - /subsz: how many subscriptions there are, and which.
 *
 * Counts are the interest's, of all accounts or of one; the list is what connections have.
 */
#include "lib/base/subject.h"
#include "server/monitor/monitor_int.h"

#include <string.h>

#define LIMIT_DEFAULT 1024

static const struct param params[] = {
    {"subs", PARAM_BOOL, ASKED(subs)},   {"offset", PARAM_INT, ASKED(offset)},
    {"limit", PARAM_INT, ASKED(limit)},  {"test", PARAM_TEXT, ASKED(test)},
    {"acc", PARAM_TEXT, ASKED(account)},
};
static const struct json_field fields[] = {
    {"offset", JSON_I64_FIELD, ASKED(offset), 0, NULL},
    {"limit", JSON_I64_FIELD, ASKED(limit), 0, NULL},
    {"subscriptions", JSON_BOOL_FIELD, ASKED(subs), 0, NULL},
    {"account", JSON_STRING_FIELD, ASKED(account), 0, NULL},
    {"test", JSON_STRING_FIELD, ASKED(test), 0, NULL},
};

/* ---- a worker's part ------------------------------------------------------------------------- */

struct gathering {
    const struct asked *asked;
    json_t *list;
    const char *account; /* of the connection */
};

static void add(void *ctx, const struct net_sub_info *s)
{
    const struct gathering *g = ctx;

    if (g->asked->test == NULL || subject_matches(str_of(g->asked->test), s->subject))
        json_array_append_new(g->list, sub_detail(s, g->account));
}

static void add_conn(void *ctx, const struct net_conn_info *info, const struct conn *open)
{
    struct gathering *g = ctx;

    if (g->asked->account != NULL && strcmp(g->asked->account, info->account) != 0)
        return;
    g->account = info->account;
    net_conn_subs(open, add, g);
}

static void add_some(struct query *q, struct env *env, struct part *part)
{
    struct gathering g = {.asked = &q->asked, .list = part->subs};

    part->more = net_conns_slice(env->net, &part->from, STEP_MOST, add_conn, &g);
}

static void step(struct query *q, struct env *env, struct part *part)
{
    router_stats(env->router, &part->router);
    if (part->subs == NULL)
        part->subs = json_array();
    if (q->asked.subs)
        add_some(q, env, part);
}

/* ---- the document ---------------------------------------------------------------------------- */

static void sum(const struct query *q, struct interest_stats *out, double *hit_rate)
{
    const struct account *a;
    uint64_t hits = 0, misses = 0;

    *out = (struct interest_stats){0};
    for (uint32_t i = 0; (a = account_set_get(q->reports->host.accounts, i)) != NULL; i++) {
        struct interest_stats one;
        if (q->asked.account != NULL && strcmp(q->asked.account, a->name) != 0)
            continue;
        interest_stats(a->interest, &one);
        out->subs += one.subs + one.internal;
        out->inserts += one.inserts;
        out->removes += one.removes;
        out->matches += one.matches;
    }
    for (unsigned i = 0; i < q->workers; i++) {
        hits += q->parts[i].router.cache_hits;
        misses += q->parts[i].router.cache_misses;
    }
    *hit_rate = hits + misses > 0 ? (double) hits / (double) (hits + misses) : 0;
}

static void put_counts(json_t *o, const struct query *q)
{
    struct interest_stats in;
    uint64_t entries = 0;
    double hit_rate;

    sum(q, &in, &hit_rate);
    for (unsigned i = 0; i < q->workers; i++)
        entries += q->parts[i].router.cache_entries;
    put_int(o, "num_subscriptions", (int64_t) in.subs);
    put_int(o, "num_cache", (int64_t) entries);
    put_int(o, "num_inserts", (int64_t) in.inserts);
    put_int(o, "num_removes", (int64_t) in.removes);
    put_int(o, "num_matches", (int64_t) in.matches);
    json_object_set_new(o, "cache_hit_rate", json_real(hit_rate));
    put_int(o, "max_fanout", 0);
    json_object_set_new(o, "avg_fanout", json_real(0));
}

static void put_list(json_t *o, struct query *q)
{
    json_t *all = json_array(), *page = json_array();
    size_t from, to;

    for (unsigned i = 0; i < q->workers; i++)
        json_array_extend(all, q->parts[i].subs);
    query_page(q, LIMIT_DEFAULT, json_array_size(all), &from, &to);
    for (size_t i = from; i < to; i++)
        json_array_append(page, json_array_get(all, i));
    put_int(o, "total", (int64_t) json_array_size(all));
    put_int(o, "offset", q->asked.offset);
    put_int(o, "limit", q->asked.limit);
    if (json_array_size(page) > 0)
        json_object_set(o, "subscriptions_list", page);
    json_decref(page);
    json_decref(all);
}

static json_t *subsz(struct query *q)
{
    json_t *o;

    if (q->asked.test != NULL && !subject_valid_literal(str_of(q->asked.test)))
        return query_fail(q, 400, "invalid test subject, must be valid publish subject: %.160s",
                          q->asked.test);
    o = json_object();
    put_identity_and_now(o, q);
    put_counts(o, q);
    put_list(o, q);
    return o;
}

#define SUBSZ                                                                                      \
    .params = params, .nparams = ARRAY_LEN(params), .fields = fields,                              \
    .nfields = ARRAY_LEN(fields), .step = step, .finish = subsz

const struct document subsz_document = {.path = "/subsz", .name = "SUBSZ", SUBSZ};
const struct document subscriptionsz_document = {.path = "/subscriptionsz", SUBSZ};

/* Of one account: always with the list. */
static void step_account(struct query *q, struct env *env, struct part *part)
{
    router_stats(env->router, &part->router);
    if (part->subs == NULL)
        part->subs = json_array();
    add_some(q, env, part);
}

const struct document account_subsz_document = {
    .fields = fields, .nfields = ARRAY_LEN(fields), .step = step_account, .finish = subsz};
