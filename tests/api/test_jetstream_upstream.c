/*
 * test_jetstream_upstream.c - mirrors and sources: what they copy, keep, skip and pass over, what
 * they survive, and what a configuration may not say.
 */
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <string.h>

static void create(struct js_rig *r, const char *name, const char *more, const char *want)
{
    char subject[128], body[1024];

    snprintf(subject, sizeof(subject), "$JS.API.STREAM.CREATE.%s", name);
    snprintf(body, sizeof(body), "{\"name\":\"%s\",\"storage\":\"file\"%s}", name, more);
    js_ask(r, subject, body, want);
}

static void await_info(struct js_rig *r, const char *name, const char *want)
{
    char subject[128];

    snprintf(subject, sizeof(subject), "$JS.API.STREAM.INFO.%s", name);
    js_await(r, subject, "", want);
}

static void await_last(struct js_rig *r, const char *name, int messages, int last)
{
    char want[64];

    snprintf(want, sizeof(want), "\"last_seq\":%d,", last);
    await_info(r, name, want);
    snprintf(want, sizeof(want), "\"messages\":%d,", messages);
    await_info(r, name, want);
}

static void get(struct js_rig *r, const char *name, int seq, const char *want)
{
    char subject[128], body[64];

    snprintf(subject, sizeof(subject), "$JS.API.STREAM.MSG.GET.%s", name);
    snprintf(body, sizeof(body), "{\"seq\":%d}", seq);
    js_ask(r, subject, body, want);
}

/* ---- mirrors --------------------------------------------------------------------------------- */

TEST(a_mirror_keeps_sequences_and_gaps)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    js_fill(&r, "s.a", 1, 10);
    js_ask(&r, "$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":5}", "\"success\":true");
    js_ask(&r, "$JS.API.STREAM.PURGE.S", "{\"seq\":3}", "\"purged\":2");
    create(&r, "M", ",\"mirror\":{\"name\":\"S\"}", "\"did_create\":true");
    await_last(&r, "M", 7, 10);
    await_info(&r, "M", "\"first_seq\":3,");
    await_info(&r, "M", "\"num_deleted\":1");
    await_info(&r, "M", "\"mirror\":{\"name\":\"S\",\"lag\":0,\"active\":");
    get(&r, "M", 7, "\"subject\":\"s.a\",\"seq\":7");
    get(&r, "M", 5, "\"err_code\":10037");
    js_fill(&r, "s.b", 11, 5);
    await_last(&r, "M", 12, 15);
    js_ask(&r, "$JS.API.STREAM.INFO.S", "", "\"consumer_count\":0");
    js_ask(&r, "$JS.API.CONSUMER.NAMES.S", "", "\"consumers\":[]");
    js_rig_end(&r);
}

TEST(a_mirror_goes_on_after_a_restart)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    create(&r, "M", ",\"mirror\":{\"name\":\"S\"}", "\"did_create\":true");
    js_fill(&r, "s.a", 1, 50);
    await_last(&r, "M", 50, 50);
    if (i % 2 == 0)
        js_rig_restart(&r);
    else
        js_rig_crash(&r);
    js_fill(&r, "s.a", 51, 50);
    await_last(&r, "M", 100, 100);
    js_rig_end(&r);
}

TEST(a_mirror_waits_for_its_origin)
{
    struct js_rig r;

    js_rig_start(&r, i);
    create(&r, "M", ",\"mirror\":{\"name\":\"S\"}", "\"did_create\":true");
    await_info(&r, "M", "\"err_code\":10059");
    js_stream(&r, "[\"s.*\"]", "");
    js_fill(&r, "s.a", 1, 3);
    await_last(&r, "M", 3, 3);
    js_rig_end(&r);
}

TEST(a_mirror_of_some_subjects_skips_the_others)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    for (int k = 0; k < 5; k++) {
        js_fill(&r, "s.a", 2 * k + 1, 1);
        js_fill(&r, "s.b", 2 * k + 2, 1);
    }
    create(&r, "M", ",\"mirror\":{\"name\":\"S\",\"filter_subject\":\"s.b\"}",
           "\"did_create\":true");
    await_last(&r, "M", 5, 10);
    get(&r, "M", 3, "\"err_code\":10037");
    get(&r, "M", 4, "\"subject\":\"s.b\",\"seq\":4");
    js_rig_end(&r);
}

