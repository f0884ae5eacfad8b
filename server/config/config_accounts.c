/*
 * config_accounts.c - the accounts block, and `mappings` of the default account.
 *
 *     accounts {
 *         A {
 *             users: [ { user: a, password: a } ]
 *             default_permissions: { publish: ">" }
 *             exports: [ { stream: "out.>" }, { service: "ask", accounts: [B], response: stream } ]
 *             imports: [ { stream: { account: B, subject: "x" }, prefix: "b" }
 *                        { service: { account: B, subject: "ask" }, to: "b.ask" } ]
 *             mappings: { foo: bar, "a.*": [ { destination: "b.$1", weight: 40% } ] }
 *             limits: { max_connections: 10 }
 *             jetstream: { max_streams: 10 }
 *         }
 *         B: {}
 *     }
 *     accounts: [A, B]                       names alone
 *
 * What concerns several accounts (an import needs its export) is checked at the end of the block,
 * when all of them are known: accounts_check.
 */
#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/config/config_apply.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NKEY_LEN 56u

static bool unknown(struct config_context *c, const char *key, const struct conf_value *v)
{
    return v->used || config_fail(c, v, "unknown field \"%s\"", key);
}

static bool text(struct config_context *c, const char *key, const struct conf_value *v, char **out)
{
    if (v->text == NULL || v->kind == CONF_LIST || v->kind == CONF_MAP)
        return config_fail(c, v, "%s must be a text", key);
    config_keep(out, v->text);
    return true;
}

static bool number(struct config_context *c, const char *key, const struct conf_value *v,
                   int64_t *out)
{
    if (v->kind != CONF_INT)
        return config_fail(c, v, "%s must be an integer", key);
    *out = v->integer;
    return true;
}

static bool flag(struct config_context *c, const char *key, const struct conf_value *v, bool *out)
{
    if (v->kind != CONF_BOOL)
        return config_fail(c, v, "%s must be true or false", key);
    *out = v->integer != 0;
    return true;
}

static bool subject(struct config_context *c, const char *key, const struct conf_value *v,
                    char **out)
{
    return text(c, key, v, out) &&
           (subject_valid(str_of(*out)) ||
            config_fail(c, v, "Subject \"%s\" is not a valid subject", *out));
}

/* For what is found when imports and mappings are tried. */
static char *place_of(const struct conf_value *v)
{
    struct buf b = {0};
    char *text;

    buf_printf(&b, "%s:%u:%u: ", v->file, v->line, v->col);
    text = mem_strdup(buf_cstr(&b));
    buf_free(&b);
    return text;
}

/* ---- exports --------------------------------------------------------------------------------- */

static bool importers(struct config_context *c, const struct conf_value *v,
                      struct account_export *e)
{
    if (v->kind != CONF_LIST)
        return config_fail(c, v, "accounts must be a list of names");
    e->accounts = mem_zalloc((v->n + 1) * sizeof(*e->accounts));
    for (size_t i = 0; i < v->n; i++)
        if (!text(c, "accounts", v->items[i], &e->accounts[e->naccounts++]))
            return false;
    return true;
}

static bool response(struct config_context *c, const struct conf_value *v, struct account_export *e)
{
    if (v->kind != CONF_TEXT)
        return config_fail(c, v, "Expected response type to be string, got %s",
                           config_type_name(v));
    if (IS(v->text, "single", "singleton"))
        e->response = RESPONSE_SINGLE;
    else if (IS(v->text, "stream"))
        e->response = RESPONSE_STREAM;
    else if (IS(v->text, "chunk", "chunked"))
        e->response = RESPONSE_CHUNKED;
    else
        return config_fail(c, v, "Unknown response type: \"%s\"", v->text);
    return true;
}

static bool threshold(struct config_context *c, const struct conf_value *v,
                      struct account_export *e)
{
    return (v->kind == CONF_TEXT && fmt_parse_go_duration(str_of(v->text), &e->threshold_ns)) ||
           (v->kind == CONF_TEXT
                ? config_fail(c, v,
                              "Expected response threshold to be a parseable time duration, got "
                              "\"%s\"",
                              v->text)
                : config_fail(c, v,
                              "Expected response threshold to be a parseable time duration, got %s",
                              config_type_name(v)));
}

