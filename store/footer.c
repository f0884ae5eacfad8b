/*
 * Reading the footer of a sealed segment (docs/internals/store-format.md); footer_build.c writes
 * it.
 *
 * footer_open checks all sums, and then once every bound and order that the iterators rely on: a
 * footer that it accepts can be walked without further checks, whoever wrote it. One it refuses is
 * no loss but time: the segment is scanned instead.
 */
#include "store/footer.h"

#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "lib/base/varint.h"

#include <string.h>

/* ---- opening ------------------------------------------------------------------------------- */

struct opening {
    const uint8_t *bytes;
    uint64_t room; /* of the sections */
    uint32_t salt;
    const struct crypt_file *crypt;
    struct buf *opened; /* has room for all of them */
    struct footer *out;
};

/* Replaces the section's bytes by what is sealed in them. */
static bool open_section(const struct opening *o, const uint8_t *entry, const uint8_t **p,
                         uint64_t *n)
{
    uint8_t *to;

    if (o->crypt == NULL || *n < CRYPT_PIECE)
        return false;
    to = (uint8_t *) o->opened->p + o->opened->n;
    if (!crypt_open_piece(o->crypt, entry, FOOTER_SEAL_AD, *p, *n, to))
        return false;
    *n -= CRYPT_PIECE;
    *p = to;
    o->opened->n += *n;
    return true;
}

static enum err take_section(const struct opening *o, const uint8_t *entry)
{
    uint32_t type = get_u32(entry), version = get_u32(entry + 4), flags = get_u32(entry + 28);
    uint64_t offset = get_u64(entry + 8), n = get_u64(entry + 16);
    const uint8_t *p;
    struct footer *out = o->out;

    if (offset > o->room || n > o->room - offset)
        return ERR_CORRUPT;
    p = o->bytes + offset;
    if (crc32c(o->salt, p, n) != get_u32(entry + 24))
        return ERR_CORRUPT;
    if (type == 0 || type > SECTION_MAX || version != FOOTER_SECTION_VERSION)
        return (flags & FOOTER_MUST_UNDERSTAND) != 0 ? ERR_VERSION : ERR_OK;
    if (out->section[type].p != NULL)
        return ERR_CORRUPT;
    if ((flags & FOOTER_SEALED) != 0 && !open_section(o, entry, &p, &n))
        return ERR_CORRUPT;
    out->section[type] = str_from(p, n);
    return ERR_OK;
}

static bool take_summary(struct str s, struct segment_summary *out)
{
    if (s.n != FOOTER_SUMMARY)
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
    uint64_t next = f->summary.base_seq, at = SEGMENT_HEADER, records = 0;
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
            b.bytes > BATCH_BYTES_MAX || b.count > b.span || b.count > b.bytes)
            return false;
        records += b.count;
        next = b.first_seq + b.span;
        at = b.offset + b.bytes;
    }
    return f->summary.msgs <= records;
}

bool footer_sizes_sound(const struct footer *f)
{
    struct str left = f->section[SECTION_SIZES];
    uint64_t at = 0, span = f->summary.next_seq - f->summary.base_seq, msgs = 0, bytes = 0;
    uint64_t v, n, size = 0;

    while (left.n != 0) {
        if (!varint_take(&left, &v) || v > UINT32_MAX)
            return false;
        n = 1;
        if (v < SIZES_LEAST && (!varint_take(&left, &n) || n == 0))
            return false;
        if (n > span - at || (v == SIZES_REPEAT && size == 0))
            return false;
        size = v >= SIZES_LEAST ? v : size;
        at += n;
        msgs += v != SIZES_GAP ? n : 0;
        bytes += v != SIZES_GAP ? n * size : 0;
    }
    return at == span && msgs == f->summary.msgs && bytes == f->summary.bytes;
}

enum err footer_open(const uint8_t *bytes, size_t n, uint64_t file_bytes, uint32_t salt,
                     struct footer *out)
{
    return footer_open_sealed(bytes, n, file_bytes, salt, NULL, NULL, out);
}

enum err footer_open_sealed(const uint8_t *bytes, size_t n, uint64_t file_bytes, uint32_t salt,
                            const struct crypt_file *crypt, struct buf *room, struct footer *out)
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
    if (crc32c(salt, table, (size_t) t.sections * FOOTER_TABLE_ENTRY) != t.table_crc)
        return ERR_CORRUPT;
    struct opening o = {.bytes = bytes,
                        .room = t.table_offset - t.footer_offset,
                        .salt = salt,
                        .crypt = (t.incompat & STORE_ENCRYPTED) != 0 ? crypt : NULL,
                        .opened = room,
                        .out = out};
    if (o.crypt != NULL)
        buf_reserve(room, o.room);
    for (uint32_t i = 0; i < t.sections && err == ERR_OK; i++)
        err = take_section(&o, table + (size_t) i * FOOTER_TABLE_ENTRY);
    if (err != ERR_OK)
        return err;
    for (unsigned i = 0; i < ARRAY_LEN(needed); i++)
        if (out->section[needed[i]].p == NULL)
            return ERR_CORRUPT;
    if (!take_summary(out->section[SECTION_SUMMARY], &out->summary) ||
        !batches_sound(out, t.footer_offset) ||
        !subjects_sound(out->section[SECTION_SUBJECTS], &out->summary) || !footer_sizes_sound(out))
        return ERR_CORRUPT;
    return ERR_OK;
}

/* ---- a part of it -------------------------------------------------------------------------- */

enum err footer_places(const uint8_t *table, const struct segment_trailer *t, uint32_t salt,
                       struct footer_place out[SECTION_MAX + 1])
{
    static const unsigned needed[] = {SECTION_SUMMARY, SECTION_BATCHES, SECTION_SUBJECTS,
                                      SECTION_SIZES};
    uint64_t room = t->table_offset - t->footer_offset;

    memset(out, 0, (SECTION_MAX + 1) * sizeof(*out));
    if (crc32c(salt, table, (size_t) t->sections * FOOTER_TABLE_ENTRY) != t->table_crc)
        return ERR_CORRUPT;
    for (uint32_t i = 0; i < t->sections; i++) {
        const uint8_t *e = table + (size_t) i * FOOTER_TABLE_ENTRY;
        uint32_t type = get_u32(e), flags = get_u32(e + 28);
        struct footer_place place = {.there = true,
                                     .crc = get_u32(e + 24),
                                     .offset = get_u64(e + 8),
                                     .bytes = get_u64(e + 16)};
        if (place.offset > room || place.bytes > room - place.offset)
            return ERR_CORRUPT;
        if (type == 0 || type > SECTION_MAX || get_u32(e + 4) != FOOTER_SECTION_VERSION) {
            if ((flags & FOOTER_MUST_UNDERSTAND) != 0)
                return ERR_VERSION;
        } else if (out[type].there || (flags & FOOTER_SEALED) != 0) {
            return ERR_CORRUPT;
        } else {
            out[type] = place;
        }
    }
    for (unsigned i = 0; i < ARRAY_LEN(needed); i++)
        if (!out[needed[i]].there)
            return ERR_CORRUPT;
    return ERR_OK;
}

enum err footer_open_head(struct str summary, struct str batches, uint64_t footer_offset,
                          struct footer *out)
{
    memset(out, 0, sizeof(*out));
    out->section[SECTION_SUMMARY] = summary;
    out->section[SECTION_BATCHES] = batches;
    return take_summary(summary, &out->summary) && batches_sound(out, footer_offset) ? ERR_OK
                                                                                     : ERR_CORRUPT;
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
