/* js_ack.c - what is said about a delivery: acknowledgements of all kinds, and flow control. */
#include "client/js_int.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/wire/ack_subject.h"

#include <stdio.h>
#include <string.h>

bool js_describe(const struct midge_msg *msg, struct midge_delivery *d)
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

static int say(struct midge *m, struct midge_text subject, struct midge_text text)
{
    if (m->state == CLIENT_ENDED)
        return MIDGE_CLOSED;
    client_publish(m, &(struct midge_msg){.subject = subject, .payload = text});
    return client_up(m) ? MIDGE_OK : MIDGE_LOST;
}

bool js_take_flow(struct midge *m, const struct midge_msg *msg)
{
    static const struct midge_text nothing = {NULL, 0};
    struct str stalled;

    if (client_status(msg->header) != 100)
        return false;
    stalled = header_get(client_str(msg->header), STR("Nats-Consumer-Stalled"));
    if (msg->reply.n > 0)
        say(m, msg->reply, nothing);
    else if (stalled.n > 0)
        say(m, client_text(stalled), nothing);
    return true;
}

int midge_ack(struct midge *m, struct midge_text ack_subject)
{
    return say(m, ack_subject, (struct midge_text){NULL, 0});
}

int midge_ack_wait(struct midge *m, struct midge_text ack_subject)
{
    struct midge_msg msg = {.subject = ack_subject, .payload = MIDGE_TEXT("+ACK")};

    return midge_request(m, &msg, m->o.timeout_ms, NULL, NULL);
}

int midge_nak(struct midge *m, struct midge_text ack_subject, int64_t delay_ns)
{
    char text[64];

    if (delay_ns <= 0)
        return say(m, ack_subject, (struct midge_text) MIDGE_TEXT("-NAK"));
    snprintf(text, sizeof(text), "-NAK {\"delay\":%lld}", (long long) delay_ns);
    return say(m, ack_subject, midge_text_of(text));
}

int midge_in_progress(struct midge *m, struct midge_text ack_subject)
{
    return say(m, ack_subject, (struct midge_text) MIDGE_TEXT("+WPI"));
}

int midge_term(struct midge *m, struct midge_text ack_subject, const char *reason)
{
    struct buf text = {0};
    int rc;

    buf_puts(&text, "+TERM");
    if (reason != NULL)
        buf_printf(&text, " %s", reason);
    rc = say(m, ack_subject, client_text(buf_str(&text)));
    buf_free(&text);
    return rc;
}

/* ---- push ------------------------------------------------------------------------------------ */

struct midge_push {
    struct midge *m;
    struct midge_sub *sub;
    midge_on_delivery on_delivery;
    void *ctx;
};

static void pushed(void *ctx, const struct midge_msg *msg)
{
    struct midge_push *p = ctx;
    struct midge_delivery d;

    if (!js_take_flow(p->m, msg) && js_describe(msg, &d))
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
