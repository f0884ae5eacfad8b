/*
 * Recovery of a damaged store directory on the simulated disk: torn tails, missing files, every
 * kind of damage to every file, power cuts and failing calls during recovery itself.
 */
#include "tests/lib/runner.h"
#include "tests/unit/store/world_stream.h"

/* ---- torn and damaged ---------------------------------------------------------------------- */

TEST(torn_tail_is_cut_and_sealed)
{
    struct world w;
    struct fixture f[3];
    char path[STORE_PATH];

    world_init(&w);
    put_stream(&w, f);
    fixture_pad(&f[2], SEGMENT_PAGE);
    size_t from = f[2].file.n;
    fixture_batch(&f[2], 10, 34, 0);
    fixture_batch(&f[2], 10, 34, 0);
    memset(f[2].file.p + from, 0, 200); /* the first did not arrive, the second did */
    world_put_segment(&w, &f[2], 20000);
    world_put_log(&w, 0);
    world_segment_path(&w, &f[2], path);
    for (unsigned k = 0; k < 2; k++) {
        world_open(&w);
        struct recovered_stream *s = stream(&w);
        struct content c = content(&w, s);
        ck_assert(c.messages == 34 && s->last_seq == 34);
        ck_assert_int_eq(s->segments[2].state, RECOVERED_SEALED);
        ck_assert_uint_eq(w.lines.warnings, 0);
        ck_assert_uint_eq(store_dir_recovery(w.dir)->lost_messages, 0);
        ck_assert(k == 1 || store_dir_recovery(w.dir)->bytes_cut > 0);
        struct buf file = world_read(&w, path); /* the bytes stay for inspection */
        ck_assert(memcmp(file.p, f[2].file.p, f[2].file.n) == 0);
        buf_free(&file);
        world_close(&w);
    }
    end_world(&w, f);
}

/* The start that cut it lost power while it wrote the footer, or the footer decayed later, when
 * another segment has the sequences of what was cut (i = 1): the tail is no loss. */
TEST(footer_of_a_cut_segment_is_damaged)
{
    struct world w;
    struct fixture f[3], next;
    char path[STORE_PATH];

    world_init(&w);
    put_stream(&w, f);
    fixture_pad(&f[2], SEGMENT_PAGE);
    size_t from = f[2].file.n;
    fixture_batch(&f[2], 10, 34, 0);
    fixture_batch(&f[2], 10, 34, 0);
    memset(f[2].file.p + from, 0, 200);
    world_put_segment(&w, &f[2], 20000);
    world_put_log(&w, 0);
    world_segment_path(&w, &f[2], path);
    world_open(&w);
    world_close(&w);
    struct buf file = world_read(&w, path);
    /* The section table, or the trailer itself. */
    world_flip(&w, path, file.n - (i == 0 ? 80 : 20), 1);
    buf_free(&file);
    world_segment(&w, &next, 5, 4, 35);
    fixture_batch(&next, 3, 34, 0);
    if (i == 1)
        world_put_segment(&w, &next, 20000);
    world_open(&w);
    struct recovered_stream *s = stream(&w);
    struct content c = content(&w, s);
    ck_assert_uint_eq(store_dir_recovery(w.dir)->lost_messages, 0);
    ck_assert_uint_eq(c.messages, i == 0 ? 34 : 37);
    ck_assert_uint_eq(s->last_seq, i == 0 ? 34 : 37);
    ck_assert_uint_eq(w.lines.warnings, 1); /* the footer */
    world_close(&w);
    fixture_free(&next);
    end_world(&w, f);
}

/* A commit to segment 2 was not finished when segment 3 was begun, with or without a batch in it.
 */
