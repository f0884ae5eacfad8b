/*
 * load_limits.c - the limit per subject at a start that leaves the index of subjects for later.
 *
 * The record says (stream_claim_applied, every second) that all that the limit took of the messages
 * up to a sequence is among the removed ones. Of the messages behind it, the last second or two
 * before a kill, nothing says what they pushed out: before anybody looks the limit is applied to
 * their subjects, and to no others.
 *
 *     1. Whose they are: the segments that have them are asked for the subjects of what lies behind
 *        the sequence.
 *     2. Where else their subjects are: every segment is asked for those.
 *     3. What is too much of a subject goes, the oldest first.
 *
 * How a segment is asked depends on where its index is. INDEX_HERE: its column says it.
 * INDEX_IN_BATCHES: all its records are passed, and nothing is kept but what is looked for; the
 * index that the loader makes of it later costs three times as much. INDEX_IN_FOOTER: SUBJECTS and
 * SIZES are read; what is looked for is in order, as the section is, so one walk meets all of it.
 *
 * What can not be told this way (a damaged footer, too many subjects) is told by the whole index.
 */
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "store/plant.h"
#include "store/recover.h"
#include "store/store_impl.h"

#include <stdlib.h>
#include <string.h>

/* With more of them the whole index costs less. */
#define SUBJECTS_MAX (1u << 18)
/* Messages of all of them, 16 bytes each. */
#define MESSAGES_MAX (1u << 23)

struct message {
    uint64_t seq;
    uint32_t size; /* 0 = the column has it */
};

struct limited {
    struct hmap_node node;
    uint32_t n, cap;
    uint32_t before;          /* of them are in segments before this one */
    struct message *messages; /* that exist, in order */
    uint32_t len;
    char text[];
};

struct limiter {
    struct store_stream *s;
    uint64_t behind; /* of the messages after this one nothing is said */
    uint64_t seed;
    struct hmap wanted;
    struct limited **order; /* the same, in the order of their texts */
    uint32_t *by_id;        /* the same by slot of their subject, where it has one: index + 1 */
    uint32_t nslots;
    uint64_t total;             /* messages */
    bool failed;                /* it is too much, or a segment can not be asked */
    struct buf subjects, sizes; /* of the segment in work */
};

static struct str text_of(const struct limited *sub)
{
    return str_from(sub->text, sub->len);
}

static struct limited *find(const struct limiter *l, struct str subject, uint64_t h)
{
    for (struct hmap_node *n = hmap_first(&l->wanted, h); n != NULL; n = hmap_next(n, h)) {
        struct limited *sub = CONTAINER_OF(n, struct limited, node);
        if (str_eq(text_of(sub), subject))
            return sub;
    }
    return NULL;
}

static void want(struct limiter *l, struct str subject)
{
    uint64_t h = hash_bytes(subject.p, subject.n, l->seed);

    l->failed = l->failed || l->wanted.count >= SUBJECTS_MAX;
    if (l->failed || find(l, subject, h) != NULL)
        return;
    struct limited *sub = mem_zalloc(sizeof(*sub) + subject.n);
    sub->len = (uint32_t) subject.n;
    memcpy(sub->text, subject.p, subject.n);
    hmap_insert(&l->wanted, &sub->node, h);
}

static void add_message(struct limiter *l, struct limited *sub, uint64_t seq, uint32_t size)
{
    if (!message_exists(l->s, seq))
        return;
    l->failed = l->failed || ++l->total > MESSAGES_MAX;
    if (l->failed)
        return;
    if (sub->n == sub->cap) {
        sub->cap = sub->cap * 2 + 4;
        sub->messages = mem_realloc(sub->messages, sub->cap * sizeof(*sub->messages));
    }
    sub->messages[sub->n++] = (struct message){.seq = seq, .size = size};
}

/* ---- the subjects of what lies behind -------------------------------------------------------- */

static void want_from_column(struct limiter *l, const struct segment *seg)
{
    for (uint32_t i = 0; i < seg->nentries; i++) {
        const struct segment_entry *e = &seg->entries[i];
        for (uint32_t k = 0; e->b.first_seq + e->b.span > l->behind + 1 && k < e->b.count; k++) {
            uint32_t id = column_id(&seg->column, e->ordinal + k);
            if (id != 0 && entry_seq(seg, e, k) > l->behind)
                want(l, subject_text(subjects_by_id(&l->s->subjects, id)));
        }
    }
}

