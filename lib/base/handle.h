/*
 * handle.h - slot tables: how one worker names another worker's objects without holding pointers.
 *
 * A handle is slot (low 32 bits) and generation (high 32 bits, never 0). Freeing a slot raises its
 * generation, so that an old handle resolves to NULL instead of to a stranger. 0 is no handle. One
 * owner thread; other threads may keep and send handles, never resolve them. Slots are reused
 * last-in first-out.
 */
#ifndef BASE_HANDLE_H
#define BASE_HANDLE_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t handle;

struct handle_slot {
    void *object; /* NULL when free */
    uint32_t generation;
    uint32_t next_free;
};

struct handle_table {
    struct handle_slot *slots;
    uint32_t capacity;
    uint32_t used;
    uint32_t free_head;
    uint32_t limit; /* most objects at a time; handle_add returns 0 beyond */
};

void handle_table_init(struct handle_table *t, uint32_t limit);
void handle_table_deinit(struct handle_table *t);
/* 0 when the limit is reached. */
handle handle_add(struct handle_table *t, void *object);
/* The handle must be valid. */
void handle_remove(struct handle_table *t, handle h);

static inline void *handle_get(const struct handle_table *t, handle h)
{
    uint32_t slot = (uint32_t) h;
    if (slot >= t->capacity || t->slots[slot].generation != (uint32_t) (h >> 32))
        return NULL;
    return t->slots[slot].object;
}

void handle_table_check(const struct handle_table *t);

#endif
