/*
 * request.c - questions and their answers, with callbacks and waiting.
 *
 * One subscription "_INBOX.<nuid>.*", made by the first question, takes all replies; the last token
 * is the number of the question. Questions are a list: few are under way at a time. A reply whose
 * question has ended finds nobody and is dropped. When the connection breaks all end (dial.c): the
 * new one would not get their answers.
 */
#include "client/client_int.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"

#include <stdio.h>
#include <string.h>

/* ---- with callbacks -------------------------------------------------------------------------- */

static struct client_ask *ask_find(struct midge *m, uint64_t number)
{
    LIST_FOREACH(it, &m->asks)
    {
        struct client_ask *a = LIST_ENTRY(it, struct client_ask, link);
        if (a->number == number)
            return a;
    }
    return NULL;
}

static void replied(void *ctx, const struct midge_msg *msg)
{
    struct midge *m = ctx;
    struct client_ask *a;
    uint64_t number;
    bool nobody = msg->payload.n == 0 && client_status(msg->header) == 503;

    if (msg->subject.n <= m->reply_prefix_n ||
        !str_to_u64(str_skip(client_str(msg->subject), m->reply_prefix_n), &number))
        return;
    a = ask_find(m, number);
    if (a == NULL)
        return;
    if (nobody || !a->many)
        client_ask_end(a);
    a->done(a, nobody ? MIDGE_NO_RESPONDERS : MIDGE_OK, nobody ? NULL : msg);
}

static bool open_replies(struct midge *m)
{
    char pattern[48];

    if (m->replies != NULL)
        return true;
    midge_inbox(m, m->reply_prefix);
    m->reply_prefix_n = strlen(m->reply_prefix) + 1;
    m->reply_prefix[m->reply_prefix_n - 1] = '.';
    memcpy(pattern, m->reply_prefix, m->reply_prefix_n);
    pattern[m->reply_prefix_n] = '*';
    m->replies = midge_subscribe(m, (struct midge_text){pattern, m->reply_prefix_n + 1},
                                 (struct midge_text){NULL, 0}, replied, m);
    return m->replies != NULL;
}

static void ask_due(struct wheel_timer *t)
{
    struct client_ask *a = CONTAINER_OF(t, struct client_ask, timer);

    client_ask_end(a);
    a->done(a, MIDGE_TIMEOUT, NULL);
}

void client_ask_init(struct client_ask *a, struct midge *m,
                     void (*done)(struct client_ask *a, int rc, const struct midge_msg *msg))
{
    *a = (struct client_ask){.m = m, .done = done};
    list_init(&a->link);
    wheel_timer_init(&a->timer, ask_due);
}

int client_ask_start(struct client_ask *a, const struct midge_msg *msg, int timeout_ms)
{
    struct midge *m = a->m;
    struct midge_msg out = *msg;
    int rc;

    if (!open_replies(m))
        return MIDGE_CLOSED;
    a->number = ++m->last_ask;
    out.reply.p = m->reply_prefix;
    out.reply.n = m->reply_prefix_n + fmt_u64(m->reply_prefix + m->reply_prefix_n, a->number);
    rc = midge_publish(m, &out);
    if (rc != MIDGE_OK) {
        a->number = 0;
        return rc;
    }
    list_push_back(&m->asks, &a->link);
    io_timer_start(m->io, &a->timer, client_end(timeout_ms));
    return MIDGE_OK;
}

void client_ask_end(struct client_ask *a)
{
    if (a->number == 0)
        return;
    list_remove(&a->link);
    io_timer_stop(a->m->io, &a->timer);
    a->number = 0;
}

/* ---- waiting --------------------------------------------------------------------------------- */

struct waiting {
    struct client_ask ask;
    bool done;
    int rc;
    midge_on_msg on_msg;
    void *ctx;
};

static void answered(struct client_ask *a, int rc, const struct midge_msg *msg)
{
    struct waiting *w = CONTAINER_OF(a, struct waiting, ask);

    w->done = true;
    w->rc = rc;
    if (rc == MIDGE_OK && w->on_msg != NULL)
        w->on_msg(w->ctx, msg);
}

static int explain(struct midge *m, int rc)
{
    if (rc == MIDGE_TIMEOUT)
        client_error(m, rc, "timeout");
    if (rc == MIDGE_NO_RESPONDERS)
        client_error(m, rc, "no responders");
    return rc;
}

int midge_request(struct midge *m, const struct midge_msg *msg, int timeout_ms, midge_on_msg on_msg,
                  void *ctx)
{
    struct waiting w = {.on_msg = on_msg, .ctx = ctx};
    uint64_t end = client_end(timeout_ms);
    int rc = client_wait_up(m, end);

    client_ask_init(&w.ask, m, answered);
    while (rc == MIDGE_OK && (rc = client_ask_start(&w.ask, msg, timeout_ms)) == MIDGE_FULL &&
           midge_now() < end)
        rc = midge_poll(m, CLIENT_MS);
    if (rc != MIDGE_OK)
        return rc;
    rc = client_wait_flag(m, &w.done, end);
    client_ask_end(&w.ask);
    return w.done ? explain(m, w.rc) : rc;
}
