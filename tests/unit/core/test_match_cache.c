/* The match cache: shared and split prefixes, freshness, limits, pins. */
#include "lib/base/prng.h"
#include "server/core/match_cache.h"
#include "server/core/sink.h"
#include "tests/lib/runner.h"

#include <stdio.h>

static struct account *account;
static struct interest *in;
static struct handle_table sinks;
static struct match_cache cache;
static struct sink here = {.conn = 5};
static handle local;

static void open_cache(uint32_t entries)
{
    struct match_cache_options o = {.sinks = &sinks, .worker = 0, .entries = entries, .seed = 8};

    account = account_open("A", 0, 4);
    in = account->interest;
    o.account = account;
    handle_table_init(&sinks, 1000);
    local = handle_add(&sinks, &here);
    match_cache_init(&cache, &o);
}

static void close_cache(void)
{
    match_cache_check(&cache);
    match_cache_deinit(&cache);
    handle_table_deinit(&sinks);
    account_close(account);
}

static struct interest_sub *add(const char *pattern, const char *queue, uint32_t worker)
{
    struct interest_spec spec = {.pattern = str_of(pattern),
                                 .queue = str_of(queue),
                                 .worker = worker,
                                 .sink = worker == 0 ? local : 1};

    return interest_add(in, &spec);
}

static struct match *find(const char *subject)
{
    struct match *e = match_cache_find(&cache, str_of(subject));

    match_cache_check(&cache);
    return e;
}

/* Questions to the trie that looking up the subject takes. */
static uint64_t questions(const char *subject)
{
    uint64_t before = cache.misses;

    find(subject);
    return cache.misses - before;
}

TEST(wildcards_share_an_entry)
{
    open_cache(100);
    add("orders.>", NULL, 0);
    ck_assert_uint_eq(questions("orders.1"), 1);
    ck_assert_uint_eq(questions("orders.2"), 0);
    ck_assert_uint_eq(questions("orders.a.long.one"), 1);
    ck_assert_uint_eq(questions("orders.a.long.other"), 0);
    ck_assert_uint_eq(questions("orders.2"), 0);
    ck_assert_uint_eq(cache.entries, 2);
    ck_assert_uint_eq(find("orders.7")->sink, local);
    ck_assert_uint_eq(find("orders.7")->conn, 5);
    ck_assert_uint_eq(find("order.7")->sink, 0);
    ck_assert_uint_eq(find("orders")->sink, 0);
    close_cache();
}

TEST(literals_split_a_prefix)
{
    struct interest_sub *sub;

    open_cache(100);
    add("orders.>", NULL, 0);
    ck_assert_uint_eq(find("orders.1")->nlocal, 1);
    sub = add("orders.2", NULL, 0);
    ck_assert_uint_eq(find("orders.1")->nlocal, 1);
    ck_assert_uint_eq(find("orders.2")->nlocal, 2);
    ck_assert_uint_eq(find("orders.3")->nlocal, 1);
    ck_assert_uint_eq(questions("orders.3"), 0);
    ck_assert_uint_eq(questions("orders.4"), 1);
    interest_remove(in, sub);
    ck_assert_uint_eq(find("orders.2")->nlocal, 1);
    ck_assert_uint_eq(questions("orders.5"), 0);
    /* A literal two tokens down does not split. */
    add("orders.eu.x", NULL, 0);
    ck_assert_uint_eq(find("orders.6")->nlocal, 1);
    ck_assert_uint_eq(questions("orders.7"), 0);
    close_cache();
}

TEST(changes_elsewhere_do_not_matter)
{
    struct interest_sub *sub;

    open_cache(100);
    add("_INBOX.me.*", NULL, 0);
    find("_INBOX.me.1");
    find("foo.bar");
    sub = add("_INBOX.you.*", NULL, 0);
    ck_assert_uint_eq(questions("_INBOX.me.2"), 0);
    ck_assert_uint_eq(questions("foo.bar"), 0);
    interest_remove(in, sub);
    ck_assert_uint_eq(questions("_INBOX.me.3"), 0);
    sub = add("foo.>", NULL, 0);
    ck_assert_uint_eq(questions("_INBOX.me.4"), 1); /* a wildcard in the head */
    ck_assert_uint_eq(questions("foo.bar"), 1);
    close_cache();
}

