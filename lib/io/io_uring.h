/*
 * io_uring.h - the parts of the backend on the kernel's rings: entries that go in and the buffers
 * of receives (io_uring_submit.c), entries that come out (io_uring_complete.c), and sockets, turns
 * and life (io_uring.c). Only where HAVE_URING is. The loop's thread.
 */
#ifndef IO_IO_URING_H
#define IO_IO_URING_H

#include "lib/io/io_backend.h"

#ifdef HAVE_URING

#include "lib/io/io_host.h"

#include <liburing.h>

#define SQ_ENTRIES 256
#define CQ_ENTRIES 4096
/* How many buffers are in the ring at least. Two are enough for one hot connection, and more cost
 * cache misses: 94, 110 and 148 us of loop time per MiB with 2, 16 and 64 (bench_io ingest, means
 * of four). */
#define BUFFERS_LEAST 2
#define BUFFERS_MAX 64
#define BUFFER_GROUP 0
#define HELD_FILE 0 /* the only registered file */
/* So many receives without running out retire a buffer. */
#define CALM_RECEIVES 256

enum { URING_PENDING = IO_OP_PRIVATE, URING_KERNEL, URING_STARVED, URING_SPLICE };
enum { NONEMPTY = 1 };         /* flags of a socket: the last receive left something */
enum { NOBODY = 0, WAKE = 1 }; /* user_data that is no address */

struct io_ring {
    struct io_host host;
    struct io_uring ring;
    bool enabled;
    bool wake_armed;
    struct list pending;
    struct list starved;
    struct io_uring_buf_ring *buffer_ring;
    uint8_t *buffers; /* BUFFERS_MAX of recv_bytes; memory is touched only as they enter the ring */
    uint8_t spare[BUFFERS_MAX]; /* ids of the buffers that are not in use, the last first */
    unsigned spare_count;
    unsigned calm;                     /* receives since the ring ran out or a buffer was retired */
    struct msghdr headers[SQ_ENTRIES]; /* by submission slot */
};

static inline struct io_ring *ring_of(struct io *io)
{
    return CONTAINER_OF(io, struct io_ring, host.io);
}

/* ---- io_uring_submit.c ---- */

/* Of a call that submits: an error that does not pass is the end. */
void ring_check_enter(int rc);
/* It becomes an entry with the next turn. */
void ring_enqueue(struct io_ring *r, struct io_op *op);
/* Makes entries of all that is pending, as far as there is room. */
void ring_prepare_pending(struct io_ring *r);
/* Asks for it. The kernel's completion of the cancelled operation tells how it went, this request's
 * own says nothing. */
void ring_cancel(struct io_ring *r, struct io_op *op);
/* A receive found no buffer: it waits for one. */
void ring_starve(struct io_ring *r, struct io_op *op);
void ring_give_buffer(struct io_ring *r, unsigned id);
void ring_give_spare(struct io_ring *r);
/* The lent buffer comes back (struct io_ops). */
void ring_after(struct io *io, uint8_t *data);

/* ---- io_uring_complete.c ---- */

/* Completes what has completed. */
void ring_reap(struct io_ring *r);
/* An operation on a socket has ended; one that is closing may be closed then. */
void ring_finish(struct io_ring *r, struct io_op *op, int64_t res);
void ring_close_if_ended(struct io_ring *r, struct io_sock *sock);
/* Our copy of the vectors of a send. */
void ring_free_vectors(struct io_op *op);

#endif

#endif
