/*
 * consumer_api.c - ConsumerGroupHeartbeat, ConsumerGroupDescribe: requests to groups of the new
 * protocol (consumer_group.h).
 *
 * A group is of one protocol. A classic one without members becomes one of the new kind by its
 * first heartbeat, and the reverse by the first JoinGroup; with members it stays what it is.
 */
#include "lib/io/io.h"
#include "server/kafka/access.h"
#include "server/kafka/consumer_pattern.h"
#include "server/kafka/coordinator.h"
#include "server/kafka/once.h"

#include <stdio.h>

/* Longest ids, and what is kept of a client's names. */
#define ID_MAX 512u

typedef struct kafka_consumer_group_heartbeat_request beat_request;
typedef struct kafka_consumer_group_heartbeat_response beat_response;

static struct str keep(struct kafka_request *r, struct str s)
{
    return s.p != NULL ? kafka_arena_str(&r->arena, s) : STR_NONE;
}

/* How many of them are of the same topic, from i on. */
static size_t of_one_topic(const struct parts *s, size_t i)
{
    size_t to = i;

    while (to < s->n && part_topic(s->p[to]) == part_topic(s->p[i]))
        to++;
    return to - i;
}

static int32_t *indexes_of(struct kafka_request *r, const struct parts *s, size_t i, size_t n)
{
    int32_t *out = kafka_arena_alloc(&r->arena, n * sizeof(*out));

    for (size_t k = 0; k < n; k++)
        out[k] = part_index(s->p[i + k]);
    return out;
}

/* ---- ConsumerGroupHeartbeat ------------------------------------------------------------------ */

static void beat_failed(struct errand *e, int16_t error)
{
    beat_response *a = e->request->answer;

    a->error_code = error;
}

static void put_assignment(struct kafka_request *r, const struct consumer_group *g,
                           const struct consumer_member *m, beat_response *a)
{
    const struct parts *s = &m->assigned;

    a->assignment = KAFKA_NEW(&r->arena, consumer_group_heartbeat_assignment, 1);
    a->assignment->topic_partitions = KAFKA_NEW(&r->arena,
                                                consumer_group_heartbeat_topic_partitions, s->n);
    for (size_t i = 0, n; i < s->n; i += n) {
        struct kafka_consumer_group_heartbeat_topic_partitions *to =
            &a->assignment->topic_partitions[a->assignment->topic_partitions_n++];
        n = of_one_topic(s, i);
        to->topic_id = consumer_group_topic(g, part_topic(s->p[i]))->id;
        to->partitions = indexes_of(r, s, i, n);
        to->partitions_n = (int32_t) n;
    }
}

static void ask(struct group_entry *g, struct errand *e)
{
    struct kafka_request *r = e->request;
    const beat_request *q = r->body;
    beat_response *a = r->answer;
    struct consumer_told told;
    struct consumer_beat beat = {.member_id = q->member_id,
                                 .epoch = q->member_epoch,
                                 .instance = q->instance_id,
                                 .rack = q->rack_id,
                                 .assignor = q->server_assignor,
                                 .regex = q->subscribed_topic_regex,
                                 .rebalance_ms = q->rebalance_timeout_ms,
                                 .names = q->subscribed_topic_names,
                                 .nnames = q->subscribed_topic_names_n,
                                 .nowned = q->topic_partitions_n,
                                 .client_id = str_take(r->header.client_id, ID_MAX),
                                 .client_host = str_of(r->conn->peer.host)};
    struct consumer_owned *owned =
        kafka_arena_alloc(&r->arena, (size_t) (beat.nowned > 0 ? beat.nowned : 0) * sizeof(*owned));

    for (int32_t i = 0; i < beat.nowned; i++)
        owned[i] = (struct consumer_owned){q->topic_partitions[i].topic_id,
                                           q->topic_partitions[i].partitions,
                                           q->topic_partitions[i].partitions_n};
    beat.owned = owned;
    consumer_group_beat(g->consumer, &beat, io_now(e->env->io), &told);
    a->error_code = told.error;
    a->error_message = told.error != KAFKA_NONE ? told.text : STR_NONE;
    a->member_id = told.error == KAFKA_NONE ? q->member_id : STR_NONE;
    a->member_epoch = told.epoch;
    a->heartbeat_interval_ms = g->consumer->rules->heartbeat_ms;
    if (told.member != NULL)
        put_assignment(r, g->consumer, told.member, a);
}

