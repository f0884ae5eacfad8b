/* trust.c - claims to objects of the configuration; who may sign. */
#include "server/auth/trust.h"

#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/config/options.h"

#include <string.h>

#define RESPONSES_MAX 1
#define RESPONSES_NS 120000000000ll

static char *copy(const char *text)
{
    return text != NULL ? mem_strdup(text) : NULL;
}

/* ---- permissions ----------------------------------------------------------------------------- */

static void add_rule(struct subject_rules *out, struct str subject, struct str queue)
{
    out->rules = mem_realloc(out->rules, (out->n + 1) * sizeof(*out->rules));
    out->rules[out->n++] = (struct subject_rule){
        .subject = mem_strndup(subject.p, subject.n),
        .queue = queue.n > 0 ? mem_strndup(queue.p, queue.n) : NULL,
    };
}

/* What is no subject can not be asked for: it is left out. */
static void add_allowed(struct subject_rules *out, const struct str_list *from)
{
    for (size_t i = 0; i < from->n; i++) {
        struct str queue, subject = str_cut(str_trim(str_of(from->items[i])), ' ', &queue);
        queue = str_trim(queue);
        if (subject_valid(subject) && (queue.n == 0 || subject_valid(queue)))
            add_rule(out, subject, queue);
    }
    out->set |= from->n > 0;
}

/* A queue that is none does not make the rule a smaller one. queues: they mean something here. */
static void add_denied(struct subject_rules *out, const struct str_list *from, bool queues)
{
    for (size_t i = 0; i < from->n; i++) {
        struct str queue, subject = str_cut(str_trim(str_of(from->items[i])), ' ', &queue);
        queue = str_trim(queue);
        if (subject_valid(subject))
            add_rule(out, subject, queues && subject_valid(queue) ? queue : STR_NONE);
    }
    out->set |= from->n > 0;
}

bool permissions_of_jwt_fit(const struct jwt_permissions *p)
{
    return p->pub_allow.n <= SUBJECT_RULES_MAX && p->pub_deny.n <= SUBJECT_RULES_MAX &&
           p->sub_allow.n <= SUBJECT_RULES_MAX && p->sub_deny.n <= SUBJECT_RULES_MAX;
}

struct permissions *permissions_of_jwt(const struct jwt_permissions *p)
{
    struct permissions *out;

    if (p->pub_allow.n + p->pub_deny.n + p->sub_allow.n + p->sub_deny.n == 0 && !p->responses)
        return NULL;
    out = mem_zalloc(sizeof(*out));
    if (!permissions_of_jwt_fit(p)) {
        add_rule(&out->pub_deny, STR(">"), STR_NONE);
        add_rule(&out->sub_deny, STR(">"), STR_NONE);
        return out;
    }
    add_allowed(&out->pub_allow, &p->pub_allow);
    add_denied(&out->pub_deny, &p->pub_deny, false);
    add_allowed(&out->sub_allow, &p->sub_allow);
    add_denied(&out->sub_deny, &p->sub_deny, true);
    /* An empty list for subscriptions allows everything: it needs a word. */
    if (p->sub_allow.n > 0 && out->sub_allow.n == 0)
        add_rule(&out->sub_deny, STR(">"), STR_NONE);
    if (p->responses) {
        out->responses = true;
        out->pub_allow.set = true;
        out->responses_max = p->responses_max != 0 ? p->responses_max : RESPONSES_MAX;
        out->responses_ns = p->responses_ns != 0 ? p->responses_ns : RESPONSES_NS;
    }
    return out;
}

/* ---- life ------------------------------------------------------------------------------------ */

void trust_close(struct trust *t)
{
    if (t == NULL)
        return;
    account_claims_free(&t->claims);
    permissions_free(t->otherwise);
    mem_free(t);
}

struct trust *trust_open(const struct options *o, struct str token, int64_t now, struct buf *err)
{
    struct trust *t = mem_zalloc(sizeof(*t));
    struct jwt_issues is = {0};
    bool ok = account_claims_read(token, &t->claims, err);

    if (ok && !operators_trust(o, jwt_text(t->claims.jwt.issuer))) {
        buf_puts(err, "account validation failed");
        ok = false;
    }
    if (ok) {
        account_claims_check(&t->claims, now, &is);
        if (jwt_issues_block(&is, true)) {
            buf_puts(err, "account validation failed");
            ok = false;
        }
        jwt_issues_free(&is);
    }
    if (!ok) {
        trust_close(t);
        return NULL;
    }
    t->strict = operators_strict(o, t->claims.jwt.issuer);
    t->otherwise = permissions_of_jwt(&t->claims.otherwise);
    return t;
}

