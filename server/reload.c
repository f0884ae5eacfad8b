/* reload.c - one table of fields; the names of those that can not change are the peer's. */
#include "server/reload.h"

#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "server/auth/permissions.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum kind { TEXT, SECRET, QUIET, FLAG, INT, U32, U64, I64, DURATION, SECONDS, ONE_OF };

/* QUIET: a text of which nothing is said when it goes. SECONDS: a duration, said so. ONE_OF: a flag
 * whose name is what is said of it, and of its opposite behind it ("on|off"). */
struct field {
    const char *name;
    enum kind kind;
    bool live;
    size_t offset;
};

#define AT(member) offsetof(struct options, member)

static const struct field fields[] = {
    {"Host", TEXT, false, AT(host)},
    {"Port", INT, false, AT(port)},
    {"HTTPHost", TEXT, false, AT(http_host)},
    {"HTTPPort", INT, false, AT(http_port)},
    {"HTTPSPort", INT, false, AT(https_port)},
    {"HTTPBasePath", TEXT, false, AT(http_base_path)},
    {"ServerName", TEXT, false, AT(server_name)},
    {"MaxClosedClients", U32, false, AT(max_closed_clients)},
    {"NoHeaderSupport", FLAG, false, AT(no_header_support)},
    {"JetStreamDomain", TEXT, false, AT(domain)},
    {"workers", U32, false, AT(workers)},
    {"spread", FLAG, false, AT(spread)},
    {"io", TEXT, false, AT(io_backend)},
    {"pool", U64, false, AT(pool_bytes)},
    {"cache", U64, false, AT(cache_bytes)},
    {"memory", U64, false, AT(memory_bytes)},
    {"kafka listen host", TEXT, false, AT(kafka_host)},
    {"kafka listen port", INT, false, AT(kafka_port)},
    {"kafka advertise", TEXT, true, AT(kafka_advertise)},
    {"kafka node_id", U32, false, AT(kafka_node_id)},
    {"kafka num_partitions", U32, true, AT(kafka_num_partitions)},
    {"kafka auto_create_topics", FLAG, true, AT(kafka_auto_create)},
    {"kafka tls", FLAG, true, AT(kafka_tls)},
    {"kafka group_delay", DURATION, true, AT(kafka_group_delay_ns)},
    {"kafka group_heartbeat", DURATION, true, AT(kafka_group_heartbeat_ns)},
    {"kafka group_session", DURATION, true, AT(kafka_group_session_ns)},
    {"kafka group_session_min", DURATION, true, AT(kafka_group_session_min_ns)},
    {"kafka compaction_interval", DURATION, true, AT(kafka_compaction_ns)},
    {"kafka offsets_retention", DURATION, true, AT(kafka_offsets_retention_ns)},
    {"congestion", TEXT, false, AT(congestion)},
    {"debug", FLAG, true, AT(debug)},
    {"trace", FLAG, true, AT(trace)},
    {"trace_verbose", FLAG, true, AT(trace_verbose)},
    {"trace_headers", FLAG, true, AT(trace_headers)},
    {"logtime", FLAG, true, AT(logtime)},
    {"logtime_utc", FLAG, true, AT(logtime_utc)},
    {"log_file", TEXT, true, AT(log_file)},
    {"syslog", FLAG, true, AT(syslog)},
    {"remote_syslog", TEXT, true, AT(remote_syslog)},
    {"log_size_limit", U64, true, AT(log_size_limit)},
    {"log_max_num", U32, true, AT(log_max_num)},
    {"max_traced_msg_len", INT, true, AT(max_traced_msg_len)},
    {"pid_file", QUIET, true, AT(pid_file)},
    {"ports_file_dir", TEXT, true, AT(ports_file_dir)},
    {"client_advertise", TEXT, true, AT(client_advertise)},
    {"max_connections", I64, true, AT(max_connections)},
    {"max_subscriptions", I64, true, AT(max_subscriptions)},
    {"max_subscription_tokens", U32, true, AT(max_subscription_tokens)},
    {"max_control_line", U32, true, AT(max_control_line)},
    {"max_payload", U64, true, AT(max_payload)},
    {"max_pending", U64, true, AT(max_pending)},
    {"ping_interval", DURATION, true, AT(ping_interval_ns)},
    {"ping_max", U32, true, AT(ping_max)},
    {"write_deadline", DURATION, true, AT(write_deadline_ns)},
    {"lame_duck_duration", DURATION, true, AT(lame_duck_duration_ns)},
    {"lame_duck_grace_period", DURATION, true, AT(lame_duck_grace_ns)},
    {"fast producers will not be stalled|fast producers will be stalled", ONE_OF, true,
     AT(no_fast_producer_stall)},
    {"authorization username", SECRET, true, AT(user)},
    {"authorization password", SECRET, true, AT(pass)},
    {"authorization token", SECRET, true, AT(token)},
    {"authorization timeout", SECONDS, true, AT(auth_timeout_ns)},
    {"tls timeout", SECONDS, true, AT(tls.timeout_ns)},
    {"allow_non_tls", FLAG, true, AT(allow_non_tls)},
    {"no_auth_user", TEXT, true, AT(no_auth_user)},
    {"strict", FLAG, true, AT(js_strict)},
    {"request_queue_limit", U32, true, AT(js_request_queue_limit)},
    {"max_buffered_msgs", U32, true, AT(js_max_buffered_msgs)},
    {"max_buffered_size", U64, true, AT(js_max_buffered_bytes)},
};

