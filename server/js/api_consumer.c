/*
 * api_consumer.c - requests about consumers; all run on the worker of the stream.
 *
 * Creating: configuration checked -> start sequence by the deliver policy (may need the disk) ->
 * number of pending messages (likewise)
 * -> object durable -> answered. The consumer exists in memory from the start, so that a second
 * create of the same name finds it, and begins to deliver when its object is durable. One with
 * mem_storage has no object: a restart forgets it, as clients with ordered consumers expect.
 */
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/js_int.h"
#include "server/js/source_config.h"

#include <stdlib.h>
#include <string.h>

#define NAMES_PAGE 1024u
#define LIST_PAGE 256u
#define EPHEMERAL_NAME 8

/* ---- creating -------------------------------------------------------------------------------- */

struct creation {
    struct store_req req;
    struct js *js;
    struct api_request *r;
    void (*answer)(struct api_request *r, struct consumer *c); /* of a change */
    struct list waiting;     /* requests that asked for it meanwhile: api_request.link */
    char *stream, *consumer; /* names: either may be gone when a step completes, */
    uint64_t birth;          /* or another may have its name */
    bool pauses;             /* the change is one of pause_until */
};

static void ask_again(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);

    if (r != NULL)
        r->handler->run(r);
}

static void end_creation(struct creation *cr)
{
    struct list *l;

    while ((l = list_pop_front(&cr->waiting)) != NULL)
        api_go_to(LIST_ENTRY(l, struct api_request, link), cr->js->env->worker, ask_again);
    mem_free(cr->stream);
    mem_free(cr->consumer);
    mem_free(cr);
}

static void put_info(struct api_request *r, struct consumer *c)
{
    buf_putc(&r->out, ',');
    consumer_info(c, INFO_ASKED, &r->out);
}

static struct consumer *find_again(const struct creation *cr)
{
    struct stream *s = js_stream_find(cr->r->js, str_of(cr->stream));
    struct consumer *c = s != NULL ? stream_consumer(s, str_of(cr->consumer)) : NULL;

    return c != NULL && c->birth == cr->birth ? c : NULL;
}

static void create_failed(struct creation *cr, enum err err)
{
    struct js_error e = {0};
    struct consumer *c = find_again(cr);

    if (c != NULL)
        consumer_free(c);
    js_fail(&e, JS_ERR_CONSUMER_CREATE, "%s", err_text(err));
    api_error(cr->r, &e);
    end_creation(cr);
}

static void durable(struct store_req *req, enum err err)
{
    struct creation *cr = CONTAINER_OF(req, struct creation, req);
    struct consumer *c = find_again(cr);

    if (err != ERR_OK || c == NULL) {
        create_failed(cr, err != ERR_OK ? err : ERR_CANCELED);
        return;
    }
    c->creation = NULL;
    consumer_start(c);
    put_info(cr->r, c);
    advise_consumer(c, ADVISE_CREATED);
    api_reply(cr->r);
    end_creation(cr);
}

/* New settings of one that exists are durable. */
static void updated(struct store_req *req, enum err err)
{
    struct creation *cr = CONTAINER_OF(req, struct creation, req);
    struct consumer *c = find_again(cr);
    struct js_error e = {0};

    if (err == ERR_OK && c != NULL) {
        if (cr->pauses)
            advise_pause(c);
        cr->answer(cr->r, c);
        api_reply(cr->r);
    } else {
        js_fail(&e, JS_ERR_CONSUMER_CREATE, "%s", err_text(err != ERR_OK ? err : ERR_CANCELED));
        api_error(cr->r, &e);
    }
    end_creation(cr);
}

static struct creation *new_creation(struct api_request *r, const struct consumer *c)
{
    struct creation *cr = mem_zalloc(sizeof(*cr));

