/*
 * stream_expire.c - messages that go at their time: Nats-TTL, max_age next to it, delete markers.
 *
 * Where a stream allows TTLs a message may say "never", so that max_age is not the store's business
 * any more but done here (stream_limits gives the store none). Two queues:
 *
 *   due      (time, sequence) of every message with a TTL; also what has to be tried again
 *   age_seq  messages below it have been looked at for max_age: what is left there stays for ever
 *            or until its TTL. Above it messages are in order of time.
 *
 * Without delete markers nothing has to be read: what is due is removed, and the end of what is too
 * old is found by time (store_seq_at). With subject_delete_marker_ttl the message is read: when it
 * is the last of its subject and no marker itself, nothing is removed; instead a marker is
 * published, a message that rolls its subject up and expires after that time. The old message goes
 * by the rollup, after the marker is durable: a crash leaves the old message, which expires again,
 * or the marker, or both, and then the rollup is carried out again (stream_effects.c). There is no
 * moment in which neither is there, and no second marker, since a subject whose last message is a
 * marker gets none. What has a marker on its way is in `marking`; when the marker is refused (no
 * space) they are due again a second later.
 *
 * A removal rides with the next commit. After a crash a message that had gone may be there again;
 * it is due again as soon as the start has read it back, until then its TTL is not looked at.
 */
#include "lib/base/fmt.h"
#include "lib/base/header.h"
#include "lib/base/later.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/deadlines.h"
#include "server/js/ingest.h"
#include "server/js/msg_ttl.h"
#include "server/js/stream_parts.h"

#include <stdio.h>

#define SECOND 1000000000ll
/* Messages looked at in one slice. */
#define SLICE 256u
/* Clocks that are set are noticed within this time. */
#define SLEEP_MAX (60 * SECOND)
/* What could not be done is tried again. */
#define RETRY SECOND
/* Entries whose message has gone are looked for when there are so many more than messages. */
#define SLACK 1024u

/* Lives until it is answered, also when its stream has gone. */
struct age_query {
    struct store_req req;
    struct stream_expiry *expiry; /* NULL: gone */
};

struct stream_expiry {
    struct stream *s;
    struct list link; /* js->expiring */
    struct wheel_timer timer;
    struct store_reader reader;
    bool open;    /* reader is initialised */
    bool waiting; /* for reader */
    struct deadlines due;
    struct seqset never, marking;
    uint64_t age_seq;
    uint64_t age_end; /* [age_seq, age_end) is too old */
    int64_t age_next; /* when the message at age_seq is too old; 0 = not known, INT64_MAX = none */
    struct age_query *asking;
};

/* ---- life ------------------------------------------------------------------------------------ */

static void go_on(struct stream_expiry *e)
{
    js_queue(e->s->js, &e->s->js->expiring, &e->link);
}

static void fire(struct wheel_timer *t)
{
    go_on(CONTAINER_OF(t, struct stream_expiry, timer));
}

static void ready(struct store_reader *r)
{
    struct stream_expiry *e = r->ctx;

    e->waiting = false;
    go_on(e);
}

bool stream_expires(const struct stream_config *c)
{
    return c->allow_msg_ttl || c->subject_delete_marker_ttl_ns > 0;
}

void stream_expiry_configure(struct stream *s)
{
    struct stream_expiry *e = s->expiry;

    if (!stream_expires(&s->config))
        return;
    if (e == NULL) {
        e = s->expiry = mem_zalloc(sizeof(*e));
        e->s = s;
        list_init(&e->link);
        wheel_timer_init(&e->timer, fire);
    }
    if (e->asking != NULL) {
        e->asking->expiry = NULL;
        e->asking = NULL;
    }
    e->age_seq = 0; /* max_age may be another */
    e->age_end = 0;
    e->age_next = 0;
    go_on(e);
}

void stream_expiry_go_on(struct stream *s)
{
    if (s->expiry != NULL)
        go_on(s->expiry);
}

void stream_expiry_free(struct stream *s)
{
    struct stream_expiry *e = s->expiry;

    s->expiry = NULL;
    if (e == NULL)
        return;
    list_remove(&e->link);
    io_timer_stop(s->js->env->io, &e->timer);
    if (e->open)
        store_reader_deinit(&e->reader);
    if (e->asking != NULL) {
        e->asking->expiry = NULL;
        if (s->js->store == NULL)
            mem_free(e->asking);
    }
    deadlines_deinit(&e->due);
    seqset_free(&e->never);
    seqset_free(&e->marking);
    mem_free(e);
}

/* ---- what is to come ------------------------------------------------------------------------- */

