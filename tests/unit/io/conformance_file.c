/*
 * conformance_file.c - files, long work, splice and the blocking file calls, on every backend.
 */
#include "tests/lib/runner.h"
#include "tests/unit/io/conformance.h"
#include "tests/unit/io/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct io *open_io(void)
{
    struct io_config config;

    io_config_init(&config);
    return conformance_open(&config);
}

/* "<dir>/<name>"; a few of them at a time. */
static const char *path_of(const char *name)
{
    static char paths[4][512];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", conformance_dir(), name);
    return path;
}

static int64_t commit(struct io *io, struct io_file *file, const void *bytes, size_t n, uint64_t at)
{
    struct iovec iov = {(void *) (uintptr_t) bytes, n};
    struct probe p;

    probe_init(&p, io);
    io_commit(io, &p.op, file, &iov, 1, at);
    return probe_wait(&p);
}

static int64_t read_at(struct io *io, struct io_file *file, void *into, uint32_t n, uint64_t at)
{
    struct probe p;

    probe_init(&p, io);
    io_read(io, &p.op, file, into, n, at);
    return probe_wait(&p);
}

/* ---- completion style ------------------------------------------------------------------------ */

TEST(commits_and_reads_back)
{
    struct io *io = open_io();
    struct io_file *file = io_file_open(io, path_of("f"), IO_FILE_CREATE);
    uint8_t out[10000], in[10000];

    pattern_fill(out, sizeof(out), 1, 0);
    ck_assert_int_eq(commit(io, file, out, sizeof(out), 0), sizeof(out));
    ck_assert_int_eq(read_at(io, file, in, sizeof(in), 0), sizeof(in));
    ck_assert_mem_eq(in, out, sizeof(in));
    ck_assert_int_eq(read_at(io, file, in, 100, 5000), 100);
    ck_assert(pattern_is(in, 100, 1, 5000));
    ck_assert_uint_eq(io_stats(io)->commits, 1);
    ck_assert_uint_eq(io_stats(io)->commit_bytes, sizeof(out));
    ck_assert_uint_eq(io_stats(io)->reads, 2);
    io_file_close(io, file);
    conformance_close(io);
}

static int64_t read_once(struct io *io, struct io_file *file, void *into, uint32_t n, uint64_t at)
{
    struct probe p;

    probe_init(&p, io);
    io_read_once(io, &p.op, file, into, n, at);
    return probe_wait(&p);
}

/* On page boundaries and beside them, across the end, and where the page cache is newer than the
 * disk. */
TEST(reads_once)
{
    enum { BYTES = 1 << 20, PART = 256 << 10, END = BYTES - 1000 };
    struct io *io = open_io();
    struct io_file *file = io_file_open(io, path_of("f"), IO_FILE_CREATE);
    uint8_t *out = aligned_alloc(4096, BYTES), *in = aligned_alloc(4096, BYTES);

    pattern_fill(out, BYTES, 1, 0);
    ck_assert_int_eq(commit(io, file, out, PART, 0), PART);
    ck_assert_int_eq(commit(io, file, out + PART, BYTES - PART, PART), BYTES - PART);
    for (uint64_t at = 0; at < BYTES; at += PART) {
        ck_assert_int_eq(read_once(io, file, in, PART, at), PART);
        ck_assert(pattern_is(in, PART, 1, at));
    }
    ck_assert_int_eq(read_once(io, file, in + 1, PART, 77), PART);
    ck_assert(pattern_is(in + 1, PART, 1, 77));
    ck_assert_int_eq(read_once(io, file, in, PART, BYTES), 0);
    ck_assert_uint_eq(io_stats(io)->reads, BYTES / PART + 2);

    struct iovec iov = {(void *) (uintptr_t) "new", 3};
    struct probe p;
    probe_init(&p, io);
    io_write(io, &p.op, file, &iov, 1, PART + 5000);
    ck_assert_int_eq(probe_wait(&p), 3);
    ck_assert_int_eq(read_once(io, file, in, PART, PART), PART);
    ck_assert_mem_eq(in + 5000, "new", 3);
    ck_assert(pattern_is(in + 5003, PART - 5003, 1, PART + 5003));
    io_file_close(io, file);

    file = io_file_open(io, path_of("short"), IO_FILE_CREATE);
    ck_assert_int_eq(commit(io, file, out, END, 0), END);
    ck_assert_int_eq(read_once(io, file, in, PART, BYTES - PART), PART - 1000);
    ck_assert(pattern_is(in, PART - 1000, 1, BYTES - PART));
    io_file_close(io, file);
    conformance_close(io);
    free(out);
    free(in);
}

