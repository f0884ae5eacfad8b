/*
 * config_apply.h - values of a configuration tree into options by tables of keys; for config_*.c
 * only.
 *
 * Every function that may fail returns false with "file:line:col: text" in the context's err,
 * naming the place of the value (conf_parse.h). What is wrong elsewhere in the file follows, a line
 * each.
 */
#ifndef CONFIG_CONFIG_APPLY_H
#define CONFIG_CONFIG_APPLY_H

#include "server/config/conf_parse.h"
#include "server/config/options.h"

struct config_context {
    struct options *o;
    struct buf *err;
    const struct conf_source *source; /* of files that values name; NULL = there are none */
};

enum config_how {
    CONFIG_TEXT,
    CONFIG_INT,
    CONFIG_PORT,
    CONFIG_U32,
    CONFIG_U64,
    CONFIG_I64,
    CONFIG_FLAG,
    CONFIG_DURATION,
    CONFIG_SIZE, /* an int64_t */
    CONFIG_LISTEN,
    CONFIG_HTTP,
    CONFIG_KAFKA,
    CONFIG_BLOCK
};

struct config_key {
    const char *name;
    enum config_how how;
    size_t offset; /* in struct options */
    bool (*block)(struct config_context *c, const struct conf_value *v);
};

bool config_fail(struct config_context *c, const struct conf_value *v, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts the value, as Go prints it, behind the text of config_fail; false. */
bool config_said(struct config_context *c, const struct conf_value *v);
/* A text that ends in it. */
bool config_fail_said(struct config_context *c, const struct conf_value *v, const char *before);
/* The type of a value as nats-server's texts name it. */
const char *config_type_name(const struct conf_value *v);
/* Replaces a text. */
void config_keep(char **at, const char *text);
/* "2s", "1h30m", or a bare number of seconds; errors begin with `before`. */
bool config_duration(struct config_context *c, const struct conf_value *v, const char *before,
                     int64_t *out);
/* The same, a field `timeout` of that block. */
bool config_timeout(struct config_context *c, const struct conf_value *v, const char *block,
                    int64_t *out);
/* A number, or a text that ends in K, M, G or T, of 1024. */
bool config_size(struct config_context *c, const struct conf_value *v, const char *name,
                 int64_t *out);
/* v must be a map; a key that no row has is an error, unless it was used as a variable. */
bool config_apply_map(struct config_context *c, const struct conf_value *v, const char *what,
                      const struct config_key *keys, size_t n);

/* Is it one of these, in capital letters or small ones? names ends with NULL. */
bool config_is(const char *key, const char *const *names);
#define IS(key, ...) config_is((key), (const char *const[]){__VA_ARGS__, NULL})

/* "host:port", ":port", "[v6]:port" or a port; *host is replaced when there is one. */
bool config_listen(struct config_context *c, const struct conf_value *v, char **host, int *port);

/* config_tls.c: a tls block. */
bool config_tls(struct config_context *c, const struct conf_value *v);
/* That of another listener. */
bool config_tls_into(struct config_context *c, const struct conf_value *v,
                     struct tls_options *into);
/* As a client: a certificate is not needed. */
bool config_tls_client(struct config_context *c, const struct conf_value *v,
                       struct tls_options *into);
/* config_leaf.c: the leafnodes block. */
bool config_leafnodes(struct config_context *c, const struct conf_value *v);
/* config_websocket.c: the websocket block. */
bool config_websocket(struct config_context *c, const struct conf_value *v);
/* config_auth.c: the authorization block. */
bool config_authorization(struct config_context *c, const struct conf_value *v);
/* A map of permissions into *out, which is NULL before. */
bool config_permissions(struct config_context *c, const struct conf_value *v,
                        struct permissions **out);
/* A list of users, of that account; NULL = the default one. */
bool config_users(struct config_context *c, const struct conf_value *v, const char *account);
/* config_server.c: what tells about the server. */
bool config_tags(struct config_context *c, const struct conf_value *v);
bool config_metadata(struct config_context *c, const struct conf_value *v);
bool config_feature_flags(struct config_context *c, const struct conf_value *v);
bool config_default_domains(struct config_context *c, const struct conf_value *v);
bool config_write_timeout(struct config_context *c, const struct conf_value *v);
bool config_trace_verbose(struct config_context *c, const struct conf_value *v);
bool config_trace_headers(struct config_context *c, const struct conf_value *v);
/* config_ocsp.c: the state of certificates; ocsp_peer is a key of tls blocks. */
bool config_ocsp(struct config_context *c, const struct conf_value *v);
bool config_ocsp_cache(struct config_context *c, const struct conf_value *v);
bool config_ocsp_peer(struct config_context *c, const struct conf_value *v);
/* config_inactive.c: read, checked, named in the log. */
bool config_cluster(struct config_context *c, const struct conf_value *v);
bool config_gateway(struct config_context *c, const struct conf_value *v);
bool config_mqtt(struct config_context *c, const struct conf_value *v);
bool config_prof_port(struct config_context *c, const struct conf_value *v);
bool config_prof_block_rate(struct config_context *c, const struct conf_value *v);
bool config_error_reports(struct config_context *c, const struct conf_value *v);
bool config_js_inactive(struct config_context *c, const struct conf_value *v);
bool config_js_concurrency(struct config_context *c, const struct conf_value *v);
bool config_js_catchup(struct config_context *c, const struct conf_value *v);
bool config_js_compact_size(struct config_context *c, const struct conf_value *v);
bool config_js_text(struct config_context *c, const struct conf_value *v);
bool config_tpm(struct config_context *c, const struct conf_value *v);
bool config_no_sublist_cache(struct config_context *c, const struct conf_value *v);
/* config_accounts.c: the accounts block, mappings of the default account. */
bool config_accounts(struct config_context *c, const struct conf_value *v);
bool config_mappings(struct config_context *c, const struct conf_value *v);
/* config_operator.c: operator mode, a key each. */
bool config_operators(struct config_context *c, const struct conf_value *v);
bool config_trusted(struct config_context *c, const struct conf_value *v);
bool config_resolver(struct config_context *c, const struct conf_value *v);
bool config_resolver_tls(struct config_context *c, const struct conf_value *v);
bool config_preload(struct config_context *c, const struct conf_value *v);
bool config_pinned(struct config_context *c, const struct conf_value *v);
/* config_callout.c: auth_callout in an authorization block, proxies. */
bool config_callout(struct config_context *c, const struct conf_value *v);
bool config_proxies(struct config_context *c, const struct conf_value *v);
bool config_sentinel(struct config_context *c, const struct conf_value *v);

#endif
