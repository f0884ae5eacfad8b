/*
 * sim_server.c - the whole server, simulated: clients work on it over a simulated network while
 * power fails, the process dies, disks fill up and connections break; what they were told must
 * stay true.
 *
 *     sim_server                 the fixed seeds of `make check`, the seeds of
 *                                tests/sim/seeds/server, one seed twice, the canaries
 *     sim_server --seeds N       N seeds from 1 on (--from F: from F on)
 *     sim_server --seed S [-v]   exactly this one, in this process; -v prints every event, -vv also
 *                                those of power cuts tried on the side
 *     --kill                     the process also dies now and then, with the page cache surviving
 *     --fault                    writes and syncs fail now and then
 *     --plant NAME               plants a bug (server_plant.c): replies, produce, producers,
 *                                batches, markers, records, epochs; when a hundred seeds pass there
 *                                is a hole in the proof
 *     --kafka, --no-kafka        every seed has clients of Kafka, or none; else two of five
 *     --txns                     every seed has clients of Kafka, and transactions; else a third
 *                                of those with such clients
 *     --calm                     no power cuts and no restarts
 *     --keep DIR                 on failure the disk's contents go to this directory
 *
 * A run of a seed: draw what it is like (server_swarm.h); boot a server on an empty disk; let
 * clients do operations, stepping the loops between them; at some sync points try a power cut on a
 * copy of the disk (boot, compare with what clients were told); end and boot the server in several
 * ways; at the end let every consumer come to its end, stop, boot, and compare once more.
 * docs/internals/sim.md tells it in prose.
 */
#include "lib/base/hash.h"
#include "tests/sim/server_kafka.h"
#include "tests/sim/server_kafka_work.h"
#include "tests/sim/server_work.h"

#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIXED_SEEDS 200
#define FAULT_SEEDS 60
#define CANARY_SEEDS 100
#define SEED_SECONDS 120

/* Which seeds have clients of Kafka. */
enum kafka_seeds { SOME, NONE, ALL };

struct settings {
    unsigned verbose;
    const char *keep;
    bool calm, kills, faults, quiet, txns;
    unsigned plants; /* enum world_plant */
    enum kafka_seeds kafka;
};

/* ---- power cuts tried on the side ------------------------------------------------------------ */

static enum sim_crash draw_mode(struct prng *rng)
{
    return (enum sim_crash) prng_below(rng, SIM_CRASH_MODES);
}

static void try_cut(struct world *parent, uint64_t point, struct prng *rng)
{
    struct sim *fork = sim_fork(parent->sim, draw_mode(rng), hash_mix(parent->seed, point));
    struct sim_arena *before = sim_arena_use(NULL);
    struct world w = {
        .seed = parent->seed,
        .depth = parent->depth + 1,
        .swarm = parent->swarm,
        .keep = parent->keep,
        .sim = fork,
        .model = parent->model,
        .boots = parent->boots,
    };

    list_init(&w.clients);
    list_init(&w.kclients);
    list_init(&w.wires);
    sim_disk_set_capacity(sim_disk(fork), w.swarm->disk_bytes);
    world_boot(&w);
    judge_all(&w, false);
    world_stop(&w);
    sim_close(fork);
    sim_arena_use(before);
}