    cr->js = r->js;
    cr->r = r;
    list_init(&cr->waiting);
    cr->stream = mem_strdup(c->stream->config.name);
    cr->consumer = mem_strdup(c->name);
    cr->birth = c->birth;
    return cr;
}

static void render(void *ctx, store_object_id id, struct buf *out)
{
    (void) id;
    consumer_render(ctx, out);
}

void consumer_attach(struct consumer *c)
{
    store_object_attach(c->js->store, c->id, render, c);
}

void consumer_create_object(struct consumer *c, struct store_req *req)
{
    struct buf blob = {0};

    consumer_render(c, &blob);
    c->id = store_object_create(c->js->store, JS_KIND_CONSUMER, c->stream->id, buf_str(&blob),
                                render, c, req);
    buf_free(&blob);
}

static void counted(struct store_req *req, enum err err)
{
    struct creation *cr = CONTAINER_OF(req, struct creation, req);
    struct consumer *c = find_again(cr);

    if (err != ERR_OK || c == NULL) {
        create_failed(cr, err != ERR_OK ? err : ERR_CANCELED);
        return;
    }
    c->core.num_pending = consumer_last_left(c) + req->count;
    if (c->config.mem_storage) {
        durable(&cr->req, ERR_OK);
        return;
    }
    cr->req.done = durable;
    consumer_create_object(c, &cr->req);
}

static void start_known(struct creation *cr, struct consumer *c, uint64_t seq)
{
    uint64_t from = seq;
    enum err err;

    consumer_core_start(&c->core, seq);
    if (c->nlast > 0 || c->listing != NULL)
        from = c->last_resume;
    cr->req.done = counted;
    err = store_count(c->stream->store, from, c->nfilters > 0 ? c->filters : NULL, c->nfilters,
                      &cr->req.count, &cr->req);
    if (err != ERR_AGAIN)
        counted(&cr->req, err);
}

static void time_known(struct store_req *req, enum err err)
{
    struct creation *cr = CONTAINER_OF(req, struct creation, req);
    struct consumer *c = find_again(cr);

    if (err != ERR_OK || c == NULL)
        create_failed(cr, err != ERR_OK ? err : ERR_CANCELED);
    else
        start_known(cr, c, req->count);
}

/* 0: none. */
static uint64_t last_matching(const struct consumer *c)
{
    uint64_t best = 0;

    if (c->nfilters == 0)
        best = store_subject_last_match(c->stream->store, STR(">"));
    for (unsigned i = 0; i < c->nfilters; i++) {
        uint64_t seq = store_subject_last_match(c->stream->store, c->filters[i]);
        if (seq > best)
            best = seq;
    }
    return best;
}

bool api_waits_for_consumer(struct api_request *r, struct consumer *c)
{
    if (c->creation == NULL)
        return false;
    list_remove(&r->link);
    list_push_back(&c->creation->waiting, &r->link);
    return true;
}

/* Never before the first message; what is to come only when asked for by sequence. */
static void start_within(struct creation *cr, struct consumer *c, const struct store_state *st,
                         uint64_t seq)
{
    if (seq < st->first_seq)
        seq = st->first_seq;
    if (c->config.deliver_policy != DELIVER_BY_START_SEQUENCE && seq > st->last_seq + 1)
        seq = st->last_seq + 1;
    start_known(cr, c, seq);
}

static void find_start(struct creation *cr, struct consumer *c)
{
    struct store_state st;
    uint64_t seq = 0;
    enum err err;

    store_stream_state(c->stream->store, &st);
    switch (c->config.deliver_policy) {
    case DELIVER_LAST:
        seq = last_matching(c);
        break;
    case DELIVER_NEW:
        seq = st.last_seq + 1;
        break;
    case DELIVER_BY_START_SEQUENCE:
        seq = c->config.opt_start_seq;
        break;
    case DELIVER_BY_START_TIME:
        cr->req.done = time_known;
        err = store_seq_at(c->stream->store, c->config.opt_start_time, &seq, &cr->req);
        if (err == ERR_AGAIN)
            return;
        break;
    case DELIVER_LAST_PER_SUBJECT:
        seq = consumer_last_start(c, st.last_seq);
        if (consumer_last_unknown(c))
            return;
        break;
    default:
        seq = st.first_seq;
        break;
    }
    start_within(cr, c, &st, seq);
}