TEST(reads_end_at_the_end)
{
    struct io *io = open_io();
    struct io_file *file = io_file_open(io, path_of("f"), IO_FILE_CREATE);
    uint8_t in[100];

    ck_assert_int_eq(commit(io, file, "0123456789", 10, 0), 10);
    ck_assert_int_eq(read_at(io, file, in, 100, 4), 6);
    ck_assert_mem_eq(in, "456789", 6);
    ck_assert_int_eq(read_at(io, file, in, 100, 10), 0);
    ck_assert_int_eq(read_at(io, file, in, 100, 1000000), 0);
    ck_assert_int_eq(read_at(io, file, in, 0, 0), 0);
    io_file_close(io, file);
    conformance_close(io);
}

TEST(holes_read_as_zeros)
{
    struct io *io = open_io();
    struct io_file *file = io_file_open(io, path_of("f"), IO_FILE_CREATE);
    uint8_t in[5000], zeros[4096] = {0};

    ck_assert_int_eq(commit(io, file, "end", 3, 4096), 3);
    ck_assert_int_eq(read_at(io, file, in, sizeof(in), 0), 4099);
    ck_assert_mem_eq(in, zeros, 4096);
    ck_assert_mem_eq(in + 4096, "end", 3);
    io_file_close(io, file);
    conformance_close(io);
}

TEST(commits_1024_vectors)
{
    enum { COUNT = 1024 };
    struct io *io = open_io();
    struct io_file *file = io_file_open(io, path_of("f"), IO_FILE_CREATE);
    struct iovec iov[COUNT];
    uint8_t *out = malloc(COUNT * 300), *in = malloc(COUNT * 300);
    size_t total = 0;
    struct probe p;

    pattern_fill(out, COUNT * 300, 2, 0);
    for (size_t k = 0; k < COUNT; k++) {
        iov[k] = (struct iovec){out + total, k % 5 == 0 ? 0 : k % 300};
        total += iov[k].iov_len;
    }
    probe_init(&p, io);
    io_commit(io, &p.op, file, iov, COUNT, 123);
    ck_assert_int_eq(probe_wait(&p), (int64_t) total);
    ck_assert_int_eq(read_at(io, file, in, (uint32_t) total, 123), (int64_t) total);
    ck_assert_mem_eq(in, out, total);
    io_file_close(io, file);
    conformance_close(io);
    free(in);
    free(out);
}

/* Completions come in any order, none inside a submit, each once. */
/* Whole pages, in vectors without any alignment, into a file that has been synced or has not: a
 * backend may take another way for these. */
TEST(commits_of_many_pages)
{
    enum { PAGE = 4096, PAGES = 80, COUNT = 7 };
    struct io *io = open_io();
    struct io_file *file = io_file_open(io, path_of("f"), IO_FILE_CREATE);
    uint8_t *out = malloc(PAGES * PAGE + 3), *in = malloc(PAGES * PAGE);
    struct iovec iov[COUNT];
    struct probe p;

    for (unsigned round = 0; round < 6; round++) {
        uint64_t at = round * 64 * PAGE; /* they overlap */
        size_t done = 0;
        pattern_fill(out + 3, PAGES * PAGE, round, 0);
        for (unsigned k = 0; k < COUNT; k++) {
            size_t n = k + 1 < COUNT ? 1234 * (k + 1) + round : PAGES * PAGE - done;
            iov[k] = (struct iovec){out + 3 + done, n};
            done += n;
        }
        probe_init(&p, io);
        if (round % 3 == 2) { /* written and not synced */
            io_write(io, &p.op, file, iov, 1, at + 5);
            ck_assert_int_eq(probe_wait(&p), (int64_t) iov[0].iov_len);
            probe_init(&p, io);
        }
        io_commit(io, &p.op, file, iov, COUNT, at);
        ck_assert_int_eq(probe_wait(&p), PAGES * PAGE);
        ck_assert_int_eq(read_at(io, file, in, PAGES * PAGE, at), PAGES * PAGE);
        ck_assert_mem_eq(in, out + 3, PAGES * PAGE);
    }
    io_file_close(io, file);
    conformance_close(io);
    free(in);
    free(out);
}

