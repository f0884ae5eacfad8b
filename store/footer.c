/*
 * The footer of a sealed segment: sections, section table, trailer
 * (docs/internals/store-format.md).
 *
 * Building. SUBJECTS needs the sequences of each subject in order. The caller has a subject number
 * per sequence, so a counting sort gives the runs in two linear passes; only the subjects
 * themselves are sorted by comparison.
 *
 * Reading. footer_open checks all sums, and then once every bound and order that the iterators rely
 * on: a footer that it accepts can be walked without further checks, whoever wrote it. One it
 * refuses is no loss but time: the segment is scanned instead.
 */
#include "store/footer.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "lib/base/mem.h"
#include "lib/base/varint.h"

#include <stdlib.h>
#include <string.h>

enum {
    SUMMARY_BYTES = 80,
    TABLE_ENTRY = 32,
    RESTART_EVERY = 16,
    MUST_UNDERSTAND = 1,
    VARINT_U32_MAX = 5
};
#define SECTION_VERSION 1u

/* ---- building ------------------------------------------------------------------------------ */

static void put_summary(const struct segment_summary *s, struct buf *out)
{
    char *p = buf_reserve(out, SUMMARY_BYTES);

    put_u64(p, s->base_seq);
    put_u64(p + 8, s->next_seq);
    put_u64(p + 16, s->msgs);
    put_u64(p + 24, s->bytes);
    put_u64(p + 32, (uint64_t) s->min_time);
    put_u64(p + 40, (uint64_t) s->max_time);
    put_u64(p + 48, s->data_end);
    put_u64(p + 56, s->batches);
    put_u64(p + 64, s->subjects);
    put_u32(p + 72, s->flags);
    put_u32(p + 76, 0);
    out->n += SUMMARY_BYTES;
}

static void put_batches(const struct segment_batch *b, size_t n, struct buf *out)
{
    for (; n-- > 0; b++) {
        char *p = buf_reserve(out, SEGMENT_BATCH);
        put_u64(p, b->first_seq);
        put_u64(p + 8, b->offset);
        put_u32(p + 16, b->bytes);
        put_u32(p + 20, b->span);
        put_u32(p + 24, b->count);
        put_u16(p + 28, b->flags);
        p[30] = (char) b->kind;
        p[31] = (char) b->codec;
        put_u64(p + 32, (uint64_t) b->min_time);
        put_u64(p + 40, (uint64_t) b->max_time);
        out->n += SEGMENT_BATCH;
    }
}

/* `n` sequences without a message. */
static void put_gap(uint64_t n, struct buf *out)
{
    if (n == 0)
        return;
    varint_put_buf(out, 0);
    varint_put_buf(out, n);
}

void footer_build_sizes(const struct footer_input *in, struct buf *out)
{
    uint64_t next = 0;

    for (size_t i = 0; i < in->nmessages; i++) {
        const struct segment_message *m = &in->messages[i];
        ASSERT(m->delta >= next && m->bytes != 0);
        put_gap(m->delta - next, out);
        varint_put_buf(out, m->bytes);
        next = (uint64_t) m->delta + 1;
    }
    put_gap(in->next_seq - in->header.base_seq - next, out);
}

struct subject_order {
    struct str subject;
    uint32_t id;
};

static int order_subjects(const void *a, const void *b)
{
    const struct subject_order *x = a, *y = b;
    return str_cmp(x->subject, y->subject);
}

/* The subjects that occur, sorted; start[id] = where the run of subject id begins in the sorted
 * positions. */
static size_t sort_used(const struct footer_input *in, uint32_t *start, struct subject_order *order)
{
    size_t used = 0;

    memset(start, 0, (in->nsubjects + 1) * sizeof(*start));
    for (size_t i = 0; i < in->nmessages; i++) {
        ASSERT(in->messages[i].subject < in->nsubjects);
        start[in->messages[i].subject + 1]++;
    }
    for (size_t id = 0; id < in->nsubjects; id++) {
        if (start[id + 1] != 0)
            order[used++] = (struct subject_order){in->subjects[id], (uint32_t) id};
        start[id + 1] += start[id];
    }
    qsort(order, used, sizeof(*order), order_subjects);
    return used;
}

