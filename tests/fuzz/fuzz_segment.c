/*
 * fuzz_segment.c - the recovery scanner over anything.
 *
 * Byte 0: bit 0 checksums are made right first (or no input would get past them), bit 1 sealed, bit
 * 2 base sequence not known, bit 3 search bounded. Byte 1: sequence known to be durable. Byte 2:
 * size of the windows. The rest is what follows the header page. Whatever it is: the scan ends,
 * verdicts are in order and inside the file, records it calls good can be read, and reading it
 * again with other windows gives the same result.
 */
#include "store/scan.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define SALT 0x600dcafeu
#define BASE 10

static void sum_records(uint8_t *batch, const struct batch_header *h)
{
    uint8_t *table = batch + BATCH_HEADER, *body = table + h->table_bytes;

    for (uint32_t i = 0; i < h->count; i++) {
        uint32_t at = get_u32(table + i * 8),
                 end = i + 1 < h->count ? get_u32(table + i * 8 + 8) : h->body_bytes;
        uint32_t delta = (h->flags & BATCH_SPARSE) != 0 ? get_u32(table + h->count * 8 + i * 4) : i;
        if (at < end && end <= h->body_bytes)
            put_u32(table + i * 8 + 4,
                    crc32c(batch_record_seed(SALT, h->first_seq + delta), body + at, end - at));
    }
}

/* Every batch that would be one but for its checksums. */
static void make_right(uint8_t *bytes, size_t n)
{
    struct batch_header h;

    for (size_t at = 0; at + BATCH_HEADER <= n; at += BATCH_ALIGN) {
        if (batch_header_decode(bytes + at, &h) != ERR_OK || h.bytes > n - at)
            continue;
        sum_records(bytes + at, &h);
        put_u32(bytes + at + 4,
                batch_header_crc(SALT, bytes + at, bytes + at + BATCH_HEADER, h.table_bytes));
        at += h.bytes - BATCH_ALIGN;
    }
}

struct outcome {
    uint64_t hash, next_seq, data_end, lost;
};

static void check_batch(const struct scan_event *e, struct outcome *o)
{
    struct batch_record r;

    for (uint32_t i = 0; i < e->view.h.count; i++) {
        if (e->bad != NULL && (e->bad[i / 64] >> (i % 64) & 1) != 0)
            continue;
        ASSERT(batch_record_verify(&e->view, i, SALT) == BATCH_RECORD_OK);
        batch_record_get(&e->view, i, &r);
        ASSERT(r.seq >= e->view.h.first_seq && r.seq - e->view.h.first_seq < e->view.h.span);
        o->hash = crc32c((uint32_t) o->hash, r.subject.p, r.subject.n);
        o->hash = crc32c((uint32_t) o->hash, r.data, r.data_len);
    }
}

static struct outcome scan_all(const uint8_t *file, size_t n, const struct scan_options *options,
                               size_t window)
{
    struct outcome o = {0};
    struct scan s;
    struct scan_event e;
    enum scan_verdict v;
    uint8_t *copy = NULL;
    uint64_t at = 0;
    unsigned steps = 0;

    scan_init(&s, options);
    while ((v = scan_next(&s, &e)) != SCAN_DONE) {
        ASSERT(++steps < 10000000);
        if (v == SCAN_NEED) {
            ASSERT(e.offset <= options->file_bytes && e.bytes <= options->file_bytes - e.offset);
            size_t there = e.offset < n ? n - e.offset : 0, take = e.bytes + window;
            free(copy);
            take = take < there ? take : there;
            copy = malloc(take + 1);
            if (take != 0)
                memcpy(copy, file + e.offset, take);
            scan_feed(&s, e.offset, copy, take);
            continue;
        }
        /* A cut may go back to where an open group began. */
        ASSERT(v == SCAN_TORN || e.offset >= at);
        ASSERT(e.offset + e.bytes <= options->file_bytes);
        at = e.offset;
        if (v == SCAN_BATCH)
            check_batch(&e, &o);
    }
    o.next_seq = s.next_seq;
    o.data_end = s.data_end;
    o.lost = s.lost_seqs;
    free(copy);
    scan_deinit(&s);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > 1 << 18)
        return 0;
    size_t n = SEGMENT_HEADER + size - 3;
    uint8_t *file = calloc(1, n);
    memcpy(file + SEGMENT_HEADER, data + 3, size - 3);
    if ((data[0] & 1) != 0)
        make_right(file + SEGMENT_HEADER, n - SEGMENT_HEADER);
    struct scan_options options = {.salt = SALT,
                                   .base_seq = (data[0] & 4) != 0 ? 0 : BASE,
                                   .file_bytes = n,
                                   .durable_seq = data[1],
                                   .sealed = (data[0] & 2) != 0,
                                   .search_bytes = (data[0] & 8) != 0 ? 4096 : 0};
    struct outcome a = scan_all(file, n, &options, 0),
                   b = scan_all(file, n, &options, (size_t) data[2] * 64);
    ASSERT(a.hash == b.hash && a.next_seq == b.next_seq && a.data_end == b.data_end &&
           a.lost == b.lost);
    free(file);
    return 0;
}
