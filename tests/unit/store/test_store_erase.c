/*
 * test_store_erase.c - messages that are erased where their bytes can not be written over: in Kafka
 * batches, in encrypted and in compressed segments, in one that is still written to. When the
 * request is through no file of the stream has them, and the neighbours are there, also after
 * restarts; when power fails before, the next start sees to it.
 */
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "store/store_impl.h"
#include "tests/lib/runner.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT (64u << 10)
#define MESSAGES 50u
/* A message of a batch: its number in it, and a text. */
#define TEXT 60u
#define RECORD (4 + TEXT)

static void text_of(unsigned batch, unsigned i, char out[TEXT + 1])
{
    snprintf(out, TEXT + 1, "<secret %05u of batch %05u, which is nobody's business at all>", i,
             batch);
}

static enum err trim(struct str batch, uint32_t messages, const uint64_t *keep, struct buf *out)
{
    buf_put(out, batch.p, 12);
    for (size_t at = 12; at < batch.n; at += RECORD) {
        uint32_t i = get_u32(batch.p + at);
        ck_assert_uint_lt(i, messages);
        if ((keep[i / 64] >> (i % 64) & 1) != 0)
            buf_put(out, batch.p + at, RECORD);
    }
    return ERR_OK;
}

static enum err refuse(struct str batch, uint32_t messages, const uint64_t *keep, struct buf *out)
{
    (void) batch;
    (void) messages;
    (void) keep;
    (void) out;
    return ERR_CORRUPT;
}

static bool decode(struct str subject, struct str batch, uint64_t first_seq, uint32_t messages,
                   store_kafka_put_fn put, void *to)
{
    (void) subject;
    (void) first_seq;
    (void) messages;
    for (size_t at = 12; at < batch.n; at += RECORD)
        if (!put(to, get_u32(batch.p + at), STR_NONE, str_from(batch.p + at + 4, TEXT)))
            return false;
    return true;
}

static const struct rig_options options[] = {
    {.log_file_bytes = 1 << 20,
     .segment_min = SEGMENT,
     .segment_max = SEGMENT,
     .kafka_decode = decode,
     .kafka_trim = trim},
    {.log_file_bytes = 1 << 20,
     .segment_min = SEGMENT,
     .segment_max = SEGMENT,
     .kafka_decode = decode,
     .kafka_trim = trim,
     .key = "a secret key"},
    {.log_file_bytes = 1 << 20,
     .segment_min = SEGMENT,
     .segment_max = SEGMENT,
     .kafka_decode = decode,
     .kafka_trim = trim,
     .index_lazy_bytes = 1},
};

struct bench {
    struct rig r;
    struct rig_stream t;
    unsigned batches;
    bool gone[10000]; /* by sequence */
};

/* A batch of 50 messages, and 2 that are no Kafka messages. */
static void put(struct bench *b, unsigned n)
{
    char bytes[12 + MESSAGES * RECORD], text[TEXT + 1];

    while (n-- > 0) {
        uint64_t first;
        uint8_t *stored;
        memset(bytes, 0, 12);
        for (unsigned i = 0; i < MESSAGES; i++) {
            put_u32((uint8_t *) bytes + 12 + (size_t) i * RECORD, i);
            text_of(b->batches, i, text);
            memcpy(bytes + 12 + (size_t) i * RECORD + 4, text, TEXT);
        }
        struct store_kafka_append a = {.subject = STR("k"),
                                       .batch = str_from(bytes, sizeof(bytes)),
                                       .messages = MESSAGES,
                                       .ts = b->batches};
        ck_assert_int_eq(store_append_kafka(b->t.s, &a, &first, &stored), ERR_OK);
        for (unsigned i = 0; i < 2; i++) {
            text_of(b->batches, MESSAGES + i, text);
            struct store_append m = {
                .subject = STR("n"), .payload = str_from(text, TEXT), .ts = b->batches};
            ck_assert_int_eq(store_append(b->t.s, &m, &first), ERR_OK);
        }
        b->batches++;
        rig_flush(&b->t);
    }
}

static void open_bench(struct bench *b, const struct rig_options *o)
{
    memset(b, 0, sizeof(*b));
    rig_init(&b->r, o);
    rig_create(&b->r, &b->t, "s", STORE_DURABLE, NULL);
}

static void reopen(struct bench *b)
{
    rig_start(&b->r);
    rig_attach(&b->r, &b->t, "s");
    store_recovered_done(b->r.store);
    store_check(b->r.store);
}

