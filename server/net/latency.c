/*
 * latency.c - who asks a service of another account, and how long the answer takes.
 *
 * An account that exports a service with `latency` is told of requests that cross the border, in
 * its own account on the subject of the export: who asked, who answered, and the time between. A
 * request is measured when the dice say so (sampling), or when its header belongs to a trace that
 * is sampled (Uber-Trace-Id, X-B3-*, b3, traceparent).
 *
 *     asked (here) ----> answer passes here ----> told, on the worker of the client that answered
 *         \------------> nobody, too late, given up ----> told here
 *
 * The time of the answer is taken where it passes; the worker of the client that answered knows its
 * name and its round trip time, which is left out of the service's time.
 */
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "server/core/account_wiring.h"
#include "server/net/conn.h"
#include "server/net/event.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct measure {
    struct env_task task;
    struct account *account; /* that exports */
    char *subject;
    json_t *requestor, *header; /* header: NULL = the dice said so */
    handle responder;           /* on the worker the task goes to; 0 = not a client */
    uint64_t asked;             /* io_now */
    int64_t start, rtt;         /* start: unix ns */
    int64_t took;
    int status;
};

/* ---- headers of traces ----------------------------------------------------------------------- */

static struct str value_of(struct str header, const char *name)
{
    struct str key, value;
    size_t at = 0;

    while (header_next(header, &at, &key, &value))
        if (str_eq_nocase(key, str_of(name)))
            return str_trim(value);
    return STR_NONE;
}

/* As Go writes keys of headers: "X-B3-Traceid". */
static void capitalize(char *name)
{
    bool first = true;

    for (; *name != '\0'; name++) {
        bool lower = *name >= 'a' && *name <= 'z', upper = *name >= 'A' && *name <= 'Z';
        if ((first && lower) || (!first && upper))
            *name = (char) (*name ^ 0x20);
        first = *name == '-';
    }
}

/* All pairs whose key begins so. */
static json_t *pairs(struct str header, const char *prefix, json_t *into)
{
    struct str key, value, p = str_of(prefix);
    size_t at = 0;

    while (header_next(header, &at, &key, &value)) {
        char *name;
        json_t *list = json_array();
        if (!str_eq_nocase(str_take(key, p.n), p)) {
            json_decref(list);
            continue;
        }
        value = str_trim(value);
        json_array_append_new(list, json_stringn(value.p, value.n));
        name = mem_strndup(key.p, key.n);
        capitalize(name);
        json_object_set_new(into, name, list);
        mem_free(name);
    }
    return into;
}

/* The n-th part, from 0; n == NULL when there are less. */
static struct str part(struct str s, char sep, unsigned n, unsigned *count)
{
    struct str found = STR_NONE;

    for (*count = 0; s.p != NULL; ++*count) {
        struct str one = str_cut(s, sep, &s);
        if (*count == n)
            found = one;
    }
    return found;
}

static bool last_bit(struct str hex)
{
    char c = hex.n > 0 ? hex.p[hex.n - 1] : '0';

    return strchr("13579bBdDfF", c) != NULL;
}

/* NULL: nothing in the header asks for a measurement. */
static json_t *trace_of(struct str header)
{
    unsigned n;
    struct str v = value_of(header, "Uber-Trace-Id"), p;

    if (v.n > 0) {
        p = part(v, ':', 3, &n);
        if (n != 4 || p.n == 0 || p.n > 2 || !last_bit(p))
            return NULL;
        return pairs(header, "Uberctx-", pairs(header, "Uber-Trace-Id", json_object()));
    }
    v = value_of(header, "X-B3-Sampled");
    if (v.n > 0 && !str_eq(v, STR("1")))
        return NULL;
    if (v.n > 0 || value_of(header, "X-B3-TraceId").n > 0)
        return pairs(header, "X-B3-", json_object());
    v = value_of(header, "b3");
    if (v.n > 0) {
        p = part(v, '-', 2, &n);
        if ((n > 2 && str_eq(p, STR("0"))) || (n == 1 && str_eq(v, STR("0"))))
            return NULL;
        return pairs(header, "b3", json_object());
    }
    v = value_of(header, "traceparent");
    p = part(v, '-', 3, &n);
    if (v.n == 0 || n != 4 || p.n != 2 || !last_bit(p))
        return NULL;
    return pairs(header, "tracestate", pairs(header, "traceparent", json_object()));
}

/* ---- who asks -------------------------------------------------------------------------------- */

static const struct conn *asking(const struct net *net, const struct msg *m)
{
    return m->origin_worker == net->env->worker ? handle_get(&net->handles, m->origin_conn) : NULL;
}

static json_t *who(const struct net *net, const struct account *a, const struct msg *m, bool share)
{
    const struct conn *c = asking(net, m);
    json_t *o;

    if (c != NULL)
        return event_client(c, share);
    o = json_object();
    json_object_set_new(o, "acc", json_string(a->name));
    return o;
}

static void put_client(void *ctx, const struct account *a, const struct msg *m, bool share,
                       struct buf *out)
{
    json_t *o = who(ctx, a, m, share);
    char *text = json_dumps(o, JSON_COMPACT);

