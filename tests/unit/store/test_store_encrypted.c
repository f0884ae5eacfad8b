/*
 * test_store_encrypted.c - a store with a key, on the real file system: nothing readable in any
 * file, wrong keys change nothing, keys that come and change.
 */
#include "lib/base/buf.h"
#include "store/crypt.h"
#include "store/store_impl.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SUBJECT "secret.subject.of.mine"
#define PAYLOAD "the payload nobody may read"
#define CONFIG "configuration, too"

/* ---- the directory --------------------------------------------------------------------------- */

static void read_file(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "rb");
    char bytes[65536];
    size_t n;

    ck_assert_ptr_nonnull(f);
    buf_clear(out);
    while ((n = fread(bytes, 1, sizeof(bytes), f)) > 0)
        buf_put(out, bytes, n);
    fclose(f);
}

struct looking {
    const char *what;
    size_t n; /* bytes of it; 0 = to its end */
    unsigned files, found;
    uint64_t sum; /* of names and contents */
};

static void look_in(const char *path, struct looking *l)
{
    DIR *d = opendir(path);
    struct dirent *e;
    struct buf bytes = {0};
    char name[600];

    if (d == NULL) {
        read_file(path, &bytes);
        l->files++;
        if (l->what != NULL &&
            memmem(bytes.p, bytes.n, l->what, l->n != 0 ? l->n : strlen(l->what)) != NULL)
            l->found++;
        if (strstr(path, "/LOCK") == NULL)
            l->sum += crc32c(crc32c(1, path, strlen(path)), bytes.p, bytes.n);
        buf_free(&bytes);
        return;
    }
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
        look_in(name, l);
    }
    closedir(d);
}

static unsigned found(struct rig *r, const char *what)
{
    struct looking l = {.what = what};

    look_in(r->path, &l);
    ck_assert_uint_gt(l.files, 2);
    return l.found;
}

static uint64_t digest(struct rig *r)
{
    struct looking l = {0};

    look_in(r->path, &l);
    return l.sum;
}

static char *path_of(struct rig *r, const char *name)
{
    static char path[300];

    snprintf(path, sizeof(path), "%s/%s", r->path, name);
    return path;
}

/* ---- streams --------------------------------------------------------------------------------- */

static void put_marked(struct rig_stream *t, unsigned n, size_t size)
{
    char payload[100000];

    memset(payload, 'x', sizeof(payload));
    memcpy(payload, PAYLOAD, strlen(PAYLOAD));
    for (unsigned i = 0; i < n; i++) {
        struct store_append m = {.subject = STR(SUBJECT),
                                 .header = STR("NATS/1.0\r\nSecret: header\r\n\r\n"),
                                 .payload = str_from(payload, size),
                                 .ts = 1000};
        uint64_t seq;
        ck_assert_int_eq(store_append(t->s, &m, &seq), ERR_OK);
        if (i % 16 == 0)
            rig_flush(t);
    }
    rig_flush(t);
}

static void check_marked(struct rig_stream *t, uint64_t first, uint64_t last)
{
    for (uint64_t seq = first; seq <= last; seq++) {
        struct store_reader reader;
        struct store_msg m;
        ck_assert_msg(rig_get(t, seq, &m, &reader) == STORE_READ_MSG, "message %llu",
                      (unsigned long long) seq);
        ck_assert(str_eq(m.subject, STR(SUBJECT)));
        ck_assert_mem_eq(m.payload.p, PAYLOAD, strlen(PAYLOAD));
        store_reader_deinit(&reader);
    }
}

static void no_render(void *ctx, store_object_id id, struct buf *out)
{
    (void) ctx;
    (void) id;
    buf_put_str(out, STR(CONFIG));
}

static const enum crypt_cipher ciphers[] = {CRYPT_CHACHA, CRYPT_AES};

static struct rig_options with_key(const char *key)
{
    return (struct rig_options){.segment_min = 256 << 10,
                                .segment_max = 256 << 10,
                                .log_file_bytes = 1 << 20,
                                .cache_bytes = 64 << 10,
                                .key = key};
}

/* Through the log, through segments, sealed ones, with footers; objects; read cold and after a
 * start. */
