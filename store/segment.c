/*
 * segment.c - the files of a stream: making, switching, letting go. What is written to them:
 * segment_write.c.
 *
 *     PREPARED  its file is being made, or waits for the active one to be full
 *     ACTIVE    new batches are built for it
 *     CLOSING   full: the commits in flight finish, the page cache is written and synced
 *     SEALED    its footer is durable (sealing.c); never written again
 *     RELEASED  no message of it exists any more: its file is being removed
 */
#include "store/segment.h"

#include "lib/base/mem.h"
#include "store/early.h"
#include "store/pool.h"
#include "store/store_impl.h"

#include <errno.h>
#include <string.h>

/* A stream begins with two small files (as most streams stay small), then grows by quarters of its
 * size. */
#define SEGMENT_BYTES_FIRST (256u << 10)
#define SEGMENT_BYTES_SECOND (2u << 20)
#define MEMORY_SEGMENT_BYTES (4u << 20)

/* ---- making ---------------------------------------------------------------------------------- */

uint64_t segment_next_capacity(const struct store_stream *s, uint64_t need)
{
    const struct store *st = s->store;
    uint64_t bytes = st->segment_min;

    if (!stream_in_file(s)) {
        bytes = MEMORY_SEGMENT_BYTES;
    } else if (s->disk_bytes == 0 && bytes > SEGMENT_BYTES_FIRST) {
        bytes = SEGMENT_BYTES_FIRST;
    } else if (s->disk_bytes < SEGMENT_BYTES_SECOND && bytes > SEGMENT_BYTES_SECOND) {
        bytes = SEGMENT_BYTES_SECOND;
    } else {
        while (bytes < st->segment_max && bytes < s->disk_bytes / 4)
            bytes *= 2;
    }
    need = round_up(SEGMENT_HEADER + need + 2 * SEGMENT_PAGE, SEGMENT_PAGE);
    return bytes < need ? need : bytes;
}

void segment_set_key(struct segment *seg, uint32_t key_id)
{
    const struct store_stream *s = seg->stream;

    if (key_id == 0) {
        mem_free(seg->crypt);
        seg->crypt = NULL;
        return;
    }
    if (seg->crypt == NULL)
        seg->crypt = mem_alloc(sizeof(*seg->crypt));
    crypt_file_segment(seg->crypt, &s->store->dir->ring, key_id, s->rec.uuid, seg->number,
                       seg->generation);
}

struct segment *segment_new(struct store_stream *s, uint64_t number, uint32_t generation,
                            uint64_t capacity)
{
    struct segment *seg = mem_zalloc(sizeof(*seg));
    char path[STORE_PATH];

    seg->stream = s;
    seg->number = number;
    seg->generation = generation;
    seg->capacity = capacity;
    seg->end = SEGMENT_HEADER;
    seg->log_from = seg->log_after = NO_LOG_FILE;
    seg->salt = store_salt_segment(s->store->uuid, s->rec.uuid, number, generation);
    seg->state = SEGMENT_PREPARED;
    list_init(&seg->link);
    list_init(&seg->unwritten);
    list_init(&seg->logged);
    list_init(&seg->fetches);
    list_init(&seg->rewrite_link);
    list_init(&seg->erasures);
    list_init(&seg->erased);
    store_path_segment(s->store->dir, path, s->rec.uuid, number, generation);
    seg->path = mem_strdup(path);
    if (stream_in_file(s))
        segment_set_key(seg, s->store->dir->ring.current);
    if (!stream_in_file(s))
        seg->file_ready = seg->header_durable = true;
    return seg;
}

static void index_remove(struct segment *seg)
{
    struct store_stream *s = seg->stream;
    uint32_t at = 0;

    list_remove(&seg->link);
    s->disk_bytes -= seg->capacity;
    while (s->index[at] != seg)
        at++;
    memmove(&s->index[at], &s->index[at + 1], (s->nindex - at - 1) * sizeof(*s->index));
    s->nindex--;
    if (s->active == seg)
        s->active = NULL;
}

