/*
 * buf.h - a growable byte buffer with a printf, for text that is built once: JSON, logs, protocol
 * lines.
 *
 * Zero-initialised is empty (struct buf b = {0}). Grows by doubling, aborts when memory is short;
 * where a client chooses the size, check against a limit before writing. Owner frees with buf_free.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "lib/base/str.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *p;
    size_t n;   /* bytes used */
    size_t cap; /* bytes allocated; one byte is always kept for a NUL */
};

void buf_free(struct buf *b);
/* Room for `more` bytes behind n; returns where they go. */
char *buf_reserve(struct buf *b, size_t more);
void buf_put(struct buf *b, const void *bytes, size_t n);
void buf_putc(struct buf *b, char c);
void buf_puts(struct buf *b, const char *text);
void buf_put_str(struct buf *b, struct str s);
void buf_put_u64(struct buf *b, uint64_t v);
void buf_put_i64(struct buf *b, int64_t v);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
/* NUL behind the contents; valid until the next change. */
const char *buf_cstr(struct buf *b);

static inline void buf_clear(struct buf *b)
{
    b->n = 0;
}

static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->p, b->n};
}

#endif
