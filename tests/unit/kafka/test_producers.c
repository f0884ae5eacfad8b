/* test_producers.c - idempotent producers: what is new, what is a duplicate, what is neither. */
#include "server/kafka/producers.h"
#include "tests/lib/runner.h"

static enum producers_verdict ask(struct producers *p, int64_t id, int epoch, int32_t first,
                                  int32_t count, uint64_t *seq)
{
    struct producer_batch b = {
        .producer = id, .epoch = (int16_t) epoch, .first = first, .count = count};
    enum producers_verdict v = producers_check(p, &b);

    *seq = b.seq;
    return v;
}

static void note(struct producers *p, int64_t id, int epoch, int32_t first, int32_t count,
                 uint64_t seq)
{
    producers_note(
        p,
        &(struct producer_batch){
            .producer = id, .epoch = (int16_t) epoch, .first = first, .count = count, .seq = seq});
}

#define EXPECT(want, ...) ck_assert_int_eq(ask(&p, __VA_ARGS__, &seq), want)

TEST(the_first_batch_decides)
{
    struct producers p;
    uint64_t seq;

    producers_init(&p);
    EXPECT(PRODUCERS_NEW, 1, 0, 0, 10);
    EXPECT(PRODUCERS_NEW, 1, 3, 77, 10);
    note(&p, 1, 3, 77, 10, 500);
    EXPECT(PRODUCERS_NEW, 1, 3, 87, 1);
    EXPECT(PRODUCERS_OUT_OF_ORDER, 1, 3, 88, 1);
    EXPECT(PRODUCERS_OUT_OF_ORDER, 1, 3, 86, 1);
    EXPECT(PRODUCERS_NEW, 2, 0, 5, 1);
    producers_deinit(&p);
}

/* Limits take the oldest while a start reads: of whom all is gone that was read, later ones may be.
 */
TEST(taken_while_it_was_read)
{
    struct producers p;
    uint64_t seq;

    producers_init(&p);
    note(&p, 1, 0, 0, 10, 1);
    note(&p, 2, 0, 0, 10, 11);
    note(&p, 3, 0, INT32_MAX - 4, 10, 21);
    producers_doubt(&p, 30, 0);
    EXPECT(PRODUCERS_NEW, 1, 0, 40, 10);
    EXPECT(PRODUCERS_NEW, 2, 0, 40, 10);
    EXPECT(PRODUCERS_OUT_OF_ORDER, 3, 0, 40, 10); /* its last record is there */
    producers_doubt(&p, 31, 0);
    EXPECT(PRODUCERS_NEW, 3, 0, 40, 10);
    producers_deinit(&p);
}

/* What was written down is good for what was removed on request, not for what limits have taken
 * behind it. */
TEST(taken_behind_what_was_written)
{
    struct producers p;
    struct buf record = {0};
    uint64_t seq, through;

    producers_init(&p);
    note(&p, 1, 0, 0, 10, 1);
    ck_assert(producers_put(&p, 10, true, &record));
    producers_deinit(&p);
    producers_init(&p);
    ck_assert(producers_take(&p, buf_str(&record), &through));
    ck_assert_uint_eq(through, 10);
    producers_doubt(&p, 11, through);
    EXPECT(PRODUCERS_DUPLICATE, 1, 0, 0, 10);
    EXPECT(PRODUCERS_OUT_OF_ORDER, 1, 0, 40, 10);
    producers_doubt(&p, 12, through);
    EXPECT(PRODUCERS_NEW, 1, 0, 40, 10);
    producers_deinit(&p);
    buf_free(&record);
}

TEST(the_last_five_are_known)
{
    struct producers p;
    uint64_t seq;

    producers_init(&p);
    for (int n = 0; n < 8; n++)
        note(&p, 1, 0, n * 10, 10, 100 + (uint64_t) n * 10);
    for (int n = 3; n < 8; n++) {
        EXPECT(PRODUCERS_DUPLICATE, 1, 0, n * 10, 10);
        ck_assert_uint_eq(seq, 100 + (uint64_t) n * 10);
    }
    EXPECT(PRODUCERS_OUT_OF_ORDER, 1, 0, 20, 10);
    EXPECT(PRODUCERS_OUT_OF_ORDER, 1, 0, 70, 9); /* other records */
    EXPECT(PRODUCERS_NEW, 1, 0, 80, 3);
    producers_deinit(&p);
}

