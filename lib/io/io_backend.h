/*
 * io_backend.h - what an implementation of io.h provides; for lib/io and tests/sim only.
 *
 * io.c owns what is the same everywhere: the rules of submitting (one receive and one send per
 * socket, limits, counting), the list of completed operations, timers, the order inside io_poll,
 * statistics. A backend owns how operations proceed. Its struct begins with struct io, its sockets
 * with struct io_sock, its files with struct io_file, its file system door with struct io_fs.
 *
 * Life of an operation: io.c fills it in (kind, state = IO_OP_WAITING) and calls ops->submit; the
 * backend works on it, may use `link`, `state` values from IO_OP_PRIVATE on, `off`, `len`, `iovcnt`
 * and `ptr` as it likes, and ends with io_complete(op, res) exactly once, at any time (also inside
 * submit): that only queues it. io_poll then sets kind = 0 and calls done. From io_complete on
 * `link` and `state` are io.c's.
 */
#ifndef IO_IO_BACKEND_H
#define IO_IO_BACKEND_H

#include "lib/io/io.h"
#include "lib/io/io_clock.h"

enum io_kind {
    IO_IDLE,
    IO_ACCEPT,  /* sock = the listener */
    IO_CONNECT, /* arguments came with ops->connect; ptr is the backend's */
    IO_CLOSE,   /* sock */
    IO_RECV,    /* sock, len; ptr: the caller's memory, NULL: lend some */
    IO_SEND, /* sock, ptr = iovec array, iovcnt, off = 0: bytes sent so far; len is the backend's */
    IO_SPLICE,    /* sock, splice_from, off, len */
    IO_COMMIT,    /* file, ptr = iovec array, iovcnt, off */
    IO_WRITE,     /* the same */
    IO_SYNC,      /* file */
    IO_READ,      /* file, ptr = where to, len, off */
    IO_READ_ONCE, /* the same */
    IO_WORK,      /* work */
};

enum {
    IO_OP_WAITING, /* submitted */
    IO_OP_READY,   /* completed, done not yet called */
    IO_OP_LAZY, /* as READY, but ops->before fills in res and data first, just before done is called
                 */
    IO_OP_PRIVATE, /* and above: the backend's own states of a waiting operation */
};

struct io_ops {
    const char *name; /* io_backend_name */
    /* Frees everything including the struct io. Nothing is in flight, no socket or file is open. */
    void (*close)(struct io *io);

    /* Submits, then waits at most wait_ns for one completion, wake-up or (wait_ns == 0) not at all,
     * and calls io_complete for all that is complete. May return early for no reason. */
    void (*poll)(struct io *io, uint64_t wait_ns);
    void (*wake)(struct io *io); /* any thread */
    uint64_t (*monotonic)(struct io *io);
    int64_t (*wall)(struct io *io);
    /* Optional: how long the machine has slept, which the monotonic clock does not count. */
    uint64_t (*asleep)(struct io *io);
    void (*random)(struct io *io, void *out, size_t n);

    void (*hold)(struct io *io, fs_fd fd); /* Optional: nothing outlives the process. */
    int (*listen)(struct io *io, const char *host, uint16_t port, int backlog, struct io_sock **out,
                  struct io_addr *bound);
    void (*connect)(struct io *io, struct io_op *op, const char *host, uint16_t port);
    void (*fd_discard)(struct io *io, io_fd fd);
    struct io_sock *(*sock_open)(struct io *io, io_fd fd);
    /* After the close operation completed, just before its done. */
    void (*sock_free)(struct io *io, struct io_sock *sock);
    /* No send is in flight: io.c delays the FIN until then. */
    void (*sock_shutdown)(struct io *io, struct io_sock *sock);
    void (*sock_addr)(const struct io_sock *sock, bool peer, struct io_addr *out);

    struct io_file *(*file_open)(struct io *io, const char *path, unsigned flags);
    void (*file_close)(struct io *io, struct io_file *file);

    /* All kinds but IO_CONNECT. IO_CLOSE: first completes what is in flight on the socket. */
    void (*submit)(struct io *io, struct io_op *op);
    /* The operation is in flight and not READY. LAZY ones too come here. */
    void (*cancel)(struct io *io, struct io_op *op);

