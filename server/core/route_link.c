/*
 * route_link.c - over the border of an account: what follows the links of its wiring.
 *
 * A message on a linked subject is handed to its own account's receivers first, then published in
 * the account at the end of each link that matches, as from within a delivery: nothing is gathered,
 * because the subject it gets there lives for the call alone.
 *
 * Answers of services. A request through a service link gets a reply subject of its own,
 *
 *     _R_.<six characters of this worker>.<number>
 *
 * with a sink that hands what comes there to the requestor's reply subject in its account:
 *
 *     request ---> waiting --- answer ---> forwarded; a single answer ends it
 *                     |  \------ answer (many) ---> forwarded, patience begins anew
 *                     |   \----- empty answer (many) ---> forwarded, ends it
 *                     \--- patience is over, or nobody was there to ask ---> gone
 *
 * Reply subjects of acknowledgements ("$JS.ACK.") pass as they are: whoever pulls through another
 * account imports them by a link of their own. At most RESPONSES_MAX requests wait per worker;
 * above that they have no responders.
 */
#include "lib/base/buf.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "lib/base/wheel.h"
#include "server/core/account_wiring.h"
#include "server/core/router_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RESPONSES_MAX 262144u
#define PATIENCE_NS 120000000000ll

struct router_links {
    struct wheel *wheel;
    uint64_t count, next;
    unsigned depth; /* links on the stack */
    char name[6];
    struct list waiting;
    struct list fresh; /* their patience begins when the time is known again */
};

struct response {
    struct sink sink;
    struct interest_sub *interest;
    struct router *router;
    struct list link, fresh;
    struct wheel_timer timer;
    struct account *of; /* where the answers are published */
    struct account *to; /* where they are wanted */
    int64_t patience_ns;
    bool many;
    bool over;
    void *measure; /* of how long the answer takes; NULL = none */
    unsigned busy; /* calls on the stack that will look at it again: not to be freed */
    uint32_t subject_n, reply_n;
    char text[]; /* subject, reply */
};

static struct str response_subject(const struct response *p)
{
    return str_from(p->text, p->subject_n);
}

static struct str response_reply(const struct response *p)
{
    return str_from(p->text + p->subject_n, p->reply_n);
}

/* ---- life ------------------------------------------------------------------------------------ */

static struct router_links *links_of(struct router *r)
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    struct router_links *l = r->links;

    if (LIKELY(l != NULL))
        return l;
    l = r->links = mem_zalloc(sizeof(*l));
    l->wheel = wheel_open(r->now_ns);
    list_init(&l->waiting);
    list_init(&l->fresh);
    for (size_t i = 0; i < sizeof(l->name); i++)
        l->name[i] = letters[prng_below(r->prng, sizeof(letters) - 1)];
    return l;
}

static void fail_measure(struct response *p, int status)
{
    struct router *r = p->router;

    if (p->measure != NULL && r->services != NULL)
        r->services->failed(r->services_ctx, p->measure, status);
    p->measure = NULL;
}

static void response_end(struct response *p)
{
    struct router *r = p->router;

    p->over = true;
    if (p->busy > 0)
        return;
    fail_measure(p, 408);
    wheel_stop(r->links->wheel, &p->timer);
    list_remove(&p->fresh);
    interest_remove(p->of->interest, p->interest);
    router_sink_remove(r, &p->sink);
    list_remove(&p->link);
    r->links->count--;
    mem_free(p);
}

static void lost_patience(struct wheel_timer *t)
{
    struct response *p = CONTAINER_OF(t, struct response, timer);

    fail_measure(p, 504);
    response_end(p);
}

/* While messages come in, the time is that of the last iteration, which may be long ago. */
static void wait_on(struct response *p)
{
    if (!list_linked(&p->fresh))
        list_push_back(&p->router->links->fresh, &p->fresh);
}

void router_links_close(struct router *r)
{
    struct list *l;

    if (r->links == NULL)
        return;
    while ((l = list_first(&r->links->waiting)) != NULL) {
        struct response *p = LIST_ENTRY(l, struct response, link);
        p->busy = 0;
        response_end(p);
    }
    wheel_close(r->links->wheel);
    mem_free(r->links);
    r->links = NULL;
}

