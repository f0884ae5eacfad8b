/*
 * msg_ttl.h - the text of Nats-TTL and Nats-Schedule-TTL: whole seconds, a duration, or "never".
 */
#ifndef JS_MSG_TTL_H
#define JS_MSG_TTL_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define MSG_TTL_NEVER (-1)

/* "90", "1m30s" (at least a second; fractions of seconds are cut), "never" in any case. *seconds:
 * MSG_TTL_NEVER, or how long; 0 when the text is "0" with another digit, or empty, which sets none.
 * False when it is none of these. */
bool msg_ttl_parse(struct str text, int64_t *seconds);
/* When a message of time ts is due; INT64_MAX when that is beyond what can be said. */
int64_t msg_ttl_due(int64_t ts, int64_t seconds);

#endif
