/*
 * json_syntax.c - the first error of a text that should be JSON.
 *
 * A state per place where something is expected, and a stack of the objects and arrays that are
 * open. An error names the character (as UTF-8 has it; \x.. for a byte that is none), what it
 * stands in or for, and the offset behind it. A text that ends too early is "unexpected EOF",
 * whatever is open. Escapes are shown as they are written: \u with the four bytes behind it.
 */
#include "lib/json/json_syntax.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum place { VALUE, FIRST_KEY, KEY, COLON, AFTER_MEMBER, FIRST_ELEMENT, AFTER_ELEMENT, END };

struct scan {
    struct str text;
    size_t at;
    struct buf *why;
    bool failed;
    unsigned depth;
    bool in_object[JSON_SYNTAX_DEPTH];
};

/* ---- errors ---------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 character at p and its number; 1 and -1 when it is none. */
static size_t rune_at(struct str s, int32_t *rune)
{
    unsigned char c = (unsigned char) s.p[0];
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    uint32_t v = n == 1 ? c : c & (0xffu >> (n + 1));

    *rune = -1;
    if (n > s.n || (c >= 0x80 && c < 0xc2) || c > 0xf4)
        return 1;
    for (size_t i = 1; i < n; i++) {
        unsigned char d = (unsigned char) s.p[i];
        if ((d & 0xc0) != 0x80)
            return 1;
        v = v << 6 | (d & 0x3f);
    }
    if ((n == 3 && v < 0x800) || (n == 4 && (v < 0x10000 || v > 0x10ffff)) ||
        (v >= 0xd800 && v < 0xe000))
        return 1;
    *rune = (int32_t) v;
    return n;
}

static size_t put_quoted(struct buf *b, struct str s, char quote)
{
    static const char from[] = "\a\b\t\n\v\f\r\\", to[] = "abtnvfr\\";
    int32_t rune;
    size_t n = rune_at(s, &rune);
    const char *named = rune > 0 && rune < 0x80 ? strchr(from, (char) rune) : NULL;

    if (rune == quote)
        buf_printf(b, "\\%c", quote);
    else if (named != NULL)
        buf_printf(b, "\\%c", to[named - from]);
    else if (rune < 0x20 || rune == 0x7f)
        buf_printf(b, "\\x%02x", (unsigned char) s.p[0]);
    else if ((rune >= 0x80 && rune < 0xa0) || rune == 0x2028 || rune == 0x2029)
        buf_printf(b, "\\u%04x", (unsigned) rune);
    else
        buf_put(b, s.p, n);
    return n;
}

static struct str rest(const struct scan *s)
{
    return str_from(s->text.p + s->at, s->text.n - s->at);
}

static bool ended(struct scan *s)
{
    if (s->at < s->text.n)
        return false;
    buf_puts(s->why, "unexpected EOF");
    return s->failed = true;
}

/* The character here does not belong where it is. */
static bool wrong(struct scan *s, const char *where)
{
    size_t n;

    if (ended(s))
        return false;
    buf_puts(s->why, "invalid character '");
    n = put_quoted(s->why, rest(s), '\'');
    buf_printf(s->why, "' %s at offset %zu", where, s->at + n);
    s->failed = true;
    return false;
}

static bool wrong_escape(struct scan *s, size_t n)
{
    struct str seq = rest(s);
    bool plain = true;
    int32_t rune;

    seq.n = n < seq.n ? n : seq.n;
    for (size_t i = 0; i < seq.n;) {
        i += rune_at(str_from(seq.p + i, seq.n - i), &rune);
        plain &= rune >= 0x20 && rune != 0x7f && rune != '`';
    }
    buf_puts(s->why, plain ? "invalid escape sequence `" : "invalid escape sequence \"");
    if (plain)
        buf_put(s->why, seq.p, seq.n);
    for (size_t i = 0; !plain && i < seq.n;)
        i += put_quoted(s->why, str_from(seq.p + i, seq.n - i), '"');
    buf_printf(s->why, "%c in string at offset %zu", plain ? '`' : '"', s->at + seq.n);
    s->failed = true;
    return false;
}

/* ---- values ---------------------------------------------------------------------------------- */

