/*
 * test_group_swarm.c - up to 50 members that join, die, leave, come back, change their mind and
 * lose answers at random. What must hold: in one generation no partition has two owners, and none
 * has no owner once all members of that generation have their assignments; all members of a
 * generation have the same protocol and one leader; every request is answered once; and when the
 * noise ends the living are one stable generation.
 */
#include "server/kafka/group_core.h"
#include "server/kafka/kafka_error.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)
#define S (1000 * MS)
#define CLIENTS 50
#define PARTITIONS 64
#define GENERATIONS 20000

enum at { OUT, JOINING, JOINED, SYNCING, MEMBER };

struct client;

/* One request under way. */
struct call {
    struct call *next;     /* of all there ever were */
    struct client *client; /* NULL: the client does not care any more */
    bool heard;
};

struct client {
    int number;
    enum at at;
    char id[256], instance[16];
    int32_t generation;
    bool leads, skip, sticky;
    uint64_t beat;  /* next one */
    uint64_t until; /* paused: does nothing before */
    struct call *call;
    char members[CLIENTS][256]; /* what a leader was told */
    uint32_t nmembers;
    int topics;
};

struct swarm {
    struct group g;
    struct group_rules rules;
    struct prng prng;
    uint64_t now;
    struct client clients[CLIENTS];
    int nclients;
    struct call *calls;
    /* Of each generation: who owns a partition (1 + number), how many its leader was told of, who
     * has its assignment, the protocol. */
    struct {
        uint8_t owner[PARTITIONS];
        uint32_t told;
        uint64_t have; /* bits */
        char protocol;
    } seen[GENERATIONS];
    uint32_t stable; /* generations that everybody had */
    int32_t last;
    bool noise;
};

static struct swarm *w;

static uint64_t below(uint64_t n)
{
    return prng_below(&w->prng, n);
}

static bool chance(unsigned percent)
{
    return below(100) < percent;
}

/* ---- what clients hear ----------------------------------------------------------------------- */

static struct client *heard(void *who)
{
    struct call *call = who;

    MUST(!call->heard);
    call->heard = true;
    if (call->client != NULL)
        call->client->call = NULL;
    return call->client;
}

static void out_with(struct client *c, int16_t error)
{
    c->at = OUT;
    if (error == KAFKA_UNKNOWN_MEMBER_ID)
        c->id[0] = '\0';
    else if (error == KAFKA_FENCED_INSTANCE_ID)
        c->id[0] = '\0';
    else
        MUST(error == KAFKA_REBALANCE_IN_PROGRESS || error == KAFKA_ILLEGAL_GENERATION ||
             error == KAFKA_MEMBER_ID_REQUIRED || error == KAFKA_INCONSISTENT_GROUP_PROTOCOL);
}

static void list_members(struct client *c, const struct group *g)
{
    c->nmembers = 0;
    LIST_FOREACH(l, &g->members)
    {
        const struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        MUST(group_metadata(g, m).n > 0);
        snprintf(c->members[c->nmembers++], 256, "%.*s", STR_ARG(m->id));
    }
}

static void joined(void *who, const struct group_joined *a)
{
    struct client *c = heard(who);

    if (c == NULL)
        return;
    MUST(c->at == JOINING);
    if (a->error != KAFKA_NONE) {
        out_with(c, a->error);
        if (a->error == KAFKA_MEMBER_ID_REQUIRED)
            snprintf(c->id, sizeof(c->id), "%.*s", STR_ARG(a->member_id));
        return;
    }
    MUST(a->generation >= w->last && a->generation < GENERATIONS);
    w->last = a->generation;
    MUST(a->protocol.n == 1);
    if (w->seen[a->generation].protocol == 0)
        w->seen[a->generation].protocol = a->protocol.p[0];
    MUST(w->seen[a->generation].protocol == a->protocol.p[0]);
    c->at = JOINED;
    c->generation = a->generation;
    c->leads = str_eq(a->leader, a->member_id);
    c->skip = a->skip_assignment;
    snprintf(c->id, sizeof(c->id), "%.*s", STR_ARG(a->member_id));
    MUST(!c->leads || a->group != NULL);
    if (a->group != NULL)
        list_members(c, a->group);
}

