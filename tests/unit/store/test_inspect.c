/*
 * store-inspect, as a program, on a store that the simulated disk exports: clean is clean, every
 * damaged byte that means something is found and named, and print explains every structure.
 */
#include "tests/lib/runner.h"
#include "tests/unit/store/world_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[64]; /* of the exported tree */

struct run {
    int status;
    struct buf out;
};

static struct run inspect(const char *arguments)
{
    struct run r = {0};
    struct buf command = {0};
    const char *build = getenv("MIDGE_BUILDDIR");
    char block[4096];
    size_t n;

    buf_printf(&command, "cd %s && %s/bin/store-inspect %s 2>&1", root, build != NULL ? build : ".",
               arguments);
    FILE *f = popen(buf_cstr(&command), "r");
    ck_assert_ptr_nonnull(f);
    while ((n = fread(block, 1, sizeof(block), f)) > 0)
        buf_put(&r.out, block, n);
    int status = pclose(f);
    r.status = WIFEXITED(status) ? WEXITSTATUS(status) : 99;
    buf_cstr(&r.out);
    buf_free(&command);
    return r;
}

static void export_world(struct world *w)
{
    snprintf(root, sizeof(root), "/tmp/midge-inspect.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    ck_assert_int_eq(sim_disk_export(sim_disk(w->sim), root), 0);
}

static void put_mark(unsigned worker)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/data/log/%04u.erased", root, worker);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fclose(f);
}

static void remove_export(void)
{
    struct buf command = {0};

    buf_printf(&command, "rm -rf '%s'", root);
    ck_assert_int_eq(system(buf_cstr(&command)), 0);
    buf_free(&command);
}

static void flip(const char *path, long at, int pattern)
{
    struct buf name = {0};

    buf_printf(&name, "%s%s", root, path);
    FILE *f = fopen(buf_cstr(&name), "r+");
    ck_assert_ptr_nonnull(f);
    fseek(f, at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ pattern, f);
    fclose(f);
    buf_free(&name);
}

TEST(clean_store) /* i = 1: as the next start left it */
{
    struct world w;
    struct fixture f[3];

    put_world(&w, f);
    if (i == 1) {
        world_open(&w);
        world_close(&w);
    }
    export_world(&w);
    struct run r = inspect("verify data");
    ck_assert_msg(r.status == 0, "%s", r.out.p);
    ck_assert_ptr_nonnull(strstr(r.out.p, "34 messages"));
    ck_assert_ptr_nonnull(strstr(r.out.p, "no damage"));
    buf_free(&r.out);
    remove_export();
    end_world(&w, f);
}

TEST(unfinished_commits_are_not_damage)
{
    struct world w;
    struct fixture f[3];

    world_init(&w);
    put_stream(&w, f);
    fixture_pad(&f[2], SEGMENT_PAGE);
    size_t from = f[2].file.n;
    fixture_batch(&f[2], 10, 34, 0);
    fixture_batch(&f[2], 10, 34, 0);
    memset(f[2].file.p + from, 0, 200);
    world_put_segment(&w, &f[2], 20000);
    world_put_log(&w, 0);
    export_world(&w);
    struct run r = inspect("verify data");
    ck_assert_msg(r.status == 0, "%s", r.out.p);
    buf_free(&r.out);
    r = inspect("print data");
    ck_assert_ptr_nonnull(strstr(r.out.p, "bytes of unfinished commits"));
    buf_free(&r.out);
    remove_export();
    end_world(&w, f);
}

TEST(prepared_segment_is_not_damage)
{
    struct world w;
    struct fixture f[3], next;

    put_world(&w, f);
    world_segment(&w, &next, 5, 4, 35);
    memset(next.file.p, 0, SEGMENT_HEADER);
    world_put_segment(&w, &next, 9000);
    export_world(&w);
    struct run r = inspect("verify data");
    ck_assert_msg(r.status == 0, "%s", r.out.p);
    buf_free(&r.out);
    r = inspect("print data");
    ck_assert_ptr_nonnull(strstr(r.out.p, "0000000004.seg: not used yet"));
    buf_free(&r.out);
    remove_export();
    fixture_free(&next);
    end_world(&w, f);
}

TEST(data_in_the_log_counts)
{
    struct world w;
    struct fixture f[3];

    world_init(&w);
    put_stream(&w, f);
    const struct segment_batch *b = &f[2].batches[1];
    struct log_record r = {.type = LOG_DATA,
                           .kind = STORE_KIND_STREAM,
                           .id = 7,
                           .segment = 3,
                           .offset = b->offset,
                           .bytes = str_from(f[2].file.p + b->offset, b->bytes)};
    log_frame_add(&w.frame, &r);
    world_put_log(&w, 0);
    memset(f[2].file.p + b->offset, 0, b->bytes);
    world_put_segment(&w, &f[2], 20000);
    export_world(&w);
    struct run run = inspect("verify data");
    ck_assert_msg(run.status == 0 && strstr(run.out.p, "34 messages") != NULL, "%s", run.out.p);
    buf_free(&run.out);
    remove_export();
    end_world(&w, f);
}

static const char *const files[] = {
    "/data/store.meta",
    "/data/log/0000000002-0000-0000000000.log",
    "/data/streams/05050505050505050505050505050505/0000000001.seg",
    "/data/streams/05050505050505050505050505050505/0000000002.seg",
};

