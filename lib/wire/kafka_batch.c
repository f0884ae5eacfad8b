/*
 * kafka_batch.c - record batches. The bytes are in kafka_batch.h.
 *
 * A batch is believed in this order: the length fits into what is there and the magic is 2
 * (kafka_batch_open); the sum is right (kafka_batch_sum_ok); then what the header says makes sense
 * (kafka_batch_check). Of records only what an iterator has looked at is known to be well formed:
 * every length is checked against what is left before it is used, and a record's own length has to
 * be used up exactly.
 *
 * last offset delta + 1 is the number of records in what a producer sends. In what a broker serves
 * it may be more, when records were left out.
 */
#include "lib/wire/kafka_batch.h"

#include "lib/base/assert.h"
#include "lib/base/crc32c.h"
#include "lib/base/varint.h"
#include "lib/wire/kafka_bytes.h"

enum {
    AT_LENGTH = 8,
    AT_EPOCH = 12,
    AT_MAGIC = 16,
    AT_CRC = 17,
    AT_ATTRIBUTES = 21,
    AT_LAST_DELTA = 23,
    AT_BASE_TIME = 27,
    AT_MAX_TIME = 35,
    AT_PRODUCER = 43,
    AT_PRODUCER_EPOCH = 51,
    AT_SEQUENCE = 53,
    AT_COUNT = 57,
    BEFORE_LENGTH = 12, /* bytes that the length does not count */
    VARINT32_MAX = 5,
};

const char *kafka_batch_fault_text(enum kafka_batch_fault f)
{
    static const char *const texts[] = {
        [KAFKA_BATCH_OK] = "good",
        [KAFKA_BATCH_SHORT] = "batch is cut off",
        [KAFKA_BATCH_OLD] = "message set of an old version",
        [KAFKA_BATCH_MAGIC_BAD] = "magic byte is not known",
        [KAFKA_BATCH_CRC] = "checksum does not match",
        [KAFKA_BATCH_TRAILING] = "more than one batch",
        [KAFKA_BATCH_COUNT] = "number of records and last offset do not match",
        [KAFKA_BATCH_CODEC_BAD] = "compression type is not known",
        [KAFKA_BATCH_IS_CONTROL] = "clients must not write control batches",
        [KAFKA_BATCH_SEQUENCE] = "producer id without epoch or sequence",
        [KAFKA_BATCH_TIME_TYPE] = "clients must not set the append time",
        [KAFKA_BATCH_RECORD_BAD] = "records are malformed",
        [KAFKA_BATCH_OFFSETS_BAD] = "offsets of the records do not ascend by one",
        [KAFKA_BATCH_NO_KEY] = "a compacted topic needs a key",
    };

    return (unsigned) f < KAFKA_BATCH_FAULTS ? texts[f] : "unknown";
}

/* ---- header -------------------------------------------------------------------------------- */

enum kafka_batch_fault kafka_batch_open(struct str bytes, struct kafka_batch *out)
{
    const uint8_t *p = (const uint8_t *) bytes.p;

    if (bytes.n < AT_MAGIC + 1)
        return KAFKA_BATCH_SHORT;
    if (p[AT_MAGIC] < KAFKA_BATCH_MAGIC)
        return KAFKA_BATCH_OLD;
    if (p[AT_MAGIC] != KAFKA_BATCH_MAGIC)
        return KAFKA_BATCH_MAGIC_BAD;
    uint32_t length = kafka_get_u32(p + AT_LENGTH);
    if (length < KAFKA_BATCH_HEADER - BEFORE_LENGTH || length > INT32_MAX - BEFORE_LENGTH ||
        length > bytes.n - BEFORE_LENGTH)
        return KAFKA_BATCH_SHORT;
    *out = (struct kafka_batch){
        .base_offset = (int64_t) kafka_get_u64(p),
        .bytes = length + BEFORE_LENGTH,
        .leader_epoch = (int32_t) kafka_get_u32(p + AT_EPOCH),
        .crc = kafka_get_u32(p + AT_CRC),
        .attributes = kafka_get_u16(p + AT_ATTRIBUTES),
        .last_offset_delta = (int32_t) kafka_get_u32(p + AT_LAST_DELTA),
        .base_time = (int64_t) kafka_get_u64(p + AT_BASE_TIME),
        .max_time = (int64_t) kafka_get_u64(p + AT_MAX_TIME),
        .producer_id = (int64_t) kafka_get_u64(p + AT_PRODUCER),
        .producer_epoch = (int16_t) kafka_get_u16(p + AT_PRODUCER_EPOCH),
        .base_sequence = (int32_t) kafka_get_u32(p + AT_SEQUENCE),
        .count = (int32_t) kafka_get_u32(p + AT_COUNT),
        .records = str_from(p + KAFKA_BATCH_HEADER, length + BEFORE_LENGTH - KAFKA_BATCH_HEADER)};
    return KAFKA_BATCH_OK;
}

