/* test_login.c - users with signed claims: templates of scoped keys, times of day, what ends a
 * login. */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "server/auth/login.h"
#include "server/auth/permissions.h"
#include "server/auth/template.h"
#include "tests/lib/runner.h"
#include "tests/lib/token.h"

#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ll

static void add(struct str_list *l, const char *text)
{
    struct str rest = str_of(text);

    while (rest.n > 0)
        str_list_add(l, str_cut(rest, '|', &rest));
}

static void check_list(const struct str_list *l, const char *wanted)
{
    struct buf b = {0};

    for (size_t i = 0; i < l->n; i++)
        buf_printf(&b, "%s%s", i > 0 ? "|" : "", l->items[i]);
    ck_assert_str_eq(buf_cstr(&b), wanted);
    buf_free(&b);
}

static const struct {
    const char *allow, *deny;     /* of publishing, entries between bars */
    const char *allowed, *denied; /* what becomes of them */
    const char *error;
} templates[] = {
    {"a|b", "c", "a|b", "c", ""},
    {"x.{{name()}}.y", "", "x.joe.y", "", ""},
    {"{{ Name() }}.{{subject()}}", "", "joe.UJOE", "", ""},
    {"{{account-name()}}.{{account-subject()}}", "", "acc.AACC", "", ""},
    {"{{name()}}{{name()}}", "", "joejoe", "", ""},
    {"t.{{tag(team)}}", "", "t.red|t.blue", "", ""},
    {"t.{{tag(TEAM)}}.{{tag(size)}}", "", "t.red.big|t.blue.big", "", ""},
    {"{{account-tag(zone)}}", "", "eu", "", ""},
    /* What is not there allows nothing, and then nothing is allowed. */
    {"t.{{tag(none)}}", "", "", ">", ""},
    {"t.{{tag(none)}}|u", "", "u", "", ""},
    {"", "t.{{tag(none)}}", "", "",
     "generated invalid subject \"t.{{tag(none)}}\": \"none\" is not defined"},
    {"{{what()}}", "", "", "", "template operation in \"{{what()}}\": \"what()\" is not defined"},
    {"{{name(x)}}", "", "", "",
     "template operation in \"{{name(x)}}\": \"name(x)\" is not defined"},
    /* Without a place in the list an entry may have a queue; with one it has to be a subject. */
    {"a b", "", "a b", "", ""},
    {"a b|{{name()}}", "", "joe", "", ""},
    {"{{}}", "", "{{}}", "", ""},
    {"{{name()", "", "{{name()", "", ""},
};

TEST(templates_are_filled)
{
    struct jwt_permissions scope = {0}, out = {0};
    struct str_list tags = {0}, account_tags = {0};
    struct buf err = {0};
    struct template_user u = {.name = "joe",
                              .subject = "UJOE",
                              .account_name = "acc",
                              .account_subject = "AACC",
                              .tags = &tags,
                              .account_tags = &account_tags};

    add(&tags, "team:red|size:big|team:blue|plain");
    add(&account_tags, "zone:eu");
    add(&scope.pub_allow, templates[i].allow);
    add(&scope.pub_deny, templates[i].deny);
    ck_assert(template_fill(&scope, &u, &out, &err) == (templates[i].error[0] == '\0'));
    ck_assert_str_eq(buf_cstr(&err), templates[i].error);
    if (templates[i].error[0] == '\0') {
        check_list(&out.pub_allow, templates[i].allowed);
        check_list(&out.pub_deny, templates[i].denied);
    }
    jwt_permissions_free(&scope);
    jwt_permissions_free(&out);
    str_list_free(&tags);
    str_list_free(&account_tags);
    buf_free(&err);
}

TEST(templates_have_a_limit)
{
    struct jwt_permissions scope = {0}, out = {0};
    struct str_list tags = {0};
    struct buf err = {0};
    struct template_user u = {.name = "",
                              .subject = "",
                              .account_name = "",
                              .account_subject = "",
                              .tags = &tags,
                              .account_tags = &tags};
    char text[32];

    for (int k = 0; k < 65; k++) {
        snprintf(text, sizeof(text), "t:%d", k);
        str_list_add(&tags, str_of(text));
    }
    add(&scope.sub_allow, "{{tag(t)}}.{{tag(t)}}");
    ck_assert(!template_fill(&scope, &u, &out, &err));
    ck_assert_str_eq(buf_cstr(&err), "template expansion exceeds limit: 4096");
    jwt_permissions_free(&scope);
    jwt_permissions_free(&out);
    str_list_free(&tags);
    buf_free(&err);
}

