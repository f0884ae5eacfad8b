/*
 * io_pool.c - blocking work on a few threads.
 *
 * To the threads: one list per queue under one mutex. `queued` counts what no thread has taken yet
 * and is read without the mutex by a thread that spins. At most one thread of a queue spins: a
 * submit wakes a sleeper only when more is queued than that spinner will take. Both counts change
 * under the mutex, so that no operation is left without a thread: a spinner that gives up looks at
 * the list once more, under the mutex, before it sleeps.
 *
 * Back to the loop: a stack of finished operations, linked through link.next, pushed by
 * compare-and-swap and taken as a whole by the loop, which turns it round. The push is a release,
 * the taking an acquire: op->res and the bytes that the thread wrote are visible to the loop.
 */
#include "lib/io/io_pool.h"

#include "lib/base/mem.h"
#include "lib/io/io_spin.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct queue {
    struct io_pool *pool;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct list ops;
    atomic_uint queued; /* length of ops; written under lock */
    unsigned sleeping;
    unsigned spinning; /* 0 or 1 */
    bool stop;
    struct io_spin spin; /* under lock */
    pthread_t *threads;
    unsigned count;
};

struct io_pool {
    struct pool_config config;
    _Atomic(struct list *) finished;
    struct queue queues[POOL_QUEUES];
};

static uint64_t clock_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}

static void hand_back(struct io_pool *p, struct io_op *op)
{
    struct list *head = atomic_load_explicit(&p->finished, memory_order_relaxed);

    do
        op->link.next = head;
    while (!atomic_compare_exchange_weak_explicit(&p->finished, &head, &op->link,
                                                  memory_order_release, memory_order_relaxed));
    p->config.wake(p->config.ctx);
}

/* Without the lock. The yield lets the loop, or the client, have this core. */
static void spin(struct queue *q, uint64_t ns)
{
    uint64_t until = clock_ns() + ns;

    while (atomic_load_explicit(&q->queued, memory_order_relaxed) == 0 && clock_ns() < until)
        sched_yield();
}

/* With the lock: waits until there is something to take or to stop for. */
static void wait_for_more(struct queue *q)
{
    uint64_t since = clock_ns();
    uint64_t ns = io_spin_ns(&q->spin);
    bool spins = ns > 0 && q->spinning == 0;
    bool slept = false;

    if (spins) {
        q->spinning = 1;
        pthread_mutex_unlock(&q->lock);
        spin(q, ns);
        pthread_mutex_lock(&q->lock);
        q->spinning = 0;
    }
    while (list_empty(&q->ops) && !q->stop) {
        q->sleeping++;
        slept = true;
        pthread_cond_wait(&q->more, &q->lock);
        q->sleeping--;
    }
    io_spin_learn(&q->spin, clock_ns() - since, spins, slept);
}

/* The kernel's struct sched_attr, for which libc has no declaration. */
struct kernel_sched {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns;
    uint64_t deadline_ns;
    uint64_t period_ns;
};

/* These threads mostly sleep in the kernel and have little to do when they wake, but a commit waits
 * for it. Since 6.12 a thread with a short slice gets in front of one that computes; older kernels
 * ignore the wish. On a 2-core machine with a load of 8, write + fdatasync of 64 KiB in a loop,
 * three pairs of runs: median 1,090 us without, 134-161 us with; 660-710 and 1,850-3,000 commits a
 * second. */
static void ask_for_short_slices(void)
{
    struct kernel_sched attr = {.size = sizeof(attr)};

    if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) == 0 && attr.policy == SCHED_OTHER) {
        attr.runtime_ns = 100000; /* the least there is */
        syscall(SYS_sched_setattr, 0, &attr, 0);
    }
}

