/* Fences: every subject is found in its block, no other; rejects, and random bytes. */
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "store/fences.h"
#include "tests/lib/runner.h"

#include <stdio.h>

enum { MOST = 4000, NAME = 64 };

struct made {
    char (*names)[NAME]; /* every other one is in it */
    struct buf subjects, sizes, fences;
    struct segment_summary summary;
};

/* Message d is of subject d % n; the names with an odd number are left out. */
static void make(struct made *m, unsigned n, unsigned messages)
{
    struct str *subjects = mem_array(n, sizeof(*subjects));
    struct segment_message *list = mem_array(messages, sizeof(*list));

    *m = (struct made){.names = mem_zalloc((size_t) n * 2 * NAME)};
    for (unsigned k = 0; k < n * 2; k++)
        snprintf(m->names[k], NAME, "orders.%u.part-%06u.%.*s", k % 3, k * 7919 % 100000,
                 (int) (k % 20), "abcdefghijklmnopqrstuvwxyz");
    for (unsigned k = 0; k < n; k++)
        subjects[k] = str_of(m->names[k * 2]);
    for (unsigned d = 0; d < messages; d++)
        list[d] = (struct segment_message){.delta = d, .subject = d % n, .bytes = 100};
    struct footer_input in = {.header = {.salt = 77, .base_seq = 1001},
                              .messages = list,
                              .nmessages = messages,
                              .next_seq = 1001 + messages,
                              .subjects = subjects,
                              .nsubjects = n};
    ck_assert_int_eq(footer_build_index(&in, &m->subjects, &m->sizes, &m->summary), ERR_OK);
    mem_free(subjects);
    mem_free(list);
}

static void unmake(struct made *m)
{
    mem_free(m->names);
    buf_free(&m->subjects);
    buf_free(&m->sizes);
    buf_free(&m->fences);
}

static bool find(const struct made *m, const struct fences *f, const char *name, uint64_t *first)
{
    struct fence fence;
    struct subject_iter it;

    if (!fences_find(f, str_of(name), &fence))
        return false;
    ck_assert_uint_le(fence.offset + fence.bytes, m->subjects.n);
    struct str block = str_from(m->subjects.p + fence.offset, fence.bytes);
    ck_assert(fence_verify(&fence, block, 77));
    ck_assert(!fence_verify(&fence, block, 78));
    bool found = subject_iter_find_in(&it, block, 1001, str_of(name));
    if (found)
        ck_assert(subject_run_next(&it, first));
    subject_iter_deinit(&it);
    return found;
}

TEST(finds_every_subject)
{
    static const unsigned counts[] = {300, 1000, MOST, 700};
    unsigned n = counts[i];
    struct made m;
    struct fences f;
    uint64_t first;

    make(&m, n, i == 3 ? 40000 : n * 2);
    ck_assert(fences_build(buf_str(&m.subjects), 77, &m.fences));
    ck_assert_int_eq(fences_open(buf_str(&m.fences), m.subjects.n, &f), ERR_OK);
    ck_assert_uint_gt(f.n, 1);
    ck_assert_uint_le(f.n, m.subjects.n / FENCES_BLOCK + 1);
    for (unsigned k = 0; k < n * 2; k++) {
        ck_assert_int_eq(find(&m, &f, m.names[k], &first), k % 2 == 0);
        if (k % 2 == 0)
            ck_assert_uint_eq(first, 1001 + k / 2);
    }
    ck_assert(!find(&m, &f, "a", &first));
    ck_assert(!find(&m, &f, "z", &first));
    unmake(&m);
}

TEST(none_for_one_block)
{
    struct made m;

    make(&m, 10, 100);
    ck_assert(!fences_build(buf_str(&m.subjects), 77, &m.fences));
    ck_assert_uint_eq(m.fences.n, 0);
    unmake(&m);
}

/* What a checksum would not let through is refused, or asked without harm. */
TEST(rejects)
{
    struct made m;
    struct fences f;
    struct fence fence;
    struct prng rng;

    make(&m, 1000, 1000);
    fences_build(buf_str(&m.subjects), 77, &m.fences);
    struct str whole = buf_str(&m.fences);
    for (size_t n = 0; n < whole.n; n += n < 64 ? 1 : 97)
        if (fences_open(str_take(whole, n), m.subjects.n, &f) == ERR_OK)
            fences_find(&f, STR("orders.1"), &fence); /* the last text is shorter, no more */
    ck_assert_int_eq(fences_open(str_take(whole, 7), m.subjects.n, &f), ERR_CORRUPT);
    ck_assert_int_eq(fences_open(whole, get_u32(whole.p + 8), &f), ERR_CORRUPT);
    prng_init(&rng, 5);
    for (unsigned k = 0; k < 3000; k++) {
        size_t at = prng_below(&rng, whole.n);
        char was = m.fences.p[at];
        m.fences.p[at] = (char) prng_below(&rng, 256);
        if (fences_open(whole, m.subjects.n, &f) == ERR_OK) {
            const char *name = m.names[prng_below(&rng, 2000)];
            if (fences_find(&f, str_of(name), &fence))
                ck_assert_uint_le(fence.offset + fence.bytes, m.subjects.n);
        }
        m.fences.p[at] = was;
    }
    unmake(&m);
}

static const struct runner_case cases[] = {
    RUN_LOOP(finds_every_subject, 0, 4),
    RUN(none_for_one_block),
    RUN(rejects),
};

RUNNER_MAIN("store/fences", cases)
