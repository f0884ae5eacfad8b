/* test_kafka_topics.c - topics are streams: made, grown, configured, cut and deleted by Kafka
 * clients, seen by NATS clients, and the reverse. */
#include "server/kafka/kafka_error.h"
#include "tests/api/kafka_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct server_process server;
static struct kafka_client client;
static struct raw_client nats;

static void connect_both(void)
{
    kafka_client_open(&client, server.kafka_port);
    raw_hello(&nats, server.port, "");
}

static void setup(void)
{
    server_process_init(&server);
    server.args[0] = "--kafka=127.0.0.1:-1";
    server.args[1] = "--workers=3";
    server_process_start(&server);
    connect_both();
}

static void restart(void)
{
    kafka_client_close(&client);
    raw_close(&nats);
    server_process_kill(&server);
    server_process_start(&server);
    connect_both();
}

static void teardown(void)
{
    kafka_client_close(&client);
    raw_close(&nats);
    server_process_stop(&server);
    server_process_deinit(&server);
}

#define CALL(key, version, q) kafka_client_call(&client, key, version, q)

/* An answer of JetStream that has this text. */
static void js(const char *subject, const char *body, const char *text)
{
    char *answer = raw_ask(&nats, subject, body);

    ck_assert_msg(strstr(answer, text) != NULL, "%s: %s", subject, answer);
    free(answer);
}

static const struct kafka_metadata_response_topics *look_at(const char *name)
{
    struct kafka_metadata_request *q = KAFKA_NEW(&client.arena, metadata_request, 1);
    const struct kafka_metadata_response *a;

    q->topics = KAFKA_NEW(&client.arena, metadata_request_topics, q->topics_n = 1);
    q->topics->name = str_of(name);
    q->allow_auto_topic_creation = false;
    a = CALL(KAFKA_METADATA, 12, q);
    ck_assert_int_eq(a->topics_n, 1);
    return &a->topics[0];
}

static struct kafka_create_topics_request *wish(const char *name, int32_t partitions)
{
    struct kafka_create_topics_request *q = KAFKA_NEW(&client.arena, create_topics_request, 1);

    q->topics = KAFKA_NEW(&client.arena, create_topics_request_topics, q->topics_n = 1);
    q->topics->name = str_of(name);
    q->topics->num_partitions = partitions;
    q->topics->replication_factor = 1;
    return q;
}

static int create(const char *name, int32_t partitions)
{
    const struct kafka_create_topics_response *a = CALL(KAFKA_CREATE_TOPICS, 7,
                                                        wish(name, partitions));
    return a->topics->error_code;
}

static int remove_topic(const char *name)
{
    struct kafka_delete_topics_request *q = KAFKA_NEW(&client.arena, delete_topics_request, 1);
    struct str names[1] = {str_of(name)};
    const struct kafka_delete_topics_response *a;

    q->topic_names = names;
    q->topic_names_n = 1;
    a = CALL(KAFKA_DELETE_TOPICS, 5, q);
    return a->responses->error_code;
}

/* ---- creating and deleting ------------------------------------------------------------------- */

TEST(every_version_creates_and_deletes)
{
    setup();
    for (int version = 0; version <= 7; version++) {
        const struct kafka_create_topics_response *a = CALL(KAFKA_CREATE_TOPICS, version,
                                                            wish("every.one", 3));
        ck_assert_int_eq(a->topics->error_code, 0);
        ck_assert_int_eq(look_at("every.one")->partitions_n, 3);
        js("$JS.API.STREAM.INFO.every=2Eone=p2", "", "\"subjects\":[\"every.one.2\"]");
        if (version < 6) {
            ck_assert_int_eq(remove_topic("every.one"), 0);
        } else {
            struct kafka_delete_topics_request *q = KAFKA_NEW(&client.arena, delete_topics_request,
                                                              1);
            const struct kafka_delete_topics_response *d;
            q->topics = KAFKA_NEW(&client.arena, delete_topics_request_topics, q->topics_n = 1);
            q->topics->topic_id = look_at("every.one")->topic_id;
            d = CALL(KAFKA_DELETE_TOPICS, 6, q);
            ck_assert_int_eq(d->responses->error_code, 0);
            ck_assert(str_eq(d->responses->name, STR("every.one")));
        }
        ck_assert_int_eq(look_at("every.one")->error_code, 3);
        js("$JS.API.STREAM.NAMES", "", "\"total\":0");
    }
    teardown();
}

struct refusal {
    const char *name;
    int32_t partitions;
    int16_t replicas;
    const char *config, *value;
    int error;
};

