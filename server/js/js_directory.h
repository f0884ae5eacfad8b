/*
 * js_directory.h - names of streams and consumers -> where they live; shared by all workers.
 *
 * Worker 0 (the registrar) adds, changes and removes streams; a stream's worker adds and removes
 * its consumers' sinks. Everybody looks up. One read-write lock, held for a lookup or a change,
 * never across a callback. Streams are listed in byte order of their names.
 */
#ifndef JS_JS_DIRECTORY_H
#define JS_JS_DIRECTORY_H

#include "lib/base/buf.h"
#include "lib/base/handle.h"
#include "lib/base/str.h"
#include "lib/json/json.h"
#include "server/core/route.h"
#include "server/js/source_config.h"

#include <stdbool.h>
#include <stdint.h>

struct directory;

struct directory *directory_open(uint64_t seed);
void directory_close(struct directory *d);

enum directory_verdict {
    DIRECTORY_OK,
    DIRECTORY_EXISTS,
    DIRECTORY_OVERLAP,
    DIRECTORY_BUSY, /* only streams that are being deleted are in the way: ask again later */
};

/* Claims name and subjects for a stream on that worker. */
enum directory_verdict directory_claim(struct directory *d, struct str name,
                                       const struct str_list *subjects, uint32_t worker);
/* New subjects for a stream that exists: OK or OVERLAP (then nothing changed). */
enum directory_verdict directory_reclaim(struct directory *d, struct str name,
                                         const struct str_list *subjects);
/* It is being deleted: lookups and lists do not find it any more; what it claims stays claimed
 * until it is released. False when it has no sink to be deleted: an offline stream, or none. */
bool directory_retire(struct directory *d, struct str name);
/* A stream that is being restored was retired as soon as it was claimed; now it is there. */
void directory_show(struct directory *d, struct str name);
/* Its data can not be served: found by lookups, never retired. */
void directory_claim_offline(struct directory *d, struct str name, uint32_t worker);
void directory_release(struct directory *d, struct str name);
bool directory_stream(struct directory *d, struct str name, uint32_t *worker);
size_t directory_count(struct directory *d);
/* Copies the names (of streams with a subject that overlaps the filter; empty = all) in order into
 * out. */
void directory_names(struct directory *d, struct str filter, struct str_list *out);

/* acks: does it take any? */
void directory_consumer_add(struct directory *d, struct str stream, struct str consumer,
                            struct route_target target, bool acks);
void directory_consumer_remove(struct directory *d, struct str stream, struct str consumer);
/* Changes whenever an answer of directory_consumer may. What was looked up behind a version is true
 * as long as it stays. */
uint64_t directory_version(const struct directory *d);
bool directory_consumer(struct directory *d, struct str stream, struct str consumer,
                        struct route_target *out);
/* The same, of a consumer that takes acknowledgements: of others nobody hears an ack. */
bool directory_acks(struct directory *d, struct str stream, struct str consumer,
                    struct route_target *out);

/* What other streams' rules may ask of it (worker 0). */
void directory_describe(struct directory *d, struct str name, const struct stream_outline *o);
/* A copy, to be freed; false when there is no such stream, or it has not been described. */
bool directory_outline(struct directory *d, struct str name, struct stream_outline *out);

/* Number of streams that claim a subject overlapping `subject`, without `except`. */
bool directory_overlaps(struct directory *d, struct str subject);

#endif
