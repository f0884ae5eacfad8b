/*
 * midge_object.h - object stores: named objects of any size, kept in a stream in chunks.
 *
 * A store is a stream "OBJ_<bucket>"; chunks lie on "$O.<bucket>.C.<id>", an object's entry (its
 * name, size, digest) on "$O.<bucket>.M.<name in base64>"; the formats are those of the other NATS
 * clients. Names of objects are any text that is not empty.
 *
 * A struct midge_objects belongs to the program until midge_objects_close. Calls wait, a put and a
 * get as long as something goes on: midge_options.timeout_ms is how long nothing may. They return
 * what midge_js.h says; MIDGE_NOT_FOUND also for a deleted object, MIDGE_CORRUPT when what was read
 * is not what the entry says.
 */
#ifndef MIDGE_OBJECT_H
#define MIDGE_OBJECT_H

#include "midge_js.h"

#ifdef __cplusplus
extern "C" {
#endif

struct midge_objects;

struct midge_objects_config {
    const char *bucket, *description;
    int64_t ttl, max_bytes; /* ns of all objects; bytes of the store; 0 = no limit */
    int storage;            /* enum midge_storage */
    int compression;        /* enum midge_compression */
    int64_t num_replicas;
    const char *placement, *metadata; /* JSON as in struct midge_stream_config */
};
struct midge_objects_status {
    uint64_t bytes;
    int64_t ttl, max_bytes;
    bool sealed, compressed;
};

/* As midge_kv_create and midge_kv_open. */
struct midge_objects *midge_objects_create(struct midge *m,
                                           const struct midge_objects_config *config, int *rc);
struct midge_objects *midge_objects_open(struct midge *m, const char *bucket, int *rc);
void midge_objects_close(struct midge_objects *s);
/* The store with everything in it. */
int midge_objects_destroy(struct midge *m, const char *bucket);
int midge_objects_status(struct midge_objects *s, struct midge_objects_status *status);
/* Nothing can be changed any more. There is no way back. */
int midge_objects_seal(struct midge_objects *s);
/* All stores, by name. */
int midge_objects_buckets(struct midge *m, midge_on_name each, void *ctx);

/* ---- entries --------------------------------------------------------------------------------- */

/* What the program says about an object. */
struct midge_object_meta {
    const char *name, *description;
    const char *headers;  /* JSON: {"Key":["value"]} */
    const char *metadata; /* JSON: {"key":"value"} */
    int64_t chunk_bytes;  /* 0 = 128 KiB */
};

/* What the store knows. Filled in by functions below, released by midge_object_info_free (also
 * after errors); in callbacks it lives until they return. */
struct midge_object_info {
    const char *name, *description, *headers, *metadata;
    const char *bucket, *id, *digest;    /* digest: "SHA-256=<base64>" */
    const char *link_bucket, *link_name; /* a link: to an object, or to a bucket without name */
    uint64_t size, chunks;
    int64_t chunk_bytes; /* 0 = not said */
    int64_t time_ns;     /* when it was written */
    bool deleted;
};
void midge_object_info_free(struct midge_object_info *info);
typedef void (*midge_on_object)(void *ctx, const struct midge_object_info *info);

int midge_object_info(struct midge_objects *s, const char *name, struct midge_object_info *info);
/* Another description, headers, metadata, and with another name a rename. MIDGE_CONFLICT when an
 * object of the new name exists. */
int midge_object_update(struct midge_objects *s, const char *name,
                        const struct midge_object_meta *meta);
int midge_object_delete(struct midge_objects *s, const char *name);
/* An entry that stands for an object of this or another store, or with object == NULL for the store
 * as a whole. MIDGE_INVALID for a link to a link, MIDGE_CONFLICT when an object has the name. */
int midge_object_link(struct midge_objects *s, const char *name, const char *bucket,
                      const char *object);
/* Objects and links, without deleted ones. */
int midge_object_list(struct midge_objects *s, midge_on_object each, void *ctx);

struct midge_object_watch;
/* Calls on_object for what is there and then for every change (deletes too, unless ignored), and
 * on_initial (may be NULL) once in between. Goes on over reconnections. Does not wait. */
struct midge_object_watch *midge_objects_watch(struct midge_objects *s, bool updates_only,
                                               bool ignore_deletes, midge_on_object on_object,
                                               void (*on_initial)(void *ctx), void *ctx);
const char *midge_object_watch_error(const struct midge_object_watch *w);
/* Not inside of its callbacks. Before midge_objects_close. */
void midge_object_watch_close(struct midge_object_watch *w);

/* ---- bytes ----------------------------------------------------------------------------------- */

/* Gives the next up to n bytes: how many, 0 at the end, negative to give the put up (that code is
 * returned; what was stored is removed). Fewer than n are no end. */
typedef int64_t (*midge_read)(void *ctx, void *into, size_t n);
/* Takes the next bytes; anything but MIDGE_OK gives the get up and is returned. */
typedef int (*midge_on_bytes)(void *ctx, struct midge_text bytes);

/* Stores an object, in place of one that has the name: readers see the one or the other. info may
 * be NULL. */
int midge_object_put(struct midge_objects *s, const struct midge_object_meta *meta, midge_read read,
                     void *ctx, struct midge_object_info *info);
int midge_object_put_bytes(struct midge_objects *s, const char *name, struct midge_text bytes);
/* Hands out an object piece by piece, following links, and checks size and digest: before it
 * returns MIDGE_OK the bytes are not to be trusted. info may be NULL. */
int midge_object_get(struct midge_objects *s, const char *name, midge_on_bytes on_bytes, void *ctx,
                     struct midge_object_info *info);
/* All at once, NUL behind; *bytes is freed with midge_free. MIDGE_FULL when it has more than max
 * bytes. */
int midge_object_get_bytes(struct midge_objects *s, const char *name, size_t max, char **bytes,
                           size_t *n);

#ifdef __cplusplus
}
#endif

#endif
