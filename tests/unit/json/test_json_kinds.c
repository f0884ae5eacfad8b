/* test_json_kinds - the words for values of the wrong kind, and for texts that are no times. */
#include "lib/base/assert.h"
#include "lib/json/json_kinds.h"
#include "lib/json/json_time.h"
#include "tests/lib/runner.h"

static const char *const colours[] = {"red", "", NULL};
static const struct json_member inner_members[] = {
    {.name = "deep", .kind = KIND_INT32},
    {.name = "when", .kind = KIND_TIME},
};
static const struct json_shape inner = {
    .name = "Inner", .members = inner_members, .n = ARRAY_LEN(inner_members)};
static const struct json_member members[] = {
    {.name = "s", .kind = KIND_STRING},
    {.name = "b", .kind = KIND_BOOL},
    {.name = "u", .kind = KIND_UINT64},
    {.name = "i", .kind = KIND_INT64},
    {.name = "list", .kind = KIND_STRINGS},
    {.name = "waits", .kind = KIND_DURATIONS},
    {.name = "map", .kind = KIND_TEXT_MAP},
    {.name = "in", .kind = KIND_OBJECT, .inside = &inner},
    {.name = "ins", .kind = KIND_OBJECTS, .inside = &inner},
    {.name = "ptrs", .kind = KIND_OBJECTS, .inside = &inner, .type = "[]*server.Inner"},
    {.name = "colour", .kind = KIND_CHOICE, .texts = colours},
    {.name = "policy", .kind = KIND_CHOICE, .texts = colours, .refusal = "unknown policy: %"},
    {.name = "packed", .kind = KIND_CHOICE, .texts = colours, .refusal = "unknown packing"},
};
static const struct json_shape outer = {
    .name = "Outer", .members = members, .n = ARRAY_LEN(members)};

#define FIELD "into Go struct field Outer."
static const struct {
    const char *text, *why; /* NULL: nothing is wrong */
} rows[] = {
    {"null", NULL},
    {"{}", NULL},
    {" { \"s\" : null , \"ins\" : [ { } , null ] , \"colour\" : \"\" } ", NULL},
    {"{\"u\":18446744073709551615,\"i\":-9223372036854775808,\"in\":{\"deep\":-2147483648}}", NULL},
    {"{\"in\":{\"when\":\"2026-02-28T23:59:59.5+01:00\"},\"map\":{\"a\":\"}\",\"b\":null}}", NULL},
    {"{\"s\":\"\\\"}{\",\"b\":true}", NULL},
    {"{\"s\":1}x", "invalid character 'x' looking for beginning of value at offset 8"},
    {"[]", "json: cannot unmarshal array into Go value of type server.Outer"},
    {"1", "json: cannot unmarshal number into Go value of type server.Outer"},
    {"{\"s\":1.5}", "json: cannot unmarshal number " FIELD "s of type string"},
    {"{\"S\":true}", "json: cannot unmarshal bool " FIELD "S of type string"},
    {"{\"b\":\"x\"}", "json: cannot unmarshal string " FIELD "b of type bool"},
    {"{\"u\":-1}", "json: cannot unmarshal number -1 " FIELD "u of type uint64"},
    {"{\"u\":18446744073709551616}",
     "json: cannot unmarshal number 18446744073709551616 " FIELD "u of type uint64"},
    {"{\"i\":9223372036854775808}",
     "json: cannot unmarshal number 9223372036854775808 " FIELD "i of type int64"},
    {"{\"i\":1e2}", "json: cannot unmarshal number 1e2 " FIELD "i of type int64"},
    {"{\"i\":{}}", "json: cannot unmarshal object " FIELD "i of type int64"},
    {"{\"in\":{\"deep\":2147483648}}",
     "json: cannot unmarshal number 2147483648 " FIELD "in.deep of type int32"},
    {"{\"in\":[]}", "json: cannot unmarshal array " FIELD "in of type server.Inner"},
    {"{\"in\":{\"when\":1}}", "json: cannot unmarshal number " FIELD "in.when of type time.Time"},
    {"{\"ins\":1}", "json: cannot unmarshal number " FIELD "ins of type []server.Inner"},
    {"{\"ptrs\":1}", "json: cannot unmarshal number " FIELD "ptrs of type []*server.Inner"},
    {"{\"ins\":[{},{\"deep\":\"x\"}]}",
     "json: cannot unmarshal string " FIELD "ins.1.deep of type int32"},
    {"{\"ins\":[1]}", "json: cannot unmarshal number into Outer.ins.0 of type server.Inner"},
    {"{\"list\":{}}", "json: cannot unmarshal object " FIELD "list of type []string"},
    {"{\"list\":[\"a\",1]}", "json: cannot unmarshal number into Outer.list.1 of type string"},
    {"{\"waits\":[1,1.5]}",
     "json: cannot unmarshal number 1.5 into Outer.waits.1 of type time.Duration"},
    {"{\"map\":[]}", "json: cannot unmarshal array " FIELD "map of type map[string]string"},
    {"{\"map\":{\"a/~\":1}}", "json: cannot unmarshal number " FIELD "map.a~1~0 of type string"},
    {"{\"colour\":\"blue\"}", "can not unmarshal \"\\\"blue\\\"\""},
    {"{\"colour\":null}", "can not unmarshal \"null\""},
    {"{\"policy\":[ 1 ]}", "unknown policy: [ 1 ]"},
    {"{\"packed\":\"x\"}", "unknown packing"},
    {"{\"packed\":[]}", "json: cannot unmarshal array into Go value of type string"},
    {"{\"other\":1,\"s\":1}", "json: unknown field \"other\""},
    {"{\"s\":1,\"other\":1}", "json: cannot unmarshal number " FIELD "s of type string"},
};

