/* test_committed.c - committed offsets as messages and back, and the table of a group. */
#include "lib/base/mem.h"
#include "server/kafka/committed.h"
#include "tests/lib/runner.h"

#include <string.h>

static struct committed_offset offset_of(struct str topic, int32_t partition, int64_t offset)
{
    struct committed_offset o = {.topic = topic,
                                 .partition = partition,
                                 .offset = offset,
                                 .epoch = 7,
                                 .metadata = STR("some \0 text"),
                                 .time_ms = 1234567890123,
                                 .seq = 3};

    memset(&o.topic_id, 0xa5, sizeof(o.topic_id));
    return o;
}

struct message {
    struct buf subject, header, payload;
};

static void free_message(struct message *m)
{
    buf_free(&m->subject);
    buf_free(&m->header);
    buf_free(&m->payload);
}

TEST(there_and_back)
{
    static const struct str groups[] = {STR_LIT("g"), STR_LIT("a.b c>*"), STR_LIT("=2E"),
                                        STR_LIT("\0\xff\xc3\xa9")};
    struct committed_offset o = offset_of(STR("my.topic"), 12, 1ll << 40), back = {0};
    struct message m = {0};
    struct buf names = {0};
    struct str group;

    committed_render(groups[i], &o, &m.subject, &m.header, &m.payload);
    ck_assert(committed_parse(buf_str(&m.subject), buf_str(&m.header), buf_str(&m.payload), &names,
                              &group, &back));
    ck_assert(str_eq(group, groups[i]));
    ck_assert(str_eq(back.topic, o.topic) && str_eq(back.metadata, o.metadata));
    ck_assert(back.partition == o.partition && back.offset == o.offset && back.epoch == o.epoch);
    ck_assert(back.time_ms == o.time_ms);
    ck_assert_mem_eq(&back.topic_id, &o.topic_id, sizeof(o.topic_id));
    buf_free(&names);
    free_message(&m);
}

/* What Kafka's own tools read: bytes from its formats. */
TEST(bytes)
{
    struct committed_offset o = offset_of(STR("t"), 1, 5);
    struct message m = {0};

    o.metadata = STR("m");
    committed_render(STR("g"), &o, &m.subject, &m.header, &m.payload);
    ck_assert(str_eq(buf_str(&m.subject), STR("$KAFKA.OFFSETS.g.t.1")));
    ck_assert(str_eq(buf_str(&m.header),
                     STR("NATS/1.0\r\nKafka-Key-B64: AAEAAWcAAXQAAAAB\r\nKafka-Topic-Id: "
                         "A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5\r\n\r\n")));
    ck_assert(str_eq(buf_str(&m.payload), STR("\0\3\0\0\0\0\0\0\0\5\0\0\0\7\0\1m"
                                              "\0\0\1\x1f\x71\xfb\x04\xcb")));
    free_message(&m);
}

TEST(refused)
{
    static const struct {
        const char *from, *to; /* what becomes of the subject */
        size_t cut;            /* of the payload's end */
        bool header;           /* without one */
    } rows[] = {
        {"$KAFKA.OFFSETS.", "$KAFKA.OTHER.", 0, false},
        {".g.", "..", 0, false},
        {".t.", "..", 0, false},
        {".t.1", ".t", 0, false},
        {".t.1", ".t.x", 0, false},
        {".t.1", ".t.-1", 0, false},
        {".t.1", ".t.1.1", 0, false},
        {".t.1", ".t.99999999999", 0, false},
        {".g.", ".=2.", 0, false},
        {".g.", ".=2g.", 0, false},
        {".g.", ".g g.", 0, false},
        {"", "", 1, false},
        {"", "", 10, false},
        {"", "", 25, false},
        {"", "", 0, true},
    };
    struct committed_offset o = offset_of(STR("t"), 1, 5), back = {0};
    struct message m = {0};
    struct buf names = {0}, subject = {0};
    struct str group;
    const char *at;

    o.metadata = STR("m");
    committed_render(STR("g"), &o, &m.subject, &m.header, &m.payload);
    at = strstr(buf_cstr(&m.subject), rows[i].from);
    buf_put(&subject, m.subject.p, (size_t) (at - m.subject.p));
    buf_puts(&subject, rows[i].to);
    buf_puts(&subject, at + strlen(rows[i].from));
    ck_assert(!committed_parse(buf_str(&subject), rows[i].header ? STR_NONE : buf_str(&m.header),
                               str_take(buf_str(&m.payload), m.payload.n - rows[i].cut), &names,
                               &group, &back));
    buf_free(&names);
    buf_free(&subject);
    free_message(&m);
}

/* Clients commit -1 and -2 to go back to where they start without an offset. */
TEST(negative_offset)
{
    struct committed_offset o = offset_of(STR("t"), 1, i == 0 ? -1 : -2), back = {0};
    struct message m = {0};
    struct buf names = {0};
    struct str group;

    committed_render(STR("g"), &o, &m.subject, &m.header, &m.payload);
    ck_assert(committed_parse(buf_str(&m.subject), buf_str(&m.header), buf_str(&m.payload), &names,
                              &group, &back));
    ck_assert_int_eq(back.offset, o.offset);
    buf_free(&names);
    free_message(&m);
}

TEST(old_version)
{
    struct committed_offset o = offset_of(STR("t"), 1, 5), back = {0};
    struct message m = {0};
    struct buf names = {0};
    struct str group;

    committed_render(STR("g"), &o, &m.subject, &m.header, &m.payload);
    m.payload.p[1] = 1;
    ck_assert(!committed_parse(buf_str(&m.subject), buf_str(&m.header), buf_str(&m.payload), &names,
                               &group, &back));
    buf_free(&names);
    free_message(&m);
}

TEST(table)
{
    struct committed c;
    struct committed_offset o, **all;
    struct held held = {0};

    committed_init(&c, &held);
    for (int k = 0; k < 100; k++) {
        o = offset_of(k % 2 == 0 ? STR("b") : STR("a"), (k * 37) % 50 / 2, k);
        committed_put(&c, &o);
    }
    o = offset_of(STR("a"), 3, 77);
    o.metadata = STR_NONE;
    committed_put(&c, &o);
    ck_assert_int_eq(committed_find(&c, STR("a"), 3)->offset, 77);
    ck_assert_uint_eq(committed_find(&c, STR("a"), 3)->metadata.n, 0);
    ck_assert_ptr_null(committed_find(&c, STR("c"), 3));
    ck_assert_ptr_null(committed_find(&c, STR("a"), 25));
    all = committed_sorted(&c);
    for (size_t k = 1; all[k] != NULL; k++) {
        int order = str_cmp(all[k - 1]->topic, all[k]->topic);
        ck_assert(order < 0 || (order == 0 && all[k - 1]->partition < all[k]->partition));
    }
    mem_free(all);
    size_t before = held.bytes;
    o.metadata = STR("12345");
    committed_put(&c, &o);
    ck_assert_uint_eq(held.bytes, before + 5);
    committed_drop(&c, committed_find(&c, STR("a"), 3));
    ck_assert_uint_eq(held.bytes, before);
    ck_assert_ptr_null(committed_find(&c, STR("a"), 3));
    committed_deinit(&c);
    ck_assert_uint_eq(held.bytes, 0);
}

static const struct runner_case cases[] = {
    RUN_LOOP(there_and_back, 0, 4),  RUN(bytes),       RUN_LOOP(refused, 0, 15),
    RUN_LOOP(negative_offset, 0, 2), RUN(old_version), RUN(table),
};

RUNNER_MAIN("kafka/committed", cases)