void segment_free(struct segment *seg)
{
    struct store_stream *s = seg->stream;
    struct store *st = s->store;

    ASSERT(list_empty(&seg->fetches) && list_empty(&seg->erasures) && seg->rewrite == NULL);
    ASSERT(list_empty(&seg->erased));
    rewrite_forget(seg);
    for (uint32_t i = 0; i < seg->nentries; i++) {
        struct store_batch *b = seg->entries[i].mem;
        if (b == NULL)
            continue;
        if (b->cached)
            st->cache.bytes -= batch_memory(b);
        b->cached = false;
        list_remove(&b->write);
        if (b->refs == 0)
            batch_free(b);
        else { /* its last reader frees it */
            b->segment = NULL;
            b->plain = false;
        }
    }
    segment_fences_free(seg);
    mem_free(seg->entries);
    mem_free(seg->lendable);
    mem_free(seg->seqs);
    column_deinit(&seg->column);
    list_remove(&seg->logged);
    if (list_linked(&seg->link))
        index_remove(seg);
    if (seg->file != NULL)
        io_file_close(st->io, seg->file);
    mem_free(seg->header_page);
    if (seg->crypt != NULL)
        crypt_file_wipe(seg->crypt);
    mem_free(seg->crypt);
    mem_free(seg->path);
    mem_free(seg);
}

struct prepare_job {
    struct io_work work;
    struct segment *segment;
    struct store_pool *pool;
    const char *path, *dir;
    uint64_t bytes;
    uint8_t *header; /* NULL: the stream's directory is there already */
    int result;
};

static int make_file(struct io_fs *fs, struct prepare_job *job)
{
    bool taken = store_pool_take(job->pool, fs, job->bytes, true, job->path);
    fs_fd fd = fs_open(fs, job->path, IO_FILE_WRITE | (taken ? 0 : IO_FILE_CREATE));
    int result;

    if (fd < 0)
        return fd;
    result = taken ? 0 : fs_allocate(fs, fd, job->bytes);
    if (result == -ENOSPC && store_pool_release(job->pool, fs))
        result = fs_allocate(fs, fd, job->bytes);
    if (result == 0 && job->header != NULL)
        result = fs_write(fs, fd, job->header, SEGMENT_HEADER, 0);
    if (result == 0 && (!taken || job->header != NULL))
        result = fs_sync(fs, fd);
    fs_close(fs, fd);
    if (result == 0 && !PLANTED(PLANT_NAME_UNSYNCED))
        result = fs_sync_dir(fs, job->dir);
    if (result != 0)
        fs_unlink(fs, job->path);
    return result;
}

static void prepare_run(struct io_work *work)
{
    struct prepare_job *job = CONTAINER_OF(work, struct prepare_job, work);

    if (job->header != NULL) {
        job->result = fs_mkdir(work->fs, job->dir);
        if (job->result == 0 || job->result == -EEXIST)
            job->result = fs_sync_parent(work->fs, job->dir);
        if (job->result != 0)
            return;
    }
    job->result = make_file(work->fs, job);
}

/* The file is there: what waited for it goes on. */
static void prepared(struct segment *seg, bool first)
{
    struct store_stream *s = seg->stream;

    seg->file_ready = true;
    seg->file = io_file_open(s->store->io, seg->path, IO_FILE_WRITE);
    s->no_space = s->store->said_no_space = false;
    if (first) {
        seg->header_durable = true;
        stream_first_segment(s, ERR_OK);
        segments_retry(s);
    } else {
        segment_header_if_due(seg);
    }
    stream_mark_dirty(s);
}

