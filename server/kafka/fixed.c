/*
 * fixed.c - requests about what this server does not have: access control lists, quotas, replicas
 * to elect among or to move, credentials to alter. They get the answers of a broker of which that
 * is so, and nothing is looked at but the request.
 *
 *     ACLs            54 SECURITY_DISABLED: who may what is in the configuration
 *     quotas          none; to set one is refused (44): limits are the configuration's, and in
 *                     NATS' words
 *     ElectLeaders    84: the only replica leads already
 *     reassignments   none under way; to the only node: done, elsewhere: 39, to end one: 85
 *     credentials     one's own are told (a password does for every SCRAM mechanism); they are
 *                     altered in the configuration alone
 */
#include "server/auth/auth.h"
#include "server/kafka/access.h"
#include "server/kafka/kafka_int.h"
#include "server/kafka/once.h"
#include "server/kafka/scram.h"

static int32_t at_least_0(int32_t n)
{
    return n > 0 ? n : 0;
}

/* ---- ACLs ------------------------------------------------------------------------------------ */

/* A broker's word: clients look for it. Permissions are in the server's configuration. */
#define NO_ACLS STR("No Authorizer is configured.")

void kafka_run_describe_acls(struct kafka_request *r)
{
    struct kafka_describe_acls_response *a = r->answer;

    a->error_code = KAFKA_SECURITY_DISABLED;
    a->error_message = NO_ACLS;
    kafka_reply(r);
}

void kafka_run_create_acls(struct kafka_request *r)
{
    const struct kafka_create_acls_request *q = r->body;
    struct kafka_create_acls_response *a = r->answer;

    a->results_n = at_least_0(q->creations_n);
    a->results = KAFKA_NEW(&r->arena, create_acls_response_results, a->results_n);
    for (int32_t i = 0; i < a->results_n; i++) {
        a->results[i].error_code = KAFKA_SECURITY_DISABLED;
        a->results[i].error_message = NO_ACLS;
    }
    kafka_reply(r);
}

void kafka_run_delete_acls(struct kafka_request *r)
{
    const struct kafka_delete_acls_request *q = r->body;
    struct kafka_delete_acls_response *a = r->answer;

    a->filter_results_n = at_least_0(q->filters_n);
    a->filter_results = KAFKA_NEW(&r->arena, delete_acls_response_filter_results,
                                  a->filter_results_n);
    for (int32_t i = 0; i < a->filter_results_n; i++) {
        a->filter_results[i].error_code = KAFKA_SECURITY_DISABLED;
        a->filter_results[i].error_message = NO_ACLS;
    }
    kafka_reply(r);
}

/* ---- quotas ---------------------------------------------------------------------------------- */

enum { QUOTA_USER = 1, QUOTA_CLIENT = 2, QUOTA_IP = 4 };
enum { MATCH_EXACT, MATCH_DEFAULT, MATCH_ANY };

/* The bit of what a quota may be of; 0: of that it may not. */
static unsigned quota_of(struct str type)
{
    if (str_eq(type, STR("user")))
        return QUOTA_USER;
    if (str_eq(type, STR("client-id")))
        return QUOTA_CLIENT;
    return str_eq(type, STR("ip")) ? QUOTA_IP : 0;
}

/* The filter is looked at, as by a broker that has quotas and none that matches. */
static int16_t check_quota_filter(const struct kafka_describe_client_quotas_request *q)
{
    unsigned seen = 0;

    for (int32_t i = 0; i < q->components_n; i++) {
        unsigned of = quota_of(q->components[i].entity_type);
        if (q->components[i].entity_type.n == 0 || (of & seen) != 0 ||
            q->components[i].match_type < MATCH_EXACT || q->components[i].match_type > MATCH_ANY)
            return KAFKA_INVALID_REQUEST;
        if (of == 0)
            return KAFKA_UNSUPPORTED_VERSION;
        seen |= of;
    }
    return (seen & QUOTA_IP) != 0 && seen != QUOTA_IP ? KAFKA_INVALID_REQUEST : KAFKA_NONE;
}

void kafka_run_describe_client_quotas(struct kafka_request *r)
{
    struct kafka_describe_client_quotas_response *a = r->answer;

    a->error_code = check_quota_filter(r->body);
    if (a->error_code != KAFKA_NONE) {
        a->error_message = STR("there are no quotas of that");
        a->entries_n = -1;
    }
    kafka_reply(r);
}