bool kafka_batch_sum_ok(struct str bytes, const struct kafka_batch *b)
{
    return crc32c_kafka(bytes.p + KAFKA_BATCH_SUMMED, b->bytes - KAFKA_BATCH_SUMMED) == b->crc;
}

enum kafka_batch_fault kafka_batch_check(struct str bytes, struct kafka_batch *out)
{
    enum kafka_batch_fault fault = kafka_batch_open(bytes, out);

    if (fault != KAFKA_BATCH_OK)
        return fault;
    if (!kafka_batch_sum_ok(bytes, out))
        return KAFKA_BATCH_CRC;
    if (out->bytes != bytes.n)
        return KAFKA_BATCH_TRAILING;
    if (out->count <= 0 || out->last_offset_delta != out->count - 1)
        return KAFKA_BATCH_COUNT;
    if (kafka_batch_codec(out) >= KAFKA_CODECS)
        return KAFKA_BATCH_CODEC_BAD;
    if ((out->attributes & KAFKA_CONTROL) != 0)
        return KAFKA_BATCH_IS_CONTROL;
    if ((out->attributes & KAFKA_APPEND_TIME) != 0)
        return KAFKA_BATCH_TIME_TYPE;
    if (out->producer_id >= 0 && (out->base_sequence < 0 || out->producer_epoch < 0))
        return KAFKA_BATCH_SEQUENCE;
    return KAFKA_BATCH_OK;
}

void kafka_batch_patch(uint8_t *bytes, int64_t base_offset, int32_t leader_epoch)
{
    kafka_put_u64(bytes, (uint64_t) base_offset);
    kafka_put_u32(bytes + AT_EPOCH, (uint32_t) leader_epoch);
}

void kafka_batch_stamp(uint8_t *bytes, int64_t time)
{
    size_t n = (size_t) kafka_get_u32(bytes + AT_LENGTH) + BEFORE_LENGTH;
    uint16_t attributes = kafka_get_u16(bytes + AT_ATTRIBUTES);

    kafka_put_u16(bytes + AT_ATTRIBUTES, (uint16_t) (attributes | KAFKA_APPEND_TIME));
    kafka_put_u64(bytes + AT_MAX_TIME, (uint64_t) time);
    kafka_put_u32(bytes + AT_CRC, crc32c_kafka(bytes + KAFKA_BATCH_SUMMED, n - KAFKA_BATCH_SUMMED));
}

/* ---- records ------------------------------------------------------------------------------- */

static bool take_varlong(struct str *in, int64_t *v)
{
    uint64_t raw;

    if (!varint_take(in, &raw))
        return false;
    *v = unzigzag(raw);
    return true;
}

static bool take_varint(struct str *in, int32_t *v)
{
    struct str before = *in;
    int64_t wide;

    if (!take_varlong(in, &wide) || wide < INT32_MIN || wide > INT32_MAX ||
        before.n - in->n > VARINT32_MAX)
        return false;
    *v = (int32_t) wide;
    return true;
}

/* A length, -1 for null, and that many bytes. */
static bool take_bytes(struct str *in, struct str *out)
{
    int32_t n;

    if (!take_varint(in, &n) || n < -1 || (n > 0 && (size_t) n > in->n))
        return false;
    *out = n < 0 ? STR_NONE : str_from(in->p, (size_t) n);
    if (n > 0)
        *in = str_skip(*in, (size_t) n);
    return true;
}

void kafka_record_iter_init(struct kafka_record_iter *it, const struct kafka_batch *b,
                            struct str records)
{
    *it = (struct kafka_record_iter){.rest = records,
                                     .base_offset = b->base_offset,
                                     .base_time = b->base_time,
                                     .append_time = (b->attributes & KAFKA_APPEND_TIME) != 0,
                                     .max_time = b->max_time,
                                     .left = b->count};
}

static bool parse_headers(struct str *in, struct kafka_record *out)
{
    struct str name, value;

    if (!take_varint(in, &out->nheaders) || out->nheaders < 0)
        return false;
    out->headers = *in;
    for (int32_t i = 0; i < out->nheaders; i++)
        if (!take_bytes(in, &name) || name.p == NULL || !take_bytes(in, &value))
            return false;
    out->headers.n -= in->n;
    return true;
}

