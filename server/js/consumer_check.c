/*
 * consumer_check.c - a consumer's configuration: defaults, then the rules in the order in which
 * nats-server looks at them, so that a request with two mistakes hears of the same one.
 *
 * A pedantic request is refused where a value would be changed: a default that stands for "none"
 * but is written otherwise, or a limit of stream or server that it passes over in silence.
 */
#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/js/consumer_config.h"
#include "server/js/metadata.h"

#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000ll
#define MILLISECOND 1000000ll
#define ACK_WAIT_DEFAULT (30 * SECOND)
#define PIN_DEFAULT (120 * SECOND)
#define FLOW_HEARTBEAT SECOND
#define MAX_WAITING_DEFAULT 512
#define MAX_ACK_PENDING_DEFAULT 1000
#define HEARTBEAT_MIN (100 * MILLISECOND)
#define DESCRIPTION_MAX 4096u
#define METADATA_MAX (128u * 1024)
#define CONSUMER_NAME_MAX 255u
#define NAME_FORBIDDEN " \t\r\n\f.*>\\/"

/* ---- defaults -------------------------------------------------------------------------------- */

static bool pedantic(struct js_error *err, const char *text)
{
    return js_fail(err, JS_ERR_PEDANTIC, "%s", text);
}

/* A value below `least` becomes `instead`. */
static bool raise(int64_t *value, int64_t least, int64_t instead, const struct consumer_bounds *b,
                  const char *text, struct js_error *err)
{
    if (*value >= least)
        return true;
    if (b->pedantic)
        return pedantic(err, text);
    *value = instead;
    return true;
}

static bool raise_all(struct consumer_config *c, const struct consumer_bounds *b,
                      struct js_error *err)
{
    if (c->max_deliver == 0)
        c->max_deliver = -1;
    return raise(&c->max_deliver, -1, -1, b, "max_deliver must be set to -1", err) &&
           raise(&c->max_waiting, 0, 0, b, "max_waiting must not be negative", err) &&
           raise(&c->max_ack_pending, -1, -1, b, "max_ack_pending must be set to -1", err) &&
           raise(&c->max_batch, 0, 0, b, "max_batch must not be negative", err) &&
           raise(&c->max_expires_ns, 0, 0, b, "max_expires must not be negative", err) &&
           raise(&c->max_bytes, 0, 0, b, "max_bytes must not be negative", err) &&
           raise(&c->idle_heartbeat_ns, 0, 0, b, "idle_heartbeat must not be negative", err) &&
           raise(&c->inactive_threshold_ns, 0, 0, b, "inactive_threshold must not be negative",
                 err) &&
           raise(&c->priority_timeout_ns, 0, 0, b, "priority_timeout must not be negative", err);
}

static bool default_acks(struct consumer_config *c, const struct consumer_bounds *b,
                         struct js_error *err)
{
    if (c->ack_wait_ns == 0 && (c->ack_policy == ACK_EXPLICIT || c->ack_policy == ACK_ALL))
        c->ack_wait_ns = ACK_WAIT_DEFAULT;
    if (c->backoff.n == 0)
        return true;
    if (b->pedantic && c->ack_wait_ns != c->backoff.items[0])
        return pedantic(err, "first backoff value has to equal batch AckWait");
    c->ack_wait_ns = c->backoff.items[0];
    return true;
}

/* What the stream sets for those that say nothing. */
static bool default_limits(struct consumer_config *c, const struct consumer_bounds *b,
                           struct js_error *err)
{
    struct consumer_limits limits;

    stream_config_limits(b->stream, &limits);
    if (c->max_ack_pending == 0) {
        if (b->pedantic && limits.max_ack_pending > 0)
            return pedantic(err, "max_ack_pending must be set if it's configured in stream limits");
        c->max_ack_pending = limits.max_ack_pending;
    }
    if (c->inactive_threshold_ns == 0) {
        if (b->pedantic && limits.inactive_threshold_ns > 0)
            return pedantic(err,
                            "inactive_threshold must be set if it's configured in stream limits");
        c->inactive_threshold_ns = limits.inactive_threshold_ns;
    }
    if (c->max_ack_pending == 0 && c->ack_policy != ACK_NONE) {
        c->max_ack_pending = MAX_ACK_PENDING_DEFAULT;
        if (b->max_ack_pending > 0 && b->max_ack_pending < c->max_ack_pending)
            c->max_ack_pending = b->max_ack_pending;
        if (b->account_max_ack_pending > 0 && b->account_max_ack_pending < c->max_ack_pending)
            c->max_ack_pending = b->account_max_ack_pending;
    }
    if (c->deliver_subject == NULL && c->max_batch == 0 && b->max_batch > 0) {
        if (b->pedantic)
            return pedantic(err, "max_request_batch must be set if it's JetStream limits are set");
        c->max_batch = b->max_batch;
    }
    return true;
}

