/* nkey.c - base32 and CRC around libsodium's signatures. */
#include "lib/jwt/nkey.h"

#include <sodium.h>
#include <string.h>

#define RAW_BYTES 35u
#define RAW_SEED_BYTES 36u
#define SEED_PREFIX (18u << 3) /* S */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static uint16_t crc16(const uint8_t *p, size_t n)
{
    uint16_t crc = 0;

    for (size_t i = 0; i < n; i++) {
        crc ^= (uint16_t) (p[i] << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t) ((crc & 0x8000) ? (crc << 1) ^ 0x1021 : crc << 1);
    }
    return crc;
}

/* Puts the CRC into the last two of n bytes, and all of them out as text. */
static void encode(uint8_t *raw, size_t n, char *out)
{
    uint16_t crc = crc16(raw, n - 2);
    uint32_t bits = 0;
    unsigned have = 0;

    raw[n - 2] = (uint8_t) (crc & 0xff);
    raw[n - 1] = (uint8_t) (crc >> 8);
    for (size_t i = 0; i < n; i++) {
        bits = (bits << 8) | raw[i];
        for (have += 8; have >= 5; have -= 5)
            *out++ = alphabet[(bits >> (have - 5)) & 31];
    }
    if (have > 0)
        *out++ = alphabet[(bits << (5 - have)) & 31];
    *out = '\0';
}

/* Exactly n bytes with a right CRC. */
static bool decode(struct str text, uint8_t *raw, size_t n)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t got = 0;

    if (text.n != (n * 8 + 4) / 5)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        const char *at = text.p[i] != '\0' ? strchr(alphabet, text.p[i]) : NULL;
        if (at == NULL)
            return false;
        bits = (bits << 5) | (uint32_t) (at - alphabet);
        have += 5;
        if (have >= 8) {
            have -= 8;
            raw[got++] = (uint8_t) (bits >> have);
        }
    }
    return crc16(raw, n - 2) == (raw[n - 2] | raw[n - 1] << 8);
}

static bool is_kind(unsigned prefix)
{
    return prefix == NKEY_ACCOUNT || prefix == NKEY_CLUSTER || prefix == NKEY_SERVER ||
           prefix == NKEY_OPERATOR || prefix == NKEY_USER || prefix == NKEY_CURVE;
}

void nkey_encode(enum nkey_kind kind, const uint8_t key[NKEY_KEY_BYTES], char out[NKEY_LEN + 1])
{
    uint8_t raw[RAW_BYTES];

    raw[0] = (uint8_t) kind;
    memcpy(raw + 1, key, NKEY_KEY_BYTES);
    encode(raw, sizeof(raw), out);
}

bool nkey_decode_any(struct str text, enum nkey_kind *kind, uint8_t key[NKEY_KEY_BYTES])
{
    uint8_t raw[RAW_BYTES];

    if (!decode(text, raw, sizeof(raw)) || !is_kind(raw[0]))
        return false;
    *kind = (enum nkey_kind) raw[0];
    memcpy(key, raw + 1, NKEY_KEY_BYTES);
    return true;
}

bool nkey_decode(struct str text, enum nkey_kind kind, uint8_t key[NKEY_KEY_BYTES])
{
    enum nkey_kind got;
    uint8_t raw[NKEY_KEY_BYTES];

    if (!nkey_decode_any(text, &got, raw) || got != kind)
        return false;
    memcpy(key, raw, sizeof(raw));
    return true;
}

bool nkey_is(struct str text, enum nkey_kind kind)
{
    uint8_t key[NKEY_KEY_BYTES];

    return nkey_decode(text, kind, key);
}

void nkey_seed_encode(enum nkey_kind kind, const uint8_t seed[NKEY_KEY_BYTES],
                      char out[NKEY_SEED_LEN + 1])
{
    uint8_t raw[RAW_SEED_BYTES];

    raw[0] = (uint8_t) (SEED_PREFIX | ((unsigned) kind >> 5));
    raw[1] = (uint8_t) (((unsigned) kind & 31) << 3);
    memcpy(raw + 2, seed, NKEY_KEY_BYTES);
    encode(raw, sizeof(raw), out);
    sodium_memzero(raw, sizeof(raw));
}

bool nkey_seed_decode(struct str text, enum nkey_kind *kind, uint8_t seed[NKEY_KEY_BYTES])
{
    uint8_t raw[RAW_SEED_BYTES] = {0};
    bool ok = decode(text, raw, sizeof(raw)) && (raw[0] & 0xf8u) == SEED_PREFIX;
    unsigned prefix = (raw[0] & 7u) << 5 | raw[1] >> 3;

    ok = ok && is_kind(prefix);
    if (ok) {
        *kind = (enum nkey_kind) prefix;
        memcpy(seed, raw + 2, NKEY_KEY_BYTES);
    }
    sodium_memzero(raw, sizeof(raw));
    return ok;
}

bool nkey_signed(struct str key, struct str sig, struct str bytes)
{
    enum nkey_kind kind;
    uint8_t raw[NKEY_KEY_BYTES];

    return sig.n == NKEY_SIG_BYTES && nkey_decode_any(key, &kind, raw) && kind != NKEY_CURVE &&
           crypto_sign_verify_detached((const uint8_t *) sig.p, (const uint8_t *) bytes.p, bytes.n,
                                       raw) == 0;
}

static bool base64(struct str s, int variant, uint8_t *out, size_t cap)
{
    size_t n;
    return sodium_base642bin(out, cap, s.p, s.n, NULL, &n, NULL, variant) == 0 && n == cap;
}

bool nkey_verify(struct str user, struct str sig, struct str bytes)
{
    uint8_t raw[NKEY_SIG_BYTES];

    if (sig.n == 0 || !nkey_is(user, NKEY_USER))
        return false;
    if (!base64(sig, sodium_base64_VARIANT_URLSAFE_NO_PADDING, raw, sizeof(raw)) &&
        !base64(sig, sodium_base64_VARIANT_URLSAFE, raw, sizeof(raw)) &&
        !base64(sig, sodium_base64_VARIANT_ORIGINAL, raw, sizeof(raw)))
        return false;
    return nkey_signed(user, str_from(raw, sizeof(raw)), bytes);
}

void nkey_sign(const uint8_t secret[NKEY_SECRET_BYTES], struct str bytes,
               uint8_t sig[NKEY_SIG_BYTES])
{
    crypto_sign_detached(sig, NULL, (const uint8_t *) bytes.p, bytes.n, secret);
}
