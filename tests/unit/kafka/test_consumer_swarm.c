/*
 * test_consumer_swarm.c - up to 50 members of a consumer group that join, die, leave, pause, are
 * slow to give up, change their mind and lose answers at random, while topics come, grow, go and
 * are made anew. What must hold: what one client really owns no other that the group knows owns; an
 * epoch never goes back; and when the noise ends, the group becomes stable with every partition
 * owned, by one who wants it, and evenly.
 */
#include "server/kafka/consumer_group.h"
#include "server/kafka/kafka_error.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)
#define S (1000 * MS)
#define CLIENTS 50
#define TOPICS 5
#define PARTITIONS 24

struct topic {
    char name[8];
    uint8_t id; /* 0: not there */
    int32_t partitions;
};

/* What a client does: it gives up what it was not told any more after a while, then takes the
 * rest. */
struct client {
    int number;
    bool in;
    char id[32], instance[8];
    int32_t epoch;
    uint64_t owned[256 / 64 * PARTITIONS]; /* bits: id of a topic * PARTITIONS + partition */
    uint64_t told[256 / 64 * PARTITIONS];
    bool full;       /* says everything at its next heartbeat */
    uint64_t beat;   /* next one */
    uint64_t until;  /* paused: does nothing before */
    uint64_t revoke; /* is done giving up; 0: nothing to give up */
    unsigned wants;  /* bits of topics */
    bool range;
};

static struct swarm {
    struct consumer_group g;
    struct consumer_rules rules;
    struct prng prng;
    uint64_t now, version;
    uint8_t last_id;
    struct topic topics[TOPICS];
    struct client clients[CLIENTS];
    int nclients, names;
    int32_t epoch;
    bool noise;
} * w;

static uint64_t below(uint64_t n)
{
    return prng_below(&w->prng, n);
}

static bool chance(unsigned percent)
{
    return below(100) < percent;
}

/* ---- the world ------------------------------------------------------------------------------- */

static uint64_t version(void *ctx)
{
    (void) ctx;
    return w->version;
}

static bool find(void *ctx, struct str name, struct consumer_found *out)
{
    (void) ctx;
    for (int i = 0; i < TOPICS; i++)
        if (w->topics[i].id != 0 && str_eq(name, str_of(w->topics[i].name))) {
            *out = (struct consumer_found){.partitions = w->topics[i].partitions};
            out->id.bytes[0] = w->topics[i].id;
            return true;
        }
    return false;
}

static void each(void *ctx, void (*fn)(void *to, struct str name), void *to)
{
    (void) ctx;
    for (int i = 0; i < TOPICS; i++)
        if (w->topics[i].id != 0)
            fn(to, str_of(w->topics[i].name));
}

static const struct consumer_world world = {.version = version, .each = each, .find = find};

static void make(struct topic *t)
{
    if (w->last_id == UINT8_MAX)
        return;
    t->id = ++w->last_id;
    t->partitions = 1 + (int32_t) below(PARTITIONS);
    w->version++;
}

static void change_topics(void)
{
    struct topic *t = &w->topics[below(TOPICS)];

    if (t->id == 0 || chance(20)) {
        make(t);
    } else if (chance(30)) {
        t->id = 0;
        w->version++;
    } else if (t->partitions < PARTITIONS) {
        t->partitions++;
        w->version++;
    }
}

/* ---- a client -------------------------------------------------------------------------------- */

static bool bit(const uint64_t *set, unsigned n)
{
    return (set[n / 64] >> (n % 64) & 1) != 0;
}

static void clear(struct client *c)
{
    memset(c->owned, 0, sizeof(c->owned));
    memset(c->told, 0, sizeof(c->told));
    c->revoke = 0;
}

static void out(struct client *c)
{
    c->in = false;
    c->epoch = 0;
    clear(c);
}

static void be_new(struct client *c)
{
    snprintf(c->id, sizeof(c->id), "m%d-%d", c->number, w->names++);
    out(c);
}

/* Nobody that the group knows owns what another one does. */
static void check_owners(void)
{
    static int8_t owner[256 * PARTITIONS];

    memset(owner, -1, sizeof(owner));
    for (int i = 0; i < w->nclients; i++) {
        const struct client *c = &w->clients[i];
        const struct consumer_member *m = consumer_group_find(&w->g, str_of(c->id));
        if (!c->in || m == NULL || m->epoch < 0)
            continue;
        for (unsigned n = 0; n < 256 * PARTITIONS; n++) {
            if (!bit(c->owned, n))
                continue;
            MUST(owner[n] < 0);
            owner[n] = (int8_t) i;
        }
    }
}

