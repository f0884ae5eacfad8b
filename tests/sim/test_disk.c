/*
 * test_disk.c - the simulated disk keeps exactly what its fault model promises, and loses the rest.
 */
#include "tests/lib/runner.h"
#include "tests/sim/sim_disk.h"

#include <errno.h>
#include <string.h>

#define CAPACITY (1u << 20)

static struct sim_inode *make(struct sim_disk *d, const char *path)
{
    struct sim_inode *ino;
    ck_assert_int_eq(sim_disk_create(d, path, &ino), 0);
    return ino;
}

static void put(struct sim_disk *d, struct sim_inode *ino, char c, size_t n, uint64_t offset)
{
    char bytes[16384];
    ck_assert_uint_le(n, sizeof(bytes));
    memset(bytes, c, n);
    ck_assert_int_eq(sim_disk_write(d, ino, bytes, n, offset), 0);
}

/* What peek says behind the end and for a file that is not there: no test writes these. */
#define END '\x7e'
#define NONE '\x7f'

/* The byte at an offset. */
static char peek(struct sim_disk *d, const char *path, uint64_t offset)
{
    struct sim_inode *ino;
    char c;
    if (sim_disk_lookup(d, path, &ino) < 0)
        return NONE;
    if (sim_disk_read(ino, &c, 1, offset) == 0)
        c = END;
    sim_disk_release(d, ino);
    return c;
}

static bool exists(struct sim_disk *d, const char *path)
{
    return peek(d, path, 0) != NONE;
}

static struct sim_disk *crash(const struct sim_disk *d, enum sim_crash mode, uint64_t seed)
{
    struct prng rng;
    prng_init(&rng, seed);
    struct sim_disk *left = sim_disk_crash(d, mode, &rng);
    sim_disk_check(left);
    sim_disk_check(d);
    return left;
}

TEST(reads_what_was_written)
{
    struct sim_disk *d = sim_disk_open(CAPACITY);
    struct sim_inode *ino = make(d, "f");
    char back[6000];
    put(d, ino, 'a', 5000, 100);
    put(d, ino, 'b', 10, 4090);
    ck_assert_uint_eq(sim_disk_size(ino), 5100);
    ck_assert_uint_eq(sim_disk_read(ino, back, sizeof(back), 0), 5100);
    ck_assert_int_eq(back[99], 0);
    ck_assert_int_eq(back[100], 'a');
    ck_assert_int_eq(back[4089], 'a');
    ck_assert_int_eq(back[4090], 'b');
    ck_assert_int_eq(back[4099], 'b');
    ck_assert_int_eq(back[4100], 'a');
    ck_assert_uint_eq(sim_disk_read(ino, back, 10, 5100), 0);
    sim_disk_truncate(d, ino, 200);
    sim_disk_truncate(d, ino, 300);
    ck_assert_uint_eq(sim_disk_read(ino, back, sizeof(back), 0), 300);
    ck_assert_int_eq(back[199], 'a');
    ck_assert_int_eq(back[200], 0);
    sim_disk_check(d);
    sim_disk_release(d, ino);
    sim_disk_close(d);
}

TEST(crash_loses_what_was_not_synced)
{
    struct sim_disk *d = sim_disk_open(CAPACITY);
    struct sim_inode *ino = make(d, "f");
    sim_disk_sync_dir(d, ".");
    put(d, ino, 'a', 4096, 0);
    sim_disk_harden(d, ino, sim_disk_mark(d));
    put(d, ino, 'b', 4096, 0);
    put(d, ino, 'c', 100, 4096);

    struct sim_disk *drop = crash(d, SIM_CRASH_DROP, 1);
    ck_assert_int_eq(peek(drop, "f", 0), 'a');
    ck_assert_int_eq(peek(drop, "f", 4096), END);
    struct sim_disk *keep = crash(d, SIM_CRASH_KEEP, 1);
    ck_assert_int_eq(peek(keep, "f", 0), 'b');
    ck_assert_int_eq(peek(keep, "f", 4096), 'c');
    /* The original does not notice, and the copies do not notice each other. */
    ck_assert_int_eq(peek(d, "f", 0), 'b');
    struct sim_inode *copy;
    ck_assert_int_eq(sim_disk_lookup(keep, "f", &copy), 0);
    put(keep, copy, 'z', 4096, 0);
    sim_disk_release(keep, copy);
    ck_assert_int_eq(peek(d, "f", 0), 'b');
    ck_assert_int_eq(peek(drop, "f", 0), 'a');
    sim_disk_close(drop);
    sim_disk_close(keep);
    sim_disk_release(d, ino);
    sim_disk_close(d);
}

