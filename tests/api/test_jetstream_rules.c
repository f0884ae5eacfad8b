/*
 * test_jetstream_rules.c - what a consumer's configuration may say: every rule with the error it
 * gives, what pedantic requests are refused for, and the defaults of the others.
 *
 * The same program passes against nats-server 2.15.1 (a script in place of bin/midge-server).
 */
#include "lib/base/assert.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPLICIT "\"ack_policy\":\"explicit\""
#define PUSH "\"deliver_subject\":\"out\""
#define FLOW                                                                                       \
    PUSH ",\"ack_policy\":\"flow_control\",\"flow_control\":true,"                                 \
         "\"idle_heartbeat\":1000000000,\"max_ack_pending\":10"
#define A_SECOND "1000000000"

struct rule {
    const char *config; /* fields of an ephemeral consumer */
    unsigned code;
    const char *text; /* of the description, or NULL */
};

static void ask_consumer(struct js_rig *r, const char *stream, const char *config, const char *more,
                         const char *want)
{
    char body[8192], subject[64];

    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.CREATE.%s", stream);
    snprintf(body, sizeof(body), "{\"stream_name\":\"%s\",\"config\":{%s}%s}", stream, config,
             more);
    js_ask(r, subject, body, want);
}

static void check_rules(struct js_rig *r, const char *stream, const struct rule *rules, size_t n,
                        const char *more)
{
    char want[512];

    for (size_t i = 0; i < n; i++) {
        if (rules[i].text != NULL)
            snprintf(want, sizeof(want), "\"err_code\":%u,\"description\":\"%s\"", rules[i].code,
                     rules[i].text);
        else
            snprintf(want, sizeof(want), "\"err_code\":%u,", rules[i].code);
        ask_consumer(r, stream, rules[i].config, more, want);
    }
}

static void start(struct js_rig *r, int i)
{
    js_rig_start(r, i);
    js_stream(r, "[\"s.*\"]", "");
}

/* ---- rules ----------------------------------------------------------------------------------- */

