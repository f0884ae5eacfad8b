/*
 * io.h - the one door to sockets, files, threads, clocks and randomness.
 *
 * Style: completions. Submitting never fails and never calls back; every operation completes
 * exactly once, by op->done from io_poll on the loop's own thread. The owner embeds the struct
 * io_op and may reuse or free it in or after done. Cancelled operations and operations on a closed
 * object complete too (-ECANCELED).
 *
 * Three implementations pass one conformance suite (tests/unit/io/conformance.c): io_uring,
 * libevent's readiness turned into completions, and the deterministic simulator
 * (tests/sim/io_sim.c). Nothing of a backend (links, multishot, provided buffers, readiness) is
 * visible here.
 *
 * Threads: one struct io belongs to one thread; only io_wake may be called from others. Blocking
 * file calls (io_fs_*) are for io_work functions, for start-up and for shutdown, never for a
 * running loop.
 *
 * Time: io_now and io_wall are set once per iteration. Errors: op->res and return values are
 * negative errno.
 */
#ifndef IO_IO_H
#define IO_IO_H

#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/base/wheel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct io;
struct io_sock;
struct io_file;
struct io_fs;
struct io_work;

/* ---- one operation in flight ---------------------------------------------------------------- */

struct io_op {
    /* Set by the owner before submitting. */
    void (*done)(struct io_op *op);

    /* Set by the completion. res: bytes, a descriptor, 0, or a negative errno. */
    int64_t res;
    uint8_t *data; /* io_recv alone: res bytes lent until done returns; may be modified in place */

    /* The backend's; do not touch between submit and done. */
    struct list link;
    uint8_t kind; /* 0 = idle */
    uint8_t state;
    uint16_t iovcnt;
    uint32_t len;
    union {
        struct io_sock *sock;
        struct io_file *file;
        struct io_work *work;
    };
    void *ptr; /* iovec array, read buffer, address */
    uint64_t off;
    union {
        struct io_file *splice_from;
        uint64_t started_ns; /* commits: when submitted */
    };
};

void io_op_init(struct io_op *op, void (*done)(struct io_op *op));
/* In flight, that is: submitted and done not yet called. */
static inline bool io_op_busy(const struct io_op *op)
{
    return op->kind != 0;
}

/* ---- the loop ------------------------------------------------------------------------------- */

enum io_backend { IO_BACKEND_AUTO, IO_BACKEND_URING, IO_BACKEND_EVENT, IO_BACKEND_SIM };

struct io_config {
    enum io_backend backend;
    struct log *log;
    unsigned commit_threads; /* threads that write and sync; default 2 */
    unsigned work_threads;   /* threads for io_work and io_read; default 2 */
    size_t recv_bytes;       /* size of a lent receive buffer; default 256 KiB */
    uint64_t spin_ns; /* how long a wait may spin before it sleeps, when waits are short; default
                       * 50 us, 0 = never */
    unsigned files_open_max; /* LRU of open descriptors; default 512 */
    unsigned cores; /* on which the loop and its threads may run; 0 = what the system says */
    const char *congestion; /* TCP congestion control of our sockets, as "cubic"; NULL = the
                               system's */
    int uring_errno;        /* tests: 0, or the errno with which opening io_uring shall fail */
};

/* Fills in the defaults. */
void io_config_init(struct io_config *config);

/* Opens a loop, on any thread; the thread of the first io_poll is the loop's from then on. AUTO
 * takes io_uring when the kernel gives it and else libevent; io_backend_reason says why
 * ("io_uring_setup: Operation not permitted"), for the start-up text. URING fails with a negative
 * errno where it is not to be had, and logs that. */
int io_open(const struct io_config *config, struct io **out);
/* Nothing may be in flight and all sockets and files closed. */
void io_close(struct io *io);
const char *io_backend_name(const struct io *io);   /* "io_uring", "libevent", "simulator" */
const char *io_backend_reason(const struct io *io); /* why this one, for the banner */

