/*
 * store.meta, 128 bytes (docs/internals/store-format.md), and what all files of a store share: the
 * version and feature check, salts, UUIDs as text.
 *
 * The checksum is looked at only after the magic and before everything else, with one exception:
 * the version is reported even from a file whose length is not ours, because a newer format may
 * well be longer. A newer superblock keeps magic, version, length and features where they are; that
 * much is promised.
 */
#include "store/superblock.h"

#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "store/plant.h"

#include <stdio.h>
#include <string.h>

#define MAGIC "MIDGESTO"
#define CRC_SEED 0xffffffffu
#define SALT_SEED 0x6d696467u

enum {
    AT_VERSION = 8,
    AT_LENGTH = 12,
    AT_FEATURES = 16,
    AT_UUID = 40,
    AT_CREATED = 56,
    AT_WRITER = 64,
    AT_CRC = 124
};

void superblock_encode(const struct superblock *sb, uint8_t out[SUPERBLOCK_BYTES])
{
    memset(out, 0, SUPERBLOCK_BYTES);
    memcpy(out, MAGIC, 8);
    put_u32(out + AT_VERSION, sb->version);
    put_u32(out + AT_LENGTH, SUPERBLOCK_BYTES);
    put_u64(out + AT_FEATURES, sb->features.incompat);
    put_u64(out + AT_FEATURES + 8, sb->features.readonly);
    put_u64(out + AT_FEATURES + 16, sb->features.compat);
    memcpy(out + AT_UUID, sb->uuid, 16);
    put_u64(out + AT_CREATED, (uint64_t) sb->created);
    memcpy(out + AT_WRITER, sb->writer, strnlen(sb->writer, SUPERBLOCK_WRITER - 1));
    put_u32(out + AT_CRC, crc32c(CRC_SEED, out, AT_CRC));
}

/* A checksum over one byte of trust: letters, digits and the like only, for a line in a log. */
static void copy_writer(char out[SUPERBLOCK_WRITER], const uint8_t *from)
{
    memcpy(out, from, SUPERBLOCK_WRITER - 1);
    out[SUPERBLOCK_WRITER - 1] = '\0';
    for (char *p = out; *p != '\0'; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
}

enum err superblock_decode(const void *bytes, size_t n, struct superblock *out, char why[160])
{
    const uint8_t *p = bytes;

    memset(out, 0, sizeof(*out));
    if (n < AT_WRITER || memcmp(p, MAGIC, 8) != 0) {
        snprintf(why, 160,
                 n < AT_WRITER ? "cut off after %zu bytes" : "not the superblock of a store", n);
        return ERR_CORRUPT;
    }
    out->version = get_u32(p + AT_VERSION);
    out->features.incompat = get_u64(p + AT_FEATURES);
    out->features.readonly = get_u64(p + AT_FEATURES + 8);
    out->features.compat = get_u64(p + AT_FEATURES + 16);
    memcpy(out->uuid, p + AT_UUID, 16);
    if (n >= SUPERBLOCK_BYTES) {
        out->created = (int64_t) get_u64(p + AT_CREATED);
        copy_writer(out->writer, p + AT_WRITER);
    }
    bool intact = n == SUPERBLOCK_BYTES && get_u32(p + AT_LENGTH) == SUPERBLOCK_BYTES &&
                  get_u32(p + AT_CRC) == crc32c(CRC_SEED, p, AT_CRC);
    /* A damaged version field must not read as a newer one, unless the length says that it is one.
     */
    if (!intact && (out->version <= STORE_FORMAT_VERSION ||
                    get_u32(p + AT_LENGTH) == SUPERBLOCK_BYTES || get_u32(p + AT_LENGTH) != n)) {
        snprintf(why, 160, "damaged (checksum)");
        return ERR_CORRUPT;
    }
    char reason[160];
    enum err err = store_features_check(out->version, &out->features, reason);
    if (err != ERR_OK)
        snprintf(why, 160, "%.100s (written by %s)", reason,
                 out->writer[0] != '\0' ? out->writer : "?");
    return err;
}

enum err store_features_check(uint32_t version, const struct store_features *f, char why[160])
{
    if (version != STORE_FORMAT_VERSION) {
        snprintf(why, 160, "format %u; this program reads format %u", version,
                 STORE_FORMAT_VERSION);
        return ERR_VERSION;
    }
    uint64_t unknown = f->incompat & ~(uint64_t) STORE_KNOWN_INCOMPAT;
    uint64_t readonly = f->readonly & ~(uint64_t) STORE_KNOWN_READONLY;
    if (unknown != 0 || readonly != 0) {
        snprintf(why, 160,
                 "uses features that this program does not know (bits 0x%llx, to write 0x%llx)",
                 (unsigned long long) unknown, (unsigned long long) readonly);
        return ERR_VERSION;
    }
    return ERR_OK;
}

static uint32_t salt_start(const char tag[8], const uint8_t store[16])
{
    return crc32c(crc32c(SALT_SEED, tag, 8), store, 16);
}

uint32_t store_salt_segment(const uint8_t store[16], const uint8_t stream[16], uint64_t number,
                            uint32_t generation)
{
    uint8_t tail[28];

    memcpy(tail, stream, 16);
    put_u64(tail + 16, number);
    put_u32(tail + 24, generation);
    return crc32c(salt_start("segment", store), tail, sizeof(tail));
}

uint32_t store_salt_log(const uint8_t store[16], uint64_t generation, uint32_t worker,
                        uint64_t number)
{
    uint8_t tail[20];

    put_u64(tail, PLANTED(PLANT_SALT_REUSED) ? 0 : generation);
    put_u32(tail + 8, worker);
    put_u64(tail + 12, PLANTED(PLANT_SALT_REUSED) ? 0 : number);
    return crc32c(salt_start("log\0\0\0\0", store), tail, sizeof(tail));
}

uint32_t store_salt_twin(const uint8_t store[16], uint64_t generation, uint32_t worker,
                         uint64_t number)
{
    uint8_t tail[20];

    put_u64(tail, generation);
    put_u32(tail + 8, worker);
    put_u64(tail + 12, number);
    return crc32c(salt_start("twin\0\0\0", store), tail, sizeof(tail));
}

void store_uuid_text(const uint8_t uuid[16], char out[33])
{
    static const char digits[] = "0123456789abcdef";

    for (unsigned i = 0; i < 16; i++) {
        out[2 * i] = digits[uuid[i] >> 4];
        out[2 * i + 1] = digits[uuid[i] & 15];
    }
    out[32] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool store_uuid_parse(const char *text, size_t n, uint8_t out[16])
{
    if (n != 32)
        return false;
    for (unsigned i = 0; i < 16; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t) (high << 4 | low);
    }
    return true;
}
