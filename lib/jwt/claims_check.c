/*
 * claims_check.c - what is wrong with claims that are signed well. The order and the texts are
 * those of the tools, which print them.
 */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/jwt/claims.h"

#include <string.h>

#define INFO_MAX 8192u

/* ---- subjects -------------------------------------------------------------------------------- */

static bool has(const char *text, const char *what)
{
    return strstr(text, what) != NULL;
}

void jwt_subject_check(const char *subject, struct jwt_issues *is)
{
    const char *s = jwt_text(subject);

    if (s[0] == '\0') {
        jwt_issues_error(is, "subject cannot be empty");
        return;
    }
    if (strchr(s, ' ') != NULL)
        jwt_issues_error(is, "subject \"%s\" cannot have spaces", s);
    if (s[0] == '.' || s[strlen(s) - 1] == '.')
        jwt_issues_error(is, "subject \"%s\" cannot start or end with a `.`", s);
    if (has(s, ".."))
        jwt_issues_error(is, "subject \"%s\" cannot contain consecutive `.`", s);
}

static bool ends(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && strcmp(s + n - k, tail) == 0;
}

static bool has_wildcards(const char *subject)
{
    const char *s = jwt_text(subject);

    return ends(s, ".>") || has(s, ".*.") || ends(s, ".*") || strncmp(s, "*.", 2) == 0 ||
           strcmp(s, "*") == 0 || strcmp(s, ">") == 0;
}

bool jwt_subject_within(struct str s, struct str other)
{
    struct str a, b;

    while (other.p != NULL) {
        if (s.p == NULL)
            return false;
        a = str_cut(s, '.', &s);
        b = str_cut(other, '.', &other);
        if (other.p == NULL && str_eq(b, STR(">")))
            return true;
        if (!str_eq(a, b) && !str_eq(b, STR("*")))
            return false;
    }
    return s.p == NULL;
}

static bool within(const char *s, const char *other)
{
    return jwt_subject_within(str_of(jwt_text(s)), str_of(jwt_text(other)));
}

static size_t stars(const char *subject)
{
    struct str rest = str_of(subject);
    size_t n = 0;

    while (rest.p != NULL)
        n += str_eq(str_cut(rest, '.', &rest), STR("*"));
    return n;
}

/* "$2" is 2; 0 when it is no such thing. */
static uint64_t reference(struct str token)
{
    uint64_t n;

    return token.n > 1 && token.p[0] == '$' && str_to_u64(str_skip(token, 1), &n) ? n : 0;
}

static void check_renaming(const char *local, const char *from, struct jwt_issues *is)
{
    struct str rest = str_of(local);
    size_t wild = stars(jwt_text(from)), used = 0;
    bool tail = strcmp(local, ">") == 0 || ends(local, ".>");

    jwt_subject_check(local, is);
    if (jwt_text(from)[0] == '\0')
        jwt_issues_error(is, "subject cannot be empty");
    if (tail != (strcmp(jwt_text(from), ">") == 0 || ends(jwt_text(from), ".>")))
        jwt_issues_error(is, "both, renaming subject and subject, need to end or not end in >");
    while (rest.p != NULL) {
        struct str token = str_cut(rest, '.', &rest);
        uint64_t n = reference(token);
        if (n > wild)
            jwt_issues_error(is,
                             "Reference $%llu in \"%s\" reference * in \"%s\" that do not exist",
                             (unsigned long long) n, local, jwt_text(from));
        else
            used += n > 0 || str_eq(token, STR("*"));
    }
    if (used != wild)
        jwt_issues_error(is, "subject does not contain enough * or reference wildcards $[0-9]");
}

/* ---- users ----------------------------------------------------------------------------------- */

