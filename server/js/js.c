/*
 * js.c - JetStream of one account on one worker: opening, the loop stage, resolving, statistics,
 * the end; jetstream.c goes through the accounts.
 */
#include "server/js/js.h"

#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "lib/wire/ack_subject.h"
#include "server/js/api_int.h"
#include "server/js/consumer_int.h"
#include "server/js/stream_parts.h"
#include "server/js/upstream.h"

#include <string.h>

/* ---- life ------------------------------------------------------------------------------------ */

static void publish_all(struct js *js)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&js->streams, &it)) != NULL)
        stream_publish_interest(CONTAINER_OF(n, struct stream, node));
}

static void save_now(struct wheel_timer *t)
{
    js_save_soon(CONTAINER_OF(t, struct js, save_timer));
}

struct js *js_new(struct jetstream *all, struct js_shared *shared)
{
    struct env *env = all->env;
    struct js *js = mem_zalloc(sizeof(*js));

    js->env = env;
    js->all = all;
    js->account = shared->account;
    js->shared = shared;
    js->limits = shared->limits;
    js->store = all->store;
    nuid_init(&js->nuid, env->prng);
    hmap_init(&js->streams);
    list_init(&js->awake);
    list_init(&js->dirty_streams);
    list_init(&js->ready);
    list_init(&js->unsaved);
    list_init(&js->sweeps);
    list_init(&js->expiring);
    list_init(&js->effects);
    list_init(&js->scheduling);
    js->zones = zones_open(env->io);
    list_init(&js->offline);
    list_init(&js->half);
    list_init(&js->requests);
    list_init(&js->gets);
    list_init(&js->parked);
    wheel_timer_init(&js->save_timer, save_now);
    return js;
}

/* An account without JetStream is told so, unless it asks the one that it imports the API from. */
void js_follow_imports(struct js *js)
{
    bool answers = js->limits.enabled || !account_imports(js->account, STR("$JS.API.INFO"));

    if (js->env->worker != 0 || js->stopping)
        return;
    if (answers && js->napi_interest == 0)
        api_listen(js);
    else if (!answers)
        api_stop(js);
}

void js_start(struct js *js)
{
    publish_all(js);
    js_follow_imports(js);
}

void js_end_pulls(struct js *js)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&js->streams, &it)) != NULL) {
        struct stream *s = CONTAINER_OF(n, struct stream, node);
        LIST_FOREACH(l, &s->consumers)
        {
            struct consumer *c = LIST_ENTRY(l, struct consumer, stream_link);
            consumer_core_end_pulls(&c->core, STATUS_SERVER_SHUTDOWN);
            consumer_run_effects(c);
            consumer_save(c);
        }
    }
}

void js_stop(struct js *js)
{
    js->stopping = true;
    if (js->env->worker == 0)
        api_stop(js);
    js_end_pulls(js);
}

void js_leave(struct js *js)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    js_stop(js);
    api_stop(js);
    while ((n = hmap_each(&js->streams, &it)) != NULL)
        stream_withdraw_interest(CONTAINER_OF(n, struct stream, node));
}

void js_close(struct js *js)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;
    struct list *l;

    js->store = NULL; /* it has been closed: nothing will be completed any more */
    api_stop(js);
    direct_free_all(js);
    while ((n = hmap_each(&js->streams, &it)) != NULL)
        js_stream_free(CONTAINER_OF(n, struct stream, node));
    list_splice(&js->requests, &js->parked);
    while ((l = list_first(&js->requests)) != NULL)
        api_request_free(LIST_ENTRY(l, struct api_request, link));
    js_offline_free(js);
    list_remove(&js->awake);
    zones_close(js->zones);
    io_timer_stop(js->env->io, &js->save_timer);
    hmap_deinit(&js->streams);
    mem_free(js);
}

/* ---- the loop stage -------------------------------------------------------------------------- */

