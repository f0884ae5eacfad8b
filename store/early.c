/*
 * early.c - single subjects of a stream whose index is still being read (load_index.c).
 *
 * Who asks for a literal subject does not wait for all subjects: the sequences of this one are
 * looked up where they lie. A footer's fences (fences.h) say which block of SUBJECTS has the
 * subject, so a segment costs one read of about a page on a work thread, and its fences once. The
 * result, every sequence of the subject up to the stream's end at that moment, is kept until the
 * index is there. From then on questions about the subject are answered from it, exactly: what was
 * removed since does not exist (message_exists), and what was appended since has its ids in the
 * columns.
 *
 * Three kinds of segments:
 *
 *     INDEX_HERE         read already: its column says it
 *     INDEX_IN_FOOTER    its footer is asked; one without fences (an older one) is read as a whole
 *     INDEX_IN_BATCHES   nothing names its records but they themselves. The loader reads these
 *                        first, and questions wait for that: there are no more of them than the
 *                        active one and what was full when the process died
 *
 * The loader knows nothing of all this: subject states (subjects.h) stay its own, and are asked
 * only when it is through. One job at a time for each stream takes all subjects that are wanted by
 * then. A footer that is damaged, or a subject with too many messages, makes everybody wait for the
 * whole index, as before; so do patterns with wildcards.
 *
 * Under a limit per subject an append makes its subject wanted, too: what it pushes out goes as
 * soon as the subject is known. Beyond TRIMS_MAX that is left to the end.
 *
 * A segment may be let go of while a job reads its file: then its messages are gone, and the job's
 * result for it is left out.
 */
#include "store/early.h"

#include "lib/base/crc32c.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "store/fences.h"
#include "store/footer.h"
#include "store/recover.h"

#include <string.h>

/* Subjects of a job; that are known at most; sequences of all of them together. */
#define JOB_SUBJECTS 512u
#define KNOWN_MAX 65536u
/* Appends whose subject's limit waits to be applied; the end of the loader applies all of them. */
#define TRIMS_MAX 4096u
#define SEQS_MAX (1u << 20)
/* Longer fences, or blocks, are read with the whole section. */
#define READ_MAX (4u << 20)

struct early_subject {
    struct hmap_node node;
    uint64_t upto; /* all up to here are in seqs */
    uint64_t *seqs;
    uint32_t n;
    uint32_t len;
    char text[];
};

/* Fences of a segment, with their bytes. */
struct segment_fences {
    bool none; /* its footer has none */
    uint8_t *bytes;
    struct fences f;
    uint64_t offset; /* of SUBJECTS, in the file */
};

struct want {
    struct list link;
    struct str *subjects; /* copies */
    unsigned n;
    struct store_req *req; /* may be NULL */
    bool trims;            /* something was appended: the limit per subject is to be applied */
    bool counts;           /* its count is to be filled in, of [from, last] */
    uint64_t from, last;
};

struct found {
    struct early_subject *sub; /* seqs grow */
    uint32_t cap;
};

struct job_segment {
    uint64_t number;
    uint32_t generation, salt;
    char *path;
    uint64_t file_bytes, base_seq, next_seq;
    struct segment_fences *fences; /* given back */
    enum err err;
    uint32_t *n; /* per subject: how many of its seqs were found up to the end of this segment */
};

struct early_job {
    struct io_work work;
    struct store *store;
    struct early *early; /* NULL: nobody waits for it any more */
    uint64_t upto;
    struct job_segment *segs;
    uint32_t nsegs;
    struct found *subjects;
    uint32_t nsubjects;
    uint64_t total; /* sequences */
    uint8_t *block;
    size_t block_cap;
};

struct early {
    struct store_stream *stream;
    uint64_t seed;
    struct hmap known;
    uint64_t total;
    bool hopeless; /* a footer could not be read, or it is too much */
    struct list wants;
    uint32_t ntrims; /* of them */
    struct early_job *job;
};

