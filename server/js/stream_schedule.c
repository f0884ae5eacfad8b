/*
 * stream_schedule.c - messages that publish others at their time.
 *
 * A message with Nats-Schedule is the schedule: it is stored like any other, one per subject (it
 * rolls its subject up). When it is due, a message is published to its target, through the same
 * ingest as a client's: the schedule's own headers and payload, or those of the last message of
 * another subject, plus
 *
 *   Nats-Scheduler: <subject of the schedule>
 *   Nats-Schedule-Next: purge, or when it is due again
 *
 * These two headers are the whole of the protocol. What a run changes is written nowhere else: when
 * the produced message is durable, it takes the schedule away (purge) or moves it on; after a start
 * the schedules and what they produced are read back in order (stream_effects.c) and say the same.
 * So a kill comes either before the produced message is durable, then the schedule is still due and
 * runs again, and nobody has seen the first one; or after, then it is not due any more. A run that
 * is on its way is `running`; if it is refused (no space) it is tried again.
 *
 * What no message says any more is lost: on a work queue a produced message may be consumed and
 * gone before a start. Then the schedule's next time is computed from its own message and the
 * clock: a run that was due while the server was down is left out, none happens twice.
 *
 * States of a schedule: due at `next` -> running (a message was appended) -> due at its next time,
 * or gone. It also goes with its message: deleted, expired, replaced by another message of its
 * subject.
 */
#include "lib/base/fmt.h"
#include "lib/base/hash.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/civil.h"
#include "server/js/deadlines.h"
#include "server/js/ingest.h"
#include "server/js/msg_ttl.h"
#include "server/js/publish_headers.h"
#include "server/js/schedule.h"
#include "server/js/stream_parts.h"

#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ll
#define SLICE 64u
#define SLEEP_MAX (60 * SECOND)
#define RETRY SECOND
#define SLACK 1024u

struct entry {
    struct hmap_node by_subject, by_seq;
    uint64_t seq;     /* of the schedule */
    uint64_t covered; /* a message of another schedule on the same subject */
    int64_t next;
    bool running;
    size_t len;
    char subject[];
};

/* What a message does to a schedule when it is durable. */
struct planned {
    struct list link;
    uint64_t seq;
    int64_t next; /* 0 = the schedule goes */
    size_t len;
    char subject[];
};

struct stream_schedules {
    struct stream *s;
    struct list link; /* js->scheduling */
    struct wheel_timer timer;
    struct hmap by_subject, by_seq;
    struct deadlines due;
    struct list planned;
    struct store_reader reader, source;
    bool open, waiting;
    struct zone_wait zone;         /* of a run, or of the start */
    struct zone_wait publish_zone; /* of a message that is to be checked */
};

/* ---- the table ------------------------------------------------------------------------------- */

static uint64_t hash_subject(struct str subject)
{
    return hash_bytes(subject.p, subject.n, 0);
}

static uint64_t hash_seq(uint64_t seq)
{
    return hash_bytes(&seq, sizeof(seq), 0);
}

static struct str subject_of(const struct entry *e)
{
    return str_from(e->subject, e->len);
}

static struct entry *find(const struct stream_schedules *t, struct str subject)
{
    uint64_t h = hash_subject(subject);

    for (struct hmap_node *n = hmap_first(&t->by_subject, h); n != NULL; n = hmap_next(n, h)) {
        struct entry *e = CONTAINER_OF(n, struct entry, by_subject);
        if (str_eq(subject_of(e), subject))
            return e;
    }
    return NULL;
}

static struct entry *find_seq(const struct stream_schedules *t, uint64_t seq)
{
    uint64_t h = hash_seq(seq);

    for (struct hmap_node *n = hmap_first(&t->by_seq, h); n != NULL; n = hmap_next(n, h)) {
        struct entry *e = CONTAINER_OF(n, struct entry, by_seq);
        if (e->seq == seq)
            return e;
    }
    return NULL;
}