static void synced(void *who, const struct group_synced *a)
{
    struct client *c = heard(who);

    if (c == NULL)
        return;
    MUST(c->at == SYNCING);
    if (a->error != KAFKA_NONE) {
        out_with(c, a->error);
        return;
    }
    c->at = MEMBER;
    c->beat = w->now + below(3 * S);
    w->seen[c->generation].have |= UINT64_C(1) << c->number;
    for (size_t i = 0; i < a->assignment.n; i++) {
        uint8_t *owner = &w->seen[c->generation].owner[(uint8_t) a->assignment.p[i]];
        MUST(*owner == 0 || *owner == c->number + 1);
        *owner = (uint8_t) (c->number + 1);
    }
}

static const struct group_out out = {.joined = joined, .synced = synced};

/* ---- what they do ---------------------------------------------------------------------------- */

static struct call *call_of(struct client *c)
{
    struct call *call = calloc(1, sizeof(*call));

    call->next = w->calls;
    w->calls = call;
    call->client = c;
    c->call = call;
    return call;
}

static void ask_join(struct client *c)
{
    char metadata[16];
    struct group_protocol p[2];
    struct group_join q = {
        .member_id = str_of(c->id),
        .instance = c->instance[0] != '\0' ? str_of(c->instance) : STR_NONE,
        .client_id = STR("swarm"),
        .client_host = STR("127.0.0.1"),
        .protocol_type = STR("consumer"),
        .session_ms = 10000 + c->number * 100,
        .rebalance_ms = 20000 + c->number * 100,
        .protocols = p,
        .nprotocols = 2,
        .need_id = c->number % 3 != 0,
        .can_skip = c->number % 2 == 0,
    };

    snprintf(metadata, sizeof(metadata), "m%d", c->topics);
    p[0].name = c->sticky ? STR("s") : STR("r");
    p[1].name = c->sticky ? STR("r") : STR("s");
    p[0].metadata = p[1].metadata = str_of(metadata);
    c->at = JOINING;
    q.who = call_of(c);
    group_join(&w->g, &q, w->now);
}

static void ask_sync(struct client *c)
{
    static char parts[CLIENTS][PARTITIONS];
    struct group_protocol a[CLIENTS];
    struct group_sync q = {.member_id = str_of(c->id),
                           .instance = c->instance[0] != '\0' ? str_of(c->instance) : STR_NONE,
                           .generation = c->generation,
                           .protocol_type = STR("consumer"),
                           .assignments = a};

    if (c->leads && !c->skip) {
        q.nassignments = c->nmembers;
        w->seen[c->generation].told = c->nmembers;
        for (uint32_t i = 0; i < c->nmembers; i++)
            a[i] = (struct group_protocol){str_of(c->members[i]), str_from(parts[i], 0)};
        for (int p = 0; p < PARTITIONS; p++) {
            struct group_protocol *to = &a[(uint32_t) p % c->nmembers];
            parts[to - a][to->metadata.n++] = (char) p;
        }
    }
    c->at = SYNCING;
    q.who = call_of(c);
    group_sync(&w->g, &q, w->now);
}

static void ask_beat(struct client *c)
{
    int16_t error = group_heartbeat(&w->g, str_of(c->id),
                                    c->instance[0] != '\0' ? str_of(c->instance) : STR_NONE,
                                    c->generation, w->now);

    if (error != KAFKA_NONE)
        out_with(c, error);
    else
        c->beat = w->now + below(3 * S);
}

/* Its connection breaks: nobody hears the answer. */
static void hang_up(struct client *c)
{
    if (c->call == NULL)
        return;
    c->call->client = NULL;
    if (chance(70))
        group_forget(&w->g, c->call);
    c->call = NULL;
    c->at = OUT;
}

