/* base64.h - RFC 4648 base64: standard alphabet with padding (JSON bodies) and URL alphabet
 * without. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>

void base64_encode(struct buf *out, struct str in);
void base64url_encode(struct buf *out, struct str in);
/* Both alphabets, with or without padding; false on any other byte or a wrong length. */
bool base64_decode(struct buf *out, struct str in);

#endif
