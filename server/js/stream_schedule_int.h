/*
 * stream_schedule_int.h - the schedules of one stream, for the files that work on them:
 * stream_schedule.c keeps the table, stream_schedule_check.c looks at what is published,
 * stream_schedule_run.c publishes what is due. All of it on the stream's worker.
 */
#ifndef JS_STREAM_SCHEDULE_INT_H
#define JS_STREAM_SCHEDULE_INT_H

#include "lib/base/hmap.h"
#include "server/js/deadlines.h"
#include "server/js/stream_parts.h"

/* One schedule: found by its subject, which has no other, and by its sequence. */
struct schedule_entry {
    struct hmap_node by_subject, by_seq;
    uint64_t seq;     /* of the schedule */
    uint64_t covered; /* a message of another schedule on the same subject */
    int64_t next;
    bool running;
    size_t len;
    char subject[];
};

/* Of one stream; s->schedules. */
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

/* ---- stream_schedule.c */

/* Makes it. Also of streams without schedules: a time zone is looked at before that is. */
struct stream_schedules *schedules_of(struct stream *s);
struct schedule_entry *schedules_find(const struct stream_schedules *t, struct str subject);
struct schedule_entry *schedules_find_seq(const struct stream_schedules *t, uint64_t seq);
/* Frees e; its message may stay. */
void schedules_drop(struct stream_schedules *t, struct schedule_entry *e);
/* A turn of stream_schedules_step, soon. */
void schedules_go_on(struct stream_schedules *t);
static inline struct str schedule_subject(const struct schedule_entry *e)
{
    return str_from(e->subject, e->len);
}

/* ---- stream_schedule_check.c */

/* The zone of that name into *zone: NULL = UTC, also when name.p is NULL. False: there is none, or
 * *waits: w will be told. */
bool schedules_find_zone(struct stream *s, struct str name, struct zone_wait *w,
                         const struct zone **zone, bool *waits);

/* ---- stream_schedule_run.c */

/* The readers of t->reader and t->source; and w of t->zone. */
void schedules_reader_ready(struct store_reader *r);
void schedules_zone_ready(struct zone_wait *w);

#endif
