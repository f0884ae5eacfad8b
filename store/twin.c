/*
 * twin.c - the twin of a worker's commit log: a second copy of all it says of objects.
 *
 * The log is the only place that knows what was removed, how streams are limited, what consumers
 * have acknowledged. So every record of it that is not data is written a second time, to files of
 * another directory, which a start reads when the log turns out to be damaged, gone, or an old copy
 * (recover_twin.c). Messages are not in it: their second place is the segment.
 *
 *     frame of the log durable -> its records wait in `pending`
 *     a second later           -> a work thread writes them behind the others, and a mark:
 *                                 everything up to this commit of the log is here
 *     ten seconds later        -> it is synced; also at a clean close, and before the log lets go
 *                                 of a file
 *
 * So nobody waits for the twin, and it is never ahead of the log. What a loss of the log costs:
 * the last second after a kill, ten after a power cut, nothing after a clean close.
 *
 * Files. The first one, the base, begins with what the log files hold that are there at that
 * moment; it is written under a temporary name, so that a twin with a name is whole from its
 * beginning. When the worker that comes last has its base, the twins of earlier starts go: until
 * then they are the ones that count. From then on the twin changes files when the log does, under
 * the same numbers, and a file of it goes after the log's with that number has gone. The log waits
 * with letting go until what replaces the old records is synced in the twin: a record that says
 * that an object is gone must not be missing where the object still is.
 *
 * Failure. A twin that can not be written (no space, an error) goes away as a whole, which is
 * logged, and the server goes on without. Only when it is gone for good, names synced, may the log
 * let go of files: a twin that came back after a power cut would know nothing of what followed, and
 * a start that misses those files would believe it. The next time the log begins a file it is begun
 * anew.
 *
 * `pending` belongs to the loop, `job` to the work thread while it runs, one at a time.
 */
#include "store/twin.h"

#include "lib/base/mem.h"
#include "store/pool.h"
#include "store/recover_impl.h"
#include "store/store_impl.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define WRITE_NS 1000000000ull
#define SYNC_NS 10000000000ull
/* Written earlier when so much waits; given up when the disk does not take it. */
#define PENDING_MUCH (256u << 10)
#define PENDING_MAX (64u << 20)
#define FRAME_BYTES (256u << 10)

/* In `pending`; the record's bytes follow, padded to 8. */
struct entry {
    uint64_t file; /* number of the log file that has it */
    struct log_record r;
    uint64_t n;
};

/* ---- on a work thread: one file -------------------------------------------------------------- */

static void path_of(const struct twin_job *job, char out[STORE_PATH], uint64_t number)
{
    const struct store *st = job->store;

    store_path_twin(st->dir, out, st->generation, st->worker, number);
}

static int sync_names(struct twin_job *job, struct io_fs *fs)
{
    char path[STORE_PATH];

    store_path(job->store->dir, path, "twin");
    return fs_sync_dir(fs, path);
}

/* What an attempt that failed left there must not be in the way. */
static int create(struct io_fs *fs, const char *path, fs_fd *fd)
{
    *fd = fs_open(fs, path, IO_FILE_WRITE | IO_FILE_CREATE);
    if (*fd == -EEXIST && fs_unlink(fs, path) == 0)
        *fd = fs_open(fs, path, IO_FILE_WRITE | IO_FILE_CREATE);
    return *fd < 0 ? *fd : 0;
}

static int begin_file(struct twin_job *job, struct io_fs *fs, const char *path, uint64_t number)
{
    struct store *st = job->store;
    struct log_header h = {.twin = true,
                           .generation = st->generation,
                           .worker = st->worker,
                           .workers = st->dir->options.workers,
                           .number = number,
                           .first_commit = job->commit,
                           .key_id = st->clog.crypt.key.id};
    uint8_t *page = mem_alloc(LOG_HEADER);
    int res = create(fs, path, &job->fd);

    memcpy(h.store, st->uuid, sizeof(h.store));
    log_header_encode(&h, page);
    if (res == 0)
        res = fs_write(fs, job->fd, page, LOG_HEADER, 0);
    mem_free(page);
    job->number = number;
    job->salt = h.salt;
    job->offset = LOG_HEADER;
    job->name_synced = false;
    return res;
}