static const struct refusal refusals[] = {
    {"", 1, 1, NULL, NULL, 17},
    {".", 1, 1, NULL, NULL, 17},
    {"..", 1, 1, NULL, NULL, 17},
    {"a b", 1, 1, NULL, NULL, 17},
    {"a=p1", 1, 1, NULL, NULL, 17},
    {"there", 1, 1, NULL, NULL, 36},
    {"n", 0, 1, NULL, NULL, 37},
    {"n", -2, 1, NULL, NULL, 37},
    {"n", 1025, 1, NULL, NULL, 37},
    {"n", 1, 0, NULL, NULL, 38},
    {"n", 1, -2, NULL, NULL, 38},
    {"n", 1, 1, "no.such", "1", 40},
    {"n", 1, 1, "retention.ms", "x", 40},
    {"n", 1, 1, "retention.ms", "-2", 40},
    {"n", 1, 1, "retention.ms", "", 40},
    {"n", 1, 1, "segment.bytes", "99999999999", 40},
    {"n", 1, 1, "cleanup.policy", "delet", 40},
    {"n", 1, 1, "cleanup.policy", NULL, 40},
    {"n", 1, 1, "preallocate", "yes", 40},
    {"n", 1, 1, "min.cleanable.dirty.ratio", "half", 40},
};

TEST(what_is_not_created)
{
    setup();
    ck_assert_int_eq(create("there", 1), 0);
    for (size_t k = 0; k < sizeof(refusals) / sizeof(refusals[0]); k++) {
        const struct refusal *f = &refusals[k];
        struct kafka_create_topics_request *q = wish(f->name, f->partitions);
        const struct kafka_create_topics_response *a;
        q->topics->replication_factor = f->replicas;
        if (f->config != NULL) {
            q->topics->configs = KAFKA_NEW(&client.arena, create_topics_request_configs, 1);
            q->topics->configs_n = 1;
            q->topics->configs->name = str_of(f->config);
            q->topics->configs->value = str_of(f->value);
        }
        a = CALL(KAFKA_CREATE_TOPICS, 7, q);
        ck_assert_msg(a->topics->error_code == f->error, "%s %d %s=%s: %d", f->name, f->partitions,
                      f->config, f->value, a->topics->error_code);
        ck_assert_uint_gt(a->topics->error_message.n, 0);
    }
    js("$JS.API.STREAM.NAMES", "", "\"total\":1");
    ck_assert_int_eq(remove_topic("n"), 3);
    teardown();
}

TEST(validate_only_makes_nothing)
{
    struct kafka_create_topics_request *q;
    const struct kafka_create_topics_response *a;

    setup();
    q = wish("v", -1);
    q->topics->replication_factor = -1;
    q->validate_only = true;
    a = CALL(KAFKA_CREATE_TOPICS, 5, q);
    ck_assert_int_eq(a->topics->error_code, 0);
    ck_assert_int_eq(a->topics->num_partitions, 1);
    ck_assert_int_eq(look_at("v")->error_code, 3);
    teardown();
}

/* A new topic of the same name is another one. */
TEST(ids)
{
    struct kafka_uuid first, plain;

    setup();
    ck_assert_int_eq(create("i", 2), 0);
    first = look_at("i")->topic_id;
    js("$JS.API.STREAM.CREATE.plain", "{\"name\":\"plain\"}", "did_create");
    plain = look_at("plain")->topic_id;
    ck_assert(!kafka_uuid_is_none(&first) && !kafka_uuid_is_none(&plain));
    restart();
    ck_assert_mem_eq(&look_at("i")->topic_id, &first, 16);
    ck_assert_int_eq(look_at("i")->partitions_n, 2);
    ck_assert_mem_eq(&look_at("plain")->topic_id, &plain, 16);
    ck_assert_int_eq(remove_topic("i"), 0);
    ck_assert_int_eq(create("i", 2), 0);
    ck_assert_mem_ne(&look_at("i")->topic_id, &first, 16);
    teardown();
}

/* ---- streams that NATS clients made ---------------------------------------------------------- */

TEST(which_streams_are_topics)
{
    setup();
    js("$JS.API.STREAM.CREATE.a=2Eb", "{\"name\":\"a=2Eb\",\"subjects\":[\"x.>\"]}", "did_create");
    js("$JS.API.STREAM.CREATE.work",
       "{\"name\":\"work\",\"subjects\":[\"w\"],\"retention\":\"workqueue\"}", "did_create");
    js("$JS.API.STREAM.CREATE.a=3", "{\"name\":\"a=3\",\"subjects\":[\"y\"]}", "did_create");
    js("$JS.API.STREAM.CREATE.b=p1", "{\"name\":\"b=p1\",\"subjects\":[\"z\"]}", "did_create");
    ck_assert_int_eq(look_at("a.b")->partitions_n, 1);
    ck_assert_int_eq(look_at("a.b")->partitions->leader_id, 1);
    ck_assert_int_eq(look_at("work")->error_code, 3);
    ck_assert_int_eq(look_at("a")->error_code, 3);
    ck_assert_int_eq(look_at("b")->error_code, 3);
    js("$JS.API.STREAM.DELETE.a=2Eb", "", "\"success\":true");
    ck_assert_int_eq(look_at("a.b")->error_code, 3);
    teardown();
}

