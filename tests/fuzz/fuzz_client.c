/*
 * fuzz_client.c - what libmidge reads that a server or another client wrote. Input: a letter that
 * says what it is, then the bytes: i INFO, a acknowledgement, s stream info, c consumer info, o
 * entry of an object, d header of a direct get, k header of a bucket's message.
 */
#include "client/kv_int.h"
#include "client/object_int.h"
#include "lib/base/assert.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void read_ack(struct str s)
{
    struct js_ack a;

    js_read_ack(s, &a);
    ASSERT(memchr(a.ack.stream, 0, sizeof(a.ack.stream)) != NULL);
    ASSERT((a.rc == MIDGE_OK) == (a.error[0] == '\0'));
}

static void read_answer(struct str s, bool stream)
{
    struct midge m = {0};
    struct midge_stream_info si = {0};
    struct midge_consumer_info ci = {0};
    json_t *object;
    int rc = js_answer(&m, s, &object);

    ASSERT((rc == MIDGE_OK) == (object != NULL));
    if (rc == MIDGE_OK && stream)
        rc = js_read_stream_info(&m, object, &si);
    else if (rc == MIDGE_OK)
        rc = js_read_consumer_info(&m, object, &ci);
    ASSERT(rc == MIDGE_OK || midge_error(&m)[0] != '\0');
    json_decref(object);
    midge_stream_info_free(&si);
    midge_consumer_info_free(&ci);
}

/* What is written of what was read, reads the same. */
static void read_object(struct str s)
{
    struct midge_object_info one = {0}, two = {0};
    struct buf b = {0}, c = {0};

    if (object_read_info(s, &one)) {
        object_put_info(&b, &one);
        ASSERT(object_read_info(buf_str(&b), &two));
        object_put_info(&c, &two);
        ASSERT(str_eq(buf_str(&b), buf_str(&c)));
    }
    buf_free(&b);
    buf_free(&c);
    midge_object_info_free(&one);
    midge_object_info_free(&two);
}

static void read_header(struct midge_text header, bool direct)
{
    struct midge_kv kv = {.prefix = (char[]){"$KV.b."}, .put_prefix = (char[]){"$KV.b."}};
    struct midge_kv_entry e;
    struct midge_stored stored;

    if (direct && js_read_stored(&(struct midge_msg){.header = header}, &stored))
        ASSERT(stored.subject.n > 0);
    if (!direct)
        ASSERT(kv_read_entry(&kv, midge_text_of("$KV.b.k"), header, header, &e) && e.key.n == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct client_info info = {0};
    struct str s;

    if (size == 0)
        return 0;
    s = str_from(data + 1, size - 1);
    switch (data[0]) {
    case 'i':
        if (client_info_read(&info, s))
            ASSERT(info.max_payload >= 0);
        client_info_free(&info);
        break;
    case 'a':
        read_ack(s);
        break;
    case 's':
    case 'c':
        read_answer(s, data[0] == 's');
        break;
    case 'o':
        read_object(s);
        break;
    default:
        read_header(client_text(s), data[0] == 'd');
        break;
    }
    return 0;
}
