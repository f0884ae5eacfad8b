/*
 * stream.c - a stream's life: made, published to the interest, described, freed; and what retention
 * removes.
 *
 * Durable blob (kept in the store's stream object): created as 8 bytes little-endian, then the
 * configuration as JSON.
 */
#include "lib/base/bytes.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/api_int.h"
#include "server/js/backup.h"
#include "server/js/consumer_int.h"
#include "server/js/stream_parts.h"
#include "server/js/upstream.h"

#include <stdio.h>
#include <string.h>

/* Deleted sequences listed in a stream info with deleted_details. */
#define DELETED_MAX 1000000u

struct stream *js_stream_find(struct js *js, struct str name)
{
    uint64_t h = hash_bytes(name.p, name.n, 0);

    for (struct hmap_node *n = hmap_first(&js->streams, h); n != NULL; n = hmap_next(n, h)) {
        struct stream *s = CONTAINER_OF(n, struct stream, node);
        if (str_eq(str_of(s->config.name), name))
            return s;
    }
    return NULL;
}

static void make_ack_prefix(struct stream *s)
{
    const char *domain = s->js->env->options->domain;
    struct buf b = {0};

    buf_puts(&b, "{\"stream\":");
    jput_string(&b, str_of(s->config.name));
    if (domain != NULL) {
        buf_puts(&b, ",\"domain\":");
        jput_string(&b, str_of(domain));
    }
    buf_puts(&b, ",\"seq\":");
    s->ack_prefix = mem_strndup(b.p, b.n);
    s->ack_prefix_len = b.n;
    buf_free(&b);
}

static void nothing_to_do(struct store_reader *r)
{
    (void) r;
}

struct stream *js_stream_new(struct js *js, const struct stream_config *config, int64_t created)
{
    struct stream *s = mem_zalloc(sizeof(*s));

    s->js = js;
    s->birth = ++js->births;
    stream_config_copy(&s->config, config);
    s->created = created;
    s->sink.ops = &stream_sink_ops;
    s->direct.ops = &direct_sink_ops;
    list_init(&s->held);
    list_init(&s->rollups);
    list_init(&s->dirty_link);
    list_init(&s->consumers);
    hmap_init(&s->names);
    filter_index_init(&s->filters);
    list_init(&s->followers);
    list_init(&s->waiting);
    list_init(&s->subject_waits);
    stream_behind_init(s);
    list_init(&s->upstreams);
    list_init(&s->snapshots);
    list_init(&s->parked);
    stream_sweep_init(s);
    dedup_init(&s->dedup, prng_u64(js->env->prng), config->duplicate_window_ns);
    make_ack_prefix(s);
    stream_expiry_configure(s);
    stream_subjects_configure(s);
    stream_ingest_configure(s);
    hmap_insert(&js->streams, &s->node, hash_bytes(config->name, strlen(config->name), 0));
    js->stats.streams++;
    return s;
}

void js_stream_free(struct stream *s)
{
    struct list *l;

    api_created(s);
    stream_behind_end(s);
    stream_followers_gone(s);
    stream_snapshots_end(s);
    stream_restore_free(s);
    stream_withdraw_interest(s);
    while ((l = list_first(&s->consumers)) != NULL)
        consumer_free(LIST_ENTRY(l, struct consumer, stream_link));
    hmap_deinit(&s->names);
    filter_index_deinit(&s->filters);
    while ((l = list_pop_front(&s->held)) != NULL) {
        struct held *h = LIST_ENTRY(l, struct held, link);
        hold_drop(h->hold);
        mem_free(h);
    }
    while ((l = list_pop_front(&s->rollups)) != NULL)
        mem_free(LIST_ENTRY(l, struct rollup, link));
    if (s->open_hold != NULL)
        hold_drop(s->open_hold);
    list_remove(&s->dirty_link);
    stream_load_free(s);
    stream_index_free(s);
    stream_counters_free(s);
    stream_schedules_free(s);
    stream_park_free(s);
    stream_effects_free(s);
    stream_expiry_free(s);
    stream_sweep_free(s);
    stream_subjects_free(s);
    stream_batches_free(s);
    stream_memo_free(s);
    if (s->store != NULL)
        store_reader_deinit(&s->reader);
    dedup_deinit(&s->dedup);
    hmap_remove(&s->js->streams, &s->node);
    js_resources_release(&s->js->shared->resources, (enum storage) s->config.storage,
                         s->config.max_bytes);
    js_resources_use(&s->js->shared->resources, (enum storage) s->config.storage, s->used, 0);
    s->js->stats.streams--;
    mem_free(s->last_id);
    mem_free(s->ack_prefix);
    stream_config_release(&s->config);
    mem_free(s);
}

