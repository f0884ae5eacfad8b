/*
 * test_error_codes.c - every JetStream error that the server's sources name is produced by a test.
 *
 * Reads server/js/js_errors.def (as a table), the sources below server/ and the tests. An error
 * whose name occurs in a source must have its number in a test below tests/api, tests/compat or
 * tests/unit, or a reason below why it has none.
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

/* Named by a source, and by no test. */
static const struct {
    unsigned code;
    const char *why;
} excused[] = {
    {10049, "the store fails while a stream is made: tests/sim"},
    {10050, "the store fails while a stream is deleted: tests/sim"},
    {10051, "requests of features that are not there yet"},
    {10126, "with one replica of the stream, two of the consumer are 10074 already"},
    {10132, "the name in the subject replaces the one in the configuration"},
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

static const char *excuse(unsigned code)
{
    for (size_t i = 0; i < ARRAY_LEN(excused); i++)
        if (excused[i].code == code)
            return excused[i].why;
    return NULL;
}

TEST(every_error_that_can_occur_does_in_a_test)
{
    struct text server = {0}, tests = {0};
    unsigned bad = 0;
    char word[128];

    read_below(&server, "server");
    read_below(&tests, "tests/api");
    read_below(&tests, "tests/compat");
    read_below(&tests, "tests/unit");
    for (size_t k = 0; k < ARRAY_LEN(errors); k++) {
        bool used, tested;
        snprintf(word, sizeof(word), "JS_ERR_%s", errors[k].name);
        used = has_word(&server, word);
        snprintf(word, sizeof(word), "%u", errors[k].code);
        tested = has_word(&tests, word) || has_word(&tests, errors[k].name);
        if (used && !tested && excuse(errors[k].code) == NULL) {
            fprintf(stderr, "%u %s is not produced by a test\n", errors[k].code, errors[k].name);
            bad++;
        }
        if (excuse(errors[k].code) != NULL && (tested || !used))
            fprintf(stderr, "%u %s needs no excuse any more\n", errors[k].code, errors[k].name);
    }
    free(server.p);
    free(tests.p);
    ck_assert_uint_eq(bad, 0);
}

static const struct runner_case cases[] = {
    RUN(every_error_that_can_occur_does_in_a_test),
};

RUNNER_MAIN("api/error_codes", cases)
