/*
 * batch.c - atomic batches.
 *
 * A message of a batch carries Nats-Batch-Id, Nats-Batch-Sequence from 1 on, and at the end
 * Nats-Batch-Commit: "1" on the last message, or "eob" on one more, which is not stored and goes to
 * the subject of the message before it. The server answers a message that has a reply subject with
 * an empty one when it has taken it, with an error when not, and the last with the acknowledgement.
 * Most are sent without: what goes wrong with them shows at the next that asks, or at the commit.
 */
#include "client/js_int.h"
#include "client/midge_batch.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"

#include <stdio.h>
#include <string.h>

#define ASK_EVERY 100
#define ID_MAX 64

struct midge_batch {
    struct midge *m;
    char id[ID_MAX + 1];
    uint64_t n;
    struct buf last_subject;
    int rc; /* not MIDGE_OK: it has ended */
};

struct midge_batch *midge_batch_open(struct midge *m, const char *id)
{
    struct midge_batch *b = mem_zalloc(sizeof(*b));

    b->m = m;
    if (id != NULL && (strlen(id) > ID_MAX || id[0] == '\0'))
        b->rc = MIDGE_INVALID;
    else if (id != NULL)
        memcpy(b->id, id, strlen(id) + 1);
    else
        nuid_next(&m->nuid, b->id);
    return b;
}

static void add_header(struct buf *header, struct str key, struct str value)
{
    struct buf more = {0};

    header_append(&more, buf_str(header), key, value);
    buf_free(header);
    *header = more;
}

static void make_header(const struct midge_batch *b, struct midge_text own, const char *commit,
                        struct buf *header)
{
    char number[24];

    snprintf(number, sizeof(number), "%llu", (unsigned long long) b->n);
    buf_put(header, own.p, own.n);
    add_header(header, STR("Nats-Batch-Id"), str_of(b->id));
    add_header(header, STR("Nats-Batch-Sequence"), str_of(number));
    if (commit != NULL)
        add_header(header, STR("Nats-Batch-Commit"), str_of(commit));
}

static void take_answer(void *ctx, const struct midge_msg *msg)
{
    struct js_ack *a = ctx;

    if (msg->payload.n > 0)
        js_read_ack(client_str(msg->payload), a);
}

static int ask(struct midge_batch *b, const struct midge_msg *msg, struct js_ack *a)
{
    int rc = midge_request(b->m, msg, b->m->o.timeout_ms, take_answer, a);

    if (rc == MIDGE_OK && a->rc != MIDGE_OK) {
        rc = client_error(b->m, a->rc, "%s", a->error);
        b->m->error_code = a->error_code;
    }
    return rc;
}

static int tell(struct midge_batch *b, const struct midge_msg *msg)
{
    uint64_t end = client_end(b->m->o.timeout_ms);
    int rc;

    while ((rc = midge_publish(b->m, msg)) == MIDGE_FULL) {
        uint64_t now = midge_now();
        if (now >= end)
            return client_error(b->m, MIDGE_TIMEOUT, "timeout");
        rc = midge_poll(b->m, end - now);
        if (rc != MIDGE_OK)
            return rc;
    }
    return rc;
}

static int send_one(struct midge_batch *b, const struct midge_msg *msg, const char *commit,
                    struct js_ack *a)
{
    struct midge_msg out = *msg;
    struct buf header = {0};

    b->n++;
    make_header(b, msg->header, commit, &header);
    out.header = client_text(buf_str(&header));
    out.reply = (struct midge_text){NULL, 0};
    if (commit != NULL || b->n % ASK_EVERY == 1)
        b->rc = ask(b, &out, a);
    else
        b->rc = tell(b, &out);
    buf_free(&header);
    return b->rc;
}

int midge_batch_add(struct midge_batch *b, const struct midge_msg *msg)
{
    struct js_ack a = {0};

    if (b->rc != MIDGE_OK)
        return client_error(b->m, b->rc, "the batch has ended");
    buf_clear(&b->last_subject);
    buf_put(&b->last_subject, msg->subject.p, msg->subject.n);
    return send_one(b, msg, NULL, &a);
}

int midge_batch_commit(struct midge_batch *b, const struct midge_msg *last,
                       struct midge_puback *ack)
{
    struct midge_msg end = {.subject = client_text(buf_str(&b->last_subject))};
    struct js_ack a = {0};
    int rc;

    if (b->rc != MIDGE_OK)
        return client_error(b->m, b->rc, "the batch has ended");
    if (last == NULL && b->n == 0)
        return client_error(b->m, MIDGE_INVALID, "an empty batch");
    rc = send_one(b, last != NULL ? last : &end, last != NULL ? "1" : "eob", &a);
    if (rc == MIDGE_OK && a.ack.seq == 0)
        rc = client_error(b->m, MIDGE_REFUSED, "an acknowledgement that is not understood");
    if (ack != NULL)
        *ack = a.ack;
    b->rc = MIDGE_INVALID; /* once */
    return rc;
}

void midge_batch_close(struct midge_batch *b)
{
    buf_free(&b->last_subject);
    mem_free(b);
}
