/*
 * group_admin.c - FindCoordinator, ListGroups, DescribeGroups, DeleteGroups.
 *
 * FindCoordinator makes the offsets stream when it is not there. The others need none: without it
 * there are no groups.
 */
#include "lib/base/mem.h"
#include "server/kafka/access.h"
#include "server/kafka/coordinator.h"
#include "server/kafka/once.h"
#include "server/kafka/steps.h"

#include <jansson.h>

/* ---- FindCoordinator ------------------------------------------------------------------------- */

static void put_coordinator(struct kafka_request *r, int16_t error)
{
    const struct kafka_find_coordinator_request *q = r->body;
    struct kafka_find_coordinator_response *a = r->answer;
    int32_t port = -1;
    struct str host = STR("");

    if (error == KAFKA_NONE)
        host = kafka_conn_advertised(r, &port);
    a->node_id = error == KAFKA_NONE ? kafka_node(r->kafka) : -1;
    a->host = host;
    a->port = port;
    a->error_code = error;
    if (r->header.version >= 4) {
        int32_t n = q->coordinator_keys_n > 0 ? q->coordinator_keys_n : 0;
        a->coordinators = KAFKA_NEW(&r->arena, find_coordinator_response_coordinators, n);
        a->coordinators_n = n;
        for (int32_t i = 0; i < n; i++) {
            a->coordinators[i].key = q->coordinator_keys[i];
            a->coordinators[i].node_id = a->node_id;
            a->coordinators[i].host = host;
            a->coordinators[i].port = port;
            a->coordinators[i].error_code = error;
        }
    }
    kafka_reply(r);
}

static bool has_coordinator(struct kafka_request *r)
{
    struct topic_place place;

    return topics_partition(r->realm->topics, STR(COORDINATOR_TOPIC), 0, &place);
}

static void stream_made(void *ctx, const json_t *answer)
{
    struct kafka_request *r = ctx;
    const char *text;
    int code = js_call_error(answer, &text);

    if (has_coordinator(r)) {
        put_coordinator(r, KAFKA_NONE);
        return;
    }
    if (code != 0)
        LOG_WRN(r->kafka->env->log, "The stream " COORDINATOR_TOPIC " can not be made: %s", text);
    put_coordinator(r, KAFKA_COORDINATOR_NOT_AVAILABLE);
}

void kafka_run_find_coordinator(struct kafka_request *r)
{
    static const char config[] =
        "{\"name\":\"" COORDINATOR_TOPIC "\",\"subjects\":[\"" COMMITTED_SUBJECTS
        "\",\"$KAFKA.TXN.>\"],"
        "\"retention\":\"limits\",\"storage\":\"file\",\"discard\":\"old\",\"num_replicas\":1,"
        "\"max_msgs_per_subject\":1,\"allow_direct\":true,"
        "\"description\":\"offsets that Kafka groups have committed\"}";
    const struct kafka_find_coordinator_request *q = r->body;

    if (q->key_type != 0 && q->key_type != 1)
        put_coordinator(r, KAFKA_INVALID_REQUEST);
    else if (has_coordinator(r))
        put_coordinator(r, KAFKA_NONE);
    else
        js_call(r->realm, "STREAM.CREATE." COORDINATOR_TOPIC, str_of(config), stream_made, r);
}

/* ---- ListGroups ------------------------------------------------------------------------------ */

static bool is_one_of(struct str s, const struct str *list, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        if (str_eq_nocase(s, list[i]))
            return true;
    return n <= 0;
}

