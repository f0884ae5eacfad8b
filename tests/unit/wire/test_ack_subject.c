/* Both forms of ack subjects, written and read; what is refused; memory that ends at the subject.
 */
#include "lib/base/prng.h"
#include "lib/wire/ack_subject.h"
#include "tests/lib/runner.h"
#include "tests/unit/wire/guard.h"

#include <inttypes.h>
#include <stdio.h>

static void expect(struct str got, const char *want)
{
    ck_assert_msg(str_eq(got, str_of(want)), "\"%.*s\", wanted \"%s\"", STR_ARG(got), want);
}

TEST(writes_both_forms)
{
    char out[256];
    struct ack_info info = {1, 22, 333, 1763700000123456789, 0};
    size_t n = ack_prefix_write(out, STR("ORDERS"), STR("w"));
    expect(str_from(out, n), "$JS.ACK.ORDERS.w.");
    ck_assert_uint_eq(n, ack_prefix_len(6, 1));
    n = ack_subject_write(out, str_from(out, n), &info);
    expect(str_from(out, n), "$JS.ACK.ORDERS.w.1.22.333.1763700000123456789.0");

    struct ack_subject names = {
        .account_hash = STR("12345678"), .stream = STR("S"), .consumer = STR("C")};
    char prefix[64];
    n = ack_prefix_v2_write(prefix, &names);
    expect(str_from(prefix, n), "$JS.ACK._.12345678.S.C.");
    ck_assert_uint_eq(n, ack_prefix_v2_len(0, 8, 1, 1));
    n = ack_subject_write(out, str_from(prefix, n), &info);
    expect(str_from(out, n), "$JS.ACK._.12345678.S.C.1.22.333.1763700000123456789.0");
    names.domain = STR("hub");
    n = ack_prefix_v2_write(prefix, &names);
    expect(str_from(prefix, n), "$JS.ACK.hub.12345678.S.C.");
    ck_assert_uint_eq(n, ack_prefix_v2_len(3, 8, 1, 1));
}

struct row {
    const char *subject;
    const char *domain, *hash, *stream, *consumer;
    uint64_t numbers[5];
};

#define MAX "18446744073709551615"

static const struct row rows[] = {
    {"$JS.ACK.a.b.1.2.3.4.5", "", "", "a", "b", {1, 2, 3, 4, 5}},
    {"$JS.ACK.ORDERS.worker.1.1234567.89.1763700000123456789.54321",
     "",
     "",
     "ORDERS",
     "worker",
     {1, 1234567, 89, 1763700000123456789, 54321}},
    {"$JS.ACK.1.2.3.4.5.6.7", "", "", "1", "2", {3, 4, 5, 6, 7}},
    {"$JS.ACK.a.b." MAX "." MAX "." MAX ".9223372036854775807." MAX,
     "",
     "",
     "a",
     "b",
     {UINT64_MAX, UINT64_MAX, UINT64_MAX, INT64_MAX, UINT64_MAX}},
    {"$JS.ACK.a.b.001.2.3.4.00000000000000000005", "", "", "a", "b", {1, 2, 3, 4, 5}},
    {"$JS.ACK._.hash.a.b.1.2.3.4.5", "", "hash", "a", "b", {1, 2, 3, 4, 5}},
    {"$JS.ACK.hub.hash.a.b.1.2.3.4.5", "hub", "hash", "a", "b", {1, 2, 3, 4, 5}},
    {"$JS.ACK.hub.hash.a.b.1.2.3.4.5.x", "hub", "hash", "a", "b", {1, 2, 3, 4, 5}},
    {"$JS.ACK.hub.hash.a.b.1.2.3.4.5.x.y.z", "hub", "hash", "a", "b", {1, 2, 3, 4, 5}},
    {"$JS.ACK.1.2.3.4.5.6.7.8.9", "1", "2", "3", "4", {5, 6, 7, 8, 9}},
};

