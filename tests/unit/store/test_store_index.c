/*
 * test_store_index.c - questions about subjects, against an array of all messages: filtered
 * readers, counts, last messages, listings; through appends, removals, limits, sealed segments,
 * reopens.
 */
#include "lib/base/mem.h"
#include "store/segment_format.h"
#include "store/store_impl.h"
#include "tests/lib/runner.h"
#include "tests/unit/store/index_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void impatient(struct bench *b, int i)
{
    if (i % 2 == 0)
        b->r.store->filter_patience = 50;
}

TEST(index_against_an_array)
{
    struct bench b;
    char text[NAME];

    bench_open(&b, i);
    impatient(&b, i / 2); /* sieves */
    for (unsigned round = 0; round < 16; round++) {
        bench_append_some(&b);
        if (prng_below(&b.rng, 3) == 0)
            bench_remove_some(&b);
        if (prng_below(&b.rng, 6) == 0)
            bench_purge_some(&b, bench_filter(&b, text));
        if (prng_below(&b.rng, i >= 30 ? 3 : 8) == 0 && i / 15 % 2 == 0)
            bench_reopen(&b);
        impatient(&b, i / 2);
        bench_ask(&b);
        store_check(b.r.store);
    }
    bench_close(&b);
}

/* An age that nothing has reached is no reason to read everything at once. */
TEST(an_age_limit_does_not_hold_up_a_start)
{
    struct bench b;
    struct rig_req q;
    struct store_limits l = {.max_age_ns = 3600ll * 1000000000};

    bench_open(&b, 34);
    b.per_subject = 0;
    rig_req_init(&q);
    store_stream_update(b.t.s, &l, STR("config of s"), &q.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    for (unsigned k = 0; k < 8; k++)
        bench_append_some(&b);
    rig_settle(&b.r);
    rig_stop(&b.r);
    rig_start(&b.r);
    rig_attach(&b.r, &b.t, "s");
    ck_assert(b.t.s->loader != NULL);
    store_recovered_done(b.r.store);
    bench_ask(&b);
    store_check(b.r.store);
    bench_close(&b);
}

/* Of a large footer a start reads neither subjects nor sizes. Where it needs them at once (a
 * message of the segment was removed: i % 2 = 0), or later (1), they may be damaged: the batches
 * have it all. i / 2: which of the two. */
TEST(damaged_footer_costs_nothing)
{
    struct bench b;
    struct store_state state;

    bench_open(&b, 34);
    b.per_subject = 0;
    for (unsigned k = 0; k < 8; k++)
        bench_append_some(&b);
    rig_settle(&b.r);
    ck_assert_int_eq(LIST_ENTRY(b.t.s->segments.next, struct segment, link)->state, SEGMENT_SEALED);
    if (i % 2 == 0)
        bench_remove_some(&b);
    rig_settle(&b.r);
    bench_harm_footer(&b, i / 2 == 0 ? SECTION_SUBJECTS : SECTION_SIZES);
    bench_reopen(&b);
    bench_ask(&b);
    store_stream_state(b.t.s, &state);
    ck_assert(!state.failed);
    ck_assert_uint_eq(state.lost_msgs, 0);
    bench_check_reader(&b, NULL, 1);
    store_check(b.r.store);
    bench_close(&b);
}

/* A filter that matches nothing yet finds what comes, also when more was born than is noted. */
TEST(filters_learn_of_new_subjects)
{
    struct bench b;
    struct str filter = STR("c.*.rare");
    struct store_reader r;
    struct store_msg m;
    char name[NAME];
    bool ready;

    bench_open(&b, 4);
    store_reader_init(&r, b.t.s, 1, &filter, 1, rig_on_ready, &ready);
    ck_assert_int_eq(store_reader_next(&r, &m), STORE_READ_END);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned k = 0; k < 2000; k++) {
            snprintf(name, sizeof(name), "a.%u.%u", round, k);
            rig_append_to(&b.t, name, 10);
        }
        snprintf(name, sizeof(name), "c.%u.rare", round);
        rig_append_to(&b.t, name, 10);
        rig_flush(&b.t);
        ck_assert_int_eq(store_reader_next(&r, &m), STORE_READ_MSG);
        ck_assert(str_eq(m.subject, str_of(name)));
        ck_assert_int_eq(store_reader_next(&r, &m), STORE_READ_END);
    }
    store_reader_deinit(&r);
    bench_close(&b);
}

