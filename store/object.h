/*
 * object.h - what the log keeps records of: streams and small durable objects (object.c). A part of
 * store_impl.h.
 */
#ifndef STORE_OBJECT_H
#define STORE_OBJECT_H

#include "lib/base/buf.h"
#include "lib/base/hmap.h"
#include "lib/base/list.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct clog_file;
struct store_stream;

struct object {
    struct hmap_node node;
    store_object_id id, parent;
    unsigned kind;
    uint64_t version;
    store_render_fn render; /* NULL: raw is kept as it is */
    void *ctx;
    struct str raw_full; /* recovered and not attached, or as_found */
    struct str *raw_deltas;
    unsigned nraw;
    bool raw_coming; /* they are being written again */
    bool too_large;  /* to be written anew in any log file */
    bool as_found;   /* a stream that could not be loaded: raw stands for it, no change is logged */
    uint64_t full_bytes, delta_bytes;
    struct clog_file *home; /* file of its last full record */
    struct list home_link;
    struct list refresh; /* clog->refresh: wants a new full record */
    struct list children, sibling;
    bool in_memory; /* never logged */
    struct store_stream *stream;
};

struct object *object_find(struct store *st, store_object_id id);
struct object *object_new(struct store *st, store_object_id id, unsigned kind,
                          store_object_id parent);
void object_free(struct store *st, struct object *o);
store_object_id object_next_id(struct store *st);
/* Appends its full record; false when nobody can render it: raw_full and raw_deltas stand for it.
 */
bool object_render(struct object *o, struct buf *out);
/* Nobody attached it: keeps copies of what was recovered. */
void object_keep_raw(struct object *o, const struct store_object_view *v);
/* Logs the removal of it and all below, and forgets them. */
void object_delete_tree(struct store *st, struct object *o, struct store_req *req);
void objects_free_all(struct store *st);

#endif
