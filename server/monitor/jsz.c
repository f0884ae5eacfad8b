/* jsz.c - /jsz: JetStream's sums, and streams and consumers in detail when asked for. */
#include "server/monitor/monitor_int.h"

#include <string.h>

static void step(struct query *q, struct env *env, struct part *part)
{
    struct js_detail_options o = {
        .consumers = query_bool(q, "consumers", false),
        .config = query_bool(q, "config", false),
    };

    part->has_js = env->jetstream != NULL;
    if (!part->has_js)
        return;
    o.streams = o.consumers || query_bool(q, "streams", false);
    jetstream_stats(env->jetstream, &part->js);
    jetstream_details(env->jetstream, &o, &part->text);
}

static void add_account(json_t *sum, const json_t *one)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *) (uintptr_t) one, key, v)
    {
        json_t *have = json_object_get(sum, key);
        if (json_is_integer(v))
            json_integer_set(have, json_integer_value(have) + json_integer_value(v));
        else if (json_is_array(v))
            json_array_extend(have, v);
    }
}

/* All accounts that have JetStream, over all workers. */
static json_t *accounts(struct query *q)
{
    json_t *all = NULL;

    for (unsigned i = 0; i < q->monitor->host.workers; i++) {
        json_error_t e;
        json_t *some = json_loadb(q->parts[i].text.p, q->parts[i].text.n, 0, &e);
        if (some == NULL)
            continue;
        if (all == NULL) {
            all = some;
            continue;
        }
        for (size_t k = 0; k < json_array_size(all); k++)
            add_account(json_array_get(all, k), json_array_get(some, k));
        json_decref(some);
    }
    return all != NULL ? all : json_array();
}

/* Of the account that the query names, when it names one. */
static json_t *chosen(struct query *q, const json_t *all)
{
    const char *name = query_text(q, "acc");
    json_t *some = json_array();

    for (size_t k = 0; k < json_array_size(all); k++) {
        json_t *a = json_array_get(all, k);
        if (name == NULL || strcmp(json_string_value(json_object_get(a, "name")), name) == 0)
            json_array_append(some, a);
    }
    return some;
}

static json_t *jsz(struct query *q)
{
    const struct options *opt = q->monitor->host.options;
    json_t *o = json_object();
    json_t *config = json_object();
    json_t *api = json_object(), *all = accounts(q);
    struct js_stats js;

    sum_js(q, &js);
    put_str(o, "server_id", q->monitor->host.server_id);
    put_time(o, "now", monitor_wall());
    if (!q->parts[0].has_js)
        put_bool(o, "disabled", true);
    put_int(config, "max_memory", (int64_t) js.max_memory);
    put_int(config, "max_storage", (int64_t) js.max_storage);
    put_str(config, "store_dir", opt->store_dir);
    json_object_set_new(o, "config", config);
    json_object_set_new(o, "limits", json_object());
    put_int(o, "memory", (int64_t) js.memory);
    put_int(o, "storage", (int64_t) js.storage);
    put_int(o, "reserved_memory", (int64_t) js.reserved_memory);
    put_int(o, "reserved_storage", (int64_t) js.reserved_storage);
    put_int(o, "accounts", (int64_t) json_array_size(all));
    put_int(o, "ha_assets", 0);
    put_int(api, "level", 5);
    put_int(api, "total", (int64_t) js.api_total);
    put_int(api, "errors", (int64_t) js.api_errors);
    json_object_set_new(o, "api", api);
    put_int(o, "streams", (int64_t) js.streams);
    put_int(o, "consumers", (int64_t) js.consumers);
    put_int(o, "messages", (int64_t) js.messages);
    put_int(o, "bytes", (int64_t) js.bytes);
    if (query_bool(q, "accounts", false) || query_bool(q, "streams", false) ||
        query_bool(q, "consumers", false)) {
        json_t *details = chosen(q, all);
        json_object_set_new(o, "account_details", details);
        put_int(o, "total", (int64_t) json_array_size(details));
    }
    json_decref(all);
    return o;
}

const struct document jsz_document = {"/jsz", step, jsz};
