/*
 * fuzz_stream_config.c - any text as a stream's configuration: refused, or kept as it was read:
 * what is printed reads back as the same, and what was checked once is right as it is.
 *
 * Input: one byte (bit 0: strict), a JSON text, and optionally a NUL and a second one: the update.
 */
#include "lib/base/assert.h"
#include "server/js/stream_config.h"
#include "tests/fuzz/fuzz.h"

static void check_error(const struct js_error *err)
{
    struct buf text = {0};

    ASSERT(err->kind != JS_OK && err->kind < JS_ERROR_KINDS);
    js_error_put(&text, err);
    ASSERT(text.n > 0);
    buf_free(&text);
}

/* Prints, reads, prints: the same. */
static void check_round(const struct stream_config *c)
{
    struct stream_config again = {0};
    struct js_error err = {0};
    struct buf first = {0}, second = {0};

    stream_config_write(&first, c);
    ASSERT(stream_config_read(buf_str(&first), true, &again, &err));
    ASSERT(stream_config_equal(c, &again));
    stream_config_write(&second, &again);
    ASSERT(str_eq(buf_str(&first), buf_str(&second)));
    stream_config_release(&again);
    buf_free(&first);
    buf_free(&second);
}

static bool read_one(struct str json, bool strict, struct stream_config *out)
{
    struct js_error err = {0};
    struct stream_config copy = {0};

    if (!stream_config_read(json, strict, out, &err) || !stream_config_check(out, 0, &err)) {
        check_error(&err);
        stream_config_release(out);
        return false;
    }
    check_round(out);
    stream_config_copy(&copy, out);
    ASSERT(stream_config_check(&copy, 0, &err));
    ASSERT(stream_config_equal(&copy, out));
    ASSERT(js_name_valid(out->name));
    stream_config_release(&copy);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stream_config a = {0}, b = {0};
    struct js_error err = {0};
    struct str json, second;

    if (size == 0)
        return 0;
    json = str_cut(str_from(data + 1, size - 1), '\0', &second);
    if (!read_one(json, data[0] & 1, &a))
        return 0;
    /* More replicas than one are refused when a stream is made. */
    ASSERT(a.num_replicas > 1 || stream_config_check_update(&a, &a, &err));
    if (second.p != NULL && read_one(second, data[0] & 1, &b)) {
        if (!stream_config_check_update(&a, &b, &err))
            check_error(&err);
        stream_config_release(&b);
    }
    stream_config_release(&a);
    return 0;
}
