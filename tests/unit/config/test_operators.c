/* test_operators.c - operator mode, services that are asked, proxies: what is read, and what is
 * refused, where and why. */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "server/config/conf_parse.h"
#include "server/config/config_file.h"
#include "tests/lib/runner.h"
#include "tests/lib/token.h"

#include <string.h>

#define ISSUER "ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA"

static bool read_text(void *ctx, const char *path, struct buf *out, struct buf *err)
{
    (void) path;
    (void) err;
    buf_puts(out, ctx);
    return true;
}

/* "" or what is wrong: with a place, or (of several values) without. */
static void load(const char *text, struct options *o, struct buf *why)
{
    char *copy = mem_strdup(text), late[256] = "";
    struct conf_source source = {.read = read_text, .ctx = copy};
    struct conf_tree tree;

    options_init(o);
    if (conf_parse(&source, "f", &tree, why) && config_file_apply(&tree, o, why)) {
        options_finish(o);
        if (!options_check(o, late))
            buf_puts(why, late);
    }
    conf_tree_free(&tree);
    mem_free(copy);
}

/* @O an operator's token, @X its key, @P the key of another one, @A an account's token, @K its key,
 * @U a user's token, @B a bearer's. */
static void fill(const char *text, const char *operator_fields, struct buf *out)
{
    struct signer op, other, account, user;
    char *tokens[256] = {NULL};

    signer_make(&op, NKEY_OPERATOR, 1);
    signer_make(&other, NKEY_OPERATOR, 2);
    signer_make(&account, NKEY_ACCOUNT, 1);
    signer_make(&user, NKEY_USER, 1);
    tokens['O'] = token_make(&op, JWT_OPERATOR, op.key, "O", operator_fields);
    tokens['X'] = mem_strdup(op.key);
    tokens['P'] = mem_strdup(other.key);
    tokens['A'] = token_make(&op, JWT_ACCOUNT, account.key, "A", UNLIMITED);
    tokens['K'] = mem_strdup(account.key);
    tokens['U'] = token_make(&account, JWT_USER, user.key, "U", "\"subs\":-1");
    tokens['B'] = token_make(&account, JWT_USER, user.key, "U", "\"bearer_token\":true");
    for (; *text != '\0'; text++) {
        if (*text == '@' && tokens[(unsigned char) text[1]] != NULL)
            buf_puts(out, tokens[(unsigned char) *++text]);
        else
            buf_putc(out, *text);
    }
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++)
        mem_free(tokens[i]);
}

