/*
 * monitor.c - HTTP requests to documents and back; parameters; the index page.
 *
 * evhttp frees a request when its connection goes; a query that is still collecting then loses its
 * request (on_gone) and its answer is thrown away.
 */
#include "server/monitor/monitor.h"

#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "server/monitor/monitor_int.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/http_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What a request may take; nothing we serve needs a body. */
#define HEADERS_MAX (16 * 1024)
#define BODY_MAX (16 * 1024)
#define IDLE_SECONDS 60

static const struct document *const documents[] = {
    &varz_document,  &connz_document,          &jsz_document,
    &subsz_document, &subscriptionsz_document, &healthz_document,
};

/* ---- helpers --------------------------------------------------------------------------------- */

const char *query_text(struct query *q, const char *name)
{
    return evhttp_find_header(&q->params, name);
}

bool query_bool(struct query *q, const char *name, bool absent)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    const char *text = query_text(q, name);

    if (text == NULL || text[0] == '\0')
        return absent;
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (strcmp(text, yes[i]) == 0)
            return true;
        if (strcmp(text, no[i]) == 0)
            return false;
    }
    q->status = 400;
    snprintf(q->error, sizeof(q->error),
             "error 400: strconv.ParseBool: parsing \"%.64s\": invalid syntax", text);
    return absent;
}

int64_t query_int(struct query *q, const char *name, int64_t absent)
{
    const char *text = query_text(q, name);
    int64_t v;

    if (text == NULL || text[0] == '\0')
        return absent;
    if (str_to_i64(str_of(text), &v))
        return v;
    q->status = 400;
    snprintf(q->error, sizeof(q->error),
             "error 400: strconv.Atoi: parsing \"%.64s\": invalid syntax", text);
    return absent;
}

void put_str(json_t *o, const char *key, const char *value)
{
    json_object_set_new(o, key, json_string(value != NULL ? value : ""));
}

void put_int(json_t *o, const char *key, int64_t value)
{
    json_object_set_new(o, key, json_integer(value));
}

void put_bool(json_t *o, const char *key, bool value)
{
    json_object_set_new(o, key, json_boolean(value));
}

void put_time(json_t *o, const char *key, int64_t unix_ns)
{
    char text[FMT_TIME_MAX];

    fmt_time_rfc3339(text, unix_ns);
    put_str(o, key, text);
}

void put_uptime(json_t *o, const char *key, int64_t ns)
{
    int64_t s = ns / 1000000000;
    char text[64];

    if (s >= 86400)
        snprintf(text, sizeof(text), "%lldd%lldh%lldm%llds", (long long) (s / 86400),
                 (long long) (s / 3600 % 24), (long long) (s / 60 % 60), (long long) (s % 60));
    else if (s >= 3600)
        snprintf(text, sizeof(text), "%lldh%lldm%llds", (long long) (s / 3600),
                 (long long) (s / 60 % 60), (long long) (s % 60));
    else if (s >= 60)
        snprintf(text, sizeof(text), "%lldm%llds", (long long) (s / 60), (long long) (s % 60));
    else
        snprintf(text, sizeof(text), "%llds", (long long) s);
    put_str(o, key, text);
}

int64_t monitor_wall(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
}

void sum_net(const struct query *q, struct net_stats *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < q->monitor->host.workers; i++) {
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
    }
}

void sum_js(const struct query *q, struct js_stats *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < q->monitor->host.workers; i++) {
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
        out->max_memory = j->max_memory;
        out->max_storage = j->max_storage;
    }
}

/* ---- answering ------------------------------------------------------------------------------- */

static void send_text(struct evhttp_request *request, int status, const char *type,
                      const char *text)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    struct evbuffer *body = evbuffer_new();

    if (body == NULL)
        FATAL("out of memory");
    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "Access-Control-Allow-Origin", "*");
    evbuffer_add(body, text, strlen(text));
    evhttp_send_reply(request, status, NULL, body);
    evbuffer_free(body);
}

static void free_query(struct query *q)
{
    for (unsigned i = 0; i < q->monitor->host.workers; i++) {
        for (size_t k = 0; k < q->parts[i].nconns; k++)
            json_decref(q->parts[i].conns[k].subs);
        mem_free(q->parts[i].conns);
        buf_free(&q->parts[i].text);
    }
    evhttp_clear_headers(&q->params);
    mem_free(q->parts);
    mem_free(q);
}

