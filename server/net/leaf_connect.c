/*
 * leaf_connect.c - what is said on a leaf connection before it is bound: CONNECT of who joins, as
 * the one who reads it and as the one who says it, and the INFO of who is joined.
 */
#include "lib/base/mem.h"
#include "lib/json/json.h"
#include "server/config/options.h"
#include "server/net/leaf_int.h"
#include "server/net/tls.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define CONNECT_NS 2000000000u
#define VERSION_NS 5000000000

/* ---- reading JSON ---------------------------------------------------------------------------- */

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));

    return text != NULL ? text : "";
}

static bool flag_of(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

static void keep(char **at, const char *text)
{
    mem_free(*at);
    *at = text[0] != '\0' ? mem_strndup(text, strnlen(text, 256)) : NULL;
}

static void refuse_rules(struct conn *c)
{
    char text[80];

    snprintf(text, sizeof(text), "more than %u subjects in one list", SUBJECT_RULES_MAX);
    leaf_refuse(c, REASON_PROTOCOL_VIOLATION, str_of(text), LEAF_REFUSED_NS);
}

static json_t *parse(struct conn *c, struct str json)
{
    json_error_t error;
    json_t *o = json_loadb(json.p, json.n, JSON_ALLOW_NUL, &error);
    char who[CONN_TEXT_MAX];

    if (json_is_object(o))
        return o;
    /* Not the library's text: it quotes what stands there, secrets too. */
    if (o == NULL)
        LOG_ERR(c->net->env->log, "%s - bad JSON of a leaf node: none at byte %d",
                conn_text(c, who), error.position);
    else
        LOG_ERR(c->net->env->log, "%s - bad JSON of a leaf node: no object", conn_text(c, who));
    json_decref(o);
    conn_close(c, REASON_PROTOCOL_VIOLATION);
    return NULL;
}

/* ---- accepted: CONNECT ----------------------------------------------------------------------- */

static bool old_version(const char *have, const char *least)
{
    struct str a = str_of(have), b = str_of(least);

    if (b.n > 0 && b.p[0] == 'v')
        b = str_skip(b, 1);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t x = 0, y = 0;
        struct str pa = str_cut(a, '.', &a), pb = str_cut(b, '.', &b);
        str_to_u64(str_take(pa, str_index(pa, '-')), &x);
        str_to_u64(str_take(pb, str_index(pb, '-')), &y);
        if (x != y)
            return x < y;
    }
    return false;
}

static bool welcome(struct conn *c, const json_t *o)
{
    const char *least = c->net->env->options->leaf.min_version;
    char text[200];

    if (text_of(o, "lang")[0] != '\0') {
        leaf_refuse(c, REASON_WRONG_PORT, STR("attempted to connect to leaf node port"), 0);
        return false;
    }
    if (strchr(text_of(o, "cluster"), ' ') != NULL) {
        leaf_refuse(c, REASON_PROTOCOL_VIOLATION, STR("cluster name cannot contain spaces"), 0);
        return false;
    }
    if (text_of(o, "gateway")[0] != '\0') {
        snprintf(text, sizeof(text),
                 "Rejecting connection from gateway \"%.64s\" on the leafnode port",
                 text_of(o, "gateway"));
        leaf_refuse(c, REASON_WRONG_GATEWAY, str_of(text), 0);
        return false;
    }
    if (least != NULL && old_version(text_of(o, "version"), least)) {
        snprintf(text, sizeof(text),
                 "connection rejected since minimum version required is \"%.64s\"", least);
        leaf_refuse(c, REASON_MIN_VERSION, str_of(text), 0);
        return false;
    }
    return true;
}

bool leaf_take_connect(struct conn *c, struct str json)
{
    struct conn_leaf *l = c->leaf;
    json_t *o = l->remote == NULL && !l->bound ? parse(c, json) : NULL;
    bool ok = o != NULL && welcome(c, o);

    if (ok) {
        keep(&l->name, text_of(o, "name"));
        keep(&l->cluster, text_of(o, "cluster"));
        keep(&l->domain, text_of(o, "domain"));
        keep(&l->account, text_of(o, "remote_account"));
        keep(&l->server_id, text_of(o, "server_id"));
        if (!l->agreed) /* it says what it has made of our INFO: off, or nothing */
            l->mode = text_of(o, "compress_mode")[0] != '\0' ? LEAF_OFF : LEAF_NOT_SUPPORTED;
        l->spoke = flag_of(o, "is_hub");
        l->isolated |= flag_of(o, "isolate");
        ok = leaf_add_rules(json_object_get(o, "deny_pub"), &leaf_own_rules(l)->pub_deny);
        if (!ok)
            refuse_rules(c);
    }
    json_decref(o);
    return ok;
}

/* ---- solicited ------------------------------------------------------------------------------- */

