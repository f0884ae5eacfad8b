/*
 * produce.c - messages by a schedule.
 *
 * The message's opaque pointer is the time at which it was due, as a number. Partitions take turns
 * in runs of 64 messages. When the client's queue is full the schedule goes on: what is late counts
 * from when it was due.
 */
#include "lib/base/mem.h"
#include "tools/kafka-bench/bench.h"

#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define RUN 64u

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *m, void *opaque)
{
    struct bench *b = opaque;
    uint64_t now = now_ns();

    (void) client;
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        b->errors++;
        return;
    }
    b->messages++;
    b->bytes += m->len;
    b->ended = now;
    if (b->o.rate > 0)
        hdr_record(&b->latency, now - (uint64_t) (uintptr_t) m->_private);
}

static bool send_one(struct bench *b, rd_kafka_topic_t *topic, uint64_t i, char *value,
                     uint64_t due)
{
    int32_t partition = (int32_t) (i / RUN % (uint64_t) b->o.partitions);

    memcpy(value, &i, sizeof(i) <= b->o.size ? sizeof(i) : b->o.size);
    while (rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_COPY, value, b->o.size, NULL, 0,
                            (void *) (uintptr_t) due) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            fprintf(stderr, "kafka-bench: %s\n", rd_kafka_err2str(rd_kafka_last_error()));
            return false;
        }
        rd_kafka_poll(b->client, 1);
    }
    return true;
}

/* Takes reports until the next message is due; sleeps on the timer a tenth of a millisecond at
 * most.
 */
static void wait_until(struct bench *b, uint64_t due)
{
    for (uint64_t now = now_ns(); now < due; now = now_ns()) {
        uint64_t ns = due - now < 100000 ? due - now : 100000, rung;
        if (rd_kafka_poll(b->client, 0) > 0)
            continue;
        timerfd_settime(b->timer, 0, &(struct itimerspec){.it_value.tv_nsec = (long) ns}, NULL);
        if (read(b->timer, &rung, sizeof(rung)) < 0)
            return;
    }
}

static rd_kafka_t *open_client(struct bench *b)
{
    rd_kafka_conf_t *conf = conf_new(b);
    rd_kafka_t *client;
    char text[512];

    set(conf, "acks", b->o.acks);
    set(conf, "linger.ms", b->o.linger_ms);
    set(conf, "batch.size", b->o.batch_bytes);
    set(conf, "batch.num.messages", "100000");
    set(conf, "queue.buffering.max.messages", "500000");
    set(conf, "queue.buffering.max.kbytes", "262144");
    set(conf, "compression.codec", b->o.codec);
    set(conf, "enable.idempotence", b->o.idempotent ? "true" : "false");
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_conf_set_opaque(conf, b);
    client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    if (client == NULL) {
        fprintf(stderr, "kafka-bench: %s\n", text);
        rd_kafka_conf_destroy(conf);
    }
    return client;
}

/* The connection is there and the topic is known before the clock starts. */
static bool warm_up(struct bench *b, rd_kafka_topic_t *topic)
{
    const struct rd_kafka_metadata *m;
    rd_kafka_resp_err_t err = rd_kafka_metadata(b->client, 0, topic, &m, 10000);
    bool well = err == RD_KAFKA_RESP_ERR_NO_ERROR && m->topic_cnt == 1 &&
                m->topics[0].partition_cnt == b->o.partitions;

    if (!well)
        fprintf(stderr, "kafka-bench: the topic %s is not there with %d partitions\n", b->o.topic,
                b->o.partitions);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        rd_kafka_metadata_destroy(m);
    return well;
}

static bool send_all(struct bench *b, rd_kafka_topic_t *topic)
{
    char *value = mem_zalloc(b->o.size + sizeof(uint64_t));
    uint64_t state = 88172645463325252u;
    bool well = true;

    for (uint64_t i = 0; i < b->o.size; i++) { /* half of the bytes at random, as a codec sees them
                                                */
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value[i] = i % 2 == 0 ? (char) state : 'x';
    }
    b->begun = now_ns();
    for (uint64_t i = 0; well && i < b->o.count; i++) {
        uint64_t due = b->begun;
        if (b->o.rate > 0) {
            due += (uint64_t) ((__uint128_t) i * 1000000000u / b->o.rate);
            wait_until(b, due);
        } else if (i % 1024 == 0) {
            rd_kafka_poll(b->client, 0);
        }
        well = send_one(b, topic, i, value, due);
    }
    mem_free(value);
    return well;
}

bool bench_produce(struct bench *b)
{
    rd_kafka_topic_t *topic;
    bool well;

    b->client = open_client(b);
    if (b->client == NULL)
        return false;
    b->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    topic = rd_kafka_topic_new(b->client, b->o.topic, NULL);
    well = warm_up(b, topic);
    b->cpu_begun_ms = broker_cpu_ms(b);
    well = well && send_all(b, topic);
    well = rd_kafka_flush(b->client, 60000) == RD_KAFKA_RESP_ERR_NO_ERROR && well;
    b->cpu_ended_ms = broker_cpu_ms(b);
    rd_kafka_topic_destroy(topic);
    close(b->timer);
    rd_kafka_destroy(b->client);
    return well && b->errors == 0 && b->messages == b->o.count;
}