static void beat(struct coordinator *c, struct errand *e)
{
    const beat_request *q = e->request->body;
    beat_response *a = e->request->answer;
    bool joins = q->member_epoch == CONSUMER_JOIN;
    struct group_entry *g = joins ? coordinator_get(c, q->group_id)
                                  : coordinator_find(c, q->group_id);

    if (g == NULL) {
        errand_failed(e, joins ? KAFKA_GROUP_MAX_SIZE_REACHED : KAFKA_UNKNOWN_MEMBER_ID);
        return;
    }
    if (g->consumer == NULL && !coordinator_unused(g)) {
        a->error_message = STR("the group has members of the classic protocol");
        errand_failed(e, KAFKA_GROUP_ID_NOT_FOUND);
        return;
    }
    coordinator_make_consumer(g);
    ask(g, e);
    coordinator_touch(g);
    errand_done(e);
}

/* Names and permissions. */
static int16_t check_names(const struct kafka_request *r, const beat_request *q)
{
    for (int32_t i = 0; i < q->subscribed_topic_names_n; i++) {
        struct str name = q->subscribed_topic_names[i];
        if (name.n == 0 || name.n > TOPIC_NAME_MAX)
            return KAFKA_INVALID_TOPIC_EXCEPTION;
        if (!access_may_read(r, name, -1))
            return KAFKA_TOPIC_AUTHORIZATION_FAILED;
    }
    return KAFKA_NONE;
}

/* Before version 1 who joins gets its id from the server. */
static struct str make_id(struct kafka_request *r)
{
    struct prng *prng = r->kafka->env->prng;

    return kafka_arena_text(&r->arena, "%016llx%016llx", (unsigned long long) prng_u64(prng),
                            (unsigned long long) prng_u64(prng));
}

static bool is_pattern(struct str text)
{
    struct pattern *p = pattern_compile(text);

    pattern_free(p);
    return p != NULL;
}

static int16_t check_beat(struct kafka_request *r, const beat_request *q)
{
    bool nameless = q->member_id.n == 0 &&
                    (r->header.version > 0 || q->member_epoch != CONSUMER_JOIN);

    if (q->group_id.n == 0 || nameless || q->member_id.n > ID_MAX || q->instance_id.n > ID_MAX ||
        q->rack_id.n > ID_MAX)
        return KAFKA_INVALID_REQUEST;
    if (!coordinator_name_valid(q->group_id))
        return KAFKA_INVALID_GROUP_ID;
    if (q->subscribed_topic_regex.n > 0) {
        /* What the expression matches is found where nobody's permissions are known. */
        if (r->conn->may != NULL)
            return KAFKA_TOPIC_AUTHORIZATION_FAILED;
        if (!is_pattern(q->subscribed_topic_regex))
            return KAFKA_INVALID_REGULAR_EXPRESSION;
    }
    return check_names(r, q);
}

void kafka_run_consumer_group_heartbeat(struct kafka_request *r)
{
    const beat_request *q = r->body;
    beat_response *a = r->answer;
    beat_request *own;

    a->error_code = check_beat(r, q);
    if (a->error_code != KAFKA_NONE) {
        kafka_reply(r);
        return;
    }
    if (q->member_id.n == 0) {
        own = KAFKA_NEW(&r->arena, consumer_group_heartbeat_request, 1);
        *own = *q;
        own->member_id = make_id(r);
        r->body = own;
    }
    errand_start(r, q->group_id, beat, beat_failed, NULL);
}

/* ---- ConsumerGroupDescribe ------------------------------------------------------------------- */

typedef struct kafka_consumer_group_describe_response_groups told_group;

static struct kafka_consumer_group_describe_assignment *describe_parts(
    struct kafka_request *r, const struct consumer_group *g, const struct parts *s)
{
    struct kafka_consumer_group_describe_assignment *a =
        KAFKA_NEW(&r->arena, consumer_group_describe_assignment, 1);

    a->topic_partitions = KAFKA_NEW(&r->arena, consumer_group_describe_topic_partitions, s->n);
    for (size_t i = 0, n; i < s->n; i += n) {
        struct kafka_consumer_group_describe_topic_partitions *to =
            &a->topic_partitions[a->topic_partitions_n];
        const struct consumer_topic *t = consumer_group_topic(g, part_topic(s->p[i]));
        n = of_one_topic(s, i);
        if (t == NULL)
            continue; /* a target of a topic that has gone meanwhile */
        a->topic_partitions_n++;
        to->topic_id = t->id;
        to->topic_name = kafka_arena_str(&r->arena, t->name);
        to->partitions = indexes_of(r, s, i, n);
        to->partitions_n = (int32_t) n;
    }
    return a;
}