TEST(every_rule_has_its_error)
{
    static const struct rule rules[] = {
        {"\"name\":\"a.b\"", 10052,
         "consumer name can not contain '.', '*', '\\u003e', '\\\\', '/'"},
        {"\"name\":\"a/b\"", 10127, NULL},
        {"\"durable_name\":\"d\"", 10020, NULL},
        {"\"num_replicas\":3", 10074, NULL},
        {"\"num_replicas\":-1", 10133, NULL},
        {EXPLICIT ",\"backoff\":[-1]", 10184, NULL},
        {EXPLICIT ",\"ack_wait\":-1", 10183, NULL},
        {EXPLICIT ",\"backoff\":[1,2,3],\"max_deliver\":2", 10116, NULL},
        {PUSH ",\"deliver_subject\":\"out.*\"", 10079, NULL},
        {"\"deliver_subject\":\"out..x\"", 10112, NULL},
        {"\"deliver_subject\":\"s.x\"", 10081, NULL},
        {PUSH ",\"max_waiting\":1", 10080, NULL},
        {PUSH ",\"max_ack_pending\":1", 10082, NULL},
        {PUSH ",\"idle_heartbeat\":1000000", 10083, NULL},
        {PUSH ",\"flow_control\":true", 10108, NULL},
        {EXPLICIT ",\"rate_limit_bps\":1000", 10086, NULL},
        {EXPLICIT ",\"idle_heartbeat\":" A_SECOND, 10088, NULL},
        {EXPLICIT ",\"flow_control\":true", 10089, NULL},
        {EXPLICIT ",\"max_expires\":1000", 10115, NULL},
        {"\"direct\":true", 10090, NULL},
        {"\"filter_subject\":\"s.a\",\"filter_subjects\":[\"s.b\"]", 10136, NULL},
        {"\"filter_subject\":\"s..a\"", 10052, "invalid subject"},
        {"\"filter_subjects\":[\"s.a\",\"\"]", 10139, NULL},
        {"\"filter_subjects\":[\"s.a\",\"s.*\"]", 10138, NULL},
        {"\"filter_subjects\":[\"s.a\",\"s..b\"]", 10052, "invalid subject"},
        {"\"sample_freq\":\"x%\"", 10095,
         "failed to parse consumer sampling configuration: strconv.Atoi: parsing \\\"x\\\": "
         "invalid "
         "syntax"},
        {"\"sample_freq\":\"-5\"", 10095, NULL},
        {"\"ack_policy\":\"some\"", 10025, NULL},
        {"\"replay_policy\":\"some\"", 10025, NULL},
        {"\"priority_groups\":[\"A\"]", 10196, NULL},
        {"\"priority_timeout\":1000", 10197, NULL},
        {"\"priority_policy\":\"overflow\"", 10159, NULL},
        {PUSH ",\"priority_policy\":\"overflow\",\"priority_groups\":[\"A\"]", 10178, NULL},
        {"\"priority_policy\":\"overflow\",\"priority_groups\":[\"\"]", 10161, NULL},
        {"\"priority_policy\":\"overflow\",\"priority_groups\":[\"a b\"]", 10162, NULL},
        {"\"ack_policy\":\"flow_control\"", 10218, NULL},
        {PUSH ",\"ack_policy\":\"flow_control\",\"max_ack_pending\":-1", 10220, NULL},
        {FLOW ",\"ack_wait\":" A_SECOND, 10221, NULL},
        {FLOW ",\"max_deliver\":5", 10222, NULL},
        {"\"no_such_field\":1", 10025, "invalid JSON: json: unknown field \\\"no_such_field\\\""},
    };
    struct js_rig r;

    start(&r, i);
    check_rules(&r, "S", rules, ARRAY_LEN(rules), "");
    js_ask(&r, "$JS.API.STREAM.INFO.S", "", "\"consumer_count\":0");
    js_rig_end(&r);
}

#define BADLY(is) "consumer delivery policy is deliver " is ", but optional "

TEST(deliver_policies_and_their_starts)
{
    static const char time[] = "\"opt_start_time\":\"2024-01-01T00:00:00Z\"";
    static const char seq[] = "\"opt_start_seq\":1";
    static const struct {
        const char *policy;
        const char *extra;
        const char *text;
    } rules[] = {
        {"all", seq, BADLY("all") "start sequence is also set"},
        {"all", time, BADLY("all") "start time is also set"},
        {"last", seq, BADLY("last") "start sequence is also set"},
        {"new", time, BADLY("new") "start time is also set"},
        {"last_per_subject", seq, BADLY("last per subject") "start sequence is also set"},
        {"last_per_subject", "\"name\":\"x\"",
         BADLY("last per subject") "filter subject is not set"},
        {"by_start_sequence", "\"name\":\"x\"",
         BADLY("by start sequence") "start sequence is not set"},
        {"by_start_time", "\"name\":\"x\"", BADLY("by start time") "start time is not set"},
    };
    struct js_rig r;
    char config[256], want[256];

    start(&r, i);
    for (size_t k = 0; k < ARRAY_LEN(rules); k++) {
        snprintf(config, sizeof(config), "\"deliver_policy\":\"%s\",%s", rules[k].policy,
                 rules[k].extra);
        snprintf(want, sizeof(want), "\"err_code\":10094,\"description\":\"%s\"", rules[k].text);
        ask_consumer(&r, "S", config, "", want);
    }
    /* The zero time of Go programs is a time, long before all messages. */
    ask_consumer(&r, "S",
                 "\"deliver_policy\":\"by_start_time\",\"opt_start_time\":"
                 "\"0001-01-01T00:00:00Z\",\"name\":\"x\"",
                 "", "\"opt_start_time\":\"0001-01-01T00:00:00Z\"");
    js_rig_end(&r);
}

