#include "lib/base/base64.h"

#include <stddef.h>
#include <stdint.h>

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(struct buf *out, struct str in, const char *alphabet, bool pad)
{
    const unsigned char *p = (const unsigned char *) in.p;
    char *to = buf_reserve(out, in.n / 3 * 4 + 4);
    char *start = to;
    size_t n = in.n;

    for (; n >= 3; n -= 3, p += 3) {
        *to++ = alphabet[p[0] >> 2];
        *to++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
        *to++ = alphabet[(p[1] & 15) << 2 | p[2] >> 6];
        *to++ = alphabet[p[2] & 63];
    }
    if (n > 0) {
        unsigned second = n == 2 ? p[1] : 0;
        *to++ = alphabet[p[0] >> 2];
        *to++ = alphabet[(p[0] & 3) << 4 | second >> 4];
        if (n == 2)
            *to++ = alphabet[(second & 15) << 2];
        for (; pad && n < 3; n++)
            *to++ = '=';
    }
    out->n += (size_t) (to - start);
}

void base64_encode(struct buf *out, struct str in)
{
    encode(out, in, standard, true);
}

void base64url_encode(struct buf *out, struct str in)
{
    encode(out, in, url_safe, false);
}

/* 0 to 63, or -1. */
static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

/* Padding fills the last group of four up and is all or nothing. */
static bool strip_padding(struct str *in)
{
    size_t pad = 0;

    while (pad < 2 && pad < in->n && in->p[in->n - 1 - pad] == '=')
        pad++;
    if (pad > 0 && in->n % 4 != 0)
        return false;
    in->n -= pad;
    return in->n % 4 != 1;
}

bool base64_decode(struct buf *out, struct str in)
{
    uint32_t bits = 0;
    unsigned held = 0;
    char *to, *start;

    if (!strip_padding(&in))
        return false;
    start = to = buf_reserve(out, in.n / 4 * 3 + 2);
    for (size_t i = 0; i < in.n; i++) {
        int v = value_of(in.p[i]);
        if (v < 0)
            return false;
        bits = (bits << 6 | (uint32_t) v) & 0xffffffu;
        held += 6;
        if (held >= 8) {
            held -= 8;
            *to++ = (char) (unsigned char) (bits >> held);
        }
    }
    out->n += (size_t) (to - start);
    return true;
}
