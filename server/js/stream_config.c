/* stream_config.c - the table of fields, the defaults, and the rules in the order in which the peer
 * checks them. */
#include "server/js/stream_config.h"

#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/js/metadata.h"
#include "server/js/source_config.h"
#include "server/js/stream_subjects.h"

#include <string.h>

#define NAME_MAX_BYTES 255
#define DESCRIPTION_MAX 4096
#define METADATA_MAX (128 * 1024)
#define REPLICAS_MAX 5
#define SECOND 1000000000ll
#define AGE_MIN (100 * 1000000ll)
#define DUPLICATES_DEFAULT (2 * 60 * SECOND)

static const char *const retention_texts[] = {"limits", "interest", "workqueue", NULL};
static const char *const discard_texts[] = {"old", "new", NULL};
static const char *const storage_texts[] = {"file", "memory", NULL};
static const char *const compression_texts[] = {"none", "s2", NULL};
/* The last one is another way to say the first. */
static const char *const persist_texts[] = {"default", "async", "", NULL};

#define F(json, kind, member, how)                                                                 \
    {                                                                                              \
        json, kind, offsetof(struct stream_config, member), how, NULL                              \
    }
#define E(json, member, how, texts)                                                                \
    {                                                                                              \
        json, JSON_ENUM_FIELD, offsetof(struct stream_config, member), how, texts                  \
    }

static const struct json_field fields[] = {
    F("name", JSON_STRING_FIELD, name, JSON_OMIT_EMPTY),
    F("description", JSON_STRING_FIELD, description, JSON_OMIT_EMPTY),
    F("subjects", JSON_LIST_FIELD, subjects, JSON_OMIT_EMPTY),
    E("retention", retention, 0, retention_texts),
    F("max_consumers", JSON_I64_FIELD, max_consumers, 0),
    F("max_msgs", JSON_I64_FIELD, max_msgs, 0),
    F("max_bytes", JSON_I64_FIELD, max_bytes, 0),
    F("max_age", JSON_I64_FIELD, max_age_ns, 0),
    F("max_msgs_per_subject", JSON_I64_FIELD, max_msgs_per_subject, 0),
    F("max_msg_size", JSON_I64_FIELD, max_msg_size, JSON_OMIT_EMPTY),
    E("discard", discard, 0, discard_texts),
    E("storage", storage, 0, storage_texts),
    F("num_replicas", JSON_I64_FIELD, num_replicas, 0),
    F("no_ack", JSON_BOOL_FIELD, no_ack, JSON_OMIT_EMPTY),
    F("duplicate_window", JSON_I64_FIELD, duplicate_window_ns, JSON_OMIT_EMPTY),
    F("placement", JSON_RAW_FIELD, placement, JSON_OMIT_EMPTY),
    F("mirror", JSON_RAW_FIELD, mirror, JSON_OMIT_EMPTY),
    F("sources", JSON_RAW_FIELD, sources, JSON_OMIT_EMPTY),
    E("compression", compression, 0, compression_texts),
    F("first_seq", JSON_U64_FIELD, first_seq, JSON_OMIT_EMPTY),
    F("subject_transform", JSON_RAW_FIELD, subject_transform, JSON_OMIT_EMPTY),
    F("republish", JSON_RAW_FIELD, republish, JSON_OMIT_EMPTY),
    F("allow_direct", JSON_BOOL_FIELD, allow_direct, 0),
    F("mirror_direct", JSON_BOOL_FIELD, mirror_direct, 0),
    F("discard_new_per_subject", JSON_BOOL_FIELD, discard_new_per_subject, JSON_OMIT_EMPTY),
    F("sealed", JSON_BOOL_FIELD, sealed, 0),
    F("deny_delete", JSON_BOOL_FIELD, deny_delete, 0),
    F("deny_purge", JSON_BOOL_FIELD, deny_purge, 0),
    F("allow_rollup_hdrs", JSON_BOOL_FIELD, allow_rollup_hdrs, 0),
    F("consumer_limits", JSON_RAW_FIELD, consumer_limits, JSON_OMIT_EMPTY),
    F("metadata", JSON_RAW_FIELD, metadata, JSON_OMIT_EMPTY),
    F("allow_msg_ttl", JSON_BOOL_FIELD, allow_msg_ttl, 0),
    F("subject_delete_marker_ttl", JSON_I64_FIELD, subject_delete_marker_ttl_ns, JSON_OMIT_EMPTY),
    F("allow_msg_counter", JSON_BOOL_FIELD, allow_msg_counter, JSON_OMIT_EMPTY),
    F("allow_atomic", JSON_BOOL_FIELD, allow_atomic, JSON_OMIT_EMPTY),
    F("allow_msg_schedules", JSON_BOOL_FIELD, allow_msg_schedules, JSON_OMIT_EMPTY),
    F("allow_batched", JSON_BOOL_FIELD, allow_batched, JSON_OMIT_EMPTY),
    E("persist_mode", persist_mode, JSON_OMIT_EMPTY, persist_texts),
    F("pedantic", JSON_BOOL_FIELD, pedantic, JSON_READ_ONLY),
};
#define NFIELDS ARRAY_LEN(fields)

