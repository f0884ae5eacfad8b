/* kafka_seeds.c - see the header. */
#include "tests/fuzz/kafka_seeds.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "lib/wire/kafka_bytes.h"

#include <stdio.h>
#include <string.h>

/* As long as what the server makes of the client's name. */
#define MEMBER SEED_CLIENT "-(id of a member, as it is given)"
#define TOPIC_ID "(the topic's id)"
#define PRODUCER "(number)"

static const struct {
    const char *client, *hex;
} frames[] = {
#define FRAME(client, hex) {client, hex},
#include "tests/unit/wire/kafka_frames.def"
#undef FRAME
};

static const struct {
    const char *field;
    struct str text;
} words[] = {
    {"group_id", STR_LIT(SEED_GROUP)},
    {"group_ids", STR_LIT(SEED_GROUP)},
    {"groups", STR_LIT(SEED_GROUP)},
    {"groups_names", STR_LIT(SEED_GROUP)},
    {"key", STR_LIT(SEED_GROUP)},
    {"coordinator_keys", STR_LIT(SEED_GROUP)},
    {"member_id", STR_LIT(MEMBER)},
    {"transactional_id", STR_LIT(SEED_TRANSACTION)},
    {"transactional_ids", STR_LIT(SEED_TRANSACTION)},
    {"v3_and_below_transactional_id", STR_LIT(SEED_TRANSACTION)},
    {"protocol_type", STR_LIT("consumer")},
    {"mechanism", STR_LIT("PLAIN")},
    {"auth_bytes", STR_LIT("\0a\0a")},
    {"principal", STR_LIT("User:a")},
    {"host", STR_LIT("*")},
    {"value", STR_LIT("1000000")},
    {"metadata", STR_LIT("\0\0\0\0\0\1\0\3rec\0\0\0\0")},
    {"assignment", STR_LIT("\0\0\0\0\0\1\0\3rec\0\0\0\1\0\0\0\0\0\0\0\0")},
    {"states_filter", STR_LIT("Stable")},
    {"types_filter", STR_LIT("classic")},
    {"state_filters", STR_LIT("Ongoing")},
};

static const struct {
    const char *field;
    int64_t value;
} numbers[] = {
    {"acks", -1},
    {"timeout_ms", 10000},
    {"timeout", 10000},
    {"session_timeout_ms", 10000},
    {"rebalance_timeout_ms", 10000},
    {"transaction_timeout_ms", 60000},
    {"generation_id", 1},
    {"generation_id_or_member_epoch", 1},
    {"num_partitions", -1},
    {"replication_factor", -1},
    {"count", 2},
    {"max_bytes", 1 << 20},
    {"partition_max_bytes", 1 << 20},
    {"timestamp", -1},
    {"resource_type", 2},
    {"resource_types", 2},
    {"resource_type_filter", 1},
    {"resource_pattern_type", 3},
    {"pattern_type_filter", 1},
    {"operation", 3},
    {"permission_type", 3},
    {"response_partition_limit", 100},
    {"broker_ids", 1},
    {"broker_id", 1},
    {"require_stable", 1},
    {"include_synonyms", 1},
    {"include_documentation", 1},
    {"include_authorized_operations", 1},
    {"include_topic_authorized_operations", 1},
    {"committed", 1},
};

/* ---- one that is likely to be taken ---------------------------------------------------------- */

static void unhex(const char *hex, struct buf *out)
{
    static const char digits[] = "0123456789abcdef";

    for (; *hex != '\0'; hex += 2)
        buf_putc(out, (char) ((strchr(digits, hex[0]) - digits) << 4 |
                              (strchr(digits, hex[1]) - digits)));
}

/* The batch of a recorded request. */
static struct kafka_records batch(struct kafka_arena *arena)
{
    struct buf frame = {0};
    struct kafka_header h = {.key = -1};
    struct kafka_produce_request *q;
    struct kafka_records r;
    struct str in = STR_NONE;

    for (size_t i = 0; h.key != KAFKA_PRODUCE; i++) {
        ASSERT(i < ARRAY_LEN(frames));
        buf_clear(&frame);
        unhex(frames[i].hex, &frame);
        in = buf_str(&frame);
        ASSERT(kafka_take_header(&in, &h));
    }
    q = kafka_decode(kafka_struct_produce_request(), h.version, h.version >= 9, &in, arena);
    ASSERT(q != NULL && q->topic_data_n == 1 && q->topic_data->partition_data_n == 1);
    r = q->topic_data->partition_data->records;
    r.p = (const uint8_t *) kafka_arena_str(arena, str_from(r.p, r.n)).p;
    buf_free(&frame);
    return r;
}

static bool is_config(const struct kafka_struct *s)
{
    size_t n = strlen(s->name);

    return n > 8 && strcmp(s->name + n - 8, "_configs") == 0;
}

static struct str word(const struct kafka_struct *s, const struct kafka_field *f)
{
    if (is_config(s) && strcmp(f->name, "name") == 0)
        return STR("retention.ms");
    if (strncmp(s->name, "consumer_group_", 15) == 0 && strncmp(f->name, "group_id", 8) == 0)
        return STR(SEED_NEW_GROUP);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(words[i].field, f->name) == 0)
            return words[i].text;
    return f->type == KAFKA_BYTES ? STR("") : STR(SEED_TOPIC);
}

