/*
 * stream_follow.h - for who works with a stream directly, on its worker, and is not JetStream: the
 * Kafka listener.
 *
 * A follower is told what becomes of the stream; it reads the stream's store itself, and appends
 * through stream_append_kafka, which makes the checks of a publish that do not look at a message.
 */
#ifndef JS_STREAM_FOLLOW_H
#define JS_STREAM_FOLLOW_H

#include "lib/base/err.h"
#include "lib/base/list.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct account;
struct env;
struct store_stream;
struct stream;

struct stream_follower {
    struct list link;
    /* More messages are durable and visible. */
    void (*committed)(struct stream_follower *f);
    /* What was appended and is not durable will never be. */
    void (*refused)(struct stream_follower *f);
    /* Messages are gone. */
    void (*removed)(struct stream_follower *f);
    /* The stream goes, its store is still there; f is not linked any more. */
    void (*gone)(struct stream_follower *f);
};

/* NULL: no such stream on this worker. */
struct stream *stream_follow(struct env *env, const struct account *a, struct str name,
                             struct stream_follower *f);
void stream_unfollow(struct stream_follower *f);
struct store_stream *stream_store(const struct stream *s);
/* The one subject under which a Kafka producer's messages are stored. */
struct str stream_kafka_subject(const struct stream *s);

/* Does it keep so many messages of a subject only? */
bool stream_limits_subjects(const struct stream *s);

/* A producer's batch of so many messages. ERR_LIMIT: come again; ERR_TOO_LARGE; ERR_SEALED;
 * ERR_NO_SPACE: also when resources are used up; ERR_MAX_MSGS, ERR_MAX_BYTES; ERR_FAILED. */
enum err stream_append_kafka(struct stream *s, struct str batch, uint32_t messages,
                             uint64_t *first_seq, uint8_t **stored);

/* The same under another subject. */
enum err stream_append_kafka_as(struct stream *s, struct str subject, struct str batch,
                                uint32_t messages, uint64_t *first_seq, uint8_t **stored);

/* What says how something ended that a producer has begun in this stream: no limit refuses that,
 * nor that the stream is sealed meanwhile. ERR_LIMIT, ERR_NO_SPACE: come again; ERR_FAILED. */
enum err stream_append_kafka_end(struct stream *s, struct str subject, struct str batch,
                                 uint64_t *seq, uint8_t **stored);

/* Messages of the server's own, all of them or none, durable together; a subject need not be one of
 * the stream's. Errors as above. */
struct stream_own_message {
    struct str subject, header, payload;
};
enum err stream_append_own(struct stream *s, const struct stream_own_message *m, size_t n,
                           uint64_t *first_seq);

#endif
