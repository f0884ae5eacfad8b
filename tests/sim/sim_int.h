/*
 * sim_int.h - what the files of the simulator share: sim.c (time, events, crashes, trace), io_sim.c
 * (the backend), sim_files.c (operations on files, blocking calls), sim_net.c (connections).
 */
#ifndef TESTS_SIM_INT_H
#define TESTS_SIM_INT_H

#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/base/prng.h"
#include "lib/io/io_backend.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_disk_int.h"
#include "tests/sim/sim_mem.h"

#include <stdatomic.h>

/* Something that will happen. Embedded in its subject. */
struct sim_event {
    uint64_t at;  /* sim time */
    uint64_t tie; /* seeded order among equal times */
    void (*run)(struct sim *sim, struct sim_event *ev);
    size_t place; /* in the heap + 1; 0 = not queued */
};

/* One loop. */
struct sim_loop {
    struct io io; /* first */
    struct sim *sim;
    struct sim_arena *arena; /* what lib/io allocates for it */
    struct list link;        /* of the sim */
    unsigned id;
    bool remote;
    bool wanted;
    _Atomic bool woken;
    struct list pending; /* struct sim_pending */
    struct list works;   /* pending works that wait for a thread */
    unsigned works_running;
    struct list socks; /* struct sim_sock */
    struct list files; /* struct sim_file */
};

/* An operation in flight that is not a socket's (those live in their struct sim_end). */
struct sim_pending {
    struct sim_event ev;
    struct list link; /* of the loop, or of loop->works */
    struct sim_loop *loop;
    struct io_op *op;
    bool begun;       /* too late to cancel without effect */
    uint64_t written; /* WRITE, COMMIT: bytes applied so far */
    uint64_t total;
    uint64_t mark; /* SYNC, COMMIT: what the sync covers */
    uint64_t hash; /* of the bytes at submit: they must not change */
    char *host;    /* CONNECT */
    uint16_t port;
};

struct sim_file {
    struct io_file file; /* first */
    struct list link;    /* of the loop */
    char *path;
    unsigned flags;
    bool created;
    struct sim_inode *ino; /* NULL: not open */
};

/* An open descriptor of the blocking calls. */
struct sim_fd {
    struct sim_inode *ino; /* NULL = free */
    char *path;
    unsigned flags;
    bool locked;
};

struct sim_fault_state {
    uint64_t countdown; /* 0 = off */
    uint64_t repeat;
    unsigned per_million;
    uint64_t count;
};

struct sim_fs_door {
    struct io_fs fs; /* first */
    struct sim *sim;
};

struct sim_log_door {
    struct log log; /* first */
    struct sim *sim;
};

struct sim {
    struct sim_options options;
    struct prng rng;      /* the simulator's */
    struct prng work_rng; /* sim_rng */
    uint64_t now;
    int64_t wall_offset; /* wall = now + this */
    struct sim_event **heap;
    size_t nheap, heap_cap;
    struct list loops;
    unsigned last_loop;

    struct sim_disk *disk;
    struct sim_fs_door door;
    struct sim_fd *fds;
    size_t nfds;

    struct sim_end **ends; /* by io_fd - SIM_FD_BASE */
    size_t nends;
    struct list all_ends;
    uint16_t next_port;

    struct sim_fault_state faults[SIM_FAULTS];
    char *fault_only;
    unsigned lies;
    sim_point_fn point;
    unsigned moments;
    void *point_ctx;
    uint64_t points;

    struct sim_log_door log;
    uint64_t trace_hash;
    bool untraced; /* a fork that nobody prints: its events are not formatted, nor hashed */
};

/* sim.c */
void sim_event_start(struct sim *sim, struct sim_event *ev, uint64_t at,
                     void (*run)(struct sim *sim, struct sim_event *ev));
void sim_event_stop(struct sim *sim, struct sim_event *ev);
/* Moves time to the next event that is due until `limit` and runs it; false when there is none. */
bool sim_run_event(struct sim *sim, uint64_t limit);
uint64_t sim_draw(struct sim *sim, const struct sim_latency *l);
bool sim_chance(struct sim *sim, unsigned percent);
/* Does this occasion fail? path may be NULL. */
bool sim_fails(struct sim *sim, enum sim_fault fault, const char *path);
/* A moment at which power may fail. */
void sim_moment(struct sim *sim, enum sim_moment moment, const char *what, const char *path);

/* io_sim.c */
extern const struct io_ops sim_io_ops;
struct io *sim_loop_open(struct sim *sim, const struct io_config *config, bool remote);
/* Frees the loop and what it has in flight without a call. */
void sim_loop_vanish(struct sim_loop *loop);
bool sim_loop_runnable(struct sim_loop *loop);
struct sim_pending *sim_pending_new(struct sim_loop *loop, struct io_op *op);
void sim_pending_done(struct sim_pending *p, int64_t res);
void sim_pending_free(struct sim_pending *p);

static inline struct sim_loop *sim_loop_of(struct io *io)
{
    return (struct sim_loop *) io;
}

/* sim_files.c */
extern const struct io_fs_ops sim_fs_ops;
struct io_file *sim_file_open(struct io *io, const char *path, unsigned flags);
void sim_file_close(struct io *io, struct io_file *file);
void sim_file_vanish(struct sim_file *file);
void sim_file_submit(struct sim_loop *loop, struct io_op *op);
/* Bytes at `offset` of the file for a splice: how many, or a negative errno. */
int64_t sim_file_peek(struct sim *sim, struct io_file *file, void *into, size_t n, uint64_t offset);
/* What was in flight at a power cut reaches the cache, or not, or in part. */
void sim_pending_cut(struct sim_pending *p);
void sim_fds_free(struct sim *sim);

/* sim_net.c */
int sim_net_listen(struct io *io, const char *host, uint16_t port, int backlog,
                   struct io_sock **out, struct io_addr *bound);
void sim_net_connect(struct io *io, struct io_op *op, const char *host, uint16_t port);
void sim_net_discard(struct io *io, io_fd fd);
struct io_sock *sim_net_sock_open(struct io *io, io_fd fd);
void sim_net_sock_free(struct io *io, struct io_sock *sock);
void sim_net_shutdown(struct io *io, struct io_sock *sock);
void sim_net_addr(const struct io_sock *sock, bool peer, struct io_addr *out);
void sim_net_submit(struct sim_loop *loop, struct io_op *op);
void sim_net_cancel(struct sim_loop *loop, struct io_op *op);
bool sim_net_before(struct io *io, struct io_op *op);
void sim_net_after(struct io *io, uint8_t *data);
/* The loop's sockets go: their peers see a reset. */
void sim_net_vanish(struct sim_loop *loop);
void sim_net_free(struct sim *sim);

#endif