TEST(a_mirror_begins_where_it_is_told)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    js_fill(&r, "s.a", 1, 10);
    create(&r, "M", ",\"mirror\":{\"name\":\"S\",\"opt_start_seq\":8}", "\"did_create\":true");
    await_last(&r, "M", 3, 10);
    await_info(&r, "M", "\"first_seq\":8,");
    js_rig_end(&r);
}

TEST(a_mirror_is_promoted)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    js_fill(&r, "s.a", 1, 4);
    create(&r, "M", ",\"mirror\":{\"name\":\"S\"}", "\"did_create\":true");
    await_last(&r, "M", 4, 4);
    js_ask(&r, "$JS.API.STREAM.UPDATE.M",
           "{\"name\":\"M\",\"mirror\":{\"name\":\"S\",\"opt_start_seq\":2}}",
           "\"err_code\":10055");
    js_ask(&r, "$JS.API.STREAM.UPDATE.M", "{\"name\":\"M\",\"subjects\":[\"m.*\"]}",
           "\"name\":\"M\"");
    js_fill(&r, "s.a", 5, 2);
    js_ask(&r, "m.x", "x", "{\"stream\":\"M\",\"seq\":5}");
    await_last(&r, "M", 5, 5);
    js_rig_restart(&r);
    js_ask(&r, "m.x", "x", "{\"stream\":\"M\",\"seq\":6}");
    js_rig_end(&r);
}

TEST(a_mirror_answers_direct_gets_of_its_origin)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"allow_direct\":true");
    js_fill(&r, "s.a", 1, 3);
    create(&r, "M", ",\"mirror\":{\"name\":\"S\"}", "\"mirror_direct\":true");
    await_last(&r, "M", 3, 3);
    /* Now only the mirror does. */
    js_ask(&r, "$JS.API.STREAM.UPDATE.S",
           "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"allow_direct\":false}", "\"name\":\"S\"");
    js_await(&r, "$JS.API.DIRECT.GET.S", "{\"seq\":2}", "x");
    js_ask(&r, "$JS.API.DIRECT.GET.S.s.a", "", "x");
    js_ask(
        &r, "$JS.API.STREAM.UPDATE.M",
        "{\"name\":\"M\",\"mirror\":{\"name\":\"S\"},\"allow_direct\":true,\"mirror_direct\":true}",
        "\"mirror_direct\":false"); /* as its origin has it */
    js_ask(&r, "$JS.API.DIRECT.GET.S.s.a", "", "503");
    js_ask(&r, "$JS.API.DIRECT.GET.M.s.a", "", "x");
    js_ask(&r, "$JS.API.STREAM.DELETE.M", "", "\"success\":true");
    js_rig_end(&r);
}

TEST(what_comes_is_mapped)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    for (int k = 0; k < 2; k++) {
        js_fill(&r, "s.a", 3 * k + 1, 1);
        js_fill(&r, "s.b", 3 * k + 2, 1);
        js_fill(&r, "s.c", 3 * k + 3, 1);
    }
    create(
        &r, "M",
        ",\"mirror\":{\"name\":\"S\",\"subject_transforms\":[{\"src\":\"s.b\",\"dest\":\"m.b\"}]}",
        "\"did_create\":true");
    create(&r, "G",
           ",\"sources\":[{\"name\":\"S\",\"subject_transforms\":[{\"src\":\"s.a\",\"dest\":"
           "\"g.{{nonsense(1)}}\"},"
           "{\"src\":\"s.c\"}]}]",
           "\"err_code\":10146");
    create(
        &r, "G",
        ",\"sources\":[{\"name\":\"S\",\"subject_transforms\":[{\"src\":\"s.a\",\"dest\":\"g.a\"},"
        "{\"src\":\"s.c\"}]}]",
        "\"did_create\":true");
    await_last(&r, "M", 2, 5);
    get(&r, "M", 2, "\"subject\":\"m.b\"");
    await_last(&r, "G", 4, 4);
    get(&r, "G", 3, "\"subject\":\"g.a\"");
    get(&r, "G", 4, "\"subject\":\"s.c\"");
    await_info(
        &r, "G",
        "\"subject_transforms\":[{\"src\":\"s.a\",\"dest\":\"g.a\"},{\"src\":\"s.c\",\"dest\":"
        "\"\"}]");
    js_rig_restart(&r);
    js_fill(&r, "s.c", 7, 1);
    await_last(&r, "G", 5, 5);
    js_rig_end(&r);
}