TEST(epochs)
{
    struct producers p;
    uint64_t seq;

    producers_init(&p);
    note(&p, 1, 4, 0, 10, 1);
    EXPECT(PRODUCERS_OLD_EPOCH, 1, 3, 10, 1);
    EXPECT(PRODUCERS_OUT_OF_ORDER, 1, 5, 10, 1);
    EXPECT(PRODUCERS_NEW, 1, 5, 0, 1);
    note(&p, 1, 5, 0, 1, 11);
    EXPECT(PRODUCERS_OLD_EPOCH, 1, 4, 0, 10);
    EXPECT(PRODUCERS_NEW, 1, 5, 1, 1);
    producers_deinit(&p);
}

/* The end of a transaction, in the next epoch when it was ended for the producer. */
TEST(fences)
{
    struct producers p;
    uint64_t seq;

    producers_init(&p);
    note(&p, 1, 4, 0, 10, 1);
    producers_fence(&p, 1, 4);
    EXPECT(PRODUCERS_DUPLICATE, 1, 4, 0, 10);
    EXPECT(PRODUCERS_NEW, 1, 4, 10, 1);
    producers_fence(&p, 1, 5);
    EXPECT(PRODUCERS_OLD_EPOCH, 1, 4, 0, 10);
    EXPECT(PRODUCERS_OLD_EPOCH, 1, 4, 10, 1);
    EXPECT(PRODUCERS_NEW, 1, 5, 0, 1);
    producers_fence(&p, 2, 5); /* unknown */
    EXPECT(PRODUCERS_NEW, 2, 4, 0, 1);
    producers_deinit(&p);
}

TEST(numbers_wrap)
{
    struct producers p;
    uint64_t seq;

    producers_init(&p);
    note(&p, 1, 0, INT32_MAX - 4, 5, 1);
    EXPECT(PRODUCERS_NEW, 1, 0, 0, 1);
    note(&p, 2, 0, INT32_MAX - 4, 10, 1);
    EXPECT(PRODUCERS_NEW, 2, 0, 5, 1);
    EXPECT(PRODUCERS_DUPLICATE, 2, 0, INT32_MAX - 4, 10);
    producers_deinit(&p);
}

TEST(what_was_refused_is_forgotten)
{
    struct producers p;
    uint64_t seq;

    producers_init(&p);
    note(&p, 1, 0, 0, 10, 1);
    note(&p, 1, 0, 10, 10, 11);
    note(&p, 2, 0, 0, 10, 21);
    producers_forget(&p, 20);
    EXPECT(PRODUCERS_DUPLICATE, 1, 0, 10, 10);
    EXPECT(PRODUCERS_OUT_OF_ORDER, 2, 0, 7, 10); /* another one that was under way */
    EXPECT(PRODUCERS_OUT_OF_ORDER, 2, 0, 10, 10);
    EXPECT(PRODUCERS_NEW, 2, 0, 0, 10);
    EXPECT(PRODUCERS_NEW, 2, 1, 0, 10);
    note(&p, 2, 0, 0, 10, 21);
    EXPECT(PRODUCERS_NEW, 2, 0, 10, 1);
    producers_forget(&p, 10);
    EXPECT(PRODUCERS_NEW, 1, 0, 10, 10);
    producers_deinit(&p);
}

TEST(the_first_is_refused)
{
    struct producers p;
    uint64_t seq;

    producers_init(&p);
    EXPECT(PRODUCERS_NEW, 1, 0, 40, 10);
    producers_refuse(&p, &(struct producer_batch){.producer = 1, .first = 40, .count = 10});
    EXPECT(PRODUCERS_OUT_OF_ORDER, 1, 0, 50, 10);
    producers_refuse(&p, &(struct producer_batch){.producer = 1, .first = 50, .count = 10});
    EXPECT(PRODUCERS_NEW, 1, 0, 40, 5); /* cut in two, because it was too large */
    note(&p, 1, 0, 40, 5, 1);
    producers_refuse(&p, &(struct producer_batch){.producer = 1, .first = 45, .count = 5});
    EXPECT(PRODUCERS_OUT_OF_ORDER, 1, 0, 50, 10);
    EXPECT(PRODUCERS_NEW, 1, 0, 45, 5);
    EXPECT(PRODUCERS_NEW, 1, 1, 0, 5);
    producers_deinit(&p);
}

