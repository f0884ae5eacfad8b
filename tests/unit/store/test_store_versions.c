/*
 * test_store_versions.c - directories of a newer program: each file with a newer version, or with a
 * feature bit that this program does not know. It says which file, what it found and what it knows,
 * and changes nothing; what it may ignore it ignores.
 */
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "tests/lib/runner.h"
#include "tests/unit/store/rig.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

enum { AT_VERSION = 8, AT_INCOMPAT = 16, AT_READONLY = 24, AT_COMPAT = 32 };

/* The first entry of the directory that begins with a digit or a hex digit. */
static void first_in(char *path, size_t room, const char *suffix)
{
    DIR *d = opendir(path);
    struct dirent *e;
    size_t n = strlen(path);

    ck_assert_ptr_nonnull(d);
    while ((e = readdir(d)) != NULL)
        if (e->d_name[0] != '.' && (suffix == NULL || strstr(e->d_name, suffix) != NULL))
            snprintf(path + n, room - n, "/%s", e->d_name);
    closedir(d);
    ck_assert_uint_gt(strlen(path), n);
}

static void path_of(const struct rig *r, const char *kind, char out[600])
{
    snprintf(out, 600, "%s/%s", r->path, kind);
    if (strcmp(kind, "log") == 0)
        first_in(out, 600, "-0000-0000000000.log");
    if (strcmp(kind, "streams") == 0) {
        first_in(out, 600, NULL);
        first_in(out, 600, ".seg");
    }
}

/* Changes a field of a header of `bytes` whose last four are its checksum. */
static void patch(const char *path, size_t bytes, size_t at, uint32_t value)
{
    uint8_t page[4096];
    FILE *f = fopen(path, "r+b");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fread(page, 1, bytes, f), bytes);
    put_u32(page + at, value);
    put_u32(page + bytes - 4, crc32c(0xffffffffu, page, bytes - 4));
    rewind(f);
    ck_assert_uint_eq(fwrite(page, 1, bytes, f), bytes);
    fclose(f);
}

static void make(struct rig *r, struct rig_stream *t)
{
    struct rig_options options = {.segment_min = 256 << 10, .segment_max = 256 << 10};

    rig_init(r, &options);
    rig_create(r, t, "S", STORE_DURABLE, NULL);
    rig_append(t, 10, 100, 1);
    rig_flush(t);
    rig_stop(r);
}

static uint32_t sum_of(const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE *f = fopen(path, "rb");
    size_t n = fread(bytes, 1, sizeof(bytes), f);

    fclose(f);
    return crc32c(1, bytes, n);
}

static const struct {
    const char *kind; /* of file */
    size_t bytes, at;
    uint32_t value;
    const char *file, *text[2];
} refused[] = {
    {"store.meta", 128, AT_VERSION, 2, "store.meta", {"format 2", "reads format 1"}},
    {"store.meta", 128, AT_INCOMPAT, 1u << 20, "store.meta", {"does not know", "0x100000"}},
    {"store.meta", 128, AT_READONLY, 4, "store.meta", {"does not know", "0x4"}},
    {"log", 4096, AT_VERSION, 2, ".log", {"format 2", "reads format 1"}},
    {"log", 4096, AT_INCOMPAT, 1u << 20, ".log", {"does not know", "0x100000"}},
    {"log", 4096, AT_READONLY, 4, ".log", {"does not know", "0x4"}},
};

TEST(the_directory_is_refused)
{
    struct rig r;
    struct rig_stream t;
    char path[600], why[256];

    make(&r, &t);
    path_of(&r, refused[i].kind, path);
    patch(path, refused[i].bytes, refused[i].at, refused[i].value);
    uint32_t before = sum_of(path);
    for (unsigned k = 0; k < 2; k++) { /* also the second time */
        ck_assert_int_eq(rig_try_start(&r, why), ERR_VERSION);
        ck_assert_msg(strstr(why, refused[i].file) != NULL, "%s", why);
        ck_assert_msg(strstr(why, refused[i].text[0]) != NULL, "%s", why);
        ck_assert_msg(strstr(why, refused[i].text[1]) != NULL, "%s", why);
        ck_assert_uint_eq(sum_of(path), before);
    }
    /* With the program that knows it, all is there. */
    patch(path, refused[i].bytes, refused[i].at, refused[i].at == AT_VERSION ? 1 : 0);
    rig_start(&r);
    rig_attach(&r, &t, "S");
    ck_assert_uint_eq(rig_read_all(&t, 1, ">", 100), 10);
    rig_deinit(&r);
}

static const struct {
    size_t at;
    uint32_t value;
    const char *text;
} segments[] = {
    {AT_VERSION, 7, "format 7; this program reads format 1"},
    {AT_INCOMPAT, 1u << 20, "does not know (bits 0x100000"},
    {AT_READONLY, 2, "does not know"},
};

/* One segment of a newer program costs its stream, and nothing of it is touched. */
TEST(the_stream_is_kept)
{
    struct rig r;
    struct rig_stream t, other;
    struct store_state state;
    char path[600];

    make(&r, &t);
    path_of(&r, "streams", path);
    rig_start(&r);
    rig_create(&r, &other, "T", STORE_DURABLE, NULL);
    rig_append(&other, 10, 100, 1);
    rig_flush(&other);
    rig_stop(&r);
    patch(path, 4096, segments[i].at, segments[i].value);
    uint32_t before = sum_of(path);
    for (unsigned k = 0; k < 2; k++) {
        rig_start(&r);
        ck_assert_msg(strstr(r.last_warning, segments[i].text) != NULL ||
                          strstr(r.last_warning, "kept but not served") != NULL,
                      "%s", r.last_warning);
        rig_attach(&r, &t, "S");
        store_stream_state(t.s, &state);
        ck_assert(state.failed);
        rig_attach(&r, &other, "T");
        ck_assert_uint_eq(rig_read_all(&other, 1, ">", 100), 10);
        rig_stop(&r);
        ck_assert_uint_eq(sum_of(path), before);
    }
    patch(path, 4096, segments[i].at, segments[i].at == AT_VERSION ? 1 : 0);
    rig_start(&r);
    rig_attach(&r, &t, "S");
    ck_assert_uint_eq(rig_read_all(&t, 1, ">", 100), 10);
    rig_deinit(&r);
}

/* Compatible bits say nothing that a reader or writer must know. */
TEST(compatible_bits_are_ignored)
{
    static const char *const kinds[] = {"store.meta", "log", "streams"};
    struct rig r;
    struct rig_stream t;
    char path[600];

    make(&r, &t);
    path_of(&r, kinds[i], path);
    patch(path, i == 0 ? 128 : 4096, AT_COMPAT, 0xffffffffu);
    rig_start(&r);
    ck_assert_uint_eq(r.warnings, 0);
    rig_attach(&r, &t, "S");
    ck_assert_uint_eq(rig_read_all(&t, 1, ">", 100), 10);
    rig_deinit(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(the_directory_is_refused, 0, 6),
    RUN_LOOP(the_stream_is_kept, 0, 3),
    RUN_LOOP(compatible_bits_are_ignored, 0, 3),
};

RUNNER_MAIN("store/store_versions", cases)
