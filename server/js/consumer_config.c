/* consumer_config.c - the table of fields, the defaults, and the rules in the order in which the
 * peer checks them. */
#include "server/js/consumer_config.h"

#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/js/metadata.h"

#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000ll
#define MILLISECOND 1000000ll
#define ACK_WAIT_DEFAULT (30 * SECOND)
#define MAX_WAITING_DEFAULT 512
#define MAX_ACK_PENDING_DEFAULT 1000
#define HEARTBEAT_MIN (100 * MILLISECOND)
#define DESCRIPTION_MAX 4096
#define METADATA_MAX (128 * 1024)
#define CONSUMER_NAME_MAX 255

static const char *const deliver_texts[] = {
    "all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject", NULL};
static const char *const ack_texts[] = {"none", "all", "explicit", "flow_control", NULL};
static const char *const replay_texts[] = {"instant", "original", NULL};
static const char *const priority_texts[] = {"none", "overflow", "pinned_client", "prioritized",
                                             NULL};
static const char *const action_texts[] = {"", "create", "update", NULL};

#define F(json, kind, member, how)                                                                 \
    {                                                                                              \
        json, kind, offsetof(struct consumer_config, member), how, NULL                            \
    }
#define E(json, member, how, texts)                                                                \
    {                                                                                              \
        json, JSON_ENUM_FIELD, offsetof(struct consumer_config, member), how, texts                \
    }

static const struct json_field fields[] = {
    F("durable_name", JSON_STRING_FIELD, durable_name, JSON_OMIT_EMPTY),
    F("name", JSON_STRING_FIELD, name, JSON_OMIT_EMPTY),
    F("description", JSON_STRING_FIELD, description, JSON_OMIT_EMPTY),
    E("deliver_policy", deliver_policy, 0, deliver_texts),
    F("opt_start_seq", JSON_U64_FIELD, opt_start_seq, JSON_OMIT_EMPTY),
    F("opt_start_time", JSON_TIME_FIELD, opt_start_time, JSON_OMIT_EMPTY),
    E("ack_policy", ack_policy, 0, ack_texts),
    F("ack_wait", JSON_I64_FIELD, ack_wait_ns, JSON_OMIT_EMPTY),
    F("max_deliver", JSON_I64_FIELD, max_deliver, JSON_OMIT_EMPTY),
    F("backoff", JSON_I64S_FIELD, backoff, JSON_OMIT_EMPTY),
    F("filter_subject", JSON_STRING_FIELD, filter_subject, JSON_OMIT_EMPTY),
    F("filter_subjects", JSON_LIST_FIELD, filter_subjects, JSON_OMIT_EMPTY),
    E("replay_policy", replay_policy, 0, replay_texts),
    F("rate_limit_bps", JSON_U64_FIELD, rate_limit_bps, JSON_OMIT_EMPTY),
    F("sample_freq", JSON_STRING_FIELD, sample_freq, JSON_OMIT_EMPTY),
    F("max_waiting", JSON_I64_FIELD, max_waiting, JSON_OMIT_EMPTY),
    F("max_ack_pending", JSON_I64_FIELD, max_ack_pending, JSON_OMIT_EMPTY),
    F("flow_control", JSON_BOOL_FIELD, flow_control, JSON_OMIT_EMPTY),
    F("headers_only", JSON_BOOL_FIELD, headers_only, JSON_OMIT_EMPTY),
    F("max_batch", JSON_I64_FIELD, max_batch, JSON_OMIT_EMPTY),
    F("max_expires", JSON_I64_FIELD, max_expires_ns, JSON_OMIT_EMPTY),
    F("max_bytes", JSON_I64_FIELD, max_bytes, JSON_OMIT_EMPTY),
    F("deliver_subject", JSON_STRING_FIELD, deliver_subject, JSON_OMIT_EMPTY),
    F("deliver_group", JSON_STRING_FIELD, deliver_group, JSON_OMIT_EMPTY),
    F("idle_heartbeat", JSON_I64_FIELD, idle_heartbeat_ns, JSON_OMIT_EMPTY),
    F("inactive_threshold", JSON_I64_FIELD, inactive_threshold_ns, JSON_OMIT_EMPTY),
    F("num_replicas", JSON_I64_FIELD, num_replicas, 0),
    F("mem_storage", JSON_BOOL_FIELD, mem_storage, JSON_OMIT_EMPTY),
    F("direct", JSON_BOOL_FIELD, direct, JSON_OMIT_EMPTY),
    F("metadata", JSON_RAW_FIELD, metadata, JSON_OMIT_EMPTY),
    F("pause_until", JSON_TIME_FIELD, pause_until, JSON_OMIT_EMPTY),
    F("priority_groups", JSON_LIST_FIELD, priority_groups, JSON_OMIT_EMPTY),
    E("priority_policy", priority_policy, JSON_OMIT_EMPTY, priority_texts),
    F("priority_timeout", JSON_I64_FIELD, priority_timeout_ns, JSON_OMIT_EMPTY),
};
#define NFIELDS ARRAY_LEN(fields)

