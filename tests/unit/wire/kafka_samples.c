/* kafka_samples.c - arbitrary messages; written without the codec's own walk over the tables. */
#include "tests/unit/wire/kafka_samples.h"

#include <string.h>

static bool here(const struct kafka_field *f, int version)
{
    return f->since <= version && version <= f->until;
}

static size_t size_of(const struct kafka_field *f)
{
    static const size_t sizes[] = {1,
                                   1,
                                   2,
                                   2,
                                   4,
                                   8,
                                   16,
                                   sizeof(struct str),
                                   sizeof(struct str),
                                   sizeof(struct kafka_records),
                                   sizeof(void *)};
    return f->type == KAFKA_NESTED ? f->of()->size : sizes[f->type];
}

static struct str text(struct kafka_arena *arena, struct prng *prng, bool null)
{
    static const size_t lengths[] = {0, 1, 7, 126, 127, 128, 300};
    size_t n = lengths[prng_below(prng, 7)];
    char *p = kafka_arena_alloc(arena, n + 1);

    if (null && prng_below(prng, 4) == 0)
        return STR_NONE;
    for (size_t i = 0; i < n; i++)
        p[i] = (char) prng_u64(prng);
    return str_from(p, n);
}

static void fill(const struct kafka_field *f, int version, struct kafka_arena *arena,
                 struct prng *prng, void *at)
{
    bool null = version >= f->null_since;
    uint64_t bits = prng_u64(prng);
    struct str s;

    switch (f->type) {
    case KAFKA_BOOL:
        *(bool *) at = bits & 1;
        break;
    case KAFKA_STR:
    case KAFKA_BYTES:
        *(struct str *) at = text(arena, prng, null);
        break;
    case KAFKA_RECORDS:
        s = text(arena, prng, null);
        *(struct kafka_records *) at =
            (struct kafka_records){.p = (const uint8_t *) s.p, .n = s.n, .null = s.p == NULL};
        break;
    case KAFKA_UUID:
        memcpy(at, &bits, 8);
        break;
    default:
        memcpy(at, &bits, size_of(f));
        break;
    }
}

void *kafka_sample(const struct kafka_struct *s, int version, struct kafka_arena *arena,
                   struct prng *prng)
{
    char *out = kafka_arena_structs(arena, s, 1);

    for (unsigned i = 0; i < s->n; i++) {
        const struct kafka_field *f = &s->fields[i];
        char *at = out + f->offset;
        if (!here(f, version))
            continue;
        if (f->is_array) {
            int32_t n = (int32_t) prng_below(prng, 4);
            char *items = kafka_arena_alloc(arena, (size_t) n * size_of(f));
            for (int32_t k = 0; k < n; k++)
                if (f->type == KAFKA_NESTED)
                    memcpy(items + (size_t) k * size_of(f),
                           kafka_sample(f->of(), version, arena, prng), size_of(f));
                else
                    fill(f, version, arena, prng, items + (size_t) k * size_of(f));
            if (version >= f->null_since && prng_below(prng, 4) == 0)
                n = -1;
            memcpy(at, &items, sizeof(items));
            memcpy(at + sizeof(items), &n, sizeof(n));
        } else if (f->type == KAFKA_NESTED) {
            void *p = kafka_sample(f->of(), version, arena, prng);
            memcpy(at, &p, sizeof(p));
        } else if (prng_below(prng, 8) != 0) {
            fill(f, version, arena, prng, at);
        }
    }
    return out;
}

static bool same_value(const struct kafka_field *f, const char *a, const char *b)
{
    const struct str *x = (const void *) a, *y = (const void *) b;
    const struct kafka_records *r = (const void *) a, *q = (const void *) b;

    switch (f->type) {
    case KAFKA_STR:
    case KAFKA_BYTES:
        return str_eq(*x, *y) && (x->p == NULL) == (y->p == NULL);
    case KAFKA_RECORDS:
        return r->null == q->null && str_eq(str_from(r->p, r->n), str_from(q->p, q->n));
    default:
        return memcmp(a, b, size_of(f)) == 0;
    }
}

static bool same_array(const struct kafka_field *f, int version, const char *a, const char *b)
{
    const char *x, *y;
    int32_t n, m;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    memcpy(&n, a + sizeof(x), sizeof(n));
    memcpy(&m, b + sizeof(x), sizeof(m));
    if (n != m)
        return false;
    for (int32_t k = 0; k < n; k++, x += size_of(f), y += size_of(f))
        if (f->type == KAFKA_NESTED ? !kafka_same(f->of(), version, x, y) : !same_value(f, x, y))
            return false;
    return true;
}

bool kafka_same(const struct kafka_struct *s, int version, const void *a, const void *b)
{
    struct kafka_arena arena = {0};
    const char *plain = kafka_arena_structs(&arena, s, 1);
    bool same = true;

    for (unsigned i = 0; i < s->n && same; i++) {
        const struct kafka_field *f = &s->fields[i];
        const char *x = (here(f, version) ? (const char *) a : plain) + f->offset;
        const char *y = (const char *) b + f->offset;
        const void *p, *q;
        if (f->is_array) {
            same = same_array(f, version, x, y);
        } else if (f->type == KAFKA_NESTED) {
            memcpy(&p, x, sizeof(p));
            memcpy(&q, y, sizeof(q));
            same = (p == NULL) == (q == NULL) && (p == NULL || kafka_same(f->of(), version, p, q));
        } else {
            same = same_value(f, x, y);
        }
    }
    kafka_arena_free(&arena);
    return same;
}
