/* scram.c - see scram.h. */
#include "server/kafka/scram.h"

#include "lib/base/base64.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

static const EVP_MD *hash_of(const struct scram *s)
{
    return s->sha512 ? EVP_sha512() : EVP_sha256();
}

static size_t hash_bytes_of(const struct scram *s)
{
    return s->sha512 ? 64 : 32;
}

void scram_init(struct scram *s, bool sha512)
{
    *s = (struct scram){.sha512 = sha512};
}

void scram_free(struct scram *s)
{
    buf_free(&s->bare);
    buf_free(&s->first);
    buf_free(&s->bind);
    buf_free(&s->nonce);
}

/* ---- client-first ---------------------------------------------------------------------------- */

/* "=2C" is a comma, "=3D" an equals sign; nothing else begins so. */
static bool take_name(struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        struct str rest = str_skip(in, i);
        if (in.p[i] != '=') {
            buf_putc(out, in.p[i]);
            continue;
        }
        if (!str_starts(rest, STR("=2C")) && !str_starts(rest, STR("=3D")))
            return false;
        buf_putc(out, rest.p[1] == '2' ? ',' : '=');
        i += 2;
    }
    return in.n > 0;
}

/* The next of the attributes has to be this one; its value. */
static bool take_attribute(struct str *in, char letter, struct str *value)
{
    struct str one = str_cut(*in, ',', in);

    if (one.n < 2 || one.p[0] != letter || one.p[1] != '=')
        return false;
    *value = str_skip(one, 2);
    return true;
}

static bool is_nonce(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x21 || s.p[i] > 0x7e || s.p[i] == ',')
            return false;
    return s.n > 0;
}

bool scram_begin(struct scram *s, struct str in, struct buf *name)
{
    struct str all = in, flag, as, user, nonce;
    struct buf authorize = {0};
    size_t at = name->n;
    bool ok;

    if (in.n > SCRAM_TEXT_MAX)
        return false;
    flag = str_cut(in, ',', &in);
    as = str_cut(in, ',', &in);
    if ((!str_eq(flag, STR("n")) && !str_eq(flag, STR("y"))) || in.p == NULL)
        return false;
    buf_put_str(&s->bare, in);
    base64_encode(&s->bind, str_from(all.p, (size_t) (in.p - all.p)));
    if (!take_attribute(&in, 'n', &user) || !take_name(user, name) ||
        !take_attribute(&in, 'r', &nonce) || !is_nonce(nonce))
        return false;
    buf_put_str(&s->nonce, nonce);
    ok = as.n == 0 ||
         (as.n > 2 && str_starts(as, STR("a=")) && take_name(str_skip(as, 2), &authorize) &&
          str_eq(buf_str(&authorize), str_from(name->p + at, name->n - at)));
    buf_free(&authorize);
    return ok;
}

struct str scram_challenge(struct scram *s, struct str random, const uint8_t salt[SCRAM_SALT])
{
    memcpy(s->salt, salt, SCRAM_SALT);
    buf_put_str(&s->nonce, random);
    buf_puts(&s->first, "r=");
    buf_put_str(&s->first, buf_str(&s->nonce));
    buf_puts(&s->first, ",s=");
    base64_encode(&s->first, str_from(salt, SCRAM_SALT));
    buf_printf(&s->first, ",i=%d", SCRAM_ITERATIONS);
    return buf_str(&s->first);
}

/* ---- client-final ---------------------------------------------------------------------------- */

void scram_derive(const struct scram *s, struct str password, uint8_t out[SCRAM_HASH_MAX])
{
    PKCS5_PBKDF2_HMAC(password.p, (int) password.n, s->salt, SCRAM_SALT, SCRAM_ITERATIONS,
                      hash_of(s), (int) hash_bytes_of(s), out);
}

static void sign(const struct scram *s, const uint8_t *key, struct str text, uint8_t *out)
{
    unsigned n = 0;

    HMAC(hash_of(s), key, (int) hash_bytes_of(s), (const uint8_t *) text.p, text.n, out, &n);
}

/* Does this proof come from one who knows the key? */
static bool is_proof(const struct scram *s, struct str proof, struct str message,
                     const uint8_t *derived)
{
    uint8_t client[SCRAM_HASH_MAX], stored[SCRAM_HASH_MAX], signature[SCRAM_HASH_MAX];
    size_t n = hash_bytes_of(s);
    unsigned got = 0;

    if (proof.n != n)
        return false;
    sign(s, derived, STR("Client Key"), client);
    EVP_Digest(client, n, stored, &got, hash_of(s), NULL);
    sign(s, stored, message, signature);
    for (size_t i = 0; i < n; i++)
        signature[i] = (uint8_t) (signature[i] ^ (uint8_t) proof.p[i]);
    return CRYPTO_memcmp(signature, client, n) == 0;
}

static void put_signature(const struct scram *s, struct str message, const uint8_t *derived,
                          struct buf *out)
{
    uint8_t server[SCRAM_HASH_MAX], signature[SCRAM_HASH_MAX];

    sign(s, derived, STR("Server Key"), server);
    sign(s, server, message, signature);
    buf_puts(out, "v=");
    base64_encode(out, str_from(signature, hash_bytes_of(s)));
}

/* librdkafka before 2.6.1 puts its own part in front a second time; Kafka lets it pass, too. What
 * counts is that ours is in it, and what was sent is what is signed. */
static bool is_same_nonce(struct str said, struct str nonce)
{
    return said.n >= nonce.n && str_eq(str_skip(said, said.n - nonce.n), nonce);
}

bool scram_finish(const struct scram *s, struct str in, const uint8_t derived[SCRAM_HASH_MAX],
                  struct buf *server_final)
{
    struct str all = in, bind, nonce, proof;
    struct buf message = {0}, bytes = {0};
    bool ok;

    if (in.n > SCRAM_TEXT_MAX || !take_attribute(&in, 'c', &bind) ||
        !take_attribute(&in, 'r', &nonce) || !take_attribute(&in, 'p', &proof) || in.p != NULL)
        return false;
    buf_put_str(&message, buf_str(&s->bare));
    buf_putc(&message, ',');
    buf_put_str(&message, buf_str(&s->first));
    buf_putc(&message, ',');
    buf_put(&message, all.p, (size_t) (proof.p - all.p) - 3);
    ok = str_eq(bind, buf_str(&s->bind)) && is_same_nonce(nonce, buf_str(&s->nonce)) &&
         base64_decode(&bytes, proof) && is_proof(s, buf_str(&bytes), buf_str(&message), derived);
    if (ok)
        put_signature(s, buf_str(&message), derived, server_final);
    buf_free(&message);
    buf_free(&bytes);
    return ok;
}
