/*
 * consumer.c - a consumer's life: made, recovered, described, saved, deleted.
 *
 * Durable record (a store object of kind JS_KIND_CONSUMER below its stream's): created as 8 bytes
 * little-endian, then with a length (4 bytes) before each: the name, the configuration as JSON, the
 * list of consumer_last.c (mostly empty); then the core's state (consumer_state.h). Deltas of the
 * object are core logs.
 *
 * A consumer without a durable name goes when nobody has used it for its inactive threshold: for
 * pulls counted from the last request or ack, for push from when its deliver subject lost interest.
 */
#include "lib/base/bytes.h"
#include "lib/base/counted.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "lib/wire/ack_subject.h"
#include "server/js/advisory.h"
#include "server/js/consumer_int.h"
#include "server/js/consumer_state.h"
#include "server/js/stream_parts.h"

#include <stdio.h>
#include <string.h>

/* The peer's first flow control window: a 16th of 32 MiB. */
#define FLOW_WINDOW_FIRST (32u << 20) / 16
#define RETRY_NS 2000000u

/* ---- making -----------------------------------------------------------------------------------
 */

static struct consumer *of_core(struct consumer_core *core)
{
    return CONTAINER_OF(core, struct consumer, core);
}

static void core_wants(struct consumer_core *core)
{
    consumer_wake(of_core(core));
}

static void reader_ready(struct store_reader *r)
{
    consumer_wake(r->ctx);
}

static void index_filters(struct consumer *c)
{
    struct stream *s = c->stream;

    s->nfiltered += c->nfilters > 0;
    c->entries = mem_array(c->nfilters, sizeof(*c->entries));
    for (unsigned i = 0; i < c->nfilters; i++)
        filter_index_add(&s->filters, &c->entries[i], c->filters[i], c);
}

static void unindex_filters(struct consumer *c)
{
    c->stream->nfiltered -= c->nfilters > 0;
    for (unsigned i = 0; i < c->nfilters; i++)
        filter_index_remove(&c->stream->filters, &c->entries[i]);
    mem_free(c->entries);
    c->entries = NULL;
}

static void set_filters(struct consumer *c)
{
    const struct consumer_config *cfg = &c->config;

    mem_free(c->filters);
    c->filters = NULL;
    c->nfilters = 0;
    if (cfg->filter_subject != NULL) {
        c->filters = mem_array(1, sizeof(struct str));
        c->filters[c->nfilters++] = str_of(cfg->filter_subject);
    } else if (cfg->filter_subjects.n > 0) {
        c->filters = mem_array(cfg->filter_subjects.n, sizeof(struct str));
        for (size_t i = 0; i < cfg->filter_subjects.n; i++)
            c->filters[c->nfilters++] = str_of(cfg->filter_subjects.items[i]);
    }
    /* One filter that is the stream's only subject, or everything, filters nothing. */
    if (c->nfilters == 1 && (str_eq(c->filters[0], STR(">")) ||
                             (c->stream->config.subjects.n == 1 &&
                              str_eq(c->filters[0], str_of(c->stream->config.subjects.items[0])))))
        c->nfilters = 0;
}

static void set_pace(struct consumer *c)
{
    const struct stream_config *s = &c->stream->config;
    uint64_t burst = s->max_msg_size > 0 ? (uint64_t) s->max_msg_size
                                         : (uint64_t) c->js->env->options->max_payload;

    c->pace.bytes_per_s = c->config.rate_limit_bps > 0 && c->config.rate_limit_bps < 8
                              ? 1
                              : c->config.rate_limit_bps / 8;
    c->pace.burst = burst;
    c->sampling = consumer_config_sampling(&c->config);
}

/* What is stored when it starts is replayed at the original's speed. */
static void set_replay(struct consumer *c)
{
    struct store_state st;

    if (c->config.replay_policy == REPLAY_INSTANT)
        return;
    store_stream_state(c->stream->store, &st);
    c->pace.replay_to = st.last_seq;
}

static void went_inactive(struct wheel_timer *t);
static void retry(struct wheel_timer *t);
static void resume(struct wheel_timer *t);
static void set_pause(struct consumer *c);

