/*
 * test_store_crash.c - power cuts at sync points of a random run.
 *
 * The run appends to a few streams, removes, purges, changes objects, with log files of half a
 * megabyte, so that switching, recycling, sealing and releasing all happen. At sync points the
 * machine is forked, the fork loses power, and what its recovery finds is held against what the run
 * knows: everything that was said to be committed is there with its bytes and nothing else, what
 * was said to be removed is gone, objects have at least the state that was said to be durable. Then
 * the fork is used, closed and opened again.
 */
#include "lib/base/bytes.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAMS 4
#define SEQS 60000u

enum fate { STAYS, MAY_GO, GONE };

struct model {
    struct rig_stream t;
    char name[16];
    struct store_limits limits;
    uint16_t *size;   /* by sequence */
    uint8_t *subject; /* by sequence */
    uint8_t *fate;    /* by sequence: removal asked for, removal durable */
    uint32_t *group;  /* by sequence: where its group ends, 0 = none */
    uint64_t assigned;
    bool busy_purge;
    struct rig_req purge;
    uint64_t purge_below;
    int purge_subject; /* -1 = all */
};

struct removal {
    struct rig_req req;
    struct model *m;
    uint64_t seq;
};

struct box {
    store_object_id id;
    uint64_t given, durable;
    struct rig_req req;
    uint64_t waiting; /* value that req stands for; 0 = none */
};

struct run {
    struct sim *sim;
    struct rig r;
    struct model m[STREAMS];
    struct box box[3];
    struct removal removals[64];
    uint64_t seed;
    uint64_t points, forks, every;
    bool quiet; /* no forks now */
};

static void payload_of(uint64_t stream, uint64_t seq, char *out, size_t n)
{
    rig_payload(seq + 7 * stream, out, n);
}

/* ---- the judge ------------------------------------------------------------------------------- */

struct judge {
    struct run *run;
    struct rig r;
    struct rig_stream t[STREAMS];
    unsigned boxes;
};

static void on_judge_line(struct log *log, enum log_level level, const char *text)
{
    (void) log;
    if (level <= LOG_INFO && getenv("RIG_VERBOSE") != NULL)
        fprintf(stderr, "fork: %s\n", text);
}

/* May sequence seq be missing, must it be? last = what recovery found. */
static void expectation(const struct model *m, uint64_t seq, uint64_t last, bool *may_exist,
                        bool *may_miss)
{
    *may_exist = m->fate[seq] != GONE;
    *may_miss = m->fate[seq] != STAYS || seq > m->t.committed;
    if (m->limits.max_msgs != 0 && seq + m->limits.max_msgs <= last) {
        *may_exist = false;
        *may_miss = true;
    }
    if (m->limits.max_msgs_per_subject != 0) {
        uint64_t later = 0;
        for (uint64_t k = seq + 1; k <= last; k++)
            later += m->subject[k] == m->subject[seq];
        if (later >= m->limits.max_msgs_per_subject) {
            *may_exist = false;
            *may_miss = true;
        }
    }
}

