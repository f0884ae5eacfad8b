/*
 * batch.h - the unit of a segment: encode, decode, validate. Byte layout:
 * docs/internals/store-format.md.
 *
 *     header 96 B | table: per record { u32 offset in body, u32 crc32c } [| sparse: u32 sequence
 * delta each] | body: records | zero padding to a multiple of 8 record  u32 payload_len, u16
 * header_len, u16 subject_len, u32 time delta ns, subject, header, payload, CRLF
 *
 * Header and payload are contiguous and end in CRLF, so that a delivery is one protocol line and
 * one slice.
 *
 * A batch being filled is two buffers (header + table; body), which are contiguous on disk. Every
 * byte is summed once: records by the crc in their table entry, seeded with the segment's salt and
 * the record's sequence (so a record at a wrong place never verifies), header and table by the
 * header's crc.
 *
 * Pure code; the buffers are the caller's.
 */
#ifndef STORE_BATCH_H
#define STORE_BATCH_H

#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "lib/base/err.h"
#include "lib/base/str.h"
#include "store/codec.h"
#include "store/crypt.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BATCH_MAGIC 0x5441424du /* "MBAT" */

enum {
    BATCH_HEADER = 96,
    BATCH_ENTRY = 8, /* table entry */
    BATCH_ALIGN = 8, /* a batch begins at a multiple of it, and its length is one */
    BATCH_RECORD_HEADER = 12,
    BATCH_RECORD_TAIL = 2, /* CRLF */
    BATCH_BODY = 65536,    /* an ordinary body buffer; a bigger message gets a batch of its own */
    BATCH_META = 16384, /* header and table buffer: 2036 records; 16 B messages fill the body with
                           1600 */
};
/* Limits that a decoder enforces before it believes a length. */
#define BATCH_TABLE_MAX (1u << 20)
#define BATCH_BODY_MAX ((64u << 20) + (256u << 10))
/* Messages of one Kafka batch. */
#define BATCH_KAFKA_SPAN_MAX (1u << 18)
#define BATCH_BYTES_MAX (BATCH_HEADER + BATCH_TABLE_MAX + BATCH_BODY_MAX)

enum batch_kind { BATCH_NATIVE = 1, BATCH_KAFKA = 2, BATCH_SKIP = 3 };
enum batch_codec { BATCH_PLAIN = 0, BATCH_LZ4 = 1 };
enum {
    BATCH_GROUP = 1,        /* belongs to an atomic group of batches ... */
    BATCH_GROUP_FIRST = 2,  /* ... opens it ... */
    BATCH_GROUP_LAST = 4,   /* ... closes it; a group without its last batch was never committed */
    BATCH_SPARSE = 8,       /* the table is followed by one u32 per record: sequence - first_seq */
    BATCH_HAS_IDS = 16,     /* a record has a message id */
    BATCH_HAS_EFFECTS = 32, /* a record brings something about later: the owner must see it again */
    BATCH_ENCRYPTED = 64,   /* the body is sealed, and the records' sums are zero */
    BATCH_FLAGS_KNOWN = 127,
};
/* What a sealed body takes more: the tag, and a crc of the stored bytes, which finds a damaged one.
 */
#define BATCH_SEAL (CRYPT_TAG + 4u)
/* Bit of a table entry's offset: the record was erased on request; its bytes are zero, its crc
 * field 0. */
#define BATCH_ERASED 0x80000000u

/* ---- header -------------------------------------------------------------------------------- */

struct batch_header {
    uint32_t crc;   /* of bytes 8..96 and the table, seeded with the salt */
    uint32_t bytes; /* whole batch with padding */
    uint32_t table_bytes;
    uint32_t body_bytes; /* as stored */
    uint32_t raw_bytes;  /* decoded body; = body_bytes when plain */
    uint64_t first_seq;
    uint64_t durable_seq; /* highest sequence known durable when the commit began: proof for
                             recovery */
    int64_t base_time;    /* unix ns; records hold deltas */
    int64_t max_time;
    uint32_t span;  /* sequences [first_seq, first_seq + span) are this batch's */
    uint32_t count; /* records */
    uint32_t epoch; /* low half of the log generation (one per start) that wrote it */
    uint8_t kind, codec;
    uint16_t flags;
    uint8_t nonce[24];
};

