/*
 * leafz.c - /leafz: connections to other servers; and what /varz says of the leafnodes and
 * websocket blocks.
 *
 * All leaf connections are worker 0's, but nothing here knows that: every worker gives its own.
 */
#include "lib/base/mem.h"
#include "server/config/options.h"
#include "server/monitor/monitor_int.h"

#include <stdio.h>
#include <string.h>

static const struct param params[] = {
    {"subs", PARAM_BOOL, ASKED(subs)},
    {"acc", PARAM_TEXT, ASKED(account)},
};
static const struct json_field fields[] = {
    {"subscriptions", JSON_BOOL_FIELD, ASKED(subs), 0, NULL},
    {"account", JSON_STRING_FIELD, ASKED(account), 0, NULL},
};

/* ---- a worker's part ------------------------------------------------------------------------- */

struct gathering {
    const struct asked *asked;
    json_t *list;
};

static void add_sub(void *ctx, struct str subject)
{
    json_array_append_new(ctx, json_stringn(subject.p, subject.n));
}

static void add_leaf(void *ctx, const struct net_leaf_info *l)
{
    struct gathering *g = ctx;
    char rtt[32];
    json_t *o, *subs;

    if (g->asked->account != NULL && strcmp(g->asked->account, l->account) != 0)
        return;
    o = json_object();
    put_int(o, "id", (int64_t) l->id);
    put_str(o, "name", l->name);
    put_bool(o, "is_spoke", l->is_spoke);
    put_true(o, "is_isolated", l->is_isolated);
    put_str(o, "account", l->account);
    put_str(o, "ip", l->ip);
    put_int(o, "port", l->port);
    if (l->rtt_ns > 0) {
        snprintf(rtt, sizeof(rtt), "%.3fµs", (double) l->rtt_ns / 1e3);
        put_str(o, "rtt", rtt);
    }
    put_int(o, "in_msgs", (int64_t) l->in_msgs);
    put_int(o, "out_msgs", (int64_t) l->out_msgs);
    put_int(o, "in_bytes", (int64_t) l->in_bytes);
    put_int(o, "out_bytes", (int64_t) l->out_bytes);
    put_int(o, "subscriptions", (int64_t) l->subscriptions);
    if (g->asked->subs) {
        subs = json_array();
        net_leaf_subs(l, add_sub, subs);
        json_object_set_new(o, "subscriptions_list", subs);
    }
    put_str(o, "compression", l->compression);
    if (l->proxy != NULL)
        json_object_set_new(o, "proxy", json_pack("{s:s}", "key", l->proxy));
    json_array_append_new(g->list, o);
}

static void step(struct query *q, struct env *env, struct part *part)
{
    struct gathering g = {.asked = &q->asked, .list = json_array()};

    net_leafs_each(env->net, add_leaf, &g);
    part->subs = g.list;
}

static json_t *finish(struct query *q)
{
    json_t *o = json_object(), *all = json_array();

    for (unsigned i = 0; i < q->workers; i++)
        if (q->parts[i].subs != NULL)
            json_array_extend(all, q->parts[i].subs);
    put_identity_and_now(o, q);
    put_int(o, "leafnodes", (int64_t) json_array_size(all));
    json_object_set_new(o, "leafs", all);
    return o;
}

const struct document leafz_document = {
    .path = "/leafz",
    .name = "LEAFZ",
    .params = params,
    .nparams = ARRAY_LEN(params),
    .fields = fields,
    .nfields = ARRAY_LEN(fields),
    .step = step,
    .finish = finish,
};

/* ---- varz ------------------------------------------------------------------------------------ */

static json_t *subjects(const struct subject_rules *r)
{
    json_t *list = json_array();

    for (size_t i = 0; i < r->n; i++)
        json_array_append_new(list, json_string(r->rules[i].subject));
    return list;
}

