#include "lib/base/fmt.h"

#include "lib/base/assert.h"

#include <stdio.h>
#include <string.h>

#define NS_PER_US 1000
#define NS_PER_MS 1000000
#define NS_PER_S 1000000000
#define NS_PER_MIN (60LL * NS_PER_S)
#define NS_PER_H (3600LL * NS_PER_S)
#define S_PER_DAY 86400

static const char pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

unsigned fmt_u64_len(uint64_t v)
{
    static const uint64_t power[20] = {
        0,
        10u,
        100u,
        1000u,
        10000u,
        100000u,
        1000000u,
        10000000u,
        100000000u,
        1000000000u,
        10000000000u,
        100000000000u,
        1000000000000u,
        10000000000000u,
        100000000000000u,
        1000000000000000u,
        10000000000000000u,
        100000000000000000u,
        1000000000000000000u,
        10000000000000000000u,
    };
    unsigned bits = 64 - (unsigned) __builtin_clzll(v | 1);
    unsigned guess = bits * 1233 >> 12; /* log10(2) = 1233 / 4096, rounded down */

    return guess + (v >= power[guess]);
}

static char *put_2(char *p, uint64_t v)
{
    memcpy(p, pairs + 2 * v, 2);
    return p + 2;
}

/* One or two digits of v < 100. */
static char *put_head(char *p, uint64_t v)
{
    if (v >= 10)
        return put_2(p, v);
    *p = (char) ('0' + v);
    return p + 1;
}

/* Digits from the first on: v < 10^8 divided by 10^4 or 10^6 as a number with FRACTION bits behind
 * the point, below 100 before it; times 100, the next two digits come before the point. The
 * reciprocals are rounded up: the error is below 10^8 units, after all steps below 10^14, less than
 * one. */
#define FRACTION 57
#define RECIPROCAL(n) (((uint64_t) 1 << FRACTION) / (n) + 1)

static char *put_next_2(char *p, uint64_t *fixed)
{
    *fixed = (*fixed & (((uint64_t) 1 << FRACTION) - 1)) * 100;
    return put_2(p, *fixed >> FRACTION);
}

/* v < 10^8 without zeros in front. */
static char *put_short(char *p, uint64_t v)
{
    uint64_t fixed;

    if (v < 100)
        return put_head(p, v);
    if (v < 10000)
        return put_2(put_head(p, v / 100), v % 100);
    if (v < 1000000) {
        fixed = v * RECIPROCAL(10000);
        p = put_head(p, fixed >> FRACTION);
    } else {
        fixed = v * RECIPROCAL(1000000);
        p = put_head(p, fixed >> FRACTION);
        p = put_next_2(p, &fixed);
    }
    p = put_next_2(p, &fixed);
    return put_next_2(p, &fixed);
}

/* v < 10^8 with zeros in front. */
static char *put_8(char *p, uint64_t v)
{
    uint64_t fixed = v * RECIPROCAL(1000000);

    p = put_2(p, fixed >> FRACTION);
    p = put_next_2(p, &fixed);
    p = put_next_2(p, &fixed);
    return put_next_2(p, &fixed);
}

unsigned fmt_u64(char *out, uint64_t v)
{
    const uint64_t e8 = 100000000, e16 = e8 * e8;
    char *p;

    if (LIKELY(v < e8)) {
        p = put_short(out, v);
    } else if (v < e16) {
        p = put_8(put_short(out, v / e8), v % e8);
    } else {
        p = put_8(put_short(out, v / e16), v / e8 % e8);
        p = put_8(p, v % e8);
    }
    return (unsigned) (p - out);
}

unsigned fmt_i64(char *out, int64_t v)
{
    if (v >= 0)
        return fmt_u64(out, (uint64_t) v);
    *out = '-';
    return 1 + fmt_u64(out + 1, 0 - (uint64_t) v);
}