static void read_back(struct producers *p, int64_t id, int32_t first, int32_t count, uint64_t seq)
{
    producers_note(
        p, &(struct producer_batch){
               .producer = id, .first = first, .count = count, .seq = seq, .read_back = true});
}

TEST(what_lay_before_was_stored)
{
    struct producers p;
    uint64_t seq;

    producers_init(&p);
    read_back(&p, 1, 100, 10, 1);
    EXPECT(PRODUCERS_WAS_STORED, 1, 0, 90, 10);
    EXPECT(PRODUCERS_WAS_STORED, 1, 0, 80, 10);
    EXPECT(PRODUCERS_DUPLICATE, 1, 0, 100, 10);
    EXPECT(PRODUCERS_OUT_OF_ORDER, 1, 0, 95, 10);
    EXPECT(PRODUCERS_OUT_OF_ORDER, 1, 0, 111, 1);
    EXPECT(PRODUCERS_NEW, 1, 0, 110, 1);
    read_back(&p, 2, 0, 10, 11); /* its first: nothing lay before */
    EXPECT(PRODUCERS_OUT_OF_ORDER, 2, 0, INT32_MAX - 9, 10);
    note(&p, 3, 0, 100, 10, 21); /* nobody knows what came before a live one */
    EXPECT(PRODUCERS_OUT_OF_ORDER, 3, 0, 90, 10);
    for (int k = 0; k < 4; k++)
        read_back(&p, 1, 110 + 10 * k, 10, 31 + (uint64_t) k * 10);
    EXPECT(PRODUCERS_OUT_OF_ORDER, 1, 0, 90, 10); /* five are all that is under way */
    note(&p, 1, 1, 0, 10, 81);
    read_back(&p, 4, 0, 10, 91);
    read_back(&p, 4, 30, 10, 101);
    EXPECT(PRODUCERS_WAS_STORED, 4, 0, 10, 10);
    EXPECT(PRODUCERS_WAS_STORED, 4, 0, 20, 10);
    EXPECT(PRODUCERS_OUT_OF_ORDER, 4, 0, 20, 11);
    EXPECT(PRODUCERS_OUT_OF_ORDER, 4, 0, 5, 10);
    EXPECT(PRODUCERS_OUT_OF_ORDER, 4, 0, 50, 10);
    EXPECT(PRODUCERS_OUT_OF_ORDER, 1, 1, INT32_MAX - 9, 10);
    producers_deinit(&p);
}

TEST(the_longest_silent_goes)
{
    struct producers p;
    uint64_t seq;

    producers_init(&p);
    for (int64_t id = 0; id < (int64_t) PRODUCERS_MAX; id++)
        note(&p, id, 0, 0, 1, (uint64_t) id + 1);
    note(&p, 0, 0, 1, 1, 10000);
    note(&p, 99999, 0, 0, 1, 10001);
    ck_assert_uint_eq(p.n, PRODUCERS_MAX);
    EXPECT(PRODUCERS_NEW, 1, 0, 5, 1); /* not known */
    EXPECT(PRODUCERS_DUPLICATE, 0, 0, 1, 1);
    EXPECT(PRODUCERS_OUT_OF_ORDER, 2, 0, 5, 1);
    producers_deinit(&p);
}

static struct str bytes_of(const struct buf *b)
{
    return str_from(b->p, b->n);
}

