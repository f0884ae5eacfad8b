/*
 * Reading the commit logs of the last run: objects as their records say, and where the log holds
 * data for segments.
 *
 * Which generation. A start writes the logs of generation G + 1 and its START record last of all;
 * then it deletes those of G. So the newest generation with a START counts; newer ones are
 * unfinished starts. The START record is in a first file (number 0, or a few behind it when there
 * are many objects): once worker 0's file 0 has been freed, the generation has been running, and
 * was complete.
 *
 * Which files. Files are freed oldest first, a freed one may lie ready under the next number before
 * it is used (it then has neither header nor frame that verifies under that name). Read are the
 * used files of the unbroken series that ends with the highest number.
 */
#include "store/recover_log.h"

#include "lib/base/mem.h"

/* ---- the files ----------------------------------------------------------------------------- */

static enum err list_files(struct recovery *r)
{
    char path[STORE_PATH];
    struct rec_names names;

    store_path(r->dir, path, "log");
    enum err err = rec_list(r->fs, path, &names);
    if (err != ERR_OK)
        return rec_fail(r, err, "%s: %s", path, err_text(err));
    for (size_t i = 0; i < names.n; i++) {
        struct rec_log_file f = {0};
        if (log_mark_parse(names.names[i], &f.worker)) {
            r->erased = true;
            continue;
        }
        if (!log_name_parse(names.names[i], &f.generation, &f.worker, &f.number)) {
            LOG_WRN(r->log, "%s/%s: not a commit log, left alone", path, names.names[i]);
            continue;
        }
        if (r->nfiles == r->files_cap) {
            r->files_cap = r->files_cap * 2 + 8;
            r->files = mem_realloc(r->files, r->files_cap * sizeof(*r->files));
        }
        r->files[r->nfiles++] = f;
        if (f.generation > r->newest)
            r->newest = f.generation;
    }
    rec_names_free(&names);
    return ERR_OK;
}

/* The header page is written together with the file's first frame: without it the file is damaged
 * when that commit is proven complete, and else it was the last one, and torn. */
static void judge_headers(struct recovery *r)
{
    uint64_t durable = 0;
    char path[STORE_PATH];

    for (size_t i = r->nfiles; i-- > 0;) {
        struct rec_log_file *f = &r->files[i];
        if (f->generation != r->generation)
            continue;
        if (i + 1 == r->nfiles || r->files[i + 1].worker != f->worker)
            durable = 0;
        durable = f->durable > durable ? f->durable : durable;
        if (!f->used || f->workers != 0)
            continue;
        rec_log_path(r, f, path);
        f->damaged = durable >= f->first_seen;
        if (f->damaged)
            LOG_WRN(r->log, "%s: offset 0: header damaged, its frames are read all the same", path);
        else
            LOG_INF(r->log, "%s: offset 0: header never finished, the first commit is read", path);
    }
}

/* ---- which generation ---------------------------------------------------------------------- */

static enum err has_start(struct recovery *r, struct rec_log_file *f, bool *found)
{
    struct log_scan s;
    struct log_scan_event e;
    struct log_record record;
    enum log_verdict v;
    uint8_t *bytes;
    int got;
    enum err err = rec_log_bytes(r, f, &bytes);

    if (err != ERR_OK)
        return err;
    log_scan_init(&s, bytes, f->read, rec_log_salt(r, f), 0, 0);
    while ((v = log_scan_next(&s, &e)) != LOG_SCAN_DONE)
        while (v == LOG_SCAN_FRAME && (got = log_frame_next(&e.frame, &record)) != 0)
            *found |= got > 0 && record.type == LOG_START;
    return ERR_OK;
}

static enum err is_complete(struct recovery *r, uint64_t generation, bool *complete)
{
    bool first_file = false, any = false;
    enum err err = ERR_OK;

    *complete = false;
    for (size_t i = 0; i < r->nfiles; i++) {
        struct rec_log_file *f = &r->files[i];
        if (f->generation == generation && f->worker == 0) {
            any = true;
            first_file |= f->number == 0;
        }
    }
    if (any && !first_file)
        *complete = true;
    for (size_t i = 0; i < r->nfiles && !*complete && err == ERR_OK; i++)
        if (r->files[i].generation == generation && r->files[i].worker == 0)
            err = has_start(r, &r->files[i], complete);
    return err;
}

