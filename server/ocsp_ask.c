/*
 * ocsp_ask.c - each responder is asked with POST and, when that fails, with GET, which some want
 * for the caches between; then the next one is. What comes is read at once: bytes that are no
 * answer about this certificate count like no answer, and the next responder is asked.
 *
 *     started -> fetching (step) -> an answer, or the last step failed -> done
 */
#include "server/ocsp_ask.h"

#include "lib/base/base64.h"
#include "lib/base/mem.h"

#include <event2/event.h>
#include <stdio.h>

#define URLS_MAX 8u

struct ocsp_ask {
    struct url_way way;
    struct x509_st *cert, *issuer;
    struct str_list urls;
    struct buf question;
    size_t step;   /* two for each URL: POST, GET */
    size_t stride; /* 2: GET alone */
    struct url_fetch *fetch;
    struct event *over; /* there was nobody to ask */
    ocsp_done *done;
    void *ctx;
    struct buf why;
    bool reached;
};

static bool take_url(void *ctx, struct str url)
{
    struct ocsp_ask *a = ctx;

    str_list_add(&a->urls, url);
    return a->urls.n < URLS_MAX;
}

static void take_urls(struct ocsp_ask *a, const struct str_list *instead)
{
    if (instead == NULL || instead->n == 0) {
        ocsp_each_url(a->cert, take_url, a);
        return;
    }
    for (size_t i = 0; i < instead->n; i++)
        if (!take_url(a, str_of(instead->items[i])))
            break;
}

static struct ocsp_ask *make(const struct url_way *way, const struct ocsp_about *about,
                             ocsp_done *done, void *ctx)
{
    struct ocsp_ask *a = mem_zalloc(sizeof(*a));

    a->way = *way;
    a->cert = ocsp_cert_get(about->cert);
    a->issuer = ocsp_cert_get(about->issuer);
    a->stride = about->get_only ? 2 : 1;
    a->step = about->get_only ? 1 : 0;
    a->done = done;
    a->ctx = ctx;
    take_urls(a, about->urls);
    if (!ocsp_put_question(a->cert, a->issuer, &a->question))
        str_list_free(&a->urls);
    return a;
}

static void free_ask(struct ocsp_ask *a)
{
    url_fetch_stop(a->fetch);
    if (a->over != NULL)
        event_free(a->over);
    ocsp_cert_put(a->cert);
    ocsp_cert_put(a->issuer);
    str_list_free(&a->urls);
    buf_free(&a->question);
    buf_free(&a->why);
    mem_free(a);
}

void ocsp_ask_stop(struct ocsp_ask *a)
{
    if (a != NULL)
        free_ask(a);
}

int64_t ocsp_clock(const struct url_way *way)
{
    struct timeval tv;

    event_base_gettimeofday_cached(way->base, &tv);
    return (int64_t) tv.tv_sec;
}

/* ---- one step -------------------------------------------------------------------------------- */

static void put_escaped(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '+' || c == '/' || c == '=')
            buf_printf(out, "%%%02X", (unsigned) c);
        else
            buf_putc(out, c);
    }
}

static void put_url(const struct ocsp_ask *a, struct buf *out)
{
    struct str url = str_of(a->urls.items[a->step / 2]);
    struct buf text = {0};

    while (url.n > 0 && url.p[url.n - 1] == '/')
        url.n--;
    buf_put_str(out, url);
    if (a->step % 2 == 0)
        return;
    base64_encode(&text, buf_str(&a->question));
    buf_putc(out, '/');
    put_escaped(out, buf_str(&text));
    buf_free(&text);
}

/* The way of this step; post is where it is kept. */
static struct url_way way_of(const struct ocsp_ask *a, struct url_post *post)
{
    struct url_way way = a->way;

    *post = (struct url_post){.body = buf_str(&a->question),
                              .type = "application/ocsp-request",
                              .accept = "application/ocsp-response"};
    way.post = a->step % 2 == 0 ? post : NULL;
    return way;
}

static void note(struct ocsp_ask *a, const char *why)
{
    buf_printf(&a->why, "%s%s", a->why.n > 0 ? "; " : "", why);
}

/* What a step brought; true when it is an answer, and done was called. */
static bool take(struct ocsp_ask *a, struct str body, const char *err)
{
    struct ocsp_asked what = {.der = body};
    char why[160];

    if (err[0] != '\0') {
        note(a, err);
        return false;
    }
    a->reached = true;
    if (!ocsp_read_answer(body, a->cert, a->issuer, &what.answer, why)) {
        note(a, why);
        return false;
    }
    a->done(a->ctx, &what);
    return true;
}

static void give_up(struct ocsp_ask *a)
{
    struct buf why = {0};

    if (a->why.n == 0)
        buf_puts(&why, "no available ocsp servers");
    else
        buf_printf(&why, "exhausted ocsp servers: %s", buf_cstr(&a->why));
    a->done(a->ctx, &(struct ocsp_asked){.why = buf_cstr(&why), .reached = a->reached});
    buf_free(&why);
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static void step(struct ocsp_ask *a);

static void fetched(void *ctx, struct str body, const char *err)
{
    struct ocsp_ask *a = ctx;

    a->fetch = NULL;
    if (take(a, body, err)) {
        free_ask(a);
        return;
    }
    a->step += a->stride;
    step(a);
}

static void nobody(evutil_socket_t fd, short what, void *ctx)
{
    struct ocsp_ask *a = ctx;

    (void) fd;
    (void) what;
    give_up(a);
    free_ask(a);
}

static void step(struct ocsp_ask *a)
{
    for (; a->step < 2 * a->urls.n; a->step += a->stride) {
        struct url_post post;
        struct url_way way = way_of(a, &post);
        struct buf url = {0}, err = {0};
        put_url(a, &url);
        a->fetch = url_fetch_start(&way, buf_cstr(&url), fetched, a, &err);
        if (a->fetch == NULL)
            note(a, buf_cstr(&err));
        buf_free(&url);
        buf_free(&err);
        if (a->fetch != NULL)
            return;
    }
    event_active(a->over, EV_TIMEOUT, 0);
}

struct ocsp_ask *ocsp_ask_start(const struct url_way *way, const struct ocsp_about *about,
                                ocsp_done *done, void *ctx)
{
    struct ocsp_ask *a = make(way, about, done, ctx);

    a->over = evtimer_new(way->base, nobody, a);
    step(a);
    return a;
}

void ocsp_ask_now(const struct url_way *way, const struct ocsp_about *about, ocsp_done *done,
                  void *ctx)
{
    struct ocsp_ask *a = make(way, about, done, ctx);
    bool answered = false;

    for (; !answered && a->step < 2 * a->urls.n; a->step += a->stride) {
        struct url_post post;
        struct url_way here = way_of(a, &post);
        struct buf url = {0}, body = {0}, err = {0};
        put_url(a, &url);
        url_fetch_now(&here, buf_cstr(&url), &body, &err);
        answered = take(a, buf_str(&body), buf_cstr(&err));
        buf_free(&url);
        buf_free(&body);
        buf_free(&err);
    }
    if (!answered)
        give_up(a);
    free_ask(a);
}
