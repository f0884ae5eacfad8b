/* request_shapes.c - one table per type. */
#include "server/js/request_shapes.h"

#include "lib/base/assert.h"

#define M(key, what)                                                                               \
    {                                                                                              \
        .name = key, .kind = what                                                                  \
    }
#define IN(key, what, shape)                                                                       \
    {                                                                                              \
        .name = key, .kind = what, .inside = shape                                                 \
    }
#define CHOICE(key, of)                                                                            \
    {                                                                                              \
        .name = key, .kind = KIND_CHOICE, .texts = of                                              \
    }
#define CHOICE_OR(key, of, words)                                                                  \
    {                                                                                              \
        .name = key, .kind = KIND_CHOICE, .texts = of, .refusal = words                            \
    }
#define SHAPE(type, of)                                                                            \
    {                                                                                              \
        .name = type, .members = of, .n = ARRAY_LEN(of)                                            \
    }

/* ---- streams --------------------------------------------------------------------------------- */

static const char *const retentions[] = {"limits", "interest", "workqueue", NULL};
static const char *const discards[] = {"old", "new", NULL};
static const char *const storages[] = {"file", "memory", NULL};
static const char *const compressions[] = {"none", "s2", NULL};
static const char *const persist_modes[] = {"default", "async", "", NULL};

static const struct json_member placement_members[] = {
    M("cluster", KIND_STRING),
    M("tags", KIND_STRINGS),
    M("preferred", KIND_STRING),
};
static const struct json_shape placement = SHAPE("Placement", placement_members);

static const struct json_member transform_members[] = {
    M("src", KIND_STRING),
    M("dest", KIND_STRING),
};
static const struct json_shape transform = SHAPE("SubjectTransformConfig", transform_members);

static const struct json_member republish_members[] = {
    M("src", KIND_STRING),
    M("dest", KIND_STRING),
    M("headers_only", KIND_BOOL),
};
static const struct json_shape republish = SHAPE("RePublish", republish_members);

static const struct json_member limits_members[] = {
    M("inactive_threshold", KIND_DURATION),
    M("max_ack_pending", KIND_INT),
};
static const struct json_shape limits = SHAPE("StreamConsumerLimits", limits_members);

static const struct json_member external_members[] = {
    M("api", KIND_STRING),
    M("deliver", KIND_STRING),
};
static const struct json_shape external = SHAPE("ExternalStream", external_members);

static const struct json_member source_consumer_members[] = {
    M("name", KIND_STRING),
    M("deliver_subject", KIND_STRING),
};
static const struct json_shape source_consumer = SHAPE("StreamConsumerSource",
                                                       source_consumer_members);

static const struct json_member source_members[] = {
    M("name", KIND_STRING),
    M("opt_start_seq", KIND_UINT64),
    M("opt_start_time", KIND_TIME),
    M("filter_subject", KIND_STRING),
    IN("subject_transforms", KIND_OBJECTS, &transform),
    IN("external", KIND_OBJECT, &external),
    IN("consumer", KIND_OBJECT, &source_consumer),
};
static const struct json_shape source = SHAPE("StreamSource", source_members);

