/*
 * test_config_file.c - the grammar as tables of texts, values and rejects; keys into options; and
 * that conf/server.conf documents every key.
 */
#include "lib/base/assert.h"
#include "server/config/conf_parse.h"
#include "server/config/config_file.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- grammar --------------------------------------------------------------------------------- */

static bool read_text(void *ctx, const char *path, struct buf *out, struct buf *err)
{
    if (strcmp(path, "main.conf") == 0) {
        buf_puts(out, ctx);
        return true;
    }
    if (strcmp(path, "more.conf") == 0) {
        buf_puts(out, "from_include: 7\n");
        return true;
    }
    if (strcmp(path, "bad.conf") == 0) {
        buf_puts(out, "# one\nb: [1\n");
        return true;
    }
    if (strcmp(path, "loop.conf") == 0) {
        buf_puts(out, "include 'loop.conf'\n");
        return true;
    }
    buf_printf(err, "open %s: no such file", path);
    return false;
}

static const char *environment(void *ctx, const char *name)
{
    (void) ctx;
    return strcmp(name, "FROM_ENV") == 0 ? "42" : NULL;
}

static bool parse(const char *text, struct conf_tree *tree, struct buf *err)
{
    struct conf_source source = {read_text, environment, (void *) (uintptr_t) text};

    return conf_parse(&source, "main.conf", tree, err);
}

TEST(reads_scalars)
{
    static const struct {
        const char *text;
        enum conf_kind kind;
        int64_t integer;
        const char *string;
    } rows[] = {
        {"a: 1", CONF_INT, 1, NULL},
        {"a = -1", CONF_INT, -1, NULL},
        {"a 4222", CONF_INT, 4222, NULL},
        {"A: 1", CONF_INT, 1, NULL},
        {"\"a\": 5,", CONF_INT, 5, NULL},
        {"a: 1k", CONF_INT, 1000, NULL},
        {"a: 1KB", CONF_INT, 1024, NULL},
        {"a: 2mib", CONF_INT, 2 << 20, NULL},
        {"a: 3G", CONF_INT, 3000000000, NULL},
        {"a: true", CONF_BOOL, 1, NULL},
        {"a: OFF", CONF_BOOL, 0, NULL},
        {"a: 1.5", CONF_FLOAT, 0, NULL},
        {"a: hello # x", CONF_TEXT, 0, "hello"},
        {"a: 'it # is'", CONF_TEXT, 0, "it # is"},
        {"a: \"x\\x41\\t\"", CONF_TEXT, 0, "xA\t"},
        {"a: $FROM_ENV", CONF_INT, 42, NULL},
        {"b: 9; a: $b", CONF_INT, 9, NULL},
        {"a: $2a$11$abc", CONF_TEXT, 0, "$2a$11$abc"},
        {"// c\na: nats://127.0.0.1:4222\n", CONF_TEXT, 0, "nats://127.0.0.1:4222"},
        {"a: (\nline\n)\n", CONF_TEXT, 0, "\nline\n"},
        {"{\"a\": 3}", CONF_INT, 3, NULL},
    };

    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        struct conf_tree tree;
        struct buf err = {0};
        ck_assert_msg(parse(rows[k].text, &tree, &err), "%s: %s", rows[k].text, buf_cstr(&err));
        const struct conf_value *v = conf_get(tree.root, "a");
        ck_assert_msg(v != NULL, "%s", rows[k].text);
        ck_assert_msg(v->kind == rows[k].kind, "%s: kind %d", rows[k].text, v->kind);
        if (rows[k].string != NULL)
            ck_assert_str_eq(v->text, rows[k].string);
        else if (v->kind != CONF_FLOAT)
            ck_assert_int_eq(v->integer, rows[k].integer);
        conf_tree_free(&tree);
        buf_free(&err);
    }
}

TEST(reads_nested_maps_lists_and_includes)
{
    struct conf_tree tree;
    struct buf err = {0};
    const struct conf_value *m, *l;

    ck_assert_msg(parse("m { x: 1, y { z: [a, \"b\" 3] } }\ninclude 'more.conf'\n", &tree, &err),
                  "%s", buf_cstr(&err));
    m = conf_get(conf_get(tree.root, "m"), "y");
    l = conf_get(m, "z");
    ck_assert_uint_eq(l->n, 3);
    ck_assert_str_eq(l->items[1]->text, "b");
    ck_assert_int_eq(conf_get(tree.root, "from_include")->integer, 7);
    conf_tree_free(&tree);
    buf_free(&err);
}

