/* varz.c - /varz: the server as a whole; and what its JetStream part shares with statsz. */
#include "server/monitor/monitor_int.h"
#include "server/net/event.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void step(struct query *q, struct env *env, struct part *part)
{
    step_accounts(q, env, part);
    if (part->more)
        return;
    net_stats(env->net, &part->net);
    part->has_js = env->jetstream != NULL;
    if (part->has_js)
        jetstream_stats(env->jetstream, &part->js);
}

/* ---- jetstream ------------------------------------------------------------------------------- */

void put_jetstream_stats(json_t *o, const struct query *q, const struct js_stats *js)
{
    json_t *api = json_object();

    put_int(o, "memory", (int64_t) js->memory);
    put_int(o, "storage", (int64_t) js->storage);
    put_int(o, "reserved_memory", (int64_t) js->reserved_memory);
    put_int(o, "reserved_storage", (int64_t) js->reserved_storage);
    put_int(o, "accounts", (int64_t) q->parts[0].js.accounts);
    put_int(o, "ha_assets", 0);
    put_int(api, "level", q->parts[0].has_js ? 5 : 0);
    put_int(api, "total", (int64_t) js->api_total);
    put_int(api, "errors", (int64_t) js->api_errors);
    if (js->api_inflight > 0)
        put_int(api, "inflight", (int64_t) js->api_inflight);
    json_object_set_new(o, "api", api);
}

static void put_limit(json_t *o, const char *key, int64_t value)
{
    if (value > 0)
        put_int(o, key, value);
}

json_t *jetstream_limits(const struct options *o)
{
    json_t *limits = json_object();

    put_limit(limits, "max_request_batch", o->js_max_request_batch);
    put_limit(limits, "max_ack_pending", o->js_max_ack_pending);
    put_limit(limits, "max_ha_assets", o->js_said.max_ha_assets);
    put_limit(limits, "max_duplicate_window", o->js_duplicate_window_ns);
    put_limit(limits, "max_batch_inflight_per_stream", o->js_said.batch_per_stream);
    put_limit(limits, "max_batch_inflight_total", o->js_said.batch_total);
    put_limit(limits, "max_batch_size", o->js_said.batch_msgs);
    put_limit(limits, "max_batch_timeout", o->js_said.batch_timeout_ns);
    return limits;
}

json_t *jetstream_config(const struct query *q, const struct js_stats *js, bool with_store_dir)
{
    const struct options *o = q->reports->host.options;
    json_t *config = json_object();
    char dir[1024];

    put_int(config, "max_memory", (int64_t) js->max_memory);
    put_int(config, "max_storage", (int64_t) js->max_storage);
    if (!q->parts[0].has_js)
        return config;
    snprintf(dir, sizeof(dir), "%s/jetstream", o->store_dir != NULL ? o->store_dir : "/tmp/nats");
    if (with_store_dir)
        put_str(config, "store_dir", dir);
    put_int(config, "sync_interval",
            o->js_said.sync_interval_ns > 0 ? o->js_said.sync_interval_ns : 120000000000);
    put_true(config, "sync_always", o->js_said.sync_always);
    put_text(config, "domain", o->domain);
    put_text(config, "unique_tag", o->js_said.unique_tag);
    put_true(config, "strict", o->js_strict);
    return config;
}

json_t *jetstream_varz(const struct query *q, bool with_store_dir)
{
    json_t *all, *stats;
    struct js_stats js;

    if (!q->parts[0].has_js)
        return NULL;
    all = json_object();
    stats = json_object();
    sum_js(q, &js);
    json_object_set_new(all, "config", jetstream_config(q, &js, with_store_dir));
    put_jetstream_stats(stats, q, &js);
    json_object_set_new(all, "stats", stats);
    json_object_set_new(all, "limits", jetstream_limits(q->reports->host.options));
    return all;
}

/* ---- the document ---------------------------------------------------------------------------- */

static bool asks_for_users(const struct options *o)
{
    return (operators_on(o) || o->user != NULL || o->token != NULL || o->users.n > 0 ||
            options_default_is_open(o)) &&
           o->no_auth_user == NULL;
}

static void put_identity(json_t *o, const struct monitor_host *h)
{
    put_str(o, "server_id", h->server_id);
    put_str(o, "server_name", h->server_name);
    put_str(o, "version", h->version);
    put_int(o, "proto", 1);
    put_text(o, "git_commit", h->git_commit);
    put_str(o, "go", "");
    put_str(o, "host", h->host);
    put_int(o, "port", h->port);
    put_true(o, "auth_required", asks_for_users(h->options));
    put_true(o, "tls_required", h->options->tls.on && !h->options->allow_non_tls);
    put_true(o, "tls_verify", h->options->tls.on && h->options->tls.verify);
    put_true(o, "tls_ocsp_peer_verify", h->options->tls.on && h->options->tls.ocsp_peer.verify);
    put_str(o, "io_backend", h->io_backend);
    put_str(o, "io_backend_reason", h->io_reason);
}

