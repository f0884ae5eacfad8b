/*
 * sim_store.c - the durability proof: random work on a store, power cuts at random moments and at
 * sync points, recovery, judgement.
 *
 *     sim_store             the fixed seeds of `make check`, those of tests/sim/seeds, the canaries
 *     sim_store --seeds N   N seeds from 1 on (--from F: from F on), both kinds of run
 *     sim_store --seed S [-v]    exactly this one, in this process; -v prints every event, -vv also
 *                                those of power cuts tried on the side
 *     --plant NAME               a bug in the store itself (the program test_planted;
 * store/plant.h)
 *     --lie commit|sync|dir      the disk lies: a run that passes is a hole in the proof
 *     --every                    short runs, and power fails on the side at every moment of them
 *     --calm                     no power cuts and no reopening: only the running half
 *     --keep DIR                 on failure the disk's contents go to this directory
 *
 * There are two kinds of run. A long one does many operations, and power fails at some of its sync
 * points; a short one (--every) does few, and power fails at each moment of it.
 *
 * A run of a seed: draw what it is like (swarm.h); open a store on an empty disk; do operations,
 * stepping the loops between them; at some of its sync points try a power cut on a copy of
 * everything (recover, judge, work a little, crash again or close); cut the power for real now and
 * then and go on with what is left; at the end close, open, and compare once more.
 * docs/internals/sim.md tells it in prose.
 */
#include "lib/base/hash.h"
#include "lib/base/str.h"
#include "store/log_format.h"
#include "store/plant.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/world.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef MIDGE_SANITIZE
#define FIXED_SEEDS 20 /* ten times as slow */
#else
#define FIXED_SEEDS 200
#endif
#define CANARY_SEEDS 100
#define SAME_SEED 10
/* Of processor time. No seed takes half of it (PACE_PAGES), also on a slow machine. */
#define SEED_SECONDS 120
#define JOBS 2
#define DEPTH_MAX 2
/* Percent. */
#define KILLED_AGAIN 15u
#define DECAYS 3 /* tried at each clean close */
/* Pages that the recoveries of a seed may read in all, roughly, and what one costs besides: ten
 * to fifty seconds. Few seeds come near it. */
#define PACE_PAGES (2u << 20)
#define PACE_CUT 256u
/* A log file is no smaller. */
#define DAMAGE_MAX (32u << 10)

#ifdef MIDGE_PLANT
enum store_plant store_planted;
#endif

struct settings {
    unsigned plant;
    unsigned lies;
    unsigned verbose;
    const char *keep;
    bool calm;  /* no power cuts, no reopening */
    bool every; /* short runs, power cuts at every moment */
    bool quiet;
    bool alone; /* no power cuts on the side */
};

/* ---- power cuts ------------------------------------------------------------------------------ */

static void on_point(void *ctx, struct sim *sim, uint64_t point);

static void watch(struct world *w)
{
    sim_on_moments(w->sim, w->every ? SIM_ANY_MOMENT : SIM_BEFORE_SYNC, on_point, w);
}

/* A power cut of any mode, or a kill. What a failed sync left unwritten is readable until the
 * machine goes down, and nothing can save it: such a run loses power. */
static enum sim_crash draw_mode(const struct world *w, struct prng *rng)
{
    if (w->swarm->kill_percent > 0 && prng_below(rng, 100) < w->swarm->kill_percent &&
        !w->model->faults)
        return SIM_CRASH_KILL;
    return (enum sim_crash) prng_below(rng, SIM_CRASH_MODES);
}

static void open_or_fail(struct world *w, struct sim *sim, struct model *model)
{
    char why[256];
    enum err e = world_open(w, sim, model, why);
    if (e != ERR_OK)
        world_fail(w, "recovery: %s, %s", err_text(e), why);
    judge_recovered(w);
}

/* Half of the stops come while all workers have something to do. */
static void busy_close(struct world *w, struct prng *rng)
{
    for (uint64_t n = prng_below(rng, 2) * prng_below(rng, 12); n > 0; n--) {
        enum work_op op = work_draw(w);
        if (op < WORK_VERIFY)
            work_do(w, op);
        if (prng_below(rng, 3) == 0)
            world_step(w, 100000);
    }
    world_close(w);
}