/* ---- the work thread: one subject of one segment --------------------------------------------- */

static enum err read_at(struct io_fs *fs, fs_fd fd, void *into, size_t n, uint64_t offset)
{
    int64_t got = fs_read(fs, fd, into, n, offset);

    return got == (int64_t) n ? ERR_OK : got < 0 ? err_from_errno((int) got) : ERR_CORRUPT;
}

static enum err take_fences(struct io_fs *fs, fs_fd fd, const struct job_segment *seg,
                            const struct segment_trailer *t, struct segment_fences *out)
{
    struct footer_place places[SECTION_MAX + 1];
    size_t n = (size_t) t->sections * FOOTER_TABLE_ENTRY;
    uint8_t *table = mem_alloc(n + 1);
    enum err err = read_at(fs, fd, table, n, t->table_offset);

    if (err == ERR_OK)
        err = footer_places(table, t, seg->salt, places);
    mem_free(table);
    if (err != ERR_OK)
        return err;
    const struct footer_place *p = &places[SECTION_FENCES];
    if (!p->there || p->bytes > READ_MAX) {
        out->none = true;
        return ERR_OK;
    }
    out->offset = t->footer_offset + places[SECTION_SUBJECTS].offset;
    out->bytes = mem_alloc(p->bytes + 1);
    err = read_at(fs, fd, out->bytes, p->bytes, t->footer_offset + p->offset);
    if (err == ERR_OK && crc32c(seg->salt, out->bytes, p->bytes) != p->crc)
        err = ERR_CORRUPT;
    if (err == ERR_OK)
        err = fences_open(str_from(out->bytes, p->bytes), places[SECTION_SUBJECTS].bytes, &out->f);
    return err;
}

static enum err read_fences(struct io_fs *fs, fs_fd fd, struct job_segment *seg)
{
    uint8_t bytes[SEGMENT_TRAILER];
    struct segment_trailer t;

    if (seg->fences != NULL)
        return ERR_OK;
    enum err err = seg->file_bytes < sizeof(bytes)
                       ? ERR_CORRUPT
                       : read_at(fs, fd, bytes, sizeof(bytes), seg->file_bytes - sizeof(bytes));
    if (err == ERR_OK)
        err = segment_trailer_decode(bytes, seg->file_bytes, seg->salt, &t);
    if (err != ERR_OK)
        return err;
    seg->fences = mem_zalloc(sizeof(*seg->fences));
    return take_fences(fs, fd, seg, &t, seg->fences);
}

static bool add_seq(struct early_job *job, struct found *f, uint64_t seq)
{
    if (++job->total > SEQS_MAX)
        return false;
    if (f->sub->n == f->cap) {
        f->cap = f->cap * 2 + 8;
        f->sub->seqs = mem_realloc(f->sub->seqs, f->cap * sizeof(*f->sub->seqs));
    }
    f->sub->seqs[f->sub->n++] = seq;
    return true;
}

/* The iterator stands on the subject. */
static enum err take_run(struct early_job *job, const struct job_segment *seg, struct found *f,
                         struct subject_iter *it)
{
    uint64_t seq, before = 0;

    while (subject_run_next(it, &seq)) {
        if (seq < seg->base_seq || seq >= seg->next_seq || seq <= before)
            return ERR_CORRUPT;
        if (!add_seq(job, f, before = seq))
            return ERR_NO_MEMORY;
    }
    return ERR_OK;
}

static enum err ask_block(struct early_job *job, struct io_fs *fs, fs_fd fd,
                          const struct job_segment *seg, struct found *f)
{
    struct str subject = str_from(f->sub->text, f->sub->len);
    struct fence fence;
    struct subject_iter it;

    if (!fences_find(&seg->fences->f, subject, &fence))
        return ERR_OK;
    if (fence.bytes > READ_MAX)
        return ERR_NO_MEMORY;
    if (fence.bytes > job->block_cap) {
        mem_free(job->block);
        job->block = mem_alloc(fence.bytes);
        job->block_cap = fence.bytes;
    }
    enum err err = read_at(fs, fd, job->block, fence.bytes, seg->fences->offset + fence.offset);
    if (err != ERR_OK)
        return err;
    struct str block = str_from(job->block, fence.bytes);
    if (!fence_verify(&fence, block, seg->salt))
        return ERR_CORRUPT;
    if (subject_iter_find_in(&it, block, seg->base_seq, subject))
        err = take_run(job, seg, f, &it);
    subject_iter_deinit(&it);
    return err;
}