/* The last one belongs to requests alone. */
static const struct json_member stream_members[] = {
    M("name", KIND_STRING),
    M("description", KIND_STRING),
    M("subjects", KIND_STRINGS),
    CHOICE("retention", retentions),
    M("max_consumers", KIND_INT),
    M("max_msgs", KIND_INT64),
    M("max_bytes", KIND_INT64),
    M("max_age", KIND_DURATION),
    M("max_msgs_per_subject", KIND_INT64),
    M("max_msg_size", KIND_INT32),
    CHOICE("discard", discards),
    CHOICE("storage", storages),
    M("num_replicas", KIND_INT),
    M("no_ack", KIND_BOOL),
    M("duplicate_window", KIND_DURATION),
    IN("placement", KIND_OBJECT, &placement),
    IN("mirror", KIND_OBJECT, &source),
    {.name = "sources", .kind = KIND_OBJECTS, .inside = &source, .type = "[]*server.StreamSource"},
    CHOICE_OR("compression", compressions, "unknown compression algorithm"),
    M("first_seq", KIND_UINT64),
    IN("subject_transform", KIND_OBJECT, &transform),
    IN("republish", KIND_OBJECT, &republish),
    M("allow_direct", KIND_BOOL),
    M("mirror_direct", KIND_BOOL),
    M("discard_new_per_subject", KIND_BOOL),
    M("sealed", KIND_BOOL),
    M("deny_delete", KIND_BOOL),
    M("deny_purge", KIND_BOOL),
    M("allow_rollup_hdrs", KIND_BOOL),
    IN("consumer_limits", KIND_OBJECT, &limits),
    M("metadata", KIND_TEXT_MAP),
    M("allow_msg_ttl", KIND_BOOL),
    M("subject_delete_marker_ttl", KIND_DURATION),
    M("allow_msg_counter", KIND_BOOL),
    M("allow_atomic", KIND_BOOL),
    M("allow_msg_schedules", KIND_BOOL),
    M("allow_batched", KIND_BOOL),
    CHOICE("persist_mode", persist_modes),
    M("pedantic", KIND_BOOL),
};
const struct json_shape shape_stream_config_request = SHAPE("StreamConfigRequest", stream_members);
static const struct json_shape stream_config = {
    .name = "StreamConfig", .members = stream_members, .n = ARRAY_LEN(stream_members) - 1};

static const struct json_member lost_members[] = {
    M("msgs", KIND_UINT64S),
    M("bytes", KIND_UINT64),
};
static const struct json_shape lost = SHAPE("LostStreamData", lost_members);

static const struct json_member state_members[] = {
    M("messages", KIND_UINT64),  M("bytes", KIND_UINT64),        M("first_seq", KIND_UINT64),
    M("first_ts", KIND_TIME),    M("last_seq", KIND_UINT64),     M("last_ts", KIND_TIME),
    M("num_subjects", KIND_INT), M("subjects", KIND_NUMBER_MAP), M("num_deleted", KIND_INT),
    M("deleted", KIND_UINT64S),  IN("lost", KIND_OBJECT, &lost), M("consumer_count", KIND_INT),
};
static const struct json_shape state = SHAPE("StreamState", state_members);

static const struct json_member restore_members[] = {
    IN("config", KIND_OBJECT, &stream_config),
    IN("state", KIND_OBJECT, &state),
};
const struct json_shape shape_stream_restore_request = SHAPE("JSApiStreamRestoreRequest",
                                                             restore_members);

static const struct json_member list_members[] = {
    M("offset", KIND_INT),
    M("subject", KIND_STRING),
};
const struct json_shape shape_stream_names_request = SHAPE("JSApiStreamNamesRequest", list_members);
const struct json_shape shape_stream_list_request = SHAPE("JSApiStreamListRequest", list_members);

static const struct json_member info_members[] = {
    M("offset", KIND_INT),
    M("deleted_details", KIND_BOOL),
    M("subjects_filter", KIND_STRING),
};
const struct json_shape shape_stream_info_request = SHAPE("JSApiStreamInfoRequest", info_members);

static const struct json_member purge_members[] = {
    M("seq", KIND_UINT64),
    M("keep", KIND_UINT64),
    M("filter", KIND_STRING),
};
const struct json_shape shape_stream_purge_request = SHAPE("JSApiStreamPurgeRequest",
                                                           purge_members);

static const struct json_member snapshot_members[] = {
    M("deliver_subject", KIND_STRING), M("no_consumers", KIND_BOOL), M("chunk_size", KIND_INT),
    M("window_size", KIND_INT),        M("jsck", KIND_BOOL),
};
const struct json_shape shape_stream_snapshot_request = SHAPE("JSApiStreamSnapshotRequest",
                                                              snapshot_members);

static const struct json_member get_members[] = {
    M("seq", KIND_UINT64),         M("last_by_subj", KIND_STRING), M("next_by_subj", KIND_STRING),
    M("start_time", KIND_TIME),    M("no_hdr", KIND_BOOL),         M("batch", KIND_INT),
    M("max_bytes", KIND_INT),      M("up_to_seq", KIND_UINT64),    M("up_to_time", KIND_TIME),
    M("multi_last", KIND_STRINGS),
};
const struct json_shape shape_msg_get_request = SHAPE("JSApiMsgGetRequest", get_members);