/* Recovers what is left of a power cut in a world of its own, which then ends one way or another.
 * Behind a kill the start itself is cut more often: what it found may be in the page cache alone.
 */
static void try_recovery(struct world *parent, enum sim_crash mode, uint64_t seed, struct prng *rng,
                         const uint64_t *digest)
{
    struct sim *fork = sim_fork(parent->sim, mode, seed);
    unsigned again = parent->swarm->again_percent + (mode == SIM_CRASH_KILL ? KILLED_AGAIN : 0);
    struct world w = {.seed = parent->seed,
                      .pace = parent->pace,
                      .depth = parent->depth + 1,
                      .swarm = parent->swarm,
                      .keep = parent->keep,
                      .every = parent->every,
                      .twice = digest != NULL,
                      .log_lost = parent->log_lost,
                      .sim = fork};
    struct model *model = model_copy(parent->model);
    model->faults = false;
    sim_disk_set_capacity(sim_disk(fork), w.swarm->disk_bytes);
    model->full = false;
    w.model = model;
    if (w.depth < DEPTH_MAX && prng_below(rng, 100) < again)
        watch(&w);
    open_or_fail(&w, fork, model);
    sim_on_sync_point(fork, NULL, NULL);
    if (digest != NULL && w.digest != *digest)
        world_fail(&w, "two recoveries of the same disk left different bytes");
    for (uint64_t n = prng_below(rng, 4); n > 0; n--) {
        enum work_op op = work_draw(&w);
        if (op < WORK_VERIFY)
            work_do(&w, op);
    }
    if (prng_below(rng, 3) == 0) {
        busy_close(&w, rng);
    } else {
        if (prng_below(rng, 2) == 0)
            judge_live(&w);
        sim_crash(fork, draw_mode(&w, rng));
        world_vanish(&w);
        if (prng_below(rng, 2) == 0) {
            open_or_fail(&w, fork, model);
            world_close(&w);
        }
    }
    model_free(model);
    sim_close(fork);
}

/* Recovers, and once more: a second recovery changes no segment. Returns the digest of the disk
 * after the first. */
static uint64_t recover_twice(struct world *parent, enum sim_crash mode, uint64_t seed)
{
    struct model *model = model_copy(parent->model);
    struct world w = {.seed = parent->seed,
                      .pace = parent->pace,
                      .depth = parent->depth + 1,
                      .swarm = parent->swarm,
                      .keep = parent->keep};
    struct sim *fork = sim_fork(parent->sim, mode, seed);
    sim_disk_set_capacity(sim_disk(fork), w.swarm->disk_bytes);
    uint64_t segments = world_open_dir_only(&w, fork, model);
    uint64_t all = sim_disk_digest(sim_disk(fork), NULL);
    sim_crash(fork, SIM_CRASH_KEEP);
    world_vanish(&w);
    if (world_open_dir_only(&w, fork, model) != segments)
        world_fail(&w, "a second recovery changed segments");
    sim_crash(fork, SIM_CRASH_KEEP);
    world_vanish(&w);
    sim_close(fork);
    model_free(model);
    return all;
}

/* Two recoveries of the same disk leave the same bytes. */
static void try_twice(struct world *parent, enum sim_crash mode, uint64_t seed)
{
    if (recover_twice(parent, mode, seed) != recover_twice(parent, mode, seed))
        world_fail(parent, "two recoveries of the same disk left different bytes");
}

/* What is spent, but for half of all that may be, stays beside what is done; the more it is ahead,
 * the fewer moments are tried: half of them, a quarter... */
static bool too_much(struct world *w, struct prng *rng)
{
    struct world_pace *pace = w->pace;
    uint64_t allowed = PACE_PAGES / 2 + PACE_PAGES / 2 * (pace->done + 1ull) / pace->ops;
    uint64_t ahead = pace->spent > allowed ? (pace->spent - allowed) / (PACE_PAGES / 32) : 0;

    if (ahead > 0 && prng_below(rng, 1ull << (ahead < 20 ? ahead : 20)) != 0) {
        pace->left_out++;
        return true;
    }
    pace->spent += sim_disk_used(sim_disk(w->sim)) + PACE_CUT;
    return false;
}

