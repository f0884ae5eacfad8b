/*
 * Data that the log holds goes to its place in the segments, where it was written without a sync.
 *
 * Batches on disk that verify stay as they are, even when they differ: a record erased on request
 * must not come back from the log. All others are written, without what was to be erased (in place:
 * a segment that was written anew for that has another generation). Images (LOG_IMAGE) go before:
 * they are what was being written over a batch, which may be torn. A segment that is gone
 * (released), or whose stream is, is passed over.
 *
 * The old log goes when the start is through, so a start that can not put the data where it belongs
 * is refused: nothing is lost, and the next one tries again. Of a stream whose record is not
 * understood the UUID is enough.
 *
 * Behind a close marker the segments have everything, synced, and none of this is done: it would be
 * to read up to two log files and as much of the segments again (20 M messages, the last of them in
 * the log: 2402 reads, 1316 without).
 *
 * All is written before anything is synced: with thousands of streams one sync of the whole file
 * system (fs_sync_all) then takes the place of several for each of them, those of the segments that
 * are read afterwards included (all_synced). Each file is still asked whether its writes worked.
 */
#include "lib/base/mem.h"
#include "store/recover_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* With so many streams and consumers one sync of all is less than theirs. */
#define SYNC_ALL 32u

struct replay {
    struct recovery *r;
    struct rec_stream *stream;
    uint64_t segment;
    uint32_t salt;
    struct crypt_file crypt;
    struct codec_room room;
    char path[STORE_PATH];
    fs_fd fd; /* of the segment; -1 = none */
    bool dirty;
    char **unsynced; /* paths of segments */
    size_t nunsynced, unsynced_cap;
    uint32_t log_file;
    fs_fd log; /* -1 = none */
    struct buf from, there;
};