static void *thread_main(void *arg)
{
    struct queue *q = arg;
    struct io_pool *p = q->pool;
    struct list *node;

    ask_for_short_slices();
    pthread_mutex_lock(&q->lock);
    for (;;) {
        node = list_pop_front(&q->ops);
        if (node != NULL) {
            struct io_op *op = LIST_ENTRY(node, struct io_op, link);
            atomic_fetch_sub_explicit(&q->queued, 1, memory_order_relaxed);
            pthread_mutex_unlock(&q->lock);
            p->config.run(p->config.ctx, op);
            hand_back(p, op);
            pthread_mutex_lock(&q->lock);
        } else if (q->stop) {
            break;
        } else {
            wait_for_more(q);
        }
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* Signals are the main thread's business. */
static int start_threads(struct queue *q, unsigned count)
{
    sigset_t all, before;
    int rc = 0;

    q->threads = mem_array(count, sizeof(*q->threads));
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (rc == 0 && q->count < count) {
        rc = pthread_create(&q->threads[q->count], NULL, thread_main, q);
        if (rc == 0)
            q->count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -rc;
}

int pool_open(const struct pool_config *config, struct io_pool **out)
{
    struct io_pool *p = mem_zalloc(sizeof(*p));
    int rc = 0;

    p->config = *config;
    atomic_init(&p->finished, NULL);
    for (int i = 0; i < POOL_QUEUES; i++) {
        struct queue *q = &p->queues[i];
        q->pool = p;
        pthread_mutex_init(&q->lock, NULL);
        pthread_cond_init(&q->more, NULL);
        list_init(&q->ops);
        atomic_init(&q->queued, 0);
        io_spin_init(&q->spin, config->spin_ns);
    }
    for (int i = 0; rc == 0 && i < POOL_QUEUES; i++)
        rc = start_threads(&p->queues[i], config->threads[i]);
    if (rc < 0) {
        pool_stop(p);
        pool_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

void pool_stop(struct io_pool *p)
{
    for (int i = 0; i < POOL_QUEUES; i++) {
        struct queue *q = &p->queues[i];
        pthread_mutex_lock(&q->lock);
        q->stop = true;
        pthread_cond_broadcast(&q->more);
        pthread_mutex_unlock(&q->lock);
        for (unsigned t = 0; t < q->count; t++)
            pthread_join(q->threads[t], NULL);
        q->count = 0;
    }
}

void pool_free(struct io_pool *p)
{
    for (int i = 0; i < POOL_QUEUES; i++) {
        struct queue *q = &p->queues[i];
        ASSERT(list_empty(&q->ops));
        pthread_cond_destroy(&q->more);
        pthread_mutex_destroy(&q->lock);
        mem_free(q->threads);
    }
    ASSERT(!pool_ready(p));
    mem_free(p);
}

void pool_submit(struct io_pool *p, enum pool_queue queue, struct io_op *op)
{
    struct queue *q = &p->queues[queue];
    bool wake;

    pthread_mutex_lock(&q->lock);
    list_push_back(&q->ops, &op->link);
    wake = atomic_fetch_add_explicit(&q->queued, 1, memory_order_relaxed) >= q->spinning &&
           q->sleeping > 0;
    pthread_mutex_unlock(&q->lock);
    if (wake)
        pthread_cond_signal(&q->more);
}

bool pool_cancel(struct io_pool *p, enum pool_queue queue, struct io_op *op)
{
    struct queue *q = &p->queues[queue];
    bool found = false;

    pthread_mutex_lock(&q->lock);
    LIST_FOREACH(it, &q->ops)
    {
        if (it == &op->link) {
            found = true;
            break;
        }
    }
    if (found) {
        list_remove(&op->link);
        atomic_fetch_sub_explicit(&q->queued, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&q->lock);
    return found;
}

bool pool_ready(const struct io_pool *p)
{
    return atomic_load_explicit(&p->finished, memory_order_relaxed) != NULL;
}

void pool_take(struct io_pool *p, struct list *to)
{
    struct list *node;
    struct list turned;

    if (!pool_ready(p))
        return;
    node = atomic_exchange_explicit(&p->finished, NULL, memory_order_acquire);
    list_init(&turned);
    while (node != NULL) {
        struct list *next = node->next;
        list_push_front(&turned, node);
        node = next;
    }
    list_splice(to, &turned);
}