/* Is there the header of a batch in these BATCH_HEADER bytes? Magic and lengths only, no checksum:
 * for deciding how much to read. ERR_CORRUPT, or ERR_UNSUPPORTED for a kind, codec or flag that is
 * not known. */
enum err batch_header_decode(const uint8_t bytes[BATCH_HEADER], struct batch_header *out);
void batch_header_encode(const struct batch_header *h, uint8_t out[BATCH_HEADER]);
/* crc over bytes 8..96 of the header, then the table. */
uint32_t batch_header_crc(uint32_t salt, const uint8_t *header, const uint8_t *table,
                          uint32_t table_bytes);

/* Messages that it was written with. A Kafka batch of which some have been left out (SPARSE) has
 * two u32 for each of the others behind its one entry: first all sequence deltas, then what each
 * counts for in state.bytes. */
static inline uint32_t batch_messages(const struct batch_header *h)
{
    if (h->kind != BATCH_KAFKA)
        return h->count;
    return (h->flags & BATCH_SPARSE) == 0 ? h->span : (h->table_bytes - BATCH_ENTRY) / 8;
}

/* Seed of a record's crc. XOR, so that two sequences of one file always differ. */
static inline uint32_t batch_record_seed(uint32_t salt, uint64_t seq)
{
    return salt ^ (uint32_t) seq ^ (uint32_t) (seq >> 32);
}

/* ---- builder: the hot path ----------------------------------------------------------------- */

struct batch_builder {
    uint8_t *meta; /* BATCH_HEADER + table */
    uint8_t *body;
    uint32_t meta_cap, body_cap; /* body_cap includes up to 7 bytes of padding */
    uint32_t salt;
    uint32_t count;
    uint32_t body_len;
    uint32_t summed; /* records whose checksum is in the table */
    uint16_t flags;
    uint32_t span; /* not 0: the one record is a Kafka batch, which is this many messages */
    uint64_t first_seq;
    int64_t base_time, max_time;
};

/* The buffers must outlive the builder; body_cap at least batch_body_need() of the first message.
 */
static inline void batch_open(struct batch_builder *b, uint8_t *meta, uint32_t meta_cap,
                              uint8_t *body, uint32_t body_cap, uint32_t salt, uint64_t first_seq)
{
    ASSERT(meta_cap >= BATCH_HEADER + BATCH_ENTRY && body_cap >= BATCH_ALIGN && first_seq != 0);
    *b = (struct batch_builder){.meta = meta,
                                .body = body,
                                .meta_cap = meta_cap,
                                .body_cap = body_cap,
                                .salt = salt,
                                .first_seq = first_seq};
}

static inline size_t batch_record_bytes(size_t subject, size_t header, size_t payload)
{
    return BATCH_RECORD_HEADER + subject + header + payload + BATCH_RECORD_TAIL;
}
/* Body buffer that one record needs. */
static inline size_t batch_body_need(size_t subject, size_t header, size_t payload)
{
    return batch_record_bytes(subject, header, payload) + (BATCH_ALIGN - 1);
}

/* Adds the record of sequence first_seq + count. False (and nothing changed) when it does not fit:
 * table or body full, or ts more than 4.29 s from the first record's or before it. Lengths are
 * below the STORE_*_MAX. The checksum is left to batch_seal: read back at once, the bytes would
 * still be in the store buffer in other pieces than the checksum loads, which stalls (128 B: 30 ns
 * an append and checksum instead of 21). */
static inline bool batch_append(struct batch_builder *b, struct str subject, struct str header,
                                struct str payload, int64_t ts, unsigned flags)
{
    size_t n = batch_record_bytes(subject.n, header.n, payload.n);
    uint32_t entry = BATCH_HEADER + b->count * BATCH_ENTRY;

    if (b->count == 0)
        b->base_time = b->max_time = ts;
    uint64_t delta = (uint64_t) ts - (uint64_t) b->base_time;
    if (UNLIKELY(n > b->body_cap - (BATCH_ALIGN - 1) - b->body_len ||
                 entry + BATCH_ENTRY > b->meta_cap || delta > UINT32_MAX))
        return false;