/* A point and `width` digits of v without trailing zeros; nothing when v is 0. */
static char *put_fraction(char *p, uint64_t v, unsigned width)
{
    if (v == 0)
        return p;
    for (; v % 10 == 0; v /= 10)
        width--;
    *p++ = '.';
    for (unsigned i = width; i > 0; i--, v /= 10)
        p[i - 1] = (char) ('0' + v % 10);
    return p + width;
}

struct date {
    int64_t year;
    unsigned month; /* 1 to 12 */
    unsigned day;   /* 1 to 31 */
};

/* Proleptic Gregorian, in eras of 400 years that begin on 1 March, so that the leap day is a year's
 * last. */
static struct date date_of_days(int64_t days)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    unsigned doe = (unsigned) (z - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    unsigned month = mp < 10 ? mp + 3 : mp - 9;

    return (struct date){
        .year = (int64_t) yoe + era * 400 + (month <= 2),
        .month = month,
        .day = doy - (153 * mp + 2) / 5 + 1,
    };
}

static int64_t days_of_date(struct date d)
{
    int64_t y = d.year - (d.month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    unsigned yoe = (unsigned) (y - era * 400);
    unsigned doy = (153 * (d.month > 2 ? d.month - 3 : d.month + 9) + 2) / 5 + d.day - 1;
    unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

    return era * 146097 + (int64_t) doe - 719468;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* What floor_div leaves: 0 to b - 1. */
static uint64_t floor_mod(int64_t a, int64_t b)
{
    return (uint64_t) (a % b < 0 ? a % b + b : a % b);
}

#define GO_ZERO_TEXT "0001-01-01T00:00:00Z"

unsigned fmt_time_rfc3339(char out[FMT_TIME_MAX], int64_t unix_ns)
{
    int64_t s = floor_div(unix_ns, NS_PER_S);
    int64_t days = floor_div(s, S_PER_DAY);
    unsigned in_day = (unsigned) floor_mod(s, S_PER_DAY);
    struct date d = date_of_days(days);
    char *p = out;

    if (unix_ns == FMT_TIME_GO_ZERO) {
        memcpy(out, GO_ZERO_TEXT, sizeof(GO_ZERO_TEXT));
        return sizeof(GO_ZERO_TEXT) - 1;
    }
    p = put_2(p, (unsigned) (d.year / 100));
    p = put_2(p, (unsigned) (d.year % 100));
    *p++ = '-';
    p = put_2(p, d.month);
    *p++ = '-';
    p = put_2(p, d.day);
    *p++ = 'T';
    p = put_2(p, in_day / 3600);
    *p++ = ':';
    p = put_2(p, in_day / 60 % 60);
    *p++ = ':';
    p = put_2(p, in_day % 60);
    p = put_fraction(p, floor_mod(unix_ns, NS_PER_S), 9);
    *p++ = 'Z';
    *p = '\0';
    return (unsigned) (p - out);
}

/* Exactly `width` digits from the front of *s, and then `behind` unless that is NUL. */
static bool take_digits(struct str *s, unsigned width, char behind, unsigned *v)
{
    unsigned value = 0;

    if (s->n < width + (behind != '\0'))
        return false;
    for (unsigned i = 0; i < width; i++) {
        unsigned digit = (unsigned char) s->p[i] - (unsigned) '0';
        if (digit > 9)
            return false;
        value = value * 10 + digit;
    }
    if (behind != '\0' && s->p[width] != behind)
        return false;
    *s = str_skip(*s, width + (behind != '\0'));
    *v = value;
    return true;
}

static bool date_exists(struct date d)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = d.year % 4 == 0 && (d.year % 100 != 0 || d.year % 400 == 0);

    if (d.month < 1 || d.month > 12 || d.day < 1)
        return false;
    return d.day <= days[d.month - 1] + (unsigned) (leap && d.month == 2);
}

static bool take_seconds(struct str *s, int64_t *seconds)
{
    unsigned year, month, day, hour, minute, second;
    struct date d;

    if (!take_digits(s, 4, '-', &year) || !take_digits(s, 2, '-', &month) ||
        !take_digits(s, 2, 'T', &day) || !take_digits(s, 2, ':', &hour) ||
        !take_digits(s, 2, ':', &minute) || !take_digits(s, 2, '\0', &second))
        return false;
    d = (struct date){.year = year, .month = month, .day = day};
    if (!date_exists(d) || hour > 23 || minute > 59 || second > 59)
        return false;
    *seconds = days_of_date(d) * S_PER_DAY + hour * 3600 + minute * 60 + second;
    return true;
}

static bool take_fraction(struct str *s, unsigned *ns)
{
    unsigned width = 0;

    *ns = 0;
    if (s->n == 0 || s->p[0] != '.')
        return true;
    *s = str_skip(*s, 1);
    while (width < s->n && s->p[width] >= '0' && s->p[width] <= '9')
        width++;
    if (width == 0 || width > 9 || !take_digits(s, width, '\0', ns))
        return false;
    for (; width < 9; width++)
        *ns *= 10;
    return true;
}

/* The whole of s: "Z" or "+hh:mm" or "-hh:mm", in seconds east. */
static bool parse_offset(struct str s, int *offset)
{
    unsigned hour, minute;
    bool west;

    *offset = 0;
    if (str_eq(s, STR("Z")))
        return true;
    if (s.n != 6 || (s.p[0] != '+' && s.p[0] != '-'))
        return false;
    west = s.p[0] == '-';
    s = str_skip(s, 1);
    if (!take_digits(&s, 2, ':', &hour) || !take_digits(&s, 2, '\0', &minute) || hour > 24 ||
        minute > 59)
        return false;
    *offset = (int) (hour * 3600 + minute * 60) * (west ? -1 : 1);
    return true;
}

bool fmt_parse_rfc3339(struct str s, int64_t *unix_ns)
{
    int64_t seconds, ns;
    unsigned fraction;
    int offset;

    if (str_eq(s, STR(GO_ZERO_TEXT))) {
        *unix_ns = FMT_TIME_GO_ZERO;
        return true;
    }
    if (!take_seconds(&s, &seconds) || !take_fraction(&s, &fraction) || !parse_offset(s, &offset))
        return false;
    seconds -= offset;
    /* The sum may be in range where the product of a negative time is not yet: add in 128 bits. */
    __extension__ __int128 exact = (__int128) seconds * NS_PER_S + fraction;
    ns = (int64_t) exact;
    if (ns != exact || ns == FMT_TIME_GO_ZERO)
        return false;
    *unix_ns = ns;
    return true;
}

static char *put_text(char *p, const char *text)
{
    size_t n = strlen(text);
    memcpy(p, text, n);
    return p + n;
}

static char *put_below_second(char *p, uint64_t ns)
{
    if (ns < NS_PER_US)
        return put_text(p + fmt_u64(p, ns), "ns");
    if (ns < NS_PER_MS) {
        p = put_fraction(p + fmt_u64(p, ns / NS_PER_US), ns % NS_PER_US, 3);
        return put_text(p, "\xc2\xb5s");
    }
    p = put_fraction(p + fmt_u64(p, ns / NS_PER_MS), ns % NS_PER_MS, 6);
    return put_text(p, "ms");
}

unsigned fmt_go_duration(char out[FMT_TIME_MAX], int64_t ns)
{
    uint64_t left = ns < 0 ? 0 - (uint64_t) ns : (uint64_t) ns;
    char *p = out;

    if (ns < 0)
        *p++ = '-';
    if (left == 0) {
        p = put_text(p, "0s");
    } else if (left < NS_PER_S) {
        p = put_below_second(p, left);
    } else {
        uint64_t s = left / NS_PER_S;
        if (s >= 3600)
            p = put_text(p + fmt_u64(p, s / 3600), "h");
        if (s >= 60)
            p = put_text(p + fmt_u64(p, s / 60 % 60), "m");
        p = put_fraction(p + fmt_u64(p, s % 60), left % NS_PER_S, 9);
        *p++ = 's';
    }
    *p = '\0';
    return (unsigned) (p - out);
}

#define DURATION_MAX ((uint64_t) 1 << 63) /* of the smallest negative one */

/* Digits at the front of *s; those behind 2^63 are dropped and do not scale. */
struct digits {
    uint64_t value;
    double scale; /* 10 to the number of digits in value */
    size_t n;     /* digits taken */
    bool overflow;
};

static struct digits take_number(struct str *s)
{
    struct digits d = {.scale = 1};

    for (; d.n < s->n && s->p[d.n] >= '0' && s->p[d.n] <= '9'; d.n++) {
        uint64_t digit = (uint64_t) (s->p[d.n] - '0');
        if (d.overflow || d.value > (DURATION_MAX - digit) / 10) {
            d.overflow = true;
            continue;
        }
        d.value = d.value * 10 + digit;
        d.scale *= 10;
    }
    *s = str_skip(*s, d.n);
    return d;
}

static uint64_t take_unit(struct str *s)
{
    static const struct {
        struct str name;
        int64_t ns;
    } units[] = {
        {STR_LIT("ns"), 1},
        {STR_LIT("us"), NS_PER_US},
        {STR_LIT("\xc2\xb5s"), NS_PER_US},
        {STR_LIT("\xce\xbcs"), NS_PER_US},
        {STR_LIT("ms"), NS_PER_MS},
        {STR_LIT("s"), NS_PER_S},
        {STR_LIT("m"), NS_PER_MIN},
        {STR_LIT("h"), NS_PER_H},
    };
    size_t n = 0;

    while (n < s->n && s->p[n] != '.' && (s->p[n] < '0' || s->p[n] > '9'))
        n++;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (str_eq(str_take(*s, n), units[i].name)) {
            *s = str_skip(*s, n);
            return (uint64_t) units[i].ns;
        }
    }
    return 0;
}