    buf_puts(out, text != NULL ? text : "{}");
    mem_free(text);
    json_decref(o);
}

/* ---- telling --------------------------------------------------------------------------------- */

static const char *describe(int status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 408:
        return "Request Timeout";
    case 503:
        return "Service Unavailable";
    default:
        return "Service Timeout";
    }
}

static void free_measure(struct measure *m)
{
    json_decref(m->requestor);
    json_decref(m->header);
    mem_free(m->subject);
    mem_free(m);
}

/* Frees it. */
static void tell(struct net *net, struct measure *m)
{
    struct env *env = net->env;
    const struct conn *c = m->responder != 0 ? handle_get(&net->handles, m->responder) : NULL;
    int64_t rtt = c != NULL ? c->rtt_ns : 0, service = m->took - rtt;
    char id[NUID_LEN + 1], *text;
    json_t *o;

    nuid_next(&net->event_ids, id);
    o = event_begin("io.nats.server.metric.v1.service_latency", id, io_wall(env->io));
    json_object_set_new(o, "status", json_integer(m->status));
    if (m->status != 200)
        json_object_set_new(o, "description", json_string(describe(m->status)));
    json_object_set(o, "requestor", m->requestor);
    if (c != NULL)
        json_object_set_new(o, "responder", event_client(c, true));
    if (m->header != NULL)
        json_object_set(o, "header", m->header);
    event_put_time(o, "start", m->start - m->rtt);
    json_object_set_new(o, "service", json_integer(m->status == 200 && service > 0 ? service : 0));
    json_object_set_new(o, "system", json_integer(0));
    json_object_set_new(o, "total", json_integer(m->status == 200 ? m->rtt + m->took : 0));
    text = json_dumps(o, JSON_COMPACT);
    if (text != NULL)
        route_publish(env->router, m->account,
                      &(struct msg){.subject = str_of(m->subject),
                                    .payload = str_of(text),
                                    .flags = MSG_F_SYSTEM,
                                    .origin_worker = env->worker});
    route_flush(env->router);
    mem_free(text);
    json_decref(o);
    free_measure(m);
}

static void told_here(struct env_task *task, struct env *env)
{
    struct measure *m = CONTAINER_OF(task, struct measure, task);

    if (env->net != NULL)
        tell(env->net, m);
    else
        free_measure(m);
}

/* Not at once: this may be within a delivery of the very message that is measured. */
static void tell_later(struct net *net, struct measure *m, uint32_t worker)
{
    m->task.run = told_here;
    net->env->post(net->env, worker, &m->task);
}

/* ---- measuring ------------------------------------------------------------------------------- */

static void *ask(void *ctx, const struct account_link *l, struct account *a, const struct msg *msg,
                 bool wanted)
{
    struct net *net = ctx;
    struct env *env = net->env;
    bool by_dice = l->sampling >= 100 || prng_below(env->prng, 100) < l->sampling;
    json_t *header = by_dice ? NULL : trace_of(msg->header);
    const struct conn *c = asking(net, msg);
    struct measure *m;

    if (!by_dice && header == NULL)
        return NULL;
    m = mem_zalloc(sizeof(*m));
    m->account = l->to;
    m->subject = mem_strdup(l->latency);
    m->requestor = who(net, a, msg, l->share);
    m->header = header;
    m->asked = io_now(env->io);
    m->start = io_wall(env->io);
    m->rtt = c != NULL ? c->rtt_ns : 0;
    if (wanted)
        return m;
    m->status = 400;
    tell_later(net, m, env->worker);
    return NULL;
}

static void answered(void *ctx, void *measure, const struct msg *msg)
{
    struct net *net = ctx;
    struct measure *m = measure;
    bool by_client = msg->origin_conn != 0 && msg->origin_worker < net->env->workers;

    m->status = 200;
    m->took = (int64_t) (io_now(net->env->io) - m->asked);
    m->responder = by_client ? msg->origin_conn : 0;
    tell_later(net, m, by_client ? msg->origin_worker : net->env->worker);
}

static void failed(void *ctx, void *measure, int status)
{
    struct net *net = ctx;
    struct measure *m = measure;

    m->status = status;
    if (net->stopping)
        free_measure(m);
    else
        tell_later(net, m, net->env->worker);
}

static const struct route_services services = {
    .client = put_client, .ask = ask, .answered = answered, .failed = failed};

static void client_info(struct env *env, handle conn, struct buf *out)
{
    const struct conn *c = env->net != NULL ? handle_get(&env->net->handles, conn) : NULL;
    json_t *o;
    char *text;

    if (c == NULL)
        return;
    o = event_client(c, true);
    text = json_dumps(o, JSON_COMPACT);
    buf_puts(out, text != NULL ? text : "{}");
    mem_free(text);
    json_decref(o);
}

void latency_open(struct net *net)
{
    router_set_services(net->env->router, &services, net);
    net->env->client_info = client_info;
}

void latency_close(struct net *net)
{
    router_drop_answers(net->env->router);
    router_set_services(net->env->router, NULL, NULL);
    net->env->client_info = NULL;
}