uint8_t *segment_make_header(struct segment *seg)
{
    struct store_stream *s = seg->stream;
    uint8_t *page = mem_alloc(SEGMENT_HEADER);
    struct buf copy = {0};
    struct segment_header h = {
        .number = seg->number,
        .key_id = seg->crypt != NULL ? seg->crypt->key.id : 0,
        .base_seq = seg->base_seq,
        .file_bytes = seg->capacity,
        .created = io_wall(s->store->io),
        .last_time = s->last_ts,
    };

    memcpy(h.store, s->store->uuid, sizeof(h.store));
    memcpy(h.stream, s->rec.uuid, sizeof(h.stream));
    h.name_len = (uint8_t) (strlen(s->name) < SEGMENT_NAME ? strlen(s->name) : SEGMENT_NAME);
    memcpy(h.name, s->name, h.name_len);
    if (stream_copy(s, seg->crypt, &s->store->nonces, &copy)) {
        h.object = s->object->id;
        h.copy = buf_str(&copy);
    }
    segment_header_encode(&h, page);
    ASSERT(h.salt == seg->salt);
    buf_free(&copy);
    return page;
}

static void submit_prepare(struct segment *seg, uint8_t *header);

/* A disk that has no room for a large file often has some for a small one, above all for what waits
 * for this one already and would not be answered before there is room. */
static bool shrink(struct segment *seg)
{
    uint64_t bytes = seg->capacity / 4, least = seg->end + seg->reserved + SEGMENT_PAGE;

    if (bytes < SEGMENT_BYTES_FIRST)
        bytes = SEGMENT_BYTES_FIRST;
    if (bytes < least)
        bytes = round_up(least, SEGMENT_PAGE);
    if (bytes >= seg->capacity)
        return false;
    if (seg->state != SEGMENT_PREPARED)
        seg->stream->disk_bytes -= seg->capacity - bytes;
    seg->capacity = bytes;
    seg->shrunk = true;
    return true;
}

static void not_prepared(struct segment *seg, bool first, int result)
{
    struct store_stream *s = seg->stream;
    enum err err = err_from_errno(result);

    if (err == ERR_NO_SPACE && shrink(seg)) {
        submit_prepare(seg, first ? segment_make_header(seg) : NULL);
        return;
    }
    if (err == ERR_NO_SPACE) {
        s->no_space = true;
        seg->wants_file = true;
        store_no_space(s->store);
        stream_mark_dirty(s);
        if (first)
            stream_first_segment(s, err); /* says so; the stream gets its file when there is room */
        return;
    }
    stream_fail(s, err, "can not create %s: %s", seg->path, strerror(-result));
    if (first)
        stream_first_segment(s, err);
}

static void prepare_done(struct io_op *op)
{
    struct prepare_job *job = CONTAINER_OF(op, struct prepare_job, work.op);
    struct segment *seg = job->segment;
    struct store_stream *s = seg->stream;

    if (!store_work_done(s->store, &job->work))
        return;
    seg->jobs--;
    s->jobs--;
    if (job->header != NULL)
        s->dir_coming = false;
    if (s->state == STREAM_DELETING || seg->discarded) {
        if (job->result == 0)
            seg->file_ready = true;
    } else if (job->result == 0) {
        prepared(seg, job->header != NULL);
    } else {
        not_prepared(seg, job->header != NULL, job->result);
    }
    mem_free(job->header);
    mem_free(job);
    if (seg->discarded)
        segment_discard(seg);
    stream_maybe_free(s);
}

static void submit_prepare(struct segment *seg, uint8_t *header)
{
    struct store *st = seg->stream->store;
    struct prepare_job *job = mem_zalloc(sizeof(*job));

    job->segment = seg;
    job->pool = st->dir->pool;
    job->path = seg->path;
    job->dir = seg->stream->dir;
    job->bytes = seg->capacity;
    job->header = header;
    job->work.run = prepare_run;
    io_op_init(&job->work.op, prepare_done);
    seg->wants_file = false;
    seg->jobs++;
    seg->stream->jobs++;
    seg->stream->dir_coming = seg->stream->dir_coming || header != NULL;
    store_work_submit(st, &job->work);
}

/* The first segment's job makes the directory: the others wait for it. */
void segment_prepare(struct segment *seg)
{
    if (!stream_in_file(seg->stream))
        return;
    if (seg->stream->dir_coming)
        seg->wants_file = true;
    else
        submit_prepare(seg, NULL);
}

