/*
 * The first log files of the new generation: a full record of every object, on the worker that will
 * own it, and what the workers are given to start from.
 *
 * Order on disk: all files of all workers, synced; the directory, synced; then START in worker 0's
 * last file, synced. Until then the old generation counts, afterwards this one.
 *
 * A stream's record is rendered from what was found; other objects are the owner's and opaque here,
 * so their last full record and the deltas behind it are copied. Unused files are taken over when
 * they fit: they are prewritten, and they are there when the disk is full. For the same reason the
 * old generation's files become their workers' spares. But who erases a message washes the log of
 * its worker alone (log_wash.c): so where messages were erased (a mark, or an intent in the log),
 * and where streams do not stay with their workers, all old files are removed instead.
 */
#include "lib/base/mem.h"
#include "store/recover_impl.h"

#include <errno.h>
#include <string.h>

#define FRAME_BYTES (1u << 20)
#define ZERO_BYTES (1u << 20)
/* Prewritten of a new file. */
#define FIRST_BYTES (4u << 20)

struct writer {
    struct recovery *r;
    uint32_t worker;
    char path[STORE_PATH];
    fs_fd fd; /* -1 = no file yet */
    uint64_t next_number;
    struct recovered_log log;
    struct log_frame frame;
    struct crypt_file crypt;
    struct crypt_nonces nonces;
    struct buf sealed;
};

static enum err failed(struct writer *w, int res)
{
    enum err err = err_from_errno(res);
    return rec_fail(w->r, err, "%s: %s", w->path, err_text(err));
}

/* ---- files --------------------------------------------------------------------------------- */

static uint64_t file_bytes(struct recovery *r, const struct rec_log_file *f)
{
    char path[STORE_PATH];

    if (f->bytes != 0)
        return f->bytes;
    rec_log_path(r, f, path);
    fs_fd fd = fs_open(r->fs, path, IO_FILE_READ);
    int64_t n = fd < 0 ? 0 : fs_size(r->fs, fd);
    if (fd >= 0)
        fs_close(r->fs, fd);
    return n > 0 ? (uint64_t) n : 0;
}

/* A file of this size that was never used, the worker's own if there is one, or belongs to another
 * generation than the one that counts: to a start that was not finished, or one that did not come
 * to deleting its leftovers. */
static struct rec_log_file *find_spare(struct recovery *r, unsigned worker, uint64_t bytes)
{
    struct rec_log_file *found = NULL;

    for (size_t i = 0; i < r->nfiles; i++) {
        struct rec_log_file *f = &r->files[i];
        bool unused = f->generation != r->generation || !f->used;
        if (!unused || f->taken || f->damaged || file_bytes(r, f) != bytes)
            continue;
        if (f->worker == worker && f->generation == r->generation)
            return f;
        found = f;
    }
    return found;
}

/* The beginning of a new file: the rest has its blocks, but each commit there also has the file
 * system note that it is written. That is so once in the life of a directory, as files are used
 * again, and a start waits for these bytes. */
static int prewrite(struct writer *w, uint64_t bytes)
{
    if (bytes > FIRST_BYTES)
        bytes = FIRST_BYTES;
    uint8_t *zeros = mem_zalloc(bytes < ZERO_BYTES ? bytes : ZERO_BYTES);
    int res = 0;

    for (uint64_t at = 0; at < bytes && res == 0; at += ZERO_BYTES)
        res = fs_write(w->r->fs, w->fd, zeros, bytes - at < ZERO_BYTES ? bytes - at : ZERO_BYTES,
                       at);
    mem_free(zeros);
    return res;
}

/* Nothing in it is anybody's but this worker's. */
static bool may_use(const struct recovery *r, const struct rec_log_file *f, unsigned worker)
{
    return !r->erased && !r->moved && f->generation == r->generation && f->worker == worker;
}

