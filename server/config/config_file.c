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
#include "server/config/conf_parse.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FILE_MAX_BYTES (16u << 20)
#define SECOND 1000000000ll
#define SECONDS_MAX 9e9 /* what an int64_t of nanoseconds holds */

struct context {
    struct options *o;
    struct buf *err;
};

enum how { TEXT, INT, PORT, U32, U64, I64, FLAG, DURATION, LISTEN, HTTP, BLOCK };

struct key {
    const char *name;
    enum how how;
    size_t offset;
    bool (*block)(struct context *c, const struct conf_value *v);
};

static bool fail(struct context *c, const struct conf_value *v, const char *text)
{
    buf_clear(c->err);
    buf_printf(c->err, "%s:%u:%u: %s", v->file, v->line, v->col, text);
    return false;
}

__attribute__((format(printf, 3, 4))) static bool fail_about(struct context *c,
                                                             const struct conf_value *v,
                                                             const char *format, ...)
{
    char text[320];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return fail(c, v, text);
}

/* ---- single values --------------------------------------------------------------------------- */

static void keep(char **at, const char *text)
{
    mem_free(*at);
    *at = mem_strdup(text);
}

/* "2s", "1h30m", or a bare number of seconds. */
static bool duration(struct context *c, const struct conf_value *v, int64_t *out)
{
    bool ok = false;

    if (v->kind == CONF_INT) {
        ok = !__builtin_mul_overflow(v->integer, SECOND, out);
    } else if (v->kind == CONF_FLOAT) {
        ok = v->real >= -SECONDS_MAX && v->real <= SECONDS_MAX;
        *out = ok ? (int64_t) (v->real * (double) SECOND) : 0;
    } else if (v->kind == CONF_TEXT) {
        ok = fmt_parse_go_duration(str_of(v->text), out);
    }
    if (!ok)
        return fail(c, v, "expected a duration, as \"2s\"");
    return *out >= 0 || fail(c, v, "a duration must not be negative");
}

static bool is_port(int64_t n)
{
    return n >= -1 && n <= OPTIONS_PORT_MAX;
}

/* "host:port", ":port", "[v6]:port" or a port. */
static bool listen_at(struct context *c, const struct conf_value *v, char **host, int *port)
{
    const char *colon;
    int64_t n;

    if (v->kind == CONF_INT) {
        if (!is_port(v->integer))
            return fail_about(c, v, "port %s is not between -1 and 65535", v->text);
        *port = (int) v->integer;
        return true;
    }
    colon = v->kind == CONF_TEXT ? strrchr(v->text, ':') : NULL;
    if (colon == NULL || !str_to_i64(str_of(colon + 1), &n) || !is_port(n))
        return fail_about(c, v, "could not parse address string \"%s\"",
                          v->text != NULL ? v->text : "");
    *port = (int) n;
    if (colon > v->text) {
        bool bracket = v->text[0] == '[' && colon[-1] == ']';
        mem_free(*host);
        *host = mem_strndup(v->text + bracket, (size_t) (colon - v->text) - 2 * (size_t) bracket);
    }
    return true;
}

static bool number(struct context *c, const struct conf_value *v, const struct key *k)
{
    void *at = (char *) c->o + k->offset;

    if (v->kind != CONF_INT)
        return fail_about(c, v, "%s must be an integer", k->name);
    if ((k->how == U32 || k->how == U64) && v->integer < 0)
        return fail_about(c, v, "%s must not be negative", k->name);
    if (k->how == U32 && v->integer > UINT32_MAX)
        return fail_about(c, v, "%s is too large", k->name);
    if (k->how == INT && (v->integer > INT32_MAX || v->integer < -1))
        return fail_about(c, v, "%s is out of range", k->name);
    if (k->how == PORT && !is_port(v->integer))
        return fail_about(c, v, "%s is not between -1 and 65535", k->name);
    if (k->how == INT || k->how == PORT)
        *(int *) at = (int) v->integer;
    else if (k->how == U32)
        *(uint32_t *) at = (uint32_t) v->integer;
    else
        *(int64_t *) at = v->integer;
    return true;
}

static bool apply(struct context *c, const struct conf_value *v, const struct key *k)
{
    void *at = (char *) c->o + k->offset;

    switch (k->how) {
    case TEXT:
        if (v->text == NULL)
            return fail_about(c, v, "%s must be a text", k->name);
        keep(at, v->text);
        return true;
    case FLAG:
        if (v->kind != CONF_BOOL)
            return fail_about(c, v, "%s must be true or false", k->name);
        *(bool *) at = v->integer != 0;
        return true;
    case DURATION:
        return duration(c, v, at);
    case LISTEN:
        return listen_at(c, v, &c->o->host, &c->o->port);
    case HTTP:
        return listen_at(c, v, &c->o->http_host, &c->o->http_port);
    case BLOCK:
        return k->block(c, v);
    default:
        return number(c, v, k);
    }
}

