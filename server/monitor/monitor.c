/*
 * monitor.c - HTTP requests to documents and back; the index page.
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
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a request may take; nothing we serve needs a body. */
#define HEADERS_MAX (16 * 1024)
#define BODY_MAX (16 * 1024)
#define IDLE_SECONDS 60
#define CALLBACK_MAX 128u

struct monitor {
    struct reports *reports;
    const struct monitor_tls *tls;
    struct event_base *base;
    struct evhttp *http;
    struct evhttp_bound_socket *bound;
};

/* A request that waits for its document. */
struct visit {
    struct evhttp_request *request; /* NULL when the client has gone */
    char *callback;                 /* of JSONP, or NULL */
};

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

static void send_json(const struct visit *v, const struct report *r)
{
    char *text;
    struct buf wrapped = {0};

    /* What it says is in the status of HTTP already. */
    if (r->document == &healthz_document)
        json_object_del((json_t *) r->json, "status_code");
    text = json_dumps(r->json,
                      r->document == &healthz_document ? JSON_COMPACT : (size_t) JSON_INDENT(2));
    if (v->callback != NULL) {
        buf_printf(&wrapped, "%s(%s)", v->callback, text != NULL ? text : "{}");
        send_text(v->request, r->status, "application/javascript", buf_cstr(&wrapped));
    } else {
        send_text(v->request, r->status, "application/json", text != NULL ? text : "{}");
    }
    buf_free(&wrapped);
    mem_free(text);
}

static void answer(void *ctx, const struct report *r)
{
    struct visit *v = ctx;

    if (v->request != NULL) {
        struct evhttp_connection *c = evhttp_request_get_connection(v->request);
        if (c != NULL)
            evhttp_connection_set_closecb(c, NULL, NULL);
        if (r->error != NULL)
            send_text(v->request, r->status, "text/plain; charset=utf-8", r->error);
        else if (r->text != NULL)
            send_text(v->request, r->status, r->type, r->text);
        else
            send_json(v, r);
    }
    mem_free(v->callback);
    mem_free(v);
}

static void on_gone(struct evhttp_connection *connection, void *ctx)
{
    struct visit *v = ctx;

    (void) connection;
    v->request = NULL;
}

/* ---- requests -------------------------------------------------------------------------------- */

/* A name or a path of names of JavaScript: nothing else goes back to a browser. */
static bool is_callback(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$.");

    return n > 0 && n <= CALLBACK_MAX && text[n] == '\0';
}

static bool read_params(const struct document *d, const struct evkeyvalq *params, struct asked *a,
                        char err[256])
{
    for (size_t i = 0; i < d->nparams; i++)
        if (!asked_param(a, &d->params[i], evhttp_find_header(params, d->params[i].name), err))
            return false;
    return true;
}

static void start(struct monitor *m, const struct document *d, struct evhttp_request *request)
{
    const char *text = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
    struct evkeyvalq params;
    struct asked asked = {0};
    struct visit *v;
    const char *callback;
    char err[256];

    evhttp_parse_query_str(text != NULL ? text : "", &params);
    if (!read_params(d, &params, &asked, err)) {
        send_text(request, 400, "text/plain; charset=utf-8", err);
        evhttp_clear_headers(&params);
        asked_free(&asked);
        return;
    }
    v = mem_zalloc(sizeof(*v));
    v->request = request;
    callback = evhttp_find_header(&params, "callback");
    if (callback != NULL && is_callback(callback))
        v->callback = mem_strdup(callback);
    evhttp_clear_headers(&params);
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_gone, v);
    report_start(m->reports, d, &asked, answer, v);
}

static void send_index(struct monitor *m, struct evhttp_request *request)
{
    const char *base = m->reports->host.options->http_base_path;
    struct buf b = {0};

    m->reports->root_requests++;
    buf_puts(&b, "<html lang=\"en\"><head><title>midge</title></head><body><h3>midge monitoring"
                 "</h3><ul>");
    for (size_t i = 0; i < documents_n; i++)
        if (documents[i]->path != NULL)
            buf_printf(&b, "<li><a href=\"%s%s\">%s</a></li>", base != NULL ? base : "",
                       documents[i]->path, documents[i]->path + 1);
    buf_puts(&b, "</ul></body></html>\n");
    send_text(request, 200, "text/html; charset=utf-8", buf_cstr(&b));
    buf_free(&b);
}

