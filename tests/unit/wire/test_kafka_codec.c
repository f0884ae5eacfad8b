/* test_kafka_codec.c - every version of every message, both ways; what must be refused; bytes as
 * they are on the wire. */
#include "lib/base/mem.h"
#include "lib/wire/kafka_bytes.h"
#include "lib/wire/kafka_codec.h"
#include "tests/lib/runner.h"
#include "tests/unit/wire/guard.h"
#include "tests/unit/wire/kafka_samples.h"

#include <string.h>

static const int keys[] = {
#define API(NAME, key, name, first, last, flexible) key,
#include "lib/wire/kafka_apis.def"
#undef API
};
#define APIS ((int) (sizeof(keys) / sizeof(keys[0])))

#define ROUNDS 20

static const struct kafka_struct *message(const struct kafka_api *api, bool response)
{
    return response ? api->response() : api->request();
}

static void *decode(const struct kafka_struct *s, const struct kafka_api *api, int version,
                    struct str *in, struct kafka_arena *arena)
{
    return kafka_decode(s, version, kafka_is_flexible(api, version), in, arena);
}

static void there_and_back(const struct kafka_api *api, bool response, int version,
                           struct prng *prng)
{
    const struct kafka_struct *s = message(api, response);
    struct kafka_arena arena = {0};
    struct buf bytes = {0}, again = {0};
    void *before = kafka_sample(s, version, &arena, prng), *after;
    struct str in;

    kafka_encode(s, version, kafka_is_flexible(api, version), before, &bytes, NULL);
    in = buf_str(&bytes);
    after = decode(s, api, version, &in, &arena);
    MUST(after != NULL);
    MUST(in.n == 0);
    MUST(kafka_same(s, version, before, after));
    kafka_encode(s, version, kafka_is_flexible(api, version), after, &again, NULL);
    MUST(str_eq(buf_str(&bytes), buf_str(&again)));
    buf_free(&bytes);
    buf_free(&again);
    kafka_arena_free(&arena);
}

TEST(what_is_written_is_read)
{
    const struct kafka_api *api = kafka_api_of(keys[i]);
    struct prng prng;
    int count = 0;

    prng_init(&prng, (uint64_t) i);
    for (int version = api->first; version <= api->last; version++)
        for (int round = 0; round < ROUNDS; round++, count++) {
            there_and_back(api, false, version, &prng);
            there_and_back(api, true, version, &prng);
        }
    ck_assert_int_gt(count, 0);
}

/* Messages without arrays may end early by luck in no case: every field takes a byte at least. */
static void cut_short(const struct kafka_api *api, bool response, int version, struct prng *prng)
{
    const struct kafka_struct *s = message(api, response);
    struct kafka_arena arena = {0};
    struct buf bytes = {0};
    struct guard g;
    void *before = kafka_sample(s, version, &arena, prng);

    kafka_encode(s, version, kafka_is_flexible(api, version), before, &bytes, NULL);
    guard_init(&g, bytes.n);
    for (size_t n = 0; n < bytes.n; n++) {
        struct str in = str_from(g.end - n, n);
        memcpy(g.end - n, bytes.p, n);
        MUST(decode(s, api, version, &in, &arena) == NULL);
        MUST(in.n == n);
    }
    guard_deinit(&g);
    buf_free(&bytes);
    kafka_arena_free(&arena);
}

TEST(what_is_cut_is_refused)
{
    const struct kafka_api *api = kafka_api_of(keys[i]);
    struct prng prng;

    prng_init(&prng, (uint64_t) i + 1000);
    for (int version = api->first; version <= api->last; version++) {
        cut_short(api, false, version, &prng);
        cut_short(api, true, version, &prng);
    }
    ck_assert_int_eq(prng_below(&prng, 1), 0);
}

static void damage(const struct kafka_api *api, int version, struct prng *prng)
{
    const struct kafka_struct *s = api->request();
    struct kafka_arena arena = {0};
    struct buf bytes = {0};
    struct guard g;

    kafka_encode(s, version, kafka_is_flexible(api, version),
                 kafka_sample(s, version, &arena, prng), &bytes, NULL);
    guard_init(&g, bytes.n);
    for (unsigned k = 0; k < 200 && bytes.n > 0; k++) {
        struct kafka_arena out = {0};
        struct str in = str_from(g.end - bytes.n, bytes.n);
        memcpy(g.end - bytes.n, bytes.p, bytes.n);
        g.end[-1 - (int) prng_below(prng, (uint32_t) bytes.n)] ^= (char) (1u
                                                                          << prng_below(prng, 8));
        decode(s, api, version, &in, &out);
        MUST(out.used <= bytes.n * KAFKA_ARENA_FACTOR + KAFKA_ARENA_LEAST);
        kafka_arena_free(&out);
    }
    guard_deinit(&g);
    buf_free(&bytes);
    kafka_arena_free(&arena);
}

