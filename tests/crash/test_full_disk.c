/*
 * test_full_disk.c - a server whose store is on a small file system of its own, really full:
 * publishes are refused with 10077, everything else goes on, nothing acknowledged is lost, and when
 * there is room again publishing goes on by itself.
 *
 * The file system is a tmpfs in a mount namespace of the test's process: as root, or in a user
 * namespace of its own, which systems give to anybody unless told not to. Where neither is allowed
 * the case says so; the same on a simulated disk is in unit/store (test_store_faults) and runs
 * everywhere.
 */
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define MIB (1u << 20)
/* What a worker takes at its start, a log file and a spare one; and what there is besides. */
#define LOG_BYTES (2u * 64 * MIB)
#define ROOM_MIB 64u
#define PAYLOAD 16000
#define NO_SPACE "\"err_code\":10077,\"description\":\"no space left on device\""
/* More publishes than could ever fit, so that a test that never sees an error ends. */
#define PUBLISHES_MAX 15000
#define WINDOW_MAX 250u
#define DEADLINE_S 20

/* ---- the file system --------------------------------------------------------------------------
 */

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (write(fd, text, strlen(text)) < 0)
        printf("%s: %s\n", path, strerror(errno));
    close(fd);
}

static bool own_namespace(void)
{
    unsigned uid = (unsigned) getuid(), gid = (unsigned) getgid();
    char map[64];

    if (unshare(CLONE_NEWNS) == 0)
        return true;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return false;
    put("/proc/self/setgroups", "deny");
    snprintf(map, sizeof(map), "0 %u 1", uid);
    put("/proc/self/uid_map", map);
    snprintf(map, sizeof(map), "0 %u 1", gid);
    put("/proc/self/gid_map", map);
    return true;
}

struct place {
    struct server_process s;
    struct raw_client r;
    char store[160], filler[192];
    unsigned published;                     /* so far: what tells messages apart */
    unsigned number_of[PUBLISHES_MAX + 10]; /* by sequence; 0 = not acknowledged */
    unsigned last, acknowledged;
    unsigned workers;
    char workers_text[16];
};

/* False when this system lets nobody mount. */
static bool set_up(struct place *p, unsigned workers)
{
    char size[32];

    server_process_init(&p->s);
    p->workers = workers;
    snprintf(p->workers_text, sizeof(p->workers_text), "%u", workers);
    snprintf(size, sizeof(size), "size=%um", workers * (LOG_BYTES / MIB) + ROOM_MIB);
    snprintf(p->store, sizeof(p->store), "%s/store", p->s.dir);
    snprintf(p->filler, sizeof(p->filler), "%s/filler", p->store);
    ck_assert_int_eq(mkdir(p->store, 0700), 0);
    if (!own_namespace() || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", p->store, "tmpfs", 0, size) != 0) {
        printf("no file system of our own: %s; see unit/store/test_store_faults\n",
               strerror(errno));
        server_process_deinit(&p->s);
        return false;
    }
    return true;
}

static void tear_down(struct place *p)
{
    raw_close(&p->r);
    server_process_stop(&p->s);
    ck_assert_int_eq(umount2(p->store, MNT_DETACH), 0);
    server_process_deinit(&p->s);
}

static void start(struct place *p)
{
    p->s.args[0] = "--workers";
    p->s.args[1] = p->workers_text;
    server_process_start(&p->s);
    raw_hello(&p->r, p->s.port, "\"headers\":true,\"no_responders\":true");
}

static uint64_t free_bytes(const struct place *p)
{
    struct statvfs fs;

    ck_assert_int_eq(statvfs(p->store, &fs), 0);
    return (uint64_t) fs.f_bavail * fs.f_bsize;
}

/* Leaves this many bytes free, once the server has made the files that it makes in the background.
 */
