/*
 * consumer_deliver.c - messages from the store to whoever waits for them, in runs.
 *
 * consumer_pump asks the core what it wants, reads it, and hands it to the router, which gathers
 * consecutive messages to one destination. The router keeps views until route_flush; therefore the
 * subjects made here lie in a ring of ROUTE_RUN + 1 slots, and the batch that the bytes come from
 * stays pinned until the run was flushed.
 */
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "lib/wire/ack_subject.h"
#include "lib/wire/nats_write.h"
#include "server/js/advisory.h"
#include "server/js/consumer_int.h"
#include "server/js/consumer_state.h"

#include <stdio.h>
#include <string.h>

#define SLOT_BYTES 768u
#define SLOTS (ROUTE_RUN + 1)

struct ring {
    unsigned next;
    char slot[SLOTS][SLOT_BYTES];
};

static char *next_slot(struct ring *r, struct router *router)
{
    if (r->next == SLOTS) {
        route_flush(router);
        r->next = 0;
    }
    return r->slot[r->next++];
}

/* ---- one message ----------------------------------------------------------------------------- */

static void pin(struct consumer *c, const struct store_msg *m)
{
    if (m->chunk == c->pinned)
        return;
    route_flush(c->js->env->router);
    if (c->pinned != NULL)
        chunk_put(c->pinned, c->js->env->chunks);
    c->pinned = m->chunk;
    if (c->pinned != NULL)
        chunk_get(c->pinned);
}

/* The header block that stands in for the payload: the message's own with Nats-Msg-Size behind. */
static struct str size_header(struct buf *b, const struct store_msg *m)
{
    char digits[FMT_U64_MAX];
    unsigned n = fmt_u64(digits, m->payload.n);

    header_append(b, m->header, STR("Nats-Msg-Size"), str_from(digits, n));
    return buf_str(b);
}

static struct str reply_subject(struct consumer *c, const struct store_msg *m,
                                const struct delivery *d, char *slot)
{
    struct ack_info info = {
        .delivered = d->deliveries,
        .stream_seq = m->seq,
        .consumer_seq = d->dseq,
        .time_ns = m->ts,
        .pending = d->pending,
    };

    return str_from(slot,
                    ack_subject_write(slot, str_from(c->ack_prefix, c->ack_prefix_len), &info));
}

static struct route_result route_one(struct consumer *c, struct str to, struct str reply,
                                     const struct store_msg *m)
{
    struct env *env = c->js->env;
    struct buf b = {0};
    struct route_result res;
    struct msg out = {
        .subject = m->subject,
        .reply = reply,
        .header = m->header,
        .payload = m->payload,
        .chunk = m->chunk,
        .flags = MSG_F_SYSTEM | MSG_F_BOUNCE,
        .bounce_to = c->sink.self,
        .bounce_worker = env->worker,
        .bounce_seq = m->seq,
    };

    if (c->config.headers_only) {
        out.header = size_header(&b, m);
        out.payload = STR_NONE;
        out.chunk = NULL;
    }
    if (c->config.priority_policy == PRIORITY_PINNED_CLIENT) {
        struct buf more = {0};
        header_append(&more, out.header, STR("Nats-Pin-Id"), str_of(c->core.pin.id));
        buf_free(&b);
        b = more;
        out.header = buf_str(&b);
    }
    res = route_deliver(env->router, c->js->account, to, &out);
    if (b.p != NULL) {
        route_flush(env->router);
        buf_free(&b);
    }
    return res;
}

/* What max_bytes, flow control and the rate limit count: what the client sees of the message, its
 * reply subject included. 0 when nobody counts. */
static uint64_t size_of(struct consumer *c, const struct store_msg *m)
{
    char reply[SLOT_BYTES];
    struct delivery d;

    if (!c->config.flow_control && c->pace.bytes_per_s == 0 &&
        !consumer_core_counts_bytes(&c->core))
        return 0;
    consumer_core_preview(&c->core, m->seq, &d);
    return m->subject.n + reply_subject(c, m, &d, reply).n + m->header.n +
           (c->config.headers_only ? 0 : m->payload.n);
}

/* Must it wait for its time? Then the consumer does. */
static bool too_early(struct consumer *c, const struct store_msg *m, uint64_t size)
{
    uint64_t now = io_now(c->js->env->io);
    uint64_t due;

    if (LIKELY(!consumer_pace_any(&c->pace)))
        return false;
    due = consumer_pace_due(&c->pace, now, m->seq, m->ts, size);
    if (due > now) {
        consumer_hold(c, due);
        return true;
    }
    consumer_pace_sent(&c->pace, now, m->ts, size);
    return false;
}

