/*
 * leaf_info.c - the INFOs of a leaf connection: who we are, what was agreed on about compression,
 * and, once it is bound, the other side's account and what it may.
 */
#include "lib/base/fmt.h"
#include "lib/json/json.h"
#include "server/config/options.h"
#include "server/net/leaf_int.h"

#include <stdio.h>
#include <string.h>

void leaf_put_string(struct buf *b, const char *key, const char *value)
{
    buf_printf(b, "\"%s\":", key);
    jput_string(b, str_of(value != NULL ? value : ""));
    buf_putc(b, ',');
}

void leaf_put_list(struct buf *b, const char *key, const struct subject_rules *r)
{
    struct buf text = {0};

    buf_printf(b, "\"%s\":[", key);
    for (size_t i = 0; i < r->n; i++) {
        const char *queue = r->rules[i].queue;
        buf_clear(&text);
        buf_printf(&text, "%s%s%s", r->rules[i].subject, queue != NULL ? " " : "",
                   queue != NULL ? queue : "");
        if (i > 0)
            buf_putc(b, ',');
        jput_string(b, buf_str(&text));
    }
    buf_free(&text);
    buf_puts(b, "],");
}

/* Both empty: nothing. */
static void put_permission(struct buf *b, const char *key, const struct subject_rules *allow,
                           const struct subject_rules *deny)
{
    if (allow->n + deny->n == 0)
        return;
    buf_printf(b, "\"%s\":{", key);
    if (allow->n > 0)
        leaf_put_list(b, "allow", allow);
    if (deny->n > 0)
        leaf_put_list(b, "deny", deny);
    b->n--;
    buf_puts(b, "},");
}

static void put_address(struct buf *b, const struct conn *c)
{
    const struct leaf_options *o = &c->net->env->options->leaf;
    struct io_addr local;
    const char *host;

    io_sock_local(c->sock, &local);
    host = o->host != NULL && strcmp(o->host, "0.0.0.0") != 0 ? o->host : local.host;
    leaf_put_string(b, "host", host);
    buf_printf(b, "\"port\":%u,", local.port);
    if (o->advertise != NULL) {
        leaf_put_string(b, "ip", o->advertise);
        buf_puts(b, "\"leafnode_urls\":[");
        buf_printf(b, "\"%s\"],", o->advertise);
    } else {
        char url[FMT_HOST_PORT_MAX];
        fmt_host_port(url, host, local.port);
        buf_printf(b, "\"ip\":\"%s\",\"leafnode_urls\":[\"%s\"],", url, url);
    }
}

void leaf_put_mode(struct buf *b, const char *key, enum leaf_mode mode)
{
    if (mode != LEAF_NOT_SUPPORTED)
        leaf_put_string(b, key, leaf_mode_name(mode));
}

/* What INFO says: what was agreed on, but that automatic it is. */
static enum leaf_mode said_mode(const struct conn *c)
{
    enum leaf_mode wanted = conn_pack_wanted(c);

    return c->leaf->agreed && wanted != LEAF_S2_AUTO ? c->leaf->mode : wanted;
}

void leaf_put_info(struct conn *c, bool bound)
{
    const struct env *env = c->net->env;
    const struct options *o = env->options;
    const struct conn_leaf *l = c->leaf;
    struct buf b = {0};

    if (l->remote != NULL)
        return;
    buf_puts(&b, "INFO {");
    leaf_put_string(&b, "server_id", env->server_id);
    leaf_put_string(&b, "server_name", env->server_name);
    leaf_put_string(&b, "version", env->version);
    buf_puts(&b, "\"proto\":0,\"go\":\"\",");
    put_address(&b, c);
    buf_printf(&b, "\"headers\":%s,\"auth_required\":true,",
               o->no_header_support ? "false" : "true");
    if (env->tls_leaf != NULL && c->ws == NULL)
        buf_puts(&b, "\"tls_required\":true,");
    if (env->tls_leaf != NULL && c->ws == NULL && o->leaf.tls.verify)
        buf_puts(&b, "\"tls_verify\":true,");
    buf_printf(&b, "\"max_payload\":%llu,", (unsigned long long) o->max_payload);
    if (o->jetstream)
        buf_puts(&b, "\"jetstream\":true,");
    buf_printf(&b, "\"client_id\":%llu,\"info_on_connect\":true,", (unsigned long long) c->cid);
    if (o->domain != NULL)
        leaf_put_string(&b, "domain", o->domain);
    if (bound) {
        buf_puts(&b, "\"connect_info\":true,");
        leaf_put_string(&b, "remote_account", c->account->name);
        if (c->account == env->system_account)
            buf_puts(&b, "\"acc_is_sys\":true,");
        if (l->accepts != NULL) {
            put_permission(&b, "import", &l->accepts->sub_allow, &l->accepts->sub_deny);
            put_permission(&b, "export", &l->accepts->pub_allow, &l->accepts->pub_deny);
        }
    } else {
        leaf_put_string(&b, "nonce", c->nonce);
        leaf_put_mode(&b, "compression", said_mode(c));
    }
    buf_puts(&b, "\"api_lvl\":5}\r\n");
    conn_put(c, buf_str(&b));
    buf_free(&b);
}

/* What a hub has to know to pack: nothing else of it counts. */
static void put_chosen(struct conn *c)
{
    const struct env *env = c->net->env;
    struct buf b = {0};

    buf_puts(&b, "INFO {");
    leaf_put_string(&b, "server_id", env->server_id);
    leaf_put_string(&b, "server_name", env->server_name);
    leaf_put_string(&b, "version", env->version);
    leaf_put_mode(&b, "compression", said_mode(c));
    b.n--;
    buf_puts(&b, "}\r\n");
    conn_put(c, buf_str(&b));
    buf_free(&b);
}

/* Who dialled says so before it packs, who was dialled packed. False: it is closing. */
bool leaf_agree(struct conn *c, const char *theirs)
{
    struct conn_leaf *l = c->leaf;
    enum leaf_mode mode = leaf_mode_agree(conn_pack_wanted(c), theirs);
    char text[120];

    l->agreed = true;
    if (mode == LEAF_MODES) {
        snprintf(text, sizeof(text), "unsupported route compression mode \"%.64s\"", theirs);
        leaf_refuse(c, REASON_PROTOCOL_VIOLATION, str_of(text), LEAF_REFUSED_NS);
        return false;
    }
    l->mode = mode;
    if (mode < LEAF_S2_AUTO)
        return true;
    if (l->remote == NULL) {
        conn_pack_start(c);
        leaf_put_info(c, false);
        return true;
    }
    put_chosen(c);
    conn_pack_start(c);
    return true;
}
