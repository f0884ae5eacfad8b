/* worker_pause.c - a task for each worker that waits in it. */
#include "server/worker_pause.h"

#include "lib/base/mem.h"
#include "server/worker.h"

#include <pthread.h>

struct pause_task {
    struct env_task task;
    struct worker_pause *pause;
};

struct worker_pause {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    unsigned standing;
    bool over;
    struct pause_task tasks[];
};

static void stand(struct env_task *task, struct env *env)
{
    struct worker_pause *p = CONTAINER_OF(task, struct pause_task, task)->pause;

    (void) env;
    pthread_mutex_lock(&p->lock);
    p->standing++;
    pthread_cond_broadcast(&p->changed);
    while (!p->over)
        pthread_cond_wait(&p->changed, &p->lock);
    p->standing--;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

struct worker_pause *worker_pause_begin(struct worker_group *g)
{
    unsigned n = worker_group_count(g);
    struct worker_pause *p = mem_zalloc(sizeof(*p) + n * sizeof(p->tasks[0]));

    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    for (unsigned i = 0; i < n; i++) {
        p->tasks[i] = (struct pause_task){.task.run = stand, .pause = p};
        worker_post(worker_group_get(g, i), &p->tasks[i].task);
    }
    pthread_mutex_lock(&p->lock);
    while (p->standing < n)
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return p;
}

void worker_pause_end(struct worker_pause *p)
{
    pthread_mutex_lock(&p->lock);
    p->over = true;
    pthread_cond_broadcast(&p->changed);
    while (p->standing > 0)
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}