static int peek(const struct scan *s)
{
    return s->at < s->text.n ? (unsigned char) s->text.p[s->at] : -1;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(int c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool escape(struct scan *s)
{
    struct str r = rest(s);

    if (r.n < 2) {
        s->at = s->text.n;
        return !ended(s);
    }
    if (r.p[1] != 'u') {
        if (strchr("\"\\/bfnrt", r.p[1]) == NULL || r.p[1] == '\0')
            return wrong_escape(s, 2);
        s->at += 2;
        return true;
    }
    for (size_t i = 2; i < 6 && i < r.n; i++)
        if (!is_hex((unsigned char) r.p[i]))
            return wrong_escape(s, 6);
    s->at += r.n < 6 ? r.n : 6;
    return true;
}

static bool string(struct scan *s)
{
    int c;

    for (s->at++; (c = peek(s)) != '"';) {
        if (c < 0x20)
            return wrong(s, "in string");
        if (c != '\\')
            s->at++;
        else if (!escape(s))
            return false;
    }
    s->at++;
    return true;
}

static bool digits(struct scan *s)
{
    if (!is_digit(peek(s)))
        return wrong(s, "in numeric literal");
    while (is_digit(peek(s)))
        s->at++;
    return true;
}

static bool number(struct scan *s)
{
    s->at += peek(s) == '-';
    if (peek(s) == '0')
        s->at++;
    else if (!digits(s))
        return false;
    if (peek(s) == '.') {
        s->at++;
        if (!digits(s))
            return false;
    }
    if (peek(s) != 'e' && peek(s) != 'E')
        return true;
    s->at++;
    s->at += peek(s) == '+' || peek(s) == '-';
    return digits(s);
}

static bool literal(struct scan *s, const char *word)
{
    char where[64];

    for (size_t i = 0; word[i] != '\0'; i++, s->at++) {
        if (peek(s) == word[i])
            continue;
        snprintf(where, sizeof(where), "in literal %s (expecting '%c')", word, word[i]);
        return wrong(s, where);
    }
    return true;
}

/* ---- places ---------------------------------------------------------------------------------- */

static enum place behind(const struct scan *s)
{
    return s->depth == 0 ? END : s->in_object[s->depth - 1] ? AFTER_MEMBER : AFTER_ELEMENT;
}

static enum place opens(struct scan *s, bool object)
{
    if (s->depth == JSON_SYNTAX_DEPTH)
        return END; /* nothing is said of it */
    s->in_object[s->depth++] = object;
    s->at++;
    return object ? FIRST_KEY : FIRST_ELEMENT;
}

static enum place closes(struct scan *s)
{
    s->at++;
    s->depth--;
    return behind(s);
}

static enum place value(struct scan *s)
{
    int c = peek(s);
    bool ok;

    if (c == '{' || c == '[')
        return opens(s, c == '{');
    ok = c == '"'                  ? string(s)
         : c == '-' || is_digit(c) ? number(s)
         : c == 't'                ? literal(s, "true")
         : c == 'f'                ? literal(s, "false")
         : c == 'n'                ? literal(s, "null")
                                   : wrong(s, "looking for beginning of value");
    return ok ? behind(s) : END;
}

static enum place key(struct scan *s, bool first)
{
    if (first && peek(s) == '}')
        return closes(s);
    if (peek(s) != '"')
        return wrong(s, "looking for beginning of object key string") ? KEY : END;
    return string(s) ? COLON : END;
}

static enum place element(struct scan *s)
{
    return peek(s) == ']' ? closes(s) : value(s);
}

/* A comma, or the end of what is open. */
static enum place separator(struct scan *s, enum place next, char end, const char *where)
{
    if (peek(s) == end)
        return closes(s);
    if (peek(s) != ',')
        return wrong(s, where) ? next : END;
    s->at++;
    return next;
}

static enum place step(struct scan *s, enum place p)
{
    switch (p) {
    case VALUE:
        return value(s);
    case FIRST_KEY:
        return key(s, true);
    case KEY:
        return key(s, false);
    case COLON:
        if (peek(s) != ':')
            return wrong(s, "after object key") ? VALUE : END;
        s->at++;
        return VALUE;
    case AFTER_MEMBER:
        return separator(s, KEY, '}', "after object key:value pair");
    case FIRST_ELEMENT:
        return element(s);
    case AFTER_ELEMENT:
        return separator(s, VALUE, ']', "after array element");
    case END:
        break;
    }
    return END;
}

static void skip_space(struct scan *s)
{
    while (s->at < s->text.n && memchr(" \t\r\n", s->text.p[s->at], 4) != NULL)
        s->at++;
}

bool json_syntax_error(struct str text, struct buf *why)
{
    struct scan s = {.text = text, .why = why};
    enum place p = VALUE;

    do {
        skip_space(&s);
        p = step(&s, p);
    } while (p != END);
    if (!s.failed && s.depth == 0) {
        skip_space(&s);
        if (s.at < text.n)
            wrong(&s, "looking for beginning of value");
    }
    return s.failed;
}
