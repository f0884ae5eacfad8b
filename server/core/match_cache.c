/*
 * A set-associative table of answers.
 *
 * Two kinds of entries answer subjects. A *prefix* entry serves all subjects that differ in their
 * last token only, when wildcards alone lie there: `orders.>` makes one entry for all of orders.1,
 * orders.2, ...; `_INBOX.<nuid>.*` one for all replies of a client. Where some literal token has
 * subscriptions of its own the prefix is remembered as *split*, and subjects get entries of their
 * own. A lookup goes:
 *
 *     same prefix or subject as before?            compare, two generations   (inline)
 *     prefix: hash, one set, compare, generations  about 15 ns more
 *     if split, subject: likewise                  about 10 ns more
 *     not there or not fresh: ask the trie         about 150 ns more
 *
 * The split prefix before is not hashed again. (bench_route 64, random; docs/internals/routing.md)
 *
 * A prefix entry of fewer tokens than choose a bucket uses the bucket of its own short head, which
 * every change below it raises (interest.c), so its generation is as good as a subject's.
 *
 * A set is one cache line: five tags, five use counts, five pointers. When a set is full, the table
 * doubles as long as the limit allows; then a way that was not used since the last eviction here
 * goes. Entries of big fan-outs are charged by bytes (BYTES_PER_ENTRY for each entry the limit
 * allows); over the budget a hand sweeps the sets. An answer that alone would take more than a
 * quarter of the budget is not kept: every message that needs it asks the trie, whose cost is then
 * small beside delivering to so many.
 *
 * Freed under one's feet: deliveries run foreign code, which may publish, look up and evict. Who
 * iterates over an entry while it delivers pins it; an evicted entry with pins becomes loose and
 * dies with the last pin. What the entry names is safe at any time, because it names handles.
 */
#include "server/core/match_cache.h"

#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "server/core/account_wiring.h"
#include "server/core/sink.h"

#define WAYS 5u
#define SETS_MIN 16u
#define BYTES_PER_ENTRY 512u
/* Longer keys are not kept; the control line's default limit allows them, no known program uses
 * them. */
#define KEY_MAX 1024u
/* Of another server's queue subscription. */
#define WEIGHT_MAX 64u

struct match_set {
    uint32_t tag[WAYS];
    uint8_t hand;
    uint8_t used; /* bit per way: asked for since the last eviction */
    struct match *way[WAYS];
};

static void free_entry(struct match *e)
{
    mem_free(e);
}

static struct match *new_entry(enum match_kind kind, struct str key, size_t more)
{
    size_t bytes = sizeof(struct match) + more + key.n;
    struct match *e = mem_alloc(bytes);
    char *text = (char *) e + sizeof(*e) + more;

    memcpy(text, key.p, key.n);
    *e = (struct match){
        .kind = (uint8_t) kind,
        .key = text,
        .key_n = (uint32_t) key.n,
        .bytes = (uint32_t) (bytes < UINT32_MAX ? bytes : UINT32_MAX),
        .loose = true,
    };
    return e;
}

static uint32_t sets_for(uint32_t entries)
{
    uint32_t n = SETS_MIN;

    while (n * 4 < entries && n < 1u << 24)
        n *= 2;
    return n;
}

void match_cache_init(struct match_cache *c, const struct match_cache_options *o)
{
    *c = (struct match_cache){
        .clock = interest_clock(o->account->interest),
        .account = o->account,
        .interest = o->account->interest,
        .sinks = o->sinks,
        .worker = o->worker,
        .seed = o->seed,
        .entries_max = o->entries,
        .bytes_max = (size_t) o->entries * BYTES_PER_ENTRY,
        .sets_max = sets_for(o->entries),
        .set_mask = SETS_MIN - 1,
    };
    c->sets = mem_zalloc(SETS_MIN * sizeof(c->sets[0]));
    c->nothing = new_entry(MATCH_SUBJECT, STR(""), 0);
    c->nothing->pins = 1;
    c->last = c->split = c->nothing;
}

void match_cache_deinit(struct match_cache *c)
{
    for (uint32_t i = 0; i <= c->set_mask; i++)
        for (unsigned w = 0; w < WAYS; w++)
            if (c->sets[i].way[w] != NULL) {
                ASSERT(c->sets[i].way[w]->pins == 0);
                free_entry(c->sets[i].way[w]);
            }
    mem_free(c->sets);
    if (c->single != NULL)
        free_entry(c->single);
    free_entry(c->nothing);
    interest_answer_free(&c->answer);
}

/* ---- the table ------------------------------------------------------------------------------- */

