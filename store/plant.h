/*
 * plant.h - bugs for the simulator to find. A proof that can not fail proves nothing, so the tests
 * build the store once more with MIDGE_PLANT and plant one bug after the other
 * (tests/sim/sim_store.c). In every other build PLANTED() is the constant false.
 */
#ifndef STORE_PLANT_H
#define STORE_PLANT_H

enum store_plant {
    PLANT_NOTHING,
    PLANT_START_UNSYNCED,  /* START of a new log generation is not synced before the old one goes */
    PLANT_START_BELIEVED,  /* a log that is in the page cache alone is gone by */
    PLANT_OLD_LOG_FIRST,   /* the old log goes before the new one is complete */
    PLANT_REPLAY_UNSYNCED, /* data of the log is not synced in its segments before the log goes */
    PLANT_ACK_EARLY,       /* a commit of the log is acknowledged when it is written */
    PLANT_REMOVAL_UNLOGGED, /* a removal is acknowledged and not in the log */
    PLANT_SALT_REUSED,      /* all log files of a worker have one salt */
    PLANT_PROVEN_EARLY,     /* batches claim as durable what is only assigned */
    PLANT_NAME_UNSYNCED,    /* a new segment's name is not synced */
    PLANT_TWIN_HALF,        /* the log's twin has no changes of objects, only full records */
    PLANT_TWIN_EARLY,       /* a clean close does not wait for the log's twin */
    PLANT_SUM_IGNORED,      /* a record's checksum is not looked at */
    PLANT_LOSS_UNCOUNTED,   /* what decayed is gone without a count */
    PLANT_ERASE_EARLY,      /* an erasure is answered when its intent is durable */
    PLANT_REWRITE_UNSYNCED, /* a segment that was written anew has its name before it is synced */
    PLANT_LIMIT_GREEDY,     /* a start takes one message more of a subject than the limit does */
    PLANTS
};

#ifdef MIDGE_PLANT
extern enum store_plant store_planted;
#define PLANTED(bug) (store_planted == (bug))
#else
#define PLANTED(bug) 0
#endif

#endif