struct consumer *consumer_new(struct stream *s, const struct consumer_config *config,
                              const char *name, int64_t created)
{
    struct consumer *c = mem_zalloc(sizeof(*c));
    struct consumer_rules rules;

    c->js = s->js;
    c->stream = s;
    c->birth = ++s->js->births;
    consumer_config_copy(&c->config, config);
    c->name = mem_strdup(name);
    c->created = created;
    c->sink.ops = &consumer_sink_ops;
    list_init(&c->ready_link);
    list_init(&c->unsaved_link);
    consumer_subjects_init(c);
    set_filters(c);
    consumer_config_rules(&c->config, &rules);
    consumer_core_init(&c->core, &rules, io_wheel(s->js->env->io), core_wants);
    c->core.pin.ids = &s->js->nuid;
    store_reader_init(&c->reader, s->store, 1, c->filters, c->nfilters, reader_ready, c);
    store_reader_init(&c->again, s->store, 1, NULL, 0, reader_ready, c);
    wheel_timer_init(&c->inactive, went_inactive);
    wheel_timer_init(&c->retry, retry);
    wheel_timer_init(&c->resume, resume);
    c->fc_window = FLOW_WINDOW_FIRST;
    set_pace(c);
    list_push_back(&s->consumers, &c->stream_link);
    hmap_insert(&s->names, &c->name_node, hash_bytes(c->name, strlen(c->name), 0));
    index_filters(c);
    s->nconsumers++;
    s->ndirect_consumers += c->config.direct;
    s->nsourcing += c->config.direct || c->config.sourcing;
    s->js->stats.consumers++;
    return c;
}

void consumer_free(struct consumer *c)
{
    struct env *env = c->js->env;

    consumer_recount_free(c);
    directory_consumer_remove(c->js->shared->directory, str_of(c->stream->config.name),
                              str_of(c->name));
    if (c->sink.self != 0)
        router_sink_remove(env->router, &c->sink);
    consumer_stop_push(c);
    io_timer_stop(env->io, &c->inactive);
    io_timer_stop(env->io, &c->retry);
    io_timer_stop(env->io, &c->resume);
    list_remove(&c->ready_link);
    list_remove(&c->unsaved_link);
    list_remove(&c->stream_link);
    hmap_remove(&c->stream->names, &c->name_node);
    unindex_filters(c);
    c->stream->nconsumers--;
    c->stream->ndirect_consumers -= c->config.direct;
    c->stream->nsourcing -= c->config.direct || c->config.sourcing;
    c->js->stats.consumers--;
    route_flush(env->router);
    if (c->pinned != NULL)
        chunk_put(c->pinned, env->chunks);
    if (c->ack_hold != NULL)
        hold_drop(c->ack_hold);
    consumer_core_deinit(&c->core);
    store_reader_deinit(&c->reader);
    store_reader_deinit(&c->again);
    consumer_last_free(c);
    mem_free(c->filters);
    consumer_subjects_free(c);
    mem_free(c->name);
    consumer_config_release(&c->config);
    mem_free(c);
}

void consumer_start(struct consumer *c)
{
    struct env *env = c->js->env;

    c->sink.self = router_sink_add(env->router, &c->sink);
    directory_consumer_add(c->js->shared->directory, str_of(c->stream->config.name),
                           str_of(c->name),
                           (struct route_target){.worker = env->worker, .sink = c->sink.self},
                           c->config.ack_policy != ACK_NONE);
    store_reader_seek(&c->reader, c->core.next_seq);
    consumer_touch(c);
    set_pause(c);
    set_replay(c);
    if (c->config.deliver_subject != NULL)
        consumer_start_push(c);
    consumer_wake(c);
}

void consumer_set_config(struct consumer *c, const struct consumer_config *config)
{
    struct consumer_rules rules;
    bool push = c->config.deliver_subject != NULL;

    consumer_stop_push(c);
    unindex_filters(c);
    consumer_config_release(&c->config);
    consumer_config_copy(&c->config, config);
    set_filters(c);
    index_filters(c);
    store_reader_deinit(&c->reader);
    store_reader_init(&c->reader, c->stream->store, c->core.next_seq, c->filters, c->nfilters,
                      reader_ready, c);
    consumer_config_rules(&c->config, &rules);
    consumer_core_set_rules(&c->core, &rules);
    consumer_recount(c);
    stream_interest_lost(c->stream);
    if (push)
        consumer_start_push(c);
    consumer_touch(c);
    set_pause(c);
    set_pace(c);
    consumer_wake(c);
}

