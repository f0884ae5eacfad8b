/*
 * files.c - an object store: something large goes in in chunks and comes out checked.
 *
 *     files [port]
 */
#include "client/midge_object.h"

#include <stdio.h>
#include <stdlib.h>

#define BYTES 1000000u

/* A source is asked for the next bytes: here it counts. */
static int64_t produce(void *ctx, void *into, size_t n)
{
    uint64_t *at = ctx;
    size_t i = 0;

    for (; i < n && *at < BYTES; i++)
        ((unsigned char *) into)[i] = (unsigned char) (*at)++;
    return (int64_t) i;
}

static int consume(void *ctx, struct midge_text bytes)
{
    *(uint64_t *) ctx += bytes.n;
    return MIDGE_OK;
}

static void show(void *ctx, const struct midge_object_info *info)
{
    (void) ctx;
    if (info->link_bucket != NULL)
        printf("%s -> %s/%s\n", info->name, info->link_bucket, info->link_name);
    else
        printf("%s: %llu bytes, %llu chunks, %s\n", info->name, (unsigned long long) info->size,
               (unsigned long long) info->chunks, info->digest);
}

static int run(struct midge_objects *s)
{
    uint64_t put = 0, got = 0;
    int rc = midge_object_put(s, &(struct midge_object_meta){.name = "counting"}, produce, &put,
                              NULL);

    if (rc == MIDGE_OK)
        rc = midge_object_link(s, "latest", "files", "counting");
    if (rc == MIDGE_OK)
        rc = midge_object_get(s, "latest", consume, &got, NULL);
    printf("%llu bytes came back\n", (unsigned long long) got);
    if (rc == MIDGE_OK)
        rc = midge_object_list(s, show, NULL);
    if (rc == MIDGE_OK)
        rc = midge_object_delete(s, "counting");
    return rc;
}

int main(int argc, char **argv)
{
    struct midge_options o;
    char err[256];
    struct midge *m;
    struct midge_objects *s;
    int rc;

    midge_options_init(&o);
    if (argc > 1)
        o.port = (uint16_t) strtoul(argv[1], NULL, 10);
    m = midge_connect(&o, err);
    if (m == NULL) {
        fprintf(stderr, "%s\n", err);
        return EXIT_FAILURE;
    }
    s = midge_objects_create(m, &(struct midge_objects_config){.bucket = "files"}, &rc);
    if (rc == MIDGE_OK)
        rc = run(s);
    if (rc != MIDGE_OK)
        fprintf(stderr, "files: %s\n", midge_error(m));
    midge_objects_close(s);
    midge_close(m);
    return rc == MIDGE_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
