/*
 * match_cache.h - a worker's memory of what the trie answered: subject -> local sinks, other
 * workers, queue groups.
 *
 * One per account and worker, on that worker's thread. Bounded in entries and bytes; entries nobody
 * asked for since the hand came by go first.
 *
 * Entries hold handles, never pointers to sinks. An entry is read-only and valid from
 * match_cache_find to the next call of any match_cache function; who runs foreign code in between
 * pins it.
 */
#ifndef CORE_MATCH_CACHE_H
#define CORE_MATCH_CACHE_H

#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/handle.h"
#include "lib/base/str.h"
#include "server/core/account.h"

#include <stdbool.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum match_kind {
    MATCH_SUBJECT, /* key: the subject */
    MATCH_PREFIX,  /* key: all but the last token, with its dot */
    MATCH_BELOW,   /* key: some first tokens, with the last dot: is there any pattern below? */
};

struct match_local {
    handle sink;
    handle conn; /* of the sink: for echo suppression */
    bool leaf;   /* the first plain subscription of another server: the others are not here */
};

struct match_member {
    handle sink;
    uint32_t worker;
};

struct match_group {
    uint32_t id;           /* interest_answer.group_ids */
    uint32_t first, count; /* in members */
};

struct match {
    uint64_t generation;
    handle sink; /* the one receiver, when it is on this worker and there is no other; else 0 */
    handle fast; /* the same, but 0 for keys that begin with "$", which the router looks at first */
    handle conn; /* its connection */
    uint32_t group; /* id of its queue group, 0 = plain */
    uint32_t key_n;
    uint16_t bucket; /* of the interest's clock */
    uint8_t kind;
    bool split; /* MATCH_PREFIX: no shared answer, look up the subject; MATCH_BELOW: there may be
                   some */
    uint32_t nlocal, ngroups;
    uint32_t pins;
    bool linked; /* other accounts get it too (account_wiring.h): never one receiver */
    bool loose;  /* in no set: freed with its last pin */
    bool leafs;  /* other servers are among the receivers of this worker: never one receiver */
    uint32_t bytes;
    uint64_t hash;
    uint64_t remote;           /* bit w: worker w has plain subscriptions */
    struct match_local *local; /* plain subscriptions of this worker */
    struct match_group *groups;
    struct match_member *members;
    const char *key;
};

struct match_set;

struct match_cache {
    /* Never NULL: `nothing` when there is none. */
    struct match *last;  /* the answer before: found again without hashing */
    struct match *split; /* the split prefix before */
    const struct interest_clock *clock;
    const struct account *account;
    struct interest *interest; /* the account's */
    const struct handle_table *sinks;
    uint32_t worker;
    uint64_t seed;
    struct match_set *sets;
    uint32_t set_mask, sets_max;
    uint32_t entries, entries_max;
    uint32_t hand;
    size_t bytes, bytes_max;
    struct match *single;  /* an answer too big to keep; replaced by the next of its kind */
    struct match *nothing; /* for subjects that are none; fits no other */
    struct interest_answer answer;
    uint64_t misses, evictions; /* questions to the trie; entries thrown out for room */
};

struct match_cache_options {
    const struct account *account;
    const struct handle_table *sinks; /* this worker's */
    uint32_t worker;
    uint32_t entries; /* limit */
    uint64_t seed;
};

void match_cache_init(struct match_cache *c, const struct match_cache_options *o);
/* No entry may be pinned. */
void match_cache_deinit(struct match_cache *c);

/* The slow half of match_cache_find. */
struct match *match_cache_look_up(struct match_cache *c, struct str subject);
/* May subscriptions match subjects that begin with `prefix` (which ends with a dot)? */
bool match_cache_any_below(struct match_cache *c, struct str prefix);

static inline void match_pin(struct match *e)
{
    e->pins++;
}

void match_unpin(struct match_cache *c, struct match *e);
void match_cache_check(const struct match_cache *c);

/* ---- inline: the same answer as for the message before
 * ------------------------------------------- */

static inline __attribute__((always_inline)) bool match_bytes_eq(const char *a, const char *b,
                                                                 size_t n)
{
    if (LIKELY(n >= 8)) {
        for (size_t i = 0; i + 8 < n; i += 8)
            if (get_u64(a + i) != get_u64(b + i))
                return false;
        return get_u64(a + n - 8) == get_u64(b + n - 8);
    }
    if (n >= 4)
        return get_u32(a) == get_u32(b) && get_u32(a + n - 4) == get_u32(b + n - 4);
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

/* 0x80 in every byte of v that is a dot (bytes above a dot may be wrong, the lowest set one is
 * right). */
static inline __attribute__((always_inline)) uint64_t match_dots(uint64_t v)
{
    uint64_t x = v ^ 0x2e2e2e2e2e2e2e2eu;
    return (x - 0x0101010101010101u) & ~x & 0x8080808080808080u;
}

#ifdef __SSE2__
/* A constant and three instructions a step, where the words above need four constants in registers.
 */
static inline __attribute__((always_inline)) bool match_dot_in_8(const char *p)
{
    __m128i v = _mm_loadl_epi64((const __m128i *) (const void *) p);
    return _mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('.'))) != 0;
}
#else
static inline bool match_dot_in_8(const char *p)
{
    return match_dots(get_u64(p)) != 0;
}
#endif

static inline __attribute__((always_inline)) bool match_has_dot(const char *p, size_t n)
{
    if (n >= 8) {
        for (size_t i = 0; i + 8 < n; i += 8)
            if (match_dot_in_8(p + i))
                return true;
        return match_dot_in_8(p + n - 8);
    }
    for (size_t i = 0; i < n; i++)
        if (p[i] == '.')
            return true;
    return false;
}

static inline __attribute__((always_inline)) bool match_covers(const struct match *e,
                                                               struct str subject)
{
    if (e->kind == MATCH_SUBJECT)
        return subject.n == e->key_n && match_bytes_eq(subject.p, e->key, subject.n);
    return subject.n > e->key_n && match_bytes_eq(subject.p, e->key, e->key_n) &&
           !match_has_dot(subject.p + e->key_n, subject.n - e->key_n);
}

static inline __attribute__((always_inline)) bool match_is_fresh(const struct match_cache *c,
                                                                 const struct match *e)
{
    return interest_generation(c->clock, e->bucket) == e->generation;
}

static inline struct match *match_cache_find(struct match_cache *c, struct str subject)
{
    struct match *e = c->last;

    if (match_covers(e, subject) && LIKELY(match_is_fresh(c, e)))
        return e;
    return match_cache_look_up(c, subject);
}

#endif