TEST(rejects_with_place)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"a: \"x", "main.conf:1:4: Unexpected end of a quoted text"},
        {"a: {", "main.conf:1:3: Unexpected end of a map"},
        {"\n a: [1, 2", "main.conf:2:5: Unexpected end of an array"},
        {"a: $NOPE", "main.conf:1:4: variable reference for 'NOPE' on line 1 can not be found"},
        {"a:", "main.conf:1:3: Expected a value"},
        {"}", "main.conf:1:1: Expected a key, got '}'"},
        {"a: \"\\q\"", "main.conf:1:7: Invalid escape character."},
        {"{a: 1} b: 2", "main.conf:1:8: Unexpected text behind the closing brace"},
        {"include 'none.conf'", "main.conf:1:20: open none.conf: no such file"},
        {"include { a: 1 }", "main.conf:1:8: Expected a file name after 'include'"},
        {"include 'bad.conf'\nc: 1", "bad.conf:2:4: Unexpected end of an array"},
        {"include 'loop.conf'", "loop.conf:1:20: Too many nested includes"},
        {"a: (x\n  )", "main.conf:1:4: Unexpected end of a block text"},
        {"a: (b) c", "main.conf:1:4: Unexpected end of a block text"},
        {"a: 'x\n'", "main.conf:1:4: Unexpected end of a quoted text"},
        {"a: \"\\x4\"", "main.conf:1:9: Expected two hexadecimal digits"},
        {"a: $a", "main.conf:1:4: variable reference for 'a' on line 1 can not be found"},
        {": 1", "main.conf:1:1: Expected a key, got ':'"},
        {"a: ]", "main.conf:1:4: Expected a value"},
        {"a", "main.conf:1:2: Expected a value"},
    };

    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        struct conf_tree tree;
        struct buf err = {0};
        ck_assert_msg(!parse(rows[k].text, &tree, &err), "%s was accepted", rows[k].text);
        ck_assert_msg(strncmp(buf_cstr(&err), rows[k].error, strlen(rows[k].error)) == 0, "%s: %s",
                      rows[k].text, buf_cstr(&err));
        conf_tree_free(&tree);
        buf_free(&err);
    }
}

/* A closing parenthesis anywhere else is text. */
TEST(reads_blocks)
{
    static const struct {
        const char *text, *value;
    } rows[] = {
        {"a: (\nx\n)\nb: 1", "\nx\n"},
        {"a: (\nx (y)\n) \n  )\n)", "\nx (y)\n) \n  )\n"},
        {"a: (\n)\r\nb: 1", "\n"},
    };

    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        struct conf_tree tree;
        struct buf err = {0};
        ck_assert_msg(parse(rows[k].text, &tree, &err), "%s: %s", rows[k].text, buf_cstr(&err));
        ck_assert_str_eq(conf_get(tree.root, "a")->text, rows[k].value);
        conf_tree_free(&tree);
        buf_free(&err);
    }
}

/* Each line doubles what the one before holds: 2^20 values are refused, not allocated. */
TEST(limits_values)
{
    struct conf_tree tree;
    struct buf text = {0}, err = {0};

    buf_puts(&text, "a0: [1]\n");
    for (int k = 1; k <= 30; k++)
        buf_printf(&text, "a%d: [$a%d $a%d]\n", k, k - 1, k - 1);
    ck_assert(!parse(buf_cstr(&text), &tree, &err));
    ck_assert_msg(strstr(buf_cstr(&err), "Too many values") != NULL, "%s", buf_cstr(&err));
    conf_tree_free(&tree);
    buf_clear(&text);
    buf_puts(&text, "a: ");
    for (int k = 0; k < 100; k++)
        buf_puts(&text, "[");
    ck_assert(!parse(buf_cstr(&text), &tree, &err));
    ck_assert_str_eq(buf_cstr(&err), "main.conf:1:68: Nested too deeply");
    conf_tree_free(&tree);
    buf_free(&text);
    buf_free(&err);
}

#define NKEY "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"

/* ---- options --------------------------------------------------------------------------------- */

static bool load(const char *text, struct options *o, struct buf *err)
{
    char path[] = "/tmp/midge-conf-XXXXXX";
    int fd = mkstemp(path);
    bool ok;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t) strlen(text));
    close(fd);
    options_init(o);
    ok = config_file_load(path, o, err);
    unlink(path);
    return ok;
}