static void start_timers(struct router *r)
{
    struct list *l;

    while ((l = list_pop_front(&r->links->fresh)) != NULL) {
        struct response *p = LIST_ENTRY(l, struct response, fresh);
        wheel_start(r->links->wheel, &p->timer, r->now_ns + (uint64_t) p->patience_ns);
    }
}

void router_set_time(struct router *r, uint64_t now_ns)
{
    r->now_ns = now_ns;
    if (LIKELY(r->links == NULL))
        return;
    start_timers(r);
    wheel_advance(r->links->wheel, now_ns);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* A message that was routed by another key than its subject keeps it: a delivery to a pull. */
static uint32_t forward(struct response *p, const struct msg *m)
{
    struct msg out = *m;
    struct str reply = response_reply(p);

    if (str_eq(m->subject, response_subject(p)))
        out.subject = reply;
    out.flags &= ~(uint32_t) (MSG_F_BOUNCE | MSG_F_NO_ECHO);
    p->router->stats.published++;
    return route_message(p->router, p->to, reply, &out);
}

static unsigned answer(struct sink *s, const struct msg *run, unsigned n)
{
    struct response *p = CONTAINER_OF(s, struct response, sink);
    unsigned i;

    p->busy++;
    for (i = 0; i < n && !p->over; i++) {
        bool last = run[i].payload.n == 0 && run[i].header.n == 0;
        if (UNLIKELY(p->measure != NULL) && p->router->services != NULL)
            p->router->services->answered(p->router->services_ctx, p->measure, &run[i]);
        p->measure = NULL;
        forward(p, &run[i]);
        p->over = !p->many || last;
    }
    p->busy--;
    if (p->over)
        response_end(p);
    else
        wait_on(p);
    return i;
}

static const struct sink_ops response_ops = {.deliver = answer, .kind = "service response"};

static struct response *expect(struct router *r, struct account *a, const struct account_link *l,
                               struct str reply)
{
    struct router_links *all = links_of(r);
    struct response *p;
    char subject[48];
    int n;

    if (all->count >= RESPONSES_MAX)
        return NULL;
    n = snprintf(subject, sizeof(subject), "_R_.%.6s.%" PRIx64, all->name, all->next++);
    p = mem_zalloc(sizeof(*p) + (size_t) n + reply.n);
    p->sink.ops = &response_ops;
    if (router_sink_add(r, &p->sink) == 0) {
        mem_free(p);
        return NULL;
    }
    p->router = r;
    p->of = l->to;
    p->to = a;
    p->many = l->many;
    p->patience_ns = l->patience_ns > 0 ? l->patience_ns : PATIENCE_NS;
    p->subject_n = (uint32_t) n;
    p->reply_n = (uint32_t) reply.n;
    memcpy(p->text, subject, (size_t) n);
    memcpy(p->text + n, reply.p, reply.n);
    wheel_timer_init(&p->timer, lost_patience);
    list_init(&p->fresh);
    list_push_back(&all->waiting, &p->link);
    all->count++;
    p->interest = interest_add(p->of->interest, &(struct interest_spec){
                                                    .pattern = response_subject(p),
                                                    .worker = r->worker,
                                                    .sink = p->sink.self,
                                                    .internal = true,
                                                });
    wait_on(p);
    return p;
}

/* ---- over the border ------------------------------------------------------------------------- */

#define CLIENT_INFO STR("Nats-Request-Info")

/* Who asks, in place of what the message says itself. Over a second border the first one's answer
 * stays, with the account it comes through. */
static void put_client(struct router *r, const struct account *a, const struct account_link *l,
                       const struct msg *m, struct buf *out)
{
    struct buf info = {0}, without = {0};
    struct str before = header_get(m->header, CLIENT_INFO);

    if (r->links->depth > 1 && before.n > 2 && before.p[before.n - 1] == '}')
        buf_printf(&info, "%.*s,\"svc\":\"%s\"}", (int) (before.n - 1), before.p, a->name);
    else if (r->services != NULL)
        r->services->client(r->services_ctx, a, m, l->share, &info);
    else
        buf_printf(&info, "{\"acc\":\"%s\"}", a->name);
    header_remove(&without, m->header, CLIENT_INFO);
    header_append(out, buf_str(&without), CLIENT_INFO, buf_str(&info));
    buf_free(&info);
    buf_free(&without);
}

static void *measure(struct router *r, struct account *a, const struct account_link *l,
                     const struct msg *m, bool wanted)
{
    if (l->latency == NULL || r->services == NULL)
        return NULL;
    return r->services->ask(r->services_ctx, l, a, m, wanted);
}

static bool new_subject(struct router *r, const struct account_link *l, struct str key,
                        struct buf *out)
{
    if (l->transform != NULL)
        return transform_published(l->transform, key, r->prng, out);
    buf_put_str(out, key);
    return true;
}

static uint32_t publish(struct router *r, struct account *to, struct str key, const struct msg *m)
{
    uint32_t took;

    if (r->depth == 0)
        route_flush_run(r);
    r->active[r->depth++] = 0;
    took = route_any(r, to, key, m);
    r->depth--;
    return took;
}

static uint32_t ask(struct router *r, struct account *a, const struct account_link *l,
                    struct str key, struct msg *m)
{
    struct response *p = NULL;
    struct buf header = {0};
    uint32_t took;

    if (m->reply.n > 0 && !str_starts(m->reply, STR("$JS.ACK."))) {
        p = expect(r, a, l, m->reply);
        if (p == NULL)
            return 0;
        p->measure = measure(r, a, l, m, true);
        m->reply = response_subject(p);
        p->busy++;
    } else if (m->reply.n == 0) {
        measure(r, a, l, m, false);
    }
    put_client(r, a, l, m, &header);
    m->header = buf_str(&header);
    took = publish(r, l->to, key, m);
    buf_free(&header);
    if (p != NULL) {
        p->busy--;
        if (took == 0)
            fail_measure(p, 503);
        if (took == 0 || p->over)
            response_end(p);
    }
    return took;
}

static uint32_t hand_over(struct router *r, struct account *a, const struct account_link *l,
                          struct str key, struct msg *m)
{
    return l->service ? ask(r, a, l, key, m) : publish(r, l->to, key, m);
}

/* A traced message passes the border untraced, unless the link allows it: nobody there learns where
 * the trace goes, and where only the trace is wanted, it ends. */
static uint32_t hand_over_traced(struct router *r, struct account *a, const struct account_link *l,
                                 struct str from, struct str key, struct msg *m)
{
    struct route_tracer *t = r->tracer;
    struct buf without = {0}, header = {0};
    uint32_t took;

    t->link(t, l->to, l->service, from, key);
    if (l->allow_trace)
        return hand_over(r, a, l, key, m);
    if (t->only)
        return 1;
    header_remove(&without, m->header, STR("Nats-Trace-Dest"));
    header_append(&header, buf_str(&without), STR("Nats-Trace-Dest"), STR("trace disabled"));
    m->header = buf_str(&header);
    r->tracer = NULL;
    took = hand_over(r, a, l, key, m);
    r->tracer = t;
    buf_free(&without);
    buf_free(&header);
    return took;
}

static uint32_t follow(struct router *r, struct account *a, const struct account_link *l,
                       struct str key, const struct msg *m)
{
    struct buf subject = {0};
    struct msg out = *m;
    uint32_t took = 0;

    out.flags = (out.flags & ~(uint32_t) MSG_F_BOUNCE) | MSG_F_SHARED;
    if (new_subject(r, l, key, &subject)) {
        struct str from = m->subject;
        if (key.p == m->subject.p)
            out.subject = buf_str(&subject);
        took = UNLIKELY(r->tracer != NULL)
                   ? hand_over_traced(r, a, l, from, buf_str(&subject), &out)
                   : hand_over(r, a, l, buf_str(&subject), &out);
    }
    buf_free(&subject);
    return took;
}

uint32_t route_links(struct router *r, struct account *a, struct str key, const struct msg *m)
{
    const struct account_wiring *w = atomic_load_explicit(&a->wiring, memory_order_acquire);
    struct router_links *all = links_of(r);
    uint32_t took = 0;

    if (w == NULL || all->depth == ACCOUNT_LINKS_MAX)
        return 0;
    all->depth++;
    for (size_t i = 0; i < w->nlinks; i++)
        if (subject_matches(key, str_of(w->links[i].pattern)))
            took += follow(r, a, &w->links[i], key, m);
    all->depth--;
    return took;
}