static int order_data(const void *a, const void *b)
{
    const struct rec_data *x = a, *y = b;

    if (x->stream != y->stream)
        return x->stream < y->stream ? -1 : 1;
    if (x->segment != y->segment)
        return x->segment < y->segment ? -1 : 1;
    if (x->image != y->image)
        return x->image ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void end_segment(struct replay *p)
{
    if (p->fd < 0)
        return;
    if (p->dirty) {
        if (p->nunsynced == p->unsynced_cap) {
            p->unsynced_cap = p->unsynced_cap == 0 ? 64 : 2 * p->unsynced_cap;
            p->unsynced = mem_realloc(p->unsynced, p->unsynced_cap * sizeof(*p->unsynced));
        }
        p->unsynced[p->nunsynced++] = mem_strdup(p->path);
    }
    fs_close(p->r->fs, p->fd);
    p->fd = -1;
    p->dirty = false;
}

static enum err sync_segment(struct replay *p, const char *path)
{
    fs_fd fd = fs_open(p->r->fs, path, IO_FILE_WRITE);
    int res = fd < 0 ? fd : rec_sync(p->r, fd);

    if (fd >= 0)
        fs_close(p->r->fs, fd);
    return res < 0 ? rec_fail(p->r, err_from_errno(res), "%s: sync: %s", path,
                              err_text(err_from_errno(res)))
                   : ERR_OK;
}

/* What was written is durable before the log goes. */
static enum err sync_segments(struct replay *p, enum err err)
{
    if (err == ERR_OK && p->r->nlist > SYNC_ALL)
        p->r->all_synced = fs_sync_all(p->r->fs, p->r->dir->path) == 0;
    for (size_t i = 0; i < p->nunsynced; i++) {
        if (err == ERR_OK && !PLANTED(PLANT_REPLAY_UNSYNCED))
            err = sync_segment(p, p->unsynced[i]);
        mem_free(p->unsynced[i]);
    }
    mem_free(p->unsynced);
    return err;
}

static bool listed(const struct stream_record *rec, uint64_t segment)
{
    for (size_t i = 0; i < rec->nsegments; i++)
        if (rec->segments[i].number == segment)
            return true;
    return false;
}

/* The log's data is for the first generation of a segment; when there is another one, it was all
 * there. */
static bool rewritten(struct replay *p, uint64_t segment)
{
    struct rec_names names;
    uint64_t number;
    uint32_t generation;
    bool any = false;

    if (rec_list(p->r->fs, p->stream->dir, &names) != ERR_OK)
        return false;
    for (size_t i = 0; i < names.n; i++)
        any = any || (segment_name_parse(names.names[i], &number, &generation) &&
                      number == segment && generation > 0);
    rec_names_free(&names);
    return any;
}

static bool uuid_known(const struct stream_record *rec)
{
    static const uint8_t none[16];

    return memcmp(rec->uuid, none, sizeof(none)) != 0;
}

static enum err begin_segment(struct replay *p, const struct rec_data *d)
{
    const struct rec_object *o = rec_object_find(p->r, d->stream);

    end_segment(p);
    p->stream = o != NULL && !o->deleted ? o->stream : NULL;
    p->segment = d->segment;
    if (p->stream == NULL)
        return ERR_OK;
    if (p->stream->failed && !uuid_known(&p->stream->rec))
        return rec_fail(p->r, ERR_VERSION,
                        "the record of stream object %llx is not understood, and the commit log "
                        "has data for it",
                        (unsigned long long) d->stream);
    p->salt = store_salt_segment(p->r->dir->uuid, p->stream->rec.uuid, d->segment, 0);
    crypt_file_segment(&p->crypt, &p->r->dir->ring, CRYPT_ANY, p->stream->rec.uuid, d->segment, 0);
    store_path_segment(p->r->dir, p->path, p->stream->rec.uuid, d->segment, 0);
    p->fd = fs_open(p->r->fs, p->path, IO_FILE_WRITE);
    /* Also when everything stands: it may stand in the page cache alone, and the log that has it
     * goes. */
    p->dirty = p->fd >= 0;
    if (p->fd < 0 && p->fd != -ENOENT)
        return rec_fail(p->r, err_from_errno(p->fd), "%s: %s; the commit log has data for it",
                        p->path, err_text(err_from_errno(p->fd)));
    if (p->fd < 0 && listed(&p->stream->rec, d->segment) && !rewritten(p, d->segment))
        LOG_WRN(p->r->log, "%s: %s; the commit log has data for it", p->path,
                err_text(err_from_errno(p->fd)));
    return ERR_OK;
}

static enum err read_log(struct replay *p, const struct rec_data *d)
{
    char path[STORE_PATH];

    rec_log_path(p->r, &p->r->files[d->file], path);
    if (p->log >= 0 && p->log_file != d->file) {
        fs_close(p->r->fs, p->log);
        p->log = -1;
    }
    if (p->log < 0)
        p->log = fs_open(p->r->fs, path, IO_FILE_READ);
    p->log_file = d->file;
    buf_clear(&p->from);
    buf_reserve(&p->from, d->bytes);
    int64_t got = p->log < 0 ? p->log
                             : fs_read(p->r->fs, p->log, p->from.p, d->bytes, d->log_offset);
    if (got != d->bytes)
        return rec_fail(p->r, ERR_IO, "%s: offset %llu: reading again failed", path,
                        (unsigned long long) d->log_offset);
    p->from.n = d->bytes;
    return ERR_OK;
}

/* Does what is on disk at this place hold the same batch, whole? */
static bool stands(struct replay *p, const uint8_t *there, size_t n,
                   const struct batch_header *want)
{
    struct batch_view v;

    if (batch_view_open(there, n, p->salt, &v) != ERR_OK || v.h.first_seq != want->first_seq ||
        v.h.count != want->count || v.h.span != want->span)
        return false;
    v.crypt = &p->crypt;
    return batch_view_decode_room(&v, &p->room) == ERR_OK && batch_verify(&v, p->salt, NULL) == 0;
}

static enum err write_bytes(struct replay *p, const uint8_t *bytes, uint32_t n, uint64_t offset)
{
    int res = fs_write(p->r->fs, p->fd, bytes, n, offset);

    p->dirty = true;
    p->r->dir->recovery.log_bytes_replayed += n;
    return res < 0 ? rec_fail(p->r, err_from_errno(res), "%s: %s", p->path,
                              err_text(err_from_errno(res)))
                   : ERR_OK;
}

/* Erasing was done in the segment, and the log has the batch as it was before. */
static void leave_out_erased(struct replay *p, uint8_t *batch, const struct batch_header *h)
{
    const struct seqset *erased = &p->stream->object->erased;
    uint64_t first, last, at = h->first_seq, end = h->first_seq + h->span;

    while (h->kind == BATCH_NATIVE && at < end && seqset_range_from(erased, at, &first, &last) &&
           first < end) {
        at = first < at ? at : first;
        for (; at <= last && at < end; at++)
            batch_erase(batch, h->bytes, p->salt, at, NULL);
    }
}

/* Batch by batch; zeros between them are padding. */
static enum err replay_batches(struct replay *p, const struct rec_data *d)
{
    const uint8_t *there = (const uint8_t *) p->there.p;
    uint8_t *from = (uint8_t *) p->from.p;
    struct batch_view v;
    enum err err = ERR_OK;

    for (uint64_t at = 0; at + BATCH_HEADER <= d->bytes && err == ERR_OK;) {
        if (batch_view_open(from + at, d->bytes - at, p->salt, &v) != ERR_OK) {
            at += BATCH_ALIGN;
            continue;
        }
        /* Not its own sequences: the commit before it may have gone straight to the segment, and
         * may not have arrived. */
        if (v.h.durable_seq > p->stream->proven_seq)
            p->stream->proven_seq = v.h.durable_seq;
        if (at + v.h.bytes > p->there.n || !stands(p, there + at, v.h.bytes, &v.h)) {
            leave_out_erased(p, from + at, &v.h);
            err = write_bytes(p, from + at, v.h.bytes, d->offset + at);
        }
        at += v.h.bytes;
    }
    return err;
}

static enum err replay_one(struct replay *p, const struct rec_data *d)
{
    enum err err = read_log(p, d);

    if (err != ERR_OK)
        return err;
    if (d->image)
        return write_bytes(p, (const uint8_t *) p->from.p, d->bytes, d->offset);
    buf_clear(&p->there);
    buf_reserve(&p->there, d->bytes);
    int64_t got = fs_read(p->r->fs, p->fd, p->there.p, d->bytes, d->offset);
    if (got < 0) /* what stands there may be what the log does not have: an erased record */
        return rec_fail(p->r, err_from_errno((int) got), "%s: offset %llu: %s", p->path,
                        (unsigned long long) d->offset, err_text(err_from_errno((int) got)));
    p->there.n = (size_t) got;
    return replay_batches(p, d);
}

enum err rec_replay(struct recovery *r)
{
    struct replay p = {.r = r, .fd = -1, .log = -1};
    enum err err = ERR_OK;

    if (r->clean)
        return ERR_OK;
    if (r->ndata > 0)
        qsort(r->data, r->ndata, sizeof(*r->data), order_data);
    for (size_t i = 0; i < r->ndata && err == ERR_OK; i++) {
        const struct rec_data *d = &r->data[i];
        if (i == 0 || r->data[i - 1].stream != d->stream || r->data[i - 1].segment != d->segment)
            err = begin_segment(&p, d);
        if (err == ERR_OK && p.fd >= 0)
            err = replay_one(&p, d);
    }
    end_segment(&p);
    err = sync_segments(&p, err);
    if (p.log >= 0)
        fs_close(r->fs, p.log);
    buf_free(&p.from);
    buf_free(&p.there);
    codec_room_free(&p.room);
    return err;
}
