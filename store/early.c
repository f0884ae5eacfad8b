/*
 * early.c - single subjects of a stream whose index is still being read (load_index.c).
 *
 * Who asks for a literal subject does not wait for all subjects: the sequences of this one are
 * looked up where they lie, in the footers (early_lookup.c). The result, every sequence of the
 * subject up to the stream's end at that moment, is kept until the index is there. From then on
 * questions about the subject are answered from it, exactly: what was removed since does not exist
 * (message_exists), and what was appended since has its ids in the columns.
 *
 * Three kinds of segments:
 *
 *     INDEX_HERE         read already: its column says it
 *     INDEX_IN_FOOTER    its footer is asked; one without fences (an older one) is read as a whole
 *     INDEX_IN_BATCHES   nothing names its records but they themselves. The loader reads these
 *                        first, and questions wait for that: there are no more of them than the
 *                        active one and what was full when the process died
 *
 * The loader knows nothing of all this: subject states (subjects.h) stay its own, and are asked
 * only when it is through. One lookup at a time for each stream (early_lookup.c) takes all subjects
 * that are wanted by then. A footer that is damaged, or a subject with too many messages, makes
 * everybody wait for the whole index, as before; so do patterns with wildcards.
 *
 * Under a limit per subject an append makes its subject wanted, too: what it pushes out goes as
 * soon as the subject is known. Beyond TRIMS_MAX that is left to the end.
 */
#include "store/early.h"

#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "store/early_lookup.h"

#include <string.h>

/* Subjects that are known at most; their sequences are bounded, too (EARLY_SEQS_MAX). */
#define KNOWN_MAX 65536u
/* Appends whose subject's limit waits to be applied; the end of the loader applies all of them. */
#define TRIMS_MAX 4096u

struct want {
    struct list link;
    struct str *subjects; /* copies */
    unsigned n;
    struct store_req *req; /* may be NULL */
    bool trims;            /* something was appended: the limit per subject is to be applied */
    bool counts;           /* its count is to be filled in, of [from, last] */
    uint64_t from, last;
};

struct early {
    struct store_stream *stream;
    uint64_t seed;
    struct hmap known;
    uint64_t total;
    bool hopeless; /* a footer could not be read, or it is too much */
    struct list wants;
    uint32_t ntrims; /* of them */
    struct early_lookup *lookup;
};

/* ---- what is known --------------------------------------------------------------------------- */

static struct early_subject *find(const struct early *e, struct str subject)
{
    uint64_t h = hash_bytes(subject.p, subject.n, e->seed);

    for (struct hmap_node *n = hmap_first(&e->known, h); n != NULL; n = hmap_next(n, h)) {
        struct early_subject *sub = CONTAINER_OF(n, struct early_subject, node);
        if (str_eq(str_from(sub->text, sub->len), subject))
            return sub;
    }
    return NULL;
}

static bool known(const struct early *e, const struct str *subjects, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (find(e, subjects[i]) == NULL)
            return false;
    return true;
}

/* ---- answers --------------------------------------------------------------------------------- */

struct early_subject *early_find(const struct store_stream *s, struct str subject)
{
    return s->early != NULL ? find(s->early, subject) : NULL;
}

bool early_knows(const struct store_stream *s, const struct str *subjects, unsigned n)
{
    return s->early != NULL && known(s->early, subjects, n);
}

