/*
 * log_files.c - the files of a worker's commit log: the next one, the oldest one, and how they are
 * recycled.
 *
 * All files have the same size and are written once through, page by page. While one is filled the
 * next (the spare) lies ready under its final name: allocated, written over with zeros or old
 * frames (so that a sync need not allocate anything: 84 us for 64 KiB instead of 328, measured),
 * its directory entry durable. Its header page goes out with its first frame; until then its
 * contents do not verify, as every checksum is seeded with the salt of (store, generation, worker,
 * number).
 *
 * A file may go when nothing needs it:
 *     - no object has its last full record in it: those that have are rendered anew;
 *     - no segment has data in it that is not synced: such segments are checkpointed, oldest first;
 *     - the frames that carry the new records are durable (free_after);
 *     - no files are being removed on the strength of a record in it (pins).
 * That work begins as soon as a file is full, so that the log holds about two files, however long
 * the server runs, and a start replays no more than that. The freed file becomes the next spare.
 */
#include "lib/base/mem.h"
#include "store/store_impl.h"

#include <errno.h>
#include <string.h>

/* Checkpoints running at a time for the oldest file. */
#define CHECKPOINTS_MAX 4u
/* Objects of the oldest file that are asked to be rendered at a time. */
#define REFRESH_ASK 512u
/* Prewriting goes in such steps, so that a work thread is never held for long. */
#define PREWRITE_STEP (4u << 20)

static struct clog_file *file_new(struct store *st, uint64_t number)
{
    struct clog_file *f = mem_zalloc(sizeof(*f));
    char path[STORE_PATH];

    store_path_log(st->dir, path, st->generation, st->worker, number);
    f->number = number;
    f->path = mem_strdup(path);
    f->salt = store_salt_log(st->uuid, st->generation, st->worker, number);
    list_init(&f->link);
    list_init(&f->objects);
    return f;
}

static void file_free(struct store *st, struct clog_file *f)
{
    while (!list_empty(&f->objects)) {
        struct object *o = LIST_ENTRY(f->objects.next, struct object, home_link);
        list_remove(&o->home_link);
        o->home = NULL;
    }
    if (f->file != NULL)
        io_file_close(st->io, f->file);
    list_remove(&f->link);
    mem_free(f->path);
    mem_free(f);
}

void clog_files_close(struct store *st)
{
    struct clog *l = &st->clog;

    while (!list_empty(&l->files))
        file_free(st, LIST_ENTRY(l->files.next, struct clog_file, link));
    if (l->spare != NULL)
        file_free(st, l->spare);
    l->spare = NULL;
}

struct clog_file *clog_add_file(struct store *st, uint64_t number, uint64_t bytes)
{
    struct clog_file *f = file_new(st, number);

    f->bytes = bytes;
    f->file = io_file_open(st->io, f->path, IO_FILE_WRITE);
    list_push_back(&st->clog.files, &f->link);
    return f;
}

void clog_file_header(struct store *st, struct clog_file *f, uint8_t **page)
{
    struct log_header h = {
        .generation = st->generation,
        .worker = st->worker,
        .workers = st->dir->options.workers,
        .number = f->number,
        .first_commit = f->first_commit,
        .file_bytes = f->bytes,
        .created = io_wall(st->io),
    };

    if (*page == NULL)
        *page = mem_alloc(LOG_HEADER);
    memcpy(h.store, st->uuid, sizeof(h.store));
    log_header_encode(&h, *page);
    ASSERT(h.salt == f->salt);
}

/* ---- the next file --------------------------------------------------------------------------- */

struct spare_job {
    struct io_work work;
    struct store *store;
    struct clog_file *file;
    char *recycled; /* path of a freed file to be renamed, or NULL */
    uint64_t bytes, written;
    uint8_t *zeros;
    int result;
};

static int spare_create(struct io_fs *fs, struct spare_job *job)
{
    fs_fd fd = fs_open(fs, job->file->path, IO_FILE_WRITE | IO_FILE_CREATE);
    int result;

    if (fd < 0)
        return fd;
    result = fs_allocate(fs, fd, job->bytes);
    fs_close(fs, fd);
    return result;
}

static int spare_write(struct io_fs *fs, struct spare_job *job)
{
    fs_fd fd = fs_open(fs, job->file->path, IO_FILE_WRITE);
    uint64_t n = job->bytes - job->written;
    int result;

    if (fd < 0)
        return fd;
    if (n > PREWRITE_STEP)
        n = PREWRITE_STEP;
    result = fs_write(fs, fd, job->zeros, n, job->written);
    if (result == 0)
        result = fs_sync(fs, fd);
    job->written += n;
    fs_close(fs, fd);
    return result;
}

/* The number will be tried again. */
static void spare_give_up(struct io_fs *fs, struct spare_job *job)
{
    fs_unlink(fs, job->file->path);
    if (job->recycled != NULL)
        fs_unlink(fs, job->recycled);
}

static void spare_run(struct io_work *work)
{
    struct spare_job *job = CONTAINER_OF(work, struct spare_job, work);
    char dir[STORE_PATH];

    if (job->recycled != NULL) {
        job->result = fs_rename(work->fs, job->recycled, job->file->path);
        job->written = job->bytes;
    } else {
        job->result = job->written == 0 ? spare_create(work->fs, job) : 0;
        if (job->result == 0)
            job->result = spare_write(work->fs, job);
    }
    if (job->result == 0 && job->written == job->bytes) {
        memcpy(dir, job->file->path, strlen(job->file->path) + 1);
        *strrchr(dir, '/') = '\0';
        job->result = fs_sync_dir(work->fs, dir);
    }
    if (job->result != 0)
        spare_give_up(work->fs, job);
}

