/*
 * A trie of tokens without a table in its nodes.
 *
 * Most nodes are leaves (a million inboxes below one prefix), so a node owns no container of
 * children. All literal edges live in one hash map, keyed by (parent, token): going down one token
 * is one lookup, two cache misses in a big trie and none worth naming in a small one. `*` and `>`
 * children hang on a small block of their own, which few nodes have.
 *
 *     orders.eu.new    root --"orders"--> n1 --"eu"--> n2 --"new"--> n3 (entries)
 *     orders.*.new                        n1 --wild.star--> n4 --"new"--> n5
 *     orders.>                            n1 --wild.tail--> n6
 *
 * A node is freed when it has neither entries nor children; that may free its ancestors. `literals`
 * counts the literal children, `used` those of them that carry entries: with used == 0 all subjects
 * one token below this node match the same patterns, which is what prefix caching asks
 * (trie_match_children).
 *
 * Cost per literal pattern: a node of 56 bytes and its token, 8-16 bytes of hash table, and the
 * caller's entry. Node ids only spread the hashes (they replace the address, which would make the
 * order of iteration differ from run to run); a lookup compares the parent itself, so a repeated id
 * after 2^32 nodes is harmless.
 *
 * Matching follows the literal path in a loop and recurses for `*` only, at most TRIE_TOKENS_MAX
 * deep. The number of steps is bounded by the number of nodes whose path matches, never by the
 * subject alone.
 */
#include "server/core/trie.h"

#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"

struct wild {
    struct trie_node *star, *tail;
};

enum node_kind { NODE_ROOT, NODE_LITERAL, NODE_STAR, NODE_TAIL };

struct trie_node {
    struct hmap_node edge; /* literal nodes: in trie.edges */
    struct trie_node *parent;
    struct wild *wild; /* NULL: neither `*` nor `>` below */
    struct trie_entry *entries;
    uint32_t id;
    uint32_t literals; /* literal children */
    uint32_t used;     /* those with entries */
    uint16_t token_n;
    uint8_t kind;
    char token[];
};

static struct trie_node *new_node(struct trie *t, struct trie_node *parent, enum node_kind kind,
                                  struct str token)
{
    struct trie_node *n = mem_alloc(sizeof(*n) + token.n);

    *n = (struct trie_node){
        .parent = parent,
        .id = t->next_id++,
        .token_n = (uint16_t) token.n,
        .kind = (uint8_t) kind,
    };
    memcpy(n->token, token.p, token.n);
    t->nodes++;
    return n;
}

void trie_init(struct trie *t, uint64_t seed)
{
    *t = (struct trie){.seed = seed};
    hmap_init(&t->edges);
    t->root = new_node(t, NULL, NODE_ROOT, STR(""));
    t->nodes = 0;
}

static uint64_t edge_hash(const struct trie *t, const struct trie_node *parent, struct str token)
{
    return hash_bytes(token.p, token.n, t->seed ^ (parent->id * 0x9e3779b97f4a7c15u));
}

static struct trie_node *find_child(const struct trie *t, const struct trie_node *parent,
                                    struct str token)
{
    uint64_t hash;

    if (parent->literals == 0)
        return NULL;
    hash = edge_hash(t, parent, token);
    for (struct hmap_node *e = hmap_first(&t->edges, hash); e != NULL; e = hmap_next(e, hash)) {
        struct trie_node *n = CONTAINER_OF(e, struct trie_node, edge);
        if (n->parent == parent && str_eq(str_from(n->token, n->token_n), token))
            return n;
    }
    return NULL;
}

static struct trie_node *make_wild(struct trie *t, struct trie_node *parent, struct str token)
{
    bool star = token.p[0] == '*';
    struct trie_node **at;

    if (parent->wild == NULL)
        parent->wild = mem_zalloc(sizeof(*parent->wild));
    at = star ? &parent->wild->star : &parent->wild->tail;
    if (*at == NULL)
        *at = new_node(t, parent, star ? NODE_STAR : NODE_TAIL, token);
    return *at;
}

static struct trie_node *make_child(struct trie *t, struct trie_node *parent, struct str token)
{
    struct trie_node *n;

    if (token.n == 1 && (token.p[0] == '*' || token.p[0] == '>'))
        return make_wild(t, parent, token);
    n = find_child(t, parent, token);
    if (n == NULL) {
        n = new_node(t, parent, NODE_LITERAL, token);
        hmap_insert(&t->edges, &n->edge, edge_hash(t, parent, token));
        parent->literals++;
    }
    return n;
}

static void count_used(struct trie_node *n, bool used)
{
    if (n->kind != NODE_LITERAL)
        return;
    if (used)
        n->parent->used++;
    else
        n->parent->used--;
}