static void sleep_until(struct stream_expiry *e, int64_t at)
{
    struct io *io = e->s->js->env->io;
    int64_t left;

    if (at == INT64_MAX) {
        io_timer_stop(io, &e->timer);
        return;
    }
    left = at - io_wall(io);
    if (left < 0)
        left = 0;
    if (left > SLEEP_MAX)
        left = SLEEP_MAX;
    io_timer_start(io, &e->timer, io_now(io) + (uint64_t) left);
}

static bool exists(void *ctx, uint64_t seq)
{
    struct stream *s = ctx;

    return seq > s->durable || store_msg_exists(s->store, seq);
}

static void thin(struct stream_expiry *e)
{
    struct store_state st;

    if (e->due.n < SLACK)
        return;
    store_stream_state(e->s->store, &st);
    if (e->due.n > 2 * st.msgs + SLACK)
        deadlines_thin(&e->due, 4, exists, e->s);
}

static void due_at(struct stream_expiry *e, int64_t at, uint64_t seq)
{
    const struct deadline *first = deadlines_first(&e->due);

    if (at == INT64_MAX)
        return;
    if (first == NULL || at < first->at)
        go_on(e);
    deadlines_add(&e->due, at, seq);
    thin(e);
}

void stream_expiry_note(struct stream *s, uint64_t seq, int64_t ts, int64_t seconds)
{
    struct stream_expiry *e = s->expiry;

    if (e == NULL || seconds == 0)
        return;
    if (seconds == MSG_TTL_NEVER)
        seqset_add(&e->never, seq, seq);
    else
        due_at(e, msg_ttl_due(ts, seconds), seq);
}

void stream_expiry_removed(struct stream *s, uint64_t first, uint64_t last)
{
    struct stream_expiry *e = s->expiry;

    if (e == NULL)
        return;
    seqset_remove(&e->never, first, last);
    seqset_remove(&e->marking, first, last);
}

void stream_expiry_committed(struct stream *s)
{
    struct stream_expiry *e = s->expiry;

    if (e != NULL && s->config.max_age_ns > 0 && (e->age_next == INT64_MAX || e->age_next == 0)) {
        e->age_next = 0;
        go_on(e);
    }
}

/* The markers that were on their way may be among what is forgotten. */
void stream_expiry_forget(struct stream *s)
{
    struct stream_expiry *e = s->expiry;
    uint64_t first, last, at = 0;

    if (e == NULL)
        return;
    deadlines_forget_above(&e->due, s->durable);
    seqset_remove(&e->never, s->durable + 1, UINT64_MAX - 1);
    while (seqset_range_from(&e->marking, at, &first, &last)) {
        for (uint64_t seq = first; seq <= last; seq++)
            due_at(e, io_wall(s->js->env->io) + RETRY, seq);
        at = last + 1;
    }
    seqset_free(&e->marking);
}

/* ---- one message ----------------------------------------------------------------------------- */

static bool is_marker(struct str header)
{
    return header_get(header, STR("Nats-Marker-Reason")).n > 0 ||
           str_eq(header_get(header, STR("KV-Operation")), STR("PURGE"));
}

static bool put_marker(struct stream *s, struct str subject)
{
    char header[160], ttl[FMT_TIME_MAX];
    uint64_t seq;
    int n;

    fmt_go_duration(ttl, s->config.subject_delete_marker_ttl_ns / SECOND * SECOND);
    n = snprintf(header, sizeof(header),
                 "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: %s\r\nNats-Rollup: "
                 "sub\r\n\r\n",
                 ttl);
    return ingest_own(s, &(struct msg){.subject = subject, .header = str_from(header, (size_t) n)},
                      &seq);
}

static void expire_read(struct stream_expiry *e, const struct store_msg *m)
{
    struct stream *s = e->s;
    uint64_t msgs;

    if (seqset_has(&e->marking, m->seq))
        return;
    store_subject_last_assigned(s->store, m->subject, &msgs);
    if (msgs > 1 || is_marker(m->header)) {
        store_remove(s->store, m->seq, false, NULL);
    } else if (put_marker(s, m->subject)) {
        seqset_add(&e->marking, m->seq, m->seq);
    } else {
        due_at(e, io_wall(s->js->env->io) + RETRY, m->seq);
    }
}

/* False when it has to be fetched. */
static bool expire(struct stream_expiry *e, uint64_t seq)
{
    struct stream *s = e->s;
    struct store_msg m;

    if (!store_msg_exists(s->store, seq))
        return true;
    if (s->config.subject_delete_marker_ttl_ns == 0) {
        store_remove(s->store, seq, false, NULL);
        return true;
    }
    switch (store_reader_get(&e->reader, seq, &m)) {
    case STORE_READ_MSG:
        expire_read(e, &m);
        return true;
    case STORE_READ_WAIT:
        return false;
    default:
        return true;
    }
}

