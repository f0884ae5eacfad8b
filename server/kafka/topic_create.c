/*
 * topic_create.c - the streams of a new topic, or of more partitions.
 *
 *     orphans deleted -> last partition's stream .. partition 1's -> partition 0's
 *
 * Partition 0's stream is made last, or gets its new `kafka.partitions` last: until then nobody
 * sees the others. An orphan is a stream of a partition that no topic counts: what a crash left of
 * a creation, or of a deletion with its messages. When a step fails, what was made is deleted as
 * orphans are, and the first error is the outcome.
 *
 * One at a time does any of this with a topic: what is there of a creation under way looks like
 * orphans to another one.
 */
#include "server/kafka/topic_create.h"

#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "lib/json/json.h"
#include "server/kafka/topic_config.h"
#include "server/kafka/topic_turn.h"

#include <jansson.h>

struct creation {
    struct realm *realm;
    struct topic_turn turn;
    struct kafka_arena arena;
    struct topic_wish wish;
    struct topic_outcome outcome;
    int32_t next; /* the partition being made */
    bool swept;   /* no orphans were there when it began */
    topic_done_fn done;
    void *ctx;
};

static void go_on(struct creation *c);

static void finish(struct creation *c)
{
    topic_turn_pass(topics_turns(c->realm->topics), &c->turn, c->realm->kafka->env);
    c->done(c->ctx, &c->outcome);
    kafka_arena_free(&c->arena);
    mem_free(c);
}

static void fail(struct creation *c, enum kafka_error error, const char *text)
{
    if (c->outcome.error != KAFKA_NONE)
        return;
    c->outcome.error = error;
    c->outcome.text = kafka_arena_text(&c->arena, "%s", text).p;
}

enum kafka_error topic_error_of(int err_code)
{
    switch (err_code) {
    case 0:
        return KAFKA_NONE;
    case 10058: /* stream name already in use */
        return KAFKA_TOPIC_ALREADY_EXISTS;
    case 10059: /* stream not found */
        return KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    case 10065: /* subjects overlap */
        return KAFKA_INVALID_TOPIC_EXCEPTION;
    case 10047: /* storage */
    case 10028: /* memory */
        return KAFKA_POLICY_VIOLATION;
    case 10052: /* invalid configuration */
        return KAFKA_INVALID_CONFIG;
    default:
        return KAFKA_UNKNOWN_SERVER_ERROR;
    }
}

/* ---- orphans --------------------------------------------------------------------------------- */

static void orphan_deleted(void *ctx, const json_t *answer)
{
    struct creation *c = ctx;
    const char *text;
    int code = js_call_error(answer, &text);

    if (code != 0 && code != 10059) {
        fail(c, topic_error_of(code), text);
        finish(c);
        return;
    }
    go_on(c);
}

/* True when a deletion is under way. */
static bool sweep(struct creation *c)
{
    int32_t orphan = topics_orphan(c->realm->topics, c->wish.name);
    struct buf subject = {0};

    if (orphan == 0)
        return false;
    buf_puts(&subject, "STREAM.DELETE.");
    topic_stream_name(&subject, c->wish.name, orphan);
    js_call(c->realm, buf_cstr(&subject), STR_NONE, orphan_deleted, c);
    buf_free(&subject);
    return true;
}

/* ---- streams --------------------------------------------------------------------------------- */

static void put_metadata(struct creation *c, int32_t partition, json_t *metadata)
{
    char id[33], text[16];

    if (partition > 0) {
        snprintf(text, sizeof(text), "%d", (int) partition);
        json_object_set_new(metadata, "kafka.partition", json_string(text));
        return;
    }
    snprintf(text, sizeof(text), "%d", (int) c->wish.partitions);
    json_object_set_new(metadata, "kafka.partitions", json_string(text));
    for (size_t i = 0; i < 16; i++)
        snprintf(id + 2 * i, 3, "%02x", c->outcome.id.bytes[i]);
    json_object_set_new(metadata, "kafka.topic_id", json_string(id));
}

void topic_put_json(struct buf *out, const json_t *object)
{
    size_t n = json_dumpb(object, NULL, 0, JSON_COMPACT);

    json_dumpb(object, buf_reserve(out, n), n, JSON_COMPACT);
    out->n += n;
}

static void put_config(struct creation *c, int32_t partition, struct buf *out)
{
    json_t *o = json_object(), *metadata = json_object();
    bool limits = topic_config_limits(c->wish.configs, c->wish.nconfigs, true);
    struct buf name = {0}, subject = {0};

    topic_stream_name(&name, c->wish.name, partition);
    topic_subject(&subject, c->wish.name, partition, c->wish.partitions);
    json_object_set_new(o, "name", json_stringn(name.p, name.n));
    json_object_set_new(o, "subjects", json_pack("[s#]", subject.p, (int) subject.n));
    json_object_set_new(o, "retention", json_string("limits"));
    json_object_set_new(o, "storage", json_string("file"));
    json_object_set_new(o, "num_replicas", json_integer(1));
    json_object_set_new(o, "allow_direct", json_true());
    put_metadata(c, partition, metadata);
    for (size_t i = 0; i < c->wish.nconfigs; i++)
        topic_config_apply(&c->wish.configs[i], limits, partition == 0, o, metadata);
    topic_config_finish(c->wish.configs, c->wish.nconfigs, o);
    json_object_set_new(o, "metadata", metadata);
    topic_put_json(out, o);
    json_decref(o);
    buf_free(&name);
    buf_free(&subject);
}

