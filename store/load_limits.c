/*
 * load_limits.c - the limit per subject at a start that leaves the index of subjects for later.
 *
 * The record says (stream_claim_applied, every second) that all that the limit took of the messages
 * up to a sequence is among the removed ones. Of the messages behind it, the last second or two
 * before a kill, nothing says what they pushed out: before anybody looks the limit is applied to
 * their subjects, and to no others.
 *
 *     1. Whose they are: the segments that have them are indexed at once (index_load_some), and
 *        with them those that nothing but their batches names.
 *     2. Where else their subjects are: of every other segment's footer SUBJECTS and SIZES are
 * read. Both lists of subjects are in order, so one walk through the section meets all that are
 *        looked for.
 *     3. What is too much of a subject goes, the oldest first.
 *
 * What can not be told this way (a damaged footer, too many subjects) is told by the whole index.
 */
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
    uint32_t id;
    uint32_t n, cap;
    uint32_t before;          /* of them are in segments before this one */
    struct message *messages; /* that exist, in order */
};

/* The same subjects in the order of their texts. */
struct sought {
    struct str text;
    struct limited *sub;
};

struct limiter {
    struct store_stream *s;
    struct sought *order;
    struct buf subjects, sizes; /* of the segment in work */
    struct limited *list;
    uint32_t n, cap;
    uint64_t total;    /* messages */
    uint32_t *slot_of; /* by subject slot: index in list + 1 */
    uint32_t nslots;
};

static struct limited *limited_of(const struct limiter *l, uint32_t id)
{
    uint32_t slot = SUBJECT_SLOT(id);
    struct limited *sub = slot < l->nslots && l->slot_of[slot] != 0 ? &l->list[l->slot_of[slot] - 1]
                                                                    : NULL;

    return sub != NULL && sub->id == id ? sub : NULL; /* 0, of a lost record, has a slot, too */
}

static void want_id(struct limiter *l, uint32_t id)
{
    uint32_t slot = SUBJECT_SLOT(id);

    if (limited_of(l, id) != NULL)
        return;
    if (slot >= l->nslots) {
        uint32_t more = slot * 2 + 1024;
        l->slot_of = mem_realloc(l->slot_of, more * sizeof(*l->slot_of));
        memset(l->slot_of + l->nslots, 0, (more - l->nslots) * sizeof(*l->slot_of));
        l->nslots = more;
    }
    if (l->n == l->cap) {
        l->cap = l->cap * 2 + 256;
        l->list = mem_realloc(l->list, l->cap * sizeof(*l->list));
    }
    l->list[l->n++] = (struct limited){.id = id};
    l->slot_of[slot] = l->n;
}

static bool add_message(struct limiter *l, struct limited *sub, uint64_t seq)
{
    if (!message_exists(l->s, seq))
        return true;
    if (++l->total > MESSAGES_MAX)
        return false;
    if (sub->n == sub->cap) {
        sub->cap = sub->cap * 2 + 4;
        sub->messages = mem_realloc(sub->messages, sub->cap * sizeof(*sub->messages));
    }
    sub->messages[sub->n++] = (struct message){.seq = seq};
    return true;
}

/* The subjects of the messages behind this one. */
static void want_behind(struct limiter *l, const struct segment *seg, uint64_t seq)
{
    for (uint32_t i = 0; i < seg->nentries; i++) {
        const struct segment_entry *e = &seg->entries[i];
        for (uint32_t k = 0; e->b.first_seq + e->b.span > seq + 1 && k < e->b.count; k++) {
            uint32_t id = column_id(&seg->column, e->ordinal + k);
            if (id != 0 && entry_seq(seg, e, k) > seq)
                want_id(l, id);
        }
    }
}

static bool from_column(struct limiter *l, const struct segment *seg)
{
    for (uint32_t i = 0; i < seg->nentries; i++) {
        const struct segment_entry *e = &seg->entries[i];
        for (uint32_t k = 0; e->live > 0 && k < e->b.count; k++) {
            struct limited *sub = limited_of(l, column_id(&seg->column, e->ordinal + k));
            if (sub != NULL && !add_message(l, sub, entry_seq(seg, e, k)))
                return false;
        }
    }
    return true;
}

static int by_text(const void *a, const void *b)
{
    return str_cmp(((const struct sought *) a)->text, ((const struct sought *) b)->text);
}