static int take_over(struct writer *w, struct rec_log_file *spare)
{
    char from[STORE_PATH];

    rec_log_path(w->r, spare, from);
    int res = fs_rename(w->r->fs, from, w->path);
    if (res < 0)
        return res;
    spare->taken = true;
    w->fd = fs_open(w->r->fs, w->path, IO_FILE_WRITE);
    return w->fd < 0 ? w->fd : 0;
}

static int create_file(struct writer *w, uint64_t bytes)
{
    struct rec_log_file *spare = find_spare(w->r, w->worker, bytes);

    if (spare != NULL && may_use(w->r, spare, w->worker))
        return take_over(w, spare);
    w->fd = fs_open(w->r->fs, w->path, IO_FILE_WRITE | IO_FILE_CREATE);
    int res = w->fd < 0 ? w->fd : fs_allocate(w->r->fs, w->fd, bytes);
    if (res == -ENOSPC && spare != NULL) { /* better late than no start: the store washes it */
        if (w->fd >= 0)
            fs_close(w->r->fs, w->fd);
        w->log.stained = true;
        return take_over(w, spare);
    }
    return res == 0 && w->r->dir->options.pool_bytes != 0 ? prewrite(w, bytes) : res;
}

static enum err close_file(struct writer *w)
{
    if (w->fd < 0)
        return ERR_OK;
    int res = PLANTED(PLANT_START_UNSYNCED) ? 0 : fs_sync(w->r->fs, w->fd);
    fs_close(w->r->fs, w->fd);
    w->fd = -1;
    return res < 0 ? failed(w, res) : ERR_OK;
}

static enum err next_file(struct writer *w, uint64_t frame_bytes)
{
    struct store_dir *dir = w->r->dir;
    uint64_t bytes = dir->options.log_file_bytes;
    struct log_header h = {.generation = dir->generation,
                           .worker = w->worker,
                           .workers = dir->options.workers,
                           .number = w->next_number++,
                           .first_commit = w->log.next_commit,
                           .key_id = w->crypt.key.id};
    enum err err = close_file(w);

    if (err != ERR_OK)
        return err;
    if (bytes < LOG_HEADER + frame_bytes)
        bytes = LOG_HEADER + frame_bytes;
    store_path_log(dir, w->path, dir->generation, w->worker, h.number);
    int res = create_file(w, bytes);
    if (res < 0)
        return failed(w, res);
    memcpy(h.store, dir->uuid, 16);
    h.file_bytes = bytes;
    uint8_t *page = mem_alloc(LOG_HEADER);
    log_header_encode(&h, page);
    res = fs_write(w->r->fs, w->fd, page, LOG_HEADER, 0);
    mem_free(page);
    w->log.number = h.number;
    w->log.file_bytes = bytes;
    w->log.offset = LOG_HEADER;
    w->log.salt = h.salt;
    w->log.first_commit = h.first_commit;
    return res < 0 ? failed(w, res) : ERR_OK;
}

/* ---- frames -------------------------------------------------------------------------------- */

/* Room for a frame of this many bytes; the salt of the frame's checksums is the file's. */
static enum err begin_frame(struct writer *w, uint64_t bytes)
{
    enum err err = ERR_OK;

    if (w->fd < 0 || w->log.offset + bytes > w->log.file_bytes)
        err = next_file(w, bytes);
    if (err == ERR_OK)
        log_frame_begin(&w->frame, w->log.salt, w->log.next_commit);
    return err;
}

static enum err end_frame(struct writer *w)
{
    struct log_frame *f = &w->frame;

    if (f->count == 0)
        return ERR_OK;
    w->log.prev_crc = log_frame_seal(f, w->log.next_commit - 1, w->log.prev_crc, 0);
    int res = fs_write(w->r->fs, w->fd, f->meta.p, f->meta.n, w->log.offset);
    if (res == 0)
        res = fs_write(w->r->fs, w->fd, f->body.p, f->body.n, w->log.offset + f->meta.n);
    w->log.offset += f->meta.n + f->body.n;
    w->log.next_commit++;
    f->count = 0;
    return res < 0 ? failed(w, res) : ERR_OK;
}

