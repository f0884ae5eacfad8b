/* banner.c - start-up lines, in the order in which a reader meets them. */
#include "server/banner.h"

#include "lib/base/fmt.h"
#include "lib/io/io.h"
#include "server/auth/auth.h"
#include "server/js/js.h"
#include "server/js/source_config.h"
#include "server/server.h"
#include "store/store.h"

#include <inttypes.h>
#include <string.h>

static void put_flags(struct log *log, const struct options *o)
{
    static const bool defaults[OPTIONS_FLAGS] = {[FLAG_JS_RAFT_DELETE_RANGE] = true};
    static const char *const said[2][2] = {{"disabled", "opt-in"}, {"opt-out", "enabled"}};
    struct buf named = {0}, unknown = {0};

    for (unsigned k = 0; k < OPTIONS_FLAGS; k++)
        if (o->flags_named[k])
            buf_printf(&named, "%s%s (%s)", named.n > 0 ? ", " : "", options_flag_name(k),
                       said[defaults[k]][o->flags[k]]);
    for (size_t i = 0; i < o->unknown_flags.n; i++)
        buf_printf(&unknown, "%s%s", i > 0 ? ", " : "", o->unknown_flags.items[i]);
    if (named.n > 0 || unknown.n > 0) {
        LOG_INF(log, "  Feature flags:");
        LOG_INF(log, "    Configured:    %s", named.n > 0 ? buf_cstr(&named) : "none");
    }
    if (unknown.n > 0)
        LOG_INF(log, "    Unsupported:   %s", buf_cstr(&unknown));
    buf_free(&named);
    buf_free(&unknown);
}

static void put_inactive(struct log *log, const struct options *o)
{
    struct buf b = {0};

    for (size_t i = 0; i < o->inactive.n; i++)
        buf_printf(&b, "%s%s", i > 0 ? ", " : "", o->inactive.items[i]);
    LOG_WRN(log, "Configured, and not active in this server: %s", buf_cstr(&b));
    buf_free(&b);
}

/* Is a certificate enough to be this user? */
static bool comes_by_certificate(const struct options *o, const struct user *u)
{
    const struct leaf_options *leaf = &o->leaf;

    return (o->tls.map && (u->kinds & USER_STANDARD)) ||
           (o->websocket.tls.map && o->websocket.port != 0 && (u->kinds & USER_WEBSOCKET)) ||
           (leaf->tls.map && leaf->port != 0 && leaf->user == NULL && leaf->users.n == 0 &&
            (u->kinds & USER_LEAFNODE));
}

static bool has_plain_passwords(const struct options *o)
{
    if (o->pass != NULL && o->pass[0] != '\0' && !auth_is_hash(o->pass))
        return true;
    for (size_t i = 0; i < o->users.n; i++) {
        const struct user *u = &o->users.list[i];
        bool none = u->pass == NULL || u->pass[0] == '\0';
        if (u->nkey == NULL && !(none ? comes_by_certificate(o, u) : auth_is_hash(u->pass)))
            return true;
    }
    return false;
}

void banner_start(struct log *log, const char *program, const struct options *o,
                  const char *server_id)
{
    const char *name = o->server_name != NULL ? o->server_name : server_id;
    char node[SOURCE_HASH_LEN + 1];

    LOG_INF(log, "Starting nats-server");
    LOG_INF(log, "  Version:  %s", NATS_VERSION);
    if (strcmp(program, "nats-server") != 0)
        LOG_INF(log, "  Midge:    %s", PACKAGE_VERSION);
    LOG_INF(log, "  Git:      [not set]");
    LOG_INF(log, "  Name:     %s", name);
    if (o->jetstream) {
        source_hash(str_of(name), node); /* JetStream's name for a server */
        LOG_INF(log, "  Node:     %s", node);
    }
    LOG_INF(log, "  ID:       %s", server_id);
    put_flags(log, o);
    if (has_plain_passwords(o))
        LOG_WRN(log, "Plaintext passwords detected, use nkeys or bcrypt");
    if (o->inactive.n > 0)
        put_inactive(log, o);
    if (o->config_file != NULL)
        LOG_INF(log, "Using configuration file: %s (%s)", o->config_file, o->config_digest);
}

void banner_io(struct log *log, const struct io *io, unsigned workers)
{
    LOG_INF(log, "I/O backend: %s (%s), %u worker%s", io_backend_name(io), io_backend_reason(io),
            workers, workers == 1 ? "" : "s");
}

static void recovered(struct log *log, const struct store_recovery *r)
{
    if (r->streams == 0 && r->messages == 0)
        return;
    LOG_INF(log,
            "  Recovered:       %" PRIu64 " streams, %" PRIu64
            " messages in %.1f ms after a %s stop",
            r->streams, r->messages, (double) r->ns / 1e6, r->clean ? "clean" : "sudden");
    if (r->bytes_cut > 0)
        LOG_INF(log, "  Cut:             %" PRIu64 " bytes that were never acknowledged",
                r->bytes_cut);
    if (r->lost_messages > 0 || r->quarantined_files > 0)
        LOG_WRN(log,
                "  Damage:          %" PRIu64 " messages lost, %" PRIu64 " files in quarantine",
                r->lost_messages, r->quarantined_files);
}

void banner_jetstream(struct log *log, const struct options *o, const char *store_path,
                      const struct store_recovery *r, const struct js_stats *js)
{
    char size[FMT_TIME_MAX];

    LOG_INF(log, "---------------- JETSTREAM ----------------");
    fmt_bytes(size, js->max_memory);
    LOG_INF(log, "  Max Memory:      %s", size);
    fmt_bytes(size, js->max_storage);
    LOG_INF(log, "  Max Storage:     %s", size);
    LOG_INF(log, "  Store Directory: \"%s\"", store_path);
    if (o->domain != NULL)
        LOG_INF(log, "  Domain:          %s", o->domain);
    if (r->encrypted)
        LOG_INF(log, "  Encryption:      %s%s",
                o->js_cipher == OPTIONS_AES ? "AES-GCM" : "ChaCha20-Poly1305",
                r->key_changed ? ", with a new key" : "");
    LOG_INF(log, "  API Level:       5");
    LOG_INF(log, "  Durability:      an acknowledgement is sent after the data is synced to disk");
    if (o->sync_interval_set)
        LOG_INF(log, "  Durability:      sync_interval is accepted and does not lower that");
    recovered(log, r);
    LOG_INF(log, "-------------------------------------------");
}

void banner_hints(struct log *log, const char *path, const struct options *o, const char *host,
                  uint16_t port, uint16_t http_port)
{
    const char *slash = strrchr(path, '/');
    int dir = slash != NULL ? (int) (slash - path) + 1 : 0;
    const char *reach = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 ? "127.0.0.1"
                                                                                : host;
    char url[FMT_HOST_PORT_MAX], http[FMT_HOST_PORT_MAX];

    if (!o->jetstream)
        return;
    fmt_host_port(url, reach, port);
    LOG_INF(log, "Try next:");
    LOG_INF(log, "  nats -s nats://%s stream add ORDERS --subjects 'orders.>' --defaults", url);
    LOG_INF(log, "  %.*snats-bench js pub --server nats://%s --count 1000000", dir, path, url);
    if (http_port != 0)
        LOG_INF(log, "  curl http://%s/jsz", fmt_host_port(http, reach, http_port));
    else
        LOG_INF(log, "  %.*snats-bench js pull --server nats://%s", dir, path, url);
}
