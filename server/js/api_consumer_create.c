/*
 * api_consumer_create.c - the three subjects that create and update consumers: what is asked for is
 * checked here, consumer_create.c makes it.
 */
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "server/js/api_int.h"
#include "server/js/consumer_int.h"

#define EPHEMERAL_NAME 8

/* ---- rules that need the stream -------------------------------------------------------------- */

static bool push_in_use(const struct consumer *c, const struct consumer_config *n)
{
    return c->config.deliver_subject != NULL && n->deliver_subject != NULL &&
           strcmp(c->config.deliver_subject, n->deliver_subject) != 0 &&
           account_interest_any(c->js->account, str_of(c->config.deliver_subject));
}

static void random_name(struct js *js, char out[EPHEMERAL_NAME + 1])
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    for (unsigned i = 0; i < EPHEMERAL_NAME; i++)
        out[i] = digits[prng_below(js->env->prng, 62)];
    out[EPHEMERAL_NAME] = '\0';
}

static void update_existing(struct api_request *r, struct consumer *c, struct consumer_request *q)
{
    struct js_error err = {0};

    if (q->action == CONSUMER_ACTION_CREATE && !consumer_config_equal(&c->config, &q->config))
        js_fail(&err, JS_ERR_CONSUMER_ALREADY_EXISTS, NULL);
    else if (!consumer_admit_update(c->stream, &q->config, c->name, &err))
        ;
    else if (push_in_use(c, &q->config))
        js_fail(&err, JS_ERR_CONSUMER_NAME_EXIST, NULL);
    else
        consumer_config_check_update(&c->config, &q->config, &err);
    if (err.kind != JS_OK) {
        api_error(r, &err);
        return;
    }
    consumer_config_threshold(&q->config, &c->config);
    if (consumer_config_equal(&c->config, &q->config) && !q->config.sourcing) {
        api_put_consumer(r, c);
        api_reply(r);
    } else {
        consumer_change(r, c, &q->config, api_put_consumer);
    }
}

/* Its start is that of a last message, and the subjects are not known yet. */
static bool waits_for_subjects(struct api_request *r, struct stream *s,
                               const struct consumer_config *c)
{
    size_t n = c->filter_subject != NULL ? 1 : c->filter_subjects.n;
    bool waits;

    if (c->deliver_policy != DELIVER_LAST && c->deliver_policy != DELIVER_LAST_PER_SUBJECT)
        return false;
    if (n == 0)
        return api_waits_for_index(r, s);
    struct str *filters = mem_array(n, sizeof(*filters));
    for (size_t i = 0; i < n; i++)
        filters[i] = str_of(c->filter_subject != NULL ? c->filter_subject
                                                      : c->filter_subjects.items[i]);
    waits = api_waits_for_subjects(r, s, filters, (unsigned) n);
    mem_free(filters);
    return waits;
}

/*
 * What a mirror or a source of another server asks for: a consumer without acknowledgements, by a
 * name that is always the same. A stream that keeps what was not acknowledged makes it a durable
 * one instead, acknowledged by flow control, so that nothing goes before it is stored there; who
 * asks again goes on with it. Elsewhere each gets a consumer of its own, which ends by itself.
 */
static void prepare_sourcing(struct js *js, const struct stream *s, struct consumer_config *config)
{
    char random[EPHEMERAL_NAME + 1];
    struct buf name = {0};

    if (!config->direct || !config->sourcing || config->name == NULL)
        return;
    if (s->config.retention == RETENTION_LIMITS) {
        random_name(js, random);
        buf_printf(&name, "%s-%s", config->name, random);
        mem_free(config->name);
        config->name = mem_strdup(buf_cstr(&name));
        buf_free(&name);
        return;
    }
    config->direct = false;
    mem_free(config->durable_name);
    config->durable_name = mem_strdup(config->name);
    config->ack_policy = ACK_FLOW_CONTROL;
    config->ack_wait_ns = 0;
    config->max_deliver = 0;
    config->inactive_threshold_ns = 0;
}

/* Where it began is its own business: it goes on behind what was acknowledged. */
static void keep_start(struct consumer_config *config, const struct consumer_config *old)
{
    if (!config->sourcing || config->durable_name == NULL)
        return;
    config->deliver_policy = old->deliver_policy;
    config->opt_start_seq = old->opt_start_seq;
    config->opt_start_time = old->opt_start_time;
}

/* With the name from subject and configuration settled. */
static void create_checked(struct api_request *r, struct stream *s, struct consumer_request *q)
{
    struct consumer_bounds bounds;
    char random[EPHEMERAL_NAME + 1];
    const char *name;
    const char *offline;
    struct js_error err = {0};
    struct consumer *c;

    if (q->config.num_replicas > 1) {
        api_error_kind(r, JS_ERR_STREAM_REPLICAS_NOT_SUPPORTED);
        return;
    }
    prepare_sourcing(r->js, s, &q->config);
    name = q->config.name;
    if (name == NULL)
        name = q->config.durable_name;
    if (name == NULL) {
        random_name(r->js, random);
        name = random;
    }
    c = stream_consumer(s, str_of(name));
    if (c != NULL && api_waits_for_consumer(r, c))
        return;
    consumer_bounds_of(s, q->pedantic, &bounds);
    if (c != NULL) {
        q->config.pause_until = c->config.pause_until;
        keep_start(&q->config, &c->config);
    }
    if (!consumer_config_check(&q->config, &bounds, &err)) {
        api_error(r, &err);
        return;
    }
    if (c != NULL) {
        if (q->config.name == NULL)
            q->config.name = mem_strdup(name);
        update_existing(r, c, q);
        return;
    }
    consumer_config_threshold(&q->config, NULL);
    if ((offline = js_offline_reason(r->js, r->tokens[0], str_of(name))) != NULL)
        js_fail(&err, JS_ERR_CONSUMER_OFFLINE_REASON, "%s", offline);
    else if (q->action == CONSUMER_ACTION_UPDATE)
        js_fail(&err, JS_ERR_CONSUMER_DOES_NOT_EXIST, NULL);
    else
        consumer_admit(s, &q->config, name, &err);
    if (err.kind != JS_OK)
        api_error(r, &err);
    else if (!waits_for_subjects(r, s, &q->config))
        consumer_create(r, s, &q->config, name);
}

