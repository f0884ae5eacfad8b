/*
 * accountz.c - /accountz: the accounts, or one of them with its exports, imports and mappings; and
 * /accstatz: what passed through them.
 */
#include "lib/base/mem.h"
#include "server/monitor/monitor_int.h"

#include <string.h>

/* ---- /accstatz ------------------------------------------------------------------------------- */

static const struct param accstatz_params[] = {{"unused", PARAM_BOOL, ASKED(unused)}};
static const struct json_field accstatz_fields[] = {
    {"accounts", JSON_LIST_FIELD, ASKED(only), 0, NULL},
    {"include_unused", JSON_BOOL_FIELD, ASKED(unused), 0, NULL},
};

static bool wanted(const struct query *q, const char *name)
{
    const struct str_list *only = &q->asked.only;

    for (size_t i = 0; i < only->n; i++)
        if (strcmp(only->items[i], name) == 0)
            return true;
    return only->n == 0;
}

static json_t *accstatz(struct query *q)
{
    json_t *o = json_object(), *list = json_array();
    struct net_account_stats s;
    const struct account *a;

    put_identity_and_now(o, q);
    for (uint32_t i = 0; (a = account_set_get(q->reports->host.accounts, i)) != NULL; i++) {
        sum_account(q, a, &s);
        if (wanted(q, a->name) && (q->asked.unused || s.connections + s.leafs > 0))
            json_array_append_new(list, account_stat(q, a));
    }
    q->skip = json_array_size(list) == 0 && !q->asked.unused;
    json_object_set_new(o, "account_statz", list);
    return o;
}

const struct document accstatz_document = {
    .path = "/accstatz",
    .params = accstatz_params,
    .nparams = ARRAY_LEN(accstatz_params),
    .fields = accstatz_fields,
    .nfields = ARRAY_LEN(accstatz_fields),
    .step = step_accounts,
    .finish = accstatz,
};

/* ---- exports, imports, mappings -------------------------------------------------------------- */

static json_t *latency_object(const struct account_latency *l)
{
    json_t *o = json_object();

    if (l->headers)
        put_str(o, "sampling", "headers");
    else
        put_int(o, "sampling", l->sampling);
    put_str(o, "results", l->subject);
    return o;
}

static json_t *export_object(const struct account_export *e)
{
    static const char *const types[] = {"Singleton", "Streamed", "Chunked"};
    json_t *o = json_object();

    put_str(o, "subject", e->subject);
    put_str(o, "type", e->service ? "service" : "stream");
    put_true(o, "token_req", false);
    if (e->service)
        put_str(o, "response_type", types[e->response]);
    if (e->service && e->latency.subject != NULL)
        json_object_set_new(o, "service_latency", latency_object(&e->latency));
    if (e->naccounts > 0) {
        json_t *names = json_array();
        for (size_t i = 0; i < e->naccounts; i++)
            json_array_append_new(names, json_string(e->accounts[i]));
        json_object_set_new(o, "approved_accounts", names);
    }
    return o;
}

static json_t *import_object(const struct account_import *im)
{
    json_t *o = json_object();
    struct buf local = {0};

    account_import_local(im, &local);
    put_str(o, "subject", im->subject);
    put_str(o, "account", im->account);
    if (im->service)
        put_str(o, "to", buf_cstr(&local));
    put_str(o, "local_subject", buf_cstr(&local));
    put_str(o, "type", im->service ? "service" : "stream");
    put_bool(o, "invalid", false);
    put_bool(o, "share", im->share);
    put_bool(o, "tracking", false);
    buf_free(&local);
    return o;
}

static json_t *mappings_object(const struct account_options *of)
{
    json_t *all = json_object();

    for (size_t i = 0; i < of->nmappings; i++) {
        const struct account_mapping *m = &of->mappings[i];
        json_t *dests = json_array();
        for (size_t k = 0; k < m->n; k++) {
            json_t *d = json_object();
            put_str(d, "subject", m->dests[k].subject);
            put_int(d, "weight", m->dests[k].weight);
            json_array_append_new(dests, d);
        }
        json_object_set_new(all, m->source, dests);
    }
    return all;
}

