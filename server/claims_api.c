/*
 * claims_api.c - a sink on worker 0 that carries requests to the main thread, and the answers back.
 *
 * A request is one allocation that travels: heard (worker 0) -> run (main) -> answered (worker 0)
 * -> freed. At most REQUESTS_MAX are on the way; the next one is dropped.
 */
#include "server/claims_api.h"

#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "lib/io/io.h"
#include "server/auth/trust.h"
#include "server/config/options.h"
#include "server/net/event.h"
#include "server/parts.h"

#include <stdatomic.h>
#include <string.h>

#define REQUESTS_MAX 1024u
#define SECOND 1000000000ll

struct claims_api {
    struct claimed *op;
    struct env *env; /* of worker 0 */
    struct sink sink;
    struct interest_sub *interest[8];
    size_t ninterest;
    atomic_uint requests;
    _Atomic uint64_t seq; /* of answers, where there are no events */
};

struct request {
    struct main_task task; /* on the way to the main thread */
    struct env_task back;  /* and to worker 0 */
    struct claims_api *api;
    char *subject, *reply; /* reply "" = none */
    struct buf body;
    struct buf *answers; /* payloads in turn */
    size_t nanswers;
    bool server_info; /* answers begin behind the server's description */
};

/* ---- answers (worker 0) ---------------------------------------------------------------------- */

static void put_server(struct claims_api *api, struct buf *b)
{
    const struct env *env = api->env;
    struct event_source source = {
        .name = env->server_name,
        .id = env->server_id,
        .version = env->version,
        .seq = env->event_seq != NULL ? env->event_seq : &api->seq,
        .wall_ns = io_wall(env->io),
    };
    json_t *server = event_server(&source, env->options);
    char *text = json_dumps(server, JSON_COMPACT);

    buf_puts(b, text);
    mem_free(text);
    json_decref(server);
}

/* Answers that describe the server have it where a 1 stands. */
static void put_answer(struct claims_api *api, const struct buf *text, struct buf *out)
{
    const char *at = memchr(text->p, '\x01', text->n);

    if (at == NULL) {
        buf_put(out, text->p, text->n);
        return;
    }
    buf_put(out, text->p, (size_t) (at - text->p));
    put_server(api, out);
    buf_put(out, at + 1, text->n - (size_t) (at - text->p) - 1);
}

static void free_request(struct request *r)
{
    atomic_fetch_sub(&r->api->requests, 1);
    for (size_t i = 0; i < r->nanswers; i++)
        buf_free(&r->answers[i]);
    mem_free(r->answers);
    buf_free(&r->body);
    mem_free(r->subject);
    mem_free(r->reply);
    mem_free(r);
}

static void send(struct env_task *task, struct env *env)
{
    struct request *r = CONTAINER_OF(task, struct request, back);

    for (size_t i = 0; i < r->nanswers && r->reply[0] != '\0'; i++) {
        struct buf text = {0};
        if (r->answers[i].n > 0)
            put_answer(r->api, &r->answers[i], &text);
        route_publish(env->router, env->system_account,
                      &(struct msg){.subject = str_of(r->reply),
                                    .payload = buf_str(&text),
                                    .flags = MSG_F_SYSTEM});
        route_flush(env->router);
        buf_free(&text);
    }
    free_request(r);
}

/* ---- answers (main thread) ------------------------------------------------------------------- */

static struct buf *answer(struct request *r)
{
    r->answers = mem_realloc(r->answers, (r->nanswers + 1) * sizeof(*r->answers));
    r->answers[r->nanswers] = (struct buf){0};
    return &r->answers[r->nanswers++];
}

static void done(struct request *r)
{
    r->back.run = send;
    worker_post(worker_group_get(operator_host(r->api->op)->parts->workers, 0), &r->back);
}

