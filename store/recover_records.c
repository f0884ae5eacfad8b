/*
 * What the records of the commit logs say: objects, and where the log holds data for segments.
 *
 * Which records. Versions of an object count up, so that a full record or delta that is seen twice
 * changes nothing and a missing one is noticed. A log file may begin with changes of an object
 * whose full record lay in a file that was freed: a newer full record follows then. Where none
 * does, that is reported; the log file goes to quarantine, as does every file in which something
 * was damaged.
 */
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "store/recover_log.h"

#include <string.h>

struct rec_object *rec_object_find(const struct recovery *r, uint64_t id)
{
    uint64_t h = hash_mix(id, 0x9e3779b97f4a7c15u);

    for (struct hmap_node *n = hmap_first(&r->objects, h); n != NULL; n = hmap_next(n, h)) {
        struct rec_object *o = CONTAINER_OF(n, struct rec_object, node);
        if (o->id == id)
            return o;
    }
    return NULL;
}

struct rec_object *rec_object_add(struct recovery *r, uint64_t id)
{
    struct rec_object *o = rec_object_find(r, id);

    if (o != NULL)
        return o;
    o = mem_zalloc(sizeof(*o));
    o->id = id;
    hmap_insert(&r->objects, &o->node, hash_mix(id, 0x9e3779b97f4a7c15u));
    if (r->nlist == r->list_cap) {
        r->list_cap = r->list_cap * 2 + 16;
        r->list = mem_realloc(r->list, r->list_cap * sizeof(struct rec_object *));
    }
    r->list[r->nlist++] = o;
    return o;
}

/* Those that are part of a full record of this version. */
static void drop_deltas(struct rec_object *o, uint64_t version)
{
    unsigned n = 0, kept = 0;

    for (; n < o->ndeltas; n++) {
        if (o->deltas[n].version <= version)
            buf_free(&o->deltas[n].bytes);
        else
            o->deltas[kept++] = o->deltas[n];
    }
    o->ndeltas = kept;
}

/* Full records do not say any more what is done, and the log still has the data from before. */
static void note_intents(struct recovery *r, struct rec_object *o, const struct log_record *record)
{
    if (record->kind == STORE_KIND_STREAM)
        stream_record_intents(record->bytes, record->type == LOG_FULL, &o->erased);
    r->erased = r->erased || o->erased.count > 0;
}

static void apply_full(struct recovery *r, const struct log_record *record)
{
    struct rec_object *o = rec_object_add(r, record->id);

    note_intents(r, o, record);
    if (o->deleted || (o->full_seen && record->version <= o->full_version))
        return;
    drop_deltas(o, record->version);
    o->full_seen = true;
    o->orphan = false;
    o->kind = record->kind;
    o->parent = record->parent;
    o->full_version = record->version;
    o->version = o->ndeltas > 0 ? o->deltas[o->ndeltas - 1].version : record->version;
    buf_clear(&o->full);
    buf_put_str(&o->full, record->bytes);
}

/* In the order of versions; nearly always it is the last one. False: it is there. */
static bool keep_delta(struct rec_object *o, uint64_t version, struct str bytes)
{
    unsigned at = o->ndeltas;

    while (at > 0 && o->deltas[at - 1].version > version)
        at--;
    if (at > 0 && o->deltas[at - 1].version == version)
        return false;
    if (o->ndeltas == o->deltas_cap) {
        o->deltas_cap = o->deltas_cap * 2 + 4;
        o->deltas = mem_realloc(o->deltas, o->deltas_cap * sizeof(*o->deltas));
    }
    memmove(o->deltas + at + 1, o->deltas + at, (o->ndeltas - at) * sizeof(*o->deltas));
    o->deltas[at] = (struct rec_delta){.version = version};
    buf_put_str(&o->deltas[at].bytes, bytes);
    o->ndeltas++;
    return true;
}

/* False when it does not fit to what was read before. */
static bool apply_delta(struct recovery *r, const struct log_record *record, uint32_t file,
                        uint64_t offset)
{
    struct rec_object *o = rec_object_add(r, record->id);

    note_intents(r, o, record);
    if (o->deleted || (o->full_seen && record->version <= o->full_version))
        return true;
    if (!o->full_seen) {
        if (!o->orphan) {
            o->orphan_file = file;
            o->orphan_offset = offset;
        }
        o->orphan = true;
        if (record->version > o->orphan_version)
            o->orphan_version = record->version;
        keep_delta(o, record->version, record->bytes);
        return true;
    }
    bool fits = record->version <= o->version + 1;
    keep_delta(o, record->version, record->bytes);
    if (record->version > o->version)
        o->version = record->version;
    return fits;
}