static void try_cut(struct world *w, uint64_t point)
{
    struct prng rng;
    prng_init(&rng, hash_mix(w->seed + w->depth, point + 0x9e3779b97f4a7c15u));
    if (prng_below(&rng, 100) >= w->swarm->fork_percent || too_much(w, &rng))
        return;
    enum sim_crash mode = draw_mode(w, &rng);
    uint64_t seed = prng_u64(&rng);
    w->cuts++;
    if (w->every) {
        uint64_t digest = recover_twice(w, mode, seed);
        try_recovery(w, mode, seed, &rng, &digest);
    } else if (prng_below(&rng, 8) == 0) {
        try_twice(w, mode, seed);
    } else {
        try_recovery(w, mode, seed, &rng, NULL);
    }
}

static void on_point(void *ctx, struct sim *sim, uint64_t point)
{
    struct world *w = ctx;
    (void) sim;
    try_cut(w, point);
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* The next opening may have another key. */
static void draw_key(struct world *w)
{
    if (w->swarm->rekey_percent != 0 && prng_below(sim_rng(w->sim), 100) < w->swarm->rekey_percent)
        w->model->key++;
}

static void crash(struct world *w)
{
    sim_crash(w->sim, draw_mode(w, sim_rng(w->sim)));
    world_vanish(w);
    for (unsigned f = 0; f < SIM_FAULTS; f++)
        sim_fault_arm(w->sim, (enum sim_fault) f, 0, 0);
    w->model->faults = w->model->full = false;
    sim_disk_set_capacity(sim_disk(w->sim), w->swarm->disk_bytes);
    draw_key(w);
    open_or_fail(w, w->sim, w->model);
}

/* ---- the log goes ---------------------------------------------------------------------------- */

/* Files of log/ and twin/. */
struct logs {
    char paths[64][80];
    unsigned n;
    uint64_t newest;       /* generation of a log */
    uint64_t twins[64][2]; /* generation, worker */
    unsigned ntwins;
};

static void note_log(void *ctx, const char *path, struct sim_inode *ino)
{
    struct logs *l = ctx;
    const char *name = strrchr(path, '/');
    uint64_t generation, number;
    uint32_t worker;

    (void) ino;
    if (name == NULL || l->n == 64 || l->ntwins == 64)
        return;
    if (log_name_parse(name + 1, &generation, &worker, &number)) {
        snprintf(l->paths[l->n++], sizeof(l->paths[0]), "/%s", path + (path[0] == '/'));
        l->newest = generation > l->newest ? generation : l->newest;
    } else if (twin_name_parse(name + 1, &generation, &worker, &number)) {
        l->twins[l->ntwins][0] = generation;
        l->twins[l->ntwins++][1] = worker;
    }
}

/* A worker whose disk was full may have none. */
static bool has_twins(const struct logs *l, unsigned workers)
{
    uint64_t seen = 0;

    for (unsigned i = 0; i < l->ntwins; i++)
        if (l->twins[i][0] == l->newest)
            seen |= 1ull << l->twins[i][1];
    return seen == (1ull << workers) - 1;
}

/* Near its beginning: most files are not full. */
static void damage_log(struct world *w, const char *path)
{
    struct sim_disk *d = sim_disk(w->sim);
    struct prng *rng = sim_rng(w->sim);
    char zeros[4096] = {0};
    struct sim_inode *ino;

    switch (prng_below(rng, 3)) {
    case 0:
        sim_disk_unlink(d, path);
        return;
    case 1:
        if (sim_disk_lookup(d, path, &ino) < 0)
            return;
        sim_disk_truncate(d, ino, prng_below(rng, DAMAGE_MAX));
        break;
    default:
        if (sim_disk_lookup(d, path, &ino) < 0)
            return;
        sim_disk_write(d, ino, zeros, sizeof(zeros),
                       prng_below(rng, DAMAGE_MAX / sizeof(zeros)) * sizeof(zeros));
    }
    sim_disk_release(d, ino);
}

/* After a clean close a file of the log may go, in part or whole, without any loss: its twin is
 * there. */
static void lose_log(struct world *w)
{
    struct logs l = {.n = 0};
    struct prng *rng = sim_rng(w->sim);

    sim_disk_walk(sim_disk(w->sim), note_log, &l);
    w->log_lost = w->clean && l.n > 0 && prng_below(rng, 2) == 0 &&
                  has_twins(&l, w->swarm->workers);
    if (!w->log_lost)
        return;
    /* The first one is in use; most others are spares. */
    const char *path = l.paths[prng_below(rng, 2) == 0 ? 0 : prng_below(rng, l.n)];
    sim_trace(w->sim, "the log is damaged: %s", path);
    damage_log(w, path);
}

/* ---- decay ----------------------------------------------------------------------------------- */

/* The store is closed: on a copy of its disk something decays. It starts, loses what was touched
 * and says how much, goes on, and the next start finds the same. */
static void try_decay(struct world *parent, unsigned number)
{
    struct prng rng;
    struct logs l = {.n = 0};
    struct world w = {.seed = parent->seed,
                      .pace = parent->pace,
                      .depth = parent->depth + 1,
                      .swarm = parent->swarm,
                      .keep = parent->keep};

    prng_init(&rng, hash_mix(w.seed + number, sim_now(parent->sim) + 0x6465636179u));
    struct sim *fork = sim_fork(parent->sim, SIM_CRASH_KILL, prng_u64(&rng));
    struct model *model = model_copy(parent->model);
    model->full = false;
    sim_disk_set_capacity(sim_disk(fork), w.swarm->disk_bytes);
    sim_disk_walk(sim_disk(fork), note_log, &l);
    decay_draw(&w.decay, fork, has_twins(&l, w.swarm->workers), &rng);
    open_or_fail(&w, fork, model);
    for (uint64_t n = prng_below(&rng, 6); n > 0; n--) {
        enum work_op op = work_draw(&w);
        if (op < WORK_VERIFY)
            work_do(&w, op);
    }
    if (prng_below(&rng, 2) == 0) {
        judge_live(&w);
        world_close(&w);
    } else {
        sim_crash(fork, draw_mode(&w, &rng));
        world_vanish(&w);
    }
    open_or_fail(&w, fork, model);
    world_close(&w);
    model_free(model);
    sim_close(fork);
}

static void reopen(struct world *w)
{
    if (w->model->faults || (w->model->full && prng_below(sim_rng(w->sim), 2) == 0)) {
        crash(w);
        return;
    }
    busy_close(w, sim_rng(w->sim));
    for (unsigned i = 0; i < DECAYS && w->clean; i++)
        try_decay(w, i);
    lose_log(w);
    w->model->full = false;
    sim_disk_set_capacity(sim_disk(w->sim), w->swarm->disk_bytes);
    if (prng_below(sim_rng(w->sim), 2) == 0)
        sim_crash(w->sim, draw_mode(w, sim_rng(w->sim)));
    draw_key(w);
    open_or_fail(w, w->sim, w->model);
    w->log_lost = false;
}

static void work(struct world *w)
{
    for (unsigned n = 0; n < w->swarm->ops; n++) {
        w->pace->done = n;
        enum work_op op = work_draw(w);
        if (op != WORK_CRASH && op != WORK_REOPEN)
            work_do(w, op);
        else if (!w->calm)
            (op == WORK_CRASH ? crash : reopen)(w);
        for (uint64_t k = prng_below(sim_rng(w->sim), w->swarm->steps + 1); k > 0; k--) {
            if (!world_step(w, 1000000))
                break;
        }
    }
    if ((w->model->full || w->model->faults) && !w->calm)
        crash(w);
    judge_live(w);
    if (!w->calm)
        reopen(w);
    world_close(w);
}

/* Returns the hash of the trace. */
static uint64_t run_seed(uint64_t seed, const struct settings *set)
{
    struct swarm swarm;
    struct sim_options options;
    char text[400];
    sim_options_init(&options);
    struct world_pace pace = {0};
    struct world w = {.seed = seed,
                      .pace = &pace,
                      .swarm = &swarm,
                      .keep = set->keep,
                      .calm = set->calm,
                      .every = set->every};
    options.trace = set->verbose > 0 ? stdout : NULL;
    options.trace_forks = set->verbose > 1;
    struct prng rng;
    prng_init(&rng, seed ^ 0x737761726du);
    swarm_draw(&swarm, &rng);
    if (set->every)
        swarm_shorten(&swarm, &rng);
    if (set->calm)
        swarm.fork_percent = swarm.weights[WORK_FAULT] = swarm.weights[WORK_FULL] = 0;
    options.capacity = swarm.disk_bytes;
    struct sim *sim = sim_open(seed, &options);
    swarm_print(&swarm, text, sizeof(text));
    sim_trace(sim, "swarm %s", text);
    struct model *model = model_new();
    model->key = swarm.encrypted ? 1 : 0;
    pace.ops = swarm.ops;
    if (set->alone)
        swarm.fork_percent = 0;
    w.sim = sim;
    w.model = model;
    sim_lie(sim, set->lies);
    watch(&w);
    open_or_fail(&w, sim, model);
    work(&w);
    if (set->verbose > 0)
        printf("seed %llu: %s; %llu sync points, %llu power cuts on the side, %llu left "
               "out, %llu pages\n",
               (unsigned long long) seed, text, (unsigned long long) sim_sync_points(sim),
               (unsigned long long) w.cuts, (unsigned long long) pace.left_out,
               (unsigned long long) pace.spent);
    uint64_t hash = sim_trace_hash(sim);
    model_free(model);
    sim_close(sim);
    return hash;
}

/* ---- many seeds ------------------------------------------------------------------------------ */

struct tally {
    unsigned passed, failed;
    uint64_t failed_first; /* UINT64_MAX = none */
};

/* Seeds that run now, each in a process of its own, so that a crash of the code under test is a
 * failed seed. */
struct crew {
    const struct settings *set;
    struct tally *tally;
    unsigned n;
    struct {
        pid_t pid;
        uint64_t seed;
    } job[JOBS];
};

static void seed_ended(struct crew *c, uint64_t seed, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        c->tally->passed++;
        return;
    }
    c->tally->failed++;
    if (seed < c->tally->failed_first)
        c->tally->failed_first = seed;
    if (c->set->quiet)
        return;
    if (WIFSIGNALED(status))
        fprintf(stderr, "seed %llu: signal %d, %s\n", (unsigned long long) seed, WTERMSIG(status),
                strsignal(WTERMSIG(status)));
    printf("failed: ./dev sim --store%s --seed %llu\n", c->set->every ? " --every" : "",
           (unsigned long long) seed);
}

