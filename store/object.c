/*
 * object.c - durable objects: blobs with a kind and a parent, kept in the commit log alone.
 *
 * An object is its last full record and the deltas behind it. Nothing of the contents is kept in
 * memory: the owner has them in its own form and renders a full record when asked
 * (store_render_fn): when the deltas have outgrown the last full record, or when the log file that
 * holds it is to be freed. Recovered objects that nobody attaches are the exception: their bytes
 * are kept and written back as they were. Streams that could not be loaded are another one: what is
 * in memory is a part of them, so nothing of it goes into the log (as_found).
 *
 * Streams are objects of kind STORE_KIND_STREAM whose contents the store renders itself
 * (stream_render). Objects below a memory stream live and die with it in memory; their requests
 * complete at the next step.
 */
#include "store/object.h"

#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "store/store_impl.h"

#include <string.h>

static uint64_t hash_id(store_object_id id)
{
    return hash_mix(id, 0x9e3779b97f4a7c15u);
}

struct object *object_find(struct store *st, store_object_id id)
{
    uint64_t hash = hash_id(id);

    for (struct hmap_node *n = hmap_first(&st->objects, hash); n != NULL; n = hmap_next(n, hash)) {
        struct object *o = CONTAINER_OF(n, struct object, node);
        if (o->id == id)
            return o;
    }
    return NULL;
}

store_object_id object_next_id(struct store *st)
{
    return store_object_id_make(st->generation, st->worker, ++st->next_object);
}

struct object *object_new(struct store *st, store_object_id id, unsigned kind,
                          store_object_id parent)
{
    struct object *o = mem_zalloc(sizeof(*o));
    struct object *above = parent != 0 ? object_find(st, parent) : NULL;

    ASSERT(object_find(st, id) == NULL);
    o->id = id;
    o->kind = kind;
    o->parent = parent;
    list_init(&o->home_link);
    list_init(&o->refresh);
    list_init(&o->children);
    list_init(&o->sibling);
    if (above != NULL) {
        list_push_back(&above->children, &o->sibling);
        o->in_memory = above->in_memory;
    }
    hmap_insert(&st->objects, &o->node, hash_id(id));
    st->stats.objects++;
    return o;
}

void object_free(struct store *st, struct object *o)
{
    while (!list_empty(&o->children)) {
        struct object *child = LIST_ENTRY(o->children.next, struct object, sibling);
        list_remove(&child->sibling);
    }
    list_remove(&o->sibling);
    list_remove(&o->home_link);
    list_remove(&o->refresh);
    hmap_remove(&st->objects, &o->node);
    st->stats.objects--;
    mem_free((void *) (uintptr_t) o->raw_full.p);
    for (unsigned i = 0; i < o->nraw; i++)
        mem_free((void *) (uintptr_t) o->raw_deltas[i].p);
    mem_free(o->raw_deltas);
    mem_free(o);
}

void objects_free_all(struct store *st)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&st->objects, &it)) != NULL)
        object_free(st, CONTAINER_OF(n, struct object, node));
}

bool object_render(struct object *o, struct buf *out)
{
    if (o->as_found)
        return false;
    if (o->stream != NULL)
        stream_render(o->stream, out);
    else if (o->render != NULL)
        o->render(o->ctx, o->id, out);
    return o->stream != NULL || o->render != NULL;
}

static struct str copy_of(struct str s)
{
    return str_from(mem_strndup(s.p, s.n), s.n);
}

void object_keep_raw(struct object *o, const struct store_object_view *v)
{
    o->raw_full = copy_of(v->full);
    o->nraw = v->ndeltas;
    o->raw_deltas = mem_array(v->ndeltas + 1, sizeof(*o->raw_deltas));
    for (unsigned i = 0; i < v->ndeltas; i++)
        o->raw_deltas[i] = copy_of(v->deltas[i]);
}

/* ---- what the owner calls -------------------------------------------------------------------- */

void store_object_attach(struct store *st, store_object_id id, store_render_fn render, void *ctx)
{
    struct object *o = object_find(st, id);

    ASSERT(o != NULL && o->stream == NULL);
    o->render = render;
    o->ctx = ctx;
}

store_object_id store_object_create(struct store *st, unsigned kind, store_object_id parent,
                                    struct str full, store_render_fn render, void *ctx,
                                    struct store_req *req)
{
    struct object *o = object_new(st, object_next_id(st), kind, parent);

    o->render = render;
    o->ctx = ctx;
    clog_put(st, LOG_FULL, o, full, req);
    return o->id;
}

void store_object_put(struct store *st, store_object_id id, struct str full, struct store_req *req)
{
    struct object *o = object_find(st, id);

    if (o == NULL)
        store_defer(st, req, ERR_NOT_FOUND);
    else
        clog_put(st, LOG_FULL, o, full, req);
}

void store_object_delta(struct store *st, store_object_id id, struct str delta,
                        struct store_req *req)
{
    struct object *o = object_find(st, id);

    if (o == NULL)
        store_defer(st, req, ERR_NOT_FOUND);
    else
        clog_put(st, LOG_DELTA, o, delta, req);
}

/* Each object gets a record of its own: changes of a child may outlive its full record in the log,
 * and then nothing would say that its parent is gone. */
void object_delete_tree(struct store *st, struct object *o, struct store_req *req)
{
    /* With the UUID a start can finish removing the files. */
    struct str uuid = o->stream != NULL ? str_from(o->stream->rec.uuid, 16) : STR_NONE;

    clog_put(st, LOG_DELETE, o, uuid, req);
    while (!list_empty(&o->children))
        object_delete_tree(st, LIST_ENTRY(o->children.next, struct object, sibling), NULL);
    object_free(st, o);
}

void store_object_delete(struct store *st, store_object_id id, struct store_req *req)
{
    struct object *o = object_find(st, id);

    if (o == NULL) {
        store_defer(st, req, ERR_NOT_FOUND);
        return;
    }
    ASSERT(o->stream == NULL); /* streams go by store_stream_delete */
    object_delete_tree(st, o, req);
}