struct envelope {
    char *stream_name;
    json_t *config;
    int action;
    bool pedantic;
};

static const struct json_field envelope_fields[] = {
    {"stream_name", JSON_STRING_FIELD, offsetof(struct envelope, stream_name), 0, NULL},
    {"config", JSON_RAW_FIELD, offsetof(struct envelope, config), 0, NULL},
    {"action", JSON_ENUM_FIELD, offsetof(struct envelope, action), 0, action_texts},
    {"pedantic", JSON_BOOL_FIELD, offsetof(struct envelope, pedantic), 0, NULL},
};

void consumer_config_release(struct consumer_config *c)
{
    fields_release(fields, NFIELDS, c);
}

void consumer_config_copy(struct consumer_config *to, const struct consumer_config *from)
{
    memset(to, 0, sizeof(*to));
    fields_copy(fields, NFIELDS, to, from);
}

bool consumer_config_equal(const struct consumer_config *a, const struct consumer_config *b)
{
    return fields_equal(fields, NFIELDS, a, b);
}

void consumer_config_write(struct buf *b, const struct consumer_config *c)
{
    buf_putc(b, '{');
    fields_write(b, fields, NFIELDS, c);
    buf_putc(b, '}');
}

void consumer_config_answer(struct buf *b, const struct consumer_config *c, const char *version)
{
    struct consumer_config shown = *c; /* borrows all but the metadata */

    shown.metadata = metadata_for_answer(c->metadata, version);
    consumer_config_write(b, &shown);
    json_decref(shown.metadata);
}

bool consumer_config_read(struct str json, struct consumer_config *out, struct js_error *err)
{
    struct buf text = {0};
    json_t *object = json_parse_object(json, &text);
    bool ok;

    memset(out, 0, sizeof(*out));
    ok = object != NULL && fields_read(object, fields, NFIELDS, out, true, &text) &&
         metadata_required(out->metadata) <= JS_API_LEVEL;
    if (!ok)
        js_fail(err, JS_ERR_INVALID_JSON, "%s", buf_cstr(&text));
    json_decref(object);
    buf_free(&text);
    return ok;
}

bool consumer_request_read(struct str json, bool strict, struct consumer_request *out,
                           struct js_error *err)
{
    struct buf text = {0};
    struct envelope e = {0};
    json_t *object = json_parse_object(json, &text);
    bool ok = object != NULL &&
              fields_read(object, envelope_fields, ARRAY_LEN(envelope_fields), &e, strict, &text);

    memset(out, 0, sizeof(*out));
    if (ok && e.config != NULL && !json_is_object(e.config)) {
        buf_puts(&text, "json: cannot unmarshal value into field config");
        ok = false;
    }
    if (ok && e.config != NULL)
        ok = fields_read(e.config, fields, NFIELDS, &out->config, strict, &text);
    if (!ok)
        js_fail(err, JS_ERR_INVALID_JSON, "%s", buf_cstr(&text));
    out->stream_name = e.stream_name;
    e.stream_name = NULL;
    out->action = e.action;
    out->pedantic = e.pedantic;
    fields_release(envelope_fields, ARRAY_LEN(envelope_fields), &e);
    json_decref(object);
    buf_free(&text);
    return ok;
}

