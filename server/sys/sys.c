/*
 * sys.c - between the workers and the main thread.
 *
 *     client --- $SYS.REQ... ---> sink (worker 0) --- arrived, wake ---> sys_take (main thread)
 *       ^                                                                      |  documents, over
 *       |                                                                      v  all workers
 *       +---------- published by worker 0 <--- task posted ------------ the answer
 *
 * A request for what the server knows of the connection that asks ($SYS.REQ.USER.INFO) goes to that
 * connection's worker instead and is answered from there. At most REQUESTS_MAX requests of
 * REQUESTS_BYTES in all wait for the main thread or for their answers; what comes above that is
 * dropped, as the peer's queue would be late without end. Clients of any account can send some.
 * Accounts that have changed are never dropped: there is one word for each at most.
 */
#include "server/sys/sys.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/net/event.h"
#include "server/net/net.h"
#include "server/sys/sys_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUESTS_MAX 4096u
#define REQUESTS_BYTES (16u << 20)

/* ---- to the main thread ---------------------------------------------------------------------- */

static size_t size_of(const struct sys_item *i)
{
    return strlen(i->subject) + strlen(i->reply) + i->header.n + i->body.n;
}

/* False: there are too many. */
static bool count_request(struct sys *s, struct sys_item *i)
{
    size_t bytes = size_of(i);
    bool fits = s->nrequests < REQUESTS_MAX && s->request_bytes + bytes <= REQUESTS_BYTES;

    if (fits) {
        i->counted = bytes;
        s->nrequests++;
        s->request_bytes += bytes;
    }
    return fits;
}

void sys_item_free(struct sys_item *i)
{
    struct sys *s = i->sys;

    if (i->counted > 0) {
        pthread_mutex_lock(&s->lock);
        s->nrequests--;
        s->request_bytes -= i->counted;
        pthread_mutex_unlock(&s->lock);
    }
    mem_free(i->subject);
    mem_free(i->reply);
    buf_free(&i->header);
    buf_free(&i->body);
    asked_free(&i->asked);
    mem_free(i);
}

static void hand_over(struct sys *s, struct sys_item *i)
{
    bool fits;

    pthread_mutex_lock(&s->lock);
    fits = i->changed != NULL || count_request(s, i);
    if (fits)
        list_push_back(&s->arrived, &i->link);
    pthread_mutex_unlock(&s->lock);
    if (fits)
        s->host.wake(s->host.ctx);
    else
        sys_item_free(i);
}

static struct sys_item *next_arrived(struct sys *s)
{
    struct list *l;

    pthread_mutex_lock(&s->lock);
    l = list_pop_front(&s->arrived);
    pthread_mutex_unlock(&s->lock);
    return l != NULL ? LIST_ENTRY(l, struct sys_item, link) : NULL;
}

void sys_take(struct sys *s)
{
    struct sys_item *i;

    while ((i = next_arrived(s)) != NULL) {
        if (i->changed == NULL) {
            request_answer(i);
            continue;
        }
        periodic_account_changed(s, i->changed);
        sys_item_free(i);
    }
}

static void account_changed(struct env *env, struct account *a)
{
    struct sys *s = env->sys;
    struct sys_item *i;

    if (a == env->account || atomic_exchange(&a->changed, true))
        return;
    i = mem_zalloc(sizeof(*i));
    i->sys = s;
    i->changed = a;
    hand_over(s, i);
}

/* ---- who asks -------------------------------------------------------------------------------- */

struct user_question {
    struct env_task task;
    handle conn;
    char *reply;
};

static void answer_user(struct env_task *task, struct env *env)
{
    struct user_question *q = CONTAINER_OF(task, struct user_question, task);
    struct buf who = {0}, answer = {0};
    json_t *server;
    char *text;

    if (env->net != NULL && net_user_info(env->net, q->conn, &who)) {
        server = event_server(&(struct event_source){.name = env->server_name,
                                                     .id = env->server_id,
                                                     .version = env->version,
                                                     .seq = env->event_seq,
                                                     .wall_ns = io_wall(env->io)},
                              env->options);
        text = json_dumps(server, JSON_COMPACT);
        buf_printf(&answer, "{\"server\":%s,\"data\":", text != NULL ? text : "null");
        buf_put_str(&answer, buf_str(&who));
        buf_putc(&answer, '}');
        event_publish(env, str_of(q->reply), STR_NONE, buf_str(&answer));
        json_decref(server);
        mem_free(text);
    }
    buf_free(&who);
    buf_free(&answer);
    mem_free(q->reply);
    mem_free(q);
}

