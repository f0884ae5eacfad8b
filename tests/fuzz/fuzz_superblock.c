/*
 * fuzz_superblock.c - store.meta from any bytes, and UUIDs from any text.
 *
 * Byte 0: bit 0 the checksum is made right first. A verdict comes with its reason in words; what is
 * accepted encodes to what decodes the same.
 */
#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "store/superblock.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void check_round(const struct superblock *sb)
{
    uint8_t bytes[SUPERBLOCK_BYTES];
    struct superblock again;
    char why[160];

    superblock_encode(sb, bytes);
    ASSERT(superblock_decode(bytes, sizeof(bytes), &again, why) == ERR_OK);
    ASSERT(again.version == sb->version && again.created == sb->created);
    ASSERT(memcmp(&again.features, &sb->features, sizeof(again.features)) == 0);
    ASSERT(memcmp(again.uuid, sb->uuid, 16) == 0 && strcmp(again.writer, sb->writer) == 0);
}

static void check_uuid(const uint8_t *data, size_t size)
{
    uint8_t uuid[16];
    char text[33];

    if (!store_uuid_parse((const char *) data, size, uuid))
        return;
    store_uuid_text(uuid, text);
    ASSERT(size == 32 && memcmp(text, data, 32) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct superblock sb;
    char why[160] = "";
    uint8_t *bytes;
    enum err err;

    if (size == 0)
        return 0;
    bytes = malloc(size);
    memcpy(bytes, data + 1, size - 1);
    if ((data[0] & 1) != 0 && size - 1 == SUPERBLOCK_BYTES)
        put_u32(bytes + 124, crc32c(0xffffffffu, bytes, 124));
    err = superblock_decode(bytes, size - 1, &sb, why);
    ASSERT(err == ERR_OK || err == ERR_CORRUPT || err == ERR_VERSION);
    ASSERT((err == ERR_OK) == (why[0] == '\0'));
    if (err == ERR_OK)
        check_round(&sb);
    free(bytes);
    check_uuid(data + 1, size - 1);
    return 0;
}
