/*
 * subject_tree.c - see subject_tree.h.
 *
 * A node says at which byte its subjects begin to differ (depth), and has a child for each value
 * that byte takes, sorted; below a node all subjects agree in what comes before. Bytes on which
 * everybody agrees are stored nowhere but in the subjects: so a search looks only at bytes that
 * distinguish, arrives at some subject, and compares that one as a whole. A subject that is the
 * beginning of others ends at a node: it is that node's first child, with `ends` set, because it
 * has no byte there.
 *
 *     node    u16 depth | u16 children | u16 room | u8 ends | u8 0
 *             references of the children, u32 x room      bit 31: a node, else a subject
 *             their bytes, u8 x room
 *
 * Every node has at least two children. A node is replaced by a larger block when it is full, by a
 * smaller one when less than half is used.
 */
#include "store/subject_tree.h"

#include "lib/base/assert.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "store/subjects.h"

#include <string.h>

#define NODE 0x80000000u
#define IS_NODE(ref) (((ref) &NODE) != 0)

enum { NODE_HEAD = 8, CHILD_BYTES = 5, CHILDREN_MAX = 257 };

struct node {
    uint16_t depth;
    uint16_t n, room;
    uint8_t ends;
    uint8_t zero;
    uint32_t child[];
};

static struct node *node_at(const struct subject_tree *t, uint32_t ref)
{
    return ref_at(&t->nodes, ref & ~NODE);
}

static uint8_t *node_bytes(struct node *n)
{
    return (uint8_t *) (n->child + n->room);
}

static struct str text_of(const struct subject_tree *t, uint32_t ref)
{
    const struct subject *sub = ref_at(t->subjects, ref);
    return subject_text(sub);
}

void subject_tree_init(struct subject_tree *t, const struct ref_pool *subjects)
{
    *t = (struct subject_tree){.subjects = subjects};
}