/* Objects inside: kept as JSON, in the form that is answered. */
struct nested {
    char *source, *dest;
    bool headers_only;
    char *cluster, *preferred;
    struct str_list tags;
    struct consumer_limits limits;
};
#define N(json, kind, member, how)                                                                 \
    {                                                                                              \
        json, kind, offsetof(struct nested, member), how, NULL                                     \
    }
static const struct json_field transform_fields[] = {
    N("src", JSON_STRING_FIELD, source, 0),
    N("dest", JSON_STRING_FIELD, dest, 0),
};
static const struct json_field republish_fields[] = {
    N("src", JSON_STRING_FIELD, source, JSON_OMIT_EMPTY),
    N("dest", JSON_STRING_FIELD, dest, 0),
    N("headers_only", JSON_BOOL_FIELD, headers_only, JSON_OMIT_EMPTY),
};
static const struct json_field placement_fields[] = {
    N("cluster", JSON_STRING_FIELD, cluster, JSON_OMIT_EMPTY),
    N("tags", JSON_LIST_FIELD, tags, JSON_OMIT_EMPTY),
    N("preferred", JSON_STRING_FIELD, preferred, JSON_OMIT_EMPTY),
};
static const struct json_field limit_fields[] = {
    N("inactive_threshold", JSON_I64_FIELD, limits.inactive_threshold_ns, JSON_OMIT_EMPTY),
    N("max_ack_pending", JSON_I64_FIELD, limits.max_ack_pending, JSON_OMIT_EMPTY),
};
static const struct {
    size_t offset; /* of the json_t * */
    const char *name;
    const struct json_field *fields;
    size_t n;
} objects[] = {
    {offsetof(struct stream_config, subject_transform), "subject_transform", transform_fields,
     ARRAY_LEN(transform_fields)},
    {offsetof(struct stream_config, republish), "republish", republish_fields,
     ARRAY_LEN(republish_fields)},
    {offsetof(struct stream_config, placement), "placement", placement_fields,
     ARRAY_LEN(placement_fields)},
    {offsetof(struct stream_config, consumer_limits), "consumer_limits", limit_fields,
     ARRAY_LEN(limit_fields)},
};

void stream_config_release(struct stream_config *c)
{
    fields_release(fields, NFIELDS, c);
}

void stream_config_copy(struct stream_config *to, const struct stream_config *from)
{
    memset(to, 0, sizeof(*to));
    fields_copy(fields, NFIELDS, to, from);
}

bool stream_config_equal(const struct stream_config *a, const struct stream_config *b)
{
    return fields_equal(fields, NFIELDS, a, b);
}

static bool normalize(json_t **object, const struct json_field *of, size_t n, bool strict,
                      struct buf *err)
{
    struct nested v = {0};
    struct buf text = {0};
    bool ok = fields_read(*object, of, n, &v, strict, err);

