/* test_txn_record.c - a transaction as a message and back; every cut of it is refused. */
#include "server/kafka/txn_record.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <string.h>

static void fill(struct txn *t)
{
    struct committed_offset o = {.topic = STR("in"), .partition = 3, .offset = 77, .epoch = 1};

    *t = (struct txn){.id = STR("my id"),
                      .state = TXN_ONGOING,
                      .producer = INT64_C(1) << 60,
                      .epoch = 7,
                      .previous = -1,
                      .timeout_ms = 60000,
                      .started_ms = 5,
                      .changed_ms = 6};
    memset(&o.topic_id, 3, sizeof(o.topic_id));
    o.metadata = STR("text");
    txn_add_part(t, STR("a.topic"), 0, 1);
    txn_add_part(t, STR("b"), 1023, UINT64_C(1) << 40);
    txn_put_offset(t, STR("group"), &o);
    o.partition = 4;
    o.metadata = STR("");
    txn_put_offset(t, STR("group"), &o);
    o.offset = 78;
    txn_put_offset(t, STR("group"), &o); /* in the place of the one before */
}

TEST(there_and_back)
{
    struct buf subject = {0}, payload = {0}, names = {0};
    struct txn t, back;

    fill(&t);
    txn_put_subject(&subject, t.id);
    ck_assert(str_eq(buf_str(&subject), STR("$KAFKA.TXN.my=20id")));
    txn_render(&t, &payload);
    ck_assert(txn_parse(buf_str(&subject), buf_str(&payload), &names, 1, &back));
    ck_assert(str_eq(back.id, t.id));
    ck_assert(back.state == t.state && back.producer == t.producer && back.epoch == t.epoch);
    ck_assert(back.timeout_ms == t.timeout_ms && back.started_ms == t.started_ms);
    ck_assert_uint_eq(back.nparts, 2);
    ck_assert(txn_has_part(&back, STR("a.topic"), 0) && txn_has_part(&back, STR("b"), 1023));
    ck_assert(!txn_has_part(&back, STR("b"), 0));
    ck_assert_uint_eq(back.parts[0].from, 1);
    ck_assert_uint_eq(back.parts[1].from, UINT64_C(1) << 40);
    ck_assert_uint_eq(back.noffsets, 2);
    ck_assert(str_eq(back.offsets[0].group, STR("group")));
    ck_assert(str_eq(back.offsets[0].o.metadata, STR("text")));
    ck_assert_int_eq(back.offsets[1].o.offset, 78);
    ck_assert_mem_eq(&back.offsets[1].o.topic_id, &t.offsets[1].o.topic_id, 16);
    txn_clear(&back);
    /* One that is over has nothing. */
    payload.n = 0;
    t.state = i == 0 ? TXN_COMPLETE_COMMIT : TXN_COMPLETE_ABORT;
    txn_render(&t, &payload);
    ck_assert(txn_parse(buf_str(&subject), buf_str(&payload), &names, 1, &back));
    ck_assert_uint_eq(back.nparts + back.noffsets, 0);
    txn_clear(&t);
    buf_free(&subject);
    buf_free(&payload);
    buf_free(&names);
}

/* With the producer before, whose epochs ran out; without one earlier programs can read it. */
TEST(version_3)
{
    struct buf subject = {0}, payload = {0}, names = {0};
    struct txn t, back;

    fill(&t);
    txn_put_subject(&subject, t.id);
    txn_render(&t, &payload);
    ck_assert_int_eq(payload.p[1], 2);
    ck_assert(txn_parse(buf_str(&subject), buf_str(&payload), &names, 1, &back));
    ck_assert_int_eq(back.previous, -1);
    txn_clear(&back);
    payload.n = 0;
    t.previous = 12;
    txn_render(&t, &payload);
    ck_assert_int_eq(payload.p[1], 3);
    ck_assert(txn_parse(buf_str(&subject), buf_str(&payload), &names, 1, &back));
    ck_assert_int_eq(back.previous, 12);
    ck_assert_uint_eq(back.nparts, 2);
    ck_assert_uint_eq(back.noffsets, 2);
    txn_clear(&back);
    for (size_t n = 0; n < payload.n; n++)
        ck_assert(!txn_parse(buf_str(&subject), str_from(payload.p, n), &names, 1, &back));
    txn_clear(&t);
    buf_free(&subject);
    buf_free(&payload);
    buf_free(&names);
}

/* As earlier programs wrote them: the partitions without their places. */
TEST(version_1)
{
    static const char bytes[] =
        "\0\1\0\1\0\0\0\0\0\0\0\7\0\2\0\0\0\x64\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\6"
        "\0\0\0\2\0\0\0\1a\0\0\0\0\0\0\0\1b\0\0\0\3\0\0\0\0";
    struct buf names = {0};
    struct txn t;

    ck_assert(txn_parse(STR("$KAFKA.TXN.x"), str_from(bytes, sizeof(bytes) - 1), &names, 1, &t));
    ck_assert(t.state == TXN_ONGOING && t.producer == 7 && t.epoch == 2 && t.timeout_ms == 100);
    ck_assert_uint_eq(t.nparts, 2);
    ck_assert(txn_has_part(&t, STR("a"), 0) && txn_has_part(&t, STR("b"), 3));
    ck_assert_uint_eq(t.parts[0].from + t.parts[1].from, 0);
    txn_clear(&t);
    buf_free(&names);
}

