/*
 * decimal.h - whole numbers of any size as decimal text, as counters keep them: an optional sign
 * and digits. Sums are canonical: no plus, no zeros in front, "0" without a sign.
 */
#ifndef JS_DECIMAL_H
#define JS_DECIMAL_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>

bool decimal_valid(struct str text);
/* Appends a + b, or a - b. What is not valid counts as 0. Costs as much as there are digits. */
void decimal_add(struct buf *out, struct str a, struct str b);
void decimal_subtract(struct buf *out, struct str a, struct str b);

#endif
