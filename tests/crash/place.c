/* place.c - see place.h. */
#include "tests/crash/place.h"

#include "tests/lib/runner.h"

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

/* The least that xfs accepts, and room for two workers. */
#define IMAGE_BYTES (512ull * MIB)

/* ---- the file system ------------------------------------------------------------------------- */

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

static bool mount_tmpfs(struct place *p)
{
    char size[32];

    snprintf(size, sizeof(size), "size=%um", p->workers * (LOG_BYTES / MIB) + ROOM_MIB);
    if (own_namespace() && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("none", p->store, "tmpfs", 0, size) == 0)
        return true;
    printf("SKIPPED: no file system of our own: %s; see unit/store/test_store_faults\n",
           strerror(errno));
    return false;
}

static uint64_t free_bytes(const struct place *p)
{
    struct statvfs fs;

    ck_assert_int_eq(statvfs(p->store, &fs), 0);
    return (uint64_t) fs.f_bavail * fs.f_bsize;
}

static void take(struct place *p, const char *name, uint64_t bytes)
{
    char path[192];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", p->store, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_msg(posix_fallocate(fd, 0, (off_t) bytes) == 0, "can not take %llu bytes",
                  (unsigned long long) bytes);
    close(fd);
}

/* Leaves as much room as on a tmpfs of the right size. */
static bool mount_loop(struct place *p, const char *type)
{
    uint64_t want = p->workers * LOG_BYTES + ROOM_MIB * MIB;

    if (!loop_fs_open(&p->fs, type, p->store, IMAGE_BYTES))
        return false;
    take(p, "ballast", free_bytes(p) - want);
    return true;
}

bool place_open(struct place *p, unsigned workers, const char *type)
{
    memset(p, 0, sizeof(*p));
    server_process_init(&p->s);
    p->error = NO_SPACE;
    p->workers = workers;
    snprintf(p->workers_text, sizeof(p->workers_text), "%u", workers);
    snprintf(p->store, sizeof(p->store), "%s/store", p->s.dir);
    snprintf(p->filler, sizeof(p->filler), "%s/filler", p->store);
    ck_assert_int_eq(mkdir(p->store, 0700), 0);
    if (strcmp(type, "tmpfs") == 0 ? mount_tmpfs(p) : mount_loop(p, type))
        return true;
    server_process_deinit(&p->s);
    return false;
}

void place_close(struct place *p)
{
    if (p->s.pid != 0) {
        raw_close(&p->r);
        server_process_stop(&p->s);
    }
    if (p->fs.type != NULL)
        loop_fs_close(&p->fs);
    else
        ck_assert_int_eq(umount2(p->store, MNT_DETACH), 0);
    server_process_deinit(&p->s);
}

void place_start(struct place *p)
{
    p->s.args[0] = "--workers";
    p->s.args[1] = p->workers_text;
    server_process_start(&p->s);
    raw_hello(&p->r, p->s.port, "\"headers\":true,\"no_responders\":true");
}

void place_fill(struct place *p, uint64_t leave)
{
    uint64_t have;
    time_t end = time(NULL) + DEADLINE_S;

    while ((have = free_bytes(p)) > ROOM_MIB * MIB) {
        ck_assert_int_lt(time(NULL), end);
        free(raw_ask(&p->r, "$JS.API.INFO", ""));
    }
    take(p, "filler", have > leave ? have - leave : 1);
}

/* ---- what clients do ------------------------------------------------------------------------- */

void place_ask(struct place *p, const char *subject, const char *body, const char *want)
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
        ck_assert_msg(strstr(answer, p->error) != NULL, "%s", answer);
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
bool place_publish(struct place *p)
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
unsigned place_publish_window(struct place *p, unsigned count)
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

void place_publish_until_refused(struct place *p)
{
    unsigned n = 0;

    while (place_publish(p))
        ck_assert_uint_lt(n++, PUBLISHES_MAX);
}

/* The server looks again every second. */
void place_publish_until_accepted(struct place *p)
{
    time_t end = time(NULL) + DEADLINE_S;

    while (!place_publish(p))
        ck_assert_int_lt(time(NULL), end);
}

/* Every acknowledged message is there, with its bytes. */
void place_verify(struct place *p)
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

void place_add_stream(struct place *p)
{
    place_ask(p, "$JS.API.STREAM.CREATE.S",
              "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"allow_direct\":true}",
              "\"did_create\":true");
    place_ask(
        p, "$JS.API.CONSUMER.DURABLE.CREATE.S.C",
        "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\"}}",
        "\"num_pending\":0");
}

/* Consumes one message and acknowledges it doubly: needs a place in the log. */
void place_consume(struct place *p)
{
    struct raw_msg m;
    char text[128];

    snprintf(text, sizeof(text), "SUB in.x x 1\r\nUNSUB x 1\r\nPUB %s in.x 1\r\n1\r\n",
             "$JS.API.CONSUMER.MSG.NEXT.S.C");
    raw_send(&p->r, text);
    raw_msg(&p->r, &m);
    place_ask(p, m.reply, "+ACK", "");
    free(m.body);
}
