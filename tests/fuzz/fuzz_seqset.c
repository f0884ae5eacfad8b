/*
 * fuzz_seqset.c - the sequence set: decoding of anything, and changes against a map of 256
 * sequences.
 *
 * Input: the first byte chooses. Even: the rest is decoded. Odd: each three bytes are a change (add
 * or remove by the lowest bit), its first and last sequence.
 */
#include "lib/base/assert.h"
#include "lib/base/seqset.h"
#include "tests/fuzz/fuzz.h"

static void check_decode(struct str in)
{
    struct seqset s = {0}, again = {0};
    struct buf out = {0};

    if (seqset_decode(&s, in)) {
        seqset_check(&s);
        seqset_encode(&s, &out);
        ASSERT(out.n <= in.n);
        ASSERT(seqset_decode(&again, buf_str(&out)));
        ASSERT(again.count == s.count && again.nranges == s.nranges);
    } else {
        ASSERT(s.count == 0 && s.nblocks == 0);
    }
    seqset_free(&s);
    seqset_free(&again);
    buf_free(&out);
}

static void check_changes(const uint8_t *data, size_t size)
{
    bool in[256] = {false};
    struct seqset s = {0};

    for (; size >= 3; data += 3, size -= 3) {
        bool add = data[0] & 1;
        uint8_t first = data[1] < data[2] ? data[1] : data[2];
        uint8_t last = data[1] < data[2] ? data[2] : data[1];
        uint64_t changed = 0, there = 0;
        for (unsigned k = first; k <= last; k++) {
            changed += in[k] != add;
            in[k] = add;
        }
        ASSERT((add ? seqset_add : seqset_remove)(&s, first, last) == changed);
        seqset_check(&s);
        for (unsigned k = 0; k < 256; k++) {
            there += in[k];
            ASSERT(seqset_has(&s, k) == in[k]);
        }
        ASSERT(s.count == there && seqset_count_in(&s, 0, 255) == there);
    }
    seqset_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 2 == 0)
        check_decode(str_from(data + 1, size - 1));
    else
        check_changes(data + 1, size - 1);
    return 0;
}