static void fill(struct place *p, uint64_t leave)
{
    uint64_t have;
    time_t end = time(NULL) + DEADLINE_S;
    int fd = open(p->filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    while ((have = free_bytes(p)) > ROOM_MIB * MIB) {
        ck_assert_int_lt(time(NULL), end);
        free(raw_ask(&p->r, "$JS.API.INFO", ""));
    }
    if (have > leave)
        ck_assert_int_eq(posix_fallocate(fd, 0, (off_t) (have - leave)), 0);
    close(fd);
}

/* ---- what clients do --------------------------------------------------------------------------
 */

static void ask(struct place *p, const char *subject, const char *body, const char *want)
{
    char *answer = raw_ask(&p->r, subject, body);

    ck_assert_msg(strstr(answer, want) != NULL, "%s %s: wanted %s, got %s", subject, body, want,
                  answer);
    free(answer);
}

static void body_of(unsigned number, char out[PAYLOAD + 1])
{
    memset(out, 'a' + (int) (number % 26), PAYLOAD);
    out[PAYLOAD] = '\0';
    out[snprintf(out, 32, "message %u", number)] = ' ';
}

/* Nothing but an acknowledgement and "no space" is right. */
static bool note_answer(struct place *p, unsigned number, const char *answer)
{
    static const char ack[] = "{\"stream\":\"S\",\"seq\":";
    unsigned seq;

    if (strncmp(answer, ack, sizeof(ack) - 1) != 0) {
        ck_assert_msg(strstr(answer, NO_SPACE) != NULL, "%s", answer);
        return false;
    }
    seq = (unsigned) strtoul(answer + sizeof(ack) - 1, NULL, 10);
    ck_assert(seq > 0 && seq < PUBLISHES_MAX && p->number_of[seq] == 0);
    p->number_of[seq] = number;
    p->last = seq > p->last ? seq : p->last;
    p->acknowledged++;
    return true;
}

/* One publish and its answer; true when it was acknowledged. */
static bool publish(struct place *p)
{
    char body[PAYLOAD + 1], *answer;
    bool ok;

    body_of(++p->published, body);
    answer = raw_ask(&p->r, "s.a", body);
    ok = note_answer(p, p->published, answer);
    free(answer);
    return ok;
}

/* Many publishes at once: each has its answer, however full the disk is. How many were refused. */
static unsigned publish_window(struct place *p, unsigned count)
{
    static char text[WINDOW_MAX * (PAYLOAD + 64)];
    size_t n = (size_t) snprintf(text, sizeof(text), "SUB win.* win\r\n");
    char body[PAYLOAD + 1];
    unsigned refused = 0;

    ck_assert_uint_le(count, WINDOW_MAX);
    for (unsigned k = 1; k <= count; k++) {
        body_of(p->published + k, body);
        n += (size_t) snprintf(text + n, sizeof(text) - n, "PUB s.a win.%u %u\r\n%s\r\n",
                               p->published + k, PAYLOAD, body);
    }
    p->published += count;
    raw_send_bytes(&p->r, text, n);
    for (unsigned k = 0; k < count; k++) {
        struct raw_msg m;
        raw_msg(&p->r, &m);
        refused += !note_answer(p, (unsigned) strtoul(m.subject + 4, NULL, 10), m.body);
        free(m.body);
    }
    raw_send(&p->r, "UNSUB win\r\n");
    return refused;
}

static void publish_until_full(struct place *p)
{
    unsigned n = 0;

    while (publish(p))
        ck_assert_uint_lt(n++, PUBLISHES_MAX);
}

/* The server looks again every second. */
static void publish_until_accepted(struct place *p)
{
    time_t end = time(NULL) + DEADLINE_S;

    while (!publish(p))
        ck_assert_int_lt(time(NULL), end);
}

/* Every acknowledged message is there, with its bytes. */
static void verify(struct place *p)
{
    char body[PAYLOAD + 1], subject[64];
    unsigned found = 0;

    for (unsigned seq = 1; seq <= p->last; seq++) {
        if (p->number_of[seq] == 0)
            continue;
        snprintf(subject, sizeof(subject), "{\"seq\":%u}", seq);
        body_of(p->number_of[seq], body);
        char *answer = raw_ask(&p->r, "$JS.API.DIRECT.GET.S", subject);
        ck_assert_msg(strstr(answer, body) != NULL, "%u: %.200s", seq, answer);
        free(answer);
        found++;
    }
    ck_assert_uint_eq(found, p->acknowledged);
    ck_assert_uint_gt(found, 0);
}

static void add_stream(struct place *p)
{
    ask(p, "$JS.API.STREAM.CREATE.S",
        "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"allow_direct\":true}", "\"did_create\":true");
    ask(p, "$JS.API.CONSUMER.DURABLE.CREATE.S.C",
        "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\"}}",
        "\"num_pending\":0");
}

/* Consumes one message and acknowledges it doubly: needs a place in the log. */
static void consume(struct place *p)
{
    struct raw_msg m;
    char text[128];

    snprintf(text, sizeof(text), "SUB in.x x 1\r\nUNSUB x 1\r\nPUB %s in.x 1\r\n1\r\n",
             "$JS.API.CONSUMER.MSG.NEXT.S.C");
    raw_send(&p->r, text);
    raw_msg(&p->r, &m);
    ask(p, m.reply, "+ACK", "");
    free(m.body);
}

/* ---- the cases --------------------------------------------------------------------------------
 */

TEST(full_refuses_and_goes_on_with_room)
{
    static struct place p;

    if (!set_up(&p, 1 + (unsigned) i))
        return;
    start(&p);
    add_stream(&p);
    fill(&p, 8 * MIB);
    publish_until_full(&p);
    for (int k = 0; k < 20; k++)
        ck_assert(!publish(&p));
    /* Everything that needs no new file goes on. */
    ask(&p, "$JS.API.STREAM.INFO.S", "", "\"state\":");
    for (int k = 0; k < 10; k++)
        consume(&p);
    ask(&p, "$JS.API.CONSUMER.INFO.S.C", "", "\"num_ack_pending\":0");
    ck_assert_int_eq(unlink(p.filler), 0);
    publish_until_accepted(&p);
    for (int k = 0; k < 200; k++)
        ck_assert(publish(&p));
    verify(&p);
    tear_down(&p);
}

/* Where in the growth of a stream's files the disk becomes full. */
static const unsigned leave[] = {1, 10, 17};

TEST(full_answers_a_whole_window)
{
    static struct place p;
    unsigned rounds = 0;

    if (!set_up(&p, 1 + (unsigned) i % 2))
        return;
    start(&p);
    add_stream(&p);
    fill(&p, leave[i / 2] * MIB);
    while (publish_window(&p, WINDOW_MAX) == 0)
        ck_assert_uint_lt(rounds++, PUBLISHES_MAX / WINDOW_MAX);
    ck_assert_uint_gt(publish_window(&p, WINDOW_MAX), 0);
    ck_assert_int_eq(unlink(p.filler), 0);
    publish_until_accepted(&p);
    ck_assert_uint_eq(publish_window(&p, WINDOW_MAX), 0);
    verify(&p);
    tear_down(&p);
}

TEST(full_and_killed_loses_nothing)
{
    static struct place p;

    if (!set_up(&p, 1 + (unsigned) i))
        return;
    start(&p);
    add_stream(&p);
    fill(&p, 8 * MIB);
    publish_until_full(&p);
    raw_close(&p.r);
    server_process_kill(&p.s);
    ck_assert_int_eq(unlink(p.filler), 0);
    start(&p);
    verify(&p);
    publish_until_accepted(&p);
    tear_down(&p);
}

static const struct runner_case cases[] = {
    RUN_LOOP(full_refuses_and_goes_on_with_room, 0, 2),
    RUN_LOOP(full_answers_a_whole_window, 0, 6),
    RUN_LOOP(full_and_killed_loses_nothing, 0, 2),
};

RUNNER_MAIN("crash/full_disk", cases)
