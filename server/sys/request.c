/*
 * request.c - $SYS.REQ.SERVER and $SYS.REQ.ACCOUNT: from a subject to a document, and its answer.
 *
 *     $SYS.REQ.SERVER.PING                  statsz
 *     $SYS.REQ.SERVER.{PING,<id>}.<NAME>    a document, see services[]
 *     $SYS.REQ.SERVER.<id>.<NAME>           what is done to this server: RELOAD, KICK, LDM
 *     $SYS.REQ.ACCOUNT.<account>.<NAME>     a document about an account; STATZ of PING: all
 *     $SYS.DEBUG.SUBSCRIBERS                a number: how many subscriptions the account of who
 * asks has for "subject" or "subject group"
 *
 * Answers are {server, data} or {server, error{code, description}}; statsz has its numbers in
 * `statsz`, IDZ and CONNS have no envelope. Documents come packed when the request's header wants
 * that (pack.c). A body may name servers (server_name, host, cluster,
 * domain, tags) and who is not meant says nothing. 400 is a body that can not be read, 500 is
 * everything else that goes wrong.
 */
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "server/net/net.h"
#include "server/sys/sys_int.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define SUBSCRIBERS "$SYS.DEBUG.SUBSCRIBERS"

/* ---- answers --------------------------------------------------------------------------------- */

static void answer(struct sys_item *i, json_t *data)
{
    json_t *o = json_object();

    json_object_set_new(o, "server", sys_server(i->sys));
    if (data != NULL)
        json_object_set(o, "data", data);
    sys_publish_answer(i, o);
    sys_item_free(i);
}

/* A document that could not be made leaves a null where it would be. */
static void fail_with(struct sys_item *i, int code, const char *text, bool null_data)
{
    json_t *o = json_object(), *e = json_object();

    json_object_set_new(o, "server", sys_server(i->sys));
    if (null_data)
        json_object_set_new(o, "data", json_null());
    json_object_set_new(e, "code", json_integer(code));
    json_object_set_new(e, "description", json_string(text));
    json_object_set_new(o, "error", e);
    sys_publish_json(i->sys, i->reply, o);
    sys_item_free(i);
}

static void fail(struct sys_item *i, int code, const char *text)
{
    fail_with(i, code, text, false);
}

static void made(void *ctx, const struct report *r)
{
    struct sys_item *i = ctx;

    if (r->skip)
        sys_item_free(i);
    else if (r->error != NULL)
        fail_with(i, 500, r->error, true);
    else
        answer(i, (json_t *) r->json);
}

static void made_idz(void *ctx, const struct report *r)
{
    struct sys_item *i = ctx;

    sys_publish_json(i->sys, i->reply, json_incref(r->json));
    sys_item_free(i);
}

static void made_statsz(void *ctx, const struct report *r)
{
    struct sys_item *i = ctx;
    json_t *o = json_object();
    char subject[128];

    snprintf(subject, sizeof(subject), "$SYS.SERVER.%s.STATSZ", i->sys->env->server_id);
    json_object_set_new(o, "server", sys_server(i->sys));
    json_object_set(o, "statsz", r->json);
    sys_publish_json(i->sys, i->reply[0] != '\0' ? i->reply : subject, o);
    sys_item_free(i);
}

/* ---- which servers are meant ----------------------------------------------------------------- */

static bool meant(const char *wanted, const char *is, bool exact)
{
    if (wanted == NULL)
        return true;
    return exact ? strcmp(wanted, is) == 0 : strstr(is, wanted) != NULL;
}

static bool has_tags(const struct options *o, const struct str_list *wanted)
{
    for (size_t i = 0; i < wanted->n; i++) {
        bool has = false;
        for (size_t k = 0; k < o->tags.n && !has; k++)
            has = str_eq_nocase(str_of(o->tags.items[k]), str_of(wanted->items[i]));
        if (!has)
            return false;
    }
    return true;
}

static bool meant_here(const struct sys *s, const struct asked *a)
{
    const struct monitor_host *h = reports_host(s->host.reports);
    const char *domain = h->options->domain;

    return meant(a->server_name, h->server_name, a->exact_match) &&
           meant(a->host, h->options->host, a->exact_match) &&
           meant(a->cluster, "", a->exact_match) && has_tags(h->options, &a->tags) &&
           (a->domain == NULL || (domain != NULL && strcmp(domain, a->domain) == 0));
}

