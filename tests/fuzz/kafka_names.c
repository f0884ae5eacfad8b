/*
 * kafka_names.c - prepares the fuzz targets of the Kafka requests.
 *
 *     kafka_names PROGRAMS CORPUS
 *
 * PROGRAMS/fuzz_kafka_<api> becomes a link to fuzz_kafka, CORPUS/fuzz_kafka_<api>/ holds the
 * requests of that kind that there are to begin with.
 */
#include "tests/fuzz/kafka_seeds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct places {
    const char *programs, *corpus;
};

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "kafka_names: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void write_one(void *ctx, const struct kafka_api *api, const char *name, struct str frame)
{
    const struct places *to = ctx;
    char path[4096];
    FILE *f;

    snprintf(path, sizeof(path), "%s/fuzz_kafka_%s", to->programs, api->name);
    must(symlink("fuzz_kafka", path) == 0 || errno == EEXIST, path);
    snprintf(path, sizeof(path), "%s/fuzz_kafka_%s", to->corpus, api->name);
    must(mkdir(path, 0777) == 0 || errno == EEXIST, path);
    snprintf(path, sizeof(path), "%s/fuzz_kafka_%s/%s", to->corpus, api->name, name);
    f = fopen(path, "wb");
    must(f != NULL, path);
    must(fwrite(frame.p, 1, frame.n, f) == frame.n && fclose(f) == 0, path);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: kafka_names PROGRAMS CORPUS\n");
        return 1;
    }
    must(mkdir(argv[2], 0777) == 0 || errno == EEXIST, argv[2]);
    kafka_seeds_each(write_one, &(struct places){argv[1], argv[2]});
    return 0;
}
