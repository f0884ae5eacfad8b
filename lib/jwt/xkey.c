/* xkey.c - libsodium's box with a version in front. */
#include "lib/jwt/xkey.h"

#include <sodium.h>
#include <string.h>

static const char version[] = {'x', 'k', 'v', '1'};

_Static_assert(XKEY_NONCE_BYTES == crypto_box_NONCEBYTES, "the box's nonce");
_Static_assert(XKEY_OVERHEAD == sizeof(version) + crypto_box_NONCEBYTES + crypto_box_MACBYTES,
               "what a sealed message is longer by");

void xkey_public(const uint8_t secret[NKEY_KEY_BYTES], char out[NKEY_LEN + 1])
{
    uint8_t key[NKEY_KEY_BYTES];

    crypto_scalarmult_base(key, secret);
    nkey_encode(NKEY_CURVE, key, out);
}

bool xkey_seal(const uint8_t secret[NKEY_KEY_BYTES], struct str to,
               const uint8_t nonce[XKEY_NONCE_BYTES], struct str message, struct buf *out)
{
    uint8_t key[NKEY_KEY_BYTES];
    char *at;

    if (!nkey_decode(to, NKEY_CURVE, key))
        return false;
    at = buf_reserve(out, message.n + XKEY_OVERHEAD);
    memcpy(at, version, sizeof(version));
    memcpy(at + sizeof(version), nonce, XKEY_NONCE_BYTES);
    if (crypto_box_easy((uint8_t *) at + sizeof(version) + XKEY_NONCE_BYTES,
                        (const uint8_t *) message.p, message.n, nonce, key, secret) != 0)
        return false;
    out->n += message.n + XKEY_OVERHEAD;
    return true;
}

bool xkey_open(const uint8_t secret[NKEY_KEY_BYTES], struct str from, struct str sealed,
               struct buf *out)
{
    const uint8_t *p = (const uint8_t *) sealed.p;
    size_t head = sizeof(version) + XKEY_NONCE_BYTES;
    uint8_t key[NKEY_KEY_BYTES];
    char *at;

    if (sealed.n < XKEY_OVERHEAD || memcmp(p, version, sizeof(version)) != 0 ||
        !nkey_decode(from, NKEY_CURVE, key))
        return false;
    at = buf_reserve(out, sealed.n - XKEY_OVERHEAD + 1);
    if (crypto_box_open_easy((uint8_t *) at, p + head, sealed.n - head, p + sizeof(version), key,
                             secret) != 0)
        return false;
    out->n += sealed.n - XKEY_OVERHEAD;
    return true;
}
