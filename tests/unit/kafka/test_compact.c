/*
 * test_compact.c - which messages of a compacted partition go: by key, null values, transactions,
 * a table that is full; a random history against a plain model.
 */
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "lib/wire/kafka_batch.h"
#include "lib/wire/kafka_compress.h"
#include "lib/wire/kafka_pack.h"
#include "server/kafka/compact_core.h"
#include "server/kafka/trim.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <string.h>

#define MOST 400
#define GONE 4096

/* A partition: entries with their bytes. */
struct history {
    struct compact_entry e[MOST];
    uint8_t *bytes[MOST];
    uint64_t holes[MOST];
    size_t n;
    uint64_t next;
};

static void log_free(struct history *l)
{
    for (size_t i = 0; i < l->n; i++)
        mem_free(l->bytes[i]);
    *l = (struct history){.next = 1};
}

/* "a=1 b=2 c c" in one batch: key=value; without '=' the value is null; "-" has no key. */
static void put_batch(struct history *l, const char *text, int64_t producer, uint16_t attributes)
{
    size_t cap = 4096;
    uint8_t *p = mem_alloc(cap);
    struct kafka_builder b;

    kafka_builder_open(&b, p, cap, (int64_t) l->next - 1);
    uint64_t first = l->next;
    while (*text != '\0') {
        struct str word = str_from(text, strcspn(text, " ")), key = word;
        const char *value = memchr(word.p, '=', word.n);
        struct kafka_record r = {.offset = (int64_t) l->next++ - 1};
        if (value != NULL) {
            key.n = (size_t) (value - word.p);
            r.value = str_skip(word, key.n + 1);
        }
        if (!str_eq(key, STR("-")))
            r.key = key;
        ck_assert(kafka_builder_add(&b, &r));
        text += word.n;
        text += strspn(text, " ");
    }
    struct kafka_batch like = {.attributes = attributes,
                               .last_offset_delta = (int32_t) (l->next - first - 1),
                               .producer_id = producer,
                               .producer_epoch = producer < 0 ? -1 : 0,
                               .base_sequence = producer < 0 ? -1 : 0};
    size_t n = kafka_builder_finish(&b, 0, &like);
    l->e[l->n] = (struct compact_entry){.first_seq = first,
                                        .messages = (uint32_t) (l->next - first),
                                        .kafka = true,
                                        .batch = str_from(p, n)};
    l->bytes[l->n++] = p;
}

static void put_marker(struct history *l, int64_t producer, bool commit, int32_t coordinator)
{
    uint8_t *p = mem_alloc(KAFKA_FILLER_BYTES);
    int64_t at = (int64_t) l->next - 1;
    size_t n = kafka_batch_marker(p, commit ? KAFKA_COMMIT : KAFKA_ABORT, at, at, 0, producer, 0,
                                  coordinator, 0);

    l->e[l->n] = (struct compact_entry){
        .first_seq = l->next++, .messages = 1, .kafka = true, .batch = str_from(p, n)};
    l->bytes[l->n++] = p;
}

static void put_nats(struct history *l, const char *header, size_t payload)
{
    l->e[l->n] = (struct compact_entry){
        .first_seq = l->next++, .messages = 1, .header = str_of(header), .payload = payload};
    l->bytes[l->n++] = NULL;
}

static const uint64_t seed = 1;

/* A pass over all of it; "gone" as text: "1 2 3". */
static void run(struct history *l, uint64_t from, uint64_t horizon, struct compact_pass *p,
                char *gone)
{
    uint64_t first, last, at = 0;
    bool room = true;

    compact_pass_init(p, seed);
    p->horizon = horizon;
    for (size_t i = 0; room && i < l->n; i++)
        if (l->e[i].first_seq >= from)
            room = compact_note(p, &l->e[i]);
    for (size_t i = 0; i < l->n; i++)
        compact_look(p, &l->e[i]);
    struct buf text = {0};
    for (; seqset_range_from(&p->gone, at, &first, &last); at = last + 1)
        for (uint64_t seq = first; seq <= last; seq++)
            buf_printf(&text, "%s%d", text.n > 0 ? " " : "", (int) seq);
    snprintf(gone, GONE, "%s", buf_cstr(&text));
    buf_free(&text);
}