    if (ok) {
        buf_putc(&text, '{');
        fields_write(&text, of, n, &v);
        buf_putc(&text, '}');
        json_decref(*object);
        *object = json_parse_object(buf_str(&text), err);
        buf_free(&text);
    }
    fields_release(of, n, &v);
    return ok;
}

static bool normalize_objects(struct stream_config *c, bool strict, struct buf *err)
{
    for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
        json_t **o = (json_t **) (void *) ((char *) c + objects[i].offset);
        if (*o == NULL)
            continue;
        if (!json_is_object(*o)) {
            buf_printf(err, "json: cannot unmarshal value into field %s", objects[i].name);
            return false;
        }
        if (!normalize(o, objects[i].fields, objects[i].n, strict, err))
            return false;
    }
    return true;
}

bool stream_config_read(struct str json, bool strict, struct stream_config *out,
                        struct js_error *err)
{
    struct buf text = {0};
    bool nothing = json.n == 0 || str_eq(str_trim(json), STR("null"));
    json_t *object = nothing ? json_object() : json_parse_object(json, &text);
    bool ok;

    memset(out, 0, sizeof(*out));
    ok = object != NULL && fields_read(object, fields, NFIELDS, out, strict, &text) &&
         normalize_objects(out, strict, &text) && source_configs_valid(out, strict, &text);
    if (!ok)
        js_fail(err, JS_ERR_INVALID_JSON, "%s", buf_cstr(&text));
    if (persist_texts[out->persist_mode][0] == '\0')
        out->persist_mode = 0;
    json_decref(object);
    buf_free(&text);
    return ok;
}

void stream_config_write(struct buf *b, const struct stream_config *c)
{
    buf_putc(b, '{');
    fields_write(b, fields, NFIELDS, c);
    buf_putc(b, '}');
}

void stream_config_show(struct buf *b, const struct stream_config *c)
{
    struct stream_config shown = *c; /* borrows all but this */

    shown.consumer_limits = c->consumer_limits != NULL ? json_incref(c->consumer_limits)
                                                       : json_object();
    stream_config_write(b, &shown);
    json_decref(shown.consumer_limits);
}

void stream_config_answer(struct buf *b, const struct stream_config *c, const char *version)
{
    struct stream_config shown = *c; /* borrows all but the metadata */

    shown.metadata = metadata_for_answer(c->metadata, version);
    stream_config_show(b, &shown);
    json_decref(shown.metadata);
}

/* ---- rules ----------------------------------------------------------------------------------- */

bool js_name_valid(const char *name)
{
    return name != NULL && name[0] != '\0' && strpbrk(name, " \t\r\n\f.*>\\/") == NULL;
}

static bool invalid(struct js_error *err, const char *text)
{
    return js_fail(err, JS_ERR_STREAM_INVALID_CONFIG, "%s", text);
}

static bool check_unlimited(struct stream_config *c, struct js_error *err)
{
    struct {
        int64_t *v;
        const char *name;
    } limits[] = {
        {&c->max_msgs, "max_msgs"},           {&c->max_msgs_per_subject, "max_msgs_per_subject"},
        {&c->max_bytes, "max_bytes"},         {&c->max_msg_size, "max_msg_size"},
        {&c->max_consumers, "max_consumers"},
    };

    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        if (c->pedantic && *limits[i].v < -1)
            return js_fail(err, JS_ERR_PEDANTIC, "%s must be set to -1", limits[i].name);
        if (*limits[i].v == 0 || *limits[i].v < -1)
            *limits[i].v = -1;
    }
    return true;
}

/* As the peer counts them: the texts alone. */
static size_t metadata_bytes(json_t *metadata)
{
    const char *key;
    json_t *value;
    size_t n = 0;

    json_object_foreach(metadata, key, value) n += strlen(key) + json_string_length(value);
    return n;
}