static void check_permission(const char *text, bool queue, struct jwt_issues *is)
{
    struct str second, first = str_cut(str_of(text), ' ', &second);
    char *a;

    if (second.p != NULL && memchr(second.p, ' ', second.n) != NULL) {
        jwt_issues_error(is, "Permission Subject \"%s\" contains too many spaces", text);
        return;
    }
    a = mem_strndup(first.p, first.n);
    jwt_subject_check(a, is);
    mem_free(a);
    if (second.p == NULL)
        return;
    jwt_subject_check(second.p, is);
    if (!queue)
        jwt_issues_error(is, "Permission Subject \"%s\" is not allowed to contain queue", text);
}

static void check_permission_list(const struct str_list *l, bool queue, struct jwt_issues *is)
{
    for (size_t i = 0; i < l->n; i++)
        check_permission(l->items[i], queue, is);
}

void jwt_permissions_check(const struct jwt_permissions *p, struct jwt_issues *is)
{
    check_permission_list(&p->sub_allow, true, is);
    check_permission_list(&p->sub_deny, true, is);
    check_permission_list(&p->pub_allow, false, is);
    check_permission_list(&p->pub_deny, false, is);
}

static int two(const char *p)
{
    return p[0] >= '0' && p[0] <= '9' && p[1] >= '0' && p[1] <= '9'
               ? (p[0] - '0') * 10 + (p[1] - '0')
               : -1;
}

int jwt_time_of_day(const char *text)
{
    int h, m, s;

    if (text == NULL || strlen(text) != 8 || text[2] != ':' || text[5] != ':')
        return -1;
    h = two(text);
    m = two(text + 3);
    s = two(text + 6);
    return h >= 0 && h < 24 && m >= 0 && m < 60 && s >= 0 && s < 60 ? (h * 60 + m) * 60 + s : -1;
}

static void check_times(const struct jwt_user_limits *l, struct jwt_issues *is)
{
    for (size_t i = 0; i < l->ntimes; i++) {
        const struct jwt_time_range *t = &l->times[i];
        if (t->start == NULL)
            jwt_issues_error(is, "time ranges start must contain a start");
        else if (jwt_time_of_day(t->start) < 0)
            jwt_issues_error(is, "start in time range is invalid \"%s\"", t->start);
        if (t->end == NULL)
            jwt_issues_error(is, "time ranges end must contain an end");
        else if (jwt_time_of_day(t->end) < 0)
            jwt_issues_error(is, "end in time range is invalid \"%s\"", t->end);
    }
}

static void check_limits(const struct jwt_user_limits *l, struct jwt_issues *is)
{
    struct jwt_network net;

    for (size_t i = 0; i < l->src.n; i++)
        if (!jwt_network_parse(str_of(l->src.items[i]), &net))
            jwt_issues_error(is, "invalid cidr \"%s\" in user src limits", l->src.items[i]);
    check_times(l, is);
}

void user_claims_check(const struct user_claims *u, int64_t now, struct jwt_issues *is)
{
    const char *account = u->jwt.issuer_account;

    jwt_issues_time(is, &u->jwt, now);
    jwt_permissions_check(&u->limits.may, is);
    check_limits(&u->limits, is);
    if (account != NULL && !nkey_is(str_of(account), NKEY_ACCOUNT))
        jwt_issues_error(is, "account_id is not an account public key");
}

void response_claims_check(const struct response_claims *r, int64_t now, struct jwt_issues *is)
{
    const char *account = r->jwt.issuer_account;

    if (!nkey_is(str_of(r->jwt.subject), NKEY_USER))
        jwt_issues_error(is, "Subject must be a user public key");
    if (!nkey_is(str_of(r->jwt.audience), NKEY_SERVER))
        jwt_issues_error(is, "Audience must be a server public key");
    if (r->error == NULL && r->token == NULL)
        jwt_issues_error(is, "Error or Jwt is required");
    if (r->error != NULL && r->token != NULL)
        jwt_issues_error(is, "Only Error or Jwt can be set");
    if (account != NULL && !nkey_is(str_of(account), NKEY_ACCOUNT))
        jwt_issues_error(is, "issuer_account is not an account public key");
    jwt_issues_time(is, &r->jwt, now);
}