/* What became of it: err == NULL or empty is good news. */
static void respond(struct request *r, const char *account, const char *message,
                    const struct buf *err)
{
    struct log *log = operator_host(r->api->op)->log;
    bool bad = err != NULL && err->n > 0;
    struct buf *b = answer(r);

    if (bad && account[0] != '\0')
        LOG_ERR(log, "%s - %s - %.*s", message, account, STR_ARG(buf_str(err)));
    else if (bad)
        LOG_ERR(log, "%s - %.*s", message, STR_ARG(buf_str(err)));
    else
        LOG_DBG(log, "%s%s%s", message, account[0] != '\0' ? " - " : "", account);
    buf_printf(b, "{\"server\":\x01,\"%s\":{", bad ? "error" : "data");
    if (account[0] != '\0') {
        buf_puts(b, "\"account\":");
        jput_string(b, str_of(account));
        buf_putc(b, ',');
    }
    if (bad) {
        struct buf text = {0};
        buf_printf(&text, "%s - %.*s", message, STR_ARG(buf_str(err)));
        buf_puts(b, "\"code\":500,\"description\":");
        jput_string(b, buf_str(&text));
        buf_free(&text);
    } else {
        buf_puts(b, "\"code\":200,\"message\":");
        jput_string(b, str_of(message));
    }
    buf_puts(b, "}}");
    done(r);
}

/* ---- UPDATE ---------------------------------------------------------------------------------- */

/* What answers are called: caches say "cache". */
struct words {
    const char *wrong, *invalid, *updated;
};

static const struct words full_words = {"jwt update resulted in error", "jwt validation failed",
                                        "jwt updated"};
static const struct words cache_words = {"jwt update cache resulted in error",
                                         "jwt update cache validation failed", "jwt updated cache"};

/* The account that a subject names; NULL: it names none. */
static char *named(const char *subject)
{
    struct str rest = str_of(subject), token = STR_NONE;
    size_t at = strncmp(subject, "$SYS.REQ.ACCOUNT.", 17) == 0 ? 4
                : strncmp(subject, "$SYS.ACCOUNT.", 13) == 0   ? 3
                                                               : 0;

    for (size_t i = 0; i < at; i++)
        token = str_cut(rest, '.', &rest);
    return at > 0 ? mem_strndup(token.p, token.n) : NULL;
}

/* False: it was answered why not. */
static bool holds(struct request *r, const struct account_claims *a, const struct words *w)
{
    struct jwt_issues is = {0};
    struct buf err = {0}, text = {0};
    bool bad;

    account_claims_check(a, operator_now(r->api->op) / SECOND, &is);
    bad = jwt_issues_block(&is, false);
    if (bad) {
        jwt_issues_text(&is, &text);
        buf_printf(&err, "validation errors: %s", buf_cstr(&text));
        respond(r, jwt_text(a->jwt.subject), w->invalid, &err);
    }
    jwt_issues_free(&is);
    buf_free(&err);
    buf_free(&text);
    return !bad;
}

static void keep(struct request *r, const struct account_claims *a, const char *account,
                 const struct words *w)
{
    struct claimed *op = r->api->op;
    const struct operators *o = &operator_host(op)->options->operators;
    struct str token = str_trim(buf_str(&r->body));
    struct buf err = {0};

    if (o->n > 0 && o->list[0].strict_signing_keys &&
        strcmp(jwt_text(a->jwt.issuer), jwt_text(o->list[0].jwt.subject)) == 0) {
        buf_puts(&err, "operator requires issuer to be a signing key");
        respond(r, account, w->wrong, &err);
    } else if (w == &cache_words && !operator_knows(op, account)) {
        respond(r, account, "jwt update cache skipped", NULL);
    } else if (holds(r, a, w)) {
        enum jwt_dir_saved saved = jwt_dir_save(operator_dir(op), account, token, operator_now(op),
                                                &err);
        struct buf ignored = {0};
        if (saved == JWT_DIR_SAVED && operator_knows(op, account) &&
            !operator_update(op, account, token, &ignored))
            LOG_ERR(operator_host(op)->log,
                    "DirResolver - Update for account \"%s\" resulted in error %s", account,
                    buf_cstr(&ignored));
        buf_free(&ignored);
        if (saved == JWT_DIR_FAILED)
            respond(r, account, w->wrong, &err);
        else
            respond(r, account, w->updated, NULL);
    }
    buf_free(&err);
}