/* Whole pages in memory, too: several pieces, one, and one that is not. */
TEST(commits_from_pages)
{
    enum { PAGE = 4096, PAGES = 80 };
    struct io *io = open_io();
    struct io_file *file = io_file_open(io, path_of("f"), IO_FILE_CREATE);
    uint8_t *out = aligned_alloc(PAGE, PAGES * PAGE), *in = malloc(PAGES * PAGE);
    static const unsigned cuts[4] = {PAGE, 33 * PAGE, PAGES * PAGE, 5000};

    for (unsigned round = 0; round < 8; round++) {
        unsigned cut = cuts[round % 4];
        struct iovec iov[2] = {{out, cut}, {out + cut, PAGES * PAGE - cut}};
        struct probe p;
        pattern_fill(out, PAGES * PAGE, round, 0);
        probe_init(&p, io);
        io_commit(io, &p.op, file, iov, cut == PAGES * PAGE ? 1 : 2, round * 16 * PAGE);
        ck_assert_int_eq(probe_wait(&p), PAGES * PAGE);
        ck_assert_int_eq(read_at(io, file, in, PAGES * PAGE, round * 16 * PAGE), PAGES * PAGE);
        ck_assert_mem_eq(in, out, PAGES * PAGE);
    }
    io_file_close(io, file);
    conformance_close(io);
    free(in);
    free(out);
}

TEST(several_commits_in_flight)
{
    enum { COUNT = 32, SIZE = 5000 };
    struct io *io = open_io();
    struct io_file *file = io_file_open(io, path_of("f"), IO_FILE_CREATE);
    static struct probe p[COUNT];
    static struct iovec iov[COUNT];
    static uint8_t out[COUNT][SIZE], in[SIZE];

    for (unsigned k = 0; k < COUNT; k++) {
        pattern_fill(out[k], SIZE, k, 0);
        iov[k] = (struct iovec){out[k], SIZE};
        probe_init(&p[k], io);
        io_commit(io, &p[k].op, file, &iov[k], 1, k * SIZE);
    }
    for (unsigned k = 0; k < COUNT; k++)
        ck_assert_uint_eq(p[k].calls, 0);
    for (unsigned k = 0; k < COUNT; k++)
        ck_assert_int_eq(probe_wait(&p[k]), SIZE);
    for (unsigned k = 0; k < COUNT; k++) {
        ck_assert_int_eq(read_at(io, file, in, SIZE, k * SIZE), SIZE);
        ck_assert(pattern_is(in, SIZE, k, 0));
        ck_assert_uint_eq(p[k].calls, 1);
    }
    io_file_close(io, file);
    conformance_close(io);
}

/* Big ones, two of each file in flight, in more files than may be open; what was written small and
 * not synced between them stays. */
TEST(big_commits_in_many_files)
{
    enum { FILES = 12, BYTES = 256 * 1024, ROUNDS = 4 };
    struct io_config config;
    struct io *io;
    struct io_file *files[FILES];
    static struct probe p[FILES][2];
    static struct iovec iov[FILES][2];
    uint8_t *out = malloc(2 * FILES * BYTES), *in = malloc(BYTES);
    char name[16];

    io_config_init(&config);
    config.files_open_max = 4;
    io = conformance_open(&config);
    for (unsigned k = 0; k < FILES; k++) {
        snprintf(name, sizeof(name), "f%u", k);
        files[k] = io_file_open(io, path_of(name), IO_FILE_CREATE);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned k = 0; k < 2 * FILES; k++) {
            struct probe *one = &p[k / 2][k % 2];
            iov[k / 2][k % 2] = (struct iovec){out + k * BYTES, BYTES};
            pattern_fill(out + k * BYTES, BYTES, round * 2 * FILES + k, 0);
            probe_init(one, io);
            io_commit(io, &one->op, files[k / 2], &iov[k / 2][k % 2], 1, (k % 2) * BYTES);
        }
        for (unsigned k = 0; k < 2 * FILES; k++)
            ck_assert_int_eq(probe_wait(&p[k / 2][k % 2]), BYTES);
        for (unsigned k = 0; k < 2 * FILES; k++) {
            ck_assert_int_eq(read_at(io, files[k / 2], in, BYTES, (k % 2) * BYTES), BYTES);
            ck_assert_mem_eq(in, out + k * BYTES, BYTES);
        }
    }
    for (unsigned k = 0; k < FILES; k++)
        io_file_close(io, files[k]);
    conformance_close(io);
    free(in);
    free(out);
}

