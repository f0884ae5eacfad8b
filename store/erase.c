/*
 * erase.c - removing a message so that its bytes are gone from the segment, too.
 *
 *     1. the message is removed in memory, and a delta with the intent to erase is logged; it says
 *        that everything before is durable, so that no start takes what follows for a torn tail;
 *     2. when that is durable, and the segment's file has the batch at all, a work thread reads the
 *        batch, zeroes the record in memory and clears its table entry;
 *     3. the sectors that will be written go into the log as images (LOG_IMAGE);
 *     4. when those are durable the sectors are written, and synced; until then the log file with
 *        the images stays;
 *     5. the intent leaves the stream's record (with the next full one), the request completes.
 *
 * The intent is about bytes: it stays in the record, also when the message lies below the stream's
 * first one by now, until they are gone or the segment's file is.
 *
 * The batch is written in place, over pages that are durable already: a power cut may leave any mix
 * of old, new and, at worst, of noise in the sectors that were being written, and neighbours in the
 * batch, and in the batches before and behind it, are somebody's messages. The start that follows
 * puts the images in their places. Of a large message only its first and last sector are shared;
 * what lies between is only zeroed, again when the intent says so. One erasure at a time goes on in
 * a segment: two would overwrite each other's sectors.
 *
 * That is for native batches in segments of the first generation that are not encrypted. Anything
 * else - a segment that was written anew and may be compressed, an encrypted one, a Kafka batch -
 * is written anew without the message (rewrite.c), and the request completes when the new file is
 * durable and has the old one's place. A segment that is still written to is ended for that, once
 * the file of the next one is there: what is appended from then on goes into that one.
 *
 * Where the owner can not make a Kafka batch without the message the request completes with
 * ERR_UNSUPPORTED: the message is removed, and its bytes stay, as does the intent; the next start
 * tries it again. The same where header or table of a batch are damaged beyond mending, so that
 * nothing says where in it the message is: ERR_CORRUPT. A store that closes begins no such rewrite
 * (there may be no space for it): the next start does, and the request completes with ERR_CLOSED.
 *
 * A crash before 4 is through leaves the intent in the record; the next opening goes on with 2.
 * What the commit log has of the message goes soon afterwards (log_wash.c); copies may live on in
 * batches in memory.
 */
#include "lib/base/mem.h"
#include "store/store_impl.h"

#include <errno.h>
#include <string.h>

/* What a disk writes whole or not at all. */
#define SECTOR 512u
/* Above, only the first and the last sector of a record go into the log. */
#define IMAGE_MAX (16u << 10)

struct part {
    uint64_t at; /* in the file */
    size_t n;
};

struct erasure {
    struct list link;       /* store->erasures, while it waits for its turn */
    struct list of_segment; /* segment->erasures */
    struct io_work work;
    struct store_req logged;
    struct store_req *req; /* the owner's */
    struct segment *segment;
    struct segment_batch batch;
    uint64_t seq;
    uint8_t *bytes; /* the batch without the message, and the rest of its first and last sector */
    uint64_t offset;
    struct part head, record; /* to be written; record.n is 0 when head has it */
    struct clog_file *pinned;
    bool begun;
    bool later;
    bool gone; /* its segment was rewritten without the message */
    bool unreadable;
    int result;
};

static void join_segment(struct erasure *x, struct segment *seg)
{
    x->segment = seg;
    list_push_back(&seg->erasures, &x->of_segment);
    seg->nerasures++;
    seg->jobs++;
}

static void leave_segment(struct erasure *x)
{
    list_remove(&x->of_segment);
    x->segment->nerasures--;
    x->segment->jobs--;
}

static void finish(struct erasure *x, enum err err)
{
    struct segment *seg = x->segment;
    struct store_req *req = x->req;

    if (x->begun)
        seg->erasing = false;
    if (x->pinned != NULL)
        clog_unpin(seg->stream->store, x->pinned);
    if (err == ERR_OK && !x->later)
        seqset_remove(&seg->stream->rec.erase, x->seq, x->seq);
    list_remove(&x->link);
    leave_segment(x);
    mem_free(x->bytes);
    mem_free(x);
    if (seg->live == 0 && !seg->replaced) /* this was the only reason to keep it */
        rewrite_consider(seg);
    wash_end(seg->stream->store, req, err);
    segment_advance(seg);
}

