/*
 * schedule.c - cron by trial: from the largest unit to the smallest each is moved on until it
 * matches, and a unit that wraps begins anew at the largest. At most a few thousand steps.
 *
 * Months, days and the starts of hours are computed on the local clock, hours and below by adding
 * seconds: so a time that a change of clocks leaves out is skipped with its hour, and an hour that
 * comes twice matches twice. That is what nats-server does, to the second.
 */
#include "server/js/schedule.h"

#include "lib/base/fmt.h"
#include "server/js/civil.h"

#define SECOND 1000000000ll
#define STAR (1ull << 63)
#define YEARS 5

/* ---- text ------------------------------------------------------------------------------------ */

struct bounds {
    unsigned min, max;
    const char *names; /* of three letters each, the first is min */
};

static bool take_value(struct str text, const struct bounds *b, unsigned *out)
{
    uint64_t v;

    for (unsigned i = 0; b->names != NULL && b->names[i * 3] != '\0'; i++)
        if (str_eq_nocase(text, str_from(b->names + i * 3, 3))) {
            *out = b->min + i;
            return true;
        }
    if (text.n > 1 && text.p[0] == '+')
        text = str_skip(text, 1);
    if (!str_to_u64(text, &v) || v > 1000000)
        return false;
    *out = (unsigned) v;
    return true;
}

/* "*", "5", "1-5", each with "/step". */
static bool parse_range(struct str text, const struct bounds *b, uint64_t *bits)
{
    struct str step_text, high_text, range = str_cut(text, '/', &step_text);
    struct str low_text = str_cut(range, '-', &high_text);
    bool star = str_eq(low_text, STR("*")) || str_eq(low_text, STR("?"));
    unsigned low = b->min, high = b->max, step = 1;
    const struct bounds plain = {0};

    if (!star && !take_value(low_text, b, &low))
        return false;
    if (!star && high_text.p != NULL && !take_value(high_text, b, &high))
        return false;
    if (!star && high_text.p == NULL && step_text.p == NULL)
        high = low;
    if (step_text.p != NULL && !take_value(step_text, &plain, &step))
        return false;
    if (low < b->min || high > b->max || low > high || step == 0)
        return false;
    for (unsigned v = low; v <= high; v += step)
        *bits |= 1ull << v;
    if (star && step == 1)
        *bits |= STAR;
    return true;
}

static bool parse_field(struct str text, const struct bounds *b, uint64_t *bits)
{
    while (text.n > 0) {
        struct str one = str_cut(text, ',', &text);
        if (one.n > 0 && !parse_range(one, b, bits))
            return false;
    }
    return true;
}

static struct str take_word(struct str *text)
{
    size_t n = 0;

    *text = str_trim(*text);
    while (n < text->n && text->p[n] != ' ' && (text->p[n] < '\t' || text->p[n] > '\r'))
        n++;
    struct str word = str_take(*text, n);
    *text = str_skip(*text, n);
    return word;
}