static void want_record(void *ctx, uint64_t seq, struct str subject, uint32_t size)
{
    struct limiter *l = ctx;

    (void) size;
    if (seq > l->behind)
        want(l, subject);
}

static bool read_section(struct limiter *l, const struct segment *seg, unsigned section,
                         struct buf *out)
{
    buf_clear(out);
    return segment_section_read(l->s->store->dir->options.fs, seg->path, seg->capacity, seg->salt,
                                section, out) == ERR_OK;
}

static void want_from_footer(struct limiter *l, const struct segment *seg)
{
    struct subject_iter it;
    uint64_t seq = 0;

    if (!read_section(l, seg, SECTION_SUBJECTS, &l->subjects)) {
        l->failed = true;
        return;
    }
    subject_iter_init(&it, buf_str(&l->subjects), seg->base_seq);
    while (!l->failed && subject_iter_next(&it)) {
        while (subject_run_next(&it, &seq) && seq <= l->behind)
            ;
        if (seq > l->behind)
            want(l, buf_str(&it.subject));
    }
    subject_iter_deinit(&it);
}

static void want_all(struct limiter *l)
{
    const struct store_stream *s = l->s;

    for (uint32_t i = 0; i < s->nindex && !l->failed; i++) {
        struct segment *seg = s->index[i];
        if (seg->live == 0 || seg->next_seq <= l->behind + 1)
            continue;
        if (seg->index_at == INDEX_HERE)
            want_from_column(l, seg);
        else if (seg->index_at == INDEX_IN_FOOTER)
            want_from_footer(l, seg);
        else if (index_each_in_batches(l->s, seg, l->behind, want_record, l) != ERR_OK)
            l->failed = true;
    }
}

static int by_text(const void *a, const void *b)
{
    return str_cmp(text_of(*(struct limited *const *) a), text_of(*(struct limited *const *) b));
}

static void order_wanted(struct limiter *l)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;
    uint32_t k = 0;

    l->order = mem_array(l->wanted.count + 1, sizeof(struct limited *));
    while ((n = hmap_each(&l->wanted, &it)) != NULL)
        l->order[k++] = CONTAINER_OF(n, struct limited, node);
    qsort(l->order, k, sizeof(struct limited *), by_text);
    for (k = 0; k < l->wanted.count; k++) {
        uint32_t id = subjects_find(&l->s->subjects, text_of(l->order[k]));
        uint32_t slot = SUBJECT_SLOT(id);
        if (id == 0)
            continue;
        if (slot >= l->nslots) {
            uint32_t more = slot * 2 + 1024;
            l->by_id = mem_realloc(l->by_id, more * sizeof(*l->by_id));
            memset(l->by_id + l->nslots, 0, (more - l->nslots) * sizeof(*l->by_id));
            l->nslots = more;
        }
        l->by_id[slot] = k + 1;
    }
}

/* ---- their messages -------------------------------------------------------------------------- */

static void find_in_column(struct limiter *l, const struct segment *seg)
{
    for (uint32_t i = 0; i < seg->nentries; i++) {
        const struct segment_entry *e = &seg->entries[i];
        for (uint32_t k = 0; e->live > 0 && k < e->b.count; k++) {
            uint32_t id = column_id(&seg->column, e->ordinal + k), slot = SUBJECT_SLOT(id);
            if (id != 0 && slot < l->nslots && l->by_id[slot] != 0)
                add_message(l, l->order[l->by_id[slot] - 1], entry_seq(seg, e, k), 0);
        }
    }
}

static void find_record(void *ctx, uint64_t seq, struct str subject, uint32_t size)
{
    struct limiter *l = ctx;
    struct limited *sub = find(l, subject, hash_bytes(subject.p, subject.n, l->seed));

    if (sub != NULL)
        add_message(l, sub, seq, size);
}

static void subjects_from_footer(struct limiter *l, const struct segment *seg)
{
    struct subject_walk walk;

    subject_walk_init(&walk, buf_str(&l->subjects), seg->base_seq);
    for (uint32_t i = 0; i < l->wanted.count && !l->failed; i++) {
        struct limited *sub = l->order[i];
        uint64_t seq, before = 0;
        sub->before = sub->n;
        if (!subject_walk_find(&walk, text_of(sub)))
            continue;
        for (; !l->failed && subject_run_next(&walk.it, &seq); before = seq) {
            l->failed = seq < seg->base_seq || seq >= seg->next_seq || seq <= before;
            add_message(l, sub, seq, 0);
        }
    }
    subject_walk_deinit(&walk);
}

