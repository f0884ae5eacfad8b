/*
 * publisher.c - asynchronous JetStream publishing.
 *
 * One inbox subscription "_INBOX.<nuid>.*" for all acknowledgements; the last token is the number
 * of the publish. A number is in slot number % window, so that an acknowledgement finds what it
 * belongs to by one division. The window is the most that may be unacknowledged, and slots are
 * reused in order: a publish waits while its slot is taken.
 */
#include "client/client_int.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"

#include <string.h>

#define MS UINT64_C(1000000)

struct slot {
    void *ctx;
    bool busy;
};

struct midge_publisher {
    struct midge *m;
    struct midge_sub *sub;
    midge_on_ack on_ack;
    void *ctx;
    unsigned window, pending;
    uint64_t next;
    struct slot *slots;
    char prefix[64]; /* "_INBOX.<nuid>." */
    size_t prefix_len;
};

static struct str after(struct str s, const char *key, size_t n)
{
    const char *at = s.n >= n ? memmem(s.p, s.n, key, n) : NULL;

    if (at == NULL)
        return STR_NONE;
    return str_from(at + n, s.n - (size_t) (at + n - s.p));
}

static uint64_t number_at(struct str s)
{
    uint64_t v = 0;

    for (size_t i = 0; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
        v = v * 10 + (uint64_t) (s.p[i] - '0');
    return v;
}

static void read_ack(struct str json, struct midge_ack *ack, char text[128])
{
    static const char seq[] = "\"seq\":", error[] = "\"description\":\"",
                      duplicate[] = "\"duplicate\"";
    struct str why = after(json, error, sizeof(error) - 1);

    ack->stream_seq = number_at(after(json, seq, sizeof(seq) - 1));
    if (why.p != NULL) {
        size_t n = str_index(why, '"');
        n = n < 127 ? n : 127;
        memcpy(text, why.p, n);
        text[n] = '\0';
        ack->error = text;
    } else if (json.n > 60) {
        ack->duplicate = after(json, duplicate, sizeof(duplicate) - 1).p != NULL;
    }
}

static void acked(void *ctx, const struct midge_msg *msg)
{
    struct midge_publisher *p = ctx;
    struct midge_ack ack = {0};
    struct slot *slot;
    char text[128];

    if (msg->subject.n <= p->prefix_len)
        return;
    ack.number = number_at(str_skip(client_str(msg->subject), p->prefix_len));
    slot = &p->slots[ack.number % p->window];
    if (!slot->busy || ack.number >= p->next)
        return;
    if (client_status(msg->header) == 503)
        ack.error = "no responders";
    else
        read_ack(client_str(msg->payload), &ack, text);
    ack.ctx = slot->ctx;
    slot->busy = false;
    p->pending--;
    if (p->on_ack != NULL)
        p->on_ack(p->ctx, &ack);
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
    uint64_t end = midge_now() + (uint64_t) timeout_ms * MS;

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
    midge_unsubscribe(p->m, p->sub);
    mem_free(p->slots);
    mem_free(p);
}
