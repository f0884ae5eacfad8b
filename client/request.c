/*
 * request.c - requests, and JetStream's API on top.
 *
 * One subscription "_INBOX.<nuid>.*", made by the first request, takes all replies; the last token
 * is the number of the request. Waiting requests (a callback may ask something itself) are a list
 * on the stack. A reply whose request has given up finds nobody and is dropped.
 */
#include "client/client_int.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"

#include <stdio.h>
#include <string.h>

#define MS UINT64_C(1000000)

struct waiting {
    struct waiting *outer;
    uint64_t number;
    bool done;
    unsigned status;
    midge_on_msg on_msg;
    void *ctx;
};

struct client_requests {
    struct midge_sub *sub;
    struct waiting *waiting;
    uint64_t last;
    char prefix[64]; /* "_INBOX.<nuid>." and room for a number */
    size_t prefix_len;
};

static void replied(void *ctx, const struct midge_msg *msg)
{
    struct client_requests *r = ctx;
    struct waiting *w = r->waiting;
    uint64_t number;

    if (msg->subject.n <= r->prefix_len ||
        !str_to_u64(str_skip(client_str(msg->subject), r->prefix_len), &number))
        return;
    while (w != NULL && w->number != number)
        w = w->outer;
    if (w == NULL || w->done)
        return;
    w->done = true;
    w->status = msg->payload.n == 0 ? client_status(msg->header) : 0;
    if (w->status != 503 && w->on_msg != NULL)
        w->on_msg(w->ctx, msg);
}

static bool open_requests(struct midge *m)
{
    struct client_requests *r;
    char pattern[40];

    if (m->requests != NULL)
        return true;
    r = mem_zalloc(sizeof(*r));
    midge_inbox(m, r->prefix);
    r->prefix_len = strlen(r->prefix) + 1;
    r->prefix[r->prefix_len - 1] = '.';
    memcpy(pattern, r->prefix, r->prefix_len);
    pattern[r->prefix_len] = '*';
    r->sub = midge_subscribe(m, (struct midge_text){pattern, r->prefix_len + 1},
                             (struct midge_text){NULL, 0}, replied, r);
    if (r->sub == NULL) {
        mem_free(r);
        return false;
    }
    m->requests = r;
    return true;
}

int midge_request(struct midge *m, const struct midge_msg *msg, int timeout_ms, midge_on_msg on_msg,
                  void *ctx)
{
    struct waiting w = {.on_msg = on_msg, .ctx = ctx};
    uint64_t end = midge_now() + (uint64_t) timeout_ms * MS;
    struct client_requests *r;
    struct midge_msg out = *msg;
    int rc;

    if (!open_requests(m))
        return MIDGE_CLOSED;
    r = m->requests;
    w.number = ++r->last;
    w.outer = r->waiting;
    r->waiting = &w;
    out.reply.p = r->prefix;
    out.reply.n = r->prefix_len + fmt_u64(r->prefix + r->prefix_len, w.number);
    rc = midge_publish(m, &out);
    while (rc == MIDGE_OK && !w.done) {
        uint64_t now = midge_now();
        rc = now >= end ? MIDGE_TIMEOUT : midge_poll(m, end - now);
    }
    r->waiting = w.outer;
    if (w.done)
        return w.status == 503 ? MIDGE_NO_RESPONDERS : MIDGE_OK;
    return rc;
}

static void keep(void *ctx, const struct midge_msg *msg)
{
    char **answer = ctx;

    *answer = mem_strndup(msg->payload.p != NULL ? msg->payload.p : "", msg->payload.n);
}

int midge_js_api(struct midge *m, const char *subject, const char *json, int timeout_ms,
                 char **answer)
{
    struct buf full = {0};
    struct midge_msg msg = {.payload = {json, json != NULL ? strlen(json) : 0}};
    char *text = NULL;
    int rc;

    buf_printf(&full, "$JS.API.%s", subject);
    msg.subject = client_text(buf_str(&full));
    rc = midge_request(m, &msg, timeout_ms, keep, &text);
    buf_free(&full);
    if (rc == MIDGE_OK && text != NULL && strstr(text, "\"error\":{") != NULL) {
        const char *why = strstr(text, "\"description\":\"");
        snprintf(m->error, sizeof(m->error), "%.200s", why != NULL ? why + 15 : text);
        m->error[strcspn(m->error, "\"")] = '\0';
        rc = MIDGE_REFUSED;
    }
    if (answer != NULL)
        *answer = text;
    else
        mem_free(text);
    return rc;
}

void midge_free(void *p)
{
    mem_free(p);
}
