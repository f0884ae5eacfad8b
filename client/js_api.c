/*
 * js_api.c - requests of JetStream's API: subjects, errors, pages.
 *
 * Every answer is one JSON object. One with "error" is an error whatever else it holds; its
 * err_code decides which of our codes it becomes.
 */
#include "client/js_int.h"
#include "lib/base/mem.h"

#include <string.h>

struct api_error {
    int64_t code, err_code;
    char *description;
};

static const struct json_field error_fields[] = {
    {"code", JSON_I64_FIELD, offsetof(struct api_error, code), 0, NULL},
    {"err_code", JSON_I64_FIELD, offsetof(struct api_error, err_code), 0, NULL},
    {"description", JSON_STRING_FIELD, offsetof(struct api_error, description), 0, NULL},
};

/* ---- answers --------------------------------------------------------------------------------- */

static int code_of(const struct api_error *e)
{
    if (e->err_code == JS_ERR_WRONG_LAST || e->err_code == JS_ERR_WRONG_LAST_BARE)
        return MIDGE_CONFLICT;
    return e->code == 404 ? MIDGE_NOT_FOUND : MIDGE_REFUSED;
}

static int take_error(struct midge *m, json_t *object)
{
    struct api_error e = {0};
    struct buf err = {0};
    int rc;

    if (!json_is_object(object) || !fields_read(object, JS_FIELDS(error_fields), &e, false, &err))
        rc = client_error(m, MIDGE_REFUSED, "an error that is not understood");
    else
        rc = client_error(m, code_of(&e), "%s", e.description != NULL ? e.description : "error");
    m->error_code = e.err_code > 0 && e.err_code < 100000 ? (unsigned) e.err_code : 0;
    fields_release(JS_FIELDS(error_fields), &e);
    buf_free(&err);
    return rc;
}

int js_answer(struct midge *m, struct str text, json_t **out)
{
    struct buf err = {0};
    json_t *object = json_parse_object(text, &err), *error;
    int rc = MIDGE_OK;

    *out = NULL;
    if (object == NULL) {
        rc = client_error(m, MIDGE_REFUSED, "an answer that is not understood: %s", buf_cstr(&err));
        buf_free(&err);
        return rc;
    }
    error = json_object_get(object, "error");
    if (error != NULL) {
        rc = take_error(m, error);
        json_decref(object);
        return rc;
    }
    *out = object;
    return MIDGE_OK;
}

int js_read(struct midge *m, json_t *object, const struct json_field *fields, size_t n, void *out)
{
    struct buf err = {0};
    int rc = MIDGE_OK;

    if (!json_is_object(object))
        rc = client_error(m, MIDGE_REFUSED, "an answer without what it should hold");
    else if (!fields_read(object, fields, n, out, false, &err))
        rc = client_error(m, MIDGE_REFUSED, "an answer that is not understood: %s", buf_cstr(&err));
    buf_free(&err);
    return rc;
}

/* ---- questions ------------------------------------------------------------------------------- */

void js_subject(struct midge *m, struct buf *b, const char *format, ...)
{
    va_list args;

    buf_puts(b, m->js_prefix);
    va_start(args, format);
    buf_vprintf(b, format, args);
    va_end(args);
}

struct kept {
    char *text;
    size_t n;
};

static void keep(void *ctx, const struct midge_msg *msg)
{
    struct kept *k = ctx;

    k->n = msg->payload.n;
    k->text = mem_strndup(msg->payload.n > 0 ? msg->payload.p : "", msg->payload.n);
}

static int ask(struct midge *m, const char *subject, struct midge_text body, int timeout_ms,
               struct kept *answer)
{
    struct buf full = {0};
    struct midge_msg msg = {.payload = body};
    int rc;

    js_subject(m, &full, "%s", subject);
    msg.subject = client_text(buf_str(&full));
    rc = midge_request(m, &msg, timeout_ms, keep, answer);
    buf_free(&full);
    return rc;
}