static const char *const rejects[] = {
    "",
    "$JS.ACK.",
    "$JS.ACK.a.b.1.2.3.4",
    "$JS.ACK.a.b.1.2.3.4.",
    "$JS.ACK.a.b.1.2.3.4.5.",
    "$JS.ACK.a.b.1.2.3.4.5.6",
    "$JS.ACK.h.a.b.1.2.3.4.5",
    "$JS.ACX.a.b.1.2.3.4.5",
    "$js.ack.a.b.1.2.3.4.5",
    "$JS.ACK.a.b..2.3.4.5",
    "$JS.ACK..b.1.2.3.4.55",
    "$JS.ACK.a..1.2.3.4.55",
    "$JS.ACK.a.b.x.2.3.4.5",
    "$JS.ACK.a.b.1.x.3.4.5",
    "$JS.ACK.a.b.1.2.x.4.5",
    "$JS.ACK.a.b.1.2.3.x.5",
    "$JS.ACK.a.b.1.2.3.4.x",
    "$JS.ACK.a.b.-1.2.3.4.5",
    "$JS.ACK.a.b.1.+2.3.4.5",
    "$JS.ACK.a.b.1.2.3.4.18446744073709551616",
    "$JS.ACK.a.b.1.2.3.4.000000000000000000005",
    "$JS.ACK.a.b.1.2.3.9223372036854775808.5",
    "$JS.ACK..h.a.b.1.2.3.4.5",
    "$JS.ACK.d..a.b.1.2.3.4.5",
    "$JS.ACK.d.h..b.1.2.3.4.5",
    "$JS.ACK.d.h.a..1.2.3.4.5",
    "$JS.ACK.d.h.a.b.1.2.3.4.",
    "$JS.ACK.d.h.a.b.1.2.3.4.x.y",
    "xJS.ACK.a.b.1.2.3.4.5",
};

/* The subject ends where memory ends, and in the second round begins where it begins. */
static bool parse_at(struct guard *g, unsigned side, const char *subject, struct ack_subject *out)
{
    size_t n = strlen(subject);
    char *at = side == 0 ? g->end - n : g->start;
    memcpy(at, subject, n);
    return ack_subject_parse(str_from(at, n), out);
}

TEST(reads_both_forms)
{
    struct guard g;
    struct ack_subject got;
    guard_init(&g, 512);
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        for (unsigned side = 0; side < 2; side++) {
            ck_assert_msg(parse_at(&g, side, rows[r].subject, &got), "%s", rows[r].subject);
            expect(got.domain, rows[r].domain);
            expect(got.account_hash, rows[r].hash);
            expect(got.stream, rows[r].stream);
            expect(got.consumer, rows[r].consumer);
            ck_assert_uint_eq(got.info.delivered, rows[r].numbers[0]);
            ck_assert_uint_eq(got.info.stream_seq, rows[r].numbers[1]);
            ck_assert_uint_eq(got.info.consumer_seq, rows[r].numbers[2]);
            ck_assert_int_eq(got.info.time_ns, (int64_t) rows[r].numbers[3]);
            ck_assert_uint_eq(got.info.pending, rows[r].numbers[4]);
        }
    }
    guard_deinit(&g);
}

TEST(counts_the_tokens_of_a_tail)
{
    struct str s = STR("$JS.ACK.S.consumer.1.22.333.1700000000000000000.0");
    struct str v2 = STR("$JS.ACK._.hash.S.consumer.1.22.333.1700000000000000000.0.token");

    ck_assert_uint_eq(ack_tail_tokens(s, 19), ACK_TAIL_TOKENS);
    ck_assert_uint_eq(ack_tail_tokens(v2, 8), 10);
    ck_assert_uint_eq(ack_tail_tokens(STR("$JS.ACK.S.C.1"), 12), 0);
    for (size_t from = 8; from < v2.n; from++) {
        unsigned n = 1;
        for (size_t k = from; k < v2.n; k++)
            n += v2.p[k] == '.';
        ck_assert_uint_eq(ack_tail_tokens(v2, from), n);
    }
}

TEST(refuses_anything_else)
{
    struct guard g;
    struct ack_subject got;
    guard_init(&g, 512);
    for (size_t r = 0; r < sizeof(rejects) / sizeof(rejects[0]); r++) {
        for (unsigned side = 0; side < 2; side++)
            ck_assert_msg(!parse_at(&g, side, rejects[r], &got), "%s", rejects[r]);
    }
    guard_deinit(&g);
}