void consumer_reset(struct consumer *c, uint64_t seq)
{
    consumer_core_reset(&c->core, seq);
    consumer_last_reset(c, seq);
    store_reader_seek(&c->reader, c->core.next_seq);
    c->last_delivery = c->last_ack = 0;
    c->fc_bytes = c->fc_asked_bytes = 0;
    c->fc_reply[0] = '\0';
    consumer_recount(c);
    stream_interest_lost(c->stream);
}

void consumer_delete(struct consumer *c, enum consumer_status status, struct store_req *req)
{
    struct stream *s = c->stream;

    consumer_core_end_pulls(&c->core, status);
    consumer_run_effects(c);
    if (c->id != 0) {
        store_object_delete(c->js->store, c->id, req);
        advise_consumer(c, ADVISE_DELETED);
    }
    consumer_free(c);
    stream_interest_lost(s);
}

/* ---- activity ---------------------------------------------------------------------------------
 */

static void went_inactive(struct wheel_timer *t)
{
    struct consumer *c = CONTAINER_OF(t, struct consumer, inactive);

    consumer_prune_pulls(c);
    if (c->config.deliver_subject != NULL ? c->interested : c->core.npulls > 0) {
        consumer_touch(c);
        return;
    }
    LOG_DBG(c->js->env->log, "JetStream consumer '%s > %s > %s' was not used and is deleted",
            c->js->account->name, c->stream->config.name, c->name);
    consumer_delete(c, STATUS_CONSUMER_DELETED, NULL);
}

void consumer_touch(struct consumer *c)
{
    struct io *io = c->js->env->io;

    if (c->config.inactive_threshold_ns > 0)
        io_timer_start(io, &c->inactive, io_now(io) + (uint64_t) c->config.inactive_threshold_ns);
}

void consumer_wake(struct consumer *c)
{
    js_queue(c->js, &c->js->ready, &c->ready_link);
}

static void retry(struct wheel_timer *t)
{
    struct consumer *c = CONTAINER_OF(t, struct consumer, retry);

    c->stalled = false;
    consumer_wake(c);
}

void consumer_hold(struct consumer *c, uint64_t until)
{
    c->stalled = true;
    io_timer_start(c->js->env->io, &c->retry, until);
}

void consumer_stall(struct consumer *c)
{
    consumer_hold(c, io_now(c->js->env->io) + RETRY_NS);
}

/* ---- pause ------------------------------------------------------------------------------------
 */

bool consumer_paused(const struct consumer *c)
{
    return c->config.pause_until != 0 && io_wall(c->js->env->io) < c->config.pause_until;
}

/* The wall clock may have been set back since: then it sleeps on. */
static void resume(struct wheel_timer *t)
{
    struct consumer *c = CONTAINER_OF(t, struct consumer, resume);

    set_pause(c);
    if (!consumer_paused(c))
        advise_pause(c);
    consumer_wake(c);
}

static void set_pause(struct consumer *c)
{
    struct io *io = c->js->env->io;

    io_timer_stop(io, &c->resume);
    if (consumer_paused(c))
        io_timer_start(io, &c->resume,
                       io_now(io) + (uint64_t) (c->config.pause_until - io_wall(io)));
}

void consumer_note_appended(struct consumer *c, uint64_t n)
{
    consumer_core_appended(&c->core, n);
    consumer_recount_note(c, n, 0);
    /* A pull consumer that nobody has asked stays asleep: there may be thousands. */
    if (c->config.deliver_subject != NULL || c->core.npulls > 0)
        consumer_wake(c);
}

static void advise_gone(struct consumer *c, const struct pend *p)
{
    struct ack_info info = {
        .delivered = p->deliveries, .stream_seq = p->sseq, .consumer_seq = p->dseq};

    advise_terminated(c, &info, STR("Unacknowledged message was deleted"));
}

/* Of each message that was waited for: nobody will acknowledge it. */
static void advise_removed(struct consumer *c, uint64_t first, uint64_t last)
{
    const struct pend *p;

    if (last - first < c->core.pending.count) {
        for (uint64_t seq = first; seq <= last; seq++)
            if ((p = pend_find(&c->core.pending, seq)) != NULL)
                advise_gone(c, p);
        return;
    }
    LIST_FOREACH(l, &c->core.pending.order)
    {
        p = LIST_ENTRY(l, struct pend, order);
        if (p->sseq >= first && p->sseq <= last)
            advise_gone(c, p);
    }
}