static bool check_names(const struct stream_config *c, struct js_error *err)
{
    if (!js_name_valid(c->name))
        return invalid(err, "stream name is required and can not contain '.', '*', '>', '\\', '/'");
    if (strlen(c->name) > NAME_MAX_BYTES)
        return invalid(err, "stream name is too long, maximum allowed is 255");
    if (c->description != NULL && strlen(c->description) > DESCRIPTION_MAX)
        return invalid(err, "stream description is too long, maximum allowed is 4096");
    if (!metadata_valid(c->metadata))
        return js_fail(err, JS_ERR_INVALID_JSON, "json: metadata is not an object of texts");
    return metadata_bytes(c->metadata) <= METADATA_MAX ||
           js_fail(err, JS_ERR_STREAM_INVALID_CONFIG,
                   "stream metadata exceeds maximum size of %d bytes", METADATA_MAX);
}

/* What it has comes from other streams. */
static bool copies(const struct stream_config *c)
{
    return json_is_object(c->mirror) || json_array_size(c->sources) > 0;
}

/* Subjects that only a stream without acknowledgements may capture. */
static bool check_reserved(struct str s, struct js_error *err)
{
    static const char *const api[] = {"$JS.>", "$JSC.>", "$NRG.>"};

    for (size_t i = 0; i < ARRAY_LEN(api); i++)
        if (subject_overlap(s, str_of(api[i])) && !subject_subset(s, STR("$JS.EVENT.>")))
            return invalid(err,
                           "subjects that overlap with jetstream api require no-ack to be true");
    if (subject_overlap(s, STR("$SYS.>")) && !subject_subset(s, STR("$SYS.ACCOUNT.>")))
        return invalid(err, "subjects that overlap with system api require no-ack to be true");
    return true;
}

static bool check_subject(const struct stream_config *c, size_t i, struct js_error *err)
{
    struct str s = str_of(c->subjects.items[i]);

    if (!subject_valid(s))
        return invalid(err, "invalid subject");
    if (str_eq(s, STR(">")) && !c->no_ack)
        return invalid(err, "capturing all subjects requires no-ack to be true");
    if (str_eq(s, STR(">")) && c->num_replicas != 1)
        return invalid(err, "capturing all subjects requires replicas of 1");
    if (!c->no_ack && !check_reserved(s, err))
        return false;
    for (size_t k = i + 1; k < c->subjects.n; k++)
        if (subject_overlap(s, str_of(c->subjects.items[k])))
            return js_fail(err, JS_ERR_STREAM_INVALID_CONFIG, "subject \"%s\" overlaps with \"%s\"",
                           c->subjects.items[i], c->subjects.items[k]);
    return true;
}

static bool check_subjects(struct stream_config *c, struct js_error *err)
{
    if (c->subjects.n == 0 && !copies(c))
        str_list_add(&c->subjects, str_of(c->name));
    for (size_t i = 0; i < c->subjects.n; i++)
        if (!check_subject(c, i, err))
            return false;
    return true;
}

static bool default_window(struct stream_config *c, int64_t server_window, struct js_error *err)
{
    int64_t window = DUPLICATES_DEFAULT;

    if (server_window > 0 && server_window < window) {
        if (c->pedantic)
            return js_fail(err, JS_ERR_PEDANTIC,
                           "duplicate window limits are higher than current limits");
        window = server_window;
    }
    if (c->max_age_ns > 0 && c->max_age_ns < window) {
        if (c->pedantic)
            return js_fail(err, JS_ERR_PEDANTIC, "duplicate window cannot be bigger than max age");
        window = c->max_age_ns;
    }
    c->duplicate_window_ns = window;
    return true;
}

static bool check_age(struct stream_config *c, int64_t server_window, struct js_error *err)
{
    if (c->max_age_ns < 0)
        return invalid(err, "max age can not be negative");
    if (c->max_age_ns > 0 && c->max_age_ns < AGE_MIN)
        return invalid(err, "max age needs to be >= 100ms");
    if (c->duplicate_window_ns == 0 && !copies(c) && !default_window(c, server_window, err))
        return false;
    if (c->duplicate_window_ns < 0)
        return invalid(err, "duplicates window can not be negative");
    if (c->max_age_ns > 0 && c->duplicate_window_ns > c->max_age_ns)
        return invalid(err, "duplicates window can not be larger then max age");
    if (server_window > 0 && c->duplicate_window_ns > server_window) {
        char text[FMT_TIME_MAX];
        fmt_go_duration(text, server_window);
        return js_fail(err, JS_ERR_STREAM_INVALID_CONFIG,
                       "duplicates window can not be larger then server limit of %s", text);
    }
    if (c->duplicate_window_ns > 0 && c->duplicate_window_ns < AGE_MIN)
        return invalid(err, "duplicates window needs to be >= 100ms");
    return true;
}