static void place_runs(const struct footer_input *in, uint32_t *start, uint32_t *positions)
{
    for (size_t i = 0; i < in->nmessages; i++)
        positions[start[in->messages[i].subject]++] = in->messages[i].delta;
    /* Every start has moved to the next one's place. */
    memmove(start + 1, start, in->nsubjects * sizeof(*start));
    start[0] = 0;
}

static size_t shared_prefix(struct str a, struct str b)
{
    size_t n = 0, most = a.n < b.n ? a.n : b.n;

    while (n < most && a.p[n] == b.p[n])
        n++;
    return n;
}

static void put_run(const uint32_t *positions, uint32_t n, struct buf *run, struct buf *out)
{
    buf_clear(run);
    uint8_t *p = (uint8_t *) buf_reserve(run, (size_t) n * VARINT_U32_MAX);
    uint8_t *begin = p;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t delta = positions[i] - (i != 0 ? positions[i - 1] : 0);
        if (LIKELY(delta < 0x80))
            *p++ = (uint8_t) delta;
        else
            p += varint_put(p, delta);
    }
    run->n = (size_t) (p - begin);
    varint_put_buf(out, n);
    varint_put_buf(out, run->n);
    buf_put_str(out, buf_str(run));
}

static void put_subjects(const struct subject_order *order, size_t used, const uint32_t *start,
                         const uint32_t *positions, struct buf *out)
{
    size_t restarts = (used + RESTART_EVERY - 1) / RESTART_EVERY, head = out->n;
    struct str before = STR_NONE;
    struct buf run = {0};

    buf_reserve(out, 8 + restarts * 4);
    put_u32(out->p + head, (uint32_t) used);
    put_u32(out->p + head + 4, (uint32_t) restarts);
    out->n += 8 + restarts * 4;
    size_t entries = out->n;
    for (size_t i = 0; i < used; i++) {
        struct str s = order[i].subject;
        size_t shared = i % RESTART_EVERY == 0 ? 0 : shared_prefix(before, s);
        if (i % RESTART_EVERY == 0)
            put_u32(out->p + head + 8 + i / RESTART_EVERY * 4, (uint32_t) (out->n - entries));
        varint_put_buf(out, shared);
        varint_put_buf(out, s.n - shared);
        buf_put_str(out, str_skip(s, shared));
        uint32_t first = start[order[i].id];
        put_run(positions + first, start[order[i].id + 1] - first, &run, out);
        before = s;
    }
    buf_free(&run);
}

enum err footer_build_subjects(const struct footer_input *in, struct buf *out, uint64_t *subjects)
{
    uint32_t *start = mem_try_alloc((in->nsubjects + 1) * sizeof(*start));
    uint32_t *positions = mem_try_alloc((in->nmessages + 1) * sizeof(*positions));
    struct subject_order *order = mem_try_alloc((in->nsubjects + 1) * sizeof(*order));
    enum err err = ERR_NO_MEMORY;

    if (start != NULL && positions != NULL && order != NULL) {
        size_t used = sort_used(in, start, order);
        place_runs(in, start, positions);
        put_subjects(order, used, start, positions, out);
        *subjects = used;
        err = ERR_OK;
    }
    mem_free(order);
    mem_free(positions);
    mem_free(start);
    return err;
}

void footer_summarize(const struct footer_input *in, struct segment_summary *s)
{
    *s = (struct segment_summary){.base_seq = in->header.base_seq,
                                  .next_seq = in->next_seq,
                                  .data_end = in->data_end,
                                  .msgs = in->nmessages,
                                  .batches = in->nbatches,
                                  .flags = in->flags};
    for (size_t i = 0; i < in->nmessages; i++)
        s->bytes += in->messages[i].bytes;
    for (size_t i = 0; i < in->nbatches; i++) {
        const struct segment_batch *b = &in->batches[i];
        s->min_time = i == 0 || b->min_time < s->min_time ? b->min_time : s->min_time;
        s->max_time = i == 0 || b->max_time > s->max_time ? b->max_time : s->max_time;
    }
}

/* Sections are collected behind out->n, which stands at `start` for the footer's first byte. */
struct section_table {
    struct buf *out;
    size_t start;
    uint32_t salt;
    uint32_t n;
    uint8_t entries[(SECTION_MAX + 1) * TABLE_ENTRY];
};

static void pad8(struct section_table *t)
{
    static const char zeros[8];
    size_t odd = (t->out->n - t->start) % 8;

    if (odd != 0)
        buf_put(t->out, zeros, 8 - odd);
}

