/*
 * leaf_msgs.c - messages over a leaf connection.
 *
 *     LMSG subject [reply] size               for plain subscriptions
 *     LMSG subject + reply queues... size     and for a member of each of these groups
 *     LMSG subject | queues... size           the same without a reply
 *     HMSG ... header total                   with a header
 *
 * A delivery of a consumer is routed by another subject than the one its receiver sees: it goes
 * under the first, and the second travels behind the reply: $JS.ACK.<...>@<subject>.
 *
 * Acknowledgements. Those of a consumer here come back under "$JS.ACK.<stream>.<consumer>.", and no
 * subscription says that we want them, because the router finds consumers by parsing. So the first
 * delivery of a consumer that goes over a connection is preceded by an LS+ of that prefix; flow
 * control ("$JS.FC.") likewise.
 */
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "lib/wire/nats_write.h"
#include "server/config/options.h"
#include "server/core/account_wiring.h"
#include "server/net/leaf.h"

#include <string.h>

/* Prefixes announced for acknowledgements on one connection. */
#define ACKS_MAX 100000u

/* ---- sending --------------------------------------------------------------------------------- */

static bool is_ack(struct str reply)
{
    return str_starts(reply, STR("$JS.ACK."));
}

/* Its first four tokens with their dots; empty when it has no more. */
static struct str four_tokens(struct str subject)
{
    unsigned dots = 0;

    for (size_t i = 0; i < subject.n; i++)
        if (subject.p[i] == '.' && ++dots == 4)
            return str_take(subject, i + 1);
    return STR_NONE;
}

/* What comes back to this reply subject is wanted. */
static void want_acks(struct conn_leaf *l, struct str reply)
{
    struct str prefix;

    if (!is_ack(reply) && !str_starts(reply, STR("$JS.FC.")))
        return;
    prefix = four_tokens(reply);
    if (prefix.n == 0 || l->wants.count > ACKS_MAX)
        return;
    if (l->last_acks.n == prefix.n + 1 && memcmp(l->last_acks.p, prefix.p, prefix.n) == 0)
        return;
    buf_clear(&l->last_acks);
    buf_put_str(&l->last_acks, prefix);
    buf_putc(&l->last_acks, '>');
    leaf_interest_want(l, buf_str(&l->last_acks));
}

static void put_queues(struct buf *out, const struct str *queues, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (i > 0)
            buf_putc(out, ' ');
        buf_put_str(out, queues[i]);
    }
}

/* "<reply>@<subject>" where the receiver shall see another subject. */
static struct str reply_for(const struct msg *m, struct str key, struct buf *out)
{
    if (m->reply.n == 0 || str_eq(m->subject, key) || !is_ack(m->reply))
        return m->reply;
    buf_put_str(out, m->reply);
    buf_putc(out, '@');
    buf_put_str(out, m->subject);
    return buf_str(out);
}

/* May the other side's user hear it? Of the groups only those that it may be in are left; without
 * one it goes for a plain subscription, if there is one. */
static bool may_hear(const struct conn_leaf *l, struct str key, bool plain,
                     const struct str **queues, unsigned *n, struct str kept[ROUTE_LEAF_GROUPS])
{
    unsigned left = 0;

    if (l->accepts == NULL)
        return true;
    for (unsigned i = 0; i < *n && i < ROUTE_LEAF_GROUPS; i++)
        if (leaf_may_hear(l, key, (*queues)[i]))
            kept[left++] = (*queues)[i];
    *queues = kept;
    *n = left;
    return left > 0 || (plain && leaf_may_hear(l, key, STR_NONE));
}

static bool write_message(struct conn *c, const struct msg *m, const struct nats_leaf_to *to)
{
    struct chunk_pool *pool = c->net->env->chunks;
    struct str header = c->headers ? m->header : STR_NONE;
    uint32_t total = (uint32_t) (header.n + m->payload.n);
    char *line = (char *) outbuf_reserve(&c->out, pool, nats_leaf_msg_max(to));

    if (line == NULL)
        return false;
    outbuf_commit(&c->out, nats_write_lmsg(line, to, (uint32_t) header.n, total));
    return outbuf_put(&c->out, pool, header.p, header.n) &&
           outbuf_put(&c->out, pool, m->payload.p, m->payload.n) &&
           outbuf_put(&c->out, pool, "\r\n", 2);
}