static enum err ask_whole(struct early_job *job, struct io_fs *fs, const struct job_segment *seg)
{
    struct segment_index x;
    struct subject_iter it;
    enum err err = segment_index_read(fs, seg->path, seg->file_bytes, seg->salt, &x);

    if (err != ERR_OK)
        return err;
    for (uint32_t i = 0; i < job->nsubjects && err == ERR_OK; i++) {
        struct found *f = &job->subjects[i];
        if (subject_iter_find(&it, x.subjects, seg->base_seq, str_from(f->sub->text, f->sub->len)))
            err = take_run(job, seg, f, &it);
        subject_iter_deinit(&it);
    }
    segment_index_deinit(&x);
    return err;
}

static void ask_segment(struct early_job *job, struct io_fs *fs, struct job_segment *seg)
{
    fs_fd fd = fs_open(fs, seg->path, IO_FILE_READ);

    seg->err = fd < 0 ? err_from_errno(fd) : read_fences(fs, fd, seg);
    if (seg->err == ERR_OK && seg->fences->none)
        seg->err = ask_whole(job, fs, seg);
    else
        for (uint32_t i = 0; i < job->nsubjects && seg->err == ERR_OK; i++)
            seg->err = ask_block(job, fs, fd, seg, &job->subjects[i]);
    if (fd >= 0)
        fs_close(fs, fd);
    for (uint32_t i = 0; i < job->nsubjects; i++)
        seg->n[i] = job->subjects[i].sub->n;
}

