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
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/ingest.h"
#include "server/js/publish_headers.h"
#include "server/js/schedule.h"
#include "server/js/stream_schedule_int.h"

#include <string.h>

#define SLACK 1024u

/* What a message does to a schedule when it is durable. */
struct schedule_planned {
    struct list link;
    uint64_t seq;
    int64_t next; /* 0 = the schedule goes */
    size_t len;
    char subject[];
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

struct schedule_entry *schedules_find(const struct stream_schedules *t, struct str subject)
{
    uint64_t h = hash_subject(subject);

    for (struct hmap_node *n = hmap_first(&t->by_subject, h); n != NULL; n = hmap_next(n, h)) {
        struct schedule_entry *e = CONTAINER_OF(n, struct schedule_entry, by_subject);
        if (str_eq(schedule_subject(e), subject))
            return e;
    }
    return NULL;
}

struct schedule_entry *schedules_find_seq(const struct stream_schedules *t, uint64_t seq)
{
    uint64_t h = hash_seq(seq);

    for (struct hmap_node *n = hmap_first(&t->by_seq, h); n != NULL; n = hmap_next(n, h)) {
        struct schedule_entry *e = CONTAINER_OF(n, struct schedule_entry, by_seq);
        if (e->seq == seq)
            return e;
    }
    return NULL;
}

void schedules_drop(struct stream_schedules *t, struct schedule_entry *e)
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
        schedules_drop(t, CONTAINER_OF(n, struct schedule_entry, by_subject));
    while ((l = list_pop_front(&t->planned)) != NULL)
        mem_free(LIST_ENTRY(l, struct schedule_planned, link));
    deadlines_clear(&t->due);
}

void schedules_go_on(struct stream_schedules *t)
{
    js_queue(t->s->js, &t->s->js->scheduling, &t->link);
}

static bool is_current(void *ctx, uint64_t seq)
{
    return schedules_find_seq(ctx, seq) != NULL;
}

static void due_at(struct stream_schedules *t, int64_t at, uint64_t seq)
{
    deadlines_add(&t->due, at, seq);
    if (t->due.n > 4 * t->by_seq.count + SLACK)
        deadlines_thin(&t->due, 4, is_current, t);
    schedules_go_on(t);
}

static void add(struct stream_schedules *t, struct str subject, uint64_t seq, int64_t next)
{
    struct schedule_entry *e = schedules_find(t, subject);

    if (e != NULL)
        schedules_drop(t, e);
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
    schedules_go_on(CONTAINER_OF(timer, struct stream_schedules, timer));
}

static void publish_zone_ready(struct zone_wait *w)
{
    stream_go_on(CONTAINER_OF(w, struct stream_schedules, publish_zone)->s);
}

struct stream_schedules *schedules_of(struct stream *s)
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
    t->zone.ready = schedules_zone_ready;
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

/* ---- what a message does to schedules -------------------------------------------------------- */

static void plan(struct stream_schedules *t, struct str subject, uint64_t seq, int64_t next)
{
    struct schedule_planned *p = mem_zalloc(sizeof(*p) + subject.n);

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
        struct schedule_entry *e = schedules_find(t, m->subject);
        if (e != NULL)
            schedules_drop(t, e);
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
    struct schedule_entry *e = schedules_find(t, subject);
    struct store_subject sub;

    if (e != NULL && e->seq < before) {
        store_remove(t->s->store, e->seq, false, NULL);
        schedules_drop(t, e);
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
        struct schedule_planned *p = LIST_ENTRY(l, struct schedule_planned, link);
        struct str subject = str_from(p->subject, p->len);
        struct schedule_entry *e;
        if (p->seq > s->durable)
            return;
        list_remove(&p->link);
        e = schedules_find(t, subject);
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
    struct schedule_entry *e;

    if (t == NULL || t->by_seq.count == 0)
        return;
    if (last - first < t->by_seq.count) {
        for (uint64_t seq = first; seq <= last; seq++)
            if ((e = schedules_find_seq(t, seq)) != NULL)
                schedules_drop(t, e);
        return;
    }
    while ((n = hmap_each(&t->by_seq, &it)) != NULL) {
        e = CONTAINER_OF(n, struct schedule_entry, by_seq);
        if (e->seq >= first && e->seq <= last)
            schedules_drop(t, e);
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
    struct schedule_entry *e;
    int64_t next;
    bool waits;

    if (!s->config.allow_msg_schedules || !publish_headers_find(m->header, &h))
        return true;
    struct stream_schedules *t = schedules_of(s);
    if (h.of[HEADER_SCHEDULE].n > 0) {
        bool known = schedules_find_zone(s, h.of[HEADER_SCHEDULE_TIME_ZONE], w, &zone, &waits);
        if (waits)
            return false;
        if (known &&
            schedule_parse(h.of[HEADER_SCHEDULE], h.of[HEADER_SCHEDULE_TIME_ZONE].p != NULL,
                           &schedule) &&
            schedule_next(&schedule, zone, m->ts, io_wall(s->js->env->io), &next))
            add(t, m->subject, m->seq, next);
    } else if (h.of[HEADER_SCHEDULER].n > 0 && (e = schedules_find(t, m->subject)) != NULL) {
        e->covered = m->seq;
    }
    if (h.of[HEADER_SCHEDULER].n == 0 || h.of[HEADER_SCHEDULE_NEXT].n == 0)
        return true;
    e = schedules_find(t, h.of[HEADER_SCHEDULER]);
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
        struct schedule_entry *e = CONTAINER_OF(n, struct schedule_entry, by_subject);
        uint64_t last = e->covered > e->seq ? e->covered : e->seq;
        if (!store_subject_get(s->store, schedule_subject(e), &sub) || sub.last_seq > last)
            schedules_drop(t, e);
    }
    if (t != NULL)
        schedules_go_on(t);
}
