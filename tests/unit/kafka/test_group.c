/* test_group.c - the classic group protocol: each rule by itself. */
#include "lib/wire/kafka_codec.h"
#include "server/kafka/group_core.h"
#include "server/kafka/kafka_error.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <string.h>

#define MS UINT64_C(1000000)
#define S (1000 * MS)

/* A request that waits, and what it heard. */
struct call {
    int heard;
    int16_t error;
    int32_t generation;
    char member[256], leader[256], protocol[64], assignment[64];
    bool leads, skip;
    uint32_t members;
};

static void put(char *out, size_t cap, struct str s)
{
    snprintf(out, cap, "%.*s", STR_ARG(s));
}

/* A name outlives the call that it was told to. */
static void keep(char out[256], const char *member)
{
    snprintf(out, 256, "%s", member);
}

static void joined(void *who, const struct group_joined *a)
{
    struct call *c = who;

    c->heard++;
    c->error = a->error;
    c->generation = a->generation;
    c->leads = a->group != NULL;
    c->members = a->group != NULL ? a->group->nmembers : 0;
    c->skip = a->skip_assignment;
    put(c->member, sizeof(c->member), a->member_id);
    put(c->leader, sizeof(c->leader), a->leader);
    put(c->protocol, sizeof(c->protocol), a->protocol);
}

static void synced(void *who, const struct group_synced *a)
{
    struct call *c = who;

    c->heard++;
    c->error = a->error;
    put(c->assignment, sizeof(c->assignment), a->assignment);
    put(c->protocol, sizeof(c->protocol), a->protocol);
}

static const struct group_out out = {.joined = joined, .synced = synced};

struct bed {
    struct group g;
    struct group_rules rules;
    struct prng prng;
    uint64_t now;
};

static void open_bed(struct bed *b)
{
    memset(b, 0, sizeof(*b));
    b->rules = (struct group_rules){.session_min_ms = 6000,
                                    .session_max_ms = 1800000,
                                    .newcomer_ns = 300 * S,
                                    .max_members = 100,
                                    .max_bytes = 10000};
    prng_init(&b->prng, 1);
    group_init(&b->g, &b->rules, &out, &b->prng);
    b->now = 1000 * S;
}

static void close_bed(struct bed *b)
{
    group_check(&b->g);
    group_deinit(&b->g, KAFKA_NOT_COORDINATOR);
}

/* Time passes, in the steps that the group asks for. */
static void pass(struct bed *b, uint64_t ns)
{
    uint64_t end = b->now + ns;

    while (group_next(&b->g) <= end) {
        b->now = group_next(&b->g) > b->now ? group_next(&b->g) : b->now;
        group_tick(&b->g, b->now);
        group_check(&b->g);
    }
    b->now = end;
}

#define NO_TIME (-2) /* a rebalance_ms of 0 */

struct how {
    const char *instance;
    const char *protocols; /* letters; each protocol's metadata is itself */
    const char *metadata;  /* or this */
    struct str bytes;      /* or these */
    const char *type;
    int32_t session_ms, rebalance_ms;
    bool need_id, can_skip;
};

static void join(struct bed *b, struct call *c, const char *id, struct how how)
{
    struct group_protocol p[GROUP_PROTOCOLS_MAX + 1];
    const char *names = how.protocols != NULL ? how.protocols : "r";
    struct group_join q = {
        .member_id = str_of(id),
        .instance = str_of(how.instance),
        .client_id = STR("client"),
        .client_host = STR("host"),
        .protocol_type = str_of(how.type != NULL ? how.type : "consumer"),
        .session_ms = how.session_ms != 0 ? how.session_ms : 10000,
        .rebalance_ms = how.rebalance_ms == NO_TIME ? 0
                        : how.rebalance_ms != 0     ? how.rebalance_ms
                                                    : 60000,
        .protocols = p,
        .need_id = how.need_id,
        .can_skip = how.can_skip,
        .who = c,
    };

    for (; names[q.nprotocols] != '\0'; q.nprotocols++) {
        p[q.nprotocols].name = str_from(names + q.nprotocols, 1);
        p[q.nprotocols].metadata = how.bytes.p != NULL    ? how.bytes
                                   : how.metadata != NULL ? str_of(how.metadata)
                                                          : p[q.nprotocols].name;
    }
    memset(c, 0, sizeof(*c));
    group_join(&b->g, &q, b->now);
    group_check(&b->g);
}

