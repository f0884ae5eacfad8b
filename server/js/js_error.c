/* js_error.c - the table of js_errors.def and its wire form. */
#include "server/js/js_error.h"

#include "lib/json/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    unsigned err_code, http;
    const char *text;
} table[] = {
    {0, 0, ""},
#define JS_ERROR(name, err_code, http, text) {err_code, http, text},
#include "server/js/js_errors.def"
#undef JS_ERROR
};

bool js_fail(struct js_error *e, enum js_error_kind kind, const char *format, ...)
{
    va_list args;

    e->kind = kind;
    e->detail[0] = '\0';
    if (format != NULL) {
        va_start(args, format);
        vsnprintf(e->detail, sizeof(e->detail), format, args);
        va_end(args);
    }
    return false;
}

unsigned js_error_code(enum js_error_kind kind)
{
    return table[kind].err_code;
}

void js_error_text(struct buf *b, const struct js_error *e)
{
    const char *text = table[e->kind].text;
    const char *open = strchr(text, '{');
    const char *shut = open != NULL ? strrchr(open, '}') : NULL; /* of two: from first to last */

    if (shut == NULL) {
        buf_puts(b, text);
    } else {
        buf_put(b, text, (size_t) (open - text));
        buf_puts(b, e->detail);
        buf_puts(b, shut + 1);
    }
}

void js_error_put(struct buf *b, const struct js_error *e)
{
    struct buf full = {0};

    js_error_text(&full, e);
    buf_printf(b, "\"error\":{\"code\":%u,\"err_code\":%u,\"description\":", table[e->kind].http,
               table[e->kind].err_code);
    jput_string(b, buf_str(&full));
    buf_putc(b, '}');
    buf_free(&full);
}
