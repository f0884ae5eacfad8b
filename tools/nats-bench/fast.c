/*
 * fast.c - js pub --fast: one fast-ingest batch per client. The reply subject of every message says
 * its number, an acknowledgement comes for some hundred at a time, and the last message commits.
 *
 * Latency is that of the messages that an acknowledgement names: from their send to its arrival.
 */
#include "lib/base/mem.h"
#include "tools/nats-bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What we ask for: messages per acknowledgement. */
#define FLOW 500u

enum { OP_START, OP_APPEND, OP_COMMIT };

struct fast {
    char inbox[32];
    struct midge_sub *sub;
    uint64_t sent, acked;
    bool committed;
    uint64_t sent_at[]; /* by number % window */
};

static uint64_t number(struct midge_text json, const char *key)
{
    char text[512];
    const char *at;

    snprintf(text, sizeof(text), "%.*s", (int) (json.n < 511 ? json.n : 511), json.p);
    at = strstr(text, key);
    return at != NULL ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static bool has(struct midge_text json, const char *text)
{
    return json.n >= strlen(text) && memmem(json.p, json.n, text, strlen(text)) != NULL;
}

static void acked_up_to(struct client *c, uint64_t seq)
{
    struct fast *f = c->own;
    uint64_t now = midge_now();

    if (seq <= f->acked)
        return;
    hdr_record(c->latency, now - f->sent_at[seq % c->b->o.window]);
    f->acked = seq;
    c->messages = seq;
    c->last = now;
}

static void heard(void *ctx, const struct midge_msg *msg)
{
    struct client *c = ctx;
    struct fast *f = c->own;

    if (has(msg->payload, "\"error\"") || has(msg->payload, "\"gap\"")) {
        if (c->errors++ == 0)
            bench_fail(c, "batch: %.*s", (int) msg->payload.n, msg->payload.p);
    } else if (has(msg->payload, "\"count\":")) {
        f->committed = true;
        acked_up_to(c, number(msg->payload, "\"count\":"));
    } else {
        acked_up_to(c, number(msg->payload, "\"seq\":"));
    }
}

static bool setup(struct client *c)
{
    struct fast *f = c->own = mem_zalloc(sizeof(*f) + c->b->o.window * sizeof(f->sent_at[0]));
    char pattern[64];

    midge_inbox(c->m, f->inbox);
    snprintf(pattern, sizeof(pattern), "%s.>", f->inbox);
    f->sub = midge_subscribe(c->m, (struct midge_text){pattern, strlen(pattern)},
                             (struct midge_text){NULL, 0}, heard, c);
    if (f->sub == NULL)
        bench_fail_connection(c);
    return f->sub != NULL;
}

static bool send_one(struct client *c, unsigned op, uint64_t now)
{
    struct fast *f = c->own;
    struct midge_msg msg = {.subject = c->b->subjects[c->next_subject],
                            .payload = {c->payload, c->b->o.size}};
    char reply[128];

    msg.reply.p = reply;
    msg.reply.n = (size_t) snprintf(reply, sizeof(reply), "%s.b.%u.fail.%llu.%u.$FI", f->inbox,
                                    FLOW, (unsigned long long) (f->sent + 1), op);
    if (midge_publish(c->m, &msg) != MIDGE_OK)
        return false;
    bench_subject(c);
    f->sent++;
    f->sent_at[f->sent % c->b->o.window] = now;
    return true;
}

/* As many as the window has room for, but for the last, which is sent alone. */
static void send_some(struct client *c, uint64_t now)
{
    struct fast *f = c->own;

    for (unsigned i = 0; i < 256 && f->sent + 1 < c->target; i++)
        if (f->sent - f->acked >= c->b->o.window ||
            !send_one(c, f->sent == 0 ? OP_START : OP_APPEND, now))
            return;
}

static void run(struct client *c)
{
    struct fast *f = c->own;
    uint64_t now = midge_now(), heard_at = now;
    bool ended = false;
    int rc = MIDGE_OK;

    while (rc == MIDGE_OK && !f->committed && c->errors == 0 && now < heard_at + 30 * SECOND) {
        uint64_t before = f->acked;
        if (!ended && (f->sent + 1 >= c->target || bench_over(c, now)))
            ended = send_one(c, OP_COMMIT, now);
        else if (!ended)
            send_some(c, now);
        rc = midge_poll(c->m, ended || f->sent - f->acked >= c->b->o.window ? 100 * MS : 0);
        bench_progress(c);
        now = midge_now();
        if (f->acked != before)
            heard_at = now;
    }
    c->bytes = c->messages * c->b->o.size;
    if (rc != MIDGE_OK)
        bench_fail_connection(c);
    else if (!f->committed && c->errors == 0)
        bench_fail(c, "no acknowledgement for 30 s");
    midge_unsubscribe(c->m, f->sub);
}

const struct role role_js_fast = {
    .name = "js fast",
    .bounded = true,
    .setup = setup,
    .run = run,
};
