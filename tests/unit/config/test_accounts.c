/* The accounts block: what it sets, what it refuses and where. */
#include "lib/base/assert.h"
#include "server/config/conf_parse.h"
#include "server/config/config_file.h"
#include "server/config/options.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <string.h>

static const char *source_text;

static bool read_source(void *ctx, const char *path, struct buf *out, struct buf *err)
{
    (void) ctx;
    (void) path;
    (void) err;
    buf_puts(out, source_text);
    return true;
}

static const char *no_environment(void *ctx, const char *name)
{
    (void) ctx;
    (void) name;
    return NULL;
}

static bool load(const char *text, struct options *o, struct buf *err)
{
    struct conf_source source = {read_source, no_environment, NULL};
    struct conf_tree tree;
    bool ok;

    source_text = text;
    options_init(o);
    ok = conf_parse(&source, "m", &tree, err) && config_file_apply(&tree, o, err);
    conf_tree_free(&tree);
    return ok;
}

TEST(reads_everything)
{
    struct options o;
    struct buf err = {0}, local = {0};
    const struct account_options *a, *b;

    ck_assert_msg(
        load("mappings: { foo: bar }\n"
             "accounts { A {\n"
             "  nkey: ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA\n"
             "  users: [ {user: a, pass: x}, {user: b, pass: y, permissions: {publish: only}} ]\n"
             "  default_permissions: { subscribe: \"s.>\" }\n"
             "  exports: [ {stream: \"out.>\"}, {service: \"ask.*\", response: stream,\n"
             "    threshold: \"5s\", accounts: [B]}, {stream: \"to.*\", "
             "account_token_position: 2} ]\n"
             "  mappings: { \"in.*\": [ {destination: \"x.$1\", weight: 30%}, "
             "{dest: y, weight: 20} ] }\n"
             "  limits: { max_conn: 1, max_subs: 2, max_pay: 3, max_leafs: 4 }\n"
             "  jetstream: { max_mem: 1k, max_file: 2k, max_streams: 3, max_consumers: 4,\n"
             "    max_bytes_required: true, mem_max_stream_bytes: 5, disk_max_stream_bytes: 6,\n"
             "    max_ack_pending: 7 } }\n"
             "B { imports: [ {stream: {account: A, subject: \"out.>\"}, prefix: p}\n"
             "    {service: {account: A, subject: \"ask.x\"}, to: here, share: true}\n"
             "    {stream: {account: A, subject: \"to.B\"}} ]\n"
             "  jetstream: enabled } }\n",
             &o, &err),
        "%s", buf_cstr(&err));
    ck_assert_uint_eq(o.accounts.n, 3);
    a = accounts_find(&o.accounts, "A");
    b = accounts_find(&o.accounts, "B");
    ck_assert_str_eq(accounts_find(&o.accounts, "$G")->mappings[0].dests[0].subject, "bar");
    ck_assert_uint_eq(a->nexports, 3);
    ck_assert(a->exports[1].service && a->exports[1].response == RESPONSE_STREAM);
    ck_assert_int_eq(a->exports[1].threshold_ns, 5000000000);
    ck_assert_str_eq(a->exports[1].accounts[0], "B");
    ck_assert_uint_eq(a->mappings[0].dests[1].weight, 20);
    ck_assert_int_eq(a->limits.connections, 1);
    ck_assert_int_eq(a->limits.leafnodes, 4);
    ck_assert(a->js.enabled && a->js.max_bytes_required);
    ck_assert_int_eq(a->js.max_store, 2000);
    ck_assert_int_eq(a->js.max_ack_pending, 7);
    ck_assert(b->js.enabled && b->js.max_streams == -1);
    account_import_local(&b->imports[0], &local);
    ck_assert_str_eq(buf_cstr(&local), "p.out.>");
    ck_assert(b->imports[1].share && strcmp(b->imports[1].to, "here") == 0);
    ck_assert_uint_eq(o.users.n, 2);
    ck_assert_str_eq(o.users.list[0].account, "A");
    ck_assert_str_eq(users_may(&o.users, &o.users.list[0])->sub_allow.rules[0].subject, "s.>");
    ck_assert_str_eq(users_may(&o.users, &o.users.list[1])->pub_allow.rules[0].subject, "only");
    options_free(&o);
    buf_free(&err);
    buf_free(&local);
}