#define VALUE_MAX 160u

static const void *at(const struct options *o, const struct field *f)
{
    return (const char *) o + f->offset;
}

static const char *text_of(const struct options *o, const struct field *f)
{
    const char *text = *(char *const *) at(o, f);
    return text != NULL ? text : "";
}

static void value(const struct options *o, const struct field *f, char out[VALUE_MAX])
{
    char time[FMT_TIME_MAX];

    switch (f->kind) {
    case TEXT:
    case SECRET:
    case QUIET:
        snprintf(out, VALUE_MAX, "%s", text_of(o, f));
        break;
    case SECONDS:
        snprintf(out, VALUE_MAX, "%g", (double) *(const int64_t *) at(o, f) / 1e9);
        break;
    case FLAG:
    case ONE_OF:
        snprintf(out, VALUE_MAX, "%s", *(const bool *) at(o, f) ? "true" : "false");
        break;
    case INT:
        snprintf(out, VALUE_MAX, "%d", *(const int *) at(o, f));
        break;
    case U32:
        snprintf(out, VALUE_MAX, "%" PRIu32, *(const uint32_t *) at(o, f));
        break;
    case U64:
        snprintf(out, VALUE_MAX, "%" PRIu64, *(const uint64_t *) at(o, f));
        break;
    case I64:
        snprintf(out, VALUE_MAX, "%" PRId64, *(const int64_t *) at(o, f));
        break;
    case DURATION:
        snprintf(out, VALUE_MAX, "%.*s", (int) fmt_go_duration(time, *(const int64_t *) at(o, f)),
                 time);
        break;
    }
}

static bool differs(const struct options *a, const struct options *b, const struct field *f)
{
    char x[VALUE_MAX], y[VALUE_MAX];

    if (f->kind == TEXT || f->kind == SECRET || f->kind == QUIET)
        return strcmp(text_of(a, f), text_of(b, f)) != 0;
    value(a, f, x);
    value(b, f, y);
    return strcmp(x, y) != 0;
}

static const char *or_none(const char *text)
{
    return text != NULL ? text : "";
}

/* Where leaf nodes connect must stay. */
static bool leafs_moved(const struct leaf_options *a, const struct leaf_options *b, char why[256])
{
    static const char text[] = "config reload not supported for LeafNode: field";

    if (strcmp(or_none(a->host), or_none(b->host)) != 0)
        snprintf(why, 256, "%s \"Host\": old=%.80s, new=%.80s", text, or_none(a->host),
                 or_none(b->host));
    else if (a->port != b->port)
        snprintf(why, 256, "%s \"Port\": old=%d, new=%d", text, a->port, b->port);
    else
        return false;
    return true;
}

/* ---- JetStream ------------------------------------------------------------------------------- */

/* What JetStream may store can only grow: what is there is there. NULL: it may be so. */
static const char *limit_wrong(int64_t before, int64_t now, bool goes)
{
    if (before == now || (goes && now < 0))
        return NULL;
    return before < 0     ? "jetstream dynamic max memory and store"
           : now < 0      ? "jetstream max memory and max store"
           : now < before ? "decreasing jetstream max memory and store"
                          : NULL;
}

