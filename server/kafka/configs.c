/*
 * configs.c - DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.
 *
 * A topic has all configurations of topic_config.c, with their defaults, because tools read all,
 * change one and write all. The broker has a few, which nobody changes this way.
 */
#include "server/kafka/access.h"
#include "server/kafka/broker_config.h"
#include "server/kafka/kafka_int.h"
#include "server/kafka/once.h"
#include "server/kafka/steps.h"
#include "server/kafka/topic_config.h"
#include "server/kafka/topic_create.h"

enum { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4 };
enum { SOURCE_TOPIC = 1, SOURCE_STATIC_BROKER = 4, SOURCE_DEFAULT = 5 };
enum { OP_SET, OP_DELETE, OP_APPEND, OP_SUBTRACT };

/* ---- DescribeConfigs ------------------------------------------------------------------------- */

typedef struct kafka_describe_configs_response_results described;
typedef struct kafka_describe_configs_request_resources asked;

static bool wanted(const asked *q, const char *name)
{
    /* null, or none: all of them */
    for (int32_t i = 0; i < q->configuration_keys_n; i++)
        if (str_eq(q->configuration_keys[i], str_of(name)))
            return true;
    return q->configuration_keys_n <= 0;
}

static bool wants_text(const struct kafka_request *r)
{
    return ((const struct kafka_describe_configs_request *) r->body)->include_documentation;
}

static bool wants_synonyms(const struct kafka_request *r)
{
    return ((const struct kafka_describe_configs_request *) r->body)->include_synonyms;
}

/* Where the value comes from, and then what it would be without that. */
static void add_synonym(struct kafka_request *r, struct kafka_describe_configs_response_configs *c,
                        struct str name, struct str value, int8_t source)
{
    if (c->synonyms == NULL)
        c->synonyms = KAFKA_NEW(&r->arena, describe_configs_response_synonyms, 2);
    c->synonyms[c->synonyms_n].name = name;
    c->synonyms[c->synonyms_n].value = value;
    c->synonyms[c->synonyms_n++].source = source;
}

static void put_topic(struct kafka_request *r, const struct topic *t, const asked *q,
                      described *out)
{
    out->configs = KAFKA_NEW(&r->arena, describe_configs_response_configs, topic_config_count());
    for (size_t i = 0; i < topic_config_count(); i++) {
        const struct topic_config_key *k = topic_config_at(i);
        struct kafka_describe_configs_response_configs *c = &out->configs[out->configs_n];
        if (!wanted(q, k->name))
            continue;
        out->configs_n++;
        c->name = str_of(k->name);
        c->value = topic_config_value(t, k, &r->arena, &c->is_default);
        c->config_source = c->is_default ? SOURCE_DEFAULT : SOURCE_TOPIC;
        c->config_type = (int8_t) k->type;
        if (wants_synonyms(r) && !c->is_default)
            add_synonym(r, c, c->name, c->value, SOURCE_TOPIC);
        /* Kafka's age of messages has no default of its own, but one in hours. */
        if (wants_synonyms(r) && strcmp(k->name, "retention.ms") != 0)
            add_synonym(r, c, c->name, str_of(k->value), SOURCE_DEFAULT);
    }
}

static void put_broker(struct kafka_request *r, const asked *q, described *out)
{
    out->configs = KAFKA_NEW(&r->arena, describe_configs_response_configs, broker_config_count());
    for (size_t i = 0; i < broker_config_count(); i++) {
        struct kafka_describe_configs_response_configs *c = &out->configs[out->configs_n];
        struct broker_setting b;
        broker_config_get(r, i, &b);
        if (!wanted(q, b.name))
            continue;
        out->configs_n++;
        c->name = str_of(b.name);
        c->value = b.value;
        c->read_only = true;
        c->is_default = b.is_default;
        c->config_source = b.is_default ? SOURCE_DEFAULT : SOURCE_STATIC_BROKER;
        c->config_type = (int8_t) b.type;
        c->documentation = wants_text(r) ? str_of(b.text) : STR_NONE;
        if (wants_synonyms(r))
            add_synonym(r, c, c->name, c->value, c->config_source);
    }
}