void segment_prepare_first(struct segment *seg, uint64_t base_seq)
{
    segment_activate(seg, base_seq);
    seg->first_made = true;
    submit_prepare(seg, segment_make_header(seg));
}

void segment_discard(struct segment *seg)
{
    seg->discarded = true;
    if (seg->jobs > 0)
        return; /* prepare_done comes back here */
    if (seg->file_ready && stream_in_file(seg->stream))
        store_retire(seg->stream->store, seg->path, seg->capacity);
    segment_free(seg);
}

/* ---- switching ------------------------------------------------------------------------------- */

static void header_done(struct io_op *op)
{
    struct segment *seg = CONTAINER_OF(op, struct segment, header_op);
    struct store_stream *s = seg->stream;

    seg->jobs--;
    s->store->jobs--;
    if (op->res < 0) {
        stream_fail(s, err_from_errno((int) op->res), "writing the header of %s: %s", seg->path,
                    strerror((int) -op->res));
    } else {
        seg->header_durable = true;
        if (s->state == STREAM_ACTIVE)
            stream_mark_dirty(s);
    }
    segment_advance(seg);
}

/* base_seq must be on disk before anything in the segment counts, and not before everything ahead
 * of it is durable: to a start it proves last_seq. */
void segment_header_if_due(struct segment *seg)
{
    const struct store_stream *s = seg->stream;
    struct store *st = s->store;

    if (!seg->file_ready || seg->header_durable || seg->header_page != NULL ||
        seg->state == SEGMENT_PREPARED || s->state != STREAM_ACTIVE ||
        stream_proven(s) + 1 != seg->base_seq)
        return;
    seg->header_page = segment_make_header(seg);
    seg->header_iov = (struct iovec){seg->header_page, SEGMENT_HEADER};
    io_op_init(&seg->header_op, header_done);
    seg->jobs++;
    st->jobs++;
    io_commit(st->io, &seg->header_op, seg->file, &seg->header_iov, 1, 0);
}

static void index_add(struct store_stream *s, struct segment *seg)
{
    if (s->nindex == s->index_cap) {
        s->index_cap = s->index_cap == 0 ? 8 : s->index_cap * 2;
        s->index = mem_realloc(s->index, s->index_cap * sizeof(*s->index));
    }
    s->index[s->nindex++] = seg;
    list_push_back(&s->segments, &seg->link);
    s->disk_bytes += seg->capacity;
}

void segment_activate(struct segment *seg, uint64_t base_seq)
{
    struct store_stream *s = seg->stream;
    struct segment *old = s->active;
    struct buf delta = {0};

    seg->state = SEGMENT_ACTIVE;
    seg->base_seq = seg->next_seq = base_seq;
    s->active = seg;
    index_add(s, seg);
    stream_record_add_segment(&s->rec, seg->number, base_seq);
    if (old != NULL) {
        old->state = SEGMENT_CLOSING;
        stream_delta_add_segment(&delta, seg->number, base_seq);
        clog_put(s->store, LOG_DELTA, s->object, buf_str(&delta), NULL);
        buf_free(&delta);
    }
    segment_header_if_due(seg);
    if (old != NULL)
        segment_advance(old);
}

void segment_withdraw(struct segment *first)
{
    struct store_stream *s = first->stream;
    struct buf delta = {0};

    while (s->index[s->nindex - 1] != first) {
        struct segment *seg = s->index[s->nindex - 1];
        ASSERT(seg->records == 0 && seg->commits == 0 && seg->header_page == NULL);
        index_remove(seg);
        stream_record_release_segment(&s->rec, seg->number);
        stream_delta_release_segment(&delta, seg->number);
        segment_discard(seg);
    }
    if (delta.n > 0)
        clog_put(s->store, LOG_DELTA, s->object, buf_str(&delta), NULL);
    buf_free(&delta);
    ASSERT(first->records == 0 && first->end == SEGMENT_HEADER);
    first->state = SEGMENT_ACTIVE;
    first->reserved = 0;
    first->column.n = 0;
    s->active = first;
}

