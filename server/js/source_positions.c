/* source_positions.c - records and header values of source_positions.h. */
#include "server/js/source_positions.h"

#include "lib/base/bytes.h"
#include "lib/base/counted.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"

#include <string.h>

void source_positions_free(struct source_positions *p)
{
    for (size_t i = 0; i < p->n; i++) {
        mem_free(p->items[i].name);
        mem_free(p->items[i].identity);
    }
    mem_free(p->items);
    *p = (struct source_positions){0};
}

static struct source_position *find(const struct source_positions *p, struct str name)
{
    for (size_t i = 0; i < p->n; i++)
        if (str_eq(str_of(p->items[i].name), name))
            return &p->items[i];
    return NULL;
}

const struct source_position *source_positions_find(const struct source_positions *p,
                                                    struct str name)
{
    return find(p, name);
}

void source_positions_set(struct source_positions *p, struct str name, struct str identity,
                          uint64_t sseq)
{
    struct source_position *at = find(p, name);

    if (at == NULL) {
        p->items = mem_realloc(p->items, (p->n + 1) * sizeof(*p->items));
        at = &p->items[p->n++];
        *at = (struct source_position){.name = mem_strndup(name.p, name.n)};
    }
    if (at->identity == NULL || !str_eq(str_of(at->identity), identity)) {
        mem_free(at->identity);
        at->identity = mem_strndup(identity.n > 0 ? identity.p : "", identity.n);
    }
    at->sseq = sseq;
}

/* ---- records --------------------------------------------------------------------------------- */

static void put_number(struct buf *out, uint64_t v)
{
    uint8_t b[8];

    put_u64(b, v);
    buf_put(out, b, sizeof(b));
}

static bool take_number(struct str *in, uint64_t *out)
{
    if (in->n < 8)
        return false;
    *out = get_u64(in->p);
    *in = str_skip(*in, 8);
    return true;
}

void source_positions_put_through(struct buf *out, uint64_t through)
{
    put_number(out, through);
}

void source_positions_put_entry(struct buf *out, struct str name, struct str identity,
                                uint64_t sseq)
{
    put_number(out, sseq);
    counted_put(out, name);
    counted_put(out, identity);
}

void source_positions_put(const struct source_positions *p, struct buf *out)
{
    source_positions_put_through(out, p->through);
    for (size_t i = 0; i < p->n; i++)
        source_positions_put_entry(out, str_of(p->items[i].name), str_of(p->items[i].identity),
                                   p->items[i].sseq);
}

static bool walk(struct source_positions *p, struct str record)
{
    struct str name, identity;
    uint64_t through, sseq;

    if (!take_number(&record, &through))
        return false;
    if (p != NULL && through > p->through)
        p->through = through;
    while (record.n > 0) {
        if (!take_number(&record, &sseq) || !counted_take(&record, &name) || name.n == 0 ||
            !counted_take(&record, &identity))
            return false;
        if (p != NULL)
            source_positions_set(p, name, identity, sseq);
    }
    return true;
}

bool source_positions_apply(struct source_positions *p, struct str record)
{
    return walk(NULL, record) && walk(p, record);
}

/* ---- header values --------------------------------------------------------------------------- */

bool source_mark_parse(struct str value, struct source_mark *out)
{
    struct str rest, seq, subject;

    out->origin = str_cut(value, ' ', &rest);
    seq = str_cut(rest, ' ', &rest);
    out->filters = str_cut(rest, ' ', &rest);
    out->destinations = str_cut(rest, ' ', &rest);
    subject = str_cut(rest, ' ', &rest);
    out->identity = rest.p != NULL ? str_cut(rest, ' ', &rest) : STR_NONE;
    (void) subject;
    return out->origin.n > 0 && out->filters.n > 0 && out->destinations.n > 0 &&
           str_to_u64(seq, &out->sseq);
}

bool source_mark_is(const struct source_mark *m, struct str name)
{
    struct str rest;

    return str_eq(str_cut(name, ' ', &rest), m->origin) &&
           str_eq(str_cut(rest, ' ', &rest), m->filters) && str_eq(rest, m->destinations);
}

void source_mark_put(struct buf *out, struct str name, uint64_t sseq, struct str subject,
                     struct str identity)
{
    struct str rest, origin = str_cut(name, ' ', &rest);

    buf_put_str(out, origin);
    buf_putc(out, ' ');
    buf_put_u64(out, sseq);
    buf_putc(out, ' ');
    buf_put_str(out, rest);
    buf_putc(out, ' ');
    buf_put_str(out, subject);
    if (identity.n > 0) {
        buf_putc(out, ' ');
        buf_put_str(out, identity);
    }
}

/* Is it about the publish that the origin has checked already? */
static bool is_spent(struct str key, bool sourced)
{
    return str_starts(key, STR("Nats-Expected-")) || str_starts(key, STR("Nats-Batch-")) ||
           (sourced && str_eq(key, STR("Nats-Stream-Source")));
}

static void put_pair(struct buf *out, struct str key, struct str value)
{
    if (out->n == 0)
        buf_puts(out, "NATS/1.0\r\n");
    buf_put_str(out, key);
    buf_puts(out, ": ");
    buf_put_str(out, value);
    buf_puts(out, "\r\n");
}

bool source_header_make(struct buf *out, struct str block, struct str value)
{
    struct str key, text;
    bool change = value.n > 0;
    size_t start = out->n;

    for (size_t at = 0; !change && header_next(block, &at, &key, &text);)
        change = is_spent(key, false);
    if (!change)
        return false;
    for (size_t at = 0; header_next(block, &at, &key, &text);)
        if (!is_spent(key, value.n > 0))
            put_pair(out, key, text);
    if (value.n > 0)
        put_pair(out, STR("Nats-Stream-Source"), value);
    if (out->n > start)
        buf_puts(out, "\r\n");
    return true;
}
