/*
 * peer_cache.h - answers about certificates of others, by the certificate, in memory and in a file
 * that nats-server reads and writes too. Main thread.
 */
#ifndef SERVER_PEER_CACHE_H
#define SERVER_PEER_CACHE_H

#include "lib/base/str.h"
#include "lib/tls/ocsp.h"
#include "server/config/ocsp_options.h"

#include <stdbool.h>
#include <stdint.h>

struct io_fs;
struct log;
struct peer_cache;

struct peer_cache_stats {
    uint64_t hits, misses, responses;
    uint64_t by_status[3]; /* by enum ocsp_says */
};

/* Reads the file, if there is one. */
struct peer_cache *peer_cache_open(const struct ocsp_cache_options *o, struct io_fs *fs,
                                   struct log *log);
/* Writes the file when something has changed; NULL is nothing. */
void peer_cache_save(struct peer_cache *c);
void peer_cache_close(struct peer_cache *c);

/* The answer as it came, until the next change; empty = there is none. Counted. */
struct str peer_cache_find(struct peer_cache *c, const uint8_t key[OCSP_FINGERPRINT_BYTES]);
/* It was of no use after all: the hit was a miss; it goes, but for one that is to be preserved. */
void peer_cache_drop(struct peer_cache *c, const uint8_t key[OCSP_FINGERPRINT_BYTES]);
/* Nothing when PEER_CACHE_MAX are there. now: unix seconds. */
#define PEER_CACHE_MAX 16384u
void peer_cache_put(struct peer_cache *c, const uint8_t key[OCSP_FINGERPRINT_BYTES],
                    struct str subject, struct str der, const struct ocsp_answer *a, int64_t now);
void peer_cache_stats(const struct peer_cache *c, struct peer_cache_stats *out);

#endif