TEST(next_segment_behind_a_hole_is_cut) /* i = batches in it */
{
    struct world w;
    struct fixture f[3];

    world_init(&w);
    put_stream(&w, f);
    char path[STORE_PATH];
    world_segment_path(&w, &f[2], path);
    fs_unlink(w.fs, path);
    fixture_free(&f[2]);
    world_segment(&w, &f[2], 5, 3, 26); /* 21 to 25 are missing */
    for (int k = 0; k < i; k++)
        fixture_batch(&f[2], 5, 20, 0);
    world_put_segment(&w, &f[2], 20000);
    world_put_log(&w, 0);
    for (unsigned k = 0; k < 2; k++) {
        world_open(&w);
        struct recovered_stream *s = stream(&w);
        struct content c = content(&w, s);
        ck_assert(c.messages == 20 && s->last_seq == 20 && s->nsegments == 2);
        ck_assert_uint_eq(store_dir_recovery(w.dir)->lost_messages, 0);
        ck_assert_uint_eq(world_count(&w, "/data/quarantine"), i > 0);
        ck_assert_uint_ge(s->rec.next_segment, 4);
        world_close(&w);
    }
    end_world(&w, f);
}

/* But when something in it proves that 21 to 25 were durable, they are lost. */
TEST(proven_hole_is_a_loss)
{
    struct world w;
    struct fixture f[3];

    world_init(&w);
    put_stream(&w, f);
    fixture_free(&f[2]);
    world_segment(&w, &f[2], 5, 3, 26);
    fixture_batch(&f[2], 5, 25, 0);
    world_put_segment(&w, &f[2], 20000);
    world_put_log(&w, 0);
    for (unsigned k = 0; k < 2; k++) {
        world_open(&w);
        struct content c = content(&w, stream(&w));
        ck_assert(c.messages == 25 && c.last == 30);
        ck_assert_uint_eq(stream(&w)->rec.lost_msgs, 5);
        ck_assert_uint_eq(store_dir_recovery(w.dir)->lost_messages, k == 0 ? 5 : 0);
        ck_assert_uint_eq(w.lines.warnings, k == 0 ? 1 : 0);
        world_close(&w);
    }
    end_world(&w, f);
}

TEST(missing_segment)
{
    struct world w;
    struct fixture f[3];
    char path[STORE_PATH];

    put_world(&w, f);
    world_segment_path(&w, &f[i], path);
    fs_unlink(w.fs, path);
    for (unsigned k = 0; k < 2; k++) {
        world_open(&w);
        struct content c = content(&w, stream(&w));
        if (i < 2) {
            ck_assert_uint_eq(c.messages, 24);
            ck_assert_uint_eq(store_dir_recovery(w.dir)->lost_messages, k == 0 ? 10 : 0);
            ck_assert_uint_eq(stream(&w)->rec.lost_msgs, 10);
        } else { /* nothing says that the last one held anything */
            ck_assert_uint_eq(c.messages, 20);
        }
        world_close(&w);
    }
    end_world(&w, f);
}

TEST(missing_last_segment_is_missed_when_proven)
{
    struct world w;
    struct fixture f[3];
    struct buf delta = {0};
    char path[STORE_PATH];

    world_init(&w);
    put_stream(&w, f);
    stream_delta_durable(&delta, 34, 99);
    world_record(&w, LOG_DELTA, STORE_KIND_STREAM, 7, 2, 0, buf_str(&delta));
    world_put_log(&w, 0);
    world_segment_path(&w, &f[2], path);
    fs_unlink(w.fs, path);
    world_open(&w);
    ck_assert_uint_eq(content(&w, stream(&w)).messages, 20);
    ck_assert_uint_eq(stream(&w)->last_seq, 34);
    ck_assert_uint_eq(store_dir_recovery(w.dir)->lost_messages, 14);
    buf_free(&delta);
    end_world(&w, f);
}

TEST(unused_next_segment_is_removed) /* prepared, but its header never got durable */
{
    struct world w;
    struct fixture f[3], next;
    char path[STORE_PATH];

    put_world(&w, f);
    world_segment(&w, &next, 5, 4, 35);
    memset(next.file.p, 0x33, SEGMENT_HEADER);
    world_put_segment(&w, &next, 9000);
    world_segment_path(&w, &next, path);
    world_open(&w);
    ck_assert_uint_eq(content(&w, stream(&w)).messages, 34);
    ck_assert(!world_has(&w, path));
    ck_assert_uint_eq(w.lines.warnings, 0);
    fixture_free(&next);
    end_world(&w, f);
}

