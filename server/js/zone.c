/*
 * zone.c - TZif, big-endian:
 *
 *   44 bytes   "TZif", version, 15 unused, six counts: UT/local flags, standard/wall flags, leap
 *              seconds, transitions, types, characters
 *   block      transition times (4 bytes each, 8 in the second block), one type index each, types
 *              (6 bytes: offset, is daylight, name), names, leap seconds, two lists of flags
 *
 * From version 2 on a header and a block with times of 8 bytes follow, and behind them a line with
 * the rule for later times in POSIX form: "CET-1CEST,M3.5.0,M10.5.0/3".
 *
 * Before the first transition the first type that is not daylight time counts. Leap seconds are not
 * looked at: the database for civil time has none.
 */
#include "server/js/zone.h"

#include "lib/base/mem.h"
#include "server/js/civil.h"

#include <string.h>

#define HEADER 44u
#define COUNT_MAX 8192u
#define OFFSET_MAX (26 * 3600)

struct change {
    int64_t at;
    int32_t offset; /* from then on */
};

/* One of the two days of a year on which the clocks change. */
struct rule {
    enum { RULE_JULIAN, RULE_DAY, RULE_WEEKDAY } kind;
    int month, week, day;
    int32_t time; /* seconds from midnight of the clock that is left */
};

struct zone {
    int32_t first; /* before the first change */
    size_t n;
    struct change *changes;
    bool has_rule, has_daylight;
    int32_t standard, daylight; /* of the rule */
    struct rule begin, end;     /* of daylight time */
};

/* ---- the rule -------------------------------------------------------------------------------- */

static bool take_char(struct str *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = str_skip(*s, 1);
    return true;
}

static bool take_number(struct str *s, int max, int *out)
{
    size_t n = 0;

    for (*out = 0; n < s->n && n < 4 && s->p[n] >= '0' && s->p[n] <= '9'; n++)
        *out = *out * 10 + (s->p[n] - '0');
    *s = str_skip(*s, n);
    return n > 0 && *out <= max;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool take_name(struct str *s)
{
    size_t n = 0;

    if (take_char(s, '<')) {
        n = str_index(*s, '>');
        if (n == s->n)
            return false;
        *s = str_skip(*s, n + 1);
        return n > 0;
    }
    while (n < s->n && is_letter(s->p[n]))
        n++;
    *s = str_skip(*s, n);
    return n >= 3;
}

/* [+-]h[h[h]][:mm[:ss]] */
static bool take_time(struct str *s, int32_t *out)
{
    bool negative = take_char(s, '-');
    int hours, minutes = 0, seconds = 0;

    if (!negative)
        take_char(s, '+');
    if (!take_number(s, 167, &hours))
        return false;
    if (take_char(s, ':') && !take_number(s, 59, &minutes))
        return false;
    if (take_char(s, ':') && !take_number(s, 59, &seconds))
        return false;
    *out = hours * 3600 + minutes * 60 + seconds;
    if (negative)
        *out = -*out;
    return true;
}

static bool take_day(struct str *s, struct rule *r)
{
    if (take_char(s, 'J')) {
        r->kind = RULE_JULIAN;
        return take_number(s, 365, &r->day) && r->day >= 1;
    }
    if (!take_char(s, 'M')) {
        r->kind = RULE_DAY;
        return take_number(s, 365, &r->day);
    }
    r->kind = RULE_WEEKDAY;
    return take_number(s, 12, &r->month) && r->month >= 1 && take_char(s, '.') &&
           take_number(s, 5, &r->week) && r->week >= 1 && take_char(s, '.') &&
           take_number(s, 6, &r->day);
}

static bool take_rule(struct str *s, struct rule *r)
{
    if (!take_char(s, ',') || !take_day(s, r))
        return false;
    r->time = 2 * 3600;
    return !take_char(s, '/') || take_time(s, &r->time);
}

static bool parse_rule(struct str s, struct zone *z)
{
    int32_t west;

    if (s.n == 0)
        return true;
    if (!take_name(&s) || !take_time(&s, &west))
        return false;
    z->standard = -west;
    z->has_rule = true;
    if (s.n == 0)
        return true;
    if (!take_name(&s))
        return false;
    z->daylight = z->standard + 3600;
    if (s.n > 0 && s.p[0] != ',') {
        if (!take_time(&s, &west))
            return false;
        z->daylight = -west;
    }
    z->has_daylight = true;
    return take_rule(&s, &z->begin) && take_rule(&s, &z->end) && s.n == 0;
}

/* The day on which the rule applies, counted from 1970. */
static int64_t rule_day(const struct rule *r, int64_t year)
{
    int64_t first = civil_days(year, r->kind == RULE_WEEKDAY ? r->month : 1, 1), day;
    bool leap = civil_days(year, 3, 1) - civil_days(year, 2, 1) == 29;

    if (r->kind == RULE_DAY)
        return first + r->day;
    if (r->kind == RULE_JULIAN)
        return first + r->day - 1 + (leap && r->day >= 60);
    day = first + ((r->day - (first + 4)) % 7 + 7) % 7 + (r->week - 1) * 7;
    while (day >= civil_days(year, r->month + 1, 1))
        day -= 7;
    return day;
}

static int32_t offset_by_rule(const struct zone *z, int64_t at)
{
    struct civil c;
    int64_t begin, end;

    if (!z->has_daylight)
        return z->standard;
    civil_of(at + z->standard, &c);
    begin = rule_day(&z->begin, c.year) * 86400 + z->begin.time - z->standard;
    end = rule_day(&z->end, c.year) * 86400 + z->end.time - z->daylight;
    if (begin < end)
        return at >= begin && at < end ? z->daylight : z->standard;
    return at >= end && at < begin ? z->standard : z->daylight;
}

/* ---- the file -------------------------------------------------------------------------------- */

struct counts {
    uint32_t utc, wall, leap, times, types, chars;
};

static uint64_t big_endian(const char *p, unsigned n)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < n; i++)
        v = v << 8 | (uint8_t) p[i];
    return v;
}

