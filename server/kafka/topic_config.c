/*
 * topic_config.c - names, defaults and meanings of a topic's configurations.
 *
 *     retention.ms        max_age, -1 = 0; below 100 ms: 100 ms, which is the least there is
 *     retention.bytes     max_bytes (of each partition)
 *     max.message.bytes   max_msg_size
 *
 * Every other one is text in the metadata of partition 0. With cleanup.policy=compact, or none,
 * nothing goes by age or size: then the first two are text there, too, for the day on which it does
 * again, and the streams have no such limits. What goes by key says compact.c, which reads
 * delete.retention.ms, min.compaction.lag.ms, max.compaction.lag.ms, min.cleanable.dirty.ratio,
 * segment.ms and segment.bytes here.
 */
#include "server/kafka/topic_config.h"

#include <stdio.h>
#include <stdlib.h>

#define MS 1000000
#define AGE_LEAST_MS 100

static const struct topic_config_key keys[] = {
    {"cleanup.policy", TOPIC_CONFIG_LIST, "delete", 0, ",,delete,compact,compact,delete,"},
    {"compression.type", TOPIC_CONFIG_STRING, "producer", 0,
     ",producer,uncompressed,gzip,snappy,lz4,zstd,"},
    {"delete.retention.ms", TOPIC_CONFIG_LONG, "86400000", 0, NULL},
    {"file.delete.delay.ms", TOPIC_CONFIG_LONG, "60000", 0, NULL},
    {"flush.messages", TOPIC_CONFIG_LONG, "9223372036854775807", 1, NULL},
    {"flush.ms", TOPIC_CONFIG_LONG, "9223372036854775807", 0, NULL},
    {"follower.replication.throttled.replicas", TOPIC_CONFIG_LIST, "", 0, NULL},
    {"index.interval.bytes", TOPIC_CONFIG_INT, "4096", 0, NULL},
    {"leader.replication.throttled.replicas", TOPIC_CONFIG_LIST, "", 0, NULL},
    {"max.compaction.lag.ms", TOPIC_CONFIG_LONG, "9223372036854775807", 1, NULL},
    {"max.message.bytes", TOPIC_CONFIG_INT, "1048588", 0, NULL},
    {"message.downconversion.enable", TOPIC_CONFIG_BOOLEAN, "true", 0, ",true,false,"},
    {"message.format.version", TOPIC_CONFIG_STRING, "3.0-IV1", 0, NULL},
    {"message.timestamp.after.max.ms", TOPIC_CONFIG_LONG, "9223372036854775807", 0, NULL},
    {"message.timestamp.before.max.ms", TOPIC_CONFIG_LONG, "9223372036854775807", 0, NULL},
    {"message.timestamp.difference.max.ms", TOPIC_CONFIG_LONG, "9223372036854775807", 0, NULL},
    {"message.timestamp.type", TOPIC_CONFIG_STRING, "CreateTime", 0, ",CreateTime,LogAppendTime,"},
    {"min.cleanable.dirty.ratio", TOPIC_CONFIG_DOUBLE, "0.5", 0, NULL},
    {"min.compaction.lag.ms", TOPIC_CONFIG_LONG, "0", 0, NULL},
    {"min.insync.replicas", TOPIC_CONFIG_INT, "1", 1, NULL},
    {"preallocate", TOPIC_CONFIG_BOOLEAN, "false", 0, ",true,false,"},
    {"retention.bytes", TOPIC_CONFIG_LONG, "-1", -1, NULL},
    {"retention.ms", TOPIC_CONFIG_LONG, "604800000", -1, NULL},
    {"segment.bytes", TOPIC_CONFIG_INT, "1073741824", 14, NULL},
    {"segment.index.bytes", TOPIC_CONFIG_INT, "10485760", 4, NULL},
    {"segment.jitter.ms", TOPIC_CONFIG_LONG, "0", 0, NULL},
    {"segment.ms", TOPIC_CONFIG_LONG, "604800000", 1, NULL},
    {"unclean.leader.election.enable", TOPIC_CONFIG_BOOLEAN, "false", 0, ",true,false,"},
};

size_t topic_config_count(void)
{
    return ARRAY_LEN(keys);
}

