#include "tests/lib/sink_probe.h"

#include "lib/base/assert.h"
#include "lib/wire/nats_write.h"

/* ---- the probe ------------------------------------------------------------------------------- */

static struct sink_probe *probe_of(struct sink *s)
{
    return CONTAINER_OF(s, struct sink_probe, sink);
}

static void write_down(struct sink_probe *p, const struct msg *m)
{
    buf_put_str(&p->log, m->subject);
    buf_putc(&p->log, ' ');
    buf_put_str(&p->log, m->payload);
    if (m->reply.n > 0) {
        buf_puts(&p->log, " > ");
        buf_put_str(&p->log, m->reply);
    }
    buf_putc(&p->log, '\n');
    p->msgs++;
}

static unsigned probe_deliver(struct sink *s, const struct msg *run, unsigned n)
{
    struct sink_probe *p = probe_of(s);
    unsigned taken = 0;

    ASSERT(!p->inside && n > 0);
    p->inside = true;
    p->calls++;
    if (n > p->longest)
        p->longest = n;
    while (taken < n && p->sub != NULL && (p->limit == 0 || p->msgs < p->limit) &&
           (p->refuses == NULL || !str_eq(run[taken].payload, str_of(p->refuses)))) {
        write_down(p, &run[taken]);
        if (p->on_msg != NULL)
            p->on_msg(p, &run[taken]);
        taken++;
        if (p->limit > 0 && p->msgs == p->limit)
            sink_probe_close(p);
    }
    p->inside = false;
    return taken;
}

static void probe_render(struct sink *s, const struct msg *m, struct outbuf *out)
{
    char frame[20000];
    struct nats_to to = {.subject = m->subject, .sid = STR("7"), .reply = m->reply};
    uint32_t header = (uint32_t) m->header.n, total = header + (uint32_t) m->payload.n;
    size_t n;

    ASSERT(nats_msg_max(m->subject.n, 1, m->reply.n) + total + 2 <= sizeof(frame));
    n = header > 0 ? nats_write_hmsg(frame, &to, header, total) : nats_write_msg(frame, &to, total);
    if (header > 0)
        memcpy(frame + n, m->header.p, header);
    if (m->payload.n > 0)
        memcpy(frame + n + header, m->payload.p, m->payload.n);
    memcpy(frame + n + total, "\r\n", 2);
    outbuf_put(out, probe_of(s)->pool, frame, n + total + 2);
}

static void probe_push(struct sink *s, struct outbuf *out, unsigned msgs)
{
    struct sink_probe *p = probe_of(s);

    p->frames += msgs;
    for (const struct chunk *c = out->head; c != NULL; c = c->next)
        buf_put(&p->log, c->data, c->len);
    outbuf_free(out, p->pool);
}

static void probe_bounced(struct sink *s, uint64_t seq)
{
    struct sink_probe *p = probe_of(s);

    p->bounces++;
    p->bounced_seq = seq;
    if (p->on_bounce != NULL)
        p->on_bounce(p, seq);
}

static const struct sink_ops plain_ops = {
    .deliver = probe_deliver,
    .bounced = probe_bounced,
    .kind = "probe",
};

static const struct sink_ops frame_ops = {
    .deliver = probe_deliver,
    .render = probe_render,
    .push = probe_push,
    .bounced = probe_bounced,
    .kind = "probe with frames",
};

void sink_probe_open(struct sink_probe *p, const struct sink_probe_options *o)
{
    struct interest_spec spec = {
        .pattern = str_of(o->pattern),
        .queue = str_of(o->queue),
        .worker = o->worker,
    };

    *p = (struct sink_probe){.router = o->router, .account = o->account, .pool = o->pool};
    p->sink.ops = o->pool != NULL ? &frame_ops : &plain_ops;
    p->sink.conn = o->conn;
    spec.sink = router_sink_add(o->router, &p->sink);
    ASSERT(spec.sink != 0);
    p->sub = interest_add(o->account->interest, &spec);
    ASSERT(p->sub != NULL);
}

void sink_probe_take_singly(struct sink_probe *p)
{
    p->sink.ops = &plain_ops;
}

