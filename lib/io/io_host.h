/*
 * io_host.h - what the two backends of the kernel share: waking and sleeping, the pool and its file
 * operations, connecting by name, splicing. A backend adds how sockets proceed.
 */
#ifndef IO_IO_HOST_H
#define IO_IO_HOST_H

#include "lib/io/io_backend.h"
#include "lib/io/io_direct.h"
#include "lib/io/io_files.h"
#include "lib/io/io_net.h"
#include "lib/io/io_pool.h"
#include "lib/io/io_spin.h"

#include <stdatomic.h>

/* Kinds of operations that no caller sees: they go through the pool and end in done, inside poll.
 */
#define IO_JOB 100

/* How long a pool thread looks for the next operation before it sleeps, when they come in series.
 */
#define POOL_SPIN_NS 30000

struct io_host;
struct dial;

struct host_ops {
    /* Submits, waits at most wait_ns (0 = not), completes what is complete. */
    void (*turn)(struct io_host *h, uint64_t wait_ns);
    /* In a spin: whether the next turn would find something. */
    bool (*probe)(struct io_host *h);
    /* Begins to connect d->fd to d->addrs[d->next]; ends in dial_result. */
    void (*dial)(struct io_host *h, struct dial *d);
    void (*dial_cancel)(struct io_host *h, struct dial *d);
    /* Calls splice_go again once the socket is writable. */
    void (*splice_wait)(struct io_host *h, struct io_op *op);
    /* A socket that is closing has no send in flight any more. */
    void (*send_ended)(struct io_host *h, struct io_sock *sock);
};

struct io_host {
    struct io io;
    struct io_fs fs;
    const struct host_ops *host_ops;
    struct io_pool *pool;
    struct io_files *files;
    struct io_direct *direct;
    struct io_spin spin;
    bool one_core; /* the loop and the pool share it */
    int wake_fd;   /* an eventfd, never read: the backends wait for edges */
    /* Other threads write woken and read asleep; see io_host.c. */
    _Alignas(64) atomic_bool woken;
    atomic_bool asleep;
};

/* Start: pool, files, eventfd. Then the backend, and last io_setup. */
int host_open(struct io_host *h, const struct host_ops *ops, const struct io_config *config);
/* First half of closing: threads end, internal jobs too. Then the backend, then io_teardown,
 * host_free. */
void host_stop(struct io_host *h);
void host_free(struct io_host *h);

static inline struct io_host *host_of(struct io *io)
{
    return CONTAINER_OF(io, struct io_host, io);
}

/* Members of struct io_ops. */
void host_poll(struct io *io, uint64_t wait_ns);
void host_wake(struct io *io);
uint64_t host_monotonic(struct io *io);
int64_t host_wall(struct io *io);
uint64_t host_asleep(struct io *io);
void host_random(struct io *io, void *out, size_t n);
void host_connect(struct io *io, struct io_op *op, const char *host, uint16_t port);
void host_fd_discard(struct io *io, io_fd fd);
void host_sock_addr(const struct io_sock *sock, bool peer, struct io_addr *out);
struct io_file *host_file_open(struct io *io, const char *path, unsigned flags);
void host_file_close(struct io *io, struct io_file *file);

/* Of ops->submit: commits, writes, syncs, reads and works. */
void host_submit_file(struct io_host *h, struct io_op *op);
/* Of ops->cancel: those, and connects. */
void host_cancel(struct io_host *h, struct io_op *op);

/* An internal operation for a pool thread: run there, done here. */
void host_job(struct io_host *h, struct io_work *job, void (*run)(struct io_work *),
              void (*done)(struct io_op *));

/* ---- connecting (io_dial.c) ------------------------------------------------------------------ */

/* A connection attempt: resolves, then tries the addresses one by one. */
struct dial {
    struct io_work job;
    struct io_host *h;
    struct io_op *op; /* NULL: cancelled while it was being resolved */
    struct net_addr addrs[NET_ADDRS_MAX];
    int count; /* or a negative errno */
    int next;
    int fd;
    bool cancelled;
    uint16_t port;
    void *backend;
    char host[];
};

void dial_result(struct dial *d, int rc);
void dial_cancel(struct io_host *h, struct io_op *op);

/* ---- splicing (io_splice.c) ------------------------------------------------------------------ */

/* Moves what the socket takes now, on a pool thread; completes or calls host_ops->splice_wait. A
 * cancelled splice completes when the thread is back. */
void splice_go(struct io_host *h, struct io_op *op);
/* True when a pool thread holds it, so that the caller has to wait for send_ended. */
bool splice_cancel(struct io_host *h, struct io_op *op);

/* ---- the file system (io_fs.c) --------------------------------------------------------------- */

void posix_fs_init(struct io_fs *fs);
int posix_open_file(const char *path, unsigned flags);
int64_t posix_read_at(int fd, void *into, size_t n, uint64_t offset);

#endif
