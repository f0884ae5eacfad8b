/*
 * stream_sweep.c - messages of an interest stream that nobody wants any more.
 *
 * The ordinary way out is an acknowledgement (stream_acked). Three things leave messages behind it:
 * a consumer is deleted or gets another filter; an acknowledgement could not see the message's
 * subject, because its batch is on the disk; the server died before such a sweep was through. In
 * all three the sequences in question are put into sweep.check, and slices of the loop's JetStream
 * stage look at each of them: a message that no consumer needs is removed.
 *
 * A work queue needs no sweep of itself: a message goes because its one consumer is done with it,
 * whatever its subject, and the removal is queued for the log before the change of the consumer is:
 * they become durable in that order. Only where a mirror or a source takes its messages too an
 * acknowledgement may have to look at a subject first.
 *
 * A message that a consumer gave up (max_deliver) is still needed, as it is for the peer: a late
 * acknowledgement removes it.
 */
#include "server/js/consumer_int.h"
#include "server/js/stream_parts.h"

/* Messages looked at in one slice. */
#define SLICE 512u

static void go_on(struct stream *s)
{
    js_queue(s->js, &s->js->sweeps, &s->sweep.link);
}

static void ready(struct store_reader *r)
{
    go_on(r->ctx);
}

void stream_sweep_init(struct stream *s)
{
    list_init(&s->sweep.link);
}

void stream_sweep_free(struct stream *s)
{
    list_remove(&s->sweep.link);
    seqset_free(&s->sweep.check);
    if (s->sweep.open)
        store_reader_deinit(&s->sweep.reader);
}

void stream_recheck(struct stream *s, uint64_t first, uint64_t last)
{
    if (s->config.retention == RETENTION_LIMITS || first > last)
        return;
    if (!s->sweep.open)
        store_reader_init(&s->sweep.reader, s->store, first, NULL, 0, ready, s);
    s->sweep.open = true;
    seqset_add(&s->sweep.check, first, last);
    go_on(s);
}

void stream_interest_lost(struct stream *s)
{
    struct store_state st;

    if (s->config.retention != RETENTION_INTEREST)
        return;
    store_stream_state(s->store, &st);
    if (list_empty(&s->consumers))
        store_purge(s->store, &(struct store_purge){.before_seq = st.last_seq + 1}, NULL);
    else
        stream_recheck(s, st.first_seq, st.last_seq);
}

static bool is_wanted(const struct stream *s, uint64_t seq, struct str subject)
{
    LIST_FOREACH(l, &s->consumers)
    if (consumer_needs(LIST_ENTRY(l, struct consumer, stream_link), seq, subject))
        return true;
    return false;
}

/* Looks at the first message of [first, last]; false when it has to be fetched. */
static bool look(struct stream *s, uint64_t first, uint64_t last)
{
    struct sweep *w = &s->sweep;
    struct store_msg m;

    store_reader_seek(&w->reader, first);
    switch (store_reader_next(&w->reader, &m)) {
    case STORE_READ_WAIT:
        return false;
    case STORE_READ_MSG:
        if (m.seq > last)
            break;
        seqset_remove(&w->check, first, m.seq);
        if (!is_wanted(s, m.seq, m.subject))
            store_remove(s->store, m.seq, false, NULL);
        return true;
    default:
        break;
    }
    seqset_remove(&w->check, first, last);
    return true;
}

void stream_sweep(struct stream *s)
{
    uint64_t first, last;

    list_remove(&s->sweep.link);
    for (unsigned i = 0; i < SLICE; i++)
        if (!seqset_range_from(&s->sweep.check, 0, &first, &last) || !look(s, first, last))
            return;
    go_on(s);
}