static int flush(struct twin_job *job, struct io_fs *fs)
{
    struct log_frame *f = &job->frame;

    if (f->count == 0)
        return 0;
    job->prev_crc = log_frame_seal(f, job->synced, job->prev_crc, 0);
    int res = fs_write(fs, job->fd, f->meta.p, f->meta.n, job->offset);
    if (res == 0)
        res = fs_write(fs, job->fd, f->body.p, f->body.n, job->offset + f->meta.n);
    job->offset += f->meta.n + f->body.n;
    job->commit++;
    f->count = 0;
    return res;
}

static int add(struct twin_job *job, struct io_fs *fs, const struct log_record *r)
{
    struct log_frame *f = &job->frame;
    int res = 0;

    if (f->count > 0 && (log_frame_bytes(f) + log_record_bytes(r->bytes.n) > FRAME_BYTES ||
                         !log_frame_fits(f, r->bytes.n)))
        res = flush(job, fs);
    if (f->count == 0)
        log_frame_begin(f, job->salt, job->commit);
    log_frame_add(f, r);
    return res;
}

static int sync_file(struct twin_job *job, struct io_fs *fs)
{
    int res = flush(job, fs);

    if (res == 0)
        res = fs_sync(fs, job->fd);
    if (res == 0 && !job->name_synced)
        res = sync_names(job, fs);
    if (res == 0) {
        job->name_synced = true;
        job->synced = job->commit - 1;
    }
    return res;
}

/* Is it for the twin? Data is not, nor is START, which belongs to the log's files. */
static bool is_meant(const struct log_record *r)
{
    if (PLANTED(PLANT_TWIN_HALF) && r->type == LOG_DELTA)
        return false;
    return r->type == LOG_FULL || r->type == LOG_DELTA || r->type == LOG_DELETE ||
           r->type == LOG_CLOSE;
}

/* ---- on a work thread: the base -------------------------------------------------------------- */

static int copy_frames(struct twin_job *job, struct io_fs *fs, const uint8_t *bytes, size_t n,
                       uint32_t salt)
{
    struct log_frame_view v;
    struct log_record r;
    int got = 0, res = 0;

    for (size_t at = LOG_HEADER; at < n && res == 0; at += v.bytes) {
        if (log_frame_open(bytes + at, n - at, salt, at, &v) != ERR_OK || v.commit > job->base_to)
            break;
        while (res == 0 && (got = log_frame_next(&v, &r)) > 0)
            if (is_meant(&r))
                res = add(job, fs, &r);
        if (got < 0)
            return -EIO;
        job->base_seen = v.commit;
    }
    return res;
}

/* What one log file has; the last one as far as it was written. */
static int copy_log(struct twin_job *job, struct io_fs *fs, uint64_t number)
{
    struct store *st = job->store;
    char path[STORE_PATH];
    uint8_t *bytes = NULL;

    store_path_log(st->dir, path, st->generation, st->worker, number);
    fs_fd fd = fs_open(fs, path, IO_FILE_READ);
    if (fd < 0)
        return fd;
    int64_t n = number == job->base_last ? (int64_t) job->base_bytes : fs_size(fs, fd);
    if (n >= 0)
        bytes = mem_try_alloc((size_t) n + 1);
    if (bytes != NULL)
        n = fs_read(fs, fd, bytes, (size_t) n, 0);
    fs_close(fs, fd);
    int res = n < 0 ? (int) n
              : bytes == NULL
                  ? -ENOMEM
                  : copy_frames(job, fs, bytes, (size_t) n,
                                store_salt_log(st->uuid, st->generation, st->worker, number));
    mem_free(bytes);
    return res;
}

