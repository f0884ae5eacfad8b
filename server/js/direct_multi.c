/*
 * direct_multi.c - a direct get of the last message of every subject that matches, as it was at a
 * sequence or a time.
 *
 *     up_to   the last sequence that counts: up_to_seq, what was there at up_to_time, or all
 *     select  subjects whose last message is not behind up_to: that is it; filter by filter, in
 *             slices
 *     search  for the others, `late`, that have older ones: their messages up to up_to are walked
 *             over, each time the last one seen stays
 *     send    in order of sequence, without those that have gone meanwhile
 *
 * More subjects than RESULTS_MAX are refused, as at the peer, before anything is sent.
 */
#include "lib/base/mem.h"
#include "server/js/direct_int.h"

#include <stdlib.h>

/* Subjects that one request may select, as at the peer. */
#define RESULTS_MAX 1024u
/* Several filters may select the same one: so many are gathered before those are left out. */
#define UNSORTED_MAX (2 * RESULTS_MAX)
/* Messages looked at in one go while searching. */
#define SCAN_SLICE 1024u

/* ---- what is selected ------------------------------------------------------------------------ */

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *) a;
    uint64_t y = *(const uint64_t *) b;

    return x < y ? -1 : x > y;
}

static void sort_seqs(struct direct_get *g)
{
    size_t n = 0;

    if (g->nseqs > 0)
        qsort(g->seqs, g->nseqs, sizeof(*g->seqs), by_value);
    for (size_t i = 0; i < g->nseqs; i++)
        if (n == 0 || g->seqs[n - 1] != g->seqs[i])
            g->seqs[n++] = g->seqs[i];
    g->nseqs = n;
}

static void add_seq(struct direct_get *g, uint64_t seq)
{
    if (g->nseqs % DIRECT_SLICE == 0)
        g->seqs = mem_realloc(g->seqs, (g->nseqs + DIRECT_SLICE) * sizeof(*g->seqs));
    g->seqs[g->nseqs++] = seq;
}

static struct late *find_late(struct direct_get *g, struct str subject)
{
    for (size_t i = 0; i < g->nlate; i++)
        if (str_eq(str_of(g->late[i].subject), subject))
            return &g->late[i];
    return NULL;
}

static bool collect(void *ctx, const struct store_subject *sub)
{
    struct direct_get *g = ctx;

    g->looked++;
    if (sub->last_seq <= g->up_to) {
        add_seq(g, sub->last_seq);
    } else if (sub->first_seq <= g->up_to && find_late(g, sub->subject) == NULL) {
        if (g->nlate % DIRECT_SLICE == 0)
            g->late = mem_realloc(g->late, (g->nlate + DIRECT_SLICE) * sizeof(*g->late));
        g->late[g->nlate++] = (struct late){mem_strndup(sub->subject.p, sub->subject.n), 0};
    }
    /* One filter does not select a subject twice: this many are too many. */
    return g->nseqs + g->nlate <= UNSORTED_MAX + RESULTS_MAX;
}

/* ---- what is sent ---------------------------------------------------------------------------- */

/* Without a message that is still there. */
static void step_multi(struct direct_get *g)
{
    struct store_msg m;

    for (unsigned i = 0; i < DIRECT_SLICE && g->at < g->nseqs; i++) {
        enum store_read got = STORE_READ_GONE;
        if (g->reader.stream != NULL)
            got = store_reader_get(&g->reader, g->seqs[g->at], &m);
        if (got == STORE_READ_WAIT) {
            direct_get_unpin(g);
            return;
        }
        g->at++;
        g->pending = g->nseqs - g->at;
        if (got != STORE_READ_MSG || m.seq < g->q.seq)
            continue;
        if (!direct_get_send(g, &m)) {
            direct_get_unpin(g);
            direct_get_go_on_when_drained(g);
            return;
        }
        if ((g->q.batch > 0 && g->sent >= g->q.batch) || g->bytes >= g->max_bytes) {
            direct_get_end_of_batch(g);
            return;
        }
    }
    if (g->at == g->nseqs) {
        direct_get_end_of_batch(g);
        return;
    }
    direct_get_unpin(g);
    direct_get_go_on_later(g);
}

