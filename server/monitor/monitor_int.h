/*
 * monitor_int.h - the inside of monitoring: a query on its way, and the helpers that the documents
 * share.
 *
 * A document is a struct document: step copies from one worker into the query's part of that worker
 * (no locks: each worker writes its own part), finish turns the parts into JSON on the main thread.
 */
#ifndef MONITOR_MONITOR_INT_H
#define MONITOR_MONITOR_INT_H

#include "lib/base/buf.h"
#include "server/config/options.h"
#include "server/js/js.h"
#include "server/monitor/report.h"
#include "server/net/net.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct query;

struct conn_part {
    struct net_conn_info info;
    json_t *subs; /* NULL unless asked for */
    json_t *more; /* fields of it as they are shown */
};

/* What one worker contributes. */
struct part {
    uint64_t from;       /* the connection to go on with */
    bool more;           /* it has only begun: the step is made again */
    bool listed, summed; /* of /metrics: the connections are done, once and twice */
    struct net_stats net;
    struct js_stats js;
    bool has_js;
    struct conn_part *conns;
    size_t nconns;
    size_t matching; /* connections before all filters but the account */
    struct buf text; /* JSON array of stream details */
    struct js_details_at js_at;
    json_t *subs;  /* of all accounts, in detail */
    json_t *bad;   /* streams that are not well */
    json_t *kafka; /* what Kafka clients do (env->kafka_info) */
    struct js_health health;
    struct router_stats router;
    struct net_account_stats *accounts; /* by index */
    size_t naccounts;
};

/* How a parameter of HTTP is read. */
enum param_kind { PARAM_TEXT, PARAM_BOOL, PARAM_INT, PARAM_UINT, PARAM_STATE, PARAM_SUBS };
struct param {
    const char *name;
    enum param_kind kind;
    size_t offset; /* in struct asked */
};

struct document {
    const char *path; /* of HTTP; NULL = not there */
    const char *name; /* of requests; NULL = not there */
    const struct param *params;
    size_t nparams;
    const struct json_field *fields; /* of a request's body */
    size_t nfields;
    /* NULL: nothing to collect. */
    void (*step)(struct query *q, struct env *env, struct part *part);
    /* Returns the document (a new reference), NULL with query_fail or q->text; may set q->status.
     */
    json_t *(*finish)(struct query *q);
};

struct query {
    struct monitor_collect collect;
    struct reports *reports;
    const struct document *document;
    struct asked asked;
    struct part *parts; /* one per worker */
    unsigned workers;
    bool begun; /* a worker has more: the others have done their step */
    int status;
    bool skip;
    char error[256]; /* "" = none */
    struct buf text; /* instead of JSON */
    const char *type;
    void (*done)(void *ctx, const struct report *report);
    void *ctx;
};

/* Connections and subscriptions that a step looks at in one go: a few milliseconds. */
#define STEP_MOST 1000u
/* Connections that are only summed up. */
#define STEP_MOST_SUMS 250u
/* Accounts, streams and consumers. */
#define STEP_MOST_JS 250u

#define DOCUMENTS_MAX 32u

struct reports {
    struct monitor_host host;
    uint64_t requests[DOCUMENTS_MAX]; /* over HTTP, by document */
    uint64_t root_requests;
};

#define ASKED(member) offsetof(struct asked, member)

/* Parameters of HTTP; value NULL = absent. False with a text in err. */
bool asked_param(struct asked *a, const struct param *p, const char *value, char err[256]);

/* No document: this text, with that status of HTTP. */
json_t *query_fail(struct query *q, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void put_str(json_t *o, const char *key, const char *value);
/* Nothing when it is NULL or "". */
void put_text(json_t *o, const char *key, const char *value);
void put_int(json_t *o, const char *key, int64_t value);
void put_bool(json_t *o, const char *key, bool value);
/* Nothing when it is false. */
void put_true(json_t *o, const char *key, bool value);
/* Nothing of an empty list. */
void put_texts(json_t *o, const char *key, const struct str_list *list);
void put_time(json_t *o, const char *key, int64_t unix_ns);
/* "1m2s" and the like, as the peer prints uptimes: 1d2h3m4s. */
void put_uptime(json_t *o, const char *key, int64_t ns);
/* A number of seconds. */
void put_seconds(json_t *o, const char *key, int64_t ns);
void put_identity_and_now(json_t *o, const struct query *q);
/* Clients, routes, gateways and leaf nodes. */
json_t *four_counts(uint64_t clients, uint64_t leafs);
json_t *msgs_bytes(uint64_t msgs, uint64_t bytes);
/* offset and limit as they count; *from and *to of n items. */
void query_page(struct query *q, int64_t limit, size_t n, size_t *from, size_t *to);

/* account: NULL = it is clear from elsewhere. */
json_t *sub_detail(const struct net_sub_info *s, const char *account);

/* websocket{} and leaf{} of varz; port: where it listens, 0 = not. */
json_t *websocket_varz(const struct monitor_host *h, uint16_t port);
json_t *leaf_varz(const struct monitor_host *h, uint16_t port);
/* Operators and proxies. */
void put_trusted(json_t *o, const struct options *options);
/* tls_cert_not_after of a listener; nothing without a certificate. */
void put_cert_end(json_t *o, const struct monitor_host *h, enum monitor_door door);

void sum_net(const struct query *q, struct net_stats *out);
void sum_js(const struct query *q, struct js_stats *out);
/* jetstream{config, stats, limits} of varz and statsz; NULL when it is off. */
json_t *jetstream_varz(const struct query *q, bool with_store_dir);
json_t *jetstream_config(const struct query *q, const struct js_stats *js, bool with_store_dir);
json_t *jetstream_limits(const struct options *o);
/* part->more says whether that was all. */
void step_jetstream(struct env *env, const struct js_detail_options *o, struct part *part);
void put_jetstream_stats(json_t *o, const struct query *q, const struct js_stats *js);
int64_t process_memory(void);
json_t *process_arguments(void);
double process_cpu(int64_t up_ns);
/* What an account has had, over all workers. */
void sum_account(const struct query *q, const struct account *a, struct net_account_stats *out);
json_t *account_stat(const struct query *q, const struct account *a);
/* part->more says whether that was all. */
void step_accounts(struct query *q, struct env *env, struct part *part);

/* The format of /metrics: a head, a label into a list of them, a sample. */
void metrics_put_head(struct buf *b, const char *name, const char *type, const char *help);
void metrics_put_label(struct buf *b, const char *key, const char *value);
void metrics_put_value(struct buf *b, const char *name, const char *labels, const json_t *v);
void kafkaz_step(struct query *q, struct env *env, struct part *part);
void kafkaz_metrics(struct buf *b, struct query *q, const char *labels);

extern const struct document varz_document, connz_document, routez_document, gatewayz_document,
    leafz_document, subsz_document, subscriptionsz_document, accountz_document, accstatz_document,
    jsz_document, healthz_document, raftz_document, ipqueuesz_document, stacksz_document,
    expvarz_document, metrics_document, statsz_document, idz_document, profilez_document,
    account_subsz_document, account_jsz_document, account_info_document, kafkaz_document,
    subscribers_document;

extern const struct document *const documents[];
extern const size_t documents_n;

#endif
