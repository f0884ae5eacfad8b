/*
 * consumer_last.c - deliver last per subject: the list of sequences to be delivered first.
 *
 * The list is made when the consumer is: the last sequence of each subject that it wants,
 * ascending. Ordinary delivery goes on behind the stream's end at that moment (last_resume). What
 * was the last message of its subject then can not be found out later, so the list is part of the
 * consumer's record: last_resume, number, then the gaps between sequences, all varints. The log
 * says how far delivery has come, so a record that is older than its logs is cut to what is left.
 *
 * A long list is made by the store in slices (store_lasts_begin), of the moment at which it was
 * asked for. Where its length is known the consumer is answered for at once; nothing is delivered
 * before the list is there, and the record, which says number 0 until then, is written again. A
 * start that finds such a record makes the list anew, of what is there up to last_resume: it is the
 * same, unless in these tens of milliseconds before the crash the last message of a subject was
 * removed and an older one stayed, which then is delivered. Until the list is there, what the
 * consumer's information says was delivered lies before the stream's first message, and not before
 * the first of the list.
 */
#include "lib/base/mem.h"
#include "lib/base/varint.h"
#include "server/js/consumer_int.h"
#include "server/js/stream_parts.h"

#include <stdlib.h>

/* Subjects that are looked at to make the list at once. */
#define AT_ONCE 4096u

static void end_list(struct consumer *c);

/* ---- making ---------------------------------------------------------------------------------- */

/* The store makes the list in slices. */
struct consumer_listing {
    struct store_req req;
    struct consumer *c; /* NULL: it has gone */
    struct store_lasts *list;
    uint64_t count; /* how long it will be; UINT64_MAX = not known */
    bool was_reset; /* the consumer was set to another sequence meanwhile */
};

static void add(struct consumer *c, uint64_t seq)
{
    if (c->nlast % 64 == 0)
        c->last_seqs = mem_realloc(c->last_seqs, (c->nlast + 64) * sizeof(uint64_t));
    c->last_seqs[c->nlast++] = seq;
}

static bool collect(void *ctx, const struct store_subject *sub)
{
    add(ctx, sub->last_seq);
    return true;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *) a;
    uint64_t y = *(const uint64_t *) b;
    return x < y ? -1 : x > y;
}

/* A subject that two filters match was found twice. */
static void keep_once(struct consumer *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->nlast; i++)
        if (n == 0 || c->last_seqs[i] != c->last_seqs[n - 1])
            c->last_seqs[n++] = c->last_seqs[i];
    c->nlast = n;
}

static bool is_few(const struct consumer *c)
{
    uint32_t left = AT_ONCE;

    for (unsigned i = 0; i < c->nfilters; i++, left /= 2)
        if (!store_subjects_few(c->stream->store, c->filters[i], left))
            return false;
    return c->nfilters > 0 || store_subjects_few(c->stream->store, STR(">"), left);
}

static void listed(struct store_req *req, enum err err);

static void begin_listing(struct consumer *c, uint64_t upto)
{
    struct consumer_listing *l = c->listing = mem_zalloc(sizeof(*l));

    l->c = c;
    l->req.done = listed;
    l->list = store_lasts_begin(c->stream->store, c->filters, c->nfilters, upto, &l->count,
                                &l->req);
}

uint64_t consumer_last_start(struct consumer *c, uint64_t last)
{
    c->last_resume = last + 1;
    if (!is_few(c)) {
        begin_listing(c, UINT64_MAX);
        return 1; /* not more is known of the first one */
    }
    for (unsigned i = 0; i < c->nfilters; i++)
        store_subjects_each(c->stream->store, c->filters[i], collect, c);
    if (c->nfilters == 0)
        store_subjects_each(c->stream->store, STR(">"), collect, c);
    if (c->nlast == 0)
        return last + 1;
    qsort(c->last_seqs, c->nlast, sizeof(uint64_t), by_value);
    keep_once(c);
    return c->last_seqs[0];
}

uint64_t consumer_last_left(const struct consumer *c)
{
    if (c->listing != NULL)
        return c->listing->count != UINT64_MAX ? c->listing->count : 0;
    return c->nlast - c->last_pos;
}

