/*
 * test_producers_crash.c - idempotent producers against a partition whose server crashes between
 * produce and sync, takes back what it had assigned, compacts, and removes what it is told to:
 * whatever happens, what is stored is each batch once, in order. A model of both sides in one
 * thread; the server's decisions are those of producers.c, fed as partition.c and produce.c feed
 * it. Planted bugs are found.
 */
#include "lib/base/prng.h"
#include "server/kafka/producers.h"
#include "tests/lib/runner.h"

#include <string.h>

#define PRODUCERS 3
#define BATCHES 400 /* of all, at most */
#define AHEAD 5     /* a client has so many under way */

enum bug {
    NO_BUG,
    FORGETS_NOTHING,
    READS_NOTHING_BACK,
    LAST_IS_COMPACTED,
    NOT_WRITTEN_DOWN,
    WRITTEN_TOO_EARLY,
    BUGS
};

struct client {
    int32_t next;   /* number of the next new batch */
    int32_t acked;  /* all below it are */
    int32_t oldest; /* the first that is under way */
    int32_t sent;   /* behind the last one that was sent */
    bool failed;    /* one under way was refused: it begins anew with the oldest */
};

/* Batches of a client are numbered 0, 1, ...; batch n has the one sequence number START + n. */
#define START (INT32_MAX - 20)
static int32_t number_of(int32_t batch)
{
    return (int32_t) (((uint32_t) START + (uint32_t) batch) & INT32_MAX);
}

struct stored {
    int64_t producer;
    int32_t batch;
    bool gone; /* compacted, or removed */
};

struct model {
    struct prng prng;
    enum bug bug;
    struct producers known;
    struct stored log[BATCHES * 2]; /* [0, assigned); sequence = index + 1 */
    uint64_t assigned, durable;
    struct buf memo; /* the record of producers.h */
    struct client clients[PRODUCERS];
};

static bool chance(struct model *m, unsigned percent)
{
    return prng_below(&m->prng, 100) < percent;
}

static struct producer_batch batch_of(int64_t producer, int32_t batch)
{
    return (struct producer_batch){.producer = producer, .first = number_of(batch), .count = 1};
}

/* What has become durable is acknowledged, unless the answer is lost. */
static void answer(struct model *m, int producer, int32_t batch, uint64_t seq)
{
    struct client *c = &m->clients[producer];

    if (seq <= m->durable && batch == c->acked && !chance(m, 20))
        c->acked = c->oldest = batch + 1;
}

static void send(struct model *m, int producer)
{
    struct client *c = &m->clients[producer];

    if (c->failed) { /* all answers are in: again from the oldest on */
        c->failed = false;
        c->sent = c->oldest;
    }
    if (c->sent - c->oldest >= AHEAD || m->assigned == BATCHES * 2 - 1)
        return;
    struct producer_batch b = batch_of(producer, c->sent);
    switch (producers_check(&m->known, &b)) {
    case PRODUCERS_NEW:
        m->log[m->assigned++] = (struct stored){.producer = producer, .batch = c->sent};
        b.seq = m->assigned;
        producers_note(&m->known, &b);
        break;
    case PRODUCERS_DUPLICATE:
        break;
    case PRODUCERS_WAS_STORED: /* the answer itself says so */
        if (c->sent == c->acked)
            c->acked = c->oldest = c->sent + 1;
        break;
    default:
        c->failed = true;
        return;
    }
    c->sent++;
    c->next = c->sent > c->next ? c->sent : c->next;
}

static void sync_some(struct model *m)
{
    m->durable += prng_below(&m->prng, m->assigned - m->durable + 1);
    for (int p = 0; p < PRODUCERS; p++)
        for (uint64_t seq = 1; seq <= m->durable; seq++)
            if (m->log[seq - 1].producer == p)
                answer(m, p, m->log[seq - 1].batch, seq);
}

/* No space: what was assigned is taken back, and all under way fail; some of it comes only now. */
static void refuse(struct model *m)
{
    m->assigned = m->durable;
    if (m->bug != FORGETS_NOTHING)
        producers_forget(&m->known, m->durable);
    for (int p = 0; p < PRODUCERS; p++) {
        if (chance(m, 50))
            send(m, p);
        m->clients[p].failed = true;
    }
}