TEST(nothing_is_readable)
{
    struct rig r;
    struct rig_stream t;
    struct rig_req q;
    struct rig_options options = with_key("open sesame");

    options.cipher = ciphers[i];
    if (!crypt_cipher_usable(ciphers[i])) {
        ck_assert_int_eq(i, 1);
        return;
    }
    rig_init(&r, &options);
    rig_create(&r, &t, "S", STORE_DURABLE, NULL);
    rig_req_init(&q);
    store_object_create(r.store, STORE_KIND_USER, t.id, STR(CONFIG), no_render, NULL, &q.req);
    ck_assert_int_eq(rig_req_wait(&r, &q), ERR_OK);
    put_marked(&t, 200, 100);
    put_marked(&t, 40, 40000); /* several segments */
    check_marked(&t, 1, 240);
    ck_assert_uint_eq(found(&r, SUBJECT), 0);
    ck_assert_uint_eq(found(&r, PAYLOAD), 0);
    ck_assert_uint_eq(found(&r, CONFIG), 0);
    ck_assert_uint_eq(found(&r, "Secret: header"), 0);
    for (unsigned k = 0; k < 3; k++) {
        rig_stop(&r);
        ck_assert_uint_eq(found(&r, SUBJECT), 0);
        ck_assert_uint_eq(found(&r, PAYLOAD), 0);
        ck_assert_uint_eq(found(&r, CONFIG), 0);
        rig_start(&r);
        ck_assert(store_dir_recovery(r.dir)->encrypted);
        rig_attach(&r, &t, "S");
        check_marked(&t, 1, 240 + k);
        put_marked(&t, 1, 100);
    }
    ck_assert_uint_eq(r.warnings, 0);
    store_check(r.store);
    rig_deinit(&r);
}

/* The control: the same search finds everything in a store without a key. */
TEST(without_a_key_it_is)
{
    struct rig r;
    struct rig_stream t;
    struct rig_options options = with_key(NULL);

    rig_init(&r, &options);
    rig_create(&r, &t, "S", STORE_DURABLE, NULL);
    put_marked(&t, 20, 100);
    ck_assert_uint_gt(found(&r, SUBJECT), 0);
    ck_assert_uint_gt(found(&r, PAYLOAD), 0);
    rig_deinit(&r);
}

static void refused(struct rig *r, const char *key, const char *prev, const char *text)
{
    char why[256];
    uint64_t before = digest(r);

    r->options.key = key;
    r->options.prev_key = prev;
    ck_assert_int_eq(rig_try_start(r, why), ERR_KEY);
    ck_assert_msg(strstr(why, text) != NULL, "%s", why);
    ck_assert_ptr_nonnull(strstr(why, "store.keys"));
    ck_assert_uint_eq(digest(r), before);
}

TEST(wrong_key_touches_nothing)
{
    struct rig r;
    struct rig_stream t;
    struct rig_options options = with_key("right");

    rig_init(&r, &options);
    rig_create(&r, &t, "S", STORE_DURABLE, NULL);
    put_marked(&t, 20, 100);
    rig_stop(&r);
    refused(&r, "wrong", NULL, "does not fit");
    refused(&r, "wrong", "other", "neither");
    refused(&r, NULL, NULL, "no encryption key is configured");
    refused(&r, NULL, "right", "no encryption key is configured");
    r.options.key = "right";
    r.options.prev_key = NULL;
    rig_start(&r);
    rig_attach(&r, &t, "S");
    check_marked(&t, 1, 20);
    rig_deinit(&r);
}

/* New segments are sealed, old ones stay as they are. */
TEST(a_key_for_an_old_store)
{
    struct rig r;
    struct rig_stream t;
    struct rig_options options = with_key(NULL);

    rig_init(&r, &options);
    rig_create(&r, &t, "S", STORE_DURABLE, NULL);
    put_marked(&t, 20, 100);
    rig_stop(&r);
    unsigned before = found(&r, PAYLOAD);
    r.options.key = "new";
    rig_start(&r);
    rig_attach(&r, &t, "S");
    check_marked(&t, 1, 20);
    put_marked(&t, 20, 99);
    check_marked(&t, 1, 40);
    rig_stop(&r);
    ck_assert_uint_le(found(&r, PAYLOAD), before);
    refused(&r, NULL, NULL, "no encryption key is configured");
    r.options.key = "new";
    rig_start(&r);
    rig_attach(&r, &t, "S");
    check_marked(&t, 1, 40);
    ck_assert_uint_eq(r.warnings, 0);
    rig_deinit(&r);
}