/* False when there is more, or something has to be fetched. */
static bool expire_due(struct stream_expiry *e, int64_t now, unsigned *budget)
{
    const struct deadline *d;

    while ((d = deadlines_first(&e->due)) != NULL && d->at <= now) {
        struct deadline first = *d;
        if (*budget == 0)
            return false;
        --*budget;
        if (first.seq <= e->s->durable && !expire(e, first.seq)) {
            e->waiting = true;
            return false;
        }
        deadlines_pop(&e->due);
        if (first.seq > e->s->durable) /* a commit that takes its time */
            deadlines_add(&e->due, now + RETRY, first.seq);
    }
    return true;
}

/* ---- age ------------------------------------------------------------------------------------- */

static void age_found(struct store_req *req, enum err err)
{
    struct age_query *q = CONTAINER_OF(req, struct age_query, req);
    struct stream_expiry *e = q->expiry;

    if (e != NULL) {
        e->asking = NULL;
        if (err == ERR_OK)
            e->age_end = req->count;
        else
            e->age_next = io_wall(e->s->js->env->io) + RETRY;
        go_on(e);
    }
    mem_free(q);
}

/* Where do those end that are not newer than this? */
static bool find_age_end(struct stream_expiry *e, int64_t newest)
{
    struct age_query *q = mem_zalloc(sizeof(*q));

    q->req.done = age_found;
    q->expiry = e;
    if (store_seq_at(e->s->store, newest + 1, &e->age_end, &q->req) == ERR_AGAIN) {
        e->asking = q;
        return false;
    }
    mem_free(q);
    return true;
}

/* [age_seq, age_end) goes, but for what stays for ever. False when there is more. */
static bool remove_old(struct stream_expiry *e, unsigned *budget)
{
    if (seqset_count_in(&e->never, 0, e->age_end - 1) == 0) {
        store_purge(e->s->store, &(struct store_purge){.before_seq = e->age_end}, NULL);
        e->age_seq = e->age_end;
        return true;
    }
    for (; e->age_seq < e->age_end; e->age_seq++) {
        if (*budget == 0)
            return false;
        --*budget;
        if (!seqset_has(&e->never, e->age_seq))
            store_remove(e->s->store, e->age_seq, false, NULL);
    }
    return true;
}

/* Looks at the first message that was not looked at: sets age_next, or removes it or what is too
 * old with it. False when there is more, or something has to be fetched. */
static bool expire_old(struct stream_expiry *e, int64_t now, unsigned *budget)
{
    struct stream *s = e->s;
    struct store_msg m;

    if (e->asking != NULL)
        return true;
    while (e->age_next <= now) {
        if (e->age_seq < e->age_end && !remove_old(e, budget))
            return false;
        e->age_end = 0;
        store_reader_seek(&e->reader, e->age_seq);
        switch (store_reader_next(&e->reader, &m)) {
        case STORE_READ_MSG:
            break;
        case STORE_READ_WAIT:
            e->waiting = true;
            return false;
        default:
            e->age_next = INT64_MAX;
            return true;
        }
        e->age_next = later(m.ts, s->config.max_age_ns);
        if (e->age_next > now)
            return true;
        if (s->config.subject_delete_marker_ttl_ns == 0) {
            e->age_seq = m.seq;
            if (!find_age_end(e, now - s->config.max_age_ns))
                return true;
            continue;
        }
        if (*budget == 0)
            return false;
        --*budget;
        e->age_seq = m.seq + 1;
        if (!seqset_has(&e->never, m.seq))
            expire_read(e, &m);
    }
    return true;
}

/* ---- slices ---------------------------------------------------------------------------------- */

static int64_t next_time(const struct stream_expiry *e)
{
    const struct deadline *d = deadlines_first(&e->due);
    int64_t at = d != NULL ? d->at : INT64_MAX;

    if (e->s->config.max_age_ns > 0 && e->asking == NULL && e->age_next < at)
        at = e->age_next;
    return at;
}

void stream_expire(struct list *link)
{
    struct stream_expiry *e = CONTAINER_OF(link, struct stream_expiry, link);
    struct stream *s = e->s;
    int64_t now = io_wall(s->js->env->io);
    unsigned budget = SLICE;

    list_remove(&e->link);
    if (s->failed || s->js->stopping || e->waiting || s->store == NULL || s->restore != NULL ||
        stream_effects_loading(s) ||
        (s->config.subject_delete_marker_ttl_ns > 0 && stream_index_waits(s)))
        return;
    if (!e->open) {
        store_reader_init(&e->reader, s->store, 1, NULL, 0, ready, e);
        e->open = true;
    }
    if (expire_due(e, now, &budget) && (s->config.max_age_ns <= 0 || expire_old(e, now, &budget))) {
        sleep_until(e, next_time(e));
        return;
    }
    if (!e->waiting)
        go_on(e);
}