static void crash(struct model *m)
{
    uint64_t through;

    m->assigned = m->durable;
    producers_deinit(&m->known);
    producers_init(&m->known);
    ck_assert(producers_take(&m->known, buf_str(&m->memo), &through));
    /* The store wants a whole record now and then. */
    if (chance(m, 30)) {
        buf_clear(&m->memo);
        producers_put(&m->known, through, true, &m->memo);
    }
    for (uint64_t seq = through + 1; seq <= m->durable && m->bug != READS_NOTHING_BACK; seq++) {
        struct producer_batch b = batch_of(m->log[seq - 1].producer, m->log[seq - 1].batch);
        b.seq = seq;
        b.read_back = true;
        if (!m->log[seq - 1].gone)
            producers_note(&m->known, &b);
    }
    for (int p = 0; p < PRODUCERS; p++)
        m->clients[p].failed = true;
}

/* Most of what is durable goes, but never the last batch of each producer. Who sends an earlier one
 * again after a crash is told that it was stored. */
static void compact(struct model *m)
{
    for (uint64_t seq = 1; seq <= m->durable; seq++) {
        struct stored *s = &m->log[seq - 1];
        bool last = producers_need(&m->known, s->producer, seq, m->durable);
        s->gone = s->gone || (!last && chance(m, 70)) || m->bug == LAST_IS_COMPACTED;
    }
}

/* Some of what is durable goes because somebody asks for it, or the power fails before it has. What
 * is known of producers is written down first. */
static void remove_some(struct model *m)
{
    uint64_t most = 1 + prng_below(&m->prng, 99);

    if (m->bug != NOT_WRITTEN_DOWN)
        producers_put(&m->known, m->bug == WRITTEN_TOO_EARLY ? m->assigned : m->durable, false,
                      &m->memo);
    if (chance(m, 30))
        return;
    for (uint64_t seq = 1; seq <= m->durable; seq++)
        m->log[seq - 1].gone = m->log[seq - 1].gone || chance(m, (unsigned) most);
}

/* Every producer's batches: each once, in order, without a gap, and what was acknowledged is
 * there. */
static bool is_right(const struct model *m)
{
    int32_t next[PRODUCERS] = {0};

    for (uint64_t seq = 1; seq <= m->durable; seq++) {
        const struct stored *s = &m->log[seq - 1];
        if (s->batch != next[s->producer]++)
            return false;
    }
    for (int p = 0; p < PRODUCERS; p++)
        if (next[p] < m->clients[p].acked)
            return false;
    return true;
}

/* Nobody is told for ever that it is out of order. */
static bool all_answered(const struct model *m)
{
    bool all = true;

    for (int p = 0; p < PRODUCERS; p++)
        all = all &&
              (m->clients[p].acked + AHEAD >= m->clients[p].next || m->assigned == BATCHES * 2 - 1);
    return all;
}

static bool play(uint64_t seed, enum bug bug)
{
    struct model m = {.bug = bug};
    bool right = true;

    prng_init(&m.prng, seed);
    producers_init(&m.known);
    for (int k = 0; k < 600 && right; k++) {
        uint64_t what = prng_below(&m.prng, 100);
        if (what < 70)
            send(&m, (int) prng_below(&m.prng, PRODUCERS));
        else if (what < 90)
            sync_some(&m);
        else if (what < 94)
            refuse(&m);
        else if (what < 97)
            crash(&m);
        else if (what < 98)
            remove_some(&m);
        else
            compact(&m);
        right = is_right(&m);
    }
    /* All that was begun is finished. */
    for (int k = 0; k < 200 && right; k++) {
        for (int p = 0; p < PRODUCERS; p++)
            send(&m, p);
        sync_some(&m);
    }
    right = right && is_right(&m) && all_answered(&m);
    producers_deinit(&m.known);
    buf_free(&m.memo);
    return right;
}

TEST(each_once_and_in_order)
{
    for (uint64_t seed = 0; seed < 500; seed++)
        ck_assert_msg(play((uint64_t) i * 1000 + seed, NO_BUG), "seed %d", i * 1000 + (int) seed);
}

TEST(planted_bugs_are_found)
{
    uint64_t seed = 0;

    while (seed < 1000 && play(seed, (enum bug) i))
        seed++;
    ck_assert_uint_lt(seed, 1000);
}

static const struct runner_case cases[] = {
    RUN_LOOP(each_once_and_in_order, 0, 4),
    RUN_LOOP(planted_bugs_are_found, FORGETS_NOTHING, BUGS),
};

RUNNER_MAIN("kafka/producers_crash", cases)
