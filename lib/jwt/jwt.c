/* jwt.c - three chunks, one signature; jwt.h has the format. */
#include "lib/jwt/jwt.h"

#include "lib/base/assert.h"
#include "lib/base/base64.h"
#include "lib/base/mem.h"

#include <ctype.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>

static const char *const kinds[] = {"generic",
                                    "operator",
                                    "account",
                                    "user",
                                    "activation",
                                    "authorization_request",
                                    "authorization_response"};

/* ---- reading --------------------------------------------------------------------------------- */

#define AT(member) offsetof(struct jwt, member)

static const struct json_field common[] = {
    {"aud", JSON_STRING_FIELD, AT(audience), 0, NULL},
    {"exp", JSON_I64_FIELD, AT(expires), 0, NULL},
    {"jti", JSON_STRING_FIELD, AT(id), 0, NULL},
    {"iat", JSON_I64_FIELD, AT(issued_at), 0, NULL},
    {"iss", JSON_STRING_FIELD, AT(issuer), 0, NULL},
    {"name", JSON_STRING_FIELD, AT(name), 0, NULL},
    {"nbf", JSON_I64_FIELD, AT(not_before), 0, NULL},
    {"sub", JSON_STRING_FIELD, AT(subject), 0, NULL},
    {"nats", JSON_RAW_FIELD, AT(nats), 0, NULL},
};

/* Kind, tags and issuer_account; beside "nats" in version 1, in it later. */
struct kind_fields {
    char *type;
    int64_t version;
    char *issuer_account;
    struct str_list tags;
};

#undef AT
#define AT(member) offsetof(struct kind_fields, member)

static const struct json_field kind_fields[] = {
    {"type", JSON_STRING_FIELD, AT(type), 0, NULL},
    {"version", JSON_I64_FIELD, AT(version), 0, NULL},
    {"issuer_account", JSON_STRING_FIELD, AT(issuer_account), 0, NULL},
    {"tags", JSON_LIST_FIELD, AT(tags), 0, NULL},
};

static void kind_free(struct kind_fields *k)
{
    fields_release(kind_fields, ARRAY_LEN(kind_fields), k);
}

void jwt_free(struct jwt *j)
{
    fields_release(common, ARRAY_LEN(common), j);
    mem_free(j->issuer_account);
    str_list_free(&j->tags);
    memset(j, 0, sizeof(*j));
}

struct chunks {
    struct str header, claims, sig, signed_v2;
};

static bool cut(struct str token, struct chunks *out, struct buf *err)
{
    struct str rest;

    if (token.n > JWT_MAX) {
        buf_printf(err, "token size %zu exceeds maximum of %u bytes: token too large", token.n,
                   JWT_MAX);
        return false;
    }
    out->header = str_cut(token, '.', &rest);
    out->claims = str_cut(rest, '.', &rest);
    out->sig = rest;
    if (rest.p == NULL || memchr(rest.p, '.', rest.n) != NULL) {
        buf_puts(err, "expected 3 chunks");
        return false;
    }
    out->signed_v2 = str_from(token.p, out->header.n + 1 + out->claims.n);
    return true;
}

/* The byte that ends it: one of another alphabet, or a last one that is alone. */
static size_t illegal_at(struct str chunk)
{
    for (size_t i = 0; i < chunk.n; i++)
        if (!isalnum((unsigned char) chunk.p[i]) && chunk.p[i] != '-' && chunk.p[i] != '_')
            return i;
    return chunk.n - 1;
}

static bool unpack(struct str chunk, struct buf *out, struct buf *err)
{
    if (chunk.n == 0 || base64_decode(out, chunk))
        return true;
    buf_printf(err, "illegal base64 data at input byte %zu", illegal_at(chunk));
    return false;
}

static json_t *unpack_json(struct str chunk, struct buf *err)
{
    struct buf text = {0};
    json_t *o = NULL;

    if (chunk.n == 0)
        buf_puts(err, "unexpected end of JSON input");
    else if (unpack(chunk, &text, err))
        o = json_parse_object(buf_str(&text), err);
    buf_free(&text);
    return o;
}

struct header {
    char *type, *algorithm;
};

