/* txn_word.c - see txn_word.h. */
#include "server/kafka/txn_word.h"

#include "lib/base/mem.h"
#include "server/kafka/coordinator.h"
#include "server/kafka/txn_record.h"

/* ---- the question ---------------------------------------------------------------------------- */

struct question {
    struct env_task task;
    struct list link;   /* coordinator->questions */
    struct realm realm; /* its index */
    uint32_t home;
    struct env *env; /* of the coordinator's worker */
};

static void has_heard(struct realm *realm)
{
    struct list now, *l;

    realm->word = REALM_HEARD;
    list_init(&now);
    list_splice(&now, &realm->deaf);
    while ((l = list_pop_front(&now)) != NULL)
        partition_txns_heard(CONTAINER_OF(l, struct partition, txns.deaf));
}

static void answered(struct env_task *task, struct env *env)
{
    struct question *q = CONTAINER_OF(task, struct question, task);
    struct realm *realm = realm_here(env, &q->realm);

    mem_free(q);
    if (realm != NULL)
        has_heard(realm);
}

static void answer(struct question *q)
{
    q->task.run = answered;
    q->env->post(q->env, q->home, &q->task);
}

void txn_word_answer(struct coordinator *c)
{
    struct list *l;

    while ((l = list_pop_front(&c->questions)) != NULL)
        answer(LIST_ENTRY(l, struct question, link));
}

static void asked(struct env_task *task, struct env *env)
{
    struct question *q = CONTAINER_OF(task, struct question, task);
    struct coordinator *c = coordinator_here(env, &q->realm);

    q->env = env;
    if (c == NULL || c->ready)
        answer(q);
    else
        list_push_back(&c->questions, &q->link);
}

static void ask(struct realm *realm, uint32_t worker)
{
    struct env *env = realm->kafka->env;
    struct question *q = mem_zalloc(sizeof(*q));

    realm->word = REALM_ASKED;
    q->realm = *realm;
    q->home = env->worker;
    q->task.run = asked;
    list_init(&q->link);
    env->post(env, worker, &q->task);
}

bool txn_word_heard(struct partition *p)
{
    struct realm *realm = p->realm;
    struct topic_place place;

    if (realm->word == REALM_UNASKED) {
        if (topics_partition(realm->topics, STR(COORDINATOR_TOPIC), 0, &place) &&
            place.worker != TOPIC_NOWHERE)
            ask(realm, place.worker);
        else
            realm->word = REALM_HEARD;
    }
    if (realm->word == REALM_HEARD)
        return true;
    if (list_empty(&p->txns.deaf))
        list_push_back(&realm->deaf, &p->txns.deaf);
    return false;
}

/* ---- reminders ------------------------------------------------------------------------------- */

struct reminder {
    struct env_task task;
    struct realm realm; /* its index */
    int64_t producer;
    int16_t epoch;
    uint64_t from;
    struct str stream; /* owned */
};

static void remind_there(struct env_task *task, struct env *env)
{
    struct reminder *x = CONTAINER_OF(task, struct reminder, task);
    struct realm *realm = realm_here(env, &x->realm);
    struct partition *p = realm != NULL ? partition_get(realm, x->stream) : NULL;

    if (p != NULL)
        partition_txn_remind(p, x->producer, x->epoch, x->from);
    mem_free((char *) (uintptr_t) x->stream.p);
    mem_free(x);
}

void txn_word_remind(const struct txn *t)
{
    const struct realm *realm = t->coordinator->realm;
    struct env *env = realm->kafka->env;
    struct topic_place place;

    for (uint32_t i = 0; i < t->nparts; i++) {
        struct reminder *x;
        struct buf name = {0};
        if (!topics_partition(realm->topics, t->parts[i].topic, t->parts[i].index, &place) ||
            place.worker == TOPIC_NOWHERE)
            continue;
        topic_stream_name(&name, t->parts[i].topic, t->parts[i].index);
        x = mem_zalloc(sizeof(*x));
        x->realm = *realm;
        x->producer = t->producer;
        x->epoch = t->epoch;
        x->from = t->parts[i].from;
        x->stream = str_from(mem_strndup(name.p, name.n), name.n);
        x->task.run = remind_there;
        env->post(env, place.worker, &x->task);
        buf_free(&name);
    }
}