/* What is said first of claims that are wrong in several ways is another thing for a cache, and
 * where the subject names the account. */
static void update_dir(struct request *r, char *account)
{
    const struct resolver_options *o = &operator_host(r->api->op)->options->operators.resolver;
    const struct words *w = o->kind == RESOLVER_CACHE ? &cache_words : &full_words;
    struct account_claims a;
    struct buf err = {0};

    if (!account_claims_read(buf_str(&r->body), &a, &err)) {
        respond(r, account != NULL && w == &cache_words ? account : "n/a", w->wrong, &err);
        buf_free(&err);
        return;
    }
    if (account == NULL || w == &cache_words || holds(r, &a, w)) {
        if (account != NULL && strcmp(jwt_text(a.jwt.subject), account) != 0) {
            buf_puts(&err, "subject does not match jwt content");
            respond(r, account, w->wrong, &err);
        } else {
            keep(r, &a, jwt_text(a.jwt.subject), w);
        }
    }
    account_claims_free(&a);
    buf_free(&err);
}

/* Without a directory: accounts that are loaded get the claims that they are sent. */
static void update_memory(struct request *r, const char *account)
{
    struct claimed *op = r->api->op;
    struct account_claims a;
    struct buf err = {0};

    if (r->body.n == 0) {
        buf_puts(&err, "request body is empty");
        respond(r, account, "jwt update error", &err);
    } else if (!account_claims_read(buf_str(&r->body), &a, &err)) {
        respond(r, account, "jwt update resulted in error", &err);
    } else {
        if (strcmp(jwt_text(a.jwt.subject), account) != 0)
            buf_puts(&err, "subject does not match jwt content");
        if (err.n == 0 && !operator_knows(op, account))
            respond(r, account, "jwt update skipped", NULL);
        else if (err.n == 0 && operator_update(op, account, buf_str(&r->body), &err))
            respond(r, account, "jwt updated", NULL);
        else
            respond(r, account, "jwt update resulted in error", &err);
        account_claims_free(&a);
    }
    buf_free(&err);
}

static void update(struct main_task *task, struct claimed *op)
{
    struct request *r = CONTAINER_OF(task, struct request, task);
    char *account = named(r->subject);

    if (operator_dir(op) != NULL)
        update_dir(r, account);
    else
        update_memory(r, account != NULL ? account : "");
    mem_free(account);
}

enum jwt_dir_saved claims_api_save_newer(struct claimed *op, const char *key, struct str token,
                                         struct buf *err)
{
    struct jwt_dir *d = operator_dir(op);
    struct buf there = {0}, ignored = {0};
    struct jwt old = {0}, new = {0};
    bool keep_old = false;

    if (!jwt_decode_generic(token, &new, err))
        return JWT_DIR_FAILED;
    if (jwt_dir_load(d, key, operator_now(op), &there) &&
        jwt_decode_generic(buf_str(&there), &old, &ignored))
        keep_old = strcmp(jwt_text(old.id), jwt_text(new.id)) == 0 || old.issued_at > new.issued_at;
    jwt_free(&old);
    jwt_free(&new);
    buf_free(&there);
    buf_free(&ignored);
    return keep_old ? JWT_DIR_SAME : jwt_dir_save(d, key, token, operator_now(op), err);
}

/* ---- LOOKUP, LIST, PACK ---------------------------------------------------------------------- */

static void look_up(struct main_task *task, struct claimed *op)
{
    struct request *r = CONTAINER_OF(task, struct request, task);
    char *account = named(r->subject);
    struct buf *b = answer(r);

    if (!jwt_dir_load(operator_dir(op), account, operator_now(op), b))
        LOG_DBG(operator_host(op)->log, "DirResolver - Could not find account \"%s\"", account);
    mem_free(account);
    done(r);
}

