/*
 * broker_config.h - what DescribeConfigs says of the broker: this server's settings under Kafka's
 * names, and the values that it has by its nature (one node, one copy). Nobody changes them this
 * way. Strings are the arena's or constant.
 */
#ifndef KAFKA_BROKER_CONFIG_H
#define KAFKA_BROKER_CONFIG_H

#include "server/kafka/kafka_int.h"
#include "server/kafka/topic_config.h"

struct broker_setting {
    const char *name;
    enum topic_config_type type;
    bool is_default; /* Kafka's default, or nothing that the configuration says */
    struct str value;
    const char *text; /* what it is, in a few words */
};

size_t broker_config_count(void);
void broker_config_get(struct kafka_request *r, size_t i, struct broker_setting *out);

#endif
