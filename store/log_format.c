/*
 * Commit log files: header page, building and opening frames (docs/internals/store-format.md). The
 * scanner is in log_scan.c.
 *
 * A frame is built in two buffers, header + table and body, that are contiguous on disk. Records
 * are copied: only what is below 64 KiB per stream goes through the log, and its copy costs nothing
 * beside the sync that follows.
 */
#include "store/log_format.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"

#include <stdio.h>
#include <string.h>

#define HEADER_MAGIC "MIDGELOG"
#define TWIN_MAGIC "MIDGETWN"
#define CRC_SEED 0xffffffffu

/* ---- file header --------------------------------------------------------------------------- */

enum {
    AT_VERSION = 8,
    AT_LENGTH = 12,
    AT_FEATURES = 16,
    AT_STORE = 40,
    AT_GENERATION = 56,
    AT_WORKER = 64,
    AT_WORKERS = 68,
    AT_NUMBER = 72,
    AT_FIRST = 80,
    AT_SALT = 88,
    AT_KEY = 92,
    AT_FILE_BYTES = 96,
    AT_CREATED = 104,
    AT_CRC = LOG_HEADER - 4,
};

static uint32_t salt_of(const struct log_header *h)
{
    return h->twin ? store_salt_twin(h->store, h->generation, h->worker, h->number)
                   : store_salt_log(h->store, h->generation, h->worker, h->number);
}

void log_header_encode(struct log_header *h, uint8_t out[LOG_HEADER])
{
    h->version = STORE_FORMAT_VERSION;
    h->salt = salt_of(h);
    if (h->key_id != 0)
        h->features.incompat |= STORE_ENCRYPTED;
    memset(out, 0, LOG_HEADER);
    memcpy(out, h->twin ? TWIN_MAGIC : HEADER_MAGIC, 8);
    put_u32(out + AT_VERSION, h->version);
    put_u32(out + AT_LENGTH, LOG_HEADER);
    put_u64(out + AT_FEATURES, h->features.incompat);
    put_u64(out + AT_FEATURES + 8, h->features.readonly);
    put_u64(out + AT_FEATURES + 16, h->features.compat);
    memcpy(out + AT_STORE, h->store, 16);
    put_u64(out + AT_GENERATION, h->generation);
    put_u32(out + AT_WORKER, h->worker);
    put_u32(out + AT_WORKERS, h->workers);
    put_u64(out + AT_NUMBER, h->number);
    put_u64(out + AT_FIRST, h->first_commit);
    put_u32(out + AT_SALT, h->salt);
    put_u32(out + AT_KEY, h->key_id);
    put_u64(out + AT_FILE_BYTES, h->file_bytes);
    put_u64(out + AT_CREATED, (uint64_t) h->created);
    put_u32(out + AT_CRC, crc32c(CRC_SEED, out, AT_CRC));
}