void subject_tree_deinit(struct subject_tree *t)
{
    ref_pool_deinit(&t->nodes);
    t->root = 0;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static size_t node_size(uint32_t room)
{
    return NODE_HEAD + (size_t) room * CHILD_BYTES;
}

/* As many children as fit into what is given out for `room`. */
static uint16_t fill_room(uint32_t room)
{
    uint32_t most = (uint32_t) ((ref_pool_round(node_size(room)) - NODE_HEAD) / CHILD_BYTES);

    return (uint16_t) (most < CHILDREN_MAX ? most : CHILDREN_MAX);
}

static uint32_t new_node(struct subject_tree *t, uint16_t depth, uint32_t room)
{
    uint16_t most = fill_room(room);
    uint32_t ref = ref_pool_alloc(&t->nodes, node_size(most));
    struct node *n = node_at(t, ref);

    *n = (struct node){.depth = depth, .room = most};
    return ref | NODE;
}

/* The same node with another room. */
static void move_node(struct subject_tree *t, uint32_t *link, uint32_t room)
{
    struct node *old = node_at(t, *link);
    uint32_t ref = new_node(t, old->depth, room);
    struct node *n = node_at(t, ref);

    ASSERT(n->room >= old->n);
    n->n = old->n;
    n->ends = old->ends;
    memcpy(n->child, old->child, old->n * sizeof(n->child[0]));
    memcpy(node_bytes(n), node_bytes(old), old->n);
    ref_pool_free(&t->nodes, *link & ~NODE, node_size(old->room));
    *link = ref;
}

/* The first child that stands for a byte >= b. */
static uint32_t lower_child(struct node *n, uint8_t b)
{
    const uint8_t *bytes = node_bytes(n);
    uint32_t low = n->ends, high = n->n;

    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (bytes[mid] < b)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The child on the text's way; n->n when there is none. */
static uint32_t child_for(struct node *n, struct str text)
{
    if (text.n == n->depth)
        return n->ends ? 0 : n->n;
    if (text.n < n->depth)
        return n->n;
    uint8_t b = (uint8_t) text.p[n->depth];
    uint32_t i = lower_child(n, b);
    return i < n->n && node_bytes(n)[i] == b ? i : n->n;
}

static void put_child(struct subject_tree *t, uint32_t *link, struct str text, uint32_t ref)
{
    struct node *n = node_at(t, *link);

    if (n->n == n->room) {
        move_node(t, link, n->n + 1u + n->n / 4u);
        n = node_at(t, *link);
    }
    bool ends = text.n == n->depth;
    uint8_t b = ends ? 0 : (uint8_t) text.p[n->depth];
    uint32_t at = ends ? 0 : lower_child(n, b);
    uint8_t *bytes = node_bytes(n);
    memmove(&n->child[at + 1], &n->child[at], (n->n - at) * sizeof(n->child[0]));
    memmove(&bytes[at + 1], &bytes[at], n->n - at);
    n->child[at] = ref;
    bytes[at] = b;
    n->n++;
    n->ends |= ends;
}

/* ---- insert and remove ----------------------------------------------------------------------- */

/* Some subject that shares more with the text than any other. */
static uint32_t nearest(const struct subject_tree *t, struct str text)
{
    uint32_t ref = t->root;

    while (IS_NODE(ref)) {
        struct node *n = node_at(t, ref);
        uint32_t i = child_for(n, text);
        ref = n->child[i < n->n ? i : 0];
    }
    return ref;
}

static size_t common(struct str a, struct str b)
{
    size_t n = 0, most = a.n < b.n ? a.n : b.n;

    while (n < most && a.p[n] == b.p[n])
        n++;
    return n;
}

void subject_tree_insert(struct subject_tree *t, uint32_t subject)
{
    struct str text = text_of(t, subject), near;
    uint32_t *link = &t->root;

    if (t->root == 0) {
        t->root = subject;
        return;
    }
    near = text_of(t, nearest(t, text));
    size_t differ = common(text, near);
    ASSERT(differ < text.n || differ < near.n);
    while (IS_NODE(*link) && node_at(t, *link)->depth < differ) {
        struct node *n = node_at(t, *link);
        link = &n->child[child_for(n, text)];
    }
    if (!IS_NODE(*link) || node_at(t, *link)->depth != differ) {
        uint32_t below = *link, node = new_node(t, (uint16_t) differ, 2);
        *link = node;
        put_child(t, link, near, below);
    }
    put_child(t, link, text, subject);
}

void subject_tree_remove(struct subject_tree *t, uint32_t subject)
{
    struct str text = text_of(t, subject);
    uint32_t *link = &t->root, *up = NULL, i = 0;

    while (IS_NODE(*link)) {
        struct node *n = node_at(t, *link);
        i = child_for(n, text);
        ASSERT(i < n->n);
        up = link;
        link = &n->child[i];
    }
    ASSERT(*link == subject);
    if (up == NULL) {
        t->root = 0;
        return;
    }
    struct node *n = node_at(t, *up);
    uint8_t *bytes = node_bytes(n);
    if (n->n == 2) {
        uint32_t other = n->child[1 - i];
        ref_pool_free(&t->nodes, *up & ~NODE, node_size(n->room));
        *up = other;
        return;
    }
    n->n--;
    if (n->ends && i == 0)
        n->ends = 0;
    memmove(&n->child[i], &n->child[i + 1], (n->n - i) * sizeof(n->child[0]));
    memmove(&bytes[i], &bytes[i + 1], n->n - i);
    if (n->n < n->room / 2u && n->room > 4)
        move_node(t, up, n->n);
}

/* ---- cursors --------------------------------------------------------------------------------- */

void subject_cursor_init(struct subject_cursor *c, const struct subject_tree *t)
{
    c->tree = t;
    c->subject = 0;
    c->steps = c->few;
    c->n = 0;
    c->cap = CURSOR_STEPS;
}

void subject_cursor_deinit(struct subject_cursor *c)
{
    if (c->steps != c->few)
        mem_free(c->steps);
}

static void push(struct subject_cursor *c, uint32_t node, uint32_t child)
{
    if (c->n == c->cap) {
        struct subject_step *steps = mem_array(c->cap * 4u, sizeof(*steps));
        memcpy(steps, c->steps, c->n * sizeof(*steps));
        if (c->steps != c->few)
            mem_free(c->steps);
        c->steps = steps;
        c->cap *= 4;
    }
    c->steps[c->n++] = (struct subject_step){node, child};
}

/* Down to the first subject below. */
static void go_down(struct subject_cursor *c, uint32_t ref)
{
    while (IS_NODE(ref)) {
        push(c, ref, 0);
        ref = node_at(c->tree, ref)->child[0];
    }
    c->subject = ref;
}

/* To what follows everything below the last step. */
void subject_cursor_next(struct subject_cursor *c)
{
    c->subject = 0;
    while (c->n > 0) {
        struct subject_step *step = &c->steps[c->n - 1];
        const struct node *n = node_at(c->tree, step->node);
        if (++step->child < n->n) {
            go_down(c, n->child[step->child]);
            return;
        }
        c->n--;
    }
}

void subject_cursor_seek(struct subject_cursor *c, struct str text, bool behind)
{
    const struct subject_tree *t = c->tree;
    uint32_t ref = t->root;

    c->n = 0;
    c->subject = 0;
    if (ref == 0)
        return;
    struct str near = text_of(t, nearest(t, text));
    size_t differ = common(text, near);
    while (IS_NODE(ref) && node_at(t, ref)->depth < differ) {
        struct node *n = node_at(t, ref);
        uint32_t i = child_for(n, text);
        push(c, ref, i);
        ref = n->child[i];
    }
    if (differ == text.n && differ == near.n) { /* it is there */
        if (IS_NODE(ref)) {                     /* ends at this node */
            push(c, ref, 0);
            ref = node_at(t, ref)->child[0];
        }
        c->subject = ref;
        if (behind)
            subject_cursor_next(c);
        return;
    }
    if (IS_NODE(ref) && node_at(t, ref)->depth == differ) {
        /* None of its children is on the text's way. */
        struct node *n = node_at(t, ref);
        uint32_t i = text.n == differ ? 0 : lower_child(n, (uint8_t) text.p[differ]);
        push(c, ref, i);
        if (i < n->n)
            go_down(c, n->child[i]);
        else
            subject_cursor_next(c);
        return;
    }
    /* All below differ from the text in the same byte. */
    if (differ == text.n ||
        (differ < near.n && (uint8_t) text.p[differ] < (uint8_t) near.p[differ]))
        go_down(c, ref);
    else
        subject_cursor_next(c);
}

/* ---- patterns -------------------------------------------------------------------------------- */

static size_t token_end(struct str s, size_t at)
{
    const char *dot = at < s.n ? memchr(s.p + at, '.', s.n - at) : NULL;

    return dot != NULL ? (size_t) (dot - s.p) : s.n;
}

static bool is_wild(struct str s, size_t at, size_t end, char wild)
{
    return end == at + 1 && s.p[at] == wild;
}

struct str subject_pattern_prefix(struct str pattern)
{
    for (size_t at = 0; at < pattern.n;) {
        size_t end = token_end(pattern, at);
        if (is_wild(pattern, at, end, '*') || (is_wild(pattern, at, end, '>') && end == pattern.n))
            return str_take(pattern, at);
        at = end + 1;
    }
    return pattern;
}

enum outcome {
    MATCH,
    NEXT,   /* go on with the next subject */
    JUMP,   /* ... with the first one at or behind `to` */
    FINISH, /* nothing behind this one can match */
};

/* Everything that begins with the first n bytes of s and a dot is passed. */
static enum outcome pass(struct str s, size_t n, struct buf *to)
{
    buf_clear(to);
    buf_put(to, s.p, n);
    buf_putc(to, '.' + 1);
    return JUMP;
}

/*
 * Token by token. At the first literal token that differs the smallest text that could match and
 * begins with the same tokens is known: if it lies ahead, jump there; else nothing with these
 * tokens matches any more, and the last token that stands for a `*` has to change.
 */
static enum outcome try_match(struct str s, struct str pattern, struct buf *to)
{
    size_t at = 0, p = 0, star_end = SIZE_MAX;

    for (;;) {
        size_t end = token_end(s, at), p_end = token_end(pattern, p);
        bool last = p_end == pattern.n;
        if (is_wild(pattern, p, p_end, '>') && last)
            return MATCH;
        if (is_wild(pattern, p, p_end, '*')) {
            star_end = end;
        } else if (end - at != p_end - p || memcmp(s.p + at, pattern.p + p, end - at) != 0) {
            buf_clear(to);
            buf_put(to, s.p, at);
            buf_put(to, pattern.p + p, p_end - p + !last); /* with its dot */
            if (str_cmp(buf_str(to), s) > 0)
                return JUMP;
            return star_end == SIZE_MAX ? FINISH : pass(s, star_end, to);
        }
        if (end == s.n)
            return last ? MATCH : NEXT;
        if (last)
            return pass(s, end, to);
        at = end + 1;
        p = p_end + 1;
    }
}

bool subject_cursor_match(struct subject_cursor *c, struct str pattern, uint32_t *steps)
{
    struct buf to = {0};
    enum outcome outcome = NEXT;

    for (; c->subject != 0 && outcome != MATCH && outcome != FINISH; ++*steps) {
        outcome = try_match(text_of(c->tree, c->subject), pattern, &to);
        if (outcome == NEXT)
            subject_cursor_next(c);
        else if (outcome == JUMP)
            subject_cursor_seek(c, buf_str(&to), false);
    }
    buf_free(&to);
    return outcome == MATCH;
}

/* ---- check ----------------------------------------------------------------------------------- */

static void check_node(const struct subject_tree *t, uint32_t ref)
{
    struct node *n = node_at(t, ref);

    ASSERT(n->n >= 2 && n->n <= n->room && n->room <= CHILDREN_MAX);
    for (uint32_t i = n->ends; i + 1 < n->n; i++)
        ASSERT(node_bytes(n)[i] < node_bytes(n)[i + 1]);
    for (uint32_t i = 0; i < n->n; i++)
        if (IS_NODE(n->child[i]))
            ASSERT(node_at(t, n->child[i])->depth > n->depth);
}

void subject_tree_check(const struct subject_tree *t, uint64_t n)
{
    struct subject_cursor c;
    struct str before = STR_NONE;
    uint64_t seen = 0;

    subject_cursor_init(&c, t);
    for (subject_cursor_seek(&c, STR_NONE, false); c.subject != 0; subject_cursor_next(&c)) {
        struct str text = text_of(t, c.subject);
        ASSERT(seen == 0 || str_cmp(before, text) < 0);
        ASSERT(nearest(t, text) == c.subject);
        if (c.n > 0)
            check_node(t, c.steps[c.n - 1].node);
        before = text;
        seen++;
    }
    subject_cursor_deinit(&c);
    ASSERT(seen == n);
}
