/*
 * kafka_codec.c - the codec: one function per direction, driven by the tables.
 *
 * Bytes. Integers are big-endian. In flexible versions a string, bytes or array begins with its
 * length + 1 as an unsigned varint (0 = null), and a struct ends with tagged fields: their number,
 * then for each its tag, its size and its bytes, by ascending tag. In the others a string has an
 * INT16 in front, bytes and arrays an INT32 (-1 = null). A struct that may be null has an INT8 in
 * front, -1 or 1.
 *
 * Reading never goes back and never looks beyond the end; the first thing that does not fit makes
 * the whole message bad (struct in, bad) and all later reads give zeros, so that only loops need to
 * ask. Tags that are not known are skipped; a known tag must fill its size exactly.
 */
#include "lib/wire/kafka_codec.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/base/varint.h"
#include "lib/wire/kafka_bytes.h"

struct in {
    const uint8_t *p, *end;
    int version;
    bool flexible, bad;
    struct kafka_arena *arena;
    size_t arena_left;
};

static const size_t sizes[] = {
    [KAFKA_BOOL] = sizeof(bool),
    [KAFKA_I8] = 1,
    [KAFKA_I16] = 2,
    [KAFKA_U16] = 2,
    [KAFKA_I32] = 4,
    [KAFKA_I64] = 8,
    [KAFKA_UUID] = sizeof(struct kafka_uuid),
    [KAFKA_STR] = sizeof(struct str),
    [KAFKA_BYTES] = sizeof(struct str),
    [KAFKA_RECORDS] = sizeof(struct kafka_records),
    [KAFKA_NESTED] = sizeof(void *),
};

static bool has(const struct kafka_field *f, int version)
{
    return version >= f->since && version <= f->until;
}

/* An array: pointer and count, as the structs of kafka_messages.h have them. */
struct array {
    void *p;
    int32_t n;
};

/* ---- defaults -------------------------------------------------------------------------------- */

static void set_default(const struct kafka_field *f, void *at)
{
    if (f->is_array)
        return;
    switch (f->type) {
    case KAFKA_BOOL:
        *(bool *) at = f->value != 0;
        break;
    case KAFKA_I8:
        *(int8_t *) at = (int8_t) f->value;
        break;
    case KAFKA_I16:
    case KAFKA_U16:
        *(int16_t *) at = (int16_t) f->value;
        break;
    case KAFKA_I32:
        *(int32_t *) at = (int32_t) f->value;
        break;
    case KAFKA_I64:
        *(int64_t *) at = f->value;
        break;
    case KAFKA_STR:
    case KAFKA_BYTES:
        *(struct str *) at = f->nil ? STR_NONE : STR("");
        break;
    default: /* zero */
        break;
    }
}

static void set_defaults(const struct kafka_struct *s, void *out)
{
    for (unsigned i = 0; i < s->n; i++)
        set_default(&s->fields[i], (char *) out + s->fields[i].offset);
}

void *kafka_arena_structs(struct kafka_arena *a, const struct kafka_struct *s, size_t n)
{
    char *p = kafka_arena_alloc(a, n * s->size);

    for (size_t i = 0; i < n; i++)
        set_defaults(s, p + i * s->size);
    return p;
}

/* ---- reading --------------------------------------------------------------------------------- */

static const uint8_t *take(struct in *in, size_t n)
{
    static const uint8_t zeros[16];
    const uint8_t *p = in->p;

    if (in->bad || (size_t) (in->end - in->p) < n) {
        in->bad = true;
        return n <= sizeof(zeros) ? zeros : NULL;
    }
    in->p += n;
    return p;
}

/* An unsigned varint of at most 32 bits. */
static uint32_t take_varint(struct in *in)
{
    uint32_t v = 0;

    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint8_t b = *take(in, 1);
        if (shift == 28 && b > 0x0f)
            break;
        v |= (uint32_t) (b & 0x7f) << shift;
        if ((b & 0x80) == 0)
            return v;
    }
    in->bad = true;
    return 0;
}

