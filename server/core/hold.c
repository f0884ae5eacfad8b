/*
 * Held replies: routed when they are made, sent when what they acknowledge has become durable.
 *
 *     hold_add      --- one local client subscription ---> its part: rendered frames in an outbuf
 *                   --- subscriptions of one other worker -> that worker's runs (RUN_INTEREST)
 *                   --- anything else, also nobody --------> own runs (RUN_ROUTE): routed at
 * release hold_release: other workers' runs are posted, parts are pushed to their sinks as they
 * are, own runs are executed
 *
 * Between add and release a subscription may go, or begin to count (ops without push). Then its
 * frames are read back, which are MSG and HMSG operations like any (lib/wire), and routed one by
 * one: another subscription may have come, as when a client reconnects or moves. So a reply is lost
 * only when nobody wants it at release.
 *
 * Order holds per destination: parts and runs append. A part is found by the sink of the reply
 * before (replies come in bursts per client), else through a table by handle.
 */
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/wire/nats_parse.h"
#include "server/core/router_priv.h"

/* Header and payload of a frame; longer replies are routed at release. So a sink can render into
 * one piece. */
#define FRAME_MAX 16384u

struct part {
    handle sink;
    uint32_t frames;
    struct outbuf out;
};

struct hold {
    struct router *r;
    struct account *account;
    struct part *last;
    uint64_t count, bytes;
    struct msg m; /* all zero but what hold_add sets */
    struct part **parts;
    uint32_t nparts, cap;
    uint32_t *table; /* indexes from 1 into parts, open addressing, at most half full */
    uint32_t table_mask;
    struct run_writer *runs; /* by worker, own worker included; NULL until one is needed */
};

struct hold *hold_open(struct router *r, struct account *a)
{
    struct hold *h = mem_zalloc(sizeof(*h));

    h->r = r;
    h->account = a;
    return h;
}

uint64_t hold_count(const struct hold *h)
{
    return h->count;
}

