/* fuzz_backup.c - what a restore reads: S2 chunks, and the entries in them. */
#include "lib/wire/s2.h"
#include "server/js/archive.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct s2_reader r = {0};
    struct buf plain = {0};
    struct archive_entry e;
    struct str bytes = str_from(data, n), in;

    while (bytes.n > 0) {
        size_t step = 1 + bytes.n / 3;
        s2_reader_feed(&r, str_take(bytes, step));
        bytes = str_skip(bytes, step);
        while (plain.n < (16u << 20) && s2_reader_next(&r, &plain) == S2_CHUNK)
            ;
    }
    in = buf_str(&plain);
    while (archive_take(&in, &e) == ARCHIVE_ENTRY)
        ;
    in = str_from(data, n); /* and without the chunks, which have checksums */
    while (archive_take(&in, &e) == ARCHIVE_ENTRY)
        ;
    buf_clear(&plain);
    s2_block_decode(str_from(data, n), &plain);
    s2_reader_free(&r);
    buf_free(&plain);
    return 0;
}
