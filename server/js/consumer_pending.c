/*
 * consumer_pending.c - the table of delivered and unacknowledged messages.
 *
 * Open addressing with linear probing over pointers, deletion by shifting back; load at most one
 * half. The hash spreads strided sequences (a filtered consumer) and costs one multiply. Entries
 * come from slabs of 64 with a free list, so that 1000 pending messages are 16 allocations for the
 * life of the consumer.
 */
#include "lib/base/mem.h"
#include "server/js/consumer_core.h"

#include <string.h>

#define SLAB 64u
#define MIN_SLOTS 16u

static size_t slot_of(const struct pend_table *t, uint64_t sseq)
{
    return (size_t) ((sseq * 0x9e3779b97f4a7c15u) >> 20) & t->mask;
}

void pend_table_init(struct pend_table *t)
{
    *t = (struct pend_table){.mask = MIN_SLOTS - 1};
    t->slots = mem_zalloc(MIN_SLOTS * sizeof(struct pend *));
    list_init(&t->order);
}

void pend_table_deinit(struct pend_table *t)
{
    for (size_t i = 0; i < t->nslabs; i++)
        mem_free(t->slabs[i]);
    mem_free(t->slabs);
    mem_free(t->slots);
    t->slots = NULL;
}

static void place(struct pend_table *t, struct pend *p)
{
    size_t i = slot_of(t, p->sseq);

    while (t->slots[i] != NULL)
        i = (i + 1) & t->mask;
    t->slots[i] = p;
}

static void grow(struct pend_table *t)
{
    size_t n = (t->mask + 1) * 2;

    mem_free(t->slots);
    t->slots = mem_zalloc(n * sizeof(struct pend *));
    t->mask = n - 1;
    LIST_FOREACH(l, &t->order)
    place(t, LIST_ENTRY(l, struct pend, order));
}

static struct pend *alloc(struct pend_table *t)
{
    struct pend *p;

    if (t->free_list == NULL) {
        struct pend *slab = mem_array(SLAB, sizeof(*slab));
        t->slabs = mem_realloc(t->slabs, (t->nslabs + 1) * sizeof(*t->slabs));
        t->slabs[t->nslabs++] = slab;
        for (unsigned i = 0; i < SLAB; i++) {
            slab[i].order.next = (struct list *) (void *) t->free_list;
            t->free_list = &slab[i];
        }
    }
    p = t->free_list;
    t->free_list = (struct pend *) (void *) p->order.next;
    return p;
}

struct pend *pend_find(const struct pend_table *t, uint64_t sseq)
{
    for (size_t i = slot_of(t, sseq); t->slots[i] != NULL; i = (i + 1) & t->mask)
        if (t->slots[i]->sseq == sseq)
            return t->slots[i];
    return NULL;
}

static void link_in_order(struct pend_table *t, struct pend *p)
{
    struct list *after = t->order.prev;

    while (after != &t->order && LIST_ENTRY(after, struct pend, order)->sseq > p->sseq)
        after = after->prev;
    list_push_front(after, &p->order);
}

struct pend *pend_add(struct pend_table *t, uint64_t sseq)
{
    struct pend *p;

    if ((t->count + 1) * 2 > t->mask + 1)
        grow(t);
    p = alloc(t);
    memset(p, 0, sizeof(*p));
    p->sseq = sseq;
    list_init(&p->ready);
    link_in_order(t, p);
    place(t, p);
    t->count++;
    return p;
}

/* Is the wanted slot `home` cyclically outside (hole, i]? Then the entry at i may move into the
 * hole. */
static bool may_move(size_t home, size_t hole, size_t i)
{
    return hole <= i ? (home <= hole || home > i) : (home <= hole && home > i);
}

void pend_remove(struct pend_table *t, struct pend *p)
{
    size_t hole = slot_of(t, p->sseq);

    while (t->slots[hole] != p)
        hole = (hole + 1) & t->mask;
    for (size_t i = (hole + 1) & t->mask; t->slots[i] != NULL; i = (i + 1) & t->mask)
        if (may_move(slot_of(t, t->slots[i]->sseq), hole, i)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    t->slots[hole] = NULL;
    t->count--;
    list_remove(&p->order);
    list_remove(&p->ready);
    p->order.next = (struct list *) (void *) t->free_list;
    t->free_list = p;
}

struct pend *pend_first(const struct pend_table *t)
{
    struct list *l = list_first(&t->order);
    return l != NULL ? LIST_ENTRY(l, struct pend, order) : NULL;
}