static bool pump_ready(struct js *js)
{
    struct list now;
    bool more = false;

    list_init(&now);
    list_splice(&now, &js->ready);
    for (struct list *l = list_pop_front(&now); l != NULL; l = list_pop_front(&now)) {
        struct consumer *c = LIST_ENTRY(l, struct consumer, ready_link);
        if (consumer_pump(c)) {
            consumer_wake(c);
            more = true;
        }
    }
    return more;
}

static void save_all(struct js *js)
{
    struct list *l;

    js->save_due = false;
    while ((l = list_first(&js->unsaved)) != NULL)
        consumer_save(LIST_ENTRY(l, struct consumer, unsaved_link));
}

static void settle_streams(struct js *js)
{
    struct list *l;

    while ((l = list_first(&js->dirty_streams)) != NULL)
        stream_settle(LIST_ENTRY(l, struct stream, dirty_link));
}

/* Each that is in the list now has one turn; it takes its link out. */
static void turns(struct list *waiting, void (*turn)(struct list *link))
{
    struct list now, *l;

    list_init(&now);
    list_splice(&now, waiting);
    while ((l = list_first(&now)) != NULL)
        turn(l);
}

static void sweep(struct list *link)
{
    stream_sweep(CONTAINER_OF(link, struct stream, sweep.link));
}

bool js_step(struct js *js)
{
    struct io *io = js->env->io;
    bool more = pump_ready(js);

    turns(&js->sweeps, sweep);
    turns(&js->effects, stream_effects_step);
    turns(&js->expiring, stream_expire);
    turns(&js->scheduling, stream_schedules_step);
    more |= !list_empty(&js->sweeps) || !list_empty(&js->effects) || !list_empty(&js->expiring) ||
            !list_empty(&js->scheduling);

    if (js->save_due)
        save_all(js);
    else if (!list_empty(&js->unsaved) && !wheel_pending(&js->save_timer))
        io_timer_start(io, &js->save_timer, io_now(io) + STATE_INTERVAL_NS);
    settle_streams(js);
    return more;
}

/* ---- small things ---------------------------------------------------------------------------- */

void js_publish(struct js *js, struct str subject, struct str reply, struct str header,
                struct str payload)
{
    struct msg m = {
        .subject = subject,
        .reply = reply,
        .header = header,
        .payload = payload,
        .flags = MSG_F_SYSTEM,
    };

    route_publish(js->env->router, js->account, &m);
    route_flush(js->env->router);
}

/* Behind "$JS.API.CONSUMER.MSG.NEXT.", also with the domain for API; p == NULL when it is something
 * else. */
static struct str next_tail(const struct js *js, struct str subject)
{
    const char *domain = js->env->options->domain;

    if (str_starts(subject, STR("$JS.API.CONSUMER.MSG.NEXT.")))
        return str_skip(subject, 26);
    subject = str_skip(subject, 4);
    if (domain == NULL || !str_starts(subject, str_of(domain)))
        return STR_NONE;
    subject = str_skip(subject, strlen(domain));
    return str_starts(subject, STR(".API.CONSUMER.MSG.NEXT.")) ? str_skip(subject, 23) : STR_NONE;
}

/* Without the memo an ack cost 60 ns more: the subject is parsed, the directory locked, two names
 * are hashed. */
static bool resolve_ack(struct js *js, struct str subject, struct route_target *out)
{
    struct ack_memo *memo = &js->acked;
    uint64_t version = directory_version(js->shared->directory);
    struct ack_subject ack;

    if (LIKELY(memo->version == version && subject.n > memo->n && memo->n > 0 &&
               memcmp(subject.p, memo->prefix, memo->n) == 0 &&
               ack_tail_tokens(subject, memo->n) == ACK_TAIL_TOKENS)) {
        *out = memo->target;
        return true;
    }
    if (!ack_subject_parse(subject, &ack) ||
        !directory_acks(js->shared->directory, ack.stream, ack.consumer, out))
        return false;
    /* Other subscribers of acks are looked for once per consumer. */
    out->prefix = (uint32_t) (ack.consumer.p + ack.consumer.n + 1 - subject.p);
    memo->n = ack.account_hash.n == 0 && out->prefix <= sizeof(memo->prefix) ? out->prefix : 0;
    memcpy(memo->prefix, subject.p, memo->n);
    memo->version = version;
    memo->target = *out;
    return true;
}

