/*
 * What a process that was killed leaves behind: the moment it is gone its port is free, its locks
 * can be had, and nothing writes to its files once they can.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "tests/lib/runner.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK (512u * 1024)
#define BLOCKS 64u
#define SECOND_NS 1000000000u

/* Children of a test have threads of their own, which the thread sanitizer takes amiss unless told.
 */
const char *__tsan_default_options(void);

const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

static const enum io_backend backends[] = {IO_BACKEND_URING, IO_BACKEND_EVENT};

static bool open_loop(enum io_backend backend, struct io **io)
{
    struct io_config config;

    io_config_init(&config);
    config.backend = backend;
    config.cores = 1; /* big commits go through the ring */
    return io_open(&config, io) == 0;
}

/* ---- a port ---------------------------------------------------------------------------------- */

static void nobody_comes(struct io_op *op)
{
    (void) op;
}

/* Accepts until it is killed; says its port when the accept is in the kernel's hands. */
static void accept_for_ever(enum io_backend backend, uint16_t port, int tell)
{
    struct io_sock *sock;
    struct io_addr bound;
    struct io_op op;
    struct io *io;

    if (!open_loop(backend, &io) || io_listen(io, "127.0.0.1", port, 16, &sock, &bound) != 0)
        _exit(1);
    io_op_init(&op, nobody_comes);
    io_accept(io, &op, sock);
    io_poll(io, 0);
    if (write(tell, &bound.port, sizeof(bound.port)) != sizeof(bound.port))
        _exit(1);
    for (;;)
        io_poll(io, SECOND_NS);
}

static pid_t start(int *from)
{
    int ends[2];
    pid_t pid;

    ck_assert_int_eq(pipe(ends), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    *from = ends[pid == 0];
    close(ends[pid != 0]);
    return pid;
}

static void end(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

TEST(the_port_is_free)
{
    struct io *io;
    uint16_t port = 0;

    if (!open_loop(backends[i], &io)) /* io_uring is not everywhere */
        return;
    io_close(io);
    for (int k = 0; k < 20; k++) {
        int from;
        pid_t pid = start(&from);
        if (pid == 0)
            accept_for_ever(backends[i], port, from);
        ck_assert_msg(read(from, &port, sizeof(port)) == sizeof(port),
                      "the port is not free after %d kills", k);
        close(from);
        end(pid);
    }
}

/* ---- a lock and what it covers --------------------------------------------------------------- */

struct writer {
    struct io *io;
    struct io_file *file;
    struct io_op op;
    struct iovec iov;
    uint64_t n;
    int tell;
};

/* Each pass over the file writes another byte. */
static void written(struct io_op *op)
{
    struct writer *w = CONTAINER_OF(op, struct writer, op);

    if (w->n > 0 && w->n % BLOCKS == 0 && write(w->tell, "x", 1) != 1)
        _exit(1);
    memset(w->iov.iov_base, (int) (w->n / BLOCKS), BLOCK);
    io_commit(w->io, &w->op, w->file, &w->iov, 1, w->n++ % BLOCKS * BLOCK);
}

static void write_for_ever(enum io_backend backend, const char *path, int tell)
{
    struct writer w = {.tell = tell};
    fs_fd fd;

    if (!open_loop(backend, &w.io))
        _exit(1);
    fd = fs_open(io_fs(w.io), path, IO_FILE_WRITE);
    if (fd < 0 || fs_lock(io_fs(w.io), fd, 10 * (uint64_t) SECOND_NS) != 0)
        _exit(1);
    io_hold(w.io, fd);
    w.file = io_file_open(w.io, path, IO_FILE_WRITE);
    w.iov = (struct iovec){.iov_base = mem_alloc(BLOCK), .iov_len = BLOCK};
    io_op_init(&w.op, written);
    written(&w.op);
    for (;;)
        io_poll(w.io, SECOND_NS);
}

static void read_all(struct io_fs *fs, fs_fd fd, uint8_t *into)
{
    ck_assert_int_eq(fs_read(fs, fd, into, BLOCK * BLOCKS, 0), BLOCK * BLOCKS);
}

TEST(nothing_is_written_once_the_lock_is_had)
{
    char path[] = "/tmp/midge-killed-XXXXXX", go;
    uint8_t *before = mem_alloc(BLOCK * BLOCKS), *after = mem_alloc(BLOCK * BLOCKS);
    struct io_fs *fs;
    struct io *io;
    bool there = false;
    fs_fd fd;

    close(mkstemp(path));
    ck_assert(open_loop(IO_BACKEND_EVENT, &io));
    fs = io_fs(io);
    for (int k = 0; k < 10; k++) {
        int from;
        pid_t pid = start(&from);
        if (pid == 0)
            write_for_ever(backends[i], path, from);
        for (int n = 0; n <= k % 3; n++)
            there = read(from, &go, 1) == 1;
        if (!there) /* no io_uring */
            break;
        close(from);
        end(pid);
        fd = fs_open(fs, path, IO_FILE_WRITE);
        ck_assert_int_eq(fs_lock(fs, fd, 10 * (uint64_t) SECOND_NS), 0);
        read_all(fs, fd, before);
        read_all(fs, fd, after);
        ck_assert_mem_eq(before, after, BLOCK * BLOCKS);
        fs_close(fs, fd);
    }
    waitpid(-1, NULL, WNOHANG);
    io_close(io);
    unlink(path);
    mem_free(before);
    mem_free(after);
}

static const struct runner_case cases[] = {
    RUN_LOOP(the_port_is_free, 0, 2),
    RUN_LOOP(nothing_is_written_once_the_lock_is_had, 0, 2),
};

RUNNER_MAIN("io/killed", cases)