static void drop(struct stream_schedules *t, struct entry *e)
{
    hmap_remove(&t->by_subject, &e->by_subject);
    hmap_remove(&t->by_seq, &e->by_seq);
    mem_free(e);
}

static void drop_all(struct stream_schedules *t)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;
    struct list *l;

    while ((n = hmap_each(&t->by_subject, &it)) != NULL)
        drop(t, CONTAINER_OF(n, struct entry, by_subject));
    while ((l = list_pop_front(&t->planned)) != NULL)
        mem_free(LIST_ENTRY(l, struct planned, link));
    deadlines_clear(&t->due);
}

static void go_on(struct stream_schedules *t)
{
    js_queue(t->s->js, &t->s->js->scheduling, &t->link);
}

static bool is_current(void *ctx, uint64_t seq)
{
    return find_seq(ctx, seq) != NULL;
}

static void due_at(struct stream_schedules *t, int64_t at, uint64_t seq)
{
    deadlines_add(&t->due, at, seq);
    if (t->due.n > 4 * t->by_seq.count + SLACK)
        deadlines_thin(&t->due, 4, is_current, t);
    go_on(t);
}

static void add(struct stream_schedules *t, struct str subject, uint64_t seq, int64_t next)
{
    struct entry *e = find(t, subject);

    if (e != NULL)
        drop(t, e);
    e = mem_zalloc(sizeof(*e) + subject.n);
    e->seq = seq;
    e->next = next;
    e->len = subject.n;
    memcpy(e->subject, subject.p, subject.n);
    hmap_insert(&t->by_subject, &e->by_subject, hash_subject(subject));
    hmap_insert(&t->by_seq, &e->by_seq, hash_seq(seq));
    due_at(t, next, seq);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void fire(struct wheel_timer *timer)
{
    go_on(CONTAINER_OF(timer, struct stream_schedules, timer));
}

static void ready(struct store_reader *r)
{
    struct stream_schedules *t = r->ctx;

    t->waiting = false;
    go_on(t);
}

static void zone_ready(struct zone_wait *w)
{
    struct stream_schedules *t = CONTAINER_OF(w, struct stream_schedules, zone);

    t->waiting = false;
    go_on(t);
}

static void publish_zone_ready(struct zone_wait *w)
{
    stream_go_on(CONTAINER_OF(w, struct stream_schedules, publish_zone)->s);
}

/* Also of streams without schedules: a time zone is looked at before that is. */
static struct stream_schedules *table_of(struct stream *s)
{
    struct stream_schedules *t = s->schedules;

    if (t != NULL)
        return t;
    t = s->schedules = mem_zalloc(sizeof(*t));
    t->s = s;
    list_init(&t->link);
    list_init(&t->planned);
    list_init(&t->zone.link);
    list_init(&t->publish_zone.link);
    t->zone.ready = zone_ready;
    t->publish_zone.ready = publish_zone_ready;
    hmap_init(&t->by_subject);
    hmap_init(&t->by_seq);
    wheel_timer_init(&t->timer, fire);
    return t;
}

void stream_schedules_free(struct stream *s)
{
    struct stream_schedules *t = s->schedules;

    s->schedules = NULL;
    if (t == NULL)
        return;
    drop_all(t);
    list_remove(&t->link);
    list_remove(&t->zone.link);
    list_remove(&t->publish_zone.link);
    io_timer_stop(s->js->env->io, &t->timer);
    hmap_deinit(&t->by_subject);
    hmap_deinit(&t->by_seq);
    if (t->open) {
        store_reader_deinit(&t->reader);
        store_reader_deinit(&t->source);
    }
    mem_free(t);
}

/* ---- checks ---------------------------------------------------------------------------------- */

static bool fail(struct verdict *v, enum js_error_kind kind)
{
    return js_fail(&v->error, kind, NULL);
}

/* *known false: it waits, or there is no such zone; then *error says so. */
static bool find_zone(struct stream *s, struct str name, struct zone_wait *w,
                      const struct zone **zone, bool *waits)
{
    *zone = NULL;
    *waits = false;
    if (name.p == NULL)
        return true;
    switch (zones_find(s->js->zones, name, zone, w)) {
    case ZONE_KNOWN:
        return true;
    case ZONE_WAIT:
        *waits = true;
        return false;
    default:
        return false;
    }
}

static bool in_subjects(const struct stream *s, struct str subject)
{
    for (size_t i = 0; i < s->config.subjects.n; i++)
        if (subject_matches(subject, str_of(s->config.subjects.items[i])))
            return true;
    return false;
}

static bool is_usable(struct str subject, struct str own)
{
    return subject.n > 0 && subject_valid_literal(subject) && !str_eq(subject, own);
}

static bool check_parts(const struct stream *s, const struct msg *m,
                        const struct publish_headers *h, struct verdict *v)
{
    struct str ttl = h->of[HEADER_SCHEDULE_TTL], rollup = h->of[HEADER_SCHEDULE_ROLLUP];
    struct str target = h->of[HEADER_SCHEDULE_TARGET], source = h->of[HEADER_SCHEDULE_SOURCE];
    int64_t seconds;

    if (!s->config.allow_msg_schedules)
        return fail(v, JS_ERR_MESSAGE_SCHEDULES_DISABLED);
    if (!msg_ttl_parse(ttl, &seconds))
        return fail(v, JS_ERR_MESSAGE_SCHEDULES_TTL_INVALID);
    if (rollup.n > 0 && !str_eq(rollup, STR("sub")))
        return fail(v, JS_ERR_MESSAGE_SCHEDULES_ROLLUP_INVALID);
    if (ttl.n > 0 && !s->config.allow_msg_ttl)
        return fail(v, JS_ERR_MESSAGE_TTL_DISABLED);
    if (!is_usable(target, m->subject))
        return fail(v, JS_ERR_MESSAGE_SCHEDULES_TARGET_INVALID);
    if (source.n > 0 && (!is_usable(source, m->subject) || str_eq(source, target)))
        return fail(v, JS_ERR_MESSAGE_SCHEDULES_SOURCE_INVALID);
    if (!in_subjects(s, target))
        return fail(v, JS_ERR_MESSAGE_SCHEDULES_TARGET_INVALID);
    if (source.n > 0 && !in_subjects(s, source))
        return fail(v, JS_ERR_MESSAGE_SCHEDULES_SOURCE_INVALID);
    return true;
}

/* A subject has one schedule: its message rolls up what was there. */
static bool add_rollup(struct publish_headers *h, struct verdict *v)
{
    struct str *rollup = &h->of[HEADER_ROLLUP];
    struct buf b = {0};

    if (rollup->n > 0 && !str_eq_nocase(*rollup, STR("sub")))
        return fail(v, JS_ERR_MESSAGE_SCHEDULES_ROLLUP_INVALID);
    if (rollup->n > 0)
        return true;
    header_append(&b, v->header, STR("Nats-Rollup"), STR("sub"));
    verdict_set_header(v, &b);
    *rollup = STR("sub");
    return true;
}

static bool check_schedule(struct stream *s, const struct msg *m, struct publish_headers *h,
                           struct verdict *v)
{
    struct str text = h->of[HEADER_SCHEDULE], zone_name = h->of[HEADER_SCHEDULE_TIME_ZONE];
    bool allowed = s->config.allow_msg_schedules;
    int64_t now = io_wall(s->js->env->io), next;
    const struct zone *zone;
    struct schedule schedule;

    if (text.n == 0 && zone_name.p == NULL)
        return true;
    if (!find_zone(s, zone_name, &table_of(s)->publish_zone, &zone, &v->waits)) {
        if (v->waits) {
            stream_hold_up(s);
            return false;
        }
        return fail(v, allowed ? JS_ERR_MESSAGE_SCHEDULES_TIME_ZONE_INVALID
                               : JS_ERR_MESSAGE_SCHEDULES_DISABLED);
    }
    if (!schedule_parse(text, zone_name.p != NULL, &schedule))
        return fail(v, allowed ? JS_ERR_MESSAGE_SCHEDULES_PATTERN_INVALID
                               : JS_ERR_MESSAGE_SCHEDULES_DISABLED);
    if (schedule.kind == SCHEDULE_NONE)
        return true;
    if (!schedule_next(&schedule, zone, now, now, &next))
        return fail(v, allowed ? JS_ERR_MESSAGE_SCHEDULES_PATTERN_INVALID
                               : JS_ERR_MESSAGE_SCHEDULES_DISABLED);
    if (!check_parts(s, m, h, v) || !add_rollup(h, v))
        return false;
    v->scheduled = true;
    v->due = next;
    v->effect = true;
    return true;
}

/* Clients may end a schedule with a message; they may not move it. */
static bool check_end(struct stream *s, const struct msg *m, const struct publish_headers *h,
                      struct verdict *v)
{
    struct str next = h->of[HEADER_SCHEDULE_NEXT], scheduler = h->of[HEADER_SCHEDULER];
    const struct verdict *before;
    const struct entry *e;
    uint64_t last, msgs;

    if (next.n == 0)
        return scheduler.n == 0 || fail(v, JS_ERR_MESSAGE_SCHEDULES_SCHEDULER_INVALID);
    if (!str_eq(next, STR("purge")) || !is_usable(scheduler, m->subject))
        return fail(v, JS_ERR_MESSAGE_SCHEDULES_SCHEDULER_INVALID);
    if (!s->config.allow_msg_schedules)
        return fail(v, JS_ERR_MESSAGE_SCHEDULES_DISABLED);
    before = ingest_before(v, scheduler);
    if (before != NULL)
        return before->scheduled || fail(v, JS_ERR_MESSAGE_SCHEDULES_SCHEDULER_INVALID);
    last = store_subject_last_assigned(s->store, scheduler, &msgs);
    e = last != 0 ? find(table_of(s), scheduler) : NULL;
    if (last != 0 && (e == NULL || e->seq != last))
        return fail(v, JS_ERR_MESSAGE_SCHEDULES_SCHEDULER_INVALID);
    return true;
}

bool ingest_check_schedule(struct stream *s, const struct msg *m, struct publish_headers *h,
                           struct verdict *v)
{
    if (!v->sourced && (!check_schedule(s, m, h, v) || !check_end(s, m, h, v)))
        return false;
    v->schedule_next = h->of[HEADER_SCHEDULE_NEXT];
    v->scheduler = h->of[HEADER_SCHEDULER];
    v->effect = v->effect || v->schedule_next.n > 0;
    return true;
}

/* ---- what a message does to schedules -------------------------------------------------------- */

static void plan(struct stream_schedules *t, struct str subject, uint64_t seq, int64_t next)
{
    struct planned *p = mem_zalloc(sizeof(*p) + subject.n);

    p->seq = seq;
    p->next = next;
    p->len = subject.n;
    memcpy(p->subject, subject.p, subject.n);
    list_push_back(&t->planned, &p->link);
}

void ingest_scheduled(struct stream *s, const struct msg *m, uint64_t seq, const struct verdict *v)
{
    struct stream_schedules *t = s->schedules;
    int64_t next = 0;

    if (t == NULL)
        return;
    if (v->stored && v->scheduled) {
        add(t, m->subject, seq, v->due);
    } else if (v->stored && v->scheduler.n == 0 && t->by_subject.count > 0) {
        struct entry *e = find(t, m->subject);
        if (e != NULL)
            drop(t, e);
    }
    if (v->schedule_next.n == 0 || v->scheduler.n == 0)
        return;
    if (str_eq(v->schedule_next, STR("purge")) || fmt_parse_rfc3339(v->schedule_next, &next))
        plan(t, v->scheduler, seq, next);
}

/* The schedule itself is gone from the log's point of view before anything can remove the message
 * that it produced. */
static void end_schedule(struct stream_schedules *t, struct str subject, uint64_t before)
{
    struct entry *e = find(t, subject);
    struct store_subject sub;

    if (e != NULL && e->seq < before) {
        store_remove(t->s->store, e->seq, false, NULL);
        drop(t, e);
    }
    if (store_subject_get(t->s->store, subject, &sub) && sub.first_seq < before)
        store_purge(t->s->store, &(struct store_purge){.filter = subject, .before_seq = before},
                    NULL);
}

void stream_schedules_committed(struct stream *s)
{
    struct stream_schedules *t = s->schedules;
    struct list *l;

    while (t != NULL && (l = list_first(&t->planned)) != NULL) {
        struct planned *p = LIST_ENTRY(l, struct planned, link);
        struct str subject = str_from(p->subject, p->len);
        struct entry *e;
        if (p->seq > s->durable)
            return;
        list_remove(&p->link);
        e = find(t, subject);
        if (p->next == 0) {
            end_schedule(t, subject, p->seq);
        } else if (e != NULL && e->running) {
            e->running = false;
            e->next = p->next;
            due_at(t, e->next, e->seq);
        }
        mem_free(p);
    }
}

void stream_schedules_removed(struct stream *s, uint64_t first, uint64_t last)
{
    struct stream_schedules *t = s->schedules;
    struct hmap_iter it = {0};
    struct hmap_node *n;
    struct entry *e;

    if (t == NULL || t->by_seq.count == 0)
        return;
    if (last - first < t->by_seq.count) {
        for (uint64_t seq = first; seq <= last; seq++)
            if ((e = find_seq(t, seq)) != NULL)
                drop(t, e);
        return;
    }
    while ((n = hmap_each(&t->by_seq, &it)) != NULL) {
        e = CONTAINER_OF(n, struct entry, by_seq);
        if (e->seq >= first && e->seq <= last)
            drop(t, e);
    }
}

/* What was replaced is current again: everything is read anew. */
void stream_schedules_forget(struct stream *s)
{
    if (s->schedules == NULL || !s->config.allow_msg_schedules)
        return;
    drop_all(s->schedules);
    stream_effects_start(s);
}

/* ---- after a start --------------------------------------------------------------------------- */

bool stream_schedules_recover(struct stream *s, const struct store_msg *m, struct zone_wait *w)
{
    struct publish_headers h;
    const struct zone *zone;
    struct schedule schedule;
    struct entry *e;
    int64_t next;
    bool waits;

    if (!s->config.allow_msg_schedules || !publish_headers_find(m->header, &h))
        return true;
    struct stream_schedules *t = table_of(s);
    if (h.of[HEADER_SCHEDULE].n > 0) {
        bool known = find_zone(s, h.of[HEADER_SCHEDULE_TIME_ZONE], w, &zone, &waits);
        if (waits)
            return false;
        if (known &&
            schedule_parse(h.of[HEADER_SCHEDULE], h.of[HEADER_SCHEDULE_TIME_ZONE].p != NULL,
                           &schedule) &&
            schedule_next(&schedule, zone, m->ts, io_wall(s->js->env->io), &next))
            add(t, m->subject, m->seq, next);
    } else if (h.of[HEADER_SCHEDULER].n > 0 && (e = find(t, m->subject)) != NULL) {
        e->covered = m->seq;
    }
    if (h.of[HEADER_SCHEDULER].n == 0 || h.of[HEADER_SCHEDULE_NEXT].n == 0)
        return true;
    e = find(t, h.of[HEADER_SCHEDULER]);
    if (str_eq(h.of[HEADER_SCHEDULE_NEXT], STR("purge"))) {
        end_schedule(t, h.of[HEADER_SCHEDULER], m->seq);
    } else if (e != NULL && fmt_parse_rfc3339(h.of[HEADER_SCHEDULE_NEXT], &next)) {
        e->next = next;
        due_at(t, next, e->seq);
    }
    return true;
}

/* What is not the last message of its subject was replaced by one that is no schedule. */
void stream_schedules_recovered(struct stream *s)
{
    struct stream_schedules *t = s->schedules;
    struct store_subject sub;
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while (t != NULL && (n = hmap_each(&t->by_subject, &it)) != NULL) {
        struct entry *e = CONTAINER_OF(n, struct entry, by_subject);
        uint64_t last = e->covered > e->seq ? e->covered : e->seq;
        if (!store_subject_get(s->store, subject_of(e), &sub) || sub.last_seq > last)
            drop(t, e);
    }
    if (t != NULL)
        go_on(t);
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* RFC 3339 in the zone's time: what nats-server prints. */
static void put_time(struct buf *b, int64_t ns, const struct zone *zone)
{
    int64_t at = ns / SECOND - (ns % SECOND < 0);
    int32_t offset = zone_offset(zone, at), minutes;
    char text[FMT_TIME_MAX];
    struct civil c;

    if (offset == 0) {
        fmt_time_rfc3339(text, ns);
        buf_puts(b, text);
        return;
    }
    civil_of(at + offset, &c);
    minutes = (offset < 0 ? -offset : offset) / 60;
    buf_printf(b, "%04lld-%02d-%02dT%02d:%02d:%02d%c%02d:%02d", (long long) c.year, c.month, c.day,
               c.hour, c.minute, c.second, offset < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

/* Not copied: what made it a schedule, and what could keep it from being stored. */
static bool is_left_out(struct str key)
{
    return str_starts(key, STR("Nats-Schedule")) || str_starts(key, STR("Nats-Expected-")) ||
           str_eq(key, STR("Nats-Msg-Id")) || str_eq(key, STR("Nats-TTL")) ||
           str_eq(key, STR("Nats-Rollup"));
}

static void put_pair(struct buf *b, struct str key, struct str value)
{
    buf_printf(b, "%.*s: %.*s\r\n", STR_ARG(key), STR_ARG(value));
}

static bool publish(struct stream_schedules *t, const struct entry *e, const struct store_msg *from,
                    const struct publish_headers *h, struct str next)
{
    struct buf header = {0}, target = {0};
    struct str key, value;
    size_t at = 0;
    uint64_t seq;
    bool ok;

    buf_puts(&header, "NATS/1.0\r\n");
    while (header_next(from->header, &at, &key, &value))
        if (!is_left_out(key))
            put_pair(&header, key, value);
    put_pair(&header, STR("Nats-Scheduler"), subject_of(e));
    put_pair(&header, STR("Nats-Schedule-Next"), next);
    if (h->of[HEADER_SCHEDULE_TTL].n > 0)
        put_pair(&header, STR("Nats-TTL"), h->of[HEADER_SCHEDULE_TTL]);
    if (h->of[HEADER_SCHEDULE_ROLLUP].n > 0)
        put_pair(&header, STR("Nats-Rollup"), h->of[HEADER_SCHEDULE_ROLLUP]);
    buf_puts(&header, "\r\n");
    buf_put_str(&target, h->of[HEADER_SCHEDULE_TARGET]);
    ok = ingest_own(t->s,
                    &(struct msg){.subject = buf_str(&target),
                                  .header = buf_str(&header),
                                  .payload = from->payload},
                    &seq);
    buf_free(&header);
    buf_free(&target);
    return ok;
}

enum outcome { DONE, WAIT, AGAIN, INVALID };

static enum outcome fetch(struct store_reader *r, uint64_t seq, struct store_msg *m)
{
    switch (store_reader_get(r, seq, m)) {
    case STORE_READ_MSG:
        return DONE;
    case STORE_READ_WAIT:
        return WAIT;
    default:
        return INVALID;
    }
}

static enum outcome run(struct stream_schedules *t, struct entry *e)
{
    struct stream *s = t->s;
    struct publish_headers h;
    const struct zone *zone;
    struct schedule schedule;
    struct store_subject sub;
    struct store_msg m, source;
    struct buf text = {0};
    enum outcome got = fetch(&t->reader, e->seq, &m);
    int64_t next, ttl;
    bool waits, ok;

    if (got != DONE)
        return got;
    publish_headers_find(m.header, &h);
    if (!find_zone(s, h.of[HEADER_SCHEDULE_TIME_ZONE], &t->zone, &zone, &waits))
        return waits ? WAIT : INVALID;
    if (!schedule_parse(h.of[HEADER_SCHEDULE], h.of[HEADER_SCHEDULE_TIME_ZONE].p != NULL,
                        &schedule) ||
        !schedule_next(&schedule, zone, e->next, io_wall(s->js->env->io), &next) ||
        !msg_ttl_parse(h.of[HEADER_SCHEDULE_TTL], &ttl) || h.of[HEADER_SCHEDULE_TARGET].n == 0)
        return INVALID;
    source = m;
    if (h.of[HEADER_SCHEDULE_SOURCE].n > 0 &&
        store_subject_get(s->store, h.of[HEADER_SCHEDULE_SOURCE], &sub)) {
        got = fetch(&t->source, sub.last_seq, &source);
        if (got == WAIT)
            return WAIT;
        if (got == INVALID)
            source = m;
    }
    if (schedule_repeats(&schedule))
        put_time(&text, next, zone);
    else
        buf_puts(&text, "purge");
    ok = publish(t, e, &source, &h, buf_str(&text));
    buf_free(&text);
    return ok ? DONE : AGAIN;
}

/* ---- slices ---------------------------------------------------------------------------------- */

static void sleep_until(struct stream_schedules *t, int64_t at)
{
    struct io *io = t->s->js->env->io;
    int64_t left = at - io_wall(io);

    if (left < 0)
        left = 0;
    if (left > SLEEP_MAX)
        left = SLEEP_MAX;
    io_timer_start(io, &t->timer, io_now(io) + (uint64_t) left);
}

/* False when it has to wait. */
static bool run_first(struct stream_schedules *t, struct deadline first, int64_t now)
{
    struct entry *e = find_seq(t, first.seq);
    enum outcome got;

    if (e == NULL || e->running || e->next > now) {
        deadlines_pop(&t->due);
        return true;
    }
    got = e->seq > t->s->durable ? AGAIN : run(t, e);
    if (got == WAIT) {
        t->waiting = true;
        return false;
    }
    deadlines_pop(&t->due);
    if (got == DONE)
        e->running = true;
    else if (got == AGAIN)
        deadlines_add(&t->due, now + (e->seq > t->s->durable ? RETRY / 50 : RETRY), e->seq);
    else
        drop(t, e);
    return true;
}

void stream_schedules_step(struct list *link)
{
    struct stream_schedules *t = CONTAINER_OF(link, struct stream_schedules, link);
    struct stream *s = t->s;
    int64_t now = io_wall(s->js->env->io);
    const struct deadline *first;

    list_remove(&t->link);
    if (s->failed || s->js->stopping || t->waiting || s->store == NULL || s->config.sealed ||
        stream_effects_loading(s))
        return;
    if (!t->open) {
        store_reader_init(&t->reader, s->store, 1, NULL, 0, ready, t);
        store_reader_init(&t->source, s->store, 1, NULL, 0, ready, t);
        t->open = true;
    }
    for (unsigned i = 0; i < SLICE; i++) {
        first = deadlines_first(&t->due);
        if (first == NULL)
            return;
        if (first->at > now) {
            sleep_until(t, first->at);
            return;
        }
        if (!run_first(t, *first, now))
            return;
    }
    go_on(t);
}
