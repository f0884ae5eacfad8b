/*
 * steps.h - work on the items of a request one after the other, where some items answer at once and
 * some later: without recursion, whatever their number.
 */
#ifndef KAFKA_STEPS_H
#define KAFKA_STEPS_H

#include <stdbool.h>
#include <stdint.h>

struct steps {
    int32_t at, n; /* the next item, how many */
    /* Works on item i. True: steps_done will be called for it, later or before this returns. */
    bool (*step)(struct steps *s, int32_t i);
    /* After the last one; may free what s lies in. */
    void (*end)(struct steps *s);
    bool running, done;
};

/* Begins; everything but running and done is set. */
static inline void steps_run(struct steps *s)
{
    s->running = true;
    while (s->at < s->n) {
        s->done = false;
        if (s->step(s, s->at++) && !s->done) {
            s->running = false;
            return;
        }
    }
    s->end(s);
}

static inline void steps_done(struct steps *s)
{
    if (s->running)
        s->done = true;
    else
        steps_run(s);
}

#endif
