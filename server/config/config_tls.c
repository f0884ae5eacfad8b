/*
 * config_tls.c - a tls block.
 *
 *     tls {
 *         cert_file: "server.pem", key_file: "key.pem", ca_file: "ca.pem"
 *         certs: [ { cert_file: "a.pem", key_file: "a.key" } ]       instead of the first two
 *         verify: true                       or verify_and_map: true
 *         timeout: 2                         seconds, or "2s"
 *         cipher_suites: [ "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" ]
 *         curve_preferences: [ "X25519", "CurveP256" ]
 *         min_version: "1.3"
 *         pinned_certs: [ "<sha256 in hex>" ]
 *         handshake_first: true              or "auto" (50 ms), or a duration
 *         ocsp_peer: true                    config_ocsp.c
 *     }
 */
#include "lib/base/assert.h"
#include "lib/base/buf.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "server/config/config_apply.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define FIRST_AUTO_NS 50000000ll
#define PIN_LEN 64u
#define CERTS_MAX 64u

static struct tls_options *block(struct config_context *c)
{
    return &c->o->tls;
}

/* A list of texts, joined by commas. */
static bool texts(struct config_context *c, const struct conf_value *v, const char *what,
                  const char *before, const char *behind, bool (*right)(const char *text),
                  char **out)
{
    struct buf b = {0};

    if (v->kind != CONF_LIST && strcmp(what, "pinned_certs") == 0)
        return config_fail(c, v,
                           "error parsing tls config, expected 'pinned_certs' to be a list of "
                           "hex-encoded sha256 of DER encoded SubjectPublicKeyInfo");
    if (v->kind != CONF_LIST)
        return config_fail(c, v, "error parsing tls config, expected '%s' to be a list", what);
    if (v->n == 0)
        return config_fail(c, v, "error parsing tls config, '%s' cannot be empty", what);
    for (size_t i = 0; i < v->n; i++) {
        const struct conf_value *item = v->items[i];
        if (item->text == NULL || (right != NULL && !right(item->text))) {
            buf_free(&b);
            return config_fail(c, item, "%s %s%s", before, item->text != NULL ? item->text : "",
                               behind);
        }
        if (i > 0)
            buf_putc(&b, ',');
        buf_puts(&b, item->text);
    }
    config_keep(out, buf_cstr(&b));
    buf_free(&b);
    return true;
}

static bool is_suite(const char *name)
{
    return strncmp(name, "TLS_", 4) == 0 && strchr(name, ',') == NULL;
}

