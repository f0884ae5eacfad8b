/*
 * conn_leaf.c - the life of a leaf connection.
 *
 *     accepted   GREETED --INFO sent--> (TLS) --CONNECT, credentials--> bound
 *     solicited  GREETED --INFO--> (TLS) --CONNECT sent--> --INFO with connect_info--> bound
 *
 * Who accepts is the hub, unless the other side says is_hub. The account is that of the user whom
 * CONNECT names (the block's own users, or those of clients), or of the remote's options. Bound, an
 * INFO tells the other side its account and permissions; then both tell what they want
 * (leaf_interest.c), and messages flow (leaf_msgs.c).
 *
 * Permissions. A user's may: publish is what the leaf node may send, subscribe what it may ask for,
 * in a queue group where a rule names one. Both sides keep them: who accepted refuses what comes
 * against them, whichever side the other says it is, and the spoke does not send it in the first
 * place. The spoke adds what its options deny; the hub adds what CONNECT asks not to be sent
 * (deny_pub). Both keep JetStream's own subjects apart, because both may have streams: requests
 * cross under "$JS.<domain>.API." only, and those of a server's own domain do not leave it.
 *
 * Several connections of one server to one account are a mistake or a stale one: the newest stays.
 */
#include "lib/base/mem.h"
#include "lib/base/nuid.h"
#include "lib/json/json.h"
#include "server/auth/auth.h"
#include "server/config/options.h"
#include "server/net/leaf.h"
#include "server/net/tls.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define CONNECT_NS 2000000000u
#define REFUSED_NS 30000000000
#define VERSION_NS 5000000000

/* ---- life ------------------------------------------------------------------------------------ */

void leaf_begin(struct conn *c, struct leaf_remote *remote)
{
    struct net *net = c->net;
    struct conn_leaf *l = mem_zalloc(sizeof(*l));

    l->conn = c;
    l->id = ++net->next_leaf;
    l->remote = remote;
    l->spoke = remote != NULL && !remote->options->hub;
    l->isolated = net->env->options->leaf.isolate || (remote != NULL && remote->options->isolate);
    mutex_init(&l->box_lock);
    hmap_init(&l->wants);
    c->leaf = l;
    c->verbose = c->pedantic = c->echo = false;
    list_push_back(&net->leafs, &l->link);
    net->strangers += remote == NULL;
}

bool leaf_has_room(const struct net *net)
{
    int64_t max = net->env->options->max_connections;

    return max < 0 || net->strangers <= max;
}

/* It is bound, or goes before it ever was. */
static void no_stranger(struct conn_leaf *l)
{
    l->conn->net->strangers -= l->remote == NULL && !l->bound;
}

void leaf_stop(struct conn *c)
{
    struct conn_leaf *l = c->leaf;

    if (l->stopped)
        return;
    l->stopped = true;
    list_remove(&l->link);
    no_stranger(l);
    if (l->bound)
        leaf_interest_stop(l);
    if (l->remote != NULL)
        leaf_remote_lost(l->remote);
    l->remote = NULL;
}

void leaf_free(struct conn *c)
{
    struct conn_leaf *l = c->leaf;

    if (l == NULL)
        return;
    leaf_interest_free(l);
    permissions_free(l->may);
    permissions_free(l->accepts);
    mutex_deinit(&l->box_lock);
    mem_free(l->theirs);
    mem_free(l->name);
    mem_free(l->cluster);
    mem_free(l->domain);
    mem_free(l->account);
    mem_free(l->server_id);
    mem_free(l);
    c->leaf = NULL;
}

void leaf_fail(struct conn *c, enum conn_reason reason, struct str text, int64_t wait_ns)
{
    if (c->leaf->remote != NULL)
        c->leaf->remote->wait_ns = wait_ns;
    conn_fail(c, reason, text);
}

void leaf_refuse(struct conn *c, enum conn_reason reason, struct str text, int64_t wait_ns)
{
    char who[CONN_TEXT_MAX];

    LOG_ERR(c->net->env->log, "%s - %.*s", conn_text(c, who), STR_ARG(text));
    leaf_fail(c, reason, text, wait_ns);
}