void kafka_run_alter_client_quotas(struct kafka_request *r)
{
    const struct kafka_alter_client_quotas_request *q = r->body;
    struct kafka_alter_client_quotas_response *a = r->answer;

    a->entries_n = at_least_0(q->entries_n);
    a->entries = KAFKA_NEW(&r->arena, alter_client_quotas_response_entries, a->entries_n);
    for (int32_t i = 0; i < a->entries_n; i++) {
        a->entries[i].error_code = KAFKA_POLICY_VIOLATION;
        a->entries[i].error_message = STR("limits are in the server's configuration");
        a->entries[i].entity = q->entries[i].entity;
        a->entries[i].entity_n = q->entries[i].entity_n;
    }
    kafka_reply(r);
}

/* ---- ElectLeaders ---------------------------------------------------------------------------- */

static void elect(struct kafka_request *r, struct str topic, int32_t index,
                  struct kafka_elect_leaders_response_partition_result *out)
{
    struct topic_place place;

    out->partition_id = index;
    if (!topics_partition(r->realm->topics, topic, index, &place)) {
        out->error_code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
        out->error_message = STR("no such partition");
    } else if (!access_may_call(r, "STREAM.UPDATE", topic)) {
        out->error_code = KAFKA_TOPIC_AUTHORIZATION_FAILED;
    } else {
        out->error_code = KAFKA_ELECTION_NOT_NEEDED;
        out->error_message = STR("the only replica leads");
    }
}

/* Of all partitions (null) nobody needs a leader, and those that need none are not told of. */
void kafka_run_elect_leaders(struct kafka_request *r)
{
    const struct kafka_elect_leaders_request *q = r->body;
    struct kafka_elect_leaders_response *a = r->answer;

    a->replica_election_results_n = at_least_0(q->topic_partitions_n);
    a->replica_election_results = KAFKA_NEW(
        &r->arena, elect_leaders_response_replica_election_results, a->replica_election_results_n);
    for (int32_t i = 0; i < a->replica_election_results_n; i++) {
        const struct kafka_elect_leaders_request_topic_partitions *t = &q->topic_partitions[i];
        struct kafka_elect_leaders_response_replica_election_results *to =
            &a->replica_election_results[i];
        to->topic = t->topic;
        to->partition_result_n = at_least_0(t->partitions_n);
        to->partition_result = KAFKA_NEW(&r->arena, elect_leaders_response_partition_result,
                                         to->partition_result_n);
        for (int32_t k = 0; k < to->partition_result_n; k++)
            elect(r, t->topic, t->partitions[k], &to->partition_result[k]);
    }
    kafka_reply(r);
}

/* ---- reassignments --------------------------------------------------------------------------- */

static int16_t reassign(struct kafka_request *r, struct str topic,
                        const struct kafka_alter_partition_reassignments_request_partitions *p)
{
    struct topic_place place;

    if (!topics_partition(r->realm->topics, topic, p->partition_index, &place))
        return KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    if (!access_may_call(r, "STREAM.UPDATE", topic))
        return KAFKA_TOPIC_AUTHORIZATION_FAILED;
    if (p->replicas_n < 0)
        return KAFKA_NO_REASSIGNMENT_IN_PROGRESS;
    return p->replicas_n == 1 && p->replicas[0] == kafka_node(r->kafka)
               ? KAFKA_NONE
               : KAFKA_INVALID_REPLICA_ASSIGNMENT;
}

void kafka_run_alter_partition_reassignments(struct kafka_request *r)
{
    const struct kafka_alter_partition_reassignments_request *q = r->body;
    struct kafka_alter_partition_reassignments_response *a = r->answer;

    a->allow_replication_factor_change = q->allow_replication_factor_change;
    a->responses_n = at_least_0(q->topics_n);
    a->responses = KAFKA_NEW(&r->arena, alter_partition_reassignments_response_topics,
                             a->responses_n);
    for (int32_t i = 0; i < a->responses_n; i++) {
        struct kafka_alter_partition_reassignments_response_topics *to = &a->responses[i];
        to->name = q->topics[i].name;
        to->partitions_n = at_least_0(q->topics[i].partitions_n);
        to->partitions = KAFKA_NEW(&r->arena, alter_partition_reassignments_response_partitions,
                                   to->partitions_n);
        for (int32_t k = 0; k < to->partitions_n; k++) {
            to->partitions[k].partition_index = q->topics[i].partitions[k].partition_index;
            to->partitions[k].error_code = reassign(r, to->name, &q->topics[i].partitions[k]);
        }
    }
    kafka_reply(r);
}