/* ---- logins ---------------------------------------------------------------------------------- */

struct rig {
    struct signer account, key, user;
    struct trust trust;
    struct user_claims claims;
};

static void rig_open(struct rig *r, const char *fields)
{
    struct buf err = {0};
    char *token;

    memset(r, 0, sizeof(*r));
    signer_make(&r->account, NKEY_ACCOUNT, 1);
    signer_make(&r->key, NKEY_ACCOUNT, 2);
    signer_make(&r->user, NKEY_USER, 1);
    r->trust.claims.jwt.subject = mem_strdup(r->account.key);
    token = token_make_at(&r->account, JWT_USER, r->user.key, "joe", fields, 100, 0);
    ck_assert_msg(user_claims_read(str_of(token), &r->claims, &err), "%s", buf_cstr(&err));
    mem_free(token);
}

static void rig_close(struct rig *r)
{
    account_claims_free(&r->trust.claims);
    user_claims_free(&r->claims);
}

/* With a bearer's claims, so that no signature is needed. */
static struct login *log_in(const struct rig *r, int64_t now, const char *error)
{
    struct buf err = {0};
    struct login *l = login_open(&r->trust, &r->claims,
                                 &(struct login_claim){.address = "127.0.0.1", .now = now * SECOND},
                                 &err);

    ck_assert_str_eq(buf_cstr(&err), error);
    buf_free(&err);
    return l;
}

static const struct {
    const char *start, *end;
    int64_t at, left; /* seconds of the day; 0 = not now */
} ranges[] = {
    {"08:00:00", "17:00:00", 8 * 3600, 0},
    {"08:00:00", "17:00:00", 8 * 3600 + 1, 9 * 3600 - 1},
    {"08:00:00", "17:00:00", 17 * 3600 - 1, 1},
    {"08:00:00", "17:00:00", 17 * 3600, 0},
    {"22:00:00", "06:00:00", 23 * 3600, 7 * 3600},
    {"22:00:00", "06:00:00", 5 * 3600, 3600},
    {"22:00:00", "06:00:00", 12 * 3600, 0},
};

TEST(times_of_day_let_in_and_end)
{
    struct rig r;
    struct login *l;
    char fields[200];
    int64_t day = 20000 * 86400;

    snprintf(fields, sizeof(fields),
             "\"bearer_token\":true,\"times\":[{\"start\":\"%s\",\"end\":\"%s\"}]", ranges[i].start,
             ranges[i].end);
    rig_open(&r, fields);
    l = log_in(&r, day + ranges[i].at, ranges[i].left == 0 ? "Outside connect times" : "");
    ck_assert((l != NULL) == (ranges[i].left != 0));
    if (l != NULL)
        ck_assert_int_eq(l->until, (day + ranges[i].at + ranges[i].left) * SECOND);
    login_close(l);
    rig_close(&r);
}

TEST(claims_that_do_not_let_in)
{
    static const struct {
        const char *fields, *error;
    } rows[] = {
        {"\"bearer_token\":true", ""},
        {"\"subs\":1", "Signature missing"},
        {"\"bearer_token\":true,\"src\":[\"10.0.0.0/8\"]", "Bad src Ip"},
        {"\"bearer_token\":true,\"allowed_connection_types\":[\"MQTT\"]",
         "Connection type not allowed"},
        {"\"bearer_token\":true,\"proxy_required\":true", "proxy connection required"},
        {"\"bearer_token\":true,\"times_location\":\"Nowhere/Land\",\"times\":[{\"start\":"
         "\"00:00:00\",\"end\":\"23:59:59\"}]",
         "Outside connect times"},
    };
    struct rig r;

    rig_open(&r, rows[i].fields);
    login_close(log_in(&r, 1000, rows[i].error));
    rig_close(&r);
}

TEST(what_becomes_of_a_login)
{
    struct trust next = {0};
    struct jwt_revocation gone = {.key = NULL, .at = 100};
    struct rig r;
    struct login *l;

    rig_open(&r, "\"bearer_token\":true");
    l = log_in(&r, 1000, "");
    ck_assert_ptr_null(l->user.may);
    next.claims.jwt.subject = r.account.key;
    add(&next.claims.otherwise.pub_allow, "only");
    ck_assert_int_eq(login_recheck(l, &r.trust, &next), LOGIN_STAYS);
    ck_assert(l->user.may->pub_allow.set && l->user.may->pub_allow.n == 1);
    gone.key = r.user.key;
    next.claims.revocations = (struct jwt_revocations){&gone, 1};
    ck_assert_int_eq(login_recheck(l, &r.trust, &next), LOGIN_REVOKED);
    gone.at = 99;
    ck_assert_int_eq(login_recheck(l, &r.trust, &next), LOGIN_STAYS);
    next.claims.disallow_bearer = true;
    ck_assert_int_eq(login_recheck(l, &r.trust, &next), LOGIN_REFUSED);
    next.claims.disallow_bearer = false;
    l->issuer = mem_strdup(r.key.key);
    ck_assert_int_eq(login_recheck(l, &r.trust, &next), LOGIN_CLOSED);
    login_close(l);
    jwt_permissions_free(&next.claims.otherwise);
    rig_close(&r);
}

