/* test_jwt_dir.c - the directory of tokens: what a start finds, limits, expiry, deleting, the hash.
 */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/jwt_dir.h"
#include "tests/lib/runner.h"
#include "tests/lib/token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND 1000000000ll

struct rig {
    struct io *io;
    char path[64];
    struct jwt_dir *dir;
    struct jwt_dir_options options;
    struct signer op, account[4];
};

static void open_dir(struct rig *r, int64_t now)
{
    char why[256] = "";

    r->dir = jwt_dir_open(&r->options, now, why);
    ck_assert_msg(r->dir != NULL, "%s", why);
}

static void rig_open(struct rig *r, bool cache, int64_t limit, int64_t ttl_ns)
{
    struct io_config config;
    char temp[] = "/tmp/midge-jwt-XXXXXX";

    memset(r, 0, sizeof(*r));
    io_config_init(&config);
    config.backend = IO_BACKEND_EVENT;
    ck_assert_int_eq(io_open(&config, &r->io), 0);
    ck_assert(mkdtemp(temp) != NULL);
    snprintf(r->path, sizeof(r->path), "%s/a/b", temp);
    signer_make(&r->op, NKEY_OPERATOR, 1);
    for (unsigned i = 0; i < ARRAY_LEN(r->account); i++)
        signer_make(&r->account[i], NKEY_ACCOUNT, i + 1);
    r->options = (struct jwt_dir_options){
        .fs = io_fs(r->io), .path = r->path, .cache = cache, .limit = limit, .ttl_ns = ttl_ns};
    open_dir(r, SECOND);
}

static void remove_one(void *ctx, const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", (const char *) ctx, name);
    unlink(path);
}

static void rig_close(struct rig *r)
{
    jwt_dir_close(r->dir);
    fs_list(io_fs(r->io), r->path, remove_one, r->path);
    for (int i = 0; i < 3; i++) {
        rmdir(r->path);
        *strrchr(r->path, '/') = '\0';
    }
    io_close(r->io);
}

/* Of an account, number i, that expires then (0 = never). */
static char *token(const struct rig *r, unsigned i, const char *name, int64_t expires)
{
    return token_make_at(&r->op, JWT_ACCOUNT, r->account[i].key, name, "", 1, expires);
}

static enum jwt_dir_saved save(struct rig *r, unsigned i, const char *name, int64_t expires,
                               int64_t now)
{
    char *t = token(r, i, name, expires);
    struct buf err = {0};
    enum jwt_dir_saved saved = jwt_dir_save(r->dir, r->account[i].key, str_of(t), now, &err);

    ck_assert((saved == JWT_DIR_FAILED) == (err.n > 0));
    buf_free(&err);
    mem_free(t);
    return saved;
}

static bool has(struct rig *r, unsigned i, int64_t now)
{
    struct buf b = {0};
    bool there = jwt_dir_load(r->dir, r->account[i].key, now, &b);

    ck_assert(there == (b.n > 0));
    buf_free(&b);
    return there;
}

static void count(void *ctx, const char *key, struct str t)
{
    (void) key;
    (void) t;
    ++*(unsigned *) ctx;
}

static unsigned listed(struct rig *r, int64_t now)
{
    unsigned n = 0;

    jwt_dir_each(r->dir, now, count, &n);
    return n;
}

TEST(what_is_saved_is_there_after_a_start)
{
    struct rig r;
    uint8_t before[JWT_DIR_HASH], after[JWT_DIR_HASH], other[JWT_DIR_HASH];

    rig_open(&r, false, 0, 0);
    ck_assert_int_eq(save(&r, 0, "a", 0, SECOND), JWT_DIR_SAVED);
    ck_assert_int_eq(save(&r, 0, "a", 0, SECOND), JWT_DIR_SAME);
    ck_assert_int_eq(save(&r, 1, "b", 0, SECOND), JWT_DIR_SAVED);
    ck_assert_int_eq(save(&r, 0, "c", 0, SECOND), JWT_DIR_SAVED);
    jwt_dir_hash(r.dir, before);
    jwt_dir_close(r.dir);
    open_dir(&r, SECOND);
    jwt_dir_hash(r.dir, after);
    ck_assert_int_eq(memcmp(before, after, sizeof(before)), 0);
    ck_assert_uint_eq(listed(&r, SECOND), 2);
    ck_assert(has(&r, 0, SECOND) && has(&r, 1, SECOND) && !has(&r, 2, SECOND));
    save(&r, 0, "d", 0, SECOND);
    jwt_dir_hash(r.dir, other);
    ck_assert_int_ne(memcmp(before, other, sizeof(before)), 0);
    save(&r, 0, "c", 0, SECOND);
    jwt_dir_hash(r.dir, other);
    ck_assert_int_eq(memcmp(before, other, sizeof(before)), 0);
    rig_close(&r);
}