TEST(cut_or_wrong)
{
    struct buf payload = {0}, names = {0};
    struct txn t, back;
    struct str subject = STR("$KAFKA.TXN.x");

    fill(&t);
    txn_render(&t, &payload);
    for (size_t n = 0; n < payload.n; n++)
        ck_assert(!txn_parse(subject, str_take(buf_str(&payload), n), &names, 1, &back));
    ck_assert(!txn_parse(STR("$KAFKA.OFFSETS.x"), buf_str(&payload), &names, 1, &back));
    ck_assert(!txn_parse(STR("$KAFKA.TXN."), buf_str(&payload), &names, 1, &back));
    buf_putc(&payload, 'x');
    ck_assert(!txn_parse(subject, buf_str(&payload), &names, 1, &back));
    payload.n--;
    payload.p[1] = 3; /* version */
    ck_assert(!txn_parse(subject, buf_str(&payload), &names, 1, &back));
    payload.p[1] = 1; /* without places: too short */
    ck_assert(!txn_parse(subject, buf_str(&payload), &names, 1, &back));
    payload.p[1] = 2;
    payload.p[3] = TXN_STATES;
    ck_assert(!txn_parse(subject, buf_str(&payload), &names, 1, &back));
    txn_clear(&t);
    buf_free(&payload);
    buf_free(&names);
}

/* What an offset takes when it is committed is no more than is said, whatever its names are. */
TEST(cost_of_an_offset)
{
    static const char kinds[] = "a. >*=%\xff";
    char name[COMMITTED_GROUP_MAX];
    struct buf b[3] = {{0}};

    for (const char *k = kinds; *k != '\0'; k++)
        for (size_t n = 0; n <= sizeof(name); n += 64) {
            struct str group = str_from(memset(name, *k, sizeof(name)), n > 0 ? n : 1);
            struct committed_offset o = {.topic = str_from(name, n > 249 ? 249 : n),
                                         .partition = INT32_MAX,
                                         .metadata = str_from(name, n)};
            for (int j = 0; j < 3; j++)
                b[j].n = 0;
            committed_render(group, &o, &b[0], &b[1], &b[2]);
            ck_assert_uint_le(b[0].n + b[1].n + b[2].n + 32, txn_offset_cost(group, &o));
        }
    for (int j = 0; j < 3; j++)
        buf_free(&b[j]);
}

TEST(cost_of_all)
{
    struct txn t;
    size_t cost;

    fill(&t);
    cost = txn_offset_cost(t.offsets[0].group, &t.offsets[0].o) +
           txn_offset_cost(t.offsets[1].group, &t.offsets[1].o);
    ck_assert_uint_eq(t.offset_bytes, cost);
    txn_clear(&t);
    ck_assert_uint_eq(t.offset_bytes, 0);
}

/* As many as there may be, in the order in which they came; what comes again takes its place. */
TEST(very_many)
{
    struct committed_offset o = {.metadata = STR("")};
    struct buf subject = {0}, payload = {0}, names = {0};
    struct txn t = {.id = STR("x"), .state = TXN_ONGOING, .previous = -1, .seed = 3}, back;
    char topic[16];

    for (uint32_t k = 0; k < 2 * TXN_OFFSETS_MAX; k++) {
        uint32_t which = k % TXN_OFFSETS_MAX;
        snprintf(topic, sizeof(topic), "t%u", which / 7);
        o.topic = str_of(topic);
        o.partition = (int32_t) (which % 7);
        o.offset = k;
        txn_put_offset(&t, str_of(which % 2 == 0 ? "g" : "h"), &o);
        ck_assert(txn_has_part(&t, o.topic, o.partition) == (k >= TXN_OFFSETS_MAX));
        if (k < TXN_OFFSETS_MAX)
            txn_add_part(&t, o.topic, o.partition, which);
    }
    ck_assert_uint_eq(t.noffsets, TXN_OFFSETS_MAX);
    ck_assert_uint_eq(t.nparts, TXN_OFFSETS_MAX);
    txn_put_subject(&subject, t.id);
    txn_render(&t, &payload);
    ck_assert(txn_parse(buf_str(&subject), buf_str(&payload), &names, 4, &back));
    ck_assert_uint_eq(back.noffsets, TXN_OFFSETS_MAX);
    for (uint32_t k = 0; k < TXN_OFFSETS_MAX; k++) {
        ck_assert_int_eq(back.offsets[k].o.offset, TXN_OFFSETS_MAX + k);
        ck_assert_uint_eq(back.parts[k].from, k);
        ck_assert(txn_has_part(&back, t.parts[k].topic, t.parts[k].index));
    }
    ck_assert(!txn_has_part(&back, STR("t0"), 7));
    txn_clear(&t);
    txn_clear(&back);
    buf_free(&subject);
    buf_free(&payload);
    buf_free(&names);
}

static const struct runner_case cases[] = {
    RUN_LOOP(there_and_back, 0, 2), RUN(version_1),   RUN(version_3), RUN(cut_or_wrong),
    RUN(cost_of_an_offset),         RUN(cost_of_all), RUN(very_many),
};

RUNNER_MAIN("kafka/txn_record", cases)