void stream_log_async(const struct stream *s)
{
    if (s->config.persist_mode != 0)
        LOG_WRN(s->js->env->log,
                "JetStream stream '%s > %s' acknowledges before its data is synced "
                "(persist_mode async): a power failure may lose what was acknowledged last",
                s->js->account->name, s->config.name);
}

/* ---- interest ---------------------------------------------------------------------------------
 */

static struct interest_sub *listen_on(struct stream *s, struct sink *sink, struct str pattern,
                                      struct str queue)
{
    struct env *env = s->js->env;

    return interest_add(s->js->account->interest, &(struct interest_spec){
                                                      .pattern = pattern,
                                                      .queue = queue,
                                                      .worker = env->worker,
                                                      .sink = sink->self,
                                                      .internal = true,
                                                  });
}

static void listen_direct(struct stream *s, const char *prefix)
{
    struct buf b = {0};

    buf_printf(&b, "%sDIRECT.GET.%s", prefix, s->config.name);
    s->direct_interest[s->ndirect++] = listen_on(s, &s->direct, buf_str(&b), STR("_sys_"));
    buf_puts(&b, ".>");
    s->direct_interest[s->ndirect++] = listen_on(s, &s->direct, buf_str(&b), STR("_sys_"));
    buf_free(&b);
}

static void publish_direct(struct stream *s)
{
    char prefix[96];

    if (s->direct.self == 0)
        router_sink_add(s->js->env->router, &s->direct);
    listen_direct(s, "$JS.API.");
    if (js_domain_prefix(s->js, prefix, sizeof(prefix)))
        listen_direct(s, prefix);
}

void stream_tell(const struct stream *s)
{
    const struct js_watch *w = &s->js->shared->watch;

    if (w->there != NULL)
        w->there(w->ctx, &s->config, s->created, s->js->env->worker);
}

void stream_publish_interest(struct stream *s)
{
    s->sink.self = router_sink_add(s->js->env->router, &s->sink);
    s->ninterest = s->config.subjects.n;
    s->interest = mem_array(s->ninterest + 1, sizeof(*s->interest));
    for (size_t i = 0; i < s->ninterest; i++)
        s->interest[i] = listen_on(s, &s->sink, str_of(s->config.subjects.items[i]), STR_NONE);
    if (s->config.allow_direct)
        publish_direct(s);
    stream_upstreams_start(s);
    stream_tell(s);
}

static void withdraw_direct(struct stream *s)
{
    while (s->ndirect > 0)
        interest_remove(s->js->account->interest, s->direct_interest[--s->ndirect]);
    if (s->direct.self != 0)
        router_sink_remove(s->js->env->router, &s->direct);
    s->direct.self = 0;
}

/* The interest that the stream has in this subject now; the caller takes it. */
static struct interest_sub *take_interest(struct stream *s, const char *subject)
{
    for (size_t i = 0; i < s->ninterest; i++)
        if (s->interest[i] != NULL && strcmp(s->config.subjects.items[i], subject) == 0) {
            struct interest_sub *sub = s->interest[i];
            s->interest[i] = NULL;
            return sub;
        }
    return NULL;
}

void stream_change_interest(struct stream *s, const struct stream_config *next)
{
    size_t n = next->subjects.n;
    struct interest_sub **now = mem_array(n + 1, sizeof(*now));

    for (size_t i = 0; i < n; i++) {
        now[i] = take_interest(s, next->subjects.items[i]);
        if (now[i] == NULL)
            now[i] = listen_on(s, &s->sink, str_of(next->subjects.items[i]), STR_NONE);
    }
    for (size_t i = 0; i < s->ninterest; i++)
        if (s->interest[i] != NULL)
            interest_remove(s->js->account->interest, s->interest[i]);
    mem_free(s->interest);
    s->interest = now;
    s->ninterest = n;
    if (s->ndirect > 0 && !next->allow_direct)
        withdraw_direct(s);
    else if (s->ndirect == 0 && next->allow_direct)
        publish_direct(s);
}

void stream_withdraw_interest(struct stream *s)
{
    struct interest *in = s->js->account->interest;

    stream_upstreams_stop(s);
    for (size_t i = 0; i < s->ninterest; i++)
        interest_remove(in, s->interest[i]);
    mem_free(s->interest);
    s->interest = NULL;
    s->ninterest = 0;
    if (s->sink.self != 0) {
        router_sink_remove(s->js->env->router, &s->sink);
        /* What a worker closes when the server stops is not gone: others may still ask for it. */
        if (s->js->shared->watch.gone != NULL && !s->js->stopping)
            s->js->shared->watch.gone(s->js->shared->watch.ctx, str_of(s->config.name));
    }
    s->sink.self = 0;
    withdraw_direct(s);
}