static void on_point(void *ctx, struct sim *sim, uint64_t point)
{
    struct world *w = ctx;
    struct prng rng;

    (void) sim;
    prng_init(&rng, hash_mix(w->seed, point + 0x9e3779b97f4a7c15u));
    if (w->calm || w->forks >= w->swarm->forks_max ||
        prng_below(&rng, 100) >= w->swarm->fork_percent)
        return;
    w->forks++;
    try_cut(w, point, &rng);
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* What was being asked for is not under way any more: the connections are broken. */
static void boot_again(struct world *w)
{
    sim_fault_chance(w->sim, SIM_FAULT_RESET, 0);
    sim_disk_set_capacity(sim_disk(w->sim), w->swarm->disk_bytes);
    sim_fault_arm(w->sim, SIM_FAULT_WRITE, 0, 0);
    sim_fault_arm(w->sim, SIM_FAULT_SYNC, 0, 0);
    w->model->full = false;
    w->model->unseen = true;
    model_watch_disk(w);
    world_boot(w);
    /* Answers of the server before are still on their way. */
    work_settle(w);
    w->model->faulty = w->model->stopped = false;
    judge_all(w, true);
    w->model->unseen = false;
}

static void crash(struct world *w)
{
    sim_crash(w->sim, draw_mode(sim_rng(w->sim)));
    world_vanish(w);
    boot_again(w);
}

static void kill_server(struct world *w)
{
    /* What a failed sync has lost can be read until the machine goes down; no program can tell. */
    if (w->model->faulty) {
        crash(w);
        return;
    }
    sim_kill(w->sim);
    world_vanish(w);
    boot_again(w);
}

static void restart(struct world *w)
{
    /* A server that can not write can not stop well. */
    if (w->model->faulty) {
        crash(w);
        return;
    }
    if (w->model->full)
        work_settle(w);
    w->model->stopped = true;
    world_stop(w);
    boot_again(w);
}

static void verify(struct world *w)
{
    if (w->model->faulty) {
        crash(w);
        return;
    }
    work_settle(w);
    judge_all(w, true);
}

static void work(struct world *w)
{
    for (unsigned n = 0; n < w->swarm->ops; n++) {
        enum work_op op = work_draw(w);
        if (op == WORK_VERIFY)
            verify(w);
        else if (op != WORK_CRASH && op != WORK_RESTART && op != WORK_KILL)
            work_do(w, op);
        else if (!w->calm)
            (op == WORK_RESTART ? restart : op == WORK_KILL ? kill_server : crash)(w);
        world_steps(w, (unsigned) prng_below(sim_rng(w->sim), w->swarm->steps + 1));
    }
    verify(w);
    work_drain(w);
    verify(w);
    judge_drained(w);
    if (!w->calm)
        restart(w);
}

static void close_clients(struct world *w)
{
    LIST_FOREACH_SAFE(it, tmp, &w->clients)
    work_client_close(LIST_ENTRY(it, struct client, link));
}

/* Returns the hash of the trace. */
static uint64_t run_seed(uint64_t seed, const struct settings *set)
{
    struct swarm swarm;
    struct sim_options options;
    struct prng rng;
    char text[400];
    struct world w = {.seed = seed,
                      .swarm = &swarm,
                      .keep = set->keep,
                      .calm = set->calm,
                      .plants = set->plants,
                      .model = model_new()};

    list_init(&w.clients);
    list_init(&w.kclients);
    list_init(&w.wires);
    prng_init(&rng, seed ^ 0x736572766572u);
    swarm_draw(&swarm, &rng);
    if (set->kafka == ALL || (set->kafka == SOME && swarm_is_kafka(seed)))
        swarm_with_kafka(&swarm, seed);
    swarm_with_batches(&swarm, seed);
    if (swarm.kafka && (set->txns || swarm_is_txns(seed)))
        swarm_with_txns(&swarm, seed);
    if (set->kills)
        swarm_with_kills(&swarm);
    if (set->faults)
        swarm_with_faults(&swarm);
    sim_options_init(&options);
    swarm_sim_options(&swarm, &options);
    options.trace = set->verbose > 0 ? stdout : NULL;
    options.trace_forks = set->verbose > 1;
    w.sim = sim_open(seed, &options);
    swarm_print(&swarm, text, sizeof(text));
    sim_trace(w.sim, "swarm %s", text);
    sim_on_sync_point(w.sim, on_point, &w);
    model_watch_disk(&w);
    world_boot(&w);
    for (unsigned i = 0; i < swarm.clients; i++)
        work_client_open(&w);
    kafka_open_clients(&w);
    work_settle(&w);
    work(&w);
    close_clients(&w);
    kafka_close_clients(&w);
    world_stop(&w);
    uint64_t hash = sim_trace_hash(w.sim);
    if (set->verbose > 0)
        printf("seed %llu: %s; %zu messages, %u boots, %u power cuts on the side\n",
               (unsigned long long) seed, text, w.model->nmsgs, w.boots, w.forks);
    model_free(w.model);
    sim_close(w.sim);
    return hash;
}

/* ---- many seeds ------------------------------------------------------------------------------ */

/* In a process of its own, so that a crash of the code under test is a failed seed. */
static bool seed_passes(uint64_t seed, const struct settings *set)
{
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        exit(2);
    }
    if (child == 0) {
        alarm(SEED_SECONDS);
        if (set->quiet && freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        run_seed(seed, set);
        fflush(NULL);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status) && !set->quiet)
        fprintf(stderr, "seed %llu: signal %d, %s\n", (unsigned long long) seed, WTERMSIG(status),
                strsignal(WTERMSIG(status)));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

struct tally {
    unsigned passed, failed;
};

static void try_seed(uint64_t seed, const struct settings *set, struct tally *t)
{
    if (seed_passes(seed, set)) {
        t->passed++;
        return;
    }
    t->failed++;
    printf("failed: ./dev sim --server --seed %llu%s%s%s\n", (unsigned long long) seed,
           set->kills ? " --kill" : "", set->faults ? " --fault" : "",
           set->txns            ? " --txns"
           : set->kafka == ALL  ? " --kafka"
           : set->kafka == NONE ? " --no-kafka"
                                : "");
}

static const struct {
    const char *name;
    enum world_plant plant;
    enum kafka_seeds kafka;
    bool txns; /* in every seed */
} plants[] = {
    {"replies", PLANT_EARLY_REPLIES, NONE, false}, {"produce", PLANT_EARLY_PRODUCE, ALL, false},
    {"producers", PLANT_NO_PRODUCERS, ALL, false}, {"batches", PLANT_LOOSE_BATCHES, NONE, false},
    {"markers", PLANT_NO_MARKERS, ALL, false},     {"records", PLANT_EARLY_RECORDS, ALL, true},
    {"epochs", PLANT_OLD_EPOCHS, ALL, true},
};

static void try_canary(unsigned i, struct tally *t)
{
    struct settings set = {
        .plants = plants[i].plant, .quiet = true, .kafka = plants[i].kafka, .txns = plants[i].txns};

    for (uint64_t seed = 1; seed <= CANARY_SEEDS; seed++)
        if (!seed_passes(seed, &set)) {
            printf("canary %s: found by seed %llu\n", plants[i].name, (unsigned long long) seed);
            t->passed++;
            return;
        }
    t->failed++;
    printf("canary %s: not found by %d seeds: the proof proves nothing\n", plants[i].name,
           CANARY_SEEDS);
}

/* One seed run twice gives the same trace. */
static void try_same(struct tally *t)
{
    struct settings set = {.quiet = true};
    bool same = true;

    for (uint64_t seed = 1; seed <= 4; seed++) {
        set.kafka = seed % 2 == 0 ? ALL : NONE;
        uint64_t one = run_seed(seed, &set);
        same = same && run_seed(seed, &set) == one;
    }
    *(same ? &t->passed : &t->failed) += 1;
    if (!same)
        printf("failed: two runs of a seed have different traces\n");
}

/* A line of tests/sim/seeds/server: words for options, a seed. False: it has none. */
static bool parse_kept(struct str line, struct settings *set, uint64_t *seed)
{
    set->kafka = NONE;
    set->kills = set->faults = set->txns = false;
    for (struct str word; line.n > 0;) {
        word = str_cut(line, ' ', &line);
        if (str_to_u64(word, seed))
            return true;
        if (str_eq(word, STR("txns")))
            set->kafka = ALL, set->txns = true;
        else if (str_eq(word, STR("kafka")))
            set->kafka = ALL;
        else if (str_eq(word, STR("kill")))
            set->kills = true;
        else if (str_eq(word, STR("fault")))
            set->faults = true;
        else
            return false;
    }
    return false;
}

/* tests/sim/seeds/server: a seed at the start of a line ("kafka kill 7": with --kafka --kill), then
 * what it once found. */
static void try_kept_seeds(struct settings *set, struct tally *t)
{
    char path[1024], line[512];
    const char *top = getenv("MIDGE_SRCDIR");
    uint64_t seed;

    snprintf(path, sizeof(path), "%s/tests/sim/seeds/server", top != NULL ? top : ".");
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        printf("failed: %s can not be read\n", path);
        t->failed++;
        return;
    }
    while (fgets(line, sizeof(line), f) != NULL)
        if (parse_kept(str_of(line), set, &seed))
            try_seed(seed, set, t);
    set->kafka = SOME;
    set->kills = set->faults = set->txns = false;
    fclose(f);
}