void kafka_run_list_partition_reassignments(struct kafka_request *r)
{
    kafka_reply(r);
}

/* ---- credentials ----------------------------------------------------------------------------- */

enum { SCRAM_SHA_256 = 1, SCRAM_SHA_512 = 2 };

typedef struct kafka_describe_user_scram_credentials_response_results told_user;

/* The client's own name, when it has one and SCRAM could know its password. */
static bool is_own(const struct kafka_request *r, struct str name)
{
    const struct user *user = r->conn->user;

    return user != NULL && user->name != NULL && user->pass != NULL && user->pass[0] != '\0' &&
           !auth_is_hash(user->pass) && str_eq(str_of(user->name), name);
}

static void put_credentials(struct kafka_request *r, struct str name, told_user *to)
{
    to->user = name;
    if (!is_own(r, name)) {
        to->error_code = KAFKA_RESOURCE_NOT_FOUND;
        to->error_message = STR("no user of whom this client may know");
        return;
    }
    to->credential_infos = KAFKA_NEW(&r->arena,
                                     describe_user_scram_credentials_response_credential_infos, 2);
    to->credential_infos_n = 2;
    for (int8_t i = 0; i < 2; i++) {
        to->credential_infos[i].mechanism = i == 0 ? SCRAM_SHA_256 : SCRAM_SHA_512;
        to->credential_infos[i].iterations = SCRAM_ITERATIONS;
    }
}

static void put_all_credentials(struct kafka_request *r)
{
    struct kafka_describe_user_scram_credentials_response *a = r->answer;
    const struct user *user = r->conn->user;
    struct str name = user != NULL && user->name != NULL ? str_of(user->name) : STR_NONE;

    if (name.p == NULL || !is_own(r, name))
        return;
    a->results = KAFKA_NEW(&r->arena, describe_user_scram_credentials_response_results, 1);
    a->results_n = 1;
    put_credentials(r, kafka_arena_str(&r->arena, name), a->results);
}

/* Each once; of one that is asked for again that is said. */
static void put_asked_credentials(struct kafka_request *r)
{
    const struct kafka_describe_user_scram_credentials_request *q = r->body;
    struct kafka_describe_user_scram_credentials_response *a = r->answer;
    struct once names, told;

    once_init(&names, &r->arena, kafka_seed(r));
    once_init(&told, &r->arena, kafka_seed(r));
    a->results = KAFKA_NEW(&r->arena, describe_user_scram_credentials_response_results, q->users_n);
    for (int32_t i = 0; i < q->users_n; i++) {
        struct str name = q->users[i].name;
        if (once_take(&names, name))
            put_credentials(r, name, &a->results[a->results_n++]);
        else
            once_take(&told, name);
    }
    for (int32_t i = 0; i < a->results_n; i++) {
        if (once_take(&told, a->results[i].user))
            continue;
        a->results[i].error_code = KAFKA_DUPLICATE_RESOURCE;
        a->results[i].error_message = STR("asked for more than once");
        a->results[i].credential_infos_n = 0;
    }
    once_deinit(&names);
    once_deinit(&told);
}

void kafka_run_describe_user_scram_credentials(struct kafka_request *r)
{
    const struct kafka_describe_user_scram_credentials_request *q = r->body;

    if (q->users_n > 0)
        put_asked_credentials(r);
    else
        put_all_credentials(r);
    kafka_reply(r);
}

void kafka_run_alter_user_scram_credentials(struct kafka_request *r)
{
    const struct kafka_alter_user_scram_credentials_request *q = r->body;
    struct kafka_alter_user_scram_credentials_response *a = r->answer;
    int32_t gone = at_least_0(q->deletions_n), put = at_least_0(q->upsertions_n);
    struct once names;

    once_init(&names, &r->arena, kafka_seed(r));
    a->results = KAFKA_NEW(&r->arena, alter_user_scram_credentials_response_results,
                           (size_t) gone + (size_t) put);
    for (int32_t i = 0; i < gone + put; i++) {
        struct str name = i < gone ? q->deletions[i].name : q->upsertions[i - gone].name;
        if (!once_take(&names, name))
            continue;
        a->results[a->results_n].user = name;
        a->results[a->results_n].error_code = KAFKA_CLUSTER_AUTHORIZATION_FAILED;
        a->results[a->results_n++].error_message = STR("users are in the server's configuration");
    }
    once_deinit(&names);
    kafka_reply(r);
}
