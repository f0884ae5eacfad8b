/*
 * Batches: the slow half of batch.h. The byte layout is in docs/internals/store-format.md.
 *
 * What a decoder may believe, in this order:
 *   1. magic, kind, codec, flags and lengths that fit together (batch_header_decode): enough to
 * decide how many bytes to read, nothing more;
 *   2. the crc over header and table (batch_view_open): now the lengths, the sequences and the
 * table are as written; the table's order and bounds are checked all the same, so that a wrong
 * writer can not make a reader go outside of the body;
 *   3. record by record, its crc and inner lengths (batch_record_verify).
 * batch_record_get relies on all three.
 *
 * One damaged byte in header or table would cost the whole batch, 64 KiB of messages. batch_repair
 * finds it (repair.h) and believes the result only when a record's own checksum, which is seeded
 * with its sequence, confirms it.
 */
#include "store/batch.h"

#include "lib/base/mem.h"
#include "store/plant.h"
#include "store/repair.h"
#include "store/store.h"

enum {
    AT_MAGIC = 0,
    AT_CRC = 4,
    AT_BYTES = 8,
    AT_TABLE = 12,
    AT_BODY = 16,
    AT_RAW = 20,
    AT_FIRST = 24,
    AT_DURABLE = 32,
    AT_BASE_TIME = 40,
    AT_MAX_TIME = 48,
    AT_SPAN = 56,
    AT_COUNT = 60,
    AT_EPOCH = 64,
    AT_KIND = 68,
    AT_CODEC = 69,
    AT_FLAGS = 70,
    AT_NONCE = 72,
};
_Static_assert(AT_NONCE + 24 == BATCH_HEADER, "the nonce ends the header");

#define RECORD_MIN (BATCH_RECORD_HEADER + 1 + BATCH_RECORD_TAIL)

uint64_t store_msg_bytes(enum store_level level, size_t subject, size_t header, size_t payload)
{
    if (level == STORE_MEMORY)
        return subject + header + payload + 16;
    return 22 + subject + header + (header != 0 ? 4 : 0) + payload + 8;
}

/* ---- header -------------------------------------------------------------------------------- */

void batch_header_encode(const struct batch_header *h, uint8_t out[BATCH_HEADER])
{
    put_u32(out + AT_MAGIC, BATCH_MAGIC);
    put_u32(out + AT_CRC, h->crc);
    put_u32(out + AT_BYTES, h->bytes);
    put_u32(out + AT_TABLE, h->table_bytes);
    put_u32(out + AT_BODY, h->body_bytes);
    put_u32(out + AT_RAW, h->raw_bytes);
    put_u64(out + AT_FIRST, h->first_seq);
    put_u64(out + AT_DURABLE, h->durable_seq);
    put_u64(out + AT_BASE_TIME, (uint64_t) h->base_time);
    put_u64(out + AT_MAX_TIME, (uint64_t) h->max_time);
    put_u32(out + AT_SPAN, h->span);
    put_u32(out + AT_COUNT, h->count);
    put_u32(out + AT_EPOCH, h->epoch);
    out[AT_KIND] = h->kind;
    out[AT_CODEC] = h->codec;
    put_u16(out + AT_FLAGS, h->flags);
    memcpy(out + AT_NONCE, h->nonce, sizeof(h->nonce));
}

static void read_header(const uint8_t *p, struct batch_header *h)
{
    h->crc = get_u32(p + AT_CRC);
    h->bytes = get_u32(p + AT_BYTES);
    h->table_bytes = get_u32(p + AT_TABLE);
    h->body_bytes = get_u32(p + AT_BODY);
    h->raw_bytes = get_u32(p + AT_RAW);
    h->first_seq = get_u64(p + AT_FIRST);
    h->durable_seq = get_u64(p + AT_DURABLE);
    h->base_time = (int64_t) get_u64(p + AT_BASE_TIME);
    h->max_time = (int64_t) get_u64(p + AT_MAX_TIME);
    h->span = get_u32(p + AT_SPAN);
    h->count = get_u32(p + AT_COUNT);
    h->epoch = get_u32(p + AT_EPOCH);
    h->kind = p[AT_KIND];
    h->codec = p[AT_CODEC];
    h->flags = get_u16(p + AT_FLAGS);
    memcpy(h->nonce, p + AT_NONCE, sizeof(h->nonce));
}