static int finish(const struct tally *t)
{
    printf("cases: %u passed, %u failed\n", t->passed, t->failed);
    return t->failed == 0 && t->passed > 0 ? 0 : 1;
}

static int run_fixed(struct settings *set)
{
    struct tally t = {0};

    try_kept_seeds(set, &t);
    for (uint64_t seed = 1; seed <= FIXED_SEEDS; seed++)
        try_seed(seed, set, &t);
    set->faults = true;
    for (uint64_t seed = 1; seed <= FAULT_SEEDS; seed++)
        try_seed(seed, set, &t);
    if (t.failed == 0) {
        try_same(&t);
        for (unsigned i = 0; i < ARRAY_LEN(plants); i++)
            try_canary(i, &t);
    }
    return finish(&t);
}

static unsigned plant_of(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(plants); i++)
        if (strcmp(plants[i].name, name) == 0)
            return plants[i].plant;
    fprintf(stderr, "there is no planted bug %s\n", name);
    exit(2);
}

/* ---- the command line ------------------------------------------------------------------------ */

static int usage(const char *program)
{
    fprintf(
        stderr,
        "usage: %s [--seed S | --seeds N [--from F]] [-v | -vv] [--plant NAME] [--calm] [--kill] "
        "[--fault] [--kafka | --txns | --no-kafka] [--keep DIR]\n",
        program);
    return 2;
}

