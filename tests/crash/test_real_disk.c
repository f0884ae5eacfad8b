/*
 * test_real_disk.c - ext4 and xfs in a file: stopped under load as by a power cut, made read-only
 * by an error of their own, mounted read-only from the start.
 *
 * `mount -o remount,ro` under a running server is refused by the kernel (EBUSY), since it has files
 * open for writing; what makes a file system read-only under it is an error that the file system
 * finds in itself.
 */
#include "tests/crash/place.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

static const char *const types[] = {"ext4", "xfs"};

/* Publishes until one is refused; everything in between was acknowledged. */
static void publish_some(struct place *p, unsigned windows)
{
    for (unsigned k = 0; k < windows; k++)
        ck_assert_uint_eq(place_publish_window(p, WINDOW_MAX), 0);
}

/* How often the log has this. */
static unsigned log_count(const struct place *p, const char *text)
{
    char path[192], line[4096];
    unsigned count = 0;
    FILE *f;

    snprintf(path, sizeof(path), "%s/log", p->s.dir);
    f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof(line), f) != NULL)
        count += strstr(line, text) != NULL;
    fclose(f);
    return count;
}

/* Nothing is written any more; the server answers, reads, says it once, and takes no publish. */
static void check_refusing(struct place *p)
{
    unsigned lines;

    p->error = WRITE_ERROR;
    place_publish_until_refused(p);
    server_process_log_wait(&p->s, "> S' has failed and is read-only");
    lines = log_count(p, "> S' has failed and is read-only");
    ck_assert_uint_eq(lines, 1);
    for (int k = 0; k < 20; k++)
        ck_assert(!place_publish(p));
    ck_assert_uint_gt(place_publish_window(p, WINDOW_MAX), 0);
    place_verify(p);
    place_ask(p, "$JS.API.STREAM.INFO.S", "", "\"state\":");
    place_ask(p, "$JS.API.STREAM.CREATE.T", "{\"name\":\"T\",\"subjects\":[\"t\"]}", "\"error\":");
    ck_assert_uint_eq(log_count(p, "> S' has failed and is read-only"), lines);
    ck_assert_uint_lt(log_count(p, "[ERR]") + log_count(p, "[WRN]"), 20);
}

/* The file system stops; a stream is read-only then, and with the file system back and a new start
 * everything that was acknowledged is there. */
TEST(a_stopped_file_system)
{
    static struct place p;

    if (!place_open(&p, 1 + (unsigned) i / 2, types[i % 2]))
        return;
    place_start(&p);
    place_add_stream(&p);
    publish_some(&p, 4);
    for (int k = 0; k < 10; k++)
        place_consume(&p);
    loop_fs_stop(&p.fs);
    check_refusing(&p);
    raw_close(&p.r);
    server_process_kill(&p.s);
    loop_fs_unmount(&p.fs);
    loop_fs_mount(&p.fs, false);
    place_start(&p);
    place_verify(&p);
    p.error = NO_SPACE;
    publish_some(&p, 1);
    /* What was doubly acknowledged is not delivered again. */
    place_ask(&p, "$JS.API.CONSUMER.INFO.S.C", "", "\"ack_floor\":{\"consumer_seq\":10,");
    place_verify(&p);
    place_close(&p);
}

TEST(a_file_system_that_becomes_read_only)
{
    static struct place p;

    if (!place_open(&p, 1 + (unsigned) i, "ext4"))
        return;
    place_start(&p);
    place_add_stream(&p);
    publish_some(&p, 2);
    ck_assert_int_ne(mount("none", p.store, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    if (!loop_fs_break(&p.fs)) {
        printf("SKIPPED: this ext4 can not be told to find an error\n");
        place_close(&p);
        return;
    }
    check_refusing(&p);
    raw_close(&p.r);
    server_process_stop(&p.s);
    loop_fs_unmount(&p.fs);
    loop_fs_mount(&p.fs, false);
    place_start(&p);
    place_verify(&p);
    p.error = NO_SPACE;
    publish_some(&p, 1);
    place_verify(&p);
    place_close(&p);
}

/* A start says what it can not do, and leaves everything as it is. */
TEST(a_directory_that_is_not_writable)
{
    static struct place p;

    if (!place_open(&p, 1, types[i]))
        return;
    place_start(&p);
    place_add_stream(&p);
    publish_some(&p, 1);
    raw_close(&p.r);
    server_process_stop(&p.s);
    loop_fs_unmount(&p.fs);
    loop_fs_mount(&p.fs, true);
    ck_assert(!server_process_try_start(&p.s));
    server_process_log_wait(&p.s, "Read-only file system");
    loop_fs_unmount(&p.fs);
    loop_fs_mount(&p.fs, false);
    place_start(&p);
    place_verify(&p);
    place_close(&p);
}

#define MANY 50u

/* With many streams a start after a kill makes the whole file system durable instead of each file:
 * what it showed is there when the file system stops right behind it. */
TEST(many_streams_are_durable_after_a_start)
{
    static struct place p;
    char subject[80], body[80];

    if (!place_open(&p, 1, types[i]))
        return;
    place_start(&p);
    place_add_stream(&p);
    for (unsigned k = 0; k < MANY; k++) {
        snprintf(subject, sizeof(subject), "$JS.API.STREAM.CREATE.M%u", k);
        snprintf(body, sizeof(body), "{\"name\":\"M%u\",\"subjects\":[\"m.%u\"]}", k, k);
        place_ask(&p, subject, body, "\"did_create\":true");
        snprintf(subject, sizeof(subject), "m.%u", k);
        place_ask(&p, subject, "hello", "\"seq\":1}");
    }
    publish_some(&p, 1);
    for (int again = 0; again < 2; again++) {
        raw_close(&p.r);
        server_process_kill(&p.s);
        place_start(&p);
    }
    loop_fs_stop(&p.fs);
    raw_close(&p.r);
    server_process_kill(&p.s);
    loop_fs_unmount(&p.fs);
    loop_fs_mount(&p.fs, false);
    place_start(&p);
    for (unsigned k = 0; k < MANY; k++) {
        snprintf(subject, sizeof(subject), "$JS.API.STREAM.MSG.GET.M%u", k);
        snprintf(body, sizeof(body), "\"subject\":\"m.%u\"", k);
        place_ask(&p, subject, "{\"seq\":1}", body);
    }
    place_verify(&p);
    place_close(&p);
}

static const struct runner_case cases[] = {
    RUN_LOOP(many_streams_are_durable_after_a_start, 0, 2),
    RUN_LOOP(a_stopped_file_system, 0, 4),
    RUN_LOOP(a_file_system_that_becomes_read_only, 0, 2),
    RUN_LOOP(a_directory_that_is_not_writable, 0, 2),
};

RUNNER_MAIN("crash/real_disk", cases)