void leaf_timed_out(struct conn *c)
{
    char who[CONN_TEXT_MAX];

    if (c->tls_state == CONN_TLS_TUNNEL) {
        conn_tunnel_timed_out(c);
        return;
    }
    if (c->leaf->remote == NULL) {
        conn_fail(c, REASON_AUTH_TIMEOUT, STR("Authentication Timeout"));
        return;
    }
    LOG_ERR(c->net->env->log, "%s - %s", conn_text(c, who),
            c->leaf->got_info ? "Stale Leaf Node Connection - Closing" : "no INFO in time");
    conn_close(c, REASON_STALE);
}

static void start_timer(struct conn *c, int64_t ns)
{
    struct io *io = c->net->env->io;

    if (c->state != CONN_CLOSING)
        io_timer_start(io, &c->timer, io_now(io) + (uint64_t) ns);
}

/* ---- permissions ----------------------------------------------------------------------------- */

static void add_queue_rule(struct subject_rules *to, const char *subject, const char *queue)
{
    to->rules = mem_realloc(to->rules, (to->n + 1) * sizeof(*to->rules));
    to->rules[to->n++] = (struct subject_rule){
        .subject = mem_strdup(subject),
        .queue = queue != NULL ? mem_strdup(queue) : NULL,
    };
    to->set = true;
}

static void add_rule(struct subject_rules *to, const char *subject)
{
    add_queue_rule(to, subject, NULL);
}

static void copy_rules(struct subject_rules *to, const struct subject_rules *from)
{
    for (size_t i = 0; i < from->n; i++)
        add_queue_rule(to, from->rules[i].subject, from->rules[i].queue);
    to->set |= from->set;
}

bool leaf_may_hear(const struct conn_leaf *l, struct str subject, struct str queue)
{
    const struct permissions *p = l->accepts;

    return p == NULL || ((!p->sub_allow.set || p->sub_allow.n > 0) &&
                         permissions_may_subscribe(p, subject, queue));
}

static struct permissions *may_of(struct conn_leaf *l)
{
    if (l->may == NULL)
        l->may = mem_zalloc(sizeof(*l->may));
    return l->may;
}

/* JetStream's own subjects stay on their side, and so do requests for our own domain. */
static void deny_jetstream(struct conn_leaf *l)
{
    static const char *const own[] = {"$JS.API.>", "$KV.>", "$OBJ.>", "$JSC.>", "$NRG.>"};
    const struct env *env = l->conn->net->env;
    const char *domain = env->options->domain;
    bool system = l->conn->account == env->system_account;
    struct permissions *p = may_of(l);
    char text[CONN_TEXT_MAX];

    for (unsigned i = 0; i < (system ? 5u : 3u); i++) {
        add_rule(&p->pub_deny, own[i]);
        add_rule(&p->sub_deny, own[i]);
    }
    LOG_INF(env->log, "%s - JetStream using domains: local \"%s\", remote \"%s\"",
            conn_text(l->conn, text), domain != NULL ? domain : "",
            l->domain != NULL ? l->domain : "");
    if (domain == NULL || !env->options->jetstream)
        return;
    snprintf(text, sizeof(text), "$JS.%.100s.API.>", domain);
    add_rule(&p->pub_deny, text);
}

/* Accepted: the user's lists; what it may publish is what we ask for. */
static void take_user_permissions(struct conn *c)
{
    struct conn_leaf *l = c->leaf;
    const struct permissions *user = c->may;

    c->may = NULL; /* subscriptions of this connection are looked at here */
    l->user = c->login;
    c->login = NULL;
    if (user == NULL)
        return;
    l->accepts = mem_zalloc(sizeof(*l->accepts));
    copy_rules(&l->accepts->pub_allow, &user->pub_allow);
    copy_rules(&l->accepts->pub_deny, &user->pub_deny);
    copy_rules(&l->accepts->sub_allow, &user->sub_allow);
    copy_rules(&l->accepts->sub_deny, &user->sub_deny);
    copy_rules(&may_of(l)->sub_allow, &user->pub_allow);
    copy_rules(&may_of(l)->sub_deny, &user->pub_deny);
}

