/*
 * fuzz_text.c - the small readers of text: numbers, times, durations, base64, varints. What is read
 * and printed again must be read as the same.
 */
#include "lib/base/assert.h"
#include "lib/base/base64.h"
#include "lib/base/fmt.h"
#include "lib/base/varint.h"
#include "tests/fuzz/fuzz.h"

static void check_numbers(struct str s)
{
    char out[FMT_TIME_MAX];
    uint64_t u, again_u;
    int64_t v, again;

    if (str_to_u64(s, &u))
        ASSERT(str_to_u64(str_from(out, fmt_u64(out, u)), &again_u) && again_u == u);
    if (str_to_i64(s, &v))
        ASSERT(str_to_i64(str_from(out, fmt_i64(out, v)), &again) && again == v);
    if (fmt_parse_rfc3339(s, &v))
        ASSERT(fmt_parse_rfc3339(str_from(out, fmt_time_rfc3339(out, v)), &again) && again == v);
    if (fmt_parse_go_duration(s, &v))
        ASSERT(fmt_parse_go_duration(str_from(out, fmt_go_duration(out, v)), &again) && again == v);
}

static void check_base64(struct str s)
{
    struct buf plain = {0}, text = {0}, again = {0};

    if (base64_decode(&plain, s)) {
        base64_encode(&text, buf_str(&plain));
        ASSERT(base64_decode(&again, buf_str(&text)));
        ASSERT(str_eq(buf_str(&plain), buf_str(&again)));
    } else {
        ASSERT(plain.n == 0);
    }
    buf_clear(&text);
    buf_clear(&again);
    base64url_encode(&text, s);
    ASSERT(base64_decode(&again, buf_str(&text)) && str_eq(s, buf_str(&again)));
    buf_free(&plain);
    buf_free(&text);
    buf_free(&again);
}

static void check_varint(struct str s)
{
    struct str in = s;
    uint8_t out[VARINT_MAX];
    uint64_t v, again;

    if (!varint_take(&in, &v)) {
        ASSERT(in.p == s.p && in.n == s.n);
        return;
    }
    struct str back = str_from(out, varint_put(out, v));
    ASSERT(in.n < s.n && s.n - in.n >= back.n);
    ASSERT(varint_take(&back, &again) && again == v && back.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_from(data, size);

    check_numbers(s);
    check_base64(s);
    check_varint(s);
    return 0;
}
