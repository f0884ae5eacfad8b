/* test_publish.c - the pure parts of publishing: deadlines, texts of times to live, known headers.
 */
#include "lib/base/prng.h"
#include "server/js/deadlines.h"
#include "server/js/msg_ttl.h"
#include "server/js/publish_headers.h"
#include "tests/lib/runner.h"

#include <stdlib.h>

/* ---- deadlines ------------------------------------------------------------------------------- */

TEST(deadlines_come_out_in_order)
{
    struct deadlines d = {0};
    struct deadline before = {INT64_MIN, 0};
    struct prng prng;
    size_t n = 0;

    prng_init(&prng, 7);
    for (uint64_t seq = 1; seq <= 3000; seq++) {
        deadlines_add(&d, (int64_t) (prng_u64(&prng) % 500), seq);
        if (seq % 3 == 0)
            deadlines_pop(&d);
    }
    deadlines_check(&d);
    for (const struct deadline *first; (first = deadlines_first(&d)) != NULL; n++) {
        MUST(first->at > before.at || (first->at == before.at && first->seq > before.seq));
        before = *first;
        deadlines_pop(&d);
    }
    ck_assert_uint_eq(n, 2000);
    deadlines_deinit(&d);
}

static bool is_even(void *ctx, uint64_t seq)
{
    ++*(unsigned *) ctx;
    return seq % 2 == 0;
}

TEST(deadlines_of_what_has_gone_are_dropped)
{
    struct deadlines d = {0};
    unsigned asked = 0;

    for (uint64_t seq = 1; seq <= 1000; seq++)
        deadlines_add(&d, (int64_t) (seq * 7919 % 1000), seq);
    for (unsigned k = 0; k < 400; k++)
        deadlines_thin(&d, 5, is_even, &asked);
    deadlines_check(&d);
    ck_assert_uint_eq(asked, 2000);
    ck_assert_uint_eq(d.n, 500);
    deadlines_forget_above(&d, 100);
    deadlines_check(&d);
    ck_assert_uint_eq(d.n, 50);
    ck_assert_uint_le(d.cap, 2048);
    deadlines_clear(&d);
    ck_assert(deadlines_first(&d) == NULL);
    deadlines_thin(&d, 5, is_even, &asked);
}

/* ---- times to live --------------------------------------------------------------------------- */

static const struct {
    const char *text;
    bool ok;
    int64_t seconds;
} ttls[] = {
    {"", true, 0},
    {"1", true, 1},
    {"90", true, 90},
    {"never", true, -1},
    {"NeVeR", true, -1},
    {"1s", true, 1},
    {"1.9s", true, 1},
    {"1m30s", true, 90},
    {"2h", true, 7200},
    {"1000ms", true, 1},
    {"+5s", true, 5},
    {"00", true, 0},
    {"0", false, 0},
    {"-0", false, 0},
    {"0s", false, 0},
    {"999ms", false, 0},
    {"-5s", false, 0},
    {"-1", false, 0},
    {"+1", false, 0},
    {"1.5", false, 0},
    {"1 s", false, 0},
    {"one", false, 0},
    {"never!", false, 0},
    {"1d", false, 0},
    {" 1", false, 0},
    {"9223372036854775807", true, INT64_MAX},
    {"9223372036854775808", false, 0},
    {"99999999999999999999", false, 0},
};

TEST(texts_of_ttls)
{
    for (size_t k = 0; k < sizeof(ttls) / sizeof(ttls[0]); k++) {
        int64_t seconds = 77;
        bool ok = msg_ttl_parse(str_of(ttls[k].text), &seconds);
        ck_assert_msg(ok == ttls[k].ok, "%s", ttls[k].text);
        ck_assert_msg(!ok || seconds == ttls[k].seconds, "%s", ttls[k].text);
    }
    ck_assert_int_eq(msg_ttl_due(5, 2), 2000000005);
    ck_assert(msg_ttl_due(5, INT64_MAX) == INT64_MAX);
    ck_assert(msg_ttl_due(INT64_MAX - 1, 1) == INT64_MAX);
}

/* ---- headers --------------------------------------------------------------------------------- */

static struct str found(const char *block, enum publish_header which)
{
    struct publish_headers h;

    publish_headers_find(str_of(block), &h);
    return h.of[which];
}

TEST(known_headers)
{
    static const char block[] = "NATS/1.0\r\nX: 1\r\nNats-Msg-Id:  a b \r\nNats-TTL:\r\n"
                                "Nats-Schedule: @at x\r\nNats-Schedule-TTL: 5\r\nnats-incr: 1\r\n"
                                "Nats-Msg-Id: second\r\nNats-Unknown: y\r\n\r\n";
    struct publish_headers h;

    ck_assert(publish_headers_find(STR(block), &h));
    ck_assert(str_eq(h.of[HEADER_MSG_ID], STR("a b ")));
    ck_assert(h.of[HEADER_TTL].p != NULL && h.of[HEADER_TTL].n == 0);
    ck_assert(str_eq(found(block, HEADER_SCHEDULE), STR("@at x")));
    ck_assert(str_eq(found(block, HEADER_SCHEDULE_TTL), STR("5")));
    ck_assert(h.of[HEADER_SCHEDULER].p == NULL);
    ck_assert(h.of[HEADER_INCR].p == NULL);
    ck_assert(!publish_headers_find(STR("NATS/1.0\r\nFoo: Nats-TTL: 1\r\n\r\n"), &h));
    ck_assert(!publish_headers_find(STR_NONE, &h));
    publish_headers_find(STR("\nNats-TTL: 1"), &h);
    ck_assert(h.of[HEADER_TTL].p == NULL);
}

static const struct runner_case cases[] = {
    RUN(deadlines_come_out_in_order),
    RUN(deadlines_of_what_has_gone_are_dropped),
    RUN(texts_of_ttls),
    RUN(known_headers),
};

RUNNER_MAIN("publish", cases)
