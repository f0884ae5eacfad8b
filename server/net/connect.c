/*
 * connect.c - the CONNECT operation: JSON to connection settings, credentials to a verdict (feature
 * map A3).
 *
 * Unknown fields are ignored, wrong types count as absent, text that is no JSON object closes the
 * connection. A second CONNECT is processed like the first.
 */
#include "lib/base/mem.h"
#include "server/auth/auth.h"
#include "server/config/options.h"
#include "server/net/conn.h"

#include <jansson.h>
#include <string.h>

static bool flag(const json_t *o, const char *key, bool absent)
{
    const json_t *v = json_object_get(o, key);
    return json_is_boolean(v) ? json_is_true(v) : absent;
}

static struct str text(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_string(v) ? str_from(json_string_value(v), json_string_length(v)) : STR_NONE;
}

static void keep(char **at, struct str s)
{
    mem_free(*at);
    *at = s.n > 0 ? mem_strndup(s.p, s.n < 256 ? s.n : 256) : NULL;
}

static bool authorised(struct conn *c, const json_t *o)
{
    struct auth_claim claim = {
        .user = text(o, "user"), .pass = text(o, "pass"), .token = text(o, "auth_token")};
    char who[160];

    if (!auth_required(c->net->env->options))
        return true;
    if (auth_check(c->net->env->options, &claim)) {
        keep(&c->user, claim.user);
        return true;
    }
    LOG_ERR(c->net->env->log, "%s - authentication error", conn_text(c, who));
    conn_fail(c, REASON_AUTH_FAILURE, STR("Authorization Violation"));
    return false;
}

static bool accept_settings(struct conn *c, const json_t *o)
{
    const json_t *protocol = json_object_get(o, "protocol");
    json_int_t version = json_is_integer(protocol) ? json_integer_value(protocol) : 0;

    if (version < 0 || version > 1) {
        conn_fail(c, REASON_BAD_PROTOCOL, STR("invalid client protocol"));
        return false;
    }
    c->protocol = (uint8_t) version;
    c->verbose = flag(o, "verbose", true);
    c->pedantic = flag(o, "pedantic", true);
    c->echo = flag(o, "echo", true);
    c->headers = flag(o, "headers", false) && !c->net->env->options->no_header_support;
    c->no_responders = flag(o, "no_responders", false);
    if (c->no_responders && !c->headers) {
        conn_fail(c, REASON_NO_RESPONDERS_HEADERS, STR("no responders requires headers support"));
        return false;
    }
    keep(&c->name, text(o, "name"));
    keep(&c->lang, text(o, "lang"));
    keep(&c->version, text(o, "version"));
    return true;
}

bool connect_process(struct conn *c, struct str json)
{
    json_error_t error;
    json_t *o = json_loadb(json.p, json.n, JSON_ALLOW_NUL, &error);
    bool ok;

    if (!json_is_object(o)) {
        json_decref(o);
        conn_fail(c, REASON_PROTOCOL_VIOLATION, STR("Unknown Protocol Operation"));
        return false;
    }
    ok = authorised(c, o) && accept_settings(c, o);
    json_decref(o);
    if (!ok)
        return false;
    c->parser.headers = c->headers;
    c->parser.connect_only = false;
    c->state = CONN_OPEN;
    if (!c->got_connect && auth_required(c->net->env->options))
        conn_start_ping(c);
    c->got_connect = true;
    conn_put_ok(c);
    return true;
}