bool trust_signs(const struct trust *t, const char *key, const struct jwt_user_limits **scope)
{
    const struct jwt_signing_key *k = account_claims_key(&t->claims, key);

    *scope = k != NULL && k->scoped ? &k->scope : NULL;
    return k != NULL || (!t->strict && strcmp(jwt_text(t->claims.jwt.subject), key) == 0);
}

bool trust_revoked(const struct trust *t, const char *user, int64_t issued_at)
{
    return jwt_revoked(&t->claims.revocations, user, issued_at);
}

bool trust_is_auth_user(const struct trust *t, const char *user)
{
    for (size_t i = 0; i < t->claims.auth_users.n; i++)
        if (strcmp(t->claims.auth_users.items[i], user) == 0)
            return true;
    return false;
}

/* ---- as a configuration ---------------------------------------------------------------------- */

static const struct jwt_export *export_claim(const struct trust *t, const struct jwt_import *i,
                                             const char *subject)
{
    const struct account_claims *c = &t->claims;

    for (size_t k = 0; k < c->nexports; k++)
        if (c->exports[k].type == i->type && strcmp(jwt_text(c->exports[k].subject), subject) == 0)
            return &c->exports[k];
    for (size_t k = 0; k < c->nexports; k++)
        if (c->exports[k].type == i->type &&
            subject_subset(str_of(subject), str_of(jwt_text(c->exports[k].subject))))
            return &c->exports[k];
    return NULL;
}

/* The subject that an import has in the account that exports it. */
static const char *remote(const struct jwt_import *i)
{
    return i->type == JWT_SERVICE && i->local_subject == NULL && i->to != NULL
               ? i->to
               : jwt_text(i->subject);
}

/* The activation itself holds, was signed by the exporter or a key of it, and was not taken back.
 */
static bool holds(const struct jwt_import *i, const char *importer, const struct trust *exporter,
                  int64_t now)
{
    const struct jwt_export *e;
    const struct jwt_user_limits *scope;
    struct activation_claims a;
    struct jwt_issues is = {0};
    struct buf err = {0};
    bool ok;

    if (i->token == NULL || exporter == NULL)
        return false;
    jwt_import_check(i, importer, &is);
    ok = !jwt_issues_block(&is, false) && activation_claims_read(str_of(i->token), &a, &err);
    jwt_issues_free(&is);
    buf_free(&err);
    if (!ok)
        return false;
    e = export_claim(exporter, i, remote(i));
    jwt_issues_time(&is, &a.jwt, now);
    ok = is.n == 0 && (a.jwt.expires == 0 || a.jwt.expires > now) &&
         (a.jwt.issuer_account == NULL ||
          (strcmp(a.jwt.issuer_account, jwt_text(exporter->claims.jwt.subject)) == 0 &&
           trust_signs(exporter, jwt_text(a.jwt.issuer), &scope))) &&
         (e == NULL || !jwt_revoked(&e->revocations, jwt_text(a.jwt.subject), a.jwt.issued_at));
    jwt_issues_free(&is);
    activation_claims_free(&a);
    return ok;
}

int64_t trust_next_change(const struct trust *t, int64_t now)
{
    int64_t first = 0;

    for (size_t i = 0; i < t->claims.nimports; i++) {
        struct activation_claims a;
        struct buf err = {0};
        const char *token = t->claims.imports[i].token;
        if (token != NULL && activation_claims_read(str_of(token), &a, &err)) {
            if (a.jwt.expires > now && (first == 0 || a.jwt.expires < first))
                first = a.jwt.expires;
            activation_claims_free(&a);
        }
        buf_free(&err);
    }
    return first;
}

static void add_import(struct account_options *out, const struct jwt_import *i, bool activated)
{
    struct account_import *im;

    if (i->type == JWT_LINK_UNKNOWN || i->subject == NULL || i->account == NULL ||
        out->nimports == ACCOUNT_RULES_MAX)
        return;
    im = &out->imports[out->nimports++];
    *im = (struct account_import){
        .service = i->type == JWT_SERVICE,
        .share = i->share,
        .allow_trace = i->allow_trace,
        .account = mem_strdup(i->account),
        .subject = mem_strdup(remote(i)),
        .activated = activated,
    };
    if (i->local_subject != NULL)
        im->to = mem_strdup(i->local_subject);
    else if (i->to != NULL && im->service)
        im->to = mem_strdup(i->subject);
    else if (i->to != NULL)
        im->prefix = mem_strdup(i->to);
}