static enum err erase(struct bench *b, uint64_t seq)
{
    struct rig_req q;

    rig_req_init(&q);
    ck_assert_int_eq(store_remove(b->t.s, seq, true, &q.req), ERR_OK);
    b->gone[seq] = true;
    return rig_req_wait(&b->r, &q);
}

static bool in_files(const struct bench *b, uint64_t seq)
{
    char text[TEXT + 1], command[512];

    text_of((unsigned) ((seq - 1) / (MESSAGES + 2)), (unsigned) ((seq - 1) % (MESSAGES + 2)), text);
    snprintf(command, sizeof(command), "grep -rqaF \"%s\" %s/streams", text, b->r.path);
    return system(command) == 0;
}

static unsigned files(const struct bench *b)
{
    char command[512];
    unsigned n = 0;

    snprintf(command, sizeof(command), "find %s/streams -name '*.seg' -o -name '*.new' | wc -l",
             b->r.path);
    FILE *f = popen(command, "r");
    ck_assert(f != NULL && fscanf(f, "%u", &n) == 1);
    pclose(f);
    return n;
}

/* Not in the text of a file, if they are plain; and no batch of a segment has it, nor is there a
 * file beside the segments. */
static void check_gone(struct bench *b, uint64_t seq)
{
    const struct store_stream *s = b->t.s;
    uint32_t entry, i;

    if (b->r.options.key == NULL)
        ck_assert(!in_files(b, seq));
    for (uint32_t k = 0; k < s->nindex; k++) {
        const struct segment *seg = s->index[k];
        if (seg->generation == 0 && seg->crypt == NULL && segment_find(seg, seq, &entry) &&
            seg->entries[entry].b.kind == BATCH_NATIVE)
            continue; /* zeros */
        ck_assert(!segment_find(seg, seq, &entry) ||
                  !entry_find(seg, &seg->entries[entry], seq, &i));
    }
    ck_assert_uint_eq(files(b), s->nindex + (s->next != NULL));
    ck_assert_uint_eq(s->rec.erase.count, 0);
}

/* All others are there, with their text. */
static void check_rest(struct bench *b)
{
    struct store_reader r;
    struct store_msg m;
    struct store_state st;
    char text[TEXT + 1];
    uint64_t left = 0;

    for (unsigned k = 0; k < b->batches * (MESSAGES + 2); k++) {
        uint64_t seq = k + 1;
        ck_assert(store_msg_exists(b->t.s, seq) == !b->gone[seq]);
        left += !b->gone[seq];
        if (b->gone[seq] || (k % 7 != 0 && !b->gone[seq + 1] && !b->gone[k]))
            continue;
        text_of(k / (MESSAGES + 2), k % (MESSAGES + 2), text);
        ck_assert_int_eq(rig_get(&b->t, seq, &m, &r), STORE_READ_MSG);
        ck_assert_uint_eq(m.seq, seq);
        ck_assert(str_eq(m.payload, str_from(text, TEXT)));
        store_reader_deinit(&r);
    }
    store_stream_state(b->t.s, &st);
    ck_assert_uint_eq(st.msgs, left);
    ck_assert_uint_eq(st.lost_msgs, 0);
    store_check(b->r.store);
}

static void await_intents(struct bench *b)
{
    for (unsigned k = 0; k < 30000 && b->t.s->rec.erase.count > 0; k++) {
        store_step(b->r.store);
        rig_turn(&b->r, 1000000);
    }
    ck_assert_uint_eq(b->t.s->rec.erase.count, 0);
}

static void check_over_restarts(struct bench *b, const uint64_t *seqs, unsigned n)
{
    for (unsigned k = 0; k < 3; k++) {
        rig_settle(&b->r);
        for (unsigned i = 0; i < n; i++)
            check_gone(b, seqs[i]);
        check_rest(b);
        rig_stop(&b->r);
        reopen(b);
    }
    ck_assert_uint_eq(b->r.warnings, 0);
}

/* In a sealed segment, in one that is written to, twice in a batch, the first and the last message
 * of the stream, native messages between. */