static bool is_curve(const char *name)
{
    static const char *const names[] = {"X25519", "CurveP256", "CurveP384", "CurveP521"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool is_pin(const char *text)
{
    return strlen(text) == PIN_LEN && strspn(text, "0123456789abcdefABCDEF") == PIN_LEN;
}

static bool suites(struct config_context *c, const struct conf_value *v)
{
    return texts(c, v, "cipher_suites", "unrecognized cipher", "", is_suite, &block(c)->ciphers);
}

static bool curves(struct config_context *c, const struct conf_value *v)
{
    return texts(c, v, "curve_preferences", "unrecognized curve preference", "", is_curve,
                 &block(c)->curves);
}

static bool pinned(struct config_context *c, const struct conf_value *v)
{
    if (!texts(c, v, "pinned_certs", "error parsing tls config, 'pinned_certs' key",
               " does not look like hex-encoded "
               "sha256 of DER encoded SubjectPublicKeyInfo",
               is_pin, &block(c)->pinned))
        return false;
    for (char *p = block(c)->pinned; *p != '\0'; p++)
        *p = (char) tolower((unsigned char) *p);
    return true;
}

static bool min_version(struct config_context *c, const struct conf_value *v)
{
    if (v->text != NULL && strcmp(v->text, "1.2") == 0)
        block(c)->min_version = 12;
    else if (v->text != NULL && strcmp(v->text, "1.3") == 0)
        block(c)->min_version = 13;
    else if (v->kind != CONF_TEXT && v->kind != CONF_FLOAT)
        return config_fail_said(c, v, "error parsing tls config: 'min_version' wrong type: ");
    else if (strcmp(v->text, "1.0") == 0 || strcmp(v->text, "1.1") == 0)
        return config_fail(c, v, "error parsing tls config: unsupported TLS version: TLS %s",
                           v->text);
    else
        return config_fail(c, v, "error parsing tls config: unknown version: %s", v->text);
    return true;
}

/* true, false, "auto", or how long to wait. */
static bool first(struct config_context *c, const struct conf_value *v, const char *key)
{
    struct tls_options *t = block(c);

    t->first_wait_ns = 0;
    if (v->kind == CONF_BOOL) {
        t->first = v->integer != 0;
        return true;
    }
    if (v->kind != CONF_TEXT)
        return config_fail(c, v, "field \"%s\" should be a boolean or a string, got %s", key,
                           config_type_name(v));
    t->first = true;
    if (strcasecmp(v->text, "auto") == 0)
        t->first_wait_ns = FIRST_AUTO_NS;
    else if (!fmt_parse_go_duration(str_of(v->text), &t->first_wait_ns) || t->first_wait_ns <= 0)
        return config_fail(c, v, "field \"%s\"'s value \"%s\" is invalid", key, v->text);
    return true;
}

static bool handshake_first(struct config_context *c, const struct conf_value *v)
{
    return first(c, v, "handshake_first");
}

static bool only_first(struct config_context *c, const struct conf_value *v)
{
    return first(c, v, "first");
}

static bool immediate(struct config_context *c, const struct conf_value *v)
{
    return first(c, v, "immediate");
}

static bool flag(struct config_context *c, const struct conf_value *v, const char *key, bool *out)
{
    if (v->kind != CONF_BOOL)
        return config_fail(c, v, "error parsing tls config, expected '%s' to be a boolean", key);
    *out = v->integer != 0;
    return true;
}

static bool verify(struct config_context *c, const struct conf_value *v)
{
    return flag(c, v, "verify", &block(c)->verify);
}

static bool insecure(struct config_context *c, const struct conf_value *v)
{
    return flag(c, v, "insecure", &block(c)->insecure);
}

static bool allow_insecure(struct config_context *c, const struct conf_value *v)
{
    return flag(c, v, "allow_insecure_cipher_suites", &block(c)->allow_insecure_suites);
}

/* What belongs to the connections between the servers of a cluster. */
static bool known_urls(struct config_context *c, const struct conf_value *v)
{
    bool on = false;

    if (!flag(c, v, "verify_cert_and_check_known_urls", &on))
        return false;
    return !on ||
           config_fail(c, v, "verify_cert_and_check_known_urls not supported in this context");
}

static bool file(struct config_context *c, const struct conf_value *v, const char *key, char **out)
{
    if (v->kind != CONF_TEXT)
        return config_fail(c, v, "error parsing tls config, expected '%s' to be filename", key);
    config_keep(out, v->text);
    return true;
}

static bool cert_file(struct config_context *c, const struct conf_value *v)
{
    return file(c, v, "cert_file", &block(c)->cert_file);
}

static bool key_file(struct config_context *c, const struct conf_value *v)
{
    return file(c, v, "key_file", &block(c)->key_file);
}

static bool ca_file(struct config_context *c, const struct conf_value *v)
{
    return file(c, v, "ca_file", &block(c)->ca_file);
}

static bool timeout(struct config_context *c, const struct conf_value *v)
{
    return config_timeout(c, v, "tls", &block(c)->timeout_ns);
}

static bool rate_limit(struct config_context *c, const struct conf_value *v)
{
    if (v->kind != CONF_INT)
        return config_fail(c, v, "error parsing tls config, 'connection_rate_limit' wrong type");
    block(c)->rate_limit = v->integer;
    return true;
}

static bool map(struct config_context *c, const struct conf_value *v)
{
    if (!flag(c, v, "verify_and_map", &block(c)->map))
        return false;
    if (block(c)->map)
        block(c)->verify = true;
    return true;
}

static bool pair(struct config_context *c, const struct conf_value *v, struct tls_pair *out)
{
    if (v->kind != CONF_MAP)
        return config_fail(c, v, "error parsing certificates config: unsupported type %s",
                           config_type_name(v));
    for (size_t i = 0; i < v->n; i++) {
        const struct conf_value *file = v->items[i];
        if (file->kind != CONF_TEXT)
            return config_fail(c, file, "error parsing certificates config: unsupported type %s",
                               config_type_name(file));
        if (strcmp(v->keys[i], "cert_file") == 0)
            config_keep(&out->cert_file, file->text);
        else if (strcmp(v->keys[i], "key_file") == 0)
            config_keep(&out->key_file, file->text);
        else
            return config_fail(c, file, "error parsing tls certs config, unknown field \"%s\"",
                               v->keys[i]);
    }
    return (out->cert_file != NULL && out->key_file != NULL) ||
           config_fail(c, v,
                       "error parsing certificates config: both 'cert_file' and 'cert_key' options "
                       "are required");
}

static bool certs(struct config_context *c, const struct conf_value *v)
{
    struct tls_options *t = block(c);

    if (v->kind != CONF_LIST) /* the type of the block, as the peer says */
        return config_fail(c, v,
                           "error parsing certificates config: unsupported type "
                           "map[string]interface {}");
    if (v->n > CERTS_MAX)
        return config_fail(c, v, "more than %u certificates", CERTS_MAX);
    for (size_t i = 0; i < v->n; i++) {
        t->certs = mem_realloc(t->certs, (t->ncerts + 1) * sizeof(*t->certs));
        t->certs[t->ncerts] = (struct tls_pair){0};
        if (!pair(c, v->items[i], &t->certs[t->ncerts++]))
            return false;
    }
    return true;
}

static const struct config_key keys[] = {
    {"cert_file", CONFIG_BLOCK, 0, cert_file},
    {"key_file", CONFIG_BLOCK, 0, key_file},
    {"ca_file", CONFIG_BLOCK, 0, ca_file},
    {"certs", CONFIG_BLOCK, 0, certs},
    {"certificates", CONFIG_BLOCK, 0, certs},
    {"verify", CONFIG_BLOCK, 0, verify},
    {"verify_and_map", CONFIG_BLOCK, 0, map},
    {"timeout", CONFIG_BLOCK, 0, timeout},
    {"connection_rate_limit", CONFIG_BLOCK, 0, rate_limit},
    {"cipher_suites", CONFIG_BLOCK, 0, suites},
    {"curve_preferences", CONFIG_BLOCK, 0, curves},
    {"pinned_certs", CONFIG_BLOCK, 0, pinned},
    {"min_version", CONFIG_BLOCK, 0, min_version},
    {"allow_insecure_cipher_suites", CONFIG_BLOCK, 0, allow_insecure},
    {"insecure", CONFIG_BLOCK, 0, insecure},
    {"verify_cert_and_check_known_urls", CONFIG_BLOCK, 0, known_urls},
    {"handshake_first", CONFIG_BLOCK, 0, handshake_first},
    {"first", CONFIG_BLOCK, 0, only_first},
    {"immediate", CONFIG_BLOCK, 0, immediate},
    {"ocsp_peer", CONFIG_BLOCK, 0, config_ocsp_peer},
};

void tls_options_free(struct tls_options *t)
{
    char **texts[] = {&t->cert_file, &t->key_file, &t->ca_file,
                      &t->ciphers,   &t->curves,   &t->pinned};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        mem_free(*texts[i]);
        *texts[i] = NULL;
    }
    for (size_t i = 0; i < t->ncerts; i++) {
        mem_free(t->certs[i].cert_file);
        mem_free(t->certs[i].key_file);
    }
    mem_free(t->certs);
    t->certs = NULL;
    t->ncerts = 0;
}

/* Without forward secrecy, or with what is broken. */
static bool is_insecure(const char *suite)
{
    static const char end[] = "_CBC_SHA256";
    size_t n = strlen(suite);

    return strncmp(suite, "TLS_RSA_", 8) == 0 || strstr(suite, "_RC4_") != NULL ||
           strstr(suite, "_3DES_") != NULL ||
           (n >= sizeof(end) && strcmp(suite + n - sizeof(end) + 1, end) == 0);
}

static bool suites_secure(struct config_context *c, const struct conf_value *v)
{
    struct str rest = str_of(block(c)->ciphers != NULL ? block(c)->ciphers : "");
    struct buf names = {0}, one = {0};
    bool ok;

    while (rest.n > 0) {
        buf_clear(&one);
        buf_put_str(&one, str_cut(rest, ',', &rest));
        if (!is_insecure(buf_cstr(&one)))
            continue;
        buf_puts(&names, names.n > 0 ? ", " : "");
        buf_puts(&names, buf_cstr(&one));
    }
    buf_free(&one);
    ok = names.n == 0 || block(c)->allow_insecure_suites ||
         config_fail(c, v,
                     "insecure cipher suites configured without 'allow_insecure_cipher_suites' "
                     "option set: %s",
                     buf_cstr(&names));
    buf_free(&names);
    return ok;
}

static bool read_block(struct config_context *c, const struct conf_value *v)
{
    if (!config_apply_map(c, v, "tls", keys, ARRAY_LEN(keys)) || !suites_secure(c, v))
        return false;
    block(c)->on = true;
    return block(c)->ncerts == 0 || block(c)->cert_file == NULL ||
           config_fail(c, v,
                       "error parsing tls config, cannot combine 'cert_file' option with 'certs' "
                       "option");
}

bool config_tls(struct config_context *c, const struct conf_value *v)
{
    if (!read_block(c, v))
        return false;
    if (block(c)->ncerts > 0)
        return true;
    if (block(c)->cert_file == NULL)
        return config_fail(c, v, "missing 'cert_file' in TLS configuration");
    if (block(c)->key_file == NULL)
        return config_fail(c, v, "missing 'key_file' in TLS configuration");
    return true;
}

/* The keys know one place; what they put there is moved. */
static bool read_into(struct config_context *c, const struct conf_value *v,
                      struct tls_options *into,
                      bool (*parse)(struct config_context *c, const struct conf_value *v))
{
    struct options *scratch = mem_zalloc(sizeof(*scratch));
    struct config_context there = {scratch, c->err, c->source};
    bool ok = parse(&there, v);

    tls_options_free(into);
    *into = scratch->tls;
    mem_free(scratch);
    return ok;
}

bool config_tls_into(struct config_context *c, const struct conf_value *v, struct tls_options *into)
{
    return read_into(c, v, into, config_tls);
}

bool config_tls_client(struct config_context *c, const struct conf_value *v,
                       struct tls_options *into)
{
    return read_into(c, v, into, read_block);
}