/* Behind the base path; NULL when it is not below it. */
static const char *below_base(const struct monitor *m, const char *path)
{
    const char *base = m->reports->host.options->http_base_path;
    size_t n;

    if (base == NULL)
        return path;
    while (*base == '/')
        base++;
    n = strlen(base);
    while (n > 0 && base[n - 1] == '/')
        n--;
    if (n == 0)
        return path;
    if (path[0] != '/' || strncmp(path + 1, base, n) != 0)
        return NULL;
    path += n + 1;
    return path[0] == '\0' || path[0] == '/' ? path : NULL;
}

/* An address that ends with a slash, with a path behind it ("//varz"): the right one is named, as
 * Go does for all its servers. Scrapers follow. False when the path has no two slashes in a row. */
static bool redirect(struct evhttp_request *request)
{
    const char *uri = evhttp_request_get_uri(request);
    size_t path = strcspn(uri, "?");
    struct buf to = {0};

    if (uri[0] != '/' || memmem(uri, path, "//", 2) == NULL)
        return false;
    for (size_t i = 0; uri[i] != '\0'; i++)
        if (i >= path || uri[i] != '/' || i == 0 || uri[i - 1] != '/')
            buf_putc(&to, uri[i]);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Location", buf_cstr(&to));
    send_text(request, 301, "text/plain; charset=utf-8", "Moved Permanently\n");
    buf_free(&to);
    return true;
}

static void on_request(struct evhttp_request *request, void *ctx)
{
    struct monitor *m = ctx;
    const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));

    if (redirect(request))
        return;
    path = below_base(m, path != NULL && path[0] != '\0' ? path : "/");
    if (path != NULL && (path[0] == '\0' || strcmp(path, "/") == 0)) {
        send_index(m, request);
        return;
    }
    for (size_t i = 0; path != NULL && i < documents_n; i++)
        if (documents[i]->path != NULL && strcmp(path, documents[i]->path) == 0) {
            m->reports->requests[i]++;
            start(m, documents[i], request);
            return;
        }
    send_text(request, 404, "text/plain; charset=utf-8", "404 page not found\n");
}

/* ---- life ------------------------------------------------------------------------------------ */

static struct bufferevent *wrap(struct event_base *base, void *ctx)
{
    const struct monitor *m = ctx;

    return m->tls->wrap(base, m->tls->ctx);
}

/* 0.0.0.0 is every address, as with io_listen. */
static struct evhttp_bound_socket *bind_at(struct evhttp *http, const char *address, uint16_t port)
{
    struct evhttp_bound_socket *bound = NULL;

    if (strcmp(address, "0.0.0.0") == 0)
        bound = evhttp_bind_socket_with_handle(http, "::", port);
    return bound != NULL ? bound : evhttp_bind_socket_with_handle(http, address, port);
}

struct monitor *monitor_open(struct event_base *base, struct reports *reports,
                             const struct monitor_tls *tls, const char *address, uint16_t *port,
                             char why[256])
{
    struct monitor *m = mem_zalloc(sizeof(*m));
    ev_socklen_t len = sizeof(struct sockaddr_storage);
    struct sockaddr_storage bound;
    char text[FMT_HOST_PORT_MAX];

    m->reports = reports;
    m->base = base;
    m->tls = tls;
    m->http = evhttp_new(base);
    if (m->http == NULL)
        FATAL("out of memory");
    evhttp_set_allowed_methods(m->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_max_headers_size(m->http, HEADERS_MAX);
    evhttp_set_max_body_size(m->http, BODY_MAX);
    evhttp_set_timeout(m->http, IDLE_SECONDS);
    evhttp_set_gencb(m->http, on_request, m);
    if (tls != NULL)
        evhttp_set_bevcb(m->http, wrap, m);
    m->bound = bind_at(m->http, address, *port);
    if (m->bound == NULL) {
        snprintf(why, 256, "listen tcp %s: %s", fmt_host_port(text, address, *port),
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

void monitor_close(struct monitor *m)
{
    evhttp_free(m->http);
    mem_free(m);
}