TEST(a_mirror_of_a_work_queue_is_its_consumer)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"retention\":\"workqueue\"");
    js_fill(&r, "s.a", 1, 20);
    create(&r, "M", ",\"mirror\":{\"name\":\"S\"}", "\"did_create\":true");
    await_last(&r, "M", 20, 20);
    await_info(&r, "S", "\"messages\":0,");
    js_rig_crash(&r);
    js_fill(&r, "s.a", 21, 20);
    await_last(&r, "M", 40, 40);
    await_info(&r, "S", "\"messages\":0,");
    js_rig_end(&r);
}

TEST(an_origin_by_its_domain)
{
    struct js_rig r;

    js_rig_start_conf(&r, i, "jetstream { domain: hub }\n");
    js_stream(&r, "[\"s.*\"]", "");
    js_fill(&r, "s.a", 1, 3);
    create(&r, "M",
           ",\"mirror\":{\"name\":\"S\",\"external\":{\"api\":\"$JS.hub.API\",\"deliver\":"
           "\"to.m\"}}",
           "\"did_create\":true");
    create(&r, "G", ",\"sources\":[{\"name\":\"S\",\"external\":{\"api\":\"$JS.hub.API\"}}]",
           "\"did_create\":true");
    await_last(&r, "M", 3, 3);
    await_last(&r, "G", 3, 3);
    await_info(&r, "M", "\"external\":{\"api\":\"$JS.hub.API\",\"deliver\":\"to.m\"}");
    js_rig_restart(&r);
    js_fill(&r, "s.a", 4, 1);
    await_last(&r, "M", 4, 4);
    await_last(&r, "G", 4, 4);
    js_rig_end(&r);
}

/* A consumer that somebody made for it: nothing of a work queue goes before it is stored here. */
TEST(a_source_with_a_consumer_of_its_own)
{
    static const char source[] = ",\"sources\":[{\"name\":\"S\",\"consumer\":{\"name\":\"C\","
                                 "\"deliver_subject\":\"to.g\"}}]";
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"retention\":\"workqueue\"");
    js_fill(&r, "s.a", 1, 30);
    create(&r, "G", source, "\"did_create\":true");
    await_info(&r, "G", "\"err_code\":10014");
    js_consumer(
        &r, ",\"ack_policy\":\"flow_control\",\"deliver_subject\":\"to.g\",\"flow_control\":true,"
            "\"idle_heartbeat\":1000000000,\"max_ack_pending\":10");
    await_last(&r, "G", 30, 30);
    js_rig_crash(&r);
    js_fill(&r, "s.a", 31, 10);
    await_last(&r, "G", 40, 40);
    await_info(&r, "S", "\"messages\":0,");
    js_rig_end(&r);
}

TEST(a_source_with_a_consumer_that_will_not_do)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    js_consumer(&r, ",\"ack_policy\":\"explicit\",\"deliver_subject\":\"to.g\"");
    create(&r, "G",
           ",\"sources\":[{\"name\":\"S\",\"consumer\":{\"name\":\"C\",\"deliver_subject\":\"to."
           "g\"}}]",
           "\"did_create\":true");
    await_info(&r, "G", "\"err_code\":10217");
    create(
        &r, "M",
        ",\"mirror\":{\"name\":\"S\",\"consumer\":{\"name\":\"C\",\"deliver_subject\":\"to.g\"}}",
        "\"did_create\":true");
    await_info(&r, "M", "\"err_code\":10214");
    js_rig_end(&r);
}

/* ---- sources --------------------------------------------------------------------------------- */

static void second_origin(struct js_rig *r)
{
    create(r, "T", ",\"subjects\":[\"t.*\"]", "\"did_create\":true");
}

