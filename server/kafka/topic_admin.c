/*
 * topic_admin.c - CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords: the items of a
 * request one after the other, each with its own error.
 */
#include "lib/base/mem.h"
#include "server/kafka/access.h"
#include "server/kafka/kafka_int.h"
#include "server/kafka/once.h"
#include "server/kafka/steps.h"
#include "server/kafka/topic_config.h"
#include "server/kafka/topic_create.h"

#include <jansson.h>

struct admin {
    struct steps steps;
    struct kafka_request *r;
    struct once twice; /* what the request names more than once: all of that is refused */
    int32_t item;
};

static struct admin *admin_of(struct steps *s)
{
    return CONTAINER_OF(s, struct admin, steps);
}

static void all_done(struct steps *s)
{
    struct admin *a = admin_of(s);

    once_deinit(&a->twice);
    kafka_reply(a->r);
}

static void begin(struct admin *a, struct kafka_request *r)
{
    a->r = r;
    once_init(&a->twice, &r->arena, kafka_seed(r));
}

/* name: of item i. */
static void run(struct kafka_request *r, int32_t n,
                struct str (*name)(const struct kafka_request *r, int32_t i),
                bool (*step)(struct steps *s, int32_t i))
{
    struct admin *a = kafka_arena_alloc(&r->arena, sizeof(*a));
    struct once names;

    begin(a, r);
    once_init(&names, &r->arena, kafka_seed(r));
    for (int32_t i = 0; i < n; i++)
        if (!once_take(&names, name(r, i)))
            once_take(&a->twice, name(r, i));
    once_deinit(&names);
    a->steps = (struct steps){.n = n > 0 ? n : 0, .step = step, .end = all_done};
    steps_run(&a->steps);
}

static struct str text_of(struct kafka_request *r, const char *text)
{
    return text != NULL ? kafka_arena_text(&r->arena, "%s", text) : STR_NONE;
}

/* ---- CreateTopics ---------------------------------------------------------------------------- */

typedef struct kafka_create_topics_request_topics wanted_topic;
typedef struct kafka_create_topics_response_topics made_topic;

static bool refuse(made_topic *out, enum kafka_error error, struct str text)
{
    out->error_code = (int16_t) error;
    out->error_message = text;
    return false;
}

#define NAMED_TWICE STR("the request names the topic twice")

static bool check_assignments(int32_t node, const wanted_topic *w, made_topic *out)
{
    if (w->num_partitions != -1 || w->replication_factor != -1)
        return refuse(out, KAFKA_INVALID_REQUEST,
                      STR("partitions and replication factor must be -1 beside assignments"));
    for (int32_t i = 0; i < w->assignments_n; i++)
        if (w->assignments[i].partition_index != i || w->assignments[i].broker_ids_n < 1 ||
            w->assignments[i].broker_ids[0] != node)
            return refuse(out, KAFKA_INVALID_REPLICA_ASSIGNMENT,
                          STR("partitions are 0, 1, ... and this broker has them"));
    return true;
}

static bool check_counts(int32_t node, const wanted_topic *w, made_topic *out)
{
    if (w->assignments_n > 0 && !check_assignments(node, w, out))
        return false;
    if (w->assignments_n <= 0 && (w->num_partitions == 0 || w->num_partitions < -1))
        return refuse(out, KAFKA_INVALID_PARTITIONS,
                      STR("the number of partitions must be larger than 0"));
    if (w->num_partitions > TOPIC_PARTITIONS_MAX || w->assignments_n > TOPIC_PARTITIONS_MAX)
        return refuse(out, KAFKA_INVALID_PARTITIONS, STR("more than 1024 partitions"));
    if (w->assignments_n <= 0 && (w->replication_factor == 0 || w->replication_factor < -1))
        return refuse(out, KAFKA_INVALID_REPLICATION_FACTOR,
                      STR("the replication factor must be larger than 0"));
    return true;
}