static bool set_defaults(struct consumer_config *c, const struct consumer_bounds *b,
                         struct js_error *err)
{
    if (!raise_all(c, b, err))
        return false;
    if (c->deliver_subject == NULL && c->max_waiting == 0)
        c->max_waiting = MAX_WAITING_DEFAULT;
    if (!default_acks(c, b, err) || !default_limits(c, b, err))
        return false;
    if (c->priority_policy == PRIORITY_PINNED_CLIENT && c->priority_timeout_ns == 0)
        c->priority_timeout_ns = PIN_DEFAULT;
    if (c->ack_policy == ACK_FLOW_CONTROL && !b->pedantic) {
        c->flow_control = true;
        c->idle_heartbeat_ns = FLOW_HEARTBEAT;
    }
    return true;
}

/* ---- names and numbers ----------------------------------------------------------------------- */

static bool check_names(const struct consumer_config *c, struct js_error *err)
{
    if (c->name != NULL && strpbrk(c->name, NAME_FORBIDDEN) != NULL)
        return js_fail(err, JS_ERR_STREAM_INVALID_CONFIG,
                       "consumer name can not contain '.', '*', '>', '\\', '/'");
    if (c->durable_name != NULL && strpbrk(c->durable_name, NAME_FORBIDDEN) != NULL)
        return js_fail(err, JS_ERR_STREAM_INVALID_CONFIG,
                       "consumer durable name can not contain '.', '*', '>', '\\', '/'");
    return true;
}

static bool check_replicas(const struct consumer_config *c, const struct stream_config *s,
                           struct js_error *err)
{
    if (c->num_replicas > 0 && c->num_replicas > s->num_replicas)
        return js_fail(err, JS_ERR_CONSUMER_REPLICAS_EXCEEDS_STREAM, NULL);
    if (c->num_replicas < 0)
        return js_fail(err, JS_ERR_REPLICAS_COUNT_CANNOT_BE_NEGATIVE, NULL);
    return true;
}

static bool check_waits(const struct consumer_config *c, struct js_error *err)
{
    for (size_t i = 0; i < c->backoff.n; i++)
        if (c->backoff.items[i] < 0)
            return js_fail(err, JS_ERR_CONSUMER_BACK_OFF_NEGATIVE, NULL);
    if (c->ack_wait_ns < 0)
        return js_fail(err, JS_ERR_CONSUMER_ACK_WAIT_NEGATIVE, NULL);
    return true;
}

static bool check_flow_acks(const struct consumer_config *c, struct js_error *err)
{
    if (c->ack_policy != ACK_FLOW_CONTROL)
        return true;
    if (c->deliver_subject == NULL)
        return js_fail(err, JS_ERR_CONSUMER_ACK_FC_REQUIRES_PUSH, NULL);
    if (!c->flow_control)
        return js_fail(err, JS_ERR_CONSUMER_ACK_FC_REQUIRES_FC, NULL);
    if (c->idle_heartbeat_ns != FLOW_HEARTBEAT)
        return js_fail(err, JS_ERR_STREAM_INVALID_CONFIG,
                       "flow control ack policy heartbeat needs to be 1s");
    if (c->max_ack_pending <= 0)
        return js_fail(err, JS_ERR_CONSUMER_ACK_FC_REQUIRES_MAX_ACK_PENDING, NULL);
    if (c->ack_wait_ns != 0 || c->backoff.n > 0)
        return js_fail(err, JS_ERR_CONSUMER_ACK_FC_REQUIRES_NO_ACK_WAIT, NULL);
    if (c->max_deliver > 0)
        return js_fail(err, JS_ERR_CONSUMER_ACK_FC_REQUIRES_NO_MAX_DELIVER, NULL);
    return true;
}

