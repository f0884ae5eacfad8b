/*
 * civil.h - calendar arithmetic without the C library's: days and dates of the Gregorian calendar,
 * with no zone and no state.
 */
#ifndef JS_CIVIL_H
#define JS_CIVIL_H

#include <stdint.h>

struct civil {
    int64_t year;
    int month; /* 1 to 12 */
    int day;   /* 1 to 31 */
    int hour, minute, second;
    int weekday; /* 0 = Sunday */
};

/* Days from 1970-01-01 to the first of that month plus day - 1; a month outside of 1 to 12 goes on
 * into other years, a day that the month has not into other months. */
int64_t civil_days(int64_t year, int64_t month, int64_t day);
/* Seconds since 1970 as they are read on a clock without zones. */
void civil_of(int64_t seconds, struct civil *out);
/* The reverse, with the same liberties as civil_days. */
int64_t civil_seconds(int64_t year, int64_t month, int64_t day, int hour, int minute, int second);

#endif