TEST(recycled_file_as_next_segment_is_removed) /* with the header of another stream's segment */
{
    struct world w;
    struct fixture f[3], other;
    char path[STORE_PATH];

    put_world(&w, f);
    world_segment(&w, &other, 6, 9, 1);
    fixture_batch(&other, 5, 0, 0);
    fixture_seal(&other, 0);
    memset(other.header.stream, 5, 16);
    other.header.number = 4;
    world_put_segment(&w, &other, 0);
    world_segment_path(&w, &other, path);
    world_open(&w);
    ck_assert_uint_eq(content(&w, stream(&w)).messages, 34);
    ck_assert(!world_has(&w, path));
    fixture_free(&other);
    end_world(&w, f);
}

TEST(memory_stream_starts_empty_behind_its_last)
{
    struct world w;
    struct stream_record r;

    world_init(&w);
    world_stream_record(5, &r);
    r.level = STORE_MEMORY;
    stream_record_durable(&r, 40, 5);
    world_stream(&w, 7, &r);
    world_start(&w);
    world_put_log(&w, 0);
    world_open(&w);
    ck_assert(stream(&w)->last_seq == 40 && stream(&w)->rec.first_seq == 41 &&
              stream(&w)->nsegments == 0);
    stream_record_deinit(&r);
    world_free(&w);
}

TEST(undecodable_stream_is_kept)
{
    struct world w;
    struct fixture f[3];

    world_init(&w);
    put_stream(&w, f);
    world_record(&w, LOG_DELTA, STORE_KIND_STREAM, 7, 2, 0, STR("\x3f\x01x")); /* a newer version's
                                                                                  change */
    world_put_log(&w, 0);
    for (unsigned k = 0; k < 2; k++) {
        world_open(&w);
        struct recovered_stream *s = stream(&w);
        ck_assert(s->failed && s->why[0] != '\0');
        ck_assert_uint_eq(s->view.ndeltas, 1);
        ck_assert_uint_eq(w.lines.errors, 1);
        ck_assert_uint_eq(world_count(&w, "/data/streams/05050505050505050505050505050505"), 3);
        world_close(&w);
    }
    end_world(&w, f);
}

/* 1 deleted; 2 unknown and empty; 3 unknown with messages of an earlier run; 4 with messages of the
 * last run: nothing is written to a stream before its record is durable, so the log has lost both,
 * and their files stay. i = 1: the log is damaged, too. */
TEST(directories_of_deleted_and_unknown_streams)
{
    struct world w;
    struct fixture f[3], other;

    world_init(&w);
    put_stream(&w, f);
    for (uint8_t k = 1; k <= 4; k++) {
        world_segment(&w, &other, (uint8_t) (0x10 + k), 1, 1);
        other.epoch = k == 3 ? 1 : 2;
        if (k != 2)
            fixture_batch(&other, 5, 0, 0);
        world_put_segment(&w, &other, 9000);
        fixture_free(&other);
    }
    world_record(&w, LOG_DELETE, STORE_KIND_STREAM, 90, 3, 0,
                 STR("\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11"));
    world_end_frame(&w);
    if (i == 1)
        world_record(&w, LOG_DELTA, 20, 99, 2, 0, STR("of an object whose record is missing"));
    world_put_log(&w, 0);
    ck_assert_uint_eq(world_count(&w, "/data/streams"), 5);
    world_open(&w);
    ck_assert_uint_eq(world_count(&w, "/data/streams"), 1);
    ck_assert_uint_eq(world_count(&w, "/data/quarantine"), i == 1 ? 3 : 2); /* with the log itself
                                                                             */
    ck_assert_uint_eq(content(&w, stream(&w)).messages, 34);
    end_world(&w, f);
}

TEST(other_files_are_left_alone)
{
    struct world w;
    struct fixture f[3];

    put_world(&w, f);
    world_write(&w, "/data/log/notes.txt", "x", 1);
    world_write(&w, "/data/streams/05050505050505050505050505050505/notes.txt", "x", 1);
    world_open(&w);
    ck_assert_uint_eq(content(&w, stream(&w)).messages, 34);
    ck_assert(world_has(&w, "/data/log/notes.txt"));
    ck_assert(world_has(&w, "/data/streams/05050505050505050505050505050505/notes.txt"));
    ck_assert_uint_eq(w.lines.warnings, 2);
    end_world(&w, f);
}