static void crew_wait(struct crew *c, unsigned most)
{
    while (c->n > most) {
        int status = 0;
        pid_t pid = wait(&status);
        if (pid < 0) {
            perror("wait");
            exit(2);
        }
        for (unsigned i = 0; i < c->n; i++) {
            if (c->job[i].pid != pid)
                continue;
            uint64_t seed = c->job[i].seed;
            c->job[i] = c->job[--c->n];
            seed_ended(c, seed, status);
            break;
        }
    }
}

static void crew_run(struct crew *c, uint64_t seed)
{
    crew_wait(c, JOBS - 1);
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        exit(2);
    }
    if (child == 0) {
        struct rlimit cpu = {SEED_SECONDS, SEED_SECONDS};
        setrlimit(RLIMIT_CPU, &cpu);
        if (c->set->quiet && freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
#ifdef MIDGE_PLANT
        store_planted = (enum store_plant) c->set->plant;
#endif
        run_seed(seed, c->set);
        fflush(NULL);
        _exit(0);
    }
    c->job[c->n].pid = child;
    c->job[c->n++].seed = seed;
}

static void try_seeds(uint64_t from, uint64_t n, const struct settings *set, struct tally *t)
{
    struct crew c = {.set = set, .tally = t};
    for (uint64_t seed = from; seed < from + n; seed++)
        crew_run(&c, seed);
    crew_wait(&c, 0);
}

