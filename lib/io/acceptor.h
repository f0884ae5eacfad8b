/*
 * acceptor.h - a listener that hands its connections to its owner, one by one, and waits a moment
 * when there are no descriptors left. One loop.
 */
#ifndef IO_ACCEPTOR_H
#define IO_ACCEPTOR_H

#include "lib/io/io.h"

/* Zero-initialised is closed. */
struct acceptor {
    /* The owner's: takes the descriptor over. */
    void (*accepted)(struct acceptor *a, io_fd fd);
    void (*closed)(struct acceptor *a); /* after acceptor_close */
    struct log *log;
    /* its own */
    struct io *io;
    struct io_sock *sock;
    struct io_op accept, close;
    struct wheel_timer retry;
    bool open, closing;
};

/* Listens and begins to accept. Returns 0 or a negative errno. */
int acceptor_open(struct acceptor *a, struct io *io, const char *host, uint16_t port,
                  struct io_addr *bound);
/* No connection is taken any more; closed is called when the socket is gone. Once, when open. */
void acceptor_close(struct acceptor *a);

#endif
