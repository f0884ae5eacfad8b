/*
 * fuzz_consumer_config.c - any text as a consumer's create request: refused, or kept as it was
 * read.
 *
 * Input: one byte (bit 0: strict, bits 1 and 2: retention of the stream), a JSON text, and
 * optionally a NUL and a second one: the update.
 */
#include "lib/base/assert.h"
#include "server/js/consumer_config.h"
#include "tests/fuzz/fuzz.h"

static void check_error(const struct js_error *err)
{
    struct buf text = {0};

    ASSERT(err->kind != JS_OK && err->kind < JS_ERROR_KINDS);
    js_error_put(&text, err);
    ASSERT(text.n > 0);
    buf_free(&text);
}

static void check_round(const struct consumer_config *c)
{
    struct consumer_config again = {0};
    struct consumer_rules rules;
    struct js_error err = {0};
    struct buf first = {0}, second = {0};

    consumer_config_write(&first, c);
    ASSERT(consumer_config_read(buf_str(&first), &again, &err));
    ASSERT(consumer_config_equal(c, &again));
    consumer_config_write(&second, &again);
    ASSERT(str_eq(buf_str(&first), buf_str(&second)));
    consumer_config_rules(c, &rules);
    ASSERT(rules.nbackoff == 0 || rules.backoff_ns != NULL);
    consumer_config_release(&again);
    buf_free(&first);
    buf_free(&second);
}

static bool read_one(struct str json, bool strict, const struct stream_config *stream,
                     struct consumer_request *out)
{
    struct js_error err = {0};
    struct consumer_config copy = {0};

    if (!consumer_request_read(json, strict, out, &err) ||
        !consumer_config_check(&out->config, &(struct consumer_bounds){.stream = stream}, &err)) {
        check_error(&err);
        consumer_request_release(out);
        return false;
    }
    check_round(&out->config);
    consumer_config_copy(&copy, &out->config);
    ASSERT(consumer_config_check(&copy, &(struct consumer_bounds){.stream = stream}, &err));
    ASSERT(consumer_config_equal(&copy, &out->config));
    consumer_config_release(&copy);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct consumer_request a = {0}, b = {0};
    struct stream_config stream = {0};
    struct js_error err = {0};
    struct str json, second;

    if (size == 0)
        return 0;
    ASSERT(stream_config_read(STR("{\"name\":\"S\",\"subjects\":[\"s.>\"]}"), true, &stream, &err));
    stream.retention = (data[0] >> 1) % 3;
    ASSERT(stream_config_check(&stream, 0, &err));
    json = str_cut(str_from(data + 1, size - 1), '\0', &second);
    if (read_one(json, data[0] & 1, &stream, &a)) {
        ASSERT(consumer_config_check_update(&a.config, &a.config, &err));
        if (second.p != NULL && read_one(second, data[0] & 1, &stream, &b)) {
            if (!consumer_config_check_update(&a.config, &b.config, &err))
                check_error(&err);
            consumer_request_release(&b);
        }
        consumer_request_release(&a);
    }
    stream_config_release(&stream);
    return 0;
}
