/*
 * test_txn_table.c - transactional ids and whose they are: who has to make room for whom; and the
 * offsets of transactions that are not decided yet.
 */
#include "server/kafka/txn_pending.h"
#include "tests/lib/runner.h"

#include <stdio.h>

#define FULL 8u
#define BYTES 4000u

static struct txn_table table;

/* p == NULL: nobody. */
static struct str who(const char *owner)
{
    return owner != NULL ? str_of(owner) : STR_NONE;
}

static struct txn *find(const char *id)
{
    return txn_table_find(&table, str_of(id));
}

/* As a coordinator does it; false: it was refused. */
static bool ask(const char *owner, const char *id)
{
    struct txn *old;

    if (!txn_table_room(&table, who(owner), &old))
        return false;
    if (old != NULL)
        txn_table_remove(&table, old);
    txn_table_add(&table, str_of(id), who(owner));
    return true;
}

/* Ids <prefix>0 to <prefix>n-1. */
static void ask_many(const char *owner, const char *prefix, int n)
{
    char id[16];

    for (int k = 0; k < n; k++) {
        snprintf(id, sizeof(id), "%s%d", prefix, k);
        ck_assert(ask(owner, id));
    }
}

static void all_busy(const char *prefix, int n)
{
    char id[16];

    for (int k = 0; k < n; k++) {
        snprintf(id, sizeof(id), "%s%d", prefix, k);
        txn_table_rest(&table, find(id), false);
    }
}

static void start(void)
{
    txn_table_init(&table, 5, FULL, BYTES);
}

static void end(void)
{
    struct list *l;

    while ((l = list_first(&table.all)) != NULL)
        txn_table_remove(&table, LIST_ENTRY(l, struct txn, link));
    txn_table_deinit(&table);
}

TEST(who_has_most_makes_room)
{
    start();
    ask_many("eve", "e", 6); /* three quarters */
    ask_many("bob", "b", 2);
    ck_assert_uint_eq(table.map.count, FULL);
    ck_assert(ask("ann", "a0"));
    ck_assert_ptr_null(find("e0"));
    ck_assert(ask("bob", "b2"));
    ck_assert_ptr_null(find("e1"));
    ck_assert(ask("bob", "b3"));
    ck_assert_ptr_null(find("e2"));
    ck_assert_ptr_nonnull(find("b0"));
    ck_assert_ptr_nonnull(find("a0"));
    ck_assert_uint_eq(table.map.count, FULL);
    end();
}

TEST(the_one_that_rests_longest)
{
    start();
    ask_many("eve", "e", 6);
    ask_many("bob", "b", 2);
    txn_table_rest(&table, find("e0"), false);
    txn_table_rest(&table, find("e1"), false);
    txn_table_rest(&table, find("e1"), true); /* used, and at rest again */
    ck_assert(ask("ann", "a"));
    ck_assert_ptr_null(find("e2"));
    ck_assert_ptr_nonnull(find("e0"));
    ck_assert_ptr_nonnull(find("e1"));
    end();
}

/* Whatever one owner's ids do, a quarter is for others. */
TEST(no_more_than_three_quarters)
{
    start();
    ask_many("eve", "e", 6);
    all_busy("e", 6);
    ck_assert(!ask("eve", "e6"));
    ck_assert(ask("bob", "b"));
    ck_assert(ask("ann", "a"));
    txn_table_rest(&table, find("e3"), true);
    ck_assert(ask("eve", "e6")); /* in the place of one of its own */
    ck_assert_ptr_null(find("e3"));
    ck_assert_ptr_nonnull(find("b"));
    end();
}

TEST(nobody_is_at_rest)
{
    start();
    ask_many("eve", "e", 6);
    ask_many("bob", "b", 2);
    all_busy("e", 6);
    all_busy("b", 2);
    ck_assert(!ask("ann", "a"));
    txn_table_rest(&table, find("b1"), true);
    ck_assert(ask("ann", "a"));
    ck_assert_ptr_null(find("b1"));
    end();
}

