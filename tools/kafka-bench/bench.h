/*
 * bench.h - kafka-bench: what a Kafka producer and a consumer of librdkafka see of a broker.
 *
 * produce: messages at a fixed rate, or as fast as the client's queue takes them. At a rate,
 * message i is due at start + i / rate, and its latency runs from that moment to its delivery
 *          report, whenever it was really sent: a broker that stalls is charged for all that should
 *          have been sent meanwhile. Without a rate latency says how deep the queue is, and is not
 *          printed.
 * drain:   all partitions from their beginning, until so many messages have come.
 *
 * With the broker's process id, its processor time (all threads) is taken before and after.
 */
#ifndef KAFKA_BENCH_H
#define KAFKA_BENCH_H

#include "lib/base/hdr.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

enum mode { MODE_PRODUCE, MODE_DRAIN };

struct options {
    enum mode mode;
    const char *broker, *topic, *acks, *linger_ms, *batch_bytes, *codec;
    int partitions;
    uint64_t count, size, rate, seconds; /* count 0: rate * seconds */
    int pid;                             /* of the broker; 0 = not told */
    bool idempotent, json;
};

struct bench {
    struct options o;
    rd_kafka_t *client;
    int timer;
    uint64_t messages, bytes, errors;
    uint64_t begun, ended;               /* ns: first message due, last one there */
    uint64_t cpu_begun_ms, cpu_ended_ms; /* the broker's */
    struct hdr latency;
};

/* False: err says what does not make sense. */
bool options_parse(struct options *o, int argc, char **argv, char err[256]);
void options_print_help(void);

uint64_t now_ns(void);
/* Exits with a text when librdkafka does not know the setting. */
void set(rd_kafka_conf_t *conf, const char *name, const char *value);
rd_kafka_conf_t *conf_new(const struct bench *b);
uint64_t broker_cpu_ms(const struct bench *b);

/* Both return false when something failed; what was measured so far stands in b. */
bool bench_produce(struct bench *b);
bool bench_drain(struct bench *b);

#endif
