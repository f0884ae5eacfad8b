/* jsz.c - /jsz: JetStream's sums, and streams and consumers in detail when asked for. */
#include "server/monitor/monitor_int.h"

#include <string.h>

static void step(struct query *q, struct env *env, struct part *part)
{
    struct js_detail_options o = {
        .consumers = query_bool(q, "consumers", false),
        .config = query_bool(q, "config", false),
    };

    part->has_js = env->js != NULL;
    if (!part->has_js)
        return;
    o.streams = o.consumers || query_bool(q, "streams", false);
    js_stats(env->js, &part->js);
    js_details(env->js, &o, &part->text);
}

static json_t *streams(struct query *q)
{
    json_t *all = json_array();

    for (unsigned i = 0; i < q->monitor->host.workers; i++) {
        json_error_t e;
        json_t *some = json_loadb(q->parts[i].text.p, q->parts[i].text.n, 0, &e);
        if (some != NULL)
            json_array_extend(all, some);
        json_decref(some);
    }
    return all;
}

static json_t *account(struct query *q, const struct js_stats *js)
{
    json_t *a = json_object();

    put_str(a, "name", "$G");
    put_str(a, "id", "$G");
    put_int(a, "memory", (int64_t) js->memory);
    put_int(a, "storage", (int64_t) js->storage);
    put_int(a, "reserved_memory", (int64_t) js->reserved_memory);
    put_int(a, "reserved_storage", (int64_t) js->reserved_storage);
    put_int(a, "accounts", 0);
    json_object_set_new(a, "stream_detail", streams(q));
    return a;
}

static json_t *jsz(struct query *q)
{
    const struct options *opt = q->monitor->host.options;
    json_t *o = json_object();
    json_t *config = json_object();
    json_t *api = json_object();
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
    put_int(o, "accounts", q->parts[0].has_js ? 1 : 0);
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
        json_t *details = json_array();
        json_array_append_new(details, account(q, &js));
        json_object_set_new(o, "account_details", details);
        put_int(o, "total", 1);
    }
    return o;
}

const struct document jsz_document = {"/jsz", step, jsz};
