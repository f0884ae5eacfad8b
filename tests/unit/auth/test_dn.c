/* test_dn.c - distinguished names: what is one, and which are the same. */
#include "lib/base/assert.h"
#include "server/auth/dn.h"
#include "tests/lib/runner.h"

static const struct {
    const char *a, *b;
    bool in_order, anywhere;
} rows[] = {
    {"CN=joe", "CN=joe", true, true},
    {"CN=joe", "cn=joe", true, true},
    {"CN=joe", "CN=Joe", false, false},
    {"CN=joe,O=x", "CN=joe, O=x ", true, true},
    {"CN=joe,O=x", "O=x,CN=joe", false, true},
    {"CN=joe,O=x", "CN=joe", false, false},
    {"CN=a,CN=a,CN=b", "CN=a,CN=b,CN=b", false, false},
    {"CN=a+OU=b,O=c", "OU=b+CN=a,O=c", true, true},
    {"CN=a+OU=b", "CN=a,OU=b", false, false},
    {"CN=a\\,b", "CN=a\\2cb", true, true},
    {"CN=\\ a\\ ", "CN= a ", false, false},
    {"DC=com,DC=org", "dc=com,dc=org", true, true},
    {"CN=", "CN=", true, true},
    {"CN=a=b", "CN=a=b", true, true},
};

TEST(names_are_compared)
{
    struct dn a, b;

    ck_assert(dn_parse(str_of(rows[i].a), &a));
    ck_assert(dn_parse(str_of(rows[i].b), &b));
    ck_assert(dn_same(&a, &b, true) == rows[i].in_order);
    ck_assert(dn_same(&b, &a, true) == rows[i].in_order);
    ck_assert(dn_same(&a, &b, false) == rows[i].anywhere);
    dn_free(&a);
    dn_free(&b);
}

static const char *const no_names[] = {
    "",       "joe",     "=joe",     "CN",     "CN=a,",
    "CN=a+",  ",CN=a",   "CN=#0403", "XY=a",   "emailAddress=a@b",
    "CN=a\\", "CN=a\\z", "CN=a\\0",  "CN=a+b",
};

TEST(texts_that_are_no_names)
{
    struct dn d;

    ck_assert_msg(!dn_parse(str_of(no_names[i]), &d), "%s", no_names[i]);
    ck_assert_uint_eq(d.n, 0);
}

TEST(names_have_limits)
{
    struct buf b = {0};
    struct dn d;

    for (unsigned k = 0; k <= DN_PARTS_MAX; k++)
        buf_printf(&b, "%sCN=a", k > 0 ? "," : "");
    ck_assert(!dn_parse(buf_str(&b), &d));
    b.n -= 5;
    ck_assert(dn_parse(buf_str(&b), &d));
    dn_free(&d);
    buf_clear(&b);
    for (unsigned k = 0; k <= DN_ATTRIBUTES_MAX; k++)
        buf_printf(&b, "%sCN=a", k > 0 ? "+" : "");
    ck_assert(!dn_parse(buf_str(&b), &d));
    buf_free(&b);
}

static const struct runner_case cases[] = {
    RUN_LOOP(names_are_compared, 0, ARRAY_LEN(rows)),
    RUN_LOOP(texts_that_are_no_names, 0, ARRAY_LEN(no_names)),
    RUN(names_have_limits),
};

RUNNER_MAIN("auth/dn", cases)
