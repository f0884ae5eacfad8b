/*
 * test_parse.c - what libmidge reads that somebody else wrote: tables of what it takes and of what
 * it refuses.
 */
#include "client/kv_int.h"
#include "client/object_int.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <string.h>

#define COUNT(t) (int) (sizeof(t) / sizeof((t)[0]))

static struct midge_text text(const char *s)
{
    return midge_text_of(s);
}

/* ---- INFO ------------------------------------------------------------------------------------ */

static const char *const bad_infos[] = {
    "",
    "{",
    "null",
    "[]",
    "\"x\"",
    "{\"max_payload\":\"1\"}",
    "{\"max_payload\":-1}",
    "{\"max_payload\":1.5}",
    "{\"nonce\":7}",
    "{\"nonce\":\"a\\u0000b\"}",
    "{\"tls_required\":1}",
    "{\"max_payload\":1} x",
    "{\"max_payload\":99999999999999999999}",
};

TEST(bad_info)
{
    struct client_info info = {.max_payload = 77};

    ck_assert(!client_info_read(&info, str_of(bad_infos[i])));
    ck_assert_int_eq(info.max_payload, 77);
}

TEST(good_info)
{
    struct client_info info = {0};

    ck_assert(client_info_read(&info, STR(" {\"a\":[{}],\"nonce\":\"N\",\"max_payload\":5} ")));
    ck_assert_str_eq(info.nonce, "N");
    ck_assert(client_info_read(&info, STR("{\"max_payload\":6,\"tls_required\":true}")));
    ck_assert_ptr_null(info.nonce);
    ck_assert(info.tls_required);
    ck_assert_int_eq(info.max_payload, 6);
    client_info_free(&info);
}

/* ---- acknowledgements ------------------------------------------------------------------------ */

static const struct {
    const char *json, *stream;
    uint64_t seq;
    int rc;
    unsigned code;
    bool duplicate;
} acks[] = {
    {"{\"stream\":\"S\",\"seq\":7}", "S", 7, MIDGE_OK, 0, false},
    {"{\"stream\":\"S\", \"seq\":7}", "S", 7, MIDGE_OK, 0, false},
    {"{\"stream\":\"S\",\"domain\":\"D\",\"seq\":7}", "S", 7, MIDGE_OK, 0, false},
    {"{\"stream\":\"S\",\"seq\":7,\"duplicate\": true}", "S", 7, MIDGE_OK, 0, true},
    {"{\"stream\":\"\\u0041\",\"seq\":18}", "A", 18, MIDGE_OK, 0, false},
    {"{\"error\":{\"code\":400,\"err_code\":10071,\"description\":\"wrong last sequence: 1\"},"
     "\"stream\":\"S\",\"seq\":0}",
     "S", 0, MIDGE_CONFLICT, 10071, false},
    {"{\"error\":{\"err_code\":10077,\"description\":\"x\"}}", "", 0, MIDGE_REFUSED, 10077, false},
    {"{\"error\":{}}", "", 0, MIDGE_REFUSED, 0, false},
    {"{\"error\":7,\"stream\":\"S\",\"seq\":1}", "S", 1, MIDGE_REFUSED, 0, false},
    {"{\"error\":{\"err_code\":\"x\"}}", "", 0, MIDGE_REFUSED, 0, false},
    {"", "", 0, MIDGE_REFUSED, 0, false},
    {"{}", "", 0, MIDGE_REFUSED, 0, false},
    {"{\"seq\":7}", "", 7, MIDGE_REFUSED, 0, false},
    {"{\"stream\":\"S\",\"seq\":}", "", 0, MIDGE_REFUSED, 0, false},
    {"{\"stream\":\"S\",\"seq\":7", "", 0, MIDGE_REFUSED, 0, false},
    {"{\"stream\":\"S\",\"seq\":-7}", "", 0, MIDGE_REFUSED, 0, false},
    {"{\"stream\":\"S\",\"seq\":\"7\"}", "", 0, MIDGE_REFUSED, 0, false},
    {"{\"stream\":\"S\",\"seq\":99999999999999999999}", "", 0, MIDGE_REFUSED, 0, false},
};

TEST(acknowledgements)
{
    struct js_ack a;

    js_read_ack(str_of(acks[i].json), &a);
    ck_assert_int_eq(a.rc, acks[i].rc);
    ck_assert_uint_eq(a.error_code, acks[i].code);
    if (a.rc == MIDGE_OK) {
        ck_assert_str_eq(a.ack.stream, acks[i].stream);
        ck_assert_uint_eq(a.ack.seq, acks[i].seq);
        ck_assert_int_eq(a.ack.duplicate, acks[i].duplicate);
    } else {
        ck_assert_uint_gt(strlen(a.error), 0);
    }
}

