#include "tests/unit/io/probe.h"

#include "tests/unit/io/conformance.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t probe_order;

static void on_done(struct io_op *op)
{
    struct probe *p = CONTAINER_OF(op, struct probe, op);

    ck_assert(!io_op_busy(op));
    p->calls++;
    p->res = op->res;
    p->order = ++probe_order;
    if (op->data != NULL && op->res > 0) {
        size_t n = (size_t) op->res;
        if (p->into != NULL) {
            ck_assert_uint_le(p->got + n, p->room);
            memcpy(p->into + p->got, op->data, n);
        }
        memset(op->data, 0xdd, n); /* lent: may be modified */
        p->got += n;
    }
}

void probe_init(struct probe *p, struct io *io)
{
    memset(p, 0, sizeof(*p));
    io_op_init(&p->op, on_done);
    p->io = io;
}

void probe_wait_calls(struct io *io, const unsigned *calls, unsigned wanted)
{
    struct timespec ts;
    time_t limit;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    limit = ts.tv_sec + 30;
    while (*calls < wanted) {
        io_poll(io, 50 * 1000000);
        clock_gettime(CLOCK_MONOTONIC, &ts);
        ck_assert_msg(ts.tv_sec < limit, "waited 30 s for a completion");
    }
}

int64_t probe_wait(struct probe *p)
{
    probe_wait_calls(p->io, &p->calls, 1);
    ck_assert_uint_eq(p->calls, 1);
    return p->res;
}

void pair_connect(struct io *io, struct pair *pair, struct io_sock **client,
                  struct io_sock **server)
{
    struct probe accepted, connected;

    probe_init(&accepted, io);
    probe_init(&connected, io);
    io_accept(io, &accepted.op, pair->listener);
    io_connect(io, &connected.op, pair->addr.host, pair->addr.port);
    ck_assert_int_ge(probe_wait(&connected), 0);
    ck_assert_int_ge(probe_wait(&accepted), 0);
    *client = io_sock_open(io, (io_fd) connected.res);
    *server = io_sock_open(io, (io_fd) accepted.res);
}

void pair_open(struct io *io, struct pair *pair)
{
    int rc = io_listen(io, conformance_host(), 0, 128, &pair->listener, &pair->addr);

    ck_assert_int_eq(rc, 0);
    pair_connect(io, pair, &pair->client, &pair->server);
}

void sock_close(struct io *io, struct io_sock *sock)
{
    struct probe p;

    probe_init(&p, io);
    io_sock_close(io, &p.op, sock);
    ck_assert_int_eq(probe_wait(&p), 0);
}

void pair_close(struct io *io, struct pair *pair)
{
    if (pair->client != NULL)
        sock_close(io, pair->client);
    if (pair->server != NULL)
        sock_close(io, pair->server);
    sock_close(io, pair->listener);
}

int64_t send_bytes(struct io *io, struct io_sock *sock, const void *bytes, size_t n)
{
    struct iovec iov = {(void *) (uintptr_t) bytes, n};
    struct probe p;

    probe_init(&p, io);
    io_send(io, &p.op, sock, &iov, 1);
    return probe_wait(&p);
}

int64_t recv_bytes(struct io *io, struct io_sock *sock, void *into, size_t n)
{
    size_t got = 0;

    while (got < n) {
        struct probe p;
        probe_init(&p, io);
        p.into = (uint8_t *) into + got;
        p.room = n - got;
        io_recv(io, &p.op, sock);
        if (probe_wait(&p) < 0)
            return p.res;
        if (p.res == 0)
            break;
        got += (size_t) p.res;
    }
    return (int64_t) got;
}

uint8_t pattern(uint64_t seed, uint64_t at)
{
    uint64_t x = (at >> 3) * 0x9e3779b97f4a7c15u + seed * 0xbf58476d1ce4e5b9u;

    x ^= x >> 29;
    return (uint8_t) (x >> ((at & 7) * 8));
}

void pattern_fill(void *out, size_t n, uint64_t seed, uint64_t from)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *) out)[i] = pattern(seed, from + i);
}

bool pattern_is(const void *bytes, size_t n, uint64_t seed, uint64_t from)
{
    for (size_t i = 0; i < n; i++)
        if (((const uint8_t *) bytes)[i] != pattern(seed, from + i))
            return false;
    return true;
}
