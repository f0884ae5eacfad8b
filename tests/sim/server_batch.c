/*
 * server_batch.c - atomic batches: all messages of one are stored, one behind the other, or none
 * is, whatever happens meanwhile.
 *
 * A batch goes out in one piece: its messages without replies, the last with the commit. Now and
 * then the last one is never sent: then nothing of it may ever be seen.
 *
 * PLANT_LOOSE_BATCHES sends their messages as ordinary ones: then a power cut keeps parts.
 */
#include "lib/base/header.h"
#include "tests/sim/server_work.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MOST 12u

struct m_batch {
    struct m_msg *msgs[BATCH_MOST];
    unsigned n;
    struct m_batch *next; /* of the model's */
};

static uint64_t below(struct world *w, uint64_t n)
{
    return prng_below(sim_rng(w->sim), n);
}

void batches_free(struct m_batch *b)
{
    while (b != NULL) {
        struct m_batch *next = b->next;
        free(b);
        b = next;
    }
}

static struct m_msg *new_message(struct client *c, struct m_stream *s)
{
    struct world *w = c->world;
    struct m_msg *msg = model_msg_new(w->model);

    msg->slot = s->slot;
    msg->subject = s->topic ? 0 : (unsigned) below(w, w->swarm->subjects);
    msg->topic = s->topic ? s : NULL;
    msg->len = 11 + (size_t) below(w, w->swarm->payload_max);
    msg->client = c->id;
    msg->conn = c->wire.conn;
    msg->sent_ns = sim_now(w->sim);
    return msg;
}

static void send_message(struct client *c, struct m_stream *s, struct m_batch *b, unsigned i)
{
    struct buf header = {0}, payload = {0};
    struct m_msg *msg = b->msgs[i];
    bool last = i == b->n - 1;
    char subject[32];

    model_subject(msg, subject);
    model_payload(msg, &payload);
    bool loose = (c->world->plants & PLANT_LOOSE_BATCHES) != 0;
    if (!loose)
        buf_printf(&header, "NATS/1.0\r\nNats-Batch-Id: b%u\r\nNats-Batch-Sequence: %u\r\n%s\r\n",
                   b->msgs[0]->token, i + 1, last ? "Nats-Batch-Commit: 1\r\n" : "");
    if (last) {
        struct ask *a = ask_new(c->world, ASK_BATCH);
        a->stream = s;
        a->batch = b;
        ask_send(c, a, subject, buf_str(&header), buf_str(&payload));
    } else {
        client_pub(c, str_of(subject), STR_NONE, buf_str(&header), buf_str(&payload));
    }
    buf_free(&header);
    buf_free(&payload);
}

void batch_publish(struct client *c, struct m_stream *s)
{
    struct world *w = c->world;
    struct m_batch *b = calloc(1, sizeof(*b));
    bool ends = below(w, 10) != 0;

    b->next = w->model->batches;
    w->model->batches = b;
    b->n = 2 + (unsigned) below(w, BATCH_MOST - 1);
    for (unsigned i = 0; i < b->n; i++) {
        b->msgs[i] = new_message(c, s);
        b->msgs[i]->batch = b;
        b->msgs[i]->asked = ends;
        if (!ends)
            b->msgs[i]->state = MSG_REFUSED;
    }
    for (unsigned i = 0; i < b->n - !ends; i++)
        send_message(c, s, b, i);
}

void batch_settled(struct m_batch *b, bool refused)
{
    for (unsigned i = 0; i < b->n; i++) {
        b->msgs[i]->asked = false;
        if (refused)
            b->msgs[i]->state = MSG_REFUSED;
    }
}

void batch_answered(struct ask *a, const struct nats_op *op)
{
    struct world *w = a->world;
    struct m_batch *b = a->batch;
    struct m_stream *s = a->stream;
    json_error_t e;

    batch_settled(b, false);
    if (op == NULL || s->life == LIFE_GONE)
        return;
    json_t *o = op->header_n > 0 ? NULL : json_loadb(op->body.p, op->body.n, 0, &e);
    uint64_t code =
        (uint64_t) json_integer_value(json_object_get(json_object_get(o, "error"), "err_code"));
    uint64_t seq = (uint64_t) json_integer_value(json_object_get(o, "seq"));
    bool excused = w->model->faulty || w->model->was_full || s->life != LIFE_SURE;
    if (o == NULL || code != 0) {
        if (!excused)
            world_fail(w, "the batch of message %u is refused: %.*s", b->msgs[0]->token,
                       STR_ARG(op->body));
        if (!w->model->faulty)
            batch_settled(b, true);
    } else if ((w->plants & PLANT_LOOSE_BATCHES) != 0) {
        ; /* it may have any sequences */
    } else if (seq < b->n || (uint64_t) json_integer_value(json_object_get(o, "count")) != b->n) {
        world_fail(w, "the batch of message %u: an answer that is none: %.*s", b->msgs[0]->token,
                   STR_ARG(op->body));
    } else {
        for (unsigned i = 0; i < b->n; i++)
            model_promise(w, s, seq - b->n + 1 + i, b->msgs[i], "PubAck");
    }
    json_decref(o);
}

void batch_judge(struct world *w, const struct m_stream *s, struct m_msg *const *at, uint64_t first,
                 uint64_t last)
{
    for (uint64_t seq = first; seq <= last; seq++) {
        const struct m_batch *b = at[seq] != NULL ? at[seq]->batch : NULL;
        unsigned i = 0;
        if (b == NULL)
            continue;
        while (b->msgs[i] != at[seq])
            i++;
        for (unsigned k = 0; k < b->n; k++) {
            uint64_t there = seq + k - i;
            const struct m_msg *msg = there >= first && there <= last ? at[there] : NULL;
            if (msg != b->msgs[k] && (msg != NULL || !model_excused(w->model, s, there, last)))
                world_fail(w,
                           "message %u at %llu of %s is there, and not all of its batch: "
                           "message %u is not behind it",
                           at[seq]->token, (unsigned long long) seq, s->name, b->msgs[k]->token);
        }
    }
}