static void run_job(struct io_work *work)
{
    struct early_job *job = CONTAINER_OF(work, struct early_job, work);

    for (uint32_t i = 0; i < job->nsegs; i++)
        ask_segment(job, work->fs, &job->segs[i]);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

void segment_fences_free(struct segment *seg)
{
    struct segment_fences *f = seg->fences;

    seg->fences = NULL;
    if (f == NULL)
        return;
    mem_free(f->bytes);
    mem_free(f);
}

static void free_subject(struct early_subject *sub)
{
    mem_free(sub->seqs);
    mem_free(sub);
}

/* Without the subjects that were taken. */
static void free_job(struct early_job *job)
{
    for (uint32_t i = 0; i < job->nsegs; i++) {
        struct job_segment *seg = &job->segs[i];
        if (seg->fences != NULL) {
            mem_free(seg->fences->bytes);
            mem_free(seg->fences);
        }
        mem_free(seg->path);
        mem_free(seg->n);
    }
    for (uint32_t i = 0; i < job->nsubjects; i++)
        if (job->subjects[i].sub != NULL)
            free_subject(job->subjects[i].sub);
    mem_free(job->segs);
    mem_free(job->subjects);
    mem_free(job->block);
    mem_free(job);
}

static struct early_subject *find(const struct early *e, struct str subject)
{
    uint64_t h = hash_bytes(subject.p, subject.n, e->seed);

    for (struct hmap_node *n = hmap_first(&e->known, h); n != NULL; n = hmap_next(n, h)) {
        struct early_subject *sub = CONTAINER_OF(n, struct early_subject, node);
        if (str_eq(str_from(sub->text, sub->len), subject))
            return sub;
    }
    return NULL;
}

static void want_subject(struct early_job *job, const struct early *e, struct str subject)
{
    if (find(e, subject) != NULL)
        return;
    for (uint32_t i = 0; i < job->nsubjects; i++) {
        const struct early_subject *sub = job->subjects[i].sub;
        if (str_eq(str_from(sub->text, sub->len), subject))
            return;
    }
    struct early_subject *sub = mem_zalloc(sizeof(*sub) + subject.n);
    sub->upto = job->upto;
    sub->len = (uint32_t) subject.n;
    memcpy(sub->text, subject.p, subject.n);
    job->subjects[job->nsubjects++].sub = sub;
}

static void add_segment(struct early_job *job, struct segment *seg)
{
    job->segs[job->nsegs++] =
        (struct job_segment){.number = seg->number,
                             .generation = seg->generation,
                             .salt = seg->salt,
                             .path = mem_strdup(seg->path),
                             .file_bytes = seg->capacity,
                             .base_seq = seg->base_seq,
                             .next_seq = seg->next_seq,
                             .fences = seg->fences,
                             .n = mem_zalloc((job->nsubjects + 1) * sizeof(uint32_t))};
    seg->fences = NULL; /* the job has them */
}

static struct early_job *make_job(struct early *e)
{
    struct store_stream *s = e->stream;
    struct early_job *job = mem_zalloc(sizeof(*job));

    job->store = s->store;
    job->early = e;
    job->upto = s->last_seq;
    job->subjects = mem_zalloc((JOB_SUBJECTS + 1) * sizeof(*job->subjects));
    LIST_FOREACH(it, &e->wants)
    {
        const struct want *w = LIST_ENTRY(it, struct want, link);
        for (unsigned i = 0; i < w->n && job->nsubjects < JOB_SUBJECTS; i++)
            want_subject(job, e, w->subjects[i]);
    }
    job->segs = mem_zalloc((s->nindex + 1) * sizeof(*job->segs));
    for (uint32_t i = 0; i < s->nindex; i++)
        if (s->index[i]->index_at == INDEX_IN_FOOTER)
            add_segment(job, s->index[i]);
    return job;
}

/* ---- the result ------------------------------------------------------------------------------ */

static void add_existing(struct early_subject *sub, const struct store_stream *s, uint64_t seq,
                         uint32_t *cap)
{
    if (!message_exists(s, seq))
        return;
    if (sub->n == *cap) {
        *cap = *cap * 2 + 8;
        sub->seqs = mem_realloc(sub->seqs, *cap * sizeof(*sub->seqs));
    }
    sub->seqs[sub->n++] = seq;
}

/* Of a segment whose records have their ids. */
static void add_from_column(struct early_subject *sub, const struct store_stream *s,
                            const struct segment *seg, uint32_t id, uint32_t *cap)
{
    uint32_t at = 0;

    while (id != 0 && sub->n < SEQS_MAX &&
           (at = column_next(&seg->column, id, at, seg->records)) != COLUMN_NONE) {
        uint64_t seq = segment_seq(seg, at++);
        if (seq > sub->upto)
            break;
        add_existing(sub, s, seq, cap);
    }
}

static struct job_segment *job_segment_of(const struct early_job *job, const struct segment *seg,
                                          uint32_t *hint)
{
    while (*hint < job->nsegs && job->segs[*hint].number < seg->number)
        ++*hint;
    struct job_segment *js = &job->segs[*hint];
    return *hint < job->nsegs && js->number == seg->number && js->generation == seg->generation
               ? js
               : NULL;
}

/* Subject k of the job, from all segments in order; false when one could not be asked. */
static bool join(const struct early_job *job, const struct store_stream *s, uint32_t k)
{
    struct early_subject *sub = job->subjects[k].sub;
    uint32_t id = subjects_find(&s->subjects, str_from(sub->text, sub->len));
    uint64_t *found = sub->seqs;
    uint32_t cap = 0, hint = 0;
    bool whole = true;

    sub->seqs = NULL;
    sub->n = 0;
    for (uint32_t i = 0; i < s->nindex && whole; i++) {
        const struct segment *seg = s->index[i];
        const struct job_segment *js = job_segment_of(job, seg, &hint);
        if (seg->base_seq == 0 || seg->base_seq > sub->upto)
            break;
        if (seg->live == 0)
            continue;
        if (seg->index_at == INDEX_HERE) {
            add_from_column(sub, s, seg, id, &cap);
            continue;
        }
        whole = js != NULL && js->err == ERR_OK;
        for (uint32_t n = hint == 0 ? 0 : job->segs[hint - 1].n[k]; whole && n < js->n[k]; n++)
            add_existing(sub, s, found[n], &cap);
    }
    mem_free(found);
    return whole && sub->n < SEQS_MAX;
}

static void give_back_fences(struct early_job *job, struct store_stream *s)
{
    for (uint32_t i = 0, hint = 0; i < s->nindex; i++) {
        struct segment *seg = s->index[i];
        struct job_segment *js = job_segment_of(job, seg, &hint);
        if (js == NULL || js->err != ERR_OK || seg->index_at != INDEX_IN_FOOTER)
            continue;
        seg->fences = js->fences;
        js->fences = NULL;
    }
}

static void trim(struct store_stream *s, const struct early_subject *sub);

static void take_result(struct early *e, struct early_job *job)
{
    struct store_stream *s = e->stream;

    for (uint32_t k = 0; k < job->nsubjects; k++) {
        struct early_subject *sub = job->subjects[k].sub;
        if (!join(job, s, k) || e->total + sub->n > SEQS_MAX || e->known.count >= KNOWN_MAX) {
            e->hopeless = true;
            continue;
        }
        job->subjects[k].sub = NULL;
        e->total += sub->n;
        hmap_insert(&e->known, &sub->node, hash_bytes(sub->text, sub->len, e->seed));
        trim(s, sub);
    }
    give_back_fences(job, s);
}

static void settle(struct early *e);
static uint64_t count_one(struct store_stream *s, const struct early_subject *sub, uint64_t from,
                          uint64_t last);
static struct want *new_want(struct store_stream *s, const struct str *subjects, unsigned n,
                             struct store_req *req);

static void job_done(struct io_op *op)
{
    struct early_job *job = CONTAINER_OF(op, struct early_job, work.op);
    struct early *e = job->early;

    if (!store_work_done(job->store, &job->work))
        return;
    if (e != NULL) {
        e->job = NULL;
        take_result(e, job);
    }
    free_job(job);
    if (e != NULL)
        settle(e);
}

/* ---- what is wanted -------------------------------------------------------------------------- */

static void free_want(struct store_stream *s, struct want *w)
{
    if (w->trims && s->early != NULL)
        s->early->ntrims--;
    list_remove(&w->link);
    for (unsigned i = 0; i < w->n; i++)
        mem_free((void *) (uintptr_t) w->subjects[i].p);
    mem_free(w->subjects);
    mem_free(w);
}

static bool known(const struct early *e, const struct str *subjects, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (find(e, subjects[i]) == NULL)
            return false;
    return true;
}

/* ---- the limit per subject ------------------------------------------------------------------- */

/* As limits.c does, by what is known of the subject. */
static void trim(struct store_stream *s, const struct early_subject *sub)
{
    uint64_t max = s->rec.limits.max_msgs_per_subject, n;

    if (max == 0 || s->state != STREAM_ACTIVE)
        return;
    for (n = count_one(s, sub, s->first_seq, s->last_seq); n > max; n--) {
        limits_take(s, early_next(s, sub, s->first_seq, s->last_seq));
        if (n == max + 1)
            stream_settle_first(s);
    }
}

void early_limit(struct store_stream *s, uint32_t id)
{
    struct str subject = subject_text(subjects_by_id(&s->subjects, id));

    if (!early_can(s, &subject, 1) || (s->early != NULL && s->early->ntrims >= TRIMS_MAX))
        return;
    new_want(s, &subject, 1, NULL)->trims = true;
    s->early->ntrims++;
}

/* It can be answered, from what is known or, when `wait`, when all is read. */
static void end_want(struct store_stream *s, struct want *w, bool wait)
{
    uint64_t count;

    if (w->trims && !wait)
        trim(s, find(s->early, w->subjects[0]));
    if (w->req == NULL)
        ;
    else if (w->counts && !wait && early_count(s, w->subjects, w->n, w->from, w->last, &count)) {
        w->req->count = count;
        store_defer(s->store, w->req, ERR_OK);
    } else if (w->counts) {
        count_later(s, w->subjects, w->n, w->from, w->last, w->req);
    } else if (wait && index_comes(s)) {
        store_index_wait(s, w->req);
    } else {
        store_defer(s->store, w->req, ERR_OK);
    }
    free_want(s, w);
}

static bool all_named(const struct store_stream *s)
{
    for (uint32_t i = 0; i < s->nindex; i++)
        if (s->index[i]->index_at == INDEX_IN_BATCHES)
            return false;
    return true;
}

/* Answers who can be answered, and begins to look for what is wanted. */
static void settle(struct early *e)
{
    struct store_stream *s = e->stream;

    if (e->job != NULL)
        return;
    LIST_FOREACH_SAFE(it, tmp, &e->wants)
    {
        struct want *w = LIST_ENTRY(it, struct want, link);
        if (known(e, w->subjects, w->n))
            end_want(s, w, false);
        else if (e->hopeless)
            end_want(s, w, true);
    }
    if (list_empty(&e->wants) || !all_named(s))
        return;
    struct early_job *job = e->job = make_job(e);
    job->work.run = run_job;
    io_op_init(&job->work.op, job_done);
    store_work_submit(s->store, &job->work);
}

static bool literal(const struct str *subjects, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (subjects[i].n == 0 || subject_has_wildcard(subjects[i]))
            return false;
    return n > 0 && n <= JOB_SUBJECTS;
}

bool early_can(const struct store_stream *s, const struct str *subjects, unsigned n)
{
    return index_comes(s) && s->state == STREAM_ACTIVE && literal(subjects, n) &&
           (s->early == NULL || !s->early->hopeless);
}

static struct want *new_want(struct store_stream *s, const struct str *subjects, unsigned n,
                             struct store_req *req)
{
    struct want *w = mem_zalloc(sizeof(*w));

    if (s->early == NULL) {
        s->early = mem_zalloc(sizeof(*s->early));
        s->early->stream = s;
        s->early->seed = prng_u64(&s->store->prng);
        hmap_init(&s->early->known);
        list_init(&s->early->wants);
    }
    w->subjects = mem_array(n, sizeof(*w->subjects));
    w->n = n;
    for (unsigned i = 0; i < n; i++)
        w->subjects[i] = str_from(mem_strndup(subjects[i].p, subjects[i].n), subjects[i].n);
    w->req = req;
    list_push_back(&s->early->wants, &w->link);
    return w;
}

void early_want(struct store_stream *s, const struct str *subjects, unsigned n,
                struct store_req *req)
{
    new_want(s, subjects, n, req);
    settle(s->early);
}

void early_want_count(struct store_stream *s, const struct str *subjects, unsigned n, uint64_t from,
                      uint64_t last, struct store_req *req)
{
    struct want *w = new_want(s, subjects, n, req);

    w->counts = true;
    w->from = from;
    w->last = last;
    settle(s->early);
}

void early_go_on(struct store_stream *s)
{
    if (s->early != NULL)
        settle(s->early);
}

void early_cancel(struct store_stream *s, enum err err)
{
    while (s->early != NULL && !list_empty(&s->early->wants)) {
        struct want *w = LIST_ENTRY(s->early->wants.next, struct want, link);
        store_defer(s->store, w->req, err);
        free_want(s, w);
    }
}

void early_free(struct store_stream *s)
{
    struct early *e = s->early;
    struct hmap_iter it = {0};
    struct hmap_node *n;

    if (e == NULL)
        return;
    s->early = NULL;
    if (e->job != NULL)
        e->job->early = NULL;
    while (!list_empty(&e->wants))
        end_want(s, LIST_ENTRY(e->wants.next, struct want, link), true);
    while ((n = hmap_each(&e->known, &it)) != NULL) {
        hmap_remove(&e->known, n);
        free_subject(CONTAINER_OF(n, struct early_subject, node));
    }
    hmap_deinit(&e->known);
    for (uint32_t i = 0; i < s->nindex; i++)
        segment_fences_free(s->index[i]);
    mem_free(e);
}

/* ---- answers --------------------------------------------------------------------------------- */

struct early_subject *early_find(const struct store_stream *s, struct str subject)
{
    return s->early != NULL ? find(s->early, subject) : NULL;
}

bool early_knows(const struct store_stream *s, const struct str *subjects, unsigned n)
{
    return s->early != NULL && known(s->early, subjects, n);
}

/* Index of the first of seqs at or above seq. */
static uint32_t place(const struct early_subject *sub, uint64_t seq)
{
    uint32_t low = 0, high = sub->n;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (sub->seqs[mid] < seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static uint32_t id_of(const struct store_stream *s, const struct early_subject *sub)
{
    return subjects_find(&s->subjects, str_from(sub->text, sub->len));
}

uint64_t early_next(struct store_stream *s, const struct early_subject *sub, uint64_t from,
                    uint64_t last)
{
    uint32_t id, budget = UINT32_MAX;

    for (uint32_t i = place(sub, from); i < sub->n && sub->seqs[i] <= last; i++)
        if (message_exists(s, sub->seqs[i]))
            return sub->seqs[i];
    from = from > sub->upto ? from : sub->upto + 1;
    if (from > last || (id = id_of(s, sub)) == 0)
        return 0;
    return index_next(s, &id, 1, &from, last, &budget);
}

uint64_t early_prev(struct store_stream *s, const struct early_subject *sub, uint64_t below)
{
    uint32_t id = below > sub->upto + 1 && sub->upto < s->last_seq ? id_of(s, sub) : 0;

    if (id != 0 && subjects_by_id(&s->subjects, id)->last > sub->upto) {
        uint64_t seq = index_prev_above(s, id, below, sub->upto);
        if (seq != 0)
            return seq;
    }
    for (uint32_t i = place(sub, below); i > 0; i--)
        if (message_exists(s, sub->seqs[i - 1]))
            return sub->seqs[i - 1];
    return 0;
}

static uint64_t count_one(struct store_stream *s, const struct early_subject *sub, uint64_t from,
                          uint64_t last)
{
    uint32_t id, budget = UINT32_MAX;
    uint64_t n = 0;

    for (uint32_t i = place(sub, from); i < sub->n && sub->seqs[i] <= last; i++)
        n += message_exists(s, sub->seqs[i]);
    from = from > sub->upto ? from : sub->upto + 1;
    if (from <= last && (id = id_of(s, sub)) != 0)
        index_count(s, &id, 1, &from, last, &n, &budget);
    return n;
}

bool early_count(struct store_stream *s, const struct str *subjects, unsigned n, uint64_t from,
                 uint64_t last, uint64_t *count)
{
    *count = 0;
    if (!early_knows(s, subjects, n))
        return false;
    for (unsigned i = 0; i < n; i++) {
        bool before = false;
        for (unsigned k = 0; k < i && !before; k++)
            before = str_eq(subjects[k], subjects[i]);
        if (!before)
            *count += count_one(s, find(s->early, subjects[i]), from, last);
    }
    return true;
}

uint64_t early_next_of(struct store_stream *s, const struct str *subjects, unsigned n,
                       uint64_t from, uint64_t last)
{
    uint64_t best = 0;

    for (unsigned i = 0; i < n; i++) {
        uint64_t seq = early_next(s, find(s->early, subjects[i]), from, best != 0 ? best : last);
        best = seq != 0 ? seq : best;
    }
    return best;
}
