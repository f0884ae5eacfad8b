/*
 * verdicts.h - what a connection was told about subjects it publishes to, so that long lists are
 * not looked through for each message. It belongs to a connection and its permissions: whoever
 * gives it others clears it. 64 subjects of at most 62 bytes are remembered, 4 KiB, from the first
 * publish on and only beside more than 4 rules; each takes the place of another of the same hash.
 */
#ifndef AUTH_VERDICTS_H
#define AUTH_VERDICTS_H

#include "lib/base/str.h"
#include "server/auth/permissions.h"

#include <stdint.h>

struct verdicts;

/* permissions_may_publish. v: where the cache is, NULL before there is one. seed: of the hash; the
 * same in each call. */
bool verdicts_may_publish(struct verdicts **v, const struct permissions *p, struct str subject,
                          uint64_t seed);
/* Frees it; NULL behind it. */
void verdicts_clear(struct verdicts **v);

#endif
