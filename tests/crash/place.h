/*
 * place.h - a server whose store is on a small file system of its own, a client, and what it was
 * told: for tests of disks that are full, read-only or gone.
 *
 * The file system is a tmpfs in a mount namespace of the test's process (as root, or in a user
 * namespace of its own, which systems give to anybody unless told not to), or an ext4 or xfs in a
 * file (root with loop devices).
 */
#ifndef TESTS_CRASH_PLACE_H
#define TESTS_CRASH_PLACE_H

#include "tests/crash/loop_fs.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/server_process.h"

#define MIB (1u << 20)
/* What a worker takes at its start, a log file and a spare one; and what there is besides. */
#define LOG_BYTES (2u * 64 * MIB)
#define ROOM_MIB 64u
#define PAYLOAD 16000
#define NO_SPACE "\"err_code\":10077,\"description\":\"no space left on device\""
#define WRITE_ERROR "\"err_code\":10077,"
/* More publishes than could ever fit, so that a test that never sees an error ends. */
#define PUBLISHES_MAX 15000
#define WINDOW_MAX 250u
#define DEADLINE_S 20

struct place {
    struct server_process s;
    struct raw_client r;
    struct loop_fs fs; /* type NULL: a tmpfs */
    char store[160], filler[192];
    const char *error;                      /* what a publish may be refused with */
    unsigned published;                     /* so far: what tells messages apart */
    unsigned number_of[PUBLISHES_MAX + 10]; /* by sequence; 0 = not acknowledged */
    unsigned last, acknowledged;
    unsigned workers;
    char workers_text[16];
};

/* False, with a line on stdout, when this system lets nobody mount. type: "tmpfs", "ext4", "xfs".
 */
bool place_open(struct place *p, unsigned workers, const char *type);
/* Stops the server when it runs. */
void place_close(struct place *p);
/* Starts the server, and connects. */
void place_start(struct place *p);
/* Leaves this many bytes free, once the server has made the files that it makes in the background.
 */
void place_fill(struct place *p, uint64_t leave);

/* A request whose answer contains `want`. */
void place_ask(struct place *p, const char *subject, const char *body, const char *want);
/* The stream S (s.*) with the consumer C. */
void place_add_stream(struct place *p);
/* One publish and its answer; true when it was acknowledged; p->error is all else it may be. */
bool place_publish(struct place *p);
/* Many publishes at once: each has its answer. How many were refused. */
unsigned place_publish_window(struct place *p, unsigned count);
void place_publish_until_refused(struct place *p);
void place_publish_until_accepted(struct place *p);
/* Every acknowledged message is there, with its bytes. */
void place_verify(struct place *p);
/* Consumes one message and acknowledges it doubly: needs a place in the log. */
void place_consume(struct place *p);

#endif
