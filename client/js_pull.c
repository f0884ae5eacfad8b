/*
 * js_pull.c - pulling from JetStream consumers.
 *
 * A pull keeps `batch` messages on order: it asks for batch at first, and whenever half of that has
 * arrived or ended it asks for what is missing. A request ends by its messages or by a status (404,
 * 408, 409): the pending headers of a status say how many of its messages will not come. Statuses
 * after which asking again is of no use (503: nobody serves the consumer; a 409 that says it was
 * deleted or is not of the pull kind; 400) end the pull.
 *
 * With heartbeats a silence of two of them means that the requests are lost (the server was
 * restarted behind a proxy, say): all is asked for again. A new connection asks again too.
 *
 * A consumer with pinned clients names the pin in what it delivers (Nats-Pin-Id); later requests
 * carry it until a 423 says that it is not ours any more.
 *
 * midge_fetch is a pull of one request.
 */
#include "client/js_int.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"

#include <stdio.h>
#include <string.h>

#define EXPIRES_MS 30000

struct midge_pull {
    struct midge *m;
    struct midge_sub *sub;
    struct client_hook hook;
    struct wheel_timer silence;
    char *next_subject, *group;
    struct midge_pull_options o;
    char inbox[32];
    char pin[64];
    char error[128];  /* "" while it works */
    uint64_t ordered; /* messages that were asked for and have neither come nor been called off */
    bool once;        /* midge_fetch */
    bool heard;       /* anything since the silence timer was set */
    bool done;        /* once: the request has ended */
    unsigned got;
    midge_on_delivery on_delivery;
    void *ctx;
};

/* ---- requests -------------------------------------------------------------------------------- */

static void put_request(struct buf *b, const struct midge_pull *p, uint64_t n)
{
    const struct midge_pull_options *o = &p->o;

    buf_printf(b, "{\"batch\":%llu,\"expires\":%lld", (unsigned long long) n,
               o->no_wait ? 0 : (long long) o->expires_ms * 1000000);
    if (o->no_wait)
        buf_puts(b, ",\"no_wait\":true");
    if (o->heartbeat_ms > 0)
        buf_printf(b, ",\"idle_heartbeat\":%lld", (long long) o->heartbeat_ms * 1000000);
    if (o->max_bytes > 0)
        buf_printf(b, ",\"max_bytes\":%llu", (unsigned long long) o->max_bytes);
    if (p->group != NULL) {
        buf_puts(b, ",\"group\":");
        jput_string(b, str_of(p->group));
    }
    if (o->min_pending > 0)
        buf_printf(b, ",\"min_pending\":%llu", (unsigned long long) o->min_pending);
    if (o->min_ack_pending > 0)
        buf_printf(b, ",\"min_ack_pending\":%llu", (unsigned long long) o->min_ack_pending);
    if (o->priority > 0)
        buf_printf(b, ",\"priority\":%d", o->priority);
    if (p->pin[0] != '\0') {
        buf_puts(b, ",\"id\":");
        jput_string(b, str_of(p->pin));
    }
    buf_putc(b, '}');
}

static void watch_silence(struct midge_pull *p)
{
    p->heard = false;
    if (p->o.heartbeat_ms > 0)
        io_timer_start(p->m->io, &p->silence,
                       io_now(p->m->io) + 2 * (uint64_t) p->o.heartbeat_ms * CLIENT_MS);
}

static void order(struct midge_pull *p)
{
    struct buf body = {0};
    uint64_t n = p->o.batch - p->ordered;
    struct midge_msg msg = {.subject = midge_text_of(p->next_subject),
                            .reply = midge_text_of(p->inbox)};

    if (!client_up(p->m))
        return;
    put_request(&body, p, n);
    msg.payload = client_text(buf_str(&body));
    client_publish(p->m, &msg);
    buf_free(&body);
    p->ordered += n;
    if (!wheel_pending(&p->silence))
        watch_silence(p);
}

static void silent(struct wheel_timer *t)
{
    struct midge_pull *p = CONTAINER_OF(t, struct midge_pull, silence);

    if (p->error[0] != '\0' || p->done)
        return;
    if (!p->heard && p->once) {
        p->done = true;
        return;
    }
    if (!p->heard) {
        p->ordered = 0;
        order(p);
    }
    watch_silence(p);
}

static void lost(struct client_hook *h)
{
    struct midge_pull *p = CONTAINER_OF(h, struct midge_pull, hook);

    p->ordered = 0;
    io_timer_stop(p->m->io, &p->silence);
    if (p->once) {
        snprintf(p->error, sizeof(p->error), "the connection broke");
        p->done = true;
    }
}

static void back(struct client_hook *h)
{
    struct midge_pull *p = CONTAINER_OF(h, struct midge_pull, hook);

    if (p->error[0] == '\0' && !p->once)
        order(p);
}

/* ---- what comes ------------------------------------------------------------------------------ */

static bool hopeless(unsigned status, struct str text)
{
    return status == 400 || (status == 409 && (str_eq_nocase(text, STR("Consumer Deleted")) ||
                                               str_eq_nocase(text, STR("Consumer is push based"))));
}