/* It was written anew without the message, and the old file is about to go. */
static void finish_replaced(struct erasure *x)
{
    struct segment *seg = x->segment;

    seqset_remove(&seg->stream->rec.erase, x->seq, x->seq);
    list_remove(&x->link);
    leave_segment(x);
    list_push_back(&seg->erased, &x->of_segment);
}

void erasures_tell(struct store *st, struct list *erased)
{
    struct list *it;

    while ((it = list_pop_front(erased)) != NULL) {
        struct erasure *x = LIST_ENTRY(it, struct erasure, of_segment);
        struct store_req *req = x->req;
        mem_free(x);
        wash_end(st, req, ERR_OK);
    }
}

static void fail(struct erasure *x)
{
    stream_fail(x->segment->stream, err_from_errno(x->result), "erasing in %s: %s",
                x->segment->path, strerror(-x->result));
    finish(x, err_from_errno(x->result));
}

/* ---- 4: over the batch ----------------------------------------------------------------------- */

static int write_part(struct io_fs *fs, fs_fd fd, const struct erasure *x, const struct part *part)
{
    return fs_write(fs, fd, x->bytes + (part->at - x->offset), part->n, part->at);
}

static void write_run(struct io_work *work)
{
    struct erasure *x = CONTAINER_OF(work, struct erasure, work);
    fs_fd fd = fs_open(work->fs, x->segment->path, IO_FILE_WRITE);

    x->result = fd;
    if (fd < 0)
        return;
    x->result = write_part(work->fs, fd, x, &x->head);
    if (x->result == 0 && x->record.n > 0)
        x->result = write_part(work->fs, fd, x, &x->record);
    if (x->result == 0)
        x->result = fs_sync(work->fs, fd);
    fs_close(work->fs, fd);
}

static void write_done(struct io_op *op)
{
    struct erasure *x = CONTAINER_OF(op, struct erasure, work.op);

    if (!store_work_done(x->segment->stream->store, &x->work))
        return;
    if (x->result < 0)
        fail(x);
    else
        finish(x, ERR_OK);
}

static void submit(struct erasure *x, void (*run)(struct io_work *work),
                   void (*done)(struct io_op *op))
{
    x->work.run = run;
    io_op_init(&x->work.op, done);
    store_work_submit(x->segment->stream->store, &x->work);
}

/* ---- 2 and 3: the images --------------------------------------------------------------------- */

static void images_logged(struct store_req *req, enum err err)
{
    struct erasure *x = CONTAINER_OF(req, struct erasure, logged);

    if (err != ERR_OK || x->segment->stream->state != STREAM_ACTIVE)
        finish(x, err != ERR_OK ? err : ERR_FAILED);
    else
        submit(x, write_run, write_done);
}

static bool log_image(struct erasure *x, uint64_t at, size_t n, struct store_req *req)
{
    struct store_stream *s = x->segment->stream;

    return clog_put_image(s->store, s->object, x->segment->number, at,
                          str_from((const char *) x->bytes + (at - x->offset), n), req);
}

/* False: the log's files are too small for them. Then it goes without. */
static bool log_images(struct erasure *x)
{
    const struct part *r = &x->record;

    x->pinned = clog_pin(x->segment->stream->store);
    if (r->n == 0)
        return log_image(x, x->head.at, x->head.n, &x->logged);
    if (!log_image(x, x->head.at, x->head.n, NULL))
        return false;
    if (r->n <= IMAGE_MAX)
        return log_image(x, r->at, r->n, &x->logged);
    return log_image(x, r->at, SECTOR, NULL) &&
           log_image(x, r->at + r->n - SECTOR, SECTOR, &x->logged);
}

/* The sectors of [from, end) of the batch; n bytes are in memory from x->offset on. */
static struct part sectors_of(const struct erasure *x, uint64_t from, uint64_t end, uint64_t n)
{
    uint64_t at = (x->batch.offset + from) / SECTOR * SECTOR;
    uint64_t stop = round_up(x->batch.offset + end, SECTOR);

    if (stop > x->offset + n)
        stop = x->offset + n;
    return (struct part){at, (size_t) (stop - at)};
}

/* Readers mend it as well. */
static bool opens(uint8_t *batch, uint32_t n, uint32_t salt)
{
    struct batch_view v;

    return batch_view_open(batch, n, salt, &v) == ERR_OK || batch_repair(batch, n, salt);
}