/* One iteration: submits what was asked for, waits until something completes, a timer is due,
 * io_wake was called or max_wait_ns have passed (0 = do not wait), sets the clocks, fires timers,
 * and calls done for all that completed. Returns how many callbacks ran. */
unsigned io_poll(struct io *io, uint64_t max_wait_ns);

/* Makes a waiting (or the next) io_poll return; any thread; cheap when the loop is not asleep. */
void io_wake(struct io *io);

uint64_t io_now(const struct io *io); /* monotonic nanoseconds of this iteration */
/* Nanoseconds since 1970 of this iteration. A clock that is set by a second or more is believed
 * when it has stood for a minute (io_clock.h). */
int64_t io_wall(const struct io *io);
/* Re-reads both clocks, for a callback that ran long. */
void io_clock_update(struct io *io);
/* Random bytes fit for secrets (the kernel's; the simulator: its seed). */
void io_random(struct io *io, void *out, size_t n);

/* Timers on the loop's wheel; due is in io_now's time. */
void io_timer_start(struct io *io, struct wheel_timer *timer, uint64_t due_ns);
/* In the next turn of the loop, for work in slices. (io_now as due is the wheel's next tick: up to
 * a millisecond with nothing done.) */
void io_timer_start_next(struct io *io, struct wheel_timer *timer);
void io_timer_stop(struct io *io, struct wheel_timer *timer);
/* The wheel itself, for cores that are handed one. */
struct wheel *io_wheel(struct io *io);

/* ---- sockets -------------------------------------------------------------------------------- */

/* A socket as a number that any loop of this process can adopt: how the acceptor hands connections
 * out. */
typedef int io_fd;

struct io_addr {
    char host[48]; /* numeric address without brackets */
    uint16_t port;
};

/* Binds and listens (SO_REUSEADDR, no SO_REUSEPORT); port 0 = any; *bound gets what it became. host
 * may be a name or numeric; resolves blocking: start-up only. 0.0.0.0 is every address, those of
 * IPv6 too. */
int io_listen(struct io *io, const char *host, uint16_t port, int backlog, struct io_sock **out,
              struct io_addr *bound);
/* Completes with res = an io_fd, TCP_NODELAY set. One accept at a time per listener. Without
 * descriptors, or with no more than are kept for files, it completes with -EMFILE or -ENFILE: the
 * connection stays in the backlog, the caller retries by a timer. */
void io_accept(struct io *io, struct io_op *op, struct io_sock *listener);
/* Completes with res = an io_fd. host is numeric or a name (resolved on a work thread, its
 * addresses tried in turn); copied. A name that does not resolve: -EHOSTUNREACH. */
void io_connect(struct io *io, struct io_op *op, const char *host, uint16_t port);
/* Closes an io_fd that nobody adopted. */
void io_fd_discard(struct io *io, io_fd fd);

/* Makes the socket this loop's. Never fails for a valid io_fd. */
struct io_sock *io_sock_open(struct io *io, io_fd fd);
/* Cancels what is in flight on it (those operations complete first), closes, completes with 0; the
 * socket is gone just before done is called. */
void io_sock_close(struct io *io, struct io_op *op, struct io_sock *sock);
/* Sends FIN after what was sent; receiving goes on. */
void io_sock_shutdown(struct io *io, struct io_sock *sock);
void io_sock_peer(const struct io_sock *sock, struct io_addr *out);
void io_sock_local(const struct io_sock *sock, struct io_addr *out);

/* Waits for data and lends a buffer: op->data[0..res) belongs to the callback until it returns. res
 * = 0: the peer closed its side. At most one per socket. No buffer is held while nothing arrives.
 */
void io_recv(struct io *io, struct io_op *op, struct io_sock *sock);
/* The same into the caller's memory, which stays as it is for nobody else until done: up to n (not
 * 0) bytes, as many as there are; op->data is NULL. For what is known to be long. */