static void apply_delete(struct recovery *r, const struct log_record *record)
{
    struct rec_object *o = rec_object_add(r, record->id);

    o->deleted = true;
    if (record->bytes.n == 16) {
        memcpy(o->deleted_uuid, record->bytes.p, 16);
        o->has_deleted_uuid = true;
    }
}

static void note_data(struct recovery *r, uint32_t file, const uint8_t *base,
                      const struct log_record *record)
{
    if (r->ndata == r->data_cap) {
        r->data_cap = r->data_cap * 2 + 64;
        r->data = mem_realloc(r->data, r->data_cap * sizeof(*r->data));
    }
    r->data[r->ndata] =
        (struct rec_data){.stream = record->id,
                          .segment = record->segment,
                          .offset = record->offset,
                          .log_offset = (uint64_t) ((const uint8_t *) record->bytes.p - base),
                          .bytes = (uint32_t) record->bytes.n,
                          .file = file,
                          .order = r->ndata,
                          .image = (record->flags & LOG_IMAGE) != 0};
    r->ndata++;
}

void rec_log_missing(struct recovery *r, struct rec_log_file *f, uint64_t offset, uint64_t id)
{
    char path[STORE_PATH];

    rec_log_path(r, f, path);
    LOG_WRN(r->log, "%s: offset %llu: a record of object %llx before this one is missing", path,
            (unsigned long long) offset, (unsigned long long) id);
    f->damaged = true;
}

static void note_end(struct recovery *r, const struct log_record *record)
{
    if (r->nends == r->ends_cap) {
        r->ends_cap = r->ends_cap * 2 + 64;
        r->ends = mem_realloc(r->ends, r->ends_cap * sizeof(*r->ends));
    }
    r->ends[r->nends++] = (struct rec_end){record->id, record->version, (int64_t) record->parent};
}

/* Of a twin: versions sort out what is known already. */
static void apply_twin(struct rec_reading *in, const struct log_record *record)
{
    if (record->type == LOG_MARK && record->version > in->mark)
        in->mark = record->version;
    if (record->type == LOG_END && !in->apply)
        note_end(in->r, record);
    if (!in->apply)
        return;
    if (record->type == LOG_FULL)
        apply_full(in->r, record);
    else if (record->type == LOG_DELTA)
        apply_delta(in->r, record, 0, 0);
    else if (record->type == LOG_DELETE)
        apply_delete(in->r, record);
}

static void apply(struct rec_reading *in, const struct log_record *record, uint64_t offset)
{
    struct recovery *r = in->r;
    bool fits = true;

    if (in->f->twin) {
        apply_twin(in, record);
        return;
    }

    /* Objects may still be rendered anew behind it, but nothing goes into segments. */
    in->closed = record->type == LOG_CLOSE || (in->closed && record->type != LOG_DATA);
    switch (record->type) {
    case LOG_FULL:
        apply_full(r, record);
        break;
    case LOG_DELTA:
        fits = apply_delta(r, record, (uint32_t) (in->f - r->files), offset);
        break;
    case LOG_DELETE:
        apply_delete(r, record);
        break;
    case LOG_DATA:
        note_data(r, (uint32_t) (in->f - r->files), in->bytes, record);
        break;
    case LOG_START:
    case LOG_CLOSE:
        break;
    default:
        fits = false;
    }
    if (fits)
        return;
    rec_log_missing(r, in->f, offset, record->id);
}

/* Whose log it was in. */
static void note_worker(struct rec_reading *in, const struct log_record *record)
{
    struct rec_object *o = NULL;

    if (record->type == LOG_FULL || record->type == LOG_DELTA)
        o = rec_object_find(in->r, record->id);
    if (o != NULL)
        o->found = in->f->worker + 1;
}

void rec_log_apply(struct rec_reading *in, struct log_frame_view *frame)
{
    struct log_record record;
    struct crypt_file crypt;
    char path[STORE_PATH];
    int got;

    crypt_file_log(&crypt, &in->r->dir->ring, CRYPT_ANY, in->f->generation, in->f->worker);
    while ((got = log_frame_next(frame, &record)) != 0) {
        uint64_t end = (uint64_t) (frame->body - in->bytes) + frame->body_at;
        if (got > 0 && log_record_open(&record, &crypt, &in->r->opened)) {
            apply(in, &record, end);
            note_worker(in, &record);
            continue;
        }
        if (in->apply)
            continue; /* it was said when the twin was read first */
        rec_log_path(in->r, in->f, path);
        LOG_WRN(in->r->log, "%s: offset %llu: record %u of commit %llu is damaged, lost", path,
                (unsigned long long) end, frame->index - 1, (unsigned long long) frame->commit);
        in->f->damaged = true;
    }
}
