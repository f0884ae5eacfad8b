/*
 * test_open_txns.c - transactions of a partition: what is known of them at work and after a start;
 * and a model of partition, coordinator and producers that crash at every step, in which a reader
 * of committed records is never shown what is not decided, nor what was aborted. Planted bugs are
 * found.
 */
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "server/kafka/open_txns.h"
#include "tests/lib/runner.h"

#include <limits.h>
#include <string.h>

/* ---- by hand --------------------------------------------------------------------------------- */

TEST(a_life)
{
    struct open_txns x;
    uint64_t from;

    open_txns_init(&x);
    ck_assert_int_eq(open_txns_bind(&x, 7, 0, 10, &from), ERR_OK);
    ck_assert_uint_eq(from, 11);
    ck_assert(open_txns_may_write(&x, 7, 0) && !open_txns_may_write(&x, 7, 1));
    ck_assert(!open_txns_may_write(&x, 8, 0));
    ck_assert_uint_eq(open_txns_undecided(&x, 1, 10), 11); /* it has nothing yet */
    open_txns_wrote(&x, 7, 15);
    open_txns_wrote(&x, 7, 18);
    open_txns_wrote(&x, 8, 20); /* of nobody */
    ck_assert_uint_eq(open_txns_undecided(&x, 1, 14), 15);
    ck_assert_uint_eq(open_txns_undecided(&x, 1, 20), 15);
    ck_assert_uint_eq(open_txns_undecided(&x, 17, 20), 17);
    ck_assert_int_eq(open_txns_bind(&x, 7, 1, 20, &from), ERR_OK); /* once more */
    ck_assert_uint_eq(from, 11);
    ck_assert(open_txns_may_write(&x, 7, 1));
    ck_assert_int_eq(open_txns_end_epoch(open_txns_find(&x, 7), 21), -6);
    open_txns_ended(open_txns_find(&x, 7), 21, false);
    ck_assert(!open_txns_may_write(&x, 7, 1));
    ck_assert_int_eq(open_txns_bind(&x, 7, 1, 20, &from), ERR_AGAIN);
    open_txns_committed(&x, 20);
    ck_assert_uint_eq(open_txns_undecided(&x, 1, 20), 15);
    open_txns_committed(&x, 21);
    ck_assert_uint_eq(open_txns_undecided(&x, 1, 21), 22);
    ck_assert(open_txns_was_aborted(&x, 7, 15) && open_txns_was_aborted(&x, 7, 21));
    ck_assert(!open_txns_was_aborted(&x, 7, 14) && !open_txns_was_aborted(&x, 7, 22));
    ck_assert(!open_txns_was_aborted(&x, 8, 18));
    open_txns_forget(&x, 21);
    ck_assert_uint_eq(x.naborted, 1);
    open_txns_forget(&x, 22);
    ck_assert_uint_eq(x.naborted, 0);
    open_txns_deinit(&x);
}

/* Nothing of an empty one is left; what was assigned and taken back was never there. */
TEST(nothing_written)
{
    struct open_txns x;
    uint64_t from;

    open_txns_init(&x);
    open_txns_bind(&x, 7, 0, 10, &from);
    open_txns_wrote(&x, 7, 12);
    open_txns_ended(open_txns_find(&x, 7), 13, true);
    open_txns_refused(&x, 11);
    ck_assert_uint_eq(open_txns_undecided(&x, 1, 20), 21);
    ck_assert(open_txns_may_write(&x, 7, 0));
    ck_assert_int_eq(open_txns_end_epoch(open_txns_find(&x, 7), 12), -1);
    open_txns_ended(open_txns_find(&x, 7), 12, false);
    open_txns_committed(&x, 12);
    ck_assert_uint_eq(x.naborted, 0);
    ck_assert_ptr_null(open_txns_find(&x, 7));
    open_txns_deinit(&x);
}

/* Ends that become durable together, of transactions that began in another order. */
TEST(ended_together)
{
    static const int64_t ended[] = {3, 1, 4, 2};
    struct open_txns x;
    uint64_t from;

    open_txns_init(&x);
    for (int64_t p = 1; p <= 4; p++) {
        open_txns_bind(&x, p, 0, 10, &from);
        open_txns_wrote(&x, p, 10 + (uint64_t) p);
    }
    for (uint64_t k = 0; k < 4; k++)
        open_txns_ended(open_txns_find(&x, ended[k]), 20 + k, false);
    open_txns_committed(&x, 23);
    ck_assert_uint_eq(x.naborted, 4);
    for (size_t k = 0; k < 4; k++) {
        ck_assert_int_eq(x.aborted[k].producer, ended[k]);
        ck_assert_uint_eq(open_txns_aborted_from(&x, 20 + k), k);
        ck_assert(open_txns_was_aborted(&x, ended[k], 20 + k));
        ck_assert(!open_txns_was_aborted(&x, ended[k], 21 + k));
        ck_assert(open_txns_was_aborted(&x, (int64_t) k + 1, 11 + k));
        ck_assert(!open_txns_was_aborted(&x, (int64_t) k + 1, 10 + k));
    }
    ck_assert_uint_eq(open_txns_aborted_from(&x, 1), 0);
    ck_assert_uint_eq(open_txns_aborted_from(&x, 24), 4);
    open_txns_forget(&x, 22);
    ck_assert_uint_eq(x.naborted, 2);
    ck_assert_int_eq(x.aborted[0].producer, 4);
    open_txns_deinit(&x);
}