static bool read_header(struct str s, struct counts *c, char *version)
{
    if (s.n < HEADER || memcmp(s.p, "TZif", 4) != 0)
        return false;
    *version = s.p[4];
    *c = (struct counts){
        .utc = (uint32_t) big_endian(s.p + 20, 4),
        .wall = (uint32_t) big_endian(s.p + 24, 4),
        .leap = (uint32_t) big_endian(s.p + 28, 4),
        .times = (uint32_t) big_endian(s.p + 32, 4),
        .types = (uint32_t) big_endian(s.p + 36, 4),
        .chars = (uint32_t) big_endian(s.p + 40, 4),
    };
    return c->utc <= COUNT_MAX && c->wall <= COUNT_MAX && c->leap <= COUNT_MAX &&
           c->times <= COUNT_MAX && c->types >= 1 && c->types <= 256 && c->chars <= COUNT_MAX;
}

static size_t block_bytes(const struct counts *c, unsigned width)
{
    return (size_t) c->times * (width + 1) + (size_t) c->types * 6 + c->chars +
           (size_t) c->leap * (width + 4) + c->wall + c->utc;
}

static bool read_offset(const char *types, uint32_t type, int32_t *out)
{
    *out = (int32_t) (uint32_t) big_endian(types + (size_t) type * 6, 4);
    return *out >= -OFFSET_MAX && *out <= OFFSET_MAX;
}

static bool read_first(struct zone *z, const struct counts *c, const char *types)
{
    uint32_t type = 0;

    while (type + 1 < c->types && types[(size_t) type * 6 + 4] != 0)
        type++;
    if (types[(size_t) type * 6 + 4] != 0)
        type = 0;
    return read_offset(types, type, &z->first);
}

static bool read_block(struct zone *z, const struct counts *c, const char *p, unsigned width)
{
    const char *indexes = p + (size_t) c->times * width, *types = indexes + c->times;

    if (!read_first(z, c, types))
        return false;
    z->changes = mem_array(c->times + 1u, sizeof(*z->changes));
    for (z->n = 0; z->n < c->times; z->n++) {
        struct change *change = &z->changes[z->n];
        uint64_t raw = big_endian(p + z->n * width, width);
        uint8_t type = (uint8_t) indexes[z->n];
        change->at = width == 4 ? (int32_t) (uint32_t) raw : (int64_t) raw;
        if (type >= c->types || !read_offset(types, type, &change->offset) ||
            (z->n > 0 && change->at <= change[-1].at))
            return false;
    }
    return true;
}

static bool read_footer(struct zone *z, struct str s)
{
    struct str line;

    if (!take_char(&s, '\n') || str_index(s, '\n') == s.n)
        return false;
    line = str_cut(s, '\n', &s);
    return parse_rule(line, z);
}

static bool read_file(struct zone *z, struct str s)
{
    struct counts c;
    char version;
    size_t n;

    if (s.n > ZONE_BYTES_MAX || !read_header(s, &c, &version))
        return false;
    s = str_skip(s, HEADER);
    n = block_bytes(&c, 4);
    if (s.n < n)
        return false;
    if (version == 0)
        return read_block(z, &c, s.p, 4);
    s = str_skip(s, n);
    if (!read_header(s, &c, &version))
        return false;
    s = str_skip(s, HEADER);
    n = block_bytes(&c, 8);
    return s.n >= n && read_block(z, &c, s.p, 8) && read_footer(z, str_skip(s, n));
}

struct zone *zone_parse(struct str bytes)
{
    struct zone *z = mem_zalloc(sizeof(*z));

    if (read_file(z, bytes))
        return z;
    zone_free(z);
    return NULL;
}

void zone_free(struct zone *z)
{
    if (z == NULL)
        return;
    mem_free(z->changes);
    mem_free(z);
}

int32_t zone_offset(const struct zone *z, int64_t at)
{
    size_t low = 0, high;

    if (z == NULL)
        return 0;
    high = z->n;
    while (low < high) { /* the first change behind */
        size_t mid = low + (high - low) / 2;
        if (z->changes[mid].at <= at)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == z->n && z->has_rule)
        return offset_by_rule(z, at);
    return low == 0 ? z->first : z->changes[low - 1].offset;
}

bool zone_name_valid(struct str name)
{
    if (name.n == 0 || name.n > ZONE_NAME_MAX || name.p[0] == '/' || name.p[0] == '.')
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!is_letter(c) && !(c >= '0' && c <= '9') && c != '/' && c != '_' && c != '-' &&
            c != '+')
            return false;
        if (c == '/' && (i + 1 == name.n || name.p[i + 1] == '/'))
            return false;
    }
    return true;
}