static void purge_all_of(struct bench *b, const char *filter)
{
    struct store_purge p = {.filter = str_of(filter)};
    struct rig_req q;

    rig_req_init(&q);
    store_purge(b->t.s, &p, &q.req);
    ck_assert_int_eq(rig_req_wait(&b->r, &q), ERR_OK);
}

static void expect_next(struct bench *b, struct store_reader *r, bool *ready, const char *name)
{
    struct store_msg m;

    while (store_reader_next(r, &m) == STORE_READ_WAIT) {
        rig_wait(&b->r, ready);
        *ready = false;
    }
    ck_assert_msg(str_eq(m.subject, str_of(name)), "%.*s, not %s", (int) m.subject.n, m.subject.p,
                  name);
}

/* One that matches more than few and fits a sieve: through births, also more than are noted, and
 * through ids that subjects of the other kind had before. */
TEST(a_sieve_learns_of_new_subjects)
{
    struct bench b;
    struct store_reader r;
    struct str filter = STR("c.*.rare");
    struct store_msg m;
    char name[NAME];
    bool ready = false;
    unsigned sieved = 0;

    bench_open(&b, 4);
    b.r.store->filter_patience = 50;
    store_reader_init(&r, b.t.s, 1, &filter, 1, rig_on_ready, &ready);
    for (unsigned round = 0; round < 12; round++) {
        unsigned n = round % 4 == 3 ? 3000 : 900;
        for (unsigned k = 0; k < n; k++) {
            snprintf(name, sizeof(name), k % 10 == 0 ? "c.%u.rare" : "a.%u.rare", round * 4000 + k);
            rig_append_to(&b.t, name, 10);
        }
        rig_flush(&b.t);
        for (unsigned k = 0; k < n; k += 10) {
            snprintf(name, sizeof(name), "c.%u.rare", round * 4000 + k);
            expect_next(&b, &r, &ready, name);
        }
        while (store_reader_next(&r, &m) == STORE_READ_WAIT)
            rig_wait(&b.r, &ready);
        sieved += r.filter->sieved;
        purge_all_of(&b, round % 2 == 0 ? "a.>" : ">");
    }
    ck_assert_uint_gt(sieved, 3);
    store_reader_deinit(&r);
    bench_close(&b);
}

/* A purge below a sequence, of subjects whose messages are further on: asking for the first of them
 * costs more than a slice may, and what it finds is behind the end. */
