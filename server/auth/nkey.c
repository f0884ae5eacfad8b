/* nkey.c - base32 and CRC around libsodium's signatures. */
#include "server/auth/nkey.h"

#include <sodium.h>
#include <string.h>

#define RAW_BYTES 35u

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

void nkey_encode(enum nkey_kind kind, const uint8_t key[NKEY_KEY_BYTES], char out[NKEY_LEN + 1])
{
    uint8_t raw[RAW_BYTES];
    uint32_t bits = 0;
    unsigned have = 0;
    uint16_t crc;

    raw[0] = (uint8_t) kind;
    memcpy(raw + 1, key, NKEY_KEY_BYTES);
    crc = crc16(raw, RAW_BYTES - 2);
    raw[RAW_BYTES - 2] = (uint8_t) (crc & 0xff);
    raw[RAW_BYTES - 1] = (uint8_t) (crc >> 8);
    for (size_t i = 0; i < RAW_BYTES; i++) {
        bits = (bits << 8) | raw[i];
        for (have += 8; have >= 5; have -= 5)
            *out++ = alphabet[(bits >> (have - 5)) & 31];
    }
    *out = '\0';
}

bool nkey_decode(struct str text, enum nkey_kind kind, uint8_t key[NKEY_KEY_BYTES])
{
    uint8_t raw[RAW_BYTES];
    uint32_t bits = 0;
    unsigned have = 0, n = 0;

    if (text.n != NKEY_LEN)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        const char *at = text.p[i] != '\0' ? strchr(alphabet, text.p[i]) : NULL;
        if (at == NULL)
            return false;
        bits = (bits << 5) | (uint32_t) (at - alphabet);
        have += 5;
        if (have >= 8) {
            have -= 8;
            raw[n++] = (uint8_t) (bits >> have);
        }
    }
    if (raw[0] != (uint8_t) kind ||
        crc16(raw, RAW_BYTES - 2) != (raw[RAW_BYTES - 2] | raw[RAW_BYTES - 1] << 8))
        return false;
    memcpy(key, raw + 1, NKEY_KEY_BYTES);
    return true;
}

static bool base64(struct str s, int variant, uint8_t *out, size_t cap)
{
    size_t n;
    return sodium_base642bin(out, cap, s.p, s.n, NULL, &n, NULL, variant) == 0 && n == cap;
}

bool nkey_verify(struct str user, struct str sig, struct str bytes)
{
    uint8_t key[NKEY_KEY_BYTES], raw[NKEY_SIG_BYTES];

    if (sig.n == 0 || !nkey_decode(user, NKEY_USER, key))
        return false;
    if (!base64(sig, sodium_base64_VARIANT_URLSAFE_NO_PADDING, raw, sizeof(raw)) &&
        !base64(sig, sodium_base64_VARIANT_URLSAFE, raw, sizeof(raw)) &&
        !base64(sig, sodium_base64_VARIANT_ORIGINAL, raw, sizeof(raw)))
        return false;
    return crypto_sign_verify_detached(raw, (const uint8_t *) bytes.p, bytes.n, key) == 0;
}
