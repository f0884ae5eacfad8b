/*
 * network.c - networks by prefix, as users' claims name them: "192.0.2.0/24", "2001:db8::/32".
 *
 * Addresses are kept as 16 bytes. A v4 one has ten zero bytes and two of 0xff in front, so that
 * "::ffff:192.0.2.1" is the same as "192.0.2.1", and a v4 network has 96 bits more.
 */
#include "lib/jwt/claims.h"

#include <arpa/inet.h>
#include <string.h>

#define V4_BITS 96u

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool parse_address(struct str text, uint8_t out[16], bool *v4)
{
    char copy[INET6_ADDRSTRLEN + 1];

    if (text.n == 0 || text.n >= sizeof(copy))
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    *v4 = inet_pton(AF_INET, copy, out + sizeof(mapped)) == 1;
    if (*v4) {
        memcpy(out, mapped, sizeof(mapped));
        return true;
    }
    return inet_pton(AF_INET6, copy, out) == 1;
}

bool jwt_network_parse(struct str text, struct jwt_network *out)
{
    struct str length, address = str_cut(text, '/', &length);
    uint64_t bits;

    if (!parse_address(address, out->address, &out->v4) || length.n == 0 || length.n > 3 ||
        !str_to_u64(length, &bits) || bits > (out->v4 ? 32u : 128u))
        return false;
    out->bits = (unsigned) bits + (out->v4 ? V4_BITS : 0);
    return true;
}

bool jwt_network_has(const struct jwt_network *net, const char *address)
{
    uint8_t a[16];
    bool v4;

    /* A network of one kind has no addresses of the other, also when it has all of its own. */
    if (!parse_address(str_of(address), a, &v4) ||
        (memcmp(a, mapped, sizeof(mapped)) == 0) !=
            (memcmp(net->address, mapped, sizeof(mapped)) == 0))
        return false;
    for (unsigned i = 0; i < net->bits; i++)
        if (((a[i / 8] ^ net->address[i / 8]) & (0x80u >> (i % 8))) != 0)
            return false;
    return true;
}