TEST(a_subject_that_is_taken)
{
    setup();
    js("$JS.API.STREAM.CREATE.all", "{\"name\":\"all\",\"subjects\":[\"o.>\"]}", "did_create");
    ck_assert_int_eq(create("o.x", 1), 17);
    /* Of several partitions none stays. */
    ck_assert_int_eq(create("o", 4), 17);
    js("$JS.API.STREAM.NAMES", "", "\"total\":1");
    teardown();
}

/* What a crash leaves of a deletion has messages; a new topic has none of them. */
TEST(leftovers_are_swept)
{
    setup();
    js("$JS.API.STREAM.CREATE.l=p1",
       "{\"name\":\"l=p1\",\"subjects\":[\"l.1\"],\"metadata\":{\"kafka.partition\":\"1\"}}",
       "did_create");
    js("$JS.API.STREAM.CREATE.l=p7",
       "{\"name\":\"l=p7\",\"subjects\":[\"l.7\"],\"metadata\":{\"kafka.partition\":\"7\"}}",
       "did_create");
    js("l.1", "old", "\"seq\":1");
    ck_assert_int_eq(look_at("l")->error_code, 3);
    ck_assert_int_eq(create("l", 2), 0);
    js("$JS.API.STREAM.INFO.l=p1", "", "\"messages\":0");
    js("$JS.API.STREAM.NAMES", "", "\"total\":2");
    teardown();
}

/* ---- partitions ------------------------------------------------------------------------------ */

static int grow_to(const char *name, int32_t count, int32_t node, int32_t assigned)
{
    struct kafka_create_partitions_request *q = KAFKA_NEW(&client.arena, create_partitions_request,
                                                          1);
    const struct kafka_create_partitions_response *a;

    q->topics = KAFKA_NEW(&client.arena, create_partitions_request_topics, q->topics_n = 1);
    q->topics->name = str_of(name);
    q->topics->count = count;
    q->topics->assignments = KAFKA_NEW(&client.arena, create_partitions_request_assignments, 8);
    q->topics->assignments_n = assigned;
    for (int32_t i = 0; i < assigned; i++) {
        q->topics->assignments[i].broker_ids = &node;
        q->topics->assignments[i].broker_ids_n = 1;
    }
    a = CALL(KAFKA_CREATE_PARTITIONS, 3, q);
    ck_assert_int_eq(a->results_n, 1);
    ck_assert(str_eq(a->results->name, str_of(name)));
    return a->results->error_code;
}

static int grow(const char *name, int32_t count)
{
    return grow_to(name, count, 0, -1);
}

TEST(topics_grow_where_it_is_said)
{
    setup();
    ck_assert_int_eq(create("g", 1), 0);
    ck_assert_int_eq(grow_to("g", 3, 10, 2), 39);
    ck_assert_int_eq(grow_to("g", 3, 1, 1), 39);
    ck_assert_int_eq(look_at("g")->partitions_n, 1);
    ck_assert_int_eq(grow_to("g", 3, 1, 2), 0);
    ck_assert_int_eq(look_at("g")->partitions_n, 3);
    teardown();
}

TEST(topics_grow)
{
    setup();
    ck_assert_int_eq(create("g", 1), 0);
    js("g", "before", "\"seq\":1");
    ck_assert_int_eq(grow("g", 1), 37);
    ck_assert_int_eq(grow("g", 0), 37);
    ck_assert_int_eq(grow("g", 5000), 37);
    ck_assert_int_eq(grow("none", 5), 3);
    ck_assert_int_eq(grow("g", 4), 0);
    ck_assert_int_eq(look_at("g")->partitions_n, 4);
    js("g.0", "behind", "\"seq\":2");
    js("g.3", "new", "\"seq\":1");
    restart();
    ck_assert_int_eq(look_at("g")->partitions_n, 4);
    ck_assert_int_eq(look_at("g")->partitions[3].error_code, 0);
    js("$JS.API.STREAM.CREATE.own", "{\"name\":\"own\",\"subjects\":[\"own.>\"]}", "did_create");
    ck_assert_int_eq(grow("own", 2), 37);
    teardown();
}

/* ---- configurations -------------------------------------------------------------------------- */

static struct str config_of(const char *topic, const char *name, int8_t *source)
{
    struct kafka_describe_configs_request *q = KAFKA_NEW(&client.arena, describe_configs_request,
                                                         1);
    struct str keys[1] = {str_of(name)};
    const struct kafka_describe_configs_response *a;

    q->resources = KAFKA_NEW(&client.arena, describe_configs_request_resources, 1);
    q->resources_n = 1;
    q->resources->resource_type = 2;
    q->resources->resource_name = str_of(topic);
    q->resources->configuration_keys = keys;
    q->resources->configuration_keys_n = 1;
    a = CALL(KAFKA_DESCRIBE_CONFIGS, 4, q);
    ck_assert_int_eq(a->results->error_code, 0);
    ck_assert_int_eq(a->results->configs_n, 1);
    *source = a->results->configs->config_source;
    return a->results->configs->value;
}