void sink_probe_close(struct sink_probe *p)
{
    struct interest_sub *sub = p->sub;

    if (sub == NULL)
        return;
    interest_remove(p->account->interest, sub);
    router_sink_remove(p->router, &p->sink);
    p->sub = NULL;
}

void sink_probe_clear(struct sink_probe *p)
{
    buf_clear(&p->log);
    p->msgs = p->calls = p->longest = p->frames = p->bounces = 0;
}

const char *sink_probe_log(struct sink_probe *p)
{
    return buf_cstr(&p->log);
}

void sink_probe_free(struct sink_probe *p)
{
    sink_probe_close(p);
    buf_free(&p->log);
}

struct msg probe_msg(const char *subject, const char *reply, const char *payload)
{
    return (struct msg){
        .subject = str_of(subject), .reply = str_of(reply), .payload = str_of(payload)};
}

/* ---- routers in one thread ------------------------------------------------------------------- */

static void post(void *ctx, uint32_t worker, struct lane_item *run)
{
    const struct mesh_end *end = ctx;
    struct router_mesh *m = end->mesh;
    struct lane_item **tail = &m->tail[end->worker][worker];

    ASSERT(worker != end->worker && worker < m->n && run->kind == LANE_RUN);
    run->next = NULL;
    if (*tail != NULL)
        (*tail)->next = run;
    else
        m->head[end->worker][worker] = run;
    *tail = run;
}

void router_mesh_open(struct router_mesh *m, uint32_t workers)
{
    ASSERT(workers <= MESH_MAX);
    *m = (struct router_mesh){.n = workers, .account = account_open("$G", 0, 42)};
    for (uint32_t w = 0; w < workers; w++) {
        struct router_options o = {
            .worker = w,
            .workers = workers,
            .prng = &m->prng[w],
            .hash_seed = 43 + w,
            .post = post,
            .ctx = &m->end[w],
        };
        m->end[w] = (struct mesh_end){.mesh = m, .worker = w};
        prng_init(&m->prng[w], 7 + w);
        m->chunks[w] = chunk_pool_open();
        o.chunks = m->chunks[w];
        m->r[w] = router_open(&o);
    }
}

static struct lane_item *pop(struct router_mesh *m, uint32_t from, uint32_t to)
{
    struct lane_item *run = m->head[from][to];

    if (run == NULL)
        return NULL;
    m->head[from][to] = run->next;
    if (run->next == NULL)
        m->tail[from][to] = NULL;
    return run;
}

void router_mesh_close(struct router_mesh *m)
{
    struct lane_item *run;

    for (uint32_t from = 0; from < m->n; from++)
        for (uint32_t to = 0; to < m->n; to++)
            while ((run = pop(m, from, to)) != NULL)
                route_run_free(run, m->chunks[to]);
    for (uint32_t w = 0; w < m->n; w++)
        router_close(m->r[w]);
    for (uint32_t w = 0; w < m->n; w++)
        chunk_pool_close(m->chunks[w]);
    account_close(m->account);
}

void router_mesh_flush(struct router_mesh *m)
{
    for (uint32_t w = 0; w < m->n; w++) {
        route_flush(m->r[w]);
        router_flush_remote(m->r[w]);
    }
}

bool router_mesh_drain(struct router_mesh *m)
{
    bool any = false;
    struct lane_item *run;

    for (uint32_t to = 0; to < m->n; to++)
        for (uint32_t from = 0; from < m->n; from++)
            while ((run = pop(m, from, to)) != NULL) {
                router_take(m->r[to], run);
                m->runs++;
                any = true;
            }
    return any;
}

void router_mesh_settle(struct router_mesh *m)
{
    bool more;

    do {
        router_mesh_flush(m);
        more = router_mesh_drain(m);
        for (uint32_t w = 0; w < m->n; w++) {
            router_check(m->r[w]);
            more |= router_busy(m->r[w]);
        }
    } while (more);
}

void sink_probe_at(struct sink_probe *p, struct router_mesh *m, uint32_t worker,
                   const char *pattern, const char *queue)
{
    struct sink_probe_options o = {
        .router = m->r[worker],
        .account = m->account,
        .worker = worker,
        .pattern = pattern,
        .queue = queue,
    };

    sink_probe_open(p, &o);
}