void trie_insert(struct trie *t, struct str pattern, struct trie_entry *e)
{
    struct trie_node *n = t->root;

    ASSERT(pattern.n > 0 && pattern.n <= TRIE_BYTES_MAX);
    while (pattern.p != NULL)
        n = make_child(t, n, str_cut(pattern, '.', &pattern));
    e->node = n;
    if (n->entries == NULL) {
        e->next = e->prev = e;
        n->entries = e;
        count_used(n, true);
    } else {
        e->next = n->entries;
        e->prev = n->entries->prev;
        e->prev->next = e;
        e->next->prev = e;
    }
    t->entries++;
}

static bool is_idle(const struct trie_node *n)
{
    return n->entries == NULL && n->literals == 0 && n->wild == NULL && n->kind != NODE_ROOT;
}

static void unlink_node(struct trie *t, struct trie_node *n)
{
    struct trie_node *parent = n->parent;

    if (n->kind == NODE_LITERAL) {
        hmap_remove(&t->edges, &n->edge);
        parent->literals--;
        return;
    }
    if (n->kind == NODE_STAR)
        parent->wild->star = NULL;
    else
        parent->wild->tail = NULL;
    if (parent->wild->star == NULL && parent->wild->tail == NULL) {
        mem_free(parent->wild);
        parent->wild = NULL;
    }
}

void trie_remove(struct trie *t, struct trie_entry *e)
{
    struct trie_node *n = e->node;

    if (e->next == e) {
        n->entries = NULL;
        count_used(n, false);
    } else {
        if (n->entries == e)
            n->entries = e->next;
        e->prev->next = e->next;
        e->next->prev = e->prev;
    }
    t->entries--;
    while (is_idle(n)) {
        struct trie_node *parent = n->parent;
        unlink_node(t, n);
        mem_free(n);
        t->nodes--;
        n = parent;
    }
}

/* ---- matching -------------------------------------------------------------------------------- */

struct walk {
    const struct trie *trie;
    trie_visit_fn visit;
    void *ctx;
    /* Called with every node that the whole path leads to. */
    void (*arrive)(struct walk *w, const struct trie_node *n);
    bool answer;
};

static void visit_entries(const struct walk *w, const struct trie_node *n)
{
    struct trie_entry *e;

    if (n == NULL || n->entries == NULL)
        return;
    e = n->entries;
    do {
        struct trie_entry *next = e->next;
        w->visit(w->ctx, e);
        e = next;
    } while (e != n->entries);
}

/* path: what is left, beginning with a token; p == NULL: nothing is left. */
static void walk_from(struct walk *w, const struct trie_node *n, struct str path)
{
    while (path.p != NULL) {
        struct str token = str_cut(path, '.', &path);
        if (n->wild != NULL) {
            visit_entries(w, n->wild->tail);
            if (n->wild->star != NULL)
                walk_from(w, n->wild->star, path);
        }
        n = find_child(w->trie, n, token);
        if (n == NULL)
            return;
    }
    w->arrive(w, n);
}

static bool has_empty_token(struct str s)
{
    if (s.n == 0 || s.p[0] == '.' || s.p[s.n - 1] == '.')
        return true;
    for (size_t i = 1; i < s.n; i++)
        if (s.p[i] == '.' && s.p[i - 1] == '.')
            return true;
    return false;
}

static void arrive_exact(struct walk *w, const struct trie_node *n)
{
    visit_entries(w, n);
}

void trie_match(const struct trie *t, struct str subject, trie_visit_fn visit, void *ctx)
{
    struct walk w = {.trie = t, .visit = visit, .ctx = ctx, .arrive = arrive_exact};

    if (!has_empty_token(subject))
        walk_from(&w, t->root, subject);
}

static void arrive_parent(struct walk *w, const struct trie_node *n)
{
    if (n->used != 0)
        w->answer = false;
    if (n->wild == NULL)
        return;
    visit_entries(w, n->wild->tail);
    visit_entries(w, n->wild->star);
}

bool trie_match_children(const struct trie *t, struct str prefix, trie_visit_fn visit, void *ctx)
{
    struct walk w = {
        .trie = t, .visit = visit, .ctx = ctx, .arrive = arrive_parent, .answer = true};

    if (!has_empty_token(prefix))
        walk_from(&w, t->root, prefix);
    return w.answer;
}

static void note_entry(void *ctx, struct trie_entry *e)
{
    (void) e;
    *(bool *) ctx = true;
}

static void arrive_any(struct walk *w, const struct trie_node *n)
{
    if (n->literals != 0 || n->wild != NULL)
        w->answer = true;
}

