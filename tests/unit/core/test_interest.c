/* Interest: answers, groups, generations, watches, and changes beside matching in two threads. */
#include "lib/base/assert.h"
#include "lib/base/buf.h"
#include "lib/base/prng.h"
#include "lib/base/subject.h"
#include "server/core/interest.h"
#include "tests/lib/runner.h"

#include <pthread.h>
#include <stdio.h>

static struct interest_sub *add(struct interest *in, const char *pattern, const char *queue,
                                uint32_t worker, handle sink)
{
    struct interest_spec spec = {
        .pattern = str_of(pattern), .queue = str_of(queue), .worker = worker, .sink = sink};

    return interest_add(in, &spec);
}

static void match(struct interest *in, const char *subject, struct interest_answer *a)
{
    interest_match(in, str_of(subject), a);
}

TEST(answers_name_worker_sink_and_group)
{
    struct interest *in = interest_open(1);
    struct interest_answer a = {0};

    add(in, "a.b", NULL, 3, 33);
    add(in, "a.*", "q", 1, 11);
    add(in, "a.>", "q", 2, 22);
    add(in, "a.b", "r", 0, 44);
    match(in, "a.b", &a);
    ck_assert_uint_eq(a.nhits, 4);
    ck_assert_uint_eq(a.ngroups, 2);
    for (uint32_t k = 0; k < a.nhits; k++) {
        const struct interest_hit *h = &a.hits[k];
        ck_assert_uint_eq(h->sink, h->worker == 0 ? 44 : h->worker * 11);
        ck_assert_int_eq(h->group == 0, h->worker == 3);
    }
    /* q is one group over both patterns. */
    match(in, "a.c", &a);
    ck_assert_uint_eq(a.nhits, 2);
    ck_assert_uint_eq(a.ngroups, 1);
    ck_assert_uint_eq(a.hits[0].group, 1);
    ck_assert_uint_eq(a.hits[1].group, 1);
    ck_assert(interest_any(in, STR("a.c.d")));
    ck_assert(!interest_any(in, STR("a")));
    interest_check(in);
    interest_answer_free(&a);
    interest_close(in);
}

/* As when a stream changes its subjects: the old and the new one stand beside each other. */
TEST(a_stream_hears_once)
{
    struct interest *in = interest_open(1);
    struct interest_answer a = {0};
    struct interest_spec spec = {.pattern = STR("a.*"), .worker = 1, .sink = 7, .internal = true};
    struct interest_sub *old = interest_add(in, &spec);

    spec.pattern = STR("a.>");
    interest_add(in, &spec);
    add(in, "a.b", NULL, 1, 8);
    add(in, "a.*", NULL, 1, 8); /* a client's subscription is a sink of its own, and counts */
    match(in, "a.b", &a);
    ck_assert_uint_eq(a.nhits, 3);
    interest_remove(in, old);
    match(in, "a.b", &a);
    ck_assert_uint_eq(a.nhits, 3);
    match(in, "a.b.c", &a);
    ck_assert_uint_eq(a.nhits, 1);
    interest_answer_free(&a);
    interest_check(in);
    interest_close(in);
}

/* More groups than are searched one by one; ids agree between answers. */
TEST(many_groups)
{
    struct interest *in = interest_open(1);
    struct interest_answer a = {0}, b = {0};
    char name[16];

    for (unsigned k = 0; k < 1000; k++) {
        snprintf(name, sizeof(name), "q%u", k % 300);
        add(in, k % 2 == 0 ? "s.*" : "s.>", name, 0, k + 1);
    }
    match(in, "s.x", &a);
    match(in, "s.y", &b);
    ck_assert_uint_eq(a.nhits, 1000);
    ck_assert_uint_eq(a.ngroups, 300);
    for (uint32_t k = 0; k < a.nhits; k++)
        for (uint32_t m = 0; m < k; m++)
            ck_assert_int_eq(a.hits[k].group == a.hits[m].group,
                             (a.hits[k].sink - 1) % 300 == (a.hits[m].sink - 1) % 300);
    for (uint32_t k = 0; k < a.nhits; k++)
        ck_assert_uint_eq(a.group_ids[a.hits[k].group - 1], b.group_ids[b.hits[k].group - 1]);
    interest_answer_free(&a);
    interest_answer_free(&b);
    interest_check(in);
    interest_close(in);
}