void io_recv_into(struct io *io, struct io_op *op, struct io_sock *sock, void *into, uint32_t n);
/* Sends all of the vectors, or fails: res = all bytes, or a negative errno after which the stream
 * is broken. Vectors and bytes stay the caller's and unchanged until done; at most one send or
 * splice per socket; at most 1024 vectors. */
void io_send(struct io *io, struct io_op *op, struct io_sock *sock, const struct iovec *iov,
             unsigned n);
/* File to socket without passing through user space; same rules as io_send. The file may be another
 * loop's, who then does not close it before done. The socket is given pages of the page cache: what
 * is written over these bytes, even behind done, may be what the peer gets. */
void io_splice(struct io *io, struct io_op *op, struct io_sock *sock, struct io_file *file,
               uint64_t offset, uint32_t len);
/* Bytes of a send in flight that the kernel has taken so far, for slow consumer accounting. */
uint64_t io_sock_sent(const struct io_sock *sock);

/* ---- files, completion style ---------------------------------------------------------------- */

enum {
    IO_FILE_READ = 0,
    IO_FILE_WRITE = 1,  /* read and write */
    IO_FILE_CREATE = 2, /* must not exist yet */
};

/* A file by path. The descriptor behind it opens on first use through the LRU; the object only
 * names it. */
struct io_file *io_file_open(struct io *io, const char *path, unsigned flags);
/* Nothing may be in flight on it. The descriptor closes on a work thread. */
void io_file_close(struct io *io, struct io_file *file);

/* Completes with the sum of bytes when they are durable, or a negative errno: then the contents of
 * the range are unknown and the caller never writes or syncs this file again: after a sync or
 * commit that failed all that are in flight and all later ones on this object fail, too. It says
 * nothing of other writes to the file, even completed ones: they may have gone another way, and
 * wait for an io_sync. How it is done is the backend's business (measured: a blocking pool thread
 * 84 us for 64 KiB, a linked ring write + fsync 174 us). Several may be in flight on one file; they
 * complete in any order. At most 1024 vectors. */
void io_commit(struct io *io, struct io_op *op, struct io_file *file, const struct iovec *iov,
               unsigned n, uint64_t offset);
/* Writes without durability: the sum of bytes or a negative errno. */
void io_write(struct io *io, struct io_op *op, struct io_file *file, const struct iovec *iov,
              unsigned n, uint64_t offset);
/* Everything whose write completed before the submit becomes durable. */
void io_sync(struct io *io, struct io_op *op, struct io_file *file);
/* Reads up to len bytes; fewer only at the end of the file. */
void io_read(struct io *io, struct io_op *op, struct io_file *file, void *into, uint32_t len,
             uint64_t offset);
/* The same for bytes that nobody is likely to read again soon. Where address, length and offset are
 * multiples of 4096 they may come past the page cache, which does not fill with them then. */
void io_read_once(struct io *io, struct io_op *op, struct io_file *file, void *into, uint32_t len,
                  uint64_t offset);

/* ---- long work ------------------------------------------------------------------------------ */

struct io_work {
    struct io_op op;                   /* completes with res = 0 after run returned */
    void (*run)(struct io_work *work); /* on a pool thread; owns what the caller lent it until done
                                        */
    struct io_fs *fs;                  /* set before run: the blocking file calls */
};

/* At most 4096 in flight: one more completes with -EAGAIN without having run. They start in order
 * of submission, a few at a time. A cancelled one that had not started completes with -ECANCELED.
 */
void io_work_submit(struct io *io, struct io_work *work);

/* Tries to stop an operation; it completes anyway, with -ECANCELED or with its result. */
void io_cancel(struct io *io, struct io_op *op);

/* ---- files, blocking: inside io_work, at start-up and at shutdown --------------------------- */

/* The loop's file system door, to hand to code that runs where blocking is allowed. Thread-safe. */
struct io_fs *io_fs(struct io *io);

typedef int fs_fd;