bool trie_any_below(const struct trie *t, struct str prefix)
{
    bool seen = false;
    struct walk w = {.trie = t, .visit = note_entry, .ctx = &seen, .arrive = arrive_any};

    if (!has_empty_token(prefix))
        walk_from(&w, t->root, prefix);
    return w.answer || seen;
}

/* ---- the whole ------------------------------------------------------------------------------- */

void trie_pattern(const struct trie_entry *e, struct buf *out)
{
    const struct trie_node *path[TRIE_TOKENS_MAX + 1];
    unsigned n = 0;

    for (const struct trie_node *at = e->node; at->kind != NODE_ROOT; at = at->parent) {
        ASSERT(n < ARRAY_LEN(path));
        path[n++] = at;
    }
    while (n-- > 0) {
        buf_put(out, path[n]->token, path[n]->token_n);
        if (n > 0)
            buf_putc(out, '.');
    }
}

/* The wildcard nodes below n: all of them, down to the next literal node. */
static void each_wild(const struct trie_node *n, void (*each)(struct trie_node *n, void *ctx),
                      void *ctx)
{
    struct wild wild;

    if (n->wild == NULL)
        return;
    wild = *n->wild;
    if (wild.star != NULL) {
        each_wild(wild.star, each, ctx);
        each(wild.star, ctx);
    }
    if (wild.tail != NULL)
        each(wild.tail, ctx);
}

/* Every node but the root, wildcard nodes before the literal node they hang on; each may free it.
 */
static void each_node(const struct trie *t, void (*each)(struct trie_node *n, void *ctx), void *ctx)
{
    struct hmap_iter it = {0};
    struct hmap_node *e;

    each_wild(t->root, each, ctx);
    while ((e = hmap_each(&t->edges, &it)) != NULL) {
        struct trie_node *n = CONTAINER_OF(e, struct trie_node, edge);
        each_wild(n, each, ctx);
        each(n, ctx);
    }
}

static void free_node(struct trie_node *n, void *ctx)
{
    (void) ctx;
    mem_free(n->wild);
    mem_free(n);
}

void trie_deinit(struct trie *t)
{
    each_node(t, free_node, NULL);
    free_node(t->root, NULL);
    hmap_deinit(&t->edges);
}

static void visit_node(struct trie_node *n, void *ctx)
{
    struct trie_entry *first = n->entries, *e = first, *next;

    if (e == NULL)
        return;
    do {
        next = e->next;
        ((const struct walk *) ctx)->visit(((const struct walk *) ctx)->ctx, e);
        e = next;
    } while (e != first);
}

void trie_each(const struct trie *t, trie_visit_fn visit, void *ctx)
{
    struct walk w = {.trie = t, .visit = visit, .ctx = ctx};

    each_node(t, visit_node, &w);
}

static void add_bytes(struct trie_node *n, void *ctx)
{
    *(size_t *) ctx += sizeof(*n) + n->token_n + (n->wild != NULL ? sizeof(*n->wild) : 0);
}

size_t trie_bytes(const struct trie *t)
{
    size_t bytes = sizeof(*t->root);

    each_node(t, add_bytes, &bytes);
    if (t->edges.buckets != NULL)
        bytes += (t->edges.mask + 1) * sizeof(void *);
    return bytes;
}

struct census {
    size_t nodes, entries, literals, used;
};

static void check_node(struct trie_node *n, void *ctx)
{
    struct census *c = ctx;
    struct trie_entry *e = n->entries;

    ASSERT(n->kind == NODE_ROOT || !is_idle(n));
    ASSERT(n->used <= n->literals);
    ASSERT(n->kind != NODE_TAIL || (n->literals == 0 && n->wild == NULL && e != NULL));
    ASSERT(n->wild == NULL || n->wild->star != NULL || n->wild->tail != NULL);
    c->nodes += n->kind != NODE_ROOT;
    c->literals += n->literals;
    c->used += n->used;
    if (n->kind == NODE_LITERAL && e != NULL)
        c->used--;
    if (e == NULL)
        return;
    do {
        ASSERT(e->node == n && e->next->prev == e);
        c->entries++;
        e = e->next;
    } while (e != n->entries);
}

/* `used` of the census is modulo: parents add what their children take away, so it ends at zero. */
void trie_check(const struct trie *t)
{
    struct census c = {0};

    hmap_check(&t->edges);
    check_node(t->root, &c);
    each_node(t, check_node, &c);
    ASSERT(c.nodes == t->nodes);
    ASSERT(c.entries == t->entries);
    ASSERT(c.literals == t->edges.count);
    ASSERT(c.used == 0);
}
