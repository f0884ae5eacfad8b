/*
 * Opening and recovering a store directory on the simulated disk: identity and lock, objects,
 * streams. Damage and power cuts are in test_recover_damage.c.
 */
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "store/dir.h"
#include "tests/lib/runner.h"
#include "tests/unit/store/world_stream.h"

/* ---- identity and lock --------------------------------------------------------------------- */

TEST(fresh_directory)
{
    struct world w;

    world_attach(&w, sim_open(1, NULL));
    w.options.path = "/a/b/data";
    w.options.workers = 2;
    for (unsigned k = 0; k < 3; k++) {
        world_open(&w);
        ck_assert_uint_eq(w.dir->generation, k + 1);
        ck_assert_uint_eq(store_dir_recovery(w.dir)->streams, 0);
        /* The old files are the spares of the new ones. */
        ck_assert_uint_eq(world_count(&w, "/a/b/data/log"), k == 0 ? 2 : 4);
        ck_assert_int_eq(w.dir->workers[0].log.spare && w.dir->workers[1].log.spare, k > 0);
        ck_assert_str_eq(store_dir_path(w.dir), "/a/b/data");
        world_close(&w);
    }
    world_free(&w);
}

TEST(lock_names_the_owner)
{
    struct world w, second;

    world_init(&w);
    world_open(&w);
    world_attach(&second, w.sim);
    ck_assert_int_eq(world_try_open(&second), ERR_BUSY);
    ck_assert_str_eq(second.lines.last, "/data/LOCK: in use by process 1");
    world_close(&w);
    ck_assert_int_eq(world_try_open(&second), ERR_OK);
    world_close(&second);
    world_free(&w);
}

/* Everything but the lock file. */
static uint64_t data_digest(struct world *w)
{
    static const char *const parts[] = {"data/log", "data/streams", "data/store.meta",
                                        "data/quarantine"};
    uint64_t all = 0;

    /* A path that names nothing would compare nothing. */
    ck_assert(sim_disk_digest(sim_disk(w->sim), parts[2]) !=
              sim_disk_digest(sim_disk(w->sim), "nowhere"));
    for (size_t k = 0; k < sizeof(parts) / sizeof(parts[0]); k++)
        all = all * 31 + sim_disk_digest(sim_disk(w->sim), parts[k]);
    return all;
}

TEST(newer_store_is_refused_untouched)
{
    struct world w;

    world_init(&w);
    struct buf meta = world_read(&w, "/data/store.meta");
    put_u32(meta.p + 8, 9);
    put_u32(meta.p + 124, crc32c(0xffffffffu, meta.p, 124));
    world_write(&w, "/data/store.meta", meta.p, meta.n);
    uint64_t before = data_digest(&w);
    ck_assert_int_eq(world_try_open(&w), ERR_VERSION);
    ck_assert_ptr_nonnull(
        strstr(w.lines.last, "/data/store.meta: format 9; this program reads format 1"));
    ck_assert(before == data_digest(&w));
    buf_free(&meta);
    world_free(&w);
}

TEST(newer_log_is_refused)
{
    struct world w;

    world_init(&w);
    const char *path = "/data/log/0000000001-0000-0000000000.log";
    struct buf log = world_read(&w, path);
    put_u64(log.p + 16, 64); /* an unknown incompatible feature */
    put_u32(log.p + 4092, crc32c(0xffffffffu, log.p, 4092));
    world_write(&w, path, log.p, log.n);
    ck_assert_int_eq(world_try_open(&w), ERR_VERSION);
    ck_assert_ptr_nonnull(strstr(w.lines.last, path));
    buf_free(&log);
    world_free(&w);
}

TEST(damaged_or_missing_meta_is_put_together_again) /* i = 1: missing */
{
    struct world w;
    uint8_t uuid[16];

    world_init(&w);
    if (i == 1)
        fs_unlink(w.fs, "/data/store.meta");
    else
        world_flip(&w, "/data/store.meta", 45, 1);
    world_open(&w);
    store_dir_uuid(w.dir, uuid);
    ck_assert(memcmp(uuid, w.uuid, 16) == 0);
    ck_assert_uint_ge(w.lines.warnings, 1);
    ck_assert_uint_eq(store_dir_recovery(w.dir)->quarantined_files, i == 0);
    world_free(&w);
}

