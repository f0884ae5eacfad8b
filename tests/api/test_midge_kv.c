/* test_midge_kv.c - key-value buckets of libmidge over the real server. */
#include "client/midge_kv.h"
#include "tests/api/midge_rig.h"

#include <stdio.h>
#include <string.h>

static struct midge_text text(const char *s)
{
    return midge_text_of(s);
}

struct seen {
    unsigned n, initial, initial_at;
    char all[4000];
};

static void see(void *ctx, const struct midge_kv_entry *e)
{
    static const char marks[] = "=-!";
    struct seen *k = ctx;
    size_t n = strlen(k->all);

    k->n++;
    ck_assert_uint_gt(e->revision, 0);
    ck_assert_int_gt(e->time_ns, 0);
    snprintf(k->all + n, sizeof(k->all) - n, "%.*s%c%.*s ", (int) e->key.n, e->key.p,
             marks[e->operation], (int) e->value.n, e->value.p);
}

static void initial(void *ctx)
{
    struct seen *k = ctx;

    k->initial++;
    k->initial_at = k->n;
}

static void see_name(void *ctx, const char *name)
{
    struct seen *k = ctx;
    size_t n = strlen(k->all);

    k->n++;
    snprintf(k->all + n, sizeof(k->all) - n, "%s ", name);
}

static struct midge_kv *bucket(struct midge *m, const struct midge_kv_config *config)
{
    int rc = MIDGE_OK;
    struct midge_kv *kv = midge_kv_create(m, config, &rc);

    ck_assert_msg(kv != NULL, "%d %s", rc, midge_error(m));
    return kv;
}

static void put(struct midge *m, struct midge_kv *kv, const char *key, const char *value)
{
    OK(m, midge_kv_put(kv, key, text(value), NULL));
}

/* ---- values ---------------------------------------------------------------------------------- */

TEST(values)
{
    struct midge_rig r;
    struct midge_kv *kv;
    struct seen k = {0};
    uint64_t rev = 0, first = 0;

    midge_rig_start(&r, i);
    kv = bucket(r.m, &(struct midge_kv_config){.bucket = "cfg", .history = 5});
    OK(r.m, midge_kv_put(kv, "a.b", text("one"), &first));
    OK(r.m, midge_kv_get(kv, "a.b", see, &k));
    FAILS(r.m, MIDGE_CONFLICT, midge_kv_add(kv, "a.b", text("x"), 0, NULL));
    FAILS(r.m, MIDGE_CONFLICT, midge_kv_update(kv, "a.b", text("x"), first + 7, NULL));
    OK(r.m, midge_kv_update(kv, "a.b", text("two"), first, &rev));
    ck_assert_uint_eq(rev, first + 1);
    OK(r.m, midge_kv_get(kv, "a.b", see, &k));
    OK(r.m, midge_kv_get_revision(kv, "a.b", first, see, &k));
    ck_assert_str_eq(k.all, "a.b=one a.b=two a.b=one ");
    FAILS(r.m, MIDGE_NOT_FOUND, midge_kv_get(kv, "nothing", see, &k));
    FAILS(r.m, MIDGE_NOT_FOUND, midge_kv_get_revision(kv, "other", first, see, &k));
    FAILS(r.m, MIDGE_CONFLICT, midge_kv_delete(kv, "a.b", first));
    OK(r.m, midge_kv_delete(kv, "a.b", 0));
    FAILS(r.m, MIDGE_NOT_FOUND, midge_kv_get(kv, "a.b", see, &k));
    ck_assert_str_eq(midge_error(r.m), "key deleted");
    OK(r.m, midge_kv_add(kv, "a.b", text("three"), 0, NULL));
    k = (struct seen){0};
    OK(r.m, midge_kv_history(kv, "a.b", see, &k));
    ck_assert_str_eq(k.all, "a.b=one a.b=two a.b- a.b=three ");
    OK(r.m, midge_kv_purge(kv, "a.b", 0, 0));
    k = (struct seen){0};
    OK(r.m, midge_kv_history(kv, "a.b", see, &k));
    ck_assert_str_eq(k.all, "a.b! ");
    FAILS(r.m, MIDGE_NOT_FOUND, midge_kv_history(kv, "never", see, &k));
    midge_kv_close(kv);
    midge_rig_end(&r);
}