TEST(write_then_sync)
{
    struct io *io = open_io();
    struct io_file *file = io_file_open(io, path_of("f"), IO_FILE_CREATE);
    struct iovec iov[2] = {{(void *) (uintptr_t) "abc", 3}, {(void *) (uintptr_t) "defg", 4}};
    struct probe p;
    char in[7];

    probe_init(&p, io);
    io_write(io, &p.op, file, iov, 2, 0);
    ck_assert_int_eq(probe_wait(&p), 7);
    probe_init(&p, io);
    io_sync(io, &p.op, file);
    ck_assert_int_eq(probe_wait(&p), 0);
    ck_assert_int_eq(read_at(io, file, in, 7, 0), 7);
    ck_assert_mem_eq(in, "abcdefg", 7);
    io_file_close(io, file);
    conformance_close(io);
}

TEST(create_refuses_what_exists)
{
    struct io *io = open_io();
    struct io_file *first = io_file_open(io, path_of("f"), IO_FILE_CREATE);
    struct io_file *second;

    ck_assert_int_eq(commit(io, first, "x", 1, 0), 1);
    second = io_file_open(io, path_of("f"), IO_FILE_CREATE);
    ck_assert_int_eq(commit(io, second, "y", 1, 0), -EEXIST);
    io_file_close(io, second);
    io_file_close(io, first);
    conformance_close(io);
}

TEST(bad_paths_and_modes_fail)
{
    struct io *io = open_io();
    struct io_file *missing = io_file_open(io, path_of("missing"), IO_FILE_WRITE);
    struct io_file *nowhere = io_file_open(io, path_of("no/such/dir"), IO_FILE_CREATE);
    struct io_file *made = io_file_open(io, path_of("made"), IO_FILE_CREATE);
    struct io_file *read_only = io_file_open(io, path_of("made"), IO_FILE_READ);
    char in[4];

    ck_assert_int_eq(read_at(io, missing, in, 4, 0), -ENOENT);
    ck_assert_int_eq(commit(io, missing, "x", 1, 0), -ENOENT);
    ck_assert_int_eq(commit(io, nowhere, "x", 1, 0), -ENOENT);
    ck_assert_int_eq(commit(io, made, "made", 4, 0), 4);
    ck_assert_int_eq(commit(io, read_only, "x", 1, 0), -EBADF);
    ck_assert_int_eq(read_at(io, read_only, in, 4, 0), 4);
    ck_assert_mem_eq(in, "made", 4);
    io_file_close(io, missing);
    io_file_close(io, nowhere);
    io_file_close(io, made);
    io_file_close(io, read_only);
    conformance_close(io);
}

/* More files than descriptors: contents survive their descriptors' closing and opening, also
 * unsynced ones. */
