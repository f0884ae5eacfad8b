/*
 * advisory.h - what is said below $JS.EVENT of what has happened. Nothing is made for an advisory
 * that nobody hears.
 */
#ifndef JS_ADVISORY_H
#define JS_ADVISORY_H

#include "server/js/js_int.h"

struct consumer;
struct stream;

/* Told when it is durable; deletions of consumers when they are carried out. */
enum advice { ADVISE_CREATED, ADVISE_UPDATED, ADVISE_DELETED };
void advise_stream(struct js *js, enum advice what, struct str name);
void advise_consumer(struct consumer *c, enum advice what); /* not ADVISE_UPDATED */
/* An atomic batch has ended without a commit: timeout, large, incomplete, unsupported. */
void advise_batch_abandoned(struct stream *s, struct str id, const char *reason);
/* The pause has begun, changed or ended. */
void advise_pause(struct consumer *c);
void advise_max_deliveries(struct consumer *c, uint64_t seq, uint64_t deliveries);
struct ack_info;
void advise_nak(struct consumer *c, const struct ack_info *info);
void advise_terminated(struct consumer *c, const struct ack_info *info, struct str reason);
/* A metric: ack_time_ns from the last delivery to the acknowledgement. */
void advise_acked(struct consumer *c, const struct ack_info *info, uint64_t ack_time_ns);
/* The audit: a request was answered so. */
struct api_request;
void advise_api(const struct api_request *r, struct str response);
/* Requests were not even looked at, because too many are under way. */
void advise_api_limit(struct js *js, unsigned dropped);
void advise_pinned(struct consumer *c, const char *group, const char *id);
void advise_unpinned(struct consumer *c, const char *group, bool by_request);

void advise_snapshot_create(struct stream *s, struct str who);
/* start: unix ns; error NULL = it is complete. */
void advise_snapshot_complete(struct stream *s, struct str who, int64_t start, const char *error);
void advise_restore_create(struct stream *s, struct str who);
void advise_restore_complete(struct stream *s, struct str who, int64_t start, uint64_t bytes);

#endif