static struct txn_marker marker(int64_t producer, bool commit, int32_t coordinator, uint64_t seq)
{
    return (struct txn_marker){
        .producer = producer, .commit = commit, .coordinator = coordinator, .seq = seq};
}

/* What markers say after a start: producer, commit?, coordinator epoch, sequence; the first of them
 * and whether the transaction is open behind it, and how many are aborted, and from where. */
TEST(markers)
{
    static const struct {
        const char *what;
        uint64_t reminded; /* + 1; 0: it was not */
        struct txn_marker m[4];
        uint64_t first, undecided; /* of 100 */
        size_t aborted;
        uint64_t from;
    } table[] = {
        {"a commit", 0, {{7, 0, true, -5, 50}}, 1, 101, 0, 0},
        {"an abort", 0, {{7, 0, false, -5, 50}}, 1, 101, 1, 45},
        {"of which the first messages are gone", 0, {{7, 0, false, -5, 50}}, 48, 101, 1, 48},
        {"too far to be said", 0, {{7, 0, false, 0, 50}}, 3, 101, 1, 3},
        {"open", 41, {{0}}, 1, 40, 0, 0},
        {"open, behind an older one", 41, {{7, 0, false, -3, 39}}, 1, 40, 1, 36},
        {"ended: the record was not written again", 41, {{7, 0, true, -3, 45}}, 1, 101, 0, 0},
        {"aborted, likewise", 41, {{7, 0, false, -3, 45}}, 1, 101, 1, 42},
        {"behind a lost end", 201, {{0}}, 1, 101, 0, 0},
        {"a beginning of old", 0, {{7, 0, true, 1, 50}}, 1, 50, 0, 0},
        {"it went on", 0, {{7, 0, true, 11, 50}}, 1, 40, 0, 0},
        {"and has ended", 0, {{7, 0, true, 1, 50}, {7, 0, false, -9, 59}}, 1, 101, 1, 50},
        {"without saying how far", 0, {{7, 0, true, 1, 50}, {7, 0, false, 0, 59}}, 1, 101, 1, 50},
        {"an old record without a place", 1, {{7, 0, true, 1, 50}}, 1, 50, 0, 0},
        {"the same, one before it has ended",
         1,
         {{7, 0, true, 1, 30}, {7, 0, true, -9, 39}, {7, 0, true, 1, 50}},
         1,
         50,
         0,
         0},
    };
    struct open_txns x;

    for (size_t k = 0; k < ARRAY_LEN(table); k++) {
        open_txns_init(&x);
        if (table[k].reminded != 0)
            open_txns_remind(&x, 7, 0, table[k].reminded - 1, 100);
        for (size_t j = 0; j < ARRAY_LEN(table[k].m) && table[k].m[j].seq != 0; j++)
            open_txns_take(&x, &table[k].m[j], table[k].first);
        ck_assert_msg(open_txns_undecided(&x, table[k].first, 100) == table[k].undecided,
                      "%s: undecided %llu", table[k].what,
                      (unsigned long long) open_txns_undecided(&x, table[k].first, 100));
        ck_assert_msg(x.naborted == table[k].aborted, "%s", table[k].what);
        ck_assert_msg(x.naborted == 0 || x.aborted[0].first == table[k].from, "%s: from %llu",
                      table[k].what, (unsigned long long) x.aborted[0].first);
        open_txns_deinit(&x);
    }
}

/* ---- a model --------------------------------------------------------------------------------- */

/* Several producers with a transactional id each, one partition, the coordinator's records: two
 * logs that become durable each by itself. Everything that is not durable is lost in a crash, and
 * the coordinator then does what it does after a start. */

#define PRODUCERS 3
#define ENTRIES 600
#define TXNS 400

enum bug {
    NO_BUG,
    PLACE_OF_ASSIGNED,   /* bind tells what is assigned, not what is durable */
    NOT_REMINDED,        /* after a start the coordinator says nothing */
    PREPARED_NOT_TOLD,   /* of what it has prepared */
    MARKERS_BEFORE_WORD, /* the markers are read before the word is there */
    NOTHING_TAKEN_BACK,  /* what was assigned and refused stays known */
    ANSWERS_TOO_EARLY,   /* the producer writes before the record is durable */
    BUGS
};