/* Short runs and long ones. */
static void try_both(uint64_t from, uint64_t n, const struct settings *set, struct tally *t)
{
    struct settings every = *set;
    try_seeds(from, n, set, t);
    every.every = true;
    try_seeds(from, n, &every, t);
}

/* A disk that lies must be found out within the canary's seeds. */
static void try_canary(const char *name, unsigned lie, struct tally *t)
{
    struct settings set = {.lies = lie, .quiet = true};
    struct tally found = {.failed_first = UINT64_MAX};
    for (uint64_t seed = 1; seed <= CANARY_SEEDS && found.failed == 0; seed += JOBS)
        try_seeds(seed, JOBS, &set, &found);
    if (found.failed > 0) {
        printf("canary %s: found by seed %llu\n", name, (unsigned long long) found.failed_first);
        t->passed++;
        return;
    }
    t->failed++;
    printf("canary %s: not found by %d seeds: the proof proves nothing\n", name, CANARY_SEEDS);
}

static int finish(const struct tally *t)
{
    printf("cases: %u passed, %u failed\n", t->passed, t->failed);
    return t->failed == 0 && t->passed > 0 ? 0 : 1;
}

#ifdef MIDGE_PLANT
static const char *const plant_names[PLANTS] = {
    [PLANT_NOTHING] = "nothing",
    [PLANT_START_UNSYNCED] = "start-unsynced",
    [PLANT_START_BELIEVED] = "start-believed",
    [PLANT_OLD_LOG_FIRST] = "old-log-first",
    [PLANT_REPLAY_UNSYNCED] = "replay-unsynced",
    [PLANT_ACK_EARLY] = "ack-early",
    [PLANT_REMOVAL_UNLOGGED] = "removal-unlogged",
    [PLANT_SALT_REUSED] = "salt-reused",
    [PLANT_PROVEN_EARLY] = "proven-early",
    [PLANT_NAME_UNSYNCED] = "name-unsynced",
    [PLANT_TWIN_HALF] = "twin-half",
    [PLANT_TWIN_EARLY] = "twin-early",
    [PLANT_SUM_IGNORED] = "sum-ignored",
    [PLANT_LOSS_UNCOUNTED] = "loss-uncounted",
    [PLANT_ERASE_EARLY] = "erase-early",
    [PLANT_REWRITE_UNSYNCED] = "rewrite-unsynced",
    [PLANT_LIMIT_GREEDY] = "limit-greedy",
};

