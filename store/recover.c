/*
 * Recovery: from whatever the last run left behind to a state that store_open can take over. The
 * steps are those of docs/internals/store-format.md, "Start", and the order matters:
 *
 *     read the logs (recover_log.c)            nothing is written
 *     what they have lost, from their twins    nothing is written (recover_twin.c)
 *     data of the log into the segments        idempotent
 *     segments: read, cut, sealed              idempotent
 *     directories of deleted streams           while the old log still says that they are deleted
 *     the new generation's logs                ignored until its START record is durable
 *     the old logs go
 *
 * Interrupted anywhere, the next start does the same again from the same log and comes to the same
 * result.
 */
#include "store/recover.h"

#include "lib/base/crc32c.h"
#include "lib/base/mem.h"
#include "store/footer.h"
#include "store/recover_impl.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- helpers ------------------------------------------------------------------------------- */

enum err rec_fail(struct recovery *r, enum err err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(r->why, 256, format, args);
    va_end(args);
    return err;
}

static void add_name(void *ctx, const char *name)
{
    struct rec_names *names = ctx;

    if (names->n == names->cap) {
        names->cap = names->cap * 2 + 16;
        names->names = mem_realloc(names->names, names->cap * sizeof(char *));
    }
    names->names[names->n++] = mem_strdup(name);
}

enum err rec_list(struct io_fs *fs, const char *path, struct rec_names *out)
{
    *out = (struct rec_names){0};
    int res = fs_list(fs, path, add_name, out);
    enum err err = res < 0 ? err_from_errno(res) : ERR_OK;
    if (err == ERR_OK || err == ERR_NOT_FOUND)
        return ERR_OK;
    rec_names_free(out);
    return err;
}

void rec_names_free(struct rec_names *names)
{
    for (size_t i = 0; i < names->n; i++)
        mem_free(names->names[i]);
    mem_free(names->names);
    *names = (struct rec_names){0};
}

/* ---- which objects, and where -------------------------------------------------------------- */

static void free_object(struct rec_object *o)
{
    rec_stream_free(o->stream);
    while (o->ndeltas > 0)
        buf_free(&o->deltas[--o->ndeltas].bytes);
    mem_free(o->deltas);
    buf_free(&o->full);
    seqset_free(&o->erased);
    mem_free(o);
}

/* Depth below its root; 0 also for one whose parent is not known. SIZE_MAX: it goes, as a parent of
 * it did. */
static size_t depth_of(const struct recovery *r, const struct rec_object *o,
                       const struct rec_object **root)
{
    size_t depth = 0;

    *root = o;
    while (o->parent != 0 && depth <= r->nlist) {
        o = rec_object_find(r, o->parent);
        if (o == NULL || (!o->full_seen && !o->deleted))
            break;
        if (o->deleted)
            return SIZE_MAX;
        *root = o;
        depth++;
    }
    return depth;
}

static unsigned place(const struct recovery *r, const struct rec_object *root)
{
    const struct store_dir_options *o = &r->dir->options;

    if (root->stream == NULL || o->place == NULL)
        return 0;
    return o->place(o->ctx, root->id, buf_str(&root->stream->rec.name)) % o->workers;
}

