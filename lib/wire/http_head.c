/*
 * http_head.c - see http_head.h.
 *
 *     GET /path HTTP/1.1 CRLF        HTTP/1.1 101 Switching Protocols CRLF
 *     Name: value CRLF               likewise
 *     CRLF
 *
 * A line may end in LF alone. Refused: a version other than 1.0 and 1.1, a field without a name or
 * with a blank in or behind it, a line that begins with a blank (folded values), control characters
 * in values, two Host fields.
 */
#include "lib/wire/http_head.h"

#include <string.h>

/* ---- lines ----------------------------------------------------------------------------------- */

/* The next line without its end; false when there is no end. */
static bool next_line(struct str *left, struct str *line)
{
    const char *end = left->n > 0 ? memchr(left->p, '\n', left->n) : NULL;
    size_t n;

    if (end == NULL)
        return false;
    n = (size_t) (end - left->p);
    *line = str_take(*left, n);
    *left = str_skip(*left, n + 1);
    if (line->n > 0 && line->p[line->n - 1] == '\r')
        line->n--;
    return true;
}

/* What a name may be made of. */
static bool is_token(struct str s)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (c == '\0' || strchr(others, c) == NULL))
            return false;
    }
    return s.n > 0;
}

/* No control characters but tabs. */
static bool is_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char) s.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool is_version(struct str s)
{
    return str_eq(s, STR("HTTP/1.1")) || str_eq(s, STR("HTTP/1.0"));
}

/* ---- fields ---------------------------------------------------------------------------------- */

static bool is_name(struct str name, const char *wanted)
{
    return str_eq_nocase(name, str_of(wanted));
}

static enum http_answer take_field(struct http_head *h, struct str line)
{
    size_t colon = str_index(line, ':');
    struct http_field f;

    if (h->n == HTTP_FIELDS_MAX)
        return HTTP_TOO_LONG;
    if (colon == line.n)
        return HTTP_BAD;
    f.name = str_take(line, colon);
    f.value = str_trim(str_skip(line, colon + 1));
    if (!is_token(f.name) || !is_text(f.value))
        return HTTP_BAD;
    if (is_name(f.name, "Host") && http_field(h, "Host").p != NULL)
        return HTTP_BAD;
    h->fields[h->n++] = f;
    return HTTP_OK;
}

/* Has the head's end not arrived, there may still be a fault in what has. */
static enum http_answer take_fields(struct str in, struct str left, struct http_head *h)
{
    enum http_answer answer = HTTP_OK;
    struct str line;

    while (answer == HTTP_OK && next_line(&left, &line)) {
        if (line.n == 0) {
            h->length = in.n - left.n;
            return h->length <= HTTP_HEAD_MAX ? HTTP_OK : HTTP_TOO_LONG;
        }
        answer = take_field(h, line);
    }
    if (answer != HTTP_OK)
        return answer;
    return in.n < HTTP_HEAD_MAX ? HTTP_MORE : HTTP_TOO_LONG;
}

/* ---- first lines ----------------------------------------------------------------------------- */

static enum http_answer no_line(struct str in)
{
    return in.n < HTTP_HEAD_MAX ? HTTP_MORE : HTTP_TOO_LONG;
}

enum http_answer http_request_parse(struct str in, struct http_head *out)
{
    struct str left = in, line, rest;

    out->n = 0;
    out->status = 0;
    if (!next_line(&left, &line))
        return no_line(in);
    out->method = str_cut(line, ' ', &rest);
    out->target = str_cut(rest, ' ', &rest);
    if (!is_token(out->method) || out->target.n == 0 || !is_text(out->target) || !is_version(rest))
        return HTTP_BAD;
    return take_fields(in, left, out);
}

enum http_answer http_response_parse(struct str in, struct http_head *out)
{
    struct str left = in, line, rest, status;

    out->n = 0;
    out->method = out->target = STR_NONE;
    if (!next_line(&left, &line))
        return no_line(in);
    if (!is_version(str_cut(line, ' ', &rest)))
        return HTTP_BAD;
    status = str_cut(rest, ' ', &rest);
    out->status = 0;
    for (size_t i = 0; i < status.n && status.n == 3; i++) {
        if (status.p[i] < '0' || status.p[i] > '9')
            return HTTP_BAD;
        out->status = out->status * 10 + (unsigned) (status.p[i] - '0');
    }
    if (out->status < 100)
        return HTTP_BAD;
    return take_fields(in, left, out);
}

/* ---- looking things up ----------------------------------------------------------------------- */

struct str http_field(const struct http_head *h, const char *name)
{
    for (unsigned i = 0; i < h->n; i++)
        if (is_name(h->fields[i].name, name))
            return h->fields[i].value;
    return STR_NONE;
}

bool http_field_lists(const struct http_head *h, const char *name, const char *word)
{
    for (unsigned i = 0; i < h->n; i++) {
        struct str left = h->fields[i].value;
        if (!is_name(h->fields[i].name, name))
            continue;
        while (left.p != NULL)
            if (str_eq_nocase(str_trim(str_cut(left, ',', &left)), str_of(word)))
                return true;
    }
    return false;
}

static struct str unquoted(struct str s)
{
    if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
        return str_from(s.p + 1, s.n - 2);
    return s;
}

struct str http_cookie(const struct http_head *h, const char *name)
{
    for (unsigned i = 0; i < h->n; i++) {
        struct str left = h->fields[i].value;
        if (!is_name(h->fields[i].name, "Cookie"))
            continue;
        while (left.p != NULL) {
            struct str value, one = str_trim(str_cut(left, ';', &left));
            if (str_eq(str_cut(one, '=', &value), str_of(name)) && value.p != NULL)
                return unquoted(value);
        }
    }
    return STR_NONE;
}