/* ---- the three subjects ---------------------------------------------------------------------- */

/* The one in the subject, or that of an ephemeral. */
static struct str requested_name(const struct api_request *r, const struct consumer_config *c)
{
    struct str rest;

    return r->ntokens > 1 ? str_cut(r->tokens[1], '.', &rest) : str_of(c->name);
}

static bool has_separator(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] == '/' || name.p[i] == '\\')
            return true;
    return false;
}

void stream_identity(const struct stream *s, char out[SOURCE_HASH_LEN + 1])
{
    char created[FMT_TIME_MAX];
    unsigned n = fmt_time_rfc3339(created, s->created);

    source_hash(str_from(created, n), out);
}

/* Tells this stream from another one that had its name: a hash of when it was made. Who says which
 * one it means finds no other. For mirrors and sources. */
static bool tell_identity(struct api_request *r, const struct stream *s,
                          const struct consumer_config *config, struct js_error *err)
{
    struct str want = header_get(buf_str(&r->header), STR("Nats-Stream-Identity"));
    char identity[SOURCE_HASH_LEN + 1];

    if (!config->direct && !config->sourcing)
        return true;
    stream_identity(s, identity);
    if (want.n > 0 && !str_eq(want, str_of(identity)))
        return js_fail(err, JS_ERR_CONSUMER_STREAM_IDENTITY_MISMATCH, "%s", identity);
    header_append(&r->out_header, STR_NONE, STR("Nats-Stream-Identity"), str_of(identity));
    return true;
}

static bool read_create(struct api_request *r, struct stream *s, struct consumer_request *q)
{
    struct js_error err = {0};

    memset(q, 0, sizeof(*q));
    if (!api_check_kinds(r, &shape_consumer_create_request, &err) ||
        !consumer_request_read(buf_str(&r->body), r->js->env->options->js_strict, q, &err))
        ;
    else if (q->stream_name == NULL || !str_eq(r->tokens[0], str_of(q->stream_name)))
        js_fail(&err, JS_ERR_STREAM_MISMATCH, NULL);
    else if (has_separator(requested_name(r, &q->config)))
        js_fail(&err, JS_ERR_CONSUMER_NAME_CONTAINS_PATH_SEPARATORS, NULL);
    else if (tell_identity(r, s, &q->config, &err))
        return true;
    consumer_request_release(q);
    api_error(r, &err);
    return false;
}

static void refuse(struct api_request *r, struct consumer_request *q, enum js_error_kind kind)
{
    consumer_request_release(q);
    api_error_kind(r, kind);
}

/* The name in the subject counts; another one in the configuration is passed over. */
static void set_name(struct consumer_config *config, struct str name)
{
    mem_free(config->name);
    config->name = mem_strndup(name.p, name.n);
}

void api_consumer_create(struct api_request *r)
{
    struct consumer_request q;
    struct stream *s = api_stream_caught_up(r);

    if (s == NULL || !read_create(r, s, &q))
        return;
    if (q.config.durable_name != NULL) {
        refuse(r, &q, JS_ERR_CONSUMER_EPHEMERAL_WITH_DURABLE_NAME);
        return;
    }
    create_checked(r, s, &q);
    consumer_request_release(&q);
}

/* $JS.API.CONSUMER.CREATE.<stream>.<name>[.<filter>] */
void api_consumer_create_named(struct api_request *r)
{
    struct consumer_request q;
    struct stream *s = api_stream_caught_up(r);
    struct str filter;
    struct str name = str_cut(r->tokens[1], '.', &filter);

    if (s == NULL || !read_create(r, s, &q))
        return;
    if (filter.p != NULL) {
        if (q.config.filter_subjects.n > 0) {
            refuse(r, &q, JS_ERR_CONSUMER_MULTIPLE_FILTERS_NOT_ALLOWED);
            return;
        }
        if (q.config.filter_subject == NULL || !str_eq(filter, str_of(q.config.filter_subject))) {
            refuse(r, &q, JS_ERR_CONSUMER_CREATE_FILTER_SUBJECT_MISMATCH);
            return;
        }
    }
    if (q.config.durable_name != NULL && !str_eq(name, str_of(q.config.durable_name))) {
        refuse(r, &q, JS_ERR_CONSUMER_DURABLE_NAME_NOT_MATCH_SUBJECT);
        return;
    }
    set_name(&q.config, name);
    create_checked(r, s, &q);
    consumer_request_release(&q);
}

void api_consumer_create_durable(struct api_request *r)
{
    struct consumer_request q;
    struct stream *s = api_stream_caught_up(r);

    if (s == NULL || !read_create(r, s, &q))
        return;
    if (q.config.durable_name == NULL) {
        refuse(r, &q, JS_ERR_CONSUMER_DURABLE_NAME_NOT_SET);
        return;
    }
    if (!str_eq(r->tokens[1], str_of(q.config.durable_name))) {
        refuse(r, &q, JS_ERR_CONSUMER_DURABLE_NAME_NOT_MATCH_SUBJECT);
        return;
    }
    set_name(&q.config, r->tokens[1]);
    create_checked(r, s, &q);
    consumer_request_release(&q);
}