static uint64_t hash_key(const struct match_cache *c, enum match_kind kind, struct str key)
{
    return hash_bytes(key.p, key.n, c->seed + (uint64_t) kind * 0x9e3779b97f4a7c15u);
}

static struct match_set *set_of(const struct match_cache *c, uint64_t hash)
{
    return &c->sets[hash & c->set_mask];
}

static uint32_t tag_of(uint64_t hash)
{
    return (uint32_t) (hash >> 32);
}

static struct match *get(const struct match_cache *c, enum match_kind kind, struct str key,
                         uint64_t hash)
{
    struct match_set *set = set_of(c, hash);

    for (unsigned w = 0; w < WAYS; w++) {
        struct match *e = set->way[w];
        if (set->tag[w] != tag_of(hash) || e == NULL)
            continue;
        if (e->kind == kind && e->key_n == key.n && match_bytes_eq(e->key, key.p, key.n)) {
            set->used |= (uint8_t) (1u << w);
            return e;
        }
    }
    return NULL;
}

/* Out of its set already; from here nobody finds it any more. */
static void let_go(struct match_cache *c, struct match *e)
{
    if (c->last == e)
        c->last = c->nothing;
    if (c->split == e)
        c->split = c->nothing;
    e->loose = true;
    if (e->pins == 0)
        free_entry(e);
}

static void clear_way(struct match_cache *c, struct match_set *set, unsigned w)
{
    struct match *e = set->way[w];

    set->way[w] = NULL;
    set->tag[w] = 0;
    set->used &= (uint8_t) ~(1u << w);
    c->entries--;
    c->bytes -= e->bytes;
    let_go(c, e);
}

static void drop(struct match_cache *c, struct match *e)
{
    struct match_set *set = set_of(c, e->hash);

    for (unsigned w = 0; w < WAYS; w++)
        if (set->way[w] == e) {
            clear_way(c, set, w);
            return;
        }
    FATAL("a match cache entry is not in its set");
}

/* The next occupied way of this set that was not used lately; all lose their mark on the way. WAYS:
 * none. */
static unsigned choose_victim(struct match_set *set)
{
    for (unsigned i = 0; i < 2 * WAYS; i++) {
        unsigned w = set->hand;
        set->hand = (uint8_t) ((w + 1) % WAYS);
        if (set->way[w] == NULL)
            continue;
        if ((set->used & (1u << w)) == 0)
            return w;
        set->used &= (uint8_t) ~(1u << w);
    }
    return WAYS;
}

static bool evict_from(struct match_cache *c, struct match_set *set)
{
    unsigned w = choose_victim(set);

    if (w == WAYS)
        return false;
    c->evictions++;
    clear_way(c, set, w);
    return true;
}

static unsigned free_way(const struct match_set *set)
{
    unsigned w = 0;

    while (w < WAYS && set->way[w] != NULL)
        w++;
    return w;
}

static void place(struct match_cache *c, struct match *e)
{
    struct match_set *set = set_of(c, e->hash);
    unsigned w = free_way(set);

    ASSERT(w < WAYS);
    set->way[w] = e;
    set->tag[w] = tag_of(e->hash);
}

/* Twice the sets: each splits into two, so nothing overflows. */
static void double_sets(struct match_cache *c)
{
    struct match_set *old = c->sets;
    uint32_t n = c->set_mask + 1;

    c->sets = mem_zalloc((size_t) n * 2 * sizeof(c->sets[0]));
    c->set_mask = n * 2 - 1;
    for (uint32_t i = 0; i < n; i++)
        for (unsigned w = 0; w < WAYS; w++)
            if (old[i].way[w] != NULL)
                place(c, old[i].way[w]);
    mem_free(old);
}

/* Until the budgets hold again with e's bytes added. */
static void make_room(struct match_cache *c, const struct match *e)
{
    while (c->entries >= c->entries_max || c->bytes + e->bytes > c->bytes_max) {
        evict_from(c, &c->sets[c->hand & c->set_mask]);
        c->hand++;
    }
    while (free_way(set_of(c, e->hash)) == WAYS) {
        if (c->set_mask + 1 < c->sets_max)
            double_sets(c);
        else
            evict_from(c, set_of(c, e->hash));
    }
}

static void keep(struct match_cache *c, struct match *e)
{
    if (e->key_n > KEY_MAX || e->bytes > c->bytes_max / 4) {
        if (c->single != NULL)
            let_go(c, c->single);
        c->single = e;
        return;
    }
    make_room(c, e);
    e->loose = false;
    place(c, e);
    c->entries++;
    c->bytes += e->bytes;
}

