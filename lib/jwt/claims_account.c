/*
 * claims_account.c - accounts: lists of objects, each by its table.
 *
 * Signing keys are texts, or objects {"kind":"user_scope","key","role","template"} whose template
 * is what every user gets that the key signs; numbers that the template leaves out are no limits.
 */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/jwt/claims.h"

#include <string.h>
#include <strings.h>

static const char *const link_texts[] = {"\x01", "stream", "service", NULL};

static bool wrong(const char *field, struct buf *err)
{
    buf_printf(err, "json: cannot unmarshal value into field %s", field);
    return false;
}

/* ---- revocations ----------------------------------------------------------------------------- */

static void free_revocations(struct jwt_revocations *r)
{
    for (size_t i = 0; i < r->n; i++)
        mem_free(r->list[i].key);
    mem_free(r->list);
    *r = (struct jwt_revocations){0};
}

static bool read_revocations(json_t *o, struct jwt_revocations *out, struct buf *err)
{
    const char *key;
    json_t *at;

    if (o == NULL)
        return true;
    if (!jwt_is_object(o, "revocations", err))
        return false;
    out->list = mem_zalloc((json_object_size(o) + 1) * sizeof(*out->list));
    json_object_foreach(o, key, at)
    {
        if (!json_is_integer(at))
            return wrong("revocations", err);
        out->list[out->n++] = (struct jwt_revocation){.key = mem_strdup(key),
                                                      .at = json_integer_value(at)};
    }
    return true;
}

bool jwt_revoked(const struct jwt_revocations *r, const char *key, int64_t issued_at)
{
    for (size_t i = 0; i < r->n; i++)
        if ((strcmp(r->list[i].key, key) == 0 || strcmp(r->list[i].key, "*") == 0) &&
            r->list[i].at >= issued_at)
            return true;
    return false;
}

/* ---- imports and exports --------------------------------------------------------------------- */

#define AT(member) offsetof(struct jwt_import, member)

static const struct json_field import_fields[] = {
    {"name", JSON_STRING_FIELD, AT(name), 0, NULL},
    {"subject", JSON_STRING_FIELD, AT(subject), 0, NULL},
    {"account", JSON_STRING_FIELD, AT(account), 0, NULL},
    {"token", JSON_STRING_FIELD, AT(token), 0, NULL},
    {"to", JSON_STRING_FIELD, AT(to), 0, NULL},
    {"local_subject", JSON_STRING_FIELD, AT(local_subject), 0, NULL},
    {"type", JSON_ENUM_FIELD, AT(type), 0, link_texts},
    {"share", JSON_BOOL_FIELD, AT(share), 0, NULL},
    {"allow_trace", JSON_BOOL_FIELD, AT(allow_trace), 0, NULL},
};

struct raw_export {
    struct jwt_export e;
    json_t *revocations, *latency;
};

#undef AT
#define AT(member) offsetof(struct raw_export, member)

static const struct json_field export_fields[] = {
    {"name", JSON_STRING_FIELD, AT(e.name), 0, NULL},
    {"subject", JSON_STRING_FIELD, AT(e.subject), 0, NULL},
    {"type", JSON_ENUM_FIELD, AT(e.type), 0, link_texts},
    {"token_req", JSON_BOOL_FIELD, AT(e.token_required), 0, NULL},
    {"revocations", JSON_RAW_FIELD, AT(revocations), 0, NULL},
    {"response_type", JSON_STRING_FIELD, AT(e.response_type), 0, NULL},
    {"response_threshold", JSON_I64_FIELD, AT(e.response_threshold), 0, NULL},
    {"service_latency", JSON_RAW_FIELD, AT(latency), 0, NULL},
    {"account_token_position", JSON_U64_FIELD, AT(e.account_token_position), 0, NULL},
    {"advertise", JSON_BOOL_FIELD, AT(e.advertise), 0, NULL},
    {"allow_trace", JSON_BOOL_FIELD, AT(e.allow_trace), 0, NULL},
    {"description", JSON_STRING_FIELD, AT(e.description), 0, NULL},
    {"info_url", JSON_STRING_FIELD, AT(e.info_url), 0, NULL},
};

struct latency {
    json_t *sampling;
    char *results;
};

