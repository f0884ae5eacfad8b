/*
 * The fixed-size parts of a segment file: header page, batch index entry, trailer, name
 * (docs/internals/store-format.md). Sections are in footer.c.
 */
#include "store/segment_format.h"

#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "store/footer.h"

#include <stdio.h>
#include <string.h>

#define HEADER_MAGIC "MIDGESEG"
#define TRAILER_MAGIC "MIDGEFTR"
#define CRC_SEED 0xffffffffu

/* ---- header page --------------------------------------------------------------------------- */

enum {
    AT_VERSION = 8,
    AT_LENGTH = 12,
    AT_FEATURES = 16,
    AT_STORE = 40,
    AT_STREAM = 56,
    AT_NUMBER = 72,
    AT_BASE_SEQ = 80,
    AT_SALT = 88,
    AT_KEY = 92,
    AT_FILE_BYTES = 96,
    AT_CREATED = 104,
    AT_LAST_TIME = 112,
    AT_GENERATION = 120,
    AT_COVERS = 124,
    AT_NAME_LEN = 128,
    AT_NAME = 129,
    AT_OBJECT = 384,
    AT_COPY_BYTES = 392,
    AT_COPY = 396,
    AT_CRC = SEGMENT_HEADER - 4,
};
_Static_assert(AT_COPY + SEGMENT_COPY == AT_CRC, "the copy ends the page");

void segment_header_encode(struct segment_header *h, uint8_t out[SEGMENT_HEADER])
{
    h->version = STORE_FORMAT_VERSION;
    h->salt = store_salt_segment(h->store, h->stream, h->number, h->generation);
    if (h->key_id != 0)
        h->features.incompat |= STORE_ENCRYPTED;
    memset(out, 0, SEGMENT_HEADER);
    memcpy(out, HEADER_MAGIC, 8);
    put_u32(out + AT_VERSION, h->version);
    put_u32(out + AT_LENGTH, SEGMENT_HEADER);
    put_u64(out + AT_FEATURES, h->features.incompat);
    put_u64(out + AT_FEATURES + 8, h->features.readonly);
    put_u64(out + AT_FEATURES + 16, h->features.compat);
    memcpy(out + AT_STORE, h->store, 16);
    memcpy(out + AT_STREAM, h->stream, 16);
    put_u64(out + AT_NUMBER, h->number);
    put_u64(out + AT_BASE_SEQ, h->base_seq);
    put_u32(out + AT_SALT, h->salt);
    put_u32(out + AT_KEY, h->key_id);
    put_u64(out + AT_FILE_BYTES, h->file_bytes);
    put_u64(out + AT_CREATED, (uint64_t) h->created);
    put_u64(out + AT_LAST_TIME, (uint64_t) h->last_time);
    put_u32(out + AT_GENERATION, h->generation);
    put_u32(out + AT_COVERS, h->covers);
    out[AT_NAME_LEN] = h->name_len;
    memcpy(out + AT_NAME, h->name, h->name_len);
    if (h->object != 0 && h->copy.n > 0 && h->copy.n <= SEGMENT_COPY) {
        put_u64(out + AT_OBJECT, h->object);
        put_u32(out + AT_COPY_BYTES, (uint32_t) h->copy.n);
        memcpy(out + AT_COPY, h->copy.p, h->copy.n);
    }
    put_u32(out + AT_CRC, crc32c(CRC_SEED, out, AT_CRC));
}