void consumer_last_known(struct consumer *c, enum err err)
{
    struct creation *cr = c->creation;
    struct store_state st;

    if (err != ERR_OK) {
        create_failed(cr, err);
        return;
    }
    store_stream_state(c->stream->store, &st);
    start_within(cr, c, &st, c->nlast > 0 ? c->last_seqs[0] : c->last_resume);
}

/* ---- rules that need the stream -------------------------------------------------------------- */

static bool filters_overlap(const struct consumer *c, const struct consumer_config *n)
{
    if (n->filter_subject == NULL && n->filter_subjects.n == 0)
        return true;
    if (c->nfilters == 0)
        return true;
    for (unsigned i = 0; i < c->nfilters; i++) {
        if (n->filter_subject != NULL && subject_overlap(c->filters[i], str_of(n->filter_subject)))
            return true;
        for (size_t k = 0; k < n->filter_subjects.n; k++)
            if (subject_overlap(c->filters[i], str_of(n->filter_subjects.items[k])))
                return true;
    }
    return false;
}

/* On a work queue every message has one consumer. */
static bool check_work_queue(const struct stream *s, const struct consumer_config *config,
                             const char *name, struct js_error *err)
{
    bool unfiltered = config->filter_subject == NULL && config->filter_subjects.n == 0;

    if (s->config.retention != RETENTION_WORKQUEUE || config->direct)
        return true;
    LIST_FOREACH(l, &s->consumers)
    {
        const struct consumer *c = LIST_ENTRY(l, struct consumer, stream_link);
        if (strcmp(c->name, name) == 0 || c->config.direct)
            continue;
        if (unfiltered)
            return js_fail(err, JS_ERR_CONSUMER_WQ_MULTIPLE_UNFILTERED, NULL);
        if (filters_overlap(c, config))
            return js_fail(err, JS_ERR_CONSUMER_WQ_CONSUMER_NOT_UNIQUE, NULL);
    }
    return true;
}

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

/* Carried out at once; `answer` puts the fields of the answer, which leaves when it is durable. */
static void set_config(struct api_request *r, struct consumer *c,
                       const struct consumer_config *config,
                       void (*answer)(struct api_request *r, struct consumer *c))
{
    struct creation *cr = new_creation(r, c);

    cr->pauses = c->config.pause_until != config->pause_until;
    consumer_set_config(c, config);
    cr->answer = answer;
    cr->req.done = updated;
    if (c->config.mem_storage)
        updated(&cr->req, ERR_OK);
    else
        consumer_rewrite(c, &cr->req);
}

/* For a create that must make it. The peer compares what was asked for with what became of it: an
 * ephemeral that is left its threshold is another one each time. */
static bool is_same(const struct consumer_config *have, const struct consumer_config *want)
{
    return consumer_config_equal(have, want) &&
           (want->durable_name != NULL || want->inactive_threshold_ns != CONSUMER_INACTIVE_DEFAULT);
}

static void update_existing(struct api_request *r, struct consumer *c, struct consumer_request *q)
{
    struct js_error err = {0};

    if (q->action == CONSUMER_ACTION_CREATE && !is_same(&c->config, &q->config))
        js_fail(&err, JS_ERR_CONSUMER_ALREADY_EXISTS, NULL);
    else if (push_in_use(c, &q->config))
        js_fail(&err, JS_ERR_CONSUMER_NAME_EXIST, NULL);
    else
        consumer_config_check_update(&c->config, &q->config, &err);
    if (err.kind != JS_OK) {
        api_error(r, &err);
        return;
    }
    if (consumer_config_equal(&c->config, &q->config)) {
        put_info(r, c);
        api_reply(r);
    } else {
        set_config(r, c, &q->config, put_info);
    }
}