/* False when nobody can take the message now: it stays where it is. */
static bool deliver(struct consumer *c, const struct store_msg *m, struct ring *ring)
{
    struct env *env = c->js->env;
    struct delivery d;
    struct route_result res;
    struct str to;
    uint64_t size = size_of(c, m);

    if (too_early(c, m, size))
        return false;
    pin(c, m);
    if (!consumer_core_deliver(&c->core, io_now(env->io), m->seq, size, &d))
        return false;
    if (d.deliveries == 1)
        consumer_recount_note(c, 0, 1);
    to = d.to != NULL ? str_from(d.to->reply, d.to->reply_len) : str_of(c->config.deliver_subject);
    char *slot = next_slot(ring, env->router);
    res = route_one(c, to, reply_subject(c, m, &d, slot), m);
    c->last_delivery = io_wall(env->io);
    if (res.receivers == 0) {
        /* Copy: undeliverable ends the pull that owns the bytes of `to`. */
        struct buf gone = {0};
        buf_put_str(&gone, to);
        consumer_core_undeliverable(&c->core, io_now(env->io), m->seq,
                                    d.to != NULL ? buf_str(&gone) : STR_NONE);
        buf_free(&gone);
        if (d.to == NULL)
            c->interested = false;
        return d.to != NULL;
    }
    consumer_core_sent(&c->core, d.to);
    if (d.to == NULL)
        consumer_pushed(c, size);
    if (res.stall)
        consumer_stall(c);
    return true;
}

/* ---- the pump -------------------------------------------------------------------------------- */

enum step { STEP_DELIVERED, STEP_STOP };

static enum step step_again(struct consumer *c, uint64_t seq, struct ring *ring)
{
    struct store_msg m;

    switch (store_reader_get(&c->again, seq, &m)) {
    case STORE_READ_MSG:
        return deliver(c, &m, ring) ? STEP_DELIVERED : STEP_STOP;
    case STORE_READ_WAIT:
        return STEP_STOP;
    default:
        consumer_core_gone(&c->core, seq);
        return STEP_DELIVERED;
    }
}

/* Deliver last per subject: the list first, then everything behind its end. */
static enum step step_last(struct consumer *c, struct ring *ring)
{
    uint64_t seq = c->last_seqs[c->last_pos];
    struct store_msg m;

    switch (store_reader_get(&c->again, seq, &m)) {
    case STORE_READ_MSG:
        if (!deliver(c, &m, ring))
            return STEP_STOP;
        break;
    case STORE_READ_WAIT:
        return STEP_STOP;
    default:
        break; /* removed meanwhile */
    }
    consumer_last_next(c);
    return STEP_DELIVERED;
}

static enum step step_new(struct consumer *c, struct ring *ring)
{
    struct store_msg m;

    if (UNLIKELY(c->listing != NULL))
        return STEP_STOP;
    if (c->nlast > 0)
        return step_last(c, ring);
    switch (store_reader_next(&c->reader, &m)) {
    case STORE_READ_MSG:
        /* Without filters every sequence in between was counted, unless it had gone before. */
        c->gap |= c->nfilters == 0 && m.seq != c->core.next_seq;
        if (deliver(c, &m, ring))
            return STEP_DELIVERED;
        store_reader_seek(&c->reader, m.seq);
        return STEP_STOP;
    case STORE_READ_WAIT:
        return STEP_STOP;
    default:
        consumer_core_end(&c->core, io_now(c->js->env->io));
        return STEP_STOP;
    }
}

static bool may_send(const struct consumer *c)
{
    if (c->stalled || c->js->stopping)
        return false;
    if (c->config.deliver_subject == NULL)
        return true;
    return c->interested && (!c->config.flow_control || c->fc_bytes <= c->fc_window);
}

/* Pulls whose clients have ended are passed over before they use up a consumer sequence. Asked once
 * per pull and turn: a receiver that goes in between, on another worker, makes the message bounce.
 */
static void pass_deserted(struct consumer *c, const struct pull **asked)
{
    struct pull *p;

    while ((p = consumer_core_first_pull(&c->core)) != NULL && p != *asked) {
        if (interest_any(c->js->account->interest, str_from(p->reply, p->reply_len)))
            *asked = p;
        else
            consumer_core_leave(p);
    }
}