static void send_connect(struct conn *c)
{
    struct conn_leaf *l = c->leaf;
    struct leaf_remote *r = l->remote;
    const struct env *env = c->net->env;
    const struct options *o = env->options;
    struct buf b = {0};

    buf_puts(&b, "CONNECT {");
    leaf_put_string(&b, "version", env->version);
    if (!leaf_remote_credentials(r, c->nonce, &b)) {
        buf_free(&b);
        conn_close(c, REASON_AUTH_FAILURE);
        return;
    }
    leaf_put_string(&b, "server_id", env->server_id);
    leaf_put_string(&b, "name", env->server_name);
    if (o->domain != NULL)
        leaf_put_string(&b, "domain", o->domain);
    if (r->options->hub)
        buf_puts(&b, "\"is_hub\":true,");
    /* A server without a cluster is one of its own. */
    leaf_put_string(&b, "cluster", env->server_name);
    if (c->headers)
        buf_puts(&b, "\"headers\":true,");
    if (o->jetstream)
        buf_puts(&b, "\"jetstream\":true,");
    if (r->options->deny_imports.n > 0)
        leaf_put_list(&b, "deny_pub", &r->options->deny_imports);
    if (r->options->request_isolation)
        buf_puts(&b, "\"isolate\":true,");
    leaf_put_mode(&b, "compress_mode", l->mode != LEAF_NOT_SUPPORTED ? l->mode : LEAF_OFF);
    leaf_put_string(&b, "remote_account", c->account->name);
    b.n--;
    buf_puts(&b, "}\r\n");
    conn_put(c, buf_str(&b));
    sodium_memzero(b.p, b.n);
    buf_free(&b);
    leaf_start_timer(c, CONNECT_NS);
}

/* The hub has spoken, and is who it should be. False: it speaks again. */
static bool go_on(struct conn *c)
{
    struct conn_leaf *l = c->leaf;

    if (!l->agreed && !leaf_agree(c, leaf_or_empty(l->theirs)))
        return false;
    if (c->pack != NULL && !l->packed_info) {
        l->packed_info = true;
        l->got_info = false;
        leaf_start_timer(c, l->remote->options->first_info_timeout_ns);
        return false;
    }
    send_connect(c);
    return true;
}

void leaf_secured(struct conn *c)
{
    const struct leaf_remote *r = c->leaf->remote;

    if (c->leaf->got_info) {
        go_on(c);
    } else {
        /* The handshake had a timer of its own. */
        leaf_start_timer(c, r->options->first_info_timeout_ns);
        if (r->url->ws)
            conn_ws_dial(c, &(struct conn_ws_dial){
                                .host = r->url->host,
                                .path = r->url->path,
                                .port = r->url->port,
                                .no_masking = r->options->no_masking,
                            });
    }
}

static bool first_info(struct conn *c, const json_t *o)
{
    struct conn_leaf *l = c->leaf;
    struct leaf_remote *r = l->remote;

    if (json_integer_value(json_object_get(o, "client_id")) == 0 ||
        !json_is_array(json_object_get(o, "leafnode_urls"))) {
        leaf_refuse(c, REASON_WRONG_PORT, STR("attempted to connect to wrong port"), 0);
        return false;
    }
    l->got_info = true;
    keep(&l->name, text_of(o, "server_name")[0] != '\0' ? text_of(o, "server_name")
                                                        : text_of(o, "server_id"));
    keep(&l->domain, text_of(o, "domain"));
    keep(&l->cluster, text_of(o, "cluster"));
    keep(&l->server_id, text_of(o, "server_id"));
    keep(&c->nonce, text_of(o, "nonce"));
    keep(&l->theirs, text_of(o, "compression"));
    c->headers = flag_of(o, "headers") && !c->net->env->options->no_header_support;
    c->parser.headers = c->headers;
    if (c->tls_state == CONN_TLS_NONE && c->ws == NULL &&
        (flag_of(o, "tls_required") || r->options->tls.on || r->url->tls)) {
        struct tls_context *tls = leaf_remote_tls(r);
        if (tls == NULL)
            conn_close(c, REASON_TLS_HANDSHAKE);
        else
            conn_tls_dial(c, tls, r->url->host);
        return false;
    }
    return go_on(c) && !flag_of(o, "info_on_connect");
}

static void finish(struct conn *c, const json_t *o)
{
    struct conn_leaf *l = c->leaf;
    char who[CONN_TEXT_MAX];

    if (!leaf_fits(c, c->account))
        return;
    keep(&l->account, text_of(o, "remote_account"));
    if (!leaf_take_permissions(l, o)) {
        refuse_rules(c);
        return;
    }
    io_timer_stop(c->net->env->io, &c->timer);
    l->remote->attempts = 0;
    LOG_INF(c->net->env->log, "%s - Leafnode connection established to \"%s\" for account: %s",
            conn_text(c, who), leaf_or_empty(l->name), c->account->name);
    leaf_start(c);
}

void leaf_take_info(struct conn *c, struct str json)
{
    struct conn_leaf *l = c->leaf;
    json_t *o;

    if (l->bound || (l->remote == NULL && l->agreed))
        return;
    o = parse(c, json);
    if (o == NULL)
        return;
    if (l->remote == NULL) /* from who dialled us it is about compression */
        leaf_agree(c, text_of(o, "compression"));
    else if (!l->got_info ? first_info(c, o) : flag_of(o, "connect_info"))
        finish(c, o);
    json_decref(o);
}

void leaf_take_error(struct conn *c, struct str text)
{
    struct leaf_remote *r = c->leaf->remote;
    struct buf b = {0};
    char who[CONN_TEXT_MAX];

    buf_put_str(&b, text);
    LOG_ERR(c->net->env->log, "%s - Leafnode Error %.*s", conn_text(c, who), STR_ARG(text));
    if (r != NULL && (strstr(buf_cstr(&b), "Loop detected") != NULL ||
                      strstr(buf_cstr(&b), "Permissions Violation") != NULL ||
                      strstr(buf_cstr(&b), "same cluster name") != NULL))
        r->wait_ns = LEAF_REFUSED_NS;
    if (r != NULL && strstr(buf_cstr(&b), "minimum version") != NULL)
        r->wait_ns = VERSION_NS;
    buf_free(&b);
    conn_close(c, REASON_PARSE_ERROR);
}
