/*
 * js_publisher.c - asynchronous JetStream publishing.
 *
 * One inbox subscription "_INBOX.<nuid>.*" for all acknowledgements; the last token is the number
 * of the publish. A number is in slot number % window, so that an acknowledgement finds what it
 * belongs to by one division. The window is the most that may be unacknowledged, and slots are
 * reused in order: a publish waits while its slot is taken.
 *
 * When the connection breaks, everything unacknowledged fails with MIDGE_LOST, in order: it may
 * have been stored or not, and the program knows whether it can send it again (a message id makes
 * that safe). Acknowledgements of the connection before that come late find their number ended.
 */
#include "client/js_int.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"

#include <string.h>

struct slot {
    void *ctx;
    bool busy;
};

struct midge_publisher {
    struct midge *m;
    struct midge_sub *sub;
    struct client_hook hook;
    midge_on_ack on_ack;
    void *ctx;
    unsigned window, pending;
    uint64_t next;
    struct slot *slots;
    char prefix[64]; /* "_INBOX.<nuid>." */
    size_t prefix_len;
};

static void end_slot(struct midge_publisher *p, struct midge_ack *ack)
{
    struct slot *slot = &p->slots[ack->number % p->window];

    ack->ctx = slot->ctx;
    slot->busy = false;
    p->pending--;
    if (p->on_ack != NULL)
        p->on_ack(p->ctx, ack);
}

static void acked(void *ctx, const struct midge_msg *msg)
{
    struct midge_publisher *p = ctx;
    struct midge_ack ack = {0};
    struct js_ack a;

    if (msg->subject.n <= p->prefix_len ||
        !str_to_u64(str_skip(client_str(msg->subject), p->prefix_len), &ack.number) ||
        ack.number >= p->next || ack.number + p->window < p->next ||
        !p->slots[ack.number % p->window].busy)
        return;
    if (client_status(msg->header) == 503) {
        ack.rc = MIDGE_NO_RESPONDERS;
        ack.error = "no responders";
    } else {
        js_read_ack(client_str(msg->payload), &a);
        ack.rc = a.rc;
        ack.stream_seq = a.ack.seq;
        ack.duplicate = a.ack.duplicate;
        ack.error = a.rc != MIDGE_OK ? a.error : NULL;
        ack.error_code = a.error_code;
    }
    end_slot(p, &ack);
}

static void lost(struct client_hook *h)
{
    struct midge_publisher *p = CONTAINER_OF(h, struct midge_publisher, hook);
    uint64_t end = p->next;

    for (uint64_t n = end > p->window ? end - p->window : 0; n < end; n++)
        if (p->slots[n % p->window].busy)
            end_slot(p, &(struct midge_ack){
                            .number = n, .rc = MIDGE_LOST, .error = "the connection broke"});
}

struct midge_publisher *midge_publisher_open(struct midge *m, unsigned window, midge_on_ack on_ack,
                                             void *ctx)
{
    struct midge_publisher *p = mem_zalloc(sizeof(*p));
    char inbox[32];
    struct buf pattern = {0};

    p->m = m;
    p->window = window > 0 ? window : 1;
    p->on_ack = on_ack;
    p->ctx = ctx;
    p->slots = mem_zalloc(p->window * sizeof(*p->slots));
    p->hook.lost = lost;
    client_hook_add(m, &p->hook);
    midge_inbox(m, inbox);
    buf_printf(&pattern, "%s.*", inbox);
    p->prefix_len = pattern.n - 1;
    memcpy(p->prefix, pattern.p, p->prefix_len);
    p->sub = midge_subscribe(m, client_text(buf_str(&pattern)), (struct midge_text){NULL, 0}, acked,
                             p);
    buf_free(&pattern);
    return p;
}

int midge_publisher_send(struct midge_publisher *p, struct midge_text subject,
                         struct midge_text header, struct midge_text payload, void *ctx)
{
    struct slot *slot = &p->slots[p->next % p->window];
    struct midge_msg msg = {.subject = subject, .header = header, .payload = payload};
    int rc;

    if (slot->busy)
        return MIDGE_FULL;
    msg.reply.p = p->prefix;
    msg.reply.n = p->prefix_len + fmt_u64(p->prefix + p->prefix_len, p->next);
    rc = midge_publish(p->m, &msg);
    if (rc != MIDGE_OK)
        return rc;
    slot->busy = true;
    slot->ctx = ctx;
    p->next++;
    p->pending++;
    return MIDGE_OK;
}

unsigned midge_publisher_pending(const struct midge_publisher *p)
{
    return p->pending;
}

int midge_publisher_wait(struct midge_publisher *p, int timeout_ms)
{
    uint64_t end = midge_now() + (uint64_t) timeout_ms * CLIENT_MS;

    while (p->pending > 0) {
        uint64_t now = midge_now();
        int rc;
        if (now >= end)
            return MIDGE_TIMEOUT;
        rc = midge_poll(p->m, end - now);
        if (rc != MIDGE_OK)
            return rc;
    }
    return MIDGE_OK;
}

void midge_publisher_close(struct midge_publisher *p)
{
    list_remove(&p->hook.link);
    midge_unsubscribe(p->m, p->sub);
    mem_free(p->slots);
    mem_free(p);
}