void consumer_request_release(struct consumer_request *r)
{
    mem_free(r->stream_name);
    r->stream_name = NULL;
    consumer_config_release(&r->config);
}

/* ---- limits of the stream ---------------------------------------------------------------------
 */

static bool check_limits(const struct consumer_config *c, const struct consumer_limits *limits,
                         struct js_error *err)
{
    if (limits->max_ack_pending > 0 && c->max_ack_pending > limits->max_ack_pending)
        return js_fail(err, JS_ERR_CONSUMER_MAX_PENDING_ACK_EXCESS, "%lld",
                       (long long) limits->max_ack_pending);
    if (limits->inactive_threshold_ns > 0 &&
        c->inactive_threshold_ns > limits->inactive_threshold_ns) {
        char text[FMT_TIME_MAX];
        fmt_go_duration(text, limits->inactive_threshold_ns);
        return js_fail(err, JS_ERR_CONSUMER_INACTIVE_THRESHOLD_EXCESS, "%s", text);
    }
    return true;
}

/* ---- defaults -------------------------------------------------------------------------------- */

static void set_defaults(struct consumer_config *c, const struct consumer_limits *limits)
{
    bool push = c->deliver_subject != NULL;

    if (c->max_ack_pending == 0)
        c->max_ack_pending = limits->max_ack_pending;
    if (c->inactive_threshold_ns == 0)
        c->inactive_threshold_ns = limits->inactive_threshold_ns;
    if (c->max_deliver == 0 || c->max_deliver < -1)
        c->max_deliver = -1;
    if (c->ack_policy != ACK_NONE) {
        if (c->ack_wait_ns == 0)
            c->ack_wait_ns = ACK_WAIT_DEFAULT;
        if (c->backoff.n > 0)
            c->ack_wait_ns = c->backoff.items[0];
        if (c->max_ack_pending == 0)
            c->max_ack_pending = MAX_ACK_PENDING_DEFAULT;
    }
    if (!push && c->max_waiting == 0)
        c->max_waiting = MAX_WAITING_DEFAULT;
    if (c->durable_name != NULL && c->name == NULL)
        c->name = mem_strdup(c->durable_name);
    if (c->inactive_threshold_ns == 0 && c->durable_name == NULL)
        c->inactive_threshold_ns = 5 * SECOND;
}

/* ---- rules ----------------------------------------------------------------------------------- */

static bool policy(struct js_error *err, const char *is, const char *text)
{
    return js_fail(err, JS_ERR_CONSUMER_INVALID_POLICY,
                   "consumer delivery policy is deliver %s, but optional %s", is, text);
}

static bool check_deliver_policy(const struct consumer_config *c, struct js_error *err)
{
    static const char *const names[] = {
        "all", "last", "new", "by start sequence", "by start time", "last per subject"};
    const char *name = names[c->deliver_policy];

    switch (c->deliver_policy) {
    case DELIVER_BY_START_SEQUENCE:
        if (c->opt_start_seq == 0)
            return policy(err, name, "start sequence is not set");
        return c->opt_start_time == 0 || policy(err, name, "start time is also set");
    case DELIVER_BY_START_TIME:
        if (c->opt_start_time == 0)
            return policy(err, name, "start time is not set");
        return c->opt_start_seq == 0 || policy(err, name, "start sequence is also set");
    case DELIVER_LAST_PER_SUBJECT:
        if (c->filter_subject == NULL && c->filter_subjects.n == 0)
            return policy(err, name, "filter subject is not set");
        break;
    default:
        break;
    }
    if (c->opt_start_seq != 0)
        return policy(err, name, "start sequence is also set");
    if (c->opt_start_time != 0)
        return policy(err, name, "start time is also set");
    return true;
}