int js_call(struct midge *m, const char *subject, struct buf *body, json_t **out)
{
    struct kept answer = {0};
    json_t *object = NULL;
    int rc = ask(m, subject,
                 body != NULL ? client_text(buf_str(body)) : (struct midge_text){NULL, 0},
                 m->o.timeout_ms, &answer);

    if (rc == MIDGE_OK)
        rc = js_answer(m, str_from(answer.text, answer.n), &object);
    mem_free(answer.text);
    if (out != NULL)
        *out = object;
    else
        json_decref(object);
    return rc;
}

int js_callf(struct midge *m, struct buf *body, json_t **out, const char *format, ...)
{
    struct buf subject = {0};
    va_list args;
    int rc;

    va_start(args, format);
    buf_vprintf(&subject, format, args);
    va_end(args);
    rc = js_call(m, buf_cstr(&subject), body, out);
    buf_free(&subject);
    if (body != NULL)
        buf_free(body);
    return rc;
}

int midge_js_api(struct midge *m, const char *subject, const char *json, int timeout_ms,
                 char **answer)
{
    struct kept kept = {0};
    json_t *object = NULL;
    int rc = ask(m, subject, midge_text_of(json), timeout_ms, &kept);

    if (rc == MIDGE_OK)
        rc = js_answer(m, str_from(kept.text, kept.n), &object);
    json_decref(object);
    if (answer != NULL)
        *answer = kept.text;
    else
        mem_free(kept.text);
    return rc;
}

/* ---- pages ----------------------------------------------------------------------------------- */

struct page {
    int64_t total, offset, limit;
};

static const struct json_field page_fields[] = {
    {"total", JSON_I64_FIELD, offsetof(struct page, total), 0, NULL},
    {"offset", JSON_I64_FIELD, offsetof(struct page, offset), 0, NULL},
    {"limit", JSON_I64_FIELD, offsetof(struct page, limit), 0, NULL},
};

/* Hands out what is under the key; returns how many that were. */
static int64_t hand_out(json_t *list, void (*each)(void *ctx, json_t *item), void *ctx)
{
    int64_t n = 0;
    size_t i;
    json_t *item;

    if (!json_is_array(list))
        return 0;
    json_array_foreach(list, i, item)
    {
        each(ctx, item);
        n++;
    }
    return n;
}

int js_pages(struct midge *m, const char *subject, const char *body, const char *key,
             void (*each)(void *ctx, json_t *item), void *ctx)
{
    struct page page = {0};
    int64_t seen = 0, n = 0;
    int rc;

    do {
        struct buf b = {0};
        json_t *answer;
        buf_printf(&b, "{\"offset\":%lld%s%s}", (long long) seen, body != NULL ? "," : "",
                   body != NULL ? body : "");
        rc = js_call(m, subject, &b, &answer);
        buf_free(&b);
        if (rc == MIDGE_OK)
            rc = js_read(m, answer, JS_FIELDS(page_fields), &page);
        n = rc == MIDGE_OK ? hand_out(json_object_get(answer, key), each, ctx) : 0;
        json_decref(answer);
        seen += n;
    } while (rc == MIDGE_OK && n > 0 && seen < page.total);
    return rc;
}

/* ---- names ----------------------------------------------------------------------------------- */

bool js_name_valid(const char *name)
{
    size_t n = 0;

    if (name == NULL)
        return false;
    for (; name[n] != '\0'; n++)
        if ((unsigned char) name[n] <= ' ' || name[n] == 0x7f || strchr(".*>\\/", name[n]) != NULL)
            return false;
    return n > 0 && n <= 255;
}

int js_bad_name(struct midge *m, const char *what, const char *name)
{
    return client_error(m, MIDGE_INVALID, "%s \"%.100s\" is not a name", what,
                        name != NULL ? name : "");
}
