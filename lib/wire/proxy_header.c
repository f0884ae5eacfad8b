/*
 * proxy_header.c - see proxy_header.h.
 *
 *     1    "PROXY TCP4 192.0.2.1 192.0.2.9 56324 4222\r\n", at most 107 bytes; or "PROXY
 * UNKNOWN..." 2    0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a      signature 0x20 | command (0 local, 1
 * proxy) family (1 IPv4, 2 IPv6) << 4 | protocol (1 stream) length of the rest, two bytes, big
 * endian source address, destination address, source port, destination port whatever else the
 * length covers
 *
 * Only the source counts. An IPv4 address in IPv6 form is shown as IPv4.
 */
#include "lib/wire/proxy_header.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define PREFIX_LEN 6u
#define FIXED 16u
#define V4_LEN 12u
#define V6_LEN 36u

static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";
#define SIGNATURE_LEN (sizeof(signature) - 1)

static enum proxy_answer bad(struct proxy_header *out, const char *error)
{
    out->error = error;
    return PROXY_BAD;
}

/* A beginning of the other, as far as both go. */
static bool may_become(struct str in, struct str whole)
{
    return str_starts(whole, str_take(in, whole.n));
}

/* ---- addresses ------------------------------------------------------------------------------- */

static bool show(struct proxy_header *out, int family, const void *address)
{
    const unsigned char *six = address;
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (family == AF_INET6 && memcmp(six, mapped, sizeof(mapped)) == 0)
        return inet_ntop(AF_INET, six + sizeof(mapped), out->host, PROXY_HOST_MAX) != NULL;
    return inet_ntop(family, address, out->host, PROXY_HOST_MAX) != NULL;
}

static bool parse_address(struct str text, int family, unsigned char into[16])
{
    char copy[PROXY_HOST_MAX];

    if (text.n == 0 || text.n >= sizeof(copy))
        return false;
    snprintf(copy, sizeof(copy), "%.*s", STR_ARG(text));
    return inet_pton(family, copy, into) == 1;
}

/* ---- version 1 ------------------------------------------------------------------------------- */

static struct str next_word(struct str *left)
{
    while (left->n > 0 && left->p[0] == ' ')
        *left = str_skip(*left, 1);
    return str_cut(*left, ' ', left);
}

static bool parse_port(struct str text, uint16_t *out)
{
    uint64_t n;

    if (!str_to_u64(text, &n) || n > UINT16_MAX)
        return false;
    *out = (uint16_t) n;
    return true;
}

static enum proxy_answer parse_line(struct str line, struct proxy_header *out)
{
    unsigned char from[16], to[16];
    struct str protocol, words[4];
    uint16_t ignored;
    int family;

    protocol = next_word(&line);
    if (str_eq(protocol, STR("UNKNOWN")))
        return PROXY_OK;
    for (unsigned i = 0; i < 4; i++)
        words[i] = next_word(&line);
    if (words[3].n == 0 || next_word(&line).n > 0)
        return bad(out, "invalid PROXY protocol header: invalid v1 format");
    if (!str_eq(protocol, STR("TCP4")) && !str_eq(protocol, STR("TCP6")))
        return bad(out, "invalid PROXY protocol header: invalid protocol");
    family = str_eq(protocol, STR("TCP4")) ? AF_INET : AF_INET6;
    if (!parse_address(words[0], family, from) || !parse_address(words[1], family, to))
        return bad(out, "invalid PROXY protocol header: invalid address");
    if (!parse_port(words[2], &out->port) || !parse_port(words[3], &ignored))
        return bad(out, "invalid PROXY protocol header: invalid port");
    return show(out, family, from) ? PROXY_OK : bad(out, "invalid PROXY protocol header");
}

static enum proxy_answer parse_text(struct str in, struct proxy_header *out)
{
    struct str seen = str_take(in, PROXY_HEADER_MAX);
    const char *end = memmem(seen.p, seen.n, "\r\n", 2);

    if (end == NULL)
        return in.n < PROXY_HEADER_MAX
                   ? PROXY_MORE
                   : bad(out, "invalid PROXY protocol header: v1 line too long");
    out->length = (size_t) (end - in.p) + 2;
    return parse_line(str_from(in.p + PREFIX_LEN, (size_t) (end - in.p) - PREFIX_LEN), out);
}

/* ---- version 2 ------------------------------------------------------------------------------- */

static uint16_t two_bytes(const unsigned char *p)
{
    return (uint16_t) (p[0] << 8 | p[1]);
}

static enum proxy_answer parse_family(struct str in, const unsigned char *p,
                                      struct proxy_header *out)
{
    unsigned family = p[13] >> 4, rest = two_bytes(p + 14);
    size_t need = family == 1 ? V4_LEN : V6_LEN;

    if ((p[13] & 0x0f) != 1)
        return bad(out, "unsupported PROXY protocol feature: only STREAM protocol supported");
    if (family == 0)
        return PROXY_OK;
    if (family > 2)
        return bad(out, "unsupported PROXY protocol feature: unsupported address family");
    if (rest < need)
        return bad(out, "invalid PROXY protocol header: address data too short");
    if (in.n < FIXED + need)
        return PROXY_MORE;
    out->port = two_bytes(p + FIXED + (family == 1 ? 8 : 32));
    return show(out, family == 1 ? AF_INET : AF_INET6, p + FIXED)
               ? PROXY_OK
               : bad(out, "invalid PROXY protocol header");
}

static enum proxy_answer parse_binary(struct str in, struct proxy_header *out)
{
    const unsigned char *p = (const unsigned char *) in.p;

    if (!may_become(in, str_from(signature, SIGNATURE_LEN)))
        return bad(out, "invalid PROXY protocol header: invalid signature");
    if (in.n < FIXED)
        return PROXY_MORE;
    if (p[12] >> 4 != 2)
        return bad(out, "invalid PROXY protocol header: invalid version");
    out->length = FIXED + two_bytes(p + 14);
    if ((p[12] & 0x0f) > 1)
        return bad(out, "unknown PROXY protocol command");
    return (p[12] & 0x0f) == 0 ? PROXY_OK : parse_family(in, p, out);
}

enum proxy_answer proxy_header_parse(struct str in, struct proxy_header *out)
{
    struct str text = STR("PROXY "), binary = str_from(signature, PREFIX_LEN);

    *out = (struct proxy_header){0};
    if (!may_become(in, text) && !may_become(in, binary))
        return PROXY_NONE;
    if (in.n < PREFIX_LEN)
        return PROXY_MORE;
    return str_starts(in, text) ? parse_text(in, out) : parse_binary(in, out);
}
