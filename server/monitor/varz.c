/* varz.c - /varz, /healthz and /subsz: the server as a whole. */
#include "server/monitor/monitor_int.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void step(struct query *q, struct env *env, struct part *part)
{
    (void) q;
    net_stats(env->net, &part->net);
    part->has_js = env->jetstream != NULL;
    if (part->has_js)
        jetstream_stats(env->jetstream, &part->js);
}

/* Resident bytes, from the second number of statm. */
static int64_t resident(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    long long total = 0, pages = 0;

    if (f == NULL)
        return 0;
    if (fscanf(f, "%lld %lld", &total, &pages) != 2)
        pages = 0;
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Per cent of one core over the whole life of the process. */
static double cpu(int64_t up_ns)
{
    struct rusage u;
    double s;

    if (up_ns <= 0 || getrusage(RUSAGE_SELF, &u) != 0)
        return 0;
    s = (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
        (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    return s / ((double) up_ns / 1e9) * 100;
}

static json_t *jetstream(const struct query *q)
{
    const struct options *o = q->monitor->host.options;
    json_t *all = json_object();
    json_t *config = json_object();
    json_t *stats = json_object();
    json_t *api = json_object();
    struct js_stats js;

    sum_js(q, &js);
    put_int(config, "max_memory", (int64_t) js.max_memory);
    put_int(config, "max_storage", (int64_t) js.max_storage);
    put_str(config, "store_dir", o->store_dir);
    if (o->domain != NULL)
        put_str(config, "domain", o->domain);
    put_bool(config, "strict", o->js_strict);
    json_object_set_new(all, "config", config);
    put_int(stats, "memory", (int64_t) js.memory);
    put_int(stats, "storage", (int64_t) js.storage);
    put_int(stats, "reserved_memory", (int64_t) js.reserved_memory);
    put_int(stats, "reserved_storage", (int64_t) js.reserved_storage);
    put_int(stats, "accounts", 1);
    put_int(stats, "ha_assets", 0);
    put_int(api, "level", 5);
    put_int(api, "total", (int64_t) js.api_total);
    put_int(api, "errors", (int64_t) js.api_errors);
    json_object_set_new(stats, "api", api);
    json_object_set_new(all, "stats", stats);
    json_object_set_new(all, "limits", json_object());
    return all;
}

static void put_identity(json_t *o, const struct monitor_host *h)
{
    put_str(o, "server_id", h->server_id);
    put_str(o, "server_name", h->server_name);
    put_str(o, "version", h->version);
    put_int(o, "proto", 1);
    put_str(o, "go", "");
    put_str(o, "host", h->host);
    put_int(o, "port", h->port);
    put_bool(o, "auth_required",
             h->options->user != NULL || h->options->token != NULL || h->options->users.n > 0);
    if (h->options->tls.on) {
        put_bool(o, "tls_required", !h->options->allow_non_tls);
        put_bool(o, "tls_verify", h->options->tls.verify);
    }
    put_str(o, "io_backend", h->io_backend);
    put_str(o, "io_backend_reason", h->io_reason);
}

static void put_limits(json_t *o, const struct options *opt)
{
    put_int(o, "max_connections", opt->max_connections);
    put_int(o, "max_subscriptions", opt->max_subscriptions);
    put_int(o, "ping_interval", opt->ping_interval_ns);
    put_int(o, "ping_max", opt->ping_max);
    put_str(o, "http_host", opt->http_host != NULL ? opt->http_host : opt->host);
    put_int(o, "http_port", opt->http_port);
    put_str(o, "http_base_path", opt->http_base_path);
    put_int(o, "https_port", 0);
    json_object_set_new(o, "auth_timeout", json_real((double) opt->auth_timeout_ns / 1e9));
    put_int(o, "max_control_line", opt->max_control_line);
    put_int(o, "max_payload", (int64_t) opt->max_payload);
    put_int(o, "max_pending", (int64_t) opt->max_pending);
    put_int(o, "write_deadline", opt->write_deadline_ns);
}

static void put_traffic(json_t *o, const struct net_stats *n)
{
    put_int(o, "connections", (int64_t) n->connections);
    put_int(o, "total_connections", (int64_t) n->total_connections);
    put_int(o, "routes", 0);
    put_int(o, "remotes", 0);
    put_int(o, "leafnodes", 0);
    put_int(o, "in_msgs", (int64_t) n->in_msgs);
    put_int(o, "in_bytes", (int64_t) n->in_bytes);
    put_int(o, "out_msgs", (int64_t) n->out_msgs);
    put_int(o, "out_bytes", (int64_t) n->out_bytes);
    put_int(o, "slow_consumers", (int64_t) n->slow_consumers);
    put_int(o, "stale_connections", (int64_t) n->stale_connections);
    put_int(o, "stalled_clients", (int64_t) n->stalled_clients);
    put_int(o, "subscriptions", (int64_t) n->subscriptions);
}

static json_t *varz(struct query *q)
{
    const struct monitor_host *h = &q->monitor->host;
    json_t *o = json_object();
    int64_t now = monitor_wall();
    struct net_stats n;

    sum_net(q, &n);
    put_identity(o, h);
    put_limits(o, h->options);
    json_object_set_new(o, "cluster", json_object());
    json_object_set_new(o, "gateway", json_object());
    json_object_set_new(o, "leaf", json_object());
    json_object_set_new(o, "mqtt", json_object());
    json_object_set_new(o, "websocket", json_object());
    json_object_set_new(o, "jetstream", q->parts[0].has_js ? jetstream(q) : json_object());
    put_time(o, "start", h->start_wall_ns);
    put_time(o, "now", now);
    put_uptime(o, "uptime", now - h->start_wall_ns);
    put_int(o, "mem", resident());
    put_int(o, "cores", sysconf(_SC_NPROCESSORS_ONLN));
    put_int(o, "gomaxprocs", h->workers);
    json_object_set_new(o, "cpu", json_real(cpu(now - h->start_wall_ns)));
    put_traffic(o, &n);
    put_time(o, "config_load_time", h->config_load_wall_ns);
    put_str(o, "config_digest", h->options->config_digest);
    put_str(o, "system_account", "$SYS");
    return o;
}

const struct document varz_document = {"/varz", step, varz};

/* ---- /healthz -------------------------------------------------------------------------------- */

static json_t *healthz(struct query *q)
{
    const struct monitor_host *h = &q->monitor->host;
    const char *text = h->unhealthy(h->ctx);
    json_t *o = json_object();

    if (text == NULL && query_bool(q, "js-enabled-only", false) && !h->options->jetstream)
        text = "JetStream not enabled (10076)";
    put_str(o, "status", text == NULL ? "ok" : "unavailable");
    if (text != NULL) {
        put_str(o, "error", text);
        if (q->status == 200)
            q->status = 503;
    }
    return o;
}

const struct document healthz_document = {"/healthz", NULL, healthz};

/* ---- /subsz ---------------------------------------------------------------------------------- */

static void subs_step(struct query *q, struct env *env, struct part *part)
{
    struct interest_stats in;

    step(q, env, part);
    if (env->worker != 0)
        return;
    interest_stats(env->account->interest, &in);
    buf_printf(&part->text,
               "{\"num_subscriptions\":%llu,\"num_inserts\":%llu,\"num_removes\":%llu,\"num_"
               "matches\":%llu}",
               (unsigned long long) in.subs, (unsigned long long) in.inserts,
               (unsigned long long) in.removes, (unsigned long long) in.matches);
}

static json_t *subsz(struct query *q)
{
    json_error_t e;
    json_t *o = json_loadb(q->parts[0].text.p, q->parts[0].text.n, 0, &e);

    if (o == NULL)
        o = json_object();
    put_str(o, "server_id", q->monitor->host.server_id);
    put_time(o, "now", monitor_wall());
    put_int(o, "total", 0);
    put_int(o, "offset", query_int(q, "offset", 0));
    put_int(o, "limit", query_int(q, "limit", 1024));
    return o;
}

const struct document subsz_document = {"/subsz", subs_step, subsz};
const struct document subscriptionsz_document = {"/subscriptionsz", subs_step, subsz};
