/*
 * What the commit log has lost, from its twin (twin.c).
 *
 * A log without damage knows everything: then its twin is not even read after a clean close, and
 * after a crash only to see that the log does not end too early. The twin is believed when
 *
 *     the log's generation is gone or an older one        the twin's generation counts
 *     something in the log is damaged or missing
 *     the twin's mark is behind the last commit           the log's end is gone, or it is an old
 *                                                         copy: nothing in it would say so
 *     the twin has a file from before the log's first     it may be missing; or the twin has only
 *                                                         not let go of its own yet
 *
 * Believing means: each record of the twin is applied as if it stood in the log. Versions say what
 * is known already and where a missing change belongs, and an object that either of them has
 * deleted is deleted.
 *
 * The twin of an earlier start is there until the new one is whole, that is for the first seconds
 * of a run. Should the log lose something then, it is used as well; but not when the twin merely
 * begins before the log: all that this start has recorded is in the two of them, and what an
 * earlier one had besides has been deleted.
 *
 * A twin is not synced with each commit, so after a power cut its end may be torn; that is cut as
 * in a log. It also says now and then how far streams are durable (END): this proves a last batch
 * that nothing else proves.
 */
#include "lib/base/mem.h"
#include "store/recover_impl.h"

#include <string.h>

static bool is_unfinished(const char *name)
{
    size_t n = strlen(name);

    return n > 9 && strcmp(name + n - 9, ".twin.new") == 0;
}

enum err rec_twins_list(struct recovery *r)
{
    char path[STORE_PATH];
    struct rec_names names;

    store_path(r->dir, path, "twin");
    enum err err = rec_list(r->fs, path, &names);
    if (err != ERR_OK)
        return rec_fail(r, err, "%s: %s", path, err_text(err));
    for (size_t i = 0; i < names.n; i++) {
        struct rec_log_file f = {.twin = true};
        if (!twin_name_parse(names.names[i], &f.generation, &f.worker, &f.number)) {
            if (!is_unfinished(names.names[i]))
                LOG_WRN(r->log, "%s/%s: not a twin of a commit log, left alone", path,
                        names.names[i]);
            continue;
        }
        if (r->ntwins == r->twins_cap) {
            r->twins_cap = r->twins_cap * 2 + 8;
            r->twins = mem_realloc(r->twins, r->twins_cap * sizeof(*r->twins));
        }
        r->twins[r->ntwins++] = f;
        if (f.generation > r->newest)
            r->newest = f.generation;
    }
    rec_names_free(&names);
    return ERR_OK;
}

void rec_twins_choose(struct recovery *r)
{
    uint64_t newest = r->ntwins > 0 ? r->twins[r->ntwins - 1].generation : 0;

    if (newest > r->generation) {
        LOG_WRN(r->log,
                "%s/log: the commit log of generation %llu is damaged from its beginning, gone, or "
                "an older one is in its place; its twin stands for it",
                r->dir->path, (unsigned long long) newest);
        r->log_lost = true;
        r->generation = newest;
    }
    for (size_t i = 0; i < r->ntwins; i++)
        if (r->twins[i].generation == r->generation && r->twins[i].worker >= r->workers)
            r->workers = r->twins[i].worker + 1;
}

/* ---- is there reason? ---------------------------------------------------------------------- */

/* The first file of this worker that holds something; UINT64_MAX: none. */
static uint64_t first_number(const struct recovery *r, uint32_t worker)
{
    for (size_t i = 0; i < r->nfiles; i++)
        if (r->files[i].generation == r->generation && r->files[i].worker == worker &&
            r->files[i].used)
            return r->files[i].number;
    return UINT64_MAX;
}

static bool is_damaged(const struct recovery *r)
{
    if (r->log_lost)
        return true;
    for (size_t i = 0; i < r->nfiles; i++)
        if (r->files[i].generation == r->generation && r->files[i].damaged)
            return true;
    for (uint32_t w = 0; w < r->workers; w++)
        if (first_number(r, w) == UINT64_MAX)
            return true; /* a spare of it may be all that is there */
    return false;
}

static bool begins_earlier(const struct recovery *r)
{
    for (size_t i = 0; i < r->ntwins; i++)
        if (r->twins[i].generation == r->generation &&
            r->twins[i].number < first_number(r, r->twins[i].worker))
            return true;
    return false;
}