static void judge_stream(struct judge *j, unsigned k)
{
    static char want[70000];
    const struct model *m = &j->run->m[k];
    struct rig_stream *t = &j->t[k];
    struct store_reader reader;
    struct store_state state;
    struct store_msg msg;
    uint64_t next, exists = 0;

    store_stream_state(t->s, &state);
    ck_assert_msg(state.last_seq >= m->t.committed && state.last_seq <= m->assigned,
                  "stream %u: last %llu, committed %llu, assigned %llu", k,
                  (unsigned long long) state.last_seq, (unsigned long long) m->t.committed,
                  (unsigned long long) m->assigned);
    ck_assert_msg(m->group[state.last_seq] <= state.last_seq,
                  "stream %u: recovered %llu of a group that ends at %u", k,
                  (unsigned long long) state.last_seq, m->group[state.last_seq]);
    ck_assert_uint_eq(state.lost_msgs, 0);
    ck_assert(!state.failed);
    uint8_t *seen = calloc(SEQS, 1);
    bool ready = false;
    store_reader_init(&reader, t->s, 1, NULL, 0, rig_on_ready, &ready);
    for (;;) {
        enum store_read result = store_reader_next(&reader, &msg);
        if (result == STORE_READ_END)
            break;
        if (result == STORE_READ_WAIT) {
            rig_wait(&j->r, &ready);
            ready = false;
            continue;
        }
        seen[msg.seq] = 1;
        exists++;
        payload_of(k, msg.seq, want, m->size[msg.seq]);
        ck_assert_msg(msg.payload.n == m->size[msg.seq] &&
                          memcmp(msg.payload.p, want, msg.payload.n) == 0,
                      "stream %u: message %llu has other bytes", k, (unsigned long long) msg.seq);
        ck_assert_uint_eq((uint64_t) msg.subject.p[2], '0' + (uint64_t) m->subject[msg.seq]);
    }
    store_reader_deinit(&reader);
    ck_assert_uint_eq(exists, state.msgs);
    for (next = 1; next <= state.last_seq; next++) {
        bool may_exist, may_miss;
        expectation(m, next, state.last_seq, &may_exist, &may_miss);
        ck_assert_msg(seen[next] ? may_exist : may_miss,
                      "stream %u: message %llu is %s (committed %llu, recovered %llu, fate %u)", k,
                      (unsigned long long) next, seen[next] ? "back" : "missing",
                      (unsigned long long) m->t.committed, (unsigned long long) state.last_seq,
                      m->fate[next]);
    }
    free(seen);
}

static void judge_object(void *ctx, const struct store_object_view *v)
{
    struct judge *j = ctx;

    for (unsigned k = 0; k < 3; k++) {
        const struct box *b = &j->run->box[k];
        if (b->id != v->id)
            continue;
        struct str last = v->ndeltas > 0 ? v->deltas[v->ndeltas - 1] : v->full;
        uint64_t value;
        memcpy(&value, last.p, sizeof(value));
        ck_assert_msg(value >= b->durable && value <= b->given, "object %u: %llu of %llu to %llu",
                      k, (unsigned long long) value, (unsigned long long) b->durable,
                      (unsigned long long) b->given);
        j->boxes |= 1u << k;
    }
}

static void attach_all(struct judge *j)
{
    j->boxes = 0;
    store_recovered_each(j->r.store, judge_object, j);
    for (unsigned k = 0; k < 3; k++)
        ck_assert_msg((j->boxes & (1u << k)) != 0 || j->run->box[k].durable == 0,
                      "object %u is gone", k);
    for (unsigned k = 0; k < STREAMS; k++)
        rig_attach(&j->r, &j->t[k], j->run->m[k].name);
    store_recovered_done(j->r.store);
    store_check(j->r.store);
}

static void judge(struct run *run, struct sim *fork)
{
    static struct judge j;
    struct rig_options options = run->r.options;
    struct store_state before, after;
    char why[256];

    memset(&j, 0, sizeof(j));
    j.run = run;
    options.sim = fork;
    options.cache_bytes = 1 << 20;
    j.r.options = options;
    snprintf(j.r.path, sizeof(j.r.path), "/data");
    j.r.log.line = on_judge_line;
    j.r.log.enabled = 63;
    enum err err = rig_try_start(&j.r, why);
    ck_assert_msg(err == ERR_OK, "recovery: %s", why);
    attach_all(&j);
    for (unsigned k = 0; k < STREAMS; k++)
        judge_stream(&j, k);
    rig_append(&j.t[0], 3, 100, 3);
    rig_flush(&j.t[0]);
    store_stream_state(j.t[0].s, &before);
    rig_stop(&j.r);
    rig_start(&j.r);
    rig_attach(&j.r, &j.t[0], run->m[0].name);
    store_recovered_done(j.r.store);
    store_stream_state(j.t[0].s, &after);
    ck_assert_uint_eq(before.msgs, after.msgs);
    ck_assert_uint_eq(before.last_seq, after.last_seq);
    rig_stop(&j.r);
}