/* An existing file of a recovered stream. */
void segment_adopt(struct segment *seg, uint64_t base_seq)
{
    struct store_stream *s = seg->stream;

    seg->base_seq = seg->next_seq = base_seq;
    seg->file_ready = seg->header_durable = true;
    seg->file = io_file_open(s->store->io, seg->path, IO_FILE_WRITE);
    index_add(s, seg);
}

/* ---- replacing ------------------------------------------------------------------------------- */

void segment_replace(struct segment *first, uint32_t n, struct segment *seg)
{
    struct store_stream *s = first->stream;
    uint32_t at = 0;

    while (s->index[at] != first)
        at++;
    list_push_back(&first->link, &seg->link); /* in front of it */
    for (uint32_t i = 0; i < n; i++) {
        struct segment *old = s->index[at + i];
        list_remove(&old->link);
        rewrite_forget(old);
        s->disk_bytes -= old->capacity;
        old->state = SEGMENT_RELEASED;
        old->replaced = true;
        s->jobs++;
        /* Who holds a batch of it goes on with that, but looks whether a message still exists. */
        for (uint32_t k = 0; k < old->nentries; k++)
            if (old->entries[k].mem != NULL)
                old->entries[k].mem->plain = false;
    }
    s->index[at] = seg;
    memmove(&s->index[at + 1], &s->index[at + n], (s->nindex - at - n) * sizeof(*s->index));
    s->nindex -= n - 1;
    s->disk_bytes += seg->capacity;
    seg->file_ready = seg->header_durable = true;
    seg->file = io_file_open(s->store->io, seg->path, IO_FILE_WRITE);
}

void segment_drop_replaced(struct segment *seg)
{
    struct store_stream *s = seg->stream;

    if (seg->jobs > 0)
        return;
    ASSERT(list_empty(&seg->fetches));
    if (!list_empty(&seg->erased))
        store_retire_erased(s->store, seg->path, &seg->erased);
    else
        store_retire(s->store, seg->path, 0); /* what lives on in the new one may be erased there */
    segment_free(seg);
    s->jobs--;
    stream_maybe_free(s);
}

/* ---- going on -------------------------------------------------------------------------------- */

static void close_file(struct segment *seg)
{
    if (seg->commits > 0 || seg->reserved > 0 || seg->jobs > seg->nerasures || seg->erasing)
        return; /* erasures that have not begun may wait for this */
    if (seg->unwritten_n > 0 || seg->writes > 0 || seg->log_from != NO_LOG_FILE || seg->unsynced) {
        segment_checkpoint(seg);
        return;
    }
    segment_seal(seg);
}

void segment_advance(struct segment *seg)
{
    struct store_stream *s = seg->stream;

    if (seg->replaced) {
        segment_drop_replaced(seg);
        return;
    }
    if (s->state == STREAM_DELETING) {
        stream_maybe_free(s);
        return;
    }
    if (s->state == STREAM_FAILED)
        return;
    if (seg->checkpoint_due)
        segment_checkpoint(seg);
    if (seg->state == SEGMENT_CLOSING && stream_in_file(s))
        close_file(seg);
    segments_release(s);
}

/* The directory comes with the first segment: without it the others can not be made. */
static bool retry_file(struct segment *seg)
{
    if (!seg->wants_file || seg->stream->dir_coming)
        return seg->wants_file;
    submit_prepare(seg, seg->first_made ? segment_make_header(seg) : NULL);
    return true;
}

void segments_retry(struct store_stream *s)
{
    bool waits = false;

    LIST_FOREACH_SAFE(it, tmp, &s->segments)
    {
        struct segment *seg = LIST_ENTRY(it, struct segment, link);
        waits = retry_file(seg) || waits;
        if (seg->seal_later) {
            seg->seal_later = false;
            segment_advance(seg);
        }
    }
    if (s->next != NULL)
        waits = retry_file(s->next) || waits;
    if (!waits) /* else the file says so when it is there */
        s->no_space = false;
}
