/* test_json_syntax.c - what nats-server 2.15.1 says about texts that are no JSON. */
#include "lib/json/json.h"
#include "lib/json/json_syntax.h"
#include "tests/lib/runner.h"

#include <string.h>

#define VALUE "looking for beginning of value at offset "
#define KEY "looking for beginning of object key string at offset "
#define MEMBER "after object key:value pair at offset "
#define ELEMENT "after array element at offset "
#define NUMBER "in numeric literal at offset "
#define ENDS "unexpected EOF"

static const struct {
    const char *text, *why;
} rows[] = {
    {"{", ENDS},
    {"{\"name\"", ENDS},
    {"{\"name\":", ENDS},
    {"{\"name\":\"S\"", ENDS},
    {"{\"name\":\"S", ENDS},
    {"{\"a\":[\"b\"", ENDS},
    {"[\"a\"", ENDS},
    {"", ENDS},
    {" ", ENDS},
    {"-", ENDS},
    {"\"a", ENDS},
    {"nul", ENDS},
    {"{\"a\":\"\\u12", ENDS},
    {"{\"a\":\"\\", ENDS},
    {"{]", "invalid character ']' " KEY "2"},
    {"{'name':1}", "invalid character '\\'' " KEY "2"},
    {"{:1}", "invalid character ':' " KEY "2"},
    {"{\"name\":\"S\",}", "invalid character '}' " KEY "13"},
    {"{\"name\":\"S\",,}", "invalid character ',' " KEY "13"},
    {"{\xc3\xa9}", "invalid character '\xc3\xa9' " KEY "3"},
    {"{\"name\"}", "invalid character '}' after object key at offset 8"},
    {"{\"a\":1,\"b\"}", "invalid character '}' after object key at offset 11"},
    {"{\"name\":}", "invalid character '}' " VALUE "9"},
    {"{\"name\":S}", "invalid character 'S' " VALUE "9"},
    {"{\"a\":{\"b\":[1,2,{\"c\":}]}}", "invalid character '}' " VALUE "21"},
    {"{\"a\":[}", "invalid character '}' " VALUE "7"},
    {"{\"a\":[\"b\",]}", "invalid character ']' " VALUE "11"},
    {"{\"a\":\x01}", "invalid character '\\x01' " VALUE "6"},
    {"{\"a\":\x7f}", "invalid character '\\x7f' " VALUE "6"},
    {"{\"a\":\xe2\x80\xa8}", "invalid character '\\u2028' " VALUE "8"},
    {"{\"a\":\\}", "invalid character '\\\\' " VALUE "6"},
    {"x", "invalid character 'x' " VALUE "1"},
    {"{\"name\":\"S\"} x", "invalid character 'x' " VALUE "14"},
    {"{\"max\":+1}", "invalid character '+' " VALUE "8"},
    {"{\"max\":.5}", "invalid character '.' " VALUE "8"},
    {"{\"name\":\"S\" \"x\":1}", "invalid character '\"' " MEMBER "13"},
    {"{\"max_msgs\":01}", "invalid character '1' " MEMBER "14"},
    {"{\"a\":-01}", "invalid character '1' " MEMBER "8"},
    {"{\"a\":1.5.5}", "invalid character '.' " MEMBER "9"},
    {"{\"a\":nulll}", "invalid character 'l' " MEMBER "10"},
    {"{\"a\":1]", "invalid character ']' " MEMBER "7"},
    {"{\"a\":\"b\"\xc3\xa9}", "invalid character '\xc3\xa9' " MEMBER "10"},
    {"{\"a\":[1 2]}", "invalid character '2' " ELEMENT "9"},
    {"{\"a\":[1}", "invalid character '}' " ELEMENT "8"},
    {"{\"a\":1.}", "invalid character '}' " NUMBER "8"},
    {"{\"a\":-}", "invalid character '}' " NUMBER "7"},
    {"{\"a\":1ex}", "invalid character 'x' " NUMBER "8"},
    {"{\"a\":1e+}", "invalid character '}' " NUMBER "9"},
    {"{\"a\":trux}", "invalid character 'x' in literal true (expecting 'e') at offset 9"},
    {"{\"a\":falsy}", "invalid character 'y' in literal false (expecting 'e') at offset 10"},
    {"tx", "invalid character 'x' in literal true (expecting 'r') at offset 2"},
    {"{\"name\":\"a\nb\"}", "invalid character '\\n' in string at offset 11"},
    {"{\"a\":\"\x01\"}", "invalid character '\\x01' in string at offset 7"},
    {"{\"name\":\"S\\x\"}", "invalid escape sequence `\\x` in string at offset 12"},
    {"{\"a\":\"\\u12x4\"}", "invalid escape sequence `\\u12x4` in string at offset 12"},
    {"{\"a\":\"\\u\"}", "invalid escape sequence `\\u\"}` in string at offset 10"},
    {"{\"a\":\"\\\x01\"}", "invalid escape sequence \"\\\\\\x01\" in string at offset 8"},
    {"{\"a\":\"\\\xc3\xa9\"}", "invalid escape sequence \"\\\\\\xc3\" in string at offset 8"},
};

TEST(what_is_wrong)
{
    struct buf why = {0};
    json_t *o;

    ck_assert(json_syntax_error(str_of(rows[i].text), &why));
    ck_assert_str_eq(buf_cstr(&why), rows[i].why);
    buf_clear(&why);
    o = json_parse_object(str_of(rows[i].text), &why);
    ck_assert_ptr_null(o);
    ck_assert_str_eq(buf_cstr(&why), rows[i].why);
    buf_free(&why);
}

static const char *const right[] = {
    "{}",
    "[]",
    " { \"a\" : [ 1 , -0.5e+7 , true , false , null , \"\\u00e9\\n\" , { } ] } ",
    "\"\xc3\xa9\"",
    "0",
    "{\"a\":\"\\ud800\"}",
};

TEST(nothing_is_wrong)
{
    struct buf why = {0};

    ck_assert(!json_syntax_error(str_of(right[i]), &why));
    ck_assert_uint_eq(why.n, 0);
    buf_free(&why);
}

/* Each end of a right text is too early, and of what is too deep nothing is said. */
TEST(ends_and_depth)
{
    static const char text[] = "{\"a\":[1,-0.5e+7,true,null,\"\\u00e9\",{}]}";
    struct buf deep = {0}, why = {0};

    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        ck_assert_msg(json_syntax_error(str_from(text, n), &why), "%zu", n);
        ck_assert_str_eq(buf_cstr(&why), "unexpected EOF");
        buf_clear(&why);
    }
    for (unsigned k = 0; k < 100000; k++)
        buf_putc(&deep, '[');
    ck_assert(!json_syntax_error(buf_str(&deep), &why));
    buf_free(&deep);
    buf_free(&why);
}

static const struct runner_case cases[] = {
    RUN_LOOP(what_is_wrong, 0, (int) (sizeof(rows) / sizeof(rows[0]))),
    RUN_LOOP(nothing_is_wrong, 0, (int) (sizeof(right) / sizeof(right[0]))),
    RUN(ends_and_depth),
};

RUNNER_MAIN("json/json_syntax", cases)