bool js_resolve(struct js *js, struct str subject, struct route_target *out)
{
    struct str tail, stream, consumer;

    if (str_starts(subject, STR("$JS.ACK.")))
        return resolve_ack(js, subject, out);
    if (str_starts(subject, STR("$JS.FC.")))
        tail = consumer_flow_tail(str_skip(subject, 7));
    else if ((tail = next_tail(js, subject)).p == NULL)
        return false;
    stream = str_cut(tail, '.', &tail);
    consumer = str_cut(tail, '.', &tail);
    return directory_consumer(js->shared->directory, stream, consumer, out);
}

void js_stats_of(const struct js *js, struct js_stats *out)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;
    uint64_t reserved;

    struct js_resources *res = &js->shared->server->resources;

    *out = js->stats;
    out->max_memory = atomic_load(&res->of[STORAGE_MEMORY].max);
    out->max_storage = atomic_load(&res->of[STORAGE_FILE].max);
    while ((n = hmap_each(&js->streams, &it)) != NULL) {
        struct stream *s = CONTAINER_OF(n, struct stream, node);
        struct store_state st;
        if (s->store == NULL)
            continue;
        store_stream_state(s->store, &st);
        out->messages += st.msgs;
        out->bytes += st.bytes;
        reserved = s->config.max_bytes > 0 ? (uint64_t) s->config.max_bytes : 0;
        if (s->config.storage == STORAGE_MEMORY) {
            out->memory += st.bytes;
            out->reserved_memory += reserved;
        } else {
            out->storage += st.bytes;
            out->reserved_storage += reserved;
        }
    }
}

/* Without its configuration, unless that is asked for: the object comes out without that key. */
static void put_consumer(struct consumer *c, bool config, struct buf *out)
{
    struct buf all = {0};
    json_t *o;
    json_error_t e;

    buf_putc(&all, '{');
    consumer_info(c, INFO_LISTED, &all);
    buf_putc(&all, '}');
    o = config ? NULL : json_loadb(all.p, all.n, 0, &e);
    if (o != NULL) {
        json_object_del(o, "config");
        jput_raw(out, o);
    } else {
        buf_put_str(out, buf_str(&all));
    }
    json_decref(o);
    buf_free(&all);
}

static void put_consumers(struct stream *s, const char *key, bool direct, bool config,
                          struct buf *out)
{
    bool first = true;

    LIST_FOREACH(l, &s->consumers)
    {
        struct consumer *c = LIST_ENTRY(l, struct consumer, stream_link);
        if (c->config.direct != direct)
            continue;
        if (first)
            buf_printf(out, ",\"%s\":[", key);
        else
            buf_putc(out, ',');
        first = false;
        put_consumer(c, config, out);
    }
    if (!first)
        buf_putc(out, ']');
}

void js_details(struct stream *s, const struct js_detail_options *o, struct buf *out)
{
    buf_puts(out, "{\"name\":");
    jput_string(out, str_of(s->config.name));
    buf_puts(out, ",\"created\":");
    jput_time(out, s->created);
    buf_puts(out, ",\"cluster\":{\"leader\":");
    jput_string(out, str_of(s->js->env->server_name));
    buf_putc(out, '}');
    if (o->config) {
        buf_puts(out, ",\"config\":");
        stream_config_show(out, &s->config);
    }
    buf_puts(out, ",\"state\":");
    stream_state_json(s, NULL, out);
    if (o->consumers)
        put_consumers(s, "consumer_detail", false, o->config, out);
    if (o->consumers && o->direct_consumers)
        put_consumers(s, "direct_consumer_detail", true, o->config, out);
    stream_upstreams_info(s, out);
    buf_putc(out, '}');
}