enum outcome { UNDECIDED, COMMITTED, ABORTED };
enum state { IDLE, BINDING, WRITING, PREPARING, MARKING, COMPLETING };

/* A transaction's record. */
struct record {
    enum state state; /* IDLE, WRITING = ongoing, MARKING = prepared */
    bool commit;
    uint64_t from;
    int txn;
};

struct entry {
    int producer; /* -1: a message of somebody else */
    int txn;
    bool marker, commit, gone;
    int32_t coordinator;
};

struct model {
    struct prng prng;
    enum bug bug;
    struct open_txns known;
    struct entry log[ENTRIES]; /* sequence = index + 1 */
    uint64_t first, assigned, durable;
    enum outcome outcomes[TXNS];
    int ntxns;
    struct {
        enum state state;
        struct record now, durable; /* now: on its way, or as the durable one */
        uint64_t end;               /* the marker's sequence while it is on its way */
    } of[PRODUCERS];
};

static bool chance(struct model *m, unsigned percent)
{
    return prng_below(&m->prng, 100) < percent;
}

static uint64_t append(struct model *m, struct entry e)
{
    ck_assert_uint_lt(m->assigned, ENTRIES);
    m->log[m->assigned++] = e;
    return m->assigned;
}

static void begin(struct model *m, int p)
{
    uint64_t from, durable = m->bug == PLACE_OF_ASSIGNED ? m->assigned : m->durable;

    if (open_txns_bind(&m->known, p, 0, durable, &from) != ERR_OK || m->ntxns == TXNS)
        return;
    m->of[p].now = (struct record){.state = WRITING, .from = from, .txn = m->ntxns++};
    m->of[p].state = BINDING;
}

static void write_some(struct model *m, int p)
{
    uint64_t seq;

    if (!open_txns_may_write(&m->known, p, 0))
        return;
    seq = append(m, (struct entry){.producer = p, .txn = m->of[p].now.txn});
    open_txns_wrote(&m->known, p, seq);
}

/* The marker, when there is something that has not ended. */
static void mark(struct model *m, int p)
{
    struct txn_open *t = open_txns_find(&m->known, p);
    bool commit = m->of[p].now.commit;

    m->of[p].end = 0;
    if (t == NULL)
        return;
    if (t->end == 0) {
        struct entry e = {.producer = p,
                          .txn = m->of[p].now.txn,
                          .marker = true,
                          .commit = commit,
                          .coordinator = open_txns_end_epoch(t, m->assigned + 1)};
        open_txns_ended(t, append(m, e), commit);
    }
    m->of[p].end = t->end;
}

static void step(struct model *m, int p)
{
    switch (m->of[p].state) {
    case IDLE:
        begin(m, p);
        break;
    case BINDING:
        if (m->bug == ANSWERS_TOO_EARLY)
            write_some(m, p);
        break;
    case WRITING:
        if (chance(m, 70)) {
            write_some(m, p);
            break;
        }
        m->of[p].now.state = MARKING;
        m->of[p].now.commit = chance(m, 50);
        m->of[p].state = PREPARING;
        break;
    case MARKING:
        if (m->of[p].end == 0 && open_txns_find(&m->known, p) != NULL)
            mark(m, p); /* it was taken back */
        break;
    default:
        break;
    }
}

/* The coordinator's record is durable. */
static void record_synced(struct model *m, int p)
{
    m->of[p].durable = m->of[p].now;
    switch (m->of[p].state) {
    case BINDING:
        m->of[p].state = WRITING;
        break;
    case PREPARING:
        m->outcomes[m->of[p].now.txn] = m->of[p].now.commit ? COMMITTED : ABORTED;
        m->of[p].state = MARKING;
        mark(m, p);
        break;
    case COMPLETING:
        m->of[p].state = IDLE;
        break;
    default:
        break;
    }
}

/* Are the markers there? */
static void look_at_markers(struct model *m, int p)
{
    if (m->of[p].state != MARKING || open_txns_find(&m->known, p) != NULL)
        return;
    m->of[p].now = (struct record){.state = IDLE};
    m->of[p].state = COMPLETING;
}

static void sync_some(struct model *m)
{
    m->durable += prng_below(&m->prng, m->assigned - m->durable + 1);
    open_txns_committed(&m->known, m->durable);
}

static void refuse(struct model *m)
{
    m->assigned = m->durable;
    if (m->bug != NOTHING_TAKEN_BACK)
        open_txns_refused(&m->known, m->durable);
    for (int p = 0; p < PRODUCERS; p++)
        if (m->of[p].end > m->durable)
            m->of[p].end = 0;
}