TEST(limits_of_patterns)
{
    static const char *const bad[] = {"", ".", "a..b", "a.", ".a", "a.>.b", "a b", "a\tb"};
    struct interest *in = interest_open(1);
    struct interest_spec spec = {.sink = 1};
    char text[8192];

    for (unsigned k = 0; k < ARRAY_LEN(bad); k++)
        ck_assert_ptr_null(add(in, bad[k], NULL, 0, 1));
    memset(text, 'x', sizeof(text));
    spec.pattern = str_from(text, 4096);
    ck_assert_ptr_nonnull(interest_add(in, &spec));
    spec.pattern = str_from(text, 4097);
    ck_assert_ptr_null(interest_add(in, &spec));
    for (unsigned k = 1; k < sizeof(text); k += 2)
        text[k] = '.';
    spec.pattern = str_from(text, 2 * 255 - 1);
    ck_assert_ptr_nonnull(interest_add(in, &spec));
    spec.pattern = str_from(text, 2 * 256 - 1);
    ck_assert_ptr_null(interest_add(in, &spec));
    interest_check(in);
    interest_close(in);
}

struct listing {
    struct buf text;
    unsigned n;
};

static void list_one(void *ctx, const struct interest_spec *spec)
{
    struct listing *l = ctx;

    buf_printf(&l->text, "%.*s/%.*s/%u/%u/%d ", STR_ARG(spec->pattern), STR_ARG(spec->queue),
               spec->worker, (unsigned) spec->sink, spec->internal);
    l->n++;
}

TEST(lists_and_counts)
{
    struct interest *in = interest_open(1);
    struct interest_spec internal = {.pattern = STR("$JS.API.>"), .sink = 9, .internal = true};
    struct interest_sub *sub = add(in, "x.*.y", "q", 2, 7);
    struct interest_stats stats;
    struct listing l = {0};

    interest_add(in, &internal);
    interest_each(in, list_one, &l);
    ck_assert_uint_eq(l.n, 2);
    ck_assert_ptr_nonnull(strstr(buf_cstr(&l.text), "x.*.y/q/2/7/0 "));
    ck_assert_ptr_nonnull(strstr(buf_cstr(&l.text), "$JS.API.>//0/9/1 "));
    interest_stats(in, &stats);
    ck_assert_uint_eq(stats.subs, 1);
    ck_assert_uint_eq(stats.internal, 1);
    interest_remove(in, sub);
    interest_stats(in, &stats);
    ck_assert_uint_eq(stats.subs, 0);
    ck_assert_uint_eq(stats.inserts, 2);
    ck_assert_uint_eq(stats.removes, 1);
    buf_free(&l.text);
    interest_check(in);
    interest_close(in);
}

/* ---- generations ----------------------------------------------------------------------------- */

static uint64_t generation(struct interest *in, const char *key)
{
    return interest_generation(interest_clock(in), interest_bucket(in, str_of(key)));
}

/* A change of `pattern` must / need not invalidate what is cached for `key`, a subject or a prefix.
 */
static const struct {
    const char *pattern, *key;
    bool must;
} invalidations[] = {
    {"a.b", "a.b", true},
    {"a.b.c", "a.b.c", true},
    {"a.b.c", "a.b.d", true}, /* the same head: allowed, and so it is */
    {"a.b", "a.c", false},
    {"a.b.>", "a.b.x.y", true},
    {"a.b.*", "a.c.x", false},
    {"a.>", "a.b", true},
    {"a.*", "z.z", true}, /* a wildcard in the head tells everybody */
    {">", "q", true},
    {"*.b", "a.b", true},
    {"a", "a", true},
    {"a", "b", false},
    {"a", "a.b", false},
    {"_INBOX.n1.*", "_INBOX.n1.x", true},
    {"_INBOX.n1.*", "_INBOX.n2.x", false},
    {"_INBOX.n1.*", "orders.new", false},
    {"$JS.API.INFO", "$JS.API.STREAM", false},
    {"$JS.API.INFO", "$JS.API.INFO", true},
    {"$JS.API.>", "$JS.API.INFO", true},
    {"$KV.b.k1", "$KV.b.k1", true},
    {"$KV.b.k1", "$KV.b.k2", false},
    {"$KV.b.>", "$KV.b.k2", true},
    {"$KX.b.k1", "$KX.b.k2", true}, /* only $JS and $KV have a head of three */
    /* Prefixes shorter than the head. */
    {"orders.124", "orders", true},
    {"orders.124.x", "orders", true},
    {"other.124", "orders", false},
    {"$KV.b.k1", "$KV.b", true},
    {"$KV.c.k1", "$KV.b", false},
};

