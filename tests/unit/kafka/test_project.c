/* test_project.c - records as messages and back: keys, nulls, headers, times. */
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "server/kafka/project.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <string.h>

#define BYTES(text)                                                                                \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }
#define NIL                                                                                        \
    {                                                                                              \
        NULL, 0                                                                                    \
    }

/* A record, what its message's header is, and that it comes back. */
static const struct row {
    struct str key, value;
    struct {
        struct str name, value;
    } headers[2];
    int nheaders;
    const char *want; /* lines behind NATS/1.0, but the timestamp */
} rows[] = {
    {BYTES("k"), BYTES("v"), {{NIL, NIL}}, 0, "Kafka-Key: k\r\n"},
    {NIL, BYTES("v"), {{NIL, NIL}}, 0, ""},
    {BYTES(""), BYTES(""), {{NIL, NIL}}, 0, "Kafka-Key: \r\n"},
    {BYTES("k"), NIL, {{NIL, NIL}}, 0, "Kafka-Key: k\r\nKafka-Null-Value: 1\r\n"},
    {BYTES("a\r\nb"), BYTES("v"), {{NIL, NIL}}, 0, "Kafka-Key-B64: YQ0KYg==\r\n"},
    {BYTES(" a"), BYTES("v"), {{NIL, NIL}}, 0, "Kafka-Key-B64: IGE=\r\n"},
    {BYTES("a\0b"), BYTES("v"), {{NIL, NIL}}, 0, "Kafka-Key-B64: YQBi\r\n"},
    {NIL, BYTES("v"), {{BYTES("h"), BYTES("1")}, {BYTES("h"), BYTES("2")}}, 2, "h: 1\r\nh: 2\r\n"},
    {NIL, BYTES("v"), {{BYTES("h"), NIL}}, 1, "Kafka-Headers-B64: AgJoAQ==\r\n"},
    {NIL, BYTES("v"), {{BYTES("a b"), BYTES("1")}}, 1, "Kafka-Headers-B64: AgZhIGICMQ==\r\n"},
    {NIL, BYTES("v"), {{BYTES("h"), BYTES("1\n")}}, 1, "Kafka-Headers-B64: AgJoBDEK\r\n"},
    {NIL,
     BYTES("v"),
     {{BYTES("Nats-Msg-Id"), BYTES("1")}},
     1,
     "Kafka-Headers-B64: AhZOYXRzLU1zZy1JZAIx\r\n"},
    {NIL, BYTES("v"), {{BYTES(""), BYTES("")}}, 1, "Kafka-Headers-B64: AgAA\r\n"},
};

static bool same(struct str a, struct str b)
{
    return (a.p == NULL) == (b.p == NULL) && str_eq(a, b);
}

TEST(there_and_back)
{
    const struct row *row = &rows[i];
    struct buf headers = {0}, block = {0}, want = {0}, scratch = {0};
    struct kafka_record r = {.time = 1234, .offset = 41, .key = row->key, .value = row->value},
                        back;

    for (int k = 0; k < row->nheaders; k++)
        kafka_header_put(&headers, row->headers[k].name, row->headers[k].value);
    r.headers = buf_str(&headers);
    r.nheaders = row->nheaders;
    project_header(&r, &block);
    ck_assert(header_valid(buf_str(&block)));
    ck_assert(str_eq(header_get(buf_str(&block), STR("Kafka-Timestamp")), STR("1234")));
    header_remove(&want, buf_str(&block), STR("Kafka-Timestamp"));
    if (row->want[0] != '\0') {
        struct str lines = str_skip(buf_str(&want), strlen("NATS/1.0\r\n"));
        lines.n -= 2;
        ck_assert_msg(str_eq(lines, str_of(row->want)), "%.*s", STR_ARG(lines));
    } else {
        ck_assert_uint_eq(want.n, 0);
    }
    struct store_msg m = {.seq = 42,
                          .ts = 5000000,
                          .subject = STR("t"),
                          .header = buf_str(&block),
                          .payload = row->value.p != NULL ? row->value : STR("")};
    project_message(&m, STR("t"), &scratch, &back);
    ck_assert(same(back.key, r.key) && same(back.value, r.value));
    ck_assert_int_eq(back.nheaders, r.nheaders);
    ck_assert(str_eq(back.headers, r.headers));
    ck_assert(back.offset == 41 && back.time == 5);
    buf_free(&headers);
    buf_free(&block);
    buf_free(&want);
    buf_free(&scratch);
}

