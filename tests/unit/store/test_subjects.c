/*
 * The table of subjects, its pool and its tree, against naive ones: a sorted array that is looked
 * through from end to end.
 */
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "lib/base/subject.h"
#include "store/subjects.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the pool -------------------------------------------------------------------------------- */

enum { BLOCKS = 400 };

TEST(pool_blocks_do_not_overlap)
{
    struct ref_pool p = {0};
    struct prng rng;
    uint32_t refs[BLOCKS] = {0};
    size_t sizes[BLOCKS];

    prng_init(&rng, (uint64_t) i + 1);
    for (unsigned round = 0; round < 20000; round++) {
        size_t k = prng_below(&rng, BLOCKS);
        if (refs[k] != 0) {
            const unsigned char *p0 = ref_at(&p, refs[k]);
            for (size_t at = 0; at < sizes[k]; at++)
                ck_assert_uint_eq(p0[at], (unsigned char) k);
            ref_pool_free(&p, refs[k], sizes[k]);
            refs[k] = 0;
            continue;
        }
        sizes[k] = 1 + prng_below(&rng, prng_below(&rng, 20) == 0 ? 70000 : 300);
        refs[k] = ref_pool_alloc(&p, sizes[k]);
        ck_assert_uint_ne(refs[k], 0);
        ck_assert_uint_ge(ref_pool_round(sizes[k]), sizes[k]);
        ck_assert_uint_eq((uintptr_t) ref_at(&p, refs[k]) % REF_UNIT, 0);
        memset(ref_at(&p, refs[k]), (int) k, sizes[k]);
    }
    for (size_t k = 0; k < BLOCKS; k++)
        if (refs[k] != 0)
            ref_pool_free(&p, refs[k], sizes[k]);
    ck_assert_uint_eq(p.used, 0);
    ref_pool_deinit(&p);
}

TEST(pool_uses_freed_blocks_again)
{
    struct ref_pool p = {0};
    uint32_t refs[100];

    for (unsigned k = 0; k < 100; k++)
        refs[k] = ref_pool_alloc(&p, 60);
    uint64_t bytes = ref_pool_bytes(&p);
    for (unsigned round = 0; round < 1000; round++) {
        for (unsigned k = 0; k < 100; k++)
            ref_pool_free(&p, refs[k], 60);
        for (unsigned k = 0; k < 100; k++)
            refs[k] = ref_pool_alloc(&p, 60);
    }
    /* The lists of free blocks came with the first one. */
    ck_assert_uint_le(ref_pool_bytes(&p), bytes + 1024);
    ref_pool_deinit(&p);
}

/* ---- the table against a sorted array -------------------------------------------------------- */

enum { MODEL_MAX = 3000 };

struct entry {
    char text[64];
    uint64_t first, last, msgs;
    uint32_t pending;
};

struct model {
    struct entry *entries; /* sorted */
    unsigned n;
};

static unsigned model_find(const struct model *m, const char *text, bool *there)
{
    unsigned at = 0;

    while (at < m->n && strcmp(m->entries[at].text, text) < 0)
        at++;
    *there = at < m->n && strcmp(m->entries[at].text, text) == 0;
    return at;
}

static void model_drop(struct model *m, unsigned at)
{
    memmove(&m->entries[at], &m->entries[at + 1], (m->n - at - 1) * sizeof(*m->entries));
    m->n--;
}

/* Few letters, so that texts share beginnings and are each other's beginnings. */
static void random_subject(struct prng *rng, char out[64])
{
    static const char letters[] = "ab.-/\x7f\xff";
    unsigned n = 1 + (unsigned) prng_below(rng, 9);

    for (unsigned k = 0; k < n; k++)
        out[k] = letters[prng_below(rng, sizeof(letters) - 1)];
    out[n] = '\0';
}

static void random_pattern(struct prng *rng, char out[64])
{
    unsigned n = 1 + (unsigned) prng_below(rng, 4), at = 0;

    for (unsigned k = 0; k < n; k++) {
        if (k > 0)
            out[at++] = '.';
        switch (prng_below(rng, 5)) {
        case 0:
        case 1:
            out[at++] = '*';
            break;
        case 2:
            if (k + 1 == n) {
                out[at++] = '>';
                break;
            }
        /* fallthrough */
        default:
            out[at++] = "ab-/"[prng_below(rng, 4)];
            if (prng_below(rng, 3) == 0)
                out[at++] = 'a';
        }
    }
    out[at] = '\0';
}

static void same_order(const struct subjects *t, const struct model *m)
{
    struct subject_cursor c;
    unsigned at = 0;

    subject_cursor_init(&c, &t->tree);
    subject_cursor_seek(&c, STR_NONE, false);
    for (; c.subject != 0; subject_cursor_next(&c), at++) {
        const struct subject *sub = subjects_by_id(t, c.subject);
        ck_assert_uint_lt(at, m->n);
        const struct entry *e = &m->entries[at];
        ck_assert(str_eq(subject_text(sub), str_of(e->text)));
        ck_assert_uint_eq(sub->msgs, e->msgs);
        ck_assert_uint_eq(sub->pending, e->pending);
        ck_assert_uint_eq(sub->last, e->last);
    }
    ck_assert_uint_eq(at, m->n);
    subject_cursor_deinit(&c);
}

