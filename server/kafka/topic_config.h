/*
 * topic_config.h - the configurations of a Kafka topic: their names, types and defaults, and which
 * of them are settings of the stream. The others are kept in the stream's metadata and reported.
 */
#ifndef KAFKA_TOPIC_CONFIG_H
#define KAFKA_TOPIC_CONFIG_H

#include "server/kafka/topics.h"

#include <jansson.h>

/* Kafka's numbers of types, as DescribeConfigs says them. */
enum topic_config_type {
    TOPIC_CONFIG_BOOLEAN = 1,
    TOPIC_CONFIG_STRING,
    TOPIC_CONFIG_INT,
    TOPIC_CONFIG_LONG = 5,
    TOPIC_CONFIG_DOUBLE,
    TOPIC_CONFIG_LIST,
};

struct topic_config_key {
    const char *name;
    enum topic_config_type type;
    const char *value; /* default */
    int64_t least;     /* of numbers */
    const char *among; /* of texts: the values there are, with commas around each; NULL = any */
};

size_t topic_config_count(void);
const struct topic_config_key *topic_config_at(size_t i);
/* NULL when there is no such configuration. */
const struct topic_config_key *topic_config_find(struct str name);

/* Is that a value for it? Else a text says why not. */
bool topic_config_check(const struct topic_config_key *k, struct str value, char why[256]);
/* What the topic has, in the arena; *is_default when nobody has set it. */
struct str topic_config_value(const struct topic *t, const struct topic_config_key *k,
                              struct kafka_arena *arena, bool *is_default);

/* Sets a checked pair in a stream's configuration (a JSON object) and in its metadata; limits: the
 * topic has them (below); `first`: it is partition 0's, whose metadata keeps what the stream has no
 * setting for. value.p == NULL takes it away: the default. */
void topic_config_apply(const struct topic_config *pair, bool limits, bool first, json_t *config,
                        json_t *metadata);
/* The last value of that name, p == NULL when it has none. */
struct str topic_config_among(const struct topic_config *pairs, size_t n, struct str name);
/* A copy in the arena; values that are null stay so. */
struct topic_config *topic_config_copy(const struct topic_config *pairs, size_t n,
                                       struct kafka_arena *arena);

/* A topic whose cleanup.policy has no `delete` has no limits of age and size in its streams. What
 * was set of them is kept in its metadata. */
bool topic_config_has_limits(const struct topic *t);
/* Will one have them with these pairs, that had them before or not? */
bool topic_config_limits(const struct topic_config *pairs, size_t n, bool before);
/* Takes them out of a stream's configuration. */
void topic_config_unlimit(json_t *config);
/* Pairs to be applied before all others, when that changes: they carry the retention from the
 * streams into the metadata, or back. How many. */
#define TOPIC_CONFIG_MOVED 2
size_t topic_config_move(const struct topic *t, bool limits, struct kafka_arena *arena,
                         struct topic_config out[TOPIC_CONFIG_MOVED]);
/* Of a new topic, behind all pairs: defaults that are not the stream's own. */
void topic_config_finish(const struct topic_config *pairs, size_t n, json_t *config);

#endif