static bool is_this_broker(const struct kafka_request *r, struct str name)
{
    uint64_t n;

    return name.n == 0 || (str_to_u64(name, &n) && n == (uint64_t) kafka_node(r->kafka));
}

static void describe(struct kafka_request *r, const asked *q, described *out)
{
    struct topic t;

    out->resource_type = q->resource_type;
    out->resource_name = q->resource_name;
    if (q->resource_type == RESOURCE_TOPIC) {
        if (topics_find(r->realm->topics, q->resource_name, &r->arena, &t) &&
            !access_may_see(r, &t))
            out->error_code = KAFKA_TOPIC_AUTHORIZATION_FAILED;
        else if (topics_find(r->realm->topics, q->resource_name, &r->arena, &t))
            put_topic(r, &t, q, out);
        else
            out->error_code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    } else if (q->resource_type == RESOURCE_BROKER && is_this_broker(r, q->resource_name)) {
        put_broker(r, q, out);
    } else {
        out->error_code = KAFKA_INVALID_REQUEST;
        out->error_message = STR("no such resource");
    }
}

void kafka_run_describe_configs(struct kafka_request *r)
{
    const struct kafka_describe_configs_request *q = r->body;
    struct kafka_describe_configs_response *a = r->answer;
    struct once topics, others;
    uint64_t seed = kafka_seed(r);

    once_init(&topics, &r->arena, seed);
    once_init(&others, &r->arena, seed);
    a->results = KAFKA_NEW(&r->arena, describe_configs_response_results,
                           q->resources_n > 0 ? q->resources_n : 0);
    for (int32_t i = 0; i < q->resources_n; i++) {
        const asked *one = &q->resources[i];
        if (one->resource_type != RESOURCE_TOPIC && one->resource_type != RESOURCE_BROKER)
            describe(r, one, &a->results[a->results_n++]);
        else if (once_take(one->resource_type == RESOURCE_TOPIC ? &topics : &others,
                           one->resource_name))
            describe(r, one, &a->results[a->results_n++]);
    }
    once_deinit(&topics);
    once_deinit(&others);
    kafka_reply(r);
}

/* ---- changing -------------------------------------------------------------------------------- */

/* One resource of either request. */
struct change {
    int8_t type;
    struct str name;
    struct topic_config *pairs;
    size_t n;
    enum kafka_error error;
    struct str text;
};

struct changing {
    struct steps steps;
    struct kafka_request *r;
    struct change *changes;
    struct once names; /* of topics */
    bool validate_only;
    int32_t item;
    void (*put)(struct kafka_request *r, const struct change *changes, int32_t n);
};

static bool refuse(struct change *c, enum kafka_error error, struct str text)
{
    c->error = error;
    c->text = text;
    return false;
}

static bool check(struct kafka_request *r, struct change *c)
{
    char why[256];

    for (size_t i = 0; i < c->n; i++) {
        const struct topic_config_key *k = topic_config_find(c->pairs[i].name);
        if (k == NULL)
            return refuse(c, KAFKA_INVALID_CONFIG,
                          kafka_arena_text(&r->arena, "Unknown topic config name: %.*s",
                                           STR_ARG(c->pairs[i].name)));
        if (c->pairs[i].value.p != NULL && !topic_config_check(k, c->pairs[i].value, why))
            return refuse(c, KAFKA_INVALID_CONFIG, kafka_arena_text(&r->arena, "%s", why));
    }
    return true;
}

static void changed(void *ctx, const struct topic_outcome *o)
{
    struct changing *g = ctx;
    struct change *c = &g->changes[g->item];

    c->error = o->error;
    if (o->text != NULL)
        c->text = kafka_arena_text(&g->r->arena, "%s", o->text);
    steps_done(&g->steps);
}