static void list_one(void *ctx, const char *key, struct str token)
{
    struct buf *b = ctx;

    (void) token;
    buf_printf(b, "%s\"%s\"", b->p[b->n - 1] == '[' ? "" : ",", key);
}

static void list(struct main_task *task, struct claimed *op)
{
    struct request *r = CONTAINER_OF(task, struct request, task);
    struct buf *b = answer(r);

    buf_puts(b, "{\"data\":[");
    jwt_dir_each(operator_dir(op), operator_now(op), list_one, b);
    buf_puts(b, "],\"server\":\x01}");
    done(r);
}

static void pack_one(void *ctx, const char *key, struct str token)
{
    struct buf *b = answer(ctx);

    buf_printf(b, "%s|", key);
    buf_put_str(b, token);
}

static void pack(struct main_task *task, struct claimed *op)
{
    struct request *r = CONTAINER_OF(task, struct request, task);
    uint8_t hash[JWT_DIR_HASH];

    jwt_dir_hash(operator_dir(op), hash);
    if (!str_eq(buf_str(&r->body), str_from(hash, sizeof(hash))))
        jwt_dir_each(operator_dir(op), operator_now(op), pack_one, r);
    answer(r); /* the end */
    done(r);
}

/* ---- DELETE ---------------------------------------------------------------------------------- */

static bool may_delete(struct claimed *op, const struct jwt *j, json_t *accounts, struct buf *err)
{
    const struct options *o = operator_host(op)->options;
    const struct account *system = operator_host(op)->parts->system_account;
    size_t i;
    json_t *item;

    if (!o->operators.resolver.allow_delete && o->operators.resolver.kind != RESOLVER_CACHE)
        buf_puts(err, "delete must be enabled in server config");
    else if (strcmp(jwt_text(j->subject), jwt_text(j->issuer)) != 0)
        buf_puts(err, "not self signed");
    else if (o->operators.n == 0 ||
             !operator_claims_signs(&o->operators.list[0], jwt_text(j->issuer)))
        buf_puts(err, "not trusted");
    else if (!json_is_array(accounts))
        buf_puts(err, "malformed request");
    json_array_foreach(accounts, i, item)
    {
        if (err->n > 0)
            break;
        if (!json_is_string(item) || !nkey_is(str_of(json_string_value(item)), NKEY_ACCOUNT))
            buf_puts(err, "malformed request");
        else if (strcmp(json_string_value(item), system->name) == 0)
            buf_puts(err, "not allowed to delete system account");
    }
    return err->n == 0;
}

static void delete_all(struct request *r, json_t *accounts)
{
    struct claimed *op = r->api->op;
    struct buf err = {0}, text = {0};
    size_t i, passed = 0, failed = 0;
    json_t *item;

    json_array_foreach(accounts, i, item)
    {
        bool was;
        if (jwt_dir_delete(operator_dir(op), json_string_value(item), &was, &err)) {
            passed++;
            if (was)
                operator_remove(op, json_string_value(item));
        } else {
            failed++;
            buf_putc(&err, '\n');
        }
    }
    buf_printf(&text, "deleted %zu accounts", passed);
    if (failed > 0)
        buf_printf(&text, ", failed for %zu", failed);
    respond(r, "", buf_cstr(&text), &err);
    buf_free(&text);
    buf_free(&err);
}

static void remove_accounts(struct main_task *task, struct claimed *op)
{
    struct request *r = CONTAINER_OF(task, struct request, task);
    struct jwt j = {0};
    struct buf err = {0}, text = {0};
    json_t *accounts = NULL;

    if (jwt_decode_generic(buf_str(&r->body), &j, &err)) {
        accounts = json_object_get(j.nats, "accounts");
        may_delete(op, &j, accounts, &err);
    }
    if (err.n > 0) {
        buf_printf(&text, "delete accounts request by %s failed", jwt_text(j.subject));
        respond(r, "", buf_cstr(&text), &err);
    } else {
        delete_all(r, accounts);
    }
    jwt_free(&j);
    buf_free(&err);
    buf_free(&text);
}

