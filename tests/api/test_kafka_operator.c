/*
 * test_kafka_operator.c - Kafka clients in operator mode: a bearer token is the password. What
 * keeps a token out; what ends a login; accounts that come while the server runs.
 */
#include "lib/base/mem.h"
#include "lib/wire/kafka_batch.h"
#include "lib/wire/kafka_pack.h"
#include "server/kafka/kafka_error.h"
#include "tests/api/kafka_client.h"
#include "tests/api/operator_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BEARER UNLIMITED_USER ",\"bearer_token\":true"
#define LISTEN "jetstream: enabled\nkafka { listen: \"127.0.0.1:-1\" }\n"

#define NO_BEARERS "disallow"

/* Claims of an account that has JetStream; more of them, or that one. payload: its users'. */
static char *account_with(const struct signer *a, const char *more, const char *payload)
{
    bool no_bearers = strcmp(more, NO_BEARERS) == 0;
    struct buf b = {0};
    char *token;

    more = no_bearers ? "" : more;
    buf_printf(&b,
               "\"limits\":{\"subs\":-1,\"data\":-1,\"payload\":%s,\"imports\":-1,\"exports\":-1,"
               "\"wildcards\":true,\"conn\":-1,\"leaf\":-1,\"mem_storage\":-1,"
               "\"disk_storage\":-1,\"streams\":-1,\"consumer\":-1%s}%s%s",
               payload, no_bearers ? ",\"disallow_bearer\":true" : "", more[0] != '\0' ? "," : "",
               more);
    token = token_make(&op, JWT_ACCOUNT, a->key, "A", buf_cstr(&b));
    buf_free(&b);
    return token;
}

static char *account(const struct signer *a, const char *more)
{
    return account_with(a, more, "-1");
}

/* Account A is known from the start. */
static void start(struct operator_world *w, const char *fields_of_a, const char *more)
{
    operator_begin(w, "");
    buf_puts(&w->text, LISTEN);
    buf_puts(&w->text, more);
    operator_preloads(w);
    operator_put_preload(w, &acc_a, account(&acc_a, fields_of_a));
    buf_puts(&w->text, "}\n");
    operator_ready(w);
}

/* None but the system account, which may tell of others. */
static void start_dir(struct operator_world *w, struct raw_client *s)
{
    operator_begin(w, "");
    buf_puts(&w->text, LISTEN);
    buf_printf(&w->text,
               "resolver: { type: full, allow_delete: true, dir: \"%s/jwt\" }\n"
               "resolver_preload: {\n",
               w->s.dir);
    operator_put_preload(w, &sys, operator_account(&sys, "SYS", ""));
    buf_puts(&w->text, "}\n");
    operator_ready(w);
    operator_let_in(s, w, &sys_user, operator_user(&sys, &sys_user, UNLIMITED_USER));
}

static void push(struct raw_client *r, char *token, const char *wanted)
{
    operator_ask(r, "$SYS.REQ.CLAIMS.UPDATE", token, wanted);
    mem_free(token);
}

/* The answer to a token; it is freed. */
static int16_t log_in(const struct operator_world *w, struct kafka_client *c, char *token)
{
    struct buf plain = {0};
    int16_t error;

    kafka_client_open(c, w->s.kafka_port);
    ck_assert_int_eq(
        KAFKA_CALL(c, sasl_handshake, SASL_HANDSHAKE, 1, .mechanism = STR("PLAIN"))->error_code,
        KAFKA_NONE);
    buf_put(&plain, "\0any\0", 5);
    buf_puts(&plain, token);
    error = KAFKA_CALL(c, sasl_authenticate, SASL_AUTHENTICATE, 2, .auth_bytes = buf_str(&plain))
                ->error_code;
    buf_free(&plain);
    mem_free(token);
    return error;
}

static void let_in(const struct operator_world *w, struct kafka_client *c, char *token)
{
    ck_assert_int_eq(log_in(w, c, token), KAFKA_NONE);
}