static void step_owned(struct client *c)
{
    bool loses = false;

    for (size_t i = 0; i < ARRAY_LEN(c->owned); i++)
        loses |= (c->owned[i] & ~c->told[i]) != 0;
    if (loses && c->revoke == 0)
        c->revoke = w->now + (w->noise && chance(5) ? below(90 * S) : below(2 * S));
    if (loses && c->revoke > w->now)
        return;
    c->revoke = 0;
    c->full |= memcmp(c->owned, c->told, sizeof(c->owned)) != 0;
    memcpy(c->owned, c->told, sizeof(c->owned));
}

static void hear(struct client *c, const struct consumer_told *told)
{
    if (told->error == KAFKA_FENCED_MEMBER_EPOCH || told->error == KAFKA_UNKNOWN_MEMBER_ID ||
        told->error == KAFKA_UNRELEASED_INSTANCE_ID || told->error == KAFKA_FENCED_INSTANCE_ID) {
        out(c);
        return;
    }
    MUST(told->error == KAFKA_NONE);
    MUST(told->epoch >= c->epoch);
    c->in = true;
    c->epoch = told->epoch;
    if (told->member == NULL)
        return;
    memset(c->told, 0, sizeof(c->told));
    for (size_t i = 0; i < told->member->assigned.n; i++) {
        uint64_t part = told->member->assigned.p[i];
        const struct consumer_topic *t = consumer_group_topic(&w->g, part_topic(part));
        unsigned n = t->id.bytes[0] * PARTITIONS + (unsigned) part_index(part);
        c->told[n / 64] |= UINT64_C(1) << (n % 64);
    }
}

static void put_owned(struct client *c, struct consumer_beat *q)
{
    static struct consumer_owned owned[256 * PARTITIONS];
    static int32_t indexes[256 * PARTITIONS];

    q->owned = owned;
    q->nowned = 0;
    for (unsigned n = 0; n < 256 * PARTITIONS; n++) {
        struct consumer_owned *o = &owned[q->nowned];
        if (!bit(c->owned, n))
            continue;
        indexes[q->nowned] = (int32_t) (n % PARTITIONS);
        *o = (struct consumer_owned){.partitions = &indexes[q->nowned], .n = 1};
        o->topic.bytes[0] = (uint8_t) (n / PARTITIONS);
        q->nowned++;
    }
}

static void ask(struct client *c)
{
    struct str names[TOPICS];
    struct consumer_told told;
    struct consumer_beat q = {.member_id = str_of(c->id),
                              .epoch = c->epoch,
                              .rebalance_ms = -1,
                              .nnames = -1,
                              .nowned = -1,
                              .client_id = STR("c"),
                              .client_host = STR("h")};

    if (c->full || !c->in) {
        q.rebalance_ms = 30000;
        q.assignor = c->range ? STR("range") : STR("uniform");
        q.instance = c->instance[0] != '\0' ? str_of(c->instance) : STR_NONE;
        q.names = names;
        q.nnames = 0;
        for (int i = 0; i < TOPICS; i++)
            if ((c->wants >> i & 1) != 0)
                names[q.nnames++] = str_of(w->topics[i].name);
        /* Who wants the first two alone says so by an expression sometimes. */
        q.regex = STR("");
        if (c->wants == 3 && c->number % 2 == 0) {
            q.nnames = 0;
            q.regex = STR("t[01]");
        }
        put_owned(c, &q);
    }
    c->beat = w->now + below(5 * S);
    consumer_group_beat(&w->g, &q, w->now, &told);
    consumer_group_check(&w->g);
    MUST(w->g.epoch >= w->epoch);
    w->epoch = w->g.epoch;
    if (w->noise && chance(4)) {
        c->full = true; /* the answer is lost */
        if (!c->in)
            c->epoch = 0;
        return;
    }
    c->full = false;
    hear(c, &told);
}

static void bye(struct client *c, int32_t how)
{
    struct consumer_told told;
    struct consumer_beat q = {.member_id = str_of(c->id),
                              .epoch = how,
                              .instance = c->instance[0] != '\0' ? str_of(c->instance) : STR_NONE,
                              .rebalance_ms = -1,
                              .nnames = -1,
                              .nowned = -1};

    clear(c);
    consumer_group_beat(&w->g, &q, w->now, &told);
    consumer_group_check(&w->g);
    be_new(c);
    c->until = w->now + below(30 * S);
}

static void misbehave(struct client *c)
{
    switch (below(6)) {
    case 0: /* dies; another one comes in its place */
        be_new(c);
        c->until = w->now + below(60 * S);
        break;
    case 1:
        if (c->in)
            bye(c, CONSUMER_LEAVE);
        break;
    case 2:
        if (c->in && c->instance[0] != '\0')
            bye(c, CONSUMER_PAUSE);
        break;
    case 3: /* the garbage collector */
        c->until = w->now + below(60 * S);
        break;
    case 4: /* other topics */
        c->wants = 1 + (unsigned) below((1u << TOPICS) - 1);
        c->full = true;
        break;
    default:
        c->range = !c->range;
        c->full = true;
        break;
    }
}