TEST(the_bytes_are_gone)
{
    static const uint64_t seqs[] = {60, 70, 1, 800, 51, 2078, 2079, 2080, 2000, 103};
    struct bench *b = mem_alloc(sizeof(*b));
    struct store_stats stats;

    open_bench(b, &options[i]);
    put(b, 40);
    if (b->r.options.key == NULL)
        ck_assert(in_files(b, 60) && in_files(b, 800));
    for (unsigned k = 0; k < sizeof(seqs) / sizeof(seqs[0]); k++) {
        ck_assert_int_eq(erase(b, seqs[k]), ERR_OK);
        check_gone(b, seqs[k]); /* now, not a little later */
    }
    store_stats(b->r.store, &stats);
    ck_assert_uint_gt(stats.rewrites, 0);
    check_rest(b);
    put(b, 5);
    check_over_restarts(b, seqs, sizeof(seqs) / sizeof(seqs[0]));
    rig_deinit(&b->r);
    mem_free(b);
}

/* All messages of a batch, then all of the segment that is written to. */
TEST(a_whole_batch_and_all_there_is)
{
    struct bench *b = mem_alloc(sizeof(*b));
    uint64_t seqs[] = {53, 80, 102, 103, 200, 208};

    open_bench(b, &options[i]);
    put(b, 4);
    for (uint64_t seq = 53; seq < 103; seq++)
        ck_assert_int_eq(erase(b, seq), ERR_OK);
    check_gone(b, 53);
    check_rest(b);
    for (uint64_t seq = 208; seq > 0; seq--)
        if (!b->gone[seq])
            ck_assert_int_eq(erase(b, seq), ERR_OK);
    check_over_restarts(b, seqs, sizeof(seqs) / sizeof(seqs[0]));
    put(b, 3);
    check_over_restarts(b, seqs, 0);
    rig_deinit(&b->r);
    mem_free(b);
}

/* Many that nobody waits for one by one share what is written. */
TEST(many_at_once_and_appends_between)
{
    struct bench *b = mem_alloc(sizeof(*b));
    struct rig_req q[60];
    struct store_stats stats;

    open_bench(b, &options[i]);
    put(b, 30);
    for (unsigned k = 0; k < 60; k++) {
        uint64_t seq = 20 + (uint64_t) k * 7;
        rig_req_init(&q[k]);
        ck_assert_int_eq(store_remove(b->t.s, seq, true, &q[k].req), ERR_OK);
        b->gone[seq] = true;
        if (k % 20 == 10)
            put(b, 1);
    }
    for (unsigned k = 0; k < 60; k++)
        ck_assert_int_eq(rig_req_wait(&b->r, &q[k]), ERR_OK);
    store_stats(b->r.store, &stats);
    ck_assert_uint_lt(stats.rewrites, 30);
    rig_settle(&b->r);
    for (unsigned k = 0; k < 60; k++)
        check_gone(b, 20 + (uint64_t) k * 7);
    check_over_restarts(b, NULL, 0);
    rig_deinit(&b->r);
    mem_free(b);
}

/* Erasing one after the other from what is written to does not leave a file for each. */
TEST(small_segments_become_one)
{
    struct bench *b = mem_alloc(sizeof(*b));

    open_bench(b, &options[i]);
    for (unsigned k = 0; k < 30; k++) {
        put(b, 1);
        ck_assert_int_eq(erase(b, (uint64_t) k * (MESSAGES + 2) + 1 + k), ERR_OK);
    }
    rig_settle(&b->r);
    ck_assert_uint_lt(b->t.s->nindex, 8);
    check_over_restarts(b, NULL, 0);
    rig_deinit(&b->r);
    mem_free(b);
}

/* Closed before it was through: the next start finishes it. */
TEST(the_next_start_goes_on)
{
    struct bench *b = mem_alloc(sizeof(*b));
    const uint64_t seqs[] = {1, 60, 208};

    open_bench(b, &options[i]);
    put(b, 4);
    for (unsigned k = 0; k < 3; k++) {
        ck_assert_int_eq(store_remove(b->t.s, seqs[k], true, NULL), ERR_OK);
        b->gone[seqs[k]] = true;
    }
    rig_stop(&b->r);
    if (i == 0)
        ck_assert(in_files(b, 60));
    reopen(b);
    await_intents(b);
    check_over_restarts(b, seqs, 3);
    rig_deinit(&b->r);
    mem_free(b);
}

/* The first message of a batch goes, the store is opened again, and another one goes: what is left
 * has its subject. */
