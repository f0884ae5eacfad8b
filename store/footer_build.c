/*
 * Building the footer of a sealed segment: sections, section table, trailer
 * (docs/internals/store-format.md).
 *
 * Messages come as a stream in order of sequence, twice. The first pass writes SIZES, counts per
 * subject, and adds up how many bytes the sequences of each will take; then the subjects that occur
 * are sorted, and every one gets its place in SUBJECTS; the second pass writes the sequences there.
 * Sizes and distances that repeat are counted, not written: streams of equal messages, and subjects
 * that take turns, cost next to nothing. So the work is linear, apart from the sorting, and the
 * memory is that of the result: a segment of 256 MiB with 128-byte messages has 1.7 million of
 * them, and an array of these cost more in page faults than everything else here.
 */
#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "lib/base/mem.h"
#include "lib/base/varint.h"
#include "store/fences.h"
#include "store/footer.h"

#include <stdlib.h>
#include <string.h>

enum { RESTART_EVERY = 16, CHUNK = 512 };

/* ---- the messages ---------------------------------------------------------------------------- */

/* What is known of a subject: after the first pass n and bytes, in the second where to go on. */
struct run {
    uint32_t n;
    uint32_t bytes;    /* of its sequences, as written */
    uint32_t last;     /* delta of its message before */
    uint32_t distance; /* of that from the one before it */
    uint32_t repeat;   /* how often that came again and is not written yet */
    size_t at;         /* in the section's buffer */
};

struct builder {
    const struct footer_input *in;
    struct segment_message chunk[CHUNK];
    size_t taken;
    struct run *runs; /* by subject */
    uint64_t messages, bytes;
};

static size_t next_chunk(struct builder *b, bool restart)
{
    const struct footer_input *in = b->in;
    size_t n;

    if (in->next != NULL)
        return in->next(in->ctx, restart, b->chunk, CHUNK);
    b->taken = restart ? 0 : b->taken;
    n = in->nmessages - b->taken < CHUNK ? in->nmessages - b->taken : CHUNK;
    if (n > 0)
        memcpy(b->chunk, in->messages + b->taken, n * sizeof(*b->chunk));
    b->taken += n;
    return n;
}

static uint32_t varint_bytes(uint32_t v)
{
    return (uint32_t) (31 - __builtin_clz(v | 1)) / 7 + 1;
}

static inline uint8_t *put_varint(uint8_t *p, uint32_t v)
{
    if (LIKELY(v < 0x80)) {
        *p = (uint8_t) v;
        return p + 1;
    }
    return p + varint_put(p, v);
}

/* `v` n more times: the mark and n where that is shorter. */
static uint8_t *put_repeat(uint8_t *p, uint8_t mark, uint32_t v, uint32_t n)
{
    if (n > 2) {
        *p++ = mark;
        return put_varint(p, n);
    }
    while (n-- > 0)
        p = put_varint(p, v);
    return p;
}

static uint32_t repeat_bytes(uint32_t v, uint32_t n)
{
    return n > 2 ? 1 + varint_bytes(n) : n * varint_bytes(v);
}

/* The writer of SIZES. */
struct sizes {
    uint64_t next; /* delta of the next sequence */
    uint32_t size, repeat;
};

/* A gap, a size, and what was repeated before them. */
#define SIZE_ROOM (1 + VARINT_MAX + VARINT_MAX)

static uint8_t *put_size(struct sizes *s, uint8_t *p, uint64_t delta, uint32_t size)
{
    if (LIKELY(delta == s->next && size == s->size)) {
        s->repeat++;
    } else {
        p = put_repeat(p, SIZES_REPEAT, s->size, s->repeat);
        s->repeat = 0;
        if (delta != s->next) {
            *p++ = SIZES_GAP;
            p += varint_put(p, delta - s->next);
        }
        p = put_varint(p, s->size = size);
    }
    s->next = delta + 1;
    return p;
}