/* How many are left to deliver after a removal can not be told from the range alone. */
void consumer_note_removed(struct consumer *c, uint64_t first, uint64_t last, bool purged)
{
    size_t before = c->core.pending.count;

    if (before > 0 && !purged)
        advise_removed(c, first, last);
    consumer_core_removed(&c->core, first, last);
    if (c->core.pending.count < before)
        c->last_ack = io_wall(c->js->env->io);
    if (last >= c->core.next_seq && c->creation == NULL)
        consumer_recount(c);
    consumer_run_effects(c);
    consumer_save_later(c);
}

/* Does it want nothing but subjects that the filter selects? */
static bool wants_within(const struct consumer *c, struct str filter)
{
    if (filter.n == 0)
        return true;
    for (unsigned i = 0; i < c->nfilters; i++)
        if (!subject_subset(c->filters[i], filter))
            return false;
    return c->nfilters > 0;
}

/* Does it want all that the filter selects? */
static bool wants_around(const struct consumer *c, struct str filter)
{
    for (unsigned i = 0; i < c->nfilters; i++)
        if (subject_subset(filter, c->filters[i]))
            return true;
    return c->nfilters == 0;
}

/* One that wants more than was purged has nothing in front of the stream's first message; one that
 * wants less has nothing left at all, unless messages were kept. */
void consumer_purged(struct consumer *c, struct str filter)
{
    struct stream *s = c->stream;
    struct store_state st;
    uint64_t next;

    if (c->creation != NULL || c->nlast > 0 || c->listing != NULL ||
        !(wants_within(c, filter) || wants_around(c, filter)))
        return;
    store_stream_state(s->store, &st);
    next = st.first_seq;
    if (filter.n > 0 && wants_within(c, filter) && store_subject_last_match(s->store, filter) == 0)
        next = st.last_seq + 1;
    if (next == 0 || !consumer_core_purged(&c->core, next))
        return;
    store_reader_seek(&c->reader, c->core.next_seq);
    /* What goes before its next message is not counted off. */
    consumer_recount(c);
    if (!c->config.mem_storage)
        consumer_rewrite(c, NULL);
}

bool consumer_matches(const struct consumer *c, struct str subject)
{
    if (c->nfilters == 0)
        return true;
    for (unsigned i = 0; i < c->nfilters; i++)
        if (subject_matches(subject, c->filters[i]))
            return true;
    return false;
}

bool consumer_needs(const struct consumer *c, uint64_t seq, struct str subject)
{
    if (pend_find(&c->core.pending, seq) != NULL || seqset_has(&c->core.given_up, seq))
        return true;
    if (seq <= c->core.floor.stream || seq < c->core.next_seq)
        return false;
    return subject.n == 0 || consumer_matches(c, subject);
}

struct consumer *stream_consumer(struct stream *s, struct str name)
{
    uint64_t hash = hash_bytes(name.p, name.n, 0);

    for (struct hmap_node *n = hmap_first(&s->names, hash); n != NULL; n = hmap_next(n, hash)) {
        struct consumer *c = CONTAINER_OF(n, struct consumer, name_node);
        if (str_eq(str_of(c->name), name))
            return c;
    }
    return NULL;
}

/* ---- durable record ---------------------------------------------------------------------------
 */

void consumer_render(struct consumer *c, struct buf *out)
{
    struct buf config = {0};
    uint8_t created[8];

    put_u64(created, (uint64_t) c->created);
    buf_put(out, created, sizeof(created));
    counted_put(out, str_of(c->name));
    consumer_config_write(&config, &c->config);
    counted_put(out, buf_str(&config));
    buf_clear(&config);
    consumer_last_put(c, &config);
    counted_put(out, buf_str(&config));
    buf_free(&config);
    consumer_state_checkpoint(&c->core, out);
}

bool consumer_parse(struct str blob, struct consumer_record *out)
{
    struct js_error err = {0};
    struct str text;

    *out = (struct consumer_record){0};
    if (blob.n < 8)
        return false;
    out->created = (int64_t) get_u64(blob.p);
    blob = str_skip(blob, 8);
    if (!counted_take(&blob, &text) || text.n == 0)
        return false;
    out->name = mem_strndup(text.p, text.n);
    if (!counted_take(&blob, &text) || !counted_take(&blob, &out->last))
        return false;
    out->state = blob;
    if (consumer_config_read(text, &out->config, &err))
        return true;
    consumer_config_release(&out->config);
    return false;
}

struct double_acks {
    struct store_req req;
    struct hold *hold;
};