static bool token_position(struct config_context *c, const char *key, const struct conf_value *v,
                           struct account_export *e)
{
    int64_t n = 0;

    if (!number(c, key, v, &n))
        return false;
    if (n < 0 || n > SUBJECT_TOKENS_MAX)
        return config_fail(c, v, "%s must be from 1 to %u", key, SUBJECT_TOKENS_MAX);
    e->token_position = (unsigned) n;
    return true;
}

/* "50", "50%" or "headers". */
static bool sampling(struct config_context *c, const struct conf_value *v,
                     struct account_latency *l)
{
    struct str s = str_trim(str_of(v->text != NULL ? v->text : ""));
    int64_t n;

    if (v->kind != CONF_TEXT && v->kind != CONF_INT)
        return config_fail(c, v, "Expected latency sample to be a string or map/struct, got %s",
                           config_type_name(v));
    l->headers = str_eq_nocase(s, STR("headers"));
    l->sampling = 0;
    if (l->headers)
        return true;
    if (s.n > 0 && s.p[s.n - 1] == '%')
        s.n--;
    if (!str_to_i64(s, &n))
        return config_fail(c, v,
                           "Failed to parse latency sample: strconv.Atoi: parsing \"%.*s\": "
                           "invalid syntax",
                           STR_ARG(s));
    if (n < 1 || n > 100)
        return config_fail(c, v, "bad sampling percentage, should be 1-100");
    l->sampling = (unsigned) n;
    return true;
}

static bool latency(struct config_context *c, const struct conf_value *v, struct account_latency *l)
{
    l->sampling = 100;
    if (v->kind == CONF_LIST || v->kind == CONF_BOOL)
        return config_fail(c, v, "Expected latency entry to be a map/struct or string, got %s",
                           config_type_name(v));
    if (v->kind != CONF_MAP)
        return text(c, "latency", v, &l->subject);
    for (size_t i = 0; i < v->n; i++) {
        bool ok = true;
        if (IS(v->keys[i], "sampling"))
            ok = sampling(c, v->items[i], l);
        else if (IS(v->keys[i], "subject"))
            ok = subject(c, "subject", v->items[i], &l->subject);
        if (!ok)
            return false;
    }
    return l->subject != NULL || config_fail(c, v, "Latency subject required, but missing");
}

static bool export_field(struct config_context *c, const char *key, const struct conf_value *v,
                         struct account_export *e)
{
    if (IS(key, "stream", "service")) {
        if (v->text == NULL)
            return config_fail(c, v, "Expected %s name to be string, got %s", key,
                               config_type_name(v));
        if (e->subject != NULL)
            return config_fail(c, v, "Detected %s \"%s\" but already saw a %s", key, v->text,
                               e->service ? "service" : "stream");
        e->service = IS(key, "service");
        return subject(c, key, v, &e->subject);
    }
    if (IS(key, "accounts"))
        return importers(c, v, e);
    if (IS(key, "response", "response_type"))
        return response(c, v, e);
    if (IS(key, "threshold", "response_threshold", "response_max_time", "response_time"))
        return threshold(c, v, e);
    if (IS(key, "account_token_position"))
        return token_position(c, key, v, e);
    if (IS(key, "latency"))
        return latency(c, v, &e->latency);
    if (IS(key, "allow_trace"))
        return flag(c, key, v, &e->allow_trace);
    return unknown(c, key, v);
}

/* What only services have. */
static bool only_service(const char *key)
{
    return IS(key, "response", "response_type", "threshold", "response_threshold",
              "response_max_time", "response_time", "latency", "allow_trace");
}