static bool check_configs(struct kafka_request *r, const wanted_topic *w, made_topic *out)
{
    char why[256];

    for (int32_t i = 0; i < w->configs_n; i++) {
        const struct topic_config_key *k = topic_config_find(w->configs[i].name);
        if (k == NULL)
            return refuse(out, KAFKA_INVALID_CONFIG,
                          kafka_arena_text(&r->arena, "Unknown topic config name: %.*s",
                                           STR_ARG(w->configs[i].name)));
        if (w->configs[i].value.p == NULL)
            return refuse(out, KAFKA_INVALID_CONFIG,
                          kafka_arena_text(&r->arena,
                                           "Null value not supported for topic config: "
                                           "%s",
                                           k->name));
        if (!topic_config_check(k, w->configs[i].value, why))
            return refuse(out, KAFKA_INVALID_CONFIG, kafka_arena_text(&r->arena, "%s", why));
    }
    return true;
}

static bool check_topic(const struct admin *a, int32_t i, made_topic *out)
{
    struct kafka_request *r = a->r;
    const struct kafka_create_topics_request *q = r->body;
    const wanted_topic *w = &q->topics[i];
    struct topic t;

    if (once_has(&a->twice, w->name))
        return refuse(out, KAFKA_INVALID_REQUEST, NAMED_TWICE);
    if (!topic_name_valid(w->name))
        return refuse(out, KAFKA_INVALID_TOPIC_EXCEPTION,
                      STR("a topic's name has 1 to 249 letters, digits, dots, _ and -"));
    if (topics_find(r->realm->topics, w->name, &r->arena, &t))
        return refuse(
            out, KAFKA_TOPIC_ALREADY_EXISTS,
            kafka_arena_text(&r->arena, "Topic '%.*s' already exists.", STR_ARG(w->name)));
    if (topic_name_reserved(w->name))
        return refuse(out, KAFKA_INVALID_TOPIC_EXCEPTION, STR("the name is the server's own"));
    if (!access_may_call(r, "STREAM.CREATE", w->name))
        return refuse(out, KAFKA_TOPIC_AUTHORIZATION_FAILED, STR_NONE);
    return check_counts(kafka_node(r->kafka), w, out) && check_configs(r, w, out);
}

/* What version 5 and later say of a topic that was made, or would have been. */
static void put_configs(struct kafka_request *r, const struct topic *t, made_topic *out)
{
    size_t n = topic_config_count();

    out->configs = KAFKA_NEW(&r->arena, create_topics_response_configs, n);
    out->configs_n = (int32_t) n;
    for (size_t i = 0; i < n; i++) {
        const struct topic_config_key *k = topic_config_at(i);
        bool is_default;
        out->configs[i].name = str_of(k->name);
        out->configs[i].value = topic_config_value(t, k, &r->arena, &is_default);
        out->configs[i].config_source = is_default ? 5 : 1;
    }
}

static void topic_made(void *ctx, const struct topic_outcome *o)
{
    struct admin *a = ctx;
    struct kafka_create_topics_response *answer = a->r->answer;
    made_topic *out = &answer->topics[a->item];
    struct topic t;

    out->error_code = (int16_t) o->error;
    out->error_message = text_of(a->r, o->text);
    if (o->error == KAFKA_NONE) {
        out->topic_id = o->id;
        if (topics_find(a->r->realm->topics, out->name, &a->r->arena, &t))
            put_configs(a->r, &t, out);
    } else {
        out->num_partitions = -1;
        out->replication_factor = -1;
    }
    steps_done(&a->steps);
}

static bool create_one(struct steps *s, int32_t i)
{
    struct admin *a = admin_of(s);
    const struct kafka_create_topics_request *q = a->r->body;
    struct kafka_create_topics_response *answer = a->r->answer;
    const wanted_topic *w = &q->topics[i];
    made_topic *out = &answer->topics[i];
    struct topic_config *configs;
    int32_t n = w->assignments_n > 0 ? w->assignments_n : w->num_partitions;

    out->name = w->name;
    out->configs_n = -1;
    if (!check_topic(a, i, out))
        return false;
    if (n == -1)
        n = (int32_t) a->r->kafka->env->options->kafka_num_partitions;
    out->num_partitions = n;
    out->replication_factor = 1;
    if (q->validate_only)
        return false;
    configs = kafka_arena_alloc(&a->r->arena, (size_t) (w->configs_n + 1) * sizeof(*configs));
    for (int32_t k = 0; k < w->configs_n; k++)
        configs[k] = (struct topic_config){w->configs[k].name, w->configs[k].value};
    a->item = i;
    topic_create(a->r->realm,
                 &(struct topic_wish){.name = w->name,
                                      .partitions = n,
                                      .configs = configs,
                                      .nconfigs = w->configs_n > 0 ? (size_t) w->configs_n : 0},
                 topic_made, a);
    return true;
}