const struct topic_config_key *topic_config_at(size_t i)
{
    return &keys[i];
}

const struct topic_config_key *topic_config_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (str_eq(str_of(keys[i].name), name))
            return &keys[i];
    return NULL;
}

/* ---- values -----------------------------------------------------------------------------------
 */

static bool among(const char *list, struct str value)
{
    char wanted[64];

    if (value.n > sizeof(wanted) - 3)
        return false;
    snprintf(wanted, sizeof(wanted), ",%.*s,", STR_ARG(value));
    return strstr(list, wanted) != NULL;
}

static bool is_double(struct str value)
{
    char text[32], *end;

    if (value.n == 0 || value.n >= sizeof(text))
        return false;
    memcpy(text, value.p, value.n);
    text[value.n] = '\0';
    (void) strtod(text, &end);
    return *end == '\0';
}

static bool fits(const struct topic_config_key *k, struct str value)
{
    int64_t n;

    switch (k->type) {
    case TOPIC_CONFIG_INT:
    case TOPIC_CONFIG_LONG:
        return str_to_i64(value, &n) && n >= k->least &&
               (k->type == TOPIC_CONFIG_LONG || n <= INT32_MAX);
    case TOPIC_CONFIG_DOUBLE:
        return is_double(value);
    default:
        return k->among == NULL || among(k->among, value);
    }
}

bool topic_config_check(const struct topic_config_key *k, struct str value, char why[256])
{
    if (fits(k, value))
        return true;
    snprintf(why, 256, "Invalid value %.*s for configuration %s",
             (int) (value.n < 80 ? value.n : 80), value.p != NULL ? value.p : "", k->name);
    return false;
}

static const struct topic_config *stored(const struct topic *t, const char *name)
{
    for (size_t i = 0; i < t->nconfigs; i++)
        if (str_eq(t->configs[i].name, str_of(name)))
            return &t->configs[i];
    return NULL;
}

static bool is_retention(struct str name)
{
    return str_eq(name, STR("retention.ms")) || str_eq(name, STR("retention.bytes"));
}

/* The setting of the stream behind it, as Kafka says it. */
static bool mapped(const struct topic *t, const struct topic_config_key *k, int64_t *out)
{
    if (is_retention(str_of(k->name)) && t->max_age_ns <= 0 && t->max_bytes <= 0 &&
        !topic_config_has_limits(t))
        return false; /* nobody has set it, and it is not in use */
    if (strcmp(k->name, "retention.ms") == 0)
        *out = t->max_age_ns > 0 ? t->max_age_ns / MS : -1;
    else if (strcmp(k->name, "retention.bytes") == 0)
        *out = t->max_bytes > 0 ? t->max_bytes : -1;
    else if (strcmp(k->name, "max.message.bytes") == 0 && t->max_msg_size > 0)
        *out = t->max_msg_size;
    else
        return false;
    return true;
}

struct str topic_config_value(const struct topic *t, const struct topic_config_key *k,
                              struct kafka_arena *arena, bool *is_default)
{
    const struct topic_config *own = stored(t, k->name);
    struct str value = own != NULL ? own->value : str_of(k->value);
    int64_t n;

    /* What is kept in the metadata of a topic without limits is not in the stream. */
    if (own == NULL && mapped(t, k, &n))
        value = kafka_arena_text(arena, "%lld", (long long) n);
    *is_default = str_eq(value, str_of(k->value));
    return value;
}

/* ---- setting ----------------------------------------------------------------------------------
 */

static void set_number(json_t *config, const char *name, int64_t n)
{
    json_object_set_new(config, name, json_integer(n));
}

/* Milliseconds as nanoseconds; what does not fit is as good as for ever. */
static int64_t age_of(int64_t ms)
{
    return ms < 0 || ms > INT64_MAX / MS ? 0 : ms < AGE_LEAST_MS ? AGE_LEAST_MS * MS : ms * MS;
}

/* The window for duplicates may not be longer than messages live: one that would be, or that was
 * cut down to the old age, is left to the stream. */