/* The length in front of a string, bytes or array; -1 = null. */
static int64_t take_length(struct in *in, bool is_string)
{
    int64_t n;

    if (in->flexible)
        n = (int64_t) take_varint(in) - 1;
    else if (is_string)
        n = (int16_t) kafka_get_u16(take(in, 2));
    else
        n = (int32_t) kafka_get_u32(take(in, 4));
    if (n < -1)
        in->bad = true;
    return n;
}

static bool may_be_null(const struct in *in, const struct kafka_field *f)
{
    return in->version >= f->null_since;
}

static struct str take_bytes(struct in *in, const struct kafka_field *f, bool is_string)
{
    int64_t n = take_length(in, is_string);
    const uint8_t *p;

    if (n < 0) {
        in->bad |= !may_be_null(in, f);
        return STR_NONE;
    }
    if (n > in->end - in->p) {
        in->bad = true;
        return STR_NONE;
    }
    p = take(in, (size_t) n);
    return in->bad ? STR_NONE : n == 0 ? STR("") : str_from(p, (size_t) n);
}

static void take_records(struct in *in, const struct kafka_field *f, struct kafka_records *out)
{
    struct str s = take_bytes(in, f, false);

    *out = (struct kafka_records){.p = (const uint8_t *) s.p, .n = s.n, .null = s.p == NULL};
}

static void take_plain(struct in *in, const struct kafka_field *f, void *at)
{
    switch (f->type) {
    case KAFKA_BOOL:
        *(bool *) at = *take(in, 1) != 0;
        break;
    case KAFKA_I8:
        *(int8_t *) at = (int8_t) *take(in, 1);
        break;
    case KAFKA_I16:
    case KAFKA_U16:
        *(uint16_t *) at = kafka_get_u16(take(in, 2));
        break;
    case KAFKA_I32:
        *(uint32_t *) at = kafka_get_u32(take(in, 4));
        break;
    case KAFKA_I64:
        *(uint64_t *) at = kafka_get_u64(take(in, 8));
        break;
    case KAFKA_UUID:
        memcpy(at, take(in, 16), 16);
        break;
    case KAFKA_STR:
        *(struct str *) at = take_bytes(in, f, true);
        break;
    case KAFKA_BYTES:
        *(struct str *) at = take_bytes(in, f, false);
        break;
    default:
        take_records(in, f, at);
        break;
    }
}

/* The least that a value takes on the wire. */
static size_t least_of_struct(const struct kafka_struct *s, int version, bool flexible);

static size_t least(const struct kafka_field *f, int version, bool flexible)
{
    static const uint8_t plain[] = {
        [KAFKA_BOOL] = 1, [KAFKA_I8] = 1,  [KAFKA_I16] = 2,  [KAFKA_U16] = 2,
        [KAFKA_I32] = 4,  [KAFKA_I64] = 8, [KAFKA_UUID] = 16};

    switch (f->type) {
    case KAFKA_STR:
        return flexible ? 1 : 2;
    case KAFKA_BYTES:
    case KAFKA_RECORDS:
        return flexible ? 1 : 4;
    case KAFKA_NESTED:
        return version >= f->null_since && !f->is_array
                   ? 1
                   : least_of_struct(f->of(), version, flexible);
    default:
        return plain[f->type];
    }
}

static size_t least_of_struct(const struct kafka_struct *s, int version, bool flexible)
{
    size_t n = flexible ? 1 : 0;

    for (unsigned i = 0; i < s->n; i++) {
        const struct kafka_field *f = &s->fields[i];
        if (!has(f, version) || f->tag != KAFKA_UNTAGGED)
            continue;
        n += f->is_array ? (flexible ? 1u : 4u) : least(f, version, flexible);
    }
    return n;
}

static void take_struct(struct in *in, const struct kafka_struct *s, void *out);

static void *alloc(struct in *in, size_t n, size_t each)
{
    if (n * each > in->arena_left) {
        in->bad = true;
        return NULL;
    }
    in->arena_left -= n * each;
    return kafka_arena_alloc(in->arena, n * each);
}