uint64_t hold_bytes(const struct hold *h)
{
    return h->bytes;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static uint32_t slot_of(const struct hold *h, handle sink)
{
    return (uint32_t) hash_mix(sink, 0x9e3779b97f4a7c15u) & h->table_mask;
}

static void enter(struct hold *h, uint32_t index)
{
    uint32_t at = slot_of(h, h->parts[index - 1]->sink);

    while (h->table[at] != 0)
        at = (at + 1) & h->table_mask;
    h->table[at] = index;
}

static void grow_parts(struct hold *h)
{
    h->cap = h->cap > 0 ? h->cap * 2 : 4;
    h->parts = mem_realloc(h->parts, h->cap * sizeof(struct part *));
    h->table_mask = h->cap * 2 - 1;
    mem_free(h->table);
    h->table = mem_zalloc((h->table_mask + 1) * sizeof(h->table[0]));
    for (uint32_t i = 1; i <= h->nparts; i++)
        enter(h, i);
}

static struct part *find_part(struct hold *h, handle sink)
{
    struct part *p;

    if (h->nparts > 0)
        for (uint32_t at = slot_of(h, sink); h->table[at] != 0; at = (at + 1) & h->table_mask)
            if (h->parts[h->table[at] - 1]->sink == sink)
                return h->parts[h->table[at] - 1];
    if (h->nparts == h->cap)
        grow_parts(h);
    p = mem_zalloc(sizeof(*p));
    p->sink = sink;
    h->parts[h->nparts++] = p;
    enter(h, h->nparts);
    return p;
}

/* False when the sink has no byte form (now). */
static bool add_frame(struct hold *h, handle sink)
{
    struct sink *s = handle_get(&h->r->sinks, sink);
    struct part *p = h->last;
    uint64_t before;

    if (UNLIKELY(s == NULL || s->ops->render == NULL))
        return false;
    if (UNLIKELY(p == NULL || p->sink != sink))
        p = h->last = find_part(h, sink);
    before = p->out.bytes;
    s->ops->render(s, &h->m, &p->out);
    if (UNLIKELY(p->out.bytes == before)) {
        h->r->stats.dropped++;
        return true;
    }
    p->frames++;
    h->bytes += p->out.bytes - before;
    h->count++;
    return true;
}

/* ---- runs ------------------------------------------------------------------------------------ */

static void add_record(struct hold *h, enum run_kind kind, uint32_t worker)
{
    struct delivery d = {.account = h->account};
    struct run_put put = {
        .kind = kind,
        .plain = true,
        .delivery = &d,
        .m = &h->m,
        .worker = worker,
    };
    struct run_writer *w;
    uint64_t before;

    if (h->runs == NULL)
        h->runs = mem_zalloc(h->r->workers * sizeof(h->runs[0]));
    w = &h->runs[worker];
    before = w->bytes;
    if (!run_put(h->r, w, &put))
        return;
    h->count++;
    h->bytes += w->bytes - before;
}

static bool is_one_bit(uint64_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

void hold_add(struct hold *h, struct str to, struct str header, struct str payload)
{
    struct match *e = match_cache_find(router_cache(h->r, h->account), to);

    h->m.subject = to;
    h->m.header = header;
    h->m.payload = payload;
    h->m.flags = MSG_F_SYSTEM;
    if (LIKELY(e->sink != 0 && e->group == 0) && header.n + payload.n <= FRAME_MAX &&
        add_frame(h, e->sink))
        return;
    if (is_one_bit(e->remote) && e->nlocal == 0 && e->ngroups == 0 && !e->linked)
        add_record(h, RUN_INTEREST, (uint32_t) __builtin_ctzll(e->remote));
    else
        add_record(h, RUN_ROUTE, h->r->worker);
}

/* ---- release --------------------------------------------------------------------------------- */

static void route_frame(struct hold *h, const struct nats_op *op, void *ctx)
{
    struct msg m = {
        .subject = op->subject,
        .reply = op->reply,
        .header = nats_op_header(op),
        .payload = nats_op_payload(op),
        .flags = MSG_F_SYSTEM,
    };

    (void) ctx;
    h->r->stats.published++;
    route_message(h->r, h->account, m.subject, &m);
    /* The views end with the next operation. */
    if (h->r->depth == 0)
        route_flush_run(h->r);
}

/* Frames are our own, so they parse; a body that is cut by the end of a chunk is collected. */
static void each_frame(struct hold *h, const struct outbuf *out,
                       void (*frame)(struct hold *h, const struct nats_op *op, void *ctx),
                       void *ctx)
{
    struct nats_limits limits = {.max_control_line = NATS_NO_LIMIT, .max_payload = NATS_NO_LIMIT};
    struct nats_parser parser;
    struct nats_op op;
    enum nats_parse got;
    char *memory = NULL;

    nats_parser_init(&parser, NATS_ROLE_CLIENT, limits);
    for (const struct chunk *c = out->head; c != NULL; c = c->next) {
        struct str in = str_from(c->data, c->len);
        while ((got = nats_parse(&parser, &in, &op)) != NATS_PARSE_MORE) {
            ASSERT(got != NATS_PARSE_ERROR);
            if (got == NATS_PARSE_COLLECT) {
                mem_free(memory);
                memory = mem_alloc(op.body.n + 2);
                nats_parse_collect(&parser, memory);
                continue;
            }
            ASSERT(op.verb == NATS_VERB_MSG || op.verb == NATS_VERB_HMSG);
            frame(h, &op, ctx);
        }
    }
    ASSERT(!nats_parse_is_cut(&parser));
    nats_parser_deinit(&parser);
    mem_free(memory);
}

static void release_part(struct hold *h, struct part *p)
{
    struct sink *s = handle_get(&h->r->sinks, p->sink);

    if (p->frames == 0)
        return;
    if (s != NULL && s->ops->push != NULL && s->deferred == 0) {
        h->r->stats.delivered += p->frames;
        s->ops->push(s, &p->out, p->frames);
        return;
    }
    each_frame(h, &p->out, route_frame, NULL);
}

/* Within a delivery, where run_execute may not be called, they wait with what is deferred. */
static void route_own_runs(struct router *r, struct lane_item *run)
{
    if (r->depth > 0) {
        run_append(&r->deferred, run);
        return;
    }
    while (run != NULL) {
        struct lane_item *next = run->next;
        run_execute(r, run);
        run = next;
    }
}

static void release_runs(struct hold *h)
{
    struct router *r = h->r;

    if (h->runs == NULL)
        return;
    for (uint32_t w = 0; w < r->workers; w++)
        if (w != r->worker)
            route_send_runs(r, w, run_take_all(&h->runs[w]));
        else
            route_own_runs(r, run_take_all(&h->runs[w]));
}

static void free_hold(struct hold *h)
{
    for (uint32_t i = 0; i < h->nparts; i++) {
        outbuf_free(&h->parts[i]->out, h->r->chunks);
        mem_free(h->parts[i]);
    }
    if (h->runs != NULL)
        for (uint32_t w = 0; w < h->r->workers; w++)
            run_discard(&h->runs[w], h->r->chunks);
    mem_free(h->runs);
    mem_free(h->parts);
    mem_free(h->table);
    mem_free(h);
}

void hold_release(struct hold *h)
{
    if (h->r->depth == 0)
        route_flush_run(h->r);
    for (uint32_t i = 0; i < h->nparts; i++)
        release_part(h, h->parts[i]);
    release_runs(h);
    free_hold(h);
}

/* ---- something else instead ------------------------------------------------------------------ */

struct instead {
    struct hold *to;
    struct str (*choose)(void *ctx, struct str payload);
    void *ctx;
};

static void record_instead(void *ctx, struct str subject, struct str payload)
{
    const struct instead *in = ctx;

    hold_add(in->to, subject, STR_NONE, in->choose(in->ctx, payload));
}

static void frame_instead(struct hold *h, const struct nats_op *op, void *ctx)
{
    (void) h;
    record_instead(ctx, op->subject, nats_op_payload(op));
}

void hold_release_instead(struct hold *h, struct str (*choose)(void *ctx, struct str payload),
                          void *ctx)
{
    struct instead in = {hold_open(h->r, h->account), choose, ctx};

    for (uint32_t i = 0; i < h->nparts; i++)
        each_frame(h, &h->parts[i]->out, frame_instead, &in);
    if (h->runs != NULL)
        for (uint32_t w = 0; w < h->r->workers; w++)
            run_each(&h->runs[w], record_instead, &in);
    free_hold(h);
    hold_release(in.to);
}

void hold_drop(struct hold *h)
{
    free_hold(h);
}