TEST(bad_options)
{
    struct world w;
    char path[600];

    world_attach(&w, sim_open(1, NULL));
    w.options.log_file_bytes = 4096;
    ck_assert_int_eq(world_try_open(&w), ERR_INVALID);
    w.options.log_file_bytes = WORLD_LOG_BYTES;
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[599] = '\0';
    w.options.path = path;
    ck_assert_int_eq(world_try_open(&w), ERR_TOO_LARGE);
    world_free(&w);
}

/* ---- objects ------------------------------------------------------------------------------- */

static const struct recovered_object *object(const struct world *w, uint64_t id)
{
    const struct recovered_worker *rw = &w->dir->workers[0];

    for (size_t k = 0; k < rw->nobjects; k++)
        if (rw->objects[k].view.id == id)
            return &rw->objects[k];
    return NULL;
}

static void check_objects(const struct world *w)
{
    const struct recovered_worker *rw = &w->dir->workers[0];
    const struct recovered_object *o = object(w, 10);

    ck_assert_uint_eq(rw->nobjects, 3);
    ck_assert(o != NULL && str_eq(o->view.full, STR("ten")) && o->view.ndeltas == 2);
    ck_assert(str_eq(o->view.deltas[0], STR("+a")) && str_eq(o->view.deltas[1], STR("+b")));
    ck_assert_uint_eq(o->version, 3);
    ck_assert_uint_eq(o->full_bytes, 3);
    ck_assert_uint_eq(o->delta_bytes, 4);
    ck_assert(str_eq(object(w, 11)->view.full, STR("eleven, anew")) &&
              object(w, 11)->view.ndeltas == 0);
    ck_assert(object(w, 5)->view.parent == 10);
    ck_assert(rw->objects[2].view.id == 5); /* behind its parent */
    ck_assert(object(w, 12) == NULL && object(w, 13) == NULL && object(w, 14) == NULL);
}

static void put_objects(struct world *w)
{
    world_record(w, LOG_FULL, 20, 10, 1, 0, STR("ten"));
    world_record(w, LOG_FULL, 21, 11, 1, 0, STR("eleven"));
    world_record(w, LOG_FULL, 22, 5, 1, 10, STR("child"));
    world_record(w, LOG_FULL, 21, 12, 1, 0, STR("to be deleted"));
    world_record(w, LOG_FULL, 22, 13, 1, 12, STR("its child"));
    world_record(w, LOG_FULL, 22, 14, 1, 13, STR("its child's child"));
    world_start(w);
    world_record(w, LOG_DELTA, 20, 10, 2, 0, STR("+a"));
    world_end_frame(w);
    world_record(w, LOG_DELTA, 21, 11, 2, 0, STR("+x"));
    world_record(w, LOG_FULL, 21, 11, 3, 0, STR("eleven, anew"));
    world_record(w, LOG_DELETE, 21, 12, 2, 0, STR_NONE);
    world_end_frame(w);
    world_record(w, LOG_DELTA, 20, 10, 3, 0, STR("+b"));
}

TEST(objects)
{
    struct world w;

    world_init(&w);
    put_objects(&w);
    world_put_log(&w, 0);
    world_drop_first_generation(&w);
    for (unsigned k = 0; k < 3; k++) { /* the new generation says the same as the old one */
        world_open(&w);
        check_objects(&w);
        ck_assert_uint_eq(w.lines.warnings, 0);
        ck_assert(!store_dir_recovery(w.dir)->clean);
        world_close(&w);
    }
    world_free(&w);
}

TEST(clean_close_is_seen)
{
    struct world w;

    world_init(&w);
    put_objects(&w);
    world_record(&w, LOG_CLOSE, 0, 0, 0, 0, STR_NONE);
    world_put_log(&w, 0);
    world_open(&w);
    check_objects(&w);
    ck_assert(store_dir_recovery(w.dir)->clean);
    world_free(&w);
}

