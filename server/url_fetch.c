/*
 * url_fetch.c - libevent's HTTP client, one connection per request.
 *
 * The library calls back whenever it likes: for an address that can not be reached, within the call
 * that makes the request. So its callback only keeps what came, and an event of our own, in a later
 * turn of the loop, tells the caller and frees connection and request:
 *
 * HTTPS is the same over libevent's OpenSSL buffers: the server's certificate must lead to the
 * authorities of the way's context and have the URL's host. Names are looked up by libevent's own
 * resolver, which reads resolv.conf and the hosts file and blocks nobody.
 *
 *     started -> (answered: result kept, event active) -> delivered: done is called, all is freed
 *          \-> stopped <----------/
 */
#include "server/url_fetch.h"

#include "lib/base/mem.h"
#include "lib/jwt/jwt.h"
#include "server/net/tls.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <string.h>

#define HTTP_PORT 80
#define HTTPS_PORT 443

struct url_fetch {
    struct evhttp_connection *connection;
    struct event *over; /* active when there is a result */
    char *url;
    url_fetched *done;
    void *ctx;
    struct buf body, err; /* the result */
};

static void free_fetch(struct url_fetch *f)
{
    if (f->connection != NULL)
        evhttp_connection_free(f->connection);
    if (f->over != NULL)
        event_free(f->over);
    buf_free(&f->body);
    buf_free(&f->err);
    mem_free(f->url);
    mem_free(f);
}

static void deliver(evutil_socket_t fd, short what, void *ctx)
{
    struct url_fetch *f = ctx;

    (void) fd;
    (void) what;
    f->done(f->ctx, buf_str(&f->body), buf_cstr(&f->err));
    free_fetch(f);
}

static void answered(struct evhttp_request *request, void *ctx)
{
    struct url_fetch *f = ctx;
    struct evbuffer *in = request != NULL ? evhttp_request_get_input_buffer(request) : NULL;
    int status = request != NULL ? evhttp_request_get_response_code(request) : 0;
    const char *line = status != 0 ? evhttp_request_get_response_code_line(request) : NULL;
    size_t n = in != NULL ? evbuffer_get_length(in) : 0;

    if (status == 0)
        buf_printf(&f->err, "could not fetch <\"%s\">: no response", f->url);
    else if (status != HTTP_OK)
        buf_printf(&f->err, "could not fetch <\"%s\">: %d %s", f->url, status,
                   line != NULL ? line : "");
    else if (n > 0)
        buf_put(&f->body, evbuffer_pullup(in, -1), n);
    event_active(f->over, EV_TIMEOUT, 0);
}

static bool is_https(const struct evhttp_uri *uri)
{
    return strcmp(evhttp_uri_get_scheme(uri), "https") == 0;
}