TEST(more_files_than_descriptors)
{
    enum { COUNT = 40 };
    struct io_config config;
    struct io *io;
    struct io_file *files[COUNT];
    struct probe p[COUNT];
    struct iovec iov[COUNT];
    char name[16], out[COUNT][16], in[16];

    io_config_init(&config);
    config.files_open_max = 4;
    io = conformance_open(&config);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned k = 0; k < COUNT; k++) {
            if (round == 0) {
                snprintf(name, sizeof(name), "f%u", k);
                files[k] = io_file_open(io, path_of(name), IO_FILE_CREATE);
            }
            snprintf(out[k], sizeof(out[k]), "file %u.%u", k, round);
            iov[k] = (struct iovec){out[k], sizeof(out[k])};
            probe_init(&p[k], io);
            if (k % 2 == 0)
                io_commit(io, &p[k].op, files[k], &iov[k], 1, 0);
            else
                io_write(io, &p[k].op, files[k], &iov[k], 1, 0);
        }
        for (unsigned k = 0; k < COUNT; k++)
            ck_assert_int_eq(probe_wait(&p[k]), sizeof(out[k]));
        for (unsigned k = 0; k < COUNT; k++) {
            ck_assert_int_eq(read_at(io, files[k], in, sizeof(in), 0), sizeof(in));
            ck_assert_mem_eq(in, out[k], sizeof(in));
        }
    }
    for (unsigned k = 0; k < COUNT; k++)
        io_file_close(io, files[k]);
    conformance_close(io);
}

/* Queued behind others, a commit may still be cancelled; running, it ends with its result. */
TEST(commits_can_be_cancelled)
{
    enum { COUNT = 64 };
    struct io *io = open_io();
    struct io_file *file = io_file_open(io, path_of("f"), IO_FILE_CREATE);
    struct probe p[COUNT];
    char bytes[COUNT], in[COUNT];
    struct iovec iov[COUNT];

    for (unsigned k = 0; k < COUNT; k++) {
        bytes[k] = (char) ('A' + k % 26);
        iov[k] = (struct iovec){&bytes[k], 1};
        probe_init(&p[k], io);
        io_commit(io, &p[k].op, file, &iov[k], 1, k);
    }
    for (unsigned k = 0; k < COUNT; k++)
        io_cancel(io, &p[k].op);
    for (unsigned k = 0; k < COUNT; k++) {
        int64_t res = probe_wait(&p[k]);
        ck_assert(res == 1 || res == -ECANCELED);
    }
    ck_assert_int_ge(commit(io, file, "!", 1, COUNT), 1);
    ck_assert_int_eq(read_at(io, file, in, COUNT, 0), COUNT);
    for (unsigned k = 0; k < COUNT; k++)
        if (p[k].res == 1)
            ck_assert_int_eq(in[k], bytes[k]);
    io_file_close(io, file);
    conformance_close(io);
}

/* ---- splice ---------------------------------------------------------------------------------- */

TEST(splices_a_range)
{
    enum { SIZE = 6 * 1024 * 1024, FROM = 777, LEN = SIZE - 1000 };
    struct io *io = open_io();
    struct io_file *file = io_file_open(io, path_of("f"), IO_FILE_CREATE);
    uint8_t *out = malloc(SIZE), *in = malloc(SIZE);
    struct pair pair;
    struct probe p;

    pattern_fill(out, SIZE, 9, 0);
    ck_assert_int_eq(commit(io, file, out, SIZE, 0), SIZE);
    pair_open(io, &pair);
    probe_init(&p, io);
    io_splice(io, &p.op, pair.server, file, FROM, LEN);
    ck_assert_int_eq(recv_bytes(io, pair.client, in, LEN), LEN);
    ck_assert_int_eq(probe_wait(&p), LEN);
    ck_assert(pattern_is(in, LEN, 9, FROM));
    /* And an ordinary send after it. */
    ck_assert_int_eq(send_bytes(io, pair.server, "tail", 4), 4);
    ck_assert_int_eq(recv_bytes(io, pair.client, in, 4), 4);
    ck_assert_mem_eq(in, "tail", 4);
    pair_close(io, &pair);
    io_file_close(io, file);
    conformance_close(io);
    free(out);
    free(in);
}

TEST(a_splice_past_the_end_fails)
{
    struct io *io = open_io();
    struct io_file *file = io_file_open(io, path_of("f"), IO_FILE_CREATE);
    struct pair pair;
    struct probe p;

    ck_assert_int_eq(commit(io, file, "short", 5, 0), 5);
    pair_open(io, &pair);
    probe_init(&p, io);
    io_splice(io, &p.op, pair.server, file, 0, 6);
    ck_assert_int_eq(probe_wait(&p), -EIO);
    pair_close(io, &pair);
    io_file_close(io, file);
    conformance_close(io);
}

