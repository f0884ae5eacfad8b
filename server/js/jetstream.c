/*
 * jetstream.c - JetStream of all accounts: what they share, and every stage of a worker's loop once
 * for each account that has streams or may have.
 */
#include "lib/base/mem.h"
#include "server/js/consumer_int.h"

#include <stdlib.h>
#include <string.h>

/* ---- the server ------------------------------------------------------------------------------ */

static const struct account_jetstream no_limits = {
    .enabled = true,
    .max_memory = -1,
    .max_store = -1,
    .max_streams = -1,
    .max_consumers = -1,
    .max_ack_pending = -1,
    .memory_max_stream_bytes = -1,
    .disk_max_stream_bytes = -1,
};

/* Are there accounts beside the default one and the system's? */
static bool defines_accounts(const struct accounts *accounts, const struct account *system)
{
    for (size_t i = 0; i < accounts->n; i++) {
        const char *name = accounts->list[i].name;
        if (strcmp(name, ACCOUNT_DEFAULT) != 0 && strcmp(name, system->name) != 0)
            return true;
    }
    return false;
}

static struct js_shared *shared_open(struct js_server *server, struct account *a,
                                     const struct account_jetstream *limits)
{
    struct js_shared *s = mem_zalloc(sizeof(*s));

    s->server = server;
    s->account = a;
    s->limits = *limits;
    js_resources_init_below(&s->resources, &server->resources, STORAGE_MEMORY, limits->max_memory);
    js_resources_init_below(&s->resources, &server->resources, STORAGE_FILE, limits->max_store);
    s->directory = directory_open(0x6d69646765u + a->index);
    return s;
}

static void grow(struct js_server *server, uint32_t n)
{
    if (n <= server->n)
        return;
    server->shared = mem_realloc(server->shared, n * sizeof(struct js_shared *));
    memset(server->shared + server->n, 0, (n - server->n) * sizeof(struct js_shared *));
    server->n = n;
}

void js_server_account(struct js_server *server, struct account *a,
                       const struct account_jetstream *limits)
{
    struct js_shared *s;

    grow(server, a->index + 1);
    s = server->shared[a->index];
    if (s == NULL) {
        s = server->shared[a->index] = shared_open(server, a, limits != NULL ? limits : &no_limits);
        s->limits.enabled &= limits != NULL;
    } else if (limits == NULL) {
        s->limits.enabled = false;
    } else {
        s->limits = *limits;
        js_resources_limit(&s->resources, STORAGE_MEMORY, limits->max_memory);
        js_resources_limit(&s->resources, STORAGE_FILE, limits->max_store);
    }
}

static bool has_account(const struct js_server *server, const struct account *a)
{
    return a->index < server->n && server->shared[a->index] != NULL;
}

void js_server_limits(struct js_server *server, const struct options *options)
{
    if (options->max_memory_store >= 0)
        js_resources_limit(&server->resources, STORAGE_MEMORY, options->max_memory_store);
    if (options->max_file_store >= 0)
        js_resources_limit(&server->resources, STORAGE_FILE, options->max_file_store);
}

void js_server_accounts(struct js_server *server, const struct options *options,
                        struct account_set *accounts, const struct accounts *said,
                        const struct account *system)
{
    bool several = operators_on(options) || defines_accounts(said, system);
    struct account *a;

    server->system = system;
    for (uint32_t i = 0; (a = account_set_get(accounts, i)) != NULL; i++) {
        const struct account_options *of = accounts_find(said, a->name);
        bool is_default = strcmp(a->name, ACCOUNT_DEFAULT) == 0;
        if (a == system)
            js_server_account(server, a, NULL); /* asked, it says so; and it purges accounts */
        else if (is_default && !has_account(server, a)) /* what it has at a start stays */
            js_server_account(server, a, several ? NULL : &no_limits);
        else if (is_default)
            continue;
        else
            js_server_account(server, a, of != NULL ? &of->js : NULL);
    }
}

struct js_server *js_server_open(const struct options *options, struct account_set *accounts,
                                 const struct accounts *said, const struct account *system,
                                 struct store_dir *dir, uint64_t memory, uint64_t disk)
{
    struct js_server *server = mem_zalloc(sizeof(*server));

    js_resources_init(&server->resources, STORAGE_MEMORY, options->max_memory_store, memory);
    js_resources_init(&server->resources, STORAGE_FILE, options->max_file_store, disk);
    server->dir = dir;
    js_server_accounts(server, options, accounts, said, system);
    return server;
}

void js_server_close(struct js_server *server)
{
    for (uint32_t i = 0; i < server->n; i++)
        if (server->shared[i] != NULL) {
            directory_close(server->shared[i]->directory);
            mem_free(server->shared[i]);
        }
    mem_free(server->shared);
    mem_free(server);
}

