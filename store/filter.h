/*
 * filter.h - which subject ids a set of patterns matches, and where their messages are (filter.c).
 * A part of store_impl.h.
 */
#ifndef STORE_FILTER_H
#define STORE_FILTER_H

#include "lib/base/list.h"
#include "lib/base/str.h"
#include "store/id_set.h"
#include "store/subjects.h"

#include <stdbool.h>
#include <stdint.h>

struct store_stream;

enum { FILTER_FEW = 32, FILTER_BORN = 1024, FILTER_PATIENCE = 16384 };

struct filter {
    struct list link; /* stream->filters */
    struct store_stream *stream;
    uint32_t refs;
    unsigned n;
    struct str *patterns; /* copies */
    bool asked;           /* whether they are few */
    bool wanted;          /* its subjects are being looked up (early.c) */
    bool few;             /* ids are all that match, as of `seen` */
    bool sieved;          /* sieve is all that match, as of `seen`, and they are not few */
    unsigned nids;
    uint64_t seen;    /* of stream->nborn */
    uint8_t *verdict; /* by slot: 0 not asked yet, 1 no, 2 yes */
    uint32_t cap;
    struct id_set sieve;
    /* Of many: records looked at, and after how many it is tried whether a sieve holds them. */
    uint64_t looked, patience;
    uint32_t ids[FILTER_FEW];
};

/* NULL for "everything" (no pattern, or one that is ">"). */
struct filter *filter_get(struct store_stream *s, const struct str *patterns, unsigned n);
void filter_put(struct filter *f);
bool filter_ask(struct filter *f, uint32_t id);
static inline bool filter_matches(struct filter *f, uint32_t id)
{
    if (f->sieved)
        return id_set_has(&f->sieve, id);
    if (LIKELY(SUBJECT_SLOT(id) < f->cap && f->verdict[SUBJECT_SLOT(id)] != 0))
        return f->verdict[SUBJECT_SLOT(id)] == 2;
    return filter_ask(f, id);
}
/* Before asking anything: new subjects are taken in. */
void filter_prepare(struct filter *f);
/* First existing sequence in [*from, last] that matches, looking at most at *budget records; or 0:
 * then *from is where to go on, behind last when it is through. */
uint64_t filter_scan(struct filter *f, uint64_t *from, uint64_t last, uint32_t *budget);
bool filter_matches_text(const struct filter *f, struct str subject);
/* Messages of all subjects that match. Costs as much as there are subjects of that kind. */
uint64_t filter_total(struct filter *f);
/* Bounds of what can match: no match below first or above last. */
uint64_t filter_first(struct filter *f);
uint64_t filter_last(struct filter *f);
/* A new subject got this id. */
void filters_note_subject(struct store_stream *s, uint32_t id);

#endif