static enum err choose_generation(struct recovery *r)
{
    uint64_t below = UINT64_MAX;

    while (r->generation == 0) {
        uint64_t next = 0;
        bool complete;
        for (size_t i = 0; i < r->nfiles; i++)
            if (r->files[i].generation < below && r->files[i].generation > next)
                next = r->files[i].generation;
        if (next == 0)
            return ERR_OK;
        enum err err = is_complete(r, next, &complete);
        if (err != ERR_OK)
            return err;
        if (complete)
            r->generation = next;
        else
            LOG_INF(r->log, "%s/log: generation %llu is an unfinished start, ignored", r->dir->path,
                    (unsigned long long) next);
        below = next;
    }
    return ERR_OK;
}

/* ---- one file, one worker ------------------------------------------------------------------ */

static void report(struct recovery *r, struct rec_log_file *f, enum log_verdict v,
                   const struct log_scan_event *e)
{
    char path[STORE_PATH];

    rec_log_path(r, f, path);
    if (v == LOG_SCAN_TORN) {
        r->dir->recovery.bytes_cut += e->bytes;
        LOG_INF(r->log, "%s: offset %llu: %llu bytes of unfinished commits cut", path,
                (unsigned long long) e->offset, (unsigned long long) e->bytes);
    } else if (v == LOG_SCAN_CORRUPT) {
        f->damaged = true;
        LOG_WRN(r->log, "%s: offset %llu: %llu bytes damaged, %llu commits lost", path,
                (unsigned long long) e->offset, (unsigned long long) e->bytes,
                (unsigned long long) e->commits);
    } else if (e->unproven) {
        LOG_INF(r->log, "%s: offset %llu: a byte of the last commit mended", path,
                (unsigned long long) e->offset);
    } else if (e->repaired) {
        f->damaged = true;
        LOG_WRN(r->log, "%s: offset %llu: a damaged byte in a frame mended", path,
                (unsigned long long) e->offset);
    }
}

/* Reads one file; *next: the expected commit, before and after. *stop: the log ends here. */
enum err rec_log_read_file(struct rec_reading *in, uint64_t known_durable, uint64_t *next,
                           bool *stop)
{
    struct recovery *r = in->r;
    struct log_scan s;
    struct log_scan_event e;
    enum log_verdict v;
    uint8_t *bytes;
    enum err err = rec_log_bytes(r, in->f, &bytes);

    if (err != ERR_OK)
        return err;
    in->bytes = bytes;
    log_scan_init(&s, bytes, in->f->read, rec_log_salt(r, in->f), *next, known_durable);
    while ((v = log_scan_next(&s, &e)) != LOG_SCAN_DONE) {
        if (!in->apply)
            report(r, in->f, v, &e);
        if (v == LOG_SCAN_FRAME)
            rec_log_apply(in, &e.frame);
    }
    in->f->end = s.end;
    *next = s.next_commit;
    *stop = s.torn;
    return ERR_OK;
}

/* Between this file and the next one commits are missing. Returns false when they were never
 * finished. */
static bool bridge(struct recovery *r, struct rec_log_file *f, uint64_t *next, uint64_t begins,
                   uint64_t durable)
{
    char path[STORE_PATH];

    if (begins <= *next || *next == 0)
        return true;
    rec_log_path(r, f, path);
    if (durable < *next) {
        LOG_INF(r->log, "%s: commits from %llu on were not finished, cut", path,
                (unsigned long long) *next);
        return false;
    }
    LOG_WRN(r->log, "%s: offset %llu: commits %llu to %llu are missing", path,
            (unsigned long long) f->bytes, (unsigned long long) *next,
            (unsigned long long) begins - 1);
    f->damaged = true;
    *next = begins;
    return true;
}

/* The series of used files of one worker: indices [*first, *end). */
static void find_series(const struct recovery *r, uint32_t worker, size_t *first, size_t *end)
{
    *first = *end = 0;
    for (size_t i = 0; i < r->nfiles; i++) {
        const struct rec_log_file *f = &r->files[i];
        if (f->generation != r->generation || f->worker != worker || !f->used)
            continue;
        bool follows = *end == i && i > 0 && *end > *first &&
                       r->files[i - 1].number + 1 == f->number;
        if (!follows)
            *first = i;
        *end = i + 1;
    }
}