/* ---- imports --------------------------------------------------------------------------------- */

static const char *link_text(int type)
{
    return type == JWT_STREAM ? "stream" : type == JWT_SERVICE ? "service" : "unknown";
}

void activation_claims_check(const struct activation_claims *a, struct jwt_issues *is)
{
    const char *account = a->jwt.issuer_account;

    if (a->type == JWT_LINK_UNKNOWN)
        jwt_issues_error(is, "invalid import type: \"unknown\"");
    jwt_subject_check(a->subject, is);
    if (account != NULL && !nkey_is(str_of(account), NKEY_ACCOUNT))
        jwt_issues_error(is, "account_id is not an account public key");
}

static void check_token(const struct jwt_import *i, const char *account, struct jwt_issues *is)
{
    const char *subject = i->type == JWT_SERVICE && i->to != NULL ? i->to : jwt_text(i->subject);
    struct activation_claims a;
    struct buf err = {0};

    if (!activation_claims_read(str_of(i->token), &a, &err)) {
        jwt_issues_error(is, "import \"%s\" contains an invalid activation token",
                         jwt_text(i->subject));
        buf_free(&err);
        return;
    }
    if (strcmp(jwt_text(a.jwt.issuer), jwt_text(i->account)) != 0 &&
        strcmp(jwt_text(a.jwt.issuer_account), jwt_text(i->account)) != 0)
        jwt_issues_error(is, "activation token doesn't match account for import \"%s\"",
                         jwt_text(i->subject));
    if (strcmp(jwt_text(a.jwt.subject), account) != 0)
        jwt_issues_error(is,
                         "activation token doesn't match account it is being included in, \"%s\"",
                         jwt_text(i->subject));
    if (a.type != i->type)
        jwt_issues_error(is, "mismatch between token import type %s and type of import %s",
                         link_text(a.type), link_text(i->type));
    activation_claims_check(&a, is);
    if (!within(subject, a.subject))
        jwt_issues_error(is, "activation token import subject \"%s\" doesn't match import \"%s\"",
                         jwt_text(a.subject), jwt_text(i->subject));
    activation_claims_free(&a);
}

void jwt_import_check(const struct jwt_import *i, const char *account, struct jwt_issues *is)
{
    if (i->type == JWT_LINK_UNKNOWN)
        jwt_issues_error(is, "invalid import type: \"unknown\"");
    if (i->type == JWT_SERVICE && i->allow_trace)
        jwt_issues_error(is, "AllowTrace only valid for stream import");
    if (i->account == NULL)
        jwt_issues_error(is, "account to import from is not specified");
    if (i->to != NULL)
        jwt_issues_warning(is, "the field to has been deprecated (use LocalSubject instead)");
    jwt_subject_check(i->subject, is);
    if (i->local_subject != NULL) {
        check_renaming(i->local_subject, i->subject, is);
        if (i->to != NULL)
            jwt_issues_error(is, "Local Subject replaces To");
    }
    if (i->share && i->type != JWT_SERVICE)
        jwt_issues_error(is,
                         "sharing information (for latency tracking) is only valid for services: "
                         "\"%s\"",
                         jwt_text(i->subject));
    if (i->token != NULL)
        check_token(i, account, is);
}

/* The requests of a service import as a pattern. */
static char *requests(const struct jwt_import *i)
{
    struct buf b = {0};
    struct str rest;
    char *text;

    if (i->to != NULL || i->local_subject == NULL)
        return mem_strdup(i->to != NULL ? i->to : jwt_text(i->subject));
    rest = str_of(i->local_subject);
    while (rest.p != NULL) {
        struct str token = str_cut(rest, '.', &rest);
        buf_put_str(&b, reference(token) > 0 ? STR("*") : token);
        if (rest.p != NULL)
            buf_putc(&b, '.');
    }
    text = mem_strdup(buf_cstr(&b));
    buf_free(&b);
    return text;
}