/* i = number of the file where a new one begins, 0 = all in one. */
TEST(several_log_files)
{
    struct world w;

    world_init(&w);
    put_objects(&w);
    world_put_log(&w, 0);
    world_begin_log(&w, 1, w.commit);
    world_record(&w, LOG_FULL, 20, 10, 4, 0, STR("ten anew"));
    world_put_log(&w, 1);
    world_begin_log(&w, 2, w.commit);
    world_record(&w, LOG_DELTA, 20, 10, 5, 0, STR("+z"));
    world_put_log(&w, 2);
    world_drop_first_generation(&w);
    /* The first file was freed, which proves that the start was complete; 11 and 5 went with it. */
    if (i == 1) {
        fs_unlink(w.fs, "/data/log/0000000002-0000-0000000000.log");
        world_sync_dirs(&w);
    }
    world_open(&w);
    ck_assert(str_eq(object(&w, 10)->view.full, STR("ten anew")));
    ck_assert_uint_eq(object(&w, 10)->view.ndeltas, 1);
    ck_assert((object(&w, 11) == NULL) == (i == 1));
    ck_assert_uint_eq(world_count(&w, "/data/log"), w.dir->workers[0].log.spare ? 2 : 1);
    world_free(&w);
}

/* The header page of a log file is written with its first frame. i = 0: that was the last one
 * before the power cut; 1: a later frame says that it was complete. */
TEST(header_of_a_log_file_is_torn)
{
    const char *path = "/data/log/0000000002-0000-0000000001.log";
    struct world w;

    world_init(&w);
    put_objects(&w);
    world_put_log(&w, 0);
    world_begin_log(&w, 1, w.commit);
    world_record(&w, LOG_DELTA, 20, 10, 4, 0, STR("+c"));
    world_end_frame(&w);
    if (i == 1)
        world_record(&w, LOG_DELTA, 20, 10, 5, 0, STR("+d"));
    world_put_log(&w, 1);
    world_drop_first_generation(&w);
    world_flip(&w, path, 100, 0xff);
    world_open(&w);
    ck_assert_uint_eq(object(&w, 10)->view.ndeltas, i == 1 ? 4 : 3);
    ck_assert_uint_eq(w.lines.warnings, i == 1 ? 2 : 0);
    ck_assert_uint_eq(store_dir_recovery(w.dir)->quarantined_files, (unsigned) i);
    world_free(&w);
}

TEST(unused_next_file_is_taken_over)
{
    struct world w;
    struct buf old;

    world_init(&w);
    put_objects(&w);
    world_put_log(&w, 0);
    old = world_read(&w, "/data/log/0000000001-0000-0000000000.log");
    world_write(&w, "/data/log/0000000002-0000-0000000001.log", old.p, old.n); /* recycled contents
                                                                                */
    world_drop_first_generation(&w);
    sim_fault_arm(w.sim, SIM_FAULT_ALLOCATE, 1, 100); /* the disk is full */
    world_open(&w);
    check_objects(&w);
    ck_assert_uint_eq(w.lines.warnings, 0);
    buf_free(&old);
    world_free(&w);
}

TEST(full_disk_says_so)
{
    struct world w;

    world_init(&w);
    sim_fault_arm(w.sim, SIM_FAULT_ALLOCATE, 1, 100);
    ck_assert_int_eq(world_try_open(&w), ERR_NO_SPACE);
    ck_assert_ptr_nonnull(strstr(w.lines.last, "/data/log/0000000002-0000-0000000000.log"));
    sim_fault_arm(w.sim, SIM_FAULT_ALLOCATE, 0, 0);
    world_open(&w);
    world_free(&w);
}

TEST(unfinished_start_is_ignored)
{
    struct world w;

    world_init(&w);
    put_objects(&w);
    world_put_log(&w, 0);
    w.generation = 3;
    w.prev = 0;
    world_begin_log(&w, 0, 1);
    world_record(&w, LOG_FULL, 20, 10, 9, 0, STR("wrong"));
    world_put_log(&w, 0);
    world_open(&w);
    check_objects(&w);
    ck_assert_uint_eq(w.dir->generation, 4);
    ck_assert_uint_eq(world_count(&w, "/data/log"), w.dir->workers[0].log.spare ? 2 : 1);
    world_free(&w);
}

TEST(missing_change_is_reported)
{
    struct world w;

    world_init(&w);
    put_objects(&w);
    world_record(&w, LOG_DELTA, 20, 10, 5, 0, STR("+d")); /* 4 is missing */
    world_record(&w, LOG_DELTA, 20, 99, 2, 0, STR("of whom?"));
    world_put_log(&w, 0);
    world_open(&w);
    ck_assert_uint_eq(object(&w, 10)->view.ndeltas, 3);
    ck_assert(object(&w, 99) == NULL);
    ck_assert_uint_eq(w.lines.warnings, 3); /* two, and the file went to quarantine */
    ck_assert_uint_eq(store_dir_recovery(w.dir)->quarantined_files, 1);
    ck_assert_uint_eq(world_count(&w, "/data/quarantine"), 1);
    world_free(&w);
}