static bool check_push(const struct consumer_config *c, struct js_error *err)
{
    struct str to = str_of(c->deliver_subject);

    if (!subject_valid(to))
        return js_fail(err, JS_ERR_CONSUMER_INVALID_DELIVER_SUBJECT, NULL);
    if (subject_has_wildcard(to))
        return js_fail(err, JS_ERR_CONSUMER_DELIVER_TO_WILDCARDS, NULL);
    if (c->max_waiting != 0)
        return js_fail(err, JS_ERR_CONSUMER_PUSH_MAX_WAITING, NULL);
    if (c->idle_heartbeat_ns > 0 && c->idle_heartbeat_ns < HEARTBEAT_MIN)
        return js_fail(err, JS_ERR_CONSUMER_SMALL_HEARTBEAT, NULL);
    if (c->flow_control && c->idle_heartbeat_ns == 0)
        return js_fail(err, JS_ERR_CONSUMER_WITH_FLOW_CONTROL_NEEDS_HEARTBEATS, NULL);
    if (c->priority_groups.n > 0)
        return js_fail(err, JS_ERR_CONSUMER_PUSH_WITH_PRIORITY_GROUP, NULL);
    return true;
}

static bool check_pull(const struct consumer_config *c, const struct stream_config *s,
                       struct js_error *err)
{
    if (c->rate_limit_bps > 0)
        return js_fail(err, JS_ERR_CONSUMER_PULL_WITH_RATE_LIMIT, NULL);
    if (c->max_waiting < 0)
        return js_fail(err, JS_ERR_CONSUMER_MAX_WAITING_NEGATIVE, NULL);
    if (c->idle_heartbeat_ns > 0)
        return js_fail(err, JS_ERR_CONSUMER_HB_REQUIRES_PUSH, NULL);
    if (c->flow_control)
        return js_fail(err, JS_ERR_CONSUMER_FC_REQUIRES_PUSH, NULL);
    if (c->max_batch < 0)
        return js_fail(err, JS_ERR_CONSUMER_MAX_REQUEST_BATCH_NEGATIVE, NULL);
    if (c->max_expires_ns != 0 && c->max_expires_ns < MILLISECOND)
        return js_fail(err, JS_ERR_CONSUMER_MAX_REQUEST_EXPIRES_TOO_SMALL, NULL);
    if (s->retention == RETENTION_WORKQUEUE && c->ack_policy != ACK_EXPLICIT)
        return js_fail(err, JS_ERR_CONSUMER_PULL_REQUIRES_ACK, NULL);
    return true;
}

static bool check_filters(const struct consumer_config *c, struct js_error *err)
{
    if (c->filter_subject != NULL && c->filter_subjects.n > 0)
        return js_fail(err, JS_ERR_CONSUMER_DUPLICATE_FILTER_SUBJECTS, NULL);
    if (c->filter_subject != NULL && !subject_valid(str_of(c->filter_subject)))
        return js_fail(err, JS_ERR_STREAM_INVALID_CONFIG, "invalid subject");
    for (size_t i = 0; i < c->filter_subjects.n; i++) {
        struct str s = str_of(c->filter_subjects.items[i]);
        if (s.n == 0)
            return js_fail(err, JS_ERR_CONSUMER_EMPTY_FILTER, NULL);
        if (!subject_valid(s))
            return js_fail(err, JS_ERR_STREAM_INVALID_CONFIG, "invalid subject");
        for (size_t k = 0; k < i; k++)
            if (subject_overlap(s, str_of(c->filter_subjects.items[k])))
                return js_fail(err, JS_ERR_CONSUMER_OVERLAPPING_SUBJECT_FILTERS, NULL);
    }
    return true;
}

