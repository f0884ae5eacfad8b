/*
 * early_lookup.c - subjects of a stream whose index has not been read (early_lookup.h).
 *
 * On the work thread each sealed segment is asked for each subject. Its fences (fences.h) say which
 * block of SUBJECTS has it, so a segment costs one read of about a page, and its fences once: they
 * stay with the segment from one lookup to the next. A footer without fences, an older one, is read
 * as a whole.
 *
 * Back on the loop what was found is joined with what the columns of the other segments say, in
 * order, without what is gone. A segment may have been let go of meanwhile: then its messages are
 * gone, and the result for it is left out. One that could not be asked spoils all subjects.
 */
#include "store/early_lookup.h"

#include "lib/base/crc32c.h"
#include "lib/base/mem.h"
#include "store/early.h"
#include "store/fences.h"
#include "store/footer.h"
#include "store/recover.h"

#include <string.h>

/* Longer fences, or blocks, are read with the whole section. */
#define READ_MAX (4u << 20)

/* Fences of a segment, with their bytes. */
struct segment_fences {
    bool none; /* its footer has none */
    uint8_t *bytes;
    struct fences f;
    uint64_t offset; /* of SUBJECTS, in the file */
};

struct found {
    struct early_subject *sub; /* seqs grow */
    uint32_t cap;
};

struct lookup_segment {
    uint64_t number;
    uint32_t generation, salt;
    char *path;
    uint64_t file_bytes, base_seq, next_seq;
    struct segment_fences *fences; /* given back */
    enum err err;
    uint32_t *n; /* per subject: how many of its seqs were found up to the end of this segment */
};

struct early_lookup {
    struct io_work work;
    struct store *store;
    early_lookup_fn *done;
    void *ctx; /* NULL: nobody waits for it any more */
    uint64_t upto;
    struct lookup_segment *segs;
    uint32_t nsegs;
    struct found *subjects;
    uint32_t nsubjects;
    uint64_t total; /* sequences */
    uint8_t *block;
    size_t block_cap;
};

/* ---- the work thread: one subject of one segment --------------------------------------------- */

static enum err read_at(struct io_fs *fs, fs_fd fd, void *into, size_t n, uint64_t offset)
{
    int64_t got = fs_read(fs, fd, into, n, offset);

    return got == (int64_t) n ? ERR_OK : got < 0 ? err_from_errno((int) got) : ERR_CORRUPT;
}