TEST(keys_that_are_none_are_refused)
{
    struct rig r;
    struct buf err = {0};

    rig_open(&r, false, 0, 0);
    ck_assert_int_eq(jwt_dir_save(r.dir, "../../etc/x", STR("t"), 1, &err), JWT_DIR_FAILED);
    ck_assert_str_eq(buf_cstr(&err), "invalid public key");
    ck_assert(!jwt_dir_load(r.dir, "../x", 1, &err));
    buf_free(&err);
    rig_close(&r);
}

TEST(a_full_directory_refuses_and_a_cache_makes_room)
{
    struct rig r;

    rig_open(&r, false, 2, 0);
    save(&r, 0, "a", 0, 1);
    save(&r, 1, "b", 0, 1);
    ck_assert_int_eq(save(&r, 2, "c", 0, 1), JWT_DIR_FAILED);
    ck_assert_int_eq(save(&r, 1, "other", 0, 1), JWT_DIR_SAVED);
    rig_close(&r);
    rig_open(&r, true, 2, 0);
    save(&r, 0, "a", 0, 1);
    save(&r, 1, "b", 0, 1);
    ck_assert(has(&r, 0, 1)); /* used later than the other */
    ck_assert_int_eq(save(&r, 2, "c", 0, 1), JWT_DIR_SAVED);
    ck_assert(has(&r, 0, 1) && !has(&r, 1, 1) && has(&r, 2, 1));
    rig_close(&r);
}

TEST(tokens_expire)
{
    struct rig r;

    rig_open(&r, false, 0, 0);
    save(&r, 0, "a", 10, SECOND);
    save(&r, 1, "b", 0, SECOND);
    jwt_dir_expire(r.dir, 9 * SECOND);
    ck_assert_uint_eq(listed(&r, 9 * SECOND), 2);
    ck_assert_uint_eq(listed(&r, 11 * SECOND), 1);
    jwt_dir_expire(r.dir, 11 * SECOND);
    ck_assert(!has(&r, 0, 1) && has(&r, 1, 1));
    rig_close(&r);
    /* In a cache with a time, what is not used goes, whatever its claims say. */
    rig_open(&r, true, 0, 5 * SECOND);
    save(&r, 0, "a", 0, SECOND);
    save(&r, 1, "b", 0, SECOND);
    ck_assert(has(&r, 1, 4 * SECOND));
    jwt_dir_expire(r.dir, 7 * SECOND);
    ck_assert(!has(&r, 0, 1) && has(&r, 1, 7 * SECOND));
    rig_close(&r);
}

TEST(deleting)
{
    struct rig r;
    struct buf err = {0};
    bool was;
    char path[200];

    rig_open(&r, false, 0, 0);
    jwt_dir_close(r.dir);
    r.options.soft_delete = true;
    open_dir(&r, 1);
    save(&r, 0, "a", 0, 1);
    ck_assert(jwt_dir_delete(r.dir, r.account[0].key, &was, &err) && was);
    ck_assert(!has(&r, 0, 1));
    snprintf(path, sizeof(path), "%s/%s.jwt.deleted", r.path, r.account[0].key);
    ck_assert_int_eq(access(path, F_OK), 0);
    ck_assert(jwt_dir_delete(r.dir, r.account[0].key, &was, &err) && !was);
    jwt_dir_close(r.dir);
    open_dir(&r, 1);
    ck_assert_uint_eq(listed(&r, 1), 0);
    ck_assert_uint_eq(err.n, 0);
    rig_close(&r);
}

static void note(void *ctx, const char *key)
{
    (void) key;
    ++*(unsigned *) ctx;
}

TEST(reloads_tell_what_changed)
{
    struct rig r, other;
    unsigned n = 0;

    rig_open(&r, false, 0, 0);
    save(&r, 0, "a", 0, 1);
    save(&r, 1, "b", 0, 1);
    other = r; /* somebody else writes */
    open_dir(&other, 1);
    save(&other, 1, "new", 0, 1);
    save(&other, 2, "c", 0, 1);
    jwt_dir_close(other.dir);
    jwt_dir_reload(r.dir, 1, note, &n);
    ck_assert_uint_eq(n, 2);
    ck_assert_uint_eq(listed(&r, 1), 3);
    rig_close(&r);
}

static const struct runner_case cases[] = {
    RUN(what_is_saved_is_there_after_a_start),
    RUN(keys_that_are_none_are_refused),
    RUN(a_full_directory_refuses_and_a_cache_makes_room),
    RUN(tokens_expire),
    RUN(deleting),
    RUN(reloads_tell_what_changed),
};

RUNNER_MAIN("server/jwt_dir", cases)