/* A sync covers what came before its mark and nothing else. */
TEST(sync_has_a_mark)
{
    struct sim_disk *d = sim_disk_open(CAPACITY);
    struct sim_inode *ino = make(d, "f");
    sim_disk_sync_dir(d, "/");
    put(d, ino, 'a', 512, 0);
    uint64_t mark = sim_disk_mark(d);
    put(d, ino, 'b', 512, 512);
    sim_disk_harden(d, ino, mark);
    struct sim_disk *left = crash(d, SIM_CRASH_DROP, 1);
    ck_assert_int_eq(peek(left, "f", 0), 'a');
    ck_assert_int_eq(peek(left, "f", 512), END);
    sim_disk_close(left);
    sim_disk_release(d, ino);
    sim_disk_close(d);
}

/* Over many seeds every sector of two overlapping writes is seen old, first and second; never mixed
 * inside. */
TEST(subset_keeps_any_version_of_any_sector)
{
    struct sim_disk *d = sim_disk_open(CAPACITY);
    struct sim_inode *ino = make(d, "f");
    unsigned seen[4][3] = {{0}};
    unsigned reordered = 0;
    sim_disk_sync_dir(d, ".");
    put(d, ino, '0', 2048, 0);
    sim_disk_harden(d, ino, sim_disk_mark(d));
    put(d, ino, '1', 2048, 0);
    put(d, ino, '2', 2048, 0);
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct sim_disk *left = crash(d, SIM_CRASH_SUBSET, seed);
        char first = peek(left, "f", 0);
        for (unsigned s = 0; s < 4; s++) {
            char c = peek(left, "f", s * SIM_SECTOR);
            ck_assert(c >= '0' && c <= '2');
            seen[s][c - '0']++;
            for (unsigned b = 1; b < SIM_SECTOR; b += 73)
                ck_assert_int_eq(peek(left, "f", s * SIM_SECTOR + b), c);
            reordered += c > first;
        }
        sim_disk_close(left);
    }
    for (unsigned s = 0; s < 4; s++) {
        for (unsigned v = 0; v < 3; v++)
            ck_assert_uint_gt(seen[s][v], 5);
    }
    ck_assert_uint_gt(reordered, 5);
    sim_disk_release(d, ino);
    sim_disk_close(d);
}

/* A later sector is never there without the earlier ones. */
TEST(prefix_keeps_order)
{
    struct sim_disk *d = sim_disk_open(CAPACITY);
    struct sim_inode *a = make(d, "a");
    struct sim_inode *b = make(d, "b");
    unsigned torn = 0;
    sim_disk_sync_dir(d, ".");
    put(d, a, '1', 1024, 0);
    put(d, b, '2', 2048, 0);
    put(d, a, '3', 1024, 1024);
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim_disk *left = crash(d, SIM_CRASH_PREFIX, seed);
        bool first = peek(left, "a", 0) == '1';
        bool second = peek(left, "b", 0) == '2';
        bool third = peek(left, "a", 1024) == '3';
        ck_assert(!second || first);
        ck_assert(!third || (second && peek(left, "b", 1536) == '2'));
        torn += second && peek(left, "b", 1536) != '2';
        sim_disk_close(left);
    }
    ck_assert_uint_gt(torn, 5);
    sim_disk_release(d, a);
    sim_disk_release(d, b);
    sim_disk_close(d);
}

TEST(noise_only_where_it_was_writing)
{
    struct sim_disk *d = sim_disk_open(CAPACITY);
    struct sim_inode *ino = make(d, "f");
    unsigned noise = 0;
    sim_disk_sync_dir(d, ".");
    put(d, ino, '0', 4096, 0);
    sim_disk_harden(d, ino, sim_disk_mark(d));
    put(d, ino, '1', 1024, 1024);
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim_disk *left = crash(d, SIM_CRASH_GARBAGE, seed);
        for (unsigned b = 0; b < 4096; b += 97) {
            char c = peek(left, "f", b);
            if (b < 1024 || b >= 2048)
                ck_assert_int_eq(c, '0');
            else
                noise += c != '0' && c != '1';
        }
        sim_disk_close(left);
    }
    ck_assert_uint_gt(noise, 5);
    sim_disk_release(d, ino);
    sim_disk_close(d);
}

