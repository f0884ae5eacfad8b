/* Encryption at rest: pieces, keys of files, nonces, and the bytes of store.keys. */
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "store/crypt.h"
#include "store/crypt_keys.h"
#include "tests/lib/runner.h"
#include "tests/unit/store/guard.h"

#include <string.h>

static const uint8_t stream[16] = {1, 2, 3};

static struct crypt_ring ring_of(enum crypt_cipher cipher)
{
    struct crypt_ring ring = {.n = 1, .current = 1};

    ring.keys[0].id = 1;
    ring.keys[0].cipher = cipher;
    memset(ring.keys[0].key, 0x5a, CRYPT_KEY);
    return ring;
}

static const enum crypt_cipher ciphers[] = {CRYPT_CHACHA, CRYPT_AES};

static bool skip(int i)
{
    ck_assert(crypt_cipher_usable(CRYPT_CHACHA));
    return !crypt_cipher_usable(ciphers[i]);
}

TEST(a_piece_opens_as_it_was)
{
    struct crypt_ring ring = ring_of(ciphers[i]);
    struct crypt_file f;
    struct crypt_nonces nonces;
    uint8_t in[300], sealed[300 + CRYPT_PIECE], out[300];

    if (skip(i))
        return;
    crypt_nonces_init(&nonces, &ring, NULL);
    ck_assert(crypt_file_segment(&f, &ring, 1, stream, 7, 0));
    for (size_t n = 0; n <= sizeof(in); n += n < 40 ? 1 : 37) {
        memset(in, (int) n, sizeof(in));
        crypt_seal_piece(&f, &nonces, "ad", 2, in, n, sealed);
        struct guard g = guard_copy(sealed, n + CRYPT_PIECE);
        ck_assert(crypt_open_piece(&f, "ad", 2, g.p, g.n, out));
        ck_assert_int_eq(memcmp(in, out, n), 0);
        if (n > 16)
            ck_assert_ptr_null(memmem(sealed, n + CRYPT_PIECE, in, n));
        guard_free(&g);
    }
}

TEST(a_changed_piece_does_not_open)
{
    struct crypt_ring ring = ring_of(ciphers[i]);
    struct crypt_file f, other;
    struct crypt_nonces nonces;
    uint8_t in[40] = "secret", sealed[40 + CRYPT_PIECE], out[40];

    if (skip(i))
        return;
    crypt_nonces_init(&nonces, &ring, NULL);
    crypt_file_segment(&f, &ring, 1, stream, 7, 0);
    crypt_seal_piece(&f, &nonces, "ad", 2, in, sizeof(in), sealed);
    for (size_t at = 0; at < sizeof(sealed); at++) {
        sealed[at] ^= 4;
        ck_assert(!crypt_open_piece(&f, "ad", 2, sealed, sizeof(sealed), out));
        sealed[at] ^= 4;
    }
    for (size_t n = 0; n < sizeof(sealed); n++)
        ck_assert(!crypt_open_piece(&f, "ad", 2, sealed, n, out));
    ck_assert(!crypt_open_piece(&f, "da", 2, sealed, sizeof(sealed), out));
    /* Nor elsewhere. */
    crypt_file_segment(&other, &ring, 1, stream, 8, 0);
    ck_assert(!crypt_open_piece(&other, "ad", 2, sealed, sizeof(sealed), out));
    crypt_file_segment(&other, &ring, 1, stream, 7, 1);
    ck_assert(!crypt_open_piece(&other, "ad", 2, sealed, sizeof(sealed), out));
    crypt_file_log(&other, &ring, 1, 7, 0);
    ck_assert(!crypt_open_piece(&other, "ad", 2, sealed, sizeof(sealed), out));
    ck_assert(crypt_open_piece(&f, "ad", 2, sealed, sizeof(sealed), out));
}

TEST(a_piece_names_its_key)
{
    struct crypt_ring ring = ring_of(CRYPT_CHACHA);
    struct crypt_file f, any, newer;
    struct crypt_nonces nonces;
    uint8_t sealed[6 + CRYPT_PIECE], out[6];

    crypt_nonces_init(&nonces, &ring, NULL);
    crypt_file_segment(&f, &ring, 1, stream, 7, 0);
    crypt_seal_piece(&f, &nonces, NULL, 0, "secret", 6, sealed);
    ring.keys[1] = ring.keys[0];
    ring.keys[1].id = 2;
    ring.keys[1].key[0] ^= 1;
    ring.n = ring.current = 2;
    ck_assert(crypt_file_segment(&any, &ring, CRYPT_ANY, stream, 7, 0));
    ck_assert(!crypt_file_on(&any));
    ck_assert(crypt_open_piece(&any, NULL, 0, sealed, sizeof(sealed), out));
    ck_assert(crypt_file_segment(&newer, &ring, 2, stream, 7, 0));
    ck_assert(crypt_open_piece(&newer, NULL, 0, sealed, sizeof(sealed), out));
    ck_assert(!crypt_file_segment(&newer, &ring, 3, stream, 7, 0));
    put_u32(sealed, 3);
    ck_assert(!crypt_open_piece(&any, NULL, 0, sealed, sizeof(sealed), out));
}