/* ---- configuration ----------------------------------------------------------------------------
 */

static uint64_t limit_of(int64_t v)
{
    return v > 0 ? (uint64_t) v : 0;
}

void stream_limits(const struct stream_config *c, struct store_limits *out)
{
    bool refuse = c->discard == DISCARD_NEW;

    /* With discard new the stream refuses what would exceed a limit, and the store removes nothing.
     */
    *out = (struct store_limits){
        .max_msgs = refuse ? 0 : limit_of(c->max_msgs),
        .max_bytes = refuse ? 0 : limit_of(c->max_bytes),
        .max_msgs_per_subject =
            refuse && c->discard_new_per_subject ? 0 : limit_of(c->max_msgs_per_subject),
        .max_age_ns = stream_expires(c) ? 0 : c->max_age_ns,
    };
}

void js_stream_render(const struct stream *s, struct buf *out)
{
    uint8_t created[8];

    put_u64(created, (uint64_t) s->created);
    buf_put(out, created, sizeof(created));
    stream_config_write(out, &s->config);
}

bool js_stream_parse(struct str blob, struct stream_config *config, int64_t *created)
{
    struct js_error err = {0};

    if (blob.n < 8)
        return false;
    *created = (int64_t) get_u64(blob.p);
    return stream_config_read(str_skip(blob, 8), true, config, &err) &&
           metadata_required(config->metadata) <= JS_API_LEVEL;
}

/* ---- visibility and retention -----------------------------------------------------------------
 */

/* The batch has left the cache already (a small cache, a large commit): each counts for itself. */
static void recount_filtered(struct stream *s, uint64_t last)
{
    LIST_FOREACH(l, &s->consumers)
    {
        struct consumer *c = LIST_ENTRY(l, struct consumer, stream_link);
        if (c->nfilters == 0 || c->core.next_seq > last)
            continue;
        consumer_recount(c);
        consumer_wake(c);
    }
}

/* Once, also where two filters of a consumer match. */
static void announce_to(void *ctx, void *owner)
{
    const uint64_t *seq = ctx;
    struct consumer *c = owner;

    if (*seq < c->core.next_seq || c->announced == *seq)
        return;
    c->announced = *seq;
    consumer_note_appended(c, 1);
}

/* Filtered consumers need the subjects of what was committed: one walk over the fresh (cached)
 * batch for all of them. */
static void announce_filtered(struct stream *s, uint64_t first, uint64_t last)
{
    struct store_msg m;
    enum store_read got;

    store_reader_seek(&s->reader, first);
    while ((got = store_reader_next(&s->reader, &m)) == STORE_READ_MSG && m.seq <= last)
        filter_index_each(&s->filters, m.subject, announce_to, &m.seq);
    if (got == STORE_READ_WAIT)
        recount_filtered(s, last);
}

void stream_announce(struct stream *s, uint64_t first, uint64_t last)
{
    if (list_empty(&s->consumers))
        return;
    if (s->nfiltered > 0)
        announce_filtered(s, first, last);
    LIST_FOREACH(l, &s->consumers)
    {
        struct consumer *c = LIST_ENTRY(l, struct consumer, stream_link);
        uint64_t from = first > c->core.next_seq ? first : c->core.next_seq;
        if (c->nfilters == 0 && from <= last)
            consumer_note_appended(c, last - from + 1);
    }
}

void stream_count_usage(struct stream *s)
{
    struct store_state st;

    store_stream_state(s->store, &st);
    js_resources_use(&s->js->shared->resources, (enum storage) s->config.storage, s->used,
                     st.bytes);
    s->used = st.bytes;
}

static bool needed_by_others(const struct stream *s, const struct consumer *by, uint64_t seq,
                             struct str subject)
{
    LIST_FOREACH(l, &s->consumers)
    {
        const struct consumer *c = LIST_ENTRY(l, struct consumer, stream_link);
        if (c != by && consumer_needs(c, seq, subject))
            return true;
    }
    return false;
}

void stream_acked(struct stream *s, struct consumer *by, uint64_t first, uint64_t last)
{
    struct store_msg m;
    bool shared;

    if (s->config.retention == RETENTION_LIMITS)
        return;
    /* On a work queue a message has one consumer: whoever is done with it, removes it. Mirrors and
     * sources come beside that one. */
    shared = s->nconsumers > 1 && (s->config.retention == RETENTION_INTEREST || s->nsourcing > 0);
    for (uint64_t seq = first; seq <= last; seq++) {
        if (shared) {
            enum store_read got = store_reader_get(&s->reader, seq, &m);
            if (got == STORE_READ_WAIT)
                stream_recheck(s, seq, seq); /* by what it is when it has been read */
            if (got != STORE_READ_MSG || needed_by_others(s, by, seq, m.subject))
                continue;
        }
        store_remove(s->store, seq, false, NULL);
    }
}

