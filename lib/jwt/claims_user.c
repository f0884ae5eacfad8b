/* claims_user.c - users, activations and answers of authorization services. */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/jwt/claims.h"

#include <string.h>

bool jwt_is_object(const json_t *v, const char *field, struct buf *err)
{
    if (json_is_object(v))
        return true;
    buf_printf(err, "json: cannot unmarshal value into field %s", field);
    return false;
}

/* ---- permissions ----------------------------------------------------------------------------- */

void jwt_permissions_free(struct jwt_permissions *p)
{
    str_list_free(&p->pub_allow);
    str_list_free(&p->pub_deny);
    str_list_free(&p->sub_allow);
    str_list_free(&p->sub_deny);
}

struct lists {
    struct str_list allow, deny;
};

struct response {
    int64_t max, ttl;
};

struct three {
    json_t *pub, *sub, *resp;
};

static bool read_lists(json_t *o, struct str_list *allow, struct str_list *deny, struct buf *err)
{
    static const struct json_field fields[] = {
        {"allow", JSON_LIST_FIELD, offsetof(struct lists, allow), 0, NULL},
        {"deny", JSON_LIST_FIELD, offsetof(struct lists, deny), 0, NULL},
    };
    struct lists l = {0};
    bool ok = o == NULL || (jwt_is_object(o, "permissions", err) &&
                            fields_read(o, fields, ARRAY_LEN(fields), &l, false, err));

    *allow = l.allow;
    *deny = l.deny;
    return ok;
}

static bool read_response(json_t *o, struct jwt_permissions *out, struct buf *err)
{
    static const struct json_field fields[] = {
        {"max", JSON_I64_FIELD, offsetof(struct response, max), 0, NULL},
        {"ttl", JSON_I64_FIELD, offsetof(struct response, ttl), 0, NULL},
    };
    struct response r = {0};

    if (o == NULL)
        return true;
    out->responses = true;
    if (!jwt_is_object(o, "resp", err) ||
        !fields_read(o, fields, ARRAY_LEN(fields), &r, false, err))
        return false;
    out->responses_max = r.max;
    out->responses_ns = r.ttl;
    return true;
}