/* Is told so, and the connection ends. why: what the log says. */
static void kept_out(struct operator_world *w, char *token, const char *why)
{
    struct kafka_client c;

    ck_assert_int_eq(log_in(w, &c, token), KAFKA_SASL_AUTHENTICATION_FAILED);
    raw_expect_end(&c.raw);
    kafka_client_close(&c);
    server_process_log_wait(&w->s, why);
}

static int16_t make_topic(struct kafka_client *c, const char *name)
{
    struct kafka_create_topics_request_topics t = {
        .name = str_of(name), .num_partitions = 1, .replication_factor = 1};
    const struct kafka_create_topics_response *a = KAFKA_CALL(
        c, create_topics, CREATE_TOPICS, 5, .topics = &t, .topics_n = 1, .timeout_ms = 10000);

    ck_assert_int_eq(a->topics_n, 1);
    return a->topics[0].error_code;
}

static int32_t topics(struct kafka_client *c)
{
    return KAFKA_CALL(c, metadata, METADATA, 5, .topics_n = -1)->topics_n;
}

TEST(a_bearer_token_is_the_password)
{
    struct operator_world w;
    struct raw_client n;
    struct kafka_client c;

    start(&w, "", "");
    let_in(&w, &c, operator_user(&acc_a, &user_1, BEARER));
    ck_assert_int_eq(make_topic(&c, "t"), KAFKA_NONE);
    ck_assert_int_eq(topics(&c), 1);
    /* It is the account's, for NATS clients too. */
    operator_let_in(&n, &w, &user_2, operator_user(&acc_a, &user_2, UNLIMITED_USER));
    operator_ask(&n, "$JS.API.STREAM.INFO.t", "", "\"name\":\"t\"");
    raw_close(&n);
    kafka_client_close(&c);
    /* Who has said nothing may ask for nothing. */
    kafka_client_open(&c, w.s.kafka_port);
    kafka_client_send(&c, KAFKA_METADATA, 5, &(struct kafka_metadata_request){.topics_n = -1});
    raw_expect_end(&c.raw);
    kafka_client_close(&c);
    operator_end(&w);
}

TEST(what_a_user_may)
{
    struct operator_world w;
    struct kafka_client c;

    start(&w, "", "");
    let_in(&w, &c,
           operator_user(&acc_a, &user_1,
                         BEARER ",\"pub\":{\"allow\":[\"$JS.API.STREAM.CREATE.mine\"]},"
                                "\"sub\":{\"allow\":[\"mine\"]}"));
    ck_assert_int_eq(make_topic(&c, "other"), KAFKA_TOPIC_AUTHORIZATION_FAILED);
    ck_assert_int_eq(make_topic(&c, "mine"), KAFKA_NONE);
    kafka_client_close(&c);
    operator_end(&w);
}

/* ---- the largest payload --------------------------------------------------------------------- */

#define HEADERS "\6abc\4xy" /* one */

/* A batch of up to two records; the answer's error. *at: the record that it is about, or -1. */
static int16_t produce(struct kafka_client *c, const struct kafka_record *records, size_t n,
                       bool packed, int *at)
{
    static uint8_t bytes[16 << 10];
    struct kafka_builder b;
    struct buf pack = {0};
    struct str batch;

    kafka_builder_open(&b, bytes, sizeof(bytes), 0);
    for (size_t i = 0; i < n; i++) {
        struct kafka_record r = records[i];
        r.offset = (int64_t) i;
        ck_assert(kafka_builder_add(&b, &r));
    }
    batch = str_from(bytes, kafka_builder_finish(&b, 0, NULL));
    if (packed) {
        ck_assert_int_eq(kafka_batch_pack(batch, KAFKA_GZIP, &pack), ERR_OK);
        batch = buf_str(&pack);
    }
    struct kafka_produce_request_partition_data part = {
        .records = {.p = (const uint8_t *) batch.p, .n = batch.n}};
    struct kafka_produce_request_topic_data t = {
        .name = STR("t"), .partition_data = &part, .partition_data_n = 1};
    const struct kafka_produce_response *a = KAFKA_CALL(c, produce, PRODUCE, 8, .acks = -1,
                                                        .timeout_ms = 10000, .topic_data = &t,
                                                        .topic_data_n = 1);
    const struct kafka_produce_response_partition_responses *p = a->responses->partition_responses;
    *at = p->record_errors_n > 0 ? p->record_errors->batch_index : -1;
    buf_free(&pack);
    return p->error_code;
}

