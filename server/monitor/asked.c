/*
 * asked.c - what is asked of a document, from query parameters and from JSON.
 *
 * Texts of errors are the peer's. It decodes JSON into Go structs, so fields are found without
 * case, unknown ones are ignored, null says nothing, and a value of the wrong type is an error.
 */
#include "lib/base/mem.h"
#include "server/monitor/monitor_int.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

void asked_free(struct asked *a)
{
    char **const texts[] = {
        &a->sort,        &a->user,    &a->account, &a->filter_subject, &a->mqtt_client,
        &a->test,        &a->name,    &a->stream,  &a->consumer,       &a->group,
        &a->server_name, &a->cluster, &a->host,    &a->domain,
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        mem_free(*texts[i]);
    str_list_free(&a->only);
    str_list_free(&a->tags);
    *a = (struct asked){0};
}

/* ---- parameters of HTTP ---------------------------------------------------------------------- */

static bool read_bool(const char *text, bool *out)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (strcmp(text, yes[i]) == 0)
            return *out = true;
        if (strcmp(text, no[i]) == 0) {
            *out = false;
            return true;
        }
    }
    return false;
}

static bool bad(char err[256], const char *what, const char *name, const char *go, const char *text)
{
    snprintf(err, 256, "Error decoding %s for '%s': strconv.%s: parsing \"%.64s\": invalid syntax",
             what, name, go, text);
    return false;
}

static bool read_state(const char *text, int64_t *out, char err[256])
{
    if (strcasecmp(text, "open") == 0)
        *out = ASKED_OPEN;
    else if (strcasecmp(text, "closed") == 0)
        *out = ASKED_CLOSED;
    else if (strcasecmp(text, "any") == 0 || strcasecmp(text, "all") == 0)
        *out = ASKED_ALL;
    else {
        snprintf(err, 256, "Error decoding state for %.64s", text);
        return false;
    }
    return true;
}

bool asked_param(struct asked *a, const struct param *p, const char *value, char err[256])
{
    void *at = (char *) a + p->offset;

    if (value == NULL || value[0] == '\0')
        return true;
    switch (p->kind) {
    case PARAM_TEXT:
        mem_free(*(char **) at);
        *(char **) at = mem_strdup(value);
        return true;
    case PARAM_SUBS:
        a->subs_detail = strcasecmp(value, "detail") == 0;
        return a->subs_detail || read_bool(value, at) ||
               bad(err, "boolean", p->name, "ParseBool", value);
    case PARAM_BOOL:
        return read_bool(value, at) || bad(err, "boolean", p->name, "ParseBool", value);
    case PARAM_INT:
        return str_to_i64(str_of(value), at) || bad(err, "int", p->name, "Atoi", value);
    case PARAM_UINT:
        return str_to_u64(str_of(value), at) || bad(err, "uint64", p->name, "ParseUint", value);
    case PARAM_STATE:
        return read_state(value, at, err);
    }
    return true;
}

/* ---- bodies of requests ---------------------------------------------------------------------- */

static const struct json_field filters[] = {
    {"server_name", JSON_STRING_FIELD, ASKED(server_name), 0, NULL},
    {"cluster", JSON_STRING_FIELD, ASKED(cluster), 0, NULL},
    {"host", JSON_STRING_FIELD, ASKED(host), 0, NULL},
    {"exact_match", JSON_BOOL_FIELD, ASKED(exact_match), 0, NULL},
    {"tags", JSON_LIST_FIELD, ASKED(tags), 0, NULL},
    {"domain", JSON_STRING_FIELD, ASKED(domain), 0, NULL},
};

/* As the peer's parser says it, where that is easy to know. */
static void say_syntax(struct str body, struct buf *err)
{
    struct str s = str_trim(body);

    buf_clear(err);
    if (s.n > 0 && strchr("{[\"-0123456789tfn", s.p[0]) == NULL)
        buf_printf(err, "invalid character '%c' looking for beginning of value", s.p[0]);
    else
        buf_puts(err, "unexpected end of JSON input");
}

static const char *kind_of(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "number";
    default:
        return "bool";
    }
}

bool asked_read(struct asked *a, const struct document *d, struct str body, struct buf *err)
{
    json_error_t e;
    json_t *o;
    bool ok;

    if (body.n == 0)
        return true;
    o = json_loadb(body.p, body.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (o == NULL) {
        say_syntax(body, err);
        return false;
    }
    if (json_is_null(o)) {
        json_decref(o);
        return true;
    }
    if (!json_is_object(o)) {
        buf_printf(err, "json: cannot unmarshal %s into Go value of type server.EventFilterOptions",
                   kind_of(o));
        json_decref(o);
        return false;
    }
    ok = fields_read(o, filters, ARRAY_LEN(filters), a, false, err) &&
         (d == NULL || fields_read(o, d->fields, d->nfields, a, false, err));
    json_decref(o);
    return ok;
}