static void read_markers(struct model *m)
{
    for (uint64_t seq = m->first; seq <= m->durable; seq++) {
        const struct entry *e = &m->log[seq - 1];
        struct txn_marker k = marker(e->producer, e->commit, e->coordinator, seq);
        if (e->marker)
            open_txns_take(&m->known, &k, m->first);
    }
}

static void crash(struct model *m)
{
    m->assigned = m->durable;
    open_txns_deinit(&m->known);
    open_txns_init(&m->known);
    if (m->bug == MARKERS_BEFORE_WORD)
        read_markers(m);
    for (int p = 0; p < PRODUCERS; p++) {
        struct record *r = &m->of[p].durable;
        m->of[p].now = *r;
        m->of[p].state = r->state;
        m->of[p].end = 0;
        if (r->state != IDLE && m->bug != NOT_REMINDED &&
            !(r->state == MARKING && m->bug == PREPARED_NOT_TOLD))
            open_txns_remind(&m->known, p, 0, r->from, m->durable);
    }
    if (m->bug != MARKERS_BEFORE_WORD)
        read_markers(m);
    for (int p = 0; p < PRODUCERS; p++)
        if (m->of[p].state == MARKING)
            mark(m, p);
}

static void purge(struct model *m)
{
    m->first += prng_below(&m->prng, m->durable + 2 - m->first);
    open_txns_forget(&m->known, m->first);
}

/* What a reader of committed records sees. */
static bool is_right(const struct model *m)
{
    uint64_t end = open_txns_undecided(&m->known, m->first, m->durable);

    for (uint64_t seq = m->first; seq < end; seq++) {
        const struct entry *e = &m->log[seq - 1];
        if (e->producer < 0 || e->marker)
            continue;
        bool aborted = open_txns_was_aborted(&m->known, e->producer, seq);
        if (m->outcomes[e->txn] != (aborted ? ABORTED : COMMITTED))
            return false;
    }
    return true;
}

static void play_step(struct model *m)
{
    uint64_t what = prng_below(&m->prng, 100);
    int p = (int) prng_below(&m->prng, PRODUCERS);

    if (what < 50)
        step(m, p);
    else if (what < 60)
        append(m, (struct entry){.producer = -1});
    else if (what < 75)
        record_synced(m, p);
    else if (what < 90)
        sync_some(m);
    else if (what < 93)
        refuse(m);
    else if (what < 97)
        crash(m);
    else
        purge(m);
    for (int k = 0; k < PRODUCERS; k++)
        look_at_markers(m, k);
}

/* No transaction has more than one end. */
static bool ends_once(const struct model *m)
{
    unsigned ends[TXNS] = {0};

    for (uint64_t seq = m->first; seq <= m->durable; seq++)
        if (m->log[seq - 1].marker && ++ends[m->log[seq - 1].txn] > 1)
            return false;
    return true;
}

/* Everything is ended, and then all is decided. */
static bool finish(struct model *m)
{
    for (int k = 0; k < 6; k++)
        for (int p = 0; p < PRODUCERS; p++) {
            if (m->of[p].state == WRITING) {
                m->of[p].now.state = MARKING;
                m->of[p].now.commit = false;
                m->of[p].state = PREPARING;
            }
            record_synced(m, p);
            if (m->of[p].state == MARKING)
                step(m, p);
            m->durable = m->assigned;
            open_txns_committed(&m->known, m->durable);
            look_at_markers(m, p);
        }
    for (int p = 0; p < PRODUCERS; p++)
        if (m->of[p].state != IDLE)
            return false;
    return is_right(m) && ends_once(m) &&
           open_txns_undecided(&m->known, m->first, m->durable) == m->durable + 1;
}

static bool play(uint64_t seed, enum bug bug)
{
    struct model *m = mem_zalloc(sizeof(*m));
    bool right = true;

    m->bug = bug;
    m->first = 1;
    prng_init(&m->prng, seed);
    open_txns_init(&m->known);
    for (int k = 0; k < 500 && right; k++) {
        play_step(m);
        right = is_right(m);
    }
    right = right && finish(m);
    open_txns_deinit(&m->known);
    mem_free(m);
    return right;
}

TEST(crashes)
{
    for (uint64_t seed = 0; seed < 1000; seed++)
        ck_assert_msg(play((uint64_t) i * 1000 + seed, NO_BUG), "seed %d", i * 1000 + (int) seed);
}

TEST(planted_bugs_are_found)
{
    uint64_t seed = 0;

    while (seed < 2000 && play(seed, (enum bug) i))
        seed++;
    ck_assert_uint_lt(seed, 2000);
}

static const struct runner_case cases[] = {
    RUN(a_life),
    RUN(nothing_written),
    RUN(ended_together),
    RUN(markers),
    RUN_LOOP(crashes, 0, 4),
    RUN_LOOP(planted_bugs_are_found, PLACE_OF_ASSIGNED, BUGS),
};

RUNNER_MAIN("kafka/open_txns", cases)