/* The section lies in out from `from` to the end. */
static void end_section(struct section_table *t, enum segment_section type, size_t from)
{
    uint8_t *e = t->entries + t->n++ * TABLE_ENTRY;

    put_u32(e, (uint32_t) type);
    put_u32(e + 4, SECTION_VERSION);
    put_u64(e + 8, from - t->start);
    put_u64(e + 16, t->out->n - from);
    put_u32(e + 24, crc32c(t->salt, t->out->p + from, t->out->n - from));
    put_u32(e + 28, type <= SECTION_SIZES ? MUST_UNDERSTAND : 0);
    pad8(t);
}

static void end_footer(struct section_table *t, uint64_t footer_offset)
{
    uint8_t bytes[SEGMENT_TRAILER];
    size_t table = t->out->n;

    buf_put(t->out, t->entries, t->n * TABLE_ENTRY);
    struct segment_trailer trailer = {.footer_offset = footer_offset,
                                      .footer_bytes = t->out->n - t->start + SEGMENT_TRAILER,
                                      .table_offset = footer_offset + (table - t->start),
                                      .sections = t->n,
                                      .table_crc = crc32c(t->salt, t->entries, t->n * TABLE_ENTRY)};
    segment_trailer_encode(&trailer, t->salt, bytes);
    buf_put(t->out, bytes, sizeof(bytes));
}

enum err footer_build(const struct footer_input *in, struct buf *out)
{
    struct section_table t = {.out = out, .start = out->n, .salt = in->header.salt};
    struct segment_summary summary;

    ASSERT(in->footer_offset % SEGMENT_PAGE == 0 && in->footer_offset >= in->data_end);
    ASSERT(in->next_seq >= in->header.base_seq && in->next_seq - in->header.base_seq <= UINT32_MAX);
    footer_summarize(in, &summary);
    size_t at = out->n;
    put_batches(in->batches, in->nbatches, out);
    end_section(&t, SECTION_BATCHES, at);
    at = out->n;
    enum err err = footer_build_subjects(in, out, &summary.subjects);
    if (err != ERR_OK) {
        out->n = t.start;
        return err;
    }
    end_section(&t, SECTION_SUBJECTS, at);
    at = out->n;
    footer_build_sizes(in, out);
    end_section(&t, SECTION_SIZES, at);
    at = out->n;
    put_summary(&summary, out);
    end_section(&t, SECTION_SUMMARY, at);
    end_footer(&t, in->footer_offset);
    return ERR_OK;
}

/* ---- opening ------------------------------------------------------------------------------- */

static enum err take_section(const uint8_t *entry, const uint8_t *bytes, uint64_t room,
                             uint32_t salt, struct footer *out)
{
    uint32_t type = get_u32(entry), version = get_u32(entry + 4), flags = get_u32(entry + 28);
    uint64_t offset = get_u64(entry + 8), n = get_u64(entry + 16);

    if (offset > room || n > room - offset ||
        crc32c(salt, bytes + offset, n) != get_u32(entry + 24))
        return ERR_CORRUPT;
    if (type == 0 || type > SECTION_MAX || version != SECTION_VERSION)
        return (flags & MUST_UNDERSTAND) != 0 ? ERR_VERSION : ERR_OK;
    if (out->section[type].p != NULL)
        return ERR_CORRUPT;
    out->section[type] = str_from(bytes + offset, n);
    return ERR_OK;
}

static bool take_summary(struct str s, struct segment_summary *out)
{
    if (s.n != SUMMARY_BYTES)
        return false;
    out->base_seq = get_u64(s.p);
    out->next_seq = get_u64(s.p + 8);
    out->msgs = get_u64(s.p + 16);
    out->bytes = get_u64(s.p + 24);
    out->min_time = (int64_t) get_u64(s.p + 32);
    out->max_time = (int64_t) get_u64(s.p + 40);
    out->data_end = get_u64(s.p + 48);
    out->batches = get_u64(s.p + 56);
    out->subjects = get_u64(s.p + 64);
    out->flags = get_u32(s.p + 72);
    return out->base_seq != 0 && out->next_seq >= out->base_seq &&
           out->next_seq - out->base_seq <= UINT32_MAX;
}