TEST(work_queues_have_rules_of_their_own)
{
    static const struct rule rules[] = {
        {"\"ack_policy\":\"none\"", 10084, NULL},
        {"\"ack_policy\":\"all\"", 10098, NULL},
        {PUSH ",\"ack_policy\":\"none\"", 10098, NULL},
        {EXPLICIT ",\"deliver_policy\":\"new\"", 10101, NULL},
        {EXPLICIT, 10099, NULL},
        {EXPLICIT ",\"filter_subject\":\"s.*\"", 10100, NULL},
    };
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"retention\":\"workqueue\"");
    ask_consumer(&r, "S", "\"name\":\"a\"," EXPLICIT ",\"filter_subject\":\"s.a\"", "",
                 "\"name\":");
    check_rules(&r, "S", rules, ARRAY_LEN(rules), "");
    js_rig_end(&r);
}

TEST(limits_of_the_stream_bind_its_consumers)
{
    static const struct rule rules[] = {
        {EXPLICIT ",\"max_ack_pending\":11", 10121,
         "consumer max ack pending exceeds system limit of 10"},
        {EXPLICIT ",\"inactive_threshold\":61000000000", 10153,
         "consumer inactive threshold exceeds system limit of 1m0s"},
    };
    static const struct rule pedantic[] = {
        {EXPLICIT ",\"inactive_threshold\":" A_SECOND, 10157,
         "pedantic mode: max_ack_pending must be set if it's configured in stream limits"},
        {EXPLICIT ",\"max_ack_pending\":5", 10157,
         "pedantic mode: inactive_threshold must be set if it's configured in stream limits"},
    };
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]",
              ",\"consumer_limits\":{\"max_ack_pending\":10,\"inactive_threshold\":60000000000}");
    check_rules(&r, "S", rules, ARRAY_LEN(rules), "");
    check_rules(&r, "S", pedantic, ARRAY_LEN(pedantic), ",\"pedantic\":true");
    ask_consumer(&r, "S", EXPLICIT, "", "\"max_ack_pending\":10,");
    js_rig_end(&r);
}

/* What has no durable_name ends by itself, unless it was durable when it was made; and nobody but
 * who asked for a name sees one in the configuration. Also behind a restart. */
TEST(who_ends_by_itself)
{
    static const struct {
        const char *more, *want;
    } steps[] = {
        {"\"name\":\"e\"", "\"inactive_threshold\":5000000000,"},
        {"\"name\":\"e\",\"inactive_threshold\":7000000000", "\"inactive_threshold\":7000000000,"},
        {"\"name\":\"e\"", "\"inactive_threshold\":5000000000,"},
        {"\"durable_name\":\"d\",\"name\":\"d\",\"inactive_threshold\":9000000000",
         "\"inactive_threshold\":9000000000,"},
        {"\"name\":\"d\"", "\"max_ack_pending\":1000,\"num_replicas\":0"},
        {"\"name\":\"d\",\"description\":\"x\"", "\"max_ack_pending\":1000,\"num_replicas\":0"},
    };
    struct js_rig r;

    start(&r, i);
    for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
        char subject[64], body[300];
        snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.CREATE.S.%c", k < 3 ? 'e' : 'd');
        snprintf(body, sizeof(body), "{\"stream_name\":\"S\",\"config\":{%s," EXPLICIT "}}",
                 steps[k].more);
        js_ask(&r, subject, body, steps[k].want);
    }
    js_ask(&r, "$JS.API.CONSUMER.CREATE.S.d",
           "{\"stream_name\":\"S\",\"action\":\"create\",\"config\":{\"name\":\"d\"," EXPLICIT
           ",\"description\":\"x\"}}",
           "\"name\":\"d\"");
    js_ask(&r, "$JS.API.CONSUMER.CREATE.S.e",
           "{\"stream_name\":\"S\",\"action\":\"create\",\"config\":{\"name\":\"e\"," EXPLICIT "}}",
           "\"err_code\":10148,");
    ask_consumer(&r, "S", EXPLICIT ",\"metadata\":{\"whose\":\"nobody\"}", "",
                 "\"config\":{\"deliver_policy\":");
    js_rig_restart(&r);
    js_ask(&r, "$JS.API.CONSUMER.LIST.S", "", "\"config\":{\"deliver_policy\":");
    js_rig_end(&r);
}