static struct str created_name(const struct kafka_request *r, int32_t i)
{
    return ((const struct kafka_create_topics_request *) r->body)->topics[i].name;
}

void kafka_run_create_topics(struct kafka_request *r)
{
    const struct kafka_create_topics_request *q = r->body;
    struct kafka_create_topics_response *a = r->answer;
    int32_t n = q->topics_n > 0 ? q->topics_n : 0;

    a->topics = KAFKA_NEW(&r->arena, create_topics_response_topics, n);
    a->topics_n = n;
    run(r, n, created_name, create_one);
}

/* ---- DeleteTopics ---------------------------------------------------------------------------- */

static void topic_deleted(void *ctx, const struct topic_outcome *o)
{
    struct admin *a = ctx;
    struct kafka_delete_topics_response *answer = a->r->answer;

    answer->responses[a->item].error_code = (int16_t) o->error;
    answer->responses[a->item].error_message = text_of(a->r, o->text);
    steps_done(&a->steps);
}

/* Or the bytes of its id. */
static struct str deleted_name(const struct kafka_request *r, int32_t i)
{
    const struct kafka_delete_topics_request *q = r->body;
    struct str name = r->header.version < 6 ? q->topic_names[i] : q->topics[i].name;

    return name.p != NULL || r->header.version < 6
               ? name
               : str_from(&q->topics[i].topic_id, sizeof(q->topics[i].topic_id));
}

static bool delete_one(struct steps *s, int32_t i)
{
    struct admin *a = admin_of(s);
    const struct kafka_delete_topics_request *q = a->r->body;
    struct kafka_delete_topics_response *answer = a->r->answer;
    struct topics *topics = a->r->realm->topics;
    bool old = a->r->header.version < 6, by_id;
    struct str name = old ? q->topic_names[i] : q->topics[i].name;
    struct topic t;

    by_id = name.p == NULL;
    answer->responses[i].name = name;
    if (!old)
        answer->responses[i].topic_id = q->topics[i].topic_id;
    if (once_has(&a->twice, deleted_name(a->r, i))) {
        answer->responses[i].error_code = KAFKA_INVALID_REQUEST;
        answer->responses[i].error_message = NAMED_TWICE;
        return false;
    }
    if (by_id ? topics_find_id(topics, &q->topics[i].topic_id, &a->r->arena, &t)
              : topics_find(topics, name, &a->r->arena, &t)) {
        answer->responses[i].name = t.name;
        answer->responses[i].topic_id = t.id;
        if (t.internal || !access_may_call(a->r, "STREAM.DELETE", t.name)) {
            answer->responses[i].error_code = KAFKA_TOPIC_AUTHORIZATION_FAILED;
            return false;
        }
        a->item = i;
        topic_delete(a->r->realm, t.name, topic_deleted, a);
        return true;
    }
    answer->responses[i].error_code = by_id ? KAFKA_UNKNOWN_TOPIC_ID
                                            : KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    return false;
}

void kafka_run_delete_topics(struct kafka_request *r)
{
    const struct kafka_delete_topics_request *q = r->body;
    struct kafka_delete_topics_response *a = r->answer;
    int32_t n = r->header.version < 6 ? q->topic_names_n : q->topics_n;

    a->responses = KAFKA_NEW(&r->arena, delete_topics_response_responses, n > 0 ? n : 0);
    a->responses_n = n > 0 ? n : 0;
    run(r, n, deleted_name, delete_one);
}

/* ---- CreatePartitions ------------------------------------------------------------------------ */

typedef struct kafka_create_partitions_response_results grown_topic;

static bool no_growth(grown_topic *out, enum kafka_error error, struct str text)
{
    out->error_code = (int16_t) error;
    out->error_message = text;
    return false;
}