/* After a start nobody is known: no share, and the first to make room. */
TEST(of_before_a_start)
{
    start();
    ask_many(NULL, "n", FULL);
    ck_assert(ask("ann", "a"));
    ck_assert_ptr_null(find("n0"));
    txn_table_own(&table, find("n1"), STR("ann")); /* asked for again */
    txn_table_own(&table, find("n1"), STR("ann"));
    ck_assert(ask("bob", "b"));
    ck_assert_ptr_null(find("n2"));
    ck_assert_ptr_nonnull(find("n1"));
    ck_assert_uint_eq(table.by_name.count, 2);
    txn_table_own(&table, find("b"), STR("ann"));
    ck_assert_uint_eq(table.by_name.count, 1); /* bob has nothing any more */
    end();
}

/* Two transactions may have the same offset; one of them may be over. */
TEST(pending_offsets)
{
    struct committed_offset o = {.topic = STR("t"), .partition = 1};
    struct txn_pending p;

    start();
    ask_many("ann", "a", 2);
    txn_pending_init(&p, &table);
    ck_assert(!txn_pending_has(&p, STR("g"), STR("t"), 1));
    txn_pending_deinit(&p);
    txn_put_offset(find("a0"), STR("g"), &o);
    txn_put_offset(find("a1"), STR("g"), &o);
    o.partition = 2;
    txn_put_offset(find("a1"), STR("h"), &o);
    txn_pending_init(&p, &table);
    ck_assert(txn_pending_has(&p, STR("g"), STR("t"), 1));
    ck_assert(txn_pending_has(&p, STR("h"), STR("t"), 2));
    ck_assert(!txn_pending_has(&p, STR("h"), STR("t"), 1));
    ck_assert(!txn_pending_has(&p, STR("g"), STR("t"), 2));
    ck_assert(!txn_pending_has(&p, STR("g"), STR("u"), 1));
    txn_pending_deinit(&p);
    txn_clear(find("a1"));
    txn_pending_init(&p, &table);
    ck_assert(txn_pending_has(&p, STR("g"), STR("t"), 1));
    ck_assert(!txn_pending_has(&p, STR("h"), STR("t"), 2));
    txn_pending_deinit(&p);
    end();
}

/* An offset of about 270 bytes; whether there was room. */
static bool hold(const char *id, int32_t partition)
{
    struct committed_offset o = {.topic = STR("t"), .partition = partition};
    struct txn *t = find(id);
    bool may = txn_table_may_hold(&table, t, txn_offset_cost(STR("g"), &o));

    if (may)
        txn_put_offset(t, STR("g"), &o);
    if (partition % 2 == 0) /* what was not counted yet is counted */
        txn_table_rest(&table, t, false);
    return may;
}

/* As many as there may be; how many. */
static int hold_all(const char *id)
{
    int n = 0;

    while (hold(id, n))
        n++;
    return n;
}

TEST(memory_is_shared_too)
{
    int most;

    start();
    ask_many("eve", "e", 2);
    ask_many("bob", "b", 1);
    ask_many(NULL, "n", 1);
    most = hold_all("e0");
    ck_assert_int_ge(most, 8);
    ck_assert_uint_le(table.bytes, BYTES * 3 / 4);
    ck_assert_int_eq(hold_all("e1"), 0); /* the same owner's */
    ck_assert_int_ge(hold_all("b0"), 2);
    ck_assert_uint_le(table.bytes, BYTES);
    ck_assert_int_eq(hold_all("n0"), 0);
    txn_clear(find("e0"));
    txn_table_rest(&table, find("e0"), true);
    ck_assert_int_ge(hold_all("e1"), 8);
    txn_table_own(&table, find("e1"), STR("bob"));
    ck_assert_int_ge(hold_all("e0"), 0);
    end();
    ck_assert_uint_eq(table.bytes, 0);
}

static const struct runner_case cases[] = {
    RUN(who_has_most_makes_room), RUN(the_one_that_rests_longest), RUN(no_more_than_three_quarters),
    RUN(nobody_is_at_rest),       RUN(of_before_a_start),          RUN(pending_offsets),
    RUN(memory_is_shared_too),
};

RUNNER_MAIN("kafka/txn_table", cases)
