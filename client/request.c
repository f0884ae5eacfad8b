/* request.c - one request, one reply, by an inbox of its own; and JetStream's API on top. */
#include "client/client_int.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/mem.h"

#define MS UINT64_C(1000000)

struct waiting {
    bool done;
    unsigned status;
    midge_on_msg on_msg;
    void *ctx;
};

static void replied(void *ctx, const struct midge_msg *msg)
{
    struct waiting *w = ctx;

    w->status = client_status(msg->header);
    if (!w->done && w->status != 503 && w->on_msg != NULL)
        w->on_msg(w->ctx, msg);
    w->done = true;
}

int midge_request(struct midge *m, const struct midge_msg *msg, int timeout_ms, midge_on_msg on_msg, void *ctx)
{
    struct waiting w = {.on_msg = on_msg, .ctx = ctx};
    uint64_t end = midge_now() + (uint64_t) timeout_ms * MS;
    struct midge_msg out = *msg;
    struct midge_sub *sub;
    char inbox[32];
    int rc;

    midge_inbox(m, inbox);
    out.reply = (struct midge_text){inbox, strlen(inbox)};
    sub = midge_subscribe(m, out.reply, (struct midge_text){NULL, 0}, replied, &w);
    if (sub == NULL)
        return MIDGE_CLOSED;
    rc = midge_publish(m, &out);
    while (rc == MIDGE_OK && !w.done) {
        uint64_t now = midge_now();
        if (now >= end)
            rc = MIDGE_TIMEOUT;
        else
            rc = midge_poll(m, end - now);
    }
    midge_unsubscribe(m, sub);
    return rc != MIDGE_OK ? rc : (w.status == 503 ? MIDGE_NO_RESPONDERS : MIDGE_OK);
}

static void keep(void *ctx, const struct midge_msg *msg)
{
    char **answer = ctx;

    *answer = mem_strndup(msg->payload.p != NULL ? msg->payload.p : "", msg->payload.n);
}

int midge_js_api(struct midge *m, const char *subject, const char *json, int timeout_ms, char **answer)
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
