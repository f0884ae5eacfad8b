/*
 * interest.h - who wants what: one per account, shared by all workers.
 *
 * A trie of tokens under a read-write lock. Subscribing takes the write lock for the insert alone; matching takes
 * the read lock, and only when a worker's match cache (match_cache.h) has no valid answer. The lock never spans
 * a callback. A subscription is visible to every worker when interest_add returns.
 *
 * Generations tell caches what is stale without telling everyone about everything: subjects fall into
 * INTEREST_BUCKETS buckets by a hash of their first two tokens (three below $JS and $KV); a change of a pattern
 * with literal tokens there bumps one bucket, a wildcard among them bumps the global generation. A cached answer is
 * valid while both are what they were.
 *
 * Limits: patterns of at most 4096 bytes and 255 tokens. Memory per literal subscription: about 100 bytes and the
 * pattern's new tokens.
 */
#ifndef CORE_INTEREST_H
#define CORE_INTEREST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/handle.h"
#include "lib/base/str.h"

#define INTEREST_BUCKETS 4096u
#define WORKERS_MAX 64u

struct interest;
struct interest_sub;

struct interest *interest_open(uint64_t hash_seed);
void interest_close(struct interest *in);

struct interest_spec {
    struct str pattern; /* valid; wildcards allowed */
    struct str queue;   /* empty = plain */
    uint32_t worker;    /* the sink's */
    handle sink;
    bool internal;      /* of the server itself: not in subscription counts */
};

/* Any thread. Never fails for a valid pattern within the limits; else NULL. */
struct interest_sub *interest_add(struct interest *in, const struct interest_spec *spec);
/* Any thread (normally the sink's worker). The sub is freed. */
void interest_remove(struct interest *in, struct interest_sub *sub);

/* One matching subscription. */
struct interest_hit {
    uint32_t worker;
    uint32_t group; /* 0 = plain, else index (from 1) of its queue group in this answer */
    handle sink;
};

struct interest_answer {
    struct interest_hit *hits;
    uint32_t nhits, cap;
    uint32_t ngroups;
    uint64_t bucket_generation, global_generation; /* read before matching */
};

/* Collects every subscription that matches the literal subject into *out (hits reused, grown by mem_realloc).
 * Any thread. */
void interest_match(struct interest *in, struct str subject, struct interest_answer *out);
/* The subscriptions that match prefix + any one more token when exactly wildcards lie below the prefix (`prefix.*`
 * and ancestors' `>`): true and the answer; false when literals or deeper patterns lie there, so that subjects with
 * this prefix do not share one answer. prefix without the last dot. */
bool interest_match_prefix(struct interest *in, struct str prefix, struct interest_answer *out);
bool interest_any(struct interest *in, struct str subject);

/* Current generations for this subject. */
void interest_generations(const struct interest *in, struct str subject, uint64_t *bucket,
                          uint64_t *global);

/* Edges: posts edge(ctx, on) when the first matching subscription of a literal subject appears or the last one goes;
 * *now = the state at the call. Runs under no lock, on the thread that changed the interest: the callee only
 * posts to its own worker. */
struct interest_watch;
struct interest_watch *interest_watch(struct interest *in, struct str subject, void (*edge)(void *ctx, bool on),
                                      void *ctx, bool *now);
void interest_unwatch(struct interest *in, struct interest_watch *w);

struct interest_stats {
    uint64_t subs, inserts, removes, matches;
};
void interest_stats(const struct interest *in, struct interest_stats *out);
/* All subscriptions, for /subsz; holds the read lock: copy and return quickly. */
void interest_each(struct interest *in, void (*each)(void *ctx, const struct interest_spec *spec), void *ctx);
void interest_check(struct interest *in);

#endif