static bool parse_cron(struct str text, struct schedule *s)
{
    const struct {
        struct bounds bounds;
        uint64_t *bits;
    } fields[] = {
        {{0, 59, NULL}, &s->second},
        {{0, 59, NULL}, &s->minute},
        {{0, 23, NULL}, &s->hour},
        {{1, 31, NULL}, &s->day},
        {{1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"}, &s->month},
        {{0, 6, "sunmontuewedthufrisat"}, &s->weekday},
    };

    s->kind = SCHEDULE_CRON;
    for (unsigned i = 0; i < 6; i++) {
        struct str word = take_word(&text);
        if (word.n == 0 || !parse_field(word, &fields[i].bounds, fields[i].bits))
            return false;
    }
    /* A field of commas alone never matches. */
    return take_word(&text).n == 0 && s->second != 0 && s->minute != 0 && s->hour != 0 &&
           s->month != 0 && (s->day | s->weekday) != 0;
}

static struct str spelled_out(struct str text)
{
    static const struct {
        struct str name, cron;
    } known[] = {
        {STR_LIT("@yearly"), STR_LIT("0 0 0 1 1 *")},
        {STR_LIT("@annually"), STR_LIT("0 0 0 1 1 *")},
        {STR_LIT("@monthly"), STR_LIT("0 0 0 1 * *")},
        {STR_LIT("@weekly"), STR_LIT("0 0 0 * * 0")},
        {STR_LIT("@daily"), STR_LIT("0 0 0 * * *")},
        {STR_LIT("@midnight"), STR_LIT("0 0 0 * * *")},
        {STR_LIT("@hourly"), STR_LIT("0 0 * * * *")},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (str_eq(text, known[i].name))
            return known[i].cron;
    return text;
}

bool schedule_parse(struct str text, bool has_zone, struct schedule *out)
{
    *out = (struct schedule){0};
    if (text.n == 0)
        return true;
    if (str_starts(text, STR("@at "))) {
        if (has_zone || !fmt_parse_rfc3339(str_skip(text, 4), &out->at))
            return false;
        out->kind = out->at == FMT_TIME_GO_ZERO ? SCHEDULE_NONE : SCHEDULE_AT;
        return true;
    }
    if (str_starts(text, STR("@every "))) {
        out->kind = SCHEDULE_EVERY;
        return !has_zone && fmt_parse_go_duration(str_skip(text, 7), &out->every) &&
               out->every >= SECOND;
    }
    return parse_cron(spelled_out(text), out);
}

/* ---- the next time --------------------------------------------------------------------------- */

struct clock {
    const struct zone *zone;
    int64_t at; /* unix seconds */
    struct civil local;
};

static void set(struct clock *c, int64_t at)
{
    c->at = at;
    civil_of(at + zone_offset(c->zone, at), &c->local);
}

/* To a time of the local clock. One that is left out is read with the offset that was before. */
static void set_local(struct clock *c, int64_t local)
{
    int32_t offset = zone_offset(c->zone, local);

    if (offset != 0)
        offset = zone_offset(c->zone, local - offset);
    set(c, local - offset);
}

/* The same time of day, that many months or days later. On a day that is left out (Samoa, 30
 * December 2011) that may be the time we come from; nats-server goes round in circles there. */
static void move(struct clock *c, int months, int days)
{
    const struct civil l = c->local;
    int64_t before = c->at;

    set_local(c, civil_seconds(l.year, l.month + months, l.day + days, l.hour, l.minute, l.second));
    if (c->at <= before)
        set(c, before + 86400);
}

static void truncate_to(struct clock *c, int day, int hour)
{
    const struct civil *l = &c->local;

    set_local(c, civil_seconds(l->year, l->month, day, hour, 0, 0));
}

static bool has(uint64_t bits, int v)
{
    return (bits >> v & 1) != 0;
}

static bool day_matches(const struct schedule *s, const struct clock *c)
{
    bool day = has(s->day, c->local.day), weekday = has(s->weekday, c->local.weekday);

    return ((s->day | s->weekday) & STAR) != 0 ? day && weekday : day || weekday;
}

/* Each of these moves its unit on until it matches. False when the unit above has to be looked at
 * again. *cut: what is below a unit that was moved begins at its start. */
static bool to_month(const struct schedule *s, struct clock *c, bool *cut)
{
    while (!has(s->month, c->local.month)) {
        if (!*cut)
            truncate_to(c, 1, 0);
        *cut = true;
        move(c, 1, 0);
        if (c->local.month == 1)
            return false;
    }
    return true;
}

static bool to_day(const struct schedule *s, struct clock *c, bool *cut)
{
    while (!day_matches(s, c)) {
        if (!*cut)
            truncate_to(c, c->local.day, 0);
        *cut = true;
        move(c, 0, 1);
        if (c->local.day == 1)
            return false;
    }
    return true;
}

static bool to_hour(const struct schedule *s, struct clock *c, bool *cut)
{
    while (!has(s->hour, c->local.hour)) {
        if (!*cut)
            truncate_to(c, c->local.day, c->local.hour);
        *cut = true;
        set(c, c->at + 3600);
        if (c->local.hour == 0)
            return false;
    }
    return true;
}

static bool to_minute(const struct schedule *s, struct clock *c, bool *cut)
{
    while (!has(s->minute, c->local.minute)) {
        if (!*cut)
            set(c, c->at - ((c->at % 60) + 60) % 60);
        *cut = true;
        set(c, c->at + 60);
        if (c->local.minute == 0)
            return false;
    }
    return true;
}

static bool to_second(const struct schedule *s, struct clock *c, bool *cut)
{
    while (!has(s->second, c->local.second)) {
        *cut = true;
        set(c, c->at + 1);
        if (c->local.second == 0)
            return false;
    }
    return true;
}

static int64_t floor_seconds(int64_t ns)
{
    return ns / SECOND - (ns % SECOND < 0);
}

/* In a zone that jumps by a day back and forth the start of a day may lie before the time we come
 * from: no zone of the database does, and there is no next time then. */
static bool next_cron(const struct schedule *s, const struct zone *zone, int64_t ts, int64_t *next)
{
    struct clock c = {.zone = zone};
    bool cut = false;
    int64_t start = floor_seconds(ts) + 1, last;

    set(&c, start);
    last = c.local.year + YEARS;
    while (c.local.year <= last)
        if (to_month(s, &c, &cut) && to_day(s, &c, &cut) && to_hour(s, &c, &cut) &&
            to_minute(s, &c, &cut) && to_second(s, &c, &cut))
            return c.at >= start && !__builtin_mul_overflow(c.at, SECOND, next);
    return false;
}

/* To the nearest second, halves up. */
static int64_t rounded(int64_t ns)
{
    return floor_seconds(ns + SECOND / 2) * SECOND;
}

bool schedule_next(const struct schedule *s, const struct zone *zone, int64_t ts, int64_t now,
                   int64_t *next)
{
    switch (s->kind) {
    case SCHEDULE_AT:
        *next = s->at;
        return true;
    case SCHEDULE_EVERY:
        if (__builtin_add_overflow(rounded(ts), s->every, next))
            return false;
        return *next >= now || !__builtin_add_overflow(rounded(now), s->every, next);
    case SCHEDULE_CRON:
        return next_cron(s, zone, ts, next) &&
               (*next >= now || next_cron(s, zone, rounded(now), next));
    default:
        return false;
    }
}