TEST(sources_are_gathered)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    second_origin(&r);
    js_fill(&r, "s.a", 1, 10);
    create(&r, "G", ",\"sources\":[{\"name\":\"S\"},{\"name\":\"T\",\"filter_subject\":\"t.b\"}]",
           "\"did_create\":true");
    await_last(&r, "G", 10, 10);
    js_ask(&r, "t.a", "x", "\"seq\":1}");
    js_ask(&r, "t.b", "y", "\"seq\":2}");
    await_last(&r, "G", 11, 11);
    await_info(&r, "G", "{\"name\":\"S\",\"lag\":0,\"active\":");
    get(&r, "G", 11, "\"subject\":\"t.b\"");
    js_rig_end(&r);
}

TEST(sources_go_on_after_a_restart)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    second_origin(&r);
    create(&r, "G", ",\"sources\":[{\"name\":\"S\"},{\"name\":\"T\"}]", "\"did_create\":true");
    js_fill(&r, "s.a", 1, 20);
    for (int k = 1; k <= 3; k++)
        js_ask(&r, "t.a", "x", "}");
    await_last(&r, "G", 23, 23);
    for (int round = 0; round < 2; round++) {
        if (round == 0)
            js_rig_restart(&r);
        else
            js_rig_crash(&r);
        js_fill(&r, "s.a", 21 + 5 * round, 5);
        await_last(&r, "G", 28 + 5 * round, 28 + 5 * round);
    }
    js_rig_end(&r);
}

/* Its messages have gone: where it stood is still known. */
TEST(sources_go_on_after_a_purge_and_a_restart)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    create(&r, "G", ",\"sources\":[{\"name\":\"S\"}]", "\"did_create\":true");
    js_fill(&r, "s.a", 1, 20);
    await_last(&r, "G", 20, 20);
    js_ask(&r, "$JS.API.STREAM.PURGE.G", "", "\"purged\":20");
    if (i % 2 == 0)
        js_rig_restart(&r);
    else
        js_rig_crash(&r);
    js_fill(&r, "s.a", 21, 2);
    await_last(&r, "G", 2, 22);
    js_rig_end(&r);
}

TEST(sources_come_and_go)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    second_origin(&r);
    create(&r, "G", ",\"subjects\":[\"g\"],\"sources\":[{\"name\":\"S\"}]", "\"did_create\":true");
    js_fill(&r, "s.a", 1, 3);
    await_last(&r, "G", 3, 3);
    js_ask(&r, "$JS.API.STREAM.UPDATE.G",
           "{\"name\":\"G\",\"subjects\":[\"g\"],\"sources\":[{\"name\":\"T\"}]}",
           "\"name\":\"G\"");
    js_fill(&r, "s.a", 4, 3);
    js_ask(&r, "t.a", "x", "\"seq\":1}");
    await_last(&r, "G", 4, 4);
    js_ask(&r, "g", "x", "\"seq\":5}");
    js_ask(&r, "$JS.API.STREAM.UPDATE.G",
           "{\"name\":\"G\",\"subjects\":[\"g\"],\"sources\":[{\"name\":\"T\"},{\"name\":\"S\"}]}",
           "\"name\":\"G\"");
    await_last(&r, "G", 8, 8); /* what S got meanwhile, once */
    js_rig_end(&r);
}

TEST(an_origin_made_anew_is_taken_anew)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    create(&r, "G", ",\"sources\":[{\"name\":\"S\"}]", "\"did_create\":true");
    js_fill(&r, "s.a", 1, 5);
    await_last(&r, "G", 5, 5);
    js_ask(&r, "$JS.API.STREAM.DELETE.S", "", "\"success\":true");
    js_stream(&r, "[\"s.*\"]", "");
    js_fill(&r, "s.a", 1, 3);
    await_last(&r, "G", 8, 8);
    js_rig_end(&r);
}

TEST(a_full_stream_takes_the_rest_when_there_is_room)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    create(&r, "G", ",\"sources\":[{\"name\":\"S\"}],\"max_msgs\":5,\"discard\":\"new\"",
           "\"did_create\":true");
    js_fill(&r, "s.a", 1, 8);
    await_last(&r, "G", 5, 5);
    js_ask(&r, "$JS.API.STREAM.PURGE.G", "", "\"purged\":5");
    await_last(&r, "G", 3, 8);
    js_rig_end(&r);
}