static void expect_config(const char *topic, const char *name, const char *value, int source)
{
    int8_t has;
    struct str s = config_of(topic, name, &has);

    ck_assert_msg(str_eq(s, str_of(value)), "%s is %.*s", name, STR_ARG(s));
    ck_assert_int_eq(has, source);
}

static int increment(const char *topic, const char *name, int8_t op, const char *value)
{
    struct kafka_incremental_alter_configs_request *q =
        KAFKA_NEW(&client.arena, incremental_alter_configs_request, 1);
    const struct kafka_incremental_alter_configs_response *a;

    q->resources = KAFKA_NEW(&client.arena, incremental_alter_configs_request_resources, 1);
    q->resources_n = 1;
    q->resources->resource_type = 2;
    q->resources->resource_name = str_of(topic);
    q->resources->configs = KAFKA_NEW(&client.arena, incremental_alter_configs_request_configs, 1);
    q->resources->configs_n = 1;
    q->resources->configs->name = str_of(name);
    q->resources->configs->config_operation = op;
    q->resources->configs->value = str_of(value);
    a = CALL(KAFKA_INCREMENTAL_ALTER_CONFIGS, 1, q);
    return a->responses->error_code;
}

TEST(configurations)
{
    setup();
    ck_assert_int_eq(create("c", 2), 0);
    expect_config("c", "retention.ms", "604800000", 5);
    ck_assert_int_eq(increment("c", "retention.ms", 0, "3600000"), 0);
    expect_config("c", "retention.ms", "3600000", 1);
    js("$JS.API.STREAM.INFO.c=p1", "", "\"max_age\":3600000000000");
    ck_assert_int_eq(increment("c", "segment.ms", 0, "5000"), 0);
    expect_config("c", "segment.ms", "5000", 1);
    ck_assert_int_eq(increment("c", "cleanup.policy", 2, "compact"), 0);
    expect_config("c", "cleanup.policy", "delete,compact", 1);
    ck_assert_int_eq(increment("c", "cleanup.policy", 3, "compact"), 0);
    expect_config("c", "cleanup.policy", "delete", 5);
    ck_assert_int_eq(increment("c", "segment.ms", 2, "1"), 40);
    ck_assert_int_eq(increment("c", "no.such", 0, "1"), 40);
    ck_assert_int_eq(increment("c", "segment.ms", 9, "1"), 42);
    ck_assert_int_eq(increment("none", "segment.ms", 0, "1"), 3);
    restart();
    expect_config("c", "retention.ms", "3600000", 1);
    expect_config("c", "segment.ms", "5000", 1);
    ck_assert_int_eq(increment("c", "segment.ms", 1, NULL), 0);
    expect_config("c", "segment.ms", "604800000", 5);
    js("$JS.API.STREAM.CREATE.nats", "{\"name\":\"nats\"}", "did_create");
    expect_config("nats", "retention.ms", "-1", 1);
    teardown();
}

static const struct kafka_describe_configs_response_configs *described(int8_t type,
                                                                       const char *resource,
                                                                       const char *name)
{
    struct kafka_describe_configs_request *q = KAFKA_NEW(&client.arena, describe_configs_request,
                                                         1);
    const struct kafka_describe_configs_response *a;

    q->resources = KAFKA_NEW(&client.arena, describe_configs_request_resources, 1);
    q->resources_n = 1;
    q->resources->resource_type = type;
    q->resources->resource_name = str_of(resource);
    q->include_synonyms = q->include_documentation = true;
    a = CALL(KAFKA_DESCRIBE_CONFIGS, 4, q); /* no names: all there are */
    ck_assert_int_eq(a->results->error_code, 0);
    ck_assert_ptr_null(a->results->error_message.p);
    for (int32_t i = 0; i < a->results->configs_n; i++)
        if (str_eq(a->results->configs[i].name, str_of(name)))
            return &a->results->configs[i];
    ck_abort_msg("%s is not there", name);
}

TEST(configurations_of_the_broker)
{
    const struct kafka_describe_configs_response_configs *c;
    char want[64];

    setup();
    snprintf(want, sizeof(want), "PLAINTEXT://127.0.0.1:%d", server.kafka_port);
    c = described(4, "1", "advertised.listeners");
    ck_assert_msg(str_eq(c->value, str_of(want)), "%.*s", STR_ARG(c->value));
    ck_assert(c->read_only && c->config_source == 4 && c->documentation.n > 0);
    ck_assert_int_eq(c->config_type, 7);
    c = described(4, "1", "group.min.session.timeout.ms");
    ck_assert(str_eq(c->value, STR("6000")));
    ck_assert_int_eq(c->synonyms_n, 1);
    teardown();
}