TEST(applies_keys)
{
    struct options o;
    struct buf err = {0};

    ck_assert_msg(
        load("listen: 127.0.0.1:-1\nhttp: 8223\nmax_payload: 2mb\nping_interval: 5\n"
             "authorization { user: u, password: p }\n"
             "jetstream { store_dir: '/x', sync_interval: always, limits { max_ack_pending: 5 } }\n"
             "midge { workers: 3 }\n",
             &o, &err),
        "%s", buf_cstr(&err));
    ck_assert_str_eq(o.host, "127.0.0.1");
    ck_assert_int_eq(o.port, -1);
    ck_assert_int_eq(o.http_port, 8223);
    ck_assert_uint_eq(o.max_payload, 2 << 20);
    ck_assert_int_eq(o.ping_interval_ns, 5000000000);
    ck_assert_str_eq(o.user, "u");
    ck_assert(o.jetstream && o.sync_interval_set);
    ck_assert_int_eq(o.js_max_ack_pending, 5);
    ck_assert_uint_eq(o.workers, 3);
    ck_assert_int_eq(strncmp(o.config_digest, "sha256:", 7), 0);
    options_free(&o);
}

TEST(keys_of_encryption)
{
    static const struct {
        const char *text, *key, *prev;
        unsigned cipher;
    } rows[] = {
        {"jetstream { key: abc }", "abc", NULL, 0},
        {"jetstream { ek: abc, cipher: chacha }", "abc", NULL, OPTIONS_CHACHA},
        {"jetstream { encryption_key: abc, prev_key: d, cipher: ChaChaPoly }", "abc", "d",
         OPTIONS_CHACHA},
        {"jetstream { key: abc, prev_ek: d, cipher: AES }", "abc", "d", OPTIONS_AES},
        {"jetstream { key: abc, prev_encryption_key: 'd e' }", "abc", "d e", 0},
    };

    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        struct options o;
        struct buf err = {0};
        ck_assert_msg(load(rows[k].text, &o, &err), "%s", buf_cstr(&err));
        ck_assert_str_eq(o.js_key, rows[k].key);
        ck_assert_pstr_eq(o.js_prev_key, rows[k].prev);
        ck_assert_uint_eq(o.js_cipher, rows[k].cipher);
        options_wipe_keys(&o);
        ck_assert_ptr_null(o.js_key);
        ck_assert_ptr_null(o.js_prev_key);
        options_free(&o);
    }
}

struct reject {
    const char *text, *error;
};

static void rejects(const struct reject *rows, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        struct options o;
        struct buf err = {0};
        ck_assert_msg(!load(rows[k].text, &o, &err), "%s was accepted", rows[k].text);
        ck_assert_msg(strstr(buf_cstr(&err), rows[k].error) != NULL, "%s: %s", rows[k].text,
                      buf_cstr(&err));
        options_free(&o);
        buf_free(&err);
    }
}

