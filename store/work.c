/*
 * work.c - blocking work for a store's files: a few at a time.
 *
 * io takes a bounded number of works and answers -EAGAIN beyond, and reads wait behind them on the
 * same threads. So the store hands over WORKS_MAX of its own at most; the others wait here, in
 * order. Ten thousand streams that are created at once are ten thousand files to be made.
 */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "store/store_impl.h"

#include <errno.h>

#define WORKS_MAX 32u

static void submit_some(struct store *st)
{
    while (st->works < WORKS_MAX && !list_empty(&st->work_queue)) {
        struct list *it = list_pop_front(&st->work_queue);
        struct io_op *op = LIST_ENTRY(it, struct io_op, link);
        st->works++;
        io_work_submit(st->io, CONTAINER_OF(op, struct io_work, op));
    }
}

void store_work_submit(struct store *st, struct io_work *work)
{
    st->jobs++;
    list_init(&work->op.link);
    list_push_back(&st->work_queue, &work->op.link);
    submit_some(st);
}

bool store_work_done(struct store *st, struct io_work *work)
{
    st->works--;
    if (work->op.res == -EAGAIN) { /* others have filled io's queue: store_step tries again */
        list_push_front(&st->work_queue, &work->op.link);
        return false;
    }
    ASSERT(work->op.res == 0);
    st->jobs--;
    submit_some(st);
    return true;
}

void store_works_step(struct store *st)
{
    submit_some(st);
}

/* ---- removing a file ------------------------------------------------------------------------- */

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

    if (!store_work_done(job->store, &job->work))
        return;
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
    store_work_submit(st, &job->work);
}