static bool read_latency(json_t *o, struct jwt_export *e, struct buf *err)
{
    static const struct json_field fields[] = {
        {"sampling", JSON_RAW_FIELD, offsetof(struct latency, sampling), 0, NULL},
        {"results", JSON_STRING_FIELD, offsetof(struct latency, results), 0, NULL},
    };
    struct latency l = {0};
    bool ok;

    if (o == NULL)
        return true;
    e->latency = true;
    ok = jwt_is_object(o, "service_latency", err) &&
         fields_read(o, fields, ARRAY_LEN(fields), &l, false, err);
    if (ok && json_is_integer(l.sampling))
        e->sampling = json_integer_value(l.sampling);
    else if (ok && l.sampling != NULL &&
             !(json_is_string(l.sampling) &&
               strcasecmp(json_string_value(l.sampling), "headers") == 0))
        ok = wrong("sampling", err);
    e->results = l.results;
    json_decref(l.sampling);
    return ok;
}

/* Room for one object of each item; NULL with *ok false when it is no list. */
static void *room(json_t *list, size_t each, const char *field, bool *ok, struct buf *err)
{
    *ok = list == NULL || json_is_array(list) || wrong(field, err);
    return *ok && list != NULL ? mem_zalloc((json_array_size(list) + 1) * each) : NULL;
}

static bool read_imports(json_t *list, struct account_claims *a, struct buf *err)
{
    size_t i;
    json_t *item;
    bool ok;

    a->imports = room(list, sizeof(*a->imports), "imports", &ok, err);
    if (!ok)
        return false;
    json_array_foreach(list, i, item)
    {
        a->nimports = i + 1;
        if (!json_is_null(item) && (!jwt_is_object(item, "imports", err) ||
                                    !fields_read(item, import_fields, ARRAY_LEN(import_fields),
                                                 &a->imports[i], false, err)))
            return false;
    }
    return true;
}

static bool read_export(json_t *item, struct jwt_export *out, struct buf *err)
{
    struct raw_export raw = {0};
    bool ok = jwt_is_object(item, "exports", err) &&
              fields_read(item, export_fields, ARRAY_LEN(export_fields), &raw, false, err);

    ok = ok && read_revocations(raw.revocations, &raw.e.revocations, err) &&
         read_latency(raw.latency, &raw.e, err);
    json_decref(raw.revocations);
    json_decref(raw.latency);
    *out = raw.e;
    return ok;
}

static bool read_exports(json_t *list, struct account_claims *a, struct buf *err)
{
    size_t i;
    json_t *item;
    bool ok;

    a->exports = room(list, sizeof(*a->exports), "exports", &ok, err);
    if (!ok)
        return false;
    json_array_foreach(list, i, item)
    {
        a->nexports = i + 1;
        if (!json_is_null(item) && !read_export(item, &a->exports[i], err))
            return false;
    }
    return true;
}

/* ---- mappings -------------------------------------------------------------------------------- */

static bool read_way(json_t *item, struct jwt_way *out, struct buf *err)
{
    static const struct json_field fields[] = {
        {"subject", JSON_STRING_FIELD, offsetof(struct jwt_way, subject), 0, NULL},
        {"weight", JSON_U64_FIELD, offsetof(struct jwt_way, weight), 0, NULL},
        {"cluster", JSON_STRING_FIELD, offsetof(struct jwt_way, cluster), 0, NULL},
    };

    if (!jwt_is_object(item, "mappings", err) ||
        !fields_read(item, fields, ARRAY_LEN(fields), out, false, err))
        return false;
    if (out->weight > UINT8_MAX)
        return wrong("weight", err);
    if (out->weight == 0)
        out->weight = 100;
    return true;
}

static bool read_ways(json_t *list, struct jwt_mapping *m, struct buf *err)
{
    size_t i;
    json_t *item;
    bool ok;

    m->ways = room(list, sizeof(*m->ways), "mappings", &ok, err);
    if (!ok)
        return false;
    json_array_foreach(list, i, item)
    {
        m->n = i + 1;
        if (!read_way(item, &m->ways[i], err))
            return false;
    }
    return true;
}