TEST(generations)
{
    struct interest *in = interest_open(12345);
    uint64_t before = generation(in, invalidations[i].key);
    struct interest_sub *sub = add(in, invalidations[i].pattern, NULL, 0, 1);
    uint64_t between = generation(in, invalidations[i].key);

    ck_assert_int_eq(between != before, invalidations[i].must);
    interest_remove(in, sub);
    ck_assert_int_eq(generation(in, invalidations[i].key) != between, invalidations[i].must);
    interest_close(in);
}

static void random_subject(struct prng *p, char out[32], bool wildcards)
{
    unsigned tokens = 1 + (unsigned) prng_below(p, 4), n = 0;

    for (unsigned k = 0; k < tokens; k++) {
        uint64_t dice = prng_below(p, 10);
        if (k > 0)
            out[n++] = '.';
        if (wildcards && dice < 3)
            out[n++] = dice == 0 && k + 1 == tokens ? '>' : '*';
        else
            out[n++] = (char) ('a' + prng_below(p, 3));
    }
    out[n] = '\0';
}

/* Whatever changes: an answer whose generation holds is the answer given now. */
TEST(unchanged_generation_means_unchanged_answer)
{
    struct interest *in = interest_open(77);
    struct interest_sub *subs[40] = {0};
    struct interest_answer before = {0}, after = {0};
    struct prng p;
    char pattern[32], key[32];
    unsigned kept = 0;

    prng_init(&p, (uint64_t) i);
    for (unsigned round = 0; round < 5000; round++) {
        unsigned k = (unsigned) prng_below(&p, ARRAY_LEN(subs));
        bool prefix = prng_below(&p, 2) == 0, shared_before = false, shared_after = false;
        random_subject(&p, key, false);
        if (prefix)
            shared_before = interest_match_prefix(in, str_of(key), &before);
        else
            match(in, key, &before);
        random_subject(&p, pattern, true);
        if (subs[k] != NULL)
            interest_remove(in, subs[k]);
        subs[k] = subs[k] == NULL ? add(in, pattern, NULL, 0, 1 + k) : NULL;
        if (generation(in, key) != before.generation)
            continue;
        kept++;
        if (prefix)
            shared_after = interest_match_prefix(in, str_of(key), &after);
        else
            match(in, key, &after);
        ck_assert_int_eq(shared_before, shared_after);
        if (prefix && !shared_after)
            continue;
        ck_assert_uint_eq(before.nhits, after.nhits);
        for (uint32_t h = 0; h < after.nhits; h++)
            ck_assert_uint_eq(before.hits[h].sink, after.hits[h].sink);
    }
    ck_assert_uint_gt(kept, 500);
    interest_check(in);
    interest_answer_free(&before);
    interest_answer_free(&after);
    interest_close(in);
}

TEST(any_below)
{
    struct interest *in = interest_open(1);
    struct interest_sub *sub;

    ck_assert(!interest_any_below(in, STR("$JS.ACK.S.C")));
    sub = add(in, "$JS.ACK.S.D.>", NULL, 0, 1);
    ck_assert(!interest_any_below(in, STR("$JS.ACK.S.C")));
    interest_remove(in, sub);
    sub = add(in, "$JS.ACK.*.*.1.2", NULL, 0, 1);
    ck_assert(interest_any_below(in, STR("$JS.ACK.S.C")));
    interest_remove(in, sub);
    sub = add(in, "$JS.ACK.>", NULL, 0, 1);
    ck_assert(interest_any_below(in, STR("$JS.ACK.S.C")));
    interest_remove(in, sub);
    sub = add(in, "$JS.ACK.S.C", NULL, 0, 1);
    ck_assert(!interest_any_below(in, STR("$JS.ACK.S.C")));
    interest_close(in);
}

