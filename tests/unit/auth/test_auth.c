/* test_auth.c - verdicts about users of the list that have no password. */
#include "server/auth/auth.h"
#include "server/config/options.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <string.h>

static const struct {
    bool map, websocket_map, leaf_map; /* who takes users from certificates */
    bool everybody;                    /* is CN=admin: no_auth_user */
    const char *user, *pass;
    bool needs_password;
    enum auth_answer answer;
} rows[] = {
    {false, false, false, false, "CN=admin", "", false, AUTH_YES},
    {false, false, false, false, "CN=admin", "x", false, AUTH_NO},
    {true, false, false, false, "CN=admin", "", false, AUTH_NO},
    {false, true, false, false, "CN=admin", "", false, AUTH_NO},
    {false, false, true, false, "CN=admin", "", false, AUTH_NO},
    {true, false, false, false, "CN=empty", "", false, AUTH_NO},
    {true, false, false, true, "CN=admin", "", false, AUTH_YES},
    {true, false, false, true, "CN=empty", "", false, AUTH_NO},
    {true, true, true, false, "joe", "s3cret", false, AUTH_YES},
    {false, false, false, false, "CN=admin", "", true, AUTH_NO},
    {false, false, false, false, "CN=empty", "", true, AUTH_NO},
    {false, false, false, true, "CN=admin", "", true, AUTH_NO},
    {false, false, false, false, "joe", "s3cret", true, AUTH_YES},
    {false, false, false, false, "joe", "", true, AUTH_NO},
};

static char admin[] = "CN=admin", empty[] = "CN=empty", joe[] = "joe", nothing[] = "",
            secret[] = "s3cret", hash[] = "$2a$11$0123456789012345678901";

TEST(users_without_a_password)
{
    struct user list[] = {{.name = admin, .kinds = USER_STANDARD},
                          {.name = empty, .pass = nothing, .kinds = USER_STANDARD},
                          {.name = joe, .pass = secret, .kinds = USER_STANDARD}};
    struct options o = {.users = {.list = list, .n = 3}};
    struct auth_claim claim = {.user = str_of(rows[i].user),
                               .pass = str_of(rows[i].pass),
                               .kind = USER_STANDARD,
                               .needs_password = rows[i].needs_password};

    o.tls.map = rows[i].map;
    o.websocket.tls.map = rows[i].websocket_map;
    o.leaf.tls.map = rows[i].leaf_map;
    o.no_auth_user = rows[i].everybody ? admin : NULL;
    ck_assert_int_eq(auth_check(&o, &claim).answer, rows[i].answer);
}

/* A certificate says who it is; a password that the user has is asked for as well. */
TEST(users_of_certificates)
{
    struct user with = {.name = joe, .pass = secret}, without = {.name = joe};

    ck_assert_int_eq(auth_check_named(NULL, STR("")).answer, AUTH_NO);
    ck_assert_int_eq(auth_check_named(&without, STR("")).answer, AUTH_YES);
    ck_assert_int_eq(auth_check_named(&without, STR("x")).answer, AUTH_NO);
    ck_assert_int_eq(auth_check_named(&with, STR("")).answer, AUTH_NO);
    ck_assert_int_eq(auth_check_named(&with, STR("s3cret")).answer, AUTH_YES);
    with.pass = hash;
    ck_assert_int_eq(auth_check_named(&with, STR("")).answer, AUTH_SLOW);
}

TEST(the_one_user_without_a_password)
{
    struct options o = {.user = joe};
    struct auth_claim claim = {.user = STR("joe"), .pass = STR(""), .kind = USER_STANDARD};

    ck_assert_int_eq(auth_check(&o, &claim).answer, AUTH_YES);
    claim.needs_password = true;
    ck_assert_int_eq(auth_check(&o, &claim).answer, AUTH_NO);
    o.pass = secret;
    claim.pass = STR("s3cret");
    ck_assert_int_eq(auth_check(&o, &claim).answer, AUTH_YES);
}

