/*
 * replay.c - main() of a fuzz target in an ordinary build: runs the target over every file of its
 * corpus.
 *
 * Without arguments the corpus is $MIDGE_SRCDIR/tests/fuzz/corpus/<program name>; with arguments
 * each is one input file, which is how a finding is replayed. Every file counts as one case; the
 * empty input always is one, and so is each input that the target makes. Inputs are copied to an
 * exactly sized allocation, so that the address sanitizer sees a read of one byte too many.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX (16u << 20)

static unsigned made;

static void replay_bytes(const char *name, const uint8_t *data, size_t n)
{
    printf("replay: %s, %zu bytes\n", name, n);
    fflush(stdout);
    uint8_t *exact = malloc(n + (n == 0));
    if (exact == NULL)
        abort();
    memcpy(exact, data, n);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
}

static void replay_made(const char *name, const uint8_t *data, size_t n)
{
    replay_bytes(name, data, n);
    made++;
}

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        fprintf(stderr, "replay: can not open %s\n", path);
        return -1;
    }
    static uint8_t whole[INPUT_MAX];
    size_t n = fread(whole, 1, sizeof(whole), f);
    fclose(f);
    replay_bytes(path, whole, n);
    return 0;
}

static int replay_directory(const char *path, unsigned *count)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    if (n < 0) {
        fprintf(stderr, "replay: no corpus in %s\n", path);
        return -1;
    }
    int rc = 0;
    for (int i = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.') {
            char file[4096];
            snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
            rc |= replay_file(file);
            (*count)++;
        }
        free(names[i]);
    }
    free(names);
    return rc;
}

int main(int argc, char **argv)
{
    unsigned count = 1;
    int rc = 0;
    LLVMFuzzerTestOneInput((const uint8_t *) "", 0);
    if (argc > 1) {
        for (int i = 1; i < argc; i++, count++)
            rc |= replay_file(argv[i]);
    } else {
        const char *top = getenv("MIDGE_SRCDIR");
        const char *slash = strrchr(argv[0], '/');
        char path[4096];
        snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", top != NULL ? top : ".",
                 slash != NULL ? slash + 1 : argv[0]);
        rc = replay_directory(path, &count);
        if (fuzz_made_inputs != NULL)
            fuzz_made_inputs(replay_made);
        count += made;
    }
    if (rc == 0)
        printf("cases: %u passed, 0 failed\n", count);
    return rc == 0 ? 0 : 1;
}
