/* civil.c - years begin in March here, so that the leap day is the last one. */
#include "server/js/civil.h"

#define DAY 86400

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

int64_t civil_days(int64_t year, int64_t month, int64_t day)
{
    int64_t m = month - 3; /* from March */

    year += floor_div(m, 12);
    m -= floor_div(m, 12) * 12;
    return year * 365 + floor_div(year, 4) - floor_div(year, 100) + floor_div(year, 400) +
           (153 * m + 2) / 5 + day - 1 - 719468;
}

int64_t civil_seconds(int64_t year, int64_t month, int64_t day, int hour, int minute, int second)
{
    return civil_days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
}

void civil_of(int64_t seconds, struct civil *out)
{
    int64_t days = floor_div(seconds, DAY), left = seconds - days * DAY;
    int64_t year = floor_div((days + 719468) * 400, 146097); /* from March; may be one too late */
    int64_t in_year, m;

    while (civil_days(year, 3, 1) > days)
        year--;
    while (civil_days(year + 1, 3, 1) <= days)
        year++;
    in_year = days - civil_days(year, 3, 1);
    m = (5 * in_year + 2) / 153;
    out->year = year + (m >= 10);
    out->month = (int) (m < 10 ? m + 3 : m - 9);
    out->day = (int) (in_year - (153 * m + 2) / 5 + 1);
    out->hour = (int) (left / 3600);
    out->minute = (int) (left / 60 % 60);
    out->second = (int) (left % 60);
    out->weekday = (int) (((days + 4) % 7 + 7) % 7);
}