bool leaf_forward(struct sink *s, const struct msg *m, struct str key, const struct str *queues,
                  unsigned nqueues)
{
    struct conn *c = CONTAINER_OF(s, struct sub, sink)->conn;
    struct conn_leaf *l = c->leaf;
    struct str kept[ROUTE_LEAF_GROUPS];
    struct buf names = {0}, reply = {0};
    uint64_t before;
    bool ok;

    if (c->state == CONN_CLOSING || !l->bound ||
        (l->may != NULL && !permissions_may_publish(l->may, key)) ||
        !may_hear(l, key, s->queue.n == 0, &queues, &nqueues, kept))
        return false;
    leaf_interest_drain(l);
    want_acks(l, m->reply);
    put_queues(&names, queues, nqueues);
    before = c->out.bytes;
    ok = write_message(c, m,
                       &(struct nats_leaf_to){.subject = key,
                                              .reply = reply_for(m, key, &reply),
                                              .queues = buf_str(&names)});
    if (ok) {
        c->out_msgs++;
        c->out_bytes += m->header.n + m->payload.n;
        conn_wrote(c, c->out.bytes - before);
    } else {
        conn_close(c, REASON_SLOW_PENDING);
    }
    buf_free(&names);
    buf_free(&reply);
    return ok;
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Answers and acknowledgements always come through. */
static bool is_answer(struct str subject)
{
    return str_starts(subject, STR("_R_.")) || is_ack(subject);
}

/* Its user's permissions count whichever side it says that it is; a hub hears no complaint. */
static bool may_come(struct conn *c, struct str subject)
{
    const struct conn_leaf *l = c->leaf;
    struct buf b = {0};
    char who[CONN_TEXT_MAX];

    if (is_answer(subject))
        return true;
    if (l->accepts == NULL || permissions_may_publish(l->accepts, subject))
        return !l->spoke || l->may == NULL || permissions_may_subscribe(l->may, subject, STR_NONE);
    if (l->spoke)
        return false;
    buf_printf(&b, "Permissions Violation for Publish to \"%.*s\"", STR_ARG(subject));
    LOG_ERR(c->net->env->log, "%s - Publish Violation on \"%.*s\" - Check other side configuration",
            conn_text(c, who), STR_ARG(subject));
    leaf_fail(c, REASON_PROTOCOL_VIOLATION, buf_str(&b), 30000000000);
    buf_free(&b);
    return false;
}

static unsigned cut_queues(struct str text, struct str names[ROUTE_LEAF_GROUPS])
{
    unsigned n = 0;

    while (text.n > 0 && n < ROUTE_LEAF_GROUPS) {
        struct str one;
        text = str_trim(text);
        one = str_take(text, str_index(text, ' '));
        one = str_take(one, str_index(one, '\t'));
        text = str_skip(text, one.n);
        if (one.n > 0)
            names[n++] = one;
    }
    return n;
}

/* The subject that the receiver is to see, behind the reply; what is no subject stays there. */
static void cut_subject(struct msg *m)
{
    unsigned dots = 0;
    struct str subject;

    if (!is_ack(m->reply))
        return;
    for (size_t i = 0; i < m->reply.n; i++) {
        dots += m->reply.p[i] == '.';
        if (m->reply.p[i] == '@' && dots >= 8) {
            subject = str_skip(m->reply, i + 1);
            if (!subject_valid_literal(subject))
                return;
            m->subject = subject;
            m->reply = str_take(m->reply, i);
            return;
        }
    }
}

/* False: a mapping loses it. */
static bool map_key(struct conn *c, struct str *key, bool *mapped)
{
    c->mapped.n = 0;
    *mapped = false;
    if (c->account->wiring == NULL)
        return true;
    switch (account_map_subject(c->account, *key, c->net->env->prng, &c->mapped)) {
    case MAPPED_LOST:
        return false;
    case MAPPED_OTHER:
        *key = buf_str(&c->mapped);
        *mapped = true;
        return true;
    default:
        return true;
    }
}

void leaf_route(struct conn *c, const struct nats_op *op)
{
    struct net *net = c->net;
    struct str names[ROUTE_LEAF_GROUPS], key = op->subject;
    struct route_groups groups = {.names = names};
    struct msg m = {
        .reply = op->reply,
        .header = nats_op_header(op),
        .payload = nats_op_payload(op),
        .chunk = op->collected ? c->collecting : NULL,
        .flags = MSG_F_NO_ECHO,
        .origin_worker = net->env->worker,
        .origin_conn = c->self,
    };
    bool mapped;

    if (!c->leaf->bound || !may_come(c, key))
        return;
    key = conn_without_domain(c, key);
    if (!map_key(c, &key, &mapped))
        return;
    m.subject = key;
    cut_subject(&m);
    groups.n = cut_queues(op->queue, names);
    groups.every_group = mapped && groups.n == 0;
    c->stalled |= route_from_leaf(net->env->router, c->account, key, &m, &groups).stall;
    /* The next one may need the memory of the mapped subject. */
    if (mapped)
        c->stalled |= route_flush(net->env->router);
}
