/*
 * stream_subjects.h - what a stream's configuration does with subjects: `subject_transform` before
 * a message is stored, `republish` after.
 */
#ifndef JS_STREAM_SUBJECTS_H
#define JS_STREAM_SUBJECTS_H

#include "lib/json/json.h"
#include "server/core/transform.h"
#include "server/js/js_error.h"

struct stream_config;

/* {"src":...,"dest":...,"headers_only":...}: views into the configuration's JSON. */
struct subject_mapping {
    struct str source, dest;
    bool headers_only;
};

/* False when object is NULL. */
bool subject_mapping_read(const json_t *object, struct subject_mapping *out);
/* The rules for both, in the peer's order; republish may be changed (`>` to `>` behind a
 * transform). */
bool subject_mappings_check(struct stream_config *c, struct js_error *err);
/* Of a checked configuration; NULL when there is nothing to do. */
struct transform *subject_mapping_compile(const json_t *object);

#endif
