/*
 * topic_turn.h - one at a time makes, grows, alters or deletes a topic: its streams are made one
 * after the other, and who comes meanwhile would take those that are there for what a crash has
 * left; and their configurations are read, changed and written back.
 *
 * Shared by all workers, one lock inside. Who has to wait is handed the turn by the one who ends
 * his: that one calls its `task` on its worker.
 */
#ifndef KAFKA_TOPIC_TURN_H
#define KAFKA_TOPIC_TURN_H

#include "lib/base/list.h"
#include "lib/base/lock.h"
#include "lib/base/str.h"
#include "server/core/env.h"

#include <stdbool.h>

struct topic_turns {
    struct rwlock lock;
    struct list all; /* those that have it and those that wait, in the order in which they came */
};

/* Embedded in its owner until its end. */
struct topic_turn {
    struct list link;
    struct str name;
    struct env_task task;
    uint32_t worker;
    void (*begin)(struct topic_turn *turn);
};

void topic_turns_init(struct topic_turns *t);
void topic_turns_deinit(struct topic_turns *t);
/* begin is called at its turn: now, or later, on the same worker. The name stays until the end. */
void topic_turn_wait(struct topic_turns *t, struct topic_turn *turn, struct str name,
                     const struct env *env, void (*begin)(struct topic_turn *turn));
/* It has had it: the next one begins. */
void topic_turn_pass(struct topic_turns *t, struct topic_turn *turn, struct env *env);

/* What these two do: true when it is its turn; whose turn it is now, NULL: nobody's. */
bool topic_turn_take(struct topic_turns *t, struct topic_turn *turn);
struct topic_turn *topic_turn_end(struct topic_turns *t, struct topic_turn *turn);

#endif
