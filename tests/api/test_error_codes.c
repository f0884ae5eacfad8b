/*
 * test_error_codes.c - every JetStream error that one server can answer is answered in a test.
 *
 * Reads server/js/js_errors.def (as a table), the sources below server/ and the tests below
 * tests/api, tests/compat and tests/unit. For each error either
 *   - its number stands in a test where answers stand: `err_code\":N` in a C string, `"err_code":
 * N` or `[N, ` in a table, `ERR(N)` or `", N,` in the rows of a C table; or
 *   - it is listed below with the reason for which one server, or this one, does not answer it.
 * An error of the list that a test shows after all is a mistake, too.
 */
#include "lib/base/assert.h"
#include "tests/lib/runner.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned code;
} errors[] = {
#define JS_ERROR(name, err_code, http, text) {#name, err_code},
#include "server/js/js_errors.def"
#undef JS_ERROR
};

#define CLUSTER "needs a cluster"
#define GONE "stream templates are gone; the number is kept"
#define RESERVED "nats-server answers it nowhere either"

static const struct {
    unsigned code;
    const char *why;
} not_answered[] = {
    {10004, RESERVED},
    {10005, CLUSTER},
    {10006, CLUSTER},
    {10007, CLUSTER},
    {10008, CLUSTER},
    {10009, CLUSTER},
    {10011, RESERVED},
    {10016, "no subject that is listened to lacks the name"},
    {10019, RESERVED},
    {10032, RESERVED},
    {10033, RESERVED},
    {10035, "moving a stream between servers, which needs a cluster"},
    {10036, RESERVED},
    {10040, CLUSTER},
    {10041, CLUSTER},
    {10042, "subscribing inside of the server does not fail (no limit counts it)"},
    {10044, CLUSTER},
    {10048, CLUSTER},
    {10050, "the store fails while a stream is deleted: tests/sim"},
    {10053, "what checks the limits answers errors of its own alone (10026, 10028, 10047)"},
    {10061, RESERVED},
    {10063, "an assertion of nats-server's about sequences of a mirror"},
    {10066, GONE},
    {10067, GONE},
    {10068, GONE},
    {10072, RESERVED},
    {10073, GONE},
    {10075, CLUSTER},
    {10076, "without JetStream nobody listens, and with it it does not end"},
    {10078, "a request without a configuration is one of an empty one"},
    {10085, RESERVED},
    {10087, "a negative max_waiting is the default"},
    {10092, RESERVED},
    {10093, RESERVED},
    {10096, "a stream that goes answers 10059"},
    {10103, "names are checked before: 10052, 10127"},
    {10104, "the store fails while a consumer is made: 10012, tests/sim"},
    {10105, "creating a consumer that is there updates it"},
    {10106, "creating a consumer that is there updates it"},
    {10114, "a negative max_batch is raised to none"},
    {10117, RESERVED},
    {10118, CLUSTER},
    {10119, CLUSTER},
    {10123, CLUSTER},
    {10124, CLUSTER},
    {10126, "with one replica of the stream, two of the consumer are 10074 already"},
    {10129, CLUSTER},
    {10132, "the name in the subject replaces the one in the configuration, and without one a "
            "durable is 10020"},
    {10134, "with one replica of the stream, two of the consumer are 10074 already"},
    {10158, "a message id that is neither stored nor refused yet, which needs a cluster"},
    {10163, RESERVED},
    {10180, RESERVED},
    {10181, "a policy of another name is invalid JSON: 10025"},
    {10182, "a policy of another name is invalid JSON: 10025"},
    {10202, CLUSTER},
    {10224, CLUSTER},
    {10226, CLUSTER},
};

struct text {
    char *p;
    size_t n;
};

static void read_file(struct text *t, const char *path)
{
    FILE *f = fopen(path, "re");
    long n;

    ck_assert_msg(f != NULL, "%s", path);
    fseek(f, 0, SEEK_END);
    n = ftell(f);
    rewind(f);
    t->p = realloc(t->p, t->n + (size_t) n + 1);
    t->n += fread(t->p + t->n, 1, (size_t) n, f);
    t->p[t->n] = '\0';
    fclose(f);
}