static const struct {
    const char *text, *error;
} rejects[] = {
    {"accounts: 1", "m:1:0: Expected map entries for accounts"},
    {"accounts { A: 1 }", "m:1:11: Expected map entries for accounts"},
    {"accounts [A, A]", "m:1:13: Duplicate Account Entry: A"},
    {"accounts { $G {} }", "m:1:11: \"$G\" is a Reserved Account"},
    {"accounts { \"$G\" {} }", "m:1:12: \"$G\" is a Reserved Account"},
    {"accounts { A { nonsense: 1 } }", "m:1:15: unknown field \"nonsense\""},
    {"accounts { A { nkey: UA } }", "m:1:15: Not a valid public nkey for an account: \"UA\""},
    {"accounts { A { users: [ {user: a} ] }, B { users: [ {user: a} ] } }",
     "Duplicate user \"a\" detected"},
    {"authorization { user: x } accounts { A { users: [ {user: a} ] } }",
     "Can not have a single user/pass and accounts"},
    {"authorization { token: x } accounts { A { users: [ {user: a} ] } }",
     "Can not have a token and accounts"},
    {"accounts { A { exports: x } }", "m:1:15: Exports should be an array, got string"},
    {"accounts { A { exports: [x] } }",
     "m:1:25: Export Items should be a map with type entry, got string"},
    {"accounts { A { exports: [ {} ] } }", "an export needs a stream or a service"},
    {"accounts { A { exports: [ {stream: a, service: b} ] } }",
     "Detected service \"b\" but already saw a stream"},
    {"accounts { A { exports: [ {stream: a, response: stream} ] } }",
     "Detected response directive on non-service"},
    {"accounts { A { exports: [ {stream: a, latency: x} ] } }",
     "Detected latency directive on non-service"},
    {"accounts { A { exports: [ {service: a, response: none} ] } }",
     "Unknown response type: \"none\""},
    {"accounts { A { exports: [ {service: a, threshold: none} ] } }",
     "Expected response threshold to be a parseable time duration, got \"none\""},
    {"accounts { A { exports: [ {stream: \"a..b\"} ] } }",
     "Subject \"a..b\" is not a valid subject"},
    {"accounts { A { exports: [ {stream: a, accounts: [Z]} ] } }",
     "m:1:27: \"Z\" account not defined for stream export"},
    {"accounts { A { exports: [ {stream: a, account_token_position: 1} ] } }",
     "invalid account token position"},
    {"accounts { A { imports: [ {stream: a} ] } }", "Stream entry should be an account map"},
    {"accounts { A { imports: [ {service: {account: B}} ] } }",
     "Expect an account name and a subject"},
    {"accounts { A { imports: [ {stream: {account: B, subject: a}} ] } }",
     "m:1:27: \"B\" account not defined for stream import"},
    {"accounts { A { imports: [ {stream: {account: B, subject: a}, to: b, prefix: c} ] } B {} }",
     "Stream import can not have a 'prefix' and a 'to' property"},
    {"accounts { A { imports: [ {stream: {account: B, subject: a}} ] } B {} }",
     "Error adding stream import \"a\": stream import not authorized"},
    {"accounts { A { imports: [ {service: {account: B, subject: a}} ] }\n"
     "B { exports: [ {service: a, accounts: [C]} ] } C {} }",
     "m:1:27: Error adding service import \"a\": service import not authorized"},
    {"accounts { A { imports: [ {stream: {account: B, subject: a}, prefix: \"x.*\"} ] }\n"
     "B { exports: [ {stream: a} ] } }",
     "stream import prefix can not contain wildcard tokens"},
    {"accounts { A { imports: [ {stream: {account: B, subject: a}}, {stream: {account: B, "
     "subject: a}} ] }\nB { exports: [ {stream: a} ] } }",
     "m:1:63: Error adding stream import \"a\": stream import already exists"},
    {"accounts { A { exports: [ {stream: a} ], imports: [ {stream: {account: B, subject: a}} ] }\n"
     "B { exports: [ {stream: a} ], imports: [ {stream: {account: A, subject: a}} ] } }",
     "import forms a cycle"},
    {"accounts { A { exports: [ {service: a} ], imports: [ {service: {account: B, subject: a}} ] "
     "}\nB { exports: [ {service: a} ], imports: [ {service: {account: A, subject: a}} ] } }",
     "import forms a cycle"},
    {"mappings: [a]", "mappings must be a map of subjects"},
    {"mappings: { \"a..b\": c }", "Subject \"a..b\" is not a valid subject"},
    {"mappings: { a: [ {dest: b} ] }", "Missing weight for mapping destination \"b\""},
    {"mappings: { a: [ {dest: b, weight: 101} ] }", "Invalid weight 101 for mapping destination"},
    {"mappings: { a: [ {dest: b, weight: x%} ] }", "Invalid weight \"x%\" for mapping destination"},
    {"mappings: { a: [ {dest: b, weight: 60}, {dest: c, weight: 50} ] }",
     "total weight needs to be <= 100"},
    {"mappings: { a: [ {dest: b, weight: 6}, {dest: b, weight: 5} ] }",
     "duplicate entry for \"b\""},
    {"mappings: { a: [ {dest: b, weight: 6, x: 1} ] }",
     "Unknown field \"x\" for mapping destination"},
    {"accounts { A { limits { max_x: 1 } } }", "Unknown field \"max_x\" parsing account limits"},
    {"accounts { A { limits { max_subs: x } } }", "max_subs must be an integer"},
    {"accounts { A { jetstream: maybe } }",
     "Expected 'enabled' or 'disabled' for string value, got 'maybe'"},
    {"accounts { A { jetstream: 1 } }", "Expected map, bool or string to define JetStream"},
    {"accounts { A { jetstream: { max_mem: x } } }", "Expected a parseable size for \"max_mem\""},
};