enum err segment_header_decode(const uint8_t bytes[SEGMENT_HEADER], struct segment_header *out,
                               char why[160])
{
    memset(out, 0, sizeof(*out));
    if (memcmp(bytes, HEADER_MAGIC, 8) != 0) {
        snprintf(why, 160, "no segment header");
        return ERR_CORRUPT;
    }
    if (get_u32(bytes + AT_CRC) != crc32c(CRC_SEED, bytes, AT_CRC)) {
        snprintf(why, 160, "segment header damaged (checksum)");
        return ERR_CORRUPT;
    }
    out->version = get_u32(bytes + AT_VERSION);
    out->features.incompat = get_u64(bytes + AT_FEATURES);
    out->features.readonly = get_u64(bytes + AT_FEATURES + 8);
    out->features.compat = get_u64(bytes + AT_FEATURES + 16);
    enum err err = store_features_check(out->version, &out->features, why);
    if (err != ERR_OK)
        return err;
    memcpy(out->store, bytes + AT_STORE, 16);
    memcpy(out->stream, bytes + AT_STREAM, 16);
    out->number = get_u64(bytes + AT_NUMBER);
    out->base_seq = get_u64(bytes + AT_BASE_SEQ);
    out->salt = get_u32(bytes + AT_SALT);
    out->key_id = get_u32(bytes + AT_KEY);
    out->file_bytes = get_u64(bytes + AT_FILE_BYTES);
    out->created = (int64_t) get_u64(bytes + AT_CREATED);
    out->last_time = (int64_t) get_u64(bytes + AT_LAST_TIME);
    out->generation = get_u32(bytes + AT_GENERATION);
    out->covers = get_u32(bytes + AT_COVERS);
    out->name_len = bytes[AT_NAME_LEN];
    memcpy(out->name, bytes + AT_NAME, out->name_len);
    out->object = get_u64(bytes + AT_OBJECT);
    uint32_t copy = get_u32(bytes + AT_COPY_BYTES);
    if (copy > SEGMENT_COPY || (out->object == 0) != (copy == 0)) {
        snprintf(why, 160, "segment header contradicts itself");
        return ERR_CORRUPT;
    }
    if (copy > 0)
        out->copy = str_from((const char *) bytes + AT_COPY, copy);
    if (out->base_seq == 0 || get_u32(bytes + AT_LENGTH) != SEGMENT_HEADER ||
        out->salt != store_salt_segment(out->store, out->stream, out->number, out->generation)) {
        snprintf(why, 160, "segment header contradicts itself");
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

/* ---- batch index entry --------------------------------------------------------------------- */

void segment_batch_of(const struct batch_header *h, uint64_t offset, struct segment_batch *out)
{
    *out = (struct segment_batch){.first_seq = h->first_seq,
                                  .offset = offset,
                                  .bytes = h->bytes,
                                  .span = h->span,
                                  .count = batch_messages(h),
                                  .flags = h->flags,
                                  .kind = h->kind,
                                  .codec = h->codec,
                                  .min_time = h->base_time,
                                  .max_time = h->max_time};
}

/* ---- trailer ------------------------------------------------------------------------------- */

enum {
    T_VERSION = 8,
    T_SECTIONS = 12,
    T_FOOTER = 16,
    T_BYTES = 24,
    T_TABLE = 32,
    T_INCOMPAT = 40,
    T_TABLE_CRC = 48,
    T_FLAGS = 52,
    T_CRC = 60,
    T_SECTION = 32,
};

void segment_trailer_encode(const struct segment_trailer *t, uint32_t salt,
                            uint8_t out[SEGMENT_TRAILER])
{
    memset(out, 0, SEGMENT_TRAILER);
    memcpy(out, TRAILER_MAGIC, 8);
    put_u32(out + T_VERSION, STORE_FORMAT_VERSION);
    put_u32(out + T_SECTIONS, t->sections);
    put_u64(out + T_FOOTER, t->footer_offset);
    put_u64(out + T_BYTES, t->footer_bytes);
    put_u64(out + T_TABLE, t->table_offset);
    put_u64(out + T_INCOMPAT, t->incompat);
    put_u32(out + T_TABLE_CRC, t->table_crc);
    put_u32(out + T_FLAGS, t->flags);
    put_u32(out + T_CRC, crc32c(salt, out, T_CRC));
}

enum err segment_trailer_decode(const uint8_t bytes[SEGMENT_TRAILER], uint64_t file_bytes,
                                uint32_t salt, struct segment_trailer *out)
{
    if (memcmp(bytes, TRAILER_MAGIC, 8) != 0)
        return ERR_NOT_FOUND;
    if (get_u32(bytes + T_CRC) != crc32c(salt, bytes, T_CRC))
        return ERR_CORRUPT;
    out->sections = get_u32(bytes + T_SECTIONS);
    out->footer_offset = get_u64(bytes + T_FOOTER);
    out->footer_bytes = get_u64(bytes + T_BYTES);
    out->table_offset = get_u64(bytes + T_TABLE);
    out->incompat = get_u64(bytes + T_INCOMPAT);
    out->table_crc = get_u32(bytes + T_TABLE_CRC);
    out->flags = get_u32(bytes + T_FLAGS);
    if (get_u32(bytes + T_VERSION) != STORE_FORMAT_VERSION ||
        (out->incompat & ~(uint64_t) STORE_KNOWN_INCOMPAT) != 0)
        return ERR_VERSION;
    uint64_t table_bytes = (uint64_t) out->sections * T_SECTION;
    if (out->footer_offset < SEGMENT_HEADER || out->footer_offset > file_bytes ||
        out->footer_bytes != file_bytes - out->footer_offset ||
        out->footer_bytes < SEGMENT_TRAILER + table_bytes ||
        out->table_offset != file_bytes - SEGMENT_TRAILER - table_bytes)
        return ERR_CORRUPT;
    return ERR_OK;
}

/* ---- names --------------------------------------------------------------------------------- */

void segment_name(char out[48], uint64_t number, uint32_t generation)
{
    if (generation == 0)
        snprintf(out, 48, "%010llu.seg", (unsigned long long) number);
    else
        snprintf(out, 48, "%010llu-%u.seg", (unsigned long long) number, generation);
}

static bool parse_name(struct str name, const char *ending, uint64_t *number, uint32_t *generation)
{
    struct str rest, digits = str_cut(name, '.', &rest);
    size_t dash = str_index(digits, '-');
    uint64_t value = 0;

    if (!str_eq(rest, str_of(ending)))
        return false;
    if (dash < digits.n) {
        struct str tail = str_skip(digits, dash + 1);
        digits = str_take(digits, dash);
        if (tail.n == 0 || tail.p[0] == '0' || !str_to_u64(tail, &value) || value > UINT32_MAX)
            return false;
    }
    *generation = (uint32_t) value;
    return digits.n >= 10 && (digits.n == 10 || digits.p[0] != '0') && str_to_u64(digits, number);
}

bool segment_name_parse(const char *name, uint64_t *number, uint32_t *generation)
{
    return parse_name(str_of(name), "seg", number, generation);
}

bool segment_name_unfinished(const char *name)
{
    uint64_t number;
    uint32_t generation;

    return parse_name(str_of(name), &SEGMENT_UNFINISHED[1], &number, &generation);
}
