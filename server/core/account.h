/*
 * account.h - an isolated world of subjects. Until accounts are configurable there are two: $G,
 * where every client lives, and $SYS. Shared by all workers; counters are per worker and summed by
 * who asks.
 */
#ifndef CORE_ACCOUNT_H
#define CORE_ACCOUNT_H

#include "server/core/interest.h"

#include <stdint.h>

struct account {
    char *name;     /* read-only */
    uint32_t index; /* dense, from 0: index into per-worker tables */
    struct interest *interest;
};

struct account *account_open(const char *name, uint32_t index, uint64_t hash_seed);
void account_close(struct account *a);

#endif