bool jwt_permissions_read(json_t *o, struct jwt_permissions *out, struct buf *err)
{
    static const struct json_field fields[] = {
        {"pub", JSON_RAW_FIELD, offsetof(struct three, pub), 0, NULL},
        {"sub", JSON_RAW_FIELD, offsetof(struct three, sub), 0, NULL},
        {"resp", JSON_RAW_FIELD, offsetof(struct three, resp), 0, NULL},
    };
    struct three t = {0};
    bool ok = o == NULL || fields_read(o, fields, ARRAY_LEN(fields), &t, false, err);

    ok = ok && read_lists(t.pub, &out->pub_allow, &out->pub_deny, err) &&
         read_lists(t.sub, &out->sub_allow, &out->sub_deny, err) && read_response(t.resp, out, err);
    fields_release(fields, ARRAY_LEN(fields), &t);
    return ok;
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void free_times(struct jwt_user_limits *l)
{
    for (size_t i = 0; i < l->ntimes; i++) {
        mem_free(l->times[i].start);
        mem_free(l->times[i].end);
    }
    mem_free(l->times);
    l->times = NULL;
    l->ntimes = 0;
}

void jwt_user_limits_free(struct jwt_user_limits *l)
{
    jwt_permissions_free(&l->may);
    str_list_free(&l->src);
    str_list_free(&l->connection_types);
    free_times(l);
    mem_free(l->locale);
    memset(l, 0, sizeof(*l));
}

bool jwt_user_limits_empty(const struct jwt_user_limits *l)
{
    const struct jwt_permissions *p = &l->may;

    return p->pub_allow.n + p->pub_deny.n + p->sub_allow.n + p->sub_deny.n == 0 && !p->responses &&
           l->src.n + l->ntimes + l->connection_types.n == 0 && l->locale == NULL &&
           l->subscriptions == 0 && l->data == 0 && l->payload == 0 && !l->bearer &&
           !l->proxy_required;
}

/* A list, or one text with commas between. */
static bool read_src(json_t *v, struct str_list *out, struct buf *err)
{
    struct str rest;
    size_t i;
    json_t *item;

    if (v == NULL)
        return true;
    if (json_is_string(v)) {
        rest = str_of(json_string_value(v));
        while (rest.p != NULL) {
            struct str one = str_trim(str_cut(rest, ',', &rest));
            if (one.n > 0)
                str_list_add(out, one);
        }
        return true;
    }
    json_array_foreach(v, i, item)
    {
        if (!json_is_string(item))
            break;
        str_list_add(out, str_of(json_string_value(item)));
    }
    if (json_is_array(v) && i == json_array_size(v))
        return true;
    buf_puts(err, "json: cannot unmarshal value into field src");
    return false;
}

static bool read_times(json_t *v, struct jwt_user_limits *out, struct buf *err)
{
    static const struct json_field fields[] = {
        {"start", JSON_STRING_FIELD, offsetof(struct jwt_time_range, start), 0, NULL},
        {"end", JSON_STRING_FIELD, offsetof(struct jwt_time_range, end), 0, NULL},
    };
    size_t i;
    json_t *item;

    if (v != NULL && !json_is_array(v)) {
        buf_puts(err, "json: cannot unmarshal value into field times");
        return false;
    }
    out->times = v != NULL ? mem_zalloc((json_array_size(v) + 1) * sizeof(*out->times)) : NULL;
    json_array_foreach(v, i, item)
    {
        out->ntimes = i + 1;
        if (!jwt_is_object(item, "times", err) ||
            !fields_read(item, fields, ARRAY_LEN(fields), &out->times[i], false, err))
            return false;
    }
    return true;
}

struct raw_limits {
    json_t *src, *times;
    char *locale;
    int64_t subscriptions, data, payload;
    bool bearer, proxy_required;
    struct str_list connection_types;
};

#define AT(member) offsetof(struct raw_limits, member)

static const struct json_field limit_fields[] = {
    {"src", JSON_RAW_FIELD, AT(src), 0, NULL},
    {"times", JSON_RAW_FIELD, AT(times), 0, NULL},
    {"times_location", JSON_STRING_FIELD, AT(locale), 0, NULL},
    {"subs", JSON_I64_FIELD, AT(subscriptions), 0, NULL},
    {"data", JSON_I64_FIELD, AT(data), 0, NULL},
    {"payload", JSON_I64_FIELD, AT(payload), 0, NULL},
    {"bearer_token", JSON_BOOL_FIELD, AT(bearer), 0, NULL},
    {"proxy_required", JSON_BOOL_FIELD, AT(proxy_required), 0, NULL},
    {"allowed_connection_types", JSON_LIST_FIELD, AT(connection_types), 0, NULL},
};

bool jwt_user_limits_read(json_t *nats, bool unlimited, struct jwt_user_limits *out,
                          struct buf *err)
{
    int64_t absent = unlimited ? JWT_NO_LIMIT : 0;
    struct raw_limits r = {.subscriptions = absent, .data = absent, .payload = absent};
    bool ok;

    memset(out, 0, sizeof(*out));
    ok = nats == NULL ||
         (fields_read(nats, limit_fields, ARRAY_LEN(limit_fields), &r, false, err) &&
          jwt_permissions_read(nats, &out->may, err) && read_src(r.src, &out->src, err) &&
          read_times(r.times, out, err));
    out->subscriptions = r.subscriptions;
    out->data = r.data;
    out->payload = r.payload;
    out->bearer = r.bearer;
    out->proxy_required = r.proxy_required;
    if (ok) {
        out->locale = r.locale;
        out->connection_types = r.connection_types;
        r.locale = NULL;
        r.connection_types = (struct str_list){0};
    } else {
        jwt_user_limits_free(out);
    }
    fields_release(limit_fields, ARRAY_LEN(limit_fields), &r);
    return ok;
}

/* ---- users ----------------------------------------------------------------------------------- */

static bool is_kind(const struct jwt *j, enum jwt_kind kind, const char *text, struct buf *err)
{
    if (j->kind == kind)
        return true;
    buf_puts(err, text);
    return false;
}

void user_claims_free(struct user_claims *u)
{
    jwt_free(&u->jwt);
    jwt_user_limits_free(&u->limits);
}

bool user_claims_read(struct str token, struct user_claims *out, struct buf *err)
{
    bool ok;

    memset(out, 0, sizeof(*out));
    ok = jwt_decode(token, &out->jwt, err) && is_kind(&out->jwt, JWT_USER, "not user claim", err) &&
         jwt_user_limits_read(out->jwt.nats, out->jwt.version < 2, &out->limits, err);
    if (!ok)
        user_claims_free(out);
    return ok;
}

/* ---- activations ----------------------------------------------------------------------------- */

static const char *const link_texts[] = {"\x01", "stream", "service", NULL};

void activation_claims_free(struct activation_claims *a)
{
    jwt_free(&a->jwt);
    mem_free(a->subject);
    a->subject = NULL;
}

bool activation_claims_read(struct str token, struct activation_claims *out, struct buf *err)
{
    /* The first version had no other use for "type" in there. */
    static const struct json_field first[] = {
        {"subject", JSON_STRING_FIELD, offsetof(struct activation_claims, subject), 0, NULL},
        {"type", JSON_ENUM_FIELD, offsetof(struct activation_claims, type), 0, link_texts},
    };
    static const struct json_field second[] = {
        {"subject", JSON_STRING_FIELD, offsetof(struct activation_claims, subject), 0, NULL},
        {"kind", JSON_ENUM_FIELD, offsetof(struct activation_claims, type), 0, link_texts},
    };
    bool ok;

    memset(out, 0, sizeof(*out));
    ok = jwt_decode(token, &out->jwt, err) &&
         is_kind(&out->jwt, JWT_ACTIVATION, "not activation claim", err) &&
         (out->jwt.nats == NULL ||
          fields_read(out->jwt.nats, out->jwt.version < 2 ? first : second, 2, out, false, err));
    if (!ok)
        activation_claims_free(out);
    return ok;
}

/* ---- answers of authorization services ------------------------------------------------------- */

void response_claims_free(struct response_claims *r)
{
    jwt_free(&r->jwt);
    mem_free(r->token);
    mem_free(r->error);
    r->token = r->error = NULL;
}

bool response_claims_read(struct str token, struct response_claims *out, struct buf *err)
{
    static const struct json_field fields[] = {
        {"jwt", JSON_STRING_FIELD, offsetof(struct response_claims, token), 0, NULL},
        {"error", JSON_STRING_FIELD, offsetof(struct response_claims, error), 0, NULL},
    };
    bool ok;

    memset(out, 0, sizeof(*out));
    ok = jwt_decode(token, &out->jwt, err) &&
         is_kind(&out->jwt, JWT_RESPONSE, "not an authorization request claim", err) &&
         (out->jwt.nats == NULL ||
          fields_read(out->jwt.nats, fields, ARRAY_LEN(fields), out, false, err));
    if (!ok)
        response_claims_free(out);
    return ok;
}