TEST(closing_ends_a_splice)
{
    enum { SIZE = 64 * 1024 * 1024 };
    struct io *io = open_io();
    struct io_file *file = io_file_open(io, path_of("f"), IO_FILE_CREATE);
    struct pair pair;
    struct probe p, closed;

    ck_assert_int_eq(commit(io, file, "x", 1, SIZE - 1), 1); /* a hole and a byte */
    pair_open(io, &pair);
    probe_init(&p, io);
    probe_init(&closed, io);
    io_splice(io, &p.op, pair.server, file, 0, SIZE);
    for (int k = 0; k < i * 4; k++)
        io_poll(io, 1000000);
    io_sock_close(io, &closed.op, pair.server);
    ck_assert_int_eq(probe_wait(&closed), 0);
    ck_assert_uint_eq(p.calls, 1);
    ck_assert_int_eq(p.res, -ECANCELED);
    ck_assert_uint_lt(p.order, closed.order);
    pair.server = NULL;
    pair_close(io, &pair);
    io_file_close(io, file);
    conformance_close(io);
}

/* ---- work ------------------------------------------------------------------------------------ */

struct job {
    struct io_work work;
    unsigned ran;
    unsigned done;
    int64_t res;
    int rc;
};

static void job_run(struct io_work *work)
{
    struct job *j = CONTAINER_OF(work, struct job, work);

    j->ran++;
    ck_assert_ptr_nonnull(work->fs);
}

static void job_done(struct io_op *op)
{
    struct job *j = CONTAINER_OF(op, struct job, work.op);

    j->done++;
    j->res = op->res;
}

static void job_init(struct job *j, void (*run)(struct io_work *))
{
    memset(j, 0, sizeof(*j));
    io_op_init(&j->work.op, job_done);
    j->work.run = run;
}

TEST(work_runs_once)
{
    enum { COUNT = 100 };
    struct io *io = open_io();
    static struct job jobs[COUNT];

    for (int k = 0; k < COUNT; k++) {
        job_init(&jobs[k], job_run);
        io_work_submit(io, &jobs[k].work);
        ck_assert_uint_eq(jobs[k].done, 0);
    }
    for (int k = 0; k < COUNT; k++) {
        probe_wait_calls(io, &jobs[k].done, 1);
        ck_assert_uint_eq(jobs[k].ran, 1);
        ck_assert_int_eq(jobs[k].res, 0);
    }
    ck_assert_uint_eq(io_stats(io)->works, COUNT);
    conformance_close(io);
}

TEST(too_much_work_is_refused)
{
    enum { LIMIT = 4096 };
    struct io *io = open_io();
    struct job *jobs = calloc(LIMIT + 2, sizeof(*jobs));
    unsigned refused = 0;

    for (int k = 0; k < LIMIT + 2; k++) {
        job_init(&jobs[k], job_run);
        io_work_submit(io, &jobs[k].work);
    }
    for (int k = 0; k < LIMIT + 2; k++) {
        probe_wait_calls(io, &jobs[k].done, 1);
        if (jobs[k].res == -EAGAIN) {
            ck_assert_uint_eq(jobs[k].ran, 0);
            refused++;
        }
    }
    ck_assert_uint_eq(refused, 2);
    conformance_close(io);
    free(jobs);
}

/* ---- blocking calls -------------------------------------------------------------------------- */

TEST(blocking_files)
{
    struct io *io = open_io();
    struct io_fs *fs = io_fs(io);
    fs_fd fd = fs_open(fs, path_of("f"), IO_FILE_CREATE);
    char in[16];

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fs_open(fs, path_of("f"), IO_FILE_CREATE), -EEXIST);
    ck_assert_int_eq(fs_open(fs, path_of("g"), IO_FILE_READ), -ENOENT);
    ck_assert_int_eq(fs_write(fs, fd, "0123456789", 10, 0), 0);
    ck_assert_int_eq(fs_sync(fs, fd), 0);
    ck_assert_int_eq(fs_size(fs, fd), 10);
    ck_assert_int_eq(fs_read(fs, fd, in, 16, 4), 6);
    ck_assert_mem_eq(in, "456789", 6);
    ck_assert_int_eq(fs_truncate(fs, fd, 4), 0);
    ck_assert_int_eq(fs_size(fs, fd), 4);
    ck_assert_int_eq(fs_allocate(fs, fd, 100000), 0);
    ck_assert_int_eq(fs_size(fs, fd), 100000);
    ck_assert_int_eq(fs_read(fs, fd, in, 8, 0), 8);
    ck_assert_mem_eq(in, "0123\0\0\0", 8);
    fs_close(fs, fd);
    fd = fs_open(fs, path_of("f"), IO_FILE_READ);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fs_write(fs, fd, "x", 1, 0), -EBADF);
    fs_close(fs, fd);
    conformance_close(io);
}

