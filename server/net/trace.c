/*
 * trace.c - the way of one message, written down: who published it, what it was mapped to, which
 * borders of accounts it crossed, which streams and subscriptions it met. The account is told on
 * the subject that the message's header names, "Nats-Trace-Dest", or the account's own for messages
 * with a sampled "traceparent". With "Nats-Trace-Only" that is all that happens to the message.
 *
 * A traced message may meet receivers on other workers. Each of them tells what it met:
 *
 *     routed here --- record, flagged ---> worker B: routed there ---\
 *         |                                                           | task with B's events
 *         v                                                           v
 *     waits in traces[B] <------------------------------------ first in traces[B]; none left: told
 *
 * Records and tasks between two workers keep their order, so the first that waits is the one an
 * answer is about: no numbers travel with messages. A record that can not be made for want of
 * memory is not waited for. What is forwarded once more from there (a queue member that has gone)
 * is not followed.
 *
 * What a stream makes of a message is known later than its trace: the stream is named, errors are
 * not.
 */
#include "lib/base/fmt.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/auth/permissions.h"
#include "server/config/options.h"
#include "server/net/conn.h"
#include "server/net/event.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEST STR("Nats-Trace-Dest")
#define DISABLED STR("trace disabled")

struct trace {
    struct route_tracer tracer;
    struct net *net;
    struct account *account;
    char *dest;
    json_t *event, *events;
    unsigned waiting; /* for workers, and 1 while it is routed */
    bool refused;
};

/* One answer that is waited for. */
struct trace_wait {
    struct list link; /* net->traces[worker] */
    struct trace *trace;
};

/* What this worker met of another one's message. */
struct trace_part {
    struct route_tracer tracer;
    struct env_task task;
    struct net *net;
    uint32_t from; /* the worker that tells */
    json_t *events;
};

/* ---- headers --------------------------------------------------------------------------------- */

static bool has(struct str in, const char *four)
{
    return memmem(in.p, in.n, four, 4) != NULL;
}