static bool header_valid(const struct header *h, bool *v1, struct buf *err)
{
    const char *alg = jwt_text(h->algorithm);

    if (strcasecmp(jwt_text(h->type), "JWT") != 0) {
        buf_printf(err, "not supported type \"%s\"", jwt_text(h->type));
        return false;
    }
    *v1 = strcasecmp(alg, "ed25519") == 0;
    if (!*v1 && strcasecmp(alg, "ed25519-nkey") != 0) {
        buf_printf(err, "unexpected \"%s\" algorithm", alg);
        return false;
    }
    return true;
}

static bool read_header(struct str chunk, bool *v1, struct buf *err)
{
    static const struct json_field fields[] = {
        {"typ", JSON_STRING_FIELD, offsetof(struct header, type), 0, NULL},
        {"alg", JSON_STRING_FIELD, offsetof(struct header, algorithm), 0, NULL},
    };
    struct header h = {0};
    json_t *o = unpack_json(chunk, err);
    bool ok = o != NULL && fields_read(o, fields, ARRAY_LEN(fields), &h, false, err) &&
              header_valid(&h, v1, err);

    json_decref(o);
    fields_release(fields, ARRAY_LEN(fields), &h);
    return ok;
}

static bool take_kind(struct jwt *j, struct kind_fields *k, bool outside, struct buf *err)
{
    if (k->type != NULL && (strcmp(k->type, "cluster") == 0 || strcmp(k->type, "server") == 0)) {
        buf_printf(err, "%sClaims are not supported",
                   strcmp(k->type, "cluster") == 0 ? "Cluster" : "Server");
        return false;
    }
    for (size_t i = 1; k->type != NULL && i < ARRAY_LEN(kinds); i++)
        if (strcmp(k->type, kinds[i]) == 0)
            j->kind = (enum jwt_kind) i;
    j->version = outside ? 1 : k->version;
    j->issuer_account = k->issuer_account;
    j->tags = k->tags;
    k->issuer_account = NULL;
    k->tags = (struct str_list){0};
    if (j->version > JWT_VERSION) {
        buf_puts(err, "JWT was generated by a newer version ");
        return false;
    }
    if (j->kind != JWT_GENERIC && j->version < 1) {
        buf_printf(err, "library supports version %d or less - received %lld", JWT_VERSION,
                   (long long) j->version);
        return false;
    }
    return true;
}

/* A kind beside "nats" is one of version 1. */
static bool read_kind(struct jwt *j, json_t *root, struct buf *err)
{
    struct kind_fields outside = {0}, inside = {0};
    bool ok = fields_read(root, kind_fields, ARRAY_LEN(kind_fields), &outside, false, err);
    bool v1 = outside.type != NULL;

    if (ok && j->nats != NULL && !json_is_object(j->nats)) {
        buf_puts(err, "json: cannot unmarshal value into field nats");
        ok = false;
    }
    if (ok && !v1 && j->nats != NULL)
        ok = fields_read(j->nats, kind_fields, ARRAY_LEN(kind_fields), &inside, false, err);
    ok = ok && take_kind(j, v1 ? &outside : &inside, v1, err);
    kind_free(&outside);
    kind_free(&inside);
    return ok;
}

static bool read_claims(struct jwt *j, struct str chunk, bool generic, struct buf *err)
{
    json_t *root = unpack_json(chunk, err);
    bool ok = root != NULL && fields_read(root, common, ARRAY_LEN(common), j, false, err) &&
              (generic || read_kind(j, root, err));

    json_decref(root);
    return ok;
}

/* ---- the signature --------------------------------------------------------------------------- */

static bool verified(const struct jwt *j, const struct chunks *c, bool v1, struct buf *err)
{
    struct buf sig = {0};
    bool ok = unpack(c->sig, &sig, err);

    if (ok && !nkey_signed(str_of(j->issuer), buf_str(&sig), v1 ? c->claims : c->signed_v2)) {
        buf_printf(err, "claim failed V%d signature verification", v1 ? 1 : 2);
        ok = false;
    }
    buf_free(&sig);
    return ok;
}

