/*
 * sim_retention.c - random histories of a stream with consumers, on the whole server in the
 * simulator, against the plain model of retention_model.h.
 *
 *     sim_retention                 200 histories of all three retentions; then each planted bug
 *                                   must be found within them
 *     sim_retention --seeds N       N histories (--from F: from F on), no planted bugs
 *     sim_retention --seed S [-v]   exactly this one; -v prints every step
 *     sim_retention --plant P       with bug P planted (1 to 5): a clean run is a hole
 *
 * A history: a stream (retention, limits, storage drawn), up to three consumers that come and go,
 * messages published, pulled, acknowledged, refused, terminated, deleted, purged; limits that
 * change, time that passes in ticks of 10 s, clean restarts, kills and power cuts (with all the
 * ways in which a disk may lose what was not synced), after which the wall clock may have jumped
 * and time may have passed. Every step is finished before the next one begins; after every step the
 * infos of the stream and of all consumers must say what the model says, to the number.
 *
 * A cut comes when what was answered has had the time that a server may take to write what nobody
 * waited for (deliveries). What was in flight is sim_server's subject.
 *
 * The bugs are planted by the linker (--wrap): functions of the server that lie, in this program
 * alone.
 */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/wire/ack_subject.h"
#include "server/config/options.h"
#include "server/core/account.h"
#include "server/js/consumer_core.h"
#include "server/js/consumer_int.h"
#include "server/js/consumer_state.h"
#include "server/parts.h"
#include "tests/lib/sink_probe.h"
#include "tests/model/retention_model.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_mem.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HISTORIES 200
#define STEPS 70
#define LOOPS_MAX 4000000u
#define TICK_NS 10000000000u
#define PLANTS 5
/* What rides with the next write of the log is written by then. */
#define WRITTEN_NS 400000000u

static unsigned plant;

/* ---- planted bugs ---------------------------------------------------------------------------- */

struct consumer;
struct stream;

bool __real_consumer_needs(const struct consumer *c, uint64_t seq, struct str subject);
bool __wrap_consumer_needs(const struct consumer *c, uint64_t seq, struct str subject);
void __real_consumer_core_removed(struct consumer_core *c, uint64_t first, uint64_t last);
void __wrap_consumer_core_removed(struct consumer_core *c, uint64_t first, uint64_t last);
void __real_consumer_core_appended(struct consumer_core *c, uint64_t n);
void __wrap_consumer_core_appended(struct consumer_core *c, uint64_t n);
void __real_consumer_state_take_log(struct consumer_core *c, struct buf *out);
void __wrap_consumer_state_take_log(struct consumer_core *c, struct buf *out);
void __real_stream_acked(struct stream *s, struct consumer *by, uint64_t first, uint64_t last);
void __wrap_stream_acked(struct stream *s, struct consumer *by, uint64_t first, uint64_t last);

/* 1: some messages are not needed although they are. */
bool __wrap_consumer_needs(const struct consumer *c, uint64_t seq, struct str subject)
{
    return (plant != 1 || seq % 4 != 0) && __real_consumer_needs(c, seq, subject);
}

/* 2: a removed message stays pending. */
void __wrap_consumer_core_removed(struct consumer_core *c, uint64_t first, uint64_t last)
{
    if (plant != 2 || first % 5 != 0)
        __real_consumer_core_removed(c, first, last);
}

/* 3: the eleventh message is not counted. */
void __wrap_consumer_core_appended(struct consumer_core *c, uint64_t n)
{
    __real_consumer_core_appended(c, plant == 3 && c->num_pending == 10 ? n - 1 : n);
}

/* 4: what is said about a message with a high delivery count is forgotten by a restart. */
void __wrap_consumer_state_take_log(struct consumer_core *c, struct buf *out)
{
    size_t n = out->n;

    __real_consumer_state_take_log(c, out);
    if (plant == 4 && c->num_redelivered > 2)
        out->n = n;
}

/* 5: some acknowledged messages are left behind. */
void __wrap_stream_acked(struct stream *s, struct consumer *by, uint64_t first, uint64_t last)
{
    if (plant != 5 || last % 8 != 0)
        __real_stream_acked(s, by, first, last);
}

/* ---- the machine ----------------------------------------------------------------------------- */

