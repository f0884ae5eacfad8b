/*
 * fuzz_header.c - the functions of header.h on any block: they stay inside, they agree with each
 * other.
 *
 * Input: a key, a NUL, the block. Without a NUL the key is empty.
 */
#include "lib/base/assert.h"
#include "lib/base/header.h"
#include "tests/fuzz/fuzz.h"

static bool inside(struct str part, struct str whole)
{
    return part.p >= whole.p && part.p + part.n <= whole.p + whole.n;
}

/* Keys are without colon and line end; header_get compares what it is given and may find more. */
static bool is_key(struct str key)
{
    return str_index(key, ':') == key.n && str_index(key, '\n') == key.n;
}

/* header_get finds what a walk finds first. A key with a colon or a line end is no key of a walk.
 */
static void check_get(struct str block, struct str key)
{
    struct str found = STR_NONE, got = header_get(block, key), k, v;
    size_t at = 0;

    while (header_next(block, &at, &k, &v)) {
        ASSERT(header_valid(block) && at <= block.n);
        ASSERT(inside(k, block) && inside(v, block));
        ASSERT(str_index(k, ':') == k.n && str_index(k, '\n') == k.n && str_index(v, '\n') == v.n);
        if (found.p == NULL && str_eq(k, key))
            found = v;
    }
    if (is_key(key))
        ASSERT(got.p == found.p && got.n == found.n);
    else
        ASSERT(got.p == NULL || inside(got, block));
}

static size_t count_pairs(struct str block, struct str key, bool same)
{
    struct str k, v;
    size_t at = 0, n = 0;

    while (header_next(block, &at, &k, &v))
        n += str_eq(k, key) == same;
    return n;
}

static void check_remove(struct str block, struct str key)
{
    struct buf out = {0};

    header_remove(&out, block, key);
    if (header_valid(block)) {
        ASSERT(out.n == 0 || header_valid(buf_str(&out)));
        if (is_key(key)) {
            ASSERT(header_get(buf_str(&out), key).p == NULL);
            ASSERT(count_pairs(buf_str(&out), key, false) == count_pairs(block, key, false));
        }
    } else {
        ASSERT(str_eq(buf_str(&out), block));
    }
    buf_free(&out);
}

static void check_append(struct str block)
{
    struct buf out = {0};
    struct str key = STR("Fuzz-Key");

    header_append(&out, block, key, STR("v w"));
    ASSERT(header_valid(buf_str(&out)));
    ASSERT(count_pairs(buf_str(&out), key, true) == 1 + count_pairs(block, key, true));
    ASSERT(count_pairs(buf_str(&out), key, false) == count_pairs(block, key, false));
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str block = str_from(data, size), key, status, description;
    size_t cut = size != 0 ? str_index(block, '\0') : 0;

    key = str_take(block, cut < size ? cut : 0);
    if (cut < size)
        block = str_skip(block, cut + 1);
    check_get(block, key);
    check_remove(block, key);
    check_append(block);
    header_status(block, &status, &description);
    ASSERT(status.n == 0 || (header_valid(block) && inside(status, block)));
    ASSERT(description.n == 0 || (status.n > 0 && inside(description, block)));
    return 0;
}