TEST(shapes)
{
    const struct match *e;

    open_cache(100);
    add("one", NULL, 0);
    add("far", NULL, 2);
    add("far", NULL, 2);
    add("both", NULL, 0);
    add("both", NULL, 1);
    add("group", "q", 0);
    add("groups", "q", 0);
    add("groups", "q", 1);
    add("groups", "r", 1);
    e = find("one");
    ck_assert(e->sink == local && e->group == 0 && e->remote == 0 && e->nlocal == 1);
    e = find("far");
    ck_assert(e->sink == 0 && e->remote == 4 && e->nlocal == 0);
    e = find("both");
    ck_assert(e->sink == 0 && e->remote == 2 && e->nlocal == 1);
    e = find("group");
    ck_assert(e->sink == local && e->group != 0 && e->ngroups == 1 && e->nlocal == 0);
    e = find("groups");
    ck_assert(e->sink == 0 && e->ngroups == 2 && e->remote == 0);
    ck_assert_uint_eq(e->groups[0].count + e->groups[1].count, 3);
    e = find("$SYS");
    ck_assert(e->sink == 0 && e->fast == 0);
    add("$X", NULL, 0);
    e = find("$X");
    ck_assert(e->sink == local && e->fast == 0);
    close_cache();
}

/* Subjects that are none, and odd ones. */
TEST(odd_subjects)
{
    static const char *const none[] = {"", ".", "a.", ".a", "a..b", "..", "a..", ".."};
    char text[3000];

    open_cache(100);
    add(">", NULL, 0);
    for (unsigned k = 0; k < sizeof(none) / sizeof(none[0]); k++)
        ck_assert_msg(find(none[k])->nlocal == 0, "\"%s\"", none[k]);
    ck_assert_uint_eq(find("a.*")->nlocal, 1);
    ck_assert_uint_eq(find("a.>")->nlocal, 1);
    memset(text, 'x', sizeof(text));
    for (unsigned k = 0; k < 3; k++) {
        text[k == 0 ? 2000 : 1000] = k == 0 ? '.' : 'y';
        ck_assert_uint_eq(match_cache_find(&cache, str_from(text, sizeof(text)))->nlocal, 1);
        match_cache_check(&cache);
    }
    close_cache();
}

/* Beyond the limit something goes, and every answer stays right. */
TEST(entries_have_a_limit)
{
    char subject[32];

    open_cache(64);
    add("s.>", NULL, 0);
    add("s.1.literal", NULL, 0);
    for (unsigned k = 0; k < 5000; k++) {
        snprintf(subject, sizeof(subject), "s.%u.x", k);
        ck_assert_uint_eq(find(subject)->nlocal, 1);
    }
    ck_assert_uint_le(cache.entries, 64);
    ck_assert_uint_gt(cache.evictions, 4000);
    ck_assert_uint_eq(find("s.1.literal")->nlocal, 2);
    close_cache();
}

/* What is asked for again and again survives a flood of what is asked for once. */
TEST(the_used_survive)
{
    char subject[32];
    uint64_t lost = 0;

    open_cache(256);
    add("hot.*", NULL, 0);
    for (unsigned k = 0; k < 20000; k++) {
        snprintf(subject, sizeof(subject), "cold%u", k);
        find(subject);
        lost += questions("hot.x");
    }
    ck_assert_uint_lt(lost, 20);
    close_cache();
}

TEST(bytes_have_a_limit)
{
    char subject[32];

    open_cache(100); /* 51200 bytes */
    for (unsigned k = 0; k < 100; k++)
        add("fan.>", NULL, 0); /* 1.6 KB an entry */
    for (unsigned k = 0; k < 500; k++) {
        snprintf(subject, sizeof(subject), "fan.%u.x", k);
        ck_assert_uint_eq(find(subject)->nlocal, 100);
    }
    ck_assert_uint_le(cache.bytes, cache.bytes_max);
    ck_assert_uint_gt(cache.entries, 10);
    /* An answer of more than a quarter of the budget is given, but not kept. */
    for (unsigned k = 0; k < 1000; k++)
        add("wide", NULL, 0);
    ck_assert_uint_eq(find("wide")->nlocal, 1000);
    ck_assert_uint_eq(find("wide")->nlocal, 1000);
    find("fan.1.x");
    ck_assert_uint_eq(questions("wide"), 1);
    close_cache();
}

