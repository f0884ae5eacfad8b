/* json_time.c - the elements of a time one after the other; the first that is not there, or is out
 * of its range, is the one that is told. Ranges count as soon as their element has been read, the
 * day's when month and year are known. */
#include "lib/json/json_time.h"

#include "lib/base/assert.h"

#include <string.h>

#define LAYOUT "2006-01-02T15:04:05Z07:00"

struct parse {
    struct str text, rest;
    struct buf *err;
};

static bool no_such(const struct parse *p, struct str at, const char *element)
{
    buf_printf(p->err, "parsing time \"%.*s\" as \"" LAYOUT "\": cannot parse \"%.*s\" as \"%s\"",
               STR_ARG(p->text), STR_ARG(at), element);
    return false;
}

static bool out_of_range(const struct parse *p, const char *what)
{
    buf_printf(p->err, "parsing time \"%.*s\": %s out of range", STR_ARG(p->text), what);
    return false;
}

static bool is_digit(struct str s, size_t i)
{
    return i < s.n && s.p[i] >= '0' && s.p[i] <= '9';
}

/* n digits, or `least` of them. */
static bool digits(struct parse *p, size_t n, size_t least, const char *element, unsigned *out)
{
    size_t i = 0;

    *out = 0;
    for (; i < n && is_digit(p->rest, i); i++)
        *out = *out * 10 + (unsigned) (p->rest.p[i] - '0');
    if (i < least)
        return no_such(p, p->rest, element);
    p->rest = str_skip(p->rest, i);
    return true;
}

static bool mark(struct parse *p, char c)
{
    char text[] = {c, '\0'};

    if (p->rest.n == 0 || p->rest.p[0] != c)
        return no_such(p, p->rest, text);
    p->rest = str_skip(p->rest, 1);
    return true;
}

static void fraction(struct parse *p)
{
    size_t i = 1;

    if (p->rest.n < 2 || (p->rest.p[0] != '.' && p->rest.p[0] != ',') || !is_digit(p->rest, 1))
        return;
    while (is_digit(p->rest, i))
        i++;
    p->rest = str_skip(p->rest, i);
}

static bool zone(struct parse *p)
{
    struct str at = p->rest;
    unsigned hour = 0, minute = 0;

    if (at.n > 0 && at.p[0] == 'Z') {
        p->rest = str_skip(at, 1);
        return true;
    }
    if (at.n < 6 || (at.p[0] != '+' && at.p[0] != '-') || at.p[3] != ':' || !is_digit(at, 1) ||
        !is_digit(at, 2) || !is_digit(at, 4) || !is_digit(at, 5))
        return no_such(p, at, "Z07:00");
    hour = (unsigned) (at.p[1] - '0') * 10 + (unsigned) (at.p[2] - '0');
    minute = (unsigned) (at.p[4] - '0') * 10 + (unsigned) (at.p[5] - '0');
    p->rest = str_skip(at, 6);
    if (hour > 24)
        return out_of_range(p, "time zone offset hour");
    return minute <= 60 || out_of_range(p, "time zone offset minute");
}

static unsigned days_of(unsigned year, unsigned month)
{
    static const unsigned days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && leap);
}

bool json_time_check(struct str text, struct buf *err)
{
    struct parse p = {.text = text, .rest = text, .err = err};
    unsigned year, month, day, hour, minute, second;

    if (!digits(&p, 4, 4, "2006", &year) || !mark(&p, '-') || !digits(&p, 2, 2, "01", &month))
        return false;
    if (month < 1 || month > 12)
        return out_of_range(&p, "month");
    if (!mark(&p, '-') || !digits(&p, 2, 2, "02", &day) || !mark(&p, 'T') ||
        !digits(&p, 2, 1, "15", &hour))
        return false;
    if (hour > 23)
        return out_of_range(&p, "hour");
    if (!mark(&p, ':') || !digits(&p, 2, 2, "04", &minute))
        return false;
    if (minute > 59)
        return out_of_range(&p, "minute");
    if (!mark(&p, ':') || !digits(&p, 2, 2, "05", &second))
        return false;
    if (second > 59)
        return out_of_range(&p, "second");
    fraction(&p);
    if (!zone(&p))
        return false;
    if (p.rest.n > 0) {
        buf_printf(err, "parsing time \"%.*s\": extra text: \"%.*s\"", STR_ARG(text),
                   STR_ARG(p.rest));
        return false;
    }
    return (day >= 1 && day <= days_of(year, month)) || out_of_range(&p, "day");
}