static void put_member(struct kafka_request *r, const struct consumer_group *g,
                       const struct consumer_member *m,
                       struct kafka_consumer_group_describe_response_members *to)
{
    to->member_id = keep(r, m->id);
    to->instance_id = keep(r, m->instance);
    to->rack_id = keep(r, m->rack);
    to->member_epoch = m->epoch;
    to->client_id = keep(r, m->client_id);
    to->client_host = kafka_arena_text(&r->arena, "/%.*s", STR_ARG(m->client_host));
    to->subscribed_topic_names = kafka_arena_alloc(&r->arena,
                                                   m->nnames * sizeof(*to->subscribed_topic_names));
    to->subscribed_topic_names_n = (int32_t) m->nnames;
    for (uint32_t i = 0; i < m->nnames; i++)
        to->subscribed_topic_names[i] = keep(r, m->names[i]);
    if (m->pattern != NULL)
        to->subscribed_topic_regex = keep(r, m->pattern->text);
    to->assignment = describe_parts(r, g, &m->assigned);
    to->target_assignment = describe_parts(r, g, &m->target);
    to->member_type = 1; /* of the new protocol */
}

static void put_group(struct kafka_request *r, const struct consumer_group *g, told_group *to)
{
    to->group_state = str_of(consumer_group_state(g));
    to->group_epoch = g->epoch;
    to->assignment_epoch = g->target_epoch;
    to->assignor_name = str_of(consumer_assignor_name(g->assignor));
    to->members = KAFKA_NEW(&r->arena, consumer_group_describe_response_members, g->nmembers);
    LIST_FOREACH(l, &g->members)
    put_member(r, g, LIST_ENTRY(l, struct consumer_member, link), &to->members[to->members_n++]);
}

static void not_found(told_group *to)
{
    to->error_code = KAFKA_GROUP_ID_NOT_FOUND;
    to->error_message = STR("there is no group of the new protocol by this name");
}

static void describe(struct coordinator *c, struct errand *e)
{
    struct kafka_consumer_group_describe_response *a = e->request->answer;

    for (int32_t i = 0; i < a->groups_n; i++) {
        const struct group_entry *g = coordinator_find(c, a->groups[i].group_id);
        if (a->groups[i].error_code != KAFKA_NONE)
            continue;
        if (g != NULL && g->consumer != NULL)
            put_group(e->request, g->consumer, &a->groups[i]);
        else
            not_found(&a->groups[i]);
    }
    errand_done(e);
}

static void describe_failed(struct errand *e, int16_t error)
{
    struct kafka_consumer_group_describe_response *a = e->request->answer;

    for (int32_t i = 0; i < a->groups_n; i++)
        a->groups[i].error_code = error;
}

void kafka_run_consumer_group_describe(struct kafka_request *r)
{
    const struct kafka_consumer_group_describe_request *q = r->body;
    struct kafka_consumer_group_describe_response *a = r->answer;
    struct topic_place place;
    struct once names;

    a->groups = KAFKA_NEW(&r->arena, consumer_group_describe_response_groups,
                          q->group_ids_n > 0 ? q->group_ids_n : 0);
    once_init(&names, &r->arena, kafka_seed(r));
    for (int32_t i = 0; i < q->group_ids_n; i++) {
        told_group *to = &a->groups[a->groups_n];
        if (!once_take(&names, q->group_ids[i]))
            continue;
        a->groups_n++;
        to->group_id = q->group_ids[i];
        if (!coordinator_name_valid(to->group_id))
            to->error_code = KAFKA_INVALID_GROUP_ID;
        else if (!access_may_group(r, to->group_id))
            to->error_code = KAFKA_GROUP_AUTHORIZATION_FAILED;
        else if (q->include_authorized_operations)
            to->authorized_operations = access_group_operations(r, to->group_id);
    }
    once_deinit(&names);
    if (topics_partition(r->realm->topics, STR(COORDINATOR_TOPIC), 0, &place)) {
        errand_start(r, STR_NONE, describe, describe_failed, NULL);
        return;
    }
    for (int32_t i = 0; i < a->groups_n; i++)
        if (a->groups[i].error_code == KAFKA_NONE)
            not_found(&a->groups[i]);
    kafka_reply(r);
}
