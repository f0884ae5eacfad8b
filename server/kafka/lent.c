/* lent.c - see lent.h. */
#include "server/kafka/lent.h"

#include "lib/base/mem.h"

struct kafka_lent *kafka_lent_take(struct env *env, struct store_reader *r,
                                   const struct store_lent *of)
{
    struct kafka_lent *l = mem_zalloc(sizeof(*l));

    l->of = *of;
    l->worker = env->worker;
    list_init(&l->link);
    store_reader_lend(r, of);
    return l;
}

static void come_home(struct env_task *task, struct env *env)
{
    struct kafka_lent *l = CONTAINER_OF(task, struct kafka_lent, task);

    (void) env;
    store_lent_return(&l->of);
    mem_free(l);
}

void kafka_lent_return(struct kafka_lent *l, struct env *env)
{
    list_remove(&l->link);
    outbuf_free(&l->after, env->chunks);
    l->task.run = come_home;
    env->post(env, l->worker, &l->task);
}
