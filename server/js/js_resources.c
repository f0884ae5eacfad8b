/* js_resources.c - sums that all workers keep. */
#include "server/js/js_resources.h"

void js_resources_init(struct js_resources *r, enum storage kind, int64_t configured,
                       uint64_t found)
{
    struct js_resource *k = &r->of[kind];

    k->grows = configured < 0;
    atomic_init(&k->max, configured >= 0 ? (uint64_t) configured : found);
    atomic_init(&k->reserved, 0);
    atomic_init(&k->used, 0);
    r->up = NULL;
}

void js_resources_init_below(struct js_resources *r, struct js_resources *up, enum storage kind,
                             int64_t configured)
{
    js_resources_init(r, kind, configured >= 0 ? configured : INT64_MAX, 0);
    r->up = up;
}

void js_resources_limit(struct js_resources *r, enum storage kind, int64_t configured)
{
    atomic_store(&r->of[kind].max, configured >= 0 ? (uint64_t) configured : INT64_MAX);
}

static uint64_t bytes_of(int64_t max_bytes)
{
    return max_bytes > 0 ? (uint64_t) max_bytes : 0;
}

bool js_resources_reserve(struct js_resources *r, enum storage kind, int64_t max_bytes)
{
    struct js_resource *k = &r->of[kind];
    uint64_t n = bytes_of(max_bytes), max = atomic_load(&k->max);
    uint64_t now = atomic_load(&k->reserved);

    if (n == 0)
        return true;
    do
        if (now > max || n > max - now)
            return false;
    while (!atomic_compare_exchange_weak(&k->reserved, &now, now + n));
    if (r->up == NULL || js_resources_reserve(r->up, kind, max_bytes))
        return true;
    atomic_fetch_sub(&k->reserved, n);
    return false;
}

void js_resources_recover(struct js_resources *r, enum storage kind, int64_t max_bytes,
                          uint64_t used)
{
    for (; r != NULL; r = r->up) {
        struct js_resource *k = &r->of[kind];
        atomic_fetch_add(&k->reserved, bytes_of(max_bytes));
        atomic_fetch_add(&k->used, used);
        if (k->grows)
            atomic_fetch_add(&k->max, used);
    }
}

void js_resources_release(struct js_resources *r, enum storage kind, int64_t max_bytes)
{
    for (; r != NULL; r = r->up)
        atomic_fetch_sub(&r->of[kind].reserved, bytes_of(max_bytes));
}

void js_resources_use(struct js_resources *r, enum storage kind, uint64_t before, uint64_t now)
{
    for (; r != NULL; r = r->up)
        atomic_fetch_add_explicit(&r->of[kind].used, now - before, memory_order_relaxed);
}

static bool full(const struct js_resource *k, uint64_t more)
{
    return atomic_load_explicit(&k->used, memory_order_relaxed) + more >
           atomic_load_explicit(&k->max, memory_order_relaxed);
}

bool js_resources_server_full(const struct js_resources *r, enum storage kind, uint64_t more)
{
    while (r->up != NULL)
        r = r->up;
    return full(&r->of[kind], more);
}

bool js_resources_account_full(const struct js_resources *r, enum storage kind, uint64_t more)
{
    return r->up != NULL && full(&r->of[kind], more);
}

bool js_resources_full(const struct js_resources *r, enum storage kind, uint64_t more)
{
    return js_resources_account_full(r, kind, more) || js_resources_server_full(r, kind, more);
}

bool js_resources_limited(const struct js_resources *r, enum storage kind)
{
    return r->up != NULL &&
           atomic_load_explicit(&r->of[kind].max, memory_order_relaxed) < INT64_MAX;
}
