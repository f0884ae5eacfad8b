/*
 * topics.h - the table of all topics, made of what the streams tell of themselves; names of streams
 * for partitions. docs/internals/kafka.md says what a topic is.
 *
 * Shared by all workers, one read-write lock inside, never held across a callback.
 */
#ifndef KAFKA_TOPICS_H
#define KAFKA_TOPICS_H

#include "lib/wire/kafka_codec.h"
#include "server/js/js.h"

#include <stdbool.h>
#include <stdint.h>

/* Longest name of a topic. */
#define TOPIC_NAME_MAX 249u
/* Most partitions of one topic. */
#define TOPIC_PARTITIONS_MAX 1024
#define TOPIC_NOWHERE UINT32_MAX

struct topics;

struct topic_turns;

struct topics *topics_open(void);
void topics_close(struct topics *t);
/* Whose turn it is to make or delete which. */
struct topic_turns *topics_turns(struct topics *t);
/* What to watch the streams with. */
struct js_watch topics_watch(struct topics *t);

/* Letters, digits, dot, underscore, minus; not empty, "." or "..". */
bool topic_name_valid(struct str name);
/* The server's own. */
bool topic_name_reserved(struct str name);
/* The stream of a partition, appended. */
void topic_stream_name(struct buf *out, struct str topic, int32_t partition);
/* The subject of a partition of a topic with so many of them, appended. */
void topic_subject(struct buf *out, struct str topic, int32_t partition, int32_t partitions);

/* A pair of the stream's metadata that begins with kafka.config. */
struct topic_config {
    struct str name, value;
};

/* A copy, in an arena. */
struct topic {
    struct str name;
    struct kafka_uuid id;
    int32_t partitions;
    const uint32_t *workers; /* of the partitions; TOPIC_NOWHERE = its stream is not there */
    bool writable;           /* Kafka clients may produce into it */
    bool plain;              /* its subjects are those of its name */
    bool internal;
    int64_t max_age_ns, max_bytes, max_msg_size, max_msgs_per_subject; /* as the stream has them */
    int64_t replicas;
    const struct topic_config *configs; /* without a counterpart in the stream */
    size_t nconfigs;
};

bool topics_find(struct topics *t, struct str name, struct kafka_arena *arena, struct topic *out);
bool topics_find_id(struct topics *t, const struct kafka_uuid *id, struct kafka_arena *arena,
                    struct topic *out);
/* Its name alone, in the arena. */
bool topics_name_of(struct topics *t, const struct kafka_uuid *id, struct kafka_arena *arena,
                    struct str *name);
/* All of them, by name; the array is in the arena. */
size_t topics_all(struct topics *t, struct kafka_arena *arena, struct topic **out);

/* Partitions of compacted topics that live on this worker: names in the arena. */
struct topic_piece {
    struct str topic;
    int32_t partition;
};
size_t topics_compacted(struct topics *t, uint32_t worker, struct kafka_arena *arena,
                        struct topic_piece **out);

/* The highest partition whose stream is there and that its topic does not count; 0 = none. */
int32_t topics_orphan(struct topics *t, struct str name);

/* Another number when a topic has come, gone or changed. */
uint64_t topics_version(struct topics *t);

struct topic_place {
    uint32_t worker;
    bool writable;
    bool plain;                          /* as the topic's */
    bool compact;                        /* its cleanup.policy says so: records need keys */
    bool append_time;                    /* records get the time at which they are stored */
    int64_t before_max_ms, after_max_ms; /* how old, and how far ahead, times may be */
    int32_t partitions;
    struct kafka_uuid id;
};
/* Of one partition, without a copy of the rest; false when there is none (or not now). */
bool topics_partition(struct topics *t, struct str name, int32_t partition,
                      struct topic_place *out);

#endif
