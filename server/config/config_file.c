/*
 * config_file.c - the tree of a configuration file into options, by tables of keys.
 *
 * A key that no table has is an error with its place. Keys of features that this version does not
 * have yet are errors too: a server that ignores half of its configuration is worse than one that
 * does not start.
 */
#include "server/config/config_file.h"

#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "server/config/config_apply.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FILE_MAX_BYTES (16u << 20)
#define SECOND 1000000000ll

/* ---- blocks ---------------------------------------------------------------------------------- */

#define AT(member) offsetof(struct options, member)

static bool sync_interval(struct config_context *c, const struct conf_value *v)
{
    c->o->sync_interval_set = true;
    c->o->js_said.sync_interval_ns = 0;
    c->o->js_said.sync_always = v->kind == CONF_TEXT && strcasecmp(v->text, "always") == 0;
    return c->o->js_said.sync_always ||
           config_duration(c, v, "error parsing sync_interval: ", &c->o->js_said.sync_interval_ns);
}

/* Its text is nobody's business: errors do not repeat it. */
static bool secret(struct config_context *c, const struct conf_value *v, const char *name,
                   char **at)
{
    if (v->text == NULL || v->text[0] == '\0')
        return config_fail(c, v, "%s must be a text that is not empty", name);
    config_keep(at, v->text);
    return true;
}

static bool js_key(struct config_context *c, const struct conf_value *v)
{
    return secret(c, v, "key", &c->o->js_key);
}

static bool js_prev_key(struct config_context *c, const struct conf_value *v)
{
    return secret(c, v, "prev_key", &c->o->js_prev_key);
}

static bool js_cipher(struct config_context *c, const struct conf_value *v)
{
    const char *name = v->kind == CONF_TEXT ? v->text : "";

    if (strcasecmp(name, "chacha") == 0 || strcasecmp(name, "chachapoly") == 0)
        c->o->js_cipher = OPTIONS_CHACHA;
    else if (strcasecmp(name, "aes") == 0)
        c->o->js_cipher = OPTIONS_AES;
    else
        return config_fail(c, v, "Unknown cipher type: \"%s\"", name);
    return true;
}

static bool js_ha_assets(struct config_context *c, const struct conf_value *v)
{
    if (v->kind == CONF_INT)
        c->o->js_said.max_ha_assets = v->integer;
    return config_js_inactive(c, v);
}

static bool js_unique_tag(struct config_context *c, const struct conf_value *v)
{
    if (v->kind == CONF_TEXT)
        config_keep(&c->o->js_said.unique_tag, v->text);
    return config_js_text(c, v);
}

static const struct config_key batch_keys[] = {
    {"max_inflight_per_stream", CONFIG_U32, AT(js_batch_inflight_per_stream), NULL},
    {"max_inflight_total", CONFIG_U32, AT(js_batch_inflight_total), NULL},
    {"max_msgs", CONFIG_U32, AT(js_batch_msgs), NULL},
    {"timeout", CONFIG_DURATION, AT(js_batch_timeout_ns), NULL},
};

/* Limits that are named count for both kinds of batches; 0 stands for the default. */
static bool js_batch(struct config_context *c, const struct conf_value *v)
{
    struct options *o = c->o, was = *o;

    o->js_batch_inflight_per_stream = o->js_batch_inflight_total = o->js_batch_msgs = 0;
    o->js_batch_timeout_ns = 0;
    if (!config_apply_map(c, v, "batch", batch_keys, ARRAY_LEN(batch_keys)))
        return false;
    o->js_said.batch_per_stream = o->js_batch_inflight_per_stream;
    o->js_said.batch_total = o->js_batch_inflight_total;
    o->js_said.batch_msgs = o->js_batch_msgs;
    o->js_said.batch_timeout_ns = o->js_batch_timeout_ns;
    if (o->js_batch_inflight_per_stream > 0)
        o->js_fast_inflight_per_stream = o->js_batch_inflight_per_stream;
    else
        o->js_batch_inflight_per_stream = was.js_batch_inflight_per_stream;
    if (o->js_batch_inflight_total > 0)
        o->js_fast_inflight_total = o->js_batch_inflight_total;
    else
        o->js_batch_inflight_total = was.js_batch_inflight_total;
    if (o->js_batch_msgs == 0)
        o->js_batch_msgs = was.js_batch_msgs;
    if (o->js_batch_timeout_ns <= 0)
        o->js_batch_timeout_ns = was.js_batch_timeout_ns;
    return true;
}