static void same_seek(const struct subjects *t, const struct model *m, const char *text)
{
    struct subject_cursor c;
    bool there;
    unsigned at = model_find(m, text, &there);

    subject_cursor_init(&c, &t->tree);
    for (unsigned behind = 0; behind < 2; behind++) {
        subject_cursor_seek(&c, str_of(text), behind != 0);
        unsigned want = at + (behind != 0 && there);
        for (unsigned k = 0; k < 3; k++, want++) {
            if (want >= m->n) {
                ck_assert_uint_eq(c.subject, 0);
                break;
            }
            ck_assert_uint_ne(c.subject, 0);
            ck_assert(
                str_eq(subject_text(subjects_by_id(t, c.subject)), str_of(m->entries[want].text)));
            subject_cursor_next(&c);
        }
    }
    subject_cursor_deinit(&c);
    ck_assert_uint_eq(subjects_find(t, str_of(text)) != 0, there);
}

/* As matching is done elsewhere, for subjects that are valid; both must agree on those. */
static void same_matches(const struct subjects *t, const struct model *m, const char *pattern)
{
    struct subject_cursor c;
    struct str p = str_of(pattern);
    uint32_t steps = 0;
    unsigned at = 0;

    subject_cursor_init(&c, &t->tree);
    subject_cursor_seek(&c, subject_pattern_prefix(p), false);
    for (;;) {
        bool found = subject_cursor_match(&c, p, &steps);
        while (at < m->n && (!subject_valid_literal(str_of(m->entries[at].text)) ||
                             !subject_matches(str_of(m->entries[at].text), p)))
            at++;
        if (found && !subject_valid_literal(subject_text(subjects_by_id(t, c.subject)))) {
            subject_cursor_next(&c);
            continue;
        }
        ck_assert_uint_eq(found, at < m->n);
        if (!found)
            break;
        ck_assert(str_eq(subject_text(subjects_by_id(t, c.subject)), str_of(m->entries[at].text)));
        subject_cursor_next(&c);
        at++;
    }
    subject_cursor_deinit(&c);
}

static void append(struct subjects *t, struct model *m, const char *text, uint64_t *seq)
{
    bool there;
    unsigned at = model_find(m, text, &there);
    struct subject *sub = subjects_by_id(t, subjects_intern(t, str_of(text)));

    if (!there) {
        memmove(&m->entries[at + 1], &m->entries[at], (m->n - at) * sizeof(*m->entries));
        m->entries[at] = (struct entry){0};
        memcpy(m->entries[at].text, text, sizeof(m->entries[at].text));
        m->n++;
    }
    sub->assigned = (uint32_t)++ * seq;
    sub->pending++;
    m->entries[at].pending++;
    ck_assert_uint_eq(subject_last_assigned(sub, *seq), *seq);
}

static void commit_all(struct subjects *t, struct model *m, uint64_t *seq)
{
    for (unsigned k = 0; k < m->n; k++) {
        struct entry *e = &m->entries[k];
        while (e->pending > 0) {
            uint64_t at = ++*seq;
            subjects_commit(t, subjects_get(t, str_of(e->text)), at);
            e->first = e->msgs++ == 0 ? at : e->first;
            e->last = at;
            e->pending--;
        }
    }
}

static void remove_last(struct subjects *t, struct model *m, unsigned at)
{
    struct entry *e = &m->entries[at];
    uint64_t prev = e->msgs == 2 ? e->first : e->msgs > 2 ? e->last - 1 : 0;

    if (e->msgs == 0 || (e->msgs > 2 && prev < e->first + e->msgs - 2))
        return;
    subjects_remove(t, subjects_find(t, str_of(e->text)), e->last, 0, prev);
    e->msgs--;
    e->last = prev;
    e->first = e->msgs == 0 ? 0 : e->first;
    if (e->msgs == 0 && e->pending == 0)
        model_drop(m, at);
}

static void drop_pending(struct subjects *t, struct model *m)
{
    subjects_drop_pending(t);
    for (unsigned k = 0; k < m->n;) {
        m->entries[k].pending = 0;
        if (m->entries[k].msgs == 0)
            model_drop(m, k);
        else
            k++;
    }
}

