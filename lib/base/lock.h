/*
 * lock.h - the few locks there are, around the system's. They never block on I/O and are never held
 * across a callback into another layer.
 *
 * Locks are for what all workers share (interest, the stream directory). A failing lock call is a
 * bug of ours and aborts.
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include "lib/base/assert.h"

#include <pthread.h>

/* Readers side by side, writers alone. A waiting writer holds back new readers, so that a busy read
 * side can not starve it; therefore a thread must not take the read side twice. */
struct rwlock {
    pthread_rwlock_t lock;
};

static inline void rwlock_init(struct rwlock *l)
{
    pthread_rwlockattr_t attr;

    ASSERT(pthread_rwlockattr_init(&attr) == 0);
#ifdef __GLIBC__
    ASSERT(pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) == 0);
#endif
    ASSERT(pthread_rwlock_init(&l->lock, &attr) == 0);
    pthread_rwlockattr_destroy(&attr);
}

static inline void rwlock_deinit(struct rwlock *l)
{
    ASSERT(pthread_rwlock_destroy(&l->lock) == 0);
}

static inline void rwlock_read(struct rwlock *l)
{
    ASSERT(pthread_rwlock_rdlock(&l->lock) == 0);
}

static inline void rwlock_write(struct rwlock *l)
{
    ASSERT(pthread_rwlock_wrlock(&l->lock) == 0);
}

static inline void rwlock_unlock(struct rwlock *l)
{
    ASSERT(pthread_rwlock_unlock(&l->lock) == 0);
}

struct mutex {
    pthread_mutex_t lock;
};

static inline void mutex_init(struct mutex *m)
{
    ASSERT(pthread_mutex_init(&m->lock, NULL) == 0);
}

static inline void mutex_deinit(struct mutex *m)
{
    ASSERT(pthread_mutex_destroy(&m->lock) == 0);
}

static inline void mutex_lock(struct mutex *m)
{
    ASSERT(pthread_mutex_lock(&m->lock) == 0);
}

static inline void mutex_unlock(struct mutex *m)
{
    ASSERT(pthread_mutex_unlock(&m->lock) == 0);
}

#endif