/* One "1.5h" from the front of *s, added to *total, which may reach 2^63 (for the smallest
 * negative). */
static bool take_part(struct str *s, uint64_t *total)
{
    struct digits whole = take_number(s), fraction = {.scale = 1};
    uint64_t unit, v;

    if (s->n > 0 && s->p[0] == '.') {
        *s = str_skip(*s, 1);
        fraction = take_number(s);
    }
    if (whole.overflow || whole.n + fraction.n == 0 || (unit = take_unit(s)) == 0)
        return false;
    if (__builtin_mul_overflow(whole.value, unit, &v) || v > DURATION_MAX)
        return false;
    /* In doubles as Go computes it, so that both read the same number. */
    v += (uint64_t) ((double) fraction.value * ((double) unit / fraction.scale));
    if (v > DURATION_MAX || __builtin_add_overflow(*total, v, total))
        return false;
    return *total <= DURATION_MAX;
}

bool fmt_parse_go_duration(struct str s, int64_t *ns)
{
    bool negative = s.n > 0 && s.p[0] == '-';
    uint64_t total = 0;

    if (s.n > 0 && (s.p[0] == '-' || s.p[0] == '+'))
        s = str_skip(s, 1);
    if (str_eq(s, STR("0"))) {
        *ns = 0;
        return true;
    }
    if (s.n == 0)
        return false;
    while (s.n > 0) {
        if (!take_part(&s, &total))
            return false;
    }
    if (!negative && total > (uint64_t) INT64_MAX)
        return false;
    *ns = negative ? (int64_t) (0 - total) : (int64_t) total;
    return true;
}

unsigned fmt_bytes(char out[FMT_TIME_MAX], uint64_t bytes)
{
    double v = (double) bytes;
    unsigned step = 0;

    if (bytes < 1024)
        return (unsigned) snprintf(out, FMT_TIME_MAX, "%u B", (unsigned) bytes);
    while (v >= 1024) {
        v /= 1024;
        step++;
    }
    return (unsigned) snprintf(out, FMT_TIME_MAX, "%.2f %cB", v, "KMGTPE"[step - 1]);
}

const char *fmt_host_port(char out[FMT_HOST_PORT_MAX], const char *host, uint16_t port)
{
    bool v6 = strchr(host, ':') != NULL;

    snprintf(out, FMT_HOST_PORT_MAX, "%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", port);
    return out;
}
