/*
 * fuzz_s2.c - compressed connections: any bytes as a stream, in pieces, with and without a limit;
 * and any bytes packed, which must come back.
 *
 * Input: the first byte chooses the size of the pieces and whether there is a limit; the rest is
 * the stream.
 */
#include "lib/base/assert.h"
#include "lib/wire/s2.h"
#include "tests/fuzz/fuzz.h"

#define LIMIT 1000u

static void read_stream(struct str in, size_t step, size_t most)
{
    struct s2_reader r = {.most = most};
    enum s2_got got = S2_MORE;

    while (in.n > 0 && got != S2_BAD) {
        s2_reader_feed(&r, str_take(in, step));
        in = str_skip(in, in.n < step ? in.n : step);
        do {
            struct buf out = {0};
            got = s2_reader_next(&r, &out);
            ASSERT(got != S2_CHUNK || out.n <= (most > 0 ? most : S2_BLOCK_MAX));
            buf_free(&out);
        } while (got == S2_CHUNK);
        ASSERT(most == 0 || s2_reader_waiting(&r) <= most + most / 6 + 64 + 4 + step);
    }
    s2_reader_free(&r);
}

static void pack(struct str data)
{
    static struct s2_table table;
    struct s2_reader r = {0};
    struct buf packed = {0}, out = {0};
    enum s2_got got;

    s2_put_start(&packed);
    s2_put_packed(&packed, data, &table);
    s2_reader_feed(&r, buf_str(&packed));
    do
        got = s2_reader_next(&r, &out);
    while (got == S2_CHUNK);
    ASSERT(got == S2_MORE && s2_reader_waiting(&r) == 0 && str_eq(buf_str(&out), data));
    s2_reader_free(&r);
    buf_free(&packed);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in;

    if (size == 0)
        return 0;
    in = str_from(data + 1, size - 1);
    read_stream(in, 1 + data[0] / 2u, data[0] % 2 != 0 ? LIMIT : 0);
    pack(in);
    return 0;
}