/* The single one is loose and yet owned by the cache: it is freed when it is replaced. */
void match_unpin(struct match_cache *c, struct match *e)
{
    ASSERT(e->pins > 0);
    if (--e->pins == 0 && e->loose && e != c->single)
        free_entry(e);
}

/* ---- entries from answers -------------------------------------------------------------------- */

struct shape {
    uint32_t nlocal;
    uint32_t nmembers;
    uint64_t remote;
};

/* Members that stand for one of another server's group. */
static uint32_t times(const struct interest_hit *h)
{
    return h->weight < WEIGHT_MAX ? h->weight : WEIGHT_MAX;
}

static struct shape measure(const struct match_cache *c, const struct interest_answer *a)
{
    struct shape s = {0};

    for (uint32_t i = 0; i < a->nhits; i++) {
        const struct interest_hit *h = &a->hits[i];
        if (h->group != 0)
            s.nmembers += times(h);
        else if (h->worker == c->worker)
            s.nlocal++;
        else
            s.remote |= 1ull << h->worker;
    }
    return s;
}

static handle conn_of(const struct match_cache *c, handle h)
{
    const struct sink *s = handle_get(c->sinks, h);
    return s != NULL ? s->conn : 0;
}

/* Another server gets a message once, however many of its subscriptions match. */
static bool has_leaf(const struct match *e, handle conn)
{
    for (uint32_t i = 0; i < e->nlocal; i++)
        if (e->local[i].leaf && e->local[i].conn == conn)
            return true;
    return false;
}

static void fill_local(struct match_cache *c, struct match *e, const struct interest_answer *a)
{
    for (uint32_t i = 0; i < a->nhits; i++) {
        const struct interest_hit *h = &a->hits[i];
        handle conn;
        if (h->worker == c->worker)
            e->leafs |= h->leaf;
        if (h->group != 0 || h->worker != c->worker)
            continue;
        conn = conn_of(c, h->sink);
        if (!h->leaf || !has_leaf(e, conn))
            e->local[e->nlocal++] =
                (struct match_local){.sink = h->sink, .conn = conn, .leaf = h->leaf};
    }
}

/* Does the hit's group have a member of ours? Then other servers' are not asked. */
static bool has_own(const struct interest_answer *a, uint32_t group)
{
    for (uint32_t i = 0; i < a->nhits; i++)
        if (a->hits[i].group == group && !a->hits[i].leaf)
            return true;
    return false;
}

static bool is_member(const struct interest_answer *a, const struct interest_hit *h)
{
    return h->group != 0 && (!h->leaf || !has_own(a, h->group));
}

/* Counting sort of the members by group. */
static void fill_groups(struct match *e, const struct interest_answer *a)
{
    uint32_t at = 0;

    e->ngroups = a->ngroups;
    for (uint32_t g = 0; g < a->ngroups; g++)
        e->groups[g] = (struct match_group){.id = a->group_ids[g]};
    for (uint32_t i = 0; i < a->nhits; i++)
        if (is_member(a, &a->hits[i]))
            e->groups[a->hits[i].group - 1].count += times(&a->hits[i]);
    for (uint32_t g = 0; g < a->ngroups; g++) {
        e->groups[g].first = at;
        at += e->groups[g].count;
        e->groups[g].count = 0;
    }
    for (uint32_t i = 0; i < a->nhits; i++) {
        const struct interest_hit *h = &a->hits[i];
        struct match_group *g;
        if (!is_member(a, h))
            continue;
        g = &e->groups[h->group - 1];
        for (uint32_t k = times(h); k > 0; k--)
            e->members[g->first + g->count++] = (struct match_member){.sink = h->sink,
                                                                      .worker = h->worker};
    }
}

static void note_single_receiver(struct match_cache *c, struct match *e)
{
    if (e->remote != 0 || e->leafs)
        return;
    if (e->nlocal == 1 && e->ngroups == 0) {
        e->sink = e->local[0].sink;
        e->conn = e->local[0].conn;
    } else if (e->nlocal == 0 && e->ngroups == 1 && e->groups[0].count == 1 &&
               e->members[0].worker == c->worker) {
        e->sink = e->members[0].sink;
        e->conn = conn_of(c, e->sink);
        e->group = e->groups[0].id;
    }
}

