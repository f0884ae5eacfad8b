/*
 * js_error.h - JetStream API errors as values: which one, and what fills its {placeholder}.
 */
#ifndef JS_JS_ERROR_H
#define JS_JS_ERROR_H

#include "lib/base/buf.h"

#include <stdbool.h>

enum js_error_kind {
    JS_OK,
#define JS_ERROR(name, err_code, http, text) JS_ERR_##name,
#include "server/js/js_errors.def"
#undef JS_ERROR
    JS_ERROR_KINDS
};

/* Zero-initialised is "no error". */
struct js_error {
    enum js_error_kind kind;
    char detail[192]; /* replaces the placeholder; cut when longer */
};

/* Sets *e and returns false, so that validators can `return js_fail(e, ...)`. format may be NULL.
 */
bool js_fail(struct js_error *e, enum js_error_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "error":{"code":...,"err_code":...,"description":"..."} */
void js_error_put(struct buf *b, const struct js_error *e);
/* The description alone. */
void js_error_text(struct buf *b, const struct js_error *e);
unsigned js_error_code(enum js_error_kind kind);

#endif
