/*
 * stream_config.h - a stream's configuration: as a struct, as JSON, its defaults and its rules.
 *
 * All 2.15 fields are known, kept and checked.
 */
#ifndef JS_STREAM_CONFIG_H
#define JS_STREAM_CONFIG_H

#include "lib/json/json.h"
#include "server/js/js_error.h"

#include <stdbool.h>
#include <stdint.h>

enum retention { RETENTION_LIMITS, RETENTION_INTEREST, RETENTION_WORKQUEUE };
enum discard { DISCARD_OLD, DISCARD_NEW };
enum storage { STORAGE_FILE, STORAGE_MEMORY };

struct stream_config {
    char *name;
    char *description;
    struct str_list subjects;
    int retention;
    int64_t max_consumers, max_msgs, max_bytes;
    int64_t max_age_ns;
    int64_t max_msgs_per_subject, max_msg_size;
    int discard;
    int storage;
    int64_t num_replicas;
    bool no_ack;
    int64_t duplicate_window_ns;
    json_t *placement, *mirror, *sources;
    int compression;
    uint64_t first_seq;
    json_t *subject_transform, *republish;
    bool allow_direct, mirror_direct, discard_new_per_subject, sealed, deny_delete, deny_purge,
        allow_rollup_hdrs;
    json_t *consumer_limits, *metadata;
    bool allow_msg_ttl;
    int64_t subject_delete_marker_ttl_ns;
    bool allow_msg_counter, allow_atomic, allow_msg_schedules, allow_batched;
    int persist_mode;
    bool pedantic; /* of the request; never printed */
};

void stream_config_release(struct stream_config *c);
void stream_config_copy(struct stream_config *to, const struct stream_config *from);
bool stream_config_equal(const struct stream_config *a, const struct stream_config *b);

/* Reads a request; JS_ERR_INVALID_JSON otherwise. */
bool stream_config_read(struct str json, bool strict, struct stream_config *out,
                        struct js_error *err);
/* The object with braces, as it is stored. */
void stream_config_write(struct buf *b, const struct stream_config *c);
/* ... as it is shown: `consumer_limits` is there, empty or not. */
void stream_config_show(struct buf *b, const struct stream_config *c);
/* ... as it is answered: also with the metadata of metadata_for_answer. */
void stream_config_answer(struct buf *b, const struct stream_config *c, const char *version);

/* Fills in defaults and checks everything that needs no other stream. server_duplicate_window: 0 =
 * no limit. */
bool stream_config_check(struct stream_config *c, int64_t server_duplicate_window,
                         struct js_error *err);
/* May `old` become `new`? (both checked) Sealing changes more of `new` than it says. */
bool stream_config_check_update(const struct stream_config *old, struct stream_config *new,
                                struct js_error *err);
/* consumer_limits: defaults of the stream's consumers and the most they may ask for; 0 = none. */
struct consumer_limits {
    int64_t max_ack_pending, inactive_threshold_ns;
};
void stream_config_limits(const struct stream_config *c, struct consumer_limits *out);
/* Names of streams and consumers: no blank, dot, star, greater-than, slash or backslash. */
bool js_name_valid(const char *name);

#endif