static void list(struct coordinator *c, struct errand *e)
{
    struct kafka_request *r = e->request;
    const struct kafka_list_groups_request *q = r->body;
    struct kafka_list_groups_response *a = r->answer;

    a->groups = KAFKA_NEW(&r->arena, list_groups_response_groups, c->groups.count);
    LIST_FOREACH(l, &c->all)
    {
        const struct group_entry *g = LIST_ENTRY(l, struct group_entry, link);
        struct str state = str_of(g->consumer != NULL ? consumer_group_state(g->consumer)
                                                      : group_state_name(g->core.state));
        struct str type = g->consumer != NULL ? STR("consumer") : STR("classic");
        struct kafka_list_groups_response_groups *to = &a->groups[a->groups_n];
        if (!is_one_of(state, q->states_filter, q->states_filter_n) ||
            !is_one_of(type, q->types_filter, q->types_filter_n))
            continue;
        a->groups_n++;
        to->group_id = kafka_arena_str(&r->arena, g->name);
        to->protocol_type = g->consumer != NULL ? STR("consumer")
                                                : kafka_arena_str(&r->arena, g->core.protocol_type);
        to->group_state = state;
        to->group_type = type;
    }
    errand_done(e);
}

/* At home: what this client may use is what it sees. */
static void list_filter(struct errand *e)
{
    struct kafka_list_groups_response *a = e->request->answer;
    int32_t n = 0;

    for (int32_t i = 0; i < a->groups_n; i++)
        if (access_may_group(e->request, a->groups[i].group_id))
            a->groups[n++] = a->groups[i];
    a->groups_n = n;
}

static void list_failed(struct errand *e, int16_t error)
{
    struct kafka_list_groups_response *a = e->request->answer;

    a->error_code = error;
}

void kafka_run_list_groups(struct kafka_request *r)
{
    if (has_coordinator(r))
        errand_start(r, STR_NONE, list, list_failed, list_filter);
    else
        kafka_reply(r);
}

/* ---- DescribeGroups -------------------------------------------------------------------------- */

static void put_members(struct kafka_request *r, const struct group *g,
                        struct kafka_describe_groups_response_groups *a)
{
    bool stable = g->state == GROUP_STABLE;

    a->members = KAFKA_NEW(&r->arena, describe_groups_response_members, g->nmembers);
    LIST_FOREACH(l, &g->members)
    {
        const struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        struct kafka_describe_groups_response_members *to = &a->members[a->members_n++];
        to->member_id = kafka_arena_str(&r->arena, m->id);
        to->group_instance_id = m->instance.p != NULL ? kafka_arena_str(&r->arena, m->instance)
                                                      : STR_NONE;
        to->client_id = kafka_arena_str(&r->arena, m->client_id);
        to->client_host = kafka_arena_text(&r->arena, "/%.*s", STR_ARG(m->client_host));
        if (stable) {
            to->member_metadata = kafka_arena_str(&r->arena, group_metadata(g, m));
            to->member_assignment = kafka_arena_str(&r->arena, m->assignment);
        }
    }
}

static void describe(struct coordinator *c, struct errand *e)
{
    struct kafka_request *r = e->request;
    struct kafka_describe_groups_response *a = r->answer;

    for (int32_t i = 0; i < a->groups_n; i++) {
        struct kafka_describe_groups_response_groups *to = &a->groups[i];
        const struct group_entry *g = coordinator_find(c, to->group_id);
        if (g == NULL || g->consumer != NULL || to->error_code != KAFKA_NONE)
            continue;
        to->group_state = str_of(group_state_name(g->core.state));
        to->protocol_type = kafka_arena_str(&r->arena, g->core.protocol_type);
        if (g->core.state == GROUP_STABLE)
            to->protocol_data = kafka_arena_str(&r->arena, g->core.protocol);
        put_members(r, &g->core, to);
    }
    errand_done(e);
}

/* From version 6 on there is a word for what is not there. */
static void tell_missing(struct kafka_request *r)
{
    struct kafka_describe_groups_response *a = r->answer;

    for (int32_t i = 0; i < a->groups_n && r->header.version >= 6; i++) {
        struct kafka_describe_groups_response_groups *to = &a->groups[i];
        if (to->error_code != KAFKA_NONE || !str_eq(to->group_state, STR("Dead")))
            continue;
        to->error_code = KAFKA_GROUP_ID_NOT_FOUND;
        to->error_message = STR("there is no classic group by this name");
    }
}

