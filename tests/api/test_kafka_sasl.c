/*
 * test_kafka_sasl.c - Kafka clients that have to say who they are: every mechanism, with real
 * clients; accounts that do not see each other; what a user may not; reloads.
 */
#include "server/kafka/kafka_error.h"
#include "tests/api/kafka_client.h"
#include "tests/api/tls_certs.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KAFKA "kafka { listen: \"127.0.0.1:-1\", group_delay: \"0s\" }\n"
/* bcrypt of "hashed" */
#define HASH "$2a$04$abcdefghijklmnopqrstuu369LYjJlegQeGD0CWsjs58fASePKjWq"

static const char users[] = KAFKA
    "accounts {\n"
    " A { jetstream: enabled, users: [\n"
    "  { user: ann, password: \"a pass\" }\n"
    "  { user: few, password: few, permissions {\n"
    "    publish: [\"mine\", \"$KAFKA.OFFSETS.g\", \"$JS.API.STREAM.CREATE.mine\"]\n"
    "    subscribe: [\"mine\", \"other\"] } }\n"
    "  { user: bob, password: \"" HASH "\" } ] }\n"
    " B { jetstream: enabled, users: [ { user: ben, password: b } ] }\n"
    " C { users: [ { user: cid, password: c } ] }\n"
    "}\n";

struct rig {
    struct server_process server;
    char conf[512];
};