static bool signer_fits(const struct jwt *j, struct buf *err)
{
    static const struct {
        enum nkey_kind a, b;
        const char *text;
    } signers[] = {
        [JWT_OPERATOR] = {NKEY_OPERATOR, NKEY_OPERATOR, "[operator]"},
        [JWT_ACCOUNT] = {NKEY_ACCOUNT, NKEY_OPERATOR, "[account operator]"},
        [JWT_USER] = {NKEY_ACCOUNT, NKEY_ACCOUNT, "[account]"},
        [JWT_ACTIVATION] = {NKEY_ACCOUNT, NKEY_OPERATOR, "[account operator]"},
        [JWT_REQUEST] = {NKEY_SERVER, NKEY_SERVER, "[server]"},
        [JWT_RESPONSE] = {NKEY_ACCOUNT, NKEY_ACCOUNT, "[account]"},
    };

    if (j->kind == JWT_GENERIC || nkey_is(str_of(j->issuer), signers[j->kind].a) ||
        nkey_is(str_of(j->issuer), signers[j->kind].b))
        return true;
    buf_printf(err, "unable to validate expected prefixes - %s", signers[j->kind].text);
    return false;
}

static bool decode(struct str token, bool generic, struct jwt *out, struct buf *err)
{
    struct chunks c;
    bool old_header, ok;

    memset(out, 0, sizeof(*out));
    ok = cut(str_trim(token), &c, err) && read_header(c.header, &old_header, err) &&
         read_claims(out, c.claims, generic, err) &&
         verified(out, &c, generic ? old_header : out->kind == JWT_GENERIC || out->version < 2,
                  err) &&
         (generic || signer_fits(out, err));
    if (!ok)
        jwt_free(out);
    return ok;
}

bool jwt_decode(struct str token, struct jwt *out, struct buf *err)
{
    return decode(token, false, out, err);
}

bool jwt_decode_generic(struct str token, struct jwt *out, struct buf *err)
{
    return decode(token, true, out, err);
}

/* ---- decoration ------------------------------------------------------------------------------ */

json_t *jwt_claims_json(struct str token)
{
    struct buf ignored = {0};
    struct chunks c;
    json_t *claims = cut(str_trim(token), &c, &ignored) ? unpack_json(c.claims, &ignored) : NULL;

    buf_free(&ignored);
    return claims;
}

static bool is_dashes(struct str line)
{
    line = str_trim(line);
    return line.n >= 6 && str_starts(line, STR("---")) &&
           str_eq(str_skip(line, line.n - 3), STR("---"));
}

struct str jwt_undecorate(struct str text)
{
    struct str rest = text;
    bool open = false;

    while (rest.p != NULL) {
        struct str line = str_cut(rest, '\n', &rest);
        if (is_dashes(line)) {
            open = true;
        } else if (open) {
            struct str next = rest;
            struct str after = next.p != NULL ? str_cut(next, '\n', &next) : STR_NONE;
            if (is_dashes(after))
                return str_trim(line);
            open = false;
        }
    }
    return text;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_text(struct buf *b, const char *key, const char *value)
{
    if (value == NULL)
        return;
    buf_printf(b, "%s\"%s\":", b->p[b->n - 1] == '{' ? "" : ",", key);
    jput_string(b, str_of(value));
}

static void put_number(struct buf *b, const char *key, int64_t value)
{
    if (value != 0)
        buf_printf(b, "%s\"%s\":%lld", b->p[b->n - 1] == '{' ? "" : ",", key, (long long) value);
}

/* The claims without "nats" and without their end. */
static void put_common(struct buf *b, const struct jwt *j, const char *issuer, const char *id,
                       int64_t now)
{
    buf_putc(b, '{');
    put_text(b, "aud", j->audience);
    put_number(b, "exp", j->expires);
    put_text(b, "jti", id);
    put_number(b, "iat", now);
    put_text(b, "iss", issuer);
    put_text(b, "name", j->name);
    put_number(b, "nbf", j->not_before);
    put_text(b, "sub", j->subject);
}

/* An id by contents: a hash of the claims before they have one, in base32. */
static void make_id(const struct jwt *j, const char *issuer, int64_t now, char out[53])
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint8_t hash[32];
    struct buf b = {0};
    uint32_t bits = 0;
    unsigned have = 0;

