/*
 * stream_parts.h - what hangs on a stream and has a file of its own: what each part is told (a
 * commit, a removal, what will never be), and what it is asked. All of it on the stream's worker;
 * each part frees what it has in its _free.
 */
#ifndef JS_STREAM_PARTS_H
#define JS_STREAM_PARTS_H

#include "server/js/stream_int.h"
#include "server/js/zones.h"

struct api_request;

/* Tell those that follow it (stream_follow.h). */
void stream_followers_committed(struct stream *s);
void stream_followers_refused(struct stream *s);
void stream_followers_removed(struct stream *s);
void stream_followers_gone(struct stream *s);
/* Its memo (stream_memo.h). */
void stream_memo_recover(struct stream *s, const struct store_object_view *v);
void stream_memo_free(struct stream *s);
/* Has all that the memo is to say been added, so that r may remove messages? False: r runs anew
 * when it has. */
bool stream_memo_is_written(struct stream *s, struct api_request *r);
/* Messages that wait (stream_park.c): until stream_go_on was called as often as stream_hold_up.
 * stream_park: false when there is no room for another one. */
void stream_hold_up(struct stream *s);
void stream_go_on(struct stream *s);
bool stream_park(struct stream *s, const struct msg *m);
void stream_park_free(struct stream *s);
/* The duplicate window of a recovered stream (stream_load.c): reads it back; meanwhile messages
 * wait. */
void stream_load_start(struct stream *s);
void stream_load_free(struct stream *s);
/* Its subjects, which the store may read after a start (stream_index.c). True: they are not known
 * yet, and stream_effects_go_on, stream_expiry_go_on and the requests in s->waiting follow when
 * they are. */
bool stream_index_waits(struct stream *s);
/* The same; what is published waits, too. */
bool stream_index_holds(struct stream *s);
/* True: some of these subjects are not known yet, and the requests in s->waiting follow when they
 * are; what is published waits, too. */
bool stream_subjects_wait(struct stream *s, const struct str *subjects, unsigned n);
bool stream_subject_holds(struct stream *s, struct str subject);
/* Of a recovered stream: if what is published needs them, it waits. */
void stream_index_start(struct stream *s);
void stream_index_free(struct stream *s);
/* Its subject_transform and republish are new or others (stream_republish.c). */
void stream_subjects_configure(struct stream *s);
void stream_subjects_free(struct stream *s);
/* Batches of messages (batches.h). */
void stream_batches_configure(struct stream *s);
void stream_batches_free(struct stream *s);
void stream_batches_committed(struct stream *s);
void stream_batches_forget(struct stream *s);
/* m with the subject it is stored under: m itself, or *to, which lives until the next call. */
const struct msg *stream_transform(struct stream *s, const struct msg *m, struct msg *to);
/* A message was appended. last: what stream_republish_last said before that. */
uint64_t stream_republish_last(struct stream *s, struct str subject);
void stream_republish_note(struct stream *s, struct str subject, uint64_t seq, uint64_t last);
/* Sends those that are durable; forgets those that will not be. */
void stream_republish_committed(struct stream *s);
void stream_republish_forget(struct stream *s);
/* Messages of an interest stream that nobody needs any more (stream_sweep.c). */
void stream_sweep_init(struct stream *s);
void stream_sweep_free(struct stream *s);
/* [first, last] may not be needed any more; looked at in slices. */
void stream_recheck(struct stream *s, uint64_t first, uint64_t last);
/* A consumer has gone or wants less. */
void stream_interest_lost(struct stream *s);
/* One slice. */
void stream_sweep(struct stream *s);
/* What messages of a recovered stream bring about later (stream_effects.c): reads them back. */
void stream_effects_start(struct stream *s);
/* Something that they wait for is known. */
void stream_effects_go_on(struct stream *s);
void stream_expiry_go_on(struct stream *s);
bool stream_effects_loading(const struct stream *s);
void stream_effects_free(struct stream *s);
void stream_effects_step(struct list *link);
/* Schedules (stream_schedule.c). */
void stream_schedules_free(struct stream *s);
void stream_schedules_committed(struct stream *s);
void stream_schedules_removed(struct stream *s, uint64_t first, uint64_t last);
/* What is assigned and not durable will never be. */
void stream_schedules_forget(struct stream *s);
void stream_schedules_step(struct list *link);
/* A message that a start has read back; false: again when w is ready. */
bool stream_schedules_recover(struct stream *s, const struct store_msg *m, struct zone_wait *w);
/* That was the last one. */
void stream_schedules_recovered(struct stream *s);
/* Counters (stream_counter.c): what is assigned and not durable will never be. */
void stream_counters_forget(struct stream *s);
void stream_counters_free(struct stream *s);
/* Messages that go at their time (stream_expire.c). Does the stream keep such times, and do max_age
 * itself? */
bool stream_expires(const struct stream_config *c);
/* Its configuration is new or another one. */
void stream_expiry_configure(struct stream *s);
void stream_expiry_free(struct stream *s);
/* seq has a TTL (msg_ttl.h), counted from ts. */
void stream_expiry_note(struct stream *s, uint64_t seq, int64_t ts, int64_t seconds);
void stream_expiry_removed(struct stream *s, uint64_t first, uint64_t last);
void stream_expiry_committed(struct stream *s);
/* What is assigned and not durable will never be. */
void stream_expiry_forget(struct stream *s);
void stream_expire(struct list *link);

#endif
