/*
 * xkey.h - sealed messages between two curve keys: "xkv1", a nonce of 24 bytes, and a NaCl box
 * (X25519, XSalsa20-Poly1305). Randomness for nonces is the caller's.
 */
#ifndef JWT_XKEY_H
#define JWT_XKEY_H

#include "lib/base/buf.h"
#include "lib/jwt/nkey.h"

#define XKEY_NONCE_BYTES 24u
#define XKEY_OVERHEAD (4u + XKEY_NONCE_BYTES + 16u)

/* The public key of a secret one, as text. */
void xkey_public(const uint8_t secret[NKEY_KEY_BYTES], char out[NKEY_LEN + 1]);
/* Appends the sealed message; false when `to` is no curve key. */
bool xkey_seal(const uint8_t secret[NKEY_KEY_BYTES], struct str to,
               const uint8_t nonce[XKEY_NONCE_BYTES], struct str message, struct buf *out);
/* Appends what was sealed; false, and nothing appended, when it was not `from` for us. */
bool xkey_open(const uint8_t secret[NKEY_KEY_BYTES], struct str from, struct str sealed,
               struct buf *out);

#endif