TEST(purge_below_what_is_left)
{
    struct bench b;
    struct store_purge p = {.filter = STR("p.*"), .before_seq = 10};
    struct rig_req q;
    char name[NAME];

    bench_open(&b, 0);
    rig_append_to(&b.t, "p.0", 10);
    for (unsigned k = 0; k < 600; k++)
        rig_append_to(&b.t, "x", 10);
    for (unsigned k = 0; k < 64; k++) {
        snprintf(name, sizeof(name), "p.%u", k % 32);
        rig_append_to(&b.t, name, 10);
    }
    rig_flush(&b.t);
    rig_req_init(&q);
    store_purge(b.t.s, &p, &q.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    ck_assert_uint_eq(q.req.count, 1);
    bench_close(&b);
}

/* Appends, reads by sequence, and sums need no index; whoever asks for subjects waits for it. Every
 * other time with Kafka batches. */
TEST(a_start_leaves_the_index_for_later)
{
    struct bench b;
    struct store_state before, after;
    struct store_subject sub;
    struct rig_req q;

    bench_open(&b, 30 + 2 + i % 2);
    while (b.last < 8000)
        bench_append_some(&b);
    store_stream_state(b.t.s, &before);
    rig_settle(&b.r);
    rig_stop(&b.r);
    rig_start(&b.r);
    rig_attach(&b.r, &b.t, "s");
    store_recovered_done(b.r.store);
    ck_assert_ptr_nonnull(b.t.s->loader);
    store_stream_state(b.t.s, &after);
    ck_assert_uint_eq(after.msgs, before.msgs);
    ck_assert_uint_eq(after.bytes, before.bytes);
    ck_assert_uint_eq(after.first_seq, before.first_seq);
    ck_assert_uint_eq(after.last_seq, before.last_seq);
    ck_assert_uint_le(after.num_subjects, before.num_subjects);
    ck_assert_int_eq(rig_append_to(&b.t, "new.one", 10), ERR_OK);
    ck_assert_uint_eq(b.t.s->last_assigned, b.last + 1);
    ck_assert_ptr_nonnull(b.t.s->loader);
    switch (i / 2) {
    case 0: /* reads all of it */
        ck_assert(store_subject_get(b.t.s, str_of(b.names[b.last]), &sub));
        ck_assert_uint_eq(sub.last_seq, b.last);
        break;
    case 1: /* waits for it */
        rig_req_init(&q);
        ck_assert(store_index_wait(b.t.s, &q.req));
        ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
        ck_assert(!store_index_wait(b.t.s, &q.req));
        break;
    default: /* is left alone */
        while (b.t.s->loader != NULL)
            rig_step(&b.r);
    }
    ck_assert_ptr_null(b.t.s->loader);
    rig_flush(&b.t);
    store_stream_state(b.t.s, &after);
    ck_assert_uint_eq(after.num_subjects, before.num_subjects + 1);
    ck_assert_uint_eq(after.msgs, before.msgs + 1);
    store_check(b.r.store);
    bench_close(&b);
}

/* A store is closed at any moment of that, i steps on. */
TEST(a_stop_while_the_index_is_read)
{
    struct bench b;

    bench_open(&b, 30 + 4);
    while (b.last < 25000)
        bench_append_some(&b);
    rig_settle(&b.r);
    for (unsigned round = 0; round < 12; round++) {
        rig_close(&b.r);
        rig_start(&b.r);
        rig_attach(&b.r, &b.t, "s");
        store_recovered_done(b.r.store);
        b.r.store->tasks_ns = 0;
        for (unsigned n = 0; n < (unsigned) i * 20 + round; n++)
            rig_step(&b.r);
        ck_assert(i > 2 || store_index_wait(b.t.s, NULL));
    }
    bench_open_again(&b);
    bench_ask(&b);
    store_check(b.r.store);
    bench_close(&b);
}

static void limit_per_subject(struct bench *b, unsigned max)
{
    struct store_limits l = {.max_msgs_per_subject = max};
    char name[NAME];

    b->per_subject = max;
    store_stream_update(b->t.s, &l, STR("config of s"), NULL);
    for (uint64_t seq = 1; seq <= b->last; seq++) {
        memcpy(name, b->names[seq], NAME);
        if (name[0] != '\0')
            bench_trim(b, name);
    }
}

/* Removals, erasures, purges, appends and a limit come while the index is being read; it is stopped
 * in the middle of it, too. */
TEST(removals_while_the_index_is_read)
{
    struct bench b;
    struct rig_req erased, purged;
    uint64_t gone = 0;

    bench_open(&b, 30 + i % 5);
    while (b.last < 6000)
        bench_append_some(&b);
    for (unsigned round = 0; round < 4; round++) {
        bench_reopen(&b);
        bool coming = store_index_wait(b.t.s, NULL);
        ck_assert(coming || round > 0);
        bench_remove_some(&b);
        bench_check_gone(&b, prng_below(&b.rng, b.last));
        rig_step(&b.r);
        rig_req_init(&erased);
        for (gone = b.last / 2; b.names[gone][0] == '\0';)
            gone++;
        ck_assert_int_eq(store_remove(b.t.s, gone, true, &erased.req), ERR_OK);
        b.names[gone][0] = '\0';
        bench_append_some(&b);
        bench_remove_some(&b);
        bench_check_gone(&b, prng_below(&b.rng, b.last));
        /* One of a Kafka batch is only removed: nobody here can make the batch anew. */
        enum err answer = rig_req_wait(&b.r, &erased);
        ck_assert(answer == ERR_OK || answer == ERR_UNSUPPORTED);
        if (round == 2) {
            rig_req_init(&purged);
            store_purge(b.t.s, &(struct store_purge){.filter = STR("a.>"), .keep = 3}, &purged.req);
            ck_assert_int_eq(rig_req_wait(&b.r, &purged), ERR_OK);
            unsigned kept = 0;
            for (uint64_t seq = b.last; seq > 0; seq--)
                if (bench_matches(&b, seq, "a.>") && ++kept > 3)
                    b.names[seq][0] = '\0';
        }
        if (round == 3)
            limit_per_subject(&b, 1 + (unsigned) i % 2);
        if (round % 2 == 1) {
            rig_settle(&b.r);
            bench_ask(&b);
        }
        for (unsigned k = 0; k < 4; k++) /* the next time, whole segments again */
            bench_append_some(&b);
        store_check(b.r.store);
    }
    rig_req_init(&purged);
    bench_reopen(&b);
    store_purge(b.t.s, &(struct store_purge){0}, &purged.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &purged), ERR_OK);
    memset(b.names, 0, ((size_t) MOST + 1) * sizeof(*b.names));
    bench_ask(&b);
    store_check(b.r.store);
    bench_close(&b);
}

