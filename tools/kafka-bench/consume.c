/* consume.c - all that is there, in batches from one queue. */
#include "tools/kafka-bench/bench.h"

#include <stdio.h>

#define BATCH 10000
#define PATIENCE_NS 30000000000u

static rd_kafka_t *open_client(struct bench *b)
{
    rd_kafka_conf_t *conf = conf_new(b);
    rd_kafka_t *client;
    char text[512];

    set(conf, "group.id", "kafka-bench");
    set(conf, "enable.auto.commit", "false");
    set(conf, "auto.offset.reset", "earliest");
    set(conf, "check.crcs", "false");
    set(conf, "fetch.message.max.bytes", "10485760");
    set(conf, "queued.min.messages", "1000000");
    client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    if (client == NULL) {
        fprintf(stderr, "kafka-bench: %s\n", text);
        rd_kafka_conf_destroy(conf);
    }
    return client;
}

static void take(struct bench *b, rd_kafka_message_t *m)
{
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        fprintf(stderr, "kafka-bench: %s\n", rd_kafka_message_errstr(m));
        b->errors++;
    } else {
        b->messages++;
        b->bytes += m->len;
    }
    rd_kafka_message_destroy(m);
}

static void drain(struct bench *b, rd_kafka_queue_t *queue)
{
    rd_kafka_message_t *batch[BATCH];
    uint64_t last = now_ns();

    while (b->messages < b->o.count && b->errors == 0 && now_ns() - last < PATIENCE_NS) {
        ssize_t n = rd_kafka_consume_batch_queue(queue, 100, batch, BATCH);
        for (ssize_t i = 0; i < n; i++)
            take(b, batch[i]);
        if (n > 0)
            last = b->ended = now_ns();
    }
}

bool bench_drain(struct bench *b)
{
    rd_kafka_topic_partition_list_t *parts;
    rd_kafka_queue_t *queue;

    b->client = open_client(b);
    if (b->client == NULL)
        return false;
    rd_kafka_poll_set_consumer(b->client);
    parts = rd_kafka_topic_partition_list_new(b->o.partitions);
    for (int i = 0; i < b->o.partitions; i++)
        rd_kafka_topic_partition_list_add(parts, b->o.topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    b->cpu_begun_ms = broker_cpu_ms(b);
    b->begun = b->ended = now_ns();
    rd_kafka_assign(b->client, parts);
    queue = rd_kafka_queue_get_consumer(b->client);
    drain(b, queue);
    b->cpu_ended_ms = broker_cpu_ms(b);
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_destroy(parts);
    rd_kafka_consumer_close(b->client);
    rd_kafka_destroy(b->client);
    return b->errors == 0 && b->messages >= b->o.count;
}