#define EXPECT_GONE(l, horizon, text)                                                              \
    do {                                                                                           \
        struct compact_pass p_;                                                                    \
        char gone_[GONE];                                                                          \
        run(l, 1, horizon, &p_, gone_);                                                            \
        ck_assert_str_eq(gone_, text);                                                             \
        compact_pass_deinit(&p_);                                                                  \
    } while (0)

TEST(the_last_of_a_key_stays)
{
    struct history l = {.next = 1};

    EXPECT_GONE(&l, 0, "");
    put_batch(&l, "a=1 b=1 a=2", -1, 0);
    EXPECT_GONE(&l, 0, "1");
    put_batch(&l, "-=x c=1 -=y", -1, 0); /* without keys */
    put_batch(&l, "b=2", -1, 0);
    EXPECT_GONE(&l, 0, "1 2");
    /* Of messages that are gone already nothing follows. */
    l.holes[2] = 1;
    l.e[2].holes = &l.holes[2];
    EXPECT_GONE(&l, 0, "1");
    log_free(&l);
}

TEST(nats_messages_count)
{
    struct history l = {.next = 1};

    put_batch(&l, "a=1 b=1", -1, 0);
    put_nats(&l, "NATS/1.0\r\nKafka-Key: a\r\n\r\n", 3);
    put_nats(&l, "NATS/1.0\r\nOther: a\r\n\r\n", 3);
    put_nats(&l, "", 3);
    put_nats(&l, "NATS/1.0\r\nKafka-Key-B64: Yg==\r\n\r\n", 0); /* b; an empty value, no null */
    EXPECT_GONE(&l, 100, "1 2");
    put_batch(&l, "a=2", -1, 0);
    put_nats(&l, "NATS/1.0\r\nKafka-Key: b\r\nKV-Operation: DEL\r\n\r\n", 0);
    EXPECT_GONE(&l, 0, "1 2 3 6");
    EXPECT_GONE(&l, 100, "1 2 3 6 8");
    log_free(&l);
}

TEST(null_values_wait_for_the_horizon)
{
    struct history l = {.next = 1};
    struct compact_pass p;
    char gone[GONE];

    put_batch(&l, "a=1 b=1 a", -1, 0);
    put_batch(&l, "b c", -1, 0);
    put_batch(&l, "d c=1", -1, 0);
    EXPECT_GONE(&l, 0, "1 2 5");
    EXPECT_GONE(&l, 4, "1 2 3 5");
    EXPECT_GONE(&l, 7, "1 2 3 4 5 6");
    run(&l, 1, 4, &p, gone);
    ck_assert_uint_eq(p.waiting, 2); /* b, d */
    compact_pass_deinit(&p);
    log_free(&l);
}

/* What the last pass has cleaned is looked at with the keys of the new part alone. */
TEST(only_the_new_part_is_noted)
{
    struct history l = {.next = 1};
    struct compact_pass p;
    char gone[GONE];

    put_batch(&l, "a=1 b=1", -1, 0);
    put_batch(&l, "b=2", -1, 0);
    put_batch(&l, "a=2 c=1", -1, 0);
    run(&l, 4, 0, &p, gone);
    ck_assert_str_eq(gone, "1");
    ck_assert_uint_eq(p.nkeys, 2);
    compact_pass_deinit(&p);
    log_free(&l);
}