static bool parse_record(struct kafka_record_iter *it, struct kafka_record *out)
{
    int32_t length, offset;
    int64_t time;

    if (!take_varint(&it->rest, &length) || length <= 0 || (size_t) length > it->rest.n)
        return false;
    struct str in = str_take(it->rest, (size_t) length);
    it->rest = str_skip(it->rest, (size_t) length);
    in = str_skip(in, 1); /* attributes: none are defined */
    if (!take_varlong(&in, &time) || !take_varint(&in, &offset) || offset < 0 ||
        !take_bytes(&in, &out->key) || !take_bytes(&in, &out->value) || !parse_headers(&in, out) ||
        in.n != 0)
        return false;
    out->time = it->append_time ? it->max_time
                                : (int64_t) ((uint64_t) it->base_time + (uint64_t) time);
    out->offset = it->base_offset + offset;
    return true;
}

bool kafka_record_iter_next(struct kafka_record_iter *it, struct kafka_record *out)
{
    if (it->bad)
        return false;
    if (it->left <= 0) {
        it->bad = it->rest.n != 0;
        return false;
    }
    it->left--;
    it->bad = !parse_record(it, out);
    return !it->bad;
}

bool kafka_header_next(struct str *headers, struct str *name, struct str *value)
{
    return headers->n > 0 && take_bytes(headers, name) && name->p != NULL &&
           take_bytes(headers, value);
}

enum kafka_batch_fault kafka_batch_check_records(const struct kafka_batch *b, struct str records,
                                                 bool need_keys, int32_t *record)
{
    struct kafka_record_iter it;
    struct kafka_record r;
    int32_t i = 0;
    enum kafka_batch_fault fault = KAFKA_BATCH_OK;

    kafka_record_iter_init(&it, b, records);
    while (fault == KAFKA_BATCH_OK && kafka_record_iter_next(&it, &r)) {
        if (r.offset != b->base_offset + i)
            fault = KAFKA_BATCH_OFFSETS_BAD;
        else if (need_keys && r.key.p == NULL)
            fault = KAFKA_BATCH_NO_KEY;
        else
            i++;
    }
    if (it.bad)
        fault = KAFKA_BATCH_RECORD_BAD;
    if (record != NULL)
        *record = i;
    return fault;
}

/* ---- building ------------------------------------------------------------------------------ */

static uint8_t *put_varint(uint8_t *p, int64_t v)
{
    return p + varint_put(p, zigzag(v));
}

static uint8_t *put_bytes(uint8_t *p, struct str s)
{
    p = put_varint(p, s.p == NULL ? -1 : (int64_t) s.n);
    if (s.n != 0)
        memcpy(p, s.p, s.n);
    return p + s.n;
}

static size_t varint_bytes(int64_t v)
{
    return (size_t) (63 - __builtin_clzll(zigzag(v) | 1)) / 7 + 1;
}

static size_t bytes_bytes(struct str s)
{
    return varint_bytes(s.p == NULL ? -1 : (int64_t) s.n) + s.n;
}

void kafka_header_put(struct buf *out, struct str name, struct str value)
{
    char *p = buf_reserve(out, name.n + value.n + 2 * VARINT_MAX);
    const uint8_t *end;

    if (name.p == NULL)
        name.p = "";
    end = put_bytes(put_bytes((uint8_t *) p, name), value);
    out->n += (size_t) (end - (const uint8_t *) p);
}

void kafka_builder_open(struct kafka_builder *b, uint8_t *p, size_t cap, int64_t base_offset)
{
    ASSERT(cap >= KAFKA_BATCH_HEADER && base_offset >= 0);
    *b = (struct kafka_builder){
        .p = p, .cap = cap, .n = KAFKA_BATCH_HEADER, .base_offset = base_offset};
}

size_t kafka_record_bytes_max(const struct kafka_record *r)
{
    return (size_t) 2 * VARINT_MAX + 4 * VARINT32_MAX + 1 + r->key.n + r->value.n + r->headers.n;
}

bool kafka_builder_add(struct kafka_builder *b, const struct kafka_record *r)
{
    int64_t delta = r->offset - b->base_offset;
    int64_t time = b->count == 0 ? 0 : (int64_t) ((uint64_t) r->time - (uint64_t) b->base_time);
    size_t n = 1 + varint_bytes(time) + varint_bytes(delta) + bytes_bytes(r->key) +
               bytes_bytes(r->value) + varint_bytes(r->nheaders) + r->headers.n;

    ASSERT(delta >= 0 && (b->count == 0 || r->offset > b->last_offset));
    if (delta > INT32_MAX || n > INT32_MAX || n + varint_bytes((int64_t) n) > b->cap - b->n)
        return false;
    if (b->count == 0)
        b->base_time = b->max_time = r->time;
    if (r->time > b->max_time)
        b->max_time = r->time;
    uint8_t *p = put_varint(b->p + b->n, (int64_t) n);
    *p++ = 0;
    p = put_varint(p, time);
    p = put_varint(p, delta);
    p = put_bytes(p, r->key);
    p = put_bytes(p, r->value);
    p = put_varint(p, r->nheaders);
    if (r->headers.n != 0)
        memcpy(p, r->headers.p, r->headers.n);
    p += r->headers.n;
    b->n = (size_t) (p - b->p);
    b->last_offset = r->offset;
    b->count++;
    return true;
}