TEST(names_need_their_directory_synced)
{
    struct sim_disk *d = sim_disk_open(CAPACITY);
    ck_assert_int_eq(sim_disk_mkdir(d, "dir"), 0);
    sim_disk_release(d, make(d, "dir/a"));
    sim_disk_sync_dir(d, "dir");
    /* The directory itself is not durable in its parent. */
    struct sim_disk *left = crash(d, SIM_CRASH_DROP, 1);
    ck_assert(!exists(left, "dir/a"));
    sim_disk_close(left);
    sim_disk_sync_dir(d, ".");
    left = crash(d, SIM_CRASH_DROP, 1);
    ck_assert(exists(left, "dir/a"));
    sim_disk_close(left);

    ck_assert_int_eq(sim_disk_rename(d, "dir/a", "dir/b"), 0);
    left = crash(d, SIM_CRASH_DROP, 1);
    ck_assert(exists(left, "dir/a") && !exists(left, "dir/b"));
    sim_disk_close(left);
    sim_disk_sync_dir(d, "dir");
    ck_assert_int_eq(sim_disk_unlink(d, "dir/b"), 0);
    left = crash(d, SIM_CRASH_DROP, 1);
    ck_assert(exists(left, "dir/b") && !exists(left, "dir/a"));
    sim_disk_close(left);
    sim_disk_close(d);
}

/* In every mode a rename over a file leaves the old or the new one, and between directories exactly
 * one name. */
TEST(rename_is_atomic)
{
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim_disk *d = sim_disk_open(CAPACITY);
        sim_disk_mkdir(d, "x");
        sim_disk_mkdir(d, "y");
        struct sim_inode *old = make(d, "y/f");
        struct sim_inode *new = make(d, "x/g");
        put(d, old, 'o', 10, 0);
        put(d, new, 'n', 10, 0);
        sim_disk_harden(d, old, sim_disk_mark(d));
        sim_disk_harden(d, new, sim_disk_mark(d));
        sim_disk_sync_dir(d, ".");
        sim_disk_sync_dir(d, "x");
        sim_disk_sync_dir(d, "y");
        ck_assert_int_eq(sim_disk_rename(d, "x/g", "y/f"), 0);
        struct sim_disk *left = crash(d, (enum sim_crash)(seed % SIM_CRASH_MODES), seed);
        bool moved = peek(left, "y/f", 0) == 'n';
        ck_assert(moved || peek(left, "y/f", 0) == 'o');
        ck_assert_int_eq(exists(left, "x/g"), !moved);
        sim_disk_close(left);
        sim_disk_sync_dir(d, seed % 2 == 0 ? "x" : "y");
        left = crash(d, SIM_CRASH_DROP, seed);
        ck_assert_int_eq(peek(left, "y/f", 0), 'n');
        ck_assert(!exists(left, "x/g"));
        sim_disk_close(left);
        sim_disk_release(d, old);
        sim_disk_release(d, new);
        sim_disk_close(d);
    }
}

/* Changes of one directory survive in order: the third name never without the second. */
TEST(names_of_a_directory_keep_order)
{
    unsigned partial = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim_disk *d = sim_disk_open(CAPACITY);
        sim_disk_release(d, make(d, "1"));
        sim_disk_release(d, make(d, "2"));
        sim_disk_release(d, make(d, "3"));
        if (seed % 2 == 0) {
            struct prng rng;
            prng_init(&rng, seed);
            sim_disk_journal_tick(d, &rng);
        }
        struct sim_disk *left = crash(d, SIM_CRASH_SUBSET, seed);
        unsigned n = exists(left, "1") + exists(left, "2") + exists(left, "3");
        ck_assert(!exists(left, "2") || exists(left, "1"));
        ck_assert(!exists(left, "3") || exists(left, "2"));
        partial += n == 1 || n == 2;
        sim_disk_close(left);
        sim_disk_close(d);
    }
    ck_assert_uint_gt(partial, 10);
}

/* What a copy keeps of its names is the copy's luck: the disk goes on as if nobody had looked. */
TEST(a_crash_on_the_side_changes_no_name)
{
    struct sim_disk *d = sim_disk_open(CAPACITY);
    sim_disk_mkdir(d, "x");
    sim_disk_mkdir(d, "y");
    sim_disk_sync_dir(d, ".");
    sim_disk_release(d, make(d, "x/f"));
    sim_disk_release(d, make(d, "y/g"));
    struct sim_disk *left = crash(d, SIM_CRASH_KEEP, 1);
    ck_assert(exists(left, "x/f") && exists(left, "y/g"));
    sim_disk_close(left);
    sim_disk_sync_dir(d, "y");
    left = crash(d, SIM_CRASH_DROP, 1);
    ck_assert(!exists(left, "x/f") && exists(left, "y/g"));
    sim_disk_close(left);
    sim_disk_close(d);
}

