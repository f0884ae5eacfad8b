/*
 * crypt_keys.h - store.keys: the data keys of an encrypted store, wrapped with the configured key.
 * Bytes: docs/internals/store-format.md. This half is pure; crypt_open.c reads and writes the file.
 */
#ifndef STORE_CRYPT_KEYS_H
#define STORE_CRYPT_KEYS_H

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "store/crypt.h"
#include "store/superblock.h"

enum {
    CRYPT_KEYS_HEADER = 112,
    CRYPT_KEYS_ENTRY = 8 + CRYPT_NONCE + CRYPT_KEY + CRYPT_TAG,
    CRYPT_KEYS_BYTES = CRYPT_KEYS_HEADER + CRYPT_KEYS_MAX * CRYPT_KEYS_ENTRY + 4,
};

/* How a configured key, which may be a passphrase, becomes the one that wraps. */
struct crypt_kdf {
    uint32_t passes, kib;
    uint8_t salt[16];
};

struct crypt_keys {
    uint32_t version;
    struct store_features features;
    uint8_t store[16];
    uint64_t serial; /* counts up with every writing: of two copies the higher one is right */
    uint32_t current;
    uint32_t n;
    struct crypt_kdf kdf;
    uint8_t wrapped[CRYPT_KEYS_MAX][CRYPT_KEYS_ENTRY]; /* as in the file */
    uint8_t header[CRYPT_KEYS_HEADER];
};

/* ERR_CORRUPT, ERR_VERSION; why as superblock_decode's. */
enum err crypt_keys_decode(const uint8_t *bytes, size_t n, struct crypt_keys *out, char why[160]);
/* Argon2id; takes tens of milliseconds. ERR_NO_MEMORY. */
enum err crypt_keys_derive(const struct crypt_kdf *kdf, struct str configured,
                           uint8_t out[CRYPT_KEY]);
/* ERR_KEY: the wrapping key does not fit. */
enum err crypt_keys_unlock(const struct crypt_keys *k, const uint8_t wrapping[CRYPT_KEY],
                           struct crypt_ring *out);
/* The file for this ring: k says version, store, serial and kdf. Returns its length. */
size_t crypt_keys_encode(const struct crypt_keys *k, const struct crypt_ring *ring,
                         const uint8_t wrapping[CRYPT_KEY], struct prng *prng,
                         uint8_t out[CRYPT_KEYS_BYTES]);

#endif