TEST(rejects_unknown_and_wrong)
{
    static const struct reject rows[] = {
        {"nonsense: 1", ":1:0: unknown field \"nonsense\""},
        {"port: abc", ":1:0: port must be an integer"},
        {"max_payload: -5", ":1:0: max_payload must not be negative"},
        {"debug: 7", ":1:0: debug must be true or false"},
        {"ping_interval: soon",
         ":1:0: error parsing ping_interval: time: invalid duration \"soon\""},
        {"listen: nowhere", ":1:0: could not parse address string \"nowhere\""},
        {"jetstream: maybe",
         ":1:0: Expected 'enabled' or 'disabled' for string value, got 'maybe'"},
        {"authorization { token: t, user: u }", "Cannot have a user/pass and token"},
        {"cluster { prot: 1 }", ":1:10: unknown field \"prot\""},
        {"cluster { name: \"a b\" }", ":1:10: cluster name must be a text without spaces"},
        {"cluster: 1", "Expected cluster to be a map"},
        {"gateway { x: 1 }", ":1:10: unknown field \"x\""},
        {"mqtt { x: 1 }", ":1:7: unknown field \"x\""},
        {"ocsp { mode: maybe }", ":1:7: error parsing ocsp config: unsupported ocsp mode string"},
        {"ocsp { url: \"ftp://x\" }", "error parsing ocsp config: a responder is an http URL"},
        {"ocsp { urls: [1] }", "error parsing ocsp config: a responder is an http URL"},
        {"ocsp { urls: 1 }", "error parsing ocsp config: unsupported type int64"},
        {"ocsp { x: 1 }", "error parsing ocsp config: unsupported field string"},
        {"ocsp_cache { type: far }", "peer cache config, unknown type [far]"},
        {"ocsp_cache { preserve_revoked: 1 }", "unknown field [\"preserve_revoked\"]"},
        {"ocsp_cache { save_interval: x }",
         "error parsing tls peer config, conversion error: time: invalid duration \"x\""},
        {"tls { ocsp_peer: 1 }", "error parsing ocsp peer config: unsupported type map"},
        {"tls { ocsp_peer { verify: 1 } }", "tls peer config, unknown field [\"verify\"]"},
        {"tls { ocsp_peer { ca_timeout: x } }",
         "error parsing tls peer config, conversion error: time: invalid duration \"x\""},
        {"tls { ocsp_peer { other: 1 } }", "tls peer config, unknown field [\"other\"]"},
        {"jetstream { tpm { a: b } }", "keys from a TPM are not supported: use key"},
        {"jetstream { disabled: 1 }", "disabled must be true or false"},
        {"jetstream { meta_compact: x }", ":1:12: expected an integer, true or false"},
        {"jetstream { unique_tag: 1 }", ":1:12: expected a text"},
        {"prof_port: x", ":1:0: prof_port must be an integer"},
        {"server_tags: [1]", ":1:14: error parsing tags: unsupported type int64"},
        {"server_metadata { a: 1 }", ":1:18: error parsing metadata: \"a\" must be a text"},
        {"server_metadata: a", ":1:0: error parsing metadata: unsupported type string"},
        {"feature_flags { a: 1 }",
         ":1:16: error parsing feature flag \"a\": expected bool, got int64"},
        {"feature_flags: 1", "error parsing feature flags: unsupported type int64"},
        {"write_timeout: never", ":1:0: write_timeout must be 'default', 'close' or 'retry'"},
        {"trace_headers: 1", ":1:0: trace_headers must be true or false"},
        {"connect_error_reports: x", ":1:0: expected an integer"},
        {"no_sublist_cache: x", ":1:0: expected true or false"},
        {"port: 65536", ":1:0: port is not between -1 and 65535"},
        {"port: -2", ":1:0: port is not between -1 and 65535"},
        {"http_port: 99999", ":1:0: http_port is not between -1 and 65535"},
        {"listen: 65536", ":1:0: port 65536 is not between -1 and 65535"},
        {"listen: 'h:65536'", ":1:0: could not parse port \"65536\""},
        {"listen: [1]", ":1:0: expected port or host:port, got []interface {}"},
        {"http: 99999999999999", ":1:0: port 99999999999999 is not between -1 and 65535"},
        {"ping_interval: 9223372036854775807",
         ":1:0: error parsing ping_interval: expected a duration, as \"2s\""},
        {"ping_interval: 1.0e30",
         ":1:0: error parsing ping_interval: expected a duration, as \"2s\""},
        {"ping_interval: -2s",
         ":1:0: error parsing ping_interval: a duration must not be negative"},
        {"write_deadline: true",
         ":1:0: error parsing write_deadline: expected a duration, as \"2s\""},
        {"max_control_line: 5000000000", ":1:0: max_control_line is too large"},
        {"server_name { a: 1 }", ":1:0: server_name must be a text"},
        {"authorization: yes", ":1:0: authorization must be a map"},
        {"jetstream { limits: 1 }", ":1:12: Expected a map to define JetStreamLimits, got int64"},
        {"jetstream {\n  max_file: 1\n  kay: abc\n}", ":3:3: unknown field \"kay\""},
        {"jetstream { prev_ek: \"\" }", "prev_key must be a text that is not empty"},
        {"jetstream { cipher: rot13 }", ":1:12: Unknown cipher type: \"rot13\""},
        {"midge: 1", ":1:0: midge must be a map"},
        {"midge { io: ring }", ":1:8: io must be auto, uring or event"},
        {"lame_duck_duration: \"3s\"", "invalid lame_duck_duration of 3s, minimum is 30 seconds"},
    };

    rejects(rows, ARRAY_LEN(rows));
}