TEST(buckets)
{
    struct midge_rig r;
    struct midge_kv *kv, *again;
    struct midge_kv_status status;
    struct seen k = {0};
    int rc = MIDGE_OK;

    midge_rig_start(&r, i);
    kv = bucket(r.m, &(struct midge_kv_config){
                         .bucket = "one", .history = 3, .ttl = 60000000000, .max_bytes = 100000});
    midge_kv_close(bucket(
        r.m, &(struct midge_kv_config){.bucket = "two", .storage = MIDGE_MEMORY, .max_value = 4}));
    ck_assert_ptr_null(
        midge_kv_create(r.m, &(struct midge_kv_config){.bucket = "one", .history = 4}, &rc));
    ck_assert_int_eq(rc, MIDGE_REFUSED);
    ck_assert_ptr_null(midge_kv_create(r.m, &(struct midge_kv_config){.bucket = "a b"}, &rc));
    ck_assert_int_eq(rc, MIDGE_INVALID);
    ck_assert_ptr_null(
        midge_kv_create(r.m, &(struct midge_kv_config){.bucket = "x", .history = 65}, &rc));
    ck_assert_int_eq(rc, MIDGE_INVALID);
    ck_assert_ptr_null(midge_kv_open(r.m, "three", &rc));
    ck_assert_int_eq(rc, MIDGE_NOT_FOUND);
    again = midge_kv_open(r.m, "one", &rc);
    ck_assert_ptr_nonnull(again);
    put(r.m, again, "k", "v");
    OK(r.m, midge_kv_status(kv, &status));
    ck_assert_uint_eq(status.values, 1);
    ck_assert_int_eq(status.history, 3);
    ck_assert_int_eq(status.ttl, 60000000000);
    ck_assert_int_eq(status.max_bytes, 100000);
    midge_kv_close(again);
    again = midge_kv_open(r.m, "two", &rc);
    FAILS(r.m, MIDGE_REFUSED, midge_kv_put(again, "k", text("12345"), NULL));
    midge_kv_close(again);
    OK(r.m, midge_kv_reconfigure(
                r.m, &(struct midge_kv_config){.bucket = "one", .history = 4, .ttl = 60000000000}));
    OK(r.m, midge_kv_status(kv, &status));
    ck_assert_int_eq(status.history, 4);
    OK(r.m, midge_kv_buckets(r.m, see_name, &k));
    ck_assert_uint_eq(k.n, 2);
    OK(r.m, midge_kv_destroy(r.m, "one"));
    FAILS(r.m, MIDGE_NOT_FOUND, midge_kv_status(kv, &status));
    midge_kv_close(kv);
    midge_rig_end(&r);
}

static const char *const bad_keys[] = {"",    ".", ".a",  "a.",    "a..b", "a b", "a*",
                                       "a.*", ">", "a\t", "a\r\n", "ä",    "a$b"};
static const char *const bad_patterns[] = {"", "a.", ".>", "a>", "a.>.b", "a b", "a..*"};

TEST(bad_keys_never_leave_the_program)
{
    struct midge_rig r;
    struct midge_kv *kv;
    struct seen k = {0};

    midge_rig_start(&r, 0);
    kv = bucket(r.m, &(struct midge_kv_config){.bucket = "b"});
    for (size_t n = 0; n < sizeof(bad_keys) / sizeof(bad_keys[0]); n++) {
        FAILS(r.m, MIDGE_INVALID, midge_kv_put(kv, bad_keys[n], text("x"), NULL));
        FAILS(r.m, MIDGE_INVALID, midge_kv_get(kv, bad_keys[n], see, &k));
        FAILS(r.m, MIDGE_INVALID, midge_kv_history(kv, bad_keys[n], see, &k));
    }
    for (size_t n = 0; n < sizeof(bad_patterns) / sizeof(bad_patterns[0]); n++)
        ck_assert_ptr_null(
            midge_kv_watch(kv, (struct midge_texts){&bad_patterns[n], 1}, NULL, see, NULL, &k));
    put(r.m, kv, "-/_=.A9", "fine");
    midge_kv_close(kv);
    midge_rig_end(&r);
}

