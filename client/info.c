/* info.c - the two JSON texts of the handshake: INFO as we read it, CONNECT as we write it. */
#include "client/client_int.h"
#include "lib/base/mem.h"

static const struct json_field info_fields[] = {
    {"nonce", JSON_STRING_FIELD, offsetof(struct client_info, nonce), 0, NULL},
    {"max_payload", JSON_I64_FIELD, offsetof(struct client_info, max_payload), 0, NULL},
    {"tls_available", JSON_BOOL_FIELD, offsetof(struct client_info, tls_available), 0, NULL},
    {"tls_required", JSON_BOOL_FIELD, offsetof(struct client_info, tls_required), 0, NULL},
};

#define FIELDS(t) (t), sizeof(t) / sizeof((t)[0])

bool client_info_read(struct client_info *info, struct str json)
{
    struct client_info fresh = {0};
    struct buf err = {0};
    json_t *object = json_parse_object(json, &err);
    bool good = object != NULL && fields_read(object, FIELDS(info_fields), &fresh, false, &err) &&
                fresh.max_payload >= 0;

    json_decref(object);
    buf_free(&err);
    if (!good) {
        fields_release(FIELDS(info_fields), &fresh);
        return false;
    }
    client_info_free(info);
    *info = fresh;
    return true;
}

void client_info_free(struct client_info *info)
{
    fields_release(FIELDS(info_fields), info);
}

static void put_text(struct buf *b, const char *key, const char *value)
{
    if (value == NULL)
        return;
    buf_printf(b, ",\"%s\":", key);
    jput_string(b, str_of(value));
}

bool client_put_connect(struct midge *m)
{
    buf_puts(&m->out,
             "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":true,\"headers\":true,"
             "\"no_responders\":true,\"protocol\":1,\"lang\":\"c-midge\",\"version\":\"0.1.0\"");
    put_text(&m->out, "name", m->o.name);
    put_text(&m->out, "user", m->o.user);
    put_text(&m->out, "pass", m->o.pass);
    put_text(&m->out, "auth_token", m->o.token);
    if (client_transport_secure(m))
        buf_puts(&m->out, ",\"tls_required\":true");
    if (!client_put_creds(m))
        return false;
    buf_puts(&m->out, "}\r\n");
    return true;
}