bool consumer_last_unknown(const struct consumer *c)
{
    return c->listing != NULL && c->listing->count == UINT64_MAX;
}

void consumer_last_go_on(struct consumer *c)
{
    if (c->last_again)
        begin_listing(c, c->last_resume - 1);
    c->last_again = false;
}

void consumer_last_free(struct consumer *c)
{
    struct consumer_listing *l = c->listing;

    c->listing = NULL;
    mem_free(c->last_seqs);
    c->last_seqs = NULL;
    if (l == NULL)
        return;
    l->c = NULL;
    bool ours = store_lasts_free(l->list);
    l->list = NULL;
    if (ours || c->js->store == NULL) /* closed: nobody answers any more */
        mem_free(l);
}

/* The list is there: what it says of the beginning was not known when the consumer was made. */
static void take_list(struct consumer *c, struct consumer_listing *l)
{
    c->last_seqs = store_lasts_take(l->list, &c->nlast);
    c->last_pos = 0;
    if (c->nlast == 0)
        end_list(c);
    else
        consumer_last_reset(c, c->core.next_seq);
    if (c->nlast > 0 && !l->was_reset)
        consumer_core_start(&c->core, c->last_seqs[c->last_pos]);
}

static void listed(struct store_req *req, enum err err)
{
    struct consumer_listing *l = CONTAINER_OF(req, struct consumer_listing, req);
    struct consumer *c = l->c;

    if (c == NULL) {
        mem_free(l);
        return;
    }
    c->listing = NULL;
    if (err == ERR_OK)
        take_list(c, l);
    bool unknown = l->count == UINT64_MAX;
    store_lasts_free(l->list);
    mem_free(l);
    if (c->creation != NULL && unknown) {
        consumer_last_known(c, err);
        return;
    }
    if (err != ERR_OK) /* the stream has failed, or goes */
        return;
    if (c->id != 0)
        consumer_rewrite(c, NULL);
    consumer_recount(c);
    stream_interest_lost(c->stream);
    consumer_wake(c);
}

static void end_list(struct consumer *c)
{
    mem_free(c->last_seqs);
    c->last_seqs = NULL;
    c->nlast = c->last_pos = 0;
    if (c->core.next_seq < c->last_resume)
        c->core.next_seq = c->last_resume;
    store_reader_seek(&c->reader, c->core.next_seq);
}

/* The part that was delivered is still in the list until its end has been reached. */
void consumer_last_reset(struct consumer *c, uint64_t seq)
{
    if (c->listing != NULL)
        c->listing->was_reset = true;
    if (c->nlast == 0)
        return;
    c->last_pos = 0;
    while (c->last_pos < c->nlast && c->last_seqs[c->last_pos] < seq)
        c->last_pos++;
    if (c->last_pos == c->nlast)
        end_list(c);
}

void consumer_last_next(struct consumer *c)
{
    if (++c->last_pos == c->nlast)
        end_list(c);
}

/* ---- the record ------------------------------------------------------------------------------ */

void consumer_last_put(const struct consumer *c, struct buf *out)
{
    uint64_t before = 0;

    if (c->nlast == 0 && c->listing == NULL && !c->last_again)
        return;
    varint_put_buf(out, c->last_resume);
    varint_put_buf(out, c->nlast - c->last_pos);
    for (size_t i = c->last_pos; i < c->nlast; i++) {
        varint_put_buf(out, c->last_seqs[i] - before);
        before = c->last_seqs[i];
    }
}

bool consumer_last_take(struct consumer *c, struct str in)
{
    uint64_t n, gap, seq = 0;

    if (in.n == 0)
        return true;
    if (!varint_take(&in, &c->last_resume) || !varint_take(&in, &n) || n > in.n)
        return false;
    if (n == 0 && in.n == 0 && c->last_resume > 0) {
        c->last_again = true;
        return true;
    }
    for (; n > 0; n--) {
        if (!varint_take(&in, &gap) || gap == 0 || gap > UINT64_MAX - 1 - seq)
            return false;
        seq += gap;
        if (seq >= c->core.next_seq)
            add(c, seq);
    }
    if (in.n != 0 || seq >= c->last_resume)
        return false;
    if (c->nlast == 0)
        end_list(c);
    return true;
}
