/* test_js_directory.c - names, claims and what is in their way; the server's resources. */
#include "lib/base/prng.h"
#include "lib/base/subject.h"
#include "server/js/js_directory.h"
#include "server/js/js_resources.h"
#include "tests/lib/runner.h"

static struct directory *d;

static enum directory_verdict claim(const char *name, const char *subject, uint32_t worker)
{
    struct str_list subjects = {0};
    enum directory_verdict verdict;

    str_list_add(&subjects, str_of(subject));
    verdict = directory_claim(d, str_of(name), &subjects, worker);
    str_list_free(&subjects);
    return verdict;
}

static enum directory_verdict reclaim(const char *name, const char *subject)
{
    struct str_list subjects = {0};
    enum directory_verdict verdict;

    str_list_add(&subjects, str_of(subject));
    verdict = directory_reclaim(d, str_of(name), &subjects);
    str_list_free(&subjects);
    return verdict;
}

static size_t names(const char *filter)
{
    struct str_list out = {0};
    size_t n;

    directory_names(d, str_of(filter), &out);
    n = out.n;
    str_list_free(&out);
    return n;
}

TEST(names_and_subjects_are_claimed_once)
{
    uint32_t worker = 9;

    d = directory_open(1);
    ck_assert_int_eq(claim("A", "a.>", 3), DIRECTORY_OK);
    ck_assert_int_eq(claim("A", "b", 0), DIRECTORY_EXISTS);
    ck_assert_int_eq(claim("B", "a.b", 0), DIRECTORY_OVERLAP);
    ck_assert_int_eq(claim("B", "b.*", 0), DIRECTORY_OK);
    ck_assert(directory_stream(d, STR("A"), &worker));
    ck_assert_uint_eq(worker, 3);
    ck_assert(!directory_stream(d, STR("C"), &worker));
    ck_assert_int_eq(reclaim("B", "a.x"), DIRECTORY_OVERLAP);
    ck_assert_int_eq(reclaim("B", "c"), DIRECTORY_OK);
    ck_assert_int_eq(claim("C", "b.x", 0), DIRECTORY_OK);
    ck_assert_uint_eq(names(""), 3);
    ck_assert_uint_eq(names("a.*"), 1);
    directory_release(d, STR("A"));
    ck_assert_int_eq(claim("D", "a.b", 0), DIRECTORY_OK);
    directory_close(d);
}

/* Hidden, and in the way until it is released; whoever lives is in the way more. */
TEST(a_retired_stream_keeps_its_claims)
{
    uint32_t worker;

    d = directory_open(1);
    claim("A", "a.>", 0);
    claim("B", "b.>", 0);
    ck_assert(directory_retire(d, STR("A")));
    ck_assert(!directory_retire(d, STR("A")));
    ck_assert(!directory_retire(d, STR("none")));
    ck_assert(!directory_stream(d, STR("A"), &worker));
    ck_assert_uint_eq(names(""), 1);
    ck_assert_uint_eq(names("a.*"), 0);
    ck_assert_int_eq(claim("A", "x", 0), DIRECTORY_BUSY);
    ck_assert_int_eq(claim("C", "a.b", 0), DIRECTORY_BUSY);
    ck_assert_int_eq(claim("C", "*.b", 0), DIRECTORY_OVERLAP);
    ck_assert_int_eq(reclaim("B", "a.b"), DIRECTORY_OVERLAP);
    directory_release(d, STR("A"));
    ck_assert_int_eq(claim("A", "a.>", 0), DIRECTORY_OK);
    directory_close(d);
}

TEST(an_offline_stream_has_a_name_and_no_subjects)
{
    uint32_t worker;

    d = directory_open(1);
    directory_claim_offline(d, STR("A"), 2);
    ck_assert(directory_stream(d, STR("A"), &worker));
    ck_assert_uint_eq(worker, 2);
    ck_assert_uint_eq(names(""), 1);
    ck_assert_int_eq(claim("A", "a", 0), DIRECTORY_EXISTS);
    ck_assert(!directory_retire(d, STR("A")));
    ck_assert_int_eq(reclaim("A", "a"), DIRECTORY_OK);
    ck_assert_int_eq(claim("B", "a", 0), DIRECTORY_OK); /* the reclaim gave nothing */
    directory_close(d);
}

