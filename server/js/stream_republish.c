/*
 * stream_republish.c - subjects on their way in and out: subject_transform before a message is
 * checked and stored, republish when it is durable.
 *
 * A republished message says which message of its subject came before it. That is known when a
 * message is appended and not any more when it is durable, therefore a note is kept of each in
 * between: a ring of (sequence, sequence before). committed() comes before any removal it causes,
 * so every message is still there to be read, also those that a limit takes at once.
 *
 * What was durable and not yet sent when the server died is not sent again: subscribers see by
 * Nats-Last-Sequence that they missed it. A result that the stream itself would capture is not
 * sent: it would come back for ever.
 */
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "server/js/stream_parts.h"
#include "server/js/stream_subjects.h"

struct note {
    uint64_t seq, last;
};

struct stream_republish {
    struct stream *s;
    struct transform *to;
    bool headers_only;
    bool reading; /* reader is initialised */
    struct store_reader reader;
    struct note *notes; /* ring */
    size_t head, n, cap;
    struct buf subject, header;
};

/* ---- configuration --------------------------------------------------------------------------- */

static void republish_free(struct stream_republish *r)
{
    if (r == NULL)
        return;
    if (r->reading)
        store_reader_deinit(&r->reader);
    transform_free(r->to);
    mem_free(r->notes);
    buf_free(&r->subject);
    buf_free(&r->header);
    mem_free(r);
}

static void configure_republish(struct stream *s)
{
    struct transform *to = subject_mapping_compile(s->config.republish);
    struct subject_mapping rule;

    if (to == NULL) {
        republish_free(s->republish);
        s->republish = NULL;
        return;
    }
    if (s->republish == NULL) {
        s->republish = mem_zalloc(sizeof(*s->republish));
        s->republish->s = s;
    }
    subject_mapping_read(s->config.republish, &rule);
    s->republish->headers_only = rule.headers_only;
    transform_free(s->republish->to);
    s->republish->to = to;
}

void stream_subjects_configure(struct stream *s)
{
    transform_free(s->transform);
    s->transform = subject_mapping_compile(s->config.subject_transform);
    configure_republish(s);
}

void stream_subjects_free(struct stream *s)
{
    transform_free(s->transform);
    buf_free(&s->transformed);
    republish_free(s->republish);
}

/* ---- in -------------------------------------------------------------------------------------- */

const struct msg *stream_transform(struct stream *s, const struct msg *m, struct msg *to)
{
    buf_clear(&s->transformed);
    if (!transform_subject(s->transform, m->subject, s->js->env->prng, &s->transformed))
        return m;
    *to = *m;
    to->subject = buf_str(&s->transformed);
    return to;
}

/* ---- out ------------------------------------------------------------------------------------- */

uint64_t stream_republish_last(struct stream *s, struct str subject)
{
    uint64_t msgs;

    if (!subject_matches(subject, transform_source(s->republish->to)))
        return 0;
    return store_subject_last_assigned(s->store, subject, &msgs);
}

static struct note *note_at(struct stream_republish *r, size_t i)
{
    return &r->notes[(r->head + i) % r->cap];
}

static void grow(struct stream_republish *r)
{
    size_t cap = r->cap > 0 ? 2 * r->cap : 64;
    struct note *notes = mem_array(cap, sizeof(*notes));

    for (size_t i = 0; i < r->n; i++)
        notes[i] = *note_at(r, i);
    mem_free(r->notes);
    r->notes = notes;
    r->cap = cap;
    r->head = 0;
}

void stream_republish_note(struct stream *s, struct str subject, uint64_t seq, uint64_t last)
{
    struct stream_republish *r = s->republish;

    if (!subject_matches(subject, transform_source(r->to)))
        return;
    if (r->n == r->cap)
        grow(r);
    *note_at(r, r->n++) = (struct note){seq, last};
}

static bool comes_back(const struct stream *s, struct str subject)
{
    for (size_t i = 0; i < s->config.subjects.n; i++)
        if (subject_matches(subject, str_of(s->config.subjects.items[i])))
            return true;
    return false;
}

static void put_header(struct stream_republish *r, const struct store_msg *m, uint64_t last)
{
    struct buf *h = &r->header;
    char time[FMT_TIME_MAX];

    buf_clear(h);
    if (m->header.n > 2)
        buf_put(h, m->header.p, m->header.n - 2);
    else
        buf_puts(h, "NATS/1.0\r\n");
    fmt_time_rfc3339(time, m->ts);
    buf_printf(h,
               "Nats-Stream: %s\r\nNats-Subject: %.*s\r\nNats-Sequence: %llu\r\n"
               "Nats-Time-Stamp: %s\r\nNats-Last-Sequence: %llu\r\n",
               r->s->config.name, STR_ARG(m->subject), (unsigned long long) m->seq, time,
               (unsigned long long) last);
    if (r->headers_only)
        buf_printf(h, "Nats-Msg-Size: %zu\r\n", m->payload.n);
    buf_puts(h, "\r\n");
}

static void send(struct stream_republish *r, const struct store_msg *m, uint64_t last)
{
    buf_clear(&r->subject);
    if (!transform_subject(r->to, m->subject, r->s->js->env->prng, &r->subject) ||
        comes_back(r->s, buf_str(&r->subject)))
        return;
    put_header(r, m, last);
    js_publish(r->s->js, buf_str(&r->subject), STR_NONE, buf_str(&r->header),
               r->headers_only ? STR_NONE : m->payload);
}

static void read_on(struct store_reader *reader)
{
    struct stream_republish *r = reader->ctx;

    stream_republish_committed(r->s);
}

void stream_republish_committed(struct stream *s)
{
    struct stream_republish *r = s->republish;
    struct store_msg m;

    if (r == NULL)
        return;
    if (!r->reading) {
        store_reader_init(&r->reader, s->store, 1, NULL, 0, read_on, r);
        r->reading = true;
    }
    while (r->n > 0 && note_at(r, 0)->seq <= s->durable) {
        struct note note = *note_at(r, 0);
        enum store_read got = store_reader_get(&r->reader, note.seq, &m);
        if (got == STORE_READ_WAIT)
            return;
        r->head = (r->head + 1) % r->cap;
        r->n--;
        if (got == STORE_READ_MSG)
            send(r, &m, note.last);
    }
}

void stream_republish_forget(struct stream *s)
{
    struct stream_republish *r = s->republish;

    while (r != NULL && r->n > 0 && note_at(r, r->n - 1)->seq > s->durable)
        r->n--;
}
