/*
 * index_model.h - a stream and an array of the subjects of all its messages, for tests of what a
 * store answers about subjects: everything that is done is done to both, and what is asked is
 * answered by both.
 */
#ifndef TESTS_UNIT_STORE_INDEX_MODEL_H
#define TESTS_UNIT_STORE_INDEX_MODEL_H

#include "lib/base/prng.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

enum { MOST = 30000, NAME = 24 };

struct bench {
    struct sim *sim;
    struct rig r;
    struct rig_stream t;
    struct prng rng;
    unsigned spread;     /* subjects */
    char (*names)[NAME]; /* by sequence; empty = gone */
    uint64_t last;
    unsigned per_subject; /* limit */
    bool kafka;           /* Kafka batches, too */
};

/* i: how many subjects, the limit per subject, Kafka batches or not, in memory or not; from 30 on
 * the index is read later. */
void bench_open(struct bench *b, int i);
void bench_close(struct bench *b);
/* Name number k. */
void bench_name(unsigned k, char out[NAME]);

/* ---- what is done ---------------------------------------------------------------------------- */

void bench_append_one(struct bench *b, const char *name);
/* Up to 800 of the bench's names, made durable. */
void bench_append_some(struct bench *b);
void bench_remove_some(struct bench *b);
/* filter NULL: of any subject, below a drawn sequence. */
void bench_purge_some(struct bench *b, const char *filter);
/* The model alone: what the limit takes of this name. */
void bench_trim(struct bench *b, const char *name);
/* Every other time, drawn: until it is closed the store does one slice of what it does in slices in
 * each step. */
void bench_slice(struct bench *b);
/* Closed and opened. */
void bench_open_again(struct bench *b);
/* The same, sliced or not, and some steps are done; a stream in memory stays. */
void bench_reopen(struct bench *b);
/* Changes a byte of this section of the footer of the first segment that has one. */
void bench_harm_footer(struct bench *b, unsigned section);

/* ---- what is asked --------------------------------------------------------------------------- */

bool bench_matches(const struct bench *b, uint64_t seq, const char *filter);
/* A drawn filter, or NULL for none. */
const char *bench_filter(struct bench *b, char out[NAME]);
/* Up to 50 messages from a sequence on. */
void bench_check_reader(struct bench *b, const char *filter, uint64_t from);
/* Readers, counts, last messages, listings of drawn filters, one subject. */
void bench_ask(struct bench *b);
/* Is what is gone gone for everybody who asks by sequence, from this one on? */
void bench_check_gone(struct bench *b, uint64_t from);
/* All about a subject that is known (store_subjects_wait). */
void bench_ask_known(struct bench *b, const char *name);
/* Waits for these subjects, at most 8, alone; true: others are not known yet. */
bool bench_know_these(struct bench *b, char (*names)[NAME], unsigned n);
/* Draws them first. */
bool bench_know(struct bench *b, char (*names)[NAME], unsigned n);

#endif