/* Twins that nobody needs any more: of earlier starts, and this worker's own. */
static int remove_files(struct twin_job *job, struct io_fs *fs, bool own)
{
    const struct store *st = job->store;
    char dir[STORE_PATH], path[STORE_PATH + 300], name[320];
    struct rec_names names;
    int res = 0;

    store_path(st->dir, dir, "twin");
    if (rec_list(fs, dir, &names) != ERR_OK)
        return -EIO;
    for (size_t i = 0; i < names.n; i++) {
        uint64_t generation, number;
        uint32_t worker;
        snprintf(name, sizeof(name), "%.255s", names.names[i]);
        size_t n = strlen(name);
        if (n > 4 && strcmp(name + n - 4, ".new") == 0)
            name[n - 4] = '\0';
        bool ours = twin_name_parse(name, &generation, &worker, &number);
        bool mine = ours && generation == st->generation && worker == st->worker;
        if (!ours || (generation >= st->generation && !(own && mine)))
            continue;
        snprintf(path, sizeof(path), "%s/%.255s", dir, names.names[i]);
        int gone = store_pool_drop(st->dir->pool, fs, path);
        res = res < 0 ? res : gone;
    }
    rec_names_free(&names);
    return res;
}

static int write_base(struct twin_job *job, struct io_fs *fs)
{
    char path[STORE_PATH + 8], to[STORE_PATH];
    struct log_record mark = {.type = LOG_MARK, .version = job->base_to};

    job->number = job->lowest = job->base_last;
    job->commit = 1;
    job->synced = job->prev_crc = 0;
    job->frame.count = 0;
    job->base_seen = 0;
    path_of(job, to, job->number);
    snprintf(path, sizeof(path), "%s.new", to);
    int res = begin_file(job, fs, path, job->number);
    for (uint64_t n = job->base_first; n <= job->base_last && res == 0; n++)
        res = copy_log(job, fs, n);
    if (res == 0 && job->base_seen != job->base_to)
        res = -EIO;
    if (res == 0)
        res = add(job, fs, &mark);
    if (res == 0)
        res = sync_file(job, fs);
    if (res == 0)
        res = fs_rename(fs, path, to);
    if (res == 0)
        res = sync_names(job, fs);
    if (res == 0 && !job->counted) {
        job->counted = true;
        if (atomic_fetch_sub(&job->store->dir->twins_missing, 1) == 1)
            remove_files(job, fs, false);
    }
    return res;
}

/* ---- on a work thread: what follows ---------------------------------------------------------- */

static int open_file(struct twin_job *job, struct io_fs *fs)
{
    char path[STORE_PATH];

    if (job->fd >= 0)
        return 0;
    path_of(job, path, job->number);
    job->fd = fs_open(fs, path, IO_FILE_WRITE);
    return job->fd < 0 ? job->fd : 0;
}

/* The log has begun another file. */
static int next_file(struct twin_job *job, struct io_fs *fs, uint64_t number)
{
    char path[STORE_PATH];
    int res = sync_file(job, fs);

    if (res < 0)
        return res;
    fs_close(fs, job->fd);
    job->fd = -1;
    path_of(job, path, number);
    return begin_file(job, fs, path, number);
}

static int write_entries(struct twin_job *job, struct io_fs *fs)
{
    struct log_record mark = {.type = LOG_MARK, .version = job->mark};
    int res = open_file(job, fs);

    for (size_t at = 0; at < job->entries.n && res == 0;) {
        struct entry e;
        memcpy(&e, job->entries.p + at, sizeof(e));
        e.r.bytes = str_from(job->entries.p + at + sizeof(e), e.n);
        if (e.file > job->number)
            res = next_file(job, fs, e.file);
        if (res == 0)
            res = add(job, fs, &e.r);
        at += sizeof(e) + round_up(e.n, 8);
    }
    if (res == 0)
        res = add(job, fs, &mark);
    return res == 0 ? flush(job, fs) : res;
}

/* Oldest first, and that is durable before the next one goes. */
static int drop_files(struct twin_job *job, struct io_fs *fs)
{
    char path[STORE_PATH];
    int res = 0;

    while (job->lowest < job->drop && job->lowest < job->number && res == 0) {
        path_of(job, path, job->lowest++);
        res = store_pool_drop(job->store->dir->pool, fs, path);
        if (res == -ENOENT)
            res = 0;
        else if (res == 0)
            res = sync_names(job, fs);
    }
    return res;
}