/* ---- permissions ----------------------------------------------------------------------------- */

static const struct {
    const char *sub_allow, *sub_deny, *pub_allow, *pub_deny; /* entries between bars */
    const char *subject, *queue;
    bool may_subscribe, may_publish;
} permitted[] = {
    {"", "", "", "x", "a", "", true, true},
    {"a", "", "a", "", "a", "", true, true},
    /* What is no subject allows nothing, alone or beside others. */
    {"foo..bar", "", "", "", ">", "", false, true},
    {"foo..bar", "", "", "", "a", "q", false, true},
    {"a b c", "", "", "", "a", "b", false, true},
    {"foo..bar|a", "", "", "", "a", "", true, true},
    {"foo..bar|a", "", "", "", "b", "", false, true},
    {"", "", "foo..bar", "", "a", "", true, false},
    /* A rule of a group is for that group, and one that denies is never for less than it says. */
    {"a q", "", "", "", "a", "", false, true},
    {"a q", "", "", "", "a", "q", true, true},
    {"", "a q", "", "", "a", "q", false, true},
    {"", "a q", "", "", "a", "p", true, true},
    {"", "a b c", "", "", "a", "", false, true},
    {"", "", "", "a q", "a", "", true, false},
};

TEST(permissions_of_claims)
{
    struct jwt_permissions p = {0};
    struct permissions *may;

    add(&p.sub_allow, permitted[i].sub_allow);
    add(&p.sub_deny, permitted[i].sub_deny);
    add(&p.pub_allow, permitted[i].pub_allow);
    add(&p.pub_deny, permitted[i].pub_deny);
    may = permissions_of_jwt(&p);
    ck_assert_ptr_nonnull(may);
    ck_assert_int_eq(
        permissions_may_subscribe(may, str_of(permitted[i].subject), str_of(permitted[i].queue)),
        permitted[i].may_subscribe);
    ck_assert_int_eq(permissions_may_publish(may, str_of(permitted[i].subject)),
                     permitted[i].may_publish);
    permissions_free(may);
    jwt_permissions_free(&p);
}

/* Claims with a list that is too long let nobody in; as new defaults they allow nothing. */
TEST(lists_have_a_limit)
{
    struct jwt_permissions *p;
    struct permissions *may;
    struct trust next = {0};
    struct rig r;
    struct login *l;

    rig_open(&r, "\"bearer_token\":true");
    l = log_in(&r, 1000, "");
    p = i == 0 ? &r.claims.limits.may : &r.trust.claims.otherwise;
    for (unsigned k = 0; k < SUBJECT_RULES_MAX; k++)
        str_list_add(&p->pub_deny, STR("x"));
    login_close(log_in(&r, 1000, ""));
    str_list_add(&p->pub_deny, STR("last"));
    ck_assert_ptr_null(log_in(&r, 1000, "too many permissions"));
    may = permissions_of_jwt(p);
    ck_assert(!permissions_may_publish(may, STR("last")));
    ck_assert(!permissions_may_publish(may, STR("other")));
    ck_assert(!permissions_may_subscribe(may, STR("other"), STR_NONE));
    permissions_free(may);
    next.claims = r.trust.claims;
    if (i == 1) {
        ck_assert_int_eq(login_recheck(l, NULL, &next), LOGIN_STAYS);
        ck_assert(!permissions_may_publish(l->user.may, STR("other")));
    }
    login_close(l);
    rig_close(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(templates_are_filled, 0, ARRAY_LEN(templates)),
    RUN(templates_have_a_limit),
    RUN_LOOP(times_of_day_let_in_and_end, 0, ARRAY_LEN(ranges)),
    RUN_LOOP(claims_that_do_not_let_in, 0, 6),
    RUN(what_becomes_of_a_login),
    RUN_LOOP(permissions_of_claims, 0, ARRAY_LEN(permitted)),
    RUN_LOOP(lists_have_a_limit, 0, 2),
};

RUNNER_MAIN("auth/login", cases)
