/*
 * test_power.c - the whole server on a file system that loses power.
 *
 * A round: start, compare everything with the ledgers, then load (publishes with and without large
 * payloads, a key-value bucket, a work queue, a consumer with double acks, removals) until power
 * fails in the midst of some call of the file system; kill the server, keep of what was not durable
 * what the round's mode says, go on. Some rounds lose power while they recover, some end by SIGKILL
 * or a clean stop instead. The last one delivers everything that was never settled.
 *
 * MIDGE_CUTS is the number of rounds of a history, MIDGE_SEED the first history's seed. Threads are
 * real, so a seed says what is tried and not what happens.
 */
#include "tests/fuse/ledger.h"
#include "tests/fuse/lossfs.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CAPACITY (3ull << 30)
#define CUTS 5u
#define WINDOW 512u
#define MESSAGES_MAX 4000u /* of a round */
#define LIVE_MAX 6000u
#define DEADLINE_NS 60000000000u

enum { S, W, KV, STREAMS };

static const struct {
    const char *name, *config, *consumer;
} setup[STREAMS] = {
    {"S", "\"subjects\":[\"s.*\"],\"allow_direct\":true", "C"},
    {"W", "\"subjects\":[\"w.*\"],\"allow_direct\":true,\"retention\":\"workqueue\"", "C"},
    {"KV_B",
     "\"subjects\":[\"$KV.B.>\"],\"allow_direct\":true,\"max_msgs_per_subject\":2,"
     "\"allow_rollup_hdrs\":true",
     NULL},
};

struct world {
    struct server_process s;
    struct lossfs *fs;
    struct prng rng;
    struct ledger *ledgers[STREAMS];
    struct midge *m;
    struct midge_publisher *publisher;
    struct midge_pull *pulls[STREAMS];
    struct midge_sub *answers;
    uint32_t numbers;
    bool settle_all; /* the end: everything delivered is acknowledged */
    unsigned cuts, cut_starts;
};

static bool chance(struct world *w, unsigned percent)
{
    return prng_below(&w->rng, 100) < percent;
}

/* ---- what comes back ------------------------------------------------------------------------- */

static void on_ack(void *ctx, const struct midge_ack *ack)
{
    struct world *w = ctx;
    uintptr_t what = (uintptr_t) ack->ctx;

    if (ack->rc == MIDGE_OK && ack->error == NULL)
        ledger_saw(w->ledgers[what % STREAMS], ack->stream_seq, (uint32_t) (what / STREAMS));
}

/* "ans.<what>.<stream>.<seq>": a: an ack is confirmed, r: a removal, p: a purge. */
static void on_answer(void *ctx, const struct midge_msg *msg)
{
    struct world *w = ctx;
    char what = msg->subject.p[4];
    struct ledger *l = w->ledgers[msg->subject.p[6] - '0'];
    uint64_t seq = strtoull(msg->subject.p + 8, NULL, 10);
    bool ok = what == 'a' ? msg->payload.n == 0 && msg->header.n == 0
                          : memmem(msg->payload.p, msg->payload.n, "\"success\":true", 14) != NULL;

    if (!ok)
        return;
    if (what == 'p') {
        l->floor_gone = seq > l->floor_gone ? seq : l->floor_gone;
    } else if (what == 'r') {
        l->fate[seq] = FATE_GONE;
    } else {
        l->settled[seq] = FATE_GONE;
        if (l == w->ledgers[W])
            l->fate[seq] = FATE_GONE;
    }
}

static bool ask(struct world *w, struct midge_text subject, const char *body, char what,
                unsigned stream, uint64_t seq)
{
    char reply[64];

    snprintf(reply, sizeof(reply), "ans.%c.%u.%llu", what, stream, (unsigned long long) seq);
    struct midge_msg msg = {
        .subject = subject, .reply = midge_text_of(reply), .payload = midge_text_of(body)};
    return midge_publish(w->m, &msg) == MIDGE_OK;
}

