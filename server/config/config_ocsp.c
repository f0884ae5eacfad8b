/*
 * config_ocsp.c - the state of certificates.
 *
 *     ocsp: true                          or { mode: always, url: "http://..." } or urls: [ ... ]
 *     ocsp_cache: true                    or { type: local, local_store: "_rc_",
 *                                              preserve_revoked: false, save_interval: 300 }
 *     tls { ocsp_peer: true }             or { verify: true, ca_timeout: 2, allowed_clockskew: 30,
 *                                              warn_only: false, unknown_is_good: false,
 *                                              allow_when_ca_unreachable: false,
 *                                              cache_ttl_when_next_update_unset: 3600 }
 */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "server/config/config_apply.h"

#include <string.h>
#include <strings.h>

#define SECOND 1000000000ll

/* ---- ocsp ------------------------------------------------------------------------------------ */

static bool mode(struct config_context *c, const struct conf_value *v, enum ocsp_mode *out)
{
    static const char *const modes[] = {"auto", "always", "must", "never"};

    for (size_t i = 0; v->kind == CONF_TEXT && i < ARRAY_LEN(modes); i++)
        if (strcasecmp(v->text, modes[i]) == 0) {
            *out = (enum ocsp_mode) i;
            return true;
        }
    return config_fail(c, v, "error parsing ocsp config: unsupported ocsp mode %s",
                       config_type_name(v));
}

static bool url(struct config_context *c, const struct conf_value *v)
{
    if (v->kind != CONF_TEXT ||
        (strncasecmp(v->text, "http://", 7) != 0 && strncasecmp(v->text, "https://", 8) != 0))
        return config_fail(c, v, "error parsing ocsp config: a responder is an http URL");
    str_list_add(&c->o->ocsp.urls, str_of(v->text));
    return true;
}

static bool urls(struct config_context *c, const struct conf_value *v)
{
    if (v->kind != CONF_LIST)
        return config_fail(c, v, "error parsing ocsp config: unsupported type %s",
                           config_type_name(v));
    for (size_t i = 0; i < v->n; i++)
        if (!url(c, v->items[i]))
            return false;
    return true;
}

static bool ocsp_field(struct config_context *c, const char *key, const struct conf_value *v)
{
    if (strcasecmp(key, "mode") == 0)
        return mode(c, v, &c->o->ocsp.mode);
    if (strcasecmp(key, "url") == 0)
        return url(c, v);
    if (strcasecmp(key, "urls") == 0)
        return urls(c, v);
    return v->used || config_fail(c, v, "error parsing ocsp config: unsupported field string");
}

bool config_ocsp(struct config_context *c, const struct conf_value *v)
{
    struct ocsp_options *o = &c->o->ocsp;

    str_list_free(&o->urls);
    o->mode = OCSP_MODE_AUTO;
    if (v->kind == CONF_BOOL) {
        o->mode = v->integer != 0 ? OCSP_MODE_AUTO : OCSP_MODE_NEVER;
        return true;
    }
    if (v->kind != CONF_MAP)
        return config_fail(c, v, "error parsing ocsp config: unsupported type %s",
                           config_type_name(v));
    for (size_t i = 0; i < v->n; i++)
        if (!ocsp_field(c, v->keys[i], v->items[i]))
            return false;
    return true;
}

/* ---- ocsp_cache ------------------------------------------------------------------------------ */

#define CACHE_TEXT "error parsing OCSP peer cache config, "

static bool cache_type(struct config_context *c, const struct conf_value *v)
{
    if (strcasecmp(v->text, "none") == 0)
        c->o->ocsp_cache.none = true;
    else if (strcasecmp(v->text, "local") != 0)
        return config_fail(c, v, CACHE_TEXT "unknown type [%s]", v->text);
    return true;
}

