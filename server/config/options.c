/* options.c - the defaults, which are those of nats-server, and the end of a snapshot. */
#include "server/config/options.h"

#include "lib/base/mem.h"
#include "lib/base/str.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ll
#define KIB 1024u
#define MIB (1024u * KIB)

void options_init(struct options *o)
{
    memset(o, 0, sizeof(*o));
    o->host = mem_strdup("0.0.0.0");
    o->logtime = true;
    o->max_memory_store = -1;
    o->max_file_store = -1;
    o->js_strict = true;
    o->flags[FLAG_JS_RAFT_DELETE_RANGE] = true;
    o->js_request_queue_limit = 10000;
    o->js_batch_inflight_per_stream = 50;
    o->js_batch_inflight_total = 1000;
    o->js_batch_msgs = 1000;
    o->js_fast_inflight_per_stream = 1000;
    o->js_fast_inflight_total = 50000;
    o->js_batch_timeout_ns = 10000000000;
    o->js_max_buffered_msgs = 100000;
    o->js_max_buffered_bytes = 128u * MIB;
    o->leaf.compression.mode = LEAF_S2_AUTO;
    o->kafka_host = mem_strdup("127.0.0.1");
    o->kafka_auto_create = true;
    o->kafka_node_id = 1;
    o->kafka_group_delay_ns = SECOND / 2;
    o->kafka_compaction_ns = 15 * SECOND;
    o->pool_bytes = 256u * MIB;
    o->cache_bytes = 64u * MIB; /* more costs page faults (25 % of the CPU while it fills) and helps
                                   nobody near the tail */
    options_finish(o);
    /* What follows from others is found when those are known. */
    o->auth_timeout_ns = o->leaf.auth_timeout_ns = 0;
}

static void or_u32(uint32_t *at, uint32_t otherwise)
{
    *at = *at != 0 ? *at : otherwise;
}

static void or_u64(uint64_t *at, uint64_t otherwise)
{
    *at = *at != 0 ? *at : otherwise;
}

static void or_i64(int64_t *at, int64_t otherwise)
{
    *at = *at != 0 ? *at : otherwise;
}

/* Who has to shake hands first gets a second behind that. */
static int64_t auth_timeout(const struct tls_options *tls)
{
    return tls->on ? tls->timeout_ns + SECOND : 2 * SECOND;
}

bool options_is_inactive(const struct options *o, const char *name)
{
    for (size_t i = 0; i < o->inactive.n; i++)
        if (strcmp(o->inactive.items[i], name) == 0)
            return true;
    return false;
}

void options_note_inactive(struct options *o, const char *name)
{
    if (!options_is_inactive(o, name))
        str_list_add(&o->inactive, str_of(name));
}

void options_finish(struct options *o)
{
    if (o->port == 0)
        o->port = 4222;
    or_u32(&o->max_control_line, 4096);
    or_u64(&o->max_payload, MIB);
    or_u64(&o->max_pending, 64u * MIB);
    or_i64(&o->max_connections, 65536);
    or_u32(&o->max_closed_clients, 10000);
    or_i64(&o->ping_interval_ns, 120 * SECOND);
    or_u32(&o->ping_max, 2);
    or_i64(&o->write_deadline_ns, 10 * SECOND);
    or_i64(&o->lame_duck_duration_ns, 120 * SECOND);
    or_i64(&o->lame_duck_grace_ns, 10 * SECOND);
    or_i64(&o->tls.timeout_ns, 2 * SECOND);
    if (o->tls.verify)
        o->tls.on = true;
    or_i64(&o->websocket.tls.timeout_ns, 2 * SECOND);
    or_i64(&o->leaf.tls.timeout_ns, 2 * SECOND);
    or_i64(&o->leaf.reconnect_ns, SECOND);
    or_i64(&o->leaf.dial_timeout_ns, SECOND);
    or_i64(&o->auth_timeout_ns, auth_timeout(&o->tls));
    or_i64(&o->leaf.auth_timeout_ns, auth_timeout(&o->leaf.tls));
    or_u32(&o->kafka_num_partitions, 1);
    or_i64(&o->kafka_group_heartbeat_ns, 5 * SECOND);
    or_i64(&o->kafka_group_session_ns, 45 * SECOND);
    or_i64(&o->kafka_group_session_min_ns, 6 * SECOND);
    or_i64(&o->kafka_offsets_retention_ns, 7 * 24 * 3600 * SECOND);
    operators_finish(o);
}

bool options_is_io_backend(const char *name)
{
    return strcmp(name, "auto") == 0 || strcmp(name, "uring") == 0 || strcmp(name, "event") == 0;
}

static bool port_fits(int port)
{
    return port >= -1 && port <= OPTIONS_PORT_MAX;
}

/* Where a single value is wrong, the configuration file has said so with its place; this is for
 * flags and for values that do not go together. */
static bool knows_no_auth_user(const struct options *o)
{
    const char *name = o->no_auth_user;

    return name == NULL || users_find(&o->users, name, strlen(name)) != NULL ||
           users_find_nkey(&o->users, name, strlen(name)) != NULL;
}