static bool read_mappings(json_t *o, struct account_claims *a, struct buf *err)
{
    const char *source;
    json_t *ways;

    if (o == NULL)
        return true;
    if (!jwt_is_object(o, "mappings", err))
        return false;
    a->mappings = mem_zalloc((json_object_size(o) + 1) * sizeof(*a->mappings));
    json_object_foreach(o, source, ways)
    {
        struct jwt_mapping *m = &a->mappings[a->nmappings++];
        m->source = mem_strdup(source);
        if (!read_ways(ways, m, err))
            return false;
    }
    return true;
}

/* ---- signing keys ---------------------------------------------------------------------------- */

struct raw_scope {
    char *kind, *key;
    json_t *template;
};

static bool read_scope(json_t *item, struct jwt_signing_key *k, struct buf *err)
{
    static const struct json_field fields[] = {
        {"kind", JSON_STRING_FIELD, offsetof(struct raw_scope, kind), 0, NULL},
        {"key", JSON_STRING_FIELD, offsetof(struct raw_scope, key), 0, NULL},
        {"template", JSON_RAW_FIELD, offsetof(struct raw_scope, template), 0, NULL},
    };
    struct raw_scope raw = {0};
    bool ok = jwt_is_object(item, "signing_keys", err) &&
              fields_read(item, fields, ARRAY_LEN(fields), &raw, false, err);

    if (ok && strcmp(jwt_text(raw.kind), "user_scope") != 0) {
        buf_printf(err, "unknown signing key scope \"%s\"", jwt_text(raw.kind));
        ok = false;
    }
    ok = ok && (raw.template == NULL || jwt_is_object(raw.template, "template", err)) &&
         jwt_user_limits_read(raw.template, true, &k->scope, err);
    k->scoped = true;
    k->key = mem_strdup(jwt_text(raw.key));
    fields_release(fields, ARRAY_LEN(fields), &raw);
    return ok;
}

static bool read_keys(json_t *list, struct account_claims *a, struct buf *err)
{
    size_t i;
    json_t *item;
    bool ok;

    a->keys = room(list, sizeof(*a->keys), "signing_keys", &ok, err);
    if (!ok)
        return false;
    json_array_foreach(list, i, item)
    {
        struct jwt_signing_key *k = &a->keys[a->nkeys];
        if (json_is_string(item))
            k->key = mem_strdup(json_string_value(item));
        else if (json_is_object(item) && a->jwt.version >= 2)
            ok = read_scope(item, k, err);
        else if (a->jwt.version < 2)
            ok = wrong("signing_keys", err);
        else
            continue;
        a->nkeys++;
        if (!ok)
            return false;
    }
    return true;
}

const struct jwt_signing_key *account_claims_key(const struct account_claims *a, const char *key)
{
    /* Of two with one key the later counts, as in a map. */
    for (size_t i = a->nkeys; i > 0; i--)
        if (strcmp(a->keys[i - 1].key, key) == 0)
            return &a->keys[i - 1];
    return NULL;
}

/* ---- limits ---------------------------------------------------------------------------------- */

#undef AT
#define AT(member) offsetof(struct account_claims, member)

static const struct json_field limit_fields[] = {
    {"subs", JSON_I64_FIELD, AT(subscriptions), 0, NULL},
    {"data", JSON_I64_FIELD, AT(data), 0, NULL},
    {"payload", JSON_I64_FIELD, AT(payload), 0, NULL},
    {"imports", JSON_I64_FIELD, AT(max_imports), 0, NULL},
    {"exports", JSON_I64_FIELD, AT(max_exports), 0, NULL},
    {"wildcards", JSON_BOOL_FIELD, AT(wildcard_exports), 0, NULL},
    {"disallow_bearer", JSON_BOOL_FIELD, AT(disallow_bearer), 0, NULL},
    {"conn", JSON_I64_FIELD, AT(connections), 0, NULL},
    {"leaf", JSON_I64_FIELD, AT(leafnodes), 0, NULL},
};

#undef AT
#define AT(member) offsetof(struct jwt_jetstream_limits, member)

static const struct json_field jetstream_fields[] = {
    {"mem_storage", JSON_I64_FIELD, AT(memory), 0, NULL},
    {"disk_storage", JSON_I64_FIELD, AT(disk), 0, NULL},
    {"streams", JSON_I64_FIELD, AT(streams), 0, NULL},
    {"consumer", JSON_I64_FIELD, AT(consumers), 0, NULL},
    {"max_ack_pending", JSON_I64_FIELD, AT(max_ack_pending), 0, NULL},
    {"mem_max_stream_bytes", JSON_I64_FIELD, AT(memory_max_stream), 0, NULL},
    {"disk_max_stream_bytes", JSON_I64_FIELD, AT(disk_max_stream), 0, NULL},
    {"max_bytes_required", JSON_BOOL_FIELD, AT(max_bytes_required), 0, NULL},
};

