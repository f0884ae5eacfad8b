/*
 * fuzz_footer.c - a footer that opens can be walked, whatever wrote it.
 *
 * Byte 0: bit 0 checksums are made right first, by the trailer and section table as they stand. The
 * rest is a footer.
 */
#include "lib/base/assert.h"
#include "store/segment_format.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define SALT 0xf007e400u
#define OFFSET 8192

static void make_right(uint8_t *footer, size_t n)
{
    uint8_t *trailer = footer + n - SEGMENT_TRAILER;
    uint64_t table = get_u64(trailer + 32) - OFFSET;
    uint32_t sections = get_u32(trailer + 12);

    memcpy(trailer, "MIDGEFTR", 8);
    put_u64(trailer + 16, OFFSET);
    put_u64(trailer + 24, n);
    if (sections < 64 && n >= SEGMENT_TRAILER + sections * 32) {
        table = n - SEGMENT_TRAILER - sections * 32;
        put_u64(trailer + 32, table + OFFSET);
        for (uint32_t i = 0; i < sections; i++) {
            uint8_t *entry = footer + table + i * 32;
            uint64_t at = get_u64(entry + 8), bytes = get_u64(entry + 16);
            if (at <= table && bytes <= table - at)
                put_u32(entry + 24, crc32c(SALT, footer + at, bytes));
        }
        put_u32(trailer + 48, crc32c(SALT, footer + table, sections * 32));
    }
    put_u32(trailer + 60, crc32c(SALT, trailer, 60));
}

static void walk_subjects(const struct footer *f)
{
    struct subject_iter it, found;
    uint64_t msgs = 0, seq;

    subject_iter_init(&it, f->section[SECTION_SUBJECTS], f->summary.base_seq);
    while (subject_iter_next(&it)) {
        uint64_t n = 0, last = 0;
        for (; subject_run_next(&it, &seq); n++) {
            ASSERT(seq > last && seq >= f->summary.base_seq && seq < f->summary.next_seq);
            last = seq;
        }
        ASSERT(n == it.msgs);
        msgs += n;
        ASSERT(subject_iter_find(&found, f->section[SECTION_SUBJECTS], f->summary.base_seq,
                                 buf_str(&it.subject)));
        ASSERT(found.msgs == it.msgs);
        subject_iter_deinit(&found);
    }
    ASSERT(msgs == f->summary.msgs);
    subject_iter_deinit(&it);
}

static void walk(const struct footer *f)
{
    struct size_iter sizes;
    struct segment_batch b;
    uint64_t seq, n = 0, at;
    uint32_t bytes;

    size_iter_init(&sizes, f->section[SECTION_SIZES], f->summary.base_seq);
    for (; size_iter_next(&sizes, &seq, &bytes); n++)
        ASSERT(seq < f->summary.next_seq);
    ASSERT(n == f->summary.msgs);
    for (uint64_t i = 0; i < f->summary.batches; i++) {
        footer_batch(f, i, &b);
        ASSERT(footer_batch_find(f, b.first_seq, &at) && at == i);
    }
    walk_subjects(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct footer f;
    size_t n = size - 1;

    if (size < 1 + SEGMENT_TRAILER || size > 1 << 16)
        return 0;
    uint8_t *footer = malloc(n);
    memcpy(footer, data + 1, n);
    if ((data[0] & 1) != 0)
        make_right(footer, n);
    if (footer_open(footer, n, OFFSET + n, SALT, &f) == ERR_OK)
        walk(&f);
    free(footer);
    return 0;
}