static void write_conf(struct rig *r, const char *text)
{
    FILE *f = fopen(r->conf, "w");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static void start(struct rig *r, int i, const char *text)
{
    static const char *const workers[] = {"1", "2", "4"};

    server_process_init(&r->server);
    snprintf(r->conf, sizeof(r->conf), "%s/conf", r->server.dir);
    write_conf(r, text);
    r->server.args[0] = "--workers";
    r->server.args[1] = workers[i % 3];
    r->server.args[2] = "-c";
    r->server.args[3] = r->conf;
    server_process_start(&r->server);
}

static void end(struct rig *r)
{
    server_process_stop(&r->server);
    server_process_deinit(&r->server);
}

/* ---- by hand --------------------------------------------------------------------------------- */

static int16_t handshake(struct kafka_client *c, int version, const char *mechanism)
{
    const struct kafka_sasl_handshake_response *a =
        kafka_client_call(c, KAFKA_SASL_HANDSHAKE, version,
                          &(struct kafka_sasl_handshake_request){.mechanism = str_of(mechanism)});

    ck_assert_int_eq(a->mechanisms_n, 3);
    return a->error_code;
}

static int16_t authenticate(struct kafka_client *c, int version, struct str token)
{
    const struct kafka_sasl_authenticate_response *a =
        kafka_client_call(c, KAFKA_SASL_AUTHENTICATE, version,
                          &(struct kafka_sasl_authenticate_request){.auth_bytes = token});

    return a->error_code;
}

static void log_in(struct rig *r, struct kafka_client *c, struct str token)
{
    kafka_client_open(c, r->server.kafka_port);
    ck_assert_int_eq(handshake(c, 1, "PLAIN"), KAFKA_NONE);
    ck_assert_int_eq(authenticate(c, 2, token), KAFKA_NONE);
}

#define ANN STR("\0ann\0a pass")
#define FEW STR("\0few\0few")

static int16_t make_topic(struct kafka_client *c, const char *name)
{
    struct kafka_create_topics_request_topics t = {
        .name = str_of(name), .num_partitions = 1, .replication_factor = 1};
    const struct kafka_create_topics_response *a = kafka_client_call(
        c, KAFKA_CREATE_TOPICS, 5,
        &(struct kafka_create_topics_request){.topics = &t, .topics_n = 1, .timeout_ms = 10000});

    ck_assert_int_eq(a->topics_n, 1);
    return a->topics[0].error_code;
}

/* How many topics there are for this client. */
static int32_t topics(struct kafka_client *c)
{
    const struct kafka_metadata_response *a =
        kafka_client_call(c, KAFKA_METADATA, 5, &(struct kafka_metadata_request){.topics_n = -1});

    return a->topics_n;
}

static int16_t asked_topic(struct kafka_client *c, const char *name)
{
    struct kafka_metadata_request_topics t = {.name = str_of(name)};
    const struct kafka_metadata_response *a = kafka_client_call(
        c, KAFKA_METADATA, 5, &(struct kafka_metadata_request){.topics = &t, .topics_n = 1});

    ck_assert_int_eq(a->topics_n, 1);
    return a->topics[0].error_code;
}

TEST(strangers)
{
    struct rig r;
    struct kafka_client c;
    const struct kafka_api_versions_response *v;

    start(&r, i, users);
    kafka_client_open(&c, r.server.kafka_port);
    v = kafka_client_call(
        &c, KAFKA_API_VERSIONS, 3,
        &(struct kafka_api_versions_request){.client_software_name = STR("x"),
                                             .client_software_version = STR("1")});
    ck_assert_int_eq(v->error_code, KAFKA_NONE);
    ck_assert_int_eq(handshake(&c, 1, "GSSAPI"), KAFKA_UNSUPPORTED_SASL_MECHANISM);
    ck_assert_int_eq(handshake(&c, 1, "PLAIN"), KAFKA_NONE);
    kafka_client_send(&c, KAFKA_METADATA, 5, &(struct kafka_metadata_request){.topics_n = -1});
    raw_expect_end(&c.raw);
    kafka_client_close(&c);
    kafka_client_open(&c, r.server.kafka_port);
    kafka_client_send(&c, KAFKA_SASL_AUTHENTICATE, 1,
                      &(struct kafka_sasl_authenticate_request){.auth_bytes = ANN});
    raw_expect_end(&c.raw); /* without a handshake */
    kafka_client_close(&c);
    kafka_client_open(&c, r.server.kafka_port);
    raw_send_bytes(&c.raw, "\0\1\0\1", 4); /* longer than a stranger's */
    raw_expect_end(&c.raw);
    kafka_client_close(&c);
    end(&r);
}

TEST(wrong_credentials)
{
    static const struct str tokens[] = {
        STR_LIT("\0ann\0wrong"),
        STR_LIT("\0nobody\0a pass"),
        STR_LIT("\0ann\0"),
        STR_LIT("\0ann"),
        STR_LIT(""),
        STR_LIT("\0\0"),
        STR_LIT("ben\0ann\0a pass"),
        STR_LIT("\0bob\0wrong"),
        STR_LIT("\0cid\0c"),
        STR_LIT("\0bob\0" HASH),
    };
    struct rig r;
    struct kafka_client c;

    start(&r, i, users);
    kafka_client_open(&c, r.server.kafka_port);
    ck_assert_int_eq(handshake(&c, 1, "PLAIN"), KAFKA_NONE);
    ck_assert_int_eq(authenticate(&c, i % 3, tokens[i]), KAFKA_SASL_AUTHENTICATION_FAILED);
    raw_expect_end(&c.raw);
    kafka_client_close(&c);
    end(&r);
}

#define ISSUER "ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA"
#define CALLOUT(more)                                                                              \
    "authorization { auth_callout { issuer: " ISSUER                                               \
    ", account: AUTH, auth_users: [ service ] " more "} }\n"                                       \
    "accounts { AUTH { users: [ { user: service, password: s } ] }, A { jetstream: enabled, "      \
    "users: [ { user: app, password: a }, { user: own, password: o, proxy_required: true } ] } "   \
    "}\n"
#define ONE_USER(more) "jetstream: enabled\nauthorization { " more " }\n"

/* Those whom others decide about, and those whom no password makes known, by every mechanism that
 * could let them in. */
static const struct {
    const char *conf;
    struct str token;
    int16_t want;
} others_decide[] = {
    {CALLOUT(""), STR_LIT("\0app\0a"), KAFKA_SASL_AUTHENTICATION_FAILED},
    {CALLOUT("allowed_accounts: [ A ] "), STR_LIT("\0app\0a"), KAFKA_SASL_AUTHENTICATION_FAILED},
    {CALLOUT("allowed_accounts: [ AUTH ] "), STR_LIT("\0app\0a"), KAFKA_NONE},
    {CALLOUT("allowed_accounts: [ AUTH ] "), STR_LIT("\0own\0o"), KAFKA_SASL_AUTHENTICATION_FAILED},
    {"accounts { A { jetstream: enabled, users: [ { user: own, password: o, proxy_required: true } "
     "] } }\n",
     STR_LIT("\0own\0o"), KAFKA_SASL_AUTHENTICATION_FAILED},
    {ONE_USER("user: u, password: p, proxy_required: true"), STR_LIT("\0u\0p"),
     KAFKA_SASL_AUTHENTICATION_FAILED},
    {ONE_USER("user: u, password: p"), STR_LIT("\0u\0p"), KAFKA_NONE},
    {ONE_USER("users: [ { user: \"CN=u\" } ]"), STR_LIT("\0CN=u\0"),
     KAFKA_SASL_AUTHENTICATION_FAILED},
    {ONE_USER("users: [ { user: u, password: \"\" } ]"), STR_LIT("\0u\0"),
     KAFKA_SASL_AUTHENTICATION_FAILED},
    {ONE_USER("user: u, password: \"\""), STR_LIT("\0u\0"), KAFKA_SASL_AUTHENTICATION_FAILED},
};

TEST(who_may_not_come_in_here)
{
    struct rig r;
    struct kafka_client c;
    char conf[1024];

    snprintf(conf, sizeof(conf), "%s%s", KAFKA, others_decide[i].conf);
    start(&r, i, conf);
    kafka_client_open(&c, r.server.kafka_port);
    ck_assert_int_eq(handshake(&c, 1, "PLAIN"), KAFKA_NONE);
    ck_assert_int_eq(authenticate(&c, 2, others_decide[i].token), others_decide[i].want);
    kafka_client_close(&c);
    end(&r);
}

/* Without a word: nobody in particular, whom the service would have to be asked about. */
TEST(nobody_is_asked_about_too)
{
    struct rig r;
    struct kafka_client c;

    start(&r, i, KAFKA "no_auth_user: app\n" CALLOUT(""));
    kafka_client_open(&c, r.server.kafka_port);
    kafka_client_send(&c, KAFKA_METADATA, 5, &(struct kafka_metadata_request){.topics_n = -1});
    raw_expect_end(&c.raw);
    kafka_client_close(&c);
    end(&r);
}

/* A reload that makes it a service's business who they are. */
TEST(a_reload_asks_others)
{
    struct rig r;
    struct kafka_client c;

    start(&r, i, KAFKA CALLOUT("allowed_accounts: [ AUTH ] "));
    log_in(&r, &c, STR("\0app\0a"));
    write_conf(&r, KAFKA CALLOUT(""));
    kill(r.server.pid, SIGHUP);
    raw_expect_end(&c.raw);
    kafka_client_close(&c);
    end(&r);
}

/* By SCRAM, with a proof that no password makes. */
static void fail_by_scram(struct rig *r, const char *name)
{
    struct kafka_client c;
    const struct kafka_sasl_authenticate_response *a;
    char first[64], final[256];

    snprintf(first, sizeof(first), "n,,n=%s,r=abc", name);
    kafka_client_open(&c, r->server.kafka_port);
    ck_assert_int_eq(handshake(&c, 1, "SCRAM-SHA-512"), KAFKA_NONE);
    a = kafka_client_call(&c, KAFKA_SASL_AUTHENTICATE, 2,
                          &(struct kafka_sasl_authenticate_request){.auth_bytes = str_of(first)});
    ck_assert_int_eq(a->error_code, KAFKA_NONE);
    snprintf(final, sizeof(final), "c=biws,%.*s,p=AAAA", (int) (strcspn(a->auth_bytes.p, ",")),
             a->auth_bytes.p);
    ck_assert_int_eq(authenticate(&c, 2, str_of(final)), KAFKA_SASL_AUTHENTICATION_FAILED);
    kafka_client_close(&c);
}

/* Processor time of the server, in us, that many such failures take. */
static int64_t work_of_failures(struct rig *r, const char *name,
                                void (*try_in)(struct rig *r, const char *name))
{
    struct timespec from, to;
    clockid_t clock;

    ck_assert_int_eq(clock_getcpuclockid(r->server.pid, &clock), 0);
    ck_assert_int_eq(clock_gettime(clock, &from), 0);
    for (int k = 0; k < 30; k++)
        try_in(r, name);
    ck_assert_int_eq(clock_gettime(clock, &to), 0);
    return (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000;
}

/* The work shows no difference between a wrong password, a name that is not there and a user whose
 * password is not known: it is processor time that is compared, which other programs do not change.
 */
TEST(failures_take_the_same_work)
{
    struct rig r;
    int64_t wrong;

    start(&r, i, users);
    fail_by_scram(&r, "ann");
    wrong = work_of_failures(&r, "ann", fail_by_scram);
    ck_assert_int_gt(work_of_failures(&r, "nobody", fail_by_scram), wrong / 2);
    ck_assert_int_gt(work_of_failures(&r, "bob", fail_by_scram), wrong / 2);
    end(&r);
}

/* bcrypt, 2^9 rounds, of nothing that anybody says */
#define SLOW_HASH "$2a$09$abcdefghijklmnopqrstuu369LYjJlegQeGD0CWsjs58fASePKjWq"

static void fail_by_plain(struct rig *r, const char *name)
{
    struct kafka_client c;
    char token[64];
    int n = snprintf(token, sizeof(token), "%c%s%cwrong", 0, name, 0);

    kafka_client_open(&c, r->server.kafka_port);
    ck_assert_int_eq(handshake(&c, 1, "PLAIN"), KAFKA_NONE);
    ck_assert_int_eq(authenticate(&c, 1, str_from(token, (size_t) n)),
                     KAFKA_SASL_AUTHENTICATION_FAILED);
    kafka_client_close(&c);
}

/* The same of PLAIN, where somebody's password is a hash. */
TEST(plain_failures_take_the_same_work)
{
    struct rig r;
    int64_t wrong;

    start(&r, i,
          KAFKA "jetstream: enabled\nauthorization { timeout: 60, "
                "users: [ { user: ann, password: plain }, "
                "{ user: bob, password: \"" SLOW_HASH "\" } ] }\n");
    wrong = work_of_failures(&r, "bob", fail_by_plain);
    ck_assert_int_gt(work_of_failures(&r, "nobody", fail_by_plain), wrong / 2);
    ck_assert_int_gt(work_of_failures(&r, "ann", fail_by_plain), wrong / 2);
    end(&r);
}

/* Who has come in stays longer than one who came later and says nothing. */
TEST(strangers_have_their_time)
{
    struct rig r;
    struct kafka_client in, half, silent;

    start(&r, i, KAFKA "jetstream: enabled\nauthorization { user: u, password: p, timeout: 1 }\n");
    log_in(&r, &in, STR("\0u\0p"));
    kafka_client_open(&half, r.server.kafka_port);
    ck_assert_int_eq(handshake(&half, 1, "PLAIN"), KAFKA_NONE);
    kafka_client_open(&silent, r.server.kafka_port);
    raw_expect_end(&silent.raw);
    raw_expect_end(&half.raw);
    ck_assert_int_eq(topics(&in), 0);
    kafka_client_close(&in);
    kafka_client_close(&half);
    kafka_client_close(&silent);
    end(&r);
}

TEST(accounts_do_not_see_each_other)
{
    struct rig r;
    struct kafka_client ann, ben, bob;

    start(&r, i, users);
    log_in(&r, &ann, ANN);
    log_in(&r, &ben, STR("\0ben\0b"));
    log_in(&r, &bob, STR("bob\0bob\0hashed"));
    ck_assert_int_eq(make_topic(&ann, "t"), KAFKA_NONE);
    ck_assert_int_eq(topics(&ann), 1);
    ck_assert_int_eq(topics(&bob), 1);
    ck_assert_int_eq(topics(&ben), 0);
    ck_assert_int_eq(make_topic(&ben, "t"), KAFKA_NONE);
    ck_assert_int_eq(make_topic(&ben, "t"), KAFKA_TOPIC_ALREADY_EXISTS);
    ck_assert_int_eq(topics(&ben), 1);
    ck_assert_int_eq(make_topic(&bob, "t"), KAFKA_TOPIC_ALREADY_EXISTS);
    kafka_client_close(&ann);
    kafka_client_close(&ben);
    kafka_client_close(&bob);
    end(&r);
}

static int16_t list_offsets(struct kafka_client *c, const char *topic)
{
    struct kafka_list_offsets_request_partitions p = {.timestamp = -1, .current_leader_epoch = -1};
    struct kafka_list_offsets_request_topics t = {str_of(topic), &p, 1};
    const struct kafka_list_offsets_response *a = kafka_client_call(
        c, KAFKA_LIST_OFFSETS, 4,
        &(struct kafka_list_offsets_request){.replica_id = -1, .topics = &t, .topics_n = 1});

    return a->topics[0].partitions[0].error_code;
}

static int16_t fetch(struct kafka_client *c, const char *topic)
{
    struct kafka_fetch_request_partitions p = {.current_leader_epoch = -1,
                                               .partition_max_bytes = 100};
    struct kafka_fetch_request_topics t = {
        .topic = str_of(topic), .partitions = &p, .partitions_n = 1};
    const struct kafka_fetch_response *a = kafka_client_call(
        c, KAFKA_FETCH, 11,
        &(struct kafka_fetch_request){
            .replica_id = -1, .max_bytes = 100, .session_epoch = -1, .topics = &t, .topics_n = 1});

    return a->responses[0].partitions[0].error_code;
}

static int16_t produce(struct kafka_client *c, const char *topic)
{
    struct kafka_produce_request_partition_data p = {
        .records = {.p = (const uint8_t *) "x", .n = 1}};
    struct kafka_produce_request_topic_data t = {
        .name = str_of(topic), .partition_data = &p, .partition_data_n = 1};
    const struct kafka_produce_response *a = kafka_client_call(
        c, KAFKA_PRODUCE, 7,
        &(struct kafka_produce_request){.acks = -1, .topic_data = &t, .topic_data_n = 1});

    return a->responses[0].partition_responses[0].error_code;
}

static int16_t commit(struct kafka_client *c, const char *group, const char *topic)
{
    struct kafka_offset_commit_request_partitions p = {.committed_offset = 1};
    struct kafka_offset_commit_request_topics t = {str_of(topic), &p, 1};
    const struct kafka_offset_commit_response *a =
        kafka_client_call(c, KAFKA_OFFSET_COMMIT, 7,
                          &(struct kafka_offset_commit_request){.group_id = str_of(group),
                                                                .generation_id_or_member_epoch = -1,
                                                                .topics = &t,
                                                                .topics_n = 1});

    return a->topics[0].partitions[0].error_code;
}

static int16_t deleted(struct kafka_client *c, const char *topic)
{
    struct str name = str_of(topic);
    const struct kafka_delete_topics_response *a = kafka_client_call(
        c, KAFKA_DELETE_TOPICS, 4,
        &(struct kafka_delete_topics_request){.topic_names = &name, .topic_names_n = 1});

    return a->responses[0].error_code;
}

static int16_t marked(struct kafka_client *c, const char *topic)
{
    int32_t zero = 0;
    struct kafka_write_txn_markers_request_topics t = {str_of(topic), &zero, 1};
    struct kafka_write_txn_markers_request_markers m = {
        .producer_id = 1, .topics = &t, .topics_n = 1};

    return KAFKA_CALL(c, write_txn_markers, WRITE_TXN_MARKERS, 1, .markers = &m, .markers_n = 1)
        ->markers[0]
        .topics[0]
        .partitions[0]
        .error_code;
}

static int32_t groups(struct kafka_client *c)
{
    const struct kafka_list_groups_response *a =
        kafka_client_call(c, KAFKA_LIST_GROUPS, 4, &(struct kafka_list_groups_request){0});

    return a->groups_n;
}

TEST(what_a_user_may_not)
{
    struct rig r;
    struct kafka_client ann, few;
    struct str key = STR("g");

    start(&r, i, users);
    log_in(&r, &ann, ANN);
    log_in(&r, &few, FEW);
    ck_assert_int_eq(make_topic(&ann, "other"), KAFKA_NONE);
    ck_assert_int_eq(make_topic(&ann, "hidden"), KAFKA_NONE);
    ck_assert_int_eq(make_topic(&few, "more"), KAFKA_TOPIC_AUTHORIZATION_FAILED);
    ck_assert_int_eq(make_topic(&few, "mine"), KAFKA_NONE);
    ck_assert_int_eq(topics(&ann), 3);
    ck_assert_int_eq(topics(&few), 2);
    ck_assert_int_eq(asked_topic(&few, "hidden"), KAFKA_TOPIC_AUTHORIZATION_FAILED);
    ck_assert_int_eq(asked_topic(&few, "other"), KAFKA_NONE);
    ck_assert_int_eq(fetch(&few, "mine"), KAFKA_NONE);
    ck_assert_int_eq(fetch(&few, "other"), KAFKA_NONE);
    ck_assert_int_eq(fetch(&few, "hidden"), KAFKA_TOPIC_AUTHORIZATION_FAILED);
    ck_assert_int_eq(list_offsets(&few, "other"), KAFKA_NONE);
    ck_assert_int_eq(list_offsets(&few, "hidden"), KAFKA_TOPIC_AUTHORIZATION_FAILED);
    ck_assert_int_eq(produce(&few, "mine"), KAFKA_CORRUPT_MESSAGE); /* looked at */
    ck_assert_int_eq(produce(&few, "other"), KAFKA_TOPIC_AUTHORIZATION_FAILED);
    ck_assert_int_eq(deleted(&few, "mine"), KAFKA_TOPIC_AUTHORIZATION_FAILED);
    ck_assert_int_eq(marked(&few, "mine"), KAFKA_CLUSTER_AUTHORIZATION_FAILED);
    ck_assert_int_eq(marked(&ann, "mine"), KAFKA_NONE);
    kafka_client_call(&few, KAFKA_FIND_COORDINATOR, 2,
                      &(struct kafka_find_coordinator_request){.key = key});
    ck_assert_int_eq(commit(&few, "g", "mine"), KAFKA_NONE);
    ck_assert_int_eq(commit(&few, "g", "hidden"), KAFKA_TOPIC_AUTHORIZATION_FAILED);
    ck_assert_int_eq(commit(&few, "h", "mine"), KAFKA_GROUP_AUTHORIZATION_FAILED);
    ck_assert_int_eq(commit(&ann, "h", "hidden"), KAFKA_NONE);
    ck_assert_int_eq(groups(&ann), 2);
    ck_assert_int_eq(groups(&few), 1);
    kafka_client_close(&ann);
    kafka_client_close(&few);
    end(&r);
}

/* An account that comes by a reload has topics and clients, beside those that were there. */
TEST(a_reload_adds_an_account)
{
    static const char more[] = KAFKA
        "accounts { A { jetstream: enabled, users: [ { user: ann, password: \"a pass\" } ] }\n"
        "B { jetstream: enabled, users: [ { user: ben, password: b } ] }\n"
        "D { jetstream: enabled, users: [ { user: dan, password: d } ] } }\n";
    struct kafka_client ann, dan;
    struct rig r;

    start(&r, i, users);
    log_in(&r, &ann, ANN);
    ck_assert_int_eq(make_topic(&ann, "of.a"), KAFKA_NONE);
    write_conf(&r, more);
    kill(r.server.pid, SIGHUP);
    server_process_log_wait(&r.server, "Reloaded server configuration");
    log_in(&r, &dan, STR("\0dan\0d"));
    ck_assert_int_eq(topics(&dan), 0);
    for (int k = 0; k < 8; k++) { /* on all workers */
        char name[8];
        snprintf(name, sizeof(name), "t%d", k);
        ck_assert_int_eq(make_topic(&dan, name), KAFKA_NONE);
        ck_assert_int_eq(asked_topic(&dan, name), KAFKA_NONE);
    }
    ck_assert_int_eq(topics(&dan), 8);
    ck_assert_int_eq(topics(&ann), 1);
    kafka_client_close(&ann);
    kafka_client_close(&dan);
    char *out = NULL;
    ck_assert_int_gt(asprintf(&out,
                              "S='-b 127.0.0.1:%u -X security.protocol=SASL_PLAINTEXT "
                              "-X sasl.mechanism=PLAIN -X sasl.username=dan -X sasl.password=d'; "
                              "seq 1 100 | timeout 60 kcat $S -P -t t3 && test $(timeout 60 kcat "
                              "$S -C -q -o beginning -e -t t3 | wc -l) = 100",
                              r.server.kafka_port),
                     0);
    ck_assert_int_eq(system(out), 0);
    free(out);
    end(&r);
}

/* Connections count for max_connections of the account, until they are closed. */
TEST(connections_of_an_account)
{
    struct kafka_client a, b, c;
    struct rig r;
    int16_t error = KAFKA_SASL_AUTHENTICATION_FAILED;

    start(&r, i,
          KAFKA "accounts { A { jetstream: enabled, limits { max_connections: 2 }, users: [ { "
                "user: ann, password: \"a pass\" } ] } }\n");
    log_in(&r, &a, ANN);
    log_in(&r, &b, ANN);
    kafka_client_open(&c, r.server.kafka_port);
    ck_assert_int_eq(handshake(&c, 1, "PLAIN"), KAFKA_NONE);
    ck_assert_int_eq(authenticate(&c, 2, ANN), KAFKA_SASL_AUTHENTICATION_FAILED);
    raw_expect_end(&c.raw);
    kafka_client_close(&c);
    kafka_client_close(&a);
    for (int k = 0; k < 1000 && error != KAFKA_NONE; k++) {
        kafka_client_open(&c, r.server.kafka_port);
        ck_assert_int_eq(handshake(&c, 1, "PLAIN"), KAFKA_NONE);
        error = authenticate(&c, 2, ANN);
        if (error != KAFKA_NONE)
            kafka_client_close(&c);
    }
    ck_assert_int_eq(error, KAFKA_NONE);
    ck_assert_int_eq(topics(&c), 0);
    kafka_client_close(&b);
    kafka_client_close(&c);
    end(&r);
}

TEST(a_reload_takes_users_away)
{
    struct rig r;
    struct kafka_client ann, ben;

    start(&r, i, users);
    log_in(&r, &ann, ANN);
    log_in(&r, &ben, STR("\0ben\0b"));
    write_conf(&r, KAFKA "accounts { A { jetstream: enabled, users: [ { user: ann, password: new "
                         "} ] }, B { jetstream: enabled, users: [ { user: ben, password: b } ] } "
                         "}\n");
    kill(r.server.pid, SIGHUP);
    raw_expect_end(&ann.raw);
    ck_assert_int_eq(topics(&ben), 0);
    kafka_client_close(&ann);
    kafka_client_close(&ben);
    end(&r);
}

/* bcrypt of "slow", at a cost that takes a good part of a second. */
#define SLOW "$2a$11$abcdefghijklmnopqrstuunCeKINGCIR2HCghh6O3jDKZvMFq0Aja"
#define TOPICS 300

/* Clients that are gone before they were answered: what is under way for them does not look at
 * users that a reload has freed (seen by the address sanitizer). */
TEST(a_reload_behind_clients_that_have_gone)
{
    static const char before[] = KAFKA
        "accounts { A { jetstream: enabled, users: [ { user: bob, password: \"" SLOW "\" }\n"
        "{ user: few, password: few, permissions { publish: [ \"$JS.API.>\" ] } } ] } }\n";
    static const char after[] = KAFKA
        "accounts { A { jetstream: enabled, users: [ { user: ann, password: a } ] } }\n";
    struct kafka_create_topics_request_topics t[TOPICS];
    struct kafka_client bob[4], few, ann;
    char names[TOPICS][16];
    struct rig r;

    start(&r, i, before);
    /* The options of the start are not freed by a reload, those of a reload are. */
    kill(r.server.pid, SIGHUP);
    server_process_log_wait(&r.server, "Reloaded server configuration");
    log_in(&r, &few, FEW);
    for (unsigned k = 0; k < TOPICS; k++) {
        snprintf(names[k], sizeof(names[k]), "t%u", k);
        t[k] = (struct kafka_create_topics_request_topics){
            .name = str_of(names[k]), .num_partitions = 1, .replication_factor = 1};
    }
    for (unsigned k = 0; k < 4; k++) {
        kafka_client_open(&bob[k], r.server.kafka_port);
        ck_assert_int_eq(handshake(&bob[k], 1, "PLAIN"), KAFKA_NONE);
        kafka_client_send(
            &bob[k], KAFKA_SASL_AUTHENTICATE, 2,
            &(struct kafka_sasl_authenticate_request){.auth_bytes = STR("\0bob\0slow")});
    }
    kafka_client_send(&few, KAFKA_CREATE_TOPICS, 5,
                      &(struct kafka_create_topics_request){
                          .topics = t, .topics_n = TOPICS, .timeout_ms = 10000});
    for (unsigned k = 0; k < 4; k++)
        kafka_client_close(&bob[k]);
    kafka_client_close(&few);
    write_conf(&r, after);
    kill(r.server.pid, SIGHUP);
    server_process_log_wait(&r.server, "Reloaded: authorization users");
    log_in(&r, &ann, STR("\0ann\0a"));
    ck_assert_int_ge(topics(&ann), 0);
    kafka_client_close(&ann);
    end(&r); /* which waits for what is under way */
}

/* ---- real clients ---------------------------------------------------------------------------- */

static void python(struct rig *r, const char *client, const char *mechanism, const char *user,
                   const char *password, const char *topic, const char *want)
{
    char command[512], said[256] = "";
    FILE *f;

    snprintf(command, sizeof(command),
             "timeout 100 /usr/bin/python3 $MIDGE_SRCDIR/tests/api/kafka_sasl.py %s 127.0.0.1:%u "
             "%s %s '%s' %s 2>&1 | tail -1",
             client, r->server.kafka_port, mechanism, user, password, topic);
    f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(said, sizeof(said), f));
    pclose(f);
    said[strcspn(said, "\n")] = '\0';
    ck_assert_str_eq(said, want);
}

TEST(python_clients)
{
    static const struct {
        const char *client, *mechanism, *user, *password, *want;
    } rows[] = {
        {"confluent", "PLAIN", "ann", "a pass", "read"},
        {"confluent", "SCRAM-SHA-256", "ann", "a pass", "read"},
        {"confluent", "SCRAM-SHA-512", "ann", "a pass", "read"},
        {"confluent", "PLAIN", "bob", "hashed", "read"},
        {"confluent", "PLAIN", "ann", "wrong", "_AUTHENTICATION"},
        {"confluent", "SCRAM-SHA-256", "ann", "wrong", "_AUTHENTICATION"},
        {"confluent", "SCRAM-SHA-512", "nobody", "a pass", "_AUTHENTICATION"},
        {"confluent", "SCRAM-SHA-256", "bob", "hashed", "_AUTHENTICATION"}, /* only the hash */
        {"old", "PLAIN", "ann", "a pass", "read"},
        {"old", "PLAIN", "bob", "hashed", "read"},
        {"old", "SCRAM-SHA-256", "ann", "a pass", "read"},
        {"old", "SCRAM-SHA-512", "ann", "a pass", "read"},
    };
    struct rig r;

    start(&r, i, users);
    python(&r, rows[i].client, rows[i].mechanism, rows[i].user, rows[i].password, "t",
           rows[i].want);
    end(&r);
}

/* One user for all, a token, nobody: as NATS clients have them. */
TEST(other_ways_to_configure)
{
    static const struct {
        const char *conf, *user, *password;
        const char *mechanism;
    } rows[] = {
        {"authorization { user: u, password: p }\n", "u", "p", "PLAIN"},
        {"authorization { user: u, password: p }\n", "u", "p", "SCRAM-SHA-256"},
        {"authorization { token: secret }\n", "any", "secret", "PLAIN"},
        {"", "any", "thing", "PLAIN"},
    };
    struct rig r;
    char conf[512];

    snprintf(conf, sizeof(conf), "%sjetstream: enabled\n%s", KAFKA, rows[i].conf);
    start(&r, i, conf);
    python(&r, "confluent", rows[i].mechanism, rows[i].user, rows[i].password, "t", "read");
    end(&r);
}

/* ---- TLS ------------------------------------------------------------------------------------- */

static char certs_dir[] = "/tmp/midge-kafka-certs-XXXXXX";

static const char *certs(void)
{
    return certs_dir;
}

static void make_certs(void)
{
    ck_assert_ptr_nonnull(mkdtemp(certs_dir));
    certs_make(certs_dir);
}

TEST(with_tls)
{
    struct rig r;
    char conf[1024], command[1024], said[4096];
    FILE *f;

    make_certs();
    snprintf(conf, sizeof(conf),
             "kafka { listen: \"127.0.0.1:-1\", tls: true }\njetstream: enabled\n"
             "tls { cert_file: \"%s/server.pem\", key_file: \"%s/server.key\" }\n"
             "authorization { user: u, password: p }\n",
             certs(), certs());
    start(&r, i, conf);
    snprintf(command, sizeof(command),
             "K='-b 127.0.0.1:%u -X security.protocol=sasl_ssl -X ssl.ca.location=%s/ca.pem "
             "-X sasl.mechanism=SCRAM-SHA-256 -X sasl.username=u -X sasl.password=p'; "
             "seq 1 20000 | timeout 60 kcat $K -P -t t 2>&1 && "
             "timeout 60 kcat $K -C -q -e -o beginning -t t > $$.got && "
             "seq 1 20000 | cmp - $$.got 2>&1; rm -f $$.got; "
             "timeout 5 kcat -b 127.0.0.1:%u -X security.protocol=sasl_plaintext "
             "-X sasl.mechanism=PLAIN -X sasl.username=u -X sasl.password=p -L >/dev/null 2>&1 "
             "&& echo without TLS",
             r.server.kafka_port, certs(), r.server.kafka_port);
    f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    said[fread(said, 1, sizeof(said) - 1, f)] = '\0';
    pclose(f);
    ck_assert_str_eq(said, "");
    end(&r);
    snprintf(command, sizeof(command), "rm -rf %s", certs_dir);
    ck_assert_int_eq(system(command), 0);
}

/* Nobody is asked for a name here: hands alone have to be shaken. */
TEST(no_handshake)
{
    struct rig r;
    struct kafka_client c;
    char conf[1024];

    make_certs();
    snprintf(conf, sizeof(conf),
             "kafka { listen: \"127.0.0.1:-1\", tls: true }\njetstream: enabled\n"
             "tls { cert_file: \"%s/server.pem\", key_file: \"%s/server.key\", timeout: 1 }\n",
             certs(), certs());
    start(&r, i, conf);
    kafka_client_open(&c, r.server.kafka_port);
    raw_expect_end(&c.raw);
    kafka_client_close(&c);
    end(&r);
    snprintf(conf, sizeof(conf), "rm -rf %s", certs_dir);
    ck_assert_int_eq(system(conf), 0);
}

static const struct runner_case cases[] = {
    RUN_LOOP(strangers, 0, 3),
    RUN_LOOP(wrong_credentials, 0, 10),
    RUN_LOOP(who_may_not_come_in_here, 0, 10),
    RUN_LOOP(nobody_is_asked_about_too, 0, 3),
    RUN_LOOP(a_reload_asks_others, 0, 3),
    RUN_LOOP(failures_take_the_same_work, 0, 3),
    RUN_LOOP(plain_failures_take_the_same_work, 0, 3),
    RUN_LOOP(strangers_have_their_time, 0, 3),
    RUN_LOOP(accounts_do_not_see_each_other, 0, 3),
    RUN_LOOP(what_a_user_may_not, 0, 3),
    RUN_LOOP(a_reload_takes_users_away, 0, 3),
    RUN_LOOP(a_reload_adds_an_account, 0, 3),
    RUN_LOOP(connections_of_an_account, 0, 3),
    RUN_LOOP(a_reload_behind_clients_that_have_gone, 0, 3),
    RUN_LOOP(python_clients, 0, 12),
    RUN_LOOP(other_ways_to_configure, 0, 4),
    RUN_LOOP(with_tls, 0, 3),
    RUN_LOOP(no_handshake, 0, 3),
};

RUNNER_MAIN("api/kafka_sasl", cases)