/* ---- pedantic -------------------------------------------------------------------------------- */

TEST(pedantic_requests_are_taken_literally)
{
    static const struct {
        const char *config, *text;
    } table[] = {
        {"\"max_deliver\":-2", "max_deliver must be set to -1"},
        {"\"max_waiting\":-1", "max_waiting must not be negative"},
        {EXPLICIT ",\"max_ack_pending\":-2", "max_ack_pending must be set to -1"},
        {"\"max_batch\":-1", "max_batch must not be negative"},
        {"\"max_expires\":-1", "max_expires must not be negative"},
        {"\"max_bytes\":-1", "max_bytes must not be negative"},
        {"\"idle_heartbeat\":-1", "idle_heartbeat must not be negative"},
        {"\"inactive_threshold\":-1", "inactive_threshold must not be negative"},
        {"\"priority_timeout\":-1", "priority_timeout must not be negative"},
        {EXPLICIT ",\"backoff\":[5,6]", "first backoff value has to equal batch AckWait"},
    };
    static const struct rule flow[] = {
        {PUSH ",\"ack_policy\":\"flow_control\"", 10219, NULL},
        {PUSH ",\"ack_policy\":\"flow_control\",\"flow_control\":true,"
              "\"idle_heartbeat\":2000000000",
         10052, "flow control ack policy heartbeat needs to be 1s"},
    };
    struct js_rig r;
    char want[256];

    start(&r, i);
    for (size_t k = 0; k < ARRAY_LEN(table); k++) {
        snprintf(want, sizeof(want), "\"err_code\":10157,\"description\":\"pedantic mode: %s\"",
                 table[k].text);
        ask_consumer(&r, "S", table[k].config, ",\"pedantic\":true", want);
        ask_consumer(&r, "S", table[k].config, "", "\"stream_name\":\"S\"");
    }
    check_rules(&r, "S", flow, ARRAY_LEN(flow), ",\"pedantic\":true");
    js_rig_end(&r);
}

/* ---- server limits --------------------------------------------------------------------------- */

TEST(limits_of_the_server)
{
    static const struct rule rules[] = {
        {EXPLICIT ",\"max_batch\":51", 10125,
         "consumer max request batch exceeds server limit of 50"},
        {EXPLICIT ",\"max_ack_pending\":101", 10121, NULL},
    };
    struct js_rig r;

    js_rig_start_conf(&r, i,
                      "jetstream { limits { max_request_batch: 50, max_ack_pending: 100 } }\n");
    js_stream(&r, "[\"s.*\"]", "");
    check_rules(&r, "S", rules, ARRAY_LEN(rules), "");
    ask_consumer(&r, "S", EXPLICIT, ",\"pedantic\":true",
                 "max_request_batch must be set if it's JetStream limits are set");
    ask_consumer(&r, "S", EXPLICIT, "", "\"max_ack_pending\":100,\"max_batch\":50");
    js_rig_end(&r);
}

/* ---- the three subjects ---------------------------------------------------------------------- */

