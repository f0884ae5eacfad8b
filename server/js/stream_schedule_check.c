/*
 * stream_schedule_check.c - may a message be a schedule, or end one? In the peer's order of checks,
 * so that a message with two mistakes hears of the same one.
 *
 * A zone is a file that is read elsewhere: a message that names one for the first time is looked at
 * again when it is there, and what comes behind it waits (verdict.waits).
 */
#include "lib/io/io.h"
#include "server/js/ingest.h"
#include "server/js/msg_ttl.h"
#include "server/js/publish_headers.h"
#include "server/js/schedule.h"
#include "server/js/stream_schedule_int.h"

bool schedules_find_zone(struct stream *s, struct str name, struct zone_wait *w,
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

static bool fail(struct verdict *v, enum js_error_kind kind)
{
    return js_fail(&v->error, kind, NULL);
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
    if (!schedules_find_zone(s, zone_name, &schedules_of(s)->publish_zone, &zone, &v->waits)) {
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
    const struct schedule_entry *e;
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
    e = last != 0 ? schedules_find(schedules_of(s), scheduler) : NULL;
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