static unsigned second(void *ctx __attribute__((unused)), store_object_id id, struct str name)
{
    ck_assert_uint_eq(id, 7);
    ck_assert(str_eq(name, STR("TEST")));
    return 1;
}

TEST(objects_go_to_the_worker_of_their_stream)
{
    struct world w;
    struct stream_record r;

    world_init(&w);
    world_stream_record(5, &r);
    world_stream(&w, 7, &r);
    world_record(&w, LOG_FULL, 20, 8, 1, 7, STR("consumer"));
    world_record(&w, LOG_FULL, 20, 9, 1, 8, STR("something of the consumer's"));
    world_record(&w, LOG_FULL, 20, 3, 1, 0, STR("nobody's"));
    world_start(&w);
    world_put_log(&w, 0);
    w.options.workers = 2;
    w.options.place = second;
    world_open(&w);
    ck_assert_uint_eq(w.dir->workers[0].nobjects, 1);
    ck_assert_uint_eq(w.dir->workers[0].nstreams, 0);
    ck_assert_uint_eq(w.dir->workers[1].nobjects, 2);
    ck_assert_uint_eq(w.dir->workers[1].nstreams, 1);
    ck_assert(str_eq(buf_str(&w.dir->workers[1].streams[0].rec.config), STR("{}")));
    world_close(&w);
    w.options.workers = 1; /* and back: fewer workers than logs */
    w.options.place = NULL;
    world_open(&w);
    ck_assert_uint_eq(w.dir->workers[0].nobjects, 3);
    ck_assert_uint_eq(w.dir->workers[0].nstreams, 1);
    stream_record_deinit(&r);
    world_free(&w);
}

TEST(many_objects_fill_several_files)
{
    struct world w;
    static char big[3000];

    world_init(&w);
    memset(big, 'b', sizeof(big));
    world_start(&w);
    for (unsigned k = 1; k <= 30; k++) {
        world_record(&w, LOG_FULL, 20, k, 1, 0, str_from(big, sizeof(big)));
        if (k % 5 == 0)
            world_end_frame(&w);
    }
    world_put_log(&w, 0);
    w.options.log_file_bytes = 40960;
    for (unsigned k = 0; k < 3; k++) {
        world_open(&w);
        ck_assert_uint_eq(w.dir->workers[0].nobjects, 30);
        ck_assert_uint_ge(world_count(&w, "/data/log"), 3);
        ck_assert_uint_eq(w.dir->workers[0].log.number + 1 + w.dir->workers[0].log.spare,
                          world_count(&w, "/data/log"));
        ck_assert_uint_eq(w.lines.warnings, 0);
        world_close(&w);
    }
    world_free(&w);
}

/* ---- streams ------------------------------------------------------------------------------- */

TEST(stream)
{
    struct world w;
    struct fixture f[3];

    put_world(&w, f);
    for (unsigned k = 0; k < 3; k++) {
        world_open(&w);
        struct recovered_stream *s = stream(&w);
        struct content c = content(&w, s);
        ck_assert(c.messages == 34 && c.first == 1 && c.last == 34);
        ck_assert_uint_eq(s->last_seq, 34);
        ck_assert_int_eq(s->last_ts, 1000 + 13 * 7);
        ck_assert_uint_eq(s->nsegments, 3);
        ck_assert_int_eq(s->segments[1].state, RECOVERED_SEALED); /* by this start, or an earlier
                                                                     one */
        ck_assert_int_eq(s->segments[2].state, RECOVERED_ACTIVE);
        ck_assert_uint_eq(s->segments[2].write_offset, round_up(f[2].file.n, 4096));
        ck_assert_uint_eq(s->rec.next_segment, 4);
        ck_assert_uint_eq(store_dir_recovery(w.dir)->messages, 34);
        ck_assert_uint_eq(store_dir_recovery(w.dir)->lost_messages, 0);
        ck_assert_uint_eq(w.lines.warnings, 0);
        world_close(&w);
    }
    end_world(&w, f);
}

