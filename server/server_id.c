/*
 * server_id.c - an Ed25519 public key in nkey form: prefix byte (server = 13 << 3), 32 key bytes,
 * CRC-16/XMODEM of both, little-endian; 35 bytes in base32 without padding make 56 characters.
 */
#include "server/server_id.h"

#include <sodium.h>
#include <stdint.h>
#include <string.h>

#define PREFIX_SERVER (13u << 3)

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

static void base32(const uint8_t *in, size_t n, char *out)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint32_t bits = 0;
    unsigned have = 0;

    for (size_t i = 0; i < n; i++) {
        bits = (bits << 8) | in[i];
        for (have += 8; have >= 5; have -= 5)
            *out++ = alphabet[(bits >> (have - 5)) & 31];
    }
    *out = '\0';
}

void server_id_make(char out[SERVER_ID_LEN + 1])
{
    uint8_t raw[35];
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    uint16_t crc;

    raw[0] = PREFIX_SERVER;
    crypto_sign_keypair(raw + 1, secret);
    sodium_memzero(secret, sizeof(secret));
    crc = crc16(raw, 33);
    raw[33] = (uint8_t) (crc & 0xff);
    raw[34] = (uint8_t) (crc >> 8);
    base32(raw, sizeof(raw), out);
}
