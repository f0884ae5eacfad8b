/*
 * ws_upgrade.h - the HTTP request that becomes a WebSocket connection: a verdict and an answer.
 * Pure, but for the hash in the answer.
 */
#ifndef NET_WS_UPGRADE_H
#define NET_WS_UPGRADE_H

#include "lib/base/buf.h"
#include "lib/wire/http_head.h"
#include "server/config/websocket_options.h"

#include <stdbool.h>

/* Where leaf nodes connect: a path that ends so. */
#define WS_LEAF_PATH "/leafnode"

struct ws_upgrade {
    unsigned status; /* 101, or why not: 400, 403, 404, 405 */
    const char *why; /* for the log; NULL with 101 */
    bool bare;       /* the answer has no body */
    bool leaf;       /* it asks for the leaf nodes' path */
    bool packs;      /* messages may be compressed */
    bool no_masking; /* frames to the server have no mask */
    bool browser;    /* frames are to be short */
    bool whole;      /* but compressed messages are to be in one */
    struct str key;
    struct str client_ip; /* forwarded; a valid address; empty = none */
};

/* tls: it came encrypted. Views are of the request. */
void ws_upgrade_check(const struct websocket_options *o, const struct http_head *request, bool tls,
                      struct ws_upgrade *out);
/* The answer, whatever it is. */
void ws_upgrade_answer(const struct websocket_options *o, const struct ws_upgrade *u,
                       struct buf *out);
/* The answer to a request that can not be granted; bare: its head alone. */
void ws_upgrade_refuse(unsigned status, bool bare, struct buf *out);
/* The answer to something that is no request: 400 or 431. */
void ws_upgrade_nonsense(unsigned status, struct buf *out);
/* What the answer to this key must say. */
void ws_upgrade_accept_key(struct str key, struct buf *out);

#endif
