/*
 * midge_kv.h - key-value buckets: the last value of each key, some of the ones before, and watching
 * them change.
 *
 * A bucket is a stream "KV_<bucket>", a key is the rest of a subject "$KV.<bucket>.<key>"; the
 * formats are those of the other NATS clients. Bucket names are letters, digits, "_" and "-"; keys
 * may hold "/", "=" and "." too, but no dot at an end; patterns of keys may have "*" and ">"
 * tokens.
 *
 * A struct midge_kv belongs to the program until midge_kv_close. Calls wait for
 * midge_options.timeout_ms and return what midge_js.h says; MIDGE_NOT_FOUND also for a key that was
 * deleted, MIDGE_CONFLICT for a create of a key that exists and an update of one that has changed.
 * A revision is the sequence in the stream.
 */
#ifndef MIDGE_KV_H
#define MIDGE_KV_H

#include "midge_js.h"

#ifdef __cplusplus
extern "C" {
#endif

struct midge_kv;

/* Zero values: one value per key, in files, no limits. */
struct midge_kv_config {
    const char *bucket, *description;
    int history;       /* values kept per key, 1 to 64 */
    int64_t ttl;       /* ns; of all values */
    int64_t max_bytes; /* of the bucket */
    int64_t max_value; /* bytes of one value */
    int storage;       /* enum midge_storage */
    int compression;   /* enum midge_compression */
    int64_t num_replicas;
    int64_t marker_ttl; /* ns; allows a TTL per key, and how long the marker of one that ended stays
                         */
    /* JSON as in struct midge_stream_config; names of buckets' streams are "KV_<bucket>" */
    const char *mirror, *sources, *republish, *placement, *metadata;
};
struct midge_kv_status {
    uint64_t values, bytes; /* history and markers included */
    int64_t history, ttl, marker_ttl, max_bytes;
    bool compressed;
};

/* Creates a bucket, or opens the one that is there alike. NULL: see midge_error and *rc (may be
 * NULL). */
struct midge_kv *midge_kv_create(struct midge *m, const struct midge_kv_config *config, int *rc);
/* Changes the configuration of a bucket. */
int midge_kv_reconfigure(struct midge *m, const struct midge_kv_config *config);
struct midge_kv *midge_kv_open(struct midge *m, const char *bucket, int *rc);
void midge_kv_close(struct midge_kv *kv);
/* The bucket with everything in it. */
int midge_kv_destroy(struct midge *m, const char *bucket);
int midge_kv_status(struct midge_kv *kv, struct midge_kv_status *status);
/* All buckets, by name. */
int midge_kv_buckets(struct midge *m, midge_on_name each, void *ctx);

/* ---- values ---------------------------------------------------------------------------------- */

enum midge_kv_operation { MIDGE_KV_PUT, MIDGE_KV_DELETE, MIDGE_KV_PURGE };

struct midge_kv_entry {
    struct midge_text key, value; /* value: empty for deletes and with meta_only */
    uint64_t revision;
    int64_t time_ns;
    enum midge_kv_operation operation;
    uint64_t pending; /* watches: how many follow */
};
typedef void (*midge_on_entry)(void *ctx, const struct midge_kv_entry *entry);

/* The key's value. */
int midge_kv_get(struct midge_kv *kv, const char *key, midge_on_entry on_entry, void *ctx);
/* The value that this revision of the key had. */
int midge_kv_get_revision(struct midge_kv *kv, const char *key, uint64_t revision,
                          midge_on_entry on_entry, void *ctx);
/* revision (may be NULL) gets the new one. */
int midge_kv_put(struct midge_kv *kv, const char *key, struct midge_text value, uint64_t *revision);
/* Only when the key has no value. ttl (ns, 0 = none): needs marker_ttl. */
int midge_kv_add(struct midge_kv *kv, const char *key, struct midge_text value, int64_t ttl,
                 uint64_t *revision);
/* Only when `last` is the key's revision still. */
int midge_kv_update(struct midge_kv *kv, const char *key, struct midge_text value, uint64_t last,
                    uint64_t *revision);
/* Leaves a marker; the values before stay in the history. last = 0: whatever the revision is. */
int midge_kv_delete(struct midge_kv *kv, const char *key, uint64_t last);
/* Leaves a marker and removes the values before. ttl (ns, 0 = none): of the marker. */
int midge_kv_purge(struct midge_kv *kv, const char *key, uint64_t last, int64_t ttl);
/* Removes the markers of keys that were deleted more than so long ago (ns), with their values. */
int midge_kv_purge_deletes(struct midge_kv *kv, int64_t older_than);

/* ---- many ------------------------------------------------------------------------------------ */

struct midge_watch_options {
    bool history;        /* first all values, not only the last of each key */
    bool updates_only;   /* none of what is there */
    bool ignore_deletes; /* no markers */
    bool meta_only;      /* without values */
    uint64_t from;       /* from this revision on */
};
struct midge_watch;
/* Calls on_entry for the values there are and then for every change, and on_initial once in
 * between (may be NULL). patterns: none = all keys. Goes on over reconnections: then a value may
 * be seen that was replaced meanwhile, none is missed. options may be NULL. Does not wait. NULL:
 * MIDGE_INVALID. */
struct midge_watch *midge_kv_watch(struct midge_kv *kv, struct midge_texts patterns,
                                   const struct midge_watch_options *options,
                                   midge_on_entry on_entry, void (*on_initial)(void *ctx),
                                   void *ctx);
/* NULL, or why nothing more will come. Lives as long as w. */
const char *midge_watch_error(const struct midge_watch *w);
/* Not inside of its callbacks. Before midge_kv_close. */
void midge_watch_close(struct midge_watch *w);

/* All values of the key that there are, oldest first. MIDGE_NOT_FOUND when there is none. */
int midge_kv_history(struct midge_kv *kv, const char *key, midge_on_entry on_entry, void *ctx);
/* The keys that have a value. patterns: none = all. */
int midge_kv_keys(struct midge_kv *kv, struct midge_texts patterns, midge_on_name each, void *ctx);

#ifdef __cplusplus
}
#endif

#endif
