/*
 * fuzz_stream_record.c - a stream's object in the commit log from any bytes: an error, or a sound
 * record that encodes to what decodes the same; then any bytes as its deltas.
 *
 * Input: two bytes with the length of the full record (0: a small one of ours), the record; the
 * rest are deltas, each behind a byte with its length.
 */
#include "lib/base/assert.h"
#include "store/stream_record.h"
#include "tests/fuzz/fuzz.h"

static void check_round(const struct stream_record *r)
{
    struct stream_record again = {0};
    struct buf first = {0}, second = {0};

    stream_record_encode(r, &first);
    ASSERT(stream_record_decode(&again, buf_str(&first)) == ERR_OK);
    stream_record_check(&again);
    stream_record_encode(&again, &second);
    ASSERT(str_eq(buf_str(&first), buf_str(&second)));
    stream_record_deinit(&again);
    buf_free(&first);
    buf_free(&second);
}

static void make_one(struct stream_record *r)
{
    r->first_seq = 5;
    r->last_seq = 100;
    r->next_segment = 1;
    stream_record_add_segment(r, 1, 1);
    stream_record_remove(r, 7, 9);
    stream_record_check(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stream_record r = {0};
    struct str in = str_from(data, size);
    size_t n;

    if (size < 2)
        return 0;
    n = (size_t) data[0] | (size_t) data[1] << 8;
    in = str_skip(in, 2);
    if (n == 0) {
        make_one(&r);
    } else if (stream_record_decode(&r, str_take(in, n)) != ERR_OK) {
        stream_record_deinit(&r);
        return 0;
    }
    stream_record_check(&r);
    check_round(&r);
    for (in = str_skip(in, n < in.n ? n : in.n); in.n > 0;) {
        n = (uint8_t) in.p[0];
        in = str_skip(in, 1);
        stream_record_apply(&r, str_take(in, n));
        stream_record_check(&r);
        in = str_skip(in, n < in.n ? n : in.n);
    }
    check_round(&r);
    stream_record_deinit(&r);
    return 0;
}
