/* jsz.c - /jsz: JetStream's sums, and streams and consumers in detail when asked for. */
#include "lib/base/mem.h"
#include "server/monitor/monitor_int.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT 1024

static const struct param params[] = {
    {"accounts", PARAM_BOOL, ASKED(accounts)},
    {"streams", PARAM_BOOL, ASKED(streams)},
    {"consumers", PARAM_BOOL, ASKED(consumers)},
    {"direct-consumers", PARAM_BOOL, ASKED(direct_consumers)},
    {"config", PARAM_BOOL, ASKED(config)},
    {"offset", PARAM_INT, ASKED(offset)},
    {"limit", PARAM_INT, ASKED(limit)},
    {"leader-only", PARAM_BOOL, ASKED(leader_only)},
    {"raft", PARAM_BOOL, ASKED(raft)},
    {"stream-leader-only", PARAM_BOOL, ASKED(stream_leader_only)},
    {"acc", PARAM_TEXT, ASKED(account)},
};
static const struct json_field fields[] = {
    {"account", JSON_STRING_FIELD, ASKED(account), 0, NULL},
    {"accounts", JSON_BOOL_FIELD, ASKED(accounts), 0, NULL},
    {"streams", JSON_BOOL_FIELD, ASKED(streams), 0, NULL},
    {"consumer", JSON_BOOL_FIELD, ASKED(consumers), 0, NULL},
    {"direct_consumer", JSON_BOOL_FIELD, ASKED(direct_consumers), 0, NULL},
    {"config", JSON_BOOL_FIELD, ASKED(config), 0, NULL},
    {"leader_only", JSON_BOOL_FIELD, ASKED(leader_only), 0, NULL},
    {"offset", JSON_I64_FIELD, ASKED(offset), 0, NULL},
    {"limit", JSON_I64_FIELD, ASKED(limit), 0, NULL},
    {"raft", JSON_BOOL_FIELD, ASKED(raft), 0, NULL},
    {"stream_leader_only", JSON_BOOL_FIELD, ASKED(stream_leader_only), 0, NULL},
};

/* ---- a worker's part ------------------------------------------------------------------------- */

void step_jetstream(struct env *env, const struct js_detail_options *o, struct part *part)
{
    part->more = false;
    part->has_js = env->jetstream != NULL;
    if (!part->has_js) { /* it may have gone meanwhile */
        buf_clear(&part->text);
        return;
    }
    if (part->text.n == 0)
        jetstream_stats(env->jetstream, &part->js);
    part->more = jetstream_details(env->jetstream, o, &part->js_at, STEP_MOST_JS, &part->text);
}

static void collect(struct query *q, struct env *env, struct part *part, bool consumers_imply)
{
    const struct js_detail_options o = {
        .streams = q->asked.streams || (consumers_imply && q->asked.consumers),
        .consumers = q->asked.consumers,
        .direct_consumers = q->asked.direct_consumers,
        .config = q->asked.config,
        .raft = q->asked.raft,
    };

    step_jetstream(env, &o, part);
}

static void step(struct query *q, struct env *env, struct part *part)
{
    collect(q, env, part, true);
}

/* ---- accounts -------------------------------------------------------------------------------- */

static void add_account(json_t *sum, const json_t *one)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *) (uintptr_t) one, key, v)
    {
        json_t *have = json_object_get(sum, key);
        if (have == NULL)
            json_object_set(sum, key, v);
        else if (json_is_integer(v) && strcmp(key, "level") != 0)
            json_integer_set(have, json_integer_value(have) + json_integer_value(v));
        else if (json_is_array(v))
            json_array_extend(have, v);
        else if (json_is_object(v))
            add_account(have, v);
    }
}

static const char *name_of(const json_t *account)
{
    return json_string_value(json_object_get(account, "name"));
}

/* The one of that name: at this place, but where a worker had heard of one that another had not. */
static json_t *same_account(const json_t *all, size_t place, const char *name)
{
    json_t *there = json_array_get(all, place);

    if (there != NULL && strcmp(name_of(there), name) == 0)
        return there;
    for (size_t k = 0; k < json_array_size(all); k++)
        if (strcmp(name_of(json_array_get(all, k)), name) == 0)
            return json_array_get(all, k);
    return NULL;
}

