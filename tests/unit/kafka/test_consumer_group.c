/*
 * test_consumer_group.c - a consumer group of the new protocol, step by step: joining, moving of
 * partitions, epochs, static members, topics that come and go, both assignors, what is refused.
 */
#include "lib/wire/kafka_codec.h"
#include "server/kafka/consumer_group.h"
#include "server/kafka/kafka_error.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <string.h>

#define S UINT64_C(1000000000)

/* ---- a world --------------------------------------------------------------------------------- */

static struct {
    uint64_t version;
    struct {
        const char *name;
        uint8_t id;
        int32_t partitions;
    } topics[8];
    int n;
} world;

static uint64_t version(void *ctx)
{
    (void) ctx;
    return world.version;
}

static bool find(void *ctx, struct str name, struct consumer_found *out)
{
    (void) ctx;
    for (int i = 0; i < world.n; i++)
        if (str_eq(name, str_of(world.topics[i].name))) {
            *out = (struct consumer_found){.partitions = world.topics[i].partitions};
            out->id.bytes[0] = world.topics[i].id;
            return true;
        }
    return false;
}

static void each(void *ctx, void (*fn)(void *to, struct str name), void *to)
{
    (void) ctx;
    for (int i = 0; i < world.n; i++)
        fn(to, str_of(world.topics[i].name));
}

static void topic(const char *name, int id, int32_t partitions)
{
    int i = 0;

    while (i < world.n && strcmp(world.topics[i].name, name) != 0)
        i++;
    world.n += i == world.n;
    world.topics[i].name = name;
    world.topics[i].id = (uint8_t) id;
    world.topics[i].partitions = partitions;
    world.version++;
}

static const struct consumer_world topics = {.version = version, .each = each, .find = find};
static struct held held;
static const struct consumer_rules rules = {.held = &held,
                                            .session_ns = 45 * S,
                                            .heartbeat_ms = 5000,
                                            .max_members = 20,
                                            .max_names = 30,
                                            .max_partitions = 100};
static struct consumer_group group;
static uint64_t now;

static void setup(void)
{
    memset(&world, 0, sizeof(world));
    held.max = 1 << 20;
    now = 1000 * S;
    topic("t", 1, 6);
    consumer_group_init(&group, &rules, &topics);
}

static void teardown(void)
{
    consumer_group_check(&group);
    consumer_group_deinit(&group);
    ck_assert_uint_eq(held.bytes, 0);
}

/* ---- members --------------------------------------------------------------------------------- */

struct member {
    const char *id, *instance, *assignor;
    struct str names[4];
    int nnames;
    int32_t epoch;
    char has[128]; /* what it was told last: "1:0 1:1" (id of topic, partition) */
    int16_t error;
};

static void show(struct member *m, const struct consumer_member *as)
{
    size_t n = 0;

    m->has[0] = '\0';
    for (size_t i = 0; i < as->assigned.n; i++) {
        const struct consumer_topic *t = consumer_group_topic(&group,
                                                              part_topic(as->assigned.p[i]));
        n += (size_t) snprintf(m->has + n, sizeof(m->has) - n, "%s%d:%d", n > 0 ? " " : "",
                               t->id.bytes[0], part_index(as->assigned.p[i]));
    }
}

static void beat(struct member *m, struct consumer_beat *q)
{
    struct consumer_told told;

    q->member_id = str_of(m->id);
    q->client_id = q->client_host = STR("c");
    consumer_group_beat(&group, q, now, &told);
    consumer_group_check(&group);
    m->error = told.error;
    if (told.error != KAFKA_NONE)
        return;
    m->epoch = told.epoch;
    if (told.member != NULL)
        show(m, told.member);
}

static struct str opt(const char *s)
{
    return s != NULL ? str_of(s) : STR_NONE;
}

static int16_t join(struct member *m)
{
    struct consumer_beat q = {.instance = opt(m->instance),
                              .assignor = opt(m->assignor),
                              .rebalance_ms = 60000,
                              .names = m->names,
                              .nnames = m->nnames};

    beat(m, &q);
    return m->error;
}