/* A pinned entry outlives its eviction. */
TEST(pins)
{
    struct match *e, *wide;
    char subject[32];

    open_cache(16);
    add("p.>", NULL, 0);
    e = find("p.x");
    match_pin(e);
    add("p.x", NULL, 0); /* stale: the next lookup replaces it */
    ck_assert_uint_eq(find("p.x")->nlocal, 2);
    for (unsigned k = 0; k < 200; k++) {
        snprintf(subject, sizeof(subject), "other%u", k);
        find(subject);
    }
    ck_assert_uint_eq(e->nlocal, 1);
    ck_assert_uint_eq(e->local[0].sink, local);
    match_unpin(&cache, e);
    for (unsigned k = 0; k < 1000; k++)
        add("wide", NULL, 0);
    wide = find("wide"); /* too big to keep */
    match_pin(wide);
    for (unsigned k = 0; k < 1000; k++)
        add("wider", NULL, 0);
    find("wider");
    ck_assert_uint_eq(wide->nlocal, 1000);
    match_unpin(&cache, wide);
    match_pin(e = find("wider"));
    match_unpin(&cache, e);
    ck_assert_uint_eq(find("wider")->nlocal, 1000);
    close_cache();
}

TEST(below)
{
    struct interest_sub *sub;
    uint64_t misses;

    open_cache(100);
    ck_assert(!match_cache_any_below(&cache, STR("$JS.ACK.S.C.")));
    misses = cache.misses;
    ck_assert(!match_cache_any_below(&cache, STR("$JS.ACK.S.C.")));
    ck_assert_uint_eq(cache.misses, misses);
    sub = add("$JS.ACK.S.*.>", NULL, 0);
    ck_assert(match_cache_any_below(&cache, STR("$JS.ACK.S.C.")));
    interest_remove(in, sub);
    ck_assert(!match_cache_any_below(&cache, STR("$JS.ACK.S.C.")));
    close_cache();
}

/* Random changes and lookups: the cache says what the trie says. */
TEST(agrees_with_interest)
{
    struct interest_sub *subs[25] = {0};
    struct interest_answer a = {0};
    struct prng p;
    char text[16];

    open_cache(i % 2 == 0 ? 100 : 12);
    prng_init(&p, (uint64_t) i);
    for (unsigned round = 0; round < 20000; round++) {
        bool change = prng_below(&p, 20) == 0;
        unsigned n = 0, tokens = 1 + (unsigned) prng_below(&p, 3);
        for (unsigned k = 0; k < tokens; k++) {
            if (k > 0)
                text[n++] = '.';
            text[n++] = change && prng_below(&p, 3) == 0 ? '*' : (char) ('a' + prng_below(&p, 3));
        }
        text[n] = '\0';
        if (change) {
            unsigned k = (unsigned) prng_below(&p, 25);
            if (subs[k] != NULL)
                interest_remove(in, subs[k]);
            subs[k] = subs[k] == NULL ? add(text, NULL, k % 3 == 0) : NULL;
            continue;
        }
        interest_match(in, str_of(text), &a);
        n = 0;
        for (uint32_t k = 0; k < a.nhits; k++)
            n += a.hits[k].worker == 0;
        ck_assert_uint_eq(find(text)->nlocal, n);
        ck_assert_uint_eq(find(text)->remote, n < a.nhits ? 2 : 0);
    }
    interest_answer_free(&a);
    close_cache();
}

static const struct runner_case cases[] = {
    RUN(wildcards_share_an_entry),
    RUN(literals_split_a_prefix),
    RUN(changes_elsewhere_do_not_matter),
    RUN(shapes),
    RUN(odd_subjects),
    RUN(entries_have_a_limit),
    RUN(the_used_survive),
    RUN(bytes_have_a_limit),
    RUN(pins),
    RUN(below),
    RUN_LOOP(agrees_with_interest, 0, 6),
};

RUNNER_MAIN("core/match_cache", cases)
