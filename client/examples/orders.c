/*
 * orders.c - a stream of orders: create it, publish into it and wait for acknowledgements, work on
 * it with a durable consumer, read it from the beginning.
 *
 *     orders [port]
 */
#include "client/midge_js.h"

#include <stdio.h>
#include <stdlib.h>

static int fail(const struct midge *m, const char *what)
{
    fprintf(stderr, "%s: %s\n", what, midge_error(m));
    return EXIT_FAILURE;
}

static struct midge *connect_to(int argc, char **argv)
{
    struct midge_options o;
    char err[256];
    struct midge *m;

    midge_options_init(&o);
    if (argc > 1)
        o.port = (uint16_t) strtoul(argv[1], NULL, 10);
    o.name = "orders";
    o.max_reconnects = -1;
    m = midge_connect(&o, err);
    if (m == NULL)
        fprintf(stderr, "%s\n", err);
    return m;
}

/* One message that must be there, and once: the second is a duplicate. */
static int publish_one(struct midge *m)
{
    struct midge_headers h = {0};
    struct midge_puback ack;
    int rc = midge_headers_publish(&h, &(struct midge_publish_options){.msg_id = "order-1"});

    for (int i = 0; i < 2 && rc == MIDGE_OK; i++) {
        struct midge_msg msg = {.subject = MIDGE_TEXT("orders.new"),
                                .header = midge_headers_text(&h),
                                .payload = MIDGE_TEXT("one apple")};
        rc = midge_js_publish(m, &msg, &ack);
        if (rc == MIDGE_OK)
            printf("%s: sequence %llu%s\n", ack.stream, (unsigned long long) ack.seq,
                   ack.duplicate ? ", a duplicate" : "");
    }
    midge_headers_free(&h);
    return rc;
}

static void acknowledged(void *ctx, const struct midge_ack *ack)
{
    if (ack->rc == MIDGE_OK)
        ++*(unsigned *) ctx;
    else
        fprintf(stderr, "message %llu: %s\n", (unsigned long long) ack->number, ack->error);
}

/* Many, with at most 64 unacknowledged: the window is what slows a fast publisher down. */
static int publish_many(struct midge *m, unsigned n)
{
    unsigned acks = 0;
    struct midge_publisher *p = midge_publisher_open(m, 64, acknowledged, &acks);
    const struct midge_text subject = MIDGE_TEXT("orders.new"), payload = MIDGE_TEXT("a pear");
    int rc = MIDGE_OK;

    for (unsigned sent = 0; sent < n && rc == MIDGE_OK;) {
        rc = midge_publisher_send(p, subject, (struct midge_text){NULL, 0}, payload, NULL);
        sent += rc == MIDGE_OK;
        if (rc == MIDGE_FULL)
            rc = midge_poll(m, 100000000);
    }
    if (rc == MIDGE_OK)
        rc = midge_publisher_wait(p, 10000);
    midge_publisher_close(p);
    printf("%u acknowledged\n", acks);
    return rc;
}

struct work {
    struct midge *m;
    unsigned done;
};

static void work_on(void *ctx, const struct midge_delivery *d)
{
    struct work *w = ctx;

    midge_ack(w->m, d->msg.reply);
    w->done++;
}

/* What was acknowledged is not delivered again, to whoever fetches from this consumer. */
static int consume(struct midge *m)
{
    struct work w = {.m = m};
    struct midge_consumer_info info;
    int rc = midge_consumer_create(
        m, "ORDERS", &(struct midge_consumer_config){.durable_name = "packing"}, NULL);

    while (rc == MIDGE_OK && w.done < 101)
        rc = midge_fetch(m, "ORDERS", "packing", &(struct midge_pull_options){.batch = 50}, work_on,
                         &w, NULL);
    if (rc == MIDGE_OK)
        rc = midge_flush(m, 5000); /* the last acknowledgements have arrived */
    if (rc == MIDGE_OK)
        rc = midge_consumer_info(m, "ORDERS", "packing", &info);
    if (rc == MIDGE_OK) {
        printf("%u done, %llu to do\n", w.done, (unsigned long long) info.num_pending);
        midge_consumer_info_free(&info);
    }
    return rc;
}

static void count(void *ctx, const struct midge_delivery *d)
{
    unsigned *n = ctx;

    if (++*n == 1)
        printf("first: %.*s\n", (int) d->msg.payload.n, d->msg.payload.p);
}

/* An ordered consumer needs no management: it reads, and goes on where it was when something
 * breaks. */
static int read_all(struct midge *m)
{
    unsigned n = 0;
    struct midge_ordered *o = midge_ordered_open(m, "ORDERS", NULL, count, &n);
    int rc = MIDGE_OK;

    while (rc == MIDGE_OK && n < 101 && midge_ordered_error(o) == NULL)
        rc = midge_poll(m, 1000000000);
    midge_ordered_close(o);
    printf("%u read\n", n);
    return rc;
}

int main(int argc, char **argv)
{
    struct midge *m = connect_to(argc, argv);
    struct midge_stream_config config = {.name = "ORDERS", .subjects = MIDGE_TEXTS("orders.>")};
    int status = EXIT_SUCCESS;

    if (m == NULL)
        return EXIT_FAILURE;
    if (midge_stream_create(m, &config, NULL) != MIDGE_OK || publish_one(m) != MIDGE_OK ||
        publish_many(m, 100) != MIDGE_OK || consume(m) != MIDGE_OK || read_all(m) != MIDGE_OK)
        status = fail(m, "orders");
    midge_close(m);
    return status;
}