bool consumer_pump(struct consumer *c)
{
    const struct pull *asked = NULL;
    struct ring ring = {.next = 0};
    uint64_t now = io_now(c->js->env->io);
    unsigned left = CONSUMER_TURN;
    enum step step = STEP_DELIVERED;

    if (consumer_paused(c)) {
        consumer_core_stalled(&c->core, now);
        consumer_run_effects(c);
        return false;
    }
    while (left > 0 && step == STEP_DELIVERED && may_send(c)) {
        uint64_t seq;
        enum consumer_want want;
        pass_deserted(c, &asked);
        want = consumer_core_want(&c->core, now, &seq);
        if (want == WANT_NOTHING) {
            /* Nobody may have a message now: who does not wait is told. */
            consumer_core_stalled(&c->core, now);
            break;
        }
        if (want == WANT_ACKS)
            break;
        step = want == WANT_SEQ ? step_again(c, seq, &ring) : step_new(c, &ring);
        left--;
    }
    route_flush(c->js->env->router);
    /* To give up is a change although nothing was delivered. */
    if (left < CONSUMER_TURN || consumer_state_has_log(&c->core))
        consumer_save_later(c);
    if (UNLIKELY(c->gap)) {
        c->gap = false;
        consumer_recount(c);
    }
    consumer_run_effects(c);
    return left == 0;
}

/* ---- effects --------------------------------------------------------------------------------- */

void consumer_send_status(struct consumer *c, enum consumer_status status, struct str to,
                          const char *detail, int64_t left, int64_t bytes)
{
    static const struct {
        unsigned code;
        const char *text;
        bool pending;
    } table[] = {
#define STATUS(name, code, text, pending) {code, text, pending},
#include "server/js/consumer_status.def"
#undef STATUS
    };
    struct buf text = {0};
    struct buf h = {0};

    buf_puts(&text, table[status].text);
    if (detail != NULL)
        buf_printf(&text, " %s", detail);
    buf_printf(&h, "NATS/1.0 %u %s\r\n", table[status].code, buf_cstr(&text));
    if (table[status].pending)
        buf_printf(&h, "Nats-Pending-Messages: %lld\r\nNats-Pending-Bytes: %lld\r\n",
                   (long long) left, (long long) bytes);
    buf_puts(&h, "\r\n");
    js_publish(c->js, to, STR_NONE, buf_str(&h), STR_NONE);
    buf_free(&text);
    buf_free(&h);
}

static void send_status(struct consumer *c, const struct consumer_effect *e)
{
    char detail[FMT_TIME_MAX];
    const char *more = NULL;

    switch (e->status) {
    case STATUS_EXCEEDED_BATCH:
        fmt_i64(detail, c->config.max_batch);
        snprintf(detail, sizeof(detail), "%lld", (long long) c->config.max_batch);
        more = detail;
        break;
    case STATUS_EXCEEDED_EXPIRES:
        fmt_go_duration(detail, c->config.max_expires_ns);
        more = detail;
        break;
    case STATUS_EXCEEDED_BYTES:
        snprintf(detail, sizeof(detail), "%lld", (long long) c->config.max_bytes);
        more = detail;
        break;
    default:
        break;
    }
    consumer_send_status(c, e->status, str_of(e->to), more, e->left, e->bytes);
}

void consumer_send_heartbeat(struct consumer *c, struct str to)
{
    struct buf h = {0};

    buf_printf(
        &h, "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: %llu\r\nNats-Last-Stream: %llu\r\n",
        (unsigned long long) c->core.delivered.consumer,
        (unsigned long long) c->core.delivered.stream);
    if (c->fc_reply[0] != '\0')
        buf_printf(&h, "Nats-Consumer-Stalled: %s%s\r\n", c->fc_prefix, c->fc_reply);
    buf_puts(&h, "\r\n");
    js_publish(c->js, to, STR_NONE, buf_str(&h), STR_NONE);
    buf_free(&h);
}

static void run_effect(struct consumer *c, const struct consumer_effect *e)
{
    switch (e->kind) {
    case EFFECT_STATUS:
        send_status(c, e);
        break;
    case EFFECT_HEARTBEAT:
        consumer_send_heartbeat(c, str_of(e->to));
        break;
    case EFFECT_ACKED:
        stream_acked(c->stream, c, e->seq, e->last);
        break;
    case EFFECT_MAX_DELIVERIES:
        advise_max_deliveries(c, e->seq, e->count);
        break;
    case EFFECT_PINNED:
        c->pinned_at = io_wall(c->js->env->io);
        advise_pinned(c, c->core.pin.group, c->core.pin.id);
        break;
    case EFFECT_UNPINNED:
        advise_unpinned(c, e->to, e->seq != 0);
        break;
    }
}

/*
 * What is sent here may come straight back to this consumer (a reply subject can be its own pull
 * subject), which runs effects again: therefore they are taken from the core first.
 */
void consumer_run_effects(struct consumer *c)
{
    struct consumer_core *core = &c->core;

    while (core->neffects > 0) {
        struct consumer_effect *effects = core->effects;
        size_t n = core->neffects;
        core->effects = NULL;
        core->neffects = core->effects_cap = 0;
        for (size_t i = 0; i < n; i++)
            run_effect(c, &effects[i]);
        for (size_t i = 0; i < n; i++)
            mem_free(effects[i].to);
        mem_free(effects);
    }
}