/* Zeroes the message in memory; false: there is nothing to do, or it can not be done. */
static bool change(struct erasure *x, uint64_t n)
{
    uint64_t before = x->batch.offset - x->offset;
    uint8_t *batch = x->bytes + before;
    uint32_t salt = x->segment->salt;
    struct batch_erased e;

    x->unreadable = n < before + x->batch.bytes || !opens(batch, x->batch.bytes, salt);
    if (x->unreadable || !batch_erase(batch, x->batch.bytes, salt, x->seq, &e))
        return false;
    x->head = sectors_of(x, 0, e.head, n);
    x->record = sectors_of(x, e.from, e.end, n);
    if (x->record.at <= x->head.at + x->head.n && x->record.n <= IMAGE_MAX) {
        x->head.n = (size_t) (x->record.at + x->record.n - x->head.at);
        x->record.n = 0;
    }
    return true;
}

static void read_run(struct io_work *work)
{
    struct erasure *x = CONTAINER_OF(work, struct erasure, work);
    fs_fd fd = fs_open(work->fs, x->segment->path, IO_FILE_READ);

    x->result = fd;
    if (fd < 0)
        return;
    x->offset = x->batch.offset / SECTOR * SECTOR;
    uint64_t n = round_up(x->batch.offset + x->batch.bytes, SECTOR) - x->offset;
    x->bytes = mem_try_alloc(n);
    int64_t got = x->bytes == NULL ? -ENOMEM : fs_read(work->fs, fd, x->bytes, n, x->offset);
    fs_close(work->fs, fd);
    x->result = got < 0 ? (int) got : 0;
    if (got >= 0 && change(x, (uint64_t) got))
        return;
    mem_free(x->bytes);
    x->bytes = NULL;
}

/* The intent stays. */
static void leave_for_later(struct erasure *x, enum err err)
{
    x->segment->secret = x->later = true;
    finish(x, err);
}

static void give_up(struct erasure *x)
{
    LOG_WRN(x->segment->stream->store->log,
            "%s: message %llu is removed, but its batch at offset %llu is damaged and keeps its "
            "bytes",
            x->segment->path, (unsigned long long) x->seq, (unsigned long long) x->batch.offset);
    leave_for_later(x, ERR_CORRUPT);
}

static void read_done(struct io_op *op)
{
    struct erasure *x = CONTAINER_OF(op, struct erasure, work.op);

    if (!store_work_done(x->segment->stream->store, &x->work))
        return;
    x->logged.done = images_logged;
    if (x->result < 0)
        fail(x);
    else if (x->bytes == NULL && x->unreadable)
        give_up(x);
    else if (x->bytes == NULL)
        finish(x, ERR_OK);
    else if (x->segment->stream->state != STREAM_ACTIVE)
        finish(x, ERR_FAILED);
    else if (!log_images(x))
        submit(x, write_run, write_done);
}

/* ---- its turn -------------------------------------------------------------------------------- */

/* Is the batch in the file? If not, asks for it. */
static bool in_file(struct erasure *x)
{
    struct segment *seg = x->segment;
    uint32_t entry;

    if (!segment_find(seg, x->seq, &entry))
        return true;
    const struct store_batch *b = seg->entries[entry].mem;
    if (b == NULL || b->written)
        return true;
    segment_flush(seg);
    return false;
}

static void begin(struct erasure *x)
{
    list_remove(&x->link);
    x->begun = x->segment->erasing = true;
    submit(x, read_run, read_done);
}

static void erase_logged(struct store_req *req, enum err err)
{
    struct erasure *x = CONTAINER_OF(req, struct erasure, logged);

    if (err == ERR_OK && x->gone) {
        finish(x, ERR_OK);
        return;
    }
    if (err != ERR_OK || x->segment->stream->state != STREAM_ACTIVE) {
        finish(x, err != ERR_OK ? err : ERR_FAILED);
        return;
    }
    list_push_back(&x->segment->stream->store->erasures, &x->link);
}

/* Only the first generation has plain bodies for certain, and only that is what images in the log
 * are for. Of a Kafka batch the messages are the owner's. */
static bool in_place(const struct erasure *x)
{
    const struct segment *seg = x->segment;

    return seg->generation == 0 && seg->crypt == NULL && x->batch.kind != BATCH_KAFKA;
}

