/* test_txn_record.c - a transaction as a message and back; every cut of it is refused. */
#include "lib/base/prng.h"
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
    txn_put_part(t, STR("a.topic"), 0, 1);
    txn_put_part(t, STR("b"), 1023, UINT64_C(1) << 40);
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
            txn_put_part(&t, o.topic, o.partition, which);
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

/* ---- pieces ---------------------------------------------------------------------------------- */

static void put_some(struct txn *t, uint32_t first, uint32_t n, int64_t offset)
{
    struct committed_offset o = {.metadata = STR("m"), .offset = offset};
    char topic[16];

    for (uint32_t k = first; k < first + n; k++) {
        snprintf(topic, sizeof(topic), "t%u", k);
        o.topic = str_of(topic);
        txn_put_offset(t, STR("g"), &o);
    }
}

TEST(a_piece_has_what_changed)
{
    struct buf whole = {0}, piece = {0}, names = {0}, subject = {0};
    struct txn t, back;
    struct str id;
    uint32_t number;

    fill(&t);
    txn_render(&t, &whole);
    txn_recorded(&t, false, whole.n);
    ck_assert_uint_eq(t.changed_parts.n + t.changed_offsets.n, 0);
    txn_put_part(&t, STR("b"), 1023, UINT64_C(1) << 40); /* as it was */
    ck_assert_uint_eq(t.changed_parts.n, 0);
    txn_put_part(&t, STR("b"), 1023, 5);
    txn_put_part(&t, STR("c"), 0, 6);
    txn_place_part(&t, 2, 7);
    put_some(&t, 0, 2, 100);
    put_some(&t, 1, 1, 101);
    ck_assert_uint_eq(t.changed_parts.n, 2);
    ck_assert_uint_eq(t.changed_offsets.n, 2);
    txn_render_piece(&t, &piece);
    txn_put_piece_subject(&subject, t.id, 12);
    ck_assert(str_eq(buf_str(&subject), STR("$KAFKA.TXN.my=20id.12")));
    ck_assert(txn_parse_piece_subject(buf_str(&subject), &names, &id, &number));
    ck_assert(str_eq(id, t.id) && number == 12);
    ck_assert(txn_parse(STR("$KAFKA.TXN.x"), buf_str(&whole), &names, 1, &back));
    for (size_t n = 0; n < piece.n; n++)
        ck_assert(!txn_take_piece(&back, 0, str_from(piece.p, n)));
    ck_assert_uint_eq(back.noffsets + back.nparts + back.npieces, 4);
    ck_assert(txn_take_piece(&back, 0, buf_str(&piece)));
    ck_assert_uint_eq(back.npieces, 1);
    ck_assert_uint_eq(back.changed_parts.n + back.changed_offsets.n, 0);
    ck_assert_uint_eq(back.nparts, 3);
    ck_assert_uint_eq(back.parts[1].from, 5);
    ck_assert_uint_eq(back.parts[2].from, 7);
    ck_assert_uint_eq(back.noffsets, 4);
    ck_assert_int_eq(back.offsets[2].o.offset, 100);
    ck_assert_int_eq(back.offsets[3].o.offset, 101);
    txn_clear(&t);
    txn_clear(&back);
    buf_free(&whole);
    buf_free(&piece);
    buf_free(&names);
    buf_free(&subject);
}

TEST(pieces_of_others)
{
    static const char *const subjects[] = {
        "$KAFKA.TXN.a",    "$KAFKA.TXN.a.",    "$KAFKA.TXN..1",     "$KAFKA.TXN.a.x",
        "$KAFKA.TXN.a.-1", "$KAFKA.TXN.a.1.2", "$KAFKA.TXN.a.8192", "$KAFKA.OFFSETS.a.1"};
    struct buf piece = {0}, names = {0};
    struct txn t;
    struct str id;
    uint32_t number;

    for (size_t k = 0; k < sizeof(subjects) / sizeof(subjects[0]); k++)
        ck_assert_msg(!txn_parse_piece_subject(str_of(subjects[k]), &names, &id, &number), "%s",
                      subjects[k]);
    ck_assert(txn_parse_piece_subject(STR("$KAFKA.TXN.a.8191"), &names, &id, &number));
    fill(&t);
    txn_render_piece(&t, &piece);
    t.producer++;
    ck_assert(!txn_take_piece(&t, 0, buf_str(&piece)));
    t.producer--;
    t.epoch++;
    ck_assert(!txn_take_piece(&t, 0, buf_str(&piece)));
    t.epoch--;
    t.state = TXN_PREPARE_COMMIT;
    ck_assert(!txn_take_piece(&t, 0, buf_str(&piece)));
    t.state = TXN_ONGOING;
    piece.p[1]++; /* version */
    ck_assert(!txn_take_piece(&t, 0, buf_str(&piece)));
    piece.p[1]--;
    ck_assert(txn_take_piece(&t, 0, buf_str(&piece)));
    buf_putc(&piece, 0);
    ck_assert(!txn_take_piece(&t, 1, buf_str(&piece)));
    txn_clear(&t);
    buf_free(&piece);
    buf_free(&names);
}

