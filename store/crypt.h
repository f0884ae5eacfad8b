/*
 * crypt.h - encryption at rest: ciphers, the keys of files, nonces. The key file is crypt_keys.h.
 *
 *     configured key --Argon2id--> wraps --> data keys of the store (store.keys)
 *     data key --BLAKE2b(identity of a file)--> key of that file --AEAD with a nonce--> one sealed
 *                                                                                       piece
 *
 * A sealed piece is a batch body, a section of a footer, or the bytes of a record of the commit
 * log; each has its nonce beside it. Headers, tables, sequences, times and sizes are not secret and
 * stay readable; they are authenticated (the `ad` below), so that pieces can not be exchanged.
 *
 * Nonces are 24 bytes: u32 id of the data key, 12 random bytes, u64 counter. The random ones are
 * drawn from the system whenever somebody begins to write (a store at its start, a work with a file
 * of its own), the counter goes up with each piece. So nothing has to be remembered over a crash,
 * and the same place of a file may be written any number of times: every piece has its own nonce.
 *
 * Ciphers: XChaCha20-Poly1305 with the nonce as it is; AES-256-GCM, whose own nonce is too short
 * for random ones, with a key of its own for each piece (BLAKE2b of file key and nonce).
 *
 * Pure code but for the system's randomness. What is shared between threads is read-only.
 */
#ifndef STORE_CRYPT_H
#define STORE_CRYPT_H

#include "lib/base/prng.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum crypt_cipher { CRYPT_NONE = 0, CRYPT_CHACHA = 1, CRYPT_AES = 2 };

enum { CRYPT_NONCE = 24, CRYPT_TAG = 16, CRYPT_KEY = 32, CRYPT_KEYS_MAX = 16 };
/* What a piece with its nonce in front takes more than its contents. */
#define CRYPT_PIECE (CRYPT_NONCE + CRYPT_TAG)

/* "chacha" or "aes". */
const char *crypt_cipher_name(enum crypt_cipher cipher);
/* Can this machine do it? AES needs instructions of the processor. */
bool crypt_cipher_usable(enum crypt_cipher cipher);

/* A data key. */
struct crypt_data_key {
    uint32_t id; /* not 0 */
    enum crypt_cipher cipher;
    uint8_t key[CRYPT_KEY];
};

/* All data keys of a store; read-only once it is open. */
struct crypt_ring {
    unsigned n;       /* 0 = the store is not encrypted */
    uint32_t current; /* id of the one that is written with */
    struct crypt_data_key keys[CRYPT_KEYS_MAX];
    bool predictable; /* in a simulation: nonces come from the caller's generator */
};

const struct crypt_data_key *crypt_ring_find(const struct crypt_ring *ring, uint32_t id);
void crypt_ring_wipe(struct crypt_ring *ring);

/* The keys of one file (of the log: of all files of a worker since the start): which it is, and the
 * key it is written with. */
struct crypt_file {
    const struct crypt_ring *ring;
    uint8_t identity[48];
    uint8_t identity_bytes;
    struct crypt_data_key key; /* id 0: the file is not encrypted */
};

/* key_id as in the file's header; 0 = it is not encrypted; CRYPT_ANY: that is not known, pieces say
 * it. False: the ring has no such key; the file is as for CRYPT_ANY then. */
#define CRYPT_ANY UINT32_MAX
bool crypt_file_segment(struct crypt_file *f, const struct crypt_ring *ring, uint32_t key_id,
                        const uint8_t stream[16], uint64_t number, uint32_t generation);
bool crypt_file_log(struct crypt_file *f, const struct crypt_ring *ring, uint32_t key_id,
                    uint64_t generation, uint32_t worker);
void crypt_file_wipe(struct crypt_file *f);
static inline bool crypt_file_on(const struct crypt_file *f)
{
    return f != NULL && f->key.id != 0;
}

/* Keys, salts, parts of nonces: from the system, or from prng in a simulation. */
void crypt_random(const struct crypt_ring *ring, struct prng *prng, void *out, size_t n);

/* Makes nonces; one owner each. */
struct crypt_nonces {
    uint8_t random[12];
    uint64_t counter;
};
/* prng: used in simulations only. */
void crypt_nonces_init(struct crypt_nonces *n, const struct crypt_ring *ring, struct prng *prng);
/* The next one, for the file's key. */
void crypt_nonce(struct crypt_nonces *n, const struct crypt_file *f, uint8_t out[CRYPT_NONCE]);

/* n bytes at in become n + CRYPT_TAG at out (which may be in). The file must be encrypted. */
void crypt_seal(const struct crypt_file *f, const uint8_t nonce[CRYPT_NONCE], const void *ad,
                size_t ad_bytes, const void *in, size_t n, uint8_t *out);
/* The reverse: n includes the tag, and is at least that; out gets n - CRYPT_TAG bytes. False: it
 * was not sealed like this, or is damaged; out means nothing then. */
bool crypt_open(const struct crypt_file *f, const uint8_t nonce[CRYPT_NONCE], const void *ad,
                size_t ad_bytes, const void *in, size_t n, uint8_t *out);

/* The same with the nonce in front of what is sealed: out has n + CRYPT_PIECE bytes. */
void crypt_seal_piece(const struct crypt_file *f, struct crypt_nonces *nonces, const void *ad,
                      size_t ad_bytes, const void *in, size_t n, uint8_t *out);
/* n bytes with the nonce become n - CRYPT_PIECE at out, which may be in + CRYPT_NONCE. False also
 * when n is too short. */
bool crypt_open_piece(const struct crypt_file *f, const void *ad, size_t ad_bytes,
                      const uint8_t *in, size_t n, uint8_t *out);

#endif