TEST(recovering_twice_gives_the_same_bytes)
{
    struct world w;
    struct fixture f[3];
    uint64_t digest[3];

    put_world(&w, f);
    for (unsigned k = 0; k < 3; k++) {
        world_open(&w);
        world_close(&w);
        digest[k] = sim_disk_digest(sim_disk(w.sim), "data/streams");
    }
    ck_assert(digest[0] == digest[1] && digest[1] == digest[2]);
    end_world(&w, f);
}

TEST(removed_and_purged)
{
    struct world w;
    struct fixture f[3];
    struct buf delta = {0};

    world_init(&w);
    put_stream(&w, f);
    stream_delta_purge(&delta, 5);
    stream_delta_remove(&delta, 12, 15);
    world_record(&w, LOG_DELTA, STORE_KIND_STREAM, 7, 2, 0, buf_str(&delta));
    world_put_log(&w, 0);
    for (unsigned k = 0; k < 2; k++) {
        world_open(&w);
        struct content c = content(&w, stream(&w));
        ck_assert(c.messages == 26 && c.first == 5 && c.last == 34);
        world_close(&w);
    }
    buf_free(&delta);
    end_world(&w, f);
}

TEST(data_of_the_log_goes_into_the_segment)
{
    struct world w;
    struct fixture f[3];
    char path[STORE_PATH];

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
    r.segment = 77; /* a segment that was released */
    log_frame_add(&w.frame, &r);
    r.id = 78;
    log_frame_add(&w.frame, &r);
    world_put_log(&w, 0);
    world_segment_path(&w, &f[2], path);
    struct buf file = world_read(&w, path);
    memset(file.p + b->offset, 0, b->bytes);
    world_write(&w, path, file.p, file.n);
    world_open(&w);
    struct content c = content(&w, stream(&w));
    ck_assert_uint_eq(c.messages, 34);
    ck_assert_uint_eq(store_dir_recovery(w.dir)->log_bytes_replayed, b->bytes);
    ck_assert_uint_eq(w.lines.warnings, 0);
    buf_free(&file);
    end_world(&w, f);
}

/* Data of the log for segment 3, which does not have it. */
static void put_data_in_log(struct world *w, struct fixture f[3], char path[STORE_PATH])
{
    const struct segment_batch *b = &f[2].batches[1];
    struct log_record r = {.type = LOG_DATA,
                           .kind = STORE_KIND_STREAM,
                           .id = 7,
                           .segment = 3,
                           .offset = b->offset,
                           .bytes = str_from(f[2].file.p + b->offset, b->bytes)};

    log_frame_add(&w->frame, &r);
    world_segment_path(w, &f[2], path);
    struct buf file = world_read(w, path);
    memset(file.p + b->offset, 0, b->bytes);
    world_write(w, path, file.p, file.n);
    buf_free(&file);
}

/* The log is the only one that has them: a start that can not open their segment is refused, and
 * the next one finds them. */
TEST(data_of_the_log_waits_for_its_segment)
{
    struct world w;
    struct fixture f[3];
    char path[STORE_PATH], aside[] = WORLD_PATH "/aside.seg";

    world_init(&w);
    put_stream(&w, f);
    put_data_in_log(&w, f, path);
    world_put_log(&w, 0);
    ck_assert_int_eq(fs_rename(w.fs, path, aside), 0);
    ck_assert_int_eq(fs_mkdir(w.fs, path), 0); /* a file that can not be opened */
    ck_assert_int_ne(world_try_open(&w), ERR_OK);
    ck_assert_msg(strstr(w.lines.last, "0000000003.seg") != NULL, "%s", w.lines.last);
    ck_assert_int_eq(fs_rmdir(w.fs, path), 0);
    ck_assert_int_eq(fs_rename(w.fs, aside, path), 0);
    world_open(&w);
    ck_assert_uint_eq(content(&w, stream(&w)).messages, 34);
    ck_assert_uint_eq(store_dir_recovery(w.dir)->lost_messages, 0);
    end_world(&w, f);
}

/* A record that is not understood: its UUID is, and the data goes where it belongs (i = 0). When
 * not even that is, the log stays (1). */
