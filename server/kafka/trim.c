/* trim.c - see trim.h. */
#include "server/kafka/trim.h"

#include "lib/base/mem.h"
#include "lib/wire/kafka_batch.h"
#include "lib/wire/kafka_compress.h"
#include "lib/wire/kafka_pack.h"

/* What is kept of the records, as an uncompressed batch. False: they are malformed, or too many. */
static bool rebuild(const struct kafka_batch *b, struct str records, uint32_t messages,
                    const uint64_t *keep, struct kafka_builder *to)
{
    struct kafka_record_iter it;
    struct kafka_record r;

    kafka_record_iter_init(&it, b, records);
    while (kafka_record_iter_next(&it, &r)) {
        uint64_t i = (uint64_t) (r.offset - b->base_offset);
        if (r.offset < b->base_offset || i >= messages ||
            (to->count > 0 && r.offset <= to->last_offset))
            return false;
        if ((keep[i / 64] >> (i % 64) & 1) != 0 && !kafka_builder_add(to, &r))
            return false;
    }
    return !it.bad && to->count > 0;
}

enum err trim_batch(struct str batch, uint32_t messages, const uint64_t *keep, struct buf *out)
{
    struct kafka_room room = {0};
    struct kafka_builder to;
    struct kafka_batch b;
    struct str records;

    if (kafka_batch_open(batch, &b) != KAFKA_BATCH_OK || b.count < 0)
        return ERR_CORRUPT;
    enum err err = kafka_batch_records(&b, KAFKA_PLAIN_MAX, &room, &records);
    if (err != ERR_OK) {
        kafka_room_free(&room);
        return err;
    }
    /* A record's varints may become longer: its deltas count from another base. */
    size_t cap = KAFKA_BATCH_HEADER + records.n + (size_t) b.count * 16;
    uint8_t *plain = mem_try_alloc(cap);
    err = plain == NULL ? ERR_NO_MEMORY : ERR_OK;
    if (err == ERR_OK) {
        kafka_builder_open(&to, plain, cap, b.base_offset);
        err = rebuild(&b, records, messages, keep, &to) ? ERR_OK : ERR_CORRUPT;
    }
    if (err == ERR_OK) {
        size_t n = kafka_builder_finish(&to, b.leader_epoch, &b);
        err = kafka_batch_pack(str_from(plain, n), kafka_batch_codec(&b), out);
    }
    mem_free(plain);
    kafka_room_free(&room);
    return err;
}