TEST(the_key_changes)
{
    struct rig r;
    struct rig_stream t;
    struct rig_options options = with_key("one");

    rig_init(&r, &options);
    rig_create(&r, &t, "S", STORE_DURABLE, NULL);
    put_marked(&t, 20, 100);
    rig_stop(&r);
    r.options.key = "two";
    r.options.prev_key = "one";
    rig_start(&r);
    ck_assert(store_dir_recovery(r.dir)->key_changed);
    ck_assert_uint_eq(r.dir->ring.n, 2);
    rig_attach(&r, &t, "S");
    check_marked(&t, 1, 20);
    put_marked(&t, 20, 100);
    rig_stop(&r);
    refused(&r, "one", NULL, "does not fit");
    /* The previous key is not needed again, and does not hurt. */
    for (unsigned k = 0; k < 2; k++) {
        r.options.key = "two";
        r.options.prev_key = k == 0 ? NULL : "one";
        rig_start(&r);
        ck_assert(!store_dir_recovery(r.dir)->key_changed);
        rig_attach(&r, &t, "S");
        check_marked(&t, 1, 40);
        rig_stop(&r);
    }
    /* What the first data key sealed is gone: the next start forgets it. */
    rig_start(&r);
    rig_attach(&r, &t, "S");
    struct store_purge all = {.before_seq = 21};
    struct rig_req q;
    rig_req_init(&q);
    store_purge(t.s, &all, &q.req);
    ck_assert_int_eq(rig_req_wait(&r, &q), ERR_OK);
    rig_settle(&r);
    rig_stop(&r);
    rig_start(&r);
    ck_assert_uint_eq(r.dir->ring.n, 1);
    rig_attach(&r, &t, "S");
    check_marked(&t, 21, 40);
    rig_deinit(&r);
}

/* A file that was removed may be there again after a power cut: its key goes only when it can not.
 */
TEST(a_key_outlives_its_files)
{
    static struct rig r, after;
    struct rig_stream t;
    struct rig_options options = with_key("one");
    struct store_purge old = {.before_seq = 21};
    struct store_state state;
    struct rig_req q;

    options.sim = sim_open(1, NULL);
    rig_init(&r, &options);
    rig_create(&r, &t, "S", STORE_DURABLE, NULL);
    put_marked(&t, 20, 100);
    rig_stop(&r);
    r.options.key = "two";
    r.options.prev_key = "one";
    rig_start(&r);
    rig_attach(&r, &t, "S");
    put_marked(&t, 20, 100);
    rig_req_init(&q);
    store_purge(t.s, &old, &q.req);
    ck_assert_int_eq(rig_req_wait(&r, &q), ERR_OK);
    rig_settle(&r);
    rig_stop(&r);
    rig_start(&r);
    ck_assert_uint_eq(r.dir->ring.n, 1);
    struct sim *fork = sim_fork(options.sim, SIM_CRASH_DROP, 1);
    rig_attach(&r, &t, "S");
    rig_deinit(&r);
    sim_close(options.sim);
    after = (struct rig){.options = r.options, .log = r.log};
    after.options.sim = fork;
    memcpy(after.path, r.path, sizeof(after.path));
    rig_start(&after);
    rig_attach(&after, &t, "S");
    store_stream_state(t.s, &state);
    ck_assert(!state.failed && state.lost_msgs == 0);
    check_marked(&t, 21, 40);
    rig_deinit(&after);
    sim_close(fork);
}

TEST(the_cipher_changes)
{
    struct rig r;
    struct rig_stream t;
    struct rig_options options = with_key("k");

    ck_assert(crypt_cipher_usable(CRYPT_CHACHA));
    if (!crypt_cipher_usable(CRYPT_AES))
        return;
    rig_init(&r, &options);
    rig_create(&r, &t, "S", STORE_DURABLE, NULL);
    put_marked(&t, 20, 100);
    for (unsigned k = 0; k < 4; k++) {
        rig_stop(&r);
        r.options.cipher = ciphers[(k + 1) % 2];
        rig_start(&r);
        rig_attach(&r, &t, "S");
        put_marked(&t, 1, 100);
        check_marked(&t, 1, 21 + k);
    }
    rig_deinit(&r);
}