static bool check_counter(const struct stream_config *c, struct js_error *err)
{
    if (!c->allow_msg_counter)
        return true;
    if (c->discard == DISCARD_NEW)
        return invalid(err, "counter stream cannot use discard new");
    if (c->allow_msg_ttl)
        return invalid(err, "counter stream cannot use message TTLs");
    if (c->allow_msg_schedules)
        return invalid(err, "counter stream cannot use message schedules");
    if (c->retention != RETENTION_LIMITS)
        return invalid(err, "counter stream can only use limits retention");
    return true;
}

/* What needs rollups allows them, which needs purges. */
static void allow_rollups(struct stream_config *c)
{
    if (!c->allow_rollup_hdrs)
        c->deny_purge = false;
    c->allow_rollup_hdrs = true;
}

static bool check_markers(struct stream_config *c, struct js_error *err)
{
    if (c->subject_delete_marker_ttl_ns < 0)
        return invalid(err, "subject delete marker TTL must not be negative");
    if (c->subject_delete_marker_ttl_ns == 0)
        return true;
    if (c->subject_delete_marker_ttl_ns < SECOND)
        return invalid(err, "subject delete marker TTL must be at least 1 second");
    if (!c->allow_msg_ttl && c->pedantic)
        return invalid(err, "subject delete marker cannot be set if message TTLs are disabled");
    c->allow_msg_ttl = true;
    if (!c->allow_rollup_hdrs && c->pedantic)
        return invalid(err, "subject delete marker cannot be set if roll-ups are disabled");
    allow_rollups(c);
    return true;
}

static bool check_schedules(struct stream_config *c, struct js_error *err)
{
    if (!c->allow_msg_schedules)
        return true;
    if (c->discard == DISCARD_NEW)
        return invalid(err, "message scheduling cannot use discard new");
    if (!c->allow_rollup_hdrs && c->pedantic)
        return invalid(err, "message scheduling cannot be set if roll-ups are disabled");
    allow_rollups(c);
    return true;
}

static bool check_replicas(struct stream_config *c, struct js_error *err)
{
    if (c->num_replicas == 0)
        c->num_replicas = 1;
    if (c->num_replicas > REPLICAS_MAX)
        return invalid(err, "maximum replicas is 5");
    return c->num_replicas > 0 || js_fail(err, JS_ERR_REPLICAS_COUNT_CANNOT_BE_NEGATIVE, NULL);
}

static bool check_combinations(struct stream_config *c, struct js_error *err)
{
    if (c->deny_purge && c->allow_rollup_hdrs)
        return invalid(err, "roll-ups require the purge permission");
    if (!check_counter(c, err))
        return false;
    if (c->discard_new_per_subject && c->discard != DISCARD_NEW)
        return invalid(err, "discard new per subject requires discard new policy to be set");
    if (c->discard_new_per_subject && c->max_msgs_per_subject <= 0)
        return invalid(err, "discard new per subject requires max msgs per subject > 0");
    if (!check_markers(c, err) || !check_schedules(c, err))
        return false;
    if (c->persist_mode != 0 && c->storage != STORAGE_FILE)
        return invalid(err, "async persist mode is only supported on file storage");
    if (c->persist_mode != 0 && c->num_replicas > 1)
        return invalid(err, "async persist mode is not supported on replicated streams");
    if (c->persist_mode != 0 && c->allow_atomic)
        return invalid(err, "async persist mode is not supported with atomic batch publish");
    return true;
}

