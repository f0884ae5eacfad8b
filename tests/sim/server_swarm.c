/*
 * server_swarm.c - see server_swarm.h.
 */
#include "tests/sim/server_swarm.h"

#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/base/prng.h"
#include "tests/sim/sim.h"

#include <stdio.h>

static unsigned pick(struct prng *rng, const unsigned *from, size_t n)
{
    return from[prng_below(rng, n)];
}
#define PICK(rng, ...)                                                                             \
    pick(rng, (const unsigned[]){__VA_ARGS__}, ARRAY_LEN(((const unsigned[]){__VA_ARGS__})))

static void draw_weights(struct swarm *s, struct prng *rng)
{
    static const unsigned usual[WORK_OPS] = {
        [WORK_PUBLISH] = 60,
        [WORK_CORE] = 6,
        [WORK_PING] = 6,
        [WORK_STREAM_CREATE] = 5,
        [WORK_STREAM_AGAIN] = 2,
        [WORK_STREAM_UPDATE] = 2,
        [WORK_STREAM_DELETE] = 1,
        [WORK_PURGE] = 2,
        [WORK_MSG_DELETE] = 6,
        [WORK_GET] = 8,
        [WORK_CONSUMER_CREATE] = 8,
        [WORK_CONSUMER_DELETE] = 2,
        [WORK_PULL] = 30,
        [WORK_DISCONNECT] = 3,
        [WORK_SLOW] = 3,
        [WORK_IDLE] = 8,
        [WORK_VERIFY] = 1,
        [WORK_RESTART] = 1,
        [WORK_CRASH] = 3,
        [WORK_KILL] = 2,
        [WORK_FULL] = 2,
        [WORK_NET] = 1,
    };
    for (unsigned i = 0; i < WORK_KAFKA; i++)
        s->weights[i] = PICK(rng, 0, 1, 1, 1, 3) * usual[i];
    if (prng_below(rng, 3) != 0)
        s->weights[WORK_FULL] = 0;
    if (prng_below(rng, 3) != 0)
        s->weights[WORK_NET] = 0;
    /* These the run can not do without. */
    s->weights[WORK_PUBLISH] += 30;
    s->weights[WORK_STREAM_CREATE] += 3;
    s->weights[WORK_PULL] += 5;
    s->weights[WORK_CRASH] += 1;
}

void swarm_draw(struct swarm *s, struct prng *rng)
{
    *s = (struct swarm){0};
    s->workers = PICK(rng, 1, 1, 2, 4);
    s->clients = PICK(rng, 1, 2, 3, 5);
    s->ops = PICK(rng, 40, 80, 160);
    s->steps = PICK(rng, 0, 4, 20, 60);
    s->slots = PICK(rng, 1, 2, 4);
    s->subjects = PICK(rng, 1, 3, 8);
    s->consumers = PICK(rng, 1, 2, 4);
    s->burst = PICK(rng, 1, 4, 16, 40);
    s->payload_max = PICK(rng, 16, 128, 1024);
    s->big_percent = PICK(rng, 0, 0, 2, 10);
    s->limits_percent = PICK(rng, 0, 30, 100);
    s->memory_percent = PICK(rng, 0, 0, 30);
    s->async_percent = PICK(rng, 0, 0, 30);
    s->direct_percent = PICK(rng, 0, 50);
    s->workqueue_percent = PICK(rng, 0, 20, 60);
    s->interest_percent = PICK(rng, 0, 20);
    s->id_percent = PICK(rng, 0, 30, 100);
    s->expect_percent = PICK(rng, 0, 0, 20);
    s->no_reply_percent = PICK(rng, 0, 5);
    s->push_percent = PICK(rng, 0, 20, 50);
    s->double_percent = PICK(rng, 20, 50, 90);
    s->nak_percent = PICK(rng, 0, 10);
    s->ignore_percent = PICK(rng, 0, 10, 30);
    s->fork_percent = PICK(rng, 1, 5, 20);
    s->forks_max = PICK(rng, 2, 4, 8);
    s->pool_bytes = PICK(rng, 0, 0, 512) * 1024u;
    s->log_file_bytes = PICK(rng, 64, 128, 1024) * 1024u;
    s->segment_min = PICK(rng, 64, 256, 1024) * 1024u;
    s->segment_max = s->segment_min * PICK(rng, 1, 4);
    s->disk_bytes = 64u << 20;
    s->cache_bytes = PICK(rng, 16, 128, 4096) * 1024u;
    s->net_max_ns = PICK(rng, 2, 20, 300) * 1000u;
    s->split_percent = PICK(rng, 0, 20, 60);
    s->window_min = PICK(rng, 1, 8, 64) * 1024u;
    draw_weights(s, rng);
}

