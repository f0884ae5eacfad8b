/*
 * js_resources.h - the server's limits on what JetStream stores, shared by all workers.
 *
 * There is one for the server and one for each account below it: what an account reserves and uses
 * counts in both.
 *
 * Two kinds of storage (enum storage: file, memory), each with a maximum, what is reserved (the sum
 * of the streams' max_bytes) and what is used (the sum of their bytes, by the store's formula). A
 * reservation over the maximum is refused; use is only compared with it, before a message is taken,
 * so it may be exceeded by what is on its way to the disk. Any thread.
 */
#ifndef JS_JS_RESOURCES_H
#define JS_JS_RESOURCES_H

#include "server/js/stream_config.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct js_resource {
    _Atomic uint64_t max;
    _Atomic uint64_t reserved, used;
    bool grows; /* the maximum was not configured: what is found at the start is added to it */
};

struct js_resources {
    struct js_resource of[2]; /* by enum storage */
    struct js_resources *up;  /* what counts here counts there too; NULL = none */
};

/* As below, without a limit but the configured one. */
void js_resources_init_below(struct js_resources *r, struct js_resources *up, enum storage kind,
                             int64_t configured);
/* configured: bytes, or negative: then `found`, the share of what the machine has. */
void js_resources_init(struct js_resources *r, enum storage kind, int64_t configured,
                       uint64_t found);
/* Another limit; negative: none. What is there stays. */
void js_resources_limit(struct js_resources *r, enum storage kind, int64_t configured);
/* False when it does not fit; then nothing is reserved. Zero and negative reserve nothing. */
bool js_resources_reserve(struct js_resources *r, enum storage kind, int64_t max_bytes);
/* Of a recovered stream, which is there whatever the limit: always. */
void js_resources_recover(struct js_resources *r, enum storage kind, int64_t max_bytes,
                          uint64_t used);
void js_resources_release(struct js_resources *r, enum storage kind, int64_t max_bytes);
/* The bytes of a stream have changed. */
void js_resources_use(struct js_resources *r, enum storage kind, uint64_t before, uint64_t now);
/* Is more used than there may be, with `more` bytes: in the whole server; in an account, which r is
 * the one of; in either of them? */
bool js_resources_server_full(const struct js_resources *r, enum storage kind, uint64_t more);
bool js_resources_account_full(const struct js_resources *r, enum storage kind, uint64_t more);
bool js_resources_full(const struct js_resources *r, enum storage kind, uint64_t more);
/* Has the account a limit of its own? */
bool js_resources_limited(const struct js_resources *r, enum storage kind);

#endif