static void create_new(struct api_request *r, struct stream *s,
                       const struct consumer_config *config, const char *name)
{
    struct consumer *c = consumer_new(s, config, name, io_wall(r->js->env->io));
    c->config.mem_storage |= c->config.direct; /* whoever made it asks again after a restart */
    struct creation *cr = new_creation(r, c);

    c->creation = cr;
    find_start(cr, c);
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

/* With the name from subject and configuration settled. */
static void create_checked(struct api_request *r, struct stream *s, struct consumer_request *q)
{
    const struct options *o = r->js->env->options;
    char random[EPHEMERAL_NAME + 1];
    const char *name = q->config.name;
    const char *offline;
    struct js_error err = {0};
    struct consumer *c;

    if (q->config.num_replicas > 1) {
        api_error_kind(r, JS_ERR_STREAM_REPLICAS_NOT_SUPPORTED);
        return;
    }
    if (name == NULL)
        name = q->config.durable_name;
    if (name == NULL) {
        random_name(r->js, random);
        name = random;
    }
    c = stream_consumer(s, str_of(name));
    if (c != NULL && api_waits_for_consumer(r, c))
        return;
    struct consumer_bounds bounds = {
        .stream = &s->config,
        .max_ack_pending = o->js_max_ack_pending,
        .account_max_ack_pending = s->js->limits.max_ack_pending,
        .max_batch = o->js_max_request_batch,
        .pedantic = q->pedantic,
    };
    if (c != NULL)
        q->config.pause_until = c->config.pause_until;
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
    if ((offline = js_offline_reason(r->js, r->tokens[0], str_of(name))) != NULL)
        js_fail(&err, JS_ERR_CONSUMER_OFFLINE_REASON, "%s", offline);
    else if (q->action == CONSUMER_ACTION_UPDATE)
        js_fail(&err, JS_ERR_CONSUMER_DOES_NOT_EXIST, NULL);
    else if (s->config.max_consumers > 0 &&
             s->nconsumers - s->nsourcing >= (size_t) s->config.max_consumers && !q->config.direct)
        js_fail(&err, JS_ERR_MAXIMUM_CONSUMERS_LIMIT, NULL);
    else if (s->js->limits.max_consumers > 0 && !q->config.direct &&
             s->nconsumers - s->nsourcing >= (size_t) s->js->limits.max_consumers)
        js_fail(&err, JS_ERR_MAXIMUM_CONSUMERS_LIMIT, NULL);
    else
        check_work_queue(s, &q->config, name, &err);
    if (err.kind != JS_OK)
        api_error(r, &err);
    else if (!waits_for_subjects(r, s, &q->config))
        create_new(r, s, &q->config, name);
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

/* ---- names, lists, info, delete -------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct consumer *const *) a)->name, (*(struct consumer *const *) b)->name);
}

/* All that are durable in order of their names; the caller frees the array. */
static struct consumer **sorted(const struct stream *s, size_t *n)
{
    struct consumer **all = mem_array(s->nconsumers + 1, sizeof(*all));

    *n = 0;
    LIST_FOREACH(l, &s->consumers)
    {
        struct consumer *c = LIST_ENTRY(l, struct consumer, stream_link);
        if (c->creation == NULL && !c->config.direct)
            all[(*n)++] = c;
    }
    qsort(all, *n, sizeof(*all), by_name);
    return all;
}

static void list(struct api_request *r, struct stream *s, unsigned page,
                 void (*put)(struct consumer *c, struct buf *b))
{
    size_t n;
    struct consumer **all = sorted(s, &n);

    if (r->offset > n)
        r->offset = n;
    buf_printf(&r->out, ",\"total\":%zu,\"offset\":%llu,\"limit\":%u,\"consumers\":[", n,
               (unsigned long long) r->offset, page);
    for (size_t i = r->offset; i < n && i < r->offset + page; i++) {
        if (i > r->offset)
            buf_putc(&r->out, ',');
        put(all[i], &r->out);
    }
    buf_putc(&r->out, ']');
    mem_free(all);
    api_reply(r);
}

static void put_name(struct consumer *c, struct buf *b)
{
    jput_string(b, str_of(c->name));
}

static void put_object(struct consumer *c, struct buf *b)
{
    buf_putc(b, '{');
    consumer_info(c, INFO_LISTED, b);
    buf_putc(b, '}');
}

void api_consumer_names(struct api_request *r)
{
    struct stream *s = api_stream(r);

    if (s != NULL && api_read_offset(r))
        list(r, s, NAMES_PAGE, put_name);
}

void api_consumer_list(struct api_request *r)
{
    struct stream *s = api_stream_caught_up(r);

    if (s != NULL && api_read_offset(r))
        list(r, s, LIST_PAGE, put_object);
}

void api_consumer_info(struct api_request *r)
{
    struct stream *s = api_stream_caught_up(r);
    struct consumer *c;

    if (s == NULL || !api_expect_empty(r) || (c = api_consumer(r, s)) == NULL)
        return;
    put_info(r, c);
    api_reply(r);
}

/* ---- pause ----------------------------------------------------------------------------------- */

struct pause_request {
    int64_t pause_until;
};

static const struct json_field pause_fields[] = {
    {"pause_until", JSON_TIME_FIELD, offsetof(struct pause_request, pause_until), 0, NULL},
};

static void put_pause(struct api_request *r, struct consumer *c)
{
    int64_t until = c->config.pause_until;
    int64_t left = until != 0 ? until - io_wall(r->js->env->io) : 0;

    buf_printf(&r->out, ",\"paused\":%s,\"pause_until\":", left > 0 ? "true" : "false");
    jput_time(&r->out, until);
    if (left > 0)
        buf_printf(&r->out, ",\"pause_remaining\":%lld", (long long) left);
}

/* An empty request, a zero time and one that has passed resume. */
void api_consumer_pause(struct api_request *r)
{
    struct pause_request q = {0};
    struct consumer_config config;
    struct stream *s = api_stream(r);
    struct consumer *c;

    if (s == NULL ||
        !api_read_options(r, &shape_consumer_pause_request, pause_fields, ARRAY_LEN(pause_fields),
                          &q) ||
        (c = api_consumer(r, s)) == NULL)
        return;
    consumer_config_copy(&config, &c->config);
    config.pause_until = q.pause_until;
    consumer_config_stamp(&config);
    set_config(r, c, &config, put_pause);
    consumer_config_release(&config);
}

/* ---- delete ---------------------------------------------------------------------------------- */

struct ending {
    struct store_req req;
    struct api_request *r;
};

static void gone(struct store_req *req, enum err err)
{
    struct ending *e = CONTAINER_OF(req, struct ending, req);

    if (err == ERR_OK) {
        buf_puts(&e->r->out, ",\"success\":true");
        api_reply(e->r);
    } else {
        api_error_kind(e->r, JS_ERR_INSUFFICIENT_RESOURCES);
    }
    mem_free(e);
}

void api_consumer_delete(struct api_request *r)
{
    struct stream *s = api_stream(r);
    struct consumer *c;
    struct ending *e;
    bool nothing_stored;

    if (s == NULL || !api_expect_empty(r) || (c = api_consumer(r, s)) == NULL)
        return;
    e = mem_zalloc(sizeof(*e));
    e->r = r;
    e->req.done = gone;
    nothing_stored = c->id == 0;
    consumer_delete(c, STATUS_CONSUMER_DELETED, &e->req);
    if (nothing_stored)
        gone(&e->req, ERR_OK);
}
