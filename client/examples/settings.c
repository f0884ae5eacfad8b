/*
 * settings.c - a key-value bucket: values, changing one only if nobody else has, watching.
 *
 *     settings [port]
 */
#include "client/midge_kv.h"

#include <stdio.h>
#include <stdlib.h>

static void show(void *ctx, const struct midge_kv_entry *e)
{
    static const char *const what[] = {"", " (deleted)", " (purged)"};

    (void) ctx;
    printf("%.*s = %.*s%s\n", (int) e->key.n, e->key.p, (int) e->value.n, e->value.p,
           what[e->operation]);
}

struct watching {
    bool all_seen;
    unsigned changes;
};

static void changed(void *ctx, const struct midge_kv_entry *e)
{
    struct watching *w = ctx;

    show(NULL, e);
    w->changes += w->all_seen;
}

static void all_seen(void *ctx)
{
    ((struct watching *) ctx)->all_seen = true;
    printf("-- from here on changes\n");
}

static int values(struct midge_kv *kv)
{
    uint64_t revision = 0;
    int rc = midge_kv_put(kv, "lamp.color", midge_text_of("red"), &revision);

    if (rc == MIDGE_OK)
        rc = midge_kv_update(kv, "lamp.color", midge_text_of("blue"), revision, NULL);
    if (rc == MIDGE_OK &&
        midge_kv_update(kv, "lamp.color", midge_text_of("green"), revision, NULL) == MIDGE_CONFLICT)
        printf("somebody was faster\n");
    if (rc == MIDGE_OK)
        rc = midge_kv_put(kv, "lamp.on", midge_text_of("yes"), NULL);
    if (rc == MIDGE_OK)
        rc = midge_kv_get(kv, "lamp.color", show, NULL);
    return rc;
}

/* First what there is, then every change: of "lamp.on" here, which is deleted. */
static int watch(struct midge *m, struct midge_kv *kv)
{
    struct watching seen = {0};
    const char *pattern = "lamp.>";
    struct midge_watch *w = midge_kv_watch(kv, (struct midge_texts){&pattern, 1}, NULL, changed,
                                           all_seen, &seen);
    int rc = MIDGE_OK;

    while (rc == MIDGE_OK && !seen.all_seen && midge_watch_error(w) == NULL)
        rc = midge_poll(m, 1000000000);
    if (rc == MIDGE_OK)
        rc = midge_kv_delete(kv, "lamp.on", 0);
    while (rc == MIDGE_OK && seen.changes == 0 && midge_watch_error(w) == NULL)
        rc = midge_poll(m, 1000000000);
    midge_watch_close(w);
    return rc;
}

int main(int argc, char **argv)
{
    struct midge_options o;
    char err[256];
    struct midge *m;
    struct midge_kv *kv;
    int rc;

    midge_options_init(&o);
    if (argc > 1)
        o.port = (uint16_t) strtoul(argv[1], NULL, 10);
    m = midge_connect(&o, err);
    if (m == NULL) {
        fprintf(stderr, "%s\n", err);
        return EXIT_FAILURE;
    }
    kv = midge_kv_create(m, &(struct midge_kv_config){.bucket = "settings", .history = 5}, &rc);
    if (rc == MIDGE_OK)
        rc = values(kv);
    if (rc == MIDGE_OK)
        rc = watch(m, kv);
    if (rc == MIDGE_OK)
        rc = midge_kv_history(kv, "lamp.color", show, NULL);
    if (rc != MIDGE_OK)
        fprintf(stderr, "settings: %s\n", midge_error(m));
    midge_kv_close(kv);
    midge_close(m);
    return rc == MIDGE_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
