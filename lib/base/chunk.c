/*
 * Pools of reference-counted chunks, and how a chunk finds home.
 *
 * A chunk is in one of three places: handed out (refs > 0), on a free list of its pool (owner
 * thread only), or on the pool's return stack. The stack is pushed by any thread with
 * compare-and-swap and emptied by the owner with one exchange; nobody ever pops a single element,
 * so it has no ABA problem.
 *
 * End of a pool. chunk_pool_close frees what is at home and exchanges the stack's head for the mark
 * CLOSED; a thread that drops a last reference and meets the mark frees the chunk itself. The
 * pool's own memory goes with the last chunk: `orphans` counts to zero exactly once. It is lowered
 * by every chunk that is freed away from home, before or after the close (so it may be negative
 * before), and raised at the close by the number of chunks that the owner believes handed out.
 * Whoever brings it to zero frees the pool; before the close it is never raised, hence it can not
 * pass zero early.
 *
 * Chunks above the largest class are freed where they are dropped, on any thread, since keeping
 * them would be a leak in all but name. Of the two largest classes (a batch of a Kafka client with
 * what is around it, mostly) IDLE_MAX bytes are kept: fresh memory costs more than what is read
 * into it, a page fault per 4 KiB.
 *
 * A view has no bytes of its own. The reference to the chunk that has them is dropped by whoever
 * drops the view's last one, on any thread, before the view goes home.
 *
 * Reference counts: taking one is relaxed (who takes one has one). Dropping releases, and the last
 * dropper acquires, so that all writes of all holders are seen by whoever reuses the memory. A
 * holder that reads 1 is alone and skips the atomic decrement.
 */
#include "lib/base/chunk.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/mem.h"

#define CLASSES 7
#define CLASS_KEPT_LESS 5
#define IDLE_MAX ((size_t) 64 << 20)
#define CLASS_LARGE CLASSES
#define CLASS_VIEW (CLASSES + 1)
#define PAGE 4096
#define LARGE_MAX ((size_t) UINT32_MAX - PAGE)

static const uint32_t class_bytes[CLASSES] = {1 << 10,   4 << 10,   16 << 10,  64 << 10,
                                              256 << 10, 512 << 10, 1088 << 10};

struct chunk_pool {
    struct chunk *free[CLASSES];
    struct chunk *views; /* without bytes of their own, kept until the close */
    size_t idle;         /* bytes of the two largest classes on their free lists */
    int64_t out;         /* handed out, as far as the owner knows */
    bool closed;
    _Atomic size_t bytes; /* of all chunks that exist */
    _Atomic int64_t orphans;
    /* On its own cache line: other workers write it. */
    _Alignas(64) _Atomic(struct chunk *) returned;
};

/* Only its address matters. */
static struct chunk closed_mark;
#define CLOSED (&closed_mark)

struct chunk_pool *chunk_pool_open(void)
{
    struct chunk_pool *pool = mem_try_alloc_aligned(64, sizeof(*pool));

    if (pool == NULL)
        FATAL("out of memory for a chunk pool");
    *pool = (struct chunk_pool){0};
    return pool;
}

static unsigned class_of(size_t bytes)
{
    unsigned size_class = 0;

    while (size_class < CLASSES && bytes > class_bytes[size_class])
        size_class++;
    return size_class;
}

/* Below a page the data sits behind the chunk in one allocation. */
static struct chunk *create(struct chunk_pool *pool, unsigned size_class, uint32_t cap)
{
    bool inside = cap < PAGE;
    struct chunk *c = mem_try_alloc(sizeof(*c) + (inside ? cap : 0));

    if (c == NULL)
        return NULL;
    c->data = inside ? (uint8_t *) (c + 1) : mem_try_alloc_aligned(PAGE, cap);
    if (c->data == NULL) {
        mem_free(c);
        return NULL;
    }
    c->cap = cap;
    c->size_class = size_class;
    c->home = pool;
    c->of = NULL;
    atomic_fetch_add_explicit(&pool->bytes, cap, memory_order_relaxed);
    return c;
}

static void destroy(struct chunk *c)
{
    if (c->size_class == CLASS_VIEW) {
        mem_free(c);
        return;
    }
    atomic_fetch_sub_explicit(&c->home->bytes, c->cap, memory_order_relaxed);
    if (c->data != (uint8_t *) (c + 1))
        mem_free(c->data);
    mem_free(c);
}

static void count_idle(struct chunk_pool *pool, const struct chunk *c, bool more)
{
    if (c->size_class < CLASS_KEPT_LESS || c->size_class >= CLASSES)
        return;
    if (more)
        pool->idle += c->cap;
    else
        pool->idle -= c->cap;
}

/* Owner thread: a chunk whose last reference is gone. */
static void come_home(struct chunk_pool *pool, struct chunk *c)
{
    struct chunk **list;

    pool->out--;
    if (c->size_class == CLASS_LARGE ||
        (c->size_class >= CLASS_KEPT_LESS && c->size_class < CLASSES &&
         pool->idle + c->cap > IDLE_MAX)) {
        destroy(c);
        return;
    }
    count_idle(pool, c, true);
    list = c->size_class == CLASS_VIEW ? &pool->views : &pool->free[c->size_class];
    c->next = *list;
    *list = c;
}

