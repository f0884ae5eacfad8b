/*
 * stream_schedule_run.c - what is due is published: in order of time, SLICE of them in a turn.
 *
 * A run reads the schedule's message again (and the last one of its source), computes when it is
 * due next, and publishes to the target with two headers that say so. From then on the schedule is
 * `running`, until that message is durable (stream_schedules_committed). What can not be published
 * is tried again in a second; what makes no sense any more leaves the table, and stays a message.
 * While a message or a zone is read all others wait, so that their order stays.
 */
#include "lib/base/fmt.h"
#include "lib/base/header.h"
#include "lib/io/io.h"
#include "server/js/civil.h"
#include "server/js/ingest.h"
#include "server/js/msg_ttl.h"
#include "server/js/publish_headers.h"
#include "server/js/schedule.h"
#include "server/js/stream_schedule_int.h"

#define SECOND 1000000000ll
#define SLICE 64u
/* Clocks that are set are noticed within this time. */
#define SLEEP_MAX (60 * SECOND)
/* What could not be done is tried again. */
#define RETRY SECOND

void schedules_reader_ready(struct store_reader *r)
{
    struct stream_schedules *t = r->ctx;

    t->waiting = false;
    schedules_go_on(t);
}

void schedules_zone_ready(struct zone_wait *w)
{
    struct stream_schedules *t = CONTAINER_OF(w, struct stream_schedules, zone);

    t->waiting = false;
    schedules_go_on(t);
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

static bool publish(struct stream_schedules *t, const struct schedule_entry *e,
                    const struct store_msg *from, const struct publish_headers *h, struct str next)
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
    put_pair(&header, STR("Nats-Scheduler"), schedule_subject(e));
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

static enum outcome run(struct stream_schedules *t, struct schedule_entry *e)
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
    if (!schedules_find_zone(s, h.of[HEADER_SCHEDULE_TIME_ZONE], &t->zone, &zone, &waits))
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
    struct schedule_entry *e = schedules_find_seq(t, first.seq);
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
        schedules_drop(t, e);
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
        store_reader_init(&t->reader, s->store, 1, NULL, 0, schedules_reader_ready, t);
        store_reader_init(&t->source, s->store, 1, NULL, 0, schedules_reader_ready, t);
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
    schedules_go_on(t);
}
