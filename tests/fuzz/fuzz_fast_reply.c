/* fuzz_fast_reply.c - what is read of a fast batch's reply subject keeps its promises. Input: a
 * reply subject. */
#include "lib/base/assert.h"
#include "server/js/fast_reply.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str reply = str_from(data, size);
    struct fast_reply f;

    if (!fast_reply_is(reply) || !fast_reply_parse(reply, &f))
        return 0;
    ASSERT(f.seq > 0 && f.seq < UINT64_MAX && f.flow > 0);
    ASSERT(f.id.p > reply.p && f.id.p + f.id.n < reply.p + reply.n);
    ASSERT(!f.eob || (f.commit && f.seq > 1));
    ASSERT(!(f.ping && f.commit));
    return 0;
}