/* The list stays as it is from here on. */
static void order_subjects(struct limiter *l)
{
    l->order = mem_array((size_t) l->n + 1, sizeof(*l->order));
    for (uint32_t i = 0; i < l->n; i++)
        l->order[i] = (struct sought){
            .text = subject_text(subjects_by_id(&l->s->subjects, l->list[i].id)),
            .sub = &l->list[i],
        };
    qsort(l->order, l->n, sizeof(*l->order), by_text);
}

static bool subjects_from_footer(struct limiter *l, const struct segment *seg)
{
    struct subject_walk walk;
    bool fits = true;

    subject_walk_init(&walk, buf_str(&l->subjects), seg->base_seq);
    for (uint32_t i = 0; i < l->n && fits; i++) {
        struct limited *sub = l->order[i].sub;
        uint64_t seq, before = 0;
        sub->before = sub->n;
        if (!subject_walk_find(&walk, l->order[i].text))
            continue;
        for (; fits && subject_run_next(&walk.it, &seq); before = seq)
            fits = seq >= seg->base_seq && seq < seg->next_seq && seq > before &&
                   add_message(l, sub, seq);
    }
    subject_walk_deinit(&walk);
    return fits;
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

    for (uint32_t i = 0; i < l->n; i++)
        n += l->list[i].n - l->list[i].before;
    found = mem_array((size_t) n + 1, sizeof(*found));
    n = 0;
    for (uint32_t i = 0; i < l->n; i++)
        for (uint32_t k = l->list[i].before; k < l->list[i].n; k++)
            found[n++] = &l->list[i].messages[k];
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

static bool read_section(struct limiter *l, const struct segment *seg, unsigned section,
                         struct buf *out)
{
    buf_clear(out);
    return segment_section_read(l->s->store->dir->options.fs, seg->path, seg->capacity, seg->salt,
                                section, out) == ERR_OK;
}

static bool from_footer(struct limiter *l, const struct segment *seg)
{
    if (!read_section(l, seg, SECTION_SUBJECTS, &l->subjects) ||
        !read_section(l, seg, SECTION_SIZES, &l->sizes) || !subjects_from_footer(l, seg))
        return false;
    sizes_from_footer(l, seg);
    return true;
}

/* Segments are in order of sequence, and so is what is found. */
static bool find_all(struct limiter *l)
{
    const struct store_stream *s = l->s;
    bool whole = true;

    order_subjects(l);
    for (uint32_t i = 0; i < s->nindex && whole; i++) {
        const struct segment *seg = s->index[i];
        if (seg->live > 0)
            whole = seg->index_at == INDEX_HERE ? from_column(l, seg) : from_footer(l, seg);
    }
    return whole;
}

static void take_all(struct limiter *l)
{
    struct store_stream *s = l->s;
    uint64_t max = s->rec.limits.max_msgs_per_subject - PLANTED(PLANT_LIMIT_GREEDY);

    s->loading = true; /* nobody is told */
    for (uint32_t i = 0; i < l->n; i++)
        for (uint32_t k = 0; k + max < l->list[i].n; k++) {
            const struct message *m = &l->list[i].messages[k];
            limits_take(s, m->seq);
            index_late_size(s, m->seq, m->size);
        }
    s->loading = false;
    stream_settle_first(s);
}

static void limiter_deinit(struct limiter *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        mem_free(l->list[i].messages);
    mem_free(l->list);
    mem_free(l->order);
    mem_free(l->slot_of);
    buf_free(&l->subjects);
    buf_free(&l->sizes);
}

bool load_limits(struct store_stream *s)
{
    const struct stream_record *rec = &s->rec;
    struct limiter l = {.s = s};
    bool told = rec->applied_seq != 0 && rec->applied_seq <= s->last_seq &&
                rec->applied_max == rec->limits.max_msgs_per_subject;

    if (!told)
        return false;
    index_load_some(s, rec->applied_seq);
    for (uint32_t i = 0; i < s->nindex; i++)
        if (s->index[i]->next_seq > rec->applied_seq + 1)
            want_behind(&l, s->index[i], rec->applied_seq);
    told = s->state != STREAM_FAILED && l.n <= SUBJECTS_MAX && find_all(&l);
    if (told)
        take_all(&l);
    limiter_deinit(&l);
    return told;
}