    put_common(&b, j, issuer, NULL, now);
    crypto_generichash(hash, sizeof(hash), (const uint8_t *) b.p, b.n, NULL, 0);
    for (size_t i = 0; i < sizeof(hash); i++) {
        bits = (bits << 8) | hash[i];
        for (have += 8; have >= 5; have -= 5)
            *out++ = alphabet[(bits >> (have - 5)) & 31];
    }
    *out++ = alphabet[(bits << (5 - have)) & 31];
    *out = '\0';
    buf_free(&b);
}

static void put_nats(struct buf *b, const struct jwt *j, struct str fields)
{
    buf_puts(b, ",\"nats\":{");
    buf_put_str(b, fields);
    for (size_t i = 0; i < j->tags.n; i++) {
        buf_puts(b, i > 0 ? "," : fields.n > 0 ? ",\"tags\":[" : "\"tags\":[");
        jput_string(b, str_of(j->tags.items[i]));
    }
    buf_printf(b, "%s\"type\":\"%s\",\"version\":%d}}",
               j->tags.n > 0  ? "],"
               : fields.n > 0 ? ","
                              : "",
               kinds[j->kind], JWT_VERSION);
}

void jwt_encode(struct buf *out, const struct jwt *j, struct str nats_fields,
                enum nkey_kind issuer_kind, const uint8_t secret[NKEY_SECRET_BYTES], int64_t now)
{
    static const struct str header = STR_LIT("{\"typ\":\"JWT\",\"alg\":\"ed25519-nkey\"}");
    char issuer[NKEY_LEN + 1], id[53];
    uint8_t sig[NKEY_SIG_BYTES];
    struct buf claims = {0};
    size_t start = out->n;

    nkey_encode(issuer_kind, secret + NKEY_KEY_BYTES, issuer);
    make_id(j, issuer, now, id);
    put_common(&claims, j, issuer, id, now);
    put_nats(&claims, j, nats_fields);
    base64url_encode(out, header);
    buf_putc(out, '.');
    base64url_encode(out, buf_str(&claims));
    nkey_sign(secret, str_from(out->p + start, out->n - start), sig);
    buf_putc(out, '.');
    base64url_encode(out, str_from(sig, sizeof(sig)));
    buf_free(&claims);
}

/* ---- issues ---------------------------------------------------------------------------------- */

static struct jwt_issue *issue(struct jwt_issues *is)
{
    is->list = mem_realloc(is->list, (is->n + 1) * sizeof(*is->list));
    is->list[is->n] = (struct jwt_issue){0};
    return &is->list[is->n++];
}

void jwt_issues_error(struct jwt_issues *is, const char *format, ...)
{
    struct jwt_issue *i = issue(is);
    struct buf b = {0};
    va_list args;

    va_start(args, format);
    buf_vprintf(&b, format, args);
    va_end(args);
    i->text = mem_strdup(buf_cstr(&b));
    i->blocking = true;
    buf_free(&b);
}

void jwt_issues_warning(struct jwt_issues *is, const char *text)
{
    issue(is)->text = mem_strdup(text);
}

void jwt_issues_time(struct jwt_issues *is, const struct jwt *j, int64_t now)
{
    struct jwt_issue *i;

    if (j->expires > 0 && now > j->expires) {
        i = issue(is);
        i->text = mem_strdup("claim is expired");
        i->time = true;
    }
    if (j->not_before > 0 && j->not_before > now) {
        i = issue(is);
        i->text = mem_strdup("claim is not yet valid");
        i->time = true;
    }
}

bool jwt_issues_block(const struct jwt_issues *is, bool with_time)
{
    for (size_t i = 0; i < is->n; i++)
        if (is->list[i].blocking || (with_time && is->list[i].time))
            return true;
    return false;
}

void jwt_issues_text(const struct jwt_issues *is, struct buf *out)
{
    bool first = true;

    buf_putc(out, '[');
    for (size_t i = 0; i < is->n; i++) {
        if (!is->list[i].blocking)
            continue;
        buf_printf(out, "%s%s", first ? "" : " ", is->list[i].text);
        first = false;
    }
    buf_putc(out, ']');
}

void jwt_issues_free(struct jwt_issues *is)
{
    for (size_t i = 0; i < is->n; i++)
        mem_free(is->list[i].text);
    mem_free(is->list);
    *is = (struct jwt_issues){0};
}