TEST(rejects_with_place)
{
    for (size_t k = 0; k < ARRAY_LEN(rejects); k++) {
        struct options o;
        struct buf err = {0};
        ck_assert_msg(!load(rejects[k].text, &o, &err), "%s", rejects[k].text);
        ck_assert_msg(strstr(buf_cstr(&err), rejects[k].error) != NULL, "%s: wanted %s, got %s",
                      rejects[k].text, rejects[k].error, buf_cstr(&err));
        ck_assert_msg(strncmp(buf_cstr(&err), "m:", 2) == 0, "%s", buf_cstr(&err));
        options_free(&o);
        buf_free(&err);
    }
}

/* Exports cover imports as subjects do; a token may have to name the importer. */
TEST(who_may_import)
{
    static const struct {
        const char *subject, *importer;
        bool allowed;
    } rows[] = {
        {"all.>", "B", true}, {"all.x", "B", true},  {"all", "B", false},
        {"few.>", "B", true}, {"few.x", "C", false}, {"to.B", "B", true},
        {"to.C", "B", false}, {"other", "B", false}, {">", "B", false},
    };
    struct options o;
    struct buf err = {0};

    ck_assert(load("accounts { A { exports: [ {stream: \"all.>\"}, {stream: \"few.>\", accounts: "
                   "[B]}, {stream: \"to.*\", account_token_position: 2} ] }, B {}, C {} }",
                   &o, &err));
    for (size_t k = 0; k < ARRAY_LEN(rows); k++)
        ck_assert_msg(account_export_allows(accounts_find(&o.accounts, "A"), false, rows[k].subject,
                                            rows[k].importer) == rows[k].allowed,
                      "%s by %s", rows[k].subject, rows[k].importer);
    options_free(&o);
    buf_free(&err);
}

static const struct runner_case cases[] = {
    RUN(reads_everything),
    RUN(rejects_with_place),
    RUN(who_may_import),
};

RUNNER_MAIN("config/accounts", cases)
