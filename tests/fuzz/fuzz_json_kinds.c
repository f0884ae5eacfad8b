/*
 * fuzz_json_kinds.c - any text as the body of any request: what json_check says of it.
 *
 * A refusal has a text and a consent has none; what is right in strict mode is right without, and
 * blanks around a text change nothing. What jansson reads is no syntax error, and the other way
 * round but for what it alone refuses: numbers that are too large, bytes that are no UTF-8, NUL
 * and half surrogates.
 *
 * Input: one byte (bit 0: strict; the rest: which request), a JSON text.
 */
#include "lib/base/assert.h"
#include "lib/json/json_syntax.h"
#include "server/js/request_shapes.h"
#include "tests/fuzz/fuzz.h"

#include <jansson.h>
#include <string.h>

static const struct json_shape *const shapes[] = {
    &shape_stream_config_request, &shape_stream_restore_request,  &shape_stream_names_request,
    &shape_stream_list_request,   &shape_stream_info_request,     &shape_stream_purge_request,
    &shape_msg_get_request,       &shape_stream_snapshot_request, &shape_msg_delete_request,
    &shape_consumers_request,     &shape_consumer_create_request, &shape_consumer_pause_request,
    &shape_next_request,          &shape_consumer_unpin_request,  &shape_consumer_reset_request,
};

static bool is_syntax_error(struct str text)
{
    struct buf why = {0};
    bool bad = json_syntax_error(text, &why);

    ASSERT(bad == (why.n > 0));
    buf_free(&why);
    return bad;
}

static bool jansson_alone_refuses(const json_error_t *e, struct str text)
{
    switch (json_error_code(e)) {
    case json_error_numeric_overflow:
    case json_error_invalid_utf8:
    case json_error_stack_overflow:
    case json_error_null_character:
        return true;
    default: /* half a surrogate */
        return memmem(text.p, text.n, "\\u", 2) != NULL;
    }
}

/* Such texts are refused without a look at what is behind. */
static bool is_deep(struct str text)
{
    size_t open = 0;

    for (size_t i = 0; i < text.n; i++)
        open += text.p[i] == '[' || text.p[i] == '{';
    return open >= JSON_SYNTAX_DEPTH;
}

static void compare_syntax(struct str text)
{
    json_error_t e;
    json_t *j;

    if (memchr(text.p, '\0', text.n) != NULL)
        return; /* jansson takes one at the end for the end */
    j = json_loadb(text.p, text.n, JSON_DECODE_ANY, &e);
    if (j != NULL)
        ASSERT(!is_syntax_error(text));
    else
        ASSERT(is_syntax_error(text) || jansson_alone_refuses(&e, text) || is_deep(text));
    json_decref(j);
}

static bool check(struct str text, const struct json_shape *shape, bool strict)
{
    struct buf err = {0};
    bool ok = json_check(text, shape, strict, &err);

    ASSERT(ok == (err.n == 0));
    buf_free(&err);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct json_shape *shape;
    struct str text;
    struct buf blanks = {0};
    bool ok;

    if (size == 0)
        return 0;
    shape = shapes[(data[0] >> 1) % ARRAY_LEN(shapes)];
    text = str_from(data + 1, size - 1);
    ok = check(text, shape, data[0] & 1);
    if (ok && (data[0] & 1))
        ASSERT(check(text, shape, false));
    compare_syntax(text);
    buf_puts(&blanks, " \t\r\n");
    buf_put_str(&blanks, text);
    buf_puts(&blanks, "\n ");
    ASSERT(check(buf_str(&blanks), shape, data[0] & 1) == ok);
    buf_free(&blanks);
    return 0;
}
