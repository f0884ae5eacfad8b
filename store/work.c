/*
 * work.c - blocking work for a store's files: a few at a time.
 *
 * io takes a bounded number of works and answers -EAGAIN beyond, and reads wait behind them on the
 * same threads. So the store hands over WORKS_MAX of its own at most; the others wait here, in
 * order. Ten thousand streams that are created at once are ten thousand files to be made.
 */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "store/pool.h"
#include "store/store_impl.h"

#include <errno.h>
#include <string.h>

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

/* ---- a file that nobody needs ---------------------------------------------------------------- */

struct retire_job {
    struct io_work work;
    struct store *store;
    char *path;
    uint64_t bytes;
    bool keep;          /* in quarantine */
    bool of_log;        /* it is counted there until it has gone */
    struct list erased; /* told when it has gone */
    int result;
    char to[STORE_PATH];
};

/* Durably: of the first files of worker 0 only the last one says that the generation is complete,
 * and must not go before the others have. */
static int drop_log(struct store *st, struct io_fs *fs, const char *path)
{
    int result = store_pool_drop(st->dir->pool, fs, path);

    return result == 0 || result == -ENOENT ? fs_sync_parent(fs, path) : result;
}

static void retire_run(struct io_work *work)
{
    struct retire_job *job = CONTAINER_OF(work, struct retire_job, work);

    if (job->keep)
        job->result = store_set_aside(job->store->dir, job->path, job->to);
    else if (job->of_log)
        job->result = drop_log(job->store, work->fs, job->path);
    else
        store_pool_retire(job->store->dir->pool, work->fs, job->path, job->bytes);
}

static void retire_done(struct io_op *op)
{
    struct retire_job *job = CONTAINER_OF(op, struct retire_job, work.op);

    if (!store_work_done(job->store, &job->work))
        return;
    if (job->keep && job->result == 0)
        LOG_WRN(job->store->log, "%s: all that was left in it is lost to damage; moved to %s",
                job->path, job->to);
    else if (job->keep)
        LOG_WRN(job->store->log, "%s: can not be moved to quarantine: %s", job->path,
                strerror(-job->result));
    if (job->of_log)
        clog_dropped(job->store, job->path, job->result);
    erasures_tell(job->store, &job->erased);
    mem_free(job->path);
    mem_free(job);
}

static void submit_retire(struct store *st, const char *path, const struct retire_job *as,
                          struct list *erased)
{
    struct retire_job *job = mem_alloc(sizeof(*job));

    *job = *as;
    list_init(&job->erased);
    if (erased != NULL)
        list_splice(&job->erased, erased);
    job->store = st;
    job->path = mem_strdup(path);
    job->work.run = retire_run;
    io_op_init(&job->work.op, retire_done);
    store_work_submit(st, &job->work);
}

void store_retire(struct store *st, const char *path, uint64_t bytes)
{
    submit_retire(st, path, &(struct retire_job){.bytes = bytes}, NULL);
}

void store_retire_log(struct store *st, const char *path)
{
    st->clog.dropping++;
    submit_retire(st, path, &(struct retire_job){.of_log = true}, NULL);
}

void store_retire_erased(struct store *st, const char *path, struct list *erased)
{
    submit_retire(st, path, &(struct retire_job){0}, erased);
}

void store_keep_damaged(struct store *st, const char *path)
{
    submit_retire(st, path, &(struct retire_job){.keep = true}, NULL);
}

/* ---- the pool -------------------------------------------------------------------------------- */

/* After a step that took t ns the pool is left alone for as many times t. */
#define FILL_PAUSE 4u

static void fill_run(struct io_work *work)
{
    store_pool_fill(CONTAINER_OF(work, struct store, fill)->dir->pool, work->fs);
}

static void fill_pause(struct wheel_timer *timer)
{
    CONTAINER_OF(timer, struct store, fill_timer)->fill_paused = false;
}

static void fill_done(struct io_op *op)
{
    struct store *st = CONTAINER_OF(op, struct store, fill.op);

    if (!store_work_done(st, &st->fill))
        return;
    st->fill_running = false;
    store_pool_fill_end(st->dir->pool);
    if (st->closing)
        return;
    st->fill_paused = true;
    io_timer_start(st->io, &st->fill_timer,
                   io_now(st->io) + FILL_PAUSE * (io_now(st->io) - st->fill_begun));
}

void store_fill_init(struct store *st)
{
    wheel_timer_init(&st->fill_timer, fill_pause);
}

void store_fill_step(struct store *st)
{
    if (!store_pool_hungry(st->dir->pool) || st->fill_running || st->fill_paused || st->closing ||
        !store_pool_fill_begin(st->dir->pool))
        return;
    st->fill_running = true;
    st->fill_begun = io_now(st->io);
    st->fill.run = fill_run;
    io_op_init(&st->fill.op, fill_done);
    store_work_submit(st, &st->fill);
}
