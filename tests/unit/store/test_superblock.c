/* store.meta: round trip, every flip, every length, versions; salts and UUIDs. */
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "store/superblock.h"
#include "tests/lib/runner.h"
#include "tests/unit/store/guard.h"

#include <string.h>

static void make(uint8_t out[SUPERBLOCK_BYTES])
{
    struct superblock sb = {
        .version = STORE_FORMAT_VERSION, .created = 12345, .writer = "midge 0.1.0"};

    memset(sb.uuid, 0xab, 16);
    superblock_encode(&sb, out);
}

static void sum(uint8_t *bytes)
{
    put_u32(bytes + 124, crc32c(0xffffffffu, bytes, 124));
}

TEST(round_trip)
{
    uint8_t bytes[SUPERBLOCK_BYTES];
    struct superblock sb;
    char why[160];

    make(bytes);
    ck_assert_int_eq(superblock_decode(bytes, sizeof(bytes), &sb, why), ERR_OK);
    ck_assert_uint_eq(sb.version, STORE_FORMAT_VERSION);
    ck_assert_int_eq(sb.created, 12345);
    ck_assert_str_eq(sb.writer, "midge 0.1.0");
    ck_assert_uint_eq(sb.uuid[15], 0xab);
}

TEST(every_byte_flip)
{
    uint8_t bytes[SUPERBLOCK_BYTES];
    struct superblock sb;
    char why[160];

    for (unsigned at = 0; at < SUPERBLOCK_BYTES; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            make(bytes);
            bytes[at] ^= (uint8_t) (1u << bit);
            why[0] = '\0';
            ck_assert_int_eq(superblock_decode(bytes, sizeof(bytes), &sb, why), ERR_CORRUPT);
            ck_assert_uint_ne(strlen(why), 0);
        }
}

TEST(every_length)
{
    uint8_t bytes[SUPERBLOCK_BYTES];
    struct superblock sb;
    char why[160];

    make(bytes);
    for (size_t n = 0; n < SUPERBLOCK_BYTES; n++) {
        struct guard g = guard_copy(bytes, n);
        ck_assert_int_eq(superblock_decode(g.p, n, &sb, why), ERR_CORRUPT);
        guard_free(&g);
    }
}

TEST(newer_version_explains_itself)
{
    uint8_t bytes[200] = {0};
    struct superblock sb;
    char why[160];

    make(bytes);
    put_u32(bytes + 8, 2);
    memcpy(bytes + 64, "midge 2.0\n", 10);
    sum(bytes);
    ck_assert_int_eq(superblock_decode(bytes, SUPERBLOCK_BYTES, &sb, why), ERR_VERSION);
    ck_assert_str_eq(why, "format 2; this program reads format 1 (written by midge 2.0?0)");
    /* Longer, with a checksum somewhere that we do not know. */
    put_u32(bytes + 12, 200);
    ck_assert_int_eq(superblock_decode(bytes, 200, &sb, why), ERR_VERSION);
}

TEST(unknown_features)
{
    static const struct {
        unsigned at;
        enum err err;
    } rows[] = {{16, ERR_VERSION}, {24, ERR_VERSION}, {32, ERR_OK}};
    uint8_t bytes[SUPERBLOCK_BYTES];
    struct superblock sb;
    char why[160];

    for (unsigned k = 0; k < 3; k++) {
        make(bytes);
        bytes[rows[k].at] = 0x40;
        sum(bytes);
        ck_assert_int_eq(superblock_decode(bytes, sizeof(bytes), &sb, why), rows[k].err);
    }
}

TEST(salts_differ)
{
    uint8_t a[16] = {1}, b[16] = {2};
    uint32_t salts[] = {store_salt_segment(a, b, 1, 0), store_salt_segment(a, b, 2, 0),
                        store_salt_segment(a, b, 1, 1), store_salt_segment(b, a, 1, 0),
                        store_salt_log(a, 1, 0, 0),     store_salt_log(a, 1, 0, 1),
                        store_salt_log(a, 1, 1, 0),     store_salt_log(a, 2, 0, 0),
                        store_salt_log(b, 1, 0, 0)};
    unsigned n = sizeof(salts) / sizeof(salts[0]);

    for (unsigned x = 0; x < n; x++)
        for (unsigned y = 0; y < x; y++)
            ck_assert_uint_ne(salts[x], salts[y]);
    for (uint64_t number = 1; number < 1000; number++)
        ck_assert_uint_ne(store_salt_segment(a, b, number, 0),
                          store_salt_segment(a, b, number + 1, 0));
}

TEST(uuid_text)
{
    static const char *const bad[] = {"", "0", "0123456789abcdef0123456789abcdeg",
                                      "0123456789ABCDEF0123456789abcdef",
                                      "0123456789abcdef0123456789abcdef0"};
    uint8_t uuid[16], again[16];
    char text[33];

    for (unsigned k = 0; k < 16; k++)
        uuid[k] = (uint8_t) (k * 17);
    store_uuid_text(uuid, text);
    ck_assert_str_eq(text, "00112233445566778899aabbccddeeff");
    ck_assert(store_uuid_parse(text, 32, again) && memcmp(uuid, again, 16) == 0);
    for (unsigned k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
        ck_assert_msg(!store_uuid_parse(bad[k], strlen(bad[k]), again), "%s", bad[k]);
}

static const struct runner_case cases[] = {
    RUN(round_trip),       RUN(every_byte_flip),
    RUN(every_length),     RUN(newer_version_explains_itself),
    RUN(unknown_features), RUN(salts_differ),
    RUN(uuid_text),
};

RUNNER_MAIN("store/superblock", cases)