enum err log_header_decode(const uint8_t bytes[LOG_HEADER], struct log_header *out, char why[160])
{
    memset(out, 0, sizeof(*out));
    out->twin = memcmp(bytes, TWIN_MAGIC, 8) == 0;
    if (!out->twin && memcmp(bytes, HEADER_MAGIC, 8) != 0) {
        snprintf(why, 160, "no commit log header");
        return ERR_CORRUPT;
    }
    if (get_u32(bytes + AT_CRC) != crc32c(CRC_SEED, bytes, AT_CRC)) {
        snprintf(why, 160, "commit log header damaged (checksum)");
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
    out->generation = get_u64(bytes + AT_GENERATION);
    out->worker = get_u32(bytes + AT_WORKER);
    out->workers = get_u32(bytes + AT_WORKERS);
    out->number = get_u64(bytes + AT_NUMBER);
    out->first_commit = get_u64(bytes + AT_FIRST);
    out->salt = get_u32(bytes + AT_SALT);
    out->key_id = get_u32(bytes + AT_KEY);
    out->file_bytes = get_u64(bytes + AT_FILE_BYTES);
    out->created = (int64_t) get_u64(bytes + AT_CREATED);
    if (get_u32(bytes + AT_LENGTH) != LOG_HEADER || out->worker >= out->workers ||
        out->salt != salt_of(out)) {
        snprintf(why, 160, "commit log header contradicts itself");
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

static void make_name(char out[64], uint64_t generation, uint32_t worker, uint64_t number,
                      const char *end)
{
    snprintf(out, 64, "%010llu-%04u-%010llu.%s", (unsigned long long) generation, worker,
             (unsigned long long) number, end);
}

static bool parse_name(const char *name, uint64_t *generation, uint32_t *worker, uint64_t *number,
                       const char *end)
{
    struct str rest, a = str_cut(str_of(name), '-', &rest), b = str_cut(rest, '-', &rest);
    struct str c = str_cut(rest, '.', &rest);
    uint64_t w;
    char again[64];

    if (!str_to_u64(a, generation) || !str_to_u64(b, &w) || w > UINT32_MAX ||
        !str_to_u64(c, number) || !str_eq(rest, str_of(end)))
        return false;
    *worker = (uint32_t) w;
    make_name(again, *generation, *worker, *number, end);
    return strcmp(name, again) == 0;
}

void log_name(char out[64], uint64_t generation, uint32_t worker, uint64_t number)
{
    make_name(out, generation, worker, number, "log");
}

bool log_name_parse(const char *name, uint64_t *generation, uint32_t *worker, uint64_t *number)
{
    return parse_name(name, generation, worker, number, "log");
}

void log_mark_name(char out[64], uint32_t worker)
{
    snprintf(out, 64, "%04u.erased", worker);
}

bool log_mark_parse(const char *name, uint32_t *worker)
{
    struct str rest, digits = str_cut(str_of(name), '.', &rest);
    uint64_t w;
    char again[64];

    if (!str_to_u64(digits, &w) || w > UINT32_MAX)
        return false;
    *worker = (uint32_t) w;
    log_mark_name(again, *worker);
    return strcmp(name, again) == 0;
}

void twin_name(char out[64], uint64_t generation, uint32_t worker, uint64_t number)
{
    make_name(out, generation, worker, number, "twin");
}

bool twin_name_parse(const char *name, uint64_t *generation, uint32_t *worker, uint64_t *number)
{
    return parse_name(name, generation, worker, number, "twin");
}

/* ---- frame header -------------------------------------------------------------------------- */

enum {
    F_CRC = 4,
    F_COMMIT = 8,
    F_DURABLE = 16,
    F_COUNT = 24,
    F_BODY = 28,
    F_PREV = 32,
    F_TIME = 40,
};

static uint32_t record_seed(uint32_t salt, uint64_t commit, uint32_t index)
{
    return salt ^ (uint32_t) commit ^ index * 0x9e3779b1u;
}

static uint32_t header_crc(uint32_t salt, const void *meta, uint32_t count)
{
    return crc32c(salt, (const uint8_t *) meta + F_COMMIT,
                  LOG_FRAME_HEADER - F_COMMIT + (size_t) count * LOG_ENTRY);
}

/* ---- building ------------------------------------------------------------------------------ */

void log_frame_free(struct log_frame *f)
{
    buf_free(&f->meta);
    buf_free(&f->body);
}

void log_frame_begin(struct log_frame *f, uint32_t salt, uint64_t commit)
{
    buf_clear(&f->meta);
    buf_clear(&f->body);
    memset(buf_reserve(&f->meta, LOG_FRAME_HEADER), 0, LOG_FRAME_HEADER);
    f->meta.n = LOG_FRAME_HEADER;
    f->salt = salt;
    f->count = 0;
    f->commit = commit;
}

bool log_frame_fits(const struct log_frame *f, size_t bytes)
{
    return f->count < LOG_FRAME_RECORDS && bytes <= LOG_RECORD_MAX - LOG_RECORD_HEADER &&
           log_frame_bytes(f) + LOG_PAGE + LOG_ENTRY + log_record_bytes(bytes) <= LOG_FRAME_MAX;
}

void log_frame_add(struct log_frame *f, const struct log_record *r)
{
    log_frame_add_parts(f, r, &r->bytes, 1);
}

static void encode_record(const struct log_record *r, char p[LOG_RECORD_HEADER])
{
    p[0] = (char) r->type;
    p[1] = (char) r->flags;
    put_u16(p + 2, r->kind);
    put_u32(p + 4, 0);
    put_u64(p + 8, r->id);
    put_u64(p + 16, r->version);
    put_u64(p + 24, r->parent);
}

void log_frame_add_parts(struct log_frame *f, const struct log_record *r, const struct str *parts,
                         unsigned n)
{
    static const char zeros[LOG_RECORD_ALIGN];
    size_t start = f->body.n, bytes = LOG_RECORD_HEADER;
    char *p = buf_reserve(&f->body, LOG_RECORD_HEADER), *entry;

    ASSERT(f->count < LOG_FRAME_RECORDS);
    encode_record(r, p);
    f->body.n += LOG_RECORD_HEADER;
    for (unsigned i = 0; i < n; i++) {
        buf_put_str(&f->body, parts[i]);
        bytes += parts[i].n;
    }
    ASSERT(bytes <= LOG_RECORD_MAX);
    entry = buf_reserve(&f->meta, LOG_ENTRY);
    put_u32(entry, (uint32_t) bytes);
    put_u32(entry + 4, crc32c(record_seed(f->salt, f->commit, f->count), f->body.p + start, bytes));
    f->meta.n += LOG_ENTRY;
    f->count++;
    buf_put(&f->body, zeros, log_record_bytes(bytes - LOG_RECORD_HEADER) - bytes);
}

void log_record_seal(struct log_record *r, const struct crypt_file *f, struct crypt_nonces *nonces,
                     struct buf *room)
{
    char header[LOG_RECORD_HEADER];
    size_t n = r->bytes.n;

    r->flags |= LOG_SEALED;
    encode_record(r, header);
    buf_clear(room);
    crypt_seal_piece(f, nonces, header, sizeof(header), r->bytes.p, n,
                     (uint8_t *) buf_reserve(room, n + CRYPT_PIECE));
    room->n = n + CRYPT_PIECE;
    r->bytes = buf_str(room);
}

bool log_record_open(struct log_record *r, const struct crypt_file *f, struct buf *room)
{
    char header[LOG_RECORD_HEADER];
    size_t n = r->bytes.n;

    if ((r->flags & LOG_SEALED) == 0)
        return true;
    encode_record(r, header);
    buf_clear(room);
    if (!crypt_open_piece(f, header, sizeof(header), (const uint8_t *) r->bytes.p, n,
                          (uint8_t *) buf_reserve(room, n)))
        return false;
    room->n = n - CRYPT_PIECE;
    r->bytes = buf_str(room);
    return true;
}

static struct log_record decode_record(const uint8_t *p, uint32_t bytes)
{
    return (struct log_record){.type = p[0],
                               .flags = p[1],
                               .kind = get_u16(p + 2),
                               .id = get_u64(p + 8),
                               .version = get_u64(p + 16),
                               .parent = get_u64(p + 24),
                               .bytes = str_from(p + LOG_RECORD_HEADER, bytes - LOG_RECORD_HEADER)};
}

struct log_record log_frame_record(const struct log_frame *f, uint32_t i, size_t *at)
{
    uint32_t bytes = get_u32(f->meta.p + LOG_FRAME_HEADER + (size_t) i * LOG_ENTRY);
    struct log_record r = decode_record((const uint8_t *) f->body.p + *at, bytes);

    *at += log_record_bytes(r.bytes.n);
    return r;
}

uint32_t log_frame_seal(struct log_frame *f, uint64_t durable_commit, uint32_t prev_crc,
                        int64_t time)
{
    char *h = f->meta.p;
    size_t pad = log_frame_bytes(f) - f->meta.n - f->body.n;

    ASSERT(f->count != 0);
    put_u32(h, LOG_FRAME_MAGIC);
    put_u64(h + F_COMMIT, f->commit);
    put_u64(h + F_DURABLE, durable_commit);
    put_u32(h + F_COUNT, f->count);
    put_u32(h + F_BODY, (uint32_t) f->body.n);
    put_u32(h + F_PREV, prev_crc);
    put_u64(h + F_TIME, (uint64_t) time);
    memset(buf_reserve(&f->body, pad), 0, pad);
    f->body.n += pad;
    uint32_t crc = header_crc(f->salt, h, f->count);
    put_u32(h + F_CRC, crc);
    return crc;
}

void log_start_encode(const struct log_start *s, uint8_t out[LOG_START_BYTES])
{
    memset(out, 0, LOG_START_BYTES);
    put_u32(out, s->workers);
    put_u32(out + 4, s->clean_before ? 1 : 0);
}

bool log_start_decode(struct str bytes, struct log_start *out)
{
    if (bytes.n < LOG_START_BYTES)
        return false;
    out->workers = get_u32(bytes.p);
    out->clean_before = (get_u32(bytes.p + 4) & 1) != 0;
    return out->workers != 0;
}

/* ---- opening ------------------------------------------------------------------------------- */

/* The records, one after the other, fill the body. Looked at before the sum: of the thousand counts
 * that a repair tries, this refuses nearly all at their first entries. */
static bool table_sound(const struct log_frame_view *v)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < v->count && sum <= v->body_bytes; i++) {
        uint32_t bytes = get_u32(v->table + (size_t) i * LOG_ENTRY);
        if (bytes < LOG_RECORD_HEADER || bytes > LOG_RECORD_MAX)
            return false;
        sum += log_record_bytes(bytes - LOG_RECORD_HEADER);
    }
    return sum == v->body_bytes;
}

enum err log_frame_open(const uint8_t *bytes, size_t n, uint32_t salt, uint64_t offset,
                        struct log_frame_view *out)
{
    if (n < LOG_FRAME_HEADER || get_u32(bytes) != LOG_FRAME_MAGIC)
        return ERR_CORRUPT;
    *out = (struct log_frame_view){.offset = offset,
                                   .commit = get_u64(bytes + F_COMMIT),
                                   .durable_commit = get_u64(bytes + F_DURABLE),
                                   .count = get_u32(bytes + F_COUNT),
                                   .header_crc = get_u32(bytes + F_CRC),
                                   .prev_crc = get_u32(bytes + F_PREV),
                                   .time = (int64_t) get_u64(bytes + F_TIME),
                                   .body_bytes = get_u32(bytes + F_BODY),
                                   .salt = salt};
    uint64_t meta = LOG_FRAME_HEADER + (uint64_t) out->count * LOG_ENTRY;
    if (out->count == 0 || out->count > LOG_FRAME_RECORDS || out->body_bytes > LOG_FRAME_MAX ||
        meta + out->body_bytes > n)
        return ERR_CORRUPT;
    out->bytes = round_up(meta + out->body_bytes, LOG_PAGE);
    out->table = bytes + LOG_FRAME_HEADER;
    out->body = bytes + meta;
    if (!table_sound(out) || header_crc(salt, bytes, out->count) != out->header_crc ||
        out->durable_commit >= out->commit)
        return ERR_CORRUPT;
    return ERR_OK;
}

uint64_t log_frame_claims(const uint8_t *header)
{
    uint32_t count = get_u32(header + F_COUNT), body = get_u32(header + F_BODY);

    if (get_u32(header) != LOG_FRAME_MAGIC || count > LOG_FRAME_RECORDS || body > LOG_FRAME_MAX)
        return 0;
    return round_up(LOG_FRAME_HEADER + (uint64_t) count * LOG_ENTRY + body, LOG_PAGE);
}

int log_frame_next(struct log_frame_view *v, struct log_record *out)
{
    if (v->index == v->count)
        return 0;
    const uint8_t *entry = v->table + (size_t) v->index * LOG_ENTRY, *p = v->body + v->body_at;
    uint32_t bytes = get_u32(entry);
    uint32_t crc = crc32c(record_seed(v->salt, v->commit, v->index), p, bytes);

    v->index++;
    v->body_at += (uint32_t) log_record_bytes(bytes - LOG_RECORD_HEADER);
    if (crc != get_u32(entry + 4))
        return -1;
    *out = decode_record(p, bytes);
    return 1;
}
