/*
 * backup.h - a stream with its consumers, out of a server (snapshot.c) and into one (restore.c), in
 * nats-server's format: entries of archive.h in S2 chunks of lib/wire/s2.h.
 */
#include "server/js/api_int.h"
#include "server/js/consumer_int.h"

#ifndef JS_BACKUP_H
#define JS_BACKUP_H

/* {"config":{...},"state":{...}} of a consumer (backup_consumer.c). */
void backup_consumer_put(const struct consumer *c, struct buf *out);
/* What such an entry says. */
struct backup_consumer {
    struct list link;
    char *name;
    struct consumer_config config;
    json_t *state;
};
/* NULL, with a text in err, when it is malformed. */
struct backup_consumer *backup_consumer_read(struct str name, struct str json, struct buf *err);
void backup_consumer_free(struct backup_consumer *b);
/* The consumer of s as it was, its object on its way to the store; to be started when that is
 * durable. NULL when the state is impossible. */
struct consumer *backup_consumer_make(struct stream *s, const struct backup_consumer *b);

/* Snapshots under way end with a status; for a stream that goes. */
void stream_snapshots_end(struct stream *s);

/* The stream was made, durably: waits for chunks, and answers where they go. */
void restore_begin(struct api_request *r, struct stream *s);
/* A restore under way: goes on when the stream has room again, ends with its stream. */
void stream_restore_committed(struct stream *s);
void stream_restore_free(struct stream *s);

#endif