TEST(table_against_a_sorted_array)
{
    struct model m = {.entries = mem_zalloc((MODEL_MAX + 1) * sizeof(struct entry))};
    struct subjects t;
    struct prng rng;
    uint64_t seq = 0;
    char text[64];

    prng_init(&rng, (uint64_t) i * 7919 + 3);
    subjects_init(&t, prng_u64(&rng));
    for (unsigned round = 0; round < 6000; round++) {
        switch (prng_below(&rng, 12)) {
        default:
            random_subject(&rng, text);
            if (m.n < MODEL_MAX)
                append(&t, &m, text, &seq);
            break;
        case 0:
            commit_all(&t, &m, &seq);
            break;
        case 1:
        case 2:
        case 3:
        case 4:
        case 5:
            if (m.n > 0)
                remove_last(&t, &m, (unsigned) prng_below(&rng, m.n));
            break;
        case 6:
            random_subject(&rng, text);
            same_seek(&t, &m, text);
            break;
        case 7:
            random_pattern(&rng, text);
            same_matches(&t, &m, text);
            break;
        case 8:
            if (prng_below(&rng, 30) == 0)
                drop_pending(&t, &m);
            if (prng_below(&rng, 10) == 0) {
                subjects_freeze(&t);
                if (m.n > 0)
                    remove_last(&t, &m, (unsigned) prng_below(&rng, m.n));
                subjects_thaw(&t);
            }
        }
        if (round % 200 == 0) {
            same_order(&t, &m);
            subjects_check(&t);
        }
    }
    same_order(&t, &m);
    subjects_check(&t);
    subjects_deinit(&t);
    mem_free(m.entries);
}

/* What lies in other subjects' way is not looked at. */
TEST(matching_goes_where_matches_are)
{
    struct subjects t;
    struct subject_cursor c;
    uint32_t steps = 0, found = 0;
    char text[64];

    subjects_init(&t, 5);
    for (unsigned a = 0; a < 100; a++)
        for (unsigned b = 0; b < 1000; b++) {
            snprintf(text, sizeof(text), "x.%u.%u.%s", a, b, b == 500 ? "end" : "more");
            subjects_by_id(&t, subjects_intern(&t, str_of(text)))->pending = 1;
        }
    subject_cursor_init(&c, &t.tree);
    struct str pattern = STR("x.*.500.end");
    subject_cursor_seek(&c, subject_pattern_prefix(pattern), false);
    for (; subject_cursor_match(&c, pattern, &steps); subject_cursor_next(&c))
        found++;
    ck_assert_uint_eq(found, 100);
    ck_assert_uint_le(steps, 401);
    subject_cursor_deinit(&c);
    subjects_deinit(&t);
}

/* A subject as long as can be, and one that it begins with. */
TEST(long_texts)
{
    struct subjects t;
    char *text = mem_alloc(UINT16_MAX + 1u);

    memset(text, 'x', UINT16_MAX);
    subjects_init(&t, 9);
    for (size_t n = UINT16_MAX; n > UINT16_MAX - 300u; n--)
        subjects_by_id(&t, subjects_intern(&t, str_from(text, n)))->pending = 1;
    for (size_t n = 1; n < 300; n++)
        subjects_by_id(&t, subjects_intern(&t, str_from(text, n)))->pending = 1;
    subjects_check(&t);
    for (size_t n = UINT16_MAX; n > UINT16_MAX - 300u; n -= 2) {
        uint32_t id = subjects_find(&t, str_from(text, n));
        ck_assert_uint_ne(id, 0);
        subjects_by_id(&t, id)->pending = 0;
        subjects_release(&t, id);
    }
    subjects_check(&t);
    subjects_deinit(&t);
    mem_free(text);
}

/* ---- memory ---------------------------------------------------------------------------------- */

enum { MANY = 262144 }; /* as full as the buckets get before they double */

static void shape_of(unsigned shape, uint32_t k, struct prng *rng, char out[64])
{
    static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char id[23] = "";

    switch (shape) {
    case 0:
        snprintf(out, 64, "bench.%u", k);
        break;
    case 1:
        snprintf(out, 64, "sensors.%u.%u.temperature", k / 1000, k % 1000);
        break;
    default:
        for (unsigned at = 0; at < 22; at++)
            id[at] = base62[prng_below(rng, 62)];
        snprintf(out, 64, "orders.%s", id);
    }
}

/* 64 bytes a subject beyond its text, the promise of the header; this is the number in the docs. */
TEST(memory_per_subject)
{
    struct subjects t;
    struct prng rng;
    uint64_t texts = 0;
    char text[64];

    prng_init(&rng, 1);
    subjects_init(&t, 3);
    for (uint32_t k = 0; k < MANY; k++) {
        shape_of((unsigned) i, k, &rng, text);
        subjects_intern(&t, str_of(text));
        texts += strlen(text);
    }
    ck_assert_uint_eq(t.count, MANY);
    uint64_t beyond = subjects_bytes(&t) - texts;
    ck_assert_msg(beyond <= 64ull * MANY, "%g bytes a subject", (double) beyond / MANY);
    subjects_deinit(&t);
}

static const struct runner_case cases[] = {
    RUN_LOOP(pool_blocks_do_not_overlap, 0, 5),
    RUN(pool_uses_freed_blocks_again),
    RUN_LOOP(table_against_a_sorted_array, 0, 20),
    RUN(matching_goes_where_matches_are),
    RUN(long_texts),
    RUN_LOOP(memory_per_subject, 0, 3),
};

RUNNER_MAIN("store/subjects", cases)