bool js_server_has(const struct js_server *server, const struct account *a)
{
    return a != server->system && has_account(server, a);
}

void js_server_watch(struct js_server *server, const struct account *a, struct js_watch watch)
{
    server->shared[a->index]->watch = watch;
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool resolve(void *ctx, struct account *a, struct str subject, struct route_target *out)
{
    struct jetstream *j = ctx;
    struct js *js = js_of(j->env, a);

    return LIKELY(js != NULL) && js_resolve(js, subject, out);
}

void jetstream_open(struct env *env, struct js_server *server, struct store *store)
{
    struct jetstream *j = mem_zalloc(sizeof(*j));

    j->env = env;
    j->server = server;
    j->store = store;
    j->n = server->n;
    j->of = mem_zalloc(j->n * sizeof(struct js *));
    list_init(&j->awake);
    env->jetstream = j;
    for (uint32_t i = 0; i < j->n; i++)
        if (server->shared[i] != NULL)
            j->of[i] = js_new(j, server->shared[i]);
    js_recover(j);
    router_set_resolver(env->router, resolve, j);
    for (uint32_t i = 0; i < j->n; i++)
        if (j->of[i] != NULL)
            js_start(j->of[i]);
}

void jetstream_account(struct jetstream *j, const struct account *a)
{
    struct js_shared *shared = a->index < j->server->n ? j->server->shared[a->index] : NULL;

    if (shared == NULL)
        return;
    if (a->index >= j->n) {
        j->of = mem_realloc(j->of, (a->index + 1) * sizeof(struct js *));
        memset(j->of + j->n, 0, (a->index + 1 - j->n) * sizeof(struct js *));
        j->n = a->index + 1;
    }
    if (j->of[a->index] == NULL) {
        j->of[a->index] = js_new(j, shared);
        js_start(j->of[a->index]);
    }
    j->of[a->index]->limits = shared->limits;
    js_follow_imports(j->of[a->index]);
}

void jetstream_accounts(struct jetstream *j)
{
    for (uint32_t i = 0; i < j->server->n; i++)
        if (j->server->shared[i] != NULL)
            jetstream_account(j, j->server->shared[i]->account);
}

void jetstream_end_pulls(struct jetstream *j)
{
    for (uint32_t i = 0; i < j->n; i++)
        if (j->of[i] != NULL)
            js_end_pulls(j->of[i]);
}

void jetstream_leave(struct jetstream *j)
{
    router_set_resolver(j->env->router, NULL, NULL);
    for (uint32_t i = 0; i < j->n; i++)
        if (j->of[i] != NULL)
            js_leave(j->of[i]);
}

void jetstream_shutdown(struct jetstream *j, void (*closed)(void *ctx), void *ctx)
{
    for (uint32_t i = 0; i < j->n; i++)
        if (j->of[i] != NULL)
            js_stop(j->of[i]);
    /* What was saved is in the store's hands; store_close makes it durable. */
    closed(ctx);
}

void jetstream_close(struct jetstream *j)
{
    struct env *env = j->env;

    router_set_resolver(env->router, NULL, NULL);
    for (uint32_t i = 0; i < j->n; i++)
        if (j->of[i] != NULL)
            js_close(j->of[i]);
    env->jetstream = NULL;
    mem_free(j->of);
    mem_free(j);
}

/* ---- the loop stage -------------------------------------------------------------------------- */

bool jetstream_step(struct jetstream *j)
{
    struct list now, *l;
    bool more = false;

    list_init(&now);
    list_splice(&now, &j->awake);
    while ((l = list_pop_front(&now)) != NULL)
        more |= js_step(LIST_ENTRY(l, struct js, awake));
    return more;
}

bool jetstream_waiting(const struct jetstream *j)
{
    return !list_empty(&j->awake);
}

/* ---- monitoring ------------------------------------------------------------------------------ */

static void add(struct js_stats *sum, const struct js_stats *one)
{
    sum->streams += one->streams;
    sum->consumers += one->consumers;
    sum->messages += one->messages;
    sum->bytes += one->bytes;
    sum->memory += one->memory;
    sum->storage += one->storage;
    sum->reserved_memory += one->reserved_memory;
    sum->reserved_storage += one->reserved_storage;
    sum->api_total += one->api_total;
    sum->api_errors += one->api_errors;
    sum->max_memory = one->max_memory;
    sum->max_storage = one->max_storage;
}

void jetstream_stats(const struct jetstream *j, struct js_stats *out)
{
    struct js_stats one;

    *out = (struct js_stats){0};
    for (uint32_t i = 0; i < j->n; i++)
        if (j->of[i] != NULL) {
            js_stats_of(j->of[i], &one);
            add(out, &one);
            out->accounts += j->of[i]->limits.enabled;
            out->api_inflight = atomic_load(&j->of[i]->shared->server->requests);
        }
}

bool jetstream_has(const struct jetstream *j, const struct account *a)
{
    const struct js *js = js_of(j->env, a);

    return js != NULL && js->limits.enabled;
}

static void put_sums(struct js *js, struct buf *out)
{
    struct js_stats st;

    js_stats_of(js, &st);
    buf_puts(out, "{\"name\":");
    jput_string(out, str_of(js->account->name));
    buf_puts(out, ",\"id\":");
    jput_string(out, str_of(js->account->name));
    buf_printf(out,
               ",\"memory\":%llu,\"storage\":%llu,\"reserved_memory\":%llu,"
               "\"reserved_storage\":%llu,\"accounts\":0,\"ha_assets\":0,"
               "\"api\":{\"level\":0,\"total\":%llu,\"errors\":%llu},\"stream_detail\":[",
               (unsigned long long) st.memory, (unsigned long long) st.storage,
               (unsigned long long) st.reserved_memory, (unsigned long long) st.reserved_storage,
               (unsigned long long) st.api_total, (unsigned long long) st.api_errors);
}

static void begin_account(struct js *js, const struct js_detail_options *o,
                          struct js_details_at *at, struct buf *out)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    buf_puts(out, at->second ? "," : "");
    put_sums(js, out);
    at->inside = true;
    at->second = false;
    while (o->streams && (n = hmap_each(&js->streams, &it)) != NULL) {
        const char *name = CONTAINER_OF(n, struct stream, node)->config.name;
        buf_put(&at->streams, name, strlen(name) + 1);
    }
}