/* ---- hearing (worker 0) ---------------------------------------------------------------------- */

static const struct {
    const char *subject;
    void (*run)(struct main_task *task, struct claimed *op);
    bool full, cache, memory; /* resolvers that have it */
    bool answered;            /* means nothing without a reply */
} requests[] = {
    {"$SYS.REQ.CLAIMS.UPDATE", update, true, true, false, false},
    {"$SYS.REQ.ACCOUNT.*.CLAIMS.UPDATE", update, true, true, true, false},
    {"$SYS.ACCOUNT.*.CLAIMS.UPDATE", update, true, true, true, false},
    {"$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP", look_up, true, false, false, true},
    {"$SYS.REQ.CLAIMS.LIST", list, true, true, false, true},
    {"$SYS.REQ.CLAIMS.PACK", pack, true, false, false, true},
    {"$SYS.REQ.CLAIMS.DELETE", remove_accounts, true, true, false, false},
};

static size_t which(struct str subject)
{
    size_t i = 0;

    while (i < ARRAY_LEN(requests) && !subject_matches(subject, str_of(requests[i].subject)))
        i++;
    return i;
}

static void hear(struct claims_api *api, const struct msg *m)
{
    size_t i = which(m->subject);
    struct request *r;

    if (i == ARRAY_LEN(requests) || (requests[i].answered && m->reply.n == 0) ||
        atomic_load(&api->requests) >= REQUESTS_MAX)
        return;
    r = mem_zalloc(sizeof(*r));
    r->api = api;
    r->subject = mem_strndup(m->subject.p, m->subject.n);
    r->reply = mem_strndup(m->reply.n > 0 ? m->reply.p : "", m->reply.n);
    buf_put_str(&r->body, m->payload);
    r->task.run = requests[i].run;
    atomic_fetch_add(&api->requests, 1);
    operator_post(api->op, &r->task);
}

static unsigned deliver(struct sink *sink, const struct msg *run, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        hear(CONTAINER_OF(sink, struct claims_api, sink), &run[i]);
    return n;
}

static const struct sink_ops ops = {.deliver = deliver, .kind = "claims"};

static bool has(const struct options *o, size_t i)
{
    switch (o->operators.resolver.kind) {
    case RESOLVER_FULL:
        return requests[i].full;
    case RESOLVER_CACHE:
        return requests[i].cache;
    default:
        return requests[i].memory;
    }
}

struct claims_api *claims_api_open(struct claimed *op, struct env *env)
{
    struct claims_api *api = mem_zalloc(sizeof(*api));
    const struct options *o = operator_host(op)->options;
    const struct resolver_options *r = &o->operators.resolver;

    api->op = op;
    api->env = env;
    api->sink.ops = &ops;
    router_sink_add(env->router, &api->sink);
    for (size_t i = 0; i < ARRAY_LEN(requests) && !o->no_system_account; i++)
        if (has(o, i))
            api->interest[api->ninterest++] =
                interest_add(env->system_account->interest,
                             &(struct interest_spec){.pattern = str_of(requests[i].subject),
                                                     .worker = env->worker,
                                                     .sink = api->sink.self,
                                                     .internal = true});
    if (r->kind == RESOLVER_FULL || r->kind == RESOLVER_CACHE)
        LOG_INF(operator_host(op)->log, "Managing %s jwt in exclusive directory %s",
                r->kind == RESOLVER_FULL ? "all" : "some", r->dir);
    return api;
}

void claims_api_close(struct claims_api *api)
{
    for (size_t i = 0; i < api->ninterest; i++)
        interest_remove(api->env->system_account->interest, api->interest[i]);
    router_sink_remove(api->env->router, &api->sink);
    mem_free(api);
}