TEST(a_full_table_ends_the_pass)
{
    struct history l = {.next = 1};
    struct compact_pass p;

    put_batch(&l, "a=1 b=1 a=2 c=1 a=3", -1, 0);
    compact_pass_init(&p, seed);
    p.most_keys = 2;
    ck_assert(!compact_note(&p, &l.e[0]));
    ck_assert_uint_eq(p.full, 4);
    compact_look(&p, &l.e[0]);
    ck_assert(seqset_has(&p.gone, 1) && p.gone.count == 1);
    compact_pass_deinit(&p);
    log_free(&l);
}

TEST(transactions)
{
    struct history l = {.next = 1};

    put_marker(&l, 7, true, 1);                         /* 1: 7 begins */
    put_batch(&l, "a=1 b=1", 7, KAFKA_TRANSACTIONAL);   /* 2 3 */
    put_marker(&l, 8, true, 1);                         /* 4: 8 begins */
    put_batch(&l, "a=aborted", 8, KAFKA_TRANSACTIONAL); /* 5 */
    l.e[3].aborted = true;
    put_marker(&l, 7, true, -4);                  /* 6: 7 commits */
    put_marker(&l, 8, false, -3);                 /* 7: 8 aborts */
    put_marker(&l, 9, true, 1);                   /* 8: 9 begins */
    put_batch(&l, "b=2", 9, KAFKA_TRANSACTIONAL); /* 9 */
    EXPECT_GONE(&l, 0, "3 5");
    /* The end below the horizon takes the beginning along, in that order by one change. */
    EXPECT_GONE(&l, 7, "1 3 5 6");
    /* What is open stays so. */
    EXPECT_GONE(&l, 100, "1 3 4 5 6 7");
    log_free(&l);
}

TEST(the_end_of_a_producers_last_batch_stays)
{
    struct history l = {.next = 1};

    put_batch(&l, "a=1 a=2 b=1", 7, 0);
    put_batch(&l, "a=3 b=2", -1, 0);
    EXPECT_GONE(&l, 0, "1 2 3");
    l.e[0].keep_last = true;
    EXPECT_GONE(&l, 0, "1 2");
    log_free(&l);
}

TEST(what_can_not_be_read_stays)
{
    struct history l = {.next = 1};

    put_batch(&l, "a=1 b=1", -1, 0);
    put_batch(&l, "a=2 b=2", -1, 0);
    l.bytes[0][61] = 0xff;
    EXPECT_GONE(&l, 0, "");
    l.bytes[0][16] = 9;
    EXPECT_GONE(&l, 0, "");
    log_free(&l);
}

/* Random messages; passes with removals between them; after each what stays is what a plain loop
 * says. */
static void play(uint64_t number)
{
    struct prng prng;
    struct history l = {.next = 1};
    char keys[MOST * 8][4] = {{0}};
    bool null[MOST * 8] = {0}, here[MOST * 8] = {0};
    uint64_t clean = 1;

    prng_init(&prng, number);
    for (int round = 0; round < 6; round++) {
        for (int b = 0; b < 12; b++) {
            struct buf text = {0};
            for (uint64_t k = prng_below(&prng, 6) + 1, at = l.next; k > 0; k--, at++) {
                snprintf(keys[at], sizeof(keys[0]), "k%d", (int) prng_below(&prng, 9));
                null[at] = prng_below(&prng, 5) == 0;
                here[at] = true;
                buf_printf(&text, "%s%s ", keys[at], null[at] ? "" : "=v");
            }
            put_batch(&l, buf_cstr(&text), -1, 0);
            buf_free(&text);
        }
        struct compact_pass p;
        char gone[GONE];
        uint64_t horizon = prng_below(&prng, clean + 1);
        run(&l, clean, horizon, &p, gone);
        for (uint64_t seq = 1; seq < l.next; seq++) {
            bool later = false;
            for (uint64_t k = seq + 1; k < l.next; k++)
                later = later || (here[k] && strcmp(keys[k], keys[seq]) == 0);
            bool stays = here[seq] && !later && !(null[seq] && seq < horizon);
            ck_assert_msg((here[seq] && !seqset_has(&p.gone, seq)) == stays, "%d: %d of %d",
                          (int) number, (int) seq, (int) l.next);
            here[seq] = stays;
        }
        for (size_t i = 0; i < l.n; i++) {
            l.holes[i] = 0;
            for (uint32_t k = 0; k < l.e[i].messages; k++)
                if (!here[l.e[i].first_seq + k])
                    l.holes[i] |= (uint64_t) 1 << k;
            l.e[i].holes = l.holes[i] != 0 ? &l.holes[i] : NULL;
        }
        clean = l.next;
        compact_pass_deinit(&p);
    }
    log_free(&l);
}