/* A member of these topics: "t", "t u". */
static void enter(struct member *m, const char *id, const char *names)
{
    const char *space = strchr(names, ' ');

    m->id = id;
    m->nnames = space != NULL ? 2 : 1;
    m->names[0] = space != NULL ? str_from(names, (size_t) (space - names)) : str_of(names);
    if (space != NULL)
        m->names[1] = str_of(space + 1);
    ck_assert_int_eq(join(m), KAFKA_NONE);
}

/* Says nothing but that it lives. */
static int16_t alive(struct member *m)
{
    struct consumer_beat q = {.epoch = m->epoch, .rebalance_ms = -1, .nnames = -1, .nowned = -1};

    beat(m, &q);
    return m->error;
}

static int16_t owns_at(struct member *m, int32_t epoch, const char *what)
{
    static int32_t indexes[64];
    struct consumer_owned owned[64];
    struct consumer_beat q = {.epoch = epoch, .rebalance_ms = -1, .nnames = -1, .owned = owned};

    memset(owned, 0, sizeof(owned));
    for (const char *p = what; *p != '\0'; q.nowned++) {
        int id, n;
        ck_assert_int_eq(sscanf(p, "%d:%d%n", &id, &indexes[q.nowned], &n), 2);
        owned[q.nowned].topic.bytes[0] = (uint8_t) id;
        owned[q.nowned].partitions = &indexes[q.nowned];
        owned[q.nowned].n = 1;
        p += n + (p[n] == ' ');
    }
    beat(m, &q);
    return m->error;
}

/* It owns what it was told. */
static int16_t owns(struct member *m)
{
    char what[128];

    snprintf(what, sizeof(what), "%s", m->has);
    return owns_at(m, m->epoch, what);
}

static int16_t leave(struct member *m, int32_t how)
{
    struct consumer_beat q = {
        .epoch = how, .instance = opt(m->instance), .rebalance_ms = -1, .nnames = -1, .nowned = -1};

    beat(m, &q);
    return m->error;
}

#define HAS(m, what) ck_assert_str_eq((m).has, what)

/* ---- joining and moving ---------------------------------------------------------------------- */

TEST(one_has_all)
{
    struct member a = {0};

    setup();
    ck_assert_str_eq(consumer_group_state(&group), "Empty");
    enter(&a, "a", "t");
    HAS(a, "1:0 1:1 1:2 1:3 1:4 1:5");
    ck_assert_int_eq(a.epoch, 1);
    ck_assert_str_eq(consumer_group_state(&group), "Stable");
    ck_assert_int_eq(owns(&a), KAFKA_NONE);
    ck_assert_int_eq(alive(&a), KAFKA_NONE);
    ck_assert_int_eq(a.epoch, 1);
    ck_assert_int_eq(leave(&a, CONSUMER_LEAVE), KAFKA_NONE);
    ck_assert_int_eq(a.epoch, -1);
    ck_assert_int_eq(alive(&a), KAFKA_UNKNOWN_MEMBER_ID);
    teardown();
}

/* The second gets what the first has given up, and not before. */
TEST(what_is_given_up)
{
    struct member a = {0}, b = {0};

    setup();
    enter(&a, "a", "t");
    ck_assert_int_eq(owns(&a), KAFKA_NONE);
    enter(&b, "b", "t");
    HAS(b, "");
    ck_assert_int_eq(b.epoch, 2);
    ck_assert_str_eq(consumer_group_state(&group), "Reconciling");
    ck_assert_int_eq(alive(&a), KAFKA_NONE);
    HAS(a, "1:3 1:4 1:5");
    ck_assert_int_eq(a.epoch, 1);
    ck_assert_int_eq(alive(&b), KAFKA_NONE);
    HAS(b, "");
    /* Still owns one of them. */
    ck_assert_int_eq(owns_at(&a, 1, "1:0 1:3 1:4 1:5"), KAFKA_NONE);
    ck_assert_int_eq(a.epoch, 1);
    ck_assert_int_eq(alive(&b), KAFKA_NONE);
    HAS(b, "");
    ck_assert_int_eq(owns(&a), KAFKA_NONE);
    ck_assert_int_eq(a.epoch, 2);
    ck_assert_int_eq(alive(&b), KAFKA_NONE);
    HAS(b, "1:0 1:1 1:2");
    ck_assert_str_eq(consumer_group_state(&group), "Stable");
    teardown();
}