fs_fd fs_open(struct io_fs *fs, const char *path, unsigned flags); /* IO_FILE_*; mode 0600;
                                                                      O_CLOEXEC */
void fs_close(struct io_fs *fs, fs_fd fd);
/* Whole transfers: loops over short ones; read returns fewer bytes only at the end of the file. */
int64_t fs_read(struct io_fs *fs, fs_fd fd, void *into, size_t n, uint64_t offset);
int fs_write(struct io_fs *fs, fs_fd fd, const void *bytes, size_t n, uint64_t offset);
int fs_sync(struct io_fs *fs, fs_fd fd);
int64_t fs_size(struct io_fs *fs, fs_fd fd);
int fs_truncate(struct io_fs *fs, fs_fd fd, uint64_t size);
/* Makes a file of `from` bytes smaller, at most `piece` of it at once: what syncs other files of
 * the file system meanwhile waits for a piece and not for all (fs.c). */
int fs_shrink(struct io_fs *fs, fs_fd fd, uint64_t from, uint64_t to, uint64_t piece);
/* Reserves blocks [0, size) and extends the file; -ENOSPC here is the only place where it may
 * occur. */
int fs_allocate(struct io_fs *fs, fs_fd fd, uint64_t size);
/* Nobody will read the file soon: its clean pages may leave the page cache. */
void fs_forget(struct io_fs *fs, fs_fd fd);
int fs_rename(struct io_fs *fs, const char *from, const char *to);
int fs_unlink(struct io_fs *fs, const char *path);
int fs_mkdir(struct io_fs *fs, const char *path); /* mode 0700; -EEXIST when it is there */
int fs_rmdir(struct io_fs *fs, const char *path);
/* Makes creates, renames and unlinks in the directory durable. */
int fs_sync_dir(struct io_fs *fs, const char *path);
/* The same for the directory that path is in. */
int fs_sync_parent(struct io_fs *fs, const char *path);
/* Instead of very many syncs: makes all contents and names on the file system of this path durable.
 * -EOPNOTSUPP where that is not sure. An error that a file had met before is not seen here:
 * fs_sync_check says it, cheaply, 0 when there was none. */
int fs_sync_all(struct io_fs *fs, const char *path);
int fs_sync_check(struct io_fs *fs, fs_fd fd);
/* Calls each(ctx, name) for the entries except . and .., sorted by bytes. */
int fs_list(struct io_fs *fs, const char *path, void (*each)(void *ctx, const char *name),
            void *ctx);
/* An exclusive lock on the open file: 0, or -EWOULDBLOCK when somebody has it, after patience_ns of
 * trying (the simulator has none). Released by fs_close; when the process dies, with its last write
 * (io_hold). */
int fs_lock(struct io_fs *fs, fs_fd fd, uint64_t patience_ns);
/* When this process is killed, the kernel may still write what was under way, although the process
 * is gone for all who ask. It closes fd's open file after that: a lock on it tells the next process
 * when the files are its own. One file per loop, a later one takes its place. The loop's thread, or
 * before its first turn. */
void io_hold(struct io *io, fs_fd fd);
/* Bytes that can still be allocated for this path's file system. */
int64_t fs_free_bytes(struct io_fs *fs, const char *path);
/* Writes a small file so that after a crash either the old or the new contents are there: temporary
 * name, sync, rename, directory sync. */
int fs_replace(struct io_fs *fs, const char *path, const void *bytes, size_t n);

/* ---- statistics ----------------------------------------------------------------------------- */

struct io_stats {
    uint64_t polls, sleeps, wakes;
    uint64_t recvs, recv_bytes, sends, send_bytes;
    uint64_t commits, commit_bytes, commit_ns; /* commit_ns: sum of submit-to-completion */
    uint64_t reads, read_bytes;
    uint64_t works;
};
const struct io_stats *io_stats(const struct io *io);

/* What a backend provides is in lib/io/io_backend.h. */

#endif