/* ---- many ------------------------------------------------------------------------------------ */

static void watch_is(struct midge *m, struct midge_kv *kv, const struct midge_watch_options *o,
                     const char *pattern, const char *want)
{
    struct seen k = {0};
    struct midge_watch *w = midge_kv_watch(kv, (struct midge_texts){&pattern, 1}, o, see, initial,
                                           &k);

    ck_assert_ptr_nonnull(w);
    midge_rig_until(m, &k.initial, 1);
    ck_assert_str_eq(k.all, want);
    midge_watch_close(w);
}

TEST(watches)
{
    struct midge_rig r;
    struct midge_kv *kv;
    struct seen k = {0}, later = {0}, keys = {0};
    struct midge_watch *w, *updates;

    midge_rig_start(&r, i);
    kv = bucket(r.m, &(struct midge_kv_config){.bucket = "b", .history = 10});
    watch_is(r.m, kv, NULL, ">", "");
    put(r.m, kv, "a.1", "x");
    put(r.m, kv, "a.2", "y");
    put(r.m, kv, "a.1", "z");
    put(r.m, kv, "b", "w");
    OK(r.m, midge_kv_delete(kv, "a.2", 0));
    watch_is(r.m, kv, NULL, ">", "a.1=z b=w a.2- ");
    watch_is(r.m, kv, NULL, "a.*", "a.1=z a.2- ");
    watch_is(r.m, kv, &(struct midge_watch_options){.ignore_deletes = true}, "a.>", "a.1=z ");
    watch_is(r.m, kv, &(struct midge_watch_options){.ignore_deletes = true}, "a.2", "");
    watch_is(r.m, kv, &(struct midge_watch_options){.history = true}, "a.>",
             "a.1=x a.2=y a.1=z a.2- ");
    watch_is(r.m, kv, &(struct midge_watch_options){.meta_only = true}, "b", "b= ");
    watch_is(r.m, kv, &(struct midge_watch_options){.from = 4}, ">", "b=w a.2- ");
    w = midge_kv_watch(kv, (struct midge_texts) MIDGE_TEXTS("a.1", "b"), NULL, see, initial, &k);
    updates = midge_kv_watch(kv, (struct midge_texts){NULL, 0},
                             &(struct midge_watch_options){.updates_only = true}, see, initial,
                             &later);
    midge_rig_until(r.m, &k.initial, 1);
    midge_rig_until(r.m, &later.initial, 1);
    put(r.m, kv, "a.9", "no");
    put(r.m, kv, "b", "yes");
    midge_rig_until(r.m, &k.n, 3);
    midge_rig_until(r.m, &later.n, 2);
    ck_assert_str_eq(k.all, "a.1=z b=w b=yes ");
    ck_assert_str_eq(later.all, "a.9=no b=yes ");
    ck_assert_uint_eq(k.initial_at, 2);
    ck_assert_uint_eq(later.initial_at, 0);
    midge_watch_close(w);
    midge_watch_close(updates);
    OK(r.m, midge_kv_keys(kv, (struct midge_texts){NULL, 0}, see_name, &keys));
    ck_assert_str_eq(keys.all, "a.1 a.9 b ");
    midge_kv_close(kv);
    midge_rig_end(&r);
}

TEST(old_markers_go)
{
    struct midge_rig r;
    struct midge_kv *kv;
    struct midge_kv_status status;

    midge_rig_start(&r, i);
    kv = bucket(r.m, &(struct midge_kv_config){.bucket = "b", .history = 10});
    put(r.m, kv, "a", "1");
    put(r.m, kv, "b", "2");
    put(r.m, kv, "b", "3");
    OK(r.m, midge_kv_delete(kv, "b", 0));
    OK(r.m, midge_kv_purge_deletes(kv, 3600000000000));
    OK(r.m, midge_kv_status(kv, &status));
    ck_assert_uint_eq(status.values, 2); /* a's value and the fresh marker */
    OK(r.m, midge_kv_purge_deletes(kv, -1000000000));
    OK(r.m, midge_kv_status(kv, &status));
    ck_assert_uint_eq(status.values, 1);
    midge_kv_close(kv);
    midge_rig_end(&r);
}