static const char *cipher_name(const struct options *o)
{
    return o->js_cipher == OPTIONS_AES ? "AES-GCM" : "ChaCha20-Poly1305";
}

/* It may come and go, but where it is it stays as it is. */
static bool jetstream_possible(const struct options *before, const struct options *now,
                               char why[256])
{
    const char *was = or_none(before->store_dir), *is = or_none(now->store_dir), *what = NULL;
    bool goes = !now->jetstream;

    if (strcmp(cipher_name(before), cipher_name(now)) != 0) {
        snprintf(why, 256, "config reload not supported for JetStreamCipher: old=%s, new=%s",
                 cipher_name(before), cipher_name(now));
        return false;
    }
    if (!before->jetstream)
        return true;
    if (strcmp(was, is) != 0 && !(goes && is[0] == '\0'))
        what = is[0] != '\0' ? "jetstream storage directory" : "jetstream storage dir";
    if (what == NULL)
        what = limit_wrong(before->max_memory_store, now->max_memory_store, goes);
    if (what == NULL)
        what = limit_wrong(before->max_file_store, now->max_file_store, goes);
    if (what != NULL)
        snprintf(why, 256, "config reload not supported for %s", what);
    return what == NULL;
}

static void mark(const struct reload_keys *k, const char *key, uint8_t out[32])
{
    memset(out, 0, 32);
    if (key != NULL)
        crypto_generichash(out, 32, (const uint8_t *) key, strlen(key), k->secret,
                           sizeof(k->secret));
}

void reload_keys_note(struct reload_keys *k, const struct options *o)
{
    mark(k, o->js_key, k->key);
    mark(k, o->js_prev_key, k->prev_key);
}

/* That there is one, and no more. */
static const char *shown(const uint8_t mark[32])
{
    return sodium_is_zero(mark, 32) ? "" : "[REDACTED]";
}

bool reload_keys_same(const struct reload_keys *k, const struct options *now, char why[256])
{
    static const char text[] = "config reload not supported for";
    struct reload_keys other = *k;
    bool same_key, same_prev;

    reload_keys_note(&other, now);
    same_key = sodium_memcmp(k->key, other.key, 32) == 0;
    same_prev = sodium_memcmp(k->prev_key, other.prev_key, 32) == 0;
    if (!same_key)
        snprintf(why, 256, "%s JetStreamKey: old=%s, new=%s", text, shown(k->key),
                 shown(other.key));
    else if (!same_prev)
        snprintf(why, 256, "%s JetStreamOldKey: old=%s, new=%s", text, shown(k->prev_key),
                 shown(other.prev_key));
    sodium_memzero(&other, sizeof(other));
    return same_key && same_prev;
}

/* ---- all of it ------------------------------------------------------------------------------- */

bool reload_possible(const struct options *before, const struct options *now, char why[256])
{
    char x[VALUE_MAX], y[VALUE_MAX];

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const struct field *f = &fields[i];
        if (f->live || !differs(before, now, f))
            continue;
        value(before, f, x);
        value(now, f, y);
        snprintf(why, 256, "config reload not supported for %s: old=%.80s, new=%.80s", f->name, x,
                 y);
        return false;
    }
    if (leafs_moved(&before->leaf, &now->leaf, why))
        return false;
    if (before->websocket.port != now->websocket.port ||
        strcmp(or_none(before->websocket.host), or_none(now->websocket.host)) != 0) {
        snprintf(why, 256, "config reload not supported for Websocket: old=%d, new=%d",
                 before->websocket.port, now->websocket.port);
        return false;
    }
    return jetstream_possible(before, now, why);
}

/* ---- users ----------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_users(const struct users *a, const struct users *b)
{
    if (a->n != b->n || !permissions_same(a->otherwise, b->otherwise))
        return false;
    for (size_t i = 0; i < a->n; i++) {
        const struct user *x = &a->list[i], *y = &b->list[i];
        if (!same_text(x->name, y->name) || !same_text(x->pass, y->pass) ||
            !same_text(x->nkey, y->nkey) || x->kinds != y->kinds ||
            !permissions_same(x->may, y->may))
            return false;
    }
    return true;
}

/* ---- what is said ---------------------------------------------------------------------------- */