/* Who does not give up in time goes. */
TEST(who_keeps_it_goes)
{
    struct member a = {0}, b = {0};

    setup();
    enter(&a, "a", "t");
    owns(&a);
    enter(&b, "b", "t");
    for (int k = 0; k < 6; k++, now += 10 * S) {
        ck_assert_int_eq(owns_at(&a, 1, "1:0 1:1 1:2 1:3 1:4 1:5"), KAFKA_NONE);
        ck_assert_int_eq(alive(&b), KAFKA_NONE);
        HAS(b, "");
    }
    ck_assert_uint_le(group.next, now);
    ck_assert_int_eq(alive(&b), KAFKA_NONE);
    HAS(b, "1:0 1:1 1:2 1:3 1:4 1:5");
    ck_assert_int_eq(owns_at(&a, 1, ""), KAFKA_UNKNOWN_MEMBER_ID);
    teardown();
}

TEST(who_is_silent_goes)
{
    struct member a = {0}, b = {0};

    setup();
    enter(&a, "a", "t");
    owns(&a);
    enter(&b, "b", "t");
    now += 44 * S;
    ck_assert_int_eq(alive(&b), KAFKA_NONE);
    now += 2 * S;
    consumer_group_tick(&group, now);
    consumer_group_check(&group);
    ck_assert_uint_eq(group.nmembers, 1);
    ck_assert_int_eq(alive(&b), KAFKA_NONE);
    HAS(b, "1:0 1:1 1:2 1:3 1:4 1:5");
    ck_assert_int_eq(alive(&a), KAFKA_UNKNOWN_MEMBER_ID);
    now += 46 * S;
    consumer_group_tick(&group, now);
    ck_assert_uint_eq(group.next, UINT64_MAX);
    ck_assert_uint_eq(group.nmembers, 0);
    teardown();
}

/* ---- epochs ---------------------------------------------------------------------------------- */

TEST(epochs)
{
    struct member a = {0}, b = {0};

    setup();
    enter(&a, "a", "t");
    owns(&a);
    enter(&b, "b", "t");
    alive(&a);
    ck_assert_int_eq(owns(&a), KAFKA_NONE);
    ck_assert_int_eq(a.epoch, 2);
    /* The answer was lost: it comes with the epoch before, and says what it owns. */
    ck_assert_int_eq(owns_at(&a, 1, "1:3 1:4 1:5"), KAFKA_NONE);
    ck_assert_int_eq(a.epoch, 2);
    a.epoch = 1;
    ck_assert_int_eq(alive(&a), KAFKA_FENCED_MEMBER_EPOCH);
    ck_assert_int_eq(owns_at(&a, 1, "1:2 1:3"), KAFKA_FENCED_MEMBER_EPOCH);
    ck_assert_int_eq(owns_at(&a, 3, ""), KAFKA_FENCED_MEMBER_EPOCH);
    ck_assert_int_eq(consumer_group_may_commit(&group, STR("a"), 2), KAFKA_NONE);
    ck_assert_int_eq(consumer_group_may_commit(&group, STR("a"), 1), KAFKA_STALE_MEMBER_EPOCH);
    ck_assert_int_eq(consumer_group_may_commit(&group, STR("a"), 0), KAFKA_STALE_MEMBER_EPOCH);
    ck_assert_int_eq(consumer_group_may_commit(&group, STR("x"), 1), KAFKA_UNKNOWN_MEMBER_ID);
    ck_assert_int_eq(consumer_group_may_commit(&group, STR(""), -1), KAFKA_UNKNOWN_MEMBER_ID);
    /* Fenced, it joins anew: it has what it had, and the epoch goes on. */
    ck_assert_int_eq(join(&a), KAFKA_NONE);
    HAS(a, "1:3 1:4 1:5");
    ck_assert_int_eq(a.epoch, 2);
    ck_assert_uint_eq(group.nmembers, 2);
    teardown();
}

/* ---- static members -------------------------------------------------------------------------- */

