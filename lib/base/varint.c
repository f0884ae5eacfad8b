#include "lib/base/varint.h"

unsigned varint_put(uint8_t *out, uint64_t v)
{
    unsigned n = 0;

    while (v >= 0x80) {
        out[n++] = (uint8_t) (v | 0x80);
        v >>= 7;
    }
    out[n++] = (uint8_t) v;
    return n;
}

void varint_put_buf(struct buf *out, uint64_t v)
{
    out->n += varint_put((uint8_t *) buf_reserve(out, VARINT_MAX), v);
}

bool varint_take(struct str *in, uint64_t *v)
{
    size_t limit = in->n < VARINT_MAX ? in->n : VARINT_MAX;
    uint64_t value = 0;

    for (size_t i = 0; i < limit; i++) {
        uint64_t byte = (unsigned char) in->p[i];
        if (i == VARINT_MAX - 1 && byte > 1)
            return false;
        value |= (byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *in = str_skip(*in, i + 1);
            *v = value;
            return true;
        }
    }
    return false;
}