static void take_status(struct midge_pull *p, const struct midge_msg *msg, unsigned status)
{
    struct str left = header_get(client_str(msg->header), STR("Nats-Pending-Messages"));
    struct str code, text;
    uint64_t n;

    if (status == 100)
        return;
    header_status(client_str(msg->header), &code, &text);
    if (status == 503)
        snprintf(p->error, sizeof(p->error), "no such consumer");
    else if (hopeless(status, text))
        snprintf(p->error, sizeof(p->error), "%.*s", STR_ARG(text));
    else if (status == 423)
        p->pin[0] = '\0';
    p->done = p->once;
    if (left.p != NULL && str_to_u64(left, &n))
        p->ordered -= n < p->ordered ? n : p->ordered;
    else
        p->ordered = 0;
}

static void keep_pin(struct midge_pull *p, struct midge_text header)
{
    struct str pin = header_get(client_str(header), STR("Nats-Pin-Id"));

    if (pin.n > 0)
        snprintf(p->pin, sizeof(p->pin), "%.*s", STR_ARG(pin));
}

static void pulled(void *ctx, const struct midge_msg *msg)
{
    struct midge_pull *p = ctx;
    struct midge_delivery d;
    unsigned status = msg->reply.n == 0 ? client_status(msg->header) : 0;

    p->heard = true;
    if (status != 0) {
        take_status(p, msg, status);
    } else if (js_describe(msg, &d)) {
        if (p->ordered > 0)
            p->ordered--;
        if (p->group != NULL)
            keep_pin(p, msg->header);
        p->got++;
        p->done = p->once && p->ordered == 0;
        p->on_delivery(p->ctx, &d);
    }
    if (!p->once && p->ordered <= p->o.batch / 2 && p->error[0] == '\0')
        order(p);
}

/* ---- life ------------------------------------------------------------------------------------ */

static struct midge_pull *open_pull(struct midge *m, const char *stream, const char *consumer,
                                    const struct midge_pull_options *o, bool once)
{
    struct midge_pull *p = mem_zalloc(sizeof(*p));
    struct buf subject = {0};

    p->m = m;
    p->o = *o;
    p->o.batch = o->batch > 0 ? o->batch : 1;
    p->o.expires_ms = o->expires_ms > 0 ? o->expires_ms : EXPIRES_MS;
    p->once = once;
    p->group = o->group != NULL ? mem_strdup(o->group) : NULL;
    js_subject(m, &subject, "CONSUMER.MSG.NEXT.%s.%s", stream, consumer);
    p->next_subject = mem_strdup(buf_cstr(&subject));
    buf_free(&subject);
    wheel_timer_init(&p->silence, silent);
    p->hook = (struct client_hook){.lost = lost, .back = back};
    client_hook_add(m, &p->hook);
    midge_inbox(m, p->inbox);
    p->sub = midge_subscribe(m, midge_text_of(p->inbox), (struct midge_text){NULL, 0}, pulled, p);
    return p;
}

struct midge_pull *midge_pull_start(struct midge *m, const char *stream, const char *consumer,
                                    const struct midge_pull_options *o,
                                    midge_on_delivery on_delivery, void *ctx)
{
    struct midge_pull *p = open_pull(m, stream, consumer, o, false);

    p->o.no_wait = false;
    p->on_delivery = on_delivery;
    p->ctx = ctx;
    order(p);
    return p;
}

struct midge_pull *midge_pull_open(struct midge *m, const char *stream, const char *consumer,
                                   unsigned batch, midge_on_delivery on_delivery, void *ctx)
{
    return midge_pull_start(m, stream, consumer, &(struct midge_pull_options){.batch = batch},
                            on_delivery, ctx);
}

const char *midge_pull_error(const struct midge_pull *p)
{
    return p->error[0] != '\0' ? p->error : NULL;
}

void midge_pull_close(struct midge_pull *p)
{
    list_remove(&p->hook.link);
    io_timer_stop(p->m->io, &p->silence);
    midge_unsubscribe(p->m, p->sub);
    mem_free(p->next_subject);
    mem_free(p->group);
    mem_free(p);
}

/* The request's own end comes as a status; a second more is for the way. */
static int run_fetch(struct midge_pull *p)
{
    struct midge *m = p->m;
    uint64_t end = client_end(p->o.no_wait ? m->o.timeout_ms : p->o.expires_ms + 1000);
    int rc = client_wait_up(m, end);

    if (rc != MIDGE_OK)
        return rc;
    order(p);
    rc = client_wait_flag(m, &p->done, end);
    if (rc == MIDGE_TIMEOUT && p->got > 0)
        rc = MIDGE_OK;
    if (rc == MIDGE_OK && p->error[0] != '\0')
        rc = client_error(m, client_up(m) ? MIDGE_NOT_FOUND : MIDGE_LOST, "%s", p->error);
    return rc;
}

int midge_fetch(struct midge *m, const char *stream, const char *consumer,
                const struct midge_pull_options *o, midge_on_delivery on_delivery, void *ctx,
                unsigned *got)
{
    struct midge_pull *p;
    int rc;

    if (!js_name_valid(stream))
        return js_bad_name(m, "stream", stream);
    if (!js_name_valid(consumer))
        return js_bad_name(m, "consumer", consumer);
    p = open_pull(m, stream, consumer, o, true);
    p->on_delivery = on_delivery;
    p->ctx = ctx;
    rc = run_fetch(p);
    if (got != NULL)
        *got = p->got;
    midge_pull_close(p);
    return rc;
}