/* No prefix of v1 is an ack subject unless it only misses digits of the last number; no v2
 * likewise. */
TEST(prefixes)
{
    struct guard g;
    struct ack_subject got;
    guard_init(&g, 512);
    for (size_t r = 0; r < 2; r++) {
        char subject[128];
        snprintf(subject, sizeof(subject), "%s",
                 r == 0 ? rows[1].subject : "$JS.ACK.d.h.ORDERS.work.1.2.3.17.54321");
        size_t whole = strlen(subject), least = whole - 4;
        for (size_t n = whole; n-- > 0;) {
            subject[n] = '\0';
            ck_assert_msg(parse_at(&g, 0, subject, &got) == (n >= least), "%s", subject);
        }
    }
    guard_deinit(&g);
}

static uint64_t number(struct prng *prng)
{
    uint64_t v = prng_u64(prng);
    return v >> prng_below(prng, 64);
}

TEST(round_trips)
{
    struct prng prng;
    struct guard from, to;
    guard_init(&from, 1024);
    guard_init(&to, 1024);
    prng_init(&prng, (uint64_t) i);
    for (unsigned round = 0; round < 3000; round++) {
        char names[4][80];
        struct str s[4];
        for (unsigned k = 0; k < 4; k++) {
            size_t n = (size_t) prng_below(&prng, k < 2 ? 10 : 75) + 1;
            for (size_t c = 0; c < n; c++)
                names[k][c] = (char) ('a' + prng_below(&prng, 26));
            s[k] = str_from(names[k], n);
        }
        struct ack_subject names_of = {s[0], s[1], s[2], s[3], {0}}, got;
        if (prng_below(&prng, 4) == 0)
            names_of.domain = STR_NONE;
        bool v2 = prng_below(&prng, 2) == 0;
        struct ack_info info = {number(&prng), number(&prng), number(&prng),
                                (int64_t) (number(&prng) >> 1), number(&prng)};
        size_t prefix_n = v2 ? ack_prefix_v2_len(names_of.domain.n, s[1].n, s[2].n, s[3].n)
                             : ack_prefix_len(s[2].n, s[3].n);
        char *prefix = from.end - prefix_n;
        ck_assert_uint_eq(v2 ? ack_prefix_v2_write(prefix, &names_of)
                             : ack_prefix_write(prefix, s[2], s[3]),
                          prefix_n);
        char *out = to.end - prefix_n - ACK_NUMBERS_MAX;
        size_t n = ack_subject_write(out, str_from(prefix, prefix_n), &info);
        char want[256];
        int want_n = snprintf(want, sizeof(want),
                              "%.*s%" PRIu64 ".%" PRIu64 ".%" PRIu64 ".%" PRIi64 ".%" PRIu64,
                              (int) prefix_n, prefix, info.delivered, info.stream_seq,
                              info.consumer_seq, info.time_ns, info.pending);
        ck_assert_uint_eq(n, (size_t) want_n);
        ck_assert(memcmp(out, want, n) == 0);
        memmove(to.end - n, out, n);
        ck_assert(ack_subject_parse(str_from(to.end - n, n), &got));
        ck_assert(str_eq(got.stream, s[2]) && str_eq(got.consumer, s[3]));
        ck_assert(str_eq(got.domain, v2 ? names_of.domain : STR_NONE));
        ck_assert(str_eq(got.account_hash, v2 ? s[1] : STR_NONE));
        ck_assert(memcmp(&got.info, &info, sizeof(info)) == 0);
    }
    guard_deinit(&from);
    guard_deinit(&to);
}

static const struct runner_case cases[] = {
    RUN(writes_both_forms),     RUN(reads_both_forms), RUN(counts_the_tokens_of_a_tail),
    RUN(refuses_anything_else), RUN(prefixes),         RUN_LOOP(round_trips, 0, 10),
};

RUNNER_MAIN("wire/ack_subject", cases)