static const struct config_key limits_keys[] = {
    {"batch", CONFIG_BLOCK, 0, js_batch},
    {"max_ack_pending", CONFIG_I64, AT(js_max_ack_pending), NULL},
    {"max_request_batch", CONFIG_I64, AT(js_max_request_batch), NULL},
    {"duplicate_window", CONFIG_DURATION, AT(js_duplicate_window_ns), NULL},
    {"max_ha_assets", CONFIG_BLOCK, 0, js_ha_assets},
};

static bool js_limits(struct config_context *c, const struct conf_value *v)
{
    return config_apply_map(c, v, "limits", limits_keys, ARRAY_LEN(limits_keys));
}

static bool js_disabled(struct config_context *c, const struct conf_value *v)
{
    if (v->kind != CONF_BOOL)
        return config_fail(c, v, "disabled must be true or false");
    c->o->jetstream = v->integer == 0;
    return true;
}

static bool js_strict(struct config_context *c, const struct conf_value *v)
{
    if (v->kind != CONF_BOOL && v->kind != CONF_TEXT)
        return config_fail(c, v, "Expected 'true' or 'false' for bool value, got %s",
                           config_type_name(v));
    if (v->kind == CONF_TEXT && strcasecmp(v->text, "true") != 0 &&
        strcasecmp(v->text, "false") != 0)
        return config_fail(c, v, "Expected 'true' or 'false' for bool value, got '%s'", v->text);
    c->o->js_strict = v->kind == CONF_BOOL ? v->integer != 0 : strcasecmp(v->text, "true") == 0;
    return true;
}

static bool queue_limit(struct config_context *c, const struct conf_value *v, const char *name,
                        uint32_t *out)
{
    char expected[64];

    snprintf(expected, sizeof(expected), "Expected a parseable size for \"%s\", got ", name);
    if (v->kind != CONF_INT)
        return config_fail_said(c, v, expected);
    if (v->integer < 0 || v->integer > UINT32_MAX)
        return config_fail(c, v, "%s is out of range", name);
    *out = (uint32_t) v->integer;
    return true;
}

static bool js_request_queue(struct config_context *c, const struct conf_value *v)
{
    return queue_limit(c, v, "request_queue_limit", &c->o->js_request_queue_limit);
}

static bool js_buffered_msgs(struct config_context *c, const struct conf_value *v)
{
    return queue_limit(c, v, "max_buffered_msgs", &c->o->js_max_buffered_msgs);
}

static bool js_buffered_size(struct config_context *c, const struct conf_value *v)
{
    int64_t n = 0;

    if (!config_size(c, v, "max_buffered_size", &n))
        return false;
    if (n < 0)
        return config_fail(c, v, "max_buffered_size must not be negative");
    c->o->js_max_buffered_bytes = (uint64_t) n;
    return true;
}