/* ---- single subjects while the index is read ------------------------------------------------- */

/* Some subjects are asked for, again and again, while there are appends and removals; what they say
 * is exact long before the index is there. */
TEST(single_subjects_while_the_index_is_read)
{
    char names[8][NAME];
    unsigned early = 0;
    struct bench b;

    bench_open(&b, 30 + i % 5); /* every spread, without a limit per subject */
    while (b.last < 20000)
        bench_append_some(&b);
    for (unsigned round = 0; round < 4; round++) {
        bench_open_again(&b);
        while (store_index_wait(b.t.s, NULL)) {
            early += bench_know(&b, names, 8);
            for (unsigned k = 0; k < 8; k++)
                bench_ask_known(&b, names[k]);
            bench_remove_some(&b);
            for (unsigned k = 0; k < 8; k++)
                bench_ask_known(&b, names[k]);
            if (round % 2 == 1 && b.last < MOST - 4000)
                bench_append_some(&b);
            for (unsigned k = 0; k < 8; k++)
                bench_ask_known(&b, names[k]);
            rig_step(&b.r);
        }
        store_check(b.r.store); /* reads all of it */
        bench_ask(&b);
        for (unsigned k = 0; k < 2; k++)
            bench_append_some(&b);
    }
    ck_assert_uint_gt(early, 0);
    bench_close(&b);
}

/* Nobody answers for a footer that is damaged (i: where): then all is read, and nothing is lost. */
TEST(a_damaged_footer_answers_for_no_subject)
{
    char names[8][NAME];
    struct bench b;

    bench_open(&b, 30 + 4);
    while (b.last < 8000)
        bench_append_some(&b);
    rig_settle(&b.r);
    bench_harm_footer(&b, i == 0 ? SECTION_SUBJECTS : SECTION_FENCES);
    bench_open_again(&b);
    for (unsigned k = 0; k < 40; k++) {
        bool others_wait = bench_know(&b, names, 8);
        ck_assert(!others_wait || i == 0); /* all fences are read, but not all blocks */
        for (unsigned j = 0; j < 8; j++)
            bench_ask_known(&b, names[j]);
    }
    bench_ask(&b);
    store_check(b.r.store);
    bench_close(&b);
}

/* ---- the last message of every subject ------------------------------------------------------- */

static int by_name_and_seq(const void *a, const void *b)
{
    const char *x = *(char *const *) a, *y = *(char *const *) b;
    int order = strcmp(x, y);

    return order != 0 ? order : x < y ? -1 : x > y;
}

static int by_seq(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return x < y ? -1 : x > y;
}

/* As it is now. */
static uint64_t *model_lasts(struct bench *b, const char *filter, size_t *n)
{
    char **all = mem_array(b->last + 1, sizeof(*all));
    uint64_t *seqs = mem_array(b->last + 1, sizeof(*seqs));
    size_t there = 0;

    for (uint64_t seq = 1; seq <= b->last; seq++)
        if (bench_matches(b, seq, filter))
            all[there++] = b->names[seq];
    qsort(all, there, sizeof(*all), by_name_and_seq);
    *n = 0;
    for (size_t k = 0; k < there; k++)
        if (k + 1 == there || strcmp(all[k], all[k + 1]) != 0)
            seqs[(*n)++] = (uint64_t) (all[k] - b->names[0]) / NAME;
    qsort(seqs, *n, sizeof(*seqs), by_seq);
    mem_free(all);
    return seqs;
}

struct listing_of {
    struct store_lasts *list;
    struct rig_req q;
    uint64_t *want, count;
    size_t n;
};

