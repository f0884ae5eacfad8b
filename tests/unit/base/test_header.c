/* test_header.c - header blocks: what is valid, lookups, the first line, removing and adding, any
 * bytes at all. */
#include "lib/base/assert.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "tests/lib/runner.h"

#include <string.h>

#define H "NATS/1.0\r\n"
#define E "\r\n"

TEST(accepts)
{
    static const char *const good[] = {
        H E,
        H "A: b\r\n" E,
        "NATS/1.0 503\r\n" E,
        "NATS/1.0 503 No Responders\r\n" E,
        "NATS/1.0\t100\r\n" E,
        H "no colon\r\n" E,
        H "A:\r\n" E,
    };

    for (size_t k = 0; k < ARRAY_LEN(good); k++)
        ck_assert_msg(header_valid(str_of(good[k])), "%s", good[k]);
}

static const char *const bad_blocks[] = {
    "",
    "\r\n\r\n",
    "NATS/1.0",
    "NATS/1.0\r\n",
    "NATS/1.0\r\n\r",
    "NATS/1.0\n\n",
    "NATS/1.1\r\nA: b\r\n\r\n",
    "nats/1.0\r\nA: b\r\n\r\n",
    " NATS/1.0\r\nA: b\r\n\r\n",
    "NATS/1.00\r\nA: b\r\n\r\n",
    "NATS/1.0503\r\nA: b\r\n\r\n",
    "NATS/1.0\r\nA: b\r\n",
    "NATS/1.0\r\nA: b\n\r\n",
    "NATS/1.0\r\nA: b\r\n\r\nx",
    "A: b\r\n\r\n",
};

TEST(refuses_and_finds_nothing)
{
    for (size_t k = 0; k < ARRAY_LEN(bad_blocks); k++) {
        struct str block = str_of(bad_blocks[k]), key, value, status, description;
        size_t at = 0;
        ck_assert_msg(!header_valid(block), "%s", bad_blocks[k]);
        ck_assert_ptr_null(header_get(block, STR("A")).p);
        ck_assert(!header_next(block, &at, &key, &value));
        header_status(block, &status, &description);
        ck_assert_uint_eq(status.n + description.n, 0);
    }
    ck_assert(!header_valid(STR_NONE));
    /* Every cut of a good block is bad, in memory of exactly that size. */
    struct str whole = STR("NATS/1.0 1 x\r\nA: b\r\nC: d\r\n\r\n");
    for (size_t n = 0; n < whole.n; n++) {
        char *exact = mem_alloc(n);
        memcpy(exact, whole.p, n);
        ck_assert(!header_valid(str_from(exact, n)));
        ck_assert_ptr_null(header_get(str_from(exact, n), STR("A")).p);
        mem_free(exact);
    }
}

TEST(finds_the_first_value)
{
    struct str block = STR(
        H "Nats-Msg-Id: 1\r\nA:  b c \t\r\nA: second\r\nEmpty:\r\nAB: x\r\nB:y:z\r\n"
          "Tab:\tt\r\nLast:w\r\n" E);
    static const struct {
        const char *key, *value;
    } rows[] = {
        {"Nats-Msg-Id", "1"}, {"A", "b c \t"}, {"Empty", ""},    {"AB", "x"},
        {"B", "y:z"},         {"Tab", "\tt"},  {"Last", "w"},    {"nats-msg-id", NULL},
        {"a", NULL},          {"Nats", NULL},  {"b c", NULL},    {"Nats-Msg-Id:", NULL},
        {"NATS/1.0", NULL},   {"y", NULL},     {"second", NULL}, {"", NULL},
    };

    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        struct str value = header_get(block, str_of(rows[k].key));
        ck_assert_int_eq(value.p == NULL, rows[k].value == NULL);
        if (rows[k].value != NULL)
            ck_assert_msg(str_eq(value, str_of(rows[k].value)), "%s", rows[k].key);
    }
    /* Not in the first line. */
    ck_assert_ptr_null(header_get(STR("NATS/1.0 A: b\r\n" E), STR("A")).p);
    ck_assert_ptr_null(header_get(STR("NATS/1.0 A: b\r\n" E), STR("NATS/1.0 A")).p);
}