static const char long_text[5000];

static const struct payload_row {
    const char *user;     /* its payload */
    const char *account;  /* likewise */
    size_t key, value[2]; /* lengths */
    bool headers, packed;
    int16_t error;
    int at;
} payload_rows[] = {
    {"-1", "-1", 100, {5000, 0}, true, false, KAFKA_NONE, -1},
    {"100", "-1", 33, {60, 0}, true, false, KAFKA_NONE, -1},
    {"100", "-1", 33, {61, 0}, true, false, KAFKA_MESSAGE_TOO_LARGE, 0},
    {"100", "-1", 34, {60, 0}, true, false, KAFKA_MESSAGE_TOO_LARGE, 0},
    {"100", "-1", 0, {101, 0}, false, false, KAFKA_MESSAGE_TOO_LARGE, 0},
    {"100", "-1", 0, {100, 100}, false, false, KAFKA_NONE, -1},
    {"100", "-1", 0, {100, 101}, false, false, KAFKA_MESSAGE_TOO_LARGE, 1},
    {"100", "-1", 0, {5000, 1}, false, true, KAFKA_MESSAGE_TOO_LARGE, 0},
    {"100", "-1", 0, {100, 100}, false, true, KAFKA_NONE, -1},
    {"0", "-1", 0, {1, 0}, false, false, KAFKA_MESSAGE_TOO_LARGE, 0},
    {"-1", "100", 0, {101, 0}, false, false, KAFKA_MESSAGE_TOO_LARGE, 0},
    {"-1", "100", 0, {100, 0}, false, false, KAFKA_NONE, -1},
    {"200", "100", 0, {101, 0}, false, false, KAFKA_MESSAGE_TOO_LARGE, 0},
    {"100", "200", 0, {101, 0}, false, false, KAFKA_MESSAGE_TOO_LARGE, 0},
};
#define PAYLOAD_ROWS (sizeof(payload_rows) / sizeof(payload_rows[0]))

static void check_payload(const struct payload_row *row)
{
    struct operator_world w;
    struct kafka_client c;
    struct kafka_record r[2];
    char fields[128];
    int at;

    operator_begin(&w, "");
    buf_puts(&w.text, LISTEN);
    operator_preloads(&w);
    operator_put_preload(&w, &acc_a, account_with(&acc_a, "", row->account));
    buf_puts(&w.text, "}\n");
    operator_ready(&w);
    snprintf(fields, sizeof(fields), "\"subs\":-1,\"data\":-1,\"payload\":%s,\"bearer_token\":true",
             row->user);
    let_in(&w, &c, operator_user(&acc_a, &user_1, fields));
    ck_assert_int_eq(make_topic(&c, "t"), KAFKA_NONE);
    for (int k = 0; k < 2; k++)
        r[k] = (struct kafka_record){.key = str_from(long_text, row->key),
                                     .value = str_from(long_text, row->value[k]),
                                     .headers = row->headers ? STR(HEADERS) : STR(""),
                                     .nheaders = row->headers};
    ck_assert_int_eq(produce(&c, r, row->value[1] > 0 ? 2 : 1, row->packed, &at), row->error);
    ck_assert_int_eq(at, row->at);
    kafka_client_close(&c);
    operator_end(&w);
}

TEST(largest_payload)
{
    check_payload(&payload_rows[i]);
}

