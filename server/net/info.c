/* info.c - the INFO line: what a client learns about the server and about its own connection. */
#include "lib/base/buf.h"
#include "server/auth/auth.h"
#include "server/config/options.h"
#include "server/net/callout.h"
#include "server/net/conn.h"
#include "server/net/leaf.h"

#include <stdio.h>
#include <string.h>

static void put_text(struct buf *b, const char *key, const char *value)
{
    buf_printf(b, "\"%s\":\"", key);
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\')
            buf_putc(b, '\\');
        buf_putc(b, *p);
    }
    buf_puts(b, "\",");
}

/* Where clients shall go: what is advertised ("host", "host:port", "[v6]:port") or where we listen.
 */
static void put_address(struct buf *b, const char *advertise, const char *listen, uint16_t bound)
{
    struct str host = str_of(advertise != NULL ? advertise : listen);
    const char *colon = advertise != NULL ? strrchr(host.p, ':') : NULL;
    char text[256];
    int64_t port;

    if (colon != NULL && str_to_i64(str_of(colon + 1), &port) && port > 0 && port <= 65535) {
        bound = (uint16_t) port;
        host.n = (size_t) (colon - host.p);
    }
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = str_from(host.p + 1, host.n - 2);
    snprintf(text, sizeof(text), "%.*s", STR_ARG(host));
    put_text(b, "host", text);
    buf_printf(b, "\"port\":%u,", bound);
}

/* What a client of its door has to do before its CONNECT. */
static void put_door(struct buf *b, const struct conn *c)
{
    const struct options *o = c->net->env->options;
    bool tls = conn_tls_context(c) != NULL;
    struct io_addr local;

    io_sock_local(c->sock, &local);
    if (c->door == NET_WEBSOCKET) {
        put_address(b, NULL, o->websocket.host != NULL ? o->websocket.host : "0.0.0.0", local.port);
        if (tls)
            buf_puts(b, "\"tls_required\":true,\"tls_available\":true,");
        return;
    }
    put_address(b, o->client_advertise, o->host, local.port);
    if (tls && (!o->allow_non_tls || c->tls_first))
        buf_puts(b, "\"tls_required\":true,");
    if (tls && o->tls.verify)
        buf_puts(b, "\"tls_verify\":true,");
    if (tls && o->allow_non_tls)
        buf_puts(b, "\"tls_available\":true,");
}

static void put_client_info(struct conn *c, bool connect_info)
{
    const struct env *env = c->net->env;
    const struct options *o = env->options;
    struct buf b = {0};

    buf_puts(&b, "INFO {");
    put_text(&b, "server_id", env->server_id);
    put_text(&b, "server_name", env->server_name);
    put_text(&b, "version", env->version);
    buf_puts(&b, "\"proto\":1,\"go\":\"\",");
    put_door(&b, c);
    buf_printf(&b, "\"headers\":%s,", o->no_header_support ? "false" : "true");
    if (connect_announced(c))
        buf_puts(&b, "\"auth_required\":true,");
    if (c->nonce != NULL)
        put_text(&b, "nonce", c->nonce);
    buf_printf(&b, "\"max_payload\":%llu,", (unsigned long long) conn_max_payload(c));
    if (o->jetstream)
        buf_puts(&b, "\"jetstream\":true,");
    buf_printf(&b, "\"client_id\":%llu,", (unsigned long long) c->cid);
    if (c->proxy == NULL)
        put_text(&b, "client_ip", c->peer.host);
    if (o->cluster_name != NULL)
        put_text(&b, "cluster", o->cluster_name);
    if (o->domain != NULL)
        put_text(&b, "domain", o->domain);
    if (c->net->lame_duck)
        buf_puts(&b, "\"ldm\":true,");
    if (connect_info) {
        buf_puts(&b, "\"connect_info\":true,");
        put_text(&b, "remote_account", c->account->name);
        if (c->account == env->system_account)
            buf_puts(&b, "\"acc_is_sys\":true,");
    }
    if (env->keys != NULL)
        put_text(&b, "xkey", env->keys->xkey);
    buf_puts(&b, "\"api_lvl\":5}\r\n");
    conn_put(c, buf_str(&b));
    buf_free(&b);
}

void info_put(struct conn *c, bool connect_info)
{
    if (c->leaf != NULL) {
        leaf_put_info(c, connect_info);
        return;
    }
    put_client_info(c, connect_info);
}