static void acks_durable(struct store_req *req, enum err err)
{
    struct double_acks *d = CONTAINER_OF(req, struct double_acks, req);

    if (err == ERR_OK)
        hold_release(d->hold);
    else
        hold_drop(d->hold);
    mem_free(d);
}

void consumer_save(struct consumer *c)
{
    struct buf log = {0};
    struct double_acks *d = NULL;

    list_remove(&c->unsaved_link);
    if (c->creation != NULL)
        return; /* its first record is still to come */
    consumer_state_take_log(&c->core, &log);
    if (c->config.mem_storage) { /* nothing is stored, and nothing waited for */
        if (c->ack_hold != NULL)
            hold_release(c->ack_hold);
        c->ack_hold = NULL;
        buf_free(&log);
        return;
    }
    if (c->ack_hold != NULL) {
        d = mem_zalloc(sizeof(*d));
        d->hold = c->ack_hold;
        d->req.done = acks_durable;
        c->ack_hold = NULL;
    }
    if (log.n > 0 || d != NULL)
        store_object_delta(c->js->store, c->id, buf_str(&log), d != NULL ? &d->req : NULL);
    buf_free(&log);
}

void consumer_rewrite(struct consumer *c, struct store_req *req)
{
    struct buf blob = {0};

    consumer_save(c);
    consumer_render(c, &blob);
    store_object_put(c->js->store, c->id, buf_str(&blob), req);
    buf_free(&blob);
}

void consumer_save_later(struct consumer *c)
{
    js_queue(c->js, &c->js->unsaved, &c->unsaved_link);
}

/* ---- info -------------------------------------------------------------------------------------
 */

/* What was given up counts until it is acknowledged or gone, unless one delivery is all there is.
 */
static uint64_t num_redelivered(const struct consumer *c)
{
    return c->config.max_deliver == 1 ? 0 : c->core.num_redelivered + c->core.given_up.count;
}

static void put_pair(struct buf *out, const char *name, struct seq_pair pair, int64_t active)
{
    buf_printf(out, ",\"%s\":{\"consumer_seq\":%llu,\"stream_seq\":%llu", name,
               (unsigned long long) pair.consumer, (unsigned long long) pair.stream);
    if (active != 0) {
        buf_puts(out, ",\"last_active\":");
        jput_time(out, active);
    }
    buf_putc(out, '}');
}

/* The first group stands for all: they share the pin. */
static void put_groups(const struct consumer *c, struct buf *out)
{
    bool pinned = c->core.pin.id[0] != '\0';

    if (c->config.priority_groups.n == 0)
        return;
    buf_puts(out, ",\"priority_groups\":[{\"group\":");
    jput_string(out, str_of(c->config.priority_groups.items[0]));
    if (pinned) {
        buf_puts(out, ",\"pinned_client_id\":");
        jput_string(out, str_of(c->core.pin.id));
    }
    buf_puts(out, ",\"pinned_ts\":");
    jput_time(out, pinned ? c->pinned_at : 0);
    buf_puts(out, "}]");
}

void consumer_info(struct consumer *c, enum info_kind kind, struct buf *out)
{
    const struct consumer_core *core = &c->core;
    const struct env *env = c->js->env;

    consumer_prune_pulls(c);
    buf_puts(out, "\"stream_name\":");
    jput_string(out, str_of(c->stream->config.name));
    buf_puts(out, ",\"name\":");
    jput_string(out, str_of(c->name));
    buf_puts(out, ",\"created\":");
    jput_time(out, c->created);
    buf_puts(out, ",\"config\":");
    if (kind == INFO_LISTED)
        consumer_config_write(out, &c->config);
    else
        consumer_config_answer(out, &c->config, env->version);
    put_pair(out, "delivered", core->delivered, c->last_delivery);
    put_pair(out, "ack_floor", core->floor, c->last_ack);
    buf_printf(
        out,
        ",\"num_ack_pending\":%zu,\"num_redelivered\":%llu,\"num_waiting\":%u,\"num_pending\":%llu",
        core->pending.count, (unsigned long long) num_redelivered(c), core->npulls,
        (unsigned long long) core->num_pending);
    if (c->config.deliver_subject != NULL && c->interested)
        buf_puts(out, ",\"push_bound\":true");
    if (consumer_paused(c))
        buf_printf(out, ",\"paused\":true,\"pause_remaining\":%lld",
                   (long long) (c->config.pause_until - io_wall(env->io)));
    buf_puts(out, ",\"ts\":");
    jput_time(out, io_wall(env->io));
    put_groups(c, out);
}