/* Messages of NATS clients. */
static const struct message {
    const char *subject, *header, *payload;
    const char *key, *value; /* NULL: null */
    int nheaders;
    const char *first_name, *first_value;
} messages[] = {
    {"t", "", "p", NULL, "p", 0, NULL, NULL},
    {"t", "", "", NULL, "", 0, NULL, NULL},
    {"t.x", "", "p", NULL, "p", 1, "Nats-Subject", "t.x"},
    {"t", "NATS/1.0\r\nA: b\r\nNats-Expected-Stream: S\r\n\r\n", "p", NULL, "p", 1, "A", "b"},
    {"t", "NATS/1.0\r\nKafka-Key: k\r\nNats-Msg-Id: 7\r\n\r\n", "p", "k", "p", 1, "Nats-Msg-Id",
     "7"},
    {"t", "NATS/1.0\r\nKV-Operation: DEL\r\n\r\n", "", NULL, NULL, 1, "KV-Operation", "DEL"},
    {"t", "NATS/1.0\r\nKV-Operation: PURGE\r\n\r\n", "", NULL, NULL, 1, "KV-Operation", "PURGE"},
    {"t", "NATS/1.0\r\nKV-Operation: PUT\r\n\r\n", "", NULL, "", 1, "KV-Operation", "PUT"},
    {"t", "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\n\r\n", "", NULL, NULL, 1, "Nats-Marker-Reason",
     "MaxAge"},
    {"t", "NATS/1.0\r\nKafka-Null-Value: 1\r\n\r\n", "p", NULL, "p", 0, NULL, NULL},
    {"t", "NATS/1.0\r\nKafka-Key-B64: !!\r\n\r\n", "p", "", "p", 0, NULL, NULL},
    {"t", "NATS/1.0\r\nKafka-Headers-B64: AAAA\r\nA: b\r\n\r\n", "p", NULL, "p", 1, "A", "b"},
};

TEST(what_nats_clients_publish)
{
    const struct message *x = &messages[i];
    struct store_msg m = {.seq = 1,
                          .subject = str_of(x->subject),
                          .header = str_of(x->header),
                          .payload = str_of(x->payload)};
    struct buf scratch = {0};
    struct kafka_record r;
    struct str name, value;

    project_message(&m, STR("t"), &scratch, &r);
    ck_assert((r.key.p == NULL) == (x->key == NULL) && str_eq(r.key, str_of(x->key)));
    ck_assert((r.value.p == NULL) == (x->value == NULL) && str_eq(r.value, str_of(x->value)));
    ck_assert_int_eq(r.nheaders, x->nheaders);
    if (x->nheaders > 0) {
        ck_assert(kafka_header_next(&r.headers, &name, &value));
        ck_assert(str_eq(name, str_of(x->first_name)) && str_eq(value, str_of(x->first_value)));
    }
    ck_assert_uint_eq(r.headers.n, 0);
    buf_free(&scratch);
}

struct seen {
    uint32_t n;
    char text[256];
};

static bool see(void *to, uint32_t i, struct str header, struct str payload)
{
    struct seen *s = to;
    bool bad = header_get(header, STR("Kafka-Undecodable")).p != NULL;
    size_t at = strlen(s->text);

    ck_assert_uint_eq(i, s->n++);
    snprintf(s->text + at, sizeof(s->text) - at, "%s%.*s,", bad ? "!" : "", STR_ARG(payload));
    return true;
}

TEST(batches_that_can_not_be_read_say_so)
{
    uint8_t bytes[512];
    struct kafka_builder b;
    struct seen s = {0};

    kafka_builder_open(&b, bytes, sizeof(bytes), 10);
    for (int k = 0; k < 3; k++) {
        struct kafka_record r = {.offset = 10 + k, .value = STR("v")};
        ck_assert(kafka_builder_add(&b, &r));
    }
    size_t n = kafka_builder_finish(&b, 0, NULL);
    project_batch(STR("t"), str_from(bytes, n), 11, 3, see, &s);
    ck_assert_str_eq(s.text, "v,v,v,");
    s = (struct seen){0};
    bytes[n - 3] = 126; /* length of the last record's value */
    project_batch(STR("t"), str_from(bytes, n), 11, 3, see, &s);
    ck_assert_str_eq(s.text, "v,v,!,");
    s = (struct seen){0};
    project_batch(STR("t"), str_from(bytes, 40), 11, 3, see, &s);
    ck_assert_str_eq(s.text, "!,!,!,");
}

/* No memory is not told as a batch that can not be read. */
TEST(no_memory_says_so)
{
    uint8_t bytes[512];
    struct kafka_builder b;
    struct seen s = {0};

    kafka_builder_open(&b, bytes, sizeof(bytes), 10);
    ck_assert(kafka_builder_add(&b, &(struct kafka_record){.offset = 10, .value = STR("v")}));
    size_t n = kafka_builder_finish(&b, 0, NULL);
    bytes[22] = KAFKA_SNAPPY;
    mem_fail_after(1);
    bool decoded = project_batch(STR("t"), str_from(bytes, n), 11, 1, see, &s);
    mem_fail_after(0);
    ck_assert(!decoded);
    ck_assert_uint_eq(s.n, 0);
    ck_assert(project_batch(STR("t"), str_from(bytes, n), 11, 1, see, &s));
    ck_assert_str_eq(s.text, "!,");
}

static const struct runner_case cases[] = {
    RUN_LOOP(there_and_back, 0, sizeof(rows) / sizeof(rows[0])),
    RUN_LOOP(what_nats_clients_publish, 0, sizeof(messages) / sizeof(messages[0])),
    RUN(batches_that_can_not_be_read_say_so),
    RUN(no_memory_says_so),
};

RUNNER_MAIN("kafka/project", cases)
