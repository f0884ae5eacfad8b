/*
 * conformance_churn.c - random operations on many connections and files at once, from a seed.
 *
 * Every connection carries one endless pattern from client to server; whatever is sent, cancelled,
 * spliced and closed meanwhile, what a receive brings is the next part of the pattern, every
 * operation completes once, and a closed socket's operations complete before the close.
 */
#include "lib/base/prng.h"
#include "tests/lib/runner.h"
#include "tests/unit/io/conformance.h"
#include "tests/unit/io/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINES = 24, STEPS = 4000, OUT_BYTES = 256 * 1024, FILE_BYTES = 1024 * 1024 };

struct line {
    struct io_op send, recv, close_client, close_server;
    struct io_sock *client, *server;
    struct iovec iov[5];
    uint8_t *out;
    uint64_t seed;
    uint64_t sent;     /* position in the pattern */
    uint64_t received; /* the same */
    uint64_t in_flight;
    bool broken; /* a send failed: close it */
    bool ending; /* it is closing */
    unsigned closed;
};

static struct {
    struct io *io;
    struct prng prng;
    struct pair pair;
    struct line lines[LINES];
    struct io_file *file;
    uint64_t bytes;
} churn;

static void on_sent(struct io_op *op)
{
    struct line *l = CONTAINER_OF(op, struct line, send);

    if (op->res < 0) {
        l->broken = true;
        return;
    }
    ck_assert_uint_eq((uint64_t) op->res, l->in_flight);
    l->sent += l->in_flight;
}

/* The pattern repeats every FILE_BYTES, so that a splice can send it from the one file. */
static bool continues(const struct line *l, const uint8_t *bytes, uint64_t n)
{
    uint64_t from = l->received % FILE_BYTES;
    uint64_t first = n < FILE_BYTES - from ? n : FILE_BYTES - from;

    return pattern_is(bytes, first, l->seed, from) &&
           pattern_is(bytes + first, n - first, l->seed, 0);
}

static void on_received(struct io_op *op)
{
    struct line *l = CONTAINER_OF(op, struct line, recv);

    if (op->res <= 0)
        return;
    ck_assert(continues(l, op->data, (uint64_t) op->res));
    l->received += (uint64_t) op->res;
    churn.bytes += (uint64_t) op->res;
}

static void on_client_closed(struct io_op *op)
{
    struct line *l = CONTAINER_OF(op, struct line, close_client);

    ck_assert_int_eq(op->res, 0);
    ck_assert(!io_op_busy(&l->send));
    l->closed++;
}

static void on_server_closed(struct io_op *op)
{
    struct line *l = CONTAINER_OF(op, struct line, close_server);

    ck_assert_int_eq(op->res, 0);
    ck_assert(!io_op_busy(&l->recv));
    l->closed++;
}

static void open_line(struct line *l)
{
    pair_connect(churn.io, &churn.pair, &l->client, &l->server);
    l->sent = l->received = 0;
    l->broken = l->ending = false;
    l->closed = 0;
}

static void start_send(struct line *l)
{
    uint64_t n = 1 + prng_below(&churn.prng, OUT_BYTES);
    unsigned parts = 1 + (unsigned) prng_below(&churn.prng, 5);
    uint64_t from = l->sent % FILE_BYTES;
    uint64_t at = 0;

    if (from + n > FILE_BYTES)
        n = FILE_BYTES - from;
    l->in_flight = n;
    if (prng_below(&churn.prng, 4) == 0) {
        io_splice(churn.io, &l->send, l->client, churn.file, from, (uint32_t) n);
        return;
    }
    pattern_fill(l->out, n, l->seed, from);
    for (unsigned k = 0; k < parts; k++) {
        uint64_t len = k == parts - 1 ? n - at : prng_below(&churn.prng, n - at + 1);
        l->iov[k] = (struct iovec){l->out + at, len};
        at += len;
    }
    io_send(churn.io, &l->send, l->client, l->iov, parts);
}

static void end_line(struct line *l)
{
    l->ending = true;
    io_sock_close(churn.io, &l->close_client, l->client);
    io_sock_close(churn.io, &l->close_server, l->server);
}

static void act(struct line *l)
{
    uint64_t dice = prng_below(&churn.prng, 100);

    if (l->ending) {
        if (l->closed == 2)
            open_line(l);
    } else if (l->broken || dice < 2) {
        end_line(l);
    } else if (dice < 5) {
        io_cancel(churn.io, &l->send);
    } else if (dice < 20) {
        io_cancel(churn.io, &l->recv);
    } else if (dice < 60) {
        if (!io_op_busy(&l->recv))
            io_recv(churn.io, &l->recv, l->server);
    } else if (!io_op_busy(&l->send)) {
        start_send(l);
    }
}

static void write_file(const char *path)
{
    struct io_fs *fs = io_fs(churn.io);
    uint8_t *bytes = malloc(FILE_BYTES);
    fs_fd fd = fs_open(fs, path, IO_FILE_CREATE);

    pattern_fill(bytes, FILE_BYTES, 77, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fs_write(fs, fd, bytes, FILE_BYTES, 0), 0);
    fs_close(fs, fd);
    free(bytes);
}

static void set_up(unsigned seed)
{
    struct io_config config;
    char path[512];

    io_config_init(&config);
    config.recv_bytes = seed % 2 == 0 ? 65536 : 3000;
    churn.io = conformance_open(&config);
    prng_init(&churn.prng, seed);
    snprintf(path, sizeof(path), "%s/f", conformance_dir());
    write_file(path);
    churn.file = io_file_open(churn.io, path, IO_FILE_READ);
    ck_assert_int_eq(
        io_listen(churn.io, conformance_host(), 0, 64, &churn.pair.listener, &churn.pair.addr), 0);
    for (unsigned k = 0; k < LINES; k++) {
        struct line *l = &churn.lines[k];
        io_op_init(&l->send, on_sent);
        io_op_init(&l->recv, on_received);
        io_op_init(&l->close_client, on_client_closed);
        io_op_init(&l->close_server, on_server_closed);
        l->seed = 77;
        l->out = malloc(OUT_BYTES);
        open_line(l);
    }
}

TEST(churn_of_operations)
{
    set_up((unsigned) i);
    for (unsigned step = 0; step < STEPS; step++) {
        act(&churn.lines[prng_below(&churn.prng, LINES)]);
        if (prng_below(&churn.prng, 3) == 0)
            io_poll(churn.io, prng_below(&churn.prng, 2) * 100000);
    }
    for (unsigned k = 0; k < LINES; k++) {
        struct line *l = &churn.lines[k];
        if (!l->ending)
            end_line(l);
        probe_wait_calls(churn.io, &l->closed, 2);
        ck_assert(!io_op_busy(&l->send) && !io_op_busy(&l->recv));
        free(l->out);
    }
    ck_assert_uint_gt(churn.bytes, 0);
    sock_close(churn.io, churn.pair.listener);
    io_file_close(churn.io, churn.file);
    conformance_close(churn.io);
}

static const struct runner_case cases[] = {
    RUN_LOOP(churn_of_operations, 0, 6),
};

const struct runner_case *conformance_churn_cases(size_t *count)
{
    *count = sizeof(cases) / sizeof(cases[0]);
    return cases;
}
