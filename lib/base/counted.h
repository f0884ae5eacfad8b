/*
 * counted.h - texts in records: a length of 4 bytes, little-endian, and so many bytes.
 */
#ifndef BASE_COUNTED_H
#define BASE_COUNTED_H

#include "lib/base/buf.h"
#include "lib/base/bytes.h"
#include "lib/base/str.h"

static inline void counted_put(struct buf *out, struct str text)
{
    uint8_t length[4];

    put_u32(length, (uint32_t) text.n);
    buf_put(out, length, sizeof(length));
    buf_put_str(out, text);
}

/* Takes one from the front of *in; *text points into it. False: *in ends before the text does. */
static inline bool counted_take(struct str *in, struct str *text)
{
    struct str rest;
    size_t n;

    if (in->n < 4)
        return false;
    n = get_u32(in->p);
    rest = str_skip(*in, 4);
    if (rest.n < n)
        return false;
    *text = str_take(rest, n);
    *in = str_skip(rest, n);
    return true;
}

#endif
