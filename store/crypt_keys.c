/*
 * crypt_keys.c - the bytes of store.keys.
 *
 * Each data key is wrapped with XChaCha20-Poly1305 under a random nonce; header and the entry's id
 * and cipher are authenticated with it, so that nothing of the file can be changed by who does not
 * have the configured key. The checksum at the end tells damage from a wrong key.
 */
#include "store/crypt_keys.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define MAGIC "MIDGEKEY"
#define CRC_SEED 0xffffffffu
/* What a reader believes of a file, which has been summed but not authenticated yet. */
#define PASSES_MAX 16u
#define KIB_MAX (1u << 20)

enum {
    AT_VERSION = 8,
    AT_LENGTH = 12,
    AT_FEATURES = 16,
    AT_STORE = 40,
    AT_SERIAL = 56,
    AT_CURRENT = 64,
    AT_COUNT = 68,
    AT_PASSES = 72,
    AT_KIB = 76,
    AT_SALT = 80,
    /* In an entry. */
    E_CIPHER = 4,
    E_NONCE = 8,
    E_KEY = 8 + CRYPT_NONCE,
};

static size_t length(uint32_t n)
{
    return CRYPT_KEYS_HEADER + (size_t) n * CRYPT_KEYS_ENTRY + 4;
}

enum err crypt_keys_decode(const uint8_t *bytes, size_t n, struct crypt_keys *out, char why[160])
{
    memset(out, 0, sizeof(*out));
    if (n < length(0) || memcmp(bytes, MAGIC, 8) != 0) {
        snprintf(why, 160, "not a key file");
        return ERR_CORRUPT;
    }
    out->version = get_u32(bytes + AT_VERSION);
    out->features.incompat = get_u64(bytes + AT_FEATURES);
    out->features.readonly = get_u64(bytes + AT_FEATURES + 8);
    out->features.compat = get_u64(bytes + AT_FEATURES + 16);
    if (get_u32(bytes + AT_LENGTH) != n ||
        get_u32(bytes + n - 4) != crc32c(CRC_SEED, bytes, n - 4)) {
        snprintf(why, 160, "damaged (checksum)");
        return ERR_CORRUPT;
    }
    enum err err = store_features_check(out->version, &out->features, why);
    if (err != ERR_OK)
        return err;
    memcpy(out->header, bytes, CRYPT_KEYS_HEADER);
    memcpy(out->store, bytes + AT_STORE, 16);
    out->serial = get_u64(bytes + AT_SERIAL);
    out->current = get_u32(bytes + AT_CURRENT);
    out->n = get_u32(bytes + AT_COUNT);
    out->kdf.passes = get_u32(bytes + AT_PASSES);
    out->kdf.kib = get_u32(bytes + AT_KIB);
    memcpy(out->kdf.salt, bytes + AT_SALT, sizeof(out->kdf.salt));
    if (out->n == 0 || out->n > CRYPT_KEYS_MAX || n != length(out->n) || out->kdf.passes == 0 ||
        out->kdf.passes > PASSES_MAX || out->kdf.kib < 8 || out->kdf.kib > KIB_MAX) {
        snprintf(why, 160, "key file contradicts itself");
        return ERR_CORRUPT;
    }
    memcpy(out->wrapped, bytes + CRYPT_KEYS_HEADER, (size_t) out->n * CRYPT_KEYS_ENTRY);
    return ERR_OK;
}

enum err crypt_keys_derive(const struct crypt_kdf *kdf, struct str configured,
                           uint8_t out[CRYPT_KEY])
{
    _Static_assert(crypto_pwhash_SALTBYTES == 16, "salt");
    int bad = crypto_pwhash(out, CRYPT_KEY, configured.p, configured.n, kdf->salt, kdf->passes,
                            (size_t) kdf->kib * 1024, crypto_pwhash_ALG_ARGON2ID13);

    return bad != 0 ? ERR_NO_MEMORY : ERR_OK;
}

/* What is authenticated with an entry. */
static void authenticated(const uint8_t *header, const uint8_t *entry,
                          uint8_t out[CRYPT_KEYS_HEADER + E_NONCE])
{
    memcpy(out, header, CRYPT_KEYS_HEADER);
    memcpy(out + CRYPT_KEYS_HEADER, entry, E_NONCE);
}

enum err crypt_keys_unlock(const struct crypt_keys *k, const uint8_t wrapping[CRYPT_KEY],
                           struct crypt_ring *out)
{
    uint8_t ad[CRYPT_KEYS_HEADER + E_NONCE];

    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < k->n; i++) {
        const uint8_t *entry = k->wrapped[i];
        struct crypt_data_key *to = &out->keys[i];
        authenticated(k->header, entry, ad);
        to->id = get_u32(entry);
        to->cipher = get_u32(entry + E_CIPHER);
        if (to->id == 0 || to->id == CRYPT_ANY ||
            (to->cipher != CRYPT_CHACHA && to->cipher != CRYPT_AES) ||
            crypto_aead_xchacha20poly1305_ietf_decrypt(to->key, NULL, NULL, entry + E_KEY,
                                                       CRYPT_KEY + CRYPT_TAG, ad, sizeof(ad),
                                                       entry + E_NONCE, wrapping) != 0) {
            crypt_ring_wipe(out);
            return ERR_KEY;
        }
        out->n++;
    }
    out->current = k->current;
    if (crypt_ring_find(out, out->current) != NULL)
        return ERR_OK;
    crypt_ring_wipe(out);
    return ERR_CORRUPT;
}

size_t crypt_keys_encode(const struct crypt_keys *k, const struct crypt_ring *ring,
                         const uint8_t wrapping[CRYPT_KEY], struct prng *prng,
                         uint8_t out[CRYPT_KEYS_BYTES])
{
    size_t n = length(ring->n);
    uint8_t ad[CRYPT_KEYS_HEADER + E_NONCE];

    ASSERT(ring->n > 0 && ring->n <= CRYPT_KEYS_MAX);
    memset(out, 0, CRYPT_KEYS_BYTES);
    memcpy(out, MAGIC, 8);
    put_u32(out + AT_VERSION, STORE_FORMAT_VERSION);
    put_u32(out + AT_LENGTH, (uint32_t) n);
    put_u64(out + AT_FEATURES, STORE_ENCRYPTED);
    memcpy(out + AT_STORE, k->store, 16);
    put_u64(out + AT_SERIAL, k->serial);
    put_u32(out + AT_CURRENT, ring->current);
    put_u32(out + AT_COUNT, ring->n);
    put_u32(out + AT_PASSES, k->kdf.passes);
    put_u32(out + AT_KIB, k->kdf.kib);
    memcpy(out + AT_SALT, k->kdf.salt, sizeof(k->kdf.salt));
    for (unsigned i = 0; i < ring->n; i++) {
        uint8_t *entry = out + CRYPT_KEYS_HEADER + (size_t) i * CRYPT_KEYS_ENTRY;
        put_u32(entry, ring->keys[i].id);
        put_u32(entry + E_CIPHER, ring->keys[i].cipher);
        crypt_random(ring, prng, entry + E_NONCE, CRYPT_NONCE);
        authenticated(out, entry, ad);
        crypto_aead_xchacha20poly1305_ietf_encrypt(entry + E_KEY, NULL, ring->keys[i].key,
                                                   CRYPT_KEY, ad, sizeof(ad), NULL, entry + E_NONCE,
                                                   wrapping);
    }
    put_u32(out + n - 4, crc32c(CRC_SEED, out, n - 4));
    return n;
}
