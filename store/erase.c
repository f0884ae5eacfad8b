/*
 * erase.c - removing a message so that its bytes are gone from the segment, too.
 *
 *     1. the message is removed in memory, and a delta with the intent to erase is logged;
 *     2. when that is durable, and the segment's file has the batch at all, a work thread reads the
 *        batch, zeroes the record, clears its table entry, writes the batch back in place and
 * syncs;
 *     3. the intent leaves the stream's record (with the next full one), the request completes.
 *
 * A crash after 1 leaves the intent in the log; the start that follows does 2. The batch is written
 * in place, over pages that are durable already: should the write be torn, the intent says that it
 * is to be done again, and the neighbours' bytes are the same before and after. Copies of the
 * message may live on in the commit log until its files have been recycled, and in batches in
 * memory.
 */
#include "lib/base/mem.h"
#include "store/store_impl.h"

#include <errno.h>
#include <string.h>

struct erasure {
    struct list link; /* store->erasures, while it waits for the batch to be written */
    struct io_work work;
    struct store_req logged;
    struct store_req *req; /* the owner's */
    struct segment *segment;
    struct segment_batch batch;
    uint64_t seq;
    int result;
};

static int overwrite(struct io_fs *fs, struct erasure *x)
{
    fs_fd fd = fs_open(fs, x->segment->path, IO_FILE_WRITE);
    uint8_t *bytes;
    int64_t n;

    if (fd < 0)
        return fd;
    bytes = mem_try_alloc(x->batch.bytes);
    if (bytes == NULL) {
        fs_close(fs, fd);
        return -ENOMEM;
    }
    n = fs_read(fs, fd, bytes, x->batch.bytes, x->batch.offset);
    int result = n < 0 ? (int) n : 0;
    if (result == 0 && n == x->batch.bytes &&
        batch_erase(bytes, x->batch.bytes, x->segment->salt, x->seq)) {
        result = fs_write(fs, fd, bytes, x->batch.bytes, x->batch.offset);
        if (result == 0)
            result = fs_sync(fs, fd);
    }
    mem_free(bytes);
    fs_close(fs, fd);
    return result;
}

static void erase_run(struct io_work *work)
{
    struct erasure *x = CONTAINER_OF(work, struct erasure, work);

    x->result = overwrite(work->fs, x);
}

static void finish(struct erasure *x, enum err err)
{
    struct segment *seg = x->segment;
    struct store_req *req = x->req;

    list_remove(&x->link);
    mem_free(x);
    seg->jobs--;
    if (req != NULL)
        req->done(req, err);
    segment_advance(seg);
}

static void erase_done(struct io_op *op)
{
    struct erasure *x = CONTAINER_OF(op, struct erasure, work.op);
    struct store_stream *s = x->segment->stream;

    if (!store_work_done(s->store, &x->work))
        return;
    if (x->result < 0)
        stream_fail(s, err_from_errno(x->result), "erasing in %s: %s", x->segment->path,
                    strerror(-x->result));
    else
        seqset_remove(&s->rec.erase, x->seq, x->seq);
    finish(x, x->result < 0 ? err_from_errno(x->result) : ERR_OK);
}

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
    struct store *st = x->segment->stream->store;

    list_remove(&x->link);
    x->work.run = erase_run;
    io_op_init(&x->work.op, erase_done);
    store_work_submit(st, &x->work);
}

static void erase_logged(struct store_req *req, enum err err)
{
    struct erasure *x = CONTAINER_OF(req, struct erasure, logged);

    if (err != ERR_OK || x->segment->stream->state != STREAM_ACTIVE) {
        finish(x, err != ERR_OK ? err : ERR_FAILED);
        return;
    }
    list_push_back(&x->segment->stream->store->erasures, &x->link);
}

void erasures_step(struct store *st)
{
    LIST_FOREACH_SAFE(it, tmp, &st->erasures)
    {
        struct erasure *x = LIST_ENTRY(it, struct erasure, link);
        if (x->segment->stream->state != STREAM_ACTIVE)
            finish(x, ERR_FAILED);
        else if (in_file(x))
            begin(x);
    }
}

struct store_req *erase_start(struct store_stream *s, uint64_t seq, struct store_req *req)
{
    struct erasure *x = mem_zalloc(sizeof(*x));
    uint32_t entry;

    list_init(&x->link);
    x->segment = stream_segment_of(s, seq);
    bool found = segment_find(x->segment, seq, &entry);
    ASSERT(found);
    x->batch = x->segment->entries[entry].b;
    x->seq = seq;
    x->req = req;
    x->logged.done = erase_logged;
    x->segment->jobs++;
    return &x->logged;
}
