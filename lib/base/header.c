/*
 * The header block, by lines. A line ends at LF; a CR before it belongs to the line end. The first
 * line is the version with an optional status; every later line with a colon is a pair, other lines
 * are skipped. The key is all before the first colon, byte for byte; the value is the rest without
 * blanks at its ends.
 */
#include "lib/base/header.h"

#define VERSION "NATS/1.0"
#define VERSION_LEN (sizeof(VERSION) - 1)
#define EMPTY_BLOCK VERSION "\r\n\r\n"

static bool ends_with_empty_line(struct str block)
{
    return memcmp(block.p + block.n - 4, "\r\n\r\n", 4) == 0;
}

/* Behind the version comes its line end or a blank. */
bool header_valid(struct str block)
{
    if (block.n < sizeof(EMPTY_BLOCK) - 1 || memcmp(block.p, VERSION, VERSION_LEN) != 0)
        return false;
    char behind = block.p[VERSION_LEN];
    return (behind == '\r' || behind == ' ' || behind == '\t') && ends_with_empty_line(block);
}

/* Behind the line that contains p. Every valid block ends with LF, so there is always one. */
static const char *line_end(const char *p, const char *end)
{
    const char *lf = memchr(p, '\n', (size_t) (end - p));
    return lf != NULL ? lf + 1 : end;
}

/* From p to the end of its line, without spaces in front and the line end. */
static struct str value_of(const char *p, const char *end)
{
    const char *behind = line_end(p, end);

    while (p < behind && *p == ' ')
        p++;
    while (behind > p && (behind[-1] == '\r' || behind[-1] == '\n'))
        behind--;
    return str_from(p, (size_t) (behind - p));
}

/* The line behind the first, which mostly is the version alone. */
static const char *second_line(struct str block)
{
    const char *p = block.p + VERSION_LEN;

    return p[0] == '\r' && p[1] == '\n' ? p + 2 : line_end(p, block.p + block.n);
}

struct str header_get(struct str block, struct str key)
{
    const char *end;

    if (!header_valid(block))
        return STR_NONE;
    end = block.p + block.n;
    for (const char *p = second_line(block); p < end; p = line_end(p, end)) {
        if ((size_t) (end - p) > key.n && p[key.n] == ':' && memcmp(p, key.p, key.n) == 0)
            return value_of(p + key.n + 1, end);
    }
    return STR_NONE;
}

void header_status(struct str block, struct str *status, struct str *description)
{
    struct str line;

    *status = *description = STR_NONE;
    if (!header_valid(block))
        return;
    line = str_trim(value_of(block.p + VERSION_LEN, block.p + block.n));
    if (line.n == 0)
        return;
    *status = str_cut(line, ' ', &line);
    *description = str_trim(line);
}

bool header_next(struct str block, size_t *at, struct str *key, struct str *value)
{
    const char *end, *p;

    if (*at == 0) {
        if (!header_valid(block))
            return false;
        *at = (size_t) (second_line(block) - block.p);
    }
    end = block.p + block.n;
    for (p = block.p + *at; p < end;) {
        const char *next = line_end(p, end);
        const char *colon = memchr(p, ':', (size_t) (next - p));
        if (colon != NULL) {
            *key = str_from(p, (size_t) (colon - p));
            *value = value_of(colon + 1, next);
            *at = (size_t) (next - block.p);
            return true;
        }
        p = next;
    }
    *at = block.n;
    return false;
}

static bool line_has_key(struct str line, struct str key)
{
    return line.n > key.n && line.p[key.n] == ':' && str_starts(line, key);
}

void header_remove(struct buf *out, struct str block, struct str key)
{
    const char *end;
    size_t start = out->n;

    if (!header_valid(block)) {
        buf_put_str(out, block);
        return;
    }
    end = block.p + block.n;
    buf_reserve(out, block.n);
    for (const char *p = block.p, *next; p < end; p = next) {
        next = line_end(p, end);
        struct str line = str_from(p, (size_t) (next - p));
        if (p == block.p || !line_has_key(line, key))
            buf_put_str(out, line);
    }
    if (!ends_with_empty_line(buf_str(out))) {
        /* The line that is last now ended with a bare LF. */
        out->n -= 3;
        buf_puts(out, "\r\n\r\n");
    }
    if (str_eq(str_skip(buf_str(out), start), STR(EMPTY_BLOCK)))
        out->n = start;
}

void header_append(struct buf *out, struct str block, struct str key, struct str value)
{
    struct str head = header_valid(block) ? str_take(block, block.n - 2) : STR(VERSION "\r\n");

    buf_reserve(out, head.n + key.n + value.n + 6);
    buf_put_str(out, head);
    buf_put_str(out, key);
    buf_puts(out, ": ");
    buf_put_str(out, value);
    buf_puts(out, "\r\n\r\n");
}
