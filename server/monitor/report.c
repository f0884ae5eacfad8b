/*
 * report.c - documents: found, collected over all workers, finished, handed over; and what they
 * share.
 */
#include "server/monitor/report.h"

#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "server/monitor/monitor_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const struct document *const documents[] = {
    &varz_document,           &jsz_document,           &connz_document,
    &accountz_document,       &accstatz_document,      &subsz_document,
    &subscriptionsz_document, &routez_document,        &leafz_document,
    &gatewayz_document,       &raftz_document,         &healthz_document,
    &expvarz_document,        &ipqueuesz_document,     &stacksz_document,
    &metrics_document,        &statsz_document,        &idz_document,
    &profilez_document,       &account_subsz_document, &account_jsz_document,
    &account_info_document,   &kafkaz_document,
};
const size_t documents_n = ARRAY_LEN(documents);

/* ---- finding --------------------------------------------------------------------------------- */

const struct document *document_find(struct str name)
{
    for (size_t i = 0; i < documents_n; i++)
        if (documents[i]->name != NULL && str_eq(str_of(documents[i]->name), name))
            return documents[i];
    return NULL;
}

const struct document *document_of_account(struct str name)
{
    static const struct {
        const char *name;
        const struct document *document;
    } all[] = {
        {"SUBSZ", &account_subsz_document},
        {"CONNZ", &connz_document},
        {"LEAFZ", &leafz_document},
        {"JSZ", &account_jsz_document},
        {"INFO", &account_info_document},
        {"STATZ", &accstatz_document},
        {"SUBSCRIBERS", &subscribers_document},
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (str_eq(str_of(all[i].name), name))
            return all[i].document;
    return NULL;
}

const struct document *document_at(const char *path)
{
    for (size_t i = 0; i < documents_n; i++)
        if (documents[i]->path != NULL && strcmp(documents[i]->path, path) == 0)
            return documents[i];
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct reports *reports_open(const struct monitor_host *host)
{
    struct reports *r = mem_zalloc(sizeof(*r));

    r->host = *host;
    return r;
}

void reports_close(struct reports *r)
{
    mem_free(r);
}

void reports_set_options(struct reports *r, const struct options *options)
{
    r->host.options = options;
    r->host.config_load_wall_ns = monitor_wall();
}

void reports_set_ports(struct reports *r, uint16_t http, uint16_t https)
{
    r->host.http_port = http;
    r->host.https_port = https;
}

const struct monitor_host *reports_host(const struct reports *r)
{
    return &r->host;
}

/* ---- a query's way --------------------------------------------------------------------------- */

static void free_query(struct query *q)
{
    for (unsigned i = 0; i < q->workers; i++) {
        struct part *p = &q->parts[i];
        for (size_t k = 0; k < p->nconns; k++) {
            json_decref(p->conns[k].subs);
            json_decref(p->conns[k].more);
        }
        mem_free(p->conns);
        mem_free(p->accounts);
        buf_free(&p->text);
        jetstream_details_end(&p->js_at);
        json_decref(p->subs);
        json_decref(p->bad);
        json_decref(p->kafka);
    }
    buf_free(&q->text);
    asked_free(&q->asked);
    mem_free(q->parts);
    mem_free(q);
}

static void finish(struct query *q)
{
    json_t *json = q->document->finish(q);
    bool text = q->text.n > 0;

    q->done(q->ctx, &(struct report){
                        .document = q->document,
                        .json = q->error[0] == '\0' && !text ? json : NULL,
                        .text = text ? buf_cstr(&q->text) : NULL,
                        .type = q->type != NULL ? q->type : "application/json",
                        .error = q->error[0] != '\0' ? q->error : NULL,
                        .status = q->status,
                        .skip = q->skip,
                    });
    json_decref(json);
    free_query(q);
}

static void collect_step(struct monitor_collect *c, struct env *env)
{
    struct query *q = CONTAINER_OF(c, struct query, collect);

    struct part *p = &q->parts[env->worker];

    if (q->begun && !p->more)
        return;
    q->document->step(q, env, p);
}

static void collect_done(struct monitor_collect *c)
{
    struct query *q = CONTAINER_OF(c, struct query, collect);

    for (unsigned i = 0; i < q->workers; i++)
        if (q->parts[i].more) {
            q->begun = true;
            q->reports->host.collect(q->reports->host.ctx, c);
            return;
        }
    finish(q);
}

void report_start(struct reports *r, const struct document *d, struct asked *asked,
                  void (*done)(void *ctx, const struct report *report), void *ctx)
{
    struct query *q = mem_zalloc(sizeof(*q));

    q->reports = r;
    q->document = d;
    q->asked = *asked;
    *asked = (struct asked){0};
    q->status = 200;
    q->workers = r->host.workers;
    q->parts = mem_zalloc(q->workers * sizeof(*q->parts));
    q->done = done;
    q->ctx = ctx;
    q->collect = (struct monitor_collect){collect_step, collect_done};
    if (d->step == NULL)
        finish(q);
    else
        r->host.collect(r->host.ctx, &q->collect);
}

json_t *query_fail(struct query *q, int status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(q->error, sizeof(q->error), format, args);
    va_end(args);
    q->status = status;
    return NULL;
}

/* ---- pieces of documents --------------------------------------------------------------------- */

void put_str(json_t *o, const char *key, const char *value)
{
    json_t *text = json_string(value != NULL ? value : "");

    /* What clients say need not be UTF-8. */
    json_object_set_new(o, key, text != NULL ? text : json_string("?"));
}

void put_text(json_t *o, const char *key, const char *value)
{
    if (value != NULL && value[0] != '\0')
        put_str(o, key, value);
}

void put_texts(json_t *o, const char *key, const struct str_list *list)
{
    json_t *all;

    if (list->n == 0)
        return;
    all = json_array();
    for (size_t i = 0; i < list->n; i++)
        json_array_append_new(all, json_string(list->items[i]));
    json_object_set_new(o, key, all);
}

void put_int(json_t *o, const char *key, int64_t value)
{
    json_object_set_new(o, key, json_integer(value));
}

void put_bool(json_t *o, const char *key, bool value)
{
    json_object_set_new(o, key, json_boolean(value));
}

void put_true(json_t *o, const char *key, bool value)
{
    if (value)
        put_bool(o, key, true);
}

void put_time(json_t *o, const char *key, int64_t unix_ns)
{
    char text[FMT_TIME_MAX];

    fmt_time_rfc3339(text, unix_ns);
    put_str(o, key, text);
}

void put_uptime(json_t *o, const char *key, int64_t ns)
{
    long long s = ns > 0 ? ns / 1000000000 : 0;
    long long days = s / 86400;
    char text[96];
    int n = 0;

    if (days >= 365)
        n += snprintf(text, sizeof(text), "%lldy", days / 365);
    if (days > 0)
        n += snprintf(text + n, sizeof(text) - (size_t) n, "%lldd", days % 365);
    if (s >= 3600)
        n += snprintf(text + n, sizeof(text) - (size_t) n, "%lldh", s / 3600 % 24);
    if (s >= 60)
        n += snprintf(text + n, sizeof(text) - (size_t) n, "%lldm", s / 60 % 60);
    snprintf(text + n, sizeof(text) - (size_t) n, "%llds", s % 60);
    put_str(o, key, text);
}

void put_identity_and_now(json_t *o, const struct query *q)
{
    put_str(o, "server_id", q->reports->host.server_id);
    put_time(o, "now", monitor_wall());
}

json_t *four_counts(uint64_t clients, uint64_t leafs)
{
    json_t *o = json_object();

    put_int(o, "clients", (int64_t) clients);
    put_int(o, "routes", 0);
    put_int(o, "gateways", 0);
    put_int(o, "leafs", (int64_t) leafs);
    return o;
}

json_t *msgs_bytes(uint64_t msgs, uint64_t bytes)
{
    json_t *o = json_object();

    put_int(o, "msgs", (int64_t) msgs);
    put_int(o, "bytes", (int64_t) bytes);
    return o;
}

void query_page(struct query *q, int64_t limit, size_t n, size_t *from, size_t *to)
{
    if (q->asked.offset < 0)
        q->asked.offset = 0;
    if (q->asked.limit <= 0)
        q->asked.limit = limit;
    *from = (uint64_t) q->asked.offset < n ? (size_t) q->asked.offset : n;
    *to = (uint64_t) q->asked.limit < n - *from ? *from + (size_t) q->asked.limit : n;
}

int64_t monitor_wall(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- sums over workers ----------------------------------------------------------------------- */

void sum_net(const struct query *q, struct net_stats *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < q->workers; i++) {
        const struct net_stats *n = &q->parts[i].net;
        out->connections += n->connections;
        out->total_connections += n->total_connections;
        out->in_msgs += n->in_msgs;
        out->in_bytes += n->in_bytes;
        out->out_msgs += n->out_msgs;
        out->out_bytes += n->out_bytes;
        out->slow_consumers += n->slow_consumers;
        out->stale_connections += n->stale_connections;
        out->stalled_clients += n->stalled_clients;
        out->subscriptions += n->subscriptions;
        out->pending_bytes += n->pending_bytes;
        out->leafs += n->leafs;
        out->pinned_account_fails += n->pinned_account_fails;
        out->websocket_port |= n->websocket_port;
        out->leaf_port |= n->leaf_port;
    }
}

void sum_js(const struct query *q, struct js_stats *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < q->workers; i++) {
        const struct js_stats *j = &q->parts[i].js;
        out->streams += j->streams;
        out->consumers += j->consumers;
        out->messages += j->messages;
        out->bytes += j->bytes;
        out->memory += j->memory;
        out->storage += j->storage;
        out->reserved_memory += j->reserved_memory;
        out->reserved_storage += j->reserved_storage;
        out->api_total += j->api_total;
        out->api_errors += j->api_errors;
        out->api_inflight = j->api_inflight;
        out->max_memory = j->max_memory;
        out->max_storage = j->max_storage;
    }
}

void step_accounts(struct query *q, struct env *env, struct part *part)
{
    size_t n = part->naccounts;

    (void) q;
    if (part->accounts == NULL) {
        while (account_set_get(env->accounts, (uint32_t) n) != NULL)
            n++;
        part->accounts = mem_zalloc((n + 1) * sizeof(*part->accounts));
        part->naccounts = n;
    }
    part->more = net_accounts_slice(env->net, &part->from, STEP_MOST_SUMS, part->accounts,
                                    part->naccounts);
}

void sum_account(const struct query *q, const struct account *a, struct net_account_stats *out)
{
    *out = (struct net_account_stats){
        .in_msgs = atomic_load(&a->gone.in_msgs),
        .in_bytes = atomic_load(&a->gone.in_bytes),
        .out_msgs = atomic_load(&a->gone.out_msgs),
        .out_bytes = atomic_load(&a->gone.out_bytes),
        .slow_consumers = atomic_load(&a->gone.slow_consumers),
    };
    for (unsigned i = 0; i < q->workers; i++) {
        const struct part *p = &q->parts[i];
        const struct net_account_stats *s;
        if (a->index >= p->naccounts)
            continue;
        s = &p->accounts[a->index];
        out->connections += s->connections;
        out->leafs += s->leafs;
        out->in_msgs += s->in_msgs;
        out->in_bytes += s->in_bytes;
        out->out_msgs += s->out_msgs;
        out->out_bytes += s->out_bytes;
    }
}

static json_t *traffic(uint64_t msgs, uint64_t bytes)
{
    json_t *o = msgs_bytes(msgs, bytes);

    json_object_set_new(o, "gateways", msgs_bytes(0, 0));
    json_object_set_new(o, "routes", msgs_bytes(0, 0));
    json_object_set_new(o, "leafs", msgs_bytes(0, 0));
    return o;
}

json_t *account_stat(const struct query *q, const struct account *a)
{
    struct net_account_stats s;
    struct interest_stats in;
    json_t *o = json_object();

    sum_account(q, a, &s);
    interest_stats(a->interest, &in);
    put_str(o, "acc", a->name);
    put_str(o, "name", net_account_tag(a));
    put_int(o, "conns", (int64_t) s.connections);
    put_int(o, "leafnodes", (int64_t) s.leafs);
    put_int(o, "total_conns", (int64_t) (s.connections + s.leafs));
    put_int(o, "num_subscriptions", (int64_t) in.subs);
    json_object_set_new(o, "sent", traffic(s.out_msgs, s.out_bytes));
    json_object_set_new(o, "received", traffic(s.in_msgs, s.in_bytes));
    put_int(o, "slow_consumers", (int64_t) s.slow_consumers);
    return o;
}
