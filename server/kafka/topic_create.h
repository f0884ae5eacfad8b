/*
 * topic_create.h - making a topic, and giving it more partitions: streams by calls to the JetStream
 * API, one after the other, partition 0's last.
 */
#ifndef KAFKA_TOPIC_CREATE_H
#define KAFKA_TOPIC_CREATE_H

#include "server/kafka/kafka_int.h"

struct topic_wish {
    struct str name; /* valid */
    int32_t partitions;
    int32_t from; /* the first partition that is to be made; 0 = a new topic */
    /* Of a new topic: names and values that have been checked (topic_config.h). */
    const struct topic_config *configs;
    size_t nconfigs;
};

struct topic_outcome {
    enum kafka_error error;
    const char *text; /* lives until done returns; NULL = none */
    struct kafka_uuid id;
};

/* What a refusal of JetStream (its err_code, -1 = no answer) means to a Kafka client. */
enum kafka_error topic_error_of(int err_code);

typedef void (*topic_done_fn)(void *ctx, const struct topic_outcome *outcome);

/* Copies the wish; done is called once, later or now, on this worker. */
void topic_create(struct realm *realm, const struct topic_wish *wish, topic_done_fn done,
                  void *ctx);
/* All of its streams. */
void topic_delete(struct realm *realm, struct str name, topic_done_fn done, void *ctx);
/* Sets these pairs (checked; value null: back to the default) in all of its streams. */
void topic_alter(struct realm *realm, const struct topic *t, const struct topic_config *pairs,
                 size_t n, topic_done_fn done, void *ctx);
/* Appends the object as text. */
void topic_put_json(struct buf *out, const struct json_t *object);

#endif
