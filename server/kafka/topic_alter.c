/*
 * topic_alter.c - new values for a topic's configurations: every partition's stream is read,
 * changed and written back, partition 0 last, because its metadata is what is reported. Nobody else
 * makes or alters it meanwhile (topic_turn.h).
 */
#include "lib/base/mem.h"
#include "server/kafka/topic_config.h"
#include "server/kafka/topic_create.h"
#include "server/kafka/topic_turn.h"

#include <jansson.h>
#include <string.h>

struct alteration {
    struct realm *realm;
    struct topic_turn turn;
    struct kafka_arena arena;
    struct str name;
    int32_t partition; /* being changed */
    struct topic_config *pairs;
    size_t n;
    bool limits, had_limits;
    struct topic_outcome outcome;
    topic_done_fn done;
    void *ctx;
};

static void ask(struct alteration *a);

static void finish(struct alteration *a)
{
    topic_turn_pass(topics_turns(a->realm->topics), &a->turn, a->realm->kafka->env);
    a->done(a->ctx, &a->outcome);
    kafka_arena_free(&a->arena);
    mem_free(a);
}

static bool failed(struct alteration *a, const json_t *answer)
{
    const char *text;
    int code = js_call_error(answer, &text);

    if (code == 0)
        return false;
    a->outcome.error = topic_error_of(code);
    a->outcome.text = kafka_arena_text(&a->arena, "%s", text).p;
    finish(a);
    return true;
}

static void written(void *ctx, const json_t *answer)
{
    struct alteration *a = ctx;

    if (failed(a, answer))
        return;
    if (a->partition-- == 0)
        finish(a);
    else
        ask(a);
}

static void read_back(void *ctx, const json_t *answer)
{
    struct alteration *a = ctx;
    struct buf subject = {0}, body = {0};
    json_t *config, *metadata;

    if (failed(a, answer))
        return;
    config = json_deep_copy(json_object_get(answer, "config"));
    metadata = json_object_get(config, "metadata");
    if (!json_is_object(metadata))
        json_object_set_new(config, "metadata", metadata = json_object());
    for (size_t i = 0; i < a->n; i++)
        topic_config_apply(&a->pairs[i], a->limits, a->partition == 0, config, metadata);
    if (a->limits != a->had_limits && !a->limits)
        topic_config_unlimit(config);
    topic_put_json(&body, config);
    buf_puts(&subject, "STREAM.UPDATE.");
    topic_stream_name(&subject, a->name, a->partition);
    js_call(a->realm, buf_cstr(&subject), buf_str(&body), written, a);
    json_decref(config);
    buf_free(&subject);
    buf_free(&body);
}

static void ask(struct alteration *a)
{
    struct buf subject = {0};

    buf_puts(&subject, "STREAM.INFO.");
    topic_stream_name(&subject, a->name, a->partition);
    js_call(a->realm, buf_cstr(&subject), STR_NONE, read_back, a);
    buf_free(&subject);
}

/* It may have more partitions by now. */
static void begin(struct topic_turn *turn)
{
    struct alteration *a = CONTAINER_OF(turn, struct alteration, turn);
    struct topic_place place;

    if (topics_partition(a->realm->topics, a->name, 0, &place))
        a->partition = place.partitions - 1;
    ask(a);
}

void topic_alter(struct realm *realm, const struct topic *t, const struct topic_config *pairs,
                 size_t n, topic_done_fn done, void *ctx)
{
    struct alteration *a = mem_zalloc(sizeof(*a));
    struct topic_config moved[TOPIC_CONFIG_MOVED], *all;
    size_t m;

    a->realm = realm;
    a->done = done;
    a->ctx = ctx;
    a->name = kafka_arena_str(&a->arena, t->name);
    a->partition = t->partitions - 1;
    a->had_limits = topic_config_has_limits(t);
    a->limits = topic_config_limits(pairs, n, a->had_limits);
    m = topic_config_move(t, a->limits, &a->arena, moved);
    all = kafka_arena_alloc(&a->arena, (m + n) * sizeof(*all));
    memcpy(all, moved, m * sizeof(*all));
    if (n > 0)
        memcpy(all + m, pairs, n * sizeof(*all));
    a->pairs = topic_config_copy(all, m + n, &a->arena);
    a->n = m + n;
    topic_turn_wait(topics_turns(realm->topics), &a->turn, a->name, realm->kafka->env, begin);
}
