/*
 * test_full_disk.c - a server whose store is on a small file system of its own, really full:
 * publishes are refused with 10077, everything else goes on, nothing acknowledged is lost, and when
 * there is room again publishing goes on by itself. On tmpfs, ext4 and xfs.
 *
 * Where nothing can be mounted the case says so; the same on a simulated disk is in unit/store
 * (test_store_faults) and runs everywhere.
 */
#include "tests/crash/place.h"
#include "tests/lib/restore_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- the cases ------------------------------------------------------------------------------- */

static const char *const types[] = {"tmpfs", "tmpfs", "ext4", "xfs"};

TEST(full_refuses_and_goes_on_with_room)
{
    static struct place p;

    if (!place_open(&p, 1 + (unsigned) i % 2, types[i]))
        return;
    place_start(&p);
    place_add_stream(&p);
    place_fill(&p, 8 * MIB);
    place_publish_until_refused(&p);
    for (int k = 0; k < 20; k++)
        ck_assert(!place_publish(&p));
    /* Everything that needs no new file goes on. */
    place_ask(&p, "$JS.API.STREAM.INFO.S", "", "\"state\":");
    for (int k = 0; k < 10; k++)
        place_consume(&p);
    place_ask(&p, "$JS.API.CONSUMER.INFO.S.C", "", "\"num_ack_pending\":0");
    ck_assert_int_eq(unlink(p.filler), 0);
    place_publish_until_accepted(&p);
    for (int k = 0; k < 200; k++)
        ck_assert(place_publish(&p));
    place_verify(&p);
    place_close(&p);
}

/* Where in the growth of a stream's files the disk becomes full. */
static const unsigned leave[] = {1, 10, 17};

TEST(full_answers_a_whole_window)
{
    static struct place p;
    unsigned rounds = 0;

    if (!place_open(&p, 1 + (unsigned) i % 2, types[i < 6 ? 0 : i - 4]))
        return;
    place_start(&p);
    place_add_stream(&p);
    place_fill(&p, leave[i / 2 % 3] * MIB);
    while (place_publish_window(&p, WINDOW_MAX) == 0)
        ck_assert_uint_lt(rounds++, PUBLISHES_MAX / WINDOW_MAX);
    ck_assert_uint_gt(place_publish_window(&p, WINDOW_MAX), 0);
    ck_assert_int_eq(unlink(p.filler), 0);
    place_publish_until_accepted(&p);
    ck_assert_uint_eq(place_publish_window(&p, WINDOW_MAX), 0);
    place_verify(&p);
    place_close(&p);
}

TEST(full_and_killed_loses_nothing)
{
    static struct place p;

    if (!place_open(&p, 1 + (unsigned) i % 2, types[i]))
        return;
    place_start(&p);
    place_add_stream(&p);
    place_fill(&p, 8 * MIB);
    place_publish_until_refused(&p);
    raw_close(&p.r);
    server_process_kill(&p.s);
    ck_assert_int_eq(unlink(p.filler), 0);
    place_start(&p);
    place_verify(&p);
    place_publish_until_accepted(&p);
    place_close(&p);
}

/* Messages that can not be packed. */
static void make_backup(struct buf *framed, unsigned messages)
{
    static char body[PAYLOAD];
    struct buf b = {0};
    uint32_t x = 1;

    archive_begin(&b, 1, messages, 0);
    for (unsigned k = 1; k <= messages; k++) {
        for (size_t n = 0; n < sizeof(body); n++) {
            x = x * 1664525 + 1013904223;
            body[n] = (char) (x >> 24);
        }
        archive_message(&b, k, 1, "s.a", NULL, str_from(body, sizeof(body)));
    }
    archive_end(&b);
    archive_frame(&b, framed);
    buf_free(&b);
}

/* While it comes, and when the last of it is on its way and nothing will come any more. */
static const struct {
    unsigned leave, messages;
    size_t chunk;
} backups[] = {{20, 2600, 131072}, {4, 300, 1000000}};

/* Nothing is left of it, and later it goes as if it had never been tried. */
TEST(full_ends_a_restore)
{
    static struct place p;
    struct buf framed = {0};
    unsigned messages = backups[i / 4].messages;
    size_t chunk = backups[i / 4].chunk;
    char subject[256], want[64];
    time_t end;

    if (!place_open(&p, 1 + (unsigned) i % 2, types[i % 4]))
        return;
    place_start(&p);
    place_fill(&p, backups[i / 4].leave * MIB);
    make_backup(&framed, messages);
    expect(restore(&p.r, ",\"subjects\":[\"s.*\"]", buf_str(&framed), chunk), "no space left");
    place_ask(&p, "$JS.API.STREAM.NAMES", "", "\"total\":0,");
    ck_assert_int_eq(unlink(p.filler), 0);
    end = time(NULL) + DEADLINE_S;
    while (!restore_is_begun(&p.r, ",\"subjects\":[\"s.*\"]", subject))
        ck_assert_int_lt(time(NULL), end); /* the server looks again every second */
    snprintf(want, sizeof(want), "\"messages\":%u,", messages);
    expect(restore_send(&p.r, subject, buf_str(&framed), chunk), want);
    buf_free(&framed);
    place_close(&p);
}

static const struct runner_case cases[] = {
    RUN_LOOP(full_refuses_and_goes_on_with_room, 0, 4),
    RUN_LOOP(full_answers_a_whole_window, 0, 8),
    RUN_LOOP(full_and_killed_loses_nothing, 0, 4),
    RUN_LOOP(full_ends_a_restore, 0, 8),
};

RUNNER_MAIN("crash/full_disk", cases)
