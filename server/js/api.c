/*
 * api.c - requests on $JS.API: found in a table, carried to the worker that can answer, answered.
 *
 * Worker 0 listens. A request never runs where it arrives: that may be inside a delivery of the
 * very consumer it deletes (when the stream stores API subjects). It is copied, posted to the
 * worker itself, and from then on moves by pointer: handlers marked `registrar` run here, the
 * others on the worker of the stream they name. Whoever answers frees it.
 *
 * Requests under way are counted over all workers. Beyond request_queue_limit a new one is dropped
 * without an answer, and an advisory tells how many were.
 *
 * CONSUMER.MSG.NEXT and DIRECT.GET are not here: they go straight to their sinks, and without one
 * the requester hears "no responders".
 */
#include "lib/base/mem.h"
#include "server/js/advisory.h"
#include "server/js/api_int.h"
#include "server/js/consumer_int.h"
#include "server/js/stream_parts.h"

#include <stdio.h>
#include <string.h>

/* An empty page, as it stands in answers that are errors. */
#define PAGE0 ",\"total\":0,\"offset\":0,\"limit\":0"

static const struct api_handler handlers[] = {
    {"INFO", "account_info", true, api_info, NULL},
    {"STREAM.CREATE.*", "stream_create", true, api_stream_create, NULL},
    {"STREAM.UPDATE.*", "stream_update", true, api_stream_update, NULL},
    {"STREAM.NAMES", "stream_names", true, api_stream_names, PAGE0 ",\"streams\":null"},
    {"STREAM.LIST", "stream_list", true, api_stream_list, PAGE0 ",\"streams\":[]"},
    {"STREAM.INFO.*", "stream_info", false, api_stream_info, PAGE0},
    {"STREAM.DELETE.*", "stream_delete", true, api_stream_delete, NULL},
    {"STREAM.PURGE.*", "stream_purge", false, api_stream_purge, ",\"purged\":0"},
    {"STREAM.MSG.GET.*", "stream_msg_get", false, api_msg_get, NULL},
    {"STREAM.MSG.DELETE.*", "stream_msg_delete", false, api_msg_delete, NULL},
    {"STREAM.SNAPSHOT.*", "stream_snapshot", false, api_stream_snapshot, NULL},
    {"STREAM.RESTORE.*", "stream_restore", true, api_stream_restore, ",\"deliver_subject\":\"\""},
    {"STREAM.PEER.REMOVE.*", "stream_remove_peer", true, api_needs_cluster, NULL},
    {"STREAM.PEER.EVACUATE.*", "stream_evacuate_peer", true, api_needs_cluster, NULL},
    {"STREAM.CANCEL_MOVE.*", "stream_cancel_move", true, api_needs_cluster, NULL},
    {"STREAM.LEADER.STEPDOWN.*", "stream_leader_stepdown", true, api_needs_cluster, NULL},
    {"CONSUMER.CREATE.*", "consumer_create", false, api_consumer_create, NULL},
    {"CONSUMER.CREATE.*.>", "consumer_create", false, api_consumer_create_named, NULL},
    {"CONSUMER.DURABLE.CREATE.*.*", "consumer_create", false, api_consumer_create_durable, NULL},
    {"CONSUMER.NAMES.*", "consumer_names", false, api_consumer_names, PAGE0 ",\"consumers\":[]"},
    {"CONSUMER.LIST.*", "consumer_list", false, api_consumer_list, PAGE0 ",\"consumers\":[]"},
    {"CONSUMER.INFO.*.*", "consumer_info", false, api_consumer_info, NULL},
    {"CONSUMER.DELETE.*.*", "consumer_delete", false, api_consumer_delete, NULL},
    {"CONSUMER.PAUSE.*.*", "consumer_pause", false, api_consumer_pause,
     ",\"paused\":false,\"pause_until\":\"0001-01-01T00:00:00Z\""},
    {"CONSUMER.UNPIN.*.*", "consumer_unpin", false, api_consumer_unpin, NULL},
    {"CONSUMER.RESET.*.*", "consumer_reset", false, api_consumer_reset, ",\"reset_seq\":0"},
    {"CONSUMER.LEADER.STEPDOWN.*.*", "consumer_leader_stepdown", true, api_needs_cluster, NULL},
    {"ACCOUNT.PURGE.*", "account_purge", true, api_account_purge, NULL},
    {"META.LEADER.STEPDOWN", "meta_leader_stepdown", true, api_needs_cluster, NULL},
    {"SERVER.REMOVE", "meta_server_remove", true, api_needs_cluster, NULL},
};

