/*
 * websocket_pack.h - compressed WebSocket messages (RFC 7692, permessage-deflate), each on its own:
 * no message refers to bytes of the one before, so that one compressor serves all connections of a
 * worker. About 300 KiB, made when the first message needs it.
 *
 * Packing and unpacking do not disturb each other. Not thread-safe.
 */
#ifndef WIRE_WEBSOCKET_PACK_H
#define WIRE_WEBSOCKET_PACK_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct ws_pack;

struct ws_pack *ws_pack_open(void);
void ws_pack_close(struct ws_pack *p); /* NULL is nothing */

/* One message: begin, its bytes in any number of pieces, end. What end returns is the payload, good
 * until the next begin; p == NULL: it could not be done. */
void ws_pack_begin(struct ws_pack *p);
void ws_pack_add(struct ws_pack *p, struct str bytes);
struct str ws_pack_end(struct ws_pack *p);

/*
 * One message: begin, its payload in any number of pieces, end. Calls each for what it becomes,
 * piece by piece, at most `most` bytes in all. False when it is not what a compressor makes, is
 * longer, or each returned false: then the message is lost. each may pack.
 */
void ws_unpack_begin(struct ws_pack *p, size_t most, bool (*each)(void *ctx, struct str bytes),
                     void *ctx);
bool ws_unpack_add(struct ws_pack *p, struct str payload);
bool ws_unpack_end(struct ws_pack *p);

#endif