TEST(acknowledgements_of_counters_and_batches)
{
    struct js_ack a;

    js_read_ack(STR("{\"stream\":\"S\",\"seq\":7,\"val\":\"-12\"}"), &a);
    ck_assert_str_eq(a.ack.value, "-12");
    js_read_ack(STR("{\"stream\":\"S\",\"seq\":7,\"batch\":\"b\",\"count\":9}"), &a);
    ck_assert_str_eq(a.ack.batch, "b");
    ck_assert_uint_eq(a.ack.batch_size, 9);
}

/* ---- answers of the API ---------------------------------------------------------------------- */

static const struct {
    const char *json;
    int rc;
    unsigned code;
    const char *error;
} answers[] = {
    {"{\"error\":{\"code\":404,\"err_code\":10059,\"description\":\"stream not found\"}}",
     MIDGE_NOT_FOUND, 10059, "stream not found"},
    {"{\"error\":{\"code\":400,\"err_code\":10164}}", MIDGE_CONFLICT, 10164, "error"},
    {"{\"error\":{\"code\":500}}", MIDGE_REFUSED, 0, "error"},
    {"{\"error\":\"x\"}", MIDGE_REFUSED, 0, "an error that is not understood"},
    {"{\"error\":{\"err_code\":-1,\"description\":\"x\"}}", MIDGE_REFUSED, 0, "x"},
    {"{\"error\":{\"err_code\":[]}}", MIDGE_REFUSED, 0, "an error that is not understood"},
    {"[]", MIDGE_REFUSED, 0, NULL},
    {"", MIDGE_REFUSED, 0, NULL},
    {"{\"config\":{\"name\":7},\"state\":{}}", MIDGE_OK, 0, NULL},
    {"{\"config\":7,\"state\":{}}", MIDGE_OK, 0, NULL},
    {"{\"config\":{\"retention\":\"never\"},\"state\":{}}", MIDGE_OK, 0, NULL},
    {"{\"config\":{\"max_age\":\"1\"},\"state\":{}}", MIDGE_OK, 0, NULL},
    {"{\"config\":{\"subjects\":[1]},\"state\":{}}", MIDGE_OK, 0, NULL},
    {"{\"config\":{},\"state\":{\"messages\":-1}}", MIDGE_OK, 0, NULL},
    {"{\"config\":{},\"state\":{\"first_ts\":\"yesterday\"}}", MIDGE_OK, 0, NULL},
    {"{\"config\":{}}", MIDGE_OK, 0, NULL},
};

/* None of them is an answer to STREAM.INFO. */
TEST(bad_answers)
{
    struct midge m = {0};
    struct midge_stream_info info = {0};
    json_t *object = NULL;
    int rc = js_answer(&m, str_of(answers[i].json), &object);

    ck_assert_int_eq(rc, answers[i].rc);
    ck_assert_uint_eq(midge_error_code(&m), answers[i].code);
    if (answers[i].error != NULL)
        ck_assert_str_eq(midge_error(&m), answers[i].error);
    if (rc == MIDGE_OK)
        ck_assert_int_eq(js_read_stream_info(&m, object, &info), MIDGE_REFUSED);
    else
        ck_assert_ptr_null(object);
    json_decref(object);
    midge_stream_info_free(&info);
}

/* ---- direct get ------------------------------------------------------------------------------ */

static const char *const bad_stored[] = {
    "",
    "NATS/1.0\r\n\r\n",
    "NATS/1.0\r\nNats-Subject: s\r\nNats-Sequence: 1\r\n\r\n",
    "NATS/1.0\r\nNats-Sequence: 1\r\nNats-Time-Stamp: 2026-01-01T00:00:00Z\r\n\r\n",
    "NATS/1.0\r\nNats-Subject: s\r\nNats-Sequence: x\r\n"
    "Nats-Time-Stamp: 2026-01-01T00:00:00Z\r\n\r\n",
    "NATS/1.0\r\nNats-Subject: s\r\nNats-Sequence: 1\r\nNats-Time-Stamp: now\r\n\r\n",
    "NATS/1.0\r\nNats-Subject: s\r\nNats-Sequence: 1\r\n"
    "Nats-Time-Stamp: 2026-01-01T00:00:00Z\r\nNats-Num-Pending: many\r\n\r\n",
};

TEST(bad_stored_messages)
{
    struct midge_stored s;

    ck_assert(!js_read_stored(&(struct midge_msg){.header = text(bad_stored[i])}, &s));
}

/* ---- buckets and objects --------------------------------------------------------------------- */

