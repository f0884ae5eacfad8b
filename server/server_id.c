/* server_id.c - a fresh public key; its secret is not needed. */
#include "server/server_id.h"

#include "lib/jwt/nkey.h"

#include <sodium.h>

void server_id_make(char out[SERVER_ID_LEN + 1])
{
    uint8_t key[NKEY_KEY_BYTES];
    uint8_t secret[crypto_sign_SECRETKEYBYTES];

    crypto_sign_keypair(key, secret);
    sodium_memzero(secret, sizeof(secret));
    nkey_encode(NKEY_SERVER, key, out);
}