/* Both names have these letters; nearly all headers do not. */
bool trace_asked(struct str header)
{
    return header.n > 0 && (has(header, "race") || has(header, "RACE"));
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* version-trace-parent-flags: the last bit of the flags says that it is sampled. */
static bool is_sampled(struct str value)
{
    struct str last = STR_NONE, rest = value;
    int n = 0;

    while (rest.p != NULL) {
        last = str_cut(rest, '-', &rest);
        n++;
    }
    return n == 4 && last.n == 2 && hex(last.p[0]) >= 0 && hex(last.p[0]) < 8 &&
           hex(last.p[1]) >= 0 && (hex(last.p[1]) & 1) != 0;
}

struct wish {
    struct str dest;
    bool only, parent, disabled, origin;
};

static bool is_true(struct str s)
{
    return str_eq(s, STR("1")) || str_eq_nocase(s, STR("true")) || str_eq_nocase(s, STR("on"));
}

static void read_wish(struct str header, struct wish *w)
{
    struct str key, value;
    size_t at = 0;

    *w = (struct wish){0};
    while (header_next(header, &at, &key, &value)) {
        value = str_trim(value);
        if (value.n == 0)
            continue;
        if (str_eq(key, DEST) && w->dest.n == 0) {
            w->dest = value;
            w->disabled = str_eq(value, DISABLED);
        } else if (str_eq(key, STR("Nats-Trace-Only"))) {
            w->only = is_true(value);
        } else if (str_eq(key, STR("Nats-Trace-Origin-Account"))) {
            w->origin = true;
        } else if (str_eq_nocase(key, STR("traceparent"))) {
            w->parent |= is_sampled(value);
        }
    }
}

static json_t *text_of(struct str s)
{
    json_t *text = json_stringn(s.p, s.n);

    return text != NULL ? text : json_string("?"); /* not UTF-8 */
}

static json_t *headers_of(struct str header)
{
    json_t *o = json_object();
    struct str key, value;
    size_t at = 0;

    while (header_next(header, &at, &key, &value)) {
        char *name = mem_strndup(key.p, key.n);
        json_t *list = json_object_get(o, name);
        value = str_trim(value);
        if (key.n > 0 && value.n > 0 && list == NULL) {
            json_object_set_new(o, name, json_array());
            list = json_object_get(o, name);
        }
        if (list != NULL && value.n > 0)
            json_array_append_new(list, text_of(value));
        mem_free(name);
    }
    return o;
}

/* ---- events ---------------------------------------------------------------------------------- */

static json_t *add_event(struct net *net, json_t *events, const char *type)
{
    json_t *o = json_object();

    json_object_set_new(o, "type", json_string(type));
    event_put_time(o, "ts", io_wall(net->env->io));
    json_array_append_new(events, o);
    return o;
}

void trace_put_egress(struct buf *out, const struct sub *s)
{
    const struct conn *c = s->conn;
    json_t *o = json_object();
    char *text;

    json_object_set_new(o, "type", json_string("eg"));
    json_object_set_new(o, "kind", json_integer(0));
    json_object_set_new(o, "cid", json_integer((json_int_t) c->cid));
    if (c->name != NULL)
        json_object_set_new(o, "name", text_of(str_of(c->name)));
    json_object_set_new(o, "acc", json_string(c->account->name));
    json_object_set_new(o, "sub", text_of(sub_subject(s)));
    if (s->queue_n > 0)
        json_object_set_new(o, "queue", text_of(sub_queue(s)));
    if (c->state == CONN_CLOSING)
        json_object_set_new(o, "error", json_string("Not delivered because client is closed"));
    text = json_dumps(o, JSON_COMPACT);
    buf_puts(out, text != NULL ? text : "{}");
    mem_free(text);
    json_decref(o);
}

static void meet(struct net *net, json_t *events, struct sink *s, const struct msg *m)
{
    struct buf b = {0};
    json_error_t e;
    json_t *o;

    if (s->ops->describe == NULL)
        return;
    s->ops->describe(s, m, &b);
    o = json_loadb(b.p, b.n, 0, &e);
    buf_free(&b);
    if (o == NULL)
        return;
    event_put_time(o, "ts", io_wall(net->env->io));
    json_array_append_new(events, o);
}

static void took(struct route_tracer *tracer, struct sink *s, const struct msg *m)
{
    struct trace *t = CONTAINER_OF(tracer, struct trace, tracer);

    meet(t->net, t->events, s, m);
}

static void crossed(struct route_tracer *tracer, const struct account *to, bool service,
                    struct str from, struct str subject)
{
    struct trace *t = CONTAINER_OF(tracer, struct trace, tracer);
    json_t *o = add_event(t->net, t->events, service ? "si" : "se");

    json_object_set_new(o, "acc", json_string(to->name));
    if (service)
        json_object_set_new(o, "from", text_of(from));
    json_object_set_new(o, "to", text_of(subject));
}

/* ---- telling --------------------------------------------------------------------------------- */

static void free_trace(struct trace *t)
{
    json_decref(t->event);
    mem_free(t->dest);
    mem_free(t);
}

/* The account of a subscription is said where it is not that of the publisher. */
static void leave_out_account(struct trace *t)
{
    size_t i;
    json_t *o;

    json_array_foreach(t->events, i, o)
    {
        const char *type = json_string_value(json_object_get(o, "type"));
        const char *acc = json_string_value(json_object_get(o, "acc"));
        if (type != NULL && acc != NULL && strcmp(type, "eg") == 0 &&
            strcmp(acc, t->account->name) == 0)
            json_object_del(o, "acc");
    }
}

static void tell(struct trace *t)
{
    struct env *env = t->net->env;
    char *text;

    leave_out_account(t);
    json_object_set_new(t->event, "server",
                        event_server(&(struct event_source){.name = env->server_name,
                                                            .id = env->server_id,
                                                            .version = env->version,
                                                            .seq = env->event_seq,
                                                            .wall_ns = io_wall(env->io)},
                                     env->options));
    text = json_dumps(t->event, JSON_COMPACT);
    if (text != NULL) {
        route_publish(env->router, t->account,
                      &(struct msg){.subject = str_of(t->dest),
                                    .payload = str_of(text),
                                    .flags = MSG_F_SYSTEM,
                                    .origin_worker = env->worker});
        route_flush(env->router);
    }
    mem_free(text);
    free_trace(t);
}

static void no_longer_waits(struct trace *t)
{
    if (--t->waiting == 0)
        tell(t);
}

/* ---- over workers ---------------------------------------------------------------------------- */

static void sent(struct route_tracer *tracer, uint32_t worker)
{
    struct trace *t = CONTAINER_OF(tracer, struct trace, tracer);
    struct trace_wait *w = mem_zalloc(sizeof(*w));

    w->trace = t;
    t->waiting++;
    list_push_back(&t->net->traces[worker], &w->link);
}

static void part_took(struct route_tracer *tracer, struct sink *s, const struct msg *m)
{
    struct trace_part *p = CONTAINER_OF(tracer, struct trace_part, tracer);

    meet(p->net, p->events, s, m);
}

/* Links are followed where a message is published. */
static void part_crossed(struct route_tracer *tracer, const struct account *to, bool service,
                         struct str from, struct str subject)
{
    (void) tracer;
    (void) to;
    (void) service;
    (void) from;
    (void) subject;
}

static struct route_tracer *part_begin(void *ctx, const struct msg *m)
{
    struct net *net = ctx;
    struct trace_part *p = mem_zalloc(sizeof(*p));

    p->tracer = (struct route_tracer){
        .only = (m->flags & MSG_F_TRACE_ONLY) != 0, .took = part_took, .link = part_crossed};
    p->net = net;
    p->from = net->env->worker;
    p->events = json_array();
    return &p->tracer;
}

static void part_arrived(struct env_task *task, struct env *env)
{
    struct trace_part *p = CONTAINER_OF(task, struct trace_part, task);
    struct list *l = env->net != NULL ? list_pop_front(&env->net->traces[p->from]) : NULL;

    if (l != NULL) {
        struct trace_wait *w = LIST_ENTRY(l, struct trace_wait, link);
        json_array_extend(w->trace->events, p->events);
        no_longer_waits(w->trace);
        mem_free(w);
    }
    json_decref(p->events);
    mem_free(p);
}

static void part_end(void *ctx, struct route_tracer *tracer, uint32_t origin)
{
    struct net *net = ctx;
    struct trace_part *p = CONTAINER_OF(tracer, struct trace_part, tracer);

    p->task.run = part_arrived;
    net->env->post(net->env, origin, &p->task);
}

void traces_open(struct net *net)
{
    net->traces = mem_array(net->env->workers, sizeof(struct list));
    for (uint32_t i = 0; i < net->env->workers; i++)
        list_init(&net->traces[i]);
    router_set_tracing(net->env->router, part_begin, part_end, net);
}

void traces_close(struct net *net)
{
    struct list *l;

    for (uint32_t i = 0; i < net->env->workers; i++)
        while ((l = list_pop_front(&net->traces[i])) != NULL) {
            struct trace_wait *w = LIST_ENTRY(l, struct trace_wait, link);
            if (--w->trace->waiting == 0)
                free_trace(w->trace);
            mem_free(w);
        }
    router_set_tracing(net->env->router, NULL, NULL, NULL);
    mem_free(net->traces);
}

/* ---- a message ------------------------------------------------------------------------------- */

static struct trace *make(struct conn *c, const struct nats_op *op, const struct wish *w)
{
    struct trace *t = mem_zalloc(sizeof(*t));
    json_t *request = json_object(), *in;

    t->tracer = (struct route_tracer){.only = w->only, .took = took, .sent = sent, .link = crossed};
    t->net = c->net;
    t->account = c->account;
    t->dest = mem_strndup(w->dest.p, w->dest.n);
    t->waiting = 1;
    t->event = json_object();
    json_object_set_new(t->event, "server", json_null()); /* first, and filled when it is told */
    json_object_set_new(request, "header", headers_of(nats_op_header(op)));
    json_object_set_new(request, "msgsize", json_integer((json_int_t) op->body.n));
    json_object_set_new(t->event, "request", request);
    t->events = json_array();
    json_object_set_new(t->event, "events", t->events);
    in = add_event(t->net, t->events, "in");
    json_object_set_new(in, "kind", json_integer(0));
    json_object_set_new(in, "cid", json_integer((json_int_t) c->cid));
    if (c->name != NULL)
        json_object_set_new(in, "name", text_of(str_of(c->name)));
    json_object_set_new(in, "acc", json_string(c->account->name));
    json_object_set_new(in, "subj", text_of(op->subject));
    return t;
}

/* Of messages that bring a trace of their own: where the account wants to hear of them. */
static bool wanted_by_account(const struct conn *c, struct wish *w)
{
    const struct env *env = c->net->env;
    const struct account_options *of = accounts_find(&env->options->accounts, c->account->name);

    w->only = false;
    if (of == NULL || of->trace_dest == NULL)
        return false;
    w->dest = str_of(of->trace_dest);
    return of->trace_sampling >= 100 || prng_below(env->prng, 100) < of->trace_sampling;
}

static bool may_tell(struct conn *c, struct str dest)
{
    struct buf b = {0};

    if (c->may == NULL || permissions_may_publish(c->may, dest))
        return true;
    buf_printf(&b, "Permissions Violation for Publish to \"%.*s\"", STR_ARG(dest));
    conn_put_err(c, buf_str(&b));
    buf_free(&b);
    return false;
}

bool trace_begin(struct conn *c, const struct nats_op *op, struct trace **out)
{
    struct wish w;
    char who[CONN_TEXT_MAX];

    *out = NULL;
    read_wish(nats_op_header(op), &w);
    if (w.disabled || (w.dest.n == 0 && !w.parent))
        return true;
    if (w.dest.n == 0 && !wanted_by_account(c, &w))
        return true;
    if (w.origin || c->net->env->event_seq == NULL)
        return !w.only;
    if (!subject_valid_literal(w.dest)) {
        LOG_ERR(c->net->env->log,
                "%s - Destination \"%.*s\" is not valid, won't be able to trace events",
                conn_text(c, who), STR_ARG(w.dest));
        return !w.only;
    }
    if (!may_tell(c, w.dest))
        return false;
    *out = make(c, op, &w);
    return true;
}

struct route_tracer *trace_tracer(struct trace *t)
{
    return &t->tracer;
}

void trace_refused(struct trace *t, struct str why)
{
    json_object_set_new(json_array_get(t->events, 0), "error", text_of(why));
}

void trace_mapped(struct trace *t, struct str subject)
{
    json_object_set_new(add_event(t->net, t->events, "sm"), "to", text_of(subject));
}

void trace_end(struct trace *t)
{
    no_longer_waits(t);
}
