#include "lib/base/handle.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"

#include <stddef.h>

#define NO_SLOT UINT32_MAX
#define CAPACITY_MIN 16

void handle_table_init(struct handle_table *t, uint32_t limit)
{
    *t = (struct handle_table){.free_head = NO_SLOT, .limit = limit};
}

void handle_table_deinit(struct handle_table *t)
{
    mem_free(t->slots);
    handle_table_init(t, 0);
}

/* All slots are in use: adds as many again, linked so that the lowest is taken first. */
static void grow(struct handle_table *t)
{
    uint64_t want = t->capacity != 0 ? (uint64_t) t->capacity * 2 : CAPACITY_MIN;
    uint32_t capacity = want < t->limit ? (uint32_t) want : t->limit;

    t->slots = mem_realloc(t->slots, (size_t) capacity * sizeof(t->slots[0]));
    for (uint32_t i = capacity; i > t->capacity; i--) {
        t->slots[i - 1] = (struct handle_slot){.generation = 1, .next_free = t->free_head};
        t->free_head = i - 1;
    }
    t->capacity = capacity;
}

handle handle_add(struct handle_table *t, void *object)
{
    struct handle_slot *slot;
    uint32_t index;

    ASSERT(object != NULL);
    if (t->used >= t->limit)
        return 0;
    if (t->free_head == NO_SLOT)
        grow(t);
    index = t->free_head;
    slot = &t->slots[index];
    t->free_head = slot->next_free;
    slot->next_free = NO_SLOT;
    slot->object = object;
    t->used++;
    return (handle) slot->generation << 32 | index;
}

void handle_remove(struct handle_table *t, handle h)
{
    uint32_t index = (uint32_t) h;
    struct handle_slot *slot;

    ASSERT(handle_get(t, h) != NULL);
    slot = &t->slots[index];
    slot->object = NULL;
    if (++slot->generation == 0)
        slot->generation = 1;
    slot->next_free = t->free_head;
    t->free_head = index;
    t->used--;
}

void handle_table_check(const struct handle_table *t)
{
    uint32_t used = 0, idle = 0;

    ASSERT(t->capacity <= t->limit);
    for (uint32_t i = 0; i < t->capacity; i++) {
        ASSERT(t->slots[i].generation != 0);
        used += t->slots[i].object != NULL;
    }
    ASSERT(used == t->used);
    for (uint32_t i = t->free_head; i != NO_SLOT; i = t->slots[i].next_free) {
        ASSERT(i < t->capacity && t->slots[i].object == NULL);
        ASSERT(++idle <= t->capacity);
    }
    ASSERT(used + idle == t->capacity);
}