static int64_t number(const struct kafka_field *f)
{
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (strcmp(numbers[i].field, f->name) == 0)
            return numbers[i].value;
    return f->value;
}

static bool is_producer(const struct kafka_field *f)
{
    return f->value == 0 && (strcmp(f->name, "producer_id") == 0 ||
                             strcmp(f->name, "v3_and_below_producer_id") == 0);
}

static void fill(const struct kafka_struct *s, const struct kafka_field *f,
                 struct kafka_arena *arena, void *at)
{
    int64_t v = number(f);

    if (f->type == KAFKA_STR || f->type == KAFKA_BYTES)
        *(struct str *) at = f->nil ? STR_NONE : word(s, f);
    else if (f->type == KAFKA_RECORDS)
        *(struct kafka_records *) at = batch(arena);
    else if (f->type == KAFKA_UUID)
        memcpy(at, TOPIC_ID, sizeof(struct kafka_uuid));
    else if (f->type == KAFKA_BOOL)
        *(bool *) at = v != 0;
    else if (f->type == KAFKA_I8)
        *(int8_t *) at = (int8_t) v;
    else if (f->type == KAFKA_I16 || f->type == KAFKA_U16)
        *(int16_t *) at = (int16_t) v;
    else if (f->type == KAFKA_I32)
        *(int32_t *) at = (int32_t) v;
    else if (is_producer(f))
        *(int64_t *) at = (int64_t) kafka_get_u64(PRODUCER);
    else
        *(int64_t *) at = v;
}

void *kafka_seed_make(const struct kafka_struct *s, int version, struct kafka_arena *arena)
{
    char *out = kafka_arena_structs(arena, s, 1);

    for (unsigned i = 0; i < s->n; i++) {
        const struct kafka_field *f = &s->fields[i];
        char *at = out + f->offset;
        void *inner;
        int32_t one = 1;
        if (version < f->since || version > f->until)
            continue;
        if (f->type == KAFKA_NESTED)
            inner = kafka_seed_make(f->of(), version, arena);
        else
            inner = kafka_arena_alloc(arena, sizeof(struct kafka_records));
        if (f->type != KAFKA_NESTED)
            fill(s, f, arena, f->is_array ? inner : at);
        if (f->is_array || f->type == KAFKA_NESTED)
            memcpy(at, &inner, sizeof(inner));
        if (f->is_array)
            memcpy(at + sizeof(inner), &one, sizeof(one));
    }
    return out;
}

void kafka_seed_put(const struct kafka_api *api, int version, const void *body, struct buf *out)
{
    bool flexible = kafka_is_flexible(api, version);

    kafka_append_u16(out, (uint16_t) api->key);
    kafka_append_u16(out, (uint16_t) version);
    kafka_append_u32(out, 0);
    kafka_append_u16(out, sizeof(SEED_CLIENT) - 1);
    buf_puts(out, SEED_CLIENT);
    if (flexible)
        buf_putc(out, 0);
    kafka_encode(api->request(), version, flexible, body, out, NULL);
}

/* ---- placeholders ---------------------------------------------------------------------------- */

static void replace(struct buf *frame, struct str what, const void *by)
{
    char *at = frame->p;

    while (frame->n > 0 &&
           (at = memmem(at, frame->n - (size_t) (at - frame->p), what.p, what.n)) != NULL) {
        memcpy(at, by, what.n);
        at += what.n;
    }
}

void kafka_seed_settle(struct buf *frame, const struct kafka_given *given)
{
    uint8_t producer[8];

    kafka_put_u64(producer, (uint64_t) given->producer);
    replace(frame, STR(TOPIC_ID), given->topic_id.bytes);
    replace(frame, STR(PRODUCER), producer);
    if (given->member.n > 0) {
        ASSERT(given->member.n == sizeof(MEMBER) - 1);
        replace(frame, STR(MEMBER), given->member.p);
    }
}

/* ---- all ------------------------------------------------------------------------------------- */

static const int keys[] = {
#define API(NAME, key, name, first, last, flexible) key,
#include "lib/wire/kafka_apis.def"
#undef API
};

const struct kafka_api *kafka_api_of_target(const char *path)
{
    static const char prefix[] = "fuzz_kafka_";
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (strncmp(name, prefix, sizeof(prefix) - 1) == 0 &&
            strcmp(name + sizeof(prefix) - 1, kafka_api_of(keys[i])->name) == 0)
            return kafka_api_of(keys[i]);
    return NULL;
}

void kafka_seeds_each(void (*each)(void *ctx, const struct kafka_api *api, const char *name,
                                   struct str frame),
                      void *ctx)
{
    struct kafka_arena arena = {0};
    struct buf frame = {0};
    char name[32];

    for (size_t i = 0; i < ARRAY_LEN(frames); i++) {
        buf_clear(&frame);
        unhex(frames[i].hex, &frame);
        snprintf(name, sizeof(name), "recorded_%zu", i);
        each(ctx, kafka_api_of(kafka_get_u16(frame.p)), name, buf_str(&frame));
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct kafka_api *api = kafka_api_of(keys[i]);
        for (int v = api->first; v <= api->last; v++) {
            buf_clear(&frame);
            kafka_seed_put(api, v, kafka_seed_make(api->request(), v, &arena), &frame);
            snprintf(name, sizeof(name), "version_%d", v);
            each(ctx, api, name, buf_str(&frame));
        }
    }
    buf_free(&frame);
    kafka_arena_free(&arena);
}