static bool check_acks(const struct consumer_config *c, const struct stream_config *s,
                       int64_t max_ack_pending_limit, struct js_error *err)
{
    if (c->ack_wait_ns < 0)
        return js_fail(err, JS_ERR_CONSUMER_ACK_WAIT_NEGATIVE, NULL);
    for (size_t i = 0; i < c->backoff.n; i++)
        if (c->backoff.items[i] < 0)
            return js_fail(err, JS_ERR_CONSUMER_BACK_OFF_NEGATIVE, NULL);
    if (c->backoff.n > 0 && c->max_deliver > 0 && (size_t) c->max_deliver < c->backoff.n)
        return js_fail(err, JS_ERR_CONSUMER_MAX_DELIVER_BACKOFF, NULL);
    if (c->deliver_subject != NULL && c->ack_policy == ACK_NONE && c->max_ack_pending > 0)
        return js_fail(err, JS_ERR_CONSUMER_MAX_PENDING_ACK_POLICY_REQUIRED, NULL);
    if (max_ack_pending_limit > 0 && c->max_ack_pending > max_ack_pending_limit)
        return js_fail(err, JS_ERR_CONSUMER_MAX_PENDING_ACK_EXCESS, "%lld",
                       (long long) max_ack_pending_limit);
    if (s->retention == RETENTION_WORKQUEUE) {
        if (c->ack_policy != ACK_EXPLICIT)
            return js_fail(err, JS_ERR_CONSUMER_WQ_REQUIRES_EXPLICIT_ACK, NULL);
        if (c->deliver_policy != DELIVER_ALL)
            return js_fail(err, JS_ERR_CONSUMER_WQ_CONSUMER_NOT_DELIVER_ALL, NULL);
    }
    return true;
}

static bool check_supported(const struct consumer_config *c, struct js_error *err)
{
    const struct {
        bool used;
        const char *name;
    } later[] = {
        {c->ack_policy == ACK_POLICY_FLOW_CONTROL, "ack policy flow_control"},
        {c->replay_policy != 0, "replay policy original"},
        {c->rate_limit_bps != 0, "rate_limit_bps"},
        {c->sample_freq != NULL, "sample_freq"},
        {c->priority_policy != 0, "priority_policy"},
        {c->direct, "direct"},
    };

    for (size_t i = 0; i < ARRAY_LEN(later); i++)
        if (later[i].used)
            return js_fail(err, JS_ERR_CONSUMER_CREATE, "%s is not supported by this version",
                           later[i].name);
    return true;
}

static bool check_names(const struct consumer_config *c, struct js_error *err)
{
    const char *name = c->durable_name != NULL ? c->durable_name : c->name;

    if (c->durable_name != NULL && c->name != NULL && strcmp(c->durable_name, c->name) != 0)
        return js_fail(err, JS_ERR_CONSUMER_CREATE_DURABLE_AND_NAME_MISMATCH, NULL);
    if (c->durable_name != NULL && strpbrk(c->durable_name, ".*>") != NULL)
        return js_fail(err, JS_ERR_CONSUMER_BAD_DURABLE_NAME, NULL);
    if (name != NULL && strlen(name) > CONSUMER_NAME_MAX)
        return js_fail(err, JS_ERR_CONSUMER_NAME_TOO_LONG, "%d", CONSUMER_NAME_MAX);
    if (name != NULL && strpbrk(name, "/\\") != NULL)
        return js_fail(err, JS_ERR_CONSUMER_NAME_CONTAINS_PATH_SEPARATORS, NULL);
    if (name != NULL && !js_name_valid(name))
        return js_fail(err, JS_ERR_STREAM_INVALID_CONFIG,
                       "consumer name can not contain '.', '*', '>', '\\', '/'");
    if (c->description != NULL && strlen(c->description) > DESCRIPTION_MAX)
        return js_fail(err, JS_ERR_CONSUMER_DESCRIPTION_TOO_LONG, "%d", DESCRIPTION_MAX);
    return true;
}