static void take_array(struct in *in, const struct kafka_field *f, struct array *out)
{
    int64_t n = take_length(in, false);
    size_t min, each = f->type == KAFKA_NESTED ? f->of()->size : sizes[f->type];
    char *p;

    out->n = (int32_t) n;
    if (n < 0) {
        in->bad |= !may_be_null(in, f);
        return;
    }
    min = least(f, in->version, in->flexible);
    if (in->bad || n > (in->end - in->p) / (int64_t) (min > 0 ? min : 1)) {
        in->bad = true;
        out->n = 0;
        return;
    }
    out->p = p = alloc(in, (size_t) n, each);
    for (int64_t i = 0; i < n && !in->bad; i++)
        if (f->type == KAFKA_NESTED)
            take_struct(in, f->of(), p + (size_t) i * each);
        else
            take_plain(in, f, p + (size_t) i * each);
}

static void take_nested(struct in *in, const struct kafka_field *f, void **out)
{
    const struct kafka_struct *s = f->of();

    if (may_be_null(in, f) && (int8_t) *take(in, 1) < 0)
        return;
    *out = in->bad ? NULL : alloc(in, 1, s->size);
    if (*out != NULL)
        take_struct(in, s, *out);
}

static void take_field(struct in *in, const struct kafka_field *f, void *out)
{
    void *at = (char *) out + f->offset;

    if (f->is_array)
        take_array(in, f, at);
    else if (f->type == KAFKA_NESTED)
        take_nested(in, f, at);
    else
        take_plain(in, f, at);
}

static const struct kafka_field *tagged(const struct kafka_struct *s, int version, uint32_t tag)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->fields[i].tag >= 0 && (uint32_t) s->fields[i].tag == tag &&
            has(&s->fields[i], version))
            return &s->fields[i];
    return NULL;
}

/* s NULL: none is known. */
static void take_tags(struct in *in, const struct kafka_struct *s, void *out)
{
    uint32_t n = take_varint(in), before = 0;

    for (uint32_t i = 0; i < n && !in->bad; i++) {
        uint32_t tag = take_varint(in), size = take_varint(in);
        const struct kafka_field *f = s != NULL ? tagged(s, in->version, tag) : NULL;
        const uint8_t *end = in->end;

        if ((i > 0 && tag <= before) || size > (size_t) (in->end - in->p)) {
            in->bad = true;
            return;
        }
        before = tag;
        if (f == NULL) {
            in->p += size;
            continue;
        }
        in->end = in->p + size;
        take_field(in, f, out);
        in->bad |= in->p != in->end;
        in->end = end;
    }
}

static void take_struct(struct in *in, const struct kafka_struct *s, void *out)
{
    set_defaults(s, out);
    for (unsigned i = 0; i < s->n && !in->bad; i++)
        if (has(&s->fields[i], in->version) && s->fields[i].tag == KAFKA_UNTAGGED)
            take_field(in, &s->fields[i], out);
    if (in->flexible)
        take_tags(in, s, out);
}

static struct in in_of(struct str s)
{
    const uint8_t *p = (const uint8_t *) s.p;

    return (struct in){.p = p, .end = s.n > 0 ? p + s.n : p};
}

void *kafka_decode(const struct kafka_struct *s, int version, bool flexible, struct str *in,
                   struct kafka_arena *arena)
{
    struct in i = in_of(*in);
    void *out;

    i.version = version;
    i.flexible = flexible;
    i.arena = arena;
    i.arena_left = in->n * KAFKA_ARENA_FACTOR + KAFKA_ARENA_LEAST;
    if (i.arena_left > KAFKA_ARENA_MOST)
        i.arena_left = KAFKA_ARENA_MOST;
    out = alloc(&i, 1, s->size);
    take_struct(&i, s, out);
    if (i.bad)
        return NULL;
    *in = str_from(i.p, (size_t) (i.end - i.p));
    return out;
}