static unsigned plant_of(const char *name)
{
    for (unsigned i = 0; i < PLANTS; i++) {
        if (strcmp(name, plant_names[i]) == 0)
            return i;
    }
    fprintf(stderr, "--plant: one of store/plant.h\n");
    exit(2);
}

/* Each bug must be found within the canary's seeds; without one they pass. */
static int run_planted(void)
{
    struct tally t = {.failed_first = UINT64_MAX};
    for (unsigned plant = 0; plant < PLANTS; plant++) {
        struct settings set = {.plant = plant, .quiet = plant != 0};
        struct tally found = {.failed_first = UINT64_MAX};
        uint64_t last = plant == PLANT_NOTHING ? JOBS : CANARY_SEEDS;
        for (uint64_t seed = 1; seed <= last && found.failed == 0; seed += JOBS)
            try_both(seed, JOBS, &set, &found);
        bool right = (found.failed > 0) == (plant != PLANT_NOTHING);
        *(right ? &t.passed : &t.failed) += 1;
        if (found.failed > 0)
            printf("planted %s: found by seed %llu\n", plant_names[plant],
                   (unsigned long long) found.failed_first);
        else
            printf("planted %s: not found by %llu seeds\n", plant_names[plant],
                   (unsigned long long) last);
    }
    return finish(&t);
}
#endif