/* All accounts that have JetStream, over all workers. */
static json_t *accounts(struct query *q)
{
    json_t *all = json_array();

    for (unsigned i = 0; i < q->workers; i++) {
        json_error_t e;
        json_t *some = json_loadb(q->parts[i].text.p, q->parts[i].text.n, 0, &e);
        for (size_t k = 0; k < json_array_size(some); k++) {
            json_t *one = json_array_get(some, k), *have = same_account(all, k, name_of(one));
            if (have != NULL)
                add_account(have, one);
            else
                json_array_append(all, one);
        }
        json_decref(some);
    }
    return all;
}

/* Without empty lists. */
static json_t *tidy_account(json_t *account)
{
    json_t *streams = json_object_get(account, "stream_detail");

    if (json_array_size(streams) == 0)
        json_object_del(account, "stream_detail");
    return account;
}

static json_t *find_account(const json_t *all, const char *name)
{
    for (size_t k = 0; k < json_array_size(all); k++)
        if (strcmp(name_of(json_array_get(all, k)), name) == 0)
            return tidy_account(json_array_get(all, k));
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(name_of(*(json_t *const *) a), name_of(*(json_t *const *) b));
}

/* A page of them in the order of their names. */
static json_t *page_of(struct query *q, const json_t *all)
{
    size_t n = json_array_size(all), from, to;
    json_t **sorted = mem_array(n + 1, sizeof(json_t *));
    json_t *page = json_array();

    for (size_t k = 0; k < n; k++)
        sorted[k] = json_array_get(all, k);
    qsort(sorted, n, sizeof(json_t *), by_name);
    query_page(q, LIMIT_DEFAULT, n, &from, &to);
    for (size_t k = from; k < to; k++)
        json_array_append(page, tidy_account(sorted[k]));
    mem_free(sorted);
    return page;
}

static json_t *chosen(struct query *q, const json_t *all)
{
    const struct asked *a = &q->asked;
    json_t *one = a->account != NULL ? find_account(all, a->account) : NULL;
    json_t *list;

    if (!q->parts[0].has_js)
        return NULL;
    if (one != NULL) {
        list = json_array();
        json_array_append(list, one);
        return list;
    }
    if (a->accounts || ((a->streams || a->consumers) && a->account == NULL))
        return page_of(q, all);
    return NULL;
}

/* ---- the document ---------------------------------------------------------------------------- */

static json_t *jsz(struct query *q)
{
    json_t *o = json_object(), *all = accounts(q), *details = chosen(q, all);
    struct js_stats js;

    sum_js(q, &js);
    put_jetstream_stats(o, q, &js);
    put_identity_and_now(o, q);
    put_true(o, "disabled", !q->parts[0].has_js);
    json_object_set_new(o, "config", jetstream_config(q, &js, true));
    if (q->parts[0].has_js)
        json_object_set_new(o, "limits", jetstream_limits(q->reports->host.options));
    put_int(o, "streams", (int64_t) js.streams);
    if (q->asked.raft && js.streams > 0)
        put_int(o, "streams_leader", (int64_t) js.streams);
    put_int(o, "consumers", (int64_t) js.consumers);
    if (q->asked.raft && js.consumers > 0)
        put_int(o, "consumers_leader", (int64_t) js.consumers);
    put_int(o, "messages", (int64_t) js.messages);
    put_int(o, "bytes", (int64_t) js.bytes);
    if (details != NULL)
        json_object_set_new(o, "account_details", details);
    put_int(o, "total", (int64_t) json_array_size(all));
    json_decref(all);
    return o;
}

const struct document jsz_document = {
    .path = "/jsz",
    .name = "JSZ",
    .params = params,
    .nparams = ARRAY_LEN(params),
    .fields = fields,
    .nfields = ARRAY_LEN(fields),
    .step = step,
    .finish = jsz,
};

/* ---- of one account -------------------------------------------------------------------------- */

static void step_account(struct query *q, struct env *env, struct part *part)
{
    collect(q, env, part, false);
}

static json_t *account_jsz(struct query *q)
{
    const char *name = q->asked.account != NULL ? q->asked.account : "";
    json_t *all, *one;

    if (!q->parts[0].has_js)
        return query_fail(q, 500, "jetstream not enabled");
    if (account_set_find(q->reports->host.accounts, str_of(name)) == NULL)
        return query_fail(q, 500, "account \"%.160s\" not found", name);
    all = accounts(q);
    one = find_account(all, name);
    json_incref(one);
    json_decref(all);
    if (one == NULL)
        return query_fail(q, 500, "account \"%.160s\" not jetstream enabled", name);
    return one;
}

const struct document account_jsz_document = {
    .fields = fields,
    .nfields = ARRAY_LEN(fields),
    .step = step_account,
    .finish = account_jsz,
};