static int by_sequence(const void *a, const void *b)
{
    const struct message *x = *(struct message *const *) a, *y = *(struct message *const *) b;

    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* The sizes of what was found in this segment: one pass over them. */
static void sizes_from_footer(struct limiter *l, const struct segment *seg)
{
    struct message **found;
    struct size_iter it;
    uint32_t n = 0, at = 0, size;
    uint64_t seq;

    for (uint32_t i = 0; i < l->wanted.count; i++)
        n += l->order[i]->n - l->order[i]->before;
    found = mem_array((size_t) n + 1, sizeof(*found));
    n = 0;
    for (uint32_t i = 0; i < l->wanted.count; i++)
        for (uint32_t k = l->order[i]->before; k < l->order[i]->n; k++)
            found[n++] = &l->order[i]->messages[k];
    qsort(found, n, sizeof(*found), by_sequence);
    size_iter_init(&it, buf_str(&l->sizes), seg->base_seq);
    while (at < n && size_iter_next(&it, &seq, &size)) {
        while (at < n && found[at]->seq < seq)
            at++;
        if (at < n && found[at]->seq == seq)
            found[at++]->size = size;
    }
    mem_free(found);
}

static void find_in_footer(struct limiter *l, const struct segment *seg)
{
    if (read_section(l, seg, SECTION_SUBJECTS, &l->subjects) &&
        read_section(l, seg, SECTION_SIZES, &l->sizes)) {
        subjects_from_footer(l, seg);
        sizes_from_footer(l, seg);
    } else {
        l->failed = true;
    }
}

/* Segments are in order of sequence, and so is what is found. */
static void find_all(struct limiter *l)
{
    const struct store_stream *s = l->s;

    for (uint32_t i = 0; i < s->nindex && !l->failed; i++) {
        struct segment *seg = s->index[i];
        if (seg->live == 0)
            continue;
        if (seg->index_at == INDEX_HERE)
            find_in_column(l, seg);
        else if (seg->index_at == INDEX_IN_FOOTER)
            find_in_footer(l, seg);
        else if (index_each_in_batches(l->s, seg, 0, find_record, l) != ERR_OK)
            l->failed = true;
    }
}

/* ---- what is too much ------------------------------------------------------------------------ */

static void take_all(struct limiter *l)
{
    struct store_stream *s = l->s;
    uint64_t max = s->rec.limits.max_msgs_per_subject - PLANTED(PLANT_LIMIT_GREEDY);

    s->loading = true; /* nobody is told */
    for (uint32_t i = 0; i < l->wanted.count; i++)
        for (uint32_t k = 0; k + max < l->order[i]->n; k++) {
            const struct message *m = &l->order[i]->messages[k];
            limits_take(s, m->seq);
            index_late_size(s, m->seq, m->size);
        }
    s->loading = false;
    stream_settle_first(s);
}

static void limiter_deinit(struct limiter *l)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&l->wanted, &it)) != NULL) {
        struct limited *sub = CONTAINER_OF(n, struct limited, node);
        hmap_remove(&l->wanted, n);
        mem_free(sub->messages);
        mem_free(sub);
    }
    hmap_deinit(&l->wanted);
    mem_free(l->order);
    mem_free(l->by_id);
    buf_free(&l->subjects);
    buf_free(&l->sizes);
}

bool load_limits(struct store_stream *s)
{
    const struct stream_record *rec = &s->rec;
    struct limiter l = {.s = s, .behind = rec->applied_seq, .seed = prng_u64(&s->store->prng)};

    if (rec->applied_seq == 0 || rec->applied_seq > s->last_seq ||
        rec->applied_max != rec->limits.max_msgs_per_subject)
        return false;
    hmap_init(&l.wanted);
    want_all(&l);
    if (!l.failed) {
        order_wanted(&l);
        find_all(&l);
    }
    if (!l.failed)
        take_all(&l);
    limiter_deinit(&l);
    return !l.failed;
}