/* Without credentials. */
static json_t *urls_of(const struct leaf_remote_options *r)
{
    json_t *list = json_array();
    char text[300];

    for (size_t i = 0; i < r->nurls; i++) {
        snprintf(text, sizeof(text), "%.250s:%u", r->urls[i].host, r->urls[i].port);
        json_array_append_new(list, json_string(text));
    }
    return list;
}

static json_t *remote_varz(const struct leaf_remote_options *r)
{
    json_t *o = json_object(), *deny;

    put_str(o, "local_account", r->account != NULL ? r->account : ACCOUNT_DEFAULT);
    if (r->tls.on)
        put_seconds(o, "tls_timeout", r->tls.timeout_ns > 0 ? r->tls.timeout_ns : 2000000000);
    put_true(o, "tls_ocsp_peer_verify", r->tls.on && r->tls.ocsp_peer.verify);
    json_object_set_new(o, "urls", urls_of(r));
    if (r->deny_exports.n + r->deny_imports.n == 0)
        return o;
    deny = json_object();
    if (r->deny_exports.n > 0)
        json_object_set_new(deny, "exports", subjects(&r->deny_exports));
    if (r->deny_imports.n > 0)
        json_object_set_new(deny, "imports", subjects(&r->deny_imports));
    json_object_set_new(o, "deny", deny);
    return o;
}

json_t *leaf_varz(const struct monitor_host *h, uint16_t port)
{
    const struct leaf_options *l = &h->options->leaf;
    json_t *o = json_object(), *remotes;

    if (port != 0) {
        put_str(o, "host", l->host != NULL ? l->host : "0.0.0.0");
        put_int(o, "port", port);
        put_seconds(o, "auth_timeout", l->auth_timeout_ns);
        put_seconds(o, "tls_timeout", l->tls.timeout_ns);
        put_true(o, "tls_required", l->tls.on);
        put_true(o, "tls_verify", l->tls.on && l->tls.verify);
        put_true(o, "tls_ocsp_peer_verify", l->tls.on && l->tls.ocsp_peer.verify);
        put_cert_end(o, h, MONITOR_LEAFS);
    }
    if (l->nremotes == 0)
        return o;
    remotes = json_array();
    for (size_t i = 0; i < l->nremotes; i++)
        json_array_append_new(remotes, remote_varz(&l->remotes[i]));
    json_object_set_new(o, "remotes", remotes);
    return o;
}

/* A list with commas; nothing when it is NULL. */
static void put_words(json_t *o, const char *key, const char *words)
{
    struct str left = str_of(words), one;
    json_t *list;

    if (words == NULL)
        return;
    list = json_array();
    while (left.p != NULL) {
        one = str_cut(left, ',', &left);
        json_array_append_new(list, json_stringn(one.p, one.n));
    }
    json_object_set_new(o, key, list);
}

json_t *websocket_varz(const struct monitor_host *h, uint16_t port)
{
    const struct websocket_options *w = &h->options->websocket;
    json_t *o = json_object();

    if (port == 0)
        return o;
    put_str(o, "host", w->host != NULL ? w->host : "0.0.0.0");
    put_int(o, "port", port);
    put_text(o, "advertise", w->advertise);
    put_text(o, "no_auth_user", w->no_auth_user);
    put_text(o, "jwt_cookie", w->jwt_cookie);
    if (w->handshake_timeout_ns > 0)
        put_int(o, "handshake_timeout", w->handshake_timeout_ns);
    if (w->auth_timeout_ns > 0)
        put_seconds(o, "auth_timeout", w->auth_timeout_ns);
    put_true(o, "no_tls", w->no_tls);
    put_true(o, "tls_map", w->tls.map);
    put_words(o, "tls_pinned_certs", w->tls.pinned);
    put_true(o, "tls_ocsp_peer_verify", w->tls.ocsp_peer.verify);
    put_cert_end(o, h, MONITOR_WEBSOCKET);
    put_true(o, "same_origin", w->same_origin);
    put_words(o, "allowed_origins", w->origins);
    put_true(o, "compression", w->compression);
    return o;
}
