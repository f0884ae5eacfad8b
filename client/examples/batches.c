/*
 * batches.c - many messages as one: a transfer of which both halves are stored or none, and a fast
 * load.
 *
 *     batches [port]
 */
#include "client/midge_batch.h"

#include <stdio.h>
#include <stdlib.h>

static int transfer(struct midge *m)
{
    struct midge_msg from = {.subject = MIDGE_TEXT("account.joe"), .payload = MIDGE_TEXT("-10")};
    struct midge_msg to = {.subject = MIDGE_TEXT("account.ann"), .payload = MIDGE_TEXT("+10")};
    struct midge_batch *b = midge_batch_open(m, NULL);
    struct midge_puback ack;
    int rc = midge_batch_add(b, &from);

    if (rc == MIDGE_OK)
        rc = midge_batch_commit(b, &to, &ack);
    if (rc == MIDGE_OK)
        printf("%llu messages, the last is %llu\n", (unsigned long long) ack.batch_size,
               (unsigned long long) ack.seq);
    midge_batch_close(b);
    return rc;
}

static int load(struct midge *m, unsigned n)
{
    struct midge_ingest *b = midge_ingest_open(m, NULL, NULL);
    const struct midge_text subject = MIDGE_TEXT("account.log"), payload = MIDGE_TEXT("entry");
    struct midge_puback ack;
    int rc = MIDGE_OK;

    for (unsigned sent = 0; sent < n && rc == MIDGE_OK;) {
        rc = midge_ingest_add(b, subject, (struct midge_text){NULL, 0}, payload);
        sent += rc == MIDGE_OK;
        if (rc == MIDGE_FULL)
            rc = midge_poll(m, 100000000);
    }
    if (rc == MIDGE_OK)
        rc = midge_ingest_commit(b, &ack);
    if (rc == MIDGE_OK)
        printf("%llu messages loaded\n", (unsigned long long) ack.batch_size);
    midge_ingest_close(b);
    return rc;
}

int main(int argc, char **argv)
{
    struct midge_stream_config config = {.name = "ACCOUNTS",
                                         .subjects = MIDGE_TEXTS("account.*"),
                                         .allow_atomic = true,
                                         .allow_batched = true};
    struct midge_options o;
    char err[256];
    struct midge *m;
    int rc;

    midge_options_init(&o);
    if (argc > 1)
        o.port = (uint16_t) strtoul(argv[1], NULL, 10);
    m = midge_connect(&o, err);
    if (m == NULL) {
        fprintf(stderr, "%s\n", err);
        return EXIT_FAILURE;
    }
    rc = midge_stream_create(m, &config, NULL);
    if (rc == MIDGE_OK)
        rc = transfer(m);
    if (rc == MIDGE_OK)
        rc = load(m, 20000);
    if (rc != MIDGE_OK)
        fprintf(stderr, "batches: %s\n", midge_error(m));
    midge_close(m);
    return rc == MIDGE_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