static void refuse(struct erasure *x)
{
    struct segment *seg = x->segment;

    LOG_WRN(seg->stream->store->log,
            "%s: message %llu is removed, but its Kafka batch can not be written without it",
            seg->path, (unsigned long long) x->seq);
    leave_for_later(x, ERR_UNSUPPORTED);
}

bool erasures_want_rewrite(const struct segment *seg)
{
    LIST_FOREACH(it, &seg->erasures)
    {
        const struct erasure *x = LIST_ENTRY(it, struct erasure, of_segment);
        if (list_linked(&x->link) && !in_place(x))
            return true;
    }
    return false;
}

static void move_to(struct erasure *x, struct segment *to)
{
    uint32_t entry;

    leave_segment(x); /* whoever rewrites it holds it, too */
    join_segment(x, to);
    if (segment_find(to, x->seq, &entry))
        x->batch = to->entries[entry].b;
}

void erasures_rewritten(struct segment *from, struct segment *to, const struct seqset *late)
{
    LIST_FOREACH_SAFE(it, tmp, &from->erasures)
    {
        struct erasure *x = LIST_ENTRY(it, struct erasure, of_segment);
        bool waits = list_linked(&x->link);
        ASSERT(!x->begun);
        x->gone = !seqset_has(late, x->seq);
        if (x->gone && waits)
            finish_replaced(x);
        else
            move_to(x, to);
    }
}

/* Its segment may be read for that, with the record as it was. A store that closes does not wait.
 */
static bool index_is_coming(const struct erasure *x)
{
    struct store_stream *s = x->segment->stream;

    if (s->loader != NULL && (s->store->closing || !index_comes(s)))
        index_load_all(s);
    return s->loader != NULL;
}

/* Its segment is written anew as soon as it is sealed. */
static void rewrite_without(struct erasure *x)
{
    struct segment *seg = x->segment;

    if (PLANTED(PLANT_ERASE_EARLY)) {
        leave_for_later(x, ERR_OK);
    } else if (seg->state == SEGMENT_SEALED && (seg->untrimmed || !rewrite_possible(seg))) {
        refuse(x);
    } else if (seg->stream->store->closing) {
        leave_for_later(x, ERR_CLOSED);
    } else if (seg->state == SEGMENT_SEALED) {
        rewrite_want(seg, REWRITE_ERASE);
    } else if (seg->state == SEGMENT_ACTIVE) {
        stream_end_segment(seg->stream);
    }
}

void erasures_step(struct store *st)
{
    LIST_FOREACH_SAFE(it, tmp, &st->erasures)
    {
        struct erasure *x = LIST_ENTRY(it, struct erasure, link);
        if (x->segment->stream->state != STREAM_ACTIVE)
            finish(x, ERR_FAILED);
        else if (x->segment->rewrite != NULL || x->segment->erasing || index_is_coming(x))
            continue;
        else if (!in_place(x))
            rewrite_without(x);
        else if (in_file(x))
            begin(x);
    }
}

/* NULL when no batch holds it. */
static struct erasure *erasure_new(struct store_stream *s, uint64_t seq)
{
    struct segment *seg = stream_segment_of(s, seq);
    struct erasure *x;
    uint32_t entry, i;

    if (seg == NULL || !segment_find(seg, seq, &entry) || seg->entries[entry].b.first_seq > seq)
        return NULL;
    if (!entry_find(seg, &seg->entries[entry], seq, &i))
        return NULL; /* it was rewritten without it */
    x = mem_zalloc(sizeof(*x));
    list_init(&x->link);
    list_init(&x->of_segment);
    join_segment(x, seg);
    x->batch = seg->entries[entry].b;
    x->seq = seq;
    x->logged.done = erase_logged;
    wash_begin(s->store);
    return x;
}

struct store_req *erase_start(struct store_stream *s, uint64_t seq, struct store_req *req)
{
    struct erasure *x = erasure_new(s, seq);

    ASSERT(x != NULL);
    x->req = req;
    return &x->logged;
}

void erase_resume(struct store_stream *s)
{
    uint64_t first, last, at = 0;

    while (seqset_range_from(&s->rec.erase, at, &first, &last)) {
        for (uint64_t seq = first; seq <= last; seq++) {
            struct erasure *x = erasure_new(s, seq);
            if (x != NULL)
                list_push_back(&s->store->erasures, &x->link);
            else
                seqset_remove(&s->rec.erase, seq, seq);
        }
        at = last + 1;
    }
}