/* Index of the first of seqs at or above seq. */
static uint32_t place(const struct early_subject *sub, uint64_t seq)
{
    uint32_t low = 0, high = sub->n;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (sub->seqs[mid] < seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static uint32_t id_of(const struct store_stream *s, const struct early_subject *sub)
{
    return subjects_find(&s->subjects, str_from(sub->text, sub->len));
}

uint64_t early_next(struct store_stream *s, const struct early_subject *sub, uint64_t from,
                    uint64_t last)
{
    uint32_t id, budget = UINT32_MAX;

    for (uint32_t i = place(sub, from); i < sub->n && sub->seqs[i] <= last; i++)
        if (message_exists(s, sub->seqs[i]))
            return sub->seqs[i];
    from = from > sub->upto ? from : sub->upto + 1;
    if (from > last || (id = id_of(s, sub)) == 0)
        return 0;
    return index_next(s, &id, 1, &from, last, &budget);
}

uint64_t early_prev(struct store_stream *s, const struct early_subject *sub, uint64_t below)
{
    uint32_t id = below > sub->upto + 1 && sub->upto < s->last_seq ? id_of(s, sub) : 0;

    if (id != 0 && subjects_by_id(&s->subjects, id)->last > sub->upto) {
        uint64_t seq = index_prev_above(s, id, below, sub->upto);
        if (seq != 0)
            return seq;
    }
    for (uint32_t i = place(sub, below); i > 0; i--)
        if (message_exists(s, sub->seqs[i - 1]))
            return sub->seqs[i - 1];
    return 0;
}

static uint64_t count_one(struct store_stream *s, const struct early_subject *sub, uint64_t from,
                          uint64_t last)
{
    uint32_t id, budget = UINT32_MAX;
    uint64_t n = 0;

    for (uint32_t i = place(sub, from); i < sub->n && sub->seqs[i] <= last; i++)
        n += message_exists(s, sub->seqs[i]);
    from = from > sub->upto ? from : sub->upto + 1;
    if (from <= last && (id = id_of(s, sub)) != 0)
        index_count(s, &id, 1, &from, last, &n, &budget);
    return n;
}

bool early_count(struct store_stream *s, const struct str *subjects, unsigned n, uint64_t from,
                 uint64_t last, uint64_t *count)
{
    *count = 0;
    if (!early_knows(s, subjects, n))
        return false;
    for (unsigned i = 0; i < n; i++) {
        bool before = false;
        for (unsigned k = 0; k < i && !before; k++)
            before = str_eq(subjects[k], subjects[i]);
        if (!before)
            *count += count_one(s, find(s->early, subjects[i]), from, last);
    }
    return true;
}

uint64_t early_next_of(struct store_stream *s, const struct str *subjects, unsigned n,
                       uint64_t from, uint64_t last)
{
    uint64_t best = 0;

    for (unsigned i = 0; i < n; i++) {
        uint64_t seq = early_next(s, find(s->early, subjects[i]), from, best != 0 ? best : last);
        best = seq != 0 ? seq : best;
    }
    return best;
}

/* ---- what is wanted -------------------------------------------------------------------------- */

static bool literal(const struct str *subjects, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (subjects[i].n == 0 || subject_has_wildcard(subjects[i]))
            return false;
    return n > 0 && n <= EARLY_LOOKUP_MAX;
}

bool early_can(const struct store_stream *s, const struct str *subjects, unsigned n)
{
    return index_comes(s) && s->state == STREAM_ACTIVE && literal(subjects, n) &&
           (s->early == NULL || !s->early->hopeless);
}

static struct want *new_want(struct store_stream *s, const struct str *subjects, unsigned n,
                             struct store_req *req)
{
    struct want *w = mem_zalloc(sizeof(*w));

    if (s->early == NULL) {
        s->early = mem_zalloc(sizeof(*s->early));
        s->early->stream = s;
        s->early->seed = prng_u64(&s->store->prng);
        hmap_init(&s->early->known);
        list_init(&s->early->wants);
    }
    w->subjects = mem_array(n, sizeof(*w->subjects));
    w->n = n;
    for (unsigned i = 0; i < n; i++)
        w->subjects[i] = str_from(mem_strndup(subjects[i].p, subjects[i].n), subjects[i].n);
    w->req = req;
    list_push_back(&s->early->wants, &w->link);
    return w;
}

static void free_want(struct store_stream *s, struct want *w)
{
    if (w->trims && s->early != NULL)
        s->early->ntrims--;
    list_remove(&w->link);
    for (unsigned i = 0; i < w->n; i++)
        mem_free((void *) (uintptr_t) w->subjects[i].p);
    mem_free(w->subjects);
    mem_free(w);
}

/* ---- the limit per subject ------------------------------------------------------------------- */

/* As limits.c does, by what is known of the subject. */
static void trim(struct store_stream *s, const struct early_subject *sub)
{
    uint64_t max = s->rec.limits.max_msgs_per_subject, n;

    if (max == 0 || s->state != STREAM_ACTIVE)
        return;
    for (n = count_one(s, sub, s->first_seq, s->last_seq); n > max; n--) {
        limits_take(s, early_next(s, sub, s->first_seq, s->last_seq));
        if (n == max + 1)
            stream_settle_first(s);
    }
}

void early_limit(struct store_stream *s, uint32_t id)
{
    struct str subject = subject_text(subjects_by_id(&s->subjects, id));

    if (!early_can(s, &subject, 1) || (s->early != NULL && s->early->ntrims >= TRIMS_MAX))
        return;
    new_want(s, &subject, 1, NULL)->trims = true;
    s->early->ntrims++;
}

/* ---- looking up ------------------------------------------------------------------------------ */

static void settle(struct early *e);

static void take_result(void *ctx, struct early_lookup *l)
{
    struct early *e = ctx;
    struct store_stream *s = e->stream;

    e->lookup = NULL;
    for (uint32_t k = 0; k < early_lookup_count(l); k++) {
        struct early_subject *sub = early_lookup_take(l, s, k);
        if (sub == NULL || e->total + sub->n > EARLY_SEQS_MAX || e->known.count >= KNOWN_MAX) {
            e->hopeless = true;
            if (sub != NULL)
                early_subject_free(sub);
            continue;
        }
        e->total += sub->n;
        hmap_insert(&e->known, &sub->node, hash_bytes(sub->text, sub->len, e->seed));
        trim(s, sub);
    }
    early_lookup_give_back(l, s);
    settle(e);
}

static void look_up(struct early *e)
{
    struct early_lookup *l = e->lookup = early_lookup_new(e->stream);

    LIST_FOREACH(it, &e->wants)
    {
        const struct want *w = LIST_ENTRY(it, struct want, link);
        for (unsigned i = 0; i < w->n; i++)
            if (find(e, w->subjects[i]) == NULL)
                early_lookup_add(l, w->subjects[i]);
    }
    early_lookup_start(l, take_result, e);
}

static bool all_named(const struct store_stream *s)
{
    for (uint32_t i = 0; i < s->nindex; i++)
        if (s->index[i]->index_at == INDEX_IN_BATCHES)
            return false;
    return true;
}

/* It can be answered, from what is known or, when `wait`, when all is read. */
static void end_want(struct store_stream *s, struct want *w, bool wait)
{
    uint64_t count;

    if (w->trims && !wait)
        trim(s, find(s->early, w->subjects[0]));
    if (w->req == NULL)
        ;
    else if (w->counts && !wait && early_count(s, w->subjects, w->n, w->from, w->last, &count)) {
        w->req->count = count;
        store_defer(s->store, w->req, ERR_OK);
    } else if (w->counts) {
        count_later(s, w->subjects, w->n, w->from, w->last, w->req);
    } else if (wait && index_comes(s)) {
        store_index_wait(s, w->req);
    } else {
        store_defer(s->store, w->req, ERR_OK);
    }
    free_want(s, w);
}

/* Answers who can be answered, and begins to look for what is wanted. */
static void settle(struct early *e)
{
    struct store_stream *s = e->stream;

    if (e->lookup != NULL)
        return;
    LIST_FOREACH_SAFE(it, tmp, &e->wants)
    {
        struct want *w = LIST_ENTRY(it, struct want, link);
        if (known(e, w->subjects, w->n))
            end_want(s, w, false);
        else if (e->hopeless)
            end_want(s, w, true);
    }
    if (list_empty(&e->wants) || !all_named(s))
        return;
    look_up(e);
}

/* ---- who asks -------------------------------------------------------------------------------- */

void early_want(struct store_stream *s, const struct str *subjects, unsigned n,
                struct store_req *req)
{
    new_want(s, subjects, n, req);
    settle(s->early);
}

void early_want_count(struct store_stream *s, const struct str *subjects, unsigned n, uint64_t from,
                      uint64_t last, struct store_req *req)
{
    struct want *w = new_want(s, subjects, n, req);

    w->counts = true;
    w->from = from;
    w->last = last;
    settle(s->early);
}

void early_go_on(struct store_stream *s)
{
    if (s->early != NULL)
        settle(s->early);
}

void early_cancel(struct store_stream *s, enum err err)
{
    while (s->early != NULL && !list_empty(&s->early->wants)) {
        struct want *w = LIST_ENTRY(s->early->wants.next, struct want, link);
        store_defer(s->store, w->req, err);
        free_want(s, w);
    }
}

void early_free(struct store_stream *s)
{
    struct early *e = s->early;
    struct hmap_iter it = {0};
    struct hmap_node *n;

    if (e == NULL)
        return;
    s->early = NULL;
    if (e->lookup != NULL)
        early_lookup_forget(e->lookup);
    while (!list_empty(&e->wants))
        end_want(s, LIST_ENTRY(e->wants.next, struct want, link), true);
    while ((n = hmap_each(&e->known, &it)) != NULL) {
        hmap_remove(&e->known, n);
        early_subject_free(CONTAINER_OF(n, struct early_subject, node));
    }
    hmap_deinit(&e->known);
    for (uint32_t i = 0; i < s->nindex; i++)
        segment_fences_free(s->index[i]);
    mem_free(e);
}