static void begin_list(struct bench *b, struct listing_of *l, const char *filter, uint64_t upto)
{
    struct str f = filter != NULL ? str_of(filter) : STR_NONE;

    l->want = model_lasts(b, filter, &l->n);
    rig_req_init(&l->q);
    l->list = store_lasts_begin(b->t.s, &f, filter != NULL, upto, &l->count, &l->q.req);
    if (l->count != UINT64_MAX)
        ck_assert_uint_eq(l->count, l->n);
    if (filter == NULL || strcmp(filter, ">") == 0)
        ck_assert(l->count != UINT64_MAX || upto < b->last);
}

static void end_list(struct bench *b, struct listing_of *l)
{
    size_t n;

    ck_assert_int_eq(rig_req_wait(&b->r, &l->q), ERR_OK);
    uint64_t *seqs = store_lasts_take(l->list, &n);
    ck_assert_uint_eq(n, l->n);
    for (size_t k = 0; k < n; k++)
        ck_assert_uint_eq(seqs[k], l->want[k]);
    ck_assert(!store_lasts_free(l->list));
    mem_free(seqs);
    mem_free(l->want);
}

/* Lists are begun, others given up, and everything changes while they are made: each is of the
 * moment at which it was begun. */
TEST(last_messages_of_a_moment)
{
    char text[NAME];
    struct listing_of l[3];
    struct bench b;

    bench_open(&b, i);
    for (unsigned round = 0; round < 10; round++) {
        bench_append_some(&b);
        bench_append_some(&b);
        for (unsigned k = 0; k < 3; k++)
            begin_list(&b, &l[k], k == 0 ? NULL : bench_filter(&b, text), UINT64_MAX);
        bench_remove_some(&b);
        bench_append_some(&b);
        if (prng_below(&b.rng, 3) == 0)
            rig_step(&b.r);
        bench_remove_some(&b);
        bench_append_some(&b);
        if (prng_below(&b.rng, 4) == 0)
            bench_purge_some(&b, bench_filter(&b, text));
        if (prng_below(&b.rng, 4) == 0) {
            ck_assert(store_lasts_free(l[2].list) || l[2].q.done);
            mem_free(l[2].want);
            l[2].list = NULL;
        }
        for (unsigned k = 0; k < 3; k++)
            if (l[k].list != NULL)
                end_list(&b, &l[k]);
        store_check(b.r.store);
    }
    bench_close(&b);
}

/* Behind a start, what had been the last messages up to a sequence; what came later changes
 * nothing. */
TEST(last_messages_up_to_a_sequence)
{
    struct listing_of l;
    struct bench b;

    bench_open(&b, 30 + i % 5);
    while (b.last < 6000)
        bench_append_some(&b);
    uint64_t upto = b.last;
    begin_list(&b, &l, i % 2 == 0 ? NULL : "b.>", upto);
    ck_assert(store_lasts_free(l.list));
    bench_append_some(&b);
    bench_open_again(&b);
    bench_append_some(&b);
    struct str f = STR("b.>");
    rig_req_init(&l.q);
    l.list = store_lasts_begin(b.t.s, &f, i % 2, upto, &l.count, &l.q.req);
    bench_append_some(&b);
    end_list(&b, &l);
    store_check(b.r.store);
    bench_close(&b);
}

static const struct runner_case cases[] = {
    RUN_LOOP(last_messages_of_a_moment, 0, 30),
    RUN_LOOP(last_messages_up_to_a_sequence, 0, 6),
    RUN_LOOP(single_subjects_while_the_index_is_read, 0, 10),
    RUN_LOOP(a_damaged_footer_answers_for_no_subject, 0, 2),
    RUN_LOOP(a_start_leaves_the_index_for_later, 0, 6),
    RUN_LOOP(removals_while_the_index_is_read, 0, 10),
    RUN_LOOP(a_stop_while_the_index_is_read, 0, 6),
    RUN_LOOP(index_against_an_array, 0, 45),
    RUN(an_age_limit_does_not_hold_up_a_start),
    RUN_LOOP(damaged_footer_costs_nothing, 0, 4),
    RUN(filters_learn_of_new_subjects),
    RUN(a_sieve_learns_of_new_subjects),
    RUN(purge_below_what_is_left),
};

RUNNER_MAIN("store/store_index", cases)