/* Do count, span and the three lengths of a native batch fit together? */
static bool native_lengths(const struct batch_header *h)
{
    bool sparse = (h->flags & BATCH_SPARSE) != 0;
    uint64_t entry = sparse ? BATCH_ENTRY + 4 : BATCH_ENTRY;

    return h->count != 0 && h->table_bytes == h->count * entry && codec_lengths(h) &&
           h->raw_bytes >= (uint64_t) h->count * RECORD_MIN &&
           (sparse ? h->span >= h->count : h->span == h->count);
}

/* One record: the subject, and the producer's batch as its payload. It is not compressed, so that
 * it can be sent from where it lies. */
static bool kafka_lengths(const struct batch_header *h)
{
    bool sparse = (h->flags & BATCH_SPARSE) != 0;

    if (sparse ? h->table_bytes < BATCH_ENTRY + 8 || (h->table_bytes - BATCH_ENTRY) % 8 != 0 ||
                     batch_messages(h) > h->span
               : h->table_bytes != BATCH_ENTRY)
        return false;
    return h->count == 1 && h->codec == BATCH_PLAIN && codec_lengths(h) &&
           h->raw_bytes >= RECORD_MIN && h->span <= BATCH_KAFKA_SPAN_MAX;
}

enum err batch_header_decode(const uint8_t bytes[BATCH_HEADER], struct batch_header *out)
{
    if (get_u32(bytes + AT_MAGIC) != BATCH_MAGIC)
        return ERR_CORRUPT;
    read_header(bytes, out);
    if (out->table_bytes > BATCH_TABLE_MAX || out->body_bytes > BATCH_BODY_MAX ||
        out->raw_bytes > BATCH_BODY_MAX ||
        out->bytes !=
            round_up((uint64_t) BATCH_HEADER + out->table_bytes + out->body_bytes, BATCH_ALIGN) ||
        out->first_seq == 0 || out->span == 0 || out->first_seq > UINT64_MAX - out->span ||
        out->max_time < out->base_time)
        return ERR_CORRUPT;
    if (out->kind == BATCH_SKIP)
        return out->table_bytes == 0 && out->body_bytes == 0 && out->count == 0 ? ERR_OK
                                                                                : ERR_CORRUPT;
    if ((out->kind != BATCH_NATIVE && out->kind != BATCH_KAFKA) || out->codec > BATCH_LZ4 ||
        (out->flags & ~BATCH_FLAGS_KNOWN) != 0)
        return ERR_UNSUPPORTED;
    return (out->kind == BATCH_KAFKA ? kafka_lengths(out) : native_lengths(out)) ? ERR_OK
                                                                                 : ERR_CORRUPT;
}

uint32_t batch_header_crc(uint32_t salt, const uint8_t *header, const uint8_t *table,
                          uint32_t table_bytes)
{
    return crc32c(crc32c(salt, header + AT_BYTES, BATCH_HEADER - AT_BYTES), table, table_bytes);
}

/* ---- builder ------------------------------------------------------------------------------- */

static void sum_records(struct batch_builder *b)
{
    uint8_t *entry = b->meta + BATCH_HEADER + (size_t) b->summed * BATCH_ENTRY;

    for (; b->summed < b->count; b->summed++, entry += BATCH_ENTRY) {
        uint32_t at = get_u32(entry);
        uint32_t end = b->summed + 1 < b->count ? get_u32(entry + BATCH_ENTRY) : b->body_len;
        put_u32(entry + 4, crc32c(batch_record_seed(b->salt, b->first_seq + b->summed),
                                  b->body + at, end - at));
    }
}