    uint8_t *start = b->body + b->body_len, *p = start + BATCH_RECORD_HEADER;
    put_u32(start, (uint32_t) payload.n);
    put_u16(start + 4, (uint16_t) header.n);
    put_u16(start + 6, (uint16_t) subject.n);
    put_u32(start + 8, (uint32_t) delta);
    memcpy(p, subject.p, subject.n);
    p += subject.n;
    if (header.n != 0) {
        memcpy(p, header.p, header.n);
        p += header.n;
    }
    if (payload.n != 0) {
        memcpy(p, payload.p, payload.n);
        p += payload.n;
    }
    p[0] = '\r';
    p[1] = '\n';
    put_u32(b->meta + entry, b->body_len);
    b->body_len += (uint32_t) n;
    b->count++;
    b->flags = (uint16_t) (b->flags | flags);
    if (ts > b->max_time)
        b->max_time = ts;
    return true;
}

/* Messages in it. */
static inline uint32_t batch_builder_span(const struct batch_builder *b)
{
    return b->span != 0 ? b->span : b->count;
}
/* What message i of a Kafka batch counts for in state.bytes: an even share of the whole, the first
 * one the rest. At least 2, as the footer wants it. */
static inline uint32_t batch_kafka_share(uint64_t whole, uint32_t span, uint32_t i)
{
    uint64_t share = whole / span < 2 ? 2 : whole / span;

    return (uint32_t) (i > 0 || whole < share * span ? share : whole - share * (span - 1));
}

/* What is on disk: meta_bytes from meta, then body_bytes from body. */
static inline uint32_t batch_meta_bytes(const struct batch_builder *b)
{
    return BATCH_HEADER + b->count * BATCH_ENTRY;
}
static inline uint32_t batch_body_bytes(const struct batch_builder *b)
{
    return (uint32_t) round_up(b->body_len, BATCH_ALIGN);
}
static inline uint32_t batch_bytes(const struct batch_builder *b)
{
    return batch_meta_bytes(b) + batch_body_bytes(b);
}
/* Writes checksums, header and padding; call when its commit begins. At least one record. May be
 * called again.
 */
void batch_seal(struct batch_builder *b, uint64_t durable_seq, uint32_t epoch);

/* Header and table at meta and the body that they describe (also a compressed one) become a whole
 * sealed batch at out, which has batch_encrypted_bytes. */
void batch_encrypt(const uint8_t *meta, const uint8_t *stored, uint32_t salt,
                   const struct crypt_file *f, struct crypt_nonces *nonces, uint8_t *out);
/* Bytes on disk of a sealed batch with this table and (compressed) body. */
static inline uint32_t batch_encrypted_bytes(uint32_t table_bytes, uint32_t body_bytes)
{
    return (uint32_t) round_up((uint64_t) BATCH_HEADER + table_bytes + body_bytes + BATCH_SEAL,
                               BATCH_ALIGN);
}

/* A whole skip batch: `span` sequences without messages. */
void batch_encode_skip(uint8_t out[BATCH_HEADER], uint32_t salt, uint64_t first_seq, uint32_t span,
                       int64_t ts, uint64_t durable_seq, uint32_t epoch);

/* ---- view: a validated batch --------------------------------------------------------------- */

struct batch_view {
    struct batch_header h;
    const uint8_t *table;  /* h.count entries */
    const uint8_t *deltas; /* sequence deltas, NULL unless BATCH_SPARSE */
    const uint8_t *stored; /* h.body_bytes, as on disk */
    const uint8_t *body;   /* h.raw_bytes; NULL until decoded when the codec is not plain */
    uint32_t salt;
    const struct crypt_file *crypt; /* set by who opens the view of a sealed batch; else NULL */
};

struct batch_record {
    uint64_t seq;
    int64_t ts;
    struct str subject, header, payload;
    const uint8_t *data; /* header, payload and CRLF: data_len bytes in one piece */
    uint32_t data_len;
};

/* Header, table and lengths of the batch that starts at bytes[0]; n >= its bytes. The records are
 * not looked at. ERR_CORRUPT (also when n is short), ERR_UNSUPPORTED. */
enum err batch_view_open(const uint8_t *bytes, size_t n, uint32_t salt, struct batch_view *out);
/* Gives the view its body, before anything looks at records: nothing to do for a plain batch, else
 * it is opened and decoded into raw, which has v->h.raw_bytes and lives as long as the view.
 * ERR_CORRUPT: no record of it can be read. One damaged byte of a sealed body is mended on the way
 * (not in v->stored). Header and table must still lie in front of v->stored. */
