/* claims_operator.c - whose word counts for accounts. */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/jwt/claims.h"

#include <string.h>

#define AT(member) offsetof(struct operator_claims, member)

static const struct json_field fields[] = {
    {"signing_keys", JSON_LIST_FIELD, AT(signing_keys), 0, NULL},
    {"operator_service_urls", JSON_LIST_FIELD, AT(service_urls), 0, NULL},
    {"account_server_url", JSON_STRING_FIELD, AT(account_server_url), 0, NULL},
    {"system_account", JSON_STRING_FIELD, AT(system_account), 0, NULL},
    {"assert_server_version", JSON_STRING_FIELD, AT(assert_server_version), 0, NULL},
    {"strict_signing_key_usage", JSON_BOOL_FIELD, AT(strict_signing_keys), 0, NULL},
};

void operator_claims_free(struct operator_claims *o)
{
    jwt_free(&o->jwt);
    fields_release(fields, ARRAY_LEN(fields), o);
    memset(o, 0, sizeof(*o));
}

bool operator_claims_read(struct str token, struct operator_claims *out, struct buf *err)
{
    bool ok;

    memset(out, 0, sizeof(*out));
    ok = jwt_decode(token, &out->jwt, err);
    if (ok && out->jwt.kind != JWT_OPERATOR) {
        buf_puts(err, "not operator claim");
        ok = false;
    }
    ok = ok && (out->jwt.nats == NULL ||
                fields_read(out->jwt.nats, fields, ARRAY_LEN(fields), out, false, err));
    /* Both came with the second version. */
    if (ok && out->jwt.version < 2) {
        mem_free(out->assert_server_version);
        out->assert_server_version = NULL;
        out->strict_signing_keys = false;
    }
    if (!ok)
        operator_claims_free(out);
    return ok;
}

bool operator_claims_signs(const struct operator_claims *o, const char *key)
{
    if (strcmp(jwt_text(o->jwt.subject), key) == 0)
        return !o->strict_signing_keys;
    for (size_t i = 0; i < o->signing_keys.n; i++)
        if (strcmp(o->signing_keys.items[i], key) == 0)
            return true;
    return false;
}
