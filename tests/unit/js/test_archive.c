/* test_archive.c - entries of backups, positions of sources, the header of sourced messages. */
#include "server/js/archive.h"
#include "server/js/source_positions.h"
#include "tests/lib/runner.h"

#include <string.h>

/* ---- archives -------------------------------------------------------------------------------- */

static void put_three(struct buf *b)
{
    archive_put(
        b, &(struct archive_entry){.name = STR("state.json"), .time = 5, .payload = STR("{}")});
    archive_put(b, &(struct archive_entry){.name = STR("s.a"),
                                           .time = -7,
                                           .seq = 300,
                                           .header = STR("NATS/1.0\r\n\r\n"),
                                           .payload = STR("hello")});
    archive_put_end(b);
}

TEST(entries_come_back)
{
    struct buf b = {0};
    struct archive_entry e;
    struct str in;

    put_three(&b);
    in = buf_str(&b);
    ck_assert_int_eq(archive_take(&in, &e), ARCHIVE_ENTRY);
    ck_assert(str_eq(e.name, STR("state.json")) && e.time == 5 && e.seq == 0);
    ck_assert_int_eq(archive_take(&in, &e), ARCHIVE_ENTRY);
    ck_assert(str_eq(e.name, STR("s.a")) && e.time == -7 && e.seq == 300);
    ck_assert(str_eq(e.header, STR("NATS/1.0\r\n\r\n")) && str_eq(e.payload, STR("hello")));
    ck_assert(!archive_is_end(&e));
    ck_assert_int_eq(archive_take(&in, &e), ARCHIVE_ENTRY);
    ck_assert(archive_is_end(&e));
    ck_assert_uint_eq(in.n, 0);
    buf_free(&b);
}

TEST(what_is_cut_off_waits)
{
    struct buf b = {0};

    put_three(&b);
    for (size_t n = 0; n < b.n; n++) {
        struct str in = str_take(buf_str(&b), n);
        struct archive_entry e;
        enum archive_got got;
        while ((got = archive_take(&in, &e)) == ARCHIVE_ENTRY)
            ;
        ck_assert_int_eq(got, ARCHIVE_MORE);
    }
    buf_free(&b);
}

TEST(what_is_too_long_is_refused)
{
    static const struct str table[] = {
        STR_LIT("\x81\x80\x40\x00\x01\x00\x00"),                         /* name */
        STR_LIT("\x01\x00\x01\xff\xff\xff\xff\x7f\x00"),                 /* header */
        STR_LIT("\x01\x00\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), /* payload */
        STR_LIT("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),     /* no number */
    };

    for (size_t k = 0; k < sizeof(table) / sizeof(table[0]); k++) {
        struct str in = table[k];
        struct archive_entry e;
        ck_assert_int_eq(archive_take(&in, &e), ARCHIVE_BAD);
    }
}

/* ---- positions ------------------------------------------------------------------------------- */

TEST(positions_come_back)
{
    struct source_positions p = {0}, q = {0};
    struct buf full = {0}, delta = {0};

    p.through = 70;
    source_positions_set(&p, STR("S > >"), STR("id"), 5);
    source_positions_set(&p, STR("T t.a >"), STR_NONE, 9);
    source_positions_put(&p, &full);
    ck_assert(source_positions_apply(&q, buf_str(&full)));
    source_positions_put_through(&delta, 0);
    source_positions_put_entry(&delta, STR("S > >"), STR("id2"), 6);
    ck_assert(source_positions_apply(&q, buf_str(&delta)));
    ck_assert_uint_eq(q.through, 70); /* it never goes back */
    ck_assert_uint_eq(q.n, 2);
    ck_assert_uint_eq(source_positions_find(&q, STR("S > >"))->sseq, 6);
    ck_assert_str_eq(source_positions_find(&q, STR("S > >"))->identity, "id2");
    ck_assert_ptr_null(source_positions_find(&q, STR("S")));
    for (size_t n = 1; n < delta.n; n++)
        if (n != 8)
            ck_assert(!source_positions_apply(&q, str_take(buf_str(&delta), n)));
    ck_assert_uint_eq(source_positions_find(&q, STR("S > >"))->sseq, 6);
    source_positions_free(&p);
    source_positions_free(&q);
    buf_free(&full);
    buf_free(&delta);
}

TEST(marks_come_back)
{
    struct buf b = {0};
    struct source_mark m;

    source_mark_put(&b, STR("S:AbCd1234 s.a\fs.b >\fx"), 77, STR("s.a"), STR("ident"));
    ck_assert_str_eq(buf_cstr(&b), "S:AbCd1234 77 s.a\fs.b >\fx s.a ident");
    ck_assert(source_mark_parse(buf_str(&b), &m));
    ck_assert_uint_eq(m.sseq, 77);
    ck_assert(source_mark_is(&m, STR("S:AbCd1234 s.a\fs.b >\fx")));
    ck_assert(!source_mark_is(&m, STR("S:AbCd1234 s.a >")));
    ck_assert(str_eq(m.identity, STR("ident")));
    ck_assert(source_mark_parse(STR("S 1 > > s"), &m) && m.identity.n == 0);
    ck_assert(!source_mark_parse(STR("S 1 >"), &m));
    ck_assert(!source_mark_parse(STR("S x > > s"), &m));
    ck_assert(!source_mark_parse(STR(""), &m));
    buf_free(&b);
}

TEST(headers_lose_what_is_spent)
{
    static const struct {
        const char *from, *value, *to; /* to NULL: stays */
    } table[] = {
        {"", "", NULL},
        {"NATS/1.0\r\nA: b\r\n\r\n", "", NULL},
        {"NATS/1.0\r\nNats-Expected-Stream: S\r\nA: b\r\n\r\n", "", "NATS/1.0\r\nA: b\r\n\r\n"},
        {"NATS/1.0\r\nNats-Batch-Id: S\r\n\r\n", "", ""},
        {"NATS/1.0\r\nNats-Stream-Source: x\r\n\r\n", "", NULL},
        {"", "v", "NATS/1.0\r\nNats-Stream-Source: v\r\n\r\n"},
        {"NATS/1.0\r\nNats-Stream-Source: x\r\nA: b\r\n\r\n", "v",
         "NATS/1.0\r\nA: b\r\nNats-Stream-Source: v\r\n\r\n"},
    };

    for (size_t k = 0; k < sizeof(table) / sizeof(table[0]); k++) {
        struct buf out = {0};
        bool made = source_header_make(&out, str_of(table[k].from), str_of(table[k].value));
        ck_assert_int_eq(made, table[k].to != NULL);
        if (made)
            ck_assert_str_eq(buf_cstr(&out), table[k].to);
        buf_free(&out);
    }
}

static const struct runner_case cases[] = {
    RUN(entries_come_back),   RUN(what_is_cut_off_waits), RUN(what_is_too_long_is_refused),
    RUN(positions_come_back), RUN(marks_come_back),       RUN(headers_lose_what_is_spent),
};

RUNNER_MAIN("js/archive", cases)