static const struct {
    const char *subject, *header;
    bool ours;
    const char *key;
    enum midge_kv_operation operation;
} entries[] = {
    {"$KV.b.k", "", true, "k", MIDGE_KV_PUT},
    {"$KV.b.k.l", "NATS/1.0\r\nKV-Operation: DEL\r\n\r\n", true, "k.l", MIDGE_KV_DELETE},
    {"$KV.b.k", "NATS/1.0\r\nKV-Operation: PURGE\r\n\r\n", true, "k", MIDGE_KV_PURGE},
    {"$KV.b.k", "NATS/1.0\r\nKV-Operation: OTHER\r\n\r\n", true, "k", MIDGE_KV_PUT},
    {"$KV.b.k", "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\n\r\n", true, "k", MIDGE_KV_PURGE},
    {"$KV.b.k", "NATS/1.0\r\nNats-Marker-Reason: Purge\r\n\r\n", true, "k", MIDGE_KV_PURGE},
    {"$KV.b.k", "NATS/1.0\r\nNats-Marker-Reason: Remove\r\n\r\n", true, "k", MIDGE_KV_DELETE},
    {"$KV.o.k", "", true, "k", MIDGE_KV_PUT}, /* the mirrored bucket's */
    {"$KV.b.", "", false, "", MIDGE_KV_PUT},
    {"$KV.c.k", "", false, "", MIDGE_KV_PUT},
    {"$KV.b", "", false, "", MIDGE_KV_PUT},
    {"", "", false, "", MIDGE_KV_PUT},
};

TEST(kv_entries)
{
    struct midge_kv kv = {.prefix = (char[]){"$KV.b."}, .put_prefix = (char[]){"x.$KV.o."}};
    struct midge_kv_entry e;

    ck_assert_int_eq(
        kv_read_entry(&kv, text(entries[i].subject), text(entries[i].header), text("v"), &e),
        entries[i].ours);
    if (!entries[i].ours)
        return;
    ck_assert(str_eq(client_str(e.key), str_of(entries[i].key)));
    ck_assert_int_eq(e.operation, entries[i].operation);
}

static const char *const bad_objects[] = {
    "",
    "7",
    "{}",
    "{\"name\":\"\"}",
    "{\"name\":7}",
    "{\"name\":\"n\",\"size\":-1}",
    "{\"name\":\"n\",\"chunks\":\"1\"}",
    "{\"name\":\"n\",\"mtime\":\"now\"}",
    "{\"name\":\"n\",\"options\":7}",
    "{\"name\":\"n\",\"options\":{\"max_chunk_size\":-1}}",
    "{\"name\":\"n\",\"options\":{\"link\":[]}}",
    "{\"name\":\"n\",\"options\":{\"link\":{\"bucket\":1}}}",
    "{\"name\":\"n\",\"deleted\":\"yes\"}",
};

TEST(bad_object_entries)
{
    struct midge_object_info info = {0};

    ck_assert(!object_read_info(str_of(bad_objects[i]), &info));
    midge_object_info_free(&info);
}

/* The bytes are those of the other clients. */
TEST(object_entries)
{
    static const char want[] =
        "{\"name\":\"n \\\"q\\\"\",\"description\":\"d\",\"headers\":{\"K\":[\"v\"]},"
        "\"options\":{\"link\":{\"bucket\":\"b\",\"name\":\"o\"},\"max_chunk_size\":10},"
        "\"bucket\":\"here\",\"nuid\":\"ID\",\"size\":3,\"mtime\":\"0001-01-01T00:00:00Z\","
        "\"chunks\":1,\"digest\":\"SHA-256=x\",\"deleted\":true}";
    struct midge_object_info info = {0};
    struct buf b = {0};

    ck_assert(object_read_info(str_of(want), &info));
    info.time_ns = 7; /* the message's */
    object_put_info(&b, &info);
    ck_assert_str_eq(buf_cstr(&b), want);
    buf_clear(&b);
    object_put_meta_subject(&b, "here", "ab?>");
    ck_assert_str_eq(buf_cstr(&b), "$O.here.M.YWI_Pg==");
    buf_free(&b);
    midge_object_info_free(&info);
}

static const struct runner_case cases[] = {
    RUN_LOOP(bad_info, 0, COUNT(bad_infos)),
    RUN(good_info),
    RUN_LOOP(acknowledgements, 0, COUNT(acks)),
    RUN(acknowledgements_of_counters_and_batches),
    RUN_LOOP(bad_answers, 0, COUNT(answers)),
    RUN_LOOP(bad_stored_messages, 0, COUNT(bad_stored)),
    RUN_LOOP(kv_entries, 0, COUNT(entries)),
    RUN_LOOP(bad_object_entries, 0, COUNT(bad_objects)),
    RUN(object_entries),
};

RUNNER_MAIN("client/parse", cases)
