/*
 * probe.h - operations that remember their completion, and connections, for tests of lib/io.
 */
#ifndef TESTS_UNIT_IO_PROBE_H
#define TESTS_UNIT_IO_PROBE_H

#include "lib/io/io.h"
#include "tests/lib/runner.h"

struct probe {
    struct io_op op;
    unsigned calls;
    int64_t res;
    uint64_t order; /* 1 for the first completion since probe_order was reset, ... */
    struct io *io;
    /* A receive: where to append what came; NULL counts only. */
    uint8_t *into;
    size_t room;
    size_t got;
};

/* One counter for the process: each case has a process of its own. */
extern uint64_t probe_order;

void probe_init(struct probe *p, struct io *io);
/* Polls until *calls >= wanted; fails the test after 30 s of polling. */
void probe_wait_calls(struct io *io, const unsigned *calls, unsigned wanted);
/* Polls until it completed and returns res. */
int64_t probe_wait(struct probe *p);

struct pair {
    struct io_sock *listener;
    struct io_addr addr;
    struct io_sock *client;
    struct io_sock *server;
};

void pair_open(struct io *io, struct pair *pair);
void pair_close(struct io *io, struct pair *pair);
/* Connects once more to the pair's listener. */
void pair_connect(struct io *io, struct pair *pair, struct io_sock **client,
                  struct io_sock **server);
void sock_close(struct io *io, struct io_sock *sock);

int64_t send_bytes(struct io *io, struct io_sock *sock, const void *bytes, size_t n);
/* Receives until n bytes are there or the stream ends: how many came, or the error. */
int64_t recv_bytes(struct io *io, struct io_sock *sock, void *into, size_t n);
/* Deterministic contents: byte at position `at` of stream `seed`. */
uint8_t pattern(uint64_t seed, uint64_t at);
void pattern_fill(void *out, size_t n, uint64_t seed, uint64_t from);
bool pattern_is(const void *bytes, size_t n, uint64_t seed, uint64_t from);

#endif