static void put_header(const struct kafka_builder *b, const struct kafka_batch *h)
{
    uint8_t *p = b->p;

    kafka_put_u64(p, (uint64_t) h->base_offset);
    kafka_put_u32(p + AT_LENGTH, (uint32_t) (b->n - BEFORE_LENGTH));
    kafka_put_u32(p + AT_EPOCH, (uint32_t) h->leader_epoch);
    p[AT_MAGIC] = KAFKA_BATCH_MAGIC;
    kafka_put_u16(p + AT_ATTRIBUTES, h->attributes);
    kafka_put_u32(p + AT_LAST_DELTA, (uint32_t) h->last_offset_delta);
    kafka_put_u64(p + AT_BASE_TIME, (uint64_t) h->base_time);
    kafka_put_u64(p + AT_MAX_TIME, (uint64_t) h->max_time);
    kafka_put_u64(p + AT_PRODUCER, (uint64_t) h->producer_id);
    kafka_put_u16(p + AT_PRODUCER_EPOCH, (uint16_t) h->producer_epoch);
    kafka_put_u32(p + AT_SEQUENCE, (uint32_t) h->base_sequence);
    kafka_put_u32(p + AT_COUNT, (uint32_t) h->count);
    kafka_put_u32(p + AT_CRC, crc32c_kafka(p + KAFKA_BATCH_SUMMED, b->n - KAFKA_BATCH_SUMMED));
}

size_t kafka_builder_finish(struct kafka_builder *b, int32_t leader_epoch,
                            const struct kafka_batch *like)
{
    struct kafka_batch h = {.base_offset = b->base_offset,
                            .leader_epoch = leader_epoch,
                            .base_time = b->base_time,
                            .max_time = b->max_time,
                            .producer_id = -1,
                            .producer_epoch = -1,
                            .base_sequence = -1,
                            .count = b->count};

    h.last_offset_delta = b->count > 0 ? (int32_t) (b->last_offset - b->base_offset) : 0;
    if (like != NULL) {
        h.attributes = (uint16_t) (like->attributes & ~KAFKA_CODEC_MASK);
        h.last_offset_delta = like->last_offset_delta;
        h.max_time = like->max_time;
        if (b->count == 0)
            h.base_time = like->base_time;
        h.producer_id = like->producer_id;
        h.producer_epoch = like->producer_epoch;
        h.base_sequence = like->base_sequence;
    }
    put_header(b, &h);
    return b->n;
}

size_t kafka_batch_marker(uint8_t out[KAFKA_FILLER_BYTES], enum kafka_marker type, int64_t first,
                          int64_t last, int64_t time, int64_t producer_id, int16_t producer_epoch,
                          int32_t coordinator_epoch, int32_t leader_epoch)
{
    struct kafka_builder b;
    struct kafka_batch like = {.attributes = KAFKA_TRANSACTIONAL | KAFKA_CONTROL,
                               .last_offset_delta = (int32_t) (last - first),
                               .max_time = time,
                               .producer_id = producer_id,
                               .producer_epoch = producer_epoch,
                               .base_sequence = -1};
    uint8_t key[4] = {0, 0, 0, (uint8_t) type}, value[6] = {0};

    kafka_put_u32(value + 2, (uint32_t) coordinator_epoch);
    struct kafka_record r = {.time = time,
                             .offset = last,
                             .key = str_from(key, sizeof(key)),
                             .value = str_from(value, sizeof(value))};
    ASSERT(first <= last && last - first <= INT32_MAX);
    kafka_builder_open(&b, out, KAFKA_FILLER_BYTES, first);
    bool fits = kafka_builder_add(&b, &r);
    ASSERT(fits);
    return kafka_builder_finish(&b, leader_epoch, &like);
}

size_t kafka_batch_filler(uint8_t out[KAFKA_FILLER_BYTES], int64_t first, int64_t last,
                          int64_t time, int32_t leader_epoch)
{
    /* The delta is 31 bits; a longer hole is entered further on: readers do not mind. */
    if (last - first > INT32_MAX)
        first = last - INT32_MAX;
    return kafka_batch_marker(out, KAFKA_COMMIT, first, last, time, -1, -1, 0, leader_epoch);
}