TEST(instances)
{
    struct member a = {.instance = "i"}, b = {0}, c = {.instance = "i"};

    setup();
    enter(&a, "a", "t");
    owns(&a);
    enter(&b, "b", "t");
    alive(&a);
    owns(&a);
    alive(&b);
    HAS(a, "1:3 1:4 1:5");
    c.id = "c";
    c.names[0] = STR("t");
    c.nnames = 1;
    ck_assert_int_eq(join(&c), KAFKA_UNRELEASED_INSTANCE_ID);
    ck_assert_int_eq(leave(&a, CONSUMER_PAUSE), KAFKA_NONE);
    ck_assert_int_eq(a.epoch, -2);
    owns(&b);
    HAS(b, "1:0 1:1 1:2"); /* what the other one had waits for it */
    ck_assert_int_eq(join(&c), KAFKA_NONE);
    HAS(c, "1:3 1:4 1:5");
    ck_assert_int_eq(c.epoch, 2);
    ck_assert_uint_eq(group.nmembers, 2);
    a.epoch = 2;
    ck_assert_int_eq(alive(&a), KAFKA_UNKNOWN_MEMBER_ID);
    ck_assert_int_eq(leave(&a, CONSUMER_LEAVE), KAFKA_FENCED_INSTANCE_ID);
    ck_assert_int_eq(leave(&c, CONSUMER_LEAVE), KAFKA_NONE);
    alive(&b);
    HAS(b, "1:0 1:1 1:2 1:3 1:4 1:5");
    teardown();
}

/* One that does not come back goes with its session. */
TEST(an_instance_that_stays_away)
{
    struct member a = {.instance = "i"}, b = {0};

    setup();
    enter(&a, "a", "t");
    ck_assert_int_eq(leave(&a, CONSUMER_PAUSE), KAFKA_NONE);
    now += 40 * S;
    enter(&b, "b", "t");
    HAS(b, "1:0 1:1 1:2");
    now += 6 * S;
    alive(&b);
    HAS(b, "1:0 1:1 1:2 1:3 1:4 1:5");
    ck_assert_int_eq(leave(&a, CONSUMER_PAUSE), KAFKA_UNKNOWN_MEMBER_ID);
    teardown();
}

/* ---- topics ---------------------------------------------------------------------------------- */

TEST(topics_come_and_go)
{
    struct member a = {0};

    setup();
    enter(&a, "a", "t u");
    HAS(a, "1:0 1:1 1:2 1:3 1:4 1:5");
    owns(&a);
    topic("u", 2, 2);
    alive(&a);
    HAS(a, "1:0 1:1 1:2 1:3 1:4 1:5 2:0 2:1");
    ck_assert_int_eq(a.epoch, 2);
    owns(&a);
    topic("u", 2, 3);
    alive(&a);
    HAS(a, "1:0 1:1 1:2 1:3 1:4 1:5 2:0 2:1 2:2");
    owns(&a);
    topic("u", 3, 1); /* made anew */
    alive(&a);
    HAS(a, "1:0 1:1 1:2 1:3 1:4 1:5");
    owns(&a);
    HAS(a, "1:0 1:1 1:2 1:3 1:4 1:5 3:0");
    owns(&a);
    world.topics[1].name = "v"; /* gone */
    world.version++;
    alive(&a);
    HAS(a, "1:0 1:1 1:2 1:3 1:4 1:5");
    owns(&a);
    ck_assert_str_eq(consumer_group_state(&group), "Stable");
    topic("w", 9, 90); /* nobody asked for it */
    alive(&a);
    ck_assert_int_eq(a.epoch, group.epoch);
    HAS(a, "1:0 1:1 1:2 1:3 1:4 1:5");
    teardown();
}

/* Does a member read the first one, of two that are asked about? */
static bool is_read(const char *topic, const char *other)
{
    struct kafka_arena arena = {0};
    struct once asked, read;
    bool is;

    once_init(&asked, &arena, 1);
    once_init(&read, &arena, 2);
    once_take(&asked, str_of(topic));
    once_take(&asked, str_of(other));
    consumer_group_subscriptions(&group, &asked, &read);
    is = once_has(&read, str_of(topic));
    once_deinit(&asked);
    once_deinit(&read);
    kafka_arena_free(&arena);
    return is;
}