static bool change_one(struct steps *s, int32_t i)
{
    struct changing *g = CONTAINER_OF(s, struct changing, steps);
    struct change *c = &g->changes[i];
    struct topic t;

    if (c->error != KAFKA_NONE)
        return false;
    if (c->type != RESOURCE_TOPIC)
        return refuse(c, KAFKA_INVALID_REQUEST,
                      STR("only topics can be configured by this request"));
    if (!topics_find(g->r->realm->topics, c->name, &g->r->arena, &t))
        return refuse(c, KAFKA_UNKNOWN_TOPIC_OR_PARTITION, STR_NONE);
    if (t.internal || !access_may_call(g->r, "STREAM.UPDATE", t.name))
        return refuse(c, KAFKA_TOPIC_AUTHORIZATION_FAILED, STR_NONE);
    if (!check(g->r, c) || g->validate_only)
        return false;
    g->item = i;
    topic_alter(g->r->realm, &t, c->pairs, c->n, changed, g);
    return true;
}

static void all_changed(struct steps *s)
{
    struct changing *g = CONTAINER_OF(s, struct changing, steps);

    g->put(g->r, g->changes, s->n);
    once_deinit(&g->names);
    kafka_reply(g->r);
}

static struct changing *begin(struct kafka_request *r, int32_t n, bool validate_only)
{
    struct changing *g = kafka_arena_alloc(&r->arena, sizeof(*g));

    n = n > 0 ? n : 0;
    g->r = r;
    g->validate_only = validate_only;
    once_init(&g->names, &r->arena, kafka_seed(r));
    g->changes = kafka_arena_alloc(&r->arena, (size_t) n * sizeof(*g->changes));
    g->steps = (struct steps){.n = n, .step = change_one, .end = all_changed};
    return g;
}

/* False: it came before, which is refused as by a broker. */
static bool take(struct changing *g, int32_t i, int8_t type, struct str name)
{
    struct change *c = &g->changes[i];

    c->type = type;
    c->name = name;
    if (type != RESOURCE_TOPIC || once_take(&g->names, name))
        return true;
    return refuse(c, KAFKA_INVALID_REQUEST, STR("the request names the topic twice"));
}

/* ---- AlterConfigs: what is not named gets its default ---------------------------------------- */

static void put_altered(struct kafka_request *r, const struct change *changes, int32_t n)
{
    struct kafka_alter_configs_response *a = r->answer;

    a->responses = KAFKA_NEW(&r->arena, alter_configs_response_responses, n);
    a->responses_n = n;
    for (int32_t i = 0; i < n; i++) {
        a->responses[i].error_code = (int16_t) changes[i].error;
        a->responses[i].error_message = changes[i].text;
        a->responses[i].resource_type = changes[i].type;
        a->responses[i].resource_name = changes[i].name;
    }
}

static void replace_all(struct kafka_request *r,
                        const struct kafka_alter_configs_request_resources *q, struct change *c)
{
    size_t count = topic_config_count(), own = q->configs_n > 0 ? (size_t) q->configs_n : 0;

    if (!kafka_has_room(r, (count + own) * sizeof(*c->pairs))) {
        c->error = KAFKA_INVALID_REQUEST;
        return;
    }
    c->pairs = kafka_arena_alloc(&r->arena, (count + own) * sizeof(*c->pairs));
    for (; c->n < count; c->n++)
        c->pairs[c->n].name = str_of(topic_config_at(c->n)->name);
    for (size_t i = 0; i < own; i++)
        c->pairs[c->n++] = (struct topic_config){q->configs[i].name, q->configs[i].value};
}