/* The lowest API level that has everything the configuration asks for. */
static unsigned required_level(const struct stream_config *c)
{
    if (c->allow_batched)
        return 4;
    if (c->allow_msg_counter || c->allow_atomic || c->allow_msg_schedules || c->persist_mode != 0)
        return 2;
    return c->allow_msg_ttl || c->subject_delete_marker_ttl_ns > 0 ? 1 : 0;
}

static void drop_if_empty(json_t **object)
{
    if (json_object_size(*object) > 0)
        return;
    json_decref(*object);
    *object = NULL;
}

/* An empty object asks for nothing. */
static bool check_placement(struct stream_config *c, struct js_error *err)
{
    drop_if_empty(&c->placement);
    drop_if_empty(&c->consumer_limits);
    return json_object_get(c->placement, "preferred") == NULL ||
           invalid(err, "preferred server not permitted in placement");
}

bool stream_config_check(struct stream_config *c, int64_t server_duplicate_window,
                         struct js_error *err)
{
    unsigned level = required_level(c);

    if (!check_names(c, err) || !check_replicas(c, err) || !check_unlimited(c, err) ||
        !check_age(c, server_duplicate_window, err) || !check_combinations(c, err) ||
        !source_configs_check(c, err) || !check_subjects(c, err) ||
        !subject_mappings_check(c, err) || !check_placement(c, err))
        return false;
    metadata_set_required(&c->metadata, level);
    return true;
}

void stream_config_limits(const struct stream_config *c, struct consumer_limits *out)
{
    struct nested v = {0};
    struct buf err = {0};

    if (c->consumer_limits != NULL)
        fields_read(c->consumer_limits, limit_fields, ARRAY_LEN(limit_fields), &v, false, &err);
    *out = v.limits;
    buf_free(&err);
}

/* Nothing enters or leaves a sealed stream. */
static void close_all(struct stream_config *c)
{
    c->max_age_ns = 0;
    c->discard = DISCARD_NEW;
    c->deny_delete = c->deny_purge = true;
    c->allow_rollup_hdrs = false;
}

bool stream_config_check_update(const struct stream_config *old, struct stream_config *new,
                                struct js_error *err)
{
    bool workqueue_changes = old->retention != new->retention &&
                             (old->retention == RETENTION_WORKQUEUE ||
                              new->retention == RETENTION_WORKQUEUE);

    if (strcmp(old->name, new->name) != 0)
        return invalid(err, "stream configuration name must match original");
    if (new->num_replicas > 1)
        return js_fail(err, JS_ERR_STREAM_REPLICAS_NOT_SUPPORTED, NULL);
    if (old->storage != new->storage)
        return invalid(err, "stream configuration update can not change storage type");
    if (workqueue_changes)
        return invalid(
            err, "stream configuration update can not change retention policy to/from workqueue");
    if (old->sealed && !new->sealed)
        return invalid(err, "stream configuration update can not unseal a sealed stream");
    if (old->deny_delete && !new->deny_delete)
        return invalid(err, "stream configuration update can not cancel deny message deletes");
    if (old->deny_purge && !new->deny_purge)
        return invalid(err, "stream configuration update can not cancel deny purge");
    if (json_is_object(new->mirror) && !json_equal(old->mirror, new->mirror))
        return js_fail(err, JS_ERR_STREAM_MIRROR_NOT_UPDATABLE, NULL);
    if (old->allow_msg_ttl && !new->allow_msg_ttl)
        return invalid(err, "message TTL status can not be disabled");
    if (old->allow_msg_counter != new->allow_msg_counter)
        return invalid(err, "stream configuration update can not change message counter setting");
    if (new->allow_msg_counter &&new->allow_msg_ttl) /* which a marker's TTL has switched on */
        return invalid(err, "counter stream cannot use message TTLs");
    if (old->allow_msg_schedules && !new->allow_msg_schedules)
        return invalid(err, "message schedules can not be disabled");
    if (old->persist_mode != new->persist_mode)
        return invalid(err, "stream configuration update can not change persist mode");
    if (new->sealed)
        close_all(new);
    return true;
}
