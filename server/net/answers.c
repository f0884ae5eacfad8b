/*
 * answers.c - the right to answer requests: a user with allow_responses may publish to the reply
 * subject of a message that it was sent, a number of times and for a while, though its publish list
 * does not have it.
 *
 * Every user's time is the same for all its requests, so that the list of open requests is in the
 * order in which they expire: the front is cleaned with each new one. Above ANSWERS_MAX the oldest
 * go first.
 */
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "server/auth/permissions.h"
#include "server/net/conn.h"

#include <string.h>

#define ANSWERS_MAX 65536u

struct answers {
    struct hmap by_subject;
    struct list by_age;
};

struct answer {
    struct hmap_node node;
    struct list link;
    uint64_t since;
    int64_t used;
    size_t n;
    char subject[];
};

static struct answer *find(const struct conn *c, struct str subject)
{
    uint64_t h = hash_bytes(subject.p, subject.n, c->net->seed);

    for (struct hmap_node *n = hmap_first(&c->answers->by_subject, h); n != NULL;
         n = hmap_next(n, h)) {
        struct answer *a = CONTAINER_OF(n, struct answer, node);
        if (str_eq(str_from(a->subject, a->n), subject))
            return a;
    }
    return NULL;
}

static void drop(struct conn *c, struct answer *a)
{
    hmap_remove(&c->answers->by_subject, &a->node);
    list_remove(&a->link);
    mem_free(a);
}

static bool expired(const struct conn *c, const struct answer *a)
{
    return c->may->responses_ns >= 0 &&
           io_now(c->net->env->io) - a->since > (uint64_t) c->may->responses_ns;
}

static void clean(struct conn *c)
{
    struct list *l;

    while ((l = list_first(&c->answers->by_age)) != NULL) {
        struct answer *a = LIST_ENTRY(l, struct answer, link);
        if (c->answers->by_subject.count < ANSWERS_MAX && !expired(c, a))
            return;
        drop(c, a);
    }
}

void answers_expect(struct conn *c, struct str reply)
{
    struct answer *a;

    if (!c->may->responses || permissions_may_publish(c->may, reply))
        return;
    if (c->answers == NULL) {
        c->answers = mem_zalloc(sizeof(*c->answers));
        hmap_init(&c->answers->by_subject);
        list_init(&c->answers->by_age);
    }
    a = find(c, reply);
    if (a != NULL)
        drop(c, a);
    clean(c);
    a = mem_zalloc(sizeof(*a) + reply.n);
    a->since = io_now(c->net->env->io);
    a->n = reply.n;
    memcpy(a->subject, reply.p, reply.n);
    list_push_back(&c->answers->by_age, &a->link);
    hmap_insert(&c->answers->by_subject, &a->node, hash_bytes(reply.p, reply.n, c->net->seed));
}

bool answers_take(struct conn *c, struct str subject)
{
    struct answer *a = c->answers != NULL ? find(c, subject) : NULL;

    if (a == NULL || !c->may->responses)
        return false;
    a->used++;
    if (expired(c, a) || (c->may->responses_max > 0 && a->used > c->may->responses_max)) {
        drop(c, a);
        return false;
    }
    return true;
}

void answers_free(struct conn *c)
{
    struct list *l;

    if (c->answers == NULL)
        return;
    while ((l = list_first(&c->answers->by_age)) != NULL)
        drop(c, LIST_ENTRY(l, struct answer, link));
    hmap_deinit(&c->answers->by_subject);
    mem_free(c->answers);
    c->answers = NULL;
}
