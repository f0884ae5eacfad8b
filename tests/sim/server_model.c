/*
 * server_model.c - see server_model.h.
 *
 * A payload is "@T" and the token in eight hex digits, a dot, then bytes that follow from the token
 * and never contain '@'. The disk stores payloads as they are, so a token that is durable can be
 * found in the bytes that a sync made durable.
 */
#include "tests/sim/server_model.h"

#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "tests/sim/sim_disk_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK_LEN 11u /* "@T01234567." */

struct model *model_new(void)
{
    return calloc(1, sizeof(struct model));
}

void model_free(struct model *m)
{
    for (size_t i = 0; i < m->nmsgs; i++)
        free(m->msgs[i]);
    for (size_t i = 0; i < m->nstreams; i++) {
        free(m->streams[i]->at);
        free(m->streams[i]);
    }
    for (size_t i = 0; i < m->nconsumers; i++) {
        free(m->consumers[i]->flags);
        free(m->consumers[i]->acked);
        free(m->consumers[i]);
    }
    free(m->msgs);
    free(m->streams);
    free(m->consumers);
    free(m->durable);
    free(m->producers);
    batches_free(m->batches);
    if (m->txns != NULL)
        xledger_free(m->txns);
    free(m);
}

/* ---- messages -------------------------------------------------------------------------------- */

struct m_msg *model_msg_new(struct model *m)
{
    struct m_msg *msg = calloc(1, sizeof(*msg));

    msg->token = (unsigned) m->nmsgs;
    msg->sent = ++m->clock;
    m->msgs = sim_grow(m->msgs, (m->nmsgs + 1) * sizeof(*m->msgs));
    m->msgs[m->nmsgs++] = msg;
    return msg;
}

void model_payload(const struct m_msg *msg, struct buf *out)
{
    uint64_t x = hash_mix(msg->token, 0x7061796c6f6164u);

    buf_printf(out, "@T%08x.", msg->token);
    while (out->n < msg->len) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        buf_putc(out, (char) ('A' + (int) ((x >> 40) % 26)));
    }
    out->n = msg->len;
}

void model_subject(const struct m_msg *msg, char out[32])
{
    if (msg->topic != NULL)
        snprintf(out, 32, "%s", msg->topic->name);
    else
        snprintf(out, 32, "s%u.%u", msg->slot, msg->subject);
}

void model_subject_of(const struct m_stream *s, unsigned subject, char out[32])
{
    if (s->topic && subject == 0)
        snprintf(out, 32, "%s", s->name);
    else
        snprintf(out, 32, "s%u.%u", s->slot, subject);
}

static bool token_of(const uint8_t *p, unsigned *token)
{
    unsigned v = 0;

    if (p[0] != '@' || p[1] != 'T' || p[10] != '.')
        return false;
    for (unsigned i = 2; i < 10; i++) {
        unsigned digit;
        if (p[i] >= '0' && p[i] <= '9')
            digit = p[i] - '0';
        else if (p[i] >= 'a' && p[i] <= 'f')
            digit = p[i] - 'a' + 10u;
        else
            return false;
        v = v << 4 | digit;
    }
    *token = v;
    return true;
}

struct m_msg *model_recognise(struct world *w, struct str subject, struct str payload)
{
    struct model *m = w->model;
    struct buf want = {0};
    char text[32];
    unsigned token;

    if (payload.n < MARK_LEN || !token_of((const uint8_t *) payload.p, &token) || token >= m->nmsgs)
        world_fail(w, "a message on %.*s that nobody sent: %.*s", STR_ARG(subject),
                   (int) (payload.n < 40 ? payload.n : 40), payload.p);
    struct m_msg *msg = m->msgs[token];
    model_payload(msg, &want);
    model_subject(msg, text);
    if (!str_eq(payload, buf_str(&want)))
        world_fail(w, "message %u: its payload of %zu bytes is not the one of %zu that was sent",
                   token, payload.n, want.n);
    if (!str_eq(subject, str_of(text)))
        world_fail(w, "message %u was sent on %s and is on %.*s", token, text, STR_ARG(subject));
    if (msg->state == MSG_REFUSED)
        world_fail(w, "message %u is there, though it was refused or lost before", token);
    buf_free(&want);
    return msg;
}

/* ---- streams and consumers ------------------------------------------------------------------- */

struct m_stream *model_stream_new(struct model *m, unsigned slot)
{
    struct m_stream *s = calloc(1, sizeof(*s));