static struct match *from_answer(struct match_cache *c, enum match_kind kind, struct str key,
                                 bool linked)
{
    const struct interest_answer *a = &c->answer;
    struct shape s = measure(c, a);
    size_t local = s.nlocal * sizeof(struct match_local);
    size_t members = s.nmembers * sizeof(struct match_member);
    struct match *e = new_entry(kind, key,
                                local + members + a->ngroups * sizeof(struct match_group));
    char *at = (char *) (e + 1);

    e->local = (struct match_local *) (void *) at;
    e->members = (struct match_member *) (void *) (at + local);
    e->groups = (struct match_group *) (void *) (at + local + members);
    e->remote = s.remote;
    e->generation = a->generation;
    fill_local(c, e, a);
    fill_groups(e, a);
    e->linked = linked;
    if (!linked)
        note_single_receiver(c, e);
    e->fast = key.p[0] != '$' ? e->sink : 0;
    return e;
}

/* ---- lookups --------------------------------------------------------------------------------- */

static struct str without_dot(struct str key)
{
    return str_take(key, key.n - 1);
}

static struct match *ask(struct match_cache *c, enum match_kind kind, struct str key)
{
    struct match *e;
    uint32_t bucket = interest_bucket(c->interest, kind == MATCH_SUBJECT ? key : without_dot(key));
    uint64_t generation = interest_generation(c->clock, bucket);

    switch (kind) {
    case MATCH_SUBJECT:
        interest_match(c->interest, key, &c->answer);
        e = from_answer(c, kind, key, account_links(c->account, key));
        break;
    case MATCH_PREFIX:
        if (!account_links_below(c->account, without_dot(key)) &&
            interest_match_prefix(c->interest, without_dot(key), &c->answer)) {
            e = from_answer(c, kind, key, false);
        } else {
            e = new_entry(kind, key, 0);
            e->split = true;
            e->generation = generation;
        }
        break;
    default:
        e = new_entry(kind, key, 0);
        e->split = interest_any_below(c->interest, without_dot(key)) ||
                   account_links_below(c->account, without_dot(key));
        e->generation = generation;
        break;
    }
    e->bucket = (uint16_t) bucket;
    return e;
}

static struct match *get_or_ask(struct match_cache *c, enum match_kind kind, struct str key)
{
    uint64_t hash = hash_key(c, kind, key);
    struct match *e = get(c, kind, key, hash);

    if (LIKELY(e != NULL)) {
        if (LIKELY(match_is_fresh(c, e)))
            return e;
        drop(c, e);
    }
    c->misses++;
    e = ask(c, kind, key);
    e->hash = hash;
    keep(c, e);
    return e;
}

/* Bytes up to and with the last dot; 0: one token. */
static size_t prefix_bytes(struct str s)
{
    size_t n = s.n;

    while (n >= 8) {
        uint64_t dots = match_dots(get_u64(s.p + n - 8));
        if (dots != 0)
            break;
        n -= 8;
    }
    while (n > 0 && s.p[n - 1] != '.')
        n--;
    return n;
}

struct match *match_cache_look_up(struct match_cache *c, struct str subject)
{
    struct match *e;
    size_t n;

    if (UNLIKELY(subject.n == 0 || subject.p[subject.n - 1] == '.'))
        return c->nothing;
    if (match_covers(c->split, subject) && match_is_fresh(c, c->split)) {
        e = get_or_ask(c, MATCH_SUBJECT, subject);
        c->last = e;
        return e;
    }
    n = prefix_bytes(subject);
    if (n > 0) {
        e = get_or_ask(c, MATCH_PREFIX, str_take(subject, n));
        if (!e->split) {
            c->last = e;
            return e;
        }
        c->split = e;
    }
    e = get_or_ask(c, MATCH_SUBJECT, subject);
    c->last = e;
    return e;
}

bool match_cache_any_below(struct match_cache *c, struct str prefix)
{
    return get_or_ask(c, MATCH_BELOW, prefix)->split;
}

void match_cache_check(const struct match_cache *c)
{
    uint32_t entries = 0;
    size_t bytes = 0;

    for (uint32_t i = 0; i <= c->set_mask; i++)
        for (unsigned w = 0; w < WAYS; w++) {
            const struct match *e = c->sets[i].way[w];
            if (e == NULL)
                continue;
            ASSERT(!e->loose && (e->hash & c->set_mask) == i &&
                   c->sets[i].tag[w] == tag_of(e->hash));
            ASSERT(e->split || e->kind != MATCH_SUBJECT || e->key_n > 0);
            entries++;
            bytes += e->bytes;
        }
    ASSERT(entries == c->entries && bytes == c->bytes);
    ASSERT(c->entries <= c->entries_max && c->bytes <= c->bytes_max);
}