TEST(a_member_wants_other_topics)
{
    struct member a = {0}, b = {0};
    struct str u = STR("u");
    struct consumer_beat q = {.rebalance_ms = -1, .names = &u, .nnames = 1, .nowned = -1};

    setup();
    topic("u", 2, 2);
    enter(&a, "a", "t");
    owns(&a);
    enter(&b, "b", "t");
    q.epoch = a.epoch;
    beat(&a, &q);
    ck_assert_int_eq(a.error, KAFKA_NONE);
    HAS(a, "");
    owns(&a);
    HAS(a, "2:0 2:1");
    alive(&b);
    HAS(b, "1:0 1:1 1:2 1:3 1:4 1:5");
    ck_assert(is_read("u", "v"));
    ck_assert(!is_read("v", "u"));
    teardown();
}

/* Beside names, and instead of them; topics that come are read as soon as somebody is heard of. */
TEST(regular_expressions)
{
    struct member a = {0}, b = {0};
    struct consumer_beat q = {.rebalance_ms = 1000, .nnames = -1, .regex = STR("u.*")};
    char text[8];

    setup();
    a.id = "a";
    beat(&a, &q);
    ck_assert_int_eq(a.error, KAFKA_NONE);
    HAS(a, "");
    topic("u1", 2, 2);
    topic("v", 3, 2);
    alive(&a);
    HAS(a, "2:0 2:1");
    owns(&a);
    topic("u2", 4, 1);
    alive(&a);
    HAS(a, "2:0 2:1 4:0");
    owns(&a);
    ck_assert(is_read("u9", "v"));
    ck_assert(!is_read("v", "u9"));
    /* By name and by expression: once. */
    b.names[0] = STR("u1");
    b.nnames = 1;
    q = (struct consumer_beat){
        .rebalance_ms = 1000, .names = b.names, .nnames = 1, .regex = STR("u.*")};
    b.id = "b";
    beat(&b, &q);
    ck_assert_int_eq(b.error, KAFKA_NONE);
    owns(&a);
    owns(&a);
    alive(&b);
    ck_assert_uint_eq(consumer_group_find(&group, STR("a"))->assigned.n +
                          consumer_group_find(&group, STR("b"))->assigned.n,
                      3);
    ck_assert_uint_eq(group.npatterns, 1);
    /* None any more. */
    q = (struct consumer_beat){
        .epoch = a.epoch, .rebalance_ms = -1, .nnames = -1, .nowned = -1, .regex = STR("")};
    beat(&a, &q);
    owns(&a);
    HAS(a, "");
    leave(&b, CONSUMER_LEAVE);
    ck_assert_uint_eq(group.npatterns, 0);
    for (int k = 0; k < 17; k++) {
        struct member m = {.id = "abcdefghijklmnopqrstuvwxyz" + k};
        snprintf(text, sizeof(text), "x%d", k);
        q = (struct consumer_beat){.rebalance_ms = 1000, .nnames = -1, .regex = str_of(text)};
        beat(&m, &q);
        ck_assert_int_eq(m.error, k < 16 ? KAFKA_NONE : KAFKA_GROUP_MAX_SIZE_REACHED);
    }
    teardown();
}

/* More partitions than a group may have: the topic is read by nobody. */
TEST(too_many_partitions)
{
    struct member a = {0};

    setup();
    topic("u", 2, 95);
    enter(&a, "a", "t u");
    HAS(a, "1:0 1:1 1:2 1:3 1:4 1:5");
    teardown();
}

/* ---- assignors ------------------------------------------------------------------------------- */

TEST(range)
{
    struct member a = {.assignor = "range"}, b = {.assignor = "range", .instance = "0"}, c = {0};

    setup();
    topic("t", 1, 5);
    topic("u", 2, 3);
    enter(&a, "a", "t u");
    enter(&b, "b", "t u");
    owns(&a);
    owns(&a);
    alive(&b);
    HAS(a, "1:3 1:4 2:2");
    HAS(b, "1:0 1:1 1:2 2:0 2:1");
    ck_assert_str_eq(consumer_assignor_name(group.assignor), "range");
    /* Two against one. */
    enter(&c, "c", "t");
    ck_assert_str_eq(consumer_assignor_name(group.assignor), "range");
    ck_assert_int_eq(leave(&a, CONSUMER_LEAVE), KAFKA_NONE);
    ck_assert_int_eq(leave(&b, CONSUMER_LEAVE), KAFKA_NONE);
    alive(&c);
    ck_assert_str_eq(consumer_assignor_name(group.assignor), "uniform");
    teardown();
}