/* Of an account that was begun; what it cost. */
static size_t put_next_stream(struct js *js, const struct js_detail_options *o,
                              struct js_details_at *at, struct buf *out)
{
    struct str name = str_of(at->streams.p + at->next);
    struct stream *s = js_stream_find(js, name);

    at->next += name.n + 1;
    if (s == NULL || s->store == NULL)
        return 1;
    buf_puts(out, at->second ? "," : "");
    at->second = true;
    js_details(s, o, out);
    return 1 + (o->consumers ? s->nconsumers : 0);
}

bool jetstream_details(struct jetstream *j, const struct js_detail_options *o,
                       struct js_details_at *at, size_t most, struct buf *out)
{
    size_t done = 0;

    if (out->n == 0)
        buf_putc(out, '[');
    for (; at->account < j->n; at->account++) {
        struct js *js = j->of[at->account];
        if (js == NULL || (!at->inside && !js->limits.enabled))
            continue;
        if (done >= most)
            return true;
        if (!at->inside)
            begin_account(js, o, at, out);
        for (; at->next < at->streams.n; done += put_next_stream(js, o, at, out))
            if (done >= most)
                return true;
        buf_puts(out, "]}");
        buf_clear(&at->streams);
        at->next = 0;
        at->inside = false;
        at->second = true;
        done++;
    }
    buf_putc(out, ']');
    jetstream_details_end(at);
    return false;
}

void jetstream_details_end(struct js_details_at *at)
{
    buf_free(&at->streams);
}

/* ---- health ---------------------------------------------------------------------------------- */

/* How many lost messages of the stream are news to its operator; all of them when one is. */
static uint64_t lost_unseen(const struct stream *s)
{
    const char *seen = json_string_value(json_object_get(s->config.metadata, JS_LOST_SEEN));
    struct store_state st;

    if (s->store == NULL)
        return 0;
    store_stream_state(s->store, &st);
    if (seen != NULL && st.lost_msgs <= strtoull(seen, NULL, 10))
        return 0;
    return st.lost_msgs;
}

static void look_at(const struct js *js, const struct js_health_question *q, struct js_health *out)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&js->streams, &it)) != NULL) {
        struct stream *s = CONTAINER_OF(n, struct stream, node);
        if (q->stream != NULL && strcmp(q->stream, s->config.name) != 0)
            continue;
        out->stream = true;
        uint64_t lost = lost_unseen(s);
        if (lost > 0)
            q->lost(q->ctx, js->account->name, s->config.name, lost);
        if (s->failed)
            q->bad(q->ctx, js->account->name, s->config.name,
                   s->fail_reason != NULL ? s->fail_reason : "write failed");
        else if (q->consumer != NULL && stream_consumer(s, str_of(q->consumer)) != NULL)
            out->consumer = true;
    }
}

void jetstream_health(const struct jetstream *j, const struct js_health_question *q,
                      struct js_health *out)
{
    *out = (struct js_health){.log_alone = store_log_is_alone(j->store)};
    for (uint32_t i = 0; i < j->n; i++) {
        const struct js *js = j->of[i];
        if (js == NULL || !js->limits.enabled ||
            (q->account != NULL && strcmp(q->account, js->account->name) != 0))
            continue;
        out->account = true;
        look_at(js, q, out);
    }
}