/* ---- the two ways of delivery ---------------------------------------------------------------- */

static bool forms_cycle(const struct stream_config *s, struct str to)
{
    for (size_t i = 0; i < s->subjects.n; i++)
        if (subject_overlap(to, str_of(s->subjects.items[i])))
            return true;
    return false;
}

static bool check_push(const struct consumer_config *c, const struct stream_config *s,
                       struct js_error *err)
{
    struct str to = str_of(c->deliver_subject);

    if (subject_has_wildcard(to))
        return js_fail(err, JS_ERR_CONSUMER_DELIVER_TO_WILDCARDS, NULL);
    if (!subject_valid(to))
        return js_fail(err, JS_ERR_CONSUMER_INVALID_DELIVER_SUBJECT, NULL);
    if (forms_cycle(s, to))
        return js_fail(err, JS_ERR_CONSUMER_DELIVER_CYCLE, NULL);
    if (c->max_waiting != 0)
        return js_fail(err, JS_ERR_CONSUMER_PUSH_MAX_WAITING, NULL);
    if (c->max_ack_pending > 0 && c->ack_policy == ACK_NONE)
        return js_fail(err, JS_ERR_CONSUMER_MAX_PENDING_ACK_POLICY_REQUIRED, NULL);
    if (c->idle_heartbeat_ns > 0 && c->idle_heartbeat_ns < HEARTBEAT_MIN)
        return js_fail(err, JS_ERR_CONSUMER_SMALL_HEARTBEAT, NULL);
    return true;
}

static bool check_pull(const struct consumer_config *c, const struct consumer_bounds *b,
                       struct js_error *err)
{
    if (c->ack_policy == ACK_NONE && b->stream->retention == RETENTION_WORKQUEUE)
        return js_fail(err, JS_ERR_CONSUMER_PULL_REQUIRES_ACK, NULL);
    if (c->rate_limit_bps > 0)
        return js_fail(err, JS_ERR_CONSUMER_PULL_WITH_RATE_LIMIT, NULL);
    if (c->idle_heartbeat_ns > 0)
        return js_fail(err, JS_ERR_CONSUMER_HB_REQUIRES_PUSH, NULL);
    if (c->flow_control)
        return js_fail(err, JS_ERR_CONSUMER_FC_REQUIRES_PUSH, NULL);
    if (c->max_expires_ns != 0 && c->max_expires_ns < MILLISECOND)
        return js_fail(err, JS_ERR_CONSUMER_MAX_REQUEST_EXPIRES_TOO_SMALL, NULL);
    if (b->max_batch > 0 && c->max_batch > b->max_batch)
        return js_fail(err, JS_ERR_CONSUMER_MAX_REQUEST_BATCH_EXCEEDED, "%lld",
                       (long long) b->max_batch);
    return true;
}

static bool check_limits(const struct consumer_config *c, const struct consumer_bounds *b,
                         struct js_error *err)
{
    struct consumer_limits limits;

    stream_config_limits(b->stream, &limits);
    if (b->max_ack_pending > 0 && c->max_ack_pending > b->max_ack_pending)
        return js_fail(err, JS_ERR_CONSUMER_MAX_PENDING_ACK_EXCESS, "%lld",
                       (long long) b->max_ack_pending);
    if (b->account_max_ack_pending > 0 && c->max_ack_pending > b->account_max_ack_pending)
        return js_fail(err, JS_ERR_CONSUMER_MAX_PENDING_ACK_EXCESS, "%lld",
                       (long long) b->account_max_ack_pending);
    if (limits.max_ack_pending > 0 && c->max_ack_pending > limits.max_ack_pending)
        return js_fail(err, JS_ERR_CONSUMER_MAX_PENDING_ACK_EXCESS, "%lld",
                       (long long) limits.max_ack_pending);
    if (limits.inactive_threshold_ns > 0 &&
        c->inactive_threshold_ns > limits.inactive_threshold_ns) {
        char text[FMT_TIME_MAX];
        fmt_go_duration(text, limits.inactive_threshold_ns);
        return js_fail(err, JS_ERR_CONSUMER_INACTIVE_THRESHOLD_EXCESS, "%s", text);
    }
    if (c->direct && c->deliver_subject == NULL)
        return js_fail(err, JS_ERR_CONSUMER_DIRECT_REQUIRES_PUSH, NULL);
    if (c->direct && c->durable_name != NULL)
        return js_fail(err, JS_ERR_CONSUMER_DIRECT_REQUIRES_EPHEMERAL, NULL);
    return true;
}

