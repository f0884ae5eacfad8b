/* kafka_set.c - see kafka_set.h. */
#include "lib/wire/kafka_set.h"

#include "lib/base/mem.h"
#include "lib/wire/kafka_bytes.h"
#include "lib/wire/kafka_compress.h"
#include "lib/wire/kafka_pack.h"

#include <string.h>
#include <zlib.h>

enum { AT_CRC = 12, AT_MAGIC = 16, AT_ATTRIBUTES = 17, BEFORE_SIZE = 12 };

/* The shortest message: magic 0, no key, no value. */
#define LEAST 26u

struct message {
    int magic;
    unsigned attributes;
    int64_t time;
    struct str key, value;
};

/* Takes a string off the front of *in; false: it is cut. */
static bool take_bytes(struct str *in, struct str *out)
{
    if (in->n < 4)
        return false;
    int32_t n = (int32_t) kafka_get_u32(in->p);
    *in = str_skip(*in, 4);
    *out = STR_NONE;
    if (n < 0)
        return n == -1;
    if ((uint32_t) n > in->n)
        return false;
    *out = str_from(in->p, (size_t) n);
    *in = str_skip(*in, (size_t) n);
    return true;
}

/* Takes a message off the front of *set. */
static enum kafka_batch_fault take_message(struct str *set, struct message *m)
{
    const uint8_t *p = (const uint8_t *) set->p;

    if (set->n < LEAST)
        return KAFKA_BATCH_SHORT;
    m->magic = p[AT_MAGIC];
    if (m->magic > 1)
        return KAFKA_BATCH_MAGIC_BAD;
    uint32_t size = kafka_get_u32(p + 8);
    if (size < LEAST - BEFORE_SIZE || size > set->n - BEFORE_SIZE)
        return KAFKA_BATCH_SHORT;
    struct str rest = str_from(p + AT_ATTRIBUTES + 1, size + BEFORE_SIZE - AT_ATTRIBUTES - 1);
    if (crc32(0, p + AT_MAGIC, size - 4) != kafka_get_u32(p + AT_CRC))
        return KAFKA_BATCH_CRC;
    m->attributes = p[AT_ATTRIBUTES];
    m->time = -1;
    if (m->magic == 1) {
        if (rest.n < 8)
            return KAFKA_BATCH_SHORT;
        m->time = (int64_t) kafka_get_u64(rest.p);
        rest = str_skip(rest, 8);
    }
    if (!take_bytes(&rest, &m->key) || !take_bytes(&rest, &m->value) || rest.n > 0)
        return KAFKA_BATCH_RECORD_BAD;
    *set = str_skip(*set, (size_t) size + BEFORE_SIZE);
    return KAFKA_BATCH_OK;
}

/* ---- a set as a batch ------------------------------------------------------------------------ */

struct conversion {
    struct kafka_record *records;
    uint32_t n, cap;
    struct kafka_room *rooms; /* what wrappers held: records are views of it */
    uint32_t nrooms, rooms_cap;
    size_t plain, bytes;
    enum kafka_codec codec;
};

static enum kafka_batch_fault add_record(struct conversion *c, const struct message *m)
{
    if (c->n == KAFKA_SET_MESSAGES_MAX)
        return KAFKA_BATCH_COUNT;
    if ((m->attributes & KAFKA_APPEND_TIME) != 0 && m->magic == 1)
        return KAFKA_BATCH_TIME_TYPE;
    if (c->n == c->cap) {
        c->cap = c->cap * 2 + 16;
        c->records = mem_realloc(c->records, c->cap * sizeof(*c->records));
    }
    struct kafka_record *r = &c->records[c->n];
    *r = (struct kafka_record){
        .time = m->time, .offset = c->n, .key = m->key, .value = m->value, .headers = STR("")};
    c->bytes += kafka_record_bytes_max(r);
    c->n++;
    return KAFKA_BATCH_OK;
}

static enum kafka_batch_fault take_set(struct conversion *c, struct str set, bool inside);

static enum kafka_batch_fault unwrap(struct conversion *c, const struct message *m)
{
    enum kafka_codec codec = (enum kafka_codec)(m->attributes & KAFKA_CODEC_MASK);