/* What is listened to: everything but MSG.NEXT and DIRECT. */
static const char *const patterns[] = {
    "INFO",
    "STREAM.>",
    "CONSUMER.CREATE.>",
    "CONSUMER.DURABLE.>",
    "CONSUMER.NAMES.>",
    "CONSUMER.LIST.>",
    "CONSUMER.INFO.>",
    "CONSUMER.DELETE.>",
    "CONSUMER.PAUSE.>",
    "CONSUMER.UNPIN.>",
    "CONSUMER.RESET.>",
    "CONSUMER.LEADER.>",
    "META.>",
    "SERVER.>",
    "ACCOUNT.>",
};

static const struct api_handler unknown = {"", "system", true, NULL, NULL};

/* ---- parsing the subject --------------------------------------------------------------------- */

/* Matches behind "$JS.API."; collects what wildcards stand for. `>` takes the rest as one. */
static bool match(const char *pattern, struct str subject, struct str *tokens, unsigned *n)
{
    struct str p = str_of(pattern);

    *n = 0;
    while (p.p != NULL) {
        struct str want = str_cut(p, '.', &p);
        if (subject.p == NULL)
            return false;
        if (str_eq(want, STR(">"))) {
            tokens[(*n)++] = subject;
            return true;
        }
        struct str have = str_cut(subject, '.', &subject);
        if (str_eq(want, STR("*")))
            tokens[(*n)++] = have;
        else if (!str_eq(want, have))
            return false;
    }
    return subject.p == NULL;
}

bool js_domain_prefix(const struct js *js, char *out, size_t cap)
{
    const char *domain = js->env->options->domain;

    if (domain == NULL)
        return false;
    snprintf(out, cap, "$JS.%.64s.API.", domain);
    return true;
}

struct str api_tail(const struct js *js, struct str subject)
{
    char prefix[96];

    if (str_starts(subject, STR("$JS.API.")))
        return str_skip(subject, 8);
    if (js_domain_prefix(js, prefix, sizeof(prefix)) && str_starts(subject, str_of(prefix)))
        return str_skip(subject, strlen(prefix));
    return STR_NONE;
}

static const struct api_handler *find(struct str tail, struct str *tokens, unsigned *n)
{
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
        if (match(handlers[i].subject, tail, tokens, n))
            return &handlers[i];
    return &unknown;
}

/* ---- requests -------------------------------------------------------------------------------- */

void api_request_free(struct api_request *r)
{
    list_remove(&r->link);
    if (r->counted != NULL)
        atomic_fetch_sub(&r->counted->requests, 1);
    if (r->change != NULL)
        api_change_free(r->change);
    mem_free(r->subject);
    mem_free(r->reply);
    buf_free(&r->body);
    buf_free(&r->header);
    buf_free(&r->who);
    buf_free(&r->out);
    buf_free(&r->out_header);
    buf_free(&r->extra);
    str_list_free(&r->names);
    mem_free(r);
}

/* As the peer: what was read, and resets, are told when they fail. */
static bool is_audited(const struct api_request *r)
{
    return r->handler->run != api_msg_get && r->handler->run != api_consumer_reset;
}

static void answer(struct api_request *r, bool failed)
{
    struct buf b = {0};
    const char *type = r->handler->type;

    r->js->stats.api_total++;
    buf_printf(&b, "{\"type\":\"io.nats.jetstream.api.v1.%s_response\"", type);
    buf_put(&b, r->out.p, r->out.n);
    buf_putc(&b, '}');
    if (r->reply[0] != '\0')
        js_publish(r->js, str_of(r->reply), STR_NONE, buf_str(&r->out_header), buf_str(&b));
    if (failed || is_audited(r))
        advise_api(r, buf_str(&b));
    buf_free(&b);
    api_request_free(r);
}

void api_reply(struct api_request *r)
{
    answer(r, false);
}