static const struct json_member delete_members[] = {
    M("seq", KIND_UINT64),
    M("no_erase", KIND_BOOL),
};
const struct json_shape shape_msg_delete_request = SHAPE("JSApiMsgDeleteRequest", delete_members);

/* ---- consumers ------------------------------------------------------------------------------- */

static const char *const delivers[] = {
    "all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject", NULL};
static const char *const acks[] = {"none", "all", "explicit", "flow_control", NULL};
static const char *const replays[] = {"instant", "original", NULL};
static const char *const priorities[] = {"none", "overflow", "pinned_client", "prioritized", NULL};
static const char *const actions[] = {"", "create", "update", NULL};

static const struct json_member consumer_members[] = {
    M("durable_name", KIND_STRING),
    M("name", KIND_STRING),
    M("description", KIND_STRING),
    CHOICE("deliver_policy", delivers),
    M("opt_start_seq", KIND_UINT64),
    M("opt_start_time", KIND_TIME),
    CHOICE("ack_policy", acks),
    M("ack_wait", KIND_DURATION),
    M("max_deliver", KIND_INT),
    M("backoff", KIND_DURATIONS),
    M("filter_subject", KIND_STRING),
    M("filter_subjects", KIND_STRINGS),
    CHOICE("replay_policy", replays),
    M("rate_limit_bps", KIND_UINT64),
    M("sample_freq", KIND_STRING),
    M("max_waiting", KIND_INT),
    M("max_ack_pending", KIND_INT),
    M("flow_control", KIND_BOOL),
    M("headers_only", KIND_BOOL),
    M("max_batch", KIND_INT),
    M("max_expires", KIND_DURATION),
    M("max_bytes", KIND_INT),
    M("deliver_subject", KIND_STRING),
    M("deliver_group", KIND_STRING),
    M("idle_heartbeat", KIND_DURATION),
    M("inactive_threshold", KIND_DURATION),
    M("num_replicas", KIND_INT),
    M("mem_storage", KIND_BOOL),
    M("direct", KIND_BOOL),
    M("sourcing", KIND_BOOL),
    M("metadata", KIND_TEXT_MAP),
    M("pause_until", KIND_TIME),
    M("priority_groups", KIND_STRINGS),
    CHOICE_OR("priority_policy", priorities, "unknown priority policy: %"),
    M("priority_timeout", KIND_DURATION),
};
static const struct json_shape consumer_config = SHAPE("ConsumerConfig", consumer_members);

static const struct json_member create_members[] = {
    M("stream_name", KIND_STRING),
    IN("config", KIND_OBJECT, &consumer_config),
    CHOICE_OR("action", actions, "unknown consumer action: %"),
    M("pedantic", KIND_BOOL),
};
const struct json_shape shape_consumer_create_request = SHAPE("CreateConsumerRequest",
                                                              create_members);

static const struct json_member page_members[] = {M("offset", KIND_INT)};
const struct json_shape shape_consumers_request = SHAPE("JSApiConsumersRequest", page_members);

static const struct json_member pause_members[] = {M("pause_until", KIND_TIME)};
const struct json_shape shape_consumer_pause_request = SHAPE("JSApiConsumerPauseRequest",
                                                             pause_members);

static const struct json_member unpin_members[] = {M("group", KIND_STRING)};
const struct json_shape shape_consumer_unpin_request = SHAPE("JSApiConsumerUnpinRequest",
                                                             unpin_members);

static const struct json_member reset_members[] = {M("seq", KIND_UINT64)};
const struct json_shape shape_consumer_reset_request = SHAPE("JSApiConsumerResetRequest",
                                                             reset_members);

static const struct json_member next_members[] = {
    M("expires", KIND_DURATION),
    M("batch", KIND_INT),
    M("max_bytes", KIND_INT),
    M("no_wait", KIND_BOOL),
    M("idle_heartbeat", KIND_DURATION),
    M("group", KIND_STRING),
    M("id", KIND_STRING),
    M("min_pending", KIND_INT64),
    M("min_ack_pending", KIND_INT64),
    M("priority", KIND_INT),
};
const struct json_shape shape_next_request = {.members = next_members,
                                              .n = ARRAY_LEN(next_members)};