static void add_export(struct account_options *out, const struct jwt_export *e)
{
    const char *response = jwt_text(e->response_type);

    if (e->type == JWT_LINK_UNKNOWN || e->subject == NULL || out->nexports == ACCOUNT_RULES_MAX)
        return;
    out->exports[out->nexports++] = (struct account_export){
        .service = e->type == JWT_SERVICE,
        .subject = mem_strdup(e->subject),
        .token_required = e->token_required,
        .token_position = (unsigned) e->account_token_position,
        .response = strcmp(response, "Stream") == 0    ? RESPONSE_STREAM
                    : strcmp(response, "Chunked") == 0 ? RESPONSE_CHUNKED
                                                       : RESPONSE_SINGLE,
        .threshold_ns = e->response_threshold,
        .allow_trace = e->allow_trace,
        .latency = {.subject = e->latency ? copy(e->results) : NULL,
                    .sampling = (unsigned) e->sampling,
                    .headers = e->sampling == 0},
    };
}

static void add_mapping(struct account_options *out, const struct jwt_mapping *m)
{
    struct account_mapping *to;

    if (out->nmappings == ACCOUNT_RULES_MAX)
        return;
    to = &out->mappings[out->nmappings++];
    *to = (struct account_mapping){.source = mem_strdup(m->source)};
    to->dests = mem_zalloc((m->n + 1) * sizeof(*to->dests));
    for (size_t i = 0; i < m->n; i++)
        if (m->ways[i].cluster == NULL) /* the others are for clusters that this server is not in */
            to->dests[to->n++] = (struct account_dest){
                .subject = copy(jwt_text(m->ways[i].subject)),
                .weight = (unsigned) m->ways[i].weight,
            };
}

static int64_t unlimited(int64_t n)
{
    return n > 0 ? n : -1;
}

static void set_jetstream(struct account_jetstream *js, const struct account_claims *c)
{
    const struct jwt_jetstream_limits *l = &c->jetstream;
    bool tiered = c->ntiers > 0;

    /* One server keeps one copy: its tier is the first. */
    for (size_t i = 0; i < c->ntiers; i++)
        if (strcmp(c->tiers[i].name, "R1") == 0)
            l = &c->tiers[i].limits;
    *js = (struct account_jetstream){
        .enabled = account_claims_jetstream(c),
        .max_memory = l->memory,
        .max_store = l->disk,
        .max_streams = unlimited(l->streams),
        .max_consumers = unlimited(l->consumers),
        .max_ack_pending = unlimited(l->max_ack_pending),
        .memory_max_stream_bytes = unlimited(l->memory_max_stream),
        .disk_max_stream_bytes = unlimited(l->disk_max_stream),
        .max_bytes_required = l->max_bytes_required,
        .tiered = tiered,
        .no_tier = tiered && l == &c->jetstream,
    };
}

void trust_options(const struct trust *t, struct account_options *out, int64_t now,
                   const struct trust *(*find)(void *ctx, const char *account), void *ctx)
{
    const struct account_claims *c = &t->claims;

    out->limits = (struct account_limits){
        .connections = c->connections,
        .subscriptions = c->subscriptions,
        .payload = c->payload,
        .leafnodes = c->leafnodes,
    };
    set_jetstream(&out->js, c);
    if (c->trace && subject_valid_literal(str_of(jwt_text(c->trace_dest)))) {
        out->trace_dest = mem_strdup(c->trace_dest);
        out->trace_sampling = c->trace_sampling > 0 ? (unsigned) c->trace_sampling : 100;
    }
    out->imports = mem_zalloc((c->nimports + 1) * sizeof(*out->imports));
    out->exports = mem_zalloc((c->nexports + 1) * sizeof(*out->exports));
    out->mappings = mem_zalloc((c->nmappings + 1) * sizeof(*out->mappings));
    for (size_t i = 0; i < c->nimports; i++) {
        const struct jwt_import *im = &c->imports[i];
        const struct trust *of = im->account != NULL ? find(ctx, im->account) : NULL;
        add_import(out, im, holds(im, jwt_text(c->jwt.subject), of, now));
    }
    for (size_t i = 0; i < c->nexports; i++)
        add_export(out, &c->exports[i]);
    for (size_t i = 0; i < c->nmappings; i++)
        add_mapping(out, &c->mappings[i]);
}
