/*
 * test_store_trim.c - Kafka batches of which messages were removed, in segments that are written
 * anew: what is left of each, what readers get, after restarts, with damage, encrypted; and what
 * stays when the owner can not make a batch without them.
 */
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "store/store_impl.h"
#include "tests/lib/runner.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT (256u << 10)
#define BATCHES 80u
#define MESSAGES 100u
#define BYTES 20000u
/* Of the batches, three native messages between each two. */
#define FIRST(k) (1 + (uint64_t) (k) * (MESSAGES + 3))
#define LAST (FIRST(BATCHES) - 1)

/* Made anew: the first 12 bytes, then the numbers of those that are left. */
static enum err trim(struct str batch, uint32_t messages, const uint64_t *keep, struct buf *out)
{
    uint8_t number[4];

    buf_put(out, batch.p, 12);
    for (uint32_t i = 0; i < messages; i++)
        if ((keep[i / 64] >> (i % 64) & 1) != 0) {
            put_u32(number, i);
            buf_put(out, number, 4);
        }
    return ERR_OK;
}

static enum err refuse(struct str batch, uint32_t messages, const uint64_t *keep, struct buf *out)
{
    (void) batch;
    (void) messages;
    (void) keep;
    buf_puts(out, "junk");
    return ERR_CORRUPT;
}

static const struct rig_options options[] = {
    {.log_file_bytes = 1 << 20,
     .segment_min = SEGMENT,
     .segment_max = SEGMENT,
     .kafka_decode = rig_kafka_decode,
     .kafka_trim = trim},
    {.log_file_bytes = 1 << 20,
     .segment_min = SEGMENT,
     .segment_max = SEGMENT,
     .kafka_decode = rig_kafka_decode,
     .kafka_trim = trim,
     .key = "a secret key"},
    {.log_file_bytes = 1 << 20,
     .segment_min = SEGMENT,
     .segment_max = SEGMENT,
     .kafka_decode = rig_kafka_decode,
     .kafka_trim = trim,
     .index_lazy_bytes = 1},
};

struct bench {
    struct rig r;
    struct rig_stream t;
    bool gone[FIRST(BATCHES)];
};

static void open_bench(struct bench *b, const struct rig_options *o)
{
    memset(b->gone, 0, sizeof(b->gone));
    rig_init(&b->r, o);
    rig_create(&b->r, &b->t, "s", STORE_DURABLE, NULL);
    for (unsigned k = 0; k < BATCHES; k++) {
        ck_assert_int_eq(rig_append_kafka(&b->t, "k", MESSAGES, BYTES), ERR_OK);
        ck_assert_int_eq(rig_append(&b->t, 3, 20, 2), ERR_OK);
        rig_flush(&b->t);
    }
    rig_settle(&b->r);
}

static void restart(struct bench *b)
{
    rig_settle(&b->r);
    store_check(b->r.store);
    rig_stop(&b->r);
    rig_start(&b->r);
    rig_attach(&b->r, &b->t, "s");
    store_recovered_done(b->r.store);
    store_check(b->r.store);
}

/* Of batch k: all of every 5th, nothing of every `whole`th, of the others all but every `keep`th;
 * and all native messages behind it but one. */
static void thin_out(struct bench *b, unsigned keep, unsigned whole)
{
    struct seqset set = {0};

    for (unsigned k = 0; k < BATCHES; k++) {
        for (unsigned i = 0; i < MESSAGES; i++)
            b->gone[FIRST(k) + i] |= k % 5 == 4 || (k % whole != 0 && i % keep != 1);
        b->gone[FIRST(k) + MESSAGES] = b->gone[FIRST(k) + MESSAGES + 1] = true;
    }
    for (uint64_t seq = 1; seq <= LAST; seq++)
        if (b->gone[seq] && store_msg_exists(b->t.s, seq))
            seqset_add(&set, seq, seq);
    store_remove_set(b->t.s, &set, NULL);
    seqset_free(&set);
}

static uint64_t rewrites(struct bench *b)
{
    struct store_stats stats;

    store_stats(b->r.store, &stats);
    return stats.rewrites;
}