static bool read_tiers(json_t *o, struct account_claims *a, struct buf *err)
{
    const char *name;
    json_t *tier;

    if (o == NULL)
        return true;
    if (!jwt_is_object(o, "tiered_limits", err))
        return false;
    a->tiers = mem_zalloc((json_object_size(o) + 1) * sizeof(*a->tiers));
    json_object_foreach(o, name, tier)
    {
        struct jwt_tier *t = &a->tiers[a->ntiers++];
        t->name = mem_strdup(name);
        if (!jwt_is_object(tier, "tiered_limits", err) ||
            !fields_read(tier, jetstream_fields, ARRAY_LEN(jetstream_fields), &t->limits, false,
                         err))
            return false;
    }
    /* Tiers take the place of the others. */
    if (a->ntiers > 0)
        a->jetstream = (struct jwt_jetstream_limits){0};
    return true;
}

static bool read_limits(json_t *o, struct account_claims *a, struct buf *err)
{
    json_t *tiers = NULL;
    const struct json_field tiered = {"tiered_limits", JSON_RAW_FIELD, 0, 0, NULL};
    bool ok;

    if (o == NULL)
        return true;
    a->limits_said = json_object_size(o) > 0;
    ok = jwt_is_object(o, "limits", err) &&
         fields_read(o, limit_fields, ARRAY_LEN(limit_fields), a, false, err);
    /* The first version knew no JetStream. */
    if (ok && a->jwt.version >= 2)
        ok = fields_read(o, jetstream_fields, ARRAY_LEN(jetstream_fields), &a->jetstream, false,
                         err) &&
             fields_read(o, &tiered, 1, &tiers, false, err) && read_tiers(tiers, a, err);
    json_decref(tiers);
    return ok;
}

bool account_claims_jetstream(const struct account_claims *a)
{
    for (size_t i = 0; i < a->ntiers; i++)
        if (a->tiers[i].limits.memory != 0 || a->tiers[i].limits.disk != 0)
            return true;
    return a->ntiers == 0 && (a->jetstream.memory != 0 || a->jetstream.disk != 0);
}

/* ---- the rest -------------------------------------------------------------------------------- */

struct raw_account {
    json_t *imports, *exports, *limits, *keys, *revocations, *otherwise, *mappings, *authorization,
        *trace;
};

#undef AT
#define AT(member) offsetof(struct raw_account, member)

static const struct json_field raw_fields[] = {
    {"imports", JSON_RAW_FIELD, AT(imports), 0, NULL},
    {"exports", JSON_RAW_FIELD, AT(exports), 0, NULL},
    {"limits", JSON_RAW_FIELD, AT(limits), 0, NULL},
    {"signing_keys", JSON_RAW_FIELD, AT(keys), 0, NULL},
    {"revocations", JSON_RAW_FIELD, AT(revocations), 0, NULL},
    /* These came with the second version. */
    {"default_permissions", JSON_RAW_FIELD, AT(otherwise), 0, NULL},
    {"mappings", JSON_RAW_FIELD, AT(mappings), 0, NULL},
    {"authorization", JSON_RAW_FIELD, AT(authorization), 0, NULL},
    {"trace", JSON_RAW_FIELD, AT(trace), 0, NULL},
};
#define FIRST_VERSION 5u

#undef AT
#define AT(member) offsetof(struct account_claims, member)

static const struct json_field text_fields[] = {
    {"cluster_traffic", JSON_STRING_FIELD, AT(cluster_traffic), 0, NULL},
    {"description", JSON_STRING_FIELD, AT(description), 0, NULL},
    {"info_url", JSON_STRING_FIELD, AT(info_url), 0, NULL},
};

static const struct json_field authorization_fields[] = {
    {"auth_users", JSON_LIST_FIELD, AT(auth_users), 0, NULL},
    {"allowed_accounts", JSON_LIST_FIELD, AT(allowed_accounts), 0, NULL},
    {"xkey", JSON_STRING_FIELD, AT(xkey), 0, NULL},
};