struct names {
    char text[256];
    size_t used;
};

static void collect(void *ctx, const char *name)
{
    struct names *names = ctx;
    int n = snprintf(names->text + names->used, sizeof(names->text) - names->used, "%s ", name);

    ck_assert_uint_lt(names->used + (size_t) n, sizeof(names->text));
    names->used += (size_t) n;
}

TEST(blocking_directories)
{
    struct io *io = open_io();
    struct io_fs *fs = io_fs(io);
    struct names names = {0};

    ck_assert_int_eq(fs_mkdir(fs, path_of("dir")), 0);
    ck_assert_int_eq(fs_mkdir(fs, path_of("dir")), -EEXIST);
    ck_assert_int_eq(fs_mkdir(fs, path_of("no/dir")), -ENOENT);
    for (const char *const *name =
             (const char *const[]){"dir/b", "dir/B", "dir/a", "dir/10", "dir/9", NULL};
         *name != NULL; name++)
        fs_close(fs, fs_open(fs, path_of(*name), IO_FILE_CREATE));
    ck_assert_int_eq(fs_sync_dir(fs, path_of("dir")), 0);
    ck_assert_int_eq(fs_list(fs, path_of("dir"), collect, &names), 0);
    ck_assert_str_eq(names.text, "10 9 B a b ");
    ck_assert_int_eq(fs_rename(fs, path_of("dir/b"), path_of("dir/a")), 0);
    ck_assert_int_eq(fs_rename(fs, path_of("dir/b"), path_of("dir/c")), -ENOENT);
    ck_assert_int_eq(fs_rmdir(fs, path_of("dir")), -ENOTEMPTY);
    for (const char *const *name = (const char *const[]){"dir/B", "dir/a", "dir/10", "dir/9", NULL};
         *name != NULL; name++)
        ck_assert_int_eq(fs_unlink(fs, path_of(*name)), 0);
    ck_assert_int_eq(fs_unlink(fs, path_of("dir/9")), -ENOENT);
    ck_assert_int_eq(fs_rmdir(fs, path_of("dir")), 0);
    ck_assert_int_eq(fs_list(fs, path_of("dir"), collect, &names), -ENOENT);
    ck_assert_int_gt(fs_free_bytes(fs, conformance_dir()), 0);
    ck_assert_int_eq(fs_free_bytes(fs, path_of("dir")), -ENOENT);
    conformance_close(io);
}

TEST(locks_exclude)
{
    struct io *io = open_io();
    struct io_fs *fs = io_fs(io);
    fs_fd a = fs_open(fs, path_of("f"), IO_FILE_CREATE);
    fs_fd b = fs_open(fs, path_of("f"), IO_FILE_WRITE);

    ck_assert_int_eq(fs_lock(fs, a, 0), 0);
    ck_assert_int_eq(fs_lock(fs, b, 0), -EWOULDBLOCK);
    fs_close(fs, a);
    ck_assert_int_eq(fs_lock(fs, b, 0), 0);
    fs_close(fs, b);
    conformance_close(io);
}