static inline void count_message(struct run *run, uint32_t delta)
{
    uint32_t distance = delta - run->last;

    if (run->n++ != 0 && distance == run->distance) {
        run->repeat++;
    } else {
        run->bytes += repeat_bytes(run->distance, run->repeat) + varint_bytes(distance);
        run->distance = distance;
        run->repeat = 0;
    }
    run->last = delta;
}

static void first_pass(struct builder *b, struct buf *sizes)
{
    struct sizes s = {0};
    uint8_t *p, *begin;

    for (size_t n = next_chunk(b, true); n > 0; n = next_chunk(b, false)) {
        p = begin = (uint8_t *) buf_reserve(sizes, (CHUNK + 1) * SIZE_ROOM);
        for (size_t i = 0; i < n; i++) {
            const struct segment_message *m = &b->chunk[i];
            ASSERT(m->delta >= s.next && m->bytes >= SIZES_LEAST && m->subject < b->in->nsubjects);
            p = put_size(&s, p, m->delta, m->bytes);
            count_message(&b->runs[m->subject], m->delta);
            b->bytes += m->bytes;
        }
        sizes->n += (size_t) (p - begin);
        b->messages += n;
    }
    p = begin = (uint8_t *) buf_reserve(sizes, 2 * SIZE_ROOM);
    p = put_repeat(p, SIZES_REPEAT, s.size, s.repeat);
    uint64_t rest = b->in->next_seq - b->in->header.base_seq - s.next;
    if (rest != 0) {
        *p++ = SIZES_GAP;
        p += varint_put(p, rest);
    }
    sizes->n += (size_t) (p - begin);
}

static inline void put_message(struct run *run, uint8_t *to, uint32_t delta)
{
    uint32_t distance = delta - run->last;

    if (run->n++ != 0 && distance == run->distance) {
        run->repeat++;
    } else {
        uint8_t *p = put_repeat(to + run->at, RUN_REPEAT, run->distance, run->repeat);
        run->at = (size_t) (put_varint(p, distance) - to);
        run->distance = distance;
        run->repeat = 0;
    }
    run->last = delta;
}

static void second_pass(struct builder *b, struct buf *out)
{
    uint8_t *to = (uint8_t *) out->p;

    for (size_t n = next_chunk(b, true); n > 0; n = next_chunk(b, false))
        for (size_t i = 0; i < n; i++)
            put_message(&b->runs[b->chunk[i].subject], to, b->chunk[i].delta);
    for (size_t i = 0; i < b->in->nsubjects; i++) {
        const struct run *run = &b->runs[i];
        put_repeat(to + run->at, RUN_REPEAT, run->distance, run->repeat);
    }
}

/* ---- the subjects ---------------------------------------------------------------------------- */

struct subject_order {
    struct str subject;
    uint32_t id;
};

static int order_subjects(const void *a, const void *b)
{
    const struct subject_order *x = a, *y = b;
    return str_cmp(x->subject, y->subject);
}

/* Those that occur, sorted. */
static size_t sort_used(const struct builder *b, struct subject_order *order)
{
    const struct footer_input *in = b->in;
    size_t used = 0;

    for (size_t id = 0; id < in->nsubjects; id++)
        if (b->runs[id].n != 0)
            order[used++] = (struct subject_order){in->subjects[id], (uint32_t) id};
    qsort(order, used, sizeof(*order), order_subjects);
    return used;
}

static size_t shared_prefix(struct str a, struct str b)
{
    size_t n = 0, most = a.n < b.n ? a.n : b.n;

    while (n < most && a.p[n] == b.p[n])
        n++;
    return n;
}

/* The subjects, with room for the sequences of each. */
static void place_subjects(struct builder *b, const struct subject_order *order, size_t used,
                           struct buf *out)
{
    size_t restarts = (used + RESTART_EVERY - 1) / RESTART_EVERY, head = out->n;
    struct str before = STR_NONE;