TEST(names_in_subject_and_configuration)
{
    static const struct {
        const char *subject, *body;
        unsigned code;
    } table[] = {
        {"CREATE.S", "{\"stream_name\":\"T\",\"config\":{}}", 10056},
        {"CREATE.S.x.s.a", "{\"stream_name\":\"S\",\"config\":{\"filter_subject\":\"s.b\"}}",
         10131},
        {"CREATE.S.x.s.a", "{\"stream_name\":\"S\",\"config\":{\"filter_subjects\":[\"s.a\"]}}",
         10137},
        {"CREATE.S.x", "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"y\"}}", 10017},
        {"DURABLE.CREATE.S.x", "{\"stream_name\":\"S\",\"config\":{}}", 10018},
        {"DURABLE.CREATE.S.x", "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"y\"}}",
         10017},
        {"CREATE.S.x/y", "{\"stream_name\":\"S\",\"config\":{}}", 10127},
        {"CREATE.S.x", "{\"stream_name\":\"S\",\"config\":{},\"action\":\"update\"}", 10149},
        {"CREATE.S.x", "{\"stream_name\":\"S\",\"config\":", 10025},
        {"CREATE.S", "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"x\"}}", 10020},
    };
    struct js_rig r;
    char subject[128], want[64], name[400], body[600];

    start(&r, i);
    for (size_t k = 0; k < ARRAY_LEN(table); k++) {
        snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.%s", table[k].subject);
        snprintf(want, sizeof(want), "\"err_code\":%u,", table[k].code);
        js_ask(&r, subject, table[k].body, want);
    }
    memset(name, 'n', 256);
    name[256] = '\0';
    snprintf(body, sizeof(body), "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"%s\"}}",
             name);
    snprintf(want, sizeof(want), "\"err_code\":10102,");
    snprintf(name + 256, sizeof(name) - 256, "%s", "");
    {
        char long_subject[400];
        snprintf(long_subject, sizeof(long_subject), "$JS.API.CONSUMER.DURABLE.CREATE.S.%s", name);
        js_ask(&r, long_subject, body, want);
    }
    js_rig_end(&r);
}

TEST(updates_change_only_what_they_may)
{
    static const struct {
        const char *field, *text;
    } table[] = {
        {"\"deliver_policy\":\"new\"", "deliver policy can not be updated"},
        {"\"mem_storage\":true", "storage type can not be updated"},
        {"\"ack_policy\":\"all\"", "ack policy can not be updated"},
        {"\"replay_policy\":\"original\"", "replay policy can not be updated"},
        {"\"max_waiting\":7", "max waiting can not be updated"},
        {PUSH, "can not update pull consumer to push based"},
    };
    struct js_rig r;
    char body[512], want[256];

    start(&r, i);
    js_consumer(&r, "," EXPLICIT);
    for (size_t k = 0; k < ARRAY_LEN(table); k++) {
        snprintf(body, sizeof(body),
                 "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\"," EXPLICIT ",%s}}",
                 table[k].field);
        snprintf(want, sizeof(want), "\"err_code\":10012,\"description\":\"%s\"", table[k].text);
        js_ask(&r, "$JS.API.CONSUMER.DURABLE.CREATE.S.C", body, want);
        snprintf(body, sizeof(body),
                 "{\"stream_name\":\"S\",\"action\":\"create\","
                 "\"config\":{\"durable_name\":\"C\"," EXPLICIT ",%s}}",
                 table[k].field);
        js_ask(&r, "$JS.API.CONSUMER.DURABLE.CREATE.S.C", body, "\"err_code\":10148,");
    }
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(every_rule_has_its_error, 0, 3),
    RUN_LOOP(deliver_policies_and_their_starts, 0, 3),
    RUN_LOOP(work_queues_have_rules_of_their_own, 0, 3),
    RUN_LOOP(limits_of_the_stream_bind_its_consumers, 0, 3),
    RUN_LOOP(who_ends_by_itself, 0, 3),
    RUN_LOOP(pedantic_requests_are_taken_literally, 0, 3),
    RUN_LOOP(limits_of_the_server, 0, 3),
    RUN_LOOP(names_in_subject_and_configuration, 0, 3),
    RUN_LOOP(updates_change_only_what_they_may, 0, 3),
};

RUNNER_MAIN("api/jetstream_rules", cases)
