/*
 * consumer_last.c - deliver last per subject: the list of sequences to be delivered first.
 *
 * The list is made when the consumer is: the last sequence of each subject that it wants,
 * ascending. Ordinary delivery goes on behind the stream's end at that moment (last_resume). What
 * was the last message of its subject then can not be found out later, so the list is part of the
 * consumer's record: last_resume, number, then the gaps between sequences, all varints. The log
 * says how far delivery has come, so a record that is older than its logs is cut to what is left.
 */
#include "lib/base/mem.h"
#include "lib/base/varint.h"
#include "server/js/js_int.h"

#include <stdlib.h>

/* ---- making ---------------------------------------------------------------------------------- */

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

uint64_t consumer_last_start(struct consumer *c, uint64_t last)
{
    for (unsigned i = 0; i < c->nfilters; i++)
        store_subjects_each(c->stream->store, c->filters[i], collect, c);
    if (c->nfilters == 0)
        store_subjects_each(c->stream->store, STR(">"), collect, c);
    if (c->nlast == 0)
        return last + 1;
    qsort(c->last_seqs, c->nlast, sizeof(uint64_t), by_value);
    keep_once(c);
    c->last_resume = last + 1;
    return c->last_seqs[0];
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

    if (c->nlast == 0)
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