/* ---- the corruption matrix ----------------------------------------------------------------- */

/* Every byte (in steps that hit every structure) of every file, one at a time, on a fork of the
 * disk: the store opens, at most one message is missing, and then it is counted and reported. i =
 * which file. */
TEST(every_byte_flip)
{
    static const char *const paths[] = {
        "/data/store.meta",
        "/data/log/0000000002-0000-0000000000.log",
        "/data/streams/05050505050505050505050505050505/0000000001.seg",
        "/data/streams/05050505050505050505050505050505/0000000002.seg",
        "/data/streams/05050505050505050505050505050505/0000000003.seg",
    };
    struct world w;
    struct fixture f[3];

    put_world(&w, f);
    struct buf file = world_read(&w, paths[i]);
    for (size_t at = 0; at < file.n; at += file.p[at] == 0 ? 61 : 3) {
        struct world v;
        world_attach(&v, sim_fork(w.sim, SIM_CRASH_KEEP, at));
        v.options.log = &v.lines.log;
        world_flip(&v, paths[i], at, 0x41);
        world_open(&v);
        struct content c = content(&v, stream(&v));
        const struct store_recovery *r = store_dir_recovery(v.dir);
        unsigned lost = (unsigned) r->lost_messages + c.damaged;
        ck_assert_msg(c.messages + lost == 34 && lost <= 1, "%s: byte %zu: %u and %u lost",
                      paths[i], at, c.messages, lost);
        ck_assert_msg(r->lost_messages == 0 || v.lines.warnings > 0, "byte %zu", at);
        ck_assert_uint_eq(stream(&v)->last_seq, 34);
        world_free(&v);
    }
    buf_free(&file);
    end_world(&w, f);
}

/* Damage of every 512-byte sector, or cutting the file there: no crash, and nothing but what was
 * touched goes. */
TEST(every_sector_wiped)
{
    static const char *const paths[] = {
        "/data/log/0000000002-0000-0000000000.log",
        "/data/streams/05050505050505050505050505050505/0000000001.seg",
        "/data/streams/05050505050505050505050505050505/0000000002.seg",
        "/data/streams/05050505050505050505050505050505/0000000003.seg",
    };
    struct world w;
    struct fixture f[3];

    put_world(&w, f);
    struct buf file = world_read(&w, paths[i]);
    for (size_t at = 0; at < file.n; at += at < 40000 ? 512 : 8192)
        for (unsigned cut = 0; cut < 2; cut++) {
            struct world v;
            world_attach(&v, sim_fork(w.sim, SIM_CRASH_KEEP, at));
            v.options.log = &v.lines.log;
            size_t n = file.n - at < 512 ? file.n - at : 512;
            char *copy = malloc(file.n);
            memcpy(copy, file.p, file.n);
            memset(copy + at, 0xa5, n);
            world_write(&v, paths[i], copy, cut ? at : file.n);
            world_sync_dirs(&v);
            free(copy);
            world_open(&v);
            if (v.dir->workers[0].nstreams == 1) {
                struct content c = content(&v, stream(&v));
                ck_assert_msg(c.messages >= 34 - 14, "%s: sector at %zu: %u", paths[i], at,
                              c.messages);
            } else { /* its record is in that frame: the messages are in quarantine */
                ck_assert_int_eq(i, 0);
                ck_assert_uint_ge(world_count(&v, "/data/quarantine"), 1);
            }
            world_free(&v);
        }
    buf_free(&file);
    end_world(&w, f);
}

/* ---- recovery is interrupted --------------------------------------------------------------- */

struct cuts {
    enum sim_crash mode;
    unsigned n;
};

