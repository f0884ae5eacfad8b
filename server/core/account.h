/*
 * account.h - an isolated world of subjects, and the set of them. "$G" is where clients live whose
 * user names no account, "$SYS" (or the one the options name) is the server's own.
 *
 * Shared by all workers. An account that exists once exists until the server ends: a reload that
 * takes it away leaves it without users. Links to other accounts and mappings hang on it as an
 * immutable whole (account_wiring.h).
 */
#ifndef CORE_ACCOUNT_H
#define CORE_ACCOUNT_H

#include "lib/base/hmap.h"
#include "server/core/interest.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct account_wiring;
struct trust;

struct account {
    struct hmap_node by_name; /* the set's */
    char *name;               /* read-only */
    uint32_t index;           /* dense, from 0: index into per-worker tables */
    struct interest *interest;
    _Atomic(const struct account_wiring *) wiring; /* NULL = none; account_wire */

    /* Operator mode: the claims of its token (auth/trust.h), NULL = there are none. Replaced as the
     * wiring is. An account that has expired lets nobody in. */
    _Atomic(const struct trust *) trust;
    atomic_bool expired;

    /* Limits, negative = none (subscriptions: of one connection), and counts; any thread. */
    _Atomic int64_t max_connections, max_subscriptions, max_payload, max_leafs;
    _Atomic int64_t connections, subscriptions;

    _Atomic bool maps;    /* its wiring has mappings */
    _Atomic bool changed; /* its connections; that is known and will be told (env.account_changed)
                           */
    /* What connections have had that are here no more. */
    struct {
        _Atomic uint64_t in_msgs, in_bytes, out_msgs, out_bytes, slow_consumers;
    } gone;
};

struct account *account_open(const char *name, uint32_t index, uint64_t hash_seed);
void account_close(struct account *a);

struct account_set;

/* Accounts get seeds made from this one. */
struct account_set *account_set_open(uint64_t hash_seed);
/* All workers have stopped. Closes the accounts. */
void account_set_close(struct account_set *set);
/* Any thread; NULL when there is none of that name. */
struct account *account_set_find(struct account_set *set, struct str name);
/* The one of that name, made when there is none; one thread at a time. */
struct account *account_set_add(struct account_set *set, struct str name);
/* Of dense index i, NULL behind the last; any thread. */
struct account *account_set_get(struct account_set *set, uint32_t i);

#endif