bool options_default_is_open(const struct options *o)
{
    const char *system = o->system_account != NULL ? o->system_account : ACCOUNT_SYSTEM;

    return o->accounts.n == 1 && strcmp(o->accounts.list[0].name, system) == 0 && !o->auth_block &&
           o->no_auth_user == NULL && o->user == NULL && o->token == NULL && !operators_on(o);
}

static bool websocket_fits(const struct options *o, char why[256])
{
    const struct websocket_options *w = &o->websocket;
    const char *nobody = w->no_auth_user;

    why[0] = '\0';
    if (w->port == 0)
        return true;
    if (!port_fits(w->port))
        snprintf(why, 256, "websocket port %d is not between -1 and %d", w->port, OPTIONS_PORT_MAX);
    else if (!w->tls.on && !w->no_tls)
        snprintf(why, 256, "websocket requires TLS configuration");
    else if (nobody != NULL && users_find(&o->users, nobody, strlen(nobody)) == NULL &&
             users_find_nkey(&o->users, nobody, strlen(nobody)) == NULL)
        snprintf(why, 256,
                 "no_auth_user: \"%.128s\" not present as user or nkey in authorization block or "
                 "account configuration",
                 nobody);
    else if (o->users.n > 0 && w->user != NULL)
        snprintf(why, 256,
                 "websocket authentication username not compatible with presence of users/nkeys");
    else if (o->users.n > 0 && w->token != NULL)
        snprintf(why, 256,
                 "websocket authentication token not compatible with presence of users/nkeys");
    else if (w->jwt_cookie != NULL)
        snprintf(why, 256,
                 "trusted operators or trusted keys configuration is required for JWT "
                 "authentication via cookie \"%.64s\"",
                 w->jwt_cookie);
    return why[0] == '\0';
}

/* The default account, or one of the file. */
static bool has_account(const struct options *o, const char *name)
{
    return name == NULL || strcmp(name, ACCOUNT_DEFAULT) == 0 ||
           (strcmp(name, ACCOUNT_SYSTEM) == 0 && o->system_account == NULL &&
            !o->no_system_account) ||
           accounts_find(&o->accounts, name) != NULL;
}

static bool leafs_fit(const struct options *o, char why[256])
{
    const struct leaf_options *l = &o->leaf;
    static const char missing[] = "cannot find local account \"%.64s\" specified in leafnode %s";

    why[0] = '\0';
    if (!port_fits(l->port))
        snprintf(why, 256, "leafnode port %d is not between -1 and %d", l->port, OPTIONS_PORT_MAX);
    else if (!has_account(o, l->account))
        snprintf(why, 256, missing, l->account, "authorization");
    for (size_t i = 0; i < l->users.n; i++)
        if (!has_account(o, l->users.list[i].account))
            snprintf(why, 256, missing, l->users.list[i].account, "authorization");
    for (size_t i = 0; i < l->nremotes; i++)
        if (!has_account(o, l->remotes[i].account))
            snprintf(why, 256, missing, l->remotes[i].account, "remote");
    return why[0] == '\0';
}

static bool is_advertised(const char *text)
{
    const char *colon = text != NULL ? strrchr(text, ':') : NULL;
    int64_t port;

    return text == NULL || (colon != NULL && colon > text && str_to_i64(str_of(colon + 1), &port) &&
                            port > 0 && port <= OPTIONS_PORT_MAX);
}

static bool allows_accounts_there(const struct options *o, char why[256])
{
    const struct str_list *l = &o->callout.allowed;

    for (size_t i = 0; i < l->n; i++)
        if (accounts_find(&o->accounts, l->items[i]) == NULL) {
            snprintf(why, 256,
                     "auth_callout allowed account \"%.100s\" not found in configured accounts",
                     l->items[i]);
            return false;
        }
    return true;
}