static bool check_numbers(const struct consumer_config *c, int64_t max_batch_limit,
                          struct js_error *err)
{
    if (max_batch_limit > 0 && c->max_batch > max_batch_limit)
        return js_fail(err, JS_ERR_CONSUMER_MAX_REQUEST_BATCH_EXCEEDED, "%lld",
                       (long long) max_batch_limit);
    if (c->num_replicas > 1)
        return js_fail(err, JS_ERR_STREAM_REPLICAS_NOT_SUPPORTED, NULL);
    if (!metadata_valid(c->metadata))
        return js_fail(err, JS_ERR_INVALID_JSON, "json: metadata is not an object of texts");
    if (c->metadata != NULL) {
        struct buf b = {0};
        size_t n;
        jput_raw(&b, c->metadata);
        n = b.n;
        buf_free(&b);
        if (n > METADATA_MAX)
            return js_fail(err, JS_ERR_CONSUMER_METADATA_LENGTH, "%d", METADATA_MAX);
    }
    return true;
}

static unsigned required_level(const struct consumer_config *c)
{
    if (c->ack_policy == ACK_POLICY_FLOW_CONTROL)
        return 4;
    return c->pause_until != 0 || c->priority_policy != 0 || c->priority_timeout_ns != 0 ||
                   c->priority_groups.n > 0
               ? 1
               : 0;
}

void consumer_config_stamp(struct consumer_config *c)
{
    metadata_set_required(&c->metadata, required_level(c));
}

bool consumer_config_check(struct consumer_config *c, const struct stream_config *stream,
                           int64_t max_ack_pending_limit, int64_t max_batch_limit,
                           struct js_error *err)
{
    struct consumer_limits limits;

    stream_config_limits(stream, &limits);
    if (!check_names(c, err))
        return false;
    if (c->deliver_subject != NULL ? !check_push(c, err) : !check_pull(c, stream, err))
        return false;
    if (!check_acks(c, stream, max_ack_pending_limit, err) || !check_deliver_policy(c, err) ||
        !check_filters(c, err) || !check_numbers(c, max_batch_limit, err) ||
        !check_limits(c, &limits, err) || !check_supported(c, err))
        return false;
    set_defaults(c, &limits);
    consumer_config_stamp(c);
    return true;
}

static bool changed(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") != 0;
}

bool consumer_config_check_update(const struct consumer_config *old,
                                  const struct consumer_config *new, struct js_error *err)
{
    const struct {
        bool differs;
        const char *text;
    } fixed[] = {
        {old->deliver_policy != new->deliver_policy, "deliver policy can not be updated"},
        {old->mem_storage != new->mem_storage, "storage type can not be updated"},
        {old->opt_start_seq != new->opt_start_seq, "start sequence can not be updated"},
        {old->opt_start_time != new->opt_start_time, "start time can not be updated"},
        {old->ack_policy != new->ack_policy, "ack policy can not be updated"},
        {old->replay_policy != new->replay_policy, "replay policy can not be updated"},
        {old->idle_heartbeat_ns != new->idle_heartbeat_ns, "heart beats can not be updated"},
        {old->flow_control != new->flow_control, "flow control can not be updated"},
        {old->deliver_subject == NULL && new->deliver_subject != NULL,
         "can not update pull consumer to push based"},
        {old->deliver_subject != NULL && new->deliver_subject == NULL,
         "can not update push consumer to pull based"},
        {old->max_waiting != new->max_waiting, "max waiting can not be updated"},
        {changed(old->deliver_group, new->deliver_group), "deliver group can not be updated"},
    };

    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        if (fixed[i].differs)
            return js_fail(err, JS_ERR_CONSUMER_CREATE, "%s", fixed[i].text);
    return true;
}

void consumer_config_rules(const struct consumer_config *c, struct consumer_rules *out)
{
    *out = (struct consumer_rules){
        .ack_policy = (enum ack_policy) c->ack_policy,
        .ack_wait_ns = c->ack_wait_ns,
        .backoff_ns = c->backoff.items,
        .nbackoff = (unsigned) c->backoff.n,
        .max_deliver = c->max_deliver,
        .max_ack_pending = c->max_ack_pending,
        .max_waiting = c->max_waiting > 0 ? (uint32_t) c->max_waiting : 0,
        .max_batch = c->max_batch,
        .max_expires_ns = c->max_expires_ns,
        .max_bytes = c->max_bytes,
        .push = c->deliver_subject != NULL,
    };
}
