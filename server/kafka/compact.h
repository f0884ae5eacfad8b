/*
 * compact.h - the compaction of topics whose cleanup.policy says so: of the partitions on this
 * worker, one after the other, in the background.
 */
#ifndef KAFKA_COMPACT_H
#define KAFKA_COMPACT_H

#include <stdbool.h>

struct compactor;
struct kafka;

/* Looks around every compaction_interval of the options; 0 = never. */
struct compactor *compactor_open(struct kafka *k);
/* No more passes; the one that is under way ends soon. */
void compactor_stop(struct compactor *c);
/* Nothing is under way. */
bool compactor_is_quiet(const struct compactor *c);
/* It has stopped, and is quiet. */
void compactor_close(struct compactor *c);

#endif
