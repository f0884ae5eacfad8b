/* Columns, wide and packed, against a plain array of what was put in. */
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "store/column.h"
#include "store/subjects.h"
#include "tests/lib/runner.h"

struct shape {
    uint32_t records, ids, sizes;
};

/* One subject, a dictionary, its edges, many; parts full, begun, and none. */
static const struct shape shapes[] = {
    {0, 1, 1},
    {1, 1, 1},
    {COLUMN_BLOCK, 1, 100},
    {COLUMN_PART, 1, 1},
    {1000, 64, 70000},
    {COLUMN_PART + 1, 256, 1},
    {COLUMN_PART * 2 - 1, 257, 300},
    {200000, 3, 3},
    {200000, 100000, 65536},
    {COLUMN_PART * 3, 1000, 2},
};

struct plain {
    uint32_t *id, *size;
    uint32_t n;
};

/* Ids as a table gives them: at least five apart. */
static uint32_t some_id(struct prng *rng, const struct shape *s)
{
    return 64 + 5 * (uint32_t) prng_below(rng, s->ids);
}

static void fill(const struct shape *s, struct prng *rng, struct plain *plain, struct column *wide)
{
    plain->n = s->records;
    plain->id = mem_array(s->records + 1u, sizeof(uint32_t));
    plain->size = mem_array(s->records + 1u, sizeof(uint32_t));
    for (uint32_t k = 0; k < s->records; k++) {
        plain->id[k] = some_id(rng, s);
        plain->size[k] = 30 + (uint32_t) prng_below(rng, s->sizes);
        column_add(wide, plain->id[k], plain->size[k]);
    }
}

static void same_answers(const struct plain *plain, const struct column *c, struct prng *rng,
                         const struct shape *s)
{
    for (unsigned round = 0; round < 300; round++) {
        uint32_t from = (uint32_t) prng_below(rng, plain->n + 1ull), id = some_id(rng, s);
        uint32_t end = from + (uint32_t) prng_below(rng, plain->n - from + 1ull);
        uint32_t next = COLUMN_NONE, prev = COLUMN_NONE, count = 0;
        if (round % 10 == 0)
            id += 1; /* nobody's */
        if (round % 10 == 1)
            from = 0;
        if (round % 10 == 2)
            end = plain->n;
        for (uint32_t k = from; k < end; k++) {
            if (plain->id[k] != id)
                continue;
            next = next == COLUMN_NONE ? k : next;
            prev = k;
            count++;
        }
        ck_assert_uint_eq(column_next(c, id, from, end), next);
        ck_assert_uint_eq(column_prev(c, id, from, end), prev);
        ck_assert_uint_eq(column_count(c, id, from, end), count);
    }
}

static void same_records(const struct plain *plain, const struct column *c)
{
    ck_assert_uint_eq(c->n, plain->n);
    for (uint32_t k = 0; k < plain->n; k++) {
        ck_assert_uint_eq(column_id(c, k), plain->id[k]);
        ck_assert_uint_eq(column_size(c, k), plain->size[k]);
    }
}

static void numbers_are_dense(const struct plain *plain, const struct column *c)
{
    struct column_numbers x;

    column_number(c, &x);
    for (uint32_t k = 0; k < x.n; k++) {
        ck_assert(k == 0 || x.ids[k] > x.ids[k - 1]);
        ck_assert_uint_eq(x.number_of[SUBJECT_SLOT(x.ids[k])], k);
    }
    for (uint32_t k = 0; k < plain->n; k++)
        ck_assert_uint_eq(x.ids[x.number_of[SUBJECT_SLOT(plain->id[k])]], plain->id[k]);
    column_numbers_deinit(&x);
}

TEST(wide_and_packed)
{
    const struct shape *s = &shapes[i];
    struct column wide = {0}, packed;
    struct plain plain;
    struct prng rng;

    prng_init(&rng, (uint64_t) i + 11);
    fill(s, &rng, &plain, &wide);
    column_pack(&wide, &packed);
    column_check(&packed);
    same_records(&plain, &wide);
    same_records(&plain, &packed);
    same_answers(&plain, &wide, &rng, s);
    same_answers(&plain, &packed, &rng, s);
    numbers_are_dense(&plain, &packed);
    column_deinit(&wide);
    column_deinit(&packed);
    mem_free(plain.id);
    mem_free(plain.size);
}

static const struct runner_case cases[] = {
    RUN_LOOP(wide_and_packed, 0, sizeof(shapes) / sizeof(shapes[0])),
};

RUNNER_MAIN("store/column", cases)