/* Frames of FRAME_BYTES, less when the files are small, more for one large record. */
static uint64_t frame_room(const struct writer *w, uint64_t need)
{
    uint64_t half = w->r->dir->options.log_file_bytes / 2;
    uint64_t room = half < FRAME_BYTES ? half & ~(uint64_t) (LOG_PAGE - 1) : FRAME_BYTES;

    return need > room ? round_up(need, LOG_PAGE) : room;
}

static enum err put(struct writer *w, const struct log_record *record)
{
    struct log_record r = *record;

    if (crypt_file_on(&w->crypt) && r.type != LOG_START)
        log_record_seal(&r, &w->crypt, &w->nonces, &w->sealed);
    record = &r;
    uint64_t need = log_record_bytes(record->bytes.n) + LOG_ENTRY + LOG_FRAME_HEADER + LOG_PAGE;
    uint64_t room = frame_room(w, need);
    enum err err = ERR_OK;

    if (record->bytes.n > LOG_RECORD_MAX - LOG_RECORD_HEADER)
        return rec_fail(w->r, ERR_TOO_LARGE, "%s: object %llx has %zu bytes", w->path,
                        (unsigned long long) record->id, record->bytes.n);
    if (w->frame.count != 0 &&
        (log_frame_bytes(&w->frame) + need > room || w->frame.count == LOG_FRAME_RECORDS))
        err = end_frame(w);
    if (err == ERR_OK && w->frame.count == 0)
        err = begin_frame(w, room);
    if (err == ERR_OK)
        log_frame_add(&w->frame, record);
    return err;
}

/* ---- objects ------------------------------------------------------------------------------- */

static struct str keep(struct recovered_worker *out, struct buf *blob)
{
    out->blobs[out->nblobs] = *blob;
    *blob = (struct buf){0};
    return buf_str(&out->blobs[out->nblobs++]);
}

static enum err write_stream(struct writer *w, struct rec_object *o, struct recovered_worker *out)
{
    struct rec_stream *s = o->stream;
    struct buf full = {0};

    stream_record_check(&s->rec);
    stream_record_encode(&s->rec, &full);
    o->version++;
    struct recovered_stream *to = &out->streams[out->nstreams++];
    *to = (struct recovered_stream){
        .view = {.id = o->id, .parent = o->parent, .kind = o->kind, .full = keep(out, &full)},
        .version = o->version,
        .rec = s->rec,
        .segments = s->segments,
        .nsegments = s->nsegments,
        .last_seq = s->last_seq,
        .last_ts = s->last_ts,
        .adopted = o->adopted,
    };
    memcpy(to->uuid, s->rec.uuid, 16);
    s->rec = (struct stream_record){0};
    s->segments = NULL;
    s->nsegments = 0;
    struct log_record record = {.type = LOG_FULL,
                                .kind = (uint16_t) o->kind,
                                .id = o->id,
                                .version = o->version,
                                .parent = o->parent,
                                .bytes = to->view.full};
    return put(w, &record);
}

/* Full record and deltas as they are. */
static enum err write_raw(struct writer *w, struct rec_object *o)
{
    uint64_t version = o->version > o->ndeltas ? o->version - o->ndeltas : 1;
    struct log_record record = {.type = LOG_FULL,
                                .kind = (uint16_t) o->kind,
                                .id = o->id,
                                .version = version,
                                .parent = o->parent,
                                .bytes = buf_str(&o->full)};
    enum err err = put(w, &record);

    record.type = LOG_DELTA;
    record.parent = 0;
    for (unsigned i = 0; i < o->ndeltas && err == ERR_OK; i++) {
        record.version++;
        record.bytes = buf_str(&o->deltas[i].bytes);
        err = put(w, &record);
    }
    o->version = record.version;
    return err;
}