/* A key with a TTL ends, and a watch hears of it by the server's marker. */
TEST(keys_with_a_ttl)
{
    struct midge_rig r;
    struct midge_kv *kv, *plain;
    struct seen k = {0};
    struct midge_watch *w;

    midge_rig_start(&r, i);
    kv = bucket(r.m, &(struct midge_kv_config){.bucket = "b", .marker_ttl = 1000000000});
    plain = bucket(r.m, &(struct midge_kv_config){.bucket = "plain"});
    FAILS(r.m, MIDGE_REFUSED, midge_kv_add(plain, "k", text("v"), 1000000000, NULL));
    ck_assert_uint_eq(midge_error_code(r.m), 10166);
    w = midge_kv_watch(kv, (struct midge_texts){NULL, 0}, NULL, see, initial, &k);
    OK(r.m, midge_kv_add(kv, "k", text("v"), 1000000000, NULL));
    midge_rig_until(r.m, &k.n, 2);
    ck_assert_str_eq(k.all, "k=v k! ");
    FAILS(r.m, MIDGE_NOT_FOUND, midge_kv_get(kv, "k", see, &k));
    midge_watch_close(w);
    midge_kv_close(kv);
    midge_kv_close(plain);
    midge_rig_end(&r);
}

TEST(a_watch_survives_crashes)
{
    struct midge_rig r;
    struct midge_kv *kv;
    struct midge_watch *w;
    struct seen k = {0};
    char value[16], want[64];

    midge_rig_start(&r, i);
    kv = bucket(r.m, &(struct midge_kv_config){.bucket = "b"});
    put(r.m, kv, "k", "0");
    w = midge_kv_watch(kv, (struct midge_texts){NULL, 0}, NULL, see, initial, &k);
    midge_rig_until(r.m, &k.n, 1);
    for (unsigned round = 1; round <= 3; round++) {
        midge_rig_crash(&r);
        midge_rig_until(r.m, &r.back, round);
        snprintf(value, sizeof(value), "%u", round);
        put(r.m, kv, "k", value);
        midge_rig_until(r.m, &k.n, round + 1);
    }
    snprintf(want, sizeof(want), "k=0 k=1 k=2 k=3 ");
    ck_assert_str_eq(k.all, want);
    ck_assert_uint_eq(k.initial, 1);
    OK(r.m, midge_kv_destroy(r.m, "b"));
    ck_assert_ptr_null(midge_watch_error(w));
    midge_watch_close(w);
    midge_kv_close(kv);
    midge_rig_end(&r);
}

TEST(a_mirror_reads_here_and_writes_there)
{
    struct midge_rig r;
    struct midge_kv *origin, *mirror;
    struct seen k = {0};
    struct midge_watch *w;

    midge_rig_start(&r, i);
    origin = bucket(r.m, &(struct midge_kv_config){.bucket = "o"});
    put(r.m, origin, "a", "1");
    mirror = bucket(r.m, &(struct midge_kv_config){.bucket = "m", .mirror = "{\"name\":\"KV_o\"}"});
    w = midge_kv_watch(mirror, (struct midge_texts){NULL, 0}, NULL, see, initial, &k);
    midge_rig_until(r.m, &k.n, 1);
    put(r.m, mirror, "b", "2");
    midge_rig_until(r.m, &k.n, 2);
    OK(r.m, midge_kv_get(origin, "b", see, &k));
    OK(r.m, midge_kv_get(mirror, "a", see, &k));
    ck_assert_str_eq(k.all, "a=1 b=2 b=2 a=1 ");
    midge_watch_close(w);
    midge_kv_close(origin);
    midge_kv_close(mirror);
    midge_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(values, 0, 2),
    RUN_LOOP(buckets, 0, 2),
    RUN(bad_keys_never_leave_the_program),
    RUN_LOOP(watches, 0, 2),
    RUN_LOOP(old_markers_go, 0, 2),
    RUN_LOOP(keys_with_a_ttl, 0, 2),
    RUN_LOOP(a_watch_survives_crashes, 0, 2),
    RUN_LOOP(a_mirror_reads_here_and_writes_there, 0, 2),
};

RUNNER_MAIN("api/midge_kv", cases)
