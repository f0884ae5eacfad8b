/* early.h - single subjects of a stream whose index is still being read (early.c). Private to
 * store/.
 */
#ifndef STORE_EARLY_H
#define STORE_EARLY_H

#include "store/store_impl.h"

struct early_subject;
/* Can these be looked up before the index is read? They are literal. */
bool early_can(const struct store_stream *s, const struct str *subjects, unsigned n);
/* Looks them up; req (may be NULL) completes when they are known, or all is. Only when early_can
 * says so. */
void early_want(struct store_stream *s, const struct str *subjects, unsigned n,
                struct store_req *req);
/* The same, and req->count becomes the number of their messages in [from, last]. */
void early_want_count(struct store_stream *s, const struct str *subjects, unsigned n, uint64_t from,
                      uint64_t last, struct store_req *req);
bool early_knows(const struct store_stream *s, const struct str *subjects, unsigned n);
/* NULL: not known. It is valid while there is a loader. */
struct early_subject *early_find(const struct store_stream *s, struct str subject);
/* The next message in [from, last], the last one below a sequence; 0 = none. */
uint64_t early_next(struct store_stream *s, const struct early_subject *sub, uint64_t from,
                    uint64_t last);
uint64_t early_prev(struct store_stream *s, const struct early_subject *sub, uint64_t below);
/* The next of any of them; all are known. */
uint64_t early_next_of(struct store_stream *s, const struct str *subjects, unsigned n,
                       uint64_t from, uint64_t last);
/* Messages of them in [from, last]; false: one is not known. */
bool early_count(struct store_stream *s, const struct str *subjects, unsigned n, uint64_t from,
                 uint64_t last, uint64_t *count);
/* Something of this subject became durable, and there is a limit per subject: early_go_on applies
 * it.
 */
void early_limit(struct store_stream *s, uint32_t id);
/* A segment has been read, or something was appended: perhaps others can be asked now. */
void early_go_on(struct store_stream *s);
/* Who waits is told this. */
void early_cancel(struct store_stream *s, enum err err);
void early_free(struct store_stream *s);
void segment_fences_free(struct segment *seg);
/* query.c: counts as a task, which waits for the index; what is filtered is copied. */
void count_later(struct store_stream *s, const struct str *filters, unsigned nfilters,
                 uint64_t from, uint64_t last, struct store_req *req);

#endif