void swarm_with_batches(struct swarm *s, uint64_t seed)
{
    if (hash_mix(seed, 0x6261746368u) % 2 == 0)
        s->weights[WORK_BATCH] = 60;
}

bool swarm_is_kafka(uint64_t seed)
{
    return hash_mix(seed, 0x6b61666b61u) % 5 < 2;
}

void swarm_with_kafka(struct swarm *s, uint64_t seed)
{
    static const unsigned usual[WORK_OPS] = {
        [WORK_KAFKA_PRODUCE] = 60, [WORK_KAFKA_AGAIN] = 4,      [WORK_KAFKA_READ] = 30,
        [WORK_KAFKA_OFFSETS] = 4,  [WORK_KAFKA_DISCONNECT] = 4,
    };
    struct prng rng;

    prng_init(&rng, hash_mix(seed, 0x6b61666b62u));
    s->kafka = true;
    s->producers = PICK(&rng, 1, 2, 3);
    s->readers = PICK(&rng, 1, 1, 2);
    s->topics_percent = PICK(&rng, 40, 80, 100);
    s->compact_percent = PICK(&rng, 0, 0, 30);
    s->plain_percent = PICK(&rng, 0, 20, 50);
    s->batch = PICK(&rng, 1, 4, 16);
    s->compaction_ns = PICK(&rng, 100, 2000) * INT64_C(1000000);
    for (unsigned i = WORK_KAFKA; i < WORK_BATCH; i++)
        s->weights[i] = PICK(&rng, 0, 1, 1, 1, 3) * usual[i];
    s->weights[WORK_KAFKA_PRODUCE] += 40;
    /* Limits excuse what is missing: half of the runs go without. */
    if (prng_below(&rng, 2) == 0)
        s->limits_percent = 0;
    if (prng_below(&rng, 2) == 0)
        s->weights[WORK_PURGE] = s->weights[WORK_MSG_DELETE] = s->weights[WORK_STREAM_UPDATE] = 0;
}

bool swarm_is_txns(uint64_t seed)
{
    return hash_mix(seed, 0x74786e73u) % 3 == 0;
}

void swarm_with_txns(struct swarm *s, uint64_t seed)
{
    struct prng rng;

    prng_init(&rng, hash_mix(seed, 0x74786e74u));
    s->txn_clients = PICK(&rng, 1, 2, 3);
    s->txn_topics = PICK(&rng, 1, 2, 4);
    s->weights[WORK_TXN] = PICK(&rng, 60, 120, 200);
    s->weights[WORK_TXN_READ] = PICK(&rng, 10, 30, 60);
    prng_init(&rng, hash_mix(seed, 0x74786e75u));
    s->txn_parts = PICK(&rng, 1, 1, 2, 3);
    s->txn_kinds = prng_below(&rng, 2) == 0 ? (unsigned) prng_below(&rng, 256) : 0;
    s->txn_delete_percent = PICK(&rng, 0, 0, 10, 30);
}

void swarm_with_kills(struct swarm *s)
{
    s->weights[WORK_KILL] = 3;
}

void swarm_with_faults(struct swarm *s)
{
    s->weights[WORK_FAULT] = 3;
}

void swarm_print(const struct swarm *s, char *out, size_t n)
{
    int kafka = 0;

    if (s->kafka)
        kafka = snprintf(out, n, "%u Kafka producers, %u readers, batches of %u, ", s->producers,
                         s->readers, s->batch);
    snprintf(out + kafka, n - (size_t) kafka,
             "%u workers, %u clients, %u operations, %u stream names, %u subjects, %u consumers, "
             "bursts of %u x %u B, log %llu KiB, segments %llu..%llu KiB, net up to %llu us",
             s->workers, s->clients, s->ops, s->slots, s->subjects, s->consumers, s->burst,
             s->payload_max, (unsigned long long) s->log_file_bytes / 1024,
             (unsigned long long) s->segment_min / 1024, (unsigned long long) s->segment_max / 1024,
             (unsigned long long) s->net_max_ns / 1000);
}

void swarm_sim_options(const struct swarm *s, struct sim_options *o)
{
    o->capacity = s->disk_bytes;
    o->net = (struct sim_latency){s->net_max_ns / 4, s->net_max_ns};
    o->split_percent = s->split_percent;
    o->window_min = s->window_min;
}