static void stream_made(void *ctx, const json_t *answer)
{
    struct creation *c = ctx;
    const char *text;
    int code = js_call_error(answer, &text);

    if (code != 0)
        fail(c, topic_error_of(code), text);
    else
        c->next--;
    go_on(c);
}

static void make_stream(struct creation *c)
{
    struct buf subject = {0}, body = {0};

    buf_puts(&subject, "STREAM.CREATE.");
    topic_stream_name(&subject, c->wish.name, c->next);
    put_config(c, c->next, &body);
    js_call(c->realm, buf_cstr(&subject), buf_str(&body), stream_made, c);
    buf_free(&subject);
    buf_free(&body);
}

/* ---- more partitions: partition 0 learns of them --------------------------------------------- */

static void grown(void *ctx, const json_t *answer)
{
    struct creation *c = ctx;
    const char *text;
    int code = js_call_error(answer, &text);

    if (code != 0)
        fail(c, topic_error_of(code), text);
    c->next = -1;
    go_on(c);
}

static void described(void *ctx, const json_t *answer)
{
    struct creation *c = ctx;
    const char *text;
    int code = js_call_error(answer, &text);
    struct buf subject = {0}, body = {0};
    json_t *config, *metadata;
    char number[16];

    if (code != 0) {
        fail(c, topic_error_of(code), text);
        go_on(c);
        return;
    }
    config = json_deep_copy(json_object_get(answer, "config"));
    metadata = json_object_get(config, "metadata");
    if (!json_is_object(metadata))
        json_object_set_new(config, "metadata", metadata = json_object());
    snprintf(number, sizeof(number), "%d", (int) c->wish.partitions);
    json_object_set_new(metadata, "kafka.partitions", json_string(number));
    topic_subject(&subject, c->wish.name, 0, c->wish.partitions);
    json_object_set_new(config, "subjects", json_pack("[s#]", subject.p, (int) subject.n));
    topic_put_json(&body, config);
    buf_clear(&subject);
    buf_puts(&subject, "STREAM.UPDATE.");
    topic_stream_name(&subject, c->wish.name, 0);
    js_call(c->realm, buf_cstr(&subject), buf_str(&body), grown, c);
    json_decref(config);
    buf_free(&subject);
    buf_free(&body);
}

static void grow(struct creation *c)
{
    struct buf subject = {0};

    buf_puts(&subject, "STREAM.INFO.");
    topic_stream_name(&subject, c->wish.name, 0);
    js_call(c->realm, buf_cstr(&subject), STR_NONE, described, c);
    buf_free(&subject);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void go_on(struct creation *c)
{
    bool failed = c->outcome.error != KAFKA_NONE;

    if ((!c->swept || failed) && !c->realm->kafka->stopping && sweep(c))
        return;
    c->swept = true;
    if (failed || c->next < 0)
        finish(c);
    else if (c->next > 0 && c->next >= c->wish.from)
        make_stream(c);
    else if (c->wish.from > 0)
        grow(c);
    else
        make_stream(c);
}

static void copy_wish(struct creation *c, const struct topic_wish *wish)
{
    c->wish = *wish;
    c->wish.name = kafka_arena_str(&c->arena, wish->name);
    c->wish.configs = topic_config_copy(wish->configs, wish->nconfigs, &c->arena);
}

static void begin_creation(struct topic_turn *turn)
{
    struct creation *c = CONTAINER_OF(turn, struct creation, turn);
    struct topic t;

    if (c->wish.from == 0 && topics_find(c->realm->topics, c->wish.name, &c->arena, &t)) {
        fail(c, KAFKA_TOPIC_ALREADY_EXISTS, "a topic of that name exists");
        finish(c);
        return;
    }
    go_on(c);
}

void topic_create(struct realm *realm, const struct topic_wish *wish, topic_done_fn done, void *ctx)
{
    struct creation *c = mem_zalloc(sizeof(*c));

    c->realm = realm;
    c->done = done;
    c->ctx = ctx;
    copy_wish(c, wish);
    c->next = wish->partitions - 1;
    io_random(realm->kafka->env->io, c->outcome.id.bytes, sizeof(c->outcome.id.bytes));
    c->outcome.id.bytes[0] |= 1;
    topic_turn_wait(topics_turns(realm->topics), &c->turn, c->wish.name, realm->kafka->env,
                    begin_creation);
}

static void begin_deletion(struct topic_turn *turn)
{
    struct creation *c = CONTAINER_OF(turn, struct creation, turn);
    struct buf subject = {0};

    buf_puts(&subject, "STREAM.DELETE.");
    topic_stream_name(&subject, c->wish.name, 0);
    js_call(c->realm, buf_cstr(&subject), STR_NONE, orphan_deleted, c);
    buf_free(&subject);
}

/* Partition 0's stream first: with it the topic is gone; the others are orphans then. */
void topic_delete(struct realm *realm, struct str name, topic_done_fn done, void *ctx)
{
    struct creation *c = mem_zalloc(sizeof(*c));

    c->realm = realm;
    c->done = done;
    c->ctx = ctx;
    c->wish.name = kafka_arena_str(&c->arena, name);
    c->next = -1;
    topic_turn_wait(topics_turns(realm->topics), &c->turn, c->wish.name, realm->kafka->env,
                    begin_deletion);
}