static bool export(struct config_context *c, const struct conf_value *v, struct account_export *e)
{
    if (v->kind != CONF_MAP)
        return config_fail(c, v, "Export Items should be a map with type entry, got %s",
                           config_type_name(v));
    for (size_t i = 0; i < v->n; i++)
        if (!export_field(c, v->keys[i], v->items[i], e))
            return false;
    if (e->subject == NULL)
        return config_fail(c, v, "an export needs a stream or a service");
    for (size_t i = 0; !e->service && i < v->n; i++)
        if (only_service(v->keys[i]))
            return config_fail(c, v->items[i], "Detected %s directive on non-service",
                               IS(v->keys[i], "latency", "allow_trace") ? v->keys[i] : "response");
    return true;
}

static bool exports(struct config_context *c, const struct conf_value *v, struct account_options *a)
{
    if (v->kind != CONF_LIST)
        return config_fail(c, v, "Exports should be an array, got %s", config_type_name(v));
    if (v->n > ACCOUNT_RULES_MAX)
        return config_fail(c, v, "more than %u exports", ACCOUNT_RULES_MAX);
    a->exports = mem_realloc(a->exports, (a->nexports + v->n) * sizeof(*a->exports));
    for (size_t i = 0; i < v->n; i++) {
        struct account_export *e = &a->exports[a->nexports++];
        *e = (struct account_export){.place = v->items[i]};
        if (!export(c, v->items[i], e))
            return false;
    }
    return true;
}

/* ---- imports --------------------------------------------------------------------------------- */

static bool origin(struct config_context *c, const char *key, const struct conf_value *v,
                   struct account_import *im)
{
    if (im->subject != NULL)
        return config_fail(c, v, "Detected %s but already saw a %s", key,
                           im->service ? "service" : "stream");
    if (v->kind != CONF_MAP)
        return config_fail(c, v, "%s entry should be an account map, got %s",
                           IS(key, "service") ? "Service" : "Stream", config_type_name(v));
    im->service = IS(key, "service");
    for (size_t i = 0; i < v->n; i++) {
        bool ok;
        if (IS(v->keys[i], "account"))
            ok = text(c, "account", v->items[i], &im->account);
        else if (IS(v->keys[i], "subject"))
            ok = subject(c, "subject", v->items[i], &im->subject);
        else
            ok = unknown(c, v->keys[i], v->items[i]);
        if (!ok)
            return false;
    }
    return (im->account != NULL && im->subject != NULL) ||
           config_fail(c, v, "Expect an account name and a subject");
}

static bool import_field(struct config_context *c, const char *key, const struct conf_value *v,
                         struct account_import *im)
{
    if (IS(key, "stream", "service"))
        return origin(c, key, v, im);
    if (IS(key, "prefix"))
        return text(c, key, v, &im->prefix);
    if (IS(key, "to"))
        return text(c, key, v, &im->to);
    if (IS(key, "share"))
        return flag(c, key, v, &im->share);
    if (IS(key, "allow_trace"))
        return flag(c, key, v, &im->allow_trace);
    return unknown(c, key, v);
}

static bool import(struct config_context *c, const struct conf_value *v, struct account_import *im)
{
    if (v->kind != CONF_MAP)
        return config_fail(c, v, "Import Items should be a map with type entry, got %s",
                           config_type_name(v));
    for (size_t i = 0; i < v->n; i++)
        if (!import_field(c, v->keys[i], v->items[i], im))
            return false;
    if (im->subject == NULL)
        return config_fail(c, v, "an import needs a stream or a service");
    if (im->to != NULL && im->prefix != NULL && !im->service)
        return config_fail(c, v, "Stream import can not have a 'prefix' and a 'to' property");
    if (im->service) {
        mem_free(im->prefix);
        im->prefix = NULL;
    }
    return true;
}

static bool imports(struct config_context *c, const struct conf_value *v, struct account_options *a)
{
    if (v->kind != CONF_LIST)
        return config_fail(c, v, "Imports should be an array, got %s", config_type_name(v));
    if (v->n > ACCOUNT_RULES_MAX)
        return config_fail(c, v, "more than %u imports", ACCOUNT_RULES_MAX);
    a->imports = mem_realloc(a->imports, (a->nimports + v->n) * sizeof(*a->imports));
    for (size_t i = 0; i < v->n; i++) {
        struct account_import *im = &a->imports[a->nimports++];
        *im = (struct account_import){.place = v->items[i], .at = place_of(v->items[i])};
        if (!import(c, v->items[i], im))
            return false;
    }
    return true;
}

