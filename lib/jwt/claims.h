/*
 * claims.h - what the kinds of tokens say, as structs; jwt.h has what is common and the signature.
 *
 *     operator    names the keys that sign accounts, and the system account
 *     account     imports, exports, limits, signing keys (with or without a scope), revocations
 *     user        permissions and limits; a user of a scoped key has none and gets the key's
 *     activation  lets one account import what another exports on demand
 *     response    of an authorization service: a user token or an error
 *
 * Numbers are as they are said: -1 is "no limit", and what is absent is 0, which allows nothing
 * where it is a limit, but in users of version 1, where it is -1. Times are unix seconds, durations
 * nanoseconds. Structs own what they hold; x_read leaves an empty one when it fails.
 *
 * x_check puts what is wrong into issues, with the texts of the tools; `now` is unix seconds.
 */
#ifndef JWT_CLAIMS_H
#define JWT_CLAIMS_H

#include "lib/jwt/jwt.h"

#define JWT_NO_LIMIT (-1)

/* Else a text in err: what is there has another shape than it must. */
bool jwt_is_object(const json_t *v, const char *field, struct buf *err);

/* ---- users ----------------------------------------------------------------------------------- */

struct jwt_permissions {
    struct str_list pub_allow, pub_deny, sub_allow, sub_deny;
    bool responses;
    int64_t responses_max, responses_ns;
};

struct jwt_time_range {
    char *start, *end; /* "15:04:05" */
};

struct jwt_user_limits {
    struct jwt_permissions may;
    struct str_list src; /* networks, "10.0.0.0/8" */
    struct jwt_time_range *times;
    size_t ntimes;
    char *locale; /* the times' zone; NULL = the machine's */
    int64_t subscriptions, data, payload;
    bool bearer, proxy_required;
    struct str_list connection_types;
};

struct user_claims {
    struct jwt jwt;
    struct jwt_user_limits limits;
};

bool user_claims_read(struct str token, struct user_claims *out, struct buf *err);
void user_claims_free(struct user_claims *u);
void user_claims_check(const struct user_claims *u, int64_t now, struct jwt_issues *is);
/* Nothing is said: what users of scoped keys must be. */
bool jwt_user_limits_empty(const struct jwt_user_limits *l);
void jwt_user_limits_free(struct jwt_user_limits *l);
/* From an object of the JSON. unlimited: absent numbers are JWT_NO_LIMIT. */
bool jwt_user_limits_read(json_t *nats, bool unlimited, struct jwt_user_limits *out,
                          struct buf *err);
bool jwt_permissions_read(json_t *o, struct jwt_permissions *out, struct buf *err);
void jwt_permissions_free(struct jwt_permissions *p);
void jwt_permissions_check(const struct jwt_permissions *p, struct jwt_issues *is);

/* "15:04:05" as seconds of the day, or -1. */
int jwt_time_of_day(const char *text);
/* A network with the length of its prefix; v4 in the last four bytes of a v6 one. */
struct jwt_network {
    uint8_t address[16];
    unsigned bits; /* of 128 */
    bool v4;
};
bool jwt_network_parse(struct str text, struct jwt_network *out);
/* address: "127.0.0.1", "::1". */
bool jwt_network_has(const struct jwt_network *net, const char *address);

/* ---- accounts -------------------------------------------------------------------------------- */

enum jwt_link { JWT_LINK_UNKNOWN, JWT_STREAM, JWT_SERVICE };

struct jwt_revocation {
    char *key;  /* "*" = all */
    int64_t at; /* what was issued then or before does not count any more */
};

struct jwt_revocations {
    struct jwt_revocation *list;
    size_t n;
};

bool jwt_revoked(const struct jwt_revocations *r, const char *key, int64_t issued_at);

struct jwt_import {
    char *name, *subject, *account, *token, *to, *local_subject;
    int type; /* enum jwt_link */
    bool share, allow_trace;
};