static void at_point(void *ctx, struct sim *sim, uint64_t point)
{
    struct run *run = ctx;

    run->points++;
    if (run->quiet || run->points % run->every != 0)
        return;
    enum sim_crash mode = (enum sim_crash)(run->forks++ % SIM_CRASH_MODES);
    struct sim *fork = sim_fork(sim, mode, run->seed * 1000003 + point);
    if (getenv("RIG_VERBOSE") != NULL)
        fprintf(stderr, "fork at point %llu, mode %d\n", (unsigned long long) point, (int) mode);
    judge(run, fork);
    sim_close(fork);
}

/* ---- the run --------------------------------------------------------------------------------- */

/* The next message of the model; the bytes lie in `payload`. */
static struct store_append next_message(struct run *run, struct prng *rng, struct model *m,
                                        size_t largest, char *payload)
{
    static char subjects[10][4];
    uint64_t seq = ++m->assigned;
    size_t size = prng_below(rng, largest);

    m->subject[seq] = (uint8_t) prng_below(rng, 10);
    m->size[seq] = (uint16_t) size;
    snprintf(subjects[m->subject[seq]], sizeof(subjects[0]), "s.%u", m->subject[seq]);
    payload_of((uint64_t) (m - run->m), seq, payload, size);
    return (struct store_append){.subject = str_of(subjects[m->subject[seq]]),
                                 .payload = str_from(payload, size),
                                 .ts = io_wall(run->r.io)};
}

static void some_appends(struct run *run, struct prng *rng)
{
    static char payload[70000];
    struct model *m = &run->m[prng_below(rng, STREAMS)];
    uint64_t n = prng_below(rng, 20) == 0 ? 400 : 1 + prng_below(rng, 12), got;

    while (n-- > 0 && m->assigned + 2 < SEQS) {
        struct store_append a = next_message(run, rng, m, prng_below(rng, 100) == 0 ? 60000 : 600,
                                             payload);
        ck_assert_int_eq(store_append(m->t.s, &a, &got), ERR_OK);
        ck_assert_uint_eq(got, m->assigned);
    }
}

static void a_group(struct run *run, struct prng *rng)
{
    static char payload[64][4096];
    struct store_append a[64];
    struct model *m = &run->m[prng_below(rng, STREAMS)];
    uint64_t n = 1 + prng_below(rng, 64), first = m->assigned + 1, got;

    if (m->assigned + n + 2 >= SEQS)
        return;
    for (uint64_t i = 0; i < n; i++) {
        a[i] = next_message(run, rng, m, sizeof(payload[0]), payload[i]);
        m->group[first + i] = (uint32_t) (first + n - 1);
    }
    ck_assert_int_eq(store_append_group(m->t.s, a, n, &got), ERR_OK);
    ck_assert_uint_eq(got, first);
}

/* A batch of Kafka's: of each message u16 size and payload. */
static void a_kafka_batch(struct run *run, struct prng *rng)
{
    static char batch[128 << 10];
    struct model *m = &run->m[prng_below(rng, STREAMS)];
    uint64_t n = 1 + prng_below(rng, 200), first = m->assigned + 1, got;
    struct store_kafka_append a = {.messages = (uint32_t) n, .ts = io_wall(run->r.io)};
    uint8_t *stored;
    size_t at = 0;

    if (m->assigned + n + 2 >= SEQS)
        return;
    for (uint64_t i = 0; i < n; i++) {
        struct store_append one = next_message(run, rng, m, 600, batch + at + 2);
        if (i == 0)
            a.subject = one.subject;
        m->subject[first + i] = m->subject[first];
        m->group[first + i] = (uint32_t) (first + n - 1);
        put_u16(batch + at, (uint16_t) one.payload.n);
        at += 2 + one.payload.n;
    }
    a.batch = str_from(batch, at);
    ck_assert_int_eq(store_append_kafka(m->t.s, &a, &got, &stored), ERR_OK);
    ck_assert_uint_eq(got, first);
}

