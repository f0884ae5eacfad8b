/*
 * header.h - the NATS message header block: "NATS/1.0[ status[ description]]\r\nKey:
 * Value\r\n...\r\n\r\n".
 *
 * Views only, nothing is copied. Keys are compared with case, as the peer does, and
 * hold no colon and no line end. A block that does
 * not start with "NATS/1.0" or does not end with an empty line is malformed for header_valid; the
 * lookups accept any bytes and find nothing in them.
 */
#ifndef BASE_HEADER_H
#define BASE_HEADER_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>

bool header_valid(struct str block);
/* First value of key as the peer sees it, without spaces in front; p == NULL when the key is
 * absent. */
struct str header_get(struct str block, struct str key);
/* Status and description of the first line; status.n == 0 when there is none. */
void header_status(struct str block, struct str *status, struct str *description);

/* Walks all pairs: size_t at = 0; while (header_next(block, &at, &key, &value)) ... */
bool header_next(struct str block, size_t *at, struct str *key, struct str *value);

/* Appends a copy of block without any line of the key (the whole block vanishes when nothing is
 * left). */
void header_remove(struct buf *out, struct str block, struct str key);
/* Appends a copy of block (or a new one when it is empty) with one more pair. */
void header_append(struct buf *out, struct str block, struct str key, struct str value);

#endif