/* Inside the file, without overlap, in order of sequence. */
static bool batches_sound(const struct footer *f, uint64_t footer_offset)
{
    uint64_t next = f->summary.base_seq, at = SEGMENT_HEADER;
    struct segment_batch b;

    if (f->section[SECTION_BATCHES].n / SEGMENT_BATCH != f->summary.batches ||
        f->section[SECTION_BATCHES].n % SEGMENT_BATCH != 0 || f->summary.data_end > footer_offset)
        return false;
    for (uint64_t i = 0; i < f->summary.batches; i++) {
        footer_batch(f, i, &b);
        if (b.first_seq < next || b.span == 0 || b.first_seq > f->summary.next_seq ||
            b.span > f->summary.next_seq - b.first_seq || b.offset < at ||
            b.offset % BATCH_ALIGN != 0 || b.offset > f->summary.data_end ||
            b.bytes > f->summary.data_end - b.offset || b.bytes < BATCH_HEADER ||
            b.bytes > BATCH_BYTES_MAX || b.count > b.span)
            return false;
        next = b.first_seq + b.span;
        at = b.offset + b.bytes;
    }
    return true;
}

static bool sizes_sound(const struct footer *f)
{
    struct str left = f->section[SECTION_SIZES];
    uint64_t v, gap, at = 0, span = f->summary.next_seq - f->summary.base_seq, msgs = 0, bytes = 0;

    while (left.n != 0) {
        if (!varint_take(&left, &v) || v > UINT32_MAX)
            return false;
        gap = 1;
        if (v == 0 && (!varint_take(&left, &gap) || gap == 0))
            return false;
        if (gap > span - at)
            return false;
        at += gap;
        msgs += v != 0;
        bytes += v;
    }
    return at == span && msgs == f->summary.msgs && bytes == f->summary.bytes;
}

enum err footer_open(const uint8_t *bytes, size_t n, uint64_t file_bytes, uint32_t salt,
                     struct footer *out)
{
    struct segment_trailer t;
    static const unsigned needed[] = {SECTION_SUMMARY, SECTION_BATCHES, SECTION_SUBJECTS,
                                      SECTION_SIZES};

    memset(out, 0, sizeof(*out));
    enum err err = n < SEGMENT_TRAILER
                       ? ERR_CORRUPT
                       : segment_trailer_decode(bytes + n - SEGMENT_TRAILER, file_bytes, salt, &t);
    if (err != ERR_OK)
        return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
    if (t.footer_bytes != n)
        return ERR_CORRUPT;
    const uint8_t *table = bytes + (t.table_offset - t.footer_offset);
    if (crc32c(salt, table, (size_t) t.sections * TABLE_ENTRY) != t.table_crc)
        return ERR_CORRUPT;
    for (uint32_t i = 0; i < t.sections && err == ERR_OK; i++)
        err = take_section(table + (size_t) i * TABLE_ENTRY, bytes,
                           t.table_offset - t.footer_offset, salt, out);
    if (err != ERR_OK)
        return err;
    for (unsigned i = 0; i < ARRAY_LEN(needed); i++)
        if (out->section[needed[i]].p == NULL)
            return ERR_CORRUPT;
    if (!take_summary(out->section[SECTION_SUMMARY], &out->summary) ||
        !batches_sound(out, t.footer_offset) ||
        !subjects_sound(out->section[SECTION_SUBJECTS], &out->summary) || !sizes_sound(out))
        return ERR_CORRUPT;
    return ERR_OK;
}

void footer_batch(const struct footer *f, uint64_t i, struct segment_batch *out)
{
    const char *p = f->section[SECTION_BATCHES].p + i * SEGMENT_BATCH;

    *out = (struct segment_batch){.first_seq = get_u64(p),
                                  .offset = get_u64(p + 8),
                                  .bytes = get_u32(p + 16),
                                  .span = get_u32(p + 20),
                                  .count = get_u32(p + 24),
                                  .flags = get_u16(p + 28),
                                  .kind = (uint8_t) p[30],
                                  .codec = (uint8_t) p[31],
                                  .min_time = (int64_t) get_u64(p + 32),
                                  .max_time = (int64_t) get_u64(p + 40)};
}

bool footer_batch_find(const struct footer *f, uint64_t seq, uint64_t *i)
{
    uint64_t low = 0, high = f->summary.batches;
    struct segment_batch b;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        footer_batch(f, middle, &b);
        if (b.first_seq + b.span <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    *i = low;
    return low < f->summary.batches;
}
