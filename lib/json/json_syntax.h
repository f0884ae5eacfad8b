/*
 * json_syntax.h - what is wrong with a text that is no JSON, in the words that clients of
 * nats-server know.
 *
 * Only asked once a text was refused: it is no parser, and makes nothing of what is right.
 */
#ifndef MIDGE_LIB_JSON_SYNTAX_H
#define MIDGE_LIB_JSON_SYNTAX_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>

/* Deeper texts are not looked at. */
#define JSON_SYNTAX_DEPTH 1000u

/* Appends the first error to why; false, and nothing appended, when the text begins with a whole
 * value behind which there is nothing, or when it is too deep. */
bool json_syntax_error(struct str text, struct buf *why);

#endif
