/*
 * crypt.c - sealing and opening pieces. crypt.h has the scheme, docs/internals/store-format.md the
 * bytes and why no key meets a nonce twice.
 *
 * The key of a file is BLAKE2b-256 with the data key as its key over "midge segment" | stream UUID
 * | u64 number | u32 generation, or "midge log" | u64 generation | u32 worker (records are sealed
 * when they are queued, and it is not known then which file they go to); so a piece that is moved
 * to another file does not open there. A store's UUID is not in it: data keys are the store's own.
 */
#include "store/crypt.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"

#include <sodium.h>
#include <string.h>

_Static_assert(CRYPT_NONCE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
_Static_assert(CRYPT_TAG == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag");
_Static_assert(CRYPT_TAG == crypto_aead_aes256gcm_ABYTES, "tag");
_Static_assert(CRYPT_KEY == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key");

/* ---- ciphers --------------------------------------------------------------------------------- */

const char *crypt_cipher_name(enum crypt_cipher cipher)
{
    return cipher == CRYPT_AES ? "aes" : cipher == CRYPT_CHACHA ? "chacha" : "none";
}

bool crypt_cipher_usable(enum crypt_cipher cipher)
{
    if (sodium_init() < 0)
        return false;
    return cipher == CRYPT_CHACHA ||
           (cipher == CRYPT_AES && crypto_aead_aes256gcm_is_available() != 0);
}

static void hash(const uint8_t key[CRYPT_KEY], const void *in, size_t n, uint8_t out[CRYPT_KEY])
{
    int bad = crypto_generichash(out, CRYPT_KEY, in, n, key, CRYPT_KEY);

    ASSERT(bad == 0);
}

/* AES: the nonce makes the key, which is used once, with a nonce of zeros. */
static const uint8_t aes_nonce[crypto_aead_aes256gcm_NPUBBYTES];

static void seal_with(const struct crypt_data_key *k, const uint8_t *nonce, const void *ad,
                      size_t ad_bytes, const void *in, size_t n, uint8_t *out)
{
    uint8_t once[CRYPT_KEY];

    if (k->cipher == CRYPT_CHACHA) {
        crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, in, n, ad, ad_bytes, NULL, nonce,
                                                   k->key);
        return;
    }
    hash(k->key, nonce, CRYPT_NONCE, once);
    crypto_aead_aes256gcm_encrypt(out, NULL, in, n, ad, ad_bytes, NULL, aes_nonce, once);
    sodium_memzero(once, sizeof(once));
}

static bool open_with(const struct crypt_data_key *k, const uint8_t *nonce, const void *ad,
                      size_t ad_bytes, const void *in, size_t n, uint8_t *out)
{
    uint8_t once[CRYPT_KEY];

    if (k->cipher == CRYPT_CHACHA)
        return crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, in, n, ad, ad_bytes,
                                                          nonce, k->key) == 0;
    hash(k->key, nonce, CRYPT_NONCE, once);
    int bad = crypto_aead_aes256gcm_decrypt(out, NULL, NULL, in, n, ad, ad_bytes, aes_nonce, once);
    sodium_memzero(once, sizeof(once));
    return bad == 0;
}

/* ---- keys ------------------------------------------------------------------------------------ */

const struct crypt_data_key *crypt_ring_find(const struct crypt_ring *ring, uint32_t id)
{
    for (unsigned i = 0; i < ring->n; i++)
        if (ring->keys[i].id == id)
            return &ring->keys[i];
    return NULL;
}

void crypt_ring_wipe(struct crypt_ring *ring)
{
    sodium_memzero(ring, sizeof(*ring));
}

static bool derive(const struct crypt_file *f, uint32_t id, struct crypt_data_key *out)
{
    const struct crypt_data_key *from = crypt_ring_find(f->ring, id);

    if (from == NULL)
        return false;
    out->id = id;
    out->cipher = from->cipher;
    hash(from->key, f->identity, f->identity_bytes, out->key);
    return true;
}

static bool set_key(struct crypt_file *f, uint32_t key_id)
{
    return key_id == 0 || key_id == CRYPT_ANY || derive(f, key_id, &f->key);
}

bool crypt_file_segment(struct crypt_file *f, const struct crypt_ring *ring, uint32_t key_id,
                        const uint8_t stream[16], uint64_t number, uint32_t generation)
{
    *f = (struct crypt_file){.ring = ring, .identity_bytes = 13 + 16 + 8 + 4};
    memcpy(f->identity, "midge segment", 13);
    memcpy(f->identity + 13, stream, 16);
    put_u64(f->identity + 29, number);
    put_u32(f->identity + 37, generation);
    return set_key(f, key_id);
}

bool crypt_file_log(struct crypt_file *f, const struct crypt_ring *ring, uint32_t key_id,
                    uint64_t generation, uint32_t worker)
{
    *f = (struct crypt_file){.ring = ring, .identity_bytes = 9 + 8 + 4};
    memcpy(f->identity, "midge log", 9);
    put_u64(f->identity + 9, generation);
    put_u32(f->identity + 17, worker);
    return set_key(f, key_id);
}

void crypt_file_wipe(struct crypt_file *f)
{
    sodium_memzero(f, sizeof(*f));
}

/* ---- nonces ---------------------------------------------------------------------------------- */

void crypt_random(const struct crypt_ring *ring, struct prng *prng, void *out, size_t n)
{
    if (ring->predictable)
        prng_fill(prng, out, n);
    else
        randombytes_buf(out, n);
}

void crypt_nonces_init(struct crypt_nonces *n, const struct crypt_ring *ring, struct prng *prng)
{
    *n = (struct crypt_nonces){0};
    if (ring->n > 0)
        crypt_random(ring, prng, n->random, sizeof(n->random));
}

void crypt_nonce(struct crypt_nonces *n, const struct crypt_file *f, uint8_t out[CRYPT_NONCE])
{
    put_u32(out, f->key.id);
    memcpy(out + 4, n->random, sizeof(n->random));
    put_u64(out + 16, ++n->counter);
}

/* ---- pieces ---------------------------------------------------------------------------------- */

void crypt_seal(const struct crypt_file *f, const uint8_t nonce[CRYPT_NONCE], const void *ad,
                size_t ad_bytes, const void *in, size_t n, uint8_t *out)
{
    ASSERT(f->key.id != 0 && get_u32(nonce) == f->key.id);
    seal_with(&f->key, nonce, ad, ad_bytes, in, n, out);
}

bool crypt_open(const struct crypt_file *f, const uint8_t nonce[CRYPT_NONCE], const void *ad,
                size_t ad_bytes, const void *in, size_t n, uint8_t *out)
{
    struct crypt_data_key other;
    uint32_t id = get_u32(nonce);

    if (n < CRYPT_TAG || id == 0)
        return false;
    if (id == f->key.id)
        return open_with(&f->key, nonce, ad, ad_bytes, in, n, out);
    if (!derive(f, id, &other))
        return false;
    bool good = open_with(&other, nonce, ad, ad_bytes, in, n, out);
    sodium_memzero(&other, sizeof(other));
    return good;
}

void crypt_seal_piece(const struct crypt_file *f, struct crypt_nonces *nonces, const void *ad,
                      size_t ad_bytes, const void *in, size_t n, uint8_t *out)
{
    crypt_nonce(nonces, f, out);
    crypt_seal(f, out, ad, ad_bytes, in, n, out + CRYPT_NONCE);
}

bool crypt_open_piece(const struct crypt_file *f, const void *ad, size_t ad_bytes,
                      const uint8_t *in, size_t n, uint8_t *out)
{
    return n >= CRYPT_PIECE &&
           crypt_open(f, in, ad, ad_bytes, in + CRYPT_NONCE, n - CRYPT_NONCE, out);
}
