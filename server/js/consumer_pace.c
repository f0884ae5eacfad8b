/*
 * consumer_pace.c - the two clocks of consumer_pace.h.
 *
 * The limit is a bucket of `burst` bytes, kept as the moment at which it will be full again: a
 * message moves that moment back by its size over the rate, and may go once what is missing is less
 * than the bucket. A message larger than the bucket goes when the bucket is full.
 *
 * Replay keeps the distance of the timestamps from one message to the next; distances of a
 * millisecond and less are not kept, as at the peer. What was stored after the consumer started is
 * not replayed but delivered.
 */
#include "server/js/consumer_pace.h"

#define SECOND 1000000000u
#define REPLAY_GAP_MIN 1000000

static uint64_t cost(const struct consumer_pace *p, uint64_t bytes)
{
    return (uint64_t) ((unsigned __int128) bytes * SECOND / p->bytes_per_s);
}

static uint64_t limit_due(const struct consumer_pace *p, uint64_t now, uint64_t size)
{
    uint64_t full = p->filled_at > now ? p->filled_at : now;
    uint64_t room = cost(p, p->burst);
    uint64_t at = full + cost(p, size < p->burst ? size : p->burst);

    return at > now + room ? at - room : now;
}

static uint64_t replay_due(const struct consumer_pace *p, uint64_t now, uint64_t seq, int64_t ts)
{
    int64_t gap = ts - p->last_ts;

    if (seq > p->replay_to || p->last_ts == 0 || gap <= REPLAY_GAP_MIN)
        return now;
    return p->last_at + (uint64_t) gap > now ? p->last_at + (uint64_t) gap : now;
}

uint64_t consumer_pace_due(const struct consumer_pace *p, uint64_t now, uint64_t seq, int64_t ts,
                           uint64_t size)
{
    uint64_t limit = p->bytes_per_s != 0 ? limit_due(p, now, size) : now;
    uint64_t replay = replay_due(p, now, seq, ts);

    return limit > replay ? limit : replay;
}

void consumer_pace_sent(struct consumer_pace *p, uint64_t now, int64_t ts, uint64_t size)
{
    p->last_ts = ts;
    p->last_at = now;
    if (p->bytes_per_s == 0)
        return;
    if (p->filled_at < now)
        p->filled_at = now;
    p->filled_at += cost(p, size);
}
