/*
 * store-inspect: prints and verifies a store directory, or single files of one.
 *
 *     store-inspect print [-v] PATH...     every structure with its offset; -v: also records and
 * subjects store-inspect verify PATH...         every checksum, and what must agree between files
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
    "PATH is a store directory or one of its files (store.meta, *.log, *.seg).\n"
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

    if (!inspect_load(in, path, &bytes))
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

int main(int argc, char **argv)
{
    struct inspect in = {0};
    struct io_config config;
    struct io *io;
    int first = 2;

    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("store-inspect %s, store format %u\n", PACKAGE_VERSION, STORE_FORMAT_VERSION);
        return 0;
    }
    in.print = argc > 1 && strcmp(argv[1], "print") == 0;
    if (in.print && argc > 2 && strcmp(argv[2], "-v") == 0) {
        in.verbose = true;
        first = 3;
    }
    if (argc <= first || (!in.print && strcmp(argv[1], "verify") != 0)) {
        fputs(usage, stderr);
        return 2;
    }
    io_config_init(&config);
    config.backend = IO_BACKEND_EVENT;
    int res = io_open(&config, &io);
    if (res < 0) {
        fprintf(stderr, "store-inspect: %s\n", strerror(-res));
        return 2;
    }
    in.fs = io_fs(io);
    int status = run(&in, argc - first, argv + first);
    io_close(io);
    return status;
}
