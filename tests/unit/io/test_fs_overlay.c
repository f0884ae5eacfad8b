/* test_fs_overlay.c - a random history on an overlay, and the same on files that really change:
 * both look the same at each step, and what lies under the overlay stays as it was. */
#include "lib/base/buf.h"
#include "lib/base/prng.h"
#include "lib/io/fs_overlay.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { DIRS = 3, FILES = 4, LARGE = 20000 };

struct pair {
    struct fs_overlay *overlay;
    struct io_fs *a, *b; /* the overlay, the real one */
    struct prng rng;
};

static void pick(struct pair *p, char out[32])
{
    snprintf(out, 32, "d%u/f%u", (unsigned) prng_below(&p->rng, DIRS),
             (unsigned) prng_below(&p->rng, FILES));
}

static void put_file(struct io_fs *fs, const char *path, unsigned n)
{
    char bytes[LARGE];
    fs_fd fd = fs_open(fs, path, IO_FILE_WRITE | IO_FILE_CREATE);

    ck_assert_int_ge(fd, 0);
    for (unsigned i = 0; i < n; i++)
        bytes[i] = (char) (i * 7 + n);
    ck_assert_int_eq(fs_write(fs, fd, bytes, n, 0), 0);
    fs_close(fs, fd);
}

static void populate(struct io_fs *fs)
{
    char path[32];

    for (unsigned d = 0; d < DIRS; d++) {
        snprintf(path, sizeof(path), "d%u", d);
        ck_assert_int_eq(fs_mkdir(fs, path), 0);
        for (unsigned f = 0; f < FILES; f += 2) {
            snprintf(path, sizeof(path), "d%u/f%u", d, f);
            put_file(fs, path, 3000 * (d + f + 1));
        }
    }
}

static void put_name(void *ctx, const char *name)
{
    buf_printf(ctx, "%s ", name);
}

/* Everything that can be seen, as text and bytes. */
static void describe(struct io_fs *fs, struct buf *out)
{
    char path[32], bytes[LARGE * 2];

    buf_clear(out);
    for (unsigned d = 0; d < DIRS; d++) {
        snprintf(path, sizeof(path), "d%u", d);
        buf_printf(out, "%s: %d ", path, fs_list(fs, path, put_name, out));
        for (unsigned f = 0; f < FILES; f++) {
            snprintf(path, sizeof(path), "d%u/f%u", d, f);
            fs_fd fd = fs_open(fs, path, IO_FILE_READ);
            if (fd < 0) {
                buf_printf(out, "%s: %d ", path, fd);
                continue;
            }
            int64_t n = fs_read(fs, fd, bytes, sizeof(bytes), 0);
            ck_assert_int_eq(n, fs_size(fs, fd));
            buf_put(out, bytes, (size_t) n);
            fs_close(fs, fd);
        }
    }
}

static int change(struct io_fs *fs, unsigned what, const char *x, const char *y, uint64_t at,
                  uint64_t n)
{
    char bytes[5000];
    int res = 0;

    if (what == 0)
        return fs_unlink(fs, x);
    if (what == 1)
        return strcmp(x, y) == 0 ? 0 : fs_rename(fs, x, y);
    fs_fd fd = fs_open(fs, x, what == 2 ? IO_FILE_WRITE | IO_FILE_CREATE : IO_FILE_WRITE);
    if (fd < 0)
        return fd;
    memset(bytes, (int) (at % 200 + 1), sizeof(bytes));
    if (what == 3)
        res = fs_truncate(fs, fd, at);
    else if (what == 4)
        res = fs_allocate(fs, fd, at);
    else
        res = fs_write(fs, fd, bytes, (size_t) n, at);
    fs_close(fs, fd);
    return res;
}

static void one_step(struct pair *p)
{
    unsigned what = (unsigned) prng_below(&p->rng, 8);
    uint64_t at = prng_below(&p->rng, LARGE - 5000), n = 1 + prng_below(&p->rng, 4999);
    char x[32], y[32];

    pick(p, x);
    pick(p, y);
    if (prng_below(&p->rng, 20) == 0) { /* two directories change places */
        static const char *const names[][2] = {{"d0", "aside"}, {"d1", "d0"}, {"aside", "d1"}};
        for (unsigned k = 0; k < 3; k++) {
            ck_assert_int_eq(fs_rename(p->a, names[k][0], names[k][1]), 0);
            ck_assert_int_eq(fs_rename(p->b, names[k][0], names[k][1]), 0);
        }
        return;
    }
    ck_assert_int_eq(change(p->a, what, x, y, at, n), change(p->b, what, x, y, at, n));
}

static void count_change(void *ctx, enum fs_change change, const char *path, const char *from)
{
    (void) change;
    (void) path;
    (void) from;
    ++*(unsigned *) ctx;
}

TEST(like_real_files)
{
    struct sim *below = sim_open(1, NULL), *real = sim_open(1, NULL);
    struct pair p = {.b = sim_fs(real)};
    struct buf before = {0}, a = {0}, b = {0}, after = {0};
    unsigned changes = 0;

    prng_init(&p.rng, (uint64_t) i + 1);
    populate(sim_fs(below));
    populate(p.b);
    describe(sim_fs(below), &before);
    p.overlay = fs_overlay_open(sim_fs(below));
    p.a = fs_overlay_door(p.overlay);
    fs_overlay_changes(p.overlay, count_change, &changes);
    ck_assert_uint_eq(changes, 0);
    for (unsigned k = 0; k < 200; k++) {
        one_step(&p);
        describe(p.a, &a);
        describe(p.b, &b);
        ck_assert(str_eq(buf_str(&a), buf_str(&b)));
    }
    fs_overlay_changes(p.overlay, count_change, &changes);
    ck_assert_uint_gt(changes, 0);
    describe(sim_fs(below), &after);
    ck_assert(str_eq(buf_str(&before), buf_str(&after)));
    fs_overlay_close(p.overlay);
    buf_free(&before);
    buf_free(&after);
    buf_free(&a);
    buf_free(&b);
    sim_close(below);
    sim_close(real);
}

static const struct runner_case cases[] = {
    RUN_LOOP(like_real_files, 0, 20),
};

RUNNER_MAIN("io/fs_overlay", cases)