TEST(much_is_mirrored_and_gathered)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    create(&r, "M", ",\"mirror\":{\"name\":\"S\"}", "\"did_create\":true");
    create(&r, "G", ",\"sources\":[{\"name\":\"M\"}]", "\"did_create\":true");
    for (int k = 0; k < 20000; k++) {
        char text[128];
        snprintf(text, sizeof(text), "PUB s.a 64\r\n%064d\r\n", k);
        raw_send(&r.api, text);
    }
    await_last(&r, "G", 20000, 20000);
    await_last(&r, "M", 20000, 20000);
    js_rig_end(&r);
}

/* ---- rules ----------------------------------------------------------------------------------- */

/* 10029 and 10045: nobody has such an API. */
TEST(an_origin_that_nobody_knows)
{
    struct js_rig r;

    js_rig_start(&r, i);
    create(&r, "M", ",\"mirror\":{\"name\":\"S\",\"external\":{\"api\":\"no.where\"}}",
           "\"did_create\":true");
    create(&r, "G", ",\"sources\":[{\"name\":\"S\",\"external\":{\"api\":\"no.where\"}}]",
           "\"did_create\":true");
    await_info(&r, "M", "\"err_code\":10029,\"description\":\"no responders\"");
    await_info(&r, "G", "\"err_code\":10045,\"description\":\"no responders\"");
    js_rig_end(&r);
}

TEST(a_consumer_of_another_stream_of_that_name)
{
    static const char config[] =
        "{\"stream_name\":\"S\",\"config\":{\"direct\":true,\"deliver_subject\":\"d\","
        "\"ack_policy\":\"none\",\"max_deliver\":1}}";
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    js_pub(&r, "$JS.API.CONSUMER.CREATE.S", "Nats-Stream-Identity: another1\r\n", config,
           "\"err_code\":10225,\"description\":\"consumer's stream identity does not match: ");
    js_rig_end(&r);
}