static const struct {
    const char *before, *now; /* no_auth_user */
    bool asks;                /* the server still has users */
    bool valid, is_joe;
} reloads[] = {
    {"joe", "joe", true, true, true},        {"joe", NULL, true, false, false},
    {"joe", "CN=admin", true, false, false}, {"joe", "nobody", true, false, false},
    {"joe", NULL, false, true, false},
};

/* Whom no_auth_user let in stays while it names the same user. */
TEST(one_that_offered_nothing_after_a_reload)
{
    struct user list[] = {{.name = admin, .kinds = USER_STANDARD},
                          {.name = joe, .pass = secret, .kinds = USER_STANDARD}};
    struct options before = {.users = {.list = list, .n = 2}}, now = {.users = {.list = list}};
    char was[16], is[16];
    const struct user *user;
    struct auth_claim claim = {.kind = USER_STANDARD};

    snprintf(was, sizeof(was), "%s", reloads[i].before);
    snprintf(is, sizeof(is), "%s", reloads[i].now != NULL ? reloads[i].now : "");
    before.no_auth_user = was;
    now.no_auth_user = reloads[i].now != NULL ? is : NULL;
    now.users.n = reloads[i].asks ? 2 : 0;
    ck_assert(auth_check(&before, &claim).by_nothing);
    ck_assert_int_eq(auth_nothing_still_valid(&before, &now, &user), reloads[i].valid);
    if (reloads[i].valid)
        ck_assert_ptr_eq(user, reloads[i].is_joe ? &list[1] : NULL);
}

static const struct {
    const char *account, *system; /* the only account; system_account */
    bool block, users, open;
} alone[] = {
    {"$SYS", NULL, false, true, true}, {"$SYS", NULL, true, true, false},
    {"S", "S", false, true, true},     {"S", "S", false, false, true},
    {"A", NULL, false, true, false},   {"A", "S", false, true, false},
    {"$SYS", "S", false, true, false},
};

/* With nothing but a system account who offers nothing is in the default account. */
TEST(users_of_the_system_account_alone)
{
    char name[8], system[8];
    struct account_options account = {.name = name};
    struct user list[] = {{.name = joe, .pass = secret, .kinds = USER_STANDARD}};
    struct options o = {
        .users = {.list = list, .n = alone[i].users ? 1 : 0},
        .accounts = {.list = &account, .n = 1},
        .system_account = alone[i].system != NULL ? system : NULL,
        .auth_block = alone[i].block,
    };
    struct auth_claim none = {.kind = USER_STANDARD};
    struct auth_claim wrong = {.kind = USER_STANDARD, .user = STR("joe"), .pass = STR("x")};
    struct auth_verdict v;
    const struct user *user;

    snprintf(name, sizeof(name), "%s", alone[i].account);
    snprintf(system, sizeof(system), "%s", alone[i].system != NULL ? alone[i].system : "");
    v = auth_check(&o, &none);
    ck_assert_int_eq(v.answer, alone[i].open ? AUTH_YES : AUTH_NO);
    ck_assert_ptr_null(v.user);
    ck_assert(v.by_nothing == alone[i].open);
    ck_assert(auth_announced(&o));
    ck_assert_int_eq(auth_check(&o, &wrong).answer, AUTH_NO);
    ck_assert(auth_nothing_still_valid(&o, &o, &user) == alone[i].open);
    wrong.pass = STR("s3cret");
    ck_assert_int_eq(auth_check(&o, &wrong).answer, alone[i].users ? AUTH_YES : AUTH_NO);
}

static const struct runner_case cases[] = {
    RUN_LOOP(users_without_a_password, 0, (int) (sizeof(rows) / sizeof(rows[0]))),
    RUN(users_of_certificates),
    RUN(the_one_user_without_a_password),
    RUN_LOOP(one_that_offered_nothing_after_a_reload, 0,
             (int) (sizeof(reloads) / sizeof(reloads[0]))),
    RUN_LOOP(users_of_the_system_account_alone, 0, (int) (sizeof(alone) / sizeof(alone[0]))),
};

RUNNER_MAIN("auth/auth", cases)