static void await_rewrites(struct bench *b, uint64_t n)
{
    for (unsigned k = 0; k < 10000 && rewrites(b) < n; k++) {
        store_step(b->r.store);
        rig_turn(&b->r, 1000000);
    }
    ck_assert_uint_ge(rewrites(b), n);
    rig_settle(&b->r);
}

static enum store_read next_entry(struct bench *b, struct store_reader *r, struct store_entry *e)
{
    for (;;) {
        bool ready = false;
        r->ctx = &ready;
        enum store_read result = store_reader_entry(r, e);
        if (result != STORE_READ_WAIT)
            return result;
        rig_wait(&b->r, &ready);
    }
}

/* The batch holds what is left of it, or is untouched; true: it was made anew. */
static bool check_batch(struct bench *b, const struct store_entry *e)
{
    char *want = mem_alloc(BYTES);
    uint32_t n = 0;

    ck_assert(!e->holes);
    ck_assert_uint_eq(e->messages, MESSAGES);
    ck_assert_uint_eq(get_u64(e->batch.p), e->first_seq);
    ck_assert_uint_eq(get_u32(e->batch.p + 8), 7);
    if (e->batch.n == BYTES) {
        rig_payload(e->first_seq, want, BYTES);
        ck_assert_mem_eq(e->batch.p + 12, want + 12, BYTES - 12);
        mem_free(want);
        return false;
    }
    mem_free(want);
    for (uint32_t i = 0; i < MESSAGES; i++)
        if (!b->gone[e->first_seq + i])
            ck_assert_uint_eq(get_u32(e->batch.p + 12 + (size_t) n++ * 4), i);
    ck_assert_uint_eq(e->batch.n, 12 + (size_t) n * 4);
    return true;
}

/* Those in the sealed segments are made anew. */
static unsigned check_entries(struct bench *b)
{
    struct store_reader r;
    struct store_entry e;
    unsigned trimmed = 0;
    uint64_t seq = 1;

    store_shed_cache(b->r.store);
    store_reader_init(&r, b->t.s, 1, NULL, 0, rig_on_ready, NULL);
    while (next_entry(b, &r, &e) == STORE_READ_MSG) {
        for (; seq < e.first_seq; seq++)
            ck_assert(b->gone[seq]);
        if (!e.kafka)
            ck_assert(!b->gone[seq]);
        else if (e.first_seq < store_stream_head(b->t.s))
            trimmed += check_batch(b, &e);
        seq = e.first_seq + e.messages;
    }
    for (; seq <= LAST; seq++)
        ck_assert(b->gone[seq]);
    store_reader_deinit(&r);
    return trimmed;
}

static void check_messages(struct bench *b)
{
    struct store_reader r;
    struct store_msg m;
    struct store_state st;
    struct store_subject sub;
    uint64_t left = 0, of_k = 0;
    char payload[20];

    for (uint64_t seq = 1; seq <= LAST; seq++) {
        uint64_t i = (seq - 1) % (MESSAGES + 3);
        left += !b->gone[seq];
        of_k += !b->gone[seq] && i < MESSAGES;
        ck_assert(store_msg_exists(b->t.s, seq) != b->gone[seq]);
        if (seq % 11 != 0 || b->gone[seq])
            continue;
        ck_assert_int_eq(rig_get(&b->t, seq, &m, &r), STORE_READ_MSG);
        ck_assert_uint_eq(m.seq, seq);
        rig_payload(seq, payload, sizeof(payload));
        ck_assert(i == 99 || str_eq(m.payload, str_from(payload, sizeof(payload))));
        store_reader_deinit(&r);
    }
    store_stream_state(b->t.s, &st);
    ck_assert_uint_eq(st.msgs, left);
    ck_assert_uint_eq(st.lost_msgs, 0);
    ck_assert_uint_eq(rig_read_all(&b->t, 1, NULL, 0), left);
    ck_assert_uint_eq(rig_read_all(&b->t, 1, "k", 0), of_k);
    ck_assert(store_subject_get(b->t.s, STR("k"), &sub) && sub.msgs == of_k);
    store_check(b->r.store);
}

