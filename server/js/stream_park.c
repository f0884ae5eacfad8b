/*
 * stream_park.c - published messages that have to wait, because something must be read first: the
 * duplicate window or the schedules after a start, a counter's value, a time zone.
 *
 * Whoever needs the wait calls stream_hold_up, and stream_go_on when it is over; waits nest. What
 * clients publish meanwhile waits in order and in memory, within the limits of ingest; beyond them
 * it is refused with 10167. When the last wait ends the messages are taken; one of them may begin
 * another wait, then it and those behind it stay.
 */
#include "lib/base/mem.h"
#include "server/js/ingest.h"
#include "server/js/stream_parts.h"

#include <string.h>

struct parked {
    struct list link;
    struct msg m;
    char bytes[];
};

static struct str keep(char **at, struct str from)
{
    struct str s = str_from(*at, from.n);

    if (from.n > 0)
        memcpy(*at, from.p, from.n);
    *at += from.n;
    return s;
}

static size_t bytes_of(const struct msg *m)
{
    return m->subject.n + m->reply.n + m->header.n + m->payload.n;
}

bool stream_park(struct stream *s, const struct msg *m)
{
    const struct options *o = s->js->env->options;
    size_t n = bytes_of(m);
    struct parked *p;
    char *at;

    if (s->nparked >= o->js_max_buffered_msgs || s->parked_bytes + n > o->js_max_buffered_bytes)
        return false;
    p = mem_zalloc(sizeof(*p) + n);
    at = p->bytes;
    p->m.subject = keep(&at, m->subject);
    p->m.reply = keep(&at, m->reply);
    p->m.header = keep(&at, m->header);
    p->m.payload = keep(&at, m->payload);
    list_push_back(&s->parked, &p->link);
    s->nparked++;
    s->parked_bytes += n;
    return true;
}

static void drop(struct stream *s, struct parked *p)
{
    list_remove(&p->link);
    s->nparked--;
    s->parked_bytes -= bytes_of(&p->m);
    mem_free(p);
}

void stream_hold_up(struct stream *s)
{
    s->waits++;
}

void stream_go_on(struct stream *s)
{
    struct list *l;

    s->waits--;
    while (s->waits == 0 && (l = list_first(&s->parked)) != NULL) {
        struct parked *p = LIST_ENTRY(l, struct parked, link);
        if (!stream_take(s, &p->m))
            return;
        drop(s, p);
    }
}

void stream_park_free(struct stream *s)
{
    struct list *l;

    while ((l = list_first(&s->parked)) != NULL)
        drop(s, LIST_ENTRY(l, struct parked, link));
}