/* Each of the two key files stands in for the other; without both it says what is missing. */
TEST(key_files)
{
    static const char *const names[] = {"store.keys", "store.keys.copy"};
    struct rig r;
    struct rig_stream t;
    struct rig_options options = with_key("k");
    struct buf good = {0}, now = {0};
    char why[256];

    rig_init(&r, &options);
    rig_create(&r, &t, "S", STORE_DURABLE, NULL);
    put_marked(&t, 20, 100);
    rig_stop(&r);
    read_file(path_of(&r, names[0]), &good);
    for (unsigned k = 0; k < 4; k++) {
        char *path = path_of(&r, names[k % 2]);
        if (k < 2) {
            ck_assert_int_eq(remove(path), 0);
        } else {
            FILE *f = fopen(path, "r+b");
            fseek(f, 150, SEEK_SET);
            fputc(good.p[150] ^ 1, f);
            fclose(f);
        }
        rig_start(&r);
        ck_assert_uint_eq(r.warnings, k + 1);
        rig_attach(&r, &t, "S");
        check_marked(&t, 1, 20);
        rig_stop(&r);
        read_file(path_of(&r, names[0]), &good);
        read_file(path_of(&r, names[1]), &now);
        ck_assert_uint_eq(good.n, now.n);
        ck_assert_mem_eq(good.p, now.p, good.n);
    }
    /* Also without store.meta. */
    ck_assert_int_eq(remove(path_of(&r, "store.meta")), 0);
    rig_start(&r);
    rig_attach(&r, &t, "S");
    check_marked(&t, 1, 20);
    rig_stop(&r);
    ck_assert_int_eq(remove(path_of(&r, names[0])), 0);
    ck_assert_int_eq(remove(path_of(&r, names[1])), 0);
    ck_assert_int_eq(rig_try_start(&r, why), ERR_KEY);
    ck_assert_msg(strstr(why, "missing") != NULL, "%s", why);
    FILE *f = fopen(path_of(&r, names[0]), "wb");
    fwrite(good.p, 1, good.n, f);
    fclose(f);
    rig_start(&r);
    rig_attach(&r, &t, "S");
    check_marked(&t, 1, 20);
    rig_deinit(&r);
    buf_free(&good);
    buf_free(&now);
}

/* The one segment file of the stream. */
static void segment_path(struct rig *r, char out[600])
{
    char streams[300];
    DIR *d;
    struct dirent *e;

    snprintf(streams, sizeof(streams), "%s/streams", r->path);
    d = opendir(streams);
    while ((e = readdir(d)) != NULL)
        if (e->d_name[0] != '.')
            snprintf(out, 600, "%s/%s/0000000001.seg", streams, e->d_name);
    closedir(d);
}

static void damage(const char *path, long at, unsigned n)
{
    FILE *f = fopen(path, "r+b");

    ck_assert_ptr_nonnull(f);
    for (unsigned k = 0; k < n; k++) {
        fseek(f, at + k, SEEK_SET);
        int c = fgetc(f);
        fseek(f, at + k, SEEK_SET);
        fputc(c ^ 0x11, f);
    }
    fclose(f);
}

/* One damaged byte anywhere of a sealed batch is mended; many cost the batch and nothing else. */
TEST(damage_is_contained)
{
    static const long at[] = {4096, 4096 + 30, 4096 + 75, 4096 + 96 + 4, 4096 + 150, 4096 + 900};
    struct rig r;
    struct rig_stream t;
    struct rig_options options = with_key("k");
    struct store_state state;
    char path[600];

    rig_init(&r, &options);
    rig_create(&r, &t, "S", STORE_DURABLE, NULL);
    for (unsigned k = 0; k < 20; k++) /* two batches */
        put_marked(&t, 10, 100);
    rig_stop(&r);
    segment_path(&r, path);
    for (unsigned k = 0; k < sizeof(at) / sizeof(at[0]); k++) {
        damage(path, at[k], 1);
        rig_start(&r);
        rig_attach(&r, &t, "S");
        check_marked(&t, 1, 200);
        rig_stop(&r);
        if (k >= 4)
            damage(path, at[k], 1); /* mended in memory only */
    }
    damage(path, 4096 + 700, 3);
    rig_start(&r);
    rig_attach(&r, &t, "S");
    store_stream_state(t.s, &state);
    ck_assert_uint_gt(state.lost_msgs, 0);
    ck_assert_uint_lt(state.lost_msgs, 20);
    ck_assert_uint_eq(state.last_seq, 200);
    check_marked(&t, 1, 1);
    check_marked(&t, state.lost_msgs + 2, 200);
    rig_deinit(&r);
}

