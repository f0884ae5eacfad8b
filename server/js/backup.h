/*
 * backup.h - a stream with its consumers, out of a server (snapshot.c) and into one (restore.c), in
 * nats-server's format: entries of archive.h in S2 chunks of lib/wire/s2.h.
 */
#include "server/js/api_int.h"
#include "server/js/consumer_int.h"

#ifndef JS_BACKUP_H
#define JS_BACKUP_H

/* {"config":{...},"state":{...}} of a consumer (backup_consumer.c), as a stream knows it that ends
 * with the sequence `last`. */
void backup_consumer_put(const struct consumer *c, uint64_t last, struct buf *out);
/* What such an entry says, in little memory: they are kept until all messages are there. */
struct backup_pending {
    uint64_t sseq, dseq, again; /* deliveries behind the first */
};
struct backup_consumer {
    struct list link;
    char *name;
    struct consumer_config config;
    struct seq_pair delivered, floor;
    struct backup_pending *pending; /* by sequence, each once */
    size_t npending;
};
/* NULL, with a text in err, when it is malformed or its configuration is not one that s takes. */
struct backup_consumer *backup_consumer_read(const struct stream *s, struct str name,
                                             struct str json, struct buf *err);
void backup_consumer_free(struct backup_consumer *b);
/* The consumer of s as it was; its object is still to be made, and it is to be started when all is
 * durable. NULL, with a text in err: it can not be. */
struct consumer *backup_consumer_make(struct stream *s, const struct backup_consumer *b,
                                      struct buf *err);

/* Snapshots under way end with a status; for a stream that goes. */
void stream_snapshots_end(struct stream *s);

/* The stream was made, durably: waits for chunks, and answers where they go. */
void restore_begin(struct api_request *r, struct stream *s);
/* A restore under way: goes on when the stream has room again, ends when what it has stored was
 * refused, and with its stream. */
void stream_restore_committed(struct stream *s);
void stream_restore_refused(struct stream *s, enum err err);
void stream_restore_free(struct stream *s);

#endif