/* ---- mappings -------------------------------------------------------------------------------- */

static bool weight(struct config_context *c, const struct conf_value *v, unsigned *out)
{
    char *end = NULL;
    long n = v->kind == CONF_INT    ? (long) v->integer
             : v->kind == CONF_TEXT ? strtol(v->text, &end, 10)
                                    : -1;

    if (v->kind != CONF_INT && v->kind != CONF_TEXT)
        return config_fail_said(c, v, "Unknown entry type for weight of ");
    if (n < 0 || n > 100 ||
        (end != NULL && (end == v->text || (*end != '\0' && strcmp(end, "%") != 0))))
        return config_fail(c, v,
                           v->kind == CONF_INT ? "Invalid weight %s for mapping destination"
                                               : "Invalid weight \"%s\" for mapping destination",
                           v->text);
    *out = (unsigned) n;
    return true;
}

static bool dest(struct config_context *c, const struct conf_value *v, struct account_dest *d)
{
    bool weighted = false;
    char *cluster = NULL;

    if (v->kind != CONF_MAP)
        return config_fail(c, v, "Expected an entry for the mapping destination");
    for (size_t i = 0; i < v->n; i++) {
        const struct conf_value *item = v->items[i];
        bool ok;
        if (IS(v->keys[i], "dest", "destination")) {
            ok = text(c, v->keys[i], item, &d->subject);
        } else if (IS(v->keys[i], "weight")) {
            weighted = true;
            ok = weight(c, item, &d->weight);
        } else if (IS(v->keys[i], "cluster")) {
            ok = text(c, v->keys[i], item, &cluster);
        } else {
            ok = config_fail(c, item, "Unknown field \"%s\" for mapping destination", v->keys[i]);
        }
        if (!ok) {
            mem_free(cluster);
            return false;
        }
    }
    /* Of a cluster that this server is not part of: never taken. */
    if (cluster != NULL)
        d->weight = 0;
    mem_free(cluster);
    if (d->subject == NULL)
        return config_fail(c, v, "Expected an entry for the mapping destination");
    return weighted ||
           config_fail(c, v, "Missing weight for mapping destination \"%s\"", d->subject);
}

static bool dests(struct config_context *c, const struct conf_value *v, struct account_mapping *m)
{
    unsigned sum = 0;

    if (v->kind != CONF_LIST && v->kind != CONF_MAP && v->kind != CONF_TEXT)
        return config_fail(c, v, "Expected an entry for the mapping destination");
    if (v->kind == CONF_TEXT) {
        m->dests = mem_zalloc(sizeof(*m->dests));
        m->dests[m->n++].weight = 100;
        m->plain = true;
        return text(c, m->source, v, &m->dests[0].subject);
    }
    m->dests = mem_zalloc((v->kind == CONF_LIST ? v->n + 1 : 1) * sizeof(*m->dests));
    if (v->kind == CONF_MAP)
        return dest(c, v, &m->dests[m->n++]);
    for (size_t i = 0; i < v->n; i++) {
        struct account_dest *d = &m->dests[m->n++];
        if (!dest(c, v->items[i], d))
            return false;
        for (size_t k = 0; k < i; k++)
            if (strcmp(m->dests[k].subject, d->subject) == 0)
                return config_fail(c, v->items[i],
                                   "Error adding mapping for \"%s\" : duplicate entry for \"%s\"",
                                   m->source, d->subject);
        sum += d->weight;
        if (sum > 100)
            return config_fail(c, v->items[i],
                               "Error adding mapping for \"%s\" : total weight needs to be <= 100",
                               m->source);
    }
    return true;
}