static struct evhttp_connection *connection_to(const struct url_way *way,
                                               const struct evhttp_uri *uri)
{
    const char *host = evhttp_uri_get_host(uri);
    int port = evhttp_uri_get_port(uri);
    struct bufferevent *over = NULL;

    if (port <= 0)
        port = is_https(uri) ? HTTPS_PORT : HTTP_PORT;
    if (is_https(uri)) {
        over = bufferevent_openssl_socket_new(way->base, -1,
                                              tls_context_client_session(way->tls, host),
                                              BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
        if (over == NULL)
            return NULL;
        bufferevent_openssl_set_allow_dirty_shutdown(over, 1);
    }
    return evhttp_connection_base_bufferevent_new(way->base, way->dns, over, host, (uint16_t) port);
}

/* What the URL says behind the host. */
static void put_target(const struct evhttp_uri *uri, struct buf *out)
{
    const char *path = evhttp_uri_get_path(uri), *query = evhttp_uri_get_query(uri);

    buf_puts(out, path != NULL && path[0] != '\0' ? path : "/");
    if (query != NULL)
        buf_printf(out, "?%s", query);
}

static struct evhttp_request *request_for(struct url_fetch *f, const char *host,
                                          const struct url_post *post)
{
    struct evhttp_request *request = evhttp_request_new(answered, f);
    struct evkeyvalq *fields = request != NULL ? evhttp_request_get_output_headers(request) : NULL;

    if (request == NULL)
        return NULL;
    evhttp_add_header(fields, "Host", host);
    evhttp_add_header(fields, "Connection", "close");
    if (post != NULL) {
        evhttp_add_header(fields, "Content-Type", post->type);
        evhttp_add_header(fields, "Accept", post->accept);
        evbuffer_add(evhttp_request_get_output_buffer(request), post->body.p, post->body.n);
    }
    return request;
}

static bool begin(struct url_fetch *f, const struct url_way *way, const struct evhttp_uri *uri)
{
    struct timeval patience = {.tv_sec = way->timeout_ns / 1000000000,
                               .tv_usec = way->timeout_ns % 1000000000 / 1000};
    struct evhttp_request *request;
    struct buf target = {0};
    bool ok;

    f->over = evtimer_new(way->base, deliver, f);
    f->connection = connection_to(way, uri);
    if (f->over == NULL || f->connection == NULL)
        return false;
    evhttp_connection_set_timeout_tv(f->connection, &patience);
    evhttp_connection_set_max_body_size(f->connection, JWT_MAX);
    request = request_for(f, evhttp_uri_get_host(uri), way->post);
    if (request == NULL)
        return false;
    put_target(uri, &target);
    ok = evhttp_make_request(f->connection, request,
                             way->post != NULL ? EVHTTP_REQ_POST : EVHTTP_REQ_GET,
                             buf_cstr(&target)) == 0;
    buf_free(&target);
    return ok;
}

/* NULL: nothing is wrong with it. */
static const char *wrong_with(const struct url_way *way, const struct evhttp_uri *uri)
{
    const char *scheme = uri != NULL ? evhttp_uri_get_scheme(uri) : NULL;

    if (scheme == NULL || evhttp_uri_get_host(uri) == NULL ||
        (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
        return "only http and https are there";
    return is_https(uri) && way->tls == NULL ? "no TLS" : NULL;
}

/* For texts: without a name and a password before the host. The caller frees it. */
static char *shown(const char *url)
{
    const char *host = strstr(url, "://"), *at;
    struct buf b = {0};
    char *text;

    host = host != NULL ? host + 3 : url;
    at = memrchr(host, '@', strcspn(host, "/?#"));
    buf_put(&b, url, (size_t) (host - url));
    buf_puts(&b, at != NULL ? at + 1 : host);
    text = mem_strdup(buf_cstr(&b));
    buf_free(&b);
    return text;
}

struct url_fetch *url_fetch_start(const struct url_way *way, const char *url, url_fetched *done,
                                  void *ctx, struct buf *err)
{
    char *text = shown(url);
    struct evhttp_uri *uri = evhttp_uri_parse(url);
    const char *wrong = wrong_with(way, uri);
    struct url_fetch *f = NULL;

    if (wrong != NULL) {
        buf_printf(err, "could not fetch <\"%s\">: %s", text, wrong);
        mem_free(text);
    } else {
        f = mem_zalloc(sizeof(*f));
        f->url = text;
        f->done = done;
        f->ctx = ctx;
        if (!begin(f, way, uri)) {
            buf_printf(err, "could not fetch <\"%s\">: no connection", f->url);
            free_fetch(f);
            f = NULL;
        }
    }
    if (uri != NULL)
        evhttp_uri_free(uri);
    return f;
}

void url_fetch_stop(struct url_fetch *f)
{
    if (f != NULL)
        free_fetch(f);
}

struct waiting {
    struct buf *body, *err;
    bool done;
};

static void came(void *ctx, struct str body, const char *err)
{
    struct waiting *w = ctx;

    w->done = true;
    buf_put_str(w->body, body);
    buf_puts(w->err, err);
}

bool url_fetch_now(const struct url_way *way, const char *url, struct buf *body, struct buf *err)
{
    struct waiting w = {.body = body, .err = err};
    struct event_base *base = event_base_new();
    struct url_way here = {
        .base = base, .tls = way->tls, .timeout_ns = way->timeout_ns, .post = way->post};
    struct url_fetch *f = NULL;

    if (base != NULL)
        f = url_fetch_start(&here, url, came, &w, err);
    while (f != NULL && !w.done && event_base_loop(base, EVLOOP_ONCE) == 0)
        continue;
    if (f != NULL && !w.done) {
        buf_printf(err, "could not fetch <\"%s\">: no response", f->url);
        url_fetch_stop(f);
    }
    if (base != NULL)
        event_base_free(base);
    return err->n == 0;
}
