/*
 * fuzz_ack_subject.c - what is read as an ack subject, written again, reads the same; and a plain
 * reader agrees on what is one.
 */
#include "lib/base/assert.h"
#include "lib/base/buf.h"
#include "lib/wire/ack_subject.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

/* One by one and without tricks: is the token a number that fits? */
static bool plain_number(struct str token, uint64_t most)
{
    uint64_t v = 0;
    if (token.n == 0 || token.n > FMT_U64_MAX)
        return false;
    for (size_t i = 0; i < token.n; i++) {
        if (token.p[i] < '0' || token.p[i] > '9')
            return false;
        uint64_t digit = (uint64_t) (token.p[i] - '0');
        if (v > (most - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    return true;
}

static bool plain_is_ack(struct str subject)
{
    struct str tokens[11], rest = subject;
    unsigned count = 0;
    while (rest.p != NULL && count < 11)
        tokens[count++] = str_cut(rest, '.', &rest);
    bool more = rest.p != NULL;
    if (count != 9 && count != 11)
        return false;
    if (!str_eq(tokens[0], STR("$JS")) || !str_eq(tokens[1], STR("ACK")) || (count == 9 && more))
        return false;
    unsigned first = count - 5; /* of the numbers */
    for (unsigned i = 2; i < first; i++) {
        if (tokens[i].n == 0)
            return false;
    }
    for (unsigned i = 0; i < 5; i++) {
        if (!plain_number(tokens[first + i], i == 3 ? INT64_MAX : UINT64_MAX))
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str subject = str_from(data, size);
    struct ack_subject got, again;
    bool is = ack_subject_parse(subject, &got);
    ASSERT(is == (size != 0 && plain_is_ack(subject)));
    if (!is)
        return 0;
    bool v2 = got.account_hash.n != 0;
    size_t prefix_n = v2 ? ack_prefix_v2_len(got.domain.n, got.account_hash.n, got.stream.n,
                                             got.consumer.n)
                         : ack_prefix_len(got.stream.n, got.consumer.n);
    struct buf out = {0};
    char *p = buf_reserve(&out, prefix_n + ACK_NUMBERS_MAX);
    size_t n = v2 ? ack_prefix_v2_write(p, &got) : ack_prefix_write(p, got.stream, got.consumer);
    ASSERT(n == prefix_n);
    n = ack_subject_write(p, str_from(p, prefix_n), &got.info);
    ASSERT(ack_subject_parse(str_from(p, n), &again));
    ASSERT(str_eq(again.domain, got.domain) && str_eq(again.account_hash, got.account_hash));
    ASSERT(str_eq(again.stream, got.stream) && str_eq(again.consumer, got.consumer));
    ASSERT(memcmp(&again.info, &got.info, sizeof(got.info)) == 0);
    buf_free(&out);
    return 0;
}