static void act(struct client *c)
{
    if (w->noise && chance(2))
        misbehave(c);
    if (c->until > w->now)
        return;
    if (c->in)
        step_owned(c);
    if (c->in ? c->beat <= w->now || c->full : chance(30))
        ask(c);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static void live(int steps)
{
    for (int k = 0; k < steps; k++) {
        w->now += below(300 * MS);
        consumer_group_tick(&w->g, w->now);
        consumer_group_check(&w->g);
        MUST(w->g.next > w->now);
        if (chance(1))
            change_topics();
        for (int n = 0; n < 4; n++)
            act(&w->clients[below((uint64_t) w->nclients)]);
        if (k % 16 == 0)
            check_owners();
    }
}

static void check_end(void)
{
    unsigned least = UINT32_MAX, most = 0, same = w->clients[0].wants;
    static uint8_t owners[256 * PARTITIONS];

    memset(owners, 0, sizeof(owners));
    ck_assert_str_eq(consumer_group_state(&w->g), "Stable");
    ck_assert_uint_eq(w->g.nmembers, (unsigned) w->nclients);
    for (int i = 0; i < w->nclients; i++) {
        struct client *c = &w->clients[i];
        unsigned count = 0;
        MUST(c->in && c->epoch == w->g.target_epoch);
        MUST(memcmp(c->owned, c->told, sizeof(c->owned)) == 0);
        for (unsigned n = 0; n < 256 * PARTITIONS; n++)
            if (bit(c->owned, n)) {
                owners[n]++;
                count++;
            }
        same = same == c->wants ? same : 0;
        least = count < least ? count : least;
        most = count > most ? count : most;
    }
    if (same != 0 && w->g.assignor == CONSUMER_UNIFORM)
        ck_assert_uint_le(most - least, 1);
    for (int i = 0; i < TOPICS; i++) {
        unsigned wanted = 0;
        for (int k = 0; k < w->nclients; k++)
            wanted |= w->clients[k].wants >> i & 1;
        for (int32_t n = 0; w->topics[i].id != 0 && n < w->topics[i].partitions; n++)
            ck_assert_uint_eq(owners[w->topics[i].id * PARTITIONS + n], wanted);
    }
}

/* Everybody well-behaved from now on. */
static void settle(void)
{
    bool same = chance(50);

    w->noise = false;
    for (int i = 0; same && i < w->nclients; i++) {
        w->clients[i].full |= w->clients[i].wants != 3;
        w->clients[i].wants = 3;
    }
    for (int k = 0; k < 300; k++) {
        for (int i = 0; i < w->nclients; i++) {
            w->clients[i].until = 0;
            act(&w->clients[i]);
        }
        check_owners();
        w->now += 1 * S;
        consumer_group_tick(&w->g, w->now);
    }
    check_end();
}

TEST(swarm)
{
    struct held held = {.max = 1 << 20};

    w = calloc(1, sizeof(*w));
    prng_init(&w->prng, (uint64_t) i);
    w->rules = (struct consumer_rules){.held = &held,
                                       .session_ns = 45 * S,
                                       .heartbeat_ms = 5000,
                                       .max_members = CLIENTS * 20,
                                       .max_names = CLIENTS * 20 * TOPICS,
                                       .max_partitions = TOPICS * PARTITIONS};
    consumer_group_init(&w->g, &w->rules, &world);
    w->now = 1000 * S;
    w->nclients = 1 + (int) below(CLIENTS);
    w->noise = true;
    for (int k = 0; k < TOPICS; k++) {
        snprintf(w->topics[k].name, sizeof(w->topics[k].name), "t%d", k);
        make(&w->topics[k]);
    }
    for (int k = 0; k < w->nclients; k++) {
        struct client *c = &w->clients[k];
        c->number = k;
        c->wants = chance(60) ? 3 : 1 + (unsigned) below((1u << TOPICS) - 1);
        c->range = chance(20);
        if (chance(30))
            snprintf(c->instance, sizeof(c->instance), "i%d", k);
        be_new(c);
    }
    live(5000);
    settle();
    consumer_group_deinit(&w->g);
    ck_assert_uint_eq(held.bytes, 0);
    free(w);
}

static const struct runner_case cases[] = {
    RUN_LOOP(swarm, 0, 40),
};

RUNNER_MAIN("kafka/consumer_swarm", cases)