void api_error(struct api_request *r, const struct js_error *err)
{
    buf_clear(&r->out);
    buf_clear(&r->out_header);
    buf_putc(&r->out, ',');
    js_error_put(&r->out, err);
    if (r->handler->failed != NULL)
        buf_puts(&r->out, r->handler->failed);
    r->js->stats.api_errors++;
    answer(r, true);
}

void api_error_kind(struct api_request *r, enum js_error_kind kind)
{
    struct js_error err = {0};

    js_fail(&err, kind, NULL);
    api_error(r, &err);
}

struct api_request *api_request_of(struct env_task *task, struct env *env)
{
    struct api_request *r = CONTAINER_OF(task, struct api_request, task);

    r->js = js_of(env, r->account);
    if (r->js == NULL || r->js->stopping) {
        r->counted = NULL; /* the count may have gone before */
        api_request_free(r);
        return NULL;
    }
    list_push_back(&r->js->requests, &r->link);
    return r;
}

void api_go_to(struct api_request *r, uint32_t worker,
               void (*run)(struct env_task *task, struct env *env))
{
    struct env *env = r->js->env;

    list_remove(&r->link);
    r->task.run = run;
    env->post(env, worker, &r->task);
}

void api_run_here(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);

    if (r != NULL)
        r->handler->run(r);
}

static struct api_request *make_request(struct js *js, const struct msg *m)
{
    struct api_request *r = mem_zalloc(sizeof(*r));

    r->js = js;
    r->counted = js->shared->server;
    atomic_fetch_add(&js->shared->server->requests, 1);
    r->account = js->account;
    list_push_back(&js->requests, &r->link);
    r->subject = mem_strndup(m->subject.p, m->subject.n);
    r->reply = mem_strndup(m->reply.p, m->reply.n);
    buf_put_str(&r->body, m->payload);
    buf_put_str(&r->header, m->header);
    r->handler = find(api_tail(js, str_from(r->subject, m->subject.n)), r->tokens, &r->ntokens);
    return r;
}

bool api_level_ok(struct str header)
{
    struct str want = header_get(header, STR("Nats-Required-Api-Level"));
    int64_t level;

    return want.n == 0 || (str_to_i64(want, &level) && level <= JS_API_LEVEL);
}

static bool level_ok(struct api_request *r)
{
    if (api_level_ok(buf_str(&r->header)))
        return true;
    api_error_kind(r, JS_ERR_REQUIRED_API_LEVEL);
    return false;
}

/* The system account has no streams, and purges those of others. */
static bool dispatch_system(struct api_request *r)
{
    if (r->handler->run == api_account_purge) {
        r->handler->run(r);
        return true;
    }
    if (r->handler->run != api_info)
        r->handler = &unknown;
    return false;
}

static void dispatch(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);
    struct js *js;
    uint32_t worker;

    if (r == NULL)
        return;
    js = r->js;
    if (js->account == js->shared->server->system && dispatch_system(r))
        return;
    if (!js->limits.enabled) {
        api_error_kind(r, JS_ERR_NOT_ENABLED_FOR_ACCOUNT);
        return;
    }
    if (r->handler->run == NULL) {
        api_error_kind(r, JS_ERR_BAD_REQUEST);
        return;
    }
    if (!level_ok(r))
        return;
    if (r->handler->registrar) {
        r->handler->run(r);
    } else if (!directory_stream(js->shared->directory, r->tokens[0], &worker)) {
        api_error_kind(r, JS_ERR_STREAM_NOT_FOUND);
    } else if (worker == js->env->worker) {
        r->handler->run(r);
    } else {
        api_go_to(r, worker, api_run_here);
    }
}

/* ---- who asks, for advisories ---------------------------------------------------------------- */

static void look_at_client(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);

    if (r == NULL)
        return;
    if (env->client_info != NULL)
        env->client_info(env, r->client, &r->who);
    api_go_to(r, 0, dispatch);
}

/* Snapshots and restores have advisories of their own that name the client. */
static bool is_told_of(const struct api_request *r)
{
    return r->handler->run == api_stream_snapshot || r->handler->run == api_stream_restore ||
           account_interest_any(r->js->account, STR("$JS.EVENT.ADVISORY.API"));
}