/* ---- watches --------------------------------------------------------------------------------- */

struct edges {
    unsigned on, off;
    bool state;
};

static void edge(void *ctx, bool on)
{
    struct edges *e = ctx;

    ck_assert_int_ne(e->state, on); /* edges alternate */
    e->state = on;
    e->on += on;
    e->off += !on;
}

TEST(watch_sees_first_and_last)
{
    struct interest *in = interest_open(1);
    struct edges e = {0};
    struct interest_sub *a, *b;
    struct interest_watch *w;
    bool now = true;

    w = interest_watch(in, STR("deliver.to.me"), edge, &e, &now);
    ck_assert(!now);
    a = add(in, "deliver.to.me", NULL, 0, 1);
    ck_assert_uint_eq(e.on, 1);
    b = add(in, "deliver.>", "q", 0, 2);
    add(in, "deliver.to.you", NULL, 0, 3);
    interest_remove(in, a);
    ck_assert_uint_eq(e.off, 0);
    interest_check(in);
    interest_remove(in, b);
    ck_assert_uint_eq(e.off, 1);
    interest_unwatch(in, w);
    b = add(in, "deliver.>", NULL, 0, 2);
    ck_assert_uint_eq(e.on, 1);
    e = (struct edges){.state = true};
    w = interest_watch(in, STR("deliver.to.me"), edge, &e, &now);
    ck_assert(now);
    interest_remove(in, b);
    ck_assert_uint_eq(e.off, 1);
    interest_close(in); /* with the watch */
}

TEST(watches_agree_with_any)
{
    struct interest *in = interest_open(9);
    struct interest_sub *subs[30] = {0};
    struct interest_watch *watches[20];
    struct edges e[20] = {0};
    char names[20][32], pattern[32];
    struct prng p;

    prng_init(&p, (uint64_t) i + 100);
    for (unsigned k = 0; k < 20; k++) {
        random_subject(&p, names[k], false);
        watches[k] = interest_watch(in, str_of(names[k]), edge, &e[k], &e[k].state);
    }
    for (unsigned round = 0; round < 2000; round++) {
        unsigned k = (unsigned) prng_below(&p, ARRAY_LEN(subs));
        random_subject(&p, pattern, true);
        if (subs[k] != NULL)
            interest_remove(in, subs[k]);
        subs[k] = subs[k] == NULL ? add(in, pattern, NULL, 0, 1 + k) : NULL;
        for (unsigned w = 0; w < 20; w++)
            ck_assert_int_eq(e[w].state, interest_any(in, str_of(names[w])));
        if (round % 100 == 0)
            interest_check(in);
    }
    for (unsigned k = 0; k < 20; k++)
        interest_unwatch(in, watches[k]);
    interest_close(in);
}

/* ---- two threads ----------------------------------------------------------------------------- */

struct race {
    struct interest *in;
    _Atomic bool stop;
    _Atomic unsigned ready;    /* rounds the changer has finished */
    _Atomic unsigned watching; /* state of the last edge + 1 */
};

static void race_edge(void *ctx, bool on)
{
    atomic_store(&((struct race *) ctx)->watching, on ? 2 : 1);
}

/* Adds and removes patterns around subjects that the other thread matches. */
static void *change(void *ctx)
{
    struct race *r = ctx;
    struct interest_sub *subs[16] = {0};
    char pattern[32];

    for (unsigned round = 0; round < 4000; round++) {
        unsigned k = round % ARRAY_LEN(subs);
        if (subs[k] != NULL)
            interest_remove(r->in, subs[k]);
        snprintf(pattern, sizeof(pattern), k % 4 == 0 ? "hot.%u.*" : "hot.%u.x", k / 4);
        subs[k] = add(r->in, pattern, k % 3 == 0 ? "q" : NULL, 1, 1 + k);
        /* Visible to whoever sees this count. */
        atomic_store_explicit(&r->ready, round + 1, memory_order_release);
    }
    atomic_store(&r->stop, true);
    return NULL;
}

