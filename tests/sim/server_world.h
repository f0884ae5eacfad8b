/*
 * server_world.h - one simulated machine with a whole server on it, the clients on other machines,
 * and the model beside them.
 *
 * A world is opened on a sim (fresh, after a crash, or forked), boots the server over its disk, and
 * steps workers and clients one iteration at a time. It ends by a clean stop or by vanishing.
 *
 * world_fail ends the process: a run that went wrong is replayed from its seed.
 */
#ifndef TESTS_SIM_SERVER_WORLD_H
#define TESTS_SIM_SERVER_WORLD_H

#include "lib/base/list.h"
#include "server/config/options.h"
#include "server/parts.h"
#include "tests/sim/server_swarm.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_mem.h"

struct model;

enum { WORLD_PORT = 4222, WORLD_KAFKA_PORT = 9092 };

/* Bugs that are planted by hand: the proof must find each. */
enum world_plant {
    PLANT_EARLY_REPLIES = 1,  /* replies wait for the commit before their own */
    PLANT_EARLY_PRODUCE = 2,  /* Produce is answered when it is assigned */
    PLANT_LOOSE_BATCHES = 8,  /* atomic batches are not: server_batch.c */
    PLANT_NO_PRODUCERS = 4,   /* what producers sent before the start is not read back */
    PLANT_NO_MARKERS = 16,    /* nor are the ends of transactions */
    PLANT_EARLY_RECORDS = 32, /* what the coordinator writes is believed before it is durable */
    PLANT_OLD_EPOCHS = 64,    /* the end of a transaction does not raise its epoch */
};

struct world {
    uint64_t seed;
    const char *keep; /* where the disk goes when the run fails; NULL = nowhere */
    unsigned depth;   /* 0 = the run; 1 = a power cut tried on the side */
    bool calm;        /* no power cuts, no restarts */
    unsigned plants;  /* enum world_plant: bugs, see server_plant.c */
    const struct swarm *swarm;
    struct sim *sim;
    struct model *model;
    struct sim_arena *arena; /* the server's memory */
    struct options options;
    struct server_parts parts;
    unsigned workers; /* of this boot */
    bool up;          /* between boot and stop or vanish */
    bool stopped;     /* parts_stop is done */
    struct list clients;
    unsigned last_client; /* number of either kind */
    struct list kclients; /* of Kafka */
    struct list wires;    /* the connections of both */
    unsigned boots;
    unsigned forks; /* power cuts tried so far */
};

_Noreturn void world_fail(struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Starts the server: loops, recovery, listener. */
void world_boot(struct world *w);
/* Stops it as SIGTERM does and checks that nothing is left of it. */
void world_stop(struct world *w);
/* The machine or the process is gone (the sim's loops have vanished already): forgets the server.
 */
void world_vanish(struct world *w);
/* Validates every object of the server that can be. */
void world_check(struct world *w);

/* One iteration of one loop, the server's or a client's; false when nothing happens in this time.
 */
bool world_step(struct world *w, uint64_t max_wait_ns);
/* So many steps, or until nothing happens for a millisecond. */
void world_steps(struct world *w, unsigned n);

#endif
