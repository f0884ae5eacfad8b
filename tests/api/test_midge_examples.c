/* test_midge_examples.c - the programs of docs/client.md do what it says. */
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *program, *says;
} examples[] = {
    {"orders", "ORDERS: sequence 1\n"
               "ORDERS: sequence 1, a duplicate\n"
               "100 acknowledged\n"
               "101 done, 0 to do\n"
               "first: one apple\n"
               "101 read\n"},
    {"settings", "somebody was faster\n"
                 "lamp.color = blue\n"
                 "lamp.color = blue\n"
                 "lamp.on = yes\n"
                 "-- from here on changes\n"
                 "lamp.on =  (deleted)\n"
                 "lamp.color = red\n"
                 "lamp.color = blue\n"},
    {"files", "1000000 bytes came back\n"
              "counting: 1000000 bytes, 8 chunks, "
              "SHA-256=Z4cN_Jxk56onCj9-gFGuZdIH-T_D3wTXVy5jZa9pzQ0=\n"
              "latest -> files/counting\n"},
    {"batches", "2 messages, the last is 2\n"
                "20000 messages loaded\n"},
};

TEST(example)
{
    struct server_process s;
    const char *build = getenv("MIDGE_BUILDDIR");
    char command[512], said[4000];
    size_t n;
    FILE *f;

    server_process_init(&s);
    server_process_start(&s);
    snprintf(command, sizeof(command), "%s/client/examples/%s %u 2>&1", build != NULL ? build : ".",
             examples[i].program, s.port);
    f = popen(command, "r");
    ck_assert(f != NULL);
    n = fread(said, 1, sizeof(said) - 1, f);
    said[n] = '\0';
    ck_assert_int_eq(pclose(f), 0);
    ck_assert_str_eq(said, examples[i].says);
    server_process_deinit(&s);
}

static const struct runner_case cases[] = {
    RUN_LOOP(example, 0, (int) (sizeof(examples) / sizeof(examples[0]))),
};

RUNNER_MAIN("api/midge_examples", cases)