TEST(synonyms)
{
    const struct kafka_describe_configs_response_configs *c;

    setup();
    ck_assert_int_eq(create("c", 1), 0);
    ck_assert_int_eq(increment("c", "segment.ms", 0, "5000"), 0);
    c = described(2, "c", "segment.ms");
    ck_assert_int_eq(c->synonyms_n, 2);
    ck_assert(str_eq(c->synonyms[0].value, STR("5000")) && c->synonyms[0].source == 1);
    ck_assert(str_eq(c->synonyms[1].value, STR("604800000")) && c->synonyms[1].source == 5);
    ck_assert_int_eq(described(2, "c", "compression.type")->synonyms_n, 1);
    ck_assert_int_eq(described(2, "c", "retention.ms")->synonyms_n, 0);
    teardown();
}

/* A topic that deletes nothing keeps what it was told about age and size for when it does. */
TEST(retention_of_a_compacted_topic)
{
    setup();
    ck_assert_int_eq(create("c", 2), 0);
    ck_assert_int_eq(increment("c", "retention.bytes", 0, "1000000"), 0);
    ck_assert_int_eq(increment("c", "cleanup.policy", 0, "compact"), 0);
    expect_config("c", "retention.bytes", "1000000", 1);
    expect_config("c", "retention.ms", "604800000", 5);
    for (int k = 0; k < 2; k++) {
        const char *const info[] = {"$JS.API.STREAM.INFO.c", "$JS.API.STREAM.INFO.c=p1"};
        js(info[k], "", "\"max_bytes\":-1,");
        js(info[k], "", "\"max_age\":0,");
    }
    ck_assert_int_eq(increment("c", "retention.ms", 0, "3600000"), 0);
    js("$JS.API.STREAM.INFO.c=p1", "", "\"max_age\":0,");
    restart();
    expect_config("c", "retention.ms", "3600000", 1);
    ck_assert_int_eq(increment("c", "cleanup.policy", 2, "delete"), 0);
    expect_config("c", "retention.ms", "3600000", 1);
    js("$JS.API.STREAM.INFO.c=p1", "", "\"max_age\":3600000000000,");
    js("$JS.API.STREAM.INFO.c=p1", "", "\"max_bytes\":1000000,");
    js("$JS.API.STREAM.INFO.c", "", "\"max_bytes\":1000000,");
    ck_assert_int_eq(increment("c", "cleanup.policy", 0, "compact"), 0);
    ck_assert_int_eq(increment("c", "retention.bytes", 1, NULL), 0);
    ck_assert_int_eq(increment("c", "cleanup.policy", 1, NULL), 0); /* the default: delete */
    expect_config("c", "retention.bytes", "-1", 5);
    js("$JS.API.STREAM.INFO.c", "", "\"max_age\":3600000000000,");
    js("$JS.API.STREAM.INFO.c", "", "\"max_bytes\":-1,");
    teardown();
}

/* Shorter than the window for duplicates, which follows, there and back. */
TEST(short_retention)
{
    static const struct {
        const char *set, *is, *stream;
    } table[] = {
        {"10000", "10000", "\"duplicate_window\":10000000000,"},
        {"5000", "5000", "\"duplicate_window\":5000000000,"},
        {"1", "100", "\"duplicate_window\":100000000,"},
        {"3600000", "3600000", "\"duplicate_window\":120000000000,"},
        {"-1", "-1", "\"duplicate_window\":120000000000,"},
    };

    setup();
    ck_assert_int_eq(create("c", 1), 0);
    for (size_t k = 0; k < sizeof(table) / sizeof(table[0]); k++) {
        ck_assert_int_eq(increment("c", "retention.ms", 0, table[k].set), 0);
        expect_config("c", "retention.ms", table[k].is, 1);
        js("$JS.API.STREAM.INFO.c", "", table[k].stream);
    }
    teardown();
}

/* ---- records --------------------------------------------------------------------------------- */

static int cut(const char *topic, int32_t partition, int64_t offset, int64_t *low)
{
    struct kafka_delete_records_request *q = KAFKA_NEW(&client.arena, delete_records_request, 1);
    const struct kafka_delete_records_response *a;

    q->topics = KAFKA_NEW(&client.arena, delete_records_request_topics, q->topics_n = 1);
    q->topics->name = str_of(topic);
    q->topics->partitions = KAFKA_NEW(&client.arena, delete_records_request_partitions, 1);
    q->topics->partitions_n = 1;
    q->topics->partitions->partition_index = partition;
    q->topics->partitions->offset = offset;
    a = CALL(KAFKA_DELETE_RECORDS, 2, q);
    *low = a->topics->partitions->low_watermark;
    return a->topics->partitions->error_code;
}

