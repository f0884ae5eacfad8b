#include "lib/base/buf.h"

#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"

#include <stdio.h>
#include <string.h>

#define CAP_MIN 64

void buf_free(struct buf *b)
{
    mem_free(b->p);
    *b = (struct buf){0};
}

static void grow(struct buf *b, size_t more)
{
    size_t need, cap = b->cap * 2;

    if (__builtin_add_overflow(b->n, more, &need) || need >= SIZE_MAX / 2)
        FATAL("buffer of %zu bytes can not take %zu more", b->n, more);
    if (cap < CAP_MIN)
        cap = CAP_MIN;
    if (cap < need + 1)
        cap = need + 1;
    b->p = mem_realloc(b->p, cap);
    b->cap = cap;
}

char *buf_reserve(struct buf *b, size_t more)
{
    if (b->cap == 0 || more > b->cap - 1 - b->n)
        grow(b, more);
    return b->p + b->n;
}

void buf_put(struct buf *b, const void *bytes, size_t n)
{
    if (n == 0)
        return;
    memcpy(buf_reserve(b, n), bytes, n);
    b->n += n;
}

void buf_putc(struct buf *b, char c)
{
    *buf_reserve(b, 1) = c;
    b->n++;
}

void buf_puts(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

void buf_put_str(struct buf *b, struct str s)
{
    buf_put(b, s.p, s.n);
}

void buf_put_u64(struct buf *b, uint64_t v)
{
    b->n += fmt_u64(buf_reserve(b, FMT_U64_MAX), v);
}

void buf_put_i64(struct buf *b, int64_t v)
{
    b->n += fmt_i64(buf_reserve(b, FMT_U64_MAX), v);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    buf_vprintf(b, format, args);
    va_end(args);
}

void buf_vprintf(struct buf *b, const char *format, va_list args)
{
    va_list again;
    int n;

    va_copy(again, args);
    buf_reserve(b, 0);
    n = vsnprintf(b->p + b->n, b->cap - b->n, format, args);
    ASSERT(n >= 0);
    if ((size_t) n >= b->cap - b->n) {
        buf_reserve(b, (size_t) n);
        vsnprintf(b->p + b->n, (size_t) n + 1, format, again);
    }
    va_end(again);
    b->n += (size_t) n;
}

const char *buf_cstr(struct buf *b)
{
    *buf_reserve(b, 0) = '\0';
    return b->p;
}