void batch_seal(struct batch_builder *b, uint64_t durable_seq, uint32_t epoch)
{
    ASSERT(b->count != 0);
    sum_records(b);
    struct batch_header h = {.bytes = batch_bytes(b),
                             .table_bytes = b->count * BATCH_ENTRY,
                             .body_bytes = b->body_len,
                             .raw_bytes = b->body_len,
                             .first_seq = b->first_seq,
                             .durable_seq = durable_seq,
                             .base_time = b->base_time,
                             .max_time = b->max_time,
                             .span = batch_builder_span(b),
                             .count = b->count,
                             .epoch = epoch,
                             .kind = b->span != 0 ? BATCH_KAFKA : BATCH_NATIVE,
                             .flags = b->flags};

    memset(b->body + b->body_len, 0, batch_body_bytes(b) - b->body_len);
    batch_header_encode(&h, b->meta);
    put_u32(b->meta + AT_CRC,
            batch_header_crc(b->salt, b->meta, b->meta + BATCH_HEADER, h.table_bytes));
}

void batch_encode_skip(uint8_t out[BATCH_HEADER], uint32_t salt, uint64_t first_seq, uint32_t span,
                       int64_t ts, uint64_t durable_seq, uint32_t epoch)
{
    ASSERT(first_seq != 0 && span != 0);
    struct batch_header h = {.bytes = BATCH_HEADER,
                             .first_seq = first_seq,
                             .durable_seq = durable_seq,
                             .base_time = ts,
                             .max_time = ts,
                             .span = span,
                             .epoch = epoch,
                             .kind = BATCH_SKIP};

    batch_header_encode(&h, out);
    put_u32(out + AT_CRC, batch_header_crc(salt, out, NULL, 0));
}

/* ---- view ---------------------------------------------------------------------------------- */

/* Offsets begin with 0, ascend by at least a record, and stay inside; sequence deltas ascend below
 * span. */
static bool table_sound(const struct batch_view *v)
{
    uint64_t end = v->h.raw_bytes;

    for (uint32_t i = v->h.count; i-- > 0;) {
        uint64_t at = batch_record_offset(v, i);
        if (at + RECORD_MIN > end)
            return false;
        end = at;
    }
    if (v->h.count != 0 && end != 0)
        return false;
    if (v->deltas == NULL)
        return true;
    for (uint32_t i = 0; i < batch_messages(&v->h); i++) {
        uint32_t delta = get_u32(v->deltas + (size_t) i * 4);
        if (delta >= v->h.span || (i != 0 && delta <= get_u32(v->deltas + (size_t) (i - 1) * 4)))
            return false;
    }
    return true;
}

/* ---- sealed bodies -------------------------------------------------------------------------- */

/* All of header and table but magic and checksum. */
static bool open_stored(const struct batch_view *v, const uint8_t *stored, uint8_t *out)
{
    return crypt_open(v->crypt, v->h.nonce, v->table - BATCH_HEADER + AT_BYTES,
                      BATCH_HEADER - AT_BYTES + v->h.table_bytes, stored, v->h.body_bytes - 4, out);
}

/* One wrong byte: its checksum finds it, and that it then opens proves it. */
static bool mend_stored(const struct batch_view *v, uint8_t *out)
{
    uint32_t n = v->h.body_bytes - 4, salt = batch_record_seed(v->salt, v->h.first_seq);
    uint32_t difference = get_u32(v->stored + n) ^ crc32c(salt, v->stored, n);
    uint8_t pattern, *copy;
    size_t at;

    if (difference == 0 || !repair_find_byte(difference, n, &at, &pattern))
        return false;
    copy = mem_try_alloc(v->h.body_bytes);
    if (copy == NULL)
        return false;
    memcpy(copy, v->stored, v->h.body_bytes);
    copy[at] ^= pattern;
    bool good = open_stored(v, copy, out);
    mem_free(copy);
    return good;
}

static enum err open_body(const struct batch_view *v, uint8_t *raw)
{
    struct batch_header inner = v->h;
    uint8_t *packed = raw;
    enum err err = ERR_OK;