/* Whatever the claims say against it; and no mechanism that needs a password that we know. */
TEST(what_keeps_a_token_out)
{
    struct operator_world w;
    struct kafka_client c;
    char revoked[200];

    operator_make_keys();
    snprintf(revoked, sizeof(revoked), "\"revocations\":{\"%s\":%lld}", user_2.key,
             (long long) time(NULL) + 1000);
    start(&w, revoked, "debug: true\n");
    kept_out(&w, mem_strdup("a password"), "Kafka client: ");
    kept_out(&w, operator_user(&acc_a, &user_1, UNLIMITED_USER), "Signature missing");
    kept_out(&w, token_make_at(&acc_a, JWT_USER, user_1.key, "old", BEARER, 1000, 2000),
             "User JWT no longer valid: ");
    kept_out(&w, operator_user(&acc_b, &user_1, BEARER), "Account JWT lookup error");
    kept_out(&w, operator_user(&key_a, &user_1, BEARER), "Account JWT lookup error");
    kept_out(&w, operator_user_of_key(&user_1, BEARER), "User JWT issuer is not known");
    kept_out(&w, operator_user(&acc_a, &user_2, BEARER), "User authentication revoked");
    kept_out(&w, operator_user(&acc_a, &user_1, BEARER ",\"src\":[\"10.0.0.0/8\"]"), "Bad src Ip");
    kept_out(&w,
             operator_user(&acc_a, &user_1, BEARER ",\"allowed_connection_types\":[\"WEBSOCKET\"]"),
             "Connection type not allowed");
    kept_out(&w,
             operator_user(&acc_a, &user_1,
                           BEARER ",\"times\":[{\"start\":\"00:00:00\",\"end\":\"00:00:00\"}]"),
             "Outside connect times");
    kept_out(&w, operator_user(&acc_a, &user_1, BEARER ",\"proxy_required\":true"),
             "proxy connection required");
    kept_out(&w, operator_user(&sys, &sys_user, BEARER), "has an account without JetStream");
    let_in(&w, &c,
           operator_user(&acc_a, &user_1,
                         BEARER ",\"src\":[\"127.0.0.0/8\"],"
                                "\"allowed_connection_types\":[\"standard\"]"));
    kafka_client_close(&c);
    kafka_client_open(&c, w.s.kafka_port);
    ck_assert_int_eq(
        KAFKA_CALL(&c, sasl_handshake, SASL_HANDSHAKE, 1, .mechanism = STR("SCRAM-SHA-256"))
            ->error_code,
        KAFKA_NONE);
    ck_assert_int_eq(KAFKA_CALL(&c, sasl_authenticate, SASL_AUTHENTICATE, 2,
                                .auth_bytes = STR("n,,n=any,r=abcdef"))
                         ->error_code,
                     KAFKA_NONE); /* anybody is challenged */
    ck_assert_int_eq(KAFKA_CALL(&c, sasl_authenticate, SASL_AUTHENTICATE, 2,
                                .auth_bytes = STR("c=biws,r=abcdef,p=AAAA"))
                         ->error_code,
                     KAFKA_SASL_AUTHENTICATION_FAILED);
    kafka_client_close(&c);
    operator_end(&w);
}

/* The account may forbid such tokens, or leave it to a service; the operator may name accounts. */
TEST(what_keeps_an_accounts_tokens_out)
{
    struct operator_world w;
    char fields[200];

    operator_make_keys();
    start(&w, NO_BEARERS, "debug: true\n");
    kept_out(&w, operator_user(&acc_a, &user_1, BEARER), "Account does not allow bearer tokens");
    operator_end(&w);
    snprintf(fields, sizeof(fields), "\"authorization\":{\"auth_users\":[\"%s\"]}", user_2.key);
    start(&w, fields, "debug: true\n");
    kept_out(&w, operator_user(&acc_a, &user_1, BEARER), "looked at by a service");
    operator_end(&w);
    snprintf(fields, sizeof(fields), "debug: true\nresolver_pinned_accounts: [%s]\n", acc_b.key);
    start(&w, "", fields);
    kept_out(&w, operator_user(&acc_a, &user_1, BEARER), "not listed as operator pinned account");
    operator_end(&w);
}

