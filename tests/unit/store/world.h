/*
 * world.h - a store directory made by hand on the simulated disk, for the tests of recovery.
 *
 * world_init opens and closes an empty store (generation 1); the test then writes segments and the
 * log of generation 2 as a server would have left them, and calls world_open.
 */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include "store/dir.h"
#include "store/log_format.h"
#include "store/superblock.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/segment_fixture.h"

#define WORLD_PATH "/data"
#define WORLD_LOG_BYTES (128u << 10)

struct world_log {
    struct log log;
    unsigned warnings, errors;
    char last[512];  /* last warning */
    char error[512]; /* first error */
};

struct world {
    struct sim *sim;
    struct io_fs *fs;
    struct world_log lines;
    struct store_dir_options options;
    struct store_dir *dir; /* open, or NULL */
    uint8_t uuid[16];
    uint64_t generation; /* of the log being written */
    struct log_frame frame;
    struct buf log_file;
    uint64_t commit, version;
    uint32_t prev, salt;
};

static inline void world_line(struct log *log, enum log_level level, const char *text)
{
    struct world_log *w = CONTAINER_OF(log, struct world_log, log);

    if (level <= LOG_ERROR && w->errors++ == 0)
        snprintf(w->error, sizeof(w->error), "%s", text);
    if (level == LOG_WARN)
        w->warnings++;
    if (level <= LOG_WARN)
        snprintf(w->last, sizeof(w->last), "%s", text);
    if (getenv("WORLD_VERBOSE") != NULL)
        fprintf(stderr, "[%d] %s\n", (int) level, text);
}

static inline enum err world_try_open(struct world *w)
{
    char why[256] = "";
    enum err err = store_dir_open(&w->options, &w->dir, why);

    if (err != ERR_OK) {
        w->dir = NULL;
        snprintf(w->lines.last, sizeof(w->lines.last), "%s", why);
        ck_assert_uint_ne(strlen(why), 0);
    }
    return err;
}

static inline void world_open(struct world *w)
{
    w->lines.warnings = w->lines.errors = 0;
    ck_assert_msg(world_try_open(w) == ERR_OK, "%s", w->lines.last);
}

static inline void world_close(struct world *w)
{
    if (w->dir != NULL)
        store_dir_close(w->dir);
    w->dir = NULL;
}

/* On this simulator; its disk may hold a world already. */
static inline void world_attach(struct world *w, struct sim *sim)
{
    *w = (struct world){.sim = sim, .fs = sim_fs(sim), .generation = 2};
    w->lines.log = (struct log){.line = world_line, .enabled = ~0u};
    w->options = (struct store_dir_options){.fs = w->fs,
                                            .path = WORLD_PATH,
                                            .log = NULL,
                                            .workers = 1,
                                            .log_file_bytes = WORLD_LOG_BYTES,
                                            .seed = 77};
}

static inline void world_begin_log(struct world *w, uint64_t number, uint64_t commit)
{
    struct log_header h = {.generation = w->generation,
                           .workers = 1,
                           .number = number,
                           .first_commit = commit,
                           .file_bytes = WORLD_LOG_BYTES};

    memcpy(h.store, w->uuid, 16);
    buf_clear(&w->log_file);
    log_header_encode(&h, (uint8_t *) buf_reserve(&w->log_file, LOG_HEADER));
    w->log_file.n = LOG_HEADER;
    w->salt = h.salt;
    w->commit = commit;
    log_frame_begin(&w->frame, w->salt, w->commit);
}

static inline void world_init(struct world *w)
{
    world_attach(w, sim_open(11, NULL));
    w->options.log = &w->lines.log;
    world_open(w);
    store_dir_uuid(w->dir, w->uuid);
    world_close(w);
    world_begin_log(w, 0, 1);
}

static inline void world_free(struct world *w)
{
    world_close(w);
    log_frame_free(&w->frame);
    buf_free(&w->log_file);
    sim_close(w->sim);
}

/* ---- files --------------------------------------------------------------------------------- */

static inline void world_write(struct world *w, const char *path, const void *bytes, size_t n)
{
    fs_unlink(w->fs, path);
    fs_fd fd = fs_open(w->fs, path, IO_FILE_WRITE | IO_FILE_CREATE);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fs_write(w->fs, fd, bytes, n, 0), 0);
    ck_assert_int_eq(fs_sync(w->fs, fd), 0);
    fs_close(w->fs, fd);
}

static inline void world_sync_dirs(struct world *w)
{
    static const char *const names[] = {"/data/log", "/data/streams", "/data"};
    for (unsigned k = 0; k < 3; k++)
        fs_sync_dir(w->fs, names[k]);
}

static inline struct buf world_read(struct world *w, const char *path)
{
    struct buf b = {0};
    fs_fd fd = fs_open(w->fs, path, IO_FILE_READ);

    if (fd < 0)
        return b;
    int64_t n = fs_size(w->fs, fd);
    buf_reserve(&b, (size_t) n);
    ck_assert_int_eq(fs_read(w->fs, fd, b.p, (size_t) n, 0), n);
    b.n = (size_t) n;
    fs_close(w->fs, fd);
    return b;
}

