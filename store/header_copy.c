/*
 * header_copy.c - the copy of a stream's record in the header page of its active segment follows an
 * update.
 *
 * The copy is what a start has when the log has lost the record. It is written when the segment is
 * begun, and may be the only one: a stream with few messages has one segment for years. So an
 * update of the stream writes the page anew, in place. It is a durable page that everything in the
 * segment hangs on, so it is written as an erase is (erase.c):
 *
 *     1. the whole page goes into the log as an image (LOG_IMAGE); the log file is pinned;
 *     2. when that is durable a work thread writes the page and syncs it;
 *     3. the pin goes.
 *
 * A crash in between leaves a mix of the old page and the new one, and the start puts the image in
 * its place. Nobody waits for any of it: the update is durable in the log.
 *
 * Only a segment that has a durable batch is meant: an empty one may be withdrawn, and its number
 * given to another. One at a time for each segment; what comes meanwhile is done once more.
 */
#include "lib/base/mem.h"
#include "store/store_impl.h"

#include <string.h>

struct header_copy {
    struct io_work work;
    struct store_req logged;
    struct segment *segment;
    struct clog_file *pinned;
    uint8_t *page;
    int result;
};

static void finish(struct header_copy *h)
{
    struct segment *seg = h->segment;
    bool again = seg->header_again;

    if (h->result < 0)
        stream_fail(seg->stream, err_from_errno(h->result), "writing the header of %s: %s",
                    seg->path, strerror(-h->result));
    clog_unpin(seg->stream->store, h->pinned);
    mem_free(h->page);
    mem_free(h);
    seg->jobs--;
    seg->header_coming = seg->header_again = false;
    if (again)
        segment_copy_record(seg);
    segment_advance(seg);
}

static void write_run(struct io_work *work)
{
    struct header_copy *h = CONTAINER_OF(work, struct header_copy, work);
    fs_fd fd = fs_open(work->fs, h->segment->path, IO_FILE_WRITE);

    h->result = fd;
    if (fd < 0)
        return;
    h->result = fs_write(work->fs, fd, h->page, SEGMENT_HEADER, 0);
    if (h->result == 0)
        h->result = fs_sync(work->fs, fd);
    fs_close(work->fs, fd);
}

static void write_done(struct io_op *op)
{
    struct header_copy *h = CONTAINER_OF(op, struct header_copy, work.op);

    if (store_work_done(h->segment->stream->store, &h->work))
        finish(h);
}

static void image_logged(struct store_req *req, enum err err)
{
    struct header_copy *h = CONTAINER_OF(req, struct header_copy, logged);

    if (err != ERR_OK || h->segment->stream->state != STREAM_ACTIVE) {
        finish(h);
        return;
    }
    h->work.run = write_run;
    io_op_init(&h->work.op, write_done);
    store_work_submit(h->segment->stream->store, &h->work);
}

void segment_copy_record(struct segment *seg)
{
    struct store_stream *s = seg->stream;

    if (!stream_in_file(s) || s->state != STREAM_ACTIVE || seg->state != SEGMENT_ACTIVE ||
        seg->generation != 0 || !seg->header_durable || seg->nentries == 0 ||
        s->store->close_state != STORE_CLOSE_NONE)
        return;
    if (seg->header_coming) {
        seg->header_again = true;
        return;
    }
    struct header_copy *h = mem_zalloc(sizeof(*h));
    h->segment = seg;
    h->page = segment_make_header(seg);
    h->logged.done = image_logged;
    h->pinned = clog_pin(s->store);
    seg->header_coming = true;
    seg->jobs++;
    if (!clog_put_image(s->store, s->object, seg->number, 0,
                        str_from((const char *) h->page, SEGMENT_HEADER), &h->logged))
        finish(h); /* the log's files are too small for it */
}
