/*
 * load_index_read.c - pieces of segments' files for the loader of an index: read on a work thread,
 * or at once for somebody who can not wait.
 */
#include "lib/base/mem.h"
#include "store/load_index.h"

#include <errno.h>

static enum err read_bytes(struct io_fs *fs, struct read_job *job)
{
    fs_fd fd = fs_open(fs, job->path, IO_FILE_READ);

    if (fd < 0)
        return err_from_errno(fd);
    job->bytes = mem_try_alloc(job->n);
    int64_t got = job->bytes == NULL ? -ENOMEM : fs_read(fs, fd, job->bytes, job->n, job->offset);
    fs_close(fs, fd);
    if (got < 0)
        return err_from_errno((int) got);
    return (size_t) got == job->n ? ERR_OK : ERR_IO;
}

static void read_now(struct io_fs *fs, struct read_job *job)
{
    job->err = job->n > 0 ? read_bytes(fs, job)
                          : segment_index_read(fs, job->path, job->file_bytes, job->salt, &job->x);
}

static void run_read(struct io_work *work)
{
    read_now(work->fs, CONTAINER_OF(work, struct read_job, work));
}

void loader_job_free(struct read_job *job)
{
    segment_index_deinit(&job->x);
    mem_free(job->bytes);
    mem_free(job->path);
    mem_free(job);
}

static void read_done(struct io_op *op)
{
    struct read_job *job = CONTAINER_OF(op, struct read_job, work.op);

    if (!store_work_done(job->store, &job->work))
        return;
    if (job->loader != NULL) {
        job->loader->task.parked = false;
        stream_has_tasks(job->loader->stream);
        return;
    }
    loader_job_free(job);
}

void loader_job_start(struct index_loader *l, struct read_job *job, bool now)
{
    struct store *st = l->stream->store;

    job->store = st;
    job->path = mem_strdup(l->seg->path);
    l->job = job;
    if (now) {
        read_now(st->dir->options.fs, job);
        return;
    }
    job->loader = l;
    job->work.run = run_read;
    io_op_init(&job->work.op, read_done);
    l->task.parked = true;
    store_work_submit(st, &job->work);
}

struct read_job *loader_job_finished(struct index_loader *l, bool now)
{
    struct read_job *job = l->job;

    if (job == NULL || (!now && l->task.parked))
        return NULL;
    if (now && l->task.parked) { /* whoever waits can not wait for the work thread */
        job->loader = NULL;
        l->task.parked = false;
        job = NULL;
    }
    l->job = NULL;
    return job;
}

void loader_job_drop(struct index_loader *l)
{
    struct read_job *job = l->job;

    l->job = NULL;
    if (job == NULL)
        return;
    if (l->task.parked)
        job->loader = NULL;
    else
        loader_job_free(job);
    l->task.parked = false;
}