static const struct {
    const char *text, *fields, *error;
} rows[] = {
    {"operator: @O\nresolver: MEMORY", "", ""},
    {"operators: [ @O, @O ]\naccount_resolver: mem", "", ""},
    {"operator: @O\nresolver: URL(http://localhost:9090/jwt/v1/accounts)", "", ""},
    {"operator: @O\nresolver: URL(\"http://localhost:9090/jwt/v1/accounts/\")", "", ""},
    {"operator: @O\nsystem_account: @K\nresolver { type: full, dir: d, limit: 5, interval: \"1m\" "
     "}",
     "", ""},
    {"operator: @O\nsystem_account: @K\nresolver { type: CACHE, dir: d, ttl: \"1h\" }", "", ""},
    {"operator: @O\nresolver: MEMORY\nresolver_preload { @K: @A }", "", ""},
    {"operator: @O\nresolver: MEMORY\ndefault_sentinel: @B", "", ""},
    {"trusted: @X", "", ""},
    {"trusted_keys: [ @X, @P ]", "", ""},

    {"operator: 1", "", "f:1:0: error parsing operators: unsupported type int64"},
    {"operator: [ 1 ]", "", "f:1:12: error parsing operators: unsupported type in array int64"},
    {"operator: /none", "",
     "f:1:0: error parsing operator JWT: open /none: no such file or directory"},
    {"operator: eyJx", "", "f:1:0: error parsing operator JWT: expected 3 chunks"},
    {"operator: @A", "", "f:1:0: error parsing operator JWT: not operator claim"},
    {"trusted: x", "", "f:1:0: trust key \"x\" required to be a valid public operator nkey"},
    {"resolver: SOME", "",
     "f:1:0: error parsing account resolver, should be MEM or  URL(\"url\") or a map containing "
     "dir and type state=[FULL|CACHE])"},
    {"resolver: URL(ftp://x)", "", "f:1:0: error parsing account resolver url [\"ftp://x\"]"},
    {"resolver: 5", "", "f:1:0: error parsing operator resolver, wrong type int64"},
    {"resolver { type: full }", "", "f:1:0: dir has no value and needs to point to a directory"},
    {"resolver { type: full, dir: d, ttl: \"1h\" }", "", "f:1:0: FULL does not accept ttl"},
    {"resolver { type: full, dir: d, hard_delete: true }", "",
     "f:1:0: hard_delete has no effect without delete"},
    {"resolver { type: cache, dir: d, interval: \"1h\" }", "", "f:1:0: CACHE does not accept sync"},
    {"resolver { type: cache, dir: d, allow_delete: true }", "",
     "f:1:0: CACHE does not accept allow_delete"},
    {"resolver { type: full, dir: d, limit: x }", "", "f:1:31: limit must be an integer"},
    {"resolver { what: x }", "", "f:1:11: unknown field \"what\""},
    {"resolver_preload: x", "", "f:1:0: preload should be a map of account_public_key:account_jwt"},
    {"resolver_preload { @K: x }", "", "f:1:19: invalid account JWT"},

    {"operator: @O", "", "operators require an account resolver to be configured"},
    {"operator: @O\nresolver: MEMORY\naccounts { A {} }", "",
     "operators do not allow Accounts to be configured directly"},
    {"operator: @O\nresolver: MEMORY\nauthorization { users: [ {user: a} ] }", "",
     "operators do not allow users to be configured directly"},
    {"operator: @O\nresolver { type: full, dir: d }", "",
     "using nats based account resolver - the system account needs to be specified in "
     "configuration or the operator jwt"},
    {"operator: @O\nresolver: MEMORY\nsystem_account: x", "\"system_account\":\"y\"",
     "system_account in config and operator JWT must be identical"},
    {"operator: @O\nresolver: MEMORY\ndefault_sentinel: @U", "",
     "default sentinel must be a bearer token"},
    {"operator: @O\nresolver: MEMORY\ndefault_sentinel: @A", "", "default sentinel JWT not valid"},
    {"default_sentinel: @B", "", "default sentinel requires operators and accounts"},
    {"operator: @O\nresolver: MEMORY\nresolver_pinned_accounts: x", "",
     "pinned account key \"x\" is not a valid public account nkey"},
    {"operator: @O\nresolver: URL(http://x)\nresolver_preload { @K: @A }", "",
     "resolver preloads only available for writeable resolver types MEM/DIR/CACHE_DIR"},
    {"operator: @O\nresolver: MEMORY\nauthorization { auth_callout { issuer: " ISSUER
     ", auth_users: [a] } }",
     "", "operators do not allow authorization callouts to be configured directly"},

    {"authorization { auth_callout { issuer: " ISSUER ", auth_users: [a] } }", "", ""},
    {"authorization { auth_callout: x }", "",
     "f:1:16: Expected authorization callout to be a map/struct, got x"},
    {"authorization { auth_callout { issuer: x } }", "",
     "f:1:31: Expected callout user to be a valid public account nkey, got \"x\"\nf:1:16: "
     "Authorization callouts require authorized users to be specified"},
    {"authorization { auth_callout { auth_users: [a] } }", "",
     "f:1:16: Authorization callouts require an issuer to be specified"},
    {"authorization { auth_callout { issuer: " ISSUER " } }", "",
     "f:1:16: Authorization callouts require authorized users to be specified"},
    {"authorization { auth_callout { xkey: " ISSUER " } }", "",
     "f:1:31: Expected callout xkey to be a valid public xkey, got \"" ISSUER
     "\"\nf:1:16: Authorization callouts require an issuer to be specified"},
    {"authorization { auth_callout { users: a } }", "",
     "f:1:31: Expected auth_users field to be an array, got string\nf:1:16: Authorization callouts "
     "require an issuer to be specified"},
    {"authorization { auth_callout { what: a } }", "",
     "f:1:31: Unknown field \"what\" parsing authorization callout\nf:1:16: Authorization callouts "
     "require an issuer to be specified"},
    {"authorization { auth_callout { issuer: " ISSUER
     ", auth_users: [a], allowed_accounts: [B] } }",
     "", "auth_callout allowed account \"B\" not found in configured accounts"},

    {"proxies { trusted: [ { key: " ISSUER " } ] }", "", ""},
    {"proxies { trusted: x }", "",
     "f:1:10: expected proxies' trusted field to be an array, got string"},
    {"proxies { trusted: [ x ] }", "",
     "f:1:21: expected proxies' trusted entry to be a map/struct, got string"},
    {"proxies { trusted: [ { key: x } ] }", "", "f:1:23: invalid proxy key \"x\""},
    {"proxies { what: x }", "", "f:1:10: unknown field \"what\""},
};

