/*
 * json_time.h - what is wrong with a text that should be a time (RFC 3339), in the words that
 * clients of nats-server know.
 */
#ifndef MIDGE_LIB_JSON_TIME_H
#define MIDGE_LIB_JSON_TIME_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>

/* False with a text in err when it is none. */
bool json_time_check(struct str text, struct buf *err);

#endif
