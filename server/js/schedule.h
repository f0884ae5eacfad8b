/*
 * schedule.h - when a scheduled message is due: the text of Nats-Schedule, and the next time of it.
 *
 * Pure: the text, a zone, the time of the last run and the clock go in, a time comes out.
 *
 *   @at 2026-01-02T03:04:05Z      once; no zone
 *   @every 1m30s                  at least a second; no zone
 *   sec min hour dom month dow    numbers, names (jan, sun), lists, a-b, steps, * and ?
 *   @hourly @daily @midnight @weekly @monthly @yearly @annually
 *
 * The rules of days are those of nats-server: when both days are given either may match, when one
 * is a star both must. A pattern that fits no time within five years is refused.
 */
#ifndef JS_SCHEDULE_H
#define JS_SCHEDULE_H

#include "lib/base/str.h"
#include "server/js/zone.h"

#include <stdbool.h>
#include <stdint.h>

enum schedule_kind {
    SCHEDULE_NONE, /* an empty text, or the year 1: no schedule */
    SCHEDULE_AT,
    SCHEDULE_EVERY,
    SCHEDULE_CRON,
};

struct schedule {
    enum schedule_kind kind;
    int64_t at;    /* unix ns */
    int64_t every; /* ns */
    /* Bit n = n matches; the topmost bit: it was a star. */
    uint64_t second, minute, hour, day, month, weekday;
};

/* False when it is none of these, or has a zone where there can be none. */
bool schedule_parse(struct str text, bool has_zone, struct schedule *out);
static inline bool schedule_repeats(const struct schedule *s)
{
    return s->kind == SCHEDULE_EVERY || s->kind == SCHEDULE_CRON;
}
/* The next time, unix ns, after a run that was due at ts. Runs that were missed are not made up:
 * when it would be before now, it is the next one after now. False when there is none. */
bool schedule_next(const struct schedule *s, const struct zone *zone, int64_t ts, int64_t now,
                   int64_t *next);

#endif
