/*
 * worker_pause.h - all workers stand still for a while, between two iterations, and the main thread
 * may touch what is theirs, as it does before they begin. Clients wait that long: only for what
 * happens once in a server's life.
 */
#ifndef SERVER_WORKER_PAUSE_H
#define SERVER_WORKER_PAUSE_H

struct worker_group;
struct worker_pause;

/* Main thread; returns when all stand still. The workers must run. */
struct worker_pause *worker_pause_begin(struct worker_group *g);
/* They go on. */
void worker_pause_end(struct worker_pause *p);

#endif