int main(int argc, char **argv)
{
    struct settings set = {0};
    uint64_t seed = 0, seeds = 0, from = 1;
    bool one = false;

    /* What the server makes with it belongs to the machine, too. */
    json_set_alloc_funcs(mem_alloc, mem_free);
    json_object_seed(1);
    sim_mem_keep();
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "-v") == 0 || strcmp(argv[i], "-vv") == 0)
            set.verbose = (unsigned) strlen(argv[i]) - 1;
        else if (strcmp(argv[i], "--calm") == 0)
            set.calm = true;
        else if (strcmp(argv[i], "--kill") == 0)
            set.kills = true;
        else if (strcmp(argv[i], "--fault") == 0)
            set.faults = true;
        else if (strcmp(argv[i], "--txns") == 0)
            set.kafka = ALL, set.txns = true;
        else if (strcmp(argv[i], "--kafka") == 0)
            set.kafka = ALL;
        else if (strcmp(argv[i], "--no-kafka") == 0)
            set.kafka = NONE;
        else if (strcmp(argv[i], "--plant") == 0 && i++ < argc)
            set.plants |= plant_of(value);
        else if (strcmp(argv[i], "--seed") == 0 && i++ < argc)
            one = true, seed = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--seeds") == 0 && i++ < argc)
            seeds = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--from") == 0 && i++ < argc)
            from = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--keep") == 0 && i++ < argc)
            set.keep = value;
        else
            return usage(argv[0]);
    }
    if (one) {
        setvbuf(stdout, NULL, _IOLBF, 0);
        uint64_t hash = run_seed(seed, &set);
        printf("seed %llu passed, trace %016llx\n", (unsigned long long) seed,
               (unsigned long long) hash);
        return 0;
    }
    if (seeds == 0)
        return run_fixed(&set);
    struct tally t = {0};
    for (uint64_t s = from; s < from + seeds; s++)
        try_seed(s, &set, &t);
    return finish(&t);
}