static void spare_done(struct io_op *op)
{
    struct spare_job *job = CONTAINER_OF(op, struct spare_job, work.op);
    struct store *st = job->store;
    struct clog *l = &st->clog;

    if (job->result == 0 && job->written < job->bytes) {
        io_op_init(&job->work.op, spare_done);
        io_work_submit(st->io, &job->work);
        return;
    }
    st->jobs--;
    l->spare_coming = false;
    if (job->result == 0) {
        job->file->file = io_file_open(st->io, job->file->path, IO_FILE_WRITE);
        l->spare = job->file;
    } else {
        LOG_WRN(st->log, "%s: can not be made: %s", job->file->path, strerror(-job->result));
        l->next_number = job->file->number; /* a start reads files in an unbroken series */
        file_free(st, job->file);
        l->spare_wanted = true;
        store_retry_later(st);
    }
    mem_free(job->recycled);
    mem_free(job->zeros);
    mem_free(job);
}

void clog_make_spare(struct store *st, char *recycled)
{
    struct clog *l = &st->clog;
    struct spare_job *job = mem_zalloc(sizeof(*job));

    ASSERT(!l->spare_coming && l->spare == NULL);
    l->spare_wanted = false;
    l->spare_coming = true;
    job->store = st;
    job->file = file_new(st, l->next_number++);
    job->file->bytes = l->file_bytes;
    job->recycled = recycled;
    job->bytes = l->file_bytes;
    if (recycled == NULL)
        job->zeros = mem_zalloc(PREWRITE_STEP);
    job->work.run = spare_run;
    io_op_init(&job->work.op, spare_done);
    st->jobs++;
    io_work_submit(st->io, &job->work);
}

bool clog_switch(struct store *st)
{
    struct clog *l = &st->clog;

    if (l->spare == NULL) {
        if (!l->spare_coming && !l->spare_wanted)
            clog_make_spare(st, NULL);
        return false;
    }
    struct clog_file *next = l->spare;
    l->spare = NULL;
    next->first_commit = l->next_commit;
    list_push_back(&l->files, &next->link);
    l->offset = LOG_HEADER;
    l->begin_file = true;
    return true;
}

/* ---- the oldest file ------------------------------------------------------------------------- */

static bool log_file_in_flight(const struct clog *l, const struct clog_file *f)
{
    LIST_FOREACH(it, &l->inflight)
    if (LIST_ENTRY(it, struct log_commit, link)->file == f)
        return true;
    return false;
}

/* Begins checkpoints of the segments whose data keeps the file; false when there is none. */
static bool checkpoint_segments(struct store *st, const struct clog_file *f)
{
    unsigned running = 0;
    bool any = false;

    LIST_FOREACH_SAFE(it, tmp, &st->logged)
    {
        struct segment *seg = LIST_ENTRY(it, struct segment, logged);
        if (seg->log_from > f->number)
            break; /* the list is ordered */
        any = true;
        if (seg->stream->state == STREAM_FAILED)
            continue;
        segment_checkpoint(seg);
        if (++running == CHECKPOINTS_MAX)
            break;
    }
    return any;
}

struct unlink_job {
    struct io_work work;
    struct store *store;
    char *path;
};

static void unlink_run(struct io_work *work)
{
    fs_unlink(work->fs, CONTAINER_OF(work, struct unlink_job, work)->path);
}

static void unlink_done(struct io_op *op)
{
    struct unlink_job *job = CONTAINER_OF(op, struct unlink_job, work.op);

    job->store->jobs--;
    mem_free(job->path);
    mem_free(job);
}

void store_unlink(struct store *st, const char *path)
{
    struct unlink_job *job = mem_zalloc(sizeof(*job));

    job->store = st;
    job->path = mem_strdup(path);
    job->work.run = unlink_run;
    io_op_init(&job->work.op, unlink_done);
    st->jobs++;
    io_work_submit(st->io, &job->work);
}

static void free_oldest(struct store *st, struct clog_file *f)
{
    struct clog *l = &st->clog;
    char *path = mem_strdup(f->path);
    bool fits = f->bytes == l->file_bytes;

    if (l->completed_file == f)
        l->completed_file = NULL;
    file_free(st, f);
    if (fits && l->spare == NULL && !l->spare_coming) {
        clog_make_spare(st, path);
        return;
    }
    store_unlink(st, path);
    mem_free(path);
}

void clog_maintain(struct store *st)
{
    struct clog *l = &st->clog;

    if (st->close_state != STORE_CLOSE_NONE)
        return;
    while (l->files.next != l->files.prev && !l->failed) { /* more than one */
        struct clog_file *f = LIST_ENTRY(l->files.next, struct clog_file, link);
        bool busy = checkpoint_segments(st, f);
        unsigned asked = 0;
        LIST_FOREACH(it, &f->objects)
        {
            struct object *o = LIST_ENTRY(it, struct object, home_link);
            if (!list_linked(&o->refresh) && !o->raw_coming)
                list_push_back(&l->refresh, &o->refresh);
            busy = l->refresh_now = true;
            if (++asked == REFRESH_ASK)
                break;
        }
        if (busy || f->pins > 0 || f->free_after > l->durable_commit || log_file_in_flight(l, f))
            break;
        free_oldest(st, f);
    }
    if (l->spare == NULL && !l->spare_coming && !l->spare_wanted &&
        l->files.next == l->files.prev && l->offset > l->file_bytes / 2)
        clog_make_spare(st, NULL);
}

struct clog_file *clog_current_file(struct store *st)
{
    return st->clog.completed_file;
}
