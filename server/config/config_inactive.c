/*
 * config_inactive.c - what nats-server's configuration knows and one server of this kind does not
 * do: read and checked for unknown fields, so that a file of a cluster's member starts here, and
 * named in the log as not active (options.inactive).
 *
 *     cluster, gateway      several servers; the cluster's name is shown to clients
 *     mqtt                  another protocol
 *     prof_port, prof_block_rate           a profiler of Go's run time
 *     connect_error_reports, ...           how often routes are written about
 *     jetstream { meta_compact, tpm, ... } of a cluster, of one way to do things, of a key in a
 * chip
 */
#include "lib/base/assert.h"
#include "server/config/config_apply.h"

#include <string.h>
#include <strings.h>

static void note(struct config_context *c, const char *name)
{
    options_note_inactive(c->o, name);
}

/* The fields of a block, by name alone. */
static bool only(struct config_context *c, const struct conf_value *v, const char *what,
                 const char *const *names, size_t n)
{
    if (v->kind != CONF_MAP)
        return config_fail(c, v, "Expected %s to be a map", what);
    for (size_t i = 0; i < v->n; i++) {
        size_t k = 0;
        while (k < n && strcasecmp(names[k], v->keys[i]) != 0)
            k++;
        if (k == n && !v->items[i]->used)
            return config_fail(c, v->items[i], "unknown field \"%s\"", v->keys[i]);
    }
    note(c, what);
    return true;
}

static const struct conf_value *field(const struct conf_value *map, const char *name)
{
    for (size_t i = 0; i < map->n; i++)
        if (strcasecmp(map->keys[i], name) == 0)
            return map->items[i];
    return NULL;
}

bool config_cluster(struct config_context *c, const struct conf_value *v)
{
    static const char *const names[] = {
        "name",          "listen",         "port",          "host",
        "net",           "authorization",  "routes",        "tls",
        "no_advertise",  "advertise",      "pool_size",     "cluster_advertise",
        "permissions",   "accounts",       "compression",   "connect_retries",
        "ping_interval", "write_deadline", "write_timeout", "connect_backoff",
    };
    const struct conf_value *name;

    if (!only(c, v, "cluster", names, ARRAY_LEN(names)))
        return false;
    name = field(v, "name");
    if (name == NULL)
        return true;
    if (name->kind != CONF_TEXT || strchr(name->text, ' ') != NULL)
        return config_fail(c, name, "cluster name must be a text without spaces");
    config_keep(&c->o->cluster_name, name->text);
    return true;
}

bool config_gateway(struct config_context *c, const struct conf_value *v)
{
    static const char *const names[] = {
        "name",
        "listen",
        "port",
        "host",
        "net",
        "authorization",
        "tls",
        "advertise",
        "connect_retries",
        "gateways",
        "reject",
        "connect_backoff",
        "write_deadline",
        "write_timeout",
        "reject_unknown",
        "permissions",
        "ping_interval",
        "reject_unknown_cluster",
    };

    return only(c, v, "gateway", names, ARRAY_LEN(names));
}

bool config_mqtt(struct config_context *c, const struct conf_value *v)
{
    static const char *const names[] = {
        "listen",
        "port",
        "host",
        "net",
        "tls",
        "authorization",
        "authentication",
        "no_auth_user",
        "ack_wait",
        "ackwait",
        "js_api_timeout",
        "api_timeout",
        "max_ack_pending",
        "max_pending",
        "max_inflight",
        "js_domain",
        "stream_replicas",
        "consumer_replicas",
        "consumer_memory_storage",
        "consumer_inactive_threshold",
        "consumer_auto_cleanup",
        "reject_qos2_publish",
        "downgrade_qos2_subscribe",
    };

    return only(c, v, "mqtt", names, ARRAY_LEN(names));
}

static bool whole(struct config_context *c, const struct conf_value *v, const char *name)
{
    if (v->kind != CONF_INT)
        return config_fail(c, v, "%s must be an integer", name);
    note(c, name);
    return true;
}

bool config_prof_port(struct config_context *c, const struct conf_value *v)
{
    return whole(c, v, "prof_port");
}

bool config_prof_block_rate(struct config_context *c, const struct conf_value *v)
{
    return whole(c, v, "prof_block_rate");
}

/* How often failing to connect to another server is written to the log. */
bool config_error_reports(struct config_context *c, const struct conf_value *v)
{
    return v->kind == CONF_INT || config_fail(c, v, "expected an integer");
}

/* Verdicts of the router are remembered as long as they hold; there is nothing to turn off. */
bool config_no_sublist_cache(struct config_context *c, const struct conf_value *v)
{
    return v->kind == CONF_BOOL || config_fail(c, v, "expected true or false");
}

/* Of a cluster, or of how the other server does what this one does otherwise: whole numbers and
 * switches. */
bool config_js_inactive(struct config_context *c, const struct conf_value *v)
{
    return v->kind == CONF_INT || v->kind == CONF_BOOL ||
           config_fail(c, v, "expected an integer, true or false");
}

bool config_js_concurrency(struct config_context *c, const struct conf_value *v)
{
    return (v->kind == CONF_INT && v->integer >= 4 && v->integer <= 8192) ||
           config_fail(
               c, v,
               "Expected an absolute size for \"max_concurrent_io\" between 4 and 8192, got "
               "%s",
               v->text != NULL       ? v->text
               : v->kind == CONF_MAP ? "map[]"
                                     : "[]");
}

bool config_js_catchup(struct config_context *c, const struct conf_value *v)
{
    int64_t ignored;

    return config_size(c, v, "max_outstanding_catchup", &ignored);
}

bool config_js_compact_size(struct config_context *c, const struct conf_value *v)
{
    int64_t ignored;

    return config_size(c, v, "meta_compact_size", &ignored);
}

bool config_js_text(struct config_context *c, const struct conf_value *v)
{
    return v->kind == CONF_TEXT || config_fail(c, v, "expected a text");
}

/* Silence would leave the data without the key that it is to have. */
bool config_tpm(struct config_context *c, const struct conf_value *v)
{
    if (v->kind != CONF_MAP)
        return config_fail(c, v, "Expected a map to define JetStreamLimits, got %s",
                           config_type_name(v));
    return config_fail(c, v, "keys from a TPM are not supported: use key");
}