    snprintf(s->name, sizeof(s->name), "S%zu", m->nstreams);
    s->slot = slot;
    s->life = LIFE_ASKED;
    m->streams = sim_grow(m->streams, (m->nstreams + 1) * sizeof(*m->streams));
    m->streams[m->nstreams++] = s;
    m->slots[slot] = s;
    return s;
}

struct m_stream *model_stream_find(struct model *m, struct str name)
{
    for (size_t i = 0; i < m->nstreams; i++)
        if (str_eq(str_of(m->streams[i]->name), name))
            return m->streams[i];
    return NULL;
}

struct m_consumer *model_consumer_new(struct model *m, struct m_stream *s)
{
    struct m_consumer *c = calloc(1, sizeof(*c));

    c->number = (unsigned) m->nconsumers;
    snprintf(c->name, sizeof(c->name), "C%u", c->number);
    c->stream = s;
    c->life = LIFE_ASKED;
    c->filter = -1;
    m->consumers = sim_grow(m->consumers, (m->nconsumers + 1) * sizeof(*m->consumers));
    m->consumers[m->nconsumers++] = c;
    return c;
}

struct m_consumer *model_consumer_find(struct model *m, struct str name)
{
    for (size_t i = 0; i < m->nconsumers; i++)
        if (str_eq(str_of(m->consumers[i]->name), name))
            return m->consumers[i];
    return NULL;
}

bool model_wants(const struct m_consumer *c, const struct m_msg *msg)
{
    return c->filter < 0 || (unsigned) c->filter == msg->subject;
}

struct m_place *model_place(struct m_stream *s, uint64_t seq)
{
    ASSERT(seq > 0 && seq < 10000000);
    if (seq >= s->n) {
        size_t n = (size_t) seq + 64;
        s->at = sim_grow(s->at, n * sizeof(*s->at));
        memset(s->at + s->n, 0, (n - s->n) * sizeof(*s->at));
        s->n = n;
    }
    return &s->at[seq];
}

static void grow_flags(struct m_consumer *c, uint64_t seq)
{
    ASSERT(seq < 10000000);
    if (seq < c->n)
        return;
    size_t n = (size_t) seq + 64;
    c->flags = sim_grow(c->flags, n);
    c->acked = sim_grow(c->acked, n * sizeof(*c->acked));
    memset(c->flags + c->n, 0, n - c->n);
    memset(c->acked + c->n, 0, (n - c->n) * sizeof(*c->acked));
    c->n = n;
}

uint8_t *model_flags(struct m_consumer *c, uint64_t seq)
{
    grow_flags(c, seq);
    return &c->flags[seq];
}

struct m_acked *model_acked(struct m_consumer *c, uint64_t seq)
{
    grow_flags(c, seq);
    return &c->acked[seq];
}

/* ---- promises -------------------------------------------------------------------------------- */

static bool is_durable(const struct model *m, unsigned token)
{
    return token < m->ndurable && m->durable[token] != 0;
}

void model_reached(struct m_stream *s, uint64_t seq)
{
    if (s->last < seq)
        s->last = seq;
}

/* An id is forgotten when its message has gone and the server starts anew: then the same message
 * may be stored again. */
bool model_moved(const struct model *m, const struct m_stream *s, const struct m_msg *msg)
{
    return msg->again && msg->stream == s && model_excused(m, s, msg->seq, s->last);
}

void model_promise(struct world *w, struct m_stream *s, uint64_t seq, struct m_msg *msg,
                   const char *how)
{
    struct model *m = w->model;
    struct m_place *p = model_place(s, seq);
    /* An interest stream stores nothing that nobody wants, and says where it would be. */
    bool skipped = s->retention == M_INTEREST && strcmp(how, "PubAck") == 0;

    if (p->msg != NULL && p->msg != msg)
        world_fail(w, "%s: sequence %llu of %s is message %u, and was message %u before", how,
                   (unsigned long long) seq, s->name, msg->token, p->msg->token);
    if (msg->state == MSG_KNOWN && (msg->stream != s || msg->seq != seq) && !model_moved(m, s, msg))
        world_fail(w, "%s: message %u is at %llu of %s, and was at %llu of %s before", how,
                   msg->token, (unsigned long long) seq, s->name, (unsigned long long) msg->seq,
                   msg->stream->name);
    if (msg->slot != s->slot)
        world_fail(w, "%s: message %u is in %s, to which it was not sent", how, msg->token,
                   s->name);
    if (!s->memory && !s->async && !skipped && w->depth == 0 && !is_durable(m, msg->token))
        world_fail(w, "%s: message %u at %llu of %s is not durable yet", how, msg->token,
                   (unsigned long long) seq, s->name);
    if (w->depth > 0)
        return;
    msg->state = MSG_KNOWN;
    msg->stream = s;
    msg->seq = seq;
    p->msg = msg;
    if (!p->promised)
        p->since = ++m->clock;
    p->promised = true;
    model_reached(s, seq);
}

