/*
 * log_wash.c - what becomes of erased messages in a worker's commit log.
 *
 * A small message goes through the log on its way into its segment, and the log's files are used
 * again and again: what was written there stays until it is written over, on an idle server for
 * months. So when messages have been erased from their segments the log is washed:
 *
 *     1. a file in log/, the mark, says so from before the first of these erasures is answered
 *        until the end. A start that finds it (or an intent to erase in the log) uses none of the
 *        old files again;
 *     2. all files that were ever written to are stained, and so is a spare that has been one. A
 *        second later, so that erasing many in a row is one washing, a stained spare gives way to
 *        one made anew, and then the current file to that. Behind it the old files are freed as
 *        always (log_files.c), and stained ones are removed instead of used again;
 *     3. when no file is stained any more, and those removed are gone, durably, the mark goes.
 *
 * Where a file or the mark can not be removed the mark stays, and the next start removes both.
 *
 * The next washing begins WASH_PAUSE_NS after that at the earliest: who erases all day pays a new
 * log file for each. On a server whose log is in use the new file is written over first, as every
 * spare is (log_spare.c); where little was logged that is not worth it.
 *
 * Without space for the mark or for a file erasing goes on, the mark is missing, and the stains
 * wait for the spare that clog_retry_spare makes some day.
 */
#include "lib/base/mem.h"
#include "store/store_impl.h"

#include <errno.h>
#include <string.h>

#define WASH_DELAY_NS 1000000000ull
#define WASH_PAUSE_NS 30000000000ull
/* What a start writes over of a fresh file, too (recover_write.c). */
#define LITTLE_BYTES (4u << 20)

static void wash_fire(struct wheel_timer *timer)
{
    CONTAINER_OF(timer, struct log_wash, timer)->due = true;
}

void wash_init(struct store *st)
{
    struct log_wash *w = &st->clog.wash;

    list_init(&w->reqs);
    wheel_timer_init(&w->timer, wash_fire);
}

void wash_deinit(struct store *st)
{
    ASSERT(list_empty(&st->clog.wash.reqs));
    io_timer_stop(st->io, &st->clog.wash.timer);
}

/* ---- stains ---------------------------------------------------------------------------------- */

static void stain(struct clog_file *f)
{
    if (f != NULL)
        f->stained = f->stained || !f->fresh;
}

static void stain_all(struct clog *l)
{
    LIST_FOREACH(it, &l->files)
    stain(LIST_ENTRY(it, struct clog_file, link));
    stain(l->spare);
    stain(l->coming);
}

static bool any_stained(const struct clog *l)
{
    LIST_FOREACH(it, &l->files)
    if (LIST_ENTRY(it, struct clog_file, link)->stained)
        return true;
    return (l->spare != NULL && l->spare->stained) || (l->coming != NULL && l->coming->stained);
}

/* ---- the mark -------------------------------------------------------------------------------- */

static void mark_run(struct io_work *work)
{
    struct log_wash *w = CONTAINER_OF(work, struct log_wash, work);
    struct store *st = CONTAINER_OF(w, struct store, clog.wash);
    char path[STORE_PATH];

    store_path_mark(st->dir, path, st->worker);
    if (w->mark == WASH_UNMARKING) { /* the files that it was for are gone first */
        w->result = fs_sync_parent(work->fs, path);
        if (w->result == 0)
            w->result = fs_unlink(work->fs, path);
        if (w->result == -ENOENT)
            w->result = 0;
        return;
    }
    fs_fd fd = fs_open(work->fs, path, IO_FILE_WRITE | IO_FILE_CREATE);
    if (fd >= 0)
        fs_close(work->fs, fd);
    w->result = fd < 0 && fd != -EEXIST ? fd : 0;
    if (w->result == 0)
        w->result = fs_sync_parent(work->fs, path);
}

static void answer(struct log_wash *w)
{
    struct list *it;

    while ((it = list_pop_front(&w->reqs)) != NULL) {
        struct store_req *req = LIST_ENTRY(it, struct store_req, link);
        req->done(req, ERR_OK);
    }
}

