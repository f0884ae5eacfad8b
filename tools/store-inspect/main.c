/*
 * store-inspect: prints and verifies a store directory, or single files of one.
 *
 *     store-inspect print [-v] PATH...     every structure with its offset; -v: also records
 *     store-inspect verify PATH...         every checksum, and what must agree between files
 *     store-inspect streams DIR            the streams that a start finds
 *     store-inspect subjects DIR STREAM [FILTER]
 *     store-inspect messages DIR STREAM [-f FILTER] [FROM [TO]]
 *     store-inspect repair [-n] DIR        what a start does; -n: only says what it would do
 *
 * PATH is a store directory, a store.meta, a .log or a .seg file. Only reads. verify prints one
 * line "FILE: offset N: what" per damage and exits with 1 when there is any; an unfinished commit
 * at the end of a file is not damage, it is what the next start cuts. On a store that a server has
 * open the ends of files may change while they are read.
 */
#include "tools/store-inspect/inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

static const char usage[] =
    "usage: store-inspect print [-v] PATH...\n"
    "       store-inspect verify PATH...\n"
    "       store-inspect streams DIR\n"
    "       store-inspect subjects DIR STREAM [FILTER]\n"
    "       store-inspect messages DIR STREAM [-f FILTER] [FROM [TO]]\n"
    "       store-inspect repair [-n] DIR\n"
    "       store-inspect -k KEYFILE VERB ...    of an encrypted store; not for print and verify\n"
    "PATH is a store directory or one of its files (store.meta, *.log, *.seg).\n"
    "messages: a line \"sequence time subject header-bytes payload-bytes\", header, payload, "
    "newline.\n"
    "repair is what the next start of a server does; -n says what that would be.\n"
    "verify exits with 1 when it finds damage.\n";

static bool is_directory(struct inspect *in, const char *path)
{
    struct rec_names names;
    fs_fd fd = fs_open(in->fs, path, IO_FILE_READ);
    struct buf meta = {0};

    if (fd >= 0)
        fs_close(in->fs, fd);
    buf_printf(&meta, "%s/store.meta", path);
    fs_fd inside = fs_open(in->fs, buf_cstr(&meta), IO_FILE_READ);
    buf_free(&meta);
    if (inside >= 0) {
        fs_close(in->fs, inside);
        return true;
    }
    bool listable = rec_list(in->fs, path, &names) == ERR_OK && names.n != 0;
    rec_names_free(&names);
    return listable;
}

static void inspect_file(struct inspect *in, const char *path)
{
    struct inspect_context context = {0};
    struct inspect_bytes bytes;

    if (inspect_mark(in, path) || !inspect_load(in, path, &bytes))
        return;
    switch (inspect_kind_of(path, &bytes)) {
    case INSPECT_SUPERBLOCK:
        inspect_superblock(in, path, &bytes);
        break;
    case INSPECT_LOG:
        inspect_log(in, path, &bytes);
        break;
    case INSPECT_SEGMENT:
        inspect_segment(in, path, &bytes, &context);
        break;
    case INSPECT_UNKNOWN:
        inspect_damage(in, path, 0, "not a file of a store");
        break;
    }
    inspect_unload(&bytes);
}

static int run(struct inspect *in, int n, char **paths)
{
    for (int i = 0; i < n; i++) {
        if (is_directory(in, paths[i]))
            inspect_dir(in, paths[i]);
        else
            inspect_file(in, paths[i]);
    }
    if (!in->print && in->damage == 0)
        printf("%" PRIu64 " files, %" PRIu64 " log records, %" PRIu64 " messages of %" PRIu64
               " bytes: no damage\n",
               in->files, in->records, in->messages, in->bytes);
    if (!in->print && in->damage != 0)
        printf("%" PRIu64 " files: %" PRIu64 " lines of damage\n", in->files, in->damage);
    return in->damage != 0 ? 1 : 0;
}

/* The verbs of inspect_store.c; -1: it is none of them, or used wrongly. */
static int run_store(struct inspect *in, int n, char **a)
{
    const char *filter = NULL;
    uint64_t from = 1, to = UINT64_MAX;

    if (strcmp(a[0], "repair") == 0 && n == 3 && strcmp(a[1], "-n") == 0)
        return inspect_repair(in, a[2], true);
    if (n < 2 || !is_directory(in, a[1]))
        return -1;
    if (strcmp(a[0], "repair") == 0 && n == 2)
        return inspect_repair(in, a[1], false);
    if (strcmp(a[0], "streams") == 0 && n == 2)
        return inspect_streams(in, a[1]);
    if (strcmp(a[0], "subjects") == 0 && (n == 3 || n == 4))
        return inspect_subjects(in, a[1], a[2], n == 4 ? a[3] : NULL);
    if (strcmp(a[0], "messages") != 0 || n < 3)
        return -1;
    int at = 3;
    if (at + 1 < n && strcmp(a[at], "-f") == 0) {
        filter = a[at + 1];
        at += 2;
    }
    if ((at < n && !str_to_u64(str_of(a[at]), &from)) ||
        (at + 1 < n && !str_to_u64(str_of(a[at + 1]), &to)) || at + 2 < n)
        return -1;
    return inspect_messages(in, a[1], a[2], filter, from, to);
}

static bool read_key(struct inspect *in, const char *path)
{
    char bytes[4096];
    fs_fd fd = fs_open(in->fs, path, IO_FILE_READ);
    int64_t n = fd < 0 ? fd : fs_read(in->fs, fd, bytes, sizeof(bytes), 0);

    if (fd >= 0)
        fs_close(in->fs, fd);
    if (n < 0) {
        fprintf(stderr, "store-inspect: %s: %s\n", path, strerror((int) -n));
        return false;
    }
    while (n > 0 && (bytes[n - 1] == '\n' || bytes[n - 1] == '\r'))
        n--;
    buf_put(&in->key, bytes, (size_t) n);
    return true;
}

/* print and verify. */
static int run_files(struct inspect *in, int n, char **a)
{
    int first = 1;

    in->print = strcmp(a[0], "print") == 0;
    if (in->print && n > 1 && strcmp(a[1], "-v") == 0) {
        in->verbose = true;
        first = 2;
    }
    if (n <= first || (!in->print && strcmp(a[0], "verify") != 0))
        return -1;
    return run(in, n - first, a + first);
}

int main(int argc, char **argv)
{
    struct inspect in = {0};
    struct io_config config;
    struct io *io;
    int at = 1, status = -1;

    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("store-inspect %s, store format %u\n", PACKAGE_VERSION, STORE_FORMAT_VERSION);
        return 0;
    }
    io_config_init(&config);
    config.backend = IO_BACKEND_EVENT;
    int res = io_open(&config, &io);
    if (res < 0) {
        fprintf(stderr, "store-inspect: %s\n", strerror(-res));
        return 2;
    }
    in.fs = io_fs(io);
    if (argc > 3 && strcmp(argv[1], "-k") == 0) {
        status = read_key(&in, argv[2]) ? -1 : 2;
        at = 3;
    }
    if (at < argc && status < 0)
        status = run_files(&in, argc - at, argv + at);
    if (at < argc && status < 0)
        status = run_store(&in, argc - at, argv + at);
    if (status < 0)
        fputs(usage, stderr);
    io_close(io);
    buf_free(&in.key);
    return status < 0 ? 2 : status;
}
