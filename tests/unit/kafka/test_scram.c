/* test_scram.c - SCRAM's server side: the example of RFC 7677, SHA-512 against a client of our own
 * making, and everything that is refused. */
#include "lib/base/base64.h"
#include "server/kafka/scram.h"
#include "tests/lib/runner.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define FIRST "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
#define RANDOM "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define NONCE "rOprNGfwEbeRWgbNEkqO" RANDOM
#define FINAL "c=biws,r=" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="

static void example_salt(uint8_t salt[SCRAM_SALT])
{
    struct buf bytes = {0};

    ck_assert(base64_decode(&bytes, STR("W22ZaJ0SNY7soEsUEjb6gQ==")));
    ck_assert_uint_eq(bytes.n, SCRAM_SALT);
    memcpy(salt, bytes.p, SCRAM_SALT);
    buf_free(&bytes);
}

static bool finish(const char *first, const char *final, const char *password, struct buf *said)
{
    uint8_t salt[SCRAM_SALT], derived[SCRAM_HASH_MAX];
    struct buf name = {0};
    struct scram s;
    bool ok;

    example_salt(salt);
    scram_init(&s, false);
    ck_assert(scram_begin(&s, str_of(first), &name));
    scram_challenge(&s, STR(RANDOM), salt);
    scram_derive(&s, str_of(password), derived);
    ok = scram_finish(&s, str_of(final), derived, said);
    scram_free(&s);
    buf_free(&name);
    return ok;
}

TEST(the_example)
{
    uint8_t salt[SCRAM_SALT];
    struct buf name = {0}, said = {0};
    struct scram s;

    example_salt(salt);
    scram_init(&s, false);
    ck_assert(scram_begin(&s, STR(FIRST), &name));
    ck_assert(str_eq(buf_str(&name), STR("user")));
    ck_assert(str_eq(scram_challenge(&s, STR(RANDOM), salt),
                     STR("r=" NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")));
    scram_free(&s);
    ck_assert(finish(FIRST, FINAL, "pencil", &said));
    ck_assert(str_eq(buf_str(&said), STR("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")));
    buf_free(&name);
    buf_free(&said);
}

TEST(names)
{
    static const struct {
        const char *first, *name;
    } rows[] = {
        {"n,,n=a=2Cb=3Dc,r=x", "a,b=c"},
        {"y,,n=u,r=x", "u"},
        {"n,a=u,n=u,r=x", "u"},
        {"n,,n=u,r=x,tokenauth=true", "u"},
    };
    struct buf name = {0};
    struct scram s;

    scram_init(&s, true);
    ck_assert(scram_begin(&s, str_of(rows[i].first), &name));
    ck_assert(str_eq(buf_str(&name), str_of(rows[i].name)));
    scram_free(&s);
    buf_free(&name);
}

TEST(refused_beginnings)
{
    static const char *const rows[] = {
        "",
        "n",
        "n,",
        "n,,",
        "p=tls-unique,,n=user,r=x",
        "x,,n=user,r=x",
        "n,,n=,r=x",
        "n,,n=user",
        "n,,n=user,r=",
        "n,,n=user,r=a\x01",
        "n,,m=ext,n=user,r=x",
        "n,,n=us=er,r=x",
        "n,,n=us=2,r=x",
        "n,,n=us=2c,r=x",
        "n,a=other,n=user,r=x",
        "n,b=user,n=user,r=x",
        "n,,r=x,n=user",
    };
    struct buf name = {0};
    struct scram s;

    scram_init(&s, false);
    ck_assert(!scram_begin(&s, str_of(rows[i]), &name));
    scram_free(&s);
    buf_free(&name);
}

TEST(refused_ends)
{
    static const struct {
        const char *final, *password;
    } rows[] = {
        {FINAL, "pencil2"},
        {FINAL, ""},
        {"c=eSws,r=" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "pencil"},
        {"c=biws,r=" NONCE "x,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "pencil"},
        {"c=biws,r=rOprNGfwEbeRWgbNEkqO,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "pencil"},
        {"c=biws,r=" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndUQ=", "pencil"},
        {"c=biws,r=" NONCE ",p=dHzb", "pencil"},
        {"c=biws,r=" NONCE ",p=", "pencil"},
        {"c=biws,r=" NONCE ",p=!", "pencil"},
        {"c=biws,r=" NONCE, "pencil"},
        {FINAL ",x=y", "pencil"},
        {"r=" NONCE, "pencil"},
        {"", "pencil"},
    };
    struct buf said = {0};

    ck_assert(!finish(FIRST, rows[i].final, rows[i].password, &said));
    ck_assert_uint_eq(said.n, 0);
    buf_free(&said);
}

/* SHA-512 with a client's arithmetic. */
TEST(the_larger_hash)
{
    static const uint8_t salt[SCRAM_SALT] = "sixteen bytes !!";
    uint8_t derived[64], client[64], stored[64], signature[64];
    struct buf name = {0}, message = {0}, final = {0}, said = {0};
    struct scram s;
    struct str first;
    unsigned n;

    scram_init(&s, true);
    ck_assert(scram_begin(&s, STR("n,,n=u,r=abc"), &name));
    first = scram_challenge(&s, STR("def"), salt);
    PKCS5_PBKDF2_HMAC("secret", 6, salt, SCRAM_SALT, SCRAM_ITERATIONS, EVP_sha512(), 64, derived);
    HMAC(EVP_sha512(), derived, 64, (const uint8_t *) "Client Key", 10, client, &n);
    EVP_Digest(client, 64, stored, &n, EVP_sha512(), NULL);
    buf_puts(&message, "n=u,r=abc,");
    buf_put_str(&message, first);
    buf_puts(&message, ",c=biws,r=abcdef");
    HMAC(EVP_sha512(), stored, 64, (const uint8_t *) message.p, message.n, signature, &n);
    for (int k = 0; k < 64; k++)
        client[k] = (uint8_t) (client[k] ^ signature[k]);
    buf_puts(&final, "c=biws,r=abcdef,p=");
    base64_encode(&final, str_from(client, 64));
    scram_derive(&s, STR("secret"), derived);
    ck_assert(scram_finish(&s, buf_str(&final), derived, &said));
    ck_assert_uint_eq(said.n, 2 + 88);
    scram_free(&s);
    buf_free(&name);
    buf_free(&message);
    buf_free(&final);
    buf_free(&said);
}

static const struct runner_case cases[] = {
    RUN(the_example),
    RUN_LOOP(names, 0, 4),
    RUN_LOOP(refused_beginnings, 0, 17),
    RUN_LOOP(refused_ends, 0, 13),
    RUN(the_larger_hash),
};

RUNNER_MAIN("kafka/scram", cases)