struct history {
    uint64_t seed;
    bool verbose;
    unsigned step;
    struct prng rng;
    struct model model;
    bool memory;
    struct sim *sim;
    struct sim_arena *arena; /* of the server that runs */
    struct options options;
    struct server_parts parts;
    bool stopped;
    struct sink_probe in;
    unsigned asked;
    char want[32];  /* the reply subject that is waited for */
    struct buf got; /* header and payload of the answer */
    bool answered;
    struct m_consumer *puller; /* whose deliveries come */
    unsigned left;
};

static _Noreturn void fail(struct history *h, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static _Noreturn void fail(struct history *h, const char *format, ...)
{
    va_list args;

    if (plant == 0 || h->verbose) {
        fprintf(stderr, "sim_retention: seed %llu, step %u: ", (unsigned long long) h->seed,
                h->step);
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        fprintf(stderr, "\n");
    }
    _exit(1);
}

static void take_delivery(struct history *h, const struct msg *m)
{
    struct ack_subject ack;
    const char *wrong;

    if (!ack_subject_parse(m->reply, &ack))
        fail(h, "a delivery replies to %.*s", STR_ARG(m->reply));
    if (h->verbose)
        fprintf(stderr, "    got %llu (%llu)\n", (unsigned long long) ack.info.stream_seq,
                (unsigned long long) ack.info.delivered);
    wrong = m_delivered(&h->model, h->puller, ack.info.stream_seq, (unsigned) ack.info.delivered,
                        ack.info.consumer_seq, ack.info.pending);
    if (wrong != NULL)
        fail(h, "delivery of %.*s: %s", STR_ARG(m->reply), wrong);
    if (--h->left == 0)
        h->answered = true;
}

static void on_msg(struct sink_probe *p, const struct msg *m)
{
    struct history *h = p->ctx;

    if (h->puller != NULL && m->reply.n > 0) {
        take_delivery(h, m);
        return;
    }
    if (!str_eq(m->subject, str_of(h->want)))
        fail(h, "%.*s came, not %s", STR_ARG(m->subject), h->want);
    buf_clear(&h->got);
    buf_put_str(&h->got, m->header);
    buf_put_str(&h->got, m->payload);
    h->answered = true;
}

static int open_io(void *ctx, unsigned worker, struct io **out)
{
    (void) worker;
    *out = sim_io_open(((struct history *) ctx)->sim, NULL);
    return 0;
}

static void boot(struct history *h)
{
    struct server_parts_options o = {
        .options = &h->options,
        .log = sim_log(h->sim),
        .server_id = "NTEST",
        .version = "2.15.0",
        .workers = 1,
        .seed = 1,
        .workers_seed = 2,
        .open_io = open_io,
        .ctx = h,
        .store_seed = 3,
    };
    char why[256];

    json_set_alloc_funcs(mem_alloc, mem_free);
    h->arena = sim_arena_open();
    sim_arena_use(h->arena);
    h->stopped = false;
    memset(&h->parts, 0, sizeof(h->parts));
    options_init(&h->options);
    h->options.jetstream = true;
    h->options.pool_bytes = 0;
    io_config_init(&o.io);
    if (!parts_open_workers(&h->parts, &o, why) || !parts_open_jetstream(&h->parts, "/data", why))
        fail(h, "%s", why);
    sink_probe_open(&h->in, &(struct sink_probe_options){
                                .router = worker_group_get(h->parts.workers, 0)->env.router,
                                .account = h->parts.account,
                                .pattern = "in.*",
                            });
    h->in.on_msg = on_msg;
    h->in.ctx = h;
}

static bool turn(struct history *h, uint64_t max_wait_ns)
{
    struct io *io = sim_next(h->sim, max_wait_ns);
    struct worker *w = worker_group_get(h->parts.workers, 0);

    worker_step(w, 0);
    if (w->busy)
        sim_want(w->env.io);
    ask_all_reap(h->parts.workers);
    return io != NULL;
}

static void pass(struct history *h, uint64_t ns)
{
    uint64_t end = sim_now(h->sim) + ns;

    while (sim_now(h->sim) < end)
        turn(h, end - sim_now(h->sim));
    sink_probe_clear(&h->in);
}

/* Nothing of the server's memory is there any more; the last answer was in it. */
static void vanish(struct history *h)
{
    h->got = (struct buf){0};
    sim_arena_use(NULL);
    sim_arena_close(h->arena);
    h->arena = NULL;
}

static void all_stopped(struct server_parts *p)
{
    CONTAINER_OF(p, struct history, parts)->stopped = true;
}

static void halt(struct history *h)
{
    sink_probe_free(&h->in);
    parts_stop(&h->parts, all_stopped);
    for (unsigned i = 0; !h->stopped; i++) {
        if (i == LOOPS_MAX)
            fail(h, "the server does not stop");
        turn(h, 1000000);
    }
    parts_close(&h->parts);
    options_free(&h->options);
    vanish(h);
}

/* Asks and waits for the answer (with a puller: for its deliveries, or a status). */
static const char *ask(struct history *h, const char *subject, const char *body)
{
    struct worker *w = worker_group_get(h->parts.workers, 0);
    struct msg msg = {.subject = str_of(subject), .payload = str_of(body)};

    snprintf(h->want, sizeof(h->want), "in.%u", ++h->asked);
    msg.reply = str_of(h->want);
    h->answered = false;
    if (h->verbose)
        fprintf(stderr, "  %s %s\n", subject, body);
    route_publish(w->env.router, h->parts.account, &msg);
    route_flush(w->env.router);
    for (unsigned i = 0; !h->answered; i++) {
        if (i == LOOPS_MAX)
            fail(h, "%s %s: no answer", subject, body);
        turn(h, 1000000);
    }
    return buf_cstr(&h->got);
}

static void must(struct history *h, const char *subject, const char *body, const char *want)
{
    const char *answer = ask(h, subject, body);

    if (answer == NULL || strstr(answer, want) == NULL)
        fail(h, "%s %s: %s", subject, body, answer != NULL ? answer : "nothing");
}

/* ---- comparing ------------------------------------------------------------------------------- */

static uint64_t number(struct history *h, json_t *o, const char *where, const char *name)
{
    json_t *v = json_object_get(where != NULL ? json_object_get(o, where) : o, name);

    if (!json_is_integer(v))
        fail(h, "an info without %s", name);
    return (uint64_t) json_integer_value(v);
}

static json_t *info(struct history *h, const char *subject)
{
    json_t *o = json_loads(ask(h, subject, ""), 0, NULL);

    if (o == NULL || json_object_get(o, "error") != NULL)
        fail(h, "%s: %s", subject, buf_cstr(&h->got));
    return o;
}

static void same(struct history *h, const char *what, uint64_t is, uint64_t should)
{
    if (is != should)
        fail(h, "%s is %llu, should be %llu", what, (unsigned long long) is,
             (unsigned long long) should);
}

static void compare_stream(struct history *h)
{
    json_t *o = info(h, "$JS.API.STREAM.INFO.S");

    same(h, "messages", number(h, o, "state", "messages"), m_count(&h->model));
    same(h, "last_seq", number(h, o, "state", "last_seq"), h->model.last);
    if (h->model.last > 0)
        same(h, "first_seq", number(h, o, "state", "first_seq"), m_first(&h->model));
    json_decref(o);
}

static void compare_consumer(struct history *h, unsigned i)
{
    const struct m_consumer *c = &h->model.consumers[i];
    char subject[64];
    json_t *o;

    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.INFO.S.C%u", i);
    o = info(h, subject);
    same(h, "num_pending", number(h, o, NULL, "num_pending"), m_pending(&h->model, c));
    same(h, "num_ack_pending", number(h, o, NULL, "num_ack_pending"), m_ack_pending(c));
    if (c->max_deliver != 1)
        same(h, "num_redelivered", number(h, o, NULL, "num_redelivered"), m_redelivered(c));
    same(h, "delivered", number(h, o, "delivered", "consumer_seq"), c->delivered);
    same(h, "delivered.stream", number(h, o, "delivered", "stream_seq"), c->next - 1);
    same(h, "ack_floor", number(h, o, "ack_floor", "consumer_seq"), c->floor_c);
    same(h, "ack_floor.stream", number(h, o, "ack_floor", "stream_seq"), c->floor_s);
    json_decref(o);
}

static bool is_sweeping(struct history *h)
{
    const struct worker *w = worker_group_get(h->parts.workers, 0);
    const struct stream *s = js_stream_find(w->env.jetstream->of[0], STR("S"));
    uint64_t first, last;

    return s != NULL && seqset_bounds(&s->sweep.check, &first, &last);
}

/* A step is finished when what it began is: a sweep may have to read from the disk. */
static void finish(struct history *h)
{
    pass(h, 20000000);
    for (unsigned i = 0; is_sweeping(h); i++) {
        if (i == 100)
            fail(h, "a sweep does not end");
        pass(h, 20000000);
    }
}

static void compare(struct history *h)
{
    finish(h);
    compare_stream(h);
    for (unsigned i = 0; i < M_CONSUMERS; i++)
        if (h->model.consumers[i].exists)
            compare_consumer(h, i);
}

/* ---- what clients do ------------------------------------------------------------------------- */

static unsigned draw(struct history *h, unsigned n)
{
    return (unsigned) prng_below(&h->rng, n);
}

static void do_publish(struct history *h)
{
    char subject[16], want[32];

    for (unsigned n = 1 + draw(h, 6); n > 0 && h->model.last + 2 < M_SEQS; n--) {
        unsigned s = draw(h, M_SUBJECTS);
        m_publish(&h->model, s);
        snprintf(subject, sizeof(subject), "s.%u", s);
        snprintf(want, sizeof(want), "\"seq\":%llu}", (unsigned long long) h->model.last);
        must(h, subject, "x", want);
    }
}

static void do_pull(struct history *h, unsigned i)
{
    struct m_consumer *c = &h->model.consumers[i];
    char subject[64], body[96];
    unsigned batch = 1 + draw(h, 8);

    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.S.C%u", i);
    snprintf(body, sizeof(body), "{\"batch\":%u,\"expires\":5000000}", batch);
    h->puller = c;
    h->left = batch;
    ask(h, subject, body);
    h->puller = NULL;
    if (h->left > 0 && m_more(&h->model, c))
        fail(h, "C%u: %u of %u messages, and there are more", i, batch - h->left, batch);
}

/* One that is pending, or was, or never was. */
static uint64_t draw_seq(struct history *h, const struct m_consumer *c)
{
    for (unsigned tries = 0; tries < 20; tries++) {
        uint64_t seq = 1 + draw(h, (unsigned) h->model.last + 2);
        if (c->pend[seq].there || c->given_up[seq])
            return seq;
    }
    return 1 + draw(h, (unsigned) h->model.last + 2);
}

static void do_ack(struct history *h, unsigned i)
{
    struct m_consumer *c = &h->model.consumers[i];
    static const char *const bodies[] = {"", "", "", "-NAK", "-NAK 15s", "+WPI", "+TERM"};
    unsigned kind = draw(h, ARRAY_LEN(bodies));
    uint64_t seq = draw_seq(h, c);
    char subject[96];

    snprintf(subject, sizeof(subject), "$JS.ACK.S.C%u.1.%llu.1.1.0", i, (unsigned long long) seq);
    if (kind < 3 || kind == 6)
        m_ack(&h->model, c, seq);
    else if (kind < 5)
        m_nak(&h->model, c, seq, kind == 4);
    else
        m_working(&h->model, c, seq);
    must(h, subject, bodies[kind], "");
}

static void do_create(struct history *h, unsigned i)
{
    bool queue = h->model.retention == M_WORKQUEUE;
    bool from_new = !queue && draw(h, 3) == 0;
    unsigned subjects = queue || draw(h, 2) == 0 ? 1u << i : 7u;
    struct m_consumer *c = m_create(&h->model, i, subjects, from_new);
    char subject[64], body[512], filter[64] = "";

    c->ack_all = !queue && draw(h, 4) == 0;
    c->max_deliver = draw(h, 2) == 0 ? 0 : 1 + draw(h, 3);
    c->max_ack_pending = draw(h, 3) == 0 ? 3 : 1000;
    if (subjects != 7)
        snprintf(filter, sizeof(filter), ",\"filter_subject\":\"s.%u\"", i);
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.DURABLE.CREATE.S.C%u", i);
    snprintf(body, sizeof(body),
             "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C%u\",\"ack_policy\":\"%s\","
             "\"deliver_policy\":\"%s\",\"max_deliver\":%d,\"max_ack_pending\":%u,"
             "\"ack_wait\":25000000000%s}}",
             i, c->ack_all ? "all" : "explicit", from_new ? "new" : "all",
             c->max_deliver > 0 ? (int) c->max_deliver : -1, c->max_ack_pending, filter);
    must(h, subject, body, "\"created\"");
}

static void do_delete(struct history *h, unsigned i)
{
    char subject[64];

    m_delete(&h->model, i);
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.DELETE.S.C%u", i);
    must(h, subject, "", "\"success\":true");
}

static void do_reset(struct history *h, unsigned i)
{
    struct m_consumer *c = &h->model.consumers[i];
    char subject[64], want[64];

    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.RESET.S.C%u", i);
    snprintf(want, sizeof(want), "\"reset_seq\":%llu", (unsigned long long) c->floor_s + 1);
    m_reset(&h->model, c, c->floor_s + 1);
    must(h, subject, "", want);
}

static void do_remove(struct history *h)
{
    uint64_t seq = 1 + draw(h, (unsigned) h->model.last + 1);
    char body[32];

    snprintf(body, sizeof(body), "{\"seq\":%llu}", (unsigned long long) seq);
    must(h, "$JS.API.STREAM.MSG.DELETE.S", body,
         seq <= h->model.last && h->model.msgs[seq].there ? "\"success\":true" : "\"error\"");
    if (seq <= h->model.last)
        m_remove(&h->model, seq);
}

static void do_purge(struct history *h)
{
    unsigned s = draw(h, M_SUBJECTS), keep = draw(h, 3);
    uint64_t before = 1 + draw(h, (unsigned) h->model.last + 1);
    char body[96];

    switch (draw(h, 4)) {
    case 0:
        m_purge(&h->model, 7, UINT64_MAX, 0);
        must(h, "$JS.API.STREAM.PURGE.S", "", "\"success\":true");
        break;
    case 1:
        snprintf(body, sizeof(body), "{\"filter\":\"s.%u\"}", s);
        m_purge(&h->model, 1u << s, UINT64_MAX, 0);
        must(h, "$JS.API.STREAM.PURGE.S", body, "\"success\":true");
        break;
    case 2:
        snprintf(body, sizeof(body), "{\"filter\":\"s.%u\",\"keep\":%u}", s, keep + 1);
        m_purge(&h->model, 1u << s, UINT64_MAX, keep + 1);
        must(h, "$JS.API.STREAM.PURGE.S", body, "\"success\":true");
        break;
    default:
        snprintf(body, sizeof(body), "{\"seq\":%llu}", (unsigned long long) before);
        m_purge(&h->model, 7, before, 0);
        must(h, "$JS.API.STREAM.PURGE.S", body, "\"success\":true");
        break;
    }
}

static const char *const retentions[] = {"limits", "interest", "workqueue"};

static void put_stream(struct history *h, char body[512])
{
    snprintf(body, 512,
             "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"retention\":\"%s\",\"storage\":\"%s\","
             "\"max_msgs\":%d,\"max_age\":%llu,\"duplicate_window\":1000000000}",
             retentions[h->model.retention], h->memory ? "memory" : "file",
             h->model.max_msgs > 0 ? (int) h->model.max_msgs : -1,
             h->model.ages ? 55000000000llu : 0llu);
}

static void do_limit(struct history *h)
{
    char body[512];

    m_set_max(&h->model, draw(h, 2) == 0 ? 0 : 5 + draw(h, 20));
    put_stream(h, body);
    must(h, "$JS.API.STREAM.UPDATE.S", body, "\"config\"");
}

static void do_time(struct history *h)
{
    for (unsigned n = 1 + draw(h, 3); n > 0; n--) {
        if (h->verbose)
            fprintf(stderr, "  tick\n");
        pass(h, TICK_NS);
        m_tick(&h->model);
    }
}

/* The server starts again, at once or later, by a clock that may have been set forward. */
static void boot_later(struct history *h)
{
    unsigned ticks = draw(h, 3) == 0 ? draw(h, 5) : 0;
    unsigned jump = draw(h, 4) == 0 ? draw(h, 5) : 0;
    uint64_t end = sim_now(h->sim) + ticks * (uint64_t) TICK_NS;

    if (h->verbose && ticks + jump > 0)
        fprintf(stderr, "  %u ticks later, the clock %u ahead\n", ticks, jump);
    while (sim_now(h->sim) < end)
        sim_next(h->sim, end - sim_now(h->sim));
    sim_jump_wall(h->sim, (int64_t) jump * TICK_NS);
    boot(h);
    m_restart(&h->model, ticks, jump);
}

static void do_restart(struct history *h)
{
    if (h->memory)
        return;
    if (h->verbose)
        fprintf(stderr, "  restart\n");
    halt(h);
    boot_later(h);
}

/* Power fails, or the server is killed. */
static void do_cut(struct history *h)
{
    enum sim_crash mode = (enum sim_crash) draw(h, SIM_CRASH_MODES + 1);

    if (h->memory)
        return;
    if (h->verbose)
        fprintf(stderr, "  cut %u\n", (unsigned) mode);
    pass(h, WRITTEN_NS);
    sim_crash(h->sim, mode);
    vanish(h);
    boot_later(h);
}

/* ---- a history ------------------------------------------------------------------------------- */

static void step(struct history *h)
{
    unsigned i = draw(h, M_CONSUMERS);
    bool exists = h->model.consumers[i].exists;
    unsigned what = draw(h, 100);

    if (what < 22)
        do_publish(h);
    else if (!exists)
        do_create(h, i);
    else if (what < 50)
        do_pull(h, i);
    else if (what < 78)
        do_ack(h, i);
    else if (what < 82)
        do_remove(h);
    else if (what < 85)
        do_purge(h);
    else if (what < 88)
        do_limit(h);
    else if (what < 93)
        do_time(h);
    else if (what < 95)
        do_restart(h);
    else if (what < 97)
        do_cut(h);
    else if (what < 99)
        do_reset(h, i);
    else
        do_delete(h, i);
}

static void run(uint64_t seed, bool verbose)
{
    struct history h = {.seed = seed, .verbose = verbose};
    char body[512];

    prng_init(&h.rng, seed);
    h.sim = sim_open(seed, NULL);
    h.model.retention = (enum m_retention) draw(&h, 3);
    h.model.ages = draw(&h, 3) == 0;
    h.memory = draw(&h, 5) == 0;
    boot(&h);
    put_stream(&h, body);
    must(&h, "$JS.API.STREAM.CREATE.S", body, "\"did_create\":true");
    for (h.step = 1; h.step <= STEPS; h.step++) {
        step(&h);
        compare(&h);
    }
    halt(&h);
    sim_close(h.sim);
}

/* In a process of its own: did it come to its end? */
static bool survives(uint64_t seed)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        if (plant != 0)
            alarm(60);
        run(seed, false);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool all_survive(uint64_t from, uint64_t n)
{
    unsigned bad = 0;

    for (uint64_t seed = from; seed < from + n; seed++)
        if (!survives(seed)) {
            fprintf(stderr, "sim_retention: seed %llu failed\n", (unsigned long long) seed);
            bad++;
        }
    printf("sim_retention: %llu histories, %u failed\n", (unsigned long long) n, bad);
    return bad == 0;
}

static bool is_found(unsigned p)
{
    plant = p;
    for (uint64_t seed = 1; seed <= HISTORIES; seed++)
        if (!survives(seed)) {
            printf("sim_retention: bug %u found by history %llu\n", p, (unsigned long long) seed);
            return true;
        }
    fprintf(stderr, "sim_retention: bug %u was not found\n", p);
    return false;
}

int main(int argc, char **argv)
{
    uint64_t seeds = 0, from = 1, seed = 0;
    bool verbose = false, ok = true;

    setvbuf(stdout, NULL, _IOLBF, 0);
    sim_mem_keep();
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0)
            verbose = true;
        else if (i + 1 == argc)
            return 2;
        else if (strcmp(argv[i], "--seeds") == 0)
            seeds = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--from") == 0)
            from = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--plant") == 0)
            plant = (unsigned) strtoul(argv[++i], NULL, 10);
    }
    if (seed != 0) {
        run(seed, verbose);
        return 0;
    }
    ok = all_survive(from, seeds != 0 ? seeds : HISTORIES);
    for (unsigned p = 1; p <= PLANTS && seeds == 0 && ok; p++)
        ok &= is_found(p);
    return ok ? 0 : 1;
}