TEST(reads_the_first_line)
{
    static const struct {
        const char *block, *status, *description;
    } rows[] = {
        {H E, "", ""},
        {"NATS/1.0 \r\n" E, "", ""},
        {"NATS/1.0 503\r\n" E, "503", ""},
        {"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 5\r\n" E, "100", "Idle Heartbeat"},
        {"NATS/1.0   404   No Messages  \r\n" E, "404", "No Messages"},
        {"NATS/1.0 409 Server Shutdown\r\n" E, "409", "Server Shutdown"},
    };

    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        struct str status, description;
        header_status(str_of(rows[k].block), &status, &description);
        ck_assert_msg(str_eq(status, str_of(rows[k].status)), "%s", rows[k].block);
        ck_assert_msg(str_eq(description, str_of(rows[k].description)), "%s", rows[k].block);
    }
}

TEST(walks_all_pairs)
{
    struct str block = STR("NATS/1.0 200\r\nA: 1\r\nskipped\r\nB:2\r\nA: 3\r\n" E), key, value;
    static const char *const want[][2] = {{"A", "1"}, {"B", "2"}, {"A", "3"}};
    size_t at = 0, n = 0;

    while (header_next(block, &at, &key, &value)) {
        ck_assert_uint_lt(n, 3);
        ck_assert(str_eq(key, str_of(want[n][0])) && str_eq(value, str_of(want[n][1])));
        n++;
    }
    ck_assert_uint_eq(n, 3);
    ck_assert(!header_next(block, &at, &key, &value));
}

TEST(removes_every_line_of_a_key)
{
    static const struct {
        const char *block, *key, *left;
    } rows[] = {
        {H "A: 1\r\nB: 2\r\nA: 3\r\n" E, "A", H "B: 2\r\n" E},
        {H "A: 1\r\nB: 2\r\nA: 3\r\n" E, "B", H "A: 1\r\nA: 3\r\n" E},
        {H "A: 1\r\nAB: 2\r\n" E, "A", H "AB: 2\r\n" E},
        {H "A: 1\r\n" E, "B", H "A: 1\r\n" E},
        {H "A: 1\r\n" E, "a", H "A: 1\r\n" E},
        {H "A: 1\r\nA: 2\r\n" E, "A", ""},
        {H E, "A", ""},
        {"NATS/1.0 503\r\nA: 1\r\n" E, "A", "NATS/1.0 503\r\n" E},
        {"NATS/1.0 A: x\r\n" E, "NATS/1.0 A", "NATS/1.0 A: x\r\n" E},
        {"NATS/1.0\r\nB: x\nA: y\r\n\r\n", "A", "NATS/1.0\r\nB: x\r\n\r\n"},
        {"NATS/1.0 1\nA: y\r\n\r\n", "A", "NATS/1.0 1\r\n\r\n"},
        {"garbage", "A", "garbage"},
        {"", "A", ""},
    };

    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        struct buf out = {0};
        buf_puts(&out, "before");
        header_remove(&out, str_of(rows[k].block), str_of(rows[k].key));
        ck_assert_msg(str_eq(str_skip(buf_str(&out), 6), str_of(rows[k].left)), "%s",
                      rows[k].block);
        ck_assert(str_starts(buf_str(&out), STR("before")));
        buf_free(&out);
    }
}

TEST(appends_a_pair)
{
    struct buf out = {0};

    header_append(&out, STR_NONE, STR("A"), STR("1"));
    ck_assert_str_eq(buf_cstr(&out), H "A: 1\r\n" E);
    buf_clear(&out);
    header_append(&out, STR("NATS/1.0 503 x\r\nA: 1\r\n" E), STR("B"), STR(""));
    ck_assert_str_eq(buf_cstr(&out), "NATS/1.0 503 x\r\nA: 1\r\nB: \r\n" E);
    buf_clear(&out);
    header_append(&out, STR(H E), STR("B"), STR("2"));
    ck_assert_str_eq(buf_cstr(&out), H "B: 2\r\n" E);
    buf_free(&out);
}