static const struct config_key jetstream_keys[] = {
    {"enabled", CONFIG_FLAG, AT(jetstream), NULL},
    {"enable", CONFIG_FLAG, AT(jetstream), NULL},
    {"disabled", CONFIG_BLOCK, 0, js_disabled},
    {"disable", CONFIG_BLOCK, 0, js_disabled},
    {"store_dir", CONFIG_TEXT, AT(store_dir), NULL},
    {"storedir", CONFIG_TEXT, AT(store_dir), NULL},
    {"store", CONFIG_TEXT, AT(store_dir), NULL},
    {"max_memory_store", CONFIG_SIZE, AT(max_memory_store), NULL},
    {"max_mem_store", CONFIG_SIZE, AT(max_memory_store), NULL},
    {"max_mem", CONFIG_SIZE, AT(max_memory_store), NULL},
    {"max_file_store", CONFIG_SIZE, AT(max_file_store), NULL},
    {"max_file", CONFIG_SIZE, AT(max_file_store), NULL},
    {"sync", CONFIG_BLOCK, 0, sync_interval},
    {"sync_interval", CONFIG_BLOCK, 0, sync_interval},
    {"domain", CONFIG_TEXT, AT(domain), NULL},
    {"key", CONFIG_BLOCK, 0, js_key},
    {"ek", CONFIG_BLOCK, 0, js_key},
    {"encryption_key", CONFIG_BLOCK, 0, js_key},
    {"prev_key", CONFIG_BLOCK, 0, js_prev_key},
    {"prev_ek", CONFIG_BLOCK, 0, js_prev_key},
    {"prev_encryption_key", CONFIG_BLOCK, 0, js_prev_key},
    {"cipher", CONFIG_BLOCK, 0, js_cipher},
    {"strict", CONFIG_BLOCK, 0, js_strict},
    {"limits", CONFIG_BLOCK, 0, js_limits},
    {"request_queue_limit", CONFIG_BLOCK, 0, js_request_queue},
    {"max_buffered_msgs", CONFIG_BLOCK, 0, js_buffered_msgs},
    {"max_buffered_size", CONFIG_BLOCK, 0, js_buffered_size},
    {"info_queue_limit", CONFIG_BLOCK, 0, config_js_inactive},
    {"max_concurrent_io", CONFIG_BLOCK, 0, config_js_concurrency},
    {"max_outstanding_catchup", CONFIG_BLOCK, 0, config_js_catchup},
    {"meta_compact", CONFIG_BLOCK, 0, config_js_inactive},
    {"meta_compact_size", CONFIG_BLOCK, 0, config_js_compact_size},
    {"meta_compact_sync", CONFIG_BLOCK, 0, config_js_inactive},
    {"unique_tag", CONFIG_BLOCK, 0, js_unique_tag},
    {"extension_hint", CONFIG_BLOCK, 0, config_js_text},
    {"tpm", CONFIG_BLOCK, 0, config_tpm},
};

/* true | enabled | disabled | { ... } */
static bool jetstream(struct config_context *c, const struct conf_value *v)
{
    if (v->kind == CONF_MAP) {
        c->o->jetstream = true;
        return config_apply_map(c, v, "jetstream", jetstream_keys, ARRAY_LEN(jetstream_keys));
    }
    if (v->kind == CONF_BOOL)
        c->o->jetstream = v->integer != 0;
    else if (v->kind == CONF_TEXT && strcasecmp(v->text, "enabled") == 0)
        c->o->jetstream = true;
    else if (v->kind == CONF_TEXT && strcasecmp(v->text, "disabled") == 0)
        c->o->jetstream = false;
    else if (v->kind == CONF_TEXT)
        return config_fail(c, v, "Expected 'enabled' or 'disabled' for string value, got '%s'",
                           v->text);
    else
        return config_fail(c, v, "Expected map, bool or string to define JetStream, got %s",
                           config_type_name(v));
    return true;
}

static bool workers(struct config_context *c, const struct conf_value *v)
{
    if (v->kind != CONF_INT || v->integer < 0 || v->integer > OPTIONS_WORKERS_MAX)
        return config_fail(c, v, "workers must be an integer from 0 to %u", OPTIONS_WORKERS_MAX);
    c->o->workers = (unsigned) v->integer;
    return true;
}