static bool cache_field(struct config_context *c, const char *key, const struct conf_value *v)
{
    struct ocsp_cache_options *o = &c->o->ocsp_cache;

    if (strcasecmp(key, "type") == 0 && v->kind == CONF_TEXT)
        return cache_type(c, v);
    if (strcasecmp(key, "local_store") == 0 && v->kind == CONF_TEXT) {
        config_keep(&o->local_store, v->text);
        return true;
    }
    if (strcasecmp(key, "preserve_revoked") == 0 && v->kind == CONF_BOOL) {
        o->preserve_revoked = v->integer != 0;
        return true;
    }
    if (strcasecmp(key, "save_interval") == 0) {
        if (v->kind != CONF_INT && v->kind != CONF_FLOAT && v->kind != CONF_TEXT)
            return config_fail(c, v, CACHE_TEXT "conversion error: unexpected type");
        if (!config_duration(
                c, v, "error parsing tls peer config, conversion error: ", &o->save_interval_ns))
            return false;
        if (o->save_interval_ns < SECOND)
            o->save_interval_ns = SECOND;
        return true;
    }
    return v->used || config_fail(c, v, CACHE_TEXT "unknown field [\"%s\"]", key);
}

bool config_ocsp_cache(struct config_context *c, const struct conf_value *v)
{
    struct ocsp_cache_options *o = &c->o->ocsp_cache;

    mem_free(o->local_store);
    *o = (struct ocsp_cache_options){0};
    if (v->kind == CONF_BOOL) {
        o->none = v->integer == 0;
        return true;
    }
    if (v->kind != CONF_MAP)
        return config_fail(c, v, "error parsing tags: unsupported type %s", config_type_name(v));
    for (size_t i = 0; i < v->n; i++)
        if (!cache_field(c, v->keys[i], v->items[i]))
            return false;
    return true;
}

/* ---- ocsp_peer ------------------------------------------------------------------------------- */

static bool peer_flag(struct config_context *c, const char *key, const struct conf_value *v)
{
    struct ocsp_peer_options *o = &c->o->tls.ocsp_peer;
    const struct {
        const char *name;
        bool *at;
    } flags[] = {{"verify", &o->verify},
                 {"warn_only", &o->warn_only},
                 {"unknown_is_good", &o->unknown_is_good},
                 {"allow_when_ca_unreachable", &o->allow_when_ca_unreachable}};

    for (size_t i = 0; v->kind == CONF_BOOL && i < ARRAY_LEN(flags); i++)
        if (strcasecmp(key, flags[i].name) == 0) {
            *flags[i].at = v->integer != 0;
            return true;
        }
    return v->used ||
           config_fail(c, v, "error parsing tls peer config, unknown field [\"%s\"]", key);
}

static bool peer_field(struct config_context *c, const char *key, const struct conf_value *v)
{
    struct ocsp_peer_options *o = &c->o->tls.ocsp_peer;
    const struct {
        const char *name;
        int64_t *at;
    } times[] = {{"ca_timeout", &o->timeout_ns},
                 {"allowed_clockskew", &o->skew_ns},
                 {"cache_ttl_when_next_update_unset", &o->ttl_ns}};

    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        if (strcasecmp(key, times[i].name) != 0)
            continue;
        if (v->kind != CONF_INT && v->kind != CONF_FLOAT && v->kind != CONF_TEXT)
            return config_fail(c, v,
                               "error parsing tls peer config, conversion error: unexpected type");
        return config_duration(c, v,
                               "error parsing tls peer config, conversion error: ", times[i].at);
    }
    return peer_flag(c, key, v);
}

bool config_ocsp_peer(struct config_context *c, const struct conf_value *v)
{
    struct ocsp_peer_options *o = &c->o->tls.ocsp_peer;

    *o = (struct ocsp_peer_options){
        .timeout_ns = 2 * SECOND, .skew_ns = 30 * SECOND, .ttl_ns = 3600 * SECOND};
    if (v->kind == CONF_BOOL) {
        o->verify = v->integer != 0;
        return true;
    }
    if (v->kind != CONF_MAP) /* the type of the block, as the peer says */
        return config_fail(c, v,
                           "error parsing ocsp peer config: unsupported type "
                           "map[string]interface {}");
    for (size_t i = 0; i < v->n; i++)
        if (!peer_field(c, v->keys[i], v->items[i]))
            return false;
    if (o->timeout_ns == 0)
        o->timeout_ns = 2 * SECOND;
    return true;
}