/* False: it is answered, or nothing is to be said. */
static bool read_body(struct sys_item *i, const struct document *d)
{
    struct buf err = {0};
    bool ok = asked_read(&i->asked, d, buf_str(&i->body), &err);

    if (!ok)
        fail(i, 400, buf_cstr(&err));
    else if (!meant_here(i->sys, &i->asked)) {
        sys_item_free(i);
        ok = false;
    }
    buf_free(&err);
    return ok;
}

static void report(struct sys_item *i, const struct document *d,
                   void (*done)(void *ctx, const struct report *r))
{
    report_start(i->sys->host.reports, d, &i->asked, done, i);
}

/* ---- documents of the server ----------------------------------------------------------------- */

/* STATSZ is special. */
static const char *const services[] = {
    "IDZ",   "STATSZ",   "VARZ", "SUBSZ",   "CONNZ",    "ROUTEZ",  "GATEWAYZ",  "LEAFZ",
    "RAFTZ", "ACCOUNTZ", "JSZ",  "HEALTHZ", "PROFILEZ", "EXPVARZ", "IPQUEUESZ",
};

static void of_server(struct sys_item *i, struct str name)
{
    const struct document *d = document_find(name);
    bool is_statsz = str_eq(name, STR("STATSZ"));

    if (d == NULL || (i->reply[0] == '\0' && !is_statsz)) {
        sys_item_free(i);
        return;
    }
    if (str_eq(name, STR("IDZ")))
        report(i, d, made_idz);
    else if (read_body(i, d))
        report(i, d, is_statsz ? made_statsz : made);
}

/* ---- what is done to this server ------------------------------------------------------------- */

static void reloaded(void *ctx, const char *why)
{
    struct sys_item *i = ctx;

    if (why != NULL)
        fail(i, 500, why);
    else
        answer(i, NULL);
}

/* All workers are asked; one of them has the connection. */
struct handling {
    struct monitor_collect collect;
    struct sys_item *item;
    bool kick;
    atomic_int told; /* enum net_told */
};

static void handle_step(struct monitor_collect *c, struct env *env)
{
    struct handling *h = CONTAINER_OF(c, struct handling, collect);
    int told = NET_NOT_HERE;

    if (h->kick)
        told = net_kick(env->net, h->item->cid) ? NET_TOLD : NET_NOT_HERE;
    else
        told = (int) net_tell_ldm(env->net, h->item->cid);
    if (told != NET_NOT_HERE)
        atomic_store(&h->told, told);
}

static void handle_done(struct monitor_collect *c)
{
    struct handling *h = CONTAINER_OF(c, struct handling, collect);
    int told = atomic_load(&h->told);

    if (h->item->reply[0] == '\0')
        sys_item_free(h->item);
    else if (told == NET_TOLD)
        answer(h->item, NULL);
    else if (told == NET_CAN_NOT_BE_TOLD)
        fail(h->item, 500,
             "client does not support Lame Duck Mode or is not ready to receive the notification");
    else
        fail(h->item, 500, h->kick ? "no such client or leafnode id" : "no such client id");
    mem_free(h);
}

static void of_client(struct sys_item *i, bool kick)
{
    static const struct json_field fields[] = {
        {"cid", JSON_U64_FIELD, offsetof(struct sys_item, cid), 0, NULL}};
    struct buf err = {0};
    json_t *o = json_parse_object(buf_str(&i->body), &err);
    bool ok = o != NULL && fields_read(o, fields, ARRAY_LEN(fields), i, false, &err);
    struct handling *h;

    json_decref(o);
    if (!ok)
        LOG_ERR(i->sys->host.log, "Error unmarshalling kick client request: %s", buf_cstr(&err));
    buf_free(&err);
    if (!ok || i->reply[0] == '\0') {
        sys_item_free(i);
        return;
    }
    if (!read_body(i, NULL))
        return;
    h = mem_zalloc(sizeof(*h));
    h->collect = (struct monitor_collect){handle_step, handle_done};
    h->item = i;
    h->kick = kick;
    i->sys->host.collect(i->sys->host.ctx, &h->collect);
}

/* False when it is nothing of that kind. */
static bool act(struct sys_item *i, struct str name)
{
    if (str_eq(name, STR("RELOAD"))) {
        if (i->reply[0] == '\0')
            sys_item_free(i);
        else if (read_body(i, NULL))
            i->sys->host.reload(i->sys->host.ctx, reloaded, i);
        return true;
    }
    if (!str_eq(name, STR("KICK")) && !str_eq(name, STR("LDM")))
        return false;
    of_client(i, str_eq(name, STR("KICK")));
    return true;
}