static bool io_backend(struct config_context *c, const struct conf_value *v)
{
    if (v->kind != CONF_TEXT || !options_is_io_backend(v->text))
        return config_fail(c, v, "io must be auto, uring or event");
    config_keep(&c->o->io_backend, v->text);
    return true;
}

static const struct config_key midge_keys[] = {
    {"workers", CONFIG_BLOCK, 0, workers},
    {"spread", CONFIG_FLAG, AT(spread), NULL},
    {"io", CONFIG_BLOCK, 0, io_backend},
    {"pool", CONFIG_U64, AT(pool_bytes), NULL},
    {"cache", CONFIG_U64, AT(cache_bytes), NULL},
    {"congestion", CONFIG_TEXT, AT(congestion), NULL},
    {"memory", CONFIG_U64, AT(memory_bytes), NULL},
};

static bool midge(struct config_context *c, const struct conf_value *v)
{
    return config_apply_map(c, v, "midge", midge_keys, ARRAY_LEN(midge_keys));
}

static const struct config_key kafka_keys[] = {
    {"listen", CONFIG_KAFKA, 0, NULL},
    {"advertise", CONFIG_TEXT, AT(kafka_advertise), NULL},
    {"node_id", CONFIG_U32, AT(kafka_node_id), NULL},
    {"num_partitions", CONFIG_U32, AT(kafka_num_partitions), NULL},
    {"auto_create_topics", CONFIG_FLAG, AT(kafka_auto_create), NULL},
    {"tls", CONFIG_FLAG, AT(kafka_tls), NULL},
    {"group_delay", CONFIG_DURATION, AT(kafka_group_delay_ns), NULL},
    {"group_heartbeat", CONFIG_DURATION, AT(kafka_group_heartbeat_ns), NULL},
    {"group_session", CONFIG_DURATION, AT(kafka_group_session_ns), NULL},
    {"group_session_min", CONFIG_DURATION, AT(kafka_group_session_min_ns), NULL},
    {"compaction_interval", CONFIG_DURATION, AT(kafka_compaction_ns), NULL},
    {"offsets_retention", CONFIG_DURATION, AT(kafka_offsets_retention_ns), NULL},
};

static bool kafka(struct config_context *c, const struct conf_value *v)
{
    c->o->kafka_port = OPTIONS_KAFKA_PORT;
    return config_apply_map(c, v, "kafka", kafka_keys, ARRAY_LEN(kafka_keys));
}

static bool lame_duck_duration(struct config_context *c, const struct conf_value *v)
{
    if (!config_duration(c, v, "error parsing lame_duck_duration: ", &c->o->lame_duck_duration_ns))
        return false;
    return c->o->lame_duck_duration_ns >= 30 * SECOND ||
           config_fail(c, v, "invalid lame_duck_duration of %s, minimum is 30 seconds", v->text);
}

static bool lame_duck_grace(struct config_context *c, const struct conf_value *v)
{
    int64_t ns;

    if (v->kind == CONF_TEXT && fmt_parse_go_duration(str_of(v->text), &ns) && ns < 0)
        return config_fail(c, v, "invalid lame_duck_grace_period, needs to be positive");
    return config_duration(c, v,
                           "error parsing lame_duck_grace_period: ", &c->o->lame_duck_grace_ns);
}

static bool https(struct config_context *c, const struct conf_value *v)
{
    return config_listen(c, v, &c->o->http_host, &c->o->https_port);
}

static bool tokens(struct config_context *c, const struct conf_value *v, const char *name)
{
    if (v->kind != CONF_INT)
        return config_fail(c, v, "%s must be an integer", name);
    if (v->integer < 0)
        return config_fail(c, v, "%s value can not be negative", name);
    if (v->integer > UINT8_MAX)
        return config_fail(c, v, "%s value is too big", name);
    c->o->max_subscription_tokens = (uint32_t) v->integer;
    return true;
}

static bool max_sub_tokens(struct config_context *c, const struct conf_value *v)
{
    return tokens(c, v, "max_sub_tokens");
}