static bool is_source(const char *name)
{
    size_t n = strlen(name);

    if (strcmp(name, "test_error_codes.c") == 0 || strcmp(name, "js_errors.def") == 0)
        return false;
    return n > 4 && (strcmp(name + n - 2, ".c") == 0 || strcmp(name + n - 2, ".h") == 0 ||
                     strcmp(name + n - 4, ".def") == 0);
}

/* All sources below a folder, behind what is there. */
static void read_tree(struct text *t, const char *folder)
{
    DIR *d = opendir(folder);
    struct dirent *e;
    char path[1024];

    ck_assert_msg(d != NULL, "%s", folder);
    while ((e = readdir(d)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
        if (e->d_type == DT_DIR && e->d_name[0] != '.')
            read_tree(t, path);
        else if (is_source(e->d_name))
            read_file(t, path);
    }
    closedir(d);
}

static void read_below(struct text *t, const char *folder)
{
    char path[1024];
    const char *top = getenv("MIDGE_SRCDIR");

    ck_assert_ptr_nonnull(top);
    snprintf(path, sizeof(path), "%s/%s", top, folder);
    read_tree(t, path);
}

/* The word, and nothing of a word around it. */
static bool has_word(const struct text *t, const char *word)
{
    static const char in_words[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    size_t n = strlen(word);

    for (const char *at = t->p; (at = strstr(at, word)) != NULL; at += n)
        if (strchr(in_words, at[n]) == NULL && (at == t->p || strchr(in_words, at[-1]) == NULL))
            return true;
    return false;
}

/* What stands before the number where a test expects or keeps an answer. */
static const char *const before[] = {"err_code\\\":", "\"err_code\": ", "ERR(", "[", "\", "};

static bool is_answered(const struct text *tests, unsigned code)
{
    char word[64];

    for (size_t i = 0; i < ARRAY_LEN(before); i++) {
        size_t n = (size_t) snprintf(word, sizeof(word), "%s%u", before[i], code);
        for (const char *at = tests->p; (at = strstr(at, word)) != NULL; at += n)
            if (at[n] < '0' || at[n] > '9')
                return true;
    }
    return false;
}

static const char *reason(unsigned code)
{
    for (size_t i = 0; i < ARRAY_LEN(not_answered); i++)
        if (not_answered[i].code == code)
            return not_answered[i].why;
    return NULL;
}

static void read_tests(struct text *t)
{
    read_below(t, "tests/api");
    read_below(t, "tests/compat");
    read_below(t, "tests/unit");
}

TEST(every_error_is_answered_in_a_test_or_has_a_reason)
{
    struct text tests = {0};
    unsigned bad = 0;

    read_tests(&tests);
    for (size_t k = 0; k < ARRAY_LEN(errors); k++) {
        bool answered = is_answered(&tests, errors[k].code);
        if (answered == (reason(errors[k].code) == NULL))
            continue;
        fprintf(stderr, "%u %s is %s\n", errors[k].code, errors[k].name,
                answered ? "answered in a test, and listed as one that can not be"
                         : "answered in no test");
        bad++;
    }
    free(tests.p);
    ck_assert_uint_eq(bad, 0);
}

/* One that no source names can not be answered. */
TEST(what_is_answered_has_a_source)
{
    struct text server = {0};
    unsigned bad = 0;
    char word[128];

    read_below(&server, "server");
    for (size_t k = 0; k < ARRAY_LEN(errors); k++) {
        snprintf(word, sizeof(word), "JS_ERR_%s", errors[k].name);
        if (has_word(&server, word) || reason(errors[k].code) != NULL)
            continue;
        fprintf(stderr, "%u %s is named by no source\n", errors[k].code, errors[k].name);
        bad++;
    }
    free(server.p);
    ck_assert_uint_eq(bad, 0);
}

TEST(all_numbers_are_there)
{
    ck_assert_uint_eq(ARRAY_LEN(errors), 226);
    for (size_t n = 0; n < ARRAY_LEN(not_answered); n++) {
        bool found = false;
        for (size_t k = 0; k < ARRAY_LEN(errors); k++)
            found |= errors[k].code == not_answered[n].code;
        ck_assert_msg(found, "%u", not_answered[n].code);
    }
}

static const struct runner_case cases[] = {
    RUN(every_error_is_answered_in_a_test_or_has_a_reason),
    RUN(what_is_answered_has_a_source),
    RUN(all_numbers_are_there),
};

RUNNER_MAIN("api/error_codes", cases)