static bool apply_map(struct context *c, const struct conf_value *map, const struct key *keys,
                      size_t n)
{
    for (size_t i = 0; i < map->n; i++) {
        size_t k = 0;
        while (k < n && strcasecmp(keys[k].name, map->keys[i]) != 0)
            k++;
        if (k == n)
            return fail_about(c, map->items[i], "unknown field \"%s\"", map->keys[i]);
        if (!apply(c, map->items[i], &keys[k]))
            return false;
    }
    return true;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

#define AT(member) offsetof(struct options, member)

static const struct key authorization_keys[] = {
    {"user", TEXT, AT(user), NULL},   {"username", TEXT, AT(user), NULL},
    {"pass", TEXT, AT(pass), NULL},   {"password", TEXT, AT(pass), NULL},
    {"token", TEXT, AT(token), NULL}, {"timeout", DURATION, AT(auth_timeout_ns), NULL},
};

static bool authorization(struct context *c, const struct conf_value *v)
{
    if (v->kind != CONF_MAP)
        return fail(c, v, "authorization must be a map");
    if (!apply_map(c, v, authorization_keys, ARRAY_LEN(authorization_keys)))
        return false;
    if (c->o->token != NULL && c->o->user != NULL)
        return fail(c, v, "Cannot have a user/pass and token");
    return true;
}

static bool sync_interval(struct context *c, const struct conf_value *v)
{
    int64_t ignored;

    c->o->sync_interval_set = true;
    if (v->kind == CONF_TEXT && strcasecmp(v->text, "always") == 0)
        return true;
    return duration(c, v, &ignored);
}

static const struct key limits_keys[] = {
    {"max_ack_pending", I64, AT(js_max_ack_pending), NULL},
    {"max_request_batch", I64, AT(js_max_request_batch), NULL},
    {"duplicate_window", DURATION, AT(js_duplicate_window_ns), NULL},
};

static bool js_limits(struct context *c, const struct conf_value *v)
{
    if (v->kind != CONF_MAP)
        return fail(c, v, "limits must be a map");
    return apply_map(c, v, limits_keys, ARRAY_LEN(limits_keys));
}

static const struct key jetstream_keys[] = {
    {"enabled", FLAG, AT(jetstream), NULL},
    {"enable", FLAG, AT(jetstream), NULL},
    {"store_dir", TEXT, AT(store_dir), NULL},
    {"storedir", TEXT, AT(store_dir), NULL},
    {"store", TEXT, AT(store_dir), NULL},
    {"max_memory_store", I64, AT(max_memory_store), NULL},
    {"max_mem_store", I64, AT(max_memory_store), NULL},
    {"max_mem", I64, AT(max_memory_store), NULL},
    {"max_file_store", I64, AT(max_file_store), NULL},
    {"max_file", I64, AT(max_file_store), NULL},
    {"sync", BLOCK, 0, sync_interval},
    {"sync_interval", BLOCK, 0, sync_interval},
    {"domain", TEXT, AT(domain), NULL},
    {"strict", FLAG, AT(js_strict), NULL},
    {"limits", BLOCK, 0, js_limits},
    {"request_queue_limit", U32, AT(js_request_queue_limit), NULL},
    {"max_buffered_msgs", U32, AT(js_max_buffered_msgs), NULL},
    {"max_buffered_size", U64, AT(js_max_buffered_bytes), NULL},
};

/* true | enabled | disabled | { ... } */
static bool jetstream(struct context *c, const struct conf_value *v)
{
    if (v->kind == CONF_MAP) {
        c->o->jetstream = true;
        return apply_map(c, v, jetstream_keys, ARRAY_LEN(jetstream_keys));
    }
    if (v->kind == CONF_BOOL)
        c->o->jetstream = v->integer != 0;
    else if (v->kind == CONF_TEXT && strcasecmp(v->text, "enabled") == 0)
        c->o->jetstream = true;
    else if (v->kind == CONF_TEXT && strcasecmp(v->text, "disabled") == 0)
        c->o->jetstream = false;
    else
        return fail_about(c, v, "Expected 'enabled' or 'disabled' for string value, got '%s'",
                          v->text != NULL ? v->text : "");
    return true;
}

static bool workers(struct context *c, const struct conf_value *v)
{
    if (v->kind != CONF_INT || v->integer < 0 || v->integer > OPTIONS_WORKERS_MAX)
        return fail_about(c, v, "workers must be an integer from 0 to %u", OPTIONS_WORKERS_MAX);
    c->o->workers = (unsigned) v->integer;
    return true;
}

static bool io_backend(struct context *c, const struct conf_value *v)
{
    if (v->kind != CONF_TEXT || !options_is_io_backend(v->text))
        return fail(c, v, "io must be auto, uring or event");
    keep(&c->o->io_backend, v->text);
    return true;
}

static const struct key midge_keys[] = {
    {"workers", BLOCK, 0, workers},
    {"io", BLOCK, 0, io_backend},
    {"pool", U64, AT(pool_bytes), NULL},
    {"cache", U64, AT(cache_bytes), NULL},
    {"congestion", TEXT, AT(congestion), NULL},
};

static bool midge(struct context *c, const struct conf_value *v)
{
    if (v->kind != CONF_MAP)
        return fail(c, v, "midge must be a map");
    return apply_map(c, v, midge_keys, ARRAY_LEN(midge_keys));
}

static const struct key top_keys[] = {
    {"listen", LISTEN, 0, NULL},
    {"port", PORT, AT(port), NULL},
    {"host", TEXT, AT(host), NULL},
    {"net", TEXT, AT(host), NULL},
    {"client_advertise", TEXT, AT(client_advertise), NULL},
    {"server_name", TEXT, AT(server_name), NULL},
    {"debug", FLAG, AT(debug), NULL},
    {"trace", FLAG, AT(trace), NULL},
    {"trace_verbose", FLAG, AT(trace_verbose), NULL},
    {"logtime", FLAG, AT(logtime), NULL},
    {"logtime_utc", FLAG, AT(logtime_utc), NULL},
    {"logfile", TEXT, AT(log_file), NULL},
    {"log_file", TEXT, AT(log_file), NULL},
    {"logfile_size_limit", U64, AT(log_size_limit), NULL},
    {"log_size_limit", U64, AT(log_size_limit), NULL},
    {"logfile_max_num", U32, AT(log_max_num), NULL},
    {"log_max_num", U32, AT(log_max_num), NULL},
    {"pidfile", TEXT, AT(pid_file), NULL},
    {"pid_file", TEXT, AT(pid_file), NULL},
    {"ports_file_dir", TEXT, AT(ports_file_dir), NULL},
    {"http", HTTP, 0, NULL},
    {"http_port", PORT, AT(http_port), NULL},
    {"monitor_port", PORT, AT(http_port), NULL},
    {"http_base_path", TEXT, AT(http_base_path), NULL},
    {"max_control_line", U32, AT(max_control_line), NULL},
    {"max_payload", U64, AT(max_payload), NULL},
    {"max_pending", U64, AT(max_pending), NULL},
    {"max_connections", I64, AT(max_connections), NULL},
    {"max_conn", I64, AT(max_connections), NULL},
    {"max_subscriptions", I64, AT(max_subscriptions), NULL},
    {"max_subs", I64, AT(max_subscriptions), NULL},
    {"max_sub_tokens", U32, AT(max_subscription_tokens), NULL},
    {"max_subscription_tokens", U32, AT(max_subscription_tokens), NULL},
    {"max_traced_msg_len", INT, AT(max_traced_msg_len), NULL},
    {"max_closed_clients", U32, AT(max_closed_clients), NULL},
    {"ping_interval", DURATION, AT(ping_interval_ns), NULL},
    {"ping_max", U32, AT(ping_max), NULL},
    {"write_deadline", DURATION, AT(write_deadline_ns), NULL},
    {"no_fast_producer_stall", FLAG, AT(no_fast_producer_stall), NULL},
    {"no_header_support", FLAG, AT(no_header_support), NULL},
    {"authorization", BLOCK, 0, authorization},
    {"jetstream", BLOCK, 0, jetstream},
    {"store_dir", TEXT, AT(store_dir), NULL},
    {"storedir", TEXT, AT(store_dir), NULL},
    {"midge", BLOCK, 0, midge},
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

bool config_file_apply(const struct conf_tree *tree, struct options *options, struct buf *err)
{
    struct context c = {options, err};

    return apply_map(&c, tree->root, top_keys, ARRAY_LEN(top_keys));
}

bool config_file_load(const char *path, struct options *options, struct buf *err)
{
    crypto_hash_sha256_state digest;
    struct conf_source source = {read_file, environment, &digest};
    unsigned char sum[crypto_hash_sha256_BYTES];
    struct conf_tree tree;
    bool ok;

    crypto_hash_sha256_init(&digest);
    ok = conf_parse(&source, path, &tree, err) && config_file_apply(&tree, options, err);
    conf_tree_free(&tree);
    if (!ok)
        return false;
    crypto_hash_sha256_final(&digest, sum);
    snprintf(options->config_digest, sizeof(options->config_digest), "sha256:");
    sodium_bin2hex(options->config_digest + 7, sizeof(options->config_digest) - 7, sum,
                   sizeof(sum));
    keep(&options->config_file, path);
    return true;
}
