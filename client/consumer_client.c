/*
 * consumer_client.c - pulling and receiving from JetStream consumers.
 *
 * A pull keeps `batch` messages on order: it asks for batch at first, and whenever half of that has
 * arrived or ended it asks for what is missing. A request ends by its messages or by a status (404,
 * 408, 409): the pending headers of a status say how many of its messages will not come. Statuses
 * after which asking again is of no use (503: nobody serves the consumer; a 409 that says it was
 * deleted or is not of the pull kind) end the pull.
 */
#include "client/client_int.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/wire/ack_subject.h"

#include <stdio.h>
#include <string.h>

#define PULL_EXPIRES_NS 30000000000ll

struct midge_pull {
    struct midge *m;
    struct midge_sub *sub;
    char *next_subject;
    char inbox[32];
    unsigned batch;
    char error[128];  /* "" while it works */
    uint64_t ordered; /* messages that were asked for and have neither come nor been called off */
    midge_on_delivery on_delivery;
    void *ctx;
};

struct midge_push {
    struct midge *m;
    struct midge_sub *sub;
    midge_on_delivery on_delivery;
    void *ctx;
};

static const struct midge_text nothing = {NULL, 0};

static bool describe(const struct midge_msg *msg, struct midge_delivery *d)
{
    struct ack_subject a;

    if (!ack_subject_parse(client_str(msg->reply), &a))
        return false;
    *d = (struct midge_delivery){
        .msg = *msg,
        .stream_seq = a.info.stream_seq,
        .consumer_seq = a.info.consumer_seq,
        .delivered = a.info.delivered,
        .pending = a.info.pending,
        .time_ns = a.info.time_ns,
    };
    return true;
}

static void order(struct midge_pull *p)
{
    char body[128];
    uint64_t n = p->batch - p->ordered;
    int len = snprintf(body, sizeof(body), "{\"batch\":%llu,\"expires\":%lld}",
                       (unsigned long long) n, PULL_EXPIRES_NS);
    struct midge_msg msg = {
        .subject = {p->next_subject, strlen(p->next_subject)},
        .reply = {p->inbox, strlen(p->inbox)},
        .payload = {body, (size_t) len},
    };

    client_publish(p->m, &msg);
    p->ordered += n;
}

static bool hopeless(struct str description)
{
    return str_eq_nocase(description, STR("Consumer Deleted")) ||
           str_eq_nocase(description, STR("Consumer is push based"));
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
    else if (status == 409 && hopeless(text))
        snprintf(p->error, sizeof(p->error), "%.*s", STR_ARG(text));
    if (left.p != NULL && str_to_u64(left, &n))
        p->ordered -= n < p->ordered ? n : p->ordered;
    else
        p->ordered = 0;
}

static void pulled(void *ctx, const struct midge_msg *msg)
{
    struct midge_pull *p = ctx;
    struct midge_delivery d;
    unsigned status = msg->reply.n == 0 ? client_status(msg->header) : 0;

    if (status != 0) {
        take_status(p, msg, status);
    } else if (describe(msg, &d)) {
        if (p->ordered > 0)
            p->ordered--;
        p->on_delivery(p->ctx, &d);
    }
    if (p->ordered <= p->batch / 2 && p->error[0] == '\0')
        order(p);
}

struct midge_pull *midge_pull_open(struct midge *m, const char *stream, const char *consumer,
                                   unsigned batch, midge_on_delivery on_delivery, void *ctx)
{
    struct midge_pull *p = mem_zalloc(sizeof(*p));
    struct buf subject = {0};

    p->m = m;
    p->batch = batch > 0 ? batch : 1;
    p->on_delivery = on_delivery;
    p->ctx = ctx;
    buf_printf(&subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", stream, consumer);
    p->next_subject = mem_strdup(buf_cstr(&subject));
    buf_free(&subject);
    midge_inbox(m, p->inbox);
    p->sub = midge_subscribe(m, (struct midge_text){p->inbox, strlen(p->inbox)}, nothing, pulled,
                             p);
    order(p);
    return p;
}

const char *midge_pull_error(const struct midge_pull *p)
{
    return p->error[0] != '\0' ? p->error : NULL;
}

void midge_pull_close(struct midge_pull *p)
{
    midge_unsubscribe(p->m, p->sub);
    mem_free(p->next_subject);
    mem_free(p);
}

/* ---- push ------------------------------------------------------------------------------------ */

static void answer_empty(struct midge *m, struct midge_text subject)
{
    client_publish(m, &(struct midge_msg){.subject = subject});
}

static void pushed(void *ctx, const struct midge_msg *msg)
{
    struct midge_push *p = ctx;
    struct midge_delivery d;

    if (client_status(msg->header) == 100) {
        struct str stalled = header_get(client_str(msg->header), STR("Nats-Consumer-Stalled"));
        if (msg->reply.n > 0)
            answer_empty(p->m, msg->reply);
        else if (stalled.p != NULL)
            answer_empty(p->m, client_text(stalled));
        return;
    }
    if (describe(msg, &d))
        p->on_delivery(p->ctx, &d);
}

struct midge_push *midge_push_open(struct midge *m, struct midge_text deliver_subject,
                                   struct midge_text group, midge_on_delivery on_delivery,
                                   void *ctx)
{
    struct midge_push *p = mem_zalloc(sizeof(*p));

    p->m = m;
    p->on_delivery = on_delivery;
    p->ctx = ctx;
    p->sub = midge_subscribe(m, deliver_subject, group, pushed, p);
    return p;
}

void midge_push_close(struct midge_push *p)
{
    midge_unsubscribe(p->m, p->sub);
    mem_free(p);
}

int midge_ack(struct midge *m, struct midge_text ack_subject)
{
    if (m->closed)
        return MIDGE_CLOSED;
    answer_empty(m, ack_subject);
    return MIDGE_OK;
}
