/* producers.c - see producers.h. */
#include "server/kafka/producers.h"

#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"

struct kept {
    int32_t first, last;
    uint64_t seq;
};

struct producer {
    struct hmap_node node;
    struct list link; /* producers->recent */
    int64_t id;
    int16_t epoch;
    bool read_back; /* there may have been batches between and before those that are known */
    bool expects;   /* n == 0: only the batch with the number `next` is new */
    int32_t next;
    unsigned n;
    struct kept kept[PRODUCERS_BATCHES]; /* oldest first */
};

void producers_init(struct producers *p)
{
    *p = (struct producers){0};
    hmap_init(&p->map);
    list_init(&p->recent);
}

static void drop(struct producers *p, struct producer *x)
{
    hmap_remove(&p->map, &x->node);
    list_remove(&x->link);
    p->n--;
    mem_free(x);
}

void producers_deinit(struct producers *p)
{
    struct list *l;

    while ((l = list_first(&p->recent)) != NULL)
        drop(p, LIST_ENTRY(l, struct producer, link));
    hmap_deinit(&p->map);
}

static uint64_t hash_of(int64_t id)
{
    return hash_bytes(&id, sizeof(id), 0);
}

static struct producer *find(const struct producers *p, int64_t id)
{
    uint64_t h = hash_of(id);

    for (struct hmap_node *n = hmap_first(&p->map, h); n != NULL; n = hmap_next(n, h))
        if (CONTAINER_OF(n, struct producer, node)->id == id)
            return CONTAINER_OF(n, struct producer, node);
    return NULL;
}

/* The number n behind this one. */
static int32_t behind(int32_t first, int32_t n)
{
    return (int32_t) (((uint32_t) first + (uint32_t) n) & INT32_MAX);
}

/* What a producer has under way is no more than that. */
#define UNDER_WAY_MOST (1 << 20)
static bool is_before(int32_t a, int32_t b)
{
    uint32_t distance = ((uint32_t) b - (uint32_t) a) & INT32_MAX;

    return distance > 0 && distance < UNDER_WAY_MOST;
}

/* Where something was, and nothing is known any more: in front of the rest, or between. */
static bool was_stored(const struct producer *x, int32_t first, int32_t last)
{
    if (!x->read_back)
        return false;
    if (is_before(last, x->kept[0].first))
        return x->kept[0].first != 0 && x->n < PRODUCERS_BATCHES;
    for (unsigned i = 1; i < x->n; i++)
        if (is_before(x->kept[i - 1].last, first) && is_before(last, x->kept[i].first))
            return true;
    return false;
}

enum producers_verdict producers_check(const struct producers *p, struct producer_batch *b)
{
    const struct producer *x = find(p, b->producer);
    int32_t last = behind(b->first, b->count - 1);

    if (x == NULL)
        return PRODUCERS_NEW;
    if (b->epoch < x->epoch)
        return PRODUCERS_OLD_EPOCH;
    if (x->n == 0)
        return x->expects && b->epoch == x->epoch && b->first != x->next ? PRODUCERS_OUT_OF_ORDER
                                                                         : PRODUCERS_NEW;
    if (b->epoch > x->epoch)
        return b->first == 0 ? PRODUCERS_NEW : PRODUCERS_OUT_OF_ORDER;
    for (unsigned i = 0; i < x->n; i++)
        if (x->kept[i].first == b->first && x->kept[i].last == last) {
            b->seq = x->kept[i].seq;
            return PRODUCERS_DUPLICATE;
        }
    if (b->first == behind(x->kept[x->n - 1].last, 1))
        return PRODUCERS_NEW;
    return was_stored(x, b->first, last) ? PRODUCERS_WAS_STORED : PRODUCERS_OUT_OF_ORDER;
}

static struct producer *add(struct producers *p, int64_t id)
{
    struct producer *x = mem_zalloc(sizeof(*x));

    if (p->n == PRODUCERS_MAX)
        drop(p, LIST_ENTRY(p->recent.prev, struct producer, link));
    x->id = id;
    hmap_insert(&p->map, &x->node, hash_of(id));
    list_push_front(&p->recent, &x->link);
    p->n++;
    return x;
}

void producers_note(struct producers *p, const struct producer_batch *b)
{
    struct producer *x = find(p, b->producer);

    if (x == NULL)
        x = add(p, b->producer);
    list_remove(&x->link);
    list_push_front(&p->recent, &x->link);
    if (x->epoch != b->epoch)
        x->n = 0;
    if (x->n == 0)
        x->read_back = b->read_back;
    x->epoch = b->epoch;
    x->expects = false;
    if (x->n == PRODUCERS_BATCHES) {
        for (unsigned i = 1; i < x->n; i++)
            x->kept[i - 1] = x->kept[i];
        x->n--;
    }
    x->kept[x->n++] = (struct kept){b->first, behind(b->first, b->count - 1), b->seq};
}

/* Nothing is known of it but which batch comes next. */
static void expect(struct producer *x, int16_t epoch, int32_t next)
{
    x->epoch = epoch;
    x->n = 0;
    x->read_back = false;
    x->expects = true;
    x->next = next;
}

void producers_refuse(struct producers *p, const struct producer_batch *b)
{
    struct producer *x = find(p, b->producer);

    if (x == NULL)
        x = add(p, b->producer);
    else if (x->n > 0 || (x->expects && x->epoch == b->epoch))
        return;
    expect(x, b->epoch, b->first);
}

void producers_list(const struct producers *p, struct producer_state *out)
{
    LIST_FOREACH(l, &p->recent)
    {
        const struct producer *x = LIST_ENTRY(l, struct producer, link);
        const struct kept *k = x->n > 0 ? &x->kept[x->n - 1] : NULL;
        *out++ = (struct producer_state){.id = x->id,
                                         .epoch = x->epoch,
                                         .last = k != NULL ? k->last : -1,
                                         .last_seq = k != NULL ? k->seq : 0};
    }
}

bool producers_need(const struct producers *p, int64_t producer, uint64_t seq, uint64_t durable)
{
    const struct producer *x = find(p, producer);

    if (x == NULL || x->n == 0)
        return false;
    for (unsigned i = x->n; i > 0; i--)
        if (x->kept[i - 1].seq <= durable)
            return x->kept[i - 1].seq == seq;
    return true;
}

void producers_fence(struct producers *p, int64_t producer, int16_t epoch)
{
    struct producer *x = find(p, producer);

    if (x == NULL || x->epoch >= epoch)
        return;
    x->epoch = epoch;
    x->n = 0;
    x->expects = false;
}

void producers_forget(struct producers *p, uint64_t last_seq)
{
    LIST_FOREACH_SAFE(l, tmp, &p->recent)
    {
        struct producer *x = LIST_ENTRY(l, struct producer, link);
        while (x->n > 0 && x->kept[x->n - 1].seq > last_seq)
            if (--x->n == 0)
                expect(x, x->epoch, x->kept[0].first);
    }
}