TEST(a_login_ends_at_its_time)
{
    struct operator_world w;
    struct kafka_client c;

    start(&w, "", "");
    let_in(&w, &c,
           token_make_at(&acc_a, JWT_USER, user_1.key, "joe", BEARER, 0, (int64_t) time(NULL) + 2));
    raw_expect_end(&c.raw);
    kafka_client_close(&c);
    operator_end(&w);
}

/* An account comes, gets JetStream, takes a user back, forbids bearers, goes. */
TEST(claims_change)
{
    struct operator_world w;
    struct raw_client s;
    struct kafka_client c, d;
    char fields[200], *token;

    start_dir(&w, &s);
    push(&s, operator_account(&acc_a, "A", ""), "jwt updated");
    ck_assert_int_eq(log_in(&w, &c, operator_user(&acc_a, &user_1, BEARER)),
                     KAFKA_SASL_AUTHENTICATION_FAILED); /* it has no topics */
    kafka_client_close(&c);
    push(&s, account(&acc_a, ""), "jwt updated");
    let_in(&w, &c, operator_user(&acc_a, &user_1, BEARER));
    let_in(&w, &d, operator_user(&acc_a, &user_2, BEARER));
    ck_assert_int_eq(make_topic(&c, "t"), KAFKA_NONE);
    ck_assert_int_eq(topics(&d), 1);
    snprintf(fields, sizeof(fields), "\"revocations\":{\"%s\":%lld}", user_1.key,
             (long long) time(NULL) + 1000);
    push(&s, account(&acc_a, fields), "jwt updated");
    raw_expect_end(&c.raw);
    kafka_client_close(&c);
    /* The other one stays, and has what there is now by default. */
    push(&s,
         account(&acc_a,
                 "\"default_permissions\":{\"pub\":{\"allow\":[\"$JS.API.STREAM.CREATE.u\"]}}"),
         "jwt updated");
    ck_assert_int_eq(make_topic(&d, "v"), KAFKA_TOPIC_AUTHORIZATION_FAILED);
    ck_assert_int_eq(make_topic(&d, "u"), KAFKA_NONE);
    push(&s, account(&acc_a, NO_BEARERS), "jwt updated");
    raw_expect_end(&d.raw);
    kafka_client_close(&d);
    push(&s, account(&acc_a, ""), "jwt updated");
    let_in(&w, &c, operator_user(&acc_a, &user_1, BEARER));
    snprintf(fields, sizeof(fields), "\"accounts\":[\"%s\"]", acc_a.key);
    token = token_make(&op, JWT_GENERIC, op.key, "", fields);
    operator_ask(&s, "$SYS.REQ.CLAIMS.DELETE", token, "\"message\":\"deleted 1 accounts\"");
    mem_free(token);
    raw_expect_end(&c.raw);
    kafka_client_close(&c);
    raw_close(&s);
    operator_end(&w);
}

/* Known to the directory alone: it is fetched while the client waits. Its topics are there. */
TEST(an_account_is_looked_up)
{
    struct operator_world w;
    struct raw_client s;
    struct kafka_client c;

    start_dir(&w, &s);
    push(&s, account(&acc_a, ""), "jwt updated");
    let_in(&w, &c, operator_user(&acc_a, &user_1, BEARER));
    ck_assert_int_eq(make_topic(&c, "t"), KAFKA_NONE);
    kafka_client_close(&c);
    raw_close(&s);
    for (int k = 0; k < 2; k++) {
        server_process_stop(&w.s);
        server_process_start(&w.s);
        let_in(&w, &c, operator_user(&acc_a, &user_1, BEARER));
        ck_assert_int_eq(topics(&c), 1);
        kafka_client_close(&c);
    }
    operator_end(&w);
}

static const struct runner_case cases[] = {
    RUN(a_bearer_token_is_the_password),
    RUN(what_a_user_may),
    RUN_LOOP(largest_payload, 0, PAYLOAD_ROWS),
    RUN(what_keeps_a_token_out),
    RUN(what_keeps_an_accounts_tokens_out),
    RUN(a_login_ends_at_its_time),
    RUN(claims_change),
    RUN(an_account_is_looked_up),
};

RUNNER_MAIN("api/kafka_operator", cases)