TEST(errors_of_names)
{
    struct sim_disk *d = sim_disk_open(CAPACITY);
    struct sim_inode *ino;
    sim_disk_mkdir(d, "dir");
    sim_disk_release(d, make(d, "dir/f"));
    ck_assert_int_eq(sim_disk_create(d, "dir/f", &ino), -EEXIST);
    ck_assert_int_eq(sim_disk_create(d, "none/f", &ino), -ENOENT);
    ck_assert_int_eq(sim_disk_create(d, "dir/f/g", &ino), -ENOTDIR);
    ck_assert_int_eq(sim_disk_lookup(d, "dir", &ino), -EISDIR);
    ck_assert_int_eq(sim_disk_lookup(d, "dir/g", &ino), -ENOENT);
    ck_assert_int_eq(sim_disk_mkdir(d, "dir"), -EEXIST);
    ck_assert_int_eq(sim_disk_rmdir(d, "dir"), -ENOTEMPTY);
    ck_assert_int_eq(sim_disk_rmdir(d, "dir/f"), -ENOTDIR);
    ck_assert_int_eq(sim_disk_unlink(d, "dir"), -EISDIR);
    ck_assert_int_eq(sim_disk_unlink(d, "dir/g"), -ENOENT);
    ck_assert_int_eq(sim_disk_rename(d, "dir/g", "dir/h"), -ENOENT);
    ck_assert_int_eq(sim_disk_sync_dir(d, "dir/f"), -ENOTDIR);
    ck_assert_int_eq(sim_disk_unlink(d, "/dir//./f"), 0);
    ck_assert_int_eq(sim_disk_rmdir(d, "dir/"), 0);
    sim_disk_check(d);
    sim_disk_close(d);
}

TEST(space_is_counted)
{
    struct sim_disk *d = sim_disk_open(4 * SIM_PAGE);
    struct sim_inode *a = make(d, "a");
    struct sim_inode *b = make(d, "b");
    ck_assert_int_eq(sim_disk_allocate(d, a, 3 * SIM_PAGE), 0);
    ck_assert_uint_eq(sim_disk_free_bytes(d), SIM_PAGE);
    ck_assert_int_eq(sim_disk_allocate(d, b, 2 * SIM_PAGE), -ENOSPC);
    ck_assert_uint_eq(sim_disk_size(b), 0);
    put(d, a, 'x', 3 * SIM_PAGE, 0); /* is there already */
    put(d, b, 'y', 1, 0);
    ck_assert_int_eq(sim_disk_write(d, b, "z", 1, SIM_PAGE), -ENOSPC);
    ck_assert_uint_eq(sim_disk_free_bytes(d), 0);
    sim_disk_unlink(d, "a");
    ck_assert_uint_eq(sim_disk_free_bytes(d), 0); /* still open */
    sim_disk_release(d, a);
    ck_assert_uint_eq(sim_disk_free_bytes(d), 3 * SIM_PAGE);
    sim_disk_set_capacity(d, SIM_PAGE);
    ck_assert_uint_eq(sim_disk_free_bytes(d), 0);
    sim_disk_check(d);
    sim_disk_release(d, b);
    sim_disk_close(d);
}

/* What a failed sync dropped stays dropped, whatever later syncs claim. */
TEST(failed_sync_is_not_repaired_by_the_next)
{
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct sim_disk *d = sim_disk_open(CAPACITY);
        struct sim_inode *ino = make(d, "f");
        struct prng rng;
        prng_init(&rng, seed);
        sim_disk_sync_dir(d, ".");
        put(d, ino, 'a', 4096, 0);
        sim_disk_fail_sync(d, ino, sim_disk_mark(d), &rng);
        ck_assert_int_eq(peek(d, "f", 0), 'a');
        put(d, ino, 'b', 512, 4096);
        sim_disk_harden(d, ino, sim_disk_mark(d));
        struct sim_disk *left = crash(d, SIM_CRASH_KEEP, seed);
        ck_assert_int_eq(peek(left, "f", 4096), 'b');
        lost += peek(left, "f", 0) != 'a';
        sim_disk_close(left);
        sim_disk_release(d, ino);
        sim_disk_close(d);
    }
    ck_assert_uint_gt(lost, 10);
    ck_assert_uint_lt(lost, 90);
}