/* By way of the worker that knows the client, while somebody listens to what is asked. */
static void begin_request(struct js *js, const struct msg *m)
{
    struct api_request *r = make_request(js, m);

    r->client = m->origin_conn;
    if (m->origin_conn != 0 && m->origin_worker < js->env->workers && is_told_of(r))
        api_go_to(r, m->origin_worker, look_at_client);
    else
        api_go_to(r, js->env->worker, dispatch);
}

void api_ask_inside(struct js *js, struct str subject)
{
    struct msg m = {.subject = subject};

    api_go_to(make_request(js, &m), js->env->worker, dispatch);
}

static bool has_room(const struct js *js)
{
    return atomic_load(&js->shared->server->requests) < js->env->options->js_request_queue_limit;
}

static void dropped(struct js *js, unsigned n)
{
    if (!js->overrun)
        LOG_WRN(js->env->log, "JetStream API queue limit reached, dropping requests");
    js->overrun = true;
    advise_api_limit(js, n);
}

static unsigned deliver(struct sink *sink, const struct msg *run, unsigned n)
{
    struct js *js = CONTAINER_OF(sink, struct js, api);
    unsigned too_many = 0;

    for (unsigned i = 0; i < n; i++) {
        if (run[i].reply.n == 0)
            continue;
        if (UNLIKELY(!has_room(js))) {
            too_many++;
            continue;
        }
        js->overrun = false;
        begin_request(js, &run[i]);
    }
    if (UNLIKELY(too_many > 0))
        dropped(js, too_many);
    return n;
}

const struct sink_ops api_sink_ops = {.deliver = deliver, .kind = "api"};

static struct interest_sub *listen_on(struct js *js, const char *prefix, const char *pattern)
{
    struct env *env = js->env;
    char subject[192];

    snprintf(subject, sizeof(subject), "%s%s", prefix, pattern);
    return interest_add(js->account->interest, &(struct interest_spec){.pattern = str_of(subject),
                                                                       .worker = env->worker,
                                                                       .sink = js->api.self,
                                                                       .internal = true});
}

void api_listen(struct js *js)
{
    char prefix[96];

    js->api.ops = &api_sink_ops;
    js->api.self = router_sink_add(js->env->router, &js->api);
    js->api_interest = mem_array(2 * ARRAY_LEN(patterns), sizeof(*js->api_interest));
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
        js->api_interest[js->napi_interest++] = listen_on(js, "$JS.API.", patterns[i]);
    if (!js_domain_prefix(js, prefix, sizeof(prefix)))
        return;
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
        js->api_interest[js->napi_interest++] = listen_on(js, prefix, patterns[i]);
}

void api_stop(struct js *js)
{
    for (size_t i = 0; i < js->napi_interest; i++)
        interest_remove(js->account->interest, js->api_interest[i]);
    js->napi_interest = 0;
    mem_free(js->api_interest);
    js->api_interest = NULL;
    if (js->api.self != 0)
        router_sink_remove(js->env->router, &js->api);
    js->api.self = 0;
}

/* ---- what handlers share --------------------------------------------------------------------- */

bool api_is_offline(struct api_request *r, struct str consumer)
{
    const char *reason = js_offline_reason(r->js, r->tokens[0], consumer);
    struct js_error err = {0};

    if (reason == NULL)
        return false;
    js_fail(&err, consumer.n > 0 ? JS_ERR_CONSUMER_OFFLINE_REASON : JS_ERR_STREAM_OFFLINE_REASON,
            "%s", reason);
    api_error(r, &err);
    return true;
}

static void run_again(struct api_request *r, struct stream *s)
{
    buf_clear(&r->out_header);
    r->task.run = api_run_here;
    list_remove(&r->link);
    list_push_back(&s->waiting, &r->link);
}

bool api_waits_for_index(struct api_request *r, struct stream *s)
{
    if (!stream_index_waits(s))
        return false;
    run_again(r, s);
    return true;
}

bool api_waits_for_subjects(struct api_request *r, struct stream *s, const struct str *subjects,
                            unsigned n)
{
    if (!stream_subjects_wait(s, subjects, n))
        return false;
    run_again(r, s);
    return true;
}

