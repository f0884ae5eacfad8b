/* server_id.c - fresh keys: one that signs requests about clients, one that such requests and their
 * answers are sealed with. */
#include "server/server_id.h"

#include "lib/jwt/xkey.h"
#include "server/net/callout.h"

#include <sodium.h>

void server_id_make(char out[SERVER_ID_LEN + 1], struct server_keys *keys)
{
    uint8_t key[NKEY_KEY_BYTES];

    crypto_sign_keypair(key, keys->secret);
    nkey_encode(NKEY_SERVER, key, out);
    crypto_box_keypair(key, keys->curve);
    xkey_public(keys->curve, keys->xkey);
}

void server_id_wipe(struct server_keys *keys)
{
    sodium_memzero(keys, sizeof(*keys));
}