TEST(replaces_a_file)
{
    struct io *io = open_io();
    struct io_fs *fs = io_fs(io);
    struct names names = {0};
    char in[16];
    fs_fd fd;

    for (int k = 0; k < 2; k++) {
        ck_assert_int_eq(fs_replace(fs, path_of("f"), k == 0 ? "old text" : "new", k == 0 ? 8 : 3),
                         0);
        fd = fs_open(fs, path_of("f"), IO_FILE_READ);
        ck_assert_int_eq(fs_read(fs, fd, in, sizeof(in), 0), k == 0 ? 8 : 3);
        ck_assert_mem_eq(in, k == 0 ? "old text" : "new", k == 0 ? 8 : 3);
        fs_close(fs, fd);
    }
    ck_assert_int_eq(fs_replace(fs, path_of("no/f"), "x", 1), -ENOENT);
    /* What a crash left under the temporary name is in nobody's way. */
    fs_close(fs, fs_open(fs, path_of("f.new"), IO_FILE_CREATE));
    ck_assert_int_eq(fs_replace(fs, path_of("f"), "newer", 5), 0);
    ck_assert_int_eq(fs_list(fs, conformance_dir(), collect, &names), 0);
    ck_assert_str_eq(names.text, "f ");
    conformance_close(io);
}

/* Also when it is smaller, or no larger, than the piece. */
TEST(shrinks_a_file)
{
    static const uint64_t sizes[][3] = {/* from, to, piece */
                                        {5, 2, 1},
                                        {5, 2, 2},
                                        {5, 2, 3},
                                        {5, 2, 100},
                                        {5, 5, 1}};
    struct io *io = open_io();
    struct io_fs *fs = io_fs(io);
    char in[16];

    fs_fd fd = fs_open(fs, path_of("f"), IO_FILE_WRITE | IO_FILE_CREATE);
    for (unsigned k = 0; k < ARRAY_LEN(sizes); k++) {
        ck_assert_int_eq(fs_write(fs, fd, "bytes", 5, 0), 0);
        ck_assert_int_eq(fs_shrink(fs, fd, sizes[k][0], sizes[k][1], sizes[k][2]), 0);
        ck_assert_int_eq(fs_size(fs, fd), (int64_t) sizes[k][1]);
        ck_assert_int_eq(fs_read(fs, fd, in, sizeof(in), 0), (int64_t) sizes[k][1]);
        ck_assert_mem_eq(in, "bytes", sizes[k][1]);
    }
    fs_close(fs, fd);
    conformance_close(io);
}

static void job_files(struct io_work *work)
{
    struct job *j = CONTAINER_OF(work, struct job, work);
    fs_fd fd = fs_open(work->fs, path_of("from-work"), IO_FILE_CREATE);

    j->rc = fd < 0 ? fd : fs_write(work->fs, fd, "work", 4, 0);
    if (fd >= 0)
        fs_close(work->fs, fd);
}

TEST(work_uses_files)
{
    struct io *io = open_io();
    struct io_file *file;
    struct job j;
    char in[8];

    job_init(&j, job_files);
    io_work_submit(io, &j.work);
    probe_wait_calls(io, &j.done, 1);
    ck_assert_int_eq(j.rc, 0);
    file = io_file_open(io, path_of("from-work"), IO_FILE_READ);
    ck_assert_int_eq(read_at(io, file, in, 8, 0), 4);
    ck_assert_mem_eq(in, "work", 4);
    io_file_close(io, file);
    conformance_close(io);
}

static const struct runner_case cases[] = {
    RUN(commits_and_reads_back),
    RUN(reads_once),
    RUN(reads_end_at_the_end),
    RUN(holes_read_as_zeros),
    RUN(commits_1024_vectors),
    RUN(commits_of_many_pages),
    RUN(commits_from_pages),
    RUN(several_commits_in_flight),
    RUN(big_commits_in_many_files),
    RUN(write_then_sync),
    RUN(create_refuses_what_exists),
    RUN(bad_paths_and_modes_fail),
    RUN(more_files_than_descriptors),
    RUN(commits_can_be_cancelled),
    RUN(splices_a_range),
    RUN(a_splice_past_the_end_fails),
    RUN_LOOP(closing_ends_a_splice, 0, 3),
    RUN(work_runs_once),
    RUN(too_much_work_is_refused),
    RUN(blocking_files),
    RUN(blocking_directories),
    RUN(locks_exclude),
    RUN(replaces_a_file),
    RUN(shrinks_a_file),
    RUN(work_uses_files),
};

const struct runner_case *conformance_file_cases(size_t *count)
{
    *count = sizeof(cases) / sizeof(cases[0]);
    return cases;
}