TEST(damage_is_found_and_named) /* i = file */
{
    struct world w;
    struct fixture f[3];

    put_world(&w, f);
    struct buf file = world_read(&w, files[i]);
    export_world(&w);
    size_t end = i == 3 ? f[1].file.n : file.n; /* behind it lies what was there before */
    for (size_t at = 0; at < end; at += 97) {
        if (file.p[at] == 0)
            continue;
        flip(files[i], (long) at, 0x24);
        struct run r = inspect("verify data");
        ck_assert_msg(r.status == 1, "%s: byte %zu:\n%s", files[i], at, r.out.p);
        ck_assert_msg(strstr(r.out.p, files[i] + 1) != NULL, "byte %zu:\n%s", at, r.out.p);
        ck_assert_ptr_nonnull(strstr(r.out.p, ": offset "));
        buf_free(&r.out);
        flip(files[i], (long) at, 0x24);
    }
    buf_free(&file);
    remove_export();
    end_world(&w, f);
}

TEST(missing_segment_is_found)
{
    struct world w;
    struct fixture f[3];

    put_world(&w, f);
    fs_unlink(w.fs, files[3]);
    export_world(&w);
    struct run r = inspect("verify data");
    ck_assert_int_eq(r.status, 1);
    ck_assert_ptr_nonnull(strstr(r.out.p, "segment 2 is missing"));
    ck_assert_ptr_nonnull(strstr(r.out.p, "sequences 11 to 20"));
    buf_free(&r.out);
    remove_export();
    end_world(&w, f);
}

TEST(print_explains)
{
    static const char *const texts[] = {
        "data/store.meta: store ",
        "format 1",
        "commit 1: 2 records",
        "full of object 7",
        "stream 'TEST'",
        "segment 3 from 21",
        "segment 1 of stream",
        "base sequence 21",
        "sequences 11 to 17",
        "message 12, ",
        "'orders.",
        "footer: sequences 1 to 10",
        "subject 'b.one'",
        "durable 30",
        "2 batches",
    };
    struct world w;
    struct fixture f[3];

    put_world(&w, f);
    export_world(&w);
    struct run r = inspect("print -v data");
    ck_assert_int_eq(r.status, 0);
    for (unsigned k = 0; k < ARRAY_LEN(texts); k++)
        ck_assert_msg(strstr(r.out.p, texts[k]) != NULL, "%s is not in\n%.3000s", texts[k],
                      r.out.p);
    buf_free(&r.out);
    put_mark(3);
    r = inspect("print data/streams/*/0000000001.seg data/log/* data/store.meta");
    ck_assert_int_eq(r.status, 0);
    ck_assert_ptr_nonnull(strstr(r.out.p, "0003.erased: copies of erased messages"));
    ck_assert_ptr_nonnull(strstr(r.out.p, "footer: sequences 1 to 10"));
    ck_assert_ptr_null(strstr(r.out.p, "message 12, "));
    buf_free(&r.out);
    remove_export();
    end_world(&w, f);
}

static void says(const char *arguments, int status, const char *text)
{
    struct run r = inspect(arguments);

    ck_assert_msg(r.status == status && strstr(r.out.p, text) != NULL, "%s: %d, %s", arguments,
                  r.status, r.out.p);
    buf_free(&r.out);
}

/* All bytes of the tree, as one number. */
static struct buf sums(void)
{
    struct buf command = {0}, out = {0};
    char text[128];

    buf_printf(&command, "cd %s && find data -type f | sort | xargs cat | cksum", root);
    FILE *f = popen(buf_cstr(&command), "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
    buf_puts(&out, text);
    pclose(f);
    buf_free(&command);
    return out;
}

/* Streams, subjects, messages, and a repair that is only tried: nothing changes. Then the repair.
 */
TEST(what_a_start_would_find)
{
    struct world w;
    struct fixture f[3];

    put_world(&w, f);
    export_world(&w);
    struct buf before = sums();
    says("streams data", 0, "TEST: ");
    says("streams data", 0, "34 messages, 0 lost");
    says("subjects data TEST b.one", 0, " b.one\n");
    says("messages data TEST 12 12", 0, "12 ");
    says("messages data nothing", 2, "no stream 'nothing'");
    says("repair -n data", 0, "would be made: data/log/");
    struct buf after = sums();
    ck_assert(str_eq(buf_str(&before), buf_str(&after)));
    says("repair data", 0, "34 messages, 0 lost now");
    says("verify data", 0, "no damage");
    buf_free(&before);
    buf_free(&after);
    remove_export();
    end_world(&w, f);
}

TEST(usage)
{
    snprintf(root, sizeof(root), "/tmp");
    static const char *const bad[] = {"", "print", "verify", "repair x", "print -v", "-h"};
    for (unsigned k = 0; k < ARRAY_LEN(bad); k++) {
        struct run r = inspect(bad[k]);
        ck_assert_int_eq(r.status, 2);
        ck_assert_ptr_nonnull(strstr(r.out.p, "usage: store-inspect"));
        buf_free(&r.out);
    }
    struct run r = inspect("verify /nonexistent/store");
    ck_assert_int_eq(r.status, 1);
    buf_free(&r.out);
}

static const struct runner_case cases[] = {
    RUN_LOOP(clean_store, 0, 2),
    RUN(unfinished_commits_are_not_damage),
    RUN(prepared_segment_is_not_damage),
    RUN(data_in_the_log_counts),
    RUN_LOOP(damage_is_found_and_named, 0, 4),
    RUN(missing_segment_is_found),
    RUN(print_explains),
    RUN(what_a_start_would_find),
    RUN(usage),
};

RUNNER_MAIN("store/inspect", cases)