static enum err take_fences(struct io_fs *fs, fs_fd fd, const struct lookup_segment *seg,
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

static enum err read_fences(struct io_fs *fs, fs_fd fd, struct lookup_segment *seg)
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

static bool add_seq(struct early_lookup *l, struct found *f, uint64_t seq)
{
    if (++l->total > EARLY_SEQS_MAX)
        return false;
    if (f->sub->n == f->cap) {
        f->cap = f->cap * 2 + 8;
        f->sub->seqs = mem_realloc(f->sub->seqs, f->cap * sizeof(*f->sub->seqs));
    }
    f->sub->seqs[f->sub->n++] = seq;
    return true;
}

/* The iterator stands on the subject. */
static enum err take_run(struct early_lookup *l, const struct lookup_segment *seg, struct found *f,
                         struct subject_iter *it)
{
    uint64_t seq, before = 0;

    while (subject_run_next(it, &seq)) {
        if (seq < seg->base_seq || seq >= seg->next_seq || seq <= before)
            return ERR_CORRUPT;
        if (!add_seq(l, f, before = seq))
            return ERR_NO_MEMORY;
    }
    return ERR_OK;
}

static enum err ask_block(struct early_lookup *l, struct io_fs *fs, fs_fd fd,
                          const struct lookup_segment *seg, struct found *f)
{
    struct str subject = str_from(f->sub->text, f->sub->len);
    struct fence fence;
    struct subject_iter it;

    if (!fences_find(&seg->fences->f, subject, &fence))
        return ERR_OK;
    if (fence.bytes > READ_MAX)
        return ERR_NO_MEMORY;
    if (fence.bytes > l->block_cap) {
        mem_free(l->block);
        l->block = mem_alloc(fence.bytes);
        l->block_cap = fence.bytes;
    }
    enum err err = read_at(fs, fd, l->block, fence.bytes, seg->fences->offset + fence.offset);
    if (err != ERR_OK)
        return err;
    struct str block = str_from(l->block, fence.bytes);
    if (!fence_verify(&fence, block, seg->salt))
        return ERR_CORRUPT;
    if (subject_iter_find_in(&it, block, seg->base_seq, subject))
        err = take_run(l, seg, f, &it);
    subject_iter_deinit(&it);
    return err;
}

static enum err ask_whole(struct early_lookup *l, struct io_fs *fs,
                          const struct lookup_segment *seg)
{
    struct segment_index x;
    struct subject_iter it;
    enum err err = segment_index_read(fs, seg->path, seg->file_bytes, seg->salt, &x);

    if (err != ERR_OK)
        return err;
    for (uint32_t i = 0; i < l->nsubjects && err == ERR_OK; i++) {
        struct found *f = &l->subjects[i];
        if (subject_iter_find(&it, x.subjects, seg->base_seq, str_from(f->sub->text, f->sub->len)))
            err = take_run(l, seg, f, &it);
        subject_iter_deinit(&it);
    }
    segment_index_deinit(&x);
    return err;
}

static void ask_segment(struct early_lookup *l, struct io_fs *fs, struct lookup_segment *seg)
{
    fs_fd fd = fs_open(fs, seg->path, IO_FILE_READ);

    seg->err = fd < 0 ? err_from_errno(fd) : read_fences(fs, fd, seg);
    if (seg->err == ERR_OK && seg->fences->none)
        seg->err = ask_whole(l, fs, seg);
    else
        for (uint32_t i = 0; i < l->nsubjects && seg->err == ERR_OK; i++)
            seg->err = ask_block(l, fs, fd, seg, &l->subjects[i]);
    if (fd >= 0)
        fs_close(fs, fd);
    for (uint32_t i = 0; i < l->nsubjects; i++)
        seg->n[i] = l->subjects[i].sub->n;
}

static void run_lookup(struct io_work *work)
{
    struct early_lookup *l = CONTAINER_OF(work, struct early_lookup, work);

    for (uint32_t i = 0; i < l->nsegs; i++)
        ask_segment(l, work->fs, &l->segs[i]);
}

/* ---- a lookup -------------------------------------------------------------------------------- */

void segment_fences_free(struct segment *seg)
{
    struct segment_fences *f = seg->fences;

    seg->fences = NULL;
    if (f == NULL)
        return;
    mem_free(f->bytes);
    mem_free(f);
}

void early_subject_free(struct early_subject *sub)
{
    mem_free(sub->seqs);
    mem_free(sub);
}

/* Without the subjects that were taken. */
static void free_lookup(struct early_lookup *l)
{
    for (uint32_t i = 0; i < l->nsegs; i++) {
        struct lookup_segment *seg = &l->segs[i];
        if (seg->fences != NULL) {
            mem_free(seg->fences->bytes);
            mem_free(seg->fences);
        }
        mem_free(seg->path);
        mem_free(seg->n);
    }
    for (uint32_t i = 0; i < l->nsubjects; i++)
        if (l->subjects[i].sub != NULL)
            early_subject_free(l->subjects[i].sub);
    mem_free(l->segs);
    mem_free(l->subjects);
    mem_free(l->block);
    mem_free(l);
}

void early_lookup_add(struct early_lookup *l, struct str subject)
{
    if (l->nsubjects == EARLY_LOOKUP_MAX)
        return;
    for (uint32_t i = 0; i < l->nsubjects; i++) {
        const struct early_subject *sub = l->subjects[i].sub;
        if (str_eq(str_from(sub->text, sub->len), subject))
            return;
    }
    struct early_subject *sub = mem_zalloc(sizeof(*sub) + subject.n);
    sub->upto = l->upto;
    sub->len = (uint32_t) subject.n;
    memcpy(sub->text, subject.p, subject.n);
    l->subjects[l->nsubjects++].sub = sub;
}

static void add_segment(struct early_lookup *l, struct segment *seg)
{
    l->segs[l->nsegs++] = (struct lookup_segment){.number = seg->number,
                                                  .generation = seg->generation,
                                                  .salt = seg->salt,
                                                  .path = mem_strdup(seg->path),
                                                  .file_bytes = seg->capacity,
                                                  .base_seq = seg->base_seq,
                                                  .next_seq = seg->next_seq,
                                                  .fences = seg->fences};
    seg->fences = NULL; /* the lookup has them */
}

struct early_lookup *early_lookup_new(struct store_stream *s)
{
    struct early_lookup *l = mem_zalloc(sizeof(*l));

    l->store = s->store;
    l->upto = s->last_seq;
    l->subjects = mem_zalloc((EARLY_LOOKUP_MAX + 1) * sizeof(*l->subjects));
    l->segs = mem_zalloc((s->nindex + 1) * sizeof(*l->segs));
    for (uint32_t i = 0; i < s->nindex; i++)
        if (s->index[i]->index_at == INDEX_IN_FOOTER)
            add_segment(l, s->index[i]);
    return l;
}

static void lookup_done(struct io_op *op)
{
    struct early_lookup *l = CONTAINER_OF(op, struct early_lookup, work.op);

    if (!store_work_done(l->store, &l->work))
        return;
    if (l->ctx != NULL)
        l->done(l->ctx, l);
    free_lookup(l);
}

void early_lookup_start(struct early_lookup *l, early_lookup_fn *done, void *ctx)
{
    for (uint32_t i = 0; i < l->nsegs; i++)
        l->segs[i].n = mem_zalloc((l->nsubjects + 1) * sizeof(uint32_t));
    l->done = done;
    l->ctx = ctx;
    l->work.run = run_lookup;
    io_op_init(&l->work.op, lookup_done);
    store_work_submit(l->store, &l->work);
}

void early_lookup_forget(struct early_lookup *l)
{
    l->ctx = NULL;
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

    while (id != 0 && sub->n < EARLY_SEQS_MAX &&
           (at = column_next(&seg->column, id, at, seg->records)) != COLUMN_NONE) {
        uint64_t seq = segment_seq(seg, at++);
        if (seq > sub->upto)
            break;
        add_existing(sub, s, seq, cap);
    }
}

static struct lookup_segment *lookup_segment_of(const struct early_lookup *l,
                                                const struct segment *seg, uint32_t *hint)
{
    while (*hint < l->nsegs && l->segs[*hint].number < seg->number)
        ++*hint;
    struct lookup_segment *js = &l->segs[*hint];
    return *hint < l->nsegs && js->number == seg->number && js->generation == seg->generation
               ? js
               : NULL;
}

/* Subject k, from all segments in order; false when one could not be asked. */
static bool join(const struct early_lookup *l, const struct store_stream *s, uint32_t k)
{
    struct early_subject *sub = l->subjects[k].sub;
    uint32_t id = subjects_find(&s->subjects, str_from(sub->text, sub->len));
    uint64_t *found = sub->seqs;
    uint32_t cap = 0, hint = 0;
    bool whole = true;

    sub->seqs = NULL;
    sub->n = 0;
    for (uint32_t i = 0; i < s->nindex && whole; i++) {
        const struct segment *seg = s->index[i];
        const struct lookup_segment *js = lookup_segment_of(l, seg, &hint);
        if (seg->base_seq == 0 || seg->base_seq > sub->upto)
            break;
        if (seg->live == 0)
            continue;
        if (seg->index_at == INDEX_HERE) {
            add_from_column(sub, s, seg, id, &cap);
            continue;
        }
        whole = js != NULL && js->err == ERR_OK;
        for (uint32_t n = hint == 0 ? 0 : l->segs[hint - 1].n[k]; whole && n < js->n[k]; n++)
            add_existing(sub, s, found[n], &cap);
    }
    mem_free(found);
    return whole && sub->n < EARLY_SEQS_MAX;
}

void early_lookup_give_back(struct early_lookup *l, struct store_stream *s)
{
    for (uint32_t i = 0, hint = 0; i < s->nindex; i++) {
        struct segment *seg = s->index[i];
        struct lookup_segment *js = lookup_segment_of(l, seg, &hint);
        if (js == NULL || js->err != ERR_OK || seg->index_at != INDEX_IN_FOOTER)
            continue;
        seg->fences = js->fences;
        js->fences = NULL;
    }
}

uint32_t early_lookup_count(const struct early_lookup *l)
{
    return l->nsubjects;
}

struct early_subject *early_lookup_take(struct early_lookup *l, const struct store_stream *s,
                                        uint32_t k)
{
    struct early_subject *sub = l->subjects[k].sub;

    if (!join(l, s, k))
        return NULL;
    l->subjects[k].sub = NULL;
    return sub;
}
