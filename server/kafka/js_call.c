/*
 * js_call.c - the Kafka side as a client of the JetStream API: a request is published with a reply
 * subject of this worker, "_KAFKA.<unique>.<worker>.<number>", and the answer comes to one sink.
 */
#include "lib/base/fmt.h"
#include "lib/base/hmap.h"
#include "lib/base/mem.h"
#include "lib/base/nuid.h"
#include "lib/io/io.h"
#include "lib/json/json.h"
#include "server/core/route.h"
#include "server/kafka/kafka_int.h"

#include <jansson.h>
#include <stdio.h>

struct call {
    struct list link;
    uint64_t number;
    js_call_fn done;
    void *ctx;
};

struct js_calls {
    struct realm *realm;
    struct sink sink;
    struct interest_sub *interest;
    struct list waiting; /* in the order in which they were asked */
    uint64_t last;
    char prefix[64];
    bool ended;
};

static struct call *find(struct js_calls *calls, uint64_t number)
{
    LIST_FOREACH(l, &calls->waiting)
    {
        struct call *c = LIST_ENTRY(l, struct call, link);
        if (c->number == number)
            return c;
    }
    return NULL;
}

static void finish(struct call *c, const json_t *answer)
{
    list_remove(&c->link);
    c->done(c->ctx, answer);
    mem_free(c);
}

static unsigned deliver(struct sink *sink, const struct msg *run, unsigned n)
{
    struct js_calls *calls = CONTAINER_OF(sink, struct js_calls, sink);

    for (unsigned i = 0; i < n; i++) {
        struct str tail = str_skip(run[i].subject, strlen(calls->prefix));
        struct buf err = {0};
        struct call *c;
        uint64_t number;
        json_t *answer;
        if (!str_to_u64(tail, &number) || (c = find(calls, number)) == NULL)
            continue;
        answer = json_parse_object(run[i].payload, &err);
        finish(c, answer);
        json_decref(answer);
        buf_free(&err);
    }
    return n;
}

static const struct sink_ops ops = {.deliver = deliver, .kind = "kafka"};

struct js_calls *js_calls_open(struct realm *realm)
{
    struct env *env = realm->kafka->env;
    struct js_calls *calls = mem_zalloc(sizeof(*calls));
    struct nuid nuid;
    char unique[NUID_LEN + 1], pattern[80];

    nuid_init(&nuid, env->prng);
    nuid_next(&nuid, unique);
    unique[NUID_LEN] = '\0';
    calls->realm = realm;
    list_init(&calls->waiting);
    snprintf(calls->prefix, sizeof(calls->prefix), "_KAFKA.%s.%u.", unique, env->worker);
    snprintf(pattern, sizeof(pattern), "%s*", calls->prefix);
    calls->sink.ops = &ops;
    router_sink_add(env->router, &calls->sink);
    calls->interest = interest_add(realm->account->interest,
                                   &(struct interest_spec){.pattern = str_of(pattern),
                                                           .worker = env->worker,
                                                           .sink = calls->sink.self,
                                                           .internal = true});
    return calls;
}

void js_call(struct realm *realm, const char *subject, struct str body, js_call_fn done, void *ctx)
{
    struct js_calls *calls = realm->calls;
    struct env *env = realm->kafka->env;
    struct call *c = mem_zalloc(sizeof(*c));
    struct buf to = {0}, reply = {0};
    struct msg m = {.payload = body, .flags = MSG_F_SYSTEM};

    c->number = ++calls->last;
    c->done = done;
    c->ctx = ctx;
    list_push_back(&calls->waiting, &c->link);
    if (calls->ended) {
        finish(c, NULL);
        return;
    }
    buf_printf(&to, "$JS.API.%s", subject);
    buf_printf(&reply, "%s%llu", calls->prefix, (unsigned long long) c->number);
    m.subject = buf_str(&to);
    m.reply = buf_str(&reply);
    route_publish(env->router, realm->account, &m);
    route_flush(env->router);
    buf_free(&to);
    buf_free(&reply);
}

int js_call_error(const json_t *answer, const char **text)
{
    const json_t *error;

    *text = "no answer";
    if (answer == NULL)
        return -1;
    error = json_object_get(answer, "error");
    if (error == NULL)
        return 0;
    *text = json_string_value(json_object_get(error, "description"));
    if (*text == NULL)
        *text = "";
    return (int) json_integer_value(json_object_get(error, "err_code"));
}

void js_calls_end(struct js_calls *calls)
{
    struct list *l;

    calls->ended = true;
    while ((l = list_first(&calls->waiting)) != NULL)
        finish(LIST_ENTRY(l, struct call, link), NULL);
}

void js_calls_close(struct js_calls *calls)
{
    struct env *env = calls->realm->kafka->env;

    js_calls_end(calls);
    interest_remove(calls->realm->account->interest, calls->interest);
    router_sink_remove(env->router, &calls->sink);
    mem_free(calls);
}