void put_seconds(json_t *o, const char *key, int64_t ns)
{
    if (ns % 1000000000 == 0)
        put_int(o, key, ns / 1000000000);
    else
        json_object_set_new(o, key, json_real((double) ns / 1e9));
}

static void put_limits(json_t *o, const struct monitor_host *h)
{
    const struct options *opt = h->options;

    put_int(o, "max_connections", opt->max_connections);
    if (opt->max_subscriptions != 0)
        put_int(o, "max_subscriptions", opt->max_subscriptions);
    put_int(o, "ping_interval", opt->ping_interval_ns);
    put_int(o, "ping_max", opt->ping_max);
    put_str(o, "http_host", opt->http_host != NULL ? opt->http_host : opt->host);
    put_int(o, "http_port", h->http_port);
    put_str(o, "http_base_path", opt->http_base_path);
    put_int(o, "https_port", h->https_port);
    put_seconds(o, "auth_timeout", opt->auth_timeout_ns);
    put_int(o, "max_control_line", opt->max_control_line);
    put_int(o, "max_payload", (int64_t) opt->max_payload);
    put_int(o, "max_pending", (int64_t) opt->max_pending);
}

static void put_traffic(json_t *o, const struct net_stats *n)
{
    put_int(o, "connections", (int64_t) n->connections);
    put_int(o, "total_connections", (int64_t) n->total_connections);
    put_int(o, "routes", 0);
    put_int(o, "remotes", 0);
    put_int(o, "leafnodes", (int64_t) n->leafs);
    put_int(o, "in_msgs", (int64_t) n->in_msgs);
    put_int(o, "in_bytes", (int64_t) n->in_bytes);
    put_int(o, "in_client_msgs", (int64_t) n->in_msgs);
    put_int(o, "in_client_bytes", (int64_t) n->in_bytes);
    put_int(o, "out_msgs", (int64_t) n->out_msgs);
    put_int(o, "out_bytes", (int64_t) n->out_bytes);
    put_int(o, "out_client_msgs", (int64_t) n->out_msgs);
    put_int(o, "out_client_bytes", (int64_t) n->out_bytes);
    put_int(o, "slow_consumers", (int64_t) n->slow_consumers);
    put_int(o, "stale_connections", (int64_t) n->stale_connections);
    put_int(o, "stalled_clients", (int64_t) n->stalled_clients);
    put_int(o, "subscriptions", (int64_t) n->subscriptions);
    json_object_set_new(o, "slow_consumer_stats", four_counts(n->slow_consumers, 0));
    json_object_set_new(o, "stale_connection_stats", four_counts(n->stale_connections, 0));
}

static json_t *request_counts(const struct reports *r)
{
    json_t *o = json_object();

    if (r->root_requests > 0)
        put_int(o, "/", (int64_t) r->root_requests);
    for (size_t i = 0; i < documents_n; i++)
        if (documents[i]->path != NULL && r->requests[i] > 0)
            put_int(o, documents[i]->path, (int64_t) r->requests[i]);
    return o;
}

static void put_process(json_t *o, const struct monitor_host *h)
{
    int64_t now = monitor_wall();

    put_time(o, "start", h->start_wall_ns);
    put_time(o, "now", now);
    put_uptime(o, "uptime", now - h->start_wall_ns);
    put_int(o, "mem", process_memory());
    put_int(o, "cores", sysconf(_SC_NPROCESSORS_ONLN));
    put_int(o, "gomaxprocs", h->workers);
    json_object_set_new(o, "cpu", json_real(process_cpu(now - h->start_wall_ns)));
}

/* Nothing is read from the disk under a lock here: no waits to tell of. */
static json_t *no_disk_waits(void)
{
    json_t *o = json_object();

    put_int(o, "waiters", 0);
    put_int(o, "waits", 0);
    put_int(o, "wait_time", 0);
    put_int(o, "max_wait_time", 0);
    return o;
}

static json_t *cluster(const struct options *o)
{
    json_t *c = json_object();

    put_text(c, "name", o->cluster_name);
    return c;
}

static void put_count(json_t *o, const char *key, uint64_t n)
{
    if (n > 0)
        put_int(o, key, (int64_t) n);
}

/* Answers about others' certificates that are kept. */
static void put_ocsp_cache(json_t *o, const struct monitor_host *h)
{
    struct monitor_ocsp_cache c;
    json_t *cache;

    if (h->ocsp_cache == NULL || !h->ocsp_cache(h->ctx, &c))
        return;
    cache = json_object();
    put_str(cache, "cache_type", "local");
    put_count(cache, "cache_hits", c.hits);
    put_count(cache, "cache_misses", c.misses);
    put_count(cache, "cached_responses", c.responses);
    put_count(cache, "cached_revoked_responses", c.revoked);
    put_count(cache, "cached_good_responses", c.good);
    put_count(cache, "cached_unknown_responses", c.unknown);
    json_object_set_new(o, "ocsp_peer_cache", cache);
}

