/* msg_ttl.c - durations first: "0" alone is one, and too short; "00" is a number. */
#include "server/js/msg_ttl.h"

#include "lib/base/fmt.h"
#include "lib/base/later.h"

#define SECOND 1000000000ll

bool msg_ttl_parse(struct str text, int64_t *seconds)
{
    int64_t ns;
    uint64_t n;

    *seconds = 0;
    if (text.n == 0)
        return true;
    if (str_eq_nocase(text, STR("never"))) {
        *seconds = MSG_TTL_NEVER;
        return true;
    }
    if (fmt_parse_go_duration(text, &ns)) {
        *seconds = ns / SECOND;
        return ns >= SECOND;
    }
    if (!str_to_u64(text, &n) || n > INT64_MAX)
        return false;
    *seconds = (int64_t) n;
    return true;
}

int64_t msg_ttl_due(int64_t ts, int64_t seconds)
{
    int64_t ns;

    return __builtin_mul_overflow(seconds, SECOND, &ns) ? INT64_MAX : later(ts, ns);
}
