/*
 * permissions.h - what a user may do: verdicts over the lists of config/users.h. Pure.
 *
 * Deny wins over allow; a list that is not set allows everything. A subscription is allowed when
 * one allowed pattern covers all of it and no denied pattern does. One that a denied pattern only
 * overlaps ("orders.*" and deny "orders.secret") is allowed too, and what is denied is kept from it
 * when messages are delivered.
 *
 * A rule with a queue is about subscriptions in that group alone. When a covering allow rule names
 * a queue, a queue subscription must be in one of the groups so named; its plain rules do not
 * count.
 */
#ifndef AUTH_PERMISSIONS_H
#define AUTH_PERMISSIONS_H

#include "lib/base/str.h"
#include "server/config/users.h"

/* Without a right to answer a request, which is the connection's to remember. */
bool permissions_may_publish(const struct permissions *p, struct str subject);
/* queue: n == 0 for a plain subscription. Both are valid patterns. */
bool permissions_may_subscribe(const struct permissions *p, struct str subject, struct str queue);
/* May a message with this subject not go to a subscription that was allowed? */
bool permissions_deny_delivery(const struct permissions *p, struct str subject, struct str queue);

/* Do both allow the same, word by word? NULL is everything. */
bool permissions_same(const struct permissions *a, const struct permissions *b);

#endif