/* What the system account lets others use by itself. */
static void add_system_exports(json_t *list)
{
    static const struct {
        const char *subject;
        enum account_response response;
    } all[] = {
        {"$SYS.REQ.USER.*.INFO", RESPONSE_SINGLE},
        {"$SYS.REQ.ACCOUNT.*.CONNZ", RESPONSE_STREAM},
        {"$SYS.REQ.ACCOUNT.*.STATZ", RESPONSE_STREAM},
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        json_array_append_new(list, export_object(&(struct account_export){
                                        .service = true,
                                        .subject = (char *) (uintptr_t) all[i].subject,
                                        .response = all[i].response,
                                    }));
}

/* What every account imports of the system account by itself. */
static void add_system_imports(json_t *list, const struct query *q, const struct account *a)
{
    static const struct {
        const char *local, *remote;
        bool share;
    } all[] = {
        {"$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.ACCOUNT.%s.CONNZ", false},
        {"$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.ACCOUNT.%s.CONNZ", false},
        {"$SYS.REQ.ACCOUNT.PING.STATZ", "$SYS.REQ.ACCOUNT.%s.STATZ", false},
        {"$SYS.REQ.USER.INFO", "$SYS.REQ.USER.%s.INFO", true},
    };
    const struct account *system = q->reports->host.system_account;

    if (system == NULL)
        return;
    /* It asks itself for the last one alone. */
    for (size_t i = system == a ? ARRAY_LEN(all) - 1 : 0; i < ARRAY_LEN(all); i++) {
        struct buf remote = {0};
        const char *at = strstr(all[i].remote, "%s");
        buf_put(&remote, all[i].remote, (size_t) (at - all[i].remote));
        buf_puts(&remote, a->name);
        buf_puts(&remote, at + 2);
        json_array_append_new(list, import_object(&(struct account_import){
                                        .service = true,
                                        .share = all[i].share,
                                        .account = system->name,
                                        .subject = (char *) (uintptr_t) buf_cstr(&remote),
                                        .to = (char *) (uintptr_t) all[i].local,
                                    }));
        buf_free(&remote);
    }
}

static void put_links(json_t *o, const struct query *q, const struct account *a)
{
    const struct account_options *of = accounts_find(&q->reports->host.options->accounts, a->name);
    json_t *exports = json_array(), *imports = json_array();

    for (size_t i = 0; of != NULL && i < of->nexports; i++)
        json_array_append_new(exports, export_object(&of->exports[i]));
    for (size_t i = 0; of != NULL && i < of->nimports; i++)
        json_array_append_new(imports, import_object(&of->imports[i]));
    if (a == q->reports->host.system_account)
        add_system_exports(exports);
    add_system_imports(imports, q, a);
    if (of != NULL && of->nmappings > 0)
        json_object_set_new(o, "mappings", mappings_object(of));
    if (json_array_size(exports) > 0)
        json_object_set(o, "exports", exports);
    if (json_array_size(imports) > 0)
        json_object_set(o, "imports", imports);
    json_decref(exports);
    json_decref(imports);
}

/* ---- /accountz ------------------------------------------------------------------------------- */

static const struct param params[] = {{"acc", PARAM_TEXT, ASKED(account)}};
static const struct json_field fields[] = {{"account", JSON_STRING_FIELD, ASKED(account), 0, NULL}};

static void step(struct query *q, struct env *env, struct part *part)
{
    struct account *a = q->asked.account != NULL
                            ? account_set_find(env->accounts, str_of(q->asked.account))
                            : NULL;

    step_accounts(q, env, part);
    part->has_js = a != NULL && env->jetstream != NULL && jetstream_has(env->jetstream, a);
}

static json_t *sublist_stats(const struct account *a)
{
    struct interest_stats in;
    json_t *o = json_object();

    interest_stats(a->interest, &in);
    put_int(o, "num_subscriptions", (int64_t) (in.subs + in.internal));
    put_int(o, "num_cache", 0);
    put_int(o, "num_inserts", (int64_t) in.inserts);
    put_int(o, "num_removes", (int64_t) in.removes);
    put_int(o, "num_matches", (int64_t) in.matches);
    json_object_set_new(o, "cache_hit_rate", json_real(0));
    put_int(o, "max_fanout", 0);
    json_object_set_new(o, "avg_fanout", json_real(0));
    return o;
}

/* ---- claims ---------------------------------------------------------------------------------- */

static void put_revocations(json_t *o, const json_t *revocations)
{
    json_t *users = json_object();
    const char *key;
    json_t *at;

    json_object_foreach((json_t *) (uintptr_t) revocations, key, at)
        put_time(users, key, json_integer_value(at) * 1000000000);
    if (json_object_size(users) > 0)
        json_object_set(o, "revoked_user", users);
    json_decref(users);
}

/* What would have to be looked at in them, as the tools say it. */
static void put_issues(json_t *o, struct str token)
{
    json_t *list = json_array();
    struct account_claims a;
    struct jwt_issues is = {0};
    struct buf err = {0};

    if (account_claims_read(token, &a, &err)) {
        account_claims_check(&a, monitor_wall() / 1000000000, &is);
        account_claims_free(&a);
    }
    for (size_t i = 0; i < is.n; i++)
        json_array_append_new(list,
                              json_pack("{s:s,s:b,s:b}", "description", is.list[i].text, "blocking",
                                        is.list[i].blocking, "time_check", is.list[i].time));
    if (is.n > 0)
        json_object_set(o, "validation_result_jwt", list);
    json_decref(list);
    jwt_issues_free(&is);
    buf_free(&err);
}

/* With what other servers add to claims that do not have it. */
static void put_claims(json_t *o, const struct monitor_host *h, const char *name)
{
    const char *token = h->account_token != NULL ? h->account_token(h->ctx, name) : NULL;
    json_t *claims = token != NULL ? jwt_claims_json(str_of(token)) : NULL;
    json_t *nats = json_object_get(claims, "nats"), *otherwise;

    if (nats == NULL) {
        json_decref(claims);
        return;
    }
    put_str(o, "jwt", token);
    put_text(o, "issuer_key", json_string_value(json_object_get(claims, "iss")));
    if (json_array_size(json_object_get(nats, "tags")) > 0)
        json_object_set(o, "tags", json_object_get(nats, "tags"));
    put_revocations(o, json_object_get(nats, "revocations"));
    otherwise = json_pack("{s:{},s:{s:{},s:{}}}", "authorization", "default_permissions", "pub",
                          "sub");
    json_object_update_missing(nats, otherwise);
    json_decref(otherwise);
    json_object_set_new(o, "decoded_jwt", claims);
    put_issues(o, str_of(token));
}

/* NULL after having said why not. */
static json_t *account_object(struct query *q)
{
    const struct monitor_host *h = &q->reports->host;
    const char *name = q->asked.account != NULL ? q->asked.account : "";
    const struct account *a = account_set_find(h->accounts, str_of(name));
    struct net_account_stats s;
    struct interest_stats in;
    json_t *o;

    if (a == NULL)
        return query_fail(q, 400, "Account %.160s does not exist", name);
    o = json_object();
    sum_account(q, a, &s);
    interest_stats(a->interest, &in);
    put_str(o, "account_name", a->name);
    put_time(o, "update_time", h->config_load_wall_ns);
    put_true(o, "is_system", a == h->system_account);
    put_bool(o, "expired", false);
    put_bool(o, "complete", true);
    put_bool(o, "jetstream_enabled", q->parts[0].has_js);
    put_int(o, "leafnode_connections", (int64_t) s.leafs);
    put_int(o, "client_connections", (int64_t) s.connections);
    put_int(o, "subscriptions", (int64_t) in.subs);
    put_links(o, q, a);
    put_str(o, "name_tag", net_account_tag(a));
    put_claims(o, h, a->name);
    json_object_set_new(o, "sublist_stats", sublist_stats(a));
    return o;
}

static json_t *accountz(struct query *q)
{
    const struct monitor_host *h = &q->reports->host;
    json_t *detail = NULL, *o, *names;
    const struct account *a;

    if (q->asked.account != NULL) {
        detail = account_object(q);
        if (detail == NULL)
            return NULL;
    }
    o = json_object();
    put_identity_and_now(o, q);
    if (h->system_account != NULL)
        put_str(o, "system_account", h->system_account->name);
    if (detail != NULL) {
        json_object_set_new(o, "account_detail", detail);
        return o;
    }
    names = json_array();
    for (uint32_t i = 0; (a = account_set_get(h->accounts, i)) != NULL; i++)
        json_array_append_new(names, json_string(a->name));
    json_object_set_new(o, "accounts", names);
    return o;
}

const struct document accountz_document = {
    .path = "/accountz",
    .name = "ACCOUNTZ",
    .params = params,
    .nparams = ARRAY_LEN(params),
    .fields = fields,
    .nfields = ARRAY_LEN(fields),
    .step = step,
    .finish = accountz,
};

const struct document account_info_document = {.step = step, .finish = account_object};