/* As many topics as fit into a request take as long as they are many. */
TEST(records_of_very_many_topics)
{
    enum { MANY = 400000 };
    static struct kafka_delete_records_request_partitions p;
    struct kafka_delete_records_request_topics *t = calloc(MANY, sizeof(*t));
    const struct kafka_delete_records_response *a;

    setup();
    for (int k = 0; k < MANY; k++)
        t[k] = (struct kafka_delete_records_request_topics){STR("none"), &p, 1};
    a = KAFKA_CALL(&client, delete_records, DELETE_RECORDS, 2, .topics = t, .topics_n = MANY);
    ck_assert_int_eq(a->topics_n, MANY);
    for (int k = 0; k < MANY; k++)
        ck_assert_int_eq(a->topics[k].partitions->error_code, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    free(t);
    teardown();
}

/* Of a topic that a request names twice nothing is done. */
TEST(named_twice)
{
    struct str names[] = {STR("a"), STR("b"), STR("a")};
    struct kafka_create_topics_request_topics made[3];
    struct kafka_create_partitions_request_topics grown[3];
    struct kafka_delete_topics_request_topics gone[3];
    const struct kafka_create_topics_response *c;
    const struct kafka_create_partitions_response *g;
    const struct kafka_delete_topics_response *d;

    setup();
    ck_assert_int_eq(create("a", 1), 0);
    for (int k = 0; k < 3; k++) {
        made[k] = (struct kafka_create_topics_request_topics){
            .name = names[k], .num_partitions = 1, .replication_factor = 1};
        grown[k] = (struct kafka_create_partitions_request_topics){
            .name = names[k], .count = 2, .assignments_n = -1};
        gone[k] = (struct kafka_delete_topics_request_topics){.name = names[k]};
    }
    c = KAFKA_CALL(&client, create_topics, CREATE_TOPICS, 4, .topics = made, .topics_n = 3,
                   .timeout_ms = 60000);
    g = KAFKA_CALL(&client, create_partitions, CREATE_PARTITIONS, 1, .topics = grown, .topics_n = 3,
                   .timeout_ms = 60000);
    for (int k = 0; k < 3; k++) {
        int16_t want = k == 1 ? KAFKA_NONE : KAFKA_INVALID_REQUEST;
        ck_assert_int_eq(c->topics[k].error_code, want);
        ck_assert_int_eq(g->results[k].error_code, want);
    }
    for (int v = 5; v <= 6; v++) {
        d = KAFKA_CALL(&client, delete_topics, DELETE_TOPICS, v, .topics = gone, .topics_n = 3,
                       .topic_names = names, .topic_names_n = 3, .timeout_ms = 60000);
        for (int k = 0; k < 3; k++)
            ck_assert_int_eq(d->responses[k].error_code, k != 1 ? KAFKA_INVALID_REQUEST
                                                         : v == 5
                                                             ? KAFKA_NONE
                                                             : KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    }
    teardown();
}

/* The configuration of a topic is altered once, and room is kept for what there is of them. */
TEST(altered_twice)
{
    enum { MANY = 300000 };
    struct kafka_alter_configs_request_resources *q = calloc(MANY, sizeof(*q));
    struct kafka_incremental_alter_configs_request_resources inc[2];
    const struct kafka_incremental_alter_configs_response *x;
    const struct kafka_alter_configs_response *a;
    static char names[MANY][8];
    int refused = 0;

    setup();
    ck_assert_int_eq(create("a", 1), 0);
    for (int k = 0; k < MANY; k++) {
        snprintf(names[k], sizeof(names[k]), "%d", k);
        q[k] = (struct kafka_alter_configs_request_resources){
            .resource_type = 2, .resource_name = k < 2 ? STR("a") : str_of(names[k])};
    }
    a = KAFKA_CALL(&client, alter_configs, ALTER_CONFIGS, 1, .resources = q, .resources_n = MANY);
    ck_assert_int_eq(a->responses[0].error_code, KAFKA_NONE);
    ck_assert_int_eq(a->responses[1].error_code, KAFKA_INVALID_REQUEST);
    for (int k = 2; k < MANY; k++)
        refused += a->responses[k].error_code == KAFKA_INVALID_REQUEST;
    ck_assert_int_gt(refused, 0);
    ck_assert_int_lt(refused, MANY - 2);
    for (int k = 0; k < 2; k++)
        inc[k] = (struct kafka_incremental_alter_configs_request_resources){
            .resource_type = 2, .resource_name = STR("a")};
    x = KAFKA_CALL(&client, incremental_alter_configs, INCREMENTAL_ALTER_CONFIGS, 0,
                   .resources = inc, .resources_n = 2);
    ck_assert_int_eq(x->responses[0].error_code, KAFKA_NONE);
    ck_assert_int_eq(x->responses[1].error_code, KAFKA_INVALID_REQUEST);
    free(q);
    teardown();
}

/* Names are compared in a time that goes with their number. */
TEST(very_many_names)
{
    enum { MANY = 300000 };
    struct kafka_create_topics_request_topics *t = calloc(MANY, sizeof(*t));
    static char names[MANY][8];
    const struct kafka_create_topics_response *a;

    setup();
    for (int k = 0; k < MANY; k++) {
        snprintf(names[k], sizeof(names[k]), "%06d", k);
        t[k] = (struct kafka_create_topics_request_topics){
            .name = str_of(names[k]), .num_partitions = -2, .replication_factor = 1};
    }
    a = KAFKA_CALL(&client, create_topics, CREATE_TOPICS, 4, .topics = t, .topics_n = MANY,
                   .timeout_ms = 60000);
    for (int k = 0; k < MANY; k++)
        ck_assert_int_eq(a->topics[k].error_code, KAFKA_INVALID_PARTITIONS);
    free(t);
    teardown();
}

TEST(records_are_deleted)
{
    int64_t low;

    setup();
    ck_assert_int_eq(create("d", 1), 0);
    for (int k = 0; k < 5; k++)
        js("d", "x", "\"stream\":\"d\"");
    ck_assert_int_eq(cut("d", 0, 2, &low), 0);
    ck_assert_int_eq(low, 2);
    js("$JS.API.STREAM.INFO.d", "", "\"first_seq\":3");
    ck_assert_int_eq(cut("d", 0, 1, &low), 0);
    ck_assert_int_eq(low, 2);
    ck_assert_int_eq(cut("d", 0, 6, &low), 1);
    ck_assert_int_eq(cut("d", 0, -2, &low), 1);
    ck_assert_int_eq(cut("d", 1, 0, &low), 3);
    ck_assert_int_eq(cut("d", 0, -1, &low), 0);
    ck_assert_int_eq(low, 5);
    js("$JS.API.STREAM.INFO.d", "", "\"messages\":0");
    teardown();
}

/* ---- Metadata -------------------------------------------------------------------------------- */

TEST(metadata_of_every_version)
{
    setup();
    ck_assert_int_eq(create("m", 2), 0);
    for (int version = 0; version <= 12; version++) {
        struct kafka_metadata_request *q = KAFKA_NEW(&client.arena, metadata_request, 1);
        const struct kafka_metadata_response *a;
        q->topics_n = version == 0 ? 0 : -1;
        a = CALL(KAFKA_METADATA, version, q);
        ck_assert_int_eq(a->brokers_n, 1);
        ck_assert_int_eq(a->brokers->port, server.kafka_port);
        ck_assert(str_eq(a->brokers->host, STR("127.0.0.1")));
        ck_assert_int_eq(a->topics_n, 1);
        ck_assert_int_eq(a->topics->partitions_n, 2);
        if (version == 0)
            continue;
        q->topics_n = 0;
        a = CALL(KAFKA_METADATA, version, q);
        ck_assert_int_eq(a->topics_n, 0);
        ck_assert_int_eq(a->controller_id, 1);
    }
    teardown();
}

TEST(topics_are_made_on_demand)
{
    struct kafka_metadata_request *q;
    const struct kafka_metadata_response *a;

    setup();
    q = KAFKA_NEW(&client.arena, metadata_request, 1);
    q->topics = KAFKA_NEW(&client.arena, metadata_request_topics, q->topics_n = 3);
    q->topics[0].name = STR("one");
    q->topics[1].name = STR("bad name");
    q->topics[2].name = STR("two");
    a = CALL(KAFKA_METADATA, 9, q);
    ck_assert_int_eq(a->topics[0].error_code, 0);
    ck_assert_int_eq(a->topics[1].error_code, 17);
    ck_assert_int_eq(a->topics[2].error_code, 0);
    q->allow_auto_topic_creation = false;
    q->topics[0].name = STR("three");
    a = CALL(KAFKA_METADATA, 9, q);
    ck_assert_int_eq(a->topics[0].error_code, 3);
    q->topics_n = 1;
    q->topics->name = STR_NONE;
    q->topics->topic_id.bytes[3] = 1;
    a = CALL(KAFKA_METADATA, 12, q);
    ck_assert_int_eq(a->topics[0].error_code, 100);
    teardown();
}

/* Three clients make the same topic at the same time, and it has all of its partitions. */
TEST(made_by_several)
{
    struct kafka_client others[2];
    char name[16];

    setup();
    for (int k = 0; k < 2; k++)
        kafka_client_open(&others[k], server.kafka_port);
    for (int k = 0; k < 20; k++) {
        int made = 0;
        snprintf(name, sizeof(name), "t%d", k);
        for (int n = 0; n < 2; n++)
            kafka_client_send(&others[n], KAFKA_CREATE_TOPICS, 5, wish(name, 4));
        made += create(name, 4) == 0;
        for (int n = 0; n < 2; n++) {
            const struct kafka_create_topics_response *a =
                kafka_client_take(&others[n], KAFKA_CREATE_TOPICS, 5);
            ck_assert(a->topics->error_code == 0 || a->topics->error_code == 36);
            made += a->topics->error_code == 0;
        }
        ck_assert_int_eq(made, 1);
        ck_assert_int_eq(look_at(name)->partitions_n, 4);
        for (int n = 0; n < 4; n++)
            ck_assert_int_eq(look_at(name)->partitions[n].error_code, 0);
    }
    for (int k = 0; k < 2; k++)
        kafka_client_close(&others[k]);
    teardown();
}

/* Another client alters the topic while it grows: it keeps its partitions, and the new value. */
TEST(altered_while_it_grows)
{
    struct kafka_client other;
    char name[16], value[16];

    setup();
    kafka_client_open(&other, server.kafka_port);
    for (int k = 0; k < 20; k++) {
        snprintf(name, sizeof(name), "t%d", k);
        snprintf(value, sizeof(value), "%d", 100000 + k);
        struct kafka_incremental_alter_configs_request_configs c = {.name = STR("retention.ms"),
                                                                    .value = str_of(value)};
        struct kafka_incremental_alter_configs_request_resources r = {
            .resource_type = 2, .resource_name = str_of(name), .configs = &c, .configs_n = 1};
        struct kafka_create_partitions_request_topics t = {
            .name = str_of(name), .count = 4, .assignments_n = -1};
        const struct kafka_incremental_alter_configs_response *a;
        ck_assert_int_eq(create(name, 2), 0);
        kafka_client_send(
            &other, KAFKA_INCREMENTAL_ALTER_CONFIGS, 0,
            &(struct kafka_incremental_alter_configs_request){.resources = &r, .resources_n = 1});
        const struct kafka_create_partitions_response *grown =
            KAFKA_CALL(&client, create_partitions, CREATE_PARTITIONS, 1, .topics = &t,
                       .topics_n = 1, .timeout_ms = 1000);
        ck_assert_int_eq(grown->results->error_code, 0);
        a = kafka_client_take(&other, KAFKA_INCREMENTAL_ALTER_CONFIGS, 0);
        ck_assert_int_eq(a->responses->error_code, 0);
        ck_assert_int_eq(look_at(name)->partitions_n, 4);
    }
    kafka_client_close(&other);
    teardown();
}

/* What is asked for many times is answered once. */
TEST(once_is_enough)
{
    struct kafka_metadata_request *q;
    struct kafka_describe_configs_request *d;
    const struct kafka_metadata_response *a;

    setup();
    q = KAFKA_NEW(&client.arena, metadata_request, 1);
    q->topics = KAFKA_NEW(&client.arena, metadata_request_topics, q->topics_n = 1000);
    for (int k = 0; k < 1000; k++)
        q->topics[k].name = k % 3 == 0 ? STR("one") : k % 3 == 1 ? STR("two") : STR("bad name");
    a = CALL(KAFKA_METADATA, 9, q);
    ck_assert_int_eq(a->topics_n, 3);
    ck_assert(str_eq(a->topics[0].name, STR("one")));
    ck_assert(str_eq(a->topics[1].name, STR("two")));
    ck_assert_int_eq(a->topics[2].error_code, 17);
    q->topics_n = 2;
    q->topics[0].name = q->topics[1].name = STR_NONE;
    q->topics[0].topic_id = q->topics[1].topic_id = a->topics[0].topic_id;
    a = CALL(KAFKA_METADATA, 12, q);
    ck_assert_int_eq(a->topics_n, 1);
    d = KAFKA_NEW(&client.arena, describe_configs_request, 1);
    d->resources = KAFKA_NEW(&client.arena, describe_configs_request_resources, d->resources_n = 4);
    for (int k = 0; k < 4; k++) {
        d->resources[k].resource_type = k < 2 ? 2 : 4;
        d->resources[k].resource_name = k < 2 ? STR("one") : STR("1");
        d->resources[k].configuration_keys_n = -1;
    }
    ck_assert_int_eq(
        ((const struct kafka_describe_configs_response *) CALL(KAFKA_DESCRIBE_CONFIGS, 2, d))
            ->results_n,
        2);
    teardown();
}

static const struct runner_case cases[] = {
    RUN(every_version_creates_and_deletes),
    RUN(records_of_very_many_topics),
    RUN(named_twice),
    RUN(altered_twice),
    RUN(very_many_names),
    RUN(what_is_not_created),
    RUN(validate_only_makes_nothing),
    RUN(ids),
    RUN(which_streams_are_topics),
    RUN(a_subject_that_is_taken),
    RUN(leftovers_are_swept),
    RUN(topics_grow),
    RUN(topics_grow_where_it_is_said),
    RUN(configurations),
    RUN(configurations_of_the_broker),
    RUN(synonyms),
    RUN(retention_of_a_compacted_topic),
    RUN(short_retention),
    RUN(records_are_deleted),
    RUN(metadata_of_every_version),
    RUN(topics_are_made_on_demand),
    RUN(made_by_several),
    RUN(altered_while_it_grows),
    RUN(once_is_enough),
};

RUNNER_MAIN("api/kafka_topics", cases)