    if (codec > KAFKA_LZ4 || (codec == KAFKA_LZ4 && m->magic == 0))
        return KAFKA_BATCH_CODEC_BAD;
    if (m->value.p == NULL)
        return KAFKA_BATCH_RECORD_BAD;
    if ((m->attributes & KAFKA_APPEND_TIME) != 0 && m->magic == 1)
        return KAFKA_BATCH_TIME_TYPE;
    if (c->nrooms == c->rooms_cap) {
        c->rooms_cap = c->rooms_cap * 2 + 4;
        c->rooms = mem_realloc(c->rooms, c->rooms_cap * sizeof(*c->rooms));
    }
    struct kafka_room *room = &c->rooms[c->nrooms++];
    *room = (struct kafka_room){0};
    if (kafka_decompress(codec, m->value, KAFKA_PLAIN_MAX - c->plain, room) != ERR_OK)
        return KAFKA_BATCH_RECORD_BAD;
    c->plain += room->n;
    c->codec = codec;
    return take_set(c, str_from(room->p, room->n), true);
}

static enum kafka_batch_fault take_set(struct conversion *c, struct str set, bool inside)
{
    enum kafka_batch_fault fault = KAFKA_BATCH_OK;
    struct message m;

    while (set.n > 0 && fault == KAFKA_BATCH_OK) {
        fault = take_message(&set, &m);
        if (fault != KAFKA_BATCH_OK)
            break;
        if ((m.attributes & KAFKA_CODEC_MASK) == KAFKA_PLAIN)
            fault = add_record(c, &m);
        else
            fault = inside ? KAFKA_BATCH_RECORD_BAD : unwrap(c, &m);
    }
    return fault;
}

static enum kafka_batch_fault build(const struct conversion *c, struct buf *out)
{
    size_t cap = KAFKA_BATCH_HEADER + c->bytes;
    uint8_t *plain = mem_try_alloc(cap);
    struct kafka_builder b;
    bool good = plain != NULL;

    if (!good)
        return KAFKA_BATCH_RECORD_BAD;
    kafka_builder_open(&b, plain, cap, 0);
    for (uint32_t i = 0; good && i < c->n; i++)
        good = kafka_builder_add(&b, &c->records[i]);
    if (good) {
        size_t n = kafka_builder_finish(&b, -1, NULL);
        good = kafka_batch_pack(str_from(plain, n), c->codec, out) == ERR_OK;
    }
    mem_free(plain);
    return good ? KAFKA_BATCH_OK : KAFKA_BATCH_RECORD_BAD;
}

enum kafka_batch_fault kafka_set_convert(struct str set, struct buf *out)
{
    struct conversion c = {0};
    enum kafka_batch_fault fault = take_set(&c, set, false);

    if (fault == KAFKA_BATCH_OK)
        fault = c.n == 0 ? KAFKA_BATCH_COUNT : build(&c, out);
    for (uint32_t i = 0; i < c.nrooms; i++)
        kafka_room_free(&c.rooms[i]);
    mem_free(c.rooms);
    mem_free(c.records);
    return fault;
}

/* ---- a record as a message ------------------------------------------------------------------- */

size_t kafka_set_bytes(int magic, const struct kafka_record *r)
{
    return LEAST + (magic == 1 ? 8 : 0) + r->key.n + r->value.n;
}

static void put_bytes(struct buf *out, struct str s)
{
    kafka_append_u32(out, s.p == NULL ? UINT32_MAX : (uint32_t) s.n);
    if (s.n > 0)
        buf_put_str(out, s);
}

void kafka_set_put(struct buf *out, int magic, const struct kafka_record *r)
{
    size_t at = out->n, n = kafka_set_bytes(magic, r);

    kafka_append_u64(out, (uint64_t) r->offset);
    kafka_append_u32(out, (uint32_t) (n - BEFORE_SIZE));
    kafka_append_u32(out, 0);
    buf_putc(out, (char) magic);
    buf_putc(out, 0);
    if (magic == 1)
        kafka_append_u64(out, (uint64_t) r->time);
    put_bytes(out, r->key);
    put_bytes(out, r->value);
    uint8_t *p = (uint8_t *) out->p + at;
    kafka_put_u32(p + AT_CRC, (uint32_t) crc32(0, p + AT_MAGIC, (uInt) (n - AT_MAGIC)));
}