TEST(rejects_tls_blocks_and_others)
{
    static const struct reject rows[] = {
        {"tls: 1", ":1:0: tls must be a map"},
        {"tls { }", ":1:0: missing 'cert_file' in TLS configuration"},
        {"tls { cert_file: a }", ":1:0: missing 'key_file' in TLS configuration"},
        {"tls { cert: a }", ":1:6: error parsing tls config, unknown field \"cert\""},
        {"tls { cert_file: a, key_file: b, min_version: '1.1' }",
         ":1:33: error parsing tls config: unsupported TLS version: TLS 1.1"},
        {"tls { cert_file: a, key_file: b, cipher_suites: [] }",
         "error parsing tls config, 'cipher_suites' cannot be empty"},
        {"tls { cert_file: a, key_file: b, cipher_suites: ['AES'] }", "unrecognized cipher AES"},
        {"tls { cert_file: a, key_file: b, curve_preferences: [P256] }",
         "unrecognized curve preference P256"},
        {"tls { cert_file: a, key_file: b, pinned_certs: ['12'] }",
         "error parsing tls config, 'pinned_certs' key 12 does not look like hex-encoded s"},
        {"tls { cert_file: a, key_file: b, handshake_first: maybe }",
         "field \"handshake_first\"'s value \"maybe\" is invalid"},
        {"tls { cert_file: a, key_file: b, timeout: -1 }", "a duration must not be negative"},
        {"tls { cert_file: a, key_file: b, verify_and_map: 2 }",
         "expected 'verify_and_map' to be a boolean"},
        {"authorization { users: joe }", ":1:16: Expected users field to be an array, got joe"},
        {"authorization { users: [joe] }",
         ":1:24: Expected user entry to be a map/struct, got joe"},
        {"authorization { users: [{pass: p}] }", ":1:25: User entry requires a user"},
        {"authorization { users: [{user: a},{user: a}] }", "Duplicate user \"a\" detected"},
        {"authorization { users: [{user: a, colour: b}] }", "unknown field \"colour\""},
        {"authorization { users: [{nkey: UAB}] }", "Not a valid public nkey for a user"},
        {"authorization { users: [{nkey: " NKEY ", pass: p}] }",
         "Nkey users do not take usernames or passwords"},
        {"authorization { users: [{user: a}], user: u }",
         "Can not have a single user/pass and a users array"},
        {"authorization { users: [{user: a}], token: t }",
         "Can not have a token and a users array"},
        {"authorization { users: [{user: a, permissions: 1}] }",
         "Expected permissions to be a map/struct"},
        {"authorization { users: [{user: a, permissions: { push: a }}] }",
         "Unknown field \"push\" parsing permissions"},
        {"authorization { users: [{user: a, permissions: { pub: a..b }}] }",
         "subject \"a..b\" is not a valid subject"},
        {"authorization { users: [{user: a, permissions: { pub: \"a q\" }}] }",
         "subject \"a q\" is not a valid subject"},
        {"authorization { users: [{user: a, permissions: { sub: \"a q..r\" }}] }",
         "subject \"a q..r\" is not a valid subject"},
        {"authorization { users: [{user: a, permissions: { sub: [{a: b}] }}] }",
         "Subject in permissions array cannot be cast to string"},
        {"authorization { users: [{user: a, permissions: { sub: {allow: a, forbid: b} }}] }",
         "Unknown field name \"forbid\" parsing subject permissions"},
        {"authorization { users: [{user: a, permissions: { allow_responses: 7 }}] }",
         "error parsing response permissions, expected a boolean or a map"},
        {"authorization { users: [{user: a, permissions: { allow_responses: {ttl: 7} }}] }",
         "error parsing expires, not a duration string"},
        {"authorization { users: [{user: a, connection_types: [RADIO]}] }",
         "invalid connection types [\"RADIO\"]"},
        {"midge { workers: 65 }", ":1:8: workers must be an integer from 0 to 64"},
        {"kafka { listen: here }", ":1:8: could not parse address string \"here\""},
        {"kafka { num_partitions: -1 }", ":1:8: num_partitions must not be negative"},
        {"kafka { node_id: -1 }", ":1:8: node_id must not be negative"},
        {"kafka: true", ":1:0: kafka must be a map"},
    };

    rejects(rows, ARRAY_LEN(rows));
}

TEST(rejects_in_the_words_of_nats_server)
{
    static const struct reject rows[] = {
        {"server_name: \"a b\"", ":1:0: server name cannot contain spaces"},
        {"nonsense: 1\nport: x", ":1:0: unknown field \"nonsense\"\n"},
        {"max_payload: 3000000000", ":1:0: max_payload value is too big"},
        {"jetstream { max_file: \"1x\" }", ":1:12: max_file_store sizes defined as strings must"},
        {"mappings { a: 1 }", ":1:11: Expected an entry for the mapping destination"},
        {"ping_interval: 1w", ":1:0: error parsing ping_interval: time: unknown unit \"w\" in"},
        {"ping_interval: \"7\"", ":1:0: error parsing ping_interval: time: missing unit in"},
        {"ping_interval: \"1.\"", ":1:0: error parsing ping_interval: time: missing unit in"},
    };

    rejects(rows, ARRAY_LEN(rows));
}

TEST(rejects_types)
{
    static const struct reject rows[] = {
        {"tls { certs: a }", "error parsing certificates config: unsupported type map["},
        {"tls { certs: [a] }", "error parsing certificates config: unsupported type string"},
        {"tls { certs: [{foo: a}] }", "error parsing tls certs config, unknown field \"foo\""},
        {"tls { certs: [{cert_file: 1}] }", "unsupported type int64"},
        {"tls { certs: [{cert_file: a}] }", "both 'cert_file' and 'cert_key' options are required"},
        {"tls { cert_file: a, key_file: b, certs: [{cert_file: a, key_file: b}] }",
         "cannot combine 'cert_file' option with 'certs' option"},
        {"tls { certs: [] }", ":1:0: missing 'cert_file' in TLS configuration"},
        {"ocsp: 1", "error parsing ocsp config: unsupported type int64"},
        {"authorization { users: [{user: a, permissions: {publish: true}}] }",
         "Expected subject permissions to be a subject, or array of subjects, got bool"},
    };

    rejects(rows, ARRAY_LEN(rows));
}