/* The views of a raw object; its buffers move to the worker. */
static struct store_object_view take_view(struct rec_object *o, struct recovered_worker *out,
                                          uint64_t *bytes)
{
    struct store_object_view v = {
        .id = o->id, .parent = o->parent, .kind = o->kind, .ndeltas = o->ndeltas};
    struct buf array = {0};

    *bytes = 0;
    v.full = keep(out, &o->full);
    for (unsigned i = 0; i < o->ndeltas; i++) {
        struct str delta = keep(out, &o->deltas[i].bytes);
        buf_put(&array, &delta, sizeof(delta));
        *bytes += delta.n;
    }
    v.deltas = (const struct str *) (const void *) keep(out, &array).p;
    o->ndeltas = 0;
    return v;
}

static enum err write_object(struct writer *w, struct rec_object *o, struct recovered_worker *out)
{
    struct rec_stream *s = o->stream;
    uint64_t bytes;

    if (s != NULL && !s->failed)
        return write_stream(w, o, out);
    enum err err = write_raw(w, o);
    if (err != ERR_OK)
        return err;
    struct store_object_view view = take_view(o, out, &bytes);
    if (s == NULL) {
        out->objects[out->nobjects++] = (struct recovered_object){
            .view = view, .version = o->version, .full_bytes = view.full.n, .delta_bytes = bytes};
        return ERR_OK;
    }
    struct recovered_stream *to = &out->streams[out->nstreams++];
    *to = (struct recovered_stream){.view = view,
                                    .version = o->version,
                                    .rec = s->rec,
                                    .segments = s->segments,
                                    .nsegments = s->nsegments,
                                    .last_seq = s->last_seq,
                                    .last_ts = s->last_ts,
                                    .failed = true};
    memcpy(to->why, s->why, sizeof(to->why));
    memcpy(to->uuid, s->rec.uuid, 16);
    s->rec = (struct stream_record){0};
    s->segments = NULL;
    s->nsegments = 0;
    return ERR_OK;
}

static void make_room(struct recovery *r, uint32_t worker, struct recovered_worker *out)
{
    size_t n = 0, blobs = 0;

    for (size_t i = 0; i < r->nlist; i++)
        if (r->list[i]->worker == worker) {
            n++;
            blobs += 2 + r->list[i]->ndeltas;
        }
    out->streams = mem_zalloc((n + 1) * sizeof(*out->streams));
    out->objects = mem_zalloc((n + 1) * sizeof(*out->objects));
    out->blobs = mem_zalloc((blobs + 1) * sizeof(*out->blobs));
}

static enum err write_worker(struct writer *w, struct recovered_worker *out)
{
    struct recovery *r = w->r;
    enum err err = ERR_OK;

    make_room(r, w->worker, out);
    for (size_t i = 0; i < r->nlist && err == ERR_OK; i++)
        if (r->list[i]->worker == w->worker)
            err = write_object(w, r->list[i], out);
    if (err == ERR_OK)
        err = end_frame(w);
    if (err == ERR_OK && w->fd < 0)
        err = next_file(w, LOG_PAGE);
    if (err != ERR_OK)
        return err;
    int res = fs_sync(r->fs, w->fd);
    return res < 0 ? failed(w, res) : ERR_OK;
}

/* ---- the generation ------------------------------------------------------------------------ */

static enum err sync_log_dir(struct recovery *r)
{
    char path[STORE_PATH];

    store_path(r->dir, path, "log");
    int res = fs_sync_dir(r->fs, path);
    return res < 0 ? rec_fail(r, ERR_IO, "%s: sync: %s", path, err_text(err_from_errno(res)))
                   : ERR_OK;
}

static enum err write_start(struct writer *w)
{
    uint8_t bytes[LOG_START_BYTES];
    struct log_start start = {.workers = w->r->dir->options.workers, .clean_before = w->r->clean};
    struct log_record record = {.type = LOG_START, .bytes = str_from(bytes, sizeof(bytes))};

    log_start_encode(&start, bytes);
    enum err err = put(w, &record);
    if (err == ERR_OK)
        err = end_frame(w);
    if (err == ERR_OK)
        err = sync_log_dir(w->r);
    return err != ERR_OK ? err : close_file(w);
}