struct stream *api_stream(struct api_request *r)
{
    struct stream *s = js_stream_find(r->js, r->tokens[0]);

    if (s != NULL && api_waits_for_stream(r, s, api_run_here))
        return NULL;
    if (s == NULL && !api_is_offline(r, STR_NONE))
        api_error_kind(r, JS_ERR_STREAM_NOT_FOUND);
    return s;
}

struct consumer *api_consumer(struct api_request *r, struct stream *s)
{
    struct consumer *c = stream_consumer(s, r->tokens[1]);

    if (c != NULL && api_waits_for_consumer(r, c))
        return NULL;
    if (c == NULL && !api_is_offline(r, r->tokens[1]))
        api_error_kind(r, JS_ERR_CONSUMER_NOT_FOUND);
    return c;
}

/* Nothing, or an object without members. */
bool api_body_empty(const struct api_request *r)
{
    struct str body = str_trim(buf_str(&r->body));
    struct buf err = {0};
    json_t *object;
    bool empty;

    if (body.n == 0)
        return true;
    object = json_parse_object(body, &err);
    empty = object != NULL && json_object_size(object) == 0;
    json_decref(object);
    buf_free(&err);
    return empty;
}

bool api_expect_empty(struct api_request *r)
{
    if (api_body_empty(r))
        return true;
    api_error_kind(r, JS_ERR_NOT_EMPTY_REQUEST);
    return false;
}

static bool check_kinds(struct api_request *r, const struct json_shape *shape, bool strict,
                        struct js_error *err)
{
    struct buf text = {0};

    if (r->body.n > 0 && !json_check(buf_str(&r->body), shape, strict, &text))
        js_fail(err, JS_ERR_INVALID_JSON, "%s", buf_cstr(&text));
    buf_free(&text);
    return err->kind == JS_OK;
}

bool api_check_kinds(struct api_request *r, const struct json_shape *shape, struct js_error *err)
{
    return check_kinds(r, shape, r->js->env->options->js_strict, err);
}

static bool read_body(struct api_request *r, const struct json_shape *shape,
                      const struct json_field *fields, size_t n, void *out, bool strict)
{
    struct buf text = {0};
    struct js_error err = {0};
    json_t *object;
    bool ok;

    if (api_body_empty(r) || str_eq(str_trim(buf_str(&r->body)), STR("null")))
        return true;
    if (!check_kinds(r, shape, strict, &err)) {
        api_error(r, &err);
        return false;
    }
    object = json_parse_object(buf_str(&r->body), &text);
    ok = object != NULL && fields_read(object, fields, n, out, strict, &text);
    if (!ok) {
        js_fail(&err, JS_ERR_INVALID_JSON, "%s", buf_cstr(&text));
        fields_release(fields, n, out);
        api_error(r, &err);
    }
    json_decref(object);
    buf_free(&text);
    return ok;
}

bool api_read_body(struct api_request *r, const struct json_shape *shape,
                   const struct json_field *fields, size_t n, void *out)
{
    return read_body(r, shape, fields, n, out, r->js->env->options->js_strict);
}

bool api_read_body_lax(struct api_request *r, const struct json_shape *shape,
                       const struct json_field *fields, size_t n, void *out)
{
    return read_body(r, shape, fields, n, out, false);
}

bool api_read_options(struct api_request *r, const struct json_shape *shape,
                      const struct json_field *fields, size_t n, void *out)
{
    struct str body = str_trim(buf_str(&r->body));

    return body.n == 0 || (body.p[0] != '{' && body.p[0] != '[') ||
           api_read_body(r, shape, fields, n, out);
}

bool api_read_offset(struct api_request *r)
{
    struct paging {
        int64_t offset;
    } p = {0};
    static const struct json_field fields[] = {
        {"offset", JSON_I64_FIELD, offsetof(struct paging, offset), 0, NULL},
    };

    if (!api_read_options(r, &shape_consumers_request, fields, ARRAY_LEN(fields), &p))
        return false;
    r->offset = p.offset > 0 ? (uint64_t) p.offset : 0;
    return true;
}

void api_needs_cluster(struct api_request *r)
{
    api_error_kind(r, JS_ERR_CLUSTER_REQUIRED);
}