TEST(without_its_first_message)
{
    struct bench *b = mem_alloc(sizeof(*b));
    const uint64_t seqs[] = {53, 60, 54};
    struct store_subject sub;

    open_bench(b, &options[i]);
    put(b, 40);
    for (unsigned k = 0; k < 3; k++) {
        if (k == 0) { /* only removed */
            ck_assert_int_eq(store_remove(b->t.s, 53, false, NULL), ERR_OK);
            b->gone[53] = true;
            rig_settle(&b->r);
        } else {
            ck_assert_int_eq(erase(b, seqs[k]), ERR_OK);
        }
        rig_stop(&b->r);
        reopen(b);
    }
    check_over_restarts(b, seqs, 3);
    if (b->t.s->loader != NULL)
        index_load_all(b->t.s);
    ck_assert(store_subject_get(b->t.s, STR("k"), &sub));
    ck_assert_uint_eq(sub.msgs, 40 * MESSAGES - 3);
    rig_deinit(&b->r);
    mem_free(b);
}

/* A batch that the owner can not make anew: the answer says so, each time, and nothing spins. */
TEST(what_can_not_be_made_anew)
{
    struct rig_options o = options[0];
    struct bench *b = mem_alloc(sizeof(*b));
    struct store_stats stats;

    o.kafka_trim = i == 0 ? refuse : NULL;
    open_bench(b, &o);
    put(b, 4);
    for (uint64_t seq = 60; seq < 64; seq++)
        ck_assert_int_eq(erase(b, seq), ERR_UNSUPPORTED);
    ck_assert_uint_eq(b->r.warnings, 4);
    ck_assert_int_eq(erase(b, 52), ERR_OK); /* native */
    ck_assert(!in_files(b, 52) && in_files(b, 60));
    store_stats(b->r.store, &stats);
    ck_assert_uint_eq(stats.rewrites, 0);
    check_rest(b);
    rig_stop(&b->r);
    b->r.options.kafka_trim = trim;
    reopen(b); /* one that can */
    await_intents(b);
    rig_settle(&b->r);
    for (uint64_t seq = 60; seq < 64; seq++)
        check_gone(b, seq);
    check_rest(b);
    rig_deinit(&b->r);
    mem_free(b);
}

/* In the n-th batch of the first segment: one byte of its header, or all of it. */
static void damage_header(struct bench *b, unsigned n, bool all)
{
    const struct segment *seg = b->t.s->index[0];
    uint8_t header[BATCH_HEADER];
    FILE *f = fopen(seg->path, "r+");

    ck_assert(f != NULL && fseek(f, (long) seg->entries[n].b.offset, SEEK_SET) == 0);
    ck_assert_uint_eq(fread(header, 1, sizeof(header), f), sizeof(header));
    header[40] ^= 4;
    if (all)
        memset(header, 0, sizeof(header));
    fseek(f, (long) seg->entries[n].b.offset, SEEK_SET);
    ck_assert_uint_eq(fwrite(header, 1, sizeof(header), f), sizeof(header));
    fclose(f);
}

/* A header that can be mended does not keep the bytes of a message; one that can not keeps them,
 * and the answer says so. */
TEST(in_a_damaged_batch)
{
    struct bench *b = mem_alloc(sizeof(*b));

    open_bench(b, &options[0]);
    put(b, 3);
    ck_assert_int_eq(erase(b, 51), ERR_OK); /* all of it is in the file from now on */
    ck_assert(in_files(b, 52) && in_files(b, 104));
    damage_header(b, 1, false);
    ck_assert_int_eq(erase(b, 52), ERR_OK);
    ck_assert(!in_files(b, 52));
    check_rest(b);
    damage_header(b, 3, true);
    ck_assert_int_eq(erase(b, 104), ERR_CORRUPT);
    ck_assert(in_files(b, 104));
    ck_assert_uint_eq(b->r.warnings, 1);
    ck_assert_uint_eq(b->t.s->rec.erase.count, 1);
    rig_deinit(&b->r);
    mem_free(b);
}

static const struct runner_case cases[] = {
    RUN_LOOP(the_bytes_are_gone, 0, 3),
    RUN_LOOP(a_whole_batch_and_all_there_is, 0, 3),
    RUN_LOOP(many_at_once_and_appends_between, 0, 3),
    RUN_LOOP(small_segments_become_one, 0, 3),
    RUN_LOOP(the_next_start_goes_on, 0, 3),
    RUN_LOOP(without_its_first_message, 0, 3),
    RUN_LOOP(what_can_not_be_made_anew, 0, 2),
    RUN(in_a_damaged_batch),
};

RUNNER_MAIN("store/store_erase", cases)