    buf_reserve(out, 8 + restarts * 4);
    put_u32(out->p + head, (uint32_t) used);
    put_u32(out->p + head + 4, (uint32_t) restarts);
    out->n += 8 + restarts * 4;
    size_t entries = out->n;
    for (size_t i = 0; i < used; i++) {
        struct run *run = &b->runs[order[i].id];
        struct str s = order[i].subject;
        size_t shared = i % RESTART_EVERY == 0 ? 0 : shared_prefix(before, s);
        if (i % RESTART_EVERY == 0)
            put_u32(out->p + head + 8 + i / RESTART_EVERY * 4, (uint32_t) (out->n - entries));
        varint_put_buf(out, shared);
        varint_put_buf(out, s.n - shared);
        buf_put_str(out, str_skip(s, shared));
        run->bytes += repeat_bytes(run->distance, run->repeat);
        varint_put_buf(out, run->n);
        varint_put_buf(out, run->bytes);
        buf_reserve(out, run->bytes);
        out->n += run->bytes;
        *run = (struct run){.at = out->n - run->bytes};
        before = s;
    }
}

static void summarize(const struct builder *b, uint64_t subjects, struct segment_summary *s)
{
    const struct footer_input *in = b->in;

    *s = (struct segment_summary){.base_seq = in->header.base_seq,
                                  .next_seq = in->next_seq,
                                  .data_end = in->data_end,
                                  .msgs = b->messages,
                                  .bytes = b->bytes,
                                  .batches = in->nbatches,
                                  .subjects = subjects,
                                  .flags = in->flags};
    for (size_t i = 0; i < in->nbatches; i++) {
        const struct segment_batch *batch = &in->batches[i];
        s->min_time = i == 0 || batch->min_time < s->min_time ? batch->min_time : s->min_time;
        s->max_time = i == 0 || batch->max_time > s->max_time ? batch->max_time : s->max_time;
    }
}

enum err footer_build_index(const struct footer_input *in, struct buf *subjects, struct buf *sizes,
                            struct segment_summary *summary)
{
    struct builder *b = mem_zalloc(sizeof(*b));
    struct subject_order *order = mem_try_alloc((in->nsubjects + 1) * sizeof(*order));
    enum err err = ERR_NO_MEMORY;

    ASSERT(in->next_seq >= in->header.base_seq && in->next_seq - in->header.base_seq <= UINT32_MAX);
    b->in = in;
    b->runs = mem_try_alloc((in->nsubjects + 1) * sizeof(*b->runs));
    if (order != NULL && b->runs != NULL) {
        memset(b->runs, 0, (in->nsubjects + 1) * sizeof(*b->runs));
        first_pass(b, sizes);
        size_t used = sort_used(b, order);
        place_subjects(b, order, used, subjects);
        second_pass(b, subjects);
        summarize(b, used, summary);
        err = ERR_OK;
    }
    mem_free(order);
    mem_free(b->runs);
    mem_free(b);
    return err;
}

/* ---- the other sections ---------------------------------------------------------------------- */