static bool mappings(struct config_context *c, const struct conf_value *v,
                     struct account_options *a)
{
    if (v->kind != CONF_MAP)
        return config_fail(c, v, "mappings must be a map of subjects");
    if (v->n > ACCOUNT_RULES_MAX)
        return config_fail(c, v, "more than %u mappings", ACCOUNT_RULES_MAX);
    a->mappings = mem_realloc(a->mappings, (a->nmappings + v->n) * sizeof(*a->mappings));
    for (size_t i = 0; i < v->n; i++) {
        struct account_mapping *m = &a->mappings[a->nmappings++];
        *m = (struct account_mapping){.source = mem_strdup(v->keys[i])};
        if (v->items[i]->used) {
            mem_free(m->source);
            a->nmappings--;
            continue;
        }
        if (!subject_valid(str_of(m->source)))
            return config_fail(c, v->items[i], "Subject \"%s\" is not a valid subject", m->source);
        m->at = place_of(v->items[i]);
        if (!dests(c, v->items[i], m))
            return false;
    }
    return true;
}

bool config_mappings(struct config_context *c, const struct conf_value *v)
{
    struct account_options *a = accounts_find(&c->o->accounts, ACCOUNT_DEFAULT);

    return mappings(c, v, a != NULL ? a : accounts_add(&c->o->accounts, ACCOUNT_DEFAULT));
}

/* ---- limits ---------------------------------------------------------------------------------- */

static bool limits(struct config_context *c, const struct conf_value *v, struct account_limits *l)
{
    if (v->kind != CONF_MAP)
        return config_fail_said(c, v, "Expected account limits to be a map/struct, got ");
    for (size_t i = 0; i < v->n; i++) {
        const char *key = v->keys[i];
        int64_t *out = IS(key, "max_connections", "max_conn")     ? &l->connections
                       : IS(key, "max_subscriptions", "max_subs") ? &l->subscriptions
                       : IS(key, "max_payload", "max_pay")        ? &l->payload
                       : IS(key, "max_leafnodes", "max_leafs")    ? &l->leafnodes
                                                                  : NULL;
        if (out == NULL && v->items[i]->used)
            continue;
        if (out == NULL)
            return config_fail(c, v->items[i], "Unknown field \"%s\" parsing account limits", key);
        if (!number(c, key, v->items[i], out))
            return false;
    }
    return true;
}

static bool cluster_traffic(struct config_context *c, const char *key, const struct conf_value *v)
{
    if (v->kind == CONF_TEXT && IS(v->text, "system", "owner", ""))
        return true;
    config_fail(c, v, "Expected %s'system' or 'owner' string value for \"%s\", got ",
                v->kind == CONF_TEXT ? "" : "either ", key);
    return config_said(c, v);
}

static bool size_required(struct config_context *c, const char *key, const struct conf_value *v,
                          bool *out)
{
    *out = v->integer != 0;
    if (v->kind == CONF_BOOL)
        return true;
    config_fail(c, v, "Expected a parseable bool for \"%s\", got ", key);
    return config_said(c, v);
}

static bool jetstream_field(struct config_context *c, const char *key, const struct conf_value *v,
                            struct account_jetstream *js)
{
    int64_t *out = NULL;

    if (IS(key, "max_memory", "max_mem", "mem", "memory"))
        out = &js->max_memory;
    else if (IS(key, "max_store", "max_file", "max_disk", "store", "disk"))
        out = &js->max_store;
    else if (IS(key, "max_streams", "streams"))
        out = &js->max_streams;
    else if (IS(key, "max_consumers", "consumers"))
        out = &js->max_consumers;
    else if (IS(key, "mem_max_stream_bytes", "memory_max_stream_bytes"))
        out = &js->memory_max_stream_bytes;
    else if (IS(key, "disk_max_stream_bytes", "store_max_stream_bytes"))
        out = &js->disk_max_stream_bytes;
    else if (IS(key, "max_ack_pending"))
        out = &js->max_ack_pending;
    else if (IS(key, "max_bytes_required", "max_stream_bytes", "max_bytes"))
        return size_required(c, key, v, &js->max_bytes_required);
    else if (IS(key, "cluster_traffic"))
        return cluster_traffic(c, key, v);
    else
        return unknown(c, key, v);
    return v->kind == CONF_INT
               ? number(c, key, v, out)
               : config_fail(c, v, "Expected a parseable size for \"%s\", got ", key) ||
                     config_said(c, v);
}