static bool acked_away(const struct model *m, const struct m_stream *s, uint64_t seq,
                       const struct m_msg *msg)
{
    bool wanted = false;

    if (s->retention == M_LIMITS)
        return false;
    for (size_t i = 0; i < m->nconsumers; i++) {
        const struct m_consumer *c = m->consumers[i];
        if (c->stream != s || !model_wants(c, msg))
            continue;
        bool acked = seq < c->n && (c->flags[seq] & ACK_SENT) != 0;
        if (s->retention == M_WORKQUEUE && acked)
            return true;
        /* Interest: whoever was surely there when it was sent, and surely still is, keeps it. */
        if (c->life == LIFE_SURE && c->sure_at != 0 && c->sure_at < msg->sent && !acked &&
            !c->ack_none)
            wanted = true;
    }
    return s->retention == M_INTEREST && !wanted;
}

/* Something else has its key, and is behind it or may be. */
static bool compacted(const struct model *m, const struct m_stream *s, uint64_t seq,
                      const struct m_msg *msg)
{
    if (!s->compact || msg->key == 0)
        return false;
    for (size_t i = 0; i < m->nmsgs; i++) {
        const struct m_msg *x = m->msgs[i];
        if (x != msg && x->topic == s && x->key == msg->key &&
            (x->state == MSG_SENT || (x->state == MSG_KNOWN && x->seq > seq)))
            return true;
    }
    return false;
}

bool model_excused(const struct model *m, const struct m_stream *s, uint64_t seq, uint64_t last)
{
    const struct m_place *p = seq < s->n ? &s->at[seq] : NULL;
    const struct m_msg *msg = p != NULL ? p->msg : NULL;

    if (p != NULL && (p->may_go || p->gone))
        return true;
    if (s->least_max != 0 && last - seq >= s->least_max)
        return true;
    if (s->per_subject != 0 && last - seq >= s->per_subject)
        return true;
    if (msg == NULL)
        return s->removals || s->compact || s->retention != M_LIMITS;
    if (compacted(m, s, seq, msg))
        return true;
    return msg->sent < s->purged[msg->subject] || acked_away(m, s, seq, msg);
}

/* ---- the disk -------------------------------------------------------------------------------- */

static void note_durable(struct model *m, unsigned token)
{
    if (token >= m->nmsgs)
        return;
    if (token >= m->ndurable) {
        size_t n = token + 1024u;
        m->durable = sim_grow(m->durable, n);
        memset(m->durable + m->ndurable, 0, n - m->ndurable);
        m->ndurable = n;
    }
    m->durable[token] = 1;
}

static void find_tokens(struct model *m, const uint8_t *p, size_t n)
{
    const uint8_t *end = p + n;
    unsigned token;

    while ((p = memchr(p, '@', (size_t) (end - p))) != NULL && end - p >= (ptrdiff_t) MARK_LEN) {
        if (token_of(p, &token))
            note_durable(m, token);
        p++;
    }
}

/* A mark may begin before the range, in what an earlier write brought. */
static void became_durable(void *ctx, const struct sim_inode *ino, uint64_t offset, size_t n)
{
    uint64_t from = offset > MARK_LEN ? offset - MARK_LEN : 0;
    size_t len = n + (size_t) (offset - from) + MARK_LEN;
    uint8_t *bytes = sim_alloc(len);

    find_tokens(ctx, bytes, sim_disk_read_durable(ino, bytes, len, from));
    free(bytes);
}

static void read_file(void *ctx, const char *path, struct sim_inode *ino)
{
    (void) path;
    became_durable(ctx, ino, 0, (size_t) sim_disk_size(ino));
}

void model_watch_disk(struct world *w)
{
    struct sim_disk *d = sim_disk(w->sim);

    sim_disk_walk(d, read_file, w->model);
    sim_disk_on_durable(d, became_durable, w->model);
}