    if (v->crypt == NULL)
        return ERR_KEY;
    inner.body_bytes -= BATCH_SEAL;
    if (inner.codec != BATCH_PLAIN && (packed = mem_try_alloc(inner.body_bytes)) == NULL)
        return ERR_NO_MEMORY;
    if (!open_stored(v, v->stored, packed) && !mend_stored(v, packed))
        err = ERR_CORRUPT;
    if (packed != raw) {
        if (err == ERR_OK)
            err = codec_decode(&inner, packed, raw);
        mem_free(packed);
    }
    return err;
}

void batch_encrypt(const uint8_t *meta, const uint8_t *stored, uint32_t salt,
                   const struct crypt_file *f, struct crypt_nonces *nonces, uint8_t *out)
{
    struct batch_header h;
    uint8_t *table = out + BATCH_HEADER, *body;

    read_header(meta, &h);
    uint32_t n = h.body_bytes;
    h.flags |= BATCH_ENCRYPTED;
    h.body_bytes = n + BATCH_SEAL;
    h.bytes = batch_encrypted_bytes(h.table_bytes, n);
    crypt_nonce(nonces, f, h.nonce);
    batch_header_encode(&h, out);
    memcpy(table, meta + BATCH_HEADER, h.table_bytes);
    for (uint32_t i = 0; i < h.count; i++)
        put_u32(table + (size_t) i * BATCH_ENTRY + 4, 0);
    body = table + h.table_bytes;
    crypt_seal(f, h.nonce, out + AT_BYTES, BATCH_HEADER - AT_BYTES + h.table_bytes, stored, n,
               body);
    put_u32(body + n + CRYPT_TAG,
            crc32c(batch_record_seed(salt, h.first_seq), body, n + CRYPT_TAG));
    memset(body + h.body_bytes, 0, h.bytes - BATCH_HEADER - h.table_bytes - h.body_bytes);
    put_u32(out + AT_CRC, batch_header_crc(salt, out, table, h.table_bytes));
}

static void place_views(struct batch_view *v, const uint8_t *table, const uint8_t *stored)
{
    v->table = table;
    v->deltas = (v->h.flags & BATCH_SPARSE) != 0 ? table + (size_t) v->h.count * BATCH_ENTRY : NULL;
    v->stored = stored;
    v->body = codec_plain(&v->h) ? stored : NULL;
    v->crypt = NULL;
}

enum err batch_view_decode(struct batch_view *v, uint8_t *raw)
{
    if (v->body != NULL)
        return ERR_OK;
    enum err err = (v->h.flags & BATCH_ENCRYPTED) != 0 ? open_body(v, raw)
                                                       : codec_decode(&v->h, v->stored, raw);
    if (err == ERR_OK)
        v->body = raw;
    return err;
}

enum err batch_view_decode_room(struct batch_view *v, struct codec_room *room)
{
    if (v->body != NULL)
        return ERR_OK;
    return codec_room_reserve(room, v->h.raw_bytes) ? batch_view_decode(v, room->p) : ERR_NO_MEMORY;
}

enum err batch_view_open(const uint8_t *bytes, size_t n, uint32_t salt, struct batch_view *out)
{
    enum err err = n < BATCH_HEADER ? ERR_CORRUPT : batch_header_decode(bytes, &out->h);

    if (n < BATCH_HEADER || err == ERR_CORRUPT)
        return ERR_CORRUPT;
    /* Of a kind that we do not know, its crc tells whether it is one at all. */
    const uint8_t *table = bytes + BATCH_HEADER;
    if (n < out->h.bytes || batch_header_crc(salt, bytes, table, out->h.table_bytes) != out->h.crc)
        return ERR_CORRUPT;
    if (err != ERR_OK)
        return err;
    place_views(out, table, table + out->h.table_bytes);
    out->salt = salt;
    return table_sound(out) ? ERR_OK : ERR_CORRUPT;
}

void batch_view_builder(const struct batch_builder *b, struct batch_view *out)
{
    read_header(b->meta, &out->h);
    place_views(out, b->meta + BATCH_HEADER, b->body);
}

enum batch_record_state batch_record_verify(const struct batch_view *v, uint32_t i, uint32_t salt)
{
    const uint8_t *entry = v->table + (size_t) i * BATCH_ENTRY;
    uint32_t at = batch_record_offset(v, i);
    uint32_t end = i + 1 < v->h.count ? batch_record_offset(v, i + 1) : v->h.raw_bytes;