static const struct json_field trace_fields[] = {
    {"dest", JSON_STRING_FIELD, AT(trace_dest), 0, NULL},
    {"sampling", JSON_I64_FIELD, AT(trace_sampling), 0, NULL},
};

static bool read_raw(const struct raw_account *raw, struct account_claims *a, struct buf *err)
{
    a->trace = raw->trace != NULL;
    return read_imports(raw->imports, a, err) && read_exports(raw->exports, a, err) &&
           read_limits(raw->limits, a, err) && read_keys(raw->keys, a, err) &&
           read_revocations(raw->revocations, &a->revocations, err) &&
           (raw->otherwise == NULL || jwt_is_object(raw->otherwise, "default_permissions", err)) &&
           jwt_permissions_read(raw->otherwise, &a->otherwise, err) &&
           read_mappings(raw->mappings, a, err) &&
           (raw->authorization == NULL ||
            (jwt_is_object(raw->authorization, "authorization", err) &&
             fields_read(raw->authorization, authorization_fields, ARRAY_LEN(authorization_fields),
                         a, false, err))) &&
           (raw->trace == NULL ||
            (jwt_is_object(raw->trace, "trace", err) &&
             fields_read(raw->trace, trace_fields, ARRAY_LEN(trace_fields), a, false, err)));
}

static bool read_nats(struct account_claims *a, struct buf *err)
{
    struct raw_account raw = {0};
    size_t known = a->jwt.version < 2 ? FIRST_VERSION : ARRAY_LEN(raw_fields);
    bool ok = fields_read(a->jwt.nats, raw_fields, known, &raw, false, err) &&
              fields_read(a->jwt.nats, text_fields, ARRAY_LEN(text_fields), a, false, err) &&
              read_raw(&raw, a, err);

    fields_release(raw_fields, ARRAY_LEN(raw_fields), &raw);
    return ok;
}

bool account_claims_read(struct str token, struct account_claims *out, struct buf *err)
{
    bool ok;

    memset(out, 0, sizeof(*out));
    ok = jwt_decode(token, &out->jwt, err);
    if (ok && out->jwt.kind != JWT_ACCOUNT) {
        buf_puts(err, "not account claim");
        ok = false;
    }
    ok = ok && (out->jwt.nats == NULL || read_nats(out, err));
    if (!ok)
        account_claims_free(out);
    return ok;
}

static void free_mapping(struct jwt_mapping *m)
{
    mem_free(m->source);
    for (size_t i = 0; i < m->n; i++) {
        mem_free(m->ways[i].subject);
        mem_free(m->ways[i].cluster);
    }
    mem_free(m->ways);
}

static void free_export(struct jwt_export *e)
{
    mem_free(e->name);
    mem_free(e->subject);
    mem_free(e->response_type);
    mem_free(e->description);
    mem_free(e->info_url);
    mem_free(e->results);
    free_revocations(&e->revocations);
}

void account_claims_free(struct account_claims *a)
{
    for (size_t i = 0; i < a->nimports; i++)
        fields_release(import_fields, ARRAY_LEN(import_fields), &a->imports[i]);
    for (size_t i = 0; i < a->nexports; i++)
        free_export(&a->exports[i]);
    for (size_t i = 0; i < a->nmappings; i++)
        free_mapping(&a->mappings[i]);
    for (size_t i = 0; i < a->nkeys; i++) {
        mem_free(a->keys[i].key);
        jwt_user_limits_free(&a->keys[i].scope);
    }
    for (size_t i = 0; i < a->ntiers; i++)
        mem_free(a->tiers[i].name);
    mem_free(a->imports);
    mem_free(a->exports);
    mem_free(a->mappings);
    mem_free(a->keys);
    mem_free(a->tiers);
    free_revocations(&a->revocations);
    jwt_permissions_free(&a->otherwise);
    fields_release(text_fields, ARRAY_LEN(text_fields), a);
    fields_release(authorization_fields, ARRAY_LEN(authorization_fields), a);
    fields_release(trace_fields, ARRAY_LEN(trace_fields), a);
    jwt_free(&a->jwt);
    memset(a, 0, sizeof(*a));
}