/* One seed run twice gives the same trace, with power cuts on the side or without. */
static void try_same(struct tally *t)
{
    struct settings set = {.quiet = true}, alone = {.quiet = true, .alone = true};
    uint64_t one = run_seed(SAME_SEED, &set);
    bool same = run_seed(SAME_SEED, &set) == one && run_seed(SAME_SEED, &alone) == one;
    *(same ? &t->passed : &t->failed) += 1;
    if (!same)
        printf("failed: three runs of seed %d have different traces\n", SAME_SEED);
}

/* tests/sim/seeds/store: a seed at the start of a line, then what it once found. */
static void try_kept_seeds(const struct settings *set, struct tally *t)
{
    char path[1024], line[512];
    const char *top = getenv("MIDGE_SRCDIR");
    snprintf(path, sizeof(path), "%s/tests/sim/seeds/store", top != NULL ? top : ".");
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        printf("failed: %s can not be read\n", path);
        t->failed++;
        return;
    }
    while (fgets(line, sizeof(line), f) != NULL) {
        char *end;
        uint64_t seed = strtoull(line, &end, 10);
        if (end != line)
            try_seeds(seed, 1, set, t);
    }
    fclose(f);
}

static int run_fixed(const struct settings *set)
{
    struct tally t = {.failed_first = UINT64_MAX};
    try_kept_seeds(set, &t);
    try_both(1, FIXED_SEEDS, set, &t);
    if (t.failed == 0) {
        try_same(&t);
        try_canary("commit", SIM_LIE_COMMIT, &t);
        try_canary("sync", SIM_LIE_SYNC, &t);
        try_canary("dir", SIM_LIE_DIR, &t);
    }
    return finish(&t);
}

/* ---- the command line ------------------------------------------------------------------------ */

static unsigned lie_of(const char *name)
{
    if (strcmp(name, "commit") == 0)
        return SIM_LIE_COMMIT;
    if (strcmp(name, "sync") == 0)
        return SIM_LIE_SYNC;
    if (strcmp(name, "dir") == 0)
        return SIM_LIE_DIR;
    fprintf(stderr, "--lie: commit, sync or dir\n");
    exit(2);
}

int main(int argc, char **argv)
{
    struct settings set = {0};
    uint64_t seed = 0, seeds = 0, from = 1;
    bool one = false;
    sim_mem_keep();
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "-v") == 0 || strcmp(argv[i], "-vv") == 0) {
            set.verbose = (unsigned) strlen(argv[i]) - 1;
            continue;
        }
        if (strcmp(argv[i], "--calm") == 0) {
            set.calm = true;
            continue;
        }
        if (strcmp(argv[i], "--every") == 0) {
            set.every = true;
            continue;
        }
        if (strcmp(argv[i], "--seed") == 0) {
            one = true;
            seed = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--seeds") == 0) {
            seeds = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--from") == 0) {
            from = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--lie") == 0) {
            set.lies = lie_of(value);
#ifdef MIDGE_PLANT
        } else if (strcmp(argv[i], "--plant") == 0) {
            store_planted = (enum store_plant)(set.plant = plant_of(value));
#endif
        } else if (strcmp(argv[i], "--keep") == 0) {
            set.keep = value;
        } else {
            fprintf(stderr,
                    "usage: %s [--seed S | --seeds N [--from F]] [--every] [-v | -vv] [--lie KIND] "
                    "[--keep DIR]\n",
                    argv[0]);
            return 2;
        }
        i++;
    }
    if (one) {
        setvbuf(stdout, NULL, _IOLBF, 0);
        uint64_t hash = run_seed(seed, &set);
        printf("seed %llu passed, trace %016llx\n", (unsigned long long) seed,
               (unsigned long long) hash);
        return 0;
    }
#ifdef MIDGE_PLANT
    if (seeds == 0)
        return run_planted();
#endif
    if (seeds == 0)
        return run_fixed(&set);
    struct tally t = {.failed_first = UINT64_MAX};
    (set.every ? try_seeds : try_both)(from, seeds, &set, &t);
    return finish(&t);
}