static inline bool world_has(struct world *w, const char *path)
{
    fs_fd fd = fs_open(w->fs, path, IO_FILE_READ);

    if (fd >= 0)
        fs_close(w->fs, fd);
    return fd >= 0;
}

static inline void world_flip(struct world *w, const char *path, uint64_t at, uint8_t pattern)
{
    uint8_t byte;
    fs_fd fd = fs_open(w->fs, path, IO_FILE_WRITE);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fs_read(w->fs, fd, &byte, 1, at), 1);
    byte ^= pattern;
    ck_assert_int_eq(fs_write(w->fs, fd, &byte, 1, at), 0);
    fs_sync(w->fs, fd);
    fs_close(w->fs, fd);
}

static inline void world_count_name(void *ctx, const char *name __attribute__((unused)))
{
    ++*(unsigned *) ctx;
}

static inline unsigned world_count(struct world *w, const char *path)
{
    unsigned n = 0;

    ck_assert_int_eq(fs_list(w->fs, path, world_count_name, &n), 0);
    return n;
}

/* ---- segments ------------------------------------------------------------------------------ */

/* The fixture is a segment of stream `stream` in this store. */
static inline void world_segment(struct world *w, struct fixture *f, uint8_t stream,
                                 uint64_t number, uint64_t base_seq)
{
    fixture_init(f, base_seq);
    memcpy(f->header.store, w->uuid, 16);
    memset(f->header.stream, stream, 16);
    f->header.number = number;
    f->epoch = 2;
    segment_header_encode(&f->header, (uint8_t *) f->file.p);
}

static inline void world_segment_path(struct world *w, const struct fixture *f,
                                      char path[STORE_PATH])
{
    struct store_dir shell = {.path = w->dir != NULL ? w->dir->path : (char[]){WORLD_PATH}};
    store_path_segment(&shell, path, f->header.stream, f->header.number, f->header.generation);
}

/* Writes the file, with `rest` bytes of recycled contents behind it. */
static inline void world_put_segment(struct world *w, struct fixture *f, size_t rest)
{
    struct store_dir shell = {.path = (char[]){WORLD_PATH}};
    char path[STORE_PATH];
    struct buf all = {0};

    store_path_stream(&shell, path, f->header.stream);
    fs_mkdir(w->fs, path);
    buf_put_str(&all, buf_str(&f->file));
    for (size_t k = 0; k < rest; k++)
        buf_putc(&all, (char) (k * 7));
    world_segment_path(w, f, path);
    world_write(w, path, all.p, all.n);
    store_path_stream(&shell, path, f->header.stream);
    fs_sync_dir(w->fs, path);
    world_sync_dirs(w);
    buf_free(&all);
}

/* ---- the log ------------------------------------------------------------------------------- */

static inline void world_record(struct world *w, enum log_type type, unsigned kind, uint64_t id,
                                uint64_t version, uint64_t parent, struct str bytes)
{
    struct log_record r = {.type = (uint8_t) type,
                           .kind = (uint16_t) kind,
                           .id = id,
                           .version = version,
                           .parent = parent,
                           .bytes = bytes};
    log_frame_add(&w->frame, &r);
}

static inline void world_end_frame(struct world *w)
{
    if (w->frame.count == 0)
        return;
    w->prev = log_frame_seal(&w->frame, w->commit - 1, w->prev, 0);
    buf_put_str(&w->log_file, buf_str(&w->frame.meta));
    buf_put_str(&w->log_file, buf_str(&w->frame.body));
    log_frame_begin(&w->frame, w->salt, ++w->commit);
}

static inline void world_start(struct world *w)
{
    uint8_t bytes[LOG_START_BYTES];
    struct log_start s = {.workers = 1};

    log_start_encode(&s, bytes);
    world_record(w, LOG_START, 0, 0, 0, 0, str_from(bytes, sizeof(bytes)));
    world_end_frame(w);
}

/* The record of a stream without anything removed. */
static inline void world_stream_record(uint8_t stream, struct stream_record *r)
{
    *r = (struct stream_record){.first_seq = 1, .next_segment = 1};
    memset(r->uuid, stream, 16);
    buf_puts(&r->name, "TEST");
    buf_puts(&r->config, "{}");
}

static inline void world_stream(struct world *w, uint64_t id, const struct stream_record *r)
{
    struct buf full = {0};

    stream_record_encode(r, &full);
    world_record(w, LOG_FULL, STORE_KIND_STREAM, id, 1, 0, buf_str(&full));
    buf_free(&full);
}

static inline void world_put_log(struct world *w, uint64_t number)
{
    struct store_dir shell = {.path = (char[]){WORLD_PATH}};
    char path[STORE_PATH];

    world_end_frame(w);
    while (w->log_file.n < WORLD_LOG_BYTES)
        buf_putc(&w->log_file, '\0');
    store_path_log(&shell, path, w->generation, 0, number);
    world_write(w, path, w->log_file.p, w->log_file.n);
    world_sync_dirs(w);
}

/* The old generation is gone. */
static inline void world_drop_first_generation(struct world *w)
{
    fs_unlink(w->fs, "/data/log/0000000001-0000-0000000000.log");
    world_sync_dirs(w);
}

#endif