static void set_age(json_t *config, int64_t age)
{
    int64_t window = json_integer_value(json_object_get(config, "duplicate_window"));
    int64_t old = json_integer_value(json_object_get(config, "max_age"));

    if ((age > 0 && window > age) || (old > 0 && window == old))
        json_object_del(config, "duplicate_window");
    set_number(config, "max_age", age);
}

static bool apply_mapped(struct str name, struct str value, json_t *config)
{
    int64_t n = -1;

    (void) str_to_i64(value, &n);
    if (str_eq(name, STR("retention.ms")))
        set_age(config, age_of(n));
    else if (str_eq(name, STR("retention.bytes")))
        set_number(config, "max_bytes", n == 0 ? 1 : n);
    else if (str_eq(name, STR("max.message.bytes")))
        set_number(config, "max_msg_size", n == 0 ? 1 : n);
    else
        return false;
    return true;
}

void topic_config_apply(const struct topic_config *pair, bool limits, bool first, json_t *config,
                        json_t *metadata)
{
    const struct topic_config_key *k = topic_config_find(pair->name);
    struct str value = pair->value.p != NULL ? pair->value : str_of(k->value);
    bool text = !limits && is_retention(pair->name);
    bool in_stream = !text && apply_mapped(pair->name, value, config);
    struct buf key = {0};

    if (!first)
        return;
    buf_puts(&key, "kafka.config.");
    buf_put_str(&key, pair->name);
    if (pair->value.p == NULL || in_stream)
        json_object_del(metadata, buf_cstr(&key));
    else
        json_object_set_new(metadata, buf_cstr(&key), json_stringn(value.p, value.n));
    buf_free(&key);
}

struct str topic_config_among(const struct topic_config *pairs, size_t n, struct str name)
{
    for (size_t i = n; i > 0; i--)
        if (str_eq(pairs[i - 1].name, name))
            return pairs[i - 1].value;
    return STR_NONE;
}

struct topic_config *topic_config_copy(const struct topic_config *pairs, size_t n,
                                       struct kafka_arena *arena)
{
    struct topic_config *copy = kafka_arena_alloc(arena, n * sizeof(*copy));

    for (size_t i = 0; i < n; i++) {
        copy[i].name = kafka_arena_str(arena, pairs[i].name);
        if (pairs[i].value.p != NULL)
            copy[i].value = kafka_arena_str(arena, pairs[i].value);
    }
    return copy;
}

/* Do messages' age and size count with this cleanup.policy? p == NULL: the default. */
static bool deletes(struct str policy)
{
    return policy.p == NULL || memmem(policy.p, policy.n, "delete", 6) != NULL;
}

bool topic_config_has_limits(const struct topic *t)
{
    const struct topic_config *policy = stored(t, "cleanup.policy");

    return policy == NULL || deletes(policy->value);
}

bool topic_config_limits(const struct topic_config *pairs, size_t n, bool before)
{
    for (size_t i = n; i > 0; i--)
        if (str_eq(pairs[i - 1].name, STR("cleanup.policy")))
            return deletes(pairs[i - 1].value);
    return before;
}

void topic_config_unlimit(json_t *config)
{
    set_age(config, 0);
    set_number(config, "max_bytes", -1);
}

void topic_config_finish(const struct topic_config *pairs, size_t n, json_t *config)
{
    if (!topic_config_limits(pairs, n, true))
        topic_config_unlimit(config);
    else if (topic_config_among(pairs, n, STR("retention.ms")).p == NULL)
        (void) apply_mapped(STR("retention.ms"),
                            str_of(topic_config_find(STR("retention.ms"))->value), config);
}

size_t topic_config_move(const struct topic *t, bool limits, struct kafka_arena *arena,
                         struct topic_config out[TOPIC_CONFIG_MOVED])
{
    static const char *const names[TOPIC_CONFIG_MOVED] = {"retention.ms", "retention.bytes"};

    if (limits == topic_config_has_limits(t))
        return 0;
    for (size_t i = 0; i < TOPIC_CONFIG_MOVED; i++) {
        bool is_default;
        out[i].name = str_of(names[i]);
        out[i].value = topic_config_value(t, topic_config_find(out[i].name), arena, &is_default);
        if (is_default)
            out[i].value = STR_NONE;
    }
    return TOPIC_CONFIG_MOVED;
}
