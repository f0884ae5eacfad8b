/* topic_turn.c - see topic_turn.h. */
#include "server/kafka/topic_turn.h"

void topic_turns_init(struct topic_turns *t)
{
    rwlock_init(&t->lock);
    list_init(&t->all);
}

void topic_turns_deinit(struct topic_turns *t)
{
    rwlock_deinit(&t->lock);
}

/* The first one of this name has the turn. */
static struct topic_turn *first_of(struct topic_turns *t, struct str name)
{
    LIST_FOREACH(l, &t->all)
    {
        struct topic_turn *turn = LIST_ENTRY(l, struct topic_turn, link);
        if (str_eq(turn->name, name))
            return turn;
    }
    return NULL;
}

bool topic_turn_take(struct topic_turns *t, struct topic_turn *turn)
{
    bool now;

    rwlock_write(&t->lock);
    now = first_of(t, turn->name) == NULL;
    list_push_back(&t->all, &turn->link);
    rwlock_unlock(&t->lock);
    return now;
}

struct topic_turn *topic_turn_end(struct topic_turns *t, struct topic_turn *turn)
{
    struct topic_turn *next;

    rwlock_write(&t->lock);
    list_remove(&turn->link);
    next = first_of(t, turn->name);
    rwlock_unlock(&t->lock);
    return next;
}

static void has_turn(struct env_task *task, struct env *env)
{
    struct topic_turn *turn = CONTAINER_OF(task, struct topic_turn, task);

    (void) env;
    turn->begin(turn);
}

void topic_turn_wait(struct topic_turns *t, struct topic_turn *turn, struct str name,
                     const struct env *env, void (*begin)(struct topic_turn *turn))
{
    turn->name = name;
    turn->worker = env->worker;
    turn->task.run = has_turn;
    turn->begin = begin;
    if (topic_turn_take(t, turn))
        begin(turn);
}

void topic_turn_pass(struct topic_turns *t, struct topic_turn *turn, struct env *env)
{
    struct topic_turn *next = topic_turn_end(t, turn);

    if (next != NULL)
        env->post(env, next->worker, &next->task);
}