static void send_multi(struct direct_get *g)
{
    if (g->nseqs == 0) {
        direct_get_end_with(g, "404 No Results");
        return;
    }
    g->step = step_multi;
    step_multi(g);
}

/* ---- what was the last one then -------------------------------------------------------------- */

static void late_found(struct direct_get *g)
{
    for (size_t i = 0; i < g->nlate; i++)
        if (g->late[i].seq > 0)
            add_seq(g, g->late[i].seq);
    sort_seqs(g);
    send_multi(g);
}

/* Walks over the messages of the late subjects up to up_to. */
static void step_search(struct direct_get *g)
{
    struct store_msg m;

    for (unsigned i = 0; i < SCAN_SLICE; i++) {
        enum store_read got = STORE_READ_END;
        struct late *late;
        if (g->reader.stream != NULL)
            got = store_reader_next(&g->reader, &m);
        if (got == STORE_READ_WAIT)
            return;
        if (got != STORE_READ_MSG || m.seq > g->up_to) {
            late_found(g);
            return;
        }
        late = find_late(g, m.subject);
        if (late != NULL)
            late->seq = m.seq;
    }
    direct_get_go_on_later(g);
}

static void search(struct direct_get *g)
{
    struct store_stream *s = g->reader.stream;
    struct store_subject sub;
    uint64_t from = g->up_to;

    g->filters = mem_array(g->nlate, sizeof(*g->filters));
    for (size_t i = 0; i < g->nlate; i++) {
        g->filters[i] = str_of(g->late[i].subject);
        if (store_subject_get(s, g->filters[i], &sub) && sub.first_seq < from)
            from = sub.first_seq;
    }
    store_reader_deinit(&g->reader);
    store_reader_init(&g->reader, s, from, g->filters, (unsigned) g->nlate, direct_get_ready, g);
    g->step = step_search;
    step_search(g);
}

/* ---- from the beginning ---------------------------------------------------------------------- */

static bool too_many(struct direct_get *g)
{
    sort_seqs(g);
    return g->nseqs + g->nlate > RESULTS_MAX;
}

/* A request of a megabyte has a hundred thousand filters, which may all select the same. */
static void step_select(struct direct_get *g)
{
    for (g->looked = 0; g->at < g->q.multi_last.n; g->at++) {
        struct str filter = str_of(g->q.multi_last.items[g->at]);
        if (g->reader.stream == NULL)
            break;
        if (g->looked++ >= SCAN_SLICE) {
            direct_get_go_on_later(g);
            return;
        }
        if (filter.n > 0) /* an empty one is no subject here, to the store it is all of them */
            store_subjects_each(g->reader.stream, filter, collect, g);
        if (g->nseqs + g->nlate > UNSORTED_MAX && too_many(g)) {
            direct_get_end_with(g, "413 Too Many Results");
            return;
        }
    }
    if (too_many(g)) {
        direct_get_end_with(g, "413 Too Many Results");
        return;
    }
    g->at = 0;
    if (g->nlate > 0 && g->reader.stream != NULL)
        search(g);
    else
        send_multi(g);
}

static void select_subjects(struct direct_get *g)
{
    g->step = step_select;
    step_select(g);
}

void direct_get_multi_up_to(struct direct_get *g, uint64_t seq)
{
    struct store_state st;

    store_stream_state(g->reader.stream, &st);
    if (seq <= st.first_seq) {
        direct_get_end_with(g, "404 No Results");
        return;
    }
    g->up_to = seq - 1;
    select_subjects(g);
}

void direct_get_begin_multi(struct direct_get *g)
{
    if (g->q.up_to_time != 0) {
        direct_get_find_time(g, g->q.up_to_time);
        return;
    }
    g->up_to = g->q.up_to_seq > 0 ? g->q.up_to_seq : direct_get_last_of(g);
    /* A reader that goes on behind each answer ends with this; not at the peer's memory streams. */
    if (g->up_to > direct_get_last_of(g) && !g->in_memory)
        direct_get_end_with(g, "404 No Results");
    else
        select_subjects(g);
}
