/*
 * world.h - one simulated machine with a store on it, and the model beside it.
 *
 * A world is opened on a sim (fresh, after a crash, or forked), recovers, judges what it found
 * against the model, goes on working, and ends by a clean close or by vanishing. Everything the
 * store tells (commits, removals, answers to requests, messages read) goes into the model at once,
 * and is judged there.
 *
 * world_fail ends the process: a run that went wrong is replayed from its seed.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "tests/sim/decay.h"
#include "tests/sim/model.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_mem.h"
#include "tests/sim/swarm.h"

enum { WORLD_WORKERS_MAX = 4 };

struct world_worker {
    struct io *io;
    struct chunk_pool *chunks;
    struct store *store;
    bool closed;
};

/* What a run may cost. A cut on the side costs in proportion to what its disk holds, and a run with
 * thousands of moments and a large disk would take minutes: then it tries a sample of them, spread
 * over all its operations (sim_store.c). */
struct world_pace {
    unsigned ops, done; /* operations of the run, and how many have begun */
    uint64_t spent;     /* pages of disks that were recovered, at whatever depth */
    uint64_t left_out;  /* moments */
};

struct world {
    uint64_t seed;
    struct world_pace *pace; /* the run's, whatever the depth */
    const char *keep;        /* where the disk goes when the run fails; NULL = nowhere */
    bool calm;               /* no power cuts */
    bool every;              /* power fails at every moment, on the side */
    unsigned depth;          /* 0 = the run; more = a power cut tried on the side */
    const struct swarm *swarm;
    struct sim *sim;
    struct model *model;
    struct sim_arena *arena;
    struct store_dir *dir;
    struct world_worker workers[WORLD_WORKERS_MAX];
    struct list asks;    /* struct ask: requests not answered */
    struct list readers; /* struct world_reader */
    unsigned nreaders;
    unsigned stillborn;  /* streams whose creation was refused and that wait to be deleted */
    bool recovering;     /* between opening and the end of judge_recovered */
    bool clean;          /* the store was closed before this opening */
    bool log_lost;       /* and then its commit log was damaged */
    struct decay decay;  /* or something else of it */
    uint64_t full_until; /* when the store must have noticed that there is space again */
    uint64_t cuts;       /* power cuts tried so far */
    uint64_t digest;     /* of the whole disk, right after its recovery (`twice`) */
    bool twice;          /* wanted: the digest */
};

enum ask_kind {
    ASK_STREAM_CREATE,
    ASK_STREAM_UPDATE,
    ASK_STREAM_DELETE,
    ASK_OBJECT_CREATE,
    ASK_OBJECT_CHANGE,
    ASK_OBJECT_DELETE,
    ASK_REMOVE,
    ASK_PURGE,
    ASK_COUNT,
};

/* A request to the store. */
struct ask {
    struct store_req req;
    struct list link;
    struct world *world;
    enum ask_kind kind;
    struct model_stream *stream;
    struct model_object *object;
    uint64_t seq, version;
    bool erase;      /* REMOVE */
    uint32_t order;  /* of the stream's asked: REMOVE, PURGE, STREAM_UPDATE */
    uint64_t expect; /* COUNT, PURGE: the answer; UINT64_MAX = any */
};

struct world_reader {
    struct store_reader r;
    struct list link;
    struct world *world;
    struct model_stream *stream; /* NULL: it was deleted */
    char text[MODEL_SUBJECT];
    struct str filter; /* n = 0: everything */
    uint64_t at;       /* what it returns next is not below */
    bool waiting;
};

_Noreturn void world_fail(struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Starts the loops and opens the directory: recovery. ERR_OK, or the answer of store_dir_open (then
 * nothing is open; why says it). */
enum err world_open(struct world *w, struct sim *sim, struct model *model, char why[256]);
/* Only recovery: opens the directory, no worker. Returns the digest of the segments. Ends by
 * world_vanish. */
uint64_t world_open_dir_only(struct world *w, struct sim *sim, struct model *model);
/* Closes everything as a server does and checks that nothing is left of it. */
void world_close(struct world *w);
/* Power is gone: forgets what was open. The sim's loops have vanished already. */
void world_vanish(struct world *w);

/* May the store refuse for lack of space? */
#define WORLD_FULL_NS 2500000000u
bool world_full(const struct world *w);
/* One iteration of one loop; false when nothing happens within the time. */
bool world_step(struct world *w, uint64_t max_wait_ns);
/* Until nothing happens any more. */
void world_settle(struct world *w);
/* The store of this worker has something to do. */
void world_touch(struct world *w, unsigned worker);
/* Code of the store runs between these two: its memory is the world's. */
struct sim_arena *world_enter(struct world *w);
void world_leave(struct sim_arena *before);
struct store *world_store(struct world *w, unsigned worker);

/* ---- the store's callbacks (world_ask.c) ----------------------------------------------------- */

/* Every other stream lets what waits for space be refused, the others let it wait. */
const struct store_stream_ops *world_stream_ops(const struct model_stream *s);
/* As its key and the swarm say: the same at each start. */
bool world_stream_compressed(const struct world *w, const struct model_stream *s);
void world_stream_compress(struct world *w, const struct model_stream *s);
void world_render(void *ctx, store_object_id id, struct buf *out);
/* A new request; `req` goes to the store. */
struct ask *ask_new(struct world *w, enum ask_kind kind);
void ask_free(struct ask *a);
/* Applies a failed or impossible request to the model. */
void world_stream_dead(struct world *w, struct model_stream *s);

/* ---- readers (world_read.c) ------------------------------------------------------------------ */

struct world_reader *world_reader_open(struct world *w, struct model_stream *s, uint64_t seq,
                                       struct str filter);
void world_reader_close(struct world_reader *r);
/* Reads up to n messages; returns how many it got. */
unsigned world_reader_step(struct world_reader *r, unsigned n);
/* Gets one message by sequence and compares. May step the world. */
void world_get(struct world *w, struct model_stream *s, uint64_t seq);
/* The stream's readers end, or the world's (s NULL). */
void world_readers_drop(struct world *w, struct model_stream *s);

/* ---- judgement (judge.c) --------------------------------------------------------------------- */

/* Right after world_open: attaches everything, compares, and settles the model on what is there. */
void judge_recovered(struct world *w);
/* At any time: lets everything come to rest, and compares all there is with the model. */
void judge_live(struct world *w);

/* What was erased is in no file any more; everything is at rest (judge_erased.c). */
void judge_erased(struct world *w, const struct model_stream *s);
/* The commit logs, too, when nothing says that they are still to be washed. */
void judge_washed(struct world *w);

/* ---- work (work.c) --------------------------------------------------------------------------- */

/* One drawn operation other than WORK_REOPEN and WORK_CRASH, which are the caller's. */
enum work_op work_draw(struct world *w);
void work_do(struct world *w, enum work_op op);

#endif