enum err batch_view_decode(struct batch_view *v, uint8_t *raw);
/* The same into a buffer that grows; ERR_NO_MEMORY, too. */
enum err batch_view_decode_room(struct batch_view *v, struct codec_room *room);
/* The same for a builder's own buffers after batch_seal: no checks. */
void batch_view_builder(const struct batch_builder *b, struct batch_view *out);

enum batch_record_state {
    BATCH_RECORD_OK,
    BATCH_RECORD_BAD, /* damaged */
    BATCH_RECORD_ERASED,
};
/* Verifies crc and inner lengths of record i < h.count. Without a body (it was not decoded) every
 * record is BAD. */
enum batch_record_state batch_record_verify(const struct batch_view *v, uint32_t i, uint32_t salt);
/* Verifies all; sets bit i of bad (may be NULL; (count + 63) / 64 words, zeroed by the callee) for
 * every record that is damaged or erased, returns the number of damaged ones. */
uint32_t batch_verify(const struct batch_view *v, uint32_t salt, uint64_t *bad);

/* Mends one damaged byte in header or table, in place: true when the batch opens afterwards and at
 * least one of its records verifies (or it has none). `n` bytes are there; the batch may turn out
 * to be longer: false. Costs up to a few milliseconds; for recovery and for cold reads that failed.
 */
bool batch_repair_sealed(uint8_t *bytes, size_t n, uint32_t salt, const struct crypt_file *crypt);
static inline bool batch_repair(uint8_t *bytes, size_t n, uint32_t salt)
{
    return batch_repair_sealed(bytes, n, salt, NULL);
}
/* Where an erased record was, from the beginning of the batch. What has changed lies there, and in
 * header and table. */
struct batch_erased {
    uint32_t head; /* bytes of header and table */
    uint32_t from, end;
};
/* Erases the record of seq in the batch, in place: zero bytes, marked entry, new header sum. False
 * when there is nothing to do: it is erased already, not in this batch, or the batch does not
 * verify. Also when its body is not plain: such a batch is written anew without the record. out may
 * be NULL. */
bool batch_erase(uint8_t *bytes, size_t n, uint32_t salt, uint64_t seq, struct batch_erased *out);
/* Would one wrong byte explain the damage of record i? Then it is decay and not a torn write,
 * unless it is in a sector of zeros, which may never have been written, or the record so long that
 * it may be chance. offset: of the batch in its
 * file. */
bool batch_record_decayed(const struct batch_view *v, uint32_t i, uint32_t salt, uint64_t offset);

static inline uint32_t batch_record_offset(const struct batch_view *v, uint32_t i)
{
    return get_u32(v->table + (size_t) i * BATCH_ENTRY) & ~BATCH_ERASED;
}
static inline uint64_t batch_record_seq(const struct batch_view *v, uint32_t i)
{
    return v->h.first_seq + (v->deltas == NULL ? i : get_u32(v->deltas + (size_t) i * 4));
}
/* Message i of a Kafka batch: how far behind the first sequence it lies, and what it counts for;
 * whole: what the batch does. */
static inline uint32_t batch_kafka_delta(const struct batch_view *v, uint32_t i)
{
    return v->deltas == NULL ? i : get_u32(v->deltas + (size_t) i * 4);
}
static inline uint32_t batch_kafka_size(const struct batch_view *v, uint64_t whole, uint32_t i)
{
    return v->deltas == NULL ? batch_kafka_share(whole, v->h.span, i)
                             : get_u32(v->deltas + ((size_t) batch_messages(&v->h) + i) * 4);
}
/* Reads record i, which has been verified (or built here). About 5 ns. */
static inline void batch_record_get(const struct batch_view *v, uint32_t i,
                                    struct batch_record *out)
{
    const uint8_t *p = v->body + batch_record_offset(v, i);
    uint32_t payload = get_u32(p), header = get_u16(p + 4), subject = get_u16(p + 6);

    out->seq = batch_record_seq(v, i);
    out->ts = v->h.base_time + get_u32(p + 8);
    p += BATCH_RECORD_HEADER;
    out->subject = str_from(p, subject);
    p += subject;
    out->data = p;
    out->data_len = header + payload + BATCH_RECORD_TAIL;
    out->header = str_from(p, header);
    out->payload = str_from(p + header, payload);
}
/* Index of the record with this sequence: true, or false when the batch has none. Of a Kafka batch
 * with holes: of the message; of one without there is no record of a message. */
bool batch_find(const struct batch_view *v, uint64_t seq, uint32_t *i);

#endif
