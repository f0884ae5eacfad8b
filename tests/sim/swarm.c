/*
 * swarm.c - see swarm.h.
 */
#include "tests/sim/swarm.h"

#include "lib/base/assert.h"
#include "lib/base/prng.h"

static unsigned pick(struct prng *rng, const unsigned *from, size_t n)
{
    return from[prng_below(rng, n)];
}
#define PICK(rng, ...)                                                                             \
    pick(rng, (const unsigned[]){__VA_ARGS__}, ARRAY_LEN(((const unsigned[]){__VA_ARGS__})))

static void draw_weights(struct swarm *s, struct prng *rng)
{
    static const unsigned usual[WORK_OPS] = {
        [WORK_APPEND] = 60,       [WORK_SKIP] = 4,          [WORK_REMOVE] = 15,
        [WORK_PURGE] = 4,         [WORK_STREAM_CREATE] = 6, [WORK_STREAM_UPDATE] = 4,
        [WORK_STREAM_DELETE] = 2, [WORK_OBJECT_CREATE] = 8, [WORK_OBJECT_PUT] = 6,
        [WORK_OBJECT_DELTA] = 25, [WORK_OBJECT_DELETE] = 3, [WORK_READER_OPEN] = 6,
        [WORK_READER_STEP] = 30,  [WORK_READER_CLOSE] = 3,  [WORK_GET] = 10,
        [WORK_IDLE] = 10,         [WORK_VERIFY] = 2,        [WORK_REOPEN] = 2,
        [WORK_CRASH] = 3,         [WORK_FULL] = 2,          [WORK_FAULT] = 1,
    };
    for (unsigned i = 0; i < WORK_OPS; i++)
        s->weights[i] = PICK(rng, 0, 1, 1, 1, 4) * usual[i];
    if (prng_below(rng, 2) == 0)
        s->weights[WORK_FULL] = 0;
    if (prng_below(rng, 3) != 0)
        s->weights[WORK_FAULT] = 0;
    /* These the run can not do without. */
    s->weights[WORK_APPEND] += 20;
    s->weights[WORK_STREAM_CREATE] += 4;
    s->weights[WORK_CRASH] += 1;
    s->weights[WORK_VERIFY] += 1;
}

void swarm_draw(struct swarm *s, struct prng *rng)
{
    s->workers = PICK(rng, 1, 1, 1, 2, 3);
    s->log_file_bytes = PICK(rng, 64, 128, 256, 1024) * 1024u;
    s->segment_min = PICK(rng, 64, 128, 256, 1024) * 1024u;
    s->segment_max = s->segment_min * PICK(rng, 1, 2, 8);
    s->pool_bytes = PICK(rng, 0, 0, 512, 2048) * 1024u;
    s->cache_bytes = PICK(rng, 16, 128, 4096) * 1024u;
    s->staging_bytes = PICK(rng, 512, 4096, 16384) * 1024u;
    s->ride_ns = PICK(rng, 1, 10, 100) * 1000000u;
    s->disk_bytes = PICK(rng, 64, 256) * 1024u * 1024u;
    s->ops = PICK(rng, 50, 150, 300);
    s->streams_max = PICK(rng, 1, 2, 4, 8);
    s->objects_max = PICK(rng, 2, 10, 40);
    s->readers_max = PICK(rng, 1, 4);
    s->subjects = PICK(rng, 1, 3, 20, 200);
    s->burst = PICK(rng, 1, 10, 50, 200);
    s->payload_max = PICK(rng, 16, 128, 1024, 6000);
    s->big_percent = PICK(rng, 0, 0, 1, 10);
    s->header_percent = PICK(rng, 0, 30);
    s->limits_percent = PICK(rng, 0, 50, 100);
    s->async_percent = PICK(rng, 0, 0, 30);
    s->compress_percent = PICK(rng, 0, 50, 100);
    s->memory_percent = PICK(rng, 0, 0, 20);
    s->ride_percent = PICK(rng, 0, 50, 90);
    s->unclaimed_percent = PICK(rng, 0, 0, 20);
    s->fork_percent = PICK(rng, 2, 10, 30);
    s->again_percent = PICK(rng, 0, 20);
    s->steps = PICK(rng, 0, 3, 30);
    draw_weights(s, rng);
    s->encrypted = prng_below(rng, 4) == 0;
    s->rekey_percent = PICK(rng, 0, 0, 0, 40);
    /* Large bursts of large messages only cost time. */
    while ((uint64_t) s->burst * s->payload_max > 200000)
        s->burst /= 2;
    s->kill_percent = PICK(rng, 0, 0, 20, 50);
    s->erase_percent = 20;
    s->kafka_percent = PICK(rng, 0, 0, 20, 60);
}

static unsigned at_most(unsigned n, unsigned most)
{
    return n < most ? n : most;
}

void swarm_shorten(struct swarm *s, struct prng *rng)
{
    s->ops = PICK(rng, 8, 15, 30);
    s->log_file_bytes = PICK(rng, 64, 64, 128, 256) * 1024u;
    s->segment_min = PICK(rng, 64, 64, 128) * 1024u;
    s->segment_max = s->segment_min * PICK(rng, 1, 2);
    s->pool_bytes = PICK(rng, 0, 0, 256) * 1024u;
    s->disk_bytes = 64u * 1024u * 1024u;
    s->objects_max = at_most(s->objects_max, 10);
    s->streams_max = at_most(s->streams_max, 4);
    s->subjects = at_most(s->subjects, 20);
    s->fork_percent = 100;
    s->again_percent = PICK(rng, 0, 2, 6);
    s->kill_percent = PICK(rng, 15, 30);
    s->erase_percent = PICK(rng, 20, 20, 90);
    if (s->erase_percent > 50)
        s->weights[WORK_REMOVE] += 60;
    s->weights[WORK_CRASH] += 2;
    s->weights[WORK_REOPEN] += 2;
    while (s->burst > 1 && (uint64_t) s->burst * s->payload_max > 60000)
        s->burst /= 2;
    /* A large payload fills a segment. */
    if (s->big_percent > 0)
        s->burst = at_most(s->burst, 4);
}

void swarm_print(const struct swarm *s, char *out, size_t n)
{
    snprintf(
        out, n,
        "%u workers, log %llu KiB, segments %llu..%llu KiB, %u operations, %u streams, %u objects, "
        "%u subjects, bursts of %u x %u B, %u %% big, %u %% limits, %u %% async, cuts at %u %%, "
        "kills %u %%%s",
        s->workers, (unsigned long long) s->log_file_bytes / 1024,
        (unsigned long long) s->segment_min / 1024, (unsigned long long) s->segment_max / 1024,
        s->ops, s->streams_max, s->objects_max, s->subjects, s->burst, s->payload_max,
        s->big_percent, s->limits_percent, s->async_percent, s->fork_percent, s->kill_percent,
        s->rekey_percent != 0 ? ", new keys"
        : s->encrypted        ? ", encrypted"
                              : "");
}
