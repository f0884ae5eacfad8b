/*
 * nkey.h - Ed25519 public keys as text: a prefix byte that says whose key it is, 32 key bytes, a
 * CRC-16/XMODEM of both, little-endian; 35 bytes in base32 without padding make 56 characters, of
 * which the first shows the prefix.
 */
#ifndef AUTH_NKEY_H
#define AUTH_NKEY_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define NKEY_LEN 56u
#define NKEY_KEY_BYTES 32u
#define NKEY_SIG_BYTES 64u

enum nkey_kind { NKEY_SERVER = 13 << 3, NKEY_USER = 20 << 3 }; /* N, U */

void nkey_encode(enum nkey_kind kind, const uint8_t key[NKEY_KEY_BYTES], char out[NKEY_LEN + 1]);
/* False when it is no key of this kind. */
bool nkey_decode(struct str text, enum nkey_kind kind, uint8_t key[NKEY_KEY_BYTES]);
/* Did the user with this key sign the bytes? sig in base64, either alphabet, padded or not. */
bool nkey_verify(struct str user, struct str sig, struct str bytes);

#endif