struct jwt_export {
    char *name, *subject, *response_type, *description, *info_url;
    int type; /* enum jwt_link */
    bool token_required, advertise, allow_trace;
    struct jwt_revocations revocations;
    int64_t response_threshold, account_token_position;
    bool latency;
    int64_t sampling; /* 0 = by headers */
    char *results;
};

struct jwt_way {
    char *subject, *cluster;
    int64_t weight; /* as GetWeight of the tools: 0 is 100 */
};

struct jwt_mapping {
    char *source;
    struct jwt_way *ways;
    size_t n;
};

/* A key that signs users for the account. */
struct jwt_signing_key {
    char *key;
    bool scoped;
    struct jwt_user_limits scope;
};

struct jwt_jetstream_limits {
    int64_t memory, disk, streams, consumers, max_ack_pending;
    int64_t memory_max_stream, disk_max_stream;
    bool max_bytes_required;
};

struct jwt_tier {
    char *name;
    struct jwt_jetstream_limits limits;
};

struct account_claims {
    struct jwt jwt;
    struct jwt_import *imports;
    struct jwt_export *exports;
    struct jwt_mapping *mappings;
    struct jwt_signing_key *keys;
    struct jwt_tier *tiers;
    size_t nimports, nexports, nmappings, nkeys, ntiers;
    struct jwt_revocations revocations;
    bool limits_said;
    int64_t subscriptions, data, payload;
    int64_t max_imports, max_exports, connections, leafnodes;
    bool wildcard_exports, disallow_bearer;
    struct jwt_jetstream_limits jetstream;
    struct jwt_permissions otherwise; /* of users without own ones */
    struct str_list auth_users, allowed_accounts;
    char *xkey;
    char *trace_dest;
    int64_t trace_sampling;
    bool trace;
    char *cluster_traffic, *description, *info_url;
};

bool account_claims_read(struct str token, struct account_claims *out, struct buf *err);
void account_claims_free(struct account_claims *a);
void account_claims_check(const struct account_claims *a, int64_t now, struct jwt_issues *is);
bool account_claims_jetstream(const struct account_claims *a);
/* The key that may sign users, or NULL; the account's own is not in the list. */
const struct jwt_signing_key *account_claims_key(const struct account_claims *a, const char *key);

/* ---- activations ----------------------------------------------------------------------------- */

struct activation_claims {
    struct jwt jwt;
    char *subject;
    int type; /* enum jwt_link */
};

bool activation_claims_read(struct str token, struct activation_claims *out, struct buf *err);
void activation_claims_free(struct activation_claims *a);
/* Without the time: the caller asks jwt_issues_time. */
void activation_claims_check(const struct activation_claims *a, struct jwt_issues *is);
/* What is wrong with an import, its activation included, of the account with that key. */
void jwt_import_check(const struct jwt_import *i, const char *account, struct jwt_issues *is);
/* Is all of s in other, by tokens, as the tools compare? */
bool jwt_subject_within(struct str s, struct str other);
void jwt_subject_check(const char *subject, struct jwt_issues *is);

/* ---- operators ------------------------------------------------------------------------------- */

struct operator_claims {
    struct jwt jwt;
    struct str_list signing_keys, service_urls;
    char *account_server_url, *system_account, *assert_server_version;
    bool strict_signing_keys;
};

bool operator_claims_read(struct str token, struct operator_claims *out, struct buf *err);
void operator_claims_free(struct operator_claims *o);
/* May that key sign accounts? */
bool operator_claims_signs(const struct operator_claims *o, const char *key);

/* ---- answers of authorization services ------------------------------------------------------- */

struct response_claims {
    struct jwt jwt;
    char *token, *error;
};

bool response_claims_read(struct str token, struct response_claims *out, struct buf *err);
void response_claims_free(struct response_claims *r);
void response_claims_check(const struct response_claims *r, int64_t now, struct jwt_issues *is);

#endif