#define PAIRS 12

/* Random pairs, put in one by one, then found, walked and removed against the arrays they came
 * from. */
TEST(agrees_with_arrays)
{
    static const char *const keys[] = {"A", "AA", "B", "Nats-Msg-Id", "a"};
    static const char *const values[] = {"", "x", "two words", "a:b", "A: x"};
    struct buf block = {0}, next = {0};
    struct prng r;

    prng_init(&r, 1);
    for (int round = 0; round < 5000; round++) {
        size_t key[PAIRS], value[PAIRS], n = prng_below(&r, PAIRS), at = 0, k = 0;
        struct str found_key, found_value;
        buf_clear(&block);
        for (size_t j = 0; j < n; j++) {
            key[j] = prng_below(&r, ARRAY_LEN(keys));
            value[j] = prng_below(&r, ARRAY_LEN(values));
            buf_clear(&next);
            header_append(&next, buf_str(&block), str_of(keys[key[j]]), str_of(values[value[j]]));
            buf_clear(&block);
            buf_put_str(&block, buf_str(&next));
            ck_assert(header_valid(buf_str(&block)));
        }
        for (size_t w = 0; w < ARRAY_LEN(keys); w++) {
            struct str got = header_get(buf_str(&block), str_of(keys[w]));
            size_t j = 0;
            while (j < n && key[j] != w)
                j++;
            ck_assert_int_eq(got.p != NULL, j < n);
            if (j < n)
                ck_assert(str_eq(got, str_of(values[value[j]])));
        }
        size_t drop = prng_below(&r, ARRAY_LEN(keys));
        buf_clear(&next);
        header_remove(&next, buf_str(&block), str_of(keys[drop]));
        while (header_next(buf_str(&next), &at, &found_key, &found_value)) {
            while (key[k] == drop)
                k++;
            ck_assert_uint_lt(k, n);
            ck_assert(str_eq(found_key, str_of(keys[key[k]])));
            ck_assert(str_eq(found_value, str_of(values[value[k]])));
            k++;
        }
        while (k < n && key[k] == drop)
            k++;
        ck_assert_uint_eq(k, n);
    }
    buf_free(&block);
    buf_free(&next);
}

/* Any bytes between a good start and a good end: everything stays inside, and the ways to look
 * agree. */
TEST(any_bytes)
{
    struct prng r;
    static const char some[] = "AB: \r\n\n:x";
    size_t found = 0;

    prng_init(&r, 2);
    for (int round = 0; round < 50000; round++) {
        size_t n = prng_below(&r, 40), at = 0;
        char *exact = mem_alloc(8 + n + 4);
        struct str block = {exact, 8 + n + 4}, key, value, first = STR_NONE;
        memcpy(exact, "NATS/1.0", 8);
        for (size_t k = 0; k < n; k++)
            exact[8 + k] = some[prng_below(&r, sizeof(some) - 1)];
        memcpy(exact + 8 + n, "\r\n\r\n", 4);
        while (header_next(block, &at, &key, &value)) {
            ck_assert(key.p > exact && value.p + value.n <= exact + block.n);
            ck_assert(memchr(key.p, '\n', key.n) == NULL && memchr(key.p, ':', key.n) == NULL);
            ck_assert(value.n == 0 || memchr(value.p, '\n', value.n) == NULL);
            if (first.p == NULL && str_eq(key, STR("A")))
                first = value;
        }
        struct str got = header_get(block, STR("A"));
        ck_assert(got.p == first.p && got.n == first.n);
        found += got.p != NULL;
        mem_free(exact);
    }
    ck_assert_uint_gt(found, 300);
}

static const struct runner_case cases[] = {
    RUN(accepts),
    RUN(refuses_and_finds_nothing),
    RUN(finds_the_first_value),
    RUN(reads_the_first_line),
    RUN(walks_all_pairs),
    RUN(removes_every_line_of_a_key),
    RUN(appends_a_pair),
    RUN(agrees_with_arrays),
    RUN(any_bytes),
};

RUNNER_MAIN("base/header", cases)
