/* access.c - see access.h. */
#include "server/kafka/access.h"

#include "server/auth/permissions.h"
#include "server/kafka/committed.h"
#include "server/kafka/txn_record.h"

/* Frees the subject. */
static bool may_publish(const struct permissions *may, struct buf *subject)
{
    bool ok = permissions_may_publish(may, buf_str(subject));

    buf_free(subject);
    return ok;
}

static bool may_read(const struct permissions *may, struct str subject, bool plain)
{
    if (!plain)
        return permissions_may_subscribe(may, STR(">"), STR_NONE);
    return permissions_may_subscribe(may, subject, STR_NONE) &&
           !permissions_deny_delivery(may, subject, STR_NONE);
}

/* The subject of a partition, or ("any") of the first one. */
static void put_subject(struct buf *out, struct str topic, int32_t index, int32_t partitions)
{
    topic_subject(out, topic, index > 0 ? index : 0, partitions);
}

bool access_may_write(const struct kafka_request *r, struct str topic, int32_t index)
{
    struct buf subject = {0};
    struct topic_place place;

    if (r->conn->may == NULL)
        return !r->conn->revoked;
    if (!topics_partition(r->realm->topics, topic, 0, &place))
        return true;
    put_subject(&subject, topic, index, place.partitions);
    return may_publish(r->conn->may, &subject);
}

bool access_may_read(const struct kafka_request *r, struct str topic, int32_t index)
{
    struct buf subject = {0};
    struct topic_place place;
    bool ok;

    if (r->conn->may == NULL)
        return !r->conn->revoked;
    if (!topics_partition(r->realm->topics, topic, 0, &place))
        return true;
    put_subject(&subject, topic, index, place.partitions);
    ok = may_read(r->conn->may, buf_str(&subject), place.plain);
    buf_free(&subject);
    return ok;
}

bool access_may_see(const struct kafka_request *r, const struct topic *t)
{
    return access_may_read(r, t->name, -1) || access_may_write(r, t->name, -1);
}

bool access_may_call(const struct kafka_request *r, const char *call, struct str topic)
{
    struct buf subject = {0};

    if (r->conn->may == NULL)
        return !r->conn->revoked;
    buf_printf(&subject, "$JS.API.%s.", call);
    topic_stream_name(&subject, topic, 0);
    return may_publish(r->conn->may, &subject);
}

bool access_may_group(const struct kafka_request *r, struct str group)
{
    struct buf subject = {0};

    if (r->conn->may == NULL)
        return !r->conn->revoked;
    committed_put_group_subject(&subject, group);
    return may_publish(r->conn->may, &subject);
}

bool access_may_transact(const struct kafka_request *r, struct str transactional_id)
{
    struct buf subject = {0};

    if (r->conn->may == NULL)
        return !r->conn->revoked;
    txn_put_subject(&subject, transactional_id);
    return may_publish(r->conn->may, &subject);
}

/* ---- sets of operations ---------------------------------------------------------------------- */

enum {
    OP_READ = 1 << 3,
    OP_WRITE = 1 << 4,
    OP_CREATE = 1 << 5,
    OP_DELETE = 1 << 6,
    OP_ALTER = 1 << 7,
    OP_DESCRIBE = 1 << 8,
    OP_CLUSTER_ACTION = 1 << 9,
    OP_DESCRIBE_CONFIGS = 1 << 10,
    OP_ALTER_CONFIGS = 1 << 11,
    OP_IDEMPOTENT_WRITE = 1 << 12,
};

int32_t access_topic_operations(const struct kafka_request *r, const struct topic *t)
{
    int32_t ops = 0;

    if (access_may_read(r, t->name, -1))
        ops |= OP_READ;
    if (access_may_write(r, t->name, -1))
        ops |= OP_WRITE;
    if (ops != 0)
        ops |= OP_DESCRIBE | OP_DESCRIBE_CONFIGS;
    if (access_may_call(r, "STREAM.CREATE", t->name))
        ops |= OP_CREATE;
    if (access_may_call(r, "STREAM.DELETE", t->name))
        ops |= OP_DELETE;
    if (access_may_call(r, "STREAM.UPDATE", t->name))
        ops |= OP_ALTER | OP_ALTER_CONFIGS;
    return ops;
}

int32_t access_group_operations(const struct kafka_request *r, struct str group)
{
    return access_may_group(r, group) ? OP_READ | OP_DELETE | OP_DESCRIBE : 0;
}

/* Who has no permissions of their own is told what a broker without an authorizer tells. */
int32_t access_cluster_operations(const struct kafka_request *r)
{
    int32_t ops = OP_DESCRIBE | OP_DESCRIBE_CONFIGS | OP_IDEMPOTENT_WRITE;

    if (r->conn->may == NULL && !r->conn->revoked)
        ops |= OP_CREATE | OP_ALTER | OP_CLUSTER_ACTION | OP_ALTER_CONFIGS;
    return ops;
}