/* As even as it can be, and no more moves than that takes. */
TEST(uniform_is_even_and_moves_little)
{
    struct member m[7] = {{0}};
    static const char *const ids[] = {"a", "b", "c", "d", "e", "f", "g"};

    setup();
    topic("t", 1, 6);
    topic("u", 2, 7);
    for (int k = 0; k < 7; k++) {
        uint64_t before[24] = {0}, moved = 0;
        LIST_FOREACH(l, &group.members)
        {
            const struct consumer_member *x = LIST_ENTRY(l, struct consumer_member, link);
            for (size_t n = 0; n < x->target.n; n++)
                before[part_topic(x->target.p[n]) * 8 + (uint32_t) part_index(x->target.p[n])] =
                    (uint64_t) (uintptr_t) x;
        }
        enter(&m[k], ids[k], "t u");
        LIST_FOREACH(l, &group.members)
        {
            const struct consumer_member *x = LIST_ENTRY(l, struct consumer_member, link);
            ck_assert_uint_ge(x->target.n, 13u / (unsigned) (k + 1));
            ck_assert_uint_le(x->target.n, (13u + (unsigned) k) / (unsigned) (k + 1));
            for (size_t n = 0; n < x->target.n; n++) {
                uint64_t was =
                    before[part_topic(x->target.p[n]) * 8 + (uint32_t) part_index(x->target.p[n])];
                moved += was != 0 && was != (uint64_t) (uintptr_t) x;
            }
        }
        if (k > 0)
            ck_assert_uint_eq(moved, 13u / (unsigned) (k + 1));
    }
    teardown();
}

TEST(uniform_of_different_wants)
{
    struct member a = {0}, b = {0}, c = {0};

    setup();
    topic("t", 1, 4);
    topic("u", 2, 8);
    enter(&a, "a", "t u");
    owns(&a);
    enter(&b, "b", "t");
    enter(&c, "c", "u");
    alive(&a);
    owns(&a);
    alive(&b);
    alive(&c);
    ck_assert_str_eq(consumer_group_state(&group), "Stable");
    HAS(b, "1:0 1:1 1:2 1:3");
    ck_assert_uint_eq(consumer_group_find(&group, STR("a"))->assigned.n, 4);
    ck_assert_uint_eq(consumer_group_find(&group, STR("c"))->assigned.n, 4);
    teardown();
}

/* ---- what is refused ------------------------------------------------------------------------- */

TEST(rejects)
{
    static const struct str t = STR_LIT("t");
    static const int32_t zero;
    static const struct consumer_owned one = {.partitions = &zero, .n = 1};
    static const struct consumer_owned much = {.n = 1000};
    const struct {
        const char *why;
        int16_t error;
        struct consumer_beat q;
    } cases[] = {
        {"an epoch below", KAFKA_INVALID_REQUEST, {.epoch = -3}},
        {"an empty instance",
         KAFKA_INVALID_REQUEST,
         {.instance = STR(""), .names = &t, .nnames = 1}},
        {"an empty rack", KAFKA_INVALID_REQUEST, {.rack = STR(""), .names = &t, .nnames = 1}},
        {"a pause of no instance", KAFKA_INVALID_REQUEST, {.epoch = -2}},
        {"no rebalance timeout",
         KAFKA_INVALID_REQUEST,
         {.rebalance_ms = -1, .names = &t, .nnames = 1}},
        {"a negative one", KAFKA_INVALID_REQUEST, {.rebalance_ms = -2, .names = &t, .nnames = 1}},
        {"no topics", KAFKA_INVALID_REQUEST, {.nnames = -1}},
        {"nothing said of what is owned",
         KAFKA_INVALID_REQUEST,
         {.names = &t, .nnames = 1, .nowned = -1}},
        {"something owned",
         KAFKA_INVALID_REQUEST,
         {.names = &t, .nnames = 1, .owned = &one, .nowned = 1}},
        {"very much owned",
         KAFKA_INVALID_REQUEST,
         {.epoch = 1, .nnames = -1, .owned = &much, .nowned = 1}},
        {"another assignor",
         KAFKA_UNSUPPORTED_ASSIGNOR,
         {.assignor = STR("sticky"), .names = &t, .nnames = 1}},
        {"a member that is not", KAFKA_UNKNOWN_MEMBER_ID, {.epoch = 1, .nnames = -1, .nowned = -1}},
        {"an instance that is not",
         KAFKA_UNKNOWN_MEMBER_ID,
         {.epoch = 1, .instance = STR("j"), .nnames = -1, .nowned = -1}},
        {"leaves and is not", KAFKA_UNKNOWN_MEMBER_ID, {.epoch = -1, .nnames = -1, .nowned = -1}},
    };

    setup();
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        struct member m = {.id = "m"};
        struct consumer_beat q = cases[k].q;
        beat(&m, &q);
        ck_assert_msg(m.error == cases[k].error, "%s: %d", cases[k].why, m.error);
        ck_assert_uint_eq(group.nmembers, 0);
    }
    teardown();
}