static void ask_user(struct sys *s, const struct msg *m)
{
    struct user_question *q;

    if (m->origin_conn == 0 || m->origin_worker >= s->workers)
        return;
    q = mem_zalloc(sizeof(*q));
    q->task.run = answer_user;
    q->conn = m->origin_conn;
    q->reply = mem_strndup(m->reply.p, m->reply.n);
    s->env->post(s->env, m->origin_worker, &q->task);
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool about_user(struct str subject)
{
    return str_starts(subject, STR("$SYS.REQ.USER."));
}

static void take(struct sys *s, const struct msg *m)
{
    struct sys_item *i;

    if (about_user(m->subject)) {
        if (m->reply.n > 0)
            ask_user(s, m);
        return;
    }
    i = mem_zalloc(sizeof(*i));
    i->sys = s;
    i->subject = mem_strndup(m->subject.p, m->subject.n);
    i->reply = mem_strndup(m->reply.p, m->reply.n);
    buf_put_str(&i->header, m->header);
    buf_put_str(&i->body, m->payload);
    hand_over(s, i);
}

static unsigned deliver(struct sink *sink, const struct msg *run, unsigned n)
{
    struct sys *s = CONTAINER_OF(sink, struct sys, sink);

    for (unsigned i = 0; i < n; i++)
        take(s, &run[i]);
    return n;
}

static const struct sink_ops ops = {.deliver = deliver, .kind = "system"};

static void listen_on(void *ctx, const char *pattern)
{
    struct sys *s = ctx;

    ASSERT(s->ninterest < SYS_INTERESTS_MAX);
    s->interest[s->ninterest++] = interest_add(s->env->system_account->interest,
                                               &(struct interest_spec){.pattern = str_of(pattern),
                                                                       .worker = s->env->worker,
                                                                       .sink = s->sink.self,
                                                                       .internal = true});
}

/* ---- publishing ------------------------------------------------------------------------------ */

struct saying {
    struct env_task task;
    struct buf header, payload;
    char subject[];
};

static void say(struct env_task *task, struct env *env)
{
    struct saying *y = CONTAINER_OF(task, struct saying, task);

    if (env->net != NULL)
        event_publish_headed(env, str_of(y->subject), buf_str(&y->header), buf_str(&y->payload));
    buf_free(&y->header);
    buf_free(&y->payload);
    mem_free(y);
}

static struct saying *new_saying(const char *subject)
{
    size_t n = strlen(subject) + 1;
    struct saying *y = mem_zalloc(sizeof(*y) + n);

    y->task.run = say;
    memcpy(y->subject, subject, n);
    return y;
}

void sys_publish(struct sys *s, const char *subject, struct str payload)
{
    struct saying *y = new_saying(subject);

    buf_put_str(&y->payload, payload);
    s->host.post(s->host.ctx, 0, &y->task);
}

void sys_publish_json(struct sys *s, const char *subject, json_t *what)
{
    char *text = json_dumps(what, JSON_COMPACT | JSON_ENCODE_ANY);

    if (text != NULL)
        sys_publish(s, subject, str_of(text));
    mem_free(text);
    json_decref(what);
}

void sys_publish_answer(struct sys_item *i, json_t *what)
{
    struct sys *s = i->sys;
    struct saying *y = new_saying(i->reply);
    char *text = json_dumps(what, JSON_COMPACT);

    if (text != NULL)
        pack_answer(buf_str(&i->header), str_of(text), &y->header, &y->payload);
    mem_free(text);
    json_decref(what);
    s->host.post(s->host.ctx, 0, &y->task);
}

json_t *sys_server(struct sys *s)
{
    const struct monitor_host *h = reports_host(s->host.reports);

    return event_server(&(struct event_source){.name = h->server_name,
                                               .id = h->server_id,
                                               .version = h->version,
                                               .seq = &s->seq,
                                               .wall_ns = monitor_wall()},
                        h->options);
}

bool sys_wanted(const struct sys *s, const char *subject)
{
    return event_wanted(s->env, str_of(subject));
}

void sys_say(struct sys *s, const char *what)
{
    char subject[128];

    snprintf(subject, sizeof(subject), "$SYS.SERVER.%s.%s", s->env->server_id, what);
    if (sys_wanted(s, subject))
        sys_publish_json(s, subject, sys_server(s));
}

/* ---- life ------------------------------------------------------------------------------------ */

struct sys *sys_open(const struct sys_host *host, struct env *const *envs, unsigned workers)
{
    struct sys *s = mem_zalloc(sizeof(*s));

    s->host = *host;
    s->workers = workers;
    s->env = envs[0];
    pthread_mutex_init(&s->lock, NULL);
    list_init(&s->arrived);
    prng_init(&s->prng, (uint64_t) monitor_wall());
    nuid_init(&s->ids, &s->prng);
    s->sink.ops = &ops;
    router_sink_add(s->env->router, &s->sink);
    request_patterns(s, listen_on, s);
    for (unsigned i = 0; i < workers; i++) {
        envs[i]->sys = s;
        envs[i]->event_seq = &s->seq;
        envs[i]->account_changed = account_changed;
    }
    periodic_start(s);
    return s;
}

void sys_stop(struct sys *s)
{
    periodic_stop(s);
}

void sys_close(struct sys *s)
{
    struct sys_item *i;

    for (size_t k = 0; k < s->ninterest; k++)
        interest_remove(s->env->system_account->interest, s->interest[k]);
    router_sink_remove(s->env->router, &s->sink);
    while ((i = next_arrived(s)) != NULL)
        sys_item_free(i);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}