TEST(resources)
{
    struct js_resources r;

    js_resources_init(&r, STORAGE_FILE, 1000, 5);
    js_resources_init(&r, STORAGE_MEMORY, -1, 500);
    ck_assert(js_resources_reserve(&r, STORAGE_FILE, -1));
    ck_assert(!js_resources_reserve(&r, STORAGE_FILE, 1001));
    ck_assert(js_resources_reserve(&r, STORAGE_FILE, 600));
    ck_assert(!js_resources_reserve(&r, STORAGE_FILE, 401));
    ck_assert(js_resources_reserve(&r, STORAGE_FILE, 400));
    js_resources_release(&r, STORAGE_FILE, 600);
    ck_assert(js_resources_reserve(&r, STORAGE_FILE, 600));
    ck_assert(!js_resources_reserve(&r, STORAGE_FILE, INT64_MAX));
    js_resources_use(&r, STORAGE_FILE, 0, 900);
    ck_assert(!js_resources_full(&r, STORAGE_FILE, 100));
    ck_assert(js_resources_full(&r, STORAGE_FILE, 101));
    js_resources_use(&r, STORAGE_FILE, 900, 100);
    ck_assert(!js_resources_full(&r, STORAGE_FILE, 900));
    /* What is found at the start counts beside a limit that was not configured. */
    js_resources_recover(&r, STORAGE_MEMORY, 200, 800);
    ck_assert(!js_resources_full(&r, STORAGE_MEMORY, 500));
    ck_assert(js_resources_full(&r, STORAGE_MEMORY, 501));
    js_resources_recover(&r, STORAGE_FILE, 5000, 950);
    ck_assert(js_resources_full(&r, STORAGE_FILE, 0));
    ck_assert(!js_resources_reserve(&r, STORAGE_FILE, 1));
}

#define PLAYERS 12u

/* Claims, updates, retirements and releases, drawn; each verdict is what a comparison with
 * everybody says. */
TEST(verdicts_of_a_plain_comparison)
{
    static const char *const subjects[] = {"a",   "b",   "a.a", "a.b", "b.a", "a.*", "*.b",
                                           "a.>", "b.>", ">",   "*",   "b.b", "c.a", "c.b"};
    const char *has[PLAYERS] = {NULL};
    bool retired[PLAYERS] = {false};
    unsigned seen[4] = {0};
    struct prng rng;

    prng_init(&rng, 7 + (uint64_t) i);
    d = directory_open(1);
    for (unsigned n = 0; n < 3000; n++) {
        unsigned k = (unsigned) prng_below(&rng, PLAYERS);
        const char *subject = subjects[prng_below(&rng, sizeof(subjects) / sizeof(subjects[0]))];
        enum directory_verdict want = DIRECTORY_OK;
        char name[2] = {(char) ('A' + k), '\0'};
        for (unsigned o = 0; o < PLAYERS; o++)
            if (o != k && has[o] != NULL && want != DIRECTORY_OVERLAP &&
                subject_overlap(str_of(has[o]), str_of(subject)))
                want = retired[o] ? DIRECTORY_BUSY : DIRECTORY_OVERLAP;
        if (has[k] == NULL) {
            ck_assert_int_eq(claim(name, subject, 0), want);
            has[k] = want == DIRECTORY_OK ? subject : NULL;
            seen[want == DIRECTORY_OK ? 0 : want == DIRECTORY_BUSY ? 1 : 2]++;
        } else if (retired[k] || prng_below(&rng, 3) == 0) {
            directory_release(d, str_of(name));
            has[k] = NULL;
            retired[k] = false;
        } else if (prng_below(&rng, 3) == 0) {
            retired[k] = directory_retire(d, str_of(name));
        } else {
            ck_assert_int_eq(reclaim(name, subject),
                             want == DIRECTORY_OK ? DIRECTORY_OK : DIRECTORY_OVERLAP);
            has[k] = want == DIRECTORY_OK ? subject : has[k];
            seen[3]++;
        }
    }
    for (unsigned v = 0; v < 4; v++)
        ck_assert_uint_gt(seen[v], 20);
    directory_close(d);
}

static const struct runner_case cases[] = {
    RUN_LOOP(verdicts_of_a_plain_comparison, 0, 8),
    RUN(names_and_subjects_are_claimed_once),
    RUN(a_retired_stream_keeps_its_claims),
    RUN(an_offline_stream_has_a_name_and_no_subjects),
    RUN(resources),
};

RUNNER_MAIN("js/directory", cases)
