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
#include "server/monitor/monitor.h"
#include "server/net/net.h"

#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct query;

struct conn_part {
    struct net_conn_info info;
    json_t *subs; /* NULL unless asked for */
};

/* What one worker contributes. */
struct part {
    struct net_stats net;
    struct js_stats js;
    bool has_js;
    struct conn_part *conns;
    size_t nconns;
    struct buf text; /* JSON array of stream details */
};

struct document {
    const char *path;
    /* NULL: nothing to collect. */
    void (*step)(struct query *q, struct env *env, struct part *part);
    /* Returns the document (a new reference); may set q->status. */
    json_t *(*finish)(struct query *q);
};

struct query {
    struct monitor_collect collect;
    struct monitor *monitor;
    const struct document *document;
    struct evhttp_request *request; /* NULL when the client has gone */
    struct evkeyvalq params;
    struct part *parts; /* one per worker */
    int status;
    char error[160]; /* set with status 400: the text */
};

struct monitor {
    struct monitor_host host;
    struct evhttp *http;
    struct evhttp_bound_socket *bound;
    uint64_t requests[16];
};

/* Parameter as Go's ParseBool, or `absent`; a bad value sets status 400 and the text. */
bool query_bool(struct query *q, const char *name, bool absent);
int64_t query_int(struct query *q, const char *name, int64_t absent);
const char *query_text(struct query *q, const char *name);

void put_str(json_t *o, const char *key, const char *value);
void put_int(json_t *o, const char *key, int64_t value);
void put_bool(json_t *o, const char *key, bool value);
void put_time(json_t *o, const char *key, int64_t unix_ns);
/* "1m2s" and the like, as the peer prints uptimes: 1d2h3m4s. */
void put_uptime(json_t *o, const char *key, int64_t ns);
int64_t monitor_wall(void);
void sum_net(const struct query *q, struct net_stats *out);
void sum_js(const struct query *q, struct js_stats *out);

extern const struct document varz_document, connz_document, jsz_document, subsz_document,
    subscriptionsz_document, healthz_document;

#endif
