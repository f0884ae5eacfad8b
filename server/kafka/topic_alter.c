/*
 * topic_alter.c - new values for a topic's configurations: every partition's stream is read,
 * changed and written back, partition 0 last, because its metadata is what is reported.
 */
#include "lib/base/mem.h"
#include "server/kafka/topic_config.h"
#include "server/kafka/topic_create.h"

#include <jansson.h>

struct alteration {
    struct realm *realm;
    struct kafka_arena arena;
    struct str name;
    int32_t partition; /* being changed */
    struct topic_config *pairs;
    size_t n;
    struct topic_outcome outcome;
    topic_done_fn done;
    void *ctx;
};

static void ask(struct alteration *a);

static void finish(struct alteration *a)
{
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
    struct str policy;

    if (failed(a, answer))
        return;
    config = json_deep_copy(json_object_get(answer, "config"));
    metadata = json_object_get(config, "metadata");
    if (!json_is_object(metadata))
        json_object_set_new(config, "metadata", metadata = json_object());
    for (size_t i = 0; i < a->n; i++)
        topic_config_apply(&a->pairs[i], a->partition == 0, config, metadata);
    policy = topic_config_among(a->pairs, a->n, STR("cleanup.policy"));
    if (policy.p != NULL && !topic_config_deletes(policy))
        topic_config_finish(a->pairs, a->n, config);
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

void topic_alter(struct realm *realm, const struct topic *t, const struct topic_config *pairs,
                 size_t n, topic_done_fn done, void *ctx)
{
    struct alteration *a = mem_zalloc(sizeof(*a));

    a->realm = realm;
    a->done = done;
    a->ctx = ctx;
    a->name = kafka_arena_str(&a->arena, t->name);
    a->partition = t->partitions - 1;
    a->pairs = topic_config_copy(pairs, n, &a->arena);
    a->n = n;
    ask(a);
}