static void check_overlap(const struct account_claims *a, size_t at, struct jwt_issues *is)
{
    char *mine = requests(&a->imports[at]);

    for (size_t k = 0; k < at; k++) {
        const struct jwt_import *o = &a->imports[k];
        char *other;
        if (o->type != JWT_SERVICE ||
            strcmp(jwt_text(o->account), jwt_text(a->imports[at].account)) != 0)
            continue;
        other = requests(o);
        if (within(mine, other) || within(other, mine))
            jwt_issues_error(is,
                             "overlapping subject namespace for \"%s\" and \"%s\" in same account "
                             "\"%s\"",
                             mine, other, jwt_text(o->account));
        mem_free(other);
    }
    mem_free(mine);
}

/* ---- exports --------------------------------------------------------------------------------- */

static void check_info(const char *description, const char *url, struct jwt_issues *is)
{
    const char *scheme_end;

    if (description != NULL && strlen(description) > INFO_MAX)
        jwt_issues_error(is, "Description is too long");
    if (url == NULL)
        return;
    if (strlen(url) > INFO_MAX)
        jwt_issues_error(is, "Info URL is too long");
    scheme_end = strstr(url, "://");
    if (scheme_end == NULL || scheme_end == url || strchr("/:?#", scheme_end[3]) != NULL)
        jwt_issues_error(is, "error parsing info url: no hostname or scheme");
}

static void check_position(const struct jwt_export *e, struct jwt_issues *is)
{
    struct str rest = str_of(jwt_text(e->subject)), token = STR_NONE;
    int64_t n = 0;

    if (e->account_token_position <= 0)
        return;
    if (!has_wildcards(e->subject)) {
        jwt_issues_error(is, "Account Token Position can only be used with wildcard subjects: %s",
                         jwt_text(e->subject));
        return;
    }
    while (rest.p != NULL && n < e->account_token_position) {
        token = str_cut(rest, '.', &rest);
        n++;
    }
    if (n < e->account_token_position)
        jwt_issues_error(is, "Account Token Position %lld exceeds length of subject '%s'",
                         (long long) e->account_token_position, e->subject);
    else if (!str_eq(token, STR("*")))
        jwt_issues_error(is, "Account Token Position %lld matches '%.*s' but must match a * in: %s",
                         (long long) e->account_token_position, STR_ARG(token), e->subject);
}

static void check_export_kind(const struct jwt_export *e, struct jwt_issues *is)
{
    const char *response = jwt_text(e->response_type);
    bool known = response[0] == '\0' || strcmp(response, "Singleton") == 0 ||
                 strcmp(response, "Stream") == 0 || strcmp(response, "Chunked") == 0;

    if (e->type == JWT_LINK_UNKNOWN)
        jwt_issues_error(is, "invalid export type: \"unknown\"");
    if (e->type == JWT_SERVICE && !known)
        jwt_issues_error(is, "invalid response type for service: \"%s\"", response);
    if (e->type == JWT_STREAM && response[0] != '\0')
        jwt_issues_error(is, "invalid response type for stream: \"%s\"", response);
    if (e->type == JWT_STREAM && e->allow_trace)
        jwt_issues_error(is, "AllowTrace only valid for service export");
}

static void check_export(const struct jwt_export *e, struct jwt_issues *is)
{
    check_export_kind(e, is);
    if (e->latency && e->type != JWT_SERVICE)
        jwt_issues_error(is, "latency tracking only permitted for services");
    if (e->latency && (e->sampling < 0 || e->sampling > 100))
        jwt_issues_error(is, "sampling percentage needs to be between 1-100");
    if (e->latency) {
        jwt_subject_check(e->results, is);
        if (has_wildcards(e->results))
            jwt_issues_error(is, "results subject can not contain wildcards");
    }
    if (e->response_threshold < 0)
        jwt_issues_error(is, "negative response threshold is invalid");
    if (e->response_threshold > 0 && e->type != JWT_SERVICE)
        jwt_issues_error(is, "response threshold only valid for services");
    jwt_subject_check(e->subject, is);
    check_position(e, is);
    check_info(e->description, e->info_url, is);
}