bool kafka_take_header(struct str *in, struct kafka_header *out)
{
    /* The client's name is a classic string in every version. */
    static const struct kafka_field name = {.type = KAFKA_STR, .null_since = 0};
    const struct kafka_api *api;
    struct in i = in_of(*in);

    *out = (struct kafka_header){0};
    out->key = (int16_t) kafka_get_u16(take(&i, 2));
    out->version = (int16_t) kafka_get_u16(take(&i, 2));
    out->correlation = (int32_t) kafka_get_u32(take(&i, 4));
    out->client_id = take_bytes(&i, &name, true);
    api = kafka_api_of(out->key);
    i.flexible = api != NULL && out->version <= api->last && kafka_is_flexible(api, out->version);
    if (i.flexible)
        take_tags(&i, NULL, NULL);
    if (i.bad)
        return false;
    *in = str_from(i.p, (size_t) (i.end - i.p));
    return true;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct out {
    struct buf *b;
    int version;
    bool flexible;
    struct kafka_cuts *cuts;
};

/* n: -1 = null. */
static void put_length(const struct out *o, int64_t n, bool is_string)
{
    if (o->flexible)
        varint_put_buf(o->b, (uint64_t) (n + 1));
    else if (is_string)
        kafka_append_u16(o->b, (uint16_t) n);
    else
        kafka_append_u32(o->b, (uint32_t) n);
}

/* What stands for a null here. */
static int64_t null_length(const struct out *o, const struct kafka_field *f)
{
    return o->version >= f->null_since ? -1 : 0;
}

static void put_bytes(const struct out *o, const struct kafka_field *f, struct str s,
                      bool is_string)
{
    /* Texts that a classic string can not hold are ours (messages of errors): they are cut. */
    if (is_string && !o->flexible && s.n > INT16_MAX)
        s.n = INT16_MAX;
    put_length(o, s.p == NULL && s.n == 0 ? null_length(o, f) : (int64_t) s.n, is_string);
    buf_put(o->b, s.p, s.n);
}

static void note_cut(const struct out *o, const struct kafka_records *r)
{
    struct kafka_cuts *c = o->cuts;

    ASSERT(c != NULL);
    if (c->n == c->cap) {
        c->cap = c->cap > 0 ? c->cap * 2 : 8;
        c->cuts = mem_realloc(c->cuts, c->cap * sizeof(*c->cuts));
    }
    c->cuts[c->n++] = (struct kafka_cut){.at = o->b->n, .records = r};
    c->bytes += r->n;
}

static void put_records(const struct out *o, const struct kafka_field *f,
                        const struct kafka_records *r)
{
    put_length(o, r->null ? null_length(o, f) : (int64_t) r->n, false);
    if (r->null)
        return;
    if (r->elsewhere != NULL)
        note_cut(o, r);
    else
        buf_put(o->b, r->p, r->n);
}

static void put_plain(const struct out *o, const struct kafka_field *f, const void *at)
{
    switch (f->type) {
    case KAFKA_BOOL:
        buf_putc(o->b, *(const bool *) at ? 1 : 0);
        break;
    case KAFKA_I8:
        buf_putc(o->b, *(const char *) at);
        break;
    case KAFKA_I16:
    case KAFKA_U16:
        kafka_append_u16(o->b, *(const uint16_t *) at);
        break;
    case KAFKA_I32:
        kafka_append_u32(o->b, *(const uint32_t *) at);
        break;
    case KAFKA_I64:
        kafka_append_u64(o->b, *(const uint64_t *) at);
        break;
    case KAFKA_UUID:
        buf_put(o->b, at, 16);
        break;
    case KAFKA_STR:
        put_bytes(o, f, *(const struct str *) at, true);
        break;
    case KAFKA_BYTES:
        put_bytes(o, f, *(const struct str *) at, false);
        break;
    default:
        put_records(o, f, at);
        break;
    }
}

static void put_struct(const struct out *o, const struct kafka_struct *s, const void *message);

static void put_array(const struct out *o, const struct kafka_field *f, const struct array *a)
{
    size_t each = f->type == KAFKA_NESTED ? f->of()->size : sizes[f->type];

    put_length(o, a->n < 0 ? null_length(o, f) : a->n, false);
    for (int32_t i = 0; i < a->n; i++) {
        const char *at = (const char *) a->p + (size_t) i * each;
        if (f->type == KAFKA_NESTED)
            put_struct(o, f->of(), at);
        else
            put_plain(o, f, at);
    }
}

static void put_nested(const struct out *o, const struct kafka_field *f, const void *message)
{
    struct kafka_arena none = {0};

    if (o->version >= f->null_since) {
        buf_putc(o->b, message != NULL ? 1 : -1);
        if (message == NULL)
            return;
    }
    if (message == NULL)
        message = kafka_arena_structs(&none, f->of(), 1);
    put_struct(o, f->of(), message);
    kafka_arena_free(&none);
}

static void put_field(const struct out *o, const struct kafka_field *f, const void *message)
{
    const void *at = (const char *) message + f->offset;

    if (f->is_array)
        put_array(o, f, at);
    else if (f->type == KAFKA_NESTED)
        put_nested(o, f, *(void *const *) at);
    else
        put_plain(o, f, at);
}

/* A tagged field that has its default value is not sent. */
static bool is_default(const struct kafka_field *f, const void *message)
{
    const void *at = (const char *) message + f->offset;
    union {
        uint8_t bytes[sizeof(struct kafka_records)];
        int64_t aligned;
    } v = {{0}};

    if (f->is_array)
        return ((const struct array *) at)->n == 0;
    if (f->type == KAFKA_NESTED)
        return *(void *const *) at == NULL;
    set_default(f, v.bytes);
    if (f->type == KAFKA_STR || f->type == KAFKA_BYTES) {
        const struct str *s = at;
        return s->n == 0 && (s->p == NULL) == f->nil;
    }
    return memcmp(at, v.bytes, sizes[f->type]) == 0;
}

static void put_tags(const struct out *o, const struct kafka_struct *s, const void *message)
{
    unsigned n = 0;

    for (unsigned i = 0; i < s->n; i++)
        n += s->fields[i].tag != KAFKA_UNTAGGED && has(&s->fields[i], o->version) &&
             !is_default(&s->fields[i], message);
    varint_put_buf(o->b, n);
    for (unsigned i = 0; i < s->n && n > 0; i++) {
        const struct kafka_field *f = &s->fields[i];
        struct buf value = {0};
        struct out inner = *o;
        if (f->tag == KAFKA_UNTAGGED || !has(f, o->version) || is_default(f, message))
            continue;
        inner.b = &value;
        inner.cuts = NULL;
        put_field(&inner, f, message);
        varint_put_buf(o->b, (uint64_t) f->tag);
        varint_put_buf(o->b, value.n);
        buf_put(o->b, value.p, value.n);
        buf_free(&value);
    }
}

static void put_struct(const struct out *o, const struct kafka_struct *s, const void *message)
{
    for (unsigned i = 0; i < s->n; i++)
        if (has(&s->fields[i], o->version) && s->fields[i].tag == KAFKA_UNTAGGED)
            put_field(o, &s->fields[i], message);
    if (o->flexible)
        put_tags(o, s, message);
}

void kafka_encode(const struct kafka_struct *s, int version, bool flexible, const void *message,
                  struct buf *out, struct kafka_cuts *cuts)
{
    const struct out o = {.b = out, .version = version, .flexible = flexible, .cuts = cuts};

    put_struct(&o, s, message);
}

void kafka_put_response_header(struct buf *out, const struct kafka_header *h)
{
    const struct kafka_api *api = kafka_api_of(h->key);

    kafka_append_u32(out, (uint32_t) h->correlation);
    /* Who asks for the versions does not know yet whether we are flexible. */
    if (h->key != KAFKA_API_VERSIONS && api != NULL && kafka_is_flexible(api, h->version))
        buf_putc(out, 0);
}