TEST(options_of_operators)
{
    struct options o;
    struct buf text = {0}, why = {0};

    fill(rows[i].text, rows[i].fields, &text);
    load(buf_cstr(&text), &o, &why);
    ck_assert_str_eq(buf_cstr(&why), rows[i].error);
    options_free(&o);
    buf_free(&text);
    buf_free(&why);
}

/* Which version the operator asks for. */
TEST(operators_may_ask_for_a_version)
{
    static const struct {
        const char *version, *error;
    } asked[] = {
        {"2.0.0", ""},
        {"2.15.1", ""},
        {"3.0.0", "expected major version 3 > server major version 2"},
        {"2.16.0", "expected minor version 16 > server minor version 15"},
        {"2.15", "asserted server version must be of the form <major>.<minor>.<update>"},
        {"2.x.0", "asserted server version cant parse x to int"},
    };

    for (size_t k = 0; k < ARRAY_LEN(asked); k++) {
        struct options o;
        struct buf text = {0}, why = {0}, fields = {0};
        buf_printf(&fields, "\"assert_server_version\":\"%s\"", asked[k].version);
        fill("operator: @O\nresolver: MEMORY", buf_cstr(&fields), &text);
        load(buf_cstr(&text), &o, &why);
        ck_assert_msg(asked[k].error[0] == '\0' ? why.n == 0
                                                : strstr(buf_cstr(&why), asked[k].error) != NULL,
                      "%s: %s", asked[k].version, buf_cstr(&why));
        options_free(&o);
        buf_free(&text);
        buf_free(&why);
        buf_free(&fields);
    }
}

/* What the operator says where the file does not, and whom it trusts. */
TEST(operators_fill_in)
{
    struct options o;
    struct buf text = {0}, why = {0};
    struct signer op, key;

    signer_make(&op, NKEY_OPERATOR, 1);
    signer_make(&key, NKEY_OPERATOR, 2);
    buf_printf(&why,
               "\"account_server_url\":\"http://h:1/jwt/v1\",\"system_account\":\"SA\","
               "\"signing_keys\":[\"%s\"],\"strict_signing_key_usage\":true",
               key.key);
    fill("operator: @O", buf_cstr(&why), &text);
    buf_clear(&why);
    load(buf_cstr(&text), &o, &why);
    ck_assert_str_eq(buf_cstr(&why), "");
    ck_assert_str_eq(o.system_account, "SA");
    ck_assert_int_eq(o.operators.resolver.kind, RESOLVER_URL);
    ck_assert_str_eq(o.operators.resolver.url, "http://h:1/jwt/v1/accounts/");
    ck_assert(operators_on(&o) && operators_trust(&o, key.key) && !operators_trust(&o, op.key));
    ck_assert(operators_strict(&o, key.key));
    options_free(&o);
    buf_free(&text);
    buf_free(&why);
}

static const struct runner_case cases[] = {
    RUN_LOOP(options_of_operators, 0, ARRAY_LEN(rows)),
    RUN(operators_may_ask_for_a_version),
    RUN(operators_fill_in),
};

RUNNER_MAIN("config/operators", cases)