/* Exports of one kind that are all in another one. */
static void check_contained(const struct account_claims *a, int type, struct jwt_issues *is)
{
    for (size_t k = 0; k < a->nexports; k++)
        for (size_t i = 0; i < a->nexports; i++) {
            const struct jwt_export *one = &a->exports[i], *all = &a->exports[k];
            if (i == k || (one->type == JWT_SERVICE) != (type == JWT_SERVICE) ||
                (all->type == JWT_SERVICE) != (type == JWT_SERVICE) ||
                !within(one->subject, all->subject))
                continue;
            jwt_issues_error(is, "%s export subject \"%s\" already exports \"%s\"", link_text(type),
                             jwt_text(all->subject), jwt_text(one->subject));
            break;
        }
}

/* ---- accounts -------------------------------------------------------------------------------- */

static void check_mapping(const struct jwt_mapping *m, struct jwt_issues *is)
{
    int64_t total = 0;

    jwt_subject_check(m->source, is);
    for (size_t i = 0; i < m->n; i++) {
        const struct jwt_way *w = &m->ways[i];
        int64_t cluster = 0;
        jwt_subject_check(w->subject, is);
        if (w->weight > 100)
            jwt_issues_error(is, "Mapping \"%s\" has a weight %lld that exceeds 100", m->source,
                             (long long) w->weight);
        if (w->cluster == NULL)
            total += w->weight;
        for (size_t k = 0; w->cluster != NULL && k <= i; k++)
            if (m->ways[k].cluster != NULL && strcmp(m->ways[k].cluster, w->cluster) == 0)
                cluster += m->ways[k].weight;
        if (cluster > 100)
            jwt_issues_error(is,
                             "Mapping \"%s\" in cluster \"%s\" exceeds 100%% among all of it's "
                             "weighted to mappings",
                             m->source, w->cluster);
    }
    if (total > 100)
        jwt_issues_error(is, "Mapping \"%s\" exceeds 100%% among all of it's weighted to mappings",
                         m->source);
}

static void check_authorization(const struct account_claims *a, struct jwt_issues *is)
{
    if (a->allowed_accounts.n > 0 && a->auth_users.n == 0)
        jwt_issues_error(is, "External authorization cannot have accounts without users specified");
    for (size_t i = 0; i < a->auth_users.n; i++)
        if (!nkey_is(str_of(a->auth_users.items[i]), NKEY_USER))
            jwt_issues_error(is, "AuthUser \"%s\" is not a valid user public key",
                             a->auth_users.items[i]);
    for (size_t i = 0; i < a->allowed_accounts.n; i++) {
        const char *text = a->allowed_accounts.items[i];
        bool any = strcmp(text, "*") == 0;
        if (any && a->allowed_accounts.n > 1)
            jwt_issues_error(is, "AllowedAccounts can only be a list of accounts or \"*\"");
        else if (!any && !nkey_is(str_of(text), NKEY_ACCOUNT))
            jwt_issues_error(is, "Account \"%s\" is not a valid account public key", text);
    }
    if (a->xkey != NULL && !nkey_is(str_of(a->xkey), NKEY_CURVE))
        jwt_issues_error(is, "XKey \"%s\" is not a valid public xkey", a->xkey);
}

static void check_trace(const struct account_claims *a, struct jwt_issues *is)
{
    struct jwt_issues own = {0};

    if (!a->trace)
        return;
    jwt_subject_check(a->trace_dest, &own);
    if (own.n > 0)
        jwt_issues_error(is, "the account Trace.Destination %s", own.list[0].text);
    jwt_issues_free(&own);
    if (has_wildcards(a->trace_dest))
        jwt_issues_error(is,
                         "the account Trace.Destination subject \"%s\" is not a valid publish "
                         "subject",
                         a->trace_dest);
    if (a->trace_sampling < 0 || a->trace_sampling > 100)
        jwt_issues_error(is,
                         "the account Trace.Sampling value '%lld' is not valid, should be in the "
                         "range [1..100]",
                         (long long) a->trace_sampling);
}

