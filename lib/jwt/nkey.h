/*
 * nkey.h - keys as text: a prefix byte that says whose key it is, 32 key bytes, a CRC-16/XMODEM of
 * both, little-endian; 35 bytes in base32 without padding make 56 characters, of which the first
 * shows the prefix. A seed has two prefix bytes (that it is one, and whose), and 58 characters.
 *
 * All are Ed25519 keys but for curve keys (X...), which seal and open messages: xkey.h.
 */
#ifndef JWT_NKEY_H
#define JWT_NKEY_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define NKEY_LEN 56u
#define NKEY_SEED_LEN 58u
#define NKEY_KEY_BYTES 32u
#define NKEY_SIG_BYTES 64u
#define NKEY_SECRET_BYTES 64u /* of libsodium: the seed and the public key */

enum nkey_kind {
    NKEY_ACCOUNT = 0,        /* A */
    NKEY_CLUSTER = 2 << 3,   /* C */
    NKEY_SERVER = 13 << 3,   /* N */
    NKEY_OPERATOR = 14 << 3, /* O */
    NKEY_USER = 20 << 3,     /* U */
    NKEY_CURVE = 23 << 3,    /* X */
};

void nkey_encode(enum nkey_kind kind, const uint8_t key[NKEY_KEY_BYTES], char out[NKEY_LEN + 1]);
/* False when it is no key of this kind. */
bool nkey_decode(struct str text, enum nkey_kind kind, uint8_t key[NKEY_KEY_BYTES]);
bool nkey_is(struct str text, enum nkey_kind kind);
/* Of any of the kinds. */
bool nkey_decode_any(struct str text, enum nkey_kind *kind, uint8_t key[NKEY_KEY_BYTES]);

void nkey_seed_encode(enum nkey_kind kind, const uint8_t seed[NKEY_KEY_BYTES],
                      char out[NKEY_SEED_LEN + 1]);
bool nkey_seed_decode(struct str text, enum nkey_kind *kind, uint8_t seed[NKEY_KEY_BYTES]);

/* Did the key, of any kind, sign the bytes? sig: NKEY_SIG_BYTES, else false. */
bool nkey_signed(struct str key, struct str sig, struct str bytes);
/* The same for a user's key and sig in base64, either alphabet, padded or not. */
bool nkey_verify(struct str user, struct str sig, struct str bytes);
void nkey_sign(const uint8_t secret[NKEY_SECRET_BYTES], struct str bytes,
               uint8_t sig[NKEY_SIG_BYTES]);

#endif
