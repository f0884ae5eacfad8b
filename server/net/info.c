/* info.c - the INFO line: what a client learns about the server and about its own connection. */
#include "lib/base/buf.h"
#include "server/auth/auth.h"
#include "server/config/options.h"
#include "server/net/conn.h"

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

void info_put(struct conn *c, bool connect_info)
{
    const struct env *env = c->net->env;
    const struct options *o = env->options;
    struct io_addr local;
    struct buf b = {0};

    io_sock_local(c->sock, &local);
    buf_puts(&b, "INFO {");
    put_text(&b, "server_id", env->server_id);
    put_text(&b, "server_name", env->server_name);
    put_text(&b, "version", env->version);
    buf_puts(&b, "\"proto\":1,\"go\":\"\",");
    put_text(&b, "host", o->host);
    buf_printf(&b, "\"port\":%u,\"headers\":%s,", local.port,
               o->no_header_support ? "false" : "true");
    if (auth_announced(o))
        buf_puts(&b, "\"auth_required\":true,");
    if (c->nonce != NULL)
        put_text(&b, "nonce", c->nonce);
    buf_printf(&b, "\"max_payload\":%llu,", (unsigned long long) o->max_payload);
    if (o->jetstream)
        buf_puts(&b, "\"jetstream\":true,");
    buf_printf(&b, "\"client_id\":%llu,", (unsigned long long) c->cid);
    put_text(&b, "client_ip", c->peer.host);
    if (o->client_advertise != NULL && !c->net->lame_duck)
        buf_printf(&b, "\"connect_urls\":[\"%s\"],", o->client_advertise);
    if (o->domain != NULL)
        put_text(&b, "domain", o->domain);
    if (c->net->lame_duck)
        buf_puts(&b, "\"ldm\":true,");
    if (connect_info) {
        buf_puts(&b, "\"connect_info\":true,");
        put_text(&b, "remote_account", env->account->name);
    }
    buf_puts(&b, "\"api_lvl\":5}\r\n");
    conn_put(c, buf_str(&b));
    buf_free(&b);
}
