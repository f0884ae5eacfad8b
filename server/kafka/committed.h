/*
 * committed.h - the offsets that one group has committed, and how one of them is kept as a message
 * of the offsets stream. Pure.
 *
 *     subject   $KAFKA.OFFSETS.<group>.<topic>.<partition>, names with =XX for every byte that is
 *               no letter, digit, _ or -
 *     header    Kafka-Key-B64: the key, as Kafka writes it into its own offsets topic (version 1)
 *               Kafka-Topic-Id: 32 hex digits
 *     payload   the value, as Kafka writes it (version 3): offset, leader epoch, metadata, time
 *
 * The stream keeps the last message of a subject, so that what is read back is what was committed
 * last; tools that read Kafka's offsets topic can read this one. The subject counts, the key is for
 * them.
 */
#ifndef KAFKA_COMMITTED_H
#define KAFKA_COMMITTED_H

#include "lib/base/buf.h"
#include "lib/base/hmap.h"
#include "lib/base/list.h"
#include "lib/wire/kafka_messages.h"
#include "server/kafka/held.h"

#include <stdbool.h>
#include <stdint.h>

#define COMMITTED_SUBJECTS "$KAFKA.OFFSETS.>"
/* Longest metadata of an offset (Kafka's default), longest name of a group. */
#define COMMITTED_METADATA_MAX 4096u
#define COMMITTED_GROUP_MAX 512u

struct committed_offset {
    struct hmap_node node;
    struct list link;
    struct str topic, metadata;
    int32_t partition;
    int32_t epoch;   /* of the leader, as the client saw it; -1 = it did not say */
    int64_t offset;  /* some clients commit -1 and -2: to start where they would without one */
    int64_t time_ms; /* when it was committed */
    struct kafka_uuid topic_id; /* of the topic then: one of that name that came later is another */
    uint64_t seq;               /* of its message in the offsets stream */
};

struct committed {
    struct hmap map;
    struct list all;
    struct held *held; /* counts the metadata; may be NULL */
};

void committed_init(struct committed *c, struct held *held);
void committed_deinit(struct committed *c);
/* NULL: none. */
struct committed_offset *committed_find(const struct committed *c, struct str topic,
                                        int32_t partition);
/* A copy, in the place of the one that was. */
void committed_put(struct committed *c, const struct committed_offset *o);
void committed_drop(struct committed *c, struct committed_offset *o);
/* All of them by topic and partition, in memory that the caller frees (mem_free). */
struct committed_offset **committed_sorted(const struct committed *c);

/* A name as a token of a subject, appended; and back. False: no such token. */
void committed_put_name(struct buf *out, struct str name);
bool committed_take_name(struct buf *out, struct str token);
/* The subject of a group as a whole, under which nothing is kept: who may publish on it may use the
 * group. Appended. */
void committed_put_group_subject(struct buf *out, struct str group);
/* Appends to all three. */
void committed_render(struct str group, const struct committed_offset *o, struct buf *subject,
                      struct buf *header, struct buf *payload);
/* False: no such message. names: group and topic are appended there; *group and o->topic are views
 * of it, o->metadata of the payload. Nothing else of o is set but what the message says. */
bool committed_parse(struct str subject, struct str header, struct str payload, struct buf *names,
                     struct str *group, struct committed_offset *o);

#endif
