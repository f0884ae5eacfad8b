/* later.h - times that lie so far ahead that no number says when are the last one that there is. */
#ifndef BASE_LATER_H
#define BASE_LATER_H

#include <stdint.h>

/* by: 0 or more; of the same unit. */
static inline int64_t later(int64_t at, int64_t by)
{
    int64_t sum;

    return __builtin_add_overflow(at, by, &sum) ? INT64_MAX : sum;
}

#endif
