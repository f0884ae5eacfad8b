/*
 * js_initial.h - when a watch has handed out all that was there at its start: the consumer said how
 * many, and each delivery says how many follow.
 */
#ifndef CLIENT_JS_INITIAL_H
#define CLIENT_JS_INITIAL_H

#include <stdbool.h>
#include <stdint.h>

struct js_initial {
    bool over;
    uint64_t expected, received;
};

static inline bool js_initial_over(struct js_initial *i, bool now)
{
    if (i->over || !now)
        return false;
    i->over = true;
    return true;
}

/* The consumer was made. Both return true once: it is over just now. */
static inline bool js_initial_start(struct js_initial *i, uint64_t pending)
{
    i->expected = i->received + pending;
    return js_initial_over(i, pending == 0);
}

/* A delivery has been handed out. */
static inline bool js_initial_step(struct js_initial *i, uint64_t pending)
{
    i->received++;
    return js_initial_over(i, pending == 0 || i->received >= i->expected);
}

#endif