TEST(kinds)
{
    struct buf why = {0};
    bool ok = json_check(str_of(rows[i].text), &outer, true, &why);

    ck_assert_str_eq(buf_cstr(&why), rows[i].why != NULL ? rows[i].why : "");
    ck_assert_int_eq(ok, rows[i].why == NULL);
    buf_free(&why);
}

TEST(unknown_members_are_nothing_where_that_is_allowed)
{
    struct buf why = {0};

    ck_assert(json_check(STR("{\"o\":{\"a\":[\"]\",{}]},\"s\":\"x\"}"), &outer, false, &why));
    ck_assert(!json_check(STR("{\"o\":[1,2],\"s\":1}"), &outer, false, &why));
    ck_assert_str_eq(buf_cstr(&why), "json: cannot unmarshal number " FIELD "s of type string");
    buf_free(&why);
}

#define LAYOUT " as \"2006-01-02T15:04:05Z07:00\": cannot parse "
static const struct {
    const char *text, *why;
} times[] = {
    {"2024-02-29T00:00:00Z", NULL},
    {"2026-01-31T23:59:59.123456789-12:30", NULL},
    {"", "\"\"" LAYOUT "\"\" as \"2006\""},
    {"26-01-01T00:00:00Z", "\"26-01-01T00:00:00Z\"" LAYOUT "\"26-01-01T00:00:00Z\" as \"2006\""},
    {"2026-x", "\"2026-x\"" LAYOUT "\"x\" as \"01\""},
    {"2026-01-01 0", "\"2026-01-01 0\"" LAYOUT "\" 0\" as \"T\""},
    {"2026-01-01T00:00", "\"2026-01-01T00:00\"" LAYOUT "\"\" as \":\""},
    {"2026-01-01T00:00:00", "\"2026-01-01T00:00:00\"" LAYOUT "\"\" as \"Z07:00\""},
    {"2026-13-01T00:00:00Z", "\"2026-13-01T00:00:00Z\": month out of range"},
    {"2026-02-29T00:00:00Z", "\"2026-02-29T00:00:00Z\": day out of range"},
    {"2026-01-01T24:00:00Z", "\"2026-01-01T24:00:00Z\": hour out of range"},
    {"2026-01-01T00:60:00Z", "\"2026-01-01T00:60:00Z\": minute out of range"},
    {"2026-01-01T00:00:60Z", "\"2026-01-01T00:00:60Z\": second out of range"},
    {"2026-01-01T00:00:00Zx", "\"2026-01-01T00:00:00Zx\": extra text: \"x\""},
};

TEST(times_are_read_element_by_element)
{
    struct buf why = {0}, want = {0};
    bool ok = json_time_check(str_of(times[i].text), &why);

    if (times[i].why != NULL)
        buf_printf(&want, "parsing time %s", times[i].why);
    ck_assert_str_eq(buf_cstr(&why), buf_cstr(&want));
    ck_assert_int_eq(ok, times[i].why == NULL);
    buf_free(&why);
    buf_free(&want);
}

/* Texts that nobody has looked through end the walk, too. */
TEST(what_is_too_deep_is_refused)
{
    struct buf deep = {0}, why = {0};

    buf_puts(&deep, "{\"s\":1,\"o\":");
    for (unsigned k = 0; k < 1000; k++)
        buf_putc(&deep, '[');
    ck_assert(!json_check(buf_str(&deep), &outer, false, &why));
    ck_assert_str_eq(buf_cstr(&why), "json: exceeded max depth");
    buf_free(&deep);
    buf_free(&why);
}

static const struct runner_case cases[] = {
    RUN_LOOP(kinds, 0, (int) ARRAY_LEN(rows)),
    RUN(unknown_members_are_nothing_where_that_is_allowed),
    RUN_LOOP(times_are_read_element_by_element, 0, (int) ARRAY_LEN(times)),
    RUN(what_is_too_deep_is_refused),
};

RUNNER_MAIN("json/json_kinds", cases)
