/*
 * test_kafka_groups.c - groups over the wire: every version of every request, offsets through
 * crashes, administration, what is refused; and groups of real clients.
 */
#include "server/kafka/kafka_error.h"
#include "tests/api/kafka_client.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char conf[] = "kafka { listen: \"127.0.0.1:-1\", num_partitions: 4, "
                           "group_delay: \"0s\" }\n";

/* Whose offsets they are. */
static struct str cluster(struct kafka_client *c)
{
    const struct kafka_describe_cluster_response *a = kafka_client_call(
        c, KAFKA_DESCRIBE_CLUSTER, 0, &(struct kafka_describe_cluster_request){0});

    return a->cluster_id;
}

static void start(struct js_rig *r, int i)
{
    js_rig_start_conf(r, i, conf);
}

static void open_client(struct js_rig *r, struct kafka_client *c)
{
    kafka_client_open(c, r->server.kafka_port);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void find_coordinator(struct kafka_client *c, int version)
{
    struct str key = STR("g");
    struct kafka_find_coordinator_request q = {
        .key = key, .coordinator_keys = &key, .coordinator_keys_n = 1};
    const struct kafka_find_coordinator_response *a = kafka_client_call(c, KAFKA_FIND_COORDINATOR,
                                                                        version, &q);

    if (version < 4) {
        ck_assert_int_eq(a->error_code, KAFKA_NONE);
        ck_assert_int_eq(a->node_id, 1);
        return;
    }
    ck_assert_int_eq(a->coordinators_n, 1);
    ck_assert_int_eq(a->coordinators[0].error_code, KAFKA_NONE);
    ck_assert_int_eq(a->coordinators[0].node_id, 1);
    ck_assert(str_eq(a->coordinators[0].key, key));
}

static const struct kafka_join_group_response *join(struct kafka_client *c, int version,
                                                    const char *group, struct str id)
{
    struct kafka_join_group_request_protocols p = {STR("range"), STR("metadata")};
    struct kafka_join_group_request q = {.group_id = str_of(group),
                                         .session_timeout_ms = 30000,
                                         .rebalance_timeout_ms = 30000,
                                         .member_id = id,
                                         .protocol_type = STR("consumer"),
                                         .protocols = &p,
                                         .protocols_n = 1};

    return kafka_client_call(c, KAFKA_JOIN_GROUP, version, &q);
}

/* One member of a stable group. */
static struct str one_member(struct kafka_client *c, const char *group)
{
    const struct kafka_join_group_response *j = join(c, 5, group, STR(""));
    struct kafka_sync_group_request_assignments all;
    const struct kafka_sync_group_response *s;

    ck_assert_int_eq(j->error_code, KAFKA_MEMBER_ID_REQUIRED);
    j = join(c, 5, group, j->member_id);
    ck_assert_int_eq(j->error_code, KAFKA_NONE);
    all = (struct kafka_sync_group_request_assignments){j->member_id, STR("all")};
    s = kafka_client_call(c, KAFKA_SYNC_GROUP, 3,
                          &(struct kafka_sync_group_request){.group_id = str_of(group),
                                                             .generation_id = j->generation_id,
                                                             .member_id = j->member_id,
                                                             .assignments = &all,
                                                             .assignments_n = 1});
    ck_assert_int_eq(s->error_code, KAFKA_NONE);
    ck_assert(str_eq(s->assignment, STR("all")));
    return j->member_id;
}

static void make_topic(struct js_rig *r, const char *name)
{
    char subject[64], body[128];

    snprintf(subject, sizeof(subject), "$JS.API.STREAM.CREATE.%s", name);
    snprintf(body, sizeof(body), "{\"name\":\"%s\",\"subjects\":[\"%s\"]}", name, name);
    js_ask(r, subject, body, "\"created\"");
}

static int16_t commit_as(struct kafka_client *c, int version, const char *group, struct str member,
                         int32_t generation, const char *topic, int64_t offset, struct str metadata)
{
    struct kafka_offset_commit_request_partitions p = {
        .committed_offset = offset, .committed_leader_epoch = 0, .committed_metadata = metadata};
    struct kafka_offset_commit_request_topics t = {
        .name = str_of(topic), .partitions = &p, .partitions_n = 1};
    struct kafka_offset_commit_request q = {.group_id = str_of(group),
                                            .generation_id_or_member_epoch = generation,
                                            .member_id = member,
                                            .retention_time_ms = -1,
                                            .topics = &t,
                                            .topics_n = 1};
    const struct kafka_offset_commit_response *a = kafka_client_call(c, KAFKA_OFFSET_COMMIT,
                                                                     version, &q);

    ck_assert_int_eq(a->topics_n, 1);
    ck_assert_int_eq(a->topics[0].partitions_n, 1);
    return a->topics[0].partitions[0].error_code;
}

static int16_t commit(struct kafka_client *c, const char *group, const char *topic, int64_t offset)
{
    return commit_as(c, 7, group, STR(""), -1, topic, offset, STR("m"));
}

/* The offset and metadata of partition 0. */
static int64_t fetch(struct kafka_client *c, int version, const char *group, const char *topic,
                     struct str *metadata)
{
    int32_t zero = 0;
    struct kafka_offset_fetch_request_topics t = {str_of(topic), &zero, 1};
    struct kafka_offset_fetch_request_groups_topics gt = {str_of(topic), &zero, 1};
    struct kafka_offset_fetch_request_groups g = {
        .group_id = str_of(group), .member_epoch = -1, .topics = &gt, .topics_n = 1};
    struct kafka_offset_fetch_request q = {
        .group_id = str_of(group), .topics = &t, .topics_n = 1, .groups = &g, .groups_n = 1};
    const struct kafka_offset_fetch_response *a = kafka_client_call(c, KAFKA_OFFSET_FETCH, version,
                                                                    &q);

    if (version >= 8) {
        ck_assert_int_eq(a->groups_n, 1);
        ck_assert_int_eq(a->groups[0].error_code, KAFKA_NONE);
        ck_assert_int_eq(a->groups[0].topics[0].partitions[0].error_code, KAFKA_NONE);
        *metadata = a->groups[0].topics[0].partitions[0].metadata;
        return a->groups[0].topics[0].partitions[0].committed_offset;
    }
    ck_assert_int_eq(a->error_code, KAFKA_NONE);
    ck_assert_int_eq(a->topics_n, 1);
    ck_assert_int_eq(a->topics[0].partitions[0].error_code, KAFKA_NONE);
    *metadata = a->topics[0].partitions[0].metadata;
    return a->topics[0].partitions[0].committed_offset;
}

static int64_t fetched(struct kafka_client *c, const char *group, const char *topic)
{
    struct str metadata;

    return fetch(c, 7, group, topic, &metadata);
}

/* ---- every version --------------------------------------------------------------------------- */

TEST(every_version_of_a_member)
{
    struct js_rig r;
    struct kafka_client c;

    start(&r, i % 3);
    open_client(&r, &c);
    for (int v = 0; v <= 6; v++)
        find_coordinator(&c, v);
    for (int v = 0; v <= 9; v++) {
        const struct kafka_join_group_response *j = join(&c, v, "g", STR(""));
        struct kafka_sync_group_request_assignments mine;
        struct kafka_sync_group_request q = {.group_id = STR("g"), .assignments = &mine};
        if (v >= 4) {
            ck_assert_int_eq(j->error_code, KAFKA_MEMBER_ID_REQUIRED);
            j = join(&c, v, "g", j->member_id);
        }
        ck_assert_int_eq(j->error_code, KAFKA_NONE);
        ck_assert_int_eq(j->members_n, 1);
        ck_assert(str_eq(j->leader, j->member_id) && str_eq(j->protocol_name, STR("range")));
        ck_assert(str_eq(j->members[0].metadata, STR("metadata")));
        ck_assert(v < 7 || str_eq(j->protocol_type, STR("consumer")));
        mine = (struct kafka_sync_group_request_assignments){j->member_id, STR("yours")};
        q.generation_id = j->generation_id;
        q.member_id = j->member_id;
        q.assignments_n = 1;
        q.protocol_type = STR("consumer");
        q.protocol_name = STR("range");
        for (int s = 0; s <= 5; s++) {
            const struct kafka_sync_group_response *a = kafka_client_call(&c, KAFKA_SYNC_GROUP, s,
                                                                          &q);
            ck_assert_int_eq(a->error_code, KAFKA_NONE);
            ck_assert(str_eq(a->assignment, STR("yours")));
        }
        for (int h = 0; h <= 4; h++) {
            const struct kafka_heartbeat_response *a = kafka_client_call(
                &c, KAFKA_HEARTBEAT, h,
                &(struct kafka_heartbeat_request){.group_id = STR("g"),
                                                  .generation_id = j->generation_id,
                                                  .member_id = j->member_id});
            ck_assert_int_eq(a->error_code, KAFKA_NONE);
        }
        int l = v % 6;
        struct kafka_leave_group_request_members m = {.member_id = j->member_id};
        const struct kafka_leave_group_response *a = kafka_client_call(
            &c, KAFKA_LEAVE_GROUP, l,
            &(struct kafka_leave_group_request){
                .group_id = STR("g"), .member_id = j->member_id, .members = &m, .members_n = 1});
        ck_assert_int_eq(a->error_code, KAFKA_NONE);
        ck_assert(l < 3 || (a->members_n == 1 && a->members[0].error_code == KAFKA_NONE));
    }
    kafka_client_close(&c);
    js_rig_end(&r);
}

TEST(every_version_of_offsets)
{
    struct js_rig r;
    struct kafka_client c;
    struct str metadata;

    start(&r, i);
    make_topic(&r, "t");
    open_client(&r, &c);
    find_coordinator(&c, 2);
    for (int v = 0; v <= 8; v++) {
        ck_assert_int_eq(fetch(&c, v, "none", "t", &metadata), -1);
        ck_assert_uint_eq(metadata.n, 0);
        ck_assert_int_eq(commit_as(&c, v, "g", STR(""), -1, "t", 100 + v, STR("meta")), KAFKA_NONE);
        for (int f = 0; f <= 8; f++) {
            ck_assert_int_eq(fetch(&c, f, "g", "t", &metadata), 100 + v);
            ck_assert(str_eq(metadata, STR("meta")));
        }
    }
    for (int v = 2; v <= 8; v++) { /* all of them */
        struct kafka_offset_fetch_request_groups g = {.group_id = STR("g"), .topics_n = -1};
        struct kafka_offset_fetch_request q = {
            .group_id = STR("g"), .topics_n = -1, .groups = &g, .groups_n = 1};
        const struct kafka_offset_fetch_response *a = kafka_client_call(&c, KAFKA_OFFSET_FETCH, v,
                                                                        &q);
        ck_assert_int_eq(v < 8 ? a->topics_n : a->groups[0].topics_n, 1);
        ck_assert_int_eq(v < 8 ? a->topics[0].partitions[0].committed_offset
                               : a->groups[0].topics[0].partitions[0].committed_offset,
                         108);
    }
    kafka_client_close(&c);
    js_rig_end(&r);
}

/* ---- offsets --------------------------------------------------------------------------------- */

TEST(offsets_survive)
{
    struct js_rig r;
    struct kafka_client c;
    char group[16], id[64];

    start(&r, i);
    make_topic(&r, "t");
    make_topic(&r, "u");
    open_client(&r, &c);
    struct str was = cluster(&c);
    snprintf(id, sizeof(id), "%.*s", STR_ARG(was));
    find_coordinator(&c, 2);
    for (int k = 0; k < 300; k++) {
        snprintf(group, sizeof(group), "g. %d", k % 100);
        ck_assert_int_eq(commit(&c, group, "t", k), KAFKA_NONE);
    }
    ck_assert_int_eq(commit(&c, "g. 7", "u", 5), KAFKA_NONE);
    kafka_client_close(&c);
    /* One message each, whatever was committed before. */
    js_await(&r, "$JS.API.STREAM.INFO.__consumer_offsets", "", "\"messages\":101,");
    js_rig_crash(&r);
    open_client(&r, &c);
    ck_assert(str_eq(cluster(&c), str_of(id)));
    for (int k = 0; k < 100; k++) {
        snprintf(group, sizeof(group), "g. %d", k);
        ck_assert_int_eq(fetched(&c, group, "t"), 200 + k);
    }
    ck_assert_int_eq(fetched(&c, "g. 7", "u"), 5);
    ck_assert_int_eq(fetched(&c, "g. 8", "u"), -1);
    kafka_client_close(&c);
    js_rig_end(&r);
}

TEST(refused_commits)
{
    static char large[4097];
    struct js_rig r;
    struct kafka_client c;
    struct str member;

    start(&r, i);
    make_topic(&r, "t");
    open_client(&r, &c);
    ck_assert_int_eq(commit(&c, "g", "t", 1), KAFKA_COORDINATOR_NOT_AVAILABLE);
    find_coordinator(&c, 2);
    memset(large, 'x', sizeof(large));
    ck_assert_int_eq(commit_as(&c, 7, "g", STR(""), -1, "t", 1, str_from(large, 4097)),
                     KAFKA_OFFSET_METADATA_TOO_LARGE);
    ck_assert_int_eq(commit_as(&c, 7, "g", STR(""), -1, "t", 1, str_from(large, 4096)), KAFKA_NONE);
    ck_assert_int_eq(commit(&c, "g", "nothing", 1), KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    ck_assert_int_eq(commit(&c, "", "t", 1), KAFKA_INVALID_GROUP_ID);
    ck_assert_int_eq(commit_as(&c, 7, "none", STR("m"), 3, "t", 1, STR("")),
                     KAFKA_ILLEGAL_GENERATION);
    member = one_member(&c, "h");
    ck_assert_int_eq(commit(&c, "h", "t", 1), KAFKA_UNKNOWN_MEMBER_ID);
    ck_assert_int_eq(commit_as(&c, 7, "h", member, 2, "t", 1, STR("")), KAFKA_ILLEGAL_GENERATION);
    ck_assert_int_eq(commit_as(&c, 7, "h", member, 1, "t", 1, STR("")), KAFKA_NONE);
    ck_assert_int_eq(fetched(&c, "h", "t"), 1);
    kafka_client_close(&c);
    js_rig_end(&r);
}

/* Another topic of that name has none. */
enum { COMMITS_MAX = 16384 };

/* All of a commit are written together: so many can be, and more are refused for ever. */
TEST(very_many_offsets)
{
    static struct kafka_offset_commit_request_partitions parts[COMMITS_MAX + 1];
    struct kafka_offset_commit_request_topics t = {STR("t"), parts, 0};
    struct js_rig r;
    struct kafka_client c;

    start(&r, i);
    js_ask(&r, "$JS.API.STREAM.CREATE.t", "{\"name\":\"t\",\"subjects\":[\"t\"]}", "\"created\"");
    kafka_client_open(&c, r.server.kafka_port);
    KAFKA_CALL(&c, find_coordinator, FIND_COORDINATOR, 2, .key = STR("g"));
    for (int k = 0; k <= COMMITS_MAX; k++)
        parts[k] = (struct kafka_offset_commit_request_partitions){.committed_offset = k,
                                                                   .committed_metadata = STR("")};
    for (int more = 0; more <= 1; more++) {
        t.partitions_n = COMMITS_MAX + more;
        const struct kafka_offset_commit_response *a =
            KAFKA_CALL(&c, offset_commit, OFFSET_COMMIT, 7, .group_id = STR("g"),
                       .generation_id_or_member_epoch = -1, .group_instance_id = STR_NONE,
                       .topics = &t, .topics_n = 1);
        for (int k = 0; k < t.partitions_n; k++)
            ck_assert_int_eq(a->topics[0].partitions[k].error_code,
                             more == 0 ? KAFKA_NONE : KAFKA_INVALID_COMMIT_OFFSET_SIZE);
    }
    kafka_client_close(&c);
    js_rig_end(&r);
}

TEST(a_topic_is_made_anew)
{
    struct js_rig r;
    struct kafka_client c;

    start(&r, i);
    make_topic(&r, "t");
    open_client(&r, &c);
    find_coordinator(&c, 2);
    ck_assert_int_eq(commit(&c, "g", "t", 9), KAFKA_NONE);
    js_ask(&r, "$JS.API.STREAM.DELETE.t", "", "\"success\":true");
    make_topic(&r, "t");
    ck_assert_int_eq(fetched(&c, "g", "t"), -1);
    ck_assert_int_eq(commit(&c, "g", "t", 3), KAFKA_NONE);
    ck_assert_int_eq(fetched(&c, "g", "t"), 3);
    kafka_client_close(&c);
    js_rig_end(&r);
}

/* Groups without members forget after a while. */
TEST(old_offsets_go)
{
    struct js_rig r;
    struct kafka_client c, d;
    struct str member;

    js_rig_start_conf(&r, i,
                      "kafka { listen: \"127.0.0.1:-1\", group_delay: \"0s\", "
                      "offsets_retention: \"400ms\" }\n");
    make_topic(&r, "t");
    open_client(&r, &c);
    open_client(&r, &d);
    find_coordinator(&c, 2);
    member = one_member(&c, "living");
    ck_assert_int_eq(commit_as(&c, 7, "living", member, 1, "t", 1, STR("")), KAFKA_NONE);
    ck_assert_int_eq(commit(&d, "dead", "t", 1), KAFKA_NONE);
    js_await(&r, "$JS.API.STREAM.INFO.__consumer_offsets", "", "\"messages\":1,");
    ck_assert_int_eq(fetched(&c, "dead", "t"), -1);
    ck_assert_int_eq(fetched(&c, "living", "t"), 1);
    kafka_client_close(&c);
    kafka_client_close(&d);
    js_rig_end(&r);
}

/* The stream that the groups live on is deleted: clients are sent to look for a coordinator, and
 * begin anew. */
TEST(the_offsets_stream_goes)
{
    struct js_rig r;
    struct kafka_client c, d;
    struct str member;
    const struct kafka_join_group_response *j;
    struct kafka_join_group_request_protocols p = {STR("range"), STR("other")};
    struct kafka_join_group_request q = {.group_id = STR("g"),
                                         .session_timeout_ms = 30000,
                                         .rebalance_timeout_ms = 30000,
                                         .member_id = STR(""),
                                         .protocol_type = STR("consumer"),
                                         .protocols = &p,
                                         .protocols_n = 1};

    start(&r, i);
    make_topic(&r, "t");
    open_client(&r, &c);
    open_client(&r, &d);
    find_coordinator(&c, 2);
    member = one_member(&c, "g");
    ck_assert_int_eq(commit_as(&c, 7, "g", member, 1, "t", 1, STR("")), KAFKA_NONE);
    kafka_client_send(&d, KAFKA_JOIN_GROUP, 2, &q); /* waits for the other */
    js_ask(&r, "$JS.API.STREAM.DELETE.__consumer_offsets", "", "\"success\":true");
    j = kafka_client_take(&d, KAFKA_JOIN_GROUP, 2);
    ck_assert(j->error_code == KAFKA_NOT_COORDINATOR ||
              j->error_code == KAFKA_COORDINATOR_NOT_AVAILABLE);
    ck_assert_int_eq(commit_as(&c, 7, "g", member, 1, "t", 1, STR("")),
                     KAFKA_COORDINATOR_NOT_AVAILABLE);
    find_coordinator(&c, 2);
    ck_assert_int_eq(commit_as(&c, 7, "g", member, 1, "t", 1, STR("")), KAFKA_ILLEGAL_GENERATION);
    one_member(&c, "g");
    ck_assert_int_eq(fetched(&c, "g", "t"), -1);
    kafka_client_close(&c);
    kafka_client_close(&d);
    js_rig_end(&r);
}

/* A client that goes away while its request waits; a server that stops with such ones. */
TEST(waiting_requests)
{
    struct js_rig r;
    struct kafka_client c, d[4];

    start(&r, i);
    open_client(&r, &c);
    find_coordinator(&c, 2);
    one_member(&c, "g");
    for (int k = 0; k < 4; k++) {
        struct kafka_join_group_request_protocols p = {STR("range"), STR("other")};
        struct kafka_join_group_request q = {.group_id = STR("g"),
                                             .session_timeout_ms = 30000,
                                             .rebalance_timeout_ms = 30000,
                                             .member_id = STR(""),
                                             .protocol_type = STR("consumer"),
                                             .protocols = &p,
                                             .protocols_n = 1};
        open_client(&r, &d[k]);
        kafka_client_send(&d[k], KAFKA_JOIN_GROUP, 2, &q);
    }
    kafka_client_close(&d[0]);
    kafka_client_close(&d[1]);
    for (;;) { /* until they have come */
        struct str name = STR("g");
        const struct kafka_describe_groups_response *a = kafka_client_call(
            &c, KAFKA_DESCRIBE_GROUPS, 3,
            &(struct kafka_describe_groups_request){.groups = &name, .groups_n = 1});
        ck_assert_int_eq(a->groups_n, 1);
        if (a->groups[0].members_n >= 3)
            break;
    }
    js_rig_end(&r); /* with requests that wait */
    kafka_client_close(&c);
    kafka_client_close(&d[2]);
    kafka_client_close(&d[3]);
}

static void leave(struct kafka_client *c, const char *group, struct str member)
{
    struct kafka_leave_group_request_members m = {.member_id = member};
    const struct kafka_leave_group_response *a =
        kafka_client_call(c, KAFKA_LEAVE_GROUP, 3,
                          &(struct kafka_leave_group_request){
                              .group_id = str_of(group), .members = &m, .members_n = 1});

    ck_assert_int_eq(a->error_code, KAFKA_NONE);
    ck_assert_int_eq(a->members[0].error_code, KAFKA_NONE);
}

static void until_members(struct kafka_client *c, const char *group, int32_t n)
{
    struct str name = str_of(group);

    for (;;) {
        const struct kafka_describe_groups_response *a =
            KAFKA_CALL(c, describe_groups, DESCRIBE_GROUPS, 3, .groups = &name, .groups_n = 1);
        if (a->groups[0].members_n == n)
            return;
    }
}

/* The length of no frame comes while the request before it waits, and nothing behind it: the
 * connection ends as soon as that is answered. The frames are so big that a length is received by
 * itself. */
TEST(a_bad_length_meanwhile)
{
    static char metadata[300 << 10];
    struct kafka_join_group_request_protocols p = {STR("range"), {metadata, sizeof(metadata)}};
    struct kafka_join_group_request q = {.group_id = STR("g"),
                                         .session_timeout_ms = 30000,
                                         .rebalance_timeout_ms = 30000,
                                         .member_id = STR(""),
                                         .protocol_type = STR("consumer"),
                                         .protocols = &p,
                                         .protocols_n = 1};
    const struct kafka_join_group_response *a;
    struct js_rig r;
    struct kafka_client c, d;
    struct str first;

    start(&r, i);
    open_client(&r, &c);
    find_coordinator(&c, 2);
    first = one_member(&c, "g");
    open_client(&r, &d);
    a = kafka_client_call(&d, KAFKA_JOIN_GROUP, 4, &q);
    ck_assert_int_eq(a->error_code, KAFKA_MEMBER_ID_REQUIRED);
    q.member_id = a->member_id;
    kafka_client_send(&d, KAFKA_JOIN_GROUP, 4, &q);
    until_members(&c, "g", 2);
    raw_send_bytes(&d.raw, "\x7f\xff\xff\xff", 4);
    until_members(&c, "g", 2); /* of the same worker: the length is there behind it */
    leave(&c, "g", first);
    a = kafka_client_take(&d, KAFKA_JOIN_GROUP, 4);
    ck_assert_int_eq(a->error_code, KAFKA_NONE);
    raw_expect_end(&d.raw);
    kafka_client_close(&d);
    kafka_client_close(&c);
    js_rig_end(&r);
}

/* A group that is asked for many times is told of once; answers have an end. */
TEST(answers_are_not_as_long_as_one_likes)
{
    struct js_rig r;
    struct kafka_client c;
    enum { MANY = 40000 };
    int32_t *zeros = calloc(MANY, sizeof(*zeros));
    struct buf text = {0};
    struct kafka_offset_fetch_request_topics t = {STR("t"), zeros, MANY};
    struct kafka_offset_fetch_request_groups_topics gt = {STR("t"), zeros, 1};
    struct kafka_offset_fetch_request_groups g[3];
    struct str names[3] = {STR("g"), STR("h"), STR("g")};
    struct kafka_offset_fetch_request all = {.group_id = STR("g"), .topics_n = -1};
    struct kafka_offset_fetch_request old = {.group_id = STR("g"), .topics = &t, .topics_n = 1};
    struct kafka_offset_fetch_request q = {.groups = g, .groups_n = 3};
    const struct kafka_offset_fetch_response *a;
    const struct kafka_describe_groups_response *d;

    for (int k = 0; k < 3; k++)
        g[k] = (struct kafka_offset_fetch_request_groups){
            .group_id = names[k], .member_epoch = -1, .topics = &gt, .topics_n = 1};
    start(&r, i);
    open_client(&r, &c);
    a = kafka_client_call(&c, KAFKA_OFFSET_FETCH, 7, &all); /* there are no groups yet */
    ck_assert_int_ne(a->error_code, KAFKA_NONE);
    ck_assert_int_eq(a->topics_n, 0);
    find_coordinator(&c, 3);
    make_topic(&r, "t");
    memset(buf_reserve(&text, 4096), 'm', 4096);
    text.n = 4096;
    ck_assert_int_eq(commit_as(&c, 7, "g", STR(""), -1, "t", 5, buf_str(&text)), KAFKA_NONE);
    a = kafka_client_call(&c, KAFKA_OFFSET_FETCH, 8, &q);
    ck_assert_int_eq(a->groups_n, 2);
    ck_assert_int_eq(a->groups[0].topics[0].partitions[0].committed_offset, 5);
    ck_assert_int_eq(a->groups[1].topics[0].partitions[0].committed_offset, -1);
    d = kafka_client_call(&c, KAFKA_DESCRIBE_GROUPS, 5,
                          &(struct kafka_describe_groups_request){.groups = names, .groups_n = 3});
    ck_assert_int_eq(d->groups_n, 2);
    a = kafka_client_call(&c, KAFKA_OFFSET_FETCH, 7, &old); /* 160 MB, if it were told */
    ck_assert_int_eq(a->error_code, KAFKA_INVALID_REQUEST);
    ck_assert_int_eq(a->topics_n, 0);
    gt.partition_indexes_n = MANY;
    a = kafka_client_call(&c, KAFKA_OFFSET_FETCH, 8, &q);
    ck_assert_int_eq(a->groups[0].error_code, KAFKA_INVALID_REQUEST);
    ck_assert_int_eq(fetched(&c, "g", "t"), 5);
    kafka_client_close(&c);
    buf_free(&text);
    free(zeros);
    js_rig_end(&r);
}

/* ---- administration -------------------------------------------------------------------------- */

static void described(struct kafka_client *c, int version, const char *group, const char *state)
{
    struct str name = str_of(group);
    const struct kafka_describe_groups_response *a =
        kafka_client_call(c, KAFKA_DESCRIBE_GROUPS, version,
                          &(struct kafka_describe_groups_request){.groups = &name, .groups_n = 1});

    ck_assert_int_eq(a->groups_n, 1);
    ck_assert_int_eq(a->groups[0].error_code, KAFKA_NONE);
    ck_assert(str_eq(a->groups[0].group_state, str_of(state)));
    if (strcmp(state, "Stable") != 0)
        return;
    ck_assert_int_eq(a->groups[0].members_n, 1);
    ck_assert(str_eq(a->groups[0].protocol_type, STR("consumer")));
    ck_assert(str_eq(a->groups[0].protocol_data, STR("range")));
    ck_assert(str_eq(a->groups[0].members[0].member_assignment, STR("all")));
    ck_assert(str_eq(a->groups[0].members[0].member_metadata, STR("metadata")));
    ck_assert(str_eq(a->groups[0].members[0].client_host, STR("/127.0.0.1")));
    ck_assert(str_eq(a->groups[0].members[0].client_id, STR("test")));
}

static int32_t listed(struct kafka_client *c, int version, const char *state, const char *type)
{
    struct str states = str_of(state), types = str_of(type);
    struct kafka_list_groups_request q = {.states_filter = &states,
                                          .states_filter_n = state != NULL,
                                          .types_filter = &types,
                                          .types_filter_n = type != NULL};
    const struct kafka_list_groups_response *a = kafka_client_call(c, KAFKA_LIST_GROUPS, version,
                                                                   &q);

    ck_assert_int_eq(a->error_code, KAFKA_NONE);
    return a->groups_n;
}

static int16_t deleted(struct kafka_client *c, int version, const char *group)
{
    struct str name = str_of(group);
    const struct kafka_delete_groups_response *a = kafka_client_call(
        c, KAFKA_DELETE_GROUPS, version,
        &(struct kafka_delete_groups_request){.groups_names = &name, .groups_names_n = 1});

    ck_assert_int_eq(a->results_n, 1);
    return a->results[0].error_code;
}

/* A group that had members and committed nothing is there for a while: a client deletes it. */
TEST(empty_groups)
{
    struct js_rig r;
    struct kafka_client c;

    js_rig_start_conf(&r, i,
                      i == 0 ? conf
                             : "kafka { listen: \"127.0.0.1:-1\", group_delay: \"0s\", "
                               "offsets_retention: \"400ms\" }\n");
    open_client(&r, &c);
    find_coordinator(&c, 2);
    leave(&c, "g", one_member(&c, "g"));
    if (i == 0) {
        described(&c, 5, "g", "Empty");
        ck_assert_int_eq(listed(&c, 5, "Empty", NULL), 1);
        ck_assert_int_eq(deleted(&c, 2, "g"), KAFKA_NONE);
        ck_assert_int_eq(deleted(&c, 2, "g"), KAFKA_GROUP_ID_NOT_FOUND);
    } else {
        for (time_t end = time(NULL) + 20; listed(&c, 5, NULL, NULL) > 0;)
            ck_assert(time(NULL) < end);
    }
    kafka_client_close(&c);
    js_rig_end(&r);
}

TEST(administration)
{
    struct js_rig r;
    struct kafka_client c;
    struct str member;

    start(&r, i);
    make_topic(&r, "t");
    open_client(&r, &c);
    ck_assert_int_eq(listed(&c, 5, NULL, NULL), 0); /* no groups at all yet */
    described(&c, 5, "g", "Dead");
    ck_assert_int_eq(deleted(&c, 2, "g"), KAFKA_GROUP_ID_NOT_FOUND);
    find_coordinator(&c, 2);
    ck_assert_int_eq(commit(&c, "empty", "t", 1), KAFKA_NONE);
    member = one_member(&c, "g");
    ck_assert_int_eq(commit_as(&c, 7, "g", member, 1, "t", 1, STR("")), KAFKA_NONE);
    for (int v = 0; v <= 5; v++) {
        ck_assert_int_eq(listed(&c, v, NULL, NULL), 2);
        described(&c, v, "g", "Stable");
        described(&c, v, "empty", "Empty");
        described(&c, v, "other", "Dead");
    }
    ck_assert_int_eq(listed(&c, 4, "stable", NULL), 1);
    ck_assert_int_eq(listed(&c, 4, "Dead", NULL), 0);
    ck_assert_int_eq(listed(&c, 5, "Empty", "Classic"), 1);
    ck_assert_int_eq(listed(&c, 5, NULL, "consumer"), 0);
    for (int v = 0; v <= 2; v++) {
        ck_assert_int_eq(deleted(&c, v, "g"), KAFKA_NON_EMPTY_GROUP);
        ck_assert_int_eq(deleted(&c, v, "other"), KAFKA_GROUP_ID_NOT_FOUND);
    }
    ck_assert_int_eq(deleted(&c, 2, "empty"), KAFKA_NONE);
    ck_assert_int_eq(deleted(&c, 2, "empty"), KAFKA_GROUP_ID_NOT_FOUND);
    ck_assert_int_eq(fetched(&c, "empty", "t"), -1);
    kafka_client_close(&c);
    js_rig_crash(&r);
    open_client(&r, &c);
    ck_assert_int_eq(listed(&c, 5, NULL, NULL), 1);
    ck_assert_int_eq(fetched(&c, "empty", "t"), -1);
    described(&c, 5, "g", "Empty");
    kafka_client_close(&c);
    js_rig_end(&r);
}

TEST(deleting_offsets)
{
    struct kafka_offset_delete_request_partitions parts[2] = {{0}, {1}};
    struct kafka_offset_delete_request_topics topics[2] = {{STR("t"), parts, 2},
                                                           {STR("u"), parts, 1}};
    struct kafka_offset_delete_request q = {.group_id = STR("g"), .topics = topics, .topics_n = 2};
    const struct kafka_offset_delete_response *a;
    struct js_rig r;
    struct kafka_client c;

    start(&r, i);
    make_topic(&r, "t");
    make_topic(&r, "u");
    open_client(&r, &c);
    find_coordinator(&c, 2);
    a = kafka_client_call(&c, KAFKA_OFFSET_DELETE, 0, &q);
    ck_assert_int_eq(a->error_code, KAFKA_GROUP_ID_NOT_FOUND);
    ck_assert_int_eq(commit(&c, "g", "t", 1), KAFKA_NONE);
    ck_assert_int_eq(commit(&c, "g", "u", 2), KAFKA_NONE);
    ck_assert_int_eq(commit(&c, "g", "u", -2), KAFKA_NONE);
    one_member(&c, "g"); /* its metadata is no list of topics: it may read any */
    a = kafka_client_call(&c, KAFKA_OFFSET_DELETE, 0, &q);
    ck_assert_int_eq(a->error_code, KAFKA_NONE);
    ck_assert_int_eq(a->topics[1].partitions[0].error_code, KAFKA_GROUP_SUBSCRIBED_TO_TOPIC);
    kafka_client_close(&c);
    js_rig_crash(&r);
    open_client(&r, &c);
    q.topics_n = 1;
    a = kafka_client_call(&c, KAFKA_OFFSET_DELETE, 0, &q);
    ck_assert_int_eq(a->error_code, KAFKA_NONE);
    ck_assert_int_eq(a->topics[0].partitions[0].error_code, KAFKA_NONE);
    ck_assert_int_eq(a->topics[0].partitions[1].error_code, KAFKA_NONE);
    kafka_client_close(&c);
    js_rig_crash(&r);
    open_client(&r, &c);
    ck_assert_int_eq(fetched(&c, "g", "t"), -1);
    ck_assert_int_eq(fetched(&c, "g", "u"), -2);
    kafka_client_close(&c);
    js_rig_end(&r);
}

/* ---- real clients ---------------------------------------------------------------------------- */

static FILE *run(const char *format, ...)
{
    char command[1024];
    va_list args;
    FILE *f;

    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    return f;
}

/* It ends well, and has said this and nothing else. */
static void ends_with(FILE *f, const char *want)
{
    static char said[1 << 16];
    size_t n = fread(said, 1, sizeof(said) - 1, f);
    int status = pclose(f);

    said[n] = '\0';
    ck_assert_msg(status == 0 && strcmp(said, want) == 0, "status %d: %s", status, said);
}

#define SCRIPT "timeout 110 /usr/bin/python3 $MIDGE_SRCDIR/tests/api/kafka_groups.py "

TEST(python_clients)
{
    static const char *const what[][2] = {{"confluent", "range"},
                                          {"confluent", "roundrobin"},
                                          {"confluent", "cooperative-sticky"},
                                          {"old", ""},
                                          {"admin", ""}};
    struct js_rig r;

    start(&r, i % 3);
    ends_with(run(SCRIPT "%s 127.0.0.1:%u %s 2>&1", what[i][0], r.server.kafka_port, what[i][1]),
              "");
    js_rig_end(&r);
}

TEST(kcat_goes_on)
{
    struct js_rig r;

    start(&r, i);
    for (int k = 0; k < 3; k++) {
        ends_with(run("seq %d %d | timeout 60 kcat -P -b 127.0.0.1:%u -t t", 1 + 100 * k,
                      100 + 100 * k, r.server.kafka_port),
                  "");
        ends_with(run("timeout 60 kcat -b 127.0.0.1:%u -q -G g -X auto.offset.reset=earliest "
                      "-c 100 t 2>/dev/null | sort -n > $$.got; seq %d %d | cmp - $$.got 2>&1; "
                      "rm $$.got",
                      r.server.kafka_port, 1 + 100 * k, 100 + 100 * k),
                  "");
        if (k == 1)
            js_rig_crash(&r);
    }
    js_rig_end(&r);
}

/* A member that lives through a crash of the server. */
TEST(through_a_crash)
{
    struct js_rig r;
    char listen[32], line[16] = "";
    FILE *f;

    server_process_init(&r.server);
    r.server.args[0] = "--kafka";
    r.server.args[1] = "127.0.0.1:-1";
    server_process_start(&r.server);
    uint16_t port = r.server.kafka_port;
    ends_with(run("seq 1 100 | timeout 60 kcat -P -b 127.0.0.1:%u -t crash", port), "");
    f = run(SCRIPT "through_a_crash 127.0.0.1:%u 2>&1", port);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
    ck_assert_str_eq(line, "half\n");
    server_process_kill(&r.server);
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", port);
    r.server.args[1] = listen;
    server_process_start(&r.server);
    ends_with(run("seq 101 200 | timeout 60 kcat -P -b 127.0.0.1:%u -t crash", port), "");
    ends_with(f, "all\n");
    server_process_stop(&r.server);
    server_process_deinit(&r.server);
}

#define SLOW(name, from, to)                                                                       \
    {                                                                                              \
        .test = &name##_test, .first = (from), .end = (to), .seconds = 120                         \
    }

static const struct runner_case cases[] = {
    RUN_LOOP(every_version_of_a_member, 0, 3),
    RUN_LOOP(every_version_of_offsets, 0, 3),
    RUN_LOOP(offsets_survive, 0, 3),
    RUN_LOOP(refused_commits, 0, 3),
    RUN_LOOP(very_many_offsets, 0, 3),
    RUN_LOOP(a_topic_is_made_anew, 0, 3),
    RUN_LOOP(old_offsets_go, 0, 3),
    RUN_LOOP(the_offsets_stream_goes, 0, 3),
    RUN_LOOP(waiting_requests, 0, 3),
    RUN(a_bad_length_meanwhile),
    RUN_LOOP(empty_groups, 0, 2),
    RUN_LOOP(administration, 0, 3),
    RUN_LOOP(answers_are_not_as_long_as_one_likes, 0, 3),
    RUN_LOOP(deleting_offsets, 0, 3),
    SLOW(python_clients, 0, 5),
    RUN_LOOP(kcat_goes_on, 0, 3),
    SLOW(through_a_crash, 0, 1),
};

RUNNER_MAIN("api/kafka_groups", cases)