TEST(data_of_a_stream_that_is_not_understood)
{
    struct world w;
    struct fixture f[3];
    char path[STORE_PATH];

    world_init(&w);
    put_stream(&w, f);
    put_data_in_log(&w, f, path);
    if (i == 0)
        world_record(&w, LOG_DELTA, STORE_KIND_STREAM, 7, 2, 0, STR("\x3f\x01x"));
    else
        world_record(&w, LOG_FULL, STORE_KIND_STREAM, 7, 2, 0, STR("\x09 of a newer version"));
    world_put_log(&w, 0);
    if (i == 1) {
        ck_assert_int_eq(world_try_open(&w), ERR_VERSION);
        end_world(&w, f);
        return;
    }
    world_open(&w);
    ck_assert(stream(&w)->failed);
    const struct segment_batch *b = &f[2].batches[1];
    struct buf file = world_read(&w, path);
    ck_assert(memcmp(file.p + b->offset, f[2].file.p + b->offset, b->bytes) == 0);
    buf_free(&file);
    end_world(&w, f);
}

/* The stream of put_stream, as it was rendered when this message was erased. */
static void put_later_record(struct world *w, uint64_t erased)
{
    struct stream_record r;
    struct buf full = {0};

    world_stream_record(5, &r);
    for (unsigned k = 0; k < 3; k++)
        stream_record_add_segment(&r, k + 1, 1 + 10 * k);
    stream_record_remove(&r, erased, erased);
    stream_record_encode(&r, &full);
    world_record(w, LOG_FULL, STORE_KIND_STREAM, 7, 3, 0, buf_str(&full));
    stream_record_deinit(&r);
    buf_free(&full);
}

/* i = 0: erased in the segment, 1: not begun. 2: torn while it was written over; then the image in
 * the log takes its place, and not the batch as it was. 3: erased, and damaged later: the log,
 * where a full record does not name it any more, has its neighbours. */
TEST(erased_messages_do_not_come_back)
{
    struct world w;
    struct fixture f[3];
    struct buf delta = {0};
    char path[STORE_PATH];

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
    stream_delta_erase(&delta, 27);
    world_record(&w, LOG_DELTA, STORE_KIND_STREAM, 7, 2, 0, buf_str(&delta));
    world_segment_path(&w, &f[2], path);
    uint8_t *batch = (uint8_t *) f[2].file.p + b->offset;
    if (i != 1)
        ck_assert(batch_erase(batch, b->bytes, f[2].header.salt, 27, NULL));
    if (i == 2) {
        r.flags = LOG_IMAGE;
        r.offset = b->offset / 512 * 512; /* any bytes of the file */
        r.bytes = str_from(f[2].file.p + r.offset, b->offset + b->bytes - r.offset);
        log_frame_add(&w.frame, &r);
        memset(batch + 100, 0xaa, b->bytes - 100);
    }
    if (i == 3) {
        put_later_record(&w, 27);
        memset(batch, 0, 300);
    }
    world_put_log(&w, 0);
    world_put_segment(&w, &f[2], 20000);
    world_open(&w);
    struct content c = content(&w, stream(&w));
    ck_assert_uint_eq(c.messages, 33);
    ck_assert_uint_eq(stream(&w)->rec.erase.count, i != 3); /* the running store sees to it */
    struct buf file = world_read(&w, path);
    char text[64];
    struct str payload = fixture_payload(27, text);
    ck_assert_int_eq(memmem(file.p, file.n, payload.p, payload.n) != NULL, i == 1);
    ck_assert_uint_eq(w.lines.warnings, 0);
    ck_assert_uint_eq(store_dir_recovery(w.dir)->lost_messages, 0);
    buf_free(&file);
    buf_free(&delta);
    end_world(&w, f);
}

/* Every read fails once. What can not be read is not overwritten with what the log has: the start
 * says which file it was, and the next one finds the message erased. */