/* The same place written again, and a second start: never the same nonce. */
TEST(no_nonce_twice)
{
    struct crypt_ring ring = ring_of(CRYPT_CHACHA);
    struct crypt_file f;
    struct crypt_nonces a, b;
    uint8_t one[CRYPT_NONCE], two[CRYPT_NONCE];

    crypt_file_segment(&f, &ring, 1, stream, 7, 0);
    crypt_nonces_init(&a, &ring, NULL);
    crypt_nonces_init(&b, &ring, NULL);
    crypt_nonce(&a, &f, one);
    crypt_nonce(&a, &f, two);
    ck_assert_mem_ne(one, two, CRYPT_NONCE);
    crypt_nonce(&b, &f, two);
    ck_assert_mem_ne(one, two, CRYPT_NONCE);
}

/* ---- store.keys ------------------------------------------------------------------------------ */

static const struct crypt_kdf quick = {.passes = 1, .kib = 8};

static size_t make_keys(uint8_t out[CRYPT_KEYS_BYTES], const struct crypt_ring *ring,
                        const char *configured)
{
    struct crypt_keys k = {.serial = 3, .kdf = quick};
    uint8_t wrapping[CRYPT_KEY];

    ck_assert_int_eq(crypt_keys_derive(&k.kdf, str_of(configured), wrapping), ERR_OK);
    memset(k.store, 9, 16);
    return crypt_keys_encode(&k, ring, wrapping, NULL, out);
}

static enum err open_keys(const uint8_t *bytes, size_t n, const char *configured,
                          struct crypt_ring *out)
{
    struct crypt_keys k;
    uint8_t wrapping[CRYPT_KEY];
    char why[160];
    enum err err = crypt_keys_decode(bytes, n, &k, why);

    if (err != ERR_OK)
        return err;
    ck_assert_int_eq(crypt_keys_derive(&k.kdf, str_of(configured), wrapping), ERR_OK);
    return crypt_keys_unlock(&k, wrapping, out);
}

TEST(keys_round_trip)
{
    struct crypt_ring ring = ring_of(CRYPT_CHACHA), got;
    uint8_t bytes[CRYPT_KEYS_BYTES];

    ring.keys[1] = (struct crypt_data_key){.id = 5, .cipher = CRYPT_AES};
    ring.n = 2;
    ring.current = 5;
    size_t n = make_keys(bytes, &ring, "correct horse");
    struct guard g = guard_copy(bytes, n);
    ck_assert_int_eq(open_keys(g.p, n, "correct horse", &got), ERR_OK);
    ck_assert_uint_eq(got.n, 2);
    ck_assert_uint_eq(got.current, 5);
    ck_assert_mem_eq(got.keys[0].key, ring.keys[0].key, CRYPT_KEY);
    ck_assert_int_eq(got.keys[1].cipher, CRYPT_AES);
    ck_assert_int_eq(open_keys(g.p, n, "correct horsf", &got), ERR_KEY);
    ck_assert_int_eq(open_keys(g.p, n, "", &got), ERR_KEY);
    ck_assert_uint_eq(got.n, 0);
    guard_free(&g);
    ck_assert_ptr_null(memmem(bytes, n, ring.keys[0].key, 8));
}

TEST(keys_every_flip_and_length)
{
    struct crypt_ring ring = ring_of(CRYPT_CHACHA), got;
    uint8_t bytes[CRYPT_KEYS_BYTES];
    size_t n = make_keys(bytes, &ring, "k");

    for (size_t at = 0; at < n; at++) {
        bytes[at] ^= 16;
        ck_assert_int_eq(open_keys(bytes, n, "k", &got), ERR_CORRUPT);
        bytes[at] ^= 16;
    }
    for (size_t m = 0; m < n; m++) {
        struct guard g = guard_copy(bytes, m);
        ck_assert_int_eq(open_keys(g.p, m, "k", &got), ERR_CORRUPT);
        guard_free(&g);
    }
}

static void sum(uint8_t *bytes, size_t n)
{
    put_u32(bytes + n - 4, crc32c(0xffffffffu, bytes, n - 4));
}

/* Changed by somebody who can make checksums. */
TEST(keys_forged)
{
    static const struct {
        size_t at;
        uint32_t value;
        enum err err;
    } cases[] = {
        {8, 2, ERR_VERSION},         /* version */
        {16, 0x100, ERR_VERSION},    /* features */
        {68, 0, ERR_CORRUPT},        /* count */
        {68, 17, ERR_CORRUPT},       /* count */
        {72, 0, ERR_CORRUPT},        /* passes */
        {72, 1000, ERR_CORRUPT},     /* passes */
        {76, 1u << 30, ERR_CORRUPT}, /* KiB */
        {64, 7, ERR_KEY},            /* current */
        {40, 7, ERR_KEY},            /* store */
        {112, 7, ERR_KEY},           /* id of a key */
        {116, 2, ERR_KEY},           /* its cipher */
    };
    struct crypt_ring ring = ring_of(CRYPT_CHACHA), got;
    uint8_t bytes[CRYPT_KEYS_BYTES];

    for (unsigned k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        size_t n = make_keys(bytes, &ring, "k");
        put_u32(bytes + cases[k].at, cases[k].value);
        sum(bytes, n);
        ck_assert_int_eq(open_keys(bytes, n, "k", &got), cases[k].err);
    }
}

static const struct runner_case cases[] = {
    RUN_LOOP(a_piece_opens_as_it_was, 0, 2),
    RUN_LOOP(a_changed_piece_does_not_open, 0, 2),
    RUN(a_piece_names_its_key),
    RUN(no_nonce_twice),
    RUN(keys_round_trip),
    RUN(keys_every_flip_and_length),
    RUN(keys_forged),
};

RUNNER_MAIN("store/crypt", cases)