static bool limits_empty(const struct account_claims *a)
{
    const struct jwt_jetstream_limits *j = &a->jetstream;

    return a->subscriptions == 0 && a->data == 0 && a->payload == 0 && a->max_imports == 0 &&
           a->max_exports == 0 && a->connections == 0 && a->leafnodes == 0 &&
           !a->wildcard_exports && !a->disallow_bearer && a->ntiers == 0 && j->memory == 0 &&
           j->disk == 0 && j->streams == 0 && j->consumers == 0 && j->max_ack_pending == 0 &&
           j->memory_max_stream == 0 && j->disk_max_stream == 0 && !j->max_bytes_required;
}

static void check_counts(const struct account_claims *a, struct jwt_issues *is)
{
    static const char *const imports =
        "the account contains more imports than allowed by the operator";

    if (!limits_empty(a) && a->max_imports >= 0 && (int64_t) a->nimports > a->max_imports)
        jwt_issues_error(is, "%s", imports);
    if (a->max_imports != JWT_NO_LIMIT && (int64_t) a->nimports > a->max_imports)
        jwt_issues_error(is, "%s", imports);
    if (a->max_exports == JWT_NO_LIMIT)
        return;
    if ((int64_t) a->nexports > a->max_exports)
        jwt_issues_error(is, "the account contains more exports than allowed by the operator");
    for (size_t i = 0; i < a->nexports && !a->wildcard_exports; i++)
        if (has_wildcards(a->exports[i].subject))
            jwt_issues_error(is, "the account contains wildcard exports that are not allowed by "
                                 "the operator");
}

static void check_keys(const struct account_claims *a, struct jwt_issues *is)
{
    for (size_t i = 0; i < a->nkeys; i++) {
        const struct jwt_signing_key *k = &a->keys[i];
        if (nkey_is(str_of(k->key), NKEY_ACCOUNT))
            continue;
        if (k->scoped)
            jwt_issues_error(is, "%s is not an account public key", k->key);
        else
            jwt_issues_error(is, "\"%s\" is not a valid account signing key", k->key);
    }
}

void account_claims_check(const struct account_claims *a, int64_t now, struct jwt_issues *is)
{
    const char *traffic = jwt_text(a->cluster_traffic);

    jwt_issues_time(is, &a->jwt, now);
    for (size_t i = 0; i < a->nimports; i++) {
        if (a->imports[i].type == JWT_SERVICE)
            check_overlap(a, i, is);
        jwt_import_check(&a->imports[i], jwt_text(a->jwt.subject), is);
    }
    for (size_t i = 0; i < a->nexports; i++)
        check_export(&a->exports[i], is);
    check_contained(a, JWT_SERVICE, is);
    check_contained(a, JWT_STREAM, is);
    for (size_t i = 0; i < a->ntiers; i++)
        if (a->tiers[i].name[0] == '\0')
            jwt_issues_error(is, "Tiered JetStream Limits can not contain a blank \"\" tier name");
    jwt_permissions_check(&a->otherwise, is);
    for (size_t i = 0; i < a->nmappings; i++)
        check_mapping(&a->mappings[i], is);
    check_authorization(a, is);
    check_trace(a, is);
    check_counts(a, is);
    check_keys(a, is);
    check_info(a->description, a->info_url, is);
    if (traffic[0] != '\0' && strcmp(traffic, "system") != 0 && strcmp(traffic, "owner") != 0)
        jwt_issues_error(is, "unknown cluster traffic option: \"%s\"", traffic);
    if (nkey_is(str_of(a->jwt.issuer), NKEY_ACCOUNT) && !limits_empty(a))
        jwt_issues_warning(is, "self-signed account JWTs shouldn't contain operator limits");
}