static bool max_subscription_tokens(struct config_context *c, const struct conf_value *v)
{
    return tokens(c, v, "max_subscription_tokens");
}

static bool max_payload(struct config_context *c, const struct conf_value *v)
{
    if (v->kind != CONF_INT)
        return config_fail(c, v, "max_payload must be an integer");
    if (v->integer < 0)
        return config_fail(c, v, "max_payload must not be negative");
    if (v->integer > INT32_MAX)
        return config_fail(c, v, "max_payload value is too big");
    c->o->max_payload = (uint64_t) v->integer;
    return true;
}

static bool server_name(struct config_context *c, const struct conf_value *v)
{
    if (v->text == NULL)
        return config_fail(c, v, "server_name must be a text");
    if (strchr(v->text, ' ') != NULL)
        return config_fail(c, v, "server name cannot contain spaces");
    config_keep(&c->o->server_name, v->text);
    return true;
}

static bool system_account(struct config_context *c, const struct conf_value *v)
{
    if (v->text == NULL)
        return config_fail(c, v, "system account name must be a string");
    config_keep(&c->o->system_account, v->text);
    return true;
}

static const struct config_key top_keys[] = {
    {"listen", CONFIG_LISTEN, 0, NULL},
    {"port", CONFIG_PORT, AT(port), NULL},
    {"host", CONFIG_TEXT, AT(host), NULL},
    {"net", CONFIG_TEXT, AT(host), NULL},
    {"client_advertise", CONFIG_TEXT, AT(client_advertise), NULL},
    {"proxy_protocol", CONFIG_FLAG, AT(proxy_protocol), NULL},
    {"server_name", CONFIG_BLOCK, 0, server_name},
    {"server_tags", CONFIG_BLOCK, 0, config_tags},
    {"server_metadata", CONFIG_BLOCK, 0, config_metadata},
    {"feature_flags", CONFIG_BLOCK, 0, config_feature_flags},
    {"default_js_domain", CONFIG_BLOCK, 0, config_default_domains},
    {"debug", CONFIG_FLAG, AT(debug), NULL},
    {"trace", CONFIG_FLAG, AT(trace), NULL},
    {"trace_verbose", CONFIG_BLOCK, 0, config_trace_verbose},
    {"trace_headers", CONFIG_BLOCK, 0, config_trace_headers},
    {"logtime", CONFIG_FLAG, AT(logtime), NULL},
    {"logtime_utc", CONFIG_FLAG, AT(logtime_utc), NULL},
    {"logfile", CONFIG_TEXT, AT(log_file), NULL},
    {"log_file", CONFIG_TEXT, AT(log_file), NULL},
    {"logfile_size_limit", CONFIG_U64, AT(log_size_limit), NULL},
    {"log_size_limit", CONFIG_U64, AT(log_size_limit), NULL},
    {"logfile_max_num", CONFIG_U32, AT(log_max_num), NULL},
    {"log_max_num", CONFIG_U32, AT(log_max_num), NULL},
    {"syslog", CONFIG_FLAG, AT(syslog), NULL},
    {"remote_syslog", CONFIG_TEXT, AT(remote_syslog), NULL},
    {"pidfile", CONFIG_TEXT, AT(pid_file), NULL},
    {"pid_file", CONFIG_TEXT, AT(pid_file), NULL},
    {"ports_file_dir", CONFIG_TEXT, AT(ports_file_dir), NULL},
    {"http", CONFIG_HTTP, 0, NULL},
    {"http_port", CONFIG_PORT, AT(http_port), NULL},
    {"monitor_port", CONFIG_PORT, AT(http_port), NULL},
    {"https", CONFIG_BLOCK, 0, https},
    {"https_port", CONFIG_PORT, AT(https_port), NULL},
    {"http_base_path", CONFIG_TEXT, AT(http_base_path), NULL},
    {"max_control_line", CONFIG_U32, AT(max_control_line), NULL},
    {"max_payload", CONFIG_BLOCK, 0, max_payload},
    {"max_pending", CONFIG_U64, AT(max_pending), NULL},
    {"max_connections", CONFIG_I64, AT(max_connections), NULL},
    {"max_conn", CONFIG_I64, AT(max_connections), NULL},
    {"max_subscriptions", CONFIG_I64, AT(max_subscriptions), NULL},
    {"max_subs", CONFIG_I64, AT(max_subscriptions), NULL},
    {"max_sub_tokens", CONFIG_BLOCK, 0, max_sub_tokens},
    {"max_subscription_tokens", CONFIG_BLOCK, 0, max_subscription_tokens},
    {"max_traced_msg_len", CONFIG_INT, AT(max_traced_msg_len), NULL},
    {"max_closed_clients", CONFIG_U32, AT(max_closed_clients), NULL},
    {"ping_interval", CONFIG_DURATION, AT(ping_interval_ns), NULL},
    {"ping_max", CONFIG_U32, AT(ping_max), NULL},
    {"write_deadline", CONFIG_DURATION, AT(write_deadline_ns), NULL},
    {"write_timeout", CONFIG_BLOCK, 0, config_write_timeout},
    {"no_fast_producer_stall", CONFIG_FLAG, AT(no_fast_producer_stall), NULL},
    {"no_header_support", CONFIG_FLAG, AT(no_header_support), NULL},
    {"lame_duck_duration", CONFIG_BLOCK, 0, lame_duck_duration},
    {"lame_duck_grace_period", CONFIG_BLOCK, 0, lame_duck_grace},
    {"no_auth_user", CONFIG_TEXT, AT(no_auth_user), NULL},
    {"tls", CONFIG_BLOCK, 0, config_tls},
    {"allow_non_tls", CONFIG_FLAG, AT(allow_non_tls), NULL},
    {"authorization", CONFIG_BLOCK, 0, config_authorization},
    {"accounts", CONFIG_BLOCK, 0, config_accounts},
    {"mappings", CONFIG_BLOCK, 0, config_mappings},
    {"maps", CONFIG_BLOCK, 0, config_mappings},
    {"system_account", CONFIG_BLOCK, 0, system_account},
    {"system", CONFIG_BLOCK, 0, system_account},
    {"no_system_account", CONFIG_FLAG, AT(no_system_account), NULL},
    {"no_system", CONFIG_FLAG, AT(no_system_account), NULL},
    {"no_sys_acc", CONFIG_FLAG, AT(no_system_account), NULL},
    {"leafnodes", CONFIG_BLOCK, 0, config_leafnodes},
    {"leaf", CONFIG_BLOCK, 0, config_leafnodes},
    {"websocket", CONFIG_BLOCK, 0, config_websocket},
    {"ws", CONFIG_BLOCK, 0, config_websocket},
    {"proxies", CONFIG_BLOCK, 0, config_proxies},
    {"operator", CONFIG_BLOCK, 0, config_operators},
    {"operators", CONFIG_BLOCK, 0, config_operators},
    {"roots", CONFIG_BLOCK, 0, config_operators},
    {"root", CONFIG_BLOCK, 0, config_operators},
    {"root_operators", CONFIG_BLOCK, 0, config_operators},
    {"root_operator", CONFIG_BLOCK, 0, config_operators},
    {"trusted", CONFIG_BLOCK, 0, config_trusted},
    {"trusted_keys", CONFIG_BLOCK, 0, config_trusted},
    {"resolver", CONFIG_BLOCK, 0, config_resolver},
    {"account_resolver", CONFIG_BLOCK, 0, config_resolver},
    {"accounts_resolver", CONFIG_BLOCK, 0, config_resolver},
    {"resolver_tls", CONFIG_BLOCK, 0, config_resolver_tls},
    {"resolver_preload", CONFIG_BLOCK, 0, config_preload},
    {"resolver_pinned_accounts", CONFIG_BLOCK, 0, config_pinned},
    {"default_sentinel", CONFIG_BLOCK, 0, config_sentinel},
    {"jetstream", CONFIG_BLOCK, 0, jetstream},
    {"store_dir", CONFIG_TEXT, AT(store_dir), NULL},
    {"storedir", CONFIG_TEXT, AT(store_dir), NULL},
    {"cluster", CONFIG_BLOCK, 0, config_cluster},
    {"gateway", CONFIG_BLOCK, 0, config_gateway},
    {"mqtt", CONFIG_BLOCK, 0, config_mqtt},
    {"ocsp", CONFIG_BLOCK, 0, config_ocsp},
    {"ocsp_cache", CONFIG_BLOCK, 0, config_ocsp_cache},
    {"prof_port", CONFIG_BLOCK, 0, config_prof_port},
    {"prof_block_rate", CONFIG_BLOCK, 0, config_prof_block_rate},
    {"connect_error_reports", CONFIG_BLOCK, 0, config_error_reports},
    {"reconnect_error_reports", CONFIG_BLOCK, 0, config_error_reports},
    {"disable_sublist_cache", CONFIG_BLOCK, 0, config_no_sublist_cache},
    {"no_sublist_cache", CONFIG_BLOCK, 0, config_no_sublist_cache},
    {"kafka", CONFIG_BLOCK, 0, kafka},
    {"midge", CONFIG_BLOCK, 0, midge},
};