    /* Optional. An operation completed as IO_OP_LAZY is about to be delivered: set res and data and
     * return true, or take it back (it waits again) and return false. */
    bool (*before)(struct io *io, struct io_op *op);
    /* Optional. done of an IO_RECV returned; data, not NULL, is no longer lent. The operation may
     * be gone. */
    void (*after)(struct io *io, uint8_t *data);
};

struct io {
    const struct io_ops *ops;
    struct io_config config;
    struct io_fs *fs;
    struct wheel *wheel;
    struct list ready; /* struct io_op, completed, in the order in which their done is called */
    uint64_t now_ns;
    int64_t wall_ns; /* believed (io_clock.h) */
    struct io_clock clock;
    unsigned in_flight; /* operations */
    unsigned socks;     /* open sockets */
    unsigned files;     /* open files */
    unsigned works;     /* queued or running io_work */
    struct io_stats stats;
    char reason[160];
};

/* At most so many io_work operations at once; one more completes with -EAGAIN. */
#define IO_WORKS_MAX 4096
#define IO_IOV_MAX 1024

struct io_sock {
    struct io *io;
    struct io_op *recv; /* the receive or accept in flight */
    struct io_op *send; /* the send or splice in flight */
    struct io_op *closing;
    uint64_t sent; /* of the send in flight */
    bool listener;
    bool fin;       /* io_sock_shutdown waits for the send in flight */
    uint16_t flags; /* the backend's */
    int fd;         /* the backend's */
    int gate;       /* io_uring's: of a listener, an epoll descriptor that has it */
};

struct io_file {
    struct io *io;
    unsigned in_flight;
};

struct io_fs_ops {
    fs_fd (*open)(struct io_fs *fs, const char *path, unsigned flags);
    void (*close)(struct io_fs *fs, fs_fd fd);
    int64_t (*read)(struct io_fs *fs, fs_fd fd, void *into, size_t n, uint64_t offset);
    int (*write)(struct io_fs *fs, fs_fd fd, const void *bytes, size_t n, uint64_t offset);
    int (*sync)(struct io_fs *fs, fs_fd fd);
    int64_t (*size)(struct io_fs *fs, fs_fd fd);
    int (*truncate)(struct io_fs *fs, fs_fd fd, uint64_t size);
    int (*allocate)(struct io_fs *fs, fs_fd fd, uint64_t size);
    void (*forget)(struct io_fs *fs, fs_fd fd); /* NULL: there is no page cache */
    int (*rename)(struct io_fs *fs, const char *from, const char *to);
    int (*unlink)(struct io_fs *fs, const char *path);
    int (*mkdir)(struct io_fs *fs, const char *path);
    int (*rmdir)(struct io_fs *fs, const char *path);
    int (*sync_dir)(struct io_fs *fs, const char *path);
    int (*sync_all)(struct io_fs *fs, const char *path); /* These two are optional. */
    int (*sync_check)(struct io_fs *fs, fs_fd fd);
    int (*list)(struct io_fs *fs, const char *path, void (*each)(void *ctx, const char *name),
                void *ctx);
    int (*lock)(struct io_fs *fs, fs_fd fd, uint64_t patience_ns);
    int64_t (*free_bytes)(struct io_fs *fs, const char *path);
};

struct io_fs {
    const struct io_fs_ops *ops;
};

/* For the open function of a backend, which sets config.backend's struct up: fills in the common
 * part; clocks are read through ops. */
void io_setup(struct io *io, const struct io_ops *ops, const struct io_config *config,
              struct io_fs *fs);
/* For ops->close: frees what io_setup made. */
void io_teardown(struct io *io);

/* See the top. The loop's thread only. */
void io_complete(struct io *io, struct io_op *op, int64_t res);
/* Queues a waiting operation as IO_OP_LAZY. */
void io_complete_lazy(struct io *io, struct io_op *op);

/* The open functions of the backends of the kernel. io_uring_open returns a negative errno and
 * writes the failing call to `why` when there is no io_uring here. */
int io_event_open(const struct io_config *config, struct io **out);
int io_uring_open(const struct io_config *config, struct io **out, char *why, size_t why_size);

#endif
