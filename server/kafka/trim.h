/*
 * trim.h - a producer's batch without some of its records, for the store when it writes a segment
 * anew. Pure but for allocations; runs on work threads.
 */
#ifndef KAFKA_TRIM_H
#define KAFKA_TRIM_H

#include "store/store.h"

/* store_kafka_trim_fn. The same header but for count, sums and times; the same offsets; compressed
 * as it was. */
enum err trim_batch(struct str batch, uint32_t messages, const uint64_t *keep, struct buf *out);

#endif