static bool decode_batch(struct str subject, struct str batch, uint64_t first_seq,
                         uint32_t messages, store_kafka_put_fn put, void *to)
{
    (void) subject;
    (void) first_seq;
    for (uint32_t i = 0; i < messages; i++) {
        size_t n = get_u16(batch.p);
        if (!put(to, i, STR_NONE, str_from(batch.p + 2, n)))
            break;
        batch = str_skip(batch, n + 2);
    }
    return true;
}

static void removal_done(struct store_req *req, enum err err)
{
    struct removal *r = CONTAINER_OF(req, struct removal, req.req);

    ck_assert_int_eq(err, ERR_OK);
    r->m->fate[r->seq] = GONE;
    r->req.done = true;
    r->m = NULL;
}

static void some_removal(struct run *run, struct prng *rng)
{
    struct model *m = &run->m[0];

    if (m->t.committed == 0)
        return;
    for (unsigned i = 0; i < 64; i++) {
        struct removal *r = &run->removals[i];
        if (r->m != NULL)
            continue;
        r->seq = 1 + prng_below(rng, m->t.committed);
        rig_req_init(&r->req);
        r->req.req.done = removal_done;
        r->m = m;
        uint8_t before = m->fate[r->seq];
        if (before == STAYS)
            m->fate[r->seq] = MAY_GO;
        if (store_remove(m->t.s, r->seq, false, &r->req.req) != ERR_OK) {
            r->m = NULL;
            m->fate[r->seq] = before;
        }
        return;
    }
}

static void purge_done(struct store_req *req, enum err err)
{
    struct model *m = CONTAINER_OF(req, struct model, purge.req);

    ck_assert_int_eq(err, ERR_OK);
    for (uint64_t seq = 1; seq < m->purge_below; seq++)
        if (m->purge_subject < 0 || m->subject[seq] == m->purge_subject)
            m->fate[seq] = GONE;
    m->busy_purge = false;
}

static void some_purge(struct run *run, struct prng *rng)
{
    struct model *m = &run->m[0];
    char subject[4] = "s.0";
    struct store_purge p = {0};

    if (m->busy_purge || m->t.committed == 0)
        return;
    m->purge_below = 1 + prng_below(rng, m->t.committed);
    m->purge_subject = prng_below(rng, 2) ? -1 : (int) prng_below(rng, 10);
    p.before_seq = m->purge_below;
    if (m->purge_subject >= 0) {
        subject[2] = (char) ('0' + m->purge_subject);
        p.filter = str_of(subject);
    }
    for (uint64_t seq = 1; seq < m->purge_below; seq++)
        if ((m->purge_subject < 0 || m->subject[seq] == m->purge_subject) && m->fate[seq] == STAYS)
            m->fate[seq] = MAY_GO;
    rig_req_init(&m->purge);
    m->purge.req.done = purge_done;
    m->busy_purge = true;
    store_purge(m->t.s, &p, &m->purge.req);
}

static void render_box(void *ctx, store_object_id id, struct buf *out)
{
    struct box *b = ctx;

    ck_assert_uint_eq(id, b->id);
    buf_put(out, &b->given, sizeof(b->given));
    for (int i = 0; i < 30; i++)
        buf_puts(out, "some more state, ");
}

static void box_done(struct store_req *req, enum err err)
{
    struct box *b = CONTAINER_OF(req, struct box, req.req);

    ck_assert_int_eq(err, ERR_OK);
    b->durable = b->waiting;
    b->waiting = 0;
}

static void some_object(struct run *run, struct prng *rng)
{
    struct box *b = &run->box[prng_below(rng, 3)];
    struct store_req *req = NULL;

    b->given++;
    if (b->waiting == 0 && prng_below(rng, 3) == 0) {
        rig_req_init(&b->req);
        b->req.req.done = box_done;
        b->waiting = b->given;
        req = &b->req.req;
    }
    store_object_delta(run->r.store, b->id, str_from(&b->given, sizeof(b->given)), req);
}