static void on_delivery(struct world *w, unsigned stream, const struct midge_delivery *d)
{
    struct ledger *l = w->ledgers[stream];

    ledger_saw(l, d->stream_seq, number_of_body(d->msg.payload));
    ck_assert_msg(l->settled[d->stream_seq] != FATE_GONE,
                  "%s: sequence %llu was settled and is delivered again (%llu)", l->stream,
                  (unsigned long long) d->stream_seq, (unsigned long long) d->delivered);
    if (!w->settle_all && chance(w, 20))
        return;
    if (ask(w, d->msg.reply, "+ACK", 'a', stream, d->stream_seq)) {
        l->settled[d->stream_seq] = FATE_ASKED;
        if (stream == W)
            l->fate[d->stream_seq] = FATE_ASKED;
    }
}

static void on_s(void *ctx, const struct midge_delivery *d)
{
    on_delivery(ctx, S, d);
}

static void on_w(void *ctx, const struct midge_delivery *d)
{
    on_delivery(ctx, W, d);
}

/* ---- a connection ---------------------------------------------------------------------------- */

static void api(struct world *w, const char *subject, const char *body)
{
    ck_assert_msg(midge_js_api(w->m, subject, body, 20000, NULL) == MIDGE_OK, "%s: %s", subject,
                  midge_error(w->m));
}

static void dial(struct world *w)
{
    struct midge_options o;
    char err[256];

    midge_options_init(&o);
    o.port = w->s.port;
    o.timeout_ms = 20000;
    w->m = midge_connect(&o, err);
    ck_assert_msg(w->m != NULL, "%s", err);
}

static void hang_up(struct world *w)
{
    if (w->publisher != NULL) {
        for (unsigned k = 0; k < STREAMS; k++)
            if (w->pulls[k] != NULL)
                midge_pull_close(w->pulls[k]);
        midge_publisher_close(w->publisher);
    }
    midge_close(w->m);
    memset(w->pulls, 0, sizeof(w->pulls));
    w->publisher = NULL;
}

static void listen_in(struct world *w)
{
    w->answers = midge_subscribe(w->m, midge_text_of("ans.>"), midge_text_of(NULL), on_answer, w);
    w->publisher = midge_publisher_open(w->m, WINDOW, on_ack, w);
    w->pulls[S] = midge_pull_open(w->m, "S", "C", 200, on_s, w);
    w->pulls[W] = midge_pull_open(w->m, "W", "C", 200, on_w, w);
}

static void create(struct world *w, bool compressed)
{
    char subject[80], body[400];

    dial(w);
    for (unsigned k = 0; k < STREAMS; k++) {
        snprintf(subject, sizeof(subject), "STREAM.CREATE.%s", setup[k].name);
        snprintf(body, sizeof(body), "{\"name\":\"%s\",%s%s}", setup[k].name, setup[k].config,
                 compressed ? ",\"compression\":\"s2\"" : "");
        api(w, subject, body);
        if (setup[k].consumer == NULL)
            continue;
        snprintf(subject, sizeof(subject), "CONSUMER.DURABLE.CREATE.%s.C", setup[k].name);
        snprintf(body, sizeof(body),
                 "{\"stream_name\":\"%s\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":"
                 "\"explicit\",\"ack_wait\":2000000000,\"max_ack_pending\":3000}}",
                 setup[k].name);
        api(w, subject, body);
    }
    hang_up(w);
}

/* ---- load ------------------------------------------------------------------------------------ */

static bool publish(struct world *w)
{
    static char body[BODY_MAX];
    static const unsigned of[] = {S, S, S, W, W, KV, KV};
    unsigned stream = of[prng_below(&w->rng, sizeof(of) / sizeof(of[0]))];
    uint32_t number = w->numbers + 1;
    char subject[32];

    snprintf(subject, sizeof(subject),
             stream == KV  ? "$KV.B.k%u"
             : stream == W ? "w.%u"
                           : "s.%u",
             key_of(number));
    struct midge_text payload = {body, body_of(number, body)};
    if (midge_publisher_send(w->publisher, midge_text_of(subject), midge_text_of(NULL), payload,
                             (void *) (uintptr_t) (number * STREAMS + stream)) != MIDGE_OK)
        return false;
    w->numbers++;
    return true;
}

