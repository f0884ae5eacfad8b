/*
 * consumer_config.h - a consumer's configuration: as a struct, as JSON, its defaults and its rules.
 */
#ifndef JS_CONSUMER_CONFIG_H
#define JS_CONSUMER_CONFIG_H

#include "server/js/consumer_core.h"
#include "server/js/stream_config.h"

#include <stdbool.h>
#include <stdint.h>

enum deliver_policy {
    DELIVER_ALL,
    DELIVER_LAST,
    DELIVER_NEW,
    DELIVER_BY_START_SEQUENCE,
    DELIVER_BY_START_TIME,
    DELIVER_LAST_PER_SUBJECT
};

/* Nobody asks for an ephemeral one so long: it goes. */
#define CONSUMER_INACTIVE_DEFAULT 5000000000ll

struct consumer_config {
    char *durable_name, *name, *description;
    int deliver_policy;
    uint64_t opt_start_seq;
    int64_t opt_start_time;
    int ack_policy;
    int64_t ack_wait_ns, max_deliver;
    struct i64_list backoff;
    char *filter_subject;
    struct str_list filter_subjects;
    int replay_policy;
    uint64_t rate_limit_bps;
    char *sample_freq;
    int64_t max_waiting, max_ack_pending;
    bool flow_control, headers_only;
    int64_t max_batch, max_expires_ns, max_bytes;
    char *deliver_subject, *deliver_group;
    int64_t idle_heartbeat_ns, inactive_threshold_ns;
    int64_t num_replicas;
    bool mem_storage, direct, sourcing;
    json_t *metadata;
    int64_t pause_until;
    struct str_list priority_groups;
    int priority_policy;
    int64_t priority_timeout_ns;
};

enum { REPLAY_INSTANT, REPLAY_ORIGINAL };

enum { CONSUMER_ACTION_ANY, CONSUMER_ACTION_CREATE, CONSUMER_ACTION_UPDATE };

struct consumer_request {
    char *stream_name;
    struct consumer_config config;
    int action;
    bool pedantic;
};

void consumer_config_release(struct consumer_config *c);
void consumer_config_copy(struct consumer_config *to, const struct consumer_config *from);
bool consumer_config_equal(const struct consumer_config *a, const struct consumer_config *b);
/* The object with braces, as it is stored; and as it is answered, with the metadata of
 * metadata_for_answer. */
void consumer_config_write(struct buf *b, const struct consumer_config *c);
void consumer_config_answer(struct buf *b, const struct consumer_config *c, const char *version);
/* One config object (recovery). */
bool consumer_config_read(struct str json, struct consumer_config *out, struct js_error *err);

/* A create request. */
bool consumer_request_read(struct str json, bool strict, struct consumer_request *out,
                           struct js_error *err);
void consumer_request_release(struct consumer_request *r);

/* What defaults and rules depend on (consumer_check.c). */
struct consumer_bounds {
    const struct stream_config *stream;
    int64_t max_ack_pending, max_batch; /* of the server; 0 = none */
    int64_t account_max_ack_pending;    /* 0 or less = none */
    bool pedantic;                      /* a value that would be changed is an error instead */
};

/* Fills in defaults but that of inactive_threshold, and checks all that needs no other consumer. */
bool consumer_config_check(struct consumer_config *c, const struct consumer_bounds *b,
                           struct js_error *err);
/* What a work queue wants of a new consumer: explicit acknowledgements, from the first message on.
 */
bool consumer_config_check_work_queue(const struct consumer_config *c,
                                      const struct stream_config *s, struct js_error *err);
/* The inactive_threshold of one that was asked for without: only what has no durable_name ends by
 * itself. was: what it has now, NULL for a new one; as the peer does it, what has none keeps none,
 * whatever it is called now. */
void consumer_config_threshold(struct consumer_config *c, const struct consumer_config *was);
/* May a priority group have this name? */
bool consumer_group_valid(const char *name);
/* Of 100 acknowledgements so many are sampled; 0 = none. */
unsigned consumer_config_sampling(const struct consumer_config *c);
/* Notes the required API level in the metadata, after a change. consumer_config_check does it too.
 */
void consumer_config_stamp(struct consumer_config *c);
bool consumer_config_check_update(const struct consumer_config *old,
                                  const struct consumer_config *new, struct js_error *err);
/* What the core acts on; backoff is borrowed from c. */
void consumer_config_rules(const struct consumer_config *c, struct consumer_rules *out);

#endif