static void put_summary(const struct segment_summary *s, struct buf *out)
{
    char *p = buf_reserve(out, FOOTER_SUMMARY);

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
    out->n += FOOTER_SUMMARY;
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

/* Sections are collected behind out->n, which stands at `start` for the footer's first byte. */
struct section_table {
    struct buf *out;
    size_t start;
    uint32_t salt;
    const struct crypt_file *crypt;
    struct crypt_nonces *nonces;
    uint32_t n;
    uint8_t entries[(SECTION_MAX + 1) * FOOTER_TABLE_ENTRY];
};

static void pad8(struct section_table *t)
{
    static const char zeros[8];
    size_t odd = (t->out->n - t->start) % 8;

    if (odd != 0)
        buf_put(t->out, zeros, 8 - odd);
}

/* Sequences, sizes and times are no secrets, everything else is. */
static bool is_secret(enum segment_section type)
{
    return type != SECTION_SUMMARY && type != SECTION_BATCHES && type != SECTION_SIZES;
}

static void seal_section(struct section_table *t, const uint8_t *entry, size_t from)
{
    size_t n = t->out->n - from;

    buf_reserve(t->out, CRYPT_PIECE);
    uint8_t *p = (uint8_t *) t->out->p + from;
    memmove(p + CRYPT_NONCE, p, n);
    crypt_seal_piece(t->crypt, t->nonces, entry, FOOTER_SEAL_AD, p + CRYPT_NONCE, n, p);
    t->out->n += CRYPT_PIECE;
}

/* The section lies in out from `from` to the end. */
static void end_section(struct section_table *t, enum segment_section type, size_t from)
{
    uint8_t *e = t->entries + t->n++ * FOOTER_TABLE_ENTRY;

    bool sealed = t->crypt != NULL && is_secret(type);

    put_u32(e, (uint32_t) type);
    put_u32(e + 4, FOOTER_SECTION_VERSION);
    if (sealed)
        seal_section(t, e, from);
    put_u64(e + 8, from - t->start);
    put_u64(e + 16, t->out->n - from);
    put_u32(e + 24, crc32c(t->salt, t->out->p + from, t->out->n - from));
    put_u32(e + 28,
            (type <= SECTION_SIZES ? FOOTER_MUST_UNDERSTAND : 0u) | (sealed ? FOOTER_SEALED : 0u));
    pad8(t);
}

/* No sector of the disk has only a part of the trailer. */
static void pad_table(struct section_table *t)
{
    static const char zeros[SEGMENT_TRAILER];
    size_t odd = (t->out->n - t->start + t->n * FOOTER_TABLE_ENTRY) % SEGMENT_TRAILER;

    if (odd != 0)
        buf_put(t->out, zeros, SEGMENT_TRAILER - odd);
}

static void end_footer(struct section_table *t, const struct footer_input *in)
{
    uint8_t bytes[SEGMENT_TRAILER];
    size_t table;

    pad_table(t);
    table = t->out->n;
    buf_put(t->out, t->entries, t->n * FOOTER_TABLE_ENTRY);
    struct segment_trailer trailer = {
        .footer_offset = in->footer_offset,
        .footer_bytes = t->out->n - t->start + SEGMENT_TRAILER,
        .table_offset = in->footer_offset + (table - t->start),
        .sections = t->n,
        .incompat = t->crypt != NULL ? STORE_ENCRYPTED : 0,
        .flags = in->flags,
        .table_crc = crc32c(t->salt, t->entries, t->n * FOOTER_TABLE_ENTRY)};
    segment_trailer_encode(&trailer, t->salt, bytes);
    buf_put(t->out, bytes, sizeof(bytes));
}

enum err footer_build(const struct footer_input *in, struct buf *out)
{
    struct section_table t = {.out = out,
                              .start = out->n,
                              .salt = in->header.salt,
                              .crypt = crypt_file_on(in->crypt) ? in->crypt : NULL,
                              .nonces = in->nonces};
    struct segment_summary summary;
    struct buf sizes = {0}, fences = {0};

    ASSERT(in->footer_offset % SEGMENT_PAGE == 0 && in->footer_offset >= in->data_end);
    size_t at = out->n;
    put_batches(in->batches, in->nbatches, out);
    end_section(&t, SECTION_BATCHES, at);
    at = out->n;
    enum err err = footer_build_index(in, out, &sizes, &summary);
    if (err != ERR_OK) {
        out->n = t.start;
        return err;
    }
    if (t.crypt == NULL) /* a sealed piece is opened as a whole */
        fences_build(str_from(out->p + at, out->n - at), t.salt, &fences);
    end_section(&t, SECTION_SUBJECTS, at);
    if (fences.n > 0) {
        at = out->n;
        buf_put_str(out, buf_str(&fences));
        end_section(&t, SECTION_FENCES, at);
    }
    buf_free(&fences);
    at = out->n;
    buf_put_str(out, buf_str(&sizes));
    buf_free(&sizes);
    end_section(&t, SECTION_SIZES, at);
    at = out->n;
    put_summary(&summary, out);
    end_section(&t, SECTION_SUMMARY, at);
    end_footer(&t, in);
    return ERR_OK;
}