void kafka_run_alter_configs(struct kafka_request *r)
{
    const struct kafka_alter_configs_request *q = r->body;
    struct changing *g = begin(r, q->resources_n, q->validate_only);

    g->put = put_altered;
    for (int32_t i = 0; i < g->steps.n; i++)
        if (take(g, i, q->resources[i].resource_type, q->resources[i].resource_name))
            replace_all(r, &q->resources[i], &g->changes[i]);
    steps_run(&g->steps);
}

/* ---- IncrementalAlterConfigs ----------------------------------------------------------------- */

static void put_increments(struct kafka_request *r, const struct change *changes, int32_t n)
{
    struct kafka_incremental_alter_configs_response *a = r->answer;

    a->responses = KAFKA_NEW(&r->arena, incremental_alter_configs_response_responses, n);
    a->responses_n = n;
    for (int32_t i = 0; i < n; i++) {
        a->responses[i].error_code = (int16_t) changes[i].error;
        a->responses[i].error_message = changes[i].text;
        a->responses[i].resource_type = changes[i].type;
        a->responses[i].resource_name = changes[i].name;
    }
}

/* The list with those of `more` behind it that it does not have, or without those that it has. */
static struct str edit_list(struct kafka_arena *arena, struct str list, struct str more, bool add)
{
    struct str keep = add ? more : list, against = add ? list : more, out;
    struct buf b = {0};

    if (add)
        buf_put_str(&b, list);
    while (keep.p != NULL && keep.n > 0) {
        struct str item = str_cut(keep, ',', &keep), rest = against;
        bool found = false;
        while (rest.p != NULL && !found)
            found = str_eq(str_cut(rest, ',', &rest), item);
        if (found)
            continue;
        if (b.n > 0)
            buf_putc(&b, ',');
        buf_put_str(&b, item);
    }
    out = kafka_arena_str(arena, buf_str(&b));
    buf_free(&b);
    return out;
}

static bool increment(struct kafka_request *r, const struct topic *t,
                      const struct kafka_incremental_alter_configs_request_configs *q,
                      struct change *c)
{
    const struct topic_config_key *k = topic_config_find(q->name);
    struct topic_config *pair = &c->pairs[c->n++];
    bool is_default;

    *pair = (struct topic_config){q->name, q->value};
    if (q->config_operation == OP_DELETE) {
        pair->value = STR_NONE;
        return true;
    }
    if (q->config_operation < OP_SET || q->config_operation > OP_SUBTRACT || q->value.p == NULL)
        return refuse(c, KAFKA_INVALID_REQUEST, STR("no such operation, or no value for it"));
    if (q->config_operation == OP_SET || k == NULL)
        return true;
    if (k->type != TOPIC_CONFIG_LIST)
        return refuse(c, KAFKA_INVALID_CONFIG, STR("only lists are appended to"));
    pair->value = edit_list(&r->arena, topic_config_value(t, k, &r->arena, &is_default), q->value,
                            q->config_operation == OP_APPEND);
    return true;
}

static void increments(struct kafka_request *r,
                       const struct kafka_incremental_alter_configs_request_resources *q,
                       struct change *c)
{
    int32_t n = q->configs_n > 0 ? q->configs_n : 0;
    struct topic t;

    c->pairs = kafka_arena_alloc(&r->arena, (size_t) n * sizeof(*c->pairs));
    if (c->type != RESOURCE_TOPIC || !topics_find(r->realm->topics, c->name, &r->arena, &t))
        return; /* change_one says so */
    for (int32_t i = 0; i < n; i++)
        if (!increment(r, &t, &q->configs[i], c))
            return;
}

void kafka_run_incremental_alter_configs(struct kafka_request *r)
{
    const struct kafka_incremental_alter_configs_request *q = r->body;
    struct changing *g = begin(r, q->resources_n, q->validate_only);

    g->put = put_increments;
    for (int32_t i = 0; i < g->steps.n; i++)
        if (take(g, i, q->resources[i].resource_type, q->resources[i].resource_name))
            increments(r, &q->resources[i], &g->changes[i]);
    steps_run(&g->steps);
}
