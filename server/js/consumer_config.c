/* consumer_config.c - the table of fields, requests, and what an update may change. Defaults and
 * rules are in consumer_check.c. */
#include "server/js/consumer_config.h"

#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/js/metadata.h"

#include <stdlib.h>
#include <string.h>

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
    F("opt_start_time", JSON_TIME_FIELD, opt_start_time, JSON_OMIT_EMPTY | JSON_ZERO_TIME),
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
    F("sourcing", JSON_BOOL_FIELD, sourcing, JSON_OMIT_EMPTY),
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
    bool nothing = json.n == 0 || str_eq(str_trim(json), STR("null"));
    json_t *object = nothing ? json_object() : json_parse_object(json, &text);
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

static unsigned required_level(const struct consumer_config *c)
{
    if (c->ack_policy == ACK_FLOW_CONTROL)
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

bool consumer_config_check_update(const struct consumer_config *old,
                                  const struct consumer_config *new, struct js_error *err)
{
    const struct {
        bool differs;
        const char *text;
    } fixed[] = {
        {old->deliver_policy != new->deliver_policy, "deliver policy can not be updated"},
        {old->mem_storage != new->mem_storage, "storage type can not be updated"},
        {old->direct != new->direct, "direct can not be updated"},
        {old->sourcing != new->sourcing, "sourcing can not be updated"},
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
        .priority_policy = (enum priority_policy) c->priority_policy,
        .pin_ns = c->priority_timeout_ns,
        .groups = c->priority_groups.items,
        .ngroups = (unsigned) c->priority_groups.n,
    };
}