static void remove_some(struct world *w)
{
    struct ledger *l = w->ledgers[S];
    char body[80];

    if (l->last <= l->floor_asked)
        return;
    uint64_t seq = l->last - prng_below(&w->rng, l->last - l->floor_asked);
    if (chance(w, 95)) {
        snprintf(body, sizeof(body), "{\"seq\":%llu,\"no_erase\":%s}", (unsigned long long) seq,
                 chance(w, 50) ? "true" : "false");
        if (l->fate[seq] == FATE_STAYS &&
            ask(w, midge_text_of("$JS.API.STREAM.MSG.DELETE.S"), body, 'r', S, seq))
            l->fate[seq] = FATE_ASKED;
        return;
    }
    seq = l->floor_asked + (seq - l->floor_asked) / 8;
    snprintf(body, sizeof(body), "{\"seq\":%llu}", (unsigned long long) seq);
    if (ask(w, midge_text_of("$JS.API.STREAM.PURGE.S"), body, 'p', S, seq))
        l->floor_asked = seq > l->floor_asked ? seq : l->floor_asked;
}

/* Until power fails, or so many messages have been sent. */
static void load(struct world *w, unsigned messages)
{
    uint32_t end = w->numbers + messages;
    uint64_t deadline = midge_now() + DEADLINE_NS;
    bool going = true;

    while (going && !lossfs_is_cut(w->fs)) {
        for (uint64_t burst = 1 + prng_below(&w->rng, 200); burst > 0 && publish(w); burst--)
            if (chance(w, 2))
                remove_some(w);
        going = midge_poll(w->m, 2000000) != MIDGE_CLOSED && (messages == 0 || w->numbers < end);
        ck_assert_msg(midge_now() < deadline, "nothing goes on any more");
    }
    /* What the kernel still holds for us counts: it left before the end. */
    for (int i = 0; i < 20 && midge_poll(w->m, 1000000) == MIDGE_OK; i++)
        ;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void verify(struct world *w)
{
    for (unsigned k = 0; k < STREAMS; k++)
        ledger_verify(w->ledgers[k], w->m);
    if (w->ledgers[S]->live > LIVE_MAX) {
        struct ledger *l = w->ledgers[S];
        char body[80];
        snprintf(body, sizeof(body), "{\"seq\":%llu}", (unsigned long long) l->last);
        l->floor_asked = l->last;
        api(w, "STREAM.PURGE.S", body);
        l->floor_gone = l->last;
    }
}

static void lose_power(struct world *w)
{
    enum sim_crash mode = (enum sim_crash) prng_below(&w->rng, SIM_CRASH_MODES);

    if (w->s.pid != 0)
        server_process_kill(&w->s);
    lossfs_power(w->fs, mode);
    w->cuts++;
}

/* Until one start was not cut. */
static void start(struct world *w)
{
    for (;;) {
        bool cut = chance(w, 25);
        lossfs_cut_after(w->fs, cut ? 1 + prng_below(&w->rng, 40) : 0);
        bool started = server_process_try_start(&w->s);
        if (!cut)
            ck_assert_msg(started, "the server does not start; see %s/log", w->s.dir);
        if (!lossfs_is_cut(w->fs) && started)
            break;
        ck_assert_msg(lossfs_is_cut(w->fs), "the server ended by itself; see %s/log", w->s.dir);
        w->cut_starts++;
        lose_power(w);
    }
    lossfs_cut_after(w->fs, 0);
}

static void round_of(struct world *w)
{
    static const uint64_t scales[] = {20, 200, 1500};
    unsigned how = (unsigned) prng_below(&w->rng, 10);

    start(w);
    dial(w);
    verify(w);
    listen_in(w);
    if (how < 8) {
        load(w, (unsigned) prng_below(&w->rng, 200) + 1);
        lossfs_cut_after(w->fs, 1 + prng_below(&w->rng, scales[prng_below(&w->rng, 3)]));
        load(w, MESSAGES_MAX);
        lossfs_cut_after(w->fs, 1);
        load(w, 0);
        server_process_kill(&w->s);
        lose_power(w);
    } else {
        load(w, MESSAGES_MAX / 4);
        if (how == 8)
            server_process_kill(&w->s);
    }
    hang_up(w);
    if (how == 9)
        server_process_stop(&w->s);
}

/* What was acknowledged before a cut, without an answer, may be settled and need not come again. */
static bool all_settled(const struct world *w)
{
    for (unsigned k = S; k <= W; k++) {
        const struct ledger *l = w->ledgers[k];
        for (uint64_t seq = 1; seq <= l->last; seq++)
            if (ledger_promised(l, seq) && l->settled[seq] == FATE_STAYS)
                return false;
    }
    return true;
}

/* Everything that is left is delivered. */
static void last_round(struct world *w)
{
    uint64_t deadline = midge_now() + DEADLINE_NS;

    start(w);
    dial(w);
    verify(w);
    listen_in(w);
    w->settle_all = true;
    while (!all_settled(w)) {
        ck_assert_int_eq(midge_poll(w->m, 100000000), MIDGE_OK);
        ck_assert_msg(midge_now() < deadline, "a message is never delivered");
    }
    hang_up(w);
    server_process_stop(&w->s);
}

static unsigned number_from(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? (unsigned) strtoul(text, NULL, 10) : otherwise;
}

static const char *const arguments[][5] = {
    {"--workers", "1", "--io", "uring"},
    {"--workers", "2", "--io", "event"},
};

TEST(what_was_promised_survives_power_cuts)
{
    unsigned seed = number_from("MIDGE_SEED", 1) + (unsigned) i;
    unsigned cuts = number_from("MIDGE_CUTS", CUTS);
    static struct world w;
    char store[160];

    memset(&w, 0, sizeof(w));
    prng_init(&w.rng, seed);
    server_process_init(&w.s);
    snprintf(store, sizeof(store), "%s/store", w.s.dir);
    ck_assert_int_eq(mkdir(store, 0700), 0);
    w.fs = lossfs_namespace() ? lossfs_open(store, CAPACITY, seed) : NULL;
    if (w.fs == NULL) {
        printf("SKIPPED: no FUSE here (%s): nothing was tested\n", strerror(errno));
        server_process_deinit(&w.s);
        return;
    }
    for (unsigned k = 0; k < STREAMS; k++) {
        w.ledgers[k] = calloc(1, sizeof(struct ledger));
        ck_assert_ptr_nonnull(w.ledgers[k]);
        w.ledgers[k]->stream = setup[k].name;
    }
    w.ledgers[KV]->per_subject = 2;
    for (unsigned k = 0; k < 4; k++)
        w.s.args[k] = arguments[seed % 2][k];
    server_process_start(&w.s);
    create(&w, seed % 3 == 0);
    server_process_kill(&w.s);
    while (w.cuts < cuts)
        round_of(&w);
    last_round(&w);
    printf("seed %u: %u power cuts, %u of them at a start; %llu, %llu and %llu messages\n", seed,
           w.cuts, w.cut_starts, (unsigned long long) w.ledgers[S]->last,
           (unsigned long long) w.ledgers[W]->last, (unsigned long long) w.ledgers[KV]->last);
    for (unsigned k = 0; k < STREAMS; k++)
        free(w.ledgers[k]);
    lossfs_close(w.fs);
    server_process_deinit(&w.s);
}

static const struct runner_case cases[] = {
    {.test = &what_was_promised_survives_power_cuts_test, .end = 2, .seconds = 1800},
};

RUNNER_MAIN("fuse/power", cases)