static void misbehave(struct client *c)
{
    switch (below(7)) {
    case 0: /* dies; another one comes in its place */
        hang_up(c);
        c->at = OUT;
        c->id[0] = '\0';
        c->until = w->now + below(40 * S);
        break;
    case 1: /* leaves */
        if (c->call == NULL && c->instance[0] == '\0') {
            group_leave(&w->g, str_of(c->id), STR_NONE, w->now);
            c->at = OUT;
            c->id[0] = '\0';
            c->until = w->now + below(20 * S);
        }
        break;
    case 2: /* the garbage collector */
        c->until = w->now + below(15 * S);
        break;
    case 3:
        hang_up(c);
        break;
    case 4: /* other topics */
        c->topics = (int) below(3);
        if (c->at == MEMBER)
            c->at = OUT;
        break;
    case 5:
        c->sticky = !c->sticky;
        break;
    default:
        if (c->at == MEMBER)
            c->at = OUT; /* asks for a rebalance */
        break;
    }
}

static void act(struct client *c)
{
    if (w->noise && chance(2))
        misbehave(c);
    if (c->until > w->now)
        return;
    if (c->at == OUT && chance(30))
        ask_join(c);
    else if (c->at == JOINED && chance(50))
        ask_sync(c);
    else if (c->at == MEMBER && c->beat <= w->now)
        ask_beat(c);
}

static void check_generation(void)
{
    int32_t n = w->g.generation;

    if (w->g.state != GROUP_STABLE || w->seen[n].told != w->g.nmembers ||
        (uint32_t) __builtin_popcountll(w->seen[n].have) != w->g.nmembers)
        return;
    for (int p = 0; p < PARTITIONS; p++)
        MUST(w->seen[n].owner[p] != 0);
    w->stable++;
}

static void live(int steps)
{
    for (int k = 0; k < steps; k++) {
        w->now += below(400 * MS);
        group_tick(&w->g, w->now);
        MUST(group_next(&w->g) > w->now);
        act(&w->clients[below((uint64_t) w->nclients)]);
        act(&w->clients[below((uint64_t) w->nclients)]);
        group_check(&w->g);
        check_generation();
    }
}

/* Everybody well-behaved from now on. */
static void settle(void)
{
    w->noise = false;
    for (int k = 0; k < 200; k++) {
        for (int i = 0; i < w->nclients; i++) {
            w->clients[i].until = 0;
            act(&w->clients[i]);
            group_check(&w->g);
        }
        w->now += 1 * S;
        group_tick(&w->g, w->now);
        group_check(&w->g);
    }
    ck_assert_int_eq(w->g.state, GROUP_STABLE);
    ck_assert_uint_eq(w->g.nmembers, (unsigned) w->nclients);
    for (int i = 0; i < w->nclients; i++) {
        ck_assert_int_eq(w->clients[i].at, MEMBER);
        ck_assert_int_eq(w->clients[i].generation, w->g.generation);
    }
    for (int p = 0; p < PARTITIONS; p++)
        ck_assert_int_ne(w->seen[w->g.generation].owner[p], 0);
}

TEST(swarm)
{
    struct held held = {.max = 1 << 20};

    w = calloc(1, sizeof(*w));
    prng_init(&w->prng, (uint64_t) i);
    w->rules = (struct group_rules){.session_min_ms = 6000,
                                    .session_max_ms = 300000,
                                    .initial_delay_ns = below(3) * S,
                                    .newcomer_ns = 300 * S,
                                    .max_members = CLIENTS * 20,
                                    .held = &held,
                                    .max_bytes = 1 << 20};
    group_init(&w->g, &w->rules, &out, &w->prng);
    w->now = 1000 * S;
    w->nclients = 1 + (int) below(CLIENTS);
    w->noise = true;
    for (int k = 0; k < w->nclients; k++) {
        w->clients[k].number = k;
        w->clients[k].sticky = chance(50);
        if (chance(30))
            snprintf(w->clients[k].instance, sizeof(w->clients[k].instance), "i%d", k);
    }
    live(6000);
    settle();
    ck_assert_uint_gt(w->stable + (w->nclients > 20), 0);
    for (int k = 0; k < w->nclients; k++)
        if (w->clients[k].call != NULL)
            w->clients[k].call->client = NULL;
    group_deinit(&w->g, KAFKA_NOT_COORDINATOR);
    ck_assert_uint_eq(held.bytes, 0);
    for (struct call *c = w->calls, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    free(w);
}

static const struct runner_case cases[] = {
    RUN_LOOP(swarm, 0, 60),
};

RUNNER_MAIN("kafka/group_swarm", cases)