TEST(what_can_not_be_read_is_not_written_over)
{
    struct world w;
    struct fixture f[3];
    struct buf delta = {0};
    char path[STORE_PATH], text[64];
    struct str payload = fixture_payload(27, text);

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
    stream_delta_erase(&delta, 27);
    world_record(&w, LOG_DELTA, STORE_KIND_STREAM, 7, 2, 0, buf_str(&delta));
    world_segment_path(&w, &f[2], path);
    ck_assert(
        batch_erase((uint8_t *) f[2].file.p + b->offset, b->bytes, f[2].header.salt, 27, NULL));
    world_put_log(&w, 0);
    world_put_segment(&w, &f[2], 20000);
    for (uint64_t n = 1; n < 100; n++) {
        struct world v;
        world_attach(&v, sim_fork(w.sim, SIM_CRASH_KEEP, n));
        v.options.log = &v.lines.log;
        sim_fault_only(v.sim, ".seg");
        sim_fault_arm(v.sim, SIM_FAULT_READ, n, 0);
        enum err err = world_try_open(&v);
        bool hit = sim_fault_count(v.sim, SIM_FAULT_READ) != 0;
        sim_fault_arm(v.sim, SIM_FAULT_READ, 0, 0);
        const char *said = err == ERR_OK ? v.lines.error : v.lines.last;
        if (hit && err == ERR_OK) /* the stream is not served, and its record stays as it was */
            ck_assert_msg(stream(&v)->failed, "read %u", (unsigned) n);
        ck_assert_msg(!hit || strstr(said, ".seg: offset ") != NULL, "%s", said);
        world_close(&v);
        struct buf file = world_read(&v, path);
        ck_assert_msg(memmem(file.p, file.n, payload.p, payload.n) == NULL, "read %u",
                      (unsigned) n);
        buf_free(&file);
        ck_assert_uint_eq(world_count(&v, "/data/quarantine"), 0);
        world_open(&v);
        ck_assert_uint_eq(content(&v, stream(&v)).messages, 33);
        ck_assert_uint_eq(store_dir_recovery(v.dir)->lost_messages, 0);
        world_free(&v);
        if (!hit)
            break;
        ck_assert_uint_lt(n, 99);
    }
    buf_free(&delta);
    end_world(&w, f);
}

/* A segment that was written anew: the old file goes when the new one's name is durable. */
TEST(the_newer_name_is_durable_first)
{
    struct world w;
    struct fixture f[3], g;
    char old[STORE_PATH];

    world_init(&w);
    put_stream(&w, f);
    world_put_log(&w, 0);
    world_drop_first_generation(&w);
    world_segment(&w, &g, 5, 1, 1);
    g.header.generation = 1;
    segment_header_encode(&g.header, (uint8_t *) g.file.p);
    fixture_batch(&g, 10, 0, 0);
    fixture_seal(&g, 0);
    world_put_segment(&w, &g, 0);
    world_segment_path(&w, &f[0], old);
    sim_fault_only(w.sim, "/streams/0505");
    sim_fault_arm(w.sim, SIM_FAULT_NAMES, 1, 0);
    world_open(&w);
    ck_assert(stream(&w)->failed);
    ck_assert(world_has(&w, old));
    world_close(&w);
    world_open(&w);
    ck_assert_uint_eq(content(&w, stream(&w)).messages, 34);
    ck_assert(!world_has(&w, old));
    fixture_free(&g);
    end_world(&w, f);
}

static const struct runner_case cases[] = {
    RUN(fresh_directory),
    RUN(lock_names_the_owner),
    RUN(newer_store_is_refused_untouched),
    RUN(newer_log_is_refused),
    RUN_LOOP(damaged_or_missing_meta_is_put_together_again, 0, 2),
    RUN(bad_options),
    RUN(objects),
    RUN(clean_close_is_seen),
    RUN_LOOP(several_log_files, 0, 2),
    RUN_LOOP(header_of_a_log_file_is_torn, 0, 2),
    RUN(unused_next_file_is_taken_over),
    RUN(full_disk_says_so),
    RUN(unfinished_start_is_ignored),
    RUN(missing_change_is_reported),
    RUN(objects_go_to_the_worker_of_their_stream),
    RUN(many_objects_fill_several_files),
    RUN(stream),
    RUN(recovering_twice_gives_the_same_bytes),
    RUN(removed_and_purged),
    RUN(data_of_the_log_goes_into_the_segment),
    RUN(data_of_the_log_waits_for_its_segment),
    RUN_LOOP(data_of_a_stream_that_is_not_understood, 0, 2),
    RUN_LOOP(erased_messages_do_not_come_back, 0, 4),
    RUN(what_can_not_be_read_is_not_written_over),
    RUN(the_newer_name_is_durable_first),
};

RUNNER_MAIN("store/recover", cases)
