/* test_midge_object.c - object stores of libmidge over the real server. */
#include "client/midge_object.h"
#include "tests/api/midge_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIG 3000001u

static struct midge_text text(const char *s)
{
    return midge_text_of(s);
}

struct seen {
    unsigned n, initial;
    char all[4000];
};

static void see(void *ctx, const struct midge_object_info *info)
{
    struct seen *k = ctx;
    size_t n = strlen(k->all);

    k->n++;
    ck_assert_int_gt(info->time_ns, 0);
    snprintf(k->all + n, sizeof(k->all) - n, "%s%s%llu ", info->name, info->deleted ? "!" : "=",
             (unsigned long long) info->size);
}

static void initial(void *ctx)
{
    ((struct seen *) ctx)->initial++;
}

static struct midge_objects *store(struct midge *m, const char *bucket)
{
    int rc;
    struct midge_objects *s =
        midge_objects_create(m, &(struct midge_objects_config){.bucket = bucket}, &rc);

    ck_assert_msg(s != NULL, "%d %s", rc, midge_error(m));
    return s;
}

static void holds(struct midge *m, struct midge_objects *s, const char *name, const char *want)
{
    char *bytes;
    size_t n;

    OK(m, midge_object_get_bytes(s, name, 1000, &bytes, &n));
    ck_assert_str_eq(bytes, want);
    ck_assert_uint_eq(n, strlen(want));
    midge_free(bytes);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

struct source {
    uint64_t at, end, gives_up_at;
};

static unsigned char byte_at(uint64_t at)
{
    return (unsigned char) (at * 2654435761u >> 13);
}

static int64_t give(void *ctx, void *into, size_t n)
{
    struct source *s = ctx;
    size_t i = 0;

    if (s->gives_up_at > 0 && s->at >= s->gives_up_at)
        return -77;
    for (; i < n && i < 10007 && s->at < s->end; i++)
        ((unsigned char *) into)[i] = byte_at(s->at++);
    return (int64_t) i;
}

static int compare(void *ctx, struct midge_text bytes)
{
    uint64_t *at = ctx;

    for (size_t i = 0; i < bytes.n; i++)
        MUST((unsigned char) bytes.p[i] == byte_at((*at)++));
    return MIDGE_OK;
}

static int refuse(void *ctx, struct midge_text bytes)
{
    (void) ctx;
    (void) bytes;
    return -99;
}

TEST(objects_of_many_chunks)
{
    struct midge_rig r;
    struct midge_objects *s;
    struct midge_object_info info;
    struct source source = {.end = BIG};
    uint64_t at = 0;
    char *bytes;
    size_t n;

    midge_rig_start(&r, i);
    s = store(r.m, "files");
    OK(r.m, midge_object_put(s,
                             &(struct midge_object_meta){.name = "a big/one \xc3\xa4",
                                                         .description = "d",
                                                         .headers = "{\"K\":[\"v\",\"w\"]}",
                                                         .metadata = "{\"x\":\"y\"}",
                                                         .chunk_bytes = 10000},
                             give, &source, &info));
    ck_assert_uint_eq(info.size, BIG);
    ck_assert_uint_eq(info.chunks, 301);
    midge_object_info_free(&info);
    OK(r.m, midge_object_get(s, "a big/one \xc3\xa4", compare, &at, &info));
    ck_assert_uint_eq(at, BIG);
    ck_assert_str_eq(info.description, "d");
    ck_assert_str_eq(info.headers, "{\"K\":[\"v\",\"w\"]}");
    ck_assert_str_eq(info.metadata, "{\"x\":\"y\"}");
    ck_assert_int_eq(info.chunk_bytes, 10000);
    ck_assert_uint_eq(strlen(info.digest), 52);
    midge_object_info_free(&info);
    FAILS(r.m, -99, midge_object_get(s, "a big/one \xc3\xa4", refuse, NULL, NULL));
    FAILS(r.m, MIDGE_FULL, midge_object_get_bytes(s, "a big/one \xc3\xa4", 1000, &bytes, &n));
    midge_objects_close(s);
    midge_rig_end(&r);
}

TEST(replacing_and_deleting)
{
    struct midge_rig r;
    struct midge_objects *s;
    struct midge_object_info info;
    struct midge_stream_info stream;
    struct source source = {.end = 1000, .gives_up_at = 500};

    midge_rig_start(&r, i);
    s = store(r.m, "b");
    OK(r.m, midge_object_put_bytes(s, "n", text("one")));
    holds(r.m, s, "n", "one");
    FAILS(r.m, -77,
          midge_object_put(s, &(struct midge_object_meta){.name = "n", .chunk_bytes = 100}, give,
                           &source, NULL));
    holds(r.m, s, "n", "one");
    OK(r.m, midge_object_put_bytes(s, "n", text("three")));
    holds(r.m, s, "n", "three");
    OK(r.m, midge_object_put_bytes(s, "empty", text("")));
    holds(r.m, s, "empty", "");
    OK(r.m, midge_stream_info(r.m, "OBJ_b", &stream));
    ck_assert_uint_eq(stream.messages, 3); /* two entries, one chunk */
    midge_stream_info_free(&stream);
    OK(r.m, midge_object_delete(s, "n"));
    FAILS(r.m, MIDGE_NOT_FOUND, midge_object_info(s, "n", &info));
    midge_object_info_free(&info);
    FAILS(r.m, MIDGE_NOT_FOUND, midge_object_delete(s, "n"));
    FAILS(r.m, MIDGE_NOT_FOUND, midge_object_get(s, "never", refuse, NULL, NULL));
    FAILS(r.m, MIDGE_INVALID, midge_object_put_bytes(s, "", text("x")));
    OK(r.m, midge_object_put_bytes(s, "n", text("back")));
    holds(r.m, s, "n", "back");
    midge_objects_close(s);
    midge_rig_end(&r);
}

static void one_chunk(void *ctx, const struct midge_stored *stored)
{
    if (strncmp(stored->subject.p, "$O.b.C.", 7) == 0)
        snprintf(ctx, 256, "%.*s", (int) stored->subject.n, stored->subject.p);
}

/* Bytes that are not those of the entry are noticed: one chunk too few, and one that has changed.
 */
TEST(damage_is_noticed)
{
    struct midge_rig r;
    struct midge_objects *s;
    struct source source = {.end = 1000};
    char subject[256] = "";
    char *bytes;
    size_t n;

    midge_rig_start(&r, i);
    s = store(r.m, "b");
    OK(r.m, midge_object_put(s, &(struct midge_object_meta){.name = "n", .chunk_bytes = 100}, give,
                             &source, NULL));
    OK(r.m, midge_msg_delete(r.m, "OBJ_b", 4, false));
    FAILS(r.m, MIDGE_CORRUPT, midge_object_get_bytes(s, "n", 10000, &bytes, &n));
    OK(r.m, midge_object_put_bytes(s, "m", text("abcd")));
    OK(r.m, midge_get(r.m, "OBJ_b", &(struct midge_get){.next_of = "$O.b.C.>", .seq = 12},
                      one_chunk, subject));
    OK(r.m, midge_stream_purge(r.m, "OBJ_b", &(struct midge_purge){.filter = subject}, NULL));
    OK(r.m, midge_js_publish(
                r.m, &(struct midge_msg){.subject = text(subject), .payload = text("abcX")}, NULL));
    FAILS(r.m, MIDGE_CORRUPT, midge_object_get_bytes(s, "m", 10000, &bytes, &n));
    midge_objects_close(s);
    midge_rig_end(&r);
}

/* ---- entries --------------------------------------------------------------------------------- */

TEST(links_and_renames)
{
    struct midge_rig r;
    struct midge_objects *s, *other;
    struct midge_object_info info;
    char *bytes;
    size_t n;

    midge_rig_start(&r, i);
    s = store(r.m, "here");
    other = store(r.m, "there");
    OK(r.m, midge_object_put_bytes(other, "target", text("linked")));
    OK(r.m, midge_object_link(s, "link", "there", "target"));
    holds(r.m, s, "link", "linked");
    OK(r.m, midge_object_link(s, "whole", "there", NULL));
    FAILS(r.m, MIDGE_INVALID, midge_object_get_bytes(s, "whole", 100, &bytes, &n));
    FAILS(r.m, MIDGE_INVALID, midge_object_link(s, "link2", "here", "link"));
    FAILS(r.m, MIDGE_NOT_FOUND, midge_object_link(s, "link2", "there", "nothing"));
    OK(r.m, midge_object_put_bytes(s, "mine", text("x")));
    FAILS(r.m, MIDGE_CONFLICT, midge_object_link(s, "mine", "there", "target"));
    FAILS(r.m, MIDGE_CONFLICT,
          midge_object_update(s, "mine", &(struct midge_object_meta){.name = "link"}));
    OK(r.m, midge_object_update(
                s, "mine", &(struct midge_object_meta){.name = "yours", .description = "new"}));
    FAILS(r.m, MIDGE_NOT_FOUND, midge_object_info(s, "mine", &info));
    OK(r.m, midge_object_info(s, "yours", &info));
    ck_assert_str_eq(info.description, "new");
    midge_object_info_free(&info);
    holds(r.m, s, "yours", "x");
    midge_objects_close(s);
    midge_objects_close(other);
    midge_rig_end(&r);
}

static void count_name(void *ctx, const char *name)
{
    ck_assert_str_eq(name, "b");
    ++*(unsigned *) ctx;
}

TEST(lists_watches_seals)
{
    struct midge_rig r;
    struct midge_objects *s;
    struct midge_objects_status status;
    struct seen list = {0}, k = {0}, updates = {0};
    struct midge_object_watch *w, *u;
    unsigned buckets = 0;
    int rc;

    midge_rig_start(&r, i);
    s = store(r.m, "b");
    OK(r.m, midge_object_list(s, see, &list));
    ck_assert_uint_eq(list.n, 0);
    OK(r.m, midge_object_put_bytes(s, "a", text("1")));
    OK(r.m, midge_object_put_bytes(s, "b", text("22")));
    OK(r.m, midge_object_put_bytes(s, "c", text("333")));
    OK(r.m, midge_object_delete(s, "b"));
    OK(r.m, midge_object_list(s, see, &list));
    ck_assert_str_eq(list.all, "a=1 c=3 ");
    w = midge_objects_watch(s, false, false, see, initial, &k);
    u = midge_objects_watch(s, true, true, see, initial, &updates);
    midge_rig_until(r.m, &k.initial, 1);
    midge_rig_until(r.m, &updates.initial, 1);
    ck_assert_str_eq(k.all, "a=1 c=3 b!0 ");
    midge_rig_crash(&r);
    midge_rig_until(r.m, &r.back, 1);
    OK(r.m, midge_object_put_bytes(s, "d", text("4444")));
    midge_rig_until(r.m, &k.n, 4);
    midge_rig_until(r.m, &updates.n, 1);
    ck_assert_str_eq(updates.all, "d=4 ");
    midge_object_watch_close(w);
    midge_object_watch_close(u);
    OK(r.m, midge_objects_seal(s));
    OK(r.m, midge_objects_status(s, &status));
    ck_assert(status.sealed);
    FAILS(r.m, MIDGE_REFUSED, midge_object_put_bytes(s, "e", text("x")));
    ck_assert_uint_eq(midge_error_code(r.m), 10109);
    OK(r.m, midge_objects_buckets(r.m, count_name, &buckets));
    ck_assert_uint_eq(buckets, 1);
    OK(r.m, midge_objects_destroy(r.m, "b"));
    ck_assert_ptr_null(midge_objects_open(r.m, "b", &rc));
    ck_assert_int_eq(rc, MIDGE_NOT_FOUND);
    midge_objects_close(s);
    midge_rig_end(&r);
}

/* The server is killed in the middle of a put: it fails as a whole, and the object before is still
 * there; in the middle of a get: it goes on. */
struct killer {
    struct midge_rig *r;
    struct source source;
    uint64_t at;
    bool killed;
};

static int64_t give_and_kill(void *ctx, void *into, size_t n)
{
    struct killer *k = ctx;

    if (!k->killed && k->source.at > 1000000) {
        k->killed = true;
        midge_rig_crash(k->r);
    }
    return give(&k->source, into, n);
}

static int take_and_kill(void *ctx, struct midge_text bytes)
{
    struct killer *k = ctx;

    if (!k->killed && k->at > 1000000) {
        k->killed = true;
        midge_rig_crash(k->r);
    }
    return compare(&k->at, bytes);
}

TEST(crashes_in_the_middle)
{
    struct midge_rig r;
    struct midge_objects *s;
    struct killer k = {.r = &r, .source = {.end = BIG}};
    struct source whole = {.end = BIG};
    int rc;

    midge_rig_start(&r, i);
    s = store(r.m, "b");
    OK(r.m, midge_object_put_bytes(s, "n", text("before")));
    rc = midge_object_put(s, &(struct midge_object_meta){.name = "n", .chunk_bytes = 50000},
                          give_and_kill, &k, NULL);
    if (rc != MIDGE_OK) {
        ck_assert_int_eq(rc, MIDGE_LOST);
        holds(r.m, s, "n", "before");
    }
    OK(r.m, midge_object_put(s, &(struct midge_object_meta){.name = "n", .chunk_bytes = 50000},
                             give, &whole, NULL));
    k.killed = false;
    OK(r.m, midge_object_get(s, "n", take_and_kill, &k, NULL));
    ck_assert_uint_eq(k.at, BIG);
    midge_objects_close(s);
    midge_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(objects_of_many_chunks, 0, 2), RUN_LOOP(replacing_and_deleting, 0, 2),
    RUN_LOOP(damage_is_noticed, 0, 2),      RUN_LOOP(links_and_renames, 0, 2),
    RUN_LOOP(lists_watches_seals, 0, 2),    RUN_LOOP(crashes_in_the_middle, 0, 2),
};

RUNNER_MAIN("api/midge_object", cases)