static int order_objects(const void *a, const void *b)
{
    const struct rec_object *x = *(struct rec_object *const *) a,
                            *y = *(struct rec_object *const *) b;

    if (x->depth != y->depth)
        return x->depth < y->depth ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Drops what is deleted or was never seen whole, and sorts the rest: parents before children, then
 * by id. */
static void place_objects(struct recovery *r)
{
    struct rec_object **gone = mem_alloc((r->nlist + 1) * sizeof(struct rec_object *));
    size_t n = 0, ngone = 0;

    for (size_t i = 0; i < r->nlist; i++) {
        struct rec_object *o = r->list[i];
        const struct rec_object *root;
        size_t depth = o->deleted || !o->full_seen ? SIZE_MAX : depth_of(r, o, &root);
        if (depth == SIZE_MAX) {
            gone[ngone++] = o;
            continue;
        }
        o->depth = (unsigned) depth;
        o->worker = place(r, root);
        r->list[n++] = o;
    }
    r->nlist = n;
    for (size_t i = 0; i < ngone; i++) {
        hmap_remove(&r->objects, &gone[i]->node);
        free_object(gone[i]);
    }
    mem_free(gone);
    if (r->nlist > 0)
        qsort(r->list, r->nlist, sizeof(struct rec_object *), order_objects);
}

int rec_sync(const struct recovery *r, fs_fd fd)
{
    return r->all_synced ? fs_sync_check(r->fs, fd) : fs_sync(r->fs, fd);
}

/* ---- the steps ----------------------------------------------------------------------------- */

static enum err run(struct recovery *r)
{
    enum err err = rec_logs_read(r);

    r->dir->generation = r->newest + 1;
    if (err == ERR_OK)
        err = rec_streams_decode(r);
    if (err == ERR_OK)
        rec_streams_adopt(r);
    if (err == ERR_OK)
        err = rec_streams_decode(r); /* those */
    if (err == ERR_OK)
        rec_twins_apply_ends(r);
    if (err == ERR_OK)
        err = rec_replay(r);
    if (err == ERR_OK)
        err = rec_streams_read(r);
    if (err == ERR_OK)
        err = rec_streams_clean(r);
    if (err != ERR_OK)
        return err;
    place_objects(r);
    r->dir->recovery.objects = r->nlist;
    r->dir->recovery.clean = r->clean;
    return rec_write(r);
}

void recovery_deinit(struct recovery *r)
{
    for (size_t i = 0; i < r->nlist; i++) {
        hmap_remove(&r->objects, &r->list[i]->node);
        free_object(r->list[i]);
    }
    hmap_deinit(&r->objects);
    mem_free(r->list);
    mem_free(r->files);
    mem_free(r->twins);
    mem_free(r->log_next);
    mem_free(r->ends);
    mem_free(r->data);
    mem_free(r->cache);
    mem_free(r->window);
    buf_free(&r->opened);
}

enum err store_recover(struct store_dir *dir, char why[256])
{
    struct recovery r = {.dir = dir, .fs = dir->options.fs, .log = dir->options.log, .why = why};

    crypt_nonces_init(&r.nonces, &dir->ring, &dir->prng);
    hmap_init(&r.objects);
    dir->workers = mem_zalloc(dir->options.workers * sizeof(*dir->workers));
    enum err err = run(&r);
    recovery_deinit(&r);
    return err;
}

/* ---- for store_open ------------------------------------------------------------------------ */

void segment_index_deinit(struct segment_index *x)
{
    mem_free(x->record_sizes);
    mem_free(x->batches);
    buf_free(&x->owned);
    buf_free(&x->opened);
    *x = (struct segment_index){0};
}

void recovered_worker_free(struct recovered_worker *w)
{
    struct recovered_log log = w->log;

    for (size_t i = 0; i < w->nstreams; i++) {
        for (size_t k = 0; k < w->streams[i].nsegments; k++)
            segment_index_deinit(&w->streams[i].segments[k].index);
        mem_free(w->streams[i].segments);
        stream_record_deinit(&w->streams[i].rec);
    }
    for (size_t i = 0; i < w->nblobs; i++)
        buf_free(&w->blobs[i]);
    mem_free(w->streams);
    mem_free(w->objects);
    mem_free(w->blobs);
    *w = (struct recovered_worker){.log = log};
}

static enum err parse_footer(struct segment_index *x, const struct recovered_segment *segment,
                             const struct crypt_file *crypt)
{
    struct footer f;
    enum err err = footer_open_sealed((const uint8_t *) x->owned.p, x->owned.n, segment->file_bytes,
                                      segment->salt, crypt, &x->opened, &f);

    if (err != ERR_OK)
        return err;
    x->summary = f.summary;
    x->subjects = f.section[SECTION_SUBJECTS];
    x->sizes = f.section[SECTION_SIZES];
    x->batches = mem_try_alloc((f.summary.batches + 1) * sizeof(*x->batches));
    if (x->batches == NULL)
        return ERR_NO_MEMORY;
    for (uint64_t i = 0; i < f.summary.batches; i++)
        footer_batch(&f, i, &x->batches[i]);
    return ERR_OK;
}

static enum err load_footer(struct io_fs *fs, fs_fd fd, const struct recovered_segment *segment,
                            const struct crypt_file *crypt, struct segment_index *x)
{
    uint8_t bytes[SEGMENT_TRAILER];
    struct segment_trailer t;

    if (segment->file_bytes < SEGMENT_TRAILER ||
        fs_read(fs, fd, bytes, sizeof(bytes), segment->file_bytes - sizeof(bytes)) != sizeof(bytes))
        return ERR_IO;
    enum err err = segment_trailer_decode(bytes, segment->file_bytes, segment->salt, &t);
    if (err != ERR_OK)
        return ERR_CORRUPT;
    buf_reserve(&x->owned, t.footer_bytes);
    if (fs_read(fs, fd, x->owned.p, t.footer_bytes, t.footer_offset) != (int64_t) t.footer_bytes)
        return ERR_IO;
    x->owned.n = t.footer_bytes;
    return parse_footer(x, segment, crypt);
}

static enum err read_section(struct io_fs *fs, fs_fd fd, uint64_t file_bytes, uint32_t salt,
                             unsigned section, struct buf *out)
{
    uint8_t bytes[SEGMENT_TRAILER];
    struct footer_place places[SECTION_MAX + 1];
    struct segment_trailer t;

    if (file_bytes < SEGMENT_TRAILER ||
        fs_read(fs, fd, bytes, sizeof(bytes), file_bytes - sizeof(bytes)) != sizeof(bytes))
        return ERR_IO;
    if (segment_trailer_decode(bytes, file_bytes, salt, &t) != ERR_OK)
        return ERR_CORRUPT;
    size_t n = (size_t) t.sections * FOOTER_TABLE_ENTRY;
    uint8_t *table = mem_alloc(n + 1);
    enum err err = fs_read(fs, fd, table, n, t.table_offset) == (int64_t) n ? ERR_OK : ERR_IO;
    if (err == ERR_OK)
        err = footer_places(table, &t, salt, places);
    mem_free(table);
    if (err != ERR_OK)
        return err;
    const struct footer_place *p = &places[section];
    buf_reserve(out, p->bytes + 1);
    if (fs_read(fs, fd, out->p, p->bytes, t.footer_offset + p->offset) != (int64_t) p->bytes)
        return ERR_IO;
    out->n = p->bytes;
    return p->there && crc32c(salt, out->p, out->n) == p->crc ? ERR_OK : ERR_CORRUPT;
}

enum err segment_section_read(struct io_fs *fs, const char *path, uint64_t file_bytes,
                              uint32_t salt, unsigned section, struct buf *out)
{
    fs_fd fd = fs_open(fs, path, IO_FILE_READ);

    if (fd < 0)
        return err_from_errno(fd);
    enum err err = read_section(fs, fd, file_bytes, salt, section, out);
    fs_close(fs, fd);
    return err;
}

enum err segment_sizes_read(struct io_fs *fs, const char *path, uint64_t file_bytes, uint32_t salt,
                            const struct segment_summary *summary, struct buf *out)
{
    struct footer f = {.summary = *summary};
    enum err err = segment_section_read(fs, path, file_bytes, salt, SECTION_SIZES, out);

    f.section[SECTION_SIZES] = buf_str(out);
    return err != ERR_OK || footer_sizes_sound(&f) ? err : ERR_CORRUPT;
}

enum err segment_index_read(struct io_fs *fs, const char *path, uint64_t file_bytes, uint32_t salt,
                            struct segment_index *out)
{
    struct recovered_segment segment = {.file_bytes = file_bytes, .salt = salt};
    fs_fd fd = fs_open(fs, path, IO_FILE_READ);

    *out = (struct segment_index){0};
    if (fd < 0)
        return err_from_errno(fd);
    enum err err = load_footer(fs, fd, &segment, NULL, out);
    fs_close(fs, fd);
    if (err != ERR_OK)
        segment_index_deinit(out);
    return err;
}

enum err recovered_segment_load(struct store_dir *dir, const struct recovered_stream *s,
                                struct recovered_segment *segment, struct segment_index *out)
{
    char path[STORE_PATH];

    *out = segment->index;
    segment->index = (struct segment_index){0};
    if (segment->state != RECOVERED_SEALED || out->batches != NULL)
        return ERR_OK;
    store_path_segment(dir, path, s->uuid, segment->number, segment->generation);
    fs_fd fd = fs_open(dir->options.fs, path, IO_FILE_READ);
    if (fd < 0)
        return err_from_errno(fd);
    struct crypt_file crypt;
    crypt_file_segment(&crypt, &dir->ring, segment->key_id, s->uuid, segment->number,
                       segment->generation);
    enum err err = load_footer(dir->options.fs, fd, segment, &crypt, out);
    crypt_file_wipe(&crypt);
    fs_close(dir->options.fs, fd);
    if (err != ERR_OK)
        segment_index_deinit(out);
    return err;
}