/* What a stream keeps of a transaction: the last message of each subject, in their order. */
struct kept_message {
    uint64_t seq; /* 0: none */
    struct buf payload;
};
struct kept {
    struct kept_message whole, pieces[TXN_PIECES_MAX];
    uint64_t last;
    size_t written;
};

static void keep(struct kept *k, struct txn *t)
{
    bool piece = txn_may_add(t, TXN_WHOLE_LEAST);
    struct kept_message *m = piece ? &k->pieces[t->npieces] : &k->whole;

    m->seq = ++k->last;
    m->payload.n = 0;
    if (piece)
        txn_render_piece(t, &m->payload);
    else
        txn_render(t, &m->payload);
    txn_recorded(t, piece, m->payload.n);
    k->written += m->payload.n;
}

/* As a start reads it. */
static void read_kept(const struct kept *k, struct txn *out)
{
    struct buf names = {0};

    ck_assert(txn_parse(STR("$KAFKA.TXN.x"), buf_str(&k->whole.payload), &names, 9, out));
    for (uint64_t seq = k->whole.seq + 1; seq <= k->last; seq++)
        for (uint32_t i = 0; i < TXN_PIECES_MAX; i++)
            if (k->pieces[i].seq == seq)
                ck_assert(txn_take_piece(out, i, buf_str(&k->pieces[i].payload)));
    buf_free(&names);
}

static void same(const struct txn *a, const struct txn *b)
{
    ck_assert_uint_eq(a->noffsets, b->noffsets);
    ck_assert_uint_eq(a->nparts, b->nparts);
    ck_assert_uint_eq(a->bytes, b->bytes);
    ck_assert_uint_eq(a->npieces, b->npieces);
    ck_assert_uint_eq(a->piece_bytes, b->piece_bytes);
    ck_assert_uint_eq(a->whole_bytes, b->whole_bytes);
    for (uint32_t i = 0; i < a->noffsets; i++) {
        ck_assert(str_eq(a->offsets[i].o.topic, b->offsets[i].o.topic));
        ck_assert_int_eq(a->offsets[i].o.offset, b->offsets[i].o.offset);
    }
    for (uint32_t i = 0; i < a->nparts; i++)
        ck_assert_uint_eq(a->parts[i].from, b->parts[i].from);
}

/* Small commits, and partitions between them, many times a record's worth: at every moment it can
 * be read back, and not much more is written than was said. */
TEST(many_small_changes)
{
    static struct kept kept;
    struct txn t = {.id = STR("x"), .state = TXN_ONGOING, .previous = -1, .seed = 3}, back;
    struct prng prng;
    size_t said = 0;

    memset(&kept, 0, sizeof(kept));
    prng_init(&prng, (uint64_t) i);
    keep(&kept, &t);
    for (uint32_t round = 0; round < 3000; round++) {
        uint32_t first = (uint32_t) prng_below(&prng, i == 0 ? 100000 : 300);
        uint32_t n = 1 + (uint32_t) prng_below(&prng, 3);
        if (prng_below(&prng, 4) == 0)
            txn_put_part(&t, STR("part"), (int32_t) first, prng_below(&prng, 5));
        put_some(&t, first, n, round);
        said += n * 100; /* more than it takes, less than twice */
        if (prng_below(&prng, 10) == 0)
            continue; /* it could not be written: the next one has it, too */
        keep(&kept, &t);
        if (round % 50 == 0 || t.npieces < 2) {
            read_kept(&kept, &back);
            same(&t, &back);
            txn_clear(&back);
        }
    }
    ck_assert_uint_gt(t.noffsets, i == 0 ? 5000 : 250);
    ck_assert_uint_lt(kept.written, 4 * said);
    txn_clear(&t);
    buf_free(&kept.whole.payload);
    for (uint32_t k = 0; k < TXN_PIECES_MAX; k++)
        buf_free(&kept.pieces[k].payload);
}

static const struct runner_case cases[] = {
    RUN_LOOP(there_and_back, 0, 2),
    RUN(version_1),
    RUN(version_3),
    RUN(cut_or_wrong),
    RUN(cost_of_an_offset),
    RUN(cost_of_all),
    RUN(very_many),
    RUN(a_piece_has_what_changed),
    RUN(pieces_of_others),
    RUN_LOOP(many_small_changes, 0, 2),
};

RUNNER_MAIN("kafka/txn_record", cases)