static bool jetstream(struct config_context *c, const struct conf_value *v,
                      struct account_jetstream *js)
{
    if (v->kind == CONF_BOOL || v->kind == CONF_TEXT) {
        bool on = v->kind == CONF_BOOL ? v->integer != 0 : IS(v->text, "enabled", "enable");
        if (v->kind == CONF_TEXT && !on && !IS(v->text, "disabled", "disable"))
            return config_fail(c, v, "Expected 'enabled' or 'disabled' for string value, got '%s'",
                               v->text);
        js->enabled = on;
        return true;
    }
    if (v->kind != CONF_MAP)
        return config_fail(c, v, "Expected map, bool or string to define JetStream, got %s",
                           config_type_name(v));
    js->enabled = true;
    for (size_t i = 0; i < v->n; i++)
        if (!jetstream_field(c, v->keys[i], v->items[i], js))
            return false;
    return true;
}

/* ---- accounts -------------------------------------------------------------------------------- */

static bool nkey(struct config_context *c, const struct conf_value *v, struct account_options *a)
{
    if (v->kind != CONF_TEXT || strlen(v->text) != NKEY_LEN || v->text[0] != 'A' ||
        strspn(v->text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != NKEY_LEN)
        return config_fail(c, v, "Not a valid public nkey for an account: \"%s\"",
                           v->text != NULL ? v->text : "");
    config_keep(&a->nkey, v->text);
    return true;
}

static bool account_users(struct config_context *c, const struct conf_value *v,
                          const struct account_options *a)
{
    if (c->o->user != NULL)
        return config_fail(c, v, "Can not have a single user/pass and accounts");
    if (c->o->token != NULL)
        return config_fail(c, v, "Can not have a token and accounts");
    return config_users(c, v, a->name);
}

static bool trace_dest(struct config_context *c, const char *key, const struct conf_value *v,
                       struct account_options *a)
{
    if (!text(c, key, v, &a->trace_dest))
        return false;
    return subject_valid_literal(str_of(a->trace_dest)) ||
           config_fail(c, v, "Trace destination \"%s\" is not valid", a->trace_dest);
}

/* "50" or "50%". */
static bool trace_sampling(struct config_context *c, const struct conf_value *v,
                           struct account_options *a)
{
    struct str s = str_of(v->text != NULL ? v->text : "");
    int64_t n;

    if (v->kind != CONF_TEXT && v->kind != CONF_INT)
        return config_fail(c, v,
                           "Trace destination sampling field \"sampling\" should be an integer "
                           "or a percentage, got %s",
                           config_type_name(v));
    if (s.n > 0 && s.p[s.n - 1] == '%')
        s.n--;
    if (!str_to_i64(s, &n))
        return config_fail(c, v, "Invalid trace destination sampling value \"%s\"", v->text);
    if (n < 1 || n > 100)
        return config_fail(c, v,
                           "Trace destination sampling value %lld is invalid, needs to be [1..100]",
                           (long long) n);
    a->trace_sampling = (unsigned) n;
    return true;
}

static bool msg_trace(struct config_context *c, const char *key, const struct conf_value *v,
                      struct account_options *a)
{
    bool sampled = false;

    a->trace_sampling = 100;
    if (v->kind == CONF_LIST || v->kind == CONF_BOOL)
        return config_fail(c, v,
                           "Expected account message trace \"%s\" to be a string or a map/struct, "
                           "got %s",
                           key, config_type_name(v));
    if (v->kind != CONF_MAP)
        return trace_dest(c, key, v, a);
    for (size_t i = 0; i < v->n; i++) {
        bool ok;
        if (IS(v->keys[i], "dest"))
            ok = trace_dest(c, "dest", v->items[i], a);
        else if (IS(v->keys[i], "sampling"))
            ok = sampled = trace_sampling(c, v->items[i], a);
        else
            ok = v->items[i]->used ||
                 config_fail(c, v->items[i],
                             "Unknown field \"%s\" parsing account message trace map/struct \"%s\"",
                             v->keys[i], key);
        if (!ok)
            return false;
    }
    return a->trace_dest != NULL || !sampled ||
           config_fail(c, v, "Trace destination sampling ignored since no destination was set");
}

static bool account_field(struct config_context *c, const char *key, const struct conf_value *v,
                          struct account_options *a)
{
    if (IS(key, "users"))
        return account_users(c, v, a);
    if (IS(key, "nkey"))
        return nkey(c, v, a);
    if (IS(key, "exports"))
        return exports(c, v, a);
    if (IS(key, "imports"))
        return imports(c, v, a);
    if (IS(key, "mappings", "maps"))
        return mappings(c, v, a);
    if (IS(key, "limits"))
        return limits(c, v, &a->limits);
    if (IS(key, "jetstream"))
        return jetstream(c, v, &a->js);
    if (IS(key, "default_permissions"))
        return config_permissions(c, v, &a->otherwise);
    if (IS(key, "msg_trace", "trace_dest"))
        return msg_trace(c, key, v, a);
    return unknown(c, key, v);
}

static struct account_options *add(struct config_context *c, const struct conf_value *v,
                                   const char *name)
{
    struct accounts *all = &c->o->accounts;

    if (strcmp(name, ACCOUNT_DEFAULT) == 0)
        config_fail(c, v, "\"%s\" is a Reserved Account", name);
    else if (accounts_find(all, name) != NULL)
        config_fail(c, v, "Duplicate Account Entry: %s", name);
    else if (all->n == ACCOUNTS_MAX)
        config_fail(c, v, "more than %u accounts", ACCOUNTS_MAX);
    else
        return accounts_add(all, name);
    return NULL;
}

static bool account(struct config_context *c, const char *name, const struct conf_value *v)
{
    struct account_options *a;
    size_t first = c->o->users.n;

    if (v->kind != CONF_MAP)
        return config_fail(c, v, "Expected map entries for accounts");
    a = add(c, v, name);
    if (a == NULL)
        return false;
    for (size_t i = 0; i < v->n; i++)
        if (!account_field(c, v->keys[i], v->items[i], a))
            return false;
    for (size_t i = first; i < c->o->users.n; i++)
        c->o->users.list[i].otherwise = a->otherwise;
    return true;
}

static void forget_places(struct accounts *all)
{
    for (size_t k = 0; k < all->n; k++) {
        for (size_t i = 0; i < all->list[k].nexports; i++)
            all->list[k].exports[i].place = NULL;
        for (size_t i = 0; i < all->list[k].nimports; i++)
            all->list[k].imports[i].place = NULL;
    }
}

static bool check(struct config_context *c)
{
    const struct conf_value *place = NULL;
    struct buf why = {0};
    bool ok = accounts_check(&c->o->accounts, &why, &place);

    if (!ok)
        config_fail(c, place, "%s", buf_cstr(&why));
    buf_free(&why);
    forget_places(&c->o->accounts);
    return ok;
}

bool config_accounts(struct config_context *c, const struct conf_value *v)
{
    if (v->kind == CONF_LIST) {
        for (size_t i = 0; i < v->n; i++) {
            const struct conf_value *item = v->items[i];
            if (item->text == NULL)
                return config_fail(c, item, "Expected map entries for accounts");
            if (add(c, item, item->text) == NULL)
                return false;
        }
        return true;
    }
    if (v->kind != CONF_MAP)
        return config_fail(c, v, "Expected map entries for accounts");
    for (size_t i = 0; i < v->n; i++)
        if (!v->items[i]->used && !account(c, v->keys[i], v->items[i]))
            return false;
    return check(c);
}
