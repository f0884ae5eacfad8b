/* visit.c - see visit.h. */
#include "server/kafka/visit.h"

struct visits *visits_begin(struct kafka_request *r, void (*look)(struct visit *v),
                            void (*put)(struct visit *v))
{
    struct visits *s = kafka_arena_alloc(&r->arena, sizeof(*s));

    *s = (struct visits){.request = r, .home = r->kafka, .look = look, .put = put, .left = 1};
    return s;
}

void visits_end(struct visits *s)
{
    if (--s->left == 0)
        kafka_reply(s->request);
}

static void at_home(struct env_task *task, struct env *env)
{
    struct visit *v = CONTAINER_OF(task, struct visit, task);

    (void) env;
    v->of->put(v);
    visits_end(v->of);
}

void visit_home(struct visit *v, int16_t error)
{
    v->error = error;
    v->task.run = at_home;
    v->env->post(v->env, v->of->home->env->worker, &v->task);
}

static void gone(struct partition_job *j)
{
    visit_home(CONTAINER_OF(j, struct visit, job), KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
}

static void known(struct partition_job *j, bool ok)
{
    struct visit *v = CONTAINER_OF(j, struct visit, job);

    if (ok)
        v->of->look(v);
    else
        gone(j);
}

bool visit_knows(struct visit *v)
{
    v->job.wake = known;
    return partition_know_producers(v->partition, &v->job) &&
           partition_know_txns(v->partition, &v->job);
}

static void there(struct env_task *task, struct env *env)
{
    struct visit *v = CONTAINER_OF(task, struct visit, task);
    struct realm *realm = realm_here(env, v->of->request->realm);

    v->env = env;
    v->partition = realm != NULL ? partition_get(realm, v->stream) : NULL;
    if (v->partition != NULL)
        v->of->look(v);
    else
        visit_home(v, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
}

bool visits_send(struct visits *s, struct visit *v, struct str topic, int32_t index)
{
    struct kafka_request *r = s->request;
    struct topic_place place;

    v->of = s;
    list_init(&v->job.link);
    v->job.gone = gone;
    if (!partition_find(r->realm, &r->arena, topic, index, &place, &v->stream))
        return false;
    s->left++;
    v->task.run = there;
    r->kafka->env->post(r->kafka->env, place.worker, &v->task);
    return true;
}