static void topic_grown(void *ctx, const struct topic_outcome *o)
{
    struct admin *a = ctx;
    struct kafka_create_partitions_response *answer = a->r->answer;

    answer->results[a->item].error_code = (int16_t) o->error;
    answer->results[a->item].error_message = text_of(a->r, o->text);
    steps_done(&a->steps);
}

/* No assignments, or one to this node for each new partition. */
static bool assigned_here(int32_t node, const struct kafka_create_partitions_request_topics *t,
                          int32_t new)
{
    if (t->assignments_n <= 0)
        return true;
    for (int32_t i = 0; i < t->assignments_n; i++)
        if (t->assignments[i].broker_ids_n != 1 || t->assignments[i].broker_ids[0] != node)
            return false;
    return t->assignments_n == new;
}

static bool grow_one(struct steps *s, int32_t i)
{
    struct admin *a = admin_of(s);
    struct kafka_request *r = a->r;
    const struct kafka_create_partitions_request *q = r->body;
    struct kafka_create_partitions_response *answer = r->answer;
    grown_topic *out = &answer->results[i];
    int32_t count = q->topics[i].count;
    struct topic t;

    out->name = q->topics[i].name;
    if (once_has(&a->twice, out->name))
        return no_growth(out, KAFKA_INVALID_REQUEST, NAMED_TWICE);
    if (!topics_find(r->realm->topics, out->name, &r->arena, &t))
        return no_growth(out, KAFKA_UNKNOWN_TOPIC_OR_PARTITION, STR_NONE);
    if (t.internal || !access_may_call(r, "STREAM.UPDATE", t.name))
        return no_growth(out, KAFKA_TOPIC_AUTHORIZATION_FAILED, STR_NONE);
    if (count <= t.partitions)
        return no_growth(out, KAFKA_INVALID_PARTITIONS,
                         kafka_arena_text(&r->arena,
                                          "The topic %.*s currently has %d partition(s); %d would "
                                          "not be an increase.",
                                          STR_ARG(out->name), t.partitions, count));
    if (!assigned_here(kafka_node(r->kafka), &q->topics[i], count - t.partitions))
        return no_growth(out, KAFKA_INVALID_REPLICA_ASSIGNMENT,
                         STR("every new partition is this broker's"));
    if (count > TOPIC_PARTITIONS_MAX)
        return no_growth(out, KAFKA_INVALID_PARTITIONS, STR("more than 1024 partitions"));
    if (!t.plain)
        return no_growth(out, KAFKA_INVALID_PARTITIONS,
                         STR("the topic is a stream with subjects of its own"));
    if (q->validate_only)
        return false;
    a->item = i;
    topic_create(r->realm,
                 &(struct topic_wish){.name = t.name, .partitions = count, .from = t.partitions},
                 topic_grown, a);
    return true;
}

static struct str grown_name(const struct kafka_request *r, int32_t i)
{
    return ((const struct kafka_create_partitions_request *) r->body)->topics[i].name;
}

void kafka_run_create_partitions(struct kafka_request *r)
{
    const struct kafka_create_partitions_request *q = r->body;
    struct kafka_create_partitions_response *a = r->answer;
    int32_t n = q->topics_n > 0 ? q->topics_n : 0;

    a->results = KAFKA_NEW(&r->arena, create_partitions_response_results, n);
    a->results_n = n;
    run(r, n, grown_name, grow_one);
}

/* ---- DeleteRecords: the stream's state says whether the offset exists, then it is purged ----- */

struct cutting {
    struct admin admin;
    int32_t topic, next; /* the partition that comes next */
    const struct kafka_delete_records_request_partitions *q;
    struct kafka_delete_records_response_partitions *out;
    char stream[300];
    int64_t start; /* the first offset before */
};

static struct cutting *cutting_of(struct steps *s)
{
    return CONTAINER_OF(s, struct cutting, admin.steps);
}

static void purged(void *ctx, const json_t *answer)
{
    struct cutting *c = ctx;
    const char *text;
    int code = js_call_error(answer, &text);

    if (code != 0) {
        c->out->error_code = (int16_t) topic_error_of(code);
        c->out->low_watermark = -1;
    }
    steps_done(&c->admin.steps);
}