TEST(what_a_configuration_may_not_say)
{
    static const struct {
        const char *more, *want;
    } table[] = {
        {",\"mirror\":{\"name\":\"S\"},\"subjects\":[\"x\"]", "\"err_code\":10034"},
        {",\"mirror\":{\"name\":\"S\"},\"first_seq\":5", "\"err_code\":10143"},
        {",\"mirror\":{\"name\":\"S\"},\"sources\":[{\"name\":\"S\"}]", "\"err_code\":10031"},
        {",\"mirror\":{\"name\":\"S\"},\"allow_atomic\":true", "\"err_code\":10198"},
        {",\"mirror\":{\"name\":\"S\"},\"allow_batched\":true", "\"err_code\":10209"},
        {",\"mirror\":{\"name\":\"S.x\"}", "\"err_code\":10142"},
        {",\"mirror\":{\"name\":\"S\",\"filter_subject\":\"a\",\"subject_transforms\":[{\"src\":"
         "\"b\"}]}",
         "\"err_code\":10150"},
        {",\"mirror\":{\"name\":\"S\",\"subject_transforms\":[{\"src\":\"b..c\"}]}",
         "\"err_code\":10151"},
        {",\"mirror\":{\"name\":\"S\",\"subject_transforms\":[{\"src\":\"b.*\"},{\"src\":\"b.c\"}]"
         "}",
         "\"err_code\":10152"},
        {",\"mirror\":{\"name\":\"S\",\"consumer\":{\"name\":\"\"}}", "\"err_code\":10213"},
        {",\"mirror\":{\"name\":\"S\"},\"max_msg_size\":5", "\"err_code\":10030"},
        {",\"mirror\":{\"name\":\"S\",\"nonsense\":5}", "\"err_code\":10025"},
        {",\"mirror\":{\"name\":\"X\"}", "detected cycle"},
        {",\"mirror\":{\"name\":\"S\",\"external\":{\"api\":\"a.*\"}}",
         "stream external api prefix \\\"a.*\\\" must be a valid subject without wildcards"},
        {",\"mirror\":{\"name\":\"S\",\"external\":{\"api\":\"$JS.API\"}}",
         "stream external api prefix $JS.API must not overlap with $JS.API"},
        {",\"mirror\":{\"name\":\"S\",\"external\":{\"api\":\"a\",\"deliver\":\"b.>\"}}",
         "\"err_code\":10024"},
        {",\"sources\":[{\"name\":\"\"}]", "\"err_code\":10141"},
        {",\"sources\":[null]", "\"err_code\":10141"},
        {",\"sources\":[{\"name\":\"S\"},{\"name\":\"S\"}]", "\"err_code\":10140"},
        {",\"sources\":[{\"name\":\"S\",\"filter_subject\":\"a\",\"subject_transforms\":[{\"src\":"
         "\"b\"}]}]",
         "\"err_code\":10144"},
        {",\"sources\":[{\"name\":\"S\",\"subject_transforms\":[{\"src\":\"a..b\"}]}]",
         "\"err_code\":10145"},
        {",\"sources\":[{\"name\":\"S\",\"subject_transforms\":[{\"src\":\"a.*\"},{\"src\":\"a.b\"}"
         "]}]",
         "\"err_code\":10147"},
        {",\"sources\":[{\"name\":\"S\"}],\"max_msg_size\":5", "\"err_code\":10046"},
        {",\"sources\":[{\"name\":\"X\"}]", "detected cycle"},
        {",\"sources\":[{\"name\":\"Y\"}]", "detected cycle"},
        {",\"sources\":[{\"name\":\"S\"},{\"name\":\"M\"}]", "detected cycle"},
        {",\"sources\":[{\"name\":\"S\",\"consumer\":{\"name\":\"c\",\"deliver_subject\":\"d\"},"
         "\"opt_start_seq\":3}]",
         "\"err_code\":10215"},
        {",\"sources\":[{\"name\":\"S\",\"consumer\":{\"name\":\"c\",\"deliver_subject\":\"d\"}},"
         "{\"name\":\"S\",\"consumer\":{\"name\":\"c\",\"deliver_subject\":\"e\"},"
         "\"subject_transforms\":[{\"src\":\"s.a\",\"dest\":\"s.b\"}]}]",
         "\"err_code\":10216"},
    };
    struct js_rig r;

    js_rig_start(&r, 0);
    js_stream(&r, "[\"s.*\"]", ",\"max_msg_size\":100");
    create(&r, "Y", ",\"sources\":[{\"name\":\"X\"}]", "\"did_create\":true");
    create(&r, "M", ",\"mirror\":{\"name\":\"S\"}", "\"did_create\":true");
    for (size_t k = 0; k < sizeof(table) / sizeof(table[0]); k++)
        create(&r, "X", table[k].more, table[k].want);
    /* Two ways to one origin, of which the longer one is named first, pass there too. */
    create(&r, "Z", ",\"sources\":[{\"name\":\"M\"},{\"name\":\"S\"}]", "\"did_create\":true");
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(a_mirror_keeps_sequences_and_gaps, 0, 3),
    RUN_LOOP(a_mirror_goes_on_after_a_restart, 0, 3),
    RUN_LOOP(a_mirror_waits_for_its_origin, 0, 2),
    RUN(a_mirror_of_some_subjects_skips_the_others),
    RUN(a_mirror_begins_where_it_is_told),
    RUN(a_mirror_is_promoted),
    RUN(a_mirror_answers_direct_gets_of_its_origin),
    RUN(what_comes_is_mapped),
    RUN_LOOP(a_mirror_of_a_work_queue_is_its_consumer, 0, 3),
    RUN_LOOP(an_origin_by_its_domain, 0, 2),
    RUN_LOOP(a_source_with_a_consumer_of_its_own, 0, 2),
    RUN(a_source_with_a_consumer_that_will_not_do),
    RUN_LOOP(sources_are_gathered, 0, 3),
    RUN_LOOP(sources_go_on_after_a_restart, 0, 3),
    RUN_LOOP(sources_go_on_after_a_purge_and_a_restart, 0, 2),
    RUN_LOOP(sources_come_and_go, 0, 2),
    RUN_LOOP(an_origin_made_anew_is_taken_anew, 0, 2),
    RUN(a_full_stream_takes_the_rest_when_there_is_room),
    RUN_LOOP(much_is_mirrored_and_gathered, 0, 3),
    RUN_LOOP(an_origin_that_nobody_knows, 0, 2),
    RUN(a_consumer_of_another_stream_of_that_name),
    RUN(what_a_configuration_may_not_say),
};

RUNNER_MAIN("api/jetstream_upstream", cases)
