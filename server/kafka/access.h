/*
 * access.h - may this client? A topic's partition is a subject, and to produce is to publish on it,
 * to read is to subscribe to it; administration is what its calls to the JetStream API are; a group
 * is the subject of its offsets. All verdicts are made on the connection's worker, before a request
 * goes anywhere.
 */
#ifndef KAFKA_ACCESS_H
#define KAFKA_ACCESS_H

#include "server/kafka/kafka_int.h"

/* Of one partition; index < 0: of any. A topic whose stream has other subjects than the topic's can
 * be read by who may subscribe to everything. */
bool access_may_write(const struct kafka_request *r, struct str topic, int32_t index);
bool access_may_read(const struct kafka_request *r, struct str topic, int32_t index);
/* Either. */
bool access_may_see(const struct kafka_request *r, const struct topic *t);
/* The call of the JetStream API about the stream of partition 0: "STREAM.CREATE". */
bool access_may_call(const struct kafka_request *r, const char *call, struct str topic);
/* Publish on the subject of its record. */
bool access_may_transact(const struct kafka_request *r, struct str transactional_id);
/* What the client may do, as the sets of bits that answers have (AclOperation's numbers). */
int32_t access_topic_operations(const struct kafka_request *r, const struct topic *t);
int32_t access_group_operations(const struct kafka_request *r, struct str group);
int32_t access_cluster_operations(const struct kafka_request *r);
bool access_may_group(const struct kafka_request *r, struct str group);

#endif