    if ((get_u32(entry) & BATCH_ERASED) != 0)
        return BATCH_RECORD_ERASED;
    if (v->body == NULL)
        return BATCH_RECORD_BAD;
    const uint8_t *p = v->body + at;
    uint64_t inner = (uint64_t) RECORD_MIN - 1 + get_u32(p) + get_u16(p + 4) + get_u16(p + 6);
    if (inner != end - at || get_u16(p + 6) == 0 || p[end - at - 2] != '\r' ||
        p[end - at - 1] != '\n')
        return BATCH_RECORD_BAD;
    if ((v->h.flags & BATCH_ENCRYPTED) != 0 || PLANTED(PLANT_SUM_IGNORED))
        return BATCH_RECORD_OK; /* it was opened */
    uint32_t crc = crc32c(batch_record_seed(salt, batch_record_seq(v, i)), p, end - at);
    return crc == get_u32(entry + 4) ? BATCH_RECORD_OK : BATCH_RECORD_BAD;
}

uint32_t batch_verify(const struct batch_view *v, uint32_t salt, uint64_t *bad)
{
    uint32_t damaged = 0;

    if (bad != NULL)
        memset(bad, 0, (size_t) (v->h.count + 63) / 64 * sizeof(*bad));
    for (uint32_t i = 0; i < v->h.count; i++) {
        enum batch_record_state state = batch_record_verify(v, i, salt);
        if (state == BATCH_RECORD_OK)
            continue;
        damaged += state == BATCH_RECORD_BAD;
        if (bad != NULL)
            bad[i / 64] |= (uint64_t) 1 << (i % 64);
    }
    return damaged;
}

bool batch_find(const struct batch_view *v, uint64_t seq, uint32_t *i)
{
    if (seq < v->h.first_seq || seq - v->h.first_seq >= v->h.span || v->h.count == 0 ||
        (v->h.kind == BATCH_KAFKA && v->deltas == NULL))
        return false;
    if (v->deltas == NULL) {
        *i = (uint32_t) (seq - v->h.first_seq);
        return true;
    }
    uint32_t n = batch_messages(&v->h), low = 0, high = n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (batch_record_seq(v, middle) < seq)
            low = middle + 1;
        else
            high = middle;
    }
    *i = low;
    return low < n && batch_record_seq(v, low) == seq;
}

/* ---- erasing -------------------------------------------------------------------------------- */

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0)
            return false;
    return true;
}

bool batch_erase(uint8_t *bytes, size_t n, uint32_t salt, uint64_t seq, struct batch_erased *out)
{
    struct batch_view v;
    uint32_t i;

    if (batch_view_open(bytes, n, salt, &v) != ERR_OK || v.body == NULL || !batch_find(&v, seq, &i))
        return false;
    uint8_t *entry = bytes + BATCH_HEADER + (size_t) i * BATCH_ENTRY;
    uint32_t at = batch_record_offset(&v, i), head = BATCH_HEADER + v.h.table_bytes;
    uint32_t end = i + 1 < v.h.count ? batch_record_offset(&v, i + 1) : v.h.raw_bytes;
    if ((get_u32(entry) & BATCH_ERASED) != 0 && all_zero(bytes + head + at, end - at))
        return false;
    if (out != NULL)
        *out = (struct batch_erased){.head = head, .from = head + at, .end = head + end};
    memset(bytes + head + at, 0, end - at);
    put_u32(entry, at | BATCH_ERASED);
    put_u32(entry + 4, 0);
    put_u32(bytes + AT_CRC, batch_header_crc(salt, bytes, bytes + BATCH_HEADER, v.h.table_bytes));
    return true;
}

/* ---- repair -------------------------------------------------------------------------------- */