static void begin_run(struct run *run, uint64_t seed)
{
    /* Every other run reads its indexes of subjects after the start. */
    struct rig_options options = {.log_file_bytes = 512 << 10,
                                  .index_lazy_bytes = seed % 2,
                                  .segment_min = 64 << 10,
                                  .segment_max = 512 << 10,
                                  .cache_bytes = 64 << 10,
                                  .ride_ns = 5000000,
                                  .kafka_decode = decode_batch};

    run->seed = seed;
    run->sim = options.sim = sim_open(seed, NULL);
    run->quiet = true;
    run->every = 1;
    rig_init(&run->r, &options);
    for (unsigned k = 0; k < STREAMS; k++) {
        struct model *m = &run->m[k];
        m->size = calloc(SEQS, sizeof(*m->size));
        m->subject = calloc(SEQS, 1);
        m->fate = calloc(SEQS, 1);
        m->group = calloc(SEQS, sizeof(*m->group));
        snprintf(m->name, sizeof(m->name), "stream-%u.", k);
        if (k == 1)
            m->limits.max_msgs = 300;
        if (k == 2)
            m->limits.max_msgs_per_subject = 1 + seed % 3;
        rig_create(&run->r, &m->t, m->name, STORE_DURABLE, &m->limits);
    }
    for (unsigned k = 0; k < 3; k++) {
        struct box *b = &run->box[k];
        b->given = b->waiting = 1;
        rig_req_init(&b->req);
        b->req.req.done = box_done;
        b->id = store_object_create(run->r.store, 20, k == 0 ? run->m[0].t.id : 0,
                                    str_from(&b->given, sizeof(b->given)), render_box, b,
                                    &b->req.req);
    }
    if (getenv("STORE_LIE") != NULL) /* by hand: does the judge see it? */
        sim_lie(run->sim, (unsigned) strtoul(getenv("STORE_LIE"), NULL, 10));
    sim_on_sync_point(run->sim, at_point, run);
}

static void end_run(struct run *run)
{
    run->quiet = true;
    rig_settle(&run->r);
    rig_stop(&run->r);
    sim_close(run->sim);
    for (unsigned k = 0; k < STREAMS; k++) {
        free(run->m[k].size);
        free(run->m[k].subject);
        free(run->m[k].fate);
        free(run->m[k].group);
    }
}

TEST(power_cuts)
{
    static struct run run;
    const char *chosen = getenv("STORE_SEED");
    struct prng *rng;

    memset(&run, 0, sizeof(run));
    begin_run(&run, chosen != NULL ? strtoull(chosen, NULL, 10) : (uint64_t) i + 1);
    rng = sim_rng(run.sim);
    run.every = 23;
    run.quiet = false;
    for (unsigned step = 0; step < 1500; step++) {
        switch (prng_below(rng, 24)) {
        case 0:
        case 1:
            some_removal(&run, rng);
            break;
        case 2:
            if (prng_below(rng, 8) == 0)
                some_purge(&run, rng);
            break;
        case 3:
        case 4:
        case 5:
            some_object(&run, rng);
            break;
        case 6:
        case 7:
            a_group(&run, rng);
            break;
        case 8:
        case 9:
            a_kafka_batch(&run, rng);
            break;
        default:
            some_appends(&run, rng);
        }
        for (uint64_t turns = prng_below(rng, 6); turns > 0; turns--)
            rig_step(&run.r);
    }
    for (unsigned k = 0; k < STREAMS; k++)
        rig_flush(&run.m[k].t);
    store_check(run.r.store);
    ck_assert_uint_gt(run.forks, 20);
    if (getenv("RIG_VERBOSE") != NULL) {
        struct store_stats st;
        store_stats(run.r.store, &st);
        fprintf(stderr, "%llu points, %llu forks, %llu log frames of %llu bytes, %llu commits\n",
                (unsigned long long) run.points, (unsigned long long) run.forks,
                (unsigned long long) st.log_commits, (unsigned long long) st.log_bytes,
                (unsigned long long) st.commits);
    }
    end_run(&run);
}

static const struct runner_case cases[] = {
    RUN_LOOP(power_cuts, 0, 8),
};

RUNNER_MAIN("store/store_crash", cases)