/* A copy of the machine loses power at this point, and is started again. */
static void cut_here(void *ctx, struct sim *sim, uint64_t point)
{
    struct cuts *cuts = ctx;
    struct world v;

    world_attach(&v, sim_fork(sim, cuts->mode, point));
    v.options.log = &v.lines.log;
    world_open(&v);
    struct content c = content(&v, stream(&v));
    ck_assert_msg(c.messages == 34 && stream(&v)->last_seq == 34, "cut at %u: %u messages",
                  (unsigned) point, c.messages);
    ck_assert_uint_eq(store_dir_recovery(v.dir)->lost_messages, 0);
    ck_assert_uint_eq(v.lines.warnings, 0);
    cuts->n++;
    world_free(&v);
}

TEST(power_cut_at_every_sync_of_recovery) /* i = mode and whether there is a torn tail */
{
    struct world w;
    struct fixture f[3];
    struct cuts cuts = {.mode = (enum sim_crash)(i % SIM_CRASH_MODES)};

    world_init(&w);
    put_stream(&w, f);
    if (i >= SIM_CRASH_MODES) {
        fixture_pad(&f[2], SEGMENT_PAGE);
        size_t from = f[2].file.n;
        fixture_batch(&f[2], 10, 34, 0);
        fixture_batch(&f[2], 10, 34, 0);
        memset(f[2].file.p + from, 0, 200);
        world_put_segment(&w, &f[2], 20000);
    }
    world_put_log(&w, 0);
    world_drop_first_generation(&w);
    for (unsigned k = 0; k < 3; k++) {
        sim_on_sync_point(w.sim, cut_here, &cuts);
        world_open(&w);
        sim_on_sync_point(w.sim, NULL, NULL);
        ck_assert_uint_eq(content(&w, stream(&w)).messages, 34);
        world_close(&w);
    }
    ck_assert_uint_ge(cuts.n, 8);
    end_world(&w, f);
}

/* Every call fails once: the start fails with a reason (or does without), and the next one finds
 * everything. */
TEST(every_call_fails_once) /* i = kind of call */
{
    struct world w;
    struct fixture f[3];

    put_world(&w, f);
    for (uint64_t n = 1; n < 1000; n++) {
        struct world v;
        world_attach(&v, sim_fork(w.sim, SIM_CRASH_KEEP, n));
        v.options.log = &v.lines.log;
        uint64_t before = sim_fault_count(v.sim, (enum sim_fault) i);
        sim_fault_arm(v.sim, (enum sim_fault) i, n, 0);
        enum err err = world_try_open(&v);
        bool hit = sim_fault_count(v.sim, (enum sim_fault) i) != before;
        world_close(&v);
        sim_fault_arm(v.sim, (enum sim_fault) i, 0, 0);
        ck_assert(err == ERR_OK || hit);
        sim_crash(v.sim, SIM_CRASH_SUBSET);
        world_open(&v);
        struct content c = content(&v, stream(&v));
        ck_assert_msg(c.messages == 34 && store_dir_recovery(v.dir)->lost_messages == 0,
                      "call %u: %u messages", (unsigned) n, c.messages);
        world_free(&v);
        if (!hit)
            break;
        ck_assert_uint_lt(n, 999);
    }
    end_world(&w, f);
}

static const struct runner_case cases[] = {
    RUN(torn_tail_is_cut_and_sealed),
    RUN_LOOP(footer_of_a_cut_segment_is_damaged, 0, 2),
    RUN_LOOP(next_segment_behind_a_hole_is_cut, 0, 2),
    RUN(proven_hole_is_a_loss),
    RUN_LOOP(missing_segment, 0, 3),
    RUN(missing_last_segment_is_missed_when_proven),
    RUN(unused_next_segment_is_removed),
    RUN(recycled_file_as_next_segment_is_removed),
    RUN(memory_stream_starts_empty_behind_its_last),
    RUN(undecodable_stream_is_kept),
    RUN_LOOP(directories_of_deleted_and_unknown_streams, 0, 2),
    RUN(other_files_are_left_alone),
    RUN_LOOP(every_byte_flip, 0, 5),
    RUN_LOOP(every_sector_wiped, 0, 4),
    RUN_LOOP(power_cut_at_every_sync_of_recovery, 0, 2 * SIM_CRASH_MODES),
    RUN_LOOP(every_call_fails_once, 0, 5),
};

RUNNER_MAIN("store/recover_damage", cases)
