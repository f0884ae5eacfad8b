/*
 * init_producer_id.c - InitProducerId: numbers that no other producer has, also not one of an
 * earlier run of the server.
 *
 * ms of the wall clock at the first one (41 bits), worker (8 bits), a counter (14 bits, which runs
 * into the time): nobody makes 16,000 producers in every millisecond of a run.
 */
#include "lib/io/io.h"
#include "server/kafka/kafka_int.h"

void kafka_run_init_producer_id(struct kafka_request *r)
{
    const struct kafka_init_producer_id_request *q = r->body;
    struct kafka_init_producer_id_response *a = r->answer;
    struct kafka *k = r->kafka;

    a->producer_epoch = 0;
    if (q->transactional_id.p != NULL) {
        a->error_code = KAFKA_INVALID_REQUEST; /* no transactions yet */
        a->producer_id = -1;
        kafka_reply(r);
        return;
    }
    if (k->producer_ids == 0)
        k->producer_ids = (uint64_t) (io_wall(k->env->io) / 1000000) << 14;
    k->producer_ids++;
    a->producer_id = (int64_t) (((k->producer_ids << 8) | (k->env->worker & 0xff)) & INT64_MAX);
    kafka_reply(r);
}