TEST(random_histories)
{
    for (uint64_t number = 0; number < 50; number++)
        play((uint64_t) i * 1000 + number);
}

/* A batch without some of its records: the others, their offsets, the header; compressed as it
 * was. */
TEST(a_batch_is_trimmed)
{
    struct history l = {.next = 101};
    struct buf packed = {0}, out = {0};
    struct kafka_room room = {0};
    struct kafka_record_iter it;
    struct kafka_batch b, was;
    struct kafka_record r;
    struct str records;
    uint64_t keep = 1 << 1 | 1 << 4, none = 0;

    put_batch(&l, "a=1 b=2 c d=4 -=5 f=6", 7, KAFKA_TRANSACTIONAL);
    ck_assert_int_eq(kafka_batch_pack(l.e[0].batch, (enum kafka_codec) i, &packed), ERR_OK);
    ck_assert_int_eq(trim_batch(buf_str(&packed), 6, &keep, &out), ERR_OK);
    ck_assert_int_eq(kafka_batch_open(buf_str(&packed), &was), KAFKA_BATCH_OK);
    ck_assert_int_eq(kafka_batch_open(buf_str(&out), &b), KAFKA_BATCH_OK);
    ck_assert(kafka_batch_sum_ok(buf_str(&out), &b) && b.bytes == out.n);
    ck_assert(b.base_offset == 100 && b.last_offset_delta == 5 && b.count == 2);
    ck_assert_uint_eq(b.attributes, KAFKA_TRANSACTIONAL | i);
    ck_assert(b.producer_id == 7 && b.base_sequence == was.base_sequence);
    ck_assert_int_eq(kafka_batch_records(&b, 1000, &room, &records), ERR_OK);
    kafka_record_iter_init(&it, &b, records);
    ck_assert(kafka_record_iter_next(&it, &r) && r.offset == 101);
    ck_assert(str_eq(r.key, STR("b")) && str_eq(r.value, STR("2")));
    ck_assert(kafka_record_iter_next(&it, &r) && r.offset == 104);
    ck_assert(r.key.p == NULL && str_eq(r.value, STR("5")));
    ck_assert(!kafka_record_iter_next(&it, &r) && !it.bad);
    /* Nothing is left, or it is no batch: it stays as it is. */
    ck_assert_int_eq(trim_batch(buf_str(&packed), 6, &none, &out), ERR_CORRUPT);
    ck_assert_int_eq(trim_batch(buf_str(&packed), 3, &keep, &out), ERR_CORRUPT);
    ck_assert_int_eq(trim_batch(STR("no batch"), 6, &keep, &out), ERR_CORRUPT);
    buf_free(&packed);
    buf_free(&out);
    kafka_room_free(&room);
    log_free(&l);
}

static const struct runner_case cases[] = {
    RUN(the_last_of_a_key_stays),
    RUN(nats_messages_count),
    RUN(null_values_wait_for_the_horizon),
    RUN(only_the_new_part_is_noted),
    RUN(a_full_table_ends_the_pass),
    RUN(transactions),
    RUN(the_end_of_a_producers_last_batch_stays),
    RUN(what_can_not_be_read_stays),
    RUN_LOOP(random_histories, 0, 4),
    RUN_LOOP(a_batch_is_trimmed, 0, KAFKA_CODECS),
};

RUNNER_MAIN("kafka/compact", cases)
