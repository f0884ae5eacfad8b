/*
 * topic_turn.h - one at a time makes, grows or deletes a topic: its streams are made one after the
 * other, and who comes meanwhile would take those that are there for what a crash has left.
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

/* Embedded in its owner until topic_turn_end; name, task.run and worker are set. */
struct topic_turn {
    struct list link;
    struct str name;
    struct env_task task;
    uint32_t worker;
};

void topic_turns_init(struct topic_turns *t);
void topic_turns_deinit(struct topic_turns *t);
/* True: it is its turn. Else somebody posts its task later. */
bool topic_turn_take(struct topic_turns *t, struct topic_turn *turn);
/* It has had it. Whose turn it is now, to be posted by the caller; NULL: nobody waits. */
struct topic_turn *topic_turn_end(struct topic_turns *t, struct topic_turn *turn);

#endif
