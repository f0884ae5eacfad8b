/* test_nkey.c - keys as text and signatures, against libsodium and against damage. */
#include "lib/base/assert.h"
#include "lib/jwt/nkey.h"
#include "tests/lib/runner.h"

#include <sodium.h>
#include <string.h>

struct pair {
    uint8_t key[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];
    char text[NKEY_LEN + 1];
};

static void make(struct pair *p)
{
    ck_assert_int_ge(sodium_init(), 0);
    crypto_sign_keypair(p->key, p->secret);
    nkey_encode(NKEY_USER, p->key, p->text);
}

TEST(text_and_back)
{
    struct pair p;
    uint8_t key[NKEY_KEY_BYTES];

    make(&p);
    ck_assert_uint_eq(strlen(p.text), NKEY_LEN);
    ck_assert_int_eq(p.text[0], 'U');
    ck_assert(nkey_decode(str_of(p.text), NKEY_USER, key));
    ck_assert_int_eq(memcmp(key, p.key, sizeof(key)), 0);
    ck_assert(!nkey_decode(str_of(p.text), NKEY_SERVER, key));
}

/* A key that another implementation made. */
TEST(reads_what_others_write)
{
    uint8_t key[NKEY_KEY_BYTES];

    ck_assert(nkey_decode(STR("UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"),
                          NKEY_USER, key));
}

TEST(every_changed_character_is_noticed)
{
    struct pair p;
    uint8_t key[NKEY_KEY_BYTES];

    make(&p);
    for (size_t at = 0; at < NKEY_LEN; at++) {
        char was = p.text[at];
        p.text[at] = was == 'A' ? 'B' : 'A';
        ck_assert_msg(!nkey_decode(str_of(p.text), NKEY_USER, key), "at %zu", at);
        p.text[at] = '1';
        ck_assert_msg(!nkey_decode(str_of(p.text), NKEY_USER, key), "at %zu", at);
        p.text[at] = was;
    }
    ck_assert(!nkey_decode(str_from(p.text, NKEY_LEN - 1), NKEY_USER, key));
}

TEST(verifies_signatures_in_each_base64)
{
    static const int variants[] = {sodium_base64_VARIANT_URLSAFE_NO_PADDING,
                                   sodium_base64_VARIANT_URLSAFE, sodium_base64_VARIANT_ORIGINAL};
    struct pair p;
    uint8_t sig[NKEY_SIG_BYTES];
    char text[128];

    make(&p);
    crypto_sign_detached(sig, NULL, (const uint8_t *) "nonce", 5, p.secret);
    for (size_t k = 0; k < ARRAY_LEN(variants); k++) {
        sodium_bin2base64(text, sizeof(text), sig, sizeof(sig), variants[k]);
        ck_assert(nkey_verify(str_of(p.text), str_of(text), STR("nonce")));
        ck_assert(!nkey_verify(str_of(p.text), str_of(text), STR("nonse")));
        text[3] = text[3] == 'A' ? 'B' : 'A';
        ck_assert(!nkey_verify(str_of(p.text), str_of(text), STR("nonce")));
    }
    ck_assert(!nkey_verify(str_of(p.text), STR(""), STR("nonce")));
    ck_assert(!nkey_verify(str_of(p.text), STR("AAAA"), STR("nonce")));
    ck_assert(!nkey_verify(STR("x"), str_of(text), STR("nonce")));
}

static const struct runner_case cases[] = {
    RUN(text_and_back),
    RUN(reads_what_others_write),
    RUN(every_changed_character_is_noticed),
    RUN(verifies_signatures_in_each_base64),
};

RUNNER_MAIN("jwt/nkey", cases)