/* ---- INFO ------------------------------------------------------------------------------------ */

static void put_string(struct buf *b, const char *key, const char *value)
{
    buf_printf(b, "\"%s\":", key);
    jput_string(b, str_of(value != NULL ? value : ""));
    buf_putc(b, ',');
}

static void put_list(struct buf *b, const char *key, const struct subject_rules *r)
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
        put_list(b, "allow", allow);
    if (deny->n > 0)
        put_list(b, "deny", deny);
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
    put_string(b, "host", host);
    buf_printf(b, "\"port\":%u,", local.port);
    if (o->advertise != NULL) {
        put_string(b, "ip", o->advertise);
        buf_puts(b, "\"leafnode_urls\":[");
        buf_printf(b, "\"%s\"],", o->advertise);
    } else {
        bool v6 = strchr(host, ':') != NULL;
        buf_printf(b, "\"ip\":\"%s%s%s:%u\",\"leafnode_urls\":[\"%s%s%s:%u\"],", v6 ? "[" : "",
                   host, v6 ? "]" : "", local.port, v6 ? "[" : "", host, v6 ? "]" : "", local.port);
    }
}

static void put_mode(struct buf *b, const char *key, enum leaf_mode mode)
{
    if (mode != LEAF_NOT_SUPPORTED)
        put_string(b, key, leaf_mode_name(mode));
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
    put_string(&b, "server_id", env->server_id);
    put_string(&b, "server_name", env->server_name);
    put_string(&b, "version", env->version);
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
        put_string(&b, "domain", o->domain);
    if (bound) {
        buf_puts(&b, "\"connect_info\":true,");
        put_string(&b, "remote_account", c->account->name);
        if (c->account == env->system_account)
            buf_puts(&b, "\"acc_is_sys\":true,");
        if (l->accepts != NULL) {
            put_permission(&b, "import", &l->accepts->sub_allow, &l->accepts->sub_deny);
            put_permission(&b, "export", &l->accepts->pub_allow, &l->accepts->pub_deny);
        }
    } else {
        put_string(&b, "nonce", c->nonce);
        put_mode(&b, "compression", said_mode(c));
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
    put_string(&b, "server_id", env->server_id);
    put_string(&b, "server_name", env->server_name);
    put_string(&b, "version", env->version);
    put_mode(&b, "compression", said_mode(c));
    b.n--;
    buf_puts(&b, "}\r\n");
    conn_put(c, buf_str(&b));
    buf_free(&b);
}

/* Who dialled says so before it packs, who was dialled packed. False: it is closing. */
static bool agree(struct conn *c, const char *theirs)
{
    struct conn_leaf *l = c->leaf;
    enum leaf_mode mode = leaf_mode_agree(conn_pack_wanted(c), theirs);
    char text[120];

    l->agreed = true;
    if (mode == LEAF_MODES) {
        snprintf(text, sizeof(text), "unsupported route compression mode \"%.64s\"", theirs);
        leaf_refuse(c, REASON_PROTOCOL_VIOLATION, str_of(text), REFUSED_NS);
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

/* A subject, or a subject and a queue with a blank between. */
static void add_text(struct subject_rules *to, const char *text)
{
    struct str queue, subject = str_cut(str_of(text), ' ', &queue);
    struct buf s = {0}, q = {0};

    buf_put_str(&s, subject);
    buf_put_str(&q, queue);
    add_queue_rule(to, buf_cstr(&s), queue.n > 0 ? buf_cstr(&q) : NULL);
    buf_free(&s);
    buf_free(&q);
}

/* False: the list is longer than one may be, and is not kept in part: what is left out of it might
 * be what it forbids. */
static bool add_rules(const json_t *list, struct subject_rules *to)
{
    size_t i;
    const json_t *item;

    if (json_array_size(list) > SUBJECT_RULES_MAX)
        return false;
    json_array_foreach(list, i, item)
    {
        if (json_is_string(item))
            add_text(to, json_string_value(item));
    }
    return true;
}

static void refuse_rules(struct conn *c)
{
    char text[80];

    snprintf(text, sizeof(text), "more than %u subjects in one list", SUBJECT_RULES_MAX);
    leaf_refuse(c, REASON_PROTOCOL_VIOLATION, str_of(text), REFUSED_NS);
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

/* ---- binding --------------------------------------------------------------------------------- */

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static int64_t count_of(const struct net *net, const struct account *a)
{
    int64_t n = 0;

    LIST_FOREACH(it, &net->leafs)
    {
        const struct conn_leaf *l = LIST_ENTRY(it, struct conn_leaf, link);
        n += l->bound && l->conn->account == a && l->conn->state != CONN_CLOSING;
    }
    return n;
}

static void fail_surplus(struct conn *c)
{
    conn_fail(c, REASON_MAX_ACCOUNT_CONNECTIONS,
              STR("maximum account active connections exceeded"));
}

bool leaf_fits(struct conn *c, const struct account *a)
{
    int64_t max = atomic_load(&a->max_leafs);

    if (c->leaf->bound || max < 0 || count_of(c->net, a) < max)
        return true;
    fail_surplus(c);
    return false;
}

void leaf_close_surplus(struct net *net, const struct account *a)
{
    int64_t max = atomic_load(&a->max_leafs), n = max >= 0 ? count_of(net, a) : 0;

    for (struct list *it = net->leafs.prev; it != &net->leafs && max >= 0 && n > max;) {
        struct conn_leaf *l = LIST_ENTRY(it, struct conn_leaf, link);
        it = it->prev;
        if (!l->bound || l->conn->account != a || l->conn->state == CONN_CLOSING)
            continue;
        fail_surplus(l->conn);
        n--;
    }
}

/* An older connection of the same server to the same account has had its time. */
static void replace_older(struct conn *c)
{
    struct conn_leaf *l = c->leaf;
    char who[CONN_TEXT_MAX];

    if (l->remote != NULL || l->name == NULL || l->account == NULL)
        return;
    LIST_FOREACH_SAFE(it, tmp, &c->net->leafs)
    {
        struct conn_leaf *old = LIST_ENTRY(it, struct conn_leaf, link);
        if (old == l || old->remote != NULL || !old->bound || old->name == NULL ||
            old->conn->account != c->account || strcmp(old->name, l->name) != 0 ||
            strcmp(or_empty(old->cluster), or_empty(l->cluster)) != 0 || old->account == NULL ||
            strcmp(old->account, l->account) != 0)
            continue;
        LOG_WRN(c->net->env->log, "%s - Replacing connection from same server", conn_text(c, who));
        conn_fail(old->conn, REASON_DUPLICATE_LEAF, STR("Duplicate Remote LeafNode Connection"));
    }
}

/* One for each account and life of the server. */
static void make_lds(struct conn_leaf *l)
{
    struct net *net = l->conn->net;
    uint32_t i = l->conn->account->index;

    if (i >= net->nlds) {
        net->lds = mem_realloc(net->lds, (i + 1) * sizeof(*net->lds));
        while (net->nlds <= i)
            net->lds[net->nlds++][0] = '\0';
    }
    if (net->lds[i][0] == '\0') {
        char id[NUID_LEN + 1];
        struct nuid n;
        nuid_init(&n, net->env->prng);
        nuid_next(&n, id);
        snprintf(net->lds[i], sizeof(net->lds[i]), "$LDS.%s", id);
    }
    snprintf(l->lds, sizeof(l->lds), "%s", net->lds[i]);
}

static void start(struct conn *c)
{
    struct conn_leaf *l = c->leaf;
    char who[CONN_TEXT_MAX];

    make_lds(l);
    deny_jetstream(l);
    no_stranger(l);
    l->bound = true;
    c->state = CONN_OPEN;
    LOG_DBG(c->net->env->log, "%s - Leafnode bound to account \"%s\"", conn_text(c, who),
            c->account->name);
    leaf_interest_start(l);
    conn_start_ping(c);
}

void leaf_bind(struct conn *c)
{
    if (c->leaf->bound || c->state == CONN_CLOSING)
        return;
    take_user_permissions(c);
    replace_older(c);
    leaf_put_info(c, true);
    start(c);
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
        ok = add_rules(json_object_get(o, "deny_pub"), &may_of(l)->pub_deny);
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
    put_string(&b, "version", env->version);
    if (!leaf_remote_credentials(r, c->nonce, &b)) {
        buf_free(&b);
        conn_close(c, REASON_AUTH_FAILURE);
        return;
    }
    put_string(&b, "server_id", env->server_id);
    put_string(&b, "name", env->server_name);
    if (o->domain != NULL)
        put_string(&b, "domain", o->domain);
    if (r->options->hub)
        buf_puts(&b, "\"is_hub\":true,");
    /* A server without a cluster is one of its own. */
    put_string(&b, "cluster", env->server_name);
    if (c->headers)
        buf_puts(&b, "\"headers\":true,");
    if (o->jetstream)
        buf_puts(&b, "\"jetstream\":true,");
    if (r->options->deny_imports.n > 0)
        put_list(&b, "deny_pub", &r->options->deny_imports);
    if (r->options->request_isolation)
        buf_puts(&b, "\"isolate\":true,");
    put_mode(&b, "compress_mode", l->mode != LEAF_NOT_SUPPORTED ? l->mode : LEAF_OFF);
    put_string(&b, "remote_account", c->account->name);
    b.n--;
    buf_puts(&b, "}\r\n");
    conn_put(c, buf_str(&b));
    sodium_memzero(b.p, b.n);
    buf_free(&b);
    start_timer(c, CONNECT_NS);
}

/* The hub has spoken, and is who it should be. False: it speaks again. */
static bool go_on(struct conn *c)
{
    struct conn_leaf *l = c->leaf;

    if (!l->agreed && !agree(c, or_empty(l->theirs)))
        return false;
    if (c->pack != NULL && !l->packed_info) {
        l->packed_info = true;
        l->got_info = false;
        start_timer(c, l->remote->options->first_info_timeout_ns);
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
        start_timer(c, r->options->first_info_timeout_ns);
        if (r->url->ws)
            conn_ws_dial(c, &(struct conn_ws_dial){
                                .host = r->url->host,
                                .path = r->url->path,
                                .port = r->url->port,
                                .no_masking = r->options->no_masking,
                            });
    }
}

static bool take_permission(const json_t *p, struct subject_rules *allow,
                            struct subject_rules *deny)
{
    return add_rules(json_object_get(p, "allow"), allow) &&
           add_rules(json_object_get(p, "deny"), deny);
}

/* What the hub lets us, and what our own options deny. */
static bool take_permissions(struct conn_leaf *l, const json_t *o)
{
    const struct leaf_remote_options *r = l->remote->options;
    struct permissions *may = may_of(l);

    if (!take_permission(json_object_get(o, "export"), &may->pub_allow, &may->pub_deny) ||
        !take_permission(json_object_get(o, "import"), &may->sub_allow, &may->sub_deny))
        return false;
    if (r->deny_exports.n > 0)
        copy_rules(&may_of(l)->pub_deny, &r->deny_exports);
    if (r->deny_imports.n > 0)
        copy_rules(&may_of(l)->sub_deny, &r->deny_imports);
    return true;
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
    if (!take_permissions(l, o)) {
        refuse_rules(c);
        return;
    }
    io_timer_stop(c->net->env->io, &c->timer);
    l->remote->attempts = 0;
    LOG_INF(c->net->env->log, "%s - Leafnode connection established to \"%s\" for account: %s",
            conn_text(c, who), or_empty(l->name), c->account->name);
    start(c);
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
        agree(c, text_of(o, "compression"));
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
        r->wait_ns = REFUSED_NS;
    if (r != NULL && strstr(buf_cstr(&b), "minimum version") != NULL)
        r->wait_ns = VERSION_NS;
    buf_free(&b);
    conn_close(c, REASON_PARSE_ERROR);
}

void leaf_reload(struct conn *c, const struct options *before, const struct options *now)
{
    if (c->leaf->remote == NULL && c->state != CONN_CLOSING)
        connect_reload(c, before, now);
    if (c->leaf->bound && c->state != CONN_CLOSING)
        leaf_interest_relink(c->leaf);
}