/* The stable subscription is in every answer; what was added before is seen; generations never
 * fall. */
TEST(changes_beside_matching)
{
    struct race r = {.in = interest_open(3)};
    struct interest_answer a = {0};
    struct interest_watch *w;
    pthread_t thread;
    uint64_t last = 0;
    bool now;

    add(r.in, "hot.>", NULL, 0, 1000);
    w = interest_watch(r.in, STR("hot.3.x"), race_edge, &r, &now);
    ck_assert(now);
    ck_assert_int_eq(pthread_create(&thread, NULL, change, &r), 0);
    while (!atomic_load(&r.stop)) {
        unsigned ready = atomic_load_explicit(&r.ready, memory_order_acquire);
        bool stable = false;
        uint64_t g;
        match(r.in, "hot.3.x", &a);
        for (uint32_t k = 0; k < a.nhits; k++)
            stable |= a.hits[k].sink == 1000;
        ck_assert(stable);
        /* Of the four patterns for hot.3 at most one is missing for a moment. */
        if (ready >= 16)
            ck_assert_uint_ge(a.nhits, 1 + 3);
        ck_assert_uint_le(a.nhits, 1 + 4);
        g = generation(r.in, "hot.3.x");
        ck_assert_uint_ge(g, last);
        last = g;
        interest_match_prefix(r.in, STR("hot.2"), &a);
    }
    pthread_join(thread, NULL);
    ck_assert_uint_eq(atomic_load(&r.watching), 0); /* hot.> never went */
    interest_unwatch(r.in, w);
    interest_check(r.in);
    interest_answer_free(&a);
    interest_close(r.in);
}

struct edge_race {
    struct interest *in;
    _Atomic unsigned on, off;
    _Atomic bool inside;
};

static void count_edge(void *ctx, bool on)
{
    struct edge_race *r = ctx;

    /* One at a time, alternating: the state is what on - off says. */
    ck_assert(!atomic_exchange(&r->inside, true));
    if (on)
        ck_assert_uint_eq(atomic_fetch_add(&r->on, 1), atomic_load(&r->off));
    else
        ck_assert_uint_eq(atomic_fetch_add(&r->off, 1) + 1, atomic_load(&r->on));
    atomic_store(&r->inside, false);
}

static void *come_and_go(void *ctx)
{
    struct edge_race *r = ctx;

    for (unsigned k = 0; k < 2000; k++)
        interest_remove(r->in, add(r->in, k % 2 == 0 ? "w.x" : "w.*", NULL, 0, 1));
    return NULL;
}

TEST(edges_from_two_threads_come_in_order)
{
    struct edge_race r = {.in = interest_open(3)};
    pthread_t t[2];
    bool now;

    interest_watch(r.in, STR("w.x"), count_edge, &r, &now);
    for (unsigned k = 0; k < 2; k++)
        ck_assert_int_eq(pthread_create(&t[k], NULL, come_and_go, &r), 0);
    for (unsigned k = 0; k < 2; k++)
        pthread_join(t[k], NULL);
    ck_assert_uint_eq(atomic_load(&r.on), atomic_load(&r.off));
    ck_assert_uint_gt(atomic_load(&r.on), 0);
    interest_check(r.in);
    interest_close(r.in);
}

static const struct runner_case cases[] = {
    RUN(answers_name_worker_sink_and_group),
    RUN(a_stream_hears_once),
    RUN(many_groups),
    RUN(limits_of_patterns),
    RUN(lists_and_counts),
    RUN_LOOP(generations, 0, ARRAY_LEN(invalidations)),
    RUN_LOOP(unchanged_generation_means_unchanged_answer, 0, 4),
    RUN(any_below),
    RUN(watch_sees_first_and_last),
    RUN_LOOP(watches_agree_with_any, 0, 4),
    RUN(changes_beside_matching),
    RUN(edges_from_two_threads_come_in_order),
};

RUNNER_MAIN("core/interest", cases)