bool options_check(const struct options *o, char why[256])
{
    if (!websocket_fits(o, why) || !leafs_fit(o, why))
        return false;
    if (!port_fits(o->port))
        snprintf(why, 256, "port %d is not between -1 and %d", o->port, OPTIONS_PORT_MAX);
    else if (!port_fits(o->http_port))
        snprintf(why, 256, "monitoring port %d is not between -1 and %d", o->http_port,
                 OPTIONS_PORT_MAX);
    else if (!port_fits(o->https_port))
        snprintf(why, 256, "monitoring port %d is not between -1 and %d", o->https_port,
                 OPTIONS_PORT_MAX);
    else if (o->http_port != 0 && o->https_port != 0)
        snprintf(why, 256, "can't specify both HTTP (%d) and HTTPs (%d) ports", o->http_port,
                 o->https_port);
    else if (o->https_port != 0 && !o->tls.on)
        snprintf(why, 256, "TLS cert and key required for HTTPS");
    else if (!port_fits(o->kafka_port))
        snprintf(why, 256, "Kafka port %d is not between -1 and %d", o->kafka_port,
                 OPTIONS_PORT_MAX);
    else if (o->kafka_port != 0 && !o->jetstream)
        snprintf(why, 256, "a Kafka listener needs JetStream");
    else if (o->kafka_tls && !o->tls.on)
        snprintf(why, 256, "TLS for Kafka clients needs a tls block");
    else if (o->kafka_num_partitions > OPTIONS_PARTITIONS_MAX)
        snprintf(why, 256, "%u partitions are more than %u", o->kafka_num_partitions,
                 OPTIONS_PARTITIONS_MAX);
    else if (o->kafka_node_id > INT32_MAX)
        snprintf(why, 256, "node_id %u is more than %d", o->kafka_node_id, INT32_MAX);
    else if (!is_advertised(o->kafka_advertise))
        snprintf(why, 256, "Kafka is to be advertised as host:port, not as \"%.64s\"",
                 o->kafka_advertise);
    else if (o->io_backend != NULL && !options_is_io_backend(o->io_backend))
        snprintf(why, 256, "unknown I/O backend \"%.64s\": expected auto, uring or event",
                 o->io_backend);
    else if (o->workers > OPTIONS_WORKERS_MAX)
        snprintf(why, 256, "%u workers are more than %u", o->workers, OPTIONS_WORKERS_MAX);
    else if (o->server_name != NULL && strchr(o->server_name, ' ') != NULL)
        snprintf(why, 256, "server name cannot contain spaces");
    else if (o->max_payload > o->max_pending)
        snprintf(why, 256,
                 "max_payload (%" PRIu64 ") cannot be higher than max_pending (%" PRIu64 ")",
                 o->max_payload, o->max_pending);
    else if (o->token != NULL && o->user != NULL)
        snprintf(why, 256, "Cannot have a user/pass and token");
    else if (o->lame_duck_grace_ns >= o->lame_duck_duration_ns)
        snprintf(why, 256,
                 "lame duck grace period (%llds) should be strictly lower than lame duck "
                 "duration (%llds)",
                 o->lame_duck_grace_ns / SECOND, o->lame_duck_duration_ns / SECOND);
    else if (o->tls.on && o->tls.ncerts == 0 && o->tls.cert_file == NULL)
        snprintf(why, 256, "TLS Server certificate must be present and valid");
    else if (o->tls.on && o->tls.ncerts == 0 && o->tls.key_file == NULL)
        snprintf(why, 256, "TLS Server private key must be present and valid");
    else if (o->tls.map && o->users.n == 0)
        snprintf(why, 256, "verify_and_map needs a list of users");
    else if (o->no_auth_user != NULL && o->users.n == 0)
        snprintf(why, 256, "no_auth_user: \"%.128s\" present, but users/nkeys are not defined",
                 o->no_auth_user);
    else if (!knows_no_auth_user(o))
        snprintf(why, 256,
                 "no_auth_user: \"%.128s\" not present as user or nkey in authorization block or "
                 "account configuration",
                 o->no_auth_user);
    else if (!allows_accounts_there(o, why))
        return false;
    else
        return operators_check(o, why);
    return false;
}

static void wipe(char **text)
{
    if (*text != NULL)
        sodium_memzero(*text, strlen(*text));
    mem_free(*text);
    *text = NULL;
}

const char *options_flag_name(unsigned flag)
{
    static const char *const names[OPTIONS_FLAGS] = {
        [FLAG_JS_ACK_FC_V2] = "js_ack_fc_v2",
        [FLAG_JS_API_REPLY_V2] = "js_api_reply_v2",
        [FLAG_JS_RAFT_DELETE_RANGE] = "js_raft_delete_range",
        [FLAG_JS_SNAPSHOT_SOURCES] = "js_snapshot_sources",
    };

    return names[flag];
}

void options_wipe_keys(struct options *o)
{
    wipe(&o->js_key);
    wipe(&o->js_prev_key);
}

void options_free(struct options *o)
{
    char **texts[] = {
        &o->host,           &o->client_advertise, &o->http_host,
        &o->http_base_path, &o->ports_file_dir,   &o->pid_file,
        &o->server_name,    &o->cluster_name,     &o->write_timeout,
        &o->log_file,       &o->remote_syslog,    &o->user,
        &o->store_dir,      &o->domain,           &o->io_backend,
        &o->congestion,     &o->config_file,      &o->no_auth_user,
        &o->signal,         &o->kafka_host,       &o->kafka_advertise,
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        mem_free(*texts[i]);
        *texts[i] = NULL;
    }
    tls_options_free(&o->tls);
    str_list_free(&o->ocsp.urls);
    mem_free(o->ocsp_cache.local_store);
    websocket_options_free(&o->websocket);
    leaf_options_free(&o->leaf);
    options_wipe_keys(o);
    wipe(&o->pass);
    wipe(&o->token);
    users_free(&o->users);
    accounts_free(&o->accounts);
    operators_free(&o->operators);
    mem_free(o->callout.issuer);
    mem_free(o->callout.account);
    mem_free(o->callout.xkey);
    str_list_free(&o->callout.users);
    str_list_free(&o->callout.allowed);
    str_list_free(&o->proxies.trusted);
    mem_free(o->system_account);
    str_list_free(&o->tags);
    str_list_free(&o->metadata);
    str_list_free(&o->default_domains);
    str_list_free(&o->unknown_flags);
    mem_free(o->js_said.unique_tag);
    str_list_free(&o->inactive);
}