TEST(limits)
{
    static char ids[21][8];
    struct str names[31];
    struct member last = {.id = "last"};
    struct consumer_beat q = {.names = names, .nnames = 31};

    setup();
    for (int k = 0; k < 31; k++)
        names[k] = str_from("abcdefghijklmnopqrstuvwxyzabcdefghij" + k, 3);
    beat(&last, &q);
    ck_assert_int_eq(last.error, KAFKA_GROUP_MAX_SIZE_REACHED);
    for (int k = 0; k < 20; k++) {
        struct member m = {0};
        snprintf(ids[k], sizeof(ids[k]), "m%d", k);
        enter(&m, ids[k], "t");
    }
    last.names[0] = STR("t");
    last.nnames = 1;
    ck_assert_int_eq(join(&last), KAFKA_GROUP_MAX_SIZE_REACHED);
    q.nnames = 11;
    last.id = "m3";
    beat(&last, &q);
    ck_assert_int_eq(last.error, KAFKA_NONE);
    ck_assert_uint_eq(group.nnames, 30);
    last.id = "m4";
    q.nnames = 2;
    beat(&last, &q);
    ck_assert_int_eq(last.error, KAFKA_GROUP_MAX_SIZE_REACHED);
    teardown();
}

/* What members say, of all groups together: who says no more than before stays in. */
TEST(held_by_all)
{
    struct str name = STR("a-topic-that-is-not-there");
    struct member m = {.id = "m"}, other = {.id = "other"};
    struct consumer_beat q = {.names = &name, .nnames = 1};
    size_t before;

    setup();
    held.max = 100;
    enter(&m, "m", "t");
    before = held.bytes;
    beat(&m, &q);
    ck_assert_int_eq(m.error, KAFKA_NONE);
    ck_assert_uint_eq(held.bytes, before + name.n - 1);
    held.max = held.bytes + 10;
    other.names[0] = STR("t");
    other.nnames = 1;
    ck_assert_int_eq(join(&other), KAFKA_GROUP_MAX_SIZE_REACHED);
    held.max = 1; /* as behind a start */
    beat(&m, &q);
    ck_assert_int_eq(m.error, KAFKA_NONE);
    name = STR("a-topic-that-is-not-there-");
    beat(&m, &q);
    ck_assert_int_eq(m.error, KAFKA_GROUP_MAX_SIZE_REACHED);
    name = STR("t");
    beat(&m, &q);
    ck_assert_int_eq(m.error, KAFKA_NONE);
    ck_assert_uint_eq(held.bytes, before);
    teardown();
}

static const struct runner_case cases[] = {
    RUN(one_has_all),
    RUN(what_is_given_up),
    RUN(who_keeps_it_goes),
    RUN(who_is_silent_goes),
    RUN(epochs),
    RUN(instances),
    RUN(an_instance_that_stays_away),
    RUN(topics_come_and_go),
    RUN(a_member_wants_other_topics),
    RUN(regular_expressions),
    RUN(too_many_partitions),
    RUN(range),
    RUN(uniform_is_even_and_moves_little),
    RUN(uniform_of_different_wants),
    RUN(rejects),
    RUN(limits),
    RUN(held_by_all),
};

RUNNER_MAIN("kafka/consumer_group", cases)