static int64_t state_of(const json_t *answer, const char *field)
{
    return json_integer_value(json_object_get(json_object_get(answer, "state"), field));
}

static void looked_at(void *ctx, const json_t *answer)
{
    struct cutting *c = ctx;
    const char *text;
    int code = js_call_error(answer, &text);
    int64_t end = state_of(answer, "last_seq"), first = state_of(answer, "first_seq");
    int64_t upto = c->q->offset == -1 ? end : c->q->offset;
    struct buf subject = {0}, body = {0};

    c->start = first > 0 ? first - 1 : 0;
    if (code != 0 || upto > end || upto < 0) {
        c->out->error_code = (int16_t) (code != 0 ? topic_error_of(code)
                                                  : KAFKA_OFFSET_OUT_OF_RANGE);
        steps_done(&c->admin.steps);
        return;
    }
    c->out->low_watermark = upto > c->start ? upto : c->start;
    if (upto <= c->start) {
        steps_done(&c->admin.steps);
        return;
    }
    buf_printf(&subject, "STREAM.PURGE.%s", c->stream);
    buf_printf(&body, "{\"seq\":%lld}", (long long) upto + 1);
    js_call(c->admin.r->realm, buf_cstr(&subject), buf_str(&body), purged, c);
    buf_free(&subject);
    buf_free(&body);
}

static bool cut_one(struct steps *s, int32_t i)
{
    struct cutting *c = cutting_of(s);
    struct kafka_request *r = c->admin.r;
    const struct kafka_delete_records_request *q = r->body;
    struct kafka_delete_records_response *answer = r->answer;
    struct buf subject = {0}, name = {0};
    struct topic_place place;

    (void) i;
    while (c->next >= answer->topics[c->topic].partitions_n) {
        c->topic++;
        c->next = 0;
    }
    int32_t t = c->topic;
    c->q = &q->topics[t].partitions[c->next];
    c->out = &answer->topics[t].partitions[c->next++];
    c->out->partition_index = c->q->partition_index;
    c->out->low_watermark = -1;
    if (!topics_partition(r->realm->topics, q->topics[t].name, c->q->partition_index, &place)) {
        c->out->error_code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
        return false;
    }
    if (!access_may_call(r, "STREAM.PURGE", q->topics[t].name)) {
        c->out->error_code = KAFKA_TOPIC_AUTHORIZATION_FAILED;
        return false;
    }
    topic_stream_name(&name, q->topics[t].name, c->q->partition_index);
    if (name.n >= sizeof(c->stream)) { /* dots take three bytes each */
        c->out->error_code = KAFKA_INVALID_TOPIC_EXCEPTION;
        buf_free(&name);
        return false;
    }
    memcpy(c->stream, buf_cstr(&name), name.n + 1);
    buf_printf(&subject, "STREAM.INFO.%s", c->stream);
    js_call(r->realm, buf_cstr(&subject), STR_NONE, looked_at, c);
    buf_free(&subject);
    buf_free(&name);
    return true;
}

void kafka_run_delete_records(struct kafka_request *r)
{
    const struct kafka_delete_records_request *q = r->body;
    struct kafka_delete_records_response *a = r->answer;
    struct cutting *c = kafka_arena_alloc(&r->arena, sizeof(*c));
    int32_t topics = q->topics_n > 0 ? q->topics_n : 0, n = 0;

    a->topics = KAFKA_NEW(&r->arena, delete_records_response_topics, topics);
    a->topics_n = topics;
    for (int32_t i = 0; i < topics; i++) {
        int32_t count = q->topics[i].partitions_n > 0 ? q->topics[i].partitions_n : 0;
        a->topics[i].name = q->topics[i].name;
        a->topics[i].partitions = KAFKA_NEW(&r->arena, delete_records_response_partitions, count);
        a->topics[i].partitions_n = count;
        n += count;
    }
    begin(&c->admin, r);
    c->admin.steps = (struct steps){.n = n, .step = cut_one, .end = all_done};
    steps_run(&c->admin.steps);
}