TEST(kafka_blocks)
{
    struct options o;
    struct buf err = {0};

    ck_assert(load("port: 1", &o, &err));
    ck_assert_int_eq(o.kafka_port, 0);
    options_free(&o);
    ck_assert(load("kafka {}", &o, &err));
    ck_assert_int_eq(o.kafka_port, 9092);
    ck_assert_str_eq(o.kafka_host, "127.0.0.1");
    ck_assert_uint_eq(o.kafka_num_partitions, 1);
    ck_assert_uint_eq(o.kafka_node_id, 1);
    ck_assert(o.kafka_auto_create);
    ck_assert_int_eq(o.kafka_group_delay_ns, 500000000);
    ck_assert_int_eq(o.kafka_group_heartbeat_ns, INT64_C(5000000000));
    ck_assert_int_eq(o.kafka_group_session_ns, INT64_C(45000000000));
    ck_assert_int_eq(o.kafka_group_session_min_ns, INT64_C(6000000000));
    ck_assert_int_eq(o.kafka_offsets_retention_ns, INT64_C(604800000000000));
    ck_assert_int_eq(o.kafka_compaction_ns, INT64_C(15000000000));
    options_free(&o);
    ck_assert(load(
        "kafka { listen: '[::1]:-1', advertise: 'b.example:19092', num_partitions: 4, node_id: 0, "
        "auto_create_topics: false, group_delay: 0s, offsets_retention: 1h, "
        "group_heartbeat: 100ms, group_session: 2s, group_session_min: 10ms, "
        "compaction_interval: 200ms }",
        &o, &err));
    ck_assert_int_eq(o.kafka_port, -1);
    ck_assert_str_eq(o.kafka_host, "::1");
    ck_assert_str_eq(o.kafka_advertise, "b.example:19092");
    ck_assert_uint_eq(o.kafka_num_partitions, 4);
    ck_assert_uint_eq(o.kafka_node_id, 0);
    ck_assert(!o.kafka_auto_create && !o.kafka_tls);
    ck_assert_int_eq(o.kafka_group_delay_ns, 0);
    ck_assert_int_eq(o.kafka_group_heartbeat_ns, 100000000);
    ck_assert_int_eq(o.kafka_group_session_ns, 2000000000);
    ck_assert_int_eq(o.kafka_group_session_min_ns, 10000000);
    ck_assert_int_eq(o.kafka_offsets_retention_ns, INT64_C(3600000000000));
    ck_assert_int_eq(o.kafka_compaction_ns, 200000000);
    options_free(&o);
    buf_free(&err);
}

TEST(applies_users_and_their_permissions)
{
    struct options o;
    struct buf err = {0};
    const struct permissions *p;

    ck_assert_msg(
        load("P = 4711\nport: $P\n"
             "authorization {\n"
             "  SOME = { publish: [a, \"b.>\"], subscribe: { allow: \"c q.*\", deny: d } }\n"
             "  default_permissions: { publish: { deny: x }, allow_responses: true }\n"
             "  users: [\n"
             "    { user: joe, password: s3, permissions: $SOME, clients: [WEBSOCKET] }\n"
             "    { nkey: " NKEY " }\n"
             "  ]\n"
             "}\n",
             &o, &err),
        "%s", buf_cstr(&err));
    ck_assert_int_eq(o.port, 4711);
    ck_assert_uint_eq(o.users.n, 2);
    ck_assert_str_eq(o.users.list[0].name, "joe");
    ck_assert_str_eq(o.users.list[0].pass, "s3");
    ck_assert_uint_eq(o.users.list[0].kinds & USER_STANDARD, 0);
    ck_assert_uint_ne(o.users.list[1].kinds & USER_STANDARD, 0);
    ck_assert_str_eq(o.users.list[1].nkey, NKEY);
    p = users_may(&o.users, &o.users.list[0]);
    ck_assert_uint_eq(p->pub_allow.n, 2);
    ck_assert_str_eq(p->pub_allow.rules[1].subject, "b.>");
    ck_assert_str_eq(p->sub_allow.rules[0].subject, "c");
    ck_assert_str_eq(p->sub_allow.rules[0].queue, "q.*");
    ck_assert_str_eq(p->sub_deny.rules[0].subject, "d");
    ck_assert(!p->responses);
    p = users_may(&o.users, &o.users.list[1]);
    ck_assert(p == o.users.otherwise && p->responses && p->pub_allow.set);
    ck_assert_int_eq(p->responses_max, 1);
    ck_assert_int_eq(p->responses_ns, 120000000000);
    ck_assert_uint_eq(p->pub_allow.n, 0);
    options_free(&o);
}