TEST(damage_stays_inside)
{
    const struct kafka_api *api = kafka_api_of(keys[i]);
    struct prng prng;

    prng_init(&prng, (uint64_t) i + 2000);
    for (int version = api->first; version <= api->last; version++)
        damage(api, version, &prng);
    ck_assert_int_eq(prng_below(&prng, 1), 0);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

struct reject {
    const char *why;
    int key, version;
    struct str bytes;
};

#define BYTES(literal) STR_LIT(literal)

static const struct reject rejects[] = {
    {"a count beyond the end", KAFKA_METADATA, 1, BYTES("\x7f\xff\xff\xff")},
    {"a count that the bytes can not hold", KAFKA_METADATA, 1, BYTES("\0\0\0\2\0\0\0")},
    {"a count of -2", KAFKA_METADATA, 1, BYTES("\xff\xff\xff\xfe")},
    {"null where none may be", KAFKA_METADATA, 0, BYTES("\xff\xff\xff\xff")},
    {"null string where none may be", KAFKA_METADATA, 1, BYTES("\0\0\0\1\xff\xff")},
    {"string of length -2", KAFKA_METADATA, 1, BYTES("\0\0\0\1\xff\xfe")},
    {"string beyond the end", KAFKA_METADATA, 1, BYTES("\0\0\0\1\0\4abc")},
    {"compact null where none may be", KAFKA_API_VERSIONS, 3, BYTES("\0\2v\0")},
    {"varint of 33 bits", KAFKA_API_VERSIONS, 3, BYTES("\xff\xff\xff\xff\x1f")},
    {"varint of six bytes", KAFKA_API_VERSIONS, 3, BYTES("\x80\x80\x80\x80\x80\x00")},
    {"tags beyond the end", KAFKA_API_VERSIONS, 3, BYTES("\2n\2v\1\0\5")},
    {"tags that do not ascend", KAFKA_API_VERSIONS, 3, BYTES("\2n\2v\2\5\0\5\0")},
    {"a thousand million tags", KAFKA_API_VERSIONS, 3, BYTES("\2n\2v\xff\xff\xff\xff\x03")},
    /* cluster_id, tag 0 of Fetch v12: three bytes of which its value takes two */
    {"a tag that its value does not fill", KAFKA_FETCH, 12,
     BYTES("\xff\xff\xff\xff\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0\0\0\1\1\1\1\0\3\2xy")},
    {"a tag that its value exceeds", KAFKA_FETCH, 12,
     BYTES("\xff\xff\xff\xff\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0\0\0\1\1\1\1\0\1\2x")},
};

TEST(rejects)
{
    const struct reject *r = &rejects[i];
    const struct kafka_api *api = kafka_api_of(r->key);
    struct kafka_arena arena = {0};
    struct str in = r->bytes;

    ck_assert_msg(decode(api->request(), api, r->version, &in, &arena) == NULL, "%s", r->why);
    kafka_arena_free(&arena);
}

TEST(unknown_tags_are_skipped)
{
    const struct kafka_api *api = kafka_api_of(KAFKA_API_VERSIONS);
    struct kafka_arena arena = {0};
    struct str in = STR("\2n\2v\2\7\3abc\x80\1\0rest");
    const struct kafka_api_versions_request *q = decode(api->request(), api, 3, &in, &arena);

    ck_assert_ptr_nonnull(q);
    ck_assert(str_eq(q->client_software_name, STR("n")));
    ck_assert(str_eq(q->client_software_version, STR("v")));
    ck_assert(str_eq(in, STR("rest")));
    kafka_arena_free(&arena);
}

TEST(a_known_tag_is_read)
{
    const struct kafka_api *api = kafka_api_of(KAFKA_FETCH);
    struct kafka_arena arena = {0};
    struct str in =
        STR("\xff\xff\xff\xff\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0\0\0\1\1\1\1\0\3\3xy");
    const struct kafka_fetch_request *q = decode(api->request(), api, 12, &in, &arena);

    ck_assert_ptr_nonnull(q);
    ck_assert_int_eq(q->replica_id, -1);
    ck_assert_int_eq(q->min_bytes, 1);
    ck_assert(str_eq(q->cluster_id, STR("xy")));
    ck_assert_uint_eq(in.n, 0);
    kafka_arena_free(&arena);
}

TEST(headers)
{
    struct kafka_header h;
    struct str classic = STR("\0\3\0\4\0\0\0\7\0\2iddata"), none = STR("\0\3\0\0\0\0\0\7\xff\xff");
    struct str flexible = STR("\0\x12\0\3\1\2\3\4\0\2id\1\0\1xdata");
    struct str unknown = STR("\0\x7f\0\1\0\0\0\7\0\2id\0"), cut = STR("\0\3\0\4\0\0\0\7\0\3id");

    ck_assert(kafka_take_header(&classic, &h));
    ck_assert_int_eq(h.key, KAFKA_METADATA);
    ck_assert_int_eq(h.version, 4);
    ck_assert_int_eq(h.correlation, 7);
    ck_assert(str_eq(h.client_id, STR("id")));
    ck_assert(str_eq(classic, STR("data")));
    ck_assert(kafka_take_header(&none, &h));
    ck_assert_ptr_null(h.client_id.p);
    ck_assert(kafka_take_header(&flexible, &h));
    ck_assert_int_eq(h.correlation, 0x01020304);
    ck_assert(str_eq(flexible, STR("data")));
    ck_assert(kafka_take_header(&unknown, &h));
    ck_assert_uint_eq(unknown.n, 1);
    ck_assert(!kafka_take_header(&cut, &h));
    ck_assert_int_eq(h.key, KAFKA_METADATA);
}

TEST(response_headers)
{
    struct buf b = {0};

    kafka_put_response_header(&b, &(struct kafka_header){KAFKA_METADATA, 8, 1, STR_NONE});
    ck_assert(str_eq(buf_str(&b), STR("\0\0\0\1")));
    kafka_put_response_header(&b, &(struct kafka_header){KAFKA_METADATA, 9, 2, STR_NONE});
    ck_assert(str_eq(buf_str(&b), STR("\0\0\0\1\0\0\0\2\0")));
    buf_clear(&b);
    kafka_put_response_header(&b, &(struct kafka_header){KAFKA_API_VERSIONS, 3, 3, STR_NONE});
    ck_assert(str_eq(buf_str(&b), STR("\0\0\0\3")));
    buf_free(&b);
}

TEST(records_elsewhere_are_left_out)
{
    struct kafka_arena arena = {0};
    struct kafka_fetch_response *r = KAFKA_NEW(&arena, fetch_response, 1);
    struct buf there = {0}, whole = {0};
    struct kafka_cuts cuts = {0};
    int mark = 0;

    r->responses = KAFKA_NEW(&arena, fetch_response_responses, r->responses_n = 1);
    r->responses->partitions = KAFKA_NEW(&arena, fetch_response_partitions,
                                         r->responses->partitions_n = 2);
    r->responses->partitions[0].records = (struct kafka_records){.n = 3, .elsewhere = &mark};
    r->responses->partitions[1].records = (struct kafka_records){.p = (const uint8_t *) "xyz",
                                                                 .n = 3};
    kafka_encode(kafka_struct_fetch_response(), 12, true, r, &there, &cuts);
    r->responses->partitions[0].records = (struct kafka_records){.p = (const uint8_t *) "abc",
                                                                 .n = 3};
    kafka_encode(kafka_struct_fetch_response(), 12, true, r, &whole, NULL);
    ck_assert_uint_eq(cuts.n, 1);
    ck_assert_uint_eq(cuts.bytes, 3);
    ck_assert_uint_eq(there.n + 3, whole.n);
    ck_assert_mem_eq(there.p, whole.p, cuts.cuts[0].at);
    ck_assert_mem_eq(whole.p + cuts.cuts[0].at, "abc", 3);
    ck_assert_mem_eq(there.p + cuts.cuts[0].at, whole.p + cuts.cuts[0].at + 3,
                     there.n - cuts.cuts[0].at);
    mem_free(cuts.cuts);
    buf_free(&there);
    buf_free(&whole);
    kafka_arena_free(&arena);
}

TEST(defaults)
{
    struct kafka_arena arena = {0};
    const struct kafka_fetch_response *r = KAFKA_NEW(&arena, fetch_response, 1);
    const struct kafka_join_group_request *j = KAFKA_NEW(&arena, join_group_request, 1);
    const struct kafka_metadata_request *m = KAFKA_NEW(&arena, metadata_request, 1);

    ck_assert_int_eq(r->session_id, 0);
    ck_assert_int_eq(j->rebalance_timeout_ms, -1);
    ck_assert_ptr_null(j->group_instance_id.p);
    ck_assert_ptr_nonnull(j->member_id.p);
    ck_assert(m->allow_auto_topic_creation);
    kafka_arena_free(&arena);
}

static void check_tags(const struct kafka_struct *s)
{
    int last = -1;

    for (unsigned k = 0; k < s->n; k++) {
        if (s->fields[k].tag != KAFKA_UNTAGGED) {
            ck_assert_int_gt(s->fields[k].tag, last);
            last = s->fields[k].tag;
        }
        if (s->fields[k].of != NULL)
            check_tags(s->fields[k].of());
    }
}

/* Tags are written in the order of the tables. */
TEST(tags_ascend)
{
    check_tags(kafka_api_of(keys[i])->request());
    check_tags(kafka_api_of(keys[i])->response());
    ck_assert_ptr_null(kafka_api_of(-1));
    ck_assert_ptr_null(kafka_api_of(KAFKA_KEYS));
    ck_assert_ptr_null(kafka_api_of(4));
}

static const struct runner_case cases[] = {
    RUN_LOOP(what_is_written_is_read, 0, APIS),
    RUN_LOOP(what_is_cut_is_refused, 0, APIS),
    RUN_LOOP(damage_stays_inside, 0, APIS),
    RUN_LOOP(rejects, 0, (int) (sizeof(rejects) / sizeof(rejects[0]))),
    RUN(unknown_tags_are_skipped),
    RUN(a_known_tag_is_read),
    RUN(headers),
    RUN(response_headers),
    RUN(records_elsewhere_are_left_out),
    RUN(defaults),
    RUN_LOOP(tags_ascend, 0, APIS),
};

RUNNER_MAIN("wire/kafka_codec", cases)