/* ---- files ----------------------------------------------------------------------------------- */

static bool read_file(void *ctx, const char *path, struct buf *out, struct buf *err)
{
    FILE *f = fopen(path, "re");
    crypto_hash_sha256_state *digest = ctx;
    size_t n;

    if (f == NULL) {
        buf_printf(err, "error opening config file: open %s: %s", path, strerror(errno));
        return false;
    }
    do {
        char *at = buf_reserve(out, 65536);
        n = fread(at, 1, 65536, f);
        if (digest != NULL) /* the configuration itself */
            crypto_hash_sha256_update(digest, (unsigned char *) at, n);
        out->n += n;
    } while (n > 0 && out->n <= FILE_MAX_BYTES);
    bool ok = ferror(f) == 0; /* a directory opens and can not be read */
    if (!ok)
        buf_printf(err, "error reading config file: read %s: %s", path, strerror(errno));
    fclose(f);
    return ok;
}

static const char *environment(void *ctx, const char *name)
{
    (void) ctx;
    return getenv(name);
}

static bool apply_tree(const struct conf_tree *tree, const struct conf_source *source,
                       struct options *options, struct buf *err)
{
    struct config_context c = {options, err, source};

    return config_apply_map(&c, tree->root, "the file", top_keys, ARRAY_LEN(top_keys));
}

bool config_file_apply(const struct conf_tree *tree, struct options *options, struct buf *err)
{
    return apply_tree(tree, NULL, options, err);
}

bool config_file_load(const char *path, struct options *options, struct buf *err)
{
    crypto_hash_sha256_state digest;
    struct conf_source source = {read_file, environment, &digest};
    unsigned char sum[crypto_hash_sha256_BYTES];
    struct conf_tree tree;
    bool ok;

    crypto_hash_sha256_init(&digest);
    ok = conf_parse(&source, path, &tree, err);
    if (ok && tree.root->n == 0) {
        buf_printf(err, "%s: config has no values or is empty", path);
        ok = false;
    }
    ok = ok && apply_tree(&tree, &source, options, err);
    conf_tree_free(&tree);
    if (!ok)
        return false;
    crypto_hash_sha256_final(&digest, sum);
    snprintf(options->config_digest, sizeof(options->config_digest), "sha256:");
    sodium_bin2hex(options->config_digest + 7, sizeof(options->config_digest) - 7, sum,
                   sizeof(sum));
    config_keep(&options->config_file, path);
    return true;
}