static json_t *varz(struct query *q)
{
    const struct monitor_host *h = &q->reports->host;
    json_t *o = json_object();
    json_t *jetstream = jetstream_varz(q, true);
    struct net_stats n;

    sum_net(q, &n);
    put_identity(o, h);
    put_limits(o, h);
    json_object_set_new(o, "cluster", cluster(h->options));
    json_object_set_new(o, "gateway", json_object());
    json_object_set_new(o, "leaf", leaf_varz(h, n.leaf_port));
    json_object_set_new(o, "mqtt", json_object());
    json_object_set_new(o, "websocket", websocket_varz(h, n.websocket_port));
    json_object_set_new(o, "jetstream", jetstream != NULL ? jetstream : json_object());
    put_seconds(o, "tls_timeout", h->options->tls.timeout_ns);
    put_int(o, "write_deadline", h->options->write_deadline_ns);
    if (h->options->write_timeout != NULL && strcmp(h->options->write_timeout, "default") != 0)
        put_str(o, "write_timeout", h->options->write_timeout);
    put_process(o, h);
    put_traffic(o, &n);
    json_object_set_new(o, "http_req_stats", request_counts(q->reports));
    put_time(o, "config_load_time", h->config_load_wall_ns);
    put_str(o, "config_digest", h->options->config_digest);
    event_put_tags(o, h->options);
    if (h->system_account != NULL)
        put_str(o, "system_account", h->system_account->name);
    put_trusted(o, h->options);
    put_count(o, "pinned_account_fails", n.pinned_account_fails);
    put_ocsp_cache(o, h);
    put_cert_end(o, h, MONITOR_CLIENTS);
    json_object_set_new(o, "disk_io_wait_stats", no_disk_waits());
    return o;
}

const struct document varz_document = {
    .path = "/varz", .name = "VARZ", .step = step, .finish = varz};

/* ---- what events carry ----------------------------------------------------------------------- */

static int64_t active_accounts(const struct query *q)
{
    struct net_account_stats s;
    const struct account *a;
    int64_t n = 0;

    for (uint32_t i = 0; (a = account_set_get(q->reports->host.accounts, i)) != NULL; i++) {
        sum_account(q, a, &s);
        n += s.connections > 0;
    }
    return n;
}

static json_t *statsz(struct query *q)
{
    const struct monitor_host *h = &q->reports->host;
    json_t *o = json_object(), *jetstream = jetstream_varz(q, false);
    struct net_stats n;

    sum_net(q, &n);
    put_time(o, "start", h->start_wall_ns);
    put_int(o, "mem", process_memory());
    put_int(o, "cores", sysconf(_SC_NPROCESSORS_ONLN));
    json_object_set_new(o, "cpu", json_real(process_cpu(monitor_wall() - h->start_wall_ns)));
    put_int(o, "connections", (int64_t) n.connections);
    put_int(o, "total_connections", (int64_t) n.total_connections);
    put_int(o, "active_accounts", active_accounts(q));
    put_int(o, "subscriptions", (int64_t) n.subscriptions);
    json_object_set_new(o, "sent", msgs_bytes(n.out_msgs, n.out_bytes));
    json_object_set_new(o, "sent_to_clients", msgs_bytes(n.out_msgs, n.out_bytes));
    json_object_set_new(o, "received", msgs_bytes(n.in_msgs, n.in_bytes));
    json_object_set_new(o, "received_from_clients", msgs_bytes(n.in_msgs, n.in_bytes));
    put_int(o, "slow_consumers", (int64_t) n.slow_consumers);
    if (n.slow_consumers > 0)
        json_object_set_new(o, "slow_consumer_stats", four_counts(n.slow_consumers, 0));
    if (n.stale_connections > 0) {
        put_int(o, "stale_connections", (int64_t) n.stale_connections);
        json_object_set_new(o, "stale_connection_stats", four_counts(n.stale_connections, 0));
    }
    if (n.stalled_clients > 0)
        put_int(o, "stalled_clients", (int64_t) n.stalled_clients);
    put_int(o, "active_servers", 1);
    if (jetstream != NULL)
        json_object_set_new(o, "jetstream", jetstream);
    put_int(o, "gomaxprocs", h->workers);
    return o;
}

const struct document statsz_document = {.name = "STATSZ", .step = step, .finish = statsz};

static json_t *idz(struct query *q)
{
    const struct monitor_host *h = &q->reports->host;
    json_t *o = json_object();

    put_str(o, "name", h->server_name);
    put_str(o, "host", h->host);
    put_str(o, "id", h->server_id);
    return o;
}

const struct document idz_document = {.name = "IDZ", .finish = idz};