/* What a start takes is what was written, part behind part; what is not durable is not in it. */
TEST(written_and_taken)
{
    struct producers p, q;
    struct buf out = {0};
    uint64_t seq, through;

    producers_init(&p);
    producers_init(&q);
    for (int n = 0; n < 7; n++)
        note(&p, 1, 3, n * 10, 10, 100 + (uint64_t) n * 10);
    note(&p, 2, 0, INT32_MAX - 4, 10, 200);
    ck_assert(producers_put(&p, 165, false, &out));
    ck_assert(producers_take(&q, bytes_of(&out), &through));
    ck_assert_uint_eq(through, 165);
    ck_assert_uint_eq(q.n, 1);
    ck_assert_int_eq(ask(&q, 1, 3, 50, 10, &seq), PRODUCERS_DUPLICATE);
    ck_assert_uint_eq(seq, 150);
    ck_assert_int_eq(ask(&q, 1, 3, 60, 10, &seq), PRODUCERS_NEW);
    /* The rest is durable now, and one goes on. */
    note(&p, 1, 3, 70, 10, 210);
    ck_assert(producers_put(&p, 220, false, &out));
    ck_assert(!producers_put(&p, 220, false, &out));
    ck_assert(producers_take(&q, bytes_of(&out), &through));
    ck_assert_uint_eq(through, 220);
    ck_assert_int_eq(ask(&q, 1, 3, 80, 1, &seq), PRODUCERS_NEW);
    ck_assert_int_eq(ask(&q, 1, 3, 30, 10, &seq), PRODUCERS_DUPLICATE);
    ck_assert_int_eq(ask(&q, 2, 0, 5, 1, &seq), PRODUCERS_NEW);
    ck_assert_int_eq(ask(&q, 2, 0, INT32_MAX - 4, 10, &seq), PRODUCERS_DUPLICATE);
    /* An epoch of which there is no batch. */
    producers_fence(&p, 2, 9);
    ck_assert(producers_put(&p, 230, false, &out));
    ck_assert(producers_take(&q, bytes_of(&out), &through));
    ck_assert_int_eq(ask(&q, 2, 0, 5, 1, &seq), PRODUCERS_OLD_EPOCH);
    ck_assert_int_eq(ask(&q, 2, 9, 0, 1, &seq), PRODUCERS_NEW);
    /* All of it is the same as the parts. */
    buf_clear(&out);
    ck_assert(producers_put(&q, 230, true, &out));
    producers_deinit(&p);
    producers_init(&p);
    ck_assert(producers_take(&p, bytes_of(&out), &through));
    EXPECT(PRODUCERS_NEW, 1, 3, 80, 1);
    EXPECT(PRODUCERS_OLD_EPOCH, 2, 0, 5, 1);
    producers_deinit(&p);
    producers_deinit(&q);
    buf_free(&out);
}

TEST(records_that_are_none)
{
    struct producers p;
    struct buf out = {0};
    uint64_t through;

    producers_init(&p);
    note(&p, 1, 3, 0, 10, 100);
    ck_assert(producers_put(&p, 200, true, &out));
    producers_deinit(&p);
    producers_init(&p);
    for (size_t n = 1; n < out.n; n++)
        ck_assert(!producers_take(&p, str_from(out.p, n), &through));
    for (size_t at = 8; at < out.n; at++) {
        out.p[at] = (char) (out.p[at] ^ 0x80); /* a count, or a number below 0 */
        bool sign = at == 11 || at == 19 || at == 25 || at == 29;
        ck_assert(!sign || !producers_take(&p, bytes_of(&out), &through));
        out.p[at] = (char) (out.p[at] ^ 0x80);
    }
    ck_assert_uint_eq(p.n, 0);
    ck_assert(producers_take(&p, STR_NONE, &through));
    ck_assert_uint_eq(through, 0);
    producers_deinit(&p);
    buf_free(&out);
}

static const struct runner_case cases[] = {
    RUN(the_first_batch_decides),
    RUN(the_last_five_are_known),
    RUN(epochs),
    RUN(fences),
    RUN(numbers_wrap),
    RUN(what_was_refused_is_forgotten),
    RUN(the_first_is_refused),
    RUN(what_lay_before_was_stored),
    RUN(the_longest_silent_goes),
    RUN(written_and_taken),
    RUN(records_that_are_none),
    RUN(taken_while_it_was_read),
    RUN(taken_behind_what_was_written),
};

RUNNER_MAIN("kafka/producers", cases)