/* ---- documents of an account ----------------------------------------------------------------- */

static const char *const account_services[] = {"SUBSZ", "CONNZ", "LEAFZ", "JSZ",
                                               "INFO",  "STATZ", "CONNS"};

static void of_account(struct sys_item *i, struct str account, struct str name)
{
    const struct document *d = document_of_account(name);
    bool conns = str_eq(name, STR("CONNS")), statz = str_eq(name, STR("STATZ"));
    char *text = mem_strndup(account.p, account.n);

    if (i->reply[0] == '\0' || (d == NULL && !conns)) {
        sys_item_free(i);
    } else if (conns) {
        periodic_say_conns(i->sys, text, i->reply);
        sys_item_free(i);
    } else if (read_body(i, d)) {
        mem_free(i->asked.account);
        i->asked.account = mem_strdup(text);
        if (statz && strcmp(text, "PING") != 0) {
            str_list_free(&i->asked.only);
            str_list_add(&i->asked.only, account);
        }
        report(i, d, made);
    }
    mem_free(text);
}

/* ---- subscriptions --------------------------------------------------------------------------- */

static void made_number(void *ctx, const struct report *r)
{
    struct sys_item *i = ctx;

    sys_publish_json(i->sys, i->reply, json_incref(r->json));
    sys_item_free(i);
}

/* Over a border the account is in the header; else who asks is in the system account. */
static char *account_of(const struct sys_item *i)
{
    struct str info = header_get(buf_str(&i->header), STR("Nats-Request-Info"));
    json_t *o = json_loadb(info.p != NULL ? info.p : "", info.n, 0, NULL);
    const char *name = json_string_value(json_object_get(o, "svc"));
    char *out;

    if (name == NULL)
        name = json_string_value(json_object_get(o, "acc"));
    out = mem_strdup(name != NULL ? name : i->sys->env->system_account->name);
    json_decref(o);
    return out;
}

static void of_subscribers(struct sys_item *i)
{
    struct str group, subject = str_cut(str_trim(buf_str(&i->body)), ' ', &group);

    if (i->reply[0] == '\0') {
        sys_item_free(i);
        return;
    }
    i->asked.account = account_of(i);
    i->asked.test = mem_strndup(subject.p, subject.n);
    if (group.n > 0)
        i->asked.name = mem_strndup(group.p, group.n);
    report(i, document_of_account(STR("SUBSCRIBERS")), made_number);
}

/* ---- by subject ------------------------------------------------------------------------------ */

void request_patterns(const struct sys *s, void (*each)(void *ctx, const char *pattern), void *ctx)
{
    static const char *const acts[] = {"RELOAD", "KICK", "LDM"};
    const char *id = s->env->server_id;
    char text[160];

    each(ctx, SUBSCRIBERS);
    each(ctx, "$SYS.REQ.USER.INFO");
    each(ctx, "$SYS.REQ.USER.*.INFO");
    each(ctx, "$SYS.REQ.SERVER.PING");
    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        snprintf(text, sizeof(text), "$SYS.REQ.SERVER.PING.%s", services[i]);
        each(ctx, text);
        snprintf(text, sizeof(text), "$SYS.REQ.SERVER.%s.%s", id, services[i]);
        each(ctx, text);
    }
    for (size_t i = 0; i < ARRAY_LEN(acts); i++) {
        snprintf(text, sizeof(text), "$SYS.REQ.SERVER.%s.%s", id, acts[i]);
        each(ctx, text);
    }
    for (size_t i = 0; i < ARRAY_LEN(account_services); i++) {
        snprintf(text, sizeof(text), "$SYS.REQ.ACCOUNT.*.%s", account_services[i]);
        each(ctx, text);
    }
}

void request_answer(struct sys_item *i)
{
    struct str rest = str_of(i->subject), kind, whose, name;

    if (strcmp(i->subject, SUBSCRIBERS) == 0) {
        of_subscribers(i);
        return;
    }
    str_cut(rest, '.', &rest); /* $SYS */
    str_cut(rest, '.', &rest); /* REQ */
    kind = str_cut(rest, '.', &rest);
    whose = str_cut(rest, '.', &rest);
    name = rest.p != NULL ? rest : STR("STATSZ");
    if (str_eq(kind, STR("ACCOUNT")))
        of_account(i, whose, name);
    else if (!act(i, name))
        of_server(i, name);
}