/* The first bytes of the batch that holds the stream's first message. */
static void first_batch(struct rig *r, struct rig_stream *t, char out[200])
{
    struct buf bytes = {0};
    char path[STORE_PATH];

    store_path_segment(r->dir, path, t->s->rec.uuid, 1, 0);
    read_file(path, &bytes);
    ck_assert_uint_gt(bytes.n, 8192);
    memcpy(out, bytes.p + 4096, 200);
    buf_free(&bytes);
}

static unsigned found_batch(struct rig *r, const char batch[200])
{
    struct looking l = {.what = batch, .n = 200};

    look_in(path_of(r, "streams"), &l);
    return l.found;
}

/* A message that was erased, and the store was closed before its bytes were gone: also when it was
 * the stream's first one (i = 0), or when what is before it went meanwhile (i = 1), when all went
 * (i = 2), and when the log has been written anew since. */
TEST(erasing_is_not_forgotten)
{
    struct rig r;
    struct rig_stream t, u;
    struct rig_req q;
    struct rig_options options = with_key("k");
    struct store_purge purge = {.before_seq = i == 1 ? 8 : 0};
    char batch[200];

    options.log_file_bytes = 64 << 10;
    rig_init(&r, &options);
    rig_create(&r, &t, "S", STORE_DURABLE, NULL);
    rig_create(&r, &u, "other", STORE_DURABLE, NULL);
    for (unsigned k = 0; k < 40; k++)
        ck_assert_int_eq(rig_append(&t, 1, 100, 1), ERR_OK);
    rig_flush(&t);
    for (unsigned k = 0; k < 200; k++) {
        ck_assert_int_eq(rig_append(&u, 1, 1000, 1), ERR_OK);
        rig_flush(&u);
    }
    rig_settle(&r);
    segment_flush(t.s->active);
    rig_settle(&r);
    first_batch(&r, &t, batch);
    ck_assert_uint_eq(found_batch(&r, batch), 1);
    ck_assert_int_eq(store_remove(t.s, i == 0 ? 1 : 4, true, NULL), ERR_OK);
    if (i > 0) {
        rig_req_init(&q);
        store_purge(t.s, &purge, &q.req);
    }
    rig_stop(&r);
    ck_assert_uint_eq(found_batch(&r, batch), 1);
    rig_start(&r);
    rig_attach(&r, &t, "S");
    store_recovered_done(r.store);
    ck_assert_uint_eq(t.s->rec.erase.count, 1);
    for (unsigned k = 0; k < 30000 && t.s->rec.erase.count > 0; k++)
        rig_step(&r);
    rig_settle(&r);
    ck_assert_uint_eq(found_batch(&r, batch), 0);
    for (unsigned k = 0; k < 40; k++) {
        ck_assert_int_eq(rig_append(&t, 1, 9000, 1), ERR_OK);
        rig_flush(&t);
    }
    rig_settle(&r);
    ck_assert_uint_eq(found_batch(&r, batch), 0);
    ck_assert_uint_eq(rig_read_all(&t, 41, NULL, 9000), 40);
    store_check(r.store);
    rig_stop(&r);
    rig_start(&r);
    rig_attach(&r, &t, "S");
    store_recovered_done(r.store);
    ck_assert_uint_eq(t.s->rec.erase.count, 0);
    ck_assert_uint_eq(r.warnings, 0);
    rig_deinit(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(nothing_is_readable, 0, 2),
    RUN(without_a_key_it_is),
    RUN(wrong_key_touches_nothing),
    RUN(a_key_for_an_old_store),
    RUN(the_key_changes),
    RUN(a_key_outlives_its_files),
    RUN(the_cipher_changes),
    RUN(key_files),
    RUN(damage_is_contained),
    RUN_LOOP(erasing_is_not_forgotten, 0, 3),
};

RUNNER_MAIN("store/store_encrypted", cases)
