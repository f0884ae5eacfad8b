/*
 * rig.h - a store on the real lib/io in a temporary directory, or on a simulated machine, for tests
 * of the running half.
 *
 * rig_open makes (or reopens) directory, loop and store; rig_run steps the loop until a condition
 * holds, with a generous deadline. Everything is synchronous from the test's point of view:
 * rig_append returns when the message is committed, and so on. Content is checkable: payload of
 * sequence n of seed s is a function of both.
 */
#ifndef TESTS_UNIT_STORE_RIG_H
#define TESTS_UNIT_STORE_RIG_H

#include "lib/io/io.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct sim;

struct rig_options {
    uint64_t log_file_bytes;           /* 0: 64 MiB */
    uint64_t segment_min, segment_max; /* 0: the defaults */
    size_t cache_bytes;
    size_t staging_bytes;
    uint64_t ride_ns;
    uint64_t pool_bytes;
    uint64_t drop_bytes;
    uint64_t seal_bytes;       /* 1: a close seals what there is */
    uint64_t index_lazy_bytes; /* 1: every index of a reopened stream is read later */
    unsigned workers;          /* 0: 1; the store is the first one's, others are not opened */
    unsigned commit_threads;
    const char *key, *prev_key; /* NULL: none */
    unsigned cipher;
    store_kafka_decode_fn kafka_decode; /* not NULL: Kafka batches may be appended */
    store_kafka_trim_fn kafka_trim;
    uint32_t kafka_pages_min;
    struct sim *sim; /* on this machine instead of the real one */
};

struct rig {
    char path[128];
    struct rig_options options;
    struct io *io;
    struct chunk_pool *chunks;
    struct store_dir *dir;
    struct store *store;
    struct log log;
    unsigned warnings; /* lines at WRN and worse */
    char last_warning[512];
    bool closed;
};

/* A stream with what its callbacks said. */
struct rig_stream {
    struct rig *rig;
    struct store_stream *s;
    store_object_id id;
    uint64_t begun, committed; /* last sequences */
    uint64_t commits;
    uint64_t removed; /* messages */
    uint64_t removed_by[4];
    uint64_t removed_last; /* highest sequence of a removed() */
    bool failed;
    enum err failed_err;
    char config[64];
};

/* A request and its result. */
struct rig_req {
    struct store_req req;
    bool done;
    enum err err;
};

/* NULL options = defaults. The directory is new. */
void rig_init(struct rig *r, const struct rig_options *options);
/* Opens directory and store (also again after rig_close). */
void rig_start(struct rig *r);
/* The same, and says how it went instead of failing the test. */
enum err rig_try_start(struct rig *r, char why[256]);
/* Clean close of store and directory. */
void rig_stop(struct rig *r);
/* The same without store_check, which reads all of an index that would be read later. */
void rig_close(struct rig *r);
/* Stops and removes the directory. */
void rig_deinit(struct rig *r);

/* One turn of the loop; virtual time moves on by at most max_ns. */
void rig_turn(struct rig *r, uint64_t max_ns);
void rig_step(struct rig *r);
/* Lets time pass (virtual; on a real machine really). */
void rig_sleep(struct rig *r, uint64_t ns);
/* Steps until *flag is true or fails the test after 30 s. */
void rig_wait(struct rig *r, const bool *flag);
void rig_wait_u64(struct rig *r, const uint64_t *value, uint64_t at_least);
/* Steps until nothing is in flight: everything assigned is durable, requests are done. */
void rig_settle(struct rig *r);

void rig_req_init(struct rig_req *q);
/* Waits for it and returns its error. */
enum err rig_req_wait(struct rig *r, struct rig_req *q);

/* The callbacks that fill in a struct rig_stream (their ctx). */
const struct store_stream_ops *rig_ops(void);
/* Creates and waits until it exists. */
void rig_create(struct rig *r, struct rig_stream *t, const char *name, enum store_level level,
                const struct store_limits *limits);
/* Finds the recovered stream of this name and attaches it. */
void rig_attach(struct rig *r, struct rig_stream *t, const char *name);

/* Payload of sequence seq: `size` bytes that depend on seq. */
void rig_payload(uint64_t seq, char *out, size_t size);
/* One Kafka batch of this many messages: `size` bytes that depend on its first sequence, but the
 * first 12, where the test puts that sequence and 7. */
enum err rig_append_kafka(struct rig_stream *t, const char *subject, uint32_t messages,
                          size_t size);
/* Says of message i: header "NATS/1.0\r\nN: <i>\r\n\r\n", payload: 20 bytes of rig_payload(its
 * sequence); of every 100th nothing. */
bool rig_kafka_decode(struct str subject, struct str batch, uint64_t first_seq, uint32_t messages,
                      store_kafka_put_fn put, void *to);
/* Appends n messages of `size` bytes, subject number (seq % subjects) ("s.<k>"), and does not wait.
 */
enum err rig_append(struct rig_stream *t, unsigned n, size_t size, unsigned subjects);
enum err rig_append_to(struct rig_stream *t, const char *subject, size_t size);
void rig_flush(struct rig_stream *t); /* until all appended are committed */

/* One message, waiting for the disk: MSG or GONE. `out` lives until the next call with this reader.
 */
enum store_read rig_get(struct rig_stream *t, uint64_t seq, struct store_msg *out,
                        struct store_reader *reader);
/* A reader's ready(): sets the bool that its ctx points to. */
void rig_on_ready(struct store_reader *r);
bool rig_has(struct rig_stream *t, uint64_t seq);
/* Reads everything from seq on that matches; checks payloads against rig_payload when size != 0;
 * how many. */
uint64_t rig_read_all(struct rig_stream *t, uint64_t seq, const char *filter, size_t size);

#endif
