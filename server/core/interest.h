/*
 * interest.h - who wants what: one per account, shared by all workers.
 *
 * A trie of tokens under a read-write lock. Subscribing takes the write lock for the insert alone;
 * matching takes the read lock, and only when a worker's match cache (match_cache.h) has no valid
 * answer. The lock never spans a callback. A subscription is visible to every worker when
 * interest_add returns.
 *
 * Generations tell caches what is stale without telling everyone about everything: subjects fall
 * into INTEREST_BUCKETS buckets by a hash of their first two tokens (three below $JS and $KV); a
 * change of a pattern with literal tokens there bumps that bucket (and those of its shorter
 * beginnings, for answers shared by prefix), a wildcard among them bumps the global generation. A
 * cached answer is valid while both are what they were.
 *
 * Limits: patterns of at most 4096 bytes and 255 tokens. Memory per literal subscription: about 150
 * bytes with the allocator's share (bench_route prints it), and the pattern's new tokens.
 */
#ifndef CORE_INTEREST_H
#define CORE_INTEREST_H

#include "lib/base/err.h"
#include "lib/base/handle.h"
#include "lib/base/list.h"
#include "lib/base/str.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INTEREST_BUCKETS 4096u
#define WORKERS_MAX 64u

struct interest;
struct interest_sub;

/* hash_seed: random, so that clients can not choose colliding tokens. */
struct interest *interest_open(uint64_t hash_seed);
/* All workers have stopped. Frees subscriptions and watches that are still there. */
void interest_close(struct interest *in);

struct interest_spec {
    struct str pattern; /* valid; wildcards allowed */
    struct str queue;   /* empty = plain */
    uint32_t worker;    /* the sink's */
    handle sink;
    bool internal; /* of the server itself: not in subscription counts */
    /* What another server wants, over a leaf connection (below): the connection's number, never 0;
     * 0 = ours. */
    uint32_t leaf;
    bool of_hub;     /* and that server is our hub: what it wants is of no interest to other hubs */
    uint16_t weight; /* of a leaf's queue subscription: members it stands for; 0 counts as 1 */
};

/* Any thread. Never fails for a valid pattern within the limits; else NULL. Copies what it needs.
 */
struct interest_sub *interest_add(struct interest *in, const struct interest_spec *spec);
/* Any thread (normally the sink's worker). The sub is freed. */
void interest_remove(struct interest *in, struct interest_sub *sub);

/* One matching subscription. */
struct interest_hit {
    uint32_t worker;
    uint32_t group; /* 0 = plain, else index (from 1) of its queue group in this answer */
    handle sink;
    bool leaf;       /* another server's */
    uint16_t weight; /* at least 1 */
};

/* Zero-initialised is empty; freed by interest_answer_free. Groups are merged by name over all
 * patterns that matched. group_ids[group - 1] names the group: the same number in every answer and
 * at every worker as long as a member exists, never 0. */
struct interest_answer {
    struct interest_hit *hits;
    uint32_t nhits, cap;
    uint32_t *group_ids;
    uint32_t ngroups, groups_cap;
    uint64_t generation; /* interest_generation of the subject's bucket, read before matching */
};
void interest_answer_free(struct interest_answer *a);

/* Collects every subscription that matches the literal subject into *out (its arrays are reused and
 * grown). Any thread. A subject with an empty token matches nothing. */
void interest_match(struct interest *in, struct str subject, struct interest_answer *out);
/*
 * The answer that all subjects prefix + "." + one more token share: true when there is one
 * (`prefix.*`, `prefix.>` and what lies on the way match them all), false when some literal token
 * has a subscription of its own there (*out is then unspecified). Generation: that of
 * interest_bucket(prefix). prefix without the last dot.
 */
bool interest_match_prefix(struct interest *in, struct str prefix, struct interest_answer *out);
bool interest_any(struct interest *in, struct str subject);
/* May any subscription match a subject that begins with prefix + "."? Only for prefixes of at least
 * as many tokens as count for the bucket (2; 3 below $JS and $KV): it is valid while
 * interest_bucket(prefix) is. */
bool interest_any_below(struct interest *in, struct str prefix);

/*
 * Taps: who wants to hear of every subscription, because another server is to be told. changed is
 * called for each that is there when the tap is set, then for each that comes or goes, in the order
 * of the changes and on the thread that makes them, while other changes wait: it must only take
 * note. When interest_untap has returned it is not running and will not run again.
 */
struct interest_tap {
    struct list link;
    void (*changed)(struct interest_tap *tap, const struct interest_spec *spec, bool there);
};
void interest_tap(struct interest *in, struct interest_tap *tap);
void interest_untap(struct interest *in, struct interest_tap *tap);

/* The number of a queue group as in answers, or 0 while it has no members. Any thread. */
uint32_t interest_group_id(struct interest *in, struct str queue);

/* Every answer is stale from now on: something else that answers depend on has changed. */
void interest_renew(struct interest *in);

/* Generations, laid open because the match cache looks at them for every message. They only grow.
 */
struct interest_clock {
    _Atomic uint64_t global;
    _Atomic uint64_t bucket[INTEREST_BUCKETS];
};
const struct interest_clock *interest_clock(const struct interest *in);
/* Which bucket counts for this subject or prefix; stable for the life of the interest. */
uint32_t interest_bucket(const struct interest *in, struct str subject);
/* One number for both generations: their sum, which stays the same exactly as long as both do. */
static inline uint64_t interest_generation(const struct interest_clock *c, uint32_t bucket)
{
    return atomic_load_explicit(&c->bucket[bucket], memory_order_acquire) +
           atomic_load_explicit(&c->global, memory_order_acquire);
}

/*
 * Edges: calls edge(ctx, on) when the first matching subscription of a literal subject appears or
 * the last one goes; *now = the state at the call. Runs on the thread that changed the interest, in
 * the order of the changes, while other changes wait (matching does not): the callee only posts to
 * its own worker, it must not change the interest. When interest_unwatch has returned, edge is not
 * running and will not run again.
 */
struct interest_watch;
struct interest_watch *interest_watch(struct interest *in, struct str subject,
                                      void (*edge)(void *ctx, bool on), void *ctx, bool *now);
void interest_unwatch(struct interest *in, struct interest_watch *w);

struct interest_stats {
    uint64_t subs; /* without internal ones */
    uint64_t internal, inserts, removes, matches, watches;
};
void interest_stats(struct interest *in, struct interest_stats *out);
/* Heap bytes of patterns and tables (not of subscriptions), without the allocator's share; walks
 * everything. */
size_t interest_bytes(struct interest *in);
/* All subscriptions, for /subsz; changes wait meanwhile: copy and return quickly. */
void interest_each(struct interest *in, void (*each)(void *ctx, const struct interest_spec *spec),
                   void *ctx);
void interest_check(struct interest *in);

#endif