/* Owner thread: empties the return stack and leaves `head` in its place. */
static void collect(struct chunk_pool *pool, struct chunk *head)
{
    struct chunk *c = atomic_exchange_explicit(&pool->returned, head, memory_order_acquire);

    while (c != NULL) {
        struct chunk *next = c->next;
        come_home(pool, c);
        c = next;
    }
}

static void collect_if_any(struct chunk_pool *pool)
{
    if (atomic_load_explicit(&pool->returned, memory_order_relaxed) != NULL)
        collect(pool, NULL);
}

/* Acquire and release: the freer of the pool must see all that was done to it. */
static void count_orphans(struct chunk_pool *pool, int64_t more)
{
    if (atomic_fetch_add_explicit(&pool->orphans, more, memory_order_acq_rel) + more == 0)
        mem_free(pool);
}

static void destroy_away(struct chunk *c)
{
    struct chunk_pool *pool = c->home;

    destroy(c);
    /* Before the close the sum can not be 0 after a decrement: see above. */
    count_orphans(pool, -1);
}

static void free_lists_trim(struct chunk_pool *pool, size_t keep)
{
    for (unsigned size_class = CLASSES; size_class-- > 0;) {
        while (pool->free[size_class] != NULL && chunk_pool_bytes(pool) > keep) {
            struct chunk *c = pool->free[size_class];
            pool->free[size_class] = c->next;
            count_idle(pool, c, false);
            destroy(c);
        }
    }
}

void chunk_pool_close(struct chunk_pool *pool)
{
    ASSERT(!pool->closed);
    collect(pool, CLOSED);
    pool->closed = true;
    free_lists_trim(pool, 0);
    while (pool->views != NULL) {
        struct chunk *c = pool->views;
        pool->views = c->next;
        destroy(c);
    }
    count_orphans(pool, pool->out);
}

static struct chunk *take_or_create(struct chunk_pool *pool, unsigned size_class)
{
    collect_if_any(pool);
    if (pool->free[size_class] == NULL)
        return create(pool, size_class, class_bytes[size_class]);
    struct chunk *c = pool->free[size_class];
    pool->free[size_class] = c->next;
    count_idle(pool, c, false);
    return c;
}

struct chunk *chunk_alloc(struct chunk_pool *pool, size_t bytes)
{
    unsigned size_class = class_of(bytes);
    struct chunk *c;

    if (UNLIKELY(size_class == CLASS_LARGE)) {
        c = bytes <= LARGE_MAX ? create(pool, size_class, (uint32_t) round_up(bytes, PAGE)) : NULL;
    } else if (LIKELY((c = pool->free[size_class]) != NULL)) {
        pool->free[size_class] = c->next;
        count_idle(pool, c, false);
    } else {
        c = take_or_create(pool, size_class);
    }
    if (UNLIKELY(c == NULL))
        return NULL;
    pool->out++;
    c->len = 0;
    c->next = NULL;
    atomic_store_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

static struct chunk *take_view(struct chunk_pool *pool)
{
    struct chunk *c;

    collect_if_any(pool);
    c = pool->views;
    if (c != NULL) {
        pool->views = c->next;
        return c;
    }
    c = mem_try_alloc(sizeof(*c));
    if (c != NULL) {
        c->size_class = CLASS_VIEW;
        c->home = pool;
    }
    return c;
}

struct chunk *chunk_view(struct chunk_pool *pool, struct chunk *of, const void *bytes, uint32_t n)
{
    struct chunk *c = take_view(pool);

    if (c == NULL)
        return NULL;
    chunk_get(of);
    pool->out++;
    c->of = of;
    c->data = (uint8_t *) (uintptr_t) bytes;
    c->len = c->cap = n;
    c->next = NULL;
    atomic_store_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

static void send_home(struct chunk *c)
{
    struct chunk *head;

    if (c->size_class == CLASS_LARGE) {
        destroy_away(c);
        return;
    }
    head = atomic_load_explicit(&c->home->returned, memory_order_relaxed);
    do {
        if (head == CLOSED) {
            destroy_away(c);
            return;
        }
        c->next = head;
        /* Release: the owner reads c->next and reuses the data. */
    } while (!atomic_compare_exchange_weak_explicit(&c->home->returned, &head, c,
                                                    memory_order_release, memory_order_relaxed));
}

void chunk_put(struct chunk *c, struct chunk_pool *pool)
{
    if (atomic_load_explicit(&c->refs, memory_order_acquire) != 1) {
        uint32_t before = atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel);
        ASSERT(before != 0);
        if (before != 1)
            return;
    }
    if (UNLIKELY(c->size_class == CLASS_VIEW))
        chunk_put(c->of, pool); /* never a view itself, or one more step */
    if (LIKELY(c->home == pool && !pool->closed))
        come_home(pool, c);
    else
        send_home(c);
}

size_t chunk_pool_bytes(const struct chunk_pool *pool)
{
    return atomic_load_explicit(&pool->bytes, memory_order_relaxed);
}

void chunk_pool_trim(struct chunk_pool *pool, size_t keep)
{
    size_t idle = 0;

    collect_if_any(pool);
    for (unsigned size_class = 0; size_class < CLASSES; size_class++) {
        for (struct chunk *c = pool->free[size_class]; c != NULL; c = c->next)
            idle += c->cap;
    }
    if (idle > keep)
        free_lists_trim(pool, chunk_pool_bytes(pool) - (idle - keep));
}