#define HEX62 "00112233445566778899aabbccddeeff00112233445566778899aabbccddee"

TEST(reads_a_tls_block)
{
    struct options o;
    struct buf err = {0};

    ck_assert_msg(
        load("tls { cert_file: a, key_file: b, ca_file: c, verify_and_map: true, timeout: 0.5,\n"
             "  cipher_suites: [TLS_X, TLS_Y], curve_preferences: [CurveP256, X25519],\n"
             "  min_version: \"1.3\", immediate: \"70ms\", pinned_certs: [\"AB" HEX62
             "\"] }\nallow_non_tls: true\n",
             &o, &err),
        "%s", buf_cstr(&err));
    ck_assert(o.tls.on && o.tls.verify && o.tls.map && o.allow_non_tls && o.tls.first);
    ck_assert_str_eq(o.tls.cert_file, "a");
    ck_assert_str_eq(o.tls.key_file, "b");
    ck_assert_str_eq(o.tls.ca_file, "c");
    ck_assert_int_eq(o.tls.timeout_ns, 500000000);
    ck_assert_str_eq(o.tls.ciphers, "TLS_X,TLS_Y");
    ck_assert_str_eq(o.tls.curves, "CurveP256,X25519");
    ck_assert_int_eq(o.tls.min_version, 13);
    ck_assert_int_eq(o.tls.first_wait_ns, 70000000);
    ck_assert_str_eq(o.tls.pinned, "ab" HEX62);
    options_free(&o);
    ck_assert(load("tls { cert_file: a, key_file: b, handshake_first: auto }", &o, &err));
    ck_assert(o.tls.first && o.tls.first_wait_ns == 50000000 && !o.tls.verify);
    options_free(&o);
}

TEST(describes_the_server)
{
    struct options o;
    struct buf err = {0};

    ck_assert_msg(
        load("server_tags: [\" Region:EU\", ssd, ssd, \"\"]\nserver_metadata { rack: r1, b: c }\n"
             "feature_flags { js_ack_fc_v2: true, other: false }\ntrace_headers: true\n"
             "write_timeout: retry\ncluster { name: C, routes: [\"nats://a:1\"] }\n"
             "mqtt { port: 1883 }\nocsp: false\nprof_port: 1\nprof_block_rate: 1\n"
             "no_sublist_cache: true\nconnect_error_reports: 1\nocsp_cache: true\n"
             "default_js_domain { A: d }\n",
             &o, &err),
        "%s", buf_cstr(&err));
    ck_assert_uint_eq(o.tags.n, 2);
    ck_assert_str_eq(o.tags.items[0], "region:eu");
    ck_assert_str_eq(o.tags.items[1], "ssd");
    ck_assert_uint_eq(o.metadata.n, 4);
    ck_assert_str_eq(o.metadata.items[0], "rack");
    ck_assert_str_eq(o.metadata.items[1], "r1");
    ck_assert(o.flags[FLAG_JS_ACK_FC_V2] && o.flags[FLAG_JS_RAFT_DELETE_RANGE]);
    ck_assert_uint_eq(o.unknown_flags.n, 1);
    ck_assert(o.trace && o.trace_headers && o.write_retry);
    ck_assert_str_eq(o.cluster_name, "C");
    ck_assert_uint_eq(o.inactive.n, 4);
    ck_assert_str_eq(o.inactive.items[0], "cluster");
    ck_assert_str_eq(o.inactive.items[3], "prof_block_rate");
    ck_assert_str_eq(o.default_domains.items[1], "d");
    options_free(&o);
}