TEST(digest_sees_names_and_bytes)
{
    struct sim_disk *d = sim_disk_open(CAPACITY);
    struct sim_inode *ino = make(d, "f");
    put(d, ino, 'a', 100, 0);
    uint64_t one = sim_disk_digest(d, NULL);
    put(d, ino, 'b', 1, 50);
    uint64_t two = sim_disk_digest(d, NULL);
    ck_assert_uint_ne(one, two);
    sim_disk_rename(d, "f", "g");
    ck_assert_uint_ne(two, sim_disk_digest(d, NULL));
    sim_disk_rename(d, "g", "f");
    put(d, ino, 'a', 1, 50);
    ck_assert_uint_eq(one, sim_disk_digest(d, NULL));
    ck_assert_uint_eq(one, sim_disk_digest(d, "f"));
    ck_assert_uint_ne(one, sim_disk_digest(d, "g"));
    struct sim_disk *copy = sim_disk_clone(d);
    ck_assert_uint_eq(one, sim_disk_digest(copy, NULL));
    sim_disk_close(copy);
    sim_disk_release(d, ino);
    sim_disk_close(d);
}

/* Random writes and syncs of a few files against a plain array per file that says, per sector, what
 * a cut may show: the last synced version or any later one. */
#define SECTORS 24
#define VERSIONS 64

struct twin {
    uint8_t floor[SECTORS]; /* version that a sync covered */
    uint8_t top[SECTORS];   /* latest version */
};

static void twin_compare(struct sim_disk *left, const char *path, const struct twin *t)
{
    for (unsigned s = 0; s < SECTORS; s++) {
        char c = peek(left, path, s * SIM_SECTOR);
        uint8_t version = c == END ? 0 : (uint8_t) c;
        ck_assert_uint_ge(version, t->floor[s]);
        ck_assert_uint_le(version, t->top[s]);
    }
}

TEST(random_operations_keep_the_promise)
{
    static const char *const paths[] = {"a", "b", "c"};
    struct sim_disk *d = sim_disk_open(CAPACITY);
    struct sim_inode *inos[3];
    struct twin twins[3] = {{{0}, {0}}};
    struct prng rng;
    prng_init(&rng, (uint64_t) i);
    for (unsigned f = 0; f < 3; f++)
        inos[f] = make(d, paths[f]);
    sim_disk_sync_dir(d, ".");
    for (uint8_t version = 1; version < VERSIONS; version++) {
        unsigned f = (unsigned) prng_below(&rng, 3);
        unsigned from = (unsigned) prng_below(&rng, SECTORS);
        unsigned n = 1 + (unsigned) prng_below(&rng, SECTORS - from);
        put(d, inos[f], (char) version, n * SIM_SECTOR, from * SIM_SECTOR);
        memset(twins[f].top + from, version, n);
        if (prng_below(&rng, 4) == 0) {
            sim_disk_harden(d, inos[f], sim_disk_mark(d));
            memcpy(twins[f].floor, twins[f].top, SECTORS);
        }
        struct sim_disk *left = crash(d, (enum sim_crash) prng_below(&rng, SIM_CRASH_GARBAGE),
                                      version);
        for (f = 0; f < 3; f++)
            twin_compare(left, paths[f], &twins[f]);
        sim_disk_close(left);
    }
    for (unsigned f = 0; f < 3; f++)
        sim_disk_release(d, inos[f]);
    sim_disk_close(d);
}

static const struct runner_case cases[] = {
    RUN(reads_what_was_written),
    RUN(crash_loses_what_was_not_synced),
    RUN(sync_has_a_mark),
    RUN(subset_keeps_any_version_of_any_sector),
    RUN(prefix_keeps_order),
    RUN(noise_only_where_it_was_writing),
    RUN(names_need_their_directory_synced),
    RUN(rename_is_atomic),
    RUN(names_of_a_directory_keep_order),
    RUN(a_crash_on_the_side_changes_no_name),
    RUN(errors_of_names),
    RUN(space_is_counted),
    RUN(failed_sync_is_not_repaired_by_the_next),
    RUN(digest_sees_names_and_bytes),
    RUN_LOOP(random_operations_keep_the_promise, 0, 20),
};

RUNNER_MAIN("sim/disk", cases)