static void described(struct errand *e)
{
    tell_missing(e->request);
}

static void describe_failed(struct errand *e, int16_t error)
{
    struct kafka_describe_groups_response *a = e->request->answer;

    for (int32_t i = 0; i < a->groups_n; i++)
        a->groups[i].error_code = error;
}

void kafka_run_describe_groups(struct kafka_request *r)
{
    const struct kafka_describe_groups_request *q = r->body;
    struct kafka_describe_groups_response *a = r->answer;
    struct once names;

    a->groups = KAFKA_NEW(&r->arena, describe_groups_response_groups,
                          q->groups_n > 0 ? q->groups_n : 0);
    once_init(&names, &r->arena, kafka_seed(r));
    for (int32_t i = 0; i < q->groups_n; i++) {
        struct kafka_describe_groups_response_groups *to = &a->groups[a->groups_n];
        if (!once_take(&names, q->groups[i]))
            continue;
        a->groups_n++;
        to->group_id = q->groups[i];
        to->group_state = STR("Dead"); /* what is not there */
        if (!access_may_group(r, q->groups[i]))
            to->error_code = KAFKA_GROUP_AUTHORIZATION_FAILED;
        else if (q->include_authorized_operations)
            to->authorized_operations = access_group_operations(r, q->groups[i]);
    }
    once_deinit(&names);
    if (has_coordinator(r)) {
        errand_start(r, STR_NONE, describe, describe_failed, described);
        return;
    }
    tell_missing(r);
    kafka_reply(r);
}

/* ---- DeleteGroups ---------------------------------------------------------------------------- */

static int16_t check_deletable(const struct group_entry *g)
{
    if (g == NULL)
        return KAFKA_GROUP_ID_NOT_FOUND;
    return coordinator_unused(g) && g->writing == 0 ? KAFKA_NONE : KAFKA_NON_EMPTY_GROUP;
}

static void delete_groups(struct coordinator *c, struct errand *e)
{
    struct kafka_delete_groups_response *a = e->request->answer;
    struct removal *x = removal_begin(e);

    for (int32_t i = 0; i < a->results_n; i++) {
        struct group_entry *g = coordinator_find(c, a->results[i].group_id);
        if (a->results[i].error_code != KAFKA_NONE)
            continue;
        a->results[i].error_code = check_deletable(g);
        if (a->results[i].error_code != KAFKA_NONE)
            continue;
        LIST_FOREACH_SAFE(l, tmp, &g->offsets.all)
        removal_add(x, g, LIST_ENTRY(l, struct committed_offset, link));
        coordinator_drop(g); /* it holds nothing any more */
    }
    removal_end(x);
}

static void delete_failed(struct errand *e, int16_t error)
{
    struct kafka_delete_groups_response *a = e->request->answer;

    for (int32_t i = 0; i < a->results_n; i++)
        a->results[i].error_code = error;
}

void kafka_run_delete_groups(struct kafka_request *r)
{
    const struct kafka_delete_groups_request *q = r->body;
    struct kafka_delete_groups_response *a = r->answer;

    a->results_n = q->groups_names_n > 0 ? q->groups_names_n : 0;
    a->results = KAFKA_NEW(&r->arena, delete_groups_response_results, a->results_n);
    for (int32_t i = 0; i < a->results_n; i++) {
        a->results[i].group_id = q->groups_names[i];
        if (!access_may_group(r, q->groups_names[i]))
            a->results[i].error_code = KAFKA_GROUP_AUTHORIZATION_FAILED;
    }
    if (has_coordinator(r)) {
        errand_start(r, STR_NONE, delete_groups, delete_failed, NULL);
        return;
    }
    for (int32_t i = 0; i < a->results_n; i++)
        if (a->results[i].error_code == KAFKA_NONE)
            a->results[i].error_code = KAFKA_GROUP_ID_NOT_FOUND;
    kafka_reply(r);
}