static void report_end(struct recovery *r, uint32_t worker, uint64_t mark)
{
    char path[STORE_PATH];
    struct rec_log_file *last = NULL;

    for (size_t i = 0; i < r->nfiles; i++)
        if (r->files[i].generation == r->generation && r->files[i].worker == worker &&
            r->files[i].used)
            last = &r->files[i];
    if (last == NULL) {
        LOG_WRN(r->log, "%s/log: worker %u has no commit log of generation %llu", r->dir->path,
                worker, (unsigned long long) r->generation);
        return;
    }
    last->damaged = true;
    rec_log_path(r, last, path);
    LOG_WRN(r->log, "%s: offset %llu: commits %llu to %llu are missing, by the log's twin", path,
            (unsigned long long) last->end, (unsigned long long) r->log_next[worker],
            (unsigned long long) mark);
}

/* ---- reading ------------------------------------------------------------------------------- */

/* One worker's files of one generation; a file that can not be read is passed over. */
static uint64_t read_worker(struct recovery *r, uint64_t generation, uint32_t worker, bool apply)
{
    struct rec_reading in = {.r = r, .apply = apply};
    uint64_t next = 0;
    bool stop = false;

    for (size_t i = 0; i < r->ntwins && !stop; i++) {
        if (r->twins[i].generation != generation || r->twins[i].worker != worker)
            continue;
        in.f = &r->twins[i];
        if (rec_log_read_file(&in, 0, &next, &stop) != ERR_OK && !apply)
            LOG_WRN(r->log, "%s", r->why);
    }
    return in.mark;
}

/* Has each worker of that start its base? */
static bool is_whole(struct recovery *r, uint64_t generation)
{
    uint32_t workers = 0, seen = 0, last = UINT32_MAX;

    for (size_t i = 0; i < r->ntwins; i++) {
        struct rec_log_file *f = &r->twins[i];
        struct log_header h;
        if (f->generation != generation)
            continue;
        seen += f->worker != last;
        last = f->worker;
        if (workers == 0 && rec_log_read_header(r, f, &h) == ERR_OK)
            workers = h.workers;
    }
    return seen > 0 && seen >= workers;
}

/* Versions of what the log knew; the caller frees. */
static uint64_t *note_versions(const struct recovery *r)
{
    uint64_t *versions = mem_array(r->nlist + 1, sizeof(*versions));

    for (size_t i = 0; i < r->nlist; i++)
        versions[i] = r->list[i]->full_seen ? r->list[i]->version : 0;
    return versions;
}

static bool anything_new(const struct recovery *r, const uint64_t *versions, size_t known)
{
    for (size_t i = 0; i < r->nlist; i++) {
        const struct rec_object *o = r->list[i];
        if (!o->deleted && o->full_seen && o->version != (i < known ? versions[i] : 0))
            return true;
    }
    return false;
}

/* The first of the twins that count: of this generation; with what has been lost also of earlier
 * ones, back to the last that is whole. */
static size_t first_twin(struct recovery *r, bool lost)
{
    size_t from = r->ntwins;

    while (from > 0 &&
           (from == r->ntwins || r->twins[from].generation == r->twins[from - 1].generation ||
            (lost && !is_whole(r, r->twins[from].generation))))
        from--;
    return from;
}

static void apply_all(struct recovery *r, bool lost)
{
    uint64_t *versions = note_versions(r);
    size_t known = r->nlist;
    size_t from = first_twin(r, lost);

    for (size_t i = from; i < r->ntwins; i++)
        if (i == from || r->twins[i].generation != r->twins[i - 1].generation ||
            r->twins[i].worker != r->twins[i - 1].worker)
            read_worker(r, r->twins[i].generation, r->twins[i].worker, true);
    if (anything_new(r, versions, known))
        LOG_WRN(r->log,
                "%s/log: what it has lost of streams, removals and consumers is taken from its "
                "twin",
                r->dir->path);
    mem_free(versions);
}

enum err rec_twins_merge(struct recovery *r)
{
    bool lost = is_damaged(r), earlier = begins_earlier(r);

    if (r->ntwins == 0 || (r->clean && !lost && !earlier))
        return ERR_OK;
    for (uint32_t w = 0; w < r->workers; w++) {
        uint64_t mark = read_worker(r, r->generation, w, false);
        if (mark == 0 || mark < r->log_next[w])
            continue;
        report_end(r, w, mark);
        lost = true;
    }
    if (lost || earlier)
        apply_all(r, lost);
    return ERR_OK;
}

void rec_twins_apply_ends(struct recovery *r)
{
    for (size_t i = 0; i < r->nends; i++) {
        const struct rec_object *o = rec_object_find(r, r->ends[i].stream);
        if (o != NULL && !o->deleted && o->stream != NULL && !o->stream->failed)
            stream_record_durable(&o->stream->rec, r->ends[i].seq, r->ends[i].ts);
    }
}
