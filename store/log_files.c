/*
 * log_files.c - the files of a worker's commit log: how the oldest one is freed.
 *
 * All files have the same size and are written once through, page by page; log_spare.c has the next
 * one ready.
 *
 * A file may go when nothing needs it:
 *     - no object has its last full record in it: those that have are rendered anew;
 *     - no segment has data in it that is not synced: such segments are checkpointed, oldest first;
 *     - the frames that carry the new records are durable (free_after), and so is one in the next
 *       file: a start takes a worker without a used file for one that has lost its log;
 *     - the twin has them, too (twin.c);
 *     - nothing else holds it (pins): files that are removed on the strength of a record in it, a
 *       batch that is written over, the removal of an object that still waits for a frame.
 * That work begins as soon as a file is full, so that the log holds about two files, however long
 * the server runs, and a start replays no more than that. The freed file becomes the next spare,
 * unless it may hold what was erased (log_wash.c).
 */
#include "lib/base/mem.h"
#include "store/store_impl.h"

#include <errno.h>
#include <string.h>

/* Checkpoints running at a time for the oldest file. */
#define CHECKPOINTS_MAX 4u
/* Objects of the oldest file that are asked to be rendered at a time. */
#define REFRESH_ASK 512u

struct clog_file *clog_file_new(struct store *st, uint64_t number)
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

void clog_file_free(struct store *st, struct clog_file *f)
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
        clog_file_free(st, LIST_ENTRY(l->files.next, struct clog_file, link));
    if (l->spare != NULL)
        clog_file_free(st, l->spare);
    l->spare = NULL;
}

struct clog_file *clog_add_file(struct store *st, uint64_t number, uint64_t bytes)
{
    struct clog_file *f = clog_file_new(st, number);

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
        .key_id = st->clog.crypt.key.id,
        .file_bytes = f->bytes,
        .created = io_wall(st->io),
    };

    if (*page == NULL)
        *page = mem_alloc(LOG_HEADER);
    memcpy(h.store, st->uuid, sizeof(h.store));
    log_header_encode(&h, *page);
    ASSERT(h.salt == f->salt);
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

static void free_oldest(struct store *st, struct clog_file *f)
{
    struct clog *l = &st->clog;
    char *path = mem_strdup(f->path);
    bool useful = f->bytes == l->file_bytes && !f->stained;

    twin_freed(st, f->number);
    clog_file_free(st, f);
    if (useful && l->spare == NULL && !l->spare_coming) {
        clog_make_spare(st, path);
        return;
    }
    store_retire_log(st, path);
    mem_free(path);
}

void clog_dropped(struct store *st, const char *path, int result)
{
    struct clog *l = &st->clog;

    l->dropping--;
    l->let_go = true;
    if (result < 0)
        LOG_WRN(st->log, "%s: can not be removed: %s", path, strerror(-result));
    l->wash.keep = l->wash.keep || result < 0;
}

void clog_maintain(struct store *st)
{
    struct clog *l = &st->clog;

    if (st->close_state != STORE_CLOSE_NONE)
        return;
    while (l->files.next != l->files.prev && !l->failed) { /* more than one */
        struct clog_file *f = LIST_ENTRY(l->files.next, struct clog_file, link);
        const struct clog_file *next = LIST_ENTRY(f->link.next, struct clog_file, link);
        bool busy = checkpoint_segments(st, f);
        unsigned asked = 0;
        LIST_FOREACH(it, &f->objects)
        {
            struct object *o = LIST_ENTRY(it, struct object, home_link);
            busy = true;
            if (o->too_large)
                continue;
            if (!list_linked(&o->refresh) && !o->raw_coming)
                list_push_back(&l->refresh, &o->refresh);
            l->refresh_now = true;
            if (++asked == REFRESH_ASK)
                break;
        }
        if (busy || f->pins > 0 || f->free_after > l->durable_commit || l->dropping > 0 ||
            next->first_commit > l->durable_commit || log_file_in_flight(l, f) || twin_holds(st, f))
            break;
        free_oldest(st, f);
    }
    clog_want_spare(st);
}

struct clog_file *clog_pin(struct store *st)
{
    struct clog_file *f = clog_writing(&st->clog);

    f->pins++;
    return f;
}

void clog_unpin(struct store *st, struct clog_file *f)
{
    f->pins--;
    st->clog.let_go = true;
}

void clog_step(struct store *st)
{
    struct clog *l = &st->clog;
    bool look = l->let_go && l->files.next != l->files.prev;

    l->let_go = false;
    if (look && !l->failed)
        clog_maintain(st);
}
