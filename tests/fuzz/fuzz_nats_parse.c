/*
 * fuzz_nats_parse.c - the input parsed whole and parsed in pieces must give the same operations.
 *
 * Byte 0: role (bits 0 and 3), headers allowed (bit 1), connect only (bit 2). Byte 1: seed of the
 * cuts. The rest is the input. Whole input takes the fast path where there is one; single bytes
 * never do.
 */
#include "lib/base/assert.h"
#include "lib/base/prng.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/wire/transcript.h"

static void start(struct transcript *t, uint8_t mode)
{
    struct nats_limits limits = {.max_control_line = 128, .max_payload = 40000};
    enum nats_role role = (mode & 8) != 0   ? NATS_ROLE_LEAF
                          : (mode & 1) != 0 ? NATS_ROLE_CLIENT
                                            : NATS_ROLE_SERVER;
    transcript_init(t, role, limits);
    t->parser.headers = (mode & 2) != 0;
    t->parser.connect_only = (mode & 4) != 0;
}

static void finish(struct transcript *t, struct buf *want)
{
    transcript_end(t);
    ASSERT(str_eq(buf_str(&t->text), buf_str(want)));
    transcript_deinit(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *bytes = (const char *) data + 2;
    size_t n = size - 2;
    struct transcript whole, pieces;
    struct prng prng;

    start(&whole, data[0]);
    transcript_feed(&whole, bytes, n);
    transcript_end(&whole);

    start(&pieces, data[0]);
    prng_init(&prng, data[1]);
    uint64_t most = UINT64_C(1) << prng_below(&prng, 9);
    for (size_t at = 0; at < n;) {
        size_t piece = (size_t) prng_below(&prng, most) + 1;
        piece = piece > n - at ? n - at : piece;
        transcript_feed(&pieces, bytes + at, piece);
        at += piece;
    }
    finish(&pieces, &whole.text);

    start(&pieces, data[0]);
    for (size_t at = 0; at < n && at < 4096; at++)
        transcript_feed(&pieces, bytes + at, 1);
    if (n > 4096)
        transcript_feed(&pieces, bytes + 4096, n - 4096);
    finish(&pieces, &whole.text);
    transcript_deinit(&whole);
    return 0;
}