/* The batch as it is now: does it open, and does a record say that header and table are right? */
static bool believable(const uint8_t *bytes, size_t n, uint32_t salt,
                       const struct crypt_file *crypt)
{
    struct codec_room room = {0};
    struct batch_view v;
    bool one = false;

    if (batch_view_open(bytes, n, salt, &v) != ERR_OK)
        return false;
    v.crypt = crypt;
    if (v.h.count != 0)
        batch_view_decode_room(&v, &room);
    for (uint32_t i = 0; i < v.h.count && !one; i++)
        one = batch_record_verify(&v, i, salt) == BATCH_RECORD_OK;
    codec_room_free(&room);
    return one || v.h.count == 0;
}

/* Lengths are as they were: the sum itself tells where the damage is. */
static bool repair_by_sum(uint8_t *bytes, size_t n, uint32_t salt, const struct crypt_file *crypt)
{
    uint32_t table_bytes = get_u32(bytes + AT_TABLE);

    if (table_bytes > BATCH_TABLE_MAX || BATCH_HEADER + table_bytes > n)
        return false;
    uint32_t stored = get_u32(bytes + AT_CRC);
    uint32_t actual = batch_header_crc(salt, bytes, bytes + BATCH_HEADER, table_bytes);
    size_t at;
    uint8_t pattern;
    if (repair_in_sum(stored ^ actual)) {
        put_u32(bytes + AT_CRC, actual);
        if (believable(bytes, n, salt, crypt))
            return true;
        put_u32(bytes + AT_CRC, stored);
    }
    if (!repair_find_byte(stored ^ actual, BATCH_HEADER - AT_BYTES + table_bytes, &at, &pattern))
        return false;
    bytes[AT_BYTES + at] ^= pattern;
    if (believable(bytes, n, salt, crypt))
        return true;
    bytes[AT_BYTES + at] ^= pattern;
    return false;
}

/* The number of bytes that are summed is itself damaged: try all values of its bytes; few fit
 * together. */
static bool repair_lengths(uint8_t *bytes, size_t n, uint32_t salt, const struct crypt_file *crypt)
{
    for (unsigned at = AT_TABLE; at < AT_TABLE + 4; at++) {
        uint8_t was = bytes[at];
        for (unsigned value = 0; value < 256; value++) {
            struct batch_header h;
            bytes[at] = (uint8_t) value;
            if (value != was && batch_header_decode(bytes, &h) == ERR_OK &&
                believable(bytes, n, salt, crypt))
                return true;
        }
        bytes[at] = was;
    }
    return false;
}

bool batch_repair_sealed(uint8_t *bytes, size_t n, uint32_t salt, const struct crypt_file *crypt)
{
    if (n < BATCH_HEADER)
        return false;
    uint32_t magic = get_u32(bytes + AT_MAGIC);
    if (magic != BATCH_MAGIC) {
        if (!repair_in_sum(magic ^ BATCH_MAGIC))
            return false;
        put_u32(bytes + AT_MAGIC, BATCH_MAGIC);
        if (believable(bytes, n, salt, crypt))
            return true;
        put_u32(bytes + AT_MAGIC, magic);
        return false;
    }
    return believable(bytes, n, salt, crypt) || repair_by_sum(bytes, n, salt, crypt) ||
           repair_lengths(bytes, n, salt, crypt);
}

bool batch_record_decayed(const struct batch_view *v, uint32_t i, uint32_t salt, uint64_t offset)
{
    const uint8_t *begin = v->table - BATCH_HEADER;

    if (v->body == NULL || !codec_plain(&v->h))
        return false;
    uint32_t at = batch_record_offset(v, i);
    uint32_t end = i + 1 < v->h.count ? batch_record_offset(v, i + 1) : v->h.raw_bytes;
    uint32_t stored = get_u32(v->table + (size_t) i * BATCH_ENTRY + 4);
    uint32_t actual = crc32c(batch_record_seed(salt, batch_record_seq(v, i)), v->body + at,
                             end - at);
    size_t where;
    uint8_t pattern;

    return stored != actual && end - at <= REPAIR_DOUBTFUL &&
           repair_find_byte(stored ^ actual, end - at, &where, &pattern) &&
           !repair_sector_empty(begin, v->h.bytes, offset, (size_t) (v->body + at - begin) + where);
}