/* assignments: member, text, ..., NULL. */
static void sync_as(struct bed *b, struct call *c, const struct call *me, const char *instance,
                    const char **assignments)
{
    struct group_protocol a[10];
    struct group_sync q = {.member_id = str_of(me->member),
                           .instance = str_of(instance),
                           .generation = me->generation,
                           .assignments = a,
                           .who = c};

    for (; assignments != NULL && assignments[2 * q.nassignments] != NULL; q.nassignments++) {
        a[q.nassignments].name = str_of(assignments[2 * q.nassignments]);
        a[q.nassignments].metadata = str_of(assignments[2 * q.nassignments + 1]);
    }
    memset(c, 0, sizeof(*c));
    group_sync(&b->g, &q, b->now);
    group_check(&b->g);
}

#define SYNC(b, c, me, ...) sync_as(b, c, me, NULL, (const char *[]){__VA_ARGS__})

static int16_t beat(struct bed *b, const struct call *me)
{
    int16_t error = group_heartbeat(&b->g, str_of(me->member), STR_NONE, me->generation, b->now);

    group_check(&b->g);
    return error;
}

#define HEARD(c, what)                                                                             \
    do {                                                                                           \
        ck_assert_int_eq((c)->heard, 1);                                                           \
        ck_assert_int_eq((c)->error, KAFKA_##what);                                                \
    } while (0)
#define WAITS(c) ck_assert_int_eq((c)->heard, 0)

/* Two members in a stable group: a leads. */
static void two(struct bed *b, struct call *a, struct call *c)
{
    struct call s, t;

    open_bed(b);
    join(b, a, "", (struct how){0});
    pass(b, 0);
    HEARD(a, NONE);
    SYNC(b, &s, a, a->member, "all", NULL);
    HEARD(&s, NONE);
    join(b, c, "", (struct how){0});
    WAITS(c);
    ck_assert_int_eq(beat(b, a), KAFKA_REBALANCE_IN_PROGRESS);
    char id[256];
    keep(id, a->member);
    join(b, a, id, (struct how){0});
    HEARD(a, NONE);
    HEARD(c, NONE);
    SYNC(b, &t, c, NULL);
    WAITS(&t);
    SYNC(b, &s, a, a->member, "left", c->member, "right", NULL);
    HEARD(&s, NONE);
    HEARD(&t, NONE);
    ck_assert_str_eq(t.assignment, "right");
    ck_assert_int_eq(b->g.state, GROUP_STABLE);
}

/* ---- joining --------------------------------------------------------------------------------- */

TEST(one_member)
{
    struct bed b;
    struct call c, s;

    open_bed(&b);
    join(&b, &c, "", (struct how){0});
    WAITS(&c);
    pass(&b, 0);
    HEARD(&c, NONE);
    ck_assert_int_eq(c.generation, 1);
    ck_assert(c.leads && c.members == 1);
    ck_assert_str_eq(c.member, c.leader);
    ck_assert_str_eq(c.protocol, "r");
    ck_assert_int_eq(strncmp(c.member, "client-", 7), 0);
    SYNC(&b, &s, &c, c.member, "all", NULL);
    HEARD(&s, NONE);
    ck_assert_str_eq(s.assignment, "all");
    ck_assert_int_eq(beat(&b, &c), KAFKA_NONE);
    close_bed(&b);
}

TEST(two_members)
{
    struct bed b;
    struct call a, c;

    two(&b, &a, &c);
    ck_assert_int_eq(a.generation, 2);
    ck_assert(a.leads && a.members == 2 && !c.leads);
    ck_assert_str_eq(c.leader, a.member);
    close_bed(&b);
}

TEST(an_id_first)
{
    struct bed b;
    struct call c;
    char id[256];

    open_bed(&b);
    join(&b, &c, "", (struct how){.need_id = true});
    HEARD(&c, MEMBER_ID_REQUIRED);
    ck_assert_uint_eq(b.g.npending, 1);
    keep(id, c.member);
    join(&b, &c, id, (struct how){.need_id = true});
    pass(&b, 0);
    HEARD(&c, NONE);
    ck_assert_str_eq(c.member, id);
    /* An id that nobody uses is forgotten. */
    join(&b, &c, "", (struct how){.need_id = true});
    keep(id, c.member);
    pass(&b, 9 * S);
    ck_assert_uint_eq(b.g.npending, 1);
    pass(&b, 2 * S);
    ck_assert_uint_eq(b.g.npending, 0);
    join(&b, &c, id, (struct how){.need_id = true});
    HEARD(&c, UNKNOWN_MEMBER_ID);
    /* Static members need none. */
    join(&b, &c, "", (struct how){.need_id = true, .instance = "i"});
    pass(&b, 0);
    HEARD(&c, NONE);
    ck_assert_int_eq(strncmp(c.member, "i-", 2), 0);
    close_bed(&b);
}

TEST(refused_joins)
{
    static const struct {
        const char *id;
        struct how how;
        int16_t error;
    } rows[] = {
        {"", {.session_ms = 5999}, KAFKA_INVALID_SESSION_TIMEOUT},
        {"", {.session_ms = 1800001}, KAFKA_INVALID_SESSION_TIMEOUT},
        {"", {.protocols = "x"}, KAFKA_INCONSISTENT_GROUP_PROTOCOL},
        {"", {.protocols = ""}, KAFKA_INCONSISTENT_GROUP_PROTOCOL},
        {"", {.type = "connect"}, KAFKA_INCONSISTENT_GROUP_PROTOCOL},
        {"", {.type = ""}, KAFKA_INCONSISTENT_GROUP_PROTOCOL},
        {"nobody", {0}, KAFKA_UNKNOWN_MEMBER_ID},
        {"nobody", {.instance = "i"}, KAFKA_UNKNOWN_MEMBER_ID},
        {"",
         {.protocols = "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr"},
         KAFKA_INCONSISTENT_GROUP_PROTOCOL},
    };
    struct bed b;
    struct call a, c, d;

    two(&b, &a, &c);
    join(&b, &d, rows[i].id, rows[i].how);
    ck_assert_int_eq(d.heard, 1);
    ck_assert_int_eq(d.error, rows[i].error);
    ck_assert_int_eq(d.generation, -1);
    ck_assert_str_eq(d.member, rows[i].id);
    ck_assert_int_eq(b.g.state, GROUP_STABLE);
    close_bed(&b);
}

TEST(limits)
{
    struct bed b;
    struct call c[4];
    char text[5001];

    open_bed(&b);
    b.rules.max_members = 2;
    join(&b, &c[0], "", (struct how){0});
    join(&b, &c[1], "", (struct how){.need_id = true});
    HEARD(&c[1], MEMBER_ID_REQUIRED);
    join(&b, &c[2], "", (struct how){0});
    HEARD(&c[2], GROUP_MAX_SIZE_REACHED);
    join(&b, &c[3], c[1].member, (struct how){0});
    WAITS(&c[3]);
    memset(text, 'x', 5000);
    text[5000] = '\0';
    join(&b, &c[2], c[1].member, (struct how){.protocols = "rs", .metadata = text});
    HEARD(&c[2], GROUP_MAX_SIZE_REACHED);
    close_bed(&b);
}

/* What all groups hold together: who says no more than before stays in. */
TEST(held_by_all)
{
    struct bed b, other;
    struct held held = {.max = 500};
    struct call c[3], s;
    char text[201];
    size_t before;

    memset(text, 'x', 200);
    text[200] = '\0';
    open_bed(&b);
    open_bed(&other);
    b.rules.held = other.rules.held = &held;
    join(&b, &c[0], "", (struct how){.metadata = text});
    pass(&b, 0);
    HEARD(&c[0], NONE);
    ck_assert_uint_gt(held.bytes, 200);
    SYNC(&b, &s, &c[0], c[0].member, text, NULL);
    HEARD(&s, NONE);
    ck_assert_uint_gt(held.bytes, 400);
    join(&other, &c[1], "", (struct how){.metadata = text});
    HEARD(&c[1], GROUP_MAX_SIZE_REACHED);
    held.max = held.bytes + 60;
    join(&other, &c[1], "", (struct how){0});
    pass(&other, 0);
    HEARD(&c[1], NONE);
    SYNC(&other, &s, &c[1], c[1].member, "it gets more than there is room for", NULL);
    HEARD(&s, GROUP_MAX_SIZE_REACHED);
    before = held.bytes;
    held.max = 1; /* as behind a start */
    join(&b, &c[2], c[0].member, (struct how){.metadata = text});
    pass(&b, 0);
    HEARD(&c[2], NONE);
    SYNC(&b, &s, &c[2], c[2].member, "shorter", NULL);
    HEARD(&s, GROUP_MAX_SIZE_REACHED);
    held.max = before;
    SYNC(&b, &s, &c[2], c[2].member, "shorter", NULL);
    HEARD(&s, NONE);
    ck_assert_uint_eq(held.bytes, before - 200 + 7);
    join(&b, &c[2], c[0].member, (struct how){.protocols = "rs", .metadata = text});
    HEARD(&c[2], GROUP_MAX_SIZE_REACHED);
    close_bed(&b);
    close_bed(&other);
    ck_assert_uint_eq(held.bytes, 0);
}

/* The protocol is one that all know; most votes win, the first at a tie. */
TEST(votes)
{
    static const struct {
        const char *members[3];
        const char *wins;
    } rows[] = {
        {{"rs", "sr", "sr"}, "s"}, {{"rs", "sr", "r"}, "r"},   {{"rs", "sr", NULL}, "r"},
        {{"abz", "bz", "z"}, "z"}, {{"ab", "ba", "bac"}, "b"},
    };
    struct bed b;
    struct call c[3];

    open_bed(&b);
    b.rules.initial_delay_ns = 1 * S;
    for (int k = 0; k < 3 && rows[i].members[k] != NULL; k++)
        join(&b, &c[k], "", (struct how){.protocols = rows[i].members[k]});
    pass(&b, 5 * S);
    HEARD(&c[0], NONE);
    ck_assert_str_eq(c[0].protocol, rows[i].wins);
    ck_assert_str_eq(c[1].protocol, rows[i].wins);
    close_bed(&b);
}

/* The first ones wait for more: again for each that comes, not longer than a rebalance may take. */
TEST(the_initial_delay)
{
    struct bed b;
    struct call c[8];

    open_bed(&b);
    b.rules.initial_delay_ns = 3 * S;
    join(&b, &c[0], "", (struct how){.rebalance_ms = 10000});
    pass(&b, 2 * S);
    join(&b, &c[1], "", (struct how){.rebalance_ms = 10000});
    pass(&b, 2 * S);
    WAITS(&c[0]); /* until 6 s now */
    pass(&b, 1 * S);
    join(&b, &c[2], "", (struct how){.rebalance_ms = 10000});
    pass(&b, 3 * S); /* until 9 s */
    WAITS(&c[0]);
    join(&b, &c[3], "", (struct how){.rebalance_ms = 10000});
    pass(&b, 1500 * MS);
    WAITS(&c[0]);
    pass(&b, 500 * MS); /* 10 s: the end in any case */
    for (int k = 0; k < 4; k++) {
        HEARD(&c[k], NONE);
        ck_assert_int_eq(c[k].generation, 1);
    }
    ck_assert(c[0].leads && c[0].members == 4);
    close_bed(&b);
}

TEST(nobody_is_left_of_the_first_ones)
{
    struct bed b;
    struct call c;
    char id[256];

    open_bed(&b);
    b.rules.initial_delay_ns = 3 * S;
    join(&b, &c, "", (struct how){.need_id = true});
    keep(id, c.member);
    join(&b, &c, id, (struct how){0});
    ck_assert_int_eq(group_leave(&b.g, str_of(id), STR_NONE, b.now), KAFKA_NONE);
    HEARD(&c, UNKNOWN_MEMBER_ID);
    group_check(&b.g);
    pass(&b, 4 * S);
    ck_assert_int_eq(b.g.state, GROUP_EMPTY);
    close_bed(&b);
}

/* ---- rebalances ------------------------------------------------------------------------------ */

TEST(who_does_not_come_is_out)
{
    struct bed b;
    struct call a, c, d;
    char id[256];

    two(&b, &a, &c);
    join(&b, &d, "", (struct how){.rebalance_ms = 20000, .session_ms = 300000});
    keep(id, a.member);
    join(&b, &a, id, (struct how){.session_ms = 300000});
    WAITS(&a);
    for (int k = 0; k < 59; k++) {
        pass(&b, 1 * S);
        ck_assert_int_eq(beat(&b, &c), KAFKA_REBALANCE_IN_PROGRESS);
    }
    WAITS(&a); /* 60 s, the longest of all */
    pass(&b, 1 * S);
    HEARD(&a, NONE);
    HEARD(&d, NONE);
    ck_assert_int_eq(a.generation, 3);
    ck_assert_uint_eq(a.members, 2);
    ck_assert_int_eq(beat(&b, &c), KAFKA_UNKNOWN_MEMBER_ID);
    close_bed(&b);
}

TEST(the_leader_does_not_come)
{
    struct bed b;
    struct call a, c, d;
    char id[256];

    two(&b, &a, &c);
    join(&b, &d, "", (struct how){0});
    keep(id, c.member);
    join(&b, &c, id, (struct how){0});
    pass(&b, 61 * S);
    HEARD(&c, NONE);
    HEARD(&d, NONE);
    ck_assert(c.leads && c.members == 2);
    ck_assert_str_eq(d.leader, c.member);
    close_bed(&b);
}

TEST(a_session_ends)
{
    struct bed b;
    struct call a, c;

    two(&b, &a, &c);
    pass(&b, 9 * S);
    ck_assert_int_eq(beat(&b, &a), KAFKA_NONE);
    pass(&b, 2 * S); /* c is silent for 11 s */
    ck_assert_uint_eq(b.g.nmembers, 1);
    ck_assert_int_eq(beat(&b, &c), KAFKA_UNKNOWN_MEMBER_ID);
    ck_assert_int_eq(beat(&b, &a), KAFKA_REBALANCE_IN_PROGRESS);
    pass(&b, 11 * S);
    ck_assert_int_eq(b.g.state, GROUP_EMPTY);
    ck_assert_int_eq(b.g.generation, 3);
    ck_assert(group_unused(&b.g));
    close_bed(&b);
}

TEST(generations_are_checked)
{
    struct bed b;
    struct call a, c, s;

    two(&b, &a, &c);
    a.generation--;
    ck_assert_int_eq(beat(&b, &a), KAFKA_ILLEGAL_GENERATION);
    SYNC(&b, &s, &a, NULL);
    HEARD(&s, ILLEGAL_GENERATION);
    a.generation += 2;
    ck_assert_int_eq(beat(&b, &a), KAFKA_ILLEGAL_GENERATION);
    SYNC(&b, &s, &a, NULL);
    HEARD(&s, ILLEGAL_GENERATION);
    close_bed(&b);
}

/* A member that asks again has lost the answer; a leader wants another assignment. */
TEST(joining_again)
{
    struct bed b;
    struct call a, c, d, s;
    char id[256], leader[256];

    two(&b, &a, &c);
    keep(id, c.member);
    keep(leader, a.member);
    join(&b, &d, id, (struct how){0});
    HEARD(&d, NONE);
    ck_assert_int_eq(d.generation, 2);
    ck_assert(!d.leads);
    SYNC(&b, &s, &d, NULL);
    HEARD(&s, NONE);
    ck_assert_str_eq(s.assignment, "right");
    join(&b, &d, id, (struct how){.metadata = "new"}); /* subscribes to something else */
    WAITS(&d);
    join(&b, &a, leader, (struct how){0});
    HEARD(&a, NONE);
    HEARD(&d, NONE);
    ck_assert_int_eq(a.generation, 3);
    join(&b, &c, id, (struct how){.metadata = "new"}); /* while the leader thinks */
    HEARD(&c, NONE);
    ck_assert_int_eq(c.generation, 3);
    SYNC(&b, &s, &a, NULL);
    join(&b, &a, leader, (struct how){0});
    WAITS(&a);
    ck_assert_int_eq(b.g.state, GROUP_PREPARING);
    join(&b, &d, id, (struct how){0});
    HEARD(&a, NONE);
    ck_assert_int_eq(a.generation, 4);
    close_bed(&b);
}

/* The one before, whose connection is gone, must not wait for ever. */
TEST(joining_twice)
{
    struct bed b;
    struct call a, c, d, e;
    char id[256];

    two(&b, &a, &c);
    keep(id, a.member);
    join(&b, &d, id, (struct how){0});
    WAITS(&d);
    join(&b, &e, id, (struct how){0});
    HEARD(&d, REBALANCE_IN_PROGRESS);
    WAITS(&e);
    group_forget(&b.g, &e);
    join(&b, &c, c.member, (struct how){0});
    WAITS(&e);
    ck_assert_int_eq(c.error, KAFKA_UNKNOWN_MEMBER_ID); /* its name was wiped with c */
    close_bed(&b);
}

TEST(a_rebalance_while_syncing)
{
    struct bed b;
    struct call a, c, d, s, t;
    char id[256];

    two(&b, &a, &c);
    keep(id, a.member);
    join(&b, &a, id, (struct how){0});
    keep(id, c.member);
    join(&b, &c, id, (struct how){0});
    HEARD(&a, NONE);
    ck_assert_int_eq(beat(&b, &c), KAFKA_NONE);
    SYNC(&b, &t, &c, NULL);
    WAITS(&t);
    join(&b, &d, "", (struct how){0});
    HEARD(&t, REBALANCE_IN_PROGRESS);
    WAITS(&d);
    SYNC(&b, &s, &a, a.member, "x", NULL);
    HEARD(&s, REBALANCE_IN_PROGRESS);
    close_bed(&b);
}

/* Who joined and does not sync goes, also the leader. */
TEST(a_leader_that_does_not_sync)
{
    struct bed b;
    struct call a, c, t;
    char id[256];

    two(&b, &a, &c);
    keep(id, a.member);
    join(&b, &a, id, (struct how){.session_ms = 600000});
    keep(id, c.member);
    join(&b, &c, id, (struct how){.session_ms = 600000});
    HEARD(&a, NONE);
    SYNC(&b, &t, &c, NULL);
    WAITS(&t);
    pass(&b, 59 * S);
    WAITS(&t);
    pass(&b, 1 * S);
    HEARD(&t, REBALANCE_IN_PROGRESS);
    ck_assert_uint_eq(b.g.nmembers, 1);
    keep(id, c.member);
    join(&b, &c, id, (struct how){0});
    HEARD(&c, NONE);
    ck_assert(c.leads && c.members == 1);
    close_bed(&b);
}

/* Clients exist that say nothing of a rebalance timeout, that is 0, and sync a moment later. */
TEST(no_time_to_sync)
{
    struct bed b;
    struct call a, t;

    open_bed(&b);
    join(&b, &a, "", (struct how){.session_ms = 30000, .rebalance_ms = NO_TIME});
    pass(&b, b.rules.initial_delay_ns);
    HEARD(&a, NONE);
    pass(&b, 2 * S);
    SYNC(&b, &t, &a, a.member, "all", NULL);
    HEARD(&t, NONE);
    ck_assert_int_eq(beat(&b, &a), KAFKA_NONE);
    close_bed(&b);
}

/* Waiting is no silence; but a newcomer's client may be gone. */
TEST(who_waits_stays)
{
    struct bed b;
    struct call a, c, d;
    char id[256];

    two(&b, &a, &c);
    keep(id, a.member);
    join(&b, &a, id, (struct how){.rebalance_ms = 600000});
    join(&b, &d, "", (struct how){0});
    for (int k = 0; k < 299; k++) {
        pass(&b, 1 * S);
        beat(&b, &c);
    }
    ck_assert_uint_eq(b.g.nmembers, 3);
    WAITS(&d);
    pass(&b, 1 * S);
    HEARD(&d, UNKNOWN_MEMBER_ID);
    WAITS(&a);
    ck_assert_uint_eq(b.g.nmembers, 2);
    close_bed(&b);
}

/* ---- leaving --------------------------------------------------------------------------------- */

TEST(leaving)
{
    struct bed b;
    struct call a, c, d;
    char id[256];

    two(&b, &a, &c);
    ck_assert_int_eq(group_leave(&b.g, STR("nobody"), STR_NONE, b.now), KAFKA_UNKNOWN_MEMBER_ID);
    ck_assert_int_eq(group_leave(&b.g, STR(""), STR_NONE, b.now), KAFKA_UNKNOWN_MEMBER_ID);
    ck_assert_int_eq(group_leave(&b.g, STR(""), STR("i"), b.now), KAFKA_UNKNOWN_MEMBER_ID);
    keep(id, c.member);
    join(&b, &c, id, (struct how){.metadata = "new"});
    WAITS(&c);
    ck_assert_int_eq(group_leave(&b.g, str_of(a.member), STR_NONE, b.now), KAFKA_NONE);
    group_check(&b.g);
    HEARD(&c, NONE); /* all who are left are in */
    ck_assert(c.leads);
    join(&b, &d, "", (struct how){.need_id = true});
    keep(id, c.member);
    join(&b, &c, id, (struct how){.metadata = "newer"});
    WAITS(&c); /* for d */
    ck_assert_int_eq(group_leave(&b.g, str_of(d.member), STR_NONE, b.now), KAFKA_NONE);
    group_check(&b.g);
    HEARD(&c, NONE);
    ck_assert_int_eq(group_leave(&b.g, str_of(c.member), STR_NONE, b.now), KAFKA_NONE);
    group_check(&b.g);
    ck_assert_int_eq(b.g.state, GROUP_EMPTY);
    close_bed(&b);
}

/* ---- static members -------------------------------------------------------------------------- */

static void two_static(struct bed *b, struct call *a, struct call *c)
{
    struct call s;

    open_bed(b);
    b->rules.initial_delay_ns = 1;
    join(b, a, "", (struct how){.instance = "one"});
    join(b, c, "", (struct how){.instance = "two"});
    pass(b, 1 * S);
    HEARD(a, NONE);
    HEARD(c, NONE);
    sync_as(b, &s, a, "one", (const char *[]){a->member, "left", c->member, "right", NULL});
    HEARD(&s, NONE);
    sync_as(b, &s, c, "two", NULL);
    HEARD(&s, NONE);
}

TEST(a_static_member_comes_back)
{
    struct bed b;
    struct call a, c, d, s;

    two_static(&b, &a, &c);
    join(&b, &d, "", (struct how){.instance = "two", .can_skip = i > 0});
    HEARD(&d, NONE);
    ck_assert_int_eq(d.generation, c.generation);
    ck_assert_str_ne(d.member, c.member);
    ck_assert(!d.leads && !d.skip);
    ck_assert_str_eq(d.leader, a.member);
    sync_as(&b, &s, &d, "two", NULL);
    ck_assert_str_eq(s.assignment, "right");
    /* The old one is fenced, whatever it asks for. */
    ck_assert_int_eq(group_heartbeat(&b.g, str_of(c.member), STR("two"), c.generation, b.now),
                     KAFKA_FENCED_INSTANCE_ID);
    sync_as(&b, &s, &c, "two", NULL);
    HEARD(&s, FENCED_INSTANCE_ID);
    join(&b, &s, c.member, (struct how){.instance = "two"});
    HEARD(&s, FENCED_INSTANCE_ID);
    ck_assert_int_eq(group_leave(&b.g, str_of(c.member), STR("two"), b.now),
                     KAFKA_FENCED_INSTANCE_ID);
    ck_assert_int_eq(
        group_may_commit(&b.g, str_of(c.member), STR("two"), c.generation, false, b.now),
        KAFKA_FENCED_INSTANCE_ID);
    ck_assert_int_eq(b.g.state, GROUP_STABLE);
    ck_assert_int_eq(group_leave(&b.g, STR(""), STR("two"), b.now), KAFKA_NONE);
    group_check(&b.g);
    ck_assert_uint_eq(b.g.nmembers, 1);
    close_bed(&b);
}

/* It may not make assignments again: nobody else would ask for them. */
TEST(a_static_leader_comes_back)
{
    struct bed b;
    struct call a, c, d;

    two_static(&b, &a, &c);
    join(&b, &d, "", (struct how){.instance = "one", .can_skip = i > 0});
    HEARD(&d, NONE);
    ck_assert_int_eq(d.generation, a.generation);
    ck_assert_int_eq(d.skip, i > 0);
    ck_assert_int_eq(d.leads, i > 0);
    ck_assert_str_eq(d.leader, i > 0 ? d.member : a.member);
    close_bed(&b);
}

TEST(a_static_member_with_other_topics)
{
    struct bed b;
    struct call a, c, d;

    two_static(&b, &a, &c);
    join(&b, &d, "", (struct how){.instance = "two", .metadata = "more"});
    WAITS(&d);
    ck_assert_int_eq(b.g.state, GROUP_PREPARING);
    join(&b, &c, "", (struct how){.instance = "two", .metadata = "more"});
    HEARD(&d, FENCED_INSTANCE_ID);
    WAITS(&c);
    close_bed(&b);
}

/* A rebalance without it does not end its membership; the end of its session does. */
TEST(an_absent_static_member)
{
    struct bed b;
    struct call a, c, d, s;
    char id[256];

    two_static(&b, &a, &c);
    join(&b, &c, "", (struct how){.instance = "two", .session_ms = 300000});
    join(&b, &d, "", (struct how){0});
    keep(id, a.member);
    join(&b, &a, id, (struct how){.instance = "one"});
    pass(&b, 61 * S);
    HEARD(&a, NONE);
    HEARD(&d, NONE);
    ck_assert_uint_eq(a.members, 3);
    sync_as(&b, &s, &a, "one", NULL);
    sync_as(&b, &s, &d, NULL, NULL);
    HEARD(&s, NONE);
    for (int k = 0; k < 100; k++) { /* longer than a rebalance */
        pass(&b, 1 * S);
        ck_assert_int_eq(group_heartbeat(&b.g, str_of(a.member), STR("one"), a.generation, b.now),
                         KAFKA_NONE);
        ck_assert_int_eq(beat(&b, &d), KAFKA_NONE);
    }
    ck_assert_uint_eq(b.g.nmembers, 3);
    pass(&b, 400 * S);
    ck_assert_uint_eq(b.g.nmembers, 0);
    ck_assert_int_eq(b.g.state, GROUP_EMPTY);
    close_bed(&b);
}

/* Static members alone: a rebalance that none of them comes to is tried again. */
TEST(only_absent_static_members)
{
    struct bed b;
    struct call a, c;
    char id[256];

    two_static(&b, &a, &c);
    join(&b, &c, "", (struct how){.instance = "two", .session_ms = 300000});
    keep(id, a.member);
    ck_assert_int_eq(group_leave(&b.g, str_of(id), STR("one"), b.now), KAFKA_NONE);
    pass(&b, 61 * S);
    ck_assert_int_eq(b.g.state, GROUP_PREPARING);
    join(&b, &c, "", (struct how){.instance = "two", .session_ms = 300000});
    HEARD(&c, NONE);
    ck_assert(c.leads && c.members == 1);
    close_bed(&b);
}

/* ---- commits --------------------------------------------------------------------------------- */

TEST(who_may_commit)
{
    struct bed b;
    struct call a, c, d;
    char id[256];

    open_bed(&b);
    ck_assert_int_eq(group_may_commit(&b.g, STR(""), STR_NONE, -1, false, b.now), KAFKA_NONE);
    ck_assert_int_eq(group_may_commit(&b.g, STR("x"), STR_NONE, 1, false, b.now),
                     KAFKA_UNKNOWN_MEMBER_ID);
    close_bed(&b);
    two(&b, &a, &c);
    ck_assert_int_eq(group_may_commit(&b.g, STR(""), STR_NONE, -1, false, b.now),
                     KAFKA_UNKNOWN_MEMBER_ID);
    ck_assert_int_eq(group_may_commit(&b.g, STR(""), STR_NONE, -1, true, b.now), KAFKA_NONE);
    ck_assert_int_eq(group_may_commit(&b.g, str_of(a.member), STR_NONE, 1, false, b.now),
                     KAFKA_ILLEGAL_GENERATION);
    ck_assert_int_eq(group_may_commit(&b.g, str_of(a.member), STR_NONE, 2, false, b.now),
                     KAFKA_NONE);
    join(&b, &d, "", (struct how){0});
    ck_assert_int_eq(group_may_commit(&b.g, str_of(a.member), STR_NONE, 2, false, b.now),
                     KAFKA_NONE); /* what was read until now */
    keep(id, a.member);
    join(&b, &a, id, (struct how){0});
    keep(id, c.member);
    join(&b, &c, id, (struct how){0});
    ck_assert_int_eq(b.g.state, GROUP_COMPLETING);
    ck_assert_int_eq(group_may_commit(&b.g, str_of(a.member), STR_NONE, 3, false, b.now),
                     KAFKA_REBALANCE_IN_PROGRESS);
    close_bed(&b);
}

TEST(sync_names_the_protocol)
{
    struct bed b;
    struct call a, c, s;
    struct group_sync q;

    two(&b, &a, &c);
    q = (struct group_sync){.member_id = str_of(a.member),
                            .generation = 2,
                            .protocol_type = str_of(i == 0 ? "connect" : "consumer"),
                            .protocol = str_of(i == 1 ? "x" : "r"),
                            .who = &s};
    memset(&s, 0, sizeof(s));
    group_sync(&b.g, &q, b.now);
    ck_assert_int_eq(s.heard, 1);
    ck_assert_int_eq(s.error, i < 2 ? KAFKA_INCONSISTENT_GROUP_PROTOCOL : KAFKA_NONE);
    close_bed(&b);
}

/* ---- subscriptions --------------------------------------------------------------------------- */

/* A group of one member that says so; which of the topics a to e it reads: their letters, "all". */
static void reads(struct str metadata, const char *type, const char *want)
{
    struct kafka_arena arena = {0};
    struct once asked, read;
    struct call a;
    struct bed b;
    char got[8] = "";
    size_t n = 0;
    bool said;

    open_bed(&b);
    join(&b, &a, "", (struct how){.bytes = metadata, .type = type});
    once_init(&asked, &arena, 1);
    once_init(&read, &arena, 1);
    for (const char *c = "abcde"; *c != '\0'; c++)
        once_take(&asked, str_from(c, 1));
    said = group_subscriptions(&b.g, &asked, &read);
    for (char c = 'a'; c <= 'f'; c++)
        if (once_has(&read, str_from(&c, 1)))
            got[n++] = c;
    ck_assert_str_eq(said ? got : "all", want);
    once_deinit(&asked);
    once_deinit(&read);
    kafka_arena_free(&arena);
    close_bed(&b);
}

#define BYTES(text) str_from(text, sizeof(text) - 1)

TEST(what_members_read)
{
    reads(BYTES("\0\1\0\0\0\0"), NULL, "");
    reads(BYTES("\0\1\0\0\0\2\0\1b\0\1d"), NULL, "bd");
    reads(BYTES("\0\1\0\0\0\4\0\1f\0\2bc\0\0\0\1a"), NULL, "a");
    reads(BYTES("\0\1\0\0\0\2\0\1b\0\1b and what belongs to the assignor"), NULL, "b");
    reads(BYTES("\0\1\0\0\0\2\0\1b\0\1"), NULL, "all"); /* cut */
    reads(BYTES("\0\1\0\0\0\2\0\1b"), NULL, "all");
    reads(BYTES("\0\1\0\0\0"), NULL, "all");
    reads(BYTES("\0\1\xff\xff\xff\xff"), NULL, "all");
    reads(BYTES("\0\1\0\0\0\0"), "connect", "all");
}

static const struct runner_case cases[] = {
    RUN(what_members_read),
    RUN(one_member),
    RUN(two_members),
    RUN(an_id_first),
    RUN_LOOP(refused_joins, 0, 9),
    RUN(limits),
    RUN(held_by_all),
    RUN_LOOP(votes, 0, 5),
    RUN(the_initial_delay),
    RUN(nobody_is_left_of_the_first_ones),
    RUN(who_does_not_come_is_out),
    RUN(the_leader_does_not_come),
    RUN(a_session_ends),
    RUN(generations_are_checked),
    RUN(joining_again),
    RUN(joining_twice),
    RUN(a_rebalance_while_syncing),
    RUN(a_leader_that_does_not_sync),
    RUN(no_time_to_sync),
    RUN(who_waits_stays),
    RUN(leaving),
    RUN_LOOP(a_static_member_comes_back, 0, 2),
    RUN_LOOP(a_static_leader_comes_back, 0, 2),
    RUN(a_static_member_with_other_topics),
    RUN(an_absent_static_member),
    RUN(only_absent_static_members),
    RUN(who_may_commit),
    RUN_LOOP(sync_names_the_protocol, 0, 3),
};

RUNNER_MAIN("kafka/group", cases)