/* ---- what is delivered ----------------------------------------------------------------------- */

static bool check_filters(const struct consumer_config *c, struct js_error *err)
{
    if (c->filter_subject != NULL && c->filter_subjects.n > 0)
        return js_fail(err, JS_ERR_CONSUMER_DUPLICATE_FILTER_SUBJECTS, NULL);
    if (c->filter_subject != NULL && !subject_valid(str_of(c->filter_subject)))
        return js_fail(err, JS_ERR_STREAM_INVALID_CONFIG, "invalid subject");
    for (size_t i = 0; i < c->filter_subjects.n; i++)
        if (c->filter_subjects.items[i][0] == '\0')
            return js_fail(err, JS_ERR_CONSUMER_EMPTY_FILTER, NULL);
    for (size_t i = 0; i < c->filter_subjects.n; i++) {
        struct str s = str_of(c->filter_subjects.items[i]);
        if (!subject_valid(s))
            return js_fail(err, JS_ERR_STREAM_INVALID_CONFIG, "invalid subject");
        for (size_t k = 0; k < i; k++) {
            struct str other = str_of(c->filter_subjects.items[k]);
            if (subject_subset(s, other) || subject_subset(other, s))
                return js_fail(err, JS_ERR_CONSUMER_OVERLAPPING_SUBJECT_FILTERS, NULL);
        }
    }
    return true;
}

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
        return c->opt_start_seq == 0 || policy(err, name, "start start sequence is also set");
    default:
        break;
    }
    if (c->opt_start_seq != 0)
        return policy(err, name, "start sequence is also set");
    if (c->opt_start_time != 0)
        return policy(err, name, "start time is also set");
    if (c->deliver_policy == DELIVER_LAST_PER_SUBJECT && c->filter_subject == NULL &&
        c->filter_subjects.n == 0)
        return policy(err, name, "filter subject is not set");
    return true;
}

/* ---- the rest -------------------------------------------------------------------------------- */

static struct str sampling_text(const struct consumer_config *c)
{
    struct str s = str_of(c->sample_freq);

    return s.n > 0 && s.p[s.n - 1] == '%' ? str_take(s, s.n - 1) : s;
}

unsigned consumer_config_sampling(const struct consumer_config *c)
{
    int64_t n;

    if (c->sample_freq == NULL || !str_to_i64(sampling_text(c), &n) || n <= 0)
        return 0;
    return n < 100 ? (unsigned) n : 100;
}

static bool check_sampling(const struct consumer_config *c, struct js_error *err)
{
    int64_t n;
    struct str text;

    if (c->sample_freq == NULL)
        return true;
    text = sampling_text(c);
    if (!str_to_i64(text, &n))
        return js_fail(err, JS_ERR_CONSUMER_INVALID_SAMPLING,
                       "strconv.Atoi: parsing \"%.*s\": invalid syntax", STR_ARG(text));
    return n >= 0 || js_fail(err, JS_ERR_CONSUMER_INVALID_SAMPLING, "%s", "<nil>");
}

static bool check_metadata(const struct consumer_config *c, struct js_error *err)
{
    size_t n = 0;
    const char *key;
    json_t *value;

    if (!metadata_valid(c->metadata))
        return js_fail(err, JS_ERR_INVALID_JSON, "json: metadata is not an object of texts");
    json_object_foreach(c->metadata, key, value) n += strlen(key) + json_string_length(value);
    return n <= METADATA_MAX ||
           js_fail(err, JS_ERR_CONSUMER_METADATA_LENGTH, "%uKB", METADATA_MAX / 1024);
}

bool consumer_group_valid(const char *name)
{
    size_t n = strlen(name);

    return n >= 1 && n <= PRIORITY_GROUP_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_=-") == n;
}