static void run(struct io_work *work)
{
    struct twin_job *job = CONTAINER_OF(work, struct twin_job, work);
    struct io_fs *fs = work->fs;

    job->fd = -1;
    job->result = 0;
    if (!job->forget) {
        job->result = job->base ? write_base(job, fs) : 0;
        if (job->result == 0)
            job->result = write_entries(job, fs);
        if (job->result == 0 && job->sync)
            job->result = sync_file(job, fs);
        if (job->fd >= 0)
            fs_close(fs, job->fd);
        if (job->result == 0 && job->sync)
            job->result = drop_files(job, fs);
    }
    if (!job->forget && job->result == 0)
        return;
    job->removed = remove_files(job, fs, true);
    if (job->removed == 0)
        job->removed = sync_names(job, fs);
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static void start(struct twin *t, bool sync);

static bool is_dirty(const struct twin *t)
{
    return t->pending.n > 0 || t->commit != t->job.mark || t->state == TWIN_BASE;
}

static void arm(struct twin *t, uint64_t due)
{
    io_timer_start(t->store->io, &t->timer, due);
}

/* A second from now, unless that is on its way. */
static void arm_write(struct twin *t)
{
    if (t->running || t->armed || t->store->closing)
        return;
    t->armed = true;
    arm(t, io_now(t->store->io) + WRITE_NS);
}

static void forget(struct twin *t)
{
    t->job.forget = true;
    start(t, false);
}

static void fire(struct wheel_timer *timer)
{
    struct twin *t = CONTAINER_OF(timer, struct twin, timer);

    t->armed = false;
    if (!t->running && t->state == TWIN_OFF && !t->gone && !t->store->closing)
        forget(t);
    if (!t->running && t->state != TWIN_OFF && !t->store->closing)
        start(t, t->unsynced && io_now(t->store->io) >= t->sync_due);
}

static void go_off(struct twin *t, const char *why)
{
    LOG_WRN(t->store->log,
            "%s/twin: the second copy of the commit log can not be written: %s; until there is "
            "one again damage to the log is not mended",
            t->store->dir->path, why);
    t->state = TWIN_OFF;
    t->gone = false;
    buf_free(&t->pending);
}

static void done(struct io_op *op)
{
    struct twin *t = CONTAINER_OF(op, struct twin, job.work.op);
    struct store *st = t->store;
    uint64_t now = io_now(st->io);

    if (!store_work_done(st, &t->job.work))
        return;
    t->running = false;
    buf_clear(&t->job.entries);
    if (t->job.result < 0 && t->state != TWIN_OFF)
        go_off(t, strerror(-t->job.result));
    if (t->job.forget || t->job.result < 0) {
        t->job.forget = false;
        t->gone = t->job.removed == 0;
    } else if (t->state == TWIN_OFF) {
        forget(t);
    } else {
        t->state = TWIN_ON;
        if (t->job.sync)
            t->synced = t->job.mark;
        else if (!t->unsynced)
            t->sync_due = now + SYNC_NS;
        t->unsynced = !t->job.sync;
        if (is_dirty(t) || t->sync_wanted)
            arm_write(t);
        else if (t->unsynced && !st->closing)
            arm(t, t->sync_due);
        if (t->sync_wanted && !st->closing)
            start(t, true);
    }
    if (!st->clog.failed && !st->closing)
        clog_maintain(st);
}

static void start(struct twin *t, bool sync)
{
    struct twin_job *job = &t->job;
    struct buf room = job->entries;

    ASSERT(!t->running);
    io_timer_stop(t->store->io, &t->timer);
    t->armed = false;
    job->entries = t->pending;
    t->pending = room;
    job->base = t->state == TWIN_BASE;
    job->sync = sync || job->base;
    job->mark = t->commit;
    job->drop = t->drop;
    if (job->sync)
        t->sync_wanted = false;
    t->running = true;
    job->work.run = run;
    io_op_init(&job->work.op, done);
    store_work_submit(t->store, &job->work);
}

static void put(struct twin *t, uint64_t file, const struct log_record *r)
{
    struct entry e = {.file = file, .r = *r, .n = r->bytes.n};
    size_t padded = round_up(e.n, 8);

    buf_put(&t->pending, &e, sizeof(e));
    char *at = buf_reserve(&t->pending, padded);
    memset(at, 0, padded);
    if (e.n > 0)
        memcpy(at, r->bytes.p, e.n);
    t->pending.n += padded;
}

void twin_frame(struct store *st, const struct log_commit *lc)
{
    struct twin *t = &st->twin;
    size_t at = 0;

    if (t->state == TWIN_OFF)
        return;
    for (uint32_t i = 0; i < lc->frame.count; i++) {
        struct log_record r = log_frame_record(&lc->frame, i, &at);
        if (is_meant(&r))
            put(t, lc->file->number, &r);
    }
    t->commit = lc->number;
    if (t->pending.n > PENDING_MAX) {
        go_off(t, "the disk does not keep up");
        t->job.forget = !t->running;
        if (t->job.forget)
            start(t, false);
    } else if (t->pending.n > PENDING_MUCH && !t->running) {
        start(t, false);
    } else {
        arm_write(t);
    }
}

void twin_end(struct store_stream *s)
{
    struct twin *t = &s->store->twin;
    struct log_record r = {.type = LOG_END,
                           .kind = STORE_KIND_STREAM,
                           .id = s->object->id,
                           .version = stream_proven(s),
                           .parent = (uint64_t) s->last_ts};

    if (t->state == TWIN_OFF || s->store->closing)
        return;
    put(t, clog_writing(&s->store->clog)->number, &r);
    arm_write(t);
}

bool twin_holds(struct store *st, const struct clog_file *f)
{
    struct twin *t = &st->twin;
    const struct clog_file *next = LIST_ENTRY(f->link.next, struct clog_file, link);
    uint64_t need = next->first_commit > 0 ? next->first_commit - 1 : 0;

    if (f->free_after > need)
        need = f->free_after;
    if (t->state == TWIN_OFF && !t->gone)
        arm_write(t); /* to remove it */
    if (t->state == TWIN_OFF)
        return !t->gone;
    if (t->state == TWIN_ON && t->synced >= need)
        return false;
    t->sync_wanted = true;
    if (!t->running && !st->closing)
        start(t, true);
    return true;
}

void twin_freed(struct store *st, uint64_t number)
{
    st->twin.drop = number + 1;
}

static void begin(struct twin *t)
{
    const struct clog *l = &t->store->clog;

    t->state = TWIN_BASE;
    t->job.base_first = LIST_ENTRY(l->files.next, struct clog_file, link)->number;
    t->job.base_last = clog_writing(l)->number;
    t->job.base_bytes = l->offset;
    t->job.base_to = t->commit = l->durable_commit;
    t->synced = 0;
    t->unsynced = false;
}

bool store_log_is_alone(const struct store *st)
{
    return st->twin.state == TWIN_OFF;
}

void twin_again(struct store *st)
{
    struct twin *t = &st->twin;

    if (t->state != TWIN_OFF || !t->gone || t->running || st->closing || st->clog.failed)
        return;
    begin(t);
    arm_write(t);
}

bool twin_settle(struct store *st)
{
    struct twin *t = &st->twin;

    if (PLANTED(PLANT_TWIN_EARLY))
        return !t->running;
    if (!t->running && t->state != TWIN_OFF && (is_dirty(t) || t->unsynced))
        start(t, true);
    return !t->running;
}

void twin_init(struct store *st)
{
    struct twin *t = &st->twin;

    t->store = t->job.store = st;
    wheel_timer_init(&t->timer, fire);
    begin(t);
    arm_write(t);
}

void twin_deinit(struct store *st)
{
    struct twin *t = &st->twin;

    ASSERT(!t->running);
    io_timer_stop(st->io, &t->timer);
    buf_free(&t->pending);
    buf_free(&t->job.entries);
    log_frame_free(&t->job.frame);
}
