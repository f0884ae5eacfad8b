#include "tests/lib/token.h"

#include "lib/base/base64.h"
#include "lib/base/mem.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void signer_make(struct signer *s, enum nkey_kind kind, unsigned number)
{
    uint8_t seed[NKEY_KEY_BYTES] = {0}, key[NKEY_KEY_BYTES];

    if (sodium_init() < 0)
        abort();
    memset(s, 0, sizeof(*s));
    seed[0] = (uint8_t) kind;
    memcpy(seed + 1, &number, sizeof(number));
    s->kind = kind;
    crypto_sign_seed_keypair(key, s->secret, seed);
    nkey_encode(kind, key, s->key);
    nkey_seed_encode(kind, seed, s->seed);
}

static char *text_of(struct buf *b)
{
    char *text = mem_strdup(buf_cstr(b));

    buf_free(b);
    return text;
}

char *token_make_at(const struct signer *by, enum jwt_kind kind, const char *subject,
                    const char *name, const char *nats_fields, int64_t issued, int64_t expires)
{
    char *s = mem_strdup(subject), *n = mem_strdup(name);
    struct jwt j = {.kind = kind, .subject = s, .name = n, .expires = expires};
    struct buf b = {0};

    jwt_encode(&b, &j, str_of(nats_fields), by->kind, by->secret,
               issued != 0 ? issued : (int64_t) time(NULL));
    mem_free(s);
    mem_free(n);
    return text_of(&b);
}

char *token_make(const struct signer *by, enum jwt_kind kind, const char *subject, const char *name,
                 const char *nats_fields)
{
    return token_make_at(by, kind, subject, name, nats_fields, 0, 0);
}

char *token_sign(const struct signer *by, const char *header, const char *claims, int version)
{
    struct buf b = {0};
    uint8_t sig[NKEY_SIG_BYTES];
    size_t claims_at;

    base64url_encode(&b, str_of(header));
    buf_putc(&b, '.');
    claims_at = b.n;
    base64url_encode(&b, str_of(claims));
    nkey_sign(by->secret, version < 2 ? str_skip(buf_str(&b), claims_at) : buf_str(&b), sig);
    buf_putc(&b, '.');
    base64url_encode(&b, str_from(sig, sizeof(sig)));
    return text_of(&b);
}

char *token_sign_nonce(const struct signer *by, const char *nonce)
{
    uint8_t sig[NKEY_SIG_BYTES];
    struct buf b = {0};

    nkey_sign(by->secret, str_of(nonce), sig);
    base64url_encode(&b, str_from(sig, sizeof(sig)));
    return text_of(&b);
}