static bool check_groups(const struct consumer_config *c, struct js_error *err)
{
    if (c->priority_policy == PRIORITY_NONE) {
        if (c->priority_groups.n > 0)
            return js_fail(err, JS_ERR_CONSUMER_PRIORITY_GROUP_WITH_POLICY_NONE, NULL);
        if (c->priority_timeout_ns > 0)
            return js_fail(err, JS_ERR_CONSUMER_PINNED_TTL_WITHOUT_PRIORITY_POLICY_NONE, NULL);
        return true;
    }
    if (c->deliver_subject != NULL)
        return js_fail(err, JS_ERR_CONSUMER_PUSH_WITH_PRIORITY_GROUP, NULL);
    if (c->priority_groups.n == 0)
        return js_fail(err, JS_ERR_CONSUMER_PRIORITY_POLICY_WITHOUT_GROUP, NULL);
    for (size_t i = 0; i < c->priority_groups.n; i++) {
        if (c->priority_groups.items[i][0] == '\0')
            return js_fail(err, JS_ERR_CONSUMER_EMPTY_GROUP_NAME, NULL);
        if (!consumer_group_valid(c->priority_groups.items[i]))
            return js_fail(err, JS_ERR_CONSUMER_INVALID_GROUP_NAME, NULL);
    }
    return true;
}

bool consumer_config_check_work_queue(const struct consumer_config *c,
                                      const struct stream_config *s, struct js_error *err)
{
    if (s->retention != RETENTION_WORKQUEUE || c->direct || c->sourcing)
        return true;
    if (c->ack_policy != ACK_EXPLICIT && c->ack_policy != ACK_FLOW_CONTROL)
        return js_fail(err, JS_ERR_CONSUMER_WQ_REQUIRES_EXPLICIT_ACK, NULL);
    if (c->deliver_policy != DELIVER_ALL)
        return js_fail(err, JS_ERR_CONSUMER_WQ_CONSUMER_NOT_DELIVER_ALL, NULL);
    return true;
}

static bool check_last(const struct consumer_config *c, struct js_error *err)
{
    const char *name = c->durable_name != NULL ? c->durable_name : c->name;

    if (!check_sampling(c, err))
        return false;
    if (c->flow_control && c->idle_heartbeat_ns == 0)
        return js_fail(err, JS_ERR_CONSUMER_WITH_FLOW_CONTROL_NEEDS_HEARTBEATS, NULL);
    if (c->durable_name != NULL && c->name != NULL && strcmp(c->durable_name, c->name) != 0)
        return js_fail(err, JS_ERR_CONSUMER_CREATE_DURABLE_AND_NAME_MISMATCH, NULL);
    if (!check_metadata(c, err) || !check_groups(c, err))
        return false;
    if (name != NULL && strlen(name) > CONSUMER_NAME_MAX)
        return js_fail(err, JS_ERR_CONSUMER_NAME_TOO_LONG, "%u", CONSUMER_NAME_MAX);
    return true;
}

static bool check(const struct consumer_config *c, const struct consumer_bounds *b,
                  struct js_error *err)
{
    if (!check_names(c, err) || !check_replicas(c, b->stream, err) || !check_waits(c, err) ||
        !check_flow_acks(c, err))
        return false;
    if (c->backoff.n > 0 && c->max_deliver > 0 && (size_t) c->max_deliver < c->backoff.n)
        return js_fail(err, JS_ERR_CONSUMER_MAX_DELIVER_BACKOFF, NULL);
    if (c->description != NULL && strlen(c->description) > DESCRIPTION_MAX)
        return js_fail(err, JS_ERR_CONSUMER_DESCRIPTION_TOO_LONG, "%u", DESCRIPTION_MAX);
    if (c->deliver_subject != NULL ? !check_push(c, b->stream, err) : !check_pull(c, b, err))
        return false;
    return check_limits(c, b, err) && check_filters(c, err) && check_deliver_policy(c, err) &&
           check_last(c, err);
}

bool consumer_config_check(struct consumer_config *c, const struct consumer_bounds *b,
                           struct js_error *err)
{
    if (!set_defaults(c, b, err) || !check(c, b, err))
        return false;
    if (c->durable_name != NULL && c->name == NULL)
        c->name = mem_strdup(c->durable_name);
    consumer_config_stamp(c);
    return true;
}

void consumer_config_threshold(struct consumer_config *c, const struct consumer_config *was)
{
    if (c->inactive_threshold_ns == 0 && (was != NULL ? was : c)->durable_name == NULL &&
        (was == NULL || was->inactive_threshold_ns != 0))
        c->inactive_threshold_ns = CONSUMER_INACTIVE_DEFAULT;
}