static void submit(struct store *st, void (*done)(struct io_op *op))
{
    struct log_wash *w = &st->clog.wash;

    w->work = (struct io_work){.run = mark_run};
    io_op_init(&w->work.op, done);
    store_work_submit(st, &w->work);
}

static void marked(struct io_op *op)
{
    struct log_wash *w = CONTAINER_OF(op, struct log_wash, work.op);
    struct store *st = CONTAINER_OF(w, struct store, clog.wash);

    if (!store_work_done(st, &w->work))
        return;
    if (w->result < 0)
        LOG_WRN(st->log,
                "log: can not be marked, copies of messages erased now may outlive a kill: %s",
                strerror(-w->result));
    w->mark = WASH_MARKED;
    answer(w);
}

static void mark(struct store *st)
{
    st->clog.wash.mark = WASH_MARKING;
    submit(st, marked);
}

static void unmarked(struct io_op *op)
{
    struct log_wash *w = CONTAINER_OF(op, struct log_wash, work.op);
    struct store *st = CONTAINER_OF(w, struct store, clog.wash);

    if (!store_work_done(st, &w->work))
        return;
    w->mark = w->result < 0 ? WASH_MARKED : WASH_NONE;
    if (w->mark == WASH_MARKED) {
        w->keep = true;
        LOG_WRN(st->log, "log: its mark can not be removed: %s", strerror(-w->result));
        answer(w);
    } else if (w->erasures > 0 || !list_empty(&w->reqs) || any_stained(&st->clog)) {
        mark(st);
    }
}

/* ---- erasures ------------------------------------------------------------------------------- */

static void plan(struct store *st)
{
    struct log_wash *w = &st->clog.wash;
    uint64_t at = io_now(st->io) + WASH_DELAY_NS;

    if (!w->due && !wheel_pending(&w->timer) && !st->closing)
        io_timer_start(st->io, &w->timer, at > w->not_before ? at : w->not_before);
}

void wash_adopt(struct store *st)
{
    stain_all(&st->clog);
    plan(st);
    mark(st);
}

void wash_begin(struct store *st)
{
    struct log_wash *w = &st->clog.wash;

    w->erasures++;
    if (w->mark == WASH_NONE)
        mark(st);
}

void wash_end(struct store *st, struct store_req *req, enum err err)
{
    struct log_wash *w = &st->clog.wash;

    w->erasures--;
    stain_all(&st->clog);
    plan(st);
    if (req == NULL)
        return;
    if (err != ERR_OK || w->mark == WASH_MARKED) {
        req->done(req, err);
        return;
    }
    list_init(&req->link);
    list_push_back(&w->reqs, &req->link);
}

/* ---- washing --------------------------------------------------------------------------------- */

/* The current file is left for a clean one. */
static void leave(struct store *st)
{
    struct clog *l = &st->clog;
    struct log_wash *w = &l->wash;
    bool stained = clog_writing(l)->stained;

    if (l->spare_coming || l->begin_file) {
        return; /* the file is begun by the next frame */
    } else if (!stained && (l->spare == NULL || !l->spare->stained)) {
        w->due = false;
    } else if (l->spare == NULL) {
        return; /* it comes when the file before the current one goes */
    } else if (l->spare->stained) {
        clog_replace_spare(st);
    } else if (l->offset <= LITTLE_BYTES || !clog_prewrite(st)) {
        clog_switch(st);
        clog_put_start(st);
        w->due = false;
        w->not_before = io_now(st->io) + WASH_PAUSE_NS;
        clog_maintain(st);
    }
}

void wash_step(struct store *st)
{
    struct clog *l = &st->clog;
    struct log_wash *w = &l->wash;

    if ((!w->due && w->mark != WASH_MARKED) || l->failed || st->closing)
        return;
    if (w->due)
        leave(st);
    if (!w->due && w->mark == WASH_MARKED && !w->keep && w->erasures == 0 && l->dropping == 0 &&
        !any_stained(l)) {
        w->mark = WASH_UNMARKING;
        submit(st, unmarked);
    }
}
