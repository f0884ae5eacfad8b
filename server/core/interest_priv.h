/*
 * interest_priv.h - the inside of struct interest, shared by interest.c and interest_watch.c.
 *
 * `change` serialises everything that alters subscriptions or watches, `lock` keeps matching away
 * from the moment of the insert. Order: change, then lock.
 */
#ifndef CORE_INTEREST_PRIV_H
#define CORE_INTEREST_PRIV_H

#include "lib/base/hmap.h"
#include "lib/base/list.h"
#include "lib/base/lock.h"
#include "server/core/interest.h"
#include "server/core/trie.h"

struct watch_table {
    struct hmap by_head; /* by the hash of the first tokens, as buckets are */
    struct list fired;   /* edges of the change in progress */
    size_t count;
};

struct interest {
    struct interest_clock clock;
    uint64_t seed;

    struct rwlock lock;
    struct trie trie;
    _Atomic uint64_t matches;

    struct mutex change;
    struct hmap queues; /* names of queue groups */
    uint32_t next_queue_id;
    struct interest_stats stats;
    struct watch_table watches;
    struct list taps;
};

/* Hash of the tokens that choose a bucket. */
uint64_t interest_head_hash(const struct interest *in, struct str subject);
/* True when the first tokens, as far as they choose a bucket, are all literal. */
bool interest_head_is_literal(struct str pattern);

/* A subscription of this pattern came or went; notes the watches whose state changes. Under change.
 */
void interest_watch_note(struct interest *in, struct str pattern, bool added);
/* Calls the noted ones. Under change, without lock. */
void interest_watch_fire(struct interest *in);
void interest_watch_init(struct interest *in);
void interest_watch_deinit(struct interest *in);
void interest_watch_check(struct interest *in);

#endif