/* ---- info -------------------------------------------------------------------------------------
 */

struct deleted_list {
    struct buf *out;
    bool first;
};

static void put_deleted(void *ctx, uint64_t first, uint64_t last)
{
    struct deleted_list *d = ctx;

    for (uint64_t seq = first; seq <= last; seq++) {
        if (!d->first)
            buf_putc(d->out, ',');
        d->first = false;
        buf_put_u64(d->out, seq);
    }
}

struct subject_list {
    struct buf *out;
    uint64_t skip, left, total;
    bool any; /* printed */
};

static bool put_subject(void *ctx, const struct store_subject *sub)
{
    struct subject_list *l = ctx;

    l->total++;
    if (l->skip > 0) {
        l->skip--;
        return true;
    }
    if (l->left == 0)
        return true;
    l->left--;
    buf_puts(l->out, l->any ? "," : ",\"subjects\":{");
    l->any = true;
    jput_string(l->out, sub->subject);
    buf_putc(l->out, ':');
    buf_put_u64(l->out, sub->msgs);
    return true;
}

void stream_state_json(struct stream *s, const struct info_options *o, struct buf *out)
{
    struct store_state st;

    store_stream_state(s->store, &st);
    buf_printf(out, "{\"messages\":%llu,\"bytes\":%llu,\"first_seq\":%llu,\"first_ts\":",
               (unsigned long long) st.msgs, (unsigned long long) st.bytes,
               (unsigned long long) (st.last_seq == 0 ? 0 : st.first_seq));
    jput_time(out, st.first_ts);
    buf_printf(out, ",\"last_seq\":%llu,\"last_ts\":", (unsigned long long) st.last_seq);
    jput_time(out, st.last_ts);
    if (st.num_subjects > 0)
        buf_printf(out, ",\"num_subjects\":%llu", (unsigned long long) st.num_subjects);
    if (o != NULL && o->subjects_filter != NULL) {
        struct subject_list l = {.out = out, .skip = o->offset, .left = SUBJECTS_PAGE};
        store_subjects_each(s->store, str_of(o->subjects_filter), put_subject, &l);
        if (l.any)
            buf_putc(out, '}');
        *o->matched = l.total;
    }
    if (st.num_deleted > 0)
        buf_printf(out, ",\"num_deleted\":%llu", (unsigned long long) st.num_deleted);
    if (o != NULL && o->deleted_details && st.num_deleted > 0) {
        struct deleted_list d = {out, true};
        buf_puts(out, ",\"deleted\":[");
        store_stream_deleted(s->store, DELETED_MAX, put_deleted, &d);
        buf_putc(out, ']');
    }
    if (st.lost_msgs > 0)
        buf_printf(out, ",\"lost\":{\"msgs\":%llu,\"bytes\":%llu}",
                   (unsigned long long) st.lost_msgs, (unsigned long long) st.lost_bytes);
    buf_printf(out, ",\"consumer_count\":%zu}", s->nconsumers - s->ndirect_consumers);
}

void stream_info(struct stream *s, const struct info_options *o, struct buf *out)
{
    const struct env *env = s->js->env;

    buf_puts(out, "\"config\":");
    if (o->kind == INFO_LISTED)
        stream_config_show(out, &s->config);
    else
        stream_config_answer(out, &s->config, env->version);
    buf_puts(out, ",\"created\":");
    jput_time(out, s->created);
    buf_puts(out, ",\"state\":");
    stream_state_json(s, o, out);
    if (env->options->domain != NULL && o->kind != INFO_CREATED) {
        buf_puts(out, ",\"domain\":");
        jput_string(out, str_of(env->options->domain));
    }
    if (o->kind == INFO_ASKED) {
        buf_puts(out, ",\"cluster\":{\"leader\":");
        jput_string(out, str_of(env->server_name));
        buf_putc(out, '}');
    }
    stream_upstreams_info(s, out);
    buf_puts(out, ",\"ts\":");
    jput_time(out, io_wall(env->io));
}

void stream_reader_init(struct stream *s)
{
    store_reader_init(&s->reader, s->store, 1, NULL, 0, nothing_to_do, s);
}

/* Sequences that one store_skip takes. */
#define SKIP_STEP (1u << 30)

bool stream_skip_to(struct stream *s, uint64_t last)
{
    uint64_t seq;

    while (s->assigned < last) {
        uint64_t n = last - s->assigned;
        if (store_skip(s->store, n < SKIP_STEP ? n : SKIP_STEP, &seq) != ERR_OK)
            return false;
        s->assigned = seq;
    }
    return true;
}