/* What is set to 0 is not off but at its default; what contradicts itself is refused. */
TEST(finishes_and_checks)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"30s\"",
         "lame duck grace period (30s) should be strictly lower than lame duck duration (30s)"},
        {"max_payload: 2mb\nmax_pending: 1mb",
         "max_payload (2097152) cannot be higher than max_pending (1048576)"},
        {"no_auth_user: joe", "no_auth_user: \"joe\" present, but users/nkeys are not defined"},
        {"no_auth_user: joe\nauthorization { users: [{user: a}] }",
         "no_auth_user: \"joe\" not present as user or nkey in authorization block or account "
         "configuration"},
        {"tls { cert_file: a, key_file: b, ca_file: c, verify_and_map: true }",
         "verify_and_map needs a list of users"},
        {"write_deadline: 0\nping_max: 0\nmax_pending: 0\nno_auth_user: a\n"
         "authorization { users: [{user: a}] }",
         NULL},
    };

    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        struct options o;
        struct buf err = {0};
        char why[256];
        bool ok;
        ck_assert_msg(load(rows[k].text, &o, &err), "%s", buf_cstr(&err));
        options_finish(&o);
        ok = options_check(&o, why);
        ck_assert_msg(ok == (rows[k].error == NULL), "%s", rows[k].text);
        if (!ok)
            ck_assert_str_eq(why, rows[k].error);
        ck_assert_int_eq(o.write_deadline_ns, 10000000000);
        ck_assert_uint_eq(o.ping_max, 2);
        ck_assert_uint_gt(o.max_pending, 0);
        options_free(&o);
    }
}

/* The time to log in follows from that for the handshake in front of it, at each door. */
TEST(derives_times)
{
    static const struct {
        const char *text;
        double clients, leafs;
    } rows[] = {
        {"port: 4222", 2, 2},
        {"tls { cert_file: a, key_file: b }", 3, 2},
        {"tls { cert_file: a, key_file: b, timeout: 0.5 }", 1.5, 2},
        {"tls { cert_file: a, key_file: b, timeout: 5 }\nauthorization { timeout: 1 }", 1, 2},
        {"authorization { timeout: 7 }\nleafnodes { port: 7422 }", 7, 2},
        {"leafnodes { port: 7422, tls { cert_file: a, key_file: b, timeout: 4 } }", 2, 5},
        {"leafnodes { port: 7422, tls { cert_file: a, key_file: b },\n"
         "  authorization { user: u, timeout: 9 } }",
         2, 9},
    };

    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        struct options o;
        struct buf err = {0};
        ck_assert_msg(load(rows[k].text, &o, &err), "%s: %s", rows[k].text, buf_cstr(&err));
        options_finish(&o);
        ck_assert_msg((double) o.auth_timeout_ns == rows[k].clients * 1e9, "%s", rows[k].text);
        ck_assert_msg((double) o.leaf.auth_timeout_ns == rows[k].leafs * 1e9, "%s", rows[k].text);
        options_free(&o);
    }
}

static char *slurp(const char *name)
{
    const char *top = getenv("MIDGE_SRCDIR");
    char path[512];
    char *text = calloc(1, 1 << 20);
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", top != NULL ? top : "..", name);
    f = fopen(path, "re");
    ck_assert_msg(f != NULL, "%s", path);
    ck_assert_uint_gt(fread(text, 1, (1 << 20) - 1, f), 0);
    fclose(f);
    return text;
}

/* Every {"key", of the tables in config_*.c must stand in conf/server.conf. */
TEST(every_key_is_documented)
{
    static const char *const sources[] = {
        "server/config/config_file.c",      "server/config/config_auth.c",
        "server/config/config_callout.c",   "server/config/config_operator.c",
        "server/config/config_tls.c",       "server/config/config_accounts.c",
        "server/config/config_websocket.c",
    };
    char *conf = slurp("conf/server.conf");
    unsigned keys = 0;

    for (size_t k = 0; k < ARRAY_LEN(sources); k++) {
        char *source = slurp(sources[k]);
        for (char *at = source; (at = strstr(at, "{\"")) != NULL; at++) {
            char key[64] = "";
            size_t n = strcspn(at + 2, "\"");
            if (n == 0 || n >= sizeof(key) || at[2 + n + 1] != ',')
                continue;
            memcpy(key, at + 2, n);
            ck_assert_msg(strstr(conf, key) != NULL, "conf/server.conf does not mention %s", key);
            keys++;
        }
        free(source);
    }
    ck_assert_uint_gt(keys, 50);
    free(conf);
}

static const struct runner_case cases[] = {
    RUN(reads_scalars),
    RUN(reads_nested_maps_lists_and_includes),
    RUN(reads_blocks),
    RUN(rejects_with_place),
    RUN(limits_values),
    RUN(applies_keys),
    RUN(keys_of_encryption),
    RUN(rejects_unknown_and_wrong),
    RUN(rejects_in_the_words_of_nats_server),
    RUN(rejects_tls_blocks_and_others),
    RUN(rejects_types),
    RUN(kafka_blocks),
    RUN(applies_users_and_their_permissions),
    RUN(reads_a_tls_block),
    RUN(describes_the_server),
    RUN(finishes_and_checks),
    RUN(derives_times),
    RUN(every_key_is_documented),
};

RUNNER_MAIN("config/config_file", cases)