static void answer(struct query *q)
{
    json_t *document = q->document->finish(q);
    char *text;

    if (q->request != NULL && q->status == 400) {
        send_text(q->request, 400, "text/plain", q->error);
    } else if (q->request != NULL) {
        text = json_dumps(document, JSON_INDENT(2));
        send_text(q->request, q->status, "application/json", text != NULL ? text : "{}");
        free(text); /* tidy: jansson allocated it */
    }
    json_decref(document);
    free_query(q);
}

static void collect_step(struct monitor_collect *c, struct env *env)
{
    struct query *q = CONTAINER_OF(c, struct query, collect);
    q->document->step(q, env, &q->parts[env->worker]);
}

static void collect_done(struct monitor_collect *c)
{
    struct query *q = CONTAINER_OF(c, struct query, collect);

    if (q->request != NULL && evhttp_request_get_connection(q->request) != NULL)
        evhttp_connection_set_closecb(evhttp_request_get_connection(q->request), NULL, NULL);
    answer(q);
}

static void on_gone(struct evhttp_connection *connection, void *ctx)
{
    struct query *q = ctx;

    (void) connection;
    q->request = NULL;
}

static void start(struct monitor *m, const struct document *d, struct evhttp_request *request)
{
    struct query *q = mem_zalloc(sizeof(*q));
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    const char *text = evhttp_uri_get_query(uri);

    q->monitor = m;
    q->document = d;
    q->request = request;
    q->status = 200;
    q->parts = mem_zalloc(m->host.workers * sizeof(*q->parts));
    evhttp_parse_query_str(text != NULL ? text : "", &q->params);
    q->collect = (struct monitor_collect){collect_step, collect_done};
    if (d->step == NULL) {
        answer(q);
        return;
    }
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_gone, q);
    m->host.collect(m->host.ctx, &q->collect);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void send_index(struct evhttp_request *request)
{
    struct buf b = {0};

    buf_puts(&b, "<html><head><title>midge</title></head><body><h3>midge monitoring</h3><ul>");
    for (size_t i = 0; i < ARRAY_LEN(documents); i++)
        buf_printf(&b, "<li><a href=\".%s\">%s</a></li>", documents[i]->path,
                   documents[i]->path + 1);
    buf_puts(&b, "</ul></body></html>\n");
    send_text(request, 200, "text/html", buf_cstr(&b));
    buf_free(&b);
}

static void on_request(struct evhttp_request *request, void *ctx)
{
    struct monitor *m = ctx;
    const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));
    const char *base = m->host.options->http_base_path;

    if (path == NULL)
        path = "/";
    if (base != NULL && strncmp(path, base, strlen(base)) == 0)
        path += strlen(base);
    if (path[0] == '\0' || strcmp(path, "/") == 0) {
        send_index(request);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(documents); i++)
        if (strcmp(path, documents[i]->path) == 0) {
            m->requests[i]++;
            start(m, documents[i], request);
            return;
        }
    send_text(request, 404, "text/plain", "404 page not found\n");
}

struct monitor *monitor_open(struct event_base *base, const struct monitor_host *host,
                             const char *address, uint16_t *port, char why[256])
{
    struct monitor *m = mem_zalloc(sizeof(*m));
    ev_socklen_t len = sizeof(struct sockaddr_storage);
    struct sockaddr_storage bound;

    m->host = *host;
    m->http = evhttp_new(base);
    if (m->http == NULL)
        FATAL("out of memory");
    evhttp_set_allowed_methods(m->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_max_headers_size(m->http, HEADERS_MAX);
    evhttp_set_max_body_size(m->http, BODY_MAX);
    evhttp_set_timeout(m->http, IDLE_SECONDS);
    evhttp_set_gencb(m->http, on_request, m);
    m->bound = evhttp_bind_socket_with_handle(m->http, address, *port);
    if (m->bound == NULL) {
        snprintf(why, 256, "listen tcp %s:%u: %s", address, *port,
                 evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
        evhttp_free(m->http);
        mem_free(m);
        return NULL;
    }
    if (getsockname(evhttp_bound_socket_get_fd(m->bound), (struct sockaddr *) &bound, &len) == 0)
        *port = bound.ss_family == AF_INET6
                    ? ntohs(((const struct sockaddr_in6 *) (const void *) &bound)->sin6_port)
                    : ntohs(((const struct sockaddr_in *) (const void *) &bound)->sin_port);
    return m;
}

void monitor_set_options(struct monitor *m, const struct options *options)
{
    m->host.options = options;
    m->host.config_load_wall_ns = monitor_wall();
}

void monitor_close(struct monitor *m)
{
    evhttp_free(m->http);
    mem_free(m);
}
