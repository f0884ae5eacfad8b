/*
 * consumer_create.c - a consumer comes into being, or gets new settings; on the stream's worker.
 *
 * Start sequence by the deliver policy (may need the disk) -> number of pending messages (likewise)
 * -> object durable -> answered. The consumer exists in memory from the start, so that a second
 * create of the same name finds it, and begins to deliver when its object is durable. One with
 * mem_storage has no object: a restart forgets it, as clients with ordered consumers expect.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/advisory.h"
#include "server/js/api_int.h"
#include "server/js/consumer_int.h"

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
    api_put_consumer(cr->r, c);
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

void consumer_create(struct api_request *r, struct stream *s, const struct consumer_config *config,
                     const char *name)
{
    struct consumer *c = consumer_new(s, config, name, io_wall(r->js->env->io));
    c->config.mem_storage |= c->config.direct; /* whoever made it asks again after a restart */
    struct creation *cr = new_creation(r, c);

    c->creation = cr;
    find_start(cr, c);
}

void consumer_change(struct api_request *r, struct consumer *c,
                     const struct consumer_config *config,
                     void (*answer)(struct api_request *r, struct consumer *c))
{
    struct creation *cr = new_creation(r, c);

    cr->pauses = c->config.pause_until != config->pause_until;
    consumer_set_config(c, config);
    if (config->sourcing) /* whoever asks has another subject, and counts from the beginning */
        consumer_reset(c, c->core.floor.stream + 1);
    cr->answer = answer;
    cr->req.done = updated;
    if (c->config.mem_storage)
        updated(&cr->req, ERR_OK);
    else
        consumer_rewrite(c, &cr->req);
}