/* Twice: what was left the first time loses more. */
TEST(what_is_removed_goes)
{
    struct bench *b = mem_alloc(sizeof(*b));
    struct store_state before, after;
    unsigned trimmed;

    open_bench(b, &options[i]);
    for (unsigned keep = 3; keep <= 9; keep += 6) {
        thin_out(b, keep, keep == 3 ? 3 : 15);
        store_stream_state(b->t.s, &before);
        await_rewrites(b, keep == 3 ? 2 : rewrites(b) + 1);
        store_stream_state(b->t.s, &after);
        ck_assert(before.msgs == after.msgs && before.bytes == after.bytes);
        trimmed = check_entries(b);
        ck_assert_uint_gt(trimmed, 20);
        check_messages(b);
        for (unsigned k = 0; k < 2; k++) {
            restart(b);
            store_stream_state(b->t.s, &after);
            check_messages(b);
            store_stream_state(b->t.s, &after);
            ck_assert(before.msgs == after.msgs && before.bytes == after.bytes);
            ck_assert_uint_eq(check_entries(b), trimmed);
        }
    }
    ck_assert_uint_eq(b->r.warnings, 0);
    rig_deinit(&b->r);
    mem_free(b);
}

/* The first of each batch has no subject any more when its index is read. */
TEST(what_went_before_a_start)
{
    struct bench *b = mem_alloc(sizeof(*b));
    struct seqset set = {0};

    open_bench(b, &options[i]);
    for (unsigned k = 0; k < BATCHES; k++) {
        b->gone[FIRST(k)] = true;
        seqset_add(&set, FIRST(k), FIRST(k));
    }
    store_remove_set(b->t.s, &set, NULL);
    seqset_free(&set);
    restart(b);
    check_messages(b);
    ck_assert_uint_eq(rewrites(b), 0);
    thin_out(b, 3, 3);
    await_rewrites(b, 2);
    check_messages(b);
    restart(b);
    check_messages(b);
    ck_assert_uint_eq(b->r.warnings, 0);
    rig_deinit(&b->r);
    mem_free(b);
}

/* Without its footer such a segment is scanned. */
TEST(a_scan_finds_the_same)
{
    struct bench *b = mem_alloc(sizeof(*b));
    struct store_state before, after;
    char command[512];
    unsigned trimmed;

    open_bench(b, &options[i]);
    thin_out(b, 3, 3);
    await_rewrites(b, 2);
    store_stream_state(b->t.s, &before);
    trimmed = check_entries(b);
    rig_stop(&b->r);
    snprintf(command, sizeof(command),
             "for f in %s/streams/*/*-1.seg; do n=$(stat -c %%s $f); "
             "dd if=/dev/zero of=$f bs=1 seek=$((n - 64)) count=64 conv=notrunc 2>/dev/null "
             "|| exit 1; done",
             b->r.path);
    ck_assert_int_eq(system(command), 0);
    rig_start(&b->r);
    rig_attach(&b->r, &b->t, "s");
    store_recovered_done(b->r.store);
    check_messages(b);
    store_stream_state(b->t.s, &after);
    ck_assert(before.msgs == after.msgs && before.bytes == after.bytes);
    ck_assert_uint_eq(check_entries(b), trimmed);
    rig_deinit(&b->r);
    mem_free(b);
}

/* A batch that the owner can not make anew: its segment stays as it is. */
TEST(what_can_not_be_made_anew_stays)
{
    struct rig_options o = options[0];
    struct bench *b = mem_alloc(sizeof(*b));

    o.kafka_trim = refuse;
    open_bench(b, &o);
    thin_out(b, 3, 3);
    for (unsigned k = 0; k < 300; k++) {
        store_step(b->r.store);
        rig_turn(&b->r, 1000000);
    }
    ck_assert_uint_eq(rewrites(b), 0);
    check_messages(b);
    restart(b);
    check_messages(b);
    rig_deinit(&b->r);
    mem_free(b);
}

static const struct runner_case cases[] = {
    RUN_LOOP(what_is_removed_goes, 0, 3),
    RUN_LOOP(what_went_before_a_start, 0, 3),
    RUN_LOOP(a_scan_finds_the_same, 0, 3),
    RUN(what_can_not_be_made_anew_stays),
};

RUNNER_MAIN("store/store_trim", cases)
