/*
 * staple.h - the state of one of our certificates: got from its responder, kept on the disk, given
 * to handshakes, renewed. Main thread.
 *
 * At a start an answer is waited for; a server that must have one does not start without. After a
 * reload it comes later.
 */
#ifndef SERVER_STAPLE_H
#define SERVER_STAPLE_H

#include "server/config/ocsp_options.h"
#include "server/url_fetch.h"

#include <stdbool.h>

struct io_fs;
struct log;
struct staple;
struct tls_context;
struct tls_options;

struct staple_host {
    struct url_way way; /* its timeout is ours */
    struct io_fs *fs;
    struct log *log;
    void (*revoked)(void *ctx); /* the server is to end; not from within an open */
    void *ctx;
};

struct staple_want {
    struct tls_context *context;
    const struct tls_options *tls;
    const struct ocsp_options *ocsp;
    const char *store_dir;       /* NULL: answers are not kept */
    const struct staple *before; /* NULL, or who served the same place until now */
    bool wait;                   /* for the answer, when there is none on the disk */
};

/* True with *out NULL: that certificate needs none. False with a text. Options are borrowed for the
 * call. */
bool staple_open(const struct staple_host *host, const struct staple_want *want,
                 struct staple **out, char why[256]);
void staple_close(struct staple *s); /* NULL is nothing */

#endif