struct told {
    const struct options *before, *now;
    void (*each)(void *ctx, const char *line);
    void *ctx;
};

__attribute__((format(printf, 2, 3))) static void tell(const struct told *t, const char *format,
                                                       ...)
{
    char line[VALUE_MAX + 64];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    t->each(t->ctx, line);
}

static void tell_field(const struct told *t, const struct field *f)
{
    const char *bar = strchr(f->name, '|');
    char v[VALUE_MAX];

    value(t->now, f, v);
    if (f->kind == SECRET)
        tell(t, "%s", f->name);
    else if (f->kind == ONE_OF && v[0] == 't')
        tell(t, "%.*s", (int) (bar - f->name), f->name);
    else if (f->kind == ONE_OF)
        tell(t, "%s", bar + 1);
    else if (f->kind != QUIET || v[0] != '\0')
        tell(t, "%s = %s", f->name, v);
}

static bool same_pairs(const struct tls_options *a, const struct tls_options *b)
{
    if (a->ncerts != b->ncerts)
        return false;
    for (size_t i = 0; i < a->ncerts; i++)
        if (!same_text(a->certs[i].cert_file, b->certs[i].cert_file) ||
            !same_text(a->certs[i].key_file, b->certs[i].key_file))
            return false;
    return same_text(a->cert_file, b->cert_file) && same_text(a->key_file, b->key_file);
}

static bool same_tls(const struct tls_options *a, const struct tls_options *b)
{
    return a->on == b->on && same_pairs(a, b) && same_text(a->ca_file, b->ca_file) &&
           a->verify == b->verify && a->map == b->map && same_text(a->ciphers, b->ciphers) &&
           same_text(a->curves, b->curves) && same_text(a->pinned, b->pinned) &&
           a->min_version == b->min_version;
}

static unsigned pins(const char *list)
{
    unsigned n = list != NULL;

    for (; list != NULL && *list != '\0'; list++)
        n += *list == ',';
    return n;
}

static void tell_tls(const struct told *t)
{
    const struct tls_options *a = &t->before->tls, *b = &t->now->tls;
    char time[FMT_TIME_MAX];

    if (!same_tls(a, b))
        tell(t, "tls = %s", b->on ? "enabled" : "disabled");
    if (!same_text(a->pinned, b->pinned))
        tell(t, "%u pinned_certs", pins(b->pinned));
    if (a->first != b->first)
        tell(t, "Client TLS handshake first: %s", b->first ? "true" : "false");
    if (a->first_wait_ns != b->first_wait_ns)
        tell(t, "Client TLS handshake first fallback delay: %.*s",
             (int) fmt_go_duration(time, b->first_wait_ns), time);
}

static void tell_jetstream(const struct told *t)
{
    const struct options *a = t->before, *b = t->now;
    char bytes[FMT_TIME_MAX];

    if (a->jetstream != b->jetstream)
        tell(t, "JetStream");
    if (a->jetstream && b->max_memory_store >= 0 && a->max_memory_store != b->max_memory_store)
        tell(t, "JetStream max_mem_store = %.*s",
             (int) fmt_bytes(bytes, (uint64_t) b->max_memory_store), bytes);
    if (a->jetstream && b->max_file_store >= 0 && a->max_file_store != b->max_file_store)
        tell(t, "JetStream max_file_store = %.*s",
             (int) fmt_bytes(bytes, (uint64_t) b->max_file_store), bytes);
    if (a->js_max_ack_pending != b->js_max_ack_pending ||
        a->js_max_request_batch != b->js_max_request_batch ||
        a->js_duplicate_window_ns != b->js_duplicate_window_ns)
        tell(t, "JetStream limits");
}

void reload_changes(const struct options *before, const struct options *now,
                    void (*each)(void *ctx, const char *line), void *ctx)
{
    const struct told t = {.before = before, .now = now, .each = each, .ctx = ctx};

    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (differs(before, now, &fields[i]))
            tell_field(&t, &fields[i]);
    tell_tls(&t);
    tell_jetstream(&t);
    if (!str_list_eq(&before->tags, &now->tags))
        tell(&t, "tags");
    if (!str_list_eq(&before->metadata, &now->metadata))
        tell(&t, "metadata");
    if (!same_users(&before->users, &now->users))
        tell(&t, "authorization users");
}