static enum err read_worker(struct recovery *r, uint32_t worker)
{
    size_t first, end;
    bool stop = false;
    struct rec_reading in = {.r = r};

    find_series(r, worker, &first, &end);
    uint64_t next = end > first ? r->files[first].first : 0;
    for (size_t i = first; i < end && !stop; i++) {
        uint64_t durable = 0;
        for (size_t k = i + 1; k < end; k++)
            durable = r->files[k].durable > durable ? r->files[k].durable : durable;
        in.f = &r->files[i];
        enum err err = rec_log_read_file(&in, durable, &next, &stop);
        if (err != ERR_OK)
            return err;
        if (!stop && i + 1 < end) {
            const struct rec_log_file *after = &r->files[i + 1];
            stop = !bridge(r, in.f, &next, after->first != 0 ? after->first : after->first_seen,
                           durable);
        }
    }
    r->clean = r->clean && in.closed;
    r->log_next[worker] = next;
    return ERR_OK;
}

static enum err sync_file(struct recovery *r, const struct rec_log_file *f)
{
    char path[STORE_PATH];

    rec_log_path(r, f, path);
    fs_fd fd = fs_open(r->fs, path, IO_FILE_WRITE);
    int res = fd < 0 ? fd : fs_sync(r->fs, fd);
    if (fd >= 0)
        fs_close(r->fs, fd);
    return res < 0 ? rec_fail(r, err_from_errno(res), "%s: sync: %s", path,
                              err_text(err_from_errno(res)))
                   : ERR_OK;
}

static enum err sync_dir(struct recovery *r, const char *path)
{
    int res = fs_sync_dir(r->fs, path);

    return res < 0 ? rec_fail(r, ERR_IO, "%s: sync: %s", path, err_text(err_from_errno(res)))
                   : ERR_OK;
}

/* When only the process died, what was read may be in the page cache alone: the name of store.meta,
 * whose UUID is in all that this start makes durable; the START that makes this generation the one
 * that counts; images that are about to be written over their segments. It has to be durable before
 * anything is done because of it. */
static enum err sync_found(struct recovery *r)
{
    char path[STORE_PATH];
    enum err err = r->dir->settled ? sync_dir(r, r->dir->path) : ERR_OK;

    for (size_t i = 0; i < r->nfiles && err == ERR_OK; i++)
        if (r->files[i].generation == r->generation && r->files[i].used)
            err = sync_file(r, &r->files[i]);
    if (err != ERR_OK || r->generation == 0)
        return err;
    store_path(r->dir, path, "log");
    return sync_dir(r, path);
}

enum err rec_logs_read(struct recovery *r)
{
    enum err err = list_files(r);

    if (err == ERR_OK)
        err = rec_twins_list(r);
    if (err == ERR_OK)
        err = choose_generation(r);
    if (err == ERR_OK)
        rec_twins_choose(r);
    if (err != ERR_OK || r->generation == 0)
        return err == ERR_OK ? sync_found(r) : err;
    for (size_t i = 0; i < r->nfiles && err == ERR_OK; i++) {
        struct rec_log_file *f = &r->files[i];
        if (f->generation != r->generation && !(r->log_lost && f->generation < r->generation))
            continue;
        err = rec_log_unused(r, f) ? ERR_OK : rec_log_examine(r, f);
        f->damaged = r->log_lost && f->used;
        if (f->generation == r->generation && f->worker >= r->workers)
            r->workers = f->worker + 1;
    }
    judge_headers(r);
    r->clean = true;
    r->log_next = mem_array(r->workers + 1, sizeof(*r->log_next));
    for (uint32_t w = 0; w < r->workers && err == ERR_OK; w++)
        err = read_worker(r, w);
    for (size_t i = 0; i < r->nlist; i++) {
        const struct rec_object *o = r->list[i];
        if (o->orphan && !o->deleted)
            rec_log_missing(r, &r->files[o->orphan_file], o->orphan_offset, o->id);
    }
    if (err == ERR_OK)
        err = rec_twins_merge(r);
    return err == ERR_OK && !r->clean && !PLANTED(PLANT_START_BELIEVED) ? sync_found(r) : err;
}