/* The old file at this path becomes its worker's spare, if that has none. */
static bool make_spare(struct recovery *r, const struct rec_log_file *f, const char *path)
{
    struct store_dir *dir = r->dir;
    char to[STORE_PATH];

    if (f->worker >= dir->options.workers || !may_use(r, f, f->worker))
        return false;
    struct recovered_log *log = &dir->workers[f->worker].log;
    if (log->spare || file_bytes(r, f) != dir->options.log_file_bytes)
        return false;
    store_path_log(dir, to, dir->generation, f->worker, log->number + 1);
    log->spare = fs_rename(r->fs, path, to) == 0;
    return log->spare;
}

/* The old files are gone; where one had to be used the marks stay, for the next start. */
static void remove_marks(struct recovery *r)
{
    char path[STORE_PATH];
    struct rec_names names;
    uint32_t worker;

    for (unsigned i = 0; i < r->dir->options.workers; i++)
        if (r->dir->workers[i].log.stained)
            return;
    store_path(r->dir, path, "log");
    if (rec_list(r->fs, path, &names) != ERR_OK)
        return;
    for (size_t i = 0; i < names.n; i++) {
        if (!log_mark_parse(names.names[i], &worker))
            continue;
        store_path_mark(r->dir, path, worker);
        fs_unlink(r->fs, path);
    }
    rec_names_free(&names);
}

static enum err remove_old(struct recovery *r)
{
    char path[STORE_PATH];

    for (size_t i = 0; i < r->nfiles; i++) {
        if (r->files[i].taken)
            continue;
        rec_log_path(r, &r->files[i], path);
        if (r->files[i].damaged)
            store_quarantine(r->dir, path, "damaged");
        else if (!make_spare(r, &r->files[i], path))
            fs_unlink(r->fs, path);
    }
    for (size_t i = 0; i < r->ntwins; i++) {
        if (!r->twins[i].damaged)
            continue; /* they go when there are new ones (twin.c) */
        rec_log_path(r, &r->twins[i], path);
        store_quarantine(r->dir, path, "damaged");
    }
    enum err err = sync_log_dir(r);
    if (err == ERR_OK && r->erased)
        remove_marks(r);
    return err;
}

static bool any_moved(const struct recovery *r)
{
    if (r->workers != r->dir->options.workers)
        return true;
    for (size_t i = 0; i < r->nlist; i++)
        if (r->list[i]->found != r->list[i]->worker + 1)
            return true;
    return false;
}

enum err rec_write(struct recovery *r)
{
    unsigned n = r->dir->options.workers;
    struct writer *w = mem_zalloc(n * sizeof(*w));
    enum err err = ERR_OK;

    r->moved = any_moved(r);
    for (unsigned i = 0; i < n; i++) {
        w[i].r = r;
        w[i].worker = i;
        w[i].fd = -1;
        w[i].log.next_commit = 1;
        crypt_file_log(&w[i].crypt, &r->dir->ring, r->dir->ring.current, r->dir->generation, i);
        crypt_nonces_init(&w[i].nonces, &r->dir->ring, &r->dir->prng);
    }
    for (unsigned i = 0; i < n && err == ERR_OK; i++)
        err = write_worker(&w[i], &r->dir->workers[i]);
    if (err == ERR_OK)
        err = sync_log_dir(r);
    if (err == ERR_OK && PLANTED(PLANT_OLD_LOG_FIRST))
        err = remove_old(r);
    if (err == ERR_OK)
        err = write_start(&w[0]);
    for (unsigned i = 0; i < n; i++) {
        if (w[i].fd >= 0)
            fs_close(r->fs, w[i].fd);
        r->dir->workers[i].log = w[i].log;
        log_frame_free(&w[i].frame);
        buf_free(&w[i].sealed);
    }
    mem_free(w);
    return err == ERR_OK && !PLANTED(PLANT_OLD_LOG_FIRST) ? remove_old(r) : err;
}
