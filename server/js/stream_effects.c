/*
 * stream_effects.c - what messages bring about later, after a start.
 *
 * A time to live, a rollup, a schedule: their effect comes after their message is durable, so a
 * server may die between the two. Nothing about them is stored on its own: the store knows which
 * batches hold such messages (STORE_MSG_HAS_EFFECT), and a recovered stream reads those back, in
 * order, and nothing else.
 *
 *   Nats-TTL      its deadline is noted again
 *   Nats-Rollup   what it replaces goes again, if it is still there. Nothing that came after the
 *                 rollup is below its sequence, so doing it twice is doing it once.
 *   Nats-Schedule, Nats-Schedule-Next
 *                 schedules, and what their messages did to them (stream_schedule.c)
 *
 * A rollup asks for the first message of its subject, so all of it waits until subjects are known
 * (stream_index.c). Until all is read nothing expires. Other things do not wait: what is published
 * meanwhile notes its own effects, which are of higher sequences.
 */
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "server/js/ingest.h"
#include "server/js/msg_ttl.h"
#include "server/js/stream_parts.h"

/* Messages read in one go; then the other streams have their turn. */
#define SLICE 512u

struct stream_effects {
    struct stream *s;
    struct list link; /* js->effects */
    struct store_reader reader;
    struct zone_wait zone;
    uint64_t last; /* what was there at the start */
    bool holds;    /* the stream, up */
};

static void go_on(struct stream_effects *f)
{
    js_queue(f->s->js, &f->s->js->effects, &f->link);
}

static void ready(struct store_reader *r)
{
    go_on(r->ctx);
}

static void zone_ready(struct zone_wait *w)
{
    go_on(CONTAINER_OF(w, struct stream_effects, zone));
}

bool stream_effects_loading(const struct stream *s)
{
    return s->effects != NULL;
}

void stream_effects_free(struct stream *s)
{
    struct stream_effects *f = s->effects;

    s->effects = NULL;
    if (f == NULL)
        return;
    list_remove(&f->link);
    list_remove(&f->zone.link);
    store_reader_deinit(&f->reader);
    mem_free(f);
}

static bool has_older(struct stream *s, struct str subject, uint64_t seq)
{
    struct store_subject sub;
    struct store_state st;

    if (subject.n > 0)
        return store_subject_get(s->store, subject, &sub) && sub.first_seq < seq;
    store_stream_state(s->store, &st);
    return st.first_seq < seq;
}

static void roll_up(struct stream *s, struct str subject, uint64_t seq)
{
    if (has_older(s, subject, seq))
        store_purge(s->store, &(struct store_purge){.filter = subject, .before_seq = seq}, NULL);
}

/* False: it is to be read again. */
static bool note(struct stream *s, const struct store_msg *m, struct zone_wait *w)
{
    enum rollup_kind how = ingest_rollup_of(m->header);
    int64_t ttl;

    if (!stream_schedules_recover(s, m, w))
        return false;
    if (how != ROLLUP_NONE && s->config.allow_rollup_hdrs && !s->config.deny_purge)
        roll_up(s, how == ROLLUP_SUB ? m->subject : STR_NONE, m->seq);
    if (msg_ttl_parse(header_get(m->header, STR("Nats-TTL")), &ttl))
        stream_expiry_note(s, m->seq, m->ts, ttl);
    return true;
}

static void loaded(struct stream *s)
{
    bool held = s->effects->holds;

    stream_effects_free(s);
    if (s->expiry != NULL)
        stream_expiry_configure(s);
    stream_schedules_recovered(s);
    if (held)
        stream_go_on(s);
}

void stream_effects_step(struct list *link)
{
    struct stream_effects *f = CONTAINER_OF(link, struct stream_effects, link);
    struct stream *s = f->s;
    struct store_msg m;

    list_remove(&f->link);
    if (stream_index_waits(s))
        return;
    for (unsigned i = 0; i < SLICE; i++) {
        uint64_t seq = store_seq_with_effect(s->store, f->reader.seq);
        if (seq == 0 || seq > f->last) {
            loaded(s);
            return;
        }
        if (seq != f->reader.seq)
            store_reader_seek(&f->reader, seq);
        switch (store_reader_next(&f->reader, &m)) {
        case STORE_READ_MSG:
            if (m.seq > f->last || note(s, &m, &f->zone))
                break;
            store_reader_seek(&f->reader, m.seq);
            return;
        case STORE_READ_WAIT:
            return;
        default:
            loaded(s);
            return;
        }
    }
    go_on(f);
}

void stream_effects_go_on(struct stream *s)
{
    if (s->effects != NULL)
        go_on(s->effects);
}

void stream_effects_start(struct stream *s)
{
    struct stream_effects *f;

    if (s->effects != NULL || s->failed || store_seq_with_effect(s->store, 1) == 0)
        return;
    f = s->effects = mem_zalloc(sizeof(*f));
    f->s = s;
    f->last = s->durable;
    f->zone.ready = zone_ready;
    f->holds = s->config.allow_msg_schedules;
    if (f->holds)
        stream_hold_up(s);
    list_init(&f->link);
    list_init(&f->zone.link);
    store_reader_init(&f->reader, s->store, 1, NULL, 0, ready, f);
    go_on(f);
}
